//! Root, certificate chain, and what the VCEK's certificate says about the chip.

use super::{Case, ensure_equal, signature};
use crate::chip::{ARK_GUID, ASK_GUID, DEVELOPMENT_ROOT_SHA256, TABLE_ENTRY, Tcb, VCEK_GUID, certificate};
use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use sev::certs::snp::{Certificate as SevCertificate, Chain, Verifiable, builtin};
use sha2::{Digest, Sha256};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

/// rsassaPss (RFC 4055), which AMD's authorities sign with.
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// The ARK is one of AMD's that the `sev` crate brings, or the development root, if that is accepted.
pub(super) fn root(case: &Case<'_>) -> Result<String> {
    let ark = &case.evidence.ark;
    let known = [("Milan", builtin::milan::ark()), ("Genoa", builtin::genoa::ark()), ("Turin", builtin::turin::ark())];
    for (name, certificate) in known {
        if certificate?.to_der()? == *ark {
            return Ok(format!("AMD's root for {name}"));
        }
    }
    let digest: [u8; 32] = Sha256::digest(ark).into();
    ensure!(digest == DEVELOPMENT_ROOT_SHA256, "the root (SHA-256 {}) is not AMD's", hex(&digest));
    ensure!(
        case.expectations.development_root,
        "this is the development root, whose chip key is public: --development-root accepts it, and proves nothing"
    );
    Ok(String::from("the development root: for tests, it proves nothing"))
}

/// ARK signs itself and the ASK, the ASK signs the VCEK; all are valid now; the host's table holds the same three.
pub(super) fn chain(case: &Case<'_>) -> Result<String> {
    let evidence = case.evidence;
    let ders = [&evidence.ark, &evidence.ask, &evidence.vcek];
    let [ark, ask, vcek] = ders.map(|der| SevCertificate::from_der(der));
    let sev_chain = Chain::from((ask.context("ASK")?, ark.context("ARK")?, vcek.context("VCEK")?));
    (&sev_chain).verify().context("the sev crate refuses the chain")?;

    let [ark, ask, vcek] = ders.map(|der| parse(der));
    let (ark, ask, vcek) = (ark.context("ARK")?, ask.context("ASK")?, vcek.context("VCEK")?);
    for (name, certificate, issuer) in [("ARK", &ark, &ark), ("ASK", &ask, &ark), ("VCEK", &vcek, &ask)] {
        signed_by(certificate, issuer).with_context(|| format!("{name} certificate"))?;
        valid_at(certificate, case.expectations.now).with_context(|| format!("{name} certificate"))?;
    }
    well_formed(&evidence.certificates)?;
    for (name, guid, der) in
        [("ARK", ARK_GUID, &evidence.ark), ("ASK", ASK_GUID, &evidence.ask), ("VCEK", VCEK_GUID, &evidence.vcek)]
    {
        ensure!(
            certificate(&evidence.certificates, guid)? == der.as_slice(),
            "the host's certificate table has another {name}"
        );
    }
    Ok(format!("{} signed by {}", vcek.tbs_certificate.subject, vcek.tbs_certificate.issuer))
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

fn signed_by(certificate: &Certificate, issuer: &Certificate) -> Result<()> {
    let (tbs, issuer) = (&certificate.tbs_certificate, &issuer.tbs_certificate);
    ensure!(tbs.issuer == issuer.subject, "issued by {}, not by {}", tbs.issuer, issuer.subject);
    let algorithm = &certificate.signature_algorithm;
    ensure!(*algorithm == tbs.signature, "two signature algorithms");
    ensure!(algorithm.oid == RSASSA_PSS, "signed with {}, not with RSASSA-PSS", algorithm.oid);
    let key = issuer
        .subject_public_key_info
        .subject_public_key
        .as_bytes()
        .context("the issuer's key is no whole number of bytes")?;
    let signature = certificate.signature.as_bytes().context("the signature is no whole number of bytes")?;
    signature::rsa_pss_sha384(key, &tbs.to_der()?, signature)
}

fn valid_at(certificate: &Certificate, now: SystemTime) -> Result<()> {
    let validity = &certificate.tbs_certificate.validity;
    ensure!(validity.not_before.to_system_time() <= now, "not valid before {}", validity.not_before);
    ensure!(now <= validity.not_after.to_system_time(), "not valid after {}", validity.not_after);
    Ok(())
}

/// The VCEK's public key, an uncompressed point of P-384.
pub(super) fn vcek_point(case: &Case<'_>) -> Result<Vec<u8>> {
    let vcek = parse(&case.evidence.vcek)?;
    let key = vcek.tbs_certificate.subject_public_key_info.subject_public_key.as_bytes();
    Ok(key.context("the VCEK's key is no whole number of bytes")?.to_vec())
}

/// AMD's extensions of the VCEK name the report's CHIP_ID and REPORTED_TCB (AMD 57230, 3.2).
pub(super) fn chip(case: &Case<'_>) -> Result<String> {
    let vcek = parse(&case.evidence.vcek)?;
    let report = &case.evidence.report;
    ensure_equal("the certificate's HWID", extension(&vcek, "1.3.6.1.4.1.3704.1.4")?, &report[0x1A0..0x1E0])?;
    let tcb = Tcb::from_bytes(report[0x180..0x188].try_into()?);
    let levels = [
        ("3.1", "boot loader", tcb.boot_loader),
        ("3.2", "TEE", tcb.tee),
        ("3.3", "SNP", tcb.snp),
        ("3.8", "microcode", tcb.microcode),
    ];
    for (suffix, name, reported) in levels {
        let certified = u8::from_der(extension(&vcek, &format!("1.3.6.1.4.1.3704.1.{suffix}"))?)?;
        ensure!(certified == reported, "the certificate's {name} level is {certified}, the report's {reported}");
    }
    Ok(format!("chip {}…", hex(&report[0x1A0..0x1A8])))
}

fn extension<'a>(certificate: &'a Certificate, oid: &str) -> Result<&'a [u8]> {
    let oid = ObjectIdentifier::new(oid)?;
    let mut found =
        certificate.tbs_certificate.extensions.iter().flatten().filter(|extension| extension.extn_id == oid);
    match (found.next(), found.next()) {
        (Some(extension), None) => Ok(extension.extn_value.as_bytes()),
        (None, _) => bail!("the VCEK's certificate has no extension {oid}"),
        (Some(_), Some(_)) => bail!("the VCEK's certificate has extension {oid} twice"),
    }
}
