//! The state as octets. In every history here the state is exported and imported before each command, the copy gets the
//! command too, and must answer as the original does and come to the same state; at each loss of power a copy of what
//! survives it must come to the same state as well (harness/twin.rs).

use crate::harness::Fixture;
use crate::harness::keys::{aes_key, ecc_signing, ecc_storage, handle_of, hmac_key, sealed};
use crate::harness::nv::{self, INDEX, a};
use crate::harness::twin::import;
use client::attributes::session as attr;
use client::codes::{ACT_0, FAILURE, LOCKOUT, LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM};
use client::hash::Alg;
use client::platform::export;
use client::session::{Kind, Session, Start};
use client::sym::Sym;
use client::tpm2b;
use sha2::{Digest, Sha256};
use tpm_core::cc;
use tpm_core::profile::PROFILE;
use tpm_core::{Fault, Hooks, MAX_STATE_SIZE, StateError, StateForm};

fn mirrored() -> Fixture {
    let mut tpm = Fixture::new();
    tpm.mirrored = true;
    tpm
}

fn extend(tpm: &mut Fixture, pcr: u32, octet: u8) {
    let values = [&[0, 0, 0, 1, 0, 0xb][..], &[octet; 32]].concat();
    tpm.with(cc::PCR_EXTEND, &[pcr], &[b""], &values).unwrap();
}

/// Everything that can be asked without authorization.
fn ask(tpm: &mut Fixture) {
    for (capability, first) in [(0, 0), (1, 0x0200_0000), (1, 0x0300_0000), (1, 0x8000_0000), (1, 0x8100_0000)]
        .into_iter()
        .chain([(1, 0x0100_0000), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0x100), (6, 0x200), (7, 0), (9, 0), (0xa, 0)])
    {
        let words = [capability, first, 200u32].map(u32::to_be_bytes).concat();
        let _ = tpm.run(cc::GET_CAPABILITY, &[], &[], &words);
    }
    tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap();
    tpm.run(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0xff, 0xff]).unwrap();
}

/// Orderly, hybrid and other indices of every type, objects of every kind, hierarchies with authValues and policies.
fn furnish(tpm: &mut Fixture) {
    let types = [
        (a::AUTH, 100),
        (a::AUTH | a::COUNTER, 8),
        (a::AUTH | a::BITS | a::ORDERLY, 8),
        (a::AUTH | a::EXTEND, 32),
        (a::AUTH | a::COUNTER | a::ORDERLY, 8),
        (nv::PIN | a::PIN_FAIL, 8),
        (a::AUTH | a::WRITE_STCLEAR | a::READ_STCLEAR, 4),
    ];
    for (n, (attributes, size)) in (0u32..).zip(types) {
        // Not in the order of handles.
        nv::define(tpm, INDEX + 20 - n, attributes, size).unwrap();
    }
    nv::write(tpm, INDEX + 20, INDEX + 20, b"contents", 7).unwrap();
    nv::act(tpm, cc::NV_INCREMENT, INDEX + 19, INDEX + 19).unwrap();
    nv::set_bits(tpm, INDEX + 18, INDEX + 18, 0x55).unwrap();
    nv::extend(tpm, INDEX + 17, INDEX + 17, b"more").unwrap();
    nv::act(tpm, cc::NV_INCREMENT, INDEX + 16, INDEX + 16).unwrap();
    nv::write(tpm, OWNER, INDEX + 15, &[0, 0, 0, 1, 0, 0, 0, 5], 0).unwrap();
    nv::write(tpm, INDEX + 14, INDEX + 14, b"last", 0).unwrap();
    nv::act(tpm, cc::NV_WRITE_LOCK, INDEX + 14, INDEX + 14).unwrap();
    nv::act(tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX + 19).unwrap();

    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    tpm.with(cc::EVICT_CONTROL, &[OWNER, parent], &[b""], &0x8100_0001u32.to_be_bytes()).unwrap();
    for template in [ecc_signing(), hmac_key(), aes_key()] {
        let child = tpm.child(parent, b"pw", b"", &template);
        tpm.with(cc::EVICT_CONTROL, &[OWNER, child], &[b""], &(0x8100_0000 | child & 0xff | 0x10).to_be_bytes())
            .unwrap();
    }
    let child = tpm.child(parent, b"pw", b"sealed", &sealed());
    tpm.with(cc::UNSEAL, &[child], &[b"pw"], &[]).unwrap();

    for (pcr, octet) in [(0, 1), (10, 2), (16, 3), (23, 4)] {
        extend(tpm, pcr, octet);
    }
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[PLATFORM], &[b""], &tpm2b(b"platform")).unwrap();
    tpm.with(cc::SET_PRIMARY_POLICY, &[OWNER], &[b""], &[&tpm2b(&[7; 32])[..], &[0, 0xb]].concat()).unwrap();
    // TPM2_GetRandom is audited, TPM2_Clear needs presence of which there is none.
    tpm.with(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], &[b""], &[0, 0x10, 0, 0, 0, 1, 0, 0, 1, 0x7b, 0, 0, 0, 0])
        .unwrap();
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]).unwrap();
    tpm.set_presence(true);
    tpm.with(cc::PP_COMMANDS, &[PLATFORM], &[b"platform"], &[0, 0, 0, 1, 0, 0, 1, 0x26, 0, 0, 0, 0]).unwrap();
    tpm.set_presence(false);
    tpm.with(cc::SET_ALGORITHM_SET, &[PLATFORM], &[b"platform"], &[0, 0, 0, 9]).unwrap();
    // ACT 0 counts from 100 s.
    tpm.with(cc::ACT_SET_TIMEOUT, &[ACT_0], &[b"platform"], &100u32.to_be_bytes()).unwrap();
    tpm.with(cc::CLOCK_RATE_ADJUST, &[OWNER], &[b""], &[1]).unwrap();
}

trait Presence {
    fn set_presence(&mut self, asserted: bool);
}

impl Presence for Fixture {
    fn set_presence(&mut self, asserted: bool) {
        self.tpm.set_physical_presence(asserted);
    }
}

#[test]
fn all_that_lasts_is_kept() {
    let mut tpm = mirrored();
    furnish(&mut tpm);
    ask(&mut tpm);
    tpm.clock.0 += 40_000;
    ask(&mut tpm);
    tpm.clock.0 += 80_000;
    ask(&mut tpm);
    assert!(tpm.tpm.act_signaled(0));
    for (shutdown, startup) in [(Some(1), 1), (Some(1), 0), (Some(0), 0), (None, 0), (Some(1), 1)] {
        tpm.restart(shutdown, startup);
        ask(&mut tpm);
        assert_eq!(nv::read(&mut tpm, INDEX + 20, INDEX + 20, 8, 7), Ok(b"contents".to_vec()));
        nv::act(&mut tpm, cc::NV_INCREMENT, INDEX + 16, INDEX + 16).unwrap();
        extend(&mut tpm, 10, 5);
        tpm.clock.0 += 1000;
    }
    tpm.set_presence(true);
    tpm.with(cc::CLEAR, &[LOCKOUT_HIERARCHY], &[b""], &[]).unwrap();
    ask(&mut tpm);
    tpm.restart(None, 0);
    ask(&mut tpm);
}

#[test]
fn sequences_of_every_kind_go_on() {
    let mut tpm = mirrored();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let key = tpm.child(parent, b"", b"", &hmac_key());
    let signing = tpm.child(parent, b"", b"", &ecc_signing());
    let hash = handle_of(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[&tpm2b(b"s")[..], &[0, 0xb]].concat()).unwrap());
    let event =
        handle_of(&tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[&tpm2b(b"s")[..], &[0, 0x10]].concat()).unwrap());
    let mac = handle_of(&tpm.with(cc::MAC_START, &[key], &[b""], &[&tpm2b(b"s")[..], &[0, 0x10]].concat()).unwrap());
    let message =
        handle_of(&tpm.run(cc::SIGN_SEQUENCE_START, &[signing], &[], &[tpm2b(b"s"), tpm2b(b"")].concat()).unwrap());
    for piece in [&b"a"[..], &[7; 63], &[8; 64], &[9; 129], b""] {
        for sequence in [hash, event, mac, message] {
            tpm.with(cc::SEQUENCE_UPDATE, &[sequence], &[b"s"], &tpm2b(piece)).unwrap();
        }
    }
    let last = [&tpm2b(b"end")[..], &OWNER.to_be_bytes()].concat();
    let whole = [&b"a"[..], &[7; 63], &[8; 64], &[9; 129], b"end"].concat();
    let reply = tpm.with(cc::SEQUENCE_COMPLETE, &[hash], &[b"s"], &last).unwrap();
    assert_eq!(reply[2..34], Sha256::digest(&whole)[..]);
    tpm.with(cc::SEQUENCE_COMPLETE, &[mac], &[b"s"], &last).unwrap();
    tpm.with(cc::EVENT_SEQUENCE_COMPLETE, &[16, event], &[b"", b"s"], &tpm2b(b"end")).unwrap();
    tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[message, signing], &[b"s", b""], &tpm2b(b"end")).unwrap();
    tpm.with(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    ask(&mut tpm);
}

#[test]
fn sessions_go_on_loaded_or_saved() {
    let mut tpm = mirrored();
    nv::define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    let write = [&tpm2b(b"12345678")[..], &[0, 0]].concat();
    let hmac = Start { sym: Sym::Aes128, alg: Alg::Sha384, bind: (OWNER, b""), ..Start::default() };
    let mut bound = Session::start(&mut tpm, &hmac);
    let mut audit = Session::start(&mut tpm, &Start { sym: Sym::Xor, ..Start::default() });
    let mut policy = Session::plain(&mut tpm, Kind::Policy);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    for session in [&policy, &trial] {
        tpm.run(cc::POLICY_AUTH_VALUE, &[session.handle], &[], &[]).unwrap();
        tpm.run(cc::POLICY_COMMAND_CODE, &[session.handle], &[], &0x137u32.to_be_bytes()).unwrap();
        tpm.run(cc::POLICY_COUNTER_TIMER, &[session.handle], &[], &[0, 0, 0, 2, 0, 0, 0, 4]).unwrap_err();
        tpm.run(cc::POLICY_LOCALITY, &[session.handle], &[], &[3]).unwrap();
        tpm.run(cc::ECDH_KEY_GEN + 0x26, &[session.handle], &[], &[]).unwrap();
    }
    for _ in 0..2 {
        tpm.exec(cc::NV_WRITE, &[INDEX, INDEX], vec![bound.auth(attr::DECRYPT, b"pw").into()], &write).unwrap();
        let auths = vec![client::session::Auth::Password(b"pw"), audit.with(attr::AUDIT).into()];
        tpm.exec(cc::NV_READ, &[INDEX, INDEX], auths, &[0, 8, 0, 0]).unwrap();
    }
    let saved = tpm.run(cc::CONTEXT_SAVE, &[policy.handle], &[], &[]).unwrap();
    let lost = tpm.run(cc::CONTEXT_SAVE, &[trial.handle], &[], &[]).unwrap();
    ask(&mut tpm);
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &saved).map(|r| handle_of(&r)), Ok(policy.handle));
    tpm.run(cc::CONTEXT_LOAD, &[], &[], &saved).unwrap_err();
    policy.nonce_tpm.clear();
    tpm.restart(Some(1), 1);
    ask(&mut tpm);
    assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &lost).map(|r| handle_of(&r)), Ok(trial.handle));
    ask(&mut tpm);
}

#[test]
fn protection_against_guessing_is_kept_with_its_times() {
    let mut tpm = mirrored();
    nv::define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    nv::write(&mut tpm, INDEX, INDEX, b"12345678", 0).unwrap();
    let parameters = [2, 100, 1000u32].map(u32::to_be_bytes).concat();
    tpm.with(cc::DICTIONARY_ATTACK_PARAMETERS, &[LOCKOUT_HIERARCHY], &[b""], &parameters).unwrap();
    for seconds in [0, 30, 30, 30, 30] {
        tpm.clock.0 += seconds * 1000;
        tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"no"], &[0, 8, 0, 0]).unwrap_err();
        tpm.with(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], &[b"no"], &[]).unwrap_err();
        ask(&mut tpm);
    }
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"pw"], &[0, 8, 0, 0]), Err(LOCKOUT));
    tpm.clock.0 += 200_000;
    tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"pw"], &[0, 8, 0, 0]).unwrap();
    tpm.restart(None, 0);
    ask(&mut tpm);
}

#[test]
fn what_is_between_starts_and_failures_is_kept() {
    let mut tpm = Fixture::unstarted();
    tpm.mirrored = true;
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]).unwrap_err();
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"part of an event");
    let state = export(&tpm.tpm, StateForm::Whole);
    let mut copy = import(&state, 0).unwrap();
    for tpm in [&mut copy, &mut tpm.tpm] {
        tpm.hash_data(b", and the rest");
        assert!(tpm.hash_end());
    }
    assert!(export(&copy, StateForm::Whole) == export(&tpm.tpm, StateForm::Whole));
    tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    tpm.clock.0 += 5;
    // The clock runs faster.
    tpm.with(cc::CLOCK_RATE_ADJUST, &[OWNER], &[b""], &[3]).unwrap();
    tpm.with(cc::READ_ONLY_CONTROL, &[PLATFORM], &[b""], &[1]).unwrap();
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]).unwrap();
    tpm.clock.0 += 12_345;
    ask(&mut tpm);
    tpm.tpm.enter_failure_mode();
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]).unwrap_err();
    tpm.run(cc::GET_TEST_RESULT, &[], &[], &[]).unwrap();
    tpm.power_cycle();
    tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
}

/// Two copies give different random numbers, if their platforms have different entropy, and neither gives the
/// original's.
#[test]
fn the_drbg_is_never_duplicated() {
    let mut tpm = Fixture::new();
    let state = export(&tpm.tpm, StateForm::Whole);
    let first = tpm.run(cc::GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    tpm.tpm = import(&state, 0).unwrap();
    assert_ne!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 32]).unwrap(), first);
    let mut dry = client::platform::CountedEntropy { count: 0, dry: true };
    let mut hooks = tpm_core::Hooks { entropy: &mut dry, clock: &mut client::platform::ManualClock(0) };
    assert_eq!(tpm.tpm.import(&state, &mut hooks), Err(StateError::Entropy));
    assert_blank(&mut tpm);
}

/// There is nothing of a TPM left: its failure mode outlives _TPM_Init, and there is neither a state nor an endorsement
/// key.
/// Indices, objects and sessions of a TPM are not found in one that is made in its place.
#[test]
fn a_state_leaves_nothing_of_the_tpm_that_was_there() {
    let another = export(&Fixture::new().tpm, StateForm::Whole);
    let mut tpm = Fixture::new();
    furnish(&mut tpm);
    for _ in 0..3 {
        Session::plain(&mut tpm, Kind::Hmac);
    }
    let own = export(&tpm.tpm, StateForm::Whole);
    for state in [&own, &another, &own] {
        let hooks = &mut Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock };
        assert_eq!(tpm.tpm.import(state, hooks), Ok(()));
        assert!(export(&tpm.tpm, StateForm::Whole) == *state);
    }
}

fn assert_blank(tpm: &mut Fixture) {
    for _ in 0..2 {
        assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Err(FAILURE));
        assert_eq!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 4]), Err(FAILURE));
        assert!(tpm.tpm.endorsement_key(tpm_core::EkTemplate::EccP256, &mut [0; 1024]).is_err());
        assert!(import(&export(&tpm.tpm, StateForm::PoweredOff), 0).is_err());
        tpm.power_cycle();
    }
}

#[test]
fn a_blank_tpm_is_in_failure_mode_until_one_is_made_there() {
    let mut tpm = Fixture::new();
    furnish(&mut tpm);
    let state = export(&tpm.tpm, StateForm::Whole);
    let mut tpm = Fixture::new();
    *tpm.tpm = tpm_core::Tpm::blank();
    assert_blank(&mut tpm);
    let mut clock = client::platform::ManualClock(0);
    let mut dry = client::platform::CountedEntropy { count: 0, dry: true };
    let hooks = &mut tpm_core::Hooks { entropy: &mut dry, clock: &mut clock };
    assert_eq!(tpm.tpm.manufacture(hooks), Err(tpm_core::Failure));
    assert_blank(&mut tpm);

    let mut entropy = client::platform::CountedEntropy { count: 0, dry: false };
    let hooks = &mut tpm_core::Hooks { entropy: &mut entropy, clock: &mut clock };
    tpm.tpm.import(&state, hooks).unwrap();
    assert!(export(&tpm.tpm, StateForm::Whole) == state);
    // One that is manufactured where another was has nothing of it.
    tpm.tpm
        .manufacture(&mut tpm_core::Hooks {
            entropy: &mut client::platform::CountedEntropy { count: 0, dry: false },
            clock: &mut clock,
        })
        .unwrap();
    assert!(export(&tpm.tpm, StateForm::PoweredOff) == small());
    let (last, damaged) = (state.len() - 1, &mut state.clone());
    damaged[last] ^= 1;
    let hooks = &mut tpm_core::Hooks { entropy: &mut entropy, clock: &mut clock };
    assert_eq!(tpm.tpm.import(damaged, hooks), Err(StateError::Digest));
    assert_blank(&mut tpm);
}

fn small() -> Vec<u8> {
    export(&Fixture::unstarted().tpm, StateForm::PoweredOff)
}

fn large() -> Vec<u8> {
    let mut tpm = Fixture::new();
    furnish(&mut tpm);
    Session::plain(&mut tpm, Kind::Policy);
    tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    export(&tpm.tpm, StateForm::Whole)
}

#[test]
fn cve_2021_3623_tn_f_5102_every_truncation_and_every_flipped_bit_is_refused() {
    let mut small = small();
    assert!(import(&small, 0).is_ok());
    for bit in 0..8 * small.len() {
        small[bit / 8] ^= 1 << (bit % 8);
        assert!(import(&small, 0).is_err(), "bit {bit}");
        small[bit / 8] ^= 1 << (bit % 8);
    }
    let mut large = large();
    assert!(import(&large, 0).is_ok());
    for bit in (0..8 * large.len()).step_by(97) {
        large[bit / 8] ^= 1 << (bit % 8);
        assert!(import(&large, 0).is_err(), "bit {bit}");
        large[bit / 8] ^= 1 << (bit % 8);
    }
    for state in [&small, &large] {
        for length in 0..state.len() {
            assert!(import(&state[..length], 0).is_err(), "{length} octets");
        }
        assert_eq!(import(&[&state[..], &[0]].concat(), 0).err(), Some(StateError::Length));
    }
}

/// A state that is damaged and has the digest of the damage: it is refused, or it is another possible state, and only
/// one.
fn with_digest(state: &[u8]) -> Vec<u8> {
    let body = &state[..state.len() - 32];
    [body, &Sha256::digest(body)].concat()
}

#[test]
fn cve_2022_23645_a_damaged_state_with_the_right_digest_is_refused_or_exact() {
    let mut accepted = 0;
    for (mut state, step, form) in [(small(), 13, StateForm::PoweredOff), (large(), 499, StateForm::Whole)] {
        for bit in (0..8 * (state.len() - 32)).step_by(step) {
            state[bit / 8] ^= 1 << (bit % 8);
            let damaged = with_digest(&state);
            if let Ok(tpm) = import(&damaged, 0) {
                accepted += 1;
                assert!(export(&tpm, form) == damaged, "bit {bit} of {form:?}");
            }
            state[bit / 8] ^= 1 << (bit % 8);
        }
        for length in (48..state.len()).step_by(step) {
            let mut cut = state[..length].to_vec();
            cut[12..16].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            assert!(import(&with_digest(&cut), 0).is_err(), "{length} octets of {form:?}");
        }
    }
    assert!(accepted > 100, "{accepted}");
}

/// States of version 1 as they were when it was frozen, in hexadecimal digits: a TPM as manufactured, without power,
/// and one with something of everything. `UPDATE_GOLDEN=1` writes those of the newest version anew, for a new version
/// alone.
const GOLDEN: [(&str, StateForm); 2] = [("manufactured", StateForm::PoweredOff), ("furnished", StateForm::Whole)];

fn golden(version: u8, name: &str) -> (std::path::PathBuf, Vec<u8>) {
    let name = format!("tests/golden/state-{version}-{name}.hex");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octets = digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect();
    (path, octets)
}

#[test]
fn states_of_version_1_are_read_for_ever() {
    for (name, form) in GOLDEN {
        let tpm = import(&golden(1, name).1, 0).unwrap();
        let state = export(&tpm, form);
        assert_eq!(state[8..10], [0, 2], "and written as version 2");
        assert!(export(&import(&state, 0).unwrap(), form) == state, "{name}");
    }
    furnished(&golden(1, "furnished").1);
}

#[test]
fn states_of_version_2_are_read_for_ever() {
    for (name, form) in GOLDEN {
        let (path, mut state) = golden(2, name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            state = if form == StateForm::Whole { large() } else { small() };
            let digits: Vec<String> = state.iter().map(|octet| format!("{octet:02x}")).collect();
            let lines: Vec<String> = digits.chunks(64).map(<[String]>::concat).collect();
            std::fs::write(path, lines.join("\n") + "\n").unwrap();
        }
        let tpm = import(&state, 0).unwrap();
        assert!(export(&tpm, form) == state, "{name}");
    }
    furnished(&golden(2, "furnished").1);
}

/// What the furnished one holds is there, and as it was.
fn furnished(state: &[u8]) {
    let mut tpm = Fixture::unstarted();
    tpm.tpm = import(state, 0).unwrap();
    assert_eq!(nv::read(&mut tpm, INDEX + 20, INDEX + 20, 8, 7), Ok(b"contents".to_vec()));
    assert_eq!(nv::count(&mut tpm, INDEX + 16), 2);
    let key = tpm.run(cc::READ_PUBLIC, &[0x8100_0001], &[], &[]).unwrap();
    let (primary, public) = tpm.primary(OWNER, &ecc_storage());
    assert!(key[2..].starts_with(&public), "the same primary key from the same seed");
    tpm.flush(primary).unwrap();
}

#[test]
fn a_tpm_made_from_the_same_entropy_has_the_state_that_it_always_had() {
    assert!(golden(2, "manufactured").1 == small());
}

#[test]
fn unknown_versions_and_strangers_are_refused() {
    let state = small();
    let changed = |at: usize, octet: u8| {
        let mut state = state.clone();
        state[at] = octet;
        import(&with_digest(&state), 0).err()
    };
    assert_eq!(state[8..12], [0, 2, 1, 1]);
    for (at, octet) in [(8, 1), (9, 0), (9, 3), (10, 0), (10, 2), (11, 2)] {
        assert_eq!(changed(at, octet), Some(StateError::Version), "{at}");
    }
    // The other form has other sections.
    assert_eq!(changed(11, 0), Some(StateError::Contents));
    assert_eq!(changed(0, b'q'), Some(StateError::NotAState));
    assert_eq!(changed(15, 0), Some(StateError::Length));
    assert_eq!(changed(16, 1), Some(StateError::Contents));
    assert_eq!(import(b"", 0).err(), Some(StateError::NotAState));
    assert_eq!(import(&state[..47], 0).err(), Some(StateError::Length));
    let mut damaged = state.clone();
    damaged[40] ^= 1;
    assert_eq!(import(&damaged, 0).err(), Some(StateError::Digest));
}

/// Where the section of the profile ends: header, tag, length, and a TPM2B of its name.
const PROFILE_END: usize = 16 + 2 + 4 + 2 + PROFILE.name.len();

/// The state, as one of a TPM of another profile.
fn of_profile(state: &[u8], name: &[u8]) -> Vec<u8> {
    let length = u32::try_from(2 + name.len()).unwrap();
    let section = [&[0, 6][..], &length.to_be_bytes(), &tpm2b(name)].concat();
    let mut state = [&state[..16], &section, &state[PROFILE_END..]].concat();
    let length = u32::try_from(state.len()).unwrap();
    state[12..16].copy_from_slice(&length.to_be_bytes());
    with_digest(&state)
}

/// A TPM of another profile would gain or lose algorithms: the one of `no-legacy` SHA-1 and RSA with 1024 bits.
#[test]
fn a_state_is_that_of_its_profile_and_the_refusal_names_both() {
    for state in [small(), large()] {
        assert!(of_profile(&state, PROFILE.name.as_bytes()) == state);
        for name in ["no-legacy", "classic", "a-profile-of-a-later-version"] {
            let refused = import(&of_profile(&state, name.as_bytes()), 0).err().unwrap();
            let StateError::Profile { state, build } = refused else { panic!("{refused:?}") };
            assert_eq!((state.as_str(), build), (name, PROFILE.name));
            let text = refused.to_string();
            assert!(text.contains(name) && text.contains(PROFILE.name), "{text}");
        }
        for name in [&b"full\0"[..], b"\xff", &[b'a'; 33]] {
            assert_eq!(import(&of_profile(&state, name), 0).err(), Some(StateError::Contents));
        }
    }
}

#[test]
pub(crate) fn an_inconsistent_state_is_refused() {
    // The endorsement seed is the first thing of the section behind the profile's: a TPM2B of 64 octets. One of 63
    // makes everything one shorter.
    let mut state = small();
    let at = PROFILE_END;
    assert_eq!(state[at + 6..at + 8], [0, 64]);
    state[at + 7] = 63;
    state.remove(at + 71);
    let length = u32::try_from(state.len()).unwrap();
    state[12..16].copy_from_slice(&length.to_be_bytes());
    let section = u32::from_be_bytes(state[at + 2..at + 6].try_into().unwrap()) - 1;
    state[at + 2..at + 6].copy_from_slice(&section.to_be_bytes());
    assert_eq!(import(&with_digest(&state), 0).err(), Some(StateError::Inconsistent(Fault::Seed)));
}

#[test]
fn persistent_objects_stand_in_the_order_of_their_handles_and_are_nothing_else() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(OWNER, &ecc_storage());
    let handles = [0x8100_0001u32, 0x8100_0005];
    for handle in handles {
        tpm.with(cc::EVICT_CONTROL, &[OWNER, key], &[b""], &handle.to_be_bytes()).unwrap();
    }
    let state = export(&tpm.tpm, StateForm::PoweredOff);
    let places = handles.map(|handle| {
        let mut at = (0..state.len() - 4).filter(|at| state[*at..at + 4] == handle.to_be_bytes());
        let place = at.next().unwrap();
        assert_eq!(at.next(), None, "{handle:#x} stands once in the state");
        place
    });
    let with = |handles: [u32; 2]| {
        let mut state = state.clone();
        for (at, handle) in places.into_iter().zip(handles) {
            state[at..at + 4].copy_from_slice(&handle.to_be_bytes());
        }
        import(&with_digest(&state), 0).map(drop)
    };
    assert_eq!(with([0x8100_0004, 0x8100_0005]), Ok(()));
    let refused = [
        ([0x8100_0005, 0x8100_0001], "not ascending"),
        ([0x8100_0005, 0x8100_0005], "the same twice"),
        ([0x8000_0001, 0x8100_0005], "a transient object"),
        ([0x8100_0001, 0x8200_0005], "of no kind that can persist"),
    ];
    for (handles, why) in refused {
        assert_eq!(with(handles), Err(StateError::Contents), "{why}");
    }
}

#[test]
fn a_state_needs_room_and_any_fits_into_the_greatest() {
    let mut tpm = Fixture::new();
    for n in 0..16 {
        nv::define(&mut tpm, INDEX + n, a::AUTH, 4096).unwrap();
    }
    let state = export(&tpm.tpm, StateForm::Whole);
    assert!(state.len() > 65536 && state.len() < MAX_STATE_SIZE);
    assert!(import(&state, 0).is_ok());
    for room in [0, 100, state.len() - 1] {
        assert_eq!(tpm.tpm.export(StateForm::Whole, &mut vec![0; room]), Err(StateError::Room(state.len())));
    }
}

/// A long history: cheap commands chosen by a number generator, power lost now and then.
#[test]
fn cve_2021_3746_a_long_history_can_be_interrupted_anywhere() {
    let mut tpm = mirrored();
    let mut random = 0x1234_5678_9abc_def0_u64;
    for _ in 0..1500 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (what, which) = (random % 16, u32::try_from(random >> 32 & 7).unwrap());
        let index = INDEX + which;
        tpm.clock.0 += random >> 40 & 0x3ff;
        let octet = (random >> 8 & 0xff) as u8;
        let _ = match what {
            0 => nv::define(&mut tpm, index, a::AUTH, 8),
            1 => nv::define(&mut tpm, index, a::AUTH | a::COUNTER | a::ORDERLY, 8),
            2 => nv::define(&mut tpm, index, a::AUTH | a::BITS | a::CLEAR_STCLEAR, 8),
            3 => nv::write(&mut tpm, index, index, &[octet; 3], 2),
            4 => nv::act(&mut tpm, cc::NV_INCREMENT, index, index),
            5 => nv::set_bits(&mut tpm, index, index, random),
            6 => nv::act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, index),
            7 => tpm.with(cc::PCR_RESET, &[16 + which], &[b""], &[]),
            8 => tpm.with(cc::PCR_EXTEND, &[which], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[octet; 32]].concat()),
            9 => tpm.run(cc::HASH_SEQUENCE_START, &[], &[], &[&tpm2b(b"")[..], &[0, 0xb]].concat()),
            10 => tpm.with(cc::SEQUENCE_UPDATE, &[0x8000_0000 | which], &[b""], &tpm2b(&[octet; 50])),
            11 => tpm.with(
                cc::SEQUENCE_COMPLETE,
                &[0x8000_0000 | which],
                &[b""],
                &[&tpm2b(b"")[..], &NULL.to_be_bytes()].concat(),
            ),
            12 => tpm.run(cc::FLUSH_CONTEXT, &[], &[], &(0x8000_0000 | which).to_be_bytes()),
            13 => {
                Session::plain(&mut tpm, Kind::Trial);
                tpm.run(cc::FLUSH_CONTEXT, &[], &[], &(0x0300_0000 | which).to_be_bytes())
            }
            14 => tpm.run(cc::CONTEXT_SAVE, &[0x0300_0000 | which], &[], &[]),
            _ => {
                if octet < 200 {
                    tpm.with(cc::NV_READ, &[index, index], &[b"wrong"], &[0, 8, 0, 0])
                } else {
                    let su = u8::from(octet & 1 == 0);
                    tpm.restart((octet & 6 != 0).then_some(su), u8::from(octet & 6 != 0) * su);
                    Ok(vec![])
                }
            }
        };
    }
    ask(&mut tpm);
}
