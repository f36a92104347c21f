//! TPM2_CertifyCreation (Part 3, 18.3).

use super::{Answer, own_object};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Attested, Data, DhObject, HandleType, Nullable, SigScheme, TkCreation};

pub(crate) struct CertifyCreation;

handles! { pub(crate) struct Handles { sign_handle: User<Nullable<DhObject>>, object_handle: DhObject } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, creation_hash: Digest, in_scheme: SigScheme, creation_ticket: TkCreation } }

impl Command for CertifyCreation {
    const CODE: u32 = 0x14a;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `SEQUENCE`, `HANDLE` at `object_handle`: what [`own_object`] says
    /// - `TICKET` at `creation_ticket`: not the one this TPM made when it created the object with this creation data
    /// - `VALUE`: the key is too small for the scheme's digest
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let object_name = own_object(tpm, h.object_handle.handle(), Handles::object_handle)?.name.clone();
        if !tpm.check_ticket(&p.creation_ticket.0, &[object_name.as_slice(), p.creation_hash.as_slice()]) {
            return Err(Fmt1::TICKET.at(Params::creation_ticket));
        }
        let created = Attested::Creation { object_name, creation_hash: p.creation_hash };
        Answer::of(tpm.attest(&signer, p.qualifying_data, created)?)
    }
}
