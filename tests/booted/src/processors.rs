//! Debian's kernel at VMPL2 on several processors: each uses the TPM and gets reports, one goes and comes back.

use super::linux::{all_made, boot, powered_off, reached};
use super::{Totals, case};
use anyhow::Result;
use fs_err as fs;
use host::boot::Built;
use host::guest::System;
use host::image::{self, Payload};
use host::{build, workspace};
use quoin_image::linux::Linux;

/// What `init` and its part `processors` check.
const CHECKS: usize = 9 + 6;

/// With two processors.
pub fn two() -> Result<Totals> {
    on(2)
}

/// With four.
pub fn four() -> Result<Totals> {
    on(4)
}

fn on(processors: u8) -> Result<Totals> {
    let built = build(processors)?;
    let (challenger, outcome) = boot(&built)?;
    let mut totals = case("userland is reached", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(&challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    Ok(totals)
}

/// Debian's kernel on so many processors.
pub(super) fn build(processors: u8) -> Result<Built> {
    let script = fs::read(workspace::root()?.join("tests/guest/linux/processors"))?;
    let system = System::prepare()?.with_files(&[("processors", script)])?;
    let command_line = format!("console=ttyS1 quiet quoin=processors quoin.processors={processors}");
    let linux = Linux { vcpus: processors, ..system.linux(&command_line) };
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let image = image::pack(&programs.firmware(), Payload::Guest(&linux.guest()?))?;
    let path = workspace::target_dir()?.join(format!("guest/linux-{processors}.igvm"));
    fs::write(&path, &image.bytes)?;
    Ok(Built { machine: programs.machine(), image, path })
}
