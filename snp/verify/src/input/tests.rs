//! Each row of docs/policy.md's first table: a twin's evidence, written as others write it, is read as what it is, and
//! judged so.

use super::azure::tests::blob;
use super::{MOST, read};
use crate::evidence::boot_log::tests::log;
use crate::evidence::event_log::initial_pcrs;
use crate::evidence::folder::Evidence;
use crate::evidence::ima::tests::list;
use crate::evidence::userspace::tests as systemd;
use crate::judge::tests::twin::{Twin, expectations};
use crate::verdict::Verdict;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use host::qemu::Folder;
use serde_json::json;
use std::fs;

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> Folder {
    let folder = Folder::new().unwrap();
    files.iter().for_each(|(name, contents)| fs::write(folder.path().join(name), contents).unwrap());
    folder
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: String = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

/// What is read is what was written, and is judged to this exit status. `others` are the verifier's certificates.
fn is_as(original: &Evidence, files: &[(&str, &[u8])], others: &[Vec<u8>], status: u8) {
    let found = read(folder(files).path(), others).unwrap();
    assert!(found == *original, "{found:?}\nis not\n{original:?}");
    assert_eq!(Verdict::of(&found, &expectations()).status(), status);
}

/// The same of a file that is evidence by itself.
fn is_as_file(original: &Evidence, contents: &[u8], others: &[Vec<u8>], status: u8) {
    let folder = folder(&[("evidence", contents)]);
    let found = read(&folder.path().join("evidence"), others).unwrap();
    assert!(found == *original, "{found:?}\nis not\n{original:?}");
    assert_eq!(Verdict::of(&found, &expectations()).status(), status);
}

/// AMD's intermediate and root, which the mock ones stand for.
fn above() -> Vec<Vec<u8>> {
    let Evidence { ask, ark, .. } = Twin::new().evidence();
    vec![ask, ark]
}

#[test]
fn a_folder_of_ours() {
    let twin = Twin { boot_events: log("quiet"), ..Twin::new() }.evidence();
    let folder = Folder::new().unwrap();
    twin.write(folder.path()).unwrap();
    assert_eq!(read(folder.path(), &[]).unwrap(), twin);
    assert_eq!(Verdict::of(&twin, &expectations()).status(), 0);
}

#[test]
fn what_configfs_tsm_gives() {
    let mut twin = Twin::new().listed();
    let table = Twin::new().identity.certificate_table();
    let (report, manifest, nonce) = (twin.report.clone(), twin.manifest.clone(), twin.nonce.clone());
    let all: [(&str, &[u8]); 4] =
        [("outblob", &report), ("auxblob", &table), ("manifestblob", &manifest), ("inblob", &nonce)];
    is_as(&twin, &all, &[], 0);
    let own = twin.vcek.clone();
    is_as(&twin, &[all[0], all[2], all[3]], &[vec![own], above()].concat(), 0);
    twin.nonce.clear();
    is_as(&twin, &all[..3], &[], 3);
    let alone = Twin::new().report_alone();
    is_as(&alone, &[("outblob", &alone.report), all[1], ("inblob", &alone.nonce)], &[], 0);
}

#[test]
fn a_certificate_table_that_points_beyond_its_end_is_no_auxblob() {
    let twin = Twin::new().report_alone();
    let mut table = Twin::new().identity.certificate_table();
    table[18] = 0xFF;
    let folder = folder(&[("outblob", &twin.report), ("auxblob", &table)]);
    let why = read(folder.path(), &[]).unwrap_err().to_string();
    assert!(why.contains("points beyond its end"), "{why}");
}

#[test]
fn azures_folder() {
    let logged = Twin {
        boot_events: log("quiet"),
        ima: list(&{
            let mut pcrs = initial_pcrs();
            crate::evidence::boot_log::BootLog::parse(&log("quiet")).unwrap().replay(&mut pcrs).unwrap();
            pcrs
        }),
        userspace: systemd::log(),
        ..Twin::new()
    };
    let twin = logged.azure();
    let chain = above().iter().map(|der| pem(der)).collect::<String>();
    let metadata = json!({ "vcekCert": pem(&twin.vcek), "certificateChain": chain, "tcbm": "00" }).to_string();
    let index = blob(&twin);
    let bare = &twin.quote_signature[6..];
    let all: [(&str, &[u8]); 9] = [
        ("hcl-report.bin", &index),
        ("quote.msg", &twin.quote),
        ("quote.sig", &twin.quote_signature),
        ("quote.pcrs", &twin.pcrs),
        ("quote.nonce", &twin.quote_nonce),
        ("binary_bios_measurements", &twin.boot_events),
        ("binary_runtime_measurements", &twin.ima),
        ("tpm2-measure.log", &twin.userspace),
        ("certification.json", metadata.as_bytes()),
    ];
    is_as(&twin, &all, &[], 0);
    let with = |at: usize, name: &'static str, contents: &[u8], wanted: &Evidence, status: u8| {
        let mut other = all;
        let contents = contents.to_vec();
        other[at] = (name, &contents);
        is_as(wanted, &other, &[], status);
    };
    with(2, "quote.sig", bare, &twin, 0);
    with(6, "ascii_runtime_measurements", &twin.ima, &twin, 0);
    with(4, "another", &[], &Evidence { quote_nonce: Vec::new(), ..twin.clone() }, 3);
    with(3, "another", &[], &Evidence { pcrs: Vec::new(), ..twin.clone() }, 28);
    with(6, "another", &[], &Evidence { ima: Vec::new(), ..twin.clone() }, 0);
    let vcek = twin.vcek.clone();
    is_as(&twin, &all[..8], &[vec![vcek], above()].concat(), 0);
}

#[test]
fn a_folder_with_a_report_alone() {
    let twin = Twin::new().report_alone();
    let [ask, ark] = &above()[..] else { panic!("two") };
    let pems = pem(ask) + &pem(ark);
    for (name, vcek) in [("vcek.der", twin.vcek.clone()), ("vcek.pem", pem(&twin.vcek).into_bytes())] {
        let all: [(&str, &[u8]); 5] = [
            ("report.bin", &twin.report),
            (name, &vcek),
            ("nonce.bin", &twin.nonce),
            ("ask.der", ask),
            ("ark.der", ark),
        ];
        is_as(&twin, &all, &[], 0);
        is_as(&twin, &[all[0], all[1], all[2], ("chain.pem", pems.as_bytes())], &[], 0);
    }
    let nobodys = Evidence { nonce: Vec::new(), ..twin.clone() };
    let files: [(&str, &[u8]); 2] = [("report.bin", &nobodys.report), ("vcek.der", &nobodys.vcek)];
    is_as(&nobodys, &files, &above(), 3);
}

#[test]
fn a_certificate_that_carries_a_report() {
    let twin = Twin::new().certificate();
    is_as_file(&twin, &twin.ek_certificate, &above(), 0);
    is_as_file(&twin, pem(&twin.ek_certificate).as_bytes(), &above(), 0);
}

#[test]
fn a_file_with_azures_index_alone() {
    let mut twin = Twin::new().azure();
    [&mut twin.quote, &mut twin.quote_signature, &mut twin.quote_nonce, &mut twin.pcrs]
        .into_iter()
        .for_each(Vec::clear);
    let vcek = twin.vcek.clone();
    // Nothing in it answers the verifier.
    is_as_file(&twin, &blob(&twin), &[vec![vcek], above()].concat(), 3);
}

#[test]
fn a_file_with_a_report_alone() {
    let twin = Evidence { nonce: Vec::new(), ..Twin::new().report_alone() };
    let vcek = twin.vcek.clone();
    is_as_file(&twin, &twin.report, &[vec![vcek], above()].concat(), 3);
}

#[test]
fn a_file_of_a_verifier_services() {
    let twin = Twin::new().azure();
    let pcrs: Vec<&[u8]> = twin.pcrs.chunks(32).collect();
    let quote = json!({ "message": twin.quote, "signature": &twin.quote_signature[6..], "pcrs": pcrs });
    let file = json!({ "report": blob(&twin), "quote": quote, "vcek": pem(&twin.vcek) }).to_string();
    is_as_file(&Evidence { quote_nonce: Vec::new(), ..twin }, file.as_bytes(), &above(), 3);
}

#[test]
fn what_is_nothing_of_that_is_told() {
    let none = Folder::new().unwrap();
    let said = |contents: &[u8]| {
        let file = none.path().join("file");
        fs::write(&file, contents).unwrap();
        format!("{:#}", read(&file, &[]).unwrap_err())
    };
    assert!(said(b"no evidence").starts_with("this is neither Azure's attestation report"));
    assert!(said(&[0; 1183]).contains("nor a report of 1184 bytes"));
    assert!(said(&vec![0; usize::try_from(MOST).unwrap() + 1]).contains("is longer than"));
    assert!(said(b"HCLA").contains("Azure's report ends early"));
    assert!(said(&Twin::new().identity.ark).contains("carries no report"));
    fs::remove_file(none.path().join("file")).unwrap();
    let why = format!("{:#}", read(none.path(), &[]).unwrap_err());
    assert!(why.contains("report.bin"), "the first file of ours is named: {why}");
    let alone = folder(&[("report.bin", &[0; 1184])]);
    let why = read(alone.path(), &[]).unwrap_err().to_string();
    assert!(!why.is_empty(), "there is no certificate");
}
