//! Start-up and self-tests; and what changes the TPM itself: hierarchies, PCR, clock, audit (Part 3, 9, 10, 21, 22, 24
//! to 26, 29, 30). What is changed is changed back, as far as it can be.

use super::keys::{ml_dsa, primary};
use super::{ALL_PCR, DIGEST, LONG, ONE, SHA512, Scene, scene};
use crate::tpm::Tpm;
use client::codes::{ACT_0, LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM};
use client::names::cap;
use client::template::NONE;
use client::{cc, tpm2b};

/// What comes first: self-tests before anything has been tested.
pub(super) const FIRST: &[Scene] = &[
    scene(cc::STARTUP, |tpm| {
        tpm.run(cc::STARTUP, &[], &[], &[&[0, 0]]);
    }),
    scene(cc::INCREMENTAL_SELF_TEST, |tpm| {
        let known = capability(tpm, cap::ALGS);
        // Of entries with an identifier and four octets of attributes, behind their number.
        let identifiers = known[4..].chunks(6).flat_map(|entry| entry[..2].to_vec());
        let list = known[..4].iter().copied().chain(identifiers).collect::<Vec<_>>();
        tpm.run(cc::INCREMENTAL_SELF_TEST, &[], &[], &[&list]);
    }),
    scene(cc::SELF_TEST, |tpm| {
        tpm.run(cc::SELF_TEST, &[], &[], &[&[1]]);
    }),
];

/// The end.
pub(super) const LAST: Scene = scene(cc::SHUTDOWN, |tpm| {
    tpm.run(cc::SHUTDOWN, &[], &[], &[&[0, 0]]);
});

pub(super) const SCENES: &[Scene] = &[
    scene(cc::GET_TEST_RESULT, |tpm| {
        tpm.run(cc::GET_TEST_RESULT, &[], &[], &[]);
    }),
    scene(cc::SET_COMMAND_CODE_AUDIT_STATUS, |tpm| {
        tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], ONE, &[SHA512, &[0; 8]]);
        let count = u32::try_from(cc::ALL.len()).expect("few").to_be_bytes();
        let all = [&count[..], &cc::ALL.iter().flat_map(|(code, _)| code.to_be_bytes()).collect::<Vec<_>>()].concat();
        tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], ONE, &[NONE, &all, &[0; 4]]);
        tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], ONE, &[NONE, &[0; 4], &all]);
    }),
    scene(cc::PCR_ALLOCATE, |tpm| {
        tpm.run(cc::PCR_ALLOCATE, &[PLATFORM], ONE, &[ALL_PCR]);
    }),
    scene(cc::PCR_EVENT, |tpm| {
        tpm.run(cc::PCR_EVENT, &[16], ONE, &[&tpm2b(&LONG)]);
    }),
    scene(cc::PCR_EXTEND, |tpm| {
        let digests =
            [(4, 20), (0xb, 32), (0xc, 48), (0xd, 64)].map(|(alg, size)| [&[0, alg][..], &DIGEST[..size]].concat());
        tpm.run(cc::PCR_EXTEND, &[16], ONE, &[&[0, 0, 0, 4], &digests.concat()]);
    }),
    scene(cc::PCR_READ, |tpm| {
        tpm.run(cc::PCR_READ, &[], &[], &[ALL_PCR]);
    }),
    scene(cc::PCR_RESET, |tpm| {
        tpm.run(cc::PCR_RESET, &[16], ONE, &[]);
    }),
    scene(cc::PCR_SET_AUTH_POLICY, |tpm| {
        for [policy, alg] in [[&tpm2b(&DIGEST)[..], SHA512], [&[0, 0], NONE]] {
            tpm.run(cc::PCR_SET_AUTH_POLICY, &[PLATFORM], ONE, &[policy, alg, &20_u32.to_be_bytes()]);
        }
    }),
    scene(cc::PCR_SET_AUTH_VALUE, |tpm| {
        tpm.run(cc::PCR_SET_AUTH_VALUE, &[20], ONE, &[&tpm2b(&DIGEST[..32])]);
        tpm.run(cc::PCR_SET_AUTH_VALUE, &[20], &[&DIGEST[..32]], &[&[0, 0]]);
    }),
    scene(cc::CHANGE_EPS, |tpm| {
        tpm.run(cc::CHANGE_EPS, &[PLATFORM], ONE, &[]);
    }),
    scene(cc::CHANGE_PPS, |tpm| {
        tpm.run(cc::CHANGE_PPS, &[PLATFORM], ONE, &[]);
    }),
    scene(cc::CLEAR, |tpm| {
        primary(tpm, &ml_dsa(3));
        tpm.run(cc::CLEAR, &[LOCKOUT_HIERARCHY], ONE, &[]);
    }),
    scene(cc::CLEAR_CONTROL, |tpm| {
        switched(tpm, cc::CLEAR_CONTROL, &[], [1, 0]);
    }),
    scene(cc::HIERARCHY_CHANGE_AUTH, |tpm| {
        let value = &DIGEST[..32];
        tpm.run(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], ONE, &[&tpm2b(value)]);
        tpm.run(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[value], &[&[0, 0]]);
    }),
    scene(cc::HIERARCHY_CONTROL, |tpm| {
        // What is loaded of the hierarchy is flushed.
        for _ in 0..4 {
            primary(tpm, &ml_dsa(3));
        }
        switched(tpm, cc::HIERARCHY_CONTROL, &OWNER.to_be_bytes(), [0, 1]);
    }),
    scene(cc::READ_ONLY_CONTROL, |tpm| {
        switched(tpm, cc::READ_ONLY_CONTROL, &[], [1, 0]);
    }),
    scene(cc::SET_PRIMARY_POLICY, |tpm| {
        for [policy, alg] in [[&tpm2b(&DIGEST)[..], SHA512], [&[0, 0], NONE]] {
            tpm.run(cc::SET_PRIMARY_POLICY, &[OWNER], ONE, &[policy, alg]);
        }
    }),
    scene(cc::DICTIONARY_ATTACK_LOCK_RESET, |tpm| {
        tpm.run(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], ONE, &[]);
    }),
    scene(cc::DICTIONARY_ATTACK_PARAMETERS, |tpm| {
        let parameters = [32_u32, 7200, 86400].map(u32::to_be_bytes).concat();
        tpm.run(cc::DICTIONARY_ATTACK_PARAMETERS, &[LOCKOUT_HIERARCHY], ONE, &[&parameters]);
    }),
    scene(cc::SET_ALGORITHM_SET, |tpm| {
        tpm.run(cc::SET_ALGORITHM_SET, &[PLATFORM], ONE, &[&[0; 4]]);
    }),
    scene(cc::CLOCK_RATE_ADJUST, |tpm| {
        // Slower, faster.
        for step in [0xff, 1] {
            tpm.run(cc::CLOCK_RATE_ADJUST, &[OWNER], ONE, &[&[step]]);
        }
    }),
    scene(cc::CLOCK_SET, |tpm| {
        let time = tpm.run(cc::READ_CLOCK, &[], &[], &[]);
        let clock = u64::from_be_bytes(time[8..16].try_into().expect("a clock"));
        // Some hours on: a record in NV.
        tpm.run(cc::CLOCK_SET, &[OWNER], ONE, &[&(clock + (1 << 24)).to_be_bytes()]);
    }),
    scene(cc::READ_CLOCK, |tpm| {
        tpm.run(cc::READ_CLOCK, &[], &[], &[]);
    }),
    scene(cc::ACT_SET_TIMEOUT, |tpm| {
        for seconds in [1_000_000_u32, 0] {
            tpm.run(cc::ACT_SET_TIMEOUT, &[ACT_0], ONE, &[&seconds.to_be_bytes()]);
        }
    }),
    scene(cc::GET_CAPABILITY, |tpm| {
        for group in [cap::ALGS, cap::COMMANDS, cap::PCRS, cap::TPM_PROPERTIES, cap::PCR_PROPERTIES, cap::AUTH_POLICIES]
        {
            capability(tpm, group);
        }
    }),
    scene(cc::TEST_PARMS, |tpm| {
        tpm.run(cc::TEST_PARMS, &[], &[], &[&[0, 1, 0, 0x10, 0, 0x10, 16, 0, 0, 0, 0, 0]]);
    }),
];

/// All of a capability, as far as an answer has it, behind moreData and its number.
fn capability(tpm: &mut Tpm<'_>, group: u32) -> Vec<u8> {
    let first = if group == cap::AUTH_POLICIES { NULL & 0xff00_0000 | 1 } else { 0 };
    let answer = tpm.run(cc::GET_CAPABILITY, &[], &[], &[&[group, first, 254].map(u32::to_be_bytes).concat()]);
    answer[5..].to_vec()
}

/// The platform switches something one way, and back.
fn switched(tpm: &mut Tpm<'_>, code: u32, what: &[u8], states: [u8; 2]) {
    for state in states {
        tpm.run(code, &[PLATFORM], ONE, &[what, &[state]]);
    }
}
