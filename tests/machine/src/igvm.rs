//! The IGVM file: fixed header, checksum, and its variable headers one after the other, every offset checked against
//! the file.

use crate::bits::{u16_at, u32_at, u64_at, us};

/// What is wrong with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bad(pub(crate) &'static str);

/// What a page of data is (IGVM_VHS_PAGE_DATA's data type).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageKind {
    Normal,
    Secrets,
    Cpuid,
}

/// A variable header that the launch needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Header<'a> {
    /// Platform (2 = SEV-SNP), with its bit in compatibility masks.
    Platform { mask: u32, kind: u8 },
    /// Guest policy of SEV-SNP.
    Policy { policy: u64, mask: u32 },
    /// A page; `data` is `None` for a zero page.
    Page { gpa: u64, mask: u32, data: Option<&'a [u8]>, unmeasured: bool, shared: bool, kind: PageKind },
    /// A parameter area, with what it has at first.
    Area { index: u32, bytes: u64, data: Option<&'a [u8]> },
    /// A parameter area becomes pages.
    Insert { gpa: u64, mask: u32, index: u32 },
    /// The host's memory map goes into a parameter area.
    MemoryMap { index: u32, offset: u32 },
    /// ACPI's table of interrupt controllers goes into a parameter area.
    Madt { index: u32, offset: u32 },
    /// The number of virtual processors goes into a parameter area.
    ProcessorCount { index: u32, offset: u32 },
    /// A VMSA.
    Vmsa { gpa: u64, mask: u32, data: &'a [u8], processor: u16 },
    /// Memory that must be there.
    Required { gpa: u64, mask: u32, bytes: u64 },
    /// Another one, not for this platform or only informative.
    Other,
}

/// A file whose frame is sound.
#[derive(Clone, Copy)]
pub(crate) struct Igvm<'a> {
    file: &'a [u8],
    headers: &'a [u8],
}

/// CRC-32 (IEEE 802.3) as IGVM's checksum uses it.
fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    !crc
}

impl<'a> Igvm<'a> {
    /// Checks magic, version, sizes and checksum.
    pub(crate) fn new(file: &'a [u8]) -> Result<Self, Bad> {
        const MAGIC: &[u8] = b"IGVM";
        let fixed = match u32_at(file, 4) {
            1 => 24,
            2 => 32,
            _ => return Err(Bad("format version is neither 1 nor 2")),
        };
        if !file.starts_with(MAGIC) || file.len() < fixed {
            return Err(Bad("no IGVM file"));
        }
        let (at, len, total) = (u32_at(file, 8), u32_at(file, 12), u32_at(file, 16));
        if us(total.into()) != file.len() {
            return Err(Bad("the file's size is not what the header says"));
        }
        let (start, end) = (us(at.into()), us(u64::from(at) + u64::from(len)));
        let headers = file
            .get(start..end)
            .filter(|_| start >= fixed)
            .ok_or(Bad("the variable headers are outside of the file"))?;
        let zero = [0; 4];
        let sum = crc32(&[&file[..20], &zero, &file[24..fixed], headers]);
        if sum != u32_at(file, 20) {
            return Err(Bad("the checksum is wrong"));
        }
        Ok(Self { file, headers })
    }

    /// The variable headers in file order.
    pub(crate) fn headers(self) -> impl Iterator<Item = Result<Header<'a>, Bad>> {
        let mut rest = self.headers;
        core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (kind, len) = (u32_at(rest, 0), us(u32_at(rest, 4).into()));
            let body = rest.get(8..8usize.saturating_add(len));
            let next = (8usize.saturating_add(len)).next_multiple_of(8).min(rest.len());
            rest = &rest[next..];
            Some(match body {
                Some(body) => self.header(kind, body),
                None => {
                    rest = &[];
                    Err(Bad("a variable header goes beyond the end"))
                }
            })
        })
    }

    fn data(self, offset: u32, len: usize) -> Result<&'a [u8], Bad> {
        let start = us(offset.into());
        self.file.get(start..start + len).ok_or(Bad("data goes beyond the end of the file"))
    }

    fn header(self, kind: u32, body: &'a [u8]) -> Result<Header<'a>, Bad> {
        let need = |len: usize| {
            if body.len() < len { Err(Bad("a variable header is too short")) } else { Ok(()) }
        };
        Ok(match kind {
            0x001 => {
                need(16)?;
                Header::Platform { mask: u32_at(body, 0), kind: body[5] }
            }
            0x101 => {
                need(12)?;
                Header::Policy { policy: u64_at(body, 0), mask: u32_at(body, 8) }
            }
            0x301 => {
                need(16)?;
                let (bytes, offset) = (u64_at(body, 0), u32_at(body, 12));
                let data = if offset == 0 { None } else { Some(self.data(offset, us(bytes.min(1 << 20)))?) };
                Header::Area { index: u32_at(body, 8), bytes, data }
            }
            0x302 => self.page(body)?,
            0x303 => {
                need(16)?;
                Header::Insert { gpa: u64_at(body, 0), mask: u32_at(body, 8), index: u32_at(body, 12) }
            }
            0x304 => {
                need(20)?;
                let data = self.data(u32_at(body, 12), 4096)?;
                Header::Vmsa { gpa: u64_at(body, 0), mask: u32_at(body, 8), data, processor: u16_at(body, 16) }
            }
            0x305 => {
                need(16)?;
                Header::Required { gpa: u64_at(body, 0), mask: u32_at(body, 8), bytes: u32_at(body, 12).into() }
            }
            0x307 => {
                need(8)?;
                Header::ProcessorCount { index: u32_at(body, 0), offset: u32_at(body, 4) }
            }
            0x30C => {
                need(8)?;
                Header::MemoryMap { index: u32_at(body, 0), offset: u32_at(body, 4) }
            }
            0x309 => {
                need(8)?;
                Header::Madt { index: u32_at(body, 0), offset: u32_at(body, 4) }
            }
            // The ID block, the environment: QEMU knows them, and nothing of them concerns this launch.
            0x30B | 0x313 => Header::Other,
            0x101..=0x200 | 0x301..=0x400 => return Err(Bad("a header that QEMU does not know")),
            _ => Header::Other,
        })
    }

    fn page(self, body: &'a [u8]) -> Result<Header<'a>, Bad> {
        const HUGE: u32 = 1;
        const UNMEASURED: u32 = 2;
        const SHARED: u32 = 4;
        if body.len() < 24 {
            return Err(Bad("a page header is too short"));
        }
        let (offset, flags) = (u32_at(body, 12), u32_at(body, 16));
        if flags & HUGE != 0 {
            return Err(Bad("pages of 2 MiB are not supported"));
        }
        let kind = match u16_at(body, 20) {
            0 => PageKind::Normal,
            1 => PageKind::Secrets,
            2 | 3 => PageKind::Cpuid,
            _ => return Err(Bad("unknown kind of page")),
        };
        Ok(Header::Page {
            gpa: u64_at(body, 0),
            mask: u32_at(body, 8),
            data: if offset == 0 { None } else { Some(self.data(offset, 4096)?) },
            unmeasured: flags & UNMEASURED != 0,
            shared: flags & SHARED != 0,
            kind,
        })
    }
}
