//! The command header (Part 3, 5.2).

use crate::profile::MAX_COMMAND_SIZE;
use crate::rc::Rc;
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
    /// - `BAD_TAG`: neither TPM_ST_NO_SESSIONS nor TPM_ST_SESSIONS, or no tag at all
    /// - `COMMAND_SIZE`: commandSize is not the number of octets received, or they are too many or too few
    pub(super) fn parse(request: &'a [u8]) -> Result<Self, Rc> {
        let mut r = Reader::new(request);
        let sessions = match r.get::<u16>() {
            Ok(NO_SESSIONS) => false,
            Ok(SESSIONS) => true,
            _ => return Err(Rc::BAD_TAG),
        };
        let size: u32 = r.get().map_err(|_| Rc::COMMAND_SIZE)?;
        let code = r.get().map_err(|_| Rc::COMMAND_SIZE)?;
        if usize::try_from(size) != Ok(request.len()) || request.len() > MAX_COMMAND_SIZE {
            return Err(Rc::COMMAND_SIZE);
        }
        Ok(Self { sessions, code, body: r.rest() })
    }
}
