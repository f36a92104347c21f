//! Certificates that AMD has taken back: lists of the root's (RFC 5280), from files.

use super::{Case, chain, signature};
use crate::evidence::folder::Evidence;
use crate::roots::AMD;
use anyhow::{Context, Result, bail, ensure};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};

/// Lists that the verifier brings, as far as they are about this chain.
#[derive(Default)]
struct Used {
    /// Issued by the ARK, or by the ASK.
    by_ark: usize,
    by_ask: usize,
    /// Issuers of lists that are of other roots.
    others: Vec<String>,
    /// Issuers of lists that should have been replaced by now.
    old: Vec<String>,
}

/// No certificate of the chain is in a list of its issuer's. A list of another root that is known is left alone, and
/// that is said: one file may be there for each root. One of somebody else's cannot be what its bringer takes it for.
pub(super) fn revocation(case: &Case<'_>) -> Result<String> {
    ensure!(!case.evidence.vcek.is_empty(), "revocation: it is of AMD's certificates, and the evidence has none");
    let [ark, ask, leaf] = chain::certificates(case)?;
    let mut found = Used::default();
    for (number, der) in case.expectations.rules.crls.iter().enumerate() {
        let list = parse(der).with_context(|| format!("revocation.crls: list {}", number + 1))?;
        let by = list.tbs_cert_list.issuer.to_string();
        let names = [(&ark, "ARK"), (&ask, "ASK")];
        let Some((issuer, name)) = names.into_iter().find(|(issuer, _)| is_issuer(&list, issuer)) else {
            ensure!(
                is_of_another(case, &list),
                "revocation.crls: list {} is of {by}, no root that is known here",
                number + 1
            );
            found.others.push(by);
            continue;
        };
        let is_old = judge(&list, issuer, case.expectations.now, case.policy().revocation.required);
        if is_old.with_context(|| format!("revocation.crls: list {}, of the {name}", number + 1))? {
            found.old.push(by);
        }
        for (name, certificate, issuer_of) in [("ASK", &ask, &ark), ("endorsement key", &leaf, &ask)] {
            let revoked = same_key(issuer, issuer_of) && has(&list, certificate);
            ensure!(!revoked, "revocation: the certificate of the {name} was taken back");
        }
        *(if name == "ARK" { &mut found.by_ark } else { &mut found.by_ask }) += 1;
    }
    ensure!(
        found.by_ark > 0 || !case.policy().revocation.required,
        "revocation.required = true: there is no list of this root"
    );
    Ok(found.text())
}

impl Used {
    fn text(&self) -> String {
        let (ours, others) = (self.by_ark + self.by_ask, self.others.len());
        let mut text = format!("{ours} of {} lists are of this chain", ours + others);
        for (what, names) in [("left alone", &self.others), ("past its next update", &self.old)] {
            if !names.is_empty() {
                text.push_str(&format!("; {what}: {}", names.join(", ")));
            }
        }
        text
    }
}

/// Lists are there, and none is of this chain: nobody has looked whether it was taken back.
pub(crate) fn is_unanswered(evidence: &Evidence, lists: &[Vec<u8>]) -> bool {
    let issuers = [&evidence.ark, &evidence.ask].map(|der| Certificate::from_der(der));
    let is_ours = |list: &CertificateList| issuers.iter().flatten().any(|issuer| is_issuer(list, issuer));
    !lists.is_empty() && !lists.iter().any(|der| CertificateList::from_der(der).is_ok_and(|list| is_ours(&list)))
}

/// A root by which the evidence could have been issued has this name: one of AMD's or of the policy's; of those that
/// are known by their digests alone, any may.
fn is_of_another(case: &Case<'_>, list: &CertificateList) -> bool {
    let rules = &case.expectations.rules;
    let mut known = AMD.iter().flat_map(|amd| [&amd.ark, &amd.ask]).chain(&rules.roots);
    let has_name = |der: &Vec<u8>| Certificate::from_der(der).is_ok_and(|known| is_issuer(list, &known));
    !rules.policy.roots.sha256.is_empty() || known.any(has_name)
}

fn parse(der: &[u8]) -> Result<CertificateList> {
    let list = CertificateList::from_der(der)?;
    ensure!(list.to_der()? == der, "not in DER");
    Ok(list)
}

fn is_issuer(list: &CertificateList, issuer: &Certificate) -> bool {
    list.tbs_cert_list.issuer == issuer.tbs_certificate.subject
}

fn same_key(one: &Certificate, other: &Certificate) -> bool {
    one.tbs_certificate.subject_public_key_info == other.tbs_certificate.subject_public_key_info
}

/// Gives whether it should have been replaced, which is refused if it is `required`.
fn judge(list: &CertificateList, issuer: &Certificate, now: SystemTime, required: bool) -> Result<bool> {
    let tbs = &list.tbs_cert_list;
    ensure!(list.signature_algorithm == tbs.signature, "two signature algorithms");
    chain::ensure_pss(&list.signature_algorithm)?;
    let bytes = list.signature.as_bytes().context("the signature is no whole number of bytes")?;
    signature::rsa_pss_sha384(chain::rsa_key(issuer)?, &tbs.to_der()?, bytes)?;
    ensure!(tbs.this_update.to_system_time() <= now, "it is of the future: {}", tbs.this_update);
    // It may be of some certificates alone, or of what has changed (RFC 5280, 5.2): none such is known here.
    let of_entries = tbs.revoked_certificates.iter().flatten().flat_map(|entry| entry.crl_entry_extensions.iter());
    let mut extensions = tbs.crl_extensions.iter().chain(of_entries).flatten();
    if let Some(critical) = extensions.find(|extension| extension.critical) {
        bail!("its critical extension {} is not known here", critical.extn_id);
    }
    let old = tbs.next_update.filter(|next| next.to_system_time() < now);
    match old {
        Some(next) if required => bail!("it should have been replaced: its next update was {next}"),
        old => Ok(old.is_some()),
    }
}

fn has(list: &CertificateList, certificate: &Certificate) -> bool {
    let revoked = list.tbs_cert_list.revoked_certificates.iter().flatten();
    revoked.into_iter().any(|entry| entry.serial_number == certificate.tbs_certificate.serial_number)
}
