//! How an NV Index is defined (Part 2, 13.4; Part 3, 31.3).

use crate::data::tpm::Tpm;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{Auth, Handle, NvAttributes as A, NvPublic, NvType};

/// Where the commands that define an index have what they define it with.
pub(crate) struct DefinitionAt {
    /// authHandle
    pub(crate) auth_handle: At,
    /// auth
    pub(crate) auth: At,
    /// publicInfo
    pub(crate) public_info: At,
}

impl Tpm {
    /// Defines an index with the authorization of the owner or of the platform.
    ///
    /// - `SIZE` at publicInfo: authPolicy is neither empty nor of the size of nameAlg's digests
    /// - `SIZE` at auth: longer than nameAlg's digests
    /// - `HIERARCHY` at authHandle: the platform, and phEnableNV is CLEAR
    /// - `ATTRIBUTES` at publicInfo: a type that does not exist
    /// - `SIZE` at publicInfo: dataSize does not fit the type
    /// - `ATTRIBUTES` at publicInfo: attributes that do not go together
    /// - `ATTRIBUTES` at authHandle: TPMA_NV_PLATFORMCREATE does not tell who defines the index
    /// - `ATTRIBUTES` at publicInfo: TPMA_NV_POLICY_DELETE, and not by the platform
    /// - `SIZE` at publicInfo: TPMA_NV_WRITEALL and more than one TPM2_NV_Write can bring
    /// - `NV_DEFINED`: the index exists
    /// - `NV_SPACE`: no room
    pub(crate) fn define_nv(
        &mut self,
        by: Handle,
        mut auth: Auth,
        public: NvPublic,
        at: &DefinitionAt,
    ) -> Result<(), Rc> {
        let a = public.attributes;
        let digest_size = public.name_alg.digest_size();
        if !public.auth_policy.is_empty() && public.auth_policy.len() != digest_size {
            return Err(Fmt1::SIZE.at(at.public_info));
        }
        auth.trim_trailing_zeros();
        if auth.len() > digest_size {
            return Err(Fmt1::SIZE.at(at.auth));
        }
        let by_platform = by == Handle::PLATFORM;
        if by_platform && !self.clear.platform_nv_enabled {
            return Err(Fmt1::HIERARCHY.at(at.auth_handle));
        }
        check_attributes(&public).map_err(|e| e.at(at.public_info))?;
        if a.has(A::PLATFORMCREATE) != by_platform {
            return Err(Fmt1::ATTRIBUTES.at(at.auth_handle));
        }
        if a.has(A::POLICY_DELETE) && !by_platform {
            return Err(Fmt1::ATTRIBUTES.at(at.public_info));
        }
        if usize::from(public.data_size) > NV_BUFFER_MAX && a.has(A::WRITEALL) {
            return Err(Fmt1::SIZE.at(at.public_info));
        }
        self.persistent.nv.check_room(&public)?;
        self.persistent.change().nv.define(public, auth)
    }
}

fn check_attributes(public: &NvPublic) -> Result<(), Fmt1> {
    let a = public.attributes;
    let nv_type = a.nv_type().ok_or(Fmt1::ATTRIBUTES)?;
    if !public.size_suits() {
        return Err(Fmt1::SIZE);
    }
    let fresh = !a.any(A::WRITTEN.with(A::WRITELOCKED).with(A::READLOCKED));
    let readable = a.any(A::OWNERREAD.with(A::PPREAD).with(A::AUTHREAD).with(A::POLICYREAD));
    let writable = a.any(A::OWNERWRITE.with(A::PPWRITE).with(A::AUTHWRITE).with(A::POLICYWRITE));
    // A lock for ever does not go with contents until the next start.
    let lasts = !a.has(A::CLEAR_STCLEAR.with(A::WRITEDEFINE));
    if suits(a, nv_type) && fresh && readable && writable && lasts { Ok(()) } else { Err(Fmt1::ATTRIBUTES) }
}

/// What a type demands: a counter never goes back; who knows a PIN cannot set its count; a PIN Fail index has its own
/// protection against guessing; and none can be locked against new tries for ever.
fn suits(a: A, nv_type: NvType) -> bool {
    let pin = !a.any(A::AUTHWRITE.with(A::GLOBALLOCK).with(A::WRITEDEFINE));
    match nv_type {
        NvType::Counter => !a.has(A::CLEAR_STCLEAR),
        NvType::PinFail => pin && a.has(A::NO_DA),
        NvType::PinPass => pin,
        NvType::Ordinary | NvType::Bits | NvType::Extend => true,
    }
}
