//! Why an operation gives no result.

use crate::secret::TooLong;

/// Why a cryptographic operation gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A buffer or value has a length that the operation cannot take.
    Length,
    /// A number is out of range: not below the modulus or order, zero, or not a point of the curve.
    Range,
    /// The key parameters are not those of a usable key.
    Key,
    /// A signature does not verify, or a decrypted message is not what its padding requires. Never says which.
    Invalid,
    /// The random number generator has to be reseeded first.
    Reseed,
    /// The platform has asked that the search be given up.
    Canceled,
    /// The result of a private operation does not fit the public key: a fault, the result was withheld.
    Fault,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Length => "a length that the operation cannot take",
            Self::Range => "a number is out of range",
            Self::Key => "no usable key",
            Self::Invalid => "it is not genuine",
            Self::Reseed => "the random number generator has to be reseeded",
            Self::Canceled => "it was given up",
            Self::Fault => "a wrong result was withheld",
        })
    }
}

impl core::error::Error for Error {}

impl From<TooLong> for Error {
    fn from(_: TooLong) -> Self {
        Self::Length
    }
}
