//! What to do at each exit of the guest.

use crate::log::{fault, log};
use crate::machine::Machine;
use crate::npt::C;
use crate::phys::PAGE;
use crate::rules::Rule;
use crate::svm::{control, exit, save};
use crate::walk::{Access, Physical, Refusal};

/// A page fault that comes back this often, although it was resolved, is the machine's own mistake.
const SAME_FAULT: u32 = 16;

impl Machine {
    /// One exit. `same_fault`: the last nested page fault and how often it came in a row.
    pub(crate) fn exit(&mut self, code: u64, same_fault: &mut (u64, u32)) {
        if code == exit::NPF {
            return self.nested_page_fault(same_fault);
        }
        *same_fault = (0, 0);
        self.memory.drop_aliases();
        self.vmcb().intercept_hlt(true);
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
            exit::HLT => self.halt(),
            exit::SHUTDOWN => self.stop(Rule::TripleFault, 0, format_args!("the processor shut down")),
            _ if code & exit::INVALID == exit::INVALID => {
                self.stop(Rule::VmsaInvalid, 0, format_args!("VMRUN refused the state (VMEXIT_INVALID)"))
            }
            exit::INVLPGA | exit::VMRUN | exit::VMLOAD..=exit::SKINIT => {
                if self.current == 0 {
                    self.stop(Rule::SvmInstruction, 0, format_args!("exit code {code:#x}"));
                }
                self.inject(6, None);
            }
            _ => fault!("unexpected exit {code:#x} at vmpl={} rip={:#x}", self.current, self.rip()),
        }
    }

    fn vmmcall(&mut self) {
        let bytes = self.instruction::<4>();
        match bytes {
            [0xF2 | 0xF3, 0x0F, 0x01, 0xD9] => {
                self.skip(4);
                self.vmgexit();
            }
            _ => self.vc(exit::VMMCALL),
        }
    }

    fn halt(&mut self) {
        const IF: u64 = 1 << 9;
        if self.vmcb().save(save::RFLAGS) & IF == 0 {
            self.stop(Rule::Halted, 0, format_args!("HLT with RFLAGS.IF=0"));
        }
        self.vmcb().intercept_hlt(false);
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
        vmcb.set(control::NESTED_CR3, self.memory.root(self.current, value & PG != 0));
        self.skip(length);
    }

    /// A general register by its number.
    pub(crate) fn gpr(&self, number: u8) -> u64 {
        self.levels[self.current].regs.gpr[usize::from(number & 15)]
    }

    fn nested_page_fault(&mut self, same_fault: &mut (u64, u32)) {
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
        self.count_fault(address, same_fault);
        if info & WRITE != 0 {
            self.memory.keep(at.gpa);
        }
        match self.judge(at, access) {
            Ok(_) if !at.private => self.memory.map_shared(at.gpa),
            Ok(_) if access == Access::Fetch && (!paging || address & C != 0) => {
                self.memory.execute_once(at.gpa, self.current)
            }
            Ok(_) if paging && address & C == 0 => self.memory.alias(at.gpa, self.current),
            // QEMU's walk wants to write the guest's page tables, which this VMPL may only read.
            Ok(_) if self.memory.is_watched() => {}
            Ok(_) if info & WALK != 0 => {
                self.vmpl_violation(at.gpa, format_args!("page tables in a page that is not writable"))
            }
            Ok(_) => fault!("nested page fault {info:#x} at gpa={address:#x}, although the page is accessible"),
            Err(Refusal::NoMemory) if !at.private || (!paging && access != Access::Fetch) => self.vc(exit::NPF),
            Err(_) => {
                let _ = self.reach(at, access);
            }
        }
    }

    fn count_fault(&self, address: u64, same_fault: &mut (u64, u32)) {
        let page = address & !(PAGE - 1);
        *same_fault = if same_fault.0 == page { (page, same_fault.1 + 1) } else { (page, 1) };
        if same_fault.1 > SAME_FAULT {
            log!("info1={:#x}", self.vmcb().get(control::EXIT_INFO_1));
            fault!("nested page fault at gpa={address:#x} does not go away, rip={:#x}", self.rip());
        }
    }
}
