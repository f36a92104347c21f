//! Secrets are wiped when they are dropped: the memory is looked at afterwards.

use core::mem::{ManuallyDrop, MaybeUninit, size_of};
use core::ptr;

use tpm_crypto::Rng;
use tpm_crypto::drbg::Drbg;
use tpm_crypto::hash::HashAlg;
use tpm_crypto::hmac::Hmac;
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::secret::Secret;

/// The bytes of `value` before and after its drop.
fn bytes_around_drop<T>(value: T) -> (Vec<u8>, Vec<u8>) {
    let mut slot = ManuallyDrop::new(value);
    let address = ptr::from_mut(&mut slot).cast::<MaybeUninit<u8>>();
    let look = || -> Vec<u8> {
        (0..size_of::<T>())
            // SAFETY: `slot` is alive and has this size; a byte that may be padding is read as MaybeUninit, volatile so
            // that it is read.
            .map(|i| unsafe { address.add(i).read_volatile() })
            // SAFETY: the types looked at were zero-initialised arrays and integers; their padding, if any, is at rest
            // on the stack.
            .map(|byte| unsafe { byte.assume_init() })
            .collect()
    };
    let before = look();
    // SAFETY: dropped once, and not used as a `T` afterwards.
    unsafe { ManuallyDrop::drop(&mut slot) };
    (before, look())
}

fn holds(memory: &[u8], secret: &[u8]) -> bool {
    memory.windows(secret.len()).any(|window| window == secret)
}

#[test]
fn tn_f_3269_a_secret() {
    let (before, after) =
        bytes_around_drop(Secret::<40>::from_slice(b"an auth value of 32 bytes, secret").ok().unwrap());
    assert!(holds(&before, b"auth value"));
    assert!(after.iter().all(|&byte| byte == 0));
}

#[test]
fn tn_f_3716_the_state_of_the_drbg() {
    let mut drbg = Drbg::new(&[7; 32], b"nonce", b"").unwrap();
    drbg.fill(&mut [0; 40]).unwrap();
    let (before, after) = bytes_around_drop(drbg);
    assert!(before.iter().filter(|&&byte| byte != 0).count() > 32);
    assert!(after.iter().all(|&byte| byte == 0));
}

#[test]
fn tn_f_3717_a_private_rsa_key() {
    let mut rng = Drbg::new(&[7; 32], b"", b"").unwrap();
    let mut witnesses = Drbg::new(&[8; 32], b"", b"").unwrap();
    let key = RsaPrivate::generate(1024, 0, &mut rng, &mut witnesses).unwrap();
    let mut prime = key.prime();
    // The key holds its numbers as little-endian limbs.
    prime.as_mut_slice().reverse();
    let (before, after) = bytes_around_drop(key);
    assert!(holds(&before, prime.as_slice()));
    assert!(!holds(&after, &prime.as_slice()[..8]) && !holds(&after, &prime.as_slice()[56..]));
}

#[test]
fn tn_f_3928_the_state_of_an_hmac() {
    let (before, after) = bytes_around_drop(Hmac::new(HashAlg::Sha256, b"key").chain(b"a part of the secret data"));
    assert!(holds(&before, b"secret data"));
    assert!(!holds(&after, b"secret data"));
}
