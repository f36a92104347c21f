//! `cargo xtask bench`: the speed of every common command, beside Debian's libtpms in the same process.
//!
//! What measures is package `peer`'s program `bench`. It is built twice, as the firmware builds the engine (for size,
//! with overflow checks) and as a release build would be, and each build runs by turns with libtpms, so that each ratio
//! is of one run. Time is that of the thread on its processor.

mod before;

use anyhow::{Context, Result, bail, ensure};
use core::fmt::Write;
use host::figures::{self, Figure};
use host::progress::Progress;
use host::{debian, workspace};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long each command is measured, at least, in each of the two builds; key searches are measured until there
    /// are 200 keys.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    time: f64,
    /// Measure only commands whose name contains TEXT.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Measure beside this libtpms, too: the file of another version's shared library.
    #[arg(long, value_name = "LIBRARY")]
    peer: Option<PathBuf>,
    /// Fail if a command is below 1.1 times as fast as Debian's libtpms in either build, a key search below 1.0, or
    /// Sign or CreatePrimary of P-256 below 4.
    #[arg(long)]
    check: bool,
    /// Instead, measure this tree's engine by turns with that of an older commit, and fail if a command costs more
    /// than 1.05 times what it did.
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["peer", "check"])]
    before: Option<String>,
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
    if let Some(commit) = &args.before {
        return before::run(commit, args.time / 5.0, &args.filter);
    }
    let library = args.peer.as_deref().map(fs::canonicalize).transpose().context("--peer")?;
    let root = workspace::root()?;
    let programs = BUILDS.map(|build| program(&build, &root));
    let (mut runs, mut others) = (Vec::new(), Vec::new());
    for (build, program) in BUILDS.iter().zip(programs) {
        let program = program?;
        runs.push(measure(build, &program, args, None)?);
        if let Some(library) = &library {
            others.push(measure(build, &program, args, Some(library))?);
        }
    }
    ensure!(measured_all(&runs), "no command has `{}` in its name: nothing was measured", args.filter);
    let report = report(&runs, &others);
    print!("{report}");
    let slow = runs.iter().flat_map(|run| &run.rows).any(Row::is_slow);
    let summary = report.lines().find(|line| line.starts_with("Of "));
    if let Some(summary) = summary.filter(|_| args.check && !slow && args.filter.is_empty() && args.time >= 1.0) {
        figures::keep(Figure::Bench, summary);
    }
    if args.filter == INDICES && args.time >= 1.0 {
        figures::keep(Figure::Indices, &beside_indices(&runs));
    }
    Ok(if slow && args.check { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether each build has measured something, and each the same.
fn measured_all(runs: &[Run]) -> bool {
    let count = runs.first().map_or(0, |run| run.rows.len());
    count > 0 && runs.iter().all(|run| run.rows.len() == count)
}

/// Builds the program that measures of the sources in `root`, and gives its file.
fn program(build: &Build, root: &Path) -> Result<PathBuf> {
    let progress = Progress::start(build.label);
    let target = workspace::target_dir()?.join("bench");
    let mut command = Command::new(workspace::cargo());
    command.current_dir(root).args(["build", "--quiet", "--locked", "--package", "peer", "--bin", "bench"]);
    command.args(["--profile", build.profile, "--target-dir"]).arg(&target);
    let built = command.status().context("cannot start cargo")?;
    ensure!(built.success(), "the benchmark does not compile");
    progress.done("built");
    Ok(target.join(build.profile).join("bench"))
}

/// What one build of the engine gave beside one libtpms.
struct Run {
    label: &'static str,
    /// the version of that libtpms
    version: String,
    /// what it says of libtpms and of itself: version, memory in KiB
    peers: Vec<String>,
    rows: Vec<Row>,
}

/// How fast a command must be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Curve,
    Search,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "ordinary" => Some(Self::Ordinary),
            "curve" => Some(Self::Curve),
            "search" => Some(Self::Search),
            _ => None,
        }
    }

    /// What libtpms' time must be, divided by ours.
    const fn least_ratio(self) -> f64 {
        match self {
            Self::Ordinary => 1.1,
            Self::Curve => 4.0,
            Self::Search => 1.0,
        }
    }
}

/// A command's times in microseconds, each with its spread, and the fewer samples of the two.
struct Row {
    name: String,
    kind: Kind,
    ours: [f64; 2],
    theirs: [f64; 2],
    samples: f64,
}

impl Row {
    /// From a line of the program: name, kind, then for each TPM time, spread and number of samples.
    fn parse(line: &str) -> Option<Self> {
        let mut columns = line.split('\t');
        let (name, kind) = (columns.next()?.to_owned(), Kind::parse(columns.next()?)?);
        let numbers = columns.map(|c| c.parse().ok()).collect::<Option<Vec<f64>>>()?;
        let &[ours, our_spread, n, theirs, their_spread, m] = numbers.as_slice() else { return None };
        Some(Self { name, kind, ours: [ours, our_spread], theirs: [theirs, their_spread], samples: n.min(m) })
    }

    fn ratio(&self) -> f64 {
        self.theirs[0] / self.ours[0]
    }

    fn is_slow(&self) -> bool {
        self.ratio() < self.kind.least_ratio()
    }
}

fn measure(build: &Build, program: &Path, args: &Args, library: Option<&PathBuf>) -> Result<Run> {
    let mut progress = Progress::start(build.label);
    let mut command = Command::new(program);
    command.arg(args.time.to_string()).arg(&args.filter).args(library).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let mut run = Run { label: build.label, version: String::new(), peers: Vec::new(), rows: Vec::new() };
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
    let version = run.peers.iter().find_map(|line| line.strip_prefix("libtpms\t")?.split('\t').next());
    run.version = version.context("the benchmark does not name its libtpms")?.to_owned();
    progress.done(&format!("{} commands measured beside libtpms {}", run.rows.len(), run.version));
    Ok(run)
}

/// A row for each command, columns for each build; then what it comes to.
fn report(runs: &[Run], others: &[Run]) -> String {
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{}", text.trim_end()).unwrap_or_default();
    for peer in runs.first().map_or(&[][..], |run| &run.peers) {
        line(&peer_line(peer));
    }
    line(&format!("Processor: {}.", processor()));
    line(
        "Microseconds of processor time of the thread: the 5th percentile of interleaved runs, and how far it goes up and down between eighths of them; \
         of key searches the mean and its standard error. n is the number of runs of each.",
    );
    line("");
    let titles = runs.iter().map(|run| format!("  {:>18}  {:>18}  {:>6}  {:>6} ", run.label, "libtpms", "ratio", "n"));
    let other_titles = others.iter().map(|run| format!("  {:>9} to {:<7}", run.label, run.version));
    line(&format!("{:<28}{}{}", "command", titles.collect::<String>(), other_titles.collect::<String>()));
    for (i, row) in runs.first().map_or(&[][..], |run| &run.rows).iter().enumerate() {
        let columns = runs.iter().filter_map(|run| run.rows.get(i)).map(|row| {
            let mark = if row.is_slow() { '<' } else { ' ' };
            let times = format!("  {}  {}", time(row.ours), time(row.theirs));
            format!("{times}  {:>6.2}  {:>6.0}{mark}", row.ratio(), row.samples)
        });
        let beside = others.iter().filter_map(|run| run.rows.get(i)).map(|row| format!("  {:>20.2}", row.ratio()));
        line(&format!("{:<28}{}{}", row.name, columns.collect::<String>(), beside.collect::<String>()));
    }
    line("");
    line(&sentence(runs));
    for run in others {
        line(&format!("Beside libtpms {}, {} build: {}.", run.version, run.label, least(&[run], Kind::Ordinary)));
    }
    let slow = runs.iter().flat_map(|run| &run.rows).filter(|row| row.is_slow());
    let slow: Vec<String> = slow.map(|row| format!("{} ({:.2})", row.name, row.ratio())).collect();
    line(&match slow.as_slice() {
        [] => "Every command is as fast as it must be.".to_owned(),
        slow => format!("< slower than it must be: {}", slow.join(", ")),
    });
    out
}

/// The figure of docs/figures.md.
fn sentence(runs: &[Run]) -> String {
    let count = runs.first().map_or(0, |run| run.rows.len());
    let all: Vec<&Run> = runs.iter().collect();
    let named = |kind| {
        let rows = runs.iter().flat_map(|run| &run.rows).filter(move |row| row.kind == kind);
        let mut names: Vec<&str> = rows.clone().map(|row| row.name.as_str()).collect();
        names.dedup();
        let mut seen: Vec<String> = Vec::new();
        for name in names {
            let ratios: Vec<String> =
                rows.clone().filter(|row| row.name == name).map(|row| format!("{:.2}", row.ratio())).collect();
            let part = format!("{name} {}", ratios.join(" and "));
            if !seen.contains(&part) {
                seen.push(part);
            }
        }
        seen.join(", ")
    };
    let keys = runs.iter().flat_map(|run| &run.rows).filter(|row| row.kind == Kind::Search);
    let keys = keys.map(|row| row.samples).fold(f64::MAX, f64::min);
    let builds: Vec<&str> = runs.iter().map(|run| run.label).collect();
    let mut text = format!("Of {count} commands ({} build), {}", builds.join(" and "), least(&all, Kind::Ordinary));
    for kind in [Kind::Curve, Kind::Search] {
        let part = named(kind);
        if !part.is_empty() {
            text = format!("{text}; {part}");
        }
    }
    if keys < f64::MAX {
        text = format!("{text} (means of {keys:.0} keys or more)");
    }
    let version = runs.first().map_or("", |run| &run.version);
    format!("{text}, on {}: times of libtpms {version} divided by ours.", processor())
}

/// What the commands are called that are measured beside NV Indices.
const INDICES: &str = "ind";

/// Each command's time beside that of libtpms.
fn beside_indices(runs: &[Run]) -> String {
    let rows = runs.iter().flat_map(|run| run.rows.iter().map(|row| (run.label, row)));
    let part =
        |(label, row): (&str, &Row)| format!("{} {:.2} and {:.2} µs ({label})", row.name, row.ours[0], row.theirs[0]);
    format!("ours and libtpms': {}", rows.map(part).collect::<Vec<_>>().join("; "))
}

/// The slowest of a kind.
fn least(runs: &[&Run], kind: Kind) -> String {
    let rows = runs.iter().flat_map(|run| &run.rows).filter(|row| row.kind == kind);
    rows.min_by(|a, b| a.ratio().total_cmp(&b.ratio()))
        .map_or_else(|| "none".to_owned(), |row| format!("the least is {:.2} ({})", row.ratio(), row.name))
}

/// The processor, as it names itself, with family and model: names of cloud machines leave out what tells them apart.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    match (field("model name"), field("cpu family"), field("model")) {
        (Some(name), Some(family), Some(model)) => format!("{name}, family {family}, model {model}"),
        _ => "an unknown processor".to_owned(),
    }
}

fn time([middle, spread]: [f64; 2]) -> String {
    format!("{middle:>10.2} ±{spread:>6.2}")
}

/// Of libtpms what the process grew by when it was loaded; of ours the size of the value that is the whole TPM. They
/// share the process, so that there is no peak of each.
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
    use super::{Row, Run, beside_indices, measured_all, report};

    fn row(kind: &str, ours: &str) -> Row {
        Row::parse(&format!("Sign\t{kind}\t{ours}\t0.1\t50\t11.0\t0.1\t250")).unwrap()
    }

    #[test]
    fn a_row_is_slow_below_the_ratio_of_its_kind() {
        assert!(!row("ordinary", "10.0").is_slow());
        assert!(row("ordinary", "10.1").is_slow());
        assert!(!row("curve", "2.75").is_slow());
        assert!(row("curve", "2.8").is_slow());
        assert!(!row("search", "11.0").is_slow());
        assert!(row("search", "11.1").is_slow());
    }

    #[test]
    fn what_indices_cost_is_a_line() {
        let rows = vec![row("ordinary", "0.2")];
        let run = Run { label: "release", version: "0.9.2".into(), peers: Vec::new(), rows };
        assert_eq!(beside_indices(&[run]), "ours and libtpms': Sign 0.20 and 11.00 µs (release)");
    }

    #[test]
    fn what_is_no_row_is_none() {
        assert!(Row::parse("quoin\t0.1.0\t234").is_none());
        assert!(Row::parse("Sign\tordinary\tfast").is_none());
        assert!(Row::parse("Sign\trsa-private\t1\t0.1\t50\t11.0\t0.1\t250").is_none());
    }

    #[test]
    fn a_run_that_measures_nothing_is_none() {
        let run = |rows| Run { label: "release", version: "0.9.2".into(), peers: Vec::new(), rows };
        assert!(!measured_all(&[]) && !measured_all(&[run(Vec::new()), run(Vec::new())]));
        assert!(!measured_all(&[run(vec![row("ordinary", "5.0")]), run(Vec::new())]));
        assert!(measured_all(&[run(vec![row("ordinary", "5.0")]), run(vec![row("ordinary", "9.0")])]));
    }

    #[test]
    fn the_sentence_says_version_statistic_and_number() {
        let rows = vec![row("ordinary", "5.0"), row("search", "10.0")];
        let text = report(&[Run { label: "release", version: "0.9.2".into(), peers: Vec::new(), rows }], &[]);
        for part in ["libtpms 0.9.2 divided by ours", "5th percentile", "n is the number", "50 keys", "2.20", "1.10"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
