//! Two vCPUs of a guest that work at once: one makes a call while the other changes what the call goes by, both use the
//! TPM, pages come and go beside it.

use super::hostile::{alive, count, running};
use super::{Totals, case};
use anyhow::{Context, Result};
use host::boot::{self, Built};
use host::qemu::Qemu;
use host::relay::Relay;

/// Rounds of each attempt in the short form.
const ROUNDS: u32 = 1000;

/// Rounds that the payload makes at a time, before it answers.
const PORTION: u32 = 2000;

const CONFIG: &str = "vmpl-fault=gp\nfault=hv-features:0x23";

/// The short form, with processors that take turns: where they run at once, QEMU's emulated SVM was seen to give VMPL0
/// registers of the machine's own (docs/plan.md).
pub fn run(_: &Built) -> Result<Totals> {
    let built = boot::build_for(2)?;
    attempts(&built, boot::start(&built, CONFIG)?, ROUNDS)
}

/// So many rounds of each attempt, by processors that run at once.
pub fn rounds(rounds: u32) -> Result<Totals> {
    let built = boot::build_for(2)?;
    attempts(&built, boot::start_at_once(&built, CONFIG)?, rounds)
}

fn attempts(built: &Built, mut qemu: Qemu, rounds: u32) -> Result<Totals> {
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut totals = Totals::default();
    let mut left = rounds;
    while left > 0 {
        let now = left.min(PORTION);
        left -= now;
        let text = relay.two_vcpus(now).with_context(|| qemu.last_lines())?;
        totals += count(&text)?;
        text.lines().filter(|line| left == 0 || line.starts_with("FAIL ")).for_each(|line| println!("{line}"));
    }
    totals += case("the firmware is alive after it: TPM and attestation answer", alive(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}
