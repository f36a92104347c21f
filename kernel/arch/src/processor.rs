//! What each processor has of its own: stacks, tables, GHCB, direct map; and how another one than that which boots is
//! started, before the guest or, with memory that the guest has deposited, later.

use core::alloc::Layout;
use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use alloc::alloc::alloc_zeroed;
use alloc::boxed::Box;

use kernel::fatal::{Fatal, Reason};
use kernel::mm::page_table::Window;
use kernel::mm::{LARGE_PAGE_SIZE, PAGE, Vmpl};
use kernel::svsm::vcpus::{BLOCK_SIZE, LATER_PAGES};
use snp::instr::{SharedBytes, pause, rdtsc, wrmsr};
use snp::vmsa::features::RESTRICTED_INJECTION;
use snp::vmsa::{Segment, Vmsa};
use spin::{Mutex, Once};
use x86_64::structures::gdt::GlobalDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use zerocopy::{FromZeros, IntoBytes};

use crate::cell::TakeOnce;
use crate::descriptors::{self, Stacks};
use crate::host::{self, Host};
use crate::memory::Memory;
use crate::{fatal, layout};
use host::say;

/// APIC id of the processor that boots.
pub const BOOT_APIC_ID: u32 = 0;
/// Bytes of the stack on which a processor serves calls. The TPM has a stack of its own.
const STACK: usize = 28 * 1024;
/// Bytes of the stack of exceptions that end the firmware.
const FAULT_STACK: usize = 8 * 1024;
/// Bytes of the stack of #VC.
const VC_STACK: usize = 8 * 1024;
/// Ticks of the TSC for which a processor is waited for: some seconds of any CPU.
const PATIENCE: u64 = 20_000_000_000;

/// What a processor does when it is let go, with its way to memory and its APIC id.
pub type Run = fn(Memory, u32) -> !;

/// What is found through GS.
#[repr(C)]
pub struct Processor {
    /// Its own address; 0 in that of the processor that boots.
    this: u64,
    /// Its number.
    pub apic_id: u32,
    /// Its way to the host.
    pub host: Mutex<Option<Host>>,
    /// That way is there, whole: it can be used for the last line, whoever has the lock.
    pub connected: AtomicBool,
}

impl Processor {
    const fn new(this: u64, apic_id: u32) -> Self {
        Self { this, apic_id, host: Mutex::new(None), connected: AtomicBool::new(false) }
    }
}

static BOOT: Processor = Processor::new(0, BOOT_APIC_ID);
/// GS leads to a [`Processor`]. Until then there is one only.
static TOLD_APART: AtomicBool = AtomicBool::new(false);

/// The processor that this runs on.
pub fn this() -> &'static Processor {
    if !TOLD_APART.load(Ordering::Acquire) {
        return &BOOT;
    }
    let address: u64;
    // SAFETY: GS leads to a `Processor` on each processor, whose first field this reads.
    unsafe { asm!("mov {}, gs:[0]", out(reg) address, options(nostack, readonly, preserves_flags)) };
    // SAFETY: it is null, or the address of a `Processor` that is never freed.
    unsafe { (address as *const Processor).as_ref() }.unwrap_or(&BOOT)
}

/// What other processors begin with: SEV_FEATURES, and what they do.
static OTHERS: Once<(u64, Run)> = Once::new();

/// From here on there can be others. To be called by the processor that boots.
pub fn expect_others(sev_features: u64, run: Run) {
    // SAFETY: nobody else uses GS.
    unsafe { wrmsr(GS_BASE, (&raw const BOOT) as u64) };
    TOLD_APART.store(true, Ordering::Release);
    OTHERS.call_once(|| (sev_features, run));
}

/// MSR GS_BASE, which is the VMSA's and never intercepted.
const GS_BASE: u32 = 0xC000_0101;

/// Zeroed memory for good.
pub(crate) fn allocate<T: FromZeros>() -> Result<&'static mut T, Fatal> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: `T` is not of size 0, zeros are a value of it, and the memory is never freed.
    unsafe { alloc_zeroed(Layout::new::<T>()).cast::<T>().as_mut() }.ok_or_else(Fatal::plain(Reason::OutOfMemory))
}

/// A page for events that the host signals, to be shared with it.
#[derive(FromZeros)]
#[repr(C, align(4096))]
struct Doorbell([u8; PAGE]);

/// Gives the processor that boots its doorbell page.
pub fn start_doorbell(memory: &mut Memory) -> Result<(), Fatal> {
    let page = host::share(memory, &mut allocate::<Doorbell>()?.0)?;
    // SAFETY: the stack in which `descriptors::load_first` has put #HV's.
    unsafe { host::set_doorbell(page, layout::vc_stack_top()) }
}

/// The pages of one processor but the one that boots. What is below a stack is never mapped once the processor has been
/// started: nobody but the CPU reaches a register state.
#[derive(FromZeros)]
#[repr(C, align(4096))]
struct Block {
    /// For a register state, unless it begins a 2 MiB page, where hardware fails.
    vmsa: [u8; PAGE],
    stack: [u8; STACK],
    /// For a register state where the first one cannot be.
    other_vmsa: [u8; PAGE],
    fault: [u8; FAULT_STACK],
    guard: [u8; PAGE],
    vc: [u8; VC_STACK],
    ghcb: [u8; PAGE],
    window: Window,
}

const _: () = assert!(size_of::<Block>() as u64 == BLOCK_SIZE);

/// A block in pages that the guest has deposited, with what lies in the heap of other processors.
#[repr(C, align(4096))]
struct Deposited {
    block: Block,
    start: StartPage,
}

#[repr(C, align(4096))]
struct StartPage(MaybeUninit<Start>);

const _: () = assert!(size_of::<Deposited>() == LATER_PAGES * PAGE);

/// The memory of one processor, for good.
struct Parts {
    is_later: bool,
    block: &'static mut Block,
    start: &'static mut MaybeUninit<Start>,
    /// Where VMPL0 has restricted injection.
    doorbell: Option<&'static mut Doorbell>,
}

impl Parts {
    /// In the heap.
    fn allocate(sev_features: u64) -> Result<Parts, Fatal> {
        let doorbell = if has_doorbell(sev_features) { Some(allocate::<Doorbell>()?) } else { None };
        Ok(Parts { is_later: false, block: allocate()?, start: Box::leak(Box::new_uninit()), doorbell })
    }

    /// In pages that the guest has deposited. `None`: they are not as many as it takes, or others were mapped for this
    /// processor before.
    ///
    /// # Safety
    /// The pages are the firmware's alone, zeroed, and nobody's.
    unsafe fn map(apic_id: u32, gpas: &[u64], sev_features: u64) -> Option<Parts> {
        if gpas.len() != pages_later(sev_features) {
            return None;
        }
        let address = Memory::map_processor(apic_id, gpas)?;
        // SAFETY: mapped as private data, once, at addresses that are nobody else's, as many pages as it takes; zeros
        // are a value of a `Block`, and a `StartPage` has none yet. They are never freed.
        let Deposited { block, start } = unsafe { (address as *mut Deposited).as_mut() }?;
        let doorbell = has_doorbell(sev_features).then_some(address + size_of::<Deposited>() as u64);
        // SAFETY: the page behind it, of which the same holds.
        let doorbell = doorbell.and_then(|page| unsafe { (page as *mut Doorbell).as_mut() });
        Some(Parts { is_later: true, block, start: &mut start.0, doorbell })
    }
}

const fn has_doorbell(sev_features: u64) -> bool {
    sev_features & RESTRICTED_INJECTION != 0
}

/// Pages that a processor takes of what the guest deposits.
pub const fn pages_later(sev_features: u64) -> usize {
    LATER_PAGES + has_doorbell(sev_features) as usize
}

/// The end of a stack.
fn top<const SIZE: usize>(stack: &[u8; SIZE]) -> u64 {
    stack.as_ptr() as u64 + SIZE as u64
}

/// What a processor takes at its start.
struct Own {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
    stacks: Stacks,
    /// What it takes out and goes on with.
    rest: Option<Rest>,
}

struct Rest {
    memory: Memory,
    ghcb: (SharedBytes, u64),
    /// Where VMPL0 has restricted injection, with the end of #HV's stack.
    doorbell: Option<((SharedBytes, u64), u64)>,
    run: Run,
}

/// What it finds in RDI at its first instruction.
struct Start {
    processor: Processor,
    /// The guest is there already, and whoever waits for the processor does without it.
    is_later: bool,
    own: TakeOnce<Own>,
    ready: AtomicBool,
    go: AtomicBool,
}

/// A processor that has come up, and waits.
pub struct Waiting(&'static Start);

impl Waiting {
    /// Its number.
    pub const fn apic_id(&self) -> u32 {
        self.0.processor.apic_id
    }

    /// Lets it begin.
    pub fn go(&self) {
        self.0.go.store(true, Ordering::Release);
    }
}

/// Starts the processor with this APIC id at VMPL0, with memory of the heap's. `None`: the host has no such processor,
/// or it does not come up.
pub fn start(memory: &mut Memory, apic_id: u32) -> Result<Option<Waiting>, Fatal> {
    let (sev_features, run) = *OTHERS.get().ok_or_else(Fatal::plain(Reason::Panic))?;
    start_with(memory, apic_id, Parts::allocate(sev_features)?, sev_features, run)
}

/// The same with the pages at `gpas`, and lets it begin at once. What goes wrong is that processor's alone: `false`.
pub fn start_later(memory: &mut Memory, apic_id: u32, gpas: &[u64]) -> bool {
    let Some((sev_features, run)) = OTHERS.get().copied() else { return false };
    // SAFETY: as the trait `Pages` has it: they are the firmware's alone for good, and nothing else is in them.
    let parts = unsafe { Parts::map(apic_id, gpas, sev_features) };
    let parts = parts.ok_or_else(Fatal::plain(Reason::Panic));
    match parts.and_then(|parts| start_with(memory, apic_id, parts, sev_features, run)) {
        Ok(Some(waiting)) => {
            waiting.go();
            say("processors", format_args!("{apic_id} runs, with memory of the guest's"));
            true
        }
        Ok(None) => {
            say("processors", format_args!("{apic_id} does not come up"));
            false
        }
        Err(why) => {
            say("processors", format_args!("{apic_id} cannot be started: {why}"));
            false
        }
    }
}

/// When it is let go it does `run`.
fn start_with(
    memory: &mut Memory,
    apic_id: u32,
    Parts { is_later, block, start, doorbell }: Parts,
    sev_features: u64,
    run: Run,
) -> Result<Option<Waiting>, Fatal> {
    let Block { vmsa, stack, other_vmsa, fault, guard, vc, ghcb, window } = block;
    let ghcb = host::share(memory, ghcb)?;
    let stacks = Stacks { fault: top(fault), vc: top(vc) };
    let doorbell = match doorbell {
        Some(page) => Some((host::share(memory, &mut page.0)?, stacks.vc)),
        None => None,
    };
    let (its_memory, root) = memory.another(window).ok_or_else(Fatal::plain(Reason::Panic))?;
    let own = Own {
        gdt: GlobalDescriptorTable::new(),
        tss: TaskStateSegment::new(),
        stacks,
        rest: Some(Rest { memory: its_memory, ghcb, doorbell, run }),
    };
    let start = start.write(Start {
        processor: Processor::new(0, apic_id),
        is_later,
        own: TakeOnce::new(own),
        ready: AtomicBool::new(false),
        go: AtomicBool::new(false),
    });
    start.processor.this = (&raw const start.processor) as u64;
    let start: &'static Start = start;
    let first = entry as extern "C" fn() -> ! as usize as u64;
    let mut state = Vmsa::long_mode_64(Vmpl::Vmpl0, sev_features, root, first, top(stack));
    // OSFXSR, OSXMMEXCPT.
    state.cr4 = (state.cr4.get() | 0x600).into();
    state.gs = Segment::new(0x18, 0xC93, 0xFFFF_FFFF, start.processor.this);
    state.rdi = ((&raw const *start) as u64).into();
    state.set_runnable(true);
    let is_fit = |page: &&mut [u8; PAGE]| {
        Memory::gpa_of(page.as_ptr() as u64).is_some_and(|gpa| !gpa.is_multiple_of(LARGE_PAGE_SIZE))
    };
    let below = [vmsa.as_ptr() as u64, other_vmsa.as_ptr() as u64, guard.as_ptr() as u64];
    let page = [vmsa, other_vmsa].into_iter().find(is_fit).ok_or_else(Fatal::plain(Reason::GuestStart))?;
    page.copy_from_slice(state.as_bytes());
    let address = page.as_ptr() as u64;
    // SAFETY: the page is never freed, and its one reference ended above.
    let Ok(vmsa) = (unsafe { host::make_register_state(address) }) else { return Ok(None) };
    // Before the host can run it: what a processor has never seen it does not remember.
    below.into_iter().for_each(Memory::guard);
    if host::start_processor(vmsa, apic_id, sev_features).is_err() {
        return Ok(None);
    }
    let begin = rdtsc();
    while !start.ready.load(Ordering::Acquire) {
        if rdtsc().wrapping_sub(begin) > PATIENCE {
            return Ok(None);
        }
        pause();
    }
    Ok(Some(Waiting(start)))
}

/// First instruction of another processor: 64-bit mode, on its stack, RDI is its [`Start`].
#[unsafe(naked)]
extern "C" fn entry() -> ! {
    naked_asm!(
        "cld",
        "fninit",
        "push 0x1f80",
        "ldmxcsr dword ptr [rsp]",
        "add rsp, 8",
        "xor ebp, ebp",
        "push 0",
        "jmp {}",
        sym begin
    )
}

extern "C" fn begin(start: &'static Start) -> ! {
    match come_up(start) {
        Ok((memory, run)) => run(memory, start.processor.apic_id),
        Err(_) if start.is_later => loop {
            pause();
        },
        Err(why) => fatal::end(&why),
    }
}

/// Everything up to the first call.
fn come_up(start: &'static Start) -> Result<(Memory, Run), Fatal> {
    let own = start.own.take().ok_or_else(Fatal::plain(Reason::Panic))?;
    descriptors::load(&mut own.gdt, &mut own.tss, own.stacks);
    let Rest { memory, ghcb: (page, gpa), doorbell, run } = own.rest.take().ok_or_else(Fatal::plain(Reason::Panic))?;
    host::connect_another(page, gpa)?;
    if let Some((page, stack_top)) = doorbell {
        // SAFETY: the stack that was loaded above, whose memory is never freed.
        unsafe { host::set_doorbell(page, stack_top) }?;
    }
    start.ready.store(true, Ordering::Release);
    while !start.go.load(Ordering::Acquire) {
        pause();
    }
    Ok((memory, run))
}
