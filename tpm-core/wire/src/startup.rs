//! TPM2_Startup's and TPM2_Shutdown's parameter.

use super::{Reader, Unmarshal};
use crate::rc::Fmt1;

/// TPM_SU (Part 2, 6.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Su {
    /// TPM_SU_CLEAR
    Clear,
    /// TPM_SU_STATE
    State,
}

impl Unmarshal<'_> for Su {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u16>()? {
            0 => Ok(Self::Clear),
            1 => Ok(Self::State),
            _ => Err(Fmt1::VALUE),
        }
    }
}
