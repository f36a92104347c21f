//! TPM2_NV_Certify (Part 3, 31.16).

use crate::command::area::{User, handles, params};
use crate::command::attestation::Answer;
use crate::command::call::Call;
use crate::command::interface::{Command, IndexUse};
use crate::crypto::hash::Hasher;
use crate::data::tpm::Tpm;
use crate::operation::object::sign::Signer;
use crate::profile::NV_BUFFER_MAX;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    AttestBuffer, Attested, Data, DhObject, Handle, HandleType, Nullable, RhNvAuth, RhNvIndex, SigScheme,
};

pub(crate) struct NvCertify;

handles! { pub(crate) struct Handles { sign_handle: User<Nullable<DhObject>>, auth_handle: User<RhNvAuth>, nv_index: RhNvIndex } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme, size: u16, offset: u16 } }

impl Command for NvCertify {
    const CODE: u32 = 0x184;
    const INDEX: IndexUse = IndexUse::Reads;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `NV_LOCKED`: the index is read-locked
    /// - `NV_AUTHORIZATION`: this entity may not read it
    /// - `NV_UNINITIALIZED`: it has not been written
    /// - `NV_UNAVAILABLE`: what the platform provides is not there now
    /// - `NV_RANGE`: the end lies beyond the index
    /// - `VALUE` at `size`: more than one answer can hold
    /// - `SCHEME` at `in_scheme`: a digest is asked for, and there is no hash: TPM_RH_NULL without a scheme, or an
    ///   ML-DSA key without nameAlg
    /// - `VALUE`: the key is too small for the scheme's digest
    ///
    /// Size and offset zero ask for a digest of the whole index in place of its contents.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let index = h.nv_index.handle();
        tpm.check_nv_read(h.auth_handle.handle(), index)?;
        let attest = certified(tpm, call, &signer, index, &p)?;
        let signature = tpm.sign_attest(&signer, p.qualifying_data, &attest)?;
        Answer::of((attest, signature))
    }
}

fn certified(tpm: &Tpm, call: &Call, signer: &Signer, index: Handle, p: &Params<'_>) -> Result<AttestBuffer, Rc> {
    let (index_name, data) = (tpm.name_of(index), call.nv_contents(tpm, index)?);
    let start = usize::from(p.offset);
    let contents = data.get(start..start + usize::from(p.size)).ok_or(Rc::NV_RANGE)?;
    if contents.len() > NV_BUFFER_MAX {
        return Err(Fmt1::VALUE.at(Params::size));
    }
    let attested = if p.size == 0 && p.offset == 0 {
        let hash = signer.hash.ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        Attested::NvDigest { index_name, digest: Hasher::new(hash).chain(data).finish() }
    } else {
        Attested::Nv { index_name, offset: p.offset, contents }
    };
    tpm.attest_data(signer, p.qualifying_data, attested)
}
