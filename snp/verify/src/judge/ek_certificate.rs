//! The certificate of the EK (TCG EK Credential Profile): it is of this key, and its issuers lead to a root of the
//! verifier's; or the report is over its issuer, as in certificates that the firmware makes.

use super::{Case, chain, signature, tpm};
use crate::digest::hex;
use crate::evidence::folder::Kind;
use crate::evidence::wire::{Curve, Key, Public};
use crate::evidence::{carried, template};
use anyhow::{Context, Result, bail, ensure};
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// No chain is longer.
const MAX_DEPTH: usize = 6;
/// rsaEncryption, and id-RSAES-OAEP, which some makers of TPMs write (RFC 4055).
const RSA: [&str; 2] = ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7"];

/// tcg-kp-EKCertificate and tcg-kp-AIKCertificate.
const PURPOSES: [(Purpose, &str); 2] = [(Purpose::Endorsement, "2.23.133.8.1"), (Purpose::Attestation, "2.23.133.8.3")];
/// secp256r1 and secp384r1 (RFC 5480).
const CURVES: [(Curve, ObjectIdentifier); 2] = [
    (Curve::P256, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7")),
    (Curve::P384, ObjectIdentifier::new_unwrap("1.3.132.0.34")),
];

/// What a certificate of the firmware's says that its key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Endorsement,
    Attestation,
    /// It is the issuer's own.
    Issuer,
}

/// Of this EK, valid, and issued under a root that the verifier has brought, if one was; or by the key that the report
/// is over.
pub(super) fn check(case: &Case<'_>) -> Result<String> {
    ensure!(!case.evidence.ek_certificate.is_empty(), "the evidence has no certificate of the EK");
    let leaf = leaf(case)?;
    if case.evidence.kind == Kind::Certificate {
        let (_, seen) = of_firmware(case, &leaf)?;
        return under_a_root(case, leaf, seen);
    }
    let ek = tpm::ek(case)?;
    let certified = public_key(&leaf).context("the certificate is of another key than the EK")?;
    ensure!(certified == ek.key, "the certificate is of another key than the EK");
    if !case.evidence.statement.is_empty() {
        let (purpose, seen) = of_firmware(case, &leaf)?;
        ensure!(purpose == Purpose::Endorsement, "the certificate is not of an EK");
        return under_a_root(case, leaf, seen);
    }
    let (names, is_rooted) = issuers(case, leaf)?;
    let names = names.join(", which is issued by ");
    if is_rooted {
        return Ok(format!("issued by {names}, a root of the verifier's"));
    }
    ensure!(case.expectations.rules.ek_roots.is_empty(), "issued by {names}, which is none of the verifier's roots");
    Ok(format!("issued by {names}; nobody says that this is right"))
}

/// What the firmware has issued, whose report is right, is also under a root that the verifier has brought, if one was:
/// an operator's, by whose authority the firmware issues.
fn under_a_root(case: &Case<'_>, leaf: Certificate, seen: String) -> Result<String> {
    if case.expectations.rules.ek_roots.is_empty() {
        return Ok(seen);
    }
    let (names, is_rooted) = issuers(case, leaf)?;
    let names = names.join(", which is issued by ");
    ensure!(is_rooted, "issued by {names}, which is none of the verifier's roots");
    Ok(format!("{seen}, and by {names}, a root of the verifier's"))
}

fn leaf(case: &Case<'_>) -> Result<Certificate> {
    Certificate::from_der(first(&case.evidence.ek_certificate)?).context("the EK's certificate")
}

/// The key that the report is over has issued it; for what, and of which key.
fn of_firmware(case: &Case<'_>, leaf: &Certificate) -> Result<(Purpose, String)> {
    let issuer = carried::issuer(&case.evidence.statement)?;
    chain::valid_at(leaf, case.expectations.now)?;
    signed_with(leaf, &issuer).context("by the issuer that the report is over")?;
    let key = &leaf.tbs_certificate.subject_public_key_info;
    let purpose = purpose(leaf, &issuer)?;
    let name = match public(leaf, purpose) {
        Ok(public) => format!("Name {}", hex(&public.name())),
        Err(_) => format!("SHA-256 of the key {}", hex(&Sha256::digest(key.to_der()?))),
    };
    let what = match purpose {
        Purpose::Endorsement => "an EK",
        Purpose::Attestation => "an AK",
        Purpose::Issuer => "the issuer itself",
    };
    Ok((purpose, format!("of {what}, {name}, issued by the key that the report is over")))
}

/// One purpose, and no right to issue; or the issuer's own.
fn purpose(leaf: &Certificate, issuer: &SubjectPublicKeyInfoOwned) -> Result<Purpose> {
    let tbs = &leaf.tbs_certificate;
    if tbs.subject_public_key_info == *issuer {
        return Ok(Purpose::Issuer);
    }
    let may_issue = tbs.get::<BasicConstraints>()?.is_some_and(|(_, constraints)| constraints.ca);
    ensure!(!may_issue, "it is of another authority");
    let (_, purposes) = tbs.get::<ExtendedKeyUsage>()?.context("it does not say what its key is for")?;
    let [purpose] = purposes.0.as_slice() else { bail!("it is for {} purposes", purposes.0.len()) };
    let named = PURPOSES.iter().find(|(_, oid)| purpose.to_string() == **oid);
    named.map(|(purpose, _)| *purpose).with_context(|| format!("it is for {purpose}, not of an EK or AK"))
}

/// The key of a certificate of the firmware's that is for this; its template is the one that the firmware has for it.
pub(super) fn key(case: &Case<'_>, wanted: Purpose) -> Result<Public> {
    let leaf = leaf(case)?;
    let found = purpose(&leaf, &carried::issuer(&case.evidence.statement)?)?;
    ensure!(found == wanted, "the certificate is not of such a key");
    public(&leaf, wanted)
}

/// Its public area, if the template is one that is known here: that of an EK is the first of its kind in the profile,
/// as the firmware has them.
fn public(leaf: &Certificate, purpose: Purpose) -> Result<Public> {
    let key = public_key(leaf)?;
    let template = match (purpose, &key) {
        (Purpose::Endorsement, _) => first_of_kind(&key).context("an EK of a kind that is not known here")?,
        (Purpose::Attestation, Key::Rsa { bits: 2048, .. }) => template::ak_rsa_2048(),
        (Purpose::Attestation, Key::Ecc { curve: Curve::P256, .. }) => template::ak_p256(),
        (Purpose::Attestation, _) => bail!("an AK of a kind that is not known here"),
        (Purpose::Issuer, _) => bail!("the issuer is no key of the TPM's"),
    };
    Ok(Public { key, ..template })
}

fn first_of_kind(key: &Key) -> Option<Public> {
    template::EKS.iter().find(|ek| ek.kind == key.algorithm()).map(template::Ek::public)
}

/// The key of a certificate, as a TPM has it.
fn public_key(leaf: &Certificate) -> Result<Key> {
    let info = &leaf.tbs_certificate.subject_public_key_info;
    let bytes = info.subject_public_key.as_bytes().context("a key that is no whole number of bytes")?;
    if RSA.iter().any(|oid| info.algorithm.oid.to_string() == **oid) {
        let key = RsaPublicKey::from_pkcs1_der(bytes)?;
        ensure!(*key.e() == BigUint::from(65537_u32), "an RSA key with another exponent than 65537");
        let modulus = key.n().to_bytes_be();
        return Ok(Key::Rsa { bits: u16::try_from(8 * modulus.len())?, modulus });
    }
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let curve = CURVES.iter().find(|(_, oid)| curve == Some(*oid)).map(|(curve, _)| *curve);
    match (curve, bytes) {
        (Some(curve), [4, point @ ..]) if point.len() == 2 * curve.size() => {
            let (x, y) = point.split_at(curve.size());
            Ok(Key::Ecc { curve, x: x.to_vec(), y: y.to_vec() })
        }
        _ => bail!("a key of a kind that is not known here"),
    }
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
    let constraints = issuer.tbs_certificate.get::<BasicConstraints>()?;
    ensure!(constraints.is_some_and(|(_, constraints)| constraints.ca), "its issuer is no authority");
    signed_with(certificate, &issuer.tbs_certificate.subject_public_key_info)
}

/// This key has signed the certificate.
fn signed_with(certificate: &Certificate, key: &SubjectPublicKeyInfoOwned) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    ensure!(certificate.signature_algorithm == tbs.signature, "two signature algorithms");
    let public = key.subject_public_key.as_bytes().context("a key that is no whole number of bytes")?;
    let signature = certificate.signature.as_bytes().context("a signature that is no whole number of bytes")?;
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let (algorithm, curve) = (certificate.signature_algorithm.oid.to_string(), curve.map(|oid| oid.to_string()));
    signature::of_certificate(&algorithm, curve.as_deref(), public, &tbs.to_der()?, signature)
}

/// The first certificate; what is behind it in an NV Index is nothing.
pub(crate) fn first(bytes: &[u8]) -> Result<&[u8]> {
    let [0x30, 0x82, high, low, ..] = *bytes else { bail!("no certificate in DER") };
    let length = 4 + usize::from(u16::from_be_bytes([high, low]));
    bytes.get(..length).context("a certificate ends early")
}

/// Certificates one after another.
pub(crate) fn all(mut bytes: &[u8]) -> Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    while bytes.first() == Some(&0x30) {
        let certificate = first(bytes)?;
        bytes = bytes.get(certificate.len()..).unwrap_or_default();
        found.push(certificate);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::evidence::folder::{Evidence, Kind};
    use crate::evidence::template;
    use crate::evidence::wire::Public;
    use crate::judge::Case;
    use crate::judge::tests::twin::{Twin, expectations};
    use crate::judge::tests::vtpm;
    use x509_cert::Certificate;
    use x509_cert::der::Decode;

    /// What a running TPM has at the EK's index must be of an EK, even where the EK is said to have that key.
    #[test]
    fn the_certificate_of_an_ak_is_none_of_an_ek() {
        for (index, is_right) in [(vtpm::RSA_EK, true), (vtpm::RSA_EK - 2 + 0x1_0000, false)] {
            let found = Twin::new().certificate_of(0, index);
            let leaf = Certificate::from_der(&found.ek_certificate).unwrap();
            let key = super::public(&leaf, super::Purpose::Endorsement).unwrap().key;
            let manifest = Public { key, ..template::ek_rsa_2048() }.to_bytes();
            let evidence = Evidence { kind: Kind::Tpm, manifest, ..found };
            let verdict = check(&Case { evidence: &evidence, expectations: &expectations() });
            assert_eq!(verdict.is_ok(), is_right, "{index:#x}: {verdict:?}");
        }
    }
}
