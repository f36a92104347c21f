//! SVM: the virtual machine control block, entering the guest, and what is intercepted.

use crate::cpu::{rdmsr, wrmsr};
use crate::phys::{self, read_u64, write_u64};
use core::arch::global_asm;
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

/// Offsets of the control area that are used (APM volume 2, appendix B).
pub(crate) mod control {
    pub(crate) const CONTROL_REGISTERS: u64 = 0x00;
    pub(crate) const EXCEPTIONS: u64 = 0x08;
    pub(crate) const INTERCEPTS: u64 = 0x0C;
    pub(crate) const INTERCEPTS_SVM: u64 = 0x10;
    pub(crate) const IOPM: u64 = 0x40;
    pub(crate) const MSRPM: u64 = 0x48;
    pub(crate) const ASID: u64 = 0x58;
    pub(crate) const VIRTUAL_INTERRUPT: u64 = 0x60;
    pub(crate) const INTERRUPT_SHADOW: u64 = 0x68;
    pub(crate) const EXIT_CODE: u64 = 0x70;
    pub(crate) const EXIT_INFO_1: u64 = 0x78;
    pub(crate) const EXIT_INFO_2: u64 = 0x80;
    pub(crate) const EXIT_INT_INFO: u64 = 0x88;
    pub(crate) const NESTED: u64 = 0x90;
    pub(crate) const EVENT_INJECT: u64 = 0xA8;
    pub(crate) const NESTED_CR3: u64 = 0xB0;
}

/// Offsets of the state-save area. The VMSA has the same ones from its start.
pub(crate) mod save {
    pub(crate) const CS: u64 = 0x10;
    pub(crate) const SS: u64 = 0x20;
    pub(crate) const GDTR: u64 = 0x60;
    pub(crate) const IDTR: u64 = 0x80;
    pub(crate) const TR: u64 = 0x90;
    pub(crate) const CPL: u64 = 0xCB;
    pub(crate) const EFER: u64 = 0xD0;
    pub(crate) const CR4: u64 = 0x148;
    pub(crate) const CR3: u64 = 0x150;
    pub(crate) const CR0: u64 = 0x158;
    pub(crate) const RFLAGS: u64 = 0x170;
    pub(crate) const RIP: u64 = 0x178;
    pub(crate) const RSP: u64 = 0x1D8;
    pub(crate) const RAX: u64 = 0x1F8;
    pub(crate) const CR2: u64 = 0x240;
}

/// Where the save area begins in the VMCB.
const SAVE_AREA: u64 = 0x400;

/// Exit codes that the machine expects.
pub(crate) mod exit {
    pub(crate) const CR3_WRITE: u64 = 0x13;
    pub(crate) const CR4_WRITE: u64 = 0x14;
    pub(crate) const EXCEPTION_DB: u64 = 0x41;
    /// What the VMSA's GUEST_EXITCODE has after an interrupt of the host's.
    pub(crate) const INTR: u64 = 0x60;
    pub(crate) const NMI: u64 = 0x61;
    pub(crate) const EXCEPTION_UD: u64 = 0x46;
    pub(crate) const CR0_SELECTIVE: u64 = 0x65;
    pub(crate) const CPUID: u64 = 0x72;
    pub(crate) const HLT: u64 = 0x78;
    pub(crate) const INVLPG: u64 = 0x79;
    pub(crate) const INVLPGA: u64 = 0x7A;
    pub(crate) const IOIO: u64 = 0x7B;
    pub(crate) const MSR: u64 = 0x7C;
    pub(crate) const SHUTDOWN: u64 = 0x7F;
    pub(crate) const VMRUN: u64 = 0x80;
    pub(crate) const VMMCALL: u64 = 0x81;
    pub(crate) const VMLOAD: u64 = 0x82;
    pub(crate) const SKINIT: u64 = 0x86;
    pub(crate) const NPF: u64 = 0x400;
    /// Error code of #VC: a private access to a page that is not validated.
    pub(crate) const NOT_VALIDATED: u64 = 0x404;
    /// What the VMSA's GUEST_EXITCODE has after a VMGEXIT.
    pub(crate) const VMGEXIT: u64 = 0x403;
    /// VMEXIT_INVALID (-1); QEMU before 8 writes the low half only.
    pub(crate) const INVALID: u64 = 0xFFFF_FFFF;
}

/// EFER.SVME.
pub(crate) const SVME: u64 = 1 << 12;
const EFER: u32 = 0xC000_0080;

/// Registers that VMRUN does not switch.
#[derive(FromBytes, IntoBytes, KnownLayout)]
#[repr(C, align(16))]
pub(crate) struct Regs {
    /// FXSAVE image.
    pub(crate) fx: [u8; 512],
    /// By register number; RAX (0) and RSP (4) are copies of the VMCB's.
    pub(crate) gpr: [u64; 16],
}

/// Register numbers.
pub(crate) const RAX: usize = 0;
pub(crate) const RCX: usize = 1;
pub(crate) const RDX: usize = 2;

global_asm!(
    ".section .text.vm_enter, \"ax\"",
    // (rdi: VMCB, rsi: Regs, rdx: VMCB for the processor's own TR, FS, GS and so on)
    "__vm_enter:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdx",
    "push rsi",
    "fxrstor64 [rsi]",
    "mov rax, rdi",
    "vmload rax",
    "mov rcx, [rsi + 520]",
    "mov rdx, [rsi + 528]",
    "mov rbx, [rsi + 536]",
    "mov rbp, [rsi + 552]",
    "mov rdi, [rsi + 568]",
    "mov r8, [rsi + 576]",
    "mov r9, [rsi + 584]",
    "mov r10, [rsi + 592]",
    "mov r11, [rsi + 600]",
    "mov r12, [rsi + 608]",
    "mov r13, [rsi + 616]",
    "mov r14, [rsi + 624]",
    "mov r15, [rsi + 632]",
    "mov rsi, [rsi + 560]",
    "vmrun rax",
    "vmsave rax",
    "push rsi",
    "mov rsi, [rsp + 8]",
    "pop [rsi + 560]",
    "mov [rsi + 520], rcx",
    "mov [rsi + 528], rdx",
    "mov [rsi + 536], rbx",
    "mov [rsi + 552], rbp",
    "mov [rsi + 568], rdi",
    "mov [rsi + 576], r8",
    "mov [rsi + 584], r9",
    "mov [rsi + 592], r10",
    "mov [rsi + 600], r11",
    "mov [rsi + 608], r12",
    "mov [rsi + 616], r13",
    "mov [rsi + 624], r14",
    "mov [rsi + 632], r15",
    "fxsave64 [rsi]",
    "mov rax, [rsp + 8]",
    "vmload rax",
    "cld",
    "pop rsi",
    "pop rdx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
);

unsafe extern "sysv64" {
    fn __vm_enter(vmcb: u64, regs: *mut Regs, host: u64);
}

/// What all control blocks have in common: permission maps.
pub(crate) struct Svm {
    iopm: u64,
    msrpm: u64,
}

impl Svm {
    /// `frames`: gives zeroed pages.
    pub(crate) fn new(mut frames: impl FnMut(u64) -> u64) -> Self {
        let svm = Self { iopm: frames(3), msrpm: frames(2) };
        phys::fill(svm.iopm, 3 * phys::PAGE, 0xFF);
        phys::fill(svm.msrpm, 2 * phys::PAGE, 0xFF);
        for (first, last) in PASSED_MSRS {
            (*first..=*last).for_each(|msr| svm.pass_msr(msr));
        }
        svm
    }

    fn pass_msr(&self, msr: u32) {
        let (base, first) = match msr {
            0..=0x1FFF => (0, 0),
            0xC000_0000..=0xC000_1FFF => (0x800, 0xC000_0000),
            _ => (0x1000, 0xC001_0000),
        };
        let index = u64::from(msr - first);
        let at = self.msrpm + base + index / 4;
        let mut byte = [0];
        phys::read(at, &mut byte);
        phys::write(at, &[byte[0] & !(3 << (index % 4 * 2))]);
    }
}

/// What a processor keeps of itself while it is in the guest: the address of a control block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host(u64);

impl Host {
    /// Switches SVM on, on this processor. From here on interrupts of any kind wait until the guest is entered, or
    /// waited for. `frame`: gives a zeroed page.
    pub(crate) fn new(mut frame: impl FnMut() -> u64) -> Self {
        const VM_HSAVE_PA: u32 = 0xC001_0117;
        let host = frame();
        // SAFETY: SVME changes nothing but the instructions that exist; each save area is a page of its own.
        unsafe {
            wrmsr(EFER, rdmsr(EFER) | SVME);
            wrmsr(VM_HSAVE_PA, frame());
            core::arch::asm!("vmsave rax", "clgi", in("rax") host, options(nostack));
        }
        Self(host)
    }
}

/// What it takes to run the guest: not the machine, in which another processor may work meanwhile.
pub(crate) struct Entry {
    vmcb: u64,
    regs: *mut Regs,
    host: u64,
}

impl Entry {
    /// Runs the guest until it exits: ticks of the time-stamp counter.
    pub(crate) fn run(self) -> u64 {
        let entered = crate::cpu::rdtsc();
        // SAFETY: VMCB, permission maps and nested page tables lead to the guest's memory only, never to a Rust object;
        // `__vm_enter` saves and restores every register that the calling convention demands. The registers are this
        // processor's: others look at them only after it has left the guest.
        unsafe { __vm_enter(self.vmcb, self.regs, self.host) };
        crate::cpu::rdtsc() - entered
    }
}

/// MSRs that live in the VMSA, which a guest with encrypted state reads and writes without an intercept, and the
/// time-stamp counter.
const PASSED_MSRS: &[(u32, u32)] =
    &[(0x10, 0x10), (0x174, 0x176), (0x277, 0x277), (0xC000_0080, 0xC000_0084), (0xC000_0100, 0xC000_0103)];

/// A virtual machine control block.
pub(crate) struct Vmcb(u64);

impl Vmcb {
    /// A control block that intercepts what an SEV-SNP guest's hypervisor does. `asid` from 1.
    pub(crate) fn new(page: u64, svm: &Svm, asid: u64) -> Self {
        let vmcb = Self(page);
        const NMI_INTERCEPT: u64 = 1 << 1;
        // Selective CR0 writes, CPUID, HLT, INVLPGA, IOIO, MSR, SHUTDOWN.
        let intercepts = 1 << 5 | 1 << 18 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 31;
        vmcb.set32(control::INTERCEPTS, intercepts | NMI_INTERCEPT);
        vmcb.set32(control::EXCEPTIONS, 1 << 6);
        // VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT.
        vmcb.set32(control::INTERCEPTS_SVM, 0x7F);
        vmcb.set(control::IOPM, svm.iopm);
        vmcb.set(control::MSRPM, svm.msrpm);
        vmcb.set32(control::ASID, asid);
        vmcb.set(control::NESTED, 1);
        vmcb
    }

    /// A field of the control area.
    pub(crate) fn get(&self, offset: u64) -> u64 {
        read_u64(self.0 + offset)
    }

    /// Sets a field of the control area.
    pub(crate) fn set(&self, offset: u64, value: u64) {
        write_u64(self.0 + offset, value);
    }

    fn set32(&self, offset: u64, value: u64) {
        phys::write(self.0 + offset, &crate::bits::lo32(value).to_le_bytes());
    }

    /// A field of the save area.
    pub(crate) fn save(&self, offset: u64) -> u64 {
        read_u64(self.0 + SAVE_AREA + offset)
    }

    /// Sets a field of the save area.
    pub(crate) fn set_save(&self, offset: u64, value: u64) {
        write_u64(self.0 + SAVE_AREA + offset, value);
    }

    /// Sets RFLAGS and RIP, which are neighbours.
    pub(crate) fn set_place(&self, flags: u64, rip: u64) {
        const _: () = assert!(save::RIP == save::RFLAGS + 8);
        phys::write_pair(self.0 + SAVE_AREA + save::RFLAGS, [flags, rip]);
    }

    /// The current privilege level.
    pub(crate) fn cpl(&self) -> u8 {
        let mut cpl = [0];
        phys::read(self.0 + SAVE_AREA + save::CPL, &mut cpl);
        cpl[0]
    }

    /// Sets the current privilege level.
    pub(crate) fn set_cpl(&self, cpl: u8) {
        phys::write(self.0 + SAVE_AREA + save::CPL, &[cpl]);
    }

    /// Copies bytes of the save area out.
    pub(crate) fn copy_save_out(&self, offset: u64, to: &mut [u8]) {
        phys::read(self.0 + SAVE_AREA + offset, to);
    }

    /// Copies bytes of the save area in.
    pub(crate) fn copy_save_in(&self, offset: u64, from: &[u8]) {
        phys::write(self.0 + SAVE_AREA + offset, from);
    }

    /// Whether the instructions that flush the TLB are intercepted.
    pub(crate) fn intercept_flushes(&self, on: bool) {
        const CR3_AND_CR4_WRITES: u64 = 3 << (16 + 3);
        const INVLPG: u64 = 1 << 25;
        self.set32(control::CONTROL_REGISTERS, if on { CR3_AND_CR4_WRITES } else { 0 });
        let now = u64::from(crate::bits::lo32(self.get(control::INTERCEPTS)));
        self.set32(control::INTERCEPTS, if on { now | INVLPG } else { now & !INVLPG });
    }

    /// Has #DB exit, besides #UD.
    pub(crate) fn intercept_debug(&self) {
        self.set32(control::EXCEPTIONS, 1 << 6 | 1 << 1);
    }

    /// The control block's page.
    pub(crate) fn page(&self) -> u64 {
        self.0
    }

    /// Makes ready to run the guest.
    pub(crate) fn enter(&self, host: Host, regs: &mut Regs) -> Entry {
        self.set_save(save::RAX, regs.gpr[RAX]);
        self.set_save(save::RSP, regs.gpr[4]);
        self.set_save(save::EFER, self.save(save::EFER) | SVME);
        Entry { vmcb: self.0, regs, host: host.0 }
    }

    /// After the guest has exited.
    pub(crate) fn left(&self, regs: &mut Regs) {
        regs.gpr[RAX] = self.save(save::RAX);
        regs.gpr[4] = self.save(save::RSP);
    }
}
