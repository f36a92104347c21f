//! Exceptions that the host makes up at VMPL0 (WeSee, CVE-2024-25742; Heckler, CVE-2024-25743 and -25744): each ends
//! the firmware with a reason on the console, and nothing else happens.
//!
//! The machine does it (`fault=inject:N`, tests/machine/src/inject.rs): it takes the firmware back after each and goes
//! on. It stops by itself when a firmware does anything but end; here its account is read, and at last the guest must
//! run as if nothing had been.

use super::{Totals, answers, case};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use host::boot::{self, Built};
use host::figures::{self, Figure};
use host::qemu::{self, Qemu};
use host::{build, debian};
use quoin_image::elf::Elf;

/// The full form's stride, and the points that it must have.
pub const FULL: u32 = 30;
const FULL_POINTS: u32 = 1000;
/// The short form's stride.
const SHORT: u32 = 400;
/// How long the machine may say nothing: a point takes it some seconds.
const SILENCE: Duration = Duration::from_secs(120);
/// Termination codes of kernel/src/fatal.rs: an exception, a #VC.
const EXPECTED_ENDS: [&str; 2] = ["10, 15", "10, 16"];

/// At every so many-th exit of VMPL0, at three points.
pub fn at_every(every: u32) -> Result<Totals> {
    debian::ensure(&[qemu::PROGRAM])?;
    let built = boot::build_everything()?;
    Ok(case("exceptions that the host makes up", boot(&built, every)))
}

/// The short form, for the suite of lies.
pub(super) fn short(built: &Built) -> Totals {
    case(&format!("inject:{SHORT}"), boot(built, SHORT))
}

/// What the machine has accounted for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Account {
    points: u32,
    trials: u32,
    /// What a page raises that the host has taken, at an access that refuses it.
    refused: u32,
    heard: u32,
    read: u32,
    /// The last exception whose reason was not heard.
    silent: String,
}

impl Account {
    /// Takes a line of the machine's log.
    fn line(&mut self, line: &str) -> Result<()> {
        if let Some(point) = line.strip_prefix("machine: INJECT ") {
            let (trials, refused) = (number(point, "trials")?, number(point, "refused")?);
            self.points += 1;
            self.trials += trials;
            self.refused += refused;
            self.heard += number(point, "heard")?;
            ensure!(number(point, "silent")? == 0, "an end without a reason: {line}\nafter {}", self.silent);
            let (_, ends) = point.split_once("ends=").context("no ends")?;
            let mut ended = 0;
            for each in ends.split("((").skip(1) {
                let (end, times) = each.split_once("), ").context("no number of ends")?;
                ensure!(EXPECTED_ENDS.contains(&end), "an end of another kind ({end}): {line}");
                ended += times.split(')').next().unwrap_or_default().parse::<u32>().context("no number of ends")?;
            }
            ensure!(ended + refused == trials, "{trials} exceptions, {ended} ends, {refused} refused: {line}");
        } else if let Some(trial) = line.strip_prefix("machine: INJECTED ") {
            self.read += 1;
            if !trial.contains("says=quoin: fatal") {
                trial.clone_into(&mut self.silent);
            }
            self.trial(trial).with_context(|| line.to_owned())?;
        }
        Ok(())
    }

    /// The reason is the one that was made up.
    fn trial(&self, trial: &str) -> Result<()> {
        let (_, says) = trial.split_once("says=").context("no console")?;
        let vector: u32 = number(trial, "vector")?;
        let as_vc = trial.contains("as=vc");
        let expected = match trial.split_once("error=") {
            Some((_, error)) if as_vc => format!("(code 16): code {} ", error.split(' ').next().unwrap_or_default()),
            // Without an error code the rest of the frame is not where the handler looks for it.
            _ if vector == 29 => String::from("(code 16): "),
            _ => format!("(code 15): vector {vector} error "),
        };
        // Before there is a console nothing can be said.
        ensure!(says.is_empty() || (says.starts_with("quoin: fatal ") && says.contains(&expected)), "not `{expected}`");
        Ok(())
    }
}

/// The number behind `key=`.
pub(super) fn number(text: &str, key: &str) -> Result<u32> {
    let value = text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).with_context(|| format!("no {key} in `{text}`"))
}

fn boot(built: &Built, every: u32) -> Result<()> {
    let mut qemu = boot::start(built, &format!("ram=32\nfault=inject:{every}\n{}", accesses()?))?;
    let mut account = Account::default();
    until_the_guest_runs(&mut qemu, &mut account)?;
    let least = if every <= FULL { FULL_POINTS } else { 1 };
    ensure!(account.points >= least && account.read > 0, "there were fewer than {least} points: {account:?}");
    let Account { points, trials, refused, heard, read, .. } = account;
    let summary = format!(
        "{trials} exceptions at {points} points; {heard} reasons heard, {read} of them read; {refused} accesses refused"
    );
    println!("     {summary}");
    if every <= FULL {
        figures::keep(Figure::Exceptions, &summary);
    }
    answers::of(&mut qemu)
}

/// Where an access to a page that the host has taken is refused (snp/src/instr/access.s), for the machine.
pub(super) fn accesses() -> Result<String> {
    let elf = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.firmware())?;
    let at = |name: &str| elf.address(&format!("__access_{name}"));
    let mut lines =
        format!("refused={:#x}\nrefusable={:#x}-{:#x}", at("refused")?, at("zero_at")?, at("zero_end")? - 1);
    for one in ["copy_at", "copy_rest_at", "exchange_at", "pvalidate_at", "rmpadjust_at"] {
        lines += &format!("\nrefusable={0:#x}-{0:#x}", at(one)?);
    }
    Ok(lines)
}

fn until_the_guest_runs(qemu: &mut Qemu, account: &mut Account) -> Result<()> {
    let (mut last, mut shown) = (Vec::new(), 0);
    loop {
        let Some(event) = qemu.next_event(SILENCE) else { bail!("the machine is silent after:\n{}", last.join("\n")) };
        account.line(&event.line)?;
        if account.points > shown && account.points.is_multiple_of(250) {
            shown = account.points;
            println!("     {shown} points, {} exceptions", account.trials);
        }
        if event.line.starts_with("quoin: guest ") {
            return Ok(());
        }
        last.push(event.line);
        if last.len() > 5 {
            last.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    const POINT: &str = "machine: INJECT point=1 exit=9 steps=0 rip=0x1 trials=9 refused=2 heard=1 silent=0 speaks=true ends=[((10, 15), 5), ((10, 16), 2)]";

    #[test]
    fn points_are_added_up() {
        let mut account = Account::default();
        account.line(POINT).unwrap();
        account.line("machine: something else").unwrap();
        account.line(POINT).unwrap();
        assert_eq!(account, Account { points: 2, trials: 18, refused: 4, heard: 2, ..Account::default() });
    }

    #[test]
    fn an_end_in_silence_or_of_another_kind_is_an_error() {
        let wrong =
            [("silent=0", "silent=1"), ("10, 15", "10, 18"), ("10, 16", "0, 0"), ("trials=", "x="), ("), 5", "), 4")];
        for (from, to) in wrong {
            assert!(Account::default().line(&POINT.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn the_reason_must_be_the_one_that_was_made_up() {
        let checked = |event: &str, says: &str| {
            Account::default().line(&format!("machine: INJECTED {event} exit=1 steps=2 rip=0x3 end=10/15 says={says}"))
        };
        let vector = "quoin: fatal unexpected exception (code 15): vector 14 error 0x0 rip 0x3 rsp 0x4 cr2 0x0";
        assert!(checked("vector=14 as=exception", vector).is_ok());
        assert!(checked("vector=14 as=exception", "").is_ok());
        assert!(checked("vector=1 as=exception", vector).is_err());
        assert!(checked("vector=14 as=exception", "quoin: memory 1 MiB").is_err());
        let vc = "quoin: fatal unexpected #VC (code 16): code 0x72 rip 0x3";
        assert!(checked("vector=29 as=vc error=0x72", vc).is_ok());
        assert!(checked("vector=29 as=vc error=0x7", vc).is_err());
        assert!(checked("vector=29 as=interrupt", vc).is_ok());
        assert!(checked("vector=29 as=vc error=0x72", vector).is_err());
    }
}
