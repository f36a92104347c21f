//! `cargo xtask run`: the whole way, from a measured launch to a verified quote, and then a TPM for real clients.

use crate::child::{self, Ending};
use crate::evidence::boot_log;
use crate::evidence::folder::Evidence;
use crate::firmware::Firmware;
use crate::image::{self, Image, Payload};
use crate::psp::Identity;
use crate::qemu::{self, End, Event, Qemu, Settings};
use crate::relay::Relay;
use crate::timeline::Step;
use crate::verify::{self, Expectations, Failure};
use crate::{build, debian, digest, evidence, screen, timeline, workspace};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use tpm_ports::{Ports, Reserved, Stop};

/// RAM of the machine in MiB (docs/boot.md).
pub const MEMORY_MIB: u32 = 512;
/// How long the firmware may take to start the payload: an emulated CPU makes a 2048-bit RSA key in seconds.
const BOOT_TIMEOUT: Duration = Duration::from_secs(300);

/// Options of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends after the evidence was verified, with exit status 0, or with another when anything failed.
    #[arg(long)]
    once: bool,
    /// The local TCP port that serves the TPM; the port after it is taken, too.
    #[arg(long, value_name = "N", default_value_t = 2321)]
    port: u16,
    /// Where the evidence goes [default: evidence in cargo's target directory].
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Boots this IGVM file instead of building one.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Lines for the machine's configuration: how the host shall lie, such as `fault=wrong-report-data` (docs/boot.md).
    #[arg(long = "machine-config", value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Prints every line of the firmware and the machine, not only the timeline.
    #[arg(short, long)]
    verbose: bool,
}

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

/// Builds machine, firmware and payload, and packs the image.
pub fn build_everything() -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let image = image::pack(&programs.firmware(), Payload::Elf(&programs.guest()))?;
    let path = workspace::target_dir()?.join("quoin.igvm");
    fs::write(&path, &image.bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Built { machine: programs.machine(), image, path })
}

/// Builds the machine, and takes the image from `path`.
pub fn build_machine_for(path: &Path) -> Result<Built> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let launch = digest::measure(&bytes).with_context(|| format!("cannot measure {}", path.display()))?;
    Ok(Built {
        machine: build::build(build::IMAGE_AND_MACHINE)?.machine(),
        image: Image { bytes, launch },
        path: path.to_path_buf(),
    })
}

/// Starts the machine with `built` and the development PSP.
pub fn start(built: &Built, config: &str) -> Result<Qemu> {
    start_with(built, config, MEMORY_MIB, &[])
}

/// As [`start`], with so many MiB of RAM and further options of QEMU.
pub fn start_with(built: &Built, config: &str, memory_mib: u32, options: &[String]) -> Result<Qemu> {
    let psp = Identity::development().fw_cfg_bundle();
    Qemu::start(&Settings {
        machine: &built.machine,
        image: &built.image.bytes,
        psp: &psp,
        config,
        memory_mib,
        options,
    })
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let ending = child::end_on_signals()?;
    // Before the long part: a port that is taken should be said at once.
    let ports = if args.once { None } else { Some(Ports::reserve(args.port, None)?) };
    debian::ensure(&[qemu::PROGRAM])?;
    let built = match &args.image {
        Some(path) => build_machine_for(path)?,
        None => build_everything()?,
    };
    screen::say("image        ", &format!("{} ({} bytes)", built.path.display(), built.image.bytes.len()));
    screen::say("measurement  ", &digest::hex(&built.image.launch.digest));

    let mut qemu = start(&built, &args.config.join("\n"))?;
    wait_for_guest(&mut qemu, &built.image, args.verbose)?;
    let mut relay = qemu.relay()?;
    let folder = match &args.evidence {
        Some(folder) => folder.clone(),
        None => workspace::target_dir()?.join("evidence"),
    };
    verify_evidence(&mut qemu, &mut relay, &built, &folder)?;
    println!("done in {:.1} s", started.elapsed().as_secs_f64());
    match ports {
        Some(ports) => serve(ports, relay, qemu, ending),
        None => Ok(()),
    }
}

/// Shows the timeline until the payload was started; fails when the machine ends before.
pub fn wait_for_guest(qemu: &mut Qemu, image: &Image, verbose: bool) -> Result<()> {
    hear_until_guest(qemu, image, |event, step| match step {
        Some(step) => step.say(),
        None if verbose => println!("{:>8.2} s  {}", event.elapsed.as_secs_f64(), event.line),
        None => {}
    })
}

/// As [`wait_for_guest`], for who shows otherwise what is said.
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
fn last_words(qemu: &mut Qemu) -> String {
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

/// Collects evidence through the relay, and verifies what was written to `folder`.
fn verify_evidence(qemu: &mut Qemu, relay: &mut dyn Relay, built: &Built, folder: &Path) -> Result<()> {
    evidence::collect(relay, &built.path, folder)
        .with_context(|| format!("collecting evidence failed\n{}", qemu.last_lines()))?;
    timeline::say(qemu.elapsed(), "evidence collected", &folder.display().to_string());
    let expectations = Expectations {
        development_root: true,
        measurement: Some(built.image.launch.digest),
        policy: Some(built.image.launch.policy),
        boot_events: Some(boot_log::expected(&built.image.bytes)?),
        now: SystemTime::now(),
    };
    let mut steps = 0;
    let verdict = verify::verify(&Evidence::read(folder)?, &expectations, |step, seen| {
        steps += 1;
        screen::say(&format!("{:>12}ok  {:<22} ", "", step.to_string()), seen);
    });
    if let Err(Failure { step, why }) = verdict {
        bail!("the evidence fails at the step `{step}`: {why:#}");
    }
    let again = format!(
        "{steps} steps; again at any time: cargo xtask verify --development-root --igvm {} {}",
        built.path.display(),
        folder.display()
    );
    timeline::say(qemu.elapsed(), "evidence verified", &again);
    Ok(())
}

/// Serves the firmware's TPM until Ctrl-C. It fails when the machine ends.
fn serve(ports: Reserved, relay: impl Relay + Send + 'static, mut qemu: Qemu, ending: Ending) -> Result<()> {
    let stop = Stop::on(&child::SIGNALS)?;
    ending.hand_over();
    let ports = ports.listen()?;
    println!(
        "\nThe firmware's TPM is served until Ctrl-C; TPM2_Startup was sent. Its clients need:\n\n  export TPM2TOOLS_TCTI={}\n",
        ports.tcti()?
    );
    let ended = stop.clone();
    let watch = move || {
        if qemu.has_ended()? && !ended.is_set() {
            bail!("{}", last_words(&mut qemu));
        }
        Ok(())
    };
    let settings = tpm_ports::Settings { watch: Some(Box::new(watch)), ..tpm_ports::Settings::default() };
    tpm_ports::serve_with(ports, Box::new(Firmware(relay)), settings, &stop)
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
