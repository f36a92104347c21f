//! Whom the server serves, what it does with who says something wrong, and how it ends (issue 9, section 3).

use crate::client::{PROGRAM, RANDOM, STARTUP, Server, code, ends, say, signal};
use core::time::Duration;
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

/// A message of the control channel, and so much of an answer.
fn control(stream: &mut UnixStream, said: &[u8], answer: usize) -> Vec<u32> {
    stream.write_all(said).unwrap();
    let mut heard = vec![0; answer];
    stream.read_exact(&mut heard).unwrap();
    heard.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect()
}

/// A server at a Unix socket: commands, and the control channel.
fn for_qemu(folder: &Path) -> (Server, UnixStream, UnixStream) {
    let path = folder.join("tpm");
    let server = Server::start(&["--unix", path.to_str().unwrap()]);
    let connect = |path: &str| UnixStream::connect(path).unwrap();
    let (commands, channel) = (connect(path.to_str().unwrap()), connect(&format!("{}.ctrl", path.display())));
    (server, commands, channel)
}

/// Row 4. It was ended by the error of accept.
#[test]
fn clients_that_are_idle_take_nobodys_place_and_do_not_end_the_server() {
    let mut shell = Command::new("sh");
    let mut server =
        Server::of(shell.args(["-c", "ulimit -n 64; exec \"$0\" --port 0", PROGRAM]).stderr(Stdio::piped()));
    let mut first = server.connect();
    assert_eq!(code(&say(&mut first, RANDOM)), 0);
    let _idle: Vec<TcpStream> = (0..80).map(|_| server.connect()).collect();
    assert_eq!(code(&say(&mut server.connect(), RANDOM)), 0);
    assert_eq!(code(&say(&mut first, RANDOM)), 0, "a client that has said something stays");
    let warnings = server.warnings();
    assert!(warnings.contains(" clients are connected: one that has said nothing is turned away"), "{warnings}");
}

/// Row 7. The command was executed, and its client got the end of the stream.
#[test]
fn a_trace_that_cannot_be_written_costs_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    symlink("/dev/full", &trace).unwrap();
    let mut server = Command::new(PROGRAM);
    server.args(["--port", "0", "--trace"]).arg(&trace).stderr(Stdio::piped());
    let mut server = Server::of(&mut server);
    let mut stream = server.connect();
    for _ in 0..2 {
        assert_eq!(code(&say(&mut stream, RANDOM)), 0);
    }
    let warnings = server.warnings();
    assert_eq!(warnings.matches("the trace ends here, the TPM goes on: ").count(), 1, "{warnings}");
    assert!(warnings.contains("No space left on device"), "{warnings}");
}

/// Section 4, row 3. The first client got TPM_RC_INITIALIZE.
#[test]
fn the_tpm_is_started_for_clients_and_not_for_qemu() {
    let server = Server::start(&[]);
    assert!(server.said.contains("TPM2_Startup(CLEAR) was sent"), "{}", server.said);
    assert_eq!(code(&say(&mut server.connect(), RANDOM)), 0);
    let server = Server::start(&["--startup", "off"]);
    assert_eq!(code(&say(&mut server.connect(), RANDOM)), 0x100);
    let folder = tempfile::tempdir().unwrap();
    let (server, mut commands, _) = for_qemu(folder.path());
    assert!(server.said.contains("its clients send TPM2_Startup"), "{}", server.said);
    assert_eq!(code(&say(&mut commands, STARTUP)), 0);
}

/// Row 2. It was answered after the command, and cancelled nothing.
#[test]
fn a_running_key_search_can_be_canceled_over_the_control_channel() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, mut commands, mut channel) = for_qemu(folder.path());
    say(&mut commands, STARTUP);
    // TPM2_CreatePrimary in the NULL hierarchy: RSA-4096, another each time.
    let mut create =
        b"\x80\x02\0\0\0\x3d\0\0\x01\x31\x40\0\0\x07\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x04\0\0\0\0".to_vec();
    create.extend(b"\0\x1a\0\x01\0\x0b\0\x04\x04\x72\0\0\0\x10\0\x10\x10\0\0\0\0\0\0\x04");
    let began = Instant::now();
    for turn in 0_u32.. {
        let command = [&create[..], &turn.to_be_bytes(), &[0; 6]].concat();
        let size = u32::try_from(command.len()).unwrap().to_be_bytes();
        let command = [&command[..2], &size, &command[6..]].concat();
        commands.write_all(&command).unwrap();
        thread::sleep(Duration::from_millis(5));
        assert_eq!(control(&mut channel, &[0, 0, 0, 9], 4), [0]);
        let response = say(&mut commands, b"");
        if code(&response) == 0x909 {
            break;
        }
        // One that was found at once.
        assert_eq!(code(&response), 0);
        say(&mut commands, &[&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65][..], &response[10..14]].concat());
        assert!(began.elapsed() < Duration::from_secs(100));
    }
    // What comes after it is not canceled.
    assert_eq!(code(&say(&mut commands, RANDOM)), 0);
}

/// Row 2. QEMU's tpm-tis ended on a response that was longer than its buffer.
#[test]
fn the_size_that_qemu_sets_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, mut commands, mut channel) = for_qemu(folder.path());
    assert_eq!(control(&mut channel, &[0, 0, 0, 0x0e], 4), [0]);
    let size = 3968_u32.to_be_bytes();
    let sizes = control(&mut channel, &[&[0, 0, 0, 0x11][..], &size].concat(), 16);
    assert_eq!(sizes, [0, 3968, 3968, 8192]);
    assert_eq!(control(&mut channel, &[0, 0, 0, 2, 0, 0, 0, 0], 4), [0]);
    say(&mut commands, STARTUP);
    let property = say(&mut commands, b"\x80\x01\0\0\0\x16\0\0\x01\x7a\0\0\0\x06\0\0\x01\x1e\0\0\0\x01");
    assert!(property.ends_with(&size));
    let mut long = RANDOM.to_vec();
    long.resize(3969, 0);
    long[2..6].copy_from_slice(&3969_u32.to_be_bytes());
    assert_eq!(code(&say(&mut commands, &long)), 0x142);
    assert_eq!(code(&say(&mut commands, RANDOM)), 0);
}

/// Row 3, over the data port of swtpm's clients: the connection was closed.
#[test]
fn a_wrong_tag_or_size_is_a_response_code() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let wrong_tag = b"\x80\x04\0\0\0\x0c\0\0\x01\x7b\0\x08";
    for (said, wanted) in [
        (wrong_tag.to_vec(), 0x1e),
        (b"\x80\x01\0\0\x20\x01\0\0\x01\x7b\0\x08".to_vec(), 0x142),
        (b"\x80\x01\0\0\0\x09\0\0\x01\x7b".to_vec(), 0x142),
        (RANDOM.to_vec(), 0),
    ] {
        assert_eq!(code(&say(&mut stream, &said)), wanted, "{said:x?}");
    }
}

/// Row 8: a probe succeeded on a server that then ended. The trace is a pipe without a reader, so that the server waits
/// before it has a TPM.
#[test]
fn before_there_is_a_tpm_nobody_can_connect() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    rustix::fs::mkfifoat(rustix::fs::CWD, &trace, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut command = Command::new(PROGRAM);
    let (trace_path, socket) = (trace.to_str().unwrap(), folder.path().join("tpm"));
    command.args(["--port", "19250", "--startup", "clear", "--trace", trace_path, "--unix"]).arg(&socket);
    command.stdout(Stdio::null());
    let process = command.spawn().unwrap();
    let mut server = Server { process, port: 19_250, said: String::new() };
    // The ports come before the capture beside the trace.
    let began = Instant::now();
    while fs::metadata(folder.path().join("trace.pcap")).map_or(0, |file| file.len()) == 0 {
        assert!(server.process.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(5));
    }
    for port in [19_250, 19_251] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
    }
    let control = folder.path().join("tpm.ctrl");
    assert!(UnixStream::connect(&socket).is_err() && UnixStream::connect(&control).is_err());
    let _reader = fs::File::open(&trace).unwrap();
    while TcpStream::connect(("127.0.0.1", 19_250)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(code(&say(&mut server.connect(), RANDOM)), 0);
    assert!(UnixStream::connect(&socket).is_ok() && UnixStream::connect(&control).is_ok());
}

/// Section 2, row 12: a protected use, then SIGTERM without TPM2_Shutdown, cost a failed try.
#[test]
fn a_server_that_is_ended_has_shut_its_tpm_down_unless_it_is_told_not_to() {
    // TPM2_NV_DefineSpace of an index under dictionary-attack protection, whose authValue TPM2_NV_Write uses.
    let define = b"\x80\x02\0\0\0\x2f\0\0\x01\x2a\x40\0\0\x01\0\0\0\x09\x40\0\0\x09\0\0\0\0\0\0\x02pw\0\x0e\x01\x50\0\0\0\x0b\0\x04\0\x04\0\0\0\x01";
    let write =
        b"\x80\x02\0\0\0\x26\0\0\x01\x37\x01\x50\0\0\x01\x50\0\0\0\0\0\x0b\x40\0\0\x09\0\0\0\0\x02pw\0\x01x\0\0";
    let lockout_counter = b"\x80\x01\0\0\0\x16\0\0\x01\x7a\0\0\0\x06\0\0\x02\x0e\0\0\0\x01";
    for (how, options, tries) in
        [(Signal::TERM, None, 0), (Signal::INT, None, 0), (Signal::TERM, Some("--no-shutdown"), 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("tpm");
        let arguments: Vec<&str> = ["--state", state.to_str().unwrap()].into_iter().chain(options).collect();
        let mut server = Server::start(&arguments);
        let mut stream = server.connect();
        for command in [&define[..], write] {
            assert_eq!(code(&say(&mut stream, command)), 0);
        }
        signal(&server.process, how);
        assert!(ends(&mut server.process).success());
        let server = Server::start(&arguments);
        let counter = say(&mut server.connect(), lockout_counter);
        assert!(counter.ends_with(&[0, 0, 0, tries]), "{how:?} {options:?}: {counter:?}");
    }
}

/// Row 9. The server stayed at its port.
#[test]
fn whatever_signal_ends_the_server_frees_its_port() {
    for how in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
        let mut server = Server::start(&[]);
        assert_eq!(code(&say(&mut server.connect(), RANDOM)), 0);
        signal(&server.process, how);
        assert_eq!(ends(&mut server.process).success(), how != Signal::KILL);
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err(), "{how:?}");
    }
}
