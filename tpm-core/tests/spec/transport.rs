//! What a platform may do to a command on its way: cancel it (Part 3, 5.11, TPM_RC_CANCELED), or have a smaller buffer
//! than the engine.

use crate::harness::Fixture;
use crate::harness::keys::{self as templates, handle_of};
use crate::keys;
use client::codes::{CANCELED, COMMAND_SIZE, ENDORSEMENT, NULL, OWNER};
use client::names::alg;
use client::session::Outcome;
use client::{command, password, tpm2b};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;
use tpm_core::cc;
use tpm_wire::pt;

const ML_DSA_87: [u8; 3] = [0, 3, 0];
/// QEMU's CRB.
const BUFFER: usize = 3968;

fn capability(tpm: &mut Fixture, property: u32) -> u32 {
    let parameters = [&[0, 0, 0, 6][..], &property.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &parameters).unwrap();
    u32::from_be_bytes(reply[reply.len() - 4..].try_into().unwrap())
}

fn canceled(tpm: &mut Fixture, code: u32, parent: u32, parameters: &[u8]) -> Outcome {
    *tpm.canceled.get_mut() = true;
    let outcome = tpm.run(code, &[parent], &[b""], parameters);
    *tpm.canceled.get_mut() = false;
    outcome
}

#[test]
fn what_searches_for_an_rsa_key_can_be_canceled_and_then_retried() {
    let mut tpm = Fixture::new();
    let (parent, _) = tpm.primary(OWNER, &templates::ecc_storage());
    let create = templates::creation(b"", b"", &templates::rsa_any());
    let loaded = [templates::sensitive(b"", b""), templates::rsa_any().sized()].concat();
    for (code, parent, parameters) in [
        (cc::CREATE_PRIMARY, OWNER, &create),
        (cc::CREATE, parent, &create),
        (cc::CREATE_LOADED, parent, &loaded),
        (cc::CREATE_LOADED, OWNER, &loaded),
    ] {
        assert_eq!(canceled(&mut tpm, code, parent, parameters), Err(CANCELED), "{code:#x}");
    }
    // Neither was anything made: the slots are as they were.
    let made: Vec<u32> = (0..7).map(|_| tpm.primary(OWNER, &templates::ecc_storage()).0).collect();
    made.into_iter().for_each(|handle| drop(tpm.flush(handle)));
    assert!(tpm.run(cc::CREATE_PRIMARY, &[OWNER], &[b""], &create).is_ok());
}

#[test]
fn other_commands_end_as_if_it_came_too_late() {
    let mut tpm = Fixture::new();
    let ecc = templates::creation(b"", b"", &templates::ecc_storage());
    assert!(canceled(&mut tpm, cc::CREATE_PRIMARY, OWNER, &ecc).is_ok());
    *tpm.canceled.get_mut() = true;
    assert!(tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8]).is_ok());
}

/// From another thread, in the midst of the search.
#[test]
fn a_search_that_runs_ends_soon_after_it_is_canceled() {
    let mut tpm = Fixture::new();
    static FLAG: AtomicBool = AtomicBool::new(false);
    // Searches until one is canceled: one key may be found at once.
    let started = Instant::now();
    let canceler = thread::spawn(|| {
        thread::sleep(Duration::from_millis(20));
        FLAG.store(true, Ordering::Relaxed);
    });
    let create = templates::creation(b"", b"", &templates::rsa_any());
    let request = command(cc::CREATE_PRIMARY, &[NULL], &password(b""), &create);
    let code = loop {
        let mut response = vec![0; 8192];
        let hooks = &mut tpm_core::Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock };
        let n = tpm.tpm.execute_unless(hooks, tpm_core::Locality::ZERO, &request, &mut response, &FLAG);
        let code = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if code != 0 {
            assert_eq!(n, 10);
            break code;
        }
        tpm.flush(handle_of(&response[10..])).unwrap();
    };
    canceler.join().unwrap();
    assert_eq!(code, CANCELED);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_size_of_the_transports_buffer_is_a_property_and_a_limit_of_commands() {
    let mut tpm = Fixture::new();
    assert_eq!([capability(&mut tpm, pt::MAX_COMMAND_SIZE), capability(&mut tpm, pt::MAX_RESPONSE_SIZE)], [8192, 8192]);
    tpm.tpm.set_buffer_size(BUFFER);
    assert_eq!([capability(&mut tpm, pt::MAX_COMMAND_SIZE), capability(&mut tpm, pt::MAX_RESPONSE_SIZE)], [3968, 3968]);
    // TPM2_GetRandom, and octets that it does not want.
    let of_size = |size: usize| {
        let mut command = command(cc::GET_RANDOM, &[], &[], &[0, 8]);
        command.resize(size, 0);
        command[2..6].copy_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        command
    };
    assert_eq!(tpm.raw(&of_size(BUFFER + 1))[6..10], COMMAND_SIZE.to_be_bytes());
    assert_ne!(tpm.raw(&of_size(BUFFER))[6..10], COMMAND_SIZE.to_be_bytes());
    tpm.power_cycle();
    tpm.run(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    assert_eq!(capability(&mut tpm, pt::MAX_COMMAND_SIZE), 3968, "_TPM_Init is not the transport's");
    tpm.tpm.set_buffer_size(1);
    assert_eq!(capability(&mut tpm, pt::MAX_COMMAND_SIZE), 3968, "the least");
}

/// QEMU's tpm-tis ends on an answer that is longer than its buffer.
#[test]
fn a_response_beyond_the_transports_buffer_is_a_code_and_nothing_has_changed() {
    let mut tpm = Fixture::new();
    let key = keys::primary_of(&mut tpm, OWNER, alg::MLDSA, keys::SIGN, &ML_DSA_87, &tpm2b(b""));
    let start = [tpm2b(b""), tpm2b(b"")].concat();
    let sequence = handle_of(&tpm.run(cc::SIGN_SEQUENCE_START, &[key], &[], &start).unwrap());
    // TPM2_GetRandom is audited: there is a digest to lose.
    let audit = [&[0, 0x10, 0, 0, 0, 1][..], &0x17bu32.to_be_bytes(), &[0; 4]].concat();
    tpm.run(cc::SET_COMMAND_CODE_AUDIT_STATUS, &[OWNER], &[b""], &audit).unwrap();
    tpm.run(cc::GET_RANDOM, &[], &[], &[0, 8]).unwrap();
    let signed = [tpm2b(b""), vec![0, 0x10]].concat();
    let digest =
        |tpm: &mut Fixture, key| tpm.run(cc::GET_COMMAND_AUDIT_DIGEST, &[ENDORSEMENT, key], &[b"", b""], &signed);
    let before = digest(&mut tpm, NULL).unwrap();
    tpm.tpm.set_buffer_size(BUFFER);
    assert_eq!(tpm.run(cc::GET_TIME, &[ENDORSEMENT, key], &[b"", b""], &signed), Err(COMMAND_SIZE));
    assert_eq!(digest(&mut tpm, key), Err(COMMAND_SIZE));
    assert_eq!(digest(&mut tpm, NULL), Ok(before), "the log goes on");
    let complete = tpm2b(b"message");
    for _ in 0..2 {
        let refused = tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &complete);
        assert_eq!(refused, Err(COMMAND_SIZE), "the sequence is still there");
    }
    tpm.tpm.set_buffer_size(8192);
    assert!(tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &complete).is_ok());
}

/// A platform whose pages are the transport's buffer gives the engine such a page.
#[test]
fn a_response_buffer_of_the_transports_size_is_enough() {
    let mut tpm = Fixture::new();
    let key = keys::primary_of(&mut tpm, OWNER, alg::MLDSA, keys::SIGN, &ML_DSA_87, &tpm2b(b""));
    tpm.tpm.set_buffer_size(BUFFER);
    let signed = [tpm2b(b""), vec![0, 0x10]].concat();
    let time = command(cc::GET_TIME, &[ENDORSEMENT, key], &[password(b""), password(b"")].concat(), &signed);
    let random = command(cc::GET_RANDOM, &[], &[], &[0, 8]);
    for (request, code) in [(&time, COMMAND_SIZE), (&random, 0)] {
        let mut response = [0; BUFFER];
        let hooks = &mut tpm_core::Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock };
        tpm.tpm.execute(hooks, tpm_core::Locality::ZERO, request, &mut response);
        assert_eq!(response[6..10], code.to_be_bytes());
        assert_eq!(tpm.tpm.fault(), None);
    }
}
