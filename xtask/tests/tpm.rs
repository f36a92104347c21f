//! `cargo xtask tpm` and `run` as their users end them (issue 9, section 3).

use core::time::Duration;
use host::qemu::Folder;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn ends(process: &mut Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// A script that can be run.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// What stands for cargo: a script; and for the server that it "builds": one that writes its arguments to `said` and
/// stays.
fn cargo(folder: &Path, text: &str) -> Command {
    let path = folder.join("cargo");
    script(&path, text);
    fs::create_dir(folder.join("release")).unwrap();
    let said = folder.join("said").display().to_string();
    script(
        &folder.join("release/quoin-tpm"),
        &format!("echo \"$@\" > {said}.new; mv {said}.new {said}; exec sleep 600"),
    );
    let mut xtask = Command::new(XTASK);
    xtask.env("CARGO", path).env("CARGO_TARGET_DIR", folder).env("TMPDIR", folder);
    xtask
}

/// What is in a file that comes while the process goes on.
fn said(process: &mut Child, path: &Path) -> String {
    while !path.exists() {
        assert!(process.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(5));
    }
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Row 9. The server stayed at its port: the verb becomes the server, so what ends one ends the other.
#[test]
fn cargo_xtask_tpm_becomes_its_server_and_hands_the_options_on() {
    let folder = Folder::new().unwrap();
    let arguments = ["--port", "0", "--seed", "a seed", "--profile", "azure"];
    let mut xtask = cargo(folder.path(), "exit 0").arg("tpm").args(arguments).spawn().unwrap();
    assert_eq!(said(&mut xtask, &folder.path().join("said")), arguments.join(" "));
    let name = format!("/proc/{}/comm", xtask.id());
    while fs::read_to_string(&name).unwrap() != "sleep\n" {
        thread::yield_now();
    }
    signal(&xtask, Signal::TERM);
    assert!(!ends(&mut xtask).success());
}

#[test]
fn cargo_xtask_provision_becomes_its_program_and_hands_its_words_on() {
    let folder = Folder::new().unwrap();
    let mut xtask = cargo(folder.path(), "exit 0");
    xtask.args(["provision", "--profile", "azure", "--state", "tpm", "--key", "p256", "--replace"]);
    let mut xtask = xtask.spawn().unwrap();
    let said = said(&mut xtask, &folder.path().join("said"));
    signal(&xtask, Signal::TERM);
    assert!(!ends(&mut xtask).success());
    assert_eq!(said, "provision --state tpm --key p256 --replace");
}

/// Row 9, before there is a machine: what was started went on.
#[test]
fn whatever_signal_ends_cargo_xtask_run_ends_its_children() {
    for how in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        let folder = Folder::new().unwrap();
        let pid = folder.path().join("pid");
        let mut xtask =
            cargo(folder.path(), &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display()));
        let mut xtask = xtask.args(["run", "--once"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let child = self::said(&mut xtask, &pid);
        signal(&xtask, how);
        assert!(!ends(&mut xtask).success());
        let began = Instant::now();
        let alive = || fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {
            assert!(began.elapsed() < Duration::from_secs(10), "{how:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Section 4, row 7: both were looked at after the build.
#[test]
fn port_and_profile_are_looked_at_before_the_build() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Folder::new().unwrap();
    let built = folder.path().join("built");
    let mut xtask = cargo(folder.path(), &format!("touch {}", built.display()));
    let output = xtask.args(["tpm", "--port", &port.to_string()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(&format!("cannot listen at port {port}")), "{said}");
    let mut xtask = Command::new(XTASK);
    let output = xtask.env("CARGO", "/nowhere").args(["tpm", "--profile", "nosuch"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("no-legacy"), "{said}");
    assert!(!built.exists());
}
