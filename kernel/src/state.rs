//! The measured setting of what is kept on a disk (docs/boot.md, "Settings": kind 3), and what is attested of it.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The setting's first octets; what anchors need may follow.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    /// 0 there is none, 1 a state is allowed, 2 required.
    wanted: u8,
    /// Where the devices are: 0 PCI functions, 1 MMIO.
    place: u8,
    reserved: U16,
    /// What the state is sealed to: bit 0 the chip's key (always), bit 1 the anchors' share, bit 2 the operator's
    /// recovery key.
    roots: U32,
    /// GPA, or device in bits 7:3 and function in bits 2:0, of the disk; all ones where there is no state.
    disk: U64,
    /// The same of the console to programs at the host; all ones for none.
    console: U64,
    /// Point of the recovery key, x ‖ y on P-384; zeros without.
    recovery: [u8; 96],
}

/// Octets of [`Layout`].
const SIZE: usize = size_of::<Layout>();
const _: () = assert!(SIZE == 0x78);

/// Whether there is to be a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Without one, the TPM is a new one, and is kept nowhere.
    Allowed,
    /// Without one, the boot ends.
    Required,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A PCI function of bus 0: device and function.
    Pci(u8, u8),
    /// Registers at this GPA.
    Mmio(u64),
}

/// The setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSetting<'a> {
    /// Whether a disk must be there, and where. `None`: nothing is kept, and a disk is not looked for.
    pub disk: Option<(Wanted, Place)>,
    /// Where the console is, if there is one.
    pub console: Option<Place>,
    /// An anchors' share is a root, too.
    pub share: bool,
    /// The point of the operator's recovery key, if that is a root, too.
    pub recovery: Option<&'a [u8; 96]>,
    /// What follows: whose anchors, and how they are asked.
    pub anchors: &'a [u8],
}

/// The setting is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoState(&'static str);

snp::error_words! { NoState {
    Self(what) => "the setting of the state: {what}",
} }

/// Bits of `roots`.
const CHIP: u32 = 1;
const SHARE: u32 = 1 << 1;
const RECOVERY: u32 = 1 << 2;

impl<'a> StateSetting<'a> {
    /// Reads it. Any value that is not in docs/boot.md is an error.
    pub fn parse(octets: &'a [u8]) -> Result<StateSetting<'a>, NoState> {
        let (layout, anchors) = Layout::ref_from_prefix(octets).map_err(|_| NoState("too short"))?;
        let wanted = match layout.wanted {
            0 => None,
            1 => Some(Wanted::Allowed),
            2 => Some(Wanted::Required),
            _ => return Err(NoState("neither none nor allowed nor required")),
        };
        let roots = layout.roots.get();
        if layout.reserved != 0 || roots & !(CHIP | SHARE | RECOVERY) != 0 || roots & CHIP == 0 {
            return Err(NoState("roots that do not exist"));
        }
        let recovery = (roots & RECOVERY != 0).then_some(&layout.recovery);
        if recovery.is_none() && layout.recovery != [0; 96] {
            return Err(NoState("a recovery key that is no root"));
        }
        let place = |value: U64| match value.get() {
            u64::MAX => Ok(None),
            value => place(layout.place, value).map(Some),
        };
        let (disk, console) = (place(layout.disk)?, place(layout.console)?);
        let disk = match (wanted, disk) {
            (None, None) if roots == CHIP && anchors.is_empty() => None,
            (None, None) => return Err(NoState("roots or anchors of no state")),
            (None, Some(_)) => return Err(NoState("a disk for no state")),
            (Some(_), None) => return Err(NoState("a state without a disk")),
            (Some(_), disk) if disk == console => return Err(NoState("the console is where the disk is")),
            (Some(wanted), Some(disk)) => Some((wanted, disk)),
        };
        Ok(StateSetting { disk, console, share: roots & SHARE != 0, recovery, anchors })
    }
}

fn place(kind: u8, value: u64) -> Result<Place, NoState> {
    match (kind, u8::try_from(value)) {
        (0, Ok(function)) => Ok(Place::Pci(function >> 3, function & 7)),
        (1, _) if value.is_multiple_of(4) => Ok(Place::Mmio(value)),
        _ => Err(NoState("a place where no device can be")),
    }
}

/// What is attested of a state that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The TPM's identity, which it keeps wherever it goes.
    pub identity: [u8; 32],
    /// How many records have been written.
    pub epoch: u64,
    /// Drawn at this boot.
    pub boot_nonce: [u8; 32],
    /// SHA-256 of the sealed record as it is on the disk.
    pub digest: [u8; 32],
    /// Bits of [`flag`].
    pub flags: u32,
    /// The firmware that it came from by migration: the first octets of its measurement.
    pub origin: [u8; 32],
}

impl Kept {
    /// As the manifest has it, big-endian: identity, epoch, boot nonce, digest, flags, origin.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 140] {
        let mut bytes = [0; 140];
        let (epoch, flags) = (self.epoch.to_be_bytes(), self.flags.to_be_bytes());
        let parts = [&self.identity[..], &epoch, &self.boot_nonce, &self.digest, &flags, &self.origin];
        bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// What [`Kept::flags`] says.
pub mod flag {
    /// A state is kept.
    pub const KEPT: u32 = 1;
    /// Anchors have had a quorum.
    pub const ANCHORED: u32 = 1 << 1;
    /// It has started with too few anchors.
    pub const TOO_FEW: u32 = 1 << 2;
    /// It has come by migration.
    pub const MIGRATED: u32 = 1 << 3;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn octets() -> Vec<u8> {
        let mut octets = std::vec![2, 0, 0, 0, 1, 0, 0, 0];
        octets.extend(0xf0_u64.to_le_bytes());
        octets.extend(0xe9_u64.to_le_bytes());
        octets.extend([0; 96]);
        octets
    }

    fn changed(at: usize, value: &[u8]) -> Result<(), NoState> {
        let mut octets = octets();
        octets[at..at + value.len()].copy_from_slice(value);
        StateSetting::parse(&octets).map(drop)
    }

    #[test]
    fn the_setting_is_read() {
        let mut all = octets();
        all.extend(b"anchors");
        let setting = StateSetting::parse(&all).unwrap();
        let wanted = StateSetting {
            disk: Some((Wanted::Required, Place::Pci(30, 0))),
            console: Some(Place::Pci(29, 1)),
            share: false,
            recovery: None,
            anchors: b"anchors",
        };
        assert_eq!(setting, wanted);
        all[0] = 1;
        all[1] = 1;
        all[4] = 7;
        all[8..16].copy_from_slice(&0xfeb0_0000_u64.to_le_bytes());
        all[16..24].fill(0xff);
        all[24..120].fill(4);
        let setting = StateSetting::parse(&all).unwrap();
        assert_eq!(setting.disk, Some((Wanted::Allowed, Place::Mmio(0xfeb0_0000))));
        assert_eq!((setting.console, setting.share, setting.recovery), (None, true, Some(&[4; 96])));
    }

    #[test]
    fn a_console_alone_is_a_setting() {
        let mut none = octets();
        none[0] = 0;
        assert_eq!(StateSetting::parse(&none), Err(NoState("a disk for no state")));
        none[8..16].fill(0xff);
        let setting = StateSetting::parse(&none).unwrap();
        assert_eq!((setting.disk, setting.console), (None, Some(Place::Pci(29, 1))));
        none.push(1);
        assert_eq!(StateSetting::parse(&none), Err(NoState("roots or anchors of no state")));
        none.pop();
        none[4] = 3;
        assert_eq!(StateSetting::parse(&none), Err(NoState("roots or anchors of no state")));
    }

    #[test]
    fn what_is_not_a_setting_is_refused() {
        for wanted in [3, 4, 0xff] {
            assert_eq!(changed(0, &[wanted]), Err(NoState("neither none nor allowed nor required")));
        }
        assert_eq!(changed(8, &[0xff; 8]), Err(NoState("a state without a disk")));
        for (at, value) in [(2, 1), (3, 1), (4, 0), (4, 2), (4, 9), (7, 1)] {
            assert_eq!(changed(at, &[value]), Err(NoState("roots that do not exist")), "{at}");
        }
        assert_eq!(changed(24, &[1]), Err(NoState("a recovery key that is no root")));
        for (at, value) in [(1, &[2][..]), (9, &[1]), (17, &[1])] {
            assert_eq!(changed(at, value), Err(NoState("a place where no device can be")), "{at}");
        }
        assert_eq!(changed(16, &[0xf0]), Err(NoState("the console is where the disk is")));
        for length in 0..SIZE {
            assert_eq!(StateSetting::parse(&octets()[..length]), Err(NoState("too short")));
        }
    }
}
