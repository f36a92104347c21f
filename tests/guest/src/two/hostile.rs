//! One makes a call while the other changes what the call goes by.

use super::{DONE, IGNORE, PASSED, VALIDATE, list_of, pvalidate, rest, scribble_at};
use crate::attest::{self, OPERATION, REPORT};
use crate::hostile::{FIRMWARE, Report};
use crate::page::Page;
use crate::svsm::{self, Registers, SUCCESS, Taken, protocol};
use crate::vcpu::{self, field};
use crate::vtpm;
use core::sync::atomic::Ordering;

const INVALID_ADDRESS: u64 = 0x8000_0003;
const INVALID_PARAMETER: u64 = 0x8000_0005;
const UNSUPPORTED_CALL: u64 = 0x8000_0002;
const BUSY: u64 = 0x8000_0007;
const SIZE_MISMATCH: u64 = 0x8000_1006;
const UNCHANGED: u64 = 0x8000_1010;

/// How often each of some outcomes was seen, and how often another.
struct Seen<const N: usize> {
    allowed: [u64; N],
    times: [u64; N],
    wrong: u64,
    last_wrong: u64,
}

impl<const N: usize> Seen<N> {
    const fn new(allowed: [u64; N]) -> Self {
        Self { allowed, times: [0; N], wrong: 0, last_wrong: 0 }
    }

    fn see(&mut self, code: u64) {
        core::hint::spin_loop();
        match self.allowed.iter().position(|allowed| *allowed == code) {
            Some(at) => self.times[at] += 1,
            None => self.wrong(code),
        }
    }

    fn wrong(&mut self, code: u64) {
        self.wrong += 1;
        self.last_wrong = code;
    }
}

/// Of so many rounds some have one outcome, and some another.
const ENOUGH: u64 = 300;

impl<const N: usize> Seen<N> {
    fn tell<const M: usize>(&self, report: &mut Report<M>, name: &str) {
        let Self { times, wrong, last_wrong, .. } = self;
        let writes = DONE.load(Ordering::SeqCst);
        let name = format_args!("{name}; outcomes {times:?}, last wrong {last_wrong:#x}, other writes {writes}");
        // Without a write of the other's nothing was tried; where it never mattered when it came, nothing has met.
        let rounds: u64 = times.iter().sum();
        let met = rounds < ENOUGH || times.iter().filter(|times| **times > 0).count() > 1;
        report.attempt(name, 0, wrong + u64::from(writes == 0 || !met));
    }
}

/// Rounds of the `part`th of `parts`, which are all of `count`.
const fn share(count: u64, part: usize, parts: usize) -> u64 {
    count / parts as u64 + (part == 0) as u64 * (count % parts as u64)
}

/// The pending byte changes while a call is made: it is served as it was made, or not at all.
pub(super) fn calling_area<const N: usize>(report: &mut Report<N>, count: u64) {
    const QUERY: u64 = 6;
    let (mut seen, argument) = (Seen::new([SUCCESS, QUERY]), protocol::VTPM << 32 | 1);
    for (part, values) in [[0, 1], [u64::MAX, 1]].into_iter().enumerate() {
        scribble_at(svsm::calling_area_of(0), 0, values);
        for _ in 0..share(count, part, 2) {
            let mut registers = Registers::call(protocol::CORE, QUERY, argument);
            match svsm::call(&mut registers) {
                Ok(_) if registers.rax == QUERY && registers.rcx == argument => seen.see(QUERY),
                Ok(_) if registers.rax == SUCCESS && registers.rcx == 1 << 32 | 1 => seen.see(SUCCESS),
                _ => seen.wrong(registers.rax),
            }
        }
        rest();
    }
    seen.tell(report, "the calling area changes during a call");
}

/// Platform command, locality and size change while a TPM command is sent, then the command itself.
pub(super) fn mailbox<const N: usize>(report: &mut Report<N>, count: u64) {
    const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
    let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER, UNSUPPORTED_CALL]);
    let fields = [
        // TPM_SEND_COMMAND, locality 0, size 12; another command, locality, a size beyond the page.
        (0, [0x0000_0C00_0000_0008, 0xFFFF_FF01_0000_0009]),
        // Tag and commandSize as they are; another tag, and a size beyond the command.
        (9, [0x0000_0C00_0000_0180, 0x0000_FFFF_FFFF_0280]),
    ];
    for (part, (at, values)) in fields.into_iter().enumerate() {
        scribble_at(&vtpm::BUFFER, at, values);
        for _ in 0..share(count, part, fields.len()) {
            vtpm::request(vtpm::SEND_COMMAND, 0, 12, &GET_RANDOM);
            match vtpm::send() {
                Ok((Taken::Yes, rax)) => seen.see(rax),
                _ => seen.wrong(u64::MAX),
            }
        }
        rest();
    }
    seen.tell(report, "the mailbox changes during a TPM command");
}

/// Head, size and count, and an entry, change while a TPM command is sent through a list of pages; then the command.
pub(super) fn page_list<const N: usize>(report: &mut Report<N>, count: u64) {
    const GET_RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8];
    let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER, UNSUPPORTED_CALL]);
    let [first, second, _] = vtpm::pages();
    let fields = [
        (&vtpm::LIST, 0, [8, 9]),
        (&vtpm::LIST, 8, [12 | 2 << 32, 0xFFFF_FFFF_FFFF_FFFF]),
        (&vtpm::LIST, 0x18, [second.gpa(), FIRMWARE.start]),
        (&vtpm::LIST, 0x10, [first.gpa(), second.gpa()]),
        (first, 0, [0x0000_0C00_0000_0180, 0x0000_FFFF_FFFF_0280]),
    ];
    for (part, (page, at, values)) in fields.into_iter().enumerate() {
        scribble_at(page, at, values);
        for _ in 0..share(count, part, fields.len()) {
            vtpm::request_in_pages(&GET_RANDOM, 2);
            match vtpm::send_pages() {
                Ok((Taken::Yes, rax)) => seen.see(rax),
                _ => seen.wrong(u64::MAX),
            }
        }
        rest();
    }
    seen.tell(report, "a list of pages changes during a TPM command");
}

/// An entry changes between a page of ours and one of the firmware's while a list is worked off; then its head.
pub(super) fn list<const N: usize>(report: &mut Report<N>, count: u64) {
    let mut seen = Seen::new([SUCCESS, INVALID_ADDRESS, INVALID_PARAMETER, UNCHANGED, SIZE_MISMATCH]);
    let page = PASSED[0].gpa();
    let fields = [
        (8, [page | VALIDATE | IGNORE, FIRMWARE.start | VALIDATE], page),
        (0, [1, 0xFFFF_0001_0000_0001], page | IGNORE),
    ];
    for (part, (at, values, entry)) in fields.into_iter().enumerate() {
        scribble_at(list_of(0), at, values);
        for _ in 0..share(count, part, fields.len()) {
            match pvalidate(0, entry) {
                Some(rax) => seen.see(rax),
                None => seen.wrong(u64::MAX),
            }
        }
        rest();
    }
    if pvalidate(0, page | VALIDATE | IGNORE) != Some(SUCCESS) {
        seen.wrong(u64::MAX - 1);
    }
    seen.tell(report, "a PVALIDATE list changes while it is worked off");
}

/// A page is deposited and withdrawn while the other vCPU writes to it; then an entry changes between a page of ours
/// and one of the firmware's. What was deposited comes back, each time.
pub(super) fn deposits<const N: usize>(report: &mut Report<N>, count: u64) {
    const COUNT: u64 = 0xFFFF;
    let mut seen = Seen::new([SUCCESS, INVALID_ADDRESS]);
    let list = list_of(0);
    let (page, back) = (PASSED[0].gpa(), list.gpa() + 0x800);
    for (part, entries) in [None, Some([page, FIRMWARE.start])].into_iter().enumerate() {
        match entries {
            None => scribble_at(&PASSED[0], 0x100, [1, 2]),
            Some(entries) => scribble_at(list, 8, entries),
        }
        for _ in 0..share(count, part, 2) {
            list.write(0, 1);
            list.write(8, page);
            let deposited = vcpu::core_call(Registers::call(protocol::CORE, 4, list.gpa())).unwrap_or(u64::MAX);
            let withdrawn = vcpu::core_call(Registers::call(protocol::CORE, 5, back)).unwrap_or(u64::MAX);
            let listed = [list.read(0x800) & COUNT, list.read(0x808)];
            let right = if deposited == SUCCESS { listed == [1, page] } else { listed[0] == 0 && entries.is_some() };
            seen.see(if withdrawn == SUCCESS && right { deposited } else { u64::MAX });
        }
        rest();
    }
    seen.tell(report, "a page is deposited and withdrawn while it, or the list, changes");
}

/// Addresses and sizes of the operation change between ours and what is not the guest's.
pub(super) fn attestation<const N: usize>(report: &mut Report<N>, count: u64) {
    use attest::field;
    let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER, BUSY]);
    let fields = [
        (field::REPORT_GPA, [REPORT.gpa(), FIRMWARE.start]),
        (field::REPORT_SIZE, [4096, u64::MAX]),
        (field::NONCE_GPA, [attest::NONCE.gpa(), FIRMWARE.start]),
        (field::NONCE_SIZE, [64, u64::MAX]),
        (field::MANIFEST_GPA, [attest::MANIFEST.gpa(), FIRMWARE.start]),
        (field::MANIFEST_SIZE, [attest::AREA as u64, u64::MAX]),
        (field::CERTIFICATES_GPA, [attest::CERTIFICATES.gpa(), FIRMWARE.start]),
        (field::CERTIFICATES_SIZE, [attest::AREA as u64, u64::MAX]),
    ];
    for (part, (at, values)) in fields.into_iter().enumerate() {
        scribble_at(&OPERATION, at, values);
        for _ in 0..share(count, part, fields.len()) {
            attest::request([0; 16], 0, &[7; 64]);
            match attest::send(0) {
                Ok((Taken::Yes, registers)) => seen.see(registers.rax),
                _ => seen.wrong(u64::MAX),
            }
        }
        rest();
    }
    seen.tell(report, "an attestation's structure changes during the call");
}

/// A page changes while it becomes a register state: what has become one is as it was judged.
pub(super) fn register_state<const N: usize>(report: &mut Report<N>, count: u64) {
    let page = vcpu::state(0);
    let fields = [
        ("VMPL and CPL of a register state change while it is created", 0xC8, [2 << 16, 0]),
        ("SEV_FEATURES of a register state change while it is created", field::SEV_FEATURES, [1, 3]),
        ("EFER of a register state changes while it is created", field::EFER, [vcpu::EFER, 0x500]),
    ];
    for (part, (name, at, values)) in fields.into_iter().enumerate() {
        let mut seen = Seen::new([SUCCESS, INVALID_PARAMETER]);
        scribble_at(page, at, values);
        for _ in 0..share(count, part, fields.len()) {
            vcpu::fill(page);
            let code = vcpu::create(page).unwrap_or(u64::MAX);
            seen.see(code);
            if code == SUCCESS {
                judge(page, &mut seen);
                match vcpu::delete(page) {
                    Some(SUCCESS) => {}
                    code => seen.wrong(code.unwrap_or(u64::MAX)),
                }
            }
        }
        rest();
        seen.tell(report, name);
    }
}

/// We may read a register state.
fn judge<const N: usize>(page: &Page, seen: &mut Seen<N>) {
    for _ in 0..2 {
        let fields = [page.read(0xC8) >> 16 & 0xFF, page.read(field::SEV_FEATURES), page.read(field::EFER)];
        if fields != [2, 1, vcpu::EFER] {
            seen.wrong(fields[0] | fields[1] << 8 | fields[2] << 16);
        }
        core::hint::spin_loop();
    }
}
