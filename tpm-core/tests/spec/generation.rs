//! Whether what lasts has changed is told by a count, without looking at it. That it counts every change is looked at
//! after every command of every test ([`crate::harness::lasting`]); here are histories that change all there is, and
//! what must not count.

use crate::harness::Fixture;
use crate::harness::keys::{ecc_signing, ecc_storage, handle_of, hmac_key, sealed};
use crate::harness::nv::{self, INDEX, OTHER, a};
use crate::store::{Chance, change};
use client::codes::{ACT_0, ENDORSEMENT, NULL, OWNER, PLATFORM};
use client::platform::export;
use client::session::{Kind, Outcome, Session};
use client::tpm2b;
use tpm_core::{Hooks, MAX_STATE_SIZE, StateForm, cc};

/// SHA-256, PCR 16.
const EXTEND: [u8; 38] = {
    let mut parameters = [7; 38];
    (parameters[0], parameters[1], parameters[2], parameters[3]) = (0, 0, 0, 1);
    (parameters[4], parameters[5]) = (0, 0xb);
    parameters
};

/// The section of persistent state, as it is marshalled.
fn persistent(tpm: &Fixture) -> Vec<u8> {
    let state = export(&tpm.tpm, StateForm::PoweredOff);
    let mut rest = &state[16..];
    loop {
        let length = u32::from_be_bytes(rest[2..6].try_into().unwrap()) as usize;
        if rest[..2] == [0, 1] {
            return rest[6..][..length].to_vec();
        }
        rest = &rest[6 + length..];
    }
}

/// Whether they differ in eight octets at most: in Clock, which TPM2_ClockSet sets and which is recorded when it comes
/// to a multiple of an interval.
fn is_one_number(one: &[u8], other: &[u8]) -> bool {
    let mut apart = one.iter().zip(other).enumerate().filter(|(_, (a, b))| a != b).map(|(n, _)| n);
    let (first, last) = (apart.next().unwrap(), apart.next_back());
    one.len() == other.len() && last.is_none_or(|last| last - first < 8)
}

/// What lasts only after TPM2_Shutdown(STATE), or not at all.
fn pass(tpm: &mut Fixture, random: &mut Chance) {
    let octet = u8::try_from(random.below(256)).unwrap();
    let _: Outcome = match random.below(12) {
        0 => tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8]),
        1 => tpm.with(cc::PCR_EXTEND, &[16], &[b""], &EXTEND),
        2 => {
            let session = Session::plain(tpm, Kind::Policy).handle;
            if octet < 128 { tpm.run(cc::CONTEXT_SAVE, &[session], &[], &[]) } else { tpm.flush(session) }
        }
        // a saved session
        3 => tpm.flush(0x0200_0000 | u32::from(octet % 8)),
        4 => {
            let key = tpm.create_primary(NULL, &hmac_key()).unwrap();
            let _ = tpm.run(cc::CONTEXT_SAVE, &[handle_of(&key)], &[], &[]);
            tpm.flush(handle_of(&key))
        }
        5 => tpm.with(
            cc::HIERARCHY_CONTROL,
            &[PLATFORM],
            &[b""],
            &[&ENDORSEMENT.to_be_bytes()[..], &[octet & 1]].concat(),
        ),
        6 => tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]),
        7 => tpm.with(cc::ACT_SET_TIMEOUT, &[ACT_0], &[b""], &u32::from(octet % 4).to_be_bytes()),
        8 => tpm.with(cc::PCR_SET_AUTH_VALUE, &[20], &[b""], &tpm2b(&[octet; 3])),
        9 => tpm.run(cc::READ_CLOCK, &[], &[], &[]),
        _ => tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]),
    };
}

#[test]
fn the_generation_is_another_whenever_persistent_state_is_marshalled_otherwise() {
    let (mut changed, mut same, mut counted) = (0, 0, 0);
    for seed in 1..9 {
        let (mut tpm, mut random) = (Fixture::new(), Chance::new(seed));
        for _ in 0..600 {
            tpm.clock.0 += u64::from(random.below(3000));
            tpm.tpm.advance_time(&mut Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock });
            let before = (tpm.tpm.generation(), persistent(&tpm));
            let ended = match random.below(3) {
                0 => {
                    pass(&mut tpm, &mut random);
                    false
                }
                _ => change(&mut tpm, &mut random),
            };
            let after = (tpm.tpm.generation(), persistent(&tpm));
            assert!(before.0 != after.0 || before.1 == after.1 || is_one_number(&before.1, &after.1));
            match (before.1 == after.1, before.0 == after.0) {
                (false, _) => changed += 1,
                (true, true) => same += 1,
                (true, false) => counted += 1,
            }
            if ended && random.below(2) == 0 {
                tpm.power_cycle();
                tpm.run(cc::STARTUP, &[], &[], &[0, 1]).or_else(|_| tpm.run(cc::STARTUP, &[], &[], &[0, 0])).unwrap();
            }
        }
    }
    println!("{changed} changes, {same} commands that changed nothing, {counted} that counted and changed nothing");
    assert!(changed > 1000 && same > 1000);
}

/// Whatever it says, the command must not count.
#[track_caller]
fn idle(tpm: &mut Fixture, command: impl FnOnce(&mut Fixture) -> Outcome) -> Outcome {
    let before = tpm.tpm.generation();
    let outcome = command(tpm);
    assert_eq!(tpm.tpm.generation(), before, "a command that changes nothing that lasts has counted");
    outcome
}

/// A TPM with indices, keys, a session, and its first use of what is protected behind it.
fn furnished() -> (Fixture, [u32; 3]) {
    let mut tpm = Fixture::new();
    nv::define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    nv::write(&mut tpm, INDEX, INDEX, &[1; 8], 0).unwrap();
    nv::define(&mut tpm, OTHER, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    nv::write(&mut tpm, OTHER, OTHER, &[1; 8], 0).unwrap();
    let (storage, _) = tpm.primary(OWNER, &ecc_storage());
    let signing = tpm.child(storage, b"", b"", &ecc_signing());
    let session = Session::plain(&mut tpm, Kind::Policy).handle;
    (tpm, [storage, signing, session])
}

#[test]
fn what_changes_nothing_that_lasts_does_not_count() {
    let (mut tpm, [storage, signing, session]) = furnished();
    let tpm = &mut tpm;
    tpm.clock.0 += 1000;
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 0xff, 0, 0];
    for (code, parameters) in [
        (cc::GET_RANDOM, &[0, 32][..]),
        (cc::STIR_RANDOM, &[0, 3, 1, 2, 3]),
        (cc::PCR_READ, &selection),
        (cc::READ_CLOCK, &[]),
        (cc::GET_TEST_RESULT, &[]),
        (cc::HASH, &[0, 2, b'h', b'i', 0, 0xb, 0x40, 0, 0, 7]),
        (cc::EC_EPHEMERAL, &[0, 3]),
    ] {
        idle(tpm, |tpm| tpm.run(code, &[], &[], parameters)).unwrap();
    }
    for capability in (0..0xb).chain([0x100]) {
        let property = match capability {
            9 => OWNER,
            10 => ACT_0,
            _ => 0,
        };
        let parameters = [capability, property, 64].map(u32::to_be_bytes).concat();
        idle(tpm, |tpm| tpm.run(cc::GET_CAPABILITY, &[], &[], &parameters)).unwrap();
    }
    idle(tpm, |tpm| tpm.with(cc::PCR_EXTEND, &[16], &[b""], &EXTEND)).unwrap();
    idle(tpm, |tpm| tpm.with(cc::PCR_EVENT, &[16], &[b""], &tpm2b(b"event"))).unwrap();
    idle(tpm, |tpm| tpm.with(cc::PCR_RESET, &[16], &[b""], &[])).unwrap();
    let quote = [&tpm2b(b"nonce")[..], &[0, 0x10], &selection].concat();
    idle(tpm, |tpm| tpm.with(cc::QUOTE, &[signing], &[b""], &quote)).unwrap();
    let digest = [&tpm2b(&[7; 32])[..], &[0, 0x10, 0x80, 0x24, 0x40, 0, 0, 7, 0, 0]].concat();
    idle(tpm, |tpm| tpm.with(cc::SIGN, &[signing], &[b""], &digest)).unwrap();
    for index in [INDEX, OTHER] {
        idle(tpm, |tpm| nv::read(tpm, index, index, 8, 0)).unwrap();
        idle(tpm, |tpm| tpm.run(cc::NV_READ_PUBLIC, &[index], &[], &[])).unwrap();
    }
    idle(tpm, |tpm| tpm.run(cc::POLICY_PCR, &[session], &[], &[&[0, 0][..], &selection].concat())).unwrap();
    idle(tpm, |tpm| tpm.run(cc::CONTEXT_SAVE, &[session], &[], &[])).unwrap();
    idle(tpm, |tpm| tpm.run(cc::CONTEXT_SAVE, &[signing], &[], &[])).unwrap();
    idle(tpm, |tpm| Ok(tpm.child(storage, b"", b"secret", &sealed()).to_be_bytes().to_vec())).unwrap();
    idle(tpm, |tpm| tpm.flush(signing)).unwrap();
    idle(tpm, |tpm| Ok(Session::plain(tpm, Kind::Hmac).nonce_tpm)).unwrap();
}

#[test]
fn what_fails_and_changes_nothing_that_lasts_does_not_count() {
    let (mut tpm, _) = furnished();
    let tpm = &mut tpm;
    idle(tpm, |tpm| tpm.run(0xff, &[], &[], &[])).unwrap_err();
    idle(tpm, |tpm| nv::define(tpm, INDEX, a::AUTH, 8)).unwrap_err();
    idle(tpm, |tpm| nv::define(tpm, INDEX + 9, a::AUTH | a::WRITTEN, 8)).unwrap_err();
    idle(tpm, |tpm| nv::write(tpm, INDEX, INDEX, &[2; 8], 1)).unwrap_err();
    idle(tpm, |tpm| nv::act(tpm, cc::NV_INCREMENT, INDEX, INDEX)).unwrap_err();
    // A wrong password where there is no protection; an authValue that is too long; a clock that would go back.
    idle(tpm, |tpm| tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"wrong"], &[0, 8, 0, 0])).unwrap_err();
    idle(tpm, |tpm| tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b"wrong"], &tpm2b(b"new"))).unwrap_err();
    idle(tpm, |tpm| tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[b""], &tpm2b(&[1; 33]))).unwrap_err();
    tpm.clock.0 += 10;
    idle(tpm, |tpm| tpm.with(cc::CLOCK_SET, &[OWNER], &[b""], &[0; 8])).unwrap_err();
    for n in 0..24 {
        let key = tpm.create_primary(OWNER, &hmac_key()).unwrap();
        tpm.with(cc::EVICT_CONTROL, &[OWNER, handle_of(&key)], &[b""], &(0x8100_0000_u32 + n).to_be_bytes()).unwrap();
        tpm.flush(handle_of(&key)).unwrap();
    }
    let key = handle_of(&tpm.create_primary(OWNER, &hmac_key()).unwrap());
    for to in [0x8100_0000_u32, 0x8100_0020, 0x8180_0000] {
        idle(tpm, |tpm| tpm.with(cc::EVICT_CONTROL, &[OWNER, key], &[b""], &to.to_be_bytes())).unwrap_err();
    }
}

/// Between TPM2_Shutdown(STATE) and the loss of power what it saved lasts, too.
#[test]
fn after_a_shutdown_too_a_command_that_changes_nothing_does_not_count() {
    for su in [0, 1] {
        let (mut tpm, _) = furnished();
        tpm.run(cc::SHUTDOWN, &[], &[], &[0, su]).unwrap();
        for _ in 0..10 {
            tpm.clock.0 += 1000;
            idle(&mut tpm, |tpm| tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8])).unwrap();
        }
    }
}

/// Saved sessions come back after TPM Resume and TPM Restart, unless they were flushed.
#[test]
fn after_a_shutdown_with_state_the_flush_of_a_saved_session_counts() {
    let (mut tpm, [_, _, session]) = furnished();
    tpm.run(cc::CONTEXT_SAVE, &[session], &[], &[]).unwrap();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    let look = |tpm: &Fixture| {
        let digest = tpm.tpm.lasting_digest(&mut vec![0; MAX_STATE_SIZE]).unwrap();
        (tpm.tpm.generation(), digest)
    };
    let before = look(&tpm);
    tpm.flush(session).unwrap();
    let after = look(&tpm);
    assert!(before.1 != after.1 && before.0 != after.0);
}

#[test]
fn another_tpm_is_in_another_generation() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let state = export(&one.tpm, StateForm::Whole);
    let again = crate::harness::twin::import(&state, 0).unwrap();
    assert!(again.generation() != one.tpm.generation());
    let mut next = Fixture::new();
    next.tpm.manufacture(&mut Hooks { entropy: &mut next.entropy, clock: &mut next.clock }).unwrap();
    assert!(next.tpm.generation() != other.tpm.generation());
}
