//! Each option of the program has one run that differs with and without it, on a twin's evidence in files. What is
//! printed, and the exit statuses of real evidence, are tests of the program as it is built (tests/program.rs).

mod issuers;
mod tpm;

use super::{Args, PredictArgs, carrier, evidence, predict, verdict};
use crate::evidence::event_log::initial_pcrs;
use crate::evidence::folder::Evidence;
use crate::evidence::ima::signature::tests::signed_file;
use crate::evidence::ima::tests::list;
use crate::input::azure::tests::blob;
use crate::judge::Step;
use crate::judge::tests::authority::{self, Crl};
use crate::judge::tests::issuer;
use crate::judge::tests::twin::{Twin, measurement};
use crate::testing::{Header, igvm};
use crate::verdict::Verdict;
use crate::{digest, memory};
use clap::Parser;
use host::qemu::Folder;
use p256::pkcs8::EncodePrivateKey;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[derive(Parser)]
struct Predict {
    #[command(flatten)]
    args: PredictArgs,
}

/// A folder with evidence, and files that options name.
struct Place {
    folder: Folder,
    /// Options of every run.
    always: Vec<String>,
}

impl Place {
    fn of(files: &[(&str, &[u8])], always: &[&str]) -> Self {
        let place = Self { folder: Folder::new().unwrap(), always: always.iter().map(|word| (*word).into()).collect() };
        files.iter().for_each(|(name, contents)| {
            place.file(name, contents);
        });
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file; gives its path as an argument.
    fn file(&self, name: &str, contents: &[u8]) -> String {
        fs::write(self.path(name), contents).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, options: &[&str]) -> anyhow::Result<Verdict> {
        let always = self.always.iter().map(String::as_str);
        let words = ["quoin-verify", self.folder.path().to_str().unwrap()].into_iter().chain(always);
        let Cli { args } = Cli::try_parse_from(words.chain(options.iter().copied()))?;
        verdict(&args, &evidence(&args)?)
    }

    fn status(&self, options: &[&str]) -> u8 {
        self.run(options).unwrap().status()
    }

    fn refusal(&self, options: &[&str]) -> String {
        format!("{:#}", self.run(options).unwrap_err())
    }
}

/// When the twins' certificates and lists are valid.
const AT: &str = "2027-01-15T08:00:00Z";

/// A Genoa's report alone, with all certificates; of its nonce nothing is said. The root's digest is in a policy file.
fn genoa() -> Place {
    let mut twin = Twin::new();
    twin.become_of(&authority::genoa());
    let Evidence { report, vcek, ask, ark, .. } = twin.report_alone();
    let files: [(&str, &[u8]); 4] =
        [("report.bin", &report), ("vcek.der", &vcek), ("ask.der", &ask), ("ark.der", &ark)];
    let digest = digest::hex(&measurement());
    let mut place = Place::of(&files, &["--measurement", &digest]);
    let policy = policy(&place, &ark, "");
    place.always.extend(["--policy-file".into(), policy]);
    place
}

fn policy(place: &Place, ark: &[u8], more: &str) -> String {
    let root = digest::hex(&Sha256::digest(ark));
    place.file("policy.toml", format!("version = 1\nroots.sha256 = [\"{root}\"]\n{more}").as_bytes())
}

fn nonce() -> String {
    "17".repeat(32)
}

#[test]
fn at_is_when_certificates_must_be_valid() {
    let (place, nonce) = (genoa(), nonce());
    assert_eq!(place.status(&["--nonce", &nonce, "--at", AT]), 0);
    assert_eq!(place.status(&["--nonce", &nonce, "--at", "2001-01-15T08:00:00Z"]), Step::Chain.status());
    assert!(place.refusal(&["--at", "yesterday"]).contains("a time in UTC"));
}

#[test]
fn nonce_is_what_the_report_must_answer() {
    let place = genoa();
    assert_eq!(place.status(&["--at", AT]), 3, "nobody says");
    assert_eq!(place.status(&["--at", AT, "--nonce", &nonce()]), 0);
    assert_eq!(place.status(&["--at", AT, "--nonce", &"18".repeat(32)]), Step::ReportData.status());
}

#[test]
fn crl_brings_a_list_of_revoked_certificates() {
    let (place, nonce) = (genoa(), nonce());
    let common = ["--at", AT, "--nonce", &nonce];
    let with = |list: &Crl| {
        let path = place.file("list.crl", &list.der());
        place.status(&[&common[..], &["--crl", &path]].concat())
    };
    assert_eq!(place.status(&common), 0, "no rule asks for one");
    let ark = fs::read(place.path("ark.der")).unwrap();
    policy(&place, &ark, "revocation.required = true\n");
    assert_eq!(place.status(&common), Step::Revocation.status(), "there is none");
    assert_eq!(with(&Crl::default()), 0);
    assert_eq!(with(&Crl::revoking_the_intermediate()), Step::Revocation.status());
}

#[test]
fn certificates_are_those_that_are_not_beside_the_evidence() {
    let (place, nonce) = (genoa(), nonce());
    let aside = Place::of(&[("vcek", &fs::read(place.path("vcek.der")).unwrap())], &[]);
    fs::remove_file(place.path("vcek.der")).unwrap();
    let common = ["--at", AT, "--nonce", &nonce];
    assert!(!place.refusal(&common).is_empty());
    let vcek = aside.path("vcek").display().to_string();
    assert_eq!(place.status(&[&common[..], &["--certificates", &vcek]].concat()), 0);
}

#[test]
fn policy_is_the_guests_exactly() {
    let (place, nonce) = (genoa(), nonce());
    let common = ["--at", AT, "--nonce", &nonce, "--policy"];
    assert_eq!(place.status(&[&common[..], &["0x30000"]].concat()), 0);
    assert_eq!(place.status(&[&common[..], &["0x20000"]].concat()), Step::Policy.status());
}

#[test]
fn html_is_a_page_of_the_verdict() {
    let (place, nonce) = (genoa(), nonce());
    let page = place.path("page.html").display().to_string();
    for (nonce, outcome) in [(&nonce, "verified: "), (&"18".repeat(32), "not verified: ")] {
        let verdict = place.run(&["--at", AT, "--nonce", nonce, "--html", &page]).unwrap();
        let (head, _) = verdict.conclusion();
        let written = fs::read_to_string(&page).unwrap();
        assert!(head == outcome && written.starts_with("<!DOCTYPE html>"), "{head}");
        assert!(written.contains(outcome.trim_end_matches(": ")), "{written}");
    }
}

#[test]
fn eat_is_a_token_by_the_key() {
    let (place, nonce) = (genoa(), nonce());
    let secret = p256::ecdsa::SigningKey::from_slice(&[0x44; 32]).unwrap();
    let key = place.file("key", secret.to_pkcs8_der().unwrap().as_bytes());
    let token = place.path("token").display().to_string();
    let common = ["--at", AT, "--eat", &token, "--key"];
    assert_eq!(place.status(&[&common[..], &[&key, "--nonce", &nonce]].concat()), 0);
    let written = fs::read_to_string(&token).unwrap();
    assert_eq!(written.split('.').count(), 3, "{written}");
    fs::remove_file(&token).unwrap();
    let wrong = place.file("none", b"no key");
    assert!(place.refusal(&[&common[..], &[&wrong, "--nonce", &nonce]].concat()).contains("none"));
    let said = place.refusal(&[&common[..], &[&key, "--nonce", "17171717"]].concat());
    assert_eq!(said, "--eat, --nonce: a token's nonce has 8 to 64 bytes, and this one has 4");
    let said = place.refusal(&[&common[..], &[&key, "--quote-nonce", &"00".repeat(65)]].concat());
    assert!(said.starts_with("--eat, --quote-nonce: "), "{said}");
    assert!(place.refusal(&common[..4]).contains("--key"), "each wants the other");
    assert!(place.refusal(&["--key", &key]).contains("--eat"));
    assert!(!place.path("token").exists(), "nothing is written");
}

/// Azure's evidence, whose quote is after a list of IMA with a signed file.
fn azure() -> Place {
    let ima = [list(&initial_pcrs()), signed_file(&[7; 32])].concat();
    let twin = Twin { ima, ..Twin::new() }.azure();
    let index = blob(&twin);
    let files: [(&str, &[u8]); 8] = [
        ("hcl-report.bin", &index),
        ("quote.msg", &twin.quote),
        ("quote.sig", &twin.quote_signature),
        ("quote.pcrs", &twin.pcrs),
        ("binary_runtime_measurements", &twin.ima),
        ("vcek.der", &twin.vcek),
        ("ask.der", &twin.ask),
        ("ark.der", &twin.ark),
    ];
    let digest = digest::hex(&measurement());
    Place::of(&files, &["--measurement", &digest, "--development-root", "--at", AT])
}

#[test]
fn quote_nonce_is_what_the_quote_must_answer() {
    let place = azure();
    assert_eq!(place.status(&[]), 3, "nobody says");
    assert_eq!(place.status(&["--quote-nonce", &"29".repeat(32)]), 0);
    assert_eq!(place.status(&["--quote-nonce", &"28".repeat(32)]), Step::QuoteNonce.status());
}

#[test]
fn ima_key_judges_signatures_of_files() {
    let place = azure();
    let nonce = "29".repeat(32);
    let says = |options: &[&str]| {
        let json = place.run(&[&["--quote-nonce", &nonce], options].concat()).unwrap().to_json();
        let steps = json["steps"].as_array().unwrap().clone();
        steps.iter().find(|step| step["step"] == "event log").unwrap()["says"].as_str().unwrap().to_owned()
    };
    let keys = [1, 2].map(|number| place.file(&format!("key{number}"), &issuer::file_signer(number).1));
    let said = [says(&[]), says(&["--ima-key", &keys[0]]), says(&["--ima-key", &keys[1]])];
    assert!(said[0] != said[1] && said[1] != said[2] && said[0] != said[2], "{said:?}");
    let wrong = place.file("none", b"no certificate");
    assert!(place.refusal(&["--ima-key", &wrong]).contains("none"));
}

#[test]
fn development_root_is_asked_for() {
    let mut place = azure();
    let nonce = ["--quote-nonce", &"29".repeat(32)];
    assert_eq!(place.status(&nonce), 0);
    place.always.retain(|word| word != "--development-root");
    assert_eq!(place.status(&nonce), Step::Root.status());
}

/// Of a state that goes back, and only where all is verified; not where a token cannot be made.
#[test]
fn remember_keeps_what_is_verified() {
    let twin = Twin::new();
    let evidence = twin.stateful();
    let files: [(&str, &[u8]); 6] = [
        ("outblob", &evidence.report),
        ("manifestblob", &evidence.manifest),
        ("inblob", &evidence.nonce),
        ("vcek.der", &evidence.vcek),
        ("ask.der", &evidence.ask),
        ("ark.der", &evidence.ark),
    ];
    let digest = digest::hex(&measurement());
    let place = Place::of(&files, &["--development-root", "--at", AT]);
    let memory = place.path("memory").display().to_string();
    let remembered = || memory::File::open(&place.path("memory")).unwrap().1;
    assert_eq!(place.status(&["--remember", &memory]), 3, "nobody has said which launch digest is right");
    assert_eq!(remembered(), memory::Memory::default());
    let measured = ["--remember", memory.as_str(), "--measurement", &digest];
    let key = p256::ecdsa::SigningKey::from_slice(&[0x44; 32]).unwrap();
    let key = place.file("key", key.to_pkcs8_der().unwrap().as_bytes());
    let token = place.path("token").display().to_string();
    let nonce = ["--eat", &token, "--key", &key, "--quote-nonce", "00"];
    assert!(place.refusal(&[&measured[..], &nonce].concat()).contains("8 to 64 bytes"));
    assert_eq!(remembered(), memory::Memory::default());
    assert_eq!(place.status(&measured), 0);
    assert_ne!(remembered(), memory::Memory::default());
}

#[test]
fn options_of_a_tpm_want_one() {
    let place = genoa();
    for option in ["--boot-log", "--ima", "--userspace-log", "--save", "--ak-handle"] {
        assert!(place.refusal(&[option, "0x81010002"]).contains("--tcti"), "{option}");
    }
    assert!(place.refusal(&["--ek", "ecc-p256"]).contains("cannot be used with"), "a folder names its own");
}

#[test]
fn cert_takes_certificates_alone() {
    let twin = Twin::new().certificate();
    let place = Place::of(&[("ak.der", &twin.ek_certificate), ("above.der", &[twin.ask, twin.ark].concat())], &[]);
    let judged = |file: &str| {
        let (file, above) = (place.path(file), place.path("above.der"));
        let (file, above) = (file.to_str().unwrap(), above.to_str().unwrap());
        let digest = digest::hex(&measurement());
        let words = ["cert", file, "--certificates", above, "--development-root", "--at", AT, "--measurement", &digest];
        let Cli { args } = Cli::try_parse_from(words)?;
        verdict(&args, &carrier(&args)?)
    };
    assert_eq!(judged("ak.der").unwrap().status(), 0);
    fs::write(place.path("report"), Twin::new().report_alone().report).unwrap();
    fs::write(place.path("above.der"), Twin::new().identity.vcek).unwrap();
    let why = judged("report").unwrap_err().to_string();
    assert_eq!(why, "this is no certificate that carries a report");
}

#[test]
fn corim_is_signed_where_there_is_a_key() {
    let secret = p384::ecdsa::SigningKey::from_slice(&[0x33; 48]).unwrap();
    let image = igvm(&[Header::Vmsa]);
    let place = Place::of(&[("image", &image), ("key", secret.to_pkcs8_der().unwrap().as_bytes())], &[]);
    let [image, key, corim] = ["image", "key", "corim"].map(|name| place.path(name).display().to_string());
    let written = |options: &[&str]| {
        let Predict { args } = Predict::try_parse_from([&["predict", &image], options].concat())?;
        predict(&args)?;
        Ok::<_, anyhow::Error>(fs::read(&corim).ok())
    };
    assert_eq!(written(&[]).unwrap(), None);
    let plain = written(&["--corim", &corim]).unwrap().unwrap();
    let signed = written(&["--corim", &corim, "--key", &key, "--signer", "who builds it"]).unwrap().unwrap();
    // Tags of an unsigned CoRIM, and of COSE_Sign1, which has that as its payload.
    assert_eq!((&plain[..3], signed[0]), (&[0xD9, 0x01, 0xF5][..], 0xD2));
    let has = |part: &[u8]| signed.windows(part.len()).any(|window| window == part);
    assert!(has(&plain) && has(b"who builds it"));
    assert!(written(&["--key", &key]).unwrap_err().to_string().contains("--corim"));
}
