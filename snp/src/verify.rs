//! The certificate chain ARK → ASK → VCEK and what it says about a report (VCEK certificate specification 57230,
//! chapter 3). Needs an allocator.

use alloc::vec::Vec;
use const_oid::ObjectIdentifier;
use const_oid::db::{rfc5912, rfc5912::ID_RSASSA_PSS};
use der::asn1::OctetString;
use der::referenced::OwnedToRef;
use der::{Decode, Encode};
use rsa::pss;
use rsa::signature::hazmat::PrehashVerifier;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha384};
use x509_cert::Certificate;
use x509_cert::ext::pkix::BasicConstraints;

use crate::report::{Report, SignatureError, TcbLayout, TcbParts, TcbVersion};

/// Which certificate of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// AMD's root key.
    Ark,
    /// AMD's SEV signing key.
    Ask,
    /// The chip's key.
    Vcek,
}

/// Why a chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainError {
    /// The root is not the one that the verifier trusts.
    Root,
    /// The certificate is not DER of X.509.
    Form(Role),
    /// The signature's algorithm is not RSASSA-PSS, or not the same inside and outside of the signed part.
    Algorithm(Role),
    /// The key is none that this place in the chain has: RSA-4096 for ARK and ASK, P-384 for the VCEK.
    Key(Role),
    /// The issuer is not the subject of the certificate above.
    Issuer(Role),
    /// Not yet or no longer valid.
    Time(Role),
    /// ARK or ASK without the CA constraint, or a VCEK with it.
    Constraint(Role),
    /// It is not signed by the key above.
    Signature(Role),
    /// A VCEK extension is missing, there twice, or not of its form.
    Extension(ObjectIdentifier),
}

crate::error_words! { ChainError {
    Self::Root => "the root is not the one that is trusted",
    Self::Form(role) => "the {role:?} is no certificate",
    Self::Algorithm(role) => "the {role:?} is signed with another algorithm",
    Self::Key(role) => "the key of the {role:?} is of another kind",
    Self::Issuer(role) => "the {role:?} is issued by someone else",
    Self::Time(role) => "the {role:?} is not valid now",
    Self::Constraint(role) => "the {role:?} has a wrong CA constraint",
    Self::Signature(role) => "the signature of the {role:?} is not genuine",
    Self::Extension(id) => "the extension {id} is missing or malformed",
} }

/// Why a report does not come from the chip of a verified VCEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// The signature.
    Signature(SignatureError),
    /// SIGNING_KEY does not name the VCEK.
    SigningKey(u32),
    /// CHIP_ID is not the VCEK's HWID (or is masked).
    ChipId,
    /// REPORTED_TCB is not the one for which the VCEK was issued.
    Tcb {
        /// REPORTED_TCB.
        reported: TcbParts,
        /// The VCEK's extensions.
        certified: TcbParts,
    },
}

crate::error_words! { ReportError {
    Self::Signature(why) => "the report is not signed: {why}",
    Self::SigningKey(key) => "the report is signed with key {key}, which is not the VCEK",
    Self::ChipId => "the report is of another chip",
    Self::Tcb { reported, certified } => "the report is of TCB {reported:?}, and the key for {certified:?}",
} }

/// What a verified VCEK certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcek {
    key: Vec<u8>,
    hwid: Vec<u8>,
    layout: TcbLayout,
    tcb: TcbParts,
}

/// Verifies a chain of three certificates in DER, at a time in seconds since 1970. `root` is the ARK that the verifier
/// trusts, from elsewhere.
///
/// # Errors
/// [`ChainError`], of the first certificate from the root on that does not hold.
pub fn verify_chain(root: &[u8], ark: &[u8], ask: &[u8], vcek: &[u8], unix_time: u64) -> Result<Vcek, ChainError> {
    if root != ark {
        return Err(ChainError::Root);
    }
    let ark = parse(ark, Role::Ark)?;
    let ask = parse(ask, Role::Ask)?;
    let vcek = parse(vcek, Role::Vcek)?;
    check_link(&ark, &ark, Role::Ark, unix_time)?;
    check_link(&ark, &ask, Role::Ask, unix_time)?;
    check_link(&ask, &vcek, Role::Vcek, unix_time)?;
    Vcek::read(&vcek)
}

fn parse(der: &[u8], role: Role) -> Result<Certificate, ChainError> {
    Certificate::from_der(der).map_err(|_| ChainError::Form(role))
}

/// That `issuer` issued `certificate`, and that it is valid and of its kind.
fn check_link(issuer: &Certificate, certificate: &Certificate, role: Role, unix_time: u64) -> Result<(), ChainError> {
    let signed = certificate.tbs_certificate();
    let algorithm = certificate.signature_algorithm();
    if algorithm.oid != ID_RSASSA_PSS || algorithm != signed.signature() {
        return Err(ChainError::Algorithm(role));
    }
    if signed.issuer() != issuer.tbs_certificate().subject() {
        return Err(ChainError::Issuer(role));
    }
    check_signature(issuer, certificate, role)?;
    let validity = signed.validity();
    let (start, end) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    if !(start.as_secs()..=end.as_secs()).contains(&unix_time) {
        return Err(ChainError::Time(role));
    }
    let constraints = signed.get_extension::<BasicConstraints>().map_err(|_| ChainError::Constraint(role))?;
    let is_ca = constraints.is_some_and(|(_, constraints)| constraints.ca);
    if is_ca == (role != Role::Vcek) { Ok(()) } else { Err(ChainError::Constraint(role)) }
}

/// RSASSA-PSS with SHA-384, MGF1 of SHA-384, and a salt of 48 bytes, by a 4096-bit key. The signed bytes are those of
/// the parsed value, encoded anew: what was understood is what is verified.
fn check_signature(issuer: &Certificate, certificate: &Certificate, role: Role) -> Result<(), ChainError> {
    const SALT: usize = 48;
    let issuer_role = if role == Role::Vcek { Role::Ask } else { Role::Ark };
    let key = issuer.tbs_certificate().subject_public_key_info();
    let key = rsa::PublicKey::try_from(key.owned_to_ref()).map_err(|_| ChainError::Key(issuer_role))?;
    if key.n().bit_width() != 4096 {
        return Err(ChainError::Key(issuer_role));
    }
    let signed = certificate.tbs_certificate().to_der().map_err(|_| ChainError::Form(role))?;
    let signature = certificate.signature().as_bytes().ok_or(ChainError::Signature(role))?;
    let signature = pss::Signature::try_from(signature).map_err(|_| ChainError::Signature(role))?;
    pss::VerifyingKey::<Sha384>::new_with_salt_len(key, SALT)
        .verify_prehash(&Sha384::digest(signed), &signature)
        .map_err(|_| ChainError::Signature(role))
}

/// AMD's extensions, below 1.3.6.1.4.1.3704.1.
mod oid {
    use super::ObjectIdentifier;

    pub(super) const BOOT_LOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
    pub(super) const TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
    pub(super) const SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
    pub(super) const MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
    pub(super) const FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
    pub(super) const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
}

impl Vcek {
    fn read(certificate: &Certificate) -> Result<Self, ChainError> {
        let key = p384_key(certificate).ok_or(ChainError::Key(Role::Vcek))?;
        let fmc = match extension(certificate, oid::FMC)? {
            Some(_) => Some(level(certificate, oid::FMC)?),
            None => None,
        };
        let tcb = TcbParts {
            fmc,
            boot_loader: level(certificate, oid::BOOT_LOADER)?,
            tee: level(certificate, oid::TEE)?,
            snp: level(certificate, oid::SNP)?,
            microcode: level(certificate, oid::MICROCODE)?,
        };
        let layout = if fmc.is_some() { TcbLayout::Turin } else { TcbLayout::Milan };
        Ok(Self { key, hwid: hwid(certificate)?, layout, tcb })
    }

    /// The key as an uncompressed SEC 1 point.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The TCB for which the key was derived.
    #[must_use]
    pub const fn tcb(&self) -> TcbParts {
        self.tcb
    }

    /// Verifies that this chip signed `report`, for this chip and TCB.
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn verify_report(&self, report: &Report) -> Result<(), ReportError> {
        report.verify(&self.key).map_err(ReportError::Signature)?;
        if report.signing_key() != 0 {
            return Err(ReportError::SigningKey(report.signing_key()));
        }
        self.check_chip(&report.chip_id)?;
        self.check_tcb(report.reported_tcb)
    }

    /// A Turin's HWID has 8 bytes, and CHIP_ID is then zero beyond them.
    fn check_chip(&self, chip_id: &[u8; 64]) -> Result<(), ReportError> {
        let rest = chip_id.strip_prefix(self.hwid.as_slice());
        let equal = rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        if equal { Ok(()) } else { Err(ReportError::ChipId) }
    }

    fn check_tcb(&self, reported: TcbVersion) -> Result<(), ReportError> {
        let (reported, certified) = (reported.parts(self.layout), self.tcb);
        if reported == certified { Ok(()) } else { Err(ReportError::Tcb { reported, certified }) }
    }
}

fn p384_key(certificate: &Certificate) -> Option<Vec<u8>> {
    let info = certificate.tbs_certificate().subject_public_key_info();
    let curve = info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok()?;
    let is_p384 = info.algorithm.oid == rfc5912::ID_EC_PUBLIC_KEY && curve == rfc5912::SECP_384_R_1;
    let point = info.subject_public_key.as_bytes()?;
    p384::PublicKey::from_sec1_bytes(point).ok().filter(|_| is_p384)?;
    Some(point.to_vec())
}

/// Contents of the extension, `None` if it is not there.
fn extension(certificate: &Certificate, id: ObjectIdentifier) -> Result<Option<&[u8]>, ChainError> {
    let extensions = certificate.tbs_certificate().extensions().map(Vec::as_slice).unwrap_or_default();
    let mut found = extensions.iter().filter(|extension| extension.extn_id == id);
    let first = found.next().map(|extension| extension.extn_value.as_bytes());
    if found.next().is_none() { Ok(first) } else { Err(ChainError::Extension(id)) }
}

/// A security patch level: INTEGER of 0 to 255.
fn level(certificate: &Certificate, id: ObjectIdentifier) -> Result<u8, ChainError> {
    let contents = extension(certificate, id)?.ok_or(ChainError::Extension(id))?;
    u8::from_der(contents).map_err(|_| ChainError::Extension(id))
}

/// HWID: 64 bytes (8 on Turin), bare or as an OCTET STRING.
fn hwid(certificate: &Certificate) -> Result<Vec<u8>, ChainError> {
    let error = ChainError::Extension(oid::HWID);
    let contents = extension(certificate, oid::HWID)?.ok_or(error)?;
    if matches!(contents.len(), 8 | 64) {
        return Ok(contents.to_vec());
    }
    let wrapped = OctetString::from_der(contents).map_err(|_| error)?;
    match wrapped.as_bytes().len() {
        8 | 64 => Ok(wrapped.into_bytes().into_vec()),
        _ => Err(error),
    }
}
