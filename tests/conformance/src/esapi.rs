//! The tests of the Rust crate tss-esapi, on one TPM, one after another.

use super::{Bench, Tested, Verdict, tested, tss};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::fetch::{must, within};
use host::workspace;
use std::path::PathBuf;
use std::process::Command;

/// Crate and version.
const CRATE: (&str, &str) = ("tss-esapi", "7.6.0");
/// How long all tests may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

fn source_folder(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("tss-esapi")?.join("src"))
}

/// Cargo in the crate's own source, a workspace of its own.
fn cargo(bench: &Bench, arguments: &[&str]) -> Result<Command> {
    let mut cargo = Command::new("nice");
    cargo.arg(workspace::cargo()).args(arguments).current_dir(source_folder(bench)?);
    cargo.env("CARGO_TARGET_DIR", bench.folder("tss-esapi")?.join("target")).env("CARGO_BUILD_JOBS", "2");
    tss::with_prefix(bench, &mut cargo);
    Ok(cargo)
}

/// Fetches it with cargo, and builds its tests on the tpm2-tss of the suite of that name.
pub fn prepare(bench: &Bench) -> Result<()> {
    tss::prepare(bench).context("tpm2-tss, which it needs")?;
    let folder = bench.folder("tss-esapi")?;
    if folder.join("complete").exists() {
        return Ok(());
    }
    let source = source_folder(bench)?;
    if !source.exists() {
        let unpacked = fetch(bench)?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(unpacked).arg(&source);
        must(&mut copy, &folder.join("copy.log"))?;
        let manifest = source.join("Cargo.toml");
        let text = fs::read_to_string(&manifest)?;
        fs::write(manifest, format!("{text}\n[workspace]\n"))?;
    }
    must(&mut cargo(bench, &["test", "--no-run"])?, &folder.join("build.log"))?;
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Where cargo unpacks the crate: it is asked for by a package that needs it.
fn fetch(bench: &Bench) -> Result<PathBuf> {
    let folder = bench.folder("tss-esapi/fetch")?;
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    let (name, version) = CRATE;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\n{name} = \"={version}\"\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let mut metadata = Command::new(workspace::cargo());
    metadata.current_dir(&folder).args(["metadata", "--format-version", "1"]);
    let output = metadata.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo does not fetch {name}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let end = format!("/{name}-{version}/Cargo.toml\"");
    let before = text.split(&end).next().filter(|before| before.len() < text.len()).context("cargo tells no folder")?;
    let start = before.rsplit('"').next().context("cargo tells no folder")?;
    Ok(PathBuf::from(format!("{start}/{name}-{version}")))
}

/// Runs all tests.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let server = bench.servers.start()?;
    server.startup()?;
    let mut command = cargo(bench, &["test", "--no-fail-fast", "--"])?;
    // What the libraries log would come into the lines of the tests.
    command
        .args(&bench.filter)
        .arg("--test-threads=1")
        .env("TEST_TCTI", server.tcti())
        .env("TSS2_LOG", "all+NONE")
        .env("RUST_LOG", "off");
    let output = within(&mut command, TIMEOUT)?.context("the tests did not end in time")?;
    bench.keep_log("cargo-test", &output.stdout)?;
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines `test NAME ... ok`; what a failed one said of its panic is its reason.
fn parse(said: &str) -> Vec<Tested> {
    let mut results = Vec::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("test ")) {
        let Some((name, outcome)) = line.rsplit_once(" ... ") else { continue };
        let verdict = match outcome {
            "ok" => Verdict::Passed,
            "FAILED" => Verdict::Failed(panic_of(said, name)),
            ignored if ignored.starts_with("ignored") => Verdict::Skipped("its authors ignore it".into()),
            _ => continue,
        };
        results.push(tested(name, verdict));
    }
    results
}

/// The line after `thread 'NAME' … panicked at …`.
fn panic_of(said: &str, name: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains(&format!("---- {name} stdout ----")));
    let reason = lines.find(|line| line.contains("panicked at")).and_then(|_| lines.next());
    reason.unwrap_or("no panic was seen").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::Verdict;

    #[test]
    fn each_line_of_a_test_counts() {
        let said = "running 3 tests\ntest a::b ... ok\ntest c ... FAILED\ntest src/lib.rs - d (line 3) ... ignored\n\n\
            ---- c stdout ----\n\nthread 'c' panicked at tests/x.rs:1:2:\nno: 0x101\n";
        let verdicts: Vec<Verdict> = parse(said).into_iter().map(|(_, verdict)| verdict).collect();
        let ignored = Verdict::Skipped("its authors ignore it".into());
        assert_eq!(verdicts, [Verdict::Passed, Verdict::Failed("no: 0x101".into()), ignored]);
    }
}
