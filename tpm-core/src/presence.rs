//! Which commands need physical presence when the platform authorizes them (Part 3, 26.2).

use crate::bounded::count;
use crate::command::{COMMANDS, find};
use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// Whether a command can be put on the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// it never needs physical presence
    Never,
    /// it needs physical presence when it is on the list
    Listed,
    /// it always does, and always is on the list
    Always,
}

/// The command code of the first bit.
const FIRST: u32 = 0x11f;
const WORDS: usize = 5;

/// The commands that TPM2_PP_Commands has put on the list, as a bit map of command codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PresenceList([u32; WORDS]);

impl PresenceList {
    /// Only what is always on it.
    pub(crate) const fn new() -> Self {
        Self([0; WORDS])
    }

    fn bit(&mut self, code: u32) -> Option<(&mut u32, u32)> {
        let n = code.checked_sub(FIRST)?;
        let word = self.0.get_mut(usize::try_from(n / 32).ok()?)?;
        Some((word, 1 << (n % 32)))
    }

    /// Puts a command on the list, or takes it off; nothing for a command that is not implemented or never or always
    /// needs physical presence.
    pub(crate) fn set(&mut self, code: u32, listed: bool) {
        if find(code).is_none_or(|c| c.presence != Presence::Listed) {
            return;
        }
        if let Some((word, bit)) = self.bit(code) {
            *word = if listed { *word | bit } else { *word & !bit };
        }
    }

    /// Whether the command needs physical presence.
    pub(crate) fn has(mut self, code: u32) -> bool {
        match find(code).map(|c| c.presence) {
            Some(Presence::Always) => true,
            Some(Presence::Listed) => self.bit(code).is_some_and(|(word, bit)| *word & bit != 0),
            _ => false,
        }
    }

    /// TPM_CAP_PP_COMMANDS: the codes of those commands, ascending.
    pub(crate) fn codes(self) -> impl Iterator<Item = u32> {
        COMMANDS.iter().map(|c| c.code).filter(move |code| self.has(*code))
    }
}

/// The codes on the list behind their number.
impl Marshal for PresenceList {
    fn marshal(&self, w: &mut Writer<'_>) {
        u32::try_from(count(self.codes())).unwrap_or(u32::MAX).marshal(w);
        self.codes().for_each(|code| code.marshal(w));
    }
}

impl Unmarshal<'_> for PresenceList {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let mut list = Self::new();
        let listed: u32 = r.get()?;
        let mut last = None;
        for _ in 0..listed {
            let code: u32 = r.get()?;
            if last.is_some_and(|last| last >= code) {
                return Err(Fmt1::VALUE);
            }
            last = Some(code);
            list.set(code, true);
            if !list.has(code) {
                return Err(Fmt1::VALUE);
            }
        }
        // What is always on the list is in it.
        if u32::try_from(count(list.codes())) == Ok(listed) { Ok(list) } else { Err(Fmt1::VALUE) }
    }
}
