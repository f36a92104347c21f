//! What the firmware starts at VMPL2, as the packer sees it: regions, an entry state, and the page that tells the
//! firmware so (`kernel::launch::LaunchParams`, docs/boot.md).

use super::elf::{Elf, PAGE, Pages};
use super::settings::Settings;
use anyhow::{Result, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::collections::BTreeMap;

/// How the first vCPU is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Entry {
    /// 32-bit protected mode, paging off.
    Protected32 = 1,
    /// Real mode at the reset vector.
    RealReset = 2,
    /// 64-bit mode on page tables that the firmware makes.
    Long64 = 3,
}

/// Which memory the firmware validates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Validation {
    /// All RAM.
    Everything = 0,
    /// The regions.
    Listed = 1,
}

/// What the firmware measures into PCRs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Measure {
    /// Nothing.
    Nothing = 0,
    /// Regions with an event.
    Firmware = 1,
    /// Those, and separators in PCR 0 to 7.
    OperatingSystem = 2,
}

/// How the host can interrupt the firmware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interrupts {
    /// By whatever it likes, which ends it.
    #[default]
    Any,
    /// By #HV alone: restricted injection at VMPL0.
    Restricted,
    /// The same, and the guest is interrupted by emulated APICs: alternate injection, where the host offers it.
    Alternate,
}

/// What a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "docs/boot.md says what each is")]
pub enum Kind {
    Measured = 1,
    Validated = 2,
    LeftAlone = 3,
    Cpuid = 4,
    Secrets = 5,
    CallingArea = 6,
    PageTables = 7,
    E820 = 8,
}

/// Types of E820.
pub mod memory_type {
    /// RAM.
    pub const RAM: u16 = 1;
    /// Not RAM.
    pub const RESERVED: u16 = 2;
    /// ACPI tables, RAM once they are read.
    pub const ACPI: u16 = 3;
}

/// A measurement of a region into a PCR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The PCR.
    pub pcr: u32,
    /// The type in the log.
    pub event_type: u32,
    /// The event's data, at most 39 ASCII characters.
    pub name: String,
    /// Whether the contents follow the name.
    pub with_contents: bool,
}

/// A region.
#[derive(Debug, Clone)]
pub struct Region {
    /// First octet.
    pub gpa: u64,
    /// Octets.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Its type in the memory map.
    pub memory_type: u16,
    /// What is measured of it.
    pub event: Option<Event>,
    /// E820: where the count goes.
    pub aux: u64,
    /// What the file places there; for measured regions only.
    pub contents: Vec<u8>,
}

impl Region {
    /// A region whose contents the file places and the launch digest covers.
    pub fn measured(gpa: u64, memory_type: u16, contents: Vec<u8>) -> Self {
        let size = contents.len() as u64;
        Self { gpa, size, kind: Kind::Measured, memory_type, event: None, aux: 0, contents }
    }

    /// The same, with an event.
    #[must_use]
    pub fn with_event(mut self, event: Event) -> Self {
        self.event = Some(event);
        self
    }

    /// A region that the firmware prepares.
    pub fn prepared(gpa: u64, size: u64, kind: Kind) -> Self {
        Self { gpa, size, kind, memory_type: memory_type::RESERVED, event: None, aux: 0, contents: Vec::new() }
    }
}

/// Whose vTPM a guest finds (`kernel::launch::Personality`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Personality {
    /// The firmware's own.
    #[default]
    Quoin = 0,
    /// As Azure's.
    Azure = 1,
}

/// A guest.
#[derive(Debug, Clone)]
pub struct Guest {
    /// How it is entered.
    pub entry: Entry,
    /// RIP, RSP, RSI, RDI at the entry.
    pub registers: [u64; 4],
    /// Which memory is made ready.
    pub validation: Validation,
    /// What is measured into PCRs.
    pub measure: Measure,
    /// Processors, with the APIC ids 0 and up.
    pub processors: u32,
    /// As many of them start before it, with memory that the file reserves; 0 is all. The others start when it creates
    /// their vCPU, with memory that it deposits.
    pub from_file: u32,
    /// 2 MiB blocks that may be in mixed use before it deposits memory; 0 is as many as the firmware has memory for.
    pub mixed_blocks: u32,
    /// How the host can interrupt the firmware.
    pub interrupts: Interrupts,
    /// Whose vTPM it finds.
    pub personality: Personality,
    /// What the operator wants of the firmware.
    pub settings: Settings,
    /// What it consists of.
    pub regions: Vec<Region>,
}

/// Bytes of the page before its list of regions, of a region, and the regions that fit.
const HEAD: usize = 0x80;
const ENTRY: usize = 80;
const MAX_REGIONS: usize = (DIGESTS - HEAD) / ENTRY;
/// Where the digests lie, and how many fit.
const DIGESTS: usize = 0x800;
const MAX_DIGESTS: usize = (4096 - DIGESTS) / 68;
/// Processors that the firmware has memory for in its 8 MiB.
const WITHIN: u32 = 16;
/// What is reserved for each but the first: `kernel::svsm::vcpus::BLOCK_SIZE`, and the allocator's part.
const BLOCK_SIZE: u64 = 80 * 1024;
/// The file reserves blocks of this size.
pub const RESERVE_BLOCK: u64 = 0x20_0000;

/// Blocks of 2 MiB that are reserved for so many processors.
pub fn reserved_blocks(processors: u32) -> u32 {
    let wanted = if processors <= WITHIN { 0 } else { u64::from(processors - 1) * BLOCK_SIZE };
    u32::try_from(wanted.div_ceil(RESERVE_BLOCK)).unwrap_or(u32::MAX)
}

impl Guest {
    /// The page of launch parameters; without a guest, one that starts none.
    pub fn launch_params(guest: Option<&Guest>) -> Result<Vec<u8>> {
        let mut page = b"QUOINLP4".to_vec();
        page.extend(4_u32.to_le_bytes());
        if let Some(guest) = guest {
            guest.fill(&mut page)?;
        }
        page.resize(4096, 0);
        Ok(page)
    }

    /// Blocks that the file reserves behind the firmware's 8 MiB.
    pub fn reserve(&self) -> u32 {
        reserved_blocks(if self.from_file == 0 { self.processors } else { self.from_file })
    }

    fn fill(&self, page: &mut Vec<u8>) -> Result<()> {
        ensure!(self.regions.len() <= MAX_REGIONS, "{} regions: at most {MAX_REGIONS} fit", self.regions.len());
        page.extend((self.entry as u32).to_le_bytes());
        page.extend(self.registers.into_iter().flat_map(u64::to_le_bytes));
        let count = u32::try_from(self.regions.len())?;
        let digests = self.digests();
        let digest_count = u32::try_from(digests.len())?;
        let alternate = u32::from(self.interrupts == Interrupts::Alternate);
        ensure!(self.from_file <= self.processors.max(1), "more processors start from the file than there are");
        let personality = self.personality as u32;
        let others = [self.processors, self.reserve(), self.mixed_blocks, alternate, self.from_file, personality];
        let numbers = [self.validation as u32, self.measure as u32, count, digest_count].into_iter().chain(others);
        page.extend(numbers.flat_map(u32::to_le_bytes));
        page.resize(HEAD, 0);
        for region in &self.regions {
            page.extend(entry(region)?);
        }
        page.resize(DIGESTS, 0);
        page.extend(digests.into_iter().flatten());
        Ok(())
    }

    /// What the firmware would take long to hash on an emulated processor: digests of the regions whose contents do not
    /// stand in the log, of as many as fit. It computes the others, and those of other banks.
    fn digests(&self) -> Vec<Vec<u8>> {
        let regions = (0..).zip(&self.regions);
        let hashed = regions.filter(|(_, region)| region.event.as_ref().is_some_and(|event| !event.with_contents));
        let digests = hashed.flat_map(|(index, region)| digests(index, &region.contents));
        digests.take(MAX_DIGESTS).collect()
    }

    /// The pages that the file places for it, by GPA.
    pub fn pages(&self) -> BTreeMap<u64, [u8; 4096]> {
        let mut pages = BTreeMap::new();
        for region in &self.regions {
            for (offset, byte_run) in runs(region.gpa, &region.contents) {
                let page = pages.entry(offset - offset % PAGE).or_insert([0; 4096]);
                let at = usize::try_from(offset % PAGE).unwrap_or(0);
                page[at..at + byte_run.len()].copy_from_slice(byte_run);
            }
        }
        pages
    }

    /// A payload of ours: an ELF file that names the pages that the firmware fills in by symbols, and is entered in
    /// 32-bit protected mode.
    pub fn from_elf(elf: &Elf) -> Result<Self> {
        let special =
            [("__cpuid_page", Kind::Cpuid), ("__secrets_page", Kind::Secrets), ("__calling_area", Kind::CallingArea)];
        let mut regions = Vec::new();
        let mut own = Vec::new();
        for (symbol, kind) in special {
            own.push(elf.page(symbol)?);
            regions.push(Region::prepared(elf.page(symbol)?, PAGE, kind));
        }
        regions.extend(pieces(&elf.pages, &own));
        let registers = [elf.gpa("__entry32")?, 0, elf.page("__secrets_page")?, elf.page("__cpuid_page")?];
        Ok(Self {
            entry: Entry::Protected32,
            registers,
            validation: Validation::Everything,
            measure: Measure::Nothing,
            processors: 1,
            from_file: 0,
            mixed_blocks: 0,
            interrupts: Interrupts::default(),
            personality: Personality::default(),
            settings: Settings::default(),
            regions,
        })
    }
}

/// The stored pages of an ELF file, without `special` ones, as regions of neighbours.
fn pieces(pages: &Pages, special: &[u64]) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let stored = pages.iter().filter_map(|(gpa, page)| Some((*gpa, page.as_deref()?)));
    for (gpa, page) in stored.filter(|(gpa, _)| !special.contains(gpa)) {
        match regions.last_mut() {
            Some(last) if last.gpa + last.size == gpa => {
                last.contents.extend(page);
                last.size += PAGE;
            }
            _ => regions.push(Region::measured(gpa, memory_type::RAM, page.to_vec())),
        }
    }
    regions
}

/// Runs of `contents` that each lie in one page, and their GPAs.
fn runs(gpa: u64, contents: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = usize::try_from(PAGE - gpa % PAGE).unwrap_or(0).min(contents.len());
    let (head, tail) = contents.split_at(first);
    let rest = tail.chunks(4096).enumerate();
    let start = gpa + first as u64;
    let head = Some((gpa, head)).filter(|(_, head)| !head.is_empty());
    head.into_iter().chain(rest.map(move |(index, run)| (start + index as u64 * PAGE, run)))
}

/// `TPM_ALG_ID` (Part 2, 6.3).
mod alg {
    pub(super) const SHA1: u16 = 0x0004;
    pub(super) const SHA256: u16 = 0x000B;
    pub(super) const SHA384: u16 = 0x000C;
    pub(super) const SHA512: u16 = 0x000D;
}

/// The digests of the banks that firmware allocates, as the page has them: region, size, TPM_ALG_ID, 64 octets.
fn digests(region: u8, contents: &[u8]) -> [Vec<u8>; 4] {
    let entry = |alg: u16, digest: &[u8]| {
        let size = u8::try_from(digest.len()).unwrap_or(u8::MAX);
        let mut entry = [&[region, size][..], &alg.to_le_bytes(), digest].concat();
        entry.resize(68, 0);
        entry
    };
    [
        entry(alg::SHA1, &Sha1::digest(contents)),
        entry(alg::SHA256, &Sha256::digest(contents)),
        entry(alg::SHA384, &Sha384::digest(contents)),
        entry(alg::SHA512, &Sha512::digest(contents)),
    ]
}

fn entry(region: &Region) -> Result<Vec<u8>> {
    let mut bytes = [region.gpa, region.size].into_iter().flat_map(u64::to_le_bytes).collect::<Vec<_>>();
    bytes.extend([region.kind as u16, region.memory_type].into_iter().flat_map(u16::to_le_bytes));
    let (pcr, event_type, flags) = region
        .event
        .as_ref()
        .map_or((u32::MAX, 0, 0), |event| (event.pcr, event.event_type, event.with_contents.into()));
    bytes.extend([pcr, event_type, flags].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend(region.aux.to_le_bytes());
    let name = region.event.as_ref().map_or("", |event| event.name.as_str());
    ensure!(
        name.len() < 40 && name.is_ascii(),
        "the event's name {name:?} has more than 39 characters, or others than ASCII"
    );
    bytes.extend(name.as_bytes());
    bytes.resize(ENTRY, 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        Elf, Entry, Event, Guest, Interrupts, Kind, Measure, Personality, Region, Settings, Validation, memory_type,
    };
    use crate::testing::{Segment, elf};

    fn guest(regions: Vec<Region>) -> Guest {
        Guest {
            entry: Entry::Long64,
            registers: [0x1000, 0x2000, 0x3000, 0x4000],
            validation: Validation::Listed,
            measure: Measure::OperatingSystem,
            processors: 1,
            from_file: 0,
            mixed_blocks: 0,
            interrupts: Interrupts::default(),
            personality: Personality::default(),
            settings: Settings::default(),
            regions,
        }
    }

    #[test]
    fn the_page_is_that_of_the_contract() {
        let event = Event { pcr: 9, event_type: 13, name: String::from("kernel"), with_contents: true };
        let kernel = Region::measured(0x10_0000, memory_type::RAM, vec![7; 5]).with_event(event);
        let page = Guest::launch_params(Some(&guest(vec![kernel]))).unwrap();
        assert_eq!(page.len(), 4096);
        assert_eq!(page[..16], *b"QUOINLP4\x04\0\0\0\x03\0\0\0");
        assert_eq!(page[0x10..0x18], 0x1000_u64.to_le_bytes());
        assert_eq!(page[0x30..0x3C], [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(page[0x80..0x90], [0x10_0000_u64.to_le_bytes(), 5_u64.to_le_bytes()].concat());
        assert_eq!(page[0x90..0xA0], [1, 0, 1, 0, 9, 0, 0, 0, 13, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(page[0xA8..0xAF], *b"kernel\0");
    }

    /// Processors, blocks reserved, and how many start from the file; without that number, the page of before.
    #[test]
    fn what_is_reserved_is_for_those_that_start_from_the_file() {
        for (processors, from_file, reserve) in
            [(4, 0, 0), (256, 0, 10), (256, 16, 0), (256, 17, 1), (256, 256, 10), (4, 1, 0)]
        {
            let page = Guest::launch_params(Some(&Guest { processors, from_file, ..guest(Vec::new()) })).unwrap();
            let word = |at: usize| u32::from_le_bytes(*page[at..].first_chunk().unwrap());
            assert_eq!([word(0x40), word(0x44), word(0x50)], [processors, reserve, from_file]);
            assert!(page[0x54..0x80].iter().all(|byte| *byte == 0));
        }
        assert!(Guest::launch_params(Some(&Guest { processors: 4, from_file: 5, ..guest(Vec::new()) })).is_err());
    }

    #[test]
    fn the_personality_is_a_word_of_the_page() {
        let page = Guest::launch_params(Some(&Guest { personality: Personality::Azure, ..guest(Vec::new()) })).unwrap();
        assert_eq!(page[0x54..0x58], [1, 0, 0, 0]);
    }

    #[test]
    fn the_page_has_the_digests_of_what_is_measured_and_not_in_the_log() {
        let event = |with_contents| Event { pcr: 9, event_type: 13, name: String::from("x"), with_contents };
        let regions = [(0, b"text", true), (0x1000, b"file", false)];
        let regions = regions.map(|(gpa, contents, with_contents)| {
            Region::measured(gpa, memory_type::RAM, contents.to_vec()).with_event(event(with_contents))
        });
        let page = Guest::launch_params(Some(&guest(regions.to_vec()))).unwrap();
        assert_eq!(page[0x3C..0x40], [4, 0, 0, 0]);
        assert_eq!(page[0x800..0x804], [1, 20, 4, 0]);
        let sha256 = &page[0x800 + 68..0x800 + 2 * 68];
        let digest = "3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80";
        assert_eq!((&sha256[..4], quoin_verify::digest::hex(&sha256[4..36])), (&[1, 32, 11, 0][..], digest.into()));
        assert_eq!(sha256[36..], [0; 32]);
    }

    #[test]
    fn more_digests_than_fit_are_left_to_the_firmware() {
        let event = Event { pcr: 9, event_type: 13, name: String::from("x"), with_contents: false };
        let region = |n: u8| Region::measured(u64::from(n) << 12, memory_type::RAM, vec![n]).with_event(event.clone());
        let page = Guest::launch_params(Some(&guest((0..9).map(region).collect()))).unwrap();
        assert_eq!((page.len(), page[0x3C]), (4096, 30));
    }

    #[test]
    fn a_payload_of_ours_names_its_pages_and_is_entered_with_two_of_them() {
        let symbols = [
            ("__entry32", 0x10_0004),
            ("__cpuid_page", 0x10_2000),
            ("__secrets_page", 0x10_3000),
            ("__calling_area", 0x10_4000),
        ];
        let segments = [Segment(0x10_0000, 0x10_0000, b"guest", 0x2000), Segment(0x10_2000, 0x10_2000, b"", 0x3000)];
        let guest = Guest::from_elf(&Elf::parse("guest", &elf(&segments, &symbols)).unwrap()).unwrap();
        assert_eq!((guest.entry, guest.registers), (Entry::Protected32, [0x10_0004, 0, 0x10_3000, 0x10_2000]));
        let regions: Vec<_> = guest.regions.iter().map(|region| (region.gpa, region.size, region.kind)).collect();
        let expected = [
            (0x10_2000, 0x1000, Kind::Cpuid),
            (0x10_3000, 0x1000, Kind::Secrets),
            (0x10_4000, 0x1000, Kind::CallingArea),
            (0x10_0000, 0x1000, Kind::Measured),
        ];
        assert_eq!(regions, expected);
    }

    #[test]
    fn contents_that_begin_within_a_page_are_placed_there() {
        let pages = guest(vec![Region::measured(0x1_0FFE, memory_type::RAM, vec![1; 4100])]).pages();
        assert_eq!(pages.keys().copied().collect::<Vec<_>>(), [0x1_0000, 0x1_1000, 0x1_2000]);
        assert_eq!((pages[&0x1_0000][0xFFD], pages[&0x1_0000][0xFFE]), (0, 1));
        assert_eq!((pages[&0x1_2000][1], pages[&0x1_2000][2]), (1, 0));
    }

    #[test]
    fn what_does_not_fit_the_page_is_refused() {
        let many = (0..25).map(|n| Region::prepared(n * 4096, 4096, Kind::Validated)).collect();
        assert!(Guest::launch_params(Some(&guest(many))).is_err());
        let long = Event { pcr: 9, event_type: 13, name: "n".repeat(40), with_contents: false };
        let region = Region::measured(0, memory_type::RAM, vec![0]).with_event(long);
        assert!(Guest::launch_params(Some(&guest(vec![region]))).is_err());
    }
}
