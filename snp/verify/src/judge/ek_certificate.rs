//! The certificate of the EK (TCG EK Credential Profile): it is of this key, and its issuers lead to a root of the
//! verifier's; or the report is over its issuer, as in certificates that the firmware makes.

use super::{Case, chain, path, tpm};
use crate::digest::hex;
use crate::evidence::folder::{Evidence, Kind};
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

/// rsaEncryption, and id-RSAES-OAEP, which some makers of TPMs write (RFC 4055).
const RSA: [&str; 2] = ["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7"];

/// tcg-kp-EKCertificate and tcg-kp-AIKCertificate.
const PURPOSES: [(Purpose, &str); 2] = [(Purpose::Endorsement, "2.23.133.8.1"), (Purpose::Attestation, "2.23.133.8.3")];
/// secp256r1, secp384r1 and secp521r1 (RFC 5480).
const CURVES: [(Curve, ObjectIdentifier); 3] = [
    (Curve::P256, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7")),
    (Curve::P384, ObjectIdentifier::new_unwrap("1.3.132.0.34")),
    (Curve::P521, ObjectIdentifier::new_unwrap("1.3.132.0.35")),
];

/// What a certificate of the firmware's says that its key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Endorsement,
    Attestation,
    /// It is the issuer's own.
    Issuer,
}

impl Purpose {
    /// What an authority above it must be allowed to issue for: of an issuer's, all that it issues for itself.
    fn oids(self) -> Vec<&'static str> {
        PURPOSES.iter().filter(|(purpose, _)| [*purpose, Self::Issuer].contains(&self)).map(|(_, oid)| *oid).collect()
    }
}

/// Of this EK, valid, and issued under a root that the verifier has brought, if one was; or by the key that the report
/// is over.
pub(super) fn check(case: &Case<'_>) -> Result<String> {
    ensure!(!case.evidence.ek_certificate.is_empty(), "the evidence has no certificate of the EK");
    let leaf = leaf(case)?;
    if case.evidence.kind == Kind::Certificate {
        let (purpose, seen) = of_firmware(case, &leaf)?;
        return under_a_root(case, leaf, purpose, seen);
    }
    let ek = tpm::ek(case)?;
    let certified = public_key(&leaf).context("the certificate is of another key than the EK")?;
    ensure!(certified == ek.key, "the certificate is of another key than the EK");
    if !case.evidence.statement.is_empty() {
        let (purpose, seen) = of_firmware(case, &leaf)?;
        ensure!(purpose == Purpose::Endorsement, "the certificate is not of an EK");
        return under_a_root(case, leaf, purpose, seen);
    }
    let (names, is_rooted) = path::issuers(case, leaf, &Purpose::Endorsement.oids())?;
    let names = names.join(", which is issued by ");
    if is_rooted {
        return Ok(format!("issued by {names}, a root of the verifier's"));
    }
    ensure!(case.expectations.rules.ek_roots.is_empty(), "issued by {names}, which is none of the verifier's roots");
    Ok(format!("issued by {names}; nobody says that this is right"))
}

/// What the firmware has issued, whose report is right, is also under a root that the verifier has brought, if one was:
/// an operator's, by whose authority the firmware issues. The certificate that the operator has issued for the firmware
/// is nobody's word without.
fn under_a_root(case: &Case<'_>, leaf: Certificate, purpose: Purpose, seen: String) -> Result<String> {
    let is_the_operators = purpose == Purpose::Issuer && !path::is_self_issued(&leaf);
    let has_roots = !case.expectations.rules.ek_roots.is_empty();
    if !has_roots && !is_the_operators {
        return Ok(seen);
    }
    let (names, is_rooted) = path::issuers(case, leaf, &purpose.oids())?;
    let names = names.join(", which is issued by ");
    if !has_roots {
        return Ok(format!("{seen}; issued by {names}, and nobody says that this is right"));
    }
    ensure!(is_rooted, "issued by {names}, which is none of the verifier's roots");
    let and = if is_the_operators { "; issued" } else { ", and" };
    Ok(format!("{seen}{and} by {names}, a root of the verifier's"))
}

/// The evidence is a certificate that an operator has issued for the key by which the firmware issues: what it says
/// beside that key rests on the operator's authority alone.
pub(crate) fn is_by_an_operator(evidence: &Evidence) -> bool {
    let issuer = carried::issuer(&evidence.statement);
    let leaf = first(&evidence.ek_certificate).and_then(|der| Ok(Certificate::from_der(der)?));
    let (Kind::Certificate, Ok(issuer), Ok(leaf)) = (evidence.kind, issuer, leaf) else { return false };
    leaf.tbs_certificate.subject_public_key_info == issuer && !path::is_self_issued(&leaf)
}

/// Somebody vouches for a certificate that [`check`] has found right: a root of the verifier's, or the report.
pub(super) fn is_vouched(case: &Case<'_>) -> bool {
    let by_the_report = !case.evidence.statement.is_empty() && !is_by_an_operator(case.evidence);
    by_the_report || !case.expectations.rules.ek_roots.is_empty()
}

fn leaf(case: &Case<'_>) -> Result<Certificate> {
    Certificate::from_der(first(&case.evidence.ek_certificate)?).context("the EK's certificate")
}

/// The key that the report is over has issued it, or is its own; for what, and of which key.
fn of_firmware(case: &Case<'_>, leaf: &Certificate) -> Result<(Purpose, String)> {
    let issuer = carried::issuer(&case.evidence.statement)?;
    chain::valid_at(leaf, case.expectations.now)?;
    let key = &leaf.tbs_certificate.subject_public_key_info;
    let by = if *key == issuer && !path::is_self_issued(leaf) {
        // Who has signed it is seen on the way to the root.
        "and which the report is over"
    } else {
        path::signed_with(leaf, &issuer).context("by the issuer that the report is over")?;
        "issued by the key that the report is over"
    };
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
    Ok((purpose, format!("of {what}, {name}, {by}")))
}

/// One purpose, and no right to issue; or the issuer's own.
fn purpose(leaf: &Certificate, issuer: &SubjectPublicKeyInfoOwned) -> Result<Purpose> {
    let tbs = &leaf.tbs_certificate;
    if tbs.subject_public_key_info == *issuer {
        path::may_issue(leaf).context("the issuer's own")?;
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
            let verdict = check(&Case { evidence: &evidence, expectations: &expectations(), findings: &[] });
            assert_eq!(verdict.is_ok(), is_right, "{index:#x}: {verdict:?}");
        }
    }
}
