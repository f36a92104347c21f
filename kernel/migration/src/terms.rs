//! Setting kind 4: who may come before and after this firmware. It is part of the launch digest.
//!
//! Integers are little-endian.
//!
//! | offset | octets | is |
//! |---|---|---|
//! | 0 | 2 | version, 1 |
//! | 2 | 2 | flags below; others 0 |
//! | 4 | 2 | number of successors |
//! | 6 | 2 | number of predecessors |
//! | 8 | 24 | floors of REPORTED_TCB, octet by octet: Milan's, Genoa's, Turin's |
//! | 32 | 96 | the owner's key, x and y of P-384, big-endian; zeros: there is none |
//! | 128 | 48 each | successors, and then predecessors |
//!
//! Flags: bit 0 the development root is accepted, 1 this measurement follows itself (another chip, the same image),
//! 2 no TPM is made here, its state comes by migration.

use alloc::vec::Vec;

use tpm_crypto::ecc::{Curve, Point};

use crate::chain::{AMD, DEVELOPMENT, Generation, Root};
use crate::octets::{Octets, joined};
use crate::refusal::Refusal;
use crate::{MEASUREMENT, Measurement};

const VERSION: u16 = 1;
const DEVELOPMENT_ROOT: u16 = 1;
const ITSELF: u16 = 1 << 1;
const RECEIVES: u16 = 1 << 2;

/// Successors and predecessors together, at most.
pub const MAX_LISTED: usize = 64;

/// Who may come before and after this firmware, and on what chips.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Terms {
    /// Reports up to the software machine's root are accepted.
    pub development_root: bool,
    /// This measurement may follow itself.
    pub itself: bool,
    /// No TPM is made here: the first state comes by migration.
    pub receives: bool,
    /// The lowest REPORTED_TCB of each generation, octet by octet.
    pub floors: [[u8; 8]; 3],
    /// x and y of the owner's key.
    pub owner: Option<[u8; 96]>,
    /// Where the state may go.
    pub successors: Vec<Measurement>,
    /// Where it may come from.
    pub predecessors: Vec<Measurement>,
    /// Roots beside AMD's: for tests, whose authorities are their own. Not in the setting.
    #[doc(hidden)]
    pub roots: Vec<Root>,
}

impl Terms {
    /// Reads the setting.
    ///
    /// # Errors
    /// `Version`; `Shape` for flags that are unknown, a measurement of zeros, a number too many, or octets too few or
    /// too many; `Key` for an owner's key that is no point of P-384.
    pub fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(octets);
        if r.u16()? != VERSION {
            return Err(Refusal::Version);
        }
        let flags = r.u16()?;
        let (successors, predecessors) = (usize::from(r.u16()?), usize::from(r.u16()?));
        if flags & !(DEVELOPMENT_ROOT | ITSELF | RECEIVES) != 0 || successors + predecessors > MAX_LISTED {
            return Err(Refusal::Shape);
        }
        let floors = [r.array()?, r.array()?, r.array()?];
        let owner = Some(r.array()?).filter(|key| *key != [0; 96]);
        if let Some(key) = &owner {
            point(key)?;
        }
        let successors = measurements(&mut r, successors)?;
        let predecessors = measurements(&mut r, predecessors)?;
        r.end()?;
        let flag = |bit| flags & bit != 0;
        Ok(Self {
            development_root: flag(DEVELOPMENT_ROOT),
            itself: flag(ITSELF),
            receives: flag(RECEIVES),
            floors,
            owner,
            successors,
            predecessors,
            roots: Vec::new(),
        })
    }

    /// The setting.
    ///
    /// # Errors
    /// `Shape` if there are more than [`MAX_LISTED`] measurements.
    pub fn octets(&self) -> Result<Vec<u8>, Refusal> {
        let flag = |set, bit| if set { bit } else { 0 };
        let flags =
            flag(self.development_root, DEVELOPMENT_ROOT) | flag(self.itself, ITSELF) | flag(self.receives, RECEIVES);
        let listed = [&self.successors, &self.predecessors];
        if listed.iter().map(|list| list.len()).sum::<usize>() > MAX_LISTED {
            return Err(Refusal::Shape);
        }
        let counts = listed.map(|list| u16::try_from(list.len()).unwrap_or(u16::MAX).to_le_bytes());
        let mut all = joined(&[
            &VERSION.to_le_bytes(),
            &flags.to_le_bytes(),
            counts.as_flattened(),
            self.floors.as_flattened(),
            &self.owner.unwrap_or([0; 96]),
        ])?;
        listed.into_iter().flatten().for_each(|measurement| all.extend_from_slice(measurement));
        Ok(all)
    }

    /// The roots that are accepted.
    pub(crate) fn accepted(&self) -> Vec<Root> {
        let development = self.development_root.then_some(DEVELOPMENT);
        AMD.into_iter().chain(development).chain(self.roots.iter().copied()).collect()
    }

    pub(crate) const fn floor(&self, generation: Generation) -> [u8; 8] {
        let [milan, genoa, turin] = self.floors;
        match generation {
            Generation::Milan => milan,
            Generation::Genoa => genoa,
            Generation::Turin => turin,
        }
    }

    /// Whether anything can follow this firmware.
    #[must_use]
    pub const fn lets_go(&self) -> bool {
        self.itself || self.owner.is_some() || !self.successors.is_empty()
    }

    /// Whether this firmware can follow anything, and waits for it.
    #[must_use]
    pub const fn takes_in(&self) -> bool {
        self.receives && (self.itself || self.owner.is_some() || !self.predecessors.is_empty())
    }
}

/// A key from outside.
pub(crate) fn point(key: &[u8; 96]) -> Result<Point, Refusal> {
    let (x, y) = key.split_at(48);
    Point::new(Curve::NistP384, x, y).map_err(|_| Refusal::Key)
}

fn measurements(r: &mut Octets<'_>, count: usize) -> Result<Vec<Measurement>, Refusal> {
    let one =
        |_| r.array::<MEASUREMENT>().and_then(|it| if it == [0; MEASUREMENT] { Err(Refusal::Shape) } else { Ok(it) });
    (0..count).map(one).collect()
}
