//! Guest-physical memory: what is RAM, who owns each page, and the one way in which the firmware touches a page that is
//! not its own.
//!
//! | module | is |
//! |---|---|
//! | [`region`] | half-open page ranges with checked arithmetic |
//! | [`e820`] | the memory map that an operating system is given |
//! | [`memory_map`] | the host's memory map, checked |
//! | [`deposits`] | memory that the guest has deposited |
//! | [`owners`] | what is asked of whoever knows who owns each page, and whether it is validated |
//! | [`ownership`] | one who does |
//! | [`validate`] | a page's way from the host to the guest and back |
//! | [`page_table`] | the firmware's own page tables |

pub mod deposits;
pub mod e820;
pub mod memory_map;
pub mod owners;
pub mod ownership;
pub mod page_table;
pub mod region;
pub mod validate;

pub use owners::{Owner, Owners, OwnershipError};
pub use region::Region;
pub use snp::rmp::{Attributes, Inaccessible, PageSize, Permissions, Pvalidated, RmpError, Vmpl};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes in a large page.
pub const LARGE_PAGE_SIZE: u64 = 2 * 1024 * 1024;
/// The firmware addresses no guest memory at or beyond this GPA: the direct map ends here, and so does the smallest
/// C-bit.
pub const GPA_LIMIT: u64 = 1 << 47;

/// Bytes in a page, for arrays.
pub const PAGE: usize = 4096;

/// The VMPL that the guest runs at.
pub const GUEST_VMPL: Vmpl = Vmpl::Vmpl2;

/// Access to guest-physical pages, without judging: the caller has asked [`ownership::Ownership`] first.
///
/// All accesses are private (with the C-bit). Implemented by the image over its direct map, and by a plain array in
/// tests.
///
/// The host can take any page at any moment, also because the guest has asked it to. The access then ends where it is,
/// as [`Inaccessible`].
pub trait Pages {
    /// Copies from one page.
    fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible>;
    /// Copies to one page.
    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible>;
    /// Exchanges one byte atomically and returns the old one.
    fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible>;
    /// Fills with zeros.
    fn zero(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible>;
    /// PVALIDATE.
    fn pvalidate(&mut self, gpa: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError>;
    /// RMPADJUST.
    fn rmpadjust(&mut self, gpa: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError>;
    /// [`Pages::zero`] of a row of 4 KiB pages in one block of 2 MiB. The error is the GPA of the page that is gone.
    fn zero_row(&mut self, row: Region) -> Result<(), u64> {
        row.pages().try_for_each(|gpa| self.zero(gpa, PageSize::Size4K).map_err(|Inaccessible| gpa))
    }
    /// PVALIDATE of a row of 4 KiB pages in one block of 2 MiB, up to the first that has not changed: its GPA, or the
    /// row's end, and the last answer.
    fn pvalidate_row(&mut self, row: Region, validate: bool) -> (u64, Result<Pvalidated, RmpError>) {
        for gpa in row.pages() {
            match self.pvalidate(gpa, PageSize::Size4K, validate) {
                Ok(Pvalidated::Changed) => (),
                other => return (gpa, other),
            }
        }
        (row.end(), Ok(Pvalidated::Changed))
    }
    /// RMPADJUST of a row of 4 KiB pages in one block of 2 MiB, up to the first that fails: its GPA, and why.
    fn rmpadjust_row(&mut self, row: Region, attributes: Attributes) -> Result<(), (u64, RmpError)> {
        row.pages().try_for_each(|gpa| self.rmpadjust(gpa, PageSize::Size4K, attributes).map_err(|why| (gpa, why)))
    }
    /// A page that the guest has deposited, which is the firmware's alone, becomes part of its heap for good, behind
    /// all that is. `false`: there is no address for it.
    fn extend_heap(&mut self, gpa: u64) -> bool;
    /// Starts VMPL0 on the processor with this APIC id, and waits until it is there. Its memory are the pages at
    /// `block`, for good, which the guest has deposited and which are the firmware's alone; the first is not at a 2 MiB
    /// boundary. `false`: it does not come up, or not in time.
    ///
    /// The caller holds no lock.
    fn start_processor(&mut self, apic_id: u32, block: &[u64]) -> bool;
    /// Makes the CPU forget the translations, and with them the rights, that it remembers for any VMPL.
    fn flush(&mut self);
}

/// Little-endian u64 at `gpa`, which does not cross a page.
pub fn read_u64(pages: &mut dyn Pages, gpa: u64) -> Result<u64, Inaccessible> {
    let mut bytes = [0; 8];
    pages.read(gpa, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes a little-endian u64 at `gpa`, which does not cross a page.
pub fn write_u64(pages: &mut dyn Pages, gpa: u64, value: u64) -> Result<(), Inaccessible> {
    pages.write(gpa, &value.to_le_bytes())
}
