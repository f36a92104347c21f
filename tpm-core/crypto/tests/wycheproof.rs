//! Project Wycheproof's vectors for what the engine has. Every file is run or skipped, every skipped file and case with
//! its reason, and the counts are printed (`--nocapture`). A case that is "acceptable" may have either outcome.
#![allow(clippy::cast_possible_truncation, reason = "lengths and lists of test data")]

use core::fmt::Debug;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tpm_crypto::ecc::{Curve, Point, Signature};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::mldsa::{MlDsa, Mu};
use tpm_crypto::mlkem::MlKem;
use tpm_crypto::rsa::padding::{CryptScheme, SignScheme};
use tpm_crypto::rsa::{RsaPrivate, RsaPublic};
use tpm_crypto::sym::{Cipher, Mode, SymAlg};
use tpm_crypto::{Error, Rng, cmac::Cmac, drbg::Drbg, hmac::hmac, kdf};
use wycheproof::{EllipticCurve, HashFunction, Mgf, TestResult};

/// What became of the cases of a file.
#[derive(Default)]
struct Counts {
    run: usize,
    skipped: BTreeMap<&'static str, usize>,
}

/// The counts of the files of one kind.
struct Report {
    kind: &'static str,
    total: Counts,
}

impl Report {
    fn new(kind: &'static str) -> Self {
        Self { kind, total: Counts::default() }
    }

    /// Takes in a file: its cases, each run (with the verdict) or skipped (with the reason).
    fn file(
        &mut self,
        name: impl Debug,
        cases: impl IntoIterator<Item = (usize, TestResult, Result<bool, &'static str>)>,
    ) {
        let mut counts = Counts::default();
        for (number, expected, outcome) in cases {
            match outcome {
                Err(reason) => *counts.skipped.entry(reason).or_default() += 1,
                Ok(good) => {
                    counts.run += 1;
                    let right = match expected {
                        TestResult::Valid => good,
                        TestResult::Invalid => !good,
                        TestResult::Acceptable => true,
                    };
                    assert!(right, "{} {name:?} case {number}: {expected:?}, but {good}", self.kind);
                }
            }
        }
        println!("{:12} {:36} {:5} run, skipped: {:?}", self.kind, format!("{name:?}"), counts.run, counts.skipped);
        self.total.run += counts.run;
        counts.skipped.into_iter().for_each(|(reason, n)| *self.total.skipped.entry(reason).or_default() += n);
    }

    /// The table's row for this kind: so many cases run, and so many are skipped, for these reasons and no others.
    fn end(self, run: usize, skipped: &[(&'static str, usize)]) {
        println!("{:12} {:36} {:5} run, skipped: {:?}", self.kind, "total", self.total.run, self.total.skipped);
        assert_eq!((self.total.run, self.total.skipped), (run, skipped.iter().copied().collect()), "{}", self.kind);
    }
}

const NO_HASH: &str = "a hash that no TPM has";
const NO_CURVE: &str = "a curve that no TPM has";
const NO_MAC: &str = "a MAC that no TPM has";
const NO_CIPHER: &str = "a cipher or mode that no TPM has";
const OTHER_MGF: &str = "MGF1 with another hash than the scheme's";
const OTHER_SALT: &str = "a salt of another length, which a TPM accepts";
const EXPANDED: &str = "an expanded private key: a TPM keeps the seed";

const NO_AEAD: &str = "authenticated encryption, which no TPM has";
const NO_WRAP: &str = "a key wrapping that no TPM has";
const NO_DERIVATION: &str = "a derivation from passwords, which no TPM has";
const NO_KEY: &str = "a kind of key that this TPM has not";
const NO_FPE: &str = "encryption that preserves a format, which no TPM has";

/// Beginnings of names of files none of whose cases concern a TPM. Every other file of the package is run by a test
/// below.
const NOT_RUN: &[(&str, &str)] = &[
    ("a128cbc_hs256", NO_AEAD),
    ("a192cbc_hs384", NO_AEAD),
    ("a256cbc_hs512", NO_AEAD),
    ("aead_aes_siv_cmac", NO_AEAD),
    ("aegis", NO_AEAD),
    ("aes_ccm", NO_AEAD),
    ("aes_eax", NO_AEAD),
    ("aes_ff1", NO_FPE),
    ("aes_gcm", NO_AEAD),
    ("aes_gmac", NO_MAC),
    ("aes_kwp", NO_WRAP),
    ("aes_wrap", NO_WRAP),
    ("aria_ccm", NO_AEAD),
    ("aria_gcm", NO_AEAD),
    ("aria_kwp", NO_WRAP),
    ("aria_wrap", NO_WRAP),
    ("ascon", NO_AEAD),
    ("c2sp_chunked_encryption", NO_AEAD),
    ("camellia_ccm", NO_AEAD),
    ("camellia_wrap", NO_WRAP),
    ("chacha20_poly1305", NO_AEAD),
    ("dsa_", NO_KEY),
    ("ec_prime_order_curves", "parameters of curves, which a TPM does not take"),
    ("ed25519", NO_KEY),
    ("ed448", NO_KEY),
    ("morus", NO_AEAD),
    ("pbes2", NO_DERIVATION),
    ("pbkdf2", NO_DERIVATION),
    ("primality", "numbers to be tested: a TPM tests only those that it has drawn"),
    ("seed_ccm", NO_AEAD),
    ("seed_gcm", NO_AEAD),
    ("seed_wrap", NO_WRAP),
    ("sm4_ccm", NO_AEAD),
    ("sm4_gcm", NO_AEAD),
    ("vmac", NO_MAC),
    ("x25519", NO_KEY),
    ("x448", NO_KEY),
    ("xchacha20_poly1305", NO_AEAD),
];

/// The names of the package's files, without `_test.json`.
fn files() -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(cargo).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let folders =
        said.split("\"manifest_path\":\"").skip(1).filter_map(|rest| Some(rest.split_once("/Cargo.toml\"")?.0));
    let folder = folders
        .map(Path::new)
        .find(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wycheproof-")));
    let entries = std::fs::read_dir(folder.unwrap().join("src/data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix("_test.json").map(str::to_owned)).collect()
}

/// Whether a test below runs the file.
fn runs(file: &str) -> bool {
    macro_rules! any {
        ($($kind:ident),*) => { $(file.parse::<wycheproof::$kind::TestName>().is_ok())||* };
    }
    any!(
        mac,
        cipher,
        hkdf,
        ecdh,
        ecdsa,
        rsa_pkcs1_verify,
        rsa_pss_verify,
        rsa_oaep,
        rsa_pkcs1_decrypt,
        mlkem,
        mldsa_sign,
        mldsa_verify
    )
}

#[test]
fn every_file_is_run_or_has_a_reason() {
    let files = files();
    let skipped = |file: &str| NOT_RUN.iter().find(|(head, _)| file.starts_with(head));
    for file in &files {
        assert!(runs(file) != skipped(file).is_some(), "{file}: run {}, reason {:?}", runs(file), skipped(file));
    }
    for (head, reason) in NOT_RUN {
        let count = files.iter().filter(|file| file.starts_with(head)).count();
        println!("{head:28} {count:3} files: {reason}");
        assert!(count > 0, "no file is {head}");
    }
    println!("{} files, {} run", files.len(), files.iter().filter(|file| runs(file)).count());
}

fn hash_of(hash: HashFunction) -> Result<HashAlg, &'static str> {
    Ok(match hash {
        HashFunction::Sha1 => HashAlg::Sha1,
        HashFunction::Sha2_256 => HashAlg::Sha256,
        HashFunction::Sha2_384 => HashAlg::Sha384,
        HashFunction::Sha2_512 => HashAlg::Sha512,
        HashFunction::Sha3_256 => HashAlg::Sha3_256,
        HashFunction::Sha3_384 => HashAlg::Sha3_384,
        HashFunction::Sha3_512 => HashAlg::Sha3_512,
        _ => return Err(NO_HASH),
    })
}

fn curve_of(curve: EllipticCurve) -> Result<Curve, &'static str> {
    Ok(match curve {
        EllipticCurve::Secp224r1 => Curve::NistP224,
        EllipticCurve::Secp256r1 => Curve::NistP256,
        EllipticCurve::Secp384r1 => Curve::NistP384,
        EllipticCurve::Secp521r1 => Curve::NistP521,
        _ => return Err(NO_CURVE),
    })
}

/// Random bytes that are these ones.
struct Given<'a>(&'a [u8]);

impl Rng for Given<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(self.0.get(..out.len()).ok_or(Error::Reseed)?);
        Ok(())
    }
}

fn trimmed(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

#[test]
fn mac() {
    use wycheproof::mac::{TestName, TestSet};
    let mut report = Report::new("MAC");
    for name in TestName::all() {
        let compute = |key: &[u8], msg: &[u8]| -> Result<Option<Vec<u8>>, &'static str> {
            let with = |alg| Ok(Some(hmac(alg, key, &[msg]).as_slice().to_vec()));
            match name {
                TestName::AesCmac => Ok(Cmac::new(SymAlg::Aes, key).ok().map(|mac| mac.chain(msg).finish().to_vec())),
                TestName::CamelliaCmac => {
                    Ok(Cmac::new(SymAlg::Camellia, key).ok().map(|mac| mac.chain(msg).finish().to_vec()))
                }
                TestName::HmacSha1 => with(HashAlg::Sha1),
                TestName::HmacSha256 => with(HashAlg::Sha256),
                TestName::HmacSha384 => with(HashAlg::Sha384),
                TestName::HmacSha512 => with(HashAlg::Sha512),
                TestName::HmacSha3_256 => with(HashAlg::Sha3_256),
                TestName::HmacSha3_384 => with(HashAlg::Sha3_384),
                TestName::HmacSha3_512 => with(HashAlg::Sha3_512),
                TestName::HmacSm3 => with(HashAlg::Sm3),
                _ => Err(NO_MAC),
            }
        };
        let set = TestSet::load(name).unwrap();
        let cases = set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let verdict = compute(&test.key, &test.msg)
                    .map(|mac| mac.is_some_and(|mac| mac[..group.tag_size / 8] == test.tag[..]));
                (test.tc_id, test.result, verdict)
            }),
        );
    }
    report.end(2010, &[(NO_MAC, 1638)]);
}

#[test]
fn cipher() {
    use wycheproof::cipher::{TestName, TestSet};
    let mut report = Report::new("cipher");
    for name in TestName::all() {
        let alg = match name {
            TestName::AesCbcPkcs5 => Ok(SymAlg::Aes),
            TestName::CamelliaCbcPkcs5 => Ok(SymAlg::Camellia),
            _ => Err(NO_CIPHER),
        };
        // The padding is the caller's in a TPM: it is checked here.
        let decrypt = |alg, key: &[u8], iv: &[u8], ciphertext: &[u8]| -> Option<Vec<u8>> {
            let mut data = ciphertext.to_vec();
            Cipher::new(alg, key).ok()?.decrypt(Mode::Cbc, &mut iv.to_vec(), &mut data).ok()?;
            let padding = usize::from(*data.last()?);
            let good =
                (1..=16).contains(&padding) && data.iter().rev().take(padding).all(|b| usize::from(*b) == padding);
            good.then(|| data[..data.len() - padding].to_vec())
        };
        let set = TestSet::load(name).unwrap();
        let tests = set.test_groups.iter().flat_map(|group| &group.tests);
        report.file(
            name,
            tests.map(|test| {
                let plain = alg.map(|alg| decrypt(alg, &test.key, &test.nonce, &test.ct));
                (test.tc_id, test.result, plain.map(|plain| plain.as_deref() == Some(&test.pt[..])))
            }),
        );
    }
    report.end(432, &[(NO_CIPHER, 339)]);
}

#[test]
fn hkdf() {
    use wycheproof::hkdf::{TestName, TestSet};
    let mut report = Report::new("HKDF");
    for name in TestName::all() {
        let alg = match name {
            TestName::HkdfSha1 => HashAlg::Sha1,
            TestName::HkdfSha256 => HashAlg::Sha256,
            TestName::HkdfSha384 => HashAlg::Sha384,
            TestName::HkdfSha512 => HashAlg::Sha512,
        };
        let set = TestSet::load(name).unwrap();
        let tests = set.test_groups.iter().flat_map(|group| &group.tests);
        report.file(
            name,
            tests.map(|test| {
                let prk = kdf::hkdf_extract(alg, &test.salt, &[&test.ikm]);
                let mut okm = vec![0; test.size];
                let done = kdf::hkdf_expand(alg, prk.as_slice(), &[&test.info], &mut okm);
                (test.tc_id, test.result, Ok(done.is_ok() && okm == test.okm[..]))
            }),
        );
    }
    report.end(339, &[]);
}

/// The octets of an uncompressed point at the end of a DER SubjectPublicKeyInfo whose head is exactly that of a named
/// curve.
fn named_curve_point(curve: Curve, spki: &[u8]) -> Option<&[u8]> {
    let oid: &[u8] = match curve {
        Curve::NistP224 => &[0x06, 5, 0x2b, 0x81, 4, 0, 0x21],
        Curve::NistP256 => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        Curve::NistP384 => &[0x06, 5, 0x2b, 0x81, 4, 0, 0x22],
        Curve::NistP521 => &[0x06, 5, 0x2b, 0x81, 4, 0, 0x23],
        _ => return None,
    };
    let point = 1 + 2 * curve.size();
    let tlv = |tag: u8, contents: Vec<u8>| {
        let len = contents.len();
        let size = if len < 128 { vec![len as u8] } else { vec![0x81, len as u8] };
        [vec![tag], size, contents].concat()
    };
    let ec_public_key: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let at = spki.len().checked_sub(point)?;
    let bits = [&[0][..], &spki[at..]].concat();
    let whole = tlv(0x30, [tlv(0x30, [ec_public_key, oid].concat()), tlv(3, bits)].concat());
    (whole == spki).then(|| &spki[at..])
}

fn point_of(curve: Curve, octets: &[u8]) -> Option<Point> {
    let (x, y) = octets.strip_prefix(&[4])?.split_at_checked(curve.size())?;
    if y.len() == curve.size() { Point::new(curve, x, y).ok() } else { None }
}

#[test]
fn ecdh() {
    use wycheproof::ecdh::{EcdhEncoding, TestName, TestSet};
    let mut report = Report::new("ECDH");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let cases = set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let outcome = curve_of(group.curve).and_then(|curve| {
                    let octets = match group.encoding {
                        EcdhEncoding::EcPoint => Some(&test.public_key[..]),
                        EcdhEncoding::Asn1 => named_curve_point(curve, &test.public_key),
                    };
                    let Some(octets) = octets else {
                        return if test.result == TestResult::Valid {
                            Err("a public key in another encoding")
                        } else {
                            Ok(false)
                        };
                    };
                    if octets.first() != Some(&4) && test.result == TestResult::Valid {
                        return Err("a compressed point, which a TPM is not given");
                    }
                    let d = trimmed(&test.private_key);
                    let shared = point_of(curve, octets).and_then(|point| curve.multiply(d, &point).ok());
                    Ok(shared.is_some_and(|shared| shared.x().as_slice() == &test.shared_secret[..]))
                });
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(5553, &[(NO_CURVE, 4844)]);
}

/// r and s of a DER signature; None for whatever is not strictly DER.
fn der_signature(der: &[u8]) -> Option<(&[u8], &[u8])> {
    fn tlv(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (&[found, first], rest) = der.split_first_chunk::<2>()?;
        let (len, rest) = match first {
            0..=127 => (usize::from(first), rest),
            0x81 => (usize::from(*rest.first().filter(|len| **len > 127)?), &rest[1..]),
            _ => return None,
        };
        if found == tag { rest.split_at_checked(len) } else { None }
    }
    fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (bytes, rest) = tlv(2, der)?;
        let minimal = match bytes {
            [] => false,
            [0, next, ..] => *next > 127,
            [first, ..] => *first < 128,
        };
        (minimal || bytes == [0]).then(|| (trimmed(bytes), rest))
    }
    let (body, rest) = tlv(0x30, der)?;
    let (r, body) = integer(body)?;
    let (s, body) = integer(body)?;
    (rest.is_empty() && body.is_empty()).then_some((r, s))
}

#[test]
fn ecdsa() {
    use wycheproof::ecdsa::{TestGroupTypeId, TestName, TestSet};
    let mut report = Report::new("ECDSA");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let cases = set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let supported = curve_of(group.key.curve).and_then(|curve| Ok((curve, hash_of(group.hash)?)));
                let outcome = supported.map(|(curve, hash)| {
                    let halves = if group.test_type == TestGroupTypeId::EcdsaP1363 {
                        (test.sig.len() == 2 * curve.size()).then(|| test.sig.split_at(curve.size()))
                    } else {
                        der_signature(&test.sig)
                    };
                    let public = point_of(curve, &group.key.key).unwrap();
                    let signature = halves.and_then(|(r, s)| Signature::new(curve, r, s).ok());
                    let message = digest(hash, &[&test.msg]);
                    signature.is_some_and(|sig| curve.ecdsa_verify(&public, message.as_slice(), &sig).is_ok())
                });
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(9851, &[(NO_CURVE, 15_730), (NO_HASH, 4322)]);
}

const NO_RSA_SIZE: &str = "an RSA key of a size that no TPM here has";
const NO_EXPONENT: &str = "a public exponent that is no odd prime";

fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublic, &'static str> {
    let modulus = trimmed(modulus);
    if ![128, 256, 384, 512].contains(&modulus.len()) {
        return Err(NO_RSA_SIZE);
    }
    let exponent = trimmed(exponent).iter().fold(0_u64, |e, byte| e << 8 | u64::from(*byte));
    RsaPublic::new(modulus, u32::try_from(exponent).map_err(|_| NO_EXPONENT)?).map_err(|_| NO_EXPONENT)
}

#[test]
fn rsassa() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let mut report = Report::new("RSASSA");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let cases = set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let key = rsa_public(&group.key.n, &group.key.e).and_then(|key| Ok((key, hash_of(group.hash)?)));
                let outcome = key.map(|(key, hash)| {
                    key.verify(SignScheme::Rsassa(hash), digest(hash, &[&test.msg]).as_slice(), &test.sig).is_ok()
                });
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(3879, &[(NO_HASH, 1547), (NO_RSA_SIZE, 776)]);
}

#[test]
fn rsapss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut report = Report::new("RSAPSS");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let cases = set.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let key = rsa_public(&group.key.n, &group.key.e).and_then(|key| Ok((key, hash_of(group.hash)?)));
                let outcome = key.and_then(|(key, hash)| {
                    if group.mgf != Mgf::Mgf1 || group.mgf_hash != Some(group.hash) {
                        return Err(OTHER_MGF);
                    }
                    let message = digest(hash, &[&test.msg]);
                    let good = key.verify(SignScheme::Rsapss(hash), message.as_slice(), &test.sig).is_ok();
                    if good && test.result == TestResult::Invalid && test.comment.starts_with("s_len changed") {
                        return Err(OTHER_SALT);
                    }
                    Ok(good)
                });
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(1874, &[(OTHER_MGF, 478), (NO_HASH, 1055), (OTHER_SALT, 90)]);
}

fn rsa_private(key: &wycheproof::RsaPrivate) -> Result<RsaPrivate, &'static str> {
    let public = rsa_public(&key.n, &key.e)?;
    RsaPrivate::new(&public, trimmed(&key.p)).map_err(|_| "primes of different lengths")
}

#[test]
fn oaep() {
    use wycheproof::rsa_oaep::{TestName, TestSet};
    let mut report = Report::new("OAEP");
    let mut rng = Drbg::new(&[1; 32], b"", b"wycheproof").unwrap();
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let mut cases = Vec::new();
        for group in &set.test_groups {
            let key = rsa_private(&group.key).and_then(|key| {
                if group.mgf_hash == group.hash { Ok((key, hash_of(group.hash)?)) } else { Err(OTHER_MGF) }
            });
            for test in &group.tests {
                let outcome = match &key {
                    Ok((key, hash)) => {
                        let message = key.decrypt(&mut rng, CryptScheme::Oaep(*hash, &test.label), &test.ct);
                        Ok(message.is_ok_and(|message| message.as_slice() == &test.pt[..]))
                    }
                    Err(reason) => Err(*reason),
                };
                cases.push((test.tc_id, test.result, outcome));
            }
        }
        report.file(name, cases);
    }
    report.end(328, &[(OTHER_MGF, 529), (NO_HASH, 116), (NO_RSA_SIZE, 125)]);
}

#[test]
fn rsaes() {
    use wycheproof::rsa_pkcs1_decrypt::{TestName, TestSet};
    let mut report = Report::new("RSAES");
    let mut rng = Drbg::new(&[1; 32], b"", b"wycheproof").unwrap();
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        let mut cases = Vec::new();
        for group in &set.test_groups {
            let key = rsa_private(&group.key).unwrap();
            for test in &group.tests {
                let message = key.decrypt(&mut rng, CryptScheme::Rsaes, &test.ct);
                let good = message.is_ok_and(|message| message.as_slice() == &test.pt[..]);
                cases.push((test.tc_id, test.result, Ok(good)));
            }
        }
        report.file(name, cases);
    }
    report.end(201, &[]);
}

#[test]
fn ml_kem() {
    use wycheproof::mlkem::{MlKemParameterSet, TestGroupTypeId, TestName, TestSet};
    let mut report = Report::new("ML-KEM");
    for name in TestName::all() {
        let tests = TestSet::load(name).unwrap();
        let cases = tests.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let set = match group.parameter_set {
                    MlKemParameterSet::MlKem512 => MlKem::MlKem512,
                    MlKemParameterSet::MlKem768 => MlKem::MlKem768,
                    MlKemParameterSet::MlKem1024 => MlKem::MlKem1024,
                };
                let bytes = |field: &Option<wycheproof::ByteString>| field.as_deref().cloned().unwrap_or_default();
                let (seed, public, ciphertext) = (bytes(&test.seed), bytes(&test.encaps_key), bytes(&test.ct));
                let shared = bytes(&test.shared_secret);
                let outcome = match group.test_type {
                    TestGroupTypeId::MlKemDecapsValidation => Err(EXPANDED),
                    TestGroupTypeId::MlKemKeyGen => {
                        let mut own = vec![0; set.public_size()];
                        Ok(set.public(&seed, &mut own).is_ok() && own == public)
                    }
                    TestGroupTypeId::MlKemEncaps => {
                        let mut own = vec![0; set.ciphertext_size()];
                        let secret = set.encapsulate(&public, &mut Given(&bytes(&test.msg)), &mut own);
                        Ok(secret.is_ok_and(|secret| secret.ct_eq(&shared)) && own == ciphertext)
                    }
                    TestGroupTypeId::MlKem => {
                        Ok(set.decapsulate(&seed, &ciphertext).is_ok_and(|secret| secret.ct_eq(&shared)))
                    }
                };
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(1698, &[(EXPANDED, 27)]);
}

#[test]
fn ml_dsa_sign() {
    use wycheproof::mldsa_sign::{Algorithm, TestName, TestSet};
    let mut report = Report::new("ML-DSA sign");
    for name in TestName::all() {
        let tests = TestSet::load(name).unwrap();
        let set = match tests.algorithm {
            Algorithm::MlDsa44 => MlDsa::MlDsa44,
            Algorithm::MlDsa65 => MlDsa::MlDsa65,
            Algorithm::MlDsa87 => MlDsa::MlDsa87,
        };
        let cases = tests.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let outcome = match &group.privseed {
                    None => Err(EXPANDED),
                    Some(seed) => Ok(ml_dsa_signs(set, seed, test)),
                };
                (test.tc_id, test.result, outcome)
            }),
        );
    }
    report.end(287, &[(EXPANDED, 220)]);
}

/// Whether the seed signs with exactly the signature of the case, which then verifies.
fn ml_dsa_signs(set: MlDsa, seed: &[u8], test: &wycheproof::mldsa_sign::Test) -> bool {
    let mut public = vec![0; set.public_size()];
    if set.public(seed, &mut public).is_err() {
        return false;
    }
    let given = test.mu.as_deref().map(|mu| mu.as_slice().try_into().ok());
    let mu = given.unwrap_or_else(|| {
        let mut mu = Mu::pure(&public, test.ctx.as_deref().map_or(&[], Vec::as_slice)).ok()?;
        mu.update(test.msg.as_deref().map_or(&[], Vec::as_slice));
        Some(mu.finish())
    });
    let Some(mu) = mu else { return false };
    let random = test.rnd.as_deref().cloned().unwrap_or_else(|| vec![0; 32]);
    let mut signature = vec![0; set.signature_size()];
    let signed = set.sign(seed, &mu, &mut Given(&random), &mut signature);
    signed.is_ok() && signature == test.sig[..] && set.verify(&public, &mu, &signature).is_ok()
}

#[test]
fn ml_dsa_verify() {
    use wycheproof::mldsa_verify::{Algorithm, TestName, TestSet};
    let mut report = Report::new("ML-DSA verify");
    for name in TestName::all() {
        let tests = TestSet::load(name).unwrap();
        let set = match tests.algorithm {
            Algorithm::MlDsa44 => MlDsa::MlDsa44,
            Algorithm::MlDsa65 => MlDsa::MlDsa65,
            Algorithm::MlDsa87 => MlDsa::MlDsa87,
        };
        let cases = tests.test_groups.iter().flat_map(|group| group.tests.iter().map(move |test| (group, test)));
        report.file(
            name,
            cases.map(|(group, test)| {
                let mu = Mu::pure(&group.pubkey, test.ctx.as_deref().map_or(&[], Vec::as_slice)).map(|mut mu| {
                    mu.update(&test.msg);
                    mu.finish()
                });
                let good = mu.and_then(|mu| set.verify(&group.pubkey, &mu, &test.sig)).is_ok();
                (test.tc_id, test.result, Ok(good))
            }),
        );
    }
    report.end(631, &[]);
}
