//! Part 3, 32: Authenticated Countdown Timers. There are ACT 0 and ACT A.

use crate::harness::Fixture;
use client::codes::{
    ACT_0, ACT_A, AUTH_MISSING, BAD_AUTH, INSUFFICIENT, OWNER, PLATFORM, VALUE, handle, param, session,
};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::Hooks;
use tpm_core::cc;

const SIGNALED: u32 = 1;
const PRESERVED: u32 = 2;

fn set(tpm: &mut Fixture, act: u32, seconds: u32) -> Outcome {
    tpm.with(cc::ACT_SET_TIMEOUT, &[act], &[b""], &seconds.to_be_bytes())
}

/// Remaining seconds and TPMA_ACT.
fn state(tpm: &mut Fixture, act: u32) -> (u32, u32) {
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[10, act, 1].map(u32::to_be_bytes).concat()).unwrap();
    let number = |at: usize| u32::from_be_bytes(reply[at..at + 4].try_into().unwrap());
    assert_eq!(number(9), act);
    (number(13), number(17))
}

fn pass(tpm: &mut Fixture, ms: u64) {
    tpm.clock.0 += ms;
}

#[test]
fn a_timer_counts_down_and_signals() {
    let mut tpm = Fixture::new();
    assert_eq!(state(&mut tpm, ACT_0), (0, 0));
    assert_eq!(set(&mut tpm, ACT_0, 3), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (3, 0));
    pass(&mut tpm, 1001);
    assert_eq!(state(&mut tpm, ACT_0), (2, 0));
    pass(&mut tpm, 1998);
    assert_eq!(state(&mut tpm, ACT_0), (1, 0));
    assert!(!tpm.tpm.act_signaled(0));
    pass(&mut tpm, 1);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
    assert!(tpm.tpm.act_signaled(0));
    assert_eq!(state(&mut tpm, ACT_A), (0, 0), "each for itself");
    assert!(!tpm.tpm.act_signaled(10));
}

#[test]
fn the_platform_sees_the_signal_without_a_command() {
    let mut tpm = Fixture::new();
    set(&mut tpm, ACT_A, 1).unwrap();
    pass(&mut tpm, 1000);
    assert!(!tpm.tpm.act_signaled(10));
    tpm.tpm.advance_time(&mut Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock });
    assert!(tpm.tpm.act_signaled(10));
    assert!([0, 1, 9, 11, 15, 16, 26, 255].iter().all(|n| !tpm.tpm.act_signaled(*n)));
}

#[test]
fn a_new_timeout_ends_the_signal() {
    let mut tpm = Fixture::new();
    set(&mut tpm, ACT_0, 1).unwrap();
    pass(&mut tpm, 1000);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
    assert_eq!(set(&mut tpm, ACT_0, 0), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED), "zero does not");
    assert_eq!(set(&mut tpm, ACT_0, 10), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (10, 0));
    assert_eq!(set(&mut tpm, ACT_0, u32::MAX - 1), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (u32::MAX - 1, 0));
}

#[test]
fn timeout_zero_signals_a_running_timer_and_does_nothing_to_another() {
    let mut tpm = Fixture::new();
    assert_eq!(set(&mut tpm, ACT_0, 0), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (0, 0));
    set(&mut tpm, ACT_0, 100).unwrap();
    assert_eq!(set(&mut tpm, ACT_0, 0), Ok(vec![]));
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
}

#[test]
fn the_greatest_timeout_only_ends_a_signal() {
    let mut tpm = Fixture::new();
    assert_eq!(set(&mut tpm, ACT_0, u32::MAX), Err(param(1, VALUE)));
    set(&mut tpm, ACT_0, 5).unwrap();
    assert_eq!(set(&mut tpm, ACT_0, u32::MAX), Err(param(1, VALUE)), "running");
    assert_eq!(state(&mut tpm, ACT_0), (5, 0));
    pass(&mut tpm, 5000);
    assert_eq!(set(&mut tpm, ACT_0, u32::MAX), Ok(vec![]));
    pass(&mut tpm, 1_000_000);
    assert_eq!(state(&mut tpm, ACT_0), (u32::MAX, 0), "and does not count");
    assert_eq!(set(&mut tpm, ACT_0, u32::MAX), Err(param(1, VALUE)));
}

#[test]
fn set_timeout_refuses_what_is_no_act_and_who_is_not_authorized() {
    let mut tpm = Fixture::new();
    for h in [ACT_0 + 1, ACT_0 + 15, ACT_0 + 16, ACT_0 - 1, PLATFORM, OWNER] {
        assert_eq!(set(&mut tpm, h, 1), Err(handle(1, VALUE)), "{h:#x}");
    }
    assert_eq!(tpm.run(cc::ACT_SET_TIMEOUT, &[ACT_0], &[], &[0; 4]), Err(AUTH_MISSING));
    assert_eq!(tpm.with(cc::ACT_SET_TIMEOUT, &[ACT_0], &[b""], &[0; 3]), Err(param(1, INSUFFICIENT)));
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[PLATFORM], &[b""], &tpm2b(b"p")).unwrap();
    assert_eq!(set(&mut tpm, ACT_0, 1), Err(session(1, BAD_AUTH)), "the authValue is the platform's");
    assert_eq!(tpm.with(cc::ACT_SET_TIMEOUT, &[ACT_0], &[b"p"], &1u32.to_be_bytes()), Ok(vec![]));
}

/// Part 2, 8.12, and Part 3, 9.3.1: on TPM Reset and TPM Restart timeout is zero, and both signaled and
/// preserveSignaled are CLEAR.
#[test]
fn a_reset_or_restart_stops_timers_and_forgets_their_signal() {
    for (shutdown, startup) in [(None, 0), (Some(0), 0), (Some(1), 0)] {
        let mut tpm = Fixture::new();
        set(&mut tpm, ACT_0, 1).unwrap();
        set(&mut tpm, ACT_A, 100).unwrap();
        pass(&mut tpm, 2000);
        assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
        tpm.restart(shutdown, startup);
        assert_eq!(state(&mut tpm, ACT_0), (0, 0));
        assert_eq!(state(&mut tpm, ACT_A), (0, 0));
    }
    // Zero lets a running timer signal at once.
    for shutdown in [None, Some(0), Some(1)] {
        let mut tpm = Fixture::new();
        set(&mut tpm, ACT_0, 5000).unwrap();
        set(&mut tpm, ACT_0, 0).unwrap();
        assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
        tpm.restart(shutdown, 0);
        assert_eq!(state(&mut tpm, ACT_0), (0, 0));
    }
}

/// Part 2, 8.12: on TPM Resume signaled is preserved, and copied to preserveSignaled. Part 3, 33.2.1:
/// TPM2_ACT_SetTimeout clears both.
#[test]
fn a_resume_keeps_a_signal_until_the_timer_is_set() {
    let mut tpm = Fixture::new();
    set(&mut tpm, ACT_0, 1).unwrap();
    pass(&mut tpm, 1000);
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED | PRESERVED));
    assert_eq!(state(&mut tpm, ACT_A), (0, 0));
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED | PRESERVED));
    set(&mut tpm, ACT_0, 9).unwrap();
    assert_eq!(state(&mut tpm, ACT_0), (9, 0));
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (9, 0));
    pass(&mut tpm, 9000);
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED | PRESERVED));
    tpm.restart(Some(1), 0);
    assert_eq!(state(&mut tpm, ACT_0), (0, 0), "what a resume has preserved does not outlive a restart");
}

/// The signal that may have made the platform reset came after TPM2_Shutdown(STATE), which saved a running timer:
/// preserveSignaled is a copy of the last signal, and the next TPM Resume copies again.
#[test]
fn preserve_signaled_is_that_of_the_last_resume() {
    let mut tpm = Fixture::new();
    set(&mut tpm, ACT_0, 2).unwrap();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    pass(&mut tpm, 2000);
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 1]).unwrap();
    assert!(tpm.tpm.act_signaled(0));
    tpm.power_cycle();
    tpm.run(cc::STARTUP, &[], &[], &[0, 1]).unwrap();
    assert_eq!(state(&mut tpm, ACT_0), (2, PRESERVED));
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (1, 0));
}

#[test]
fn a_resume_goes_on_with_half_the_time_unless_the_timer_was_set_since_startup() {
    let mut tpm = Fixture::new();
    set(&mut tpm, ACT_0, 100).unwrap();
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (100, 0));
    for expected in [50, 25, 12, 6, 3, 1, 1] {
        tpm.restart(Some(1), 1);
        assert_eq!(state(&mut tpm, ACT_0), (expected, 0));
    }
    pass(&mut tpm, 1000);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED));
    tpm.restart(Some(1), 1);
    assert_eq!(state(&mut tpm, ACT_0), (0, SIGNALED | PRESERVED), "still signaled");
}

#[test]
fn setting_a_timer_voids_a_shutdown() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    set(&mut tpm, ACT_0, 100).unwrap();
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)));
}
