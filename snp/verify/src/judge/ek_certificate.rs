//! The certificate of the EK (TCG EK Credential Profile): it is of this key, and its issuers lead to a root of the
//! verifier's.

use super::{Case, chain, signature, tpm};
use anyhow::{Context, Result, bail, ensure};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::BasicConstraints;

/// No chain is longer.
const MAX_DEPTH: usize = 6;
/// rsaEncryption, and id-RSAES-OAEP, which some makers of TPMs write (RFC 4055).
const RSA: [&str; 2] = ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7"];

/// Of this EK, valid, and issued under a root that the verifier has brought, if one was.
pub(super) fn check(case: &Case<'_>) -> Result<String> {
    ensure!(!case.evidence.ek_certificate.is_empty(), "the evidence has no certificate of the EK");
    let leaf = Certificate::from_der(first(&case.evidence.ek_certificate)?).context("the EK's certificate")?;
    let ek = tpm::ek(case)?;
    let key = &leaf.tbs_certificate.subject_public_key_info;
    let expected = tpm::rsa_public_key(tpm::modulus(&ek)?)?;
    let is_rsa = RSA.iter().any(|oid| key.algorithm.oid.to_string() == **oid);
    ensure!(is_rsa && key.subject_public_key.raw_bytes() == expected, "the certificate is of another key than the EK");
    let (names, is_rooted) = issuers(case, leaf)?;
    let names = names.join(", which is issued by ");
    if is_rooted {
        return Ok(format!("issued by {names}, a root of the verifier's"));
    }
    ensure!(case.expectations.rules.ek_roots.is_empty(), "issued by {names}, which is none of the verifier's roots");
    Ok(format!("issued by {names}; nobody says that this is right"))
}

/// Goes from issuer to issuer, to a root of the verifier's or as far as certificates are there; gives their names.
fn issuers(case: &Case<'_>, leaf: Certificate) -> Result<(Vec<String>, bool)> {
    let parse = |der: &[u8]| Certificate::from_der(der).context("a certificate above the EK's");
    let roots = case.expectations.rules.ek_roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
    let others = all(&case.evidence.ek_chain)?.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
    let mut names = Vec::new();
    let mut current = leaf;
    for _ in 0..MAX_DEPTH {
        chain::valid_at(&current, case.expectations.now)?;
        let name = current.tbs_certificate.issuer.to_string();
        names.push(name.clone());
        let issues = |issuer: &&Certificate| issuer.tbs_certificate.subject == current.tbs_certificate.issuer;
        if let Some(root) = roots.iter().find(issues) {
            chain::valid_at(root, case.expectations.now).context("the verifier's root")?;
            signed(&current, root).with_context(|| format!("by {name}"))?;
            return Ok((names, true));
        }
        let is_own = current.tbs_certificate.subject == current.tbs_certificate.issuer;
        let Some(issuer) = others.iter().find(issues).filter(|_| !is_own) else { return Ok((names, false)) };
        signed(&current, issuer).with_context(|| format!("by {name}"))?;
        current = issuer.clone();
    }
    bail!("more than {MAX_DEPTH} issuers")
}

/// `issuer` may issue certificates, and has signed this one.
fn signed(certificate: &Certificate, issuer: &Certificate) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    ensure!(certificate.signature_algorithm == tbs.signature, "two signature algorithms");
    let constraints = issuer.tbs_certificate.get::<BasicConstraints>()?;
    ensure!(constraints.is_some_and(|(_, constraints)| constraints.ca), "its issuer is no authority");
    let key = &issuer.tbs_certificate.subject_public_key_info;
    let public = key.subject_public_key.as_bytes().context("a key that is no whole number of bytes")?;
    let signature = certificate.signature.as_bytes().context("a signature that is no whole number of bytes")?;
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let (algorithm, curve) = (certificate.signature_algorithm.oid.to_string(), curve.map(|oid| oid.to_string()));
    signature::of_certificate(&algorithm, curve.as_deref(), public, &tbs.to_der()?, signature)
}

/// The first certificate; what is behind it in an NV Index is nothing.
fn first(bytes: &[u8]) -> Result<&[u8]> {
    let [0x30, 0x82, high, low, ..] = *bytes else { bail!("no certificate in DER") };
    let length = 4 + usize::from(u16::from_be_bytes([high, low]));
    bytes.get(..length).context("a certificate ends early")
}

/// Certificates one after another.
fn all(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    while bytes.first() == Some(&0x30) {
        let certificate = first(bytes)?;
        bytes = bytes.get(certificate.len()..).unwrap_or_default();
        found.push(certificate);
    }
    Ok(found)
}
