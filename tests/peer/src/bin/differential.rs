//! `cargo xtask fuzz differential`.

use anyhow::Result;
use clap::Parser;
use core::time::Duration;
use peer::differential::{Beside, Limits, Report, Subject, Worker};
use std::process::ExitCode;

/// Sequences of commands to our TPM and to another, whose answers are compared.
#[derive(Debug, Parser)]
struct Options {
    /// The other TPM: `libtpms`, Debian's, or `tcp:HOST:PORT`, a simulator that speaks mssim; each further worker has
    /// one two ports further on.
    ///
    /// Each must run in a loop that starts it anew, manufactured, whenever it ends: every sequence stops it first.
    #[arg(long, value_name = "PEER", default_value = "libtpms")]
    peer: Beside,
    /// Seconds.
    #[arg(long, value_name = "N", default_value_t = 60)]
    time: u64,
    /// Commands.
    #[arg(long, value_name = "N", default_value_t = u64::MAX)]
    commands: u64,
    /// The first sequence's seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Commands of a sequence.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    length: u64,
    /// Processes at a time: as many as there are processors if not given.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// What sequences are about.
    #[arg(long, value_enum, default_value_t)]
    subject: Subject,
    /// Kinds of unexplained disagreements after which the run ends.
    #[arg(long, value_name = "N", default_value_t = 200)]
    kinds: usize,
    /// Only this seed's sequence, with as few steps as still show its disagreement.
    #[arg(long)]
    shrink: bool,
    /// Run sequences in this process until nobody reads.
    #[arg(long, hide = true)]
    worker: bool,
    /// Say every command before it is sent.
    #[arg(long, hide = true)]
    loud: bool,
}

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let options = Options::parse();
    let workers = options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let report = if options.worker {
        let mut worker = Worker::new(&options.peer, options.subject)?;
        if options.loud {
            worker.loud();
        }
        worker.serve(options.seed, workers, options.length);
        return Ok(ExitCode::SUCCESS);
    } else if options.shrink {
        let mut worker = Worker::new(&options.peer, options.subject)?;
        worker.shrink(options.seed, options.length);
        worker.report()
    } else {
        let limits = Limits {
            commands: options.commands,
            time: Duration::from_secs(options.time),
            length: options.length,
            workers,
            kinds: options.kinds,
            subject: options.subject,
        };
        Report::of(options.seed, &limits, &options.peer)?
    };
    report.print();
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
