//! vTPM protocol (protocol 2), and an extension of it by which commands and responses are longer than a page
//! (docs/boot.md, "A list of pages").

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ResultCode;
use crate::Page;

/// Call numbers.
pub mod call {
    /// SVSM_VTPM_QUERY: RCX = platform commands, RDX = features.
    pub const QUERY: u32 = 0;
    /// SVSM_VTPM_CMD: RCX = GPA of the buffer.
    pub const CMD: u32 = 1;
    /// The same through a list of pages, a call of this project's own: RCX = GPA of [`super::PageList`]. The
    /// specification's calls are numbered from 0 (table 14), and it leaves no range to implementations: so the number
    /// is of the upper half.
    pub const CMD_PAGES: u32 = 0x8000_0001;
}

/// TPM_SEND_COMMAND, the one platform command.
pub const SEND_COMMAND: u32 = 8;
/// RCX of QUERY: a bit for each platform command.
pub const PLATFORM_COMMANDS: u64 = 1 << SEND_COMMAND;
/// Bit of RDX of QUERY: there is [`call::CMD_PAGES`]. The specification has defined none (8.1), and would begin with
/// bit 0.
pub const FEATURE_PAGES: u64 = 1 << 63;
/// RDX of QUERY.
pub const FEATURES: u64 = FEATURE_PAGES;
/// Bytes before the TPM command: u32 platform command, u8 locality, u32 size.
pub const REQUEST_HEAD: usize = 9;
/// Longest TPM command that the buffer can hold.
pub const COMMAND_MAX: usize = crate::PAGE_SIZE - REQUEST_HEAD;
/// Bytes before the TPM response: u32 size.
pub const RESPONSE_HEAD: usize = 4;
/// Longest TPM response that the buffer can hold.
pub const RESPONSE_MAX: usize = crate::PAGE_SIZE - RESPONSE_HEAD;

/// Platform commands of the TCG simulator's protocol, in which this protocol's numbers are: known, and not supported.
const KNOWN: core::ops::RangeInclusive<u32> = 1..=21;

/// The TPM command in a private copy of the guest's buffer.
///
/// Its length is what the platform request says; whether the TPM command's own size agrees is for the TPM to judge
/// (TPM_RC_COMMAND_SIZE).
///
/// # Errors
/// - `UNSUPPORTED_CALL`: a platform command that the TCG's protocol knows, other than TPM_SEND_COMMAND
/// - `INVALID_PARAMETER`: an unknown platform command; a locality other than 0; a size beyond the buffer
pub fn parse_request(buffer: &Page) -> Result<&[u8], ResultCode> {
    let [a, b, c, d, locality, e, f, g, h, command @ ..] = buffer;
    check_head(u32::from_le_bytes([*a, *b, *c, *d]), *locality)?;
    let size = u32::from_le_bytes([*e, *f, *g, *h]);
    let size = usize::try_from(size).map_err(|_| ResultCode::INVALID_PARAMETER)?;
    command.get(..size).ok_or(ResultCode::INVALID_PARAMETER)
}

fn check_head(platform_command: u32, locality: u8) -> Result<(), ResultCode> {
    match platform_command {
        SEND_COMMAND if locality == 0 => Ok(()),
        known if known != SEND_COMMAND && KNOWN.contains(&known) => Err(ResultCode::UNSUPPORTED_CALL),
        _ => Err(ResultCode::INVALID_PARAMETER),
    }
}

/// Pages that a list can have.
pub const PAGES_MAX: usize = 16;

/// A command, and then its response, in whole pages: 0x90 bytes as the guest wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PageList {
    /// [`SEND_COMMAND`].
    pub platform_command: U32,
    /// 0.
    pub locality: u8,
    /// Zero.
    pub reserved_05: [u8; 3],
    /// Bytes of the command, and after the call of the response: from the first page's first byte on.
    pub size: U32,
    /// How many pages there are.
    pub count: U16,
    /// Zero.
    pub reserved_0e: U16,
    /// GPA of each page, in the order of the bytes; behind the last one zeros.
    pub pages: [U64; PAGES_MAX],
}

/// Where [`PageList::size`] is.
pub const LIST_SIZE_AT: u64 = offset_of!(PageList, size) as u64;
/// A list begins at a multiple of this.
pub const LIST_ALIGNMENT: u64 = 8;

const _: () = assert!(size_of::<PageList>() == 0x90);
const _: () = assert!(LIST_SIZE_AT == 8);
const _: () = assert!(offset_of!(PageList, count) == 0x0c);
const _: () = assert!(offset_of!(PageList, pages) == 0x10);

impl PageList {
    /// Bytes of the command, and the pages. Whose these are is for the kernel. The list lies in the page at `own`,
    /// which is none of them.
    ///
    /// # Errors
    /// - `UNSUPPORTED_CALL`: a platform command that the TCG's protocol knows, other than TPM_SEND_COMMAND
    /// - `INVALID_PARAMETER`: an unknown platform command; a locality other than 0; reserved bytes, or entries behind
    ///   the last page, that are not zero; no page, or more than [`PAGES_MAX`]; a size beyond the pages; a page that is
    ///   not aligned, that is there twice, or that is the list's own
    pub fn check(&self, own: u64) -> Result<(usize, &[U64]), ResultCode> {
        const PAGE: u64 = crate::PAGE_SIZE as u64;
        let refused = ResultCode::INVALID_PARAMETER;
        check_head(self.platform_command.get(), self.locality)?;
        let (pages, rest) = self.pages.split_at_checked(usize::from(self.count.get())).ok_or(refused)?;
        let size = usize::try_from(self.size.get()).map_err(|_| refused)?;
        let reserved = self.reserved_05 == [0; 3] && self.reserved_0e == 0 && rest.iter().all(|entry| *entry == 0);
        let aligned = pages.iter().all(|gpa| gpa.get().is_multiple_of(PAGE) && *gpa != own);
        let mut before = pages.iter().enumerate().map(|(at, gpa)| (gpa, pages.iter().take(at)));
        let different = before.all(|(gpa, mut before)| before.all(|other| other != gpa));
        let fits = !pages.is_empty() && size <= pages.len().saturating_mul(crate::PAGE_SIZE);
        if reserved && aligned && different && fits { Ok((size, pages)) } else { Err(refused) }
    }
}

/// Head of the answer to a TPM_SEND_COMMAND whose response has `len` bytes; `None` if that is more than the buffer
/// holds.
#[must_use]
pub fn response_head(len: usize) -> Option<[u8; RESPONSE_HEAD]> {
    (len <= RESPONSE_MAX).then(|| u32::try_from(len).ok())?.map(u32::to_le_bytes)
}
