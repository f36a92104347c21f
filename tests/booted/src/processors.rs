//! Debian's kernel at VMPL2 on several processors: each uses the TPM and gets reports, one goes and comes back.

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
pub fn ovmf() -> Result<Totals> {
    let (system, tools) = (system()?, Tools::fetch()?);
    let image = uki::make(tools.ukify(), &tools.stub(), &system.linux(&command_line(2)))?;
    let disk = ovmf::disk(&[(uki::DEFAULT_PROGRAM, &image)], "ovmf-2.disk")?;
    let built = ovmf::built_for(2, &Ovmf::fetch()?.code()?, "ovmf-2.igvm")?;
    let (challenger, outcome) = ovmf::boot(&built, &disk)?;
    Ok(judge(&challenger, &outcome))
}

fn on(processors: u16) -> Result<Totals> {
    let (challenger, outcome) = boot(&build(processors)?)?;
    Ok(judge(&challenger, &outcome))
}

fn judge(challenger: &Challenger, outcome: &Outcome) -> Totals {
    let mut totals = case("userland is reached", reached(challenger, outcome));
    for (name, why) in &challenger.checks {
        totals +=
            case(&format!("in the guest: {name}"), why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}"))));
    }
    totals += case("the guest has made all its checks", all_made(challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(outcome));
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
