//! Policy sessions: what has been asserted, and its check at use (Part 1, 19.7; Part 3, 23).

mod assertion;

pub(crate) use assertion::{Assertion, AssertionAt, Timeout};

use crate::crypto::hash::{Digest, HashAlg, Hasher, MAX_DIGEST};
use crate::rc::Rc;
use crate::session::Session;
use crate::tpm::Tpm;
use crate::wire::{Handle, Marshal, Writer};

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
    /// when the session expires, in milliseconds of the TPM's time
    pub(crate) timeout_ms: Option<u64>,
    /// when the session's nonceTPM was last set for PolicySigned and PolicySecret, in milliseconds of the TPM's time
    pub(crate) start_ms: u64,
}

impl PolicyState {
    /// A fresh session: the policyDigest is a Zero Digest.
    pub(crate) fn new(hash: HashAlg, start_ms: u64) -> Self {
        Self { digest: Digest::zero(hash), start_ms, ..Self::default() }
    }

    /// policyDigest_new = H(policyDigest_old ‖ commandCode ‖ what `f` marshals).
    pub(crate) fn extend(&mut self, hash: HashAlg, code: u32, f: impl FnOnce(&mut Writer<'_>)) {
        // The longest: TPM2_PolicyOR with eight digests.
        let mut bytes = [0; 4 + 8 * MAX_DIGEST];
        let mut w = Writer::new(&mut bytes);
        code.marshal(&mut w);
        f(&mut w);
        self.digest = Hasher::new(hash).chain(self.digest.as_slice()).chain(w.written(0)).finish();
    }

    /// PolicyUpdate() (Part 3, 23.2.3): extends with the code and a first value, then again with policyRef.
    pub(crate) fn update(&mut self, hash: HashAlg, code: u32, arg2: &[u8], arg3: &[u8]) {
        self.extend(hash, code, |w| w.put(arg2));
        self.digest = Hasher::new(hash).chain(self.digest.as_slice()).chain(arg3).finish();
    }
}

impl Tpm {
    /// The policy or trial session of a command whose only handle, or whose `policySession`, this is.
    pub(crate) fn policy_session(&mut self, h: Handle) -> Result<&mut Session, Rc> {
        self.ram.sessions.get_mut(h).ok_or(Rc::reference_h(0))
    }
}
