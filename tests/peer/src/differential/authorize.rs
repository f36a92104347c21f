//! The authorization area of a command: which sessions go with it, and what they say.

use super::cc;
use super::command::Command;
use super::policy::{Step, satisfy};
use super::wire::Two;
use super::world::{Entity, Session, Subject, World};
use client::area::{Entry, How, Known, Turn, marshal};
use client::attributes::session as attr;
use client::hash::Alg;
use client::sym::Sym;

/// An entry of the authorization area.
#[derive(Clone, Debug)]
pub(super) enum Auth {
    Password(Vec<u8>),
    Session { handle: Two<u32>, attributes: u8, hmac_auth: Vec<u8>, crypt_auth: Vec<u8>, how: How },
}

impl Auth {
    /// As it goes to one side; a session that the caller has lost goes without an HMAC.
    fn entry<'a>(&'a self, world: &'a World, nonce_caller: &'a [u8], side: usize) -> Entry<'a> {
        match self {
            Self::Password(value) => Entry::Password(value),
            Self::Session { handle, attributes, hmac_auth, crypt_auth, how } => {
                let lost = Known { handle: handle[side], alg: Alg::Sha256, sym: Sym::Null, key: &[], nonce_tpm: &[] };
                let (session, how) = match (world.session(*handle), how) {
                    (Some(session), how) => (session.known(side), how),
                    (None, How::Raw(_)) => (lost, how),
                    (None, How::Hmac) => (lost, &NOTHING),
                };
                Entry::Session(Turn {
                    session,
                    nonce_caller,
                    attributes: *attributes,
                    hmac_auth,
                    hmac_auth_after: hmac_auth,
                    crypt_auth,
                    how,
                })
            }
        }
    }
}

/// An empty hmac field.
static NOTHING: How = How::Raw(Vec::new());

impl World {
    /// How the command's handles are authorized, and what other sessions go with it.
    pub(super) fn authorize(&mut self, command: &Command) -> Vec<Auth> {
        let mut auths = Vec::new();
        let mut used: Vec<Two<u32>> = command.handles.iter().map(|h| h.handle).collect();
        for entity in &command.handles[..command.authorized] {
            let auth = self.authorization(command, entity, &used);
            if let Auth::Session { handle, .. } = auth {
                used.push(handle);
            }
            auths.push(auth);
        }
        if !command.plain && self.once_in(12) && auths.len() < 3 {
            let free: Vec<Two<u32>> = self
                .sessions
                .iter()
                .filter(|s| s.kind == Session::HMAC && !used.contains(&s.handle))
                .map(|s| s.handle)
                .collect();
            if !free.is_empty() {
                let handle = self.one_of(&free);
                let attributes = self.attributes(command, handle, &auths, true);
                auths.push(Auth::Session { handle, attributes, hmac_auth: vec![], crypt_auth: vec![], how: How::Hmac });
            }
        }
        if self.subject == Subject::Lattices {
            self.only_first_encrypts(&mut auths);
        }
        auths
    }

    /// Of the sessions with a cipher only the first encrypts: wolfTPM asks no other.
    fn only_first_encrypts(&self, auths: &mut [Auth]) {
        let has_cipher = |handle| self.session(handle).is_some_and(|session| session.sym != Sym::Null);
        let sessions = auths.iter_mut().filter_map(|auth| match auth {
            Auth::Session { handle, attributes, .. } => Some((*handle, attributes)),
            Auth::Password(_) => None,
        });
        for (_, attributes) in sessions.filter(|(handle, _)| has_cipher(*handle)).skip(1) {
            *attributes &= !(attr::DECRYPT | attr::ENCRYPT);
        }
    }

    fn authorization(&mut self, command: &Command, entity: &Entity, used: &[Two<u32>]) -> Auth {
        if let Some(policy) = entity.policy
            && !self.busy
            && !entity.public_only
            && (entity.policy_only || self.once_in(3))
            && let Some(session) = satisfy(self, policy, command, used)
        {
            let attributes = self.attributes(command, session.handle, &[], false);
            let (auth_value, password) = (Step::AuthValue, Step::Password);
            let last = session.steps.iter().rev().find(|s| **s == auth_value || **s == password).cloned();
            let (hmac_auth, how) = match last {
                Some(step) if step == password => (vec![], How::Raw(entity.auth.clone())),
                Some(_) => (entity.auth.clone(), How::Hmac),
                None => (vec![], How::Hmac),
            };
            return Auth::Session {
                handle: session.handle,
                attributes,
                hmac_auth,
                crypt_auth: entity.auth.clone(),
                how,
            };
        }
        let mut auth = entity.auth.clone();
        if !command.plain && self.once_in(150) {
            auth = self.octets(5);
        }
        let free: Vec<Session> = self.sessions.iter().filter(|s| !used.contains(&s.handle)).cloned().collect();
        let free: Vec<Session> =
            free.into_iter().filter(|s| s.kind == Session::HMAC || self.rng.u32(0..60) == 0).collect();
        if self.busy || entity.public_only || free.is_empty() || !self.once_in(3) {
            return Auth::Password(auth);
        }
        let session = self.one_of(&free);
        let mut attributes = self.attributes(command, session.handle, &[], false);
        if self.subject == Subject::Lattices && !auth.is_empty() {
            attributes &= !(attr::DECRYPT | attr::ENCRYPT);
        }
        let is_bound = session.bind.as_ref().is_some_and(|(name, value)| *name == entity.name && *value == entity.auth);
        let hmac_auth = if is_bound { vec![] } else { auth.clone() };
        let how = if self.once_in(200) { How::Raw(self.octets(20)) } else { How::Hmac };
        let crypt_auth = if is_bound { entity.auth.clone() } else { auth };
        Auth::Session { handle: session.handle, attributes, hmac_auth, crypt_auth, how }
    }

    /// TPMA_SESSION for a use.
    fn attributes(&mut self, command: &Command, handle: Two<u32>, others: &[Auth], extra: bool) -> u8 {
        if self.once_in(300) {
            return self.rng.u8(..);
        }
        let taken = others.iter().fold(0, |all, auth| match auth {
            Auth::Session { attributes, .. } => all | attributes,
            Auth::Password(_) => all,
        });
        let mut attributes = if self.once_in(15) { 0 } else { attr::CONTINUE };
        let Some(session) = self.session(handle).cloned() else { return attributes };
        if session.sym != Sym::Null && !command.plain {
            if cc::encrypts_command(command.code) && taken & attr::DECRYPT == 0 && (extra || self.once_in(3)) {
                attributes |= attr::DECRYPT;
            }
            if cc::encrypts_response(command.code) && taken & attr::ENCRYPT == 0 && (extra || self.once_in(3)) {
                attributes |= attr::ENCRYPT;
            }
        }
        if session.kind == Session::HMAC && taken & attr::AUDIT == 0 && self.once_in(if extra { 2 } else { 12 }) {
            attributes |= attr::AUDIT;
        }
        attributes
    }

    /// nonceCaller for each entry.
    pub(super) fn nonces(&mut self, auths: &[Auth]) -> Vec<Vec<u8>> {
        let sizes = auths.iter().map(|auth| if matches!(auth, Auth::Password(_)) { 0 } else { 16 });
        sizes.map(|size| self.octets(size)).collect()
    }

    /// The authorization area as it goes to one side.
    pub(super) fn entries<'a>(&'a self, auths: &'a [Auth], nonces: &'a [Vec<u8>], side: usize) -> Vec<Entry<'a>> {
        auths.iter().zip(nonces).map(|(auth, nonce)| auth.entry(self, nonce, side)).collect()
    }

    /// The octets of the command for one side.
    pub(super) fn marshal(&self, command: &Command, auths: &[Auth], nonces: &[Vec<u8>], side: usize) -> Vec<u8> {
        let handles: Vec<u32> = command.handles.iter().map(|h| h.handle[side]).collect();
        let names: Vec<u8> = command.handles.iter().flat_map(|h| h.name[side].clone()).collect();
        let entries = self.entries(auths, nonces, side);
        marshal(command.code, &handles, &names, command.authorized > 0, &entries, &command.params.0[side])
    }
}
