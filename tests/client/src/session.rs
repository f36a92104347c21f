//! Sessions of one TPM, and commands with them (Part 1, 15 to 18).

use crate::area::{Answered, Entry, How, Known, Opened, Turn, marshal, open};
use crate::attributes::session as attr;
use crate::cc;
use crate::codes::NULL;
use crate::command::{Rest, body, command, response_code, tpm2b};
use crate::hash::Alg;
use crate::sym::Sym;

/// The outcome of a command: the response's body behind the header, or the response code.
pub type Outcome = Result<Vec<u8>, u32>;

/// What commands go to.
pub trait Transport {
    /// The response of a command.
    fn transmit(&mut self, request: &[u8]) -> Vec<u8>;

    /// The outcome of a command with a marshalled authorization area, which may be empty.
    fn outcome(&mut self, code: u32, handles: &[u32], area: &[u8], parameters: &[u8]) -> Outcome {
        let response = self.transmit(&command(code, handles, area, parameters));
        match response_code(&response) {
            0 => Ok(body(code, &response, !area.is_empty())),
            rc => Err(rc),
        }
    }
}

/// TPM_SE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// an HMAC session
    Hmac = 0,
    /// a policy session
    Policy = 1,
    /// a trial policy
    Trial = 3,
}

/// A session as its caller knows it.
pub struct Session {
    /// its handle
    pub handle: u32,
    /// its hash
    pub alg: Alg,
    /// the last nonceTPM
    pub nonce_tpm: Vec<u8>,
    /// sessionKey
    pub key: Vec<u8>,
    /// how it encrypts parameters
    pub sym: Sym,
    uses: u8,
}

/// What a session starts from.
pub struct Start<'a> {
    /// sessionType
    pub kind: Kind,
    /// how it encrypts parameters
    pub sym: Sym,
    /// authHash
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

impl Start<'_> {
    /// Handles and parameters of TPM2_StartAuthSession.
    #[must_use]
    pub fn request(&self, nonce_caller: &[u8]) -> ([u32; 2], Vec<u8>) {
        let kind = [self.kind as u8];
        let alg = self.alg.id().to_be_bytes();
        let parameters =
            [&tpm2b(nonce_caller)[..], &tpm2b(self.salt.1), &kind, &self.sym.wire(self.alg), &alg].concat();
        ([self.salt.0, self.bind.0], parameters)
    }
}

impl Session {
    /// TPM2_StartAuthSession.
    ///
    /// # Panics
    /// If the TPM starts none.
    pub fn start(tpm: &mut impl Transport, s: &Start<'_>) -> Self {
        let nonce_caller = [0x11; 16];
        let (handles, parameters) = s.request(&nonce_caller);
        let reply = tpm.outcome(cc::START_AUTH_SESSION, &handles, &[], &parameters).expect("TPM2_StartAuthSession");
        let mut rest = Rest(&reply);
        let handle = rest.u32().expect("a handle");
        let nonce_tpm = rest.sized().expect("nonceTPM").to_vec();
        let key = if handles == [NULL, NULL] {
            vec![]
        } else {
            s.alg.session_key(&[s.bind.1, s.salt.2].concat(), &nonce_tpm, &nonce_caller)
        };
        Self { handle, alg: s.alg, nonce_tpm, key, sym: s.sym, uses: 0 }
    }

    /// Neither bound nor salted, SHA-256, without encryption.
    pub fn plain(tpm: &mut impl Transport, kind: Kind) -> Self {
        Self::start(tpm, &Start { kind, ..Start::default() })
    }

    /// A use with continueSession, without authValue.
    pub fn with(&mut self, attributes: u8) -> Use<'_> {
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
    pub fn auth(&mut self, attributes: u8, auth: &[u8]) -> Use<'_> {
        Use { hmac_auth: auth.to_vec(), crypt_auth: auth.to_vec(), ..self.with(attributes) }
    }

    /// What both ends know.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        Known { handle: self.handle, alg: self.alg, sym: self.sym, key: &self.key, nonce_tpm: &self.nonce_tpm }
    }

    fn next_nonce(&mut self) -> Vec<u8> {
        self.uses += 1;
        vec![0x20 + self.uses; 16]
    }
}

/// A session's use in one command.
pub struct Use<'a> {
    /// the session
    pub session: &'a mut Session,
    /// TPMA_SESSION
    pub attributes: u8,
    /// the authValue in the HMAC's key
    pub hmac_auth: Vec<u8>,
    /// the one in the key of the response's HMAC, if it is another
    pub hmac_auth_after: Option<Vec<u8>>,
    /// the authValue in sessionValue
    pub crypt_auth: Vec<u8>,
    /// what stands in the hmac field
    pub how: How,
}

impl Use<'_> {
    /// With these octets instead of an HMAC.
    #[must_use]
    pub fn raw(self, bytes: &[u8]) -> Self {
        Self { how: How::Raw(bytes.to_vec()), ..self }
    }

    /// Without continueSession.
    #[must_use]
    pub fn last(self) -> Self {
        Self { attributes: self.attributes & !attr::CONTINUE, ..self }
    }

    fn turn<'b>(&'b self, nonce_caller: &'b [u8]) -> Turn<'b> {
        Turn {
            session: self.session.known(),
            nonce_caller,
            attributes: self.attributes,
            hmac_auth: &self.hmac_auth,
            hmac_auth_after: self.hmac_auth_after.as_ref().unwrap_or(&self.hmac_auth),
            crypt_auth: &self.crypt_auth,
            how: &self.how,
        }
    }

    /// What the response says of the session is right; it goes on from there.
    fn accept(&mut self, answered: Answered) {
        let Answered { nonce, attributes, hmac, expected } = answered;
        assert_ne!(nonce, self.session.nonce_tpm, "nonceTPM rolls");
        assert_eq!(attributes & !attr::AUDIT_EXCLUSIVE, self.attributes & !attr::AUDIT_EXCLUSIVE);
        if matches!(self.how, How::Hmac) || !hmac.is_empty() {
            assert_eq!(hmac, expected, "the response's HMAC");
        }
        self.session.nonce_tpm = nonce;
        self.attributes = attributes;
    }
}

/// An entry of the authorization area.
pub enum Auth<'a> {
    /// a password
    Password(&'a [u8]),
    /// a session
    Session(Use<'a>),
}

impl<'a> From<Use<'a>> for Auth<'a> {
    fn from(one: Use<'a>) -> Self {
        Self::Session(one)
    }
}

impl Auth<'_> {
    fn next_nonce(&mut self) -> Vec<u8> {
        match self {
            Self::Session(one) => one.session.next_nonce(),
            Self::Password(_) => vec![],
        }
    }
}

/// Name of an entity, as the TPM says it.
///
/// # Panics
/// If it does not say it.
pub fn name(tpm: &mut impl Transport, handle: u32) -> Vec<u8> {
    let code = match handle >> 24 {
        0x01 => cc::NV_READ_PUBLIC,
        0x80 | 0x81 => cc::READ_PUBLIC,
        _ => return handle.to_be_bytes().to_vec(),
    };
    let reply = tpm.outcome(code, &[handle], &[], &[]).expect("ReadPublic");
    let mut rest = Rest(&reply);
    rest.sized().expect("a public area");
    rest.sized().expect("a name").to_vec()
}

/// cpHash.
#[must_use]
pub fn cp_hash(alg: Alg, code: u32, names: &[Vec<u8>], parameters: &[u8]) -> Vec<u8> {
    alg.cp_hash(code, &names.concat(), parameters)
}

/// A command with sessions: encrypts, computes HMACs, and checks those of the response. The outcome is the plain reply.
/// `on_the_way` makes a last change to the command's octets.
///
/// # Panics
/// If a successful response is not what the sessions make of it.
pub fn execute(
    tpm: &mut impl Transport,
    code: u32,
    handles: &[u32],
    mut auths: Vec<Auth<'_>>,
    parameters: &[u8],
    on_the_way: impl FnOnce(&mut Vec<u8>),
) -> Outcome {
    let names: Vec<u8> = handles.iter().flat_map(|handle| name(tpm, *handle)).collect();
    let nonces: Vec<_> = auths.iter_mut().map(Auth::next_nonce).collect();
    let entry = |(auth, nonce)| match auth {
        &Auth::Password(value) => Entry::Password(value),
        Auth::Session(one) => Entry::Session(one.turn(nonce)),
    };
    let entries: Vec<_> = auths.iter().zip(&nonces).map(|(auth, nonce)| entry((auth, nonce))).collect();
    let mut request = marshal(code, handles, &names, authorizes(code), &entries, parameters);
    on_the_way(&mut request);
    let response = tpm.transmit(&request);
    let rc = response_code(&response);
    if rc != 0 {
        return Err(rc);
    }
    let Opened { handle, parameters, sessions, rest } = open(code, &entries, &response).expect("a whole response");
    assert!(rest.is_empty() && sessions.len() == auths.len(), "the response's authorization area");
    for (auth, answered) in auths.iter_mut().zip(sessions) {
        match auth {
            Auth::Session(one) => one.accept(answered),
            Auth::Password(_) => {
                let Answered { nonce, attributes, hmac, .. } = answered;
                assert_eq!((nonce.len(), attributes, hmac.len()), (0, attr::CONTINUE, 0), "a password's response");
            }
        }
    }
    Ok([handle.map_or_else(Vec::new, |handle| handle.to_be_bytes().to_vec()), parameters].concat())
}

/// Whether the first handle needs an authorization (Part 3, "Auth Index" in the tables of commands).
const fn authorizes(code: u32) -> bool {
    !matches!(
        code,
        cc::STARTUP
            | cc::SHUTDOWN
            | cc::SELF_TEST
            | cc::INCREMENTAL_SELF_TEST
            | cc::GET_TEST_RESULT
            | cc::START_AUTH_SESSION
            | cc::LOAD_EXTERNAL
            | cc::READ_PUBLIC
            | cc::MAKE_CREDENTIAL
            | cc::RSA_ENCRYPT
            | cc::ECDH_KEY_GEN
            | cc::ECC_PARAMETERS
            | cc::ECC_ENCRYPT
            | cc::EC_EPHEMERAL
            | cc::ENCAPSULATE
            | cc::HASH
            | cc::GET_RANDOM
            | cc::STIR_RANDOM
            | cc::HASH_SEQUENCE_START
            | cc::VERIFY_SEQUENCE_START
            | cc::SIGN_SEQUENCE_START
            | cc::VERIFY_SIGNATURE
            | cc::VERIFY_DIGEST_SIGNATURE
            | cc::PCR_READ
            | cc::READ_CLOCK
            | cc::GET_CAPABILITY
            | cc::TEST_PARMS
            | cc::NV_READ_PUBLIC
            | cc::NV_READ_PUBLIC_2
            | cc::CONTEXT_SAVE
            | cc::CONTEXT_LOAD
            | cc::FLUSH_CONTEXT
    ) && !asserts(code)
}

/// Whether the command is of a policy session alone, and needs no authorization.
const fn asserts(code: u32) -> bool {
    matches!(
        code,
        cc::POLICY_SIGNED
            | cc::POLICY_AUTHORIZE
            | cc::POLICY_AUTH_VALUE
            | cc::POLICY_COMMAND_CODE
            | cc::POLICY_COUNTER_TIMER
            | cc::POLICY_CP_HASH
            | cc::POLICY_LOCALITY
            | cc::POLICY_NAME_HASH
            | cc::POLICY_OR
            | cc::POLICY_TICKET
            | cc::POLICY_PCR
            | cc::POLICY_RESTART
            | cc::POLICY_PHYSICAL_PRESENCE
            | cc::POLICY_DUPLICATION_SELECT
            | cc::POLICY_GET_DIGEST
            | cc::POLICY_PASSWORD
            | cc::POLICY_NV_WRITTEN
            | cc::POLICY_TEMPLATE
            | cc::POLICY_AC_SEND_SELECT
            | cc::POLICY_CAPABILITY
            | cc::POLICY_PARAMETERS
            | cc::POLICY_TRANSPORT_SPDM
    )
}
