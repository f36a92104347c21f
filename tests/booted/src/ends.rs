//! How a guest ends, and what `cargo xtask guest` makes of it: its last line and its exit status (docs/guest.md), with
//! no QEMU left behind.
//!
//! Guests that never start are a few instructions in the form of a kernel; those that run are Debian's kernel, told at
//! its shell how to end. Where the packages cannot be had the suite fails and says what is missing.

use super::processes::Watched;
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::guest::{System, debian, module};
use host::image::{self, Payload};
use host::qemu::Folder;
use host::{build, status, workspace};
use quoin_image::linux::Linux;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An end: what it is, how it is brought about, the guest's time in seconds, the exit status, what the last line says.
type Ending<T> = (&'static str, T, u32, u8, &'static str);

/// Code at the kernel's entry: 64-bit mode, the firmware's page tables, no stack and no interrupt descriptor table.
const NEVER_STARTED: &[Ending<&[u8]>] = &[
    ("an undefined instruction", &[0x0F, 0x0B], 60, status::GUEST_NOT_STARTED, "triple fault at 0x1000200"),
    // MOV RAX, 0x7FFF00000000; JMP RAX
    (
        "a jump to where nothing is mapped",
        &[0x48, 0xB8, 0, 0, 0, 0, 0xFF, 0x7F, 0, 0, 0xFF, 0xE0],
        60,
        status::GUEST_NOT_STARTED,
        "triple fault",
    ),
    // MOV EAX, 0xD0000000; JMP RAX
    (
        "a jump to where no memory is",
        &[0xB8, 0, 0, 0, 0xD0, 0xFF, 0xE0],
        60,
        status::GUEST_NOT_STARTED,
        "no memory is there",
    ),
    // What every kernel does that knows nothing of encrypted state.
    ("CPUID without a handler of #VC", &[0x0F, 0xA2], 60, status::GUEST_NOT_STARTED, "#VC 0x72 cannot be delivered"),
    ("CLI and HLT", &[0xFA, 0xF4], 60, status::GUEST_NOT_STARTED, "it halts for good at 0x1000201"),
    ("an endless loop", &[0xEB, 0xFE], 5, status::GUEST_NOT_STARTED, "no word on its console after 5 seconds"),
];

/// What is typed at the shell of Debian's kernel.
const ENDED: &[Ending<&str>] = &[
    ("power-off", "poweroff -f", 120, 0, "the guest has powered off"),
    ("a restart", "reboot -f", 120, status::GUEST_RESTART, "the guest has asked for a restart"),
    ("a halt", "halt -f", 120, status::GUEST_HALT, "the guest has halted"),
    ("a panic", "echo c >/proc/sysrq-trigger", 120, status::GUEST_PANIC, "not syncing: sysrq triggered crash"),
    ("the end of the shell", "exit", 120, 0, "the guest has powered off"),
    (
        "a triple fault",
        "insmod /quoin_end.ko how=triple",
        120,
        status::GUEST_CRASH,
        "the guest has crashed: triple fault",
    ),
    (
        "a jump to nowhere",
        "echo 1 >/proc/sys/kernel/panic_on_oops; insmod /quoin_end.ko how=jump",
        120,
        status::GUEST_PANIC,
        "not syncing: Fatal exception",
    ),
    (
        "a #VC that the kernel cannot handle",
        "insmod /quoin_end.ko how=vc",
        120,
        status::GUEST_CRASH,
        "it asked for termination, set 0 code 0",
    ),
    (
        "a soft lock-up of which a panic is made",
        "cd /proc/sys/kernel; echo 2 >watchdog_thresh; echo 1 >softlockup_panic; insmod /quoin_end.ko how=lockup",
        120,
        status::GUEST_PANIC,
        "not syncing: softlockup: hung tasks",
    ),
    // On the one processor nothing runs any more that would write it to the console.
    (
        "a lock-up of which none is made",
        "insmod /quoin_end.ko how=lockup",
        60,
        status::GUEST_RUNNING,
        "the guest is still running after 60 seconds",
    ),
    ("a guest that talks on and on", "yes", 60, status::GUEST_RUNNING, "the guest is still running after 60 seconds"),
];

const KEXEC: &[Ending<&str>] = &[(
    "another kernel by kexec",
    "dmesg -n 8; /kexec /kernel console=ttyS1 || echo error $?",
    60,
    status::GUEST_CRASH,
    "kexec",
)];

/// All of them.
pub fn run() -> Result<Totals> {
    let mut totals = Totals::default();
    for (name, file, says) in refused()? {
        totals += case(&format!("{name} is refused before anything is built"), refuses(&file, says));
    }
    for &(name, code, limit, status, says) in NEVER_STARTED {
        let ended = image(&tiny(code), "end-tiny.igvm").and_then(|image| ends(&image, &[], None, limit, status, says));
        totals += case(&format!("{name} at the entry: the guest has not started"), ended);
    }
    let system = System::prepare()?;
    let no_init = Linux { initrd: None, ..system.linux("console=ttyS1 quiet") };
    let ended = image(&no_init, "end-no-init.igvm")
        .and_then(|image| ends(&image, &[], None, 120, status::GUEST_NOT_STARTED, "its kernel finds no first process"));
    totals += case("a kernel without a first process: the guest has not started", ended);
    let old = Linux { kernel: debian::older_kernel()?, ..no_init };
    let ended = image(&old, "end-old.igvm")
        .and_then(|image| ends(&image, &[], None, 120, status::GUEST_NOT_STARTED, "it asked for termination"));
    totals += case("a kernel that knows no SVSM: the guest has not started", ended);
    let module = fs::read(workspace::target_dir()?.join("guest/modules").join(format!("{}.ko", module::END)))?;
    let system = system.with_files(&[("quoin_end.ko", module)])?;
    totals += typed(&system, ENDED, "end-shell.igvm")?;
    let files = [("kexec", module::program("kexec")?), ("kernel", system.kernel().to_vec())];
    totals += typed(&system.with_files(&files)?, KEXEC, "end-kexec.igvm")?;
    Ok(totals)
}

/// A command line with which the system gives a shell.
pub(super) const SHELL: &str = "console=ttyS1 quiet quoin=shell";

/// A restart by the shell of a system that `options` may have on a disk: of the guest's last line and exit status.
pub(super) fn restarts(image: &Path, options: &[String]) -> Result<()> {
    ends(image, options, Some("reboot -f"), 180, status::GUEST_RESTART, "the guest has asked for a restart")
}

fn typed(system: &System, endings: &[Ending<&str>], name: &str) -> Result<Totals> {
    let image = image(&system.linux(SHELL), name)?;
    let mut totals = Totals::default();
    for &(name, command, limit, status, says) in endings {
        totals += case(&format!("{name} is told"), ends(&image, &[], Some(command), limit, status, says));
    }
    Ok(totals)
}

/// What is no kernel that can be started: its name, the file, what is said of it.
fn refused() -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let whole = tiny(&[0xF4]).kernel;
    let mut of_32_bits = whole.clone();
    of_32_bits[XLOADFLAGS] = 0;
    let cut = whole[..whole.len() - 16].to_vec();
    Ok(vec![
        ("a text", b"no kernel\n".repeat(1000), "is no bzImage"),
        ("an empty file", Vec::new(), "is too short"),
        ("a kernel of 32 bits", of_32_bits, "has no 64-bit entry"),
        ("a kernel that is cut off", cut, "is cut off: it has"),
    ])
}

fn refuses(file: &[u8], says: &str) -> Result<()> {
    let folder = Folder::new()?;
    let kernel = folder.path().join("kernel");
    fs::write(&kernel, file)?;
    let output = Command::new(std::env::current_exe()?).args(["image", "--linux"]).arg(&kernel).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains(says), "{}, expected `{says}`: {said}", output.status);
    Ok(())
}

/// Where a setup header says that there is an entry for 64-bit mode.
const XLOADFLAGS: usize = 0x236;

/// A file in the form of a kernel (Documentation/arch/x86/boot.rst) that lies at 16 MiB, with `code` at its 64-bit
/// entry.
fn tiny(code: &[u8]) -> Linux {
    const SETUP: usize = 512 * 8;
    let mut kernel = vec![0; SETUP + 4096];
    let mut put = |at: usize, bytes: &[u8]| kernel[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1F1, &[7]);
    put(0x1F4, &256_u32.to_le_bytes());
    put(0x202, b"HdrS\x0F\x02");
    put(0x22C, &0x7FFF_FFFF_u32.to_le_bytes());
    put(XLOADFLAGS, &[1]);
    put(0x238, &2047_u32.to_le_bytes());
    put(0x258, &0x100_0000_u64.to_le_bytes());
    put(0x260, &0x10_0000_u32.to_le_bytes());
    put(SETUP + 0x200, code);
    Linux { kernel, initrd: None, command_line: String::from("none"), vcpus: 1, crb: false }
}

fn image(linux: &Linux, name: &str) -> Result<PathBuf> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let image = image::pack(&programs.firmware(), Payload::Guest(&linux.guest()?))?;
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, &image.bytes)?;
    Ok(path)
}

/// Calls the verb as a user does, with `options`, types `command` when the shell asks for one, and looks at what is
/// left.
fn ends(image: &Path, options: &[String], command: Option<&str>, limit: u32, status: u8, says: &str) -> Result<()> {
    let mut verb = Command::new(std::env::current_exe()?);
    verb.args(["guest", "--memory", "512", "--timeout", &limit.to_string()]).args(options).arg(image);
    let mut verb = Watched::start(verb.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let mut input = verb.child().stdin.take().context("no standard input")?;
    let mut output = verb.child().stdout.take().context("no standard output")?;
    let (mut said, mut part, mut command) = (Vec::new(), [0; 4096], command);
    while let Ok(len @ 1..) = output.read(&mut part) {
        // A guest that talks on and on is not kept.
        if said.len() < 1 << 20 {
            said.extend(&part[..len]);
        } else {
            said.splice(1 << 19.., part[..len].iter().copied());
        }
        verb.look()?;
        // Behind its prompt the shell asks the terminal where the cursor is.
        if said.windows(4).rev().take(16).any(|end| end == b"~ # ")
            && let Some(command) = command.take()
        {
            input.write_all(format!("{command}\n").as_bytes())?;
        }
    }
    let ended = verb.ends_within(Duration::from_secs(20))?;
    let text = String::from_utf8_lossy(&said).into_owned();
    fs::write(image.with_extension("log"), &text)?;
    // A long last line is wrapped.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let last = words.get(words.floor_char_boundary(words.len().saturating_sub(600))..).unwrap_or_default();
    ensure!(
        ended.code() == Some(status.into()) && last.contains(says),
        "{ended}, expected {status} and `{says}`: …{last}"
    );
    Ok(())
}
