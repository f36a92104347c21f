//! What is sealed: sections, in ascending order of their tags, each tag₂ ‖ 0₂ ‖ length₄ ‖ octets, little-endian.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets before a section's own.
pub(crate) const HEADER: usize = 8;
/// The TPM's record, as [`tpm_core::store`] makes it. It is the first section, and may be empty in what is left of a
/// TPM that has moved.
const TPM: u16 = 1;
/// How many sections there may be beside it.
pub(crate) const MAX_SECTIONS: usize = 3;
/// Octets of the longest of these.
pub(crate) const MAX: usize = 512;

/// What the firmware keeps beside the TPM.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u16)]
pub enum Section {
    /// Where the TPM goes, and how far that has come (crate `migration`).
    Handover = 2,
    /// Where the TPM has come from.
    Origin = 3,
    /// For what comes later.
    Other = 5,
}

impl Section {
    const ALL: [Self; MAX_SECTIONS] = [Self::Handover, Self::Origin, Self::Other];

    fn from_tag(tag: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|section| *section as u16 == tag)
    }
}

/// A section's octets.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Kept {
    octets: [u8; MAX],
    length: usize,
}

/// The sections beside the TPM's. They may hold secrets: not printed, copied or compared, and wiped.
pub struct Beside([Option<Kept>; MAX_SECTIONS]);

impl Beside {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { None }; MAX_SECTIONS])
    }

    /// A section's octets, if it is there.
    #[must_use]
    pub fn get(&self, section: Section) -> Option<&[u8]> {
        self.of(section).and_then(|kept| kept.octets.get(..kept.length))
    }

    fn of(&self, section: Section) -> Option<&Kept> {
        let at = Section::ALL.iter().position(|other| *other == section)?;
        self.0.get(at)?.as_ref()
    }

    /// Makes these the section's octets. `None`: there are more than 512, and nothing has changed.
    #[must_use]
    pub fn set(&mut self, section: Section, octets: &[u8]) -> Option<()> {
        let mut kept = Kept { octets: [0; MAX], length: octets.len() };
        kept.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        let at = Section::ALL.iter().position(|other| *other == section)?;
        *self.0.get_mut(at)? = Some(kept);
        Some(())
    }

    /// Takes a section away.
    pub fn remove(&mut self, section: Section) {
        let at = Section::ALL.iter().position(|other| *other == section);
        if let Some(kept) = at.and_then(|at| self.0.get_mut(at)) {
            *kept = None;
        }
    }

    /// Writes the TPM's record and these sections to the front of `out`; how many octets they are.
    pub(crate) fn write(&self, tpm: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut at = put(out, 0, TPM, tpm)?;
        for section in Section::ALL {
            if let Some(octets) = self.get(section) {
                at = put(out, at, section as u16, octets)?;
            }
        }
        Some(at)
    }

    /// The sections, and where the TPM's record is; `None` if this is not exactly what [`Beside::write`] writes.
    pub(crate) fn read(contents: &[u8]) -> Option<(Self, core::ops::Range<usize>)> {
        let (tag, tpm, mut rest) = split(contents)?;
        if tag != TPM {
            return None;
        }
        let (mut beside, mut last) = (Self::new(), TPM);
        while !rest.is_empty() {
            let (tag, octets, behind) = split(rest)?;
            if tag <= last {
                return None;
            }
            beside.set(Section::from_tag(tag)?, octets)?;
            (last, rest) = (tag, behind);
        }
        Some((beside, HEADER..HEADER + tpm.len()))
    }
}

impl Default for Beside {
    fn default() -> Self {
        Self::new()
    }
}

fn put(out: &mut [u8], at: usize, tag: u16, octets: &[u8]) -> Option<usize> {
    let (header, rest) = out.get_mut(at..)?.split_first_chunk_mut::<HEADER>()?;
    let [t0, t1] = tag.to_le_bytes();
    let [l0, l1, l2, l3] = u32::try_from(octets.len()).ok()?.to_le_bytes();
    *header = [t0, t1, 0, 0, l0, l1, l2, l3];
    rest.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(at + HEADER + octets.len())
}

/// The first section, and what is behind it.
fn split(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[t0, t1, 0, 0, l0, l1, l2, l3], rest) = octets.split_first_chunk::<HEADER>()? else { return None };
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
    let (octets, rest) = rest.split_at_checked(length)?;
    Some((u16::from_le_bytes([t0, t1]), octets, rest))
}

#[cfg(test)]
mod tests {
    use super::{Beside, MAX, Section};

    #[test]
    fn what_is_written_is_read() {
        let mut beside = Beside::new();
        assert!(beside.set(Section::Other, b"a key").is_some());
        assert!(beside.set(Section::Origin, &[7; MAX]).is_some());
        assert!(beside.set(Section::Origin, &[7; MAX + 1]).is_none());
        let mut out = [0; 2048];
        let length = beside.write(b"a TPM", &mut out).unwrap();
        let (read, tpm) = Beside::read(&out[..length]).unwrap();
        assert_eq!(&out[tpm], b"a TPM");
        assert_eq!(read.get(Section::Other), Some(&b"a key"[..]));
        assert_eq!(read.get(Section::Origin), Some(&[7; MAX][..]));
        assert_eq!(read.get(Section::Handover), None);
        for end in 0..length {
            let whole = Beside::read(&out[..end]).is_some();
            // Where a section ends, what is before it is whole: lengths are authenticated with the contents.
            assert_eq!(whole, [13, 13 + 8 + MAX].contains(&end), "{end}");
        }
    }

    #[test]
    fn sections_ascend_and_are_known() {
        let section = |tag: u8, octets: &[u8; 1]| [tag, 0, 0, 0, 1, 0, 0, 0, octets[0]].to_vec();
        let of = |parts: &[Vec<u8>]| Beside::read(&parts.concat()).is_some();
        assert!(of(&[section(1, b"t"), section(2, b"y"), section(5, b"x")]));
        assert!(!of(&[section(2, b"y")]), "no TPM");
        assert!(!of(&[section(1, b"t"), section(5, b"y"), section(2, b"x")]), "descending");
        assert!(!of(&[section(1, b"t"), section(2, b"y"), section(2, b"x")]), "twice");
        for tag in [4, 6] {
            assert!(!of(&[section(1, b"t"), section(tag, b"y")]), "unknown");
        }
        assert!(!of(&[section(1, b"t"), vec![0]]), "behind");
    }
}
