//! Part 3, 18: Attestation Commands.

pub(crate) mod certify;
pub(crate) mod certify_creation;
pub(crate) mod certify_x509;
mod der;
pub(crate) mod get_command_audit_digest;
pub(crate) mod get_session_audit_digest;
pub(crate) mod get_time;
pub(crate) mod quote;

use crate::command::area::reply;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{AttestBuffer, Handle, Signature};

reply! {
    /// What all attestation commands but one answer: TPM2B_ATTEST and TPMT_SIGNATURE.
    pub(crate) struct Answer { attest: AttestBuffer, signature: Signature }
}

/// An object of which the TPM has a public area with a Name and the sensitive area that belongs to it (Part 3, 18.2.1):
/// one that TPM2_LoadExternal has loaded whole is one, too (Part 1, 26.4: "any command that is valid for the type
/// including certification").
///
/// - `SEQUENCE`: a sequence object
/// - `HANDLE` at the handle: a public area alone, or no Name
fn whole_object(tpm: &Tpm, h: Handle, at: At) -> Result<&Object, Rc> {
    let object = tpm.object(h).ok_or(Rc::SEQUENCE)?;
    if object.sensitive.is_none() || object.name.is_empty() { Err(Fmt1::HANDLE.at(at)) } else { Ok(object) }
}

/// An object that the TPM has made or protects: "any object that is loaded with TPM2_Load() or TPM2_CreatePrimary()"
/// (Part 3, 18.3.1).
///
/// - `SEQUENCE`: a sequence object
/// - `HANDLE` at the handle: an external object
fn own_object(tpm: &Tpm, h: Handle, at: At) -> Result<&Object, Rc> {
    let object = tpm.object(h).ok_or(Rc::SEQUENCE)?;
    if object.external { Err(Fmt1::HANDLE.at(at)) } else { Ok(object) }
}

impl Answer {
    /// From what [`crate::data::tpm::Tpm::attest`] gives.
    pub(crate) fn of((attest, signature): (AttestBuffer, Signature)) -> Result<Self, Rc> {
        Ok(Self { attest, signature })
    }
}
