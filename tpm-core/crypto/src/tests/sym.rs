//! SP 800-38A, Annex F: the four blocks of plaintext in every mode with every key size.

use std::vec::Vec;

use hex_literal::hex;
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::std;
use crate::Error;
use crate::sym::{Cipher, Mode, SymAlg};

const KEYS: [&[u8]; 3] = [
    &hex!("2b7e151628aed2a6abf7158809cf4f3c"),
    &hex!("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"),
    &hex!("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
];

const PLAIN: [u8; 64] = hex!(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
);

type Vector = (Mode, &'static [u8], [[u8; 64]; 3]);

/// Modes with their IVs and the ciphertexts for the three keys.
const VECTORS: [Vector; 5] = [
    (
        Mode::Ecb,
        &hex!(""),
        [
            hex!(
                "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
                "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"
            ),
            hex!(
                "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
                "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e"
            ),
            hex!(
                "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
                "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"
            ),
        ],
    ),
    (
        Mode::Cbc,
        &hex!("000102030405060708090a0b0c0d0e0f"),
        [
            hex!(
                "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"
            ),
            hex!(
                "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
                "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"
            ),
            hex!(
                "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
                "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
            ),
        ],
    ),
    (
        Mode::Cfb,
        &hex!("000102030405060708090a0b0c0d0e0f"),
        [
            hex!(
                "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"
                "26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6"
            ),
            hex!(
                "cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a"
                "2e1e8a1dd59b88b1c8e60fed1efac4c9c05f9f9ca9834fa042ae8fba584b09ff"
            ),
            hex!(
                "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b"
                "df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471"
            ),
        ],
    ),
    (
        Mode::Ofb,
        &hex!("000102030405060708090a0b0c0d0e0f"),
        [
            hex!(
                "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825"
                "9740051e9c5fecf64344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e"
            ),
            hex!(
                "cdc80d6fddf18cab34c25909c99a4174fcc28b8d4c63837c09e81700c1100401"
                "8d9a9aeac0f6596f559c6d4daf59a5f26d9f200857ca6c3e9cac524bd9acc92a"
            ),
            hex!(
                "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d"
                "71ab47a086e86eedf39d1c5bba97c4080126141d67f37be8538f5a8be740e484"
            ),
        ],
    ),
    (
        Mode::Ctr,
        &hex!("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"),
        [
            hex!(
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
                "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"
            ),
            hex!(
                "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
                "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050"
            ),
            hex!(
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
            ),
        ],
    ),
];

/// The same plaintext, keys (by their number above) and IVs with the other ciphers, encrypted by OpenSSL.
const OTHER_CIPHERS: [(SymAlg, usize, Mode, [u8; 64]); 20] = [
    (
        SymAlg::Camellia,
        0,
        Mode::Ecb,
        hex!(
            "432fc5dcd628115b7c388d770b270c960be1f14023782a22e8384c5abb7fab2b"
            "a0a1abcd1893ab6fe0fe5b65df5f8636e61925e0d5dfaa9bb29f815b3076e51a"
        ),
    ),
    (
        SymAlg::Camellia,
        0,
        Mode::Cbc,
        hex!(
            "1607cf494b36bbf00daeb0b503c831aba2f2cf671629ef7840c5a5dfb5074887"
            "0f06165008cf8b8b5a63586362543e54e7208a2ca89cc21aacd56aaa6fb98259"
        ),
    ),
    (
        SymAlg::Camellia,
        0,
        Mode::Cfb,
        hex!(
            "14f7646187817eb586599146b82bd719a53d28bb82df741103ea4f921a44880b"
            "9c2157a664626d1def9ea420fde69b96742a25f0542340c7baef24ca8482bb09"
        ),
    ),
    (
        SymAlg::Camellia,
        0,
        Mode::Ofb,
        hex!(
            "14f7646187817eb586599146b82bd719973291716c4d82d01a079e6df700e6eb"
            "0ef0603e2ee534c174f44a8678a01f5ba9978a354c35c7a052c38218183cbe71"
        ),
    ),
    (
        SymAlg::Camellia,
        0,
        Mode::Ctr,
        hex!(
            "b809140877dd16c076780904f83ded11bb41e64e9bf176ce05d4186b2586d4c9"
            "49e82fdc5d6e78ab781363e51781fc9b731a3c0583979a926e7fe0b8a205ac29"
        ),
    ),
    (
        SymAlg::Camellia,
        1,
        Mode::Ecb,
        hex!(
            "cccc6c4e138b45848514d48d0d3439d35713c62c14b2ec0f8393b6afd6f5785a"
            "b40ed2b60eb54d09d030cf511feef366909dbd95799096748cb27357e73e1d26"
        ),
    ),
    (
        SymAlg::Camellia,
        1,
        Mode::Cbc,
        hex!(
            "2a4830ab5ac4a1a2405955fd2195cf935d5a869bd14ce54264f892a6dd2ec3d5"
            "37d359c3349836d884e310addf68c44901faaa930b4ab9916e9668e1428c6b08"
        ),
    ),
    (
        SymAlg::Camellia,
        1,
        Mode::Cfb,
        hex!(
            "c832bb9780677daa82d9b6860dcd565e86f8491627906d780c7a6d46ea331f98"
            "69511cce594cf710cb98bb63d7221f01d5b5378a3abed55803f25565d8907b84"
        ),
    ),
    (
        SymAlg::Camellia,
        1,
        Mode::Ofb,
        hex!(
            "c832bb9780677daa82d9b6860dcd565e3c2d4dd917844e919c637a3ab938b451"
            "e5a9fb948bc3a757057d3d8ef304ef432c6670555bbdd6c8f89e25df337ca849"
        ),
    ),
    (
        SymAlg::Camellia,
        1,
        Mode::Ctr,
        hex!(
            "564617f8ea0938bb25dc9d199ca57e2a277412da1a840117bb1291458757c37c"
            "c766846c319f0aa11963588babdc9d5f955441063efc3f046c805e938ebda91b"
        ),
    ),
    (
        SymAlg::Camellia,
        2,
        Mode::Ecb,
        hex!(
            "befd219b112fa00098919cd101c9ccfac91d3a8f1aea08a9386cf4b66c0169ea"
            "a623d711dc5f25a51bb8a80d56397d287960109fb6dc42947fcfe59ea3c5eb6b"
        ),
    ),
    (
        SymAlg::Camellia,
        2,
        Mode::Cbc,
        hex!(
            "e6cfa35fc02b134a4d2c0b6737ac3eda36cbeb73bd504b4070b1b7de2b21eb50"
            "e31a6055297d96ca3330cdf1b1860a835d563f6d1cccf236051c0c5c1c58f28f"
        ),
    ),
    (
        SymAlg::Camellia,
        2,
        Mode::Cfb,
        hex!(
            "cf6107bb0cea7d7fb1bd31f5e7b06c9389bedb4ccdd864ea11ba4cbe849b5e2b"
            "555fc3f34bdd2d54c62d9e3bf338c1c45953adce14db8c7f39f1bd39f359bffa"
        ),
    ),
    (
        SymAlg::Camellia,
        2,
        Mode::Ofb,
        hex!(
            "cf6107bb0cea7d7fb1bd31f5e7b06c9385521db2f6bb677f1eb2244658418340"
            "23272685ae6049c788114b3c21ca205c5ee78c39291e114699050e3d20db0c4a"
        ),
    ),
    (
        SymAlg::Camellia,
        2,
        Mode::Ctr,
        hex!(
            "47ba6eea51b438fcf21c3cc9887628171a7bbbfc7f6e9ee58646c3ef8dabc540"
            "fad5121ba9aec78ab1005f0a1480aa96f23000ae0286650906ae9e51eae924eb"
        ),
    ),
    (
        SymAlg::Sm4,
        0,
        Mode::Ecb,
        hex!(
            "a51411ff04a711443891fce7ab842a29d5b50f46a9a730a0f590ffa776d99855"
            "c9a86a4d71447f4e873ada4f388af9b92b25557b50514d155939e6ec940ad90e"
        ),
    ),
    (
        SymAlg::Sm4,
        0,
        Mode::Cbc,
        hex!(
            "ac529af989a62fce9cddc5ffb84125cab168dd69db3c0eea1ab16de6aea43c59"
            "2c15567bff8f707486c202c7be59101f74a629b350cd7e11be99998af5206d6c"
        ),
    ),
    (
        SymAlg::Sm4,
        0,
        Mode::Cfb,
        hex!(
            "bc710d762d070b26361da82b54565e46a4cd42786a3a5293a3c6cbc123f0b354"
            "407055b1c1a5d9982c187d5c3ee0ced84b82c40f2f0a4e0341797f1f307b8047"
        ),
    ),
    (
        SymAlg::Sm4,
        0,
        Mode::Ofb,
        hex!(
            "bc710d762d070b26361da82b54565e4607a0c62834740ad3240d239125e11621"
            "d476b21cc9f04951f0741d2ef9e094981584fc142bf13aa626b82f9d7d076cce"
        ),
    ),
    (
        SymAlg::Sm4,
        0,
        Mode::Ctr,
        hex!(
            "14ae4a72b97a93ce1216ccd998e371c160f7ef8b6344bd6da1992505e5fc219b"
            "0bf057f86c5d75103c0f46519c7fb2e7292805035adb9a90ecef145359d7cf0e"
        ),
    ),
];

const MODES: [Mode; 5] = [Mode::Ecb, Mode::Cbc, Mode::Cfb, Mode::Ofb, Mode::Ctr];

fn aes(key: &[u8]) -> Cipher {
    Cipher::new(SymAlg::Aes, key).unwrap()
}

#[test]
fn every_mode_and_key_size_gives_the_blocks_of_sp_800_38a() {
    for (mode, iv, ciphertexts) in VECTORS {
        for (key, ciphertext) in KEYS.iter().zip(ciphertexts) {
            let (mut data, mut iv_out) = (PLAIN, iv.to_vec());
            aes(key).encrypt(mode, &mut iv_out, &mut data).unwrap();
            assert_eq!(data, ciphertext, "{mode:?}");
            let mut iv_back = iv.to_vec();
            aes(key).decrypt(mode, &mut iv_back, &mut data).unwrap();
            assert_eq!(data, PLAIN, "{mode:?}");
            assert_eq!(iv_out, iv_back, "both ways lead to the same next IV");
        }
    }
}

#[test]
fn the_other_ciphers_give_what_openssl_gives() {
    for (alg, key, mode, ciphertext) in OTHER_CIPHERS {
        let iv = VECTORS.iter().find(|(m, ..)| *m == mode).unwrap().1;
        let cipher = Cipher::new(alg, KEYS[key]).unwrap();
        let mut data = PLAIN;
        cipher.encrypt(mode, &mut iv.to_vec(), &mut data).unwrap();
        assert_eq!(data, ciphertext, "{alg:?} {mode:?}");
        cipher.decrypt(mode, &mut iv.to_vec(), &mut data).unwrap();
        assert_eq!(data, PLAIN, "{alg:?} {mode:?}");
    }
}

/// RFC 3713, Appendix A, and GB/T 32907, Appendix A.1.
#[test]
fn a_block_of_the_standards_own_examples() {
    let block = hex!("0123456789abcdeffedcba9876543210");
    let key = hex!("0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff");
    let expected = [
        (SymAlg::Camellia, 16, hex!("67673138549669730857065648eabe43")),
        (SymAlg::Camellia, 24, hex!("b4993401b3e996f84ee5cee7d79b09b9")),
        (SymAlg::Camellia, 32, hex!("9acc237dff16d76c20ef7c919e3a7509")),
        (SymAlg::Sm4, 16, hex!("681edf34d206965e86b3e94f536e4246")),
    ];
    for (alg, len, ciphertext) in expected {
        let mut data = block;
        Cipher::new(alg, &key[..len]).unwrap().encrypt(Mode::Ecb, &mut [], &mut data).unwrap();
        assert_eq!(data, ciphertext, "{alg:?} {len}");
    }
}

#[test]
fn ciphers_have_the_keys_of_their_standards_only() {
    for &alg in SymAlg::ALL {
        assert_eq!(SymAlg::from_id(alg.id()), Some(alg));
        for len in 0..40 {
            assert_eq!(Cipher::new(alg, &[0; 40][..len]).is_ok(), alg.has_key_bits(len as u16 * 8), "{alg:?} {len}");
        }
    }
    assert!(!SymAlg::Sm4.has_key_bits(256));
    assert_eq!(aes(KEYS[0]).encrypt(Mode::Cmac, &mut [0; 16], &mut [0; 16]), Err(Error::Key));
    assert!(!Mode::Cmac.encrypts() && Mode::from_id(0x3f) == Some(Mode::Cmac));
}

/// Part 3, 15.2 and 15.3: ivOut is the IV with which to go on (CVE-2026-21444 is about its absence).
#[test]
fn the_next_iv_is_that_of_the_mode() {
    for (mode, iv, [ciphertext, ..]) in VECTORS {
        let (mut data, mut next) = (PLAIN, iv.to_vec());
        aes(KEYS[0]).encrypt(mode, &mut next, &mut data).unwrap();
        let expected: Vec<u8> = match mode {
            Mode::Ecb | Mode::Cmac => Vec::new(),
            Mode::Cbc | Mode::Cfb => ciphertext[48..].to_vec(),
            Mode::Ofb => ciphertext[48..].iter().zip(&PLAIN[48..]).map(|(c, p)| c ^ p).collect(),
            Mode::Ctr => hex!("f0f1f2f3f4f5f6f7f8f9fafbfcfdff03").to_vec(),
        };
        assert_eq!(next, expected, "{mode:?}");
    }
}

#[test]
fn a_counter_wraps_over_the_whole_block() {
    let (mut iv, mut data) = ([0xFF; 16], [0; 32]);
    aes(KEYS[0]).encrypt(Mode::Ctr, &mut iv, &mut data).unwrap();
    assert_eq!(iv, hex!("00000000000000000000000000000001"));
}

#[test]
fn wrong_lengths_are_refused() {
    for key in [0, 15, 17, 31, 33] {
        assert!(matches!(Cipher::new(SymAlg::Aes, &[0; 33][..key]), Err(Error::Key)));
    }
    for mode in MODES {
        let mut iv = [0; 16];
        let right: &mut [u8] = if mode == Mode::Ecb { &mut [] } else { &mut iv };
        let partial = aes(KEYS[0]).encrypt(mode, right, &mut [0; 17]);
        assert_eq!(partial.is_err(), mode.whole_blocks(), "{mode:?}");
        let wrong: &mut [u8] = if mode == Mode::Ecb { &mut [0; 16] } else { &mut [0; 15] };
        assert_eq!(aes(KEYS[0]).encrypt(mode, wrong, &mut [0; 16]), Err(Error::Length), "{mode:?}");
        assert_eq!(Mode::from_id(mode.id()), Some(mode));
    }
}

proptest! {
    /// Encrypting piece by piece at block boundaries, each with the IV that the piece before left, is encrypting at
    /// once.
    #[test]
    fn pieces_make_no_difference(
        key in proptest::collection::vec(any::<u8>(), 32),
        data in proptest::collection::vec(any::<u8>(), 0..200),
        cut in 0_usize..12,
    ) {
        let cipher = aes(&key);
        for mode in MODES {
            let len = if mode.whole_blocks() { data.len() / 16 * 16 } else { data.len() };
            let iv: &[u8] = if mode == Mode::Ecb { &[] } else { &[7; 16] };
            let (mut whole, mut pieces) = (data[..len].to_vec(), data[..len].to_vec());
            let (mut iv_whole, mut iv_pieces) = (iv.to_vec(), iv.to_vec());
            cipher.encrypt(mode, &mut iv_whole, &mut whole).unwrap();
            let (head, tail) = pieces.split_at_mut((cut * 16).min(len));
            cipher.encrypt(mode, &mut iv_pieces, head).unwrap();
            cipher.encrypt(mode, &mut iv_pieces, tail).unwrap();
            prop_assert_eq!(&whole, &pieces);
            prop_assert_eq!(iv_whole, iv_pieces);
            let mut iv = iv.to_vec();
            cipher.decrypt(mode, &mut iv, &mut whole).unwrap();
            prop_assert_eq!(&whole, &data[..len]);
        }
    }
}
