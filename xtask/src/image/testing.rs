//! Small ELF files for the tests of the packer, small IGVM files for those of the launch digest.

/// A segment: virtual address, guest-physical address, stored bytes, size in memory.
pub(super) struct Segment<'a>(pub(super) u64, pub(super) u64, pub(super) &'a [u8], pub(super) u64);

/// A 64-bit x86-64 executable with these segments and symbols.
pub(super) fn elf(segments: &[Segment<'_>], symbols: &[(&str, u64)]) -> Vec<u8> {
    let headers_end = 64 + 56 * segments.len();
    let mut bodies = Vec::new();
    let mut program_headers = Vec::new();
    for Segment(virtual_address, gpa, data, size) in segments {
        program_headers.extend([1_u32, 7].into_iter().flat_map(u32::to_le_bytes));
        let offset = (headers_end + bodies.len()) as u64;
        let fields = [offset, *virtual_address, *gpa, data.len() as u64, *size, 0x1000];
        program_headers.extend(fields.into_iter().flat_map(u64::to_le_bytes));
        bodies.extend_from_slice(data);
    }
    let (symbol_table, names) = symbol_table(symbols);
    let symbols_at = (headers_end + bodies.len()).next_multiple_of(8);
    let names_at = symbols_at + symbol_table.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);

    let mut file = file_header(segments.len(), sections_at);
    file.extend(program_headers);
    file.extend(bodies);
    file.resize(symbols_at, 0);
    file.extend(&symbol_table);
    file.extend(&names);
    file.resize(sections_at, 0);
    file.extend([0; 64]);
    // SHT_SYMTAB linked to section 2, one local symbol, entries of 24 bytes; SHT_STRTAB.
    file.extend(section(2, symbols_at, symbol_table.len(), 2, 1, 24));
    file.extend(section(3, names_at, names.len(), 0, 0, 0));
    file
}

fn file_header(segments: usize, sections_at: usize) -> Vec<u8> {
    let mut header = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([2_u16, 62].into_iter().flat_map(u16::to_le_bytes));
    header.extend(1_u32.to_le_bytes());
    header.extend([0, 64, sections_at as u64].into_iter().flat_map(u64::to_le_bytes));
    header.extend(0_u32.to_le_bytes());
    let segments = u16::try_from(segments).unwrap();
    header.extend([64, 56, segments, 64, 3, 2].into_iter().flat_map(u16::to_le_bytes));
    header
}

fn symbol_table(symbols: &[(&str, u64)]) -> (Vec<u8>, Vec<u8>) {
    let mut table = vec![0; 24];
    let mut names = vec![0];
    for (name, address) in symbols {
        table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        // Global, no type, default visibility, absolute.
        table.extend([0x10, 0, 0xF1, 0xFF]);
        table.extend([*address, 0].into_iter().flat_map(u64::to_le_bytes));
        names.extend(name.bytes().chain([0]));
    }
    (table, names)
}

fn section(kind: u32, at: usize, size: usize, link: u32, info: u32, entry: u64) -> Vec<u8> {
    let mut section: Vec<u8> = [0, kind].into_iter().flat_map(u32::to_le_bytes).collect();
    section.extend([0, 0, at as u64, size as u64].into_iter().flat_map(u64::to_le_bytes));
    section.extend([link, info].into_iter().flat_map(u32::to_le_bytes));
    section.extend([8, entry].into_iter().flat_map(u64::to_le_bytes));
    section
}

/// A variable header of an IGVM file.
#[derive(Clone, Copy)]
pub(crate) enum Header<'a> {
    /// Page data: GPA, data type, flags, contents.
    Page { gpa: u64, kind: u16, flags: u32, data: Option<&'a [u8; 4096]> },
    /// Required memory.
    Required { gpa: u64, bytes: u32 },
    /// Parameter area 0.
    Area { bytes: u64 },
    /// Parameter area 0 goes there.
    Insert { gpa: u64 },
    /// [`Header::VMSA`] for vCPU 0, where KVM measures it.
    Vmsa,
    /// The same elsewhere.
    VmsaAt(u64),
}

impl Header<'_> {
    /// CR0 (0x158) is 0x31, SEV_FEATURES (0x3b0) is 1, RIP (0x178) 0x1000.
    pub(crate) const VMSA: [u8; 4096] = {
        let mut vmsa = [0; 4096];
        (vmsa[0x158], vmsa[0x179], vmsa[0x3B0]) = (0x31, 0x10, 1);
        vmsa
    };

    /// Type, body, and contents whose offset in the file goes to byte 12 of the body.
    fn parts(&self) -> (u32, Vec<u8>, Option<&[u8]>) {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let at = |gpa: &u64, rest: &[u32]| [gpa.to_le_bytes().to_vec(), words(rest)].concat();
        match self {
            Self::Page { gpa, kind, flags, data } => {
                let data = data.map(|data| data.as_slice());
                (0x302, at(gpa, &[1, 0, *flags, u32::from(*kind)]), data)
            }
            Self::Required { gpa, bytes } => (0x305, at(gpa, &[1, *bytes, 0, 0]), None),
            Self::Area { bytes } => (0x301, at(bytes, &[0, 0]), None),
            Self::Insert { gpa } => (0x303, at(gpa, &[1, 0]), None),
            Self::Vmsa => Self::VmsaAt(0xFFFF_FFFF_F000).parts(),
            Self::VmsaAt(gpa) => (0x304, at(gpa, &[1, 0, 0]), Some(&Self::VMSA)),
        }
    }
}

/// An IGVM file (format version 1) for SEV-SNP with policy 0x30000 and these directives, by hand.
pub(crate) fn igvm(directives: &[Header<'_>]) -> Vec<u8> {
    let mut headers = Vec::new();
    let mut data = Vec::new();
    let platform = [1_u32.to_le_bytes(), [2, 2, 1, 0], [0; 4], [0; 4]].concat();
    let policy = [0x3_0000_u32, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut all = vec![(1, platform, None), (0x101, policy, None)];
    all.extend(directives.iter().map(Header::parts));
    let size: usize = all.iter().map(|(_, body, _)| 8 + body.len().next_multiple_of(8)).sum();
    for (kind, mut body, contents) in all {
        if let Some(contents) = contents {
            let offset = u32::try_from(24 + size + data.len()).unwrap();
            body[12..16].copy_from_slice(&offset.to_le_bytes());
            data.extend_from_slice(contents);
        }
        headers.extend([kind, u32::try_from(body.len()).unwrap()].into_iter().flat_map(u32::to_le_bytes));
        body.resize(body.len().next_multiple_of(8), 0);
        headers.extend(body);
    }
    let total = 24 + headers.len() + data.len();
    let words = [1, 24, u32::try_from(headers.len()).unwrap(), u32::try_from(total).unwrap(), 0];
    let mut file = b"IGVM".to_vec();
    file.extend(words.into_iter().flat_map(u32::to_le_bytes));
    file.extend(headers);
    let sum = crc32(&file);
    file[20..24].copy_from_slice(&sum.to_le_bytes());
    file.extend(data);
    file
}

/// CRC-32 as of IEEE 802.3, over the fixed header with a checksum of zero and the variable headers.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
