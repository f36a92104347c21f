//! A running server, asked by the verifier over its ports (`quoin-verify --tcti`).

use crate::client::{PROGRAM, Server};
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::evidence::wire::Algorithm;
use quoin_verify::evidence::{manifest, template};
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

/// Templates L-1, L-2, H-3, H-6, H-7 of the EK profile: RSA and ECC, PolicyA and PolicyB, SHA-256 and SHA-384.
#[test]
fn endorsement_keys_of_every_kind_are_proven_each_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["provision", "--state", "tpm", "--development-ca", "ca", "--key", "p384"];
    assert!(Command::new(PROGRAM).current_dir(folder.path()).args(options).output().unwrap().status.success());
    let more = ["--key", "rsa3072", "--key", "rsa4096", "--key", "p256", "--key", "rsa2048-high"];
    let all = [&options[..5], &more].concat();
    let roots = input::certificates::of_file(&fs::read(folder.path().join("ca/ca.pem")).unwrap()).unwrap();
    let tpm = folder.path().join("tpm");
    // The only certificate tells which EK is meant.
    let server = Server::start(&["--state", tpm.to_str().unwrap()]);
    let tcti = format!("swtpm:port={}", server.port);
    let evidence = asked(&tcti, Request::default());
    assert_eq!(manifest::ek(&evidence.manifest).unwrap().key.algorithm(), Algorithm::EccP384);
    assert_eq!(verdict(&evidence, &roots, None).status(), 0);
    drop(server);
    assert!(Command::new(PROGRAM).current_dir(folder.path()).args(all).output().unwrap().status.success());
    let server = Server::start(&["--state", tpm.to_str().unwrap()]);
    let tcti = format!("swtpm:port={}", server.port);
    for kind in [Algorithm::Rsa2048, Algorithm::Rsa3072, Algorithm::Rsa4096, Algorithm::EccP256, Algorithm::EccP384] {
        let evidence = asked(&tcti, Request { ek: Some(kind), ..Request::default() });
        let found = verdict(&evidence, &roots, None);
        assert_eq!(found.status(), 0, "{kind:?}: {found:?}");
        assert_eq!(manifest::ek(&evidence.manifest).unwrap().key.algorithm(), kind);
        for (part, step) in [(0, Step::EndorsementKey), (1, Step::Credential), (2, Step::Credential)] {
            let mut wrong = evidence.clone();
            match part {
                0 => *wrong.manifest.last_mut().unwrap() ^= 1,
                1 => wrong.seed[0] ^= 1,
                _ => wrong.encrypted_seed[20] ^= 1,
            }
            let status = verdict(&wrong, &roots, None).status();
            // A modulus whose last bit differs is even; another one would be of another EK.
            assert_eq!(status, step.status(), "{kind:?}, part {part}");
        }
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
