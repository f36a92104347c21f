//! TPM2_ECC_Decrypt (Part 3, 14.9).

use super::{Shared, check_decrypts, ecc_key, kdf2_hash};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{DhObject, EccPoint, KdfScheme, Sized2b, Tpm2b};

pub(crate) struct EccDecrypt;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! {
    pub(crate) struct Params<'a> {
        c1: Sized2b<EccPoint>,
        c2: Tpm2b<'a, MAX_DIGEST_BUFFER>,
        c3: Digest,
        in_scheme: Option<KdfScheme>,
    }
}

impl Command for EccDecrypt {
    const CODE: u32 = 0x19a;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Secret<MAX_DIGEST_BUFFER>;

    /// - `KEY` at the key: no ECC key
    /// - `ATTRIBUTES` at the key: it is restricted, or does not decrypt
    /// - what [`kdf2_hash`] says
    /// - `VALUE`: C1 is not on the key's curve, or C3 does not bind the text
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Self::Reply<'t>, Rc> {
        let (key, parms) = ecc_key(tpm, h.key.handle(), Handles::key)?;
        check_decrypts(key, Handles::key)?;
        let hash = kdf2_hash(parms.kdf, p.in_scheme, Params::in_scheme)?;
        let wrong = Fmt1::VALUE.plain();
        let d = key.ecc_private().ok_or(Fmt1::KEY.at(Handles::key))?;
        let point = p.c1.0.on(parms.curve).map_err(|_| wrong)?;
        let shared = Shared::new(hash, parms.curve, d.as_slice(), &point).map_err(|_| wrong)?;
        let mut plain_text = Secret::from_slice(p.c2.0).map_err(|_| Fault::Capacity)?;
        shared.mask(plain_text.as_mut_slice()).map_err(|_| Fault::Capacity)?;
        if shared.binding(plain_text.as_slice()) == p.c3 { Ok(plain_text) } else { Err(wrong) }
    }
}
