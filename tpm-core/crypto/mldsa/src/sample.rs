//! Polynomials from SHAKE (FIPS 204, 7.3).

use crate::pack;
use crate::poly::{N, Poly, Q};
use shake::digest::{ExtendableOutput as _, Update as _, XofReader as _};
use shake::{Shake128, Shake256};
use zeroize::Zeroize;

/// SHAKE256 of parts.
pub(crate) struct Shake(Shake256);

impl Shake {
    pub(crate) fn new() -> Self {
        Self(Shake256::default())
    }

    pub(crate) fn absorb(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    pub(crate) fn squeeze(self, out: &mut [u8]) {
        self.0.finalize_xof().read(out);
    }
}

/// SHAKE256 of parts, into `out`.
pub(crate) fn shake256(parts: &[&[u8]], out: &mut [u8]) {
    let mut shake = Shake::new();
    parts.iter().for_each(|part| shake.absorb(part));
    shake.squeeze(out);
}

/// Below q, all alike (algorithm 30): column and row of the matrix.
#[inline(never)]
pub(crate) fn uniform(rho: &[u8], column: u8, row: u8, out: &mut Poly) {
    let mut shake = Shake128::default();
    shake.update(rho);
    shake.update(&[column, row]);
    let mut stream = shake.finalize_xof();
    let (mut block, mut places) = ([0; 168], out.0.iter_mut());
    loop {
        stream.read(&mut block);
        for [a, b, c] in block.as_chunks().0 {
            let value = i32::from(*a) | i32::from(*b) << 8 | i32::from(*c & 0x7f) << 16;
            if value < Q {
                let Some(place) = places.next() else { return };
                *place = value;
            }
        }
        if places.len() == 0 {
            return;
        }
    }
}

/// From −η to η (algorithm 31).
#[inline(never)]
pub(crate) fn bounded(rho: &[u8], number: u16, eta: i32, out: &mut Poly) {
    let mut shake = Shake256::default();
    shake.update(rho);
    shake.update(&number.to_le_bytes());
    let mut stream = shake.finalize_xof();
    let (mut block, mut places) = ([0; 136], out.0.iter_mut());
    'all: loop {
        stream.read(&mut block);
        for half in block.iter().flat_map(|octet| [octet & 15, octet >> 4]) {
            let half = i32::from(half);
            // Which halves are rejected says nothing of those that are not.
            let value = match eta {
                2 if half < 15 => 2_i32.wrapping_sub(half.wrapping_sub((half.wrapping_mul(205) >> 10).wrapping_mul(5))),
                4 if half < 9 => 4_i32.wrapping_sub(half),
                _ => continue,
            };
            let Some(place) = places.next() else { break 'all };
            *place = value;
        }
        if places.len() == 0 {
            break;
        }
    }
    block.zeroize();
}

/// From −γ₁ + 1 to γ₁ (algorithm 34, one polynomial).
#[inline(never)]
pub(crate) fn mask(rho: &[u8; 64], number: u16, gamma1_bits: u32, out: &mut Poly) {
    let (mut bytes, bits) = ([0; 640], gamma1_bits.wrapping_add(1));
    let packed = bytes.get_mut(..bits.wrapping_mul(32) as usize).unwrap_or_default();
    shake256(&[rho, &number.to_le_bytes()], packed);
    pack::read_bits(packed, bits, out);
    out.map(|value| 1_i32.wrapping_shl(gamma1_bits).wrapping_sub(value));
    bytes.zeroize();
}

/// τ coefficients that are 1 or −1, the others 0 (algorithm 29).
#[inline(never)]
pub(crate) fn ball(commitment: &[u8], tau: usize, out: &mut Poly) {
    let mut shake = Shake256::default();
    shake.update(commitment);
    let mut stream = shake.finalize_xof();
    let mut signs = [0; 8];
    stream.read(&mut signs);
    let mut signs = u64::from_le_bytes(signs);
    out.map(|_| 0);
    for i in N.saturating_sub(tau)..N {
        let mut octet = [0];
        let j = loop {
            stream.read(&mut octet);
            if usize::from(octet[0]) <= i {
                break usize::from(octet[0]);
            }
        };
        let moved = out.0.get(j).copied().unwrap_or_default();
        if let Some(place) = out.0.get_mut(i) {
            *place = moved;
        }
        if let Some(place) = out.0.get_mut(j) {
            *place = if signs & 1 == 1 { -1 } else { 1 };
        }
        signs >>= 1;
    }
}
