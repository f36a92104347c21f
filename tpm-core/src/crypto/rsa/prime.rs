//! The prime search and key generation (FIPS 186-5, A.1.3, with an incremental search), in constant time with respect to the prime that is found:
//! the time and the addresses used depend on the rejected candidates before it.
//!
//! Primes are 3 modulo 4. The Miller-Rabin test is then one exponentiation to (p − 1)/2 with a result of ±1, without steps that depend on how
//! often 2 divides p − 1. The condition costs one bit of some thousand.

use zeroize::Zeroizing;

use super::monty::{Monty, Residue};
use super::{
    DEFAULT_EXPONENT, Error, MAX_LIMBS, MAX_PRIME_BLOCKS, MAX_PRIME_BYTES, MAX_PRIME_LIMBS, Prime, Rng, RsaPrivate,
    RsaPublic, has_key_bits, is_exponent,
};
use crate::crypto::num::{self, LIMB, SmallModulus};
use crate::secret::Secret;

/// Candidates after a draw; part of the frozen derivation of primary keys.
const CANDIDATES: usize = 8192;
/// The distance of candidates.
const STEP: u16 = 4;
/// How many of the highest bits of p and q must not all be equal (FIPS 186-5, A.1.3, step 5.4).
const DISTINCT_BITS: usize = 100;
/// Draws until a source counts as broken: one suffices but for one case in 10^4 to 10^20.
const DRAWS: usize = 64;
/// Small primes are below this bound.
const SIEVE_BOUND: usize = 1 << 16;
/// π(2^16) − 2: all odd primes below the bound but 3.
const SIEVE_PRIMES: usize = 6540;
/// The small primes from 5 up.
static SMALL_PRIMES: [u16; SIEVE_PRIMES] = small_primes();
/// How many of them every candidate is divided by; the others only divide what these leave, a seventh.
const FIRST_PRIMES: usize = 304;
/// A distance of candidates below all the other primes.
const LEAP: u16 = 2000;
const _: () = assert!(small_primes()[FIRST_PRIMES] > LEAP);

#[expect(clippy::cast_possible_truncation, reason = "n is below 2^16; no other conversion is const")]
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn small_primes() -> [u16; SIEVE_PRIMES] {
    let mut composite = [false; SIEVE_BOUND];
    let mut primes = [0; SIEVE_PRIMES];
    let (mut found, mut n) = (0, 5);
    // Multiples of 3 are struck out, 3 itself is not listed.
    let mut multiple = 9;
    while multiple < SIEVE_BOUND {
        composite[multiple] = true;
        multiple += 6;
    }
    while n < SIEVE_BOUND {
        if !composite[n] {
            primes[found] = n as u16;
            found += 1;
            let mut multiple = n * n;
            while multiple < SIEVE_BOUND {
                composite[multiple] = true;
                multiple += 2 * n;
            }
        }
        n += 2;
    }
    assert!(found == SIEVE_PRIMES);
    primes
}

/// Makes a key: draws, as [`crate::crypto::primary`] describes them, from `candidates`; bases of the Miller-Rabin test from `witnesses`.
pub(super) fn generate(
    bits: u16,
    exponent: u32,
    candidates: &mut dyn Rng,
    witnesses: &mut dyn Rng,
) -> Result<RsaPrivate, Error> {
    if !has_key_bits(bits) || !is_exponent(exponent) {
        return Err(Error::Key);
    }
    let e = if exponent == 0 { DEFAULT_EXPONENT } else { exponent };
    let limbs = usize::from(bits) / 128;
    let p = find_prime(limbs, e, None, candidates, witnesses)?;
    let q = find_prime(limbs, e, Some(&p), candidates, witnesses)?;
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
) -> Result<Prime, Error> {
    let mut prime = Prime::new([0; MAX_PRIME_LIMBS]);
    for _ in 0..DRAWS {
        let value = prime.get_mut(..limbs).ok_or(Error::Length)?;
        draw(value, candidates)?;
        if search(value, e, witnesses)? && other.is_none_or(|other| far_apart(value, cut(&**other, limbs))) {
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

/// Advances `value` to the first good prime of the candidates from it. `false` if there is none, or it would get longer.
fn search(value: &mut [u64], e: u32, witnesses: &mut dyn Rng) -> Result<bool, Error> {
    let mut sieve = Sieve::new(value, e);
    for _ in 0..CANDIDATES {
        if sieve.passes() && is_prime(value, witnesses)? {
            return Ok(true);
        }
        sieve.advance();
        if num::add_word(value, u64::from(STEP)) != 0 {
            return Ok(false);
        }
    }
    Ok(false)
}

/// The residues of a candidate modulo the small primes, 3 and e. Each candidate costs a pass over the first of them, and one over all others if it
/// passes, so that no address depends on a residue.
struct Sieve {
    first: Zeroizing<[u16; FIRST_PRIMES]>,
    /// Of the candidate that was `behind` before this one.
    others: Zeroizing<[u16; SIEVE_PRIMES - FIRST_PRIMES]>,
    behind: u16,
    mod_3: u64,
    mod_e: u64,
    e: SmallModulus,
}

impl Sieve {
    fn new(start: &[u64], e: u32) -> Self {
        let mut first = Zeroizing::new([0; FIRST_PRIMES]);
        let mut others = Zeroizing::new([0; SIEVE_PRIMES - FIRST_PRIMES]);
        // Modulo two primes at a time first, which is a division less.
        let pairs = first.as_chunks_mut().0.iter_mut().chain(others.as_chunks_mut().0);
        for ([one, other], [p, q]) in pairs.zip(SMALL_PRIMES.as_chunks().0) {
            let (p, q) = (u32::from(*p), u32::from(*q));
            let residue = SmallModulus::new(p.wrapping_mul(q)).reduce_number(start);
            *one = low_half(SmallModulus::new(p).reduce(residue));
            *other = low_half(SmallModulus::new(q).reduce(residue));
        }
        let (three, e) = (SmallModulus::new(3), SmallModulus::new(e));
        Self { first, others, behind: 0, mod_3: three.reduce_number(start), mod_e: e.reduce_number(start), e }
    }

    /// Whether no small prime divides the candidate, nor e divides the candidate − 1.
    fn passes(&mut self) -> bool {
        self.mod_3 != 0 && self.mod_e != 1 && none_is_zero(&*self.first) && {
            self.catch_up();
            none_is_zero(&*self.others)
        }
    }

    /// To the next candidate.
    fn advance(&mut self) {
        for (residue, &prime) in self.first.iter_mut().zip(&SMALL_PRIMES) {
            *residue = add(*residue, STEP, prime);
        }
        self.behind = self.behind.wrapping_add(STEP);
        if self.behind >= LEAP {
            self.catch_up();
        }
        self.mod_3 = SmallModulus::new(3).reduce(self.mod_3.wrapping_add(STEP.into()));
        self.mod_e = self.e.reduce(self.mod_e.wrapping_add(STEP.into()));
    }

    /// Brings the other residues to the candidate.
    fn catch_up(&mut self) {
        let (_, primes) = SMALL_PRIMES.split_at(FIRST_PRIMES);
        for (residue, &prime) in self.others.iter_mut().zip(primes) {
            *residue = add(*residue, self.behind, prime);
        }
        self.behind = 0;
    }
}

/// (residue + distance) mod prime, for a distance below the prime.
fn add(residue: u16, distance: u16, prime: u16) -> u16 {
    // What the residue lacks to the prime is from 1 to the prime.
    let lack = prime.wrapping_sub(residue);
    let wraps = u16::from(lack <= distance).wrapping_neg();
    residue.wrapping_add(distance).wrapping_sub(prime & wraps)
}

fn none_is_zero(residues: &[u16]) -> bool {
    residues.iter().fold(0_u16, |divided, &residue| divided | u16::from(residue == 0)) == 0
}

/// Miller-Rabin: base 2, then as many random bases as FIPS 186-5, table B.1, asks for, or more. The error for random candidates is
/// p(k, t) < k^(3/2) · 2^t · t^(-1/2) · 4^(2 − √(tk)) (Damgård, Landrock, Pomerance), without base 2: 2^-120 for 1024 bits and 5 bases,
/// 2^-133 for 1536 bits and 4.
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

/// Whether a word is prime, by trial division: for public exponents.
pub(super) fn is_prime_word(word: u32) -> bool {
    let word = u64::from(word);
    let no_divisor = |divisor: u64| !word.is_multiple_of(divisor);
    word == 2
        || word > 2
            && no_divisor(2)
            && (3..1_u64 << 16).step_by(2).take_while(|d| d.wrapping_mul(*d) <= word).all(no_divisor)
}

fn cut(limbs: &[u64], len: usize) -> &[u64] {
    limbs.get(..len).unwrap_or_default()
}

/// A residue modulo a prime below 2^16.
fn low_half(residue: u64) -> u16 {
    u16::try_from(residue).unwrap_or(0)
}
