//! Evidence as it lies in files: which kind it is, is seen by what is there.
//!
//! | found | is |
//! |---|---|
//! | a folder with `manifest.bin` | a folder of ours ([`crate::evidence`]) |
//! | a folder with `tcti.txt` | what was asked of a TPM over its TCTI ([`crate::tcti`]) |
//! | a folder with `outblob` | what configfs-tsm gives ([`tsm`]) |
//! | a folder with `hcl-report.bin` | Azure's NV index 0x01400001, a quote and a log ([`azure`]) |
//! | a folder with `report.bin` | a report alone, such as `snpguest report` writes |
//! | a file that begins with `HCLA` | Azure's report alone |
//! | a file that begins with `{` | a verifier service's JSON ([`service`]) |
//! | a certificate, in DER or PEM, that carries a report | what the firmware issues ([`crate::evidence::carried`]) |
//! | any other file of 1184 bytes | a report alone |
//!
//! docs/policy.md names every file. Certificates lie in the folder: `ark`, `ask`, `asvk`, `vcek`, `vlek` with `.der` or
//! `.pem`, `chain.pem`, and `certification.json`, which is Azure's instance metadata (`vcekCert`,
//! `certificateChain`). AMD's own roots and ASKs need not be there.

pub mod azure;
pub mod certificates;
pub mod service;
pub mod tsm;

use crate::evidence::carried::Carried;
use crate::evidence::folder::{Evidence, Kind, TCTI, read_file};
use crate::evidence::report::SIZE;
use crate::judge::ek_certificate::{all, first};
use crate::pem;
use anyhow::{Context, Result, bail};
use std::path::Path;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// No file of evidence is longer, in bytes: others have logs in it.
pub(crate) const MOST: u64 = 4 * 1024 * 1024;

/// Evidence, and the certificates that were with it, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The evidence, without certificates.
    pub evidence: Evidence,
    /// Certificates, DER.
    pub certificates: Vec<Vec<u8>>,
}

/// Reads evidence of any kind. `others` are certificates that the verifier brings.
pub fn read(path: &Path, others: &[Vec<u8>]) -> Result<Evidence> {
    if path.is_dir() && is_ours(path) {
        let mut evidence = Evidence::read(path)?;
        if evidence.kind == Kind::Tpm {
            restore_statement(&mut evidence);
        }
        return Ok(evidence);
    }
    let Found { mut evidence, mut certificates } =
        if path.is_dir() { folder(path)? } else { of_file(&read_file(path, MOST)?)? };
    certificates.extend_from_slice(others);
    if path.is_dir() {
        certificates.extend(certificates_in(path)?);
    }
    certificates::complete(&mut evidence, &certificates)?;
    Ok(evidence)
}

/// What is no folder of any kind is read as one of ours, which says what is missing.
fn is_ours(path: &Path) -> bool {
    let has = |name: &str| path.join(name).exists();
    has("manifest.bin") || has(TCTI) || !(has("outblob") || has("hcl-report.bin") || has("report.bin"))
}

fn folder(path: &Path) -> Result<Found> {
    let has = |name: &str| path.join(name).exists();
    let read = |name: &str| if has(name) { read_file(&path.join(name), MOST) } else { Ok(Vec::new()) };
    if has("outblob") {
        return tsm::evidence(read("outblob")?, &read("auxblob")?, read("manifestblob")?, read("inblob")?);
    }
    if !has("hcl-report.bin") {
        let mut found = alone(read("report.bin")?);
        found.evidence.nonce = read("nonce.bin")?;
        return Ok(found);
    }
    let mut found = azure::report(&read("hcl-report.bin")?).map(Found::bare)?;
    found.evidence.quote = read("quote.msg")?;
    found.evidence.quote_signature = azure::signature(read("quote.sig")?);
    found.evidence.quote_nonce = read("quote.nonce")?;
    found.evidence.pcrs = read("quote.pcrs")?;
    found.evidence.boot_events = read("binary_bios_measurements")?;
    let ima = ["binary_runtime_measurements", "ascii_runtime_measurements"].into_iter().find(|name| has(name));
    found.evidence.ima = ima.map_or_else(|| Ok(Vec::new()), read)?;
    found.evidence.userspace = read("tpm2-measure.log")?;
    Ok(found)
}

impl Found {
    const fn bare(evidence: Evidence) -> Self {
        Self { evidence, certificates: Vec::new() }
    }
}

/// Reads a file that is evidence by itself.
pub fn of_file(bytes: &[u8]) -> Result<Found> {
    match bytes.trim_ascii_start() {
        _ if bytes.starts_with(b"HCLA") => azure::report(bytes).map(Found::bare),
        _ if bytes.len() == SIZE => Ok(alone(bytes.to_vec())),
        [b'{', ..] => service::evidence(bytes),
        [0x30, 0x82, ..] => of_certificate(bytes),
        _ if pem::is_pem(bytes) => of_certificate(&pem::der(bytes)?),
        _ => bail!(
            "this is neither Azure's attestation report, nor JSON, nor a certificate, nor a report of {SIZE} bytes"
        ),
    }
}

/// A certificate and the report that it carries.
fn of_certificate(der: &[u8]) -> Result<Found> {
    let mut evidence = Evidence { kind: Kind::Certificate, ek_certificate: der.to_vec(), ..Evidence::default() };
    let certificates = carried(&mut evidence)?.context("the certificate carries no report (id-pe-cmw)")?;
    Ok(Found { evidence, certificates })
}

/// Takes statement and report from the certificate, if it carries them; gives the certificates that it carries, too.
fn carried(evidence: &mut Evidence) -> Result<Option<Vec<Vec<u8>>>> {
    let certificate = Certificate::from_der(first(&evidence.ek_certificate)?).context("the certificate")?;
    let Some(Carried { statement, report, endorsement }) = Carried::of(&certificate)? else { return Ok(None) };
    (evidence.statement, evidence.report) = (statement, report);
    // Of those above it, which NV Indices hold, its own issuers are none of AMD's.
    let chain = all(&evidence.ek_chain)?;
    let issuers = issuers_of(&certificate, &chain);
    let is_above = |der: &&[u8]| Certificate::from_der(der).is_ok_and(|one| matches!(Carried::of(&one), Ok(None)));
    let above = chain.iter().filter(|der| is_above(der) && !issuers.contains(der)).map(|der| der.to_vec());
    Ok(Some(endorsement.into_iter().chain(above).collect()))
}

/// Those of `chain` that lead up from the certificate, as far as names tell.
fn issuers_of<'a>(certificate: &Certificate, chain: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut found: Vec<&[u8]> = Vec::new();
    let mut name = certificate.tbs_certificate.issuer.clone();
    while let Some((der, issuer)) = chain.iter().find_map(|der| {
        let one = Certificate::from_der(der).ok()?.tbs_certificate;
        (one.subject == name && !found.contains(der)).then_some((*der, one.issuer))
    }) {
        found.push(der);
        name = issuer;
    }
    found
}

/// Where a TPM's evidence has no report, takes the one that the EK's certificate carries, if it does. `others` are
/// certificates that the verifier brings.
pub fn carry(evidence: &mut Evidence, others: &[Vec<u8>]) -> Result<()> {
    if !evidence.report.is_empty() || evidence.ek_certificate.is_empty() {
        return Ok(());
    }
    let Some(mut found) = carried(evidence)? else { return Ok(()) };
    found.extend_from_slice(others);
    certificates::complete(evidence, &found)
}

/// The statement is no file of its own: it is in the EK's certificate, if the report is.
fn restore_statement(evidence: &mut Evidence) {
    let mut other = Evidence { ek_certificate: evidence.ek_certificate.clone(), ..Evidence::default() };
    if carried(&mut other).is_ok_and(|found| found.is_some()) && other.report == evidence.report {
        evidence.statement = other.statement;
    }
}

/// A report without anything else.
fn alone(report: Vec<u8>) -> Found {
    Found::bare(Evidence { kind: Kind::Report, report, ..Evidence::default() })
}

/// All certificates that lie in a folder by one of the usual names.
fn certificates_in(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for name in ["ark", "ask", "asvk", "vcek", "vlek", "chain"] {
        for ending in ["der", "pem"] {
            let path = folder.join(format!("{name}.{ending}"));
            if path.is_file() {
                found.extend(
                    certificates::of_file(&read_file(&path, MOST)?).with_context(|| path.display().to_string())?,
                );
            }
        }
    }
    let metadata = folder.join("certification.json");
    if metadata.is_file() {
        found.extend(azure::certification(&read_file(&metadata, MOST)?)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
