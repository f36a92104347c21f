//! The caller's cryptography for sessions (Part 1, 11.4 and 21).

use aes::{Aes128, Aes256};
use cfb_mode::cipher::KeyIvInit;
use cfb_mode::{Decryptor, Encryptor};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest;

/// A hash algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alg {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize().to_vec()
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("a key of any size");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

impl Alg {
    pub(crate) const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// TPM_ALG_ID
    pub(crate) const fn id(self) -> u16 {
        [0x04, 0x0b, 0x0c, 0x0d][self as usize]
    }

    /// octets of a digest
    pub(crate) const fn size(self) -> usize {
        [20, 32, 48, 64][self as usize]
    }

    pub(crate) fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => digest::<sha1::Sha1>(parts),
            Self::Sha256 => digest::<sha2::Sha256>(parts),
            Self::Sha384 => digest::<sha2::Sha384>(parts),
            Self::Sha512 => digest::<sha2::Sha512>(parts),
        }
    }

    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => mac::<Hmac<sha1::Sha1>>(key, parts),
            Self::Sha256 => mac::<Hmac<sha2::Sha256>>(key, parts),
            Self::Sha384 => mac::<Hmac<sha2::Sha384>>(key, parts),
            Self::Sha512 => mac::<Hmac<sha2::Sha512>>(key, parts),
        }
    }

    /// KDFe for a digest's octets; the label without its zero.
    pub(crate) fn kdfe(self, z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
        self.hash(&[&[0, 0, 0, 1], z, label, &[0], u, v])
    }

    /// KDFa for whole octets; the label without its zero.
    pub(crate) fn kdfa(self, key: &[u8], label: &[u8], u: &[u8], v: &[u8], octets: usize) -> Vec<u8> {
        let bits = u32::try_from(octets * 8).expect("few").to_be_bytes();
        let mut out = Vec::new();
        let mut counter = 0u32;
        while out.len() < octets {
            counter += 1;
            out.extend(self.hmac(key, &[&counter.to_be_bytes(), label, &[0], u, v, &bits]));
        }
        out.truncate(octets);
        out
    }
}

/// A session's algorithm for the encryption of parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sym {
    Null,
    Xor,
    Aes128,
    Aes256,
}

impl Sym {
    pub(crate) const ALL: [Self; 4] = [Self::Null, Self::Xor, Self::Aes128, Self::Aes256];

    /// TPMT_SYM_DEF
    pub(crate) fn wire(self, alg: Alg) -> Vec<u8> {
        match self {
            Self::Null => vec![0, 0x10],
            Self::Xor => [[0, 0x0a], alg.id().to_be_bytes()].concat(),
            Self::Aes128 => vec![0, 6, 0, 128, 0, 0x43],
            Self::Aes256 => vec![0, 6, 1, 0, 0, 0x43],
        }
    }

    /// Encrypts or decrypts a parameter under the session value.
    pub(crate) fn crypt(self, alg: Alg, value: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
        let key_size = match self {
            Self::Null => return,
            Self::Xor => {
                let mask = alg.kdfa(value, b"XOR", newer, older, data.len());
                return data.iter_mut().zip(mask).for_each(|(to, mask)| *to ^= mask);
            }
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        };
        let material = alg.kdfa(value, b"CFB", newer, older, key_size + 16);
        let (key, iv) = material.split_at(key_size);
        match (key_size, encrypt) {
            (16, true) => Encryptor::<Aes128>::new_from_slices(key, iv).expect("sizes").encrypt(data),
            (16, false) => Decryptor::<Aes128>::new_from_slices(key, iv).expect("sizes").decrypt(data),
            (_, true) => Encryptor::<Aes256>::new_from_slices(key, iv).expect("sizes").encrypt(data),
            (_, false) => Decryptor::<Aes256>::new_from_slices(key, iv).expect("sizes").decrypt(data),
        }
    }
}
