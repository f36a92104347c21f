//! What tests/migration plays, many times: schedules, messages that are changed, and the time that a move takes.

use crate::runs::{self, Count, Finding};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use moves::disks::Fault;
use moves::simulation::{Reached, schedule};
use moves::{bits, tpm};

/// Where schedules ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// The source lived on.
    pub stayed: u64,
    /// The source was dead, and the destination had no receipt yet.
    pub waiting: u64,
    /// The destination lived.
    pub moved: u64,
}

impl Count for Counts {
    fn add(&mut self, other: &Self) {
        self.stayed += other.stayed;
        self.waiting += other.waiting;
        self.moved += other.moved;
    }
}

/// Runs the schedule of a seed.
///
/// # Errors
/// The rule that it breaks.
pub fn run(seed: u64, counts: &mut Counts) -> Result<(), Finding> {
    let reached = schedule(seed, Fault::None).map_err(|broken| Finding {
        seed,
        what: broken.rule.to_owned(),
        steps: broken.history.into_iter().map(String::from).collect(),
    })?;
    match reached {
        Reached::Stayed => counts.stayed += 1,
        Reached::Waiting => counts.waiting += 1,
        Reached::Moved => counts.moved += 1,
    }
    Ok(())
}

/// Messages.
#[derive(Default)]
struct Messages(u64);

impl Count for Messages {
    fn add(&mut self, other: &Self) {
        self.0 += other.0;
    }
}

/// A share of the bits, so that all processors have some.
const PARTS: u64 = 64;

/// Every bit of every message, every cut, and so many rounds of garbage; what was done.
///
/// # Errors
/// None: what is not refused ends the program.
pub fn octets(seed: u64, rounds: u64) -> Result<String> {
    let flips: Messages = runs::many(0, PARTS, |part, count: &mut Messages| {
        let of_part = |bit: usize| bit as u64 % PARTS == part;
        count.0 += bits::bits(of_part).iter().map(|(_, flips)| *flips as u64).sum::<u64>();
        Ok(())
    })?;
    let cuts = bits::cuts(1);
    let rounds = u32::try_from(rounds).context("too many rounds")?;
    let garbage = bits::garbage(seed, rounds);
    Ok(format!("{} flipped bits, {cuts} cuts, {garbage} messages of garbage: all refused", flips.0))
}

/// The longest that a TPM may be silent, in milliseconds.
const SILENCE_MS: f64 = 100.0;

/// How long a TPM with much in it is silent, of `count` moves.
///
/// # Errors
/// If one does not move, or the middle one is silent for 100 ms or more.
pub fn time(count: u64) -> Result<String> {
    let mut all = Vec::new();
    let mut octets = 0;
    for _ in 0..count {
        let moved = tpm::moved(tpm::furnished()).context("it does not move")?;
        octets = moved.octets;
        all.push((moved.silence, moved.handshake));
    }
    let middle = |of: fn(&(Duration, Duration)) -> Duration| {
        let mut all: Vec<Duration> = all.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().map(|middle| middle.as_secs_f64() * 1000.0)
    };
    let (Some(silence), Some(handshake)) = (middle(|move_| move_.0), middle(|move_| move_.1)) else {
        ensure!(count > 0, "no moves");
        unreachable!("there is a middle one")
    };
    ensure!(
        silence < SILENCE_MS,
        "a TPM of {octets} octets is silent for {silence:.1} ms, and may be for {SILENCE_MS}"
    );
    Ok(format!(
        "a TPM of {octets} octets is silent for {silence:.1} ms, without disks; before that {handshake:.1} ms of keys, \
         reports and certificates, while it answers ({count} moves)"
    ))
}
