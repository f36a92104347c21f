//! A host that takes a page at the very moment at which VMPL0 reaches for it. The guest says which, so that each access
//! of a call can be tried: with `steal=1` in the configuration, by VMMCALL with RAX [`HYPERCALL`] and RBX the page's
//! GPA, bits 1:0 the [`Moment`], bits 11:4 how many such moments pass before.

use crate::npt::LEAF_WRITE;

/// RAX of the hypercall: "QUOI".
pub(crate) const HYPERCALL: u64 = 0x494F_5551;

/// When.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// Any access.
    Access,
    /// A write; the page is read before.
    Write,
    /// PVALIDATE or RMPADJUST of the page.
    Instruction,
}

impl Moment {
    /// Whether `what` happens is it.
    pub(crate) fn is(self, what: Self) -> bool {
        self == what || (self == Self::Access && what == Self::Write)
    }

    /// What VMPL0's leaf must be for it to be seen.
    pub(crate) const fn leaf(self, leaf: u64) -> u64 {
        match self {
            Self::Access => 0,
            Self::Write => leaf & !LEAF_WRITE,
            Self::Instruction => leaf,
        }
    }
}

/// The page that will be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Theft {
    pub(crate) gpa: u64,
    pub(crate) moment: Moment,
    /// Moments that pass before, which only instructions can.
    pub(crate) after: u64,
}

impl Theft {
    /// From RBX.
    pub(crate) fn decode(rbx: u64) -> Option<Self> {
        let moment = match rbx & 3 {
            0 => Moment::Access,
            1 => Moment::Write,
            2 => Moment::Instruction,
            _ => return None,
        };
        let after = rbx >> 4 & 0xFF;
        let possible = after == 0 || moment == Moment::Instruction;
        possible.then_some(Self { gpa: rbx & !0xFFF, moment, after })
    }
}
