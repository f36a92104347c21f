//! Symmetric ciphers in the TPM's modes, and XOR obfuscation.
//!
//! The modes are written over [`BlockCipher`], so that another cipher is an implementation of that trait and a row of [`SymAlg`].

use aes::cipher::array::Array;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

use super::hash::HashAlg;
use super::{Error, kdf};

/// The block of every cipher here, in bytes.
pub const BLOCK: usize = 16;
/// The longest key, in bytes.
pub const MAX_KEY: usize = 32;

type Block = [u8; BLOCK];

/// A block cipher (TPMI_ALG_SYM_OBJECT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum SymAlg {
    /// AES with a key of 128, 192 or 256 bits.
    Aes = 0x0006,
}

impl SymAlg {
    /// The algorithm with this TPM_ALG_ID, if it is one of ours.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0006 => Some(Self::Aes),
            _ => None,
        }
    }

    /// The TPM_ALG_ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes => 0x0006,
        }
    }

    /// Whether keys of this many bits exist.
    #[must_use]
    pub const fn has_key_bits(self, bits: u16) -> bool {
        match self {
            Self::Aes => matches!(bits, 128 | 192 | 256),
        }
    }

    /// The block size in bytes.
    #[must_use]
    pub const fn block_size(self) -> usize {
        BLOCK
    }
}

/// A mode of operation (TPMI_ALG_CIPHER_MODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mode {
    /// Counter mode: the IV is a big-endian counter of the block's length.
    Ctr = 0x0040,
    /// Output feedback.
    Ofb = 0x0041,
    /// Cipher block chaining; whole blocks only.
    Cbc = 0x0042,
    /// Cipher feedback, a block at a time.
    Cfb = 0x0043,
    /// Electronic codebook; whole blocks only, no IV.
    Ecb = 0x0044,
}

impl Mode {
    /// The mode with this TPM_ALG_ID.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0040 => Some(Self::Ctr),
            0x0041 => Some(Self::Ofb),
            0x0042 => Some(Self::Cbc),
            0x0043 => Some(Self::Cfb),
            0x0044 => Some(Self::Ecb),
            _ => None,
        }
    }

    /// The TPM_ALG_ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Ctr => 0x0040,
            Self::Ofb => 0x0041,
            Self::Cbc => 0x0042,
            Self::Cfb => 0x0043,
            Self::Ecb => 0x0044,
        }
    }

    /// Whether data must be a multiple of the block size.
    #[must_use]
    pub const fn whole_blocks(self) -> bool {
        matches!(self, Self::Cbc | Self::Ecb)
    }
}

/// What a mode needs of a cipher.
pub trait BlockCipher {
    /// Encrypts a block in place.
    fn encrypt_block(&self, block: &mut [u8; BLOCK]);
    /// Decrypts a block in place.
    fn decrypt_block(&self, block: &mut [u8; BLOCK]);
}

/// A keyed cipher. Its key schedule is wiped when dropped.
pub struct Cipher(Keyed);

enum Keyed {
    Aes128(aes::Aes128),
    Aes192(aes::Aes192),
    Aes256(aes::Aes256),
}

impl Cipher {
    /// Expands a key.
    ///
    /// # Errors
    /// `Error::Key` if the algorithm has no keys of this length.
    pub fn new(alg: SymAlg, key: &[u8]) -> Result<Self, Error> {
        let SymAlg::Aes = alg;
        let keyed = match key.len() {
            16 => aes::Aes128::new_from_slice(key).map(Keyed::Aes128),
            24 => aes::Aes192::new_from_slice(key).map(Keyed::Aes192),
            _ => aes::Aes256::new_from_slice(key).map(Keyed::Aes256),
        };
        keyed.map(Self).map_err(|_| Error::Key)
    }

    /// Encrypts `data` in place. `iv` (a block; empty for ECB) becomes the IV with which to go on.
    ///
    /// # Errors
    /// `Error::Length` for an IV that is not a block (for ECB: not empty), or data that are not whole blocks where the mode needs them.
    pub fn encrypt(&self, mode: Mode, iv: &mut [u8], data: &mut [u8]) -> Result<(), Error> {
        self.run(mode, Direction::Encrypt, iv, data)
    }

    /// Decrypts `data` in place. `iv` (a block; empty for ECB) becomes the IV with which to go on.
    ///
    /// # Errors
    /// As [`Cipher::encrypt`].
    pub fn decrypt(&self, mode: Mode, iv: &mut [u8], data: &mut [u8]) -> Result<(), Error> {
        self.run(mode, Direction::Decrypt, iv, data)
    }

    fn run(&self, mode: Mode, direction: Direction, iv: &mut [u8], data: &mut [u8]) -> Result<(), Error> {
        if mode.whole_blocks() && !data.len().is_multiple_of(BLOCK) {
            return Err(Error::Length);
        }
        if mode == Mode::Ecb {
            return if iv.is_empty() { ecb(self, direction, data) } else { Err(Error::Length) };
        }
        let iv: &mut Block = iv.try_into().map_err(|_| Error::Length)?;
        match mode {
            Mode::Ctr => ctr(self, iv, data),
            Mode::Ofb => ofb(self, iv, data),
            Mode::Cbc | Mode::Ecb => cbc(self, direction, iv, data),
            Mode::Cfb => cfb(self, direction, iv, data),
        }
    }
}

impl BlockCipher for Cipher {
    fn encrypt_block(&self, block: &mut Block) {
        let block: &mut Array<u8, _> = block.into();
        match &self.0 {
            Keyed::Aes128(aes) => aes.encrypt_block(block),
            Keyed::Aes192(aes) => aes.encrypt_block(block),
            Keyed::Aes256(aes) => aes.encrypt_block(block),
        }
    }

    fn decrypt_block(&self, block: &mut Block) {
        let block: &mut Array<u8, _> = block.into();
        match &self.0 {
            Keyed::Aes128(aes) => aes.decrypt_block(block),
            Keyed::Aes192(aes) => aes.decrypt_block(block),
            Keyed::Aes256(aes) => aes.decrypt_block(block),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// SP 800-38A, 6.1.
fn ecb(cipher: &impl BlockCipher, direction: Direction, data: &mut [u8]) -> Result<(), Error> {
    data.chunks_exact_mut(BLOCK).try_for_each(|chunk| {
        let block: &mut Block = chunk.try_into().map_err(|_| Error::Length)?;
        match direction {
            Direction::Encrypt => cipher.encrypt_block(block),
            Direction::Decrypt => cipher.decrypt_block(block),
        }
        Ok(())
    })
}

/// SP 800-38A, 6.2. The next IV is the last ciphertext block.
fn cbc(cipher: &impl BlockCipher, direction: Direction, iv: &mut Block, data: &mut [u8]) -> Result<(), Error> {
    data.chunks_exact_mut(BLOCK).try_for_each(|chunk| {
        let block: &mut Block = chunk.try_into().map_err(|_| Error::Length)?;
        if direction == Direction::Encrypt {
            xor(block, iv);
            cipher.encrypt_block(block);
            *iv = *block;
        } else {
            let ciphertext = *block;
            cipher.decrypt_block(block);
            xor(block, iv);
            *iv = ciphertext;
        }
        Ok(())
    })
}

/// SP 800-38A, 6.3, segments of a block. The next IV is the last ciphertext block; a short one is filled with zeros, as in the TCG
/// reference code.
fn cfb(cipher: &impl BlockCipher, direction: Direction, iv: &mut Block, data: &mut [u8]) -> Result<(), Error> {
    for chunk in data.chunks_mut(BLOCK) {
        let mut mask = Zeroizing::new(*iv);
        cipher.encrypt_block(&mut mask);
        *iv = [0; BLOCK];
        for ((byte, mask), next) in chunk.iter_mut().zip(mask.iter()).zip(iv.iter_mut()) {
            let out = *byte ^ mask;
            *next = if direction == Direction::Encrypt { out } else { *byte };
            *byte = out;
        }
    }
    Ok(())
}

/// SP 800-38A, 6.4. The next IV is the last keystream block.
fn ofb(cipher: &impl BlockCipher, iv: &mut Block, data: &mut [u8]) -> Result<(), Error> {
    for chunk in data.chunks_mut(BLOCK) {
        cipher.encrypt_block(iv);
        xor(chunk, iv);
    }
    Ok(())
}

/// SP 800-38A, 6.5. The next IV is the counter of the next block.
fn ctr(cipher: &impl BlockCipher, iv: &mut Block, data: &mut [u8]) -> Result<(), Error> {
    for chunk in data.chunks_mut(BLOCK) {
        let mut mask = Zeroizing::new(*iv);
        cipher.encrypt_block(&mut mask);
        xor(chunk, &*mask);
        *iv = u128::from_be_bytes(*iv).wrapping_add(1).to_be_bytes();
    }
    Ok(())
}

fn xor(data: &mut [u8], mask: &[u8]) {
    data.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// XOR obfuscation (Part 1, 11.4.7.2): `data` XOR KDFa(`hash`, `key`, "XOR", `context_u`, `context_v`). Applied twice it undoes itself.
pub fn xor_obfuscate(hash: HashAlg, key: &[u8], context_u: &[u8], context_v: &[u8], data: &mut [u8]) {
    kdf::kdfa_xor(hash, key, b"XOR", [context_u, context_v], data);
}
