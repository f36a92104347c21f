//! A server as a process, and a client of it.

use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quoin-tpm");
pub(crate) const RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
pub(crate) const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

/// A server, killed at its end.
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) port: u16,
    /// What it says before it serves.
    pub(crate) said: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::of(Command::new(PROGRAM).args(["--port", "0"]).args(options))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("port=") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let port = said.trim_end().rsplit('=').next().unwrap().parse().unwrap();
        Self { process, port, said }
    }

    /// Ends it, and gives what it has said on standard error.
    pub(crate) fn warnings(&mut self) -> String {
        self.process.kill().unwrap();
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

/// A response without its length.
pub(crate) fn say(stream: &mut (impl Read + Write), command: &[u8]) -> Vec<u8> {
    stream.write_all(command).unwrap();
    let mut response = vec![0; 10];
    stream.read_exact(&mut response).unwrap();
    let size = u32::from_be_bytes(response[2..6].try_into().unwrap()) as usize;
    response.resize(size, 0);
    stream.read_exact(&mut response[10..]).unwrap();
    response
}

pub(crate) fn code(response: &[u8]) -> u32 {
    u32::from_be_bytes(response[6..10].try_into().unwrap())
}

pub(crate) fn ends(process: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "it goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}
