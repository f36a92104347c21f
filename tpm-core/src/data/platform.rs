//! What the engine needs from the platform, injected into every call.

use core::fmt;

/// The platform's source of entropy failed its health tests or gave nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntropyFailure;

impl fmt::Display for EntropyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no entropy")
    }
}

impl core::error::Error for EntropyFailure {}

/// Full-entropy bytes, already health-tested and conditioned (SP 800-90B).
pub trait Entropy {
    /// Fills `out`, or fails without a constant in its place.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure>;
}

/// The platform's time.
pub trait Clock {
    /// Milliseconds since the platform's start; never goes back.
    fn now_ms(&mut self) -> u64;
}

/// Contents of the NV Indices that the platform provides ([`crate::Tpm::provide_index`]).
pub trait Provided {
    /// All octets of the index with this handle; `None` if there are none now.
    fn contents(&self, index: u32) -> Option<&[u8]>;
}

/// No contents.
pub(crate) struct Nothing;

impl Provided for Nothing {
    fn contents(&self, _index: u32) -> Option<&[u8]> {
        None
    }
}

/// The platform, for the time of one call.
pub struct Hooks<'a> {
    /// entropy
    pub entropy: &'a mut dyn Entropy,
    /// time
    pub clock: &'a mut dyn Clock,
}

/// The locality of a command: 0 to 4, or an extended one from 32 on (Part 2, 8.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Locality(u8);

impl Locality {
    /// Locality 0, the operating system's.
    pub const ZERO: Self = Self(0);

    /// None for a number between 5 and 31: there are no such localities.
    pub const fn new(n: u8) -> Option<Self> {
        if n < 5 || n >= 32 { Some(Self(n)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// TPMA_LOCALITY: a bit for localities 0 to 4, the number itself from 32 on.
    pub const fn attribute(self) -> u8 {
        if self.0 < 5 { 1 << self.0 } else { self.0 }
    }
}
