//! `keys COUNT`: statistics of the RSA keys that the engine makes, as an attacker would look at them.
//!
//! COUNT primary keys of 1024 bits, each from a seed of its own. What the looks are for: CVE-2021-3505 (primes that are
//! too few), keys that share a factor, ROCA (CVE-2017-15361: primes of a form), and the conditions of FIPS 186-5,
//! A.1.3.

use anyhow::{Context, Result, ensure};
use crypto_bigint::U512;
use crypto_primes::{Flavor, is_prime};
use num_bigint::BigUint;
use num_integer::Integer;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::{env, thread};
use tpm_crypto::primary::{Derivation, VERSION};

const BITS: u16 = 1024;
const PRIME_BITS: u64 = 512;
const EXPONENT: u32 = 65537;
/// The template's digest, for which any value will do.
const TEMPLATE: [u8; 32] = [0x51; 32];
/// A chi-squared value this many standard deviations above its mean is no chance: of 10^8 good generators one.
const FAR: f64 = 6.0;

/// A key, as numbers.
struct Key {
    n: BigUint,
    p: BigUint,
    q: BigUint,
}

fn make(number: u64) -> Result<Key> {
    let mut seed = [0; 64];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let derivation = Derivation::new(VERSION, &seed, &TEMPLATE).ok().context("no derivation")?;
    let key = derivation.rsa(BITS, 0).ok().context("no key")?;
    let mut n = [0; 512];
    let n = BigUint::from_bytes_be(key.public().modulus(&mut n).ok().context("no modulus")?);
    let p = BigUint::from_bytes_be(key.prime().as_slice());
    ensure!(&n % &p == BigUint::ZERO, "p does not divide n");
    ensure!(key.public().exponent() == EXPONENT, "another exponent");
    let q = &n / &p;
    Ok(Key { n, p, q })
}

/// Keys 0 to `count`, made by as many threads as there are processors.
fn make_all(count: u64) -> Result<Vec<Key>> {
    let threads = thread::available_parallelism()?.get();
    let parts: Vec<Result<Vec<Key>>> = thread::scope(|scope| {
        let part = |first: u64| scope.spawn(move || (first..count).step_by(threads).map(make).collect());
        let running: Vec<_> = (0..threads as u64).map(part).collect();
        running.into_iter().map(|part| part.join().expect("no panic")).collect()
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Findings, each a line.
#[derive(Default)]
struct Report {
    bad: usize,
    /// the most uneven of what is to be even, in standard deviations
    far: f64,
}

impl Report {
    fn line(&mut self, what: &str, found: &str, good: bool) {
        println!("{:<74} {found:<34} {}", what, if good { "ok" } else { "BAD" });
        self.bad += usize::from(!good);
    }

    /// How far the counts are from equal ones, in standard deviations of chi-squared.
    fn even(&mut self, what: &str, counts: &[usize]) {
        let far = distance(counts);
        self.far = self.far.max(far);
        self.line(what, &format!("chi-squared {far:+.2} sd from its mean"), far < FAR);
    }

    /// The most distant one of several distributions.
    fn all_even<'a>(&mut self, what: &str, counts: impl IntoIterator<Item = &'a Vec<usize>>) {
        let far = counts.into_iter().map(|counts| distance(counts)).fold(f64::MIN, f64::max);
        self.far = self.far.max(far);
        self.line(what, &format!("largest chi-squared {far:+.2} sd"), far < FAR);
    }
}

fn distance(counts: &[usize]) -> f64 {
    let total: usize = counts.iter().sum();
    let expected = total as f64 / counts.len() as f64;
    let chi: f64 = counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum();
    let freedom = (counts.len() - 1) as f64;
    (chi - freedom) / (2.0 * freedom).sqrt()
}

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let count = env::args().nth(1).context("keys COUNT")?.parse()?;
    let keys = make_all(count)?;
    let primes: Vec<&BigUint> = keys.iter().flat_map(|key| [&key.p, &key.q]).collect();
    let mut report = Report::default();
    report.line(
        "keys of 1024 bits, e = 65537, from as many seeds",
        &keys.len().to_string(),
        keys.len() as u64 == count,
    );
    let shared = factors(&keys, &primes, &mut report);
    let nearest = conditions(&keys, &primes, &mut report);
    distributions(&primes, &mut report);
    let fingerprint = Fingerprint::new();
    let found = keys.iter().filter(|key| fingerprint.is_of(&key.n)).count();
    report.line(
        "ROCA: moduli in the group of 65537 modulo every prime up to 167",
        &format!("{found} keys"),
        found == 0,
    );
    println!(
        "{shared} with a factor in common, {found} of ROCA's form, p and q at least 2^{} apart; bits and residues at \
         most {:+.1} standard deviations from even, of {FAR}",
        nearest.saturating_sub(1),
        report.far
    );
    Ok(if report.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many keys share a factor with another.
fn factors(keys: &[Key], primes: &[&BigUint], report: &mut Report) -> usize {
    let prime = primes.iter().filter(|prime| is_prime(Flavor::Any, &fixed(prime))).count();
    report.line(
        "factors that are prime, says another library",
        &format!("{prime} of {}", primes.len()),
        prime == primes.len(),
    );
    // Of primes, to be different is to have no common factor.
    let distinct = primes.iter().collect::<BTreeSet<_>>().len();
    report.line(
        "different primes: no two keys share a factor",
        &format!("{distinct} of {}", primes.len()),
        distinct == primes.len(),
    );
    let shared = batch_gcd(&keys.iter().map(|key| key.n.clone()).collect::<Vec<_>>());
    report.line("moduli with a factor in common with the product of all others", &shared.to_string(), shared == 0);
    shared
}

fn fixed(prime: &BigUint) -> U512 {
    let mut bytes = [0; 64];
    let digits = prime.to_bytes_be();
    bytes[64 - digits.len()..].copy_from_slice(&digits);
    U512::from_be_slice(&bytes)
}

/// How many moduli have a factor in common with another, as those would look for it who have only the moduli.
fn batch_gcd(moduli: &[BigUint]) -> usize {
    let one = BigUint::from(1_u32);
    let blocks: Vec<BigUint> = moduli.chunks(64).map(|block| block.iter().product()).collect();
    let shares = |n: &BigUint| {
        // All moduli multiplied are n times the others; modulo n^2, so that dividing by n leaves the others modulo n.
        let square = n * n;
        let all = blocks.iter().fold(one.clone(), |product, block| product * (block % &square) % &square);
        (all / n).gcd(n) != one
    };
    moduli.iter().filter(|n| shares(n)).count()
}

/// The least length of a difference of two factors, in bits.
fn conditions(keys: &[Key], primes: &[&BigUint], report: &mut Report) -> u64 {
    let full = keys.iter().filter(|key| key.n.bits() == u64::from(BITS)).count();
    report.line("moduli of full length", &full.to_string(), full == keys.len());
    let size = primes.iter().filter(|p| p.bits() == PRIME_BITS && p.bit(PRIME_BITS - 2)).count();
    report.line("primes of full length with the two highest bits set", &size.to_string(), size == primes.len());
    let coprime = primes.iter().filter(|p| **p % EXPONENT != BigUint::from(1_u32)).count();
    report.line("primes that do not leave 1 modulo e", &coprime.to_string(), coprime == primes.len());
    let difference = |key: &Key| if key.p > key.q { &key.p - &key.q } else { &key.q - &key.p };
    let nearest = keys.iter().map(|key| difference(key).bits()).min().unwrap_or(0);
    report.line(
        "|p - q|, the least",
        &format!("{nearest} bits; above {}", PRIME_BITS - 100),
        nearest > PRIME_BITS - 100,
    );
    nearest
}

fn distributions(primes: &[&BigUint], report: &mut Report) {
    let field = |low: u64| {
        let mut counts = vec![0; 16];
        for prime in primes {
            counts[(0..4).filter(|bit| prime.bit(low + bit)).map(|bit| 1 << bit).sum::<usize>()] += 1;
        }
        counts
    };
    report.even("the four bits below the two highest", &field(PRIME_BITS - 6));
    report.even("the four bits above the two lowest", &field(2));
    let fields: Vec<Vec<usize>> = (2..PRIME_BITS - 6).step_by(4).map(field).collect();
    report.all_even("every four bits between", &fields);
    let larger = primes.chunks(2).filter(|key| key[0] > key[1]).count();
    report.even("p larger than q, or smaller", &[larger, primes.len() / 2 - larger]);
    let residues: Vec<Vec<usize>> = odd_primes(200)
        .map(|r| {
            let mut counts = vec![0; r as usize - 1];
            primes.iter().for_each(|prime| counts[residue(prime, r) as usize - 1] += 1);
            counts
        })
        .collect();
    report.all_even("residues modulo every odd prime below 200", &residues);
}

fn odd_primes(below: u32) -> impl Iterator<Item = u32> {
    (3..below).filter(|n| (2..*n).all(|d| n % d != 0))
}

fn residue(number: &BigUint, modulus: u32) -> u32 {
    u32::try_from(number % modulus).unwrap_or(0)
}

/// What moduli of ROCA's form leave modulo small primes: primes are k·M + (65537^a mod M) there, M a primorial, so that
/// every modulus is a power of 65537 modulo each prime of M.
struct Fingerprint(Vec<(u32, BTreeSet<u32>)>);

impl Fingerprint {
    fn new() -> Self {
        let group = |r: u32| {
            let mut powers = BTreeSet::from([1]);
            let mut power = EXPONENT % r;
            while powers.insert(power) {
                power = power * (EXPONENT % r) % r;
            }
            (r, powers)
        };
        Self(odd_primes(168).map(group).collect())
    }

    fn is_of(&self, n: &BigUint) -> bool {
        self.0.iter().all(|(r, group)| group.contains(&residue(n, *r)))
    }
}

#[cfg(test)]
mod tests {
    use super::{EXPONENT, FAR, Fingerprint, batch_gcd, distance, make, odd_primes};
    use num_bigint::BigUint;

    #[test]
    fn a_modulus_of_rocas_form_is_found_and_ours_is_not() {
        let primorial: BigUint = odd_primes(168).fold(BigUint::from(2_u32), |m, r| m * r);
        let prime = |a: u32, k: u32| BigUint::from(EXPONENT).modpow(&a.into(), &primorial) + &primorial * k;
        let fingerprint = Fingerprint::new();
        assert!(fingerprint.is_of(&(prime(12_345, 77) * prime(999, 123))));
        assert!(!fingerprint.is_of(&make(1).unwrap().n));
    }

    #[test]
    fn a_shared_factor_is_found() {
        let (a, b, c) = (make(1).unwrap(), make(2).unwrap(), make(3).unwrap());
        assert_eq!(batch_gcd(&[a.n.clone(), b.n.clone(), c.n.clone()]), 0);
        assert_eq!(batch_gcd(&[a.n, &b.p * &c.q, b.n]), 2);
    }

    #[test]
    fn a_bias_is_found() {
        assert!(distance(&[1000, 1010, 990, 1000]) < 1.0);
        assert!(distance(&[1000, 1300, 700, 1000]) > FAR);
    }
}
