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
//! | [`frames`] | service 1: a program that speaks frames itself |
//! | [`carriers`] | service 3: a port for a carrier to another host's relay |
//! | `carry`, [`journey`] | that carrier: `quoin-relay carry` |
//! | [`sockets`] | TCP and Unix sockets by their addresses |

#![forbid(unsafe_code)]

pub mod anchors;
pub mod carriers;
mod carry;
pub mod frames;
pub mod journey;
pub mod pump;
pub mod sockets;

use anchors::Anchors;
use anyhow::{Context, Result};
use carriers::Port;
use clap::{Parser, Subcommand};
use core::time::Duration;
use frames::Peer;
use journey::End;
use pump::{Back, Programs, pump};
use quoin_anchor::ask::Address;
use relay::service;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use sockets::Listener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io, thread};
use tpm_ports::Stop;
use tpm_ports::logging::{self, LevelFilter};

/// How often is looked whether the program shall end.
const LOOK: Duration = Duration::from_millis(50);
/// How long an anchor may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The status of `carry` where a firmware refuses.
const REFUSED: u8 = 3;

/// How a TPM moves, in the help.
const EXAMPLES: &str = "A TPM moves (docs/migration.md). At each host, beside its VM:

  quoin-relay --socket /run/vm/programs --migration-listen 127.0.0.1:7385

The port asks nobody who he is, and needs no encryption. Strangers could disturb: let only the carrier reach it, for
example by ssh -L 7386:127.0.0.1:7385 OTHER-HOST. Then, at one of the hosts,

  quoin-relay carry --source 127.0.0.1:7385 --destination 127.0.0.1:7386 --grant grant --keep-receipt receipt";

/// Passes a firmware's messages to programs, and theirs back.
#[derive(Debug, Parser)]
#[command(version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The Unix socket at which the firmware's console is waited for; QEMU: `-chardev socket,path=PATH`.
    #[arg(long, value_name = "PATH", required = true)]
    socket: Option<PathBuf>,
    /// An anchor, as `HOST:PORT` or a path with a slash; as often as the settings name one, in their order.
    #[arg(long = "anchor", value_name = "ADDRESS")]
    anchors: Vec<String>,
    /// A program for the certificates of the endorsement key, which speaks frames: the path of its Unix socket.
    #[arg(long, value_name = "PATH")]
    certificates: Option<PathBuf>,
    /// Where a carrier may connect, by which the TPM moves or comes: `HOST:PORT`, or a path with a slash.
    #[arg(long, value_name = "ADDRESS")]
    migration_listen: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Move a TPM: carry the messages between the relays of two hosts.
    ///
    /// Ends with 0 when the destination says that the TPM lives there, with 3 when a firmware refuses, which is said in
    /// words, and with 1 when that cannot be done. It can be started again at any time. It has no secret, and nobody
    /// believes it.
    Carry(carry::Args),
}

impl Args {
    fn programs(&self, port: Option<&Port>, back: &Back) -> Programs {
        let mut programs = Programs::new();
        if !self.anchors.is_empty() {
            let addresses: Vec<Address> = self.anchors.iter().map(|text| Address::of(text)).collect();
            programs.insert(service::ANCHORS, Box::new(Anchors::new(&addresses, PATIENCE, back)));
        }
        if let Some(path) = &self.certificates {
            programs.insert(service::CERTIFICATES, Box::new(Peer::new(path.clone(), back)));
        }
        if let Some(port) = port {
            programs.insert(service::MIGRATION, Box::new(port.attach(back)));
        }
        programs
    }
}

/// Runs the program.
///
/// # Errors
/// A socket cannot be made; or those of `carry`.
pub fn run() -> Result<ExitCode> {
    logging::start(LevelFilter::Info, None)?;
    let args = Args::parse();
    match &args.verb {
        Some(Verb::Carry(carried)) => carry::run(carried).map(|end| match end {
            End::Lives => {
                println!("the TPM lives at the destination");
                ExitCode::SUCCESS
            }
            End::Refused(side, why) => {
                eprintln!("{side} refuses: {why} ({})", why.code());
                ExitCode::from(REFUSED)
            }
        }),
        None => relay(args).map(|()| ExitCode::SUCCESS),
    }
}

/// One firmware after another, until a signal.
fn relay(args: Args) -> Result<()> {
    let path = args.socket.clone().context("no socket is named")?;
    let stop = Stop::on(&[SIGINT, SIGTERM, SIGHUP])?;
    let carriers = args.migration_listen.as_deref().map(|text| Listener::at(&Address::of(text))).transpose()?;
    let port_at = carriers.as_ref().map(Listener::address).transpose()?;
    let listener = tpm_ports::listen_in_place(&path)?;
    if let Some(address) = &port_at {
        println!("carriers may come to {address}");
    }
    println!("{} waits for a firmware; until Ctrl-C", path.display());
    io::Write::flush(&mut io::stdout())?;
    let port = carriers.map(Port::open);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let served = stream.map_err(Into::into).and_then(|stream| serve(stream, &args, port.as_ref()));
            if let Err(why) = served {
                log::warn!("{why:#}");
            }
        }
    });
    while !stop.is_set() {
        thread::sleep(LOOK);
    }
    let _ = fs::remove_file(path);
    port_at.iter().for_each(sockets::clear);
    Ok(())
}

/// Serves one firmware until its console ends.
fn serve(stream: UnixStream, args: &Args, port: Option<&Port>) -> Result<()> {
    let writer = stream.try_clone()?;
    pump(stream, writer, |back| args.programs(port, back))
}
