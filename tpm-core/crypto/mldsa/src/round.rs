//! High and low bits, and hints (FIPS 204, 7.4).

use crate::DROPPED;
use crate::poly::Q;

/// γ₂: (q − 1) / 88 or (q − 1) / 32.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gamma2 {
    Of88,
    Of32,
}

/// The quotient by 2^13, rounded, and the rest (algorithm 35), of a number from 0 to q − 1.
#[inline(always)]
pub(crate) const fn power_2(r: i32) -> (i32, i32) {
    let high = r.wrapping_add((1 << (DROPPED - 1)) - 1) >> DROPPED;
    (high, r.wrapping_sub(high << DROPPED))
}

impl Gamma2 {
    pub(crate) const fn value(self) -> i32 {
        match self {
            Self::Of88 => (Q - 1) / 88,
            Self::Of32 => (Q - 1) / 32,
        }
    }

    /// (q − 1) / 2 γ₂: how many values the high bits have.
    const fn count(self) -> i32 {
        match self {
            Self::Of88 => 44,
            Self::Of32 => 16,
        }
    }

    /// The bits of one of them.
    pub(crate) const fn high_bits(self) -> u32 {
        match self {
            Self::Of88 => 6,
            Self::Of32 => 4,
        }
    }

    /// 2^48 / 2 γ₂, rounded up: a quotient of a number below 2^24 is exact.
    const fn reciprocal(self) -> i64 {
        (1 << 48) / (2 * self.value() as i64) + 1
    }

    /// High and low bits (algorithm 36) of a number from 0 to q − 1; without division or branch, since it is secret.
    #[inline(always)]
    pub(crate) const fn split(self, r: i32) -> (i32, i32) {
        let numerator = r.wrapping_add(self.value() - 1) as i64;
        let high = (numerator.wrapping_mul(self.reciprocal()) >> 48) as i32;
        let low = r.wrapping_sub(high.wrapping_mul(2 * self.value()));
        // All ones where the high bits have come round: they are 0 there, and the low ones less by 1.
        let round = (self.count() - 1).wrapping_sub(high) >> 31;
        (high & !round, low.wrapping_add(round))
    }

    /// The high bits that a hint leads to (algorithm 40).
    pub(crate) const fn hinted(self, r: i32, hint: bool) -> i32 {
        let (high, low) = self.split(r);
        let last = self.count() - 1;
        match (hint, low > 0) {
            (false, _) => high,
            (true, true) if high == last => 0,
            (true, true) => high.wrapping_add(1),
            (true, false) if high == 0 => last,
            (true, false) => high.wrapping_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Gamma2, power_2};
    use crate::poly::Q;

    #[test]
    fn every_number_is_split_as_the_standard_says() {
        for gamma2 in [Gamma2::Of88, Gamma2::Of32] {
            let double = 2 * gamma2.value();
            for r in 0..Q {
                let rest = r % double;
                let low = if rest > gamma2.value() { rest - double } else { rest };
                let expected = if r - low == Q - 1 { (0, low - 1) } else { ((r - low) / double, low) };
                assert_eq!(gamma2.split(r), expected, "{r}");
            }
        }
        for r in 0..Q {
            let rest = r % 8192;
            let low = if rest > 4096 { rest - 8192 } else { rest };
            assert_eq!(power_2(r), ((r - low) / 8192, low), "{r}");
        }
    }
}
