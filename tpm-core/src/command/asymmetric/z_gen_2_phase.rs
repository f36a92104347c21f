//! TPM2_ZGen_2Phase (Part 3, 14.7).

use super::{check_decrypts, ecc_key};
use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::object::create::point_of;
use crate::rc::{Fmt1, Rc};
use crate::wire::{AlgId, DhObject, EccPoint, Reader, Scheme, Sized2b, Unmarshal};

pub(crate) struct ZGen2Phase;

handles! { pub(crate) struct Handles { key_a: User<DhObject> } }
params! {
    pub(crate) struct Params {
        in_qs_b: Sized2b<EccPoint>,
        in_qe_b: Sized2b<EccPoint>,
        in_scheme: KeyExchange,
        counter: u16,
    }
}
reply! { pub(crate) struct Answer { out_z1: Sized2b<EccPoint>, out_z2: Sized2b<EccPoint> } }

/// TPMI_ECC_KEY_EXCHANGE without TPM_ALG_NULL (Part 2, 11.2.5.4).
#[derive(Clone, Copy)]
pub(crate) struct KeyExchange(AlgId);

impl Unmarshal<'_> for KeyExchange {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let id: AlgId = r.get()?;
        if id.on().is_some() && matches!(id, AlgId::ECDH | AlgId::ECMQV | AlgId::SM2) {
            Ok(Self(id))
        } else {
            Err(Fmt1::SCHEME)
        }
    }
}

impl Command for ZGen2Phase {
    const CODE: u32 = 0x18d;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `KEY` at the key: no ECC key
    /// - `ATTRIBUTES` at the key: it is restricted, or does not decrypt
    /// - `SCHEME` at the scheme: not the key's own; before all others if it is not a scheme
    /// - `ECC_POINT` at each point: not on the key's curve
    /// - `VALUE` at the counter: TPM2_EC_Ephemeral did not give it, or it has been used
    ///
    /// A point at infinity is an Empty Point: the other party's points can be such that MQV and SM2 give it.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        let (key, parms) = ecc_key(tpm, h.key_a.handle(), Handles::key_a)?;
        check_decrypts(key, Handles::key_a)?;
        let KeyExchange(scheme) = p.in_scheme;
        if parms.scheme.0 != Scheme::Null && parms.scheme.0.id() != scheme {
            return Err(Fmt1::SCHEME.at(Params::in_scheme));
        }
        let curve = parms.curve;
        let qs_b = p.in_qs_b.0.on(curve).map_err(|_| Fmt1::ECC_POINT.at(Params::in_qs_b))?;
        let qe_b = p.in_qe_b.0.on(curve).map_err(|_| Fmt1::ECC_POINT.at(Params::in_qe_b))?;
        let de_a = tpm.reset.commit.reopen(curve, &[], p.counter).ok_or(Fmt1::VALUE.at(Params::counter))?;
        let ds_a = key.ecc_private().ok_or(Fmt1::KEY.at(Handles::key_a))?;
        let (ds_a, de_a) = (ds_a.as_slice(), de_a.as_slice());
        let (z1, z2) = match scheme {
            AlgId::ECMQV => (curve.mqv(ds_a, de_a, &qs_b, &qe_b), None),
            AlgId::SM2 => (curve.sm2_exchange(ds_a, de_a, &qs_b, &qe_b), None),
            _ => (curve.multiply(ds_a, &qs_b), Some(curve.multiply(de_a, &qe_b))),
        };
        let [out_z1, out_z2] =
            [Some(z1), z2].map(|z| z.and_then(Result::ok).map_or_else(EccPoint::default, |z| point_of(&z)));
        tpm.reset.change().commit.close(p.counter);
        Ok(Answer { out_z1: Sized2b(out_z1), out_z2: Sized2b(out_z2) })
    }
}
