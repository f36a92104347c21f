//! TPM2_TestParms (Part 3, 30.3).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::object::template::check_exponent;
use crate::rc::{Fmt1, Rc};
use crate::wire::Parms;

pub(crate) struct TestParms;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { parameters: Parms } }

impl Command for TestParms {
    const CODE: u32 = 0x18a;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// What unmarshalling says at `parameters`: a type, size, curve, scheme or hash that is not supported; and
    /// - `KDF` at `parameters`: not that of the KEM of an ECC key's curve
    /// - `VALUE` at `parameters`: an RSA exponent that cannot be one
    fn run<'t>(_tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        match p.parameters {
            Parms::Ecc(parms) if parms.kdf.is_some() && parms.kem().is_none() => Err(Fmt1::KDF.at(Params::parameters)),
            parms => check_exponent(&parms).map(|()| Empty).map_err(|e| e.at(Params::parameters)),
        }
    }
}
