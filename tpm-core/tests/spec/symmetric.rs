//! TPM2_EncryptDecrypt and TPM2_EncryptDecrypt2 (Part 3, 15.2 and 15.3). TPM2_Hash is in `hash.rs`, TPM2_MAC in
//! `sequence.rs`.

use crate::harness::Fixture;
use crate::harness::external::{DECRYPT, SIGN, cipher_key, hmac_key, restricted_cipher_key};
use client::codes::{ATTRIBUTES, KEY, MODE, SIZE, VALUE, handle, param};
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use hex_literal::hex;
use tpm_core::cc;

// SP 800-38A, appendix F
const KEY_128: [u8; 16] = hex!("2b7e151628aed2a6abf7158809cf4f3c");
const IV: [u8; 16] = hex!("000102030405060708090a0b0c0d0e0f");
const COUNTER: [u8; 16] = hex!("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
const PLAIN: [u8; 32] = hex!("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
const CIPHERTEXTS: [(u16, &[u8], [u8; 32]); 5] = [
    (alg::ECB, &[], hex!("3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf")),
    (alg::CBC, &IV, hex!("7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2")),
    (alg::CFB, &IV, hex!("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b")),
    (alg::OFB, &IV, hex!("3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825")),
    (alg::CTR, &COUNTER, hex!("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")),
];

/// Either command, with the parameters in its order.
fn run(tpm: &mut Fixture, code: u32, key: u32, decrypt: u8, mode: u16, iv: &[u8], data: &[u8]) -> Outcome {
    let how = [&[decrypt][..], &mode.to_be_bytes(), &tpm2b(iv)].concat();
    let params = match code {
        cc::ENCRYPT_DECRYPT => [how, tpm2b(data)].concat(),
        _ => [tpm2b(data), how].concat(),
    };
    tpm.with(code, &[key], &[b""], &params)
}

/// The position of mode, IV and data.
fn positions(code: u32) -> [u32; 3] {
    if code == cc::ENCRYPT_DECRYPT { [2, 3, 4] } else { [3, 4, 1] }
}

#[test]
fn every_mode_encrypts_and_decrypts() {
    for code in [cc::ENCRYPT_DECRYPT, cc::ENCRYPT_DECRYPT_2] {
        let mut tpm = Fixture::new();
        let key = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::NULL, b"", &KEY_128);
        for (mode, iv, ciphertext) in CIPHERTEXTS {
            let there = run(&mut tpm, code, key, 0, mode, iv, &PLAIN).unwrap();
            assert_eq!(there[..34], tpm2b(&ciphertext), "mode {mode:x}");
            let back = run(&mut tpm, code, key, 1, mode, iv, &ciphertext).unwrap();
            assert_eq!(back[..34], tpm2b(&PLAIN));
            assert_eq!(there[34..], back[34..], "ivOut is that of the stream, whatever the direction");
        }
    }
}

#[test]
fn cve_2021_3446_cve_2026_21444_iv_out_goes_on_where_the_data_end() {
    for code in [cc::ENCRYPT_DECRYPT, cc::ENCRYPT_DECRYPT_2] {
        let mut tpm = Fixture::new();
        let key = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::NULL, b"", &KEY_128);
        for (mode, iv, ciphertext) in CIPHERTEXTS {
            for (decrypt, from, to) in [(0, PLAIN, ciphertext), (1, ciphertext, PLAIN)] {
                let first = run(&mut tpm, code, key, decrypt, mode, iv, &from[..16]).unwrap();
                let iv_out = &first[2 + 16 + 2..];
                assert_eq!(iv_out.len(), iv.len());
                assert!(iv.is_empty() || iv_out != iv);
                let second = run(&mut tpm, code, key, decrypt, mode, iv_out, &from[16..]).unwrap();
                assert_eq!([&first[2..18], &second[2..18]].concat(), to, "mode {mode:x}, decrypt {decrypt}");
            }
        }
        let both = run(&mut tpm, code, key, 0, alg::CFB, &IV, &PLAIN).unwrap();
        assert_eq!(both[36..], both[18..34], "CFB: the last block of the ciphertext");
    }
}

#[test]
fn cve_2026_21444_as_it_was_reported() {
    let mut tpm = Fixture::new();
    let load = hex!(
        "80010000007c00000167003800250000002011111111111111111111111111111111111111111111111111111111111111110010000102030405060708090a0b0c0d0e0f00320025000b000600400000000600800043002091cb55b452227580bbef33465863c708d76290b2328d8b8a39cd131ca931cc8640000007"
    );
    assert_eq!(tpm.raw(&load)[6..14], [0, 0, 0, 0, 0x80, 0, 0, 0]);
    let encrypt = hex!(
        "8002000000520000019380000000000000094000000900000000000020000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0000430010a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
    );
    let response = tpm.raw(&encrypt);
    assert_eq!(response[6..10], [0; 4]);
    let (out_data, iv_out) = (&response[16..48], &response[50..66]);
    assert_eq!(iv_out, &out_data[16..]);
}

#[test]
fn streams_need_no_whole_blocks() {
    let mut tpm = Fixture::new();
    let key = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::NULL, b"", &KEY_128);
    for (mode, iv, ciphertext) in CIPHERTEXTS {
        for len in [0, 1, 15, 17, 31] {
            let reply = run(&mut tpm, cc::ENCRYPT_DECRYPT_2, key, 0, mode, iv, &PLAIN[..len]);
            if len > 0 && matches!(mode, alg::ECB | alg::CBC) {
                assert_eq!(reply, Err(param(1, SIZE)));
            } else {
                assert_eq!(reply.unwrap()[2..2 + len], ciphertext[..len]);
            }
        }
    }
}

#[test]
fn the_mode_is_the_keys_or_the_commands() {
    for code in [cc::ENCRYPT_DECRYPT, cc::ENCRYPT_DECRYPT_2] {
        let [at_mode, ..] = positions(code);
        let mut tpm = Fixture::new();
        let own = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::CFB, b"", &KEY_128);
        for mode in [alg::NULL, alg::CFB] {
            assert_eq!(run(&mut tpm, code, own, 0, mode, &IV, &PLAIN).unwrap()[2..34], CIPHERTEXTS[2].2);
        }
        assert_eq!(run(&mut tpm, code, own, 0, alg::CTR, &IV, &PLAIN), Err(param(at_mode, MODE)));
        let none = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::NULL, b"", &KEY_128);
        assert_eq!(run(&mut tpm, code, none, 0, alg::NULL, &IV, &PLAIN), Err(param(at_mode, MODE)));
        for no_cipher_mode in [0x3f, 0x45, alg::AES] {
            assert_eq!(run(&mut tpm, code, none, 0, no_cipher_mode, &IV, &PLAIN), Err(param(at_mode, MODE)));
        }
    }
}

#[test]
fn sign_encrypts_and_decrypt_decrypts() {
    for code in [cc::ENCRYPT_DECRYPT, cc::ENCRYPT_DECRYPT_2] {
        let mut tpm = Fixture::new();
        let encrypts = cipher_key(&mut tpm, SIGN, alg::AES, alg::CFB, b"", &KEY_128);
        let decrypts = cipher_key(&mut tpm, DECRYPT, alg::AES, alg::CFB, b"", &KEY_128);
        assert!(run(&mut tpm, code, encrypts, 0, alg::CFB, &IV, &PLAIN).is_ok());
        assert!(run(&mut tpm, code, decrypts, 1, alg::CFB, &IV, &PLAIN).is_ok());
        assert_eq!(
            run(&mut tpm, code, encrypts, 1, alg::CTR, &IV, &PLAIN),
            Err(handle(1, ATTRIBUTES)),
            "before the mode"
        );
        assert_eq!(run(&mut tpm, code, decrypts, 0, alg::CTR, &IV, &PLAIN), Err(handle(1, ATTRIBUTES)));
        let restricted = restricted_cipher_key(&mut tpm);
        assert_eq!(run(&mut tpm, code, restricted, 1, alg::CFB, &IV, &PLAIN), Err(handle(1, ATTRIBUTES)));
        let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
        assert_eq!(run(&mut tpm, code, other, 0, alg::CFB, &IV, &PLAIN), Err(handle(1, KEY)));
    }
}

#[test]
fn iv_and_data_have_the_sizes_of_the_mode() {
    for code in [cc::ENCRYPT_DECRYPT, cc::ENCRYPT_DECRYPT_2] {
        let [_, at_iv, at_data] = positions(code);
        let mut tpm = Fixture::new();
        let key = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::NULL, b"", &KEY_128);
        assert_eq!(
            run(&mut tpm, code, key, 0, alg::ECB, &IV, &PLAIN[..1]),
            Err(param(at_iv, SIZE)),
            "the IV comes first"
        );
        for mode in [alg::CTR, alg::OFB, alg::CBC, alg::CFB] {
            for iv in [&[][..], &IV[..15]] {
                assert_eq!(run(&mut tpm, code, key, 0, mode, iv, &PLAIN[..1]), Err(param(at_iv, SIZE)));
            }
        }
        for (mode, iv) in [(alg::CBC, &IV[..]), (alg::ECB, &[])] {
            for decrypt in [0, 1] {
                assert_eq!(run(&mut tpm, code, key, decrypt, mode, iv, &PLAIN[..31]), Err(param(at_data, SIZE)));
            }
        }
        assert_eq!(run(&mut tpm, code, key, 0, alg::CFB, &[0; 17], &PLAIN), Err(param(at_iv, SIZE)));
        assert_eq!(run(&mut tpm, code, key, 0, alg::CFB, &IV, &[0; 1025]), Err(param(at_data, SIZE)));
        assert_eq!(run(&mut tpm, code, key, 0, alg::CFB, &IV, &[0; 1024]).unwrap().len(), 2 + 1024 + 2 + 16);
    }
    let mut tpm = Fixture::new();
    let key = cipher_key(&mut tpm, SIGN | DECRYPT, alg::AES, alg::CFB, b"", &KEY_128);
    assert_eq!(run(&mut tpm, cc::ENCRYPT_DECRYPT, key, 2, alg::CFB, &IV, &PLAIN), Err(param(1, VALUE)), "TPMI_YES_NO");
    assert_eq!(run(&mut tpm, cc::ENCRYPT_DECRYPT_2, key, 2, alg::CFB, &IV, &PLAIN), Err(param(2, VALUE)));
}
