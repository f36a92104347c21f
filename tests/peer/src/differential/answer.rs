//! The responses to a command that both TPMs have executed: their sessions, and their parameters in the clear.

use super::authorize::Auth;
use super::cc;
use super::explained;
use super::send::Sent;
use super::wire::Two;
use super::world::World;
use client::area::open;
use client::attributes::session as attr;

/// One side's response.
pub(super) struct Answer {
    pub(super) handle: u32,
    pub(super) parameters: Vec<u8>,
    sessions: Vec<Answered>,
}

/// What a response says of a session.
struct Answered {
    handle: Two<u32>,
    nonce: Vec<u8>,
    attributes: u8,
    said: SessionSaid,
}

/// What of a session is the same on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionSaid {
    /// whether there is no HMAC, and whether it is that of the response
    pub(crate) hmac: (bool, bool),
    /// TPMA_SESSION
    pub(crate) attributes: u8,
    /// octets of nonceTPM
    pub(crate) nonce: usize,
}

impl World {
    /// Both responses, and how each session goes on; none if something is missing in one, or if the sessions disagree.
    pub(super) fn open(&mut self, sent: &Sent, responses: &Two<Vec<u8>>) -> Option<Two<Answer>> {
        let [ours, theirs] = responses;
        let answers = [self.open_one(sent, 0, ours)?, self.open_one(sent, 1, theirs)?];
        let said = answers.each_ref().map(|answer| answer.sessions.iter().map(|s| s.said).collect::<Vec<_>>());
        if said[0] != said[1] && !self.is_explained(sent.command.code, &said) {
            return None;
        }
        self.roll(&answers);
        Some(answers)
    }

    /// Whether a rule explains that the sessions of two responses differ.
    fn is_explained(&mut self, code: u32, said: &Two<Vec<SessionSaid>>) -> bool {
        let [ours, theirs] = said;
        let why = explained::explain_sessions(self.maker, code, said);
        match why {
            Some(why) => self.tally.note_explained(why),
            None => {
                let name = cc::name(code);
                self.tally.note_unexplained(format!("{name}: sessions of the response {ours:?} {theirs:?}"));
            }
        }
        // The other's session goes on in a way that nobody knows.
        self.stop |= why.is_none() || ours.len() != theirs.len();
        why.is_some()
    }

    fn open_one(&self, sent: &Sent, side: usize, response: &[u8]) -> Option<Answer> {
        let entries = self.entries(&sent.auths, &sent.nonces, side);
        let opened = open(sent.command.code, &entries, response)?;
        let known = sent.auths.iter().zip(opened.sessions).filter_map(|(auth, answered)| match auth {
            Auth::Session { handle, .. } if self.session(*handle).is_some() => Some((*handle, answered)),
            _ => None,
        });
        let sessions = known.map(|(handle, answered)| {
            // In a response libtpms leaves auditReset as it was in the command.
            let attributes = answered.attributes & !attr::AUDIT_RESET;
            let hmac = (answered.hmac.is_empty(), answered.hmac == answered.expected);
            let said = SessionSaid { hmac, attributes, nonce: answered.nonce.len() };
            Answered { handle, nonce: answered.nonce, attributes: answered.attributes, said }
        });
        let sessions = sessions.collect();
        Some(Answer { handle: opened.handle.unwrap_or(0), parameters: opened.parameters, sessions })
    }

    /// Sessions end, or have a new nonceTPM.
    fn roll(&mut self, [ours, theirs]: &Two<Answer>) {
        for (one, other) in ours.sessions.iter().zip(&theirs.sessions) {
            if one.attributes & attr::CONTINUE == 0 {
                self.sessions.retain(|s| s.handle != one.handle);
            } else if let Some(session) = self.session_mut(one.handle) {
                session.nonce = [one.nonce.clone(), other.nonce.clone()];
                session.steps.clear();
                session.common = true;
            }
        }
    }
}
