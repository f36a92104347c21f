//! What the firmware that the TPM lives in does with it before an operating system runs, without commands: it measures
//! what it starts, and leaves data in NV Indices for whoever comes after.

use crate::crypto::hash::{Digest, HashAlg};
use crate::data::measurement::Measurement;
use crate::data::tpm::{Failure, Tpm};
use crate::profile::PCR_BANKS;
use crate::wire::{Auth, Handle, HandleKind, NvAttributes as A, NvPublic, PCR_COUNT};

/// The digests that an event has extended a PCR by: TPML_DIGEST_VALUES.
pub struct EventDigests(heapless::Vec<(HashAlg, Digest), { PCR_BANKS.len() }>);

impl EventDigests {
    /// TPM_ALG_ID and digest of each bank that has the PCR.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(alg, digest)| (alg.id(), digest.as_slice()))
    }
}

impl Tpm {
    /// Extends PCR `pcr` by an event in every bank that has it.
    ///
    /// # Errors
    /// [`Failure`] before TPM2_Startup, in failure mode, or if there is no such PCR.
    pub fn measure(&mut self, pcr: u32, event: Measurement) -> Result<EventDigests, Failure> {
        if !self.ram.started || self.ram.fault.is_some() || pcr >= PCR_COUNT {
            return Err(Failure);
        }
        let mut digests = heapless::Vec::new();
        for (alg, digest) in event.finish() {
            if self.ram.pcrs.is_allocated(alg, pcr) {
                self.extend_pcr(alg, pcr, digest.as_slice());
                digests.push((alg, digest)).map_err(|_| Failure)?;
            }
        }
        Ok(EventDigests(digests))
    }

    /// Defines the ordinary index `index` with `contents`, which anybody can read (the empty authValue) and nobody can
    /// write or lock; only the platform can undefine it. An index that exists already is replaced.
    ///
    /// # Errors
    /// [`Failure`] if `index` is no handle of an NV Index, or there is no room for the contents.
    pub fn platform_index(&mut self, index: u32, contents: &[u8]) -> Result<(), Failure> {
        let attributes =
            [A::PLATFORMCREATE, A::PPWRITE, A::PPREAD, A::OWNERREAD, A::AUTHREAD, A::NO_DA, A::WRITEDEFINE];
        let public = NvPublic {
            index: Handle(index),
            name_alg: HashAlg::Sha256,
            attributes: attributes.into_iter().fold(A::default(), A::with),
            auth_policy: Digest::default(),
            data_size: u16::try_from(contents.len()).map_err(|_| Failure)?,
        };
        if public.index.kind() != HandleKind::Nv || !public.size_suits() {
            return Err(Failure);
        }
        let nv = &mut self.persistent.nv;
        nv.undefine(public.index);
        nv.define(public, Auth::new()).map_err(|_| Failure)?;
        nv.write(public.index, 0, contents);
        nv.set_attributes(public.index, A::WRITELOCKED);
        Ok(())
    }
}
