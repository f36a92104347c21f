//! `LaunchParams`: the measured page that says how to start the guest (docs/boot.md, "IGVM file").

use core::mem::{offset_of, size_of};

use heapless::Vec;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::mm::{PAGE_SIZE, Region};

/// First eight bytes of the page.
pub const MAGIC: [u8; 8] = *b"QUOINLP1";
/// The version that is understood: the second, in which the guest's image is a list of pieces.
pub const VERSION: u32 = 2;
/// Pieces of the guest's image, at most.
pub const MAX_PIECES: usize = 16;

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
    /// How many of `pieces` there are.
    pub piece_count: U64,
    /// What the IGVM file places for the guest, each without a gap. None overlaps another.
    pub pieces: [Piece; MAX_PIECES],
}

/// A run of pages that the IGVM file places.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Piece {
    /// First byte.
    pub base: U64,
    /// Bytes.
    pub size: U64,
}

const _: () = assert!(offset_of!(LaunchParams, magic) == 0);
const _: () = assert!(offset_of!(LaunchParams, version) == 8);
const _: () = assert!(offset_of!(LaunchParams, entry_kind) == 12);
const _: () = assert!(offset_of!(LaunchParams, rip) == 16);
const _: () = assert!(offset_of!(LaunchParams, rsp) == 24);
const _: () = assert!(offset_of!(LaunchParams, cpuid_page) == 32);
const _: () = assert!(offset_of!(LaunchParams, secrets_page) == 40);
const _: () = assert!(offset_of!(LaunchParams, calling_area) == 48);
const _: () = assert!(offset_of!(LaunchParams, piece_count) == 56);
const _: () = assert!(offset_of!(LaunchParams, pieces) == 64);
const _: () = assert!(size_of::<LaunchParams>() == 64 + 16 * MAX_PIECES);

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
        piece_count: U64::ZERO,
        pieces: [Piece { base: U64::ZERO, size: U64::ZERO }; MAX_PIECES],
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

    fn image(&self) -> Result<Vec<Region, MAX_PIECES>, LaunchError> {
        let count = usize::try_from(self.piece_count.get()).map_err(|_| LaunchError::Image)?;
        let mut image: Vec<Region, MAX_PIECES> = Vec::new();
        for piece in self.pieces.get(..count).ok_or(LaunchError::Image)? {
            let region = Region::covering(piece.base.get(), piece.size.get()).ok_or(LaunchError::Image)?;
            if image.iter().any(|other| other.overlaps(region)) {
                return Err(LaunchError::Image);
            }
            image.push(region).map_err(|_| LaunchError::Image)?;
        }
        Ok(image)
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub image: Vec<Region, MAX_PIECES>,
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
    /// A piece of the image is empty, wraps, lies beyond what the firmware can address or overlaps another; or there are too many.
    Image,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_page_starts_no_guest() {
        let launch = LaunchParams::EMPTY.check().unwrap();
        assert_eq!(launch.entry, EntryKind::None);
        assert_eq!(launch.image, []);
    }

    fn pieces(pieces: &[(u64, u64)]) -> LaunchParams {
        let mut params = LaunchParams::EMPTY;
        params.piece_count = (pieces.len() as u64).into();
        for (slot, (base, size)) in params.pieces.iter_mut().zip(pieces) {
            *slot = Piece { base: (*base).into(), size: (*size).into() };
        }
        params
    }

    #[test]
    fn the_pieces_of_an_image_are_rounded_to_whole_pages() {
        let image = pieces(&[(0x20_0000, 0x3000), (0x10_0000, 0x1001)]).check().unwrap().image;
        let bounds: std::vec::Vec<_> = image.iter().map(|piece| (piece.start(), piece.end())).collect();
        assert_eq!(bounds, [(0x20_0000, 0x20_3000), (0x10_0000, 0x10_2000)]);
        let most: std::vec::Vec<_> = (0..17).map(|n| (n * 0x1_0000, 1)).collect();
        assert_eq!(pieces(&most[..16]).check().unwrap().image.len(), MAX_PIECES);
        assert_eq!(pieces(&most).check(), Err(LaunchError::Image));
    }

    #[test]
    fn pieces_that_are_none_are_refused() {
        for wrong in [&[(0x1000, u64::MAX)][..], &[(0x1000, 0)], &[(0x1000, 0x1000), (0x1fff, 1)], &[(1 << 47, 1)]] {
            assert_eq!(pieces(wrong).check(), Err(LaunchError::Image), "{wrong:x?}");
        }
        let mut params = LaunchParams::EMPTY;
        params.piece_count = u64::MAX.into();
        assert_eq!(params.check(), Err(LaunchError::Image));
    }

    #[test]
    fn each_mistake_has_its_own_name() {
        let wrong = |change: fn(&mut LaunchParams)| {
            let mut params = LaunchParams::EMPTY;
            change(&mut params);
            params.check().unwrap_err()
        };
        assert_eq!(wrong(|p| p.magic[7] = b'2'), LaunchError::Magic);
        assert_eq!(wrong(|p| p.version = U32::new(1)), LaunchError::Version);
        assert_eq!(wrong(|p| p.entry_kind = U32::new(3)), LaunchError::EntryKind);
        assert_eq!(wrong(|p| p.calling_area = U64::new(0x1008)), LaunchError::Page);
        assert_eq!(wrong(|p| p.piece_count = U64::new(1)), LaunchError::Image);
    }
}
