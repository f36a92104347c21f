//! What becomes of a hierarchy's objects and values when it is disabled, gets a new seed, or is cleared (Part 3, 24).

use crate::data::nv::NvMemory;
use crate::data::object::Slot;
use crate::data::state::{Dictionary, HierarchyPolicy};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::life::new_seed;
use crate::secret::Seed;
use crate::wire::{Auth, Handle, NvAttributes};

impl Tpm {
    /// A new seed or proof.
    ///
    /// A fault if the DRBG gives none.
    fn fresh_seed(&mut self) -> Result<Seed, Fault> {
        new_seed(&mut self.drbg).map_err(|_| Fault::NoRandom)
    }

    /// Flushes the loaded objects of a hierarchy.
    pub(crate) fn flush_hierarchy(&mut self, hierarchy: Handle) {
        for slot in &mut self.ram.objects.0 {
            if slot.as_ref().and_then(Slot::object).is_some_and(|o| o.hierarchy == hierarchy) {
                *slot = None;
            }
        }
    }

    /// Deletes the loaded and the persistent objects of a hierarchy.
    fn delete_objects(&mut self, hierarchy: Handle) {
        self.flush_hierarchy(hierarchy);
        self.persistent.change().objects.retain(|_, o| o.hierarchy != hierarchy);
    }

    /// Deletes every NV Index but those of the platform.
    fn delete_owner_indices(&mut self) {
        let owners = |nv: &NvMemory| {
            nv.iter().map(|i| &i.public).find(|p| !p.attributes.has(NvAttributes::PLATFORMCREATE)).map(|p| p.index)
        };
        while let Some(h) = owners(&self.persistent.nv) {
            self.persistent.change().nv.undefine(h);
        }
    }

    /// authPolicy of a hierarchy or ACT, to be set.
    pub(crate) fn hierarchy_policy_mut(&mut self, h: Handle) -> Option<&mut HierarchyPolicy> {
        match h {
            Handle::OWNER => Some(&mut self.persistent.change().owner_policy),
            Handle::ENDORSEMENT => Some(&mut self.persistent.change().endorsement_policy),
            Handle::LOCKOUT => Some(&mut self.persistent.change().lockout_policy),
            Handle::PLATFORM => Some(&mut self.clear.change().platform_policy),
            _ => self.clear.change().act_policies.get_mut(h.act_position()?),
        }
    }

    /// The authValue of a hierarchy, to be set.
    pub(crate) fn hierarchy_auth_mut(&mut self, h: Handle) -> Option<&mut Auth> {
        match h {
            Handle::OWNER => Some(&mut self.persistent.change().owner_auth),
            Handle::ENDORSEMENT => Some(&mut self.persistent.change().endorsement_auth),
            Handle::LOCKOUT => Some(&mut self.persistent.change().lockout_auth),
            Handle::PLATFORM => Some(&mut self.clear.change().platform_auth),
            _ => None,
        }
    }

    /// The enable of a hierarchy, to be changed.
    pub(crate) fn enable_mut(&mut self, h: Handle) -> Option<&mut bool> {
        match h {
            Handle::OWNER => Some(&mut self.clear.change().storage_enabled),
            Handle::ENDORSEMENT => Some(&mut self.clear.change().endorsement_enabled),
            Handle::PLATFORM => Some(&mut self.clear.change().platform_enabled),
            Handle::PLATFORM_NV => Some(&mut self.clear.change().platform_nv_enabled),
            _ => None,
        }
    }

    /// A new PPS and phProof; NV Indices and platformAuth stay.
    ///
    /// A fault if the DRBG gives nothing.
    pub(crate) fn change_platform_seed(&mut self) -> Result<(), Fault> {
        let (seed, proof) = (self.fresh_seed()?, self.fresh_seed()?);
        let persistent = self.persistent.change();
        persistent.platform_seed = seed;
        persistent.platform_proof = proof;
        persistent.pcr_policy = None;
        self.clear.change().platform_policy = None;
        self.delete_objects(Handle::PLATFORM);
        Ok(())
    }

    /// A new EPS and ehProof, for an endorsement hierarchy as manufactured.
    ///
    /// A fault if the DRBG gives nothing.
    pub(crate) fn change_endorsement_seed(&mut self) -> Result<(), Fault> {
        let (seed, proof) = (self.fresh_seed()?, self.fresh_seed()?);
        let persistent = self.persistent.change();
        persistent.endorsement_seed = seed;
        persistent.endorsement_proof = proof;
        self.reset_endorsement();
        Ok(())
    }

    fn reset_endorsement(&mut self) {
        self.clear.change().endorsement_enabled = true;
        let persistent = self.persistent.change();
        persistent.endorsement_auth = Auth::new();
        persistent.endorsement_policy = None;
        self.delete_objects(Handle::ENDORSEMENT);
    }

    /// TPM2_Clear: the owner is gone. Only the EPS and what is the platform's stays.
    ///
    /// A fault if the DRBG gives nothing.
    pub(crate) fn clear_owner(&mut self) -> Result<(), Fault> {
        let (seed, proof, endorsement_proof) = (self.fresh_seed()?, self.fresh_seed()?, self.fresh_seed()?);
        self.delete_objects(Handle::OWNER);
        self.delete_owner_indices();
        self.reset_endorsement();
        let persistent = self.persistent.change();
        persistent.storage_seed = seed;
        persistent.storage_proof = proof;
        persistent.endorsement_proof = endorsement_proof;
        persistent.owner_auth = Auth::new();
        persistent.owner_policy = None;
        persistent.lockout_auth = Auth::new();
        persistent.lockout_policy = None;
        persistent.dictionary = Dictionary::new();
        persistent.clock_ms = 0;
        persistent.reset_count = 0;
        persistent.audit.counter = 0;
        self.ram.clock_safe = true;
        let clear = self.clear.change();
        clear.storage_enabled = true;
        clear.pcr_auth = Auth::new();
        let reset = self.reset.change();
        reset.restart_count = 0;
        reset.pcr_update_counter = reset.pcr_update_counter.wrapping_add(1);
        Ok(())
    }
}
