//! The keys and the raw operations.

use crypto_bigint::{Odd, Uint};
use zeroize::Zeroizing;

use super::exponent::{DEFAULT_EXPONENT, is_exponent};
use super::monty::{MAX_BLOCKS, MAX_LIMBS, Monty};
use crate::num::{self, LIMB, SmallModulus};
use crate::secret::Secret;
use crate::{Error, Rng};

/// The longest modulus, in bytes.
pub const MAX_BYTES: usize = MAX_LIMBS * LIMB;
/// The longest prime, in bytes.
pub const MAX_PRIME_BYTES: usize = MAX_BYTES / 2;

/// The limbs of the longest prime.
pub(super) const MAX_PRIME_LIMBS: usize = MAX_LIMBS / 2;
/// The blocks of the longest prime.
pub(super) const MAX_PRIME_BLOCKS: usize = MAX_BLOCKS / 2;

/// Whether keys of this many bits exist here.
#[must_use]
pub const fn has_key_bits(bits: u16) -> bool {
    matches!(bits, 1024 | 2048 | 3072 | 4096)
}

/// A public key: modulus and exponent.
#[derive(Clone)]
pub struct RsaPublic {
    pub(super) n: [u64; MAX_LIMBS],
    /// How many limbs are used.
    pub(super) limbs: usize,
    pub(super) e: u32,
}

impl RsaPublic {
    /// A public key from outside: the modulus big-endian, exponent 0 for 65537.
    ///
    /// # Errors
    /// `Error::Key` for a modulus of another size than ours, one with its top bit clear or an even one, and for an
    /// exponent that [`is_exponent`] refuses.
    pub fn new(modulus: &[u8], exponent: u32) -> Result<Self, Error> {
        let bits = u16::try_from(modulus.len().saturating_mul(8)).map_err(|_| Error::Key)?;
        let shaped =
            modulus.first().is_some_and(|byte| byte >> 7 == 1) && modulus.last().is_some_and(|byte| byte & 1 == 1);
        if !has_key_bits(bits) || !shaped || !is_exponent(exponent) {
            return Err(Error::Key);
        }
        let mut n = [0; MAX_LIMBS];
        num::from_be_bytes(modulus, &mut n)?;
        Ok(Self { n, limbs: modulus.len() / LIMB, e: if exponent == 0 { DEFAULT_EXPONENT } else { exponent } })
    }

    /// The length of the modulus, of signatures and of ciphertexts in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.limbs.saturating_mul(LIMB)
    }

    /// The public exponent; never 0.
    #[must_use]
    pub const fn exponent(&self) -> u32 {
        self.e
    }

    /// Writes the modulus, big-endian, into the first [`RsaPublic::size`] bytes of `out`, which it returns.
    ///
    /// # Errors
    /// `Error::Length` if `out` is too short.
    pub fn modulus<'a>(&self, out: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let out = out.get_mut(..self.size()).ok_or(Error::Length)?;
        num::to_be_bytes(self.n(), out);
        Ok(out)
    }

    /// The public operation, block^e mod n, in place (RSAEP and RSAVP1; TPM2_RSA_Encrypt without padding).
    ///
    /// # Errors
    /// `Error::Length` if `block` is not as long as the modulus, `Error::Range` if it is not below it.
    pub fn raw(&self, block: &mut [u8]) -> Result<(), Error> {
        let mut value = [0; MAX_LIMBS];
        let value = self.read(block, &mut value)?;
        self.power(value);
        num::to_be_bytes(value, block);
        Ok(())
    }

    fn n(&self) -> &[u64] {
        self.n.get(..self.limbs).unwrap_or_default()
    }

    /// Reads a block into `value`: a number below n.
    fn read<'a>(&self, block: &[u8], value: &'a mut [u64; MAX_LIMBS]) -> Result<&'a mut [u64], Error> {
        let value = value.get_mut(..self.limbs).filter(|_| block.len() == self.size()).ok_or(Error::Length)?;
        num::from_be_bytes(block, value)?;
        if num::less(value, self.n()) == 1 { Ok(value) } else { Err(Error::Range) }
    }

    /// value = value^e mod n
    fn power(&self, value: &mut [u64]) {
        // What is made, moved and wiped is half as much for a modulus that has as many blocks as the longest prime.
        if self.limbs <= MAX_PRIME_LIMBS {
            Monty::<MAX_PRIME_BLOCKS>::new(self.n()).power_public(value, self.e);
        } else {
            Monty::<MAX_BLOCKS>::new(self.n()).power_public(value, self.e);
        }
    }
}

/// A private key: its public key, two primes and the values for the Chinese remainder theorem. Wiped when dropped.
pub struct RsaPrivate {
    public: RsaPublic,
    p: Factor,
    q: Factor,
    /// q^-1 mod p
    q_inverse: Prime,
}

pub(super) type Prime = Zeroizing<[u64; MAX_PRIME_LIMBS]>;

/// A prime and e^-1 mod (prime − 1).
struct Factor {
    prime: Prime,
    exponent: Prime,
    limbs: usize,
}

impl RsaPrivate {
    /// A private key from its public key and one prime, as a TPM keeps it (Part 1, Annex B;
    /// TPMU_SENSITIVE_COMPOSITE.rsa).
    ///
    /// That the factors are prime is not tested.
    ///
    /// # Errors
    /// `Error::Key` unless `prime` has half the length of the modulus, its top bit set, and divides it; or if no
    /// private exponent exists.
    pub fn new(public: &RsaPublic, prime: &[u8]) -> Result<Self, Error> {
        let limbs = public.limbs / 2;
        let mut p = Prime::new([0; MAX_PRIME_LIMBS]);
        if prime.len() != limbs.saturating_mul(LIMB) {
            return Err(Error::Key);
        }
        num::from_be_bytes(prime, &mut *p)?;
        let q = other_factor(public, &p)?;
        Self::from_factors(public.clone(), p, q)
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &RsaPublic {
        &self.public
    }

    /// One prime, p, from which [`RsaPrivate::new`] makes the key again; half the modulus' length.
    #[must_use]
    pub fn prime(&self) -> Secret<MAX_PRIME_BYTES> {
        let mut prime = Secret::zeroed(self.public.size() / 2).unwrap_or_default();
        num::to_be_bytes(&*self.p.prime, prime.as_mut_slice());
        prime
    }

    /// The private operation, block^d mod n, in place (RSADP and RSASP1), blinded by `rng`. A result that the public
    /// key does not confirm is withheld.
    ///
    /// # Errors
    /// `Error::Length` if `block` is not as long as the modulus, `Error::Range` if it is not below it, `Error::Fault`
    /// if the result was wrong, `Error::Reseed` from `rng`. `block` is then unchanged.
    pub fn raw(&self, rng: &mut dyn Rng, block: &mut [u8]) -> Result<(), Error> {
        let mut input = Zeroizing::new([0; MAX_LIMBS]);
        let input = &*self.public.read(block, &mut input)?;
        let (mod_p, mod_q) = (self.p.power(input, self.public.e, rng)?, self.q.power(input, self.public.e, rng)?);
        let mut output = Zeroizing::new([0; MAX_LIMBS]);
        let output = output.get_mut(..self.public.limbs).ok_or(Error::Length)?;
        self.recombine(&mod_p, &mod_q, output);

        let mut check = Zeroizing::new([0; MAX_LIMBS]);
        let check = check.get_mut(..self.public.limbs).ok_or(Error::Length)?;
        num::copy(check, output);
        self.public.power(check);
        if num::equal(check, input) == 0 {
            return Err(Error::Fault);
        }
        num::to_be_bytes(output, block);
        Ok(())
    }

    /// out = mod_q + q · ((mod_p − mod_q) · q^-1 mod p)  (Garner)
    fn recombine(&self, mod_p: &Prime, mod_q: &Prime, out: &mut [u64]) {
        let limbs = self.p.limbs;
        let (p, mod_q) = (self.p.prime(), cut(&**mod_q, limbs));
        let mut reduced = Prime::new([0; MAX_PRIME_LIMBS]);
        let reduced = cut_mut(&mut *reduced, limbs);
        // q < 2p, as both have the same length.
        num::copy(reduced, mod_q);
        num::reduce_once(reduced, 0, p);
        let mut h = Prime::new(**mod_p);
        let h = cut_mut(&mut *h, limbs);
        let borrow = num::sub_masked(h, reduced, u64::MAX);
        num::add_masked(h, p, num::mask(borrow));
        let mut monty = Monty::<MAX_PRIME_BLOCKS>::new(p);
        let mut product = monty.enter(h);
        let q_inverse = monty.residue(cut(&*self.q_inverse, limbs));
        monty.multiply(&mut product, &q_inverse);
        monty.write(&product, h);
        num::multiply(self.q.prime(), h, out);
        let carry = num::add_masked(cut_mut(out, limbs), mod_q, u64::MAX);
        num::add_word(out.get_mut(limbs..).unwrap_or_default(), carry);
    }

    /// The key from its factors, which must differ and multiply to the modulus.
    pub(super) fn from_factors(public: RsaPublic, p: Prime, q: Prime) -> Result<Self, Error> {
        let limbs = public.limbs / 2;
        let q_inverse = match limbs {
            8 => invert::<8>(&q, &p),
            16 => invert::<16>(&q, &p),
            24 => invert::<24>(&q, &p),
            _ => invert::<32>(&q, &p),
        };
        let q_inverse = q_inverse.ok_or(Error::Key)?;
        let (p, q) = (Factor::new(p, limbs, public.e)?, Factor::new(q, limbs, public.e)?);
        Ok(Self { public, p, q, q_inverse })
    }
}

impl Factor {
    /// Computes e^-1 mod (prime − 1) = (1 + k (prime − 1)) / e, where k = −(prime − 1)^-1 mod e; e is prime.
    fn new(prime: Prime, limbs: usize, e: u32) -> Result<Self, Error> {
        let modulus = SmallModulus::new(e);
        let e = u64::from(e);
        let residue = modulus.reduce(modulus.reduce_number(cut(&*prime, limbs)).wrapping_add(e).wrapping_sub(1));
        if residue == 0 {
            return Err(Error::Key);
        }
        let k = e.wrapping_sub(modulus.power(residue, e.wrapping_sub(2)));
        let mut less_one = prime.clone();
        num::sub_masked(&mut *less_one, &[1], u64::MAX);
        let mut numerator = Zeroizing::new([0; MAX_PRIME_LIMBS + 1]);
        let carry = num::mul_add_row(&mut *numerator, cut(&*less_one, limbs), k);
        if let Some(top) = numerator.get_mut(limbs) {
            *top = carry;
        }
        num::add_word(&mut *numerator, 1);
        let mut exponent = Prime::new([0; MAX_PRIME_LIMBS]);
        num::divide_exact(cut_mut(&mut *numerator, limbs.saturating_add(1)), &[e], cut_mut(&mut *exponent, limbs));
        Ok(Self { prime, exponent, limbs })
    }

    fn prime(&self) -> &[u64] {
        cut(&*self.prime, self.limbs)
    }

    /// input^d mod prime, blinded without an inversion: with a random r and ρ = r^(e−1), the exponentiation sees (input
    /// · r · ρ)^(d−1), which is input^(d−1) · ρ^-1 because r^(ed) = r. Multiplied by input · ρ it is input^d.
    fn power(&self, input: &[u64], e: u32, rng: &mut dyn Rng) -> Result<Prime, Error> {
        let mut monty = Monty::<MAX_PRIME_BLOCKS>::new(self.prime());
        let random = self.random(rng)?;
        let mut blinded = monty.residue(cut(&*random, self.limbs));
        let mut factor = blinded.clone();
        monty.power_word(&mut factor, e.wrapping_sub(1));

        let mut value = monty.reduce_wide(input);
        monty.raise(&mut value);
        monty.raise(&mut value);
        monty.multiply(&mut value, &factor);
        monty.multiply(&mut blinded, &value);

        let mut exponent = self.exponent.clone();
        num::sub_masked(&mut *exponent, &[1], u64::MAX);
        monty.power(&mut blinded, cut(&*exponent, self.limbs));
        monty.multiply(&mut value, &blinded);
        let mut result = Prime::new([0; MAX_PRIME_LIMBS]);
        monty.leave(&value, cut_mut(&mut *result, self.limbs));
        Ok(result)
    }

    /// A random number from 1 up, below the prime: its highest bit is clear, its lowest is set.
    fn random(&self, rng: &mut dyn Rng) -> Result<Prime, Error> {
        let mut bytes = Secret::<MAX_PRIME_BYTES>::zeroed(self.limbs.saturating_mul(LIMB))?;
        rng.fill(bytes.as_mut_slice())?;
        if let [first, .., last] = bytes.as_mut_slice() {
            *first &= 0x7F;
            *last |= 1;
        }
        let mut random = Prime::new([0; MAX_PRIME_LIMBS]);
        num::from_be_bytes(bytes.as_slice(), &mut *random)?;
        Ok(random)
    }
}

/// n / p, if p divides n and both have half the bits of n.
fn other_factor(public: &RsaPublic, p: &Prime) -> Result<Prime, Error> {
    let limbs = public.limbs / 2;
    let mut q = Prime::new([0; MAX_PRIME_LIMBS]);
    let mut low = Zeroizing::new(public.n);
    num::divide_exact(cut_mut(&mut *low, limbs), cut(&**p, limbs), cut_mut(&mut *q, limbs));
    let mut product = Zeroizing::new([0; MAX_LIMBS]);
    let product = cut_mut(&mut *product, public.limbs);
    num::multiply(cut(&**p, limbs), cut(&*q, limbs), product);
    let high = |factor: &Prime| factor.get(limbs.wrapping_sub(1)).map_or(0, |limb| limb >> 63);
    if num::equal(product, public.n()) & high(p) & high(&q) == 1 { Ok(q) } else { Err(Error::Key) }
}

/// a^-1 mod m
fn invert<const N: usize>(a: &Prime, m: &Prime) -> Option<Prime> {
    let read = |from: &Prime| Some(Zeroizing::new(Uint::<N>::from_words(*from.first_chunk()?)));
    let (a, m) = (read(a)?, read(m)?);
    let m = Zeroizing::new(Option::<Odd<Uint<N>>>::from(Odd::new(*m))?);
    let inverse = Zeroizing::new(Option::<Uint<N>>::from(a.invert_odd_mod(&m))?);
    let mut out = Prime::new([0; MAX_PRIME_LIMBS]);
    num::copy(&mut *out, inverse.as_words());
    Some(out)
}

fn cut(limbs: &[u64], len: usize) -> &[u64] {
    limbs.get(..len).unwrap_or_default()
}

fn cut_mut(limbs: &mut [u64], len: usize) -> &mut [u64] {
    limbs.get_mut(..len).unwrap_or_default()
}
