//! An update of the firmware under an operating system: Linux at VMPL2 uses its TPM until that has moved to the new
//! firmware, and Linux, started anew there, has what the first one has kept and sealed.

use super::machine::{Owner, new_terms, old_terms, settings, state};
use super::travel::{Journey, Order, carry};
use crate::linux::{all_made, powered_off, reached};
use crate::state::{COMMAND_LINE, MEMORY, TIMEOUT, system, unsealed};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::boot::{self, Built};
use host::devices::{FileDisk, Programs};
use host::guest::challenger::Challenger;
use host::guest::{self, Boot, Outcome, StateDisk};
use host::image::{self, Payload};
use host::qemu::{Folder, Qemu, Source};
use host::{build, workspace};
use migration::Terms;
use quoin_image::guest::Guest;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What `init` and its part `kept` check: of the first boot, which moves, and of the other.
const CHECKS: [usize; 2] = [9 + 4, 9 + 2];

pub(super) fn run() -> Result<Totals> {
    let guest = system()?.linux(COMMAND_LINE).guest()?;
    let owner = Owner::new()?;
    let old = packed(&guest, "updated-old.igvm", &old_terms(&owner))?;
    let new = packed(&guest, "updated-new.igvm", &new_terms(&owner, &old))?;
    let grant = owner.grant(&old, &new)?;
    let folder = Folder::new()?;
    let ((before, ended), (after, outcome)) = moved(&old, &new, &grant, folder.path())?;
    let mut totals = Totals::default();
    for (name, challenger, outcome, checks) in
        [("the old firmware", &before, &ended, CHECKS[0]), ("the new firmware", &after, &outcome, CHECKS[1])]
    {
        totals += case(&format!("{name}: userland is reached"), reached(challenger, outcome));
        for (check, why) in &challenger.checks {
            let outcome = why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")));
            totals += case(&format!("in the guest: {check}"), outcome);
        }
        totals += case("the guest has made all its checks", all_made(challenger, checks));
        totals += case("it powers off", powered_off(outcome));
    }
    let boots = [before, after];
    totals += case("what was sealed under the old firmware is unsealed under the new one", unsealed(&boots));
    totals += case("its evidence says where the TPM came from", comes_from(&old, &boots));
    Ok(totals)
}

/// An image with this guest, whose TPM is kept, and may move.
fn packed(guest: &Guest, name: &str, terms: &Terms) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let settings = settings(guest.settings.clone(), &state(true), terms)?;
    let guest = Guest { settings, ..guest.clone() };
    let image = image::pack(&programs.firmware(), Payload::Guest(&guest))?;
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, &image.bytes)?;
    Ok(Built { machine: programs.machine(), image, path })
}

type Booted = (Challenger, Outcome);

/// Both boots: the second one waits for the TPM while the first one's guest uses it.
fn moved(old: &Built, new: &Built, grant: &[u8], folder: &Path) -> Result<(Booted, Booted)> {
    let disks = ["source", "destination"].map(|name| folder.join(name));
    for disk in &disks {
        FileDisk::prepare(disk)?;
    }
    let (here, there) = (Programs::new()?, Programs::new()?);
    let hows = [how(&disks[0], &here), how(&disks[1], &there)];
    let (asked, is_asked) = channel();
    thread::scope(|scope| {
        let source =
            scope.spawn(|| boot(old, &hows[0], Challenger::new()?.staying(), |qemu| started(qemu, old), asked));
        let arrive = |qemu: &mut Qemu| -> Result<()> {
            travelled(qemu, &here, &there, grant, &is_asked)?;
            started(qemu, new)
        };
        let after = boot(new, &hows[1], Challenger::new()?, arrive, channel().0);
        let before = source.join().map_err(|_| anyhow::anyhow!("the source's thread has ended"))?;
        Ok((before.context("at the source")?, after.context("at the destination")?))
    })
}

fn how(disk: &Path, programs: &Programs) -> Boot {
    let state = StateDisk { path: PathBuf::from(disk), is_hidden: true };
    let qemu = programs.options();
    Boot { memory: MEMORY, disk: None, timeout: TIMEOUT, verbose: false, qemu, state_disk: Some(state) }
}

fn started(qemu: &mut Qemu, built: &Built) -> Result<()> {
    boot::wait_for_guest(qemu, &built.image, false).map(drop)
}

/// A boot; it is said when the guest does nothing more but use its TPM.
fn boot(
    built: &Built,
    how: &Boot,
    mut challenger: Challenger,
    wait: impl FnOnce(&mut Qemu) -> Result<()>,
    asked: Sender<()>,
) -> Result<Booted> {
    let outcome = guest::boot_after(built, how, wait, |bytes, serial| {
        serial.write_all(&challenger.take(bytes)?)?;
        if challenger.said.contains_key("@stay") {
            // Nobody may listen to that.
            let _ = asked.send(());
        }
        Ok(())
    });
    let log = built.path.with_extension("log");
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    println!("{:.1} s from QEMU's start to {outcome}", outcome.elapsed.as_secs_f64());
    Ok((challenger, outcome))
}

/// The destination waits, and gets the TPM as soon as the source's guest does nothing else with it.
fn travelled(qemu: &mut Qemu, here: &Programs, there: &Programs, grant: &[u8], is_asked: &Receiver<()>) -> Result<()> {
    let patience = Duration::from_secs(TIMEOUT);
    let mut said = String::new();
    while !said.contains("a TPM is to come") {
        let event = qemu.next_event(patience).context("the destination says nothing")?;
        if event.source == Source::Firmware {
            ensure!(!event.line.starts_with("quoin: fatal"), "{}", event.line);
            said = event.line;
        }
    }
    is_asked.recv_timeout(patience).context("the source's guest does not come to its end")?;
    let mut journey = Journey::default();
    carry(here, there, Some(grant), &mut |_| Order::Deliver, &mut journey)?;
    ensure!(journey.is_live, "the TPM has not arrived: {:?}", journey.refused);
    Ok(())
}

/// Flag and origin in the manifest of version 2.
fn comes_from(old: &Built, boots: &[Challenger; 2]) -> Result<()> {
    for (boot, flags, origin) in
        [(&boots[0], 0, &[0; 32][..]), (&boots[1], super::MIGRATED, &old.image.launch.digest[..32])]
    {
        let manifest = boot.file("kept.manifest")?;
        let (_, kept) = manifest.split_last_chunk::<140>().context("a manifest that is too short")?;
        let attested = u32::from_be_bytes(kept[104..108].try_into()?);
        ensure!(
            attested == super::KEPT | flags && kept[108..] == *origin,
            "flags {attested:#x}, from {:x?}",
            &kept[108..]
        );
    }
    Ok(())
}
