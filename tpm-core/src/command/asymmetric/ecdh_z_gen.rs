//! TPM2_ECDH_ZGen (Part 3, 14.5).

use super::{check_decrypts, ecc_key};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::object::create::point_of;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EccPoint, Scheme, Sized2b};

pub(crate) struct EcdhZGen;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! { pub(crate) struct Params { in_point: Sized2b<EccPoint> } }

impl Command for EcdhZGen {
    const CODE: u32 = 0x154;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Sized2b<EccPoint>;

    /// - `KEY` at the key: no ECC key
    /// - `ATTRIBUTES` at the key: it is restricted, or does not decrypt
    /// - `SCHEME` at the key: it has another scheme than ECDH
    /// - `ECC_POINT` at the point: not on the key's curve
    /// - `NO_RESULT`: the product is the point at infinity, which cannot be provoked: all orders are prime, and the
    ///   scalar is below them
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Sized2b<EccPoint>, Rc> {
        let (key, parms) = ecc_key(tpm, h.key.handle(), Handles::key)?;
        check_decrypts(key, Handles::key)?;
        if !matches!(parms.scheme.0, Scheme::Null | Scheme::Ecdh(_)) {
            return Err(Fmt1::SCHEME.at(Handles::key));
        }
        let point = p.in_point.0.on(parms.curve).map_err(|_| Fmt1::ECC_POINT.at(Params::in_point))?;
        let d = key.ecc_private().ok_or(Fmt1::KEY.at(Handles::key))?;
        let z = parms.curve.multiply(d.as_slice(), &point).map_err(|_| Rc::NO_RESULT)?;
        Ok(Sized2b(point_of(&z)))
    }
}
