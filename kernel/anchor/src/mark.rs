//! What a sealed record says of what the anchors may know.
//!
//! At any time the newest head that anchors can show to whoever boots is one of at most three: the last one that was
//! registered, one that was sent and whose fate is not known, and the record's own. A record names them all, except its
//! own, whose digest it cannot contain. So the honest owner's newest record always knows what it is shown, however
//! often the power went, and an old record never does.

use crate::quorum::Quorum;
use crate::wire::Head;
use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Heads that a mark can name, the record's own included.
const HEADS: usize = 3;

/// A part of the sealed state, of a fixed size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Mark {
    /// The last term that was used: where the next boot begins. An old one costs a round, no more.
    pub term: U64,
    /// [`Quorum::id`] of the anchors that all this is about.
    quorum: [u8; 32],
    count: u8,
    /// 1 where the record's own head may be with anchors; 0 where it never was sent.
    own: u8,
    heads: [Head; HEADS],
}

const _: () = assert!(size_of::<Mark>() == 258);

impl Mark {
    /// Octets in a mark.
    pub const SIZE: usize = size_of::<Self>();

    /// Of a new state, or of one that comes to other anchors: these know nothing of it.
    #[must_use]
    pub fn new(quorum: &Quorum) -> Self {
        Self::naming(0, quorum, &[Head::GENESIS], true)
    }

    /// The mark in `octets`; nothing where they are none.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let mark = Self::read_from_bytes(octets).ok()?;
        let count = usize::from(mark.count);
        let rest = mark.heads.get(count..)?;
        let room = mark.own <= 1 && count + usize::from(mark.own) <= HEADS;
        (count > 0 && room && rest.iter().all(|head| *head == Head::GENESIS)).then_some(mark)
    }

    /// The mark of a record in whose place anchors may know `heads`; with `own` the record's own, too. More than there
    /// is room for are left out, the first ones stay: callers have no more.
    pub(crate) fn naming(term: u64, quorum: &Quorum, heads: &[Head], own: bool) -> Self {
        let mut mark = Self {
            term: U64::new(term),
            quorum: quorum.id(),
            count: 0,
            own: own.into(),
            heads: [Head::GENESIS; HEADS],
        };
        for (to, head) in mark.heads.iter_mut().zip(heads) {
            *to = *head;
            mark.count += 1;
        }
        mark
    }

    /// Whether it is about these anchors.
    #[must_use]
    pub fn is_of(&self, quorum: &Quorum) -> bool {
        self.quorum == quorum.id()
    }

    /// What it names.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        self.heads.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Whether the record's own head may be with anchors.
    #[must_use]
    pub const fn names_own(&self) -> bool {
        self.own == 1
    }
}
