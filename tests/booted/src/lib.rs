//! Our suites that boot the image in the software SEV-SNP machine, and how they count.
//!
//! | module | is |
//! |---|---|
//! | [`anchors`] | old copies, two copies, and anchors that are away
//! | [`authority`] | certificates under an operator's authority |
//! | [`azure`] | a vTPM as Azure's |
//! | [`boots`] | one boot after the other, of every kind |
//! | [`boot_times`] | how long Linux takes to userland |
//! | [`calls`] | how long calls take the firmware, in instructions |
//! | [`cargo`] | the tests that cargo knows, on the host and in QEMU |
//! | [`deposits`] | a guest that is asked for memory |
//! | [`demo`] | the demo as a user calls it, and one that must fail |
//! | [`ends`] | how a guest ends, by last line and exit status |
//! | [`disk`] | an encrypted disk that a Linux at VMPL2 opens by the TPM |
//! | [`evidence`] | what `xtask verify` accepts, and what it must not |
//! | [`exceptions`] | the firmware under exceptions that the host makes up |
//! | [`firmware`] | what the image is made of |
//! | [`grub`] | OVMF at VMPL2, and GRUB from a disk |
//! | [`holds`] | how long each TPM command takes the firmware, in instructions |
//! | [`hostile`] | a payload at VMPL2 that tries what a hostile guest would |
//! | [`interrupted`] | what is left of `cargo xtask run` that a signal ends |
//! | [`interrupts`] | a host that interrupts, everywhere, a firmware with restricted injection |
//! | [`ima`] | a Linux at VMPL2 that was built with IMA and tpm_svsm |
//! | [`lattices`] | ML-DSA and ML-KEM by the firmware's TPM, through a list of pages |
//! | [`lies`] | the firmware under a host that lies |
//! | [`linux`] | an unmodified Linux at VMPL2, and what its userland finds |
//! | [`many`] | a file for 256 processors |
//! | [`mmio`] | disk and console over MMIO |
//! | [`migration`] | a TPM that moves between two machines |
//! | [`monitored`] | an unmodified Linux at a TPM that a monitor serves |
//! | [`policy`] | a firmware that judges its own platform |
//! | [`processors`] | a Linux at VMPL2 on several processors |
//! | [`reproducible`] | the image from two folders, and the committed launch digest |
//! | [`running`] | a guest of several processors under a host that lies |
//! | [`stack`] | how much of its stack the firmware uses, in the image that is shipped |
//! | [`state`] | a TPM whose state outlives its VM |
//! | [`two`] | two vCPUs of a guest at once |
//! | [`tools`] | Debian's tpm2-tools against the firmware's TPM |
//! | [`window`] | what a host can do at each instruction of a call |
//! | [`vmpl0`] | the machine, judged by what none of us wrote: Linux and OVMF at VMPL0 |

#![forbid(unsafe_code)]

pub mod anchors;
mod answers;
pub mod authority;
pub mod azure;
pub mod boot_times;
pub mod boots;
pub mod calls;
pub mod cargo;
pub mod demo;
pub mod deposits;
pub mod disk;
pub mod ends;
pub mod etcd;
pub mod evidence;
pub mod exceptions;
pub mod firmware;
pub mod grub;
pub mod holds;
pub mod hostile;
pub mod ima;
pub mod interrupted;
pub mod interrupts;
mod later;
pub mod lattices;
pub mod lies;
pub mod linux;
pub mod many;
pub mod migration;
pub mod mmio;
pub mod monitored;
pub mod others;
pub mod ovmf;
pub mod policy;
mod processes;
pub mod processors;
pub mod reproducible;
pub mod running;
pub mod stack;
pub mod state;
pub mod tools;
pub mod two;
pub mod vmpl0;
pub mod window;

use anyhow::{Result, ensure};
use core::ops::AddAssign;
use std::time::Instant;

/// How many cases passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Cases that did what they should.
    pub passed: u32,
    /// Cases that did not.
    pub failed: u32,
}

impl Totals {
    /// One case.
    pub const fn one(passed: bool) -> Self {
        Self { passed: passed as u32, failed: !passed as u32 }
    }

    /// As they are printed.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let (passed, failed) = line.strip_suffix(" failed")?.split_once(" passed, ")?;
        Some(Self { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl core::fmt::Display for Totals {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs a suite under its name and prints its totals; a suite that cannot run, or has no case, is one failed case.
pub fn run(name: &str, suite: impl FnOnce() -> Result<Totals>) -> Totals {
    println!("== {name}");
    let started = Instant::now();
    let some = |totals| {
        ensure!(totals != Totals::default(), "it has run no case");
        Ok(totals)
    };
    let totals = suite().and_then(some).unwrap_or_else(|error| {
        println!("FAIL {name}: {error:#}");
        Totals::one(false)
    });
    println!("== {name}: {totals} ({:.1} s)\n", started.elapsed().as_secs_f64());
    totals
}

/// One case of a suite that is written here: its name, and what is wrong, if something is.
pub fn case(name: &str, outcome: Result<()>) -> Totals {
    match &outcome {
        Ok(()) => println!("ok   {name}"),
        Err(error) => println!("FAIL {name}: {error:#}"),
    }
    Totals::one(outcome.is_ok())
}

#[cfg(test)]
mod tests {
    use super::{Totals, case, run};
    use anyhow::bail;

    #[test]
    fn totals_add_up() {
        let mut totals = Totals { passed: 2, failed: 1 };
        totals += Totals::one(true);
        totals += Totals::one(false);
        assert_eq!(totals.to_string(), "3 passed, 2 failed");
        assert_eq!(Totals::read("3 passed, 2 failed"), Some(totals));
        assert_eq!(Totals::read("3 passed"), None);
    }

    #[test]
    fn a_suite_that_cannot_run_or_runs_nothing_has_failed() {
        assert_eq!(run("none", || bail!("no such suite")), Totals { passed: 0, failed: 1 });
        assert_eq!(run("empty", || Ok(Totals::default())), Totals { passed: 0, failed: 1 });
    }

    #[test]
    fn a_case_is_counted_by_its_outcome() {
        assert_eq!(case("good", Ok(())), Totals { passed: 1, failed: 0 });
        assert_eq!(case("bad", Err(anyhow::anyhow!("wrong"))), Totals { passed: 0, failed: 1 });
    }
}
