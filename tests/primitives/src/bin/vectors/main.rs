//! `vectors CRYPTOGRAPHY OPENSSL MBEDTLS`: published vectors, run through the engine's own primitives.
//!
//! CRYPTOGRAPHY is the folder of the Python package `cryptography_vectors` (NIST's response files of CAVP, and those of
//! RFCs), OPENSSL and MBEDTLS the folders of test data in the sources of OpenSSL and Mbed TLS, which have CAVP's DRBG
//! vectors. Every file of the package must be named by a row of [`table::ROWS`], which runs it or says why not; every
//! case is run or skipped with a reason.
//!
//! | module | is |
//! |---|---|
//! | [`table`] | which file is run how, or skipped why |
//! | [`records`] | the forms of files |
//! | [`hashes`], [`ciphers`], [`derivations`], [`drbg`], [`rsa`], [`ecc`], [`ml`] | the runs |

mod ciphers;
mod derivations;
mod drbg;
mod ecc;
mod hashes;
mod ml;
mod records;
mod rsa;
mod table;

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};
use table::Fate;

/// What became of a case: right or wrong, or why it was skipped.
type Outcome = core::result::Result<bool, &'static str>;

/// A file of vectors.
struct File {
    /// below its package's folder
    path: String,
    text: String,
}

/// A lower bound of the cases that run: fewer mean that a form was misread.
const AT_LEAST: usize = 18_600;

#[derive(Default)]
struct Totals {
    run: usize,
    failed: usize,
    skipped: BTreeMap<&'static str, usize>,
    /// files that no row names, and files that gave no case
    unexplained: Vec<String>,
}

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let folders: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [cryptography, openssl, mbedtls] = folders.as_slice() else {
        anyhow::bail!("vectors CRYPTOGRAPHY OPENSSL MBEDTLS")
    };
    let mut totals = Totals::default();
    println!("{:<72} {:>6} {:>6}  skipped", "file", "run", "failed");
    package(cryptography, &mut totals)?;
    for (folder, files) in [(openssl, table::OPENSSL), (mbedtls, table::MBEDTLS)] {
        for (name, run) in files {
            let path = (*name).to_owned();
            let text = fs::read_to_string(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
            totals.file(&path, &run(&File { path: path.clone(), text })?);
        }
    }
    println!("{:<72} {:>6} {:>6}", "total", totals.run, totals.failed);
    totals.skipped.iter().for_each(|(reason, cases)| println!("  skipped {cases:>6}: {reason}"));
    totals.unexplained.iter().for_each(|file| println!("unexplained: {file}"));
    ensure!(totals.run >= AT_LEAST, "only {} cases ran", totals.run);
    println!("{}", totals.figure());
    Ok(if totals.failed == 0 && totals.unexplained.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs every file below `folder`, or skips it, as the table says.
fn package(folder: &Path, totals: &mut Totals) -> Result<()> {
    let mut paths = Vec::new();
    files(folder, folder, &mut paths)?;
    paths.sort();
    let mut used = vec![0_usize; table::ROWS.len()];
    for path in paths {
        let Some(row) = table::ROWS.iter().position(|(pattern, _)| table::matches(pattern, &path)) else {
            totals.unexplained.push(format!("no row of the table names {path}"));
            continue;
        };
        used[row] += 1;
        if let Fate::Run(run) = table::ROWS[row].1 {
            let text = fs::read(folder.join(&path))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let outcomes = run(&File { path: path.clone(), text }).with_context(|| path.clone())?;
            totals.file(&path, &outcomes);
        }
    }
    for ((pattern, fate), files) in table::ROWS.iter().zip(used) {
        match fate {
            _ if files == 0 => totals.unexplained.push(format!("no file is named by the row {pattern}")),
            Fate::Skip(reason) => println!("{pattern:<72} {:>6} {:>6}  {files} files: {reason}", "-", "-"),
            Fate::Run(_) => {}
        }
    }
    Ok(())
}

fn files(root: &Path, folder: &Path, paths: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files(root, &path, paths)?;
        } else {
            paths.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

impl Totals {
    /// What docs/figures.md says, in a line.
    fn figure(&self) -> String {
        let skipped: usize = self.skipped.values().sum();
        let Self { run, failed, unexplained, .. } = self;
        let unexplained = unexplained.len();
        format!("{run} cases, {failed} fail; {skipped} are skipped with a reason; {unexplained} files without one")
    }

    fn file(&mut self, path: &str, outcomes: &[Outcome]) {
        let mut skipped: BTreeMap<&'static str, usize> = BTreeMap::new();
        outcomes.iter().filter_map(|outcome| outcome.err()).for_each(|reason| *skipped.entry(reason).or_default() += 1);
        let run = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let failed: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i] == Ok(false)).collect();
        let reasons: Vec<String> = skipped.iter().map(|(reason, cases)| format!("{cases}: {reason}")).collect();
        println!("{path:<72} {run:>6} {:>6}  {}", failed.len(), reasons.join("; "));
        failed.iter().for_each(|case| println!("  FAILED: case {case}"));
        self.run += run;
        self.failed += failed.len();
        skipped.into_iter().for_each(|(reason, cases)| *self.skipped.entry(reason).or_default() += cases);
        if outcomes.is_empty() {
            self.unexplained.push(format!("{path} has no case"));
        }
    }
}
