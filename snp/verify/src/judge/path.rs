//! What is above a certificate (RFC 5280, 6.1): from issuer to issuer up to a root of the verifier's, each with the
//! right to have issued what is below it.
//!
//! Neither policies nor revocation are judged: an extension that is critical and not judged refuses the path.

use super::ek_certificate::all;
use super::{Case, chain, signature};
use anyhow::{Context, Result, bail, ensure};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::constraints::name::{GeneralSubtree, GeneralSubtrees};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// No path is longer.
const MAX_DEPTH: usize = 6;
/// Extensions that may be critical: keyUsage, subjectAltName, basicConstraints, nameConstraints, certificatePolicies
/// (any policy is good enough), extKeyUsage.
const KNOWN: [&str; 6] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.32", "2.5.29.37"];
const ANY_PURPOSE: &str = "2.5.29.37.0";

/// Goes up from `leaf`, whose key is for `purposes`, as far as certificates are there; gives the issuers' names, and
/// whether the last is one of the verifier's roots.
pub(super) fn issuers(case: &Case<'_>, leaf: Certificate, purposes: &[&str]) -> Result<(Vec<String>, bool)> {
    let parse = |der: &[u8]| Certificate::from_der(der).context("a certificate above the EK's");
    let roots = case.expectations.rules.ek_roots.iter().map(|der| parse(der)).collect::<Result<Vec<_>>>()?;
    let others = all(&case.evidence.ek_chain)?.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
    let mut names = Vec::new();
    let mut below = vec![leaf];
    for _ in 0..MAX_DEPTH {
        let Some(current) = below.last() else { break };
        chain::valid_at(current, case.expectations.now)?;
        known(current)?;
        let name = current.tbs_certificate.issuer.to_string();
        names.push(name.clone());
        let issues = |issuer: &&Certificate| issuer.tbs_certificate.subject == current.tbs_certificate.issuer;
        let root = roots.iter().find(issues);
        let Some(issuer) = root.or_else(|| others.iter().find(issues).filter(|_| !is_self_issued(current))) else {
            return Ok((names, false));
        };
        signed(&below, issuer, purposes).with_context(|| format!("by {name}"))?;
        if root.is_some() {
            chain::valid_at(issuer, case.expectations.now).context("the verifier's root")?;
            known(issuer).context("the verifier's root")?;
            return Ok((names, true));
        }
        below.push(issuer.clone());
    }
    bail!("more than {MAX_DEPTH} issuers")
}

/// `issuer` may issue what is `below` it, the last of which it has signed.
fn signed(below: &[Certificate], issuer: &Certificate, purposes: &[&str]) -> Result<()> {
    let may = may_issue(issuer)?;
    let authorities = below.iter().filter(|one| is_authority(one) && !is_self_issued(one)).count();
    if let Some(most) = may.path_len_constraint {
        ensure!(authorities <= usize::from(most), "it may have {most} authorities below it, and has {authorities}");
    }
    let named = issuer.tbs_certificate.get::<ExtendedKeyUsage>()?.map(|(_, named)| named.0);
    let has =
        |wanted: &str| named.iter().flatten().any(|oid| [wanted, ANY_PURPOSE].contains(&oid.to_string().as_str()));
    let missing = purposes.iter().find(|wanted| named.is_some() && !has(wanted));
    if let Some(missing) = missing {
        bail!("it may not issue for the purpose {missing}");
    }
    if let Some((_, constraints)) = issuer.tbs_certificate.get::<NameConstraints>()? {
        below.iter().try_for_each(|one| names_are_within(&constraints, one))?;
    }
    let certificate = below.last().context("nothing is below it")?;
    signed_with(certificate, &issuer.tbs_certificate.subject_public_key_info)
}

/// It is an authority's (basicConstraints), and its key may sign certificates, where it says what that may do.
pub(super) fn may_issue(issuer: &Certificate) -> Result<BasicConstraints> {
    let constraints = issuer.tbs_certificate.get::<BasicConstraints>()?.map(|(_, constraints)| constraints);
    let constraints = constraints.filter(|constraints| constraints.ca).context("its issuer is no authority")?;
    let usage = issuer.tbs_certificate.get::<KeyUsage>()?;
    let signs = usage.is_none_or(|(_, usage)| usage.0.contains(KeyUsages::KeyCertSign));
    ensure!(signs, "its issuer's key may not sign certificates (keyUsage)");
    Ok(constraints)
}

fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    constraints.is_ok_and(|found| found.is_some_and(|(_, constraints)| constraints.ca))
}

/// Issuer and subject are one.
pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject
}

/// Nothing in it is critical and not known here.
fn known(certificate: &Certificate) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    let critical = tbs.extensions.iter().flatten().filter(|extension| extension.critical);
    let unknown = critical.map(|extension| extension.extn_id.to_string()).find(|oid| !KNOWN.contains(&oid.as_str()));
    ensure!(unknown.is_none(), "the critical extension {} is not known here", unknown.unwrap_or_default());
    Ok(())
}

/// The directory names of `certificate`, its subject and its alternatives, are among those that may be. Constraints of
/// other kinds of names are none of TPMs': they refuse what has such a name.
fn names_are_within(constraints: &NameConstraints, certificate: &Certificate) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    let mut names = vec![GeneralName::DirectoryName(tbs.subject.clone())];
    names.extend(tbs.get::<SubjectAltName>()?.map(|(_, names)| names.0).unwrap_or_default());
    let same_kind = |name: &GeneralName, subtree: &GeneralSubtree| {
        core::mem::discriminant(name) == core::mem::discriminant(&subtree.base)
    };
    let of_kind = |name: &GeneralName, subtrees: &Option<GeneralSubtrees>| -> GeneralSubtrees {
        subtrees.iter().flatten().filter(|subtree| same_kind(name, subtree)).cloned().collect()
    };
    for name in &names {
        let permitted = of_kind(name, &constraints.permitted_subtrees);
        let excluded = of_kind(name, &constraints.excluded_subtrees);
        let GeneralName::DirectoryName(name) = name else {
            ensure!(permitted.is_empty() && excluded.is_empty(), "its nameConstraints are of a kind not judged here");
            continue;
        };
        let is_in = |subtree: &GeneralSubtree| is_below(name, &subtree.base);
        // A certificate without a subject is not constrained in it.
        let is_permitted = name.0.is_empty() || permitted.is_empty() || permitted.iter().any(is_in);
        ensure!(is_permitted && !excluded.iter().any(is_in), "its nameConstraints do not admit {name}");
    }
    Ok(())
}

/// `name` begins with the base, without regard to case and spaces (RFC 5280, 7.1).
fn is_below(name: &Name, base: &GeneralName) -> bool {
    let GeneralName::DirectoryName(base) = base else { return false };
    let plain = |name: &Name| -> Vec<String> {
        name.0
            .iter()
            .map(|part| part.to_string().to_lowercase().split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    plain(name).starts_with(&plain(base))
}

/// This key has signed the certificate.
pub(super) fn signed_with(certificate: &Certificate, key: &SubjectPublicKeyInfoOwned) -> Result<()> {
    let tbs = &certificate.tbs_certificate;
    ensure!(certificate.signature_algorithm == tbs.signature, "two signature algorithms");
    let public = key.subject_public_key.as_bytes().context("a key that is no whole number of bytes")?;
    let signature = certificate.signature.as_bytes().context("a signature that is no whole number of bytes")?;
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let (algorithm, curve) = (certificate.signature_algorithm.oid.to_string(), curve.map(|oid| oid.to_string()));
    signature::of_certificate(&algorithm, curve.as_deref(), public, &tbs.to_der()?, signature)
}
