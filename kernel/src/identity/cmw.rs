//! The conceptual message wrapper (RFC 9999), by which a certificate carries a report: a collection in CBOR, in the
//! extension id-pe-cmw.

use alloc::vec::Vec;

/// Major types of CBOR (RFC 8949, 3.1).
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Bits of a record's indicator (RFC 9999, cm-type).
pub(super) const ENDORSEMENTS: u64 = 1 << 1;
pub(super) const EVIDENCE: u64 = 1 << 2;

/// A record of a collection.
pub(super) struct Record<'a> {
    /// Its label; the records are in the order of their labels' encodings (RFC 8949, 4.2.1).
    pub(super) label: &'a str,
    /// The media type.
    pub(super) kind: &'a str,
    /// The message.
    pub(super) value: &'a [u8],
    /// What it is: [`ENDORSEMENTS`], [`EVIDENCE`].
    pub(super) indicator: u64,
}

/// A collection.
pub(super) fn collection(records: &[&Record<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, MAP, records.len());
    for Record { label, kind, value, indicator } in records {
        string(&mut out, TEXT, label.as_bytes());
        head(&mut out, ARRAY, 3);
        string(&mut out, TEXT, kind.as_bytes());
        string(&mut out, BYTES, value);
        head(&mut out, UNSIGNED, usize::try_from(*indicator).unwrap_or_default());
    }
    out
}

fn string(out: &mut Vec<u8>, major: u8, octets: &[u8]) {
    head(out, major, octets.len());
    out.extend(octets);
}

/// A head with its argument in the shortest form; all arguments here are below 2^16.
fn head(out: &mut Vec<u8>, major: u8, argument: usize) {
    let major = major << 5;
    match (u8::try_from(argument), u16::try_from(argument)) {
        (Ok(short), _) if short < 24 => out.push(major | short),
        (Ok(octet), _) => out.extend([major | 24, octet]),
        (Err(_), word) => {
            out.push(major | 25);
            out.extend(word.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_a_map_of_records() {
        let long = [7; 300];
        let records = [
            Record { label: "a", kind: "b/c", value: &[1; 24], indicator: EVIDENCE },
            Record { label: "d", kind: "", value: &long, indicator: ENDORSEMENTS },
        ];
        let wanted = [
            &[0xa2, 0x61, b'a', 0x83, 0x63, b'b', b'/', b'c', 0x58, 24][..],
            &[1; 24],
            &[4, 0x61, b'd', 0x83, 0x60, 0x59, 1, 44],
            &long,
            &[2],
        ];
        assert_eq!(collection(&records.each_ref()), wanted.concat());
    }
}
