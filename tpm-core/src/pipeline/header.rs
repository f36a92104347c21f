//! The command header (Part 3, 5.2).

use crate::rc::{Fmt1, Rc};
use crate::wire::{Reader, st};

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
            st::NO_SESSIONS => false,
            st::SESSIONS => true,
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
