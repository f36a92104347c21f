//! The caller's side of sessions (Part 1, 15 to 18), with hashing of its own: nothing here is computed by tpm-core.

use super::{Fixture, Outcome, command, password, split, tpm2b};
use crate::harness::codes::NULL;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use sha2::Digest;
use tpm_core::cc;

/// TPMA_SESSION.
pub(crate) mod attr {
    pub(crate) const CONTINUE: u8 = 0x01;
    pub(crate) const AUDIT_EXCLUSIVE: u8 = 0x02;
    pub(crate) const AUDIT_RESET: u8 = 0x04;
    pub(crate) const DECRYPT: u8 = 0x20;
    pub(crate) const ENCRYPT: u8 = 0x40;
    pub(crate) const AUDIT: u8 = 0x80;
}

/// A hash algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alg {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Alg {
    pub(crate) const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    pub(crate) fn id(self) -> [u8; 2] {
        [0, [0x04, 0x0b, 0x0c, 0x0d][self as usize]]
    }

    pub(crate) fn size(self) -> usize {
        [20, 32, 48, 64][self as usize]
    }

    pub(crate) fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        let data = parts.concat();
        match self {
            Self::Sha1 => sha1::Sha1::digest(&data).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(&data).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(&data).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(&data).to_vec(),
        }
    }

    /// RFC 2104.
    pub(crate) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let block = if self.size() > 32 { 128 } else { 64 };
        let mut padded = if key.len() > block { self.hash(&[key]) } else { key.to_vec() };
        padded.resize(block, 0);
        let with = |pad: u8| padded.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
        let inner = self.hash(&[&with(0x36), &parts.concat()]);
        self.hash(&[&with(0x5c), &inner])
    }

    /// KDFa (Part 1, 8.4.10.2) for whole octets; the label without its zero.
    pub(crate) fn kdfa(self, key: &[u8], label: &[u8], u: &[u8], v: &[u8], octets: usize) -> Vec<u8> {
        let bits = (octets as u32 * 8).to_be_bytes();
        let mut out = Vec::new();
        for counter in 1u32.. {
            if out.len() >= octets {
                break;
            }
            out.extend(self.hmac(key, &[&counter.to_be_bytes(), label, &[0], u, v, &bits]));
        }
        out.truncate(octets);
        out
    }
}

/// TPM_SE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Hmac = 0,
    Policy = 1,
    Trial = 3,
}

/// The session's algorithm for encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sym {
    Null,
    Xor,
    Aes128,
    Aes256,
}

impl Sym {
    fn wire(self, alg: Alg) -> Vec<u8> {
        match self {
            Self::Null => vec![0, 0x10],
            Self::Xor => [[0, 0x0a], alg.id()].concat(),
            Self::Aes128 => vec![0, 6, 0, 128, 0, 0x43],
            Self::Aes256 => vec![0, 6, 1, 0, 0, 0x43],
        }
    }
}

/// A session as its caller knows it.
pub(crate) struct Session {
    pub handle: u32,
    pub alg: Alg,
    pub nonce_tpm: Vec<u8>,
    pub key: Vec<u8>,
    pub sym: Sym,
    uses: u8,
}

/// What a session starts from.
pub(crate) struct Start<'a> {
    pub kind: Kind,
    pub sym: Sym,
    pub alg: Alg,
    /// bind, and its authValue
    pub bind: (u32, &'a [u8]),
    /// tpmKey, encryptedSalt, and the salt
    pub salt: (u32, &'a [u8], &'a [u8]),
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self { kind: Kind::Hmac, sym: Sym::Null, alg: Alg::Sha256, bind: (NULL, &[]), salt: (NULL, &[], &[]) }
    }
}

impl Session {
    /// TPM2_StartAuthSession.
    pub(crate) fn start(tpm: &mut Fixture, s: &Start<'_>) -> Self {
        let nonce_caller = vec![0x11; 16];
        let reply = tpm
            .run(
                cc::START_AUTH_SESSION,
                &[s.salt.0, s.bind.0],
                &[],
                &[tpm2b(&nonce_caller), tpm2b(s.salt.1), vec![s.kind as u8], s.sym.wire(s.alg), s.alg.id().to_vec()]
                    .concat(),
            )
            .expect("TPM2_StartAuthSession");
        let handle = u32::from_be_bytes(reply[..4].try_into().unwrap());
        let nonce_tpm = reply[6..].to_vec();
        let secret = [s.bind.1, s.salt.2].concat();
        let key = if s.bind.0 == NULL && s.salt.0 == NULL {
            vec![]
        } else {
            s.alg.kdfa(&secret, b"ATH", &nonce_tpm, &nonce_caller, s.alg.size())
        };
        Self { handle, alg: s.alg, nonce_tpm, key, sym: s.sym, uses: 0 }
    }

    /// Neither bound nor salted, SHA-256, without encryption.
    pub(crate) fn plain(tpm: &mut Fixture, kind: Kind) -> Self {
        Self::start(tpm, &Start { kind, ..Start::default() })
    }

    /// A use with continueSession, without authValue.
    pub(crate) fn with(&mut self, attributes: u8) -> Use<'_> {
        Use {
            session: self,
            attributes: attributes | attr::CONTINUE,
            hmac_auth: vec![],
            hmac_auth_after: None,
            crypt_auth: vec![],
            how: How::Hmac,
        }
    }

    /// A use that authorizes an entity with this authValue, to which the session is not bound.
    pub(crate) fn auth(&mut self, attributes: u8, auth: &[u8]) -> Use<'_> {
        Use { hmac_auth: auth.to_vec(), crypt_auth: auth.to_vec(), ..self.with(attributes) }
    }

    fn next_nonce(&mut self) -> Vec<u8> {
        self.uses += 1;
        vec![0x20 + self.uses; 16]
    }

    fn crypt(&self, auth: &[u8], newer: &[u8], older: &[u8], encrypt: bool, data: &mut [u8]) {
        let value = [&self.key, auth].concat();
        let key_size = match self.sym {
            Sym::Null => panic!("a session without an algorithm"),
            Sym::Xor => {
                let mask = self.alg.kdfa(&value, b"XOR", newer, older, data.len());
                data.iter_mut().zip(mask).for_each(|(to, mask)| *to ^= mask);
                return;
            }
            Sym::Aes128 => 16,
            Sym::Aes256 => 32,
        };
        let material = self.alg.kdfa(&value, b"CFB", newer, older, key_size + 16);
        let (key, iv) = material.split_at(key_size);
        cfb(key, iv, encrypt, data);
    }
}

/// CFB-128 (SP 800-38A, 6.3).
pub(crate) fn cfb(key: &[u8], iv: &[u8], encrypt: bool, data: &mut [u8]) {
    let mut feedback: [u8; 16] = iv.try_into().unwrap();
    for chunk in data.chunks_mut(16) {
        let mut block = Array::from(feedback);
        match key.len() {
            16 => aes::Aes128::new_from_slice(key).unwrap().encrypt_block(&mut block),
            _ => aes::Aes256::new_from_slice(key).unwrap().encrypt_block(&mut block),
        }
        let cipher_before = chunk.to_vec();
        chunk.iter_mut().zip(&block).for_each(|(to, mask)| *to ^= mask);
        let cipher = if encrypt { chunk.to_vec() } else { cipher_before };
        feedback[..cipher.len()].copy_from_slice(&cipher);
    }
}

/// What stands in the hmac field.
pub(crate) enum How {
    /// the HMAC
    Hmac,
    /// these octets: a password, nothing, or something wrong
    Raw(Vec<u8>),
}

/// A session's use in one command.
pub(crate) struct Use<'a> {
    pub session: &'a mut Session,
    pub attributes: u8,
    /// the authValue in the HMAC's key
    pub hmac_auth: Vec<u8>,
    /// the one in the key of the response's HMAC, if it is another
    pub hmac_auth_after: Option<Vec<u8>>,
    /// the authValue in sessionValue
    pub crypt_auth: Vec<u8>,
    pub how: How,
}

impl Use<'_> {
    /// With these octets instead of an HMAC.
    pub(crate) fn raw(self, bytes: &[u8]) -> Self {
        Self { how: How::Raw(bytes.to_vec()), ..self }
    }

    /// Without continueSession.
    pub(crate) fn last(self) -> Self {
        Self { attributes: self.attributes & !attr::CONTINUE, ..self }
    }

    fn has(&self, attribute: u8) -> bool {
        self.attributes & attribute != 0
    }
}

/// An entry of the authorization area.
pub(crate) enum Auth<'a> {
    Password(&'a [u8]),
    Session(Use<'a>),
}

impl<'a> From<Use<'a>> for Auth<'a> {
    fn from(one: Use<'a>) -> Self {
        Self::Session(one)
    }
}

/// Name of an entity, as the TPM says it.
pub(crate) fn name(tpm: &mut Fixture, handle: u32) -> Vec<u8> {
    let code = match handle >> 24 {
        0x01 => cc::NV_READ_PUBLIC,
        0x80 | 0x81 => cc::READ_PUBLIC,
        _ => return handle.to_be_bytes().to_vec(),
    };
    let reply = tpm.run(code, &[handle], &[], &[]).expect("ReadPublic");
    let public = 2 + usize::from(u16::from_be_bytes(reply[..2].try_into().unwrap()));
    let size = usize::from(u16::from_be_bytes(reply[public..public + 2].try_into().unwrap()));
    reply[public + 2..public + 2 + size].to_vec()
}

/// cpHash.
pub(crate) fn cp_hash(alg: Alg, code: u32, names: &[Vec<u8>], params: &[u8]) -> Vec<u8> {
    alg.hash(&[&code.to_be_bytes(), &names.concat(), params])
}

fn first_2b(params: &mut [u8]) -> &mut [u8] {
    let size = usize::from(u16::from_be_bytes(params[..2].try_into().unwrap()));
    &mut params[2..2 + size]
}

impl Fixture {
    /// A command with sessions: encrypts, computes HMACs, and checks those of the response. The outcome is the plain
    /// reply.
    pub(crate) fn exec(&mut self, code: u32, handles: &[u32], auths: Vec<Auth<'_>>, params: &[u8]) -> Outcome {
        self.exec_last(code, handles, auths, params, |_| ())
    }

    /// `exec`, with a last change to the command's octets on their way.
    pub(crate) fn exec_last(
        &mut self,
        code: u32,
        handles: &[u32],
        mut auths: Vec<Auth<'_>>,
        params: &[u8],
        on_the_way: impl FnOnce(&mut Vec<u8>),
    ) -> Outcome {
        let names: Vec<_> = handles.iter().map(|h| name(self, *h)).collect();
        let nonces: Vec<_> = auths
            .iter_mut()
            .map(|a| if let Auth::Session(one) = a { one.session.next_nonce() } else { vec![] })
            .collect();
        let find = |auths: &[Auth<'_>], attribute| {
            auths.iter().position(|a| matches!(a, Auth::Session(one) if one.has(attribute)))
        };
        let mut params = params.to_vec();
        let (decrypt, encrypt) = (find(&auths, attr::DECRYPT), find(&auths, attr::ENCRYPT));
        if let Some(i) = decrypt
            && let Auth::Session(one) = &auths[i]
            && params.len() >= 2
        {
            let nonce_tpm = one.session.nonce_tpm.clone();
            one.session.crypt(&one.crypt_auth, &nonces[i], &nonce_tpm, true, first_2b(&mut params));
        }
        let nonce_of = |i: usize| match &auths[i] {
            Auth::Session(one) => one.session.nonce_tpm.clone(),
            Auth::Password(_) => vec![],
        };
        let extra: Vec<u8> = [decrypt, encrypt.filter(|e| Some(*e) != decrypt)]
            .into_iter()
            .flatten()
            .filter(|i| *i != 0)
            .flat_map(nonce_of)
            .collect();
        let authorizing = authorizations(code);
        let mut area = Vec::new();
        for (i, auth) in auths.iter().enumerate() {
            match auth {
                Auth::Password(value) => area.extend(password(value)),
                Auth::Session(one) => {
                    let s = &one.session;
                    let key = [&s.key[..], &one.hmac_auth].concat();
                    let extra: &[u8] = if i == 0 && authorizing > 0 { &extra } else { &[] };
                    let hmac = match &one.how {
                        How::Raw(bytes) => bytes.clone(),
                        How::Hmac => s.alg.hmac(
                            &key,
                            &[
                                &cp_hash(s.alg, code, &names, &params),
                                &nonces[i],
                                &s.nonce_tpm,
                                extra,
                                &[one.attributes],
                            ],
                        ),
                    };
                    area.extend(s.handle.to_be_bytes());
                    area.extend(tpm2b(&nonces[i]));
                    area.push(one.attributes);
                    area.extend(tpm2b(&hmac));
                }
            }
        }
        let mut request = command(code, handles, &area, &params);
        on_the_way(&mut request);
        let response = self.raw(&request);
        let rc = u32::from_be_bytes(response[6..10].try_into().unwrap());
        if rc != 0 {
            return Err(rc);
        }
        let (handle, mut reply, mut rest) = split(code, &response);
        for (i, auth) in auths.iter_mut().enumerate() {
            let nonce = take_2b(&mut rest);
            let attributes = take(&mut rest, 1)[0];
            let hmac = take_2b(&mut rest);
            let Auth::Session(one) = auth else {
                assert_eq!((nonce.len(), attributes, hmac.len()), (0, attr::CONTINUE, 0), "a password's response");
                continue;
            };
            assert_ne!(nonce, one.session.nonce_tpm, "nonceTPM rolls");
            assert_eq!(attributes & !attr::AUDIT_EXCLUSIVE, one.attributes & !attr::AUDIT_EXCLUSIVE);
            one.session.nonce_tpm = nonce;
            one.attributes = attributes;
            let s = &one.session;
            let auth_after = one.hmac_auth_after.as_ref().unwrap_or(&one.hmac_auth);
            let key = [&s.key[..], auth_after].concat();
            match &one.how {
                How::Raw(_) if hmac.is_empty() => {}
                _ => {
                    let rp_hash = s.alg.hash(&[&[0; 4], &code.to_be_bytes(), &reply]);
                    let expected = s.alg.hmac(&key, &[&rp_hash, &s.nonce_tpm, &nonces[i], &[attributes]]);
                    assert_eq!(hmac, expected, "the response's HMAC");
                }
            }
        }
        assert!(rest.is_empty());
        if let Some(i) = encrypt
            && let Auth::Session(one) = &auths[i]
        {
            let nonce_tpm = one.session.nonce_tpm.clone();
            one.session.crypt(&one.crypt_auth, &nonce_tpm, &nonces[i], false, first_2b(&mut reply));
        }
        Ok([handle, reply].concat())
    }
}

/// Handles that need an authorization, of the commands that the tests use with sessions.
fn authorizations(code: u32) -> usize {
    match code {
        // GetRandom, GetCapability, ReadClock, policies but PolicyNV, PolicySecret and PolicyAuthorizeNV, Hash,
        // ReadPublic, NV_ReadPublic
        cc::GET_RANDOM
        | cc::GET_CAPABILITY
        | cc::READ_CLOCK
        | cc::HASH
        | cc::READ_PUBLIC
        | cc::NV_READ_PUBLIC
        | cc::UNSEAL
        | cc::PCR_READ
        | cc::POLICY_SIGNED
        | cc::POLICY_AUTHORIZE..=cc::POLICY_TICKET
        | cc::POLICY_PCR
        | cc::POLICY_RESTART
        | cc::POLICY_PHYSICAL_PRESENCE..=cc::POLICY_TEMPLATE => 0,
        _ => 1,
    }
}

fn take(rest: &mut Vec<u8>, n: usize) -> Vec<u8> {
    rest.drain(..n).collect()
}

fn take_2b(rest: &mut Vec<u8>) -> Vec<u8> {
    let size = u16::from_be_bytes(take(rest, 2).try_into().unwrap());
    take(rest, size.into())
}

/// policyDigest, computed by the caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PolicyDigest {
    pub alg: Alg,
    pub digest: Vec<u8>,
}

impl PolicyDigest {
    pub(crate) fn new(alg: Alg) -> Self {
        Self { alg, digest: vec![0; alg.size()] }
    }

    /// H(old ‖ code ‖ parts).
    #[must_use]
    pub(crate) fn then(self, code: u32, parts: &[&[u8]]) -> Self {
        let digest = self.alg.hash(&[&self.digest, &code.to_be_bytes(), &parts.concat()]);
        Self { digest, ..self }
    }

    /// H(H(old ‖ code ‖ arg2) ‖ arg3).
    #[must_use]
    pub(crate) fn update(self, code: u32, arg2: &[u8], arg3: &[u8]) -> Self {
        let one = self.then(code, &[arg2]);
        Self { digest: one.alg.hash(&[&one.digest, arg3]), ..one }
    }

    /// With a Zero Digest as the old one.
    #[must_use]
    pub(crate) fn forgotten(self) -> Self {
        Self::new(self.alg)
    }
}
