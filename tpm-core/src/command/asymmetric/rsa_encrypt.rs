//! TPM2_RSA_Encrypt (Part 3, 14.2).

use super::{is_label, padding, rsa_key, select_rsa_scheme};
use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::operation::object::key::crypto_failed;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Buffer, Data, DhObject, HandleType, MAX_RSA_KEY_BYTES, RsaDecrypt, Tpm2b};

pub(crate) struct RsaEncrypt;

handles! { pub(crate) struct Handles { key: DhObject } }
params! { pub(crate) struct Params<'a> { message: Tpm2b<'a, MAX_RSA_KEY_BYTES>, in_scheme: RsaDecrypt, label: Data<'a> } }

impl Command for RsaEncrypt {
    const CODE: u32 = 0x174;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Buffer<MAX_RSA_KEY_BYTES>;

    /// - `KEY` at the key: no RSA key
    /// - `VALUE` at the label: it does not end in a zero octet
    /// - `SCHEME` at the scheme: not the key's own
    /// - `VALUE`: the message is too long for key and scheme, or without a scheme not below the modulus
    ///
    /// Its attributes do not matter: only the public area is used, and that is what the caller wants it to be.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Self::Reply<'t>, Rc> {
        let (key, parms) = rsa_key(tpm, h.key.handle(), Handles::key)?;
        if !is_label(p.label.0) {
            return Err(Fmt1::VALUE.at(Params::label));
        }
        let scheme = select_rsa_scheme(parms.scheme.0, p.in_scheme.0).ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        let scheme = padding(scheme, p.label.0).ok_or(Fmt1::SCHEME.plain())?;
        let public = key.rsa_public().ok_or(Fmt1::KEY.at(Handles::key))?;
        let message =
            if scheme == crate::crypto::rsa::padding::CryptScheme::Null { number(p.message.0) } else { p.message.0 };
        let mut out = [0; MAX_RSA_KEY_BYTES];
        let size = public
            .encrypt(&mut tpm.drbg, scheme, message, &mut out)
            .map_err(|e| crypto_failed(e, Fmt1::VALUE.plain()))?;
        Buffer::from_slice(out.get(..size).unwrap_or_default()).map_err(Fmt1::plain)
    }
}

/// A number without the zeros before it: those may make it longer than the modulus.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}
