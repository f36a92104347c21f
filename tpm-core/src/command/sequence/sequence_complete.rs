//! TPM2_SequenceComplete (Part 3, 17.8).

use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::object::Work;
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Handle, HandleType, RhHierarchy, Ticket, TkHashcheck, Tpm2b, st};

pub(crate) struct SequenceComplete;

handles! { pub(crate) struct Handles { sequence: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER>, hierarchy: RhHierarchy } }
reply! { pub(crate) struct Answer { result: Digest, validation: TkHashcheck } }

impl Command for SequenceComplete {
    const CODE: u32 = 0x13e;
    const FLUSHED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `MODE` at the sequence: it computes neither a hash nor a MAC
    ///
    /// A ticket is given as by TPM2_Hash for a hash, and never for a MAC.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let no_mode = Fmt1::MODE.at(Handles::sequence);
        let sequence = tpm.ram.sequence_mut(h.sequence.handle()).ok_or(no_mode)?;
        if matches!(sequence.work, Work::Event(_) | Work::Message(_)) {
            return Err(no_mode);
        }
        sequence.update(p.buffer.0);
        sequence.complete = true;
        let (result, safe_hash) = match &sequence.work {
            Work::Hash { hasher, safe } => (hasher.clone().finish(), (*safe == Some(true)).then_some(hasher.alg())),
            Work::Mac(mac) => (mac.finish(), None),
            Work::Event(_) | Work::Message(_) => return Err(no_mode),
        };
        let hierarchy = p.hierarchy.handle();
        let validation = match safe_hash.filter(|_| hierarchy != Handle::NULL) {
            Some(hash) => tpm.hash_check(hierarchy, hash, &result),
            None => Ticket::null(st::HASHCHECK),
        };
        Ok(Answer { result, validation: TkHashcheck(validation) })
    }
}
