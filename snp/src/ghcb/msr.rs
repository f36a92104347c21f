//! The MSR protocol: one 64-bit word each way, the low 12 bits say what it is (GHCB specification, 2.3.1).

use super::exit::GhcbError;
use super::{Hypervisor, page};
use crate::bits::{byte_at, high32, word_at};
use crate::cpuid::CpuidRegisters;
use crate::rmp::Vmpl;

/// The bits that tell requests and answers apart.
const INFO: u64 = 0xFFF;
const SEV_INFO_REQUEST: u64 = 0x002;
const SEV_INFO: u64 = 0x001;
const CPUID_REQUEST: u64 = 0x004;
const CPUID: u64 = 0x005;
const REGISTER_REQUEST: u64 = 0x012;
const REGISTER: u64 = 0x013;
const PSC_REQUEST: u64 = 0x014;
const PSC: u64 = 0x015;
const RUN_VMPL_REQUEST: u64 = 0x016;
const RUN_VMPL: u64 = 0x017;
const FEATURES_REQUEST: u64 = 0x080;
const FEATURES: u64 = 0x081;
const TERMINATE: u64 = 0x100;

/// Hypervisor feature bits (GHCB specification, 4.1.1, table 7).
pub mod feature {
    /// SEV-SNP.
    pub const SNP: u64 = 1;
    /// AP creation: the host takes VMSAs from the guest.
    pub const AP_CREATION: u64 = 1 << 1;
    /// Restricted injection.
    pub const RESTRICTED_INJECTION: u64 = 1 << 2;
    /// Timer for restricted injection.
    pub const RESTRICTED_INJECTION_TIMER: u64 = 1 << 3;
    /// APIC id list.
    pub const APIC_ID_LIST: u64 = 1 << 4;
    /// The host can run several VMPLs.
    pub const MULTI_VMPL: u64 = 1 << 5;
    /// Page state change by the page protocol.
    pub const PAGE_STATE_CHANGE: u64 = 1 << 6;
    /// Events for each VMPL in the doorbell page: what alternate injection needs.
    pub const EXTENDED_INTERRUPTS: u64 = 1 << 9;
    /// What an SVSM cannot do without. [`MULTI_VMPL`] is not among it: host kernels that run VMPLs were seen that do
    /// not name it, and one that does not run them refuses the creation of the guest's.
    pub const NEEDED: u64 = SNP | AP_CREATION;
}

/// What a page shall become; the value is the operation code of both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageState {
    /// Assigned to the guest.
    Private = 1,
    /// The host's.
    Shared = 2,
}

/// Answer to the SEV information request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SevInformation {
    /// Lowest protocol version of the host.
    pub min_version: u16,
    /// Highest protocol version of the host.
    pub max_version: u16,
    /// Position of the C-bit in a page-table entry.
    pub c_bit: u8,
}

/// Makes a request and returns the answer's bits 63:12, if the answer is of the kind `answer`.
fn call(hypervisor: &mut impl Hypervisor, request: u64, answer: u64) -> Result<u64, GhcbError> {
    let word = hypervisor.msr_call(request);
    if word & INFO == answer { Ok(word >> 12) } else { Err(GhcbError::MsrAnswer(word)) }
}

/// Negotiates the protocol: the host must take version 2, and name the C-bit that the CPUID page names.
///
/// # Errors
/// `MsrAnswer`, `Version`, `CBit`.
pub fn negotiate(hypervisor: &mut impl Hypervisor, c_bit: u8) -> Result<SevInformation, GhcbError> {
    let word = call(hypervisor, SEV_INFO_REQUEST, SEV_INFO)? << 12;
    let information =
        SevInformation { min_version: word_at(word, 32), max_version: word_at(word, 48), c_bit: byte_at(word, 24) };
    let (min, max) = (information.min_version, information.max_version);
    if min > page::VERSION || max < page::VERSION {
        return Err(GhcbError::Version { min, max });
    }
    if information.c_bit != c_bit {
        return Err(GhcbError::CBit(information.c_bit));
    }
    Ok(information)
}

/// CPUID from the host, leaf only. Not to be believed where the CPUID page has an answer.
///
/// # Errors
/// `MsrAnswer`.
pub fn cpuid(hypervisor: &mut impl Hypervisor, leaf: u32) -> Result<CpuidRegisters, GhcbError> {
    let mut register = |number: u64| {
        let request = u64::from(leaf) << 32 | number << 30 | CPUID_REQUEST;
        let word = hypervisor.msr_call(request);
        // The answer repeats the register's number in bits 31:30; bits 29:12 are reserved.
        if word & 0xFFFF_FFFF == number << 30 | CPUID { Ok(high32(word)) } else { Err(GhcbError::MsrAnswer(word)) }
    };
    Ok(CpuidRegisters { eax: register(0)?, ebx: register(1)?, ecx: register(2)?, edx: register(3)? })
}

/// Registers the page at `gpa` as this vCPU's GHCB; the host must repeat the address exactly.
///
/// # Errors
/// `Argument` if `gpa` is not page aligned, `MsrAnswer`.
pub fn register_ghcb(hypervisor: &mut impl Hypervisor, gpa: u64) -> Result<(), GhcbError> {
    if gpa & INFO != 0 {
        return Err(GhcbError::Argument);
    }
    let word = hypervisor.msr_call(gpa | REGISTER_REQUEST);
    if word == gpa | REGISTER { Ok(()) } else { Err(GhcbError::MsrAnswer(word)) }
}

/// Changes the state of one 4 KiB page. The page must then be validated, or have been invalidated before.
///
/// # Errors
/// `Argument` if `gpa` is not page aligned or beyond 52 bits, `MsrAnswer`, `PageStateChange`.
pub fn page_state_change(hypervisor: &mut impl Hypervisor, gpa: u64, state: PageState) -> Result<(), GhcbError> {
    if gpa & INFO != 0 || gpa >> 52 != 0 {
        return Err(GhcbError::Argument);
    }
    match call(hypervisor, u64::from(state as u8) << 52 | gpa | PSC_REQUEST, PSC)? {
        0 => Ok(()),
        error => Err(GhcbError::PageStateChange(error)),
    }
}

/// Runs another VMPL on this vCPU until it comes back.
///
/// # Errors
/// `MsrAnswer`, also if bits 63:12 of the answer are not zero.
pub fn run_vmpl(hypervisor: &mut impl Hypervisor, vmpl: Vmpl) -> Result<(), GhcbError> {
    ran_vmpl(hypervisor.msr_call(run_vmpl_request(vmpl)))
}

/// The request of [`run_vmpl`].
#[must_use]
pub const fn run_vmpl_request(vmpl: Vmpl) -> u64 {
    (vmpl.number() as u64) << 32 | RUN_VMPL_REQUEST
}

/// The answer to it.
///
/// # Errors
/// As [`run_vmpl`].
pub const fn ran_vmpl(answer: u64) -> Result<(), GhcbError> {
    if answer == RUN_VMPL { Ok(()) } else { Err(GhcbError::MsrAnswer(answer)) }
}

/// The host's feature bits; those of `needed` must be there.
///
/// # Errors
/// `MsrAnswer`, `Features` with the missing bits.
pub fn features(hypervisor: &mut impl Hypervisor, needed: u64) -> Result<u64, GhcbError> {
    let features = call(hypervisor, FEATURES_REQUEST, FEATURES)?;
    require_features(features, needed)
}

pub(crate) const fn require_features(features: u64, needed: u64) -> Result<u64, GhcbError> {
    match needed & !features {
        0 => Ok(features),
        missing => Err(GhcbError::Features(missing)),
    }
}

/// The word that asks for the end of the guest: reason set in bits 15:12, code in 23:16.
#[must_use]
pub const fn termination(set: u8, code: u8) -> u64 {
    TERMINATE | (set as u64 & 0xF) << 12 | (code as u64) << 16
}
