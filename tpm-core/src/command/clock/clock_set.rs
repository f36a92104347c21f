//! TPM2_ClockSet (Part 3, 29.3).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::RhProvision;

pub(crate) struct ClockSet;

handles! { pub(crate) struct Handles { auth: User<RhProvision> } }
params! { pub(crate) struct Params { new_time: u64 } }

impl Command for ClockSet {
    const CODE: u32 = 0x128;
    const CLOCK: bool = true;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `new_time`: before Clock, or beyond FFFF000000000000₁₆
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if tpm.advance_clock_to(p.new_time) { Ok(Empty) } else { Err(Fmt1::VALUE.at(Params::new_time)) }
    }
}
