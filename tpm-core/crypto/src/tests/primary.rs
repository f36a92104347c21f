//! Golden vectors of primary derivation, version 1: computed by a Python program that follows the module's text with
//! hmac, hashlib and int.

use hex_literal::hex;

use crate::Error;
use crate::ecc::Curve;
use crate::hash::{HashAlg, digest};
use crate::mldsa::MlDsa;
use crate::mlkem::MlKem;
use crate::primary::{Derivation, Purpose, VERSION};
use crate::rsa::MAX_BYTES;

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
fn rsa_1024_is_frozen() {
    let expected = [
        hex!("7a8bbef09b39fffb06a3d9a627432673be4a5aa9b85d56ac8954e2d8c45ab3e8"),
        hex!("fd65910058ffbd7d7e987644f6882fd98088875dd10351dad23c951e9974f09f"),
    ];
    assert_eq!(rsa_digests(1024), expected);
}

#[test]
fn rsa_2048_is_frozen() {
    let expected = [
        hex!("c13a53dae4fa049e7d5371d77a90c4131603035689d6b266cd01321d647fbec8"),
        hex!("591824e2692d31d980c9df7429139c7d91f6a69fdef5529ddc2ec8e9f09bedd0"),
    ];
    assert_eq!(rsa_digests(2048), expected);
    let start = hex!("c9206b378d17e7756a9432a4c9416dfae0b90b17d6acf0fe3d44e33e8b165149");
    assert!(derivation().rsa(2048, 0).unwrap().prime().as_slice().starts_with(&start));
}

#[test]
fn rsa_3072_is_frozen() {
    let expected = [
        hex!("e18c23df1411e8c462f665356eed2ed9eb500ce14ecbe2d76904bfaed4c3fe43"),
        hex!("944bd4d7828e0bdf634778ff4863e1f38deda5ee4797d3e9b62323a7c9fd70c1"),
    ];
    assert_eq!(rsa_digests(3072), expected);
}

#[test]
fn rsa_4096_is_frozen() {
    let expected = [
        hex!("f052637debaa016cfb701c15e456ffc66efcbf4c2199586c3a01fbec9a200519"),
        hex!("f590d5e209cf47c64d0f1605adb72dca9bc4764088f9c66692bb88ce22cb68bc"),
    ];
    assert_eq!(rsa_digests(4096), expected);
}

#[test]
fn p_256_is_frozen() {
    let (d, public) = derivation().ecc(Curve::NistP256).unwrap();
    assert_eq!(d.as_slice(), hex!("f7ac1a1873091b4f15702f80621242ae8942c440f68e404d2f45efa8f4415d13"));
    let (x, y) = (public.x().as_slice(), public.y().as_slice());
    assert_eq!(x, hex!("42afb9a80a84c115d230b7624eb06fa9c313328c0758803c717c28fd7a508e0e"));
    assert_eq!(y, hex!("bbbb2d4fbcc6c7717e495782f53aff5c89b1f9709ec371bc6a9ca3e2575baa81"));
}

#[test]
fn p_384_is_frozen() {
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

/// Curve, d, x, y.
type Golden = (Curve, &'static [u8], &'static [u8], &'static [u8]);

#[test]
fn the_other_curves_are_frozen() {
    let expected: [Golden; 5] = [
        (
            Curve::NistP192,
            &hex!("6a9432a5197e4bff5b91a8b30e0c487f3f80a9893876a35a"),
            &hex!("fa2436b3e9cd47f830edfac6e859545aea7117e6c34c8570"),
            &hex!("0850ea3706d7cb1b777f5d0643aa2871afc9fcd766b7b107"),
        ),
        (
            Curve::NistP224,
            &hex!("6a9432a4c94225528ba84f0b91c1e2268e7eb6293cb6a7d037264bd0"),
            &hex!("dfcc881851dbb99b8be21a528f8d24a41908ead7550a6f9bff221f40"),
            &hex!("d4304e53d9c5f842a203cd7c9677cacb3c25fc01c1e4eb494bb126ef"),
        ),
        (
            Curve::NistP521,
            &hex!(
            "009432a4c9416dfae0b90b17d6acf0fe3d44e33e8b165149710118034ad2cf75c8"
            "837f26415deaec9dd10f862245eacdf7ddfdc70975ef5c6145b58ca93bad4ef52d"
            ),
            &hex!(
            "017bd9235842c99988f3f0b0198f58fe4fbdeee87fdcb2f0f175341f5a3fabe1cc"
            "446f298967b5188f4fdb0189fe3b64799d0c97ff12c702d117a8d5572e89f3695d"
            ),
            &hex!(
            "01b5ac453dc68f59059831c2858092440e5caf5665206f870a24b7a0037ada4f7a"
            "8caacea04298e9adf7deaf10d830c533d31ebf4e864f2872d7ff13d480680af1d8"
            ),
        ),
        (
            Curve::BnP256,
            &hex!("6c44f18d089410726714d27c54145f08d4689f7be78624c0c88b0f22a2eb2d7f"),
            &hex!("3bf9830f4aca58e09830954cdaf60135cf21c555f9705f9b21f0490d17c5eb4c"),
            &hex!("e088036e54d4903795a635fa7c0346b4cb051b763e6ac662e28ec567d6ec438d"),
        ),
        (
            Curve::Sm2P256,
            &hex!("c0cc8551c9416dfb5045fba86c5b879544ab6665fb54951a8a051e8142e826d9"),
            &hex!("5d5dbc44170f2aef041444bc2379004ed33ee6d0629b16ccade608c6d048082f"),
            &hex!("5730075ebc468739a8c3433b55f5f1de55e36ed958a9d6a44ac8613e19cdac15"),
        ),
    ];
    for (curve, d, x, y) in expected {
        let (scalar, public) = derivation().ecc(curve).unwrap();
        assert_eq!(scalar.as_slice(), d, "{curve:?}");
        assert_eq!((public.x().as_slice(), public.y().as_slice()), (x, y), "{curve:?}");
    }
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

/// SHA-256 of the public keys that OpenSSL makes of the first 64 or 32 bytes above (ML-KEM-512: a Python program).
#[test]
fn ml_kem_and_ml_dsa() {
    let mut seed = [0; 64];
    derivation().bytes(Purpose::Sensitive, &mut seed).unwrap();
    let kems = [
        (MlKem::MlKem512, hex!("380f842604a02f782bcab2c4c183bef4ec524d614c8b3af257ac159f05b206e3")),
        (MlKem::MlKem768, hex!("b2508bf204886c09999ec6197dea76a5c6729c7950d1b6629c45623a11776064")),
        (MlKem::MlKem1024, hex!("8a7d011f0a38a2dbebca46dd0bfbdfa940539c5349f8a50fa31605681ac59b5c")),
    ];
    for (set, expected) in kems {
        let mut public = [0; 1568];
        let public = &mut public[..set.public_size()];
        set.public(&seed, public).unwrap();
        assert_eq!(digest(HashAlg::Sha256, &[public]).as_slice(), expected, "{set:?}");
    }
    let dsas = [
        (MlDsa::MlDsa44, hex!("3f8e0be7f87f5cb544869652c343022550136eb1e09cb8c2834d73196b0f14b9")),
        (MlDsa::MlDsa65, hex!("a382c79ee5fa1af7df0e67da3ea212b1d689dc1c34de72123dee8f89ad315e0f")),
        (MlDsa::MlDsa87, hex!("f4bdc28b8fce4ce3d7ca539aa86101c31217b683e7e07a6d4f154ebf751813d5")),
    ];
    for (set, expected) in dsas {
        let mut public = [0; 2592];
        let public = &mut public[..set.public_size()];
        set.public(&seed[..32], public).unwrap();
        assert_eq!(digest(HashAlg::Sha256, &[public]).as_slice(), expected, "{set:?}");
    }
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
