//! What a certificate of the firmware's carries in its extension id-pe-cmw (RFC 9999): a report over the key that has
//! issued it.
//!
//! A collection in CBOR, label by label a record of media type, value and indicator:
//!
//! | label | is |
//! |---|---|
//! | `issuer` | what REPORT_DATA is the SHA-512 of: words of a fixed length, and the issuer's SubjectPublicKeyInfo |
//! | `report` | the report |
//! | `endorsement` | the certificate of the key that has signed it; may be missing |

use anyhow::{Context, Result, bail, ensure};
use ciborium::Value;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// id-pe-cmw.
const CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.35");
/// With what the statement begins.
pub const WORDS: &[u8; 96] =
    b"Quoin firmware: the key of this boot that issues the certificates of its vTPM's keys, version 1\n";
const REPORT: &str = "application/vnd.amd.sev-snp.attestation-report";
const CERTIFICATE: &str = "application/pkix-cert";

/// The parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What REPORT_DATA is the SHA-512 of.
    pub statement: Vec<u8>,
    /// The report.
    pub report: Vec<u8>,
    /// The VCEK's or VLEK's certificate.
    pub endorsement: Option<Vec<u8>>,
}

impl Carried {
    /// What a certificate carries; `None` if it has no such extension.
    pub fn of(certificate: &Certificate) -> Result<Option<Self>> {
        let extensions = certificate.tbs_certificate.extensions.iter().flatten();
        let mut found = extensions.filter(|extension| extension.extn_id == CMW);
        let Some(extension) = found.next() else { return Ok(None) };
        ensure!(found.next().is_none(), "the certificate has id-pe-cmw twice");
        let wrapper = OctetString::from_der(extension.extn_value.as_bytes()).context("id-pe-cmw is not in CBOR")?;
        Self::parse(wrapper.as_bytes()).context("id-pe-cmw").map(Some)
    }

    fn parse(mut cbor: &[u8]) -> Result<Self> {
        let value: Value = ciborium::from_reader(&mut cbor).context("no CBOR")?;
        ensure!(cbor.is_empty(), "{} bytes behind the collection", cbor.len());
        let Value::Map(records) = value else { bail!("not a collection") };
        let record = |label: &str, kind: Option<&str>| -> Result<Option<Vec<u8>>> {
            let mut found = records.iter().filter(|(name, _)| name.as_text() == Some(label));
            let Some((_, record)) = found.next() else { return Ok(None) };
            ensure!(found.next().is_none(), "`{label}` is there twice");
            let fields = record.as_array().map(Vec::as_slice);
            let Some([Value::Text(found), Value::Bytes(value), ..]) = fields else { bail!("`{label}` is no record") };
            ensure!(kind.is_none_or(|kind| kind == found), "`{label}` is of type {found}");
            Ok(Some(value.clone()))
        };
        Ok(Self {
            statement: record("issuer", None)?.context("no `issuer`")?,
            report: record("report", Some(REPORT))?.context("no `report`")?,
            endorsement: record("endorsement", Some(CERTIFICATE))?,
        })
    }
}

/// The key that a statement names.
pub fn issuer(statement: &[u8]) -> Result<SubjectPublicKeyInfoOwned> {
    let key = statement.strip_prefix(WORDS).context("the statement does not begin with the firmware's words")?;
    let issuer = SubjectPublicKeyInfoOwned::from_der(key).context("the statement names no key")?;
    ensure!(issuer.to_der()? == key, "the statement's key is not in DER");
    Ok(issuer)
}
