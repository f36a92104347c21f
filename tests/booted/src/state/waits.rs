//! How long a command waits for the disk: TPM2_NV_Write, which is answered when it is there for good, and
//! TPM2_PCR_Extend, which does not touch the disk.

use super::number::{self, checked};
use super::{begun, start_with};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use client::cc;
use client::command::with_passwords;
use client::history::startup;
use core::time::Duration;
use host::boot::Built;
use host::nbd::{Counts, Served};
use host::psp::Identity;
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

/// What the disk adds to a command, as it is seen there: a disk in this program's memory, so that what a medium needs
/// comes besides. Medians of so many commands each.
pub(super) fn measured(built: &Built, count: u32) -> Result<String> {
    let disk = Served::new(super::cuts::empty()?)?;
    let qemu = start_with(built, disk.options(), &Identity::development())?;
    let (_qemu, mut relay) = begun(built, qemu, 0)?;
    for command in [startup(), number::define(), number::write(0)] {
        checked(&mut relay, &command)?;
    }
    let (mut waits, mut writes, mut extends) = (Vec::new(), Vec::new(), Vec::new());
    for n in 1..=count {
        let _ = disk.span();
        writes.push(time(&mut relay, &number::write(n.into()))?);
        waits.push(disk.span().context("a number was written, and not to the disk")?);
        extends.push(time(&mut relay, &extend())?);
        ensure!(disk.span().is_none(), "TPM2_PCR_Extend has written to the disk");
    }
    let [waits, writes, extends] = [waits, writes, extends].map(median);
    Ok(format!(
        "TPM2_NV_Write {} ms, from the arrival of its first write at the disk to the end of its last flush, of {} until \
         its answer; TPM2_PCR_Extend nothing, of {}: medians of {count} commands, through the payload's serial port, in \
         the machine, with a disk in memory behind NBD",
        waits?, writes?, extends?
    ))
}

fn time(relay: &mut dyn Relay, command: &[u8]) -> Result<Duration> {
    let started = Instant::now();
    checked(relay, command)?;
    Ok(started.elapsed())
}

/// The middle one, in milliseconds.
fn median(mut times: Vec<Duration>) -> Result<String> {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).context("no times")?;
    Ok(format!("{:.2}", middle.as_secs_f64() * 1000.0))
}
