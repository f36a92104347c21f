//! Restricted injection at VMPL0: a host that raises every event at points everywhere, and within the handler of #HV;
//! hosts that do not offer the mode, or take another doorbell page; and what the firmware says of the mode, on the
//! console and attested.
//!
//! The machine stops by itself where an event that the mode forbids arrives, or #HV's handler does anything but come
//! back (tests/machine/src/signals.rs); here its account is read.

use super::exceptions::number;
use super::hostile::{count, running};
use super::lies::{SET, ends};
use super::{Totals, answers, case};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use host::boot::{self, Built};
use host::build;
use host::qemu::{End, Qemu};
use host::relay::{AttestCall, Relay, result_name};
use quoin_image::elf::Elf;
use quoin_image::guest::Interrupts;

/// a7cef41f-46a5-4de3-a77a-ccf6bfcabe58, mixed-endian: the interrupts service (docs/boot.md).
const INTERRUPTS: [u8; 16] =
    [0x1f, 0xf4, 0xce, 0xa7, 0xa5, 0x46, 0xe3, 0x4d, 0xa7, 0x7a, 0xcc, 0xf6, 0xbf, 0xca, 0xbe, 0x58];
/// Its manifests.
const ANY: [u8; 8] = [0; 8];
const RESTRICTED: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const ALTERNATE: [u8; 8] = [1, 0, 0, 0, 1, 0, 0, 0];
/// A host that offers the mode; little memory, since what is validated at boot takes the time.
const OFFERS: &str = "injection=restricted\nram=32\n";
/// How long the machine may say nothing.
const SILENCE: Duration = Duration::from_secs(120);
/// Points that there must be at boot.
const POINTS: u32 = 50;

/// Hosts that the image does not start on, with code and reason.
const REFUSED: &[(&str, u8, &str)] = &[
    ("fault=hv-features:0x3", 4, "NotOffered"),
    ("fault=doorbell-refused", 4, "no #HV doorbell page"),
    ("fault=doorbell-other", 4, "no #HV doorbell page"),
];

/// All of it.
pub fn run(plain: &Built) -> Result<Totals> {
    let built = boot::build_interrupted(1, Interrupts::Restricted)?;
    let mut totals = case("another digest than that of the image without it", another_digest(plain, &built));
    totals += case("without it: the line, the manifest", says(plain, "ram=32", "VMPL0: any of the host's", ANY));
    totals += case("with it: the line, the manifest", says(&built, OFFERS, "VMPL0: restricted to #HV", RESTRICTED));
    let on_two = boot::build_interrupted(2, Interrupts::Restricted)?;
    let everywhere_on_two = format!("{OFFERS}fault=hv:500\nseed=4\n{}", window()?);
    totals += case(
        "on two processors, every event",
        says(&on_two, &everywhere_on_two, "VMPL0: restricted to #HV", RESTRICTED),
    );
    for (host, code, reason) in REFUSED {
        totals += case(host, refused(&built, host, *code, reason));
    }
    totals += case("#HV with a machine check in the doorbell page", machine_check(&built));
    totals += case("a host without it does not launch the image", not_launched(&built));
    for seed in [1, 2] {
        totals += case(&format!("every event at boot, chance {seed}"), everywhere(&built, 41, seed));
    }
    totals += hostile(&built)?;
    Ok(totals)
}

/// A host that offers alternate injection, and presents whatever chance has.
const PRESENTS: &str = "injection=alternate\nram=32\nown=1\nvmpl-fault=gp\nfault=present:7\nseed=5";

/// Alternate injection: the payload's own account of the APIC protocol, and that it is not there where it was not asked
/// for, or is not offered.
pub fn alternate(plain: &Built) -> Result<Totals> {
    let built = boot::build_interrupted(2, Interrupts::Alternate)?;
    let line = "VMPL0: restricted to #HV; VMPL2: by an emulated APIC";
    let mut totals = case("the line, the manifest", says(&built, "injection=alternate\nram=32", line, ALTERNATE));
    let without = "VMPL0: restricted to #HV; VMPL2: the host's";
    totals += case("a host without it: the line, the manifest", says(&built, OFFERS, without, RESTRICTED));
    totals += apic(plain, "ram=32")?;
    totals += apic(&built, OFFERS)?;
    totals += apic(&built, PRESENTS)?;
    totals += apic(&built, &format!("{PRESENTS}\nfault=hv:1500\n{}", window()?))?;
    Ok(totals)
}

fn apic(built: &Built, config: &str) -> Result<Totals> {
    let mut qemu = boot::start(built, config)?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let text = relay.apic().with_context(|| qemu.last_lines())?;
    text.lines().filter(|line| line.starts_with("FAIL ")).for_each(|line| println!("{line}"));
    let mut totals = count(&text)?;
    totals += case("the firmware answers after it", answers::through(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

/// Where #HV keeps the firmware from running its guest (snp/src/instr.rs), for the machine.
fn window() -> Result<String> {
    let elf = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.firmware())?;
    Ok(format!("window={:#x}-{:#x}", elf.address("__hv_window")?, elf.address("__hv_window_end")?))
}

fn another_digest(plain: &Built, restricted: &Built) -> Result<()> {
    ensure!(plain.image.launch.digest != restricted.image.launch.digest, "the digest does not tell them apart");
    Ok(())
}

/// The firmware runs its guest, and says which mode it has; the vTPM's manifest is the key's alone.
fn says(built: &Built, config: &str, line: &str, mode: [u8; 8]) -> Result<()> {
    let mut qemu = boot::start(built, config)?;
    let mut said = String::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| {
        said.push_str(&event.line);
        said.push('\n');
    })?;
    ensure!(said.contains(&format!("quoin: interrupts {line}")), "no line `{line}`:\n{said}");
    let mut relay = qemu.relay()?;
    answers::through(&mut relay)?;
    let single = relay.attest(AttestCall::Single(INTERRUPTS), 0, &[7; 64])?;
    ensure!(single.rax == 0, "the interrupts service: {}", result_name(single.rax));
    ensure!(single.manifest == mode, "the manifest is {:?}", single.manifest);
    let all = relay.attest(AttestCall::Services, 0, &[7; 64])?;
    ensure!(all.rax == 0, "all services: {}", result_name(all.rax));
    let among = of_service(&all.manifest, &INTERRUPTS).context("the service is not among all")?;
    ensure!(among == single.manifest, "among all services its manifest is {among:?}");
    Ok(())
}

/// The first manifest of a service in that of all: after a head of 24 octets are entries of GUID, offset and size.
fn of_service<'a>(all: &'a [u8], service: &[u8; 16]) -> Option<&'a [u8]> {
    let number = |at: usize| Some(u32::from_le_bytes(*all.get(at..)?.first_chunk()?) as usize);
    let mut entries = (0..number(20)?).map(|index| 24 + 24 * index);
    let entry = entries.find(|entry| all.get(*entry..entry + 16) == Some(service))?;
    all.get(number(entry + 16)?..)?.get(..number(entry + 20)?)
}

fn refused(built: &Built, host: &str, code: u8, reason: &str) -> Result<()> {
    let mut qemu = boot::start(built, &format!("{OFFERS}{host}"))?;
    ends(&mut qemu, End::Terminated, &format!("machine: TERMINATED set={SET} code={code} "), reason)
}

/// It is told once the guest was to be run, and ends nothing.
fn machine_check(built: &Built) -> Result<()> {
    let mut qemu = boot::start(built, &format!("{OFFERS}fault=event:0x21c"))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    answers::of(&mut qemu)?;
    let said = qemu.last_lines();
    ensure!(said.contains("quoin: interrupts the host signals a machine check"), "{said}");
    Ok(())
}

fn not_launched(built: &Built) -> Result<()> {
    ends(&mut boot::start(built, "ram=32")?, End::BadLaunch, "does not support the VMSA's SEV_FEATURES 0x9", "")
}

/// What the machine has accounted for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    points: u32,
    forbidden: u32,
    instructions: u32,
    ended: u32,
}

impl Account {
    fn line(&mut self, line: &str) -> Result<()> {
        let Some(point) = line.strip_prefix("machine: HV ") else { return Ok(()) };
        let instructions = number(point, "instructions")?;
        self.points += 1;
        self.forbidden += number(point, "forbidden")?;
        self.instructions = self.instructions.max(instructions);
        self.ended += number(point, "ended")?;
        Ok(())
    }

    fn judge(&self, least: u32) -> Result<()> {
        let Self { points, forbidden, instructions, ended } = self;
        ensure!(*points >= least && *ended > 0, "fewer than {least} points: {self:?}");
        println!(
            "     #HV at {points} points, back after {instructions} instructions at most, {ended} times within itself; {forbidden} other events that the mode forbids"
        );
        Ok(())
    }
}

/// Every event at every so many-th exit, and behind it: the guest runs as if nothing had been.
fn everywhere(built: &Built, every: u32, seed: u32) -> Result<()> {
    let mut qemu = boot::start(built, &format!("{OFFERS}fault=hv:{every}\nseed={seed}\n{}", window()?))?;
    let mut account = Account::default();
    until_the_guest_runs(&mut qemu, &mut account)?;
    account.judge(POINTS)?;
    answers::of(&mut qemu)
}

fn until_the_guest_runs(qemu: &mut Qemu, account: &mut Account) -> Result<()> {
    loop {
        let event = qemu.next_event(SILENCE).context("the machine is silent")?;
        account.line(&event.line)?;
        if event.line.starts_with("quoin: guest ") {
            return Ok(());
        }
        if ["machine: STOP", "machine: TERMINATED"].iter().any(|end| event.line.starts_with(end)) {
            bail!("{}", qemu.last_lines());
        }
    }
}

/// The hostile guest's self-test, while the host raises every event in the firmware.
fn hostile(built: &Built) -> Result<Totals> {
    let config = "injection=restricted\nown=1\nvmpl-fault=gp\nsteal=1\nfault=hv:1500\nseed=3\n";
    let mut qemu = boot::start(built, &format!("{config}{}", window()?))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let text = relay.selftest().with_context(|| qemu.last_lines())?;
    text.lines().filter(|line| line.starts_with("FAIL ")).for_each(|line| println!("{line}"));
    let mut totals = count(&text)?;
    totals += case("the firmware answers after it", answers::through(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn points_are_added_up_and_must_be_enough() {
        let mut account = Account::default();
        account.line("machine: HV point=1 exit=41 steps=7 rip=0x1 forbidden=287 instructions=9 ended=0").unwrap();
        account.line("machine: something else").unwrap();
        assert!(account.judge(1).is_err());
        account.line("machine: HV point=2 exit=41 steps=9 rip=0x1 forbidden=287 instructions=7 ended=7").unwrap();
        assert_eq!(account, Account { points: 2, forbidden: 574, instructions: 9, ended: 7 });
        assert!(account.judge(2).is_ok() && account.judge(3).is_err());
        assert!(account.line("machine: HV point=3").is_err());
    }
}
