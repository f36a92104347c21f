//! The prime search and key generation (FIPS 186-5, A.1.3, with an incremental search), in constant time with respect to the prime that is found:
//! the time and the addresses used depend on the rejected candidates before it.
//!
//! Primes are 3 modulo 4. The Miller-Rabin test is then one exponentiation to (p − 1)/2 with a result of ±1, without steps that depend on how
//! often 2 divides p − 1. The condition costs one bit of some thousand.

use zeroize::Zeroizing;

use super::monty::Monty;
use super::{
    DEFAULT_EXPONENT, Error, MAX_LIMBS, MAX_PRIME_BYTES, MAX_PRIME_LIMBS, Prime, Rng, RsaPrivate, RsaPublic,
    has_key_bits, is_exponent,
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
const SIEVE_BOUND: usize = 1 << 15;
/// π(2^15) − 2: all odd primes below the bound but 3.
const SIEVE_PRIMES: usize = 3510;
/// The small primes from 5 up.
static SMALL_PRIMES: [u16; SIEVE_PRIMES] = small_primes();

#[expect(clippy::cast_possible_truncation, reason = "n is below 2^15; no other conversion is const")]
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

/// The residues of a candidate modulo the small primes, 3 and e. Each candidate costs a pass over all of them, so that no address depends on a residue.
struct Sieve {
    residues: Zeroizing<[u16; SIEVE_PRIMES]>,
    mod_3: u64,
    mod_e: u64,
    e: SmallModulus,
}

impl Sieve {
    fn new(start: &[u64], e: u32) -> Self {
        let mut residues = Zeroizing::new([0; SIEVE_PRIMES]);
        for (residue, &prime) in residues.iter_mut().zip(&SMALL_PRIMES) {
            *residue = low_half(SmallModulus::new(u32::from(prime)).reduce_number(start));
        }
        let (three, e) = (SmallModulus::new(3), SmallModulus::new(e));
        Self { residues, mod_3: three.reduce_number(start), mod_e: e.reduce_number(start), e }
    }

    /// Whether no small prime divides the candidate, nor e divides the candidate − 1.
    fn passes(&self) -> bool {
        let divided = self.residues.iter().fold(0_u16, |divided, &residue| divided | u16::from(residue == 0));
        divided == 0 && self.mod_3 != 0 && self.mod_e != 1
    }

    /// To the next candidate.
    fn advance(&mut self) {
        for (residue, &prime) in self.residues.iter_mut().zip(&SMALL_PRIMES) {
            let next = residue.wrapping_add(STEP);
            // The smaller one of next and next − prime, which wraps if next is below prime.
            *residue = next.min(next.wrapping_sub(prime));
        }
        self.mod_3 = SmallModulus::new(3).reduce(self.mod_3.wrapping_add(STEP.into()));
        self.mod_e = self.e.reduce(self.mod_e.wrapping_add(STEP.into()));
    }
}

/// Miller-Rabin: base 2, then as many random bases as make the error less than 2^-128 for random candidates (Damgård, Landrock, Pomerance:
/// p(k, t) < k^(3/2) · 2^t · t^(-1/2) · 4^(2 − √(tk)), with k² to spare for the incremental search).
fn is_prime(candidate: &[u64], witnesses: &mut dyn Rng) -> Result<bool, Error> {
    let rounds = if candidate.len() <= 8 { 16 } else { 8 };
    let mut monty = Monty::<MAX_PRIME_LIMBS>::new(candidate);
    let mut half = Prime::new([0; MAX_PRIME_LIMBS]);
    let half = half.get_mut(..candidate.len()).unwrap_or_default();
    num::copy(half, candidate);
    num::halve(half);

    let mut base = Prime::new([0; MAX_PRIME_LIMBS]);
    let base = base.get_mut(..candidate.len()).unwrap_or_default();
    monty.power_of_two(base, half);
    if !is_root_of_one(&monty, base) {
        return Ok(false);
    }
    for _ in 0..rounds {
        draw(base, witnesses)?;
        // Below the candidate, whose highest bit is set. A random number in Montgomery form is as random as outside it.
        num::halve(base);
        monty.power(base, half);
        if !is_root_of_one(&monty, base) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether `value` is 1 or −1 in Montgomery form.
fn is_root_of_one<const CAP: usize>(monty: &Monty<CAP>, value: &mut [u64]) -> bool {
    let one = num::equal(value, monty.one());
    num::add_masked(value, monty.one(), u64::MAX);
    one | num::equal(value, monty.modulus()) == 1
}

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
