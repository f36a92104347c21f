//! Two vCPUs of a guest that work at once: one makes a call while the other changes what the call goes by, both use the
//! TPM, pages come and go beside it.

use super::hostile::{alive, count, running};
use super::{Totals, case};
use anyhow::{Context, Result};
use core::fmt;
use core::time::Duration;
use host::boot::{self, Built};
use host::qemu::Qemu;
use host::relay::{Relay, Work};
use std::time::Instant;

/// Rounds of each attempt, and commands from each vCPU, in the short form.
const SHORT: Amount = Amount { rounds: 1000, commands: 2000, longest: Duration::MAX };

/// Rounds that the payload makes at a time, before it answers.
const PORTION: u32 = 5000;
/// How long nothing is said of what has been done.
const SILENCE: Duration = Duration::from_secs(120);

/// With turns, the other processor has one at exits of VMPL0, that is amid a call.
const CONFIG: &str = "own=64\nvmpl-fault=gp\nfault=hv-features:0x23\nturns=1";

/// What one vCPU changes while the other's call is served.
const HOSTILE: [(Work, &str); 7] = [
    (Work::CallingArea, "calling area"),
    (Work::Mailbox, "mailbox"),
    (Work::PageList, "list of pages for a TPM command"),
    (Work::List, "PVALIDATE list"),
    (Work::Deposits, "deposited page and list"),
    (Work::Attestation, "attestation structure"),
    (Work::RegisterState, "register state"),
];

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Rounds of each hostile attempt.
    pub rounds: u32,
    /// TPM commands from each vCPU.
    pub commands: u32,
    /// After this the portion that runs is the last.
    pub longest: Duration,
}

/// The short form. Processors take turns: where they run at once, QEMU's emulated SVM was seen to give VMPL0 registers
/// of the machine's own (docs/plan.md).
pub fn run(_: &Built) -> Result<Totals> {
    let built = boot::build_for(2)?;
    let mut qemu = boot::start(&built, CONFIG)?;
    Ok(attempts(&built, &mut qemu, SHORT)?.totals)
}

/// So much, by processors that run at once or take turns.
pub fn so_much(amount: Amount, at_once: bool) -> Result<Done> {
    let built = boot::build_for(2)?;
    let mut qemu = if at_once { boot::start_at_once(&built, CONFIG)? } else { boot::start(&built, CONFIG)? };
    attempts(&built, &mut qemu, amount)
}

/// What has been done of one work.
#[derive(Debug, Clone, Copy)]
struct Line {
    work: Work,
    name: &'static str,
    wanted: u32,
    done: u32,
    took: Duration,
    cpu: Duration,
}

/// What has been done.
#[derive(Debug)]
pub struct Done {
    /// Cases.
    pub totals: Totals,
    lines: Vec<Line>,
}

impl Done {
    /// Whether all that was wanted was done.
    pub fn is_all(&self) -> bool {
        self.lines.iter().all(|line| line.done == line.wanted)
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { name, wanted, done, took, cpu, .. } in &self.lines {
            let [took, cpu] = [took, cpu].map(Duration::as_secs_f64);
            writeln!(f, "{done:>9} of {wanted:>9}  {name}: {took:.0} s, {cpu:.0} CPU seconds")?;
        }
        write!(f, "{}", self.totals)
    }
}

fn attempts(built: &Built, qemu: &mut Qemu, amount: Amount) -> Result<Done> {
    boot::wait_for_guest(qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let wanted = HOSTILE.map(|(work, name)| (work, name, amount.rounds));
    let traffic = (Work::Traffic, "TPM commands from each vCPU, beside PVALIDATE", amount.commands);
    let line = |(work, name, wanted)| Line { work, name, wanted, done: 0, took: Duration::ZERO, cpu: Duration::ZERO };
    let mut done = Done { totals: Totals::default(), lines: wanted.into_iter().chain([traffic]).map(line).collect() };
    let (started, mut said) = (Instant::now(), Instant::now());
    while !done.is_all() && started.elapsed() < amount.longest {
        if said.elapsed() > SILENCE {
            println!("{done}");
            said = Instant::now();
        }
        if let Err(error) = portions(qemu, &mut relay, &mut done) {
            println!("{done}");
            return Err(error).with_context(|| boot::last_words(qemu));
        }
    }
    done.totals += case("the firmware is alive after it: TPM and attestation answer", alive(&mut relay));
    done.totals += case("the firmware has not ended", running(qemu));
    Ok(done)
}

/// One portion of each.
fn portions(qemu: &Qemu, relay: &mut dyn Relay, done: &mut Done) -> Result<()> {
    for line in &mut done.lines {
        let now = PORTION.min(line.wanted - line.done);
        if now == 0 {
            continue;
        }
        let (started, cpu) = (Instant::now(), qemu.cpu_time()?);
        let text = relay.two_vcpus(line.work, now).context(line.name)?;
        done.totals += count(&text)?;
        line.done += now;
        line.took += started.elapsed();
        line.cpu += qemu.cpu_time()?.saturating_sub(cpu);
        let is_last = line.done == line.wanted;
        text.lines().filter(|said| is_last || said.starts_with("FAIL ")).for_each(|said| println!("{said}"));
    }
    Ok(())
}
