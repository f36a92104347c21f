//! Packs firmware and guest payload into an IGVM file, as docs/boot.md orders it.

use super::elf::{Elf, PAGE, Pages};
use super::guest::{Guest, Interrupts, RESERVE_BLOCK};
use super::settings::{self, Settings};
use anyhow::{Context, Result, ensure};
use igvm::snp_defs::{SevFeatures, SevSelector, SevVmsa};
use igvm::{IgvmDirectiveHeader, IgvmFile, IgvmInitializationHeader, IgvmPlatformHeader, IgvmRevision};
use igvm_defs::{
    IGVM_SEV_SNP_PLATFORM_VERSION, IGVM_VHS_PARAMETER, IGVM_VHS_PARAMETER_INSERT, IGVM_VHS_SUPPORTED_PLATFORM,
    IgvmPageDataFlags, IgvmPageDataType, IgvmPlatformType,
};
use std::collections::BTreeSet;
use zerocopy::FromZeros;

/// Guest-physical address and size of the firmware's memory.
const FIRMWARE: core::ops::Range<u64> = 0x80_0000_0000..0x80_0000_0000 + FIRMWARE_SIZE as u64;
const FIRMWARE_SIZE: u32 = 0x80_0000;
/// Where the 32-bit entry stub may lie.
const LOW: core::ops::Range<u64> = 0x1_0000..0x2_0000;
/// Where the file may place pages of a guest.
const GUEST_BASE: u64 = 0x10_0000;
const GUEST_END: u64 = 0x1_0000_0000;
/// Where KVM measures the VMSA of the boot processor.
pub(super) const VMSA_GPA: u64 = 0xFFFF_FFFF_F000;
/// SMT allowed, bit 17 must be one, no debugging, no migration agent.
const POLICY: u64 = 0x3_0000;
/// The one platform of our files.
pub(super) const SEV_SNP: u32 = 1;
/// The firmware's pages that others fill in.
const SPECIAL: [&str; 4] = ["__cpuid_page", "__secrets_page", "__memory_map", "__launch_params"];

/// CPUID leaves that firmware, Linux and OVMF ask for: (EAX, ECX); the launcher puts the values in.
const CPUID_LEAVES: &[(u32, u32)] = &[
    (0, 0),
    (1, 0),
    (2, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (7, 1),
    (0xB, 0),
    (0xB, 1),
    (0xD, 0),
    (0xD, 1),
    (0xD, 2),
    (0x8000_0000, 0),
    (0x8000_0001, 0),
    (0x8000_0002, 0),
    (0x8000_0003, 0),
    (0x8000_0004, 0),
    (0x8000_0005, 0),
    (0x8000_0006, 0),
    (0x8000_0007, 0),
    (0x8000_0008, 0),
    (0x8000_000A, 0),
    (0x8000_0019, 0),
    (0x8000_001A, 0),
    (0x8000_001D, 0),
    (0x8000_001D, 1),
    (0x8000_001D, 2),
    (0x8000_001D, 3),
    (0x8000_001E, 0),
    (0x8000_001F, 0),
    (0x8000_0020, 0),
    (0x8000_0021, 0),
];

/// Where processors wait beside the first one (kernel::mm::memory_map): the firmware's, below the flash memory.
const PARKING: u64 = 0xFFBF_F000;
/// CLI; HLT; back to HLT.
const PARKED: [u8; 4] = [0xFA, 0xF4, 0xEB, 0xFD];

/// Packs `firmware` and, if there is one, a guest into an IGVM file.
pub fn pack(firmware: &Elf, guest: Option<&Guest>) -> Result<Vec<u8>> {
    pack_for(firmware, guest, guest.map_or(1, |guest| guest.processors))
}

/// [`pack`], for a host that launches `launched` processors, not as many as the guest shall have.
pub fn pack_for(firmware: &Elf, guest: Option<&Guest>, launched: u32) -> Result<Vec<u8>> {
    let launch_params = Guest::launch_params(guest)?;
    let settings = guest.map(|guest| guest.settings.clone()).unwrap_or_default();
    let mut directives = vec![required_memory(guest.map_or(0, Guest::reserve))?];
    memory_map(firmware, &mut directives)?;
    firmware_pages(firmware, launch_params, &settings, &mut directives)?;
    if let Some(guest) = guest {
        guest_pages(guest, &mut directives)?;
    }
    launcher_pages(firmware, &mut directives)?;
    let others = launched.saturating_sub(1);
    if others > 0 {
        directives.push(page_data(PARKING, IgvmPageDataType::NORMAL, PARKED.to_vec()));
    }
    let interrupts = guest.map(|guest| guest.interrupts).unwrap_or_default();
    let mut state = |number, mut vmsa: Box<SevVmsa>| {
        vmsa.sev_features.set_restrict_injection(interrupts != Interrupts::Any);
        directives.push(vp_context(number, vmsa));
    };
    state(0, vmsa(entry32(firmware)?));
    for number in (1..).take(usize::try_from(others)?) {
        state(number, parked());
    }
    serialize(directives)
}

pub(super) fn vp_context(vp_index: u16, vmsa: Box<SevVmsa>) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::SnpVpContext { gpa: VMSA_GPA, compatibility_mask: SEV_SNP, vp_index, vmsa }
}

pub(super) fn serialize(directives: Vec<IgvmDirectiveHeader>) -> Result<Vec<u8>> {
    let platform = IgvmPlatformHeader::SupportedPlatform(IGVM_VHS_SUPPORTED_PLATFORM {
        compatibility_mask: SEV_SNP,
        highest_vtl: 2,
        platform_type: IgvmPlatformType::SEV_SNP,
        platform_version: IGVM_SEV_SNP_PLATFORM_VERSION,
        shared_gpa_boundary: 0,
    });
    let policy = IgvmInitializationHeader::GuestPolicy { policy: POLICY, compatibility_mask: SEV_SNP };
    let file = IgvmFile::new(IgvmRevision::V1, vec![platform], vec![policy], directives)
        .context("the igvm crate finds the image invalid")?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes).context("the igvm crate cannot write the image")?;
    Ok(bytes)
}

pub(super) fn page_data(gpa: u64, data_type: IgvmPageDataType, data: Vec<u8>) -> IgvmDirectiveHeader {
    IgvmDirectiveHeader::PageData { gpa, compatibility_mask: SEV_SNP, flags: IgvmPageDataFlags::new(), data_type, data }
}

/// All of the firmware's memory, first: a host makes it one private region. It is neither validated nor measured by
/// that; the stub validates what no page of the file covers of the first 8 MiB, and the firmware what is reserved
/// behind.
fn required_memory(reserve: u32) -> Result<IgvmDirectiveHeader> {
    let bytes = u64::from(FIRMWARE_SIZE) + u64::from(reserve) * RESERVE_BLOCK;
    Ok(IgvmDirectiveHeader::RequiredMemory {
        gpa: FIRMWARE.start,
        compatibility_mask: SEV_SNP,
        number_of_bytes: u32::try_from(bytes)?,
        vtl2_protectable: false,
    })
}

fn stored(pages: &Pages) -> impl Iterator<Item = (u64, &[u8; 4096])> {
    pages.iter().filter_map(|(gpa, page)| Some((*gpa, page.as_deref()?)))
}

fn firmware_pages(
    firmware: &Elf,
    launch_params: Vec<u8>,
    settings: &Settings,
    directives: &mut Vec<IgvmDirectiveHeader>,
) -> Result<()> {
    for gpa in firmware.pages.keys() {
        ensure!(
            FIRMWARE.contains(gpa) || LOW.contains(gpa),
            "the firmware's ELF loads a page at {gpa:#x}: it may only use {LOW:#x?} and {FIRMWARE:#x?}"
        );
    }
    let special = special(firmware)?;
    let unmeasured = firmware.page("__unmeasured")?;
    for (gpa, page) in &firmware.pages {
        let stored = page.is_some() || special.contains(gpa);
        ensure!(
            stored != (*gpa >= unmeasured),
            "the firmware's page at {gpa:#x} is on the wrong side of `__unmeasured` ({unmeasured:#x}), from which on the stub validates every page"
        );
    }
    let filled =
        stored(&firmware.pages).filter(|(gpa, _)| !special.contains(gpa)).map(|(gpa, page)| (gpa, page.to_vec()));
    let written = settings_pages(firmware)?.into_iter().zip(settings.pages()?);
    let written = written.chain([(firmware.page("__launch_params")?, launch_params)]);
    let mut pages: Vec<_> = filled.chain(written).collect();
    pages.sort_unstable_by_key(|(gpa, _)| *gpa);
    directives.extend(pages.into_iter().map(|(gpa, data)| page_data(gpa, IgvmPageDataType::NORMAL, data)));
    Ok(())
}

fn special(firmware: &Elf) -> Result<BTreeSet<u64>> {
    let pages = SPECIAL.into_iter().map(|name| firmware.page(name)).collect::<Result<BTreeSet<_>>>()?;
    ensure!(pages.len() == SPECIAL.len(), "two of the firmware's special pages are one page");
    let settings = settings_pages(firmware)?;
    ensure!(settings.iter().all(|page| !pages.contains(page)), "the firmware's settings are special pages");
    Ok(pages.into_iter().chain(settings).collect())
}

/// The firmware's pages of settings.
fn settings_pages(firmware: &Elf) -> Result<[u64; settings::PAGES]> {
    let first = firmware.page("__settings")?;
    let last = first + (settings::PAGES as u64 - 1) * PAGE;
    ensure!(
        (first..=last).step_by(4096).all(|gpa| firmware.pages.contains_key(&gpa)),
        "the firmware has no {} pages from `__settings` on",
        settings::PAGES
    );
    Ok(core::array::from_fn(|page| first + page as u64 * PAGE))
}

fn guest_pages(guest: &Guest, directives: &mut Vec<IgvmDirectiveHeader>) -> Result<()> {
    for (gpa, page) in guest.pages() {
        ensure!(
            (GUEST_BASE..GUEST_END).contains(&gpa) && gpa != PARKING,
            "the guest has a page at {gpa:#x}: it must lie between 1 MiB and 4 GiB, and not at {PARKING:#x}"
        );
        directives.push(page_data(gpa, IgvmPageDataType::NORMAL, page.to_vec()));
    }
    Ok(())
}

/// The host's memory map. Before all page data, because QEMU gathers neighbouring pages and inserts parameters at once:
/// behind a page, the map would be measured before it.
fn memory_map(firmware: &Elf, directives: &mut Vec<IgvmDirectiveHeader>) -> Result<()> {
    directives.push(IgvmDirectiveHeader::ParameterArea {
        number_of_bytes: PAGE,
        parameter_area_index: 0,
        initial_data: Vec::new(),
    });
    directives.push(IgvmDirectiveHeader::MemoryMap(IGVM_VHS_PARAMETER { parameter_area_index: 0, byte_offset: 0 }));
    directives.push(IgvmDirectiveHeader::ParameterInsert(IGVM_VHS_PARAMETER_INSERT {
        gpa: firmware.page("__memory_map")?,
        compatibility_mask: SEV_SNP,
        parameter_area_index: 0,
    }));
    Ok(())
}

/// The pages whose contents are the launcher's and the secure processor's.
fn launcher_pages(firmware: &Elf, directives: &mut Vec<IgvmDirectiveHeader>) -> Result<()> {
    directives.push(page_data(firmware.page("__cpuid_page")?, IgvmPageDataType::CPUID_DATA, cpuid_page()));
    directives.push(page_data(firmware.page("__secrets_page")?, IgvmPageDataType::SECRETS, Vec::new()));
    Ok(())
}

/// SNP ABI, CPUID page: a count, and 48 bytes per leaf.
pub(super) fn cpuid_page() -> Vec<u8> {
    let mut page = vec![0; 16];
    page[..4].copy_from_slice(&u32::try_from(CPUID_LEAVES.len()).unwrap_or(0).to_le_bytes());
    for (eax, ecx) in CPUID_LEAVES {
        // XCR0_IN counts for leaf 0xD alone: the x87 state is always on.
        let xcr0 = u64::from(*eax == 0xD);
        page.extend([eax.to_le_bytes(), ecx.to_le_bytes()].concat());
        page.extend(xcr0.to_le_bytes());
        page.extend([0; 32]);
    }
    page
}

/// The boot processor as KVM starts it: 32-bit protected mode, paging off, flat segments. Fields that KVM fixes itself
/// (EFER.SVME, CR4.MCE) have the value that it gives them, since they are measured.
pub(super) fn vmsa(entry: u64) -> Box<SevVmsa> {
    let segment = |selector, attrib, limit| SevSelector { selector, attrib, limit, base: 0 };
    let data = segment(0x10, 0xC93, 0xFFFF_FFFF);
    let mut vmsa = SevVmsa::new_zeroed();
    vmsa.cs = segment(8, 0xC9B, 0xFFFF_FFFF);
    (vmsa.ds, vmsa.es, vmsa.fs, vmsa.gs, vmsa.ss) = (data, data, data, data, data);
    (vmsa.gdtr, vmsa.idtr) = (segment(0, 0, 0xFFFF), segment(0, 0, 0xFFFF));
    (vmsa.ldtr, vmsa.tr) = (segment(0, 0x82, 0xFFFF), segment(0, 0x8B, 0xFFFF));
    (vmsa.efer, vmsa.cr4, vmsa.cr0) = (0x1000, 0x40, 0x31);
    (vmsa.dr6, vmsa.dr7, vmsa.rflags, vmsa.rip) = (0xFFFF_0FF0, 0x400, 2, entry);
    (vmsa.pat, vmsa.xcr0, vmsa.mxcsr, vmsa.x87_fcw) = (0x0007_0406_0007_0406, 1, 0x1F80, 0x37F);
    vmsa.sev_features = SevFeatures::new().with_snp(true);
    Box::new(vmsa)
}

/// A processor beside the first one, which KVM launches at VMPL0, too: it never does anything, whenever a host runs it.
/// With tables of length 0, no exception that a host makes up leads anywhere.
pub(super) fn parked() -> Box<SevVmsa> {
    let mut vmsa = vmsa(PARKING);
    for table in [&mut vmsa.gdtr, &mut vmsa.idtr] {
        table.limit = 0;
    }
    vmsa
}

fn entry32(firmware: &Elf) -> Result<u64> {
    let entry = firmware.gpa("__entry32")?;
    ensure!(LOW.contains(&entry), "the firmware's `__entry32` is at {entry:#x}: it must lie in {LOW:#x?}");
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::{FIRMWARE, pack};
    use crate::elf::Elf;
    use crate::guest::{Guest, Interrupts};
    use crate::settings::{Setting, Settings};
    use crate::testing::{Segment, elf};
    use igvm::{IgvmDirectiveHeader as Directive, IgvmFile};
    use igvm_defs::IgvmPageDataType as Type;
    use quoin_verify::digest;

    const SYMBOLS: [(&str, u64); 7] = [
        ("__entry32", 0x1_0010),
        ("__cpuid_page", 0x1_1000),
        ("__launch_params", 0x4000_1000),
        ("__settings", 0x4000_2000),
        ("__secrets_page", 0x4000_A000),
        ("__memory_map", 0x4000_B000),
        ("__unmeasured", 0x4000_C000),
    ];

    fn firmware(symbols: &[(&str, u64)]) -> Elf {
        let text = [0x90; 0xA000];
        let segments =
            [Segment(0x1_0000, 0x1_0000, b"stub", 0x2000), Segment(0x4000_0000, FIRMWARE.start, &text, 0xD000)];
        Elf::parse("firmware", &elf(&segments, symbols)).unwrap()
    }

    fn guest() -> Guest {
        let symbols = [
            ("__entry32", 0x10_0004),
            ("__cpuid_page", 0x10_2000),
            ("__secrets_page", 0x10_3000),
            ("__calling_area", 0x10_4000),
        ];
        let segments = [Segment(0x10_0000, 0x10_0000, b"guest", 5), Segment(0x10_2000, 0x10_2000, b"", 0x3000)];
        Guest::from_elf(&Elf::parse("guest", &elf(&segments, &symbols)).unwrap()).unwrap()
    }

    fn directives(image: &[u8]) -> Vec<Directive> {
        IgvmFile::new_from_binary(image, None).unwrap().directives().to_vec()
    }

    /// The GPA of everything that is launched, in order.
    fn places(directives: &[Directive]) -> Vec<u64> {
        let place = |directive: &Directive| match directive {
            Directive::PageData { gpa, .. } | Directive::SnpVpContext { gpa, .. } => Some(*gpa),
            Directive::ParameterInsert(insert) => Some(insert.gpa),
            _ => None,
        };
        directives.iter().filter_map(place).collect()
    }

    /// What QEMU and COCONUT's loaders take: one private region for the firmware, before anything is launched in it.
    #[test]
    fn the_firmwares_memory_is_required_first_and_in_one_piece() {
        for (processors, bytes) in
            [(1, 0x80_0000), (16, 0x80_0000), (17, 0xA0_0000), (64, 0xE0_0000), (256, 0x1C0_0000)]
        {
            let guest = Guest { processors, ..guest() };
            let directives = directives(&pack(&firmware(&SYMBOLS), Some(&guest)).unwrap());
            let required: Vec<_> = directives
                .iter()
                .enumerate()
                .filter_map(|(at, directive)| match directive {
                    Directive::RequiredMemory { gpa, number_of_bytes, .. } => Some((at, *gpa, *number_of_bytes)),
                    _ => None,
                })
                .collect();
            assert_eq!(required, [(0, 0x80_0000_0000, bytes)], "{processors} processors");
            let params = Guest::launch_params(Some(&guest)).unwrap();
            assert_eq!(params[0x44..0x48], (bytes / 0x20_0000 - 4).to_le_bytes());
        }
    }

    /// What has no contents is not in the file: the stub validates the firmware's, the firmware the guest's. QEMU
    /// gathers neighbouring pages of data and inserts parameters at once, so only an insert before all pages is
    /// measured where the file has it.
    #[test]
    fn pages_with_contents_are_launched_once_and_in_the_contracts_order() {
        let places = places(&directives(&pack(&firmware(&SYMBOLS), Some(&guest())).unwrap()));
        let firmware = (0..10).map(|page| 0x80_0000_0000 + page * 0x1000);
        let order: Vec<u64> = [0x80_0000_B000, 0x1_0000]
            .into_iter()
            .chain(firmware)
            .chain([0x10_0000, 0x1_1000, 0x80_0000_A000, 0xFFFF_FFFF_F000])
            .collect();
        assert_eq!(places, order, "{places:#x?}");
    }

    #[test]
    fn a_firmware_whose_stub_would_miss_a_page_is_refused() {
        for wrong in [0x4000_B000, 0x4000_1000] {
            let symbols = SYMBOLS.map(|(name, at)| (name, if name == "__unmeasured" { wrong } else { at }));
            let error = pack(&firmware(&symbols), None).unwrap_err().to_string();
            assert!(error.contains("wrong side of `__unmeasured`"), "{error}");
        }
        let bss =
            [Segment(0x1_0000, 0x1_0000, b"stub", 0x3000), Segment(0x4000_0000, FIRMWARE.start, &[1; 0xA000], 0xD000)];
        let firmware = Elf::parse("firmware", &elf(&bss, &SYMBOLS)).unwrap();
        assert!(pack(&firmware, None).unwrap_err().to_string().contains("0x12000"));
    }

    #[test]
    fn special_pages_have_their_types() {
        let directives = directives(&pack(&firmware(&SYMBOLS), None).unwrap());
        let of = |wanted: u64| {
            directives.iter().find_map(|directive| match directive {
                Directive::PageData { gpa, data_type, data, .. } if *gpa == wanted => Some((*data_type, data.clone())),
                _ => None,
            })
        };
        let (cpuid, leaves) = of(0x1_1000).unwrap();
        assert_eq!(cpuid, Type::CPUID_DATA);
        assert!((1..=64).contains(&leaves[0]), "the SNP ABI allows 64 leaves");
        assert_eq!(of(0x80_0000_A000).unwrap().0, Type::SECRETS);
        let (kind, params) = of(0x80_0000_1000).unwrap();
        assert_eq!((kind, &params[..16]), (Type::NORMAL, b"QUOINLP4\x04\0\0\0\0\0\0\0".as_slice()));
    }

    /// A page without contents is launched as a page of zeros, and measured.
    #[test]
    fn without_settings_there_are_eight_pages_without_contents() {
        let settings = settings(&pack(&firmware(&SYMBOLS), Some(&guest())).unwrap());
        let places: Vec<u64> = settings.iter().map(|(gpa, _)| *gpa).collect();
        assert_eq!(places, (2..10).map(|page| 0x80_0000_0000 + page * 0x1000).collect::<Vec<u64>>());
        assert!(settings.iter().all(|(_, data)| data.is_empty()));
        assert_eq!(settings, self::settings(&pack(&firmware(&SYMBOLS), None).unwrap()));
    }

    #[test]
    fn settings_lie_in_their_pages() {
        let settings = settings(&pack(&firmware(&SYMBOLS), Some(&with_settings())).unwrap());
        assert_eq!(settings[0].1[..16], *b"\x01\0\0\0\x88\x13\0\0policy..");
        assert_eq!(settings[1].1[5000 + 8 - 4096..][..12], *b"\x03\0\0\0\x05\0\0\0stat");
        assert!(settings[1].1.len() == 4096 && settings[2..].iter().all(|(_, data)| data.is_empty()));
    }

    /// What `quoin-verify --igvm` expects of a launch is the digest of the file that it is given.
    #[test]
    fn every_bit_of_settings_and_their_absence_change_the_digest() {
        let image = pack(&firmware(&SYMBOLS), Some(&with_settings())).unwrap();
        let digest = digest::measure(&image).unwrap().digest;
        assert_ne!(digest::measure(&pack(&firmware(&SYMBOLS), Some(&guest())).unwrap()).unwrap().digest, digest);
        let at = image.windows(8).position(|bytes| bytes == b"policy..").unwrap() - 8;
        for bit in (0..128).chain([5000 * 8, 5100 * 8, 8191 * 8 + 7]) {
            let mut changed = image.clone();
            changed[at + bit / 8] ^= 1 << (bit % 8);
            assert_ne!(digest::measure(&changed).unwrap().digest, digest, "bit {bit}");
        }
    }

    #[test]
    fn a_firmware_without_room_for_settings_is_refused() {
        for (wrong, why) in [(0x4000_3000, "special pages"), (0x4000_9000, "no 8 pages")] {
            let symbols = SYMBOLS.map(|(name, at)| (name, if name == "__settings" { wrong } else { at }));
            let error = pack(&firmware(&symbols), None).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    fn with_settings() -> Guest {
        let policy = [&b"policy.."[..], &[7; 4992]].concat();
        let settings = Settings::default().with(Setting::Policy, &policy).with(Setting::State, b"state");
        Guest { settings, ..guest() }
    }

    /// The pages of settings, and what the file has of each.
    fn settings(image: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let of = |directive| match directive {
            Directive::PageData { gpa, data_type: Type::NORMAL, data, .. } => Some((gpa, data)),
            _ => None,
        };
        let pages = directives(image).into_iter().filter_map(of);
        pages.filter(|(gpa, _)| (0x80_0000_2000..0x80_0000_A000).contains(gpa)).collect()
    }

    #[test]
    fn the_vmsa_is_what_kvm_starts() {
        let directives = directives(&pack(&firmware(&SYMBOLS), None).unwrap());
        let Some(Directive::SnpVpContext { vmsa, .. }) = directives.last() else { panic!("no VMSA at the end") };
        assert_eq!((vmsa.cr0, vmsa.rip, vmsa.vmpl, u64::from(vmsa.sev_features)), (0x31, 0x1_0010, 0, 1));
    }

    /// The launch measures it, of every processor.
    #[test]
    fn restricted_injection_is_in_each_register_state_and_another_digest() {
        let image = |interrupts| {
            let guest = Guest { interrupts, processors: 3, ..guest() };
            pack(&firmware(&SYMBOLS), Some(&guest)).unwrap()
        };
        let features = |image: &[u8]| -> Vec<u64> {
            let of = |directive| match directive {
                Directive::SnpVpContext { vmsa, .. } => Some(u64::from(vmsa.sev_features)),
                _ => None,
            };
            directives(image).into_iter().filter_map(of).collect()
        };
        let images = [Interrupts::Any, Interrupts::Restricted, Interrupts::Alternate].map(image);
        assert_eq!(images.each_ref().map(|image| features(image)), [vec![1; 3], vec![9; 3], vec![9; 3]]);
        let digests = images.map(|image| digest::measure(&image).unwrap().digest);
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    }

    /// A hole of 2 GiB costs the file nothing.
    #[test]
    fn a_guest_in_pieces_is_placed_as_such() {
        let segments: Vec<_> =
            (0..3).map(|n| 0x10_0000 + n * 0x4000_0000).map(|gpa| Segment(gpa, gpa, b"piece", 0x5000)).collect();
        let symbols = [
            ("__entry32", 0x10_1000),
            ("__cpuid_page", 0x10_2000),
            ("__secrets_page", 0x10_3000),
            ("__calling_area", 0x10_4000),
        ];
        let guest = Guest::from_elf(&Elf::parse("guest", &elf(&segments, &symbols)).unwrap()).unwrap();
        assert_eq!(guest.pages().keys().copied().collect::<Vec<_>>(), [0x10_0000, 0x4010_0000, 0x8010_0000]);
        assert!(pack(&firmware(&SYMBOLS), Some(&guest)).unwrap().len() < 0x1_0000);
    }

    #[test]
    fn a_firmware_without_one_of_the_symbols_is_refused() {
        for missing in SYMBOLS {
            let rest: Vec<_> = SYMBOLS.into_iter().filter(|symbol| *symbol != missing).collect();
            let error = format!("{:#}", pack(&firmware(&rest), None).unwrap_err());
            assert!(error.contains(missing.0), "{error}");
        }
    }

    #[test]
    fn a_page_outside_of_the_firmwares_memory_is_refused() {
        let segments =
            [Segment(0x1_0000, 0x1_0000, b"", 0x3000), Segment(0x4000_0000, FIRMWARE.end - 0xC000, b"", 0xD000)];
        let firmware = Elf::parse("firmware", &elf(&segments, &SYMBOLS)).unwrap();
        assert!(pack(&firmware, None).unwrap_err().to_string().contains("0x8000800000"));
    }

    #[test]
    fn a_guest_below_1_mib_is_refused() {
        let guest = Elf::parse(
            "guest",
            &elf(
                &[Segment(0xF_F000, 0xF_F000, b"low", 0x3000)],
                &[
                    ("__entry32", 0xF_F000),
                    ("__cpuid_page", 0x10_0000),
                    ("__secrets_page", 0x10_0000),
                    ("__calling_area", 0x10_0000),
                ],
            ),
        );
        let guest = Guest::from_elf(&guest.unwrap()).unwrap();
        assert!(pack(&firmware(&SYMBOLS), Some(&guest)).unwrap_err().to_string().contains("1 MiB"));
    }

    #[test]
    fn every_bit_of_a_measured_page_changes_the_digest() {
        let image = pack(&firmware(&SYMBOLS), Some(&guest())).unwrap();
        let launch = digest::measure(&image).unwrap();
        assert_eq!(launch.pages, 16);
        let at = image.windows(4).position(|bytes| bytes == b"stub").unwrap();
        for bit in 0..32 {
            let mut changed = image.clone();
            changed[at + bit / 8] ^= 1 << (bit % 8);
            assert_ne!(digest::measure(&changed).unwrap().digest, launch.digest, "bit {bit}");
        }
    }
}
