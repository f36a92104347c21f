//! tpm2-pytss' tests, each with a fresh TPM.

use super::{Bench, Tested, Verdict, tss};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::fetch::{ensure_packages, find, must};
use std::path::PathBuf;
use std::process::Command;

/// The source distribution.
const REQUIREMENT: &str = "tpm2-pytss==3.0.0";
/// What its tests import beside itself.
const TESTED_WITH: &[&str] = &["pytest", "packaging"];
/// Starts the TPM that is judged where the tests would start one, and tells each test's outcome.
const CONFTEST: &str = include_str!("pytss_conftest.py");

fn tests_folder(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("tpm2-pytss")?.join("src"))
}

fn python(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("tpm2-pytss")?.join("venv/bin/python"))
}

/// Fetches it and builds it on the tpm2-tss of the suite of that name.
pub fn prepare(bench: &Bench) -> Result<()> {
    tss::prepare(bench).context("tpm2-tss, which it needs")?;
    let folder = bench.folder("tpm2-pytss")?;
    if folder.join("complete").exists() {
        return Ok(());
    }
    ensure_packages(&["python3-venv", "python3-dev", "gcc", "pkg-config"])?;
    must(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")), &folder.join("venv.log"))?;
    let pip = |arguments: &[&str], log: &str| -> Result<()> {
        let mut pip = Command::new(python(bench)?);
        pip.current_dir(&folder).args(["-m", "pip", "--disable-pip-version-check"]).args(arguments);
        must(tss::with_prefix(bench, &mut pip), &folder.join(log))
    };
    if find(&folder, "gz").is_err() {
        pip(&["download", "--no-deps", "--no-binary", "tpm2-pytss", REQUIREMENT], "download.log")?;
    }
    let archive = find(&folder, "gz")?;
    let source = tests_folder(bench)?;
    fs::create_dir_all(&source)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&source).arg("--strip-components=1");
    must(&mut tar, &folder.join("unpack.log"))?;
    pip(&[&["install"], TESTED_WITH].concat(), "needs.log")?;
    pip(&["install", &archive.display().to_string()], "install.log")?;
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Runs all tests and reads what became of each.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let (source, results) = (tests_folder(bench)?, bench.logs.join("results"));
    fs::write(source.join("test/conftest.py"), CONFTEST)?;
    let _ = fs::remove_file(&results);
    let mut pytest = Command::new(python(bench)?);
    pytest.current_dir(&source).args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "test"]);
    if let Some(filter) = &bench.filter {
        pytest.args(["-k", filter]);
    }
    pytest.env("SUITES_SERVER", bench.servers.command_line().join("\n")).env("SUITES_RESULTS", &results);
    // Failed tests end it with 1: what became of each is in the results.
    let ended = must(tss::with_prefix(bench, &mut pytest), &bench.logs.join("pytest.log"));
    let tests = parse(&fs::read_to_string(&results).unwrap_or_default());
    ensure!(!tests.is_empty(), "pytest ran no test: {ended:?}");
    Ok(tests)
}

/// Lines of outcome, name and reason.
fn parse(results: &str) -> Vec<Tested> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let (outcome, name) = (fields.next()?, fields.next()?.to_owned());
        let reason = fields.next().unwrap_or_default().to_owned();
        let verdict = match outcome {
            "passed" => Verdict::Passed,
            "skipped" => Verdict::Skipped(reason),
            _ => Verdict::Failed(reason),
        };
        Some(super::tested(&name, verdict))
    };
    results.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::Verdict;

    #[test]
    fn outcomes_are_read_with_their_reasons() {
        let tests = parse("passed\ta\nskipped\tb\tno ACT\nfailed\tc\t0x101\tx\n");
        let wanted = [Verdict::Passed, Verdict::Skipped("no ACT".into()), Verdict::Failed("0x101\tx".into())];
        assert_eq!(tests.into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>(), wanted);
    }
}
