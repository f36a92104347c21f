//! TPM2_EventSequenceComplete (Part 3, 17.9).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Hasher;
use crate::data::object::Work;
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, DhPcr, DigestValues, Ha, List, Nullable, Tpm2b};

pub(crate) struct EventSequenceComplete;

handles! { pub(crate) struct Handles { pcr: User<Nullable<DhPcr>>, sequence: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER> } }

impl Command for EventSequenceComplete {
    const CODE: u32 = 0x185;
    const NV: bool = true;
    const FLUSHED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = DigestValues;

    /// - `MODE` at the sequence: it is no event sequence
    /// - `LOCALITY`: the PCR cannot be extended at this locality
    ///
    /// Digests are those of all banks.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<DigestValues, Rc> {
        let no_mode = Fmt1::MODE.at(Handles::sequence);
        let sequence = tpm.ram.sequence(h.sequence.handle()).ok_or(no_mode)?;
        if !matches!(sequence.work, Work::Event(_)) {
            return Err(no_mode);
        }
        let pcr = Tpm::extendable(h.pcr.handle(), call.locality)?;
        let sequence = tpm.ram.sequence_mut(h.sequence.handle()).ok_or(no_mode)?;
        sequence.update(p.buffer.0);
        sequence.complete = true;
        let Work::Event(hashers) = &sequence.work else { return Err(no_mode) };
        let digest = |hasher: &Hasher| Ha { alg: hasher.alg(), digest: hasher.clone().finish() };
        let digests = List::of(hashers.iter().map(digest));
        if let Some(pcr) = pcr {
            digests.0.iter().for_each(|d: &Ha| tpm.extend_pcr(d.alg, pcr, d.digest.as_slice()));
        }
        Ok(digests)
    }
}
