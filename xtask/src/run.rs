//! `cargo xtask run`: the whole way, from a measured launch to a verified quote, and then a TPM for real clients.

use crate::served;
use anchor::quorum::TooFew;
use anyhow::{Context, Result, bail};
use core::time::Duration;
use host::anchors::Fleet;
use host::boot::{self, Built};
use host::devices::{self, FileDisk};
use host::figures::{self, Figure};
use host::qemu::{self, Qemu};
use host::relay::Relay;
use host::relays::Relay as Way;
use host::{child, collect, debian, timeline, workspace};
use quoin_image::state::Wanted;
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::evidence::manifest;
use quoin_verify::{Failure, digest, screen};
use std::path::{Path, PathBuf};
use std::time::Instant;

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
    /// Processors of the machine, and of the guest: each has a register state in the launch digest.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "image", value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// A disk on which the TPM's state outlives the VM; prepared, if there is no such file.
    #[arg(long, value_name = "FILE", conflicts_with = "smp")]
    state_disk: Option<PathBuf>,
    /// So many anchors on this computer, of which more than half must know of each commit: an old copy of the disk does
    /// not start. Their keys and databases are in a folder beside the disk.
    #[arg(long, value_name = "N", requires = "state_disk", conflicts_with = "image", value_parser = clap::value_parser!(u8).range(1..=16))]
    anchors: Option<u8>,
    /// Prints every line of the firmware and the machine, not only the timeline.
    #[arg(short, long)]
    verbose: bool,
}

/// What takes longer than this to be built was not there.
const WARM: Duration = Duration::from_secs(2);

impl Args {
    /// The run whose time is a figure: the image as it is, on a host that does not lie.
    fn is_plain(&self) -> bool {
        self.once
            && self.smp == 1
            && self.image.is_none()
            && self.config.is_empty()
            && self.state_disk.is_none()
            && !self.verbose
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let ending = child::end_on_signals()?;
    // Before the long part: a port that is taken should be said at once.
    let ports = if args.once { None } else { Some(served::reserve(args.port)?) };
    debian::ensure(&[qemu::PROGRAM])?;
    let fleet = anchors(args)?;
    let built = match (&args.image, &fleet) {
        (Some(path), _) => boot::build_machine_for(path)?,
        (None, Some(fleet)) => boot::build_kept("quoin-anchors.igvm", &fleet.setting(TooFew::Refuse, false)?)?,
        _ if args.state_disk.is_some() => boot::build_kept("quoin-state.igvm", &devices::setting(Wanted::Required))?,
        _ => boot::build_for(args.smp)?,
    };
    let warm = started.elapsed() < WARM;
    screen::say("image        ", &format!("{} ({} bytes)", built.path.display(), built.image.bytes.len()));
    screen::say("measurement  ", &digest::hex(&built.image.launch.digest));

    let way = fleet.as_ref().map(Fleet::relay).transpose()?;
    let mut qemu = start(args, &built, way.as_ref())?;
    let started_with = boot::wait_for_guest(&mut qemu, &built.image, args.verbose)?;
    let mut relay = qemu.relay()?;
    let folder = match &args.evidence {
        Some(folder) => folder.clone(),
        None => workspace::target_dir()?.join("evidence"),
    };
    verify_evidence(&mut qemu, &mut relay, &built, &folder)?;
    let seconds = format!("{:.1} s", started.elapsed().as_secs_f64());
    println!("done in {seconds}");
    if warm && args.is_plain() {
        figures::keep(Figure::Run, &seconds);
        if let Some(memory) = memory(&started_with) {
            figures::keep(Figure::Memory, &format!("8 MiB; when the guest starts, {memory}"));
        }
    }
    match ports {
        Some(ports) => served::until_a_signal(ports, relay, qemu, ending),
        None => Ok(()),
    }
}

/// The anchors, where some are asked for.
fn anchors(args: &Args) -> Result<Option<Fleet>> {
    let (Some(count), Some(disk)) = (args.anchors, &args.state_disk) else { return Ok(None) };
    let mut folder = disk.clone().into_os_string();
    folder.push(".anchors");
    let fleet = Fleet::start(Path::new(&folder), usize::from(count))?;
    let more_than_half = count / 2 + 1;
    screen::say(
        "anchors      ",
        &format!("{more_than_half} of {count} are a quorum, at {}", fleet.addresses().join(", ")),
    );
    Ok(Some(fleet))
}

/// Starts the machine, with the disk if there is to be one, and the way to the anchors.
fn start(args: &Args, built: &Built, way: Option<&Way>) -> Result<Qemu> {
    let mut config = args.config.join("\n");
    let mut options = Vec::new();
    if let Some(path) = &args.state_disk {
        if !path.try_exists()? {
            FileDisk::prepare(path)?;
            screen::say("state        ", &format!("{} is prepared for a new one", path.display()));
        }
        config = [devices::CONFIG, &config].join("\n");
        options = [devices::memory(), devices::disk(path), way.map_or_else(Vec::new, Way::options)].concat();
    }
    boot::start_with(built, &config, boot::MEMORY_MIB, &options)
}

/// What the firmware says of its heap and stack where it starts the guest.
fn memory(guest: &str) -> Option<&str> {
    guest.split_once("; ").map(|(_, memory)| memory)
}

/// Collects evidence through the relay, and verifies what was written to `folder`.
fn verify_evidence(qemu: &mut Qemu, relay: &mut dyn Relay, built: &Built, folder: &Path) -> Result<()> {
    collect::collect(relay, &built.image.launch.digest, folder)
        .with_context(|| format!("collecting evidence failed\n{}", qemu.last_lines()))?;
    boot::show_since(qemu);
    timeline::say(qemu.elapsed(), "evidence collected", &folder.display().to_string());
    let expectations = built.expectations()?;
    let evidence = Evidence::read(folder)?;
    if let Some(kept) = manifest::kept(&evidence.manifest)? {
        let whose = format!("epoch {} of the TPM {}…", kept.epoch, digest::hex(&kept.identity[..8]));
        timeline::say(qemu.elapsed(), "state attested", &whose);
    }
    let mut steps = 0;
    let verdict = quoin_verify::verify(&evidence, &expectations, |step, seen| {
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
