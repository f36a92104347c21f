//! What the machine carries out itself behind a PVALIDATE or RMPADJUST of VMPL0.
//!
//! An exit costs twenty microseconds here, since QEMU forgets every translation, and a firmware has two for each 4 KiB
//! of the guest's memory. So the machine goes on where the firmware would: the next PVALIDATE or RMPADJUST, and between
//! two of them the moves, additions, comparisons and jumps of a loop. At the first instruction that is none of these
//! the firmware is entered again. Registers, flags and faults are what they would be with an exit for each
//! (`ahead=no`): tests/rules compares them with the processor's.
//!
//! Every page is judged by all rules, or is as the page before it in everything that they look at ([`crate::rows`]).
//! What is not done again for each is what a processor remembers, too: the translation of the operands, since nothing
//! that goes on here writes to memory or flushes, and that the code may be fetched, as long as its page's entry stays
//! as it is.

use crate::bits::{lo8, lo32, us};
use crate::machine::Machine;
use crate::phys::PAGE;
use crate::rmp::Entry;
use crate::rows::{Rows, Which};
use crate::svm::{RAX, control, save};
use crate::walk::{Access, Mapping, Physical};

/// Instructions at a time: then the processor is asked for interrupts.
const MOST: usize = 20_000;
/// Bytes of code that are read at a time, and how many of them lie before RIP: a loop's jump leads back.
const WINDOW: usize = 128;
const BEFORE: u64 = 64;

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// Instructions of the page that RIP is in.
struct Code {
    start: u64,
    bytes: [u8; WINDOW],
    len: u64,
    /// By which what was read of it is told from what was read before.
    number: u64,
    gpa: u64,
    /// With which it may be fetched.
    entry: Entry,
}

/// What the instructions of a window are, by their place, and the [`Code::number`] of that: a loop is read once.
pub(crate) struct Read {
    instructions: [(u64, Instruction); WINDOW],
    /// The last window, and its number.
    bytes: [u8; WINDOW],
    len: u64,
    number: u64,
}

impl Read {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { instructions: [(0, Instruction::Other); WINDOW], bytes: [0; WINDOW], len: 0, number: 0 }
    }

    /// The number of a window, which is the last one's if it has the same octets.
    fn number(&mut self, bytes: &[u8; WINDOW], len: u64) -> u64 {
        if self.len != len || self.bytes != *bytes {
            (self.bytes, self.len) = (*bytes, len);
            self.number += 1;
        }
        self.number
    }
}

impl Code {
    /// What is at `rip`. `None`: the window has fewer octets from there on than the longest instruction that is known
    /// here.
    #[inline(always)]
    fn at(&self, rip: u64, read: &mut Read) -> Option<Instruction> {
        let offset = us(rip.checked_sub(self.start)?);
        let (number, instruction) = read.instructions.get_mut(offset)?;
        if *number != self.number {
            *instruction = self.read(offset)?;
            *number = self.number;
        }
        Some(*instruction)
    }

    #[inline(never)]
    fn read(&self, offset: usize) -> Option<Instruction> {
        self.bytes[..us(self.len)].get(offset..)?.first_chunk().copied().map(Instruction::read)
    }
}

impl Machine {
    /// Goes on as long as it can, once PVALIDATE or RMPADJUST was carried out as it should be, by the translation that
    /// is `known`.
    pub(crate) fn go_ahead(&mut self, mut known: Option<Mapping>) {
        if !self.may_go_ahead() {
            return;
        }
        let Some(mut code) = self.code() else { return };
        let mut place = self.place();
        let mut rows = Rows::default();
        let mut left = MOST;
        while left > 0 {
            left -= 1;
            let gpr = &mut self.processors[self.me].levels[0].regs.gpr;
            let read = &mut self.read;
            while left > 0 && code.at(place.rip, read).is_some_and(|instruction| place.simple(gpr, instruction)) {
                left -= 1;
            }
            let which = match code.at(place.rip, &mut self.read) {
                Some(Instruction::Pvalidate) => Which::Pvalidate,
                Some(Instruction::Rmpadjust) => Which::Rmpadjust,
                Some(_) => break,
                None => {
                    self.go_to(place);
                    let Some(other) = self.code() else { return };
                    if other.at(place.rip, &mut self.read).is_none() {
                        return;
                    }
                    code = other;
                    continue;
                }
            };
            let alike = self.is_as_before(which, &mut rows, known, code.gpa);
            let carry = if alike {
                false
            } else {
                // Whatever stops the machine, or the firmware, finds its place.
                self.go_to(place);
                let Some((result, carry)) = self.begin_row(which, &mut rows, &mut known) else { return };
                self.processor_mut().levels[0].regs.gpr[RAX] = result as u64;
                carry
            };
            place.set_carry(carry);
            self.processor_mut().exits.ahead += 1;
            place.rip = place.rip.wrapping_add(4);
            // The page with the code may be gone.
            if !alike && self.memory.rmp.entry(code.gpa) != Some(code.entry) {
                break;
            }
        }
        self.go_to(place);
    }

    fn place(&self) -> Place {
        Place { rip: self.rip(), flags: self.vmcb().save(save::RFLAGS), last: None }
    }

    fn go_to(&self, place: Place) {
        self.vmcb().set_place(place.flags(), place.rip);
    }

    /// The firmware, in 64-bit mode, not single-stepped; and no exception that is made up may miss its exit.
    fn may_go_ahead(&self) -> bool {
        const TF: u64 = 1 << 8;
        const LMA: u64 = 1 << 10;
        /// The segment's attributes as the VMCB has them: L.
        const LONG: u64 = 1 << (16 + 9);
        let vmcb = self.vmcb();
        self.config.ahead
            && self.config.lies.inject.is_none()
            && self.inject.trial.is_none()
            && self.current() == 0
            && vmcb.save(save::EFER) & LMA != 0
            && vmcb.save(save::CS) & LONG != 0
            && vmcb.save(save::RFLAGS) & TF == 0
            && !self.is_event_pending()
    }

    pub(crate) fn is_event_pending(&self) -> bool {
        const VALID: u64 = 1 << 31;
        self.vmcb().get(control::EVENT_INJECT) & VALID != 0
    }

    fn code(&mut self) -> Option<Code> {
        let rip = self.rip();
        let page = rip & !(PAGE - 1);
        let start = rip.saturating_sub(BEFORE).max(page);
        let len = (page + PAGE - start).min(WINDOW as u64);
        let at = Physical { private: true, ..self.translate(start).ok()? };
        let hpa = self.judge(at, Access::Fetch).ok()?;
        let mut bytes = [0; WINDOW];
        crate::phys::read(hpa, &mut bytes[..us(len)]);
        let number = self.read.number(&bytes, len);
        Some(Code { start, bytes, len, number, gpa: at.gpa, entry: self.memory.rmp.entry(at.gpa)? })
    }
}

/// An instruction that is known here. Registers by their numbers, of which there are eight.
#[derive(Clone, Copy)]
enum Instruction {
    /// MOV r64, r64.
    Move {
        to: u8,
        from: u8,
    },
    /// TEST r32, r32.
    Test {
        a: u8,
        b: u8,
    },
    /// ADD r64, imm32.
    Add {
        to: u8,
        immediate: i32,
    },
    /// CMP r64, r64.
    Compare {
        a: u8,
        b: u8,
    },
    /// JC, JNC, JZ, JNZ, with 8 bits: where this flag is as it is `set`.
    Jump {
        zero: bool,
        set: bool,
        distance: i8,
    },
    Pvalidate,
    Rmpadjust,
    /// None that is known.
    Other,
}

impl Instruction {
    fn read(bytes: [u8; 7]) -> Self {
        let rm = |modrm: u8| modrm & 7;
        let reg = |modrm: u8| modrm >> 3 & 7;
        match bytes {
            [0x48, 0x89, modrm @ 0xC0..=0xFF, ..] => Self::Move { to: rm(modrm), from: reg(modrm) },
            [0x85, modrm @ 0xC0..=0xFF, ..] => Self::Test { a: rm(modrm), b: reg(modrm) },
            [0x48, 0x81, modrm @ 0xC0..=0xC7, immediate @ ..] => {
                Self::Add { to: rm(modrm), immediate: i32::from_le_bytes(immediate) }
            }
            [0x48, 0x39, modrm @ 0xC0..=0xFF, ..] => Self::Compare { a: rm(modrm), b: reg(modrm) },
            [jump @ 0x72..=0x75, distance, ..] => {
                Self::Jump { zero: jump >= 0x74, set: jump & 1 == 0, distance: distance.cast_signed() }
            }
            [0xF2, 0x0F, 0x01, 0xFF, ..] => Self::Pvalidate,
            [0xF3, 0x0F, 0x01, 0xFE, ..] => Self::Rmpadjust,
            _ => Self::Other,
        }
    }
}

/// RIP and RFLAGS.
#[derive(Clone, Copy)]
struct Place {
    rip: u64,
    /// But for the status of `last`.
    flags: u64,
    last: Option<Status>,
}

/// What decides on the status flags: most of them are never asked for.
#[derive(Clone, Copy)]
struct Status {
    /// Sign-extended.
    result: u64,
    carry: bool,
    /// Bit 4 is AF.
    half: u64,
    /// Bit 63 is OF.
    overflow: u64,
}

impl Place {
    /// An instruction that changes nothing but general registers, flags and RIP. `false`: it is another.
    #[inline(always)]
    fn simple(&mut self, gpr: &mut [u64; 16], instruction: Instruction) -> bool {
        let at = |register: u8| usize::from(register & 7);
        let length = match instruction {
            Instruction::Move { to, from } => {
                gpr[at(to)] = gpr[at(from)];
                3
            }
            Instruction::Test { a, b } => {
                let result = i64::from(lo32(gpr[at(a)] & gpr[at(b)]).cast_signed()).cast_unsigned();
                self.last = Some(Status { result, carry: false, half: 0, overflow: 0 });
                2
            }
            Instruction::Add { to, immediate } => {
                let (a, b) = (gpr[at(to)], i64::from(immediate).cast_unsigned());
                let (result, carry) = a.overflowing_add(b);
                gpr[at(to)] = result;
                self.last = Some(Status { result, carry, half: a ^ b ^ result, overflow: (a ^ result) & (b ^ result) });
                7
            }
            Instruction::Compare { a, b } => {
                let (a, b) = (gpr[at(a)], gpr[at(b)]);
                let (result, carry) = a.overflowing_sub(b);
                self.last = Some(Status { result, carry, half: a ^ b ^ result, overflow: (a ^ b) & (a ^ result) });
                3
            }
            Instruction::Jump { zero, set, distance } => {
                let is_set = match (self.last, zero) {
                    (Some(last), true) => last.result == 0,
                    (Some(last), false) => last.carry,
                    (None, true) => self.flags & ZF != 0,
                    (None, false) => self.flags & CF != 0,
                };
                let distance = if is_set == set { i64::from(distance).cast_unsigned() } else { 0 };
                distance.wrapping_add(2)
            }
            Instruction::Pvalidate | Instruction::Rmpadjust | Instruction::Other => return false,
        };
        self.rip = self.rip.wrapping_add(length);
        true
    }

    const fn set_carry(&mut self, carry: bool) {
        match &mut self.last {
            Some(last) => last.carry = carry,
            None => self.flags = self.flags & !CF | carry as u64,
        }
    }

    /// RFLAGS.
    fn flags(self) -> u64 {
        self.last.map_or(self.flags, |last| self.flags & !STATUS | last.flags())
    }
}

impl Status {
    fn flags(self) -> u64 {
        let parity = if lo8(self.result).count_ones().is_multiple_of(2) { PF } else { 0 };
        let zero = if self.result == 0 { ZF } else { 0 };
        let sign = self.result >> 63 << 7;
        parity | zero | sign | u64::from(self.carry) | self.half & AF | self.overflow >> 63 << 11
    }
}
