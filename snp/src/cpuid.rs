//! The CPUID page, which the PSP has checked at launch (SNP firmware ABI, 8.17.2.6): the only source of CPUID values
//! that is not the host's word.

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Page;

/// Entries that the page has room for.
pub const MAX_ENTRIES: usize = 64;

/// An entry of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CpuidEntry {
    /// Leaf.
    pub eax_in: U32,
    /// Subleaf, where the leaf has such.
    pub ecx_in: U32,
    /// XCR0 for which the entry holds (leaf 0xD).
    pub xcr0_in: U64,
    /// XSS for which the entry holds (leaf 0xD).
    pub xss_in: U64,
    /// EAX.
    pub eax: U32,
    /// EBX.
    pub ebx: U32,
    /// ECX.
    pub ecx: U32,
    /// EDX.
    pub edx: U32,
    /// Zero.
    pub reserved: U64,
}

const _: () = assert!(size_of::<CpuidEntry>() == 48);
const _: () = assert!(offset_of!(CpuidEntry, xcr0_in) == 8);
const _: () = assert!(offset_of!(CpuidEntry, eax) == 0x18);
const _: () = assert!(offset_of!(CpuidEntry, reserved) == 0x28);

/// The part of the page that is defined: count, 12 reserved bytes, entries.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Table {
    count: U32,
    reserved: [u8; 12],
    entries: [CpuidEntry; MAX_ENTRIES],
}

const _: () = assert!(offset_of!(Table, entries) == 0x10);
const _: () = assert!(size_of::<Table>() <= crate::PAGE_SIZE);

/// The four registers that CPUID writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub struct CpuidRegisters {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// What a CPU's own state adds to the table's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuState {
    /// The vCPU's APIC id; the page holds the one of the vCPU that the launcher thought of.
    pub apic_id: u32,
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    /// CR4.PKE.
    pub pke: bool,
    /// XCR0; 1 (x87 only) while OSXSAVE is clear.
    pub xcr0: u64,
    /// XSS.
    pub xss: u64,
}

/// Why a CPUID page is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuidError {
    /// More than 64 entries, or none.
    Count(u32),
    /// Two entries answer the same question, and not alike.
    Contradiction {
        /// Leaf.
        leaf: u32,
        /// Subleaf.
        subleaf: u32,
    },
    /// Reserved bytes are not zero.
    Reserved,
    /// Leaf 0x8000001F is absent, or its C-bit position is not one that page tables can have (32 to 51).
    CBit,
}

crate::error_words! { CpuidError {
    Self::Count(count) => "{count} entries",
    Self::Contradiction { leaf, subleaf } => "two answers for leaf {leaf:#x}, subleaf {subleaf:#x}",
    Self::Reserved => "reserved bytes are not zero",
    Self::CBit => "there is no C-bit where page tables can have it",
} }

/// Whether the subleaf in ECX matters. It does for every leaf that is not known to have none, so that a launcher may
/// list the subleaves of a leaf that is not known here (leaf 4, say, which QEMU lists and an AMD processor has not).
const fn is_indexed(leaf: u32) -> bool {
    let plain = matches!(leaf, 0..=3 | 5 | 6 | 8..=0xA | 0xC | 0xE | 0x11 | 0x13 | 0x15 | 0x16 | 0x19..=0x1C);
    let extended = matches!(leaf, 0x8000_0000..=0x8000_001C | 0x8000_001E | 0x8000_001F | 0x8000_0021 | 0x8000_0022);
    let hypervisor = matches!(leaf, 0x4000_0000..=0x4000_FFFF);
    !(plain || extended || hypervisor)
}

/// A checked private copy of the CPUID page.
#[derive(Clone)]
pub struct CpuidTable {
    table: Table,
    count: usize,
    c_bit: u8,
}

impl CpuidTable {
    /// Checks a copy of the page.
    ///
    /// # Errors
    /// [`CpuidError`].
    pub fn parse(page: &Page) -> Result<Self, CpuidError> {
        let (table, _) = Table::read_from_prefix(page).map_err(|_| CpuidError::Reserved)?;
        let count = match usize::try_from(table.count.get()) {
            Ok(count @ 1..=MAX_ENTRIES) => count,
            _ => return Err(CpuidError::Count(table.count.get())),
        };
        let mut parsed = Self { table, count, c_bit: 0 };
        parsed.check_entries()?;
        parsed.c_bit = parsed.find_c_bit().ok_or(CpuidError::CBit)?;
        Ok(parsed)
    }

    fn check_entries(&self) -> Result<(), CpuidError> {
        if self.table.reserved != [0; 12] || self.entries().iter().any(|entry| entry.reserved != 0) {
            return Err(CpuidError::Reserved);
        }
        for (index, entry) in self.entries().iter().enumerate() {
            let earlier = self.entries().get(..index).unwrap_or_default();
            if earlier.iter().any(|other| same_question(entry, other) && !same_answer(entry, other)) {
                let (leaf, subleaf) = (entry.eax_in.get(), entry.ecx_in.get());
                return Err(CpuidError::Contradiction { leaf, subleaf });
            }
        }
        Ok(())
    }

    fn find_c_bit(&self) -> Option<u8> {
        let position = self.raw(0x8000_001F, 0)?.ebx & 0x3F;
        u8::try_from(position).ok().filter(|bit| (32..=51).contains(bit))
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[CpuidEntry] {
        self.table.entries.get(..self.count).unwrap_or_default()
    }

    /// Position of the C-bit in a page-table entry (leaf 0x8000001F, EBX bits 5:0).
    #[must_use]
    pub const fn c_bit(&self) -> u8 {
        self.c_bit
    }

    /// The table's own values, without the CPU's state.
    #[must_use]
    pub fn raw(&self, leaf: u32, subleaf: u32) -> Option<CpuidRegisters> {
        self.find(leaf, subleaf, |_| true)
    }

    fn find(&self, leaf: u32, subleaf: u32, fits: impl Fn(&CpuidEntry) -> bool) -> Option<CpuidRegisters> {
        self.entries()
            .iter()
            .find(|entry| entry.eax_in == leaf && (!is_indexed(leaf) || entry.ecx_in == subleaf) && fits(entry))
            .map(|entry| CpuidRegisters {
                eax: entry.eax.get(),
                ebx: entry.ebx.get(),
                ecx: entry.ecx.get(),
                edx: entry.edx.get(),
            })
    }

    /// What CPUID answers on a CPU in this state. A leaf that the table lacks is zero within the limits that leaves 0,
    /// 0x40000000 and 0x80000000 name (launchers leave out zero leaves), and `None` beyond, where the caller had better
    /// end the guest.
    #[must_use]
    pub fn lookup(&self, leaf: u32, subleaf: u32, state: &CpuState) -> Option<CpuidRegisters> {
        let found = match (leaf, subleaf) {
            (0xD, 0 | 1) => self.xsave(subleaf, state),
            _ => self.raw(leaf, subleaf),
        };
        match found {
            Some(registers) => Some(with_state(registers, leaf, state)),
            None => self.within_limits(leaf).then(CpuidRegisters::default),
        }
    }

    /// Whether there are INVLPGB and TLBSYNC (Fn8000_0008, EBX bit 3).
    #[must_use]
    pub fn has_invlpgb(&self) -> bool {
        self.raw(0x8000_0008, 0).is_some_and(|registers| registers.ebx & 1 << 3 != 0)
    }

    fn within_limits(&self, leaf: u32) -> bool {
        let range = leaf & 0xC000_0000;
        self.raw(range, 0).is_some_and(|limits| leaf <= limits.eax)
    }

    /// Leaf 0xD, subleaves 0 and 1: EBX is the size of the save area for what is enabled now, which the table cannot
    /// know.
    fn xsave(&self, subleaf: u32, state: &CpuState) -> Option<CpuidRegisters> {
        let exact = |entry: &CpuidEntry| entry.xcr0_in == state.xcr0 && entry.xss_in == state.xss;
        let mut registers = self.find(0xD, subleaf, exact).or_else(|| self.raw(0xD, subleaf))?;
        registers.ebx = match subleaf {
            0 => self.standard_size(state.xcr0),
            // EBX is defined only where XSAVEC or XSAVES exist (EAX[1], EAX[3]).
            _ if registers.eax & 0b1010 != 0 => self.compacted_size(state.xcr0 | state.xss),
            _ => registers.ebx,
        };
        Some(registers)
    }

    /// Components of the save area beyond legacy and header: (size, offset, flags).
    fn components(&self, enabled: u64) -> impl Iterator<Item = CpuidRegisters> {
        (2..63_u32).filter(move |index| enabled >> index & 1 != 0).filter_map(|index| self.raw(0xD, index))
    }

    fn standard_size(&self, xcr0: u64) -> u32 {
        self.components(xcr0).map(|part| part.eax.saturating_add(part.ebx)).fold(XSAVE_HEADER_END, u32::max)
    }

    fn compacted_size(&self, enabled: u64) -> u32 {
        const ALIGN_64: u32 = 1 << 1;
        self.components(enabled).fold(XSAVE_HEADER_END, |end, part| {
            let start =
                if part.ecx & ALIGN_64 == 0 { end } else { end.checked_next_multiple_of(64).unwrap_or(u32::MAX) };
            start.saturating_add(part.eax)
        })
    }
}

/// Legacy area (512) and XSAVE header (64).
const XSAVE_HEADER_END: u32 = 576;

/// XCR0 and XSS are part of the question for the sizes of the save area only.
fn same_question(a: &CpuidEntry, b: &CpuidEntry) -> bool {
    let subleaf = !is_indexed(a.eax_in.get()) || a.ecx_in == b.ecx_in;
    let save_area = a.eax_in == 0xD && a.ecx_in.get() < 2;
    a.eax_in == b.eax_in && subleaf && (!save_area || (a.xcr0_in == b.xcr0_in && a.xss_in == b.xss_in))
}

fn same_answer(a: &CpuidEntry, b: &CpuidEntry) -> bool {
    (a.eax, a.ebx, a.ecx, a.edx) == (b.eax, b.ebx, b.ecx, b.edx)
}

/// Replaces what depends on the vCPU's identity and control registers.
fn with_state(registers: CpuidRegisters, leaf: u32, state: &CpuState) -> CpuidRegisters {
    const OSXSAVE: u32 = 1 << 27;
    const OSPKE: u32 = 1 << 4;
    let put = |word: u32, mask: u32, on: bool| if on { word | mask } else { word & !mask };
    let mut r = registers;
    match leaf {
        1 => {
            r.ebx = r.ebx & 0x00FF_FFFF | (state.apic_id & 0xFF) << 24;
            r.ecx = put(r.ecx, OSXSAVE, state.osxsave);
        }
        7 => r.ecx = put(r.ecx, OSPKE, state.pke),
        0xB => r.edx = state.apic_id,
        0x8000_001E => r.eax = state.apic_id,
        _ => {}
    }
    r
}
