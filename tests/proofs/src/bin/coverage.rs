//! `coverage ROOT PROFILES MISSING PROGRAM…`: how many lines of the engine the tests run, a folder a line, and all.
//!
//! PROFILES is the folder with what the instrumented PROGRAMs have written. A line counts if code begins on it, or goes
//! on over it, that the compiler has a counter for; it is covered if any of that was run. Tests within the sources are
//! no part of the engine.

use anyhow::{Context, Result, bail, ensure};
use llvm_profparser::{CoverageMapping, merge_profiles};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// Percent of the lines.
const WANTED: f64 = 95.0;

/// Lines of a file → whether they were run.
type Lines = BTreeMap<usize, bool>;

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(profiles), Some(missing)) = (arguments.next(), arguments.next(), arguments.next()) else {
        bail!("usage: coverage ROOT PROFILES MISSING PROGRAM…")
    };
    let sources = root.join("tpm-core");
    let files = measure(&sources, &profiles, &arguments.collect::<Vec<_>>())?;
    if missing == Path::new("true") {
        files.iter().for_each(|(file, lines)| print_missing(&sources, file, lines));
    }
    let mut folders: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for (file, lines) in &files {
        let count = folders.entry(folder(file)).or_default();
        *count = [count[0] + lines.values().filter(|run| **run).count(), count[1] + lines.len()];
    }
    let all = folders.values().fold([0, 0], |all, count| [all[0] + count[0], all[1] + count[1]]);
    println!("{:<14} {:>7} {:>7} {:>7}", "folder", "lines", "run", "%");
    for (name, [run, lines]) in folders.iter().map(|(name, count)| (name.as_str(), *count)).chain([("tpm-core", all)]) {
        println!("{name:<14} {lines:>7} {run:>7} {:>7.1}", percent(run, lines));
    }
    let enough = percent(all[0], all[1]) >= WANTED;
    if !enough {
        println!("FAIL less than {WANTED} %");
    }
    println!("{:.1} % of {} lines", percent(all[0], all[1]), all[1]);
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::cast_precision_loss, reason = "numbers of lines")]
fn percent(run: usize, lines: usize) -> f64 {
    if lines == 0 { 0.0 } else { 100.0 * run as f64 / lines as f64 }
}

/// The crate that a file is of, for those in folders of tpm-core; else the first folder below `src`, or "." for those
/// beside the crate's root.
fn folder(file: &Path) -> String {
    let mut parts = file.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut next = || parts.next().unwrap_or_default();
    let (first, second) = (next(), next());
    if first != "src" {
        first
    } else if next().is_empty() {
        ".".into()
    } else {
        second
    }
}

fn measure(sources: &Path, profiles: &Path, programs: &[PathBuf]) -> Result<BTreeMap<PathBuf, Lines>> {
    let written = fs::read_dir(profiles)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!written.is_empty(), "no profile was written");
    let profile = merge_profiles(&written)?;
    let report = CoverageMapping::new(programs, &profile, false)?
        .generate_subreport(|paths| paths.iter().any(|path| path.starts_with(sources)))?;
    let mut files = BTreeMap::new();
    for (path, result) in &report.files {
        let Ok(file) = path.strip_prefix(sources) else { continue };
        if file.components().any(|part| ["tests", "examples"].iter().any(|no| part.as_os_str() == *no)) {
            continue;
        }
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let regions: Vec<_> = result
            .hits
            .iter()
            .map(|(at, hits)| ([at.line_start, at.column_start], [at.line_end, at.column_end], *hits > 0))
            .collect();
        files.insert(file.to_path_buf(), lines(&text, &regions));
    }
    ensure!(!files.is_empty(), "no line of {} was found in the programs", sources.display());
    Ok(files)
}

/// First and last line and column, and whether it was run.
type Region = ([usize; 2], [usize; 2], bool);

fn lines(text: &str, regions: &[Region]) -> Lines {
    let mut lines = Lines::new();
    for (line, source) in (1..).zip(text.lines()) {
        if source == "#[cfg(test)]" {
            break;
        }
        let source = source.trim();
        if source.starts_with("//") || source.is_empty() || source.chars().all(|c| "{}()[];,".contains(c)) {
            continue;
        }
        let mut of_line: Vec<_> = regions.iter().filter(|(first, ..)| first[0] == line).collect();
        // The innermost one that goes on over the line: it begins last.
        of_line
            .extend(regions.iter().filter(|(first, last, _)| first[0] < line && last[0] >= line).max_by_key(|at| at.0));
        if !of_line.is_empty() {
            lines.insert(line, of_line.iter().any(|(.., run)| *run));
        }
    }
    lines
}

fn print_missing(sources: &Path, file: &Path, lines: &Lines) {
    let missing: BTreeSet<usize> = lines.iter().filter(|(_, run)| !**run).map(|(line, _)| *line).collect();
    let text = fs::read_to_string(sources.join(file)).unwrap_or_default();
    for (line, source) in (1..).zip(text.lines()).filter(|(line, _)| missing.contains(line)) {
        println!("{}:{line}: {}", file.display(), source.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::{folder, lines};
    use std::path::Path;

    #[test]
    fn the_innermost_code_of_a_line_says_whether_it_was_run() {
        let text = "fn f(x: u8) -> u8 {\n    if x == 0 {\n        return g();\n    }\n    // a comment\n    x\n}\n#[cfg(test)]\nmod tests {}\n";
        let regions =
            [([1, 1], [2, 14], true), ([2, 15], [4, 6], false), ([6, 5], [7, 2], true), ([9, 1], [9, 13], true)];
        assert_eq!(
            lines(text, &regions).into_iter().collect::<Vec<_>>(),
            [(1, true), (2, true), (3, false), (6, true)]
        );
    }

    #[test]
    fn files_beside_the_root_have_no_folder() {
        let folders = ["src/tpm.rs", "src/nv/mod.rs", "crypto/src/rsa/mod.rs"].map(|file| folder(Path::new(file)));
        assert_eq!(folders, [".", "nv", "crypto"]);
    }
}
