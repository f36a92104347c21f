//! The encryption of parameters (Part 1, 18).

use crate::hash::Alg;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

/// A session's algorithm for the encryption of parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sym {
    /// none
    Null,
    /// XOR obfuscation
    Xor,
    /// AES-128, CFB
    Aes128,
    /// AES-256, CFB
    Aes256,
}

impl Sym {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Null, Self::Xor, Self::Aes128, Self::Aes256];

    /// TPMT_SYM_DEF of a session with this hash.
    #[must_use]
    pub fn wire(self, alg: Alg) -> Vec<u8> {
        match self {
            Self::Null => vec![0, 0x10],
            Self::Xor => [[0, 0x0a], alg.id().to_be_bytes()].concat(),
            Self::Aes128 => vec![0, 6, 0, 128, 0, 0x43],
            Self::Aes256 => vec![0, 6, 1, 0, 0, 0x43],
        }
    }

    /// Encrypts or decrypts a parameter under the session value; without an algorithm it stays as it is.
    pub fn crypt(self, alg: Alg, value: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
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
        cfb(key, iv, encrypt, data);
    }
}

/// AES in CFB-128 (SP 800-38A, 6.3).
///
/// # Panics
/// If the key has neither 16 nor 32 octets, or `iv` not 16.
pub fn cfb(key: &[u8], iv: &[u8], encrypt: bool, data: &mut [u8]) {
    match key.len() {
        16 => with(&aes::Aes128::new_from_slice(key).expect("16 octets"), iv, encrypt, data),
        _ => with(&aes::Aes256::new_from_slice(key).expect("32 octets"), iv, encrypt, data),
    }
}

fn with<C: BlockCipherEncrypt<BlockSize = aes::cipher::typenum::U16>>(
    cipher: &C,
    iv: &[u8],
    encrypt: bool,
    data: &mut [u8],
) {
    let mut feedback: [u8; 16] = iv.try_into().expect("a block");
    for chunk in data.chunks_mut(16) {
        let mut block = Array::from(feedback);
        cipher.encrypt_block(&mut block);
        let before = chunk.to_vec();
        chunk.iter_mut().zip(&block).for_each(|(to, mask)| *to ^= mask);
        let text = if encrypt { &*chunk } else { &before[..] };
        feedback[..text.len()].copy_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::cfb;
    use crate::command::{hex, octets};

    #[test]
    fn cfb_is_that_of_sp_800_38a() {
        let (key, iv) = (octets("2b7e151628aed2a6abf7158809cf4f3c"), octets("000102030405060708090a0b0c0d0e0f"));
        let plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
        let cipher = "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b";
        let mut text = octets(plain);
        cfb(&key, &iv, true, &mut text);
        assert_eq!(hex(&text), cipher);
        cfb(&key, &iv, false, &mut text);
        assert_eq!(hex(&text), plain);
    }
}
