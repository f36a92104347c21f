//! Commands and responses as octets (Part 1, 16).

use crate::cc;
use crate::codes::PW;
use core::fmt::Write;

/// TPM_ST_NO_SESSIONS
pub const NO_SESSIONS: u16 = 0x8001;
/// TPM_ST_SESSIONS
pub const SESSIONS: u16 = 0x8002;

/// A TPM2B.
#[must_use]
pub fn tpm2b(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// TPMS_AUTH_COMMAND of a password.
#[must_use]
pub fn password(auth: &[u8]) -> Vec<u8> {
    [&PW.to_be_bytes()[..], &[0, 0, 1], &tpm2b(auth)].concat()
}

/// A command. An empty authorization area is none at all.
#[must_use]
pub fn command(code: u32, handles: &[u32], area: &[u8], parameters: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    if !area.is_empty() {
        body.extend((area.len() as u32).to_be_bytes());
        body.extend(area);
    }
    body.extend(parameters);
    let tag = if area.is_empty() { NO_SESSIONS } else { SESSIONS };
    [&tag.to_be_bytes()[..], &(10 + body.len() as u32).to_be_bytes(), &code.to_be_bytes(), &body].concat()
}

/// A command with passwords for the first of its handles.
#[must_use]
pub fn with_passwords(code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[u8]) -> Vec<u8> {
    let area: Vec<u8> = passwords.iter().flat_map(|value| password(value)).collect();
    command(code, handles, &area, parameters)
}

/// commandCode; zero where there is none.
#[must_use]
pub fn command_code(request: &[u8]) -> u32 {
    word(request, 6).unwrap_or(0)
}

/// responseCode; all ones where there is no response.
#[must_use]
pub fn response_code(response: &[u8]) -> u32 {
    word(response, 6).unwrap_or(u32::MAX)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Whether the response of the command starts with a handle.
#[must_use]
pub const fn replies_handle(code: u32) -> bool {
    loads(code) || code == cc::START_AUTH_SESSION
}

/// Whether the command loads an object or starts a sequence. TPM2_ContextLoad may load a session.
#[must_use]
pub const fn loads(code: u32) -> bool {
    matches!(
        code,
        cc::CREATE_PRIMARY
            | cc::LOAD
            | cc::LOAD_EXTERNAL
            | cc::CREATE_LOADED
            | cc::MAC_START
            | cc::HASH_SEQUENCE_START
            | cc::SIGN_SEQUENCE_START
            | cc::VERIFY_SEQUENCE_START
            | cc::CONTEXT_LOAD
    )
}

/// What follows the header of a successful response, without parameterSize and authorization area; a handle stays in
/// front.
///
/// # Panics
/// If something is missing.
#[must_use]
pub fn body(code: u32, response: &[u8], sessions: bool) -> Vec<u8> {
    let mut rest = Rest(&response[10..]);
    let handle = if replies_handle(code) { rest.take(4).expect("a handle") } else { &[] };
    let parameters = if sessions {
        let size = rest.u32().expect("parameterSize");
        rest.take(size as usize).expect("parameters")
    } else {
        rest.0
    };
    [handle, parameters].concat()
}

/// What is left of a response.
#[derive(Clone, Copy)]
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    /// So many octets.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    /// UINT32
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The contents of a TPM2B.
    pub fn sized(&mut self) -> Option<&'a [u8]> {
        let size = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(size.into())
    }
}

/// The contents of the TPM2B at the front of `bytes`, which go on behind it.
///
/// # Panics
/// If there is none.
pub fn take_2b<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let mut rest = Rest(bytes);
    let contents = rest.sized().expect("a TPM2B");
    *bytes = rest.0;
    contents
}

/// The handle in front of the body of a response.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn handle_of(body: &[u8]) -> u32 {
    word(body, 0).expect("a handle")
}

/// Octets in hexadecimal digits.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut out, octet| {
        let _ = write!(out, "{octet:02x}");
        out
    })
}

/// Hexadecimal digits as octets.
///
/// # Panics
/// If they are none, or an odd number.
#[must_use]
pub fn octets(hex: &str) -> Vec<u8> {
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(octet).collect()
}
