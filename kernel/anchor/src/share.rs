//! A share: 32 octets that an anchor makes for a TPM and gives only to whoever it has just accepted as the holder of
//! the newest state. They are one root of the key of that state; `k` of `n` make it (Shamir, over GF(2⁸)).
//!
//! An anchor makes its share by itself, at random, so that nothing secret ever goes to it. The TPM makes a secret and a
//! polynomial for it, and stores for each anchor the `correction`: what the polynomial is there, and the share,
//! combined by XOR; and a [`commitment`], by which a wrong share is told from a right one.
//!
//! On the way a share is covered by what HMAC-SHA-384 makes of an ECDH secret of two keys that are made for it alone:
//! the TPM's is in the signed request, the anchor's in the signed reply. The anchor's signature keeps it from change.

use crate::keys;
use crate::quorum::MAX;
use crate::wire::{Key, Reply, Request, told};
use hmac::{Hmac, KeyInit, Mac};
use p384::elliptic_curve::point::AffineCoordinates;
use p384::{ProjectivePoint, PublicKey, SecretKey};
use sha2::{Digest, Sha256, Sha384};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Octets of a share, and of the secret.
pub const SIZE: usize = 32;

/// A key for one exchange.
pub struct Exchange {
    secret: SecretKey,
    public: Key,
}

impl Exchange {
    /// The key of fresh random octets: nothing for zero, and for what is not below the order.
    #[must_use]
    pub fn new(scalar: &[u8; 48]) -> Option<Self> {
        let secret = SecretKey::from_slice(scalar).ok()?;
        let public = keys::compressed(&secret.public_key())?;
        Some(Self { secret, public })
    }

    /// What the other side needs.
    #[must_use]
    pub const fn public(&self) -> &Key {
        &self.public
    }

    /// What covers the share in the reply to the request with this digest. Nothing where the other side's key is none.
    fn pad(&self, other: &Key, request: &[u8; 32]) -> Option<Zeroizing<[u8; SIZE]>> {
        let other = PublicKey::from_sec1_bytes(other).ok()?;
        let shared = ProjectivePoint::from(*other.as_affine()) * *self.secret.to_nonzero_scalar();
        let mut x = shared.to_affine().x();
        let mut mac = Hmac::<Sha384>::new_from_slice(&x).ok()?;
        x.zeroize();
        mac.update(b"Quoin anchor: share");
        mac.update(request);
        let mut made = mac.finalize().into_bytes();
        let pad = made.first_chunk().copied().map(Zeroizing::new);
        made.zeroize();
        pad
    }
}

/// An anchor puts its share into the reply to `request`.
#[must_use]
pub fn give(share: &[u8; SIZE], exchange: &Exchange, request: &Request, reply: Reply) -> Option<Reply> {
    let pad = exchange.pad(&request.exchange, &request.digest())?;
    let share = xor(share, &pad);
    Some(Reply { exchange: exchange.public, share, flags: reply.flags | told::SHARE, ..reply })
}

/// A share on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Covered {
    exchange: Key,
    share: [u8; SIZE],
    request: [u8; 32],
}

impl Covered {
    /// The share in a reply that was checked.
    #[must_use]
    pub fn of(reply: &Reply) -> Option<Self> {
        let there = reply.flags & told::SHARE != 0;
        there.then_some(Self { exchange: reply.exchange, share: reply.share, request: reply.request })
    }

    /// The share itself, for the TPM whose key of this boot that is.
    #[must_use]
    pub fn open(&self, exchange: &Exchange) -> Option<Zeroizing<[u8; SIZE]>> {
        let pad = exchange.pad(&self.exchange, &self.request)?;
        Some(Zeroizing::new(xor(&self.share, &pad)))
    }
}

/// What a TPM remembers of an anchor's share.
#[must_use]
pub fn commitment(number: u8, share: &[u8; SIZE]) -> [u8; 32] {
    Sha256::new().chain_update(b"Quoin anchor: commitment").chain_update([number]).chain_update(share).finalize().into()
}

/// A secret, and what makes shares of it: `k` of them are wanted to have it again.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    /// The secret first; then the coefficients of the polynomials, an octet of each.
    coefficients: [[u8; SIZE]; MAX],
    k: usize,
}

impl Secret {
    /// Of random octets, of which `k` times 32 are used. Nothing for a `k` that no quorum has.
    #[must_use]
    pub fn new(k: u32, random: &[[u8; SIZE]; MAX]) -> Option<Self> {
        let k = usize::try_from(k).ok().filter(|k| (1..=MAX).contains(k))?;
        Some(Self { coefficients: *random, k })
    }

    /// The secret itself.
    #[must_use]
    pub fn octets(&self) -> &[u8; SIZE] {
        let [secret, ..] = &self.coefficients;
        secret
    }

    /// What is stored for the anchor of this number (from 0), whose share is this.
    #[must_use]
    pub fn correction(&self, number: u8, share: &[u8; SIZE]) -> [u8; SIZE] {
        let mut at = [0; SIZE];
        for coefficient in self.coefficients.iter().take(self.k).rev() {
            at = xor(&at.map(|value| multiply(value, number.wrapping_add(1))), coefficient);
        }
        let correction = xor(&at, share);
        at.zeroize();
        correction
    }
}

/// The secret of `k` points: number of the anchor, and share and correction together. Nothing where a number comes
/// twice. Points of other polynomials make another secret; commitments tell.
#[must_use]
pub fn combine(points: &[(u8, [u8; SIZE])]) -> Option<Zeroizing<[u8; SIZE]>> {
    interpolate(points, 0)
}

/// What is to be stored for the anchor of this number, whose share is this now: `k` points of others make it, without
/// the secret's polynomials. Nothing as of [`combine`].
#[must_use]
pub fn new_correction(points: &[(u8, [u8; SIZE])], number: u8, share: &[u8; SIZE]) -> Option<[u8; SIZE]> {
    Some(xor(&*interpolate(points, number.wrapping_add(1))?, share))
}

/// What the polynomials through these points are at `place`.
fn interpolate(points: &[(u8, [u8; SIZE])], place: u8) -> Option<Zeroizing<[u8; SIZE]>> {
    let mut sum = Zeroizing::new([0; SIZE]);
    for (at, (number, value)) in points.iter().enumerate() {
        let x = number.wrapping_add(1);
        // Lagrange's: the product of the others' differences to the place, over those to this. Differences are sums.
        let mut weight = 1;
        for (_, (other, _)) in points.iter().enumerate().filter(|(other, _)| *other != at) {
            let other = other.wrapping_add(1);
            if other == x {
                return None;
            }
            weight = multiply(weight, multiply(place ^ other, inverse(other ^ x)));
        }
        *sum = xor(&sum, &value.map(|value| multiply(value, weight)));
    }
    Some(sum)
}

/// Share and correction together.
#[must_use]
pub fn point(share: &[u8; SIZE], correction: &[u8; SIZE]) -> [u8; SIZE] {
    xor(share, correction)
}

fn xor(a: &[u8; SIZE], b: &[u8; SIZE]) -> [u8; SIZE] {
    let mut out = *a;
    out.iter_mut().zip(b).for_each(|(to, b)| *to ^= b);
    out
}

/// In GF(2⁸) modulo x⁸ + x⁴ + x³ + x + 1, without a branch or a table.
const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product, mut bit) = (a, 0, 0);
    while bit < 8 {
        product ^= a & (b >> bit & 1).wrapping_neg();
        a = a << 1 ^ 0x1b & (a >> 7).wrapping_neg();
        bit += 1;
    }
    product
}

/// a²⁵⁴.
const fn inverse(a: u8) -> u8 {
    let (mut power, mut square, mut bit) = (1, a, 0);
    while bit < 7 {
        square = multiply(square, square);
        power = multiply(power, square);
        bit += 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::{inverse, multiply};

    /// FIPS 197, 4.2: 57 · 83 = c1, 57 · 13 = fe.
    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!((multiply(0x57, 0x83), multiply(0x57, 0x13)), (0xc1, 0xfe));
        assert!((1..=255).all(|a| multiply(a, inverse(a)) == 1));
    }
}
