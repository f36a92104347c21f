//! TPM2_PCR_Event (Part 3, 22.3).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Hasher;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{DhPcr, DigestValues, Ha, List, Nullable, Tpm2b};

pub(crate) struct PcrEvent;

handles! { pub(crate) struct Handles { pcr: User<Nullable<DhPcr>> } }
params! { pub(crate) struct Params<'a> { event_data: Tpm2b<'a, 1024> } }

impl Command for PcrEvent {
    const CODE: u32 = 0x13c;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = DigestValues;

    /// - `LOCALITY`: the PCR cannot be extended at this locality
    ///
    /// Digests are those of the banks that have the PCR, and of all banks that have any for TPM_RH_NULL.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<DigestValues, Rc> {
        let pcr = Tpm::extendable(h.pcr.handle(), call.locality)?;
        let pcrs = &tpm.ram.pcrs;
        let banks = pcrs.allocated_banks().filter(|alg| pcr.is_none_or(|pcr| pcrs.is_allocated(*alg, pcr)));
        let digests = List::of(banks.map(|alg| Ha { alg, digest: Hasher::new(alg).chain(p.event_data.0).finish() }));
        if let Some(pcr) = pcr {
            digests.0.iter().for_each(|d: &Ha| tpm.extend_pcr(d.alg, pcr, d.digest.as_slice()));
        }
        Ok(digests)
    }
}
