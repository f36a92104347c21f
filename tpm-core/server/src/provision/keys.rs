//! The keys that get certificates: templates and handles.
//!
//! Endorsement keys are those of the TCG EK Credential Profile 2.6, Annex B, that the engine's profile has algorithms
//! for: L-1, L-2, H-1 to H-4, H-6, H-7. H-5 (SM2) is not among them. Those of ML-KEM are H-26 to H-28 of version 2.7,
//! by programs that cite it: hash, policy and symmetric cipher by the parameter set. Their certificates are elsewhere
//! than there, and handles are nobody's specification (docs/decisions.md). IAK and IDevID are those of "TPM 2.0 Keys
//! for Device Identity and Attestation" 1.0, 7.3, with RSA 2048: what is known of the templates with elliptic curves
//! does not agree (docs/decisions.md).

use tpm_codes::AlgId;
use tpm_codes::profile::PROFILE;
use tpm_core::{EkTemplate, MAX_EK_PUBLIC};

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

/// By which template a key is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Template {
    /// The engine's own.
    Endorsement(EkTemplate),
    /// RSA 2048 with SHA-256: attributes beside those that both keys of the device have, policy, and a name as
    /// `unique`.
    Device(u32, &'static [u8], &'static [u8]),
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
    template: Template,
}

/// All of them, in the order in which they are made.
pub(crate) const KEYS: &[Key] = &[
    endorsement("rsa2048", "EK RSA 2048 (L-1)", EkTemplate::Rsa2048),
    endorsement("p256", "EK NIST P-256 (L-2)", EkTemplate::EccP256),
    endorsement("rsa2048-high", "EK RSA 2048 (H-1)", EkTemplate::Rsa2048High),
    endorsement("p256-high", "EK NIST P-256 (H-2)", EkTemplate::EccP256High),
    endorsement("p384", "EK NIST P-384 (H-3)", EkTemplate::EccP384),
    endorsement("p521", "EK NIST P-521 (H-4)", EkTemplate::EccP521),
    endorsement("rsa3072", "EK RSA 3072 (H-6)", EkTemplate::Rsa3072),
    endorsement("rsa4096", "EK RSA 4096 (H-7)", EkTemplate::Rsa4096),
    endorsement("mlkem512", "EK ML-KEM-512", EkTemplate::MlKem512),
    endorsement("mlkem768", "EK ML-KEM-768", EkTemplate::MlKem768),
    endorsement("mlkem1024", "EK ML-KEM-1024", EkTemplate::MlKem1024),
    Key {
        name: "iak",
        title: "IAK RSA 2048",
        index: 0x01c9_0100,
        handle: 0x8102_0001,
        purpose: Purpose::Attestation,
        template: Template::Device(RESTRICTED, &POLICY_IAK, b"IAK"),
    },
    Key {
        name: "idevid",
        title: "IDevID RSA 2048",
        index: 0x01c9_0200,
        handle: 0x8102_0000,
        purpose: Purpose::Identity,
        template: Template::Device(0, &POLICY_IDEVID, b"IDEVID"),
    },
];

/// Its handle has the number of its certificate's index, but for the first, which everybody has at 0x81010001.
const fn endorsement(name: &'static str, title: &'static str, template: EkTemplate) -> Key {
    let index = template.certificate_index();
    let handle = if matches!(template, EkTemplate::Rsa2048) { 0x8101_0001 } else { 0x8101_0000 | index & 0xffff };
    Key { name, title, index, handle, purpose: Purpose::Endorsement, template: Template::Endorsement(template) }
}

/// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, sign.
const OF_DEVICE: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18;
const RESTRICTED: u32 = 1 << 16;

impl Key {
    /// Whether the engine's profile has what it takes.
    pub(crate) fn is_offered(&self) -> bool {
        match self.template {
            Template::Endorsement(template) => template.is_offered(),
            Template::Device(..) => PROFILE.rsa_key_bits.contains(&2048) && AlgId::SHA256.on().is_some(),
        }
    }

    /// TPMT_PUBLIC by which TPM2_CreatePrimary makes it.
    pub(crate) fn template(&self) -> Vec<u8> {
        match self.template {
            Template::Endorsement(template) => {
                let mut public = vec![0; MAX_EK_PUBLIC];
                // It is long enough.
                let length = template.marshal(&mut public).unwrap_or_default();
                public.truncate(length);
                public
            }
            Template::Device(attributes, policy, unique) => {
                let head = [id(AlgId::RSA), id(AlgId::SHA256), (OF_DEVICE | attributes).to_be_bytes().into()].concat();
                // A restricted key has a scheme.
                let scheme = match attributes {
                    RESTRICTED => [id(AlgId::RSAPSS), id(AlgId::SHA256)].concat(),
                    _ => id(AlgId::NULL),
                };
                let parameters = [id(AlgId::NULL), scheme, 2048_u16.to_be_bytes().into(), vec![0; 4]].concat();
                [head, sized(policy), parameters, sized(unique)].concat()
            }
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
