//! The shipped firmware and a guest of several processors under a host that lies: what AP creation is carried out as,
//! which register state runs where, and register states as a guest should not make them.

use super::hostile::{alive, count, running};
use super::{Totals, answers, case, window};
use anyhow::{Context, Result, ensure};
use host::boot::{self, Built};
use host::qemu::Qemu;
use host::relay::{Relay, RegisterStates, SvsmRegisters, result_name};

/// Bits of a register state.
const BITS: u32 = 8 * 4096;
/// Bits that the payload flips before it answers.
const PORTION: u32 = 2048;
/// What the short form flips: one bit of each eight octets at least, and each bit of what counts, and around it: VMPL and
/// EFER; exit information, SEV_FEATURES, exit code, VIRTUAL_TOM.
const SHORT: [(u32, u32, u32); 3] = [(0, BITS, 61), (8 * 0xC8, 8 * 0xD8, 1), (8 * 0x3B0, 8 * 0x3D0, 1)];

const INVALID_PARAMETER: u64 = 0x8000_0005;

/// Outcomes of tests/guest/src/states.rs.
const UP: u8 = 0;
const REFUSED: u8 = 1;
const SILENT: u8 = 2;
/// SVSM_ERR_VMSA... of DELETE_VCPU: it still runs.
const IN_USE: u8 = 3;

/// The short form.
pub fn run(_: &Built) -> Result<Totals> {
    let four = boot::build_for(4)?;
    let mut totals = case("AP creation: late, elsewhere, refused; parked states run", firmware(&four));
    totals += guest(&four)?;
    totals += flipped(&SHORT)?;
    totals += window::short()?;
    Ok(totals)
}

/// Every bit of a register state.
pub fn every_bit() -> Result<Totals> {
    let portions = (0..BITS).step_by(PORTION as usize).map(|first| (first, first + PORTION, 1)).collect::<Vec<_>>();
    flipped(&portions)
}

/// What the firmware asks for: of its processors 1 to 3 one is started only after it has given it up, one begins on
/// another processor, one is refused.
fn firmware(built: &Built) -> Result<()> {
    const LIES: &str = "vmpl-fault=gp\nfault=parked-run\nfault=ap-late:1\nfault=ap-other:2\nfault=ap-refused:3";
    let mut qemu = boot::start(built, LIES)?;
    let mut said = hear(&mut qemu, built)?;
    ensure!(said.contains("quoin: processors 2 of 4"), "the firmware has not counted its processors:\n{said}");
    let mut relay = qemu.relay()?;
    answers::through(&mut relay)?;
    // The one that came up too late is none of the guest's, nor is the one that was refused.
    for (processor, expected) in [(1, INVALID_PARAMETER), (3, INVALID_PARAMETER)] {
        let call = SvsmRegisters { rax: 2, rcx: 0x180_1000, rdx: 0x180_2000, r8: processor, r9: 0 };
        let (after, pending) = relay.svsm(call)?;
        ensure!(
            (after.rax, pending) == (expected, 0),
            "CREATE_VCPU for processor {processor}: {}",
            result_name(after.rax)
        );
    }
    said += &qemu.last_lines();
    parked(&said, &[1, 3])?;
    alive(&mut relay)?;
    running(&mut qemu)
}

/// Of a parked register state nothing comes: it halts, and shuts down at an NMI.
fn parked(said: &str, processors: &[u32]) -> Result<()> {
    for processor in processors {
        for what in ["halts at rip=0xffbff001", "shuts down"] {
            let line = format!("machine: LIE parked-run: processor={processor} {what}");
            ensure!(said.contains(&line), "no `{line}`:\n{said}");
        }
    }
    ensure!(!said.contains(" exits with "), "a parked processor has done something:\n{said}");
    Ok(())
}

/// All that is said until the guest has been started.
fn hear(qemu: &mut Qemu, built: &Built) -> Result<String> {
    let mut said = String::new();
    boot::hear_until_guest(qemu, &built.image, |event, _| said += &format!("{}\n", event.line))?;
    Ok(said)
}

/// What the guest asks for. AP creations 1 to 3 are the firmware's own, of which the first is carried out on two
/// processors, 4 that of the first vCPU; then the guest's, each with its destruction.
fn guest(built: &Built) -> Result<Totals> {
    const LIES: &str = "vmpl-fault=gp\nfault=ap-twice:1\nfault=ap-vmpl:3\nfault=ap-never:6\nfault=ap-refused:8\n\
        fault=ap-page:10\nfault=ap-other:14";
    let mut qemu = boot::start(built, LIES)?;
    let said = hear(&mut qemu, built)?;
    let mut totals = case("AP creation: on two processors, and for another VMPL", {
        let expected = "quoin: processors 3 of 4";
        if said.contains(expected) { Ok(()) } else { Err(anyhow::anyhow!("no `{expected}`:\n{said}")) }
    });
    let mut relay = qemu.relay()?;
    let expected = vec![(SILENT, 0), (REFUSED, 0), (SILENT, 0), (UP, 0), (UP, IN_USE)];
    let text = relay.register_states(&RegisterStates::Created(expected)).with_context(|| qemu.last_lines())?;
    text.lines().for_each(|line| println!("{line}"));
    totals += count(&text)?;
    totals += case("the firmware is alive after it: TPM and attestation answer", alive(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

/// Register states with bits flipped.
fn flipped(portions: &[(u32, u32, u32)]) -> Result<Totals> {
    let built = boot::build_for(2)?;
    let mut qemu = boot::start(&built, "vmpl-fault=gp\nram=32")?;
    hear(&mut qemu, &built)?;
    let mut relay = qemu.relay()?;
    let mut totals = Totals::default();
    for (first, last, step) in portions {
        let what = RegisterStates::Flipped(*first, *last, *step);
        let text = relay.register_states(&what).with_context(|| qemu.last_lines())?;
        text.lines().for_each(|line| println!("{line}"));
        totals += count(&text)?;
    }
    totals += case("the firmware is alive after it: TPM and attestation answer", alive(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}
