//! Reference values of an image as a concise reference integrity manifest (draft-ietf-rats-corim, as of August 2026):
//! the launch digest for the attester that draft-deeglaze-amd-sev-snp-corim-profile describes, and PCRs.

use crate::predict::{Pcr, Prediction};
use crate::signing::Key;
use anyhow::{Context, Result};
use ciborium::Value;
use coset::{CoseSign1Builder, HeaderBuilder, Label, TaggedCborSerializable, iana};

/// CBOR tags of the draft: an unsigned manifest, and a CoMID; of RFC 8949 and 9090: a URI, an OID.
const UNSIGNED: u64 = 501;
const COMID: u64 = 506;
const URI: u64 = 32;
const OID: u64 = 111;
/// The profile of SEV-SNP's reports, and the classes of their attesters, by chip and by provider
/// (1.3.6.1.4.1.3704.3.1, .3.2).
const PROFILE: &str = "http://amd.com/2024/snp-corim-profile";
const BY_CHIP: [u8; 9] = [0x2B, 6, 1, 4, 1, 0x9C, 0x78, 3, 1];
const BY_PROVIDER: [u8; 9] = [0x2B, 6, 1, 4, 1, 0x9C, 0x78, 3, 2];
/// MEASUREMENT, in that profile.
const MEASUREMENT: u64 = 641;
/// Algorithms of the IANA registry of named information.
const SHA256: u64 = 1;
const SHA384: u64 = 7;

fn map(entries: Vec<(u64, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn array<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.to_vec())
}

fn tagged(tag: u64, value: Value) -> Value {
    Value::Tag(tag, Box::new(value))
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).context("CBOR")?;
    Ok(bytes)
}

fn digest(algorithm: u64, value: &[u8]) -> Value {
    array([algorithm.into(), value.to_vec().into()])
}

/// The manifest of an image, unsigned. `name` is its identity, such as the image's file name and version.
pub fn unsigned(prediction: &Prediction, name: &str) -> Result<Vec<u8>> {
    let comid = |part: &str, triples: Value| {
        let identity = map(vec![(0, format!("{name}: {part}").into()), (1, 0.into())]);
        let comid = map(vec![(1, identity), (4, map(vec![(0, triples)]))]);
        Ok::<_, anyhow::Error>(tagged(COMID, bytes(&comid)?.into()))
    };
    let mut tags = vec![comid("launch digest", launch(prediction))?];
    let pcrs = pcrs(prediction);
    if let Some(pcrs) = pcrs {
        tags.push(comid("PCRs", pcrs)?);
    }
    let corim = map(vec![(0, name.into()), (1, Value::Array(tags)), (3, tagged(URI, PROFILE.into()))]);
    bytes(&tagged(UNSIGNED, corim))
}

/// MEASUREMENT, whoever has signed the report.
fn launch(prediction: &Prediction) -> Value {
    let values = map(vec![(2, array([digest(SHA384, &prediction.launch.digest)]))]);
    let measurement = map(vec![(0, MEASUREMENT.into()), (1, values)]);
    let triple = |oid: [u8; 9]| {
        let environment = map(vec![(0, map(vec![(0, tagged(OID, oid.to_vec().into()))]))]);
        array([environment, array([measurement.clone()])])
    };
    array([triple(BY_CHIP), triple(BY_PROVIDER)])
}

/// Those PCRs whose values the file alone says: as integrity registers, by number.
fn pcrs(prediction: &Prediction) -> Option<Value> {
    let register = |(number, pcr): (u64, Pcr)| match pcr {
        Pcr::Known(value) => Some((number, array([digest(SHA256, &value)]))),
        Pcr::SoFar(_) | Pcr::Unknown(_) => None,
    };
    let registers: Vec<(u64, Value)> = (0..).zip(prediction.pcrs()).filter_map(register).collect();
    if registers.is_empty() {
        return None;
    }
    let measurement = map(vec![(0, "PCRs".into()), (1, map(vec![(14, map(registers))]))]);
    let class = map(vec![(1, "Quoin".into()), (2, "vTPM".into())]);
    Some(array([array([map(vec![(0, class)]), array([measurement])])]))
}

/// The same in a COSE_Sign1 by `key`, for `signer`.
pub fn signed(unsigned: Vec<u8>, key: &Key, signer: &str) -> Result<Vec<u8>> {
    let algorithm = match key {
        Key::P256(_) => iana::Algorithm::ES256,
        Key::P384(_) => iana::Algorithm::ES384,
    };
    let meta = bytes(&map(vec![(0, map(vec![(0, signer.into())]))]))?;
    let protected = HeaderBuilder::new()
        .algorithm(algorithm)
        .content_type(String::from("application/rim+cbor"))
        .value(8, meta.into())
        .build();
    debug_assert_eq!(protected.rest.first().map(|(label, _)| label), Some(&Label::Int(8)));
    let message = CoseSign1Builder::new().protected(protected).payload(unsigned);
    let message = message.try_create_signature(&[], |to_sign| key.sign(to_sign))?.build();
    message.to_tagged_vec().map_err(|error| anyhow::anyhow!("COSE: {error}"))
}

/// The payload of what [`signed`] gives, not verified.
#[cfg(test)]
fn payload(signed: &[u8]) -> Option<Vec<u8>> {
    coset::CoseSign1::from_tagged_slice(signed).ok()?.payload
}

#[cfg(test)]
mod tests {
    use super::{payload, signed, unsigned};
    use crate::predict::tests::prediction;
    use crate::signing::Key;
    use corim_rs::{ConciseTagTypeChoice, Corim};
    use coset::{CoseSign1, TaggedCborSerializable};
    use p384::ecdsa::signature::Verifier;
    use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
    use p384::pkcs8::EncodePrivateKey;

    /// By the crate corim-rs, which is by others.
    #[test]
    fn another_implementation_reads_the_manifest() {
        let prediction = prediction(false);
        let bytes = unsigned(&prediction, "an image").unwrap();
        let manifest = Corim::from_cbor(bytes.as_slice()).unwrap().as_unsigned().unwrap();
        assert_eq!(manifest.tags.len(), 2);
        let json = format!("{manifest:?}");
        assert!(manifest.tags.iter().all(|tag| matches!(tag, ConciseTagTypeChoice::Mid(_))), "{json}");
        // As corim-rs shows octets.
        let octets = format!("{:?}", prediction.launch.digest.as_slice());
        let inner = octets.trim_matches(['[', ']']);
        assert!(json.contains(inner) || json.contains(&crate::digest::hex(&prediction.launch.digest)), "{json}");
    }

    /// By the crate p384, which shares no code with what has signed.
    #[test]
    fn a_signed_manifest_is_verified_by_another_implementation() {
        let secret = SigningKey::from_slice(&[0x33; 48]).unwrap();
        let der = secret.to_pkcs8_der().unwrap();
        let key = Key::parse(der.as_bytes()).unwrap();
        let plain = unsigned(&prediction(false), "an image").unwrap();
        let bytes = signed(plain.clone(), &key, "who builds it").unwrap();
        assert_eq!(payload(&bytes), Some(plain));
        let message = CoseSign1::from_tagged_slice(&bytes).unwrap();
        let public = VerifyingKey::from(&secret);
        let verify =
            |signature: &[u8], to_verify: &[u8]| public.verify(to_verify, &Signature::from_slice(signature).unwrap());
        message.verify_signature(&[], verify).unwrap();
        let mut other = message.clone();
        other.payload.as_mut().unwrap()[40] ^= 1;
        other.verify_signature(&[], verify).unwrap_err();
        assert!(Corim::from_cbor(bytes.as_slice()).is_ok(), "corim-rs reads it");
    }

    #[test]
    fn pcrs_that_are_not_known_are_not_in_it() {
        let some = unsigned(&prediction(false), "an image").unwrap();
        let fewer = unsigned(&prediction(true), "an image").unwrap();
        assert!(fewer.len() + 14 * 34 < some.len(), "{} {}", fewer.len(), some.len());
    }
}
