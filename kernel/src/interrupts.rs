//! How the host can interrupt the firmware: by whatever it likes, or by #HV alone. VMPL0's SEV_FEATURES say so, which are
//! measured; what is so is attested (docs/boot.md, "Interrupts").

use core::fmt;

use snp::ghcb::msr::feature;
use snp::vmsa::features;

/// Bytes of the service's manifest.
pub const MANIFEST_SIZE: usize = 8;

/// The host does not offer what the image asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOffered;

snp::error_words! { NotOffered {
    Self => "SEV_FEATURES have restricted injection, which the host does not offer",
} }

/// The mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// Whatever the host likes; each event ends the firmware.
    Any,
    /// #HV alone.
    Restricted,
}

impl Interrupts {
    /// The mode that VMPL0's SEV_FEATURES name, on a host with these features of the GHCB.
    pub const fn choose(sev_features: u64, host: u64) -> Result<Self, NotOffered> {
        let offered = host & feature::RESTRICTED_INJECTION != 0;
        match (sev_features & features::RESTRICTED_INJECTION != 0, offered) {
            (false, _) => Ok(Self::Any),
            (true, true) => Ok(Self::Restricted),
            (true, false) => Err(NotOffered),
        }
    }

    /// What is attested of it: two words, little-endian; of VMPL0 (0: any event, 1: restricted injection), and of the
    /// guest (0: the host interrupts it).
    #[must_use]
    pub const fn manifest(self) -> [u8; MANIFEST_SIZE] {
        [self as u8, 0, 0, 0, 0, 0, 0, 0]
    }
}

impl fmt::Display for Interrupts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Any => "VMPL0: any of the host's, which end it; VMPL2: the host's",
            Self::Restricted => "VMPL0: restricted to #HV; VMPL2: the host's",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    const SNP: u64 = features::SNP;
    const RESTRICTED: u64 = SNP | features::RESTRICTED_INJECTION;

    #[test]
    fn sev_features_choose_and_a_host_without_the_feature_is_refused() {
        for others in [0, 0b11, 0b10_0011, !feature::RESTRICTED_INJECTION] {
            let offers = others | feature::RESTRICTED_INJECTION;
            assert_eq!(Interrupts::choose(SNP, others), Ok(Interrupts::Any));
            assert_eq!(Interrupts::choose(SNP, offers), Ok(Interrupts::Any));
            assert_eq!(Interrupts::choose(RESTRICTED, offers), Ok(Interrupts::Restricted));
            assert_eq!(Interrupts::choose(RESTRICTED, others), Err(NotOffered));
        }
    }

    #[test]
    fn manifest_and_line_say_which_it_is() {
        assert_eq!(Interrupts::Any.manifest(), [0; 8]);
        assert_eq!(Interrupts::Restricted.manifest(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert!(Interrupts::Restricted.to_string().contains("VMPL0: restricted"));
        assert!(!Interrupts::Any.to_string().contains("restricted"));
    }
}
