//! TPM2_SelfTest and TPM2_GetTestResult (Part 3, 10), and failure mode (Part 1, 12.4).

mod harness;
use harness::codes::{FAILURE, NEEDS_TEST, VALUE, param};
use harness::{Fixture, Outcome};

const SELF_TEST: u32 = 0x143;
const GET_TEST_RESULT: u32 = 0x17c;
const GET_CAPABILITY: u32 = 0x17a;

fn result(tpm: &mut Fixture) -> Outcome {
    tpm.run(GET_TEST_RESULT, &[], &[], &[])
}

/// outData empty, and this testResult.
fn test_result(code: u32) -> Outcome {
    Ok([&[0, 0][..], &code.to_be_bytes()].concat())
}

#[test]
fn all_tests_pass_and_are_needed_again_after_init() {
    for full in [0, 1] {
        let mut tpm = Fixture::new();
        assert_eq!(result(&mut tpm), test_result(NEEDS_TEST));
        assert_eq!(tpm.run(SELF_TEST, &[], &[], &[full]), Ok(vec![]));
        assert_eq!(result(&mut tpm), test_result(0));
        assert_eq!(tpm.run(SELF_TEST, &[], &[], &[full]), Ok(vec![]), "again");
        tpm.restart(None, 0);
        assert_eq!(result(&mut tpm), test_result(NEEDS_TEST));
    }
}

#[test]
fn full_test_is_yes_or_no() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(SELF_TEST, &[], &[], &[2]), Err(param(1, VALUE)));
}

// A test that fails cannot be provoked through the interface: the known answers are constants. FAILURE is provoked by entropy that runs dry.
#[test]
fn in_failure_mode_only_the_two_commands_that_tell_of_it_are_executed() {
    let mut tpm = Fixture::new();
    tpm.fail();
    for code in [0x144, 0x145, SELF_TEST, 0x17b, 0x17e] {
        assert_eq!(tpm.run(code, &[], &[], &[0, 0]), Err(FAILURE), "command {code:#x}");
    }
    assert_eq!(result(&mut tpm), test_result(FAILURE));
    let properties = |first: u32, count: u32| [6u32, first, count].map(u32::to_be_bytes).concat();
    let reply = tpm.run(GET_CAPABILITY, &[], &[], &properties(0x100, 100)).unwrap();
    assert_eq!(
        reply[..13],
        [0, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 1, 5],
        "TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2"
    );
    assert_eq!(tpm.run(GET_CAPABILITY, &[], &[], &properties(0x200, 1)).unwrap()[5..], [0; 4]);
    assert_eq!(tpm.run(GET_CAPABILITY, &[], &[], &[0; 12]), Err(param(1, VALUE)));
    assert_eq!(tpm.with(GET_TEST_RESULT, &[], &[b""], &[]), Err(FAILURE), "with a session");
    tpm.entropy.dry = false;
    assert_eq!(tpm.run(0x17b, &[], &[], &[0, 1]), Err(FAILURE), "until _TPM_Init");
    tpm.restart(None, 0);
    assert_eq!(tpm.run(0x17b, &[], &[], &[0, 1]).map(|r| r.len()), Ok(3));
}
