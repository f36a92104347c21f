//! TPM2_VerifySequenceComplete (1.85: Part 3, 20.3).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::Work;
use crate::data::tpm::Tpm;
use crate::operation::object::message::verify_message;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, HandleType, Signature, TkVerified, st};

pub(crate) struct VerifySequenceComplete;

handles! { pub(crate) struct Handles { sequence: User<DhObject>, key: DhObject } }
params! { pub(crate) struct Params { signature: Signature } }

impl Command for VerifySequenceComplete {
    const CODE: u32 = 0x1a3;
    const FLUSHED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = TkVerified;

    /// - `MODE` at the sequence: not of a message to be verified
    /// - `SIGN_CONTEXT_KEY` at the key: the sequence was started for another
    /// - what [`verify_message`] says, at the signature
    ///
    /// The ticket, for the message with TPM_ST_MESSAGE_VERIFIED, is a NULL Ticket if the key is in the NULL hierarchy
    /// or has no Name.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<TkVerified, Rc> {
        let (handle, no_mode) = (h.sequence.handle(), Fmt1::MODE.at(Handles::sequence));
        let Some(Work::Message(message)) = tpm.ram.sequence(handle).map(|s| &s.work) else { return Err(no_mode) };
        let digest = message.to_verify().ok_or(no_mode)?;
        let other = Fmt1::SIGN_CONTEXT_KEY.at(Handles::key);
        let key = tpm.object(h.key.handle()).filter(|key| message.is_for(key)).ok_or(other)?;
        verify_message(key, message, &p.signature).map_err(|e| e.at(Params::signature))?;
        let ticket = tpm.verified(key, st::MESSAGE_VERIFIED, &digest, None);
        if let Some(sequence) = tpm.ram.sequence_mut(handle) {
            sequence.complete = true;
        }
        Ok(ticket)
    }
}
