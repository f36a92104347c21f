//! Certificates from where they may be: tables, PEM, files; each put where it belongs by who issued it to whom.

use crate::chip::{ARK_GUID, ASK_GUID, TABLE_ENTRY, VCEK_GUID, VLEK_GUID};
use crate::evidence::folder::Evidence;
use crate::judge::{self, ek_certificate::all};
use crate::pem;
use crate::roots::AMD;
use anyhow::{Context, Result};
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

/// A certificate, and what it is read from.
struct Read<'a> {
    der: &'a Vec<u8>,
    certificate: Certificate,
}

impl<'a> Read<'a> {
    fn new(der: &'a Vec<u8>) -> Result<Self> {
        let certificate = Certificate::from_der(der).context("a certificate of the evidence, or beside it")?;
        Ok(Self { der, certificate })
    }

    fn is_authority(&self) -> bool {
        self.certificate.tbs_certificate.subject_public_key_info.algorithm.oid == RSA
    }

    /// Of `others`, the authority that has issued it, by name and signature; if none has signed it, the first of that
    /// name, which is refused when the chain is judged.
    fn issuer<'b>(&self, others: &'b [Read<'b>]) -> Result<&'b Read<'b>> {
        let name = &self.certificate.tbs_certificate.issuer;
        let has_name = |other: &&Read<'_>| other.is_authority() && other.certificate.tbs_certificate.subject == *name;
        let has_signed = |other: &&Read<'_>| judge::signed_by(&self.certificate, &other.certificate).is_ok();
        let mut named = others.iter().filter(has_name);
        let first = named.clone().next().with_context(|| format!("the certificate of {name} is not there"))?;
        Ok(named.find(has_signed).unwrap_or(first))
    }
}

/// Of those that name a chip or a provider, the one by whose key the report is signed, or the first. Where none does,
/// the first that is no authority of AMD's, which is refused when the chain is judged.
fn endorsement_key<'a>(read: &'a [Read<'a>], report: &[u8]) -> Result<&'a Read<'a>> {
    let mut others = read.iter().filter(|read| !read.is_authority());
    let mut named = others.clone().filter(|read| judge::is_of_an_endorsement_key(&read.certificate));
    let first = named.clone().next().or_else(|| others.next()).context(NO_ENDORSEMENT_KEY)?;
    Ok(named.find(|read| judge::is_signed_by(report, &read.certificate)).unwrap_or(first))
}

/// Gives the evidence the endorsement key of `found` that has signed its report, the ASK or ASVK that has issued it,
/// and the ARK of that; AMD's own where they are not among them. Operators' and firmware's certificates may be among
/// `found`, in any order. Whether the chain is right is judged later.
pub fn complete(evidence: &mut Evidence, found: &[Vec<u8>]) -> Result<()> {
    let own = AMD.iter().flat_map(|amd| [&amd.ask, &amd.ark]);
    let all: Vec<Read<'_>> = found.iter().chain(own).map(Read::new).collect::<Result<_>>()?;
    let leaf = endorsement_key(&all[..found.len()], &evidence.report)?;
    let ask = leaf.issuer(&all)?;
    let ark = ask.issuer(&all)?;
    evidence.vcek.clone_from(leaf.der);
    evidence.ask.clone_from(ask.der);
    evidence.ark.clone_from(ark.der);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{complete, of_file, of_table};
    use crate::evidence::folder::Evidence;
    use crate::judge::tests::twin::{Twin, expectations};
    use crate::judge::tests::{authority, issuer, vtpm};
    use crate::policy::Rules;
    use crate::verdict::Verdict;
    use host::psp::Identity;

    /// All orders of the items.
    fn orders(items: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let first = |at: usize| {
            let mut others = items.to_vec();
            let first = others.remove(at);
            orders(&others).into_iter().map(move |order| [vec![first.clone()], order].concat())
        };
        (0..items.len()).flat_map(first).collect()
    }

    /// Of certificates with elliptic curves, and of authorities of one name, the right ones are found.
    #[test]
    fn the_key_that_has_signed_the_report_is_found_among_others_in_any_order() {
        let genoa = authority::genoa();
        let mut twin = Twin::new();
        twin.become_of(&genoa);
        let Identity { ark, ask, vcek, .. } = genoa.identity;
        let operator = issuer::operator(&[issuer::constraints(true, None)]);
        let firmware = vtpm::index(&Twin::new(), 0, vtpm::ISSUER);
        let rules = Rules { roots: authority::roots(), ..Rules::default() };
        let expected = crate::Expectations { rules, ..expectations() };
        let authorities = [ark, ask, authority::another_ask(), authority::another_ark()];
        let leaves = [operator, firmware, authority::another_vcek(), vcek];
        let [leaves, authorities] = [leaves.to_vec(), authorities.to_vec()].map(|all| orders(&all));
        assert_eq!((leaves.len(), authorities.len()), (24, 24));
        for (leaves, authorities) in leaves.into_iter().zip(authorities) {
            for found in [[leaves.clone(), authorities.clone()].concat(), [authorities, leaves].concat()] {
                let mut evidence = twin.report_alone();
                [&mut evidence.ark, &mut evidence.ask, &mut evidence.vcek].into_iter().for_each(Vec::clear);
                complete(&mut evidence, &found).unwrap();
                assert_eq!(evidence, twin.report_alone());
                assert_eq!(Verdict::of(&evidence, &expected).status(), 0);
            }
        }
    }

    /// Nothing is found that fits: what is taken instead is refused, and says why.
    #[test]
    fn where_none_has_signed_the_first_is_refused_at_its_step() {
        let genoa = authority::genoa();
        let mut twin = Twin::new();
        twin.become_of(&genoa);
        let Identity { ark, ask, vcek, .. } = genoa.identity;
        let rules = Rules { roots: authority::roots(), ..Rules::default() };
        let expected = crate::Expectations { rules, ..expectations() };
        let Identity { ark: milan, ask: below, vcek: nobody, .. } = authority::nobody().identity;
        for (found, step) in [
            (vec![authority::another_vcek(), ask.clone(), ark.clone()], "report signature"),
            (vec![vcek, authority::another_ask(), ark], "certificate chain"),
            (vec![nobody, below, milan], "certificate chain"),
        ] {
            let mut evidence = twin.report_alone();
            complete(&mut evidence, &found).unwrap();
            let verdict = Verdict::of(&evidence, &expected);
            assert_eq!(verdict.failed().map(|failed| failed.step.name()), Some(step));
        }
    }

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
