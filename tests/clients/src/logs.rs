//! Event logs of real machines, which Debian's package of go-attestation has among its tests' data: read, replayed to
//! the PCRs that tpm2-tools print of them, and with any digest changed to others. Nothing of them is committed here.

use crate::go::Go;
use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use fs_err as fs;
use host::debian;
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::BootLog;
use quoin_verify::evidence::event_log::initial_pcrs;
use quoin_verify::evidence::wire::alg::SHA256;
use std::path::Path;
use std::process::Command;

const EVENTLOG: debian::Wanted = ("tpm2_eventlog", "tpm2-tools");

/// Logs with digests of SHA-256: of what, and how many events that extend a PCR.
const LOGS: [(&str, &str, usize); 4] = [
    ("coreos_36_shielded_vm_no_secure_boot_eventlog", "CoreOS 36: shim and GRUB, in Google's cloud", 75),
    ("ubuntu_2104_shielded_vm_no_secure_boot_eventlog", "Ubuntu 21.04: shim and GRUB, in Google's cloud", 105),
    ("crypto_agile_eventlog", "a computer's firmware", 26),
    ("sb_cert_eventlog", "a computer with Secure Boot", 14),
];

/// Those that cannot be replayed to PCRs of SHA-256, and why.
const REFUSED: [(&str, &str); 3] = [
    ("ebs_event_missing_eventlog", "SHA-256"),
    ("option_rom_eventlog", "SHA-256"),
    ("short_no_action_eventlog", "boot log"),
];

/// The suite.
pub fn run() -> Result<Totals> {
    debian::ensure(&[EVENTLOG])?;
    let folder = Go::fetch()?.attestation_data();
    let mut totals = Totals::default();
    for (file, what, events) in LOGS {
        let path = folder.join(file);
        totals += case(&format!("{what}: {file} leads to the PCRs that tpm2_eventlog prints"), replayed(&path, events));
        totals += case(&format!("{what}: each digest that is another leads elsewhere"), changed(&path));
    }
    for (file, words) in REFUSED {
        totals += case(&format!("{file} is refused, and says why"), refused(&folder.join(file), words));
    }
    Ok(totals)
}

fn replayed(path: &Path, events: usize) -> Result<()> {
    let log = BootLog::parse(&fs::read(path)?)?;
    ensure!(log.events.len() == events, "{} events, not {events}", log.events.len());
    log.check_data()?;
    let unnamed = log.events.iter().find(|event| !event.type_name().starts_with("EV_") || event.to_string().is_empty());
    ensure!(unnamed.is_none(), "an event has no name: {unnamed:?}");
    let mut pcrs = initial_pcrs();
    log.replay(&mut pcrs)?;
    let theirs = printed(path)?;
    ensure!(theirs.len() > 3, "tpm2_eventlog prints {} PCRs", theirs.len());
    for (pcr, value) in theirs {
        let ours = pcrs.get(pcr).map(|pcr| hex(pcr)).unwrap_or_default();
        ensure!(ours == value, "PCR {pcr} is {ours}, and tpm2_eventlog says {value}");
    }
    Ok(())
}

fn changed(path: &Path) -> Result<()> {
    let log = BootLog::parse(&fs::read(path)?)?;
    let mut right = initial_pcrs();
    log.replay(&mut right)?;
    for number in 0..log.events.len() {
        let mut other = log.clone();
        let digest = other.events.get_mut(number).and_then(|event| event.digests.get_mut(&SHA256));
        *digest.and_then(|digest| digest.first_mut()).with_context(|| format!("event {number} has no digest"))? ^= 1;
        let mut pcrs = initial_pcrs();
        other.replay(&mut pcrs)?;
        ensure!(pcrs != right, "event {number} can be another");
    }
    Ok(())
}

fn refused(path: &Path, words: &str) -> Result<()> {
    let outcome = BootLog::parse(&fs::read(path)?).and_then(|log| log.replay(&mut initial_pcrs()));
    let why = format!("{:#}", outcome.err().context("it is accepted")?);
    ensure!(why.contains(words), "it is refused by other words: {why}");
    Ok(())
}

/// What tpm2_eventlog has behind `pcrs:` and `sha256:`.
fn printed(path: &Path) -> Result<Vec<(usize, String)>> {
    let output = Command::new(EVENTLOG.0).arg(path).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, pcrs) = text.split_once("\npcrs:\n").context("it prints no PCRs")?;
    let (_, bank) = pcrs.split_once("  sha256:\n").context("it prints no SHA-256")?;
    let rows =
        bank.lines().map_while(|line| line.strip_prefix("    ")?.split_once(" : 0x").or(line.split_once(": 0x")));
    rows.map(|(pcr, value)| Ok((pcr.trim().parse()?, value.trim().to_owned()))).collect()
}
