//! A second vCPU: its register state, how it is created and destroyed, and which of the two this is.

use crate::apic;
use crate::ghcb::{self, Creation, HostError};
use crate::page::{Area, Page};
use crate::svsm::{self, Registers, SUCCESS, Taken, protocol};
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};

/// APIC id of the second vCPU.
pub(crate) const APIC_ID: u64 = 1;
const MSR_GS_BASE: u32 = 0xC000_0101;

/// Register states, of which one is in use.
static STATES: [Page; 3] = [const { Page::new() }; 3];
static STACK: Area<0x4000> = Area::new();

/// What the second vCPU does; a number of [`crate::two`].
pub(crate) static TASK: AtomicU64 = AtomicU64::new(0);

/// Offsets in a register state (APM volume 2, table B-4).
pub(crate) mod field {
    pub(crate) const VMPL: usize = 0xCA;
    pub(crate) const EFER: usize = 0xD0;
    pub(crate) const SEV_FEATURES: usize = 0x3B0;
    pub(super) const CS: usize = 0x10;
    pub(super) const DATA: [usize; 4] = [0, 0x20, 0x30, 0x40];
    pub(super) const GS: usize = 0x50;
    pub(super) const GDTR: usize = 0x60;
    pub(super) const LDTR: usize = 0x70;
    pub(super) const IDTR: usize = 0x80;
    pub(super) const TR: usize = 0x90;
    pub(super) const CR4: usize = 0x148;
    pub(super) const CR3: usize = 0x150;
    pub(super) const CR0: usize = 0x158;
    pub(super) const DR7: usize = 0x160;
    pub(super) const DR6: usize = 0x168;
    pub(super) const RFLAGS: usize = 0x170;
    pub(super) const RIP: usize = 0x178;
    pub(super) const RSP: usize = 0x1D8;
    pub(super) const PAT: usize = 0x268;
    pub(super) const XCR0: usize = 0x3E8;
    pub(super) const MXCSR: usize = 0x408;
    pub(super) const FTW: usize = 0x40C;
    pub(super) const FCW: usize = 0x410;
}

/// EFER: SVME, LMA, LME.
pub(crate) const EFER: u64 = 0x1500;

/// 0 on the first vCPU, 1 on the second.
pub(crate) fn this() -> usize {
    let (low, high): (u32, u32);
    // SAFETY: reading GS_BASE changes nothing; it is 0, or what `fill` gives to the second vCPU.
    unsafe { asm!("rdmsr", in("ecx") MSR_GS_BASE, out("eax") low, out("edx") high, options(nomem, nostack)) };
    usize::from(low | high != 0)
}

/// A page that can be a register state: not at a 2 MiB boundary.
pub(crate) fn state(number: usize) -> &'static Page {
    let mut fit = STATES.iter().filter(|page| page.gpa() % 0x20_0000 != 0);
    fit.nth(number).unwrap_or(&STATES[0])
}

/// A descriptor table register: limit and base.
fn table(store: impl FnOnce(&mut [u8; 10])) -> (u64, u64) {
    let mut bytes = [0; 10];
    store(&mut bytes);
    let [a, b, c, d, e, f, g, h, i, j] = bytes;
    (u16::from_le_bytes([a, b]).into(), u64::from_le_bytes([c, d, e, f, g, h, i, j]))
}

/// Fills a page with the state in which the second vCPU begins: as this one is, on its own stack.
pub(crate) fn fill(page: &Page) {
    let (cr0, cr3, cr4): (u64, u64, u64);
    // SAFETY: reading them changes nothing.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4, options(nomem, nostack))
    };
    // SAFETY: the instructions store ten octets.
    let gdtr = table(|to| unsafe { asm!("sgdt [{}]", in(reg) to, options(nostack)) });
    // SAFETY: as above.
    let idtr = table(|to| unsafe { asm!("sidt [{}]", in(reg) to, options(nostack)) });
    page.fill(0);
    let segment = |at: usize, selector: u64, attributes: u64, limit: u64, base: u64| {
        page.write(at, selector | attributes << 16 | limit << 32);
        page.write(at + 8, base);
    };
    segment(field::CS, 8, 0xA9B, 0xFFFF_FFFF, 0);
    field::DATA.into_iter().for_each(|at| segment(at, 0x10, 0xC93, 0xFFFF_FFFF, 0));
    segment(field::GS, 0x10, 0xC93, 0xFFFF_FFFF, 1);
    segment(field::GDTR, 0, 0, gdtr.0, gdtr.1);
    segment(field::LDTR, 0, 0x82, 0xFFFF, 0);
    segment(field::IDTR, 0, 0, idtr.0, idtr.1);
    segment(field::TR, 0, 0x8B, 0xFFFF, 0);
    page.copy_in(field::VMPL, &[2]);
    for (at, value) in [
        (field::EFER, EFER),
        (field::CR4, cr4),
        (field::CR3, cr3),
        (field::CR0, cr0),
        (field::DR7, 0x400),
        (field::DR6, 0xFFFF_0FF0),
        (field::RFLAGS, 2),
        (field::RIP, entry as extern "C" fn() -> ! as usize as u64),
        (field::RSP, STACK.gpa() + 0x4000),
        (field::PAT, 0x0007_0406_0007_0406),
        (field::SEV_FEATURES, apic::sev_features()),
        (field::XCR0, 1),
        (field::MXCSR, 0x1F80),
        (field::FTW, 0x5555),
        (field::FCW, 0x40),
    ] {
        page.write(at, value);
    }
}

/// `SVSM_CORE_CREATE_VCPU` for the second vCPU; the result code.
pub(crate) fn create(page: &Page) -> Option<u64> {
    let area = svsm::calling_area_of(1).gpa();
    core_call(Registers { r8: APIC_ID, rdx: area, ..Registers::call(protocol::CORE, 2, page.gpa()) })
}

/// `SVSM_CORE_DELETE_VCPU`; the result code.
pub(crate) fn delete(page: &Page) -> Option<u64> {
    core_call(Registers::call(protocol::CORE, 3, page.gpa()))
}

pub(crate) fn core_call(mut registers: Registers) -> Option<u64> {
    match svsm::call(&mut registers) {
        Ok(Taken::Yes) => Some(registers.rax),
        Ok(Taken::No) | Err(HostError) => None,
    }
}

/// Starts the second vCPU from register state `number`, and waits until it has come up.
pub(crate) fn start(number: usize) -> Result<(), &'static str> {
    let page = state(number);
    fill(page);
    svsm::pending_of(1).store(0, Ordering::SeqCst);
    TASK.store(u64::MAX, Ordering::SeqCst);
    match create(page) {
        Some(SUCCESS) => {}
        _ => return Err("CREATE_VCPU is refused"),
    }
    ghcb::ap_create(Creation::Now, APIC_ID, page.gpa()).map_err(|HostError| "AP_CREATE is refused")?;
    // It takes a number, which tells that it runs.
    for _ in 0..100_000_000_u64 {
        if TASK.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err("the second vCPU does not come up")
}

/// Ends the second vCPU, which began from register state `number`.
pub(crate) fn stop(number: usize) -> Result<(), &'static str> {
    let page = state(number);
    ghcb::ap_create(Creation::Destroy, APIC_ID, page.gpa()).map_err(|HostError| "AP_CREATE (destroy) is refused")?;
    match delete(page) {
        Some(SUCCESS) => Ok(()),
        _ => Err("DELETE_VCPU is refused"),
    }
}

/// First instruction of the second vCPU: 64-bit mode, on its stack.
#[unsafe(naked)]
extern "C" fn entry() -> ! {
    naked_asm!("cld", "xor ebp, ebp", "push 0", "jmp {}", sym begin)
}

extern "C" fn begin() -> ! {
    if ghcb::register().is_err() {
        ghcb::terminate();
    }
    crate::states::look();
    TASK.store(0, Ordering::SeqCst);
    crate::two::second()
}
