//! What the packer wants of an ELF file: loadable bytes by guest-physical page, and symbols.

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSymbol};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Size of a page in bytes.
pub const PAGE: u64 = 4096;

/// The pages of an image by guest-physical address; `None` is a page that the file does not store, and that is zero.
pub type Pages = BTreeMap<u64, Option<Box<[u8; 4096]>>>;

/// One loadable segment.
#[derive(Debug, Clone, Copy)]
struct Segment {
    virtual_address: u64,
    gpa: u64,
    size: u64,
}

/// An ELF file as the packer sees it.
#[derive(Debug)]
pub struct Elf {
    name: String,
    segments: Vec<Segment>,
    symbols: HashMap<String, u64>,
    /// The pages that its loadable segments touch.
    pub pages: Pages,
    /// Name and size in bytes of every function and object.
    pub sizes: Vec<(String, u64)>,
}

impl Elf {
    /// Reads `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&path.display().to_string(), &bytes).with_context(|| format!("{} cannot be packed", path.display()))
    }

    /// Parses `bytes`; `name` is for messages.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).context("this is no 64-bit ELF file")?;
        ensure!(file.architecture() == object::Architecture::X86_64, "this ELF file is not for x86-64");
        let mut elf = Self {
            name: name.to_owned(),
            segments: Vec::new(),
            symbols: HashMap::new(),
            pages: Pages::new(),
            sizes: Vec::new(),
        };
        for header in file.elf_program_headers() {
            if header.p_type(Endianness::Little) == object::elf::PT_LOAD {
                let data = header
                    .data(Endianness::Little, bytes)
                    .map_err(|()| anyhow::anyhow!("a segment lies beyond the file's end"))?;
                elf.load(header, data)?;
            }
        }
        for symbol in file.symbols() {
            let Ok(symbol_name) = symbol.name() else {
                continue;
            };
            elf.symbols.insert(symbol_name.to_owned(), symbol.address());
            if symbol.size() > 0 && symbol.is_definition() {
                elf.sizes.push((symbol_name.to_owned(), symbol.size()));
            }
        }
        Ok(elf)
    }

    fn load(&mut self, header: &impl ProgramHeader<Endian = Endianness, Word = u64>, data: &[u8]) -> Result<()> {
        let endian = Endianness::Little;
        let segment = Segment {
            virtual_address: header.p_vaddr(endian),
            gpa: header.p_paddr(endian),
            size: header.p_memsz(endian),
        };
        let end = segment.gpa.checked_add(segment.size).filter(|end| end.checked_next_multiple_of(PAGE).is_some());
        let end = end.context("a segment wraps at the end of memory")?;
        for gpa in (segment.gpa / PAGE * PAGE..end).step_by(4096) {
            self.pages.entry(gpa).or_default();
        }
        for (gpa, byte) in (segment.gpa..).zip(data) {
            let page = self.pages.entry(gpa / PAGE * PAGE).or_default();
            page.get_or_insert_with(|| Box::new([0; 4096]))[usize::try_from(gpa % PAGE)?] = *byte;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// The virtual address that the symbol `name` has.
    pub fn address(&self, name: &str) -> Result<u64> {
        self.symbols.get(name).copied().with_context(|| {
            format!("{} has no symbol `{name}`: docs/boot.md lists those that an image's programs must define in their linker script", self.name)
        })
    }

    /// The guest-physical address of the symbol `name`.
    pub fn gpa(&self, name: &str) -> Result<u64> {
        let address = self.address(name)?;
        let holds =
            |segment: &&Segment| (segment.virtual_address..=segment.virtual_address + segment.size).contains(&address);
        let segment = self.segments.iter().find(holds);
        let segment =
            segment.with_context(|| format!("the symbol `{name}` of {} lies in no loadable segment", self.name))?;
        Ok(address - segment.virtual_address + segment.gpa)
    }

    /// The guest-physical address of the page that the symbol `name` marks.
    pub fn page(&self, name: &str) -> Result<u64> {
        let gpa = self.gpa(name)?;
        ensure!(gpa % PAGE == 0, "the symbol `{name}` of {} is not at the start of a page ({gpa:#x})", self.name);
        if !self.pages.contains_key(&gpa) {
            bail!("the page of `{name}` ({gpa:#x}) is in no loadable segment of {}", self.name);
        }
        Ok(gpa)
    }
}

#[cfg(test)]
mod tests {
    use super::Elf;
    use crate::testing::{Segment, elf};

    fn parse(segments: &[Segment<'_>], symbols: &[(&str, u64)]) -> anyhow::Result<Elf> {
        Elf::parse("test.elf", &elf(segments, symbols))
    }

    #[test]
    fn pages_are_keyed_by_physical_address_and_hold_what_is_stored() {
        let elf = parse(&[Segment(0x4000_0010, 0x8010, b"abc", 0x1000)], &[]).unwrap();
        assert_eq!(elf.pages.keys().copied().collect::<Vec<_>>(), [0x8000, 0x9000]);
        assert_eq!(&elf.pages[&0x8000].as_ref().unwrap()[0xF..0x14], b"\0abc\0");
        assert!(elf.pages[&0x9000].is_none(), "nothing is stored for the second page");
    }

    #[test]
    fn two_segments_may_share_a_page() {
        let segments = [Segment(0x1000, 0x1000, b"a", 1), Segment(0x1800, 0x1800, b"b", 1)];
        let elf = parse(&segments, &[]).unwrap();
        let page = elf.pages[&0x1000].as_ref().unwrap();
        assert_eq!((page[0], page[0x800]), (b'a', b'b'));
    }

    #[test]
    fn symbols_translate_to_physical_addresses() {
        let elf = parse(&[Segment(0x4000_0000, 0x8000, b"", 0x2000)], &[("x", 0x4000_1000)]).unwrap();
        assert_eq!((elf.address("x").unwrap(), elf.page("x").unwrap()), (0x4000_1000, 0x9000));
    }

    #[test]
    fn a_missing_symbol_is_named() {
        let elf = parse(&[Segment(0, 0, b"", 1)], &[]).unwrap();
        assert!(elf.gpa("__entry32").unwrap_err().to_string().contains("`__entry32`"));
    }

    #[test]
    fn a_page_symbol_inside_a_page_is_refused() {
        let elf = parse(&[Segment(0, 0, b"", 0x1000)], &[("x", 8)]).unwrap();
        assert!(elf.page("x").is_err());
    }

    #[test]
    fn a_page_symbol_just_behind_a_segment_is_refused() {
        let elf = parse(&[Segment(0, 0, b"", 0x1000)], &[("x", 0x1000)]).unwrap();
        assert!(elf.page("x").is_err());
    }

    #[test]
    fn a_segment_that_wraps_is_refused() {
        for size in [0x1000, 0x1001, u64::MAX] {
            assert!(parse(&[Segment(0, u64::MAX - 0xFFF, b"", size)], &[]).is_err(), "size {size:#x}");
        }
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        assert!(Elf::parse("test.elf", b"IGVM").is_err());
    }
}
