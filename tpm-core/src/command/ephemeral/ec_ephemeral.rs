//! TPM2_EC_Ephemeral (Part 3, 19.3).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter};
use crate::crypto::ecc::Curve;
use crate::data::tpm::Tpm;
use crate::operation::object::create::point_of;
use crate::rc::Rc;
use crate::wire::{EccPoint, Sized2b};

pub(crate) struct EcEphemeral;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { curve_id: Curve } }
reply! { pub(crate) struct Answer { q: Sized2b<EccPoint>, counter: u16 } }

impl Command for EcEphemeral {
    const CODE: u32 = 0x18e;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Ecc;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `NO_RESULT`: there is no r, which cannot be provoked: every counter gives one
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Answer, Rc> {
        let r = tpm.reset.commit.next(p.curve_id, &[]).map_err(|_| Rc::NO_RESULT)?;
        let q = p.curve_id.public(r.as_slice()).map_err(|_| Rc::NO_RESULT)?;
        Ok(Answer { q: Sized2b(point_of(&q)), counter: tpm.reset.change().commit.commit() })
    }
}
