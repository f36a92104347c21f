//! `quoin-tpm provision`, as an operator calls it.

use crate::client::{PROGRAM, STARTUP, Server, code, say};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// In a folder, with one key that is quickly made.
fn provision(folder: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(["provision", "--state", "tpm", "--key", "p256"]).args(options).output().unwrap()
}

fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// TPM2_NV_ReadPublic of 0x01C0000A.
const READ_PUBLIC: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69, 1, 0xc0, 0, 0xa];

#[test]
fn a_server_has_the_certificate_that_was_made_for_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (success, text) = said(&provision(folder.path(), &["--development-ca", "ca"]));
    assert!(success && text.contains("signed by") && text.contains("development"), "{text}");
    assert!(text.contains("made     EK NIST P-256 (L-2)"), "{text}");
    let state = folder.path().join("tpm");
    let server = Server::start(&["--startup", "off", "--state", state.to_str().unwrap()]);
    let mut stream = server.connect();
    assert_eq!(code(&say(&mut stream, STARTUP)), 0);
    let public = say(&mut stream, READ_PUBLIC);
    // PPWRITE, WRITEDEFINE, PPREAD, OWNERREAD, AUTHREAD, NO_DA, WRITTEN, PLATFORMCREATE.
    assert_eq!((code(&public), &public[18..22]), (0, &[0x62, 7, 0x20, 1][..]));
    let (success, text) = said(&provision(folder.path(), &["--development-ca", "ca"]));
    assert!(!success && text.contains("another server has the TPM"), "{text}");
    drop((stream, server));
    let (success, text) = said(&provision(folder.path(), &["--development-ca", "ca"]));
    assert!(success && text.contains("is there EK NIST P-256 (L-2)"), "{text}");
}

#[test]
fn what_is_refused_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(said(&provision(folder.path(), &["--development-ca", "ca"])).0);
    let before = fs::read(folder.path().join("tpm/state")).unwrap();
    fs::write(folder.path().join("no.pem"), b"no key").unwrap();
    for (options, why) in [
        (&[][..], "who signs?"),
        (&["--ca-key", "no.pem", "--ca-certificate", "ca/ca.pem"], "no PKCS #8"),
        (&["--ca-key", "ca/ca-key.pem"], "--ca-certificate"),
        (&["--ca-key", "ca/ca-key.pem", "--ca-certificate", "none.pem"], "cannot read none.pem"),
        (&["--development-ca", "no/such"], "cannot make the folder"),
        (&["--development-ca", "ca", "--key", "nosuch"], "nosuch"),
        (&["--development-ca", "ca", "--replace", "--issuer-url", "h\u{f6}"], "nothing was changed"),
    ] {
        let (success, text) = said(&provision(folder.path(), options));
        assert!(!success && text.contains(why), "{text}");
    }
    assert_eq!(fs::read(folder.path().join("tpm/state")).unwrap(), before);
}
