//! The key derivation functions of a TPM (Part 1, 8.4.10), and those that keys may name as their kdf. Labels are given
//! without their terminating zero, which is added here.

use core::iter::once;

use crate::bounded::{self, from};
use zeroize::Zeroize;

use super::Error;
use super::hash::{Digest, HashAlg, Hasher, digest};
use super::hmac::Hmac;

/// KDFa (Part 1, 8.4.10.2; SP 800-108 in counter mode with HMAC): fills `out`; bits = 8 × its length.
///
/// Block i is HMAC(`key`, \[i\]₄ ‖ `label` ‖ 0 ‖ `context_u` ‖ `context_v` ‖ \[bits\]₄), i from 1, integers big-endian.
pub fn kdfa(alg: HashAlg, key: &[u8], label: &[u8], context_u: &[u8], context_v: &[u8], out: &mut [u8]) {
    counter_mode(alg, key, &[label, &[0], context_u, context_v, &bits_of(out).to_be_bytes()], out);
}

/// SP 800-108 in counter mode with HMAC, the counter of 32 bits before the fixed input, which is the concatenation of
/// `fixed`: fills `out`.
pub fn counter_mode(alg: HashAlg, key: &[u8], fixed: &[&[u8]], out: &mut [u8]) {
    let keyed = Hmac::new(alg, key);
    fill(out, alg, |counter| block(&keyed, counter, fixed));
}

/// KDFe (Part 1, 8.4.10.3; SP 800-56A, one step): fills `out`; bits = 8 × its length.
///
/// Block i is H(\[i\]₄ ‖ `z` ‖ `label` ‖ 0 ‖ `party_u` ‖ `party_v`), i from 1. `z` is the x coordinate of the shared
/// point, in full length.
pub fn kdfe(alg: HashAlg, z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8], out: &mut [u8]) {
    one_step(alg, z, &[label, &[0], party_u, party_v], out);
}

/// The one-step derivation of SP 800-56C with a hash, whose fixed input is the concatenation of `fixed`: fills `out`.
pub fn one_step(alg: HashAlg, z: &[u8], fixed: &[&[u8]], out: &mut [u8]) {
    fill(out, alg, |counter| {
        let mut hasher = Hasher::new(alg);
        once(&counter.to_be_bytes()[..]).chain([z]).chain(fixed.iter().copied()).for_each(|part| hasher.update(part));
        hasher.finish()
    });
}

/// KDF2 (IEEE 1363a, 13.2; ISO/IEC 18033-2): fills `out`. Block i is H(`z` ‖ \[i\]₄ ‖ `info`), i from 1.
pub fn kdf2(alg: HashAlg, z: &[u8], info: &[u8], out: &mut [u8]) {
    fill(out, alg, |counter| digest(alg, &[z, &counter.to_be_bytes(), info]));
}

/// HKDF-Extract (RFC 5869, 2.2).
#[must_use]
pub fn hkdf_extract(alg: HashAlg, salt: &[u8], ikm: &[&[u8]]) -> Digest {
    super::hmac::hmac(alg, salt, ikm)
}

/// HKDF-Expand (RFC 5869, 2.3): fills `out`.
///
/// # Errors
/// `Error::Length` for more than 255 digests.
pub fn hkdf_expand(alg: HashAlg, prk: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    let keyed = Hmac::new(alg, prk);
    let mut last = Digest::EMPTY;
    for (i, chunk) in out.chunks_mut(alg.digest_size()).enumerate() {
        let counter = u8::try_from(i + 1).map_err(|_| Error::Length)?;
        let mut hmac = keyed.duplicate().chain(last.as_slice());
        info.iter().for_each(|part| hmac.update(part));
        last = hmac.chain(&[counter]).finish();
        chunk.iter_mut().zip(last.as_slice()).for_each(|(to, from)| *to = *from);
    }
    last.zeroize();
    Ok(())
}

/// XORs the KDFa stream into `data` instead of storing it.
pub(super) fn kdfa_xor(alg: HashAlg, key: &[u8], label: &[u8], context: [&[u8]; 2], data: &mut [u8]) {
    let [context_u, context_v] = context;
    let (keyed, bits) = (Hmac::new(alg, key), bits_of(data).to_be_bytes());
    for (counter, chunk) in from(1).zip(data.chunks_mut(alg.digest_size())) {
        let mut block = block(&keyed, counter, &[label, &[0], context_u, context_v, &bits]);
        chunk.iter_mut().zip(block.as_slice()).for_each(|(to, mask)| *to ^= mask);
        block.zeroize();
    }
}

/// HMAC(key, \[counter\]₄ ‖ `fixed`)
fn block(keyed: &Hmac, counter: u32, fixed: &[&[u8]]) -> Digest {
    keyed.with(once(&counter.to_be_bytes()[..]).chain(fixed.iter().copied()))
}

fn fill(out: &mut [u8], alg: HashAlg, block: impl Fn(u32) -> Digest) {
    for (counter, chunk) in from(1).zip(out.chunks_mut(alg.digest_size())) {
        let mut digest = block(counter);
        bounded::copy(chunk, digest.as_slice());
        digest.zeroize();
    }
}

/// 8 × the length; no buffer of a TPM comes near 2^29 bytes.
fn bits_of(out: &[u8]) -> u32 {
    u32::try_from(out.len()).unwrap_or(u32::MAX).saturating_mul(8)
}
