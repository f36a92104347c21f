//! The launch, as the secure processor does it: pages become the guest's in the order of the file, each measured into the launch digest; the VMSA last.

use crate::bits::{lo16, put, us};
use crate::cpuid::Policy;
use crate::igvm::{Bad, Header, Igvm, PageKind};
use crate::memory::Memory;
use crate::phys::{self, PAGE};
use crate::rmp::{ASSIGNED, Entry, FIRMWARE, FIRMWARE_SIZE, VALIDATED};
use heapless::Vec;
use sha2::{Digest, Sha384};

/// Where the VMSA is measured, and nothing else can be (KVM's choice).
pub(crate) const VMSA_GPA: u64 = 0xFFFF_FFFF_F000;
/// Policy when the file has none: SMT allowed, the bit that must be one.
const DEFAULT_POLICY: u64 = 0x30000;
const MAX_AREAS: usize = 8;

/// Page types of the launch digest's records (SNP firmware ABI, 8.17.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum PageType {
    Normal = 1,
    Vmsa = 2,
    Zero = 3,
    Unmeasured = 4,
    Secrets = 5,
    Cpuid = 6,
}

/// What a launch yields.
pub(crate) struct Launched {
    pub(crate) digest: [u8; 48],
    pub(crate) policy: u64,
    /// The machine's address of the VMSA.
    pub(crate) vmsa: u64,
}

/// The launch under way.
pub(crate) struct Launch<'a> {
    memory: &'a mut Memory,
    secrets: &'a [u8; 4096],
    cpuid: Policy,
    cpuid_overflow: Option<u64>,
    map_lie: bool,
    digest: [u8; 48],
    areas: Vec<(u32, [u8; 4096]), MAX_AREAS>,
    vmsa: Option<u64>,
}

impl<'a> Launch<'a> {
    /// Nothing launched yet.
    pub(crate) fn new(
        memory: &'a mut Memory,
        secrets: &'a [u8; 4096],
        cpuid: Policy,
        lies: &crate::config::Lies,
    ) -> Self {
        let (cpuid_overflow, map_lie) = (lies.cpuid_overflow, lies.memory_map_lie.is_some());
        Self { memory, secrets, cpuid, cpuid_overflow, map_lie, digest: [0; 48], areas: Vec::new(), vmsa: None }
    }

    /// Launches the file.
    pub(crate) fn run(mut self, file: Igvm<'_>) -> Result<Launched, Bad> {
        const SNP: u8 = 2;
        const MUST_BE_ONE: u64 = 1 << 17;
        let mut platform = 0;
        let mut policy = DEFAULT_POLICY;
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
        let vmsa = self.vmsa.ok_or(Bad("the file has no VMSA for SEV-SNP"))?;
        Ok(Launched { digest: self.digest, policy, vmsa })
    }

    fn directive(&mut self, header: Header<'_>, platform: u32) -> Result<(), Bad> {
        let ours = |mask: u32| mask & platform != 0;
        if self.vmsa.is_some() && !matches!(header, Header::Other) {
            return Err(Bad("something comes after the VMSA"));
        }
        match header {
            Header::Page { gpa, mask, data, unmeasured, shared, kind } if ours(mask) => match kind {
                PageKind::Normal if shared => self.shared(gpa, data),
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
                put(&mut self.areas[position].1, us(offset.into()), &1u32.to_le_bytes());
                Ok(())
            }
            Header::Required { gpa, mask, bytes } if ours(mask) => {
                if bytes % PAGE != 0 {
                    return Err(Bad("required memory is not whole pages"));
                }
                (0..bytes / PAGE).try_for_each(|page| self.page(gpa.saturating_add(page * PAGE), None, PageType::Zero))
            }
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

    /// Makes a page the guest's, validated, with these contents (`None`: zeros).
    fn page(&mut self, gpa: u64, data: Option<&[u8]>, kind: PageType) -> Result<(), Bad> {
        const ZERO: [u8; 4096] = [0; 4096];
        let entry = self.memory.rmp.entry(gpa).ok_or(Bad("a page is where no memory is"))?;
        let hpa = self.memory.rmp.hpa(gpa).ok_or(Bad("a page is where no memory is"))?;
        if !gpa.is_multiple_of(PAGE) || entry.is(ASSIGNED) {
            return Err(Bad("a page is misaligned or launched twice"));
        }
        let data = data.unwrap_or(&ZERO);
        phys::write(hpa, data);
        self.memory.set(gpa, Entry::new(ASSIGNED | VALIDATED));
        let contents = if kind == PageType::Normal { Sha384::digest(data).into() } else { [0; 48] };
        self.measure(kind, &contents, gpa);
        Ok(())
    }

    fn shared(&mut self, gpa: u64, data: Option<&[u8]>) -> Result<(), Bad> {
        let hpa = self.memory.shared(gpa).ok_or(Bad("a shared page is where no memory is"))?;
        if let Some(data) = data {
            phys::write(hpa, data);
        }
        Ok(())
    }

    fn cpuid_page(&mut self, gpa: u64, data: Option<&[u8]>) -> Result<(), Bad> {
        let mut page = [0; 4096];
        put(&mut page, 0, data.unwrap_or(&[]));
        self.cpuid.correct(&mut page);
        if let Some(count) = self.cpuid_overflow {
            put(&mut page, 0, &crate::bits::lo32(count).to_le_bytes());
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

    /// Entries of 24 bytes: u64 first page, u64 pages, u16 type (0 memory), u16 flags, u32 reserved; a zero entry ends the list.
    fn memory_map(&mut self, index: u32, offset: usize) -> Result<(), Bad> {
        let position = self.position(index)?;
        let lie = self.map_lie.then_some((FIRMWARE, FIRMWARE + FIRMWARE_SIZE));
        let ranges = self.memory.rmp.ranges().iter().copied().chain(lie);
        let page = &mut self.areas[position].1;
        for (n, (start, end)) in ranges.enumerate() {
            let at = offset + 24 * n;
            put(page, at, &(start / PAGE).to_le_bytes());
            put(page, at + 8, &((end - start) / PAGE).to_le_bytes());
            put(page, at + 16, &lo16(0).to_le_bytes());
        }
        Ok(())
    }

    fn vmsa(&mut self, gpa: u64, data: &[u8], processor: u16) -> Result<(), Bad> {
        if gpa != VMSA_GPA || processor != 0 {
            return Err(Bad("the VMSA is not that of processor 0 at its one place"));
        }
        let hpa = self.memory.frames(1);
        phys::write(hpa, data);
        self.measure(PageType::Vmsa, &Sha384::digest(data).into(), gpa);
        self.vmsa = Some(hpa);
        Ok(())
    }
}
