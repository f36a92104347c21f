//! TPM2_PolicyPCR (Part 3, 23.7).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, MAX_BANKS, Marshal, PCR_SELECT_SIZE, PcrSelection, ShPolicy, Writer};

/// TPML_PCR_SELECTION at its longest: a count, and for each bank its hash, a size and the bit map.
const MAX_SELECTION: usize = 4 + MAX_BANKS * (3 + PCR_SELECT_SIZE as usize);

pub(crate) struct PolicyPcr;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { pcr_digest: Digest, pcrs: PcrSelection } }

impl Command for PolicyPcr {
    const CODE: u32 = 0x17f;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `PCR_CHANGED`: a PCR has changed since the session's last TPM2_PolicyPCR
    /// - `VALUE` at `pcr_digest`: it is not empty, and not the digest of the selected PCR
    ///
    /// PCR that are not allocated count as not selected. A trial session takes any pcrDigest, the current one if it is
    /// empty, and the selection as it is.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.ram.sessions.get_mut(h.session.handle()).ok_or(Rc::reference_h(0))?;
        let counter = tpm.reset.pcr_update_counter;
        let current = tpm.ram.pcrs.digest(session.hash, &p.pcrs);
        let trial = session.is_trial();
        if !trial && session.policy.pcr_counter.is_some_and(|then| then != counter) {
            return Err(Rc::PCR_CHANGED);
        }
        let given = !p.pcr_digest.is_empty();
        if !trial && given && p.pcr_digest != current {
            return Err(Fmt1::VALUE.at(Params::pcr_digest));
        }
        let digest = if given { &p.pcr_digest } else { &current };
        let pcrs = if trial { p.pcrs } else { tpm.ram.pcrs.allocated_of(p.pcrs) };
        let mut octets = [0; MAX_SELECTION];
        let mut w = Writer::new(&mut octets);
        pcrs.marshal(&mut w);
        session.policy.extend_by(session.hash, Self::CODE, [w.written(0), digest.as_slice()]);
        if !trial {
            session.policy.pcr_counter = Some(counter);
        }
        Ok(Empty)
    }
}
