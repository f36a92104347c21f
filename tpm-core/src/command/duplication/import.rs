//! TPM2_Import (Part 3, 13.3).

use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter};
use crate::crypto::hash::MAX_DIGEST;
use crate::data::object::name_of;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::{Seed, Use};
use crate::operation::object::load::{Blame, check};
use crate::operation::object::protect::{InnerWrapper, Wrapping, unwrap_duplicate};
use crate::operation::object::template;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    DhObject, EncryptedSecret, Named, ObjectAttributes as A, ObjectType, Private, Sized2b, SymDefObject,
};

pub(crate) struct Import;

handles! { pub(crate) struct Handles { parent: User<DhObject> } }
params! {
    pub(crate) struct Params {
        encryption_key: Secret<{ MAX_DIGEST + 2 }>,
        object_public: Sized2b<Named>,
        duplicate: Private,
        in_sym_seed: EncryptedSecret,
        symmetric_alg: Option<SymDefObject>,
    }
}

impl Command for Import {
    const CODE: u32 = 0x156;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Public;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Private;

    /// - `ATTRIBUTES` at `object_public`: fixedTPM or fixedParent
    /// - `TYPE` at `parent`: no storage key
    /// - `SIZE` at `encryption_key`: not the size of the algorithm's keys, or not empty without algorithm
    /// - `ATTRIBUTES` at `encryption_key`, `in_sym_seed`: encryptedDuplication, and one of the wrappers is missing
    /// - `TYPE` at `parent`: a seed, and the parent is not asymmetric
    /// - at `in_sym_seed`: what [`Tpm::open_secret`] says
    /// - `KEY`, `SCHEME` at `in_sym_seed` cannot be provoked: the parent is an asymmetric storage key, which has no
    ///   scheme
    /// - `HASH` at `object_public`: no nameAlg
    /// - at `duplicate`: what [`unwrap_duplicate`] says
    /// - what [`check`] says, if the parent is fixedTPM: it will not be asked again
    /// - at `object_public`: otherwise what [`template::check_import`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Private, Rc> {
        let public = p.object_public.0.0;
        if public.attributes.any(A::FIXED_TPM.with(A::FIXED_PARENT)) {
            return Err(Fmt1::ATTRIBUTES.at(Params::object_public));
        }
        let handle = h.parent.handle();
        let parent = tpm.object(handle).filter(|p| p.is_parent()).ok_or(Fmt1::TYPE.at(Handles::parent))?;
        let (by_type, fixed_tpm) = (parent.public.object_type(), parent.has(A::FIXED_TPM));
        if p.encryption_key.len() != p.symmetric_alg.map_or(0, |s| s.key_size()) {
            return Err(Fmt1::SIZE.at(Params::encryption_key));
        }
        let encrypted = public.attributes.has(A::ENCRYPTED_DUPLICATION);
        if encrypted && p.symmetric_alg.is_none() {
            return Err(Fmt1::ATTRIBUTES.at(Params::encryption_key));
        }
        let has_outer = !p.in_sym_seed.is_empty();
        let mut seed = Seed::new();
        if has_outer {
            if by_type == ObjectType::SymCipher {
                return Err(Fmt1::TYPE.at(Handles::parent));
            }
            let opened = tpm.open_secret(handle, Use::Duplicate, p.in_sym_seed.as_slice());
            seed = opened.map_err(|e| e.at(Params::in_sym_seed))?;
        } else if encrypted {
            return Err(Fmt1::ATTRIBUTES.at(Params::in_sym_seed));
        }
        let name = name_of(&public);
        let hash = public.name_alg.ok_or(Fmt1::HASH.at(Params::object_public))?;
        let parent = tpm.object(handle).ok_or(Fault::NoObject)?;
        let outer = Wrapping::under_seed(parent, seed.as_slice(), name.as_slice())?;
        let key = p.encryption_key.as_slice();
        let inner = p.symmetric_alg.map(|symmetric| InnerWrapper { symmetric, key, hash });
        let outer = Some(&outer).filter(|_| has_outer);
        let sensitive = unwrap_duplicate(p.duplicate.as_slice(), name.as_slice(), inner.as_ref(), outer);
        let sensitive = sensitive.map_err(|e| e.at(Params::duplicate))?;
        if fixed_tpm {
            let blame = Blame { public: Params::object_public, sensitive: Params::duplicate };
            check(None, &public, Some(&sensitive), &blame)?;
        } else {
            template::check_import(parent, &public).map_err(|e| e.at(Params::object_public))?;
        }
        tpm.protect(handle, &public, &name, &sensitive)
    }
}
