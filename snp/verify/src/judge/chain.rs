//! Root, certificate chain, and what the endorsement key's certificate says about the chip or the provider.

use super::{Case, ensure_equal, signature};
use crate::chip::{
    ARK_GUID, ASK_GUID, Generation, Levels, TABLE_ENTRY, VCEK_GUID, VLEK_GUID, certificate, is_development_root,
    processor_name,
};
use crate::digest::hex;
use crate::evidence::folder::Kind;
use crate::evidence::report::SigningKey;
use crate::policy::Hex;
use crate::roots::AMD;
use anyhow::{Context, Result, bail, ensure};
use sev::certs::snp::{Certificate as SevCertificate, Chain, Verifiable};
use sha2::{Digest, Sha256};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5String, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// rsassaPss (RFC 4055), which AMD's authorities sign with.
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
/// AMD's extensions (AMD 57230, 3.2): HWID and CSP_ID.
const HWID: &str = "1.3.6.1.4.1.3704.1.4";
const CSP_ID: &str = "1.3.6.1.4.1.3704.1.5";

/// The ARK is one of AMD's that the `sev` crate brings, one of the policy file's, or the development root, if that is
/// accepted.
pub(super) fn root(case: &Case<'_>) -> Result<String> {
    let ark = &case.evidence.ark;
    let rules = &case.expectations.rules;
    ensure!(!ark.is_empty(), "the evidence has no certificates of AMD's");
    let accepted = |generation| rules.policy.roots.amd.as_ref().is_none_or(|amd| amd.contains(&generation));
    if let Some(amd) = AMD.iter().find(|amd| amd.ark == *ark) {
        let name = amd.generation.name();
        ensure!(accepted(amd.generation), "roots.amd: AMD's root for {name} is not among them");
        return Ok(format!("AMD's root for {name}"));
    }
    let digest: [u8; 32] = Sha256::digest(ark).into();
    if rules.policy.roots.sha256.contains(&Hex(digest)) || rules.roots.contains(ark) {
        return Ok(format!("the policy's root (SHA-256 {}…)", hex(&digest[..8])));
    }
    ensure!(is_development_root(ark), "the root (SHA-256 {}) is not AMD's", hex(&digest));
    ensure!(
        case.expectations.development_root || rules.policy.roots.development,
        "this is the development root, whose chip key is public: --development-root accepts it, and proves nothing"
    );
    Ok(String::from("the development root: for tests, it proves nothing"))
}

/// ARK, ASK (or ASVK) and endorsement key.
pub(super) fn certificates(case: &Case<'_>) -> Result<[Certificate; 3]> {
    let evidence = case.evidence;
    let (ark, ask, leaf) = (parse(&evidence.ark), parse(&evidence.ask), parse(&evidence.vcek));
    Ok([ark.context("ARK")?, ask.context("ASK")?, leaf.context("VCEK")?])
}

/// ARK signs itself and the ASK, the ASK signs the VCEK or VLEK; all are valid now; the host's table, where it is
/// there, holds the same three.
pub(super) fn chain(case: &Case<'_>) -> Result<String> {
    let evidence = case.evidence;
    let ders = [&evidence.ark, &evidence.ask, &evidence.vcek];
    let [ark, ask, vcek] = ders.map(|der| SevCertificate::from_der(der));
    let sev_chain = Chain::from((ask.context("ASK")?, ark.context("ARK")?, vcek.context("VCEK")?));
    (&sev_chain).verify().context("the sev crate refuses the chain")?;

    let [ark, ask, leaf] = certificates(case)?;
    let key = Endorsed::by(&leaf)?;
    for (name, certificate, issuer) in [("ARK", &ark, &ark), ("ASK", &ask, &ark), (key.name(), &leaf, &ask)] {
        signed_by(certificate, issuer).with_context(|| format!("{name} certificate"))?;
        valid_at(certificate, case.expectations.now).with_context(|| format!("{name} certificate"))?;
    }
    if evidence.kind == Kind::Quoin || !evidence.certificates.is_empty() {
        well_formed(&evidence.certificates)?;
        let leaf = (key.name(), key.guid(), &evidence.vcek);
        for (name, guid, der) in [("ARK", ARK_GUID, &evidence.ark), ("ASK", ASK_GUID, &evidence.ask), leaf] {
            ensure!(
                certificate(&evidence.certificates, guid)? == der.as_slice(),
                "the host's certificate table has another {name}"
            );
        }
    }
    Ok(format!("{} signed by {}", leaf.tbs_certificate.subject, leaf.tbs_certificate.issuer))
}

/// It says that it is of an endorsement key: it names a chip or a provider.
pub(crate) fn is_of_an_endorsement_key(certificate: &Certificate) -> bool {
    [HWID, CSP_ID].into_iter().any(|oid| has_extension(certificate, oid).unwrap_or_default())
}

/// What an endorsement key is for: a chip, or a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endorsed {
    Chip,
    Provider,
}

impl Endorsed {
    /// A VCEK names its chip, a VLEK its provider (AMD 57230, 3.2), and none both.
    fn by(certificate: &Certificate) -> Result<Self> {
        match (has_extension(certificate, HWID)?, has_extension(certificate, CSP_ID)?) {
            (true, false) => Ok(Self::Chip),
            (false, true) => Ok(Self::Provider),
            (false, false) => bail!("the endorsement key's certificate names neither a chip (HWID) nor a provider"),
            (true, true) => bail!("the endorsement key's certificate names both a chip and a provider"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Chip => "VCEK",
            Self::Provider => "VLEK",
        }
    }

    const fn guid(self) -> [u8; 16] {
        match self {
            Self::Chip => VCEK_GUID,
            Self::Provider => VLEK_GUID,
        }
    }
}

/// Nothing in the host's table is left unread: entries are not empty and lie behind the last one, which is zeros (GHCB
/// specification).
fn well_formed(table: &[u8]) -> Result<()> {
    let mut entries = table.chunks_exact(TABLE_ENTRY);
    let count = entries.by_ref().take_while(|entry| entry.iter().any(|byte| *byte != 0)).count();
    let data = (count + 1) * TABLE_ENTRY;
    for entry in table.chunks_exact(TABLE_ENTRY).take(count) {
        let offset = u32::from_le_bytes(entry[16..20].try_into()?) as usize;
        let length = u32::from_le_bytes(entry[20..24].try_into()?) as usize;
        let fits = length > 0 && offset >= data && offset.saturating_add(length) <= table.len();
        ensure!(fits, "the host's certificate table has an entry of {length} bytes at {offset}");
    }
    Ok(())
}

/// A certificate in the one encoding that DER gives it.
fn parse(der: &[u8]) -> Result<Certificate> {
    let certificate = Certificate::from_der(der)?;
    ensure!(certificate.to_der()? == der, "not in DER");
    Ok(certificate)
}

/// The signature is RSASSA-PSS.
pub(super) fn ensure_pss(algorithm: &AlgorithmIdentifierOwned) -> Result<()> {
    ensure!(algorithm.oid == RSASSA_PSS, "signed with {}, not with RSASSA-PSS", algorithm.oid);
    Ok(())
}

/// An authority's `RSAPublicKey`.
pub(super) fn rsa_key(issuer: &Certificate) -> Result<&[u8]> {
    let key = &issuer.tbs_certificate.subject_public_key_info.subject_public_key;
    key.as_bytes().context("the issuer's key is no whole number of bytes")
}

/// `issuer` has its name, and has signed it as AMD's authorities do.
pub(crate) fn signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    let subject = &issuer.tbs_certificate.subject;
    ensure!(tbs.issuer == *subject, "issued by {}, not by {subject}", tbs.issuer);
    ensure!(certificate.signature_algorithm == tbs.signature, "two signature algorithms");
    ensure_pss(&certificate.signature_algorithm)?;
    let signature = certificate.signature.as_bytes().context("the signature is no whole number of bytes")?;
    signature::rsa_pss_sha384(rsa_key(issuer)?, &tbs.to_der()?, signature)
}

pub(super) fn valid_at(certificate: &Certificate, now: SystemTime) -> Result<()> {
    let validity = &certificate.tbs_certificate.validity;
    ensure!(validity.not_before.to_system_time() <= now, "not valid before {}", validity.not_before);
    ensure!(now <= validity.not_after.to_system_time(), "not valid after {}", validity.not_after);
    Ok(())
}

/// The endorsement key, an uncompressed point of P-384.
pub(super) fn endorsement_point(case: &Case<'_>) -> Result<Vec<u8>> {
    point_of(&parse(&case.evidence.vcek)?)
}

/// A certificate's key, if it is such a point.
pub(super) fn point_of(certificate: &Certificate) -> Result<Vec<u8>> {
    let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key.as_bytes();
    Ok(key.context("the endorsement key is no whole number of bytes")?.to_vec())
}

/// The generation of the processor: what the root's name says, which is what a report from version 3 on says, too.
pub(super) fn generation(case: &Case<'_>) -> Result<Generation> {
    let subject = parse(&case.evidence.ark)?.tbs_certificate.subject.to_string();
    let named = |generation: &Generation| subject.contains(&format!("CN=ARK-{}", generation.name()));
    let of_root = Generation::ALL.into_iter().find(named);
    let of_root = of_root.with_context(|| format!("the root {subject} is of no generation that is known"))?;
    let report = case.report()?;
    let Some((family, model, _)) = report.cpu() else { return Ok(of_root) };
    let of_report = report.generation();
    let of_report = of_report.with_context(|| format!("a processor of family {family:#x}, model {model:#x}"))?;
    let (root, processor) = (of_root.name(), of_report.name());
    ensure!(of_root == of_report, "the root is for {root}, the report is of a {processor}");
    Ok(of_report)
}

/// The provider that a VLEK is for.
pub(super) fn provider(case: &Case<'_>) -> Result<String> {
    let leaf = parse(&case.evidence.vcek)?;
    Ok(Ia5String::from_der(extension(&leaf, CSP_ID)?)?.as_str().to_owned())
}

/// AMD's extensions name the report's REPORTED_TCB, and its CHIP_ID or a provider (AMD 57230, 3.2). The report says
/// which kind of key has signed it.
pub(super) fn chip(case: &Case<'_>) -> Result<String> {
    let leaf = parse(&case.evidence.vcek)?;
    let report = case.report()?;
    let generation = generation(case)?;
    let name = report.cpu().map_or(generation.name(), |(family, model, _)| processor_name(family, model));
    let Levels { fmc, tcb } = Levels::read(report.reported_tcb(), generation);
    let levels = [
        ("3.9", "FMC", fmc),
        ("3.1", "boot loader", Some(tcb.boot_loader)),
        ("3.2", "TEE", Some(tcb.tee)),
        ("3.3", "SNP", Some(tcb.snp)),
        ("3.8", "microcode", Some(tcb.microcode)),
    ];
    let whose = match (Endorsed::by(&leaf)?, report.signing_key()) {
        (Endorsed::Chip, SigningKey::Vcek) => {
            let wanted = hardware_id(extension(&leaf, HWID)?, generation)?;
            ensure_equal("the certificate's HWID", &wanted, &report.chip_id())?;
            format!("chip {}…", hex(&report.chip_id()[..8]))
        }
        (Endorsed::Provider, SigningKey::Vlek) => format!("VLEK for {:?}", provider(case)?),
        (key, signer) => bail!("the certificate is a {}'s, the report was signed with a {signer:?}", key.name()),
    };
    for (suffix, name, reported) in levels {
        let Some(reported) = reported else { continue };
        let certified = u8::from_der(extension(&leaf, &format!("1.3.6.1.4.1.3704.1.{suffix}"))?)?;
        ensure!(certified == reported, "the certificate's {name} level is {certified}, the report's {reported}");
    }
    Ok(format!("{name}, {whose}"))
}

/// HWID as CHIP_ID has it: some certificates have it as an OCTET STRING, and Turin's has eight bytes.
fn hardware_id(value: &[u8], generation: Generation) -> Result<[u8; 64]> {
    let length = if generation == Generation::Turin { 8 } else { 64 };
    let wrapped = OctetString::from_der(value).ok().filter(|inner| inner.as_bytes().len() == length);
    let value = wrapped.as_ref().map_or(value, OctetString::as_bytes);
    ensure!(value.len() == length, "the certificate's HWID has {} bytes, not {length}", value.len());
    let mut id = [0; 64];
    id[..length].copy_from_slice(value);
    Ok(id)
}

fn has_extension(certificate: &Certificate, oid: &str) -> Result<bool> {
    let oid = ObjectIdentifier::new(oid)?;
    Ok(certificate.tbs_certificate.extensions.iter().flatten().any(|extension| extension.extn_id == oid))
}

fn extension<'a>(certificate: &'a Certificate, oid: &str) -> Result<&'a [u8]> {
    let oid = ObjectIdentifier::new(oid)?;
    let mut found =
        certificate.tbs_certificate.extensions.iter().flatten().filter(|extension| extension.extn_id == oid);
    match (found.next(), found.next()) {
        (Some(extension), None) => Ok(extension.extn_value.as_bytes()),
        (None, _) => bail!("the endorsement key's certificate has no extension {oid}"),
        (Some(_), Some(_)) => bail!("the endorsement key's certificate has extension {oid} twice"),
    }
}
