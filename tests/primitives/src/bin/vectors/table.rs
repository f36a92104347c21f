//! Which file is run how, or skipped why.

use super::{File, Outcome, ciphers, derivations, drbg, ecc, hashes, ml, rsa};
use anyhow::Result;

pub(crate) type Run = fn(&File) -> Result<Vec<Outcome>>;

#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Run(Run),
    Skip(&'static str),
}

use Fate::{Run as Judge, Skip};

const OTHER_HASH: &str = "a hash that no TPM has";
const OTHER_CIPHER: &str = "a cipher or mode that no TPM has";
const FORM: &str = "a form of keys or messages, which a TPM does not read";
const OTHER_KEY: &str = "a kind of key that no TPM has";
const SAME: &str = "the cases of the .rsp file beside it, with more shown";
const X931: &str = "ANSI X9.31, which no TPM has";

/// Patterns of paths (one `*`, for anything), and what becomes of their files; the first one that fits counts.
pub(crate) const ROWS: &[(&str, Fate)] = &[
    ("__*", Skip("the package's own")),
    ("py.typed", Skip("the package's own")),
    ("CMAC/nist-800-38b-3des.txt", Skip(OTHER_CIPHER)),
    ("CMAC/*.txt", Judge(derivations::cmac)),
    ("HMAC/rfc-2202-md5.txt", Skip(OTHER_HASH)),
    ("HMAC/rfc-2286-ripemd160.txt", Skip(OTHER_HASH)),
    ("HMAC/rfc-4231-sha224.txt", Skip(OTHER_HASH)),
    ("HMAC/*.txt", Judge(derivations::hmac)),
    ("HPKE/test-vectors.json", Judge(ecc::hpke)),
    ("HPKE/*", Skip("KEMs that no TPM has")),
    ("KDF/nist-800-108-KBKDF-CTR.txt", Judge(derivations::kbkdf)),
    ("KDF/ansx963_2001.txt", Judge(derivations::x963)),
    ("KDF/rfc-5869-HKDF-*.txt", Judge(derivations::hkdf)),
    ("KDF/hkdf-generated.txt", Judge(derivations::hkdf)),
    ("KDF/*", Skip("a derivation that no TPM has")),
    ("asymmetric/ECDH/brainpool.txt", Skip("curves that this TPM has not")),
    ("asymmetric/ECDH/*.fax", Judge(ecc::ecdh)),
    ("asymmetric/ECDSA/*/Readme.txt", Skip("text")),
    ("asymmetric/ECDSA/*/KeyPair.rsp", Judge(ecc::key_pair)),
    ("asymmetric/ECDSA/*/PKV.rsp", Judge(ecc::public_key)),
    ("asymmetric/ECDSA/*/SigGen.rsp", Judge(ecc::generated)),
    ("asymmetric/ECDSA/*/SigVer.rsp", Judge(ecc::verified)),
    ("asymmetric/ECDSA/FIPS_186-*/SigGen.txt", Judge(ecc::generated)),
    (
        "asymmetric/ECDSA/RFC6979/*",
        Skip(
            "nonces from key and message alone: the engine's are hedged; tpm-core/crypto/src/tests has them for the primitive",
        ),
    ),
    ("asymmetric/ECDSA/SECP256K1/*", Skip("a curve that no TPM has")),
    ("asymmetric/MLDSA/*.rsp", Judge(ml::dsa)),
    ("asymmetric/MLDSA/*.der", Skip(FORM)),
    ("asymmetric/MLKEM/*.rsp", Judge(ml::kem)),
    ("asymmetric/MLKEM/*", Skip(FORM)),
    ("asymmetric/RSA/FIPS_186-2/Readme.txt", Skip("text")),
    ("asymmetric/RSA/FIPS_186-2/KeyGenRSA.rsp", Judge(rsa::keys)),
    ("asymmetric/RSA/FIPS_186-2/SigGen15_186-*.rsp", Judge(rsa::pkcs1)),
    ("asymmetric/RSA/FIPS_186-2/SigVer15_186-*.rsp", Judge(rsa::pkcs1)),
    ("asymmetric/RSA/FIPS_186-2/SigGenPSS_186-*.rsp", Judge(rsa::pss)),
    ("asymmetric/RSA/FIPS_186-2/SigVerPSS_186-*.rsp", Judge(rsa::pss)),
    ("asymmetric/RSA/FIPS_186-2/SigGen*.txt", Skip(SAME)),
    ("asymmetric/RSA/FIPS_186-2/SigGenRSA*", Skip(X931)),
    ("asymmetric/RSA/FIPS_186-2/SigVerRSA*", Skip(X931)),
    ("asymmetric/RSA/SigVer15EMTest.txt", Judge(rsa::pkcs1)),
    ("asymmetric/RSA/oaep-custom/*", Judge(rsa::oaep)),
    ("asymmetric/RSA/oaep-label.txt", Skip("one key in PKCS #8; Wycheproof's cases have labels")),
    ("asymmetric/RSA/pkcs-1v2-1d2-vec/oaep-vect.txt", Judge(rsa::oaep)),
    ("asymmetric/RSA/pkcs-1v2-1d2-vec/pss-vect.txt", Judge(rsa::pss_examples)),
    ("asymmetric/RSA/pkcs-1v2-1d2-vec/*-int.txt", Skip("intermediate values of one case of the file beside it")),
    ("asymmetric/RSA/pkcs-1v2-1d2-vec/readme.txt", Skip("text")),
    ("asymmetric/RSA/pkcs1v15crypt-vectors.txt", Judge(rsa::rsaes)),
    ("asymmetric/RSA/pkcs1v15sign-vectors.txt", Judge(rsa::pkcs1_examples)),
    ("asymmetric/DH/*", Skip(OTHER_KEY)),
    ("asymmetric/DSA/*", Skip(OTHER_KEY)),
    ("asymmetric/Ed25519/*", Skip("a kind of key that this TPM has not")),
    ("asymmetric/Ed448/*", Skip("a kind of key that this TPM has not")),
    ("asymmetric/X25519/*", Skip("a kind of key that this TPM has not")),
    ("asymmetric/X448/*", Skip("a kind of key that this TPM has not")),
    ("asymmetric/*", Skip(FORM)),
    ("chunked-encryption/*", Skip(OTHER_CIPHER)),
    ("ciphers/AES/CFB/CFB128*.rsp", Judge(ciphers::modes)),
    ("ciphers/AES/CFB/CFB1*", Skip("CFB of 1 bit: a TPM's is of a block")),
    ("ciphers/AES/CFB/CFB8*", Skip("CFB of 8 bits: a TPM's is of a block")),
    ("ciphers/AES/CBC/*.rsp", Judge(ciphers::modes)),
    ("ciphers/AES/ECB/*.rsp", Judge(ciphers::modes)),
    ("ciphers/AES/OFB/*.rsp", Judge(ciphers::modes)),
    ("ciphers/AES/CTR/*.txt", Judge(ciphers::modes)),
    ("ciphers/Camellia/*-ecb.txt", Judge(ciphers::camellia)),
    ("ciphers/Camellia/*.txt", Judge(ciphers::modes)),
    ("ciphers/SM4/draft-*.txt", Judge(ciphers::modes)),
    ("ciphers/*", Skip(OTHER_CIPHER)),
    ("fernet/*", Skip(FORM)),
    ("hashes/*/Readme.txt", Skip("text")),
    ("hashes/*Monte.txt", Skip(SAME)),
    ("hashes/SHA2/SHA224*", Skip(OTHER_HASH)),
    ("hashes/SHA2/SHA512_*", Skip(OTHER_HASH)),
    ("hashes/SHA3/SHA3_224*", Skip(OTHER_HASH)),
    ("hashes/SHAKE/*", Skip("a hash that this TPM has only inside of ML-DSA")),
    ("hashes/SHA*Monte.rsp", Judge(hashes::monte)),
    ("hashes/SHA*Msg.rsp", Judge(hashes::messages)),
    ("hashes/SM3/oscca.txt", Judge(hashes::messages)),
    ("hashes/*", Skip(OTHER_HASH)),
    ("keywrap/*", Skip(OTHER_CIPHER)),
    ("pkcs12/*", Skip(FORM)),
    ("pkcs7/*", Skip(FORM)),
    ("poly1305/*", Skip("a MAC that no TPM has")),
    ("twofactor/*", Skip("one-time passwords")),
    ("x509/*", Skip(FORM)),
];

/// Of OpenSSL's test data.
pub(crate) const OPENSSL: &[(&str, Run)] = &[("evprand.txt", drbg::openssl)];

/// Of Mbed TLS' test data.
pub(crate) const MBEDTLS: &[(&str, Run)] = &[
    ("test_suite_hmac_drbg.no_reseed.data", drbg::mbedtls),
    ("test_suite_hmac_drbg.nopr.data", drbg::mbedtls),
    ("test_suite_hmac_drbg.pr.data", drbg::mbedtls),
];

/// Whether a pattern with at most one `*` names a path.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_anything() {
        assert!(matches("a/*.rsp", "a/b/c.rsp") && matches("a", "a") && matches("a*", "a"));
        assert!(!matches("a/*.rsp", "a/b.txt") && !matches("a/*.rsp", "b/a.rsp") && !matches("a", "ab"));
        assert!(!matches("ab*bc", "abc"), "head and tail do not overlap");
    }
}
