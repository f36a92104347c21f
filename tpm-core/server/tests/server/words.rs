//! What the program says of itself, and what in its messages.

use crate::client::{PROGRAM, RANDOM, Server, say};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use tpm_core::profile::PROFILE;

#[test]
fn the_version_names_the_profile() {
    let said = Command::new(PROGRAM).arg("--version").output().unwrap();
    let wanted = format!("quoin-tpm {} (profile {})\n", env!("CARGO_PKG_VERSION"), PROFILE.name);
    assert_eq!(String::from_utf8(said.stdout).unwrap(), wanted);
}

#[test]
fn a_server_of_another_profile_is_none() {
    let said = Command::new(PROGRAM).args(["--profile", "nosuch"]).output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success() && text.contains("nosuch") && text.contains(PROFILE.name), "{text}");
}

/// What a server says on standard error when a client has connected, has been given random octets, has said nonsense.
fn messages(level: &str) -> (String, Vec<u8>) {
    let mut command = Command::new(PROGRAM);
    command.args(["--port", "0", "--log-level", level]).stderr(Stdio::piped());
    let mut server = Server::of(&mut command);
    let response = say(&mut server.connect(), RANDOM);
    // The end of the connection is the end of its message.
    let mut other = server.connect();
    std::io::Write::write_all(&mut other, b"\0\0\0\xff").unwrap();
    std::io::Read::read_to_end(&mut other, &mut Vec::new()).unwrap();
    // The next client is served after that.
    say(&mut server.connect(), RANDOM);
    (server.warnings(), response)
}

#[test]
fn levels_say_more_and_more_and_never_what_is_secret() {
    let warning = "warning: a client's connection has ended: neither a TPM command nor";
    assert_eq!(messages("off").0, "");
    assert_eq!(messages("error").0, "");
    for level in ["warn", "info"] {
        let (said, _) = messages(level);
        assert!(said.starts_with(warning) && said.lines().count() == 1, "{said}");
    }
    let (said, response) = messages("debug");
    assert!(said.contains(warning) && said.contains("debug: command 0x17b at locality 0: 0x0\n"), "{said}");
    let secret = response[12..].iter().fold(String::new(), |text, octet| format!("{text}{octet:02x}"));
    assert!(!said.contains(&secret) && !said.contains(&format!("{:?}", &response[12..])), "{said}");
    let wrong = Command::new(PROGRAM).args(["--log-level", "much"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn systemd_hears_that_clients_can_come_and_that_the_end_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let mut server = Server::of(Command::new(PROGRAM).args(["--port", "0"]).env("NOTIFY_SOCKET", &path));
    let hear = || {
        let mut text = [0; 100];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    assert_eq!(hear().trim(), "READY=1");
    server.connect();
    crate::client::signal(&server.process, rustix::process::Signal::TERM);
    assert!(crate::client::ends(&mut server.process).success());
    assert_eq!(hear().trim(), "STOPPING=1");
}
