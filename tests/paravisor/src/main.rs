//! An example: an image at VMPL0 that is not ours, and serves our protocols to the payload at VMPL2. What is a
//! paravisor's own is here: who owns each page ([`owners`]), the way to the host ([`host`]), and the order of things.
//! The handlers, the TPM and the checks of what a guest claims are `kernel`'s; entry, page tables, exceptions and heap
//! are `arch`'s, up to the line of its head, since an example that has its own would be about those.
#![no_std]
#![no_main]

extern crate alloc;

mod host;
mod owners;

use alloc::boxed::Box;
use core::convert::Infallible;

use arch::memory::Memory;
use arch::source::Instruction::{Rdrand, Rdseed};
use arch::{descriptors, exceptions, fatal, heap, layout};
use host::{Host, NoWires, Psp};
use kernel::clock::TickClock;
use kernel::entropy::Conditioner;
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Platform;
use kernel::interrupts::Interrupts;
use kernel::launch::{Kind, LaunchParams, Settings};
use kernel::mm::validate::{give_region, grant_region};
use kernel::mm::{PAGE, PageSize, Pages, memory_map};
use kernel::start;
use kernel::svsm::Machine;
use kernel::svsm::request::{Stop, after_stop};
use kernel::svsm::vcpus::{Guest, Vcpu};
use owners::PageOwners;
use snp::Page;
use snp::cpuid::CpuidTable;
use snp::instr::rdtsc;
use snp::message::Channel;
use snp::rmp::Vmpl;
use snp::secrets::Secrets;
use spin::Mutex;
use zerocopy::FromBytes;

/// Called once, by the entry stub.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(c_bit: u32) -> ! {
    match run(c_bit) {
        Ok(never) => match never {},
        Err(why) => fatal::end(&why),
    }
}

fn run(c_bit: u32) -> Result<Infallible, Fatal> {
    let lost = || Fatal::plain(Reason::Panic)();
    let mut memory = Memory::start(c_bit).ok_or_else(lost)?;
    descriptors::load_first(false).ok_or_else(lost)?;
    heap::start();
    let cpuid_page = page(&mut memory, layout::cpuid_page())?;
    exceptions::answer_cpuid_from(CpuidTable::parse(&cpuid_page).map_err(Fatal::because(Reason::CpuidPage))?);
    let (mut host, messages) = Host::connect(&mut memory, c_bit)?;

    // What the launch says, and the memory: all of it the guest's, but for our own.
    let params = page(&mut memory, layout::gpa_of(layout::launch_params()))?;
    let params = LaunchParams::ref_from_prefix(&params).map_err(|_| Fatal::plain(Reason::LaunchParams)())?.0;
    let launch = params.check().map_err(Fatal::because(Reason::LaunchParams))?;
    let settings = memory.settings().map_err(|_| Fatal::plain(Reason::PageState)())?;
    Settings::parse(&settings).and_then(|all| all.only(&[])).map_err(Fatal::because(Reason::Settings))?;
    let own = layout::firmware(0).ok_or_else(lost)?;
    let map = page(&mut memory, layout::gpa_of(layout::memory_map()))?;
    let ranges = memory_map::check(&map, own).map_err(Fatal::because(Reason::MemoryMap))?;
    let mut owners = PageOwners::new(&ranges, own);
    let low = layout::low_piece().ok_or_else(lost)?;
    for part in start::to_validate(&ranges, &launch, low).ok_or_else(lost)? {
        host.make_private(part)?;
        give_region(&mut memory, &mut owners, part).map_err(Fatal::because(Reason::Validation))?;
    }
    for gpa in low.pages() {
        memory.zero(gpa, PageSize::Size4K).map_err(|_| Fatal::plain(Reason::PageState)())?;
    }
    for region in launch.of_kind(Kind::Measured).map(|area| area.region).chain([low]) {
        grant_region(&mut memory, &mut owners, region).map_err(Fatal::because(Reason::Validation))?;
    }

    // The services.
    let entropy = Conditioner::start(Rdseed, Rdrand).map_err(Fatal::because(Reason::Entropy))?;
    let tpm = Platform::manufacture(entropy, TickClock::new(rdtsc, None), |_| ());
    let tpm = Mutex::new(tpm.map_err(Fatal::because(Reason::Tpm))?);
    let secrets_gpa = layout::gpa_of(layout::secrets_page());
    let mut secrets_page = page(&mut memory, secrets_gpa)?;
    memory.zero(secrets_gpa, PageSize::Size4K).map_err(|_| Fatal::plain(Reason::PageState)())?;
    let secrets = Secrets::from_page(&mut secrets_page);
    let key = secrets.take_vmpck(Vmpl::Vmpl0).ok_or_else(Fatal::plain(Reason::Report))?;

    // The guest.
    let c_bit = 1 << c_bit;
    let filling = start::Filling { cpuid: &cpuid_page, secrets, firmware: own, ranges: &ranges, c_bit };
    let filled = start::fill_pages(&mut memory, &owners, &launch, &filling);
    secrets.wipe();
    filled.map_err(Fatal::because(Reason::LaunchParams))?;
    let sev_features = host::sev_features();
    let vmsa = start::register_state(&launch, sev_features, c_bit).map_err(Fatal::because(Reason::LaunchParams))?;
    let vmsa = vmsa.ok_or_else(Fatal::plain(Reason::NoGuest))?;
    let calling_area = start::calling_area(&launch);
    let vcpu = Vcpu { vmsa: host.start_guest(&vmsa)?, calling_area, sev_features: vmsa.sev_features.get() };
    let guest = Mutex::new(Guest::new(owners, 0, vcpu, &[]).ok_or_else(lost)?);
    host.say("guest", format_args!("started at VMPL2 by a paravisor of another kind"));
    let host = Mutex::new(host);
    let reports = Mutex::new(Psp { host: &host, channel: Box::new(Channel::new(key, 0)), messages });
    loop {
        host.lock().run_guest()?;
        let machine = &mut Machine {
            apic_id: 0,
            pages: &mut memory,
            guest: &guest,
            tpm: &tpm,
            interrupts: Interrupts::Any,
            reports: &reports,
            wires: &mut NoWires,
        };
        if after_stop(machine) == Stop::Lost {
            return Err(Fatal::plain(Reason::RunGuest)());
        }
    }
}

/// A copy of a page of our own.
fn page(memory: &mut Memory, gpa: u64) -> Result<Page, Fatal> {
    let mut page = [0; PAGE];
    memory.read(gpa, &mut page).map_err(|_| Fatal::plain(Reason::PageState)())?;
    Ok(page)
}
