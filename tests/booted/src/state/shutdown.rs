//! How a VM's end counts for the TPM that is kept: with TPM2_Shutdown, as an operating system sends it, and without
//! (Part 1, 12.2.3, 33.3 and 36.3).

use super::number::{self, checked};
use super::start;
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use client::cc;
use client::codes::{VALUE, param};
use client::command::{command, response_code, with_passwords};
use client::history::startup;
use host::boot::{self, Built};
use host::devices::FileDisk;
use host::psp::Identity;
use host::relay::Relay;
use std::path::{Path, PathBuf};

/// TPM_SU_STATE.
const STATE: [u8; 2] = [0, 1];
/// TPM_SU_CLEAR.
const CLEAR: [u8; 2] = [0, 0];
const PCR: u32 = 10;

/// TPMS_CLOCK_INFO.
#[derive(Debug, Clone, Copy)]
struct Clock {
    clock_ms: u64,
    resets: u32,
    restarts: u32,
    safe: bool,
}

/// One TPM, boot after boot.
pub(super) fn run(built: &Built, folder: &Path) -> Result<Totals> {
    let disk = folder.join("shutdown.disk");
    FileDisk::prepare(&disk)?;
    let scene = Scene { built, disk };
    let mut totals = Totals::default();
    let mut first = None;
    totals += case("the first start of a TPM", scene.begins().map(|clock| first = Some(clock)));
    let first = first.context("there is no TPM")?;
    totals += case("after TPM2_Shutdown: one reset more, and Clock goes on", scene.orderly(first));
    totals += case("without: one reset more, and Clock may have been seen before", scene.sudden());
    totals += case("after TPM2_Shutdown(STATE), TPM2_Startup(CLEAR): a restart", scene.restarts());
    totals += case("after TPM2_Shutdown(STATE), TPM2_Startup(STATE): PCRs are there again", scene.resumes());
    totals += case("without TPM2_Shutdown, TPM2_Startup(STATE): TPM_RC_VALUE", scene.nothing_to_resume());
    Ok(totals)
}

struct Scene<'a> {
    built: &'a Built,
    disk: PathBuf,
}

impl Scene<'_> {
    /// A boot; its end is that QEMU is ended.
    fn boot<T>(&self, work: impl FnOnce(&mut dyn Relay) -> Result<T>) -> Result<T> {
        let mut qemu = start(self.built, Some(&self.disk), &Identity::development())?;
        boot::hear_until_guest(&mut qemu, &self.built.image, |_, _| {})?;
        work(&mut qemu.relay()?)
    }

    fn begins(&self) -> Result<Clock> {
        self.boot(|relay| {
            checked(relay, &startup())?;
            let clock = clock(relay)?;
            ensure!(clock.resets == 1 && clock.restarts == 0 && clock.safe, "{clock:?}");
            checked(relay, &number::define())?;
            shut_down(relay, CLEAR)?;
            Ok(clock)
        })
    }

    fn orderly(&self, first: Clock) -> Result<()> {
        self.boot(|relay| {
            checked(relay, &startup())?;
            let second = clock(relay)?;
            let goes_on = second.resets == first.resets + 1 && second.restarts == 0 && second.safe;
            ensure!(goes_on && second.clock_ms > first.clock_ms, "{first:?}, then {second:?}");
            Ok(())
        })
    }

    /// Clock is that of the last record at least: there was none after the last answered write.
    fn sudden(&self) -> Result<()> {
        let before = self.boot(|relay| {
            checked(relay, &startup())?;
            let before = clock(relay)?;
            checked(relay, &number::write(1))?;
            Ok(before)
        })?;
        self.boot(|relay| {
            checked(relay, &startup())?;
            let after = clock(relay)?;
            let counted = after.resets == before.resets + 1 && after.restarts == 0 && !after.safe;
            ensure!(counted && after.clock_ms >= before.clock_ms, "{before:?}, then {after:?}");
            Ok(())
        })
    }

    fn restarts(&self) -> Result<()> {
        let before = self.boot(|relay| {
            checked(relay, &startup())?;
            let before = clock(relay)?;
            shut_down(relay, STATE)?;
            Ok(before)
        })?;
        self.boot(|relay| {
            checked(relay, &startup())?;
            let after = clock(relay)?;
            let counted = after.resets == before.resets && after.restarts == before.restarts + 1;
            ensure!(counted && after.clock_ms >= before.clock_ms, "{before:?}, then {after:?}");
            Ok(())
        })
    }

    fn resumes(&self) -> Result<()> {
        let (before, pcr) = self.boot(|relay| {
            checked(relay, &startup())?;
            let digest = [&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat();
            checked(relay, &with_passwords(cc::PCR_EXTEND, &[PCR], &[b""], &digest))?;
            let before = (clock(relay)?, pcr(relay)?);
            shut_down(relay, STATE)?;
            Ok(before)
        })?;
        self.boot(|relay| {
            checked(relay, &command(cc::STARTUP, &[], &[], &STATE))?;
            let after = clock(relay)?;
            let counted = after.resets == before.resets && after.restarts == before.restarts + 1;
            ensure!(counted && after.clock_ms >= before.clock_ms, "{before:?}, then {after:?}");
            ensure!(self::pcr(relay)? == pcr, "PCR {PCR} is another");
            Ok(())
        })
    }

    fn nothing_to_resume(&self) -> Result<()> {
        self.boot(|relay| {
            let refused = response_code(&relay.tpm(&command(cc::STARTUP, &[], &[], &STATE))?);
            ensure!(refused == param(1, VALUE), "TPM2_Startup(STATE) is answered by {refused:#x}");
            checked(relay, &startup()).map(drop)
        })
    }
}

fn shut_down(relay: &mut dyn Relay, kind: [u8; 2]) -> Result<()> {
    checked(relay, &command(cc::SHUTDOWN, &[], &[], &kind)).map(drop)
}

fn clock(relay: &mut dyn Relay) -> Result<Clock> {
    let response = checked(relay, &command(cc::READ_CLOCK, &[], &[], &[]))?;
    // Behind Time.
    let octets: [u8; 17] = response.get(18..35).context("a short response")?.try_into()?;
    let word = |at: usize| octets[at..at + 4].iter().fold(0, |value, octet| value << 8 | u32::from(*octet));
    let clock_ms = u64::from(word(0)) << 32 | u64::from(word(4));
    Ok(Clock { clock_ms, resets: word(8), restarts: word(12), safe: octets[16] == 1 })
}

/// The response without pcrUpdateCounter.
fn pcr(relay: &mut dyn Relay) -> Result<Vec<u8>> {
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 0, 1 << (PCR - 8), 0];
    let response = checked(relay, &command(cc::PCR_READ, &[], &[], &selection))?;
    Ok(response.get(14..).context("a short response")?.to_vec())
}
