//! CPUID as the machine offers it: QEMU's processor, without what its TCG cannot keep, with the leaves of an SEV-SNP guest.

use crate::cpu::cpuid;
use crate::log::bad_launch;
use crate::machine::Machine;
use crate::npt::C_BIT;
use core::arch::x86_64::CpuidResult;

/// Highest basic leaf: XSAVE's (0xD) is beyond, because QEMU's TCG has no XSAVEC.
const MAX_BASIC: u32 = 0xB;
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

/// What the secure processor would let a hypervisor tell the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    no_rdseed: bool,
    no_rdrand: bool,
    repeats: Option<u64>,
    contradicts: Option<u64>,
}

impl Policy {
    /// With what the host lies about.
    pub(crate) fn new(lies: &crate::config::Lies) -> Self {
        Self {
            no_rdseed: lies.no_rdseed.is_some(),
            no_rdrand: lies.no_rdrand.is_some(),
            repeats: lies.cpuid_repeats,
            contradicts: lies.cpuid_contradicts,
        }
    }

    /// A leaf, corrected.
    pub(crate) fn leaf(self, leaf: u32, subleaf: u32) -> CpuidResult {
        const XSAVE_AVX_FMA_F16C: u32 = 1 << 26 | 1 << 27 | 1 << 28 | 1 << 12 | 1 << 29;
        const RDSEED: u32 = 1 << 18;
        const RDRAND: u32 = 1 << 30;
        const AVX2: u32 = 1 << 5;
        const VAES_VPCLMUL_LA57: u32 = 1 << 9 | 1 << 10 | 1 << 16;
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
                result.ecx &= !VAES_VPCLMUL_LA57;
                result.ebx &= if self.no_rdseed { !RDSEED } else { u32::MAX };
            }
            0x8000_0000 => result.eax = MAX_EXTENDED,
            0x8000_0001 => result.ecx &= !SVM,
            0x8000_000A => result = NONE,
            // EBX: position of the C-bit, and by how many bits it makes physical addresses shorter.
            0x8000_001F => {
                result = CpuidResult { eax: SEV_ES_SNP_VMPL, ebx: crate::bits::lo32(C_BIT) | 1 << 6, ecx: 0, edx: 0 }
            }
            _ => {}
        }
        result
    }

    /// Corrects the CPUID page of the image: known leaves get their true values; an empty page gets the default leaves.
    pub(crate) fn correct(self, page: &mut [u8; 4096]) {
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
        let first: [u8; 2 * ENTRY] = crate::bits::array(page, 16);
        if let Some(last) = self.repeats {
            first.chunks_exact(ENTRY).for_each(|entry| append(page, entry));
            for subleaf in 0..=crate::bits::lo32(last) {
                let mut entry = [0; ENTRY];
                for (at, word) in [(0, 4), (4, subleaf), (0x18, 0x100 + subleaf)] {
                    crate::bits::put(&mut entry, at, &word.to_le_bytes());
                }
                append(page, &entry);
            }
        }
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
