//! _TPM_Hash_Start, _TPM_Hash_Data and _TPM_Hash_End (Part 1, 31; Part 3, 22.9 to 22.11): measurements that the
//! platform itself makes at locality 4, without a command. Before TPM2_Startup they are those of the H-CRTM, afterwards
//! those of a D-RTM.

use crate::data::measurement::Measurement;
use crate::data::pcr::{DRTM_PCR, HCRTM_PCR, Root, attributes};
use crate::data::tpm::Tpm;
use crate::wire::PCR_COUNT;

impl Tpm {
    /// _TPM_Hash_Start: an event begins. One that was in progress is forgotten. A command that comes before
    /// _TPM_Hash_End ends it without effect.
    pub fn hash_start(&mut self) {
        self.ram.hash_sequence = (self.ram.fault.is_none()).then(Measurement::new);
    }

    /// _TPM_Hash_Data: more octets of the event. Without _TPM_Hash_Start nothing happens.
    pub fn hash_data(&mut self, data: &[u8]) {
        if let Some(event) = &mut self.ram.hash_sequence {
            event.update(data);
        }
    }

    /// _TPM_Hash_End: the event is complete. Before TPM2_Startup PCR 0 starts from the locality, 4, and is extended;
    /// afterwards the D-RTM PCR are reset, PCR 17 is extended, and restartCount goes up. False if there was no
    /// _TPM_Hash_Start.
    pub fn hash_end(&mut self) -> bool {
        let Some(event) = self.ram.hash_sequence.take() else { return false };
        let (started, counter) = (self.ram.started, self.reset.pcr_update_counter);
        let pcr = if started { self.begin_drtm() } else { self.begin_hcrtm() };
        for (alg, digest) in event.finish() {
            self.extend_pcr(alg, pcr, digest.as_slice());
        }
        if !started {
            // TPM2_Startup counts this PCR, as every other.
            self.reset.change().pcr_update_counter = counter;
        }
        true
    }

    fn begin_hcrtm(&mut self) -> u32 {
        self.ram.root = Root::HCrtm;
        self.ram.pcrs.start_from(HCRTM_PCR, 4);
        HCRTM_PCR
    }

    fn begin_drtm(&mut self) -> u32 {
        for pcr in (0..PCR_COUNT).filter(|pcr| attributes(*pcr).drtm) {
            self.ram.pcrs.reset(pcr);
        }
        let reset = self.reset.change();
        reset.restart_count = reset.restart_count.saturating_add(1);
        DRTM_PCR
    }
}
