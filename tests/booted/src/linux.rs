//! Debian's kernel, unmodified, at VMPL2: what its userland finds, and that evidence it gives is verified down to the
//! kernel's command line.
//!
//! The guest's own checks are those of tests/guest/linux/init. Where the packages cannot be had the suite fails and
//! says what is missing.

use super::evidence::{predicted, verb_with};
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::guest::challenger::Challenger;
use host::guest::last_word::LastWord;
use host::guest::{self, Boot, Outcome, System};
use host::workspace;
use quoin_verify::digest::hex;
use quoin_verify::evidence::folder::Evidence;
use std::io::Write;

/// What `init` is told, and the same with another word, by which it makes fewer checks.
const COMMAND_LINE: &str = "console=ttyS1 quiet quoin=check";
const CHANGED: &str = "console=ttyS1 quiet quoin=evidence";
/// MiB of the machine, of which the guest has 128 less; seconds until it must have powered off.
const MEMORY: u32 = 512;
const TIMEOUT: u64 = 300;
/// How many checks `init` makes: one that is lost is a failure.
const CHECKS: usize = 24;
/// The step `measurement` of `xtask verify` is the ninth, that of the event log the last.
const NO_MEASUREMENT: i32 = 18;
const NO_EVENT_LOG: i32 = 29;

/// Two boots: the second with another command line.
pub fn run() -> Result<Totals> {
    let system = System::prepare()?;
    println!("kernel {}", system.release);
    let built = system.build(COMMAND_LINE, "linux.igvm")?;
    let (challenger, outcome) = boot(&built)?;
    let mut totals = Totals::default();
    totals += case("userland is reached", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    let evidence = challenger.evidence(&built.image.launch.digest);
    let evidence = match evidence {
        Ok(evidence) => evidence,
        Err(error) => {
            totals += case("evidence is gathered", Err(error));
            return Ok(totals);
        }
    };
    evidence.write(&workspace::target_dir()?.join("guest/evidence"))?;
    let command_line = format!("command line `{COMMAND_LINE}`");
    totals += case(
        "`xtask verify` accepts its evidence",
        verb_with(&built, &evidence, 0, &["verified: 20 steps ok", &command_line]),
    );
    // PCR 0 has the firmware's version, which the firmware says.
    totals += case("what is predicted of the image's PCRs is what is quoted", predicted(&built, &evidence, &[0]));
    totals += case("a changed boot log is refused, with PCR and event", changed_log(&built, &evidence));
    totals += case(
        "another word on the command line: another launch, refused with PCR 8 and the event",
        changed_word(&system, &built),
    );
    totals += case("a kernel that panics is told, and ends the machine", panics(&system));
    Ok(totals)
}

/// Without the first process and without a disk there is nothing that the kernel can start.
fn panics(system: &System) -> Result<()> {
    let (_, outcome) = boot(&system.build("console=ttyS1 quiet rdinit=/none", "linux-panic.igvm")?)?;
    ensure!(matches!(outcome.last_word, LastWord::Panic(_)) && !outcome.is_power_off(), "{outcome}");
    Ok(())
}

pub(super) fn boot(built: &Built) -> Result<(Challenger, Outcome)> {
    let mut challenger = Challenger::new()?;
    let how = Boot { memory: MEMORY, disk: None, timeout: TIMEOUT, verbose: false, qemu: Vec::new(), state_disk: None };
    let log = built.path.with_extension("log");
    let outcome = guest::boot(built, &how, |bytes, serial| {
        let answer = challenger.take(bytes)?;
        Ok(serial.write_all(&answer)?)
    });
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    println!(
        "{:.1} s from QEMU's start to {outcome}; userland {} s after the kernel's start",
        outcome.elapsed.as_secs_f64(),
        challenger.userland.as_deref().unwrap_or("?")
    );
    Ok((challenger, outcome))
}

pub(super) fn reached(challenger: &Challenger, outcome: &Outcome) -> Result<()> {
    ensure!(
        challenger.userland.is_some(),
        "the guest's init has not said a word; {outcome}\n{}",
        challenger.transcript
    );
    Ok(())
}

pub(super) fn all_made(challenger: &Challenger, checks: usize) -> Result<()> {
    let failed = challenger.checks.iter().filter(|(_, why)| why.is_some()).count();
    let expected = format!("{} passed, {failed} failed", challenger.checks.len() - failed);
    ensure!(challenger.checks.len() == checks, "{} checks, not {checks}", challenger.checks.len());
    ensure!(challenger.total.as_ref() == Some(&expected), "{:?}, not {expected:?}", challenger.total);
    Ok(())
}

pub(super) fn powered_off(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.is_power_off(), "{outcome}");
    Ok(())
}

/// The log says another word than the one that was measured, or one bit of it is another.
fn changed_log(built: &Built, evidence: &Evidence) -> Result<()> {
    let mut changed = evidence.clone();
    let at = changed.boot_events.windows(5).position(|five| five == b"quiet").context("the log has no such word")?;
    changed.boot_events[at] = b'Q';
    verb_with(built, &changed, NO_EVENT_LOG, &["FAILED  event log", "PCR 8, event 2"])?;
    let expectations = built.expectations()?;
    // Behind the header, whose banks and sizes say how the rest is read.
    for bit in (100 * 8..evidence.boot_events.len() * 8).step_by(997) {
        let mut flipped = evidence.clone();
        flipped.boot_events[bit / 8] ^= 1 << (bit % 8);
        let verdict = quoin_verify::verify(&flipped, &expectations, |_, _| {});
        ensure!(verdict.is_err(), "bit {bit} of the boot log is another, and the evidence was accepted");
    }
    Ok(())
}

fn changed_word(system: &System, built: &Built) -> Result<()> {
    let other = system.build(CHANGED, "linux-changed.igvm")?;
    let (ours, others) = (hex(&built.image.launch.digest), hex(&other.image.launch.digest));
    ensure!(ours != others, "both launches have the digest {ours}");
    let (challenger, outcome) = boot(&other)?;
    powered_off(&outcome)?;
    let evidence = challenger.evidence(&other.image.launch.digest)?;
    verb_with(&other, &evidence, 0, &["verified: 20 steps ok", CHANGED])?;
    let event = format!("PCR 8, event 2 (`kernel_cmdline: {COMMAND_LINE}`)");
    verb_with(built, &evidence, NO_MEASUREMENT, &["FAILED  measurement", &event, CHANGED])
}
