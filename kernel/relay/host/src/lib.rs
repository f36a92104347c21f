//! `quoin-relay`: the host's end of a firmware's console (docs/boot.md, "Devices of VMPL0").
//!
//! A firmware sends messages, as frames of crate `relay`, to services; this passes each to the program that has the
//! service, and what programs answer back. It believes nobody and needs to be believed by nobody: who speaks over it
//! authenticates the other.
//!
//! | module | is |
//! |---|---|
//! | [`mod@pump`] | frames of one firmware, to programs and back |
//! | [`anchors`] | service 2: the anchor of the message's number, by its own protocol |
//! | [`frames`] | any service: a program that speaks frames itself |

#![forbid(unsafe_code)]

pub mod anchors;
pub mod frames;
pub mod pump;

use anchors::Anchors;
use anyhow::Result;
use clap::Parser;
use core::time::Duration;
use frames::Peer;
use pump::{Back, Programs, pump};
use quoin_anchor::ask::Address;
use relay::service;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::{fs, io, thread};
use tpm_ports::Stop;
use tpm_ports::logging::{self, LevelFilter};

/// How often is looked whether the program shall end.
const LOOK: Duration = Duration::from_millis(50);
/// How long an anchor may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Passes a firmware's messages to programs, and theirs back.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The Unix socket at which the firmware's console is waited for; QEMU: `-chardev socket,path=PATH`.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// An anchor, as `HOST:PORT` or a path with a slash; as often as the settings name one, in their order.
    #[arg(long = "anchor", value_name = "ADDRESS")]
    anchors: Vec<String>,
    /// A program for the certificates of the endorsement key, which speaks frames: the path of its Unix socket.
    #[arg(long, value_name = "PATH")]
    certificates: Option<PathBuf>,
    /// A program for migration, which speaks frames and carries them to and from the other host: the path of its Unix
    /// socket. The other host's relay is none: it would take this one for a firmware.
    #[arg(long, value_name = "PATH")]
    migration: Option<PathBuf>,
}

impl Args {
    fn programs(&self, back: &Back) -> Programs {
        let mut programs = Programs::new();
        if !self.anchors.is_empty() {
            let addresses: Vec<Address> = self.anchors.iter().map(|text| Address::of(text)).collect();
            programs.insert(service::ANCHORS, Box::new(Anchors::new(&addresses, PATIENCE, back)));
        }
        for (service, path) in [(service::CERTIFICATES, &self.certificates), (service::MIGRATION, &self.migration)] {
            if let Some(path) = path {
                programs.insert(service, Box::new(Peer::new(path.clone(), back)));
            }
        }
        programs
    }
}

/// Runs the program: one firmware after another, until a signal.
///
/// # Errors
/// The socket cannot be made.
pub fn run() -> Result<()> {
    logging::start(LevelFilter::Info, None)?;
    let args = Args::parse();
    let stop = Stop::on(&[SIGINT, SIGTERM, SIGHUP])?;
    let listener = tpm_ports::listen_in_place(&args.socket)?;
    let path = args.socket.clone();
    println!("{} waits for a firmware; until Ctrl-C", path.display());
    io::Write::flush(&mut io::stdout())?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            if let Err(why) = stream.map_err(Into::into).and_then(|stream| serve(stream, &args)) {
                log::warn!("{why:#}");
            }
        }
    });
    while !stop.is_set() {
        thread::sleep(LOOK);
    }
    let _ = fs::remove_file(path);
    Ok(())
}

/// Serves one firmware until its console ends.
fn serve(stream: UnixStream, args: &Args) -> Result<()> {
    let writer = stream.try_clone()?;
    pump(stream, writer, |back| args.programs(back))
}
