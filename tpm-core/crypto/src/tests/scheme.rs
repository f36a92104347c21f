//! ECSchnorr, ECDAA, SM2 and ECMQV: the examples of GB/T 32918.5 for SM2; the rest made by a Python program with affine
//! arithmetic.

use hex_literal::hex;
use proptest::prelude::{prop_assert_eq, proptest};

use super::rng;
use crate::Error;
use crate::ecc::{Curve, Point, Signature};
use crate::hash::{HashAlg, digest};

/// Our static and ephemeral scalars and the peer's; the x coordinates that are agreed on; "sample" (SHA-256) signed
/// with our static key and a nonce by ECSchnorr with a hash, and "sample" (SHA-512, longer than most orders) by SM2.
struct Case {
    curve: Curve,
    scalars: [&'static [u8]; 4],
    mqv: &'static [u8],
    sm2_exchange: &'static [u8],
    schnorr: (HashAlg, &'static [u8], &'static [u8]),
    nonce: &'static [u8],
    sm2: (&'static [u8], &'static [u8]),
}

const CASES: [Case; 7] = [
    Case {
        curve: Curve::NistP192,
        scalars: [
            &hex!("457ca4cfb4dfbb71a14042ce4b03832cb84c40f7839fb194"),
            &hex!("3c5e79898276a3c1da4caa8a303f8b27400dadf5842a1fa0"),
            &hex!("7fef2f0ef29953d404e51a6d9f45ecdd24aa4124c54e0f29"),
            &hex!("3e3af0dce6f34189446bc46705eefc07ee8a1938c6315d69"),
        ],
        mqv: &hex!("5bc7c5426f94e52c1932d2400406215bfa5ee82ec2a4bd47"),
        sm2_exchange: &hex!("0282ca6f9fde2422cd7ad6c2db4a393fe88f5c6cea39c2e2"),
        schnorr: (
            HashAlg::Sha512,
            &hex!("eb2316c27e354e5d0a69927394a032583b8ba593cb4410b8"),
            &hex!("79efb49f415c2557be0063b4d113ae80b0dd2f2aca5736e1"),
        ),
        nonce: &hex!("c2bab491c8737900452ec42a5663485a0de1e9f403e31f84"),
        sm2: (
            &hex!("cbb7d71fa4f38124b31c52cf8bb83e59e4aba2b4a3763347"),
            &hex!("a21e46500e2c86205bb19d333735318ff06cde1178aa80f8"),
        ),
    },
    Case {
        curve: Curve::NistP224,
        scalars: [
            &hex!("170f033f7e112c631903ecb549a909255aa524af97a959083a76f06b"),
            &hex!("a61a0357746dd75a13c087946d8d94d5be217bf7160ab5920f9eb501"),
            &hex!("9c7163a64e20a8dc315eb6443f017087ef458509a6d133341a22fa9b"),
            &hex!("ad75db612e1c870ab611a8c5910de3697591751d93faedc952391ce2"),
        ],
        mqv: &hex!("a5f91127ca6a5776174c3f1d74a8267839129ef3ab67e91f2150d03a"),
        sm2_exchange: &hex!("7bc636b18eb0d9215b57602049f6c53d036bc7ce6b8d4bf430f029e1"),
        schnorr: (
            HashAlg::Sha512,
            &hex!("48e4b927c478a979102acd51d6f6b1523f07853fff6d44c9d6f99021"),
            &hex!("62713dedd102ae6fb03c2e0680c31de992575358d5666f1520257a8b"),
        ),
        nonce: &hex!("a4d05e6faeb2dc9595d952755f480858f0f6688e757a267c6b64b1d1"),
        sm2: (
            &hex!("574350c2e632210ef98299450f297460ff5a5e472363b7b4b6e43f1d"),
            &hex!("9d04fbbf8ad842167fa1016f2dcd160c0a746bf341115529c9f42293"),
        ),
    },
    Case {
        curve: Curve::NistP256,
        scalars: [
            &hex!("876c9d2cb99f5f8611941276aa3294aec9bd76135fee44c86001b3ef634ed048"),
            &hex!("1dae08abc5043778845ee52ab86df84a6175bf2e02117f0e138098c0962f34f2"),
            &hex!("120c13eceabb18c25c484623aeacc3dc584a22ae9b4bda356a13b1dc281c88c1"),
            &hex!("869dfd25e21756b3761e6887819ccb8d7b463d9afd66077ad884c6e03b554345"),
        ],
        mqv: &hex!("d7af899f7b921e7fd4032d04b28b519ccb4e34f66138622d51db4a31626226fb"),
        sm2_exchange: &hex!("3d83f2707852120f1f3434da5477f32269c237e485b5c351005cf225357a0dda"),
        schnorr: (
            HashAlg::Sha256,
            &hex!("72dbbecfa1bc57326782f2a16c8c5920de5a580297fc2a932a35916b0c27c7b3"),
            &hex!("b150530f850094bdcf0eac2ebc877956b4427d7ea19dd1997b3bda0a728757e3"),
        ),
        nonce: &hex!("f5a8d50dcba5beafb5668a00eb374fa1d7a89b217b3e6228a5359a4063fc9dba"),
        sm2: (
            &hex!("3611741a55e1696fb6c3c22face6153a5b59784dc18836da32b4f4f56bd92a77"),
            &hex!("8da9e5104126e2ee79a0d16aa0e1a00da339fbfaa86cda6f0ac7d7e4fbb49618"),
        ),
    },
    Case {
        curve: Curve::NistP384,
        scalars: [
            &hex!(
            "fe107a8f1c03b189df9251d8c2ad2492deb8cd1472ac1eea68ac04d71613b2930e"
            "e07253da0a207b7185c1def2a878d5"
            ),
            &hex!(
            "1ed0b38011379dd0406f4a6ce7144c1f77c05d8515234ee9d76ac9f191e08f1602"
            "1e7496581937273832ac2e212d9993"
            ),
            &hex!(
            "4f108ab2f2cc614a034bddb543c98fa0b82bd0b2f9fdf49eff3ed58588bed1e7ca"
            "c3e6b19bfb9d31d66a8bad72cc5570"
            ),
            &hex!(
            "10e07fdc9604821ad06b4a69d32d3a3005520e56210c1e47c1a01c02a7c4eed1b4"
            "17d91cbb0f4fdb1fe51f27a8c311ae"
            ),
        ],
        mqv: &hex!(
        "f8d676a0c148fde25e6ed6cb1dd909cd22acd940b599264da3ace6dd52a6fba70f"
        "6bb22fb6ba640564cd3eddf0f4beee"
        ),
        sm2_exchange: &hex!(
        "edb6826a746de919ce2a389da2cca3f4b8fcbdbcb016ac1b7691d63341e6a61c81"
        "9554243d1fb07ec03755d03349e328"
        ),
        schnorr: (
            HashAlg::Sha384,
            &hex!(
            "34973b3787c64b0b3d1656574be243c23fb1c9d76ae6c408c331c7a4a73eb2d7c0"
            "6ff8ad35d1cd4f36e6e3ad05fc472c"
            ),
            &hex!(
            "32f69c568018216b7afa949f08d72ba17f185a40f818b4bf1edbe45a01cc0f0082"
            "aac2ea5898994f7c2b2e5939412014"
            ),
        ),
        nonce: &hex!(
        "e14c2677e6beeadc80c640fbadd0d1e0a3a51290ce3db128ff06ba5eb54efa47f2"
        "f3bdd18db368da888bd41affe5a765"
        ),
        sm2: (
            &hex!(
            "d67d8f1239c0d881015b9da6a8c5af5fd634ba5c0c42348a75deeee06d89e32b50"
            "40c888e8417fcd414d5fb67ef148ca"
            ),
            &hex!(
            "0efc007448ba98ca98525660f0df3eb6ce452ece469c23c952b9a6e802db2e7998"
            "31f13eb0b095e1230c981052a2f873"
            ),
        ),
    },
    Case {
        curve: Curve::NistP521,
        scalars: [
            &hex!(
            "01a0d3b52e8449b171b072589a3c51c4a0036cfc454640dc0b31ae1f1565c777ea"
            "a19194c72ab04309ed047dfb5184578ccbe785b2e2c378bc68c437c9c2ed909cd6"
            ),
            &hex!(
            "0130549e1931cdcb6b65654d35a75ae15995048bf46c463c195b2150f87624ced4"
            "877e76689fb1da4ab6d82fbd31b8318a53fdea9ed8246a37deb1be580fefc46ae0"
            ),
            &hex!(
            "013f459a7246c637bea15d3fadda77dde3d5590633245c7d8d08560e1c0f0193fa"
            "a423be644f2feaaa33468556e2dfe69ea80795e533923273128900c62b05c5a13a"
            ),
            &hex!(
            "019c7bb89753f4846091c088db112d19b9fec875123e1fd81f82edaeb119ed3842"
            "15f8a2ceb166fd2c7e88a9035b177c8e95cfb930da2b06b914a99790afa8713d1f"
            ),
        ],
        mqv: &hex!(
        "019bbdacba617fefe04d660810bed7f03496ff2477d34dd31d505183b66a5fb848"
        "754fd7c6169f2df1bcadba4e68f895a1bb10751217da1fa1259653fb8f6ba278a5"
        ),
        sm2_exchange: &hex!(
        "016f723271e9819f74c72e8ae512c68e6974dc586f1055e17855e156e2b2299710"
        "07776b9dbba41cb0504ad1a17360acfe0e03f0e885ae4a1a8e0022f59095fa8ef1"
        ),
        schnorr: (
            HashAlg::Sha256,
            &hex!(
            "000000000000000000000000000000000000000000000000000000000000000000"
            "001b2bcfaa095fb7b4f53a136da93f31505f7b9960210ab98c937547554a429b58"
            ),
            &hex!(
            "016d7fdb33fb2fa0a554be788d42c74079ec3bda8a364bcc16bd6588f321dd47f4"
            "973d83c2c4de621d77442d997590a85f3afd2c965492b1011954283c1dc9c27a23"
            ),
        ),
        nonce: &hex!(
        "00c1cee9469d413fb3a11068fb03040c4920e9877beb0be10292f833ead47f13b6"
        "3b96b34b467dd358ed652eee4e6d2601b0e41e7c5e203be0ec7fb5628094dd21e4"
        ),
        sm2: (
            &hex!(
            "01a8e511d66bdbbb47c74039c0a858ce3c8b1d9370b82e312a7cf67c36ba6cd7cd"
            "cddcdc56d4c67527b6d064dbdec6f6eaf51323d481d51f415b4e4761f8b0cbded9"
            ),
            &hex!(
            "00334fa721c9ff5523257f19608a02c179060e231143f075bd07e2dc73fef86479"
            "ed290307be550399e1fe5ddc18170c3c4d5d1f9465e452d316f7d614b63a8b7859"
            ),
        ),
    },
    Case {
        curve: Curve::BnP256,
        scalars: [
            &hex!("4b9c214c366a5b2f14afcafec363c0bf64212c67c70c56b7174aeeac4eee1db3"),
            &hex!("b37208e04f90c7af14817ee84dab592753810e5bb762d2920ec4fed874d275f4"),
            &hex!("5f43c72a5fd113aca9a982d000de782501db56aec76b5de4a550d7fdd21655d7"),
            &hex!("bf4b2b7cfe9ddff86d16925acaa66d0c796cabbefe027b7374bf0987a67a037a"),
        ],
        mqv: &hex!("1128c8a55b4090745b2915407b2ebfb05062bb8aed6effe497c18aed417d906a"),
        sm2_exchange: &hex!("051cf461957c9957e854263c30a35243ff6fe1c282686ed6da1c9196ec6fcf80"),
        schnorr: (
            HashAlg::Sha256,
            &hex!("5c2c9a361afdc62e28d46884dd57b1a7741ba24d53cc5fcbbabe5b5f0cc8f811"),
            &hex!("297c59785b6dbe77b57ce948b0855eecafe9791b1f02dd3930f72f3cdd397311"),
        ),
        nonce: &hex!("7ebeede6333495eaf6a071dec60a384e223718840b4e1663e7dbb94b47a78750"),
        sm2: (
            &hex!("bae8dac1bbf501ca91f3399f5196844f3ffb60c8b9dc43182e064d60d4494cb0"),
            &hex!("4fd2c6f66c018229570603e923972cb2ef7dc88118e56e7f6054cece0a992c5f"),
        ),
    },
    Case {
        curve: Curve::Sm2P256,
        scalars: [
            &hex!("cf8fb0df7cf953f00203c62d0c2d6e1f1e699201625abb9320c7205c20545937"),
            &hex!("dcfc4fc3b29cd11a8ecd668e246ea6583abeccc58bc7ffcad35211da92c54d48"),
            &hex!("4ad214c8fed7bb24ec799c2dc4412fabf6ae84aa2f2e978909b798a6abea38c1"),
            &hex!("03e9c2bfb12937095232bdd2765064d1d920680198fa8f8829de26591fc18230"),
        ],
        mqv: &hex!("3c7a96d3af324e5a91ef767346746caaf584608b28a3c3dc0659563414e8a1f1"),
        sm2_exchange: &hex!("23ad96ccf6ce3378cc0499863762648ea6f3aa2bef62c6e6b4f02f94eb42030f"),
        schnorr: (
            HashAlg::Sha256,
            &hex!("b076852dc2a0fd613b8cf53be2d0b0eaefaaf54e77f8a95f705e455f89ad6cd3"),
            &hex!("0e40c0013f43ce236e320dd8ff0ade123f1a1fcafb54ed2dd68b937c91d0a34b"),
        ),
        nonce: &hex!("68765bc9f62c8f9d6b8e83afb110777e87896bd2f24a7949d6a1006bae010ed4"),
        sm2: (
            &hex!("886ccad22422b0b25c838775d1041c04fd3a94091c1b7bdfef2f78456c311371"),
            &hex!("3e8518e50b47227c51ef3f1b27bccba3a1a22db45a4356663a99f7213fc654aa"),
        ),
    },
];

#[test]
fn two_phase_exchanges_give_what_both_sides_compute() {
    for case in CASES {
        let [ds, de, es, ee] = case.scalars;
        let point = |d| case.curve.public(d).unwrap();
        let x = |point: Result<Point, Error>| point.unwrap().x().as_slice().to_vec();
        assert_eq!(x(case.curve.mqv(ds, de, &point(es), &point(ee))), case.mqv, "{:?}", case.curve);
        assert_eq!(x(case.curve.mqv(es, ee, &point(ds), &point(de))), case.mqv);
        assert_eq!(x(case.curve.sm2_exchange(ds, de, &point(es), &point(ee))), case.sm2_exchange, "{:?}", case.curve);
        assert_eq!(x(case.curve.sm2_exchange(es, ee, &point(ds), &point(de))), case.sm2_exchange);
        assert_ne!(
            x(case.curve.mqv(de, ds, &point(es), &point(ee))),
            case.mqv,
            "static and ephemeral are not the same"
        );
    }
}

/// GB/T 32918.5, C.2.
#[test]
fn the_sm2_exchange_of_the_standard() {
    let d_a = hex!("81eb26e941bb5af16df116495f90695272ae2cd63d6c4ae1678418be48230029");
    let r_a = hex!("d4de15474db74d06491c440d305e012400990f3e390c7e87153c12db2ea60bb3");
    let d_b = hex!("785129917d45a9ea5437a59356b82338eaadda6ceb199088f14ae10defa229b5");
    let r_b = hex!("7e07124814b309489125eaed101113164ebf0f3458c5bd88335c1f9d596243d6");
    let point = |d: &[u8]| Curve::Sm2P256.public(d).unwrap();
    let u = Curve::Sm2P256.sm2_exchange(&d_a, &r_a, &point(&d_b), &point(&r_b)).unwrap();
    assert_eq!(u.x().as_slice(), hex!("c558b44bee5301d9f52b44d939bb59584d75b9034dd6a9fc826872109a65739f"));
    assert_eq!(u.y().as_slice(), hex!("3252b35b191d8ae01cd122c025204334c5eacf68a0cb4854c6a7d367ecad4de7"));
}

/// GB/T 32918.5, A.2.
#[test]
fn the_sm2_signature_of_the_standard() {
    let d = hex!("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8");
    let k = hex!("59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21");
    let e = hex!("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640");
    let signature = Curve::Sm2P256.sm2_sign_with(&d, &k, &e).unwrap().unwrap();
    assert_eq!(signature.r.as_slice(), hex!("f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"));
    assert_eq!(signature.s.as_slice(), hex!("b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"));
    assert_eq!(Curve::Sm2P256.sm2_verify(&Curve::Sm2P256.public(&d).unwrap(), &e, &signature), Ok(()));
}

#[test]
fn signatures_of_another_implementation() {
    let (sha256, sha512) = (digest(HashAlg::Sha256, &[b"sample"]), digest(HashAlg::Sha512, &[b"sample"]));
    for case in CASES {
        let public = case.curve.public(case.scalars[0]).unwrap();
        let (hash, r, s) = case.schnorr;
        let signature = Signature::new(case.curve, r, s).unwrap();
        assert_eq!(
            case.curve.ecschnorr_verify(&public, hash, sha256.as_slice(), &signature),
            Ok(()),
            "{:?}",
            case.curve
        );
        let (r, s) = case.sm2;
        let signature = Signature::new(case.curve, r, s).unwrap();
        assert_eq!(case.curve.sm2_verify(&public, sha512.as_slice(), &signature), Ok(()), "{:?}", case.curve);
        assert_eq!(case.curve.sm2_sign_with(case.scalars[0], case.nonce, sha512.as_slice()), Ok(Some(signature)));
    }
}

/// r or s zero, the order, or above it.
#[test]
fn signature_halves_out_of_range_are_invalid() {
    for case in CASES {
        let public = case.curve.public(case.scalars[0]).unwrap();
        let n = case.curve.parameters().n;
        let (hash, r, s) = case.schnorr;
        for (r, s) in [(&[0][..], s), (r, &[0]), (n, s), (r, n)] {
            let signature = Signature::new(case.curve, r, s).unwrap();
            assert_eq!(case.curve.ecschnorr_verify(&public, hash, &[1; 32], &signature), Err(Error::Invalid));
            assert_eq!(case.curve.sm2_verify(&public, &[1; 32], &signature), Err(Error::Invalid));
        }
    }
}

/// The base point comes from the constants, and they satisfy the equation: the libraries and the constants are of the
/// same curve.
#[test]
fn the_constants_are_those_of_the_arithmetic() {
    for &curve in Curve::ALL {
        let constants = curve.parameters();
        assert_eq!(curve.public(&[1]).unwrap(), Point::new(curve, constants.gx, constants.gy).unwrap());
        assert_eq!(curve.public(constants.n), Err(Error::Range));
        let mut last = constants.n.to_vec();
        *last.last_mut().unwrap() -= 1;
        let minus_g = curve.public(&last).unwrap();
        assert_eq!(minus_g.x().as_slice(), constants.gx);
        let all = [constants.p, constants.a, constants.b, constants.gx, constants.gy, constants.n];
        assert!(all.iter().all(|number| number.len() == curve.size()));
    }
}

/// (n − 1) · G + 1 · G and the like: the complete formulas need no special case, and infinity is refused.
#[test]
fn sums_at_infinity_are_refused() {
    for case in CASES {
        let q = case.curve.public(case.scalars[0]).unwrap();
        let mut minus = case.curve.parameters().n.to_vec();
        *minus.last_mut().unwrap() -= 1;
        let doubled = case.curve.multiply(&[2], &q).unwrap();
        assert_eq!(case.curve.multiply(&minus, &doubled).unwrap().x(), doubled.x());
        assert_eq!(case.curve.multiply(&[0], &q), Err(Error::Range));
    }
}

/// x = H mod p, and only for a y that fits.
#[test]
fn hashed_points_are_on_the_curve_or_refused() {
    for &curve in Curve::ALL {
        let g = curve.public(&[7]).unwrap();
        if let Some(x) = crate::hash::Digest::from_slice(g.x().as_slice()) {
            assert_eq!(curve.hashed_point(&x, g.y().as_slice()), Ok(g));
            assert_eq!(curve.hashed_point(&x, &[1]), Err(Error::Range));
        }
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(6))]

    #[test]
    fn what_is_signed_verifies_and_with_a_bit_changed_does_not(seed: u8, message: [u8; 32], at in 0_usize..32, bit in 0_u8..8) {
        for &curve in Curve::ALL {
            let mut rng = rng(seed);
            let (d, public) = curve.generate(&mut rng).unwrap();
            let mut other = message;
            other[at] ^= 1 << bit;
            let signature = curve.ecschnorr_sign(d.as_slice(), HashAlg::Sha256, &message, &mut rng).unwrap();
            prop_assert_eq!(curve.ecschnorr_verify(&public, HashAlg::Sha256, &message, &signature), Ok(()));
            prop_assert_eq!(curve.ecschnorr_verify(&public, HashAlg::Sha256, &other, &signature), Err(Error::Invalid));
            let signature = curve.sm2_sign(d.as_slice(), &message, &mut rng).unwrap();
            prop_assert_eq!(curve.sm2_verify(&public, &message, &signature), Ok(()));
            prop_assert_eq!(curve.sm2_verify(&public, &other, &signature), Err(Error::Invalid));
            let swapped = Signature { r: signature.s, s: signature.r };
            prop_assert_eq!(curve.sm2_verify(&public, &message, &swapped), Err(Error::Invalid));
        }
    }

    /// s · G = R + T · Q with R = commit · G, which is what a DAA verifier checks (with other generators).
    #[test]
    fn an_ecdaa_signature_is_bound_to_its_commitment(seed: u8, message: [u8; 32]) {
        for &curve in Curve::ALL {
            let mut rng = rng(seed);
            let (d, q) = curve.generate(&mut rng).unwrap();
            let (r, commitment) = curve.generate(&mut rng).unwrap();
            let signature = curve.ecdaa_sign(d.as_slice(), r.as_slice(), HashAlg::Sha256, &message, &mut rng).unwrap();
            let t = digest(HashAlg::Sha256, &[signature.r.as_slice(), &message]);
            let t = curve.reduce(t.as_slice(), curve.parameters().n).unwrap();
            let tq = curve.multiply(t.as_slice(), &q).unwrap();
            let left = curve.public(signature.s.as_slice()).unwrap();
            prop_assert_eq!(left, curve.sum(&commitment, &tq).unwrap());
        }
    }
}
