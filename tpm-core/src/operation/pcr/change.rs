//! What changes PCR (Part 1, 17; Part 3, 22): extend, reset, and what a start leaves.

use crate::crypto::hash::HashAlg;
use crate::data::pcr::{HCRTM_PCR, Pcrs, Root, counts, is_saved, may_extend, may_reset};
use crate::data::platform::Locality;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Handle, PCR_COUNT};

impl Tpm {
    /// The number of the PCR that a handle means and that may be extended here; None for TPM_RH_NULL.
    ///
    /// - `LOCALITY`: the PCR cannot be extended at this locality
    pub(crate) fn extendable(handle: Handle, locality: Locality) -> Result<Option<u32>, Rc> {
        if handle == Handle::NULL {
            return Ok(None);
        }
        if may_extend(handle.0, locality) { Ok(Some(handle.0)) } else { Err(Rc::LOCALITY) }
    }

    /// Extends a PCR in one bank, and counts that in pcrUpdateCounter; nothing if the PCR is not in this bank.
    pub(crate) fn extend_pcr(&mut self, alg: HashAlg, pcr: u32, digest: &[u8]) {
        self.will_change_pcr(pcr);
        if self.ram.pcrs.is_allocated(alg, pcr) {
            self.ram.pcrs.extend(alg, pcr, digest);
            self.count_pcr_change(pcr);
        }
    }

    /// Sets a PCR to zeros in all banks.
    ///
    /// - `LOCALITY`: the PCR cannot be reset at this locality
    pub(crate) fn reset_pcr(&mut self, pcr: u32, locality: Locality) -> Result<(), Rc> {
        if !may_reset(pcr, locality) {
            return Err(Rc::LOCALITY);
        }
        self.will_change_pcr(pcr);
        self.ram.pcrs.reset(pcr);
        self.count_pcr_change(pcr);
        Ok(())
    }

    /// A PCR that TPM2_Shutdown(STATE) saves: what it has saved is void after TPM2_Startup.
    pub(crate) fn will_change_pcr(&mut self, pcr: u32) {
        if is_saved(pcr) && self.ram.started {
            self.void_shutdown();
        }
    }

    /// What TPM2_Startup does to the PCR which _TPM_Init has set to their first values: those that were saved come back
    /// in TPM Resume; PCR 0 tells at which locality TPM2_Startup was, unless the H-CRTM has already extended it. All
    /// others have changed.
    pub(crate) fn start_pcrs(&mut self, saved: Option<&Pcrs>) {
        match saved {
            Some(saved) => self.ram.pcrs.resume(saved),
            None if self.ram.root == Root::Locality3 => self.ram.pcrs.start_from(HCRTM_PCR, 3),
            None => {}
        }
        (0..PCR_COUNT).filter(|pcr| saved.is_none() || !is_saved(*pcr)).for_each(|pcr| self.count_pcr_change(pcr));
    }

    fn count_pcr_change(&mut self, pcr: u32) {
        if counts(pcr) {
            let reset = self.reset.change();
            reset.pcr_update_counter = reset.pcr_update_counter.wrapping_add(1);
        }
    }
}
