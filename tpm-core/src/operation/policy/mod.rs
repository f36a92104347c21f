//! Policy sessions: assertions, and their check at use (Part 1, 19.7; Part 3, 23).

mod assertion;
mod comparison;

pub(crate) use assertion::{Assertion, AssertionAt, Timeout};
pub(crate) use comparison::{Comparison, Operand, Operation};

use crate::crypto::hash::{Digest, HashAlg};
use crate::data::policy::BoundHash;
use crate::data::session::{Session, SessionType};
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{AlgId, Handle, Name};

impl Session {
    /// Whether a trial session, which collects a policyDigest without any proof.
    pub(crate) fn is_trial(&self) -> bool {
        self.kind == SessionType::Trial
    }

    /// - `SIZE` at `at`: not the size of the session's digests
    pub(crate) fn check_digest_size(&self, digest: &Digest, at: At) -> Result<(), Rc> {
        if digest.len() == self.hash.digest_size() { Ok(()) } else { Err(Fmt1::SIZE.at(at)) }
    }

    /// - `CPHASH`: the session is limited to something else; one kind of hash excludes the others
    pub(crate) fn check_bound_hash(&self, bound: BoundHash) -> Result<(), Rc> {
        if self.policy.bound_hash.is_none_or(|old| old == bound) { Ok(()) } else { Err(Rc::CPHASH) }
    }

    /// - `CPHASH`: the session is already limited
    pub(crate) fn check_unbound(&self) -> Result<(), Rc> {
        if self.policy.bound_hash.is_none() { Ok(()) } else { Err(Rc::CPHASH) }
    }
}

/// What a key's Name looks like: nameAlg and a digest of its size.
///
/// - `SIZE` at `at`: no nameAlg, or a digest of another size
/// - `HASH` at `at`: no such nameAlg
pub(crate) fn name_alg_of(name: &Name, at: At) -> Result<HashAlg, Rc> {
    let (id, digest) = name.as_slice().split_first_chunk::<2>().ok_or(Fmt1::SIZE.at(at))?;
    let alg = AlgId(u16::from_be_bytes(*id)).on().and_then(HashAlg::from_id).ok_or(Fmt1::HASH.at(at))?;
    if digest.len() == alg.digest_size() { Ok(alg) } else { Err(Fmt1::SIZE.at(at)) }
}

impl Tpm {
    /// The policy or trial session of a command whose only handle, or whose `policySession`, this is.
    pub(crate) fn policy_session(&mut self, h: Handle) -> Result<&mut Session, Rc> {
        self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(0))
    }
}
