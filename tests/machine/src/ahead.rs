//! What the machine carries out itself behind a PVALIDATE or RMPADJUST of VMPL0.
//!
//! An exit costs twenty microseconds here, since QEMU forgets every translation, and a firmware has two for each 4 KiB
//! of the guest's memory. So the machine goes on where the firmware would: the next PVALIDATE or RMPADJUST, and between
//! two of them the moves, additions, comparisons and jumps of a loop. At the first instruction that is none of these
//! the firmware is entered again. Registers, flags and faults are what they would be with an exit for each
//! (`ahead=no`): tests/rules compares them with the processor's.
//!
//! Every page is judged by all rules. What is not done again for each is what a processor remembers, too: the
//! translation of the operands, since nothing that goes on here writes to memory or flushes, and that the code may be
//! fetched, as long as its page's entry stays as it is.

use crate::bits::{lo8, lo32, us};
use crate::machine::Machine;
use crate::phys::PAGE;
use crate::rmp::Entry;
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
    gpa: u64,
    /// With which it may be fetched.
    entry: Entry,
}

impl Code {
    /// What is at `rip`. `None`: the window has fewer octets from there on than the longest instruction that is known
    /// here.
    fn at(&self, rip: u64) -> Option<[u8; 7]> {
        let offset = us(rip.checked_sub(self.start)?);
        self.bytes[..us(self.len)].get(offset..)?.first_chunk().copied()
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
        let mut left = MOST;
        while left > 0 {
            left -= 1;
            let gpr = &mut self.processor_mut().levels[0].regs.gpr;
            while left > 0 && code.at(place.rip).is_some_and(|bytes| place.simple(gpr, bytes)) {
                left -= 1;
            }
            let Some(bytes) = code.at(place.rip) else {
                self.go_to(place);
                let Some(other) = self.code().filter(|other| other.at(place.rip).is_some()) else { return };
                code = other;
                continue;
            };
            // Whatever stops the machine, or the firmware, finds its place.
            self.go_to(place);
            let outcome = match bytes {
                [0xF2, 0x0F, 0x01, 0xFF, ..] => self.pvalidate(&mut known),
                [0xF3, 0x0F, 0x01, 0xFE, ..] => self.rmpadjust(&mut known),
                _ => return,
            };
            let Some((result, carry)) = outcome else { return };
            let processor = self.processor_mut();
            processor.exits.ahead += 1;
            processor.levels[0].regs.gpr[RAX] = result as u64;
            place = Place { rip: place.rip.wrapping_add(4), flags: place.flags & !CF | u64::from(carry) };
            // The page with the code may be gone.
            if self.memory.rmp.entry(code.gpa) != Some(code.entry) {
                break;
            }
        }
        self.go_to(place);
    }

    fn place(&self) -> Place {
        Place { rip: self.rip(), flags: self.vmcb().save(save::RFLAGS) }
    }

    fn go_to(&self, place: Place) {
        self.vmcb().set_place(place.flags, place.rip);
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

    fn code(&self) -> Option<Code> {
        let rip = self.rip();
        let page = rip & !(PAGE - 1);
        let start = rip.saturating_sub(BEFORE).max(page);
        let len = (page + PAGE - start).min(WINDOW as u64);
        let at = Physical { private: true, ..self.translate(start).ok()? };
        let hpa = self.judge(at, Access::Fetch).ok()?;
        let mut bytes = [0; WINDOW];
        crate::phys::read(hpa, &mut bytes[..us(len)]);
        Some(Code { start, bytes, len, gpa: at.gpa, entry: self.memory.rmp.entry(at.gpa)? })
    }
}

/// RIP and RFLAGS.
#[derive(Clone, Copy)]
struct Place {
    rip: u64,
    flags: u64,
}

impl Place {
    /// An instruction that changes nothing but general registers, flags and RIP. `false`: it is another.
    fn simple(&mut self, gpr: &mut [u64; 16], bytes: [u8; 7]) -> bool {
        let register = |modrm: u8, shift: u32| usize::from(modrm >> shift & 7);
        let length = match bytes {
            // MOV r/m64, r64.
            [0x48, 0x89, modrm @ 0xC0..=0xFF, ..] => {
                gpr[register(modrm, 0)] = gpr[register(modrm, 3)];
                3
            }
            // TEST r/m32, r32.
            [0x85, modrm @ 0xC0..=0xFF, ..] => {
                let result = lo32(gpr[register(modrm, 0)]) & lo32(gpr[register(modrm, 3)]);
                self.set_status(parity_and_zero(result.into()) | if result >> 31 != 0 { SF } else { 0 });
                2
            }
            // ADD r/m64, imm32.
            [0x48, 0x81, modrm @ 0xC0..=0xC7, immediate @ ..] => {
                let (a, b) = (gpr[register(modrm, 0)], i64::from(i32::from_le_bytes(immediate)).cast_unsigned());
                let (result, carry) = a.overflowing_add(b);
                gpr[register(modrm, 0)] = result;
                self.set_status(of_sum(result, carry, a ^ b ^ result, (a ^ result) & (b ^ result)));
                7
            }
            // CMP r/m64, r64.
            [0x48, 0x39, modrm @ 0xC0..=0xFF, ..] => {
                let (a, b) = (gpr[register(modrm, 0)], gpr[register(modrm, 3)]);
                let (result, borrow) = a.overflowing_sub(b);
                self.set_status(of_sum(result, borrow, a ^ b ^ result, (a ^ b) & (a ^ result)));
                3
            }
            // JC, JNC, JZ, JNZ, with 8 bits.
            [jump @ 0x72..=0x75, distance, ..] => {
                let set = self.flags & if jump < 0x74 { CF } else { ZF } != 0;
                let taken = set == (jump & 1 == 0);
                let distance = if taken { i64::from(distance.cast_signed()).cast_unsigned() } else { 0 };
                distance.wrapping_add(2)
            }
            _ => return false,
        };
        self.rip = self.rip.wrapping_add(length);
        true
    }

    const fn set_status(&mut self, status: u64) {
        self.flags = self.flags & !STATUS | status;
    }
}

/// PF and ZF.
fn parity_and_zero(result: u64) -> u64 {
    let parity = if lo8(result).count_ones().is_multiple_of(2) { PF } else { 0 };
    parity | if result == 0 { ZF } else { 0 }
}

/// All of a sum or a difference of 64 bits: bit 4 of `half` is AF, bit 63 of `overflow` is OF.
fn of_sum(result: u64, carry: bool, half: u64, overflow: u64) -> u64 {
    parity_and_zero(result) | u64::from(carry) | half & AF | result >> 63 << 7 | overflow >> 63 << 11
}
