//! TPM2_ClockRateAdjust (Part 3, 29.4).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Reader, RhProvision, Unmarshal};

pub(crate) struct ClockRateAdjust;

/// TPM_CLOCK_ADJUST (Part 2, 6.7): three steps slower to three steps faster.
pub(crate) struct ClockAdjust(i8);

impl Unmarshal<'_> for ClockAdjust {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match i8::from_be_bytes([r.get::<u8>()?]) {
            step @ -3..=3 => Ok(Self(step)),
            _ => Err(Fmt1::VALUE),
        }
    }
}

handles! { pub(crate) struct Handles { auth: User<RhProvision> } }
params! { pub(crate) struct Params { rate_adjust: ClockAdjust } }

impl Command for ClockRateAdjust {
    const CODE: u32 = 0x130;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `rate_adjust`: no TPM_CLOCK_ADJUST, or beyond the limit of the rate
    ///
    /// _TPM_Init brings back the nominal rate.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        let possible = tpm.ram.clock_rate.adjust(p.rate_adjust.0);
        if possible { Ok(Empty) } else { Err(Fmt1::VALUE.at(Params::rate_adjust)) }
    }
}
