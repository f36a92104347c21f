//! A TPM's side over sockets: drives [`anchor::Client`] for whoever has streams. The firmware sends the same octets
//! through its relay.

use anchor::client::Client;
use anchor::drive::{self, Refused, Way};
use anchor::keys::Keys;
use anchor::mark::Mark;
use anchor::wire::{Head, Reply};
use anyhow::{Context, Result};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

/// Where an anchor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`
    Tcp(String),
    /// A path.
    Unix(PathBuf),
}

impl Address {
    /// An address: what has a slash is a path.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.contains('/') { Self::Unix(PathBuf::from(text)) } else { Self::Tcp(text.to_owned()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A stream of either kind.
trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to one anchor, made when it is needed and again after an error.
pub struct Line {
    address: Address,
    patience: Duration,
    stream: Option<Box<dyn Stream>>,
}

impl Line {
    /// To the anchor at `address`, which is waited for so long.
    #[must_use]
    pub const fn new(address: Address, patience: Duration) -> Self {
        Self { address, patience, stream: None }
    }

    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// The anchor cannot be reached, or says nothing.
    pub fn ask(&mut self, request: &[u8]) -> Result<[u8; Reply::SIZE]> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().with_context(|| format!("the anchor at {} cannot be reached", self.address))?,
        };
        let mut reply = [0; Reply::SIZE];
        let answered = stream.write_all(request).and_then(|()| stream.read_exact(&mut reply));
        answered.with_context(|| format!("the anchor at {} does not answer", self.address))?;
        self.stream = Some(stream);
        Ok(reply)
    }

    /// The same, and once more on a new connection where an old one was used: that the anchor has closed it meanwhile
    /// is found out only so.
    ///
    /// # Errors
    /// The anchor cannot be reached, or says nothing.
    pub fn ask_again(&mut self, request: &[u8]) -> Result<[u8; Reply::SIZE]> {
        let is_old = self.stream.is_some();
        let reply = self.ask(request);
        if reply.is_err() && is_old { self.ask(request) } else { reply }
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        Ok(match &self.address {
            Address::Tcp(text) => {
                let mut addresses = text.to_socket_addrs().context("no address")?;
                let address = addresses.next().context("a name without an address")?;
                let stream = TcpStream::connect_timeout(&address, self.patience)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Box::new(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Box::new(stream)
            }
        })
    }
}

/// To which round, from which anchor, and what.
type Answer = (u64, usize, Result<[u8; Reply::SIZE]>);

/// All anchors of a TPM, each asked in a thread of its own: one that is slow holds up no other.
pub struct Anchors {
    ask: Vec<Sender<(u64, Vec<u8>)>>,
    answers: Receiver<Answer>,
    round: AtomicU64,
    patience: Duration,
}

impl Anchors {
    /// The anchors at these addresses, in the order of the settings.
    #[must_use]
    pub fn new(addresses: &[Address], patience: Duration) -> Self {
        let (answer, answers) = channel();
        let ask = addresses.iter().enumerate().map(|(number, address)| {
            let (ask, asked) = channel::<(u64, Vec<u8>)>();
            let (answer, mut line) = (answer.clone(), Line::new(address.clone(), patience));
            thread::spawn(move || {
                while let Ok((round, request)) = asked.recv() {
                    let reply = line.ask_again(&request);
                    if answer.send((round, number, reply)).is_err() {
                        return;
                    }
                }
            });
            ask
        });
        Self { ask: ask.collect(), answers, round: AtomicU64::new(0), patience }
    }

    /// Gets the turn, and has the newest state accepted anew.
    ///
    /// # Errors
    /// The state is old, or too few anchors answer.
    pub fn settle<K: Keys>(&self, client: &mut Client<'_, K>) -> Result<(), Refused> {
        drive::settle(&mut self.rounds(), client)
    }

    /// Has a head registered whose record is on the disk.
    ///
    /// # Errors
    /// Another copy has started, or too few anchors answer: the head may be registered or not.
    pub fn register<K: Keys>(&self, client: &mut Client<'_, K>, head: Head) -> Result<(), Refused> {
        drive::register(&mut self.rounds(), client, head)
    }

    /// A boot: `write` makes the new record with this mark, and flushes it.
    ///
    /// # Errors
    /// The state is old, or too few anchors answer, or the record cannot be written.
    pub fn start<K: Keys>(&self, client: &mut Client<'_, K>, write: impl FnOnce(Mark) -> Result<Head>) -> Result<Head> {
        self.settle(client)?;
        let head = write(client.mark())?;
        self.register(client, head)?;
        Ok(head)
    }

    fn rounds(&self) -> Rounds<'_> {
        Rounds { anchors: self, until: Instant::now(), left: 0 }
    }
}

/// Some rounds, each of which is waited for so long.
struct Rounds<'a> {
    anchors: &'a Anchors,
    until: Instant,
    /// Anchors that have neither answered nor failed.
    left: usize,
}

impl Way for Rounds<'_> {
    fn send(&mut self, request: &[u8]) {
        let round = self.anchors.round.fetch_add(1, Ordering::Relaxed) + 1;
        self.left = self.anchors.ask.iter().filter(|ask| ask.send((round, request.to_vec())).is_ok()).count();
        self.until = Instant::now() + self.anchors.patience;
    }

    fn receive(&mut self) -> Option<(usize, [u8; Reply::SIZE])> {
        while self.left > 0 {
            let time = self.until.saturating_duration_since(Instant::now());
            let (round, number, reply) = self.anchors.answers.recv_timeout(time).ok()?;
            self.left -= usize::from(round == self.anchors.round.load(Ordering::Relaxed));
            match reply {
                Ok(reply) => return Some((number, reply)),
                Err(why) => log::debug!("{why:#}"),
            }
        }
        None
    }

    fn nonce(&mut self) -> Option<[u8; 32]> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).ok()?;
        Some(nonce)
    }
}
