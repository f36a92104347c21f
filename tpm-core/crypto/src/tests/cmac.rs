//! RFC 4493 and SP 800-38B for AES, OpenSSL for the others.

use hex_literal::hex;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use crate::cmac::Cmac;
use crate::sym::SymAlg;

const KEY: [u8; 32] = hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
const KEY_128: [u8; 16] = hex!("2b7e151628aed2a6abf7158809cf4f3c");
const MESSAGE: [u8; 64] = hex!(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
);

#[test]
fn messages_of_no_one_partial_and_whole_blocks() {
    let macs: [(SymAlg, &[u8], [[u8; 16]; 4]); 5] = [
        (
            SymAlg::Aes,
            &KEY_128,
            [
                hex!("bb1d6929e95937287fa37d129b756746"),
                hex!("070a16b46b4d4144f79bdd9dd04a287c"),
                hex!("dfa66747de9ae63030ca32611497c827"),
                hex!("51f0bebf7e3b9d92fc49741779363cfe"),
            ],
        ),
        (
            SymAlg::Aes,
            &KEY,
            [
                hex!("028962f61b7bf89efc6b551f4667d983"),
                hex!("28a7023f452e8f82bd4bf28d8c37c35c"),
                hex!("aaf3d8f1de5640c232f5b169b9c911e6"),
                hex!("e1992190549f6ed5696a2c056c315410"),
            ],
        ),
        (
            SymAlg::Camellia,
            &KEY_128,
            [
                hex!("ba925782aaa1f5d9a00f89648094fc71"),
                hex!("6d962854a3b9fda56d7d45a95ee17993"),
                hex!("5c18d119ccd6766144ac1866131d9f22"),
                hex!("c2699a6eba55ce9d939a8a4e19466ee9"),
            ],
        ),
        (
            SymAlg::Camellia,
            &KEY,
            [
                hex!("01e1f2fdac3a30055b3dbafdea119078"),
                hex!("aa5decec4af41291df4b6fe726167c79"),
                hex!("7800be582ad62caee6a02ec68c5ecd67"),
                hex!("07472d6ba0b2af3bcb235a701606a07a"),
            ],
        ),
        (
            SymAlg::Sm4,
            &KEY_128,
            [
                hex!("399a9c930964a3d4e38c59da47f0b309"),
                hex!("4e4c2a4417e567fef081e0fab55a5762"),
                hex!("8e31701927d50b28d53787513b69dd75"),
                hex!("cc2b4f3d2c5aaf8a4ac30e28650eddc0"),
            ],
        ),
    ];
    for (alg, key, macs) in macs {
        for (len, mac) in [0, 16, 40, 64].into_iter().zip(macs) {
            let cmac = Cmac::new(alg, key).unwrap().chain(&MESSAGE[..len]);
            assert_eq!(cmac.duplicate().finish(), mac, "{alg:?} {len}");
            assert!(cmac.duplicate().verify(&mac));
            assert!(!cmac.verify(&mac[..8]), "a shortened CMAC");
        }
    }
    assert!(Cmac::new(SymAlg::Sm4, &KEY).is_err());
}

proptest! {
    #[test]
    fn pieces_make_no_difference(data in proptest::collection::vec(any::<u8>(), 0..100), cut in any::<proptest::sample::Index>()) {
        let (head, tail) = data.split_at(cut.index(data.len() + 1));
        for &alg in SymAlg::ALL {
            let cmac = Cmac::new(alg, &KEY_128).unwrap();
            let whole = cmac.duplicate().chain(&data).finish();
            prop_assert_eq!(cmac.duplicate().chain(head).chain(tail).finish(), whole);
            prop_assert!(tail.is_empty() || cmac.chain(head).finish() != whole);
        }
    }
}
