//! A known answer per algorithm, small enough for the firmware. The answers are from the tests' sources: FIPS 180-4,
//! RFC 4231, SP 800-38A, CAVP, RFC 6979, and for RSA and the derivations from the golden vectors.

use super::cmac::Cmac;
use super::drbg::Drbg;
use super::ecc::{Curve, Point, Signature};
use super::hash::{HashAlg, digest};
use super::hex::hex;
use super::hmac::hmac;
use super::kdf::{kdfa, kdfe};
use super::mldsa::{self, MlDsa, Mu};
use super::mlkem::{self, MlKem};
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
    /// A cipher in CFB mode, both ways, and CMAC with it.
    Cipher(SymAlg),
    /// RSA: the private operation, a signature that must verify and one that must not.
    Rsa,
    /// A curve: a base multiplication, and a signature that must verify and one that must not.
    Ecc(Curve),
    /// ECSchnorr and SM2: a signature each that must verify and one that must not.
    Schemes,
    /// A parameter set of ML-KEM: a public key, and what is encapsulated is decapsulated.
    MlKem(MlKem),
    /// A parameter set of ML-DSA: a public key, and a signature that must verify and one that must not.
    MlDsa(MlDsa),
}

impl Test {
    /// How many tests there are.
    const COUNT: usize =
        HashAlg::ALL.len() + 2 + SymAlg::ALL.len() + 1 + Curve::ALL.len() + 1 + MlKem::ALL.len() + MlDsa::ALL.len();

    /// Every test.
    pub const ALL: [Self; Self::COUNT] = Self::all();

    #[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
    const fn all() -> [Self; Self::COUNT] {
        let (mut all, mut n) = ([Self::Kdf; Self::COUNT], 0);
        macro_rules! put { ($test:ident for each of $each:expr) => {
            let mut i = 0;
            while i < $each.len() {
                all[n] = Self::$test($each[i]);
                (n, i) = (n + 1, i + 1);
            }
        }; ($($test:ident),*) => { $(all[n] = Self::$test; n += 1;)* } }
        put!(Hash for each of HashAlg::ALL);
        put!(Kdf, Drbg);
        put!(Cipher for each of SymAlg::ALL);
        put!(Rsa);
        put!(Ecc for each of Curve::ALL);
        put!(Schemes);
        put!(MlKem for each of MlKem::ALL);
        put!(MlDsa for each of MlDsa::ALL);
        assert!(n == Self::COUNT, "every test has its place");
        all
    }

    /// The TPM_ALG_ID of what cannot be used before this test has passed.
    #[must_use]
    pub const fn algorithms(self) -> &'static [u16] {
        match self {
            Self::Hash(HashAlg::Sha1) => &[0x0004],
            Self::Hash(HashAlg::Sha256) => &[0x000b, 0x0005, 0x0008, 0x000a],
            Self::Hash(HashAlg::Sha384) => &[0x000c],
            Self::Hash(HashAlg::Sha512) => &[0x000d],
            Self::Hash(HashAlg::Sm3) => &[0x0012],
            Self::Hash(HashAlg::Sha3_256) => &[0x0027],
            Self::Hash(HashAlg::Sha3_384) => &[0x0028],
            Self::Hash(HashAlg::Sha3_512) => &[0x0029],
            Self::Kdf => &[0x0020, 0x0021, 0x0022],
            Self::Drbg => &[],
            Self::Cipher(SymAlg::Aes) => &[0x0006, 0x0025, 0x003f, 0x0040, 0x0041, 0x0042, 0x0043, 0x0044],
            Self::Cipher(SymAlg::Sm4) => &[0x0013],
            Self::Cipher(SymAlg::Camellia) => &[0x0026],
            Self::Rsa => &[0x0001, 0x0007, 0x0014, 0x0015, 0x0016, 0x0017],
            Self::Ecc(_) => &[0x0023, 0x0018, 0x0019, 0x001a, 0x001d],
            Self::Schemes => &[0x0023, 0x001b, 0x001c],
            Self::MlKem(_) => &[0x00a0],
            Self::MlDsa(_) => &[0x00a1, 0x00a2],
        }
    }

    /// Whether the test takes so long that it is put off until such a key is used.
    #[must_use]
    pub const fn is_asymmetric(self) -> bool {
        matches!(self, Self::Rsa | Self::Ecc(_) | Self::Schemes | Self::MlKem(_) | Self::MlDsa(_))
    }

    /// Whether the algorithm gives the known answer.
    #[must_use]
    pub fn passes(self) -> bool {
        match self {
            Self::Hash(hash) => hash_passes(hash),
            Self::Kdf => kdf_passes(),
            Self::Drbg => drbg_passes().unwrap_or(false),
            Self::Cipher(alg) => cipher_passes(alg).unwrap_or(false),
            Self::Rsa => rsa_passes().unwrap_or(false),
            Self::Ecc(curve) => ecc_passes(curve).unwrap_or(false),
            Self::Schemes => schemes_pass().unwrap_or(false),
            Self::MlKem(set) => ml_kem_passes(set).unwrap_or(false),
            Self::MlDsa(set) => ml_dsa_passes(set).unwrap_or(false),
        }
    }
}

fn hash_passes(hash: HashAlg) -> bool {
    let expected: &[u8] = match hash {
        HashAlg::Sha1 => &HMAC_SHA1,
        HashAlg::Sha256 => &HMAC_SHA256,
        HashAlg::Sha384 => &HMAC_SHA384,
        HashAlg::Sha512 => &HMAC_SHA512,
        HashAlg::Sm3 => &HMAC_SM3,
        HashAlg::Sha3_256 => &HMAC_SHA3_256,
        HashAlg::Sha3_384 => &HMAC_SHA3_384,
        HashAlg::Sha3_512 => &HMAC_SHA3_512,
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

fn cipher_passes(alg: SymAlg) -> Result<bool, Error> {
    let (expected, mac) = match alg {
        SymAlg::Aes => (&AES_CIPHER, &AES_CMAC),
        SymAlg::Sm4 => (&SM4_CIPHER, &SM4_CMAC),
        SymAlg::Camellia => (&CAMELLIA_CIPHER, &CAMELLIA_CMAC),
    };
    let cipher = Cipher::new(alg, &CIPHER_KEY)?;
    let (mut iv, mut data) = (CIPHER_IV, CIPHER_PLAIN);
    cipher.encrypt(Mode::Cfb, &mut iv, &mut data)?;
    let encrypted = &data == expected;
    cipher.decrypt(Mode::Cfb, &mut CIPHER_IV.clone(), &mut data)?;
    let authentic =
        Cmac::new(alg, &CIPHER_KEY)?.chain(CIPHER_PLAIN.first_chunk::<16>().unwrap_or(&CIPHER_IV)).verify(mac);
    Ok(encrypted && data == CIPHER_PLAIN && authentic)
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
        Curve::NistP192 => [&P192_D, &P192_X, &P192_Y, &P192_R, &P192_S],
        Curve::NistP224 => [&P224_D, &P224_X, &P224_Y, &P224_R, &P224_S],
        Curve::NistP521 => [&P521_D, &P521_X, &P521_Y, &P521_R, &P521_S],
        Curve::BnP256 => [&BN_D, &BN_X, &BN_Y, &BN_R, &BN_S],
        Curve::Sm2P256 => [&SM2_D, &SM2_X, &SM2_Y, &SM2_R, &SM2_S],
    };
    let public = Point::new(curve, x, y)?;
    let signature = Signature::new(curve, r, s)?;
    let verify = |message| curve.ecdsa_verify(&public, digest(HashAlg::Sha256, &[message]).as_slice(), &signature);
    Ok(curve.public(d)? == public && verify(b"sample").is_ok() && verify(b"simple").is_err())
}

fn schemes_pass() -> Result<bool, Error> {
    let curve = Curve::Sm2P256;
    let public = curve.public(&SM2_D)?;
    let signature = Signature::new(curve, &SM2_E_R, &SM2_E_S)?;
    let sm2 = curve.sm2_sign_with(&SM2_D, &SM2_K, &SM2_E)? == Some(signature)
        && curve.sm2_verify(&public, &SM2_E, &signature).is_ok()
        && curve.sm2_verify(&public, &SM2_K, &signature).is_err();
    let mut rng = Drbg::new(&DRBG_ENTROPY, &DRBG_NONCE, b"")?;
    let signature = curve.ecschnorr_sign(&SM2_D, HashAlg::Sha256, &SM2_E, &mut rng)?;
    let schnorr = curve.ecschnorr_verify(&public, HashAlg::Sha256, &SM2_E, &signature).is_ok()
        && curve.ecschnorr_verify(&public, HashAlg::Sha256, &SM2_K, &signature).is_err();
    Ok(sm2 && schnorr)
}

/// 00 01 … 3f
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const ML_SEED: [u8; 64] = {
    let (mut seed, mut i) = ([0; 64], 0);
    while i < 64 {
        #[expect(clippy::cast_possible_truncation, reason = "below 64")]
        {
            seed[i] = i as u8;
        }
        i += 1;
    }
    seed
};

fn ml_kem_passes(set: MlKem) -> Result<bool, Error> {
    let expected = match set {
        MlKem::MlKem512 => &ML_KEM_512,
        MlKem::MlKem768 => &ML_KEM_768,
        MlKem::MlKem1024 => &ML_KEM_1024,
    };
    let (mut public, mut ciphertext) = ([0; mlkem::MAX_PUBLIC], [0; mlkem::MAX_CIPHERTEXT]);
    let public = public.get_mut(..set.public_size()).ok_or(Error::Length)?;
    let ciphertext = ciphertext.get_mut(..set.ciphertext_size()).ok_or(Error::Length)?;
    set.public(&ML_SEED, public)?;
    let known = digest(HashAlg::Sha256, &[public]).as_slice() == expected;
    let shared = set.encapsulate_with(public, &DRBG_ENTROPY, ciphertext)?;
    let same = set.decapsulate(&ML_SEED, ciphertext)?.ct_eq(shared.as_slice());
    if let Some(first) = ciphertext.first_mut() {
        *first ^= 1;
    }
    let other = !set.decapsulate(&ML_SEED, ciphertext)?.ct_eq(shared.as_slice());
    Ok(known && same && other)
}

fn ml_dsa_passes(set: MlDsa) -> Result<bool, Error> {
    let expected = match set {
        MlDsa::MlDsa44 => &ML_DSA_44,
        MlDsa::MlDsa65 => &ML_DSA_65,
        MlDsa::MlDsa87 => &ML_DSA_87,
    };
    let seed = ML_SEED.get(..mldsa::SEED).ok_or(Error::Length)?;
    let (mut public, mut signature) = ([0; mldsa::MAX_PUBLIC], [0; mldsa::MAX_SIGNATURE]);
    let public = public.get_mut(..set.public_size()).ok_or(Error::Length)?;
    let signature = signature.get_mut(..set.signature_size()).ok_or(Error::Length)?;
    set.public(seed, public)?;
    let known = digest(HashAlg::Sha256, &[public]).as_slice() == expected;
    let mu = |message: &[u8]| {
        Mu::pure(public, b"").map(|mut mu| {
            mu.update(message);
            mu.finish()
        })
    };
    set.sign(seed, &mu(b"abc")?, &mut Drbg::new(&DRBG_ENTROPY, &DRBG_NONCE, b"")?, signature)?;
    let verified = set.verify(public, &mu(b"abc")?, signature).is_ok();
    Ok(known && verified && set.verify(public, &mu(b"abd")?, signature).is_err())
}

const HMAC_SHA1: [u8; 20] = hex(b"4d15ec7bc6bcb8fb800f19257ccccf392f47c887");
const HMAC_SHA256: [u8; 32] = hex(b"538daf7746d1207cd1bb751b354d05eca0baf97ce7bf9d23040b8f1e14f0d8c5");
const HMAC_SHA384: [u8; 48] =
    hex(b"38eb0d4a46145c87afff77ce1de3ad41ae897fe829336da515774a550e263565eb4a5f89e6e9437a79f7641ee8b149f7");
const HMAC_SHA512: [u8; 64] =
    hex(b"2c27a10f9b70fb2f90b909d2ff56baf4de8b154d651c0f2c5c2b8f62b91b939e7eb25cb0aec67237737a5eeb8c9d0fd526d8\
      2848a754626280eb9c0bfd6748f0");
const HMAC_SM3: [u8; 32] = hex(b"f93b48f2238ce864c471bd59d5db0d24b9b55c1e224ca4df9db391f5a321b741");
const HMAC_SHA3_256: [u8; 32] = hex(b"ac822f78301f89d8830c4e6726a9bd0a96ff43b4aecee28e9fab947ee7d88ce4");
const HMAC_SHA3_384: [u8; 48] =
    hex(b"e43f6b0649519569c5c531bbd0d256f5fc952c249245f4f29e1725885bdbfd75f04d5af3c9c410c7407cf06982473181");
const HMAC_SHA3_512: [u8; 64] =
    hex(b"b2a40f328fe5bf876fc9e25d6e6d2dc83b79222117ec9bbbfa786c8d7b510618dfbc5035576327046c7a3092cd41ca869f8a\
      468f4606b8aaeb893efbfa9f1adb");
const KDFA: [u8; 40] = hex(b"65fb0d7928f43338eac366fc27daae7ce7c4b82def8c65db49dffacd3e38899c6bbca5243689f931");
const KDFE: [u8; 40] = hex(b"46a54f791ee3a041d4652aa0d7996af7a292e68bcf45ade35a0c8c238a1f0f47a81110280af5f227");
const DRBG_ENTROPY: [u8; 32] = hex(b"ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488");
const DRBG_NONCE: [u8; 16] = hex(b"659ba96c601dc69fc902940805ec0ca8");
const DRBG_OUTPUT: [u8; 32] = hex(b"e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89");
const CIPHER_KEY: [u8; 16] = hex(b"2b7e151628aed2a6abf7158809cf4f3c");
const CIPHER_IV: [u8; 16] = hex(b"000102030405060708090a0b0c0d0e0f");
const CIPHER_PLAIN: [u8; 32] = hex(b"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
const AES_CIPHER: [u8; 32] = hex(b"3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b");
const SM4_CIPHER: [u8; 32] = hex(b"bc710d762d070b26361da82b54565e46a4cd42786a3a5293a3c6cbc123f0b354");
const CAMELLIA_CIPHER: [u8; 32] = hex(b"14f7646187817eb586599146b82bd719a53d28bb82df741103ea4f921a44880b");
const AES_CMAC: [u8; 16] = hex(b"070a16b46b4d4144f79bdd9dd04a287c");
const SM4_CMAC: [u8; 16] = hex(b"4e4c2a4417e567fef081e0fab55a5762");
const CAMELLIA_CMAC: [u8; 16] = hex(b"6d962854a3b9fda56d7d45a95ee17993");
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
const P192_D: [u8; 24] = hex(b"6fab034934e4c0fc9ae67f5b5659a9d7d1fefd187ee09fd4");
const P192_X: [u8; 24] = hex(b"ac2c77f529f91689fea0ea5efec7f210d8eea0b9e047ed56");
const P192_Y: [u8; 24] = hex(b"3bc723e57670bd4887ebc732c523063d0a7c957bc97c1c43");
const P192_R: [u8; 24] = hex(b"4b0b8ce98a92866a2820e20aa6b75b56382e0f9bfd5ecb55");
const P192_S: [u8; 24] = hex(b"ccdb006926ea9565cbadc840829d8c384e06de1f1e381b85");
const P224_D: [u8; 28] = hex(b"f220266e1105bfe3083e03ec7a3a654651f45e37167e88600bf257c1");
const P224_X: [u8; 28] = hex(b"00cf08da5ad719e42707fa431292dea11244d64fc51610d94b130d6c");
const P224_Y: [u8; 28] = hex(b"eeab6f3debe455e3dbf85416f7030cbd94f34f2d6f232c69f3c1385a");
const P224_R: [u8; 28] = hex(b"61aa3da010e8e8406c656bc477a7a7189895e7e840cdfe8ff42307ba");
const P224_S: [u8; 28] = hex(b"bc814050dab5d23770879494f9e0a680dc1af7161991bde692b10101");
const P521_D: [u8; 66] =
    hex(b"00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466\
      f6d8fbec67db89ec0c08b0e996b83538");
const P521_X: [u8; 66] =
    hex(b"01894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd371123d46e45db6b5d5370a7f20fb633155d\
      38ffa16d2bd761dcac474b9a2f5023a4");
const P521_Y: [u8; 66] =
    hex(b"00493101c962cd4d2fddf782285e64584139c2f91b47f87ff82354d6630f746a28a0db25741b5b34a828008b22acc23f924f\
      aafbd4d33f81ea66956dfeaa2bfdfcf5");
const P521_R: [u8; 66] =
    hex(b"01511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b3526012659d16876e25c7c1e57648f23b73564d67f61c\
      6f14d527d54972810421e7d87589e1a7");
const P521_S: [u8; 66] =
    hex(b"004a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a347916e4f7a72930b1bc06dbe22ce3f58264afd23\
      704cbb63b29b931f7de6c9d949a7ecfc");
const BN_D: [u8; 32] = hex(b"c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
const BN_X: [u8; 32] = hex(b"c589f712247a818e4f2b0afab58e789b55215a98160050579b823a81fd27046d");
const BN_Y: [u8; 32] = hex(b"8054662a32e9d9f49daa515e4c804e7c2d777edfd970788a25bf31f30a01f0c0");
const BN_R: [u8; 32] = hex(b"dd20430e7ebbae36a3d5c59b7151592a9ffe027bdeef310c11f752a0b45ce2e0");
const BN_S: [u8; 32] = hex(b"74b6ad4f48cd0c61e0270fd0ace00eba3567059305ff0126291d8b0ded6d9856");
const SM2_D: [u8; 32] = hex(b"3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8");
const SM2_X: [u8; 32] = hex(b"09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020");
const SM2_Y: [u8; 32] = hex(b"ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13");
const SM2_R: [u8; 32] = hex(b"e0b2a84f9d1265e93814ded2326498d5802f92a36087b06519eb519701dcd7af");
const SM2_S: [u8; 32] = hex(b"60c74f43f41e3f6de6d8c550b4152d5cca168a476b827f4c2780654248dbcc40");
const SM2_K: [u8; 32] = hex(b"59276e27d506861a16680f3ad9c02dccef3cc1fa3cdbe4ce6d54b80deac1bc21");
const SM2_E: [u8; 32] = hex(b"f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640");
const SM2_E_R: [u8; 32] = hex(b"f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3");
const SM2_E_S: [u8; 32] = hex(b"b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa");
// SHA-256 of the public key of ML_SEED.
const ML_KEM_512: [u8; 32] = hex(b"3ae268dccc5456ac0d0f9b39257dc48fe081383b97c400512d712b739762daee");
const ML_KEM_768: [u8; 32] = hex(b"0b7934c83125c788995e2ba6bd761e33046b3e40571be53e023309a29f398cc9");
const ML_KEM_1024: [u8; 32] = hex(b"c7b8fa0aa471d5ae18922d6ccad5b31e1d84f92ae723abfd13747018740a8530");
const ML_DSA_44: [u8; 32] = hex(b"9f107644c1084526af3bc8098680b05499a2325a644e388fb4f970e058d19d46");
const ML_DSA_65: [u8; 32] = hex(b"d666806e11cee19a7c989f7445f90dd419cf4d2d51db8c0fdb4c0f0a542238c9");
const ML_DSA_87: [u8; 32] = hex(b"91dc389cfaa01470b7f66eee45a4ae9026d154817c754dfe22298b3fa241ffcd");

#[cfg(test)]
mod tests {
    use super::Test;

    #[test]
    fn every_algorithm_gives_the_known_answer() {
        assert!(Test::ALL.len() >= 10);
        for test in Test::ALL {
            assert!(test.passes(), "{test:?}");
        }
    }
}
