//! TPM2_MakeCredential (Part 3, 12.6).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, HashAlg};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::Use;
use crate::operation::object::protect::{Wrapping, wrap_credential};
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EncryptedSecret, HandleType, IdObject, Name, ObjectAttributes as A};

pub(crate) struct MakeCredential;

handles! { pub(crate) struct Handles { key: DhObject } }
params! { pub(crate) struct Params { credential: Digest, object_name: Name } }
reply! { pub(crate) struct Answer { credential_blob: IdObject, secret: EncryptedSecret } }

/// An asymmetric storage key, be it only its public area.
pub(super) fn protects_credentials(key: &Object) -> bool {
    key.public.object_type().is_asymmetric() && key.has(A::RESTRICTED.with(A::DECRYPT))
}

impl Command for MakeCredential {
    const CODE: u32 = 0x168;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `TYPE` at `key`: no asymmetric storage key
    /// - `SIZE` at `credential`: longer than the digests of the key's nameAlg
    /// - what [`Tpm::new_secret`] says
    /// - `KEY`, `SCHEME` of these cannot be provoked: the key is an asymmetric storage key, which has no scheme
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        let handle = h.key.handle();
        let key = tpm.object(handle).filter(|k| protects_credentials(k)).ok_or(Fmt1::TYPE.at(Handles::key))?;
        if p.credential.len() > key.public.name_alg.map_or(0, HashAlg::digest_size) {
            return Err(Fmt1::SIZE.at(Params::credential));
        }
        let (seed, secret) = tpm.new_secret(handle, Use::Identity)?;
        let key = tpm.object(handle).ok_or(Fault::NoObject)?;
        let wrapping = Wrapping::under_seed(key, seed.as_slice(), p.object_name.as_slice())?;
        Ok(Answer { credential_blob: wrap_credential(&wrapping, &p.credential)?, secret })
    }
}
