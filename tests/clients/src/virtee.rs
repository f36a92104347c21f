//! virtee's crate sev, called as its users do, on a firmware's report and the host's certificates.

use crate::place::Tpm;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use sev::certs::snp::{Certificate, Chain, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use std::path::Path;

/// MEASUREMENT, REPORT_DATA, REPORTED_TCB, the signature.
const CHANGED: [usize; 4] = [0x90, 0x50, 0x180, 0x2A0];

fn chain(folder: &Path) -> Result<Chain> {
    let certificate = |name: &str| -> Result<Certificate> {
        Certificate::from_der(&fs::read(folder.join(name))?).with_context(|| name.to_owned())
    };
    Ok(Chain::from((certificate("ask.der")?, certificate("ark.der")?, certificate("vcek.der")?)))
}

fn verify(chain: &Chain, report: &[u8]) -> Result<()> {
    let report = AttestationReport::from_bytes(report)?;
    (chain, &report).verify().context("the report is refused")
}

/// The chain leads to its root, and the report to the chain.
pub fn verifies(tpm: &Tpm<'_>) -> Result<()> {
    let folder = tpm.folder.join("evidence");
    let chain = chain(&folder)?;
    (&chain).verify().context("the chain is refused")?;
    verify(&chain, &fs::read(folder.join("report.bin"))?)
}

/// One bit of a field is another.
pub fn refuses(tpm: &Tpm<'_>) -> Result<()> {
    let folder = tpm.folder.join("evidence");
    let (chain, report) = (chain(&folder)?, fs::read(folder.join("report.bin"))?);
    for at in CHANGED {
        let mut other = report.clone();
        other[at] ^= 1;
        ensure!(verify(&chain, &other).is_err(), "accepted with another octet at {at:#x}");
    }
    Ok(())
}
