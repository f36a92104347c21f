//! How the host can interrupt the firmware: by whatever it likes, or by #HV alone. VMPL0's SEV_FEATURES say so, which
//! are measured; what is so is attested (docs/boot.md, "Interrupts").

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
    /// #HV alone, and the guest by its emulated APIC: alternate injection.
    Alternate,
}

impl Interrupts {
    /// The mode that VMPL0's SEV_FEATURES name, on a host with these features of the GHCB. `alternate`: the guest is to
    /// have alternate injection, where the host offers that and VMPL0 has restricted injection.
    pub const fn choose(sev_features: u64, host: u64, alternate: bool) -> Result<Self, NotOffered> {
        let offered = host & feature::RESTRICTED_INJECTION != 0;
        match (sev_features & features::RESTRICTED_INJECTION != 0, offered) {
            (false, _) => Ok(Self::Any),
            (true, true) if alternate && host & feature::EXTENDED_INTERRUPTS != 0 => Ok(Self::Alternate),
            (true, true) => Ok(Self::Restricted),
            (true, false) => Err(NotOffered),
        }
    }

    /// What is attested of it: two words, little-endian; of VMPL0 (0: any event, 1: restricted injection), and of the
    /// guest (0: the host interrupts it, 1: alternate injection).
    #[must_use]
    pub const fn manifest(self) -> [u8; MANIFEST_SIZE] {
        let (firmware, guest) = match self {
            Self::Any => (0, 0),
            Self::Restricted => (1, 0),
            Self::Alternate => (1, 1),
        };
        [firmware, 0, 0, 0, guest, 0, 0, 0]
    }

    /// SEV_FEATURES of the guest that it adds.
    #[must_use]
    pub const fn of_guest(self) -> u64 {
        match self {
            Self::Any | Self::Restricted => 0,
            Self::Alternate => features::ALTERNATE_INJECTION,
        }
    }
}

impl fmt::Display for Interrupts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Any => "VMPL0: any of the host's, which end it; VMPL2: the host's",
            Self::Restricted => "VMPL0: restricted to #HV; VMPL2: the host's",
            Self::Alternate => "VMPL0: restricted to #HV; VMPL2: by an emulated APIC",
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
            for alternate in [false, true] {
                assert_eq!(Interrupts::choose(SNP, others, alternate), Ok(Interrupts::Any));
                assert_eq!(Interrupts::choose(SNP, offers, alternate), Ok(Interrupts::Any));
                assert_eq!(Interrupts::choose(RESTRICTED, others, alternate), Err(NotOffered));
            }
            assert_eq!(Interrupts::choose(RESTRICTED, offers, false), Ok(Interrupts::Restricted));
            let extended = offers | feature::EXTENDED_INTERRUPTS;
            assert_eq!(Interrupts::choose(RESTRICTED, extended, true), Ok(Interrupts::Alternate));
            let plain = offers & !feature::EXTENDED_INTERRUPTS;
            assert_eq!(Interrupts::choose(RESTRICTED, plain, true), Ok(Interrupts::Restricted));
        }
    }

    #[test]
    fn manifest_and_line_say_which_it_is() {
        assert_eq!(Interrupts::Any.manifest(), [0; 8]);
        assert_eq!(Interrupts::Restricted.manifest(), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Interrupts::Alternate.manifest(), [1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(
            [Interrupts::Any, Interrupts::Restricted, Interrupts::Alternate].map(Interrupts::of_guest),
            [0, 0, 16]
        );
        assert!(Interrupts::Restricted.to_string().contains("VMPL0: restricted"));
        assert!(!Interrupts::Any.to_string().contains("restricted"));
    }
}
