//! TPM2_Commit (Part 3, 19.2).

use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::ecc::Point;
use crate::crypto::hash::Hasher;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::operation::object::create::point_of;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, EccParameter, EccParms, EccPoint, MAX_SYM_DATA, Scheme, Sized2b, Tpm2b};

pub(crate) struct Commit;

handles! { pub(crate) struct Handles { sign_handle: User<DhObject> } }
params! { pub(crate) struct Params<'a> { p1: Sized2b<EccPoint>, s2: Tpm2b<'a, MAX_SYM_DATA>, y2: EccParameter } }
reply! {
    pub(crate) struct Answer {
        k: Sized2b<EccPoint>,
        l: Sized2b<EccPoint>,
        e: Sized2b<EccPoint>,
        counter: u16,
    }
}

impl Command for Commit {
    const CODE: u32 = 0x18b;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at the key: no ECC key
    /// - `SCHEME` at the key: its scheme is not ECDAA
    /// - `SIZE` at y2: just one of s2 and y2 is given
    /// - what [`second_point`] says
    /// - `ECC_POINT` at P1: not on the key's curve
    /// - `NO_RESULT`: a product is the point at infinity, which cannot be provoked: all orders are prime, and the
    ///   scalars are below them
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let no_key = Fmt1::KEY.at(Handles::sign_handle);
        let key = tpm.object(h.sign_handle.handle()).ok_or(no_key)?;
        let parms = key.ecc_parms().ok_or(no_key)?;
        if !matches!(parms.scheme.0, Scheme::Ecdaa(..)) {
            return Err(Fmt1::SCHEME.at(Handles::sign_handle));
        }
        if p.s2.0.is_empty() != p.y2.is_empty() {
            return Err(Fmt1::SIZE.at(Params::y2));
        }
        let curve = parms.curve;
        let second = if p.s2.0.is_empty() { None } else { Some(second_point(key, parms, &p)?) };
        let empty = p.p1.0.x.is_empty() && p.p1.0.y.is_empty();
        let first = if empty { None } else { Some(p.p1.0.on(curve).map_err(|_| Fmt1::ECC_POINT.at(Params::p1))?) };
        let no_result = |_| Rc::NO_RESULT;
        let r = tpm.reset.commit.next(curve, key.name.as_slice()).map_err(no_result)?;
        let (mut k, mut l, mut e) = (EccPoint::default(), EccPoint::default(), EccPoint::default());
        if let Some(point) = &second {
            let d = key.ecc_private().ok_or(no_key)?;
            k = point_of(&curve.multiply(d.as_slice(), point).map_err(no_result)?);
            l = point_of(&curve.multiply(r.as_slice(), point).map_err(no_result)?);
        }
        match &first {
            Some(point) => e = point_of(&curve.multiply(r.as_slice(), point).map_err(no_result)?),
            None if second.is_none() => e = point_of(&curve.public(r.as_slice()).map_err(no_result)?),
            None => {}
        }
        let counter = tpm.reset.change().commit.commit();
        Ok(Answer { k: Sized2b(k), l: Sized2b(l), e: Sized2b(e), counter })
    }
}

/// P2: the point whose x coordinate is H(s2) mod p, with the key's nameAlg, and whose y coordinate is y2.
///
/// - `HASH` at the key: it has no nameAlg
/// - `ECC_POINT` at s2: not on the key's curve
/// - `KEY` at the key: it has no sensitive area
fn second_point(key: &Object, parms: &EccParms, p: &Params<'_>) -> Result<Point, Rc> {
    let alg = key.public.name_alg.ok_or(Fmt1::HASH.at(Handles::sign_handle))?;
    let digest = Hasher::new(alg).chain(p.s2.0).finish();
    let point = parms.curve.hashed_point(&digest, p.y2.as_slice()).map_err(|_| Fmt1::ECC_POINT.at(Params::s2))?;
    if key.sensitive.is_some() { Ok(point) } else { Err(Fmt1::KEY.at(Handles::sign_handle)) }
}
