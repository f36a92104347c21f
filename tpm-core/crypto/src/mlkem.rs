//! ML-KEM (FIPS 203). The private key is the 64-byte seed d ‖ z; everything else is derived from it each time.

use ml_kem::kem::{Ciphertext, Decapsulate as _, Kem, Key, KeyExport as _};
use ml_kem::{B32, MlKem512, MlKem768, MlKem1024, ParameterSet, Seed};
use zeroize::Zeroizing;

use super::{Error, Rng};
use crate::secret::Secret;

/// The bytes of a private seed.
pub const SEED: usize = 64;
/// The bytes of a shared secret.
pub const SHARED: usize = 32;
/// The longest public key, in bytes.
pub const MAX_PUBLIC: usize = 1568;
/// The longest ciphertext, in bytes.
pub const MAX_CIPHERTEXT: usize = 1568;

/// A shared secret.
pub type SharedSecret = Secret<SHARED>;

/// From one row per parameter set: the names, the sizes and the dispatch.
macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident = $id:literal, public $public:literal, ciphertext $ciphertext:literal, $params:ty;)*) => {
        /// A parameter set (TPMI_MLKEM_PARMS).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum MlKem {
            $($(#[$doc])* $name = $id,)*
        }

        impl MlKem {
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

            /// The bytes of a ciphertext.
            #[must_use]
            pub const fn ciphertext_size(self) -> usize {
                match self {
                    $(Self::$name => $ciphertext,)*
                }
            }

            /// Writes the public key of a seed into `out`.
            ///
            /// # Errors
            /// `Error::Length` unless `seed` has 64 bytes and `out` [`MlKem::public_size`].
            pub fn public(self, seed: &[u8], out: &mut [u8]) -> Result<(), Error> {
                match self {
                    $(Self::$name => {
                        let key = key::<$params>(seed)?;
                        copy(&key.encapsulation_key().to_bytes(), out)
                    })*
                }
            }

            /// Whether these bytes are a public key (FIPS 203, 7.2).
            ///
            /// # Errors
            /// `Error::Length` if there are not [`MlKem::public_size`] of them, `Error::Range` if a coefficient is not
            /// below the modulus.
            pub fn check_public(self, public: &[u8]) -> Result<(), Error> {
                match self {
                    $(Self::$name => encapsulation_key::<$params>(public).map(|_| ()),)*
                }
            }

            /// A new shared secret for the holder of the private key, and its ciphertext into `out` (FIPS 203,
            /// algorithm 20).
            ///
            /// # Errors
            /// As [`MlKem::check_public`]; `Error::Length` unless `out` has [`MlKem::ciphertext_size`] bytes;
            /// `Error::Reseed` from `rng`.
            pub fn encapsulate(self, public: &[u8], rng: &mut dyn Rng, out: &mut [u8]) -> Result<SharedSecret, Error> {
                let mut m = Secret::<32>::zeroed(32)?;
                rng.fill(m.as_mut_slice())?;
                self.encapsulate_with(public, m.as_slice(), out)
            }

            /// [`MlKem::encapsulate`] with given random bytes (FIPS 203, algorithm 17).
            ///
            /// # Errors
            /// As [`MlKem::encapsulate`]; `Error::Length` unless `m` has 32 bytes.
            pub(crate) fn encapsulate_with(self, public: &[u8], m: &[u8], out: &mut [u8]) -> Result<SharedSecret, Error> {
                let m = Zeroizing::new(B32::try_from(m).map_err(|_| Error::Length)?);
                match self {
                    $(Self::$name => {
                        let (ciphertext, shared) = encapsulation_key::<$params>(public)?.encapsulate_deterministic(&m);
                        let shared = Zeroizing::new(shared);
                        copy(&ciphertext, out)?;
                        Ok(Secret::from_slice(&shared)?)
                    })*
                }
            }

            /// The shared secret of a ciphertext (FIPS 203, algorithm 18). A wrong ciphertext of the right length gives
            /// another secret, never an error.
            ///
            /// # Errors
            /// `Error::Length` unless `seed` has 64 bytes and `ciphertext` [`MlKem::ciphertext_size`].
            pub fn decapsulate(self, seed: &[u8], ciphertext: &[u8]) -> Result<SharedSecret, Error> {
                match self {
                    $(Self::$name => {
                        let ciphertext = Ciphertext::<$params>::try_from(ciphertext).map_err(|_| Error::Length)?;
                        let shared = Zeroizing::new(key::<$params>(seed)?.decapsulate(&ciphertext));
                        Ok(Secret::from_slice(&shared)?)
                    })*
                }
            }
        }
    };
}

sets! {
    /// ML-KEM-512.
    MlKem512 = 1, public 800, ciphertext 768, MlKem512;
    /// ML-KEM-768.
    MlKem768 = 2, public 1184, ciphertext 1088, MlKem768;
    /// ML-KEM-1024.
    MlKem1024 = 3, public 1568, ciphertext 1568, MlKem1024;
}

fn key<P>(seed: &[u8]) -> Result<P::DecapsulationKey, Error>
where
    P: Kem + ParameterSet,
    P::DecapsulationKey: From<Seed>,
{
    let seed = Zeroizing::new(Seed::try_from(seed).map_err(|_| Error::Length)?);
    Ok(P::DecapsulationKey::from(*seed))
}

fn encapsulation_key<P>(public: &[u8]) -> Result<P::EncapsulationKey, Error>
where
    P: Kem + ParameterSet,
    P::EncapsulationKey: ml_kem::kem::TryKeyInit,
{
    let public = Key::<P::EncapsulationKey>::try_from(public).map_err(|_| Error::Length)?;
    ml_kem::kem::TryKeyInit::new(&public).map_err(|_| Error::Range)
}

fn copy(from: &[u8], to: &mut [u8]) -> Result<(), Error> {
    if from.len() != to.len() {
        return Err(Error::Length);
    }
    to.copy_from_slice(from);
    Ok(())
}
