//! TPM2_PCR_Extend (Part 3, 22.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{DhPcr, EachDigestValue, Nullable};

pub(crate) struct PcrExtend;

handles! { pub(crate) struct Handles { pcr: User<Nullable<DhPcr>> } }
params! { pub(crate) struct Params<'a> { digests: EachDigestValue<'a> } }

impl Command for PcrExtend {
    const CODE: u32 = 0x182;
    const NV: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// - `LOCALITY`: the PCR cannot be extended at this locality
    ///
    /// With TPM_RH_NULL nothing happens; nor for a digest whose bank does not have the PCR.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        if let Some(pcr) = Tpm::extendable(h.pcr.handle(), call.locality)? {
            tpm.will_change_pcr(pcr);
            p.digests.iter().for_each(|d| tpm.extend_pcr(d.alg, pcr, d.digest.as_slice()));
        }
        Ok(Empty)
    }
}
