//! A TPM at two local TCP ports, and at two Unix sockets, for any client of tpm2-tss and its kin, and for QEMU's `-tpmdev emulator`.
//!
//! One port takes commands, the next one what a platform does. Two protocols are in use for each, and a client of either is served at the same
//! ports, since what it says tells them apart: that of the TCG simulator (`mssim`) and that of swtpm (`swtpm`, whose data port is TPM bytes alone).
//!
//! | module | is |
//! |---|---|
//! | `command` | what comes at the command port |
//! | `platform` | what comes at the platform port, and whose it is |
//! | `control` | swtpm's control channel, at the platform port or the Unix socket of its own |
//! | `machine` | what all connections share: the TPM, its power |
//! | `trace` | what was said, as text and for Wireshark |
//! | `wire` | sockets |

mod command;
mod control;
mod machine;
mod platform;
#[cfg(feature = "engine")]
mod trace;
mod wire;

pub use machine::Dialect;
#[cfg(feature = "engine")]
pub use trace::Trace;

use crate::relay::Relay;
use anyhow::{Context, Result, bail};
use core::fmt;
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use machine::Machine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use wire::{Channel, Socket};

/// How often the server looks whether it shall end. A client never waits for it.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of stack for a connection: a TPM that is made of a state passes over it a few times before it has its place.
const STACK: usize = 16 << 20;

/// A part of the state, as swtpm's control channel divides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateBlob {
    /// What survives the loss of power.
    Permanent,
    /// What does not.
    Volatile,
    /// What `TPM2_Shutdown` has saved.
    Saved,
}

/// What stands behind the ports. What a backend cannot do it says by false, and the client hears of it.
pub trait Backend: Send {
    /// Executes one TPM command at `locality` and gives the response. An error ends the client's connection.
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>>;
    /// Power off and on again (`_TPM_Init`).
    fn reset(&mut self) -> bool {
        false
    }
    /// The platform ends in order, and the power goes: the TPM may do what `TPM2_Shutdown` does, where the system did not.
    fn shut_down(&mut self) {}
    /// `_TPM_Hash_Start`.
    fn hash_start(&mut self) -> bool {
        false
    }
    /// `_TPM_Hash_Data`.
    fn hash_data(&mut self, _data: &[u8]) -> bool {
        false
    }
    /// `_TPM_Hash_End`.
    fn hash_end(&mut self) -> bool {
        false
    }
    /// Asserts physical presence, or no more.
    fn set_physical_presence(&mut self, _asserted: bool) -> bool {
        false
    }
    /// Enters failure mode.
    fn fail(&mut self) -> bool {
        false
    }
    /// Whether the authenticated countdown timer of this handle has signaled.
    fn act_signaled(&mut self, _act: u32) -> bool {
        false
    }
    /// TPM_ACCESS's `tpmEstablishment`: whether there was a dynamic launch since it was reset.
    fn established(&mut self) -> bool {
        false
    }
    /// Resets `tpmEstablishment`.
    fn reset_established(&mut self) -> bool {
        true
    }
    /// Whether [`Backend::state`] and [`Backend::set_state`] work.
    fn has_state(&self) -> bool {
        false
    }
    /// A part of the state.
    fn state(&mut self, _blob: StateBlob) -> Result<Vec<u8>> {
        bail!("this TPM does not export its state")
    }
    /// Replaces a part of the state; a reset follows.
    fn set_state(&mut self, _blob: StateBlob, _bytes: &[u8]) -> Result<()> {
        bail!("this TPM does not import a state")
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

/// Where the server listens.
#[derive(Debug)]
pub struct Ports {
    command: TcpListener,
    platform: TcpListener,
    unix: Option<UnixPorts>,
}

/// Two Unix sockets, whose files go with them.
#[derive(Debug)]
struct UnixPorts {
    command: UnixListener,
    control: UnixListener,
    paths: [PathBuf; 2],
}

impl Drop for UnixPorts {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = fs::remove_file(path);
        }
    }
}

impl Ports {
    /// Listens at `port` and the one after it, on this computer alone; at any two that are free for port 0.
    pub fn listen(port: u16) -> Result<Self> {
        if port == 0 {
            return Self::listen_anywhere();
        }
        let next = port.checked_add(1).context("the last port has none after it: choose another with --port")?;
        // The library sets SO_REUSEADDR and a backlog of 128: a server may follow another at once, and clients may come in crowds.
        let listen = |port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            listener.with_context(|| format!("cannot listen at port {port}: choose another with --port"))
        };
        let ports = Self { command: listen(port)?, platform: listen(next)?, unix: None };
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

    /// Listens at the Unix socket `path`, too, and at `path.ctrl` for swtpm's control channel.
    pub fn listen_unix(&mut self, path: &Path) -> Result<()> {
        let control = PathBuf::from(format!("{}.ctrl", path.display()));
        let paths = [path.to_path_buf(), control];
        let listen = |path: &Path| -> Result<UnixListener> {
            let listener = bind_unix(path).with_context(|| format!("cannot listen at {}", path.display()))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        self.unix = Some(UnixPorts { command: listen(&paths[0])?, control: listen(&paths[1])?, paths });
        Ok(())
    }

    /// What tpm2-tss calls this TPM: the value of TPM2TOOLS_TCTI.
    pub fn tcti(&self) -> Result<String> {
        Ok(format!("swtpm:host=127.0.0.1,port={}", self.command.local_addr()?.port()))
    }
}

/// A Unix socket; one whose server has ended is replaced.
fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error)
            if error.kind() == ErrorKind::AddrInUse && std::os::unix::net::UnixStream::connect(path).is_err() =>
        {
            fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
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

/// What takes note of all that is said.
pub trait Record: Send + fmt::Debug {
    /// Records a command and its response.
    fn record(&mut self, locality: u8, command: &[u8], response: &[u8]) -> Result<()>;
}

/// How to serve.
#[derive(Debug, Default)]
pub struct Settings {
    /// Records what is said.
    pub trace: Option<Box<dyn Record>>,
    /// Whose protocol the platform port speaks, where that shall not be found out.
    pub dialect: Option<Dialect>,
}

/// Serves `backend` until `stop` is set. Connections come and go; commands are executed one at a time.
pub fn serve(ports: Ports, backend: Box<dyn Backend>, stop: &Stop) -> Result<()> {
    serve_with(ports, backend, Settings::default(), stop)
}

/// Serves `backend` as `settings` say until `stop` is set.
pub fn serve_with(ports: Ports, backend: Box<dyn Backend>, settings: Settings, stop: &Stop) -> Result<()> {
    let machine = Arc::new(Machine::new(backend, settings.trace, settings.dialect, stop.clone()));
    while !stop.is_set() {
        if !ports.wait()? {
            continue;
        }
        // The platform's connections first: tcti-mssim's to the command port is open when it asks for power.
        while let Some((socket, door)) = ports.accept()? {
            connected(socket, door, Arc::clone(&machine));
        }
    }
    machine.shut_down();
    Ok(())
}

/// What kind of client a listener is for.
#[derive(Debug, Clone, Copy)]
enum Door {
    Command,
    Platform,
}

impl Ports {
    /// Whether a client has come within the interval.
    fn wait(&self) -> Result<bool> {
        let interval = Timespec::try_from(STOP_INTERVAL)?;
        let mut doors = vec![PollFd::new(&self.command, PollFlags::IN), PollFd::new(&self.platform, PollFlags::IN)];
        if let Some(unix) = &self.unix {
            doors.extend([PollFd::new(&unix.command, PollFlags::IN), PollFd::new(&unix.control, PollFlags::IN)]);
        }
        match poll(&mut doors, Some(&interval)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("cannot wait for connections any more"),
        }
    }

    /// The next client, if one waits; the command ports' first.
    fn accept(&self) -> Result<Option<(Socket, Door)>> {
        for (listener, door) in [(&self.command, Door::Command), (&self.platform, Door::Platform)] {
            if let Some((stream, _)) = come(listener.accept())? {
                stream.set_nonblocking(false)?;
                // Small messages go back and forth: waiting to fill a packet costs 40 ms each.
                stream.set_nodelay(true)?;
                return Ok(Some((Socket::Tcp(stream), door)));
            }
        }
        let Some(unix) = &self.unix else { return Ok(None) };
        for (listener, door) in [(&unix.command, Door::Command), (&unix.control, Door::Platform)] {
            if let Some((stream, _)) = come(listener.accept())? {
                stream.set_nonblocking(false)?;
                return Ok(Some((Socket::Unix(stream), door)));
            }
        }
        Ok(None)
    }
}

/// Who has come; nobody if there was none, or one that went before it was accepted.
fn come<T>(accepted: std::io::Result<T>) -> Result<Option<T>> {
    match accepted {
        Ok(client) => Ok(Some(client)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error).context("cannot accept connections any more"),
    }
}

/// Serves a client in a thread of its own; what ends its connection is logged.
fn connected(socket: Socket, door: Door, machine: Arc<Machine>) {
    if matches!(door, Door::Command) {
        machine.count_client(true);
    }
    let client = move || {
        let outcome = match door {
            Door::Command => {
                let outcome = command::serve(Both(&socket), &machine);
                machine.count_client(false);
                outcome
            }
            Door::Platform => {
                let adopt = |descriptor| match wire::socket_from(descriptor) {
                    Ok(socket) => connected(socket, Door::Command, Arc::clone(&machine)),
                    Err(error) => eprintln!("a client's data channel is refused: {error:#}"),
                };
                platform::serve(Channel::new(socket), &machine, &adopt)
            }
        };
        if let Err(error) = outcome {
            eprintln!("a client's connection has ended: {error:#}");
        }
    };
    if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(client) {
        eprintln!("a client is turned away: {error}");
    }
}

/// A shared socket, as one stream.
struct Both<'a>(&'a Socket);

impl std::io::Read for Both<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut socket = self.0;
        socket.read(buffer)
    }
}

impl std::io::Write for Both<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let mut socket = self.0;
        socket.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::machine::tests::{Log, Seen, recorder};
    use super::{Ports, Stop, serve};
    use crate::qemu::Folder;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::{IoSlice, Read, Write};
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

    /// A server at a port that is free, and at a Unix socket; what it was asked to do is given back.
    fn served(port: u16, client: impl FnOnce(&Path)) -> Vec<Seen> {
        let (folder, log, stop) = (Folder::new().unwrap(), Log::default(), Stop::default());
        let mut ports = Ports::listen(port).unwrap();
        let path = folder.path().join("tpm");
        ports.listen_unix(&path).unwrap();
        thread::scope(|scope| {
            let backend = recorder(&log);
            let server = scope.spawn(|| serve(ports, backend, &stop));
            let outcome = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| client(&path)));
            stop.set();
            server.join().unwrap().unwrap();
            outcome.unwrap();
        });
        assert!(!path.exists());
        assert!(log.take_shut_downs() > 0, "with the server the platform ends in order");
        log.take()
    }

    fn say(stream: &mut (impl Read + Write), said: &[u8], heard: &[u8]) {
        stream.write_all(said).unwrap();
        let mut answer = vec![0; heard.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, heard);
    }

    #[test]
    fn a_malformed_frame_ends_its_own_connection() {
        let seen = served(19_100, |_| {
            let mut other = TcpStream::connect(("127.0.0.1", 19_100)).unwrap();
            for (port, bad) in [(19_100, b"GET / HTTP/1.1\r\n".as_slice()), (19_101, b"\xFF\xFF\xFF\xFF")] {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.write_all(bad).unwrap();
                let mut rest = Vec::new();
                // An end, or a reset where bytes were left unread.
                let _ = stream.read_to_end(&mut rest);
                assert!(rest.is_empty());
                say(&mut other, COMMAND, b"ok");
            }
        });
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn many_clients_after_one_another_wait_for_none() {
        served(19_110, |_| {
            let started = Instant::now();
            for _ in 0..200 {
                let mut stream = TcpStream::connect(("127.0.0.1", 19_110)).unwrap();
                say(&mut stream, COMMAND, b"ok");
            }
            // A server that looks every 100 ms for clients takes 20 s.
            assert!(started.elapsed().as_secs() < 10);
        });
    }

    #[test]
    fn a_port_can_be_taken_again_at_once() {
        for _ in 0..3 {
            served(19_120, |_| say(&mut TcpStream::connect(("127.0.0.1", 19_120)).unwrap(), COMMAND, b"ok"));
        }
    }

    #[test]
    fn port_0_is_any_two_that_are_free() {
        let ports = [Ports::listen(0).unwrap(), Ports::listen(0).unwrap()];
        for ports in &ports {
            let [command, platform] = [&ports.command, &ports.platform].map(|at| at.local_addr().unwrap().port());
            assert_eq!(command + 1, platform);
            assert!(ports.tcti().unwrap().ends_with(&format!("port={command}")));
        }
        assert!(Ports::listen(u16::MAX).is_err());
    }

    #[test]
    fn whoever_is_silent_or_stops_midway_keeps_nobody_waiting() {
        let seen = served(19_150, |path| {
            let connect = |port: u16| TcpStream::connect(("127.0.0.1", port)).unwrap();
            let idle: Vec<TcpStream> = (0..100).map(|n| connect(19_150 + n % 2)).collect();
            let halves = [
                (19_150, &COMMAND[..4]),
                (19_150, &COMMAND[..11]),
                (19_150, b"\0\0\0\x08\0\0\0\0\x0C\x80"),
                (19_151, b"\0\0"),
                (19_151, b"\0\0\0\x05"),
            ];
            let begun: Vec<TcpStream> = halves
                .iter()
                .map(|(port, half)| {
                    let mut stream = connect(*port);
                    stream.write_all(half).unwrap();
                    stream
                })
                .collect();
            let mut unix = UnixStream::connect(path).unwrap();
            for _ in 0..3 {
                say(&mut connect(19_150), COMMAND, b"ok");
                say(&mut unix, COMMAND, b"ok");
            }
            drop(begun);
            say(&mut connect(19_150), COMMAND, b"ok");
            drop(idle);
        });
        assert_eq!(seen, vec![Seen::Execute(0, COMMAND.to_vec()); 7]);
    }

    #[test]
    fn a_client_that_leaves_before_its_answer_ends_its_own_connection() {
        let seen = served(19_160, |_| {
            for _ in 0..20 {
                let mut stream = TcpStream::connect(("127.0.0.1", 19_160)).unwrap();
                stream.write_all(COMMAND).unwrap();
                drop(stream);
            }
            say(&mut TcpStream::connect(("127.0.0.1", 19_160)).unwrap(), COMMAND, b"ok");
        });
        // Whether the server has heard a client that has gone is the system's affair.
        assert!((1..=21).contains(&seen.len()));
    }

    #[test]
    fn the_simulators_power_is_lost_and_comes_back_for_clients_that_stay() {
        let seen = served(19_170, |_| {
            let mut command = TcpStream::connect(("127.0.0.1", 19_170)).unwrap();
            let mut platform = TcpStream::connect(("127.0.0.1", 19_171)).unwrap();
            let message = [b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat();
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
            // NV off and on, power off twice, on twice, in an order of no client.
            for number in [12, 2, 11, 2] {
                say(&mut platform, &[0, 0, 0, number], &[0; 4]);
            }
            say(&mut command, &message, &[0; 8]);
            for number in [1, 11, 1, 4, 10] {
                say(&mut platform, &[0, 0, 0, number], &[0; 4]);
            }
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
            // The end of one session is not that of another.
            platform.write_all(&[0, 0, 0, 20]).unwrap();
            assert_eq!(platform.read(&mut [0]).unwrap(), 0);
            say(&mut command, &message, b"\0\0\0\x02ok\0\0\0\0");
        });
        let executed = Seen::Execute(0, COMMAND.to_vec());
        assert_eq!(seen, [executed.clone(), Seen::Reset, Seen::PhysicalPresence(false), executed.clone(), executed]);
    }

    #[test]
    fn tcti_mssim_opens_both_connections() {
        let seen = served(19_130, |_| {
            let mut command = TcpStream::connect(("127.0.0.1", 19_130)).unwrap();
            let mut platform = TcpStream::connect(("127.0.0.1", 19_131)).unwrap();
            say(&mut platform, b"\0\0\0\x01", &[0; 4]);
            say(&mut platform, b"\0\0\0\x0B", &[0; 4]);
            say(&mut command, &[b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat(), b"\0\0\0\x02ok\0\0\0\0");
        });
        assert_eq!(seen, [Seen::Execute(0, COMMAND.to_vec())]);
    }

    #[test]
    fn qemu_sends_its_data_channel_over_the_control_channel() {
        let seen = served(19_140, |path| {
            let mut control = UnixStream::connect(format!("{}.ctrl", path.display())).unwrap();
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let descriptors = [theirs.as_fd()];
            let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
            sendmsg(&control, &[IoSlice::new(b"\0\0\0\x10")], &mut ancillary, SendFlags::empty()).unwrap();
            say(&mut control, b"", &[0; 4]);
            drop(theirs);
            say(&mut control, b"\0\0\0\x02\0\0\0\0", &[0; 4]);
            say(&mut control, b"\0\0\0\x05\x03", &[0; 4]);
            say(&mut ours, COMMAND, b"ok");
        });
        assert_eq!(seen, [Seen::Reset, Seen::Execute(3, COMMAND.to_vec())]);
    }
}
