//! `cargo xtask image`: builds the measured image, and says what it is made of.

pub mod acpi;
pub mod alone;
pub mod elf;
pub mod fat;
pub mod guest;
pub mod linux;
pub mod ovmf;
pub mod pack;
pub mod sizes;
#[cfg(test)]
pub(crate) mod testing;
pub mod uki;

use crate::digest::{self, Launch, hex};
use crate::guest::System;
use crate::guest::tools::Tools;
use crate::{build, debian, screen, workspace};
use anyhow::{Context, Result, ensure};
use elf::Elf;
use fs_err as fs;
use guest::Guest;
use linux::Linux;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The committed launch digest of the image that a clean checkout builds.
pub const RELEASE_MEASUREMENT: &str = "xtask/release-measurement.txt";

/// The release image's limit in bytes (README, "Figures").
const SIZE_LIMIT: usize = 1024 * 1024 + 512 * 1024;

/// What a kernel is told by default, and what the small system around Debian's is.
const LINUX_COMMAND_LINE: &str = "console=ttyS1 quiet";
const DEBIAN_COMMAND_LINE: &str = "console=ttyS1 quiet quoin=shell";

/// Options of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Packs this ELF file as the payload at VMPL2 instead of tests/guest.
    #[arg(long, value_name = "ELF", conflicts_with = "no_guest")]
    guest: Option<PathBuf>,
    /// Packs no payload: the firmware starts nothing at VMPL2.
    #[arg(long)]
    no_guest: bool,
    /// Packs this Linux kernel (a bzImage or vmlinuz with a 64-bit entry) as the guest.
    #[arg(long, value_name = "FILE", group = "kernel", conflicts_with_all = ["guest", "no_guest"])]
    linux: Option<PathBuf>,
    /// Packs Debian's newest cloud kernel and a small system with tpm2-tools, fetched through apt-get, as the guest.
    ///
    /// `quoin=shell` on the command line gives a shell on the serial port, `quoin=check` tries TPM and attestation.
    #[arg(long, group = "kernel", conflicts_with_all = ["guest", "no_guest", "initrd"])]
    debian: bool,
    /// The initial file system of --linux.
    #[arg(long, value_name = "FILE", requires = "linux")]
    initrd: Option<PathBuf>,
    /// The command line of the kernel [default: "console=ttyS1 quiet", with --debian "quoin=shell" behind it]. COM1 is
    /// the firmware's console, COM2 (ttyS1) the guest's.
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    cmdline: Option<String>,
    /// Packs this OVMF.fd or OVMF_CODE.fd as the guest. With --linux or --debian, the kernel is not in the image: it
    /// goes to a disk beside it (OUTPUT with the ending .disk), as a unified kernel image that OVMF starts and
    /// measures.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["guest", "no_guest"])]
    ovmf: Option<PathBuf>,
    /// The stub that the unified kernel image is made of [default: this system's, of the package systemd-boot-efi,
    /// where there is a ukify; with --debian, or without ukify, Debian's].
    #[arg(long, value_name = "FILE", requires_all = ["ovmf", "kernel"])]
    stub: Option<PathBuf>,
    /// Packs this ELF file as the firmware instead of building it.
    #[arg(long, value_name = "ELF")]
    firmware: Option<PathBuf>,
    /// Where the image goes [default: quoin.igvm in cargo's target directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Fails when the launch digest is not the committed one, or the image is larger than 1.5 MiB.
    #[arg(long)]
    check: bool,
    /// Commits the launch digest to the file that --check reads: a change of the image is then a visible difference.
    #[arg(long, conflicts_with = "check")]
    accept: bool,
}

/// An image, packed and measured.
#[derive(Debug)]
pub struct Image {
    /// The IGVM file's bytes.
    pub bytes: Vec<u8>,
    /// What its launch measures.
    pub launch: Launch,
}

/// Which program the image starts at VMPL2.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// None.
    Nothing,
    /// The one of this ELF file.
    Elf(&'a Path),
    /// One that is laid out already.
    Guest(&'a Guest),
}

/// Packs and measures the ELF file `firmware` with `payload`.
pub fn pack(firmware: &Path, payload: Payload<'_>) -> Result<Image> {
    let firmware = Elf::read(firmware)?;
    let bytes = match payload {
        Payload::Nothing => pack::pack(&firmware, None)?,
        Payload::Elf(path) => pack::pack(&firmware, Some(&Guest::from_elf(&Elf::read(path)?)?))?,
        Payload::Guest(guest) => pack::pack(&firmware, Some(guest))?,
    };
    let launch = digest::measure(&bytes).context("the image that was just packed cannot be measured")?;
    Ok(Image { bytes, launch })
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    // Before the long part: what cannot be booted should be said at once.
    let (system, disk) = operating_system(args)?;
    let (firmware, elf) = programs(args, system.is_some())?;
    let payload = match (&system, &elf) {
        (Some(guest), _) => Payload::Guest(guest),
        (None, Some(path)) => Payload::Elf(path),
        (None, None) => Payload::Nothing,
    };
    let image = pack(&firmware, payload)?;
    let output = match &args.output {
        Some(path) => path.clone(),
        None => workspace::target_dir()?.join("quoin.igvm"),
    };
    fs::write(&output, &image.bytes).with_context(|| format!("cannot write {}", output.display()))?;
    print_sizes(&Elf::read(&firmware)?);
    if let Some(disk) = disk {
        let path = output.with_extension("disk");
        fs::write(&path, disk).with_context(|| format!("cannot write {}", path.display()))?;
        screen::say("disk         ", &path.display().to_string());
    }
    screen::say("image        ", &output.display().to_string());
    println!("size         {} bytes, {} pages measured", image.bytes.len(), image.launch.pages);
    println!("policy       {:#x}", image.launch.policy);
    screen::say("measurement  ", &hex(&image.launch.digest));
    if args.accept {
        return accept(&image);
    }
    if args.check { check(&image) } else { Ok(()) }
}

/// The guest that the arguments name, if it is not a payload of ours; and a disk for it.
fn operating_system(args: &Args) -> Result<(Option<Guest>, Option<Vec<u8>>)> {
    let linux = linux(args)?;
    let Some(path) = &args.ovmf else { return Ok((linux.map(|linux| linux.guest()).transpose()?, None)) };
    let guest = ovmf::guest(&fs::read(path)?).with_context(|| format!("{}", path.display()))?;
    let Some(linux) = linux else { return Ok((Some(guest), None)) };
    let (ukify, stub) = ukify(args)?;
    Ok((Some(guest), Some(uki::disk(ukify, &stub, &linux)?)))
}

/// systemd's ukify, and the stub for it: this system's, or Debian's.
fn ukify(args: &Args) -> Result<(Command, PathBuf)> {
    let stub = args.stub.clone();
    if !args.debian
        && let Some(own) = debian::find("ukify")
    {
        let stub = stub.unwrap_or_else(|| PathBuf::from(uki::STUB));
        ensure!(
            stub.exists(),
            "there is no {}: it is in Debian's package systemd-boot-efi; --stub names it elsewhere",
            stub.display()
        );
        return Ok((Command::new(own), stub));
    }
    let tools = Tools::fetch()?;
    Ok((tools.ukify(), stub.unwrap_or_else(|| tools.stub())))
}

fn linux(args: &Args) -> Result<Option<Linux>> {
    if args.debian {
        let system = System::prepare()?;
        println!("kernel       {}", system.release);
        let command_line = args.cmdline.as_deref().unwrap_or(DEBIAN_COMMAND_LINE);
        return Ok(Some(system.linux(command_line)));
    }
    let Some(path) = &args.linux else { return Ok(None) };
    Ok(Some(Linux {
        kernel: fs::read(path)?,
        initrd: args.initrd.as_ref().map(fs::read).transpose()?,
        command_line: args.cmdline.clone().unwrap_or_else(|| LINUX_COMMAND_LINE.to_owned()),
        vcpus: 1,
    }))
}

fn programs(args: &Args, has_system: bool) -> Result<(PathBuf, Option<PathBuf>)> {
    let firmware = match &args.firmware {
        Some(path) => path.clone(),
        None => build::build(build::IMAGE)?.firmware(),
    };
    let guest = match &args.guest {
        Some(path) => Some(path.clone()),
        None if args.no_guest || has_system => None,
        None => Some(build::build(build::IMAGE)?.guest()),
    };
    Ok((firmware, guest))
}

fn print_sizes(firmware: &Elf) {
    println!("bytes of the firmware by crate, zero-initialised memory included:");
    for (name, size) in sizes::by_crate(firmware) {
        println!("{size:>12}  {name}");
    }
}

/// Compares with what is committed, and with the limit of size.
pub fn check(image: &Image) -> Result<()> {
    ensure!(image.bytes.len() <= SIZE_LIMIT, "the image has {} bytes, more than {SIZE_LIMIT}", image.bytes.len());
    let path = workspace::root()?.join(RELEASE_MEASUREMENT);
    let committed = fs::read_to_string(&path).unwrap_or_else(|_| String::from("none"));
    let (committed, computed) = (committed.trim(), hex(&image.launch.digest));
    ensure!(
        committed == computed,
        "the launch digest is {computed}, the committed one is {committed}.\nIf the change of the image is meant, run `cargo xtask image --accept` and commit {RELEASE_MEASUREMENT}."
    );
    println!("the launch digest is the committed one");
    Ok(())
}

fn accept(image: &Image) -> Result<()> {
    let path = workspace::root()?.join(RELEASE_MEASUREMENT);
    fs::write(&path, format!("{}\n", hex(&image.launch.digest)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("written to {RELEASE_MEASUREMENT}");
    Ok(())
}
