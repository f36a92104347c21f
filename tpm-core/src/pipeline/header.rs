//! The command header (Part 3, 5.2).

use crate::rc::{Fmt1, Rc};
use crate::wire::Reader;

/// TPM_ST_NO_SESSIONS
pub(crate) const NO_SESSIONS: u16 = 0x8001;
/// TPM_ST_SESSIONS
pub(crate) const SESSIONS: u16 = 0x8002;

pub(super) struct Header<'a> {
    pub(super) sessions: bool,
    pub(super) code: u32,
    pub(super) body: &'a [u8],
}

impl<'a> Header<'a> {
    /// - `INSUFFICIENT`: shorter than a header
    /// - `BAD_TAG`: neither TPM_ST_NO_SESSIONS nor TPM_ST_SESSIONS
    /// - `COMMAND_SIZE`: commandSize is not the number of octets received, or they are more than the buffer has
    pub(super) fn parse(request: &'a [u8], buffer_size: usize) -> Result<Self, Rc> {
        let mut r = Reader::new(request);
        let sessions = match r.get::<u16>().map_err(Fmt1::plain)? {
            NO_SESSIONS => false,
            SESSIONS => true,
            _ => return Err(Rc::BAD_TAG),
        };
        let size: u32 = r.get().map_err(Fmt1::plain)?;
        let code = r.get().map_err(Fmt1::plain)?;
        if usize::try_from(size) != Ok(request.len()) || request.len() > buffer_size {
            return Err(Rc::COMMAND_SIZE);
        }
        Ok(Self { sessions, code, body: r.rest() })
    }
}
