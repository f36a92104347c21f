//! `--daemon` and `--pid`, as a user of swtpm knows them.

use crate::client::{PROGRAM, RANDOM, code, say};
use core::time::Duration;
use rustix::process::{Pid, Signal, getsid, kill_process, test_kill_process};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Instant;

/// Calls the program in a folder, and waits for its end; that of a daemon comes at once.
fn call(folder: &Path, options: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(folder).args(options).output().unwrap()
}

/// The port that a program says it serves.
fn port(said: &Output) -> u16 {
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
    text.trim_end().rsplit('=').next().unwrap().parse().unwrap()
}

/// A daemon, ended at the end of the test.
struct Daemon(Pid);

impl Daemon {
    fn of(pid_file: &Path) -> Self {
        let pid = fs::read_to_string(pid_file).unwrap();
        assert!(pid.ends_with('\n'));
        Self(Pid::from_raw(pid.trim().parse().unwrap()).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Until it is so, within a minute.
fn wait_until(so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_daemon_serves_when_its_starter_ends_and_is_gone_after_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ["--daemon", "--port", "0", "--pid", "tpm.pid", "--state", "state", "--unix", "tpm", "--log-file", "log"];
    let said = call(folder.path(), &[&options[..], &["--startup", "clear"]].concat());
    // Both are there already, and names are those of the folder that it was started in.
    let file = folder.path().join("tpm.pid");
    let daemon = Daemon::of(&file);
    let mut stream = TcpStream::connect(("127.0.0.1", port(&said))).unwrap();
    assert_eq!(code(&say(&mut stream, RANDOM)), 0);
    assert!(folder.path().join("state/state").exists() && folder.path().join("tpm").exists());
    assert!(fs::read_to_string(folder.path().join("log")).unwrap().contains("info: a new TPM is made in"));

    let (own, process) = (daemon.0, Path::new("/proc").join(daemon.0.as_raw_nonzero().to_string()));
    assert_eq!(getsid(Some(own)).unwrap(), own, "no terminal's signals reach it");
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    for descriptor in ["0", "1", "2"] {
        assert_eq!(fs::read_link(process.join("fd").join(descriptor)).unwrap(), Path::new("/dev/null"));
    }

    kill_process(own, Signal::TERM).unwrap();
    wait_until(|| !file.exists() && !folder.path().join("tpm").exists());
    // Its parent is the process that takes in orphans, which may not reap it.
    wait_until(|| {
        test_kill_process(own).is_err()
            || fs::read_to_string(process.join("stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
}

#[test]
fn a_daemon_that_cannot_serve_has_failed_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    for (options, why) in [
        (&["--port", &*taken][..], "cannot listen at port"),
        (&["--port", "0", "--state", "no/such"], "cannot make the folder"),
        (&["--port", "0", "--pid", "no/such"], "cannot write the process id to"),
        (&["--port", "0", "--log-file", "no/such"], "cannot write messages to"),
    ] {
        let said = call(folder.path(), &[&["--daemon"], options].concat());
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(said.status.code() == Some(1) && text.contains(why) && said.stdout.is_empty(), "{text}");
    }
}

#[test]
fn a_file_for_the_process_id_is_for_servers_in_the_foreground_too_and_no_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tpm.pid");
    fs::write(&file, b"of one that was killed, and longer").unwrap();
    let path = format!("file={}", file.display());
    let server = crate::client::Server::start(&["--pid", &path]);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", server.process.id()));
    drop(server);
    let other = folder.path().join("other");
    fs::write(&other, b"somewhere else").unwrap();
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&other, &file).unwrap();
    let said = call(folder.path(), &["--port", "0", "--pid", &path]);
    assert!(!said.status.success() && fs::read(&other).unwrap() == b"somewhere else");
}
