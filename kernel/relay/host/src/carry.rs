//! `quoin-relay carry`: brings the messages of a migration from one host's relay to another's and back.

use crate::journey::{Act, End, Journey, Side, name};
use crate::pump::each;
use crate::sockets::connect;
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use migration::message::{Kind, VERSION};
use migration::{Grant, grant};
use quoin_anchor::ask::Address;
use relay::{Message, frame, service};
use socket2::Socket;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

/// Messages that were read and not looked at.
const WAITING: usize = 16;
/// Octets of the message *gone*.
const GONE: usize = 4 + 32;
/// How long the relays may take to close their connections at the end.
const PARTING: Duration = Duration::from_secs(1);

/// What `carry` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the relay of the host from which the TPM moves listens for carriers: HOST:PORT, or a path with a slash.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "receipt")]
    source: Option<String>,
    /// The same of the host to which it moves.
    #[arg(long, value_name = "ADDRESS")]
    destination: String,
    /// The owner's grant, by `quoin-state grant`.
    #[arg(long, value_name = "FILE", requires = "source")]
    grant: Option<PathBuf>,
    /// Keep the source's receipt in this new file. It is no secret: the source is dead when it gives it.
    #[arg(long, value_name = "FILE", requires = "source")]
    keep_receipt: Option<PathBuf>,
    /// Bring a receipt that was kept, to a destination that waits for it; the source need not be there any more.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source", "grant", "keep_receipt"])]
    receipt: Option<PathBuf>,
    /// Seconds without a step after which it is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
}

/// A message that has come, or how a connection ended.
type Event = (Side, Result<Message, Option<anyhow::Error>>);

/// Carries until the destination lives, or somebody refuses.
///
/// # Errors
/// A file is not as it must be, a side is not there or goes, says what it must not, or nothing happens any more.
pub(crate) fn run(args: &Args) -> Result<End> {
    let first = match (&args.receipt, &args.grant) {
        (Some(file), _) => (Side::Destination, receipt(file)?),
        (None, grant) => (Side::Source, begin(grant.as_deref())?),
    };
    if let Some(file) = &args.keep_receipt {
        ensure!(!file.try_exists()?, "{} is there already: nothing is written over", file.display());
    }
    let patience = Duration::from_secs(args.patience);
    let (pass, events) = sync_channel(WAITING);
    let connect = |side, address: &String| -> Result<Socket> {
        let socket = connect(&Address::of(address), patience).with_context(|| format!("the relay of {side}"))?;
        socket.set_write_timeout(Some(patience))?;
        listen(side, socket.try_clone()?, pass.clone());
        Ok(socket)
    };
    let source = args.source.as_ref().map(|address| connect(Side::Source, address)).transpose()?;
    let destination = connect(Side::Destination, &args.destination)?;
    let journey = if args.receipt.is_some() { Journey::with_receipt() } else { Journey::default() };
    let mut carrier =
        Carrier { source, destination, journey, first, keep: args.keep_receipt.as_deref(), not_kept: None };
    let end = carrier.carry(&events, patience);
    carrier.part(&events);
    match (end, carrier.not_kept) {
        (Ok(End::Lives), Some(why)) => {
            Err(why.context("the TPM lives at the destination, but its receipt is not kept"))
        }
        (end, _) => end,
    }
}

/// The message that a source is asked with. That the grant is one is looked at here: the firmware would say less.
fn begin(file: Option<&Path>) -> Result<Vec<u8>> {
    let header = [VERSION, Kind::Begin as u8, 0, 0];
    let Some(file) = file else { return Ok(header.to_vec()) };
    let octets = read(file, grant::SIZE)?;
    Grant::parse(&octets).map_err(|_| anyhow::anyhow!("{} is no grant", file.display()))?;
    Ok([&header[..], &octets].concat())
}

/// The message *gone* that was kept.
fn receipt(file: &Path) -> Result<Vec<u8>> {
    let octets = read(file, GONE)?;
    let is_receipt = octets.len() == GONE && matches!(Kind::of(&octets), Ok((Kind::Gone, _)));
    ensure!(is_receipt, "{} is no receipt", file.display());
    Ok(octets)
}

/// A file; no more of it than one octet too many.
fn read(file: &Path, most: usize) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    fs::File::open(file)?.take(most as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

/// Writes a new file, all of it or nothing.
fn keep(file: &Path, octets: &[u8]) -> Result<()> {
    let mut new = fs::File::options().write(true).create_new(true).open(file)?;
    let written = new.write_all(octets).and_then(|()| new.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    Ok(written?)
}

/// Has what a side says come as events.
fn listen(side: Side, mut socket: Socket, pass: SyncSender<Event>) {
    thread::spawn(move || {
        let end = each(&mut socket, &mut |frame| pass.send((side, Ok(frame?))).context("nobody listens"));
        let _ = pass.send((side, Err(end.err())));
    });
}

struct Carrier<'a> {
    source: Option<Socket>,
    destination: Socket,
    journey: Journey,
    /// What is said first, and to whom.
    first: (Side, Vec<u8>),
    keep: Option<&'a Path>,
    not_kept: Option<anyhow::Error>,
}

impl Carrier<'_> {
    fn carry(&mut self, events: &Receiver<Event>, patience: Duration) -> Result<End> {
        self.say_first()?;
        let mut until = Instant::now() + patience;
        loop {
            let (from, message) = match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((from, Ok(message))) => (from, message),
                Ok((from, Err(Some(why)))) => return Err(why.context(format!("{from}'s relay"))),
                Ok((from, Err(None))) => bail!(
                    "the relay of {from} has closed the connection: no firmware is there any more, or it had another \
                     carrier (its log says which)"
                ),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.nothing(patience);
                }
            };
            let (kind, end) = self.take(from, &message)?;
            if let Some(end) = end {
                return Ok(end);
            }
            if self.journey.is_step(kind) {
                until = Instant::now() + patience;
            }
        }
    }

    fn take(&mut self, from: Side, message: &Message) -> Result<(Kind, Option<End>)> {
        let Message { service, number, octets } = message;
        ensure!(
            (*service, *number) == (service::MIGRATION, 0),
            "the relay of {from} brings a message of service {service}, number {number}"
        );
        let (kind, act) = self.journey.take(from, octets)?;
        match act {
            Act::Carry => self.say(from.other(), octets)?,
            Act::Receipt => {
                self.not_kept = self.keep.and_then(|file| keep(file, octets).err());
                self.say(from.other(), octets)?;
            }
            // What it was about is decided, whether or not the other side hears of it.
            Act::End(end) => {
                let _ = self.say(from.other(), octets);
                return Ok((kind, Some(end)));
            }
            Act::Drop => tell(kind, octets, "to nobody"),
            Act::BeginAgain => {
                tell(kind, octets, "to nobody: it ends an earlier run");
                self.say_first()?;
            }
        }
        Ok((kind, None))
    }

    fn say_first(&self) -> Result<()> {
        let (to, message) = &self.first;
        self.say(*to, message)
    }

    fn say(&self, to: Side, message: &[u8]) -> Result<()> {
        let kind = Kind::of(message).map_or(Kind::Refused, |(kind, _)| kind);
        let socket = match to {
            Side::Source => self.source.as_ref(),
            Side::Destination => Some(&self.destination),
        };
        let Some(mut socket) = socket else {
            tell(kind, message, "to nobody");
            return Ok(());
        };
        tell(kind, message, &format!("to {to}"));
        let frame = frame(service::MIGRATION, 0, message)?;
        socket.write_all(&frame).with_context(|| format!("the relay of {to} takes nothing"))
    }

    /// No step in all that time.
    fn nothing(&self, patience: Duration) -> Result<End> {
        if let Some(why) = self.journey.doubt() {
            return Ok(End::Refused(Side::Source, why));
        }
        let why = match self.first.0 {
            Side::Source => "a source is asked before its guest's next command, so have that use its TPM",
            Side::Destination => "a TPM that lives already does not answer its receipt",
        };
        bail!("nothing has happened for {} seconds; {why}", patience.as_secs())
    }

    /// Lets the relays have what was said last: a connection with something unread would end with that.
    fn part(&self, events: &Receiver<Event>) {
        let mut open = 0;
        for socket in self.source.iter().chain([&self.destination]) {
            open += usize::from(socket.shutdown(Shutdown::Write).is_ok());
        }
        let until = Instant::now() + PARTING;
        while open > 0 {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((_, Ok(_))) => {}
                Ok((_, Err(_))) => open -= 1,
                Err(_) => return,
            }
        }
    }
}

/// One line for each message. That nobody reads it ends nothing.
fn tell(kind: Kind, message: &[u8], to: &str) {
    let _ = writeln!(io::stdout(), "{:<8}{:>6} octets {to}", name(kind), message.len());
}
