//! Part 3, 28 and 13: contexts go out and come back, objects become persistent, duplicates go to another parent.
#![allow(clippy::type_complexity, clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use crate::harness::Fixture;
use crate::harness::keys::*;
use client::codes::*;
use client::codes::{CONTEXT_GAP, SESSION_HANDLES};
use client::names::cap;
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

fn save(tpm: &mut Fixture, handle: u32) -> Outcome {
    tpm.run(cc::CONTEXT_SAVE, &[handle], &[], &[])
}

fn load(tpm: &mut Fixture, context: &[u8]) -> Result<u32, u32> {
    tpm.run(cc::CONTEXT_LOAD, &[], &[], context).map(|r| handle_of(&r))
}

fn start(tpm: &mut Fixture) -> Result<u32, u32> {
    let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[0], NONE, &[0, 0xb]].concat();
    tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).map(|r| handle_of(&r))
}

fn evict(tpm: &mut Fixture, auth: u32, object: u32, to: u32) -> Outcome {
    tpm.with(cc::EVICT_CONTROL, &[auth, object], &[b""], &to.to_be_bytes())
}

fn restart(tpm: &mut Fixture) {
    tpm.restart(Some(1), 0);
}

#[test]
fn a_saved_object_is_loaded_any_number_of_times_until_tpm_reset() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let item = tpm.child(parent, b"", b"secret", &sealed());
    let context = save(&mut tpm, item).unwrap();
    assert_eq!(context[8..16], [0x80, 0, 0, 0, 0x40, 0, 0, 1]);
    for _ in 0..2 {
        let again = load(&mut tpm, &context).unwrap();
        assert_eq!(tpm.with(cc::UNSEAL, &[again], &[b""], &[]).unwrap(), tpm2b(b"secret"));
    }
    restart(&mut tpm);
    assert!(load(&mut tpm, &context).is_ok(), "TPM Restart");
    tpm.restart(None, 0);
    assert_eq!(load(&mut tpm, &context), Err(param(1, INTEGRITY)), "TPM Reset");
}

#[test]
fn an_st_clear_object_does_not_outlive_tpm_restart() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let item = tpm.child(parent, b"", b"secret", &sealed().with(a::ST_CLEAR));
    let context = save(&mut tpm, item).unwrap();
    assert_eq!(context[8..12], [0x80, 0, 0, 2]);
    assert!(load(&mut tpm, &context).is_ok());
    restart(&mut tpm);
    assert_eq!(load(&mut tpm, &context), Err(param(1, INTEGRITY)));
}

/// Part 1, 34.4.4: only TPM2_Startup(CLEAR) changes clearCount, and Part 3, 24.6.1, does not name it among what
/// TPM2_Clear sets to zero.
#[test]
fn tpm2_clear_brings_no_st_clear_object_back() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(PLATFORM, &ecc_storage());
    let item = tpm.child(parent, b"", b"secret", &sealed().with(a::ST_CLEAR));
    let context = save(&mut tpm, item).unwrap();
    restart(&mut tpm);
    assert_eq!(load(&mut tpm, &context), Err(param(1, INTEGRITY)));
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert_eq!(load(&mut tpm, &context), Err(param(1, INTEGRITY)));
    // What was saved since the start stays good: the platform's objects are not the owner's.
    let (parent, _) = tpm.primary(PLATFORM, &ecc_storage());
    let item = tpm.child(parent, b"", b"secret", &sealed().with(a::ST_CLEAR));
    let context = save(&mut tpm, item).unwrap();
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert!(load(&mut tpm, &context).is_ok());
}

/// Fix F-9205 of wolfTPM's firmware TPM.
#[test]
fn tn_f_9205_every_bit_of_a_context_counts() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let item = tpm.child(parent, b"", b"secret", &sealed());
    let context = save(&mut tpm, item).unwrap();
    for bit in 0..context.len() * 8 {
        let mut bad = context.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(load(&mut tpm, &bad).is_err(), "bit {bit}");
    }
    for n in 0..context.len() {
        assert!(load(&mut tpm, &context[..n]).is_err(), "{n} octets");
    }
    let long = [&context[..], &[0]].concat();
    assert_eq!(load(&mut tpm, &long), Err(plain(SIZE)));
    let mut swapped = context.clone();
    swapped[12..16].copy_from_slice(&ENDORSEMENT.to_be_bytes());
    assert_eq!(load(&mut tpm, &swapped), Err(param(1, INTEGRITY)), "another hierarchy");
    assert!(load(&mut tpm, &context).is_ok());
}

/// Fix F-4673 of wolfTPM's firmware TPM.
#[test]
fn tn_f_4673_a_session_context_comes_back_once() {
    let mut tpm = Fixture::new();
    let s = start(&mut tpm).unwrap();
    let first = save(&mut tpm, s).unwrap();
    assert_eq!(save(&mut tpm, s), Err(reference_h(0)), "it is not loaded any more");
    assert_eq!(load(&mut tpm, &first), Ok(s));
    assert_eq!(load(&mut tpm, &first), Err(param(1, HANDLE)));
    let second = save(&mut tpm, s).unwrap();
    assert_eq!(load(&mut tpm, &first), Err(param(1, HANDLE)), "an old context");
    assert_eq!(load(&mut tpm, &second), Ok(s));
    let third = save(&mut tpm, s).unwrap();
    tpm.run(cc::FLUSH_CONTEXT, &[], &[], &s.to_be_bytes()).unwrap();
    assert_eq!(load(&mut tpm, &third), Err(param(1, HANDLE)), "it was flushed");
}

#[test]
fn sessions_survive_restart_in_their_contexts() {
    let mut tpm = Fixture::new();
    let s = start(&mut tpm).unwrap();
    let context = save(&mut tpm, s).unwrap();
    restart(&mut tpm);
    assert_eq!(load(&mut tpm, &context), Ok(s));
    let context = save(&mut tpm, s).unwrap();
    tpm.restart(None, 0);
    assert_eq!(load(&mut tpm, &context), Err(param(1, INTEGRITY)));
}

/// Contexts of sessions are told apart by 16 bits of a counter (CONTEXT_GAP_MAX): the oldest one that is saved has to
/// come back before it comes round.
/// Part 1, 27.5: on TPM Reset the TPM knows of no saved session any longer, so that its handle is free.
#[test]
fn after_tpm_reset_there_are_no_saved_sessions() {
    let mut tpm = Fixture::new();
    let session = start(&mut tpm).unwrap();
    let context = save(&mut tpm, session).unwrap();
    let saved = |tpm: &mut Fixture| {
        let words = [cap::HANDLES, 0x0300_0000, 10].map(u32::to_be_bytes).concat();
        tpm.run(cc::GET_CAPABILITY, &[], &[], &words).unwrap()[9..].to_vec()
    };
    restart(&mut tpm);
    assert_eq!(saved(&mut tpm), session.to_be_bytes(), "TPM Restart");
    tpm.restart(Some(0), 0);
    assert_eq!(saved(&mut tpm), [0; 0], "TPM Reset");
    assert!(load(&mut tpm, &context).is_err());
    assert_eq!(start(&mut tpm), Ok(session), "the handle is free");
}

#[test]
fn the_oldest_saved_session_stops_the_counter() {
    let mut tpm = Fixture::new();
    let (oldest, other) = (start(&mut tpm).unwrap(), start(&mut tpm).unwrap());
    let oldest = save(&mut tpm, oldest).unwrap();
    // By the engine itself: the harness looks at the whole state after every command.
    let mut execute = |command: &[u8]| {
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let mut hooks = tpm_core::Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock };
        let n = tpm.tpm.execute(&mut hooks, tpm_core::Locality::ZERO, command, &mut response);
        response.truncate(n);
        response
    };
    let mut saved = 0;
    loop {
        let response = execute(&client::command(cc::CONTEXT_SAVE, &[other], &[], &[]));
        if response[6..10] != [0; 4] {
            break;
        }
        saved += 1;
        let response = execute(&client::command(cc::CONTEXT_LOAD, &[], &[], &response[10..]));
        assert_eq!(response[6..10], [0; 4]);
    }
    assert_eq!(saved, 0xfffe);
    assert_eq!(save(&mut tpm, other), Err(CONTEXT_GAP));
    assert_eq!(start(&mut tpm), Err(CONTEXT_GAP));
    load(&mut tpm, &oldest).unwrap();
    assert!(save(&mut tpm, other).is_ok());
    assert!(start(&mut tpm).is_ok());
}

#[test]
fn eight_sessions_are_loaded_and_64_are_active() {
    let mut tpm = Fixture::new();
    let mut sessions = Vec::new();
    for _ in 0..56 {
        let s = start(&mut tpm).unwrap();
        sessions.push((s, save(&mut tpm, s).unwrap()));
    }
    for _ in 0..8 {
        start(&mut tpm).unwrap();
    }
    assert_eq!(start(&mut tpm), Err(SESSION_MEMORY));
    assert_eq!(load(&mut tpm, &sessions[0].1), Err(SESSION_MEMORY));
    let last = 0x0200_0000 + 63;
    let context = save(&mut tpm, last).unwrap();
    assert_eq!(start(&mut tpm), Err(SESSION_HANDLES), "SESSION_HANDLES");
    assert_eq!(load(&mut tpm, &context), Ok(last));
}

#[test]
fn flush_context_wants_what_is_there() {
    let mut tpm = Fixture::new();
    let (h, _) = tpm.primary(OWNER, &ecc_storage());
    assert_eq!(tpm.flush(h), Ok(vec![]));
    assert_eq!(tpm.flush(h), Err(param(1, HANDLE)));
    assert_eq!(tpm.flush(0x0200_0000), Err(param(1, HANDLE)));
    assert_eq!(tpm.flush(0x8100_0000), Err(param(1, VALUE)));
    let s = start(&mut tpm).unwrap();
    assert_eq!(tpm.flush(s), Ok(vec![]));
    assert_eq!(tpm.with(cc::FLUSH_CONTEXT, &[], &[b""], &h.to_be_bytes()), Err(AUTH_CONTEXT));
    assert_eq!(tpm.with(cc::CONTEXT_SAVE, &[s], &[b""], &[]), Err(reference_h(0)));
}

/// Part 3, 28.4.1: when a session is flushed, the upper octet of the handle is ignored, be it loaded or saved.
#[test]
fn flush_context_ignores_the_type_of_a_sessions_handle() {
    let mut tpm = Fixture::new();
    for kind in [0, 1] {
        let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[kind], NONE, &[0, 0xb]].concat();
        let begin =
            |tpm: &mut Fixture| handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap());
        let s = begin(&mut tpm);
        assert_eq!(tpm.flush(s ^ 0x0100_0000), Ok(vec![]));
        assert_eq!(tpm.flush(s), Err(param(1, HANDLE)), "it is gone");
        let s = begin(&mut tpm);
        let context = save(&mut tpm, s).unwrap();
        assert_eq!(tpm.flush(s ^ 0x0100_0000), Ok(vec![]));
        assert_eq!(load(&mut tpm, &context), Err(param(1, HANDLE)));
    }
}

#[test]
fn a_persistent_object_stays_until_it_is_evicted() {
    let mut tpm = Fixture::new();
    let (h, public) = tpm.primary(OWNER, &ecc_storage());
    let at = 0x8100_0001;
    assert_eq!(evict(&mut tpm, OWNER, h, at), Ok(vec![]));
    assert_eq!(evict(&mut tpm, OWNER, h, at), Err(NV_DEFINED));
    tpm.restart(None, 0);
    let reply = tpm.run(cc::READ_PUBLIC, &[at], &[], &[]).unwrap();
    assert_eq!(take_2b(&mut &reply[..]), public);
    assert!(tpm.create(at, b"", b"x", &sealed()).is_ok(), "it is a parent");
    assert_eq!(evict(&mut tpm, OWNER, at, at + 1), Err(handle(2, HANDLE)));
    assert_eq!(evict(&mut tpm, PLATFORM, at, at), Ok(vec![]), "the platform may delete it");
    assert_eq!(evict(&mut tpm, OWNER, at, at), Err(handle(2, HANDLE)));
}

/// Since 1.85. It verifies signatures, and authorizes nothing.
#[test]
fn a_public_area_alone_can_be_persistent() {
    let mut tpm = Fixture::new();
    let (h, public) = tpm.primary(OWNER, &ecc_storage());
    tpm.flush(h).unwrap();
    let only_public = tpm.load_external(b"", &public, OWNER).unwrap();
    let at = 0x8100_0001;
    assert_eq!(evict(&mut tpm, OWNER, only_public, at), Ok(vec![]));
    tpm.restart(None, 0);
    let reply = tpm.run(cc::READ_PUBLIC, &[at], &[], &[]).unwrap();
    assert_eq!(take_2b(&mut &reply[..]), public);
    assert!(tpm.create(at, b"", b"x", &sealed()).is_err(), "it is no parent");
    assert_eq!(evict(&mut tpm, OWNER, at, at), Ok(vec![]));
}

#[test]
fn not_everything_becomes_persistent() {
    let mut tpm = Fixture::new();
    let (owner, _) = tpm.primary(OWNER, &ecc_storage());
    let (platform, _) = tpm.primary(PLATFORM, &ecc_storage());
    let (null, _) = tpm.primary(NULL, &ecc_storage());
    let (st_clear, _) = tpm.primary(OWNER, &ecc_storage().with(a::ST_CLEAR));
    for bad in [null, st_clear] {
        assert_eq!(evict(&mut tpm, OWNER, bad, 0x8100_0000), Err(handle(2, ATTRIBUTES)));
    }
    assert_eq!(evict(&mut tpm, OWNER, platform, 0x8100_0000), Err(handle(2, HIERARCHY)));
    assert_eq!(evict(&mut tpm, PLATFORM, owner, 0x8180_0000), Err(handle(2, HIERARCHY)));
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8180_0000), Err(param(1, RANGE)));
    assert_eq!(evict(&mut tpm, PLATFORM, platform, 0x8100_0000), Err(param(1, RANGE)));
    assert_eq!(evict(&mut tpm, PLATFORM, platform, 0x8180_0000), Ok(vec![]));
    assert_eq!(evict(&mut tpm, OWNER, 0x8180_0000, 0x8180_0000), Err(handle(2, HIERARCHY)));
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8000_0000), Err(param(1, VALUE)));
    for n in 0..23 {
        assert_eq!(evict(&mut tpm, OWNER, owner, 0x8100_0000 + n), Ok(vec![]));
    }
    assert_eq!(evict(&mut tpm, OWNER, owner, 0x8100_0100), Err(NV_SPACE));
}

/// A sealed object that can be duplicated: TPM2_PolicyCommandCode(Duplicate) is its policy.
fn duplicable(attributes: u32) -> Template {
    use sha2::{Digest, Sha256};
    let policy = Sha256::digest([&[0; 32][..], &0x16cu32.to_be_bytes(), &cc::DUPLICATE.to_be_bytes()].concat());
    Template { policy: policy.to_vec(), ..sealed().without(a::FIXED).with(attributes) }
}

/// TPM2_Duplicate with a policy session: key, duplicate, seed.
fn duplicate(
    tpm: &mut Fixture,
    object: u32,
    new_parent: u32,
    key: &[u8],
    alg: &[u8],
) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>), u32> {
    let params = [&tpm2b(&[1; 16])[..], &[0, 0], &[1], NONE, &[0, 0xb]].concat();
    let session = handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &params).unwrap());
    tpm.run(cc::POLICY_COMMAND_CODE, &[session], &[], &cc::DUPLICATE.to_be_bytes()).unwrap();
    let area = [&session.to_be_bytes()[..], &[0, 0, 0, 0, 0]].concat();
    let reply = tpm.with_area(cc::DUPLICATE, &[object, new_parent], &area, &[&tpm2b(key)[..], alg].concat());
    if reply.is_err() {
        tpm.flush(session).unwrap();
    }
    let reply = reply?;
    let rest = &mut &reply[..];
    Ok((take_2b(rest).to_vec(), take_2b(rest).to_vec(), take_2b(rest).to_vec()))
}

fn import(tpm: &mut Fixture, parent: u32, key: &[u8], public: &[u8], blob: &[u8], seed: &[u8], alg: &[u8]) -> Outcome {
    let params = [&tpm2b(key)[..], &tpm2b(public), &tpm2b(blob), &tpm2b(seed), alg].concat();
    tpm.with(cc::IMPORT, &[parent], &[b""], &params)
}

#[test]
fn a_duplicate_is_imported_with_every_combination_of_wrappers() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let (private, public) = tpm.create(parent, b"pw", b"secret", &duplicable(0)).unwrap();
    let object = tpm.load(parent, &private, &public).unwrap();
    for storage in [ecc_storage(), rsa_storage()] {
        let (new_parent, _) = tpm.primary(ENDORSEMENT, &storage);
        for (to, alg) in [(NULL, NONE), (NULL, AES_128_CFB), (new_parent, NONE), (new_parent, AES_128_CFB)] {
            let (key, blob, seed) = duplicate(&mut tpm, object, to, b"", alg).unwrap();
            assert_eq!((key.len(), seed.is_empty()), (if alg == NONE { 0 } else { 16 }, to == NULL));
            let private = import(&mut tpm, new_parent, &key, &public, &blob, &seed, alg).unwrap();
            let loaded = tpm.load(new_parent, &private[2..], &public).unwrap();
            assert_eq!(tpm.with(cc::UNSEAL, &[loaded], &[b"pw"], &[]).unwrap(), tpm2b(b"secret"));
            tpm.flush(loaded).unwrap();
            let mut bad = blob.clone();
            *bad.last_mut().unwrap() ^= 1;
            let rc = import(&mut tpm, new_parent, &key, &public, &bad, &seed, alg);
            assert!(rc.is_err() || to == NULL && alg == NONE, "an unwrapped duplicate has no integrity of its own");
        }
        tpm.flush(new_parent).unwrap();
    }
}

#[test]
fn duplicate_wants_wrappers_that_fit() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let item = tpm.child(parent, b"", b"x", &duplicable(0));
    assert_eq!(duplicate(&mut tpm, item, item, b"", NONE), Err(handle(2, TYPE)));
    assert_eq!(duplicate(&mut tpm, item, NULL, b"0123456789abcde", AES_128_CFB), Err(param(1, SIZE)));
    assert_eq!(duplicate(&mut tpm, item, NULL, b"0123456789abcdef", NONE), Err(param(1, SIZE)));
    let (key, _, _) = duplicate(&mut tpm, item, NULL, b"0123456789abcdef", AES_128_CFB).unwrap();
    assert!(key.is_empty(), "the caller knows it");
    // encryptedDuplication: below a parent that has it
    let policy = duplicable(0).policy;
    let outer = Template { policy, ..ecc_storage() }.without(a::FIXED).with(a::ENCRYPTED_DUPLICATION);
    let wrapped_parent = tpm.child(parent, b"", b"", &outer);
    assert_eq!(duplicate(&mut tpm, wrapped_parent, parent, b"", NONE), Err(param(2, SYMMETRIC)));
    assert_eq!(duplicate(&mut tpm, wrapped_parent, NULL, b"", AES_128_CFB), Err(handle(2, HIERARCHY)));
    assert!(duplicate(&mut tpm, wrapped_parent, parent, b"", AES_128_CFB).is_ok());
    // A role that only a policy gives: an authValue will not do (wolfTPM, fix F-10818).
    let params = [&tpm2b(b"")[..], NONE].concat();
    assert_eq!(tpm.with(cc::DUPLICATE, &[item, NULL], &[b""], &params), Err(AUTH_TYPE));
}

#[test]
fn import_wants_wrappers_that_fit() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &ecc_storage());
    let (private, public) = tpm.create(parent, b"", b"x", &duplicable(0)).unwrap();
    let item = tpm.load(parent, &private, &public).unwrap();
    let (_, blob, seed) = duplicate(&mut tpm, item, parent, b"", NONE).unwrap();
    let mut fixed = public.clone();
    fixed[7] |= 0x10;
    assert_eq!(import(&mut tpm, parent, b"", &fixed, &blob, &seed, NONE), Err(param(2, ATTRIBUTES)));
    assert_eq!(import(&mut tpm, item, b"", &public, &blob, &seed, NONE), Err(handle(1, TYPE)));
    assert_eq!(import(&mut tpm, parent, b"k", &public, &blob, &seed, NONE), Err(param(1, SIZE)));
    assert_eq!(import(&mut tpm, parent, b"", &public, &blob, &seed, AES_128_CFB), Err(param(1, SIZE)));
    let mut encrypted = public.clone();
    encrypted[6] |= 8;
    assert_eq!(import(&mut tpm, parent, b"", &encrypted, &blob, &seed, NONE), Err(param(1, ATTRIBUTES)));
    assert_eq!(import(&mut tpm, parent, &[1; 16], &encrypted, &blob, b"", AES_128_CFB), Err(param(4, ATTRIBUTES)));
    let (sym, _) = tpm.primary(OWNER, &sym_storage());
    assert_eq!(import(&mut tpm, sym, b"", &public, &blob, &seed, NONE), Err(handle(1, TYPE)));
    let mut bad = seed.clone();
    bad[10] ^= 1;
    assert_eq!(import(&mut tpm, parent, b"", &public, &blob, &bad, NONE), Err(param(4, ECC_POINT)));
    assert_eq!(import(&mut tpm, parent, b"", &public, &blob[..40], &seed, NONE), Err(param(3, INTEGRITY)));
    assert_eq!(import(&mut tpm, parent, b"", &public, &[1; 40], b"", NONE), Err(param(3, SIZE)));
}

#[test]
fn tn_f_5120_rewrap_changes_the_outer_wrapper() {
    let mut tpm = Fixture::new();
    let (old, _) = tpm.primary(OWNER, &ecc_storage());
    let (new, _) = tpm.primary(ENDORSEMENT, &rsa_storage());
    let (private, public) = tpm.create(old, b"", b"secret", &duplicable(0)).unwrap();
    let item = tpm.load(old, &private, &public).unwrap();
    let name = tpm.name(item);
    let (_, blob, seed) = duplicate(&mut tpm, item, old, b"", NONE).unwrap();
    let rewrap = |tpm: &mut Fixture, parents: [u32; 2], blob: &[u8], name: &[u8], seed: &[u8]| {
        tpm.with(cc::REWRAP, &parents, &[b""], &[tpm2b(blob), tpm2b(name), tpm2b(seed)].concat())
    };
    let reply = rewrap(&mut tpm, [old, new], &blob, &name, &seed).unwrap();
    let rest = &mut &reply[..];
    let (blob_2, seed_2) = (take_2b(rest), take_2b(rest));
    let private = import(&mut tpm, new, b"", &public, blob_2, seed_2, NONE).unwrap();
    let loaded = tpm.load(new, &private[2..], &public).unwrap();
    assert_eq!(tpm.with(cc::UNSEAL, &[loaded], &[b""], &[]).unwrap(), tpm2b(b"secret"));
    assert_eq!(rewrap(&mut tpm, [old, new], &blob, &name, b""), Err(handle(1, HANDLE)));
    assert_eq!(rewrap(&mut tpm, [NULL, new], &blob, &name, &seed), Err(handle(1, HANDLE)));
    assert_eq!(rewrap(&mut tpm, [item, new], &blob, &name, &seed), Err(handle(1, TYPE)));
    assert_eq!(rewrap(&mut tpm, [old, item], &blob, &name, &seed), Err(handle(2, TYPE)), "F-5120");
    assert_eq!(rewrap(&mut tpm, [old, new], &blob, &name, &seed[1..]), Err(param(3, VALUE)));
    assert_eq!(rewrap(&mut tpm, [old, new], &blob, &name[1..], &seed), Err(param(1, INTEGRITY)));
}

#[test]
fn a_session_starts_with_the_right_nonce_salt_and_symmetric() {
    let mut tpm = Fixture::new();
    let (storage, public) = tpm.primary(OWNER, &ecc_storage());
    let (signing, _) = tpm.primary(OWNER, &ecc_signing());
    let only_public = tpm.load_external(b"", &public, OWNER).unwrap();
    let sym = tpm.child(storage, b"", b"", &aes_key());
    let start =
        |tpm: &mut Fixture, handles: [u32; 2], nonce: usize, salt: &[u8], kind: u8, symmetric: &[u8], hash: u8| {
            let params = [&tpm2b(&vec![1; nonce])[..], &tpm2b(salt), &[kind], symmetric, &[0, hash]].concat();
            tpm.run(cc::START_AUTH_SESSION, &handles, &[], &params)
        };
    let none = [NULL, NULL];
    assert_eq!(start(&mut tpm, none, 15, b"", 0, NONE, 0xb), Err(param(1, SIZE)));
    assert_eq!(start(&mut tpm, none, 33, b"", 0, NONE, 0xb), Err(param(1, SIZE)));
    assert_eq!(start(&mut tpm, none, 65, b"", 0, NONE, 0xb), Err(param(1, SIZE)));
    assert_eq!(start(&mut tpm, none, 16, b"x", 0, NONE, 0xb), Err(param(2, VALUE)));
    assert_eq!(start(&mut tpm, [sym, NULL], 16, b"x", 0, NONE, 0xb), Err(handle(1, KEY)));
    assert_eq!(start(&mut tpm, [storage, NULL], 16, b"", 0, NONE, 0xb), Err(param(2, VALUE)));
    assert_eq!(start(&mut tpm, [only_public, NULL], 16, b"x", 0, NONE, 0xb), Err(handle(1, HANDLE)));
    assert_eq!(start(&mut tpm, [signing, NULL], 16, b"x", 0, NONE, 0xb), Err(handle(1, ATTRIBUTES)));
    assert_eq!(start(&mut tpm, [storage, NULL], 16, b"x", 0, NONE, 0xb), Err(param(2, VALUE)), "no point");
    assert_eq!(start(&mut tpm, [NULL, only_public], 16, b"", 0, NONE, 0xb), Err(handle(2, HANDLE)));
    assert_eq!(start(&mut tpm, none, 16, b"", 2, NONE, 0xb), Err(param(3, VALUE)));
    assert_eq!(start(&mut tpm, none, 16, b"", 0, &[0, 6, 0, 128, 0, 0x42], 0xb), Err(param(4, MODE)));
    assert_eq!(start(&mut tpm, none, 16, b"", 0, &[0, 6, 0, 129, 0, 0x43], 0xb), Err(param(4, VALUE)));
    assert_eq!(start(&mut tpm, none, 16, b"", 0, &[0, 1], 0xb), Err(param(4, SYMMETRIC)));
    assert_eq!(start(&mut tpm, none, 16, b"", 0, NONE, 0x10), Err(param(5, HASH)));
    let reply = start(&mut tpm, none, 32, b"", 0, AES_128_CFB, 0xb).unwrap();
    assert_eq!((handle_of(&reply), reply.len()), (0x0200_0000, 4 + 2 + 32));
    assert_eq!(handle_of(&start(&mut tpm, none, 16, b"", 1, NONE, 4).unwrap()), 0x0300_0001);
    assert_eq!(handle_of(&start(&mut tpm, [NULL, signing], 16, b"", 3, &[0, 0xa, 0, 0xb], 0xc).unwrap()), 0x0300_0002);
}
