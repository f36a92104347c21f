//! The TPM at the boot: where the disk with its state is found, and how it begins.

use alloc::boxed::Box;
use core::fmt;

use keeper::anchors::{ByRelay, Post};
use keeper::moving::{Home, Nowhere};
use keeper::{Device, Keeping, Opened, Opening, Refusal, Sectors, refused};
use kernel::clock::{ASSUMED_KHZ, TickClock};
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::{Keeper, Platform};
use kernel::state::{Kept, Place, StateSetting, Wanted, flag};
use relay::service;
use snp::instr::rdtsc;
use snp::report::Report;
use tpm_core::{Clock, Entropy};
use virtio::disk::{Disk, SHARED_PAGES};
use virtio::host::Function;
use virtio::registers::Registers;
use virtio::{Fault, mmio, pci};

use crate::devices::Devices;
use crate::host::{PspReports, say};
use crate::memory::Memory;
use crate::moving::Moves;
use crate::programs::Programs;

/// Where the registers of PCI functions are put (docs/boot.md, "Devices of VMPL0"): of the disk, and of the console.
const WINDOW: u64 = 0x7f_f000_0000;
/// The console's.
pub const CONSOLE_WINDOW: u64 = 0x7f_f010_0000;
/// How long a device may take to answer.
const PATIENCE_MS: u64 = 20_000;

/// The registers of a device, where it is.
pub fn registers(devices: &mut Devices, place: Place, window: u64) -> Result<Registers, Fault> {
    match place {
        Place::Pci(device, function) => {
            pci::open(devices, Function::new(device, function).ok_or(Fault::Absent)?, window)
        }
        Place::Mmio(gpa) => mmio::open(devices, gpa),
    }
}

/// How many ticks of the counter a device may take.
pub fn patience(khz: Option<u64>) -> u64 {
    PATIENCE_MS.saturating_mul(khz.unwrap_or(ASSUMED_KHZ))
}

/// The disk. `None`: there is none, and none is wanted, or that is allowed.
#[inline(never)]
fn find(memory: &mut Memory, setting: &StateSetting<'_>, khz: Option<u64>) -> Result<Option<Device>, Fatal> {
    let Some((wanted, place)) = setting.disk else { return Ok(None) };
    let mut devices = Devices::new(memory, SHARED_PAGES)?;
    let unusable = |fault| refused(Refusal::Device(fault));
    match registers(&mut devices, place, WINDOW) {
        Err(Fault::Absent) if wanted == Wanted::Allowed => {
            say("state", format_args!("there is no disk: the TPM is a new one, and is kept nowhere"));
            Ok(None)
        }
        Err(Fault::Absent) => Err(Fatal::new(Reason::NoDisk, format_args!("at {place:?}"))),
        Err(fault) => Err(unusable(fault)),
        Ok(registers) => {
            let disk = Disk::open(devices, registers, patience(khz)).map_err(unusable)?;
            Ok(Some(Device::new(Sectors(disk))))
        }
    }
}

/// The state's disk, opened. `None`: there is none, and that is allowed.
///
/// # Errors
/// Why it cannot be used: `NoDisk`, and those of [`keeper::open`].
#[expect(clippy::too_many_arguments, reason = "each is of another origin, and all are needed at once")]
pub fn open(
    memory: &mut Memory,
    setting: &StateSetting<'_>,
    moves: &Moves,
    reports: &mut PspReports,
    report: &Report,
    khz: Option<u64>,
    programs: Option<Programs>,
    entropy: &mut dyn Entropy,
) -> Result<Option<Opened>, Fatal> {
    let Some(disk) = find(memory, setting, khz)? else { return Ok(None) };
    let post = programs.map(|programs| -> Box<dyn Post> {
        Box::new(ByRelay { relay: programs.counter(service::ANCHORS), clock: TickClock::new(rdtsc, khz) })
    });
    let opening = Opening { setting, report, receives: moves.receives(), tell };
    keeper::open(disk, &opening, &mut |request| reports.derived_key(request), entropy, post).map(Some)
}

fn tell(why: &dyn fmt::Display) {
    say("state", format_args!("{why}"));
}

/// A TPM that has begun, and who would write its tombstone.
pub struct Begun<E, C> {
    /// It.
    pub tpm: Platform<E, C>,
    /// Where it may leave.
    pub home: Option<Box<dyn Home + Send>>,
}

/// The TPM whose state is on the disk, one that arrives, or one with new seeds. Its endorsement key is made when it is
/// to be attested, which is told then. The state is on the disk before the guest runs, under an epoch of this boot's.
/// Where the TPM has moved before this boot, this does not return.
///
/// # Errors
/// `Tpm`, `Damaged`, `Disk`, `Entropy`, `State`; `Old`, `Anchors`.
pub fn begin<E: Entropy>(
    mut entropy: E,
    khz: Option<u64>,
    state: Option<Opened>,
    moves: &Moves,
    reports: &mut PspReports,
) -> Result<Begun<E, impl Clock + use<E>>, Fatal> {
    let clock = TickClock::new(rdtsc, khz);
    let endorsed = |ms| say("ek", format_args!("RSA-2048, derived in {ms} ms, and bound by the manifest"));
    let living = match state {
        Some(Opened::Moved(tombstone)) => return Err(moves.give_receipts(tombstone, khz)),
        Some(Opened::Waits(mut berth, waits)) => {
            let mut tpm = Platform::vacant(entropy, clock, endorsed);
            moves.arrive(&mut tpm, reports, waits, &mut berth, khz).map_err(|why| berth.why().unwrap_or(why))?;
            let keeper = berth.keeper().ok_or_else(Fatal::plain(Reason::Disk))?;
            say_anchors(&keeper);
            return moves.begun(tpm, keeper);
        }
        None if moves.receives() => {
            let mut nowhere = Nowhere::draw(&mut entropy).map_err(Fatal::because(Reason::Entropy))?;
            let mut tpm = Platform::vacant(entropy, clock, endorsed);
            moves.arrive(&mut tpm, reports, None, &mut nowhere, khz)?;
            return moves.begun(tpm, nowhere);
        }
        Some(Opened::Lives(living)) => Some(living),
        None => None,
    };
    let Some(living) = living else {
        let nowhere = moves.is_possible().then(|| Nowhere::draw(&mut entropy)).transpose();
        let nowhere = nowhere.map_err(Fatal::because(Reason::Entropy))?;
        let mut tpm = Platform::manufacture(entropy, clock, endorsed).map_err(Fatal::because(Reason::Tpm))?;
        say("tpm", format_args!("manufactured, {} ms", tpm.now_ms()));
        return match nowhere {
            None => Ok(Begun { tpm, home: None }),
            Some(nowhere) => moves.begun(tpm, nowhere),
        };
    };
    let (kept, mut keeper) = living.load(tell)?;
    let mut tpm = match kept {
        None => Platform::manufacture(entropy, clock, endorsed).map_err(Fatal::because(Reason::Tpm))?,
        Some(kept) => Platform::resume(&kept, entropy, clock, endorsed).map_err(Fatal::because(Reason::Damaged))?,
    };
    let from = keeper.kept().epoch;
    tpm.with(|tpm, _| keeper.begin(tpm))?;
    say_anchors(&keeper);
    match from {
        0 => say("tpm", format_args!("manufactured for the disk, {} ms", tpm.now_ms())),
        epoch => say("tpm", format_args!("taken from the disk, of epoch {epoch}, {} ms", tpm.now_ms())),
    }
    moves.begun(tpm, keeper)
}

fn say_anchors(keeper: &Keeping) {
    let Kept { epoch, flags, .. } = keeper.kept();
    if flags & flag::ANCHORED != 0 {
        say("anchors", format_args!("epoch {epoch} is with them"));
    } else if flags & flag::TOO_FEW != 0 {
        say("anchors", format_args!("too few answer: the TPM goes on, and evidence says so"));
    }
}
