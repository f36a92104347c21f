//! Policy sessions: what has been asserted, and its check at use (Part 1, 16.7; Part 3, 23).

mod assertion;
mod comparison;

pub(crate) use assertion::{Assertion, AssertionAt, Timeout};
pub(crate) use comparison::{Comparison, Operand, Operation};

use crate::crypto::hash::{Digest, HashAlg, MAX_DIGEST, digest};
use crate::rc::{At, Fmt1, Rc};
use crate::session::{Session, SessionType};
use crate::state::Ram;
use crate::tpm::Tpm;
use crate::wire::{AlgId, Handle, Marshal, Name, Writer};

/// A hash of the command to which a policy session is limited; only one kind at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BoundHash {
    /// TPM2_PolicyCpHash, or the cpHashA of PolicySigned, PolicySecret or PolicyTicket
    CpHash(Digest),
    /// TPM2_PolicyNameHash or TPM2_PolicyDuplicationSelect
    NameHash(Digest),
    /// TPM2_PolicyTemplate
    Template(Digest),
    /// TPM2_PolicyParameters
    Parameters(Digest),
}

/// What a policy or trial session has collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PolicyState {
    /// policyDigest
    pub(crate) digest: Digest,
    /// TPM2_PolicyCommandCode
    pub(crate) command_code: Option<u32>,
    /// cpHash, nameHash, template or parameters
    pub(crate) bound_hash: Option<BoundHash>,
    /// TPM2_PolicyLocality, as TPMA_LOCALITY
    pub(crate) locality: Option<u8>,
    /// TPM2_PolicyPhysicalPresence
    pub(crate) physical_presence: bool,
    /// TPM2_PolicyAuthValue: the HMAC must include the authValue
    pub(crate) auth_value: bool,
    /// TPM2_PolicyPassword: the authValue must come in plain text
    pub(crate) password: bool,
    /// TPM2_PolicyPCR: the PCR update counter at the time
    pub(crate) pcr_counter: Option<u32>,
    /// TPM2_PolicyNvWritten
    pub(crate) nv_written: Option<bool>,
    /// TPM2_PolicyTransportSPDM: the command must come through a secure channel
    pub(crate) secure_channel: bool,
    /// when the session expires, in milliseconds of the TPM's time
    pub(crate) timeout_ms: Option<u64>,
    /// when the session's nonceTPM was last set for PolicySigned and PolicySecret, in milliseconds of the TPM's time
    pub(crate) start_ms: u64,
    /// in which run of the TPM's time that was: `Ram::time_epoch`
    pub(crate) epoch: u64,
}

impl PolicyState {
    /// A fresh session, or one whose nonceTPM rolls: the policyDigest is a Zero Digest, and the session's time starts now.
    pub(crate) fn new(hash: HashAlg, ram: &Ram) -> Self {
        Self { digest: Digest::zero(hash), start_ms: ram.time_ms, epoch: ram.time_epoch, ..Self::default() }
    }

    /// As fresh, but the session's time goes on (TPM2_PolicyRestart).
    pub(crate) fn restarted(&self, hash: HashAlg) -> Self {
        Self { digest: Digest::zero(hash), start_ms: self.start_ms, epoch: self.epoch, ..Self::default() }
    }

    /// Whether an authorization that ends at this time is over. No time of another epoch compares with the present one.
    pub(crate) fn is_over(&self, timeout_ms: Option<u64>, ram: &Ram) -> bool {
        timeout_ms.is_some_and(|end| end < ram.time_ms || self.epoch != ram.time_epoch)
    }

    /// The session expires at this time, if it does not before (Part 3, 23.2.4).
    pub(crate) fn limit_to(&mut self, timeout_ms: Option<u64>) {
        self.timeout_ms = match (self.timeout_ms, timeout_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// policyDigest_new = H(policyDigest_old ‖ commandCode ‖ what `f` marshals).
    pub(crate) fn extend(&mut self, hash: HashAlg, code: u32, f: impl FnOnce(&mut Writer<'_>)) {
        // The longest: TPM2_PolicyOR with eight digests.
        let mut bytes = [0; 4 + 8 * MAX_DIGEST];
        let mut w = Writer::new(&mut bytes);
        code.marshal(&mut w);
        f(&mut w);
        self.digest = digest(hash, &[self.digest.as_slice(), w.written(0)]);
    }

    /// The digest becomes H(Zero Digest ‖ what follows): of TPM2_PolicyOR, PolicyAuthorize and PolicyAuthorizeNV, which stand for what led to them.
    pub(crate) fn forget_digest(&mut self, hash: HashAlg) {
        self.digest = Digest::zero(hash);
    }

    /// PolicyUpdate() (Part 3, 23.2.3): extends with the code and a first value, then again with policyRef.
    pub(crate) fn update(&mut self, hash: HashAlg, code: u32, arg2: &[u8], arg3: &[u8]) {
        self.extend(hash, code, |w| w.put(arg2));
        self.digest = digest(hash, &[self.digest.as_slice(), arg3]);
    }
}

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
