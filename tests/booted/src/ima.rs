//! A Linux built from Debian's source with IMA and tpm_svsm in it, at VMPL2: no module of ours, and what IMA has
//! measured leads to the quoted PCR 10.
//!
//! The first run builds the kernel (`guest::kernel`).

use super::evidence::verb_with;
use super::linux::{all_made, boot, powered_off, reached};
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::guest::debian::Debian;
use host::guest::{System, kernel, module};
use host::workspace;
use quoin_verify::Step;
use quoin_verify::digest::hex;
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::evidence::ima::Measurements;
use sha2::{Digest, Sha256};

/// What root executes, maps to execute, or reads is measured, unless it lies in a tmpfs, as a root file system would by
/// default.
const COMMAND_LINE: &str = "console=ttyS1 quiet rootfstype=ramfs ima_policy=tcb quoin=check";
/// How many checks `init` makes: all but that of the module quoin_attest, which this kernel cannot load.
const CHECKS: usize = 23;
/// The step of the event log is the last of `xtask verify`.
const NO_EVENT_LOG: i32 = 29;

/// One boot with all checks.
pub fn run() -> Result<Totals> {
    let system = System::with(kernel::build()?)?;
    println!("kernel {}", system.release);
    let built = system.build(COMMAND_LINE, "ima.igvm")?;
    let (challenger, outcome) = boot(&built)?;
    let mut totals = case("userland is reached, /dev/tpm0 by tpm_svsm", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    let evidence = challenger.evidence(&built.image.launch.digest)?;
    evidence.write(&workspace::target_dir()?.join("guest/ima-evidence"))?;
    let measurements = Measurements::parse(&evidence.ima)?;
    println!("IMA has {} measurements", measurements.entries.len());
    totals += case(
        "IMA has measured init, busybox and tpm2-tools, with the digests of what was packed",
        files(&measurements),
    );
    let said = format!("and {} measurements of IMA lead to the quoted PCRs", measurements.entries.len());
    totals += case(
        "`xtask verify` replays the list to the quoted PCR 10",
        verb_with(&built, &evidence, 0, &["verified: 20 steps ok", &said]),
    );
    totals += case("a list with another bit or name, or none, is refused", changed(&built, &evidence));
    Ok(totals)
}

fn files(measurements: &Measurements) -> Result<()> {
    let system = Debian::fetch()?;
    let init = workspace::root()?.join(module::SOURCES).join("init");
    for (name, path) in
        [("/init", init), ("/bin/busybox", system.program("busybox")), ("/usr/bin/tpm2", system.program("tpm2"))]
    {
        let named: Vec<_> = measurements.entries.iter().filter(|entry| entry.name == name).collect();
        let digest = Sha256::digest(fs::read(path)?).to_vec();
        ensure!(!named.is_empty(), "IMA has not measured {name}");
        ensure!(
            named.iter().all(|entry| entry.digest == digest),
            "IMA has measured {name} as {}, it is {}",
            named.iter().map(|entry| hex(&entry.digest)).collect::<Vec<_>>().join(", "),
            hex(&digest)
        );
    }
    Ok(())
}

fn changed(built: &Built, evidence: &Evidence) -> Result<()> {
    let expected = built.expectations()?;
    let refused = |ima: Vec<u8>| {
        let changed = Evidence { ima, ..evidence.clone() };
        quoin_verify::verify(&changed, &expected, |_, _| {}).is_err_and(|failure| failure.step == Step::EventLog)
    };
    for bit in (0..evidence.ima.len() * 8).step_by(997) {
        let mut flipped = evidence.ima.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        ensure!(refused(flipped), "bit {bit} of the list is another, and the evidence was accepted");
    }
    ensure!(refused(Vec::new()), "the evidence was accepted without its list");
    let tpm2 = b"/usr/bin/tpm2\0";
    let at = evidence.ima.windows(tpm2.len()).position(|bytes| bytes == tpm2).context("the list has no tpm2")?;
    let mut renamed = evidence.clone();
    renamed.ima[at + 9] = b'T';
    verb_with(built, &renamed, NO_EVENT_LOG, &["FAILED  event log", "IMA: entry"])
}
