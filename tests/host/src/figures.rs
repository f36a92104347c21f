//! Figures: what a verb has measured, kept until `cargo xtask figures` writes it into docs/figures.md.
//!
//! A row of that page is known by what its first column begins with. A figure is kept as one line of text below the
//! target directory, so that who measures does not change the sources.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

macro_rules! figures {
    ($($name:ident $file:literal $row:literal)*) => {
        /// What is measured.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Figure {
            $(#[doc = concat!("The row “", $row, "…”.")] $name,)*
        }

        impl Figure {
            /// All of them.
            pub const ALL: &[Figure] = &[$(Self::$name),*];

            const fn file(self) -> &'static str {
                match self { $(Self::$name => $file,)* }
            }

            /// How its row begins.
            pub const fn row(self) -> &'static str {
                match self { $(Self::$name => $row,)* }
            }
        }
    };
}

figures! {
    Run "run" "`cargo xtask run --once`, warm"
    Boots "boots" "boots in a row"
    Image "image" "image"
    Memory "memory" "memory of the firmware"
    Stack "stack" "the firmware's stack"
    Share "share" "the firmware's share of Linux' way to userland"
    ShareOvmf "share-ovmf" "the firmware's share of OVMF's and Linux' way to userland"
    Flips "flips" "single-bit flips of evidence"
    Holds "holds" "the longest hold"
    BesideKeys "beside-keys" "a PVALIDATE call beside"
    Hostile "hostile" "attempts of a hostile guest"
    Machine "machine" "rules of the machine"
    Exceptions "exceptions" "exceptions that a host makes up"
    Differential "differential" "sequences of commands beside libtpms"
    Reference "reference" "the same beside the TCG reference"
    Lattices "lattices" "ML-KEM, ML-DSA and the commands of 1.85 beside"
    Unmarshal "unmarshal" "fuzzing guided by coverage: structures"
    Import "import" "fuzzing guided by coverage: states"
    Verify "verify" "fuzzing guided by coverage: evidence for the verifier"
    Engine "engine" "fuzzing guided by coverage: commands in a row"
    StateSchedules "state-schedules" "schedules of a state disk"
    Garbage "garbage" "answers of a state disk"
    VirtioLies "virtio-lies" "answers of virtio devices that lie"
    DiskKills "disk-kills" "QEMU killed at any moment"
    DiskCuts "disk-cuts" "a history in the machine, cut after every sector"
    DiskWaits "disk-waits" "how long a command waits for the disk"
    AnchorSchedules "anchor-schedules" "schedules of anchors"
    MigrationSchedules "migration-schedules" "schedules of a migration"
    MigrationOctets "migration-octets" "changed messages of a migration"
    MigrationCuts "migration-cuts" "a move in the machine, cut after every message"
    MigrationTime "migration-time" "how long a TPM is silent that moves"
    Demo "demo" "`cargo xtask demo`, warm"
    Indices "indices" "what a command that changes nothing that lasts costs"
    BootsOnTwo "boots-2" "the same on two processors"
    BootsOnFour "boots-4" "the same on four"
    Panics "panics" "panics that survive linking"
    Coverage "coverage" "lines of the engine that its tests run"
    Mutants "mutants" "changes of the sources"
    Codes "codes" "documented response codes"
    Vectors "vectors" "NIST's CAVP vectors"
    Keys "keys" "10,000 RSA-1024 primary keys"
    Timing "timing" "time of RSA decryption"
    Bench "bench" "speed beside libtpms"
    Before "before" "speed beside the engine of"
    Calls "calls" "stack of the deepest call"
    Thousand "thousand" "1,000 TPMs in one process"
}

fn folder() -> Result<PathBuf> {
    Ok(workspace::target_dir()?.join("figures"))
}

/// Keeps a figure. Whoever cannot write it has measured all the same.
pub fn keep(figure: Figure, text: &str) {
    let kept = folder().and_then(|folder| {
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(figure.file()), text.replace('\n', " ").replace('|', "/"))?)
    });
    if let Err(error) = kept {
        eprintln!("the figure is not kept: {error:#}");
    }
}

/// Runs a program whose last line of output is a figure, if it succeeds. The output is shown as it comes.
pub fn keep_last_line(figure: Figure, command: &mut Command) -> Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut last = String::new();
    for line in BufReader::new(child.stdout.take().context("the program has no output")?).lines() {
        last = line?;
        println!("{last}");
    }
    let status = child.wait()?;
    if status.success() && !last.is_empty() {
        keep(figure, &last);
    }
    Ok(status)
}

/// Writes what was kept into the page, and gives the rows that are new. What is written is kept no longer: it would be
/// of yesterday's sources the next time.
pub fn write(page: &Path) -> Result<Vec<String>> {
    let mut text = fs::read_to_string(page)?;
    let (mut rows, mut written) = (Vec::new(), Vec::new());
    for figure in Figure::ALL {
        let file = folder()?.join(figure.file());
        let kept = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            kept => kept?,
        };
        let (changed, row) = with(&text, *figure, &kept)?;
        if changed != text {
            rows.push(row);
        }
        text = changed;
        written.push(file);
    }
    fs::write(page, text)?;
    written.into_iter().try_for_each(fs::remove_file)?;
    Ok(rows)
}

/// The page with another figure in its row, and that row. The last column is the command, the one before it the figure.
fn with(page: &str, figure: Figure, kept: &str) -> Result<(String, String)> {
    let is_row = |line: &&str| line.strip_prefix("| ").is_some_and(|row| row.starts_with(figure.row()));
    let mut rows = page.lines().filter(is_row);
    let row = rows.next().with_context(|| format!("no row begins with `{}`", figure.row()))?;
    ensure!(rows.next().is_none(), "two rows begin with `{}`", figure.row());
    // An empty column has one blank.
    let wide = row.replace("| |", "|  |");
    let mut columns: Vec<&str> = wide.split(" | ").collect();
    ensure!(columns.len() >= 3, "the row `{}` has too few columns", figure.row());
    let at = columns.len() - 2;
    columns[at] = kept.trim();
    let changed = columns.join(" | ").replace("|  |", "| |");
    Ok((page.replace(row, &changed), changed))
}

#[cfg(test)]
mod tests {
    use super::{Figure, with};
    use crate::workspace;
    use std::fs;

    #[test]
    fn every_figure_has_one_row_in_the_page() {
        let page = fs::read_to_string(workspace::root().unwrap().join("docs/figures.md")).unwrap();
        for figure in Figure::ALL {
            with(&page, *figure, "a figure").unwrap();
        }
    }

    #[test]
    fn the_column_before_the_command_is_written_and_nothing_else() {
        let page = "# Figures\n| image | 1.5 MiB | 7 bytes | `cargo xtask image` |\n| imagine | x | y |\n";
        let (page, row) = with(page, Figure::Image, "8 bytes").unwrap();
        assert_eq!(row, "| image | 1.5 MiB | 8 bytes | `cargo xtask image` |");
        assert_eq!(page, format!("# Figures\n{row}\n| imagine | x | y |\n"));
    }

    #[test]
    fn an_empty_column_stays() {
        let page = "| image | | 7 bytes | `cargo xtask image` |\n";
        assert_eq!(with(page, Figure::Image, "8 bytes").unwrap().1, "| image | | 8 bytes | `cargo xtask image` |");
    }

    #[test]
    fn a_page_without_the_row_or_with_two_is_refused() {
        assert!(with("", Figure::Image, "8").is_err());
        assert!(with("| image | a | b |\n| image, too | a | b |\n", Figure::Image, "8").is_err());
    }
}
