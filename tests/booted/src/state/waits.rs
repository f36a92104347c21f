//! How long a command waits for the disk: TPM2_NV_Write, which is answered when it is there for good, and
//! TPM2_PCR_Extend, which does not touch the disk.

use super::number::{self, checked};
use super::{begun, start, start_with};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use client::cc;
use client::command::with_passwords;
use client::history::startup;
use core::time::Duration;
use host::boot::Built;
use host::devices::FileDisk;
use host::nbd::{Counts, Served};
use host::psp::Identity;
use host::qemu::Folder;
use host::relay::Relay;
use std::time::Instant;

/// Commands of each kind whose requests are counted.
const COUNTED: u64 = 20;

fn extend() -> Vec<u8> {
    with_passwords(cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat())
}

/// What each command asks of a disk, counted by the disk.
pub(super) fn counted(built: &Built) -> Result<Totals> {
    let disk = Served::new(super::cuts::empty()?)?;
    let qemu = start_with(built, disk.options(), &Identity::development())?;
    let (_qemu, mut relay) = begun(built, qemu, 0)?;
    for command in [startup(), number::define(), number::write(0)] {
        checked(&mut relay, &command)?;
    }
    let mut asked = |command: &dyn Fn(u64) -> Vec<u8>| -> Result<Counts> {
        let before = disk.counts();
        for n in 1..=COUNTED {
            checked(&mut relay, &command(n))?;
        }
        let after = disk.counts();
        let Counts { reads, writes, flushes } = after;
        let (reads, writes) = (reads - before.reads, writes - before.writes);
        Ok(Counts { reads, writes, flushes: flushes - before.flushes })
    };
    let is = |counts: Counts, writes: u64| {
        let expected = Counts { reads: 0, writes, flushes: writes };
        ensure!(counts == expected, "{COUNTED} commands: {counts:?}, not {expected:?}");
        Ok(())
    };
    let mut totals = Totals::default();
    let (extends, writes) = (asked(&|_| extend())?, asked(&number::write)?);
    totals += case("TPM2_PCR_Extend asks nothing of the disk", is(extends, 0));
    totals += case("TPM2_NV_Write: contents and head, each written once and flushed", is(writes, 2 * COUNTED));
    totals += case("TPM2_NV_Read asks nothing of the disk", is(asked(&|_| number::read())?, 0));
    totals += case("a number that is written again is not", is(asked(&|_| number::write(COUNTED))?, 0));
    Ok(totals)
}

/// Medians of so many commands each, with a file of this computer's as the disk, and without one.
pub(super) fn measured(kept: &Built, allowed: &Built, count: u32) -> Result<String> {
    let folder = Folder::new()?;
    let disk = folder.path().join("state.disk");
    FileDisk::prepare(&disk)?;
    let with = medians(kept, Some(&disk), count)?;
    let without = medians(allowed, None, count)?;
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    Ok(format!(
        "TPM2_NV_Write {} ms with the disk and {} without, TPM2_PCR_Extend {} and {}: medians of {count} commands, through the payload's serial port, in the machine",
        ms(with[0]),
        ms(without[0]),
        ms(with[1]),
        ms(without[1])
    ))
}

fn medians(built: &Built, disk: Option<&std::path::Path>, count: u32) -> Result<[Duration; 2]> {
    let mut qemu = start(built, disk, &Identity::development())?;
    host::boot::hear_until_guest(&mut qemu, &built.image, |_, _| {})?;
    let mut relay = qemu.relay()?;
    for command in [startup(), number::define(), number::write(0)] {
        checked(&mut relay, &command)?;
    }
    let mut writes = times(&mut relay, count, |n| number::write(n.into()))?;
    let mut extends = times(&mut relay, count, |_| extend())?;
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().context("no times")
    };
    Ok([median(&mut writes)?, median(&mut extends)?])
}

fn times(relay: &mut dyn Relay, count: u32, command: impl Fn(u32) -> Vec<u8>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 1..=count {
        let command = command(n);
        let started = Instant::now();
        checked(relay, &command)?;
        times.push(started.elapsed());
    }
    Ok(times)
}
