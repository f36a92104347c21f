//! A running server, asked by the verifier over its ports (`quoin-verify --tcti`).

use crate::client::{PROGRAM, Server};
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::evidence::template;
use quoin_verify::judge::Step;
use quoin_verify::policy::Rules;
use quoin_verify::tcti::client::Tpm;
use quoin_verify::tcti::gather::{Request, gather};
use quoin_verify::tcti::{Transport, open};
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, input};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A TPM with a certificate of its RSA-2048 EK by a development CA, and that CA's certificate.
fn provisioned(folder: &Path) -> (Server, Vec<Vec<u8>>) {
    let options = ["provision", "--state", "tpm", "--key", "rsa2048", "--development-ca", "ca"];
    assert!(Command::new(PROGRAM).current_dir(folder).args(options).output().unwrap().status.success());
    let roots = input::certificates::of_file(&fs::read(folder.join("ca/ca.pem")).unwrap()).unwrap();
    (Server::start(&["--state", folder.join("tpm").to_str().unwrap()]), roots)
}

fn asked(tcti: &str, request: Request) -> Evidence {
    gather(&mut *open(tcti).unwrap(), request).unwrap()
}

fn verdict(evidence: &Evidence, ek_roots: &[Vec<u8>], quote_nonce: Option<Vec<u8>>) -> Verdict {
    let rules = Rules { ek_roots: ek_roots.to_vec(), ..Rules::default() };
    Verdict::of(evidence, &Expectations { rules, quote_nonce, ..Expectations::default() })
}

#[test]
fn a_provisioned_server_is_verified_over_its_ports_up_to_its_ca() {
    let folder = tempfile::tempdir().unwrap();
    let (server, roots) = provisioned(folder.path());
    for protocol in ["swtpm", "mssim"] {
        let tcti = format!("{protocol}:host=127.0.0.1,port={}", server.port);
        let nonce = vec![0x5C; 32];
        let evidence = asked(&tcti, Request { quote_nonce: Some(nonce.clone()), ..Request::default() });
        assert_eq!(evidence.kind, Kind::Tpm);
        let right = verdict(&evidence, &roots, Some(nonce));
        assert_eq!(right.status(), 0, "{right:?}");
        assert!(right.conclusion().1.starts_with("10 steps ok; not in this evidence: root"), "{right:?}");
        assert_eq!(verdict(&evidence, &[], None).status(), 3, "nobody vouches for the CA");
        assert_eq!(verdict(&evidence, &roots, Some(vec![0; 32])).status(), Step::QuoteNonce.status(), "an old quote");
        let mut flipped = evidence.clone();
        flipped.ek_certificate[600] ^= 1;
        assert_eq!(verdict(&flipped, &roots, None).status(), Step::EkCertificate.status());
        evidence.write(&folder.path().join("saved")).unwrap();
        assert_eq!(input::read(&folder.path().join("saved"), &[]).unwrap(), evidence);
    }
}

/// TPM2_EvictControl of `object` by the owner.
fn persist(transport: &mut dyn Transport, object: u32, handle: u32) {
    let area = [&9_u32.to_be_bytes()[..], &0x4000_0009_u32.to_be_bytes(), &[0; 5]].concat();
    let handles = [0x4000_0001_u32, object].map(u32::to_be_bytes).concat();
    let body = [&0x120_u32.to_be_bytes()[..], &handles, &area, &handle.to_be_bytes()].concat();
    let size = u32::try_from(6 + body.len()).unwrap();
    let response = transport.exchange(&[&[0x80, 2][..], &size.to_be_bytes(), &body].concat()).unwrap();
    assert_eq!(response[6..10], [0; 4], "{response:x?}");
}

#[test]
fn an_ak_of_the_guests_is_taken_by_its_handle_and_one_that_signs_anything_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, roots) = provisioned(folder.path());
    let tcti = format!("swtpm:port={}", server.port);
    let other = quoin_verify::evidence::wire::Public {
        attributes: template::ak_p256().attributes & !quoin_verify::evidence::wire::attribute::RESTRICTED,
        ..template::ak_p256()
    };
    for (number, template, status) in
        [(2, template::ak_rsa_2048(), 0), (3, template::ak_p256(), 0), (4, other, Step::AttestationKey.status())]
    {
        let mut transport = open(&tcti).unwrap();
        let handle = 0x8101_0000 + number;
        let (object, _) = Tpm::new(&mut *transport).create_primary(&template).unwrap();
        persist(&mut *transport, object, handle);
        Tpm::new(&mut *transport).flush(object).unwrap();
        let evidence = gather(&mut *transport, Request { ak: Some(handle), ..Request::default() }).unwrap();
        let found = verdict(&evidence, &roots, None);
        assert_eq!(found.status(), status, "{found:?}");
    }
}
