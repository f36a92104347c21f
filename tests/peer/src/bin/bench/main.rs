//! The speed of our engine beside that of Debian's libtpms, in one process, by turns. `cargo xtask bench` builds this
//! twice and prints a table of both.
//!
//! Prints a line for each command, its columns separated by tabs: name, kind, then for ours and theirs the processor
//! time in microseconds, its spread, and the number of samples. Before them a line for the memory of each. Usage:
//! `bench SECONDS [FILTER [LIBRARY]]`; LIBRARY is another libtpms. `bench names`: what is measured, and its kind.

mod cases;
mod measure;

use anyhow::{Context, Result};
use cases::{CASES, Kind};
use core::time::Duration;
use peer::tpm::Tpm;
use peer::{Libtpms, Quoin};
use std::fs;
use std::path::Path;

fn main() -> Result<()> {
    sigpipe::reset();
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "names") {
        CASES.iter().for_each(|case| println!("{}\t{}", case.name, word(case.kind)));
        return Ok(());
    }
    let seconds: f64 = arguments.next().context("how many seconds for each command?")?.parse()?;
    let filter = arguments.next().unwrap_or_default().to_lowercase();

    let library = arguments.next();
    let before = resident();
    let mut theirs = match &library {
        Some(file) => Libtpms::of_library(Path::new(file))?,
        None => Libtpms::new()?,
    };
    let [major, minor, micro] = theirs.version();
    println!("libtpms\t{major}.{minor}.{micro}\t{}", resident().saturating_sub(before));
    println!("quoin\t{}\t{}", env!("CARGO_PKG_VERSION"), size_of::<tpm_core::Tpm>() / 1024);

    let mut ours = Quoin::new(false);
    let (mut ours, mut theirs) = (Tpm::new(&mut ours), Tpm::new(&mut theirs));
    for case in CASES.iter().filter(|case| case.name.to_lowercase().contains(&filter)) {
        let times = measure::measure(case, &mut ours, &mut theirs, Duration::from_secs_f64(seconds));
        let columns = times.map(|t| format!("\t{:.3}\t{:.3}\t{}", t.middle, t.spread, t.samples));
        println!("{}\t{}{}", case.name, word(case.kind), columns.concat());
    }
    Ok(())
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ordinary => "ordinary",
        Kind::Curve => "curve",
        Kind::Search => "search",
    }
}

/// The memory of this process that is in RAM, in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|size| size.parse().ok()).unwrap_or(0)
}
