//! TPM2_SignSequenceComplete (1.85: Part 3, 20.6).

use super::external_signer;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::object::Work;
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, ObjectAttributes, Signature, Tpm2b};

pub(crate) struct SignSequenceComplete;

handles! { pub(crate) struct Handles { sequence: User<DhObject>, key: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER> } }

impl Command for SignSequenceComplete {
    const CODE: u32 = 0x1a4;
    const FLUSHED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Signature;

    /// - `MODE` at the sequence: not of a message to be signed
    /// - `KEY`, `ATTRIBUTES` at the key: what [`external_signer`] says
    /// - `ATTRIBUTES` at the key: a restricted HMAC key, as
    ///   [`Object::signs_messages`](crate::data::object::Object::signs_messages) has it
    /// - `SIGN_CONTEXT_KEY` at the key: the sequence was started for another
    /// - `VALUE` at the buffer: the key is restricted, and the message begins with TPM_GENERATED_VALUE
    /// - what [`Tpm::sign_message`] says
    /// - `BINDING`, `SCHEME` of these cannot be provoked: a key without its private part has no authorization, and the
    ///   sequence began with this key's scheme
    ///
    /// Choice: the positions of these codes, which the specification leaves open.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<Signature, Rc> {
        let (handle, no_mode) = (h.sequence.handle(), Fmt1::MODE.at(Handles::sequence));
        let Some(Work::Message(message)) = tpm.ram.sequence(handle).map(|s| &s.work) else { return Err(no_mode) };
        if !message.signs {
            return Err(no_mode);
        }
        let key = external_signer(tpm, h.key.handle(), Handles::key)?;
        if !key.signs_messages() {
            return Err(Fmt1::ATTRIBUTES.at(Handles::key));
        }
        if !message.is_for(key) {
            return Err(Fmt1::SIGN_CONTEXT_KEY.at(Handles::key));
        }
        let restricted = key.has(ObjectAttributes::RESTRICTED);
        let mut message = message.duplicate();
        message.update(p.buffer.0);
        if restricted && message.looks_generated() {
            return Err(Fmt1::VALUE.at(Params::buffer));
        }
        let signature = tpm.sign_message(h.key.handle(), &message)?;
        call.room_for(&signature)?;
        if let Some(sequence) = tpm.ram.sequence_mut(handle) {
            sequence.complete = true;
        }
        Ok(signature)
    }
}
