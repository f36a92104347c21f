//! An authority below another one: the key of a boot by which a firmware certifies the keys of its TPM.

use super::AuthorityArgs;
use super::authority::{Form, extensions, serial};
use anyhow::{Context, Result, ensure};
use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use der::{Decode, Encode};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{DerSignature, VerifyingKey};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::request::{CertReq, ExtensionReq};
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// id-pe-cmw (RFC 9999)
const CMW: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.35");

/// The certificate of an authority below the one of `by`, for the key and the subject of a PKCS #10 request in DER, and
/// the certificate of that authority. The evidence that the request carries (id-pe-cmw) goes into it.
///
/// What the request says of its purpose is not looked at: the new authority may certify keys, and no authority.
///
/// # Errors
/// The authority cannot be had; the request is none, has another key than one on P-384, or is not signed by its key.
pub fn certify(by: &AuthorityArgs, request: &[u8]) -> Result<[Vec<u8>; 2]> {
    let authority = by.open()?;
    let request = CertReq::from_der(request).context("this is no request for a certificate (PKCS #10)")?;
    let key = request.info.public_key.clone();
    check_possession(&request).context("the request is not signed by its key")?;
    let subject = request.info.subject.clone();
    ensure!(!subject.is_empty(), "the request has no subject");
    let der = key.to_der()?;
    let identifier = SubjectKeyIdentifier::try_from(SubjectPublicKeyInfoRef::from_der(&der)?)?;
    let mut extensions = extensions(&subject, |list| {
        list.add(&BasicConstraints { ca: true, path_len_constraint: Some(0) })?;
        list.add(&KeyUsage(KeyUsages::KeyCertSign.into()))?;
        list.add(&identifier)?;
        list.add(&authority.authority_key_identifier())
    })?;
    extensions.extend(evidence(&request)?);
    let issued = authority.issue(key, serial()?, Form { subject, extensions })?;
    Ok([issued, authority.own()?])
}

fn check_possession(request: &CertReq) -> Result<()> {
    let key = VerifyingKey::from_sec1_bytes(request.info.public_key.subject_public_key.raw_bytes());
    let signature = DerSignature::try_from(request.signature.raw_bytes());
    Ok(key?.verify(&request.info.to_der()?, &signature?)?)
}

/// What the request carries of a report.
fn evidence(request: &CertReq) -> Result<Option<Extension>> {
    for attribute in request.info.attributes.iter() {
        if attribute.oid != ExtensionReq::OID {
            continue;
        }
        for value in attribute.values.iter() {
            let asked: Vec<Extension> = value.decode_as().context("the request's extensions")?;
            if let Some(found) = asked.into_iter().find(|one| one.extn_id == CMW) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
