use std::vec;
use std::vec::Vec;

use crate::console::Console;
use crate::disk::{Disk, SECTOR};
use crate::fake::{Fake, Kind, Lies, MMIO_BASE};
use crate::host::Function;
use crate::registers::Registers;
use crate::{Fault, mmio, pci};

const WINDOW: u64 = 0x7F_F000_0000;
const PATIENCE: u64 = 1000;
const HONEST: Lies = Lies { rate: 0, seed: 0 };

fn function() -> Function {
    Function::new(30, 0).unwrap()
}

fn open(fake: &Fake, is_pci: bool) -> Result<Registers, Fault> {
    let host = &mut fake.clone();
    if is_pci { pci::open(host, function(), WINDOW) } else { mmio::open(host, MMIO_BASE) }
}

fn disk(fake: &Fake) -> Result<Disk<Fake>, Fault> {
    let registers = open(fake, true)?;
    Disk::open(fake.clone(), registers, PATIENCE)
}

fn honest(kind: Kind) -> Fake {
    Fake::new(kind, true, 200, HONEST)
}

fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|n| u8::try_from(n * n / 7 % 251).unwrap()).collect()
}

#[test]
fn a_disk_gives_back_what_was_written_over_pci_and_mmio() {
    for is_pci in [true, false] {
        let fake = Fake::new(Kind::Disk, is_pci, 200, HONEST);
        let registers = open(&fake, is_pci).unwrap();
        let mut disk = Disk::open(fake.clone(), registers, PATIENCE).unwrap();
        assert_eq!(disk.sectors(), 200);
        // Within one request, and over several, whose pages are used again.
        for (first, sectors) in [(0, 1), (7, 8), (3, 64), (1, 199), (0, 200)] {
            let octets = pattern(sectors * SECTOR);
            disk.write(first, &octets).unwrap();
            disk.flush().unwrap();
            let mut back = vec![0; octets.len()];
            disk.read(first, &mut back).unwrap();
            assert_eq!(back, octets, "{first} {sectors}");
            let at = SECTOR * usize::try_from(first).unwrap();
            fake.change(|state| assert_eq!(state.sectors[at..at + octets.len()], octets));
        }
        fake.change(|state| assert_eq!(state.flushes, 5));
    }
}

#[test]
fn sectors_that_are_not_there_are_not_asked_for() {
    let fake = honest(Kind::Disk);
    let mut disk = disk(&fake).unwrap();
    let before = fake.change(|state| state.answers);
    assert_eq!(disk.read(200, &mut [0; SECTOR]), Err(Fault::Range));
    assert_eq!(disk.read(u64::MAX, &mut [0; SECTOR]), Err(Fault::Range));
    assert_eq!(disk.write(199, &[0; 2 * SECTOR]), Err(Fault::Range));
    assert_eq!(disk.write(0, &[0; 100]), Err(Fault::Range));
    assert_eq!(fake.change(|state| state.answers), before);
    assert_eq!(disk.read(199, &mut [0; SECTOR]), Ok(()));
}

#[test]
fn a_request_that_fails_says_so_and_the_next_one_may_not() {
    let fake = honest(Kind::Disk);
    let mut disk = disk(&fake).unwrap();
    for outcome in [1, 2, 3, 0xFF] {
        fake.change(|state| state.outcome = outcome);
        assert_eq!(disk.read(0, &mut [0; SECTOR]), Err(Fault::Failed));
        assert_eq!(disk.write(0, &[0; SECTOR]), Err(Fault::Failed));
        assert_eq!(disk.flush(), Err(Fault::Failed));
        fake.change(|state| state.outcome = 0);
        assert_eq!(disk.flush(), Ok(()));
    }
}

/// The device still has the pages of the request: it is not asked again.
#[test]
fn a_device_that_does_not_answer_is_an_error_and_not_asked_again() {
    let fake = honest(Kind::Disk);
    let mut disk = disk(&fake).unwrap();
    fake.change(|state| state.is_silent = true);
    assert_eq!(disk.write(0, &[1; SECTOR]), Err(Fault::Stalled));
    fake.change(|state| state.is_silent = false);
    let before = fake.change(|state| state.answers);
    assert_eq!(disk.flush(), Err(Fault::Stalled));
    assert_eq!(disk.read(0, &mut [0; SECTOR]), Err(Fault::Stalled));
    // Nor for a reset, which QEMU would answer when the request is done.
    drop(disk);
    assert_eq!(fake.change(|state| state.answers), before);
}

#[test]
fn a_disk_that_cannot_flush_or_be_written_or_is_legacy_is_none() {
    for (features, fault) in
        [(1 << 32, Fault::Features), (1 << 9, Fault::Features), (1 << 32 | 1 << 9 | 1 << 5, Fault::ReadOnly)]
    {
        let fake = honest(Kind::Disk);
        fake.change(|state| state.offer(features));
        assert_eq!(disk(&fake).err(), Some(fault), "{features:#x}");
    }
    assert_eq!(disk(&honest(Kind::Console)).err(), Some(Fault::Absent));
}

#[test]
fn what_is_no_virtio_function_is_absent() {
    let fake = honest(Kind::Disk);
    let host = &mut fake.clone();
    assert_eq!(pci::open(host, Function::new(29, 0).unwrap(), WINDOW), Err(Fault::Absent));
    for id in [0x1042_1AF5_u32, 0x1002_1AF4, 0x0FFF_1AF4] {
        fake.change(|state| state.space()[..4].copy_from_slice(&id.to_le_bytes()));
        assert_eq!(pci::open(host, function(), WINDOW), Err(Fault::Absent), "{id:#x}");
    }
    let fake = Fake::new(Kind::Disk, false, 1, HONEST);
    assert_eq!(mmio::open(&mut fake.clone(), MMIO_BASE + 0x200), Err(Fault::Absent));
    assert_eq!(mmio::open(&mut fake.clone(), u64::MAX - 3), Err(Fault::Absent));
    assert_eq!(Function::new(32, 0), None);
    assert_eq!(Function::new(0, 8), None);
}

/// Changes configuration space at an offset.
fn changed(at: usize, octets: &[u8]) -> Result<Registers, Fault> {
    let fake = honest(Kind::Disk);
    fake.change(|state| state.space()[at..at + octets.len()].copy_from_slice(octets));
    open(&fake, true)
}

#[test]
fn a_list_of_capabilities_that_leads_nowhere_is_refused() {
    assert_eq!(changed(0x41, &[0x40]), Err(Fault::Capabilities), "a circle");
    assert_eq!(changed(0x34, &[0x3C]), Err(Fault::Capabilities), "into the header");
    assert_eq!(changed(0x34, &[0]), Err(Fault::Registers), "empty");
    assert_eq!(changed(6, &[0]), Err(Fault::Registers), "none");
    let fake = honest(Kind::Disk);
    fake.change(|state| {
        state.space()[0x34] = 0xF8;
        state.space()[0xF8..0xFC].copy_from_slice(&[9, 0, 20, 1]);
    });
    assert_eq!(open(&fake, true), Err(Fault::Capabilities), "a structure beyond the end");
}

#[test]
fn structures_outside_of_their_bar_are_refused() {
    assert_eq!(changed(0x44, &[5]), Err(Fault::Registers), "a BAR that cannot have 64 bits");
    assert_eq!(changed(0x44, &[0xFF]), Err(Fault::Registers), "no BAR");
    assert_eq!(changed(0x64, &[2]), Err(Fault::Registers), "another BAR");
    assert_eq!(changed(0x48, &0x3FCC_u32.to_le_bytes()), Err(Fault::Registers), "beyond the end");
    assert_eq!(changed(0x48, &2_u32.to_le_bytes()), Err(Fault::Registers), "not aligned");
    assert_eq!(changed(0x68, &u32::MAX.to_le_bytes()), Err(Fault::Registers), "wraps");
    assert_eq!(changed(0x4C, &0x37_u32.to_le_bytes()), Err(Fault::Registers), "too short");
    assert!(changed(0, &[0xF4]).is_ok());
}

#[test]
fn a_notification_outside_of_its_structure_is_refused() {
    let fake = honest(Kind::Disk);
    // The device names 0 for queue 0, and 1 for queue 1, which only a console has.
    fake.change(|state| state.space()[0x70..0x74].copy_from_slice(&0x1000_u32.to_le_bytes()));
    assert!(disk(&fake).is_ok());
    let fake = honest(Kind::Console);
    fake.change(|state| state.space()[0x70..0x74].copy_from_slice(&0x1000_u32.to_le_bytes()));
    let registers = open(&fake, true).unwrap();
    assert_eq!(Console::open(fake, registers, PATIENCE).err(), Some(Fault::Registers));
}

#[test]
fn a_console_passes_octets_both_ways() {
    let fake = honest(Kind::Console);
    let registers = open(&fake, true).unwrap();
    let mut console = Console::open(fake.clone(), registers, PATIENCE).unwrap();
    let mut out = [0; 100];
    assert_eq!(console.read(&mut out), Ok(0), "nothing has come");
    let long = pattern(10_000);
    console.write(&long).unwrap();
    fake.change(|state| assert_eq!(state.written, long));
    let mut read: Vec<u8> = Vec::new();
    fake.change(|state| state.to_read.extend(&long));
    for _ in 0..1000 {
        fake.change(|state| state.deliver());
        let count = console.read(&mut out).unwrap();
        read.extend(&out[..count]);
    }
    assert_eq!(read, long);
}

fn console(fake: &Fake) -> Console<Fake> {
    let registers = open(fake, true).unwrap();
    Console::open(fake.clone(), registers, PATIENCE).unwrap()
}

/// How many ticks pass while these octets are written, and what comes of it.
fn timed(console: &mut Console<Fake>, fake: &Fake, octets: &[u8]) -> (u64, Result<(), Fault>) {
    let start = fake.change(|state| state.ticks);
    let outcome = console.write(octets);
    (fake.change(|state| state.ticks) - start, outcome)
}

/// The first try costs the patience, and no further one does, until the host has taken what it was offered.
#[test]
fn a_console_that_stalls_goes_on_when_the_host_takes_octets_again() {
    let fake = honest(Kind::Console);
    let mut console = console(&fake);
    console.write(b"before").unwrap();
    fake.change(|state| state.is_silent = true);
    let long = pattern(6000);
    let (ticks, outcome) = timed(&mut console, &fake, &long);
    assert_eq!(outcome, Err(Fault::Stalled));
    assert!((PATIENCE..2 * PATIENCE).contains(&ticks), "{ticks}");
    for _ in 0..5 {
        let (ticks, outcome) = timed(&mut console, &fake, b"meanwhile");
        assert_eq!(outcome, Err(Fault::Stalled));
        assert!(ticks < 5, "a stalled console costs {ticks} ticks");
        fake.change(|state| state.to_read.extend(b"heard"));
        assert_eq!(console.read(&mut [0; 100]), Ok(0), "nothing has come, and that is no error");
    }
    fake.change(|state| {
        state.is_silent = false;
        state.take_written();
        state.deliver();
    });
    let mut out = [0; 100];
    assert_eq!(console.read(&mut out), Ok(25));
    console.write(b"behind").unwrap();
    // The page that was offered, not what would have come behind it, nor what nobody had room for.
    let taken = [&b"before"[..], &long[..4096], b"behind"].concat();
    fake.change(|state| assert_eq!(state.written, taken));
}

/// A host that takes octets only to let the next wait does not cost the whole patience each time.
#[test]
fn who_stalls_again_is_waited_for_less_until_it_keeps_pace() {
    let fake = honest(Kind::Console);
    let mut console = console(&fake);
    let stall = |console: &mut Console<Fake>| {
        fake.change(|state| state.is_silent = true);
        let (ticks, outcome) = timed(console, &fake, b"octets");
        assert_eq!(outcome, Err(Fault::Stalled));
        fake.change(|state| {
            state.is_silent = false;
            state.take_written();
        });
        ticks
    };
    let first = stall(&mut console);
    for _ in 0..3 {
        assert!(stall(&mut console) < first / 8);
    }
    for _ in 0..4 {
        console.write(b"octets").unwrap();
    }
    assert!(stall(&mut console) > first / 2);
}

/// Nor is it asked for a reset, as a disk is not.
#[test]
fn a_console_that_has_not_taken_all_is_not_asked_when_it_is_dropped() {
    let fake = honest(Kind::Console);
    let mut console = console(&fake);
    fake.change(|state| state.is_silent = true);
    assert_eq!(console.write(b"octets"), Err(Fault::Stalled));
    let before = fake.change(|state| state.answers);
    drop(console);
    assert_eq!(fake.change(|state| state.answers), before);
}

type Lie = (fn(&mut crate::fake::State), Fault);

/// Of each of these the driver would believe something.
#[test]
fn a_used_ring_that_cannot_be_ends_the_device() {
    let lies: [Lie; 6] = [
        (|state| state.ahead = 1, Fault::UsedIndex),
        (|state| state.ahead = u16::MAX - 1, Fault::UsedIndex),
        (|state| state.id = 1, Fault::UsedId),
        (|state| state.id = 0x1_0000, Fault::UsedId),
        (|state| state.len = Some(514), Fault::Length),
        (|state| state.len = Some(0), Fault::Length),
    ];
    for (lie, fault) in lies {
        let fake = honest(Kind::Disk);
        let mut disk = disk(&fake).unwrap();
        disk.read(0, &mut [0; SECTOR]).unwrap();
        fake.change(lie);
        assert_eq!(disk.read(0, &mut [0; SECTOR]), Err(fault));
        fake.change(|state| (state.ahead, state.id, state.len) = (0, 0, None));
        assert_eq!(disk.read(0, &mut [0; SECTOR]), Err(fault), "it is not asked again");
    }
    // One that has written less than it says it has, or a part: what it has not written stays as it was.
    let fake = honest(Kind::Disk);
    let mut disk = disk(&fake).unwrap();
    fake.change(|state| state.len = Some(512));
    assert_eq!(disk.read(0, &mut [0; SECTOR]), Err(Fault::Failed), "without the status");
}

#[test]
fn a_consoles_answer_that_cannot_be_ends_it() {
    for len in [0, 4097, u32::MAX] {
        let fake = honest(Kind::Console);
        let registers = open(&fake, true).unwrap();
        let mut console = Console::open(fake.clone(), registers, PATIENCE).unwrap();
        fake.change(|state| {
            state.to_read.extend([1; 8]);
            state.len = Some(len);
            state.deliver();
        });
        assert_eq!(console.read(&mut [0; 100]), Err(Fault::Length));
        assert_eq!(console.write(b"x"), Err(Fault::Length));
        assert_eq!(console.read(&mut [0; 100]), Err(Fault::Length));
    }
}

/// Whatever the host answers, each call ends, with data or an error, and what it was not asked for is not written.
#[test]
fn no_lie_is_fatal() {
    let rounds = if cfg!(debug_assertions) { 300 } else { 20_000 };
    for seed in 0..rounds {
        crate::fake::try_to_lie(seed);
    }
}
