//! Commands and responses as octets, and a TPM that must say yes.

use peer::Peer;

/// A TPM under measurement, with what is loaded for the case at hand.
pub(crate) struct Tpm<'a> {
    peer: &'a mut dyn Peer,
    response: Vec<u8>,
    loaded: Vec<u32>,
}

impl<'a> Tpm<'a> {
    /// A new TPM after TPM2_Startup(CLEAR).
    pub(crate) fn new(peer: &'a mut dyn Peer) -> Self {
        peer.manufacture();
        let mut tpm = Self { peer, response: Vec::new(), loaded: Vec::new() };
        tpm.ok(&command(code::STARTUP, &[], &[], &[&[0, 0]]));
        tpm
    }

    /// What lasts is saved with every command, or not.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.peer.keep(kept);
    }

    /// Executes a command; the whole response.
    pub(crate) fn execute(&mut self, request: &[u8]) -> &[u8] {
        self.peer.execute(request, 0, &mut self.response);
        &self.response
    }

    /// Executes a command that must succeed; what follows the header.
    pub(crate) fn ok(&mut self, request: &[u8]) -> &[u8] {
        self.execute(request);
        let rc = response_code(&self.response);
        assert_eq!(rc, 0, "response code {rc:#x} to {request:02x?}");
        &self.response[10..]
    }

    /// Executes a command that loads an object or starts a session, which is flushed when the case is over; its handle,
    /// and what follows it.
    pub(crate) fn load(&mut self, request: &[u8]) -> (u32, &[u8]) {
        self.ok(request);
        let handle = handle_of(&self.response);
        self.loaded.push(handle);
        (handle, &self.response[14..])
    }

    /// Flushes what [`Tpm::load`] loaded.
    pub(crate) fn flush_all(&mut self) {
        for handle in core::mem::take(&mut self.loaded) {
            self.flush(handle);
        }
    }

    /// TPM2_FlushContext.
    pub(crate) fn flush(&mut self, handle: u32) {
        self.ok(&command(code::FLUSH_CONTEXT, &[handle], &[], &[]));
    }
}

/// responseCode.
pub(crate) fn response_code(response: &[u8]) -> u32 {
    word(&response[6..])
}

/// The handle that a response begins with.
pub(crate) fn handle_of(response: &[u8]) -> u32 {
    word(&response[10..])
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four octets"))
}

/// A command with handles, and passwords for the first of them.
pub(crate) fn command(code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[&[u8]]) -> Vec<u8> {
    let mut body: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
    if !passwords.is_empty() {
        let area: Vec<u8> =
            passwords.iter().flat_map(|p| [&[0x40, 0, 0, 9, 0, 0, 1][..], &tpm2b(p)].concat()).collect();
        body.extend(u32::try_from(area.len()).expect("a short area").to_be_bytes());
        body.extend(area);
    }
    body.extend(parameters.concat());
    let tag: u16 = if passwords.is_empty() { 0x8001 } else { 0x8002 };
    let size = u32::try_from(10 + body.len()).expect("a short command");
    [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes(), &body].concat()
}

/// A TPM2B.
pub(crate) fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("short contents").to_be_bytes(), bytes].concat()
}

/// The TPM2B at the front, whole, and what follows it.
pub(crate) fn split_2b(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

/// The parameters of a response with sessions, behind parameterSize.
pub(crate) fn parameters(body: &[u8]) -> &[u8] {
    &body[4..4 + word(body) as usize]
}

/// TPM_CC.
pub(crate) mod code {
    pub(crate) const NV_UNDEFINE_SPACE: u32 = 0x122;
    pub(crate) const NV_DEFINE_SPACE: u32 = 0x12a;
    pub(crate) const CREATE_PRIMARY: u32 = 0x131;
    pub(crate) const NV_WRITE: u32 = 0x137;
    pub(crate) const STARTUP: u32 = 0x144;
    pub(crate) const NV_READ: u32 = 0x14e;
    pub(crate) const CREATE: u32 = 0x153;
    pub(crate) const ECDH_Z_GEN: u32 = 0x154;
    pub(crate) const HMAC: u32 = 0x155;
    pub(crate) const LOAD: u32 = 0x157;
    pub(crate) const QUOTE: u32 = 0x158;
    pub(crate) const RSA_DECRYPT: u32 = 0x159;
    pub(crate) const SIGN: u32 = 0x15d;
    pub(crate) const UNSEAL: u32 = 0x15e;
    pub(crate) const CONTEXT_LOAD: u32 = 0x161;
    pub(crate) const CONTEXT_SAVE: u32 = 0x162;
    pub(crate) const ECDH_KEY_GEN: u32 = 0x163;
    pub(crate) const FLUSH_CONTEXT: u32 = 0x165;
    pub(crate) const READ_PUBLIC: u32 = 0x173;
    pub(crate) const RSA_ENCRYPT: u32 = 0x174;
    pub(crate) const START_AUTH_SESSION: u32 = 0x176;
    pub(crate) const VERIFY_SIGNATURE: u32 = 0x177;
    pub(crate) const GET_CAPABILITY: u32 = 0x17a;
    pub(crate) const GET_RANDOM: u32 = 0x17b;
    pub(crate) const HASH: u32 = 0x17d;
    pub(crate) const PCR_READ: u32 = 0x17e;
    pub(crate) const POLICY_PCR: u32 = 0x17f;
    pub(crate) const PCR_EXTEND: u32 = 0x182;
    pub(crate) const ENCRYPT_DECRYPT_2: u32 = 0x193;
}
