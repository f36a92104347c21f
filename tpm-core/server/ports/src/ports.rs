//! Where clients connect: two local TCP ports, and two Unix sockets; or one, for QEMU.
//!
//! Ports are reserved before long work, so that one that is taken is said at once; clients can connect when the TPM can
//! serve them.

use crate::wire::Socket;
use anyhow::{Context, Result};
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long a passing error of the system is waited out.
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Door {
    /// Commands, over TCP.
    Command,
    /// Commands, over the Unix socket.
    Unix,
    /// Commands, over a connection that QEMU has handed over.
    Data,
    Platform,
}

/// Ports that nobody else has, where nobody can connect yet.
#[derive(Debug)]
pub struct Reserved {
    /// None for any two that are free.
    tcp: Option<[OwnedFd; 2]>,
    unix: Option<PathBuf>,
}

/// Where the server listens.
#[derive(Debug)]
pub struct Ports {
    /// For commands, and the platform's.
    tcp: Option<[TcpListener; 2]>,
    unix: Option<UnixPorts>,
}

/// Unix sockets, whose files go with them.
#[derive(Debug)]
pub(crate) struct UnixPorts {
    /// None where commands come over the channel alone that QEMU hands over.
    command: Option<UnixListener>,
    control: UnixListener,
    paths: Vec<PathBuf>,
}

impl UnixPorts {
    fn named(&self) -> impl Iterator<Item = (&UnixListener, Door)> {
        let command = self.command.iter().map(|listener| (listener, Door::Unix));
        command.chain([(&self.control, Door::Platform)])
    }

    /// What is waited for.
    pub(crate) fn doors(&self) -> impl Iterator<Item = &UnixListener> {
        self.named().map(|(listener, _)| listener)
    }

    /// The next client, if one waits.
    pub(crate) fn accept(&self) -> Result<Option<(Socket, Door)>> {
        for (listener, door) in self.named() {
            if let Some((stream, _)) = connection(listener.accept())? {
                stream.set_nonblocking(false)?;
                return Ok(Some((Socket::Unix(stream), door)));
            }
        }
        Ok(None)
    }
}

impl Drop for UnixPorts {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket that has a port and does not listen. A server may follow another at once (SO_REUSEADDR).
fn bound(port: u16) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).with_context(|| taken(port))?;
    Ok(socket)
}

fn taken(port: u16) -> String {
    format!("cannot listen at port {port}: choose another with --port")
}

fn listening(socket: OwnedFd) -> Result<TcpListener> {
    listen(&socket, BACKLOG).context("cannot listen at the port: choose another with --port")?;
    Ok(socket.into())
}

impl Ports {
    /// Keeps `port` and the one after it, on this computer alone, or any two that are free for port 0; and the Unix
    /// socket `unix`, with `unix.ctrl` for swtpm's control channel.
    pub fn reserve(port: u16, unix: Option<&Path>) -> Result<Reserved> {
        let tcp = if port == 0 {
            None
        } else {
            let next = port.checked_add(1).context("the last port has none after it: choose another with --port")?;
            Some([bound(port)?, bound(next)?])
        };
        Ok(Reserved { tcp, unix: unix.map(Path::to_path_buf) })
    }

    /// swtpm's control channel alone, at a Unix socket with these permissions: all that QEMU needs.
    pub fn control(path: &Path, mode: u32) -> Result<Self> {
        let control = listen_at(path)?;
        let paths = vec![path.to_path_buf()];
        let unix = UnixPorts { command: None, control, paths };
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the permissions of {}", path.display()))?;
        Ok(Self { tcp: None, unix: Some(unix) })
    }

    /// What tpm2-tss calls this TPM: the value of TPM2TOOLS_TCTI.
    pub fn tcti(&self) -> Result<String> {
        let [command, _] = self.tcp.as_ref().context("there are no TCP ports")?;
        Ok(format!("swtpm:host=127.0.0.1,port={}", command.local_addr()?.port()))
    }

    #[cfg(test)]
    pub(super) fn ports(&self) -> [u16; 2] {
        self.tcp.as_ref().unwrap().each_ref().map(|listener| listener.local_addr().unwrap().port())
    }

    #[cfg(test)]
    pub(super) fn port(&self) -> u16 {
        self.ports()[0]
    }

    /// Whether a client has connected within the interval.
    pub(super) fn wait(&self, interval: Duration) -> Result<bool> {
        let interval = Timespec::try_from(interval)?;
        let mut doors: Vec<_> = self.tcp.iter().flatten().map(|door| PollFd::new(door, PollFlags::IN)).collect();
        if let Some(unix) = &self.unix {
            doors.extend(unix.doors().map(|door| PollFd::new(door, PollFlags::IN)));
        }
        match poll(&mut doors, Some(&interval)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("cannot wait for connections any more"),
        }
    }

    /// The next client, if one waits; the command ports' first.
    pub(super) fn accept(&self) -> Result<Option<(Socket, Door)>> {
        for (listener, door) in self.tcp.iter().flatten().zip([Door::Command, Door::Platform]) {
            if let Some((stream, _)) = connection(listener.accept())? {
                stream.set_nonblocking(false)?;
                // Small messages go back and forth: waiting to fill a packet costs 40 ms each.
                stream.set_nodelay(true)?;
                return Ok(Some((Socket::Tcp(stream), door)));
            }
        }
        self.unix.as_ref().map_or(Ok(None), UnixPorts::accept)
    }
}

impl Reserved {
    /// Lets clients connect.
    pub fn listen(self) -> Result<Ports> {
        let tcp = match self.tcp {
            Some([command, platform]) => [listening(command)?, listening(platform)?],
            None => anywhere()?,
        };
        let unix = self.unix.as_deref().map(listen_unix).transpose()?;
        Ok(Ports { tcp: Some(tcp), unix })
    }
}

/// Listens at two ports that nobody uses, below those that the system gives to clients.
fn anywhere() -> Result<[TcpListener; 2]> {
    const FIRST: u16 = 20_000;
    const PAIRS: u16 = 6_000;
    let pair = |port| Ok::<_, anyhow::Error>([listening(bound(port)?)?, listening(bound(port + 1)?)?]);
    let start = u16::try_from(std::process::id() % u32::from(PAIRS))?;
    (0..PAIRS).find_map(|turn| pair(FIRST + 2 * ((start + turn) % PAIRS)).ok()).context("no two local ports are free")
}

/// Listens at a Unix socket, and at that of its control channel.
pub(crate) fn listen_unix(path: &Path) -> Result<UnixPorts> {
    let control = PathBuf::from(format!("{}.ctrl", path.display()));
    let command = listen_at(path)?;
    let paths = vec![path.to_path_buf(), control];
    Ok(UnixPorts { command: Some(command), control: listen_at(&paths[1])?, paths })
}

fn listen_at(path: &Path) -> Result<UnixListener> {
    let listener = listen_in_place(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens at a Unix socket, in the place of one whose server has ended.
///
/// # Errors
/// Somebody serves it, or it cannot be made.
pub fn listen_in_place(path: &Path) -> Result<UnixListener> {
    bind_unix(path).with_context(|| format!("cannot listen at {}", path.display()))
}

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

/// The client that was accepted; `None` if there was none, or if the system has no room now. Only what is wrong with
/// the listener itself is an error.
fn connection<T>(accepted: std::io::Result<T>) -> Result<Option<T>> {
    let error = match accepted {
        Ok(client) => return Ok(Some(client)),
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::WOULDBLOCK | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT) | None => {
            Err(error).context("cannot accept connections any more")
        }
        Some(_) => {
            log::warn!("a client has to wait: {error}");
            thread::sleep(PAUSE);
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ports, connection};
    use rustix::io::Errno;
    use std::net::TcpStream;

    #[test]
    fn port_0_is_any_two_that_are_free() {
        let ports = [0, 0].map(|port| Ports::reserve(port, None).unwrap().listen().unwrap());
        for ports in &ports {
            assert_eq!(ports.port() + 1, ports.ports()[1]);
            assert!(ports.tcti().unwrap().ends_with(&format!("port={}", ports.port())));
        }
        assert!(Ports::reserve(u16::MAX, None).is_err());
    }

    /// Section 3, row 8: a probe succeeded on a server that then ended.
    #[test]
    fn nobody_can_come_before_the_server_can_serve() {
        // Two that were free a moment ago; if another process is quicker, this test tries others.
        let free = || Ports::reserve(0, None).unwrap().listen().unwrap().port();
        let (first, reserved) = loop {
            let port = free();
            if let Ok(reserved) = Ports::reserve(port, None) {
                break (port, reserved);
            }
        };
        for port in [first, first + 1] {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        }
        let _ports = reserved.listen().unwrap();
        for port in [first, first + 1] {
            TcpStream::connect(("127.0.0.1", port)).unwrap();
        }
        let error = format!("{:#}", Ports::reserve(first, None).unwrap_err());
        assert!(error.contains(&first.to_string()), "{error}");
    }

    /// Section 3, row 4: the server ended.
    #[test]
    fn an_error_of_accept_that_passes_is_waited_out() {
        for errno in
            [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::CONNABORTED, Errno::PERM, Errno::PROTO]
        {
            assert!(connection::<()>(Err(errno.into())).unwrap().is_none(), "{errno}");
        }
        assert!(connection::<()>(Err(Errno::BADF.into())).is_err());
    }
}
