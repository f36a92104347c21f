//! TPM2_ECDH_KeyGen (Part 3, 14.4).

use super::ecc_key;
use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::object::create::point_of;
use crate::operation::object::key::crypto_failed;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EccPoint, HandleType, Sized2b};

pub(crate) struct EcdhKeyGen;

handles! { pub(crate) struct Handles { key: DhObject } }
params! { pub(crate) struct Params {} }
reply! { pub(crate) struct Answer { z_point: Sized2b<EccPoint>, pub_point: Sized2b<EccPoint> } }

impl Command for EcdhKeyGen {
    const CODE: u32 = 0x163;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `KEY` at the key: no ECC key
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Answer, Rc> {
        let (key, parms) = ecc_key(tpm, h.key.handle(), Handles::key)?;
        let curve = parms.curve;
        let no_key = Fmt1::KEY.at(Handles::key);
        let public = key.ecc_public().ok_or(no_key)?;
        let (d, ephemeral) = curve.generate(&mut tpm.drbg).map_err(|e| crypto_failed(e, Rc::NO_RESULT))?;
        let z = curve.multiply(d.as_slice(), &public).map_err(|_| no_key)?;
        Ok(Answer { z_point: Sized2b(point_of(&z)), pub_point: Sized2b(point_of(&ephemeral)) })
    }
}
