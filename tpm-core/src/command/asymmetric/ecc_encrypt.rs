//! TPM2_ECC_Encrypt (Part 3, 14.8).

use super::{Shared, ecc_key, kdf2_hash};
use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::create::point_of;
use crate::operation::object::key::crypto_failed;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{DhObject, EccPoint, HandleType, KdfScheme, Sized2b, Tpm2b};

pub(crate) struct EccEncrypt;

handles! { pub(crate) struct Handles { key: DhObject } }
params! { pub(crate) struct Params<'a> { plain_text: Tpm2b<'a, MAX_DIGEST_BUFFER>, in_scheme: Option<KdfScheme> } }
reply! { pub(crate) struct Answer { c1: Sized2b<EccPoint>, c2: Secret<MAX_DIGEST_BUFFER>, c3: Digest } }

impl Command for EccEncrypt {
    const CODE: u32 = 0x199;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at the key: no ECC key
    /// - what [`kdf2_hash`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let no_key = Fmt1::KEY.at(Handles::key);
        let (key, parms) = ecc_key(tpm, h.key.handle(), Handles::key)?;
        let hash = kdf2_hash(parms.kdf, p.in_scheme, Params::in_scheme)?;
        let curve = parms.curve;
        let public = key.ecc_public().ok_or(no_key)?;
        let (d, ephemeral) = curve.generate(&mut tpm.drbg).map_err(|e| crypto_failed(e, Rc::NO_RESULT))?;
        let shared = Shared::new(hash, curve, d.as_slice(), &public).map_err(|_| no_key)?;
        let mut c2 = Secret::from_slice(p.plain_text.0).map_err(|_| Fault::Capacity)?;
        shared.mask(c2.as_mut_slice()).map_err(|_| Fault::Capacity)?;
        Ok(Answer { c1: Sized2b(point_of(&ephemeral)), c2, c3: shared.binding(p.plain_text.0) })
    }
}
