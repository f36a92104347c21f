//! Hash algorithms: one row of `hashes!` each.

use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState as _;
use zeroize::Zeroize;

use super::sha256;
use crate::secret::ct_eq;

/// The longest digest, in bytes.
pub const MAX_DIGEST: usize = 64;
/// The longest block, in bytes.
pub const MAX_BLOCK: usize = 136;
/// The longest state of a computation in progress, as [`Hasher::save`] writes it, in bytes.
pub const MAX_STATE: usize = 400;

/// From one row per algorithm: the names, the sizes and the streaming state.
macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, digest $digest:literal, block $block:literal, $state:ty;)*) => {
        /// A hash algorithm (TPMI_ALG_HASH).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum HashAlg {
            $($(#[$doc])* $name = $id,)*
        }

        impl HashAlg {
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

            /// The length of a digest in bytes.
            #[must_use]
            pub const fn digest_size(self) -> usize {
                match self {
                    $(Self::$name => $digest,)*
                }
            }

            /// The length of a block in bytes, on which HMAC depends.
            #[must_use]
            pub const fn block_size(self) -> usize {
                match self {
                    $(Self::$name => $block,)*
                }
            }
        }

        #[derive(Clone)]
        enum State {
            $($name($state),)*
        }

        impl State {
            fn new(alg: HashAlg) -> Self {
                match alg {
                    $(HashAlg::$name => Self::$name(<$state>::new()),)*
                }
            }

            const fn alg(&self) -> HashAlg {
                match self {
                    $(Self::$name(_) => HashAlg::$name,)*
                }
            }

            fn update(&mut self, data: &[u8]) {
                match self {
                    $(Self::$name(state) => state.update(data),)*
                }
            }

            fn finish(self) -> Digest {
                match self {
                    $(Self::$name(state) => Digest::of_state(&state.finalize()),)*
                }
            }

            fn save(&self, out: &mut [u8]) -> Option<usize> {
                match self {
                    $(Self::$name(state) => put(state.serialize().as_mut_slice(), out),)*
                }
            }

            fn restore(alg: HashAlg, saved: &[u8]) -> Option<Self> {
                match alg {
                    $(HashAlg::$name => <$state>::deserialize(saved.try_into().ok()?).ok().map(Self::$name),)*
                }
            }
        }
    };
}

hashes! {
    /// SHA-1: for PCR banks and old keys; no collision resistance.
    Sha1 = 0x0004, digest 20, block 64, sha1::Sha1;
    /// SHA-256.
    Sha256 = 0x000B, digest 32, block 64, sha2::Sha256;
    /// SHA-384.
    Sha384 = 0x000C, digest 48, block 128, sha2::Sha384;
    /// SHA-512.
    Sha512 = 0x000D, digest 64, block 128, sha2::Sha512;
    /// SM3-256.
    Sm3 = 0x0012, digest 32, block 64, sm3::Sm3;
    /// SHA3-256.
    Sha3_256 = 0x0027, digest 32, block 136, sha3::Sha3_256;
    /// SHA3-384.
    Sha3_384 = 0x0028, digest 48, block 104, sha3::Sha3_384;
    /// SHA3-512.
    Sha3_512 = 0x0029, digest 64, block 72, sha3::Sha3_512;
}

/// Copies `state` to the front of `out` and wipes it; the length.
fn put(state: &mut [u8], out: &mut [u8]) -> Option<usize> {
    out.get_mut(..state.len())?.copy_from_slice(state);
    state.zeroize();
    Some(state.len())
}

/// A digest: as many bytes as its algorithm gives.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST],
    len: usize,
}

impl Digest {
    /// The Empty Digest.
    pub const EMPTY: Self = Self { bytes: [0; MAX_DIGEST], len: 0 };

    /// All zeros, of the size of `alg`: what a policy digest or PCR starts from.
    #[must_use]
    pub const fn zero(alg: HashAlg) -> Self {
        Self { bytes: [0; MAX_DIGEST], len: alg.digest_size() }
    }

    /// A copy of `bytes`, if there are at most 64.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self { bytes: [0; MAX_DIGEST], len: bytes.len() };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    pub(super) fn of_state(output: &[u8]) -> Self {
        Self::from_slice(output).unwrap_or(Self::EMPTY)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether this is the Empty Digest.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Digest {
    /// In time that depends on the lengths only: some digests are HMACs.
    fn eq(&self, other: &Self) -> bool {
        ct_eq(self.as_slice(), other.as_slice())
    }
}

impl Eq for Digest {}

impl Zeroize for Digest {
    fn zeroize(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.len = 0;
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A hash computation in progress. Its state is wiped when dropped.
#[derive(Clone)]
pub struct Hasher(State);

impl Hasher {
    /// Starts a computation.
    #[must_use]
    pub fn new(alg: HashAlg) -> Self {
        Self(State::new(alg))
    }

    /// The algorithm.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.0.alg()
    }

    /// Takes in `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// [`Hasher::update`], as part of an expression.
    #[must_use]
    pub fn chain(mut self, data: &[u8]) -> Self {
        self.update(data);
        self
    }

    /// The digest of everything taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finish()
    }

    /// Writes the computation so far to the front of `out`, at most [`MAX_STATE`] bytes, and returns how many; they are
    /// as secret as what was taken in. `None` if they do not fit.
    #[must_use]
    pub fn save(&self, out: &mut [u8]) -> Option<usize> {
        self.0.save(out)
    }

    /// Goes on from what [`Hasher::save`] wrote; `None` if it did not write that.
    #[must_use]
    pub fn restore(alg: HashAlg, saved: &[u8]) -> Option<Self> {
        State::restore(alg, saved).map(Self)
    }
}

/// The digest of the concatenation of `parts`.
#[must_use]
pub fn digest(alg: HashAlg, parts: &[&[u8]]) -> Digest {
    digest_of(alg, parts.iter().copied())
}

/// The digest of the concatenation of all `parts`.
#[must_use]
pub fn digest_of<'a>(alg: HashAlg, parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    if alg == HashAlg::Sha256 {
        return Digest::of_state(&sha256::digest(parts.into_iter()));
    }
    let mut hasher = Hasher::new(alg);
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finish()
}
