//! The launch, as QEMU and KVM do it with the secure processor: required memory becomes the guest's, neither validated
//! nor measured, with whatever is in it; pages of data become the guest's in the order of the file, validated, each
//! measured into the launch digest; the VMSA last.

use crate::bits::{lo8, lo16, lo32, put, u64_at, us};
use crate::config::Lies;
use crate::cpuid::Policy;
use crate::igvm::{Bad, Header, Igvm, PageKind};
use crate::memory::Memory;
use crate::phys::{self, PAGE};
use crate::pvh::{LEGACY_HOLE, LEGACY_HOLE_END};
use crate::rmp::{ASSIGNED, Entry, FIRMWARE, FIRMWARE_OWN, PLACED, PLACED_END, VALIDATED};
use crate::smp::PROCESSORS;
use heapless::Vec;
use sha2::{Digest, Sha384};

/// Where the VMSA is measured, and nothing else can be (KVM's choice).
pub(crate) const VMSA_GPA: u64 = 0xFFFF_FFFF_F000;
/// Policy when the file has none: SMT allowed, the bit that must be one.
const DEFAULT_POLICY: u64 = 0x30000;
const MAX_AREAS: usize = 8;
/// Bytes of an entry of the memory map, and how many fit in a page.
const MAP_ENTRY: usize = 24;
const MAX_MAP: usize = 4096 / MAP_ENTRY;

/// Page types of the launch digest's records (SNP firmware ABI, 8.17.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PageType {
    Normal = 1,
    Vmsa = 2,
    Unmeasured = 4,
    Secrets = 5,
    Cpuid = 6,
}

/// What a launch yields.
pub(crate) struct Launched {
    pub(crate) digest: [u8; 48],
    pub(crate) policy: u64,
    /// The machine's addresses of the VMSAs of all processors.
    pub(crate) states: Vec<u64, PROCESSORS>,
    /// SEV_FEATURES of the first.
    pub(crate) features: u64,
}

/// The launch under way.
pub(crate) struct Launch<'a> {
    memory: &'a mut Memory,
    secrets: &'a [u8; 4096],
    cpuid: Policy,
    lies: Lies,
    processors: usize,
    digest: [u8; 48],
    areas: Vec<(u32, [u8; 4096]), MAX_AREAS>,
    /// SEV_FEATURES of the first processor's register state.
    features: Option<u64>,
    /// The machine's addresses of the register states that have been measured.
    states: Vec<u64, PROCESSORS>,
}

impl<'a> Launch<'a> {
    /// Nothing launched yet.
    pub(crate) fn new(
        memory: &'a mut Memory,
        secrets: &'a [u8; 4096],
        cpuid: Policy,
        lies: Lies,
        processors: usize,
    ) -> Self {
        Self {
            memory,
            secrets,
            cpuid,
            lies,
            processors,
            digest: [0; 48],
            areas: Vec::new(),
            features: None,
            states: Vec::new(),
        }
    }

    /// Launches the file.
    pub(crate) fn run(mut self, file: Igvm<'_>) -> Result<Launched, Bad> {
        const SNP: u8 = 2;
        const MUST_BE_ONE: u64 = 1 << 17;
        let mut platform = 0;
        let mut policy = DEFAULT_POLICY;
        self.prepare_placed(file)?;
        for header in file.headers() {
            match header? {
                Header::Platform { mask, kind: SNP } => platform = mask,
                Header::Policy { policy: wanted, mask } if mask & platform != 0 => policy = wanted,
                header => self.directive(header, platform)?,
            }
        }
        if policy & MUST_BE_ONE == 0 {
            return Err(Bad("bit 17 of the policy must be 1"));
        }
        let features = self.features.ok_or(Bad("the file has no VMSA for SEV-SNP"))?;
        self.launch_others(features);
        Ok(Launched { digest: self.digest, policy, states: self.states, features })
    }

    /// Gives memory to a firmware that ends at 4 GiB.
    fn prepare_placed(&mut self, file: Igvm<'_>) -> Result<(), Bad> {
        let mut lowest = PLACED_END;
        for header in file.headers() {
            if let Header::Page { gpa, .. } = header?
                && (PLACED..lowest).contains(&gpa)
                && self.memory.rmp.hpa(gpa).is_none()
            {
                lowest = gpa & !(PAGE - 1);
            }
        }
        if lowest < PLACED_END {
            self.memory.back_placed(lowest);
        }
        Ok(())
    }

    fn directive(&mut self, header: Header<'_>, platform: u32) -> Result<(), Bad> {
        let ours = |mask: u32| mask & platform != 0;
        if self.features.is_some() && !matches!(header, Header::Vmsa { .. } | Header::Other) {
            return Err(Bad("something comes after a VMSA"));
        }
        match header {
            Header::Page { gpa, mask, data, unmeasured, shared, kind } if ours(mask) => match kind {
                _ if shared => Err(Bad("a page is shared, which the launch of an SEV-SNP guest cannot make")),
                PageKind::Normal if unmeasured => self.page(gpa, data, PageType::Unmeasured),
                PageKind::Normal => self.page(gpa, data, PageType::Normal),
                PageKind::Secrets => self.page(gpa, Some(self.secrets), PageType::Secrets),
                PageKind::Cpuid => self.cpuid_page(gpa, data),
            },
            Header::Area { index, bytes, data } => self.area(index, bytes, data),
            Header::Insert { gpa, mask, index } if ours(mask) => {
                let position = self.position(index)?;
                let (_, page) = self.areas.swap_remove(position);
                self.page(gpa, Some(&page), PageType::Unmeasured)
            }
            Header::MemoryMap { index, offset } => self.memory_map(index, us(offset.into())),
            Header::ProcessorCount { index, offset } => {
                let position = self.position(index)?;
                let count = lo32(self.processors as u64);
                put(&mut self.areas[position].1, us(offset.into()), &count.to_le_bytes());
                Ok(())
            }
            Header::Madt { index, offset } => {
                let (position, at, table) = (self.position(index)?, us(offset.into()), madt(self.processors));
                let Some(to) = self.areas[position].1.get_mut(at..at.saturating_add(table.len())) else {
                    return Err(Bad("the MADT goes beyond its parameter area"));
                };
                to.copy_from_slice(&table);
                Ok(())
            }
            Header::Required { gpa, mask, bytes } if ours(mask) => self.required(gpa, bytes),
            Header::Vmsa { gpa, mask, data, processor } if ours(mask) => self.vmsa(gpa, data, processor),
            _ => Ok(()),
        }
    }

    /// One record of the launch digest.
    fn measure(&mut self, kind: PageType, contents: &[u8; 48], gpa: u64) {
        let mut record = [0; 0x70];
        put(&mut record, 0, &self.digest);
        put(&mut record, 48, contents);
        put(&mut record, 96, &0x70u16.to_le_bytes());
        record[98] = kind as u8;
        put(&mut record, 104, &gpa.to_le_bytes());
        self.digest = Sha384::digest(record).into();
    }

    /// Sets memory aside as the guest's. It is not validated, not measured and not zeroed; pages that were launched
    /// before stay as they are.
    fn required(&mut self, gpa: u64, bytes: u64) -> Result<(), Bad> {
        if bytes == 0 || !(gpa | bytes).is_multiple_of(PAGE) {
            return Err(Bad("required memory is not whole pages"));
        }
        for page in 0..bytes / PAGE {
            let gpa = gpa.saturating_add(page * PAGE);
            let entry = self.memory.rmp.entry(gpa).ok_or(Bad("required memory is where no memory is"))?;
            if !entry.is(ASSIGNED) {
                self.memory.change_state(gpa, true, false);
            }
            if self.lies.required_validated.is_some_and(|offset| offset / PAGE == page) {
                self.memory.set(gpa, Entry::new(ASSIGNED | VALIDATED));
            }
        }
        Ok(())
    }

    /// Makes a page the guest's, validated, with these contents (`None`: zeros).
    fn page(&mut self, gpa: u64, data: Option<&[u8]>, kind: PageType) -> Result<(), Bad> {
        const ZERO: [u8; 4096] = [0; 4096];
        let entry = self.memory.rmp.entry(gpa).ok_or(Bad("a page is where no memory is"))?;
        let hpa = self.memory.rmp.hpa(gpa).ok_or(Bad("a page is where no memory is"))?;
        if !gpa.is_multiple_of(PAGE) || entry.is(VALIDATED) {
            return Err(Bad("a page is misaligned or launched twice"));
        }
        let data = data.unwrap_or(&ZERO);
        phys::write(hpa, data);
        self.memory.set(gpa, Entry::new(ASSIGNED | VALIDATED));
        let contents = if kind == PageType::Normal { Sha384::digest(data).into() } else { [0; 48] };
        self.measure(kind, &contents, gpa);
        Ok(())
    }

    fn cpuid_page(&mut self, gpa: u64, data: Option<&[u8]>) -> Result<(), Bad> {
        let mut page = [0; 4096];
        put(&mut page, 0, data.unwrap_or(&[]));
        self.cpuid.correct(&mut page);
        if let Some(count) = self.lies.cpuid_overflow {
            put(&mut page, 0, &lo32(count).to_le_bytes());
        }
        self.page(gpa, Some(&page), PageType::Cpuid)
    }

    fn area(&mut self, index: u32, bytes: u64, data: Option<&[u8]>) -> Result<(), Bad> {
        if bytes > PAGE || self.position(index).is_ok() {
            return Err(Bad("a parameter area is larger than a page or there twice"));
        }
        let mut page = [0; 4096];
        put(&mut page, 0, data.unwrap_or(&[]));
        self.areas.push((index, page)).map_err(|_| Bad("too many parameter areas"))
    }

    fn position(&self, index: u32) -> Result<usize, Bad> {
        self.areas.iter().position(|area| area.0 == index).ok_or(Bad("an unknown parameter area"))
    }

    /// Entries of 24 bytes: u64 first page, u64 pages, u16 type (0 memory), u16 flags, u32 reserved; a zero entry ends
    /// the list.
    fn memory_map(&mut self, index: u32, offset: usize) -> Result<(), Bad> {
        let position = self.position(index)?;
        let ranges = map(self.memory.rmp.ranges(), self.lies);
        let page = &mut self.areas[position].1;
        for (n, (first, pages)) in ranges.iter().enumerate() {
            let at = offset + MAP_ENTRY * n;
            put(page, at, &first.to_le_bytes());
            put(page, at + 8, &pages.to_le_bytes());
            put(page, at + 16, &lo16(0).to_le_bytes());
        }
        Ok(())
    }

    /// The register states of processor 0 and up, one after the other.
    fn vmsa(&mut self, gpa: u64, data: &[u8], processor: u16) -> Result<(), Bad> {
        if gpa != VMSA_GPA || usize::from(processor) != self.states.len() {
            return Err(Bad("the VMSA is not that of the next processor at their one place"));
        }
        if self.states.len() == self.processors {
            return Err(Bad("the VMSA is of a processor that is not there: start QEMU with -smp"));
        }
        check_vmsa(data)?;
        self.features.get_or_insert(u64_at(data, SEV_FEATURES));
        self.launch_state(data);
        Ok(())
    }

    fn launch_state(&mut self, data: &[u8]) {
        self.measure(PageType::Vmsa, &Sha384::digest(data).into(), VMSA_GPA);
        let hpa = self.memory.frames(1);
        phys::write(hpa, data);
        // There are no more than processors.
        self.states.push(hpa).unwrap_or_default();
    }

    /// KVM launches a register state for each processor. Those that the file does not have are as QEMU resets them.
    /// None but the first runs, until AP creation.
    fn launch_others(&mut self, features: u64) {
        let other = reset_vmsa(features);
        (self.states.len()..self.processors).for_each(|_| self.launch_state(&other));
    }
}

/// Where a VMSA has SEV_FEATURES.
const SEV_FEATURES: usize = 0x3B0;

/// A processor as QEMU resets it and KVM puts it into a VMSA: real mode at the reset vector, EDX as CPUID leaf 1 has
/// EAX.
fn reset_vmsa(features: u64) -> [u8; 4096] {
    const DATA: u16 = 0x93;
    let mut page = [0; 4096];
    let mut segment = |at, selector: u16, attributes: u16, base: u64| {
        put(&mut page, at, &selector.to_le_bytes());
        put(&mut page, at + 2, &attributes.to_le_bytes());
        put(&mut page, at + 4, &0xFFFFu32.to_le_bytes());
        put(&mut page, at + 8, &base.to_le_bytes());
    };
    // ES, SS, DS, FS, GS; GDTR, LDTR, IDTR, TR.
    [0x00, 0x20, 0x30, 0x40, 0x50].into_iter().for_each(|at| segment(at, 0, DATA, 0));
    [(0x60, 0), (0x70, 0x82), (0x80, 0), (0x90, 0x8B)].into_iter().for_each(|(at, kind)| segment(at, 0, kind, 0));
    segment(us(crate::svm::save::CS), 0xF000, 0x9B, 0xFFFF_0000);
    let words = [
        (us(crate::svm::save::EFER), 0x1000),
        (us(crate::svm::save::CR4), 0x40),
        (us(crate::svm::save::CR0), 0x10),
        // DR7, DR6, PAT, RDX, XCR0; MXCSR, the control word of the x87.
        (0x160, 0x400),
        (0x168, 0xFFFF_0FF0),
        (us(crate::svm::save::RFLAGS), 2),
        (us(crate::svm::save::RIP), 0xFFF0),
        (0x268, 0x0007_0406_0007_0406),
        (0x310, crate::cpu::cpuid(1, 0).eax.into()),
        (SEV_FEATURES, features),
        (0x3E8, 1),
        (0x408, 0x1F80),
        (0x410, 0x37F),
    ];
    words.into_iter().for_each(|(at, word): (usize, u64)| put(&mut page, at, &word.to_le_bytes()));
    page
}

/// Bytes of the longest table of [`madt`].
const MADT: usize = 56 + 8 * PROCESSORS;

/// ACPI's table of interrupt controllers as QEMU fills it in (ACPI 6.5, 5.2.12): processors, whose APIC ids begin with
/// 0, and one I/O APIC.
fn madt(processors: usize) -> Vec<u8, MADT> {
    const LOCAL_APIC: u32 = 0xFEE0_0000;
    const IO_APIC: u32 = 0xFEC0_0000;
    const SUM: usize = 9;
    let (mut table, length) = (Vec::new(), 56 + 8 * processors);
    // It has room for all of them.
    let mut add = |bytes: &[u8]| table.extend_from_slice(bytes).unwrap_or_default();
    add(b"APIC");
    add(&lo32(length as u64).to_le_bytes());
    add(b"\x03\0QUOIN QUOINVM \0\0\0\0\0\0\0\0\0\0\0\0");
    add(&LOCAL_APIC.to_le_bytes());
    // The computer has the old controllers, too.
    add(&1u32.to_le_bytes());
    for id in (0..processors).map(|id| lo8(id as u64)) {
        // A processor: number, APIC id, enabled.
        add(&[0, 8, id, id, 1, 0, 0, 0]);
    }
    // An I/O APIC: number, address, first interrupt 0.
    add(&[1, 12, 0, 0]);
    add(&IO_APIC.to_le_bytes());
    add(&0u32.to_le_bytes());
    let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    table[SUM] = sum.wrapping_neg();
    table
}

/// QEMU gives KVM these fields and refuses a VMSA with others; KVM has its own mind about CR0, EFER.SVME and CR4.MCE,
/// and measures what it makes of them.
fn check_vmsa(vmsa: &[u8]) -> Result<(), Bad> {
    const SEGMENTS: usize = 0xA0;
    const EFER: usize = 0xD0;
    const CR4: usize = 0x148;
    const CR0: usize = 0x158;
    // CR4, CR3, CR0, DR7, DR6, RFLAGS, RIP; RCX, RDX, RBX; RBP to R15.
    let ranges = [(0x148, 0x180), (0x308, 0x320), (0x328, 0x380)];
    // RSP, RAX, PAT, XCR0; MXCSR and the x87 control word are smaller.
    let fields = [EFER, 0x1D8, 0x1F8, 0x268, SEV_FEATURES, 0x3E8].map(|at| (at, at + 8));
    let small = [(0, SEGMENTS), (0x408, 0x40C), (0x410, 0x412)];
    let known = |at: usize| ranges.iter().chain(&fields).chain(&small).any(|&(from, to)| (from..to).contains(&at));
    if vmsa.iter().enumerate().any(|(at, byte)| *byte != 0 && !known(at)) {
        return Err(Bad("the VMSA has a field that QEMU does not give to KVM"));
    }
    let kvms =
        matches!(u64_at(vmsa, CR0), 0x30 | 0x31) && u64_at(vmsa, EFER) & 0x1000 != 0 && u64_at(vmsa, CR4) & 0x40 != 0;
    if !kvms || u64_at(vmsa, SEV_FEATURES) & 1 == 0 {
        return Err(Bad("CR0, EFER, CR4 or SEV_FEATURES of the VMSA are not as KVM makes them"));
    }
    Ok(())
}

/// First page and number of pages of each entry of the memory map. As in QEMU's, low memory is one range across the
/// legacy hole.
fn map(ranges: &[(u64, u64)], lies: Lies) -> Vec<(u64, u64), MAX_MAP> {
    const LOW_END: u64 = LEGACY_HOLE / PAGE;
    let mut map: Vec<(u64, u64), MAX_MAP> = Vec::new();
    for &(start, end) in ranges {
        let (first, pages) = (start / PAGE, (end - start) / PAGE);
        match map.last_mut() {
            Some((from, count)) if *from + *count == LOW_END && start == LEGACY_HOLE_END => *count = end / PAGE - *from,
            // More entries than fit are not offered.
            _ => map.push((first, pages)).unwrap_or_default(),
        }
    }
    if let (Some(pieces), Some(first)) = (lies.map_ranges, map.first_mut()) {
        split(first, pieces).into_iter().for_each(|piece| map.push(piece).unwrap_or_default());
    }
    let others = [
        lies.memory_map_lie.map(|_| (FIRMWARE / PAGE, FIRMWARE_OWN / PAGE)),
        lies.map_pages.map(|pages| ((4 << 30) / PAGE, pages)),
        lies.map_overlap.map(|_| (LEGACY_HOLE_END / PAGE, 1)),
    ];
    others.into_iter().flatten().for_each(|entry| map.push(entry).unwrap_or_default());
    if lies.map_unsorted.is_some() {
        map.reverse();
    }
    map
}

/// Ends `range` at 4 MiB, and makes `pieces` of the rest, with a page between each two.
fn split(range: &mut (u64, u64), pieces: u64) -> Vec<(u64, u64), MAX_MAP> {
    const FROM: u64 = (4 << 20) / PAGE;
    let mut all = Vec::new();
    let end = range.0 + range.1;
    let Some(size) = end.checked_sub(FROM).and_then(|rest| rest.checked_div(pieces)).filter(|size| *size > 1) else {
        return all;
    };
    range.1 = FROM - 1 - range.0;
    (0..pieces).for_each(|n| all.push((FROM + n * size, size - 1)).unwrap_or_default());
    all
}
