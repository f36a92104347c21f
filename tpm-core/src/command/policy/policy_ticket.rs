//! TPM2_PolicyTicket (Part 3, 23.5).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::policy::{Assertion, AssertionAt};
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, Name, ShPolicy, TkAuth, Tpm2b, st};

use super::policy_secret::PolicySecret;
use super::policy_signed::PolicySigned;

pub(crate) struct PolicyTicket;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params<'a> { timeout: Tpm2b<'a, 8>, cp_hash_a: Digest, policy_ref: Digest, auth_name: Name, ticket: TkAuth } }

impl Command for PolicyTicket {
    const CODE: u32 = 0x172;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `SIZE` at `timeout`: not as the TPM made it
    /// - `EXPIRED` at `timeout`: that time has passed, or the session began before the last _TPM_Init
    /// - `SIZE` at `cp_hash_a`, `CPHASH`: as for TPM2_PolicySecret
    /// - `TICKET` at `ticket`: the TPM did not make it for these values, or since when Time has started anew
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Empty, Rc> {
        let at = AssertionAt { nonce_tpm: Params::timeout, cp_hash_a: Params::cp_hash_a, expiration: Params::timeout };
        let session = h.session.handle();
        let ticket = p.ticket.0;
        let assertion = Assertion {
            code: if ticket.tag == st::AUTH_SIGNED { PolicySigned::CODE } else { PolicySecret::CODE },
            name: p.auth_name,
            nonce_tpm: Digest::EMPTY,
            cp_hash_a: p.cp_hash_a,
            policy_ref: p.policy_ref,
            expiration: 0,
        };
        if tpm.policy_session(session)?.is_trial() {
            tpm.assert_in_trial(session, &assertion)?;
        } else {
            let timeout = <[u8; 8]>::try_from(p.timeout.0).map_err(|_| Fmt1::SIZE.at(Params::timeout))?;
            tpm.redeem(session, &assertion, u64::from_be_bytes(timeout), &ticket, (&at, Params::ticket))?;
        }
        Ok(Empty)
    }
}
