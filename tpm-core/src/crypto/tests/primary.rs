//! Golden vectors of primary derivation, version 1: computed by a Python program that follows the module's text with hmac, hashlib and int.

use hex_literal::hex;

use crate::crypto::Error;
use crate::crypto::ecc::Curve;
use crate::crypto::hash::{HashAlg, digest};
use crate::crypto::primary::{Derivation, Purpose, VERSION};
use crate::crypto::rsa::MAX_BYTES;

/// 00 01 … 3f
const SEED: [u8; 64] = hex!(
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
);
/// 80 81 … 9f
const TEMPLATE: [u8; 32] = hex!("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");

fn derivation() -> Derivation<'static> {
    Derivation::new(VERSION, &SEED, &TEMPLATE).unwrap()
}

/// SHA-256 of p and of n.
fn rsa_digests(bits: u16) -> [[u8; 32]; 2] {
    let key = derivation().rsa(bits, 0).unwrap();
    let mut modulus = [0; MAX_BYTES];
    let modulus = key.public().modulus(&mut modulus).unwrap();
    let sha256 = |bytes: &[u8]| digest(HashAlg::Sha256, &[bytes]).as_slice().try_into().unwrap();
    [sha256(key.prime().as_slice()), sha256(modulus)]
}

#[test]
fn rsa_1024() {
    let expected = [
        hex!("7a8bbef09b39fffb06a3d9a627432673be4a5aa9b85d56ac8954e2d8c45ab3e8"),
        hex!("fd65910058ffbd7d7e987644f6882fd98088875dd10351dad23c951e9974f09f"),
    ];
    assert_eq!(rsa_digests(1024), expected);
}

#[test]
fn rsa_2048() {
    let expected = [
        hex!("c13a53dae4fa049e7d5371d77a90c4131603035689d6b266cd01321d647fbec8"),
        hex!("591824e2692d31d980c9df7429139c7d91f6a69fdef5529ddc2ec8e9f09bedd0"),
    ];
    assert_eq!(rsa_digests(2048), expected);
    let start = hex!("c9206b378d17e7756a9432a4c9416dfae0b90b17d6acf0fe3d44e33e8b165149");
    assert!(derivation().rsa(2048, 0).unwrap().prime().as_slice().starts_with(&start));
}

#[test]
fn rsa_3072() {
    let expected = [
        hex!("e18c23df1411e8c462f665356eed2ed9eb500ce14ecbe2d76904bfaed4c3fe43"),
        hex!("944bd4d7828e0bdf634778ff4863e1f38deda5ee4797d3e9b62323a7c9fd70c1"),
    ];
    assert_eq!(rsa_digests(3072), expected);
}

#[test]
fn rsa_4096() {
    let expected = [
        hex!("f052637debaa016cfb701c15e456ffc66efcbf4c2199586c3a01fbec9a200519"),
        hex!("f590d5e209cf47c64d0f1605adb72dca9bc4764088f9c66692bb88ce22cb68bc"),
    ];
    assert_eq!(rsa_digests(4096), expected);
}

#[test]
fn p_256() {
    let (d, public) = derivation().ecc(Curve::NistP256).unwrap();
    assert_eq!(d.as_slice(), hex!("f7ac1a1873091b4f15702f80621242ae8942c440f68e404d2f45efa8f4415d13"));
    let (x, y) = (public.x().as_slice(), public.y().as_slice());
    assert_eq!(x, hex!("42afb9a80a84c115d230b7624eb06fa9c313328c0758803c717c28fd7a508e0e"));
    assert_eq!(y, hex!("bbbb2d4fbcc6c7717e495782f53aff5c89b1f9709ec371bc6a9ca3e2575baa81"));
}

#[test]
fn p_384() {
    let (d, public) = derivation().ecc(Curve::NistP384).unwrap();
    let expected = hex!(
        "6a9432a4c9416dfae0b90b17d6acf0fe69bf16af999116f3"
        "89250b6e45700c19a774f3354160b2ca247ba409852fce7a"
    );
    assert_eq!(d.as_slice(), expected);
    let expected = hex!(
        "010b91d6cb3f629b069c2461de691e4f234682f71c2be0d5"
        "48de9e5a56e2337a2c9a67ac632a155d83fcbec6d6ab4176"
    );
    assert_eq!(public.x().as_slice(), expected);
    let expected = hex!(
        "269831f6f459140b4f768062933368d5fdb0681ebbfdeeec"
        "9ea7f690bf516a7ebc8becec5e7628c00ba379ea283f4730"
    );
    assert_eq!(public.y().as_slice(), expected);
}

#[test]
fn symmetric_keys_keyed_hash_secrets_and_seed_values() {
    let derive = |purpose, len: usize| {
        let mut out = [0; 64];
        derivation().bytes(purpose, &mut out[..len]).unwrap();
        out
    };
    let expected = hex!(
        "c9206b378d17e7756a9432a4c9416dfae0b90b17d6acf0fe3d44e33e8b165149"
        "6ec5bd3b52520ed2c21e434d3f3ffcafa9a22ba786ef9d93078a5d46a0e322e3"
    );
    for len in [16, 24, 32, 64] {
        assert_eq!(derive(Purpose::Sensitive, len)[..len], expected[..len]);
    }
    let expected = hex!("84f09464f68d5c71bc9c6ae8b46a5a6f4e11093a82c4de31ebf42777fd9da921");
    assert_eq!(derive(Purpose::SeedValue, 32)[..32], expected);
}

#[test]
fn any_bit_of_seed_or_template_gives_another_key() {
    let key = |seed: &[u8], template: &[u8]| {
        let mut out = [0; 16];
        Derivation::new(VERSION, seed, template).unwrap().bytes(Purpose::Sensitive, &mut out).unwrap();
        out
    };
    let original = key(&SEED, &TEMPLATE);
    for bit in 0..8 * SEED.len() {
        let (mut seed, mut template) = (SEED, TEMPLATE);
        seed[bit / 8] ^= 1 << (bit % 8);
        template[bit / 8 % 32] ^= 1 << (bit % 8);
        assert_ne!(key(&seed, &TEMPLATE), original);
        assert_ne!(key(&SEED, &template), original);
    }
    // Bytes cannot move from one to the other.
    let joined = [SEED, SEED].concat();
    assert_ne!(key(&joined[..63], &joined[63..100]), key(&joined[..62], &joined[62..100]));
}

#[test]
fn unknown_versions_and_short_seeds_are_refused() {
    assert_eq!(Derivation::new(0, &SEED, &TEMPLATE).err(), Some(Error::Range));
    assert_eq!(Derivation::new(2, &SEED, &TEMPLATE).err(), Some(Error::Range));
    assert_eq!(Derivation::new(VERSION, &SEED[..31], &TEMPLATE).err(), Some(Error::Length));
    assert_eq!(Derivation::new(VERSION, &[0; 65], &TEMPLATE).err(), Some(Error::Length));
    assert_eq!(Derivation::new(VERSION, &SEED, &[0; 65]).err(), Some(Error::Length));
}
