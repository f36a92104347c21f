//! An anchor as a program: `quoin-anchor`. What it answers is decided by the crate `anchor`; this has the folder, the
//! database, the sockets and the operator.
//!
//! | module | is |
//! |---|---|
//! | [`ask`] | the other side of the socket: a TPM's client that asks several anchors |
//! | [`backend`] | where entries are kept: a trait, redb, and etcd |
//! | `control` | the operator's commands, also to a server that runs |
//! | `folder` | key and database |
//! | `serve` | sockets, and limits for strangers |

#![forbid(unsafe_code)]

pub mod ask;
pub mod backend;
mod control;
mod folder;
mod serve;

use anyhow::{Context, Result, bail, ensure};
use backend::etcd::Options;
use clap::{Parser, Subcommand};
use control::{Act, Adopt, Deed};
use folder::Folder;
use std::path::PathBuf;
use tpm_ports::logging::{self, LevelFilter};

pub use serve::Limits;

const EXAMPLES: &str = "Three anchors belong on three computers, of three operators if that can be. On each:

  quoin-anchor key /var/lib/anchor          prints the key that the TPM's settings must name
  quoin-anchor serve /var/lib/anchor --listen 0.0.0.0:7384

An old state is to be started (a disk was lost, a backup is put back): end the VM; then, on every anchor,

  quoin-anchor show /var/lib/anchor
  quoin-anchor forget /var/lib/anchor SUBJECT --reason 'disk lost, backup of Monday'

Where an operator has an etcd, the database can be there; every command is then told so. A cluster is one anchor:

  quoin-anchor key /var/lib/anchor --etcd https://a:2379,https://b:2379 --etcd-ca ca.pem
  quoin-anchor serve /var/lib/anchor --listen 0.0.0.0:7384 --etcd https://a:2379,https://b:2379 --etcd-ca ca.pem";

/// A small server that knows which state of a TPM is its newest, so that no old one starts and no two run.
#[derive(Debug, Parser)]
#[command(name = "quoin-anchor", version, after_long_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an anchor's folder, with its signing key and an empty database; print the public key.
    ///
    /// In a folder that has a key nothing is made.
    Key {
        /// The folder.
        folder: PathBuf,
        #[command(flatten)]
        etcd: Options,
    },
    /// Serve TPMs until Ctrl-C.
    Serve(serve::Args),
    /// Print what the anchor knows: each TPM with its epoch, and what the operator has done.
    Show {
        /// The anchor's folder.
        folder: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        etcd: Options,
    },
    /// Forget which state of a TPM is its newest: any that names no other as newer may start then.
    ///
    /// Only for an operator who has lost the newest state. The VM must have ended, and all anchors must forget. The
    /// reason is kept.
    Forget(On),
    /// Answer a TPM no more, and give out no share of its key.
    Hold(On),
    /// Answer a TPM again that was held.
    Release(On),
    /// Admit a TPM to an anchor that admits no new ones.
    Enrol(On),
    /// Print all that the anchor knows but the shares, for `adopt`.
    Export {
        /// The anchor's folder.
        folder: PathBuf,
        #[command(flatten)]
        etcd: Options,
    },
    /// Make a new database for an anchor that has lost it, from what K of the other anchors have exported since.
    Adopt(Adopt),
}

/// A TPM, and why something is done to it.
#[derive(Debug, clap::Args)]
struct On {
    /// The anchor's folder.
    folder: PathBuf,
    /// The TPM, as `show` prints it: 64 hexadecimal digits.
    #[arg(value_parser = subject)]
    subject: [u8; 32],
    /// Why: it is kept.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    etcd: Options,
}

fn subject(text: &str) -> Result<[u8; 32]> {
    let octets = hex::decode(text).context("no hexadecimal digits")?;
    octets.try_into().ok().context("not 64 hexadecimal digits")
}

/// Runs the program.
pub fn run() -> Result<()> {
    logging::start(LevelFilter::Info, None)?;
    match Args::parse().verb {
        Verb::Key { folder, etcd } => {
            println!("{}", hex::encode(Folder::make(&folder, &etcd)?));
            Ok(())
        }
        Verb::Serve(args) => serve::run(&args),
        Verb::Show { folder, json, etcd } => control::show(&folder, &etcd, json),
        Verb::Forget(on) => act(on, Act::Forget),
        Verb::Hold(on) => act(on, Act::Hold),
        Verb::Release(on) => act(on, Act::Release),
        Verb::Enrol(on) => act(on, Act::Enrol),
        Verb::Export { folder, etcd } => control::export(&folder, &etcd),
        Verb::Adopt(args) => control::adopt(&args),
    }
}

fn act(on: On, act: Act) -> Result<()> {
    let reason = on.reason.trim().to_owned();
    ensure!(!reason.is_empty(), "--reason says nothing");
    if reason.len() > control::MAX_REASON {
        bail!("--reason has more than {} octets", control::MAX_REASON);
    }
    control::act(&on.folder, &on.etcd, &Deed { act, subject: on.subject, reason })
}
