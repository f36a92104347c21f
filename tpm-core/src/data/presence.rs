//! Which commands need physical presence when the platform authorizes them (Part 3, 26.2), as a bit map of command
//! codes. Which of them can be on the list is declared at the commands.

use crate::bounded::{count, from};
use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// The command code of the first bit.
const FIRST: u32 = 0x11f;
const WORDS: usize = 5;

/// The commands that need physical presence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PresenceList([u32; WORDS]);

impl PresenceList {
    /// No command.
    pub(crate) const fn new() -> Self {
        Self([0; WORDS])
    }

    fn bit(&mut self, code: u32) -> Option<(&mut u32, u32)> {
        let n = code.checked_sub(FIRST)?;
        let word = self.0.get_mut(usize::try_from(n / 32).ok()?)?;
        Some((word, 1 << (n % 32)))
    }

    /// Puts a command on the list, or takes it off.
    pub(crate) fn set(&mut self, code: u32, listed: bool) {
        if let Some((word, bit)) = self.bit(code) {
            *word = if listed { *word | bit } else { *word & !bit };
        }
    }

    /// Whether the command needs physical presence.
    pub(crate) fn has(mut self, code: u32) -> bool {
        self.bit(code).is_some_and(|(word, bit)| *word & bit != 0)
    }

    /// TPM_CAP_PP_COMMANDS: the codes of those commands, ascending.
    pub(crate) fn codes(self) -> impl Iterator<Item = u32> {
        from(FIRST).take(WORDS * 32).filter(move |code| self.has(*code))
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
        let mut last = None;
        for _ in 0..r.get::<u32>()? {
            let code: u32 = r.get()?;
            list.set(code, true);
            if last.is_some_and(|last| last >= code) || !list.has(code) {
                return Err(Fmt1::VALUE);
            }
            last = Some(code);
        }
        Ok(list)
    }
}
