//! Azure's attestation report, as NV index 0x01400001 of its vTPM has it: a header, the hardware's report in an area of
//! fixed size, and the runtime claims. All integers are little-endian; zeros may follow.

use super::certificates;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::report::SIZE;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Bytes before the report.
const HEADER: usize = 32;
/// Where what describes the claims begins, and where they do.
const DESCRIPTION: usize = HEADER + SIZE;
const CLAIMS: usize = DESCRIPTION + 20;
/// The report is one of SEV-SNP.
const SNP: u32 = 2;
/// The claims are hashed with SHA-256.
const SHA256: u32 = 1;

/// Reads the index's contents. Quote, PCRs and certificates are elsewhere.
pub fn report(blob: &[u8]) -> Result<Evidence> {
    let number = |at: usize| {
        let bytes = blob.get(at..at + 4).context("Azure's report ends early")?;
        Ok::<_, anyhow::Error>(u32::from_le_bytes(bytes.try_into()?))
    };
    ensure!(blob.starts_with(b"HCLA"), "Azure's report does not begin with HCLA");
    let version = number(4)?;
    ensure!((1..=2).contains(&version), "Azure's report has version {version}, not 1 or 2");
    let kind = number(DESCRIPTION + 8)?;
    ensure!(kind == SNP, "the hardware's report is of type {kind}, not of SEV-SNP (2)");
    let hash = number(DESCRIPTION + 12)?;
    ensure!(hash == SHA256, "the claims are hashed by algorithm {hash}, not SHA-256 (1)");
    let length = number(DESCRIPTION + 16)? as usize;
    let claims = blob.get(CLAIMS..CLAIMS.saturating_add(length)).context("the claims go beyond the end")?;
    let report = blob.get(HEADER..DESCRIPTION).context("Azure's report ends early")?;
    Ok(Evidence { kind: Kind::Azure, report: report.to_vec(), claims: claims.to_vec(), ..Evidence::default() })
}

/// The signature of a quote as a `TPMT_SIGNATURE`: some write RSASSA's 256 bytes alone.
pub fn signature(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() == 256 { [[0, 0x14, 0, 0x0B, 1, 0].as_slice(), &bytes].concat() } else { bytes }
}

/// What the instance's metadata service answers for `/metadata/THIM/amd/certification`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certification {
    vcek_cert: String,
    #[serde(default)]
    certificate_chain: String,
}

/// The certificates of that answer.
pub fn certification(json: &[u8]) -> Result<Vec<Vec<u8>>> {
    let Certification { vcek_cert, certificate_chain } =
        serde_json::from_slice(json).context("the metadata's certificates")?;
    certificates::of_file(format!("{vcek_cert}\n{certificate_chain}").as_bytes())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{certification, report, signature};
    use crate::evidence::folder::Evidence;
    use crate::evidence::wire::Signature;

    /// As Azure writes it, of 2600 bytes.
    pub(crate) fn blob(evidence: &Evidence) -> Vec<u8> {
        let claims = u32::try_from(evidence.claims.len()).unwrap();
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let header = [b"HCLA".to_vec(), words(&[2, 1236 + claims, 2, 0, 0, 0, 0])].concat();
        let mut blob = [header, evidence.report.clone(), words(&[20 + claims, 1, 2, 1, claims])].concat();
        blob.extend(&evidence.claims);
        blob.resize(2600, 0);
        blob
    }

    #[test]
    fn report_and_claims_are_found_and_nothing_beyond_the_end() {
        let evidence = Evidence { report: vec![7; 0x4A0], claims: b"{}".to_vec(), ..Evidence::default() };
        let blob = blob(&evidence);
        let read = report(&blob).unwrap();
        assert_eq!((read.report, read.claims), (evidence.report, evidence.claims));
        for length in 0..1238 {
            assert!(report(&blob[..length]).is_err(), "{length} bytes");
        }
        for (at, value) in [(0, b'X'), (4, 3), (1224, 4), (1228, 2), (1235, 0x7F)] {
            let mut wrong = blob.clone();
            wrong[at] = value;
            assert!(report(&wrong).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_bare_signature_becomes_a_tpmt_signature() {
        let Signature::Rsassa(bytes) = Signature::parse(&signature(vec![5; 256])).unwrap() else { panic!("RSASSA") };
        assert_eq!(bytes, [5; 256]);
        assert_eq!(signature(vec![1, 2]), [1, 2]);
    }

    #[test]
    fn the_metadatas_certificates_are_read() {
        let one = "-----BEGIN CERTIFICATE-----\\nAQID\\n-----END CERTIFICATE-----\\n";
        let json = format!(r#"{{"vcekCert":"{one}","certificateChain":"{one}{one}","tcbm":"00"}}"#);
        assert_eq!(certification(json.as_bytes()).unwrap().len(), 3);
        assert!(certification(b"{}").is_err());
    }
}
