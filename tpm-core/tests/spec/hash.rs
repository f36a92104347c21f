//! TPM2_Hash (Part 3, 15.4).

use crate::harness::Fixture;
use client::codes::{ENDORSEMENT, HASH, LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM, SIZE, VALUE, param};
use client::session::Outcome;
use client::tpm2b;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tpm_core::cc;

fn hash(tpm: &mut Fixture, data: &[u8], alg: u16, hierarchy: u32) -> Outcome {
    tpm.run(cc::HASH, &[], &[], &[&tpm2b(data)[..], &alg.to_be_bytes(), &hierarchy.to_be_bytes()].concat())
}

/// TPM_ST_HASHCHECK, TPM_RH_NULL, Empty Digest.
const NULL_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

#[test]
fn every_hash_gives_its_digest() {
    let mut tpm = Fixture::new();
    let digests = [
        (0x4, Sha1::digest(b"abc").to_vec()),
        (0xb, Sha256::digest(b"abc").to_vec()),
        (0xc, Sha384::digest(b"abc").to_vec()),
        (0xd, Sha512::digest(b"abc").to_vec()),
    ];
    for (alg, digest) in digests {
        assert_eq!(hash(&mut tpm, b"abc", alg, NULL), Ok([&tpm2b(&digest)[..], &NULL_TICKET].concat()));
    }
    assert_eq!(hash(&mut tpm, b"", 0xb, NULL).unwrap()[2..34], Sha256::digest(b"")[..]);
}

#[test]
fn a_hierarchy_gives_a_ticket_of_its_own() {
    let mut tpm = Fixture::new();
    let mut tickets = Vec::new();
    for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
        let ticket = hash(&mut tpm, b"abc", 0xb, hierarchy).unwrap()[34..].to_vec();
        assert_eq!(ticket[..8], [&[0x80, 0x24][..], &hierarchy.to_be_bytes(), &[0, 32]].concat());
        assert_eq!(ticket, hash(&mut tpm, b"abc", 0xb, hierarchy).unwrap()[34..]);
        assert_ne!(ticket, hash(&mut tpm, b"abd", 0xb, hierarchy).unwrap()[34..], "another digest");
        tickets.push(ticket[8..].to_vec());
    }
    assert!(tickets[0] != tickets[1] && tickets[1] != tickets[2] && tickets[0] != tickets[2]);
}

#[test]
fn what_looks_like_a_structure_of_the_tpm_gets_no_ticket() {
    let mut tpm = Fixture::new();
    assert_eq!(hash(&mut tpm, b"\xffTCG and more", 0xb, OWNER).unwrap()[34..], NULL_TICKET);
    assert_eq!(hash(&mut tpm, b"\xffTCG", 0xb, OWNER).unwrap()[34..], NULL_TICKET);
    assert_ne!(hash(&mut tpm, b"\xffTC", 0xb, OWNER).unwrap()[34..], NULL_TICKET);
    assert_ne!(hash(&mut tpm, b" \xffTCG", 0xb, OWNER).unwrap()[34..], NULL_TICKET);
}

#[test]
fn parameters_are_checked_in_order() {
    let mut tpm = Fixture::new();
    assert!(hash(&mut tpm, &[0; 1024], 0xb, OWNER).is_ok());
    assert_eq!(hash(&mut tpm, &[0; 1025], 0x77, OWNER), Err(param(1, SIZE)));
    assert_eq!(hash(&mut tpm, b"", 0x77, LOCKOUT_HIERARCHY), Err(param(2, HASH)));
    assert_eq!(hash(&mut tpm, b"", 0x10, LOCKOUT_HIERARCHY), Err(param(2, HASH)), "TPM_ALG_NULL");
    assert_eq!(hash(&mut tpm, b"", 0xb, LOCKOUT_HIERARCHY), Err(param(3, VALUE)));
}
