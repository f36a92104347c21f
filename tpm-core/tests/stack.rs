//! How much stack the TPM needs: what the head of the crate says holds in a build without optimisation (`--profile
//! unoptimized`), too.
//!
//! A stack that overflows ends the process. `QUOIN_STACK_KIB` is another size of the stack, to find out how much a step
//! needs.

#[path = "spec/harness/mod.rs"]
mod harness;

use client::codes::OWNER;
use client::platform::export;
use client::tpm2b;
use harness::Fixture;
use harness::keys::{Template, a, ecc_signing, ecc_storage};
use harness::twin::import;
use std::thread;
use tpm_core::{MAX_STATE_SIZE, StateForm, cc};

/// Of a thread as Rust makes it.
const THREAD_KIB: usize = 2048;

/// Does one step in a thread of that size; what is before and after it has the stack of the test.
fn within<T: Send>(step: impl FnOnce() -> T + Send) -> T {
    let kib = std::env::var("QUOIN_STACK_KIB").map_or(THREAD_KIB, |kib| kib.parse().unwrap());
    thread::scope(|scope| {
        thread::Builder::new().stack_size(kib << 10).spawn_scoped(scope, step).unwrap().join().unwrap()
    })
}

fn ml_dsa_87() -> Template {
    Template { object_type: 0xa1, parms: vec![0, 3, 0], unique: tpm2b(b""), ..ecc_signing() }.without(a::RESTRICTED)
}

/// Signs with a key of ML-DSA: its signature is the longest that there is.
fn sign(tpm: &mut Fixture, key: u32) {
    let sequence = tpm.run(cc::SIGN_SEQUENCE_START, &[key], &[], &[0; 4]).unwrap();
    let sequence = u32::from_be_bytes(sequence[..4].try_into().unwrap());
    let signature = tpm.run(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &tpm2b(b"message")).unwrap();
    assert!(signature.len() > 4627);
}

#[test]
fn a_tpm_is_manufactured_and_starts() {
    within(Fixture::new);
}

#[test]
fn a_tpm_is_restored() {
    let mut tpm = Fixture::new();
    for key in [ecc_storage(), ml_dsa_87()] {
        tpm.primary(OWNER, &key);
    }
    let state = export(&tpm.tpm, StateForm::Whole);
    let restored = within(|| import(&state, 0).unwrap());
    assert!(export(&restored, StateForm::Whole) == state);
}

#[test]
fn a_state_is_exported() {
    let tpm = Fixture::new();
    let mut state = vec![0; MAX_STATE_SIZE];
    within(|| tpm.tpm.export(StateForm::Whole, &mut state).map(drop).unwrap());
}

#[test]
fn power_comes_back() {
    let mut tpm = Fixture::new();
    within(|| tpm.restart(Some(1), 1));
}

#[test]
fn a_key_of_p256_is_made() {
    let mut tpm = Fixture::new();
    within(|| tpm.primary(OWNER, &ecc_storage()));
}

#[test]
fn a_key_of_ml_dsa_87_is_made() {
    let mut tpm = Fixture::new();
    within(|| tpm.primary(OWNER, &ml_dsa_87()));
}

#[test]
fn a_key_of_ml_dsa_87_signs() {
    let mut tpm = Fixture::new();
    let (key, _) = tpm.primary(OWNER, &ml_dsa_87());
    within(|| sign(&mut tpm, key));
}

/// From the start to the end in one thread: what a program does that has no thread of its own for the TPM.
#[test]
fn a_tpm_lives_in_a_thread() {
    within(|| {
        let mut tpm = Fixture::new();
        let (key, _) = tpm.primary(OWNER, &ml_dsa_87());
        sign(&mut tpm, key);
        tpm.tpm = import(&export(&tpm.tpm, StateForm::Whole), 0).unwrap();
        tpm.primary(OWNER, &ecc_storage());
    });
}
