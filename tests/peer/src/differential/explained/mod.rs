//! Differences that are meant, each as narrow as it can be said, with the row of docs/differences.md that tells why:
//! those of one other TPM in a file of its own, in `shared` those of both that stem from the TCG's code, and in `text`
//! those that the text of 1.85 has led to.

mod libtpms;
mod reference;
mod said;
mod shared;
mod text;
mod wolf;

use crate::differential::answer::SessionSaid;
use crate::differential::cc;
use crate::differential::command::{Command, Commands};
use crate::differential::tally::Case;
use crate::differential::wire::Two;

pub(crate) use libtpms::USED_THERE;

/// TPM_RC_RETRY of both others.
pub(crate) const RETRY: &str = "first use of a protected object after TPM2_Startup";

/// Whose the other TPM is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Maker {
    Libtpms,
    /// the TCG's reference code
    Reference,
    /// wolfTPM's server
    Wolf,
    /// of which there is no rule of its own
    #[default]
    Other,
}

impl Maker {
    /// By TPM_PT_MANUFACTURER.
    pub(crate) const fn of(manufacturer: [u8; 4]) -> Self {
        match &manufacturer {
            b"IBM\0" => Self::Libtpms,
            b"XYZ " => Self::Reference,
            b"WOLF" => Self::Wolf,
            _ => Self::Other,
        }
    }
}

/// The row of docs/differences.md that explains why the response codes differ.
pub(crate) fn explain(maker: Maker, case: &Case, trail: &[Case], commands: &Commands) -> Option<&'static str> {
    let own = match maker {
        Maker::Libtpms => libtpms::explain(case, trail),
        Maker::Reference => reference::explain(case, trail),
        Maker::Wolf => wolf::explain(case, trail),
        Maker::Other => None,
    };
    own.or_else(|| text::explain(case, trail)).or_else(|| shared::explain(case, trail, commands))
}

/// TPM_RC_FAILURE: what the other one's failure mode says.
const FAILURE: u32 = 0x101;
/// What stands for a response code where there was no answer: the simulator has ended.
const GONE: u32 = 0xffff_ffff;
/// TPM_RC_SVN_LIMITED: the reference asks for the hierarchy's proof after it has completed a sequence.
const SVN_LIMITED: u32 = 0x0a9;

/// Whether the two TPMs are in different states after an explained disagreement: one has done what the other has not, a
/// failed authorization may count on one side only, failure mode is for all that follows, and a PIN that only one
/// admits is counted there whatever comes of the command.
pub(crate) fn parts(why: &str, rc: Two<u32>) -> bool {
    let fails = |rc: &u32| rc & 0xbf == 0x8e;
    rc.contains(&0)
        || matches!(rc[1], FAILURE | SVN_LIMITED | GONE)
        || rc.iter().any(fails)
        || text::PIN_ROWS.contains(&why)
}

/// The row that explains why the sessions of two responses differ.
pub(crate) fn explain_sessions(maker: Maker, code: u32, said: &Two<Vec<SessionSaid>>) -> Option<&'static str> {
    let [ours, theirs] = said;
    (maker == Maker::Wolf).then(|| wolf::explain_sessions(code, ours, theirs)).flatten()
}

/// The row that explains why a session goes on here alone, after a command that the other has refused.
pub(crate) fn explain_end(maker: Maker, case: &Case) -> Option<&'static str> {
    (maker == Maker::Wolf).then(|| wolf::explain_end(case)).flatten()
}

/// The row that explains why the other lists fewer transient objects.
pub(crate) fn explain_handles(maker: Maker, counts: Two<u32>, trail: &[Case]) -> Option<&'static str> {
    (maker == Maker::Wolf && counts[0] > counts[1] && wolf::begins_sequence(trail))
        .then_some("sequences in TPM_CAP_HANDLES")
}

/// The row that explains why the answers differ, although both say success.
pub(crate) fn explain_answer(
    maker: Maker,
    command: &Command,
    answers: &Two<Vec<u8>>,
    trail: &[Case],
) -> Option<&'static str> {
    let own = match maker {
        Maker::Libtpms => libtpms::explain_answer(command, answers),
        Maker::Reference => reference::explain_answer(command, answers),
        Maker::Wolf | Maker::Other => None,
    };
    own.or_else(|| text::explain_answer(command.code, trail)).or_else(|| shared::explain_answer(command, trail))
}

/// Whether two answers say the same but for what one side has more: banks of PCR.
pub(crate) fn is_same(code: u32, answers: &Two<Vec<u8>>) -> bool {
    match code {
        cc::PCR_EVENT | cc::EVENT_SEQUENCE_COMPLETE => {
            let [ours, theirs] = answers.each_ref().map(|answer| digests(answer));
            let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
            ours.iter().all(|(alg, digest)| theirs.iter().all(|(other, theirs)| alg != other || digest == theirs))
        }
        cc::GET_CAPABILITY if answers[0].starts_with(&[0, 0, 0, 0, 5]) => {
            let [ours, theirs] = answers.each_ref().map(|answer| banks(answer));
            ours.iter().filter(|bank| bank.0 != 0x12).eq(theirs.iter())
        }
        // Where a persistent object is used, a slot is taken for it, and a new object may come to another.
        cc::GET_CAPABILITY if answers[0].starts_with(&[0, 0, 0, 0, 1]) || answers[0].starts_with(&[1, 0, 0, 0, 1]) => {
            let transient = |answer: &Vec<u8>| answer.get(9..).is_some_and(|all| all.chunks(4).all(|h| h[0] == 0x80));
            answers[0].len() == answers[1].len() && answers[0].len() > 9 && answers.iter().all(transient)
        }
        _ => false,
    }
}

/// TPML_DIGEST_VALUES.
fn digests(answer: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let (count, mut rest) = answer.split_first_chunk::<4>()?;
    let mut all = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (alg, tail) = rest.split_first_chunk::<2>()?;
        let alg = u16::from_be_bytes(*alg);
        let size = match alg {
            4 => 20,
            0xc => 48,
            0xd => 64,
            _ => 32,
        };
        let (digest, tail) = tail.split_at_checked(size)?;
        all.push((alg, digest));
        rest = tail;
    }
    Some(all)
}

/// TPML_PCR_SELECTION of TPM_CAP_PCRS.
fn banks(answer: &[u8]) -> Vec<(u16, &[u8])> {
    answer
        .get(9..)
        .unwrap_or_default()
        .chunks_exact(6)
        .map(|bank| (u16::from_be_bytes([bank[0], bank[1]]), &bank[2..]))
        .collect()
}

/// The row that explains why two public areas of an NV Index differ: a lock that only we still have.
pub(crate) fn explain_lock(maker: Maker, public: &Two<Vec<u8>>) -> Option<&'static str> {
    let [ours, theirs] = public.each_ref().map(|side| side.get(6..10).and_then(|four| four.try_into().ok()));
    let [ours, theirs] = [u32::from_be_bytes(ours?), u32::from_be_bytes(theirs?)];
    let rest = |side: &Vec<u8>| [&side[..6], &side[10..]].concat();
    if rest(&public[0]) != rest(&public[1]) {
        return None;
    }
    let (lock, needs, why) = match maker {
        // TPMA_NV_WRITELOCKED; TPMA_NV_ORDERLY and TPMA_NV_WRITEDEFINE
        Maker::Libtpms => (1 << 11, 1 << 26 | 1 << 13, "WRITELOCKED of an orderly Index"),
        // TPMA_NV_READLOCKED; TPMA_NV_ORDERLY and TPMA_NV_READ_STCLEAR
        Maker::Reference => (1 << 28, 1 << 26 | 1 << 31, "READLOCKED of an orderly Index"),
        Maker::Wolf | Maker::Other => return None,
    };
    (ours ^ theirs == lock && ours & (lock | needs) == lock | needs).then_some(why)
}
