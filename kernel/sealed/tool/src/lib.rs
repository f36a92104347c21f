//! `quoin-state`: what an operator does with the disks on which the firmware keeps a TPM's state.
//!
//! What is secret stays so: without the recovery key nothing is opened, and with it seeds, authorizations and contents
//! of indices are compared, never printed.
//!
//! | module | is |
//! |---|---|
//! | `file` | a disk that is a file or a block device, and an exported record |
//! | `key` | keys as text |
//! | `owner` | what a state's owner signs |
//! | `contents` | what an opened record holds: a TPM, one that waits, or where it has gone |
//! | `inside` | what of an opened state may be seen |
//! | `verbs` | what the program does |

mod contents;
mod file;
mod inside;
mod key;
mod owner;
mod verbs;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Looks at, checks, prepares, exports, imports and compares the disks on which Quoin keeps a TPM's state; signs where
/// that may go.
///
/// Exit status: 0 done, or nothing wrong; 1 a file cannot be read or written, or something else; 2 wrong options; 3 not
/// a state disk; 4 damaged; 5 no key here opens it; 6 two states differ; 7 something is in the way and nothing was
/// done; 141 nobody reads the output any more.
#[derive(Debug, Parser)]
#[command(name = "quoin-state", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make an empty disk, on which a firmware may begin a TPM.
    ///
    /// A file that is not there is made, with 3 MiB. One in which anything is stays as it is, without --force.
    Prepare {
        /// The disk: a file or a block device.
        disk: PathBuf,
        /// Even if there is something on the disk: a TPM that was there is lost.
        #[arg(long)]
        force: bool,
    },
    /// Print what can be seen from outside of a disk, or of an exported record.
    ///
    /// Version, epoch, identity, the writer's measurement, sizes. A record authenticates all of it; that it does only
    /// who opens it knows.
    Show {
        /// The disk, or an exported record.
        file: PathBuf,
        /// Open it and print what is in it, secrets left out: the recovery key's file, or `-` for standard input.
        #[arg(long, value_name = "FILE")]
        recovery_key: Option<PathBuf>,
    },
    /// Check a disk or an exported record; with the recovery key also what is in it.
    Check {
        /// The disk, or an exported record.
        file: PathBuf,
        /// Open it, too.
        #[arg(long, value_name = "FILE")]
        recovery_key: Option<PathBuf>,
    },
    /// Make a recovery key and print it, once, with the public key for the measured settings.
    ///
    /// Whoever has it opens every state of a firmware whose settings name it. Keep it offline.
    RecoveryKey,
    /// Print the public key of a recovery key, in hexadecimal, for the measured settings.
    RecoveryPoint {
        /// The recovery key's file, or `-`.
        recovery_key: PathBuf,
    },
    /// Write the newest record of a disk into a file, sealed as it is, if the recovery key opens it.
    Export {
        /// The disk.
        disk: PathBuf,
        /// The file, which is made.
        file: PathBuf,
        /// The recovery key's file, or `-`.
        #[arg(long, value_name = "FILE")]
        recovery_key: PathBuf,
    },
    /// Put an exported record on a disk.
    ///
    /// Without options on an empty disk, as it was: for the firmware and the chip that have written it. With both of
    /// them for the firmware that has begun a TPM on the disk, wherever it runs: that TPM is replaced.
    Import {
        /// The exported record, or a disk.
        file: PathBuf,
        /// The disk.
        disk: PathBuf,
        /// The recovery key's file, or `-`.
        #[arg(long, value_name = "FILE", requires = "attested")]
        recovery_key: Option<PathBuf>,
        /// The state digest of the TPM on the disk, in hexadecimal, from evidence that `quoin-verify` has accepted: it
        /// says whose key the state is sealed for.
        #[arg(long, value_name = "DIGEST", requires = "recovery_key", value_parser = key::digest)]
        attested: Option<[u8; 32]>,
    },
    /// Make a key of a state's owner and print it, once, with the public key for the measured settings.
    ///
    /// Whoever has it says to which firmwares the TPM of one that names it may go. Keep it offline.
    OwnerKey,
    /// Print the public key of an owner's key, in hexadecimal, for the measured settings.
    OwnerPoint {
        /// The owner's key's file, or `-`.
        owner_key: PathBuf,
    },
    /// Sign that one firmware may follow another with a TPM (docs/migration.md), and write that into a file.
    Grant {
        /// The file, which is made: for the program that begins the migration.
        file: PathBuf,
        /// The owner's key's file, or `-`.
        #[arg(long, value_name = "FILE")]
        owner_key: PathBuf,
        /// The launch measurement of the firmware that has the TPM, in hexadecimal.
        #[arg(long, value_name = "DIGEST", value_parser = owner::measurement)]
        from: migration::Measurement,
        /// The launch measurement of the firmware that it may go to.
        #[arg(long, value_name = "DIGEST", value_parser = owner::measurement)]
        to: migration::Measurement,
        /// The TPM's identity, in hexadecimal; without it any TPM of a firmware that names the owner.
        #[arg(long, value_name = "IDENTITY", value_parser = key::digest)]
        identity: Option<[u8; 32]>,
        /// The last epoch of the state at which it may go: there is no clock, and each boot and commit is one epoch.
        #[arg(long, value_name = "EPOCH")]
        until: u64,
    },
    /// Compare two states that the recovery key opens, secrets left out.
    Diff {
        /// A disk, or an exported record.
        old: PathBuf,
        /// Another.
        new: PathBuf,
        /// The recovery key's file, or `-`.
        #[arg(long, value_name = "FILE")]
        recovery_key: PathBuf,
        /// That of the second, if it is another.
        #[arg(long, value_name = "FILE")]
        new_recovery_key: Option<PathBuf>,
    },
}

/// What a shell shows for SIGPIPE.
pub const CLOSED_PIPE: u8 = 141;

/// What was done: the text for standard output, and the exit status.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// The text.
    pub text: String,
    /// The exit status.
    pub status: u8,
}

pub use verbs::{run, status_of};
