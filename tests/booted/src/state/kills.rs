//! QEMU killed at any moment of boots and of commits, one after the other on one disk. What is there then is opened on
//! the host, and found by the next boot: epoch and a number in NV are those that were answered last, or both are the
//! ones that were under way.

use super::inside::{self, Model, Octets};
use super::number::{self, checked};
use super::{attested, begun, start};
use crate::{Totals, case};
use anyhow::{Context, Result, bail, ensure};
use client::chance::Chance;
use client::history::startup;
use core::fmt;
use core::time::Duration;
use fs_err as fs;
use host::boot::{self, Built};
use host::devices::FileDisk;
use host::psp::Identity;
use host::qemu::{Folder, Qemu};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::thread;
use std::time::Instant;

/// Of the suite.
pub(super) const SHORT: u32 = 3;
/// So long at most commands are sent before the kill.
const WORK: Duration = Duration::from_millis(600);

/// What has become of the kills.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Done {
    amid_boots: u32,
    amid_commands: u32,
    forward: u32,
    answered: u64,
    epoch: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { amid_boots, amid_commands, forward, answered, epoch } = self;
        write!(
            f,
            "{} kills: {amid_boots} amid boots, {amid_commands} amid commands; {answered} writes answered, all there; {forward} times the record that was under way was there, too; epoch {epoch}",
            amid_boots + amid_commands
        )
    }
}

/// As a case of the suite.
pub(super) fn short(built: &Built, seed: u64) -> Totals {
    let killed = run(built, SHORT, seed).map(drop);
    case(&format!("QEMU is killed {SHORT} times amid boots and writes: old or new"), killed)
}

/// Kills so often, at moments from this seed.
pub(super) fn run(built: &Built, count: u32, seed: u64) -> Result<Done> {
    let folder = Folder::new()?;
    let disk = folder.path().join("killed.disk");
    FileDisk::prepare(&disk)?;
    let mut scene = Scene { built, disk: &disk, chance: Chance::new(seed), done: Done::default() };
    let boot = scene.first()?;
    for round in 0..count {
        let before = scene.found()?;
        let seen = scene.killed(boot, round % 2 == 1).with_context(|| format!("kill {round} of seed {seed}"))?;
        let after = scene.found().with_context(|| format!("kill {round} of seed {seed}: what is on the disk"))?;
        seen.judge(before, after).with_context(|| format!("kill {round} of seed {seed}"))?;
        scene.done.forward += u32::from(after.number > before.number + seen.answered);
        scene.done.answered += seen.answered;
        scene.done.epoch = after.epoch;
        println!("     {}", scene.done);
    }
    // Nothing is killed any more, and the machine itself finds what was there.
    let last = scene.found()?;
    let (_qemu, mut relay) = begun(built, start(built, Some(&disk), &Identity::development())?, last.epoch)?;
    checked(&mut relay, &startup())?;
    let number = number::of(checked(&mut relay, &number::read())?)?;
    ensure!(number == last.number, "the last boot finds {number}, not {}", last.number);
    let (attested, found) = (attested(&mut relay)?.1, scene.found()?.epoch);
    ensure!(attested == found, "epoch {attested} is attested, and {found} is on the disk");
    Ok(scene.done)
}

/// What a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    epoch: u64,
    number: u64,
}

/// What was seen of a boot until it was killed.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// what was on the disk when the guest had started the TPM, if it came so far
    started: Option<Found>,
    answered: u64,
}

impl Seen {
    fn judge(self, before: Found, after: Found) -> Result<()> {
        let said = format!("{before:?}, then {self:?}, then {after:?}");
        let Some(started) = self.started else {
            // The boot's record, and that of TPM2_Startup.
            ensure!(after.number == before.number && (0..=2).contains(&(after.epoch - before.epoch)), "{said}");
            return Ok(());
        };
        ensure!(started.number == before.number && started.epoch > before.epoch, "{said}");
        let more = after.number.checked_sub(started.number + self.answered);
        ensure!(more.is_some_and(|more| more <= 1), "{said}");
        ensure!(after.epoch.checked_sub(started.epoch + self.answered) == more, "epoch and number do not fit: {said}");
        Ok(())
    }
}

struct Scene<'a> {
    built: &'a Built,
    disk: &'a Path,
    chance: Chance,
    done: Done,
}

impl Scene<'_> {
    /// Makes the TPM and the index; how long a boot takes.
    fn first(&self) -> Result<Duration> {
        let qemu = start(self.built, Some(self.disk), &Identity::development())?;
        let (qemu, mut relay) = begun(self.built, qemu, 0)?;
        let boot = qemu.elapsed();
        for command in [startup(), number::define(), number::write(0)] {
            checked(&mut relay, &command)?;
        }
        Ok(boot)
    }

    fn found(&self) -> Result<Found> {
        let writer = inside::writer(self.built);
        let key = inside::chip_key(&Identity::development(), 0, &writer);
        let record = inside::open(&mut Octets(fs::read(self.disk)?), &writer, key)?;
        let number = number::of(Model::of(&record)?.run(&number::read()))?;
        Ok(Found { epoch: record.epoch, number })
    }

    /// Starts the machine, and kills it: before the guest runs, which takes as long as `boot`, or amid commands.
    fn killed(&mut self, boot: Duration, amid_boot: bool) -> Result<Seen> {
        let before = self.found()?;
        let within = if amid_boot { boot } else { WORK };
        let moment = Duration::from_micros(self.chance.draw() % u64::try_from(within.as_micros())?);
        let mut qemu = start(self.built, Some(self.disk), &Identity::development())?;
        let mut seen = Seen { started: None, answered: 0 };
        if amid_boot {
            let killer = kill_at(&qemu, moment)?;
            let heard = boot::hear_until_guest(&mut qemu, &self.built.image, |_, _| {});
            let was_killed = qemu.elapsed() >= moment;
            killer.join().ok().context("QEMU was not killed")?;
            ensure!(was_killed || heard.is_ok(), "the boot has failed by itself: {heard:?}");
            self.done.amid_boots += 1;
            return Ok(seen);
        }
        let (qemu, mut relay) = begun(self.built, qemu, before.epoch)?;
        checked(&mut relay, &startup())?;
        let started = self.found()?;
        seen.started = Some(started);
        let killer = kill_at(&qemu, qemu.elapsed() + moment)?;
        while checked(&mut relay, &number::write(started.number + seen.answered + 1)).is_ok() {
            seen.answered += 1;
        }
        killer.join().ok().context("QEMU was not killed")?;
        self.done.amid_commands += 1;
        Ok(seen)
    }
}

/// A thread that kills QEMU when it has run so long.
fn kill_at(qemu: &Qemu, moment: Duration) -> Result<thread::JoinHandle<()>> {
    let Some(pid) = Pid::from_raw(qemu.id().cast_signed()) else { bail!("QEMU has no number") };
    let at = Instant::now() + moment.saturating_sub(qemu.elapsed());
    Ok(thread::spawn(move || {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        // Its number is its own until we have waited for it.
        let _ = kill_process(pid, Signal::KILL);
    }))
}

#[cfg(test)]
mod tests {
    use super::{Found, Seen};

    #[test]
    fn epoch_and_number_are_those_that_were_answered_or_both_one_more() {
        let before = Found { epoch: 10, number: 5 };
        let found = |epoch, number| Found { epoch, number };
        let amid_boot = Seen { started: None, answered: 0 };
        assert!((10..=12).all(|epoch| amid_boot.judge(before, found(epoch, 5)).is_ok()));
        assert!(amid_boot.judge(before, found(13, 5)).is_err() && amid_boot.judge(before, found(11, 6)).is_err());
        let amid_writes = Seen { started: Some(found(12, 5)), answered: 3 };
        assert!(amid_writes.judge(before, found(15, 8)).is_ok() && amid_writes.judge(before, found(16, 9)).is_ok());
        for (epoch, number) in [(14, 7), (15, 7), (14, 8), (16, 8), (15, 9), (17, 10)] {
            assert!(amid_writes.judge(before, found(epoch, number)).is_err(), "{epoch} {number}");
        }
    }
}
