//! `TPM2_MakeCredential` in software (Part 1, 24; Part 3, 12.6): the challenge that only the TPM with this EK and this
//! AK can answer.
//!
//! It is a function of the keys and of three random values, so that a verifier who has those values can make the
//! challenge again and compare.

use super::wire::tpm2b;
use aes::Aes128;
use anyhow::{Context, Result};
use cfb_mode::{BufEncryptor, cipher::KeyIvInit};
use hmac::{Hmac, Mac};
use rsa::rand_core::{self, CryptoRng, RngCore, impls};
use rsa::{BigUint, Oaep, RsaPublicKey};
use sha2::Sha256;

/// The three random values of a challenge, 32 bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secrets {
    /// The credential, which the TPM shall give back.
    pub credential: [u8; 32],
    /// The seed that protects it, encrypted to the EK.
    pub seed: [u8; 32],
    /// The random value inside OAEP.
    pub oaep_seed: [u8; 32],
}

/// What is sent to the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `TPM2B_ID_OBJECT`: integrity and encrypted credential.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`: the seed under RSAES-OAEP.
    pub encrypted_seed: Vec<u8>,
}

/// Makes the challenge for the object named `ak_name` under the RSA-2048 EK with `modulus`, AES-128-CFB and SHA-256.
pub fn make(modulus: &[u8], ak_name: &[u8], secrets: &Secrets) -> Result<Challenge> {
    let mut identity = tpm2b(&secrets.credential);
    let key = kdfa(&secrets.seed, "STORAGE", ak_name, 128)?;
    BufEncryptor::<Aes128>::new_from_slices(&key, &[0; 16]).context("AES key")?.encrypt(&mut identity);
    let integrity_key = kdfa(&secrets.seed, "INTEGRITY", &[], 256)?;
    let integrity = hmac(&integrity_key, &[&identity, ak_name])?;
    Ok(Challenge {
        blob: tpm2b(&[tpm2b(&integrity), identity].concat()),
        encrypted_seed: tpm2b(&encrypt_seed(modulus, secrets)?),
    })
}

/// RSAES-OAEP with the EK's nameAlg and the label of credentials (Part 1, B.10.4).
fn encrypt_seed(modulus: &[u8], secrets: &Secrets) -> Result<Vec<u8>> {
    let ek = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(65537_u32)).context("EK modulus")?;
    let padding = Oaep::new_with_label::<Sha256, _>("IDENTITY\0");
    ek.encrypt(&mut Replay(&secrets.oaep_seed), padding, &secrets.seed).context("RSAES-OAEP")
}

/// `KDFa` with SHA-256 and no contextV (Part 1, 11.4.10.2), for at most 256 bits.
fn kdfa(key: &[u8], label: &str, context: &[u8], bits: u32) -> Result<Vec<u8>> {
    let mut output = hmac(key, &[&1_u32.to_be_bytes(), label.as_bytes(), &[0], context, &bits.to_be_bytes()])?;
    output.truncate((bits / 8) as usize);
    Ok(output)
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).context("HMAC key")?;
    parts.iter().for_each(|part| mac.update(part));
    Ok(mac.finalize().into_bytes().to_vec())
}

/// "Random" bytes that are known beforehand.
struct Replay<'a>(&'a [u8]);

impl RngCore for Replay<'_> {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        let length = destination.len().min(self.0.len());
        let (now, later) = self.0.split_at(length);
        destination[..length].copy_from_slice(now);
        self.0 = later;
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

impl CryptoRng for Replay<'_> {}

#[cfg(test)]
mod tests {
    use super::{Secrets, make};

    const SECRETS: Secrets = Secrets { credential: [1; 32], seed: [2; 32], oaep_seed: [3; 32] };

    fn modulus() -> [u8; 256] {
        let mut modulus = [0xC3; 256];
        modulus[255] = 0x01;
        modulus
    }

    #[test]
    fn the_same_values_make_the_same_challenge() {
        let name = [7; 34];
        assert_eq!(make(&modulus(), &name, &SECRETS).unwrap(), make(&modulus(), &name, &SECRETS).unwrap());
    }

    #[test]
    fn every_value_changes_the_challenge() {
        let name = [7; 34];
        let challenge = make(&modulus(), &name, &SECRETS).unwrap();
        let other_name = make(&modulus(), &[8; 34], &SECRETS).unwrap();
        assert_ne!(other_name.blob, challenge.blob);
        let mut other = SECRETS;
        other.credential[0] = 0;
        assert_ne!(make(&modulus(), &name, &other).unwrap().blob, challenge.blob);
        let mut other = SECRETS;
        other.oaep_seed[0] = 0;
        let again = make(&modulus(), &name, &other).unwrap();
        assert_ne!(again.encrypted_seed, challenge.encrypted_seed);
    }

    #[test]
    fn the_parts_have_the_sizes_of_the_specification() {
        let challenge = make(&modulus(), &[7; 34], &SECRETS).unwrap();
        assert_eq!(challenge.blob.len(), 2 + (2 + 32) + (2 + 32));
        assert_eq!(challenge.encrypted_seed.len(), 2 + 256);
    }
}
