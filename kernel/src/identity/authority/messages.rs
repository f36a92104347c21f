//! What the firmware and the operator's program write to each other (docs/boot.md, "The operator's authority").

use alloc::vec::Vec;
use core::fmt;

use der::{Reader, SliceReader};
use heapless::String;

use super::chain::MAX_CERTIFICATES;

/// The version of both messages.
const VERSION: u32 = 1;
/// Octets of the longest reason of a refusal that is kept.
const MAX_REASON: usize = 80;

/// What the operator's program is asked to certify.
pub struct Request {
    /// The issuer's own certificate, which carries the report over its key.
    pub certificate: Vec<u8>,
    /// What the host gives of the certificates above the report's, one after another.
    pub above: Vec<u8>,
    /// A PKCS #10 request for the same key.
    pub pkcs10: Vec<u8>,
}

impl Request {
    /// Version, three lengths, and what has them. `None`: something is too long.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let parts = [&self.certificate, &self.above, &self.pkcs10];
        let mut out = VERSION.to_le_bytes().to_vec();
        for part in parts {
            out.extend(u32::try_from(part.len()).ok()?.to_le_bytes());
        }
        parts.into_iter().for_each(|part| out.extend(part));
        Some(out)
    }
}

/// An answer of the operator's program.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// Certificates, the issuer's first.
    Certificates(Vec<&'a [u8]>),
    /// It does not certify the issuer.
    Refused(Reason),
}

/// Why, in the operator's words: what can be printed of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String<MAX_REASON>);

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Reason {
    fn new(words: &[u8]) -> Reason {
        let mut text = String::new();
        let printed = words.iter().map(|octet| if matches!(octet, b' '..=b'~') { char::from(*octet) } else { '?' });
        // What is too long is cut off.
        let _ = printed.take(MAX_REASON).try_for_each(|letter| text.push(letter));
        Reason(text)
    }
}

/// Why a message is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It ends before it has said anything.
    Short,
    /// Of another version.
    Version,
    /// Neither certificates nor a refusal.
    Kind,
    /// What follows is not one certificate after another.
    Certificates,
}

snp::error_words! { Malformed {
    Self::Short => "it is too short",
    Self::Version => "its version is unknown",
    Self::Kind => "it is of an unknown kind",
    Self::Certificates => "it is not one certificate after another",
} }

impl<'a> Answer<'a> {
    /// Version, kind, and either certificates in DER, one after another, or words.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (version, rest) = message.split_first_chunk().ok_or(Malformed::Short)?;
        let (kind, rest) = rest.split_first_chunk().ok_or(Malformed::Short)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Malformed::Version);
        }
        match u32::from_le_bytes(*kind) {
            0 => one_after_another(rest).map(Answer::Certificates).ok_or(Malformed::Certificates),
            1 => Ok(Answer::Refused(Reason::new(rest))),
            _ => Err(Malformed::Kind),
        }
    }
}

/// Values in DER, one after another, and nothing behind the last. One more than there may be is enough.
pub(super) fn one_after_another(octets: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = SliceReader::new(octets).ok()?;
    let mut all = Vec::new();
    while !reader.is_finished() && all.len() <= MAX_CERTIFICATES {
        all.push(reader.tlv_bytes().ok()?);
    }
    Some(all)
}
