//! Certificates from where they may be: tables, PEM, files; each put where it belongs by who issued it to whom.

use crate::chip::{ARK_GUID, ASK_GUID, TABLE_ENTRY, VCEK_GUID, VLEK_GUID};
use crate::evidence::folder::Evidence;
use crate::judge::ek_certificate::all;
use crate::pem;
use crate::roots::AMD;
use anyhow::{Context, Result, ensure};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

/// More than any table has.
const MAX_ENTRIES: usize = 64;

/// The certificates of a GHCB certificate table, which may be empty; entries of other kinds are left alone.
pub fn of_table(table: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in table.chunks_exact(TABLE_ENTRY).take(MAX_ENTRIES) {
        if entry.iter().all(|byte| *byte == 0) {
            break;
        }
        let (guid, place) = entry.split_at(16);
        if ![ARK_GUID, ASK_GUID, VCEK_GUID, VLEK_GUID].iter().any(|known| known == guid) {
            continue;
        }
        let number = |at: usize| Ok::<_, anyhow::Error>(u32::from_le_bytes(place[at..at + 4].try_into()?) as usize);
        let (offset, length) = (number(0)?, number(4)?);
        let certificate = table.get(offset..offset.saturating_add(length));
        let certificate = certificate.context("an entry of the certificate table points beyond its end")?;
        found.push(pem::der(certificate)?);
    }
    Ok(found)
}

/// The certificates of a file: in DER one after another, as NV Indices hold them, or any number in PEM.
pub fn of_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    if pem::is_pem(bytes) {
        return pem::all(bytes);
    }
    let several = all(bytes).ok().filter(|found| found.concat().len() == bytes.len() && found.len() > 1);
    Ok(several.map_or_else(|| vec![bytes.to_vec()], |found| found.into_iter().map(<[u8]>::to_vec).collect()))
}

const NO_ENDORSEMENT_KEY: &str = "no certificate of an endorsement key (VCEK or VLEK) is there";
/// rsaEncryption (RFC 3279).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A certificate by what it says of itself.
struct Named<'a> {
    der: &'a Vec<u8>,
    subject: String,
    issuer: String,
    is_authority: bool,
}

impl<'a> Named<'a> {
    fn new(der: &'a Vec<u8>) -> Result<Self> {
        let tbs = Certificate::from_der(der).context("a certificate of the evidence, or beside it")?.tbs_certificate;
        Ok(Self {
            der,
            subject: tbs.subject.to_string(),
            issuer: tbs.issuer.to_string(),
            is_authority: tbs.subject_public_key_info.algorithm.oid == RSA,
        })
    }
}

/// Gives the evidence the first endorsement key of `found`, the ASK or ASVK that has issued it, and the ARK of that;
/// AMD's own where they are not among them. Whether the names are true is judged later.
pub fn complete(evidence: &mut Evidence, found: &[Vec<u8>]) -> Result<()> {
    let own = AMD.iter().flat_map(|amd| [&amd.ask, &amd.ark]);
    let mut all: Vec<Named<'_>> = found.iter().map(Named::new).collect::<Result<_>>()?;
    ensure!(all.iter().any(|named| !named.is_authority), NO_ENDORSEMENT_KEY);
    all.extend(own.map(Named::new).collect::<Result<Vec<_>>>()?);
    let leaf = all.iter().find(|named| !named.is_authority);
    let leaf = leaf.context(NO_ENDORSEMENT_KEY)?;
    let issuer_of = |of: &Named<'_>| {
        let issuer = all.iter().find(|named| named.is_authority && named.subject == of.issuer);
        issuer.with_context(|| format!("the certificate of {} is not there", of.issuer))
    };
    let ask = issuer_of(leaf)?;
    let ark = issuer_of(ask)?;
    evidence.vcek.clone_from(leaf.der);
    evidence.ask.clone_from(ask.der);
    evidence.ark.clone_from(ark.der);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{complete, of_file, of_table};
    use crate::evidence::folder::Evidence;
    use host::psp::Identity;

    #[test]
    fn certificates_find_their_places_in_any_order() {
        let Identity { ark, ask, vcek, .. } = Identity::development();
        for order in [[&ark, &ask, &vcek], [&vcek, &ask, &ark], [&ask, &vcek, &ark]] {
            let mut evidence = Evidence::default();
            complete(&mut evidence, &order.map(Clone::clone)).unwrap();
            assert_eq!((&evidence.ark, &evidence.ask, &evidence.vcek), (&ark, &ask, &vcek));
        }
    }

    #[test]
    fn a_table_and_amds_own_roots_are_read() {
        let identity = Identity::development();
        assert_eq!(of_table(&identity.certificate_table()).unwrap().len(), 3);
        assert!(of_table(&[]).unwrap().is_empty());
        let mut cut = identity.certificate_table();
        cut.truncate(200);
        assert!(of_table(&cut).is_err());
        let mut evidence = Evidence::default();
        complete(&mut evidence, &[identity.vcek]).unwrap();
        assert!(!evidence.ark.is_empty() && evidence.ark != identity.ark, "AMD's for Milan");
        assert!(complete(&mut Evidence::default(), &[]).is_err());
    }

    #[test]
    fn a_file_is_one_in_der_or_several_in_pem() {
        assert_eq!(of_file(&[0x30, 0]).unwrap(), [[0x30, 0]]);
        let one = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        assert_eq!(of_file(one.repeat(2).as_bytes()).unwrap().len(), 2);
    }
}
