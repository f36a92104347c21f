//! The prime search and key generation (FIPS 186-5, A.1.3, with an incremental search), in constant time with respect
//! to the prime that is found: the time and the addresses used depend on which candidates around it have small factors,
//! and on how many before it have none.
//!
//! Primes are 3 modulo 4. The Miller-Rabin test is then one exponentiation to (p − 1)/2 with a result of ±1, without
//! steps that depend on how often 2 divides p − 1. The condition costs one bit of some thousand.

use core::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

use super::exponent::{DEFAULT_EXPONENT, is_exponent};
use super::key::{MAX_PRIME_BLOCKS, MAX_PRIME_BYTES, MAX_PRIME_LIMBS, Prime, RsaPrivate, RsaPublic, has_key_bits};
use super::monty::{MAX_LIMBS, Monty, Residue};
use crate::num::{self, LIMB, SmallModulus};
use crate::secret::Secret;
use crate::{Error, Rng};

/// Candidates after a draw; part of the frozen derivation of primary keys.
const CANDIDATES: usize = 8192;
/// The distance of candidates.
const STEP: u16 = 4;
/// How many of the highest bits of p and q must not all be equal (FIPS 186-5, A.1.3, step 5.4).
const DISTINCT_BITS: usize = 100;
/// Draws until a source counts as broken: one suffices but for one case in 10^4 to 10^20.
const DRAWS: usize = 64;
/// Candidates that are sieved together.
const WINDOW: usize = 512;
/// From the first of them to the first of the next.
const SPAN: u16 = 2048;
const _: () = assert!(SPAN as usize == WINDOW * STEP as usize && CANDIDATES.is_multiple_of(WINDOW));
/// Small primes are below this bound.
const SIEVE_BOUND: usize = 1 << 18;
/// Three numbers below 2^15 in the lanes of a word, 16 bits each. The fourth lane is not a number.
type Lanes = u64;
/// 1 in each lane.
const ONES: Lanes = 0x0001_0001_0001;
/// The bit above each lane, and that of the fourth.
const TOPS: u64 = 0x8000_8000_8000_8000;
/// How many groups of three of the small primes every candidate is divided by: those from 5 to 2083. Of a window, they
/// leave a seventh for the others.
const FIRST_GROUPS: usize = 104;
static FIRST_PRIMES: [Lanes; FIRST_GROUPS] = SMALL_PRIMES.0;
/// How many groups the others are, all odd primes below the bound that are longer than a window.
const GROUPS: usize = 7562;
/// Half the distance to the prime before, for each of them.
static DISTANCES: [[u8; 3]; GROUPS] = SMALL_PRIMES.1;
/// How many groups for each limb of a prime: what is shorter is cheaper to test.
const GROUPS_PER_LIMB: usize = GROUPS.div_ceil(16);
/// Groups that are on the stack at a time.
const BATCH: usize = 128;

const SMALL_PRIMES: ([Lanes; FIRST_GROUPS], [[u8; 3]; GROUPS]) = small_primes();

#[expect(clippy::cast_possible_truncation, reason = "a distance is below 2^9; no other conversion is const")]
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn small_primes() -> ([Lanes; FIRST_GROUPS], [[u8; 3]; GROUPS]) {
    // Of odd numbers; multiples of 3 are struck out, 3 itself is not listed.
    let mut composite = [false; SIEVE_BOUND / 2];
    let (mut first, mut distances) = ([0; FIRST_GROUPS], [[0; 3]; GROUPS]);
    let (mut found, mut before) = (0, 0);
    let mut n = 3;
    while n < SIEVE_BOUND {
        if !composite[n / 2] {
            if n > 3 && found < 3 * FIRST_GROUPS {
                first[found / 3] |= (n as Lanes) << (16 * (found % 3));
            } else if n > 3 {
                let (half, at) = ((n - before) / 2, found - 3 * FIRST_GROUPS);
                assert!(before > SPAN as usize && half <= u8::MAX as usize);
                distances[at / 3][at % 3] = half as u8;
            }
            found += (n > 3) as usize;
            before = n;
            let mut multiple = n * n;
            while multiple < SIEVE_BOUND {
                composite[multiple / 2] = true;
                multiple += 2 * n;
            }
        }
        n += 2;
    }
    assert!(found == 3 * FIRST_GROUPS + 3 * GROUPS);
    (first, distances)
}

impl RsaPrivate {
    /// A new key of `bits` with exponent `exponent` (0 for 65537): the primes p and q from `candidates`, in this order,
    /// as [`crate::primary`] describes; the bases of the Miller-Rabin tests from `witnesses`.
    ///
    /// # Errors
    /// `Error::Key` for a size or exponent that does not exist here, `Error::Reseed` from the sources.
    pub fn generate(
        bits: u16,
        exponent: u32,
        candidates: &mut dyn Rng,
        witnesses: &mut dyn Rng,
    ) -> Result<Self, Error> {
        Self::generate_unless(bits, exponent, candidates, witnesses, &AtomicBool::new(false))
    }

    /// The same, given up when `canceled` is set.
    ///
    /// # Errors
    /// As there; `Error::Canceled` when it was given up.
    pub fn generate_unless(
        bits: u16,
        exponent: u32,
        candidates: &mut dyn Rng,
        witnesses: &mut dyn Rng,
        canceled: &AtomicBool,
    ) -> Result<Self, Error> {
        generate(bits, exponent, candidates, witnesses, canceled)
    }
}

/// Makes a key: draws, as [`crate::primary`] describes them, from `candidates`; bases of the Miller-Rabin test
/// from `witnesses`. Looks at `canceled` before each candidate that the sieves leave.
fn generate(
    bits: u16,
    exponent: u32,
    candidates: &mut dyn Rng,
    witnesses: &mut dyn Rng,
    canceled: &AtomicBool,
) -> Result<RsaPrivate, Error> {
    if !has_key_bits(bits) || !is_exponent(exponent) {
        return Err(Error::Key);
    }
    let e = if exponent == 0 { DEFAULT_EXPONENT } else { exponent };
    let limbs = usize::from(bits) / 128;
    let p = find_prime(limbs, e, None, candidates, witnesses, canceled)?;
    let q = find_prime(limbs, e, Some(&p), candidates, witnesses, canceled)?;
    let mut n = [0; MAX_LIMBS];
    num::multiply(cut(&*p, limbs), cut(&*q, limbs), n.get_mut(..2 * limbs).unwrap_or_default());
    let key = RsaPrivate::from_factors(RsaPublic { n, limbs: 2 * limbs, e }, p, q)?;
    pairwise_test(&key, witnesses)?;
    Ok(key)
}

/// Signs and verifies a random block (FIPS 140-3, 10.3.3): the private operation checks its result with the public key.
fn pairwise_test(key: &RsaPrivate, rng: &mut dyn Rng) -> Result<(), Error> {
    let mut block = Secret::<{ MAX_LIMBS * LIMB }>::zeroed(key.public().size())?;
    let (_, low) = block.as_mut_slice().split_at_mut_checked(1).ok_or(Error::Length)?;
    rng.fill(low)?;
    key.raw(rng, block.as_mut_slice())
}

/// A prime of `limbs` limbs, not too near to `other`.
fn find_prime(
    limbs: usize,
    e: u32,
    other: Option<&Prime>,
    candidates: &mut dyn Rng,
    witnesses: &mut dyn Rng,
    canceled: &AtomicBool,
) -> Result<Prime, Error> {
    let mut prime = Prime::new([0; MAX_PRIME_LIMBS]);
    for _ in 0..DRAWS {
        let value = prime.get_mut(..limbs).ok_or(Error::Length)?;
        draw(value, candidates)?;
        if search(value, e, witnesses, canceled)? && other.is_none_or(|other| far_apart(value, cut(&**other, limbs))) {
            return Ok(prime);
        }
    }
    Err(Error::Fault)
}

/// A random number with its two highest bits set, so that the product of two has full length, and its two lowest.
fn draw(value: &mut [u64], rng: &mut dyn Rng) -> Result<(), Error> {
    let mut bytes = Secret::<MAX_PRIME_BYTES>::zeroed(value.len() * LIMB)?;
    rng.fill(bytes.as_mut_slice())?;
    num::from_be_bytes(bytes.as_slice(), value)?;
    if let Some(high) = value.last_mut() {
        *high |= 3 << 62;
    }
    if let Some(low) = value.first_mut() {
        *low |= 3;
    }
    Ok(())
}

/// Whether |a − b| > 2^(bits − 100).
fn far_apart(a: &[u64], b: &[u64]) -> bool {
    let mut difference = Prime::new([0; MAX_PRIME_LIMBS]);
    let difference = difference.get_mut(..a.len()).unwrap_or_default();
    let smaller = num::mask(num::less(a, b));
    num::copy(difference, a);
    num::select(difference, b, smaller);
    let mut subtrahend = Prime::new([0; MAX_PRIME_LIMBS]);
    let subtrahend = subtrahend.get_mut(..a.len()).unwrap_or_default();
    num::copy(subtrahend, b);
    num::select(subtrahend, a, smaller);
    num::sub_masked(difference, subtrahend, u64::MAX);
    num::sub_masked(difference, &[1], u64::MAX);
    let [.., second, first] = difference else {
        return false;
    };
    (u128::from(*first) << 64 | u128::from(*second)) >> (128 - DISTINCT_BITS) != 0
}

/// Advances `value` to the first good prime of the candidates from it. `false` if there is none, or it would get
/// longer.
fn search(value: &mut [u64], e: u32, witnesses: &mut dyn Rng, canceled: &AtomicBool) -> Result<bool, Error> {
    let mut sieve = Sieve::new(value, e);
    for _ in 0..CANDIDATES / WINDOW {
        let left = sieve.window(value);
        let mut passed = 0;
        for distance in left {
            if num::add_word(value, u64::from(distance.wrapping_sub(passed))) != 0 {
                return Ok(false);
            }
            if canceled.load(Ordering::Relaxed) {
                return Err(Error::Canceled);
            }
            if is_prime(value, witnesses)? {
                return Ok(true);
            }
            passed = distance;
        }
        if num::add_word(value, u64::from(SPAN.wrapping_sub(passed))) != 0 {
            return Ok(false);
        }
    }
    Ok(false)
}

/// The first sieve: what a candidate lacks to multiples of the first primes, and its residues modulo 3 and e. Each
/// candidate costs a pass over all, so that no address depends on them.
struct Sieve {
    lacks: Zeroizing<[Lanes; FIRST_GROUPS]>,
    mod_3: u64,
    mod_e: u64,
    e: SmallModulus,
}

impl Sieve {
    fn new(start: &[u64], e: u32) -> Self {
        let mut lacks = Zeroizing::new([0; FIRST_GROUPS]);
        for (to, &primes) in lacks.iter_mut().zip(&FIRST_PRIMES) {
            *to = lacking(start, [lane(primes, 0), lane(primes, 1), lane(primes, 2)]);
        }
        let (three, e) = (SmallModulus::new(3), SmallModulus::new(e));
        Self { lacks, mod_3: three.reduce_number(start), mod_e: e.reduce_number(start), e }
    }

    /// The distances from `start`, the candidate that the sieve is at, of those of a window that neither sieve rejects.
    /// The sieve goes to the next.
    fn window(&mut self, start: &[u64]) -> impl Iterator<Item = u16> + use<> {
        let mut left = Zeroizing::new([0; WINDOW]);
        let mut len = 0;
        for distance in (0..SPAN).step_by(STEP.into()) {
            if self.passes()
                && let Some(to) = left.get_mut(len)
            {
                *to = distance;
                len = len.wrapping_add(1);
            }
            self.advance();
        }
        let mut struck = Zeroizing::new([false; WINDOW]);
        strike(start, left.get(..len).unwrap_or_default(), &mut *struck);
        (0..len).filter(move |i| struck.get(*i) == Some(&false)).filter_map(move |i| left.get(i).copied())
    }

    /// Whether no small prime divides the candidate, nor e divides the candidate − 1.
    fn passes(&self) -> bool {
        self.mod_3 != 0 && self.mod_e != 1 && !any_is(&*self.lacks, 0)
    }

    /// To the next candidate.
    fn advance(&mut self) {
        let step = ONES.wrapping_mul(STEP.into());
        for (lacks, &primes) in self.lacks.iter_mut().zip(&FIRST_PRIMES) {
            // The bit above a lane is set where the step fits; where it does not, the prime is added.
            let fits = TOPS.wrapping_sub(step).wrapping_add(*lacks) & TOPS;
            let wraps = ((fits ^ TOPS) >> 15).wrapping_mul(0xFFFF);
            *lacks = lacks.wrapping_add(primes & wraps).wrapping_sub(step);
        }
        self.mod_3 = SmallModulus::new(3).reduce(self.mod_3.wrapping_add(STEP.into()));
        self.mod_e = self.e.reduce(self.mod_e.wrapping_add(STEP.into()));
    }
}

/// The second sieve: marks the distances at which one of the other primes divides. Of what a number lacks to their
/// multiples only what is within the window counts.
fn strike(start: &[u64], distances: &[u16], struck: &mut [bool]) {
    let groups = DISTANCES.get(..start.len().wrapping_mul(GROUPS_PER_LIMB)).unwrap_or(&DISTANCES);
    let mut prime = FIRST_PRIMES.last().map_or(0, |primes| lane(*primes, 2));
    let mut lacks = Zeroizing::new([!TOPS; BATCH]);
    for batch in groups.chunks(BATCH) {
        for (to, halves) in lacks.iter_mut().zip(batch) {
            let [p, q, r] = *halves;
            let p = prime.wrapping_add(u32::from(p) << 1);
            let q = p.wrapping_add(u32::from(q) << 1);
            prime = q.wrapping_add(u32::from(r) << 1);
            *to = lacking(start, [p, q, prime]);
        }
        for (&distance, struck) in distances.iter().zip(&mut *struck) {
            *struck |= any_is(&*lacks, distance);
        }
    }
}

/// What a number lacks to multiples of three primes of up to 18 bits, each, or the greatest number of a lane; the
/// fourth lane is that. Modulo all three first, which is two passes less.
fn lacking(number: &[u64], primes: [u32; 3]) -> Lanes {
    let [p, q, r] = primes;
    let lack = num::lack(number, u64::from(p).wrapping_mul(q.into()).wrapping_mul(r.into()));
    let lack = |prime| SmallModulus::new(prime).reduce(lack).min(0x7FFF);
    lack(p) | lack(q) << 16 | lack(r) << 32 | 0x7FFF << 48
}

/// The number in a lane.
fn lane(lanes: Lanes, index: u32) -> u32 {
    u32::try_from(lanes.wrapping_shr(index.wrapping_mul(16)) & 0xFFFF).unwrap_or(0)
}

/// Whether a lane is `lack`, which is less than the greatest number: of words by fours.
fn any_is(lacks: &[Lanes], lack: u16) -> bool {
    let all = (ONES | 1 << 48).wrapping_mul(lack.into());
    // What differs reaches the bit above the lane, when the greatest number is added.
    let differs = |lanes: &Lanes| (lanes ^ all).wrapping_add(!TOPS);
    let differ = lacks
        .as_chunks()
        .0
        .iter()
        .fold(TOPS, |differ, [a, b, c, d]| differ & differs(a) & differs(b) & differs(c) & differs(d));
    differ != TOPS
}

/// Miller-Rabin: base 2, then as many random bases as FIPS 186-5, table B.1, asks for, or more. The error for random
/// candidates is p(k, t) < k^(3/2) · 2^t · t^(-1/2) · 4^(2 − √(tk)) (Damgård, Landrock, Pomerance), without base 2:
/// 2^-120 for 1024 bits and 5 bases, 2^-133 for 1536 bits and 4.
fn is_prime(candidate: &[u64], witnesses: &mut dyn Rng) -> Result<bool, Error> {
    let rounds = match candidate.len() {
        0..=8 => 16,
        9..=16 => 5,
        _ => 4,
    };
    let mut monty = Monty::<MAX_PRIME_BLOCKS>::bare(candidate);
    let root = monty.root_of_two();
    if !is_root_of_one(&mut monty, &root, candidate) {
        return Ok(false);
    }
    monty.prepare();
    let mut half = Prime::new([0; MAX_PRIME_LIMBS]);
    let half = half.get_mut(..candidate.len()).unwrap_or_default();
    num::copy(half, candidate);
    num::halve(half);
    let mut base = Prime::new([0; MAX_PRIME_LIMBS]);
    let base = base.get_mut(..candidate.len()).unwrap_or_default();
    for _ in 0..rounds {
        draw(base, witnesses)?;
        // Below the candidate, whose highest bit is set. A random number in Montgomery form is as random as outside it.
        num::halve(base);
        let mut power = monty.residue(base);
        monty.power(&mut power, half);
        if !is_root_of_one(&mut monty, &power, candidate) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `value` is 1 or −1 in Montgomery form.
fn is_root_of_one<const N: usize>(monty: &mut Monty<N>, value: &Residue<N>, modulus: &[u64]) -> bool {
    let mut outside = Prime::new([0; MAX_PRIME_LIMBS]);
    let outside = outside.get_mut(..modulus.len()).unwrap_or_default();
    monty.leave(value, outside);
    let one = num::equal(outside, cut(&ONE, modulus.len()));
    num::add_word(outside, 1);
    one | num::equal(outside, modulus) == 1
}

/// 1
static ONE: [u64; MAX_PRIME_LIMBS] = {
    let mut one = [0; MAX_PRIME_LIMBS];
    one[0] = 1;
    one
};

fn cut(limbs: &[u64], len: usize) -> &[u64] {
    limbs.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::rsa::exponent::is_prime_word;
    use std::{vec, vec::Vec};

    fn number(limbs: usize, seed: u64) -> Vec<u64> {
        let mut number: Vec<u64> =
            (seed..).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)).take(limbs).collect();
        number[0] |= 3;
        number[limbs - 1] |= 3 << 62;
        number
    }

    /// What `number` is modulo a word, by division.
    fn modulo(number: &[u64], word: u32) -> u32 {
        let word = u128::from(word);
        let rest = number.iter().rev().fold(0, |rest, &limb| (rest << 64 | u128::from(limb)) % word);
        u32::try_from(rest).unwrap()
    }

    #[test]
    fn a_window_has_the_candidates_without_small_factors() {
        for (limbs, seed) in [(8, 1), (16, 2), (24, 3), (32, 4)] {
            let start = number(limbs, seed);
            let groups = (GROUPS_PER_LIMB * limbs).min(GROUPS);
            let mut bound = lane(FIRST_PRIMES[FIRST_GROUPS - 1], 2);
            DISTANCES[..groups].iter().flatten().for_each(|half| bound += 2 * u32::from(*half));
            let divisors: Vec<u32> = (3..=bound).step_by(2).filter(|word| is_prime_word(*word)).collect();
            assert_eq!(divisors.len(), 1 + 3 * FIRST_GROUPS + 3 * groups);

            let mut sieve = Sieve::new(&start, 65537);
            let mut candidate = start;
            for _ in 0..2 {
                let mut expected = vec![];
                let rests: Vec<u32> = divisors.iter().map(|divisor| modulo(&candidate, *divisor)).collect();
                for distance in (0..u32::from(SPAN)).step_by(STEP.into()) {
                    let divides = |(divisor, rest): (&u32, &u32)| (rest + distance).is_multiple_of(*divisor);
                    let one = (modulo(&candidate, 65537) + distance) % 65537 == 1;
                    if !one && !divisors.iter().zip(&rests).any(divides) {
                        expected.push(u16::try_from(distance).unwrap());
                    }
                }
                assert_eq!(sieve.window(&candidate).collect::<Vec<_>>(), expected, "{limbs} limbs");
                num::add_word(&mut candidate, SPAN.into());
            }
        }
    }

    #[test]
    fn a_multiple_of_a_small_prime_lacks_nothing() {
        let start = number(16, 5);
        let rest = modulo(&start, 262_139);
        let mut multiple = start;
        num::sub_masked(&mut multiple, &[rest.into()], u64::MAX);
        assert_eq!(lane(lacking(&multiple, [262_127, 262_133, 262_139]), 2), 0);
        num::add_word(&mut multiple, 1);
        assert_eq!(lane(lacking(&multiple, [2069, 262_133, 262_139]), 2), 0x7FFF);
        num::sub_masked(&mut multiple, &[3], u64::MAX);
        assert_eq!(lane(lacking(&multiple, [5, 7, 262_139]), 2), 2);
    }

    #[test]
    fn no_candidate_is_longer_than_the_first() {
        struct Same;
        impl Rng for Same {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
                out.fill(0x5A);
                Ok(())
            }
        }
        assert_eq!(search(&mut [u64::MAX; 8], 65537, &mut Same, &AtomicBool::new(false)), Ok(false));
    }
}
