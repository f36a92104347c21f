//! TPM2_ActivateCredential (Part 3, 12.5).

use super::make_credential::protects_credentials;
use crate::command::area::{Admin, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::Use;
use crate::operation::object::protect::{Wrapping, unwrap_credential};
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EncryptedSecret, IdObject};

pub(crate) struct ActivateCredential;

handles! { pub(crate) struct Handles { activate: Admin<DhObject>, key: User<DhObject> } }
params! { pub(crate) struct Params { credential_blob: IdObject, secret: EncryptedSecret } }

impl Command for ActivateCredential {
    const CODE: u32 = 0x147;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Digest;

    /// - `TYPE` at `key`: no asymmetric storage key
    /// - `SEQUENCE`: what a credential is to be for is a sequence object
    /// - at `secret`: what [`Tpm::open_secret`] says
    /// - `KEY`, `SCHEME` of these cannot be provoked: the key is an asymmetric storage key, which has no scheme
    /// - at `credential_blob`: what [`unwrap_credential`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Digest, Rc> {
        let handle = h.key.handle();
        tpm.object(handle).filter(|k| protects_credentials(k)).ok_or(Fmt1::TYPE.at(Handles::key))?;
        let name = tpm.object(h.activate.handle()).ok_or(Rc::SEQUENCE)?.name.clone();
        let seed = tpm.open_secret(handle, Use::Identity, p.secret.as_slice()).map_err(|e| e.at(Params::secret))?;
        let key = tpm.object(handle).ok_or(Fault::NoObject)?;
        let wrapping = Wrapping::under_seed(key, seed.as_slice(), name.as_slice())?;
        unwrap_credential(&wrapping, p.credential_blob.as_slice()).map_err(|e| e.at(Params::credential_blob))
    }
}
