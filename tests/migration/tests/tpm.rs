//! A TPM of the engine's on both sides: what was there is there.

use client::cc;
use client::session::Transport;
use moves::belongings::Belongings;
use moves::scene::{EPOCH, OLD};
use moves::tpm::{Platform, moved};
use tpm_core::EkTemplate;

fn ek(tpm: &Platform) -> Vec<u8> {
    let mut out = [0; tpm_core::MAX_EK_PUBLIC];
    let len = tpm.tpm.endorsement_key(EkTemplate::EccP256, &mut out).unwrap();
    out[..len].to_vec()
}

/// Whatever a caller has begun with the TPM it goes on with: a salted session that encrypts, with its nonces.
#[test]
fn keys_objects_pcrs_sessions_and_counters_are_the_same_after_it() {
    let mut tpm = Platform::manufacture(0);
    tpm.transmit(&client::command(cc::STARTUP, &[], &[], &[0, 0]));
    let endorsement = ek(&tpm);
    tpm.clock.0 = 123_456;
    let mut belongings = Belongings::make(&mut tpm);
    let moved = moved(tpm).unwrap();
    let mut tpm = moved.platform;
    assert_eq!((moved.tombstone.epoch, moved.arrival.from), (EPOCH, OLD));
    assert_eq!(ek(&tpm), endorsement);
    belongings.find(&mut tpm, 10);
    // The random numbers are others.
    assert!(moved.octets > 1000);
}
