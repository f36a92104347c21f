//! TPM2_Encapsulate (1.85: Part 3, 14.10).

use crate::command::area::{handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::dhkem;
use crate::crypto::mlkem;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::key::crypto_failed;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Buffer, DhObject, HandleType, Parms, Unique};

pub(crate) struct Encapsulate;

handles! { pub(crate) struct Handles { key_handle: DhObject } }
params! { pub(crate) struct Params {} }
reply! { pub(crate) struct Answer { shared_secret: dhkem::SharedSecret, ciphertext: Buffer<{ mlkem::MAX_CIPHERTEXT }> } }

impl Command for Encapsulate {
    const CODE: u32 = 0x1a7;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `KEY` at the key: neither an ML-KEM key nor an ECC key with a KDF
    ///
    /// Its attributes do not matter: only the public area is used.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, _p: Params) -> Result<Answer, Rc> {
        let no_key = Fmt1::KEY.at(Handles::key_handle);
        let key = tpm.object(h.key_handle.handle()).ok_or(no_key)?;
        let mut out = [0; mlkem::MAX_CIPHERTEXT];
        let (shared, size) = match (&key.public.parms, &key.public.unique) {
            (Parms::MlKem(parms), Unique::MlKem(public)) => {
                let size = parms.set.ciphertext_size();
                let (set, public) = (parms.set, public.clone());
                let out = out.get_mut(..size).ok_or(Fault::Capacity)?;
                let shared = set.encapsulate(public.as_slice(), &mut tpm.drbg, out);
                let shared = shared.map_err(|e| crypto_failed(e, no_key))?;
                (dhkem::SharedSecret::from_slice(shared.as_slice()).map_err(|_| Fault::Capacity)?, size)
            }
            (Parms::Ecc(parms), _) => {
                let kem = parms.kem().ok_or(no_key)?;
                let public = key.ecc_public().ok_or(no_key)?;
                let out = out.get_mut(..kem.ciphertext_size()).ok_or(Fault::Capacity)?;
                let shared = kem.encapsulate(&public, &mut tpm.drbg, out);
                (shared.map_err(|e| crypto_failed(e, no_key))?, kem.ciphertext_size())
            }
            _ => return Err(no_key),
        };
        let ciphertext = Buffer::from_slice(out.get(..size).unwrap_or_default()).map_err(Fmt1::plain)?;
        Ok(Answer { shared_secret: shared, ciphertext })
    }
}
