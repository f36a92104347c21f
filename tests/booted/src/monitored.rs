//! Debian's kernel, unmodified, at a TPM that a monitor serves: its own driver of the CRB finds `tpm-crb` by ACPI.
//!
//! Each access of the driver's is #VC, an MMIO event of the GHCB, and a message to the monitor (tests/embedders,
//! `monitor`), which has the device and the engine. Such a TPM is the host's: no confidential guest trusts it.

use super::vmpl0::{CONFIG, LINUX_TIME, RAM, boot, built, powered_off, reached};
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use host::guest::System;
use host::guest::challenger::Challenger;
use host::qemu::Folder;
use host::{build, child};
use quoin_image::alone;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

/// The first port of the UART by which the machine reaches the monitor: one that no guest looks for.
const PORT: u16 = 0x1D0;
/// What is typed at the shell, a line at each prompt: what the driver is, what it does, the end.
const TYPED: [&str; 4] = [
    "D=/sys/class/tpm/tpm0; { readlink $D/device/driver; cat $D/tpm_version_major; dmesg | grep -i -e tpm -e crb; } >driver 2>&1; echo; echo @file driver; base64 driver; echo @end",
    "{ tpm2 pcrread sha256:16 -o before && tpm2 pcrextend 16:sha256=0707070707070707070707070707070707070707070707070707070707070707 && tpm2 pcrread sha256:16 -o after && tpm2 createprimary -C o -G rsa -c key && tpm2 getcap properties-fixed; } >said 2>&1",
    "for f in before after said; do echo; echo @file $f; base64 $f; echo @end; done",
    "poweroff -f",
];

/// One boot.
pub fn run() -> Result<Totals> {
    let mut linux = System::prepare()?.linux("console=ttyS1 quiet quoin=shell");
    linux.crb = true;
    let guest = linux.guest_of_32_bits()?;
    let built = built(alone::image(&guest, &alone::memory_map(&guest, &RAM))?, "linux-crb.igvm")?;
    let folder = Folder::new()?;
    let socket = folder.path().join("crb");
    let monitor = Monitor::start(&socket)?;
    let options = [
        "-chardev",
        &format!("socket,id=crb,path={}", socket.display()),
        "-device",
        &format!("isa-serial,chardev=crb,iobase={PORT:#x},irq=5"),
    ]
    .map(String::from);
    let (challenger, outcome) = boot(&built, &format!("{CONFIG}\ncrb={PORT}"), &options, &TYPED, LINUX_TIME)?;
    let mut totals = case("userland is reached", reached(&challenger, &outcome));
    totals += case("tpm_crb has found the device by ACPI, and a TPM 2.0 there", finds_the_device(&challenger));
    totals += case("PCR 16 is read, extended, and read again", extends(&challenger));
    totals += case("an RSA key is made, and properties are told", makes_a_key(&challenger));
    totals += case("the guest powers off", powered_off(&outcome));
    totals += case("the monitor has served every access, and ends with the machine", monitor.has_served());
    Ok(totals)
}

/// The program that serves the device.
struct Monitor(Child, BufReader<ChildStdout>);

impl Monitor {
    fn start(socket: &Path) -> Result<Self> {
        let mut child = child::command(build::monitor()?).arg(socket).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        ensure!(line == "listening\n", "the monitor says {line:?}");
        Ok(Self(child, said))
    }

    /// By the registers alone: more reads than writes to START, each of which is a command.
    fn has_served(mut self) -> Result<()> {
        let status = self.0.wait()?;
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        println!("the monitor: {}", line.trim());
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [reads, writes, commands] = numbers[..] else { anyhow::bail!("the monitor ended with {status}: {line:?}") };
        ensure!(status.success() && commands >= 10 && reads > commands && writes > commands, "{line}");
        Ok(())
    }
}

fn text(challenger: &Challenger, file: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&challenger.file(file)?).into_owned())
}

fn finds_the_device(challenger: &Challenger) -> Result<()> {
    let said = text(challenger, "driver")?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.first().is_some_and(|driver| driver.contains("/tpm_crb")) && lines.get(1) == Some(&"2"), "{said}");
    Ok(())
}

fn extends(challenger: &Challenger) -> Result<()> {
    let (before, after) = (challenger.file("before")?, challenger.file("after")?);
    let wanted = Sha256::digest([[0; 32], [7; 32]].concat());
    ensure!(before == [0; 32] && after == wanted[..], "{before:x?}, {after:x?}: {}", text(challenger, "said")?);
    Ok(())
}

fn makes_a_key(challenger: &Challenger) -> Result<()> {
    let said = text(challenger, "said")?;
    for word in ["value: rsa", "TPM2_PT_MANUFACTURER", "TPM2_PT_MAX_COMMAND_SIZE"] {
        ensure!(said.contains(word), "no `{word}`: {said}");
    }
    Ok(())
}
