//! TPM2_Startup, TPM2_Shutdown, the random commands, and the header rules that hold for every command.

use crate::harness::Fixture;
use client::codes::{
    AUTH_CONTEXT, BAD_TAG, COMMAND_CODE, COMMAND_SIZE, HANDLE, INITIALIZE, INSUFFICIENT, LOCALITY, SIZE, VALUE, param,
    plain, session,
};
use client::command;
use tpm_core::cc;
use tpm_wire::pt;

fn rc(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

#[test]
fn commands_before_startup_get_initialize() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]), Err(INITIALIZE));
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Err(INITIALIZE), "a second TPM2_Startup");
}

#[test]
fn startup_state_needs_a_saved_state() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)), "CVE-2018-6622: VALUE, parameter 1");
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 2]), Err(param(1, VALUE)), "no TPM_SU");
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Ok(vec![]));
}

#[test]
fn startup_is_possible_at_localities_0_and_3_only() {
    let mut tpm = Fixture::unstarted();
    tpm.locality = 1;
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Err(LOCALITY));
    tpm.locality = 3;
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
}

#[test]
fn startup_admits_no_sessions() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(tpm.with(cc::STARTUP, &[], &[b""], &[0, 0]), Err(AUTH_CONTEXT));
}

#[test]
fn malformed_headers_are_refused() {
    let mut tpm = Fixture::new();
    let good = command(cc::GET_RANDOM, &[], &[], &[0, 8]);
    assert_eq!(tpm.raw(&[]), [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0x9a], "no tag at all");
    assert_eq!(rc(&tpm.raw(&good[..9])), 0x9a, "INSUFFICIENT");
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
            &cc::GET_RANDOM.to_be_bytes(),
            &area.to_be_bytes(),
            &client::password(b""),
            &[0, 8],
        ]
        .concat();
        assert_eq!(rc(&tpm.raw(&bad)), client::codes::AUTHSIZE, "authorizationSize {area}");
    }
}

#[test]
fn parameters_must_be_there_and_nothing_after_them() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0]), Err(param(1, INSUFFICIENT)), "INSUFFICIENT, parameter 1");
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8, 0]), Err(plain(SIZE)), "SIZE");
}

#[test]
fn get_random_gives_at_most_the_largest_digest() {
    let mut tpm = Fixture::new();
    let a = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    let b = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    assert_eq!(a[..2], [0, 32]);
    assert_ne!(a, b);
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0xff, 0xff]).unwrap().len(), 66);
    assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 0]).unwrap(), [0, 0]);
}

#[test]
fn stir_random_takes_up_to_128_octets() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::STIR_RANDOM, &[], &[], &client::tpm2b(&[7; 128])), Ok(vec![]));
    assert_eq!(tpm.run(cc::STIR_RANDOM, &[], &[], &client::tpm2b(&[7; 129])), Err(param(1, SIZE)), "SIZE, parameter 1");
}

#[test]
fn a_password_that_authorizes_nothing_is_refused() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.with(cc::GET_RANDOM, &[], &[b""], &[0, 8]), Err(session(1, HANDLE)), "HANDLE, session 1");
}

/// TPM2_Startup with this TPM_SU at this locality.
fn startup(tpm: &mut Fixture, su: u8, locality: u8) -> client::session::Outcome {
    tpm.locality = locality;
    let outcome = tpm.run(cc::STARTUP, &[], &[], &[0, su]);
    tpm.locality = 0;
    outcome
}

/// TPM2_Shutdown with this TPM_SU, then _TPM_Init.
fn shutdown(tpm: &mut Fixture, su: u8) {
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, su]), Ok(vec![]));
    tpm.power_cycle();
}

/// An H-CRTM event.
fn measure(tpm: &mut Fixture) {
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"H-CRTM");
    assert!(tpm.tpm.hash_end());
}

#[test]
fn each_pair_of_shutdown_and_startup() {
    // (TPM2_Shutdown or none, TPM2_Startup, whether it is possible)
    let cases = [
        (None, 0, true),
        (None, 1, false),
        (Some(0), 0, true),
        (Some(0), 1, false),
        (Some(1), 0, true),
        (Some(1), 1, true),
    ];
    for (before, after, possible) in cases {
        let mut tpm = Fixture::new();
        match before {
            Some(su) => shutdown(&mut tpm, su),
            None => tpm.power_cycle(),
        }
        let expected = if possible { Ok(vec![]) } else { Err(param(1, VALUE)) };
        assert_eq!(startup(&mut tpm, after, 0), expected, "{before:?}, {after}");
        if !possible {
            assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]), "TPM_SU_CLEAR is always possible");
        }
    }
}

#[test]
fn shutdown_refuses_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 2]), Err(param(1, VALUE)), "no TPM_SU");
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0]), Err(param(1, INSUFFICIENT)));
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0, 0]), Err(plain(SIZE)));
    // TYPE after TPM2_PCR_Allocate: pcr.rs. NV_UNINITIALIZED of TPM2_Startup cannot be provoked: a state is taken and
    // restored as a whole.
}

#[test]
fn a_state_can_be_resumed_once() {
    let mut tpm = Fixture::new();
    shutdown(&mut tpm, 1);
    assert_eq!(startup(&mut tpm, 1, 0), Ok(vec![]));
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Err(param(1, VALUE)));
}

#[test]
fn a_startup_that_was_refused_leaves_the_saved_state() {
    let mut tpm = Fixture::new();
    shutdown(&mut tpm, 1);
    for locality in [1, 2, 4, 32] {
        assert_eq!(startup(&mut tpm, 1, locality), Err(LOCALITY));
    }
    assert_eq!(startup(&mut tpm, 1, 3), Err(LOCALITY), "it had been started at locality 0");
    assert_eq!(startup(&mut tpm, 1, 0), Ok(vec![]));
}

#[test]
fn resume_is_at_the_locality_of_the_start_before() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(startup(&mut tpm, 0, 3), Ok(vec![]));
    shutdown(&mut tpm, 1);
    assert_eq!(startup(&mut tpm, 1, 0), Err(LOCALITY));
    assert_eq!(startup(&mut tpm, 1, 3), Ok(vec![]));
    shutdown(&mut tpm, 1);
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]), "TPM Restart may be at another");
}

#[test]
fn resume_needs_the_hcrtm_as_before() {
    let mut tpm = Fixture::new();
    shutdown(&mut tpm, 1);
    measure(&mut tpm);
    assert_eq!(startup(&mut tpm, 1, 0), Err(LOCALITY), "there was none before");
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]));
    shutdown(&mut tpm, 1);
    assert_eq!(startup(&mut tpm, 1, 0), Err(LOCALITY), "there was one before");
    measure(&mut tpm);
    assert_eq!(startup(&mut tpm, 1, 3), Ok(vec![]), "with an H-CRTM the locality does not matter");
}

#[test]
fn cve_2018_6622_no_old_pcr_without_a_saved_state() {
    let mut tpm = Fixture::new();
    let digests = [&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat();
    let read =
        |tpm: &mut Fixture| tpm.run(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 1, 0, 0]).unwrap()[20..].to_vec();
    tpm.with(cc::PCR_EXTEND, &[0], &[b""], &digests).unwrap();
    let extended = read(&mut tpm);
    shutdown(&mut tpm, 1);
    assert_eq!(startup(&mut tpm, 1, 0), Ok(vec![]));
    assert_eq!(read(&mut tpm), extended, "resumed");
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Err(param(1, VALUE)), "the power went in sleep without TPM2_Shutdown");
    assert_eq!(tpm.run(cc::PCR_READ, &[], &[], &[0, 0, 0, 0]), Err(INITIALIZE), "and PCR cannot be used in between");
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]));
    assert_ne!(read(&mut tpm), extended);
}

/// A property of TPM_PT.
fn property(tpm: &mut Fixture, pt: u32) -> u32 {
    let params = [&[0, 0, 0, 6][..], &pt.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &params).unwrap();
    u32::from_be_bytes(reply[13..17].try_into().unwrap())
}

#[test]
fn orderly_tells_whether_a_shutdown_came_before() {
    let mut tpm = Fixture::new();
    for (before, orderly) in [(Some(0), true), (Some(1), true), (None, false)] {
        tpm.restart(before, 0);
        assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR) >> 31 == 1, orderly, "{before:?}");
        assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR) & 0xf, 0xf, "all hierarchies are enabled");
    }
}

#[test]
fn cve_2020_26933_a_use_under_da_protection_voids_the_shutdown() {
    use crate::harness::nv::{INDEX, a, define, write};
    use client::codes::{AUTH_FAIL, session};
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    write(&mut tpm, INDEX, INDEX, &[0; 8], 0).unwrap();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"no"], &[0; 4]), Err(session(1, AUTH_FAIL)));
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Err(param(1, VALUE)), "the state that was saved does not know of the try");
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]));
    assert_eq!(property(&mut tpm, pt::LOCKOUT_COUNTER), 2, "the try, and the cut that might have hidden it");
    tpm.restart(None, 0);
    assert_eq!(property(&mut tpm, pt::LOCKOUT_COUNTER), 2, "a cut without a use does not count");
}

/// A platform that ends in order announces TPM Reset, unless its software has announced TPM Resume and that still
/// counts (Part 3, 9.4.1).
#[test]
fn an_orderly_end_of_the_platform_is_a_shutdown() {
    let mut tpm = Fixture::unstarted();
    tpm.shut_down();
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]), "before TPM2_Startup there is nothing to save");
    tpm.shut_down();
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Err(param(1, VALUE)), "TPM_SU_STATE");
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]));
    assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR) >> 31, 1, "orderly");
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    tpm.shut_down();
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Ok(vec![]), "TPM2_Shutdown(STATE) of the system counts");
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    tpm.with(cc::PCR_EXTEND, &[0], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat()).unwrap();
    tpm.shut_down();
    tpm.power_cycle();
    assert_eq!(startup(&mut tpm, 1, 0), Err(param(1, VALUE)), "it was void");
    assert_eq!(startup(&mut tpm, 0, 0), Ok(vec![]));
    tpm.tpm.enter_failure_mode();
    tpm.shut_down();
    tpm.restart(None, 0);
    assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR) >> 31, 0, "one that has failed saves nothing");
}
