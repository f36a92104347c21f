//! The tests that cargo knows.

use super::Totals;
use anyhow::{Context, Result, ensure};
use host::workspace;
use std::process::{Command, Stdio};

/// Packages with a library that the host compiles: their tests run here, and their sources are checked by `cargo xtask
/// ci`. Not the default members alone: the firmware's library is among them, too.
pub const LIBRARIES: &[&str] = &[
    "anchor",
    "cpufeatures@0.3.1",
    "tpm-core",
    "tpm-codes",
    "tpm-crb",
    "tpm-crypto",
    "tpm-mldsa",
    "tpm-wire",
    "tpm-ports",
    "quoin-capi",
    "quoin-tpm",
    "snp",
    "quoin-authority",
    "quoin-verify",
    "kernel",
    "authority",
    "keeper",
    "relay",
    "quoin-relay",
    "virtio",
    "quoin-anchor",
    "quoin-image",
    "quoin-state",
    "sealed",
    "migration",
    "moves",
    "simulate",
    "host",
    "booted",
    "client",
    "clients",
    "needs",
    "conformance",
    "embedders",
    "xtask",
    "quoin-tests",
];

/// Unit tests, properties, documentation examples; and those of the programs that judge engine and firmware.
pub fn host() -> Result<Totals> {
    let packages =
        LIBRARIES.iter().chain(&["anchor-simulation", "proofs", "model"]).flat_map(|package| ["--package", package]);
    // Its programs and the rest of its tests want other TPMs beside ours.
    let peer = test(["--package", "peer", "--lib"])?;
    let ours = test(packages)?;
    Ok(Totals { passed: ours.passed + peer.passed, failed: ours.failed + peer.failed })
}

/// The suites of `tests/` that boot the machine: targets with `required-features = ["qemu"]`. One at a time, since each
/// wants a CPU of its own.
pub fn qemu() -> Result<Totals> {
    test(["--package", "quoin-tests", "--features", "qemu", "--test", "*", "--", "--test-threads=1"])
}

/// What `cargo test -p quoin-anchor` does with the program, with databases in the etcd at this URL; and what only etcd
/// brings.
pub(crate) fn anchors_in_etcd(url: &str) -> Result<Totals> {
    test_with(&[("QUOIN_ANCHOR_ETCD", url)], ["--package", "quoin-anchor", "--test", "etcd"])
}

fn test<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Totals> {
    test_with(&[], arguments)
}

fn test_with<'a>(environment: &[(&str, &str)], arguments: impl IntoIterator<Item = &'a str>) -> Result<Totals> {
    let child = Command::new(workspace::cargo())
        .current_dir(workspace::root()?)
        .envs(environment.iter().copied())
        .args(["test", "--locked", "--no-fail-fast"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let totals = totals(&text);
    if !output.status.success() {
        println!("{text}");
        ensure!(totals.failed > 0, "cargo test ended with {} and named no failed test", output.status);
    }
    ensure!(totals != Totals::default(), "cargo test ran no test");
    Ok(totals)
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`; an ignored test has not passed.
fn totals(text: &str) -> Totals {
    let mut totals = Totals::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        for part in line.split([';', '.']) {
            let mut words = part.split_whitespace();
            let Some(Ok(count)) = words.next().map(str::parse::<u32>) else {
                continue;
            };
            match words.next() {
                Some("passed") => totals.passed += count,
                Some("failed" | "ignored") => totals.failed += count,
                _ => {}
            }
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::{Totals, totals};

    #[test]
    fn results_of_all_targets_are_added_and_ignored_tests_have_not_passed() {
        let text = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s\n\
            test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";
        assert_eq!(totals(text), Totals { passed: 7, failed: 3 });
    }

    #[test]
    fn other_lines_do_not_count() {
        assert_eq!(totals("test a ... ok\n7 passed; 3 failed\n"), Totals::default());
    }
}
