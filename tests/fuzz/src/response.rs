//! What every response must be (Part 1, 16.8 to 16.10; Part 2, 6.6).

use client::codes::BAD_TAG;

/// The response code of a response, which is well-formed.
#[must_use]
pub fn check(request: &[u8], response: &[u8]) -> u32 {
    assert!((10..=tpm_core::profile::MAX_RESPONSE_SIZE).contains(&response.len()), "size of the response");
    let word = |at: usize| u32::from_be_bytes(response[at..at + 4].try_into().expect("four octets"));
    assert_eq!(word(2) as usize, response.len(), "responseSize");
    let (tag, code) = (&response[..2], word(6));
    match code {
        0 => assert_eq!(tag, &request[..2], "a success has the tag of its command"),
        // The only code whose tag is that of TPM 1.2.
        BAD_TAG => assert_eq!(tag, [0, 0xc4]),
        _ => assert_eq!(tag, [0x80, 1]),
    }
    assert!(code == 0 || response.len() == 10, "an error and more");
    assert!(is_known(code), "response code {code:#x}");
    code
}

/// Whether there is such a code.
fn is_known(code: u32) -> bool {
    match code {
        0 | BAD_TAG => true,
        // Format one: a code below 0x40; a parameter from 1 to 15, or a handle or session from 0 to 7.
        _ if code & 0x80 != 0 => code < 0x1000 && (1..=0x30).contains(&(code & 0x3f)),
        // Format zero: errors, and warnings.
        _ => (0x100..0x180).contains(&code) || (0x900..0x940).contains(&code),
    }
}
