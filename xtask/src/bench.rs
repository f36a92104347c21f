//! `cargo xtask bench`: the speed of every common command, beside Debian's libtpms in the same process.
//!
//! What measures is package `peer`'s program `bench`. It is built twice, as the firmware builds the engine (for size, with overflow checks) and as a
//! release build would be, and each build runs by turns with libtpms, so that each ratio is of one run.

use crate::{debian, progress::Progress, workspace};
use anyhow::{Context, Result, bail, ensure};
use core::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What libtpms' time may be, divided by ours, where nothing is said against it.
const LEAST_RATIO: f64 = 0.9;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long each command is measured, at least, in each of the two builds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    time: f64,
    /// Measure only commands whose name contains TEXT.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Fail if a command takes more than 1/0.9 of libtpms' time, in either build; RSA private operations may.
    #[arg(long)]
    check: bool,
}

/// A build of the engine.
struct Build {
    label: &'static str,
    profile: &'static str,
}

const BUILDS: [Build; 2] =
    [Build { label: "release", profile: "release" }, Build { label: "firmware", profile: "firmware" }];

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    debian::ensure_library("libtpms.so.0", "libtpms0")?;
    let programs = BUILDS.map(|build| program(&build));
    let mut runs = Vec::new();
    for (build, program) in BUILDS.iter().zip(programs) {
        runs.push(measure(build, &program?, args)?);
    }
    print!("{}", table(&runs));
    let slow = runs.iter().flat_map(|run| &run.rows).any(Row::is_slow);
    Ok(if slow && args.check { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Builds the program that measures and gives its file.
fn program(build: &Build) -> Result<PathBuf> {
    let progress = Progress::start(build.label);
    let target = workspace::target_dir()?.join("bench");
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "peer",
        "--bin",
        "bench",
    ]);
    command.args(["--profile", build.profile, "--target-dir"]).arg(&target);
    let built = command.status().context("cannot start cargo")?;
    ensure!(built.success(), "the benchmark does not compile");
    progress.done("built");
    Ok(target.join(build.profile).join("bench"))
}

/// What one build of the engine gave.
struct Run {
    label: &'static str,
    /// what it says of libtpms and of itself: version, memory in KiB
    peers: Vec<String>,
    rows: Vec<Row>,
}

/// A command's times in microseconds, each with its spread.
struct Row {
    name: String,
    exempt: bool,
    ours: [f64; 2],
    theirs: [f64; 2],
}

impl Row {
    /// From a line of the program: name, kind, then for each TPM time, spread and number of samples.
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let (name, kind) = (columns.next()?.to_owned(), columns.next()?);
        let numbers = columns.map(|c| c.parse().ok()).collect::<Option<Vec<f64>>>()?;
        let &[ours, our_spread, _, theirs, their_spread, _] = numbers.as_slice() else { return None };
        Some(Self { name, exempt: kind == "rsa-private", ours: [ours, our_spread], theirs: [theirs, their_spread] })
    }

    fn ratio(&self) -> f64 {
        self.theirs[0] / self.ours[0]
    }

    fn is_slow(&self) -> bool {
        !self.exempt && self.ratio() < LEAST_RATIO
    }
}

fn measure(build: &Build, program: &Path, args: &Args) -> Result<Run> {
    let mut progress = Progress::start(build.label);
    let mut command = Command::new(program);
    command.arg(args.time.to_string()).arg(&args.filter).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut run = Run { label: build.label, peers: Vec::new(), rows: Vec::new() };
    for line in BufReader::new(child.stdout.take().context("the benchmark has no output")?).lines() {
        let line = line?;
        match Row::parse(&line) {
            Some(row) => {
                progress.update(&row.name);
                run.rows.push(row);
            }
            None => run.peers.push(line),
        }
    }
    if !child.wait()?.success() {
        bail!("the benchmark failed");
    }
    progress.done(&format!("{} commands measured", run.rows.len()));
    Ok(run)
}

/// A row for each command, columns for each build.
fn table(runs: &[Run]) -> String {
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{}", text.trim_end()).unwrap_or_default();
    for peer in runs.first().map_or(&[][..], |run| &run.peers) {
        line(&peer_line(peer));
    }
    line(
        "Microseconds: the median and half of the distance between the quartiles; of key generation in RSA the mean and its standard error.",
    );
    line("");
    let titles = runs.iter().map(|run| format!("  {:>18}  {:>18}  {:>6} ", run.label, "libtpms", "ratio"));
    line(&format!("{:<28}{}", "command", titles.collect::<String>()));
    for (i, row) in runs.first().map_or(&[][..], |run| &run.rows).iter().enumerate() {
        let columns = runs.iter().filter_map(|run| run.rows.get(i)).map(|row| {
            let mark = if row.is_slow() { '<' } else { ' ' };
            format!("  {}  {}  {:>6.2}{mark}", time(row.ours), time(row.theirs), row.ratio())
        });
        let exempt = if row.exempt { "  RSA private operation" } else { "" };
        line(&format!("{:<28}{}{exempt}", row.name, columns.collect::<String>()));
    }
    let slow: Vec<&str> =
        runs.iter().flat_map(|run| &run.rows).filter(|r| r.is_slow()).map(|r| r.name.as_str()).collect();
    line("");
    line(&match slow.as_slice() {
        [] => format!("No command is slower than {LEAST_RATIO} of libtpms, but for RSA private operations."),
        slow => format!("< slower than {LEAST_RATIO} of libtpms: {}", slow.join(", ")),
    });
    out
}

fn time([middle, spread]: [f64; 2]) -> String {
    format!("{middle:>10.2} ±{spread:>6.2}")
}

/// Of libtpms what the process grew by when it was loaded; of ours the size of the value that is the whole TPM. They share the process, so that there is no
/// peak of each.
fn peer_line(line: &str) -> String {
    let columns: Vec<&str> = line.split('\t').collect();
    match columns.as_slice() {
        ["libtpms", version, memory] => {
            format!("libtpms {version}: the process grew by {memory} KiB when it was loaded and made its TPM.")
        }
        ["quoin", version, memory] => format!("Quoin {version}: a TPM is a value of {memory} KiB; it has no heap."),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Row;

    #[test]
    fn a_row_is_slow_below_nine_tenths_unless_it_may_be() {
        let row = |kind: &str, ours: &str| Row::parse(&format!("Sign\t{kind}\t{ours}\t0.1\t50\t9.0\t0.1\t50")).unwrap();
        assert!(!row("ordinary", "10.0").is_slow());
        assert!(row("ordinary", "10.1").is_slow());
        assert!(!row("rsa-private", "100.0").is_slow());
        assert!(row("search", "10.1").is_slow());
    }

    #[test]
    fn what_is_no_row_is_none() {
        assert!(Row::parse("quoin\t0.1.0\t234").is_none());
        assert!(Row::parse("Sign\tordinary\tfast").is_none());
    }
}
