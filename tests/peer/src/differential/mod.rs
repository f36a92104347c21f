//! Differential fuzzing: sequences of commands to our TPM and to another, whose answers are compared: libtpms, or a
//! simulator that the user runs.
//!
//! A sequence starts from two new TPMs. What it does comes from a seed and from what is loaded, defined and known at
//! the time (`world`); each step has its own stream of random numbers, so that a step can be left out and the others
//! remain. A command is built once for each side, since handles, nonces, names and blobs differ, and may be damaged on
//! its way (`send`).
//!
//! libtpms 0.9.2 can leave its failure mode's longjmp with a broken stack, so that it ends the process. So both TPMs
//! are in a worker, of which a new one is started then, from the next seed on.

mod answer;
mod ask;
mod authorize;
mod cc;
mod command;
mod damage;
mod explained;
mod generate;
mod policy;
mod send;
mod tally;
mod wire;
mod world;

use crate::{Libtpms, Mssim, Peer, Quoin};
use anyhow::{Context, Result, ensure};
pub use client::cc::ALL as COMMANDS;
use core::str::FromStr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;
use tally::Tally;
pub use world::Subject;
use world::World;

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// commands
    pub commands: u64,
    /// time
    pub time: Duration,
    /// commands of a sequence
    pub length: u64,
    /// processes at a time
    pub workers: usize,
    /// kinds of unexplained disagreements after which a run ends
    pub kinds: usize,
    /// what sequences are about
    pub subject: Subject,
}

/// The TPM beside ours.
#[derive(Clone, Debug)]
pub enum Beside {
    /// Debian's libtpms
    Libtpms,
    /// simulators that speak mssim: a host, and the first one's command port; each worker has its own, two ports
    /// further on
    Tcp(String, u16),
}

impl FromStr for Beside {
    type Err = String;

    fn from_str(from: &str) -> Result<Self, String> {
        if from == "libtpms" {
            return Ok(Self::Libtpms);
        }
        let place = from.strip_prefix("tcp:").and_then(|place| place.rsplit_once(':'));
        let known = place.and_then(|(host, port)| Some(Self::Tcp(host.to_owned(), port.parse().ok()?)));
        known.ok_or_else(|| "neither `libtpms` nor `tcp:HOST:PORT`".to_owned())
    }
}

impl core::fmt::Display for Beside {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Libtpms => f.write_str("libtpms"),
            Self::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl Beside {
    /// The one for the n-th worker.
    #[must_use]
    pub fn of_worker(&self, n: usize) -> Self {
        match self {
            Self::Libtpms => Self::Libtpms,
            Self::Tcp(host, port) => Self::Tcp(host.clone(), port + 2 * u16::try_from(n).expect("few workers")),
        }
    }

    fn start(&self) -> Result<Box<dyn Peer>> {
        Ok(match self {
            Self::Libtpms => Box::new(Libtpms::new()?),
            Self::Tcp(host, port) => Box::new(Mssim::new(host.clone(), *port)),
        })
    }
}

/// Both TPMs of one process.
pub struct Worker {
    world: World,
}

impl Worker {
    /// Both TPMs.
    ///
    /// # Errors
    /// Without libtpms, if that is the other one, and if the other one has nothing of the subject.
    pub fn new(beside: &Beside, subject: Subject) -> Result<Self> {
        Self::with(beside.start()?, subject)
    }

    fn with(theirs: Box<dyn Peer>, subject: Subject) -> Result<Self> {
        let mut world = World::new([Box::new(Quoin::new(true)), theirs]);
        world.subject = subject;
        world.learn_commands();
        let has_subject = subject == Subject::All || generate::lattice::is_common(&world);
        ensure!(has_subject, "the other TPM lists no algorithm on lattices");
        Ok(Self { world })
    }

    /// Says every command before it is sent.
    pub const fn loud(&mut self) {
        self.world.tally.loud = true;
    }

    /// Sequences from this seed on, until nobody reads any more what comes of each: a line of JSON.
    pub fn serve(&mut self, seed: u64, stride: usize, length: u64) {
        let none = BTreeSet::new();
        let mut out = std::io::stdout().lock();
        for n in (seed..).step_by(stride) {
            self.sequence(n, length, &none);
            let tally = core::mem::take(&mut self.world.tally);
            self.world.tally.loud = tally.loud;
            let line = serde_json::to_string(&tally).expect("a tally is JSON");
            if writeln!(out, "{line}").is_err() {
                return;
            }
        }
    }

    /// One sequence, without some of its steps.
    fn sequence(&mut self, seed: u64, length: u64, without: &BTreeSet<u64>) -> u64 {
        self.sequence_of(seed, length, without, |world, _| generate::step(world))
    }

    /// One sequence, whose steps `act` takes.
    fn sequence_of(&mut self, seed: u64, length: u64, without: &BTreeSet<u64>, act: impl Fn(&mut World, u64)) -> u64 {
        let world = &mut self.world;
        world.renew();
        world.locality = 0;
        world.ecc = seed.is_multiple_of(10);
        world.rsa = seed % 10 == 1;
        world.tally.label = format!("seed {seed}");
        world.rng = fastrand::Rng::with_seed(seed);
        generate::startup::begin(world);
        world.stop &= world.platform;
        let mut step = 0;
        while !world.stop && world.tally.sent < length {
            if !without.contains(&step) {
                world.rng = fastrand::Rng::with_seed(seed << 20 | step);
                act(world, step);
                if core::mem::take(&mut world.cleared) {
                    generate::hierarchy::forget_cleared(world);
                }
                if core::mem::take(&mut world.lost) {
                    generate::context::find_ourselves(world);
                }
                // Where the two need not agree, there is always a next step.
                world.stop &= world.platform;
            }
            step += 1;
        }
        step
    }

    /// One sequence again, with as few steps as still show a disagreement.
    pub fn shrink(&mut self, seed: u64, length: u64) {
        let mut without = BTreeSet::new();
        let steps = self.sequence(seed, length, &without);
        let Some(what) = self.world.tally.unexplained.keys().next().cloned() else { return };
        let mut size = steps / 2;
        while size > 0 {
            let mut at = 0;
            while at < steps {
                let mut more = without.clone();
                more.extend(at..(at + size).min(steps));
                self.world.tally.unexplained.clear();
                self.sequence(seed, length.min(steps * 40), &more);
                if more.len() > without.len() && self.world.tally.unexplained.contains_key(&what) {
                    without = more;
                }
                at += size;
            }
            size /= 2;
        }
        self.world.tally.unexplained.clear();
        self.sequence(seed, length, &without);
    }

    /// Sends commands of every kind by turns, with keys of every kind, until so many were sent. The other TPM has no
    /// platform: it is new, and only executes commands. Where it answers otherwise than ours, the next one comes.
    pub fn drive(theirs: Box<dyn Peer>, seed: u64, commands: u64) -> Result<()> {
        let mut worker = Self::with(theirs, Subject::All)?;
        worker.world.platform = false;
        worker.sequence_of(seed, commands, &BTreeSet::new(), |world, step| {
            (world.ecc, world.rsa) = (true, true);
            generate::by_turns(world, step);
        });
        Ok(())
    }

    /// What came of it.
    #[must_use]
    pub fn report(self) -> Report {
        Report { tally: self.world.tally, begin: Instant::now(), ended: BTreeMap::new() }
    }
}

/// A run: workers, of which a new one is started where libtpms ends its process.
pub struct Report {
    tally: Tally,
    begin: Instant,
    /// commands at which libtpms ended the process, and the first of each
    ended: BTreeMap<String, (u64, String)>,
}

impl Report {
    /// Runs sequences from this seed on.
    ///
    /// # Errors
    /// If a worker does not start, or does not say what it should.
    pub fn of(seed: u64, limits: &Limits, beside: &Beside) -> Result<Self> {
        let report = Self { tally: Tally::default(), begin: Instant::now(), ended: BTreeMap::new() };
        let report = Mutex::new(report);
        std::thread::scope(|scope| {
            let start = |n| {
                let (report, seed, beside) = (&report, seed + n as u64, beside.of_worker(n));
                scope.spawn(move || Self::collect(report, seed, limits, &beside))
            };
            let threads: Vec<_> = (0..limits.workers).map(start).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("a thread that does not panic"))
        })?;
        Ok(report.into_inner().expect("no thread panicked"))
    }

    /// Workers one after the other, for every sequence whose number leaves the same rest.
    fn collect(report: &Mutex<Self>, mut seed: u64, limits: &Limits, beside: &Beside) -> Result<()> {
        let locked = || report.lock().expect("no thread panicked");
        let mut said = Instant::now();
        while !locked().is_over(limits) {
            let mut worker = worker(seed, limits, beside, false)?;
            let lines = BufReader::new(worker.stdout.take().context("no pipe")?).lines();
            for line in lines {
                let tally = serde_json::from_str(&line?)?;
                seed += limits.workers as u64;
                let mut report = locked();
                report.tally.add(tally);
                if said.elapsed() > Duration::from_secs(60) {
                    said = Instant::now();
                    eprintln!("seed {seed}: {}", report.line());
                }
                if report.is_over(limits) {
                    worker.kill()?;
                    break;
                }
            }
            let status = worker.wait()?;
            if !locked().is_over(limits) {
                let again = "--worker with the same options says why";
                ensure!(status.code().is_none(), "the worker of seed {seed} ended ({again}): {status}");
                let command = ended_at(seed, limits, beside)?;
                let name = command.split(' ').nth(2).unwrap_or("?").to_owned();
                locked().ended.entry(name).or_insert((0, command)).0 += 1;
                seed += limits.workers as u64;
            }
        }
        Ok(())
    }

    fn is_over(&self, limits: &Limits) -> bool {
        self.tally.commands >= limits.commands
            || self.begin.elapsed() >= limits.time
            || self.tally.unexplained.len() >= limits.kinds
    }

    fn line(&self) -> String {
        let tally = &self.tally;
        let good: u64 = tally.by_code.values().map(|by| by.good).sum();
        let seconds = self.begin.elapsed().as_secs_f64();
        let explained: u64 = tally.explained.values().sum();
        let unexplained: u64 = tally.unexplained.values().map(|(n, _)| n).sum();
        format!(
            "{} commands in {seconds:.0} s, {} successful, {explained} disagreements explained, {unexplained} unexplained",
            tally.commands, good
        )
    }

    /// Whether there was nothing unexplained.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.tally.unexplained.is_empty()
    }

    /// The report.
    pub fn print(&self) {
        let tally = &self.tally;
        println!("commands: sent, successful on both sides, compared octet by octet");
        for (code, by) in &tally.by_code {
            let name = if *code == 0 { "unknown" } else { cc::name(*code) };
            println!("  {name:<28} {:>9} {:>9} {:>9}", by.sent, by.good, by.compared);
        }
        let never = tally.common.iter().filter(|code| tally.by_code.get(code).is_none_or(|by| by.good == 0));
        let never: Vec<String> = never.map(|code| format!("{} ({code:#x})", cc::name(*code))).collect();
        println!("of {} commands that both have, never successful: {}", tally.common.len(), never.join(", "));
        println!("response codes (without position):");
        for (rc, n) in &tally.by_rc {
            println!("  {rc:#05x} {n:>9}");
        }
        println!("explained (docs/differences.md):");
        for (rule, n) in &tally.explained {
            println!("  {n:>9} {rule}");
        }
        println!("sequences that ended at an explained difference of states: {}", tally.resynchronised);
        println!("sequences in which libtpms ended its process, by the last command:");
        for (command, (n, first)) in &self.ended {
            println!("  {n:>9} {command}: {first}");
        }
        println!("answers compared octet by octet: {}", tally.compared);
        println!("time in ours and in theirs: {:.0?}", tally.time);
        println!("unexplained:");
        let mut all: Vec<_> = tally.unexplained.iter().collect();
        all.sort_by_key(|(_, (n, _))| core::cmp::Reverse(*n));
        for (what, (n, trail)) in all {
            println!("  {n:>9} {what}\n    {trail}");
        }
        println!("{}", self.line());
    }
}

/// The sequence of this seed ended the process: at which command?
fn ended_at(seed: u64, limits: &Limits, beside: &Beside) -> Result<String> {
    let mut again = worker(seed, limits, beside, true)?;
    let mut last = String::new();
    let mut errors = BufReader::new(again.stderr.take().context("no pipe")?).lines();
    for line in errors.by_ref() {
        let line = line?;
        if line.starts_with(&format!("seed {seed} ")) {
            last = line;
        } else if line.starts_with("seed ") {
            // Libtpms' random numbers are others now, and it did not happen again.
            "not the second time".clone_into(&mut last);
            again.kill()?;
            break;
        }
    }
    drop(errors);
    again.wait()?;
    Ok(last)
}

/// This program as a worker.
fn worker(seed: u64, limits: &Limits, beside: &Beside, loud: bool) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--worker", "--seed", &seed.to_string(), "--length", &limits.length.to_string()]);
    command.args(["--workers", &limits.workers.to_string(), "--peer", &beside.to_string()]);
    command.args(["--subject", limits.subject.name()]);
    command.stdin(Stdio::null());
    if loud {
        command.arg("--loud").stdout(Stdio::null()).stderr(Stdio::piped());
    } else {
        command.stdout(Stdio::piped()).stderr(Stdio::null());
    }
    command.spawn().context("cannot start a worker")
}

#[cfg(test)]
mod tests {
    use super::{Subject, Worker, cc, generate};
    use crate::Quoin;
    use std::collections::BTreeSet;

    /// Commands without a generator, and why.
    const WITHOUT: &[(u32, &str)] =
        &[(cc::SET_CAPABILITY, "ours sets no capability, and no peer has the command: nothing could be compared")];

    #[test]
    fn every_command_of_the_engines_table_has_a_generator() {
        let mut wanted: BTreeSet<u32> = cc::ALL.iter().map(|(code, _)| *code).collect();
        for (code, why) in WITHOUT {
            assert!(wanted.remove(code), "{code:#x} is no command, which has no generator: {why}");
        }
        let mut worker = Worker::with(Box::new(Quoin::new(false)), Subject::All).unwrap();
        // The first has RSA, the others elliptic curves.
        for seed in [1].into_iter().chain((0..30).map(|n| 10 * n)) {
            if wanted.is_empty() {
                break;
            }
            worker.sequence_of(seed, 2000, &BTreeSet::new(), generate::by_turns);
            let meant = worker.world.tally.trail.iter().filter(|case| !case.damaged);
            meant.for_each(|case| _ = wanted.remove(&case.code));
        }
        let missing: Vec<_> = wanted.iter().map(|code| cc::name(*code)).collect();
        assert!(missing.is_empty(), "neither sent nor listed with a reason: {missing:?}");
        let unexplained: Vec<_> = worker.world.tally.unexplained.keys().collect();
        assert!(unexplained.is_empty(), "of two TPMs that are the same: {unexplained:?}");
    }
}
