//! What TPM2_PolicySigned, TPM2_PolicySecret and TPM2_PolicyTicket have in common (Part 3, 23.2): an entity asserts
//! something, for a time, perhaps with a ticket.

use crate::crypto::hash::Digest;
use crate::data::policy::{BoundHash, PolicyState};
use crate::data::session::Session;
use crate::data::state::Ram;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{Handle, HandleKind, Marshal, Name, NvAttributes, Ticket, Writer};

/// An assertion by the entity with this Name.
pub(crate) struct Assertion {
    /// the code that goes into policyDigest
    pub(crate) code: u32,
    /// Name of the entity
    pub(crate) name: Name,
    /// nonceTPM
    pub(crate) nonce_tpm: Digest,
    /// cpHashA
    pub(crate) cp_hash_a: Digest,
    /// policyRef
    pub(crate) policy_ref: Digest,
    /// expiration, in seconds
    pub(crate) expiration: i32,
}

/// Where a command has these parameters.
pub(crate) struct AssertionAt {
    /// nonceTPM
    pub(crate) nonce_tpm: At,
    /// cpHashA
    pub(crate) cp_hash_a: At,
    /// expiration
    pub(crate) expiration: At,
}

/// TPM2B_TIMEOUT (Part 2, 10.4.10): when the assertion ends, in milliseconds of Time; empty without a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timeout(pub(crate) Option<u64>);

impl Marshal for Timeout {
    const SIZED: bool = true;
    fn marshal(&self, w: &mut Writer<'_>) {
        w.sized(|w| {
            if let Some(ms) = self.0 {
                ms.marshal(w);
            }
        });
    }
}

impl Assertion {
    /// timeout in milliseconds of Time (Part 3, 23.2.2): counted from the session's start, or without nonceTPM from the
    /// start of Time.
    fn timeout_ms(&self, policy: &PolicyState) -> Option<u64> {
        if self.expiration == 0 {
            return None;
        }
        let ms = u64::from(self.expiration.unsigned_abs()).saturating_mul(1000);
        let start = if self.nonce_tpm.is_empty() { 0 } else { policy.start_ms };
        Some(start.saturating_add(ms))
    }

    /// PolicyParameterChecks() (Part 3, 23.2.2).
    ///
    /// - `VALUE` at nonceTPM: it is not empty, and not the session's nonceTPM
    /// - `EXPIRED` at expiration: that time has passed, or the session began before the last _TPM_Init
    /// - `SIZE` at cpHashA: it is not empty, and has not the size of the session's digests
    /// - `CPHASH`: the session is already limited to another cpHash, or to a nameHash, template or parameters
    fn check(&self, session: &Session, timeout_ms: Option<u64>, ram: &Ram, at: &AssertionAt) -> Result<(), Rc> {
        if !self.nonce_tpm.is_empty() && self.nonce_tpm != session.nonce_tpm {
            return Err(Fmt1::VALUE.at(at.nonce_tpm));
        }
        if session.policy.is_over(timeout_ms, ram.now()) {
            return Err(Fmt1::EXPIRED.at(at.expiration));
        }
        if self.cp_hash_a.is_empty() {
            return Ok(());
        }
        session.check_digest_size(&self.cp_hash_a, at.cp_hash_a)?;
        session.check_bound_hash(BoundHash::CpHash(self.cp_hash_a))
    }

    /// PolicyContextUpdate() (Part 3, 23.2.5).
    fn apply(&self, session: &mut Session, timeout_ms: Option<u64>) {
        let policy = &mut session.policy;
        policy.update(session.hash, self.code, self.name.as_slice(), self.policy_ref.as_slice());
        if !self.cp_hash_a.is_empty() {
            policy.bound_hash = Some(BoundHash::CpHash(self.cp_hash_a));
        }
        policy.limit_to(timeout_ms);
    }
}

impl Tpm {
    /// When the assertion ends, in a session that is not a trial, and what `Assertion::check` says of it there.
    pub(crate) fn check_assertion(
        &self,
        h: Handle,
        assertion: &Assertion,
        at: &AssertionAt,
    ) -> Result<Option<u64>, Rc> {
        let session = self.ram.sessions.get(h).ok_or(Rc::reference_h(1))?;
        if session.is_trial() {
            return Ok(None);
        }
        let timeout_ms = assertion.timeout_ms(&session.policy);
        assertion.check(session, timeout_ms, &self.ram, at)?;
        Ok(timeout_ms)
    }

    /// Puts a checked assertion into the session, and answers with a ticket if expiration is negative, the session not
    /// a trial, and the entity in a hierarchy.
    pub(crate) fn assert(
        &mut self,
        h: Handle,
        assertion: &Assertion,
        timeout_ms: Option<u64>,
        (tag, hierarchy): (u16, Option<Handle>),
    ) -> Result<(Timeout, Ticket), Rc> {
        let session = self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(1))?;
        assertion.apply(session, timeout_ms);
        match timeout_ms.filter(|_| assertion.expiration < 0).zip(hierarchy) {
            Some((ms, hierarchy)) => Ok((Timeout(Some(ms)), self.assertion_ticket(tag, hierarchy, ms, assertion))),
            None => Ok((Timeout(None), Ticket::null(tag))),
        }
    }

    /// Puts an assertion into a trial session, for which nothing is checked.
    pub(crate) fn assert_in_trial(&mut self, h: Handle, assertion: &Assertion) -> Result<(), Rc> {
        let session = self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(0))?;
        assertion.apply(session, None);
        Ok(())
    }

    /// Puts into the session what a ticket vouches for.
    ///
    /// - what `Assertion::check` says, of the timeout that the ticket came with
    /// - `TICKET` at `ticket_at`: the TPM did not make it for this assertion, hierarchy and time
    pub(crate) fn redeem(
        &mut self,
        h: Handle,
        assertion: &Assertion,
        timeout_ms: u64,
        ticket: &Ticket,
        (at, ticket_at): (&AssertionAt, At),
    ) -> Result<(), Rc> {
        let session = self.ram.sessions.get(h).ok_or(Rc::reference_h(0))?;
        let timeout = Some(timeout_ms).filter(|ms| *ms != 0);
        assertion.check(session, timeout, &self.ram, at)?;
        if self.assertion_ticket(ticket.tag, ticket.hierarchy, timeout_ms, assertion) != *ticket {
            return Err(Fmt1::TICKET.at(ticket_at));
        }
        let session = self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(0))?;
        assertion.apply(session, timeout);
        Ok(())
    }

    /// TPMT_TK_AUTH (Part 2, 10.7.5). Time starts anew at _TPM_Init, so the ticket says to which epoch its timeout
    /// belongs. Sizes keep the parts apart.
    fn assertion_ticket(&self, tag: u16, hierarchy: Handle, timeout_ms: u64, assertion: &Assertion) -> Ticket {
        let size = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        self.ticket(
            tag,
            hierarchy,
            &[
                &timeout_ms.to_be_bytes(),
                &self.ram.time_epoch.to_be_bytes(),
                &self.persistent.total_reset_count.to_be_bytes(),
                &size(assertion.cp_hash_a.len()),
                assertion.cp_hash_a.as_slice(),
                &size(assertion.policy_ref.len()),
                assertion.policy_ref.as_slice(),
                assertion.name.as_slice(),
            ],
        )
    }

    /// The hierarchy in whose name an entity speaks: for tickets. None for what gives NULL Tickets only: an external
    /// object of the NULL hierarchy or without Name (Part 3, 12.3.1), and a sequence object.
    pub(crate) fn hierarchy_of(&self, h: Handle) -> Option<Handle> {
        Some(match h.kind() {
            HandleKind::Transient | HandleKind::Persistent => {
                let object = self.object(h)?;
                if object.external && object.hierarchy == Handle::NULL || object.name.is_empty() {
                    return None;
                }
                object.hierarchy
            }
            HandleKind::Nv
                if self.nv_index(h).is_some_and(|i| i.public.attributes.has(NvAttributes::PLATFORMCREATE)) =>
            {
                Handle::PLATFORM
            }
            HandleKind::Permanent if matches!(h, Handle::PLATFORM | Handle::ENDORSEMENT | Handle::NULL) => h,
            _ => Handle::OWNER,
        })
    }
}
