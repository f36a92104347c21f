//! Part 3, 14: Asymmetric Primitives.

use crate::harness::Fixture;
use crate::harness::external::{
    DECRYPT, MADE_HERE, RESTRICTED, SIGN, USER, create_primary, ecc_key, ecc_parms, hmac_key, load_external, point,
    public, restricted_rsa_key, rsa_key, rsa_parms, storage_key,
};
use client::codes::{
    ATTRIBUTES, CURVE, ECC_POINT, INSUFFICIENT, KDF, KEY, OWNER, SCHEME, SIZE, VALUE, handle, param, plain,
};
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use hex_literal::hex;
use tpm_core::cc;

const NO_SCHEME: [u8; 2] = [0, 0x10];
const RSAES_SCHEME: [u8; 2] = [0, 0x15];
const OAEP: [u8; 4] = [0, 0x17, 0, 0xb];
const OAEP_WITH_SHA1: [u8; 4] = [0, 0x17, 0, 4];
const KDF2: [u8; 4] = [0, 0x21, 0, 0xb];
const ECDH: [u8; 4] = [0, 0x19, 0, 0xb];

const MESSAGE: &[u8] = b"attack at dawn";

// An RSA key, and MESSAGE encrypted with it by OpenSSL; OAEP_SHA256 with the label "label".
const MODULUS: [u8; 256] = hex!(
    "e298b43ea185196071dd7ea66154b768230bd235f5d9f0e02413e884849e6eb37947b94b505b56dba63a6f6fb5e4acfab9ce4bb0b80a8e346aa891353a76c64d"
    "155a381d109380d97931a74a003770d64e4b4319c597b65d89f34247944f2727c31ff2e91b5edbcb3523460392f5e938edc32d5e28cb0ed84d6c4a41ee0d4b40"
    "829c481acf8d6314b0ced4cd64c62cf7f39890e5e1241f7b3414c5ba47de7ba89be52b1052da6ab96bbe1ecd9de85f6a020de7b5ac2125b39da92aeae3bd6462"
    "3cc770a1455b54b19d156c9af9ea180dbefc7bf00a0dbe6fcb19bfdac3b73d253018ca81e03b882032d95155ae63972bf23df1e8ad96722f60cd25ea5db55115"
);
const PRIME: [u8; 128] = hex!(
    "f806c088b7b72fd9e4e4cee28af641d340a8ff2dec90e4d7076cadc6640180c4a64431eadaa43b8319b7b04d76a149be0319256b26f3ea02f585840dadbc061f"
    "f853edd04c7fd297fa707d7acd2472c642a1a3bc0a2ec55b7174771839b030f8d9e8b3197105b79cd2407767093d346cc17588286e4f084d51d82f2bd8fef3a7"
);
const RSAES: [u8; 256] = hex!(
    "6109a7b41896b907e4cd23f377d59a12535db0d08b2281d1d3b8522802a86b5fec105fbc950c900d90f9e5021d2fe5f63d5dfead4ca2d2ddc2b84e571a7fa15b"
    "5bea1ea03cd92c19c639e046fcfa26643ea103691f9b5581e6b86577ffb1dc0b3c85e4622132b4917224932565ef0debf28e3b7f33703d930391cf73c1152156"
    "832ff39f8f861719824dae504b8b2bb0b22def71075621199f2c9d936536b6c0cad216a1f823c630b251b31c08ea42debd7aaf904e47440fe031d6b46a6f7b19"
    "9d977fb2923a120331a880749badf437fe488f494c84408eb634627330d08ed4c245e714356179221875f4ec0b4e587c857b4703c3003b25f40614d284fdc3ef"
);
const OAEP_SHA256: [u8; 256] = hex!(
    "5022c91443d241b0e729a556f339f0483b1ce66d3a82a2c878bed75754004b9a73a2e4afed8377727eb0f0ea97c4ef360f294e3510aafbfec93c3b9bc9563626"
    "a020f83691a7f1f05709064c3e299c147a7db6af2a840da989e1f1575a11462e351cfe12577c06c3f0ad20e2d84b86f17e18f7e61f205baf57ad60e3f37a7f06"
    "2f2147f41552bbf3608dee623db1a14054ee46dcfa3fb179ba5aaf84a81f6e2bff0f9c410d54b1df389180ecaad16b82e841f876d57fc5a9b18ab3dd254a70d3"
    "4d10f8c175b3c408c72805cff74a8c4293e19f1c48a82d1a2b67335a2d6d61d793fef7957aca97a9ec9382a69a8590900d2c5c766d6b4819db438143c46714a7"
);
const OAEP_SHA1: [u8; 256] = hex!(
    "df36e172ad688833a70f91b3503efa4e1f6ef781c5252dcf889ec3262f2d8fd075b657fd72b6ca4db077949b5abfcf38c47e00f04bf32503d1827a2fe07f8e7c"
    "f0fae73aaaefd134d3d55e0c8114f4dec8ce2d4f0e43f7033285d9a8a360b322d027457402f154b5e46e01a1b599cd2f01647579d56b35ea96f9591754d64c66"
    "907e358c60b8256debe6952ccf5c19da897705db3972d21e297761de4094503d82ae6b85b198e5ef2ab4daffe00b42118b538dfde0bc4b17b86f15c468ad833b"
    "db325baa92990bd6964d1b90d66bb47af82399b546da17e823b71771ee100edbf4b97d8ec81ba5a25113b18b3fb6a60711ea7989b70c5e28fff099cd199e0e2f"
);

// NIST CAVS 14.1, ECC CDH, P-256, count 0: our key, the other's point, and their product.
const D: [u8; 32] = hex!("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
const QX: [u8; 32] = hex!("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230");
const QY: [u8; 32] = hex!("28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141");
const OTHER_X: [u8; 32] = hex!("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287");
const OTHER_Y: [u8; 32] = hex!("db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac");
const ZX: [u8; 32] = hex!("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
const ZY: [u8; 32] = hex!("c553079d5a6b963c42f013ceb53c9715144bfb52d700d015387e4fae2918a9cd");

fn rsa(tpm: &mut Fixture, attributes: u32, scheme: &[u8]) -> u32 {
    rsa_key(tpm, attributes, scheme, &MODULUS, &PRIME)
}

fn encrypt(tpm: &mut Fixture, key: u32, message: &[u8], scheme: &[u8], label: &[u8]) -> Outcome {
    tpm.run(cc::RSA_ENCRYPT, &[key], &[], &[&tpm2b(message)[..], scheme, &tpm2b(label)].concat())
}

fn decrypt(tpm: &mut Fixture, key: u32, ciphertext: &[u8], scheme: &[u8], label: &[u8]) -> Outcome {
    tpm.with(cc::RSA_DECRYPT, &[key], &[b""], &[&tpm2b(ciphertext)[..], scheme, &tpm2b(label)].concat())
}

/// An unrestricted P-256 key with these attributes, scheme and kdf.
fn ecc(tpm: &mut Fixture, attributes: u32, scheme: &[u8], kdf: &[u8]) -> u32 {
    ecc_key(tpm, attributes, &ecc_parms(scheme, kdf), &point(&QX, &QY), &D)
}

/// TPM2B_ECC_POINT.
fn point_2b(x: &[u8], y: &[u8]) -> Vec<u8> {
    tpm2b(&point(x, y))
}

/// Splits TPM2Bs.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while bytes.len() > 2 {
        let size = u16::from_be_bytes([bytes[0], bytes[1]]) as usize;
        parts.push(bytes[2..2 + size].to_vec());
        bytes = &bytes[2 + size..];
    }
    parts
}

#[test]
fn rsa_decrypts_what_openssl_encrypted() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    assert_eq!(decrypt(&mut tpm, key, &RSAES, &RSAES_SCHEME, b""), Ok(tpm2b(MESSAGE)));
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA256, &OAEP, b"label\0"), Ok(tpm2b(MESSAGE)));
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA1, &OAEP_WITH_SHA1, b""), Ok(tpm2b(MESSAGE)));
}

#[test]
fn rsa_decrypts_what_it_encrypted() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    for (scheme, label, max) in [(&RSAES_SCHEME[..], &b""[..], 245), (&OAEP, b"x\0", 190), (&OAEP_WITH_SHA1, b"", 214)]
    {
        for message in [&b""[..], MESSAGE, &[0; 20], &vec![0xff; max]] {
            let ciphertext = encrypt(&mut tpm, key, message, scheme, label).unwrap();
            assert_eq!(ciphertext.len(), 258);
            assert_ne!(ciphertext, encrypt(&mut tpm, key, message, scheme, label).unwrap(), "padding is random");
            assert_eq!(decrypt(&mut tpm, key, &ciphertext[2..], scheme, label), Ok(tpm2b(message)));
        }
        assert_eq!(encrypt(&mut tpm, key, &vec![0xff; max + 1], scheme, label), Err(plain(VALUE)), "too long");
    }
}

#[test]
fn without_a_scheme_rsa_works_on_numbers() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    let mut number = [0; 256];
    number[242..].copy_from_slice(MESSAGE);
    let ciphertext = encrypt(&mut tpm, key, MESSAGE, &NO_SCHEME, b"").unwrap();
    assert_eq!(
        encrypt(&mut tpm, key, &number, &NO_SCHEME, b""),
        Ok(ciphertext.clone()),
        "the same number, and no padding"
    );
    assert_eq!(encrypt(&mut tpm, key, &[&[0; 10][..], &number].concat(), &NO_SCHEME, b""), Ok(ciphertext.clone()));
    assert_eq!(decrypt(&mut tpm, key, &ciphertext[2..], &NO_SCHEME, b""), Ok(tpm2b(&number)));
    assert_eq!(encrypt(&mut tpm, key, &MODULUS, &NO_SCHEME, b""), Err(plain(VALUE)), "not below the modulus");
    assert_eq!(encrypt(&mut tpm, key, &[1; 257], &NO_SCHEME, b""), Err(plain(VALUE)));
    let mut below = MODULUS;
    below[255] -= 1;
    let minus_one = encrypt(&mut tpm, key, &below, &NO_SCHEME, b"").unwrap();
    assert_eq!(minus_one[2..], below, "−1 to an odd power");
}

#[test]
fn the_scheme_is_the_keys_or_the_commands() {
    let mut tpm = Fixture::new();
    let own = rsa(&mut tpm, DECRYPT, &OAEP);
    for scheme in [&NO_SCHEME[..], &OAEP] {
        assert_eq!(decrypt(&mut tpm, own, &OAEP_SHA256, scheme, b"label\0"), Ok(tpm2b(MESSAGE)));
        assert!(encrypt(&mut tpm, own, MESSAGE, scheme, b"").is_ok());
    }
    for scheme in [&RSAES_SCHEME[..], &OAEP_WITH_SHA1] {
        assert_eq!(decrypt(&mut tpm, own, &OAEP_SHA256, scheme, b""), Err(param(2, SCHEME)));
        assert_eq!(encrypt(&mut tpm, own, MESSAGE, scheme, b""), Err(param(2, SCHEME)));
    }
    assert_eq!(encrypt(&mut tpm, own, MESSAGE, &[0, 0x14, 0, 0xb], b""), Err(param(2, VALUE)), "a signature scheme");
}

#[test]
fn labels_end_in_a_zero_octet() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &OAEP);
    assert_eq!(encrypt(&mut tpm, key, MESSAGE, &RSAES_SCHEME, b"label"), Err(param(3, VALUE)), "before the scheme");
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA256, &RSAES_SCHEME, b"label"), Err(param(3, VALUE)));
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA256, &NO_SCHEME, b"\0"), Err(plain(VALUE)), "another label");
    assert_eq!(encrypt(&mut tpm, key, MESSAGE, &OAEP, &[0; 67]), Err(param(3, SIZE)));
    assert_eq!(encrypt(&mut tpm, key, &[0; 513], &OAEP, b""), Err(param(1, SIZE)));
}

#[test]
fn cve_2026_6727_every_bad_padding_has_one_code() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    for number in [&[0][..], &[1], &[2; 255], &[0, 2], &[0xff; 200]] {
        let ciphertext = encrypt(&mut tpm, key, number, &NO_SCHEME, b"").unwrap();
        for (scheme, label) in [(&RSAES_SCHEME[..], &b""[..]), (&OAEP, b""), (&OAEP_WITH_SHA1, b"a\0")] {
            assert_eq!(decrypt(&mut tpm, key, &ciphertext[2..], scheme, label), Err(plain(VALUE)));
        }
    }
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA256, &OAEP, b"Label\0"), Err(plain(VALUE)));
    assert_eq!(decrypt(&mut tpm, key, &OAEP_SHA256, &OAEP_WITH_SHA1, b"label\0"), Err(plain(VALUE)));
}

#[test]
fn cve_2021_3569_every_scheme_hash_and_label_length() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    for hash in [alg::SHA1, alg::SHA256, 0xc, 0xd] {
        let scheme = [[0, 0x17], hash.to_be_bytes()].concat();
        for label in [&[][..], &[0], &[0; 66]] {
            let ciphertext = encrypt(&mut tpm, key, MESSAGE, &scheme, label).unwrap();
            assert_eq!(decrypt(&mut tpm, key, &ciphertext[2..], &scheme, label), Ok(tpm2b(MESSAGE)));
        }
    }
}

#[test]
fn ciphertexts_have_the_length_of_the_modulus_and_are_below_it() {
    let mut tpm = Fixture::new();
    let key = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    for scheme in [&NO_SCHEME[..], &RSAES_SCHEME, &OAEP] {
        for ciphertext in [&[][..], &[0; 255], &[0; 257], &[0; 512], &MODULUS, &[0xff; 256]] {
            assert_eq!(decrypt(&mut tpm, key, ciphertext, scheme, b""), Err(plain(SIZE)));
        }
    }
}

#[test]
fn tn_f_4956_rsa_checks_the_key() {
    let mut tpm = Fixture::new();
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    assert_eq!(encrypt(&mut tpm, other, MESSAGE, &NO_SCHEME, b"x"), Err(handle(1, KEY)));
    assert_eq!(decrypt(&mut tpm, other, &RSAES, &NO_SCHEME, b"x"), Err(handle(1, KEY)));
    let signs = rsa(&mut tpm, SIGN, &NO_SCHEME);
    assert_eq!(encrypt(&mut tpm, signs, MESSAGE, &NO_SCHEME, b"x"), Err(param(3, VALUE)));
    assert_eq!(decrypt(&mut tpm, signs, &RSAES, &NO_SCHEME, b"x"), Err(handle(1, ATTRIBUTES)), "TN F-4956");
    let restricted = restricted_rsa_key(&mut tpm);
    assert!(encrypt(&mut tpm, restricted, MESSAGE, &OAEP, b"").is_ok(), "TPM2_RSA_Encrypt takes a storage key");
    assert_eq!(decrypt(&mut tpm, restricted, &RSAES, &NO_SCHEME, b""), Err(handle(1, ATTRIBUTES)));
}

#[test]
fn a_public_key_encrypts() {
    let mut tpm = Fixture::new();
    let only = load_external(&mut tpm, &[], &public(alg::RSA, USER | DECRYPT, &rsa_parms(&OAEP), &tpm2b(&MODULUS)));
    let private = rsa(&mut tpm, DECRYPT, &NO_SCHEME);
    let ciphertext = encrypt(&mut tpm, only, MESSAGE, &NO_SCHEME, b"").unwrap();
    assert_eq!(decrypt(&mut tpm, private, &ciphertext[2..], &OAEP, b""), Ok(tpm2b(MESSAGE)));
    assert!(decrypt(&mut tpm, only, &ciphertext[2..], &OAEP, b"").is_err());
}

#[test]
fn ecdh_z_gen_multiplies() {
    let mut tpm = Fixture::new();
    for scheme in [&NO_SCHEME[..], &ECDH] {
        let key = ecc(&mut tpm, DECRYPT, scheme, &NO_SCHEME);
        let reply = tpm.with(cc::ECDH_ZGEN, &[key], &[b""], &point_2b(&OTHER_X, &OTHER_Y));
        assert_eq!(reply, Ok(point_2b(&ZX, &ZY)));
    }
}

#[test]
fn ecdh_key_gen_and_z_gen_agree() {
    let mut tpm = Fixture::new();
    let only = ecc_key(&mut tpm, DECRYPT, &ecc_parms(&NO_SCHEME, &NO_SCHEME), &point(&QX, &QY), &[]);
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    let reply = tpm.run(cc::ECDH_KEY_GEN, &[only], &[], &[]).unwrap();
    let [z, ephemeral] = split(&reply).try_into().unwrap();
    assert_eq!(tpm.with(cc::ECDH_ZGEN, &[key], &[b""], &tpm2b(&ephemeral)), Ok(tpm2b(&z)));
    assert_ne!(tpm.run(cc::ECDH_KEY_GEN, &[only], &[], &[]).unwrap(), reply, "it is ephemeral");
}

#[test]
fn tn_f_5097_ecdh_checks_key_and_point() {
    let mut tpm = Fixture::new();
    let z_gen = |tpm: &mut Fixture, key: u32, point: &[u8]| tpm.with(cc::ECDH_ZGEN, &[key], &[b""], point);
    let good = point_2b(&OTHER_X, &OTHER_Y);
    let bad = point_2b(&OTHER_X, &OTHER_X);
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    assert_eq!(z_gen(&mut tpm, other, &bad), Err(handle(1, KEY)));
    assert_eq!(tpm.run(cc::ECDH_KEY_GEN, &[other], &[], &[]), Err(handle(1, KEY)));
    let signs = ecc(&mut tpm, SIGN, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(z_gen(&mut tpm, signs, &bad), Err(handle(1, ATTRIBUTES)), "TN F-5097");
    let restricted = storage_key(&mut tpm);
    assert_eq!(z_gen(&mut tpm, restricted, &bad), Err(handle(1, ATTRIBUTES)));
    assert!(tpm.run(cc::ECDH_KEY_GEN, &[restricted], &[], &[]).is_ok());
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    for bad in [bad, point_2b(&[], &[]), point_2b(&[0; 33], &OTHER_Y), point_2b(&OTHER_X, &[0xff; 32])] {
        assert_eq!(z_gen(&mut tpm, key, &bad), Err(param(1, ECC_POINT)));
    }
    assert_eq!(z_gen(&mut tpm, key, &good), Ok(point_2b(&ZX, &ZY)));
    assert_eq!(z_gen(&mut tpm, key, &[0, 0]), Err(param(1, SIZE)));
    assert_eq!(z_gen(&mut tpm, key, &tpm2b(&[&point(&OTHER_X, &OTHER_Y)[..], &[0]].concat())), Err(param(1, SIZE)));
    assert_eq!(z_gen(&mut tpm, key, &[0, 4, 0, 0]), Err(param(1, INSUFFICIENT)));
}

#[test]
fn ecc_parameters_are_those_of_the_curve() {
    let mut tpm = Fixture::new();
    let p256 = [
        &[0, 3, 1, 0][..],
        &[0, 0x20, 0, 0xb],
        &[0, 0x10],
        &tpm2b(&hex!("FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF")),
        &tpm2b(&hex!("FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC")),
        &tpm2b(&hex!("5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B")),
        &tpm2b(&hex!("6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296")),
        &tpm2b(&hex!("4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5")),
        &tpm2b(&hex!("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551")),
        &tpm2b(&[1]),
    ]
    .concat();
    assert_eq!(tpm.run(cc::ECC_PARAMETERS, &[], &[], &[0, 3]), Ok(p256));
    let p384 = tpm.run(cc::ECC_PARAMETERS, &[], &[], &[0, 4]).unwrap();
    assert_eq!(p384[..10], [0, 4, 1, 0x80, 0, 0x20, 0, 0xc, 0, 0x10]);
    assert_eq!(split(&p384[10..]).iter().map(Vec::len).collect::<Vec<_>>(), [48, 48, 48, 48, 48, 48, 1]);
    for unknown in [0, 0x11, 0xffff_u16] {
        assert_eq!(tpm.run(cc::ECC_PARAMETERS, &[], &[], &unknown.to_be_bytes()), Err(param(1, CURVE)));
    }
}

/// Part 3, 14.2.1: the TPM shall not check the attributes of the key, which the caller can load as it wants.
#[test]
fn rsa_encrypt_takes_a_key_of_any_attributes() {
    let mut tpm = Fixture::new();
    for attributes in [SIGN, DECRYPT, SIGN | DECRYPT] {
        let key = rsa(&mut tpm, attributes, &NO_SCHEME);
        let encrypted = encrypt(&mut tpm, key, MESSAGE, &NO_SCHEME, b"").unwrap();
        assert_eq!(encrypted.len(), 2 + 256);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &key.to_be_bytes()).unwrap();
    }
}

/// Part 3, 14.7.1: where a computation of Z gives the point at infinity, Z is an Empty Point. The other party can
/// choose its static point so.
#[test]
fn z_gen_2_phase_at_infinity_gives_an_empty_point() {
    use p256::elliptic_curve::PrimeField;
    use p256::elliptic_curve::sec1::ToSec1Point;
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    let ephemeral_scalar = p256::Scalar::from(77_u64);
    let coordinates = |scalar: p256::Scalar| {
        let point = (p256::ProjectivePoint::GENERATOR * scalar).to_affine().to_sec1_point(false);
        (point.x().unwrap().to_vec(), point.y().unwrap().to_vec())
    };
    let (x, y) = coordinates(ephemeral_scalar);
    // The associated value of a point: 2^w + (x mod 2^w), w 128 for MQV and 127 for SM2.
    let associated = |w: u32| {
        let low = u128::from_be_bytes(x[16..].try_into().unwrap());
        let mut octets = [0; 32];
        if w == 128 {
            octets[15] = 1;
            octets[16..].copy_from_slice(&low.to_be_bytes());
        } else {
            octets[16..].copy_from_slice(&(low | 1 << 127).to_be_bytes());
        }
        p256::Scalar::from_repr(octets.into()).unwrap()
    };
    // MQV multiplies Q_e + w · Q_s, SM2 Q_s + w · Q_e.
    let statics = [
        (0x1d_u16, -(ephemeral_scalar * associated(128).invert().unwrap())),
        (0x1b, -(ephemeral_scalar * associated(127))),
    ];
    for (scheme, scalar) in statics {
        let (sx, sy) = coordinates(scalar);
        let (_, counter) = ephemeral(&mut tpm);
        let points = [point_2b(&sx, &sy), point_2b(&x, &y)].concat();
        let params = [&points[..], &scheme.to_be_bytes(), &counter.to_be_bytes()].concat();
        let empty = tpm2b(&[0; 4]);
        let outcome = tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &params);
        assert_eq!(outcome, Ok([empty.clone(), empty].concat()), "scheme {scheme:#x}");
        assert_eq!(tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &params), Err(param(4, VALUE)), "and is used up");
    }
}

/// Parameters of TPM2_ZGen_2Phase with the same point twice.
fn two_phase(x: &[u8], y: &[u8], scheme: u16, counter: u16) -> Vec<u8> {
    [&point_2b(x, y)[..], &point_2b(x, y), &scheme.to_be_bytes(), &counter.to_be_bytes()].concat()
}

/// TPM2_EC_Ephemeral: the point, and the counter.
fn ephemeral(tpm: &mut Fixture) -> (Vec<u8>, u16) {
    let reply = tpm.run(cc::EC_EPHEMERAL, &[], &[], &[0, 3]).unwrap();
    let (q, counter) = reply.split_at(reply.len() - 2);
    (q.to_vec(), u16::from_be_bytes(counter.try_into().unwrap()))
}

#[test]
fn z_gen_2_phase_gives_both_products_of_ecdh() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    let (q, counter) = ephemeral(&mut tpm);
    // The other party has our static key too, so that it is enough to know one product.
    let params = [&point_2b(&OTHER_X, &OTHER_Y)[..], &point_2b(&QX, &QY), &[0, 0x19], &counter.to_be_bytes()].concat();
    let [z1, z2] = split(&tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &params).unwrap()).try_into().unwrap();
    assert_eq!(z1, point(&ZX, &ZY));
    assert_eq!(tpm.with(cc::ECDH_ZGEN, &[key], &[b""], &q), Ok(tpm2b(&z2)));
    assert_eq!(
        tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &params),
        Err(param(4, VALUE)),
        "an ephemeral key is used once"
    );
}

#[test]
fn tn_z_gen_2_phase_keeps_leading_zeros() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    for _ in 0..300 {
        let (_, counter) = ephemeral(&mut tpm);
        let reply = tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], &two_phase(&OTHER_X, &OTHER_Y, 0x19, counter)).unwrap();
        for z in split(&reply) {
            assert_eq!(split(&z).iter().map(Vec::len).collect::<Vec<_>>(), [32, 32]);
        }
    }
}

#[test]
fn z_gen_2_phase_checks_in_order() {
    let mut tpm = Fixture::new();
    let run = |tpm: &mut Fixture, key: u32, params: &[u8]| tpm.with(cc::ZGEN_2_PHASE, &[key], &[b""], params).map(drop);
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    for none in [0x10, 0x18_u16] {
        let params = two_phase(&OTHER_X, &OTHER_X, none, 9);
        assert_eq!(run(&mut tpm, other, &params), Err(param(3, SCHEME)), "not TPMI_ECC_KEY_EXCHANGE: {none:#x}");
        assert_eq!(run(&mut tpm, other, &params[..params.len() - 2]), Err(param(3, SCHEME)), "before the counter");
    }
    let wrong = two_phase(&OTHER_X, &OTHER_X, 0x19, 9);
    assert_eq!(run(&mut tpm, other, &wrong), Err(handle(1, KEY)));
    let signs = ecc(&mut tpm, SIGN, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(run(&mut tpm, signs, &wrong), Err(handle(1, ATTRIBUTES)));
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(run(&mut tpm, key, &wrong), Err(param(1, ECC_POINT)));
    let params = [&point_2b(&QX, &QY)[..], &point_2b(&QX, &QX), &[0, 0x19], &[0, 9]].concat();
    assert_eq!(run(&mut tpm, key, &params), Err(param(2, ECC_POINT)));
    assert_eq!(run(&mut tpm, key, &two_phase(&QX, &QY, 0x19, 9)), Err(param(4, VALUE)), "never given");
    let own = ecc(&mut tpm, DECRYPT, &ECDH, &NO_SCHEME);
    assert_eq!(run(&mut tpm, own, &two_phase(&QX, &QY, 0x1d, 9)), Err(param(3, SCHEME)), "not the key's own");
    let (_, counter) = ephemeral(&mut tpm);
    assert_eq!(run(&mut tpm, own, &two_phase(&QX, &QX, 0x19, counter)), Err(param(1, ECC_POINT)));
    assert_eq!(run(&mut tpm, own, &two_phase(&QX, &QY, 0x19, counter)), Ok(()), "what was refused used nothing up");
}

/// TPM2_ECC_Decrypt.
fn ecc_decrypt(tpm: &mut Fixture, key: u32, c: [&[u8]; 3], scheme: &[u8]) -> Outcome {
    let [c1, c2, c3] = c;
    tpm.with(cc::ECC_DECRYPT, &[key], &[b""], &[&tpm2b(c1)[..], &tpm2b(c2), &tpm2b(c3), scheme].concat())
}

/// What stands after the keystream of the P-256 key above for the ephemeral key 1234567890abcdef…, computed with
/// another program.
const C1X: [u8; 32] = hex!("471c3e758c4904285bba7e53118ed0f524adeb0757d25bd2f8e7b0d76dfa714c");
const C1Y: [u8; 32] = hex!("dd520f7aca8a8b917acc37f51de8f0c9bbe3ad858382e702dc25a12d09f7a858");
const C2: [u8; 55] = hex!(
    "68e07fb89937d08e3516923131e3f3896f64b46b451f63dba0ee41a40b4e282e0e78d056160977c65023a431d5f2f1de7c148d27399100"
);
const C3: [u8; 32] = hex!("13dae08eefe9ec117e56340ec868f4827800f4e5e71bee581eaf0ec275a7e486");

#[test]
fn ecc_decrypt_removes_the_mask_of_kdf2() {
    let mut tpm = Fixture::new();
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    let plain = ecc_decrypt(&mut tpm, key, [&point(&C1X, &C1Y), &C2, &C3], &KDF2);
    assert_eq!(plain, Ok(tpm2b(b"attack at dawn, with all that is left of the third army")));
}

#[test]
fn ecc_decrypts_what_it_encrypted() {
    let mut tpm = Fixture::new();
    let only = ecc_key(&mut tpm, DECRYPT, &ecc_parms(&NO_SCHEME, &NO_SCHEME), &point(&QX, &QY), &[]);
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    for message in [&b""[..], MESSAGE, &[7; 1024]] {
        let reply = tpm.run(cc::ECC_ENCRYPT, &[only], &[], &[&tpm2b(message)[..], &KDF2].concat()).unwrap();
        let [c1, c2, c3] = split(&reply).try_into().unwrap();
        assert_eq!(c2.len(), message.len());
        assert_eq!(ecc_decrypt(&mut tpm, key, [&c1, &c2, &c3], &KDF2), Ok(tpm2b(message)));
    }
    assert_eq!(
        tpm.run(cc::ECC_ENCRYPT, &[only], &[], &[&tpm2b(&[7; 1025])[..], &NO_SCHEME].concat()),
        Err(param(1, SIZE))
    );
}

#[test]
fn ecc_encryption_checks_key_scheme_and_binding() {
    let mut tpm = Fixture::new();
    let c1 = point(&C1X, &C1Y);
    let good: [&[u8]; 3] = [&c1, &C2, &C3];
    let encrypt = |tpm: &mut Fixture, key: u32, scheme: &[u8]| {
        tpm.run(cc::ECC_ENCRYPT, &[key], &[], &[&tpm2b(MESSAGE)[..], scheme].concat()).map(drop)
    };
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    assert_eq!(encrypt(&mut tpm, other, &NO_SCHEME), Err(handle(1, KEY)));
    assert_eq!(ecc_decrypt(&mut tpm, other, good, &NO_SCHEME), Err(handle(1, KEY)));
    let signs = ecc(&mut tpm, SIGN, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(ecc_decrypt(&mut tpm, signs, good, &NO_SCHEME), Err(handle(1, ATTRIBUTES)));
    let key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(encrypt(&mut tpm, key, &NO_SCHEME), Err(param(2, SCHEME)), "neither has one");
    assert_eq!(ecc_decrypt(&mut tpm, key, good, &NO_SCHEME), Err(param(4, SCHEME)));
    assert_eq!(encrypt(&mut tpm, key, &[0, 0x20, 0, 0xb]), Err(plain(SCHEME)), "not KDF2");
    assert_eq!(ecc_decrypt(&mut tpm, key, good, &[0, 0x20, 0, 0xb]), Err(plain(SCHEME)));
    for bad in [
        [&point(&C1X, &C1X)[..], &C2, &C3],
        [&c1, &C2[..54], &C3],
        [&c1, &C2, &C3[..31]],
        [&c1, &C3, &C3],
        [&c1, &C2, &[]],
    ] {
        assert_eq!(ecc_decrypt(&mut tpm, key, bad, &KDF2), Err(plain(VALUE)));
    }
}

#[test]
fn z_gen_2_phase_agrees_with_the_other_party_of_mqv_and_sm2() {
    for scheme in [0x1d, 0x1b_u16] {
        let mut tpm = Fixture::new();
        // Both parties are in one TPM: A has D, B has the scalar 1 … 1, for which the point comes from TPM2_ECDH_ZGen
        // with the generator.
        let b_scalar = [0x11; 32];
        let a = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
        let b_public = tpm_crypto::ecc::Curve::NistP256.public(&b_scalar).unwrap();
        let b_point = point(b_public.x().as_slice(), b_public.y().as_slice());
        let b = ecc_key(&mut tpm, DECRYPT, &ecc_parms(&NO_SCHEME, &NO_SCHEME), &b_point, &b_scalar);
        let ((qe_a, counter_a), (qe_b, counter_b)) = (ephemeral(&mut tpm), ephemeral(&mut tpm));
        let of_a = [&tpm2b(&b_point)[..], &qe_b, &scheme.to_be_bytes(), &counter_a.to_be_bytes()].concat();
        let of_b = [&point_2b(&QX, &QY)[..], &qe_a, &scheme.to_be_bytes(), &counter_b.to_be_bytes()].concat();
        let z_a = tpm.with(cc::ZGEN_2_PHASE, &[a], &[b""], &of_a).unwrap();
        let z_b = tpm.with(cc::ZGEN_2_PHASE, &[b], &[b""], &of_b).unwrap();
        assert_eq!(z_a, z_b);
        assert_eq!(z_a[z_a.len() - 6..], [0, 4, 0, 0, 0, 0], "there is one Z");
    }
}

/// HKDF with SHA-256
const HKDF: [u8; 4] = [0, 0x1f, 0, 0xb];

/// An ML-KEM key of this parameter set, unrestricted.
fn ml_kem(tpm: &mut Fixture, set: u8) -> u32 {
    create_primary(tpm, &public(0xa0, USER | MADE_HERE | DECRYPT, &[0, 0x10, 0, set], &[0; 2]))
}

fn decapsulate(tpm: &mut Fixture, key: u32, ciphertext: &[u8]) -> Outcome {
    tpm.with(cc::DECAPSULATE, &[key], &[b""], &tpm2b(ciphertext))
}

#[test]
fn what_is_encapsulated_can_be_decapsulated() {
    let mut tpm = Fixture::new();
    let keys = [
        (ecc(&mut tpm, DECRYPT, &NO_SCHEME, &HKDF), 65),
        (ml_kem(&mut tpm, 1), 768),
        (ml_kem(&mut tpm, 2), 1088),
        (ml_kem(&mut tpm, 3), 1568),
    ];
    for (key, size) in keys {
        let [secret, ciphertext] = split(&tpm.run(cc::ENCAPSULATE, &[key], &[], &[]).unwrap()).try_into().unwrap();
        assert_eq!((secret.len(), ciphertext.len()), (32, size));
        assert_eq!(decapsulate(&mut tpm, key, &ciphertext), Ok(tpm2b(&secret)));
        assert_eq!(decapsulate(&mut tpm, key, &ciphertext[1..]), Err(param(1, SIZE)));
        let again = split(&tpm.run(cc::ENCAPSULATE, &[key], &[], &[]).unwrap());
        assert_ne!(again[0], secret);
    }
}

#[test]
fn the_ecc_kem_is_dhkem() {
    let mut tpm = Fixture::new();
    // RFC 9180, A.3.1
    let sk = hex!("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2");
    let x = hex!("fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a82");
    let y = hex!("6a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0");
    let enc = hex!(
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4"
    );
    let key = ecc_key(&mut tpm, DECRYPT, &ecc_parms(&NO_SCHEME, &HKDF), &point(&x, &y), &sk);
    let secret = hex!("c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8");
    assert_eq!(decapsulate(&mut tpm, key, &enc), Ok(tpm2b(&secret)));
    let mut no_point = enc;
    no_point[64] ^= 1;
    assert_eq!(decapsulate(&mut tpm, key, &no_point), Err(param(1, VALUE)));
    no_point[0] = 2;
    assert_eq!(decapsulate(&mut tpm, key, &no_point), Err(param(1, VALUE)));
}

#[test]
fn a_wrong_ml_kem_ciphertext_gives_another_secret() {
    let mut tpm = Fixture::new();
    let key = ml_kem(&mut tpm, 1);
    let [secret, mut ciphertext] = split(&tpm.run(cc::ENCAPSULATE, &[key], &[], &[]).unwrap()).try_into().unwrap();
    ciphertext[100] ^= 1;
    let other = decapsulate(&mut tpm, key, &ciphertext).unwrap();
    assert_eq!(other.len(), 34);
    assert_ne!(other[2..], secret);
}

/// Part 2, 12.2.3.5 (1.85): an unrestricted key that exchanges may name the KDF of DHKEM. RFC 9180 has one hash for
/// each curve that it has.
#[test]
fn an_ecc_key_names_only_the_kdf_of_its_curves_kem() {
    let mut tpm = Fixture::new();
    let mut create = |attributes: u32, parms: &[u8]| {
        let public = tpm2b(&public(0x23, USER | MADE_HERE | attributes, parms, &[0; 4]));
        let reply =
            tpm.with(cc::CREATE_PRIMARY, &[OWNER], &[b""], &[&tpm2b(&[0; 4])[..], &public, &[0, 0], &[0; 4]].concat());
        reply.map(|reply| tpm.flush(u32::from_be_bytes(reply[..4].try_into().unwrap())).unwrap()).map(drop)
    };
    let parms = |scheme: &[u8], curve: u8, kdf: &[u8]| [&NO_SCHEME[..], scheme, &[0, curve], kdf].concat();
    let mut all = Vec::new();
    for (curve, own) in [(1, 0), (3, 0xb), (4, 0xc), (5, 0xd), (0x10, 0), (0x20, 0)] {
        for hash in [4, 0xb, 0xc, 0xd, 0x12, 0x27] {
            all.push((parms(&NO_SCHEME, curve, &[0, 0x1f, 0, hash]), hash == own));
        }
    }
    all.extend([0x07, 0x20, 0x21, 0x22].map(|kdf| (parms(&NO_SCHEME, 3, &[0, kdf, 0, 0xb]), false)));
    for (parms, is_kem) in &all {
        let expected = |at| if *is_kem { Ok(()) } else { Err(param(at, KDF)) };
        assert_eq!(create(DECRYPT, parms), expected(2), "{parms:x?}");
    }
    assert_eq!(create(DECRYPT, &parms(&ECDH, 3, &HKDF)), Ok(()));
    assert_eq!(create(DECRYPT, &parms(&[0, 0x1d, 0, 0xb], 3, &HKDF)), Err(param(2, KDF)), "ECMQV is no ECDH");
    assert_eq!(create(SIGN, &parms(&NO_SCHEME, 3, &HKDF)), Err(param(2, KDF)));
    let storage = [&[0, 6, 0, 128, 0, 0x43][..], &NO_SCHEME, &[0, 3], &HKDF].concat();
    assert_eq!(create(RESTRICTED | DECRYPT, &storage), Err(param(2, KDF)));
    for (parms, is_kem) in &all {
        let expected = if *is_kem { Ok(vec![]) } else { Err(param(1, KDF)) };
        assert_eq!(
            tpm.run(cc::TEST_PARMS, &[], &[], &[&[0, 0x23], &parms[..]].concat()),
            expected,
            "TestParms {parms:x?}"
        );
    }
    let with_point = |kdf: &[u8]| public(0x23, USER | DECRYPT, &ecc_parms(&NO_SCHEME, kdf), &point(&QX, &QY));
    for (kdf, expected) in [(HKDF, Ok(())), ([0, 0x1f, 0, 0xc], Err(param(2, KDF)))] {
        let params = [&[0, 0][..], &tpm2b(&with_point(&kdf)), &OWNER.to_be_bytes()].concat();
        assert_eq!(tpm.run(cc::LOAD_EXTERNAL, &[], &[], &params).map(drop), expected, "LoadExternal of a public area");
    }
}

#[test]
fn encapsulation_checks_the_key() {
    let mut tpm = Fixture::new();
    let plain_key = ecc(&mut tpm, DECRYPT, &NO_SCHEME, &NO_SCHEME);
    assert_eq!(tpm.run(cc::ENCAPSULATE, &[plain_key], &[], &[]), Err(handle(1, KEY)), "it has no HKDF");
    assert_eq!(decapsulate(&mut tpm, plain_key, b""), Err(handle(1, KEY)));
    let other = hmac_key(&mut tpm, SIGN | DECRYPT, None, b"", b"key");
    assert_eq!(tpm.run(cc::ENCAPSULATE, &[other], &[], &[]), Err(handle(1, KEY)));
    assert_eq!(decapsulate(&mut tpm, other, b""), Err(handle(1, KEY)));
    let parms = [&[0, 6, 0, 128, 0, 0x43][..], &[0, 1]].concat();
    let storage = create_primary(&mut tpm, &public(0xa0, USER | MADE_HERE | RESTRICTED | DECRYPT, &parms, &[0; 2]));
    assert!(tpm.run(cc::ENCAPSULATE, &[storage], &[], &[]).is_ok());
    assert_eq!(decapsulate(&mut tpm, storage, b""), Err(handle(1, ATTRIBUTES)));
}
