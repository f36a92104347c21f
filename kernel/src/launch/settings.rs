//! Settings: measured pages behind the launch parameters, with what an operator wants of the firmware (docs/boot.md,
//! "Settings").
//!
//! They are measured, so a mistake is the packer's and not an attack; it ends the boot all the same, and so does a
//! setting that this firmware does not obey.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::mm::PAGE;

/// Pages that settings have.
pub const SETTINGS_PAGES: usize = 8;
/// Octets of them.
pub const SETTINGS_SIZE: usize = SETTINGS_PAGES * PAGE;
/// An entry begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// What a setting is about. The discriminant is the kind of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Setting {
    /// What the firmware demands of its platform.
    Policy = 1,
    /// The operator's authorities for certificates.
    Authorities = 2,
    /// What is kept on a disk, and how.
    State = 3,
    /// Who may take the TPM over.
    Successors = 4,
}

impl Setting {
    const ALL: [Setting; 4] = [Setting::Policy, Setting::Authorities, Setting::State, Setting::Successors];

    const fn kind(self) -> u16 {
        self as u16
    }

    const fn place(self) -> usize {
        match self {
            Setting::Policy => 0,
            Setting::Authorities => 1,
            Setting::State => 2,
            Setting::Successors => 3,
        }
    }
}

/// Head of an entry; its octets follow, and zeros up to a multiple of 8.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    /// 0: there are no more entries.
    kind: U16,
    reserved: U16,
    octets: U32,
}

/// The settings of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings<'a>([Option<&'a [u8]>; Setting::ALL.len()]);

impl<'a> Settings<'a> {
    /// Reads the pages. Any octet in them is a part of an entry, or zero.
    pub fn parse(pages: &'a [u8]) -> Result<Settings<'a>, SettingsError> {
        let mut settings = Settings::default();
        let mut rest = pages;
        loop {
            let (head, behind) = Head::ref_from_prefix(rest).map_err(|_| SettingsError::NoEnd)?;
            let kind = head.kind.get();
            if kind == 0 {
                return if rest.iter().all(|octet| *octet == 0) { Ok(settings) } else { Err(SettingsError::Behind) };
            }
            if head.reserved != 0 {
                return Err(SettingsError::Reserved(kind));
            }
            let setting = Setting::ALL.into_iter().find(|known| known.kind() == kind);
            let setting = setting.ok_or(SettingsError::Unknown(kind))?;
            let octets = usize::try_from(head.octets.get()).unwrap_or(usize::MAX);
            let (octets, behind) = behind.split_at_checked(octets).ok_or(SettingsError::TooLong(kind))?;
            rest = padded(octets.len(), behind, kind)?;
            let place = settings.0.get_mut(setting.place()).ok_or(SettingsError::Unknown(kind))?;
            if place.replace(octets).is_some() {
                return Err(SettingsError::Twice(kind));
            }
        }
    }

    /// A setting's octets, if there is such a setting.
    #[must_use]
    pub fn get(&self, setting: Setting) -> Option<&'a [u8]> {
        self.0.get(setting.place()).copied().flatten()
    }

    /// All that there are must be among `obeyed`: nobody is to believe in a rule that nothing follows.
    pub fn only(self, obeyed: &[Setting]) -> Result<Settings<'a>, SettingsError> {
        let ignored = |setting: &Setting| self.get(*setting).is_some() && !obeyed.contains(setting);
        match Setting::ALL.into_iter().find(ignored) {
            Some(setting) => Err(SettingsError::NotObeyed(setting)),
            None => Ok(self),
        }
    }
}

/// What stands behind an entry's octets and the zeros after them.
fn padded(octets: usize, behind: &[u8], kind: u16) -> Result<&[u8], SettingsError> {
    let (zeros, rest) =
        behind.split_at_checked(octets.next_multiple_of(ALIGNMENT) - octets).ok_or(SettingsError::TooLong(kind))?;
    if zeros.iter().all(|octet| *octet == 0) { Ok(rest) } else { Err(SettingsError::Padding(kind)) }
}

/// What is wrong with settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// A kind that does not exist.
    Unknown(u16),
    /// A second entry of a kind.
    Twice(u16),
    /// The octets behind this kind, before the entry's size, are not zero.
    Reserved(u16),
    /// An entry of this kind goes beyond the end of the pages.
    TooLong(u16),
    /// The octets between an entry of this kind and the next one are not zero.
    Padding(u16),
    /// Something stands behind the last entry.
    Behind,
    /// The pages are full, and no entry is the last one.
    NoEnd,
    /// A setting that this firmware does nothing with.
    NotObeyed(Setting),
}

snp::error_words! { SettingsError {
    Self::Unknown(kind) => "there is no setting of kind {kind}",
    Self::Twice(kind) => "there are two settings of kind {kind}",
    Self::Reserved(kind) => "a reserved word is not zero in the setting of kind {kind}",
    Self::TooLong(kind) => "the setting of kind {kind} goes beyond the pages",
    Self::Padding(kind) => "there is something behind the setting of kind {kind}",
    Self::Behind => "there is something behind the last setting",
    Self::NoEnd => "the settings have no end",
    Self::NotObeyed(setting) => "this firmware does not obey the setting {setting:?}",
} }

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// Pages with these entries.
    fn pages(entries: &[(u16, &[u8])]) -> Vec<u8> {
        let mut pages = Vec::new();
        for (kind, octets) in entries {
            pages.extend(kind.to_le_bytes());
            pages.extend([0, 0]);
            pages.extend((octets.len() as u32).to_le_bytes());
            pages.extend_from_slice(octets);
            pages.resize(pages.len().next_multiple_of(8), 0);
        }
        pages.resize(SETTINGS_SIZE.max(pages.len()), 0);
        pages
    }

    fn refused(pages: &[u8]) -> SettingsError {
        Settings::parse(pages).unwrap_err()
    }

    #[test]
    fn pages_of_zeros_have_no_settings() {
        assert_eq!(Settings::parse(&[0; SETTINGS_SIZE]), Ok(Settings::default()));
    }

    #[test]
    fn each_setting_is_found_by_its_kind_in_any_order() {
        let pages = pages(&[(4, b"successors"), (1, b"12345678"), (2, b""), (3, &[9; 5000])]);
        let settings = Settings::parse(&pages).unwrap();
        assert_eq!(settings.get(Setting::Policy), Some(&b"12345678"[..]));
        assert_eq!(settings.get(Setting::Authorities), Some(&b""[..]));
        assert_eq!(settings.get(Setting::State), Some(&[9; 5000][..]));
        assert_eq!(settings.get(Setting::Successors), Some(&b"successors"[..]));
    }

    #[test]
    fn a_kind_that_does_not_exist_is_refused() {
        for kind in [5, 0x100, 0xffff] {
            assert_eq!(refused(&pages(&[(1, b"policy"), (kind, b"")])), SettingsError::Unknown(kind));
        }
    }

    #[test]
    fn a_second_one_of_a_kind_is_refused() {
        assert_eq!(refused(&pages(&[(3, b"a"), (1, b"b"), (3, b"")])), SettingsError::Twice(3));
    }

    #[test]
    fn what_is_reserved_is_zero() {
        for at in [2, 3] {
            let mut pages = pages(&[(2, b"x")]);
            pages[at] = 1;
            assert_eq!(refused(&pages), SettingsError::Reserved(2));
        }
    }

    #[test]
    fn no_entry_goes_beyond_the_pages() {
        let mut pages = pages(&[(1, b"x")]);
        for octets in [SETTINGS_SIZE as u32 - 7, u32::MAX] {
            pages[4..8].copy_from_slice(&octets.to_le_bytes());
            assert_eq!(refused(&pages), SettingsError::TooLong(1));
        }
        // Its octets would fit, and what fills them up to a multiple of 8 would not.
        assert_eq!(refused(&[1, 0, 0, 0, 1, 0, 0, 0, 7]), SettingsError::TooLong(1));
    }

    #[test]
    fn each_octet_behind_an_entry_is_zero() {
        for at in 9..16 {
            let mut pages = pages(&[(1, b"x")]);
            pages[at] = 0x80;
            assert_eq!(refused(&pages), SettingsError::Padding(1));
        }
    }

    #[test]
    fn each_octet_behind_the_last_entry_is_zero() {
        for at in [18, 19, 20, 23, 24, 25, 4096, SETTINGS_SIZE - 1] {
            let mut pages = pages(&[(1, b"x")]);
            pages[at] = 1;
            assert_eq!(refused(&pages), SettingsError::Behind, "{at}");
        }
    }

    #[test]
    fn the_last_entry_is_of_kind_0() {
        let full = vec![0xa5; SETTINGS_SIZE - 8];
        assert_eq!(refused(&pages(&[(1, &full)])), SettingsError::NoEnd);
        assert_eq!(refused(&[]), SettingsError::NoEnd);
        let pages = pages(&[(1, &full[8..])]);
        assert_eq!(Settings::parse(&pages).unwrap().get(Setting::Policy), Some(&full[8..]));
    }

    #[test]
    fn a_setting_that_nothing_follows_is_refused() {
        let pages = pages(&[(1, b"policy"), (3, b"state")]);
        let settings = Settings::parse(&pages).unwrap();
        assert_eq!(settings.only(&[Setting::Policy, Setting::State]), Ok(settings));
        assert_eq!(settings.only(&[Setting::Policy]), Err(SettingsError::NotObeyed(Setting::State)));
        assert_eq!(settings.only(&[]), Err(SettingsError::NotObeyed(Setting::Policy)));
        assert_eq!(Settings::default().only(&[]), Ok(Settings::default()));
    }

    /// Whatever the pages hold: an answer, and what was read leads to the same settings.
    #[test]
    fn any_octets_have_an_answer() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for _ in 0..200_000 {
            let len = usize::from(next()) % 64;
            let octets: Vec<u8> = (0..len).map(|_| if next() < 200 { next() % 5 } else { next() }).collect();
            if let Ok(settings) = Settings::parse(&octets) {
                let entries: Vec<_> = Setting::ALL
                    .into_iter()
                    .filter_map(|setting| Some((setting.kind(), settings.get(setting)?)))
                    .collect();
                assert_eq!(Settings::parse(&pages(&entries)), Ok(settings));
            }
        }
    }
}
