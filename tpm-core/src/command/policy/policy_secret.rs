//! TPM2_PolicySecret (Part 3, 23.4).

use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, ReadOnly};
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::policy::{Assertion, AssertionAt, Timeout};
use crate::rc::Rc;
use crate::wire::{DhEntity, HandleType, NvType, ShPolicy, Ticket, TkAuth, st};

pub(crate) struct PolicySecret;

handles! { pub(crate) struct Handles { auth: User<DhEntity>, session: ShPolicy } }
params! { pub(crate) struct Params { nonce_tpm: Digest, cp_hash_a: Digest, policy_ref: Digest, expiration: i32 } }
reply! { pub(crate) struct Answer { timeout: Timeout, ticket: TkAuth } }

impl Command for PolicySecret {
    const CODE: u32 = 0x151;
    const PROVES_SECRET: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::NoPin;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// Unless the session is a trial:
    /// - `VALUE` at `nonce_tpm`: it is not empty, and not the session's nonceTPM
    /// - `EXPIRED` at `expiration`: that time has passed, or the session began before the last _TPM_Init
    /// - `SIZE` at `cp_hash_a`: it is not empty, and has not the size of the session's digests
    /// - `CPHASH`: the session is already limited to another cpHash, or to a nameHash, template or parameters
    ///
    /// A negative expiration asks for a ticket. There is none for a PIN Pass index, whose uses would not be counted,
    /// nor for what [`Tpm::hierarchy_of`] has none.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Answer, Rc> {
        const AT: AssertionAt =
            AssertionAt { nonce_tpm: Params::nonce_tpm, cp_hash_a: Params::cp_hash_a, expiration: Params::expiration };
        let (entity, session) = (h.auth.handle(), h.session.handle());
        let assertion = Assertion {
            code: Self::CODE,
            name: tpm.name_of(entity),
            nonce_tpm: p.nonce_tpm,
            cp_hash_a: p.cp_hash_a,
            policy_ref: p.policy_ref,
            expiration: p.expiration,
        };
        let timeout_ms = tpm.check_assertion(session, &assertion, &AT)?;
        let hierarchy = tpm.hierarchy_of(entity);
        let (timeout, ticket) = tpm.assert(session, &assertion, timeout_ms, (st::AUTH_SECRET, hierarchy))?;
        if tpm.pin_type(entity) == Some(NvType::PinPass) {
            return Ok(Answer { timeout: Timeout(None), ticket: TkAuth(Ticket::null(st::AUTH_SECRET)) });
        }
        Ok(Answer { timeout, ticket: TkAuth(ticket) })
    }
}
