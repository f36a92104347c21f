//! CPUID as the machine offers it: QEMU's processor with the leaves of an SEV-SNP guest.
//!
//! As QEMU's launcher with KVM does, the machine writes the page by itself, whatever the image has in it: an EPYC's
//! leaves, with XSAVE and AVX, of which QEMU's TCG lacks XSAVEC. An operating system that would use that takes
//! `cpuid=image`.

use crate::cpu::cpuid;
use crate::log::bad_launch;
use crate::machine::Machine;
use crate::npt::C_BIT;
use core::arch::x86_64::CpuidResult;

/// Highest basic leaf with `cpuid=image`: XSAVE's (0xD) is beyond, because QEMU's TCG has no XSAVEC.
const MAX_BASIC: u32 = 0xB;
/// Highest basic leaf of an EPYC.
const MAX_BASIC_EPYC: u32 = 0x10;
/// Highest extended leaf of an EPYC.
const MAX_EXTENDED_EPYC: u32 = 0x8000_0023;
/// Highest extended leaf: memory encryption.
const MAX_EXTENDED: u32 = 0x8000_001F;
/// Entries that fit in a CPUID page.
const ENTRIES: usize = 64;
const ENTRY: usize = 48;
const NONE: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/// Leaves of the page when the image brings an empty one: (leaf, subleaf).
const DEFAULT: &[(u32, u32)] = &[
    (0, 0),
    (1, 0),
    (2, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (0xB, 0),
    (0xB, 1),
    (0x8000_0000, 0),
    (0x8000_0001, 0),
    (0x8000_0002, 0),
    (0x8000_0003, 0),
    (0x8000_0004, 0),
    (0x8000_0005, 0),
    (0x8000_0006, 0),
    (0x8000_0007, 0),
    (0x8000_0008, 0),
    (0x8000_001D, 0),
    (0x8000_001D, 1),
    (0x8000_001D, 2),
    (0x8000_001D, 3),
    (0x8000_001E, 0),
    (0x8000_001F, 0),
];

/// What an EPYC's page has beside them, whose values are in [`xsave`] or zero.
const BESIDE: &[(u32, u32)] = &[
    (3, 0),
    (4, 0),
    (4, 1),
    (4, 2),
    (4, 3),
    (0xB, 2),
    (0xD, 0),
    (0xD, 1),
    (0xD, 2),
    (0xD, 9),
    (0xF, 0),
    (0xF, 1),
    (0x10, 0),
    (0x10, 1),
    (0x8000_0008, 0),
    (0x8000_000A, 0),
    (0x8000_0019, 0),
    (0x8000_001A, 0),
    (0x8000_001B, 0),
    (0x8000_001D, 4),
    (0x8000_0020, 0),
    (0x8000_0020, 1),
    (0x8000_0021, 0),
    (0x8000_0022, 0),
    (0x8000_0023, 0),
];

/// Leaf 0xD with XCR0 0x207 (x87, SSE, AVX, PKRU): offset and size of each part, XSAVEC among the instructions.
const fn xsave(subleaf: u32) -> CpuidResult {
    match subleaf {
        0 => CpuidResult { eax: 0x207, ebx: 0x240, ecx: 0x988, edx: 0 },
        1 => CpuidResult { eax: 0xF, ebx: 0x240, ecx: 0x1800, edx: 0 },
        2 => CpuidResult { eax: 0x100, ebx: 0x240, ecx: 0, edx: 0 },
        9 => CpuidResult { eax: 8, ebx: 0x980, ecx: 0, edx: 0 },
        _ => NONE,
    }
}

/// What the launcher makes of CPUID.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The processor that the machine stands for.
    #[default]
    Epyc,
    /// What TCG keeps, in the leaves that the image names.
    Image,
}

/// What a hypervisor tells the guest, and the secure processor would let it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    source: Source,
    invlpgb: bool,
    no_rdseed: bool,
    no_rdrand: bool,
    repeats: Option<u64>,
    contradicts: Option<u64>,
}

impl Policy {
    /// With what the host lies about.
    pub(crate) fn new(source: Source, invlpgb: bool, lies: &crate::config::Lies) -> Self {
        Self {
            source,
            invlpgb,
            no_rdseed: lies.no_rdseed.is_some(),
            no_rdrand: lies.no_rdrand.is_some(),
            repeats: lies.cpuid_repeats,
            contradicts: lies.cpuid_contradicts,
        }
    }

    /// Whether there are INVLPGB and TLBSYNC.
    pub(crate) const fn has_invlpgb(self) -> bool {
        self.invlpgb
    }

    /// A leaf, corrected.
    pub(crate) fn leaf(self, leaf: u32, subleaf: u32) -> CpuidResult {
        match self.source {
            Source::Image => self.kept_by_tcg(leaf, subleaf),
            Source::Epyc => self.of_an_epyc(leaf, subleaf),
        }
    }

    fn of_an_epyc(self, leaf: u32, subleaf: u32) -> CpuidResult {
        const XSAVE_AVX_FMA_F16C: u32 = 1 << 26 | 1 << 28 | 1 << 12 | 1 << 29;
        const AVX2: u32 = 1 << 5;
        let mut result = match leaf {
            0xC | 0xE | 0xF | 0x10 | 0x8000_0020..=MAX_EXTENDED_EPYC => return NONE,
            0xD => return xsave(subleaf),
            _ => self.kept_by_tcg(leaf, subleaf),
        };
        match leaf {
            0 => result.eax = MAX_BASIC_EPYC,
            0x8000_0000 => result.eax = MAX_EXTENDED_EPYC,
            1 => result.ecx |= XSAVE_AVX_FMA_F16C,
            7 if subleaf == 0 => result.ebx |= AVX2,
            _ => {}
        }
        result
    }

    fn kept_by_tcg(self, leaf: u32, subleaf: u32) -> CpuidResult {
        const XSAVE_AVX_FMA_F16C: u32 = 1 << 26 | 1 << 27 | 1 << 28 | 1 << 12 | 1 << 29;
        const RDSEED: u32 = 1 << 18;
        const RDRAND: u32 = 1 << 30;
        const AVX2: u32 = 1 << 5;
        const VAES_VPCLMUL_LA57: u32 = 1 << 9 | 1 << 10 | 1 << 16;
        // Its register is part of XSAVE's state.
        const PKU_OSPKE: u32 = 1 << 3 | 1 << 4;
        const SVM: u32 = 1 << 2;
        const SEV_ES_SNP_VMPL: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5;
        let hypervisor = leaf & 0xFFFF_0000 == 0x4000_0000;
        let extended = leaf & 0xFFFF_0000 == 0x8000_0000;
        if !hypervisor && (leaf > MAX_BASIC && !extended || leaf > MAX_EXTENDED) {
            return NONE;
        }
        let mut result = cpuid(leaf, subleaf);
        match leaf {
            0 => result.eax = result.eax.min(MAX_BASIC),
            1 => result.ecx &= !(XSAVE_AVX_FMA_F16C | if self.no_rdrand { RDRAND } else { 0 }),
            7 if subleaf == 0 => {
                result.ebx = result.ebx & !AVX2 | RDSEED;
                result.ecx &= !(VAES_VPCLMUL_LA57 | PKU_OSPKE);
                result.ebx &= if self.no_rdseed { !RDSEED } else { u32::MAX };
            }
            0x8000_0000 => result.eax = MAX_EXTENDED,
            0x8000_0001 => result.ecx &= !SVM,
            0x8000_0008 if self.invlpgb => {
                (result.ebx, result.edx) = crate::invlpgb::shown_in(result.ebx, result.edx);
            }
            0x8000_000A => result = NONE,
            // EBX: position of the C-bit, and by how many bits it makes physical addresses shorter.
            0x8000_001F => {
                result = CpuidResult { eax: SEV_ES_SNP_VMPL, ebx: crate::bits::lo32(C_BIT) | 1 << 6, ecx: 0, edx: 0 }
            }
            _ => {}
        }
        result
    }

    /// Writes the CPUID page. With [`Source::Image`], the image's leaves get their values; an empty page gets the
    /// default leaves.
    pub(crate) fn correct(self, page: &mut [u8; 4096]) {
        if self.source == Source::Epyc {
            page.fill(0);
            let mut count = 0;
            for (leaf, subleaf) in DEFAULT.iter().chain(BESIDE.iter().filter(|leaf| !DEFAULT.contains(leaf))) {
                crate::bits::put(page, 16 + count * ENTRY, &leaf.to_le_bytes());
                crate::bits::put(page, 16 + count * ENTRY + 4, &subleaf.to_le_bytes());
                count += 1;
            }
            crate::bits::put(page, 0, &crate::bits::lo32(count as u64).to_le_bytes());
        }
        let count = crate::bits::us(u64::from(crate::bits::u32_at(page, 0)));
        if count > ENTRIES {
            bad_launch!("the CPUID page has {count} entries");
        }
        if count == 0 {
            for (index, (leaf, subleaf)) in DEFAULT.iter().enumerate() {
                crate::bits::put(page, 16 + index * ENTRY, &leaf.to_le_bytes());
                crate::bits::put(page, 16 + index * ENTRY + 4, &subleaf.to_le_bytes());
            }
            let count = u32::try_from(DEFAULT.len()).unwrap_or(0);
            crate::bits::put(page, 0, &count.to_le_bytes());
        }
        let count = if count == 0 { DEFAULT.len() } else { count };
        for entry in page[16..16 + count * ENTRY].chunks_exact_mut(ENTRY) {
            let result = self.leaf(crate::bits::u32_at(entry, 0), crate::bits::u32_at(entry, 4));
            for (index, register) in [result.eax, result.ebx, result.ecx, result.edx].iter().enumerate() {
                crate::bits::put(entry, 0x18 + 4 * index, &register.to_le_bytes());
            }
        }
        page[16 + count * ENTRY..].fill(0);
        self.lie(page);
    }

    /// Entries that a host may well list, or that no processor would: behind the others, as far as there is room.
    fn lie(self, page: &mut [u8; 4096]) {
        let before = *page;
        let repeated = crate::bits::us(self.repeats.unwrap_or(0));
        before[16..].chunks_exact(ENTRY).take(repeated).for_each(|entry| append(page, entry));
        if let Some(leaf) = self.contradicts {
            let mut entry = [0; ENTRY];
            for (at, word) in [(0, crate::bits::lo32(leaf)), (0x18, 0xBAD)] {
                crate::bits::put(&mut entry, at, &word.to_le_bytes());
            }
            append(page, &entry);
        }
    }
}

fn append(page: &mut [u8; 4096], entry: &[u8]) {
    let count = crate::bits::u32_at(page, 0);
    let at = crate::bits::us(count.into());
    if at < ENTRIES {
        crate::bits::put(page, 16 + at * ENTRY, entry);
        crate::bits::put(page, 0, &(count + 1).to_le_bytes());
    }
}

impl Machine {
    /// CPUID by the host's word, which may be a lie.
    pub(crate) fn host_cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        let mut result = self.policy.leaf(leaf, subleaf);
        if leaf == 0x8000_001F {
            result.ebx = result.ebx & !0x3F | crate::bits::lo32(self.host_c_bit() & 0x3F);
        }
        result
    }
}
