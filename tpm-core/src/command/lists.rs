//! The lists of commands that the TPM keeps: which need physical presence, and which are audited. What can be on them
//! and what always is, is declared at the commands, and known when this is compiled.

use super::COMMANDS;
use super::interface::{Audit, Presence};
use crate::data::command_list::CommandList;
use crate::data::state::Persistent;

/// The commands that declare this.
macro_rules! commands_that_declare {
    ($field:ident: $pattern:pat) => {{
        static LIST: CommandList = {
            let (mut list, mut rest) = (CommandList::new(), COMMANDS.as_slice());
            while let [command, others @ ..] = rest {
                if matches!(command.$field, $pattern) {
                    list = list.with(command.code);
                }
                rest = others;
            }
            list
        };
        LIST
    }};
}

impl Persistent {
    /// As when the TPM is made: what is always on a list.
    pub(crate) fn start_lists(&mut self) {
        self.presence = commands_that_declare!(presence: Presence::Always);
        self.audit.commands = commands_that_declare!(audit: Audit::Always);
    }

    /// Lets a command need physical presence, or no longer; nothing for one that is not implemented, or that never or
    /// always does.
    pub(crate) fn list_presence(&mut self, code: u32, listed: bool) {
        if commands_that_declare!(presence: Presence::Listed).has(code) {
            self.presence.set(code, listed);
        }
    }

    /// Lets a command be audited, or no longer; nothing for one that is not implemented, or that never or always is.
    pub(crate) fn list_audit(&mut self, code: u32, audited: bool) {
        if commands_that_declare!(audit: Audit::Listed).has(code) {
            self.audit.commands.set(code, audited);
        }
    }

    /// Whether the lists of a state have what is always on them, and nothing that cannot be.
    pub(crate) fn lists_are_possible(&self) -> bool {
        let possible = |list: CommandList, always: CommandList, may_be: CommandList| {
            always.is_within(list) && list.is_within(may_be)
        };
        possible(
            self.presence,
            commands_that_declare!(presence: Presence::Always),
            commands_that_declare!(presence: Presence::Always | Presence::Listed),
        ) && possible(
            self.audit.commands,
            commands_that_declare!(audit: Audit::Always),
            commands_that_declare!(audit: Audit::Always | Audit::Listed),
        )
    }
}
