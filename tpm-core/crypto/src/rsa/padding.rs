//! The paddings of PKCS #1 (RFC 8017) as the TPM uses them (Part 1, Annex B.4 to B.7).
//!
//! Encryption works on a block as long as the modulus. A decrypted block is checked in constant time, and all that may
//! be wrong with it is one error.

use zeroize::Zeroizing;

use super::key::{MAX_BYTES, RsaPrivate, RsaPublic};
use crate::bounded::from;
use crate::hash::{Digest, HashAlg, Hasher, MAX_DIGEST, digest};
use crate::num::{self, pad_left};
use crate::secret::Secret;
use crate::{Error, Rng};

/// Draws of a padding byte that must not be zero until the source counts as broken.
const DRAWS: usize = 64;

/// A decrypted message.
pub type Message = Secret<MAX_BYTES>;

/// A block as long as the modulus.
type Block = Secret<MAX_BYTES>;

/// A signature scheme (TPMI_ALG_RSA_SCHEME with its hash) over a digest of that hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignScheme {
    /// RSASSA-PKCS1-v1_5.
    Rsassa(HashAlg),
    /// RSASSA-PSS; the salt is as long as the digest, or as the room there is (Part 1, B.7; FIPS 186-5, 5.4 g).
    Rsapss(HashAlg),
}

/// An encryption scheme (TPMT_RSA_DECRYPT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CryptScheme<'a> {
    /// TPM_ALG_NULL: the message is a number below the modulus.
    Null,
    /// RSAES-PKCS1-v1_5.
    Rsaes,
    /// RSAES-OAEP with MGF1 of the same hash; the label includes its terminating zero, unless it is empty.
    Oaep(HashAlg, &'a [u8]),
}

impl RsaPrivate {
    /// Signs a digest; the signature is written to the first bytes of `out`, whose number is the modulus' length.
    ///
    /// # Errors
    /// `Error::Length` if the digest has not its hash's length, the key is too short for it, or `out` for the
    /// signature; `Error::Fault` and `Error::Reseed` as [`RsaPrivate::raw`].
    pub fn sign(&self, rng: &mut dyn Rng, scheme: SignScheme, digest: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let size = self.public().size();
        let block = out.get_mut(..size).ok_or(Error::Length)?;
        match scheme {
            SignScheme::Rsassa(hash) => encode_rsassa(hash, digest, block)?,
            SignScheme::Rsapss(hash) => encode_pss(hash, digest, rng, block)?,
        }
        self.raw(rng, block)?;
        Ok(size)
    }

    /// Decrypts a ciphertext of the modulus' length. For [`CryptScheme::Null`] the message has the modulus' length.
    ///
    /// # Errors
    /// `Error::Length` or `Error::Range` for a ciphertext that is not a number below n in full length;
    /// `Error::Invalid` for whatever is wrong with the padding; `Error::Fault` and `Error::Reseed` as
    /// [`RsaPrivate::raw`].
    pub fn decrypt(&self, rng: &mut dyn Rng, scheme: CryptScheme<'_>, ciphertext: &[u8]) -> Result<Message, Error> {
        let mut block = Block::from_slice(ciphertext)?;
        self.raw(rng, block.as_mut_slice())?;
        match scheme {
            CryptScheme::Null => Ok(block),
            CryptScheme::Rsaes => decode_rsaes(block.as_slice()),
            CryptScheme::Oaep(hash, label) => decode_oaep(hash, label, block.as_mut_slice()),
        }
    }
}

impl RsaPublic {
    /// Verifies a signature of a digest. PSS salts may have any length.
    ///
    /// # Errors
    /// `Error::Invalid` if it does not verify, for whatever reason.
    pub fn verify(&self, scheme: SignScheme, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        let mut block = Block::from_slice(signature).map_err(|_| Error::Invalid)?;
        self.raw(block.as_mut_slice()).map_err(|_| Error::Invalid)?;
        let good = match scheme {
            SignScheme::Rsassa(hash) => check_rsassa(hash, digest, block.as_slice()),
            SignScheme::Rsapss(hash) => check_pss(hash, digest, block.as_mut_slice()),
        };
        if good.unwrap_or(false) { Ok(()) } else { Err(Error::Invalid) }
    }

    /// Encrypts a message; the ciphertext is written to the first bytes of `out`, whose number is the modulus' length.
    ///
    /// # Errors
    /// `Error::Length` if the message is too long for key and scheme, or `out` too short; `Error::Range` for
    /// [`CryptScheme::Null`] if the message, as a number, is not below the modulus; `Error::Reseed` from `rng`.
    pub fn encrypt(
        &self,
        rng: &mut dyn Rng,
        scheme: CryptScheme<'_>,
        message: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let block = out.get_mut(..self.size()).ok_or(Error::Length)?;
        match scheme {
            CryptScheme::Null => pad_left(message, block)?,
            CryptScheme::Rsaes => encode_rsaes(message, rng, block)?,
            CryptScheme::Oaep(hash, label) => encode_oaep(hash, label, message, rng, block)?,
        }
        self.raw(block)?;
        Ok(self.size())
    }
}

/// The DER of DigestInfo up to the digest itself (RFC 8017, 9.2, note 1).
const fn digest_info(hash: HashAlg) -> &'static [u8] {
    match hash {
        HashAlg::Sha1 => b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
        HashAlg::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        HashAlg::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        HashAlg::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        HashAlg::Sm3 => b"\x30\x30\x30\x0c\x06\x08\x2a\x81\x1c\xcf\x55\x01\x83\x11\x05\x00\x04\x20",
        HashAlg::Sha3_256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x08\x05\x00\x04\x20",
        HashAlg::Sha3_384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x09\x05\x00\x04\x30",
        HashAlg::Sha3_512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x0a\x05\x00\x04\x40",
    }
}

/// 00 01 FF … FF 00 DigestInfo (RFC 8017, 9.2), with at least eight FF.
fn encode_rsassa(hash: HashAlg, digest: &[u8], block: &mut [u8]) -> Result<(), Error> {
    let info = digest_info(hash);
    let padding = block.len().checked_sub(info.len() + digest.len()).filter(|&len| len >= 11).ok_or(Error::Length)?;
    if digest.len() != hash.digest_size() {
        return Err(Error::Length);
    }
    let (head, tail) = block.split_at_mut_checked(padding).ok_or(Error::Length)?;
    head.fill(0xFF);
    if let [zero, one, .., end] = head {
        (*zero, *one, *end) = (0, 1, 0);
    }
    tail.iter_mut().zip(info.iter().chain(digest)).for_each(|(to, from)| *to = *from);
    Ok(())
}

fn check_rsassa(hash: HashAlg, digest: &[u8], block: &[u8]) -> Result<bool, Error> {
    let mut expected = Block::zeroed(block.len())?;
    encode_rsassa(hash, digest, expected.as_mut_slice())?;
    Ok(expected.ct_eq(block))
}

/// Masked (0 … 0 01 salt), H, BC (RFC 8017, 9.1.1), H = hash(eight zeros ‖ digest ‖ salt). The block's highest bit is
/// clear, as the encoding has one bit less than the modulus.
fn encode_pss(hash: HashAlg, digest: &[u8], rng: &mut dyn Rng, block: &mut [u8]) -> Result<(), Error> {
    let mask_len = block.len().checked_sub(hash.digest_size() + 1).ok_or(Error::Length)?;
    if digest.len() != hash.digest_size() {
        return Err(Error::Length);
    }
    let mut salt = Secret::<MAX_DIGEST>::zeroed(mask_len.saturating_sub(1).min(hash.digest_size()))?;
    rng.fill(salt.as_mut_slice())?;
    let (masked, tail) = block.split_at_mut_checked(mask_len).ok_or(Error::Length)?;
    let h = pss_hash(hash, digest, salt.as_slice());
    pad_left(salt.as_slice(), masked)?;
    if let Some(one) = masked.iter_mut().rev().nth(salt.len()) {
        *one = 1;
    }
    mgf1_xor(hash, h.as_slice(), masked);
    if let Some(first) = masked.first_mut() {
        *first &= 0x7F;
    }
    tail.iter_mut().zip(h.as_slice().iter().chain(&[0xBC])).for_each(|(to, from)| *to = *from);
    Ok(())
}

/// RFC 8017, 9.1.2, with any length of salt. All of it is public.
fn check_pss(hash: HashAlg, digest: &[u8], block: &mut [u8]) -> Result<bool, Error> {
    let mask_len = block.len().checked_sub(hash.digest_size() + 1).ok_or(Error::Length)?;
    let (masked, tail) = block.split_at_mut_checked(mask_len).ok_or(Error::Length)?;
    let (trailer, h) = tail.split_last().ok_or(Error::Length)?;
    let top_clear = masked.first().is_some_and(|first| first >> 7 == 0);
    mgf1_xor(hash, h, masked);
    if let Some(first) = masked.first_mut() {
        *first &= 0x7F;
    }
    let one = masked.iter().position(|&byte| byte != 0).ok_or(Error::Invalid)?;
    let (one, salt) = masked.get(one..).and_then(<[u8]>::split_first).ok_or(Error::Invalid)?;
    let right = pss_hash(hash, digest, salt).as_slice() == h;
    Ok(right && top_clear && *one == 1 && *trailer == 0xBC && digest.len() == hash.digest_size())
}

fn pss_hash(hash: HashAlg, message: &[u8], salt: &[u8]) -> Digest {
    digest(hash, &[&[0; 8], message, salt])
}

/// 00 02 random 00 message (RFC 8017, 7.2.1); at least eight random bytes, none of them zero.
fn encode_rsaes(message: &[u8], rng: &mut dyn Rng, block: &mut [u8]) -> Result<(), Error> {
    let padding = block.len().checked_sub(message.len()).filter(|&len| len >= 11).ok_or(Error::Length)?;
    pad_left(message, block)?;
    let Some([zero, two, random @ .., end]) = block.get_mut(..padding) else {
        return Err(Error::Length);
    };
    rng.fill(random)?;
    for byte in random {
        let mut draws = 0;
        while *byte == 0 {
            rng.fill(core::slice::from_mut(byte))?;
            draws += 1;
            if draws > DRAWS {
                return Err(Error::Fault);
            }
        }
    }
    (*zero, *two, *end) = (0, 2, 0);
    Ok(())
}

/// RFC 8017, 7.2.2. The time does not depend on the block before the verdict, nor on why it is bad.
fn decode_rsaes(block: &[u8]) -> Result<Message, Error> {
    let Some(([zero, two], rest)) = block.split_first_chunk() else {
        return Err(Error::Length);
    };
    let mut good = byte_is(*zero, 0) & byte_is(*two, 2);
    let end = first_where(rest, |byte| byte_is(byte, 0));
    good &= end.found & num::less(&[7], &[end.index]);
    finish(good, rest, end.index)
}

/// 00, masked seed, masked (label hash, 0 … 0 01 message) (RFC 8017, 7.1.1).
fn encode_oaep(hash: HashAlg, label: &[u8], message: &[u8], rng: &mut dyn Rng, block: &mut [u8]) -> Result<(), Error> {
    let size = hash.digest_size();
    if block.len() < 2 * size + 2 + message.len() {
        return Err(Error::Length);
    }
    pad_left(message, block)?;
    if let Some(one) = block.iter_mut().rev().nth(message.len()) {
        *one = 1;
    }
    let Some((seed, db)) = block.get_mut(1..).and_then(|rest| rest.split_at_mut_checked(size)) else {
        return Err(Error::Length);
    };
    db.iter_mut().zip(digest(hash, &[label]).as_slice()).for_each(|(to, from)| *to = *from);
    rng.fill(seed)?;
    mgf1_xor(hash, seed, db);
    mgf1_xor(hash, db, seed);
    Ok(())
}

/// RFC 8017, 7.1.2. The time does not depend on the block before the verdict, nor on why it is bad (Manger's attack;
/// CVE-2026-6727).
fn decode_oaep(hash: HashAlg, label: &[u8], block: &mut [u8]) -> Result<Message, Error> {
    let size = hash.digest_size();
    if block.len() < 2 * size + 2 {
        return Err(Error::Length);
    }
    let Some((zero, rest)) = block.split_first_mut() else {
        return Err(Error::Length);
    };
    let (seed, db) = rest.split_at_mut_checked(size).ok_or(Error::Length)?;
    mgf1_xor(hash, db, seed);
    mgf1_xor(hash, seed, db);
    let (label_hash, rest) = db.split_at_checked(size).ok_or(Error::Length)?;
    let difference = label_hash.iter().zip(digest(hash, &[label]).as_slice()).fold(0, |all, (a, b)| all | (a ^ b));
    let one = first_where(rest, |byte| byte_is(byte, 0) ^ 1);
    let good = byte_is(*zero, 0) & byte_is(difference, 0) & one.found & byte_is(one.byte, 1);
    finish(good, rest, one.index)
}

/// The first byte that fulfils a condition.
struct First {
    /// 1 if there is one.
    found: u64,
    index: u64,
    byte: u8,
}

/// Finds the first byte for which `condition` is 1, looking at all of them.
fn first_where(bytes: &[u8], condition: impl Fn(u8) -> u64) -> First {
    let mut first = First { found: 0, index: 0, byte: 0 };
    for (index, &byte) in (0..).zip(bytes) {
        let hit = condition(byte) & (first.found ^ 1);
        let mask = num::mask(hit);
        first.index |= index & mask;
        first.byte |= byte & mask.to_le_bytes()[0];
        first.found |= hit;
    }
    first
}

/// 1 if the byte is `value`, else 0.
fn byte_is(byte: u8, value: u8) -> u64 {
    num::is_zero_word(u64::from(byte ^ value))
}

/// The message after `separator`, or the one error there is. The verdict is public, and after a good one the message's
/// length.
fn finish(good: u64, bytes: &[u8], separator: u64) -> Result<Message, Error> {
    if core::hint::black_box(good) != 1 {
        return Err(Error::Invalid);
    }
    let start = usize::try_from(separator.saturating_add(1)).map_err(|_| Error::Invalid)?;
    Ok(Message::from_slice(bytes.get(start..).unwrap_or_default())?)
}

/// XORs MGF1 of `seed` (RFC 8017, B.2.1) into `data`.
fn mgf1_xor(hash: HashAlg, seed: &[u8], data: &mut [u8]) {
    let seeded = Hasher::new(hash).chain(seed);
    for (counter, chunk) in from(0).zip(data.chunks_mut(hash.digest_size())) {
        let mask = seeded.clone().chain(&counter.to_be_bytes()).finish();
        let mask = Zeroizing::new(mask);
        chunk.iter_mut().zip(mask.as_slice()).for_each(|(to, mask)| *to ^= mask);
    }
}
