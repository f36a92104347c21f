//! `quoin-tpm socket` and `ioctl`, by the names and with the options by which libvirt calls swtpm's programs.

use crate::client::{PROGRAM, RANDOM, STARTUP, code, ends, say, signal};
use core::time::Duration;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Instant;

/// libvirt's options (qemuTPMEmulatorBuildCommand).
const LIBVIRTS: [&str; 7] = [
    "socket",
    "--ctrl",
    "type=unixio,path=vm.sock,mode=0600",
    "--tpmstate",
    "dir=tpm2,mode=0600",
    "--log",
    "file=vm.log",
];
/// TPM2_ReadPublic of the EK that swtpm_setup makes persistent; TPM2_NV_ReadPublic of its certificate.
const EK: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73, 0x81, 1, 0, 1];
const CERTIFICATE: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x69, 1, 0xc0, 0, 2];
/// CMD_INIT, CMD_SHUTDOWN, CMD_SET_DATAFD.
const INIT: &[u8] = &[0, 0, 0, 2, 0, 0, 0, 0];
const SHUTDOWN: &[u8] = &[0, 0, 0, 3];
const SET_DATAFD: &[u8] = &[0, 0, 0, 16];

/// One of swtpm's programs, as a link in the folder.
fn program(folder: &Path, name: &str) -> Command {
    let link = folder.join(name);
    let _ = symlink(PROGRAM, &link);
    let mut command = Command::new(link);
    command.current_dir(folder);
    command
}

fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn swtpm_ioctl(folder: &Path, options: &[&str]) -> (bool, String) {
    said(&program(folder, "swtpm_ioctl").args(["--unix", "vm.sock"]).args(options).output().unwrap())
}

/// A server in a folder, killed at its end.
struct Vm<'a> {
    folder: &'a Path,
    process: Child,
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl<'a> Vm<'a> {
    fn start(folder: &'a Path, more: &[&str]) -> Self {
        let mut swtpm = program(folder, "swtpm");
        let process = swtpm.args(LIBVIRTS).args(["--tpm2"]).args(more).stdin(Stdio::null()).spawn().unwrap();
        Self { folder, process }
    }

    /// The control channel, as soon as it is there.
    fn connect(&self) -> UnixStream {
        let began = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.folder.join("vm.sock")) {
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                return stream;
            }
            assert!(began.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The control channel, and a data channel that was handed over, as QEMU does.
    fn qemu(&self) -> (UnixStream, UnixStream) {
        let mut control = self.connect();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut space, rights) = ([0; 64].map(core::mem::MaybeUninit::new), [theirs.as_fd()]);
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&rights)));
        sendmsg(&control, &[IoSlice::new(SET_DATAFD)], &mut ancillary, SendFlags::empty()).unwrap();
        assert_eq!(heard(&mut control), 0);
        assert_eq!(asked(&mut control, INIT), 0);
        (control, ours)
    }
}

fn heard(control: &mut UnixStream) -> u32 {
    let mut result = [0; 4];
    control.read_exact(&mut result).unwrap();
    u32::from_be_bytes(result)
}

fn asked(control: &mut UnixStream, message: &[u8]) -> u32 {
    control.write_all(message).unwrap();
    heard(control)
}

#[test]
fn what_libvirt_calls_makes_a_tpm_serves_it_twice_and_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut setup = program(folder.path(), "swtpm_setup");
    setup.args(["--tpm2", "--tpm-state", "tpm2", "--createek", "--create-ek-cert", "--development-ca", "ca"]);
    let (success, text) = said(&setup.output().unwrap());
    assert!(success, "{text}");
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut vm = Vm::start(folder.path(), &["--terminate"]);
        let (_control, mut data) = vm.qemu();
        let mode = fs::metadata(folder.path().join("vm.sock")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(code(&say(&mut data, STARTUP)), 0);
        keys.push(say(&mut data, EK));
        assert_eq!(code(&say(&mut data, CERTIFICATE)), 0);
        let (success, text) = swtpm_ioctl(folder.path(), &["-s"]);
        assert!(success, "{text}");
        assert!(ends(&mut vm.process).success());
        assert!(!folder.path().join("vm.sock").exists());
    }
    assert_eq!(code(&keys[0]), 0);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn qemus_shutdown_ends_the_server_after_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut vm = Vm::start(folder.path(), &[]);
    let (mut control, _data) = vm.qemu();
    assert_eq!(asked(&mut control, SHUTDOWN), 0);
    assert!(ends(&mut vm.process).success());
}

/// Others may look, such as swtpm_ioctl: their end is nobody's.
#[test]
fn with_terminate_the_end_of_qemus_connection_is_the_servers_and_without_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut vm = Vm::start(folder.path(), &["--terminate"]);
    let (control, mut data) = vm.qemu();
    drop(vm.connect());
    assert!(swtpm_ioctl(folder.path(), &["-c"]).1.starts_with("ptm capability is 0x0000000000"));
    assert_eq!(code(&say(&mut data, STARTUP)), 0);
    assert_eq!(code(&say(&mut data, RANDOM)), 0, "it goes on");
    drop((control, data));
    assert!(ends(&mut vm.process).success());

    let vm = Vm::start(folder.path(), &[]);
    drop(vm.qemu());
    let (_control, mut data) = vm.qemu();
    assert_eq!(code(&say(&mut data, STARTUP)), 0);
}

#[test]
fn a_daemon_serves_when_its_starter_ends_with_the_files_that_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut swtpm = program(folder.path(), "swtpm");
    let started = swtpm.args(LIBVIRTS).args(["--tpm2", "--daemon", "--pid", "file=vm.pid"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let pid = fs::read_to_string(folder.path().join("vm.pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    assert!(UnixStream::connect(folder.path().join("vm.sock")).is_ok());
    for file in ["vm.log", "tpm2/state"] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} {mode:o}");
    }
    kill_process(pid, Signal::TERM).unwrap();
    let began = Instant::now();
    while folder.path().join("vm.pid").exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    let _ = test_kill_process(pid);
}

#[test]
fn ioctl_says_what_the_server_has_answered() {
    let folder = tempfile::tempdir().unwrap();
    let vm = Vm::start(folder.path(), &[]);
    drop(vm.connect());
    let ask = |options: &[&str]| swtpm_ioctl(folder.path(), options);
    assert_eq!(ask(&["-i"]), (true, String::new()));
    assert_eq!(ask(&["-e"]), (true, String::from("tpmEstablished is 0\n")));
    assert_eq!(ask(&["-l", "3"]), (true, String::new()));
    assert_eq!(ask(&["-C"]), (true, String::new()));
    let (success, text) = ask(&["-l", "5"]);
    assert!(!success && text.contains("the server refuses SET_LOCALITY: result 0x3d"), "{text}");
    assert_eq!(ask(&["--stop"]), (true, String::new()));
    let (success, text) = ask(&["-e"]);
    assert!(!success && text.contains("GET_TPMESTABLISHED: result 0xa"), "{text}");
    for wrong in [&[][..], &["-i", "-s"], &["-z"]] {
        assert!(!ask(wrong).0);
    }
    signal(&vm.process, Signal::TERM);
    let began = Instant::now();
    while folder.path().join("vm.sock").exists() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    let (success, text) = ask(&["-i"]);
    assert!(!success && text.contains("nobody serves vm.sock"), "{text}");
}

#[test]
fn what_is_not_done_is_refused_by_name_and_not_promised() {
    let folder = tempfile::tempdir().unwrap();
    let swtpm = |options: &[&str]| said(&program(folder.path(), "swtpm").args(options).output().unwrap());
    let all = [&LIBVIRTS[..5], &["--tpm2"]].concat();
    for (options, why) in [
        (LIBVIRTS[..5].to_vec(), "there is no TPM 1.2"),
        ([&all[..], &["--key", "fd=3,mode=aes-256-cbc"]].concat(), "not encrypted"),
        ([&all[..], &["--migration-key", "fd=3"]].concat(), "not encrypted"),
        ([&all[..], &["--server", "type=tcp,port=1"]].concat(), "--server"),
        (vec!["socket", "--tpm2"], "--ctrl"),
        (vec!["socket", "--tpm2", "--ctrl", "type=tcp,port=1"], "only unixio"),
        (vec!["chardev", "--tpm2"], "chardev"),
    ] {
        let (success, text) = swtpm(&options);
        assert!(!success && text.contains(why), "{text}: {why}");
    }
    assert!(!folder.path().join("tpm2").exists());
    let (success, text) = swtpm(&["socket", "--print-capabilities"]);
    assert!(success && text.starts_with("{ \"type\": \"swtpm\", \"features\": [ \"tpm-2.0\" ]"), "{text}");
    // What goes wrong is in the log that libvirt shows, too.
    fs::create_dir(folder.path().join("tpm2")).unwrap();
    fs::write(folder.path().join("tpm2/tpm2-00.permall"), b"swtpm's").unwrap();
    let (success, text) = swtpm(&[&LIBVIRTS[..], &["--tpm2"]].concat());
    assert!(!success && text.contains("there is no state in it"), "{text}");
    assert!(fs::read_to_string(folder.path().join("vm.log")).unwrap().contains("there is no state in it"));
}
