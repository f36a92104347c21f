//! Operating systems at VMPL2: how they are booted, what they are made of, how they have ended.
//!
//! | module | is |
//! |---|---|
//! | [`challenger`] | who talks to the small system of tests/guest/linux, and gathers its evidence |
//! | [`browser`] | no guest: what looks at pages, from such packages too |
//! | [`packages`], [`debian`], [`ovmf`], [`tools`] | Debian's packages: fetched, unpacked |
//! | [`kernel`], [`module`], [`initrd`] | what is built of them |
//! | [`last_word`], [`ending`] | how a guest has ended |

pub mod browser;
pub mod challenger;
pub mod debian;
pub mod ending;
pub mod initrd;
pub mod kernel;
pub mod last_word;
pub mod module;
pub mod ovmf;
pub mod packages;
pub mod tools;

use crate::boot::{self, Built};
use crate::image::{self, Image, Payload};
use crate::qemu::{End, Qemu, listen};
use crate::terminal::Keys;
use crate::{build, devices, workspace};
use anyhow::{Context, Result};
use core::time::Duration;
use ending::{Ending, Seen};
use fs_err as fs;
use last_word::{Ear, LastWord};
use quoin_image::guest::{Guest, Personality};
use quoin_image::linux::Linux;
use quoin_verify::screen;
use std::io::{Write, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Instant;

/// What an operating system wants of the machine: no XSAVE in the CPUID page, since TCG has not all of it; RAM where a
/// Linux without EFI looks for ROMs; and a host that says that it has several VMPLs (GHCB hypervisor feature 5),
/// without which Linux ends itself at VMPL2, and a list of APIC ids (4), without which OVMF waits for ever for the
/// other processors.
pub const CONFIG: &str = "cpuid=image\nlegacy=ram\nfault=hv-features:0x33";

/// How an operating system is booted.
#[derive(Debug, Clone)]
pub struct Boot {
    /// MiB of RAM of the machine, of which the guest has 128 less.
    pub memory: u32,
    /// A disk for the guest (virtio-blk); what the guest writes to it is gone in the end.
    pub disk: Option<PathBuf>,
    /// Ends the guest when it takes longer than so many seconds.
    pub timeout: u64,
    /// Prints every line of the firmware and the machine, not only the timeline.
    pub verbose: bool,
    /// Further options of QEMU.
    pub qemu: Vec<String>,
    /// The firmware's disk, where the image wants one.
    pub state_disk: Option<StateDisk>,
}

/// The firmware's disk beside a guest.
#[derive(Debug, Clone)]
pub struct StateDisk {
    /// Its file.
    pub path: PathBuf,
    /// Whether the host hides it from the guest; stock QEMU does not.
    pub is_hidden: bool,
}

/// Boots with the guest's serial port on the terminal, and says how it has ended.
pub fn interactive(built: &Built, how: &Boot) -> Result<ExitCode> {
    let _keys = Keys::one_by_one();
    let mut console = stdout();
    let mut typed = None;
    let outcome = boot(built, how, |bytes, serial| {
        // What is typed goes to the guest, once it is there to read it.
        if typed.is_none() {
            let mut serial = serial.try_clone()?;
            typed = Some(thread::spawn(move || std::io::copy(&mut stdin(), &mut serial)));
        }
        // A console that nobody reads any more is no reason to stop the guest.
        let _ = console.write_all(bytes).and_then(|()| console.flush());
        Ok(())
    })?;
    println!();
    if outcome.ending.status() != 0 {
        println!("{}", outcome.last_lines);
    }
    screen::say(&format!("{:>8.2} s  ", outcome.elapsed.as_secs_f64()), &outcome.ending.to_string());
    Ok(outcome.ending.exit_code())
}

/// How a guest has ended.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict.
    pub ending: Ending,
    /// How the machine has ended; nothing if the guest was ended because of its time, or of its kernel's word.
    pub end: Option<End>,
    /// After so much time.
    pub elapsed: Duration,
    /// What the machine and the firmware said last.
    pub last_lines: String,
    /// What the guest's kernel said of its end.
    pub last_word: LastWord,
    /// Bytes that the guest wrote to its serial port.
    pub said: usize,
}

impl Outcome {
    /// Whether the guest has powered off of its own will.
    pub fn is_power_off(&self) -> bool {
        self.ending == Ending::PowerOff
    }
}

impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.ending {
            Ending::Crash(_) | Ending::NotStarted(_) | Ending::NoGuest(_) => {
                write!(f, "{}\n{}", self.ending, self.last_lines)
            }
            _ => write!(f, "{}", self.ending),
        }
    }
}

/// Boots, gives what the guest writes to its serial port to `console`, with the port to answer, and waits for the end.
pub fn boot(built: &Built, args: &Boot, console: impl FnMut(&[u8], &mut UnixStream) -> Result<()>) -> Result<Outcome> {
    boot_after(built, args, |qemu| boot::wait_for_guest(qemu, &built.image, args.verbose).map(drop), console)
}

/// As [`boot()`], with what is done until the guest is started.
pub fn boot_after(
    built: &Built,
    args: &Boot,
    wait: impl FnOnce(&mut Qemu) -> Result<()>,
    console: impl FnMut(&[u8], &mut UnixStream) -> Result<()>,
) -> Result<Outcome> {
    let mut options = args.disk.as_deref().map_or_else(Vec::new, disk);
    options.extend(boot::populated(args.memory));
    options.extend_from_slice(&args.qemu);
    let mut config = CONFIG.to_owned();
    if let Some(StateDisk { path, is_hidden }) = &args.state_disk {
        config = [CONFIG, if *is_hidden { devices::CONFIG } else { devices::SHOWN }].join("\n");
        options = [options, devices::memory(), devices::disk(path)].concat();
    }
    let mut qemu = boot::start_with(built, &config, args.memory, &options)?;
    wait(&mut qemu)?;
    until_the_end(qemu, 2, args.timeout, console)
}

/// Listens to a guest at this VMPL until the machine ends, the guest's kernel panics, or `limit` seconds are over; then
/// there is no QEMU any more.
pub fn until_the_end(
    mut qemu: Qemu,
    vmpl: u8,
    limit: u64,
    mut console: impl FnMut(&[u8], &mut UnixStream) -> Result<()>,
) -> Result<Outcome> {
    let serial = qemu.guest_serial()?;
    serial.set_read_timeout(None)?;
    let mut answers = serial.try_clone()?;
    let receiver = listen(serial);
    let (deadline, mut said) = (Instant::now() + Duration::from_secs(limit), 0);
    let mut ear = Ear::default();
    // A guest that never falls silent has its time like any other.
    let has_ended = loop {
        match receiver.recv_timeout(Duration::from_millis(200)) {
            Ok(bytes) => {
                said += bytes.len();
                ear.hear(&bytes);
                console(&bytes, &mut answers)?;
            }
            // QEMU has closed the port: it ends.
            Err(RecvTimeoutError::Disconnected) => break true,
            // A kernel that has panicked says no more, and waits for somebody at its console.
            Err(RecvTimeoutError::Timeout) if ear.has_panicked() => break false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() > deadline {
            break false;
        }
    };
    let elapsed = qemu.elapsed();
    let end = has_ended.then(|| qemu.wait(Duration::from_secs(10))).transpose();
    let end = end.context("QEMU closed its serial ports and did not end")?;
    let ending = judge(&mut qemu, vmpl, end, &ear.last_word, said, limit);
    Ok(Outcome { ending, end, elapsed, last_lines: qemu.last_lines(), last_word: ear.last_word, said })
}

/// How a guest at this VMPL has ended, which has written `said` octets and had `limit` seconds.
pub fn judge(qemu: &mut Qemu, vmpl: u8, end: Option<End>, word: &LastWord, said: usize, limit: u64) -> Ending {
    let machine = qemu.last_line(&["STOP ", "TERMINATED ", "END "]);
    Seen { vmpl, end, machine: &machine, word, said, limit }.judge()
}

/// QEMU's options for a disk: with encrypted memory, virtio must go by the platform's rules of DMA.
pub fn disk(path: &Path) -> Vec<String> {
    let drive =
        format!("if=none,id=disk,format=raw,snapshot=on,file={}", path.display().to_string().replace(',', ",,"));
    let device = "virtio-blk-pci,drive=disk,disable-legacy=on,iommu_platform=on";
    ["-drive", &drive, "-device", device].map(String::from).into()
}

/// Debian's newest cloud kernel with the small system of tests/guest/linux.
#[derive(Debug)]
pub struct System {
    /// The kernel's release.
    pub release: String,
    kernel: Vec<u8>,
    initrd: Vec<u8>,
}

impl System {
    /// Fetches and builds what is not there.
    pub fn prepare() -> Result<Self> {
        Self::prepare_with(None)
    }

    /// The same, with what a test adds.
    pub fn prepare_with(extra: Option<&initrd::Extra<'_>>) -> Result<Self> {
        let packages = debian::Debian::fetch()?;
        let modules = module::build(&packages)?;
        Ok(Self {
            release: packages.release().to_owned(),
            kernel: fs::read(packages.kernel())?,
            initrd: initrd::make(&packages, Some(&modules), extra)?,
        })
    }

    /// The same with further files, which take the place of those that are there.
    pub fn with_files(&self, files: &[(&str, Vec<u8>)]) -> Result<Self> {
        let initrd = [self.initrd.as_slice(), &initrd::of_files(files)?].concat();
        Ok(Self { release: self.release.clone(), kernel: self.kernel.clone(), initrd })
    }

    /// The kernel's file.
    pub fn kernel(&self) -> &[u8] {
        &self.kernel
    }

    /// With a kernel of one's own, which needs no modules.
    pub fn with(kernel: kernel::Kernel) -> Result<Self> {
        let initrd = initrd::make(&debian::Debian::fetch()?, None, None)?;
        Ok(Self { release: kernel.release, kernel: kernel.image, initrd })
    }

    /// As a guest on one vCPU.
    pub fn linux(&self, command_line: &str) -> Linux {
        Linux {
            kernel: self.kernel.clone(),
            initrd: Some(self.initrd.clone()),
            command_line: command_line.to_owned(),
            vcpus: 1,
            crb: false,
        }
    }

    /// Builds firmware and machine, and packs an image with this command line to the file `name` below `target/guest`.
    pub fn build(&self, command_line: &str, name: &str) -> Result<Built> {
        self.build_for(1, command_line, name)
    }

    /// The same, for so many processors.
    pub fn build_for(&self, processors: u16, command_line: &str, name: &str) -> Result<Built> {
        let linux = Linux { vcpus: processors, ..self.linux(command_line) };
        Self::pack(&linux.guest()?, name)
    }

    /// The same, for one processor, with another vTPM.
    pub fn build_with(&self, personality: Personality, command_line: &str, name: &str) -> Result<Built> {
        Self::pack(&Guest { personality, ..self.linux(command_line).guest()? }, name)
    }

    fn pack(guest: &Guest, name: &str) -> Result<Built> {
        let programs = build::build(build::IMAGE_AND_MACHINE)?;
        let image: Image = image::pack(&programs.firmware(), Payload::Guest(guest))?;
        let path = workspace::target_dir()?.join("guest").join(name);
        fs::write(&path, &image.bytes)?;
        Ok(Built { machine: programs.machine(), image, path })
    }
}
