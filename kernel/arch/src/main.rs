//! The image's boot, in the order in which it happens, and the loop that it ends in.
//!
//! `entry.s` of the crate `arch` comes before: it leaves us in long mode, on the stack of linker.ld, with the C-bit's
//! position in hand.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;

use kernel::entropy::{Conditioner, both_exist};
use kernel::fatal::{Fatal, Reason};
use kernel::interrupts::Interrupts;
use kernel::launch::{Kind, Launch, LaunchParams, Measure, Personality, Validation};
use kernel::measure::{LOG_INDEX, measure};
use kernel::mm::ownership::{NoMap, Ownership};
use kernel::mm::validate::{give_region, grant_region, invalidate};
use kernel::mm::{GUEST_VMPL, Inaccessible, PAGE, PageSize, Pages, Region, memory_map};
use kernel::start;
use kernel::svsm::request::{Stop, after_stop};
use kernel::svsm::vcpus::{Guest, MAX_PROCESSORS};
use kernel::svsm::{Machine, Tpm};
use snp::Page;
use snp::cpuid::CpuidTable;
use snp::instr::pause;
use snp::message::Channel;
use snp::rmp::Vmpl;
use snp::secrets::Secrets;
use snp::vmsa::features::RESTRICTED_INJECTION;
use spin::{Mutex, Once};
use zerocopy::FromBytes;

use arch::host::{self, Connected, MessagePages, PspReports, Wires, say};
use arch::memory::Memory;
use arch::moving::Moves;
use arch::platform::{Claimed, demand, self_check};
use arch::processor::{self, BOOT_APIC_ID, Waiting};
use arch::settings::Obeyed;
use arch::source::Instruction;
use arch::stack::OnLargeStack;
use arch::state::Begun;
use arch::{descriptors, exceptions, fatal, guest_vmsa, heap, layout, operator, programs, stack, state};

/// What the processors work on.
struct Shared {
    guest: Mutex<Guest<Ownership>>,
    tpm: &'static Mutex<dyn Tpm + Send>,
    interrupts: Interrupts,
    weaknesses: Option<Vec<u8>>,
    reports: Mutex<PspReports>,
}

static SHARED: Once<Shared> = Once::new();
/// The way to memory of the processor that boots, from one stack to the other.
static BOOT_MEMORY: Mutex<Option<Memory>> = Mutex::new(None);

/// SEV_STATUS holds SEV_FEATURES from this bit on.
const SEV_FEATURES_SHIFT: u32 = 2;

/// Called once, by the entry stub.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(c_bit: u32) -> ! {
    match boot(c_bit) {
        Ok(never) => match never {},
        Err(why) => fatal::end(&why),
    }
}

/// Everything from the firmware's own page tables to the guest's first instruction, and on.
fn boot(c_bit: u32) -> Result<Infallible, Fatal> {
    let mut memory = Memory::start(c_bit).ok_or_else(Fatal::plain(Reason::Panic))?;
    let sev_status = host::sev_status()?;
    let sev_features = sev_status >> SEV_FEATURES_SHIFT;
    descriptors::load_first(sev_features & RESTRICTED_INJECTION != 0).ok_or_else(Fatal::plain(Reason::Panic))?;
    // The console first: a page that is refused is refused aloud.
    let c_bit_number = u8::try_from(c_bit).map_err(Fatal::because(Reason::CpuidPage))?;
    let Connected { ghcb, features, messages } = host::connect(&mut memory, c_bit_number)?;
    let cpuid_page = copy_page(&mut memory, layout::cpuid_page())?;
    let cpuid = CpuidTable::parse(&cpuid_page).map_err(Fatal::because(Reason::CpuidPage))?;
    let cpuid = exceptions::answer_cpuid_from(cpuid);
    heap::start();
    say("vmpl0", format_args!("entered, C-bit {c_bit}, SEV_STATUS {sev_status:#x}"));
    say("ghcb", format_args!("registered at {ghcb:#x}, host's features {features:#x}"));

    both_exist(cpuid).map_err(|hidden| Fatal::new(Reason::Entropy, format_args!("the CPUID page hides {hidden:?}")))?;
    let entropy =
        Conditioner::start(Instruction::Rdseed, Instruction::Rdrand).map_err(Fatal::because(Reason::Entropy))?;
    say("entropy", format_args!("RDSEED and RDRAND passed their start-up tests"));

    let launch = launch_params(&mut memory)?;
    let settings = memory.settings().map_err(taken(layout::gpa_of(layout::settings())))?;
    let obeyed = Obeyed::parse(&settings)?;
    let firmware = layout::firmware(launch.reserve).ok_or_else(Fatal::plain(Reason::Panic))?;
    if let Some(reserve) = layout::reserved(launch.reserve) {
        memory.take_reserve(reserve).map_err(Fatal::because(Reason::Validation))?;
    }
    let interrupts = Interrupts::choose(sev_features, features, launch.alternate_injection)
        .map_err(Fatal::because(Reason::Features))?;
    if interrupts != Interrupts::Any {
        processor::start_doorbell(&mut memory)?;
    }
    say("interrupts", format_args!("{interrupts}"));
    let ranges = memory_ranges(&mut memory, firmware)?;
    let map = guest_memory(&mut memory, &ranges, &launch, firmware)?;

    let mut secrets_page = take_secrets_page(&mut memory)?;
    let secrets = Secrets::from_page(&mut secrets_page);
    let mut reports = psp(secrets, messages)?;
    let platform = Claimed { fms: secrets.fms.get(), hypervisor_features: features, sev_features };
    let (report, weaknesses) = match &obeyed.policy {
        None => (self_check(&mut reports)?, None),
        Some(policy) => demand(policy, &mut reports, platform).map(|(report, named)| (report, Some(named)))?,
    };

    let khz = host::tsc_khz(sev_status);
    let programs = match &obeyed.state {
        Some(setting) => programs::find(&mut memory, setting, khz)?,
        None => None,
    };
    let mut entropy = entropy;
    // As Azure's it is made by each boot anew: its attestation key, and the platform hierarchy that is closed.
    let starts_anew = launch.measure != Measure::Nothing || launch.personality == Personality::Azure;
    let moves = Moves::new(obeyed.terms, programs, starts_anew);
    let state = match &obeyed.state {
        Some(setting) => state::open(&mut memory, setting, &moves, &mut reports, &report, khz, programs, &mut entropy)?,
        None => None,
    };
    let Begun { mut tpm, home } = state::begin(entropy, khz, state, &moves, &mut reports)?;
    let reports = Mutex::new(reports);
    if let Some(authorities) = &obeyed.authorities {
        operator::certify(&mut tpm, authorities, programs, &reports)?;
    }

    let c_bit = 1 << c_bit;
    let vmsa = start::register_state(&launch, sev_features, c_bit).map_err(Fatal::because(Reason::LaunchParams))?;
    let mut vmsa = vmsa.ok_or_else(Fatal::plain(Reason::NoGuest))?;
    vmsa.sev_features |= interrupts.of_guest();
    if launch.measure != Measure::Nothing {
        measure(&mut memory, &map, &mut tpm, &launch).map_err(Fatal::because(Reason::Measurement))?;
        say("measured", format_args!("{} events, log in NV Index {LOG_INDEX:#x}", launch.events()));
    }
    if launch.personality == Personality::Azure {
        let is_placed = tpm.become_azure().map_err(Fatal::because(Reason::Tpm))?;
        let room = if is_placed { "" } else { ", no room for its attestation key" };
        say("tpm", format_args!("as Azure's{room}, {} ms", tpm.now_ms()));
    }
    if !tpm.keep() {
        return Err(Fatal::plain(Reason::Disk)());
    }
    let filling = start::Filling { cpuid: &cpuid_page, secrets, firmware, ranges: &ranges, c_bit };
    let filled = start::fill_pages(&mut memory, &map, &launch, &filling);
    secrets.wipe();
    filled.map_err(|_| Fatal::new(Reason::LaunchParams, format_args!("a page to be filled in is not the guest's")))?;
    let (others, later) = start_others(&mut memory, cpuid, &launch, sev_features)?;
    let apic_ids: heapless::Vec<u32, MAX_PROCESSORS> = others.iter().map(Waiting::apic_id).collect();
    let vcpu = guest_vmsa::start(&vmsa, start::calling_area(&launch))?;
    let guest = || {
        let guest = Guest::new(map, BOOT_APIC_ID, vcpu, &apic_ids)?;
        guest.with_later(later, processor::pages_later(sev_features))
    };
    let tpm = moves.movable(Begun { tpm, home });
    share(guest, tpm, interrupts, weaknesses, reports.into_inner()).ok_or_else(Fatal::plain(Reason::Panic))?;
    *BOOT_MEMORY.lock() = Some(memory);
    let (used, free) = heap::usage();
    let (stack, stack_used) = stack::usage();
    say(
        "guest",
        format_args!(
            "started at VMPL2, rip {:#x}; heap {} KiB used, {} KiB free; stack {} of {} KiB used",
            launch.rip,
            used / 1024,
            free / 1024,
            stack_used / 1024,
            stack / 1024
        ),
    );
    others.iter().for_each(Waiting::go);
    stack::leave(serve_first)
}

/// Gives all processors what they serve. Not in line: the guest goes from frame to frame here, and none of these is
/// to be below the TPM when that is made.
#[inline(never)]
fn share(
    guest: impl FnOnce() -> Option<Guest<Ownership>>,
    tpm: impl Tpm + Send + 'static,
    interrupts: Interrupts,
    weaknesses: Option<Vec<u8>>,
    reports: PspReports,
) -> Option<()> {
    let tpm = Box::leak(Box::new(Mutex::new(OnLargeStack::new(tpm)?)));
    let shared = Shared { guest: Mutex::new(guest()?), tpm, interrupts, weaknesses, reports: Mutex::new(reports) };
    SHARED.call_once(|| shared);
    Some(())
}

/// Starts VMPL0 on the processors that the launch parameters name beside this one and have memory for, where all can
/// be told to forget translations: without that the guest has one vCPU. With them, the APIC ids of those that are
/// started later.
fn start_others(
    memory: &mut Memory,
    cpuid: &CpuidTable,
    launch: &Launch,
    sev_features: u64,
) -> Result<(heapless::Vec<Waiting, MAX_PROCESSORS>, core::ops::Range<u32>), Fatal> {
    let mut others = heapless::Vec::new();
    let mut later = 0..0;
    if launch.processors > 1 {
        if cpuid.has_invlpgb() {
            Memory::flush_everywhere_from_now_on();
            processor::expect_others(sev_features, serve);
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            later = number(launch.from_file)..number(launch.processors);
            for apic_id in 1..later.start {
                if let Some(waiting) = processor::start(memory, apic_id)? {
                    others.push(waiting).map_err(|_| Fatal::plain(Reason::Panic)())?;
                }
            }
        }
        say(
            "processors",
            format_args!(
                "{} of {}{}{}",
                others.len() + 1,
                launch.processors,
                if cpuid.has_invlpgb() { "" } else { ": no INVLPGB, so that none can be told to forget" },
                if later.is_empty() { "" } else { ", the rest with memory of the guest's" }
            ),
        );
    }
    Ok((others, later))
}

/// The processor that boots goes on here, on its own stack.
extern "C" fn serve_first() -> ! {
    let memory = BOOT_MEMORY.lock().take();
    match memory {
        Some(memory) => serve(memory, BOOT_APIC_ID),
        None => fatal::end(&Fatal::plain(Reason::Panic)()),
    }
}

/// Runs the guest's vCPU on this processor, and serves its calls, for ever.
fn serve(mut memory: Memory, apic_id: u32) -> ! {
    match run_guest(&mut memory, apic_id) {
        Ok(never) => match never {},
        Err(why) => fatal::end(&why),
    }
}

fn run_guest(memory: &mut Memory, apic_id: u32) -> Result<Infallible, Fatal> {
    let shared = SHARED.get().ok_or_else(Fatal::plain(Reason::Panic))?;
    let Shared { guest, tpm, interrupts, weaknesses, reports } = shared;
    let (tpm, interrupts, weaknesses) = (*tpm, *interrupts, weaknesses.as_deref());
    loop {
        match host::run(GUEST_VMPL) {
            Err(why) if apic_id == BOOT_APIC_ID => return Err(why),
            // The guest has not created its vCPU yet, or has deleted it.
            Err(_) => pause(),
            Ok(()) => {}
        }
        let wires = &mut Wires;
        let mut machine = Machine { apic_id, pages: memory, guest, tpm, interrupts, weaknesses, reports, wires };
        match after_stop(&mut machine) {
            Stop::Lost if apic_id == BOOT_APIC_ID => {
                return Err(Fatal::new(Reason::RunGuest, format_args!("its register state is inaccessible")));
            }
            Stop::Lost => say("guest", format_args!("the register state of the vCPU on {apic_id} is inaccessible")),
            Stop::NoCall => {
                // The host lets this look, whatever the guest does; another processor may be at the TPM.
                if let Some(mut tpm) = tpm.try_lock() {
                    tpm.idle(reports);
                }
            }
            Stop::Served | Stop::NoVcpu => {}
        }
    }
}

/// A copy of one of the firmware's own pages.
fn copy_page(memory: &mut Memory, gpa: u64) -> Result<Page, Fatal> {
    let mut page = [0; PAGE];
    memory.read(gpa, &mut page).map_err(taken(gpa))?;
    Ok(page)
}

/// The host has taken a page without which there is no boot.
fn taken(gpa: u64) -> impl FnOnce(Inaccessible) -> Fatal {
    move |Inaccessible| Fatal::new(Reason::PageState, format_args!("{gpa:#x} is inaccessible"))
}

fn launch_params(memory: &mut Memory) -> Result<Launch, Fatal> {
    let page = copy_page(memory, layout::gpa_of(layout::launch_params()))?;
    let (params, _) = LaunchParams::ref_from_prefix(&page).map_err(|_| Fatal::plain(Reason::LaunchParams)())?;
    params.check().map_err(Fatal::because(Reason::LaunchParams))
}

/// The RAM of the host's memory map, checked.
fn memory_ranges(memory: &mut Memory, firmware: Region) -> Result<memory_map::Ranges, Fatal> {
    let page = copy_page(memory, layout::gpa_of(layout::memory_map()))?;
    memory_map::check(&page, firmware).map_err(Fatal::because(Reason::MemoryMap))
}

/// Gives the guest its memory, as the launch parameters say: what is validated is zeroed, what the IGVM file has placed
/// stays as it was measured. The entry stub's pages are used up by now: where all RAM is the guest's they go to it too,
/// elsewhere they become what the rest is.
fn guest_memory(memory: &mut Memory, ranges: &[Region], launch: &Launch, firmware: Region) -> Result<Ownership, Fatal> {
    let low = layout::low_piece().ok_or_else(Fatal::plain(Reason::Panic))?;
    let parking = Region::new(memory_map::PARKING.0, memory_map::PARKING.1).ok_or_else(Fatal::plain(Reason::Panic))?;
    let own = [low, firmware, parking];
    if launch.areas.iter().any(|area| own.iter().any(|own| area.region.overlaps(*own))) {
        return Err(Fatal::new(Reason::LaunchParams, format_args!("a region of the guest's overlaps the firmware")));
    }
    let all = start::with_placed(ranges, launch).ok_or_else(Fatal::plain(Reason::MemoryMap))?;
    let mut map = Ownership::with_room(&all, &[firmware, parking], launch.mixed_blocks).map_err(no_map)?;
    let mut validated = 0;
    for part in start::to_validate(ranges, launch, low).ok_or_else(Fatal::plain(Reason::MemoryMap))? {
        host::make_private(part)?;
        give_region(memory, &mut map, part).map_err(Fatal::because(Reason::Validation))?;
        validated += part.len();
    }
    for page in low.pages() {
        memory.zero(page, PageSize::Size4K).map_err(taken(page))?;
    }
    // Where the host lists no RAM below 1 MiB, the stub's pages stay nobody's.
    if ranges.iter().any(|range| range.covers(low)) {
        match launch.validation {
            Validation::Everything => grant_region(memory, &mut map, low),
            Validation::Listed => invalidate(memory, low),
        }
        .map_err(Fatal::because(Reason::Validation))?;
    }
    let mut placed = 0;
    for area in launch.of_kind(Kind::Measured) {
        grant_region(memory, &mut map, area.region).map_err(Fatal::because(Reason::Validation))?;
        placed += area.region.len();
    }
    say(
        "memory",
        format_args!(
            "{} MiB validated, {} KiB of guest image owned, ownership map {} KiB",
            validated >> 20,
            placed >> 10,
            map.footprint() >> 10
        ),
    );
    Ok(map)
}

fn no_map(why: NoMap) -> Fatal {
    let reason = if why == NoMap::Heap { Reason::OutOfMemory } else { Reason::MemoryMap };
    Fatal::because(reason)(why)
}

/// Copies the secrets page and wipes it where the PSP put it.
fn take_secrets_page(memory: &mut Memory) -> Result<Box<Page>, Fatal> {
    let gpa = layout::gpa_of(layout::secrets_page());
    let mut page = Box::new([0; PAGE]);
    memory.read(gpa, page.as_mut_slice()).map_err(taken(gpa))?;
    memory.zero(gpa, PageSize::Size4K).map_err(taken(gpa))?;
    Ok(page)
}

/// The way to the PSP, with VMPL0's key, which leaves the page.
fn psp(secrets: &mut Secrets, messages: MessagePages) -> Result<PspReports, Fatal> {
    let key = secrets.take_vmpck(Vmpl::Vmpl0).ok_or_else(|| Fatal::new(Reason::Report, format_args!("no VMPCK0")))?;
    Ok(PspReports::new(Box::new(Channel::new(key, 0)), messages))
}
