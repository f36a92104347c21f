//! The responses to a command that both TPMs have executed: their sessions, and their parameters in the clear.

use super::authorize::{Auth, attr};
use super::cc;
use super::explained;
use super::send::Sent;
use super::wire::{Rest, Two};
use super::world::World;

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
        let code = sent.command.code;
        let mut rest = Rest(response.get(10..)?);
        let handle = if cc::replies_handle(code) { rest.u32()? } else { 0 };
        if response.starts_with(&[0x80, 1]) {
            return Some(Answer { handle, parameters: rest.0.to_vec(), sessions: vec![] });
        }
        let size = rest.u32()? as usize;
        let encrypted = rest.take(size)?;
        let mut parameters = encrypted.to_vec();
        let mut sessions = Vec::new();
        for (auth, nonce_caller) in sent.auths.iter().zip(&sent.nonces) {
            let nonce = rest.sized()?;
            let attributes = rest.take(1)?[0];
            let hmac = rest.sized()?;
            let Auth::Session { handle, hmac_auth, crypt_auth, .. } = auth else { continue };
            let Some(session) = self.session(*handle) else { continue };
            let rp_hash = session.alg.hash(&[&[0; 4], &code.to_be_bytes(), encrypted]);
            let key = [&session.key[side][..], hmac_auth].concat();
            let expected = session.alg.hmac(&key, &[&rp_hash, nonce, nonce_caller, &[attributes]]);
            // In a response libtpms leaves auditReset as it was in the command.
            let attributes_said = attributes & !attr::AUDIT_RESET;
            let hmac = (hmac.is_empty(), hmac == expected);
            let said = SessionSaid { hmac, attributes: attributes_said, nonce: nonce.len() };
            if attributes & attr::ENCRYPT != 0 {
                let value = [&session.key[side][..], crypt_auth].concat();
                session.crypt_first(&value, nonce, nonce_caller, false, &mut parameters);
            }
            sessions.push(Answered { handle: *handle, nonce: nonce.to_vec(), attributes, said });
        }
        Some(Answer { handle, parameters, sessions })
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
