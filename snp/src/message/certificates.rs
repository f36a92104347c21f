//! The certificate table that the host adds to a report (GHCB specification, table 8): hints for the verifier, never
//! evidence.

use crate::guid::Guid;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The chip's endorsement key certificate.
pub const VCEK: Guid = Guid::rfc4122(0x63da758d_e664_4564_adc5_f4b93be8accd);
/// The cloud provider's endorsement key certificate.
pub const VLEK: Guid = Guid::rfc4122(0xa8074bc2_a25a_483e_aae6_39c045a0b8a1);
/// AMD's signing key certificate.
pub const ASK: Guid = Guid::rfc4122(0x4ab7b379_bbac_4fe4_a02f_05aef327c782);
/// AMD's root key certificate.
pub const ARK: Guid = Guid::rfc4122(0xc0b406a4_a803_4952_9743_3fb6014cd0ae);

/// Entries that a table may have; the specification names four kinds.
const MAX_ENTRIES: usize = 32;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    guid: Guid,
    offset: U32,
    length: U32,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// A certificate table that is not well formed: no end within the buffer, or an entry that points outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTable;

crate::error_words! { BadTable {
    Self => "the certificate table is not well formed",
} }

/// A certificate table in a private copy of the certificate buffer, all of its entries within the buffer.
#[derive(Clone, Copy, Debug)]
pub struct CertificateTable<'b> {
    buffer: &'b [u8],
    entries: usize,
}

impl<'b> CertificateTable<'b> {
    /// Checks a whole table. A zero first entry is a table without certificates.
    ///
    /// # Errors
    /// [`BadTable`].
    pub fn parse(buffer: &'b [u8]) -> Result<Self, BadTable> {
        for index in 0..=MAX_ENTRIES {
            let entry = entry(buffer, index).ok_or(BadTable)?;
            if entry.guid == Guid::ZERO {
                return Ok(Self { buffer, entries: index });
            }
            contents(buffer, entry).ok_or(BadTable)?;
        }
        Err(BadTable)
    }

    /// Kind and contents (DER) of each certificate.
    pub fn iter(&self) -> impl Iterator<Item = (Guid, &'b [u8])> + use<'b> {
        let buffer = self.buffer;
        (0..self.entries).filter_map(move |index| {
            let entry = entry(buffer, index)?;
            Some((entry.guid, contents(buffer, entry)?))
        })
    }

    /// The first certificate of this kind.
    #[must_use]
    pub fn find(&self, kind: Guid) -> Option<&'b [u8]> {
        self.iter().find(|(guid, _)| *guid == kind).map(|(_, contents)| contents)
    }

    /// Bytes of the buffer that the table and its certificates take.
    #[must_use]
    pub fn used(&self) -> usize {
        if self.entries == 0 {
            return 0;
        }
        let table = (self.entries + 1) * size_of::<Entry>();
        let base = self.buffer.as_ptr().addr();
        self.iter().map(|(_, der)| der.as_ptr().addr() - base + der.len()).fold(table, usize::max)
    }
}

fn entry(buffer: &[u8], index: usize) -> Option<Entry> {
    let rest = buffer.get(index.checked_mul(size_of::<Entry>())?..)?;
    Entry::read_from_prefix(rest).ok().map(|(entry, _)| entry)
}

fn contents(buffer: &[u8], entry: Entry) -> Option<&[u8]> {
    let start = usize::try_from(entry.offset.get()).ok()?;
    let len = usize::try_from(entry.length.get()).ok()?;
    buffer.get(start..start.checked_add(len)?)
}
