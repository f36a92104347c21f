//! Command audit (Part 1, 32; Part 3, 21): which commands are audited, and the digest over what they did.

use crate::bounded::count;
use crate::command::{COMMANDS, find};
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::profile;
use crate::rc::Fmt1;
use crate::tpm::Tpm;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// TPM_CC_SetCommandCodeAuditStatus, which is always audited.
const SET_COMMAND_CODE_AUDIT_STATUS: u32 = 0x140;
/// TPM_CC_Shutdown, which never is: it could not be recorded.
const SHUTDOWN: u32 = 0x145;
/// The code of bit 0 of the first word.
const FIRST: u32 = 0x100;

/// What survives everything of command audit.
pub(crate) struct CommandAudit {
    /// auditHashAlg
    pub(crate) alg: HashAlg,
    /// auditCounter: how many digests have been started
    pub(crate) counter: u64,
    /// which commands are audited, a bit each from code 0x100 on
    commands: [u64; 4],
}

/// The word and bit of a command.
fn place(code: u32) -> Option<(usize, u64)> {
    let n = code.checked_sub(FIRST)?;
    Some((usize::try_from(n / 64).ok()?, 1 << (n % 64)))
}

impl CommandAudit {
    /// Nothing is audited.
    pub(crate) const fn none() -> Self {
        Self { alg: profile::INTERNAL_HASH, counter: 0, commands: [0; 4] }
    }

    /// As when the TPM is made: only TPM2_SetCommandCodeAuditStatus is audited.
    pub(crate) fn new() -> Self {
        let mut audit = Self::none();
        audit.set(SET_COMMAND_CODE_AUDIT_STATUS);
        audit
    }

    /// Whether successful executions of the command are recorded.
    pub(crate) fn audits(&self, code: u32) -> bool {
        place(code).and_then(|(word, bit)| self.commands.get(word).map(|w| w & bit != 0)).unwrap_or(false)
    }

    /// Lets a command be audited from now on, if it is implemented and is not TPM2_Shutdown.
    pub(crate) fn set(&mut self, code: u32) {
        if code == SHUTDOWN || find(code).is_none() {
            return;
        }
        if let Some((word, bit)) = place(code).and_then(|(word, bit)| Some((self.commands.get_mut(word)?, bit))) {
            *word |= bit;
        }
    }

    /// Lets a command no longer be audited, if it is not TPM2_SetCommandCodeAuditStatus.
    pub(crate) fn clear(&mut self, code: u32) {
        if code == SET_COMMAND_CODE_AUDIT_STATUS {
            return;
        }
        if let Some((word, bit)) = place(code).and_then(|(word, bit)| Some((self.commands.get_mut(word)?, bit))) {
            *word &= !bit;
        }
    }

    /// The codes of the audited commands, ascending.
    pub(crate) fn codes(&self) -> impl Iterator<Item = u32> + '_ {
        COMMANDS.iter().map(|c| c.code).filter(|code| self.audits(*code))
    }

    /// commandDigest: the digest over the codes of the audited commands.
    pub(crate) fn command_digest(&self) -> Digest {
        let mut hasher = Hasher::new(self.alg);
        self.codes().for_each(|code| hasher.update(&code.to_be_bytes()));
        hasher.finish()
    }
}

impl Tpm {
    /// Records an audited command that was successful. `hash` says with which algorithm the hashes were made: if it was another at the start of the
    /// command, then that changed, and the log is empty again.
    pub(crate) fn audit_command(&mut self, hash: HashAlg, cp_hash: &Digest, rp_hash: &Digest) {
        let audit = &mut self.persistent.audit;
        if hash != audit.alg {
            return;
        }
        let old = self.reset.audit_digest.unwrap_or_else(|| {
            audit.counter = audit.counter.saturating_add(1);
            Digest::zero(hash)
        });
        let new = Hasher::new(hash).chain(old.as_slice()).chain(cp_hash.as_slice()).chain(rp_hash.as_slice()).finish();
        self.reset.audit_digest = Some(new);
    }
}

/// Algorithm, counter, and the codes of the audited commands behind their number.
impl Marshal for CommandAudit {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.alg.marshal(w);
        self.counter.marshal(w);
        u32::try_from(count(self.codes())).unwrap_or(u32::MAX).marshal(w);
        self.codes().for_each(|code| code.marshal(w));
    }
}

impl Unmarshal<'_> for CommandAudit {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let mut audit = Self { alg: r.get()?, counter: r.get()?, ..Self::new() };
        let listed: u32 = r.get()?;
        let mut last = None;
        for _ in 0..listed {
            let code: u32 = r.get()?;
            if last.is_some_and(|last| last >= code) {
                return Err(Fmt1::VALUE);
            }
            last = Some(code);
            audit.set(code);
            if !audit.audits(code) {
                return Err(Fmt1::VALUE);
            }
        }
        // What is always on the list is in it.
        if u32::try_from(count(audit.codes())) == Ok(listed) { Ok(audit) } else { Err(Fmt1::VALUE) }
    }
}
