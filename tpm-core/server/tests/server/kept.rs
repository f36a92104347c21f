//! The server with `--state`, as a process that is killed: what it has said is true when it comes back.

use crate::client::{PROGRAM, STARTUP};
use core::time::Duration;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

const INDEX: [u8; 4] = [1, 0x50, 0, 0];
const COUNTER: [u8; 4] = [1, 0x50, 0, 1];
const OWNER: [u8; 4] = [0x40, 0, 0, 1];

/// A server, killed at its end.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server(port: u16, state: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--startup", "off", "--port", &port.to_string(), "--state"]).arg(state).stdout(Stdio::null());
    command
}

impl Server {
    fn start(port: u16, state: &Path) -> Self {
        Self { process: server(port, state).spawn().unwrap(), port }
    }

    fn connect(&mut self) -> TcpStream {
        let started = Instant::now();
        loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                return stream;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "the server has ended");
            assert!(started.elapsed() < Duration::from_secs(60), "no server");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A command with empty passwords for all its handles, and what follows the header of its response.
fn say(stream: &mut TcpStream, code: u16, handles: &[[u8; 4]], auths: usize, parameters: &[u8]) -> Option<Vec<u8>> {
    let password = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let area = u32::try_from(9 * auths).unwrap().to_be_bytes();
    let body = [&handles.concat()[..], &area, &password.repeat(auths), parameters].concat();
    let size = u32::try_from(10 + body.len()).unwrap().to_be_bytes();
    let command = [&[0x80, 2][..], &size, &[0, 0], &code.to_be_bytes(), &body].concat();
    answer(stream, &command)
}

/// None if the server is gone.
fn answer(stream: &mut TcpStream, command: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(command).ok()?;
    let mut header = [0; 10];
    stream.read_exact(&mut header).ok()?;
    assert_eq!(header[6..], [0; 4], "response to {command:x?}");
    let mut rest = vec![0; u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize - 10];
    stream.read_exact(&mut rest).ok()?;
    Some(rest)
}

fn define(stream: &mut TcpStream, index: [u8; 4], attributes: u32) {
    let public = [&index[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0, 0, 8]].concat();
    let parameters = [&[0, 0, 0, 14][..], &public].concat();
    say(stream, 0x12a, &[OWNER], 1, &parameters).unwrap();
}

fn number(stream: &mut TcpStream, index: [u8; 4]) -> u64 {
    let reply = say(stream, 0x14e, &[index, index], 1, &[0, 8, 0, 0]).unwrap();
    u64::from_be_bytes(reply[6..14].try_into().unwrap())
}

#[test]
fn whatever_was_acknowledged_is_there_after_kill_9() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("tpm");
    let mut acknowledged = 0_u64;
    let mut first_count = None;
    for round in 0..8_u64 {
        let mut server = Server::start(19_200, &state);
        let mut stream = server.connect();
        answer(&mut stream, STARTUP).unwrap();
        if round == 0 {
            // Authorized by authValue, not under protection; the second one is a counter.
            define(&mut stream, INDEX, 1 << 2 | 1 << 18 | 1 << 25);
            define(&mut stream, COUNTER, 1 << 2 | 1 << 4 | 1 << 18 | 1 << 25);
        } else {
            let found = number(&mut stream, INDEX);
            assert!((acknowledged..=acknowledged + 1).contains(&found), "{found}, {acknowledged} was acknowledged");
            let counted = number(&mut stream, COUNTER);
            let base = *first_count.get_or_insert(counted.wrapping_sub(found));
            // The counter is incremented before the number is written.
            assert!([0, 1].contains(&counted.wrapping_sub(base).wrapping_sub(found)), "{counted}, {found}");
            acknowledged = counted.wrapping_sub(base);
            let parameters = [&[0, 8][..], &acknowledged.to_be_bytes(), &[0, 0]].concat();
            say(&mut stream, 0x137, &[INDEX, INDEX], 1, &parameters).unwrap();
        }
        let (said, heard) = channel();
        let start = acknowledged;
        let client = thread::spawn(move || {
            for n in start + 1.. {
                let parameters = [&[0, 8][..], &n.to_be_bytes(), &[0, 0]].concat();
                let counted = say(&mut stream, 0x134, &[COUNTER, COUNTER], 1, &[]);
                let written = counted.and_then(|_| say(&mut stream, 0x137, &[INDEX, INDEX], 1, &parameters));
                if written.is_none() {
                    break;
                }
                let _ = said.send(n);
            }
        });
        // In the midst of a burst, at another place each time.
        let first = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        thread::sleep(Duration::from_micros(20_000 + 7_919 * round));
        server.process.kill().unwrap();
        client.join().unwrap();
        let last = heard.try_iter().last().unwrap_or(first);
        acknowledged = last;
    }
}

#[test]
fn a_folder_has_one_server_and_a_damaged_state_has_none() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("tpm");
    let mut first = Server::start(19_210, &state);
    answer(&mut first.connect(), STARTUP).unwrap();
    let refused = |why: &str| {
        let output = server(19_214, &state).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{said}");
    };
    refused("another server");
    drop(first);
    let file = state.join("state");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, &flipped).unwrap();
    refused("damaged");
    fs::remove_file(&file).unwrap();
    refused("no state");
}
