//! What happened: the commands of a sequence with their answers, and counts of all sequences.

use super::cc;
use super::wire::Two;
use client::command::hex;
use core::fmt::Write;
use core::ops::Range;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One command and its answers.
/// One command and its answers.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) code: u32,
    /// what was sent, with the parameters as they were before encryption
    pub(crate) request: Two<Vec<u8>>,
    /// response codes
    pub(crate) rc: Two<u32>,
    /// the session that TPM2_StartAuthSession has started on our side
    pub(crate) session: Option<u32>,
    pub(crate) damaged: bool,
    /// octets of the request that are other than they were meant; to its end if it is shorter or longer
    pub(crate) hit: Option<Range<usize>>,
    /// damage has changed nothing on one side: what it put there was there
    pub(crate) spared: bool,
    /// how many handles the command has, as the TPMs say
    pub(crate) handles: usize,
    pub(crate) locality: u8,
    /// the other TPM wanted it once more: it notes that a protected authValue is in use
    pub(crate) retried: bool,
}

/// What came of a command code.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) sent: u64,
    /// successful on both sides
    pub(crate) good: u64,
    /// answers, or what they contain, compared octet by octet
    pub(crate) compared: u64,
}

/// What happened so far.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    /// every command is said before it is sent
    #[serde(skip)]
    pub(crate) loud: bool,
    pub(crate) by_code: BTreeMap<u32, Count>,
    /// commands that both TPMs have
    pub(crate) common: BTreeSet<u32>,
    pub(crate) by_rc: BTreeMap<u32, u64>,
    pub(crate) explained: BTreeMap<String, u64>,
    /// sequences that ended early since the two TPMs are in different states for an explained reason
    pub(crate) resynchronised: u64,
    /// disagreements without explanation: a short form, how many, and the first with its trail
    pub(crate) unexplained: BTreeMap<String, (u64, String)>,
    /// octets of answers that were compared
    pub(crate) compared: u64,
    /// time in the two TPMs
    pub(crate) time: Two<Duration>,
    /// what came since the beginning of the sequence
    #[serde(skip)]
    pub(crate) trail: Vec<Case>,
    /// where it began
    #[serde(skip)]
    pub(crate) label: String,
    /// commands of this sequence
    #[serde(skip)]
    pub(crate) sent: u64,
}

impl Tally {
    pub(crate) fn begin(&mut self) {
        self.trail.clear();
        self.sent = 0;
    }

    /// Adds another one, that of a later sequence.
    pub(crate) fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.resynchronised += other.resynchronised;
        self.compared += other.compared;
        self.time = [self.time[0] + other.time[0], self.time[1] + other.time[1]];
        for (code, more) in other.by_code {
            let by = self.by_code.entry(code).or_default();
            by.sent += more.sent;
            by.good += more.good;
            by.compared += more.compared;
        }
        self.common.extend(other.common);
        other.by_rc.into_iter().for_each(|(rc, n)| *self.by_rc.entry(rc).or_default() += n);
        other.explained.into_iter().for_each(|(why, n)| *self.explained.entry(why).or_default() += n);
        for (what, (n, trail)) in other.unexplained {
            self.unexplained.entry(what).or_insert((0, trail)).0 += n;
        }
    }

    /// A command and its answers.
    pub(super) fn count(&mut self, case: &Case) {
        self.commands += 1;
        self.sent += 1;
        let by = self.of_code(case.code);
        by.sent += 1;
        by.good += u64::from(case.rc == [0, 0]);
        *self.by_rc.entry(class(case.rc[0])).or_default() += 1;
    }

    /// Something of the last command's answers was compared.
    pub(super) fn count_compared(&mut self, code: u32) {
        self.compared += 1;
        self.of_code(code).compared += 1;
    }

    fn of_code(&mut self, code: u32) -> &mut Count {
        self.by_code.entry(if cc::name(code) == "?" { 0 } else { code }).or_default()
    }

    /// Notes a disagreement that a rule explains.
    pub(super) fn note_explained(&mut self, why: &str) {
        *self.explained.entry(why.to_owned()).or_default() += 1;
    }

    /// Notes a disagreement that no rule explains.
    pub(super) fn note_unexplained(&mut self, what: String) {
        let place = (!self.unexplained.contains_key(&what)).then(|| format!("{}\n{}", self.label, self.story()));
        let entry = self.unexplained.entry(what).or_default();
        entry.0 += 1;
        if let Some(place) = place {
            entry.1 = place;
        }
    }

    /// The last commands in words.
    fn story(&self) -> String {
        let mut out = String::new();
        let from = self.trail.len().saturating_sub(TRAIL);
        for (n, case) in self.trail.iter().enumerate().skip(from) {
            let _ = writeln!(
                out,
                "    {n:5} {} -> {:03x} {:03x} @{} {}{}",
                cc::name(case.code),
                case.rc[0],
                case.rc[1],
                case.locality,
                hex(&case.request[0]),
                if case.damaged { " (damaged)" } else { "" },
            );
        }
        out
    }
}

/// Commands of a printed trail.
const TRAIL: usize = 60;

/// A response code without position.
const fn class(rc: u32) -> u32 {
    if rc & 0x80 != 0 { rc & 0xbf } else { rc }
}
