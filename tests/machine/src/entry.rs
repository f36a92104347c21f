//! From QEMU's PVH loader (32-bit, paging off) to Rust: page tables, long mode, SSE; the other processors' way there,
//! from real mode; and the machine's own exception stubs.

use core::arch::global_asm;

/// Bytes of the first processor's stack.
const STACK: usize = 512 * 1024;

global_asm!(
    // The ELF note by which QEMU finds the entry (XEN_ELFNOTE_PHYS32_ENTRY).
    ".section .note.pvh, \"a\", @note",
    ".align 4",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long __pvh_entry",
    ".section .bss.entry, \"aw\", @nobits",
    ".align 4096",
    "__boot_pml4: .skip 4096",
    "__boot_pdpt: .skip 4096",
    ".global __window_pdpt",
    "__window_pdpt: .skip 4096",
    "__boot_stack: .skip {stack}",
    "__boot_stack_top:",
    ".section .rodata.entry, \"a\"",
    ".align 8",
    "__gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff",
    "__gdt_pointer: .word 31",
    ".quad __gdt",
    ".section .text.entry, \"ax\"",
    ".code32",
    ".global __pvh_entry",
    "__pvh_entry:",
    "cli",
    "cld",
    "movl $__boot_stack_top, %esp",
    "movl %ebx, %ebp",
    "movl $__boot_pdpt, %eax",
    "orl $3, %eax",
    "movl %eax, __boot_pml4",
    // Behind them, a table for two entries: the firmware's memory, where devices reach it, and the window.
    "movl $__window_pdpt, %eax",
    "orl $3, %eax",
    "movl %eax, __boot_pml4+8",
    "movl $0x83, __window_pdpt",
    "movl $0x80, __window_pdpt+4",
    // 512 entries of 1 GiB, identity.
    "xorl %ecx, %ecx",
    "2: movl %ecx, %eax",
    "shll $30, %eax",
    "orl $0x83, %eax",
    "movl %eax, __boot_pdpt(,%ecx,8)",
    "movl %ecx, %eax",
    "shrl $2, %eax",
    "movl %eax, __boot_pdpt+4(,%ecx,8)",
    "incl %ecx",
    "cmpl $512, %ecx",
    "jb 2b",
    // PAE, OSFXSR, OSXMMEXCPT; LME, NXE; PG, NE, ET, MP, PE.
    "movl $0x620, %eax",
    "movl %eax, %cr4",
    "movl $__boot_pml4, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x900, %eax",
    "wrmsr",
    "movl $0x80000033, %eax",
    "movl %eax, %cr0",
    "lgdt __gdt_pointer",
    "ljmp $8, $3f",
    ".code64",
    "3: movl $16, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %ss",
    "xorl %eax, %eax",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "leaq __boot_stack_top(%rip), %rsp",
    "xorl %edi, %edi",
    "movl %ebp, %edi",
    "xorl %ebp, %ebp",
    "call machine_main",
    "4: hlt",
    "jmp 4b",
    // Another processor, in the page that its start names: copied there, so that nothing of it is used by its linked
    // address. The descriptor table is the one that stays: a processor in the guest comes back to it.
    ".section .rodata.trampoline, \"a\"",
    ".code16",
    ".global __trampoline, __trampoline_end",
    "__trampoline:",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl (5f - __trampoline)",
    "movl %cr0, %eax",
    "orl $1, %eax",
    "movl %eax, %cr0",
    "ljmpl $24, $__processor32",
    "5: .word 31",
    ".long __gdt",
    "__trampoline_end:",
    ".section .text.entry, \"ax\"",
    ".code32",
    "__processor32:",
    "movl $16, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %ss",
    "movl $0x620, %eax",
    "movl %eax, %cr4",
    "movl $__boot_pml4, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x900, %eax",
    "wrmsr",
    "movl $0x80000033, %eax",
    "movl %eax, %cr0",
    "ljmp $8, $6f",
    ".code64",
    "6: xorl %eax, %eax",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "movq NEXT_STACK(%rip), %rsp",
    "movq NEXT_PROCESSOR(%rip), %rdi",
    "xorl %ebp, %ebp",
    "call machine_processor",
    "7: hlt",
    "jmp 7b",
    // One stub of 16 bytes for each of the 32 exceptions: push the vector, go to Rust, never come back.
    ".align 16",
    ".global __exception_stubs",
    "__exception_stubs:",
    ".set vector, 0",
    ".rept 32",
    ".align 16",
    "pushq $vector",
    "jmp __exception_common",
    ".set vector, vector + 1",
    ".endr",
    "__exception_common:",
    "popq %rdi",
    "movq %rsp, %rsi",
    "andq $-16, %rsp",
    "call machine_exception",
    "5: hlt",
    "jmp 5b",
    // One for each interrupt: what was interrupted, the HLT below, goes on with its vector in RAX, and without
    // interrupts: a second one would have the first one forgotten.
    ".align 16",
    "__interrupt_stubs:",
    ".set vector, 32",
    ".rept 224",
    ".align 16",
    "pushq $vector",
    "jmp __interrupt_common",
    ".set vector, vector + 1",
    ".endr",
    "__interrupt_common:",
    "popq %rax",
    "andq $~0x200, 16(%rsp)",
    "iretq",
    // The NMI by which another processor wants to be noticed: whoever waits below does so no more.
    "__nmi_stub:",
    "pushq %rax",
    "leaq __wait_begins(%rip), %rax",
    "cmpq %rax, 8(%rsp)",
    "jb 8f",
    "leaq __wait_is_over(%rip), %rax",
    "cmpq %rax, 8(%rsp)",
    "ja 8f",
    "movq %rax, 8(%rsp)",
    "8: popq %rax",
    "iretq",
    // Returns the vector of the interrupt that has come, or 0 after an NMI. With interrupts (RDI is not 0) or without.
    // STI takes effect behind the HLT, so that no interrupt is lost between the two; an NMI before the HLT ends the
    // wait, too.
    ".global __wait",
    "__wait:",
    "xorl %eax, %eax",
    "testq %rdi, %rdi",
    "jz 9f",
    "stgi",
    "__wait_begins: sti",
    "hlt",
    "jmp __wait_is_over",
    "9: stgi",
    "hlt",
    "__wait_is_over: cli",
    "clgi",
    "ret",
    // Takes an NMI that is pending.
    ".global __take_nmi",
    "__take_nmi:",
    "stgi",
    "nop",
    "clgi",
    "ret",
    stack = const STACK,
    options(att_syntax)
);

unsafe extern "C" {
    static __exception_stubs: u8;
    static __interrupt_stubs: u8;
    static __nmi_stub: u8;
    static __trampoline: u8;
    static __trampoline_end: u8;
    static mut __window_pdpt: u64;
}

unsafe extern "sysv64" {
    fn __wait(interrupts: u64) -> u64;
    fn __take_nmi();
}

/// Halts the processor until it is sent an NMI, or, with `interrupts`, until an interrupt comes. Gives the interrupt's
/// vector, 32 or more, or 0. The interrupt controllers have handed it over: it is in service, and its handler says when
/// it ends.
pub(crate) fn wait(interrupts: bool) -> u8 {
    // SAFETY: the stubs change nothing but the register with the result, and the function leaves interrupts off as it
    // has found them.
    crate::bits::lo8(unsafe { __wait(interrupts.into()) })
}

/// Takes the NMI that has made the processor leave the guest.
pub(crate) fn take_nmi() {
    // SAFETY: the NMI's handler changes nothing.
    unsafe { __take_nmi() }
}

/// The code with which another processor begins, anywhere below 1 MiB.
pub(crate) fn trampoline() -> &'static [u8] {
    let (start, end) = ((&raw const __trampoline) as usize, (&raw const __trampoline_end) as usize);
    // SAFETY: the linker has put both labels around bytes that nobody changes.
    unsafe { core::slice::from_raw_parts(&raw const __trampoline, end - start) }
}

/// Has the GiB behind the identity map lead to the one at `hpa`, a device's, uncached.
pub(crate) fn map_window(hpa: u64) {
    const LARGE_UNCACHED: u64 = 0x80 | 0x10 | 3;
    // SAFETY: the table is nobody else's, and what it maps is no memory of this program; the machine's own tables have
    // been loaded since its start.
    unsafe {
        (&raw mut __window_pdpt).add(1).write_volatile(hpa | LARGE_UNCACHED);
        core::arch::asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
    }
}

/// A gate of the interrupt descriptor table.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u64,
    high: u64,
}

/// Vectors of exceptions; those from here on are of interrupts.
const EXCEPTIONS: usize = 32;
/// All vectors.
const VECTORS: usize = 256;

/// The vector of the NMI.
const NMI: usize = 2;

static TABLE: spin_once::Table = spin_once::Table::new();

/// Fills the interrupt descriptor table, and loads it: exceptions lead to `machine_exception`, interrupts back to where
/// they are waited for. Once, by the first processor.
pub(crate) fn install_exceptions() {
    const INTERRUPT_GATE: u64 = 0x8E00 << 32;
    const CODE: u64 = 8 << 16;
    let (exceptions, interrupts) = ((&raw const __exception_stubs) as u64, (&raw const __interrupt_stubs) as u64);
    let gates = core::array::from_fn(|vector| {
        let (stubs, index) = if vector < EXCEPTIONS { (exceptions, vector) } else { (interrupts, vector - EXCEPTIONS) };
        let at = if vector == NMI { (&raw const __nmi_stub) as u64 } else { stubs + 16 * index as u64 };
        Gate { low: at & 0xFFFF | CODE | INTERRUPT_GATE | (at >> 16 & 0xFFFF) << 48, high: at >> 32 }
    });
    TABLE.fill(gates);
    TABLE.load();
}

/// Loads the table that the first processor has filled.
pub(crate) fn load_exceptions() {
    TABLE.load();
}

/// A table that is written once, before it is loaded.
mod spin_once {
    use super::{Gate, VECTORS};
    use core::cell::UnsafeCell;

    pub(super) struct Table(UnsafeCell<[Gate; VECTORS]>);

    // SAFETY: written by `fill` alone, on the first processor, before it is loaded and before there is another.
    unsafe impl Sync for Table {}

    impl Table {
        pub(super) const fn new() -> Self {
            Self(UnsafeCell::new([Gate { low: 0, high: 0 }; VECTORS]))
        }

        pub(super) fn fill(&'static self, gates: [Gate; VECTORS]) {
            // SAFETY: see `Sync`; nobody holds a reference into the table.
            unsafe { self.0.get().write(gates) };
        }

        pub(super) fn load(&'static self) {
            let at = self.0.get();
            let mut pointer = [0; 10];
            crate::bits::put(&mut pointer, 0, &4095u16.to_le_bytes());
            crate::bits::put(&mut pointer, 2, &(at as u64).to_le_bytes());
            // SAFETY: the table is static and its gates lead to code that never returns, or changes no register.
            unsafe { core::arch::asm!("lidt [{}]", in(reg) pointer.as_ptr(), options(nostack, preserves_flags)) };
        }
    }
}
