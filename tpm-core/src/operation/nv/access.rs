//! Who may read and write an NV Index now (Part 3, 31.1).

use crate::data::nv::{NvIndex, NvMemory};
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{Handle, NvAttributes as A, NvPublic};

impl Tpm {
    fn defined(&self, h: Handle) -> Result<&NvIndex, Rc> {
        self.nv_index(h).ok_or(Rc::NV_UNINITIALIZED)
    }

    /// TPMA_NV of an index.
    pub(crate) fn nv_attributes(&self, h: Handle) -> Result<A, Rc> {
        self.defined(h).map(|i| i.public.attributes)
    }

    /// Whether what is written into an index now is gone after the next start.
    pub(crate) fn is_passing_nv(&self, index: Handle) -> bool {
        self.nv_attributes(index).is_ok_and(|a| a.has(A::ORDERLY.with(A::CLEAR_STCLEAR)))
    }

    /// NvWriteAccessChecks(). That authValue or authPolicy may authorize writing was checked with the authorization.
    ///
    /// - `NV_LOCKED`: TPMA_NV_WRITELOCKED
    /// - `NV_AUTHORIZATION`: the authorization is that of the owner or platform without TPMA_NV_OWNERWRITE or _PPWRITE,
    ///   or of another index
    pub(crate) fn check_nv_write(&self, auth: Handle, index: Handle) -> Result<&NvPublic, Rc> {
        let public = &self.defined(index)?.public;
        if public.attributes.has(A::WRITELOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        admits(public, auth, A::OWNERWRITE, A::PPWRITE)
    }

    /// NvReadAccessChecks(). That authValue or authPolicy may authorize reading was checked with the authorization.
    ///
    /// - `NV_LOCKED`: TPMA_NV_READLOCKED
    /// - `NV_AUTHORIZATION`: the authorization is that of the owner or platform without TPMA_NV_OWNERREAD or _PPREAD,
    ///   or of another index
    /// - `NV_UNINITIALIZED`: not TPMA_NV_WRITTEN
    pub(crate) fn check_nv_read(&self, auth: Handle, index: Handle) -> Result<&NvPublic, Rc> {
        let public = &self.defined(index)?.public;
        if public.attributes.has(A::READLOCKED) {
            return Err(Rc::NV_LOCKED);
        }
        admits(public, auth, A::OWNERREAD, A::PPREAD)?;
        if public.attributes.has(A::WRITTEN) { Ok(public) } else { Err(Rc::NV_UNINITIALIZED) }
    }

    /// Writes into an index. What is only in RAM is lost without TPM2_Shutdown.
    pub(crate) fn write_nv(&mut self, h: Handle, offset: usize, bytes: &[u8]) {
        self.update_nv(h, |nv| nv.write(h, offset, bytes));
    }

    /// Changes the contents of an index.
    pub(crate) fn update_nv(&mut self, h: Handle, change: impl FnOnce(&mut NvMemory)) {
        if self.nv_attributes(h).is_ok_and(|a| a.has(A::ORDERLY)) {
            self.void_shutdown();
        }
        change(&mut self.persistent.change().nv);
    }
}

fn admits(public: &NvPublic, auth: Handle, owner: A, platform: A) -> Result<&NvPublic, Rc> {
    let admitted = match auth {
        Handle::OWNER => public.attributes.has(owner),
        Handle::PLATFORM => public.attributes.has(platform),
        _ => auth == public.index,
    };
    if admitted { Ok(public) } else { Err(Rc::NV_AUTHORIZATION) }
}
