//! TCP and Unix sockets by their addresses, as one type.

use anyhow::{Context, Result};
use core::time::Duration;
use quoin_anchor::ask::Address;
use socket2::Socket;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::{fs, io};

/// Connects, within so long.
///
/// # Errors
/// There is no such address, or nobody listens there.
pub fn connect(address: &Address, patience: Duration) -> Result<Socket> {
    let connected = match address {
        Address::Tcp(text) => tcp(text, patience),
        Address::Unix(path) => UnixStream::connect(path).map(unix).map_err(Into::into),
    };
    connected.with_context(|| format!("{address} cannot be reached"))
}

fn tcp(text: &str, patience: Duration) -> Result<Socket> {
    let mut last = None;
    for address in text.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return at_once(stream).map_err(Into::into),
            Err(why) => last = Some(why),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("it is a name without an address"), Into::into))
}

/// Messages are small and waited for: none waits for the next.
fn at_once(stream: TcpStream) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

fn unix(stream: UnixStream) -> Socket {
    OwnedFd::from(stream).into()
}

/// Where somebody may connect.
#[derive(Debug)]
pub enum Listener {
    /// At a port.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens; a Unix socket in the place of one whose program has ended.
    ///
    /// # Errors
    /// Somebody listens there, or nobody may.
    pub fn at(address: &Address) -> Result<Self> {
        Ok(match address {
            Address::Tcp(text) => {
                Self::Tcp(TcpListener::bind(text).with_context(|| format!("cannot listen at {text}"))?)
            }
            Address::Unix(path) => Self::Unix(tpm_ports::listen_in_place(path)?, path.clone()),
        })
    }

    /// Where, with the port that it has.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => Address::Tcp(listener.local_addr()?.to_string()),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        })
    }

    /// The next who connects.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => at_once(listener.accept()?.0),
            Self::Unix(listener, _) => Ok(unix(listener.accept()?.0)),
        }
    }
}

/// Takes away what a listener leaves: the path of a Unix socket.
pub fn clear(address: &Address) {
    if let Address::Unix(path) = address {
        let _ = fs::remove_file(path);
    }
}
