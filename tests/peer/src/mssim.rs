//! A simulator that speaks the TCG's TCP protocol (mssim): commands at one port, what the platform does at the next.
//!
//! The simulator is the user's: it runs in a loop, so that a new one, just manufactured, comes when the last one was
//! told to stop or ended by itself.

use crate::Peer;
use core::ffi::c_int;
use core::time::Duration;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::Instant;

// TPM_* of the protocol
const POWER_ON: u32 = 1;
const POWER_OFF: u32 = 2;
const PRESENCE_ON: u32 = 3;
const PRESENCE_OFF: u32 = 4;
const HASH_START: u32 = 5;
const HASH_DATA: u32 = 6;
const HASH_END: u32 = 7;
const SEND_COMMAND: u32 = 8;
const NV_ON: u32 = 11;
const STOP: u32 = 21;

/// How long a new simulator may take to come, and a command to be answered.
const PATIENCE: Duration = Duration::from_secs(60);
/// More octets are no response.
const LONGEST: u32 = 1 << 20;

/// Both connections to one simulator.
struct Connection {
    command: TcpStream,
    platform: TcpStream,
}

impl Connection {
    fn open(host: &str, port: u16) -> Result<Self> {
        let connect = |port| {
            let stream = TcpStream::connect((host, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(stream)
        };
        // One that serves the platform is no longer on its way out, so that the other port is its own, too.
        let mut platform = connect(port + 1)?;
        power_on(&mut platform)?;
        Ok(Self { command: connect(port)?, platform })
    }

    /// What the platform does, and the simulator's answer to it.
    fn signal(&mut self, code: u32) -> Result<()> {
        ask(&mut self.platform, &code.to_be_bytes())
    }

    fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) -> Result<()> {
        let head = [&SEND_COMMAND.to_be_bytes()[..], &[locality], &length(request)].concat();
        self.command.write_all(&[&head, request].concat())?;
        acknowledge_at_once(&self.command);
        let size = number(&mut self.command)?;
        if size > LONGEST {
            return Err(ErrorKind::InvalidData.into());
        }
        response.resize(size as usize, 0);
        acknowledge_at_once(&self.command);
        self.command.read_exact(response)?;
        acknowledge_at_once(&self.command);
        acknowledged(&mut self.command)
    }

    fn hash(&mut self, parts: &[&[u8]]) -> Result<()> {
        ask(&mut self.command, &HASH_START.to_be_bytes())?;
        for part in parts {
            ask(&mut self.command, &[&HASH_DATA.to_be_bytes(), &length(part), *part].concat())?;
        }
        ask(&mut self.command, &HASH_END.to_be_bytes())
    }

    /// Ends the simulator, and waits until it has.
    fn stop(mut self) {
        // Some end by the one, some by the other. Their end is that of the connections: whatever this reads, it is none
        // of an answer.
        for stream in [&mut self.command, &mut self.platform] {
            let written = stream.write_all(&STOP.to_be_bytes());
            let _ = written.and_then(|()| stream.read(&mut [0; 4]));
        }
    }
}

/// A simulator that writes an answer in pieces may wait with each for the acknowledgement of the one before, which
/// Linux would hold back for 40 ms. The option is for what is read next, and without it all is as it was, but slow.
fn acknowledge_at_once(stream: &TcpStream) {
    let yes: c_int = 1;
    let size = u32::try_from(size_of_val(&yes)).expect("four");
    // SAFETY: the descriptor is that of an open stream, and the option's value is a variable of ours of that size.
    unsafe {
        let at = (&raw const yes).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_QUICKACK, at, size);
    }
}

fn length(octets: &[u8]) -> [u8; 4] {
    u32::try_from(octets.len()).expect("short").to_be_bytes()
}

fn number(stream: &mut TcpStream) -> Result<u32> {
    let mut four = [0; 4];
    stream.read_exact(&mut four)?;
    Ok(u32::from_be_bytes(four))
}

fn power_on(platform: &mut TcpStream) -> Result<()> {
    ask(platform, &POWER_ON.to_be_bytes())?;
    ask(platform, &NV_ON.to_be_bytes())
}

/// The zero at the end of each answer.
fn acknowledged(stream: &mut TcpStream) -> Result<()> {
    if number(stream)? == 0 { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

fn ask(stream: &mut TcpStream, message: &[u8]) -> Result<()> {
    stream.write_all(message)?;
    acknowledged(stream)
}

/// A simulator.
pub struct Mssim {
    host: String,
    port: u16,
    /// none once the simulator has ended
    connection: Option<Connection>,
}

impl Mssim {
    /// The simulator whose command port this is.
    ///
    /// # Panics
    /// Later, if none comes within a minute where a new one should.
    #[must_use]
    pub const fn new(host: String, port: u16) -> Self {
        Self { host, port, connection: None }
    }

    /// A connection, as soon as there is a simulator.
    fn connect(&mut self) {
        let begin = Instant::now();
        loop {
            let opened = Connection::open(&self.host, self.port);
            match opened {
                Ok(connection) => {
                    self.connection = Some(connection);
                    return;
                }
                Err(error) => {
                    assert!(begin.elapsed() < PATIENCE, "no simulator at {}:{}: {error}", self.host, self.port)
                }
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// Does something with the simulator, if it has not ended; false if it has.
    fn with(&mut self, act: impl FnOnce(&mut Connection) -> Result<()>) -> bool {
        let done = self.connection.as_mut().is_some_and(|connection| act(connection).is_ok());
        if !done {
            self.connection = None;
        }
        done
    }
}

impl Peer for Mssim {
    fn manufacture(&mut self) {
        // One that is not ours yet goes, too: nobody knows what was done to it before.
        if self.connection.is_none() {
            self.connect();
        }
        if let Some(connection) = self.connection.take() {
            connection.stop();
        }
        self.connect();
    }

    fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) {
        if !self.with(|connection| connection.execute(request, locality, response)) {
            response.clear();
        }
    }

    fn power_cycle(&mut self) {
        self.with(|connection| {
            connection.signal(POWER_OFF)?;
            power_on(&mut connection.platform)
        });
    }

    fn set_physical_presence(&mut self, asserted: bool) {
        self.with(|connection| connection.signal(if asserted { PRESENCE_ON } else { PRESENCE_OFF }));
    }

    fn hash(&mut self, parts: &[&[u8]]) {
        self.with(|connection| connection.hash(parts));
    }
}
