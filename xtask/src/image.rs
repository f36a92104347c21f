//! `cargo xtask image`: builds the measured image, and says what it is made of.

use crate::kept::Kept;
use crate::successors::Successors;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::figures::{self, Figure};
use host::guest::System;
use host::guest::tools::Tools;
use host::image::{Payload, accept, check, pack};
use host::{build, debian, uki, workspace};
use quoin_image::elf::Elf;
use quoin_image::guest::{Guest, Interrupts, Personality};
use quoin_image::linux::Linux;
use quoin_image::settings::{Setting, Settings, authorities};
use quoin_image::{ovmf, sizes};
use quoin_verify::digest::hex;
use quoin_verify::input::certificates;
use quoin_verify::screen;
use std::path::PathBuf;
use std::process::Command;

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
    /// Processors of the guest. Each is part of the launch digest: a host that gives the guest more, or less, launches
    /// something else.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    smp: u16,
    /// As many of them start before the guest, with memory that the file has room for [default: all]. The others start
    /// when the guest creates their vCPU, and want memory of it then (DEPOSIT_MEM): for guests that deposit some. Linux
    /// and OVMF do not, and have these processors only. Part of the launch digest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    smp_from_file: Option<u16>,
    /// Has the firmware interrupted by #HV alone (restricted injection): another launch digest, and a host that does
    /// not offer it cannot start the image. Upstream's KVM does not.
    #[arg(long, conflicts_with = "no_guest")]
    restricted_injection: bool,
    /// Has the guest interrupted by emulated APICs (alternate injection, protocol 3), where the host offers it: for
    /// guests that use that protocol. Without it such a guest gets no interrupts at all.
    #[arg(long, requires = "restricted_injection")]
    alternate_injection: bool,
    /// Whose vTPM the guest finds: this firmware's own, or one with the keys and NV Indices of an Azure confidential
    /// VM's (docs/boot.md). Part of the launch digest.
    #[arg(long, value_name = "NAME", default_value = "quoin", conflicts_with = "no_guest", value_parser = ["quoin", "azure"])]
    personality: String,
    /// An authority of yours, a certificate in DER or PEM, at most four: the firmware asks your program
    /// (quoin-authority) for a certificate of the key by which it certifies those of its TPM, under this authority
    /// (docs/boot.md). Part of the launch digest.
    #[arg(long, value_name = "FILE", conflicts_with = "no_guest")]
    authority: Vec<PathBuf>,
    /// The guest is started without such a certificate, too, if there is none; certificates are the firmware's own
    /// then.
    #[arg(long, requires = "authority")]
    authority_preferred: bool,
    /// How many seconds the firmware waits for it.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "authority", value_parser = clap::value_parser!(u16).range(1..))]
    authority_wait: u16,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    successors: Successors,
    /// Has the firmware judge its own platform by this policy file, before it makes a key or starts the guest: the keys
    /// of `quoin-verify`'s that a firmware can judge, and `[firmware]` (docs/policy.md). Part of the launch digest.
    #[arg(long, value_name = "FILE", conflicts_with = "no_guest")]
    firmware_policy: Option<PathBuf>,
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

impl Args {
    /// The image of which the launch digest is committed.
    fn is_release(&self) -> bool {
        let Self {
            guest,
            no_guest,
            linux,
            debian,
            ovmf,
            firmware,
            smp,
            smp_from_file,
            restricted_injection,
            personality,
            authority,
            firmware_policy,
            kept,
            successors,
            ..
        } = self;
        !no_guest
            && !debian
            && !restricted_injection
            && *smp == 1
            && personality == "quoin"
            && smp_from_file.is_none()
            && authority.is_empty()
            && kept.is_empty()
            && successors.is_empty()
            && [guest, linux, ovmf, firmware, firmware_policy].into_iter().all(Option::is_none)
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    // Before the long part: what cannot be booted should be said at once.
    let settings = settings(args)?;
    let (system, disk) = operating_system(args)?;
    let (firmware, elf) = programs(args, system.is_some())?;
    let guest = match (system, &elf) {
        (Some(guest), _) => Some(guest),
        (None, Some(path)) => Some(Guest::from_elf(&Elf::read(path)?)?),
        (None, None) => None,
    };
    let interrupts = match (args.restricted_injection, args.alternate_injection) {
        (false, _) => Interrupts::Any,
        (true, false) => Interrupts::Restricted,
        (true, true) => Interrupts::Alternate,
    };
    let from_file = args.smp_from_file.unwrap_or(0).into();
    let personality = if args.personality == "azure" { Personality::Azure } else { Personality::Quoin };
    let processors = args.smp.into();
    let guest = guest.map(|guest| Guest { processors, from_file, interrupts, personality, settings, ..guest });
    let payload = guest.as_ref().map_or(Payload::Nothing, Payload::Guest);
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
    if args.is_release() {
        figures::keep(Figure::Image, &format!("{} bytes", image.bytes.len()));
    }
    println!("policy       {:#x}", image.launch.policy);
    screen::say("measurement  ", &hex(&image.launch.digest));
    if args.accept {
        return accept(&image);
    }
    if args.check { check(&image) } else { Ok(()) }
}

/// What the operator wants of the firmware.
fn settings(args: &Args) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(path) = &args.firmware_policy {
        let policy = fs::read_to_string(path)?;
        settings = settings.with_policy(&policy).with_context(|| format!("policy file {}", path.display()))?;
    }
    if !args.kept.is_empty() {
        settings = settings.with(Setting::State, &args.kept.setting()?.octets());
    }
    if !args.successors.is_empty() {
        // What the firmware would end its boot for, or nobody could ever ask it.
        ensure!(!args.no_guest, "a firmware without a guest lets no TPM go");
        ensure!(args.kept.has_programs(), "a TPM moves by the console to programs at the host: --programs");
        settings = settings.with(Setting::Successors, &args.successors.octets()?);
    }
    if args.authority.is_empty() {
        return Ok(settings);
    }
    let parse = |path: &PathBuf| certificates::of_file(&fs::read(path)?).with_context(|| path.display().to_string());
    let all = args.authority.iter().map(parse).collect::<Result<Vec<_>>>()?.concat();
    Ok(settings.with(Setting::Authorities, &authorities(&all, args.authority_preferred, args.authority_wait)))
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
        return Ok(Some(Linux { vcpus: args.smp, ..system.linux(command_line) }));
    }
    let Some(path) = &args.linux else { return Ok(None) };
    Ok(Some(Linux {
        kernel: fs::read(path)?,
        initrd: args.initrd.as_ref().map(fs::read).transpose()?,
        command_line: args.cmdline.clone().unwrap_or_else(|| LINUX_COMMAND_LINE.to_owned()),
        vcpus: args.smp,
        crb: false,
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
