//! TPM2_Duplicate (Part 3, 13.1).

use crate::command::area::{Dup, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::MAX_DIGEST;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::{Seed, Use};
use crate::operation::object::protect::{InnerWrapper, Wrapping, wrap_duplicate};
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    DhObject, EncryptedSecret, HandleType, MAX_SYM_KEY_BYTES, Nullable, ObjectAttributes as A, ObjectType, Private,
    SymDefObject,
};

pub(crate) struct Duplicate;

handles! { pub(crate) struct Handles { object: Dup<DhObject>, new_parent: Nullable<DhObject> } }
params! {
    pub(crate) struct Params { encryption_key_in: Secret<{ MAX_DIGEST + 2 }>, symmetric_alg: Option<SymDefObject> }
}
reply! {
    pub(crate) struct Answer { encryption_key_out: Secret<MAX_SYM_KEY_BYTES>, duplicate: Private, out_sym_seed: EncryptedSecret }
}

impl Command for Duplicate {
    const CODE: u32 = 0x14b;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `ATTRIBUTES` at `object`: fixedParent
    /// - `TYPE` at `object`: no nameAlg, which cannot be provoked: without one there is no policy, and the DUP role
    ///   needs one
    /// - `TYPE` at `new_parent`: no storage key
    /// - `SYMMETRIC` at `symmetric_alg`, `HIERARCHY` at `new_parent`: encryptedDuplication, and one of the wrappers is
    ///   missing
    /// - `SIZE` at `encryption_key_in`: not the size of the algorithm's keys, or not empty without algorithm
    /// - what [`Tpm::new_secret`] says
    /// - `SCHEME` of these cannot be provoked: a storage key has no scheme
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        let object = tpm.object(h.object.handle()).ok_or(Fmt1::TYPE.at(Handles::object))?;
        if object.has(A::FIXED_PARENT) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::object));
        }
        let hash = object.public.name_alg.ok_or(Fmt1::TYPE.at(Handles::object))?;
        let new_parent = h.new_parent.0.map(HandleType::handle);
        if new_parent.is_some_and(|n| !tpm.object(n).is_some_and(|n| is_storage(&n.public))) {
            return Err(Fmt1::TYPE.at(Handles::new_parent));
        }
        if object.has(A::ENCRYPTED_DUPLICATION) {
            p.symmetric_alg.ok_or(Fmt1::SYMMETRIC.at(Params::symmetric_alg))?;
            new_parent.ok_or(Fmt1::HIERARCHY.at(Handles::new_parent))?;
        }
        let given = &p.encryption_key_in;
        if !given.is_empty() && given.len() != p.symmetric_alg.map_or(0, |s| s.key_size()) {
            return Err(Fmt1::SIZE.at(Params::encryption_key_in));
        }
        let (seed, out_sym_seed) = match new_parent {
            Some(parent) => tpm.new_secret(parent, Use::Duplicate)?,
            None => (Seed::new(), EncryptedSecret::new()),
        };
        let (key, encryption_key_out) = inner_key(tpm, p.symmetric_alg, given)?;
        let object = tpm.object(h.object.handle()).ok_or(Fault::NoObject)?;
        let sensitive = object.sensitive.as_ref().ok_or(Fault::NoSensitive)?;
        let inner = p.symmetric_alg.map(|symmetric| InnerWrapper { symmetric, key: key.as_slice(), hash });
        let outer = match new_parent.and_then(|n| tpm.object(n)) {
            Some(parent) => Some(Wrapping::under_seed(parent, seed.as_slice(), object.name.as_slice())?),
            None => None,
        };
        let duplicate = wrap_duplicate(sensitive, hash, object.name.as_slice(), inner.as_ref(), outer.as_ref())?;
        Ok(Answer { encryption_key_out, duplicate, out_sym_seed })
    }
}

/// An asymmetric storage key, be it only its public area: the new parent is often in another TPM. To a symmetric one no
/// secret can be sent.
pub(super) fn is_storage(public: &crate::wire::Public) -> bool {
    let symmetric = matches!(public.object_type(), ObjectType::SymCipher | ObjectType::KeyedHash);
    !symmetric
        && public.attributes.has(A::RESTRICTED.with(A::DECRYPT))
        && public.symmetric().is_some()
        && public.name_alg.is_some()
}

type Key = Secret<MAX_SYM_KEY_BYTES>;

/// The key of the inner wrapper, and what of it the caller does not know.
fn inner_key(
    tpm: &mut Tpm,
    symmetric: Option<SymDefObject>,
    given: &Secret<{ MAX_DIGEST + 2 }>,
) -> Result<(Key, Key), Rc> {
    let Some(symmetric) = symmetric.filter(|_| given.is_empty()) else {
        return Ok((Key::from_slice(given.as_slice()).map_err(|_| Fault::Capacity)?, Key::new()));
    };
    let mut key = Key::zeroed(symmetric.key_size()).map_err(|_| Fault::Capacity)?;
    tpm.random(key.as_mut_slice())?;
    let out = key.duplicate();
    Ok((key, out))
}
