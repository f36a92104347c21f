//! `LaunchParams`: the measured page that says what is started as the guest, and how (docs/boot.md, "LaunchParams").
//! Behind it are [`Settings`], which say what else the firmware is to do.

mod settings;

pub use settings::{SETTINGS_PAGES, SETTINGS_SIZE, Setting, Settings, SettingsError};

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::mm::ownership::FIRST_MIXED_BLOCKS;
use crate::mm::page_table::MAX_RESERVED_BLOCKS;
use crate::mm::{LARGE_PAGE_SIZE, PAGE, PAGE_SIZE, Region};
use crate::svsm::vcpus::MAX_PROCESSORS;

/// First eight bytes of the page.
pub const MAGIC: [u8; 8] = *b"QUOINLP4";
/// The only version that this firmware reads.
pub const VERSION: u32 = 4;
/// Regions that a page has room for.
pub const MAX_REGIONS: usize = 24;
/// Digests that a page has room for.
pub const MAX_DIGESTS: usize = 30;
/// [`RegionEntry::pcr`] of what is not measured into a PCR.
pub const NO_PCR: u32 = u32::MAX;

/// How the guest's first vCPU is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// There is no guest: the firmware ends after its own boot.
    None,
    /// 32-bit protected mode, flat segments, paging off.
    Protected32,
    /// Real mode at the reset vector that `rip` names.
    RealReset,
    /// 64-bit mode on the page tables of a region of kind [`Kind::PageTables`].
    Long64,
}

/// Which memory the firmware validates, zeroes and gives to the guest before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// All RAM of the host's memory map.
    Everything,
    /// Only what the list of regions has; the guest asks for the rest.
    Listed,
}

/// What the firmware measures into PCRs, beside the launch digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Nothing: the guest starts the TPM.
    Nothing,
    /// Regions, before a firmware that measures what it starts itself.
    Firmware,
    /// Regions, and separators in PCR 0 to 7: an operating system comes next.
    OperatingSystem,
}

/// Whose vTPM the guest finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// This firmware's own.
    Quoin,
    /// What guests of an Azure confidential VM know (docs/boot.md, "Azure's vTPM").
    Azure,
}

/// What a region is, and who puts what into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The IGVM file has placed it: valid and measured.
    Measured,
    /// The firmware validates and zeroes it.
    Validated,
    /// The firmware leaves it alone: the guest validates it, or shares it with the host.
    LeftAlone,
    /// The firmware writes its CPUID page.
    Cpuid,
    /// The firmware writes a secrets page without its own key.
    Secrets,
    /// The first vCPU's calling area.
    CallingArea,
    /// The firmware writes page tables that map the first 4 GiB to themselves, private, with pages of 2 MiB.
    PageTables,
    /// The firmware writes the memory map as entries of E820; their count, one octet, goes to [`Area::aux`]. Lies in a
    /// measured region.
    E820,
}

/// A region as it lies in the page.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RegionEntry {
    /// First octet.
    pub gpa: U64,
    /// Octets; whole pages belong to the guest, so many octets are measured into a PCR.
    pub size: U64,
    /// 1 measured, 2 validated, 3 left alone, 4 CPUID, 5 secrets, 6 calling area, 7 page tables, 8 E820.
    pub kind: U16,
    /// What the guest's memory map says of it: a type of E820 (1 RAM, 2 reserved, 3 ACPI).
    pub memory_type: U16,
    /// The PCR that its contents are measured into, or [`NO_PCR`].
    pub pcr: U32,
    /// Type of its event in the log (TCG PC Client Platform Firmware Profile, 10.4.1).
    pub event_type: U32,
    /// 1: the event's data is the name and then the contents; 0: the name.
    pub event_flags: U32,
    /// For E820: where the count goes.
    pub aux: U64,
    /// Name of the event: ASCII, the rest zero.
    pub name: [u8; 40],
}

const _: () = assert!(size_of::<RegionEntry>() == 80);

/// The digest of a region's contents, as the packer has computed it: the launch digest covers both. The firmware
/// computes what is not given.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DigestEntry {
    /// Which of the regions, which is measured into a PCR.
    pub region: u8,
    /// Octets of the digest.
    pub size: u8,
    /// TPM_ALG_ID.
    pub alg: U16,
    /// The digest; zeros behind a shorter one.
    pub digest: [u8; 64],
}

impl DigestEntry {
    const NONE: DigestEntry = DigestEntry { region: 0, size: 0, alg: U16::ZERO, digest: [0; 64] };
}

/// The page, little-endian.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LaunchParams {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// 0 none, 1 32-bit protected mode, 2 real mode at the reset vector, 3 64-bit mode.
    pub entry_kind: U32,
    /// First instruction.
    pub rip: U64,
    /// First stack pointer.
    pub rsp: U64,
    /// RSI at the entry.
    pub rsi: U64,
    /// RDI at the entry.
    pub rdi: U64,
    /// 0 everything, 1 what is listed.
    pub validation: U32,
    /// 0: the TPM is left unstarted; 1: the firmware starts it, measures regions into PCRs and keeps the log; 2:
    /// separators, too.
    pub measure: U32,
    /// How many of `regions` count.
    pub region_count: U32,
    /// How many of `digests` count.
    pub digest_count: U32,
    /// Processors of the guest; 0 counts as 1.
    pub processors: U32,
    /// 2 MiB blocks that the file reserves behind the firmware's 8 MiB.
    pub reserve: U32,
    /// 2 MiB blocks that the ownership map can have in mixed use before the guest deposits memory; 0 is as many as the
    /// firmware has memory for.
    pub mixed_blocks: U32,
    /// 1: the guest is interrupted by emulated APICs, where the host offers it; 0: by the host.
    pub interrupts: U32,
    /// Processors that start before the guest, with memory of the file's; 0 is all.
    pub from_file: U32,
    /// 0: the vTPM is this firmware's own; 1: as Azure's.
    pub personality: U32,
    /// Zero.
    pub reserved: [u8; 0x80 - 0x58],
    /// What the guest consists of.
    pub regions: [RegionEntry; MAX_REGIONS],
    /// Digests of regions.
    pub digests: [DigestEntry; MAX_DIGESTS],
    /// Zero.
    pub rest: [u8; 8],
}

const _: () = assert!(offset_of!(LaunchParams, rip) == 0x10);
const _: () = assert!(offset_of!(LaunchParams, validation) == 0x30);
const _: () = assert!(offset_of!(LaunchParams, region_count) == 0x38);
const _: () = assert!(offset_of!(LaunchParams, processors) == 0x40);
const _: () = assert!(offset_of!(LaunchParams, interrupts) == 0x4C);
const _: () = assert!(offset_of!(LaunchParams, from_file) == 0x50);
const _: () = assert!(offset_of!(LaunchParams, personality) == 0x54);
const _: () = assert!(offset_of!(LaunchParams, regions) == 0x80);
const _: () = assert!(offset_of!(LaunchParams, digests) == 0x800);
const _: () = assert!(size_of::<LaunchParams>() == PAGE);

impl RegionEntry {
    const NONE: RegionEntry = RegionEntry {
        gpa: U64::ZERO,
        size: U64::ZERO,
        kind: U16::ZERO,
        memory_type: U16::ZERO,
        pcr: U32::ZERO,
        event_type: U32::ZERO,
        event_flags: U32::ZERO,
        aux: U64::ZERO,
        name: [0; 40],
    };
}

impl LaunchParams {
    /// A page that starts no guest: what stands in the ELF until `xtask image` writes the real one.
    pub const EMPTY: LaunchParams = LaunchParams {
        magic: MAGIC,
        version: U32::new(VERSION),
        entry_kind: U32::ZERO,
        rip: U64::ZERO,
        rsp: U64::ZERO,
        rsi: U64::ZERO,
        rdi: U64::ZERO,
        validation: U32::ZERO,
        measure: U32::ZERO,
        region_count: U32::ZERO,
        digest_count: U32::ZERO,
        processors: U32::ZERO,
        reserve: U32::ZERO,
        mixed_blocks: U32::ZERO,
        interrupts: U32::ZERO,
        from_file: U32::ZERO,
        personality: U32::ZERO,
        reserved: [0; 0x80 - 0x58],
        regions: [RegionEntry::NONE; MAX_REGIONS],
        digests: [DigestEntry::NONE; MAX_DIGESTS],
        rest: [0; 8],
    };

    /// The parameters as the boot sequence uses them. They are measured, so a mistake here is the packer's, not an
    /// attack; it ends the boot all the same.
    pub fn check(&self) -> Result<Launch, LaunchError> {
        if self.magic != MAGIC {
            return Err(LaunchError::Magic);
        }
        if self.version.get() != VERSION {
            return Err(LaunchError::Version);
        }
        let entry = match self.entry_kind.get() {
            0 => EntryKind::None,
            1 => EntryKind::Protected32,
            2 => EntryKind::RealReset,
            3 => EntryKind::Long64,
            _ => return Err(LaunchError::EntryKind),
        };
        let validation = match self.validation.get() {
            0 => Validation::Everything,
            1 => Validation::Listed,
            _ => return Err(LaunchError::Validation),
        };
        let measure = match self.measure.get() {
            0 => Measure::Nothing,
            1 => Measure::Firmware,
            2 => Measure::OperatingSystem,
            _ => return Err(LaunchError::Measure),
        };
        let entries = usize::try_from(self.region_count.get()).ok().and_then(|count| self.regions.get(..count));
        let mut areas = heapless::Vec::new();
        for entry in entries.ok_or(LaunchError::TooMany)? {
            areas.push(area(entry)?).map_err(|_| LaunchError::TooMany)?;
        }
        let digests = self.digests(&areas)?;
        let [rip, rsp, rsi, rdi] = [self.rip, self.rsp, self.rsi, self.rdi].map(U64::get);
        let processors = usize::try_from(self.processors.get()).map_or(usize::MAX, |count| count.max(1));
        if processors > MAX_PROCESSORS {
            return Err(LaunchError::Processors);
        }
        let from_file = match usize::try_from(self.from_file.get()) {
            Ok(0) => processors,
            Ok(count) if count <= processors => count,
            _ => return Err(LaunchError::Processors),
        };
        if self.reserve.get() > MAX_RESERVED_BLOCKS {
            return Err(LaunchError::Reserve);
        }
        let reserve = u64::from(self.reserve.get()) * LARGE_PAGE_SIZE;
        let mixed_blocks = match usize::try_from(self.mixed_blocks.get()) {
            Ok(0) | Err(_) => FIRST_MIXED_BLOCKS,
            Ok(blocks) => blocks,
        };
        let alternate_injection = match self.interrupts.get() {
            0 => false,
            1 => true,
            _ => return Err(LaunchError::Interrupts),
        };
        let personality = match self.personality.get() {
            0 => Personality::Quoin,
            1 => Personality::Azure,
            _ => return Err(LaunchError::Personality),
        };
        let launch = Launch {
            entry,
            rip,
            rsp,
            rsi,
            rdi,
            validation,
            measure,
            processors,
            from_file,
            reserve,
            mixed_blocks,
            alternate_injection,
            personality,
            areas,
            digests,
        };
        launch.check_pages()?;
        Ok(launch)
    }

    /// Each is of a region with an event, and no two are of one region by one algorithm.
    fn digests(&self, areas: &[Area]) -> Result<heapless::Vec<GivenDigest, MAX_DIGESTS>, LaunchError> {
        let entries = usize::try_from(self.digest_count.get()).ok().and_then(|count| self.digests.get(..count));
        let mut digests: heapless::Vec<GivenDigest, MAX_DIGESTS> = heapless::Vec::new();
        for entry in entries.ok_or(LaunchError::TooMany)? {
            let digest = entry.digest.get(..entry.size.into()).ok_or(LaunchError::Digest)?;
            let digest = heapless::Vec::from_slice(digest).map_err(|_| LaunchError::Digest)?;
            let given = GivenDigest { region: entry.region.into(), alg: entry.alg.get(), digest };
            let twice = digests.iter().any(|other| (other.region, other.alg) == (given.region, given.alg));
            if twice || areas.get(given.region).is_none_or(|area| area.event.is_none()) {
                return Err(LaunchError::Digest);
            }
            digests.push(given).map_err(|_| LaunchError::TooMany)?;
        }
        Ok(digests)
    }
}

fn area(entry: &RegionEntry) -> Result<Area, LaunchError> {
    let kind = match entry.kind.get() {
        1 => Kind::Measured,
        2 => Kind::Validated,
        3 => Kind::LeftAlone,
        4 => Kind::Cpuid,
        5 => Kind::Secrets,
        6 => Kind::CallingArea,
        7 => Kind::PageTables,
        8 => Kind::E820,
        _ => return Err(LaunchError::Kind),
    };
    let (gpa, size) = (entry.gpa.get(), entry.size.get());
    if !matches!(kind, Kind::Measured | Kind::E820) && !gpa.is_multiple_of(PAGE_SIZE) {
        return Err(LaunchError::Page);
    }
    let pcr = match entry.pcr.get() {
        NO_PCR => None,
        pcr if pcr < 24 && kind == Kind::Measured => Some(pcr),
        _ => return Err(LaunchError::Pcr),
    };
    Ok(Area {
        region: Region::covering(gpa, size).ok_or(LaunchError::Region)?,
        gpa,
        size,
        kind,
        memory_type: entry.memory_type.get(),
        event: pcr.map(|pcr| EventOf {
            pcr,
            event_type: entry.event_type.get(),
            with_contents: entry.event_flags.get() == 1,
            name: entry.name,
        }),
        aux: entry.aux.get(),
    })
}

/// A checked region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The whole pages that it lies in.
    pub region: Region,
    /// First octet.
    pub gpa: u64,
    /// Octets.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Its type in the guest's memory map.
    pub memory_type: u16,
    /// What is measured of it.
    pub event: Option<EventOf>,
    /// Where the count of E820 goes.
    pub aux: u64,
}

/// How a region is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventOf {
    /// The PCR.
    pub pcr: u32,
    /// Type of the event.
    pub event_type: u32,
    /// Whether the contents follow the name in the event's data.
    pub with_contents: bool,
    name: [u8; 40],
}

impl EventOf {
    /// The event's name, without the zeros behind it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// A digest that the packer gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenDigest {
    /// Index of its region among [`Launch::areas`].
    pub region: usize,
    /// TPM_ALG_ID.
    pub alg: u16,
    /// The digest.
    pub digest: heapless::Vec<u8, 64>,
}

/// Checked [`LaunchParams`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// How the guest is entered.
    pub entry: EntryKind,
    /// First instruction.
    pub rip: u64,
    /// First stack pointer.
    pub rsp: u64,
    /// RSI at the entry.
    pub rsi: u64,
    /// RDI at the entry.
    pub rdi: u64,
    /// Which memory is made ready for the guest.
    pub validation: Validation,
    /// What is measured into PCRs.
    pub measure: Measure,
    /// Processors of the guest, with the APIC ids 0 and up.
    pub processors: usize,
    /// As many of these start before the guest, the others when their vCPU is created, with memory that the guest
    /// deposits.
    pub from_file: usize,
    /// Bytes that the file reserves behind the firmware's 8 MiB.
    pub reserve: u64,
    /// 2 MiB blocks that may be in mixed use before the guest deposits memory.
    pub mixed_blocks: usize,
    /// The guest is to be interrupted by emulated APICs, where the host offers it.
    pub alternate_injection: bool,
    /// Whose vTPM the guest finds.
    pub personality: Personality,
    /// What the guest consists of.
    pub areas: heapless::Vec<Area, MAX_REGIONS>,
    /// What the packer says of their contents.
    pub digests: heapless::Vec<GivenDigest, MAX_DIGESTS>,
}

impl Launch {
    /// The regions of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Area> {
        self.areas.iter().filter(move |area| area.kind == kind)
    }

    /// First octet of the first region of a kind.
    #[must_use]
    pub fn page(&self, kind: Kind) -> Option<u64> {
        self.of_kind(kind).map(|area| area.gpa).next()
    }

    /// The regions that are measured into PCRs, and the digests that the packer gives of each.
    pub fn measured(&self) -> impl Iterator<Item = (&Area, EventOf, impl Iterator<Item = &GivenDigest>)> {
        self.areas.iter().enumerate().filter_map(|(index, area)| {
            Some((area, area.event?, self.digests.iter().filter(move |given| given.region == index)))
        })
    }

    /// How many regions are measured into PCRs.
    #[must_use]
    pub fn events(&self) -> usize {
        self.areas.iter().filter(|area| area.event.is_some()).count()
    }

    /// No page is in two regions; what the firmware writes into lies in a page that is the guest's.
    fn check_pages(&self) -> Result<(), LaunchError> {
        let mut own = self.areas.iter().filter(|area| area.kind != Kind::E820);
        while let Some(area) = own.next() {
            if own.clone().any(|other| other.region.overlaps(area.region)) {
                return Err(LaunchError::Overlap);
            }
        }
        let measured = |region: Region| self.of_kind(Kind::Measured).any(|area| area.region.covers(region));
        for map in self.of_kind(Kind::E820) {
            let count = Region::covering(map.aux, 1).ok_or(LaunchError::Region)?;
            if !measured(map.region) || !measured(count) {
                return Err(LaunchError::Region);
            }
        }
        if self.entry == EntryKind::Long64 && self.page(Kind::PageTables).is_none() {
            return Err(LaunchError::EntryKind);
        }
        Ok(())
    }
}

/// What is wrong with a [`LaunchParams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchError {
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Not [`VERSION`].
    Version,
    /// An entry kind that does not exist, or 64-bit mode without page tables.
    EntryKind,
    /// A validation policy that does not exist.
    Validation,
    /// A word about measuring that does not exist.
    Measure,
    /// Another word for how the guest is interrupted.
    Interrupts,
    /// A personality that does not exist.
    Personality,
    /// More processors than the firmware can run on, or more that start before the guest than there are.
    Processors,
    /// More memory than the firmware's page tables map.
    Reserve,
    /// More regions than there is room for.
    TooMany,
    /// A kind of region that does not exist.
    Kind,
    /// A page's address is not a multiple of 4096.
    Page,
    /// A region is empty, wraps, lies beyond what the firmware can address, or E820 lies in no measured one.
    Region,
    /// Two regions have a page in common.
    Overlap,
    /// A PCR that does not exist, or for a region that nobody has measured.
    Pcr,
    /// A digest that is too long, of a region without an event, or the second one by its algorithm.
    Digest,
}

snp::error_words! { LaunchError {
    Self::Magic => "they do not begin as launch parameters do",
    Self::Version => "their version is unknown",
    Self::EntryKind => "there is no such kind of entry",
    Self::Validation => "there is no such validation policy",
    Self::Measure => "there is no such way to measure",
    Self::Interrupts => "it says otherwise how the guest is interrupted",
    Self::Personality => "there is no such personality",
    Self::Processors => "there are too many processors",
    Self::Reserve => "there is too much memory reserved",
    Self::TooMany => "there are too many regions",
    Self::Kind => "there is no such kind of region",
    Self::Page => "a page's address is not a multiple of 4096",
    Self::Region => "a region cannot be one",
    Self::Overlap => "two regions have a page in common",
    Self::Pcr => "a PCR cannot be for that region",
    Self::Digest => "a digest is too long, there twice, or of a region without a PCR",
} }

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(gpa: u64, size: u64, kind: u16) -> RegionEntry {
        RegionEntry { gpa: gpa.into(), size: size.into(), kind: kind.into(), pcr: NO_PCR.into(), ..RegionEntry::NONE }
    }

    fn digest(region: u8, alg: u16) -> DigestEntry {
        DigestEntry { region, size: 32, alg: alg.into(), digest: [7; 64] }
    }

    fn with_digests(entries: &[DigestEntry]) -> Result<Launch, LaunchError> {
        let mut params = params(&[entry(0x10_0000, 100, 1), entry(0x20_0000, 100, 1)]);
        params.regions[1].pcr = 9.into();
        params.digest_count = u32::try_from(entries.len()).unwrap().into();
        params.digests[..entries.len()].copy_from_slice(entries);
        params.check()
    }

    #[test]
    fn digests_are_those_of_regions_that_are_measured_into_a_pcr() {
        let launch = with_digests(&[digest(1, 0xb), digest(1, 0x12)]).unwrap();
        let (area, event, digests) = launch.measured().next().unwrap();
        assert_eq!((area.gpa, event.pcr), (0x20_0000, 9));
        let digests: std::vec::Vec<_> = digests.map(|given| (given.alg, given.digest.as_slice())).collect();
        assert_eq!(digests, [(0xb, &[7; 32][..]), (0x12, &[7; 32])]);
        for region in [0, 2, 255] {
            assert_eq!(with_digests(&[digest(region, 0xb)]), Err(LaunchError::Digest));
        }
    }

    #[test]
    fn a_second_digest_by_one_algorithm_and_one_that_is_too_long_are_refused() {
        assert_eq!(with_digests(&[digest(1, 0xb), digest(1, 0xb)]), Err(LaunchError::Digest));
        assert_eq!(with_digests(&[DigestEntry { size: 65, ..digest(1, 0xb) }]), Err(LaunchError::Digest));
        let mut params = LaunchParams::EMPTY;
        params.digest_count = 31.into();
        assert_eq!(params.check(), Err(LaunchError::TooMany));
    }

    fn params(entries: &[RegionEntry]) -> LaunchParams {
        let mut params = LaunchParams::EMPTY;
        params.region_count = u32::try_from(entries.len()).unwrap().into();
        params.regions[..entries.len()].copy_from_slice(entries);
        params
    }

    #[test]
    fn the_empty_page_starts_no_guest() {
        let launch = LaunchParams::EMPTY.check().unwrap();
        assert_eq!(
            (launch.entry, launch.validation, launch.measure),
            (EntryKind::None, Validation::Everything, Measure::Nothing)
        );
        assert!(launch.areas.is_empty());
    }

    #[test]
    fn a_region_is_rounded_to_whole_pages_and_keeps_its_octets() {
        let launch = params(&[entry(0x10_0000, 0x1001, 1), entry(0x20_0000, 1, 4)]).check().unwrap();
        let image = launch.of_kind(Kind::Measured).next().unwrap();
        assert_eq!((image.region.start(), image.region.end(), image.size), (0x10_0000, 0x10_2000, 0x1001));
        assert_eq!(launch.page(Kind::Cpuid), Some(0x20_0000));
        assert_eq!(launch.page(Kind::Secrets), None);
    }

    #[test]
    fn an_event_has_the_name_up_to_the_first_zero() {
        let mut kernel = entry(0x10_0000, 100, 1);
        kernel.pcr = 9.into();
        kernel.event_type = 13.into();
        kernel.name[..6].copy_from_slice(b"kernel");
        let launch = params(&[kernel]).check().unwrap();
        let event = launch.areas[0].event.unwrap();
        assert_eq!((event.pcr, event.event_type, event.name(), event.with_contents), (9, 13, &b"kernel"[..], false));
    }

    #[test]
    fn the_memory_map_goes_into_a_measured_region() {
        let mut map = entry(0x10_02d0, 128 * 20, 8);
        map.aux = 0x10_01e8.into();
        assert!(params(&[entry(0x10_0000, 4096, 1), map]).check().is_ok());
        assert_eq!(params(&[entry(0x10_0000, 4096, 2), map]).check(), Err(LaunchError::Region));
        map.aux = 0x20_0000.into();
        assert_eq!(params(&[entry(0x10_0000, 4096, 1), map]).check(), Err(LaunchError::Region));
    }

    #[test]
    fn all_processors_start_before_the_guest_unless_it_says_how_many() {
        for (processors, from_file, expected) in
            [(0, 0, (1, 1)), (4, 0, (4, 4)), (4, 1, (4, 1)), (256, 256, (256, 256))]
        {
            let params =
                LaunchParams { processors: U32::new(processors), from_file: U32::new(from_file), ..params(&[]) };
            let launch = params.check().unwrap();
            assert_eq!((launch.processors, launch.from_file), expected);
        }
    }

    #[test]
    fn each_mistake_has_its_own_name() {
        let wrong = |change: fn(&mut LaunchParams)| {
            let mut params = params(&[entry(0x10_0000, 0x2000, 1), entry(0x20_0000, 0x1000, 6)]);
            change(&mut params);
            params.check().unwrap_err()
        };
        assert_eq!(wrong(|p| p.magic[7] = b'1'), LaunchError::Magic);
        assert_eq!(wrong(|p| p.version = 1.into()), LaunchError::Version);
        assert_eq!(wrong(|p| p.entry_kind = 4.into()), LaunchError::EntryKind);
        assert_eq!(wrong(|p| p.entry_kind = 3.into()), LaunchError::EntryKind);
        assert_eq!(wrong(|p| p.validation = 2.into()), LaunchError::Validation);
        assert_eq!(wrong(|p| p.measure = 3.into()), LaunchError::Measure);
        assert_eq!(wrong(|p| p.processors = 257.into()), LaunchError::Processors);
        assert_eq!(wrong(|p| p.from_file = 2.into()), LaunchError::Processors);
        assert_eq!(wrong(|p| (p.processors, p.from_file) = (4.into(), 5.into())), LaunchError::Processors);
        assert_eq!(wrong(|p| p.reserve = 11.into()), LaunchError::Reserve);
        assert_eq!(wrong(|p| p.interrupts = 2.into()), LaunchError::Interrupts);
        assert_eq!(wrong(|p| p.personality = 2.into()), LaunchError::Personality);
        assert_eq!(wrong(|p| p.region_count = 25.into()), LaunchError::TooMany);
        assert_eq!(wrong(|p| p.regions[0].kind = 9.into()), LaunchError::Kind);
        assert_eq!(wrong(|p| p.regions[1].gpa = 0x20_0008.into()), LaunchError::Page);
        assert_eq!(wrong(|p| p.regions[0].size = u64::MAX.into()), LaunchError::Region);
        assert_eq!(wrong(|p| p.regions[0].size = 0.into()), LaunchError::Region);
        assert_eq!(wrong(|p| p.regions[1].gpa = 0x10_1000.into()), LaunchError::Overlap);
        assert_eq!(wrong(|p| p.regions[0].pcr = 24.into()), LaunchError::Pcr);
        assert_eq!(wrong(|p| p.regions[1].pcr = 4.into()), LaunchError::Pcr);
    }
}
