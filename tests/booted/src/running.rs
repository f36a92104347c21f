//! The shipped firmware and a guest of several processors under a host that lies: what AP creation is carried out as,
//! which register state runs where, and register states as a guest should not make them.

use super::hostile::{alive, count, running};
use super::{Totals, answers, case, window};
use anyhow::{Context, Result, ensure};
use host::boot::{self, Built};
use host::debian;
use host::qemu::{self, Qemu};
use host::relay::{RegisterStates, Relay, SvsmRegisters, result_name};

/// Bits of a register state.
const BITS: u32 = 8 * 4096;
/// Bits that the payload flips before it answers.
const PORTION: u32 = 2048;
/// What the short form flips: one bit of each eight octets at least, and each bit of what counts, and around it: VMPL
/// and EFER; exit information, SEV_FEATURES, exit code, VIRTUAL_TOM.
const SHORT: [(u32, u32, u32); 3] = [(0, BITS, 61), (8 * 0xC8, 8 * 0xD8, 1), (8 * 0x3B0, 8 * 0x3D0, 1)];

const INVALID_PARAMETER: u64 = 0x8000_0005;

/// Outcomes of tests/guest/src/states.rs.
const UP: u8 = 0;
const REFUSED: u8 = 1;
const SILENT: u8 = 2;
/// DELETE_VCPU's last octet where it still runs.
const IN_USE: u8 = 3;

/// The short form.
pub fn run(_: &Built) -> Result<Totals> {
    let four = boot::build_for(4)?;
    let mut totals = case("AP creation: late, elsewhere, refused; parked states run", firmware(&four));
    totals += guest(&four)?;
    totals += flipped(&SHORT)?;
    let two = boot::build_for(2)?;
    totals += case("VMPL2 is run when nobody has asked for it", unasked(&two));
    totals += case("pages of 2 MiB are split while they change hands", split(&two));
    totals += window::short()?;
    Ok(totals)
}

/// Every bit of a register state; exceptions and pages at every Nth instruction.
pub fn in_full(every: u64) -> Result<Totals> {
    debian::ensure(&[qemu::PROGRAM])?;
    let portions = (0..BITS).step_by(PORTION as usize).map(|first| (first, first + PORTION, 1)).collect::<Vec<_>>();
    let mut totals = flipped(&portions)?;
    totals += window::at_every(every)?;
    Ok(totals)
}

/// What the firmware asks for: of its processors 1 to 3 one is started only after it has given it up, one begins on
/// another processor, one is refused.
fn firmware(built: &Built) -> Result<()> {
    const LIES: &str = "own=1\nvmpl-fault=gp\nfault=parked-run\nfault=ap-late:1\nfault=ap-other:2\nfault=ap-refused:3";
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
    const LIES: &str = "own=1\nvmpl-fault=gp\nfault=ap-twice:1\nfault=ap-vmpl:3\nfault=ap-never:6\nfault=ap-refused:8\n\
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

/// The host runs VMPL2 while VMPL0 works for it: before VMPL0 has looked at the call, which then is not taken; after it
/// was served. The next call finds VMPL0 where it was left.
fn unasked(built: &Built) -> Result<()> {
    const MARK: u64 = 0x444E_4957;
    let mut qemu = boot::start(built, "ram=32\nfault=unasked")?;
    hear(&mut qemu, built)?;
    let mut relay = qemu.relay()?;
    let mut query = |marked: bool, times: u64| -> Result<(u64, u64, u8)> {
        let call = SvsmRegisters { rax: 6, rcx: 2 << 32 | 1, r8: times, r9: if marked { MARK } else { 0 }, rdx: 0 };
        let (after, pending) = relay.svsm(call)?;
        Ok((after.rax, after.rcx, pending))
    };
    const TAKEN: (u64, u64, u8) = (0, 1 << 32 | 1, 0);
    const UNTAKEN: (u64, u64, u8) = (6, 2 << 32 | 1, 1);
    for _ in 0..3 {
        ensure!(query(true, 0)? == UNTAKEN, "a call that VMPL0 has not seen");
        ensure!(query(false, 0)? == TAKEN, "VMPL0 is where it was left, and takes the next one");
        ensure!(query(true, 1)? == TAKEN, "a call that was served");
        ensure!(query(false, 0)? == UNTAKEN, "VMPL0 runs VMPL2, as it was about to");
        ensure!(query(false, 0)? == TAKEN, "the next call");
    }
    answers::through(&mut relay)?;
    ensure!(qemu.last_lines().contains("LIE unasked: "), "the host has not lied");
    running(&mut qemu)
}

/// The host splits pages of 2 MiB while they change hands, before each PVALIDATE and RMPADJUST: nothing is lost, and
/// the guest is told to go by 4 KiB.
fn split(built: &Built) -> Result<()> {
    const LIST: u64 = 0x10_0000 + 0x80_0000;
    const LARGE: u64 = 1;
    const VALIDATE: u64 = 4;
    const SIZE_MISMATCH: u64 = 0x8000_1006;
    let mut qemu = boot::start(built, "rmp-pages=2m\nfault=psmash")?;
    hear(&mut qemu, built)?;
    let mut relay = qemu.relay()?;
    for passes in 0..8_u64 {
        let region = 0x100_0000 + (passes << 21);
        let last = region + 0x1F_F000;
        relay.write(last, b"kept")?;
        let mut pvalidate = |entry: u64| -> Result<u64> {
            relay.write(LIST, &[1_u64.to_le_bytes(), entry.to_le_bytes()].concat())?;
            Ok(relay.svsm(SvsmRegisters { rax: 1, rcx: LIST, ..SvsmRegisters::default() })?.0.rax)
        };
        // Three RMPADJUST, PVALIDATE; PVALIDATE, RMPADJUST.
        let rescinded = pvalidate(region | LARGE)?;
        let validated = if rescinded == 0 { pvalidate(region | LARGE | VALIDATE)? } else { 0 };
        println!("     {passes}: {} {}", result_name(rescinded), result_name(validated));
        let expected = match passes {
            0..4 => (SIZE_MISMATCH, 0),
            4 => (0, SIZE_MISMATCH),
            _ => (0, 0),
        };
        ensure!((rescinded, validated) == expected, "split after {passes}: {rescinded:#x}, {validated:#x}");
        if validated == SIZE_MISMATCH {
            ensure!(pvalidate(last | VALIDATE)? == 0, "a small page after it");
        }
        let contents = relay.read(last, 4)?;
        let wanted: &[u8] = if rescinded == 0 { &[0; 4] } else { b"kept" };
        ensure!(contents == wanted, "split after {passes}: {contents:?}");
    }
    answers::through(&mut relay)?;
    ensure!(qemu.last_lines().contains("LIE psmash: "), "the host has not lied");
    running(&mut qemu)
}

/// Register states with bits flipped.
fn flipped(portions: &[(u32, u32, u32)]) -> Result<Totals> {
    let built = boot::build_for(2)?;
    let mut qemu = boot::start(&built, "own=1\nvmpl-fault=gp\nram=32")?;
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
