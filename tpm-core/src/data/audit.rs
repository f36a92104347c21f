//! Command audit (Part 1, 30.2; Part 3, 21): which commands are audited, as a bit map of command codes. Which of them
//! can be is declared at the commands.

use crate::bounded::{count, from};
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::profile;
use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// The code of bit 0 of the first word.
const FIRST: u32 = 0x100;
const WORDS: usize = 4;

/// What survives everything of command audit.
pub(crate) struct CommandAudit {
    /// auditHashAlg
    pub(crate) alg: HashAlg,
    /// auditCounter: how many digests have been started
    pub(crate) counter: u64,
    /// which commands are audited
    commands: [u64; WORDS],
}

/// The word and bit of a command.
fn place(code: u32) -> Option<(usize, u64)> {
    let n = code.checked_sub(FIRST)?;
    Some((usize::try_from(n / 64).ok()?, 1 << (n % 64)))
}

impl CommandAudit {
    /// Nothing is audited.
    pub(crate) const fn new() -> Self {
        Self { alg: profile::INTERNAL_HASH, counter: 0, commands: [0; WORDS] }
    }

    /// Whether successful executions of the command are recorded.
    pub(crate) fn audits(&self, code: u32) -> bool {
        place(code).and_then(|(word, bit)| self.commands.get(word).map(|w| w & bit != 0)).unwrap_or(false)
    }

    /// Lets a command be audited from now on, or no longer.
    pub(crate) fn set(&mut self, code: u32, audited: bool) {
        if let Some((word, bit)) = place(code).and_then(|(word, bit)| Some((self.commands.get_mut(word)?, bit))) {
            *word = if audited { *word | bit } else { *word & !bit };
        }
    }

    /// The codes of the audited commands, ascending.
    pub(crate) fn codes(&self) -> impl Iterator<Item = u32> + '_ {
        from(FIRST).take(WORDS * 64).filter(|code| self.audits(*code))
    }

    /// commandDigest: the digest over the codes of the audited commands.
    pub(crate) fn command_digest(&self) -> Digest {
        let mut hasher = Hasher::new(self.alg);
        self.codes().for_each(|code| hasher.update(&code.to_be_bytes()));
        hasher.finish()
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
        let mut last = None;
        for _ in 0..r.get::<u32>()? {
            let code: u32 = r.get()?;
            audit.set(code, true);
            if last.is_some_and(|last| last >= code) || !audit.audits(code) {
                return Err(Fmt1::VALUE);
            }
            last = Some(code);
        }
        Ok(audit)
    }
}
