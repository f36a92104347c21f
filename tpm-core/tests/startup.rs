//! TPM2_Startup, TPM2_Shutdown, the random commands, and the header rules that hold for every command.

mod harness;
use harness::{Fixture, command};

const INITIALIZE: u32 = 0x100;
const BAD_TAG: u32 = 0x1e;
const COMMAND_SIZE: u32 = 0x142;
const COMMAND_CODE: u32 = 0x143;
const AUTHSIZE: u32 = 0x144;
const AUTH_CONTEXT: u32 = 0x145;
const GET_RANDOM: u32 = 0x17b;

fn rc(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

#[test]
fn commands_before_startup_get_initialize() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.run(GET_RANDOM, &[], &[], &[0, 4]), Err(INITIALIZE));
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 0]), Err(INITIALIZE), "a second TPM2_Startup");
}

#[test]
fn startup_state_needs_a_saved_state() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 1]), Err(0x1c4), "CVE-2018-6622: VALUE, parameter 1");
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 2]), Err(0x1c4), "no TPM_SU");
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(tpm.run(0x145, &[], &[], &[0, 1]), Ok(vec![]));
    tpm.power_cycle();
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 1]), Ok(vec![]));
}

#[test]
fn startup_is_possible_at_localities_0_and_3_only() {
    let mut tpm = Fixture::unstarted();
    tpm.locality = 1;
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 0]), Err(0x907));
    tpm.locality = 3;
    assert_eq!(tpm.run(0x144, &[], &[], &[0, 0]), Ok(vec![]));
}

#[test]
fn startup_admits_no_sessions() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.with(0x144, &[], &[b""], &[0, 0]), Err(AUTH_CONTEXT));
}

#[test]
fn malformed_headers_are_refused() {
    let mut tpm = Fixture::new();
    let good = command(GET_RANDOM, &[], &[], &[0, 8]);
    assert_eq!(tpm.raw(&[]), [0, 0xc4, 0, 0, 0, 10, 0, 0, 0, 0x1e], "no tag at all");
    assert_eq!(rc(&tpm.raw(&good[..9])), COMMAND_SIZE);
    for tag in [0u16, 0x00c1, 0x8000, 0x8003] {
        let bad = [&tag.to_be_bytes(), &good[2..]].concat();
        assert_eq!(rc(&tpm.raw(&bad)), BAD_TAG);
    }
    for size in [0u32, 9, 11, 13, 4097, u32::MAX] {
        let bad = [&good[..2], &size.to_be_bytes(), &good[6..]].concat();
        assert_eq!(rc(&tpm.raw(&bad)), COMMAND_SIZE, "commandSize {size}");
    }
    for code in [0u32, 0x11e, 0x2000_0000, u32::MAX] {
        assert_eq!(tpm.run(code, &[], &[], &[]), Err(COMMAND_CODE));
    }
    for area in [0u32, 8, 12, u32::MAX] {
        let bad = [
            &[0x80, 2, 0, 0, 0, 25][..],
            &GET_RANDOM.to_be_bytes(),
            &area.to_be_bytes(),
            &harness::password(b""),
            &[0, 8],
        ]
        .concat();
        assert_eq!(rc(&tpm.raw(&bad)), AUTHSIZE, "authorizationSize {area}");
    }
}

#[test]
fn parameters_must_be_there_and_nothing_after_them() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(GET_RANDOM, &[], &[], &[0]), Err(0x1da), "INSUFFICIENT, parameter 1");
    assert_eq!(tpm.run(GET_RANDOM, &[], &[], &[0, 8, 0]), Err(0x95), "SIZE");
}

#[test]
fn get_random_gives_at_most_the_largest_digest() {
    let mut tpm = Fixture::new();
    let a = tpm.run(GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    let b = tpm.run(GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    assert_eq!(a[..2], [0, 32]);
    assert_ne!(a, b);
    assert_eq!(tpm.run(GET_RANDOM, &[], &[], &[0xff, 0xff]).unwrap().len(), 66);
    assert_eq!(tpm.run(GET_RANDOM, &[], &[], &[0, 0]).unwrap(), [0, 0]);
}

#[test]
fn stir_random_takes_up_to_128_octets() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(0x146, &[], &[], &harness::tpm2b(&[7; 128])), Ok(vec![]));
    assert_eq!(tpm.run(0x146, &[], &[], &harness::tpm2b(&[7; 129])), Err(0x1d5), "SIZE, parameter 1");
}

#[test]
fn a_password_that_authorizes_nothing_is_refused() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.with(GET_RANDOM, &[], &[b""], &[0, 8]), Err(0x98b), "HANDLE, session 1");
}
