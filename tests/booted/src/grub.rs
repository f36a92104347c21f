//! Debian's OVMF and Debian's signed GRUB at VMPL2, both unmodified: GRUB measures its commands, the kernel's command
//! line and the files that it reads.

use super::evidence::verb_with;
use super::ovmf::{all_made, boot, built, disk, powered_off, reached, replayed};
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use host::guest::System;
use host::guest::challenger::Challenger;
use host::guest::ovmf::Ovmf;
use host::guest::tools::Tools;
use host::uki;
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::BootLog;
use quoin_verify::evidence::wire::alg;
use sha2::{Digest, Sha256};

/// What `init` is told: to try everything.
const COMMAND_LINE: &str = "console=ttyS1 quiet quoin=check";
const CONFIG: &str = "EFI/debian/grub.cfg";
/// GRUB's PCRs: commands and command lines, files. Both are events of type EV_IPL.
const COMMANDS: u32 = 8;
const FILES: u32 = 9;
const EV_IPL: u32 = 13;

/// One boot with all checks.
pub fn run() -> Result<Totals> {
    let (system, ovmf, tools) = (System::prepare()?, Ovmf::fetch()?, Tools::fetch()?);
    println!("kernel {}", system.release);
    let linux = system.linux(COMMAND_LINE);
    let initrd = linux.initrd.as_deref().context("no initial file system")?;
    let config = format!("linux /vmlinuz {COMMAND_LINE}\ninitrd /initrd\nboot\n");
    let files = [("vmlinuz", linux.kernel.as_slice()), ("initrd", initrd), (CONFIG, config.as_bytes())];
    let disk = disk(&[&[(uki::DEFAULT_PROGRAM, tools.grub()?.as_slice())][..], &files].concat(), "grub.disk")?;
    let built = built(&ovmf.code()?, "grub.igvm")?;
    let (challenger, outcome) = boot(&built, &disk)?;
    let mut totals = case("OVMF starts GRUB, and GRUB the kernel: userland is reached", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger));
    totals +=
        case("PCR 8: GRUB's commands and the kernel's command line are in the log", commands(&challenger, &config));
    totals += case(
        "PCR 9: configuration, kernel and initrd are in the log, with their digests",
        contents(&challenger, &files),
    );
    totals += case("our log and OVMF's lead to the PCRs that were quoted", replayed(&challenger));
    let evidence = challenger.evidence(&built.image.launch.digest);
    let command_line = format!("command line `/vmlinuz {COMMAND_LINE}`");
    let verified =
        evidence.and_then(|evidence| verb_with(&built, &evidence, 0, &["verified: 20 steps ok", &command_line]));
    totals += case("`xtask verify` accepts its evidence, PCR 8 and 9 included, and tells the command line", verified);
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    Ok(totals)
}

/// Data and SHA-256 digest of GRUB's events in a PCR.
fn events(challenger: &Challenger, pcr: u32) -> Result<Vec<(String, Vec<u8>)>> {
    let log = BootLog::parse(&challenger.file("boot-events.bin")?)?;
    let ours = log.events.into_iter().filter(|event| event.pcr == pcr && event.kind == EV_IPL);
    ours.map(|event| {
        let text = String::from_utf8_lossy(event.data.strip_suffix(b"\0").unwrap_or(&event.data)).into_owned();
        Ok((text, event.digests.get(&alg::SHA256).context("no SHA-256 digest")?.clone()))
    })
    .collect()
}

/// Every line of the configuration is an event, in order.
fn commands(challenger: &Challenger, config: &str) -> Result<()> {
    let found = events(challenger, COMMANDS)?;
    let mut wanted: Vec<String> = config.lines().map(|line| format!("grub_cmd: {line}")).collect();
    wanted.insert(1, format!("kernel_cmdline: /vmlinuz {COMMAND_LINE}"));
    let mut next = found.iter();
    for text in &wanted {
        let (_, digest) = next.find(|(found, _)| found == text).with_context(|| format!("no `{text}` in {found:?}"))?;
        let measured = text.split_once(": ").map_or("", |(_, measured)| measured);
        ensure!(*digest == Sha256::digest(measured).to_vec(), "`{text}` has the digest {}", hex(digest));
    }
    Ok(())
}

/// Each file is an event with its name and its digest.
fn contents(challenger: &Challenger, files: &[(&str, &[u8])]) -> Result<()> {
    let found = events(challenger, FILES)?;
    for (name, contents) in files {
        let named: Vec<_> = found.iter().filter(|(text, _)| text.ends_with(name)).collect();
        ensure!(
            !named.is_empty(),
            "no event of {name} in {:?}",
            found.iter().map(|(text, _)| text).collect::<Vec<_>>()
        );
        let digest = Sha256::digest(contents).to_vec();
        ensure!(named.iter().all(|(_, found)| *found == digest), "{name} was measured as {named:?}");
    }
    Ok(())
}
