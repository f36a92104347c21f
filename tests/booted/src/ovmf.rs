//! Debian's OVMF, unmodified, at VMPL2: it boots Debian's kernel from a disk and measures what it does; our log and its
//! own lead to the PCRs.
//!
//! Where the packages cannot be had the suite fails and says what is missing.

use super::evidence::verb_with;
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::guest::challenger::Challenger;
use host::guest::ovmf::Ovmf;
use host::guest::tools::Tools;
use host::guest::{self, Boot, Outcome, System};
use host::image::{self, Payload};
use host::{build, fat, uki, workspace};
use quoin_image::guest::Guest;
use quoin_image::ovmf;
use quoin_verify::digest::hex;
use quoin_verify::events::{self, Named, Standing};
use quoin_verify::evidence::boot_log::BootLog;
use quoin_verify::evidence::boot_log::event::type_name;
use quoin_verify::evidence::event_log::initial_pcrs;
use quoin_verify::evidence::wire::PCR_COUNT;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What `init` is told: to try everything, or to power off at once.
const CHECK: &str = "console=ttyS1 quiet quoin=check";
pub(super) const NOTHING: &str = "console=ttyS1 quiet";
/// MiB of the machine, of which OVMF uses the first 384; seconds until it must have powered off.
const MEMORY: u32 = 512;
const TIMEOUT: u64 = 600;
/// How many checks `init` makes: one that is lost is a failure.
const CHECKS: usize = 24;
/// Events of the firmware, before OVMF's first: its version, and OVMF.
const OURS: usize = 2;
/// EV_EFI_BOOT_SERVICES_APPLICATION, and the PCR of what OVMF starts.
const APPLICATION: (u32, u32) = (4, 0x8000_0003);

/// One boot with all checks: the code alone, as the flash of other machines has it.
pub fn run() -> Result<Totals> {
    let (system, ovmf, tools) = (System::prepare()?, Ovmf::fetch()?, Tools::fetch()?);
    println!("kernel {}", system.release);
    let image = unified(&tools, &system, CHECK)?;
    let disk = disk(&[(uki::DEFAULT_PROGRAM, &image)], "ovmf.disk")?;
    let built = built(&ovmf.code()?, "ovmf.igvm")?;
    let (challenger, outcome) = boot(&built, &disk)?;
    let mut totals = case("OVMF starts the kernel, userland is reached", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger));
    totals += case("our log and OVMF's lead to the PCRs that were quoted", replayed(&challenger));
    totals += case("every event of our log and OVMF's is named", named(&challenger));
    totals += case(
        "PCR 11 is what systemd-measure predicts of the disk's UKI",
        measured(&tools, &system, &image, &challenger),
    );
    let evidence = challenger.evidence(&built.image.launch.digest);
    let verified = evidence.and_then(|evidence| verb_with(&built, &evidence, 0, &["verified: 20 steps ok"]));
    totals += case("`xtask verify` accepts its evidence", verified);
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    Ok(totals)
}

/// The other builds, to userland.
pub fn run_others() -> Result<Totals> {
    let (system, ovmf, tools) = (System::prepare()?, Ovmf::fetch()?, Tools::fetch()?);
    let disk = disk(&[(uki::DEFAULT_PROGRAM, &unified(&tools, &system, NOTHING)?)], "ovmf-short.disk")?;
    let mut totals = Totals::default();
    for (name, code) in [("with its variables", ovmf.combined()?), ("for SEV", ovmf.amdsev()?)] {
        let booted = built(&code, "ovmf-other.igvm").and_then(|built| boot(&built, &disk));
        let outcome = booted.and_then(|(challenger, outcome)| {
            reached(&challenger, &outcome)?;
            powered_off(&outcome)
        });
        totals += case(&format!("OVMF {name} boots to userland and powers off"), outcome);
    }
    Ok(totals)
}

/// A disk with the kernel, below `target/guest`.
pub fn unified_disk(system: &System, command_line: &str, name: &str) -> Result<PathBuf> {
    disk(&[(uki::DEFAULT_PROGRAM, &unified(&Tools::fetch()?, system, command_line)?)], name)
}

/// Debian's kernel with our small system, as one program.
pub(super) fn unified(tools: &Tools, system: &System, command_line: &str) -> Result<Vec<u8>> {
    uki::make(tools.ukify(), &tools.stub(), &system.linux(command_line))
}

/// A disk with these files.
pub(super) fn disk(files: &[(&str, &[u8])], name: &str) -> Result<PathBuf> {
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, fat::disk(files)?)?;
    Ok(path)
}

/// The quoted PCR 11 is the predicted one, and another command line would have been another.
fn measured(tools: &Tools, system: &System, image: &[u8], challenger: &Challenger) -> Result<()> {
    let pcrs = challenger.file("pcrs.bin")?;
    let quoted = hex(pcrs.chunks_exact(32).nth(11).context("no PCR 11")?);
    let predicted = uki::predicted(tools, image)?;
    ensure!(quoted == predicted, "PCR 11 is {quoted}, systemd-measure predicts {predicted}");
    let other = uki::predicted(tools, &unified(tools, system, NOTHING)?)?;
    ensure!(other != predicted, "systemd-measure predicts {predicted} for another command line, too");
    Ok(())
}

/// Firmware, machine, and an image with this OVMF.
pub fn built(code: &[u8], name: &str) -> Result<Built> {
    built_for(1, code, name)
}

/// The same, for so many processors.
pub(super) fn built_for(processors: u16, code: &[u8], name: &str) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let guest = Guest { processors: processors.into(), ..ovmf::guest(code)? };
    let image = image::pack(&programs.firmware(), Payload::Guest(&guest))?;
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, &image.bytes)?;
    Ok(Built { machine: programs.machine(), image, path })
}

pub(super) fn boot(built: &Built, disk: &Path) -> Result<(Challenger, Outcome)> {
    let mut challenger = Challenger::new()?;
    let disk = Some(disk.to_path_buf());
    let how = Boot { memory: MEMORY, disk, timeout: TIMEOUT, verbose: false, qemu: Vec::new(), state_disk: None };
    let outcome = guest::boot(built, &how, |bytes, serial| {
        let answer = challenger.take(bytes)?;
        Ok(serial.write_all(&answer)?)
    });
    let log = workspace::target_dir()?.join("guest/ovmf-console.log");
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    println!("{:.1} s from QEMU's start to {outcome}", outcome.elapsed.as_secs_f64());
    outcome.last_lines.lines().filter(|line| line.contains(" exits, ")).for_each(|line| println!("{line}"));
    Ok((challenger, outcome))
}

pub(super) fn reached(challenger: &Challenger, outcome: &Outcome) -> Result<()> {
    ensure!(challenger.userland.is_some(), "no word of the guest's init; {outcome}\n{}", challenger.transcript);
    Ok(())
}

pub(super) fn all_made(challenger: &Challenger) -> Result<()> {
    ensure!(challenger.checks.len() == CHECKS, "{} checks, not {CHECKS}", challenger.checks.len());
    Ok(())
}

pub(super) fn powered_off(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.is_power_off(), "{outcome}");
    Ok(())
}

/// To a reader no event is a number, and what OVMF has started is where it lies.
fn named(challenger: &Challenger) -> Result<()> {
    let log = BootLog::parse(&challenger.file("boot-events.bin")?)?;
    let events = events::of_log(&log);
    events.iter().for_each(|event| println!("PCR {:<2} {:<32} {}", event.pcr, event.kind, event.says));
    let has_no_name = |event: &&Named| {
        !event.kind.starts_with("EV_")
            || event.says.len() > 7 && event.says.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    ensure!(events.iter().find(has_no_name).is_none(), "no name: {:?}", events.iter().find(has_no_name));
    let program = events.iter().find(|event| event.kind == type_name(APPLICATION.1)).context("no program")?;
    let wanted = uki::DEFAULT_PROGRAM.replace('/', "\\");
    ensure!(program.says.contains("Pci(") && program.says.ends_with(&wanted), "OVMF has started {}", program.says);
    let secure = events.iter().find(|event| event.says.starts_with("SecureBoot (EFI_GLOBAL_VARIABLE): "));
    ensure!(
        secure.is_some_and(|event| event.pcr == 7 && event.standing == Standing::Measured),
        "SecureBoot: {secure:?}"
    );
    Ok(())
}

/// PCR 0 to 7 and 10 to 15; the challenger's own events are in 8 and 9.
pub(super) fn replayed(challenger: &Challenger) -> Result<()> {
    let log = BootLog::parse(&challenger.file("boot-events.bin")?)?;
    log.check_data()?;
    let kinds: Vec<_> = log.events.iter().map(|event| (event.pcr, event.kind)).collect();
    ensure!(kinds.starts_with(&[(0, 8), (0, 1), (0, 8)]), "the log begins with {:?}", kinds.get(..OURS + 1));
    ensure!(kinds.contains(&APPLICATION), "OVMF has not measured what it has started: {kinds:x?}");
    let mut pcrs = initial_pcrs();
    log.replay(&mut pcrs)?;
    let quoted = challenger.file("pcrs.bin")?;
    ensure!(quoted.len() == 32 * PCR_COUNT, "{} octets of PCRs", quoted.len());
    for (pcr, (ours, found)) in
        pcrs.iter().zip(quoted.chunks_exact(32)).enumerate().filter(|(pcr, _)| !(8..10).contains(pcr))
    {
        ensure!(ours == found, "PCR {pcr} is not what the logs lead to");
    }
    Ok(())
}
