//! TPM2_RSA_Decrypt (Part 3, 14.3).

use super::{check_decrypts, is_label, padding, rsa_key, select_rsa_scheme};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::Error;
use crate::crypto::rsa::padding::Message;
use crate::data::tpm::Tpm;
use crate::operation::object::key::{is_own, private_failed};
use crate::rc::{Fmt1, Rc};
use crate::wire::{Data, DhObject, MAX_RSA_KEY_BYTES, RsaDecrypt as RsaDecryptScheme, Tpm2b};

pub(crate) struct RsaDecrypt;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! {
    pub(crate) struct Params<'a> {
        cipher_text: Tpm2b<'a, MAX_RSA_KEY_BYTES>,
        in_scheme: RsaDecryptScheme,
        label: Data<'a>,
    }
}

impl Command for RsaDecrypt {
    const CODE: u32 = 0x159;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Message;

    /// - `KEY` at the key: no RSA key
    /// - `ATTRIBUTES` at the key: it is restricted, or does not decrypt
    /// - `VALUE` at the label: it does not end in a zero octet
    /// - `SCHEME` at the scheme: not the key's own
    /// - `SIZE`: the ciphertext has not the length of the modulus, or is not below it
    /// - `BINDING`: a key from outside the TPM whose factors are no primes
    /// - `VALUE`: whatever is wrong with the padding, found in the same time
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Message, Rc> {
        let (key, parms) = rsa_key(tpm, h.key.handle(), Handles::key)?;
        check_decrypts(key, Handles::key)?;
        if !is_label(p.label.0) {
            return Err(Fmt1::VALUE.at(Params::label));
        }
        let scheme = select_rsa_scheme(parms.scheme.0, p.in_scheme.0).ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        let scheme = padding(scheme, p.label.0).ok_or(Fmt1::SCHEME.plain())?;
        let private = key.rsa_private().ok_or(Fmt1::KEY.at(Handles::key))?;
        if p.cipher_text.0.len() != private.public().size() {
            return Err(Fmt1::SIZE.plain());
        }
        let is_own = is_own(key);
        private.decrypt(&mut tpm.drbg, scheme, p.cipher_text.0).map_err(|e| match e {
            Error::Range => Fmt1::SIZE.plain(),
            e => private_failed(is_own, e, Fmt1::VALUE.plain()),
        })
    }
}
