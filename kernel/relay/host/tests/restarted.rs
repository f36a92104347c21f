//! A relay that is killed and started again, while a firmware runs: what was on the way is lost, and all goes on.

#[path = "machines/program.rs"]
mod program;

use core::convert::Infallible;
use core::time::Duration;
use program::Running;
use relay::{Framed, Message, Relay, Stream, frame, service};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;

/// Sizes of an anchor's protocol.
const REQUEST: usize = 386;
const REPLY: usize = 603;

/// An anchor for whoever connects, as often as that is.
fn anchor() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut request = [0; REQUEST];
                while stream.read_exact(&mut request).is_ok() {
                    stream.write_all(&[request[0]; REPLY]).unwrap();
                }
            });
        }
    });
    address
}

/// A console whose socket is QEMU's, with `reconnect`: what is written while nobody listens is dropped, and what a
/// relay has said that is gone, is.
struct Console {
    socket: PathBuf,
    stream: Option<UnixStream>,
    /// Octets that pass, each way, before the relay goes; the others are lost with it.
    pass: [usize; 2],
}

impl Console {
    fn stream(&mut self) -> Option<&mut UnixStream> {
        if self.stream.is_none() {
            self.stream = UnixStream::connect(&self.socket).ok();
            self.stream.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
        }
        self.stream.as_mut()
    }
}

impl Stream for Console {
    type Error = Infallible;

    fn write(&mut self, octets: &[u8]) -> Result<(), Infallible> {
        let now = octets.len().min(self.pass[0]);
        self.pass[0] -= now;
        if self.stream().is_some_and(|stream| stream.write_all(&octets[..now]).is_err()) {
            self.stream = None;
        }
        Ok(())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let room = out.len().min(self.pass[1]);
        let Some(stream) = self.stream() else { return Ok(0) };
        let count = match stream.read(&mut out[..room]) {
            Ok(0) if room > 0 => {
                self.stream = None;
                0
            }
            count => count.unwrap_or(0),
        };
        self.pass[1] -= count;
        Ok(count)
    }
}

/// A firmware, its console, and the relay behind that.
struct Place {
    firmware: Framed<Console>,
    relay: Option<Running>,
    arguments: Vec<String>,
    _folder: TempDir,
}

fn start(arguments: &[String]) -> Running {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut relay = Running::start(&arguments);
    relay.line(arguments[1]);
    relay
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket: &Path = &folder.path().join("programs");
        let arguments = ["--socket", socket.to_str().unwrap(), "--anchor", &anchor()].map(String::from).to_vec();
        let console = Console { socket: socket.to_path_buf(), stream: None, pass: [usize::MAX; 2] };
        Self { firmware: Framed::new(console), relay: Some(start(&arguments)), arguments, _folder: folder }
    }

    /// Kills it (SIGKILL), and starts another.
    fn restart(&mut self) {
        self.relay = None;
        let console = self.firmware.stream();
        (console.stream, console.pass) = (None, [usize::MAX; 2]);
        self.relay = Some(start(&self.arguments));
    }

    fn ask(&mut self, octet: u8) {
        let Ok(()) = self.firmware.send(service::ANCHORS, 0, &[octet; REQUEST]).map_err(drop) else { unreachable!() };
    }

    /// What is heard, as long as the console passes something.
    fn heard(&mut self) -> Option<Message> {
        let until = Instant::now() + Duration::from_secs(60);
        while self.firmware.stream().pass[1] > 0 && Instant::now() < until {
            if let Some(message) = self.firmware.receive().unwrap() {
                return Some(message);
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// The next question is answered, and nothing else is heard.
    fn goes_on(&mut self, octet: u8, why: &str) {
        self.ask(octet);
        let reply = Message { service: service::ANCHORS, number: 0, octets: vec![octet; REPLY] };
        assert_eq!(self.heard(), Some(reply), "{why}");
    }
}

/// Octets of its frames that have passed when a relay is killed: none, some, and all but two. The last one is a zero,
/// and the next frame begins by one.
fn cuts(message: usize) -> [usize; 5] {
    let whole = frame(service::ANCHORS, 0, &vec![7; message]).unwrap().len();
    [0, 1, 2, whole / 2, whole - 2]
}

#[test]
fn a_relay_that_is_killed_amid_a_question_leaves_the_next_to_its_successor() {
    let mut place = Place::new();
    place.goes_on(1, "before");
    for (octet, cut) in (2..).zip(cuts(REQUEST)) {
        place.firmware.stream().pass[0] = cut;
        place.ask(octet);
        place.restart();
        place.goes_on(octet + 100, &format!("killed behind {cut} octets of a question"));
    }
}

/// A firmware is amid a frame when another relay comes, which hears the end of it first.
#[test]
fn a_relay_that_comes_amid_a_question_loses_that_one() {
    let mut place = Place::new();
    place.goes_on(1, "before");
    let whole = frame(service::ANCHORS, 0, &[9; REQUEST]).unwrap();
    for (octet, cut) in (2..).zip(cuts(REQUEST)) {
        place.restart();
        let Ok(()) = place.firmware.stream().write(&whole[cut.max(1)..]);
        place.goes_on(octet, &format!("it came behind {cut} octets"));
    }
}

#[test]
fn a_relay_that_is_killed_amid_an_answer_costs_that_one() {
    let mut place = Place::new();
    place.goes_on(1, "before");
    for (octet, cut) in (2..).zip(cuts(REPLY)) {
        place.firmware.stream().pass[1] = cut;
        place.ask(octet);
        assert_eq!(place.heard(), None, "{cut} octets are no answer");
        place.restart();
        place.goes_on(octet + 100, &format!("killed behind {cut} octets of an answer"));
    }
}
