//! The instructions that the cases are about, raw memory, and exceptions that are noted: all `unsafe` of this program.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
/// Where the shared alias of low memory begins.
pub(crate) const SHARED: u64 = 0x8000_0000;

#[unsafe(no_mangle)]
static mut VECTOR: u64 = 0;
#[unsafe(no_mangle)]
static mut ERROR: u64 = 0;
#[unsafe(no_mangle)]
static mut RESUME: u64 = 0;
#[unsafe(no_mangle)]
static mut RESUME_STACK: u64 = 0;
#[unsafe(no_mangle)]
static mut FAULT_STACK: u64 = 0;

unsafe extern "C" {
    static __handler_2: u8;
    static __handler_6: u8;
    static __handler_28: u8;
    static __handler_changes: u8;
    static __handler_stays: u8;
    static __handler_13: u8;
    static __handler_14: u8;
    static __handler_64: u8;
    static __handler_vc: u8;
    static __handler_ends: u8;
    static __handler_ignores: u8;
    static __handler_refuses: u8;
    static __handler_refuses_vc: u8;
    static __vc_stack_top: u8;
    static __ring0_stack_top: u8;
    static __guest_stack_top: u8;
    static __image_start: u8;
    static __image_end: u8;
    static __low_start: u8;
    static __low_end: u8;
    static __pml4: u8;
    static __first_gdt: u8;
    static __guest32: u8;
    static __handler32: u8;
    static __secrets_page: u8;
    static __cpuid_page: u8;
    static __memory_map: u8;
}

/// Symbols of the linker script.
macro_rules! symbols {
    ($($name:ident $symbol:ident)*) => { $(
        /// Address of the symbol.
        pub(crate) fn $name() -> u64 {
            (&raw const $symbol) as u64
        }
    )* };
}
symbols! {
    image_start __image_start
    image_end __image_end
    low_start __low_start
    low_end __low_end
    pml4 __pml4
    first_gdt __first_gdt
    guest32 __guest32
    handler32 __handler32
    secrets_page __secrets_page
    cpuid_page __cpuid_page
    memory_map __memory_map
    guest_stack_top __guest_stack_top
    vc_stack_top __vc_stack_top
    ring0_stack_top __ring0_stack_top
    handler_28 __handler_28
    handler_changes __handler_changes
    handler_stays __handler_stays
    handler_ends __handler_ends
    handler_vc __handler_vc
    handler_ignores __handler_ignores
    handler_refuses __handler_refuses
    handler_refuses_vc __handler_refuses_vc
}

/// What the processor reads and this program writes.
#[repr(C, align(4096))]
struct Tables {
    gdt: [u64; 7],
    tss: [u32; 26],
    idt: [[u64; 2]; 65],
}

struct Cell(UnsafeCell<Tables>);
// SAFETY: one processor, and no two references at a time.
unsafe impl Sync for Cell {}
static TABLES: Cell = Cell(UnsafeCell::new(Tables { gdt: [0; 7], tss: [0; 26], idt: [[0; 2]; 65] }));

/// Addresses that a VMSA needs.
pub(crate) fn tables() -> (u64, u64, u64) {
    let at = TABLES.0.get();
    // SAFETY: addresses only.
    unsafe { ((&raw const (*at).gdt) as u64, (&raw const (*at).idt) as u64, (&raw const (*at).tss) as u64) }
}

fn gate(handler: *const u8, ist: u64) -> [u64; 2] {
    let at = handler as u64;
    [at & 0xFFFF | 8 << 16 | ist << 32 | 0x8E00 << 32 | (at >> 16 & 0xFFFF) << 48, at >> 32]
}

/// Loads GDT, TSS and IDT; #VC goes to stack `vc_ist` of the interrupt stack table (0: none).
pub(crate) fn install_exceptions(vc_ist: u64) {
    let at = TABLES.0.get();
    let (gdt, idt, tss) = tables();
    // SAFETY: one processor; the tables are static, hold what the architecture demands, and the handlers only use what
    // `probe` has set.
    unsafe {
        (*at).gdt = [
            0,
            0x00AF_9B00_0000_FFFF,
            0x00CF_9300_0000_FFFF,
            0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF,
            0x67 | (tss & 0xFF_FFFF) << 16 | 0x89 << 40 | (tss >> 24 & 0xFF) << 56,
            tss >> 32,
        ];
        for (slot, value) in [(1, ring0_stack_top()), (9, vc_stack_top())] {
            (*at).tss[slot] = value as u32;
            (*at).tss[slot + 1] = (value >> 32) as u32;
        }
        (*at).idt[2] = gate(&raw const __handler_2, 0);
        (*at).idt[6] = gate(&raw const __handler_6, 0);
        (*at).idt[13] = gate(&raw const __handler_13, 0);
        (*at).idt[14] = gate(&raw const __handler_14, 0);
        (*at).idt[64] = gate(&raw const __handler_64, 0);
        (*at).idt[29] = gate(&raw const __handler_vc, vc_ist);
        let mut pointer = [0u8; 10];
        pointer[..2].copy_from_slice(&55u16.to_le_bytes());
        pointer[2..].copy_from_slice(&gdt.to_le_bytes());
        asm!("lgdt [{}]", in(reg) &raw const pointer, options(nostack));
        pointer[..2].copy_from_slice(&1039u16.to_le_bytes());
        pointer[2..].copy_from_slice(&idt.to_le_bytes());
        asm!("lidt [{}]", "mov {t:e}, 0x28", "ltr {t:x}", in(reg) &raw const pointer, t = out(reg) _, options(nostack));
    }
}

/// The handler of #HV in the IDT of [`install_exceptions`], on stack `ist` of the interrupt stack table (0: none).
pub(crate) fn on_signal(handler: u64, ist: u64) {
    // SAFETY: one processor; the handlers use no more than the stack and what `probe` has set.
    unsafe { (*TABLES.0.get()).idt[28] = gate(handler as *const u8, ist) };
}

/// An IDT of 256 gates that all lead to one handler.
pub(crate) fn on_every_exception(handler: u64) {
    on_exceptions(handler, &[]);
}

/// The same, but for some vectors.
pub(crate) fn on_exceptions(handler: u64, others: &[(usize, u64)]) {
    #[repr(C, align(4096))]
    struct Table(UnsafeCell<[[u64; 2]; 256]>);
    // SAFETY: one processor, and no reference is ever made.
    unsafe impl Sync for Table {}
    static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));
    let mut pointer = [0u8; 10];
    pointer[..2].copy_from_slice(&4095u16.to_le_bytes());
    pointer[2..].copy_from_slice(&(TABLE.0.get() as u64).to_le_bytes());
    // SAFETY: the table is static; the handlers use no more than the stack.
    unsafe {
        let mut gates = [gate(handler as *const u8, 0); 256];
        others.iter().for_each(|(vector, handler)| gates[*vector] = gate(*handler as *const u8, 0));
        TABLE.0.get().write(gates);
        asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack));
    }
}

/// An IDT without any gate.
pub(crate) fn forget_exceptions() {
    let pointer = [0u8; 10];
    // SAFETY: the next exception ends this program, which is what the case wants.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(nostack)) };
}

/// What an instruction raised: vector, error code, and the stack of the handler. `None`: nothing.
pub(crate) type Raised = Option<(u64, u64, u64)>;

/// Runs one instruction and says what it raised. Registers are those of `asm!`.
macro_rules! probe {
    ($instruction:literal $(, $operand:tt($register:tt) $value:expr)* ) => {{
        // SAFETY: the handlers come back to label 2 with this stack; everything that the instruction may change is
        // declared.
        unsafe {
            $crate::sys::expect();
            core::arch::asm!(
                "lea r11, [rip + 2f]",
                "mov [rip + RESUME], r11",
                "push rbx",
                "push rbp",
                "mov [rip + RESUME_STACK], rsp",
                $instruction,
                "2: mov r11d, 16",
                "mov ss, r11d",
                "pop rbp",
                "pop rbx",
                $($operand($register) $value,)*
                clobber_abi("sysv64"),
            );
            $crate::sys::raised()
        }
    }};
}
pub(crate) use probe;

/// Runs code that reads and writes RDI, RSI and flags, at once behind a PVALIDATE without effect if `$first`. Returns
/// RDI and the status flags.
macro_rules! behind_pvalidate {
    ($first:expr, $rdi:expr, $rsi:expr, $code:literal) => {{
        let mut rdi: u64 = $rdi;
        let status: u64;
        // SAFETY: the code changes the registers that are named; PVALIDATE of 2 MiB that begin elsewhere changes
        // nothing else.
        unsafe {
            core::arch::asm!(
                "test r9, r9",
                "jz 3f",
                ".byte 0xf2, 0x0f, 0x01, 0xff",
                "3:",
                $code,
                "pushfq",
                "pop r9",
                inout("rdi") rdi, in("rsi") $rsi, inout("r9") u64::from($first) => status,
                inout("rax") 4096u64 => _, in("rcx") 1u64, in("rdx") 1u64,
            );
        }
        (rdi, status & 0x8D5)
    }};
}
pub(crate) use behind_pvalidate;

/// Nothing has been raised yet.
pub(crate) fn expect() {
    // SAFETY: one processor; the handlers do not run now.
    unsafe { VECTOR = u64::MAX }
}

/// What has been raised since.
pub(crate) fn raised() -> Raised {
    // SAFETY: one processor; volatile because assembly writes them.
    unsafe {
        let vector = (&raw const VECTOR).read_volatile();
        let rest = ((&raw const ERROR).read_volatile(), (&raw const FAULT_STACK).read_volatile());
        RESUME = 0;
        (vector != u64::MAX).then_some((vector, rest.0, rest.1))
    }
}

/// PVALIDATE: (EAX, CF), or #GP and so on.
pub(crate) fn pvalidate(address: u64, size: u64, validate: bool) -> (u64, bool) {
    let (mut code, carry): (u64, u8) = (address, 0);
    let carry = {
        let mut carry = carry;
        // SAFETY: the cases choose pages that nothing else rests on.
        unsafe {
            asm!(".byte 0xf2, 0x0f, 0x01, 0xff", "setc {carry}", inout("rax") code, in("rcx") size, in("rdx") u64::from(validate),
                carry = inout(reg_byte) carry, options(nostack));
        }
        carry
    };
    code &= 0xFFFF_FFFF;
    (code, carry == 1)
}

/// RMPADJUST: EAX.
pub(crate) fn rmpadjust(address: u64, size: u64, attributes: u64) -> u64 {
    let mut code = address;
    // SAFETY: as for `pvalidate`.
    unsafe {
        asm!(".byte 0xf3, 0x0f, 0x01, 0xfe", inout("rax") code, in("rcx") size, in("rdx") attributes, options(nostack))
    };
    code & 0xFFFF_FFFF
}

/// Writes the GHCB MSR, VMGEXIT, reads it.
pub(crate) fn msr_call(value: u64) -> u64 {
    set_ghcb(value);
    vmgexit();
    let (low, high): (u32, u32);
    // SAFETY: reads an MSR.
    unsafe { asm!("rdmsr", in("ecx") 0xC001_0130u32, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes the GHCB MSR.
pub(crate) fn set_ghcb(value: u64) {
    // SAFETY: the MSR has no effect before VMGEXIT.
    unsafe {
        asm!("wrmsr", in("ecx") 0xC001_0130u32, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}

/// VMGEXIT.
pub(crate) fn vmgexit() {
    // SAFETY: memory may have changed afterwards, which `asm!` without `nomem` says.
    unsafe { asm!("rep vmmcall", options(nostack)) };
}

/// VMGEXIT of a call into which the machine looks (R9, "WIND"); `times` goes to R8.
pub(crate) fn vmgexit_marked(times: u64) {
    // SAFETY: as above.
    unsafe { asm!("rep vmmcall", "xor r9d, r9d", in("r8") times, inout("r9") 0x444E_4957_u64 => _, options(nostack)) };
}

/// Reads an MSR.
pub(crate) fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads an MSR.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Reads eight bytes.
pub(crate) fn peek(address: u64) -> u64 {
    // SAFETY: the page tables map it; if it is not accessible, that is what the case wants.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes eight bytes.
pub(crate) fn poke(address: u64, value: u64) {
    // SAFETY: the cases choose memory that no Rust object has.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Writes bytes.
pub(crate) fn poke_bytes(address: u64, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        // SAFETY: as for `poke`.
        unsafe { ((address + index as u64) as *mut u8).write_volatile(*byte) }
    }
}

/// Reads bytes.
pub(crate) fn peek_bytes(address: u64, bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        // SAFETY: as for `peek`.
        *byte = unsafe { ((address + index as u64) as *const u8).read_volatile() };
    }
}

/// Zeroes a page.
pub(crate) fn zero(address: u64) {
    (0..PAGE).step_by(8).for_each(|offset| poke(address + offset, 0));
}

/// Calls code at an address.
pub(crate) fn call(address: u64) {
    // SAFETY: the case has put a RET there, or expects to be stopped.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("sysv64")) };
}

/// INVLPG.
pub(crate) fn invlpg(address: u64) {
    // SAFETY: what is forgotten is walked again.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack)) };
}

/// Writes CR3 as it is.
pub(crate) fn reload_cr3() {
    // SAFETY: the same page tables.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack)) };
}

/// PAUSE: another processor has its turn.
pub(crate) fn pause() {
    core::hint::spin_loop();
}

/// INVLPGB with RAX, ECX and EDX: what it raised.
pub(crate) fn invlpgb(rax: u64, rcx: u64, rdx: u64) -> Raised {
    probe!(".byte 0x0f, 0x01, 0xfe", in("rax") rax, in("rcx") rcx, in("rdx") rdx)
}

/// TLBSYNC: what it raised.
pub(crate) fn tlbsync() -> Raised {
    probe!(".byte 0x0f, 0x01, 0xff")
}

/// Sets CR4.PGE and clears it again.
pub(crate) fn toggle_global_pages() {
    // SAFETY: no mapping is global.
    unsafe {
        asm!("mov {0}, cr4", "xor {0}, 0x80", "mov cr4, {0}", "xor {0}, 0x80", "mov cr4, {0}", out(reg) _, options(nostack))
    };
}

/// HLT with interrupts disabled.
pub(crate) fn halt() {
    // SAFETY: stops.
    unsafe { asm!("cli", "hlt", options(nostack)) };
}

/// VMLOAD, a hypervisor's instruction.
pub(crate) fn vmload() {
    // SAFETY: the case expects to be stopped.
    unsafe { asm!("vmload rax", in("rax") 0x20_0000u64, options(nostack)) };
}

/// UD2.
pub(crate) fn ud2() {
    // SAFETY: raises an exception.
    unsafe { asm!("ud2", options(nostack)) };
}

/// CPUID.
pub(crate) fn cpuid() {
    // SAFETY: RBX is saved.
    unsafe { asm!("push rbx", "cpuid", "pop rbx", inout("eax") 0 => _, out("ecx") _, out("edx") _) };
}

/// RDSEED and its carry.
pub(crate) fn rdseed(value: &mut u64, carry: &mut u8) {
    // SAFETY: a register and a flag.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) * value, out(reg_byte) * carry, options(nostack)) };
}

/// Has ring 3 execute CPUID.
pub(crate) fn cpuid_in_ring_3() -> Raised {
    probe!("push 0x1b; push rsp; push 2; push 0x23; lea rax, [rip + 3f]; push rax; iretq; 3: cpuid")
}

global_asm!(
    ".section .text.guest, \"ax\"",
    ".global __guest_entry",
    // VMPL2 begins here: RDI has the function.
    "__guest_entry: movabs rsp, offset __guest_stack_top",
    "push 0",
    "jmp rdi",
);

unsafe extern "C" {
    static __guest_entry: u8;
}
symbols! { guest_entry __guest_entry }
