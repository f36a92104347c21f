//! The lists of commands that the TPM keeps: which need physical presence, and which are audited.

use super::{Audit, COMMANDS, Presence, find};
use crate::data::state::Persistent;

impl Persistent {
    /// As when the TPM is made: what is always on a list.
    pub(crate) fn start_lists(&mut self) {
        for command in COMMANDS {
            self.presence.set(command.code, command.presence == Presence::Always);
            self.audit.set(command.code, command.audit == Audit::Always);
        }
    }

    /// Lets a command need physical presence, or no longer; nothing for one that is not implemented, or that never or
    /// always does.
    pub(crate) fn list_presence(&mut self, code: u32, listed: bool) {
        if find(code).is_some_and(|command| command.presence == Presence::Listed) {
            self.presence.set(code, listed);
        }
    }

    /// Lets a command be audited, or no longer; nothing for one that is not implemented, or that never or always is.
    pub(crate) fn list_audit(&mut self, code: u32, audited: bool) {
        if find(code).is_some_and(|command| command.audit == Audit::Listed) {
            self.audit.set(code, audited);
        }
    }

    /// Whether the lists of a state have what is always on them, and nothing that cannot be.
    pub(crate) fn lists_are_possible(&self) -> bool {
        let may_need_presence = |code| find(code).is_some_and(|command| command.presence != Presence::Never);
        let may_be_audited = |code| find(code).is_some_and(|command| command.audit != Audit::Never);
        self.presence.codes().all(may_need_presence)
            && self.audit.codes().all(may_be_audited)
            && COMMANDS.iter().all(|command| {
                (command.presence != Presence::Always || self.presence.has(command.code))
                    && (command.audit != Audit::Always || self.audit.audits(command.code))
            })
    }
}
