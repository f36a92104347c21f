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
use crate::rc::Rc;
use crate::wire::{AttestBuffer, Signature};

reply! {
    /// What all attestation commands but one answer: TPM2B_ATTEST and TPMT_SIGNATURE.
    pub(crate) struct Answer { attest: AttestBuffer, signature: Signature }
}

impl Answer {
    /// From what [`crate::tpm::Tpm::attest`] gives.
    pub(crate) fn of((attest, signature): (AttestBuffer, Signature)) -> Result<Self, Rc> {
        Ok(Self { attest, signature })
    }
}
