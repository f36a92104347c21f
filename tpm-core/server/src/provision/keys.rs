//! The keys that get certificates: templates and handles.
//!
//! Endorsement keys are those of the TCG EK Credential Profile 2.6, Annex B, that the engine's profile has algorithms
//! for: L-1, L-2, H-1 to H-4, H-6, H-7. H-5 (SM2) is not among them. Those of ML-KEM (profile 2.7, whose text was not
//! to be had) are as swtpm's author has them: index, hash, policy and symmetric cipher by the parameter set, in the
//! high range; the handles are his guess (docs/decisions.md). IAK and IDevID are those of "TPM 2.0 Keys for
//! Device Identity and Attestation" 1.0, 7.3, with RSA 2048: what is known of the templates with elliptic curves does
//! not agree (docs/decisions.md).

use tpm_codes::profile::PROFILE;
use tpm_codes::{AlgId, EccCurve, MlKemSet};

/// What a certificate says that its key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An endorsement key.
    Endorsement,
    /// The initial attestation key.
    Attestation,
    /// The initial device identity.
    Identity,
}

/// Algorithm and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bits of the modulus.
    Rsa(u16),
    /// The curve.
    Ecc(EccCurve),
    /// The parameter set.
    MlKem(MlKemSet),
}

/// Of which template a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// PolicyA; unique is as long as the key, and zero.
    Low,
    /// PolicyB; unique is empty.
    High,
    /// unique is a name.
    Device,
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// What users call it.
    pub(crate) name: &'static str,
    /// What people call it.
    pub(crate) title: &'static str,
    /// The NV Index of its certificate.
    pub(crate) index: u32,
    /// Where the TPM keeps the key itself.
    pub(crate) handle: u32,
    pub(crate) purpose: Purpose,
    kind: Kind,
    range: Range,
    name_alg: AlgId,
    policy: &'static [u8],
}

const P256: Kind = Kind::Ecc(EccCurve::NIST_P256);

/// All of them, in the order in which they are made.
pub(crate) const KEYS: &[Key] = &[
    endorsement("rsa2048", "EK RSA 2048 (L-1)", 0x01c0_0002, 0x8101_0001, Kind::Rsa(2048), Range::Low, &POLICY_A),
    endorsement("p256", "EK NIST P-256 (L-2)", 0x01c0_000a, 0x8101_000a, P256, Range::Low, &POLICY_A),
    endorsement(
        "rsa2048-high",
        "EK RSA 2048 (H-1)",
        0x01c0_0012,
        0x8101_0012,
        Kind::Rsa(2048),
        Range::High,
        &POLICY_B_SHA256,
    ),
    endorsement("p256-high", "EK NIST P-256 (H-2)", 0x01c0_0014, 0x8101_0014, P256, Range::High, &POLICY_B_SHA256),
    endorsement(
        "p384",
        "EK NIST P-384 (H-3)",
        0x01c0_0016,
        0x8101_0016,
        Kind::Ecc(EccCurve::NIST_P384),
        Range::High,
        &POLICY_B_SHA384,
    ),
    endorsement(
        "p521",
        "EK NIST P-521 (H-4)",
        0x01c0_0018,
        0x8101_0018,
        Kind::Ecc(EccCurve::NIST_P521),
        Range::High,
        &POLICY_B_SHA512,
    ),
    endorsement(
        "rsa3072",
        "EK RSA 3072 (H-6)",
        0x01c0_001c,
        0x8101_001c,
        Kind::Rsa(3072),
        Range::High,
        &POLICY_B_SHA384,
    ),
    endorsement(
        "rsa4096",
        "EK RSA 4096 (H-7)",
        0x01c0_001e,
        0x8101_001e,
        Kind::Rsa(4096),
        Range::High,
        &POLICY_B_SHA384,
    ),
    kem("mlkem512", "EK ML-KEM-512", 0x01c0_0060, 0x8101_0060, MlKemSet::MLKEM_512, &POLICY_B_SHA256),
    kem("mlkem768", "EK ML-KEM-768", 0x01c0_0062, 0x8101_0062, MlKemSet::MLKEM_768, &POLICY_B_SHA384),
    kem("mlkem1024", "EK ML-KEM-1024", 0x01c0_0064, 0x8101_0064, MlKemSet::MLKEM_1024, &POLICY_B_SHA512),
    Key {
        name: "iak",
        title: "IAK RSA 2048",
        index: 0x01c9_0100,
        handle: 0x8102_0001,
        purpose: Purpose::Attestation,
        kind: Kind::Rsa(2048),
        range: Range::Device,
        name_alg: AlgId::SHA256,
        policy: &POLICY_IAK,
    },
    Key {
        name: "idevid",
        title: "IDevID RSA 2048",
        index: 0x01c9_0200,
        handle: 0x8102_0000,
        purpose: Purpose::Identity,
        kind: Kind::Rsa(2048),
        range: Range::Device,
        name_alg: AlgId::SHA256,
        policy: &POLICY_IDEVID,
    },
];

/// nameAlg is the hash of the policy, which is told by its length.
const fn endorsement(
    name: &'static str,
    title: &'static str,
    index: u32,
    handle: u32,
    kind: Kind,
    range: Range,
    policy: &'static [u8],
) -> Key {
    let name_alg = match policy.len() {
        48 => AlgId::SHA384,
        64 => AlgId::SHA512,
        _ => AlgId::SHA256,
    };
    Key { name, title, index, handle, purpose: Purpose::Endorsement, kind, range, name_alg, policy }
}

const fn kem(
    name: &'static str,
    title: &'static str,
    index: u32,
    handle: u32,
    set: MlKemSet,
    policy: &'static [u8],
) -> Key {
    endorsement(name, title, index, handle, Kind::MlKem(set), Range::High, policy)
}

/// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy.
const FIXED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7;
const USER_WITH_AUTH: u32 = 1 << 6;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

impl Key {
    /// Whether the engine's profile has what it takes.
    pub(crate) fn is_offered(&self) -> bool {
        let has_kind = match self.kind {
            Kind::Rsa(bits) => PROFILE.rsa_key_bits.contains(&bits),
            Kind::Ecc(curve) => PROFILE.curves.contains(&curve),
            Kind::MlKem(set) => PROFILE.ml_kem.contains(&set),
        };
        has_kind && self.name_alg.on().is_some()
    }

    /// TPMT_PUBLIC by which TPM2_CreatePrimary makes it.
    pub(crate) fn template(&self) -> Vec<u8> {
        let (symmetric, scheme) = (self.symmetric(), self.scheme());
        let (kind, parameters) = match self.kind {
            Kind::Rsa(bits) => (AlgId::RSA, vec![symmetric, scheme, bits.to_be_bytes().into(), vec![0; 4]]),
            Kind::Ecc(curve) => (AlgId::ECC, vec![symmetric, scheme, curve.0.to_be_bytes().into(), id(AlgId::NULL)]),
            Kind::MlKem(set) => (AlgId::MLKEM, vec![symmetric, set.0.to_be_bytes().into()]),
        };
        let head = [id(kind), id(self.name_alg), self.attributes().to_be_bytes().into()].concat();
        [head, sized(self.policy), parameters.concat(), self.unique()].concat()
    }

    fn attributes(&self) -> u32 {
        let user = if self.range == Range::Low { 0 } else { USER_WITH_AUTH };
        let purpose = match self.purpose {
            Purpose::Endorsement => RESTRICTED | DECRYPT,
            Purpose::Attestation => RESTRICTED | SIGN,
            Purpose::Identity => SIGN,
        };
        FIXED | user | purpose
    }

    /// TPMT_SYM_DEF_OBJECT.
    fn symmetric(&self) -> Vec<u8> {
        if self.purpose != Purpose::Endorsement {
            return id(AlgId::NULL);
        }
        let bits: u16 = if self.name_alg == AlgId::SHA256 { 128 } else { 256 };
        [id(AlgId::AES), bits.to_be_bytes().into(), id(AlgId::CFB)].concat()
    }

    /// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME.
    fn scheme(&self) -> Vec<u8> {
        match self.purpose {
            Purpose::Attestation => [id(AlgId::RSAPSS), id(self.name_alg)].concat(),
            Purpose::Endorsement | Purpose::Identity => id(AlgId::NULL),
        }
    }

    /// TPMU_PUBLIC_ID.
    fn unique(&self) -> Vec<u8> {
        match (self.range, self.kind) {
            (Range::Low, Kind::Rsa(bits)) => sized(&vec![0; usize::from(bits) / 8]),
            (Range::Low, Kind::Ecc(_)) => sized(&[0; 32]).repeat(2),
            (Range::High, Kind::Ecc(_)) => sized(&[]).repeat(2),
            (Range::High, Kind::Rsa(_)) | (_, Kind::MlKem(_)) => sized(&[]),
            (Range::Device, _) if self.purpose == Purpose::Identity => sized(b"IDEVID"),
            (Range::Device, _) => sized(b"IAK"),
        }
    }
}

fn id(algorithm: AlgId) -> Vec<u8> {
    algorithm.0.to_be_bytes().into()
}

/// A TPM2B.
pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&size.to_be_bytes(), bytes].concat()
}

/// PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT), for SHA-256 (EK Credential Profile, B.6.2).
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyB: PolicyA, or what the Index 0x01C07F01 of the owner says (B.6.5).
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3, 0x85, 0xd4,
    0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
/// The same of 0x01C07F02, for SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48,
    0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96,
    0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
/// The same of 0x01C07F03, for SHA-512.
const POLICY_B_SHA512: [u8; 64] = [
    0xb8, 0x22, 0x1c, 0xa6, 0x9e, 0x85, 0x50, 0xa4, 0x91, 0x4d, 0xe3, 0xfa, 0xa6, 0xa1, 0x8c, 0x07, 0x2c, 0xc0, 0x12,
    0x08, 0x07, 0x3a, 0x92, 0x8d, 0x5d, 0x66, 0xd5, 0x9e, 0xf7, 0x9e, 0x49, 0xa4, 0x29, 0xc4, 0x1a, 0x6b, 0x26, 0x95,
    0x71, 0xd5, 0x7e, 0xdb, 0x25, 0xfb, 0xdb, 0x18, 0x38, 0x42, 0x56, 0x08, 0xb4, 0x13, 0xcd, 0x61, 0x6a, 0x5f, 0x6d,
    0xb5, 0xb6, 0x07, 0x1a, 0xf9, 0x9b, 0xea,
];
/// PolicyA, alone or for TPM2_Certify or TPM2_ActivateCredential, or what the Index 0x01C90018 says.
const POLICY_IAK: [u8; 32] = [
    0x54, 0x37, 0x18, 0x23, 0x26, 0xe4, 0x14, 0xfc, 0xa7, 0x97, 0xd5, 0xf1, 0x74, 0x61, 0x5a, 0x16, 0x41, 0xf6, 0x12,
    0x55, 0x79, 0x7c, 0x3a, 0x2b, 0x22, 0xc2, 0x1d, 0x12, 0x0b, 0x2d, 0x1e, 0x07,
];
/// The same of 0x01C90010.
const POLICY_IDEVID: [u8; 32] = [
    0xad, 0x6b, 0x3a, 0x22, 0x84, 0xfd, 0x69, 0x8a, 0x07, 0x10, 0xbf, 0x5c, 0xc1, 0xb9, 0xbd, 0xf1, 0x5e, 0x25, 0x32,
    0xe3, 0xf6, 0x01, 0xfa, 0x4b, 0x93, 0xa6, 0xa8, 0xfa, 0x8d, 0xe5, 0x79, 0xea,
];
