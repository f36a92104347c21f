//! The operator's authority above the issuer of this boot (docs/boot.md, "The operator's authority").
//!
//! Which authorities may be above it is measured. The issuer's certificate comes from a program of the operator's,
//! which has seen the report over the issuer's key; the way to it is the host's, who may lose, change and make up
//! every message: nothing is believed but signatures that lead to a measured authority.
//!
//! | module | is |
//! |---|---|
//! | `messages` | what is asked, and answered |
//! | `x509` | what is read of a certificate |
//! | `chain` | whether certificates certify the issuer |
//! | [`mod@write`] | how what the firmware issues is written |
//! | `testing` (feature) | authorities that sign whatever a test wants |
//!
//! Not in the crate `kernel`, since it is optimised for size.
#![cfg_attr(not(any(test, feature = "testing")), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(test, feature = "testing")),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

extern crate alloc;

mod chain;
mod messages;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod write;
mod x509;

use alloc::vec::Vec;

pub use chain::{MAX_CERTIFICATES, Uncertified};
pub use messages::{Malformed, Reason, Request};
pub use x509::Unreadable;

use chain::{certified, may_certify};
use messages::{Answer, one_after_another};
use x509::Certificate;

/// Octets of the longest certificate: other TPMs have no longer NV Indices, and clients no longer buffers.
pub const MAX_CERTIFICATE: usize = 4096;

/// Whether there is a guest without the operator's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// There is none.
    Required,
    /// There is, with certificates of the firmware's own.
    Preferred,
}

/// The operator's measured setting.
pub struct Authorities {
    /// Whether it goes on without an answer.
    pub need: Need,
    /// How long an answer is waited for.
    pub wait_s: u16,
    certificates: Vec<Vec<u8>>,
}

/// Why a setting is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// It ends before the certificates.
    Short,
    /// Neither required nor preferred, a reserved octet, or no time to wait.
    Value,
    /// There is no certificate, there are more than [`MAX_CERTIFICATES`], or what there is is not one after another.
    Certificates,
    /// One cannot be an authority's.
    Authority(Uncertified),
    /// The key of one is of a kind that is not known here.
    Key,
}

snp::error_words! { SettingError {
    Self::Short => "it is too short",
    Self::Value => "a value that is none",
    Self::Certificates => "not one to {MAX_CERTIFICATES} certificates",
    Self::Authority(why) => "{why}",
    Self::Key => "a key of a kind that is unknown here",
} }

impl Authorities {
    /// u8 need (1 required, 2 preferred), u8 0, u16 seconds, certificates in DER one after another.
    pub fn parse(setting: &[u8]) -> Result<Authorities, SettingError> {
        let ([need, zero, low, high], rest) = setting.split_first_chunk::<4>().ok_or(SettingError::Short)?;
        let need = match need {
            1 => Need::Required,
            2 => Need::Preferred,
            _ => return Err(SettingError::Value),
        };
        let wait_s = u16::from_le_bytes([*low, *high]);
        if *zero != 0 || wait_s == 0 {
            return Err(SettingError::Value);
        }
        let certificates = one_after_another(rest).ok_or(SettingError::Certificates)?;
        if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
            return Err(SettingError::Certificates);
        }
        for certificate in &certificates {
            let authority = read(certificate).map_err(SettingError::Authority)?;
            may_certify(&authority, 1).map_err(SettingError::Authority)?;
            if !authority.has_usable_key() {
                return Err(SettingError::Key);
            }
        }
        Ok(Authorities { need, wait_s, certificates: certificates.into_iter().map(<[u8]>::to_vec).collect() })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.certificates.len()
    }
}

/// A certificate that is not too long.
fn read(certificate: &[u8]) -> Result<Certificate<'_>, Uncertified> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(Uncertified::TooLong);
    }
    Ok(Certificate::parse(certificate)?)
}

/// The way to the operator's program, which is the host's.
pub trait Channel {
    /// Sends a message.
    fn send(&mut self, message: &[u8]) -> Result<(), Unreachable>;

    /// The next whole message, if there is one now.
    fn receive(&mut self) -> Result<Option<Vec<u8>>, Unreachable>;
}

/// There is no way to the operator's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

snp::error_words! { Unreachable {
    Self => "there is no way to the operator's program",
} }

/// Why the issuer has no certificate of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotIssued {
    /// There is no report over the issuer, or no issuer.
    NoReport,
    /// There is no way.
    Unreachable,
    /// No answer came in time.
    Late,
    /// What came is no answer.
    Malformed(Malformed),
    /// The operator does not want to.
    Refused(Reason),
    /// The certificates do not certify the issuer.
    Uncertified(Uncertified),
}

snp::error_words! { NotIssued {
    Self::NoReport => "there is no report over the issuer",
    Self::Unreachable => "there is no way to the operator's program",
    Self::Late => "no answer came in time",
    Self::Malformed(why) => "the answer is none: {why}",
    Self::Refused(why) => "the operator refuses: {why}",
    Self::Uncertified(why) => "the answer certifies nothing: {why}",
} }

/// Sends a request and waits for the answer: the first message that comes. `now_ms` is the time.
pub fn ask(
    channel: &mut dyn Channel,
    request: &[u8],
    wait_s: u16,
    now_ms: &mut dyn FnMut() -> u64,
) -> Result<Vec<u8>, NotIssued> {
    let end = now_ms().saturating_add(u64::from(wait_s) * 1000);
    channel.send(request).map_err(|Unreachable| NotIssued::Unreachable)?;
    loop {
        if let Some(message) = channel.receive().map_err(|Unreachable| NotIssued::Unreachable)? {
            return Ok(message);
        }
        if now_ms() >= end {
            return Err(NotIssued::Late);
        }
    }
}

/// What an accepted answer gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Certified {
    /// Certificates from the issuer's to the authority's.
    pub chain: Vec<Vec<u8>>,
    /// The issuer's name, in DER.
    pub name: Vec<u8>,
    /// The issuer's key identifier, if its certificate has one.
    pub key_id: Option<Vec<u8>>,
}

/// Judges an answer: the certificates in it lead from the key `key_info` to an authority.
pub fn accept(message: &[u8], authorities: &Authorities, key_info: &[u8]) -> Result<Certified, NotIssued> {
    let certificates = match Answer::parse(message).map_err(NotIssued::Malformed)? {
        Answer::Refused(why) => return Err(NotIssued::Refused(why)),
        Answer::Certificates(certificates) => certificates,
    };
    judge(&certificates, authorities, key_info).map_err(NotIssued::Uncertified)
}

fn judge(certificates: &[&[u8]], authorities: &Authorities, key_info: &[u8]) -> Result<Certified, Uncertified> {
    if certificates.len() > MAX_CERTIFICATES {
        return Err(Uncertified::TooMany);
    }
    let answer = certificates.iter().map(|one| read(one)).collect::<Result<Vec<_>, _>>()?;
    let known = authorities.certificates.iter().map(|one| read(one)).collect::<Result<Vec<_>, _>>()?;
    let chain = certified(&answer, &known, key_info)?;
    let first = answer.first().ok_or(Uncertified::None)?;
    Ok(Certified {
        chain: chain.into_iter().map(<[u8]>::to_vec).collect(),
        name: first.subject.to_vec(),
        key_id: first.says.key_id.map(<[u8]>::to_vec),
    })
}

#[cfg(test)]
mod tests;
