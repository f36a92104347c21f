//! Operating systems at VMPL2 beside the firmware's disk: what one boot has sealed, the next one unseals, though the VM
//! has ended; and of the disk the guest finds nothing.

use super::inside::{self, Model, Octets};
use crate::linux::{all_made, powered_off, reached};
use crate::{Totals, case, ovmf};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::devices::{self, FileDisk};
use host::guest::challenger::Challenger;
use host::guest::ovmf::Ovmf;
use host::guest::{self, Boot, Outcome, StateDisk, System};
use host::image::{self, Payload};
use host::psp::Identity;
use host::qemu::Folder;
use host::{build, workspace};
use quoin_image::guest::Guest;
use quoin_image::linux::Linux;
use quoin_image::settings::Setting;
use quoin_image::state::Wanted;
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const COMMAND_LINE: &str = "console=ttyS1 quiet quoin=kept";
/// What `init` and its part `kept` check: of the first boot, and of a later one.
const CHECKS: [usize; 2] = [9 + 3, 9 + 2];
pub(crate) const MEMORY: u32 = 512;
pub(crate) const TIMEOUT: u64 = 1200;

/// Linux, on one processor and on two, and by way of OVMF.
pub(super) fn run() -> Result<Totals> {
    let system = system()?;
    let mut totals = Totals::default();
    for processors in [1, 2] {
        let linux = Linux { vcpus: processors, ..system.linux(COMMAND_LINE) };
        let built = kept(linux.guest()?, processors, &format!("kept-{processors}.igvm"))?;
        totals += twice(&format!("Linux on {processors}"), &built, None)?;
    }
    let built = kept(quoin_image::ovmf::guest(&Ovmf::fetch()?.code()?)?, 1, "kept-ovmf.igvm")?;
    totals += twice("OVMF and Linux", &built, Some(&ovmf::unified_disk(&system, COMMAND_LINE, "kept.disk")?))?;
    Ok(totals)
}

pub(crate) fn system() -> Result<System> {
    let script = fs::read(workspace::root()?.join("tests/guest/linux/kept"))?;
    let system = System::prepare()?.with_files(&[("kept", script)])?;
    println!("kernel {}", system.release);
    Ok(system)
}

/// An image whose firmware wants a state.
fn kept(guest: Guest, processors: u16, name: &str) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let settings = guest.settings.clone().with(Setting::State, &devices::setting(Wanted::Required).octets());
    let guest = Guest { settings, processors: processors.into(), ..guest };
    let image = image::pack(&programs.firmware(), Payload::Guest(&guest))?;
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, &image.bytes)?;
    Ok(Built { machine: programs.machine(), image, path })
}

/// Two boots from one disk; the guest powers off in between.
fn twice(name: &str, built: &Built, disk: Option<&Path>) -> Result<Totals> {
    let folder = Folder::new()?;
    let state = folder.path().join("state.disk");
    FileDisk::prepare(&state)?;
    let mut totals = Totals::default();
    let mut boots = Vec::new();
    for (number, checks) in (1..).zip(CHECKS) {
        let (challenger, outcome) = boot(built, disk, StateDisk { path: state.clone(), is_hidden: true })?;
        totals += case(&format!("{name}, boot {number}: userland is reached"), reached(&challenger, &outcome));
        for (check, why) in &challenger.checks {
            let outcome = why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")));
            totals += case(&format!("in the guest: {check}"), outcome);
        }
        totals += case("the guest has made all its checks", all_made(&challenger, checks));
        totals += case("it powers off", powered_off(&outcome));
        totals += case("of the firmware's disk it finds nothing", finds_nothing(&challenger));
        totals += case("its evidence names what is on the disk", names(built, &challenger, &state));
        boots.push(challenger);
    }
    totals += case(&format!("{name}: the second boot unseals what the first has sealed"), unsealed(&boots));
    totals += case("its power-off was an orderly end of the TPM: one reset more, Clock is safe", orderly(&boots));
    Ok(totals)
}

fn how(disk: Option<&Path>, state: StateDisk) -> Boot {
    let disk = disk.map(PathBuf::from);
    Boot { memory: MEMORY, disk, timeout: TIMEOUT, verbose: false, qemu: Vec::new(), state_disk: Some(state) }
}

fn boot(built: &Built, disk: Option<&Path>, state: StateDisk) -> Result<(Challenger, Outcome)> {
    let mut challenger = Challenger::new()?;
    let how = how(disk, state);
    let log = built.path.with_extension("log");
    let outcome = guest::boot(built, &how, |bytes, serial| {
        let answer = challenger.take(bytes)?;
        Ok(serial.write_all(&answer)?)
    });
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    println!("{:.1} s from QEMU's start to {outcome}", outcome.elapsed.as_secs_f64());
    Ok((challenger, outcome))
}

/// A host that does not hide the disk. Debian's kernel has virtio's driver of PCI functions in it, which resets what it
/// finds, whether there is a driver for a disk or not.
pub(super) fn shown() -> Result<Totals> {
    let folder = Folder::new()?;
    let path = folder.path().join("state.disk");
    FileDisk::prepare(&path)?;
    let built = kept(system()?.linux(COMMAND_LINE).guest()?, 1, "kept-shown.igvm")?;
    let mut challenger = Challenger::new()?;
    let how = how(None, StateDisk { path: path.clone(), is_hidden: false });
    // What comes behind it are files that a TPM which has failed does not give.
    let outcome = guest::boot(&built, &how, |bytes, serial| {
        serial.write_all(&challenger.take(bytes)?)?;
        ensure!(!challenger.said.contains_key("@pci"), "{SEEN}");
        Ok(())
    });
    let mut totals = case("the guest finds the firmware's disk, and its TPM fails", fails(&challenger, outcome));
    totals += case("what was kept before is there", opens(&built, &path));
    Ok(totals)
}

/// Why the guest is not listened to any more.
const SEEN: &str = "it has said what it finds";

fn opens(built: &Built, state: &Path) -> Result<()> {
    let writer = inside::writer(built);
    let key = inside::chip_key(&Identity::development(), 0, &writer);
    let record = inside::open(&mut Octets(fs::read(state)?), &writer, key)?;
    ensure!(record.epoch > 0, "there is no state");
    Model::of(&record).map(drop)
}

fn fails(challenger: &Challenger, outcome: Result<Outcome>) -> Result<()> {
    match outcome {
        Err(why) if why.to_string() == SEEN => {}
        Err(why) => return Err(why),
        Ok(outcome) => anyhow::bail!("it has not said what it finds: {outcome}"),
    }
    let functions = said(challenger, "@pci")?;
    ensure!(functions.contains(&format!("0000:00:{:02x}.0", devices::DISK)), "{functions}");
    // TPM_RC_FAILURE, to the first command that is to be kept and to those behind it.
    ensure!(challenger.transcript.contains("(0x101)"), "no command was answered by it\n{}", challenger.transcript);
    let failed = challenger.checks.iter().filter(|(_, why)| why.is_some()).count();
    ensure!(failed > 0, "the guest has used its TPM all the same");
    Ok(())
}

fn said<'a>(challenger: &'a Challenger, word: &str) -> Result<&'a str> {
    let said = challenger.said.get(word).with_context(|| format!("the guest does not say {word}"))?;
    Ok(said.as_str())
}

fn finds_nothing(challenger: &Challenger) -> Result<()> {
    let functions = said(challenger, "@pci")?;
    println!("     PCI: {functions}");
    // It does enumerate.
    ensure!(functions.contains("0000:00:00.0") && functions.contains("0000:00:1f.0"), "{functions}");
    for device in [devices::DISK, devices::CONSOLE] {
        ensure!(!functions.contains(&format!("0000:00:{device:02x}.")), "{functions}");
    }
    Ok(())
}

/// Identity and epoch, behind the keys in the manifest of version 2.
fn attested(challenger: &Challenger) -> Result<([u8; 32], u64)> {
    let manifest = challenger.file("kept.manifest")?;
    let (_, kept) = manifest.split_last_chunk::<140>().context("a manifest that is too short")?;
    Ok((kept[..32].try_into()?, u64::from_be_bytes(kept[32..40].try_into()?)))
}

/// What came after the evidence may have been written, too.
fn names(built: &Built, challenger: &Challenger, state: &Path) -> Result<()> {
    let writer = inside::writer(built);
    let key = inside::chip_key(&Identity::development(), 0, &writer);
    let record = inside::open(&mut Octets(fs::read(state)?), &writer, key)?;
    let (identity, epoch) = attested(challenger)?;
    ensure!(identity == record.identity, "the identity that is attested is not that on the disk");
    ensure!(epoch > 0 && epoch <= record.epoch, "epoch {epoch} is attested, and {} is on the disk", record.epoch);
    Ok(())
}

fn both(boots: &[Challenger]) -> Result<(&Challenger, &Challenger)> {
    let [first, second] = boots else { anyhow::bail!("{} boots", boots.len()) };
    Ok((first, second))
}

pub(crate) fn unsealed(boots: &[Challenger]) -> Result<()> {
    let (first, second) = both(boots)?;
    let (sealed, unsealed) = (said(first, "@kept")?, said(second, "@kept")?);
    ensure!(sealed.len() == 64 && sealed == unsealed, "{sealed}, and then {unsealed}");
    let (first, second) = (attested(first)?, attested(second)?);
    ensure!(first.0 == second.0 && first.1 < second.1, "epoch {} and then {}", first.1, second.1);
    Ok(())
}

/// The kernel's driver sends TPM2_Shutdown when the system powers off.
fn orderly(boots: &[Challenger]) -> Result<()> {
    let (first, second) = both(boots)?;
    let (first, second) = (said(first, "@clock")?, said(second, "@clock")?);
    println!("     {first}\n     {second}");
    let resets = |clock: &str| -> Result<u32> {
        let (_, rest) = clock.split_once("reset_count: ").with_context(|| format!("no reset_count in {clock}"))?;
        Ok(rest.split(' ').next().unwrap_or_default().parse()?)
    };
    ensure!(resets(second)? == resets(first)? + 1, "{first}, and then {second}");
    ensure!(second.contains("safe: yes"), "Clock is not safe: {second}");
    Ok(())
}
