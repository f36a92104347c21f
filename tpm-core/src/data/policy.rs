//! Policy sessions: what has been asserted, and its check at use (Part 1, 16.7; Part 3, 23).

use crate::crypto::hash::{Digest, HashAlg, MAX_DIGEST, digest};
use crate::data::clock::Moment;
use crate::wire::{Marshal, Writer};

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
    /// in which run of the TPM's time that was: [`Moment::epoch`]
    pub(crate) epoch: u64,
}

impl PolicyState {
    /// A fresh session, or one whose nonceTPM rolls: the policyDigest is a Zero Digest, and the session's time starts
    /// now.
    pub(crate) fn new(hash: HashAlg, now: Moment) -> Self {
        Self { digest: Digest::zero(hash), start_ms: now.time_ms, epoch: now.epoch, ..Self::default() }
    }

    /// As fresh, but the session's time goes on (TPM2_PolicyRestart).
    pub(crate) fn restarted(&self, hash: HashAlg) -> Self {
        Self { digest: Digest::zero(hash), start_ms: self.start_ms, epoch: self.epoch, ..Self::default() }
    }

    /// Whether an authorization that ends at this time is over. No time of another epoch compares with the present one.
    pub(crate) fn is_over(&self, timeout_ms: Option<u64>, now: Moment) -> bool {
        timeout_ms.is_some_and(|end| end < now.time_ms || self.epoch != now.epoch)
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

    /// The same with what is marshalled already.
    pub(crate) fn extend_by(&mut self, hash: HashAlg, code: u32, [first, second]: [&[u8]; 2]) {
        self.digest = digest(hash, &[self.digest.as_slice(), &code.to_be_bytes(), first, second]);
    }

    /// The digest becomes H(Zero Digest ‖ what follows): of TPM2_PolicyOR, PolicyAuthorize and PolicyAuthorizeNV, which
    /// stand for what led to them.
    pub(crate) fn forget_digest(&mut self, hash: HashAlg) {
        self.digest = Digest::zero(hash);
    }

    /// PolicyUpdate() (Part 3, 23.2.3): extends with the code and a first value, then again with policyRef.
    pub(crate) fn update(&mut self, hash: HashAlg, code: u32, arg2: &[u8], arg3: &[u8]) {
        self.extend(hash, code, |w| w.put(arg2));
        self.digest = digest(hash, &[self.digest.as_slice(), arg3]);
    }
}
