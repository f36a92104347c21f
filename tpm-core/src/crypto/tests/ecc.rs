//! RFC 6979, A.2.5 and A.2.6 ("sample"), and an ECDH agreement; the numbers were made by OpenSSL, which gives the RFC's.

use hex_literal::hex;
use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};

use super::{rng, std};
use crate::crypto::ecc::{Curve, Point, Signature};
use crate::crypto::hash::{HashAlg, digest};
use crate::crypto::{Error, Rng};

/// A private key, its public point, "sample" signed with each hash, and an agreement with another key.
struct Vector {
    curve: Curve,
    d: &'static [u8],
    public: [&'static [u8]; 2],
    signatures: [(HashAlg, &'static [u8], &'static [u8]); 4],
    peer: [&'static [u8]; 2],
    z: &'static [u8],
    order: &'static [u8],
}

const VECTORS: [Vector; 2] = [
    Vector {
        curve: Curve::NistP256,
        d: &hex!("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"),
        public: [
            &hex!("60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"),
            &hex!("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!("61340c88c3aaebeb4f6d667f672ca9759a6ccaa9fa8811313039ee4a35471d32"),
                &hex!("6d7f147dac089441bb2e2fe8f7a3fa264b9c475098fdcf6e00d7c996e1b8b7eb"),
            ),
            (
                HashAlg::Sha256,
                &hex!("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"),
                &hex!("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
            ),
            (
                HashAlg::Sha384,
                &hex!("0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef7719"),
                &hex!("4861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954"),
            ),
            (
                HashAlg::Sha512,
                &hex!("8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f00"),
                &hex!("2362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe"),
            ),
        ],
        peer: [
            &hex!("f9ebe464147cc102d92324d099d927c1a50e42d57a08a116ffec0a29819d8c65"),
            &hex!("70baf7d12888902a6a0c1d67add103123c859ab69bf8e9431c9384930d4b7eee"),
        ],
        z: &hex!("6f4a7ba64e71d91017906803e487a61451f0a74be4ffbf66c945d9a2afa7c6db"),
        order: &hex!("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    },
    Vector {
        curve: Curve::NistP384,
        d: &hex!(
            "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba"
            "9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5"
        ),
        public: [
            &hex!(
                "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e"
                "06aae5286b300c64def8f0ea9055866064a254515480bc13"
            ),
            &hex!(
                "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9"
                "f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720"
            ),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!(
                    "ec748d839243d6fbef4fc5c4859a7dffd7f3abddf7201454"
                    "0c16d73309834fa37b9ba002899f6fda3a4a9386790d4eb2"
                ),
                &hex!(
                    "a3bcfa947beef4732bf247ac17f71676cb31a847b9ff0cbc"
                    "9c9ed4c1a5b3facf26f49ca031d4857570ccb5ca4424a443"
                ),
            ),
            (
                HashAlg::Sha256,
                &hex!(
                    "21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e"
                    "354b63a21d3daa33bde1e888e63355d92fa2b3c36d8fb2cd"
                ),
                &hex!(
                    "f3aa443fb107745bf4bd77cb3891674632068a10ca67e3d4"
                    "5db2266fa7d1feebefdc63eccd1ac42ec0cb8668a4fa0ab0"
                ),
            ),
            (
                HashAlg::Sha384,
                &hex!(
                    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa7"
                    "3d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
                ),
                &hex!(
                    "99ef4aeb15f178cea1fe40db2603138f130e740a19624526"
                    "203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8"
                ),
            ),
            (
                HashAlg::Sha512,
                &hex!(
                    "ed0959d5880ab2d869ae7f6c2915c6d60f96507f9cb3e047"
                    "c0046861da4a799cfe30f35cc900056d7c99cd7882433709"
                ),
                &hex!(
                    "512c8cceee3890a84058ce1e22dbc2198f42323ce8aca913"
                    "5329f03c068e5112dc7cc3ef3446defceb01a45c2667fdd5"
                ),
            ),
        ],
        peer: [
            &hex!(
                "bfd152465458e5b9f1a903eafef03095ebfd52c5f9ea97be"
                "74de9194355fcfb40ec097315adf6afdefba21f44b625b48"
            ),
            &hex!(
                "17058eff9a1ad175a4675e9c730cb028ec76aec544f7a56d"
                "58164d8cfc0402b489c4e74c918dc3a77f5c219d31b8e245"
            ),
        ],
        z: &hex!(
            "906de204e8e59485f1cd2fd3be7cf35e93681ac09c6c9beb"
            "8d2be47a10d8c32c48fe9dafb6c246ed6ec9aaa81ddf3e70"
        ),
        order: &hex!(
            "ffffffffffffffffffffffffffffffffffffffffffffffff"
            "c7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        ),
    },
];

impl Vector {
    fn public(&self) -> Point {
        Point::new(self.curve, self.public[0], self.public[1]).unwrap()
    }

    /// The order and how far it is from a number: order + delta, delta small.
    fn near_order(&self, delta: i8) -> std::vec::Vec<u8> {
        let mut number = self.order.to_vec();
        let last = number.last_mut().unwrap();
        *last = last.checked_add_signed(delta).unwrap();
        number
    }
}

#[test]
fn public_points_are_those_of_the_private_scalars() {
    for vector in VECTORS {
        assert_eq!(vector.curve.public(vector.d).unwrap(), vector.public());
        assert_eq!(Curve::from_id(vector.curve.id()), Some(vector.curve));
        assert_eq!(vector.curve.size(), vector.d.len());
    }
}

#[test]
fn signatures_of_another_implementation_verify_with_digests_shorter_and_longer_than_the_order() {
    for vector in VECTORS {
        for (hash, r, s) in vector.signatures {
            let signature = Signature::new(vector.curve, r, s).unwrap();
            let message = digest(hash, &[b"sample"]);
            let verify = |signature| vector.curve.ecdsa_verify(&vector.public(), message.as_slice(), signature);
            assert_eq!(verify(&signature), Ok(()), "{:?} {hash:?}", vector.curve);
            let swapped = Signature { r: signature.s, s: signature.r };
            assert_eq!(verify(&swapped), Err(Error::Invalid));
        }
    }
}

#[test]
fn agreement_gives_the_shared_x_coordinate_from_both_sides() {
    for vector in VECTORS {
        let peer = Point::new(vector.curve, vector.peer[0], vector.peer[1]).unwrap();
        assert_eq!(vector.curve.multiply(vector.d, &peer).unwrap().x().as_slice(), vector.z);
        let other = hex!("1234567890abcdef1234567890abcdef");
        assert_eq!(vector.curve.multiply(&other, &vector.public()).unwrap().x().as_slice(), vector.z);
    }
}

#[test]
fn scalars_are_from_one_to_the_order_less_one() {
    for vector in VECTORS {
        for bad in [&[][..], &[0], &vector.near_order(0), &vector.near_order(1), &[0xFF; 48][..vector.curve.size()]] {
            assert_eq!(vector.curve.public(bad), Err(Error::Range));
            assert!(vector.curve.multiply(bad, &vector.public()).is_err());
            assert!(vector.curve.ecdsa_sign(bad, &[1; 32], &mut rng(1)).is_err());
        }
        let (one, last) = (vector.curve.public(&[1]).unwrap(), vector.curve.public(&vector.near_order(-1)).unwrap());
        assert_eq!(one.x(), last.x(), "G and −G");
        assert_ne!(one.y(), last.y());
        assert_eq!(vector.curve.public(&[1; 49]), Err(Error::Length));
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for vector in VECTORS {
        let [x, y] = vector.public;
        let mut off = y.to_vec();
        off[5] ^= 1;
        let too_big = [0xFF; 48];
        let too_big = &too_big[..vector.curve.size()];
        for (x, y) in [(x, &off[..]), (y, x), (&[][..], &[][..]), (too_big, y), (x, too_big)] {
            assert_eq!(Point::new(vector.curve, x, y), Err(Error::Range));
        }
        assert_eq!(Point::new(vector.curve, &[0; 49], y), Err(Error::Length));
    }
}

#[test]
fn a_point_of_another_curve_is_refused() {
    let [p256, p384] = VECTORS;
    assert_eq!(p384.curve.multiply(p384.d, &p256.public()), Err(Error::Range));
    let signature = Signature::new(p384.curve, &[1], &[1]).unwrap();
    assert_eq!(p384.curve.ecdsa_verify(&p256.public(), &[1; 32], &signature), Err(Error::Invalid));
}

#[test]
fn signature_halves_are_from_one_to_the_order_less_one() {
    for vector in VECTORS {
        let (hash, r, s) = vector.signatures[1];
        let message = digest(hash, &[b"sample"]);
        for bad in [&[0][..], &vector.near_order(0), &vector.near_order(1)] {
            for (r, s) in [(bad, s), (r, bad)] {
                let signature = Signature::new(vector.curve, r, s).unwrap();
                let verdict = vector.curve.ecdsa_verify(&vector.public(), message.as_slice(), &signature);
                assert_eq!(verdict, Err(Error::Invalid));
            }
        }
    }
}

/// Extra random bits (FIPS 186-5, A.2.1) at the edges: c = 0 gives 1, c = n − 2 gives n − 1, c = n − 1 gives 1 again.
#[test]
fn scalars_are_random_numbers_modulo_the_order_less_one_plus_one() {
    struct Fixed<'a>(&'a [u8]);
    impl Rng for Fixed<'_> {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
            crate::crypto::pad_left(self.0, out)
        }
    }
    for vector in VECTORS {
        let draw = |c: &[u8]| vector.curve.random_scalar(&mut Fixed(c)).unwrap();
        let one = |scalar: &[u8]| scalar.iter().rev().enumerate().all(|(i, &byte)| byte == u8::from(i == 0));
        assert!(one(draw(&[]).as_slice()));
        assert_eq!(draw(&vector.near_order(-2)).as_slice(), vector.near_order(-1));
        assert!(one(draw(&vector.near_order(-1)).as_slice()));
        assert_eq!(draw(&[5]).as_slice().last(), Some(&6));
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
    for &curve in Curve::ALL {
        assert!(matches!(curve.generate(&mut Exhausted), Err(Error::Reseed)));
        assert_eq!(curve.ecdsa_sign(&[1], &[1; 32], &mut Exhausted), Err(Error::Reseed));
    }
}

/// A generator that repeats itself reveals nothing: other digests and other keys get other nonces.
#[test]
fn nonces_are_hedged() {
    for &curve in Curve::ALL {
        let sign = |d: &[u8], digest: &[u8]| curve.ecdsa_sign(d, digest, &mut rng(1)).unwrap();
        assert_eq!(sign(&[5], &[1; 32]), sign(&[5], &[1; 32]));
        assert_ne!(sign(&[5], &[1; 32]).r, sign(&[5], &[2; 32]).r);
        assert_ne!(sign(&[5], &[1; 32]).r, sign(&[6], &[1; 32]).r);
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// What is signed verifies; with any bit of digest, r or s changed it does not.
    #[test]
    fn signatures_verify_and_tampered_ones_do_not(seed: u8, message: [u8; 64], len in 1_usize..=64, flip: u16, byte in any::<proptest::sample::Index>()) {
        for &curve in Curve::ALL {
            let mut rng = rng(seed);
            let (d, public) = curve.generate(&mut rng).unwrap();
            let digest = &message[..len];
            let signature = curve.ecdsa_sign(d.as_slice(), digest, &mut rng).unwrap();
            prop_assert_eq!(curve.ecdsa_verify(&public, digest, &signature), Ok(()));

            let bit = 1 << (flip % 8);
            let mut number = [signature.r.as_slice(), signature.s.as_slice()].concat();
            let at = byte.index(number.len());
            number[at] ^= bit;
            let (r, s) = number.split_at(curve.size());
            let tampered = Signature::new(curve, r, s).unwrap();
            prop_assert_eq!(curve.ecdsa_verify(&public, digest, &tampered), Err(Error::Invalid));

            let mut other = digest.to_vec();
            let at = byte.index(len.min(curve.size()));
            other[at] ^= bit;
            prop_assert_eq!(curve.ecdsa_verify(&public, &other, &signature), Err(Error::Invalid));
        }
    }

    /// Both sides agree, and the result is on the curve.
    #[test]
    fn both_sides_agree(a: u8, b: u8) {
        prop_assume!(a != b);
        for &curve in Curve::ALL {
            let (mut a, mut b) = (rng(a), rng(b));
            let ((da, qa), (db, qb)) = (curve.generate(&mut a).unwrap(), curve.generate(&mut b).unwrap());
            let shared = curve.multiply(da.as_slice(), &qb).unwrap();
            prop_assert_eq!(shared, curve.multiply(db.as_slice(), &qa).unwrap());
            prop_assert!(Point::new(curve, shared.x().as_slice(), shared.y().as_slice()).is_ok());
        }
    }
}
