//! The authorization area of a command, and that of its response (Part 1, 16.6 to 16.9 and 18).

use crate::attributes::session as attr;
use crate::command::{Rest, command, password, replies_handle, tpm2b};
use crate::hash::Alg;
use crate::sym::Sym;

/// What both ends of a session know of it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// its handle
    pub handle: u32,
    /// its hash
    pub alg: Alg,
    /// how it encrypts parameters
    pub sym: Sym,
    /// sessionKey
    pub key: &'a [u8],
    /// the last nonceTPM
    pub nonce_tpm: &'a [u8],
}

impl Known<'_> {
    /// Encrypts or decrypts the first parameter, if it is a TPM2B, under the session value.
    fn crypt_first(&self, auth: &[u8], newer: &[u8], older: &[u8], encrypt: bool, parameters: &mut [u8]) {
        if let Some((size, data)) = parameters.split_first_chunk_mut::<2>()
            && let Some(data) = data.get_mut(..u16::from_be_bytes(*size).into())
        {
            self.sym.crypt(self.alg, &[self.key, auth].concat(), newer, older, encrypt, data);
        }
    }

    fn hmac(&self, auth: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        self.alg.hmac(&[self.key, auth].concat(), parts)
    }
}

/// What stands in the hmac field of a session.
#[derive(Clone, Debug)]
pub enum How {
    /// the HMAC
    Hmac,
    /// these octets: a password, nothing, or something wrong
    Raw(Vec<u8>),
}

/// A session in one command.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// the session before the command
    pub session: Known<'a>,
    /// nonceCaller
    pub nonce_caller: &'a [u8],
    /// TPMA_SESSION
    pub attributes: u8,
    /// the authValue in the key of the HMAC
    pub hmac_auth: &'a [u8],
    /// the one in the key of the response's HMAC
    pub hmac_auth_after: &'a [u8],
    /// the authValue in sessionValue
    pub crypt_auth: &'a [u8],
    /// what stands in the hmac field
    pub how: &'a How,
}

/// An entry of the authorization area.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// a password
    Password(&'a [u8]),
    /// a session
    Session(Turn<'a>),
}

impl<'a> Entry<'a> {
    const fn turn(&self) -> Option<&Turn<'a>> {
        match self {
            Self::Session(turn) => Some(turn),
            Self::Password(_) => None,
        }
    }
}

/// The place of the first session with an attribute.
fn first_with(entries: &[Entry<'_>], attribute: u8) -> Option<usize> {
    entries.iter().position(|entry| entry.turn().is_some_and(|turn| turn.attributes & attribute != 0))
}

/// A command with its authorization area. The first handle is authorized or not; `names` are those of all handles in a
/// row.
#[must_use]
pub fn marshal(
    code: u32,
    handles: &[u32],
    names: &[u8],
    authorized: bool,
    entries: &[Entry<'_>],
    parameters: &[u8],
) -> Vec<u8> {
    let parameters = encrypted(entries, parameters);
    let others = if authorized { other_nonces(entries) } else { vec![] };
    let mut area = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        area.extend(match entry {
            Entry::Password(value) => password(value),
            Entry::Session(turn) => turn.marshal(code, names, if i == 0 { &others } else { &[] }, &parameters),
        });
    }
    command(code, handles, &area, &parameters)
}

/// The parameters, of which a session may encrypt the first one.
fn encrypted(entries: &[Entry<'_>], parameters: &[u8]) -> Vec<u8> {
    let mut parameters = parameters.to_vec();
    if let Some(turn) = first_with(entries, attr::DECRYPT).and_then(|i| entries[i].turn()) {
        let session = &turn.session;
        session.crypt_first(turn.crypt_auth, turn.nonce_caller, session.nonce_tpm, true, &mut parameters);
    }
    parameters
}

/// nonceTPM of the sessions that encrypt, which go into the first session's HMAC unless they are it.
fn other_nonces(entries: &[Entry<'_>]) -> Vec<u8> {
    let (decrypt, encrypt) = (first_with(entries, attr::DECRYPT), first_with(entries, attr::ENCRYPT));
    let both = [decrypt, encrypt.filter(|e| Some(*e) != decrypt)];
    let others = both.into_iter().flatten().filter(|i| *i != 0).filter_map(|i| entries[i].turn());
    others.flat_map(|turn| turn.session.nonce_tpm.to_vec()).collect()
}

impl Turn<'_> {
    /// TPMS_AUTH_COMMAND.
    fn marshal(&self, code: u32, names: &[u8], others: &[u8], parameters: &[u8]) -> Vec<u8> {
        let session = &self.session;
        let hmac = match self.how {
            How::Raw(octets) => octets.clone(),
            How::Hmac => {
                let cp_hash = session.alg.cp_hash(code, names, parameters);
                let parts = [&cp_hash, self.nonce_caller, session.nonce_tpm, others, &[self.attributes]];
                session.hmac(self.hmac_auth, &parts)
            }
        };
        [&session.handle.to_be_bytes()[..], &tpm2b(self.nonce_caller), &[self.attributes], &tpm2b(&hmac)].concat()
    }
}

/// A successful response.
pub struct Opened {
    /// the response handle
    pub handle: Option<u32>,
    /// the parameters in the clear
    pub parameters: Vec<u8>,
    /// TPMS_AUTH_RESPONSE of each entry
    pub sessions: Vec<Answered>,
    /// what follows
    pub rest: Vec<u8>,
}

/// TPMS_AUTH_RESPONSE.
pub struct Answered {
    /// nonceTPM
    pub nonce: Vec<u8>,
    /// TPMA_SESSION
    pub attributes: u8,
    /// what stands in the hmac field
    pub hmac: Vec<u8>,
    /// the HMAC; nothing for a password
    pub expected: Vec<u8>,
}

/// Reads the successful response of a command with these entries; none if something is missing. What the sessions say
/// is not judged.
#[must_use]
pub fn open(code: u32, entries: &[Entry<'_>], response: &[u8]) -> Option<Opened> {
    let mut rest = Rest(response.get(10..)?);
    let handle = if replies_handle(code) { Some(rest.u32()?) } else { None };
    if response.starts_with(&crate::command::NO_SESSIONS.to_be_bytes()) {
        return Some(Opened { handle, parameters: rest.0.to_vec(), sessions: vec![], rest: vec![] });
    }
    let size = rest.u32()? as usize;
    let encrypted = rest.take(size)?;
    let mut parameters = encrypted.to_vec();
    let mut sessions = Vec::new();
    for entry in entries {
        let nonce = rest.sized()?;
        let attributes = rest.take(1)?[0];
        let hmac = rest.sized()?.to_vec();
        let expected = entry.turn().map_or_else(Vec::new, |turn| {
            let session = &turn.session;
            if attributes & attr::ENCRYPT != 0 {
                session.crypt_first(turn.crypt_auth, nonce, turn.nonce_caller, false, &mut parameters);
            }
            let rp_hash = session.alg.rp_hash(code, encrypted);
            session.hmac(turn.hmac_auth_after, &[&rp_hash, nonce, turn.nonce_caller, &[attributes]])
        });
        sessions.push(Answered { nonce: nonce.to_vec(), attributes, hmac, expected });
    }
    Some(Opened { handle, parameters, sessions, rest: rest.0.to_vec() })
}
