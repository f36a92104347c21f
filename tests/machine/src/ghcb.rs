//! The GHCB page: registration, requirements, and how an answer is written (GHCB specification, 2.5, 2.6 and 4).

use crate::bits::{lo32, u64_at};
use crate::log::log;
use crate::machine::Machine;
use crate::phys::{self, PAGE, read_u64, write_u64};
use crate::rules::Rule;

/// Offsets of fields; the bit in the valid bitmap is the offset divided by 8.
pub(crate) mod field {
    pub(crate) const RAX: u64 = 0x1F8;
    pub(crate) const RCX: u64 = 0x308;
    pub(crate) const RDX: u64 = 0x310;
    pub(crate) const RBX: u64 = 0x318;
    pub(crate) const EXIT_CODE: u64 = 0x390;
    pub(crate) const EXIT_INFO_1: u64 = 0x398;
    pub(crate) const EXIT_INFO_2: u64 = 0x3A0;
    pub(crate) const SCRATCH: u64 = 0x3A8;
    pub(crate) const XCR0: u64 = 0x3E8;
    pub(crate) const VALID: u64 = 0x3F0;
    pub(crate) const SHARED_BUFFER: u64 = 0x800;
    pub(crate) const VERSION_AND_USAGE: u64 = 0xFF8;
}

/// End of the shared buffer.
const SHARED_BUFFER_END: u64 = 0xFF0;

/// Why a request is malformed (SW_EXITINFO2 when SW_EXITINFO1 is 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Malformed {
    Usage = 2,
    Scratch = 3,
    MissingInput = 4,
    InvalidInput = 5,
    InvalidEvent = 6,
}

/// Why a request was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Malformed(Malformed),
    /// The guest is to take #GP(0).
    GeneralProtection,
}

impl From<Malformed> for Refused {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

/// What a request returns: SW_EXITINFO2, and registers as (offset, value).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Answer {
    pub(crate) info2: u64,
    pub(crate) registers: [Option<(u64, u64)>; 4],
}

impl Answer {
    /// An answer with registers.
    pub(crate) fn registers<const N: usize>(values: [(u64, u64); N]) -> Self {
        let mut registers = [None; 4];
        for (slot, value) in registers.iter_mut().zip(values) {
            *slot = Some(value);
        }
        Self { info2: 0, registers }
    }

    /// An answer with nothing but SW_EXITINFO2.
    pub(crate) fn info2(info2: u64) -> Self {
        Self { info2, ..Self::default() }
    }
}

/// A registered, shared GHCB page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ghcb {
    gpa: u64,
    hpa: u64,
}

impl Ghcb {
    /// A field, which the guest must have marked as valid.
    pub(crate) fn get(self, offset: u64) -> Result<u64, Malformed> {
        if self.is_valid(offset) { Ok(read_u64(self.hpa + offset)) } else { Err(Malformed::MissingInput) }
    }

    fn is_valid(self, offset: u64) -> bool {
        let bit = offset / 8;
        let mut byte = [0];
        phys::read(self.hpa + field::VALID + bit / 8, &mut byte);
        byte[0] >> (bit % 8) & 1 == 1
    }

    fn put(self, offset: u64, value: u64) {
        write_u64(self.hpa + offset, value);
        let bit = offset / 8;
        let at = self.hpa + field::VALID + bit / 8;
        let mut byte = [0];
        phys::read(at, &mut byte);
        phys::write(at, &[byte[0] | 1 << (bit % 8)]);
    }

    fn clear_valid(self) {
        phys::fill(self.hpa + field::VALID, 16, 0);
    }

    /// The machine's address of `len` bytes of scratch at `gpa` of the guest's choosing: in this page's shared buffer.
    fn in_shared_buffer(self, gpa: u64, len: u64) -> Option<u64> {
        let offset = gpa.checked_sub(self.gpa)?;
        let end = offset.checked_add(len)?;
        (offset >= field::SHARED_BUFFER && end <= SHARED_BUFFER_END).then_some(self.hpa + offset)
    }
}

impl Machine {
    /// `len` bytes of scratch: in the GHCB's shared buffer or in one shared page.
    pub(crate) fn scratch(&self, ghcb: Ghcb, len: u64) -> Result<u64, Malformed> {
        let gpa = ghcb.get(field::SCRATCH)?;
        if (ghcb.gpa..ghcb.gpa + PAGE).contains(&gpa) {
            return ghcb.in_shared_buffer(gpa, len).ok_or(Malformed::Scratch);
        }
        self.memory.shared_bytes(gpa, len).ok_or(Malformed::Scratch)
    }

    /// VMGEXIT with a GHCB page.
    pub(crate) fn ghcb_exit(&mut self, gpa: u64) {
        if self.level().registered != Some(gpa) {
            self.stop(Rule::GhcbNotRegistered, gpa, format_args!("VMGEXIT"));
        }
        let Some(hpa) = self.memory.shared(gpa) else {
            // A host that has taken it cannot read it.
            if self.goes_on() {
                return;
            }
            self.stop(Rule::GhcbPrivate, gpa, format_args!("VMGEXIT"));
        };
        let ghcb = Ghcb { gpa, hpa };
        let result = self.ghcb_request(ghcb);
        // A switch of VMPL has written its answer before it switched.
        if let Some(result) = result {
            self.answer(ghcb, result);
        }
    }

    fn ghcb_request(&mut self, ghcb: Ghcb) -> Option<Result<Answer, Refused>> {
        let mut tail = [0; 8];
        phys::read(ghcb.hpa + field::VERSION_AND_USAGE, &mut tail);
        let (version, usage) = (u64_at(&tail, 0) >> 16 & 0xFFFF, lo32(u64_at(&tail, 0) >> 32));
        // KVM looks at the usage alone, and OVMF has version 0 there until it knows of one.
        if version > 2 || usage != 0 {
            return Some(Err(Malformed::Usage.into()));
        }
        let request =
            (|| Ok((ghcb.get(field::EXIT_CODE)?, ghcb.get(field::EXIT_INFO_1)?, ghcb.get(field::EXIT_INFO_2)?)))();
        let (code, info1, info2) = match request {
            Ok(request) => request,
            Err(why) => return Some(Err(Refused::Malformed(why))),
        };
        if self.config.trace {
            log!(
                "vmgexit vmpl={} code={code:#x} info1={info1:#x} info2={info2:#x} rip={:#x}",
                self.current(),
                self.rip()
            );
        }
        self.event(ghcb, code, info1, info2)
    }

    /// Writes the answer to a request into the GHCB.
    pub(crate) fn answer(&self, ghcb: Ghcb, result: Result<Answer, Refused>) {
        const GP_EVENT: u64 = 1 << 31 | 1 << 11 | 3 << 8 | 13;
        let code = read_u64(ghcb.hpa + field::EXIT_CODE);
        ghcb.clear_valid();
        let (info1, info2) = match result {
            Ok(answer) => {
                for (offset, value) in answer.registers.into_iter().flatten() {
                    ghcb.put(offset, value);
                }
                (0, answer.info2)
            }
            Err(Refused::Malformed(why)) => {
                if !self.is_following() {
                    log!("ghcb: exit code {code:#x} refused: {why:?} vmpl={} rip={:#x}", self.current(), self.rip());
                }
                (2, why as u64)
            }
            Err(Refused::GeneralProtection) => (1, GP_EVENT),
        };
        ghcb.put(field::EXIT_INFO_1, info1);
        ghcb.put(field::EXIT_INFO_2, info2);
        if self.config.lies.ghcb_invalid.is_some_and(|only| only == 0 || only == code) {
            ghcb.clear_valid();
        }
    }
}
