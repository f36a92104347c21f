//! The little of DER that X.509 certificates need: reading tagged elements, and writing them from the outside in.

use crate::bounded::count;
use crate::wire::Writer;

/// Tags.
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// \[n\], constructed.
pub(super) const fn context(n: u8) -> u8 {
    0xa0 | n
}

/// An element as it was read.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// the contents
    pub(super) value: &'a [u8],
    /// tag, length and contents
    pub(super) whole: &'a [u8],
}

/// The first element, and what follows it. Lengths of up to two octets below 2^15, as far as a command can hold them.
pub(super) fn read(octets: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = octets.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0x00..=0x7f => (usize::from(*first), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(len)?;
    let whole = octets.get(..octets.len().checked_sub(rest.len())?)?;
    Some((Element { tag: *tag, value, whole }, rest))
}

/// The elements; an Err at the first octets that are not an element.
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, ()>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((element, rest)) = read(self.0) else {
            self.0 = &[];
            return Some(Err(()));
        };
        self.0 = rest;
        Some(Ok(element))
    }
}

/// The contents of a BIT STRING of at most 32 bits, the first bit the most significant one.
pub(super) fn bits(value: &[u8]) -> Option<u32> {
    let (unused, octets) = value.split_first()?;
    if *unused > 7 || octets.is_empty() && *unused != 0 || octets.len() > 4 {
        return None;
    }
    let word = octets.iter().chain([0; 4].iter()).take(4).fold(0, |word, octet| word << 8 | u32::from(*octet));
    let bits = u32::try_from(octets.len()).ok()?.checked_mul(8)?.checked_sub(u32::from(*unused))?;
    Some(word & u32::MAX.checked_shl(32u32.checked_sub(bits)?).unwrap_or(0))
}

/// Writes an element whose contents `f` writes; `f` runs twice, first for the length.
pub(super) fn element(w: &mut Writer<'_>, tag: u8, f: &dyn Fn(&mut Writer<'_>)) {
    let mut counter = Writer::new(&mut []);
    f(&mut counter);
    header(w, tag, counter.len());
    f(w);
}

/// Writes tag and length.
pub(super) fn header(w: &mut Writer<'_>, tag: u8, len: usize) {
    let [.., high, low] = len.to_be_bytes();
    match len {
        0..0x80 => w.put(&[tag, low]),
        0x80..0x100 => w.put(&[tag, 0x81, low]),
        _ => w.put(&[tag, 0x82, high, low]),
    }
}

/// Writes a number that is not negative.
pub(super) fn integer(w: &mut Writer<'_>, number: &[u8]) {
    let zeros = count(number.iter().take_while(|octet| **octet == 0));
    let number = number.get(zeros..).filter(|n| !n.is_empty()).unwrap_or(&[0]);
    let positive = number.first().is_some_and(|octet| octet & 0x80 == 0);
    element(w, INTEGER, &|w| {
        if !positive {
            w.put(&[0]);
        }
        w.put(number);
    });
}

/// Writes a BIT STRING of whole octets.
pub(super) fn bit_string(w: &mut Writer<'_>, f: &dyn Fn(&mut Writer<'_>)) {
    element(w, BIT_STRING, &|w| {
        w.put(&[0]);
        f(w);
    });
}

/// Writes an object identifier from its contents.
pub(super) fn oid(w: &mut Writer<'_>, oid: &[u8]) {
    element(w, OBJECT_IDENTIFIER, &|w| w.put(oid));
}

/// Writes an AlgorithmIdentifier with NULL parameters.
pub(super) fn algorithm(w: &mut Writer<'_>, id: &[u8]) {
    element(w, SEQUENCE, &|w| {
        oid(w, id);
        w.put(&[NULL, 0]);
    });
}

/// Whether these octets begin with this object identifier.
pub(super) fn starts_with_oid(octets: &[u8], id: &[u8]) -> bool {
    read(octets).is_some_and(|(e, _)| e.tag == OBJECT_IDENTIFIER && e.value == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: impl Fn(&mut Writer<'_>)) -> heapless::Vec<u8, 512> {
        let mut out = [0; 512];
        let mut w = Writer::new(&mut out);
        f(&mut w);
        heapless::Vec::from_slice(w.written(0)).unwrap()
    }

    #[test]
    fn integers_are_short_and_positive() {
        assert_eq!(written(|w| integer(w, &[0, 0, 2])), [2, 1, 2]);
        assert_eq!(written(|w| integer(w, &[0x80])), [2, 2, 0, 0x80]);
        assert_eq!(written(|w| integer(w, &[0, 0])), [2, 1, 0]);
        assert_eq!(written(|w| integer(w, &[1, 0, 1])), [2, 3, 1, 0, 1]);
    }

    #[test]
    fn lengths_have_the_shortest_form_and_are_read_again() {
        for (len, head) in [(0x7f, 2), (0x80, 3), (0xff, 3), (0x100, 4)] {
            let bytes = written(|w| element(w, SEQUENCE, &|w| w.put(&[0; 512][..len])));
            assert_eq!(bytes.len(), head + len);
            let (element, rest) = read(&bytes).unwrap();
            assert_eq!((element.tag, element.value.len(), rest.len()), (SEQUENCE, len, 0));
            assert!(read(&bytes[..bytes.len() - 1]).is_none(), "cut off");
        }
    }

    #[test]
    fn bit_strings_are_left_justified() {
        assert_eq!(bits(&[5, 0xa0]), Some(0xa000_0000));
        assert_eq!(bits(&[5, 0xbf]), Some(0xa000_0000), "unused bits do not count");
        assert_eq!(bits(&[0, 1, 2, 3, 4]), Some(0x0102_0304));
        assert_eq!(bits(&[0]), Some(0));
        assert_eq!((bits(&[1]), bits(&[8, 1]), bits(&[0, 1, 2, 3, 4, 5]), bits(&[])), (None, None, None, None));
    }
}
