//! TPM2_ECC_Parameters (Part 3, 14.6).

use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::ecc::{Curve, Parameters};
use crate::crypto::hash::HashAlg;
use crate::data::tpm::Tpm;
use crate::rc::Rc;
use crate::wire::{AlgId, KdfAlg, KdfScheme, MAX_ECC_KEY_BYTES, Marshal, Tpm2b, Writer};

pub(crate) struct EccParameters;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { curve_id: Curve } }

impl Command for EccParameters {
    const CODE: u32 = 0x178;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = AlgorithmDetailEcc;

    /// No codes of its own: a curve that is not implemented is not read (`CURVE`).
    fn run<'t>(_tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<AlgorithmDetailEcc, Rc> {
        Ok(AlgorithmDetailEcc(p.curve_id))
    }
}

/// TPMS_ALGORITHM_DETAIL_ECC (Part 2, 11.2.5.7).
pub(crate) struct AlgorithmDetailEcc(Curve);

impl Marshal for AlgorithmDetailEcc {
    fn marshal(&self, w: &mut Writer<'_>) {
        let Self(curve) = *self;
        let Parameters { p, a, b, gx, gy, n, h } = curve.parameters();
        curve.marshal(w);
        curve.bits().marshal(w);
        default_kdf(curve).marshal(w);
        AlgId::NULL.marshal(w);
        for number in [p, a, b, gx, gy, n, h] {
            Tpm2b::<MAX_ECC_KEY_BYTES>(number).marshal(w);
        }
    }
}

/// The key derivation function that goes with a curve: with a hash of its strength, none for the pairing-friendly one.
fn default_kdf(curve: Curve) -> Option<KdfScheme> {
    let hash = match curve {
        Curve::NistP192 | Curve::NistP224 | Curve::NistP256 => HashAlg::Sha256,
        Curve::NistP384 => HashAlg::Sha384,
        Curve::NistP521 => HashAlg::Sha512,
        Curve::Sm2P256 => HashAlg::Sm3,
        Curve::BnP256 => return None,
    };
    Some(KdfScheme { kdf: KdfAlg::Kdf1Sp800_56a, hash })
}
