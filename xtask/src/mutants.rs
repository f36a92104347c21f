//! `cargo xtask mutants`: which changes of the sources no test notices.
//!
//! cargo-mutants makes the changes and runs the tests after each. Here stands which places are changed, with what they
//! are tested, and what becomes of the changes that survive.

use crate::tools::Tool;
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use host::figures::{self, Figure};
use host::workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const CARGO_MUTANTS: Tool = Tool { name: "cargo-mutants", version: "27.1.0" };

/// Mutants that compile, of all areas together.
const ENOUGH: usize = 500;

/// Of a hundred mutants that compile, so many are caught.
const SHARE: usize = 90;

/// Seconds of processor time after which a test program runs for ever. Of the clock it may take more: others work on
/// this computer, too.
const CPU_SECONDS: u32 = 30;
const SECONDS: &str = "1800";

/// A part of the sources.
#[derive(Debug)]
struct Area {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// One of so many mutants is tried.
    one_of: u64,
    /// What `cargo test` runs.
    tests: &'static [&'static str],
}

/// The engine by its commands.
const SPEC: &[&str] = &["--test=spec"];

const AREAS: &[Area] = &[
    Area {
        name: "channel",
        package: "snp",
        files: &["snp/src/message/channel.rs"],
        one_of: 1,
        tests: &["--lib", "--test=channel"],
    },
    Area {
        name: "ghcb",
        package: "snp",
        files: &["snp/src/ghcb/**"],
        one_of: 3,
        tests: &["--lib", "--test=ghcb", "--test=msr"],
    },
    Area { name: "svsm", package: "kernel", files: &["kernel/src/svsm/**"], one_of: 2, tests: &["--lib"] },
    Area { name: "mm", package: "kernel", files: &["kernel/src/mm/**"], one_of: 4, tests: &["--lib"] },
    Area { name: "crb", package: "tpm-crb", files: &["tpm-core/crb/src/**"], one_of: 4, tests: &["--test=crb"] },
    Area { name: "pipeline", package: "tpm-core", files: &["tpm-core/src/pipeline/**"], one_of: 3, tests: SPEC },
    Area {
        name: "policy",
        package: "tpm-core",
        files: &["tpm-core/src/*/policy/**", "tpm-core/src/data/policy.rs"],
        one_of: 3,
        tests: SPEC,
    },
    Area { name: "session", package: "tpm-core", files: &["tpm-core/src/*/session/**"], one_of: 2, tests: SPEC },
    Area { name: "nv", package: "tpm-core", files: &["tpm-core/src/*/nv/**"], one_of: 3, tests: SPEC },
    Area {
        name: "dictionary",
        package: "tpm-core",
        files: &["tpm-core/src/operation/dictionary.rs", "tpm-core/src/command/dictionary/**"],
        one_of: 1,
        tests: SPEC,
    },
    Area { name: "object", package: "tpm-core", files: &["tpm-core/src/*/object/**"], one_of: 8, tests: SPEC },
];

/// Tests that are left out: each takes seconds, and tries a thousand times what others try once (every cut, every bit,
/// every size, every order).
const SLOW: [&str; 10] = [
    "store::a_write_that_is_cut_anywhere_leaves_the_old_state_or_the_new_one",
    "store::after_a_shutdown_one_write_tells_that_the_clock_was_used",
    "state::cve_2021_3623_tn_f_5102_every_truncation_and_every_flipped_bit_is_refused",
    "state::cve_2021_3746_a_long_history_can_be_interrupted_anywhere",
    "public_area::a_public_exponent_is_good_everywhere_or_nowhere",
    "each_of_32768_bit_flips_of_a_full_answer_page_is_refused",
    "bit_flips_of_a_report_answer_are_refused_or_without_effect",
    "sizes_beyond_the_page_are_refused",
    "random::ten_million_accesses_do_no_harm",
    "no_behaviour_of_the_host_makes_an_iv_encrypt_twice_or_a_wrong_answer_accepted",
];

/// Options of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this part of the sources.
    #[arg(long, value_name = "NAME", value_parser = AREAS.iter().map(|area| area.name).collect::<Vec<_>>())]
    area: Option<String>,
    /// Go on where the last run ended: what was caught is not tried again, what was missed is.
    #[arg(long)]
    resume: bool,
    /// Only name the mutants that would be tried.
    #[arg(long)]
    list: bool,
}

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Caught,
    Timeout,
    Unviable,
    Missed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Caught, Self::Timeout, Self::Unviable, Self::Missed];

    /// cargo-mutants has a list of each.
    const fn file(self) -> &'static str {
        match self {
            Self::Caught => "caught.txt",
            Self::Timeout => "timeout.txt",
            Self::Unviable => "unviable.txt",
            Self::Missed => "missed.txt",
        }
    }
}

/// By the mutants' names as cargo-mutants has them: `FILE:LINE:COLUMN: CHANGE`.
type Outcomes = BTreeMap<String, Outcome>;

/// Runs the verb; the exit status says whether enough was caught, and every survivor is listed.
pub fn run(args: &Args) -> Result<ExitCode> {
    let areas: Vec<&Area> =
        AREAS.iter().filter(|area| args.area.as_deref().is_none_or(|name| name == area.name)).collect();
    let work = Work { folder: workspace::target_dir()?.join("mutants"), program: CARGO_MUTANTS.program()? };
    work.copy_tree()?;
    let mut all = Outcomes::new();
    let mut table = vec![format!(
        "{:<11}{:>8}{:>8}{:>9}{:>9}{:>8}{:>7}",
        "area", "mutants", "caught", "timeouts", "unviable", "missed", "share"
    )];
    for area in areas {
        if args.list {
            work.list(area)?.iter().for_each(|name| println!("{name}"));
            continue;
        }
        let outcomes = work.judge(area, args.resume)?;
        table.push(Row::of(&outcomes).line(area.name));
        all.extend(outcomes);
    }
    if args.list {
        return Ok(ExitCode::SUCCESS);
    }
    let total = Row::of(&all);
    table.push(total.line("all"));
    println!("{}", table.join("\n"));
    let survivors = Survivors::read(&fs::read_to_string(workspace::root()?.join("xtask/survivors.txt"))?)?;
    let mut complaints = survivors.complaints(&all, args.area.is_none());
    complaints.extend(total.complaints(args.area.is_none()));
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    if args.area.is_none() && complaints.is_empty() {
        figures::keep(Figure::Mutants, &total.figure());
    }
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts of one area, or of all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    caught: usize,
    timeouts: usize,
    unviable: usize,
    missed: usize,
}

impl Row {
    fn of(outcomes: &Outcomes) -> Self {
        let count = |outcome| outcomes.values().filter(|one| **one == outcome).count();
        Self {
            caught: count(Outcome::Caught),
            timeouts: count(Outcome::Timeout),
            unviable: count(Outcome::Unviable),
            missed: count(Outcome::Missed),
        }
    }

    /// Those that compile.
    const fn viable(&self) -> usize {
        self.caught + self.timeouts + self.missed
    }

    /// Whoever waits for a program that never ends has noticed the change.
    fn share(&self) -> usize {
        (100 * (self.caught + self.timeouts)).checked_div(self.viable()).unwrap_or(0)
    }

    fn line(&self, name: &str) -> String {
        let Self { caught, timeouts, unviable, missed } = self;
        let (mutants, share) = (self.viable() + unviable, self.share());
        format!("{name:<11}{mutants:>8}{caught:>8}{timeouts:>9}{unviable:>9}{missed:>8}{share:>5} %")
    }

    /// What docs/figures.md says. Whoever survives is listed with a reason, or there is none.
    fn figure(&self) -> String {
        let Self { caught, timeouts, unviable, missed } = self;
        let (drawn, share) = (self.viable() + unviable, self.share());
        format!(
            "of {drawn} drawn, {} compile and were tried: {} noticed ({share} %), {missed} that change nothing \
             (xtask/survivors.txt)",
            self.viable(),
            caught + timeouts
        )
    }

    fn complaints(&self, whole: bool) -> Vec<String> {
        let (viable, share) = (self.viable(), self.share());
        let mut complaints = Vec::new();
        if share < SHARE {
            complaints.push(format!("{share} % are caught, of {SHARE}"));
        }
        if whole && viable < ENOUGH {
            complaints.push(format!("{viable} mutants compile, of {ENOUGH}"));
        }
        complaints
    }
}

/// Without the position, which every change of the file moves: `FILE: CHANGE`.
fn lasting_name(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    let (file, change) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    format!("{file}:{change}")
}

/// FNV-1a: the draw depends on the mutant's lasting name alone, so that a change elsewhere draws no others.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3))
}

/// Mutants that may survive, by their lasting names, each with the reason.
#[derive(Debug)]
struct Survivors(BTreeSet<String>);

impl Survivors {
    /// A name a line, and below it, indented, why.
    fn read(text: &str) -> Result<Self> {
        let mut names = BTreeSet::new();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).peekable();
        while let Some(name) = lines.next() {
            ensure!(!name.starts_with(' '), "a reason without a survivor: {name}");
            ensure!(lines.next_if(|line| line.starts_with(' ')).is_some(), "a survivor without a reason: {name}");
            while lines.next_if(|line| line.starts_with(' ')).is_some() {}
            ensure!(names.insert(name.to_owned()), "listed twice: {name}");
        }
        Ok(Self(names))
    }

    /// Survivors that are not listed; what is listed and does not survive. A part knows nothing of others.
    fn complaints(&self, outcomes: &Outcomes, whole: bool) -> Vec<String> {
        let missed = outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::Missed);
        let unlisted = missed.clone().filter(|(name, _)| !self.0.contains(&lasting_name(name)));
        let survivors: BTreeSet<String> = missed.clone().map(|(name, _)| lasting_name(name)).collect();
        let tried: BTreeSet<String> = outcomes.keys().map(|name| lasting_name(name)).collect();
        let gone = self.0.iter().filter(|name| !survivors.contains(*name) && (whole || tried.contains(*name)));
        let unlisted = unlisted.map(|(name, _)| format!("survives, and is not in xtask/survivors.txt: {name}"));
        unlisted.chain(gone.map(|name| format!("is in xtask/survivors.txt, and does not survive: {name}"))).collect()
    }
}

/// What is worked with: a folder, and cargo-mutants.
struct Work {
    folder: PathBuf,
    program: PathBuf,
}

impl Work {
    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Makes the copy of the sources in which they are changed. A file that is as it was is not touched, so that it is
    /// not compiled again.
    fn copy_tree(&self) -> Result<()> {
        let (from, to) = (workspace::root()?, self.tree());
        let listed =
            Command::new("git").current_dir(&from).args(["ls-files", "-z", "-co", "--exclude-standard"]).output()?;
        ensure!(listed.status.success(), "git does not name the sources");
        let names = String::from_utf8(listed.stdout)?;
        let mut files: BTreeSet<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
        files.retain(|file| from.join(file).is_file());
        for file in &files {
            let (old, new) = (to.join(file), fs::read(from.join(file))?);
            if fs::read(&old).ok().is_none_or(|old| old != new) {
                fs::create_dir_all(old.parent().context("a file lies in a folder")?)?;
                fs::write(old, new)?;
            }
        }
        remove_others(&to, Path::new(""), &files)
    }

    /// cargo-mutants for the files of an area.
    fn command(&self, area: &Area) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["mutants", "--no-shuffle", "--colors=never", "--package", area.package, "--dir"])
            .arg(self.tree());
        for file in area.files {
            command.args(["--file", file]);
        }
        command
    }

    /// The mutants of an area that are drawn.
    fn list(&self, area: &Area) -> Result<Vec<String>> {
        let output =
            self.command(area).args(["--no-config", "--list"]).output().context("cannot start cargo-mutants")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let names = String::from_utf8(output.stdout)?;
        let drawn = names.lines().filter(|name| hash(&lasting_name(name)).is_multiple_of(area.one_of));
        Ok(drawn.map(str::to_owned).collect())
    }

    /// Tries the mutants of an area. What becomes of them is kept.
    fn judge(&self, area: &Area, resume: bool) -> Result<Outcomes> {
        let folder = self.folder.join(area.name);
        if !resume && folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let names = self.list(area)?;
        let mut outcomes = kept(&folder)?;
        outcomes.retain(|name, outcome| names.contains(name) && matches!(outcome, Outcome::Caught | Outcome::Unviable));
        let rest: Vec<&str> = names.iter().map(String::as_str).filter(|name| !outcomes.contains_key(*name)).collect();
        if !rest.is_empty() {
            println!("{}: {} of {} mutants", area.name, rest.len(), names.len());
            self.try_out(area, &folder, &rest)?;
            outcomes.extend(kept(&folder)?);
            outcomes.retain(|name, _| names.contains(name));
        }
        ensure!(
            outcomes.len() == names.len(),
            "{}: {} mutants were not tried",
            area.name,
            names.len() - outcomes.len()
        );
        Ok(outcomes)
    }

    /// Has cargo-mutants try these, after the sources as they are.
    fn try_out(&self, area: &Area, folder: &Path, names: &[&str]) -> Result<()> {
        let chosen: Vec<String> = names.iter().map(|name| format!("{:?}", format!("^{}$", literally(name)))).collect();
        let config = folder.join("mutants.toml");
        fs::write(&config, format!("examine_re = [\n{}\n]\n", chosen.join(",\n")))?;
        let mut command = self.command(area);
        command.args(["--in-place", "--profile=mutants", "--timeout", SECONDS, "--build-timeout", SECONDS]);
        command.arg("--config").arg(config).arg("--output").arg(folder).args(["--caught", "--cargo-arg=--locked"]);
        // What a test program's own options are is unstable; its variable is for it alone, not for the compiler.
        command.arg("--").args(area.tests).args(["--", "-Zunstable-options", "--fail-fast"]);
        command.args(SLOW.map(|test| format!("--skip={test}")));
        let runner = format!("prlimit --cpu={CPU_SECONDS} env RUSTC_BOOTSTRAP=1");
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
        command.env("CARGO_TARGET_DIR", self.folder.join("build"));
        // Properties are tried with the same values each time; what fails need not be made smaller.
        command.envs([
            ("PROPTEST_RNG_SEED", "1"),
            ("PROPTEST_MAX_SHRINK_ITERS", "0"),
            ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
        ]);
        match command.status().context("cannot start cargo-mutants")?.code() {
            // None missed, some missed, some for ever.
            Some(0 | 2 | 3) => Ok(()),
            Some(4) => bail!("{}: the tests fail without any change", area.name),
            other => bail!("cargo-mutants ended with {other:?}"),
        }
    }
}

/// What a folder of cargo-mutants says.
fn read(folder: &Path) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for outcome in Outcome::ALL {
        let file = folder.join(outcome.file());
        let names = if file.is_file() { fs::read_to_string(file)? } else { String::new() };
        outcomes.extend(names.lines().map(|name| (name.to_owned(), outcome)));
    }
    Ok(outcomes)
}

/// Adds what cargo-mutants has found out last to what was known, and gives all of it.
fn kept(folder: &Path) -> Result<Outcomes> {
    let mut outcomes = read(folder)?;
    outcomes.extend(read(&folder.join("mutants.out"))?);
    for outcome in Outcome::ALL {
        let names = outcomes.iter().filter(|(_, one)| **one == outcome).map(|(name, _)| format!("{name}\n"));
        fs::write(folder.join(outcome.file()), names.collect::<String>())?;
    }
    Ok(outcomes)
}

/// Removes files that the sources do not have.
fn remove_others(tree: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(tree.join(folder))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(tree, &name, files)?;
        } else if !files.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A regular expression for nothing but this text.
fn literally(text: &str) -> String {
    let special = |c: char| if r"\.+*?()|[]{}^$".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(special).collect()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Outcomes, Row, Survivors, hash, lasting_name, literally};

    const NAME: &str = "a/b.rs:12:3: replace Some::<T>::f -> Result<u8, E> with Ok(0)";

    fn outcomes(of: &[(&str, Outcome)]) -> Outcomes {
        of.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect()
    }

    #[test]
    fn a_name_lasts_when_its_line_moves() {
        assert_eq!(lasting_name(NAME), "a/b.rs: replace Some::<T>::f -> Result<u8, E> with Ok(0)");
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c, "the published test vector");
    }

    #[test]
    fn an_expression_is_the_names_alone() {
        assert_eq!(literally("a.rs: [+] || {}"), r"a\.rs: \[\+\] \|\| \{\}");
    }

    #[test]
    fn survivors_must_be_listed_with_a_reason_and_survive() {
        let list = Survivors::read("# said\n\na.rs: x\n    because\n    of\nb.rs: y\n    so\n").unwrap();
        let run = outcomes(&[("a.rs:1:1: x", Outcome::Missed), ("c.rs:1:1: z", Outcome::Missed)]);
        assert_eq!(list.complaints(&run, true).len(), 2, "c is not listed, b does not survive");
        assert_eq!(list.complaints(&run, false).len(), 1, "b is in another area");
        assert!(Survivors::read("a.rs: x\nb.rs: y\n    so\n").is_err(), "no reason");
        assert!(Survivors::read("    so\n").is_err(), "no survivor");
    }

    #[test]
    fn too_few_mutants_and_too_few_that_are_caught_are_complaints() {
        let run = [("a:1:1: x", Outcome::Caught), ("a:1:2: x", Outcome::Unviable), ("a:1:3: x", Outcome::Missed)];
        let row = Row::of(&outcomes(&run));
        assert_eq!(row, Row { caught: 1, timeouts: 0, unviable: 1, missed: 1 });
        assert_eq!((row.viable(), row.share()), (2, 50));
        assert_eq!((row.complaints(true).len(), row.complaints(false).len()), (2, 1));
        let good = Row { caught: 440, timeouts: 10, unviable: 7, missed: 50 };
        assert_eq!(good.complaints(true), Vec::<String>::new());
    }
}
