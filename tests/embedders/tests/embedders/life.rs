//! Power, blobs, saved states, cancellation.

use crate::helper::{AK, Helper, Machine, NV_SIZE, UNWRITTEN, USER_DATA};
use client::attributes::nv;
use client::codes::{CANCELED, FAILURE, NULL, OWNER, PLATFORM};
use client::command::handle_of;
use client::names::alg;
use client::session::{Kind, Session, Start, Transport, execute};
use client::sym::Sym;
use client::template::{creation, ecc_storage, rsa_any};
use client::{cc, command, tpm2b};
use core::sync::atomic::Ordering;
use core::time::Duration;
use embedders::openhcl::shape::{InitKind, TpmEngine};
use embedders::openhcl::{Error, NV_MEMORY_SIZE, PAGE, QuoinPlatform};
use std::thread;
use tpm_core::StateError;

fn selection(banks: &[(u16, u32)]) -> Vec<u8> {
    let mut out = u32::try_from(banks.len()).unwrap().to_be_bytes().to_vec();
    for (bank, pcrs) in banks {
        out.extend([&bank.to_be_bytes()[..], &[3], &pcrs.to_le_bytes()[..3]].concat());
    }
    out
}

#[test]
fn pcr_banks_are_others_after_the_next_reset() {
    let (mut tpm, _) = Helper::new();
    let has = |tpm: &mut Helper<QuoinPlatform>, bank| {
        let read = tpm.with(cc::PCR_READ, &[], &[], &selection(&[(bank, 1)])).unwrap();
        // pcrUpdateCounter, the selection again, and how many digests.
        read[14..18] == [0, 0, 0, 1]
    };
    let all = 0xff_ffff;
    let wanted = selection(&[(alg::SHA1, 0), (alg::SHA256, 0), (alg::SHA384, all)]);
    let reply = tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &wanted).unwrap();
    assert_eq!(reply[0], 1, "allocationSuccess");
    assert!(has(&mut tpm, alg::SHA256), "not yet");
    tpm.restart();
    assert!(!has(&mut tpm, alg::SHA1) && !has(&mut tpm, alg::SHA256) && has(&mut tpm, alg::SHA384));
    let back = selection(&[(alg::SHA256, all), (alg::SHA384, 0)]);
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &back).unwrap()[0], 1);
    tpm.restart();
    assert!(has(&mut tpm, alg::SHA256) && !has(&mut tpm, alg::SHA384));
}

/// A session in use, a loaded key, a hash sequence, PCR: all that a guest has at work, with nothing of it on a disk.
#[test]
fn what_is_volatile_goes_on_in_another_process_between_two_commands() {
    let (mut tpm, machine) = Helper::new();
    let key = tpm.primary(OWNER, &ecc_storage());
    let public = tpm.public(key).unwrap();
    let sequence = handle_of(&tpm.with(cc::HASH_SEQUENCE_START, &[], &[], &[0, 0, 0, 0xb]).unwrap());
    tpm.with(cc::SEQUENCE_UPDATE, &[sequence], &[b""], &tpm2b(b"one, ")).unwrap();
    tpm.with(cc::PCR_EVENT, &[16], &[b""], &tpm2b(b"event")).unwrap();
    let pcrs = tpm.with(cc::PCR_READ, &[], &[], &selection(&[(alg::SHA256, 1 << 16)])).unwrap();
    let mut session = Session::start(&mut tpm, &Start { sym: Sym::Aes128, ..Start::default() });
    let random = |tpm: &mut Helper<QuoinPlatform>, session: &mut Session| {
        let auths = vec![session.with(client::attributes::session::ENCRYPT).into()];
        execute(tpm, cc::GET_RANDOM, &[], auths, &[0, 16], |_| ()).unwrap()
    };
    let first = random(&mut tpm, &mut session);
    let commits = machine.commits.load(Ordering::Relaxed);
    let saved = tpm.engine.save_state();
    assert_eq!(machine.commits.load(Ordering::Relaxed), commits, "to save is no change");
    drop(tpm);

    let other = Machine::default();
    let mut tpm = Helper::of(other.new_engine());
    other.now_ms.store(10_000_000, Ordering::Relaxed);
    tpm.engine.restore_state(saved.clone()).unwrap();
    assert_ne!(random(&mut tpm, &mut session), first, "its HMACs are right, and its nonces roll on");
    assert_eq!(tpm.public(key), Ok(public));
    let reply =
        tpm.with(cc::SEQUENCE_COMPLETE, &[sequence], &[b""], &[&tpm2b(b"two")[..], &NULL.to_be_bytes()].concat());
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(b"one, two").into();
    assert_eq!(reply.unwrap()[..34], tpm2b(&digest));
    assert_eq!(tpm.with(cc::PCR_READ, &[], &[], &selection(&[(alg::SHA256, 1 << 16)])), Ok(pcrs));
    let clock = tpm.with(cc::READ_CLOCK, &[], &[], &[]).unwrap();
    assert!(clock[..8] < 100_000u64.to_be_bytes()[..], "its time is its own, not that process's");
    // What it does from now on is kept there.
    tpm.define(OWNER, USER_DATA, nv::OWNERWRITE | nv::OWNERREAD, b"", 8).unwrap();
    let mut later = Helper::of(other.new_engine_of_blob());
    later.start();
    assert_eq!(later.read(USER_DATA), Err(UNWRITTEN));

    // Damage is refused, and the TPM is as before.
    for damaged in
        [vec![], saved[..saved.len() - 1].to_vec(), [&saved[..100], &[saved[100] ^ 1], &saved[101..]].concat()]
    {
        assert!(matches!(tpm.engine.restore_state(damaged), Err(Error::State(_))));
        random(&mut tpm, &mut session);
    }
}

#[test]
fn two_engines_that_were_restored_from_one_state_draw_different_numbers() {
    let (mut tpm, machine) = Helper::new();
    let saved = tpm.engine.save_state();
    let mut twin = Helper::of(machine.new_engine());
    twin.engine.restore_state(saved).unwrap();
    let draw = |tpm: &mut Helper<QuoinPlatform>| tpm.with(cc::GET_RANDOM, &[], &[], &[0, 32]).unwrap();
    assert_ne!(draw(&mut tpm), draw(&mut twin));
}

#[test]
fn cancel_during_a_key_search_is_told_and_loses_nothing() {
    let (mut tpm, machine) = Helper::new();
    tpm.make_ak();
    let commits = machine.commits.load(Ordering::Relaxed);
    let flag = tpm.engine.cancel_flag();
    // Searches until one is cancelled: a key may be found at once.
    let canceler = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        flag.store(true, Ordering::Relaxed);
    });
    let create = creation(b"", b"", &rsa_any());
    let code = loop {
        match tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &create) {
            Ok(reply) => tpm.flush(handle_of(&reply)),
            Err(code) => break code,
        }
    };
    canceler.join().unwrap();
    assert_eq!(code, CANCELED);
    assert_eq!(machine.commits.load(Ordering::Relaxed), commits, "nothing has changed");
    // The guest's register stays set until it is cleared: no search comes to its end, everything else does.
    assert_eq!(tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &create), Err(CANCELED));
    assert!(tpm.public(AK).is_ok());
    assert!(tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &creation(b"", b"", &ecc_storage())).is_ok());
    tpm.engine.set_cancel_flag(false);
    assert!(tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &create).is_ok());
    tpm.engine.set_cancel_flag(true);
    assert_eq!(tpm.with(cc::CREATE_PRIMARY, &[NULL], &[b""], &create), Err(CANCELED));
}

#[test]
fn a_reset_forgets_what_is_volatile_and_startup_comes_first() {
    let (mut tpm, _) = Helper::new();
    let key = tpm.primary(OWNER, &ecc_storage());
    let session = Session::plain(&mut tpm, Kind::Hmac);
    tpm.engine.reset(None).unwrap();
    assert_eq!(tpm.public(key), Err(0x100), "TPM_RC_INITIALIZE");
    tpm.start();
    assert_eq!(tpm.public(key), Err(0x910));
    assert!(tpm.with(cc::FLUSH_CONTEXT, &[], &[], &session.handle.to_be_bytes()).is_err());
}

#[test]
fn a_blob_has_its_size_and_one_that_is_none_leaves_the_tpm_as_it_was() {
    let (mut tpm, machine) = Helper::new();
    let ak = tpm.make_ak();
    let blob = machine.blob();
    assert_eq!(blob.len(), NV_SIZE);
    let of_length = |length: u32| [&length.to_be_bytes()[..], &blob[4..]].concat();
    assert!(
        matches!(tpm.engine.reset(Some(&blob[1..])), Err(Error::BlobSize { blob, wanted: NV_SIZE }) if blob == NV_SIZE - 1)
    );
    assert!(matches!(tpm.engine.reset(Some(&[])), Err(Error::BlobSize { blob: 0, .. })));
    assert!(matches!(tpm.engine.reset(Some(&of_length(u32::MAX))), Err(Error::State(StateError::Length))));
    assert!(matches!(tpm.engine.reset(Some(&of_length(100))), Err(Error::State(StateError::Length))));
    assert!(matches!(tpm.engine.reset(Some(&vec![0; NV_SIZE])), Err(Error::State(StateError::NotAState))));
    assert_eq!(tpm.public(AK), Ok(ak.clone()), "without a start: nothing has happened");
    // A saved state in a blob's place is a TPM that has lost its power.
    let saved = tpm.engine.save_state();
    let mut disguised = u32::try_from(saved.len()).unwrap().to_be_bytes().to_vec();
    disguised.extend(saved);
    disguised.resize(NV_SIZE, 0);
    tpm.engine.reset(Some(&disguised)).unwrap();
    assert_eq!(tpm.public(AK), Err(0x100));
    tpm.start();
    assert_eq!(tpm.public(AK), Ok(ak));
}

#[test]
fn a_store_that_fails_ends_in_failure_mode_before_anybody_sees_the_response() {
    let (mut tpm, machine) = Helper::new();
    machine.full.store(true, Ordering::Relaxed);
    assert!(tpm.with(cc::GET_RANDOM, &[], &[], &[0, 8]).is_ok(), "nothing is to be kept");
    assert_eq!(tpm.define(OWNER, USER_DATA, nv::OWNERWRITE | nv::OWNERREAD, b"", 8), Err(FAILURE));
    assert_eq!(tpm.with(cc::GET_RANDOM, &[], &[], &[0, 8]), Err(FAILURE));
    machine.full.store(false, Ordering::Relaxed);
    let blob = machine.blob();
    tpm.engine.reset(Some(&blob)).unwrap();
    tpm.start();
    assert_eq!(tpm.index(USER_DATA), Err(0x18b));
    // Room for a state that is too small says so before there is a guest.
    let refused = QuoinPlatform::initialize(Machine::default().callbacks(), InitKind::ColdInitWithSize(100));
    assert!(matches!(refused, Err(Error::Commit(_))));
    let refused = QuoinPlatform::initialize(Machine::default().callbacks(), InitKind::ColdInitWithSize(0));
    assert!(matches!(refused, Err(Error::Commit(_))));
}

#[test]
fn without_entropy_there_is_no_tpm_and_none_is_replaced() {
    let machine = Machine::default();
    machine.dry.store(true, Ordering::Relaxed);
    let refused = QuoinPlatform::initialize(machine.callbacks(), InitKind::ColdInit);
    assert!(matches!(refused, Err(Error::Entropy(_))));
    machine.dry.store(false, Ordering::Relaxed);
    let mut tpm = Helper::of(QuoinPlatform::initialize(machine.callbacks(), InitKind::ColdInit).unwrap());
    tpm.start();
    assert_eq!(machine.blob().len(), NV_MEMORY_SIZE);
    let saved = tpm.engine.save_state();
    machine.dry.store(true, Ordering::Relaxed);
    assert!(matches!(tpm.engine.restore_state(saved), Err(Error::State(StateError::Entropy))));
    assert!(tpm.with(cc::GET_RANDOM, &[], &[], &[0, 8]).is_ok());
}

#[test]
fn what_is_no_command_for_the_transport_is_an_error_and_for_the_tpm_a_response() {
    let (mut tpm, machine) = Helper::new();
    let mut response = [0; PAGE];
    let mut long = [0; PAGE];
    long[..10].copy_from_slice(&command(cc::GET_RANDOM, &[], &[], &[])[..10]);
    for size in [4097u32, u32::MAX] {
        long[2..6].copy_from_slice(&size.to_be_bytes());
        assert!(matches!(
            QuoinPlatform::execute_command(&mut tpm.engine, &mut long, &mut response),
            Err(Error::RequestSize)
        ));
    }
    assert!(TpmEngine::execute_command(&mut tpm.engine, &mut [0; 5], &mut response).is_err());
    let mut good = command(cc::GET_RANDOM, &[], &[], &[0, 8]);
    assert!(TpmEngine::execute_command(&mut tpm.engine, &mut good, &mut [0; PAGE - 1]).is_err());
    // Shorter than a header: the TPM says so.
    long[2..6].copy_from_slice(&[0, 0, 0, 6]);
    assert_eq!(QuoinPlatform::execute_command(&mut tpm.engine, &mut long, &mut response).unwrap(), 10);
    assert_ne!(response[6..10], [0; 4]);
    // The page is what commands and responses may have, whatever TPM it is: TPM_PT_MAX_COMMAND_SIZE.
    let (blob, saved) = (machine.blob(), tpm.engine.save_state());
    let property = [6u32, 0x11e, 1].map(u32::to_be_bytes).concat();
    let is_the_page = |tpm: &mut Helper<QuoinPlatform>| {
        let reply = tpm.with(cc::GET_CAPABILITY, &[], &[], &property).unwrap();
        reply[reply.len() - 4..] == 4096u32.to_be_bytes()
    };
    assert!(is_the_page(&mut tpm));
    tpm.engine.restore_state(saved).unwrap();
    assert!(is_the_page(&mut tpm));
    tpm.engine.reset(Some(&blob)).unwrap();
    tpm.start();
    assert!(is_the_page(&mut tpm));
}

/// The C engine of the same shape is one a process.
#[test]
fn engines_of_several_threads_do_not_know_of_each_other() {
    let threads: Vec<_> = (0..4u8)
        .map(|n| {
            thread::spawn(move || {
                let (mut tpm, _) = Helper::new();
                tpm.define(OWNER, USER_DATA, nv::OWNERWRITE | nv::OWNERREAD, b"", 1).unwrap();
                for _ in 0..20 {
                    tpm.write(OWNER, USER_DATA, b"", &[n]).unwrap();
                    assert_eq!(tpm.read(USER_DATA), Ok(vec![n]));
                }
                tpm.transmit(&command(cc::GET_RANDOM, &[], &[], &[0, 32]))
            })
        })
        .collect();
    let drawn: std::collections::BTreeSet<Vec<u8>> = threads.into_iter().map(|one| one.join().unwrap()).collect();
    assert_eq!(drawn.len(), 4);
}
