//! Polynomials and hints as bytes (FIPS 204, 7.1 and 7.2).

use crate::K;
use crate::poly::{N, Poly};

/// Writes the lowest `bits` of each coefficient, of which none has more (algorithms 16 and 17).
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "octets of what is not negative")]
pub(crate) fn bits(poly: &Poly, bits: u32, out: &mut [u8]) {
    let (mut held, mut count, mut places) = (0_u64, 0_u32, out.iter_mut());
    for value in poly.0 {
        held |= u64::from(value as u32).wrapping_shl(count);
        count = count.wrapping_add(bits);
        while count >= 8 {
            if let Some(place) = places.next() {
                *place = held as u8;
            }
            held >>= 8;
            count = count.wrapping_sub(8);
        }
    }
}

/// Reads coefficients of `bits` (algorithms 18 and 19).
#[expect(clippy::cast_possible_truncation, reason = "no more than 20 bits")]
pub(crate) fn read_bits(bytes: &[u8], bits: u32, poly: &mut Poly) {
    let (mut held, mut count, mut bytes) = (0_u64, 0_u32, bytes.iter());
    let mask = 1_u64.wrapping_shl(bits).wrapping_sub(1);
    for value in &mut poly.0 {
        while count < bits {
            held |= u64::from(bytes.next().copied().unwrap_or_default()).wrapping_shl(count);
            count = count.wrapping_add(8);
        }
        *value = (held & mask) as i32;
        held = held.wrapping_shr(bits);
        count = count.wrapping_sub(bits);
    }
}

/// Hints as they are written (algorithm 20): places, and behind them how many there are up to each polynomial.
pub(crate) struct Hints<'a> {
    places: &'a mut [u8],
    counts: core::slice::IterMut<'a, u8>,
    count: usize,
}

impl<'a> Hints<'a> {
    /// None yet, in ω bytes and one for each polynomial.
    pub(crate) fn new(out: &'a mut [u8], omega: usize) -> Option<Self> {
        out.fill(0);
        let (places, counts) = out.split_at_mut_checked(omega)?;
        Some(Self { places, counts: counts.iter_mut(), count: 0 })
    }

    /// The next polynomial: a hint wherever the high bits of the two differ. `None`: there are too many.
    pub(crate) fn put(&mut self, one: &Poly, other: &Poly, high: impl Fn(i32) -> i32) -> Option<()> {
        for (place, (a, b)) in (0..=u8::MAX).zip(one.0.iter().zip(&other.0)) {
            if high(*a) != high(*b) {
                *self.places.get_mut(self.count)? = place;
                self.count = self.count.wrapping_add(1);
            }
        }
        *self.counts.next()? = u8::try_from(self.count).ok()?;
        Some(())
    }
}

/// Hints of each polynomial (algorithm 21); `None` where they are not written as they must be.
pub(crate) fn read_hints(bytes: &[u8], omega: usize, k: usize) -> Option<[[bool; N]; K]> {
    let (places, counts) = bytes.split_at_checked(omega)?;
    let (mut hints, mut begin) = ([[false; N]; K], 0);
    if counts.len() != k {
        return None;
    }
    for (hints, end) in hints.iter_mut().zip(counts) {
        let mut last = None;
        for place in places.get(begin..usize::from(*end))? {
            if last.is_some_and(|last| last >= *place) {
                return None;
            }
            last = Some(*place);
            *hints.get_mut(usize::from(*place))? = true;
        }
        begin = usize::from(*end);
    }
    places.get(begin..)?.iter().all(|octet| *octet == 0).then_some(hints)
}
