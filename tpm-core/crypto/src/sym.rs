//! Symmetric ciphers in the TPM's modes, and XOR obfuscation.
//!
//! The modes are closures that run inside of a cipher's backend: which cipher it is, and what the processor can do for
//! it, is asked once for all blocks. Another cipher is a row of `ciphers!`.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure,
    BlockCipherEncrypt, BlockSizeUser, KeyInit,
};
use zeroize::Zeroizing;

use super::hash::HashAlg;
use super::{Error, kdf};
use crate::bounded;

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

        impl Cipher {
            fn with_encryption(&self, work: impl BlockCipherEncClosure<BlockSize = U16>) {
                match &self.0 {
                    $($(Keyed::$keyed(cipher) => cipher.encrypt_with_backend(work),)*)*
                }
            }

            fn with_decryption(&self, work: impl BlockCipherDecClosure<BlockSize = U16>) {
                match &self.0 {
                    $($(Keyed::$keyed(cipher) => decrypt_with(cipher, work),)*)*
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
    /// `Error::Length` for an IV that is not a block (for ECB: not empty), or data that are not whole blocks where the
    /// mode needs them; `Error::Key` for a mode that does not encrypt.
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
        let mut unused = [0; BLOCK];
        let iv: &mut Block = match mode {
            Mode::Ecb if iv.is_empty() => &mut unused,
            Mode::Ecb => return Err(Error::Length),
            _ => iv.try_into().map_err(|_| Error::Length)?,
        };
        let Some(step) = Step::of(mode, direction) else {
            self.with_decryption(Decryption { chained: mode == Mode::Cbc, iv, blocks: data.as_chunks_mut().0 });
            return Ok(());
        };
        let (blocks, rest) = data.as_chunks_mut();
        self.with_encryption(Encryption { step, iv, blocks });
        if !rest.is_empty() {
            let mut block = Zeroizing::new([0; BLOCK]);
            bounded::copy(&mut *block, rest);
            self.with_encryption(Encryption { step, iv, blocks: core::slice::from_mut(&mut block) });
            bounded::copy(rest, &*block);
            if matches!(step, Step::CfbEncrypt | Step::CfbDecrypt) {
                // What goes on is the ciphertext, filled with zeros as in the TCG reference code.
                iv.iter_mut().skip(rest.len()).for_each(|byte| *byte = 0);
            }
        }
        Ok(())
    }

    /// Encrypts a block in place.
    pub(super) fn encrypt_block(&self, block: &mut Block) {
        self.with_encryption(Encryption { step: Step::Ecb, iv: &mut [0; BLOCK], blocks: core::slice::from_mut(block) });
    }

    /// CBC-MAC: `chain` becomes that of whole blocks behind it.
    pub(super) fn chain_blocks(&self, chain: &mut Block, blocks: &[Block]) {
        let mut copies = Zeroizing::new([[0; BLOCK]; CHAINED]);
        for blocks in blocks.chunks(CHAINED) {
            let copies = copies.get_mut(..blocks.len()).unwrap_or_default();
            copies.copy_from_slice(blocks);
            self.with_encryption(Encryption { step: Step::CbcEncrypt, iv: chain, blocks: copies });
        }
    }
}

/// How many blocks of a CMAC are copied at a time.
const CHAINED: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// What a mode does that encrypts blocks, in one direction or in both (SP 800-38A, 6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Ecb,
    CbcEncrypt,
    CfbEncrypt,
    CfbDecrypt,
    Ofb,
    Ctr,
}

impl Step {
    /// `None` if blocks are decrypted.
    const fn of(mode: Mode, direction: Direction) -> Option<Self> {
        match (mode, direction) {
            (Mode::Ecb, Direction::Encrypt) => Some(Self::Ecb),
            (Mode::Cbc, Direction::Encrypt) => Some(Self::CbcEncrypt),
            (Mode::Cfb, Direction::Encrypt) => Some(Self::CfbEncrypt),
            (Mode::Cfb, Direction::Decrypt) => Some(Self::CfbDecrypt),
            (Mode::Ofb, _) => Some(Self::Ofb),
            (Mode::Ctr, _) => Some(Self::Ctr),
            (Mode::Ecb | Mode::Cbc | Mode::Cmac, _) => None,
        }
    }

    /// What is encrypted.
    #[inline(always)]
    const fn input(self, iv: u128, data: u128) -> u128 {
        match self {
            Self::Ecb => data,
            Self::CbcEncrypt => iv ^ data,
            Self::CfbEncrypt | Self::CfbDecrypt | Self::Ofb | Self::Ctr => iv,
        }
    }

    /// What comes out, and the next IV.
    #[inline(always)]
    const fn output(self, iv: u128, data: u128, encrypted: u128) -> (u128, u128) {
        match self {
            Self::Ecb => (encrypted, iv),
            Self::CbcEncrypt => (encrypted, encrypted),
            Self::CfbEncrypt => (data ^ encrypted, data ^ encrypted),
            Self::CfbDecrypt => (data ^ encrypted, data),
            Self::Ofb => (data ^ encrypted, encrypted),
            Self::Ctr => (data ^ encrypted, u128::from_be(iv).wrapping_add(1).to_be()),
        }
    }
}

/// A mode over blocks that are encrypted, in place.
struct Encryption<'a> {
    step: Step,
    iv: &'a mut Block,
    blocks: &'a mut [Block],
}

impl BlockSizeUser for Encryption<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Encryption<'_> {
    // The backend's instructions are inlined only into what is inlined into its own function.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let mut work = Zeroizing::new([0; BLOCK]);
        let mut iv = u128::from_ne_bytes(*self.iv);
        for block in self.blocks {
            let data = u128::from_ne_bytes(*block);
            *work = self.step.input(iv, data).to_ne_bytes();
            backend.encrypt_block(<&mut Array<u8, U16>>::from(&mut *work).into());
            let (out, next) = self.step.output(iv, data, u128::from_ne_bytes(*work));
            (*block, iv) = (out.to_ne_bytes(), next);
        }
        *self.iv = iv.to_ne_bytes();
    }
}

/// A function for each cipher: of panics in two of them that are alike the optimiser would make one, at no place that
/// `cargo xtask panics` could name.
#[inline(never)]
fn decrypt_with(cipher: &impl BlockCipherDecrypt<BlockSize = U16>, work: impl BlockCipherDecClosure<BlockSize = U16>) {
    cipher.decrypt_with_backend(work);
}

/// ECB, or CBC if `chained`, over blocks that are decrypted, in place.
struct Decryption<'a> {
    chained: bool,
    iv: &'a mut Block,
    blocks: &'a mut [Block],
}

impl BlockSizeUser for Decryption<'_> {
    type BlockSize = U16;
}

impl BlockCipherDecClosure for Decryption<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = U16>>(self, backend: &B) {
        let mut iv = u128::from_ne_bytes(*self.iv);
        for block in self.blocks {
            let data = u128::from_ne_bytes(*block);
            backend.decrypt_block(<&mut Array<u8, U16>>::from(&mut *block).into());
            if self.chained {
                *block = (u128::from_ne_bytes(*block) ^ iv).to_ne_bytes();
                iv = data;
            }
        }
        *self.iv = iv.to_ne_bytes();
    }
}

/// XOR obfuscation (Part 1, 8.4.7.3): `data` XOR KDFa(`hash`, `key`, "XOR", `context_u`, `context_v`). Applied twice it
/// undoes itself.
pub fn xor_obfuscate(hash: HashAlg, key: &[u8], context_u: &[u8], context_v: &[u8], data: &mut [u8]) {
    kdf::kdfa_xor(hash, key, b"XOR", [context_u, context_v], data);
}
