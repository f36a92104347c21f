//! What others wrote to judge a TPM from outside, run against a server.
//!
//! Suites are fetched by the clients of package registries, built and kept below `target/suites`; nothing of theirs is
//! in this repository.
//!
//! | module | is |
//! |---|---|
//! | [`servers`] | the TPM that is judged: ours, or Debian's swtpm to judge the harness by |
//! | [`tss`] | tpm2-tss' integration tests |
//! | [`pytss`] | tpm2-pytss' tests |
//! | [`esapi`] | the tests of the crate tss-esapi |
//! | [`selftests`] | the Linux kernel's |
//! | [`measured`] | a boot of QEMU that measures into the TPM |
//! | [`certificates`] | OpenSSL, tpm2-tools and FAPI with a TPM that was provisioned |
//! | [`mod@keylime`] | keylime's library with such a TPM |
//! | [`libvirt`] | libvirt's domains, with such TPMs |
//! | [`tokens`] | a CA whose key is in SoftHSM's token |
//! | [`clients`] | round trips of tpm2-pkcs11, tpm2-openssl and clevis |

#![forbid(unsafe_code)]

pub mod certificates;
pub mod clients;
pub mod esapi;
pub mod keylime;
pub mod libvirt;
pub mod measured;
pub mod pytss;
pub mod selftests;
pub mod servers;
pub mod tokens;
pub mod tss;

use anyhow::{Context, Result};
use core::time::Duration;
use fs_err as fs;
use host::fetch::within;
use host::pages::{self, Block};
use host::workspace;
use servers::{Server, Servers};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What shall run, and against which TPM.
#[derive(Debug, Clone)]
pub struct Request {
    /// The names of the suites; all, if there are none.
    pub suites: Vec<String>,
    /// The TPM that is judged.
    pub servers: Servers,
    /// Run the tests alone whose name has this in it.
    pub filter: Option<String>,
    /// Fetch and build, and run nothing.
    pub build: bool,
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

    /// Runs a script, keeps what it says, and judges it by its exit status; a failed one is told by its last lines.
    fn judge_script(&self, name: &str, script: &mut Command, timeout: Duration) -> Result<Verdict> {
        let Some(output) = within(script, timeout)? else {
            return Ok(Verdict::Failed(format!("not done in {} s", timeout.as_secs())));
        };
        self.keep_log(name, &output.stdout)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let last = || said.lines().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" | ");
        Ok(if output.status.success() { Verdict::Passed } else { Verdict::Failed(last()) })
    }

    /// Keeps what a test has said.
    pub fn keep_log(&self, test: &str, said: &[u8]) -> Result<()> {
        fs::write(self.log(test, "log"), said).context("cannot write a log")
    }

    /// Keeps what was said to a test's TPM, if that is ours.
    fn keep_trace(&self, test: &str, server: &Server) -> Result<()> {
        match fs::copy(server.trace(), self.trace(test)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            kept => kept.map(drop).context("cannot keep a trace"),
        }
    }

    /// Where what was said to a test's TPM is kept, as `quoin-tpm --trace` writes it.
    pub fn trace(&self, test: &str) -> PathBuf {
        self.log(test, "trace")
    }

    fn log(&self, test: &str, ending: &str) -> PathBuf {
        let name: String =
            test.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        self.logs.join(format!("{name}.{ending}"))
    }
}

/// A suite: what it is called, and in docs/conformance.md; what fetches and builds it, what runs it.
struct Suite {
    name: &'static str,
    title: &'static str,
    prepare: fn(&Bench) -> Result<()>,
    run: fn(&Bench) -> Result<Vec<Tested>>,
}

/// The profile of our TPM that all suites can judge. tpm2-tss' FAPI and tss-esapi refuse a TPM that lists an algorithm
/// they have no word for, as `full` does.
pub const PROFILE: &str = "classic";

const SUITES: &[Suite] = &[
    Suite { name: "tpm2-tss", title: "tpm2-tss, integration (Debian trixie)", prepare: tss::prepare, run: tss::run },
    Suite { name: "tpm2-pytss", title: "tpm2-pytss 3.0.0", prepare: pytss::prepare, run: pytss::run },
    Suite { name: "tss-esapi", title: "tss-esapi 7.6.0", prepare: esapi::prepare, run: esapi::run },
    Suite {
        name: "kernel",
        title: "kernel, tpm2 selftests (linux-source-6.1)",
        prepare: selftests::prepare,
        run: selftests::run,
    },
    Suite {
        name: "clients",
        title: "clevis, tpm2-openssl, tpm2-pkcs11: round trips",
        prepare: clients::prepare,
        run: clients::run,
    },
    Suite {
        name: "certificates",
        title: "certificates: OpenSSL, tpm2-tools, FAPI",
        prepare: certificates::prepare,
        run: certificates::run,
    },
    Suite {
        name: "pkcs11",
        title: "a CA's key in SoftHSM's token, by PKCS #11 URI",
        prepare: tokens::prepare,
        run: tokens::run,
    },
    Suite {
        name: "keylime",
        title: "keylime 7.14.3: certificates, challenge, quote",
        prepare: keylime::prepare,
        run: keylime::run,
    },
    Suite {
        name: "libvirt",
        title: "libvirt 9: TPMs of domains, backends external and emulator",
        prepare: libvirt::prepare,
        run: libvirt::run,
    },
    Suite {
        name: "measured-boot",
        title: "OVMF and Debian's kernel on QEMU's `-tpmdev emulator`, IMA, event log",
        prepare: measured::prepare,
        run: measured::run,
    },
];

/// The names of all suites.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|suite| suite.name)
}

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

/// Runs the suites and prints the table; whether nothing failed.
pub fn run(request: &Request) -> Result<bool> {
    let mut reports = Vec::new();
    for suite in SUITES {
        let report = if request.suites.is_empty() || request.suites.iter().any(|name| name == suite.name) {
            one(suite, request)?
        } else {
            Report::NotWanted("not asked for")
        };
        reports.push((suite.name, request.servers.profile(), report));
    }
    println!("{}", table(&reports, request.servers.name()));
    if let Some((block, text)) = block(request, &reports) {
        pages::keep(block, &text)?;
        println!("docs/conformance.md: `cargo xtask figures` writes this table");
    }
    Ok(!reports.iter().any(|(_, _, report)| report.failed()))
}

/// Where the suite of this name works.
fn bench(name: &str, servers: Servers, filter: Option<String>) -> Result<Bench> {
    let root = workspace::target_dir()?.join("suites");
    let logs = root.join("logs").join(servers.name()).join(name);
    fs::create_dir_all(&logs)?;
    Ok(Bench { root, logs, servers, filter })
}

/// Runs the tests of one suite whose name has `filter` in it, and says where it has worked.
pub fn alone(name: &str, servers: Servers, filter: &str) -> Result<(Vec<Tested>, Bench)> {
    let suite = SUITES.iter().find(|suite| suite.name == name).with_context(|| format!("no suite is called {name}"))?;
    let bench = bench(name, servers, Some(filter.to_owned()))?;
    (suite.prepare)(&bench)?;
    Ok(((suite.run)(&bench)?, bench))
}

/// Where FAPI lies that [`certificates`] has built, and its profiles; built if it is not there.
pub fn fapi(servers: Servers) -> Result<[PathBuf; 2]> {
    let bench = bench("certificates", servers, None)?;
    certificates::prepare(&bench)?;
    certificates::fapi(&bench)
}

/// The Python with keylime's library, and what asks it; fetched if it is not there.
pub fn keylime(servers: Servers) -> Result<String> {
    let bench = bench("keylime", servers, None)?;
    keylime::prepare(&bench)?;
    keylime::function(&bench)
}

fn one(suite: &Suite, request: &Request) -> Result<Report> {
    println!("== {}", suite.name);
    let Request { servers, filter, build, .. } = request.clone();
    let bench = bench(suite.name, servers, filter)?;
    if let Err(error) = (suite.prepare)(&bench) {
        return Ok(Report::CannotRun(format!("{error:#}")));
    }
    if build {
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
fn table(reports: &[(&str, &str, Report)], server: &str) -> String {
    let mut lines =
        vec![format!("{:<12} {:>7} {:>7} {:>8}   against {}", "suite", "passed", "failed", "skipped", server)];
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

/// The table of docs/conformance.md, if this was a run of all tests: with no filter, and with the profile of that page.
fn block(request: &Request, reports: &[(&str, &str, Report)]) -> Option<(Block, String)> {
    let block = match request.servers.profile() {
        "" => Block::ConformanceSwtpm,
        PROFILE => Block::Conformance,
        _ => return None,
    };
    if request.filter.is_some() || reports.len() != SUITES.len() {
        return None;
    }
    let rows = SUITES.iter().zip(reports).map(|(suite, (_, _, report))| match report {
        Report::Ran(tests, _) => {
            let [passed, failed, skipped] = count(tests).map(|number| number.to_string());
            Some([suite.title.to_owned(), passed, failed, skipped])
        }
        Report::CannotRun(_) | Report::NotWanted(_) => None,
    });
    let rows: Vec<_> = rows.collect::<Option<_>>()?;
    Some((block, pages::table(["suite", "passed", "failed", "skipped"], rows)))
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
    use super::servers::Servers;
    use super::{PROFILE, Report, Request, SUITES, Verdict, block, table};
    use host::pages::Block;

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
            "quoin",
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "one                1       1        1   1 s full");
        assert_eq!(lines[2], "two          FAILED, not run: no compiler");
        assert_eq!(lines[3], "three        not run: not asked for");
        assert_eq!(lines[5..], ["FAIL one b: 0x101", "skip one c: no ACT"]);
    }

    #[test]
    fn a_complete_run_has_a_table_for_the_page_and_no_other_has() {
        let request = |profile: &str, filter: Option<&str>| Request {
            suites: Vec::new(),
            servers: Servers::quoin("quoin-tpm".into(), profile),
            filter: filter.map(String::from),
            build: false,
        };
        let ran = || Report::Ran(vec![("a".to_owned(), Verdict::Passed), ("b".to_owned(), Verdict::Passed)], 1.0);
        let mut reports: Vec<_> = SUITES.iter().map(|suite| (suite.name, PROFILE, ran())).collect();
        let (found, text) = block(&request(PROFILE, None), &reports).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((found, lines.len()), (Block::Conformance, 2 + SUITES.len()));
        assert_eq!(lines[3], "| tpm2-pytss 3.0.0 | 2 | 0 | 0 |");
        assert!(block(&request("full", None), &reports).is_none(), "another profile");
        assert!(block(&request(PROFILE, Some("a")), &reports).is_none(), "some tests");
        for missing in [Report::NotWanted("not asked for"), Report::CannotRun("no compiler".into())] {
            reports[1].2 = missing;
            assert!(block(&request(PROFILE, None), &reports).is_none(), "some suites");
        }
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
