//! The attestation report: SEV-SNP firmware ABI (56860), table "ATTESTATION_REPORT".

use super::{Case, chain, ensure_equal, signature};
use crate::chip::Tcb;
use crate::digest::hex;
use crate::evidence::boot_log::BootLog;
use anyhow::{Context, Result, ensure};
use sev::certs::snp::{Certificate, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use sha2::{Digest, Sha512};

/// Bytes of a report.
const SIZE: usize = 0x4A0;
/// What is signed.
const SIGNED: usize = 0x2A0;
/// Bytes of R, and of S, in the report, of which P-384 fills the first 48, little-endian.
const COMPONENT: usize = 72;
const SCALAR: usize = 48;

/// ECDSA P-384 with SHA-384.
const SIGNATURE_ALGORITHM: u32 = 1;
/// DEBUG and MIGRATE_MA of the guest policy.
const POLICY_WEAK: u64 = 1 << 19 | 1 << 18;
/// Bit 17 of the policy must be one.
const POLICY_MUST_BE_ONE: u64 = 1 << 17;

/// Length, version, algorithm; what stands behind the signature is zero, as is what P-384 does not fill.
pub(super) fn format(case: &Case<'_>) -> Result<String> {
    let report = &case.evidence.report;
    ensure!(report.len() == SIZE, "{} bytes, not {SIZE}", report.len());
    let version = u32_at(report, 0)?;
    ensure!((3..=5).contains(&version), "version {version}, not one of 3 to 5");
    let algorithm = u32_at(report, 0x34)?;
    ensure!(algorithm == SIGNATURE_ALGORITHM, "signature algorithm {algorithm}, not ECDSA P-384");
    let signature = &report[SIGNED..];
    let unused = [&signature[SCALAR..COMPONENT], &signature[COMPONENT + SCALAR..]];
    ensure!(unused.iter().all(|bytes| bytes.iter().all(|byte| *byte == 0)), "bytes around the signature are not zero");
    AttestationReport::from_bytes(report.as_slice()).context("the sev crate cannot read it")?;
    Ok(format!("version {version}"))
}

/// The VCEK has signed it: by the `sev` crate, and over the raw bytes.
pub(super) fn signature(case: &Case<'_>) -> Result<String> {
    let report = &case.evidence.report;
    let parsed = AttestationReport::from_bytes(report.as_slice())?;
    let vcek = Certificate::from_der(&case.evidence.vcek)?;
    (&vcek, &parsed).verify().context("the sev crate refuses it")?;
    let component = |at: usize| report[at..at + SCALAR].iter().rev().copied().collect::<Vec<u8>>();
    let rs = [component(SIGNED), component(SIGNED + COMPONENT)].concat();
    signature::ecdsa_p384(&chain::vcek_point(case)?, &report[..SIGNED], &rs)?;
    Ok(String::from("by the VCEK"))
}

/// It was asked for at VMPL 0: by the firmware, not by the operating system.
pub(super) fn vmpl(case: &Case<'_>) -> Result<String> {
    let vmpl = u32_at(&case.evidence.report, 0x30)?;
    ensure!(vmpl == 0, "the report was asked for at VMPL {vmpl}");
    Ok(String::from("asked for by the firmware"))
}

/// The policy is the expected one, or at least allows neither debugging nor a migration agent.
pub(super) fn policy(case: &Case<'_>) -> Result<String> {
    let policy = u64::from_le_bytes(case.evidence.report[8..16].try_into()?);
    if let Some(expected) = case.expectations.policy {
        ensure!(policy == expected, "{policy:#x}, expected {expected:#x}");
    }
    ensure!(policy & POLICY_MUST_BE_ONE != 0, "{policy:#x}: bit 17 must be one");
    ensure!(policy & POLICY_WEAK == 0, "{policy:#x} allows debugging or a migration agent");
    Ok(format!("{policy:#x}"))
}

/// No level of the reported TCB is above the committed one's, and none of that above the current one's.
pub(super) fn tcb(case: &Case<'_>) -> Result<String> {
    let at = |at: usize| Ok::<_, anyhow::Error>(Tcb::from_bytes(case.evidence.report[at..at + 8].try_into()?));
    let (reported, committed, current) = (at(0x180)?, at(0x1E0)?, at(0x38)?);
    ensure!(at_most(reported, committed), "reported ({reported}) is above committed ({committed})");
    ensure!(at_most(committed, current), "committed ({committed}) is above current ({current})");
    Ok(reported.to_string())
}

fn at_most(low: Tcb, high: Tcb) -> bool {
    low.to_bytes().iter().zip(high.to_bytes()).all(|(low, high)| *low <= high)
}

/// MEASUREMENT is the digest that the verifier expects, and the one that the collector did.
pub(super) fn measurement(case: &Case<'_>) -> Result<String> {
    let measured = &case.evidence.report[0x90..0xC0];
    ensure_equal("the measurement that the collector expected", &case.evidence.measurement, measured)?;
    match &case.expectations.measurement {
        Some(expected) => {
            ensure_equal("the measurement", measured, expected).map_err(|error| explained(error, case))?;
            Ok(hex(measured))
        }
        None => Ok(format!("{} (the collector's word: bring --igvm or --measurement)", hex(measured))),
    }
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

/// REPORT_DATA = SHA-512(nonce ‖ manifest) (SVSM specification, attestation protocol).
pub(super) fn report_data(case: &Case<'_>) -> Result<String> {
    let nonce = &case.evidence.nonce;
    ensure!(nonce.len() == 64, "a nonce of {} bytes, not 64", nonce.len());
    let expected = Sha512::new().chain_update(nonce).chain_update(&case.evidence.manifest).finalize();
    ensure_equal("REPORT_DATA", &case.evidence.report[0x50..0x90], &expected)?;
    Ok(String::from("SHA-512(nonce, EK)"))
}

fn u32_at(report: &[u8], at: usize) -> Result<u32> {
    let bytes = report.get(at..at + 4).context("the report is too short")?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}
