//! The request of the firmware, and the answer (docs/boot.md, "The operator's authority"). All integers are
//! little-endian.

use anyhow::{Context, Result, ensure};

/// The version of both.
const VERSION: u32 = 1;
/// No request is longer: three lengths, and what fits into a message of the relay.
pub(crate) const MOST: usize = 65_532;
/// What answers are.
const CERTIFICATES: u32 = 0;
const REFUSED: u32 = 1;

/// What the firmware asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The issuer's own certificate, which carries the report over its key.
    pub(crate) certificate: &'a [u8],
    /// Certificates above the report's, as its host gives them.
    pub(crate) above: &'a [u8],
    /// A PKCS #10 request for the same key.
    pub(crate) pkcs10: &'a [u8],
}

impl<'a> Request<'a> {
    /// Version, three lengths, and what has them.
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self> {
        ensure!(message.len() <= MOST, "a request of {} octets", message.len());
        let mut rest = message;
        ensure!(word(&mut rest)? == VERSION, "a request of another version than {VERSION}");
        let lengths = [word(&mut rest)?, word(&mut rest)?, word(&mut rest)?];
        let [certificate, above, pkcs10] = lengths.map(|length| take(&mut rest, length as usize));
        let request = Self { certificate: certificate?, above: above?, pkcs10: pkcs10? };
        ensure!(rest.is_empty(), "{} octets are behind the request", rest.len());
        Ok(request)
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length).context("the request ends early")?;
    *rest = behind;
    Ok(taken)
}

fn word(rest: &mut &[u8]) -> Result<u32> {
    let octets: [u8; 4] = take(rest, 4)?.try_into()?;
    Ok(u32::from_le_bytes(octets))
}

/// An answer with certificates: the issuer's first, and those above it.
pub fn granted(certificates: &[Vec<u8>]) -> Vec<u8> {
    [&VERSION.to_le_bytes()[..], &CERTIFICATES.to_le_bytes(), &certificates.concat()].concat()
}

/// An answer without, and why.
pub fn refused(why: &str) -> Vec<u8> {
    [&VERSION.to_le_bytes()[..], &REFUSED.to_le_bytes(), why.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::{MOST, Request, granted, refused};

    fn request(lengths: [u32; 3], rest: &[u8]) -> Vec<u8> {
        let lengths = lengths.map(u32::to_le_bytes).concat();
        [&[1, 0, 0, 0][..], &lengths, rest].concat()
    }

    #[test]
    fn a_request_has_three_parts_and_nothing_else() {
        let good = request([1, 2, 3], b"abbccc");
        assert_eq!(Request::parse(&good).unwrap(), Request { certificate: b"a", above: b"bb", pkcs10: b"ccc" });
        for length in 0..good.len() {
            assert!(Request::parse(&good[..length]).is_err(), "{length}");
        }
        let why = |message: &[u8]| format!("{:#}", Request::parse(message).unwrap_err());
        assert_eq!(why(&[&good[..], b"d"].concat()), "1 octets are behind the request");
        assert_eq!(why(&[&[2], &good[1..]].concat()), "a request of another version than 1");
        assert_eq!(why(&request([u32::MAX, 0, 0], b"")), "the request ends early");
        assert_eq!(why(&vec![0; MOST + 1]), "a request of 65533 octets");
    }

    #[test]
    fn answers_are_as_documented() {
        assert_eq!(granted(&[vec![0x30, 0], vec![0x30, 1, 5]]), [1, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0x30, 1, 5]);
        assert_eq!(refused("no"), [1, 0, 0, 0, 1, 0, 0, 0, b'n', b'o']);
    }
}
