//! ML-KEM and ML-DSA: properties, and what is not in the Wycheproof vectors (tests/wycheproof.rs), which have the known
//! answers.

use std::vec;
use std::vec::Vec;

use hex_literal::hex;

use super::{rng, std};
use crate::Error;
use crate::hash::{HashAlg, digest};
use crate::mldsa::{MlDsa, Mu};
use crate::mlkem::MlKem;

fn ml_dsa_public(set: MlDsa) -> Vec<u8> {
    let mut public = vec![0; set.public_size()];
    set.public(&[7; 32], &mut public).unwrap();
    public
}

fn ml_kem_public(set: MlKem) -> Vec<u8> {
    let mut public = vec![0; set.public_size()];
    set.public(&[7; 64], &mut public).unwrap();
    public
}

#[test]
fn both_sides_have_the_shared_secret_and_a_changed_ciphertext_gives_another_one() {
    for &set in MlKem::ALL {
        let public = ml_kem_public(set);
        let mut ciphertext = vec![0; set.ciphertext_size()];
        let shared = set.encapsulate(&public, &mut rng(1), &mut ciphertext).unwrap();
        assert!(set.decapsulate(&[7; 64], &ciphertext).unwrap().ct_eq(shared.as_slice()));
        ciphertext[5] ^= 1;
        assert!(!set.decapsulate(&[7; 64], &ciphertext).unwrap().ct_eq(shared.as_slice()));
        assert!(!set.encapsulate(&public, &mut rng(2), &mut ciphertext).unwrap().ct_eq(shared.as_slice()));
        assert_eq!(MlKem::from_id(set.id()), Some(set));
    }
    assert_eq!((MlKem::from_id(0), MlKem::from_id(4)), (None, None));
}

#[test]
fn ml_kem_refuses_wrong_lengths_and_coefficients_that_are_not_reduced() {
    for &set in MlKem::ALL {
        let mut public = ml_kem_public(set);
        let mut ciphertext = vec![0; set.ciphertext_size()];
        assert_eq!(set.check_public(&public), Ok(()));
        assert_eq!(set.check_public(&public[1..]), Err(Error::Length));
        assert_eq!(set.encapsulate(&public, &mut rng(1), &mut ciphertext[1..]).err(), Some(Error::Length));
        assert_eq!(set.decapsulate(&[7; 64], &ciphertext[1..]).err(), Some(Error::Length));
        assert_eq!(set.decapsulate(&[7; 63], &ciphertext).err(), Some(Error::Length));
        public[0] = 0xFF;
        public[1] |= 0x0F;
        assert_eq!(set.check_public(&public), Err(Error::Range));
        assert_eq!(set.encapsulate(&public, &mut rng(1), &mut ciphertext).err(), Some(Error::Range));
    }
}

#[test]
fn ml_dsa_signs_a_message_in_a_context_and_nothing_else() {
    for &set in MlDsa::ALL {
        let public = ml_dsa_public(set);
        let pure = |context: &[u8], message: &[u8]| {
            let mut mu = Mu::pure(&public, context).unwrap();
            message.chunks(3).for_each(|piece| mu.update(piece));
            mu.finish()
        };
        let sha256 = |message: &[u8]| digest(HashAlg::Sha256, &[message]);
        let hashed = |context, message| Mu::pre_hashed(&public, context, HashAlg::Sha256, sha256(message).as_slice());
        let mut signature = vec![0; set.signature_size()];
        set.sign(&[7; 32], &pure(b"c", b"message"), &mut rng(1), &mut signature).unwrap();
        let verify = |mu: [u8; 64], signature: &[u8]| set.verify(&public, &mu, signature);
        assert_eq!(verify(pure(b"c", b"message"), &signature), Ok(()));
        for mu in [pure(b"", b"message"), pure(b"c", b"massage"), hashed(b"c", b"message").unwrap()] {
            assert_eq!(verify(mu, &signature), Err(Error::Invalid));
        }
        assert_eq!(verify(pure(b"c", b"message"), &signature[1..]), Err(Error::Invalid));
        for at in [0, set.signature_size() / 2, set.signature_size() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert_eq!(verify(pure(b"c", b"message"), &changed), Err(Error::Invalid), "{set:?} {at}");
        }
        let mut again = vec![0; set.signature_size()];
        set.sign(&[7; 32], &pure(b"c", b"message"), &mut rng(2), &mut again).unwrap();
        assert_ne!(signature, again, "hedged");
        set.sign(&[7; 32], &hashed(b"c", b"message").unwrap(), &mut rng(1), &mut signature).unwrap();
        assert_eq!(verify(hashed(b"c", b"message").unwrap(), &signature), Ok(()));
        assert_eq!(verify(pure(b"c", b"message"), &signature), Err(Error::Invalid));
        assert_eq!(MlDsa::from_id(set.id()), Some(set));
    }
    assert_eq!((MlDsa::from_id(0), MlDsa::from_id(4)), (None, None));
}

#[test]
fn ml_dsa_refuses_wrong_lengths() {
    let set = MlDsa::MlDsa44;
    let public = ml_dsa_public(set);
    assert_eq!(Mu::pure(&public, &[0; 256]).err(), Some(Error::Length));
    assert!(Mu::pure(&public, &[0; 255]).is_ok());
    assert_eq!(Mu::pre_hashed(&public, b"", HashAlg::Sha256, &[0; 31]), Err(Error::Length));
    assert_eq!(set.public(&[7; 31], &mut [0; 1312]), Err(Error::Length));
    assert_eq!(set.public(&[7; 32], &mut [0; 1311]), Err(Error::Length));
    assert_eq!(set.sign(&[7; 32], &[0; 64], &mut rng(1), &mut [0; 2419]), Err(Error::Length));
    assert_eq!(set.verify(&public[1..], &[0; 64], &[0; 2420]), Err(Error::Invalid));
}

/// tr = SHAKE256(public key, 64), μ = SHAKE256(tr ‖ domain ‖ |context| ‖ context ‖ …, 64): made with Python's hashlib.
#[test]
fn mu_is_that_of_fips_204() {
    let mut mu = Mu::pure(b"public key", b"context").unwrap();
    mu.update(b"message");
    assert_eq!(mu.finish(), PURE);
    let sha512 = digest(HashAlg::Sha512, &[b"message"]);
    let mu = Mu::pre_hashed(b"public key", b"context", HashAlg::Sha512, sha512.as_slice()).unwrap();
    assert_eq!(mu, PRE_HASHED);
}

const PURE: [u8; 64] = hex!(
    "4f022c69c536af8cd495f1f0bfc92e99c8961306417b78005e4daf4814d4c955"
    "bd3592d1f63aaf86b9e39fbce9efaad9748979725ff0f6b5a6b7d7de4f75574b"
);

const PRE_HASHED: [u8; 64] = hex!(
    "774e73070481c4046eb6ec5eb36f3c41edc048467ce9e875f868c7fdc1869cf2"
    "1cdafe47eca10009a1cb63d36bc723e3da42dcdd4ba70642ea9ff0993efb3129"
);
