//! What to do at each exit of the guest.

use crate::config::WrongState;
use crate::log::{fault, log};
use crate::machine::{Machine, Work};
use crate::npt::C;
use crate::phys::PAGE;
use crate::rules::Rule;
use crate::steal::Moment;
use crate::svm::{control, exit, save};
use crate::walk::{Access, Physical, Refusal};
use core::fmt;

/// A page fault that comes back this often, although it was resolved, is the machine's own mistake.
const SAME_FAULT: u32 = 16;

impl Machine {
    /// One exit.
    pub(crate) fn exit(&mut self, code: u64) {
        if code == exit::NPF {
            return self.nested_page_fault();
        }
        self.processor_mut().same_fault = (0, 0);
        self.memory.drop_aliases();
        if self.is_parked() && !matches!(code, exit::HLT | exit::NMI | exit::SHUTDOWN) {
            log!("LIE parked-run: processor={} exits with {code:#x}, rip={:#x}", self.me, self.rip());
        }
        match code {
            exit::VMMCALL => self.vmmcall(),
            exit::CPUID | exit::IOIO | exit::MSR => {
                if code != exit::MSR || !self.own_msr() {
                    self.vc(code);
                }
            }
            exit::EXCEPTION_DB => self.stepped(),
            exit::EXCEPTION_UD => self.undefined_opcode(),
            exit::CR0_SELECTIVE => self.write_cr0(),
            exit::CR3_WRITE => self.write_cr3(),
            exit::CR4_WRITE => self.write_cr4(),
            exit::INVLPG => self.invlpg(),
            exit::HLT => self.halt(),
            exit::NMI => self.noticed(),
            exit::SHUTDOWN if self.is_parked() => {
                log!("LIE parked-run: processor={} shuts down", self.me);
                self.processor_mut().work = Work::Held;
            }
            exit::SHUTDOWN if self.shuts_down() => {}
            exit::SHUTDOWN => self.stop(Rule::TripleFault, 0, format_args!("the processor shut down")),
            _ if code & exit::INVALID == exit::INVALID => {
                self.stop(Rule::VmsaInvalid, 0, format_args!("VMRUN refused the state (VMEXIT_INVALID)"))
            }
            exit::INVLPGA | exit::VMRUN | exit::VMLOAD..=exit::SKINIT => {
                if self.current() == 0 {
                    self.stop(Rule::SvmInstruction, 0, format_args!("exit code {code:#x}"));
                }
                self.inject(6, None);
            }
            _ => fault!("unexpected exit {code:#x} at vmpl={} rip={:#x}", self.current(), self.rip()),
        }
    }

    fn vmmcall(&mut self) {
        let bytes = self.instruction::<4>();
        match bytes {
            [0xF2 | 0xF3, 0x0F, 0x01, 0xD9] => {
                self.skip(4);
                self.measure_small_stack();
                self.vmgexit();
            }
            _ => self.vc(exit::VMMCALL),
        }
    }

    fn halt(&mut self) {
        const IF: u64 = 1 << 9;
        // The machine waits, not the guest's processor: an interrupt that came between a STI of the guest's and its HLT
        // would be lost otherwise.
        if self.vmcb().save(save::RFLAGS) & IF != 0 {
            if self.virtual_interrupt().is_some() {
                // It is woken at once.
                self.vmcb().set(control::INTERRUPT_SHADOW, 0);
                return self.skip(1);
            }
            if self.config.visit && self.current() == 2 && self.processor().levels[0].vmsa.is_some() {
                // It goes on behind the HLT, as after an NMI: none of its interrupts is lost.
                self.vmcb().set(control::INTERRUPT_SHADOW, 0);
                self.skip(1);
                return self.switch(0, exit::HLT);
            }
            self.processor_mut().work = Work::Halted;
        } else {
            self.hold(Work::Stopped, format_args!("HLT with RFLAGS.IF=0"));
            if self.is_parked() {
                self.parked_halts();
            }
            self.skip(1);
        }
    }

    /// The context that runs waits for what another processor does: on the only one that is the end.
    pub(crate) fn hold(&mut self, work: Work, what: fmt::Arguments<'_>) {
        if self.processors.len() == 1 {
            self.stop(Rule::Halted, 0, what);
        }
        self.processor_mut().work = work;
    }

    /// Another processor's NMI, which has nothing else to say. It may have come between a STI and its HLT, where an
    /// interrupt would be lost.
    fn noticed(&mut self) {
        const HLT: [u8; 1] = [0xF4];
        if self.vmcb().get(control::INTERRUPT_SHADOW) & 1 != 0 && self.instruction::<1>() == HLT {
            self.halt();
        }
    }

    /// MOV to CR0, which also chooses between the two nested page-table roots.
    fn write_cr0(&mut self) {
        const PE: u64 = 1;
        const ET: u64 = 16;
        const PG: u64 = 1 << 31;
        const LME: u64 = 1 << 8;
        const LMA: u64 = 1 << 10;
        const PAE: u64 = 1 << 5;
        let bytes = self.instruction::<4>();
        let old = self.vmcb().save(save::CR0);
        let (length, value) = match bytes {
            [0x0F, 0x22, modrm, _] if modrm >> 3 & 7 == 0 => (3, self.gpr(modrm & 7)),
            [rex @ 0x40..=0x4F, 0x0F, 0x22, modrm] if modrm >> 3 & 7 == 0 => (4, self.gpr(modrm & 7 | (rex & 1) << 3)),
            // LMSW with a register: the low four bits; PE cannot be cleared.
            [0x0F, 0x01, modrm @ 0xF0..=0xF7, _] => (3, old & !0xE | self.gpr(modrm & 7) & 0xF),
            _ => fault!(
                "CR0 written by an instruction that the machine does not know: {bytes:02x?} at rip={:#x}",
                self.rip()
            ),
        };
        let vmcb = self.vmcb();
        let efer = vmcb.save(save::EFER);
        let long = efer & LME != 0 && value & PG != 0;
        if value >> 32 != 0 || value & (PG | PE) == PG || (long && vmcb.save(save::CR4) & PAE == 0) {
            return self.inject(13, Some(0));
        }
        vmcb.set_save(save::CR0, value | ET);
        vmcb.set_save(save::EFER, if long { efer | LMA } else { efer & !LMA });
        vmcb.set(control::NESTED_CR3, self.memory.root(self.current(), value & PG != 0));
        self.memory.flush(|_| true);
        self.skip(length);
    }

    /// The register that a MOV to control register `number` moves, and the instruction's length.
    fn moved_to_control_register(&self, number: u8) -> (u64, u64) {
        match self.instruction::<4>() {
            [0x0F, 0x22, modrm, _] if modrm >> 3 & 7 == number => (self.gpr(modrm & 7), 3),
            [rex @ 0x40..=0x4F, 0x0F, 0x22, modrm] if modrm >> 3 & 7 == number => {
                (self.gpr(modrm & 7 | (rex & 1) << 3), 4)
            }
            bytes => fault!("CR{number} written by an unknown instruction: {bytes:02x?} at rip={:#x}", self.rip()),
        }
    }

    fn write_cr3(&mut self) {
        let (value, length) = self.moved_to_control_register(3);
        self.vmcb().set_save(save::CR3, value);
        let current = self.current();
        self.memory.flush(|stale| stale.vmpl == current);
        self.skip(length);
    }

    fn write_cr4(&mut self) {
        const PGE_PSE_PAE: u64 = 1 << 7 | 1 << 4 | 1 << 5;
        let (value, length) = self.moved_to_control_register(4);
        let old = self.vmcb().save(save::CR4);
        self.vmcb().set_save(save::CR4, value);
        if (old ^ value) & PGE_PSE_PAE != 0 {
            self.memory.flush(|_| true);
        }
        self.skip(length);
    }

    /// INVLPG. Of an address that is not simply in a register, everything of the VMPL's own is flushed: a processor may
    /// always flush more.
    fn invlpg(&mut self) {
        let (rex, [_, _, modrm, sib]) = match self.instruction::<5>() {
            [rex @ 0x40..=0x4F, rest @ ..] => (rex, rest),
            [rest @ .., _] => (0, rest),
        };
        let (mode, register) = (modrm >> 6, modrm & 7);
        let has_sib = register == 4;
        let displacement = match mode {
            0 if register == 5 || (has_sib && sib & 7 == 5) => 4,
            0 => 0,
            1 => 1,
            _ => 4,
        };
        let simple = mode == 0 && !matches!(register, 4 | 5);
        let linear = simple.then(|| self.gpr(register | (rex & 1) << 3) & !(PAGE - 1));
        let gpa = linear.and_then(|linear| self.translate(linear).ok()).map(|at| at.gpa & !(PAGE - 1));
        let current = self.current();
        self.memory.flush(|stale| {
            let named = match stale.linear() {
                Some(operand) => linear.is_none_or(|linear| linear == operand),
                None => linear.is_none() || Some(stale.gpa) == gpa,
            };
            stale.vmpl == current && named
        });
        self.skip(u64::from(rex != 0) + 3 + u64::from(has_sib) + displacement);
    }

    /// A general register by its number.
    pub(crate) fn gpr(&self, number: u8) -> u64 {
        self.context().regs.gpr[usize::from(number & 15)]
    }

    fn nested_page_fault(&mut self) {
        const WRITE: u64 = 2;
        const FETCH: u64 = 16;
        const WALK: u64 = 1 << 33;
        const PAGING: u64 = 1 << 31;
        let info = self.vmcb().get(control::EXIT_INFO_1);
        let address = self.vmcb().get(control::EXIT_INFO_2);
        let paging = self.vmcb().save(save::CR0) & PAGING != 0;
        let always_private = !paging || info & (FETCH | WALK) != 0;
        let at = Physical { gpa: address & !C, private: always_private || address & C != 0 };
        let access = match info {
            _ if info & FETCH != 0 => Access::Fetch,
            // A walk probes for a store; it needs no more than to read.
            _ if info & WALK != 0 => Access::Read,
            _ if info & WRITE != 0 => Access::Write,
            _ => Access::Read,
        };
        if count_fault(address, &mut self.processor_mut().same_fault) > SAME_FAULT {
            return self.no_end(at, access, info);
        }
        if info & WRITE != 0 {
            self.memory.keep(at.gpa);
        }
        if self.current() == 0 && at.private && info & (FETCH | WALK) == 0 {
            let moment = if access == Access::Write { Moment::Write } else { Moment::Access };
            self.memory.steal(at.gpa, moment);
        }
        match self.judge(at, access) {
            Ok(_) if !at.private => self.memory.map_shared(at.gpa, self.current()),
            Ok(_) if (!paging || address & C != 0) && self.memory.has_filled(at.gpa, self.current()) => {}
            Ok(_) if access == Access::Fetch && (!paging || address & C != 0) => {
                self.memory.execute_once(at.gpa, self.current())
            }
            Ok(_) if paging && address & C == 0 => self.memory.alias(at.gpa, self.current()),
            // QEMU's walk wants to write the guest's page tables, which this VMPL may only read.
            Ok(_) if self.memory.is_watched() => {}
            Ok(_) if info & WALK != 0 => {
                self.vmpl_violation(at.gpa, format_args!("page tables in a page that is not writable"))
            }
            Ok(_) => fault!("nested page fault {info:#x} at gpa={address:#x}, although the page is accessible"),
            Err(Refusal::NoMemory) if !at.private || (!paging && access != Access::Fetch) => self.vc(exit::NPF),
            Err(Refusal::Rule(rule @ (Rule::CBit | Rule::UnvalidatedAccess), _))
                if self.config.access == WrongState::Kvm =>
            {
                self.convert(at, rule);
            }
            Err(_) => {
                let _ = self.reach(at, access);
                // A guest with a handler of #GP may try as often as it likes.
                if self.gives_gp() {
                    self.processor_mut().same_fault = (0, 0);
                }
            }
        }
    }

    /// What KVM does about an access that is meant for a page in another state: it converts the page, and the access is
    /// tried again. Where it was private, it then finds a page that is not validated.
    fn convert(&mut self, at: Physical, rule: Rule) {
        if rule == Rule::CBit {
            self.only_the_end(format_args!("the page at {:#x} would change its state", at.gpa));
            let to = if at.private { "private" } else { "shared" };
            if !self.is_following() {
                log!(
                    "the page at {:#x} becomes {to} by an access of VMPL{}, rip={:#x}",
                    at.gpa,
                    self.current(),
                    self.rip()
                );
            }
            self.memory.change_state(at.gpa, at.private, false);
        }
        if at.private {
            self.vc(exit::NOT_VALIDATED);
        }
    }

    /// The same page fault again and again: the guest's, if it has no right to the page, or a mistake of the machine's.
    fn no_end(&mut self, at: Physical, access: Access, info: u64) {
        if self.judge(at, access).is_err() {
            if self.shuts_down() {
                return;
            }
            self.stop(Rule::TripleFault, at.gpa, format_args!("the handler of #VC raises it again and again"));
        }
        fault!("nested page fault {info:#x} at gpa={:#x} does not go away, rip={:#x}", at.gpa, self.rip());
    }
}

/// How often the page has faulted in a row.
fn count_fault(address: u64, same_fault: &mut (u64, u32)) -> u32 {
    let page = address & !(PAGE - 1);
    *same_fault = if same_fault.0 == page { (page, same_fault.1 + 1) } else { (page, 1) };
    same_fault.1
}
