//! A TPM at two local TCP ports, for any client of tpm2-tss and its kin.
//!
//! One port takes commands, the next one what a platform does. Two protocols are in use for each, and a client of either is served at the same
//! ports, since the first bytes tell them apart: that of the TCG simulator (`mssim`) and that of swtpm (`swtpm`, whose data port is TPM bytes alone).
//!
//! | module | is |
//! |---|---|
//! | [`command`] | what comes at the command port |
//! | [`platform`] | what comes at the platform port |

pub mod command;
pub mod platform;

use crate::relay::Relay;
use anyhow::{Context, Result};
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How often the server looks for a new client, and whether it shall end.
const POLL: Duration = Duration::from_millis(2);

/// What stands behind the ports.
pub trait Backend: Send {
    /// Executes one TPM command at `locality` and gives the response. An error ends the client's connection.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>>;
    /// Power off and on again (`_TPM_Init`); false when that is not possible here.
    fn reset(&mut self) -> bool {
        false
    }
}

/// A firmware's TPM, behind the payload at VMPL2. Its vTPM protocol knows locality 0 alone.
#[derive(Debug)]
pub struct Firmware<R>(pub R);

impl<R: Relay + Send> Backend for Firmware<R> {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        // TPM_RC_LOCALITY, without sessions: what a TPM says to a command that its locality may not give.
        const TPM_RC_LOCALITY: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 9, 7];
        if locality == 0 { self.0.tpm(command) } else { Ok(TPM_RC_LOCALITY.to_vec()) }
    }
}

/// The two ports.
#[derive(Debug)]
pub struct Ports {
    command: TcpListener,
    platform: TcpListener,
}

impl Ports {
    /// Listens at `port` and the one after it, on this computer alone.
    pub fn listen(port: u16) -> Result<Self> {
        let next = port.checked_add(1).context("the last port has none after it: choose another with --port")?;
        let listen = |port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            listener.with_context(|| format!("cannot listen at port {port}: choose another with --port"))
        };
        let ports = Self { command: listen(port)?, platform: listen(next)? };
        ports.command.set_nonblocking(true)?;
        ports.platform.set_nonblocking(true)?;
        Ok(ports)
    }

    /// Listens at two ports that nobody uses, below those that the system gives to clients.
    pub fn listen_anywhere() -> Result<Self> {
        const FIRST: u16 = 20_000;
        const PAIRS: u16 = 6_000;
        let start = u16::try_from(std::process::id() % u32::from(PAIRS))?;
        (0..PAIRS)
            .find_map(|turn| Self::listen(FIRST + 2 * ((start + turn) % PAIRS)).ok())
            .context("no two local ports are free")
    }

    /// What tpm2-tss calls this TPM: the value of TPM2TOOLS_TCTI.
    pub fn tcti(&self) -> Result<String> {
        Ok(format!("swtpm:host=127.0.0.1,port={}", self.command.local_addr()?.port()))
    }
}

/// Whether the server shall end; cloned, it can be set from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that Ctrl-C and SIGTERM set.
    pub fn on_signal() -> Result<Self> {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot listen for signals")?;
        }
        Ok(stop)
    }

    /// Ends the server.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What all connections share.
pub(crate) struct Shared {
    backend: Mutex<Box<dyn Backend>>,
    /// The locality that swtpm's SET_LOCALITY has set, for commands that carry none.
    locality: core::sync::atomic::AtomicU8,
}

impl Shared {
    fn backend(&self) -> std::sync::MutexGuard<'_, Box<dyn Backend>> {
        // A panic in one connection's command is no reason for others to fail.
        self.backend.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Serves `backend` until `stop` is set. Connections come and go; commands are executed one at a time.
pub fn serve(ports: Ports, backend: Box<dyn Backend>, stop: &Stop) -> Result<()> {
    let shared = Arc::new(Shared { backend: Mutex::new(backend), locality: 0.into() });
    while !stop.is_set() {
        let mut idle = true;
        for (listener, handler) in [(&ports.command, command::serve as Handler), (&ports.platform, platform::serve)] {
            match listener.accept() {
                Ok((stream, _)) => {
                    idle = false;
                    connected(stream, handler, Arc::clone(&shared))?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A client that went before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error).context("cannot accept connections any more"),
            }
        }
        if idle {
            thread::sleep(POLL);
        }
    }
    Ok(())
}

type Handler = fn(TcpStream, &Shared) -> Result<()>;

fn connected(stream: TcpStream, handler: Handler, shared: Arc<Shared>) -> Result<()> {
    stream.set_nonblocking(false)?;
    // Small messages go back and forth: waiting to fill a packet costs 40 ms each.
    stream.set_nodelay(true)?;
    thread::spawn(move || {
        if let Err(error) = handler(stream, &shared) {
            eprintln!("a client's connection has ended: {error:#}");
        }
    });
    Ok(())
}
