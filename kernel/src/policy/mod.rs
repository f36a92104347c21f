//! What the firmware demands of its platform before it makes a key or starts a guest: rules of a policy file, packed
//! into a measured setting (docs/boot.md, "The firmware's policy").
//!
//! Pure: what is judged is a report that the secure processor has given, and what the host and the processor say. Each
//! rule has the name that `quoin-verify` has for it, and is judged as it does: the first rule that a report does not
//! meet is the same for both.
//!
//! | module | is |
//! |---|---|
//! | `rules` | the rules, and how they are packed |
//! | `judge` | what each demands |
//! | `steady` | what no later report of a boot may say otherwise |

mod judge;
mod rules;
mod steady;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use heapless::String;
use sha2::{Digest, Sha512};
use snp::report::Report;

pub use rules::{Policy, PolicyError};
pub use steady::Steady;

/// What REPORT_DATA of the firmware's own report is the SHA-512 of. It is longer than a nonce, what stands behind a
/// nonce's length begins no manifest, and [`crate::identity::STATEMENT`] begins otherwise: nobody else's report is one
/// of these, and none of these is somebody else's.
pub const STATEMENT: &[u8; 96] =
    b"Quoin firmware: a report of its own, by which it judges the platform that it is on, version 1.\n\n";

/// REPORT_DATA of the firmware's own report.
#[must_use]
pub fn report_data() -> [u8; 64] {
    Sha512::digest(STATEMENT).into()
}

/// What is judged.
#[derive(Clone, Copy)]
pub struct Platform<'a> {
    /// A report of VMPL0 over [`report_data`].
    pub report: &'a Report,
    /// Family, model and stepping as CPUID leaf 1 has them, by the secrets page: reports of version 2 have none.
    pub fms: u32,
    /// What the host says of itself (GHCB specification, hypervisor features).
    pub hypervisor_features: u64,
    /// SEV_FEATURES, by SEV_STATUS.
    pub sev_features: u64,
}

/// What becomes of a boot on a platform that does not meet a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It ends.
    Refuse,
    /// It goes on, and says so wherever it is attested.
    NameIt,
}

/// A rule that the platform does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The rule, as the policy file has it.
    pub rule: String<40>,
    /// What was found.
    pub found: String<80>,
    /// What becomes of the boot.
    pub otherwise: Otherwise,
}

impl Unmet {
    fn new(otherwise: Otherwise, rule: fmt::Arguments<'_>, found: fmt::Arguments<'_>) -> Unmet {
        let mut unmet = Unmet { rule: String::new(), found: String::new(), otherwise };
        // What is too long is cut off at the first part that does not fit.
        let _ = fmt::write(&mut unmet.rule, rule);
        let _ = fmt::write(&mut unmet.found, found);
        unmet
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.rule, self.found)
    }
}

/// What is attested of the rules that are not met and did not end the boot: u32 number, and for each u16 octets of its
/// name, the name, u16 octets of what was found, and that; little-endian, in UTF-8.
#[must_use]
pub fn manifest(weaknesses: &[Unmet]) -> Vec<u8> {
    let mut manifest = u32::try_from(weaknesses.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for text in weaknesses.iter().flat_map(|unmet| [unmet.rule.as_str(), unmet.found.as_str()]) {
        manifest.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        manifest.extend(text.as_bytes());
    }
    manifest
}
