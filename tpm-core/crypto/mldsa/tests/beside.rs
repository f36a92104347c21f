//! Beside a library by others: the same keys and signatures, and both take each other's.

use ml_dsa::common::rand_core::{TryCryptoRng, TryRng};
use ml_dsa::{Keypair, MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Seed, SigningKey};
use tpm_mldsa::{ML_DSA_44, ML_DSA_65, ML_DSA_87, MU, RANDOM, SEED, Set};

/// Bytes that are the same for both.
struct Given([u8; RANDOM]);

impl TryRng for Given {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        unreachable!()
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        unreachable!()
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}
impl TryCryptoRng for Given {}

fn filled<const SIZE: usize>(n: u16, more: u8) -> [u8; SIZE] {
    let mut bytes = [more; SIZE];
    bytes[..2].copy_from_slice(&n.to_le_bytes());
    bytes
}

fn both<P: MlDsaParams>(set: &Set, rounds: u16) {
    for n in 0..rounds {
        let (seed, mu, random) = (filled::<SEED>(n, 1), filled::<MU>(n, 2), filled::<RANDOM>(n, 3));
        let theirs = SigningKey::<P>::from_seed(&Seed::from(seed));
        let mut public = vec![0; set.public_size()];
        set.public(&seed, &mut public).unwrap();
        assert_eq!(public[..], theirs.verifying_key().encode()[..], "public key {n}");
        let mut signature = vec![0; set.signature_size()];
        set.sign(&seed, &mu, &random, &mut signature).unwrap();
        let expected = theirs.expanded_key().sign_mu_randomized((&mu).into(), &mut Given(random)).unwrap().encode();
        assert!(signature[..] == expected[..], "signature {n}");
        set.verify(&public, &mu, &signature).unwrap();
        for at in [0, 40, signature.len() / 2, signature.len() - 100, signature.len() - 1] {
            let mut other = signature.clone();
            other[at] ^= 1;
            assert!(set.verify(&public, &mu, &other).is_err(), "{at}");
        }
        assert!(set.verify(&public, &filled::<MU>(n, 4), &signature).is_err());
    }
}

#[test]
fn ml_dsa_44_is_that_of_others() {
    both::<MlDsa44>(&ML_DSA_44, 200);
}

#[test]
fn ml_dsa_65_is_that_of_others() {
    both::<MlDsa65>(&ML_DSA_65, 200);
}

#[test]
fn ml_dsa_87_is_that_of_others() {
    both::<MlDsa87>(&ML_DSA_87, 200);
}

#[test]
fn wrong_lengths_are_refused() {
    for set in [ML_DSA_44, ML_DSA_65, ML_DSA_87] {
        let (mut public, mut signature) = (vec![0; set.public_size()], vec![0; set.signature_size()]);
        let (seed, mu, random) = ([1; SEED], [2; MU], [3; RANDOM]);
        set.public(&seed, &mut public).unwrap();
        set.sign(&seed, &mu, &random, &mut signature).unwrap();
        let shorter = public.len() - 1;
        assert!(set.public(&seed, &mut public[..shorter]).is_err());
        assert!(set.verify(&public[..shorter], &mu, &signature).is_err());
        let shorter = signature.len() - 1;
        assert!(set.verify(&public, &mu, &signature[..shorter]).is_err());
        assert!(set.sign(&seed, &mu, &random, &mut signature[..shorter]).is_err());
    }
}
