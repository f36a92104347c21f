//! Endorsement keys by the templates of the TCG EK Credential Profile (Version 2.6, Annex B), and the attestation keys
//! beside them, derived without an object slot.
//!
//! They are what TPM2_CreatePrimary in the endorsement hierarchy makes of the same templates, with no sensitive data:
//! the firmware binds them into its reports, and nobody has to send a command for it.

use core::sync::atomic::AtomicBool;

use crate::crypto::ecc::Curve;
use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::kdf::kdfa;
use crate::crypto::mlkem::{self, MlKem};
use crate::crypto::sym::{Mode, SymAlg};
use crate::data::tpm::{Failure, Tpm};
use crate::operation::object::create::{Primary, create};
use crate::profile::PROFILE;
use crate::wire::{
    Auth, Buffer, EccParameter, EccParms, EccPoint, EccScheme, Handle, HandleKind, Marshal, MlKemParms,
    ObjectAttributes as A, Parms, Public, RsaKeyBits, RsaParms, RsaScheme, Scheme, Sensitive, SymDefObject, Unique,
    Writer,
};
use tpm_codes::{EccCurve, MlKemSet};

/// A template of the profile; those of ML-KEM are of its version 2.7 (docs/decisions.md).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EkTemplate {
    /// L-1: RSA 2048, SHA-256, AES-128; PolicyA
    Rsa2048,
    /// L-2: NIST P-256, SHA-256, AES-128; PolicyA
    EccP256,
    /// H-1: RSA 2048, SHA-256, AES-128; PolicyB
    Rsa2048High,
    /// H-2: NIST P-256, SHA-256, AES-128; PolicyB
    EccP256High,
    /// H-3: NIST P-384, SHA-384, AES-256; PolicyB
    EccP384,
    /// H-4: NIST P-521, SHA-512, AES-256; PolicyB
    EccP521,
    /// H-6: RSA 3072, SHA-384, AES-256; PolicyB
    Rsa3072,
    /// H-7: RSA 4096, SHA-384, AES-256; PolicyB
    Rsa4096,
    /// H-26: ML-KEM-512, SHA-256, AES-128; PolicyB
    MlKem512,
    /// H-27: ML-KEM-768, SHA-384, AES-256; PolicyB
    MlKem768,
    /// H-28: ML-KEM-1024, SHA-512, AES-256; PolicyB
    MlKem1024,
}

/// A restricted signing key of the endorsement hierarchy, with an empty authValue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AkTemplate {
    /// RSA 2048, RSASSA with SHA-256; unique is 256 zeros: what guests of Azure know as their attestation key
    Rsa2048,
    /// NIST P-256, ECDSA with SHA-256; unique is empty
    EccP256,
}

/// Octets of the largest marshalled public area of an endorsement or attestation key.
pub const MAX_EK_PUBLIC: usize = 2 + 2 + 4 + 2 + 64 + 8 + 2 + mlkem::MAX_PUBLIC;

/// TPM2_PolicySecret(TPM_RH_ENDORSEMENT) for SHA-256 (B.6.2).
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// PolicyA or PolicyC for SHA-256 (B.6.5).
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3, 0xa3, 0x85, 0xd4,
    0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];
/// The same for SHA-384.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a, 0x07, 0x41, 0x48,
    0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca, 0xcb, 0x47, 0xba, 0x09, 0x69, 0x96,
    0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];
/// The same for SHA-512.
const POLICY_B_SHA512: [u8; 64] = [
    0xb8, 0x22, 0x1c, 0xa6, 0x9e, 0x85, 0x50, 0xa4, 0x91, 0x4d, 0xe3, 0xfa, 0xa6, 0xa1, 0x8c, 0x07, 0x2c, 0xc0, 0x12,
    0x08, 0x07, 0x3a, 0x92, 0x8d, 0x5d, 0x66, 0xd5, 0x9e, 0xf7, 0x9e, 0x49, 0xa4, 0x29, 0xc4, 0x1a, 0x6b, 0x26, 0x95,
    0x71, 0xd5, 0x7e, 0xdb, 0x25, 0xfb, 0xdb, 0x18, 0x38, 0x42, 0x56, 0x08, 0xb4, 0x13, 0xcd, 0x61, 0x6a, 0x5f, 0x6d,
    0xb5, 0xb6, 0x07, 0x1a, 0xf9, 0x9b, 0xea,
];

impl EkTemplate {
    /// The NV Index of the certificate (2.2.1.4, 2.2.1.5).
    ///
    /// Version 2.7 has those of ML-KEM at 0x01c00060 to 64. There FAPI of tpm2-tss meets them on its way to its own
    /// key's, and gives up, so here they have the same low digits among the indices of the TPM's manufacturer
    /// (docs/decisions.md).
    #[must_use]
    pub const fn certificate_index(self) -> u32 {
        match self {
            Self::Rsa2048 => 0x01c0_0002,
            Self::EccP256 => 0x01c0_000a,
            Self::Rsa2048High => 0x01c0_0012,
            Self::EccP256High => 0x01c0_0014,
            Self::EccP384 => 0x01c0_0016,
            Self::EccP521 => 0x01c0_0018,
            Self::Rsa3072 => 0x01c0_001c,
            Self::Rsa4096 => 0x01c0_001e,
            Self::MlKem512 => 0x0100_0060,
            Self::MlKem768 => 0x0100_0062,
            Self::MlKem1024 => 0x0100_0064,
        }
    }

    /// The template (marshalled TPMT_PUBLIC) by which TPM2_CreatePrimary makes the key, written to the first octets of
    /// `out` (at most [`MAX_EK_PUBLIC`]), whose number is returned.
    ///
    /// # Errors
    /// [`Failure`] if `out` is too short.
    pub fn marshal(self, out: &mut [u8]) -> Result<usize, Failure> {
        marshalled(&self.public(), out)
    }

    /// Whether this build's profile has the algorithms.
    #[must_use]
    pub fn is_offered(self) -> bool {
        let (hash, _, _) = self.strength();
        let has_kind = match self.public().parms {
            Parms::Rsa(parms) => PROFILE.rsa_key_bits.contains(&parms.key_bits.0),
            Parms::Ecc(parms) => PROFILE.curves.contains(&EccCurve(parms.curve.id())),
            Parms::MlKem(parms) => PROFILE.ml_kem.contains(&MlKemSet(parms.set.id())),
            _ => false,
        };
        has_kind && PROFILE.has(hash.id())
    }

    /// nameAlg, policy, and bits of the AES key.
    const fn strength(self) -> (HashAlg, &'static [u8], u16) {
        match self {
            Self::Rsa2048 | Self::EccP256 => (HashAlg::Sha256, &POLICY_A, 128),
            Self::Rsa2048High | Self::EccP256High | Self::MlKem512 => (HashAlg::Sha256, &POLICY_B_SHA256, 128),
            Self::EccP384 | Self::Rsa3072 | Self::Rsa4096 | Self::MlKem768 => (HashAlg::Sha384, &POLICY_B_SHA384, 256),
            Self::EccP521 | Self::MlKem1024 => (HashAlg::Sha512, &POLICY_B_SHA512, 256),
        }
    }

    fn public(self) -> Public {
        let (name_alg, policy, key_bits) = self.strength();
        let symmetric = Some(SymDefObject { alg: SymAlg::Aes, key_bits, mode: Some(Mode::Cfb) });
        // In the low range unique is zero, and as long as the key.
        let zeros = || EccParameter::from_slice(&[0; 32]).unwrap_or_default();
        let (modulus, point) = match self {
            Self::Rsa2048 => (Buffer::from_slice(&[0; 256]).unwrap_or_default(), EccPoint::default()),
            Self::EccP256 => (Buffer::new(), EccPoint { x: zeros(), y: zeros() }),
            _ => (Buffer::new(), EccPoint::default()),
        };
        let rsa = |bits| {
            let key_bits = RsaKeyBits(bits);
            (
                Parms::Rsa(RsaParms { symmetric, scheme: RsaScheme::default(), key_bits, exponent: 0 }),
                Unique::Rsa(modulus),
            )
        };
        let ecc = |curve| {
            (Parms::Ecc(EccParms { symmetric, scheme: EccScheme::default(), curve, kdf: None }), Unique::Ecc(point))
        };
        let kem = |set| (Parms::MlKem(MlKemParms { symmetric, set }), Unique::MlKem(Buffer::new()));
        let (parms, unique) = match self {
            Self::Rsa2048 | Self::Rsa2048High => rsa(2048),
            Self::Rsa3072 => rsa(3072),
            Self::Rsa4096 => rsa(4096),
            Self::EccP256 | Self::EccP256High => ecc(Curve::NistP256),
            Self::EccP384 => ecc(Curve::NistP384),
            Self::EccP521 => ecc(Curve::NistP521),
            Self::MlKem512 => kem(MlKem::MlKem512),
            Self::MlKem768 => kem(MlKem::MlKem768),
            Self::MlKem1024 => kem(MlKem::MlKem1024),
        };
        let low = A::FIXED_TPM
            .with(A::FIXED_PARENT)
            .with(A::SENSITIVE_DATA_ORIGIN)
            .with(A::ADMIN_WITH_POLICY)
            .with(A::RESTRICTED)
            .with(A::DECRYPT);
        let is_low = matches!(self, Self::Rsa2048 | Self::EccP256);
        let attributes = if is_low { low } else { low.with(A::USER_WITH_AUTH) };
        let auth_policy = Digest::from_slice(policy).unwrap_or_default();
        Public { name_alg: Some(name_alg), attributes, auth_policy, parms, unique }
    }
}

impl AkTemplate {
    fn public(self) -> Public {
        let attributes = A::FIXED_TPM
            .with(A::FIXED_PARENT)
            .with(A::SENSITIVE_DATA_ORIGIN)
            .with(A::USER_WITH_AUTH)
            .with(A::NO_DA)
            .with(A::RESTRICTED)
            .with(A::SIGN);
        let (parms, unique) = match self {
            Self::Rsa2048 => {
                let scheme = RsaScheme(Scheme::Rsassa(HashAlg::Sha256));
                let parms = RsaParms { symmetric: None, scheme, key_bits: RsaKeyBits(2048), exponent: 0 };
                (Parms::Rsa(parms), Unique::Rsa(Buffer::from_slice(&[0; 256]).unwrap_or_default()))
            }
            Self::EccP256 => {
                let scheme = EccScheme(Scheme::Ecdsa(HashAlg::Sha256));
                let parms = EccParms { symmetric: None, scheme, curve: Curve::NistP256, kdf: None };
                (Parms::Ecc(parms), Unique::Ecc(EccPoint::default()))
            }
        };
        Public { name_alg: Some(HashAlg::Sha256), attributes, auth_policy: Digest::default(), parms, unique }
    }

    /// The template (marshalled TPMT_PUBLIC) by which TPM2_CreatePrimary makes the key, written to the first octets of
    /// `out` (at most [`MAX_EK_PUBLIC`]), whose number is returned.
    ///
    /// # Errors
    /// [`Failure`] if `out` is too short.
    pub fn marshal(self, out: &mut [u8]) -> Result<usize, Failure> {
        marshalled(&self.public(), out)
    }
}

fn marshalled(public: &Public, out: &mut [u8]) -> Result<usize, Failure> {
    let mut w = Writer::new(out);
    public.marshal(&mut w);
    if w.fits() { Ok(w.len()) } else { Err(Failure) }
}

impl Tpm {
    /// What tells one endorsement seed from another and does not give it away: whoever keeps an endorsement key beside
    /// the TPM finds by it that TPM2_ChangeEPS has made another. Not for the guest. `None`: this is [`Tpm::blank`].
    #[must_use]
    pub fn endorsement_seed_id(&self) -> Option<[u8; 32]> {
        let mut id = [0; 32];
        kdfa(HashAlg::Sha256, self.persistent.endorsement_seed.as_slice(), b"SEED ID", &[], &[], &mut id);
        self.persistent.is_made().then_some(id)
    }

    /// The public area (marshalled TPMT_PUBLIC) of the endorsement key that the present endorsement seed gives for a
    /// template, written to the first octets of `out` (at most [`MAX_EK_PUBLIC`]), whose number is returned.
    ///
    /// # Errors
    /// [`Failure`] if `out` is too short, or this is [`Tpm::blank`], or the derivation fails, which it does not.
    pub fn endorsement_key(&self, template: EkTemplate, out: &mut [u8]) -> Result<usize, Failure> {
        self.primary_key(&template.public(), out)
    }

    /// As [`Tpm::endorsement_key`], of an attestation key.
    ///
    /// # Errors
    /// The same.
    pub fn attestation_key(&self, template: AkTemplate, out: &mut [u8]) -> Result<usize, Failure> {
        self.primary_key(&template.public(), out)
    }

    /// Makes an attestation key anew, and puts it to a persistent handle of the owner's in the place of what is there.
    /// It takes no authorization: in a state that was kept those are its guest's choice. `false`: there is no room, and
    /// all is as it was.
    ///
    /// # Errors
    /// [`Failure`] in failure mode, if `handle` is no such handle, or this is [`Tpm::blank`].
    pub fn place_attestation_key(&mut self, template: AkTemplate, handle: u32) -> Result<bool, Failure> {
        let handle = Handle(handle);
        let is_owners = handle.kind() == HandleKind::Persistent && handle < Handle::PLATFORM_PERSISTENT;
        if self.ram.fault.is_some() || !is_owners {
            return Err(Failure);
        }
        let (public, sensitive) = self.primary(&template.public())?;
        let object = self.new_object(Handle::ENDORSEMENT, public, Some(sensitive));
        let objects = &self.persistent.objects;
        if objects.get(handle).is_none() && objects.room() == 0 {
            return Ok(false);
        }
        let objects = &mut self.persistent.change().objects;
        objects.remove(handle);
        objects.insert(handle, object).map(|()| true).map_err(|_| Failure)
    }

    /// The public area of a primary key of the endorsement hierarchy, with no sensitive data.
    fn primary_key(&self, template: &Public, out: &mut [u8]) -> Result<usize, Failure> {
        marshalled(&self.primary(template)?.0, out)
    }

    /// A primary key of the endorsement hierarchy, with no sensitive data.
    fn primary(&self, template: &Public) -> Result<(Public, Sensitive), Failure> {
        if !self.persistent.is_made() {
            return Err(Failure);
        }
        let never = AtomicBool::new(false);
        let mut source = Primary::new(self, Handle::ENDORSEMENT, template, &[], &never).map_err(|_| Failure)?;
        create(&mut source, template, Auth::new(), &[]).map_err(|_| Failure)
    }
}
