//! Comparisons of TPM2_PolicyNV, PolicyCounterTimer and PolicyCapability (Part 2, 6.8; Part 3, 23.9).

use core::cmp::Ordering;

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// TPM2B_OPERAND (Part 2, 10.4.6): no longer than the longest digest.
pub(crate) type Operand = Digest;

/// TPM_EO (Part 2, 6.8): how operand A, the TPM's, compares with operand B, the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(crate) enum Operation {
    /// A = B
    Eq,
    /// A ≠ B
    Neq,
    /// A > B, signed
    SignedGt,
    /// A > B, unsigned
    UnsignedGt,
    /// A < B, signed
    SignedLt,
    /// A < B, unsigned
    UnsignedLt,
    /// A ≥ B, signed
    SignedGe,
    /// A ≥ B, unsigned
    UnsignedGe,
    /// A ≤ B, signed
    SignedLe,
    /// A ≤ B, unsigned
    UnsignedLe,
    /// all bits that are SET in B are SET in A
    BitSet,
    /// all bits that are SET in B are CLEAR in A
    BitClear,
}

impl Operation {
    /// Every operation, in the order of its values.
    const ALL: [Self; 12] = [
        Self::Eq,
        Self::Neq,
        Self::SignedGt,
        Self::UnsignedGt,
        Self::SignedLt,
        Self::UnsignedLt,
        Self::SignedGe,
        Self::UnsignedGe,
        Self::SignedLe,
        Self::UnsignedLe,
        Self::BitSet,
        Self::BitClear,
    ];

    /// Whether it holds between numbers of the same size, big-endian and, if signed, in two's complement. Empty numbers
    /// are equal.
    pub(crate) fn holds(self, a: &[u8], b: &[u8]) -> bool {
        let bits = |test: fn(u8, u8) -> bool| a.iter().zip(b).all(|(a, b)| test(*a, *b));
        match self {
            Self::Eq => a == b,
            Self::Neq => a != b,
            Self::SignedGt => signed(a, b).is_gt(),
            Self::UnsignedGt => a > b,
            Self::SignedLt => signed(a, b).is_lt(),
            Self::UnsignedLt => a < b,
            Self::SignedGe => signed(a, b).is_ge(),
            Self::UnsignedGe => a >= b,
            Self::SignedLe => signed(a, b).is_le(),
            Self::UnsignedLe => a <= b,
            Self::BitSet => bits(|a, b| a & b == b),
            Self::BitClear => bits(|a, b| a & b == 0),
        }
    }
}

/// A negative number is below any other; between two of the same sign the octets decide, in two's complement as well.
fn signed(a: &[u8], b: &[u8]) -> Ordering {
    let negative = |n: &[u8]| n.first().is_some_and(|byte| byte & 0x80 != 0);
    negative(b).cmp(&negative(a)).then_with(|| a.cmp(b))
}

impl Unmarshal<'_> for Operation {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let value: u16 = r.get()?;
        Self::ALL.get(usize::from(value)).copied().ok_or(Fmt1::VALUE)
    }
}

impl Marshal for Operation {
    fn marshal(&self, w: &mut Writer<'_>) {
        (*self as u16).marshal(w);
    }
}

/// Operand B, where in the TPM's data operand A starts, and how they compare.
pub(crate) struct Comparison {
    /// operandB
    pub(crate) operand_b: Operand,
    /// offset
    pub(crate) offset: u16,
    /// operation
    pub(crate) operation: Operation,
}

impl Comparison {
    /// Whether it holds for these data; false if operand A would lie beyond them.
    pub(crate) fn holds(&self, data: &[u8]) -> bool {
        let start = usize::from(self.offset);
        data.get(start..)
            .and_then(|rest| rest.get(..self.operand_b.len()))
            .is_some_and(|a| self.operation.holds(a, self.operand_b.as_slice()))
    }

    /// args: H(operandB ‖ offset ‖ operation ‖ more).
    pub(crate) fn args(&self, hash: HashAlg, more: &[u8]) -> Digest {
        Hasher::new(hash)
            .chain(self.operand_b.as_slice())
            .chain(&self.offset.to_be_bytes())
            .chain(&(self.operation as u16).to_be_bytes())
            .chain(more)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn sign_extended(bytes: [u8; 2]) -> i128 {
        i16::from_be_bytes(bytes) as i128
    }

    /// Every operation over all pairs of interesting two-octet numbers, with i128 and u16 as judges.
    #[test]
    fn all_operations_agree_with_native_integers() {
        let edges =
            [0u16, 1, 2, 0x7e, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x7fff, 0x8000, 0x8001, 0xff7f, 0xff80, 0xfffe, 0xffff];
        for (a, b) in edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))) {
            let (x, y) = (a.to_be_bytes(), b.to_be_bytes());
            let (sa, sb) = (sign_extended(x), sign_extended(y));
            let expected = [
                a == b,
                a != b,
                sa > sb,
                a > b,
                sa < sb,
                a < b,
                sa >= sb,
                a >= b,
                sa <= sb,
                a <= b,
                a & b == b,
                a & b == 0,
            ];
            for (operation, expected) in Operation::ALL.into_iter().zip(expected) {
                assert_eq!(operation.holds(&x, &y), expected, "{operation:?} {a:04x} {b:04x}");
            }
        }
    }

    /// libtpms issue 367: two negative numbers compare by value, not by magnitude.
    #[test]
    fn libtpms_367_two_negative_numbers() {
        for (a, b) in [(-1i128, -2), (-2, -1), (i128::MIN, -1), (-1, i128::MIN), (i128::MIN, i128::MAX), (-256, -255)] {
            let (x, y) = (a.to_be_bytes(), b.to_be_bytes());
            assert_eq!(Operation::SignedGt.holds(&x, &y), a > b, "{a} > {b}");
            assert_eq!(Operation::SignedLt.holds(&x, &y), a < b, "{a} < {b}");
            assert_eq!(Operation::SignedGe.holds(&x, &y), a >= b, "{a} >= {b}");
            assert_eq!(Operation::SignedLe.holds(&x, &y), a <= b, "{a} <= {b}");
        }
    }

    #[test]
    fn empty_operands_are_equal() {
        let holding = [true, false, false, false, false, false, true, true, true, true, true, true];
        for (operation, holds) in Operation::ALL.into_iter().zip(holding) {
            assert_eq!(operation.holds(&[], &[]), holds, "{operation:?}");
        }
    }
}
