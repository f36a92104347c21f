//! What TPM2_PolicySigned and TPM2_PolicySecret have in common (Part 3, 23.2): an entity asserts something, for a time, perhaps with a ticket.

use super::{BoundHash, PolicyState};
use crate::crypto::hash::Digest;
use crate::rc::{At, Fmt1, Rc};
use crate::session::{Session, SessionType};
use crate::tpm::Tpm;
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
    /// authTimeout in milliseconds of Time (Part 3, 23.2.4): counted from the session's start, or without nonceTPM from the start of Time.
    fn timeout_ms(&self, policy: &PolicyState, time_ms: u64) -> Option<u64> {
        if self.expiration == 0 {
            return None;
        }
        let ms = u64::from(self.expiration.unsigned_abs()) * 1000;
        // Seconds are too coarse to say when within one it ends; to its end, then.
        let start = if self.nonce_tpm.is_empty() { time_ms % 1000 } else { policy.start_ms };
        Some(start.saturating_add(ms))
    }

    /// PolicyParameterChecks() (Part 3, 23.2.2).
    fn check(&self, session: &Session, timeout_ms: Option<u64>, time_ms: u64, at: &AssertionAt) -> Result<(), Rc> {
        if !self.nonce_tpm.is_empty() && self.nonce_tpm != session.nonce_tpm {
            return Err(Fmt1::NONCE.at(at.nonce_tpm));
        }
        if timeout_ms.is_some_and(|timeout| timeout < time_ms) {
            return Err(Fmt1::EXPIRED.at(at.expiration));
        }
        if self.cp_hash_a.is_empty() {
            return Ok(());
        }
        if self.cp_hash_a.len() != session.hash.digest_size() {
            return Err(Fmt1::SIZE.at(at.cp_hash_a));
        }
        if session.policy.bound_hash.is_some_and(|bound| bound != BoundHash::CpHash(self.cp_hash_a)) {
            Err(Rc::CPHASH)
        } else {
            Ok(())
        }
    }

    /// PolicyContextUpdate() (Part 3, 23.2.5).
    fn apply(&self, session: &mut Session, timeout_ms: Option<u64>) {
        let policy = &mut session.policy;
        policy.update(session.hash, self.code, self.name.as_slice(), self.policy_ref.as_slice());
        if !self.cp_hash_a.is_empty() {
            policy.bound_hash = Some(BoundHash::CpHash(self.cp_hash_a));
        }
        policy.timeout_ms = match (policy.timeout_ms, timeout_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

impl Tpm {
    /// Checks the assertion unless the session is a trial, puts it into the session, and answers with a ticket if expiration is negative.
    pub(crate) fn assert(
        &mut self,
        h: Handle,
        assertion: &Assertion,
        at: &AssertionAt,
        (tag, hierarchy): (u16, Handle),
    ) -> Result<(Timeout, Ticket), Rc> {
        let now = self.ram.time_ms;
        let session = self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(1))?;
        let trial = session.kind == SessionType::Trial;
        let timeout_ms = assertion.timeout_ms(&session.policy, now).filter(|_| !trial);
        if !trial {
            assertion.check(session, timeout_ms, now, at)?;
        }
        assertion.apply(session, timeout_ms);
        match timeout_ms.filter(|_| assertion.expiration < 0) {
            Some(ms) => Ok((Timeout(Some(ms)), self.assertion_ticket(tag, hierarchy, ms, assertion))),
            None => Ok((Timeout(None), Ticket::null(tag))),
        }
    }

    /// TPMT_TK_AUTH (Part 2, 10.7.5). Time starts anew at _TPM_Init, so the ticket says to which start its timeout belongs. Sizes keep the parts apart.
    fn assertion_ticket(&self, tag: u16, hierarchy: Handle, timeout_ms: u64, assertion: &Assertion) -> Ticket {
        let size = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
        self.ticket(
            tag,
            hierarchy,
            &[
                &timeout_ms.to_be_bytes(),
                &self.persistent.total_reset_count.to_be_bytes(),
                &u64::from(self.reset.restart_count).to_be_bytes(),
                &size(assertion.cp_hash_a.len()),
                assertion.cp_hash_a.as_slice(),
                &size(assertion.policy_ref.len()),
                assertion.policy_ref.as_slice(),
                assertion.name.as_slice(),
            ],
        )
    }

    /// The hierarchy in whose name an entity speaks: for tickets.
    pub(crate) fn hierarchy_of(&self, h: Handle) -> Handle {
        match h.kind() {
            HandleKind::Transient | HandleKind::Persistent => self.object(h).map_or(Handle::NULL, |o| o.hierarchy),
            HandleKind::Nv
                if self.nv_index(h).is_some_and(|i| i.public.attributes.has(NvAttributes::PLATFORMCREATE)) =>
            {
                Handle::PLATFORM
            }
            HandleKind::Permanent if matches!(h, Handle::PLATFORM | Handle::ENDORSEMENT | Handle::NULL) => h,
            _ => Handle::OWNER,
        }
    }
}
