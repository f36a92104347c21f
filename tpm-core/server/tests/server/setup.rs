//! `quoin-tpm setup`, by the name and with the options by which libvirt calls swtpm_setup.

use crate::client::{PROGRAM, STARTUP, Server, code, say};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// libvirt's options for a new machine (qemuTPMEmulatorRunSetup).
const LIBVIRTS: [&str; 8] = [
    "--vmid",
    "machine:5f2a5d6e-3a0b-4c57-9a0e-0123456789ab",
    "--createek",
    "--create-ek-cert",
    "--create-platform-cert",
    "--lock-nvram",
    "--tpm-state",
    "tpm2",
];

/// By a link, as libvirt's path would be one.
fn swtpm_setup(folder: &Path, options: &[&str]) -> Output {
    let link = folder.join("swtpm_setup");
    let _ = symlink(PROGRAM, &link);
    let mut command = Command::new(link);
    command.current_dir(folder).env("XDG_CONFIG_HOME", folder.join("config")).args(options).output().unwrap()
}

fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// TPM2_GetCapability of PCR banks, TPM2_ReadPublic of 0x81010001, TPM2_NV_ReadPublic of 0x01C00002.
const BANKS: &[u8] = &[0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1];
const EK: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73, 0x81, 1, 0, 1];
const CERTIFICATE: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69, 1, 0xc0, 0, 2];

/// Hash and map of each bank that has PCR.
fn banks(response: &[u8]) -> Vec<u16> {
    let list = response[19..].chunks(6).filter(|bank| bank[3..] == [0xff; 3]);
    list.map(|bank| u16::from_be_bytes(bank[..2].try_into().unwrap())).collect()
}

#[test]
fn what_libvirt_calls_makes_a_tpm_that_the_server_takes_and_the_second_call_leaves() {
    let folder = tempfile::tempdir().unwrap();
    // libvirt has made the folder.
    fs::create_dir(folder.path().join("tpm2")).unwrap();
    let call = |more: &[&str]| said(&swtpm_setup(folder.path(), &[&["--tpm2"], &LIBVIRTS[..], more].concat()));
    let (success, text) = call(&["--logfile", "log", "--not-overwrite"]);
    assert!(success && text.is_empty(), "{text}");
    let state = folder.path().join("tpm2/state");
    let before = fs::read(&state).unwrap();
    let (success, _) = call(&["--logfile", "log", "--not-overwrite"]);
    assert!(success && fs::read(&state).unwrap() == before);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    for line in ["made     EK RSA 2048", "made     IDevID", "no platform certificate", "and it stays"] {
        assert!(log.contains(line), "{log}");
    }
    let (success, text) = call(&[]);
    assert!(!success && text.contains("already (--overwrite"), "{text}");
    assert_eq!(fs::read(&state).unwrap(), before);

    let server = Server::start(&["--startup", "off", "--state", folder.path().join("tpm2").to_str().unwrap()]);
    let mut stream = server.connect();
    assert_eq!(code(&say(&mut stream, STARTUP)), 0);
    assert_eq!(banks(&say(&mut stream, BANKS)), [0xb], "SHA-256 alone, swtpm_setup's default");
    assert_eq!(code(&say(&mut stream, EK)), 0);
    // As of `provision`, and WRITELOCKED.
    assert_eq!(say(&mut stream, CERTIFICATE)[18..22], [0x62, 7, 0x28, 1]);
    drop((stream, server));

    let (success, text) = call(&["--overwrite"]);
    assert!(success && fs::read(&state).unwrap() != before, "{text}");
}

#[test]
fn banks_are_reconfigured_in_the_tpm_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let call = |options: &[&str]| {
        said(&swtpm_setup(folder.path(), &[&["--tpm2", "--tpm-state", "dir://tpm"], options].concat()))
    };
    let (success, text) = call(&["--reconfigure"]);
    assert!(!success && text.contains("there is no TPM in tpm") && !folder.path().join("tpm").exists(), "{text}");
    // As for a machine that comes from elsewhere: no keys.
    assert!(call(&["--overwrite"]).0);
    assert!(call(&["--reconfigure", "--pcr-banks", "sha256,sha384"]).0);
    let (success, text) = call(&["--reconfigure", "--pcr-banks", "sha257"]);
    assert!(!success && text.contains("no PCR bank sha257"), "{text}");
    let server = Server::start(&["--startup", "off", "--state", folder.path().join("tpm").to_str().unwrap()]);
    let mut stream = server.connect();
    assert_eq!(code(&say(&mut stream, STARTUP)), 0);
    assert_eq!(banks(&say(&mut stream, BANKS)), [0xb, 0xc]);
    assert_ne!(code(&say(&mut stream, EK)), 0);
}

#[test]
fn what_is_not_done_is_refused_by_name_and_not_promised() {
    let folder = tempfile::tempdir().unwrap();
    for (options, why) in [
        (&["--tpm-state", "tpm"][..], "there is no TPM 1.2"),
        (&["--tpm2"], "--tpm-state"),
        (&["--tpm2", "--tpm-state", "file://tpm"], "in a folder, not in a file"),
        (&["--tpm2", "--tpm-state", "tpm", "--pwdfile-fd", "3"], "--pwdfile"),
        (&["--tpm2", "--tpm-state", "tpm", "--keyfile", "key"], "--keyfile"),
        (&["--tpm2", "--tpm-state", "tpm", "--take-ownership"], "--take-ownership"),
    ] {
        let (success, text) = said(&swtpm_setup(folder.path(), options));
        assert!(!success && text.contains(why), "{text}");
    }
    assert!(!folder.path().join("tpm").exists());
    // swtpm's own state is not touched.
    fs::create_dir(folder.path().join("tpm")).unwrap();
    fs::write(folder.path().join("tpm/tpm2-00.permall"), b"swtpm's").unwrap();
    let (success, text) = said(&swtpm_setup(folder.path(), &["--tpm2", "--tpm-state", "tpm", "--overwrite"]));
    assert!(!success && text.contains("something else is in tpm"), "{text}");

    let (success, text) = said(&swtpm_setup(folder.path(), &["--print-capabilities", "--tpm2"]));
    assert!(success && text.starts_with("{ \"type\": \"swtpm_setup\", \"features\": [ \"tpm-2.0\""), "{text}");
    assert!(text.contains("cmdarg-reconfigure-pcr-banks") && !text.contains("fd") && !text.contains("config-files"));
}
