//! A hash of states: two lanes of 64 bits, each multiplied and folded. Not for input by an enemy.

use core::hash::{Hash, Hasher};

const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

/// 128 bits of everything that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lanes([u64; 2]);

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

impl Lanes {
    /// All 128 bits.
    #[must_use]
    pub fn both(self) -> u128 {
        let Lanes([low, high]) = self;
        u128::from(high) << 64 | u128::from(low)
    }

    /// What `value` adds to what was there.
    #[must_use]
    pub fn with(mut self, value: &impl Hash) -> Lanes {
        value.hash(&mut self);
        self
    }
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.0[0]
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_usize(bytes.len());
    }

    fn write_u64(&mut self, word: u64) {
        for (lane, factor) in self.0.iter_mut().zip(FACTORS) {
            let product = u128::from(*lane ^ word ^ factor.rotate_left(17)) * u128::from(factor);
            let bytes = product.to_le_bytes();
            let (low, high) = bytes.split_at(8);
            let half = |half: &[u8]| u64::from_le_bytes(half.try_into().unwrap_or_default());
            *lane = (half(low) ^ half(high)).wrapping_add(lane.rotate_left(23));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}
