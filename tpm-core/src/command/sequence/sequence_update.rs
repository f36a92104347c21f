//! TPM2_SequenceUpdate (Part 3, 17.7).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Tpm2b};

pub(crate) struct SequenceUpdate;

handles! { pub(crate) struct Handles { sequence: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER> } }

impl Command for SequenceUpdate {
    const CODE: u32 = 0x15c;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// - `MODE` at the sequence: it is not a sequence
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        let sequence = tpm.ram.sequence_mut(h.sequence.handle()).ok_or(Fmt1::MODE.at(Handles::sequence))?;
        sequence.update(p.buffer.0);
        Ok(Empty)
    }
}
