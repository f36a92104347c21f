//! tpm2-tss' integration tests (SAPI, ESAPI, FAPI), each with a fresh TPM, as its authors run them.

use super::{Bench, Tested, Verdict, tested};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::fetch::{Archive, ensure_packages, must, within};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Package and suite of Debian.
const SOURCE: (&str, &str) = ("tpm2-tss/trixie", "trixie");
/// What it is built with.
const NEEDS: &[&str] = &[
    "acl",
    "autoconf",
    "autoconf-archive",
    "automake",
    "dpkg-dev",
    "gcc",
    "iproute2",
    "libcmocka-dev",
    "libcurl4-openssl-dev",
    "libjson-c-dev",
    "libltdl-dev",
    "libssl-dev",
    "libtool",
    "make",
    "pkg-config",
    "procps",
    "uthash-dev",
    "uuid-dev",
    // Its configure wants a simulator to be there, though none runs here.
    "swtpm",
];
/// How long a test may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Where it is installed, for those who build on it.
pub fn prefix(bench: &Bench) -> PathBuf {
    bench.root.join("prefix")
}

/// Makes `command` find our tpm2-tss before the system's.
pub fn with_prefix<'a>(bench: &Bench, command: &'a mut Command) -> &'a mut Command {
    let libraries = prefix(bench).join("lib");
    command.env("PKG_CONFIG_PATH", libraries.join("pkgconfig")).env("LD_LIBRARY_PATH", libraries)
}

fn build_folder(bench: &Bench) -> Result<PathBuf> {
    Ok(bench.folder("tpm2-tss")?.join("build"))
}

/// Fetches what it is built with and its sources, which then have a `configure`; others build it with other options.
pub fn sources(bench: &Bench) -> Result<PathBuf> {
    let folder = bench.folder("tpm2-tss")?;
    ensure_packages(NEEDS)?;
    let archive = Archive::sources(&bench.folder("apt")?, SOURCE.1)?;
    let source = archive.source_package(SOURCE.0, &folder, "src")?;
    if !source.join("configure").exists() {
        must(Command::new("./bootstrap").current_dir(&source), &folder.join("bootstrap.log"))?;
    }
    Ok(source)
}

/// Fetches, builds and installs it, the tests included.
pub fn prepare(bench: &Bench) -> Result<()> {
    let folder = bench.folder("tpm2-tss")?;
    if folder.join("complete").exists() {
        return Ok(());
    }
    let (source, build) = (sources(bench)?, build_folder(bench)?);
    if !build.join("Makefile").exists() {
        fs::create_dir_all(&build)?;
        let mut configure = Command::new(source.join("configure"));
        configure.current_dir(&build).arg(format!("--prefix={}", prefix(bench).display())).args([
            "--enable-integration=yes",
            "--disable-doxygen-doc",
            "--with-udevrulesprefix=no",
        ]);
        must(&mut configure, &folder.join("configure.log"))?;
    }
    for (target, jobs) in [("all", "-j2"), ("check-programs", "-j2"), ("install", "-j1")] {
        let mut make = Command::new("nice");
        make.current_dir(&build).args(["make", jobs, target]);
        must(&mut make, &folder.join(format!("make-{target}.log")))?;
    }
    Ok(fs::write(folder.join("complete"), "")?)
}

/// Runs all tests, one after another.
pub fn run(bench: &Bench) -> Result<Vec<Tested>> {
    let build = build_folder(bench)?;
    let mut results = Vec::new();
    for test in list(&build)? {
        let name = test.rsplit('/').next().unwrap_or(&test).to_owned();
        if bench.wants(&name) {
            let verdict = one(bench, &build, &test, &name)?;
            results.push(tested(&name, verdict));
        }
    }
    Ok(results)
}

/// The paths of the tests, from the makefile itself.
fn list(build: &Path) -> Result<Vec<String>> {
    let mut make = Command::new("make");
    make.current_dir(build).args(["-s", "--eval", "suites-list: ; @echo $(TESTS_INTEGRATION)", "suites-list"]);
    let output = make.output().context("cannot start make")?;
    ensure!(output.status.success(), "the makefile does not tell its tests");
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

/// One test with its own TPM, and the environment that `script/int-log-compiler.sh` and `script/fint-log-compiler.sh`
/// give it.
fn one(bench: &Bench, build: &Path, test: &str, name: &str) -> Result<Verdict> {
    let server = bench.servers.start()?;
    let mut command = Command::new(build.join(test));
    command
        .current_dir(build)
        .env("TPM20TEST_TCTI", server.tcti())
        .env("TCTI_PCAP_FILE", bench.logs.join(format!("{name}.pcap")))
        .env("G_MESSAGES_DEBUG", "all")
        .env("FAPI_TEST_ROOT_CERT", "ca/root-ca/root-ca.cert.pem")
        .env("FAPI_TEST_INT_CERT", "ca/intermed-ca/intermed-ca.cert.pem")
        .env("FAPI_TEST_CERTIFICATE", build.join(format!("{test}_ekcert.pem")))
        .env("FAPI_TEST_CERTIFICATE_ECC", build.join(format!("{test}_ekecccert.pem")));
    let Some(output) = within(&mut command, TEST_TIMEOUT)? else {
        return Ok(Verdict::Failed(format!("not done in {} s", TEST_TIMEOUT.as_secs())));
    };
    bench.keep_log(name, &output.stdout)?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(match output.status.code() {
        Some(0) => Verdict::Passed,
        Some(77) => Verdict::Skipped(reason(&said)),
        code => {
            Verdict::Failed(format!("{}: {}", code.map_or("a signal".into(), |code| code.to_string()), reason(&said)))
        }
    })
}

/// What a test says last of a cause, without what its logging puts before it.
fn reason(said: &str) -> String {
    const WORDS: [&str; 6] = ["not supported", "not implemented", "skip", "ERROR", "error", "WARNING"];
    let line = WORDS.iter().find_map(|word| said.lines().rev().find(|line| line.contains(word)));
    let line = line.or_else(|| said.lines().next_back()).unwrap_or("it says nothing");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_line_that_tells_a_cause() {
        let said = "DEBUG:x: hello\nWARNING:test: Command not supported by TPM.\nERROR:late: a\nDEBUG: end\n";
        assert_eq!(reason(said), "WARNING:test: Command not supported by TPM.");
        assert_eq!(reason("DEBUG a\nERROR:esys: (0x00000143)\n"), "ERROR:esys: (0x00000143)");
        assert_eq!(reason(""), "it says nothing");
    }
}
