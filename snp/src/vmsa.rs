//! The VM save area of a vCPU (APM volume 2, table B-4), the states in which a guest starts, and the checks of a VMSA
//! that a guest offers.

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::rmp::Vmpl;

/// SEV_FEATURES bits.
pub mod features {
    /// SEV-SNP is active.
    pub const SNP: u64 = 1;
    /// Virtual top of memory.
    pub const VTOM: u64 = 1 << 1;
    /// #VC is reflected to a more privileged VMPL.
    pub const REFLECT_VC: u64 = 1 << 2;
    /// Restricted injection.
    pub const RESTRICTED_INJECTION: u64 = 1 << 3;
    /// Alternate injection.
    pub const ALTERNATE_INJECTION: u64 = 1 << 4;
    /// Debug registers are swapped.
    pub const DEBUG_SWAP: u64 = 1 << 5;
    /// The host cannot use IBS while the guest runs.
    pub const PREVENT_HOST_IBS: u64 = 1 << 6;
    /// Branch target buffer isolation.
    pub const BTB_ISOLATION: u64 = 1 << 7;
    /// Supervisor shadow stacks per VMPL.
    pub const VMPL_SSS: u64 = 1 << 8;
    /// Secure TSC.
    pub const SECURE_TSC: u64 = 1 << 9;
    /// VMGEXIT parameter.
    pub const VMGEXIT_PARAMETER: u64 = 1 << 10;
    /// VMSA register protection.
    pub const VMSA_REGISTER_PROTECTION: u64 = 1 << 14;
    /// SMT protection.
    pub const SMT_PROTECTION: u64 = 1 << 15;

    /// Features that a guest may choose for its vCPUs: they concern only itself.
    pub const GUEST_CHOICE: u64 = RESTRICTED_INJECTION | DEBUG_SWAP | PREVENT_HOST_IBS | BTB_ISOLATION | VMPL_SSS;
}

/// EFER.SVME: set in every VMSA that the CPU shall run; clearing it keeps the vCPU from running while the SVSM works on
/// the VMSA.
pub const EFER_SVME: u64 = 1 << 12;

/// A segment register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: U16,
    /// Type, S, DPL, P in bits 7:0; AVL, L, D/B, G in 11:8.
    pub attributes: U16,
    /// Limit in bytes.
    pub limit: U32,
    /// Base.
    pub base: U64,
}

const _: () = assert!(size_of::<Segment>() == 16);

impl Segment {
    /// As the VMSA holds it.
    #[must_use]
    pub const fn new(selector: u16, attributes: u16, limit: u32, base: u64) -> Self {
        Self {
            selector: U16::new(selector),
            attributes: U16::new(attributes),
            limit: U32::new(limit),
            base: U64::new(base),
        }
    }
}

/// The page. Gaps are reserved, or state that this project does not look at.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the manual's")]
pub struct Vmsa {
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub gdtr: Segment,
    pub ldtr: Segment,
    pub idtr: Segment,
    pub tr: Segment,
    pub gap_0a0: [u8; 0xCA - 0xA0],
    pub vmpl: u8,
    pub cpl: u8,
    pub gap_0cc: [u8; 4],
    pub efer: U64,
    pub gap_0d8: [u8; 0x140 - 0xD8],
    pub xss: U64,
    pub cr4: U64,
    pub cr3: U64,
    pub cr0: U64,
    pub dr7: U64,
    pub dr6: U64,
    pub rflags: U64,
    pub rip: U64,
    pub gap_180: [u8; 0x1D8 - 0x180],
    pub rsp: U64,
    pub gap_1e0: [u8; 0x1F8 - 0x1E0],
    pub rax: U64,
    pub star: U64,
    pub lstar: U64,
    pub cstar: U64,
    pub sfmask: U64,
    pub kernel_gs_base: U64,
    pub sysenter_cs: U64,
    pub sysenter_esp: U64,
    pub sysenter_eip: U64,
    pub cr2: U64,
    pub gap_248: [u8; 0x268 - 0x248],
    pub g_pat: U64,
    pub gap_270: [u8; 0x308 - 0x270],
    pub rcx: U64,
    pub rdx: U64,
    pub rbx: U64,
    pub gap_320: [u8; 8],
    pub rbp: U64,
    pub rsi: U64,
    pub rdi: U64,
    pub r8: U64,
    pub r9: U64,
    pub r10: U64,
    pub r11: U64,
    pub r12: U64,
    pub r13: U64,
    pub r14: U64,
    pub r15: U64,
    pub gap_380: [u8; 16],
    pub guest_exit_info_1: U64,
    pub guest_exit_info_2: U64,
    pub guest_exit_int_info: U64,
    pub guest_nrip: U64,
    pub sev_features: U64,
    pub vintr_ctrl: U64,
    pub guest_exit_code: U64,
    pub virtual_tom: U64,
    pub gap_3d0: [u8; 16],
    pub event_inj: U64,
    pub xcr0: U64,
    pub gap_3f0: [u8; 0x408 - 0x3F0],
    pub mxcsr: U32,
    pub x87_ftw: U16,
    pub x87_fsw: U16,
    pub x87_fcw: U16,
    pub gap_412: [u8; crate::PAGE_SIZE - 0x412],
}

macro_rules! vmsa_offsets {
    ($($field:ident $offset:literal),* $(,)?) => {
        $(const _: () = assert!(offset_of!(Vmsa, $field) == $offset);)*
    };
}

const _: () = assert!(size_of::<Vmsa>() == crate::PAGE_SIZE);
vmsa_offsets! {
    es 0x000, cs 0x010, ss 0x020, ds 0x030, fs 0x040, gs 0x050, gdtr 0x060, ldtr 0x070, idtr 0x080, tr 0x090,
    vmpl 0x0CA, cpl 0x0CB, efer 0x0D0, xss 0x140, cr4 0x148, cr3 0x150, cr0 0x158, dr7 0x160, dr6 0x168,
    rflags 0x170, rip 0x178, rsp 0x1D8, rax 0x1F8, star 0x200, sfmask 0x218, kernel_gs_base 0x220,
    sysenter_cs 0x228, sysenter_eip 0x238, cr2 0x240, g_pat 0x268, rcx 0x308, rdx 0x310, rbx 0x318,
    rbp 0x328, rsi 0x330, rdi 0x338, r8 0x340, r15 0x378, guest_exit_info_1 0x390, guest_exit_info_2 0x398,
    guest_exit_int_info 0x3A0, guest_nrip 0x3A8, sev_features 0x3B0, vintr_ctrl 0x3B8, guest_exit_code 0x3C0,
    virtual_tom 0x3C8, event_inj 0x3E0, xcr0 0x3E8, mxcsr 0x408, x87_ftw 0x40C, x87_fcw 0x410,
}

/// SEV_FEATURES for a guest below an SVSM whose own are `own`: the same, without what concerns the SVSM's own
/// interrupts and debug registers.
#[must_use]
pub const fn guest_features(own: u64) -> u64 {
    own & !(features::RESTRICTED_INJECTION | features::DEBUG_SWAP)
}

impl Vmsa {
    /// What all starting states share: the reset values of APM volume 2, 14.1.3. EFER.SVME is clear: the caller sets it
    /// with [`Self::set_runnable`] just before the vCPU may run.
    fn reset(vmpl: Vmpl, sev_features: u64) -> Self {
        let mut vmsa = Self::new_zeroed();
        vmsa.ldtr = Segment::new(0, 0x82, 0xFFFF, 0);
        vmsa.tr = Segment::new(0, 0x8B, 0xFFFF, 0);
        vmsa.gdtr.limit = U32::new(0xFFFF);
        vmsa.idtr.limit = U32::new(0xFFFF);
        vmsa.vmpl = vmpl.number();
        vmsa.sev_features = U64::new(sev_features);
        vmsa.rflags = U64::new(2);
        vmsa.dr6 = U64::new(0xFFFF_0FF0);
        vmsa.dr7 = U64::new(0x400);
        vmsa.g_pat = U64::new(0x0007_0406_0007_0406);
        vmsa.xcr0 = U64::new(1);
        vmsa.mxcsr = U32::new(0x1F80);
        vmsa.x87_ftw = U16::new(0x5555);
        vmsa.x87_fcw = U16::new(0x40);
        vmsa
    }

    fn set_data_segments(&mut self, segment: Segment) {
        (self.ds, self.es, self.fs, self.gs, self.ss) = (segment, segment, segment, segment, segment);
    }

    /// A vCPU at the reset vector: real mode, CS base in the upper and IP in the lower half of `reset_ip` (0xFFFFFFF0
    /// for a firmware below 4 GiB).
    #[must_use]
    pub fn real_mode(vmpl: Vmpl, sev_features: u64, reset_ip: u32) -> Self {
        let mut vmsa = Self::reset(vmpl, sev_features);
        vmsa.cr0 = U64::new(0x6000_0010);
        vmsa.cs = Segment::new(0xF000, 0x9B, 0xFFFF, u64::from(reset_ip & 0xFFFF_0000));
        vmsa.set_data_segments(Segment::new(0, 0x93, 0xFFFF, 0));
        vmsa.rip = U64::new(u64::from(reset_ip & 0xFFFF));
        vmsa
    }

    /// A vCPU in 32-bit protected mode, paging off, flat segments (selectors 0x08 and 0x10, as KVM and QEMU give them).
    #[must_use]
    pub fn protected_mode_32(vmpl: Vmpl, sev_features: u64, rip: u64, rsp: u64) -> Self {
        let mut vmsa = Self::reset(vmpl, sev_features);
        vmsa.cr0 = U64::new(0x31);
        vmsa.cs = Segment::new(0x08, 0xC9B, 0xFFFF_FFFF, 0);
        vmsa.set_data_segments(Segment::new(0x10, 0xC93, 0xFFFF_FFFF, 0));
        vmsa.rip = U64::new(rip);
        vmsa.rsp = U64::new(rsp);
        vmsa
    }

    /// A vCPU in 64-bit mode on the page tables at `cr3` (with the C-bit), flat segments (selectors 0x10 and 0x18,
    /// those of the Linux boot protocol), interrupts off. There is no GDT behind them: the code loads its own before it
    /// loads a segment.
    #[must_use]
    pub fn long_mode_64(vmpl: Vmpl, sev_features: u64, cr3: u64, rip: u64, rsp: u64) -> Self {
        let mut vmsa = Self::reset(vmpl, sev_features);
        // PG, WP, NE, ET, MP, PE; PAE; NXE, LMA, LME.
        vmsa.cr0 = U64::new(0x8001_0033);
        vmsa.cr4 = U64::new(0x20);
        vmsa.efer = U64::new(0xD00);
        vmsa.cr3 = U64::new(cr3);
        vmsa.cs = Segment::new(0x10, 0xA9B, 0xFFFF_FFFF, 0);
        vmsa.set_data_segments(Segment::new(0x18, 0xC93, 0xFFFF_FFFF, 0));
        vmsa.rip = U64::new(rip);
        vmsa.rsp = U64::new(rsp);
        vmsa
    }

    /// Sets or clears EFER.SVME.
    pub fn set_runnable(&mut self, runnable: bool) {
        let efer = self.efer.get() & !EFER_SVME;
        self.efer = U64::new(if runnable { efer | EFER_SVME } else { efer });
    }

    /// Checks a VMSA that a guest at `caller` offers for a new vCPU (core call CREATE_VCPU). `required` are the
    /// SEV_FEATURES that the SVSM gave the guest; outside of [`features::GUEST_CHOICE`] the offered ones must equal
    /// them.
    ///
    /// # Errors
    /// The first rule that does not hold. The SVSM answers INVALID_PARAMETER.
    pub fn check_offered(&self, caller: Vmpl, required: u64) -> Result<(), VmsaError> {
        let offered = self.sev_features.get();
        if self.vmpl != caller.number() {
            return Err(VmsaError::Vmpl(self.vmpl));
        }
        if offered & features::SNP == 0 || (offered ^ required) & !features::GUEST_CHOICE != 0 {
            return Err(VmsaError::Features(offered));
        }
        if self.efer.get() & EFER_SVME == 0 {
            return Err(VmsaError::Svme);
        }
        if self.virtual_tom != 0 {
            return Err(VmsaError::VirtualTom);
        }
        Ok(())
    }
}

/// Why a VMSA that a guest offers is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmsaError {
    /// It is for another VMPL.
    Vmpl(u8),
    /// SEV_FEATURES that the guest may not choose.
    Features(u64),
    /// EFER.SVME is clear: the CPU would refuse to run it.
    Svme,
    /// VIRTUAL_TOM is set, and vTOM is not in use.
    VirtualTom,
}

crate::error_words! { VmsaError {
    Self::Vmpl(vmpl) => "it is for VMPL{vmpl}",
    Self::Features(features) => "it has SEV features that the guest may not choose: {features:#x}",
    Self::Svme => "EFER.SVME is clear",
    Self::VirtualTom => "it has a virtual TOM",
} }
