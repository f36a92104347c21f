//! Evidence in JSON, as verifier services take it:
//!
//! - Confidential Containers' trustee, verifier `az-snp-vtpm`: its version 0 (numbers), and 1 and 2 (hexadecimal and
//!   base64)
//! - the same, verifier `snp`: the report's fields, and certificates
//! - Azure Attestation, request `AttestSevSnpVm`: report and certificates in JSON in base64url, and runtime data
//!
//! What a service gives the nonce by other ways, is missing in each: the verifier brings it.

use super::{Found, azure, certificates};
use crate::evidence::folder::{Evidence, Kind};
use crate::pem;
use crate::policy::hex_bytes;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
/// PCRs that a quote of trustee's is about.
const PCRS: usize = 24;

/// Reads JSON of any of those forms.
pub fn evidence(json: &[u8]) -> Result<Found> {
    let value: Value = serde_json::from_slice(json).context("JSON")?;
    let has = |key: &str| value.get(key).is_some();
    if has("hcl_report") {
        vtpm(serde_json::from_value(value)?)
    } else if has("attestation_report") {
        snp(serde_json::from_value(value)?)
    } else if has("quote") && has("report") {
        numbers(serde_json::from_value(value)?)
    } else if has("report") && has("runtimeData") {
        azure_attestation(serde_json::from_value(value)?)
    } else {
        bail!("JSON of no verifier service that is known here")
    }
}

/// Base64 with either alphabet, with or without padding.
fn base64(text: &str) -> Result<Vec<u8>> {
    Ok(URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text))?)
}

/// Trustee's `az-snp-vtpm`, versions 1 and 2.
#[derive(Deserialize)]
struct Vtpm {
    hcl_report: String,
    tpm_quote: VtpmQuote,
    vcek: String,
}

#[derive(Deserialize)]
struct VtpmQuote {
    message: String,
    signature: String,
    pcrs: Vec<String>,
}

fn vtpm(json: Vtpm) -> Result<Found> {
    let mut evidence = azure::report(&base64(&json.hcl_report).context("hcl_report")?)?;
    let pcrs = json.tpm_quote.pcrs.iter().map(|pcr| hex_bytes(pcr)).collect::<Result<Vec<_>>>().context("pcrs")?;
    evidence.quote = hex_bytes(&json.tpm_quote.message).context("message")?;
    evidence.quote_signature = azure::signature(hex_bytes(&json.tpm_quote.signature).context("signature")?);
    quoted(&mut evidence, &pcrs)?;
    Ok(Found { evidence, certificates: vec![base64(&json.vcek).context("vcek")?] })
}

fn quoted(evidence: &mut Evidence, pcrs: &[Vec<u8>]) -> Result<()> {
    ensure!(pcrs.len() == PCRS && pcrs.iter().all(|pcr| pcr.len() == 32), "not 24 PCRs of 32 bytes");
    evidence.pcrs = pcrs.concat();
    Ok(())
}

/// Trustee's `az-snp-vtpm`, version 0.
#[derive(Deserialize)]
struct Numbers {
    report: Vec<u8>,
    quote: NumbersQuote,
    vcek: String,
}

#[derive(Deserialize)]
struct NumbersQuote {
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<Vec<u8>>,
}

fn numbers(json: Numbers) -> Result<Found> {
    let mut evidence = azure::report(&json.report)?;
    evidence.quote = json.quote.message;
    evidence.quote_signature = azure::signature(json.quote.signature);
    quoted(&mut evidence, &json.quote.pcrs)?;
    Ok(Found { evidence, certificates: vec![pem::der(json.vcek.as_bytes()).context("vcek")?] })
}

/// Trustee's `snp`.
#[derive(Deserialize)]
struct Snp {
    attestation_report: AttestationReport,
    #[serde(default)]
    cert_chain: Option<Vec<Entry>>,
}

/// A certificate and its kind, which is seen at the certificate.
#[derive(Deserialize)]
struct Entry {
    data: Vec<u8>,
}

fn snp(json: Snp) -> Result<Found> {
    let report = json.attestation_report.to_bytes().context("attestation_report")?.to_vec();
    let evidence = Evidence { kind: Kind::Report, report, ..Evidence::default() };
    let certificates = json.cert_chain.unwrap_or_default();
    let certificates = certificates.iter().map(|entry| pem::der(&entry.data)).collect::<Result<_>>()?;
    Ok(Found { evidence, certificates })
}

/// Azure Attestation's request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureAttestation {
    report: String,
    runtime_data: RuntimeData,
}

#[derive(Deserialize)]
struct RuntimeData {
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AzureReport {
    snp_report: String,
    vcek_cert_chain: String,
}

fn azure_attestation(json: AzureAttestation) -> Result<Found> {
    let AzureReport { snp_report, vcek_cert_chain } =
        serde_json::from_slice(&base64(&json.report).context("report")?).context("report")?;
    let evidence = Evidence {
        kind: Kind::Azure,
        report: base64(&snp_report).context("SnpReport")?,
        claims: base64(&json.runtime_data.data).context("runtimeData")?,
        ..Evidence::default()
    };
    let chain = base64(&vcek_cert_chain).context("VcekCertChain")?;
    Ok(Found { evidence, certificates: certificates::of_file(&chain)? })
}

#[cfg(test)]
mod tests {
    use super::{STANDARD, URL_SAFE, evidence};
    use crate::digest::hex;
    use crate::evidence::folder::{Evidence, Kind};
    use crate::input::Found;
    use crate::input::azure::tests::blob;
    use crate::input::certificates::complete;
    use crate::judge::Expectations;
    use crate::judge::tests::twin::{Twin, expectations};
    use crate::verdict::Verdict;
    use base64::Engine;
    use serde_json::json;
    use sev::firmware::guest::AttestationReport;
    use sev::parser::ByteParser;

    fn bare(signature: &[u8]) -> &[u8] {
        &signature[6..]
    }

    /// What is read is what was written, and is judged so.
    fn is_as(original: &Evidence, json: &serde_json::Value, quoted: bool) {
        let Found { evidence: mut read, mut certificates } = evidence(json.to_string().as_bytes()).unwrap();
        let Evidence { ark, ask, nonce, quote_nonce, .. } = original.clone();
        // A service has the roots and the nonces.
        certificates.extend([ark, ask]);
        complete(&mut read, &certificates).unwrap();
        (read.nonce, read.quote_nonce) = (nonce, quote_nonce);
        let mut wanted = original.clone();
        if !quoted {
            let Evidence { quote, quote_signature, pcrs, .. } = &mut wanted;
            [quote, quote_signature, pcrs].into_iter().for_each(Vec::clear);
        }
        assert_eq!(read, wanted);
        let nonce = (!quoted && read.kind == Kind::Azure).then(|| vec![0x17; 64]);
        assert_eq!(Verdict::of(&read, &Expectations { nonce, ..expectations() }).status(), 0);
    }

    #[test]
    fn trustees_evidence_of_an_azure_vtpm_is_read() {
        let twin = Twin::new().azure();
        let pcrs: Vec<&[u8]> = twin.pcrs.chunks(32).collect();
        let text: Vec<String> = pcrs.iter().map(|pcr| hex(pcr)).collect();
        let quote = json!({ "message": hex(&twin.quote), "signature": hex(bare(&twin.quote_signature)), "pcrs": text });
        let vcek = URL_SAFE.encode(&twin.vcek);
        is_as(
            &twin,
            &json!({ "version": 2, "hcl_report": URL_SAFE.encode(blob(&twin)), "tpm_quote": quote, "vcek": vcek }),
            true,
        );
        let vcek = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            wrapped(&STANDARD.encode(&twin.vcek))
        );
        let quote = json!({ "message": twin.quote, "signature": bare(&twin.quote_signature), "pcrs": pcrs });
        is_as(&twin, &json!({ "report": blob(&twin), "quote": quote, "vcek": vcek }), true);
    }

    fn wrapped(text: &str) -> String {
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn trustees_evidence_of_a_report_is_read() {
        let twin = Twin::new().report_alone();
        let report = AttestationReport::from_bytes(twin.report.as_slice()).unwrap();
        let entry = json!({ "cert_type": "VCEK", "data": twin.vcek });
        is_as(&twin, &json!({ "attestation_report": report, "cert_chain": [entry] }), false);
    }

    #[test]
    fn a_request_to_azure_attestation_is_read() {
        let twin = Twin::new().azure();
        assert_eq!(twin.kind, Kind::Azure);
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            wrapped(&STANDARD.encode(&twin.vcek))
        );
        let report = json!({ "SnpReport": URL_SAFE.encode(&twin.report), "VcekCertChain": URL_SAFE.encode(pem) });
        let data = json!({ "data": URL_SAFE.encode(&twin.claims), "dataType": "JSON" });
        is_as(&twin, &json!({ "report": URL_SAFE.encode(report.to_string()), "runtimeData": data }), false);
    }

    #[test]
    fn other_json_is_refused() {
        for text in ["{}", "{", "[]", r#"{"hcl_report":1}"#, r#"{"report":"e30","runtimeData":{"data":""}}"#] {
            assert!(evidence(text.as_bytes()).is_err(), "{text}");
        }
    }
}
