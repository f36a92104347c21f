#![no_std]
#![no_main]
//! The software SEV-SNP machine. For development and tests: it is not a security boundary.
//!
//! A program that QEMU starts through PVH (`-kernel`), and that uses the SVM which QEMU's TCG emulates to present to
//! one guest what SEV-SNP would: a reverse map, four VMPLs, the GHCB, #VC, CPUID and secrets pages, a measured launch
//! from an IGVM file, and a secure processor that signs reports. docs/boot.md is the contract; README.md says how to
//! run it by hand; BUILD-FLAGS has rustc's flags.
//!
//! | module | is |
//! |---|---|
//! | `entry`, `mem`, `cpu`, `phys`, `bits` | the bare machine |
//! | `log`, `rules`, `config`, `fwcfg`, `pvh` | what goes in and comes out |
//! | `rmp`, `npt`, `memory`, `elsewhere`, `walk`, `steal` | who owns which page, and who may reach it |
//! | `tlb` | and who still can |
//! | `smp`, `apic` | several processors, and one lock |
//! | `svm`, `machine`, `exits`, `vc`, `switch` | running the guest, #VC, VMPLs |
//! | `insn`, `invlpgb`, `ahead`, `rows` | its instructions |
//! | `calls` | how long its calls take |
//! | `msr`, `ghcb`, `events`, `ap`, `io`, `cpuid` | the hypervisor's side of the GHCB |
//! | `remote` | a device that a program outside serves |
//! | `bridge` | virtio over MMIO |
//! | `pci` | functions that are VMPL0's alone |
//! | `igvm`, `launch`, `psp` | the launch and the secure processor |
//! | `inject`, `window` | exceptions that the host makes up, and pages that it takes, at chosen instructions |
//! | `injection` | how the host may interrupt, and the doorbell page |
//! | `inject`, `signals` | exceptions that the host makes up, and #HV at every instruction |
//!
//! `unsafe` is in `entry`, `mem`, `cpu`, `phys` and `smp`; in four more where an instruction or a device is used: `svm`
//! (VMRUN and its control blocks), `apic`, `events` (an MSR that the guest may write) and `fwcfg` (what QEMU has
//! written); and here, for the names that `entry` calls. docs/unsafe.md says what each rests on.

mod ahead;
mod ap;
mod apic;
mod bits;
mod bridge;
mod calls;
mod config;
mod cpu;
mod cpuid;
mod elsewhere;
mod entry;
mod events;
mod exits;
mod fwcfg;
mod ghcb;
mod igvm;
mod inject;
mod injection;
mod insn;
mod invlpgb;
mod io;
mod launch;
mod log;
mod machine;
mod mem;
mod memory;
mod msr;
mod npt;
mod own;
mod pci;
mod phys;
mod psp;
mod pvh;
mod remote;
mod rmp;
mod rows;
mod rules;
mod signals;
mod smp;
mod steal;
mod svm;
mod switch;
mod tlb;
mod vc;
mod walk;
mod window;

use crate::config::Config;
use crate::launch::Launch;
use crate::log::{bad_launch, fault, log};
use crate::machine::{Machine, Processor, VmsaPage};
use crate::memory::Memory;
use crate::phys::Pool;
use crate::psp::Psp;
use crate::rmp::Rmp;
use crate::smp::PROCESSORS;
use crate::svm::{Regs, Svm};
use heapless::Vec;
use zerocopy::FromBytes as _;

/// From the entry code: `info` is the address of PVH's start information.
#[unsafe(no_mangle)]
extern "sysv64" fn machine_main(info: u64) -> ! {
    log!("software SEV-SNP machine, for development and tests, not a security boundary");
    entry::install_exceptions();
    let ranges = pvh::memory(info);
    let mut pool = Pool::new();
    let count = fwcfg::processors();
    if !(1..=PROCESSORS).contains(&count) {
        bad_launch!("{count} processors: this machine has from 1 to {PROCESSORS}");
    }
    smp::start_others(&mut pool, count);
    let config = fwcfg::file(&mut pool, "opt/org.quoin/config").map_or_else(Config::default, Config::parse);
    let Some(file) = fwcfg::file(&mut pool, "opt/org.quoin/igvm") else {
        bad_launch!("no IGVM file: start QEMU with -fw_cfg name=opt/org.quoin/igvm,file=FILE");
    };
    let ram = config.ram.map_or(u64::MAX, |mib| mib.saturating_mul(1 << 20));
    let mediated = fwcfg::Mediated::new(&mut pool, ram.min(phys::RESERVE_START));
    let mut psp = Psp::new(&mut pool, config.seed);
    let rmp = Rmp::new(&mut pool, &ranges, ram);
    let regs: Vec<_, PROCESSORS> = (0..count).map(|_| registers(&mut pool)).collect();
    if config.dma && !phys::is_memory(rmp::FIRMWARE, rmp::FIRMWARE_SIZE) {
        bad_launch!("dma=yes: QEMU has no memory at {:#x} (README.md)", rmp::FIRMWARE);
    }
    let mut memory = Memory::new(rmp, pool, count, config.dma);
    if config.legacy_ram {
        memory.back_legacy_hole();
    }
    let secrets = psp.secrets_page();
    let policy = cpuid::Policy::new(config.cpuid, config.invlpgb.unwrap_or(count > 1), &config.lies);
    let launch = Launch::new(&mut memory, &secrets, policy, config.lies, count);
    let launched = match igvm::Igvm::new(file).and_then(|file| launch.run(file)) {
        Ok(launched) => launched,
        Err(why) => bad_launch!("IGVM file: {}", why.0),
    };
    if !config.injection.supports(launched.features) {
        bad_launch!("this host does not support the VMSA's SEV_FEATURES {:#x}", launched.features);
    }
    log!("launch digest {}", psp::Hex(&launched.digest));
    psp.launched(&launched);
    let svm = Svm::new(|pages| memory.frames(pages));
    let mut processors: Vec<_, PROCESSORS> =
        regs.into_iter().map(|regs| Processor::new(regs, &svm, || memory.frames(1))).collect();
    let first = &mut processors[0].levels[0];
    (first.vmsa, first.starts) = (Some(VmsaPage::Launched(launched.states[0])), true);
    let mut machine = Machine {
        config,
        policy,
        memory,
        processors,
        me: 0,
        psp,
        fwcfg: mediated,
        rescinded: 0,
        huge_operand: (0, 0),
        read: ahead::Read::new(),
        creations: 0,
        runs_asked_for: 0,
        swapped: false,
        late: None,
        stack_used: None,
        inspected: false,
        own_left: 0,
        inject: inject::Inject::default(),
        signals: signals::Signals::default(),
        in_signal: false,
        event_raised: false,
        presented: 0,
    };
    machine.lie_parked(&launched.states);
    silence_bios_timer();
    // It lives for ever, because this function does not return, and is nobody's but the lock's from here on.
    smp::open(&raw mut machine);
    machine::run(0)
}

/// QEMU's BIOS has left the old interrupt controllers open and a timer running, whose interrupts arrive at the vectors
/// of exceptions. A host that launches a guest without a BIOS has not: nothing arrives before the guest has programmed
/// them.
fn silence_bios_timer() {
    const MASKS: [u16; 2] = [0x21, 0xA1];
    MASKS.iter().for_each(|port| cpu::port_out(*port, 1, 0xFF));
}

/// Registers of a processor's VMPLs: not among what the machine's lock is for, since the guest runs with them.
fn registers(pool: &mut Pool) -> [&'static mut Regs; 4] {
    [(); 4].map(|()| match Regs::mut_from_bytes(pool.slice(size_of::<Regs>())) {
        Ok(regs) => regs,
        Err(_) => fault!("registers misaligned"),
    })
}

/// An exception of the machine's own. `frame`: what the processor pushed.
#[unsafe(no_mangle)]
extern "sysv64" fn machine_exception(vector: u64, frame: &[u64; 6]) -> ! {
    fault!("exception {vector} in the machine itself, frame {frame:x?}")
}

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fault!("{info}")
}
