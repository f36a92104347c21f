//! Small ELF files for the tests of the packer.

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
