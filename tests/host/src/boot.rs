//! A boot of the software SEV-SNP machine, to the start of what is at VMPL2.

use crate::image::{self, Image, Payload};
use crate::psp::Identity;
use crate::qemu::{End, Event, Qemu, Settings, Turns};
use crate::timeline::{self, Step};
use crate::{build, workspace};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use quoin_image::elf::Elf;
use quoin_image::guest::{Guest, Interrupts, Personality};
use quoin_image::settings::Setting;
use quoin_image::settings::Settings as Wanted;
use quoin_image::state::State;
use quoin_verify::Expectations;
use quoin_verify::digest;
use quoin_verify::evidence::boot_log;
use std::path::{Path, PathBuf};

/// RAM of the machine in MiB (docs/boot.md).
pub const MEMORY_MIB: u32 = 512;
/// How long the firmware may take to start the payload: an emulated CPU makes a 2048-bit RSA key in seconds.
const BOOT_TIMEOUT: Duration = Duration::from_secs(300);

/// What one boot needs, built.
#[derive(Debug)]
pub struct Built {
    /// The machine's ELF file.
    pub machine: PathBuf,
    /// The image.
    pub image: Image,
    /// The image's file.
    pub path: PathBuf,
}

impl Built {
    /// What a verifier that has the image expects, on this machine.
    pub fn expectations(&self) -> Result<Expectations> {
        Ok(Expectations {
            development_root: true,
            measurement: Some(self.image.launch.digest),
            policy: Some(self.image.launch.policy),
            boot_events: Some(boot_log::expected(&self.image.bytes)?),
            ..Expectations::default()
        })
    }
}

/// Builds machine, firmware and payload, and packs the image.
pub fn build_everything() -> Result<Built> {
    build_for(1)
}

/// The same, for so many processors.
pub fn build_for(processors: u32) -> Result<Built> {
    let name = if processors == 1 { String::from("quoin.igvm") } else { format!("quoin-{processors}.igvm") };
    build_so(&name, |guest| Guest { processors, ..guest })
}

/// The same, and how the host can interrupt.
pub fn build_interrupted(processors: u32, interrupts: Interrupts) -> Result<Built> {
    let name = format!("quoin-{interrupts:?}-{processors}.igvm").to_lowercase();
    build_so(&name, |guest| Guest { processors, interrupts, ..guest })
}

/// The same, with a state on a disk.
pub fn build_kept(name: &str, state: &State) -> Result<Built> {
    build_so(name, |guest| {
        let settings = guest.settings.clone().with(Setting::State, &state.octets());
        Guest { settings, ..guest }
    })
}

/// The same, with a vTPM as Azure's.
pub fn build_azure() -> Result<Built> {
    build_so("quoin-azure.igvm", |guest| Guest { personality: Personality::Azure, ..guest })
}

/// The same, with a state on a disk.
pub fn build_azure_kept(state: &State) -> Result<Built> {
    build_so("quoin-azure-state.igvm", |guest| {
        let settings = guest.settings.clone().with(Setting::State, &state.octets());
        Guest { personality: Personality::Azure, settings, ..guest }
    })
}

/// The same, with settings.
pub fn build_azure_with_settings(name: &str, settings: Wanted) -> Result<Built> {
    build_so(name, |guest| Guest { personality: Personality::Azure, settings, ..guest })
}

/// An image of ours with settings.
pub fn build_with_settings(name: &str, settings: Wanted) -> Result<Built> {
    build_so(name, |guest| Guest { settings, ..guest })
}

fn build_so(name: &str, change: impl FnOnce(Guest) -> Guest) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let guest = change(Guest::from_elf(&Elf::read(&programs.guest())?)?);
    let image = image::pack(&programs.firmware(), Payload::Guest(&guest))?;
    let path = put(name, &image)?;
    Ok(Built { machine: programs.machine(), image, path })
}

/// Puts an image into the target directory, whole: another suite may be reading the one that was there.
fn put(name: &str, image: &Image) -> Result<PathBuf> {
    let path = workspace::target_dir()?.join(name);
    let new = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&new, &image.bytes).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Builds the example paravisor and the machine, and packs its image with the payload.
pub fn build_paravisor() -> Result<Built> {
    let programs = build::build(build::PARAVISOR)?;
    let image = image::pack(&programs.paravisor(), Payload::Elf(&programs.guest()))?;
    let path = put("paravisor.igvm", &image)?;
    Ok(Built { machine: programs.machine(), image, path })
}

/// Builds the machine, and takes the image from `path`.
pub fn build_machine_for(path: &Path) -> Result<Built> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let image = Image::new(bytes).with_context(|| format!("cannot measure {}", path.display()))?;
    Ok(Built { machine: build::build(build::IMAGE_AND_MACHINE)?.machine(), image, path: path.to_path_buf() })
}

/// QEMU touches all memory before it begins. A guest's firmware touches all of it, too, but a page at a time; and hosts
/// of such guests have it pinned.
pub fn populated(memory_mib: u32) -> [String; 4] {
    let backend = format!("memory-backend-ram,id=populated,size={memory_mib}M,prealloc=on");
    ["-object".into(), backend, "-machine".into(), "memory-backend=populated".into()]
}

/// Starts the machine with `built` and the development PSP.
pub fn start(built: &Built, config: &str) -> Result<Qemu> {
    start_with(built, config, MEMORY_MIB, &[])
}

/// As [`start`], with processors that run at once.
pub fn start_at_once(built: &Built, config: &str) -> Result<Qemu> {
    start_so(built, config, MEMORY_MIB, Turns::AtOnce, &[])
}

/// As [`start`], with so many MiB of RAM and further options of QEMU.
pub fn start_with(built: &Built, config: &str, memory_mib: u32, options: &[String]) -> Result<Qemu> {
    start_so(built, config, memory_mib, Turns::InOneThread, options)
}

fn start_so(built: &Built, config: &str, memory_mib: u32, turns: Turns, options: &[String]) -> Result<Qemu> {
    let psp = Identity::development().fw_cfg_bundle();
    Qemu::start(&Settings {
        machine: &built.machine,
        image: &built.image.bytes,
        psp: &psp,
        config,
        memory_mib,
        processors: built.image.launch.processors,
        turns,
        options,
    })
}

/// Shows the timeline until the payload was started; fails when the machine ends before. Gives what was said of that
/// start.
pub fn wait_for_guest(qemu: &mut Qemu, image: &Image, verbose: bool) -> Result<String> {
    let mut last = String::new();
    hear_until_guest(qemu, image, |event, step| match step {
        Some(step) => {
            step.say();
            last.clone_from(&step.detail);
        }
        None if verbose => println!("{:>8.2} s  {}", event.elapsed.as_secs_f64(), event.line),
        None => {}
    })?;
    Ok(last)
}

/// Shows what the timeline has had since, such as the endorsement key, which is made when it is attested.
pub fn show_since(qemu: &mut Qemu) {
    while let Some(event) = qemu.next_event(Duration::from_millis(50)) {
        timeline::step(&event).iter().for_each(Step::say);
    }
}

/// As [`wait_for_guest`], for callers that show the output in another way.
pub fn hear_until_guest(qemu: &mut Qemu, image: &Image, mut heard: impl FnMut(&Event, Option<&Step>)) -> Result<()> {
    while qemu.elapsed() < BOOT_TIMEOUT {
        let Some(event) = qemu.next_event(Duration::from_millis(200)) else {
            ensure!(!qemu.has_ended()?, "{}", last_words(qemu));
            continue;
        };
        let step = timeline::step(&event);
        heard(&event, step.as_ref());
        let Some(step) = step else { continue };
        if step.title == "image measured" {
            let computed = digest::hex(&image.launch.digest);
            ensure!(
                step.detail.trim() == computed,
                "the machine measured {}, which is not what was computed from the file: {computed}",
                step.detail
            );
        }
        if step.title == "guest started at VMPL2" {
            return Ok(());
        }
        if ["RULE BROKEN", "TERMINATED", "FATAL"].contains(&step.title) {
            bail!("{}", last_words(qemu));
        }
    }
    bail!("the firmware did not start the payload within {} seconds", BOOT_TIMEOUT.as_secs())
}

/// How the machine ended, why, and what was said last.
pub fn last_words(qemu: &mut Qemu) -> String {
    let reason = match qemu.wait(Duration::from_secs(5)) {
        Ok(end) => reason(end, &qemu.launch_refusal(), &qemu.messages()),
        Err(error) => format!("{error:#}"),
    };
    format!("{reason}\n{}", qemu.last_lines())
}

/// An end in words, with what the machine has said of the image and QEMU of itself.
fn reason(end: End, refusal: &str, messages: &str) -> String {
    match end {
        End::Orderly => "the machine has ended before it should".to_owned(),
        End::RuleBroken => "the machine was stopped: a rule of SEV-SNP was broken".to_owned(),
        End::BadLaunch => format!("the machine cannot launch this image: {refusal}"),
        End::Terminated => "the firmware asked for termination".to_owned(),
        End::MachineFault => "the machine has met an error of its own".to_owned(),
        End::Qemu(status) => format!("QEMU ended with status {status:?}: {messages}"),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;
    use crate::qemu::End;

    /// Section 4, row 6: without `-v` the reason was an empty line.
    #[test]
    fn why_an_image_is_not_launched_is_in_the_error() {
        let said = reason(End::BadLaunch, "page 0x1000 is launched twice", "");
        assert_eq!(said, "the machine cannot launch this image: page 0x1000 is launched twice");
        assert!(reason(End::Qemu(Some(1)), "", "no such CPU").contains("no such CPU"));
    }
}
