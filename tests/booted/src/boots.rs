//! One boot after the other, of every kind, without a retry.

use crate::Totals;
use anyhow::{Context, Result, bail, ensure};
use core::fmt;
use core::time::Duration;
use host::boot::{self, Built};
use host::guest::ending::Ending;
use host::guest::ovmf::Ovmf;
use host::guest::{self, System};
use host::relay::{AttestCall, Relay};
use host::watch::{How, Seen, watch};
use host::{debian, qemu};
use std::time::Instant;

/// What is booted, and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The payload of the relay: TPM and attestation answer.
    Relay,
    /// Linux, directly: userland, /dev/tpm0, power-off.
    Linux,
    /// Linux, directly: userland, /dev/tpm0, restart.
    Restart,
    /// Linux, directly, without a first process: its kernel panics.
    Panic,
    /// OVMF, which starts Linux from a disk: userland, /dev/tpm0, power-off.
    Ovmf,
}

/// Ten boots; the next ten are the same.
const MIX: [Kind; 10] = [
    Kind::Relay,
    Kind::Linux,
    Kind::Restart,
    Kind::Ovmf,
    Kind::Relay,
    Kind::Panic,
    Kind::Linux,
    Kind::Relay,
    Kind::Linux,
    Kind::Relay,
];
/// How many boots the suite makes: one of each kind at least.
const SUITE: u32 = 6;

const SHELL: &str = "console=ttyS1 quiet quoin=shell";
/// What is typed to the shell: the TPM answers with eight random octets, then the end.
const POWER_OFF: &str = "echo \"tpm: $(tpm2_getrandom --hex 8)\"; poweroff -f\n";
const PANIC: &str = "echo c >/proc/sysrq-trigger\n";
const RESTART: &str = "echo \"tpm: $(tpm2_getrandom --hex 8)\"; reboot -f\n";
const RANDOM: usize = 16;
/// MiB of the machine, and the time after which a boot has failed.
const MEMORY: u32 = 512;
const TIMEOUT: Duration = Duration::from_secs(600);

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Relay => "relay payload",
            Self::Linux => "Linux, power-off",
            Self::Restart => "Linux, restart",
            Self::Panic => "Linux, panic",
            Self::Ovmf => "OVMF, Linux",
        })
    }
}

/// A short series, as a suite.
pub fn suite() -> Result<Totals> {
    series(SUITE, 1)
}

/// Images, built once.
struct Images {
    relay: Built,
    linux: Built,
    ovmf: Built,
    disk: Vec<String>,
}

impl Images {
    fn build(processors: u16) -> Result<Self> {
        debian::ensure(&[qemu::PROGRAM])?;
        let (system, ovmf) = (System::prepare()?, Ovmf::fetch()?);
        let disk = crate::ovmf::unified_disk(&system, SHELL, "boots.disk")?;
        Ok(Self {
            relay: boot::build_for(processors.into())?,
            linux: system.build_for(processors, SHELL, "boots-linux.igvm")?,
            ovmf: crate::ovmf::built_for(processors, &ovmf.code()?, "boots-ovmf.igvm")?,
            disk: guest::disk(&disk),
        })
    }
}

/// So many boots in a row, on so many processors.
pub fn series(count: u32, processors: u16) -> Result<Totals> {
    let images = Images::build(processors)?;
    let (mut totals, mut seconds) = (Totals::default(), 0.0);
    let mut sums: Vec<(Kind, u32, f64)> = Vec::new();
    for (number, kind) in (1..=count).zip(MIX.into_iter().cycle()) {
        let started = Instant::now();
        let outcome = boot(&images, kind);
        let took = started.elapsed().as_secs_f64();
        totals += Totals::one(outcome.is_ok());
        seconds += took;
        match sums.iter_mut().find(|sum| sum.0 == kind) {
            Some((_, boots, sum)) => (*boots, *sum) = (*boots + 1, *sum + took),
            None => sums.push((kind, 1, took)),
        }
        match outcome {
            Ok(()) => println!("{number:>4}  {kind:<16} {took:>6.1} s  ok"),
            Err(error) => println!("{number:>4}  {kind:<16} {took:>6.1} s  FAIL {error:#}"),
        }
    }
    for (kind, boots, sum) in sums {
        println!("{boots:>4}  {kind:<16} {:>6.1} s on average", sum / f64::from(boots));
    }
    println!("{count} boots in a row, none tried twice, {seconds:.0} s: {totals}");
    Ok(totals)
}

fn boot(images: &Images, kind: Kind) -> Result<()> {
    match kind {
        Kind::Relay => relay(&images.relay),
        Kind::Linux => powered_off(&linux(&images.linux, POWER_OFF, &[])?),
        Kind::Ovmf => powered_off(&linux(&images.ovmf, POWER_OFF, &images.disk)?),
        Kind::Restart => {
            let seen = linux(&images.linux, RESTART, &[])?;
            answered(&seen)?;
            ended(&seen, |ending| *ending == Ending::Restart)
        }
        Kind::Panic => ended(&linux(&images.linux, PANIC, &[])?, |ending| matches!(ending, Ending::Panic(_))),
    }
}

fn relay(built: &Built) -> Result<()> {
    let mut qemu = boot::start(built, "")?;
    while let Some(event) = qemu.next_event(TIMEOUT) {
        if event.line.starts_with("quoin: guest ") {
            let mut relay = qemu.relay()?;
            // TPM2_GetTestResult.
            let response = relay.tpm(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x7C])?;
            ensure!(response.len() >= 10, "the TPM has answered {response:?}");
            let attested = relay.attest(AttestCall::Services, 0, &[7; 64])?;
            ensure!(attested.rax == 0, "attestation has answered {:#x}", attested.rax);
            return Ok(());
        }
        if qemu.has_ended()? {
            break;
        }
    }
    bail!("the payload was not started:\n{}", qemu.last_lines())
}

fn linux(built: &Built, typed: &str, options: &[String]) -> Result<Seen> {
    let options: Vec<String> = options.iter().cloned().chain(boot::populated(MEMORY)).collect();
    let how = How { config: guest::CONFIG, memory: MEMORY, options: &options, typed, until: None, timeout: TIMEOUT };
    watch(built, &how).context("Linux")
}

fn powered_off(seen: &Seen) -> Result<()> {
    answered(seen)?;
    ended(seen, |ending| *ending == Ending::PowerOff)
}

/// Userland was reached, and the TPM has answered there.
fn answered(seen: &Seen) -> Result<()> {
    ensure!(seen.userland.is_some(), "no userland\n{}\n{}", seen.transcript, seen.last_lines);
    let is_random = |text: &str| text.len() == RANDOM && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let answer = seen.transcript.lines().filter_map(|line| line.trim().strip_prefix("tpm: "));
    ensure!(answer.into_iter().any(is_random), "no answer of /dev/tpm0\n{}", seen.transcript);
    Ok(())
}

fn ended(seen: &Seen, is_right: impl Fn(&Ending) -> bool) -> Result<()> {
    let right = seen.ending.as_ref().is_some_and(is_right);
    ensure!(right, "{:?}\n{}\n{}", seen.ending, seen.transcript, seen.last_lines);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Kind, MIX, SUITE, answered, powered_off};
    use host::guest::ending::Ending;
    use host::watch::{Moment, Seen};

    #[test]
    fn the_suite_has_every_kind() {
        for kind in [Kind::Relay, Kind::Linux, Kind::Restart, Kind::Panic, Kind::Ovmf] {
            assert!(MIX[..SUITE as usize].contains(&kind), "{kind}");
        }
    }

    #[test]
    fn a_boot_without_userland_an_answer_or_its_end_has_failed() {
        let good = || Seen {
            userland: Some(Moment::default()),
            transcript: "~ # echo \"tpm: $(…)\"\r\ntpm: 0011aaff22334455\r\n".to_owned(),
            ending: Some(Ending::PowerOff),
            ..Seen::default()
        };
        powered_off(&good()).unwrap();
        assert!(answered(&Seen { userland: None, ..good() }).is_err());
        assert!(answered(&Seen { transcript: "~ # echo \"tpm: $(…)\"\r\ntpm: \r\n".to_owned(), ..good() }).is_err());
        assert!(powered_off(&Seen { ending: None, ..good() }).is_err());
        assert!(powered_off(&Seen { ending: Some(Ending::Halt), ..good() }).is_err());
        assert!(powered_off(&Seen { ending: Some(Ending::Restart), ..good() }).is_err());
    }
}
