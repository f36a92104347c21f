//! Whether certificates certify the issuer of this boot, up to an authority that is measured.

use alloc::vec::Vec;

use super::x509::{Certificate, Unreadable};

/// The most certificates that an answer has, the issuer's own with them.
pub const MAX_CERTIFICATES: usize = 4;

/// Why certificates do not certify the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertified {
    /// There is none.
    None,
    /// There are more than [`MAX_CERTIFICATES`].
    TooMany,
    /// One is longer than an NV Index.
    TooLong,
    /// One cannot be read.
    Unreadable(Unreadable),
    /// The first is of another key than the issuer's of this boot.
    Key,
    /// The first has no subject, so that certificates can name no issuer.
    Subject,
    /// One is of no authority (basicConstraints).
    NotAuthority,
    /// One is not for signing certificates (keyUsage).
    KeyUsage,
    /// One allows fewer certificates below it (pathLenConstraint).
    PathLength,
    /// One is not by the next one's subject, or the last by no authority of the operator's.
    Name,
    /// One is not signed by the key of who is named.
    Signature,
}

snp::error_words! { Uncertified {
    Self::None => "no certificate",
    Self::TooMany => "more than {MAX_CERTIFICATES} certificates",
    Self::TooLong => "a certificate that is longer than an NV Index",
    Self::Unreadable(why) => "a certificate cannot be read: {why}",
    Self::Key => "the first certificate is of another key",
    Self::Subject => "the first certificate has no subject",
    Self::NotAuthority => "a certificate is of no authority",
    Self::KeyUsage => "a key is not for signing certificates",
    Self::PathLength => "a certificate allows fewer below it",
    Self::Name => "a certificate names an issuer that is not the next",
    Self::Signature => "a certificate's signature is wrong",
} }

impl From<Unreadable> for Uncertified {
    fn from(why: Unreadable) -> Self {
        Uncertified::Unreadable(why)
    }
}

/// The empty Name
const NOBODY: &[u8] = &[0x30, 0];

/// Whether a certificate may be above `below` others that are authorities', too.
pub(super) fn may_certify(certificate: &Certificate<'_>, below: usize) -> Result<(), Uncertified> {
    if !certificate.says.is_authority {
        return Err(Uncertified::NotAuthority);
    }
    // RFC 5280, 4.2.1.3: a conforming authority has the extension; a root that was made without it is one all the same.
    if certificate.says.signs_certificates == Some(false) {
        return Err(Uncertified::KeyUsage);
    }
    match certificate.says.path_length {
        Some(length) if usize::try_from(length).is_ok_and(|length| length < below) => Err(Uncertified::PathLength),
        _ => Ok(()),
    }
}

/// The chain of `answer`, from the certificate of the key `key_info` to that of an authority.
pub(super) fn certified<'a>(
    answer: &[Certificate<'a>],
    authorities: &[Certificate<'a>],
    key_info: &[u8],
) -> Result<Vec<&'a [u8]>, Uncertified> {
    let first = answer.first().ok_or(Uncertified::None)?;
    if first.key_info != key_info {
        return Err(Uncertified::Key);
    }
    if first.subject == NOBODY {
        return Err(Uncertified::Subject);
    }
    let mut chain: Vec<&[u8]> = Vec::new();
    for (below, certificate) in answer.iter().enumerate() {
        may_certify(certificate, below)?;
        chain.push(certificate.whole);
        if let Some(next) = answer.get(below + 1) {
            signed(certificate, next)?;
        }
    }
    let last = answer.last().ok_or(Uncertified::None)?;
    if !authorities.iter().any(|authority| authority.whole == last.whole) {
        chain.push(above(last, authorities, answer.len())?);
    }
    Ok(chain)
}

fn signed(certificate: &Certificate<'_>, issuer: &Certificate<'_>) -> Result<(), Uncertified> {
    if certificate.issuer != issuer.subject {
        return Err(Uncertified::Name);
    }
    if certificate.is_signed_by(issuer.key_info) { Ok(()) } else { Err(Uncertified::Signature) }
}

/// The authority that has signed the last certificate. Two may have one name.
fn above<'a>(last: &Certificate<'_>, authorities: &[Certificate<'a>], below: usize) -> Result<&'a [u8], Uncertified> {
    let mut why = Uncertified::Name;
    for authority in authorities {
        match signed(last, authority).and_then(|()| may_certify(authority, below)) {
            Ok(()) => return Ok(authority.whole),
            Err(Uncertified::Name) => (),
            Err(other) => why = other,
        }
    }
    Err(why)
}
