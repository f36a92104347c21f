//! Symmetric ciphers in the TPM's modes, and XOR obfuscation.
//!
//! The modes are written over [`BlockCipher`]; another cipher is a row of `ciphers!`.

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

/// From one row per algorithm: the names, and the implementation for each key size.
macro_rules! ciphers {
    ($($(#[$doc:meta])* $name:ident = $id:literal { $($bits:literal => $keyed:ident($cipher:ty)),* })*) => {
        /// A block cipher (TPMI_ALG_SYM_OBJECT).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum SymAlg {
            $($(#[$doc])* $name = $id,)*
        }

        impl SymAlg {
            /// Every algorithm, in the order of identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The algorithm with this TPM_ALG_ID, if it is one of ours.
            #[must_use]
            pub const fn from_id(id: u16) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The TPM_ALG_ID.
            #[must_use]
            pub const fn id(self) -> u16 {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// The sizes of its keys in bits.
            #[must_use]
            pub const fn key_bits(self) -> &'static [u16] {
                match self {
                    $(Self::$name => &[$($bits),*],)*
                }
            }

            /// Whether keys of this many bits exist.
            #[must_use]
            pub fn has_key_bits(self, bits: u16) -> bool {
                self.key_bits().contains(&bits)
            }

            /// The block size in bytes.
            #[must_use]
            pub const fn block_size(self) -> usize {
                BLOCK
            }
        }

        enum Keyed {
            $($($keyed($cipher),)*)*
        }

        impl Keyed {
            fn new(alg: SymAlg, key: &[u8]) -> Option<Self> {
                match (alg, key.len().saturating_mul(8)) {
                    $($((SymAlg::$name, $bits) => <$cipher>::new_from_slice(key).ok().map(Self::$keyed),)*)*
                    _ => None,
                }
            }
        }

        impl Cipher {
            /// A second copy of the key schedule.
            #[must_use]
            pub fn duplicate(&self) -> Self {
                Self(match &self.0 {
                    $($(Keyed::$keyed(cipher) => Keyed::$keyed(cipher.clone()),)*)*
                })
            }
        }

        impl BlockCipher for Cipher {
            fn encrypt_block(&self, block: &mut Block) {
                let block: &mut Array<u8, _> = block.into();
                match &self.0 {
                    $($(Keyed::$keyed(cipher) => cipher.encrypt_block(block),)*)*
                }
            }

            fn decrypt_block(&self, block: &mut Block) {
                let block: &mut Array<u8, _> = block.into();
                match &self.0 {
                    $($(Keyed::$keyed(cipher) => cipher.decrypt_block(block),)*)*
                }
            }
        }
    };
}

ciphers! {
    /// AES.
    Aes = 0x0006 { 128 => Aes128(aes::Aes128), 192 => Aes192(aes::Aes192), 256 => Aes256(aes::Aes256) }
    /// SM4.
    Sm4 = 0x0013 { 128 => Sm4(sm4::Sm4) }
    /// Camellia.
    Camellia = 0x0026 {
        128 => Camellia128(camellia::Camellia128),
        192 => Camellia192(camellia::Camellia192),
        256 => Camellia256(camellia::Camellia256)
    }
}

/// A mode of operation (TPMI_ALG_SYM_MODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Mode {
    /// The key is for a MAC ([`super::cmac`]), not for encryption.
    Cmac = 0x003F,
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
            0x003F => Some(Self::Cmac),
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
            Self::Cmac => 0x003F,
            Self::Ctr => 0x0040,
            Self::Ofb => 0x0041,
            Self::Cbc => 0x0042,
            Self::Cfb => 0x0043,
            Self::Ecb => 0x0044,
        }
    }

    /// Whether the mode encrypts (TPMI_ALG_CIPHER_MODE).
    #[must_use]
    pub const fn encrypts(self) -> bool {
        !matches!(self, Self::Cmac)
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

impl Cipher {
    /// Expands a key.
    ///
    /// # Errors
    /// `Error::Key` if the algorithm has no keys of this length.
    pub fn new(alg: SymAlg, key: &[u8]) -> Result<Self, Error> {
        Keyed::new(alg, key).map(Self).ok_or(Error::Key)
    }

    /// Encrypts `data` in place. `iv` (a block; empty for ECB) becomes the IV with which to go on.
    ///
    /// # Errors
    /// `Error::Length` for an IV that is not a block (for ECB: not empty), or data that are not whole blocks where the mode needs them;
    /// `Error::Key` for a mode that does not encrypt.
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
        if !mode.encrypts() {
            return Err(Error::Key);
        }
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
            Mode::Cbc => cbc(self, direction, iv, data),
            Mode::Cfb => cfb(self, direction, iv, data),
            Mode::Ecb | Mode::Cmac => Err(Error::Key),
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
    let mut mask = Zeroizing::new([0; BLOCK]);
    let (blocks, rest) = data.as_chunks_mut();
    for block in blocks {
        *mask = *iv;
        cipher.encrypt_block(&mut mask);
        let out = (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(*mask)).to_ne_bytes();
        *iv = if direction == Direction::Encrypt { out } else { *block };
        *block = out;
    }
    if rest.is_empty() {
        return Ok(());
    }
    *mask = *iv;
    cipher.encrypt_block(&mut mask);
    *iv = [0; BLOCK];
    for ((byte, mask), next) in rest.iter_mut().zip(mask.iter()).zip(iv) {
        let out = *byte ^ mask;
        *next = if direction == Direction::Encrypt { out } else { *byte };
        *byte = out;
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
