//! What certificates need of DER (ITU-T X.690): each value is its octets, and a structure is the octets of its parts
//! one after another.

use alloc::vec::Vec;

/// BOOLEAN
pub const BOOLEAN: u8 = 0x01;
/// INTEGER
pub const INTEGER: u8 = 0x02;
/// BIT STRING
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING
pub const OCTET_STRING: u8 = 0x04;
/// NULL
pub const NULL: u8 = 0x05;
/// OBJECT IDENTIFIER
pub const OID: u8 = 0x06;
/// UTF8String
pub const UTF8_STRING: u8 = 0x0c;
/// UTCTime
pub const UTC_TIME: u8 = 0x17;
/// GeneralizedTime
pub const GENERALIZED_TIME: u8 = 0x18;
/// SEQUENCE
pub const SEQUENCE: u8 = 0x30;
/// SET
pub const SET: u8 = 0x31;

/// The tag of `[number]`, for a structure.
#[must_use]
pub const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// The tag of `[number]` IMPLICIT, for a string.
#[must_use]
pub const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// A value: tag, length, and its parts.
#[must_use]
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let octets = length.to_be_bytes();
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    let mut out = Vec::with_capacity(2 + significant.len() + length);
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.push(u8::try_from(significant.len()).map_or(0, |count| 0x80 | count));
            out.extend(significant);
        }
    }
    parts.iter().for_each(|part| out.extend(*part));
    out
}

/// INTEGER of a number that is not negative, big-endian.
#[must_use]
pub fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    // What would be a sign, and what would be nothing, has a zero before it.
    let zero: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    value(INTEGER, &[zero, number])
}

/// BIT STRING of whole octets.
#[must_use]
pub fn bits(octets: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], octets])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_their_shortest_form() {
        let head = |length: usize| value(OCTET_STRING, &[&std::vec![0; length]])[..].to_vec();
        assert_eq!(head(0), [4, 0]);
        assert_eq!(head(0x7f)[..3], [4, 0x7f, 0]);
        assert_eq!(head(0x80)[..4], [4, 0x81, 0x80, 0]);
        assert_eq!(head(0xff)[..4], [4, 0x81, 0xff, 0]);
        assert_eq!(head(0x100)[..5], [4, 0x82, 1, 0, 0]);
        assert_eq!(head(0x1_0000)[..6], [4, 0x83, 1, 0, 0, 0]);
    }

    #[test]
    fn numbers_are_not_negative_and_have_their_shortest_form() {
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 1, 0]), [2, 2, 1, 0]);
    }
}
