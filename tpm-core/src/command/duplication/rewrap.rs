//! TPM2_Rewrap (Part 3, 13.2).

use super::duplicate::is_storage;
use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::{Seed, Use};
use crate::operation::object::protect::{Wrapping, rewrap, unwrap_outer};
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EncryptedSecret, HandleType, Name, Nullable, Private};

pub(crate) struct Rewrap;

handles! { pub(crate) struct Handles { old_parent: User<Nullable<DhObject>>, new_parent: Nullable<DhObject> } }
params! { pub(crate) struct Params { in_duplicate: Private, name: Name, in_sym_seed: EncryptedSecret } }
reply! { pub(crate) struct Answer { out_duplicate: Private, out_sym_seed: EncryptedSecret } }

impl Command for Rewrap {
    const CODE: u32 = 0x152;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `HANDLE` at `old_parent`: a seed without old parent, or the other way round
    /// - `TYPE` at `old_parent`: no storage key
    /// - `VALUE` at `in_sym_seed`: the old parent does not give a seed from it
    /// - `SIZE`, `INSUFFICIENT`, `INTEGRITY` at `in_duplicate`: not wrapped with that seed for that Name
    /// - `TYPE` at `new_parent`: no storage key
    /// - what [`Tpm::new_secret`] says
    /// - `SCHEME` of these cannot be provoked: a storage key has no scheme
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        let old_parent = h.old_parent.0.0.map(HandleType::handle);
        if old_parent.is_some() == p.in_sym_seed.is_empty() {
            return Err(Fmt1::HANDLE.at(Handles::old_parent));
        }
        let name = p.name.as_slice();
        let mut old_seed = Seed::new();
        if let Some(old) = old_parent {
            tpm.object(old)
                .filter(|o| o.is_parent() && is_storage(&o.public))
                .ok_or(Fmt1::TYPE.at(Handles::old_parent))?;
            let seed = tpm.open_secret(old, Use::Duplicate, p.in_sym_seed.as_slice());
            old_seed = seed.map_err(|e| e.instead(Fmt1::VALUE.at(Params::in_sym_seed)))?;
        }
        let outer = match old_parent.and_then(|o| tpm.object(o)) {
            Some(old) => Some(Wrapping::under_seed(old, old_seed.as_slice(), name)?),
            None => None,
        };
        let octets = unwrap_outer(p.in_duplicate.as_slice(), outer.as_ref()).map_err(|e| e.at(Params::in_duplicate))?;
        let Some(new) = h.new_parent.0.map(HandleType::handle) else {
            return Ok(Answer { out_duplicate: rewrap(octets, None)?, out_sym_seed: EncryptedSecret::new() });
        };
        tpm.object(new).filter(|n| is_storage(&n.public)).ok_or(Fmt1::TYPE.at(Handles::new_parent))?;
        let (seed, out_sym_seed) = tpm.new_secret(new, Use::Duplicate)?;
        let parent = tpm.object(new).ok_or(Fault::NoObject)?;
        let outer = Wrapping::under_seed(parent, seed.as_slice(), name)?;
        Ok(Answer { out_duplicate: rewrap(octets, Some(&outer))?, out_sym_seed })
    }
}
