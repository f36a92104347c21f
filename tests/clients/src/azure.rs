//! What Azure's tools for guest attestation make of the report in NV Index 0x01400001. No package registry has them, so
//! this is a reader of ours by their rules, and not a run of theirs; each rule has its place in their sources:
//!
//! - Azure/cvm-attestation-tools, `cvm-attestation/src/report_parser.py`: offsets and types
//! - the same, `src/attestation_client.py` and `src/tpm_wrapper.py`: user data, claims, what is sent on
//! - Azure/confidential-computing-cvm-guest-attestation, `client-library/src/external/SnpVmReport/SnpVmReport.h` and
//!   `AttestationClient/lib/HclReportParser.cpp`: the structure
//! - the same, `azure-protected-vm-secrets/HclReportParser.cpp`: REPORT_DATA

use crate::place::Tpm;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What a script has read before.
pub const FILE: &str = "report.bin";

// `report_parser.py`: HW_REPORT_START, HW_REPORT_END, HCL_REPORT_TYPE_OFFSET_START, RUNTIME_DATA_SIZE_OFFSET,
// RUNTIME_DATA_OFFSET, REPORT_TYPE.
const REPORT: core::ops::Range<usize> = 32..1216;
const TYPE: usize = 1224;
const CLAIMS_SIZE: usize = 1232;
const CLAIMS: usize = 1236;
const SEV_SNP: u32 = 2;
// `SnpVmReport.h`: ATTESTATION_HEADER, IGVM_REQUEST_DATA, IGVM_HASH_TYPE.
const SIGNATURE: u32 = 0x414C_4348;
const DATA_SIZE: usize = 1216;
const DATA_VERSION: usize = 1220;
const HASH: usize = 1228;
const SHA_256: u32 = 1;
/// REPORT_DATA, in the report.
const REPORT_DATA: core::ops::Range<usize> = 0x50..0x90;

/// `report_parser.py`, then what the tools' client does with the parts.
pub fn tools(tpm: &Tpm<'_>) -> Result<()> {
    let blob = fs::read(tpm.folder.join(FILE))?;
    let (report, claims) = parsed(&blob)?;
    ensure!(report.len() == 1184 && word(report, 0)? >= 2, "no report of SEV-SNP");
    let claims: Value = serde_json::from_slice(claims).context("the claims are no JSON")?;
    ensure!(claims["vm-configuration"]["tpm-enabled"] == true, "vm-configuration.tpm-enabled");
    for kid in ["HCLAkPub", "HCLEkPub"] {
        let keys = claims["keys"].as_array().context("keys")?;
        ensure!(keys.iter().any(|key| key["kid"] == kid && key["kty"] == "RSA"), "no key {kid}");
    }
    let data = claims["user-data"].as_str().context("user-data")?;
    ensure!(data.len() == 128 && data.bytes().all(|digit| digit.is_ascii_hexdigit()), "user-data: {data}");
    let mut other = blob;
    other[TYPE] = 4;
    ensure!(parsed(&other).is_err(), "another type is taken for SEV-SNP");
    Ok(())
}

fn parsed(blob: &[u8]) -> Result<(&[u8], &[u8])> {
    ensure!(word(blob, TYPE)? == SEV_SNP, "type {}", word(blob, TYPE)?);
    let size = usize::try_from(word(blob, CLAIMS_SIZE)?)?;
    let claims = blob.get(CLAIMS..).and_then(|rest| rest.get(..size)).context("the claims are cut off")?;
    Ok((blob.get(REPORT).context("the report is cut off")?, claims))
}

/// The structure of `SnpVmReport.h`, and REPORT_DATA by `IsValidHclReport`.
pub fn library(tpm: &Tpm<'_>) -> Result<()> {
    let blob = fs::read(tpm.folder.join(FILE))?;
    ensure!(word(&blob, 0)? == SIGNATURE, "ATTESTATION_HEADER.Signature");
    let (size, data) = (word(&blob, 8)?, word(&blob, DATA_SIZE)?);
    ensure!(usize::try_from(size)? == DATA_SIZE + usize::try_from(data)?, "ReportSize {size}, DataSize {data}");
    ensure!(word(&blob, DATA_VERSION)? == 1, "IGVM_REQUEST_DATA.Version");
    ensure!(word(&blob, HASH)? == SHA_256, "ReportDataHashType");
    ensure!(is_valid(&blob)?, "REPORT_DATA is not the claims' hash");
    let mut other = blob;
    other[CLAIMS + 10] ^= 1;
    ensure!(!is_valid(&other)?, "other claims are taken");
    Ok(())
}

fn is_valid(blob: &[u8]) -> Result<bool> {
    let (report, claims) = parsed(blob)?;
    let data = report.get(REPORT_DATA).context("REPORT_DATA")?;
    Ok(data.starts_with(&Sha256::digest(claims)))
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let octets = bytes.get(at..at + 4).with_context(|| format!("cut off at {at}"))?;
    Ok(u32::from_le_bytes(octets.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::{CLAIMS, CLAIMS_SIZE, DATA_SIZE, HASH, TYPE, is_valid, parsed};
    use sha2::{Digest, Sha256};

    fn blob(claims: &[u8]) -> Vec<u8> {
        let mut blob = vec![0; 2900];
        let size = u32::try_from(claims.len()).unwrap();
        for (at, word) in [(DATA_SIZE, size + 20), (TYPE, 2), (HASH, 1), (CLAIMS_SIZE, size)] {
            blob[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        blob[32 + 0x50..][..32].copy_from_slice(&Sha256::digest(claims));
        blob[CLAIMS..CLAIMS + claims.len()].copy_from_slice(claims);
        blob
    }

    #[test]
    fn report_data_is_over_the_claims_and_nothing_behind_them() {
        let good = blob(b"{}");
        assert!(is_valid(&good).unwrap() && parsed(&good).unwrap().1 == b"{}");
        let mut behind = good.clone();
        behind[CLAIMS + 2] = 1;
        assert!(is_valid(&behind).unwrap());
        behind[CLAIMS + 1] = b' ';
        assert!(!is_valid(&behind).unwrap());
    }

    #[test]
    fn another_type_and_a_size_beyond_the_end_are_refused() {
        for (at, value) in [(TYPE, 3), (CLAIMS_SIZE + 2, 1)] {
            let mut other = blob(b"{}");
            other[at] = value;
            assert!(parsed(&other).is_err());
        }
        assert!(parsed(&[0; 1235]).is_err());
    }
}
