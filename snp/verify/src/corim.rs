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
    use super::{BY_CHIP, BY_PROVIDER, payload, signed, unsigned};
    use crate::predict::Pcr;
    use crate::predict::tests::prediction;
    use crate::signing::Key;
    use corim_rs::core::{Digest, HashAlgorithm, Ulabel};
    use corim_rs::triples::{ClassIdTypeChoice, MeasuredElementTypeChoice, MeasurementMap, ReferenceTripleRecord};
    use corim_rs::{ConciseTagTypeChoice, Corim};
    use coset::{CoseSign1, TaggedCborSerializable};
    use p384::ecdsa::signature::Verifier;
    use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
    use p384::pkcs8::EncodePrivateKey;
    use std::collections::BTreeMap;

    /// What the crate corim-rs, which is by others, finds: the reference triples of each module.
    fn triples(manifest: &[u8]) -> Vec<Vec<ReferenceTripleRecord<'static>>> {
        let manifest = Corim::from_cbor(manifest).unwrap().as_unsigned().unwrap();
        let of_tag = |tag: &ConciseTagTypeChoice<'_>| {
            let ConciseTagTypeChoice::Mid(module) = tag else { panic!("{tag:?}") };
            let triples = module.triples.reference_triples.as_ref().unwrap();
            let owned = |triple: &ReferenceTripleRecord<'_>| ReferenceTripleRecord {
                ref_env: triple.ref_env.to_fully_owned(),
                ref_claims: triple.ref_claims.iter().map(MeasurementMap::to_fully_owned).collect(),
            };
            triples.iter().map(owned).collect()
        };
        manifest.tags.iter().map(of_tag).collect()
    }

    /// The one measurement of a triple.
    fn measurement<'a>(triple: &'a ReferenceTripleRecord<'_>) -> &'a MeasurementMap<'a> {
        let [measurement] = &triple.ref_claims[..] else { panic!("{triple:?}") };
        measurement
    }

    /// One value, and by which algorithm.
    fn digest(digests: &[Digest]) -> (&HashAlgorithm, &[u8]) {
        let [Digest { alg, val }] = digests else { panic!("{digests:?}") };
        (alg, val.as_slice())
    }

    #[test]
    fn another_implementation_finds_the_launch_digest_by_its_key() {
        let prediction = prediction(false);
        let [launch, _] = &triples(&unsigned(&prediction, "an image").unwrap())[..] else { panic!("two modules") };
        let classes: Vec<&[u8]> = launch
            .iter()
            .map(|triple| {
                let class = triple.ref_env.class.as_ref().unwrap();
                let Some(ClassIdTypeChoice::Oid(oid)) = &class.class_id else { panic!("{class:?}") };
                oid.as_ref().as_ref()
            })
            .collect();
        assert_eq!(classes, [BY_CHIP, BY_PROVIDER]);
        for triple in launch {
            let MeasurementMap { mkey, mval, .. } = measurement(triple);
            let Some(MeasuredElementTypeChoice::UInt(key)) = mkey else { panic!("{mkey:?}") };
            assert_eq!(key.0, 641, "MEASUREMENT");
            let digests = mval.digests.as_ref().unwrap();
            assert_eq!(digest(digests), (&HashAlgorithm::Sha384, &prediction.launch.digest[..]));
            assert!(mval.integrity_registers.is_none());
        }
    }

    #[test]
    fn another_implementation_finds_each_known_pcr_by_its_number() {
        let prediction = prediction(false);
        let [_, pcrs] = &triples(&unsigned(&prediction, "an image").unwrap())[..] else { panic!("two modules") };
        let [triple] = &pcrs[..] else { panic!("{pcrs:?}") };
        let class = triple.ref_env.class.as_ref().unwrap();
        assert_eq!((class.vendor.as_deref(), class.model.as_deref()), (Some("Quoin"), Some("vTPM")));
        let MeasurementMap { mkey, mval, .. } = measurement(triple);
        assert_eq!(mkey.as_ref().and_then(MeasuredElementTypeChoice::as_str), Some("PCRs"));
        let found: BTreeMap<i128, (&HashAlgorithm, &[u8])> = mval
            .integrity_registers
            .as_ref()
            .unwrap()
            .0
            .iter()
            .map(|(register, digests)| {
                let Ulabel::Uint(number) = register else { panic!("{register:?}") };
                (number.0, digest(digests))
            })
            .collect();
        let known = prediction.pcrs();
        let wanted: BTreeMap<i128, (&HashAlgorithm, &[u8])> = (0..)
            .zip(&known)
            .filter_map(|(number, pcr)| match pcr {
                Pcr::Known(value) => Some((number, (&HashAlgorithm::Sha256, &value[..]))),
                Pcr::SoFar(_) | Pcr::Unknown(_) => None,
            })
            .collect();
        assert_eq!(found, wanted);
        assert_eq!(wanted.len(), 23, "of PCR 0 an event is not known");
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
