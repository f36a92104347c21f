//! TPM2_Decapsulate (1.85: Part 3, 14.11).

use super::check_decrypts;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::Error;
use crate::crypto::dhkem::SharedSecret;
use crate::crypto::mlkem;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, Parms, SensitiveComposite, Tpm2b};

pub(crate) struct Decapsulate;

handles! { pub(crate) struct Handles { key_handle: User<DhObject> } }
params! { pub(crate) struct Params<'a> { ciphertext: Tpm2b<'a, { mlkem::MAX_CIPHERTEXT }> } }

impl Command for Decapsulate {
    const CODE: u32 = 0x1a8;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = SharedSecret;

    /// - `KEY` at the key: neither an ML-KEM key nor an ECC key with a KDF
    /// - `ATTRIBUTES` at the key: it is restricted, or does not decrypt
    /// - `SIZE` at the ciphertext: not of the key's KEM
    /// - `VALUE` at the ciphertext: no point of the curve. A wrong one for ML-KEM gives another secret
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<SharedSecret, Rc> {
        let no_key = Fmt1::KEY.at(Handles::key_handle);
        let key = tpm.object(h.key_handle.handle()).ok_or(no_key)?;
        let refused = |e| match e {
            Error::Length => Fmt1::SIZE.at(Params::ciphertext),
            _ => Fmt1::VALUE.at(Params::ciphertext),
        };
        match &key.public.parms {
            Parms::MlKem(parms) => {
                check_decrypts(key, Handles::key_handle)?;
                let seed = match key.sensitive.as_ref().map(|s| &s.composite) {
                    Some(SensitiveComposite::MlKem(seed)) => seed,
                    _ => return Err(no_key),
                };
                let shared = parms.set.decapsulate(seed.as_slice(), p.ciphertext.0).map_err(refused)?;
                SharedSecret::from_slice(shared.as_slice()).map_err(|_| Fault::Capacity.into())
            }
            Parms::Ecc(parms) => {
                let kem = parms.kem().ok_or(no_key)?;
                check_decrypts(key, Handles::key_handle)?;
                let (d, public) = (key.ecc_private().ok_or(no_key)?, key.ecc_public().ok_or(no_key)?);
                kem.decapsulate(d.as_slice(), &public, p.ciphertext.0).map_err(refused)
            }
            _ => Err(no_key),
        }
    }
}
