//! Which anchors, how many of them, and when they are asked: a part of the measured settings (docs/anchors.md has it
//! byte by byte; its numbers are little-endian, as in all settings).

use crate::keys;
use crate::wire::Key;
use core::fmt;
use sha2::{Digest, Sha256};

/// Anchors in a quorum, at most.
pub const MAX: usize = 16;
/// Octets before the keys.
const HEADER: usize = 16;
const VERSION: u8 = 1;
/// Bit 0 of the flags: anchors keep shares, which the state's key wants.
const SHARES: u32 = 1;

/// What happens when too few anchors answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooFew {
    /// The TPM does not start, or does not acknowledge.
    Refuse,
    /// It does, and every attestation says so.
    SaySo,
}

/// When a head is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// At each boot only.
    Boot,
    /// Also at each so-manieth commit; 1 is every one. Never 0.
    Every(u32),
}

impl Cadence {
    /// Whether a commit is registered before it is acknowledged, when so many were not since the last that was.
    #[must_use]
    pub const fn is_due(self, unregistered: u32) -> bool {
        match self {
            Self::Boot => false,
            Self::Every(n) => unregistered.saturating_add(1) >= n,
        }
    }
}

/// The anchors of a TPM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    keys: [Key; MAX],
    n: u8,
    k: u8,
    too_few: u8,
    every: u32,
    patience_ms: u32,
    flags: u32,
}

/// Why a part of the settings names no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumError {
    /// Shorter than its header, or not as long as its number of keys wants.
    Size,
    /// Another version.
    Version,
    /// No anchor, or more than 16.
    Count,
    /// Not more than half of the anchors, or more than all: two sets of so many may have nobody in common.
    Threshold,
    /// An unknown policy or flag.
    Policy,
    /// A wait of zero.
    Patience,
    /// Not a point of P-384.
    Key,
    /// A key twice: one anchor would count as two.
    Twice,
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "anchors: not as long as they say",
            Self::Version => "anchors: an unknown version",
            Self::Count => "anchors: not 1 to 16 of them",
            Self::Threshold => "anchors: the quorum is not more than half of them and at most all",
            Self::Policy => "anchors: an unknown policy or flag",
            Self::Patience => "anchors: a wait of no time",
            Self::Key => "anchors: a key that is no point of P-384",
            Self::Twice => "anchors: a key twice",
        })
    }
}

impl core::error::Error for QuorumError {}

impl Quorum {
    /// Octets of the longest.
    pub const MAX_SIZE: usize = HEADER + MAX * size_of::<Key>();

    /// The quorum in `octets`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(octets: &[u8]) -> Result<Self, QuorumError> {
        let (header, keys) = octets.split_first_chunk::<HEADER>().ok_or(QuorumError::Size)?;
        let &[version, k, n, too_few, e0, e1, e2, e3, p0, p1, p2, p3, f0, f1, f2, f3] = header;
        let (every, patience_ms, flags) = (
            u32::from_le_bytes([e0, e1, e2, e3]),
            u32::from_le_bytes([p0, p1, p2, p3]),
            u32::from_le_bytes([f0, f1, f2, f3]),
        );
        if version != VERSION {
            return Err(QuorumError::Version);
        }
        let (keys, rest) = keys.as_chunks::<{ size_of::<Key>() }>();
        if !(1..=MAX).contains(&usize::from(n)) {
            return Err(QuorumError::Count);
        }
        if keys.len() != usize::from(n) || !rest.is_empty() {
            return Err(QuorumError::Size);
        }
        if too_few > 1 || flags & !SHARES != 0 {
            return Err(QuorumError::Policy);
        }
        if patience_ms == 0 {
            return Err(QuorumError::Patience);
        }
        if keys.iter().any(|key| !keys::is_key(key)) {
            return Err(QuorumError::Key);
        }
        let mut quorum = Self::of(k, keys)?;
        (quorum.too_few, quorum.every, quorum.patience_ms, quorum.flags) = (too_few, every, patience_ms, flags);
        Ok(quorum)
    }

    /// `k` of the anchors of these keys, asked at every commit, and refusing without.
    ///
    /// # Errors
    /// `Count`, `Threshold`, `Twice`.
    pub fn of(k: u8, keys: &[Key]) -> Result<Self, QuorumError> {
        let n = u8::try_from(keys.len()).map_err(|_| QuorumError::Count)?;
        if u16::from(k) * 2 <= u16::from(n) || k > n {
            return Err(QuorumError::Threshold);
        }
        Self::of_any(k, keys)
    }

    /// The same, but `k` may be too small: what a simulation shows to be of no use.
    #[doc(hidden)]
    pub fn of_any(k: u8, keys: &[Key]) -> Result<Self, QuorumError> {
        let mut all = [[0; 49]; MAX];
        all.get_mut(..keys.len()).ok_or(QuorumError::Count)?.copy_from_slice(keys);
        let n = u8::try_from(keys.len()).map_err(|_| QuorumError::Count)?;
        let quorum = Self { keys: all, n, k, too_few: 0, every: 1, patience_ms: 1000, flags: 0 };
        let twice =
            quorum.keys().iter().enumerate().any(|(at, key)| quorum.keys().iter().skip(at + 1).any(|k| k == key));
        if n == 0 {
            Err(QuorumError::Count)
        } else if twice {
            Err(QuorumError::Twice)
        } else {
            Ok(quorum)
        }
    }

    /// Another policy.
    #[must_use]
    pub const fn with(mut self, cadence: Cadence, too_few: TooFew) -> Self {
        self.every = match cadence {
            Cadence::Boot => 0,
            Cadence::Every(n) => n,
        };
        self.too_few = matches!(too_few, TooFew::SaySo) as u8;
        self
    }

    /// Another wait, and whether anchors keep shares.
    #[must_use]
    pub const fn waiting(mut self, patience_ms: u32, shares: bool) -> Self {
        self.patience_ms = patience_ms;
        self.flags = if shares { SHARES } else { 0 };
        self
    }

    /// Writes it as the settings have it; how many octets. Nothing where `out` is too short.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let header = [VERSION, self.k, self.n, self.too_few];
        let words = [self.every, self.patience_ms, self.flags];
        let octets = header.into_iter().chain(words.into_iter().flat_map(u32::to_le_bytes));
        let octets = octets.chain(self.keys().iter().flatten().copied());
        let size = HEADER + size_of_val(self.keys());
        let out = out.get_mut(..size)?;
        out.iter_mut().zip(octets).for_each(|(to, octet)| *to = octet);
        Some(size)
    }

    /// The keys of the anchors, in their order.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        self.keys.get(..usize::from(self.n)).unwrap_or_default()
    }

    /// How many must accept.
    #[must_use]
    pub const fn k(&self) -> u32 {
        self.k as u32
    }

    /// How many there are.
    #[must_use]
    pub const fn n(&self) -> u32 {
        self.n as u32
    }

    /// How many may lie, and nothing that the head of this crate says is broken.
    #[must_use]
    pub const fn liars(&self) -> u32 {
        (2 * self.k as u32).saturating_sub(self.n as u32 + 1)
    }

    /// When a head is registered.
    #[must_use]
    pub const fn cadence(&self) -> Cadence {
        if self.every == 0 { Cadence::Boot } else { Cadence::Every(self.every) }
    }

    /// What happens when too few answer.
    #[must_use]
    pub const fn too_few(&self) -> TooFew {
        if self.too_few == 0 { TooFew::Refuse } else { TooFew::SaySo }
    }

    /// How long answers to one request are waited for.
    #[must_use]
    pub const fn patience_ms(&self) -> u32 {
        self.patience_ms
    }

    /// Whether anchors keep shares.
    #[must_use]
    pub const fn has_shares(&self) -> bool {
        self.flags & SHARES != 0
    }

    /// Which anchors these are: what a record remembers, so that others are not asked for what only these can know.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(b"Quoin anchor: quorum").chain_update([self.k, self.n]);
        self.keys().iter().fold(hash, |hash, key| hash.chain_update(key)).finalize().into()
    }
}
