//! RFC 6979, A.2.3 to A.2.7 ("sample"), and an ECDH agreement; the numbers were made by OpenSSL (P-256, P-384) and by a
//! Python program with affine arithmetic (the others), which give the RFC's. BN P-256 and SM2 P-256 sign the same
//! message in the same way.

use std::vec::Vec;

use hex_literal::hex;
use p256::elliptic_curve::ff::PrimeField as _;
use p256::elliptic_curve::group::{Curve as _, Group as _};
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::{CurveArithmetic, FieldBytes, ProjectivePoint, Scalar};
use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_assume, proptest};

use super::{rng, std};
use crate::ecc::{Curve, Point, Signature};
use crate::hash::{HashAlg, digest};
use crate::{Error, Rng};

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

const VECTORS: [Vector; 7] = [
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
    Vector {
        curve: Curve::NistP192,
        d: &hex!("6fab034934e4c0fc9ae67f5b5659a9d7d1fefd187ee09fd4"),
        public: [
            &hex!("ac2c77f529f91689fea0ea5efec7f210d8eea0b9e047ed56"),
            &hex!("3bc723e57670bd4887ebc732c523063d0a7c957bc97c1c43"),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!("98c6bd12b23eaf5e2a2045132086be3eb8ebd62abf6698ff"),
                &hex!("57a22b07dea9530f8de9471b1dc6624472e8e2844bc25b64"),
            ),
            (
                HashAlg::Sha256,
                &hex!("4b0b8ce98a92866a2820e20aa6b75b56382e0f9bfd5ecb55"),
                &hex!("ccdb006926ea9565cbadc840829d8c384e06de1f1e381b85"),
            ),
            (
                HashAlg::Sha384,
                &hex!("da63bf0b9abcf948fbb1e9167f136145f7a20426dcc287d5"),
                &hex!("c3aa2c960972bd7a2003a57e1c4c77f0578f8ae95e31ec5e"),
            ),
            (
                HashAlg::Sha512,
                &hex!("4d60c5ab1996bd848343b31c00850205e2ea6922dac2e4b8"),
                &hex!("3f6e837448f027a1bf4b34e796e32a811cbb4050908d8f67"),
            ),
        ],
        peer: [
            &hex!("bedac67fb3e84eb498a1703b7f3fb0a0aaab39ca554c2ce9"),
            &hex!("c19ec031fb537035b750105fc0bbe37e839d65ded6595639"),
        ],
        z: &hex!("d8f1f49f93c29ee7643ff80b20047fe07c6a1a1816e16a4f"),
        order: &hex!("ffffffffffffffffffffffff99def836146bc9b1b4d22831"),
    },
    Vector {
        curve: Curve::NistP224,
        d: &hex!("f220266e1105bfe3083e03ec7a3a654651f45e37167e88600bf257c1"),
        public: [
            &hex!("00cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6c"),
            &hex!("eeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a"),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!("22226f9d40a96e19c4a301ce5b74b115303c0f3a4fd30fc257fb57ac"),
                &hex!("66d1cdd83e3af75605dd6e2feff196d30aa7ed7a2edf7af475403d69"),
            ),
            (
                HashAlg::Sha256,
                &hex!("61aa3da010e8e8406c656bc477a7a7189895e7e840cdfe8ff42307ba"),
                &hex!("bc814050dab5d23770879494f9e0a680dc1af7161991bde692b10101"),
            ),
            (
                HashAlg::Sha384,
                &hex!("0b115e5e36f0f9ec81f1325a5952878d745e19d7bb3eabfaba77e953"),
                &hex!("830f34ccdfe826ccfdc81eb4129772e20e122348a2bbd889a1b1af1d"),
            ),
            (
                HashAlg::Sha512,
                &hex!("074bd1d979d5f32bf958ddc61e4fb4872adcafeb2256497cdac30397"),
                &hex!("a4ceca196c3d5a1ff31027b33185dc8ee43f288b21ab342e5d8eb084"),
            ),
        ],
        peer: [
            &hex!("e0704216cb9247dfd86e98321459db14caaae7783aee9c2327bce0a0"),
            &hex!("36ae3cea6ef9fca92bad755b42e6d75d64f4d5d8f50c96ca55dc7e28"),
        ],
        z: &hex!("0e88d76d1d5fce4a49002063582945436dfc4b7d5701ab828a287362"),
        order: &hex!("ffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3d"),
    },
    Vector {
        curve: Curve::NistP521,
        d: &hex!(
        "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75ca"
        "a896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538"
        ),
        public: [
            &hex!(
            "01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd37"
            "1123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a4"
            ),
            &hex!(
            "00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28"
            "a0db25741b5b34a828008b22acc23f924faafbd4d33f81ea66956dfeaa2bfdfcf5"
            ),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!(
                "00343b6ec45728975ea5cba6659bbb6062a5ff89eea58be3c80b619f322c87910f"
                "e092f7d45bb0f8eee01ed3f20babec079d202ae677b243ab40b5431d497c55d75d"
                ),
                &hex!(
                "00e7b0e675a9b24413d448b8cc119d2bf7b2d2df032741c096634d6d65d0dbe3d5"
                "694625fb9e8104d3b842c1b0e2d0b98bea19341e8676aef66ae4eba3d5475d5d16"
                ),
            ),
            (
                HashAlg::Sha256,
                &hex!(
                "01511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b3526012659d"
                "16876e25c7c1e57648f23b73564d67f61c6f14d527d54972810421e7d87589e1a7"
                ),
                &hex!(
                "004a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a347916e"
                "4f7a72930b1bc06dbe22ce3f58264afd23704cbb63b29b931f7de6c9d949a7ecfc"
                ),
            ),
            (
                HashAlg::Sha384,
                &hex!(
                "01ea842a0e17d2de4f92c15315c63ddf72685c18195c2bb95e572b9c5136ca4b4b"
                "576ad712a52be9730627d16054ba40cc0b8d3ff035b12ae75168397f5d50c67451"
                ),
                &hex!(
                "01f21a3cee066e1961025fb048bd5fe2b7924d0cd797babe0a83b66f1e35eeaf5f"
                "de143fa85dc394a7dee766523393784484bdf3e00114a1c857cde1aa203db65d61"
                ),
            ),
            (
                HashAlg::Sha512,
                &hex!(
                "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f17"
                "4e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa"
                ),
                &hex!(
                "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af28"
                "2623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a"
                ),
            ),
        ],
        peer: [
            &hex!(
            "005f2348ed9c333aaa631cb0f191e12a9dcdec540bae343957b1cd4bbda1d125f6"
            "71eb43980f2f61417bf847c87d05103a105a525532cc0d246342e94a621b6ab4fa"
            ),
            &hex!(
            "01df577468a8c8658e0d99e11d3e11b30b02af1c0359e4e5db3686073b5ef1ee8c"
            "a621d27eff088cde8e61fd1eb5c7e3e33636f4eea60f10525ee105ab7f85f2b6ba"
            ),
        ],
        z: &hex!(
        "0097f926174eac78f214f20732a5470ddd7e89e004af782936dc787fd1c61d2e6e"
        "e3da25952f6cb29da3a30e7ef818f63f9f04e6970ba488505b80c10fb041303f9e"
        ),
        order: &hex!(
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
        ),
    },
    Vector {
        curve: Curve::BnP256,
        d: &hex!("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"),
        public: [
            &hex!("c589f712247a818e4f2b0afab58e789b55215a98160050579b823a81fd27046d"),
            &hex!("8054662a32e9d9f49daa515e4c804e7c2d777edfd970788a25bf31f30a01f0c0"),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!("749696eea4b4fd250b74e0886ceb278965c7b8b295d112e5fa4ca0869d4242f5"),
                &hex!("dfce06654a84cf742fd155848c9c5ae2985d58e15f1e45f2f71d283efdad0056"),
            ),
            (
                HashAlg::Sha256,
                &hex!("dd20430e7ebbae36a3d5c59b7151592a9ffe027bdeef310c11f752a0b45ce2e0"),
                &hex!("74b6ad4f48cd0c61e0270fd0ace00eba3567059305ff0126291d8b0ded6d9856"),
            ),
            (
                HashAlg::Sha384,
                &hex!("1d429dca430cbe6799c9f5b31c3e2218b480f17bb87cbf14d94be513ec842dcc"),
                &hex!("711b61a52470e52d88354ac54a448466c92f020bf72629671916d2a19737371e"),
            ),
            (
                HashAlg::Sha512,
                &hex!("9a9f01b4b822c1ec8d999896985af333c95329a1614ad79b18fef3c1653b0800"),
                &hex!("9c552a30c7969a602e6a8f33a3cc4f95b722f27b756717bf287936f0c9651c40"),
            ),
        ],
        peer: [
            &hex!("04d3dafe25ec56121c85504de0c087534394f664c99214af4a008aaee02eb70b"),
            &hex!("4085fb0d9461e1267fc1d9a8500b98c26055c21c1fb6e30fd68bfb1880a72ea7"),
        ],
        z: &hex!("f261c8263483d99c57ca483f1fe2eaf7611c8375ca967adbc52db3e3cf655c40"),
        order: &hex!("fffffffffffcf0cd46e5f25eee71a49e0cdc65fb1299921af62d536cd10b500d"),
    },
    Vector {
        curve: Curve::Sm2P256,
        d: &hex!("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"),
        public: [
            &hex!("09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"),
            &hex!("ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"),
        ],
        signatures: [
            (
                HashAlg::Sha1,
                &hex!("50598406c121383c145739a69d14df2afcfe90325b7582c6d9ddb559338172e2"),
                &hex!("b6127fd88673a90c21b31530f25f704c5b6af639c25a618f9e95d53e00d214eb"),
            ),
            (
                HashAlg::Sha256,
                &hex!("e0b2a84f9d1265e93814ded2326498d5802f92a36087b06519eb519701dcd7af"),
                &hex!("60c74f43f41e3f6de6d8c550b4152d5cca168a476b827f4c2780654248dbcc40"),
            ),
            (
                HashAlg::Sha384,
                &hex!("cf3a5e9b4327e536df7303023934a7b7f3a4f3954934dcd43187d086fd146621"),
                &hex!("69dd303de3fb93947d83fddc7274bc57b89425b50f68a1cfec096fd6376a8fb1"),
            ),
            (
                HashAlg::Sha512,
                &hex!("ea74564e889b41b78f37148a35cc0ca8d0da39184b2c486c957887d3f02f1951"),
                &hex!("416b57bc3209f73f80a0eb2dea15ca494593961c53098bc15054aa51df686e4c"),
            ),
        ],
        peer: [
            &hex!("c8dd58918b34bfed15c42115093d1241fa9dbc6202e024e3e0852f49d9fc71fe"),
            &hex!("38ece450fff6520d7622b1fbf7a57cb5b755d5e4f25bbdc724a62a293b025011"),
        ],
        z: &hex!("0652e4af0fd38869ba7d757296cf763e04fda961ce1ffb958a4cd32771249821"),
        order: &hex!("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"),
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
        for bad in [&[][..], &[0], &vector.near_order(0), &vector.near_order(1), &[0xFF; 66][..vector.curve.size()]] {
            assert_eq!(vector.curve.public(bad), Err(Error::Range));
            assert!(vector.curve.multiply(bad, &vector.public()).is_err());
            assert!(vector.curve.ecdsa_sign(bad, &[1; 32], &mut rng(1)).is_err());
        }
        let (one, last) = (vector.curve.public(&[1]).unwrap(), vector.curve.public(&vector.near_order(-1)).unwrap());
        assert_eq!(one.x(), last.x(), "G and −G");
        assert_ne!(one.y(), last.y());
        assert_eq!(vector.curve.public(&[1; 67]), Err(Error::Length));
    }
}

#[test]
fn points_off_the_curve_are_refused() {
    for vector in VECTORS {
        let [x, y] = vector.public;
        let mut off = y.to_vec();
        off[5] ^= 1;
        let too_big = [0xFF; 66];
        let too_big = &too_big[..vector.curve.size()];
        for (x, y) in [(x, &off[..]), (y, x), (&[][..], &[][..]), (too_big, y), (x, too_big)] {
            assert_eq!(Point::new(vector.curve, x, y), Err(Error::Range));
        }
        assert_eq!(Point::new(vector.curve, &[0; 67], y), Err(Error::Length));
    }
}

#[test]
fn a_point_of_another_curve_is_refused() {
    let [p256, p384, ..] = VECTORS;
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
            crate::num::pad_left(self.0, out)
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

/// d · G by the curve's crate, without a table.
fn without_a_table<C: CurveArithmetic>(d: &[u8]) -> [Vec<u8>; 2] {
    let mut bytes = FieldBytes::<C>::default();
    let start = bytes.len() - d.len();
    bytes[start..].copy_from_slice(d);
    let point = ProjectivePoint::<C>::generator() * Scalar::<C>::from_repr(bytes).unwrap();
    let affine = point.to_affine();
    [affine.x().to_vec(), affine.y().to_vec()]
}

fn assert_table(curve: Curve, d: &[u8]) {
    let point = curve.public(d).unwrap();
    let expected = match curve {
        Curve::NistP256 => without_a_table::<p256::NistP256>(d),
        _ => without_a_table::<p384::NistP384>(d),
    };
    assert_eq!([point.x().as_slice(), point.y().as_slice()], expected, "{curve:?} {d:02x?}");
}

/// Each digit alone, from 1 to 15 at every place, reads every entry of the tables, with both signs; then scalars at the
/// ends of the range.
#[test]
fn tables_of_base_points_give_what_multiplication_without_one_gives() {
    for curve in [Curve::NistP256, Curve::NistP384] {
        let order = curve.parameters().n;
        for place in 0..2 * order.len() {
            for digit in (1..=8).chain([15]) {
                let mut d = std::vec![0; order.len()];
                d[order.len() - 1 - place / 2] = digit << (place % 2 * 4);
                if d.as_slice() < order {
                    assert_table(curve, &d);
                }
            }
        }
        for below in 1..=17 {
            let mut d = order.to_vec();
            *d.last_mut().unwrap() -= below;
            assert_table(curve, &d);
        }
        for byte in [0x77, 0x78, 0x87, 0x88, 0x0f, 0xf0, 0xfe] {
            assert_table(curve, &std::vec![byte; order.len()]);
        }
        assert_eq!(curve.public(order), Err(Error::Range));
        assert_eq!(curve.public(&[0]), Err(Error::Range));
    }
}

proptest! {
    #[test]
    fn tables_of_base_points_give_the_same_for_any_scalar(d in any::<[u8; 48]>()) {
        let mut d = d;
        d[0] &= 0x7f;
        prop_assume!(d[..32].iter().any(|&byte| byte != 0));
        assert_table(Curve::NistP384, &d);
        assert_table(Curve::NistP256, &d[..32]);
    }
}
