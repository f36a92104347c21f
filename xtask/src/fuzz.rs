//! `cargo xtask fuzz`: random inputs for the engine and the verifier, for as long as one likes.
//!
//! The targets of tests/fuzz run in libFuzzer, whose mutations are led by what they cover: the engine is compiled with
//! the compiler's own instrumentation, which a stable one has, too. The corpus begins with what the tests say to their
//! TPMs and is kept, with every input that was worth it.
//!
//! `differential` is another kind: tests/peer makes sequences of commands from a seed for the engine and for Debian's
//! libtpms, or for a simulator that the user runs.

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use host::figures::{self, Figure, keep_last_line};
use host::progress::Progress;
use host::{debian, workspace};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to fuzz.
    target: Target,
    /// For how many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u32,
    /// Only this input, such as one that was found.
    #[arg(long, value_name = "FILE")]
    input: Option<std::path::PathBuf>,
    /// The seed of the first sequence, for `differential`.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// At most so many commands, for `differential`.
    #[arg(long, value_name = "N")]
    commands: Option<u64>,
    /// Only the seed's sequence, with as few steps as still show its disagreement, for `differential`.
    #[arg(long)]
    shrink: bool,
    /// The other TPM, for `differential`: `libtpms`, or `tcp:HOST:PORT`, a simulator that speaks mssim and runs in a
    /// loop that starts it anew, manufactured, whenever it ends. Each sequence ends it first.
    #[arg(long, value_name = "PEER", default_value = "libtpms", value_parser = peer)]
    peer: String,
    /// What sequences are about, for `differential`: `all`, or `lattices`, which is ML-KEM, ML-DSA and the commands of
    /// version 185, for a TPM of which the rest differs too much.
    #[arg(long, value_name = "SUBJECT", default_value = "all")]
    subject: String,
    /// Processes at a time, for `differential`; each further one has its simulator two ports further on.
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// A value of `--peer`: one that is unknown is refused before anything is built.
fn peer(text: &str) -> Result<String> {
    let simulator = text.strip_prefix("tcp:").and_then(|address| address.rsplit_once(':'));
    let good =
        text == "libtpms" || simulator.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    ensure!(good, "it is neither `libtpms` nor `tcp:HOST:PORT`");
    Ok(text.to_owned())
}

/// A fuzz target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Parameters of every command, and structures of Part 2.
    Unmarshal,
    /// States that were tampered with.
    Import,
    /// Commands in a row, with losses of power between them.
    Engine,
    /// Everything that the verifier reads: policy, evidence, certificates, logs, images.
    Verify,
    /// Sequences of commands to the engine and to another TPM, mostly Debian's libtpms in one process with it: their
    /// answers are compared.
    Differential,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Unmarshal => "unmarshal",
            Self::Import => "import",
            Self::Engine => "engine",
            Self::Verify => "verify",
            Self::Differential => "differential",
        }
    }

    const fn figure(self) -> Option<Figure> {
        match self {
            Self::Unmarshal => Some(Figure::Unmarshal),
            Self::Import => Some(Figure::Import),
            Self::Engine => Some(Figure::Engine),
            Self::Verify => Some(Figure::Verify),
            Self::Differential => None,
        }
    }

    /// Octets of the longest input.
    const fn max_length(self) -> u32 {
        match self {
            Self::Unmarshal => 8192,
            Self::Import => 65536,
            Self::Engine | Self::Verify => 16384,
            Self::Differential => 0,
        }
    }
}

/// Coverage of edges and operands of comparisons, and all checks that a release build leaves out.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=yes -Coverflow-checks=yes --cfg fuzzing";
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds the target, makes its corpus where there is none, and runs it.
pub fn run(args: &Args) -> Result<()> {
    if args.target == Target::Differential {
        return differential(args);
    }
    let input = args.input.as_ref().map(fs::canonicalize).transpose()?;
    debian::ensure(&[("g++", "g++")])?;
    let name = args.target.name();
    let folder = workspace::target_dir()?.join("fuzz");
    let progress = Progress::start("fuzz target");
    let mut build = Command::new(workspace::cargo());
    // With a named triple the flags are not for what runs at build time.
    build.current_dir(workspace::root()?).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &folder).args([
        "build",
        "--quiet",
        "--locked",
        "--config",
        // With level 3 and the instrumentation the engine takes many times as long to compile, and is little faster.
        "profile.release.package.tpm-core.opt-level=1",
        "--release",
        "--package",
        "fuzz",
        "--target",
        TRIPLE,
        "--bin",
        name,
    ]);
    ensure!(build.status().context("cannot start cargo")?.success(), "the fuzz target does not compile");
    progress.done("built");
    let mut fuzzer = Command::new(folder.join(TRIPLE).join("release").join(name));
    if let Some(input) = &input {
        fuzzer.arg(input);
    } else {
        let corpus = folder.join("corpus").join(name);
        if !corpus.exists() {
            make_corpus(args.target, &folder.join("corpus"))?;
        }
        let found = folder.join("found");
        fs::create_dir_all(&found)?;
        fuzzer
            .arg(corpus)
            .arg(format!("-max_total_time={}", args.time))
            .arg(format!("-max_len={}", args.target.max_length()))
            // An input that makes RSA keys takes long, and one that never ends longer.
            .args(["-timeout=300", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/{name}-", found.display()));
    }
    let status = match args.target.figure().filter(|_| input.is_none()) {
        Some(figure) => keep_done(figure, &mut fuzzer)?,
        None => fuzzer.status().context("cannot start the fuzz target")?,
    };
    if status.success() {
        Ok(())
    } else {
        bail!("what was fuzzed is wrong: the input is in the file that is named above")
    }
}

/// Runs a fuzzer, which says at its end what it has done: that is the figure, if it found nothing.
fn keep_done(figure: Figure, fuzzer: &mut Command) -> Result<ExitStatus> {
    let mut child = fuzzer.stderr(Stdio::piped()).spawn().context("cannot start the fuzz target")?;
    let mut done = None;
    for line in BufReader::new(child.stderr.take().context("the fuzz target has no output")?).lines() {
        let line = line?;
        eprintln!("{line}");
        done = inputs(&line).or(done);
    }
    let status = child.wait()?;
    if let Some(done) = done.filter(|_| status.success()) {
        figures::keep(figure, &done);
    }
    Ok(status)
}

/// What is in libFuzzer's last line, `Done 4711 runs in 61 second(s)`.
fn inputs(line: &str) -> Option<String> {
    let (runs, seconds) = line.strip_prefix("Done ")?.strip_suffix(" second(s)")?.split_once(" runs in ")?;
    Some(format!("{runs} inputs in {seconds} s, nothing found"))
}

/// Builds tests/peer and runs its fuzzer.
fn differential(args: &Args) -> Result<()> {
    if args.peer == "libtpms" {
        debian::ensure_library("libtpms.so.0", "libtpms0")?;
    }
    let progress = Progress::start("differential fuzzer");
    let program = host::build::peer("differential")?;
    progress.done("built");
    let mut fuzzer = Command::new(program);
    fuzzer.args(["--time", &args.time.to_string(), "--seed", &args.seed.to_string(), "--peer", &args.peer]);
    fuzzer.args(["--subject", &args.subject]);
    if let Some(commands) = args.commands {
        fuzzer.args(["--commands", &commands.to_string()]);
    }
    if let Some(workers) = args.workers {
        fuzzer.args(["--workers", &workers.to_string()]);
    }
    if args.shrink {
        fuzzer.arg("--shrink");
    }
    let status = match row(args) {
        Some(figure) => keep_last_line(figure, &mut fuzzer)?,
        None => fuzzer.status().context("cannot start the differential fuzzer")?,
    };
    if status.success() { Ok(()) } else { bail!("the two TPMs disagree, and no rule of tests/peer explains it") }
}

/// The row of the page: one for each peer, for as many commands as are asked for there.
fn row(args: &Args) -> Option<Figure> {
    let (figure, enough) = match (args.peer.as_str(), args.subject.as_str()) {
        ("libtpms", "all") => (Figure::Differential, 10_000_000),
        (_, "all") => (Figure::Reference, 1_000_000),
        (_, "lattices") => (Figure::Lattices, 120_000),
        _ => return None,
    };
    args.commands.filter(|commands| *commands >= enough).map(|_| figure)
}

/// The first inputs: golden states, or what the tests say.
fn make_corpus(target: Target, corpora: &Path) -> Result<()> {
    let root = workspace::root()?;
    if target == Target::Import {
        let corpus = corpora.join("import");
        fs::create_dir_all(&corpus)?;
        for entry in fs::read_dir(root.join("tpm-core/tests/golden"))? {
            let path = entry?.path();
            let text: String = fs::read_to_string(&path)?.split_whitespace().collect();
            let octets: Result<Vec<u8>, _> =
                (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16)).collect();
            let octets = octets.with_context(|| format!("{} is no golden state", path.display()))?;
            // The target puts the digest to it.
            fs::write(corpus.join(path.file_stem().unwrap_or_default()), &octets[..octets.len().saturating_sub(32)])?;
        }
        return Ok(());
    }
    let progress = Progress::start("corpus");
    let mut tests = Command::new(workspace::cargo());
    tests.current_dir(&root).env("QUOIN_RECORD", corpora).args(["test", "--quiet", "--locked", "--package"]);
    // The verifier's seeds are written by one test.
    let of = if target == Target::Verify {
        ["quoin-verify", "--lib", "fuzz::"].as_slice()
    } else {
        &["tpm-core", "--tests"]
    };
    let output = tests.args(of).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests that write it fail:\n{}", String::from_utf8_lossy(&output.stdout));
    progress.done("of the tests");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::inputs;

    #[test]
    fn the_figure_is_what_libfuzzer_says_last() {
        assert_eq!(inputs("Done 4711 runs in 61 second(s)").as_deref(), Some("4711 inputs in 61 s, nothing found"));
        assert_eq!(inputs("#4711 DONE cov: 12 ft: 13"), None);
    }
}
