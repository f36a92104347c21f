//! TPM2_HMAC and TPM2_MAC (Part 3, 15.5 and 15.6), which have one command code: the latter with every kind of key.

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::hmac::{Hmac, hmac};
use crate::data::object::{self, Object};
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{AlgId, DhObject, MacScheme, ObjectAttributes, ObjectType, Parms, Tpm2b};

pub(crate) struct Mac;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! { pub(crate) struct Params<'a> { buffer: Tpm2b<'a, MAX_DIGEST_BUFFER>, in_scheme: Option<MacScheme> } }

impl Command for Mac {
    const CODE: u32 = 0x155;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Digest;

    /// - what [`choose`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Digest, Rc> {
        let key = choose(tpm.object(h.key.handle()), p.in_scheme, Handles::key, Params::in_scheme)?;
        match key.scheme {
            MacScheme::Hmac(hash) => Ok(hmac(hash, key.bits, &[p.buffer.0])),
            MacScheme::Cmac => {
                let mut mac = key.start().ok_or(Fmt1::KEY.at(Handles::key))?;
                mac.update(p.buffer.0);
                Ok(mac.finish())
            }
        }
    }
}

/// A key with the scheme for which it is chosen.
pub(in crate::command) struct Chosen<'k> {
    scheme: MacScheme,
    bits: &'k [u8],
    parms: &'k Parms,
}

impl Chosen<'_> {
    /// Starts a code; `None` if the key is not of the cipher that the scheme needs.
    pub(in crate::command) fn start(&self) -> Option<object::Mac> {
        match (self.scheme, self.parms) {
            (MacScheme::Hmac(hash), _) => Some(object::Mac::Hmac(Hmac::new(hash, self.bits))),
            (MacScheme::Cmac, Parms::SymCipher(parms)) => object::Mac::cmac(parms.alg, self.bits),
            (MacScheme::Cmac, _) => None,
        }
    }
}

/// The key with the scheme that is used with it.
///
/// - `TYPE` at the key: neither a keyed hash nor a cipher
/// - what [`select`] says, at the scheme
/// - `ATTRIBUTES` at the key: it is restricted
/// - `KEY` at the key: it does not sign
pub(in crate::command) fn choose(
    key: Option<&Object>,
    wanted: Option<MacScheme>,
    at_key: At,
    at_scheme: At,
) -> Result<Chosen<'_>, Rc> {
    let wrong_type = Fmt1::TYPE.at(at_key);
    let key = key.filter(|k| has_mac(k.public.object_type())).ok_or(wrong_type)?;
    let scheme = select(key, wanted).map_err(|e| e.at(at_scheme))?;
    if key.has(ObjectAttributes::RESTRICTED) {
        return Err(Fmt1::ATTRIBUTES.at(at_key));
    }
    let no_key = Fmt1::KEY.at(at_key);
    if !key.has(ObjectAttributes::SIGN) {
        return Err(no_key);
    }
    let bits = key.symmetric_key().ok_or(no_key)?;
    Ok(Chosen { scheme, bits, parms: &key.public.parms })
}

/// Whether keys of this type make message authentication codes.
const fn has_mac(key: ObjectType) -> bool {
    matches!(key, ObjectType::KeyedHash | ObjectType::SymCipher)
}

/// The key's scheme, or the command's if it has none.
///
/// - `VALUE`: not the key's own, or none at all
/// - `SCHEME`: not for a key of this type
fn select(key: &Object, wanted: Option<MacScheme>) -> Result<MacScheme, Fmt1> {
    let own = match &key.public.parms {
        Parms::KeyedHash(scheme) => scheme.0.hash().map(HashAlg::id),
        Parms::SymCipher(parms) => parms.mode.map(crate::crypto::sym::Mode::id),
        _ => None,
    };
    let wanted = wanted.map(MacScheme::id);
    let id = match (own.map(AlgId), wanted) {
        (Some(own), Some(wanted)) if own != wanted => return Err(Fmt1::VALUE),
        (own, wanted) => wanted.or(own).ok_or(Fmt1::VALUE)?,
    };
    match MacScheme::from_id(id).ok_or(Fmt1::SCHEME)? {
        scheme @ MacScheme::Hmac(_) if key.public.object_type() == ObjectType::KeyedHash => Ok(scheme),
        scheme @ MacScheme::Cmac if key.public.object_type() == ObjectType::SymCipher => Ok(scheme),
        _ => Err(Fmt1::SCHEME),
    }
}
