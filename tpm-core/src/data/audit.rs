//! Command audit (Part 1, 30.2; Part 3, 21): which commands are audited.

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::data::command_list::CommandList;
use crate::wire::INTERNAL_HASH;

crate::wire::structure! {
    /// What survives everything of command audit.
    pub(crate) struct CommandAudit {
        /// auditHashAlg
        pub(crate) alg: HashAlg,
        /// auditCounter: how many digests have been started
        pub(crate) counter: u64,
        /// the commands of which successful executions are recorded
        pub(crate) commands: CommandList,
    }
}

impl CommandAudit {
    /// Nothing is audited.
    pub(crate) const fn new() -> Self {
        Self { alg: INTERNAL_HASH, counter: 0, commands: CommandList::new() }
    }

    /// commandDigest: the digest over the codes of the audited commands.
    pub(crate) fn command_digest(&self) -> Digest {
        let mut hasher = Hasher::new(self.alg);
        self.commands.codes().for_each(|code| hasher.update(&code.to_be_bytes()));
        hasher.finish()
    }
}
