//! Certificates under an authority of the operator's.

use super::*;
use crate::identity::authority::testing::{Ca, Says, name};
use crate::identity::authority::{Authorities, Channel, NotIssued, Unreachable};
use tpm_crypto::ecc::Curve;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
use x509_cert::request::CertReq;

/// An operator whose root certifies every issuer; between them is another authority.
struct Operator {
    root: Ca,
    middle: Ca,
    says: Says,
    /// What it was asked: the issuer's own certificate, the host's, the request.
    asked: Vec<Vec<u8>>,
    answer: Option<Vec<u8>>,
    /// Refuses.
    refuses: bool,
}

impl Operator {
    fn new() -> Operator {
        Operator {
            root: Ca::elliptic("Operator's root", Curve::NistP256),
            middle: Ca::elliptic("Operator's authority", Curve::NistP384),
            says: Says { key_id: Some([0xab; 20].to_vec()), ..Says::default() },
            asked: Vec::new(),
            answer: None,
            refuses: false,
        }
    }

    fn authorities(&mut self) -> Authorities {
        let setting = [&[1, 0, 5, 0][..], &self.root.own(&Says::default())].concat();
        Authorities::parse(&setting).ok().unwrap()
    }
}

impl Channel for Operator {
    fn send(&mut self, message: &[u8]) -> Result<(), Unreachable> {
        let word = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        assert_eq!(word(0), 1);
        let mut rest = &message[16..];
        for at in [4, 8, 12] {
            let (part, behind) = rest.split_at(word(at) as usize);
            self.asked.push(part.to_vec());
            rest = behind;
        }
        assert!(rest.is_empty());
        let issuer = Certificate::from_der(&self.asked[0]).unwrap();
        let key = issuer.tbs_certificate().subject_public_key_info().to_der().unwrap();
        let own = self.middle.certify(&name("Issuer of a boot"), &key, &self.says);
        let middle = self.root.certify(&self.middle.name, &self.middle.key_info, &Says::default());
        let kind = u8::from(self.refuses);
        self.answer = Some([&[1, 0, 0, 0, kind, 0, 0, 0][..], &own, &middle].concat());
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Vec<u8>>, Unreachable> {
        Ok(self.answer.take())
    }
}

fn certified(operator: &mut Operator) -> (Scene, Result<(), NotIssued>) {
    let mut scene = Scene::new();
    let authorities = operator.authorities();
    let done = scene.tpm.certify(&authorities, operator, &scene.reports);
    (scene, done)
}

/// The chain is where clients look for it, and leads from every key of the TPM to the root; certificates carry the
/// report as before.
#[test]
fn certificates_are_issued_under_the_operators_name() {
    let mut operator = Operator::new();
    let (mut scene, done) = certified(&mut operator);
    assert_eq!(done, Ok(()));
    let [issuer, middle, root] = [0, 1, 2].map(|number| scene.certificate(ISSUER_INDEX + number));
    assert_eq!(issuer.tbs_certificate().subject().to_der().unwrap(), name("Issuer of a boot"));
    assert!(signed_by(&issuer, &middle));
    assert_eq!(root.to_der().unwrap(), operator.root.own(&Says::default()));
    let above = [certificate_like(2, 1638), certificate_like(3, 1640)].concat();
    assert_eq!(scene.read(ISSUER_INDEX + 3), Ok(above), "what is the host's comes behind them");
    assert_eq!(scene.public(ISSUER_INDEX + 4), Err(HANDLE));
    for index in LEAVES {
        let leaf = scene.certificate(index);
        assert!(signed_by(&leaf, &issuer), "{index:#x}");
        assert_eq!(leaf.tbs_certificate().issuer(), issuer.tbs_certificate().subject());
        let (_, by) = leaf.tbs_certificate().get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
        assert_eq!(by.key_identifier.unwrap().as_bytes(), [0xab; 20]);
        let wrapper = wrapper(&leaf);
        assert_eq!(wrapper[0], 0xa3, "statement, report and the chip's certificate");
    }
    assert_eq!(scene.asked(), 1, "one report for all");
}

/// RFC 5280, 4.2.1.1: without an identifier in the issuer's certificate it is the firmware's own.
#[test]
fn without_a_key_identifier_of_the_operators_there_is_the_firmwares() {
    let mut operator = Operator { says: Says::default(), ..Operator::new() };
    let (mut scene, _) = certified(&mut operator);
    let own = Certificate::from_der(&operator.asked[0]).unwrap();
    let (_, own) = own.tbs_certificate().get_extension::<SubjectKeyIdentifier>().unwrap().unwrap();
    let leaf = scene.certificate(P256_EK);
    let (_, by) = leaf.tbs_certificate().get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
    assert_eq!(by.key_identifier, Some(own.0));
}

/// With another seed (Part 3, 24.5) the issuer is the same.
#[test]
fn other_keys_are_certified_under_the_same_name() {
    let (mut scene, _) = certified(&mut Operator::new());
    let first = scene.read(P256_EK).unwrap();
    scene.authorized(0x24, &[PLATFORM], &[]).unwrap();
    let second = scene.certificate(P256_EK);
    assert_ne!(second.to_der().unwrap(), first);
    assert!(signed_by(&second, &scene.certificate(ISSUER_INDEX)));
    assert!(scene.certificate(ISSUER_INDEX + 2).tbs_certificate().subject().to_string().contains("Operator's root"));
}

/// What is asked is what the issuer's own certificate would be, and a request for the same key.
#[test]
fn the_request_has_the_report_and_a_request_that_is_signed_by_its_key() {
    let mut operator = Operator::new();
    let (_, done) = certified(&mut operator);
    assert_eq!(done, Ok(()));
    let [own, above, request] = &operator.asked[..] else { panic!("{} parts", operator.asked.len()) };
    let own = Certificate::from_der(own).unwrap();
    assert!(signed_by(&own, &own));
    assert_eq!(wrapper(&own)[0], 0xa3);
    assert_eq!(*above, [certificate_like(2, 1638), certificate_like(3, 1640)].concat());
    let request = CertReq::from_der(request).unwrap();
    assert_eq!(&request.info.public_key, own.tbs_certificate().subject_public_key_info());
    assert_eq!(&request.info.subject, own.tbs_certificate().subject());
    let key = VerifyingKey::from_sec1_bytes(request.info.public_key.subject_public_key.raw_bytes()).unwrap();
    let signature = DerSignature::try_from(request.signature.raw_bytes()).unwrap();
    assert!(key.verify(&request.info.to_der().unwrap(), &signature).is_ok());
    let wanted = own.tbs_certificate().extensions().unwrap().to_der().unwrap();
    let attributes = request.info.attributes.to_der().unwrap();
    assert!(attributes.windows(wanted.len()).any(|window| window == wanted), "extensionRequest");
}

/// The firmware's own certificates then, as without an operator.
#[test]
fn without_a_good_answer_nothing_has_changed() {
    let mut refuses = Operator { refuses: true, ..Operator::new() };
    let mut others = Operator { middle: Ca::elliptic("", Curve::NistP384), ..Operator::new() };
    others.middle.name = name("Operator's authority");
    for operator in [&mut refuses, &mut others] {
        let authorities = if operator.refuses { operator.authorities() } else { Operator::new().authorities() };
        operator.root = Ca::elliptic("Another root", Curve::NistP256);
        let mut scene = Scene::new();
        assert!(scene.tpm.certify(&authorities, operator, &scene.reports).is_err());
        let issuer = scene.certificate(ISSUER_INDEX);
        assert!(signed_by(&issuer, &issuer));
        assert!(signed_by(&scene.certificate(P256_EK), &issuer));
        let above = [certificate_like(2, 1638), certificate_like(3, 1640)].concat();
        assert_eq!(scene.read(ABOVE_INDEX), Ok(above));
    }
}

#[test]
fn without_a_report_nobody_is_asked() {
    let mut operator = Operator::new();
    let authorities = operator.authorities();
    let mut scene = Scene::new();
    scene.reports.get_mut().broken = Some(ReportError::Message(MessageError::Burned));
    let done = scene.tpm.certify(&authorities, &mut operator, &scene.reports);
    assert_eq!((done, operator.asked.len()), (Err(NotIssued::NoReport), 0));
}
