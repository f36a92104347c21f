//! ML-DSA (FIPS 204), from the 32-byte seed ξ and μ: public keys, signatures, their verification.
//!
//! It is here and not a library by others because of its stack: a signature of ML-DSA-87 takes some 110 KiB, of which
//! half is the matrix, and verification takes 20; others keep vectors by value and take 700 and more. Every buffer is
//! made once and passed on by reference, and sizes are those of the largest set.
//!
//! What depends on a secret takes the same time for every value of it, but for what FIPS 204 rejects: which attempt
//! was rejected, and at which polynomial, says nothing of the key. Vectors with secrets are wiped when dropped.
//!
//! | module | is | FIPS 204 |
//! |---|---|---|
//! | `poly` | polynomials modulo q, NTT | 7.5, 7.6 |
//! | `round` | high and low bits, hints | 7.4 |
//! | `sample` | polynomials from SHAKE | 7.3 |
//! | `pack` | polynomials and hints as bytes | 7.1, 7.2 |
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod pack;
mod poly;
mod round;
mod sample;

use pack::Hints;
use poly::{Poly, Vector};
use round::Gamma2;
use sample::{Shake, shake256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The bytes of a seed ξ.
pub const SEED: usize = 32;
/// The bytes of μ.
pub const MU: usize = 64;
/// The bytes that hedge a signature.
pub const RANDOM: usize = 32;
/// Attempts before a signature is given up; FIPS 204, appendix C, has 814 for a chance of 2^-256.
const ATTEMPTS: u16 = 814;
/// d: the low bits of t that are no part of the public key.
const DROPPED: u32 = 13;
/// Rows and columns of the largest matrix, and bytes of the longest commitment hash.
const K: usize = 8;
const L: usize = 7;
const COMMITMENT: usize = 64;

/// Something has another length than it must have, or a signature does not verify, or none was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A parameter set (FIPS 204, table 1).
#[derive(Clone, Copy, Debug)]
pub struct Set {
    k: usize,
    l: usize,
    eta: i32,
    tau: usize,
    gamma1_bits: u32,
    gamma2: Gamma2,
    omega: usize,
    /// λ / 4
    commitment: usize,
}

/// ML-DSA-44.
pub const ML_DSA_44: Set =
    Set { k: 4, l: 4, eta: 2, tau: 39, gamma1_bits: 17, gamma2: Gamma2::Of88, omega: 80, commitment: 32 };
/// ML-DSA-65.
pub const ML_DSA_65: Set =
    Set { k: 6, l: 5, eta: 4, tau: 49, gamma1_bits: 19, gamma2: Gamma2::Of32, omega: 55, commitment: 48 };
/// ML-DSA-87.
pub const ML_DSA_87: Set =
    Set { k: 8, l: 7, eta: 2, tau: 60, gamma1_bits: 19, gamma2: Gamma2::Of32, omega: 75, commitment: 64 };

/// c̃ of μ and w₁ in progress.
struct Commitment {
    shake: Shake,
    gamma2: Gamma2,
}

impl Commitment {
    fn new(mu: &[u8; MU], gamma2: Gamma2) -> Self {
        let mut shake = Shake::new();
        shake.absorb(mu);
        Self { shake, gamma2 }
    }

    /// The next polynomial of w₁.
    fn row(&mut self, high: &Poly) {
        let (mut packed, bits) = (Zeroizing::new([0; 192]), self.gamma2.high_bits());
        // 32 octets for each bit: all of them, or 128.
        if let Some(packed) = packed.get_mut(..32_usize.wrapping_mul(bits as usize)) {
            pack::bits(high, bits, packed);
            self.shake.absorb(packed);
        }
    }

    fn finish(self, out: &mut [u8]) {
        self.shake.squeeze(out);
    }
}

/// What ξ expands to.
struct Seeds {
    /// ρ ‖ ρ′ ‖ K
    bytes: Zeroizing<[u8; 128]>,
}

impl Seeds {
    fn new(set: &Set, seed: &[u8; SEED]) -> Self {
        let mut bytes = Zeroizing::new([0; 128]);
        // There are no more than eight.
        let sizes = [set.k, set.l].map(|size| size.to_le_bytes()[0]);
        shake256(&[seed, &sizes], &mut bytes[..]);
        Self { bytes }
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    fn rho(&self) -> &[u8] {
        self.part(0, 32)
    }

    fn rho_prime(&self) -> &[u8] {
        self.part(32, 96)
    }

    fn k(&self) -> &[u8] {
        self.part(96, 128)
    }
}

/// The rows of the matrix.
type Matrix = [[Poly; L]; K];

impl Set {
    /// The bytes of a public key.
    #[must_use]
    pub const fn public_size(&self) -> usize {
        320_usize.wrapping_mul(self.k).wrapping_add(32)
    }

    /// The bytes of a signature.
    #[must_use]
    pub const fn signature_size(&self) -> usize {
        let z = self.l.wrapping_mul(self.z_size());
        self.commitment.wrapping_add(z).wrapping_add(self.omega).wrapping_add(self.k)
    }

    /// The bytes of a polynomial of z.
    const fn z_size(&self) -> usize {
        // 32 for each bit.
        match self.gamma1_bits {
            17 => 576,
            _ => 640,
        }
    }

    const fn gamma1(&self) -> i32 {
        1_i32.wrapping_shl(self.gamma1_bits)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "τ is at most 60")]
    const fn beta(&self) -> i32 {
        (self.tau as i32).wrapping_mul(self.eta)
    }

    /// s₁ in NTT form.
    fn s1(&self, seeds: &Seeds, s1: &mut Vector<L>) {
        for (r, poly) in (0..=u16::MAX).zip(s1.first(self.l)) {
            sample::bounded(seeds.rho_prime(), r, self.eta, poly);
            poly.ntt();
        }
    }

    /// The i-th polynomial of s₂.
    fn s2(&self, seeds: &Seeds, i: u16, poly: &mut Poly) {
        // There are no more than eight.
        let l = u16::try_from(self.l).unwrap_or_default();
        sample::bounded(seeds.rho_prime(), l.wrapping_add(i), self.eta, poly);
    }

    /// Writes the public key of a seed into `out` (FIPS 204, algorithm 6).
    ///
    /// # Errors
    /// Unless `out` has [`Set::public_size`] bytes.
    #[inline(never)]
    pub fn public(&self, seed: &[u8; SEED], out: &mut [u8]) -> Result<(), Refused> {
        if out.len() != self.public_size() {
            return Err(Refused);
        }
        let seeds = Seeds::new(self, seed);
        let (rho, t1) = out.split_at_mut_checked(32).ok_or(Refused)?;
        rho.copy_from_slice(seeds.rho());
        let mut s1 = Vector::<L>::new();
        self.s1(&seeds, &mut s1);
        // t, a of the matrix, s₂
        let mut work = Vector::<3>::new();
        let [t, a, s2] = &mut work.0;
        for (i, packed) in (0..=u8::MAX).zip(t1.chunks_exact_mut(320)) {
            let mut sum = poly::Sum::new();
            for (j, s1) in (0..=u8::MAX).zip(s1.first(self.l)) {
                sample::uniform(seeds.rho(), j, i, a);
                sum.add(a, s1);
            }
            sum.reduce(t);
            t.inverse_ntt();
            self.s2(&seeds, i.into(), s2);
            t.add(s2);
            t.map(|t| round::power_2(poly::canonical(t)).0);
            pack::bits(t, 10, packed);
        }
        Ok(())
    }

    /// Signs μ, hedged with `random` (FIPS 204, algorithm 7), into `out`.
    ///
    /// # Errors
    /// Unless `out` has [`Set::signature_size`] bytes; and with a chance of 2^-256.
    #[inline(never)]
    pub fn sign(&self, seed: &[u8; SEED], mu: &[u8; MU], random: &[u8; RANDOM], out: &mut [u8]) -> Result<(), Refused> {
        if out.len() != self.signature_size() {
            return Err(Refused);
        }
        let seeds = Seeds::new(self, seed);
        let mut a: Matrix = [const { [const { Poly::ZERO }; L] }; K];
        for (i, row) in (0..=u8::MAX).zip(a.iter_mut().take(self.k)) {
            for (j, poly) in (0..=u8::MAX).zip(row.iter_mut().take(self.l)) {
                sample::uniform(seeds.rho(), j, i, poly);
            }
        }
        let mut key = Key { s1: Vector::new(), s2: Vector::new(), t0: Vector::new() };
        self.expand(&seeds, &a, &mut key);
        let mut rho = Zeroizing::new([0; 64]);
        shake256(&[seeds.k(), random, mu], &mut rho[..]);
        let mut work = Work { y: Vector::new(), y_ntt: Vector::new(), w: Vector::new(), one: Vector::new() };
        // κ of the last attempt is at most 813 · 7.
        let (mut kappa, step) = (0_u16, u16::try_from(self.l).unwrap_or_default());
        for _ in 0..ATTEMPTS {
            if self.attempt(&a, &key, &mut work, &rho, kappa, mu, out).is_some() {
                return Ok(());
            }
            kappa = kappa.wrapping_add(step);
        }
        Err(Refused)
    }

    /// The private key of the seeds, in NTT form.
    #[inline(never)]
    fn expand(&self, seeds: &Seeds, a: &Matrix, key: &mut Key) {
        let Key { s1, s2, t0 } = key;
        self.s1(seeds, s1);
        let rows = a.iter().zip(s2.first(self.k)).zip(t0.first(self.k));
        for (i, ((row, s2), t0)) in (0..=u16::MAX).zip(rows) {
            self.product(row, s1, t0);
            self.s2(seeds, i, s2);
            t0.add(s2);
            t0.map(|t| round::power_2(poly::canonical(t)).1);
            t0.ntt();
            s2.ntt();
        }
    }

    /// A row of the matrix with a vector in NTT form, out of it.
    fn product(&self, row: &[Poly; L], vector: &mut Vector<L>, out: &mut Poly) {
        let mut sum = poly::Sum::new();
        for (a, v) in row.iter().zip(vector.first(self.l)) {
            sum.add(a, v);
        }
        sum.reduce(out);
        out.inverse_ntt();
    }

    /// One attempt: `None` if it is rejected.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "each is made once, for all attempts")]
    fn attempt(
        &self,
        a: &Matrix,
        key: &Key,
        work: &mut Work,
        rho: &[u8; 64],
        kappa: u16,
        mu: &[u8; MU],
        out: &mut [u8],
    ) -> Option<()> {
        let Work { y, y_ntt, w, one } = work;
        for (r, (y, y_ntt)) in (kappa..=u16::MAX).zip(y.first(self.l).iter_mut().zip(y_ntt.first(self.l))) {
            sample::mask(rho, r, self.gamma1_bits, y);
            y_ntt.copy(y);
            y_ntt.ntt();
        }
        for (row, w) in a.iter().zip(w.first(self.k)) {
            self.product(row, y_ntt, w);
            w.map(poly::canonical);
        }
        let (commitment, rest) = out.split_at_mut_checked(self.commitment)?;
        let [c, product, high] = &mut one.0;
        let mut hash = Commitment::new(mu, self.gamma2);
        for w in w.first(self.k) {
            high.set(w, |w| self.gamma2.split(w).0);
            hash.row(high);
        }
        hash.finish(commitment);
        sample::ball(commitment, self.tau, c);
        c.ntt();

        let (packed, hints) = rest.split_at_mut_checked(self.l.checked_mul(self.z_size())?)?;
        let gamma1 = self.gamma1();
        for ((y, s1), packed) in y.first(self.l).iter_mut().zip(&key.s1.0).zip(packed.chunks_exact_mut(self.z_size())) {
            product.multiply(c, s1);
            product.inverse_ntt();
            y.add(product);
            y.map(poly::small);
            if !y.is_below(gamma1.wrapping_sub(self.beta())) {
                return None;
            }
            product.set(y, |z| gamma1.wrapping_sub(z));
            pack::bits(product, self.gamma1_bits.wrapping_add(1), packed);
        }
        let mut hints = Hints::new(hints, self.omega)?;
        for ((w, s2), t0) in w.first(self.k).iter_mut().zip(&key.s2.0).zip(&key.t0.0) {
            product.multiply(c, s2);
            product.inverse_ntt();
            w.subtract(product);
            w.map(poly::canonical);
            product.set(w, |w| self.gamma2.split(w).1);
            if !product.is_below(self.gamma2.value().wrapping_sub(self.beta())) {
                return None;
            }
            product.multiply(c, t0);
            product.inverse_ntt();
            product.map(poly::small);
            if !product.is_below(self.gamma2.value()) {
                return None;
            }
            product.add(w);
            product.map(poly::canonical);
            hints.put(w, product, |w| self.gamma2.split(w).0)?;
        }
        Some(())
    }

    /// Verifies a signature of μ (FIPS 204, algorithm 8).
    ///
    /// # Errors
    /// If it does not verify, for whatever reason.
    #[inline(never)]
    pub fn verify(&self, public: &[u8], mu: &[u8; MU], signature: &[u8]) -> Result<(), Refused> {
        if public.len() != self.public_size() || signature.len() != self.signature_size() {
            return Err(Refused);
        }
        let (rho, t1) = public.split_at_checked(32).ok_or(Refused)?;
        let (commitment, rest) = signature.split_at_checked(self.commitment).ok_or(Refused)?;
        let (packed, hints) = rest.split_at_checked(self.l.wrapping_mul(self.z_size())).ok_or(Refused)?;
        let hints = pack::read_hints(hints, self.omega, self.k).ok_or(Refused)?;
        let (gamma1, mut z) = (self.gamma1(), Vector::<L>::new());
        for (z, packed) in z.first(self.l).iter_mut().zip(packed.chunks_exact(self.z_size())) {
            pack::read_bits(packed, self.gamma1_bits.wrapping_add(1), z);
            z.map(|value| gamma1.wrapping_sub(value));
            if !z.is_below(gamma1.wrapping_sub(self.beta())) {
                return Err(Refused);
            }
            z.ntt();
        }
        let mut work = Vector::<4>::new();
        let [c, a, t, high] = &mut work.0;
        sample::ball(commitment, self.tau, c);
        c.ntt();
        // −c: the last product is subtracted.
        c.map(i32::wrapping_neg);
        let mut computed = [0; COMMITMENT];
        let computed = computed.get_mut(..self.commitment).ok_or(Refused)?;
        let mut hash = Commitment::new(mu, self.gamma2);
        for ((i, t1), hints) in (0..=u8::MAX).zip(t1.chunks_exact(320)).zip(&hints) {
            let mut sum = poly::Sum::new();
            for (j, z) in (0..=u8::MAX).zip(z.first(self.l)) {
                sample::uniform(rho, j, i, a);
                sum.add(a, z);
            }
            pack::read_bits(t1, 10, t);
            t.map(|t| t.wrapping_shl(DROPPED));
            t.ntt();
            sum.add(t, c);
            sum.reduce(high);
            high.inverse_ntt();
            high.map(poly::canonical);
            for (value, hint) in high.0.iter_mut().zip(hints) {
                *value = self.gamma2.hinted(*value, *hint);
            }
            hash.row(high);
        }
        hash.finish(computed);
        if bool::from(computed.ct_eq(commitment)) { Ok(()) } else { Err(Refused) }
    }
}

/// The private key in NTT form.
struct Key {
    s1: Vector<L>,
    s2: Vector<K>,
    t0: Vector<K>,
}

/// What an attempt works with.
struct Work {
    /// y, and then z
    y: Vector<L>,
    y_ntt: Vector<L>,
    /// w, and then w − c·s₂
    w: Vector<K>,
    one: Vector<3>,
}
