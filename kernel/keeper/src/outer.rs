//! The outer part of a record (`sealed`): what a state shows to anchors, and how it has its share.
//!
//! > mark₂₅₈ ‖ client key's scalar₄₈ ‖ for each anchor that keeps a share: correction₃₂ ‖ commitment₃₂

use alloc::vec::Vec;

use anchor::Mark;
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

use crate::Wiped;

/// What is kept of an anchor's share (`anchor::share`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) correction: [u8; 32],
    pub(crate) commitment: [u8; 32],
}

/// The outer part.
pub(crate) struct Outer {
    pub(crate) mark: Mark,
    /// Of the key by which requests are signed.
    pub(crate) scalar: Zeroizing<[u8; 48]>,
    /// Of all anchors in their order, or of none.
    pub(crate) shares: Vec<Share>,
}

impl Outer {
    /// As a record has it.
    pub(crate) fn octets(&self) -> Wiped {
        let shares = self.shares.iter().flat_map(|share| [share.correction, share.commitment]).flatten();
        let size = Mark::SIZE + self.scalar.len() + 64 * self.shares.len();
        // No larger buffer takes its place while it is filled.
        let mut octets = Wiped::of(Vec::with_capacity(size));
        octets.extend(self.mark.as_bytes().iter().chain(self.scalar.iter()).copied().chain(shares));
        octets
    }

    /// The outer part in `octets`, with shares of so many anchors; nothing where it is none.
    pub(crate) fn parse(octets: &[u8], anchors: usize) -> Option<Self> {
        let (mark, rest) = octets.split_at_checked(Mark::SIZE)?;
        let (scalar, rest) = rest.split_first_chunk()?;
        let (shares, rest) = rest.as_chunks::<32>();
        let (shares, single) = shares.as_chunks::<2>();
        let shares: Vec<Share> = shares
            .iter()
            .map(|[correction, commitment]| Share { correction: *correction, commitment: *commitment })
            .collect();
        let fits = rest.is_empty() && single.is_empty() && shares.len() == anchors;
        fits.then_some(Self { mark: Mark::parse(mark)?, scalar: Zeroizing::new(*scalar), shares })
    }
}

#[cfg(test)]
mod tests {
    use super::{Outer, Share};
    use anchor::{Mark, P384, Quorum};
    use zeroize::Zeroizing;

    fn outer(shares: usize) -> Outer {
        let key = *anchor::Keys::public(&P384::new(&[1; 48]).unwrap());
        let quorum = Quorum::of(1, &[key]).unwrap();
        let share = |number| Share { correction: [number; 32], commitment: [!number; 32] };
        let shares = (0..u8::try_from(shares).unwrap()).map(share).collect();
        Outer { mark: Mark::new(&quorum), scalar: Zeroizing::new([7; 48]), shares }
    }

    #[test]
    fn what_is_written_is_read_with_the_number_of_shares_that_the_settings_have() {
        for shares in [0, 1, 3, 16] {
            let outer = outer(shares);
            let octets = outer.octets();
            assert_eq!(octets.len(), 306 + 64 * shares);
            assert!(octets.len() <= sealed::layout::MAX_OUTER);
            let read = Outer::parse(&octets, shares).unwrap();
            assert!(read.mark == outer.mark && read.scalar == outer.scalar && read.shares == outer.shares);
            assert!(Outer::parse(&octets, shares + 1).is_none());
            assert!((0..octets.len()).all(|end| Outer::parse(&octets[..end], shares).is_none()));
        }
    }
}
