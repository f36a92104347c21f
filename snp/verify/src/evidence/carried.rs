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

#[cfg(test)]
mod tests {
    use super::{Carried, WORDS, issuer};
    use crate::evidence::folder::{Evidence, Kind};
    use crate::input;
    use crate::judge::Expectations;
    use crate::judge::tests::twin::{Twin, expectations};
    use crate::judge::tests::vtpm;
    use crate::verdict::Verdict;
    use ciborium::Value;
    use x509_cert::Certificate;
    use x509_cert::der::Decode;

    /// Each is verified by what it carries, and names its key.
    #[test]
    fn certificates_of_the_firmware_are_verified() {
        for (index, says) in [
            (vtpm::RSA_EK, "of an EK, Name 000b"),
            (vtpm::P256_EK, "of an EK, Name 000b"),
            (vtpm::P384_EK, "of an EK, Name 000c"),
            (vtpm::P256_AK, "of an AK, Name 000b"),
            (vtpm::ISSUER, "of the issuer itself, SHA-256 of the key "),
        ] {
            let evidence = Twin::new().certificate_of(0, index);
            assert_eq!(evidence.kind, Kind::Certificate);
            let verdict = Verdict::of(&evidence, &expectations());
            assert_eq!(verdict.status(), 0, "{index:#x}: {verdict:?}");
            let json = verdict.to_json();
            let steps = json["steps"].as_array().unwrap();
            let said = steps.iter().find(|step| step["step"] == "EK certificate").unwrap()["says"].as_str().unwrap();
            assert!(said.starts_with(says), "{index:#x}: {said}");
        }
    }

    /// No octet of a certificate can be another: it is not read, or some step refuses it. Of report and VCEK, whose own
    /// bits are flipped elsewhere, one in 16.
    #[test]
    fn every_octet_of_a_certificate_counts() {
        let certificate = vtpm::index(&Twin::new(), 0, vtpm::P256_AK);
        let good = Twin::new().certificate();
        let place = |part: &[u8]| certificate.windows(part.len()).position(|window| window == part).unwrap();
        let places = [&good.report, &good.vcek].map(|part| place(part)..place(part) + part.len());
        let of_parts = |at: &usize| places.iter().any(|place| place.contains(at)) && !at.is_multiple_of(16);
        let octets: Vec<usize> = (0..certificate.len()).filter(|at| !of_parts(at)).collect();
        assert!(octets.len() > 900);
        for at in octets {
            let mut flipped = certificate.clone();
            flipped[at] ^= 1 << (at % 8);
            let Ok(found) = input::of_file(&flipped) else { continue };
            let (ark, ask) = (good.ark.clone(), good.ask.clone());
            let vcek = found.certificates.first().unwrap_or(&good.vcek).clone();
            let evidence = Evidence { ark, ask, vcek, ..found.evidence };
            let status = Verdict::of(&evidence, &Expectations { policy: None, ..expectations() }).status();
            assert_ne!(status, 0, "octet {at}");
        }
    }

    fn record(label: &str, kind: &str, value: &[u8]) -> (Value, Value) {
        let fields = vec![Value::Text(kind.into()), Value::Bytes(value.to_vec()), Value::Integer(4.into())];
        (Value::Text(label.into()), Value::Array(fields))
    }

    fn parse(records: Vec<(Value, Value)>) -> anyhow::Result<Carried> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&Value::Map(records), &mut bytes).unwrap();
        Carried::parse(&bytes)
    }

    #[test]
    fn a_collection_has_each_part_once_and_of_its_type() {
        let issuer = || record("issuer", "application/octet-stream", b"i");
        let report = || record("report", super::REPORT, b"r");
        let chip = || record("endorsement", super::CERTIFICATE, b"e");
        let all = parse(vec![report(), issuer(), chip(), record("other", "a/b", b"")]).unwrap();
        assert_eq!((all.statement, all.report, all.endorsement), (b"i".to_vec(), b"r".to_vec(), Some(b"e".to_vec())));
        assert!(parse(vec![issuer(), report()]).unwrap().endorsement.is_none());
        for wrong in [
            vec![issuer()],
            vec![report()],
            vec![issuer(), report(), report()],
            vec![issuer(), report(), chip(), chip()],
            vec![issuer(), record("report", "application/octet-stream", b"r")],
            vec![issuer(), report(), record("endorsement", "text/plain", b"e")],
            vec![issuer(), (Value::Text("report".into()), Value::Bytes(vec![1]))],
        ] {
            assert!(parse(wrong.clone()).is_err(), "{wrong:?}");
        }
        assert!(
            Carried::parse(&[]).is_err() && Carried::parse(&[0x80]).is_err() && Carried::parse(&[0xA0, 0]).is_err()
        );
    }

    #[test]
    fn a_statement_is_the_words_and_a_key_and_nothing_else() {
        let statement = Twin::new().certificate().statement;
        let key = Certificate::from_der(&vtpm::index(&Twin::new(), 0, vtpm::ISSUER)).unwrap();
        assert_eq!(issuer(&statement).unwrap(), key.tbs_certificate.subject_public_key_info);
        assert!(issuer(&statement[WORDS.len()..]).is_err() && issuer(WORDS).is_err());
        assert!(issuer(&[&statement[..], &[0]].concat()).is_err());
    }
}
