//! Programs that must leave nothing behind: no process, no temporary folder.

use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use std::collections::BTreeSet;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Instant;

/// A program that is watched: whatever it has started is known while it runs.
#[derive(Debug)]
pub(super) struct Watched {
    child: Child,
    /// Number and start time of each process that came of it: numbers come again.
    started: BTreeSet<(u32, u64)>,
}

impl Watched {
    /// Starts it.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self {
            child: command.spawn().context("cannot start a program that is to be watched")?,
            started: BTreeSet::new(),
        })
    }

    /// The program.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Takes note of the processes that have come of it.
    pub(super) fn look(&mut self) -> Result<()> {
        let mut known = BTreeSet::from([self.child.id()]);
        let mut all = processes()?;
        // Children may have lower numbers than their parents.
        loop {
            let (new, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|process| known.contains(&process.parent));
            if new.is_empty() {
                return Ok(());
            }
            known.extend(new.iter().map(|process| process.number));
            self.started.extend(new.iter().map(|process| (process.number, process.start)));
            all = rest;
        }
    }

    /// Whether one of the processes that came of it is `name`.
    pub(super) fn has_started(&mut self, name: &str) -> Result<bool> {
        Ok(self.number_of(name)?.is_some())
    }

    /// The number of the process `name` that came of it.
    pub(super) fn number_of(&mut self, name: &str) -> Result<Option<u32>> {
        self.look()?;
        let ours = |process: &Process| process.name == name && self.is_ours(process);
        Ok(processes()?.into_iter().find(ours).map(|process| process.number))
    }

    /// Waits for its end, and for that of everything that came of it.
    pub(super) fn ends_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "it did not end within {} s", limit.as_secs());
            self.look()?;
            thread::sleep(Duration::from_millis(10));
        };
        loop {
            let left: Vec<String> =
                processes()?.into_iter().filter(|process| self.is_ours(process)).map(|process| process.name).collect();
            if left.is_empty() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("ended with {status}, and has left {left:?}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn is_ours(&self, process: &Process) -> bool {
        self.started.contains(&(process.number, process.start))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// What proc_pid_stat(5) says of a process that is no zombie.
struct Process {
    number: u32,
    name: String,
    parent: u32,
    start: u64,
}

fn processes() -> Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that has ended in between has no file any more.
    Ok(entries
        .filter_map(|number| parse(number, &std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?))
        .collect())
}

/// The second field, in brackets, is the name; behind it are the state, the parent, and as the 22nd field the start
/// time.
fn parse(number: u32, stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let name = head.split_once('(')?.1.to_owned();
    let is_dead = matches!(*fields.first()?, "Z" | "X");
    (!is_dead).then_some(Process {
        number,
        name,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Watched, parse};
    use core::time::Duration;
    use std::process::Command;

    #[test]
    fn a_process_that_stays_behind_is_found() {
        let mut left = Watched::start(Command::new("sh").args(["-c", "sleep 5 & sleep 0.3"])).unwrap();
        while !left.has_started("sleep").unwrap() {}
        let error = left.ends_within(Duration::from_millis(1500)).unwrap_err().to_string();
        assert!(error.contains("has left [\"sleep\"]"), "{error}");
        let mut none = Watched::start(Command::new("sh").args(["-c", "sleep 0.1; exit 3"])).unwrap();
        assert_eq!(none.ends_within(Duration::from_secs(5)).unwrap().code(), Some(3));
    }

    #[test]
    fn names_may_have_blanks_and_brackets_and_the_dead_do_not_count() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 77 19";
        let process = parse(9, &format!("9 (a ) (b) S 4 {fields}")).unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.start), ("a ) (b", 4, 77));
        assert!(parse(9, &format!("9 (sh) Z 4 {fields}")).is_none());
    }
}
