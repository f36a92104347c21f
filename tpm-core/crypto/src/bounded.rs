//! Counting and copying that cannot overflow, where nothing shows the compiler that it does not: the firmware is linked
//! without a panic.

/// How many there are, as [`Iterator::count`].
pub fn count(items: impl Iterator) -> usize {
    items.fold(0, |n: usize, _| n.saturating_add(1))
}

/// `first` and the numbers after it.
pub fn from(first: u32) -> impl Iterator<Item = u32> {
    core::iter::successors(Some(first), |n| n.checked_add(1))
}

/// The number with bit `n` alone; zero for a bit that it has not.
pub fn bit(n: u32) -> u32 {
    1u32.checked_shl(n).unwrap_or(0)
}

/// Copies as many octets as both have.
pub fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::{bit, copy, count, from};

    #[test]
    fn numbers_end_before_they_overflow() {
        assert_eq!(count(from(u32::MAX - 2)), 3);
        assert!(from(5).take(3).eq([5, 6, 7]));
    }

    #[test]
    fn a_bit_beyond_the_number_is_no_bit() {
        assert_eq!([bit(0), bit(31), bit(32), bit(u32::MAX)], [1, 1 << 31, 0, 0]);
    }

    #[test]
    fn the_shorter_one_says_how_much_is_copied() {
        let mut to = [9; 3];
        copy(&mut to, &[1, 2]);
        assert_eq!(to, [1, 2, 9]);
        copy(&mut to, &[3, 4, 5, 6]);
        assert_eq!(to, [3, 4, 5]);
    }
}
