//! Sockets, and limits for strangers: whoever reaches an anchor may be anybody.

use crate::backend::etcd::Options;
use crate::backend::{Backend, Kept};
use crate::control;
use crate::folder::{self, Folder};
use anchor::keeper::{Answer, Entry};
use anchor::keys::P384;
use anchor::share::{self, Exchange};
use anchor::wire::{Reason, Reply, Request};
use anyhow::{Context, Result, ensure};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tpm_ports::Stop;
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

/// How often is looked whether the program shall end.
const LOOK: Duration = Duration::from_millis(50);

/// What a stranger can take.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// TPMs that are kept; the next one is refused.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub most: u64,
    /// Admit no TPM that is not known: `enrol` admits it.
    #[arg(long)]
    pub closed: bool,
    /// Connections at once; further ones are closed.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub connections: usize,
    /// Seconds until a connection is closed that asks nothing, or a request that has begun must be whole.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle: u64,
}

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The anchor's folder.
    folder: PathBuf,
    /// Where to listen, `ADDRESS:PORT`; port 0 is any. May be given several times.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "unix")]
    listen: Vec<String>,
    /// A Unix socket to listen at.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    etcd: Options,
}

/// What all connections share.
struct Anchor {
    keys: P384,
    backend: Arc<dyn Backend>,
    limits: Limits,
    connections: AtomicUsize,
}

/// Serves until a signal.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = Folder::open(&args.folder)?;
    let backend = folder.database(&args.etcd)?;
    let stop = Stop::on(&[SIGINT, SIGTERM, SIGHUP])?;
    let mut listeners = Vec::new();
    for address in &args.listen {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
        listeners.push(Listener::Tcp(listener));
    }
    if let Some(path) = &args.unix {
        listeners.push(Listener::Unix(tpm_ports::listen_in_place(path)?, path.clone()));
    }
    let control = Folder::control(&args.folder);
    let operator = tpm_ports::listen_in_place(&control)?;
    let known = folder::count(&*backend)?;
    for listener in &listeners {
        println!("listening at {}", listener.address()?);
    }
    println!("{known} TPMs are known; until Ctrl-C");
    io::stdout().flush()?;
    let anchor = Arc::new(Anchor {
        keys: folder.keys,
        backend: Arc::clone(&backend),
        limits: args.limits,
        connections: AtomicUsize::new(0),
    });
    for listener in listeners {
        let anchor = Arc::clone(&anchor);
        thread::spawn(move || listener.serve(&anchor));
    }
    thread::spawn(move || control::serve(&operator, &*backend));
    while !stop.is_set() {
        thread::sleep(LOOK);
    }
    // What was answered is on the disk; nobody waits for the rest.
    let _ = fs::remove_file(control);
    if let Some(path) = &args.unix {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    fn address(&self) -> Result<String> {
        Ok(match self {
            Self::Tcp(listener) => listener.local_addr()?.to_string(),
            Self::Unix(_, path) => path.display().to_string(),
        })
    }

    fn serve(self, anchor: &Arc<Anchor>) {
        loop {
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().map(|(stream, from)| Peer::Tcp(stream, from.to_string())),
                Self::Unix(listener, path) => {
                    listener.accept().map(|(stream, _)| Peer::Unix(stream, path.display().to_string()))
                }
            };
            match accepted {
                Ok(peer) => admit(peer, anchor),
                Err(why) => {
                    // No file descriptors, or no memory: that goes by.
                    log::warn!("a connection cannot be taken: {why}");
                    thread::sleep(LOOK);
                }
            }
        }
    }
}

/// Gives a connection a thread, if there are not too many.
fn admit(peer: Peer, anchor: &Arc<Anchor>) {
    if anchor.connections.fetch_add(1, Ordering::SeqCst) >= anchor.limits.connections {
        anchor.connections.fetch_sub(1, Ordering::SeqCst);
        log::warn!("{}: {} connections are there already", peer.name(), anchor.limits.connections);
        return;
    }
    let shared = Arc::clone(anchor);
    let started = thread::Builder::new().spawn(move || {
        if let Err(why) = serve_one(&peer, &shared) {
            log::warn!("{}: {why:#}", peer.name());
        }
        shared.connections.fetch_sub(1, Ordering::SeqCst);
    });
    if let Err(why) = started {
        anchor.connections.fetch_sub(1, Ordering::SeqCst);
        log::warn!("no thread for a connection: {why}");
    }
}

enum Peer {
    Tcp(TcpStream, String),
    Unix(UnixStream, String),
}

impl Peer {
    fn name(&self) -> &str {
        let (Self::Tcp(_, name) | Self::Unix(_, name)) = self;
        name
    }

    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        // Zero would be for ever.
        let time = Some(time.max(Duration::from_millis(1)));
        match self {
            Self::Tcp(stream, _) => stream.set_read_timeout(time).and_then(|()| stream.set_write_timeout(time)),
            Self::Unix(stream, _) => stream.set_read_timeout(time).and_then(|()| stream.set_write_timeout(time)),
        }
    }

    fn read(&self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream, _) => (&*stream).read(octets),
            Self::Unix(stream, _) => (&*stream).read(octets),
        }
    }

    fn write_all(&self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream, _) => (&*stream).write_all(octets),
            Self::Unix(stream, _) => (&*stream).write_all(octets),
        }
    }
}

/// Serves one connection to its end: an error is what a stranger has done wrong.
fn serve_one(peer: &Peer, anchor: &Anchor) -> Result<()> {
    if let Peer::Tcp(stream, _) = peer {
        stream.set_nodelay(true)?;
    }
    while let Some(octets) = next(peer, Duration::from_secs(anchor.limits.idle))? {
        let request = Request::parse(&octets).context("no request")?;
        ensure!(request.is_signed::<P384>(), "a request that nobody has signed");
        let reply = anchor.answer(&request)?;
        peer.write_all(reply.as_bytes()).context("the reply is not taken")?;
    }
    Ok(())
}

/// The next request; nothing at the end, be it that of patience.
fn next(peer: &Peer, idle: Duration) -> Result<Option<[u8; Request::SIZE]>> {
    let (mut octets, mut have) = ([0; Request::SIZE], 0);
    let until = Instant::now() + idle;
    while have < octets.len() {
        let left = until.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero() || have == 0, "a request is not whole after {} s", idle.as_secs());
        peer.wait_at_most(left)?;
        match peer.read(octets.get_mut(have..).unwrap_or_default()) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => anyhow::bail!("the connection ends amid a request"),
            Ok(more) => have += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && have == 0 => {
                return Ok(None);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(octets))
}

impl Anchor {
    /// The reply to a signed request, when what it promises is on the disk.
    fn answer(&self, request: &Request) -> Result<Reply> {
        let subject = request.subject();
        // A new TPM's; that of one which is known takes its place.
        let mut share = Zeroizing::new(random()?);
        let mut decided = Err(Reason::Disk);
        let mut change = |kept: Option<Kept>, count| {
            let mut kept = self.known(kept, count, &share).map_err(|reason| decided = Err(reason)).ok()?;
            let answer = kept.entry.answer(request);
            kept.changed = now();
            *share = kept.entry.share;
            decided = Ok(answer);
            answer.changed.then_some(kept)
        };
        if let Err(why) = self.backend.update(&subject, &mut change, None) {
            log::error!("the database: {why:#}");
            decided = Err(Reason::Disk);
        }
        let reply = match decided {
            Err(reason) => {
                log::warn!("TPM {}: {reason}", hex::encode(subject));
                Reply::refusing(request, reason)
            }
            Ok(answer) => self.with_share(request, &answer, &share)?,
        };
        reply.sign(&self.keys).context("the key does not sign")
    }

    /// The entry of a TPM that is served.
    fn known(&self, kept: Option<Kept>, count: u64, share: &[u8; 32]) -> Result<Kept, Reason> {
        match kept {
            Some(kept) => Ok(kept),
            None if self.limits.closed => Err(Reason::NotEnrolled),
            None if count >= self.limits.most => Err(Reason::Full),
            None => Ok(Kept { entry: Entry::new(*share), since: now(), changed: now() }),
        }
    }

    fn with_share(&self, request: &Request, answer: &Answer, share: &[u8; 32]) -> Result<Reply> {
        if !answer.gives_share {
            return Ok(answer.reply);
        }
        let exchange = Exchange::new(&Zeroizing::new(random()?)).context("a key that is none")?;
        let Some(reply) = share::give(share, &exchange, request, answer.reply) else {
            log::warn!("TPM {}: its exchange key is none", short(&request.subject()));
            return Ok(answer.reply);
        };
        log::info!("TPM {}: its share is given, for epoch {}", short(&request.subject()), request.head.epoch);
        Ok(reply)
    }
}

/// Enough of a subject to find it by.
pub(crate) fn short(subject: &[u8; 32]) -> String {
    hex::encode(subject.get(..8).unwrap_or_default())
}

/// Seconds since 1970, for people: nothing is decided by it.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|why| anyhow::anyhow!("no random octets: {why}"))?;
    Ok(octets)
}
