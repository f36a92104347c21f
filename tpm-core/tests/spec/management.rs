//! Part 3, 26: physical presence and the algorithm set.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{AUTH_MISSING, HIERARCHY, INSUFFICIENT, OWNER, PLATFORM, PP, SIZE, VALUE, handle, param, session};
use client::session::Outcome;
use tpm_core::cc;

fn list(codes: &[u32]) -> Vec<u8> {
    [codes.len() as u32].iter().chain(codes).flat_map(|n| n.to_be_bytes()).collect()
}

fn change(tpm: &mut Fixture, set: &[u32], clear: &[u32]) -> Outcome {
    tpm.with(cc::PP_COMMANDS, &[PLATFORM], &[b""], &[list(set), list(clear)].concat())
}

fn needing_presence(tpm: &mut Fixture) -> Vec<u32> {
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[3, 0, 254].map(u32::to_be_bytes).concat()).unwrap();
    reply[9..].chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect()
}

fn clock_set(tpm: &mut Fixture, by: u32) -> Outcome {
    tpm.with(cc::CLOCK_SET, &[by], &[b""], &1000u64.to_be_bytes())
}

/// Every command of the specification that TPM2_PP_Commands can put on the list.
const POSSIBLE: [u32; 22] = [
    cc::NV_UNDEFINE_SPACE_SPECIAL,
    cc::EVICT_CONTROL,
    cc::HIERARCHY_CONTROL,
    cc::NV_UNDEFINE_SPACE,
    cc::CHANGE_EPS,
    cc::CHANGE_PPS,
    cc::CLEAR,
    cc::CLEAR_CONTROL,
    cc::CLOCK_SET,
    cc::HIERARCHY_CHANGE_AUTH,
    cc::NV_DEFINE_SPACE,
    cc::PCR_ALLOCATE,
    cc::PCR_SET_AUTH_POLICY,
    cc::SET_PRIMARY_POLICY,
    0x12f,
    cc::CLOCK_RATE_ADJUST,
    cc::CREATE_PRIMARY,
    cc::NV_GLOBAL_WRITE_LOCK,
    cc::SET_COMMAND_CODE_AUDIT_STATUS,
    cc::CREATE_LOADED,
    cc::NV_DEFINE_SPACE_2,
    cc::READ_ONLY_CONTROL,
];

#[test]
fn pp_commands_itself_always_needs_physical_presence() {
    let mut tpm = Fixture::new();
    assert_eq!(needing_presence(&mut tpm), [cc::PP_COMMANDS]);
    assert_eq!(change(&mut tpm, &[cc::CLEAR], &[]), Err(session(1, PP)));
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[], &[cc::PP_COMMANDS]), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [cc::PP_COMMANDS], "it stays on the list");
    tpm.tpm.set_physical_presence(false);
    assert_eq!(change(&mut tpm, &[cc::CLEAR], &[]), Err(session(1, PP)));
}

#[test]
fn a_listed_command_needs_physical_presence_with_the_platforms_authorization() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[cc::CLEAR, cc::CLOCK_SET], &[]), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [cc::CLEAR, cc::CLOCK_SET, cc::PP_COMMANDS]);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Ok(vec![]));
    tpm.tpm.set_physical_presence(false);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Err(session(1, PP)));
    assert_eq!(tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]), Err(session(1, PP)));
    assert_eq!(tpm.with(cc::CLEAR, &[PLATFORM], &[b"wrong"], &[]), Err(session(1, PP)), "before the authValue");
    assert_eq!(clock_set(&mut tpm, OWNER), Ok(vec![]), "the owner does not");
    tpm.restart(None, 0);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Err(session(1, PP)), "the list is in NV");
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[cc::CLEAR], &[cc::CLOCK_SET, cc::CLEAR]), Ok(vec![]), "on both lists: cleared");
    assert_eq!(needing_presence(&mut tpm), [cc::PP_COMMANDS]);
}

#[test]
fn only_commands_that_the_platform_authorizes_can_be_listed() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    let commands = tpm.run(cc::GET_CAPABILITY, &[], &[], &[2, 0, 254].map(u32::to_be_bytes).concat()).unwrap();
    let commands: Vec<u32> =
        commands[9..].chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap()) & 0xffff).collect();
    let all: Vec<u32> = (0x100..0x1d0).chain([0, u32::MAX, 0x2000_0000]).collect();
    assert_eq!(change(&mut tpm, &all, &[]), Ok(vec![]));
    let mut expected: Vec<u32> =
        POSSIBLE.into_iter().chain([cc::PP_COMMANDS]).filter(|c| commands.contains(c)).collect();
    expected.sort_unstable();
    assert_eq!(needing_presence(&mut tpm), expected);
    assert_eq!(change(&mut tpm, &[], &all), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [cc::PP_COMMANDS]);
}

#[test]
fn pp_commands_refuses_what_is_malformed() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    let run = |tpm: &mut Fixture, h: u32, params: &[u8]| tpm.with(cc::PP_COMMANDS, &[h], &[b""], params);
    assert_eq!(run(&mut tpm, OWNER, &[0; 8]), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(cc::PP_COMMANDS, &[PLATFORM], &[], &[0; 8]), Err(AUTH_MISSING));
    assert_eq!(run(&mut tpm, PLATFORM, &255u32.to_be_bytes()), Err(param(1, SIZE)));
    assert_eq!(run(&mut tpm, PLATFORM, &[0; 3]), Err(param(1, INSUFFICIENT)));
    assert_eq!(run(&mut tpm, PLATFORM, &[&[0; 4][..], &255u32.to_be_bytes()].concat()), Err(param(2, SIZE)));
    assert_eq!(
        run(&mut tpm, PLATFORM, &[list(&[]), list(&[cc::CLEAR])[..7].to_vec()].concat()),
        Err(param(2, INSUFFICIENT))
    );
    let disable = [&PLATFORM.to_be_bytes()[..], &[0]].concat();
    tpm.with(cc::HIERARCHY_CONTROL, &[PLATFORM], &[b""], &disable).unwrap();
    assert_eq!(run(&mut tpm, PLATFORM, &[0; 8]), Err(handle(1, HIERARCHY)));
}

#[test]
fn the_algorithm_set_is_remembered() {
    let mut tpm = Fixture::new();
    let set = |tpm: &mut Fixture| {
        tpm.run(cc::GET_CAPABILITY, &[], &[], &[6, 0x20c, 1].map(u32::to_be_bytes).concat()).unwrap()[13..].to_vec()
    };
    assert_eq!(set(&mut tpm), [0; 4]);
    assert_eq!(tpm.with(cc::SET_ALGORITHM_SET, &[PLATFORM], &[b""], &[1, 2, 3, 4]), Ok(vec![]));
    tpm.restart(None, 0);
    assert_eq!(set(&mut tpm), [1, 2, 3, 4]);
    assert_eq!(tpm.with(cc::SET_ALGORITHM_SET, &[OWNER], &[b""], &[0; 4]), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(cc::SET_ALGORITHM_SET, &[PLATFORM], &[], &[0; 4]), Err(AUTH_MISSING));
    assert_eq!(tpm.with(cc::SET_ALGORITHM_SET, &[PLATFORM], &[b""], &[0; 3]), Err(param(1, INSUFFICIENT)));
}
