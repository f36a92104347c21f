//! Delivery of #VC (vector 29). QEMU's event injection pushes no error code for it, so the frame is built by hand:
//! 64-bit gates with interrupt stack table and change of CPL, and 32-bit gates within one CPL.

use crate::bits::{lo8, u16_at, u32_at, u64_at};
use crate::machine::Machine;
use crate::rules::Rule;
use crate::svm::save;
use crate::walk::{Access, NotMapped};

const VECTOR: u64 = 29;
const LMA: u64 = 1 << 10;
const TF: u64 = 1 << 8;
const IF: u64 = 1 << 9;
const NT: u64 = 1 << 14;
const RF: u64 = 1 << 16;

/// An interrupt or trap gate.
struct Gate {
    offset: u64,
    selector: u64,
    ist: u64,
    interrupt: bool,
}

/// A code segment as VMCB and VMSA have it.
struct Code {
    attributes: u64,
    limit: u64,
    base: u64,
    dpl: u8,
}

impl Machine {
    /// #VC with `code` as error code. A guest without handler is stopped.
    pub(crate) fn vc(&mut self, code: u64) {
        if self.current() == 2 && self.lie_spurious_run(code) {
            return;
        }
        let long = self.vmcb().save(save::EFER) & LMA != 0;
        let done = if long { self.exception_long(VECTOR, Some(code)) } else { self.vc_legacy(code) };
        if done.is_err() && self.shuts_down() {
            return;
        }
        if done.is_err() {
            self.stop(Rule::TripleFault, 0, format_args!("#VC {code:#x} cannot be delivered"));
        }
        // The registers' copy of RSP is what the next entry takes.
        let rsp = self.vmcb().save(save::RSP);
        self.level().regs.gpr[4] = rsp;
    }

    /// An exception or, without an error code, an interrupt, in long mode, by a frame of the machine's.
    pub(crate) fn deliver(&mut self, vector: u64, error: Option<u64>) {
        if !self.has_delivered(vector, error) {
            self.stop(Rule::TripleFault, 0, format_args!("vector {vector} cannot be delivered"));
        }
    }

    /// The same, if it can be done.
    pub(crate) fn has_delivered(&mut self, vector: u64, error: Option<u64>) -> bool {
        let long = self.vmcb().save(save::EFER) & LMA != 0;
        let done = long && self.exception_long(vector, error).is_ok();
        let rsp = self.vmcb().save(save::RSP);
        self.level().regs.gpr[4] = rsp;
        done
    }

    /// Whether the context that runs has loaded an IDT with a gate for the vector. That of a launch is in no memory.
    pub(crate) fn has_gate(&self, vector: u64) -> bool {
        let long = self.vmcb().save(save::EFER) & LMA != 0;
        long && self.vmcb().save(save::IDTR + 8) != 0 && self.gate_long(vector).is_ok()
    }

    fn exception_long(&self, vector: u64, code: Option<u64>) -> Result<(), NotMapped> {
        let vmcb = self.vmcb();
        let gate = self.gate_long(vector)?;
        let segment = self.code_segment(gate.selector)?;
        let cpl = vmcb.cpl();
        let new_cpl = segment.dpl.min(cpl);
        let tss = vmcb.save(save::TR + 8);
        let stack = match gate.ist {
            0 if new_cpl == cpl => vmcb.save(save::RSP),
            0 => self.guest_u64(tss.wrapping_add(4 + 8 * u64::from(new_cpl)))?,
            ist => self.guest_u64(tss.wrapping_add(0x24 + 8 * (ist - 1)))?,
        };
        let rflags = vmcb.save(save::RFLAGS);
        let frame = [
            code.unwrap_or(0),
            vmcb.save(save::RIP),
            vmcb.save(save::CS) & 0xFFFF,
            rflags | if code.is_some() { RF } else { 0 },
            vmcb.save(save::RSP),
            vmcb.save(save::SS) & 0xFFFF,
        ];
        let mut bytes = [0; 48];
        for (index, value) in frame.iter().enumerate() {
            crate::bits::put(&mut bytes, index * 8, &value.to_le_bytes());
        }
        let frame = if code.is_some() { &bytes[..] } else { &bytes[8..] };
        let rsp = (stack & !15).wrapping_sub(frame.len() as u64);
        self.guest_write(rsp, frame)?;
        vmcb.set_save(save::RSP, rsp);
        if new_cpl != cpl {
            // A null selector with the new CPL.
            vmcb.set_save(save::SS, u64::from(new_cpl) | u64::from(new_cpl) << 21);
            vmcb.set_cpl(new_cpl);
        }
        self.enter_handler(&gate, &segment, new_cpl, rflags);
        Ok(())
    }

    fn vc_legacy(&self, code: u64) -> Result<(), NotMapped> {
        let vmcb = self.vmcb();
        let gate = self.gate_legacy()?;
        let segment = self.code_segment(gate.selector)?;
        if segment.dpl != vmcb.cpl() {
            return Err(NotMapped);
        }
        let rflags = vmcb.save(save::RFLAGS);
        let frame = [code, vmcb.save(save::RIP), vmcb.save(save::CS) & 0xFFFF, rflags | RF];
        let rsp = vmcb.save(save::RSP).wrapping_sub(16) & 0xFFFF_FFFF;
        let mut bytes = [0; 16];
        for (index, value) in frame.iter().enumerate() {
            crate::bits::put(&mut bytes, index * 4, &crate::bits::lo32(*value).to_le_bytes());
        }
        self.guest_write(vmcb.save(save::SS + 8).wrapping_add(rsp) & 0xFFFF_FFFF, &bytes)?;
        vmcb.set_save(save::RSP, rsp);
        self.enter_handler(&gate, &segment, segment.dpl, rflags);
        Ok(())
    }

    fn enter_handler(&self, gate: &Gate, segment: &Code, cpl: u8, rflags: u64) {
        let vmcb = self.vmcb();
        let selector = gate.selector & !3 | u64::from(cpl);
        vmcb.set_save(save::CS, selector | segment.attributes << 16 | segment.limit << 32);
        vmcb.set_save(save::CS + 8, segment.base);
        vmcb.set_save(save::RIP, gate.offset);
        let cleared = TF | NT | RF | if gate.interrupt { IF } else { 0 };
        vmcb.set_save(save::RFLAGS, rflags & !cleared);
    }

    /// The table's base; refused when the limit excludes byte `last`.
    fn table(&self, register: u64, last: u64) -> Result<u64, NotMapped> {
        let limit = self.vmcb().save(register) >> 32;
        if last > limit { Err(NotMapped) } else { Ok(self.vmcb().save(register + 8)) }
    }

    fn gate_long(&self, vector: u64) -> Result<Gate, NotMapped> {
        let base = self.table(save::IDTR, vector * 16 + 15)?;
        let mut raw = [0; 16];
        self.guest_read(base.wrapping_add(vector * 16), &mut raw, Access::Read)?;
        let offset = u64::from(u16_at(&raw, 0)) | u64::from(u16_at(&raw, 6)) << 16 | u64::from(u32_at(&raw, 8)) << 32;
        gate(&raw, offset, u64::from(raw[4] & 7))
    }

    fn gate_legacy(&self) -> Result<Gate, NotMapped> {
        let base = self.table(save::IDTR, VECTOR * 8 + 7)?;
        let mut raw = [0; 8];
        self.guest_read(base.wrapping_add(VECTOR * 8), &mut raw, Access::Read)?;
        let offset = u64::from(u16_at(&raw, 0)) | u64::from(u16_at(&raw, 6)) << 16;
        gate(&raw, offset, 0)
    }

    fn code_segment(&self, selector: u64) -> Result<Code, NotMapped> {
        const CODE_PRESENT: u64 = 0x98;
        let base = self.table(save::GDTR, (selector & !7) + 7)?;
        let raw = self.guest_u64(base.wrapping_add(selector & !7))?;
        let access = raw >> 40 & 0xFF;
        if selector & !3 == 0 || access & CODE_PRESENT != CODE_PRESENT {
            return Err(NotMapped);
        }
        let limit = raw & 0xFFFF | (raw >> 48 & 0xF) << 16;
        let limit = if raw >> 55 & 1 == 1 { limit << 12 | 0xFFF } else { limit };
        Ok(Code {
            attributes: access | (raw >> 52 & 0xF) << 8,
            limit,
            base: raw >> 16 & 0xFF_FFFF | (raw >> 56) << 24,
            dpl: lo8(access >> 5 & 3),
        })
    }

    /// Eight bytes of guest-virtual memory.
    pub(crate) fn guest_u64(&self, gva: u64) -> Result<u64, NotMapped> {
        let mut bytes = [0; 8];
        self.guest_read(gva, &mut bytes, Access::Read)?;
        Ok(u64_at(&bytes, 0))
    }
}

fn gate(raw: &[u8], offset: u64, ist: u64) -> Result<Gate, NotMapped> {
    match raw[5] & 0x9F {
        kind @ (0x8E | 0x8F) => Ok(Gate { offset, selector: u64::from(u16_at(raw, 2)), ist, interrupt: kind == 0x8E }),
        _ => Err(NotMapped),
    }
}
