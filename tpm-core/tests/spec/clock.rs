//! Part 3, 29: Clocks and Timers.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{
    AUTH_MISSING, BAD_AUTH, ENDORSEMENT, INSUFFICIENT, LOCKOUT_HIERARCHY, OWNER, PLATFORM, SIZE, VALUE, handle, param,
    plain, session,
};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

/// TPM_PT_CLOCK_UPDATE
const UPDATE_MS: u64 = 1 << 22;
const LATEST: u64 = 0xffff_0000_0000_0000;

/// TPMS_TIME_INFO
#[derive(PartialEq, Debug)]
struct Time {
    time: u64,
    clock: u64,
    reset_count: u32,
    restart_count: u32,
    safe: bool,
}

fn read(tpm: &mut Fixture) -> Time {
    let r = tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap();
    assert_eq!(r.len(), 25);
    let number = |range: core::ops::Range<usize>| r[range].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    Time {
        time: number(0..8),
        clock: number(8..16),
        reset_count: number(16..20) as u32,
        restart_count: number(20..24) as u32,
        safe: r[24] == 1,
    }
}

fn set(tpm: &mut Fixture, by: u32, clock: u64) -> Outcome {
    tpm.with(cc::CLOCK_SET, &[by], &[b""], &clock.to_be_bytes())
}

fn adjust(tpm: &mut Fixture, step: i8) -> Outcome {
    tpm.with(cc::CLOCK_RATE_ADJUST, &[OWNER], &[b""], &step.to_be_bytes())
}

#[test]
fn time_and_clock_advance_with_the_platforms_clock() {
    let mut tpm = Fixture::new();
    assert_eq!(read(&mut tpm), Time { time: 0, clock: 0, reset_count: 1, restart_count: 0, safe: true });
    tpm.clock.0 = 1234;
    assert_eq!(read(&mut tpm), Time { time: 1234, clock: 1234, reset_count: 1, restart_count: 0, safe: true });
    tpm.clock.0 = 1000;
    assert_eq!(read(&mut tpm).clock, 1234, "a platform's clock that goes back does not take it back");
    tpm.clock.0 = 2000;
    assert_eq!(read(&mut tpm).clock, 2000);
    assert_eq!(tpm.run(cc::READ_CLOCK, &[], &[], &[0]), Err(plain(SIZE)), "SIZE");
}

#[test]
fn time_starts_anew_and_clock_goes_on() {
    let mut tpm = Fixture::new();
    for (shutdown, startup, resets, restarts) in [(Some(0), 0, 2, 0), (Some(1), 0, 2, 1), (Some(1), 1, 2, 2)] {
        tpm.clock.0 += 1000;
        let before = read(&mut tpm);
        tpm.restart(shutdown, startup);
        tpm.clock.0 += 10;
        let after = read(&mut tpm);
        assert_eq!((after.time, after.clock), (10, before.clock + 10));
        assert_eq!((after.reset_count, after.restart_count), (resets, restarts));
    }
}

#[test]
fn clock_is_not_safe_after_a_power_cut_until_it_is_recorded_again() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 1000;
    read(&mut tpm);
    tpm.restart(None, 0);
    assert!(!read(&mut tpm).safe);
    tpm.clock.0 += UPDATE_MS - 1001;
    assert!(!read(&mut tpm).safe);
    tpm.clock.0 += 1;
    assert!(read(&mut tpm).safe);
    tpm.restart(None, 0);
    assert!(!read(&mut tpm).safe);
    assert_eq!(set(&mut tpm, OWNER, 3 * UPDATE_MS), Ok(vec![]));
    assert!(read(&mut tpm).safe, "setting it across the interval records it");
}

#[test]
fn clock_can_only_be_set_forward() {
    let mut tpm = Fixture::new();
    tpm.clock.0 = 5000;
    for by in [OWNER, PLATFORM] {
        assert_eq!(set(&mut tpm, by, 4999), Err(param(1, VALUE)));
    }
    assert_eq!(set(&mut tpm, OWNER, 5000), Ok(vec![]));
    assert_eq!(set(&mut tpm, PLATFORM, 1 << 40), Ok(vec![]));
    assert_eq!((read(&mut tpm).time, read(&mut tpm).clock), (5000, 1 << 40), "time is not set");
    assert_eq!(set(&mut tpm, OWNER, LATEST + 1), Err(param(1, VALUE)));
    assert_eq!(set(&mut tpm, OWNER, LATEST), Ok(vec![]));
    assert_eq!(set(&mut tpm, OWNER, LATEST - 1), Err(param(1, VALUE)));
    tpm.clock.0 += 7;
    assert_eq!(read(&mut tpm).clock, LATEST + 7);
}

#[test]
fn setting_the_clock_is_for_the_owner_and_the_platform() {
    let mut tpm = Fixture::new();
    for (code, params) in [(cc::CLOCK_SET, &[0; 8][..]), (cc::CLOCK_RATE_ADJUST, &[0])] {
        for h in [ENDORSEMENT, LOCKOUT_HIERARCHY] {
            assert_eq!(tpm.with(code, &[h], &[b""], params), Err(handle(1, VALUE)));
        }
        assert_eq!(tpm.run(code, &[OWNER], &[], params), Err(AUTH_MISSING));
        assert_eq!(tpm.with(code, &[OWNER], &[b""], &params[1..]), Err(param(1, INSUFFICIENT)));
    }
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b""], &tpm2b(b"own")).unwrap();
    assert_eq!(set(&mut tpm, OWNER, 9), Err(session(1, BAD_AUTH)));
}

#[test]
fn the_rate_is_adjusted_in_three_step_sizes() {
    // 30000 units of the platform's clock are a millisecond, and a step changes that number by 300, 30 or 1.
    for (step, divisor) in [(-3, 30300u64), (-2, 30030), (-1, 30001), (0, 30000), (1, 29999), (2, 29970), (3, 29700)] {
        let mut tpm = Fixture::new();
        assert_eq!(adjust(&mut tpm, step), Ok(vec![]));
        tpm.clock.0 = 1_000_000;
        let expected = 30_000 * 1_000_000 / divisor;
        assert_eq!((read(&mut tpm).time, read(&mut tpm).clock), (expected, expected), "step {step}");
        tpm.restart(Some(0), 0);
        tpm.clock.0 += 1000;
        assert_eq!(read(&mut tpm).time, 1000, "the nominal rate again");
    }
    let mut tpm = Fixture::new();
    for step in [-4, 4, i8::MIN, i8::MAX] {
        assert_eq!(adjust(&mut tpm, step), Err(param(1, VALUE)));
    }
}

/// The rate is adjusted until that is refused (Part 3, 29.3.1: `VALUE`, if it would be beyond what is nominal): first
/// by large steps, then by small ones.
fn adjust_to_the_limit(tpm: &mut Fixture, sign: i8) {
    for step in [3, 2, 1] {
        while adjust(tpm, sign * step) == Ok(vec![]) {}
        assert_eq!(adjust(tpm, sign * step), Err(param(1, VALUE)));
    }
}

#[test]
fn many_small_readings_lose_nothing_and_the_rate_has_a_limit() {
    let mut tpm = Fixture::new();
    adjust_to_the_limit(&mut tpm, -1);
    for _ in 0..7000 {
        tpm.clock.0 += 1;
        read(&mut tpm);
    }
    assert_eq!(read(&mut tpm).time, 6000, "30000 / 35000 of 7000 ms");
    adjust_to_the_limit(&mut tpm, 1);
    tpm.clock.0 += 5000;
    assert_eq!(read(&mut tpm).time, 12000, "30000 / 25000 of 5000 ms");
}
