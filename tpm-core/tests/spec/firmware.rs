//! What firmware does with the TPM that it contains: events in PCR, and data in NV Indices.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{NV_LOCKED, OWNER, PLATFORM};
use client::tpm2b;
use sha2::{Digest, Sha256, Sha384};
use tpm_core::{Event, EventDigests, Failure, cc};

const INDEX: u32 = 0x01c1_0180;

fn event(tpm: &Fixture, data: &[u8]) -> Event {
    let mut event = tpm.tpm.event();
    data.chunks(3).for_each(|piece| event.update(piece));
    event
}

fn measure(tpm: &mut Fixture, pcr: u32, data: &[u8]) -> Result<EventDigests, Failure> {
    let event = event(tpm, data);
    tpm.tpm.measure(pcr, event)
}

/// PCR `pcr` of the SHA-256 bank.
fn sha256_of(tpm: &mut Fixture, pcr: u32) -> Vec<u8> {
    let map = (1_u32 << pcr).to_le_bytes();
    let selection = [&[0, 0, 0, 1, 0, 0xb, 3][..], &map[..3]].concat();
    let reply = tpm.run(cc::PCR_READ, &[], &[], &selection).unwrap();
    reply[reply.len() - 32..].to_vec()
}

/// TPM2_PCR_Event does the same (Part 3, 22.3).
#[test]
fn an_event_extends_every_bank_by_its_digest() {
    let mut tpm = Fixture::new();
    let digests = measure(&mut tpm, 9, b"what is started").unwrap();
    let sha256 = Sha256::digest(b"what is started");
    assert!(digests.iter().any(|(alg, digest)| alg == 0xb && digest == sha256.as_slice()));
    assert!(digests.iter().count() >= 2, "each bank has one");
    let expected = Sha256::digest([&[0; 32][..], &sha256].concat());
    assert_eq!(sha256_of(&mut tpm, 9), expected.as_slice());
}

#[test]
fn a_digest_that_is_given_is_not_computed() {
    let mut tpm = Fixture::new();
    let mut event = event(&tpm, b"what is started");
    event.give(0xb, &[7; 32]).unwrap();
    assert!(event.wants_contents(), "the other banks have none yet");
    let digests = tpm.tpm.measure(9, event).unwrap();
    assert!(digests.iter().any(|(alg, digest)| alg == 0xb && digest == [7; 32]));
    assert!(digests.iter().any(|(alg, digest)| alg == 0xc && digest == Sha384::digest(b"what is started").as_slice()));
    assert_eq!(sha256_of(&mut tpm, 9), Sha256::digest([[0; 32], [7; 32]].concat()).as_slice());
}

#[test]
fn with_a_digest_for_each_bank_the_contents_are_not_wanted() {
    let tpm = Fixture::new();
    let mut event = tpm.tpm.event();
    for (alg, size) in [(4, 20), (0xb, 32), (0xc, 48), (0xd, 64), (0x12, 32), (0xFFFF, 1)] {
        event.give(alg, &vec![7; size]).unwrap();
    }
    assert!(!event.wants_contents());
}

#[test]
fn a_digest_of_another_length_is_refused() {
    let mut event = Fixture::new().tpm.event();
    for len in [0, 31, 33, 64, 65] {
        assert_eq!(event.give(0xb, &vec![7; len]).err(), Some(Failure));
    }
}

#[test]
fn nothing_is_measured_before_startup_in_failure_mode_or_beyond_the_last_pcr() {
    let mut tpm = Fixture::unstarted();
    assert_eq!(measure(&mut tpm, 9, b"early").err(), Some(Failure));
    let mut tpm = Fixture::new();
    assert_eq!(measure(&mut tpm, 24, b"beyond").err(), Some(Failure));
    tpm.fail();
    assert_eq!(measure(&mut tpm, 9, b"late").err(), Some(Failure));
}

#[test]
fn an_index_of_the_firmware_is_read_by_everybody_and_changed_by_nobody() {
    let mut tpm = Fixture::new();
    tpm.tpm.platform_index(INDEX, b"a log").unwrap();
    let read = [&5_u16.to_be_bytes()[..], &[0, 0]].concat();
    for reader in [INDEX, OWNER, PLATFORM] {
        assert_eq!(tpm.with(cc::NV_READ, &[reader, INDEX], &[b""], &read), Ok(tpm2b(b"a log")));
    }
    let write = [&tpm2b(b"x")[..], &[0, 0]].concat();
    for writer in [OWNER, PLATFORM] {
        assert_eq!(tpm.with(cc::NV_WRITE, &[writer, INDEX], &[b""], &write), Err(NV_LOCKED));
    }
    assert!(tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX], &[b""], &[]).is_err());
    tpm.restart(Some(0), 0);
    assert_eq!(tpm.with(cc::NV_WRITE, &[PLATFORM, INDEX], &[b""], &write), Err(NV_LOCKED));
    tpm.tpm.platform_index(INDEX, b"another").unwrap();
    let read = [&7_u16.to_be_bytes()[..], &[0, 0]].concat();
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b""], &read), Ok(tpm2b(b"another")));
}

#[test]
fn an_index_that_is_none_or_too_large_is_refused() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.tpm.platform_index(0x8100_0001, b"object"), Err(Failure));
    assert_eq!(tpm.tpm.platform_index(INDEX, &[0; 70_000]), Err(Failure));
    tpm.fail();
    assert_eq!(tpm.tpm.platform_index(INDEX, b"in failure mode"), Err(Failure));
    tpm.tpm.check().unwrap();
}

#[test]
fn an_index_that_cannot_be_replaced_stays_as_it_was() {
    let mut tpm = Fixture::new();
    tpm.tpm.platform_index(INDEX, b"a log").unwrap();
    for number in 0.. {
        if tpm.tpm.platform_index(0x01c1_0200 + number, &[0; 2048]).is_err() {
            break;
        }
    }
    let before = tpm.tpm.generation();
    assert_eq!(tpm.tpm.platform_index(INDEX, &[7; 2048 + 5]), Err(Failure));
    assert_eq!(tpm.tpm.generation(), before);
    let read = [&5_u16.to_be_bytes()[..], &[0, 0]].concat();
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b""], &read), Ok(tpm2b(b"a log")));
    tpm.tpm.platform_index(INDEX, b"b log").unwrap();
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b""], &read), Ok(tpm2b(b"b log")));
}

#[test]
fn the_firmware_removes_indices_of_the_platforms_alone() {
    let mut tpm = Fixture::new();
    assert!(!tpm.tpm.has_platform_index(INDEX));
    tpm.tpm.platform_index(INDEX, b"a log").unwrap();
    assert!(tpm.tpm.has_platform_index(INDEX));
    tpm.tpm.remove_platform_index(INDEX);
    tpm.tpm.remove_platform_index(INDEX);
    assert!(!tpm.tpm.has_platform_index(INDEX));
    // OWNERWRITE, OWNERREAD; of one octet.
    let public = [&INDEX.to_be_bytes()[..], &[0, 0xb], &0x0002_0002_u32.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let define = [tpm2b(b""), tpm2b(&public)].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &define).unwrap();
    assert!(!tpm.tpm.has_platform_index(INDEX), "the owner's");
    tpm.tpm.remove_platform_index(INDEX);
    assert_eq!(tpm.tpm.index_contents(INDEX), None, "not written");
    tpm.with(cc::NV_WRITE, &[OWNER, INDEX], &[b""], &[&tpm2b(b"x")[..], &[0, 0]].concat()).unwrap();
    assert_eq!(tpm.tpm.index_contents(INDEX), Some(&b"x"[..]));
    tpm.tpm.check().unwrap();
}
