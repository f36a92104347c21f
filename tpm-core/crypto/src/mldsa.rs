//! ML-DSA (FIPS 204), pure and pre-hashed. The private key is the 32-byte seed ξ; everything else is derived from it
//! each time.
//!
//! A signature is over μ, the hash of the public key, the context and the message ([`Mu`]), so a message may come in
//! pieces, and a TPM that is given μ from outside ("external μ") signs it the same way.

use keccak::{Keccak, State1600};
use shake::Shake256;
use shake::digest::{ExtendableOutput as _, Update as _, XofReader as _};
use tpm_mldsa::{ML_DSA_44, ML_DSA_65, ML_DSA_87, RANDOM, Set};

use super::hash::HashAlg;
use super::{Error, Rng};
use crate::secret::Secret;

pub use tpm_mldsa::{MU, SEED};

/// The longest public key, in bytes.
pub const MAX_PUBLIC: usize = 2592;
/// The longest signature, in bytes.
pub const MAX_SIGNATURE: usize = 4627;
/// The longest context, in bytes.
pub const MAX_CONTEXT: usize = 255;

/// From one row per parameter set: the names, the sizes, and the set.
macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident = $id:literal, public $public:literal, signature $signature:literal, $set:expr;)*) => {
        /// A parameter set (TPMI_MLDSA_PARMS).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum MlDsa {
            $($(#[$doc])* $name = $id,)*
        }

        impl MlDsa {
            /// Every parameter set, in the order of identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The parameter set with this identifier.
            #[must_use]
            pub const fn from_id(id: u16) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The identifier.
            #[must_use]
            pub const fn id(self) -> u16 {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// The bytes of a public key.
            #[must_use]
            pub const fn public_size(self) -> usize {
                match self {
                    $(Self::$name => $public,)*
                }
            }

            /// The bytes of a signature.
            #[must_use]
            pub const fn signature_size(self) -> usize {
                match self {
                    $(Self::$name => $signature,)*
                }
            }

            const fn set(self) -> &'static Set {
                match self {
                    $(Self::$name => &$set,)*
                }
            }
        }

        $(const _: () = assert!($set.public_size() == $public && $set.signature_size() == $signature);)*
    };
}

sets! {
    /// ML-DSA-44.
    MlDsa44 = 1, public 1312, signature 2420, ML_DSA_44;
    /// ML-DSA-65.
    MlDsa65 = 2, public 1952, signature 3309, ML_DSA_65;
    /// ML-DSA-87.
    MlDsa87 = 3, public 2592, signature 4627, ML_DSA_87;
}

impl MlDsa {
    /// Writes the public key of a seed into `out`.
    ///
    /// # Errors
    /// `Error::Length` unless `seed` has 32 bytes and `out` [`MlDsa::public_size`].
    pub fn public(self, seed: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let seed = seed.as_array().ok_or(Error::Length)?;
        self.set().public(seed, out).map_err(|_| Error::Length)
    }

    /// Signs μ, hedged with bytes from `rng` (FIPS 204, algorithm 7), into `out`.
    ///
    /// # Errors
    /// `Error::Length` unless `seed` has 32 bytes and `out` [`MlDsa::signature_size`]; `Error::Reseed` from `rng`;
    /// `Error::Fault` if no attempt gives a signature.
    pub fn sign(self, seed: &[u8], mu: &[u8; MU], rng: &mut dyn Rng, out: &mut [u8]) -> Result<(), Error> {
        let seed = seed.as_array().ok_or(Error::Length)?;
        if out.len() != self.signature_size() {
            return Err(Error::Length);
        }
        let mut random = Secret::<RANDOM>::zeroed(RANDOM)?;
        rng.fill(random.as_mut_slice())?;
        let random = random.as_slice().as_array().ok_or(Error::Length)?;
        self.set().sign(seed, mu, random, out).map_err(|_| Error::Fault)
    }

    /// Verifies a signature of μ (FIPS 204, algorithm 8).
    ///
    /// # Errors
    /// `Error::Invalid` if it does not verify, for whatever reason.
    pub fn verify(self, public: &[u8], mu: &[u8; MU], signature: &[u8]) -> Result<(), Error> {
        self.set().verify(public, mu, signature).map_err(|_| Error::Invalid)
    }
}

/// The bytes that SHAKE256 takes in between two permutations.
const RATE: usize = 136;

/// The bytes of a Keccak state.
pub const STATE: usize = 200;

/// μ in progress: SHAKE256 over the hash of the public key, and what FIPS 204 makes of context and message. The sponge
/// is our own, over the crate's permutation, because this state can be saved.
#[derive(Clone)]
pub struct Mu {
    state: State1600,
    /// where the next byte goes, below [`RATE`]
    at: usize,
}

impl Mu {
    /// Starts μ of a message that follows (FIPS 204, algorithm 2).
    ///
    /// # Errors
    /// `Error::Length` if the context has more than 255 bytes.
    pub fn pure(public: &[u8], context: &[u8]) -> Result<Self, Error> {
        Self::new(public, 0, context)
    }

    /// μ of a message of which the digest is given (FIPS 204, algorithm 4).
    ///
    /// # Errors
    /// `Error::Length` if the context has more than 255 bytes, or the digest is not of the hash's length.
    pub fn pre_hashed(public: &[u8], context: &[u8], hash: HashAlg, digest: &[u8]) -> Result<[u8; MU], Error> {
        if digest.len() != hash.digest_size() {
            return Err(Error::Length);
        }
        let mut mu = Self::new(public, 1, context)?;
        mu.update(oid(hash));
        mu.update(digest);
        Ok(mu.finish())
    }

    fn new(public: &[u8], domain: u8, context: &[u8]) -> Result<Self, Error> {
        let len = u8::try_from(context.len()).map_err(|_| Error::Length)?;
        let mut tr = [0; 64];
        let mut hash = Shake256::default();
        hash.update(public);
        hash.finalize_xof().read(&mut tr);
        let mut mu = Self { state: [0; STATE / 8], at: 0 };
        [&tr, &[domain, len][..], context].iter().for_each(|part| mu.update(part));
        Ok(mu)
    }

    /// Takes in a part of the message.
    pub fn update(&mut self, data: &[u8]) {
        for &byte in data {
            self.combine(self.at, byte);
            self.at = self.at.saturating_add(1);
            if self.at == RATE {
                self.permute();
            }
        }
    }

    /// μ of everything taken in.
    #[must_use]
    pub fn finish(mut self) -> [u8; MU] {
        self.combine(self.at, 0x1F);
        self.combine(RATE - 1, 0x80);
        self.permute();
        let mut mu = [0; MU];
        mu.chunks_mut(8).zip(self.state).for_each(|(to, lane)| to.copy_from_slice(&lane.to_le_bytes()));
        mu
    }

    /// The state, and where the next byte goes, to be saved.
    #[must_use]
    pub fn state(&self) -> ([u8; STATE], u8) {
        let mut bytes = [0; STATE];
        bytes.chunks_mut(8).zip(self.state).for_each(|(to, lane)| to.copy_from_slice(&lane.to_le_bytes()));
        (bytes, u8::try_from(self.at).unwrap_or_default())
    }

    /// Goes on from [`Mu::state`]; `None` if that did not give it.
    #[must_use]
    pub fn resume(bytes: &[u8; STATE], at: u8) -> Option<Self> {
        let mut state = [0; STATE / 8];
        state.iter_mut().zip(bytes.as_chunks().0).for_each(|(lane, from)| *lane = u64::from_le_bytes(*from));
        let at = usize::from(at);
        (at < RATE).then_some(Self { state, at })
    }

    /// XORs a byte into the state.
    fn combine(&mut self, at: usize, byte: u8) {
        if let Some(lane) = self.state.get_mut(at / 8) {
            *lane ^= u64::from(byte) << (at % 8 * 8);
        }
    }

    fn permute(&mut self) {
        Keccak::new().with_f1600(|f1600| f1600(&mut self.state));
        self.at = 0;
    }
}

/// The DER of the hash's object identifier.
const fn oid(hash: HashAlg) -> &'static [u8] {
    match hash {
        HashAlg::Sha1 => b"\x06\x05\x2b\x0e\x03\x02\x1a",
        HashAlg::Sha256 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01",
        HashAlg::Sha384 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02",
        HashAlg::Sha512 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03",
        HashAlg::Sm3 => b"\x06\x08\x2a\x81\x1c\xcf\x55\x01\x83\x11",
        HashAlg::Sha3_256 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x08",
        HashAlg::Sha3_384 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x09",
        HashAlg::Sha3_512 => b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x0a",
    }
}
