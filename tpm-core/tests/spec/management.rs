//! Part 3, 26: physical presence and the algorithm set.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::codes::{
    AUTH_MISSING, HIERARCHY, INSUFFICIENT, OWNER, PLATFORM, SIZE, VALUE, handle, param, session,
};
use crate::harness::{Fixture, Outcome};

const PP_COMMANDS: u32 = 0x12d;
const SET_ALGORITHM_SET: u32 = 0x13f;
const CLEAR: u32 = 0x126;
const CLOCK_SET: u32 = 0x128;
const PP: u32 = 0x10;

fn list(codes: &[u32]) -> Vec<u8> {
    [codes.len() as u32].iter().chain(codes).flat_map(|n| n.to_be_bytes()).collect()
}

fn change(tpm: &mut Fixture, set: &[u32], clear: &[u32]) -> Outcome {
    tpm.with(PP_COMMANDS, &[PLATFORM], &[b""], &[list(set), list(clear)].concat())
}

fn needing_presence(tpm: &mut Fixture) -> Vec<u32> {
    let reply = tpm.run(0x17a, &[], &[], &[3, 0, 254].map(u32::to_be_bytes).concat()).unwrap();
    reply[9..].chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap())).collect()
}

fn clock_set(tpm: &mut Fixture, by: u32) -> Outcome {
    tpm.with(CLOCK_SET, &[by], &[b""], &1000u64.to_be_bytes())
}

/// Every command of the specification that TPM2_PP_Commands can put on the list.
const POSSIBLE: [u32; 22] = [
    0x11f, 0x120, 0x121, 0x122, 0x124, 0x125, 0x126, 0x127, 0x128, 0x129, 0x12a, 0x12b, 0x12c, 0x12e, 0x12f, 0x130,
    0x131, 0x132, 0x140, 0x191, 0x19d, 0x1a0,
];

#[test]
fn pp_commands_itself_always_needs_physical_presence() {
    let mut tpm = Fixture::new();
    assert_eq!(needing_presence(&mut tpm), [PP_COMMANDS]);
    assert_eq!(change(&mut tpm, &[CLEAR], &[]), Err(session(1, PP)));
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[], &[PP_COMMANDS]), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [PP_COMMANDS], "it stays on the list");
    tpm.tpm.set_physical_presence(false);
    assert_eq!(change(&mut tpm, &[CLEAR], &[]), Err(session(1, PP)));
}

#[test]
fn a_listed_command_needs_physical_presence_with_the_platforms_authorization() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[CLEAR, CLOCK_SET], &[]), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [CLEAR, CLOCK_SET, PP_COMMANDS]);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Ok(vec![]));
    tpm.tpm.set_physical_presence(false);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Err(session(1, PP)));
    assert_eq!(tpm.with(CLEAR, &[PLATFORM], &[b""], &[]), Err(session(1, PP)));
    assert_eq!(tpm.with(CLEAR, &[PLATFORM], &[b"wrong"], &[]), Err(session(1, PP)), "before the authValue");
    assert_eq!(clock_set(&mut tpm, OWNER), Ok(vec![]), "the owner does not");
    tpm.restart(None, 0);
    assert_eq!(clock_set(&mut tpm, PLATFORM), Err(session(1, PP)), "the list is in NV");
    tpm.tpm.set_physical_presence(true);
    assert_eq!(change(&mut tpm, &[CLEAR], &[CLOCK_SET, CLEAR]), Ok(vec![]), "on both lists: cleared");
    assert_eq!(needing_presence(&mut tpm), [PP_COMMANDS]);
}

#[test]
fn only_commands_that_the_platform_authorizes_can_be_listed() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    let commands = tpm.run(0x17a, &[], &[], &[2, 0, 254].map(u32::to_be_bytes).concat()).unwrap();
    let commands: Vec<u32> =
        commands[9..].chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap()) & 0xffff).collect();
    let all: Vec<u32> = (0x100..0x1d0).chain([0, u32::MAX, 0x2000_0000]).collect();
    assert_eq!(change(&mut tpm, &all, &[]), Ok(vec![]));
    let mut expected: Vec<u32> = POSSIBLE.into_iter().chain([PP_COMMANDS]).filter(|c| commands.contains(c)).collect();
    expected.sort_unstable();
    assert_eq!(needing_presence(&mut tpm), expected);
    assert_eq!(change(&mut tpm, &[], &all), Ok(vec![]));
    assert_eq!(needing_presence(&mut tpm), [PP_COMMANDS]);
}

#[test]
fn pp_commands_refuses_what_is_malformed() {
    let mut tpm = Fixture::new();
    tpm.tpm.set_physical_presence(true);
    let run = |tpm: &mut Fixture, h: u32, params: &[u8]| tpm.with(PP_COMMANDS, &[h], &[b""], params);
    assert_eq!(run(&mut tpm, OWNER, &[0; 8]), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(PP_COMMANDS, &[PLATFORM], &[], &[0; 8]), Err(AUTH_MISSING));
    assert_eq!(run(&mut tpm, PLATFORM, &255u32.to_be_bytes()), Err(param(1, SIZE)));
    assert_eq!(run(&mut tpm, PLATFORM, &[0; 3]), Err(param(1, INSUFFICIENT)));
    assert_eq!(run(&mut tpm, PLATFORM, &[&[0; 4][..], &255u32.to_be_bytes()].concat()), Err(param(2, SIZE)));
    assert_eq!(
        run(&mut tpm, PLATFORM, &[list(&[]), list(&[CLEAR])[..7].to_vec()].concat()),
        Err(param(2, INSUFFICIENT))
    );
    let disable = [&PLATFORM.to_be_bytes()[..], &[0]].concat();
    tpm.with(0x121, &[PLATFORM], &[b""], &disable).unwrap();
    assert_eq!(run(&mut tpm, PLATFORM, &[0; 8]), Err(handle(1, HIERARCHY)));
}

#[test]
fn the_algorithm_set_is_remembered() {
    let mut tpm = Fixture::new();
    let set = |tpm: &mut Fixture| {
        tpm.run(0x17a, &[], &[], &[6, 0x20c, 1].map(u32::to_be_bytes).concat()).unwrap()[13..].to_vec()
    };
    assert_eq!(set(&mut tpm), [0; 4]);
    assert_eq!(tpm.with(SET_ALGORITHM_SET, &[PLATFORM], &[b""], &[1, 2, 3, 4]), Ok(vec![]));
    tpm.restart(None, 0);
    assert_eq!(set(&mut tpm), [1, 2, 3, 4]);
    assert_eq!(tpm.with(SET_ALGORITHM_SET, &[OWNER], &[b""], &[0; 4]), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(SET_ALGORITHM_SET, &[PLATFORM], &[], &[0; 4]), Err(AUTH_MISSING));
    assert_eq!(tpm.with(SET_ALGORITHM_SET, &[PLATFORM], &[b""], &[0; 3]), Err(param(1, INSUFFICIENT)));
}
