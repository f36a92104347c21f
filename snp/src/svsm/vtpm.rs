//! vTPM protocol (protocol 2).

use super::ResultCode;
use crate::Page;

/// Call numbers.
pub mod call {
    /// SVSM_VTPM_QUERY: RCX = platform commands, RDX = features.
    pub const QUERY: u32 = 0;
    /// SVSM_VTPM_CMD: RCX = GPA of the buffer.
    pub const CMD: u32 = 1;
}

/// TPM_SEND_COMMAND, the one platform command.
pub const SEND_COMMAND: u32 = 8;
/// RCX of QUERY: a bit for each platform command.
pub const PLATFORM_COMMANDS: u64 = 1 << SEND_COMMAND;
/// RDX of QUERY.
pub const FEATURES: u64 = 0;
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
    match u32::from_le_bytes([*a, *b, *c, *d]) {
        SEND_COMMAND => {}
        known if KNOWN.contains(&known) => return Err(ResultCode::UNSUPPORTED_CALL),
        _ => return Err(ResultCode::INVALID_PARAMETER),
    }
    if *locality != 0 {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let size = u32::from_le_bytes([*e, *f, *g, *h]);
    let size = usize::try_from(size).map_err(|_| ResultCode::INVALID_PARAMETER)?;
    command.get(..size).ok_or(ResultCode::INVALID_PARAMETER)
}

/// Head of the answer to a TPM_SEND_COMMAND whose response has `len` bytes; `None` if that is more than the buffer
/// holds.
#[must_use]
pub fn response_head(len: usize) -> Option<[u8; RESPONSE_HEAD]> {
    (len <= RESPONSE_MAX).then(|| u32::try_from(len).ok())?.map(u32::to_le_bytes)
}
