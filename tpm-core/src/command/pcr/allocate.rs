//! TPM2_PCR_Allocate (Part 3, 22.5).

use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::pcr;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{PCR_COUNT, PcrSelection, RhPlatform};

pub(crate) struct PcrAllocate;

handles! { pub(crate) struct Handles { auth: User<RhPlatform> } }
params! { pub(crate) struct Params { allocation: PcrSelection } }
reply! { pub(crate) struct Answer { success: bool, max_pcr: u32, size_needed: u32, size_available: u32 } }

impl Command for PcrAllocate {
    const CODE: u32 = 0x12b;
    const NV: bool = true;
    const VOIDS_SHUTDOWN: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `PCR`: no bank would have PCR 0, or none PCR 17
    ///
    /// Banks that are not named stay as they are now, whatever another TPM2_PCR_Allocate has said since _TPM_Init: each
    /// overwrites the one before. It takes effect at the next _TPM_Init, before which there can be no
    /// TPM2_Shutdown(STATE); one that was before is void, or a new bank would come without what has been measured.
    /// There is memory for every PCR of every bank, so allocationSuccess is always YES.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Answer, Rc> {
        let allocated = pcr::reallocate(tpm.ram.pcrs.allocated(), &p.allocation)?;
        tpm.persistent.change().pcr_allocation = allocated;
        tpm.ram.pcrs_reallocated = true;
        Ok(Answer {
            success: true,
            max_pcr: PCR_COUNT,
            size_needed: pcr::allocation_size(allocated),
            size_available: pcr::allocation_size(pcr::ALL_BANKS),
        })
    }
}
