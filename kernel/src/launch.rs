//! `LaunchParams`: the measured page that says how to start the guest (docs/boot.md, "IGVM file").

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::mm::{PAGE_SIZE, Region};

/// First eight bytes of the page.
pub const MAGIC: [u8; 8] = *b"QUOINLP1";
/// The only version there is.
pub const VERSION: u32 = 1;

/// How the guest's first vCPU is entered: [`LaunchParams::entry_kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// There is no guest: the firmware ends after its own boot.
    None,
    /// 32-bit protected mode, flat segments, paging off.
    Protected32,
    /// Real mode at the reset vector that `rip` names.
    RealReset,
}

/// The page as it lies in memory, little-endian, zero after the last field.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LaunchParams {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// 0 none, 1 32-bit protected mode, 2 real mode at the reset vector.
    pub entry_kind: U32,
    /// First instruction.
    pub rip: U64,
    /// First stack pointer.
    pub rsp: U64,
    /// GPA of the guest's CPUID page, which the firmware fills in; 0 for none.
    pub cpuid_page: U64,
    /// GPA of the guest's secrets page, which the firmware fills in; 0 for none.
    pub secrets_page: U64,
    /// GPA of the first vCPU's calling area.
    pub calling_area: U64,
    /// First byte of what the IGVM file places for the guest.
    pub image_base: U64,
    /// Bytes that the IGVM file places for the guest, without a gap.
    pub image_size: U64,
}

const _: () = assert!(offset_of!(LaunchParams, magic) == 0);
const _: () = assert!(offset_of!(LaunchParams, version) == 8);
const _: () = assert!(offset_of!(LaunchParams, entry_kind) == 12);
const _: () = assert!(offset_of!(LaunchParams, rip) == 16);
const _: () = assert!(offset_of!(LaunchParams, rsp) == 24);
const _: () = assert!(offset_of!(LaunchParams, cpuid_page) == 32);
const _: () = assert!(offset_of!(LaunchParams, secrets_page) == 40);
const _: () = assert!(offset_of!(LaunchParams, calling_area) == 48);
const _: () = assert!(offset_of!(LaunchParams, image_base) == 56);
const _: () = assert!(offset_of!(LaunchParams, image_size) == 64);
const _: () = assert!(size_of::<LaunchParams>() == 72);

impl LaunchParams {
    /// A page that starts no guest: what stands in the ELF until `xtask image` writes the real one.
    pub const EMPTY: LaunchParams = LaunchParams {
        magic: MAGIC,
        version: U32::new(VERSION),
        entry_kind: U32::ZERO,
        rip: U64::ZERO,
        rsp: U64::ZERO,
        cpuid_page: U64::ZERO,
        secrets_page: U64::ZERO,
        calling_area: U64::ZERO,
        image_base: U64::ZERO,
        image_size: U64::ZERO,
    };

    /// The parameters as the boot sequence uses them. They are measured, so a mistake here is the packer's, not an attack;
    /// it ends the boot all the same.
    pub fn check(&self) -> Result<Launch, LaunchError> {
        if self.magic != MAGIC {
            return Err(LaunchError::Magic);
        }
        if self.version.get() != VERSION {
            return Err(LaunchError::Version);
        }
        let entry = match self.entry_kind.get() {
            0 => EntryKind::None,
            1 => EntryKind::Protected32,
            2 => EntryKind::RealReset,
            _ => return Err(LaunchError::EntryKind),
        };
        Ok(Launch {
            entry,
            rip: self.rip.get(),
            rsp: self.rsp.get(),
            cpuid_page: page_or_none(self.cpuid_page.get())?,
            secrets_page: page_or_none(self.secrets_page.get())?,
            calling_area: page_or_none(self.calling_area.get())?,
            image: self.image()?,
        })
    }

    fn image(&self) -> Result<Option<Region>, LaunchError> {
        match self.image_size.get() {
            0 => Ok(None),
            size => Region::covering(self.image_base.get(), size).map(Some).ok_or(LaunchError::Image),
        }
    }
}

fn page_or_none(gpa: u64) -> Result<Option<u64>, LaunchError> {
    match gpa {
        0 => Ok(None),
        gpa if gpa % PAGE_SIZE == 0 => Ok(Some(gpa)),
        _ => Err(LaunchError::Page),
    }
}

/// Checked [`LaunchParams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// How the guest is entered.
    pub entry: EntryKind,
    /// First instruction.
    pub rip: u64,
    /// First stack pointer.
    pub rsp: u64,
    /// The guest's CPUID page.
    pub cpuid_page: Option<u64>,
    /// The guest's secrets page.
    pub secrets_page: Option<u64>,
    /// The first vCPU's calling area.
    pub calling_area: Option<u64>,
    /// The pages that the IGVM file placed for the guest, already validated and measured.
    pub image: Option<Region>,
}

/// What is wrong with a [`LaunchParams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchError {
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Not [`VERSION`].
    Version,
    /// An entry kind that does not exist.
    EntryKind,
    /// A page's address is not a multiple of 4096.
    Page,
    /// The image wraps or lies beyond what the firmware can address.
    Image,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_page_starts_no_guest() {
        let launch = LaunchParams::EMPTY.check().unwrap();
        assert_eq!(launch.entry, EntryKind::None);
        assert_eq!(launch.image, None);
    }

    #[test]
    fn an_image_is_rounded_to_whole_pages() {
        let mut params = LaunchParams::EMPTY;
        params.image_base = U64::new(0x10_0000);
        params.image_size = U64::new(0x1001);
        let image = params.check().unwrap().image.unwrap();
        assert_eq!((image.start(), image.end()), (0x10_0000, 0x10_2000));
    }

    #[test]
    fn each_mistake_has_its_own_name() {
        let wrong = |change: fn(&mut LaunchParams)| {
            let mut params = LaunchParams::EMPTY;
            change(&mut params);
            params.check().unwrap_err()
        };
        assert_eq!(wrong(|p| p.magic[7] = b'2'), LaunchError::Magic);
        assert_eq!(wrong(|p| p.version = U32::new(2)), LaunchError::Version);
        assert_eq!(wrong(|p| p.entry_kind = U32::new(3)), LaunchError::EntryKind);
        assert_eq!(wrong(|p| p.calling_area = U64::new(0x1008)), LaunchError::Page);
        assert_eq!(wrong(|p| p.image_size = U64::new(u64::MAX)), LaunchError::Image);
    }
}
