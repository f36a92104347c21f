//! TPM2_HMAC (Part 3, 15.5).

use crate::command::Command;
use crate::command::area::{User, handles, params};
use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::hmac;
use crate::object::Object;
use crate::pipeline::Call;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::tpm::Tpm;
use crate::wire::{DhObject, ObjectAttributes, Parms, Tpm2b};

pub(crate) struct Hmac;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER>, hash_alg: Option<HashAlg> } }

impl Command for Hmac {
    const CODE: u32 = 0x155;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Digest;

    /// - what [`key_hash`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Digest, Rc> {
        let key = tpm.object(h.key.handle()).ok_or(Rc::reference_h(0))?;
        let hash = key_hash(key, p.hash_alg)?;
        let sensitive = key.sensitive.as_ref().ok_or(Fmt1::KEY.at(Handles::key))?;
        Ok(hmac::hmac(hash, sensitive.composite.as_slice(), &[p.buffer.0]))
    }
}

/// The hash with which an HMAC key works: its own, or the one of the command if it has none.
///
/// - `TYPE` at the key: no keyed-hash object
/// - `ATTRIBUTES` at the key: it is restricted
/// - `KEY` at the key: it does not sign
/// - `VALUE` at the hash: not the key's own, or none at all
fn key_hash(key: &Object, wanted: Option<HashAlg>) -> Result<HashAlg, Rc> {
    let Parms::KeyedHash(scheme) = &key.public.parms else { return Err(Fmt1::TYPE.at(Handles::key)) };
    if key.has(ObjectAttributes::RESTRICTED) {
        return Err(Fmt1::ATTRIBUTES.at(Handles::key));
    }
    if !key.has(ObjectAttributes::SIGN) {
        return Err(Fmt1::KEY.at(Handles::key));
    }
    let own = scheme.0.hash();
    if own.is_some() && wanted.is_some() && own != wanted {
        return Err(Fmt1::VALUE.at(Params::hash_alg));
    }
    own.or(wanted).ok_or(Fmt1::VALUE.at(Params::hash_alg))
}
