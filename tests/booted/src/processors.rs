//! Debian's kernel at VMPL2 on several processors: each uses the TPM and gets reports, one goes and comes back.

use super::ends::{SHELL, restarts};
use super::linux::{all_made, boot, powered_off, reached};
use super::{Totals, case, ovmf};
use anyhow::Result;
use fs_err as fs;
use host::boot::Built;
use host::guest::challenger::Challenger;
use host::guest::ovmf::Ovmf;
use host::guest::tools::Tools;
use host::guest::{Outcome, System};
use host::{uki, workspace};

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

/// With two, by way of OVMF, which starts them itself first.
pub fn ovmf_two() -> Result<Totals> {
    by_ovmf(2)
}

/// With four, by way of OVMF.
pub fn ovmf_four() -> Result<Totals> {
    by_ovmf(4)
}

fn on(processors: u16) -> Result<Totals> {
    let system = system()?;
    let (challenger, outcome) = boot(&build(processors)?)?;
    let shell = system.build_for(processors, SHELL, &format!("restart-{processors}.igvm"))?;
    Ok(judge(&challenger, &outcome, restarts(&shell.path, &[])))
}

fn by_ovmf(processors: u16) -> Result<Totals> {
    let (system, tools) = (system()?, Tools::fetch()?);
    let disk = |command_line: &str, name: &str| {
        let image = uki::make(tools.ukify(), &tools.stub(), &system.linux(command_line))?;
        ovmf::disk(&[(uki::DEFAULT_PROGRAM, &image)], name)
    };
    let built = ovmf::built_for(processors, &Ovmf::fetch()?.code()?, &format!("ovmf-{processors}.igvm"))?;
    let (challenger, outcome) = ovmf::boot(&built, &disk(&command_line(processors), "ovmf-processors.disk")?)?;
    let restarted = disk(SHELL, "ovmf-restart.disk").and_then(|disk| {
        let options = [String::from("--disk"), disk.display().to_string()];
        restarts(&built.path, &options)
    });
    Ok(judge(&challenger, &outcome, restarted))
}

/// What one boot has shown, and whether another one that restarted was told so.
fn judge(challenger: &Challenger, outcome: &Outcome, restarted: Result<()>) -> Totals {
    let mut totals = case("userland is reached", reached(challenger, outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(outcome));
    totals += case("a restart of as many processors is told", restarted);
    totals
}

fn system() -> Result<System> {
    let script = fs::read(workspace::root()?.join("tests/guest/linux/processors"))?;
    System::prepare()?.with_files(&[("processors", script)])
}

fn command_line(processors: u16) -> String {
    format!("console=ttyS1 quiet quoin=processors quoin.processors={processors}")
}

/// Debian's kernel on so many processors.
pub(super) fn build(processors: u16) -> Result<Built> {
    system()?.build_for(processors, &command_line(processors), &format!("linux-{processors}.igvm"))
}
