//! The machine, judged by guests that none of us wrote: Debian's kernel and OVMF at VMPL0, without our firmware, as on
//! a host that has no SVSM.
//!
//! They validate pages, speak the GHCB protocol and the secure processor's messages by themselves, and end with what
//! they do not like. Where the packages cannot be had the suite fails and says what is missing.

use super::ovmf::{NOTHING, unified_disk};
use super::{Totals, case};
use anyhow::{Result, ensure};
use fs_err as fs;
use host::boot::{self, Built};
use host::guest::challenger::Challenger;
use host::guest::ovmf::Ovmf;
use host::guest::{self, Outcome, System};
use host::image::Image;
use host::psp::Identity;
use host::{build, workspace};
use quoin_image::{alone, ovmf};
use sev::certs::snp::{Certificate, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use std::io::Write;

/// What an operating system wants of the machine: see [`guest`].
pub(super) const CONFIG: &str = "cpuid=image\nlegacy=ram";
/// MiB of the machine; RAM of the Linux that is started directly, all of it validated at the launch.
const MEMORY: u32 = 512;
pub(super) const RAM: [core::ops::Range<u64>; 2] = [0..0xA_0000, 0x10_0000..0x1000_0000];
/// Seconds.
pub(super) const LINUX_TIME: u64 = 300;
const OVMF_TIME: u64 = 600;
/// The nonce of the report, as the shell makes it.
const NONCE: &[u8; 64] = b"0000000000000000000000000000000000000000000000000000000000000007";
/// What is typed at the shell, a line at each prompt.
const TYPED: [&str; 3] = [
    "R=/sys/kernel/config/tsm/report/own; mkdir $R && echo 0 >$R/privlevel && printf %064d 7 >$R/inblob && base64 $R/outblob >report",
    "echo; echo @file report.bin; cat report; echo @end; echo @file dmesg; dmesg | grep -iE 'sev|snp' | base64; echo @end",
    "poweroff -f",
];

/// Four boots.
pub fn run() -> Result<Totals> {
    let system = System::prepare()?;
    println!("kernel {}", system.release);
    let mut totals = linux(&system)?;
    totals += linux_on(&system, 2)?;
    totals += linux_on(&system, 4)?;
    let disk = unified_disk(&system, NOTHING, "ovmf-vmpl0.disk")?;
    let guest = ovmf::guest(&Ovmf::fetch()?.code()?)?;
    let built = built(alone::image(&guest, &[])?, "ovmf-vmpl0.igvm")?;
    let (challenger, outcome) = boot(&built, CONFIG, &guest::disk(&disk), &[], OVMF_TIME)?;
    totals += case("OVMF at VMPL0 starts the kernel from a disk, userland is reached", reached(&challenger, &outcome));
    totals += case("OVMF at VMPL0: the guest powers off", powered_off(&outcome));
    Ok(totals)
}

fn linux(system: &System) -> Result<Totals> {
    let guest = system.linux("console=ttyS1 quiet quoin=shell").guest_of_32_bits()?;
    let built = built(alone::image(&guest, &alone::memory_map(&guest, &RAM))?, "linux-vmpl0.igvm")?;
    let (challenger, outcome) = boot(&built, CONFIG, &[], &TYPED, LINUX_TIME)?;
    let mut totals = case("Linux at VMPL0 reaches userland", reached(&challenger, &outcome));
    totals += case("Linux finds SEV-SNP, and itself at VMPL0", finds_snp(&challenger));
    totals += case("its report shows VMPL0, its nonce, this launch, signed by the VCEK", reported(&challenger, &built));
    totals += case("Linux at VMPL0: the guest powers off", powered_off(&outcome));
    Ok(totals)
}

/// As an SNP guest without SVSM does it: the kernel makes register states, and AP creation starts them.
fn linux_on(system: &System, processors: u16) -> Result<Totals> {
    const CPUS: [&str; 2] = ["echo; echo @file cpus; base64 /sys/devices/system/cpu/online; echo @end", "poweroff -f"];
    let mut linux = system.linux("console=ttyS1 quiet quoin=shell");
    linux.vcpus = processors;
    let guest = linux.guest_of_32_bits()?;
    let image = alone::image(&guest, &alone::memory_map(&guest, &RAM))?;
    let built = built(image, &format!("linux-vmpl0-{processors}.igvm"))?;
    let (challenger, outcome) = boot(&built, CONFIG, &[], &CPUS, LINUX_TIME)?;
    let named = |what: &str| format!("Linux at VMPL0 with {processors} processors {what}");
    let mut totals = case(&named("reaches userland"), reached(&challenger, &outcome));
    totals += case(&named("runs on all"), runs_on(&challenger, processors));
    totals += case(&named("powers off"), powered_off(&outcome));
    Ok(totals)
}

fn runs_on(challenger: &Challenger, processors: u16) -> Result<()> {
    let online = challenger.file("cpus")?;
    ensure!(online == format!("0-{}\n", processors - 1).as_bytes(), "online: {}", String::from_utf8_lossy(&online));
    Ok(())
}

pub(super) fn built(bytes: Vec<u8>, name: &str) -> Result<Built> {
    let path = workspace::target_dir()?.join("guest").join(name);
    fs::write(&path, &bytes)?;
    Ok(Built { machine: build::build(build::IMAGE_AND_MACHINE)?.machine(), image: Image::new(bytes)?, path })
}

/// Boots, and types a line at each prompt of the shell.
pub(super) fn boot(
    built: &Built,
    config: &str,
    options: &[String],
    typed: &[&str],
    limit: u64,
) -> Result<(Challenger, Outcome)> {
    let mut challenger = Challenger::new()?;
    let mut typed = typed.iter();
    let mut last: Vec<u8> = Vec::new();
    let qemu = boot::start_with(built, config, MEMORY, options)?;
    let outcome = guest::until_the_end(qemu, 0, limit, |bytes, serial| {
        serial.write_all(&challenger.take(bytes)?)?;
        last.extend(bytes);
        if let Some(prompt) = last.windows(4).position(|end| end == b"~ # ")
            && let Some(line) = typed.next()
        {
            last.drain(..prompt + 4);
            serial.write_all(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    })?;
    fs::write(built.path.with_extension("log"), &challenger.transcript)?;
    println!("{:.1} s from QEMU's start to {outcome}", outcome.elapsed.as_secs_f64());
    outcome.last_lines.lines().filter(|line| line.contains(" exits, ")).for_each(|line| println!("{line}"));
    Ok((challenger, outcome))
}

pub(super) fn reached(challenger: &Challenger, outcome: &Outcome) -> Result<()> {
    ensure!(challenger.userland.is_some(), "no word of the guest's init; {outcome}\n{}", challenger.transcript);
    Ok(())
}

pub(super) fn powered_off(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.is_power_off(), "{outcome}");
    Ok(())
}

fn finds_snp(challenger: &Challenger) -> Result<()> {
    let log = String::from_utf8_lossy(&challenger.file("dmesg")?).into_owned();
    for said in ["AMD SEV SEV-ES SEV-SNP", "SNP running at VMPL0"] {
        ensure!(log.contains(said), "the kernel does not say `{said}`:\n{log}");
    }
    Ok(())
}

fn reported(challenger: &Challenger, built: &Built) -> Result<()> {
    let report = AttestationReport::from_bytes(challenger.file("report.bin")?.as_slice())?;
    ensure!(report.vmpl == 0, "a report of VMPL{}", report.vmpl);
    ensure!(report.report_data[..] == NONCE[..], "REPORT_DATA is {:x?}", report.report_data);
    ensure!(report.measurement[..] == built.image.launch.digest[..], "another launch: {:x?}", report.measurement);
    (&Certificate::from_der(&Identity::development().vcek)?, &report).verify()?;
    Ok(())
}
