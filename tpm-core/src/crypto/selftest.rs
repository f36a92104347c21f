//! A known answer per algorithm, small enough for the firmware. The answers are from the tests' sources: FIPS 180-4, RFC 4231, SP 800-38A,
//! CAVP, RFC 6979, and for RSA and the derivations from the golden vectors.

use super::drbg::Drbg;
use super::ecc::{Curve, Point, Signature};
use super::hash::{HashAlg, digest};
use super::hmac::hmac;
use super::kdf::{kdfa, kdfe};
use super::rsa::padding::SignScheme;
use super::rsa::{RsaPrivate, RsaPublic};
use super::sym::{Cipher, Mode, SymAlg};
use super::{Error, Rng};

/// An algorithm that can be tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// A hash algorithm, and HMAC with it.
    Hash(HashAlg),
    /// KDFa and KDFe.
    Kdf,
    /// The DRBG.
    Drbg,
    /// AES in CFB mode, both ways.
    Aes,
    /// RSA: the private operation, a signature that must verify and one that must not.
    Rsa,
    /// A curve: a base multiplication, and a signature that must verify and one that must not.
    Ecc(Curve),
}

impl Test {
    /// Every test.
    pub fn all() -> impl Iterator<Item = Self> {
        let hashes = HashAlg::ALL.iter().map(|&hash| Self::Hash(hash));
        let curves = Curve::ALL.iter().map(|&curve| Self::Ecc(curve));
        hashes.chain([Self::Kdf, Self::Drbg, Self::Aes, Self::Rsa]).chain(curves)
    }

    /// Whether the algorithm gives the known answer.
    #[must_use]
    pub fn passes(self) -> bool {
        match self {
            Self::Hash(hash) => hash_passes(hash),
            Self::Kdf => kdf_passes(),
            Self::Drbg => drbg_passes().unwrap_or(false),
            Self::Aes => aes_passes().unwrap_or(false),
            Self::Rsa => rsa_passes().unwrap_or(false),
            Self::Ecc(curve) => ecc_passes(curve).unwrap_or(false),
        }
    }
}

fn hash_passes(hash: HashAlg) -> bool {
    let expected: &[u8] = match hash {
        HashAlg::Sha1 => &HMAC_SHA1,
        HashAlg::Sha256 => &HMAC_SHA256,
        HashAlg::Sha384 => &HMAC_SHA384,
        HashAlg::Sha512 => &HMAC_SHA512,
    };
    hmac(hash, b"abc", &[digest(hash, &[b"abc"]).as_slice()]).as_slice() == expected
}

fn kdf_passes() -> bool {
    let (mut a, mut e) = ([0; 40], [0; 40]);
    kdfa(HashAlg::Sha256, b"key", b"SELF", b"u", b"v", &mut a);
    kdfe(HashAlg::Sha256, b"key", b"SELF", b"u", b"v", &mut e);
    a == KDFA && e == KDFE
}

fn drbg_passes() -> Result<bool, Error> {
    let mut drbg = Drbg::new(&DRBG_ENTROPY, &DRBG_NONCE, b"")?;
    let mut out = [0; 128];
    drbg.fill(&mut out)?;
    drbg.fill(&mut out)?;
    Ok(out.starts_with(&DRBG_OUTPUT))
}

fn aes_passes() -> Result<bool, Error> {
    let cipher = Cipher::new(SymAlg::Aes, &AES_KEY)?;
    let (mut iv, mut data) = (AES_IV, AES_PLAIN);
    cipher.encrypt(Mode::Cfb, &mut iv, &mut data)?;
    let encrypted = data == AES_CIPHER;
    cipher.decrypt(Mode::Cfb, &mut AES_IV.clone(), &mut data)?;
    Ok(encrypted && data == AES_PLAIN)
}

fn rsa_passes() -> Result<bool, Error> {
    let public = RsaPublic::new(&RSA_MODULUS, 0)?;
    let private = RsaPrivate::new(&public, &RSA_PRIME)?;
    let (scheme, message) = (SignScheme::Rsassa(HashAlg::Sha256), digest(HashAlg::Sha256, &[b"abc"]));
    let mut rng = Drbg::new(&DRBG_ENTROPY, &DRBG_NONCE, b"")?;
    let mut signature = [0; 128];
    private.sign(&mut rng, scheme, message.as_slice(), &mut signature)?;
    let signed = signature == RSA_SIGNATURE;
    let verified = public.verify(scheme, message.as_slice(), &signature).is_ok();
    let refused = public.verify(scheme, &[0; 32], &signature).is_err();
    Ok(signed && verified && refused)
}

fn ecc_passes(curve: Curve) -> Result<bool, Error> {
    let [d, x, y, r, s]: [&[u8]; 5] = match curve {
        Curve::NistP256 => [&P256_D, &P256_X, &P256_Y, &P256_R, &P256_S],
        Curve::NistP384 => [&P384_D, &P384_X, &P384_Y, &P384_R, &P384_S],
    };
    let public = Point::new(curve, x, y)?;
    let signature = Signature::new(curve, r, s)?;
    let verify = |message| curve.ecdsa_verify(&public, digest(HashAlg::Sha256, &[message]).as_slice(), &signature);
    Ok(curve.public(d)? == public && verify(b"sample").is_ok() && verify(b"simple").is_err())
}

/// The bytes of a hexadecimal constant; a wrong one does not compile.
const fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    assert!(digits.len() == 2 * N);
    let (mut bytes, mut i) = ([0; N], 0);
    while i < N {
        bytes[i] = digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}

const fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("not a hexadecimal digit"),
    }
}

const HMAC_SHA1: [u8; 20] = hex(b"4d15ec7bc6bcb8fb800f19257ccccf392f47c887");
const HMAC_SHA256: [u8; 32] = hex(b"538daf7746d1207cd1bb751b354d05eca0baf97ce7bf9d23040b8f1e14f0d8c5");
const HMAC_SHA384: [u8; 48] =
    hex(b"38eb0d4a46145c87afff77ce1de3ad41ae897fe829336da515774a550e263565eb4a5f89e6e9437a79f7641ee8b149f7");
const HMAC_SHA512: [u8; 64] =
    hex(b"2c27a10f9b70fb2f90b909d2ff56baf4de8b154d651c0f2c5c2b8f62b91b939e7eb25cb0aec67237737a5eeb8c9d0fd526d8\
      2848a754626280eb9c0bfd6748f0");
const KDFA: [u8; 40] = hex(b"65fb0d7928f43338eac366fc27daae7ce7c4b82def8c65db49dffacd3e38899c6bbca5243689f931");
const KDFE: [u8; 40] = hex(b"46a54f791ee3a041d4652aa0d7996af7a292e68bcf45ade35a0c8c238a1f0f47a81110280af5f227");
const DRBG_ENTROPY: [u8; 32] = hex(b"ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488");
const DRBG_NONCE: [u8; 16] = hex(b"659ba96c601dc69fc902940805ec0ca8");
const DRBG_OUTPUT: [u8; 32] = hex(b"e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89");
const AES_KEY: [u8; 16] = hex(b"2b7e151628aed2a6abf7158809cf4f3c");
const AES_IV: [u8; 16] = hex(b"000102030405060708090a0b0c0d0e0f");
const AES_PLAIN: [u8; 32] = hex(b"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
const AES_CIPHER: [u8; 32] = hex(b"3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b");
const RSA_MODULUS: [u8; 128] =
    hex(b"d16933d12dd3ca23f8103ca81d2d1f4d4a2148b34094d8bc12b009e1c87c9c8d2c17b7978e2416199ece7c33b231f4125b5b\
      fd4d145ee7f4eeb985e8eeb59bc68dea75cac9be76f04c6b05f9c90ef73b8dcd06e70c85b69d19ab424dc08412fffa9b846e\
      1601c767b1a9761d8326518017358a16daa7ee2850bf59287315be71");
const RSA_PRIME: [u8; 64] =
    hex(b"eb552bd1977e104642930bcf2b35b950f961e8177507d202e6d3709252b820c094992f46ad687045fc932f5a65e4ee37e671\
      fcaee875a5ac7b05c7b974b4016b");
const RSA_SIGNATURE: [u8; 128] =
    hex(b"0c92b26869a6331819c4f488e841a57b0553fc97a3403519075250e55b1e81dbaca85d85eeeb7c56f752e977720dc17576a5\
      a80c00c885112762c393c8e13ac156c33b147248465b56bf5323d3715f15abb54b3b87391f8f80c96d5537d32fe9358bf187\
      cad8476f6ed7b8e2ff632a237a526016baff27fa10ac997f728315c7");
const P256_D: [u8; 32] = hex(b"c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
const P256_X: [u8; 32] = hex(b"60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6");
const P256_Y: [u8; 32] = hex(b"7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
const P256_R: [u8; 32] = hex(b"efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716");
const P256_S: [u8; 32] = hex(b"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
const P384_D: [u8; 48] =
    hex(b"6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5");
const P384_X: [u8; 48] =
    hex(b"ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13");
const P384_Y: [u8; 48] =
    hex(b"8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720");
const P384_R: [u8; 48] =
    hex(b"21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33bde1e888e63355d92fa2b3c36d8fb2cd");
const P384_S: [u8; 48] =
    hex(b"f3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42ec0cb8668a4fa0ab0");

#[cfg(test)]
mod tests {
    use super::Test;

    #[test]
    fn every_algorithm_gives_the_known_answer() {
        assert!(Test::all().count() >= 10);
        for test in Test::all() {
            assert!(test.passes(), "{test:?}");
        }
    }
}
