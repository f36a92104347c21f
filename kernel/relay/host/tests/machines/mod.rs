//! Two firmwares at their consoles, as QEMU's sockets give them to relays, and the programs between them.

mod program;

pub(crate) use program::{Running, program};

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use migration::destination::{self, Destination};
use migration::message::{Kind, refused};
use migration::source::{self, Bearer, Source};
use migration::{Grant, Refusal, Terms, Wiped};
use moves::Seeded;
use moves::chip::Boot;
use moves::scene::{BOOT_NONCE, CHIP_A, CHIP_B, EPOCH, IDENTITY, MOST, NEW, OLD};
use relay::{Frames, frame, service};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// How often a destination asks for its receipt; a real one does each second.
const ASKS: Duration = Duration::from_millis(100);

/// A host's relay.
pub(crate) struct Host {
    _relay: Running,
    /// Where the firmware connects.
    pub(crate) console: PathBuf,
    /// Where a carrier does.
    pub(crate) port: String,
}

impl Host {
    /// With a port at this address; 0 is any.
    pub(crate) fn start(folder: &Path, name: &str, address: &str) -> Self {
        let console = folder.join(name);
        let mut relay = Running::start(&["--socket", console.to_str().unwrap(), "--migration-listen", address]);
        let line = relay.line("carriers may come to ");
        let port = line.trim_start_matches("carriers may come to ").to_owned();
        relay.line(&console.display().to_string());
        Self { _relay: relay, console, port }
    }
}

/// What is known of a firmware from outside.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Its TPM answers.
    pub(crate) answers: Arc<AtomicBool>,
    /// It hears all that is said. Before that it loses what it is told to lose.
    pub(crate) hears_all: Arc<AtomicBool>,
}

impl Seen {
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    pub(crate) fn hear_all(&self) {
        self.hears_all.store(true, Ordering::Release);
    }
}

/// One side, as the firmware has it.
trait Side {
    fn take(&mut self, message: &[u8]) -> Result<Vec<Vec<u8>>, Refusal>;
    fn ask(&self) -> Vec<Vec<u8>>;
    fn answers(&self) -> bool;
}

/// A firmware that runs, until this is dropped.
pub(crate) struct Firmware {
    console: UnixStream,
    pub(crate) seen: Seen,
}

impl Drop for Firmware {
    fn drop(&mut self) {
        let _ = self.console.shutdown(Shutdown::Both);
    }
}

/// One that has the TPM, and loses messages of this kind.
pub(crate) fn source(host: &Host, terms: &'static Terms, loses: Option<Kind>) -> Firmware {
    start(host, loses, move || Old { terms, run: None, boot: Boot::new(&CHIP_A, OLD), rng: Seeded::new("old") })
}

/// One to which the TPM is to come.
pub(crate) fn destination(host: &Host, terms: &'static Terms, loses: Option<Kind>) -> Firmware {
    start(host, loses, move || New {
        run: Destination::new(terms, true, MOST, None).unwrap(),
        boot: Boot::new(&CHIP_B, NEW),
        rng: Seeded::new("new"),
    })
}

fn start<S: Side>(host: &Host, loses: Option<Kind>, make: impl FnOnce() -> S + Send + 'static) -> Firmware {
    let console = UnixStream::connect(&host.console).unwrap();
    let (stream, seen) = (console.try_clone().unwrap(), Seen::default());
    let own = seen.clone();
    thread::spawn(move || serve(stream, make(), loses, &own));
    Firmware { console, seen }
}

fn serve(mut console: UnixStream, mut side: impl Side, loses: Option<Kind>, seen: &Seen) {
    console.set_read_timeout(Some(ASKS)).unwrap();
    let (mut frames, mut octets) = (Frames::default(), [0; 4096]);
    loop {
        seen.answers.store(side.answers(), Ordering::Release);
        let mut rest = match console.read(&mut octets) {
            Ok(0) => return,
            Ok(count) => &octets[..count],
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                side.ask().iter().for_each(|message| say(&mut console, message));
                continue;
            }
            Err(_) => return,
        };
        while !rest.is_empty() {
            let (used, frame) = frames.take(rest);
            rest = &rest[used..];
            let Some(message) = frame.transpose().unwrap() else { continue };
            assert_eq!((message.service, message.number), (service::MIGRATION, 0));
            let kind = Kind::of(&message.octets).unwrap().0;
            if loses == Some(kind) && !seen.hears_all.load(Ordering::Acquire) {
                continue;
            }
            let said = match side.take(&message.octets) {
                Ok(said) => said,
                Err(_) if kind == Kind::Refused => Vec::new(),
                Err(why) => vec![refused(why).unwrap()],
            };
            seen.answers.store(side.answers(), Ordering::Release);
            said.iter().for_each(|message| say(&mut console, message));
        }
    }
}

fn say(console: &mut UnixStream, message: &[u8]) {
    let _ = console.write_all(&frame(service::MIGRATION, 0, message).unwrap());
}

struct Old {
    terms: &'static Terms,
    run: Option<Source<'static>>,
    boot: Boot<'static>,
    rng: Seeded,
}

impl Side for Old {
    /// As the crate `keeper` does it.
    fn take(&mut self, message: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
        let (kind, body) = Kind::of(message)?;
        let is_running = self.run.as_ref().is_some_and(|run| !run.is_over());
        if kind == Kind::Begin && self.answers() {
            let grant = if body.is_empty() { None } else { Some(Grant::parse(body)?) };
            let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant: grant.as_ref() };
            let (run, offer) = Source::offer(self.terms, &bearer, &mut self.rng)?;
            self.run = Some(run);
            return Ok(vec![offer]);
        }
        if matches!(kind, Kind::Ask | Kind::Kept) && !is_running {
            return Ok(Vec::new());
        }
        let run = self.run.as_mut().filter(|run| !run.is_over()).ok_or(Refusal::Unexpected)?;
        Ok(match run.receive(message, &mut self.boot)? {
            source::Next::Nothing | source::Next::Lives => Vec::new(),
            source::Next::Send(message) => vec![message],
            source::Next::HandOver => {
                let state = (0..150_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
                let mut all = vec![run.hand_over(Wiped::of(state), EPOCH, BOOT_NONCE, &mut self.rng)?];
                while let Some(chunk) = run.next_chunk()? {
                    all.push(chunk);
                }
                all
            }
            source::Next::Entomb(_) => vec![run.entombed()?],
        })
    }

    fn ask(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn answers(&self) -> bool {
        self.run.as_ref().is_none_or(Source::answers)
    }
}

struct New {
    run: Destination<'static>,
    boot: Boot<'static>,
    rng: Seeded,
}

impl Side for New {
    fn take(&mut self, message: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
        Ok(match self.run.receive(message, &mut self.boot, &mut self.rng)? {
            destination::Next::Nothing => Vec::new(),
            destination::Next::Send(message) => vec![message],
            destination::Next::Keep(_) => vec![self.run.kept()?],
            destination::Next::Awake(_) => vec![self.run.live()?],
        })
    }

    fn ask(&self) -> Vec<Vec<u8>> {
        if self.answers() {
            return Vec::new();
        }
        self.run.kept_again().map(<[u8]>::to_vec).into_iter().chain(self.run.ask()).collect()
    }

    fn answers(&self) -> bool {
        self.run.answers()
    }
}
