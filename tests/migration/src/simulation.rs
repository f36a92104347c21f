//! Two machines, and a host that does what a seed says: it loses, repeats, holds back and changes messages, begins
//! runs, gives them up, and takes the power away, amid a write too. A schedule that breaks a rule is found again by its
//! seed.
//!
//! The rules: never do two TPMs answer; no command that was answered is forgotten; and whatever was done, when the host
//! does what it should again, one comes to life, on the destination's machine if that is wanted.
//!
//! What a host does that puts back an old copy of a disk, or runs two machines of one copy, is not here: no firmware
//! alone can see that, and anchors do (docs/migration.md).

use crate::chip::{Boot, Chip};
use crate::disks::{Disk, Fault, Machine, Tpm, Write, tpm};
use crate::scene::{CHIP_A, CHIP_B, IDENTITY, NEW, OLD, terms};
use crate::{Seeded, octets};
use core::fmt;
use migration::channel::Side;
use migration::source::Source;
use migration::{Channel, Terms};
use snp::report::Report;
use std::sync::LazyLock;
use tpm_crypto::Rng;

static TERMS: LazyLock<[Terms; 2]> = LazyLock::new(terms);
/// Reports of a boot never change in what is judged here.
static REPORTS: LazyLock<[Report; 2]> =
    LazyLock::new(|| [Boot::new(&CHIP_A, OLD).report(&[0; 64]), Boot::new(&CHIP_B, NEW).report(&[0; 64])]);

/// What broke, in which schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The schedule's seed.
    pub seed: u64,
    /// The rule.
    pub rule: &'static str,
    /// What was done, in order.
    pub history: Vec<&'static str>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule {}: {}; after: {}", self.seed, self.rule, self.history.join(", "))
    }
}

impl core::error::Error for Broken {}

/// Where a schedule ended: for a count of what was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// The source lived on.
    Stayed,
    /// The source was dead, and the destination had still to be given the receipt.
    Waiting,
    /// The destination lived.
    Moved,
}

/// Both machines, and the messages between them.
struct World {
    machines: [Machine<'static>; 2],
    /// On their way to the source's machine, and to the destination's.
    letters: [Vec<Vec<u8>>; 2],
    /// The most commands that were answered.
    answered: u64,
    rng: Seeded,
    history: Vec<&'static str>,
}

/// Steps of a schedule.
const STEPS: usize = 40;

/// Runs the schedule of a seed with a mistake of the firmware's in it, or none.
///
/// # Errors
/// The rule that it breaks.
pub fn schedule(seed: u64, fault: Fault) -> Result<Reached, Broken> {
    let mut world = World::new(seed, fault);
    let outcome = world.run();
    outcome.map_err(|rule| Broken { seed, rule, history: world.history })
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut rng = Seeded::new(&format!("schedule {seed}"));
        let tpm: Tpm = tpm(&mut rng);
        // Both have disks, mostly; or only the destination; or neither.
        let kept = match octets::<1>(&mut rng)[0] % 8 {
            0 => [false, false],
            1 => [false, true],
            _ => [true, true],
        };
        let [old, new] = &*TERMS;
        let mut source =
            if kept[0] { Machine::new(old, true, Disk::Live(tpm), fault) } else { Machine::with_tpm(old, tpm, fault) };
        let mut destination = Machine::new(new, kept[1], Disk::Empty, fault);
        if kept[0] {
            source.boot();
        }
        destination.boot();
        let letters = [Vec::new(), Vec::new()];
        Self { machines: [source, destination], letters, answered: tpm.commands, rng, history: Vec::new() }
    }

    fn run(&mut self) -> Result<Reached, &'static str> {
        for _ in 0..STEPS {
            self.step();
            self.check()?;
        }
        let reached = self.reached();
        self.settle()?;
        Ok(reached)
    }

    fn reached(&self) -> Reached {
        let [source, destination] = &self.machines;
        let dead = matches!(source.disk, Disk::Dead(_)) || source.source().is_some_and(Source::has_moved);
        let lives = matches!(destination.disk, Disk::Live(_)) || destination.answering().is_some();
        match (lives, dead) {
            (true, _) => Reached::Moved,
            (false, true) => Reached::Waiting,
            (false, false) => Reached::Stayed,
        }
    }

    /// Below `n`.
    fn draw(&mut self, n: usize) -> usize {
        let mut octets = [0; 4];
        let _ = self.rng.fill(&mut octets);
        u32::from_le_bytes(octets) as usize % n
    }

    fn step(&mut self) {
        let which = self.draw(2);
        match self.draw(32) {
            0..=3 => self.connect(),
            4..=19 => self.deliver(which, Write::Good),
            20 => {
                let durable = self.draw(2) == 0;
                let write = match self.draw(if which == 0 { 3 } else { 2 }) {
                    0 => Write::Cut(durable),
                    1 => Write::Error(durable),
                    // Whoever keeps the TPM says before it that it cannot leave.
                    _ => Write::NotBegun,
                };
                self.deliver(which, write);
            }
            21 => self.repeat(which),
            22 => self.change(which),
            23 => {
                self.note("the oldest message is lost");
                if !self.letters[which].is_empty() {
                    self.letters[which].remove(0);
                }
            }
            24..=26 => self.command(which),
            27 => {
                self.note("the run is given up");
                self.machines[0].give_up();
            }
            28 => self.power(which),
            29 | 30 => self.ask(),
            _ => {
                if self.letters[which].len() > 1 {
                    self.note("the oldest message is held back");
                    self.letters[which].rotate_left(1);
                }
            }
        }
    }

    fn note(&mut self, what: &'static str) {
        self.history.push(what);
    }

    /// A handshake that ends well, as it would between these two.
    fn connect(&mut self) {
        let [source, destination] = &mut self.machines;
        let Some(bearer) = source.bearer() else { return };
        if source.source().is_some_and(|run| !run.is_over()) {
            return;
        }
        let (secret, transcript) = (octets::<48>(&mut self.rng), octets::<48>(&mut self.rng));
        let [a, b] = *REPORTS;
        let channel = |side| Channel::new(side, &secret, &transcript);
        let Some(target) = destination.destination() else { return };
        let Ok(ready) = target.proven(IDENTITY, bearer.epoch, channel(Side::Destination), b, a) else { return };
        source.start(Source::proven(&TERMS[0], &bearer, channel(Side::Source), a, b));
        self.letters[0].push(ready);
        self.history.push("a run begins");
    }

    fn deliver(&mut self, which: usize, write: Write) {
        if self.letters[which].is_empty() {
            return;
        }
        let message = self.letters[which].remove(0);
        self.history.push(match (which, write) {
            (0, Write::Good) => "to the source",
            (0, _) => "to the source, whose disk fails",
            (_, Write::Good) => "to the destination",
            _ => "to the destination, whose disk fails",
        });
        let (chip, measurement): (&Chip, _) = if which == 0 { (&CHIP_A, OLD) } else { (&CHIP_B, NEW) };
        let mut boot = Boot::new(chip, measurement);
        let said = self.machines[which].receive(&message, write, &mut boot, &mut self.rng);
        self.letters[1 - which].extend(said);
    }

    fn repeat(&mut self, which: usize) {
        if let Some(message) = self.letters[which].first().cloned() {
            self.note("a message is repeated");
            self.letters[which].push(message);
        }
    }

    fn change(&mut self, which: usize) {
        let (at, bit) = (self.draw(4096), self.draw(8));
        if let Some(message) = self.letters[which].first_mut() {
            let at = at % message.len();
            message[at] ^= 1 << bit;
            self.note("a bit is changed");
        }
    }

    fn command(&mut self, which: usize) {
        if let Some(commands) = self.machines[which].command() {
            self.history.push(if which == 0 { "a command at the source" } else { "a command at the destination" });
            self.answered = self.answered.max(commands);
        }
    }

    /// Takes the power away, and gives it back. Without a disk a TPM ends with its power, wherever it is: that is not
    /// what is looked at here.
    fn power(&mut self, which: usize) {
        if self.machines[which].kept {
            self.history.push(if which == 0 { "the source restarts" } else { "the destination restarts" });
            self.machines[which].cut();
            self.machines[which].boot();
        }
    }

    fn ask(&mut self) {
        let said = self.machines[1].ask();
        if !said.is_empty() {
            self.note("the destination asks");
            self.letters[0].extend(said);
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let alive: Vec<Tpm> = self.machines.iter().filter_map(Machine::answering).collect();
        if alive.len() > 1 {
            return Err("two are alive");
        }
        if alive.iter().any(|tpm| tpm.commands < self.answered) {
            return Err("a command that was answered is forgotten");
        }
        Ok(())
    }

    /// The host does what it should again: what has no power gets it, runs are given up, the receipt is fetched, and
    /// then the state is moved.
    fn settle(&mut self) -> Result<(), &'static str> {
        self.note("all is well again");
        for which in 0..2 {
            let restarts = self.machines[which].kept && self.draw(2) == 0;
            if !self.machines[which].is_on() || self.machines[which].is_unsure() || restarts {
                self.machines[which].cut();
                self.machines[which].boot();
            }
        }
        self.machines[0].give_up();
        for _ in 0..2 {
            self.letters = [Vec::new(), Vec::new()];
            self.ask();
            self.exchange()?;
            self.connect();
            self.exchange()?;
        }
        let alive: Vec<Tpm> = self.machines.iter().filter_map(Machine::answering).collect();
        match alive[..] {
            [] => Err("none is alive"),
            [_] if self.machines[1].answering().is_none() => Err("it does not move"),
            [tpm] if tpm.commands == self.answered => Ok(()),
            [_] => Err("a command that was answered is forgotten"),
            _ => Err("two are alive"),
        }
    }

    fn exchange(&mut self) -> Result<(), &'static str> {
        while let Some(which) = (0..2).find(|which| !self.letters[*which].is_empty()) {
            self.deliver(which, Write::Good);
            self.check()?;
        }
        Ok(())
    }
}
