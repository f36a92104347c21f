//! What the firmware that the TPM lives in does with it before an operating system runs, without commands: it measures
//! what it starts, and leaves data in NV Indices for what runs later.

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::data::tpm::{Failure, Tpm};
#[cfg(doc)]
use crate::profile;
use crate::wire::{Auth, Handle, HandleKind, NvAttributes as A, NvPublic, NvType, PCR_BANKS, PCR_COUNT};

/// An event in the making ([`Tpm::event`]): for each bank of PCR a digest, which is computed here or given.
pub struct Event(heapless::Vec<Making, { PCR_BANKS.len() }>);

enum Making {
    Computed(Hasher),
    Given(HashAlg, Digest),
}

impl Making {
    const fn alg(&self) -> HashAlg {
        match self {
            Self::Computed(hasher) => hasher.alg(),
            Self::Given(alg, _) => *alg,
        }
    }

    fn finish(self) -> (HashAlg, Digest) {
        match self {
            Self::Computed(hasher) => (hasher.alg(), hasher.finish()),
            Self::Given(alg, digest) => (alg, digest),
        }
    }
}

impl Event {
    /// The event's digest by the algorithm `alg` (TPM_ALG_ID), from somebody who is trusted with it: nobody computes it
    /// here. One that no bank has is left out.
    ///
    /// # Errors
    /// [`Failure`] if `digest` has another length than those of `alg`.
    pub fn give(&mut self, alg: u16, digest: &[u8]) -> Result<(), Failure> {
        let Some(making) = self.0.iter_mut().find(|making| making.alg().id() == alg) else { return Ok(()) };
        let digest = Digest::from_slice(digest).filter(|digest| digest.as_slice().len() == making.alg().digest_size());
        *making = Making::Given(making.alg(), digest.ok_or(Failure)?);
        Ok(())
    }

    /// Whether a digest is left that is computed from the contents.
    #[must_use]
    pub fn wants_contents(&self) -> bool {
        self.0.iter().any(|making| matches!(making, Making::Computed(_)))
    }

    /// More octets of the event.
    pub fn update(&mut self, data: &[u8]) {
        for making in &mut self.0 {
            if let Making::Computed(hasher) = making {
                hasher.update(data);
            }
        }
    }
}

/// The digests that an event has extended a PCR by: TPML_DIGEST_VALUES.
pub struct EventDigests(heapless::Vec<(HashAlg, Digest), { PCR_BANKS.len() }>);

impl EventDigests {
    /// TPM_ALG_ID and digest of each bank that has the PCR.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().map(|(alg, digest)| (alg.id(), digest.as_slice()))
    }
}

impl Tpm {
    /// An event with no contents yet, for the banks that are allocated.
    #[must_use]
    pub fn event(&self) -> Event {
        Event(self.ram.pcrs.allocated_banks().map(|alg| Making::Computed(Hasher::new(alg))).collect())
    }

    /// Extends PCR `pcr` by an event in every bank that has it.
    ///
    /// # Errors
    /// [`Failure`] before TPM2_Startup, in failure mode, or if there is no such PCR.
    pub fn measure(&mut self, pcr: u32, event: Event) -> Result<EventDigests, Failure> {
        if !self.ram.started || self.ram.fault.is_some() || pcr >= PCR_COUNT {
            return Err(Failure);
        }
        let mut digests = heapless::Vec::new();
        for (alg, digest) in event.0.into_iter().map(Making::finish) {
            if self.ram.pcrs.is_allocated(alg, pcr) {
                self.extend_pcr(alg, pcr, digest.as_slice());
                digests.push((alg, digest)).map_err(|_| Failure)?;
            }
        }
        Ok(EventDigests(digests))
    }

    /// Defines the ordinary index `index` with `contents`, which anybody can read (the empty authValue) and nobody can
    /// write or lock; only the platform can undefine it. An index that exists already is replaced; if that fails, it
    /// stays as it was.
    ///
    /// # Errors
    /// [`Failure`] in failure mode, if `index` is no handle of an NV Index or is provided ([`Tpm::provide_index`]), or
    /// if there is no room for the contents.
    pub fn platform_index(&mut self, index: u32, contents: &[u8]) -> Result<(), Failure> {
        let size = u16::try_from(contents.len()).map_err(|_| Failure)?;
        let public = platform_public(index, platform_attributes(), size);
        let nv = &self.persistent.nv;
        let room = nv
            .get(public.index)
            .map_or((nv.room(), nv.free()), |old| (1, nv.free().saturating_add(old.public.data_size.into())));
        let fits = room.0 > 0 && room.1 >= contents.len() && nv.provided_size(public.index).is_none();
        if self.ram.fault.is_some() || public.index.kind() != HandleKind::Nv || !public.size_suits() || !fits {
            return Err(Failure);
        }
        let nv = &mut self.persistent.change().nv;
        nv.undefine(public.index);
        nv.define(public, Auth::new()).map_err(|_| Failure)?;
        nv.write(public.index, 0, contents);
        nv.set_attributes(public.index, A::WRITELOCKED);
        Ok(())
    }

    /// Defines the index `index` as [`Tpm::platform_index`] does, with `size` octets that the platform has, and not the
    /// TPM: they take no NV memory, [`profile::MAX_NV_INDEX_SIZE`] is no limit to them, and [`Tpm::execute_with`] is
    /// given them when a command reads the index. One that is provided already gets another size.
    ///
    /// It is no part of the state: who makes a TPM of a state provides it anew. One that has been undefined by the
    /// platform's authorization stays so until then, if the platform does not provide it.
    ///
    /// # Errors
    /// [`Failure`] in failure mode, if `index` is no handle of an NV Index, if there is another index with this handle,
    /// or if [`profile::MAX_PROVIDED_INDICES`] are provided.
    pub fn provide_index(&mut self, index: u32, size: u16) -> Result<(), Failure> {
        let attributes = platform_attributes().with(A::WRITTEN).with(A::WRITELOCKED);
        let public = platform_public(index, attributes, size);
        if self.ram.fault.is_some() || public.index.kind() != HandleKind::Nv {
            return Err(Failure);
        }
        self.persistent.change().nv.provide(public).map_err(|_| Failure)
    }

    /// Whether the index `index` is there, and [`Tpm::provide_index`] has defined it.
    #[must_use]
    pub fn has_provided_index(&self, index: u32) -> bool {
        self.persistent.nv.provided_size(Handle(index)).is_some()
    }

    /// Undefines the index `index`, if [`Tpm::provide_index`] has defined it.
    pub fn remove_provided_index(&mut self, index: u32) {
        if self.ram.fault.is_none() && self.has_provided_index(index) {
            self.persistent.change().nv.undefine(Handle(index));
        }
    }

    /// Whether the index `index` is there, and as [`Tpm::platform_index`] defines one.
    #[must_use]
    pub fn has_platform_index(&self, index: u32) -> bool {
        let expected = platform_attributes().with(A::WRITTEN).with(A::WRITELOCKED);
        let is_so = |public: &NvPublic| public.attributes == expected && public.auth_policy == Digest::default();
        !self.has_provided_index(index) && self.persistent.nv.get(Handle(index)).is_some_and(|i| is_so(&i.public))
    }

    /// What is in the ordinary index `index`, whoever has defined it and whatever it takes to read it; `None` if there
    /// is no such, or nothing was written to it.
    #[must_use]
    pub fn index_contents(&self, index: u32) -> Option<&[u8]> {
        let attributes = self.persistent.nv.get(Handle(index))?.public.attributes;
        let is_here = !self.has_provided_index(index);
        let is_written = is_here && attributes.nv_type() == Some(NvType::Ordinary) && attributes.has(A::WRITTEN);
        is_written.then(|| self.persistent.nv.data(Handle(index)))
    }

    /// Undefines the index `index`, if [`Tpm::platform_index`] has defined it.
    pub fn remove_platform_index(&mut self, index: u32) {
        if self.ram.fault.is_none() && self.has_platform_index(index) {
            self.persistent.change().nv.undefine(Handle(index));
        }
    }
}

fn platform_public(index: u32, attributes: A, data_size: u16) -> NvPublic {
    NvPublic { index: Handle(index), name_alg: HashAlg::Sha256, attributes, auth_policy: Digest::default(), data_size }
}

/// TPMA_NV of the firmware's indices, as they are defined.
fn platform_attributes() -> A {
    [A::PLATFORMCREATE, A::PPWRITE, A::PPREAD, A::OWNERREAD, A::AUTHREAD, A::NO_DA, A::WRITEDEFINE]
        .into_iter()
        .fold(A::default(), A::with)
}
