//! The key templates of evidence.

use super::wire::{Algorithm, Curve, Key, Public, RH_ENDORSEMENT, alg, attribute, hash, tpm2b};

/// `TPM_CC_PolicySecret`, `TPM_CC_PolicyOR`, `TPM_CC_PolicyAuthorizeNV` (Part 2, 6.5.2).
const POLICY_SECRET: u32 = 0x151;
const POLICY_OR: u32 = 0x171;
const POLICY_AUTHORIZE_NV: u32 = 0x192;

/// A template of the TCG EK Credential Profile, Annex B, and the NV Index of such a key's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ek {
    /// Its number in the profile.
    pub number: &'static str,
    /// Which algorithm it has.
    pub kind: Algorithm,
    /// NV Index of the certificate.
    pub index: u32,
    is_low: bool,
}

/// Those that are known here: all of the profile but SM2 (H-5). Low templates come first, since every
/// TPM has them.
pub const EKS: [Ek; 8] = [
    Ek { number: "L-1", kind: Algorithm::Rsa2048, index: 0x01C0_0002, is_low: true },
    Ek { number: "L-2", kind: Algorithm::EccP256, index: 0x01C0_000A, is_low: true },
    Ek { number: "H-1", kind: Algorithm::Rsa2048, index: 0x01C0_0012, is_low: false },
    Ek { number: "H-2", kind: Algorithm::EccP256, index: 0x01C0_0014, is_low: false },
    Ek { number: "H-3", kind: Algorithm::EccP384, index: 0x01C0_0016, is_low: false },
    Ek { number: "H-4", kind: Algorithm::EccP521, index: 0x01C0_0018, is_low: false },
    Ek { number: "H-6", kind: Algorithm::Rsa3072, index: 0x01C0_001C, is_low: false },
    Ek { number: "H-7", kind: Algorithm::Rsa4096, index: 0x01C0_001E, is_low: false },
];

impl Ek {
    /// The template of which a key is, whatever the key.
    pub fn of(public: &Public) -> Option<&'static Self> {
        EKS.iter().find(|ek| {
            Public { key: public.key.clone(), ..ek.public() } == *public && ek.kind == public.key.algorithm()
        })
    }

    /// NV Index of a template that the TPM has in the place of the profile's: the second behind a certificate of the
    /// low range (2.2.1.4), the next behind one of the high range (2.2.1.5).
    pub const fn template_index(&self) -> u32 {
        if self.is_low { self.index + 2 } else { self.index + 1 }
    }

    /// NV Index of the nonce, which only the low range has.
    pub const fn nonce_index(&self) -> Option<u32> {
        if self.is_low { Some(self.index + 1) } else { None }
    }

    /// The template's public area. `unique` is as long as the key, and zero, in low templates, and empty in others.
    pub fn public(&self) -> Public {
        let strong = !matches!(self.kind, Algorithm::Rsa2048 | Algorithm::EccP256);
        let name_alg = match self.kind {
            Algorithm::EccP521 => alg::SHA512,
            _ if strong => alg::SHA384,
            _ => alg::SHA256,
        };
        let low = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::ADMIN_WITH_POLICY
            | attribute::RESTRICTED
            | attribute::DECRYPT;
        let unique = |size| if self.is_low { vec![0; size] } else { Vec::new() };
        let rsa = |bits: u16| Key::Rsa { bits, modulus: unique(usize::from(bits) / 8) };
        let ecc = |curve: Curve| Key::Ecc { curve, x: unique(curve.size()), y: unique(curve.size()) };
        Public {
            name_alg,
            attributes: if self.is_low { low } else { low | attribute::USER_WITH_AUTH },
            policy: if self.is_low { policy_a(name_alg) } else { policy_b(name_alg) },
            aes_cfb: Some(if strong { 256 } else { 128 }),
            scheme: None,
            key: match self.kind {
                Algorithm::Rsa2048 => rsa(2048),
                Algorithm::Rsa3072 => rsa(3072),
                Algorithm::Rsa4096 => rsa(4096),
                Algorithm::EccP256 => ecc(Curve::P256),
                Algorithm::EccP384 => ecc(Curve::P384),
                Algorithm::EccP521 => ecc(Curve::P521),
            },
        }
    }
}

/// Digests of zeros, with which a policy begins.
fn nothing(name_alg: u16) -> Vec<u8> {
    vec![0; hash(name_alg, &[]).len()]
}

/// PolicyA (B.6.2): `TPM2_PolicySecret` of the endorsement hierarchy, whose Name is its handle, with no policyRef.
pub fn policy_a(name_alg: u16) -> Vec<u8> {
    let secret = hash(name_alg, &[&nothing(name_alg), &POLICY_SECRET.to_be_bytes(), &RH_ENDORSEMENT.to_be_bytes()]);
    hash(name_alg, &[&secret])
}

/// PolicyC (B.6.4): `TPM2_PolicyAuthorizeNV` of the Index in which the owner may put another policy (B.6.3).
fn policy_c(name_alg: u16) -> Vec<u8> {
    let index: u32 = match name_alg {
        alg::SHA512 => 0x01C0_7F03,
        alg::SHA384 => 0x01C0_7F02,
        _ => 0x01C0_7F01,
    };
    let size = u16::try_from(nothing(name_alg).len() + 2).unwrap_or_default();
    // POLICYWRITE, WRITEALL, PPREAD, OWNERREAD, AUTHREAD, POLICYREAD, NO_DA, WRITTEN.
    let attributes = 1_u32 << 3 | 1 << 12 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 25 | 1 << 29;
    let policy = tpm2b(&policy_a(name_alg));
    let public =
        [&index.to_be_bytes()[..], &name_alg.to_be_bytes(), &attributes.to_be_bytes(), &policy, &size.to_be_bytes()];
    let name = [&name_alg.to_be_bytes()[..], &hash(name_alg, &public)].concat();
    hash(name_alg, &[&nothing(name_alg), &POLICY_AUTHORIZE_NV.to_be_bytes(), &name])
}

/// What a session shows that is authorized by PolicyB: one of these two, of which the first needs nothing but the
/// endorsement hierarchy.
pub fn branches(name_alg: u16) -> [Vec<u8>; 2] {
    [policy_a(name_alg), policy_c(name_alg)]
}

/// PolicyB (B.6.5): `TPM2_PolicyOR` of PolicyA and PolicyC.
pub fn policy_b(name_alg: u16) -> Vec<u8> {
    let [a, c] = branches(name_alg);
    hash(name_alg, &[&nothing(name_alg), &POLICY_OR.to_be_bytes(), &a, &c])
}

/// Template L-1 (B.3.3): an RSA-2048 storage key; `unique` is 256 zero bytes.
pub fn ek_rsa_2048() -> Public {
    EKS[0].public()
}

/// The attestation key of Azure's firmware: RSA-2048 that signs only what the TPM itself has made, with RSASSA over
/// SHA-256; `unique` is 256 zero bytes.
pub fn ak_rsa_2048() -> Public {
    Public {
        scheme: Some((alg::RSASSA, alg::SHA256)),
        key: Key::Rsa { bits: 2048, modulus: vec![0; 256] },
        ..ak_p256()
    }
}

/// The attestation key: P-256 that signs only what the TPM itself has made, with ECDSA over SHA-256.
pub fn ak_p256() -> Public {
    Public {
        name_alg: alg::SHA256,
        attributes: attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA
            | attribute::RESTRICTED
            | attribute::SIGN,
        policy: Vec::new(),
        aes_cfb: None,
        scheme: Some((alg::ECDSA, alg::SHA256)),
        key: Key::Ecc { curve: Curve::P256, x: Vec::new(), y: Vec::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::{EKS, Ek, policy_a, policy_b};
    use crate::digest::hex;
    use crate::evidence::wire::{Key, Public, alg};

    /// The digests that the profile prints (B.6.2, B.6.5), by their first octets.
    #[test]
    fn policies_are_those_that_the_profile_prints() {
        for (policy, printed) in [
            (policy_a(alg::SHA256), "8371976744 84b3f81a 90cc8d46 a5d724fd 52d76e06 520b64f2 a1da1b33 1469aa"),
            (policy_b(alg::SHA256), "ca3d0a99a2 b93906f7 a3342414 efcfb3a3 85d44cd1 fd459089 d19b5071 c0b7a0"),
            (
                policy_b(alg::SHA384),
                "b26e7d28d1 1a50bc53 d882bcf5 fd3a1a07 4148bb35 d3b4e4cb 1c0ad9bd e419cacb 47ba0969 9646150f 9fc000f3 \
                 f80e12",
            ),
            (
                policy_b(alg::SHA512),
                "b8221ca69e 8550a491 4de3faa6 a18c072c c0120807 3a928d5d 66d59ef7 9e49a429 c41a6b26 9571d57e db25fbdb \
                 18384256 08b413cd 616a5f6d b5b6071a f99bea",
            ),
        ] {
            assert_eq!(hex(&policy), printed.replace(' ', ""));
        }
    }

    #[test]
    fn a_key_is_of_the_one_template_that_it_has_all_but_the_key_of() {
        for ek in &EKS {
            let mut public = ek.public();
            match &mut public.key {
                Key::Rsa { modulus, .. } => *modulus = vec![0xA5; 256],
                Key::Ecc { x, y, .. } => (*x, *y) = (vec![1; 32], vec![2; 32]),
            }
            assert_eq!(Ek::of(&public), Some(ek));
            assert_eq!(Ek::of(&Public { attributes: public.attributes ^ 2, ..public.clone() }), None);
            assert_eq!(Ek::of(&Public { policy: vec![0; 32], ..public }), None);
        }
    }
}
