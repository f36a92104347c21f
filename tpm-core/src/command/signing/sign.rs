//! TPM2_Sign (Part 3, 20.2).

use super::{Kind, Positions, check_digest, external_signer};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::object::sign::Signer;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, SigScheme, Signature, TkHashcheck};

pub(crate) struct Sign;

handles! { pub(crate) struct Handles { key_handle: User<DhObject> } }
params! { pub(crate) struct Params { digest: Digest, in_scheme: SigScheme, validation: TkHashcheck } }

impl Command for Sign {
    const CODE: u32 = 0x15d;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Signature;

    /// - `KEY` at `key_handle`: no signing key
    /// - `ATTRIBUTES` at `key_handle`: it signs certificates only
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key
    /// - `TICKET` at `validation`: the key is restricted or there is a ticket, and it does not say that the TPM made
    ///   the digest with that hash
    /// - `SIZE` at `digest`: no digest of the scheme's hash
    /// - `VALUE`: the key is too small for the digest
    /// - `BINDING`: the private part is not loaded, which cannot be provoked: a key without it has no authorization
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Signature, Rc> {
        const AT: Positions =
            Positions { key: Handles::key_handle, digest: Params::digest, validation: Params::validation };
        let handle = h.key_handle.handle();
        let key = external_signer(tpm, handle, AT.key)?;
        let scheme = key.select_scheme(p.in_scheme.0).ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        let kind = Kind::of(scheme.hash().ok_or(Fmt1::SCHEME.at(Params::in_scheme))?);
        check_digest(tpm, key, &kind, &p.digest, &p.validation.0, &AT)?;
        tpm.sign(&Signer::new(handle, scheme), p.digest.as_slice())
    }
}
