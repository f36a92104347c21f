//! `cargo xtask bench --before COMMIT`: the engine of this tree beside that of an older commit, by turns.
//!
//! Both programs are copied to paths of equal length: what the kernel puts above the stack moves it, and where it lies
//! is worth 5 % of some commands.

use super::{BUILDS, Build, Row, program};
use anyhow::{Context, Result, ensure};
use host::figures::{self, Figure};
use host::progress::Progress;
use host::workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How much more than before a command may cost.
const LIMIT: f64 = 1.05;
/// How often each program measures each command: the median counts.
const TURNS: usize = 5;

/// A program of each commit, and what they gave.
struct Pair {
    label: &'static str,
    before: PathBuf,
    now: PathBuf,
}

/// A command's times before and now, in microseconds.
struct Compared {
    name: String,
    before: f64,
    now: f64,
}

impl Compared {
    fn factor(&self) -> f64 {
        self.now / self.before
    }

    fn is_slower(&self) -> bool {
        self.factor() > LIMIT
    }
}

/// Measures both, and fails if a command is slower by more than 5 %.
pub(super) fn run(commit: &str, seconds: f64, filter: &str) -> Result<ExitCode> {
    let pairs = BUILDS.iter().map(|build| pair(build, commit)).collect::<Result<Vec<_>>>()?;
    let (mut slower, mut sentences) = (false, Vec::new());
    for pair in &pairs {
        let rows = compare(pair, seconds, filter)?;
        ensure!(!rows.is_empty(), "no command has `{filter}` in its name: nothing was measured");
        println!("{:<28}  {:>12}  {:>12}  {:>6}", format!("{} build", pair.label), commit, "now", "factor");
        for row in &rows {
            let mark = if row.is_slower() { " <" } else { "" };
            println!("{:<28}  {:>12.3}  {:>12.3}  {:>6.2}{mark}", row.name, row.before, row.now, row.factor());
        }
        slower |= rows.iter().any(Compared::is_slower);
        let sentence = sentence(&rows);
        println!("{sentence}\n");
        sentences.push(format!("{} build: {sentence}", pair.label));
    }
    println!("Microseconds of processor time, medians of {TURNS} turns; key searches are left to chance, and out.");
    if filter.is_empty() {
        figures::keep(Figure::Before, &format!("beside {commit}, {}", sentences.join(" ")));
    }
    Ok(if slower { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn pair(build: &'static Build, commit: &str) -> Result<Pair> {
    let folder = workspace::target_dir()?.join("before");
    fs::create_dir_all(&folder)?;
    let of = |name: &str, program: &Path| -> Result<PathBuf> {
        let copy = folder.join(format!("{}-{name}", build.label));
        fs::copy(program, &copy).with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(copy)
    };
    Ok(Pair {
        label: build.label,
        before: of("old", &program(build, &tree(&folder, commit)?)?)?,
        now: of("now", &program(build, &workspace::root()?)?)?,
    })
}

/// The files of the commit, in a folder.
fn tree(folder: &Path, commit: &str) -> Result<PathBuf> {
    let tree = folder.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    let archive = folder.join("tree.tar");
    let mut git = Command::new("git");
    git.current_dir(workspace::root()?).args(["archive", "--output"]).arg(&archive).arg(commit).arg("--");
    ensure!(git.status().context("cannot start git")?.success(), "`{commit}` is no commit of this repository");
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&tree);
    ensure!(tar.status().context("cannot start tar")?.success(), "the files of `{commit}` cannot be unpacked");
    Ok(tree)
}

fn compare(pair: &Pair, seconds: f64, filter: &str) -> Result<Vec<Compared>> {
    let mut progress = Progress::start(pair.label);
    let names = names(&pair.now, filter)?;
    let mut rows = Vec::new();
    for name in &names {
        progress.update(name);
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            before.extend(time(&pair.before, seconds, name)?);
            now.extend(time(&pair.now, seconds, name)?);
        }
        // What the older one does not know is not compared.
        if let (Some(before), Some(now)) = (median(before), median(now)) {
            rows.push(Compared { name: name.clone(), before, now });
        }
    }
    progress.done(&format!("{} of {} commands measured by both", rows.len(), names.len()));
    Ok(rows)
}

/// What is measured, but for searches, and for the floor, which is no command: at ten nanoseconds one is a tenth.
fn names(program: &Path, filter: &str) -> Result<Vec<String>> {
    let output = Command::new(program).arg("names").output().context("cannot start the benchmark")?;
    let text = String::from_utf8(output.stdout)?;
    let ordinary = text.lines().filter_map(|line| line.split_once('\t')).filter(|(_, kind)| *kind != "search");
    let names = ordinary.map(|(name, _)| name.to_owned()).filter(|name| !name.starts_with("floor "));
    Ok(names.filter(|name| name.to_lowercase().contains(&filter.to_lowercase())).collect())
}

/// One turn. `None`: the program has no such command.
fn time(program: &Path, seconds: f64, name: &str) -> Result<Option<f64>> {
    let output = Command::new(program).arg(seconds.to_string()).arg(name).output()?;
    ensure!(output.status.success(), "the benchmark failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(Row::parse).find(|row| row.name == name).map(|row| row.ours[0]))
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

fn sentence(rows: &[Compared]) -> String {
    let worst = rows.iter().max_by(|a, b| a.factor().total_cmp(&b.factor()));
    let worst = worst.map_or_else(String::new, |row| format!("{} ({:.2})", row.name, row.factor()));
    let slower = rows.iter().filter(|row| row.is_slower()).count();
    format!("Of {} commands, {slower} cost more than {LIMIT} times what they did; the greatest is {worst}.", rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(before: f64, now: f64) -> Compared {
        Compared { name: "NV_Read".into(), before, now }
    }

    #[test]
    fn five_percent_more_is_allowed_and_no_more() {
        assert!(!row(1.0, 1.05).is_slower());
        assert!(row(1.0, 1.051).is_slower());
        assert_eq!(
            sentence(&[row(1.0, 0.9), row(1.0, 1.2)]),
            "Of 2 commands, 1 cost more than 1.05 times what they did; the greatest is NV_Read (1.20)."
        );
    }

    #[test]
    fn the_median_is_of_what_was_measured() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
