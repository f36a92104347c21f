//! The setting of what is kept on a disk, as the packer writes it (docs/boot.md, "Settings": kind 3).

/// Whether there is to be a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Without one the TPM is a new one, and is kept nowhere.
    Allowed,
    /// Without one the boot ends.
    Required,
}

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A PCI function of bus 0: device and function.
    Pci(u8, u8),
    /// Registers at this GPA.
    Mmio(u64),
}

/// The setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether there is to be a disk, and where. `None`: nothing is kept.
    pub disk: Option<(Wanted, Place)>,
    /// Where the console to programs at the host is, if there is one. It is found as the disk is: by PCI or MMIO.
    pub console: Option<Place>,
    /// Anchors give a share.
    pub share: bool,
    /// x ‖ y of the operator's recovery key, if there is one.
    pub recovery: Option<[u8; 96]>,
    /// What anchors need.
    pub anchors: Vec<u8>,
}

impl State {
    /// The setting's octets.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let roots = 1 | u32::from(self.share) << 1 | u32::from(self.recovery.is_some()) << 2;
        let (wanted, disk) = self.disk.map_or((0, None), |(wanted, disk)| (wanted as u8 + 1, Some(disk)));
        let by_mmio = [disk, self.console].iter().flatten().any(|place| matches!(place, Place::Mmio(_)));
        let mut octets = vec![wanted, by_mmio.into(), 0, 0];
        octets.extend(roots.to_le_bytes());
        for place in [disk, self.console] {
            octets.extend(place.map_or(u64::MAX, Place::number).to_le_bytes());
        }
        octets.extend(self.recovery.unwrap_or([0; 96]));
        octets.extend(&self.anchors);
        octets
    }
}

impl Place {
    fn number(self) -> u64 {
        match self {
            Self::Pci(device, function) => u64::from(device << 3 | function & 7),
            Self::Mmio(gpa) => gpa,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, State, Wanted};

    #[test]
    fn the_setting_has_the_octets_of_the_table() {
        let mut state = State {
            disk: Some((Wanted::Required, Place::Pci(30, 0))),
            console: None,
            share: false,
            recovery: None,
            anchors: b"anchors".to_vec(),
        };
        let octets = state.octets();
        assert_eq!(octets[..8], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(octets[8..24], [0xf0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(octets[24..120].iter().all(|octet| *octet == 0) && octets[120..] == *b"anchors");
        (state.disk, state.share) = (Some((Wanted::Allowed, Place::Mmio(0xfeb0_0000))), true);
        (state.console, state.recovery) = (Some(Place::Mmio(0xfeb0_0200)), Some([4; 96]));
        let octets = state.octets();
        assert_eq!(octets[..8], [1, 1, 0, 0, 7, 0, 0, 0]);
        assert_eq!(octets[8..24], [0, 0, 0xb0, 0xfe, 0, 0, 0, 0, 0, 2, 0xb0, 0xfe, 0, 0, 0, 0]);
        assert_eq!(octets[24..120], [4; 96]);
        let console = Some(Place::Pci(29, 0));
        let octets = State { disk: None, console, share: false, recovery: None, anchors: Vec::new() }.octets();
        assert_eq!(octets[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(octets[8..24], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe8, 0, 0, 0, 0, 0, 0, 0]);
    }
}
