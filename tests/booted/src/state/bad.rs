//! A disk that fails, answers garbage, forgets, lies about its size or falls silent, in the machine: each has its end
//! by name, at the boot or amid commands, and what was kept before is there when the disk is itself again.

use super::inside::{self, Octets, Record};
use super::number::{self, checked, good};
use super::{begun, ended, start_with};
use crate::{Totals, case};
use anyhow::{Result, bail, ensure};
use client::cc;
use client::codes::FAILURE;
use client::command::{response_code, with_passwords};
use client::history::startup;
use host::boot::Built;
use host::nbd::Asked::{self, Flush, Read, Write};
use host::nbd::Conduct::{self, Fail, FallSilent, Forget, Garbage};
use host::nbd::Served;
use host::psp::Identity;
use host::relay::Relay;
use sealed::SECTOR;

/// The sectors of the heads, and of the contents behind them (docs/persistence.md, "The disk, version 2").
const HEADS: [u64; 2] = [2048, 4096];
const CONTENTS: u64 = 8;

type When = fn(Asked) -> bool;
/// A disk that is a bad one from the start: what it does when, the end's code, what is said.
type AtBoot = (&'static str, Conduct, When, u8, &'static str);
/// One that becomes a bad one when the guest runs.
type Amid = (&'static str, Conduct, When);

const fn is_head(octet: u64) -> bool {
    let sector = octet / SECTOR as u64;
    sector == HEADS[0] || sector == HEADS[1]
}

const fn is_contents(octet: u64) -> bool {
    octet / SECTOR as u64 >= HEADS[0] + CONTENTS && !is_head(octet)
}

const FAILED: &str = "the device says that the request has failed";
const SILENT: &str = "the device does not answer";

const AT_BOOT: [AtBoot; 12] = [
    ("every read fails", Fail, |asked| matches!(asked, Read(_)), 24, FAILED),
    ("reads of heads fail", Fail, |asked| matches!(asked, Read(at) if is_head(at)), 24, FAILED),
    ("reads of contents fail", Fail, |asked| matches!(asked, Read(at) if is_contents(at)), 24, FAILED),
    ("every read is garbage", Garbage, |asked| matches!(asked, Read(_)), 25, "not prepared"),
    ("heads are garbage", Garbage, |asked| matches!(asked, Read(at) if is_head(at)), 26, "the head of the record"),
    ("contents are garbage", Garbage, |asked| matches!(asked, Read(at) if is_contents(at)), 26, "the contents"),
    ("every read is zeros", Forget, |asked| matches!(asked, Read(_)), 25, "not prepared"),
    ("heads are zeros", Forget, |asked| matches!(asked, Read(at) if is_head(at)), 26, "the head of the record"),
    ("contents are zeros", Forget, |asked| matches!(asked, Read(at) if is_contents(at)), 26, "the contents"),
    ("every write fails", Fail, |asked| matches!(asked, Write(_)), 24, ""),
    ("every flush fails", Fail, |asked| matches!(asked, Flush), 24, ""),
    // Not the first sector: QEMU's BIOS reads that before the machine starts, and has no patience.
    ("reads of heads are not answered", FallSilent, |asked| matches!(asked, Read(at) if is_head(at)), 24, SILENT),
];

/// Each takes as long as the firmware has patience: by name.
const SILENT_AT_BOOT: [AtBoot; 3] = [
    (
        "reads of contents are not answered",
        FallSilent,
        |asked| matches!(asked, Read(at) if is_contents(at)),
        24,
        SILENT,
    ),
    ("writes are not answered", FallSilent, |asked| matches!(asked, Write(_)), 24, ""),
    ("flushes are not answered", FallSilent, |asked| matches!(asked, Flush), 24, ""),
];

/// What fails when the guest runs.
const AMID_COMMANDS: [Amid; 4] = [
    ("a write fails", Fail, |asked| matches!(asked, Write(_))),
    ("the write of a head fails", Fail, |asked| matches!(asked, Write(at) if is_head(at))),
    ("a flush fails", Fail, |asked| matches!(asked, Flush)),
    ("a write is not answered", FallSilent, |asked| matches!(asked, Write(_))),
];

const SILENT_AMID_COMMANDS: [Amid; 2] = [
    ("the write of a head is not answered", FallSilent, |asked| matches!(asked, Write(at) if is_head(at))),
    ("a flush is not answered", FallSilent, |asked| matches!(asked, Flush)),
];

/// All of it.
pub(super) fn run(built: &Built) -> Result<Totals> {
    let scene = Scene::new(built)?;
    let mut totals = scene.each(&AT_BOOT, &AMID_COMMANDS);
    totals += case("a disk that says it is longer than it is: code 24", scene.too_long());
    totals += case("a disk that says it is shorter than it is: code 24", scene.too_short());
    totals += case("a disk that says it has 2^50 octets: what is named is used", scene.huge());
    totals += case("a disk that forgets all writes: the state before, and no other", scene.forgets());
    totals += case("a disk that writes garbage: damage, and nothing older", scene.spoils());
    Ok(totals)
}

/// What is silent at other moments.
pub(super) fn silent(built: &Built) -> Result<Totals> {
    Ok(Scene::new(built)?.each(&SILENT_AT_BOOT, &SILENT_AMID_COMMANDS))
}

struct Scene<'a> {
    built: &'a Built,
    /// with a TPM that has a number
    octets: Vec<u8>,
    record: Record,
}

impl<'a> Scene<'a> {
    fn new(built: &'a Built) -> Result<Self> {
        let disk = Served::new(super::cuts::empty()?)?;
        let qemu = start_with(built, disk.options(), &Identity::development())?;
        let (qemu, mut relay) = begun(built, qemu, 0)?;
        for command in [startup(), number::define(), number::write(7)] {
            checked(&mut relay, &command)?;
        }
        drop(qemu);
        let mut scene =
            Self { built, octets: disk.octets(), record: Record { epoch: 0, identity: [0; 32], state: None } };
        scene.record = scene.found(&disk)?;
        Ok(scene)
    }

    fn each(&self, at_boot: &[AtBoot], amid_commands: &[Amid]) -> Totals {
        let mut totals = Totals::default();
        for (name, conduct, when, code, says) in at_boot {
            let ended = self.at_boot(*conduct, *when, *code, says);
            totals += case(&format!("a disk at the boot, {name}: code {code}"), ended);
        }
        for (name, conduct, when) in amid_commands {
            let failed = self.amid_commands(*conduct, *when);
            totals += case(&format!("amid commands {name}: the TPM fails"), failed);
        }
        totals
    }

    fn found(&self, disk: &Served) -> Result<Record> {
        let writer = inside::writer(self.built);
        let key = inside::chip_key(&Identity::development(), 0, &writer);
        Ok(inside::open(&mut Octets(disk.octets()), &writer, key)?)
    }

    fn ends(&self, disk: &Served, code: u8, says: &str) -> Result<()> {
        ended(start_with(self.built, disk.options(), &Identity::development())?, self.built, code, says)
    }

    /// When the disk is itself again, a boot from it finds this record's TPM, with this number.
    fn goes_on(&self, disk: &Served, epoch: u64, number: u64) -> Result<()> {
        disk.behave();
        let qemu = start_with(self.built, disk.options(), &Identity::development())?;
        let (_qemu, mut relay) = begun(self.built, qemu, epoch)?;
        checked(&mut relay, &startup())?;
        let found = number::of(relay.tpm(&number::read())?)?;
        ensure!(found == number, "{found} is found, not {number}");
        Ok(())
    }

    fn at_boot(&self, conduct: Conduct, when: When, code: u8, says: &str) -> Result<()> {
        let disk = Served::new(self.octets.clone())?;
        disk.misbehave(conduct, when);
        self.ends(&disk, code, says)?;
        let found = self.found(&disk)?;
        // A flush that was not answered, or failed, may have been carried out.
        ensure!(found == self.record || found.epoch == self.record.epoch + 1, "the disk is another than before");
        ensure!(found == self.record || conduct != Garbage, "a record was written to a disk that is garbage");
        Ok(())
    }

    fn too_long(&self) -> Result<()> {
        let mut octets = self.octets.clone();
        octets.truncate(1 << 20);
        self.ends(&Served::that_claims(octets, self.octets.len())?, 24, FAILED)
    }

    fn too_short(&self) -> Result<()> {
        self.ends(&Served::that_claims(self.octets.clone(), 1 << 20)?, 24, "the disk has 2048 sectors and needs 6144")
    }

    fn huge(&self) -> Result<()> {
        self.goes_on(&Served::that_claims(self.octets.clone(), 1 << 50)?, self.record.epoch, 7)
    }

    fn amid_commands(&self, conduct: Conduct, when: When) -> Result<()> {
        let disk = Served::new(self.octets.clone())?;
        let qemu = start_with(self.built, disk.options(), &Identity::development())?;
        let (qemu, mut relay) = begun(self.built, qemu, self.record.epoch)?;
        for command in [startup(), number::write(8)] {
            checked(&mut relay, &command)?;
        }
        let before = self.found(&disk)?;
        disk.misbehave(conduct, when);
        let extend = with_passwords(cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat());
        good(relay.tpm(&extend)?)?;
        let answer = response_code(&relay.tpm(&number::write(9))?);
        ensure!(answer == FAILURE, "the write that is not kept is answered by {answer:#x}");
        disk.behave();
        for command in [number::read(), number::write(10), extend] {
            let answer = response_code(&relay.tpm(&command)?);
            ensure!(answer == FAILURE, "a command after it is answered by {answer:#x}");
        }
        drop(qemu);
        let after = self.found(&disk)?;
        let number = match after.epoch.checked_sub(before.epoch) {
            Some(0) => 8,
            Some(1) => 9,
            _ => bail!("epoch {} after {}", after.epoch, before.epoch),
        };
        self.goes_on(&disk, after.epoch, number)
    }

    /// What it says is as if it had been put back: whole, old, and to be told by its epoch.
    fn forgets(&self) -> Result<()> {
        let disk = Served::new(self.octets.clone())?;
        disk.misbehave(Forget, |asked| !matches!(asked, Read(_)));
        let qemu = start_with(self.built, disk.options(), &Identity::development())?;
        let (qemu, mut relay) = begun(self.built, qemu, self.record.epoch)?;
        for command in [startup(), number::write(8)] {
            checked(&mut relay, &command)?;
        }
        drop(qemu);
        ensure!(disk.octets() == self.octets, "it has not forgotten");
        self.goes_on(&disk, self.record.epoch, 7)
    }

    fn spoils(&self) -> Result<()> {
        let disk = Served::new(self.octets.clone())?;
        let qemu = start_with(self.built, disk.options(), &Identity::development())?;
        let (qemu, mut relay) = begun(self.built, qemu, self.record.epoch)?;
        disk.misbehave(Garbage, |asked| matches!(asked, Write(at) if is_contents(at)));
        checked(&mut relay, &startup())?;
        drop(qemu);
        disk.behave();
        self.ends(&disk, 26, "the contents")
    }
}
