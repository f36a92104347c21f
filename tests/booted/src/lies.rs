//! The shipped firmware under a host that lies: it goes on where the protocol lets it, and otherwise ends with a
//! reason, before the guest runs. Never does it take a wrong answer, reuse an IV (the machine stops for that by name)
//! or panic.

use super::{Totals, answers, case, exceptions};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use host::boot::{self, Built};
use host::qemu::{End, Qemu, Source};
use host::relay::{Relay, SvsmRegisters, result_name};

/// What the firmware does about a lie.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Starts the guest, whose TPM and attestation work.
    Works,
    /// Asks for termination with this code (kernel/src/fatal.rs).
    Ends(u8),
    /// The same, with this on the console.
    Says(u8, &'static str),
    /// Starts the guest, and never gives it the page that was swapped again.
    Poisons,
    /// The machine stops it: the lie cannot be seen from inside.
    Stopped(&'static str),
}

/// The set of the firmware's own termination codes.
pub(super) const SET: u8 = 10;

/// The lies of tests/machine/src/config.rs, those told together separated by a space.
const LIES: &[(&str, Then)] = &[
    // What a host may do, or what asking again repairs.
    ("busy:1000", Then::Works),
    ("stale-answer:1", Then::Works),
    ("stale-answer:2", Then::Works),
    ("no-answer:1", Then::Works),
    ("no-answer:2", Then::Works),
    ("cert-truncated", Then::Works),
    ("psc-partial:2", Then::Works),
    ("spurious-run:1", Then::Works),
    // The firmware's own place is taken out of the map; order and number of the ranges do not matter.
    ("memory-map-lie", Then::Works),
    ("map-ranges:160", Then::Works),
    ("map-ranges:160 map-unsorted", Then::Works),
    // Run-VMPL has another protocol.
    ("ghcb-invalid:0x80000018", Then::Works),
    // Features (4), page states (5): no answer counts without the GHCB's valid bits.
    ("ghcb-invalid", Then::Ends(5)),
    ("ghcb-invalid:0x80000011", Then::Ends(12)),
    // 2.45 TiB, the firmware's place among them, that are not there; as much as track can be kept of, which the heap
    // must hold.
    ("map-pages:659013632", Then::Ends(5)),
    ("map-pages:0xfff00000", Then::Ends(5)),
    ("map-pages:1", Then::Ends(5)),
    ("hv-features:0x5", Then::Ends(4)),
    // The entry stub's validation of the firmware's own memory (7): a page of the stack, one of the heap, the last.
    ("required-validated:0x200000", Then::Ends(7)),
    ("required-validated", Then::Ends(7)),
    ("required-validated:0x7ff000", Then::Ends(7)),
    ("hv-features:0x22", Then::Ends(4)),
    // The protocol (3), the C-bit (1), the memory map (6).
    ("ghcb-register-other", Then::Ends(3)),
    ("cbit-lie:51", Then::Ends(3)),
    ("cpuid-overflow:65", Then::Ends(1)),
    ("map-overlap", Then::Ends(6)),
    // 32 TiB, of which no track can be kept; so many that their end wraps.
    ("map-pages:0x200000000", Then::Ends(6)),
    ("map-pages:0xffffffffffffffff", Then::Ends(6)),
    // No report (12): not authentic, or authentic and not the one that was asked for.
    ("wrong-seq:1", Then::Ends(12)),
    ("bit-flip:0", Then::Ends(12)),
    ("bit-flip:1000", Then::Ends(12)),
    ("wrong-vmpl-report:3", Then::Ends(12)),
    ("wrong-report-data:9", Then::Ends(12)),
    ("report-status:0x2a", Then::Ends(12)),
    // What is not done at once is done at the first access, as KVM does it; in a machine that does not, the lie shows.
    ("psc-refused", Then::Works),
    ("psc-refused\naccess=stop", Then::Stopped("c-bit")),
    // The CPUID page: what repeats is taken, what contradicts itself is not (9), and no source of entropy stands for
    // two (10).
    ("cpuid-repeats:3", Then::Works),
    ("cpuid-contradicts:1", Then::Says(9, "Contradiction { leaf: 1, subleaf: 0 }")),
    ("no-rdseed", Then::Says(10, "the CPUID page hides RDSEED")),
    ("no-rdrand", Then::Says(10, "the CPUID page hides RDRAND")),
    // The payload has given up four pages itself: the GHCBs of two vCPUs, and those of guest messages.
    ("swap-before-rescind:5", Then::Poisons),
];

/// Other hosts, by lines of the machine's configuration.
const HOSTS: &[(&str, Then)] = &[
    // Where a page in another state stops the machine: the firmware itself never reaches for one.
    ("access=stop", Then::Works),
    ("rmp-pages=2m", Then::Works),
    ("cpuid=image", Then::Works),
    // A host that names its VMPLs, and upstream's KVM, which has none: the guest cannot be started (13).
    ("fault=hv-features:0x23", Then::Works),
    ("vmpls=no", Then::Ends(13)),
];

/// A boot with each lie.
pub fn run(built: &Built) -> Result<Totals> {
    let mut totals = Totals::default();
    for (lie, then) in LIES {
        totals += case(&lie.replace('\n', " "), boot(built, &format!("fault={}", lie.replace(' ', "\nfault=")), *then));
    }
    for (host, then) in HOSTS {
        totals += case(host, boot(built, host, *then));
    }
    totals += exceptions::short(built);
    Ok(totals)
}

fn boot(built: &Built, config: &str, then: Then) -> Result<()> {
    // Little memory: what is validated at boot is what takes the time.
    let mut qemu = boot::start(built, &format!("ram=32\n{config}"))?;
    match then {
        Then::Works => works(&mut qemu, built),
        Then::Ends(code) => {
            ends(&mut qemu, End::Terminated, &format!("machine: TERMINATED set={SET} code={code} "), "")
        }
        Then::Says(code, reason) => {
            ends(&mut qemu, End::Terminated, &format!("machine: TERMINATED set={SET} code={code} "), reason)
        }
        Then::Poisons => poisons(&mut qemu, built),
        Then::Stopped(rule) => ends(&mut qemu, End::RuleBroken, &format!("machine: STOP rule={rule} "), ""),
    }
}

fn works(qemu: &mut Qemu, built: &Built) -> Result<()> {
    boot::wait_for_guest(qemu, &built.image, false)?;
    answers::of(qemu)
}

/// Gives up and asks back two pages of the guest's, of which the host swaps the first.
fn poisons(qemu: &mut Qemu, built: &Built) -> Result<()> {
    const LIST: u64 = 0x180_0000;
    const SWAPPED: u64 = LIST + 0x1000;
    const OTHER: u64 = LIST + 0x2000;
    const VALIDATE: u64 = 4;
    const INVALID_ADDRESS: u64 = 0x8000_0003;
    const UNCHANGED: u64 = 0x8000_1010;
    boot::wait_for_guest(qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut pvalidate = |entry: u64| -> Result<u64> {
        relay.write(LIST, &[1_u64.to_le_bytes(), entry.to_le_bytes()].concat())?;
        let (after, _) = relay.svsm(SvsmRegisters { rax: 1, rcx: LIST, ..SvsmRegisters::default() })?;
        Ok(after.rax)
    };
    for (what, entry, expected) in [
        ("giving up the page that the host swaps", SWAPPED, UNCHANGED),
        ("asking for it back", SWAPPED | VALIDATE, INVALID_ADDRESS),
        ("giving it up again", SWAPPED, INVALID_ADDRESS),
        ("giving up another", OTHER, 0),
        ("asking for that back", OTHER | VALIDATE, 0),
    ] {
        let rax = pvalidate(entry)?;
        ensure!(rax == expected, "{what}: {}, expected {}", result_name(rax), result_name(expected));
    }
    answers::through(&mut relay)
}

pub(super) fn ends(qemu: &mut Qemu, end: End, line: &str, reason: &str) -> Result<()> {
    let mut said = String::new();
    // Until the machine has ended, or is silent.
    while let Some(event) = qemu.next_event(Duration::from_secs(60)) {
        let started = event.source == Source::Firmware && event.line.starts_with("quoin: guest ");
        ensure!(!started, "the guest was started");
        said.push_str(&event.line);
        said.push('\n');
    }
    let got = qemu.wait(Duration::from_secs(5)).with_context(|| said.clone())?;
    ensure!(
        got == end && said.contains(line) && said.contains(reason),
        "the machine ended with {got:?}, expected {end:?}, `{line}` and `{reason}`:\n{said}"
    );
    Ok(())
}
