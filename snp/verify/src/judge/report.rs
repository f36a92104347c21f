//! The attestation report: SEV-SNP firmware ABI (56860), table "ATTESTATION_REPORT".

use super::{Case, chain, ensure_equal, signature};
use crate::chip::Generation;
use crate::digest::hex;
use crate::evidence::boot_log::{BootLog, OfImage};
use crate::evidence::carried;
use crate::evidence::claims::Claims;
use crate::evidence::folder::Kind;
use crate::evidence::report::{Report, SIGNED, VERSIONS};
use crate::evidence::{manifest, services};
use anyhow::{Context, Result, bail, ensure};
use sev::certs::snp::{Certificate, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use sha2::{Digest, Sha256, Sha512};
use x509_cert::Certificate as X509;

/// Bytes of R, and of S, in the report, of which P-384 fills the first 48, little-endian.
const COMPONENT: usize = 72;
const SCALAR: usize = 48;

/// ECDSA P-384 with SHA-384.
const SIGNATURE_ALGORITHM: u32 = 1;
/// DEBUG and MIGRATE_MA of the guest policy.
const POLICY_WEAK: u64 = 1 << 19 | 1 << 18;
/// Bit 17 of the policy must be one.
const POLICY_MUST_BE_ONE: u64 = 1 << 17;

/// Length, version, algorithm; what stands behind the signature is zero, as is what P-384 does not fill, and what the
/// version reserves.
pub(super) fn format(case: &Case<'_>) -> Result<String> {
    let report = case.report()?;
    let version = report.version();
    ensure!(VERSIONS.contains(&version), "version {version}, not one of 2 to 5");
    let algorithm = report.signature_algorithm();
    ensure!(algorithm == SIGNATURE_ALGORITHM, "signature algorithm {algorithm}, not ECDSA P-384");
    let signature = &report.bytes()[SIGNED..];
    let unused = [&signature[SCALAR..COMPONENT], &signature[COMPONENT + SCALAR..]];
    ensure!(unused.iter().all(|bytes| bytes.iter().all(|byte| *byte == 0)), "bytes around the signature are not zero");
    ensure!(report.reserved().all(|byte| byte == 0), "bytes that version {version} reserves are not zero");
    AttestationReport::from_bytes(report.bytes().as_slice()).context("the sev crate cannot read it")?;
    Ok(format!("version {version}"))
}

/// The endorsement key has signed it: by the `sev` crate, and over the raw bytes.
pub(super) fn signature(case: &Case<'_>) -> Result<String> {
    let report = case.report()?.bytes();
    let parsed = AttestationReport::from_bytes(report.as_slice())?;
    let leaf = Certificate::from_der(&case.evidence.vcek)?;
    (&leaf, &parsed).verify().context("the sev crate refuses it")?;
    signed_with(&case.report()?, &chain::endorsement_point(case)?)?;
    Ok(String::from("by the endorsement key"))
}

/// The key, an uncompressed point of P-384, has signed the report's bytes.
fn signed_with(report: &Report<'_>, point: &[u8]) -> Result<()> {
    let report = report.bytes();
    let component = |at: usize| report[at..at + SCALAR].iter().rev().copied().collect::<Vec<u8>>();
    let rs = [component(SIGNED), component(SIGNED + COMPONENT)].concat();
    signature::ecdsa_p384(point, &report[..SIGNED], &rs)
}

/// The key of this certificate has signed the report.
pub(crate) fn is_signed_by(report: &[u8], certificate: &X509) -> bool {
    let verdict = Report::new(report).and_then(|report| signed_with(&report, &chain::point_of(certificate)?));
    verdict.is_ok()
}

/// It was asked for at VMPL 0: by the firmware, not by the operating system. Where there is no TPM, a policy file can
/// say otherwise.
pub(super) fn vmpl(case: &Case<'_>) -> Result<String> {
    let vmpl = case.report()?.vmpl();
    let other =
        case.policy().report.vmpl.filter(|_| case.evidence.kind == Kind::Report && case.evidence.manifest.is_empty());
    let wanted = other.unwrap_or_default();
    ensure!(vmpl == wanted, "the report was asked for at VMPL {vmpl}, expected {wanted}");
    Ok(if vmpl == 0 { String::from("asked for by the firmware") } else { format!("asked for at VMPL {vmpl}") })
}

/// The policy is the expected one, or at least allows neither debugging nor a migration agent.
pub(super) fn policy(case: &Case<'_>) -> Result<String> {
    let policy = case.report()?.policy();
    if let Some(expected) = case.expectations.policy {
        ensure!(policy == expected, "{policy:#x}, expected {expected:#x}");
    }
    ensure!(policy & POLICY_MUST_BE_ONE != 0, "{policy:#x}: bit 17 must be one");
    ensure!(policy & POLICY_WEAK == 0, "{policy:#x} allows debugging or a migration agent");
    Ok(format!("{policy:#x}"))
}

/// No level of the reported TCB is above the committed one's, and none of that above the current one's. That holds
/// byte by byte, whatever the layout.
pub(super) fn tcb(case: &Case<'_>) -> Result<String> {
    tcb_of(&case.report()?, chain::generation(case)?)
}

/// The same of a report whose processor is known.
pub(super) fn tcb_of(report: &Report<'_>, generation: Generation) -> Result<String> {
    let [reported, committed, current] = [report.reported_tcb(), report.committed_tcb(), report.current_tcb()];
    let levels = |bytes| crate::chip::Levels::read(bytes, generation);
    ensure!(at_most(reported, committed), "reported ({}) is above committed ({})", levels(reported), levels(committed));
    ensure!(at_most(committed, current), "committed ({}) is above current ({})", levels(committed), levels(current));
    Ok(levels(reported).to_string())
}

fn at_most(low: [u8; 8], high: [u8; 8]) -> bool {
    low.iter().zip(high).all(|(low, high)| *low <= high)
}

/// MEASUREMENT is a digest that the verifier expects, and the one that the collector did.
pub(super) fn measurement(case: &Case<'_>) -> Result<String> {
    ensure!(!case.evidence.report.is_empty(), "a launch digest is expected, and there is no report");
    let measured = case.report()?.measurement();
    if case.evidence.kind == Kind::Quoin {
        ensure_equal("the measurement that the collector expected", &case.evidence.measurement, &measured)?;
    }
    if let Some(expected) = &case.expectations.measurement {
        ensure_equal("the measurement", &measured, expected).map_err(|error| explained(error, case))?;
    }
    let rules = &case.expectations.rules;
    if rules.has_reference() {
        let digest = rules.policy.launch.digests.iter().any(|digest| digest.0 == measured);
        let count = rules.policy.launch.digests.len() + rules.images.len();
        if !digest && !rules.images.iter().any(|image| image.launch.digest == measured) {
            let found = hex(&measured);
            bail!("launch: the measurement is {found}, none of the {count} that the policy names");
        }
    }
    if case.expectations.has_reference() {
        Ok(hex(&measured))
    } else {
        Ok(format!("{} (the collector's word: bring --igvm or --measurement)", hex(&measured)))
    }
}

/// What the expected image measures: that of the verifier's, or that of the policy's images that was launched.
pub(super) fn expected_events<'a>(case: &Case<'a>) -> Result<Option<&'a OfImage>> {
    if case.evidence.report.is_empty() {
        return Ok(case.expectations.boot_events.as_ref());
    }
    let measured = Report::new(&case.evidence.report)?.measurement();
    let of_policy = || case.expectations.rules.images.iter().find(|image| image.launch.digest == measured);
    Ok(case.expectations.boot_events.as_ref().or_else(|| of_policy().map(|image| &image.events)))
}

/// Another launch digest is an answer; that of the boot log is why. It is no evidence here, since what comes before it
/// has failed.
fn explained(error: anyhow::Error, case: &Case<'_>) -> anyhow::Error {
    let Some(expected) = &case.expectations.boot_events else { return error };
    if case.evidence.boot_events.is_empty() {
        return error;
    }
    match BootLog::parse(&case.evidence.boot_events).and_then(|log| log.check_expected(expected)) {
        Ok(()) => error,
        Err(why) => anyhow::anyhow!("{error:#}; by the boot log: {why:#}"),
    }
}

/// What REPORT_DATA binds, by the kind of evidence.
pub(super) fn report_data(case: &Case<'_>) -> Result<String> {
    let found = case.report()?.report_data();
    match case.evidence.kind {
        Kind::Certificate => of_statement(case, found),
        Kind::Tpm if !case.evidence.statement.is_empty() => of_statement(case, found),
        Kind::Quoin | Kind::Tpm => of_manifest(case, found),
        Kind::Report if !case.evidence.manifest.is_empty() => of_manifest(case, found),
        Kind::Report => of_nonce(case, found),
        Kind::Azure => of_claims(case, found),
    }
}

/// The nonce that is in the evidence, or that the verifier has brought, which must then be the same.
fn nonce<'a>(case: &Case<'a>) -> Result<&'a [u8]> {
    let brought = case.expectations.nonce.as_ref();
    let found = &case.evidence.nonce;
    let brought = brought.filter(|_| case.evidence.kind == Kind::Quoin || !found.is_empty());
    if let Some(brought) = brought {
        ensure_equal("the nonce in the evidence", found, brought)?;
        return Ok(found);
    }
    Ok(case.expectations.nonce.as_deref().unwrap_or(found))
}

/// REPORT_DATA = SHA-512(nonce ‖ manifest) (SVSM specification, attestation protocol).
fn of_manifest(case: &Case<'_>, found: [u8; 64]) -> Result<String> {
    let nonce = nonce(case)?;
    ensure!(nonce.len() == 64, "a nonce of {} bytes, not 64", nonce.len());
    let expected = Sha512::new().chain_update(nonce).chain_update(&case.evidence.manifest).finalize();
    ensure_equal("REPORT_DATA", &found, &expected)?;
    Ok(String::from(match &case.evidence.manifest {
        all if services::is_all(all) => "SHA-512(nonce, all services)",
        keys if manifest::is_list(keys) => "SHA-512(nonce, EKs and AKs)",
        _ => "SHA-512(nonce, EK)",
    }))
}

/// REPORT_DATA = SHA-512(statement), which names the issuer of certificates.
fn of_statement(case: &Case<'_>, found: [u8; 64]) -> Result<String> {
    let statement = &case.evidence.statement;
    carried::issuer(statement)?;
    ensure!(
        case.expectations.nonce.is_none(),
        "a nonce is expected, and a certificate answers none: its report is over the key that has issued it"
    );
    ensure_equal("REPORT_DATA", &found, &Sha512::digest(statement))?;
    Ok(String::from("SHA-512(the key that has issued the certificate)"))
}

/// REPORT_DATA is the nonce, followed by zeros.
fn of_nonce(case: &Case<'_>, found: [u8; 64]) -> Result<String> {
    let nonce = nonce(case)?;
    ensure!((1..=64).contains(&nonce.len()), "a nonce of {} bytes, not 1 to 64", nonce.len());
    let mut expected = [0; 64];
    expected[..nonce.len()].copy_from_slice(nonce);
    ensure_equal("REPORT_DATA", &found, &expected)?;
    Ok(String::from("the nonce"))
}

/// REPORT_DATA = SHA-256(claims), followed by zeros; a nonce of the verifier's is the claims' user data.
fn of_claims(case: &Case<'_>, found: [u8; 64]) -> Result<String> {
    let mut expected = [0; 64];
    expected[..32].copy_from_slice(&Sha256::digest(&case.evidence.claims));
    ensure_equal("REPORT_DATA", &found, &expected)?;
    let claims = Claims::parse(&case.evidence.claims)?;
    if let Some(nonce) = &case.expectations.nonce {
        let mut wanted = nonce.clone();
        ensure!(wanted.len() <= 64, "a nonce of {} bytes, not at most 64", wanted.len());
        wanted.resize(64, 0);
        ensure_equal("the claims' user data", &claims.user_data()?, &wanted)?;
    }
    Ok(String::from("SHA-256(claims with EK and AK)"))
}
