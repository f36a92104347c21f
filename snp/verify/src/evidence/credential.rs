//! `TPM2_MakeCredential` in software (Part 1, 24; Part 3, 12.6): the challenge that only the TPM with this EK and this
//! AK can answer.
//!
//! It is a function of the keys and of three random values, so that a verifier who has those values can make the
//! challenge again and compare.

use super::wire::{Curve, Key, Public, alg, hash, tpm2b};
use aes::{Aes128, Aes256};
use anyhow::{Context, Result, anyhow, ensure};
use cfb_mode::{BufEncryptor, cipher::KeyIvInit};
use graviola::key_agreement::{p256, p384};
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use p521::elliptic_curve::sec1::ToEncodedPoint;
use rsa::rand_core::{self, CryptoRng, RngCore, impls};
use rsa::{BigUint, Oaep, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};

/// What the label of credentials is.
const LABEL: &str = "IDENTITY";
/// Bytes of the credential: no nameAlg that is read here has a shorter digest.
const CREDENTIAL: usize = 32;

/// The random values of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The credential, which the TPM shall give back.
    pub credential: Vec<u8>,
    /// The seed that protects it, as long as a digest of the EK's nameAlg. For an ECC EK it follows from the next.
    pub seed: Vec<u8>,
    /// For an RSA EK the random value inside OAEP, as long as the seed; for an ECC EK the ephemeral private key.
    pub oaep_seed: Vec<u8>,
}

/// What is sent to the TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `TPM2B_ID_OBJECT`: integrity and encrypted credential.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET`: the seed under RSAES-OAEP, or the ephemeral public key.
    pub encrypted_seed: Vec<u8>,
}

impl Secrets {
    /// New ones for this EK, or for any RSA key of this template; `random` fills what it is given.
    pub fn random(ek: &Public, random: impl Fn(&mut [u8]) -> Result<()>) -> Result<Self> {
        let fresh = |length| {
            let mut bytes = vec![0; length];
            random(&mut bytes).map(|()| bytes)
        };
        let credential = fresh(CREDENTIAL)?;
        let size = hash(ek.name_alg, &[]).len();
        let Key::Ecc { curve, .. } = &ek.key else {
            return Ok(Self { credential, seed: fresh(size)?, oaep_seed: fresh(size)? });
        };
        // A number that is no private key is of the rarest.
        let mut oaep_seed = fresh(curve.size())?;
        if let (Curve::P521, Some(first)) = (curve, oaep_seed.first_mut()) {
            // 521 bits are one more than 65 octets have.
            *first &= 1;
        }
        let (seed, _) = agreed(ek, &oaep_seed)?;
        Ok(Self { credential, seed, oaep_seed })
    }
}

/// Makes the challenge for the object named `ak_name` under an EK, with its own hash and AES in CFB mode.
pub fn make(ek: &Public, ak_name: &[u8], secrets: &Secrets) -> Result<Challenge> {
    let size = hash(ek.name_alg, &[]).len();
    ensure!(secrets.credential.len() == CREDENTIAL, "a credential of {} bytes", secrets.credential.len());
    ensure!(secrets.seed.len() == size, "a seed of {} bytes, not {size}", secrets.seed.len());
    let mut identity = tpm2b(&secrets.credential);
    let bits = ek.aes_cfb.context("an EK without a symmetric algorithm")?;
    let key = kdfa(ek.name_alg, &secrets.seed, "STORAGE", ak_name, bits)?;
    encrypt(&key, &mut identity)?;
    let hash_bits = u16::try_from(8 * size)?;
    let integrity_key = kdfa(ek.name_alg, &secrets.seed, "INTEGRITY", &[], hash_bits)?;
    let integrity = hmac(ek.name_alg, &integrity_key, &[&identity, ak_name])?;
    let encrypted = match &ek.key {
        Key::Rsa { modulus, .. } => encrypt_seed(ek.name_alg, modulus, secrets)?,
        Key::Ecc { .. } => {
            let (seed, point) = agreed(ek, &secrets.oaep_seed)?;
            ensure!(seed == secrets.seed, "the seed is not the one that the ephemeral key leads to");
            point
        }
    };
    Ok(Challenge { blob: tpm2b(&[tpm2b(&integrity), identity].concat()), encrypted_seed: tpm2b(&encrypted) })
}

/// AES in CFB mode, with a zero IV.
fn encrypt(key: &[u8], data: &mut [u8]) -> Result<()> {
    match key.len() {
        16 => BufEncryptor::<Aes128>::new_from_slices(key, &[0; 16]).context("AES key")?.encrypt(data),
        _ => BufEncryptor::<Aes256>::new_from_slices(key, &[0; 16]).context("AES key")?.encrypt(data),
    }
    Ok(())
}

/// RSAES-OAEP with the EK's nameAlg and the label of credentials (Part 1, B.10.4).
fn encrypt_seed(name_alg: u16, modulus: &[u8], secrets: &Secrets) -> Result<Vec<u8>> {
    let ek = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(65537_u32)).context("EK modulus")?;
    let label = format!("{LABEL}\0");
    let padding = match name_alg {
        alg::SHA512 => Oaep::new_with_label::<Sha512, _>(label),
        alg::SHA384 => Oaep::new_with_label::<Sha384, _>(label),
        _ => Oaep::new_with_label::<Sha256, _>(label),
    };
    ensure!(secrets.oaep_seed.len() == secrets.seed.len(), "a value for OAEP of {} bytes", secrets.oaep_seed.len());
    ek.encrypt(&mut Replay(&secrets.oaep_seed), padding, &secrets.seed).context("RSAES-OAEP")
}

/// The seed that an ECC EK and this ephemeral private key agree on (Part 1, C.6.1), and the ephemeral public key, a
/// `TPMS_ECC_POINT`.
fn agreed(ek: &Public, ephemeral: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let Key::Ecc { curve, x, y } = &ek.key else { return Err(anyhow!("the EK is no ECC key")) };
    let peer = [&[4], x.as_slice(), y].concat();
    let (shared, own) = match curve {
        Curve::P256 => {
            let own = p256::StaticPrivateKey::from_bytes(ephemeral).map_err(unusable)?;
            let peer = p256::PublicKey::from_x962_uncompressed(&peer).map_err(unusable)?;
            (own.diffie_hellman(&peer).map_err(unusable)?.0.to_vec(), own.public_key_uncompressed().to_vec())
        }
        Curve::P384 => {
            let own = p384::StaticPrivateKey::from_bytes(ephemeral).map_err(unusable)?;
            let peer = p384::PublicKey::from_x962_uncompressed(&peer).map_err(unusable)?;
            (own.diffie_hellman(&peer).map_err(unusable)?.0.to_vec(), own.public_key_uncompressed().to_vec())
        }
        // graviola has no P-521.
        Curve::P521 => {
            let own = p521::SecretKey::from_slice(ephemeral).map_err(|_| anyhow!("unusable key: not of P-521"))?;
            let peer = p521::PublicKey::from_sec1_bytes(&peer).map_err(|_| anyhow!("unusable key: not of P-521"))?;
            let shared = p521::ecdh::diffie_hellman(own.to_nonzero_scalar(), peer.as_affine());
            (shared.raw_secret_bytes().to_vec(), own.public_key().to_encoded_point(false).as_bytes().to_vec())
        }
    };
    let (own_x, own_y) = own.get(1..).unwrap_or_default().split_at(curve.size());
    // KDFe (Part 1, 11.4.10.3): one digest is enough.
    let one = 1_u32.to_be_bytes();
    let seed = hash(ek.name_alg, &[&one, &shared, LABEL.as_bytes(), &[0], own_x, x]);
    Ok((seed, [tpm2b(own_x), tpm2b(own_y)].concat()))
}

fn unusable(error: graviola::Error) -> anyhow::Error {
    anyhow!("unusable key: {error:?}")
}

/// `KDFa` with no contextV (Part 1, 11.4.10.2), for at most the bits of a digest.
fn kdfa(name_alg: u16, key: &[u8], label: &str, context: &[u8], bits: u16) -> Result<Vec<u8>> {
    let bits = u32::from(bits);
    let parts = [&1_u32.to_be_bytes()[..], label.as_bytes(), &[0], context, &bits.to_be_bytes()];
    let mut output = hmac(name_alg, key, &parts)?;
    output.truncate((bits / 8) as usize);
    Ok(output)
}

fn hmac(name_alg: u16, key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    match name_alg {
        alg::SHA512 => hmac_by::<Hmac<Sha512>>(key, parts),
        alg::SHA384 => hmac_by::<Hmac<Sha384>>(key, parts),
        _ => hmac_by::<Hmac<Sha256>>(key, parts),
    }
}

fn hmac_by<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mac = <M as Mac>::new_from_slice(key).context("HMAC key")?;
    Ok(mac.chain_update(parts.concat()).finalize().into_bytes().to_vec())
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
pub(crate) mod tests {
    use super::{Secrets, make};
    use crate::evidence::template::EKS;
    use crate::evidence::wire::{Curve, Key, Public};

    /// An EK of each kind; the points are generators.
    pub(crate) fn eks() -> Vec<Public> {
        const P256: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e16\
                            2bce33576b315ececbb6406837bf51f5";
        const P384: &str = "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
                            3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f";
        const P521: &str = "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8\
                            de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e66\
                            2c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650";
        let point = |digits: &str| crate::policy::hex_bytes(digits).unwrap();
        let mut eks: Vec<Public> = EKS.iter().map(|ek| ek.public()).collect();
        for ek in &mut eks {
            match &mut ek.key {
                Key::Rsa { bits, modulus } => {
                    *modulus = vec![0xC3; usize::from(*bits) / 8];
                    *modulus.last_mut().unwrap() = 1;
                }
                Key::Ecc { curve, x, y } => {
                    let point = point(match curve {
                        Curve::P256 => P256,
                        Curve::P384 => P384,
                        Curve::P521 => P521,
                    });
                    (*x, *y) = (point[..curve.size()].to_vec(), point[curve.size()..].to_vec());
                }
            }
        }
        eks
    }

    fn secrets(ek: &Public) -> Secrets {
        Secrets::random(ek, |bytes| {
            bytes.fill(3);
            Ok(())
        })
        .unwrap()
    }

    const NAME: [u8; 34] = [7; 34];

    #[test]
    fn the_same_values_make_the_same_challenge() {
        for ek in eks() {
            let made = make(&ek, &NAME, &secrets(&ek)).unwrap();
            assert_eq!(make(&ek, &NAME, &secrets(&ek)).unwrap(), made);
            assert_ne!(make(&ek, &[8; 34], &secrets(&ek)).unwrap().blob, made.blob);
        }
    }

    #[test]
    fn every_value_changes_the_challenge_or_is_refused() {
        for ek in eks() {
            let is_rsa = matches!(ek.key, Key::Rsa { .. });
            let made = make(&ek, &NAME, &secrets(&ek)).unwrap();
            let mut other = secrets(&ek);
            other.credential[0] = 0;
            assert_ne!(make(&ek, &NAME, &other).unwrap().blob, made.blob);
            for wrong in 0..2 {
                let mut other = secrets(&ek);
                [&mut other.seed, &mut other.oaep_seed][wrong][0] ^= 1;
                // An ECC seed follows from the ephemeral key.
                match make(&ek, &NAME, &other) {
                    Ok(again) => assert!(is_rsa && again.encrypted_seed != made.encrypted_seed),
                    Err(error) => assert!(!is_rsa, "{error:#}"),
                }
            }
            for wrong in 0..3 {
                let mut other = secrets(&ek);
                [&mut other.credential, &mut other.seed, &mut other.oaep_seed][wrong].pop();
                assert!(make(&ek, &NAME, &other).is_err());
            }
        }
    }

    #[test]
    fn the_parts_have_the_sizes_of_the_specification() {
        for (ek, length) in eks().iter().zip([256, 68, 256, 68, 100, 136, 384, 512]) {
            let digest = ek.name().len() - 2;
            let challenge = make(ek, &NAME, &secrets(ek)).unwrap();
            assert_eq!(challenge.blob.len(), 2 + (2 + digest) + (2 + 32));
            assert_eq!(challenge.encrypted_seed.len(), 2 + length);
        }
    }
}
