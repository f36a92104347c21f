//! `cargo xtask suites`: what others wrote to judge a TPM from outside, run against a server.
//!
//! Suites are fetched by the clients of package registries, built and kept below `target/suites`; nothing of theirs is
//! in this repository.
//!
//! | module | is |
//! |---|---|
//! | [`fetch`] | packages: from Debian, of a newer Debian, and commands that must succeed |
//! | [`servers`] | the TPM that is judged: ours, or Debian's swtpm to judge the harness by |
//! | [`tss`] | tpm2-tss' integration tests |
//! | [`pytss`] | tpm2-pytss' tests |
//! | [`esapi`] | the tests of the crate tss-esapi |
//! | [`selftests`] | the Linux kernel's |
//! | [`measured`] | a boot of QEMU that measures into the TPM |
//! | [`clients`] | round trips of tpm2-pkcs11, tpm2-openssl and clevis |

pub mod clients;
pub mod esapi;
pub mod fetch;
pub mod measured;
pub mod pytss;
pub mod selftests;
pub mod servers;
pub mod tss;

use crate::{tpm, workspace};
use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use fs_err as fs;
use servers::{Kind, Servers};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Options of `cargo xtask suites`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run this suite alone; may be given more than once.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name)))]
    suite: Vec<String>,
    /// The TPM that is judged.
    #[arg(long, value_name = "NAME", default_value = "quoin")]
    server: Kind,
    /// What our TPM can do: full, classic, pc-client, azure, no-legacy.
    #[arg(long, value_name = "NAME", default_value = PROFILE, value_parser = tpm::PROFILES)]
    profile: String,
    /// Run the tests alone whose name has this in it.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Fetch and build, and run nothing.
    #[arg(long)]
    build: bool,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it should.
    Passed,
    /// It did not: why.
    Failed(String),
    /// It was not made: why.
    Skipped(String),
}

/// A test and what became of it.
pub type Tested = (String, Verdict);

/// What a suite works with.
#[derive(Debug)]
pub struct Bench {
    /// `target/suites`.
    pub root: PathBuf,
    /// Where this run's logs go.
    pub logs: PathBuf,
    /// Starts TPMs.
    pub servers: Servers,
    /// Part of the names of the tests that shall run.
    pub filter: Option<String>,
}

impl Bench {
    /// A suite's folder, made if it is not there.
    pub fn folder(&self, suite: &str) -> Result<PathBuf> {
        let folder = self.root.join(suite);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Whether a test of this name shall run.
    pub fn wants(&self, test: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| test.contains(filter))
    }

    /// Keeps what a test has said.
    pub fn keep_log(&self, test: &str, said: &[u8]) -> Result<()> {
        let name: String =
            test.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        fs::write(self.logs.join(format!("{name}.log")), said).context("cannot write a log")
    }
}

/// A suite: what it is called, what brings it here, what runs it.
struct Suite {
    name: &'static str,
    prepare: fn(&Bench) -> Result<()>,
    run: fn(&Bench) -> Result<Vec<Tested>>,
}

/// The profile that all suites can judge. tpm2-tss' FAPI and tss-esapi refuse a TPM that lists an algorithm they have
/// no word for, as `full` does.
const PROFILE: &str = "classic";

const SUITES: &[Suite] = &[
    Suite { name: "tpm2-tss", prepare: tss::prepare, run: tss::run },
    Suite { name: "tpm2-pytss", prepare: pytss::prepare, run: pytss::run },
    Suite { name: "tss-esapi", prepare: esapi::prepare, run: esapi::run },
    Suite { name: "kernel", prepare: selftests::prepare, run: selftests::run },
    Suite { name: "clients", prepare: clients::prepare, run: clients::run },
    Suite { name: "measured-boot", prepare: measured::prepare, run: measured::run },
];

/// What became of a suite.
enum Report {
    Ran(Vec<Tested>, f64),
    /// It should have run.
    CannotRun(String),
    /// It should not.
    NotWanted(&'static str),
}

impl Report {
    /// A suite that cannot run has failed, and so has one of which no test was made.
    fn failed(&self) -> bool {
        match self {
            Self::Ran(tests, _) => {
                let [passed, failed, _] = count(tests);
                failed > 0 || passed == 0
            }
            Self::CannotRun(_) => true,
            Self::NotWanted(_) => false,
        }
    }
}

/// Runs the suites and prints the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let root = workspace::target_dir()?.join("suites");
    let mut reports = Vec::new();
    for suite in SUITES {
        let report = if args.suite.is_empty() || args.suite.iter().any(|name| name == suite.name) {
            one(suite, args, &root)?
        } else {
            Report::NotWanted("not asked for")
        };
        reports.push((suite.name, if args.server == Kind::Quoin { args.profile.as_str() } else { "" }, report));
    }
    println!("{}", table(&reports, args.server));
    let failed = reports.iter().any(|(_, _, report)| report.failed());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn one(suite: &Suite, args: &Args, root: &Path) -> Result<Report> {
    let logs = root.join("logs").join(args.server.name()).join(suite.name);
    fs::create_dir_all(&logs)?;
    println!("== {}", suite.name);
    let servers = Servers::prepare(args.server, &args.profile)?;
    let bench = Bench { root: root.to_path_buf(), logs, servers, filter: args.filter.clone() };
    if let Err(error) = (suite.prepare)(&bench) {
        return Ok(Report::CannotRun(format!("{error:#}")));
    }
    if args.build {
        return Ok(Report::NotWanted("built"));
    }
    let started = Instant::now();
    Ok(match (suite.run)(&bench) {
        Ok(tests) if tests.is_empty() => Report::CannotRun("no test ran".into()),
        Ok(tests) => Report::Ran(tests, started.elapsed().as_secs_f64()),
        Err(error) => Report::CannotRun(format!("{error:#}")),
    })
}

/// Passed, failed, skipped.
fn count(tests: &[Tested]) -> [usize; 3] {
    let number = |is: fn(&Verdict) -> bool| tests.iter().filter(|(_, verdict)| is(verdict)).count();
    [
        number(|verdict| matches!(verdict, Verdict::Passed)),
        number(|verdict| matches!(verdict, Verdict::Failed(_))),
        number(|verdict| matches!(verdict, Verdict::Skipped(_))),
    ]
}

/// A line for each suite; below it the failed and the skipped tests with their reasons.
fn table(reports: &[(&str, &str, Report)], server: Kind) -> String {
    let mut lines =
        vec![format!("{:<12} {:>7} {:>7} {:>8}   against {}", "suite", "passed", "failed", "skipped", server.name())];
    let mut details = Vec::new();
    for (name, profile, report) in reports {
        match report {
            Report::CannotRun(reason) => lines.push(format!("{name:<12} FAILED, not run: {reason}")),
            Report::NotWanted(reason) => lines.push(format!("{name:<12} not run: {reason}")),
            Report::Ran(tests, seconds) => {
                let [passed, failed, skipped] = count(tests);
                lines.push(format!("{name:<12} {passed:>7} {failed:>7} {skipped:>8}   {seconds:.0} s {profile}"));
                details.extend(tests.iter().filter_map(|(test, verdict)| detail(name, test, verdict)));
            }
        }
    }
    lines.push(String::new());
    lines.extend(details);
    lines.join("\n")
}

fn detail(suite: &str, test: &str, verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Passed => None,
        Verdict::Failed(reason) => Some(format!("FAIL {suite} {test}: {reason}")),
        Verdict::Skipped(reason) => Some(format!("skip {suite} {test}: {reason}")),
    }
}

/// Prints what became of a test, as it is known, and gives it.
pub(crate) fn tested(name: &str, verdict: Verdict) -> Tested {
    match &verdict {
        Verdict::Passed => println!("ok   {name}"),
        Verdict::Failed(reason) => println!("FAIL {name}: {reason}"),
        Verdict::Skipped(reason) => println!("skip {name}: {reason}"),
    }
    (name.to_owned(), verdict)
}

#[cfg(test)]
mod tests {
    use super::servers::Kind;
    use super::{Report, Verdict, table};

    #[test]
    fn the_table_counts_and_gives_reasons() {
        let tests = vec![
            ("a".to_owned(), Verdict::Passed),
            ("b".to_owned(), Verdict::Failed("0x101".into())),
            ("c".to_owned(), Verdict::Skipped("no ACT".into())),
        ];
        let text = table(
            &[
                ("one", "full", Report::Ran(tests, 1.0)),
                ("two", "full", Report::CannotRun("no compiler".into())),
                ("three", "full", Report::NotWanted("not asked for")),
            ],
            Kind::Quoin,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "one                1       1        1   1 s full");
        assert_eq!(lines[2], "two          FAILED, not run: no compiler");
        assert_eq!(lines[3], "three        not run: not asked for");
        assert_eq!(lines[5..], ["FAIL one b: 0x101", "skip one c: no ACT"]);
    }

    #[test]
    fn a_suite_that_has_run_nothing_has_failed() {
        let of = |verdicts: &[Verdict]| {
            Report::Ran(verdicts.iter().map(|verdict| ("a".to_owned(), verdict.clone())).collect(), 1.0)
        };
        let (failed, skipped) = (Verdict::Failed("0x101".into()), Verdict::Skipped("no ACT".into()));
        for wrong in [of(&[]), of(core::slice::from_ref(&skipped)), of(&[Verdict::Passed, failed])] {
            assert!(wrong.failed());
        }
        assert!(Report::CannotRun("no compiler".into()).failed());
        assert!(!of(&[Verdict::Passed, skipped]).failed() && !Report::NotWanted("built").failed());
    }
}
