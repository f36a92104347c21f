//! The hostile guest: tests/guest's self-test, in a machine that gives #GP for an access that the RMP forbids.

use super::{Totals, case};
use anyhow::{Context, Result, bail, ensure};
use host::boot::{self, Built};
use host::qemu::Qemu;
use host::relay::{AttestCall, Relay, result_name};

/// Boots, lets the payload try, and counts its lines.
pub fn run(built: &Built) -> Result<Totals> {
    let mut qemu = boot::start(built, "vmpl-fault=gp\nsteal=1\nown=1")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let text = relay.selftest().with_context(|| qemu.last_lines())?;
    let mut totals = count(&text)?;
    for line in text.lines().filter(|line| line.starts_with("FAIL ")) {
        println!("{line}");
    }
    totals += case("the firmware is alive after it: TPM and attestation answer", alive(&mut relay));
    let text = relay.last_selftest().with_context(|| qemu.last_lines())?;
    text.lines().filter(|line| line.starts_with("FAIL ")).for_each(|line| println!("{line}"));
    totals += count(&text)?;
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

/// The same by an image that is not ours and has our services: tests/paravisor.
pub fn paravisor(_: &Built) -> Result<Totals> {
    run(&boot::build_paravisor()?)
}

/// The relay's answers come from VMPL2: it goes on without the firmware's services.
pub(super) fn running(qemu: &mut Qemu) -> Result<()> {
    let said = qemu.last_lines();
    ensure!(!said.contains("quoin: fatal") && !qemu.has_ended()?, "the firmware has ended:\n{said}");
    Ok(())
}

pub(super) fn alive(relay: &mut dyn Relay) -> Result<()> {
    // TPM2_GetTestResult.
    let response = relay.tpm(&[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x7C])?;
    ensure!(response.len() >= 10, "the TPM has answered {response:?}");
    let attested = relay.attest(AttestCall::Services, 0, &[7; 64])?;
    ensure!(attested.rax == 0, "SVSM_ATTEST_SERVICES: {}", result_name(attested.rax));
    Ok(())
}

/// Counts the lines, and compares with the total that the payload states: a text that was cut must not pass.
pub(super) fn count(text: &str) -> Result<Totals> {
    let mut totals = Totals::default();
    let (lines, last) = text.trim_end().rsplit_once('\n').context("the self-test has reported nothing")?;
    for line in lines.lines() {
        match line.split_once(' ') {
            Some(("ok", _)) => totals.passed += 1,
            Some(("FAIL", _)) => totals.failed += 1,
            _ => bail!("the self-test has reported `{line}`"),
        }
    }
    ensure!(last == totals.to_string(), "the self-test states `{last}`, but has reported {totals}");
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::{Totals, count};

    #[test]
    fn lines_are_counted() {
        assert_eq!(
            count("ok a: x\nFAIL b: y\nok c: z\n2 passed, 1 failed\n").unwrap(),
            Totals { passed: 2, failed: 1 }
        );
    }

    #[test]
    fn a_text_that_was_cut_is_an_error() {
        for text in ["", "ok a: x\n", "ok a: x\nok b: y\n1 passed, 0 failed\n", "gibberish\n1 passed, 0 failed\n"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
