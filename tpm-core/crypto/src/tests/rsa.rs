//! RSA: against OpenSSL's answers, and properties of keys, signatures and ciphertexts.

use hex_literal::hex;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::{rng, rsa_vectors as openssl, std};
use crate::hash::{HashAlg, digest};
use crate::rsa::padding::{CryptScheme, SignScheme};
use crate::rsa::{MAX_BYTES, RsaPrivate, RsaPublic};
use crate::{Error, Rng};

fn public() -> RsaPublic {
    RsaPublic::new(&openssl::MODULUS, 65537).unwrap()
}

fn private() -> RsaPrivate {
    RsaPrivate::new(&public(), &openssl::PRIME_P).unwrap()
}

/// A key made once per test that needs one of a size of its own.
fn key(bits: u16) -> RsaPrivate {
    RsaPrivate::generate(bits, 0, &mut rng(7), &mut rng(8)).unwrap()
}

#[test]
fn openssl_signatures_are_ours_and_verify() {
    let expected = [openssl::RSASSA_SHA1, openssl::RSASSA_SHA256, openssl::RSASSA_SHA384, openssl::RSASSA_SHA512];
    for (&hash, expected) in HashAlg::ALL.iter().zip(expected) {
        let (scheme, message) = (SignScheme::Rsassa(hash), digest(hash, &[b"quoin"]));
        let mut out = [0; MAX_BYTES];
        assert_eq!(private().sign(&mut rng(1), scheme, message.as_slice(), &mut out), Ok(256));
        assert_eq!(out[..256], expected, "{hash:?}");
        assert_eq!(public().verify(scheme, message.as_slice(), &expected), Ok(()));
    }
}

#[test]
fn either_prime_gives_the_key() {
    for prime in [&openssl::PRIME_P, &openssl::PRIME_Q] {
        let key = RsaPrivate::new(&public(), prime).unwrap();
        assert_eq!(key.prime().as_slice(), prime);
        let mut block = openssl::RSASSA_SHA256;
        public().raw(&mut block).unwrap();
        key.raw(&mut rng(1), &mut block).unwrap();
        assert_eq!(block, openssl::RSASSA_SHA256);
    }
}

#[test]
fn openssl_pss_signatures_verify_whatever_their_salt() {
    let cases = [
        (HashAlg::Sha256, openssl::PSS_SHA256),
        (HashAlg::Sha512, openssl::PSS_SHA512_LONG),
        (HashAlg::Sha1, openssl::PSS_SHA1_BARE),
    ];
    for (hash, signature) in cases {
        let message = digest(hash, &[b"quoin"]);
        assert_eq!(public().verify(SignScheme::Rsapss(hash), message.as_slice(), &signature), Ok(()));
        let other = SignScheme::Rsassa(hash);
        assert_eq!(public().verify(other, message.as_slice(), &signature), Err(Error::Invalid));
    }
}

#[test]
fn openssl_ciphertexts_decrypt() {
    let decrypt = |scheme, ciphertext: &[u8]| private().decrypt(&mut rng(1), scheme, ciphertext);
    let oaep = CryptScheme::Oaep(HashAlg::Sha256, b"DUPLICATE\0");
    assert_eq!(decrypt(oaep, &openssl::OAEP_SHA256).unwrap().as_slice(), b"secret message");
    let empty = CryptScheme::Oaep(HashAlg::Sha1, b"");
    assert_eq!(decrypt(empty, &openssl::OAEP_SHA1_EMPTY).unwrap().as_slice(), b"");
    assert_eq!(decrypt(CryptScheme::Rsaes, &openssl::RSAES).unwrap().as_slice(), b"secret message");

    let wrong_label = CryptScheme::Oaep(HashAlg::Sha256, b"DUPLICATE");
    assert_eq!(decrypt(wrong_label, &openssl::OAEP_SHA256).err(), Some(Error::Invalid));
    assert_eq!(decrypt(oaep, &openssl::RSAES).err(), Some(Error::Invalid));
    assert_eq!(decrypt(CryptScheme::Rsaes, &openssl::OAEP_SHA256).err(), Some(Error::Invalid));
}

/// Encrypts a hand-made block without padding, so that the decoder sees exactly this block.
fn decrypt_block(scheme: CryptScheme<'_>, block: &[u8; 256]) -> Result<std::vec::Vec<u8>, Error> {
    let mut ciphertext = *block;
    public().raw(&mut ciphertext).unwrap();
    private().decrypt(&mut rng(1), scheme, &ciphertext).map(|message| message.as_slice().to_vec())
}

#[test]
fn every_defect_of_a_pkcs1_block_is_the_same_error() {
    let mut good = [0xA5; 256];
    (good[0], good[1], good[10]) = (0, 2, 0);
    assert_eq!(decrypt_block(CryptScheme::Rsaes, &good).unwrap(), good[11..]);
    let mut longest = good;
    (longest[10], longest[255]) = (1, 0);
    assert_eq!(decrypt_block(CryptScheme::Rsaes, &longest).unwrap(), b"");
    // First byte, second byte, fewer than eight bytes of padding, no end.
    for (at, value) in [(0, 1), (1, 1), (1, 0), (2, 0), (9, 0), (10, 1)] {
        let mut bad = good;
        bad[at] = value;
        assert_eq!(decrypt_block(CryptScheme::Rsaes, &bad), Err(Error::Invalid), "byte {at}");
    }
}

/// Unmasks OpenSSL's OAEP block, damages one byte and masks it again: done by XOR, since masks depend on seed and
/// masked data. Damage to the masked block instead reaches each check too: first byte, label hash (any change), and the
/// separator through the data.
#[test]
fn every_defect_of_an_oaep_block_is_the_same_error() {
    let scheme = CryptScheme::Oaep(HashAlg::Sha256, b"DUPLICATE\0");
    let mut block = openssl::OAEP_SHA256;
    private().raw(&mut rng(1), &mut block).unwrap();
    assert_eq!(decrypt_block(scheme, &block).unwrap(), b"secret message");
    for at in 0..block.len() {
        let mut bad = block;
        bad[at] ^= 1;
        // The first byte becomes 1: still below the modulus, as its first byte is 8C.
        assert_eq!(decrypt_block(scheme, &bad), Err(Error::Invalid), "byte {at}");
    }
}

#[test]
fn the_null_scheme_pads_with_zeros_and_keeps_the_full_block() {
    let mut ciphertext = [0; MAX_BYTES];
    let size = public().encrypt(&mut rng(1), CryptScheme::Null, b"\x01\x02", &mut ciphertext).unwrap();
    let message = private().decrypt(&mut rng(1), CryptScheme::Null, &ciphertext[..size]).unwrap();
    assert_eq!((message.len(), &message.as_slice()[253..]), (256, &[0, 1, 2][..]));
}

#[test]
fn numbers_not_below_the_modulus_are_refused() {
    let mut above = openssl::MODULUS;
    for block in [openssl::MODULUS, [0xFF; 256], {
        above[255] += 1;
        above
    }] {
        let mut unchanged = block;
        assert_eq!(public().raw(&mut unchanged), Err(Error::Range));
        assert_eq!(private().raw(&mut rng(1), &mut unchanged), Err(Error::Range));
        assert_eq!(unchanged, block);
        let null = public().encrypt(&mut rng(1), CryptScheme::Null, &block, &mut [0; 256]);
        assert_eq!(null, Err(Error::Range));
        let verdict = public().verify(SignScheme::Rsassa(HashAlg::Sha1), &[0; 20], &block);
        assert_eq!(verdict, Err(Error::Invalid));
    }
    assert_eq!(public().raw(&mut [0; 255]), Err(Error::Length));
    assert_eq!(public().raw(&mut [0; 257]), Err(Error::Length));
}

#[test]
fn the_edges_of_the_range_come_back() {
    for edge in [0_u8, 1, 2] {
        let mut block = [0; 256];
        block[255] = edge;
        private().raw(&mut rng(1), &mut block).unwrap();
        public().raw(&mut block).unwrap();
        assert_eq!((block[255], &block[..255]), (edge, &[0; 255][..]));
    }
    // Multiples of a prime have no inverse; the blinding must not need one.
    let mut block = [0; 256];
    block[128..].copy_from_slice(&openssl::PRIME_P);
    let multiple = block;
    private().raw(&mut rng(1), &mut block).unwrap();
    public().raw(&mut block).unwrap();
    assert_eq!(block, multiple);
}

#[test]
fn keys_that_are_none_are_refused() {
    let refused = |modulus: &[u8], exponent| RsaPublic::new(modulus, exponent).err() == Some(Error::Key);
    let mut even = openssl::MODULUS;
    even[255] ^= 1;
    let mut short = openssl::MODULUS;
    short[0] &= 0x7F;
    assert!(refused(&even, 0) && refused(&short, 0) && refused(&openssl::MODULUS[1..], 0) && refused(&[], 0));
    // Even, composite (65541 = 3·…), or too small; 2^16 + 3 = 65539 is prime, 0xFFFF_FFFB the largest prime.
    for exponent in [1, 2, 4, 9, 65535, 65536, 65538, 65541, u32::MAX] {
        assert!(refused(&openssl::MODULUS, exponent), "{exponent}");
    }
    for exponent in [0, 3, 17, 257, 65537, 65539, 0xFFFF_FFFB] {
        assert!(RsaPublic::new(&openssl::MODULUS, exponent).is_ok(), "{exponent}");
    }
    let mut other = openssl::PRIME_P;
    other[127] ^= 2;
    let one = {
        let mut one = [0; 128];
        one[127] = 1;
        one
    };
    for prime in [&other[..], &one, &[0; 128], &[0xFF; 128], &openssl::PRIME_P[1..], &[]] {
        assert_eq!(RsaPrivate::new(&public(), prime).err(), Some(Error::Key));
    }
    // n = p² has no key.
    let mut square = [0; 256];
    square_of(&openssl::PRIME_P, &mut square);
    let square = RsaPublic::new(&square, 0).unwrap();
    assert_eq!(RsaPrivate::new(&square, &openssl::PRIME_P).err(), Some(Error::Key));
}

fn square_of(prime: &[u8; 128], out: &mut [u8; 256]) {
    let (mut limbs, mut square) = ([0; 16], [0; 32]);
    crate::num::from_be_bytes(prime, &mut limbs).unwrap();
    crate::num::multiply(&limbs, &limbs, &mut square);
    crate::num::to_be_bytes(&square, out);
}

#[test]
fn a_wrong_result_is_withheld() {
    // A composite "prime" stands in for a fault: the factors multiply to n, but the exponents are wrong.
    let (mut limbs, mut n) = ([0; 8], [0; 16]);
    crate::num::from_be_bytes(&[0xC1; 64], &mut limbs).unwrap();
    let mut other = limbs;
    other[3] ^= 0x10;
    crate::num::multiply(&limbs, &other, &mut n);
    let mut modulus = [0; 128];
    crate::num::to_be_bytes(&n, &mut modulus);
    let public = RsaPublic::new(&modulus, 0).unwrap();
    let key = RsaPrivate::new(&public, &[0xC1; 64]).unwrap();
    let mut block = [0x55; 128];
    assert_eq!(key.raw(&mut rng(1), &mut block), Err(Error::Fault));
    assert_eq!(block, [0x55; 128]);
}

#[test]
fn messages_and_digests_that_do_not_fit_are_refused() {
    let key = key(1024);
    let (public, mut out) = (key.public(), [0; MAX_BYTES]);
    // RFC 8017, 7.2.1 and 7.1.1: eleven octets less than the modulus, and two digests and two octets less.
    for (scheme, longest) in [(CryptScheme::Rsaes, 117), (CryptScheme::Oaep(HashAlg::Sha256, b"L\0"), 62)] {
        assert_eq!(public.encrypt(&mut rng(1), scheme, &[1; 128][..longest], &mut out), Ok(128));
        assert_eq!(public.encrypt(&mut rng(1), scheme, &[1; 128][..=longest], &mut out), Err(Error::Length));
        assert_eq!(public.encrypt(&mut rng(1), scheme, b"", &mut out[..127]), Err(Error::Length));
    }
    let none = CryptScheme::Oaep(HashAlg::Sha512, b"");
    assert_eq!(public.encrypt(&mut rng(1), none, b"", &mut out), Err(Error::Length));
    for scheme in [SignScheme::Rsassa(HashAlg::Sha256), SignScheme::Rsapss(HashAlg::Sha256)] {
        for len in [0, 20, 31, 33, 64] {
            assert_eq!(key.sign(&mut rng(1), scheme, &[1; 64][..len], &mut out), Err(Error::Length));
        }
        assert_eq!(key.sign(&mut rng(1), scheme, &[1; 32], &mut out[..127]), Err(Error::Length));
    }
}

/// Part 1, B.7: where the salt cannot be as long as the digest it is as long as it can: 1024 bits and SHA-512 leave 62
/// bytes.
#[test]
fn a_pss_salt_is_as_long_as_the_room() {
    let key = key(1024);
    let mut out = [0; 128];
    key.sign(&mut rng(1), SignScheme::Rsapss(HashAlg::Sha512), &[1; 64], &mut out).unwrap();
    assert_eq!(key.public().verify(SignScheme::Rsapss(HashAlg::Sha512), &[1; 64], &out), Ok(()));
}

/// FIPS 186-5, A.1.3: the conditions on primes, for each size of key.
#[test]
fn primes_have_the_bits_they_must() {
    for bits in [1024, 2048] {
        for seed in 0..3 {
            let key = RsaPrivate::generate(bits, 0, &mut rng(seed), &mut rng(100)).unwrap();
            let mut modulus = [0; MAX_BYTES];
            let modulus = &*key.public().modulus(&mut modulus).unwrap();
            assert_eq!((modulus.len() * 8, modulus[0] >> 7), (usize::from(bits), 1));
            let prime = key.prime();
            let prime = prime.as_slice();
            assert_eq!((prime[0] >> 6, prime[prime.len() - 1] & 3), (3, 3), "two highest and two lowest bits");
            let again = RsaPrivate::new(key.public(), prime).unwrap();
            assert!(again.prime().ct_eq(prime));
        }
    }
}

/// The exponent does not divide p − 1 or q − 1, else no private exponent would exist.
#[test]
fn other_exponents_make_keys_that_work() {
    for exponent in [3, 5, 7, 17, 257, 65539, 0xFFFF_FFFB] {
        let key = RsaPrivate::generate(1024, exponent, &mut rng(3), &mut rng(4)).unwrap();
        assert_eq!(key.public().exponent(), exponent);
        let mut block = [0x11; 128];
        key.raw(&mut rng(1), &mut block).unwrap();
        key.public().raw(&mut block).unwrap();
        assert_eq!(block, [0x11; 128]);
    }
}

#[test]
fn sizes_and_exponents_that_do_not_exist_are_refused() {
    for (bits, exponent) in [(0, 0), (512, 0), (1536, 0), (2047, 0), (8192, 0), (2048, 9), (2048, 65541)] {
        let key = RsaPrivate::generate(bits, exponent, &mut rng(1), &mut rng(2));
        assert_eq!(key.err(), Some(Error::Key), "{bits} {exponent}");
    }
}

#[test]
fn a_failing_generator_fails_the_operation() {
    struct Exhausted;
    impl Rng for Exhausted {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
            out.fill(0);
            Err(Error::Reseed)
        }
    }
    assert_eq!(RsaPrivate::generate(1024, 0, &mut Exhausted, &mut rng(1)).err(), Some(Error::Reseed));
    let mut block = [1; 256];
    assert_eq!(private().raw(&mut Exhausted, &mut block), Err(Error::Reseed));
    assert_eq!(block, [1; 256]);
    let oaep = public().encrypt(&mut Exhausted, CryptScheme::Oaep(HashAlg::Sha1, b""), b"", &mut [0; 256]);
    assert_eq!(oaep, Err(Error::Reseed));
}

#[test]
fn a_source_stuck_at_zero_does_not_hang_the_padding() {
    struct Zeros;
    impl Rng for Zeros {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
            out.fill(0);
            Ok(())
        }
    }
    let padded = public().encrypt(&mut Zeros, CryptScheme::Rsaes, b"", &mut [0; 256]);
    assert_eq!(padded, Err(Error::Fault));
}

#[test]
fn a_prime_search_without_luck_ends() {
    struct AllOnes;
    impl Rng for AllOnes {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
            out.fill(0xFF);
            Ok(())
        }
    }
    // All candidates but the first are longer than a prime may be, and 2^512 − 1 is divisible by 3.
    assert_eq!(RsaPrivate::generate(1024, 0, &mut AllOnes, &mut rng(1)).err(), Some(Error::Fault));
}

#[test]
fn three_thousand_and_four_thousand_bits_work() {
    let prime = hex!("00");
    assert_eq!(RsaPrivate::new(&public(), &prime).err(), Some(Error::Key));
    for bits in [3072, 4096] {
        let key = key(bits);
        let size = key.public().size();
        let mut out = [0; MAX_BYTES];
        let scheme = SignScheme::Rsapss(HashAlg::Sha384);
        assert_eq!(key.sign(&mut rng(1), scheme, &[7; 48], &mut out), Ok(size));
        assert_eq!(key.public().verify(scheme, &[7; 48], &out[..size]), Ok(()));
        out[size - 1] ^= 1;
        assert_eq!(key.public().verify(scheme, &[7; 48], &out[..size]), Err(Error::Invalid));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is signed verifies; with any bit of signature or digest changed it does not.
    #[test]
    fn signatures_verify_and_tampered_ones_do_not(seed: u8, message: [u8; 32], bit in 0_usize..2048, pss: bool) {
        let scheme = if pss { SignScheme::Rsapss(HashAlg::Sha256) } else { SignScheme::Rsassa(HashAlg::Sha256) };
        let mut signature = [0; 256];
        private().sign(&mut rng(seed), scheme, &message, &mut signature).unwrap();
        prop_assert_eq!(public().verify(scheme, &message, &signature), Ok(()));
        let mut other = message;
        other[bit / 64] ^= 1 << (bit % 8);
        prop_assert_eq!(public().verify(scheme, &other, &signature), Err(Error::Invalid));
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(public().verify(scheme, &message, &signature), Err(Error::Invalid));
        prop_assert_eq!(public().verify(scheme, &message, &signature[1..]), Err(Error::Invalid));
    }

    /// What is encrypted comes back; with any bit of the ciphertext changed it does not.
    #[test]
    fn ciphertexts_decrypt_and_tampered_ones_do_not(seed: u8, message in proptest::collection::vec(any::<u8>(), 0..=190), bit in 0_usize..2048) {
        let mut rng = rng(seed);
        for scheme in [CryptScheme::Rsaes, CryptScheme::Oaep(HashAlg::Sha256, b"TEST\0")] {
            let mut ciphertext = [0; 256];
            public().encrypt(&mut rng, scheme, &message, &mut ciphertext).unwrap();
            let back = private().decrypt(&mut rng, scheme, &ciphertext).unwrap();
            prop_assert_eq!(back.as_slice(), &message[..]);
            ciphertext[bit / 8] ^= 1 << (bit % 8);
            let tampered = private().decrypt(&mut rng, scheme, &ciphertext);
            // A PKCS #1 block that happens to be well formed (about 1 in 2^16) gives another message.
            prop_assert!(tampered.is_err() || scheme == CryptScheme::Rsaes && !back.ct_eq(tampered.unwrap().as_slice()));
        }
    }

    /// The private and the public operation undo each other, in both orders, for any number below the modulus.
    #[test]
    fn operations_undo_each_other(seed: u8, number: [u8; 32], at in 1_usize..224) {
        let mut block = [0; 256];
        block[at..at + 32].copy_from_slice(&number);
        let start = block;
        private().raw(&mut rng(seed), &mut block).unwrap();
        public().raw(&mut block).unwrap();
        prop_assert_eq!(block, start);
        public().raw(&mut block).unwrap();
        private().raw(&mut rng(seed), &mut block).unwrap();
        prop_assert_eq!(block, start);
    }
}
