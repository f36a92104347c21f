//! Certificates that AMD has taken back: lists of the root's (RFC 5280), from files.

use super::{Case, chain, signature};
use anyhow::{Context, Result, ensure};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};

/// No certificate of the chain is in a list of its issuer's. A list of somebody else's is left alone: one file may be
/// there for each root.
pub(super) fn revocation(case: &Case<'_>) -> Result<String> {
    let [ark, ask, leaf] = chain::certificates(case)?;
    let mut used = 0;
    for (number, der) in case.expectations.rules.crls.iter().enumerate() {
        let list = parse(der).with_context(|| format!("revocation.crls: list {}", number + 1))?;
        let names = [(&ark, "ARK"), (&ask, "ASK")];
        let Some((issuer, name)) = names.into_iter().find(|(issuer, _)| is_issuer(&list, issuer)) else { continue };
        let checked = judge(&list, issuer, case.expectations.now, case.policy().revocation.required);
        checked.with_context(|| format!("revocation.crls: list {}, of the {name}", number + 1))?;
        for (name, certificate, issuer_of) in [("ASK", &ask, &ark), ("endorsement key", &leaf, &ask)] {
            let revoked = same_key(issuer, issuer_of) && has(&list, certificate);
            ensure!(!revoked, "revocation: the certificate of the {name} was taken back");
        }
        used += usize::from(name == "ARK");
    }
    ensure!(
        used > 0 || !case.policy().revocation.required,
        "revocation.required = true: there is no list of this root"
    );
    Ok(format!("{used} of {} lists are this root's", case.expectations.rules.crls.len()))
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

fn judge(list: &CertificateList, issuer: &Certificate, now: SystemTime, required: bool) -> Result<()> {
    let tbs = &list.tbs_cert_list;
    ensure!(list.signature_algorithm == tbs.signature, "two signature algorithms");
    chain::ensure_pss(&list.signature_algorithm)?;
    let bytes = list.signature.as_bytes().context("the signature is no whole number of bytes")?;
    signature::rsa_pss_sha384(chain::rsa_key(issuer)?, &tbs.to_der()?, bytes)?;
    ensure!(tbs.this_update.to_system_time() <= now, "it is of the future: {}", tbs.this_update);
    if let Some(next) = tbs.next_update.filter(|_| required) {
        ensure!(now <= next.to_system_time(), "it should have been replaced: its next update was {next}");
    }
    Ok(())
}

fn has(list: &CertificateList, certificate: &Certificate) -> bool {
    let revoked = list.tbs_cert_list.revoked_certificates.iter().flatten();
    revoked.into_iter().any(|entry| entry.serial_number == certificate.tbs_certificate.serial_number)
}
