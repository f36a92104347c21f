//! `--state-root`: many TPMs in one process, each at the socket of its name.

use crate::client::{PROGRAM, RANDOM, STARTUP, code, ends, say, signal};
use core::time::Duration;
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

/// Extends PCR 16 by the digest of two octets.
fn event(octets: [u8; 2]) -> Vec<u8> {
    [&b"\x80\x02\0\0\0\x1f\0\0\x01\x3c\0\0\0\x10\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02"[..], &octets].concat()
}
const READ: &[u8] = &[0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1];
/// CMD_SHUTDOWN, as QEMU sends it at its end.
const SWITCH_OFF: [u8; 4] = [0, 0, 0, 3];

/// A server of many, killed at its end.
struct Many {
    process: Child,
    folder: TempDir,
}

impl Drop for Many {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Many {
    fn start(names: &[&str], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tpms")).unwrap();
        for name in names {
            fs::create_dir(folder.path().join("tpms").join(name)).unwrap();
        }
        Self { process: run(folder.path(), options), folder }
    }

    /// The folder of a TPM.
    fn of(&self, name: &str) -> PathBuf {
        self.folder.path().join("tpms").join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it is in the log, so many times.
    fn says(&self, words: &str, times: usize) {
        until(|| self.log().matches(words).count() >= times, &format!("{words}: {}", self.log()));
        assert_eq!(self.log().matches(words).count(), times, "{}", self.log());
    }

    fn connect(&self, name: &str) -> UnixStream {
        let path = self.folder.path().join("sockets").join(name);
        until(|| UnixStream::connect(&path).is_ok(), name);
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Whether a client gets an answer.
    fn answers(&self, name: &str) -> bool {
        let mut stream = self.connect(name);
        stream.write_all(RANDOM).is_ok() && stream.read(&mut [0; 64]).is_ok_and(|length| length > 0)
    }
}

/// Serves the TPMs in `tpms` at sockets in `sockets`, when this returns.
fn run(folder: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(["--state-root", "tpms", "--unix", "sockets", "--log-file", "log"]);
    let mut process = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    while !said.contains("swtpm:path=sockets/NAME") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    process
}

fn until(condition: impl Fn() -> bool, what: &str) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// KiB of a process that are in memory.
fn resident(process: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn each_name_is_a_tpm_of_its_own() {
    let many = Many::start(&["one", "two"], &["--startup", "clear"]);
    let (mut one, mut two) = (many.connect("one"), many.connect("two"));
    assert_eq!(code(&say(&mut one, &event(*b"hi"))), 0);
    let (first, second) = (say(&mut one, READ), say(&mut two, READ));
    assert_eq!((code(&first), code(&second)), (0, 0));
    assert_ne!(first, second);
    assert_eq!(say(&mut many.connect("one"), READ), first, "for all clients of the name");
    assert!(many.of("one").join("state").exists() && many.of("two").join("state").exists());
}

#[test]
fn a_folder_that_is_made_is_a_new_tpm_and_one_that_is_removed_ends_it() {
    let many = Many::start(&["first"], &["--startup", "clear"]);
    let mut first = many.connect("first");
    let path = many.folder.path().join("sockets/later");
    assert!(UnixStream::connect(&path).is_err());
    fs::create_dir(many.of("later")).unwrap();
    let mut later = many.connect("later");
    assert_eq!(code(&say(&mut later, RANDOM)), 0);
    fs::remove_dir_all(many.of("later")).unwrap();
    until(|| !path.exists(), "the socket goes");
    assert!(later.write_all(RANDOM).is_err() || later.read(&mut [0; 64]).is_ok_and(|length| length == 0));
    many.says("TPM later ends: its folder is gone", 1);
    assert_eq!(code(&say(&mut first, RANDOM)), 0, "the other goes on");

    // At once another of its name.
    let value = say(&mut first, READ);
    assert_eq!(code(&say(&mut first, &event(*b"hi"))), 0);
    fs::remove_dir_all(many.of("first")).unwrap();
    fs::create_dir(many.of("first")).unwrap();
    many.says("TPM first ends: its folder is gone", 1);
    assert_eq!(say(&mut many.connect("first"), READ), value, "a new TPM");
}

#[test]
fn what_is_no_name_or_folder_is_refused_once_and_by_reason() {
    let long = "n".repeat(65);
    let many = Many::start(&["good", ".hidden", "-x", "a b", "good.ctrl", &long], &["--startup", "clear"]);
    fs::write(many.of("file"), b"").unwrap();
    symlink(many.of("good"), many.of("link")).unwrap();
    for (name, why) in [
        (".hidden", "begins with a letter"),
        ("-x", "begins with a letter"),
        ("a b", "a name has letters"),
        ("good.ctrl", "does not end in .ctrl"),
        (&long, "at most 64 characters"),
        ("file", "it is no folder"),
        ("link", "it is no folder"),
    ] {
        until(|| many.log().contains(&format!("no TPM in tpms/{name}: ")), name);
        assert!(many.log().contains(why), "{name}: {}", many.log());
    }
    thread::sleep(Duration::from_millis(1200));
    many.says("no TPM in tpms/file", 1);
    assert!(many.answers("good"));
    let sockets = fs::read_dir(many.folder.path().join("sockets")).unwrap().count();
    assert_eq!(sockets, 2);
}

#[test]
fn more_than_so_many_are_refused() {
    let many = Many::start(&["one", "two", "three"], &["--most", "2", "--startup", "clear"]);
    many.says("2 TPMs are served, and no more (--most)", 1);
    assert!(many.answers("one") && many.answers("three"), "by their names");
    fs::remove_dir_all(many.of("one")).unwrap();
    until(|| !many.folder.path().join("sockets/one").exists(), "it goes");
    fs::create_dir(many.of("four")).unwrap();
    assert!(many.answers("four"));
}

/// The lock, and damage: its clients are turned away, and those of others are not.
#[test]
fn a_tpm_that_cannot_be_loaded_turns_its_clients_away_and_nobody_elses() {
    let many = Many::start(&["good", "locked", "damaged"], &["--startup", "clear"]);
    fs::write(many.of("damaged").join("README"), b"").unwrap();
    let mut other = Command::new(PROGRAM);
    other.args(["--port", "0", "--state"]).arg(many.of("locked")).stdout(Stdio::piped());
    let mut other = crate::client::Server::of(&mut other);
    let mut good = many.connect("good");
    for (name, why) in [("locked", "another server has the TPM in"), ("damaged", "there is no state in it")] {
        assert!(!many.answers(name));
        until(|| many.log().contains(&format!("TPM {name}: a client is turned away: ")), name);
        assert!(many.log().contains(why), "{}", many.log());
        assert_eq!(code(&say(&mut good, RANDOM)), 0);
    }
    other.process.kill().unwrap();
    other.process.wait().unwrap();
    assert!(many.answers("locked"), "when the other server is gone");
    // And the root is one server's.
    let mut second = Command::new(PROGRAM);
    second.current_dir(many.folder.path()).args(["--state-root", "tpms", "--unix", "others"]);
    let refused = second.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("another server has the TPMs in tpms"), "{said}");
}

/// PCR are as they were. Of a TPM's 237 KiB some 6 stay, and what the threads had of its clients.
#[test]
fn a_tpm_that_nobody_uses_rests_and_goes_on_and_its_memory_is_given_back() {
    const COUNT: usize = 64;
    let names: Vec<String> = (0..COUNT).map(|n| format!("tpm{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = Many::start(&names, &["--startup", "clear", "--idle", "1"]);
    let before = resident(&many.process);
    let values = (0..).zip(&names).map(|(n, name)| {
        let mut stream = many.connect(name);
        assert_eq!(code(&say(&mut stream, &event([n, n]))), 0);
        (say(&mut stream, READ), stream)
    });
    let (values, streams): (Vec<_>, Vec<_>) = values.unzip();
    let used = resident(&many.process) - before;
    assert!(used > COUNT * 200, "{used} KiB in use");
    drop(streams);
    let left = || resident(&many.process) - before;
    until(|| left() < used / 2, "memory is given back");
    for (name, value) in names.iter().zip(values) {
        assert_eq!(say(&mut many.connect(name), READ), value, "{name}");
    }
}

/// As for one that is killed: what was said is true. In order: no try is lost, and the folder is free for another.
#[test]
fn one_that_is_switched_off_is_let_go_and_so_are_all_at_the_end() {
    let mut many = Many::start(&["one", "two"], &[]);
    let mut one = many.connect("one");
    assert_eq!(code(&say(&mut one, STARTUP)), 0);
    let mut control = many.connect("one.ctrl");
    control.write_all(&SWITCH_OFF).unwrap();
    control.read_exact(&mut [0; 4]).unwrap();
    drop((one, control));
    // Its folder can be another's then.
    let provisioned = || {
        let mut command = Command::new(PROGRAM);
        command.args(["--port", "0", "--state"]).arg(many.of("one")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = command.stderr(Stdio::null()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let _ = server.kill();
        let _ = server.wait();
        !said.is_empty()
    };
    until(provisioned, "it is let go");
    let mut again = many.connect("one");
    assert_eq!(code(&say(&mut again, STARTUP)), 0, "power is on again");
    signal(&many.process, Signal::TERM);
    assert!(ends(&mut many.process).success());
    assert_eq!(fs::read_dir(many.folder.path().join("sockets")).unwrap().count(), 0);
}

#[test]
fn options_of_one_tpm_do_not_go_with_many() {
    let place = tempfile::tempdir().unwrap();
    for options in [
        &["--state-root", "tpms"][..],
        &["--state-root", "tpms", "--unix", "sockets", "--state", "tpm"],
        &["--state-root", "tpms", "--unix", "sockets", "--seed", "one"],
        &["--state-root", "tpms", "--unix", "sockets", "--port", "2321"],
        &["--state-root", "tpms", "--unix", "tpms"],
        &["--idle", "3"],
    ] {
        let output = Command::new(PROGRAM).current_dir(&place).args(options).output().unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{options:?}");
    }
}
