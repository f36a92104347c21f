//! The authorization area of a command: which sessions go with it, and what they say.

use super::alg::Sym;
use super::cc;
use super::command::Command;
use super::policy::{Step, satisfy};
use super::wire::{Two, short};
use super::world::{Entity, Session, Subject, World, rh};

/// TPMA_SESSION
pub(super) mod attr {
    pub(crate) const CONTINUE: u8 = 0x01;
    pub(crate) const AUDIT_RESET: u8 = 0x04;
    pub(crate) const DECRYPT: u8 = 0x20;
    pub(crate) const ENCRYPT: u8 = 0x40;
    pub(crate) const AUDIT: u8 = 0x80;
}

/// An entry of the authorization area.
#[derive(Clone, Debug)]
pub(super) enum Auth {
    Password(Vec<u8>),
    Session { handle: Two<u32>, attributes: u8, hmac_auth: Vec<u8>, crypt_auth: Vec<u8>, how: How },
}

/// What stands in the hmac field of a session.
#[derive(Clone, Debug)]
pub(super) enum How {
    Hmac,
    Raw(Vec<u8>),
}

impl Auth {
    const fn has(&self, bit: u8) -> bool {
        matches!(self, Self::Session { attributes, .. } if *attributes & bit != 0)
    }
}

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
        auths
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

    /// The octets of the command for one side.
    pub(super) fn marshal(&self, command: &Command, auths: &[Auth], nonces: &[Vec<u8>], side: usize) -> Vec<u8> {
        let params = self.encrypted(command, auths, nonces, side);
        let names: Vec<u8> = command.handles.iter().flat_map(|h| h.name[side].clone()).collect();
        let cp = [&command.code.to_be_bytes()[..], &names, &params].concat();
        let tag: u16 = if auths.is_empty() { 0x8001 } else { 0x8002 };
        let mut out = [&tag.to_be_bytes()[..], &[0; 4], &command.code.to_be_bytes()].concat();
        command.handles.iter().for_each(|h| out.extend(h.handle[side].to_be_bytes()));
        if !auths.is_empty() {
            let of_others = if command.authorized > 0 { self.other_nonces(auths, side) } else { vec![] };
            let entry = |i: usize| {
                let others: &[u8] = if i == 0 { &of_others } else { &[] };
                self.entry(&auths[i], &nonces[i], others, &cp, side)
            };
            let area: Vec<u8> = (0..auths.len()).flat_map(entry).collect();
            out.extend(u32::try_from(area.len()).expect("short").to_be_bytes());
            out.extend(area);
        }
        out.extend(params);
        out
    }

    /// The parameters, of which a session may encrypt the first one.
    fn encrypted(&self, command: &Command, auths: &[Auth], nonces: &[Vec<u8>], side: usize) -> Vec<u8> {
        let mut params = command.params.0[side].clone();
        if let Some(i) = auths.iter().position(|auth| auth.has(attr::DECRYPT))
            && let Auth::Session { handle, crypt_auth, .. } = &auths[i]
            && let Some(session) = self.session(*handle)
        {
            let value = [&session.key[side][..], crypt_auth].concat();
            session.crypt_first(&value, &nonces[i], &session.nonce[side], true, &mut params);
        }
        params
    }

    /// nonceTPM of the sessions that encrypt, which go into the first session's HMAC unless they are it.
    fn other_nonces(&self, auths: &[Auth], side: usize) -> Vec<u8> {
        let with = |bit| auths.iter().position(|auth| auth.has(bit));
        let (decrypt, encrypt) = (with(attr::DECRYPT), with(attr::ENCRYPT));
        let both = [decrypt, encrypt.filter(|e| Some(*e) != decrypt)];
        let others = both.into_iter().flatten().filter(|i| *i != 0);
        let sessions = others.filter_map(|i| match &auths[i] {
            Auth::Session { handle, .. } => self.session(*handle),
            Auth::Password(_) => None,
        });
        sessions.flat_map(|session| session.nonce[side].clone()).collect()
    }

    /// TPMS_AUTH_COMMAND; `cp` is what cpHash is of.
    fn entry(&self, auth: &Auth, nonce: &[u8], others: &[u8], cp: &[u8], side: usize) -> Vec<u8> {
        let (handle, nonce, attributes, hmac) = match auth {
            Auth::Password(value) => (rh::PW, &[][..], attr::CONTINUE, value.clone()),
            Auth::Session { handle, attributes, hmac_auth, how, .. } => {
                let hmac = match (how, self.session(*handle)) {
                    (How::Raw(octets), _) => octets.clone(),
                    (How::Hmac, Some(session)) => {
                        let key = [&session.key[side][..], hmac_auth].concat();
                        let cp_hash = session.alg.hash(&[cp]);
                        session.alg.hmac(&key, &[&cp_hash, nonce, &session.nonce[side], others, &[*attributes]])
                    }
                    (How::Hmac, None) => vec![],
                };
                (handle[side], nonce, *attributes, hmac)
            }
        };
        let sized = |octets: &[u8]| [&short(octets.len()).to_be_bytes()[..], octets].concat();
        [&handle.to_be_bytes()[..], &sized(nonce), &[attributes], &sized(&hmac)].concat()
    }
}
