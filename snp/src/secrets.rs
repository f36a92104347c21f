//! The secrets page (SNP firmware ABI, table 72, with the SVSM's part, SVSM specification, 5).

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::Zeroize;

use crate::message::Vmpck;
use crate::rmp::Vmpl;
use crate::{PAGE_SIZE, Page};

/// The page. It holds keys: neither printed nor cloned; its owner calls [`Secrets::wipe`] in the end.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Secrets {
    /// Version of the page.
    pub version: U32,
    /// Bit 0: IMI_EN.
    pub flags: U32,
    /// Family, model, stepping of the CPU.
    pub fms: U32,
    /// Zero.
    pub reserved_00c: U32,
    /// OS visible workarounds.
    pub gosvw: [u8; 16],
    vmpck: [[u8; 32]; 4],
    /// The guest's own area: sequence numbers, AP jump table.
    pub os_area: [u8; 96],
    /// VMSA tweak bitmap.
    pub vmsa_tweak: [u8; 64],
    /// GPA of the SVSM's memory.
    pub svsm_base: U64,
    /// Bytes of it.
    pub svsm_size: U64,
    /// GPA of the boot vCPU's calling area.
    pub svsm_caa: U64,
    /// Highest version of the SVSM's core protocol.
    pub svsm_max_version: U32,
    /// VMPL at which the guest runs.
    pub svsm_guest_vmpl: u8,
    /// Zero.
    pub reserved_15d: [u8; 3],
    /// TSC factor.
    pub tsc_factor: U32,
    /// Zero.
    pub reserved_164: [u8; PAGE_SIZE - 0x164],
}

const _: () = assert!(size_of::<Secrets>() == PAGE_SIZE);
const _: () = assert!(offset_of!(Secrets, gosvw) == 0x10);
const _: () = assert!(offset_of!(Secrets, vmpck) == 0x20);
const _: () = assert!(offset_of!(Secrets, os_area) == 0xA0);
const _: () = assert!(offset_of!(Secrets, vmsa_tweak) == 0x100);
const _: () = assert!(offset_of!(Secrets, svsm_base) == 0x140);
const _: () = assert!(offset_of!(Secrets, svsm_size) == 0x148);
const _: () = assert!(offset_of!(Secrets, svsm_caa) == 0x150);
const _: () = assert!(offset_of!(Secrets, svsm_max_version) == 0x158);
const _: () = assert!(offset_of!(Secrets, svsm_guest_vmpl) == 0x15C);
const _: () = assert!(offset_of!(Secrets, tsc_factor) == 0x160);

/// What a guest is told about its SVSM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SvsmArea {
    /// GPA of the SVSM's memory.
    pub base: u64,
    /// Bytes of it.
    pub size: u64,
    /// GPA of the boot vCPU's calling area.
    pub calling_area: u64,
    /// The guest's VMPL.
    pub guest_vmpl: Vmpl,
}

/// Version of the SVSM protocol that the page announces.
const SVSM_MAX_VERSION: u32 = 1;

impl Secrets {
    /// The page where the PSP put it. The caller wipes it there after its last use.
    pub fn from_page(page: &mut Page) -> &mut Self {
        zerocopy::transmute_mut!(page)
    }

    /// Moves the key of `vmpl` out, leaving zeros. `None` if it is not there (any more).
    pub fn take_vmpck(&mut self, vmpl: Vmpl) -> Option<Vmpck> {
        let key = self.vmpck.get_mut(usize::from(vmpl.number()))?;
        Vmpck::take(key, vmpl.number())
    }

    /// Writes the page for a guest at `svsm.guest_vmpl` to `out`: keys of more privileged levels are zero, and the SVSM
    /// is announced (SE-01).
    pub fn for_guest(&self, svsm: &SvsmArea, out: &mut Page) {
        let out = Self::from_page(out);
        out.zero();
        out.version = self.version;
        out.flags = self.flags;
        out.fms = self.fms;
        out.gosvw = self.gosvw;
        let own_and_below = usize::from(svsm.guest_vmpl.number());
        for (to, from) in out.vmpck.iter_mut().zip(&self.vmpck).skip(own_and_below) {
            *to = *from;
        }
        out.vmsa_tweak = self.vmsa_tweak;
        out.tsc_factor = self.tsc_factor;
        out.svsm_base = U64::new(svsm.base);
        out.svsm_size = U64::new(svsm.size);
        out.svsm_caa = U64::new(svsm.calling_area);
        out.svsm_max_version = U32::new(SVSM_MAX_VERSION);
        out.svsm_guest_vmpl = svsm.guest_vmpl.number();
    }

    /// Zeros the whole page.
    pub fn wipe(&mut self) {
        self.as_mut_bytes().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page without a zero byte in which no 32 bytes occur twice.
    fn page() -> Page {
        let mut state = 1_u32;
        core::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0] | 1
        })
    }

    const SVSM: SvsmArea =
        SvsmArea { base: 0x80_0000_0000, size: 0x80_0000, calling_area: 0x20_3000, guest_vmpl: Vmpl::Vmpl2 };

    /// SE-01: no key above the guest's level, byte for byte.
    #[test]
    fn guest_gets_its_own_and_lower_keys_only() {
        for vmpl in Vmpl::ALL {
            let mut source = page();
            let keys: [[u8; 32]; 4] = Secrets::from_page(&mut source).vmpck;
            let mut out = [0xFF; PAGE_SIZE];
            Secrets::from_page(&mut source).for_guest(&SvsmArea { guest_vmpl: vmpl, ..SVSM }, &mut out);
            for (level, key) in keys.iter().enumerate() {
                let given = out.windows(32).any(|window| window == key);
                assert_eq!(given, level >= usize::from(vmpl.number()), "key {level} for {vmpl:?}");
            }
        }
    }

    /// svsm-snp.md 2.6: the SVSM's fields, and everything after them zero.
    #[test]
    fn svsm_is_announced_at_0x140() {
        let mut source = page();
        let mut out = [0xFF; PAGE_SIZE];
        Secrets::from_page(&mut source).for_guest(&SVSM, &mut out);
        assert_eq!(out[0x140..0x148], 0x80_0000_0000_u64.to_le_bytes());
        assert_eq!(out[0x148..0x150], 0x80_0000_u64.to_le_bytes());
        assert_eq!(out[0x150..0x158], 0x20_3000_u64.to_le_bytes());
        assert_eq!(out[0x158..0x160], [1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(out[0x160..0x164], source[0x160..0x164]);
        assert!(out[0x164..].iter().all(|byte| *byte == 0));
        assert!(out[0xA0..0x100].iter().all(|byte| *byte == 0), "the guest starts with its own OS area");
        assert_eq!(out[..0x20], [&source[..0xC], &[0; 4], &source[0x10..0x20]].concat());
    }

    #[test]
    fn a_key_can_be_taken_once() {
        let mut source = page();
        let secrets = Secrets::from_page(&mut source);
        let key = secrets.take_vmpck(Vmpl::Vmpl1).expect("the page has keys");
        assert_eq!(key.number(), 1);
        assert!(secrets.take_vmpck(Vmpl::Vmpl1).is_none());
        assert!(source[0x40..0x60].iter().all(|byte| *byte == 0), "the key is still in the page");
        assert!(source[0x20..0x40].iter().all(|byte| *byte != 0), "another key was wiped");
    }

    #[test]
    fn wiping_leaves_nothing() {
        let mut source = page();
        Secrets::from_page(&mut source).wipe();
        assert_eq!(source, [0; PAGE_SIZE]);
    }
}
