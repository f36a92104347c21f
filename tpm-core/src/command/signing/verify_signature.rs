//! TPM2_VerifySignature (Part 3, 20.1).

use crate::command::area::{handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::object::sign::verify;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DhObject, HandleType, ObjectAttributes, Signature, TkVerified, st};

pub(crate) struct VerifySignature;

handles! { pub(crate) struct Handles { key_handle: DhObject } }
params! { pub(crate) struct Params { digest: Digest, signature: Signature } }

impl Command for VerifySignature {
    const CODE: u32 = 0x177;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = TkVerified;

    /// - `ATTRIBUTES` at `key_handle`: not for signing
    /// - `SCHEME` at `signature`: not a scheme of such keys, or one that cannot be verified
    /// - `HANDLE` at `signature`: an HMAC key without its private part
    /// - `SIGNATURE` at `signature`: it is not genuine
    ///
    /// The ticket is a NULL Ticket if the key is in the NULL hierarchy or has no Name.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<TkVerified, Rc> {
        let key = tpm.object(h.key_handle.handle()).ok_or(Fmt1::ATTRIBUTES.at(Handles::key_handle))?;
        if !key.has(ObjectAttributes::SIGN) {
            return Err(Fmt1::ATTRIBUTES.at(Handles::key_handle));
        }
        verify(key, p.digest.as_slice(), &p.signature).map_err(|e| e.at(Params::signature))?;
        Ok(tpm.verified(key, st::VERIFIED, &p.digest, None))
    }
}
