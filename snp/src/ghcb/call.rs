//! Requests of the page protocol (GHCB specification, 4.1).

use super::exit::{Answer, GhcbError, code};
use super::msr::{self, PageState};
use super::page::{
    ANSWER_END, ANSWER_START, BUFFER, BUFFER_SIZE, Field, PROTOCOL_VERSION, USAGE, VALID_BITMAP, VERSION,
};
use super::{Hypervisor, SharedMemory};
use crate::bits::{high32, join, low32};
use crate::cpuid::CpuidRegisters;
use crate::rmp::{PageSize, Vmpl};

/// Width of an access to an I/O port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Width {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Dword = 4,
}

impl Width {
    const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self as u32)
    }
}

/// What AP_CREATE shall do with a VMSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ApCreation {
    /// Take the VMSA into use when the vCPU gets an INIT; the vCPU that asks registers its own lower VMPLs so.
    OnInit = 0,
    /// Start now.
    Immediately = 1,
    /// Forget the VMSA.
    Destroy = 2,
}

/// The host's answer to a guest request, if it came in the form that the specification gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestRequestResult {
    /// Both error fields are zero: the host says that the answer page holds the PSP's answer.
    Completed,
    /// The certificates need this many pages; the PSP was not asked.
    CertificatesTooSmall {
        /// 4 KiB pages, the host's word.
        pages: u64,
    },
    /// To be repeated later.
    Busy,
    /// The host names another error of its own.
    HypervisorError(u32),
    /// The host says that the PSP refused, with this status.
    FirmwareError(u32),
}

/// Where a guest request's pages are. All are shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestRequestPages {
    /// GPA of the request page.
    pub request: u64,
    /// GPA of the answer page, another one than the request's.
    pub answer: u64,
    /// GPA and number of contiguous pages for certificates; `None` makes a plain request.
    pub certificates: Option<(u64, u64)>,
}

/// An entry of a page state change list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageStateEntry {
    /// Address of the page, aligned to its size.
    pub gpa: u64,
    /// Size of the page.
    pub size: PageSize,
    /// What it shall become.
    pub state: PageState,
}

impl PageStateEntry {
    /// [11:0] current page (0), [51:12] gfn, [55:52] operation, [56] 2 MiB.
    fn encode(self) -> Result<u64, GhcbError> {
        if !self.gpa.is_multiple_of(self.size.bytes()) || self.gpa >> 52 != 0 {
            return Err(GhcbError::Argument);
        }
        Ok(self.gpa | u64::from(self.state as u8) << 52 | u64::from(self.size as u8) << 56)
    }
}

/// Entries in one page state change list.
pub const PSC_MAX: usize = (BUFFER_SIZE - PSC_HEADER) / 8;
const PSC_HEADER: usize = 8;
const _: () = assert!(PSC_MAX == 253);

/// Exits without a finished entry after which a page state change is given up. A 2 MiB entry may take the host one exit
/// for each of its 512 pages.
const PSC_PATIENCE: u32 = 512;

/// A registered GHCB page, and the way to the host.
#[derive(Debug)]
pub struct Ghcb<H, P> {
    hypervisor: H,
    page: P,
    gpa: u64,
}

impl<H: Hypervisor, P: SharedMemory> Ghcb<H, P> {
    /// Takes the page into use, which must already be shared with the host, and registers its GPA.
    ///
    /// # Errors
    /// Those of [`msr::register_ghcb`]; `Argument` if `page` is not 4 KiB.
    pub fn register(mut hypervisor: H, page: P, gpa: u64) -> Result<Self, GhcbError> {
        if page.len() != crate::PAGE_SIZE {
            return Err(GhcbError::Argument);
        }
        msr::register_ghcb(&mut hypervisor, gpa)?;
        Ok(Self { hypervisor, page, gpa })
    }

    /// The way to the host, for requests of the MSR protocol.
    pub const fn hypervisor(&mut self) -> &mut H {
        &mut self.hypervisor
    }

    /// The page's address.
    #[must_use]
    pub const fn gpa(&self) -> u64 {
        self.gpa
    }

    const fn buffer_gpa(&self) -> u64 {
        self.gpa + BUFFER as u64
    }

    /// Fills in the request, exits, and returns the answer's one private copy, result not yet checked.
    fn exit(&mut self, code: u64, info1: u64, info2: u64, fields: &[(Field, u64)]) -> Answer {
        let mut valid = 0;
        let header = [(Field::SwExitCode, code), (Field::SwExitInfo1, info1), (Field::SwExitInfo2, info2)];
        for (field, value) in header.iter().chain(fields) {
            self.page.write(field.offset(), &value.to_le_bytes());
            valid |= field.valid_bit();
        }
        self.page.write(VALID_BITMAP, &valid.to_le_bytes());
        self.page.write(PROTOCOL_VERSION, &VERSION.to_le_bytes());
        self.page.write(USAGE, &0_u32.to_le_bytes());
        self.hypervisor.page_call(self.gpa);
        let mut area = [0; ANSWER_END - ANSWER_START];
        self.page.read(ANSWER_START, &mut area);
        Answer::new(area)
    }

    /// [`Self::exit`], refusing everything but success.
    fn call(&mut self, code: u64, info1: u64, info2: u64, fields: &[(Field, u64)]) -> Result<Answer, GhcbError> {
        let answer = self.exit(code, info1, info2, fields);
        answer.check()?;
        Ok(answer)
    }

    /// OUT: writes the low bits of `value` to `port`.
    ///
    /// # Errors
    /// As all requests: `NotValid`, `Exception`, `Malformed`, `UnknownResult`.
    pub fn io_out(&mut self, port: u16, width: Width, value: u32) -> Result<(), GhcbError> {
        let fields = [(Field::Rax, u64::from(value) & width.mask())];
        self.call(code::IOIO, io_info(port, width), 0, &fields).map(drop)
    }

    /// IN: reads `port`. The value is the host's word.
    ///
    /// # Errors
    /// As all requests.
    pub fn io_in(&mut self, port: u16, width: Width) -> Result<u32, GhcbError> {
        const IN: u64 = 1;
        // RAX is an input too: the host merges a narrow read into it.
        let answer = self.call(code::IOIO, io_info(port, width) | IN, 0, &[(Field::Rax, 0)])?;
        Ok(low32(answer.field(Field::Rax)? & width.mask()))
    }

    /// Reads a device's register at `gpa`. The value is the host's word.
    ///
    /// # Errors
    /// As all requests.
    pub fn mmio_read(&mut self, gpa: u64, width: Width) -> Result<u32, GhcbError> {
        let scratch = (Field::SwScratch, self.buffer_gpa());
        self.page.write(BUFFER, &[0; 4]);
        self.call(code::MMIO_READ, gpa, width as u64, &[scratch])?;
        let mut value = [0; 4];
        self.page.read(BUFFER, &mut value);
        Ok(low32(u64::from(u32::from_le_bytes(value)) & width.mask()))
    }

    /// Writes the low bits of `value` to a device's register at `gpa`.
    ///
    /// # Errors
    /// As all requests.
    pub fn mmio_write(&mut self, gpa: u64, width: Width, value: u32) -> Result<(), GhcbError> {
        let scratch = (Field::SwScratch, self.buffer_gpa());
        self.page.write(BUFFER, &value.to_le_bytes());
        self.call(code::MMIO_WRITE, gpa, width as u64, &[scratch]).map(drop)
    }

    /// RDMSR. The value is the host's word.
    ///
    /// # Errors
    /// As all requests; #GP if the host does not know the MSR.
    pub fn rdmsr(&mut self, msr: u32) -> Result<u64, GhcbError> {
        let answer = self.call(code::MSR, 0, 0, &[(Field::Rcx, u64::from(msr))])?;
        Ok(join(low32(answer.field(Field::Rdx)?), low32(answer.field(Field::Rax)?)))
    }

    /// WRMSR.
    ///
    /// # Errors
    /// As all requests; #GP if the host does not know the MSR or refuses the value.
    pub fn wrmsr(&mut self, msr: u32, value: u64) -> Result<(), GhcbError> {
        let fields = [
            (Field::Rcx, u64::from(msr)),
            (Field::Rax, u64::from(low32(value))),
            (Field::Rdx, u64::from(high32(value))),
        ];
        self.call(code::MSR, 1, 0, &fields).map(drop)
    }

    /// CPUID from the host, for what the CPUID page leaves to it.
    ///
    /// # Errors
    /// As all requests.
    pub fn cpuid(&mut self, leaf: u32, subleaf: u32, xcr0: u64) -> Result<CpuidRegisters, GhcbError> {
        let fields = [(Field::Rax, u64::from(leaf)), (Field::Rcx, u64::from(subleaf)), (Field::Xcr0, xcr0)];
        let answer = self.call(code::CPUID, 0, 0, &fields)?;
        Ok(CpuidRegisters {
            eax: low32(answer.field(Field::Rax)?),
            ebx: low32(answer.field(Field::Rbx)?),
            ecx: low32(answer.field(Field::Rcx)?),
            edx: low32(answer.field(Field::Rdx)?),
        })
    }

    /// Changes the state of pages. When this returns `Ok` the host *says* that it did; PVALIDATE of each page shows
    /// whether it is true.
    ///
    /// The list is written anew from the private copy for each exit, since the host may stop early and may scribble on
    /// it.
    ///
    /// # Errors
    /// As all requests; `Argument`, `PageStateChange`, `PageStateHeader`. An unknown number of the pages then has
    /// changed.
    pub fn page_state_change(&mut self, entries: &[PageStateEntry]) -> Result<(), GhcbError> {
        entries.chunks(PSC_MAX).try_for_each(|list| self.page_state_list(list))
    }

    fn page_state_list(&mut self, list: &[PageStateEntry]) -> Result<(), GhcbError> {
        let end = u16::try_from(list.len() - 1).map_err(|_| GhcbError::Argument)?;
        let mut current = 0;
        let mut patience = PSC_PATIENCE;
        while current <= end {
            let next = self.page_state_exit(list, current, end)?;
            if next == current {
                patience = patience.checked_sub(1).ok_or(GhcbError::PageStateHeader)?;
            }
            current = next;
        }
        Ok(())
    }

    /// One exit: the whole list from the private copy, `current` to `end` inclusive to be done. Returns the host's new
    /// `current`, which is in `current..=end + 1`.
    fn page_state_exit(&mut self, list: &[PageStateEntry], current: u16, end: u16) -> Result<u16, GhcbError> {
        for (index, entry) in list.iter().enumerate() {
            self.page.write(BUFFER + PSC_HEADER + 8 * index, &entry.encode()?.to_le_bytes());
        }
        self.page.write(BUFFER, &psc_header(current, end));
        let scratch = (Field::SwScratch, self.buffer_gpa());
        let answer = self.call(code::PSC, 0, 0, &[scratch])?;
        match answer.field(Field::SwExitInfo2)? {
            0 => {}
            error => return Err(GhcbError::PageStateChange(error)),
        }
        let mut header = [0; PSC_HEADER];
        self.page.read(BUFFER, &mut header);
        let [low, high, rest @ ..] = header;
        let next = u16::from_le_bytes([low, high]);
        let unchanged = rest == psc_header(next, end)[2..];
        if unchanged && (current..=end + 1).contains(&next) { Ok(next) } else { Err(GhcbError::PageStateHeader) }
    }

    /// Passes a guest message to the PSP. What the answer page then holds is worth nothing until it is verified
    /// ([`crate::message`]).
    ///
    /// # Errors
    /// As all requests.
    pub fn guest_request(&mut self, pages: GuestRequestPages) -> Result<GuestRequestResult, GhcbError> {
        let answer = match pages.certificates {
            None => self.call(code::GUEST_REQUEST, pages.request, pages.answer, &[])?,
            Some((gpa, count)) => {
                let fields = [(Field::Rax, gpa), (Field::Rbx, count)];
                self.call(code::EXT_GUEST_REQUEST, pages.request, pages.answer, &fields)?
            }
        };
        let info2 = answer.field(Field::SwExitInfo2)?;
        Ok(match (high32(info2), low32(info2), pages.certificates) {
            (0, 0, _) => GuestRequestResult::Completed,
            (0, status, _) => GuestRequestResult::FirmwareError(status),
            (1, _, Some(_)) => GuestRequestResult::CertificatesTooSmall { pages: answer.field(Field::Rbx)? },
            (2, _, _) => GuestRequestResult::Busy,
            (error, _, _) => GuestRequestResult::HypervisorError(error),
        })
    }

    /// Gives the host the VMSA of a vCPU's VMPL, or takes it back.
    ///
    /// # Errors
    /// As all requests; `Argument` if `vmsa_gpa` is not page aligned.
    pub fn ap_create(
        &mut self,
        operation: ApCreation,
        vmpl: Vmpl,
        apic_id: u32,
        vmsa_gpa: u64,
        sev_features: u64,
    ) -> Result<(), GhcbError> {
        if !vmsa_gpa.is_multiple_of(crate::PAGE_SIZE as u64) {
            return Err(GhcbError::Argument);
        }
        let info1 = u64::from(operation as u8) | u64::from(vmpl.number()) << 16 | u64::from(apic_id) << 32;
        self.call(code::AP_CREATE, info1, vmsa_gpa, &[(Field::Rax, sev_features)]).map(drop)
    }

    /// Runs another VMPL on this vCPU until it comes back.
    ///
    /// # Errors
    /// As all requests.
    pub fn run_vmpl(&mut self, vmpl: Vmpl) -> Result<(), GhcbError> {
        self.call(code::RUN_VMPL, u64::from(vmpl.number()), 0, &[]).map(drop)
    }

    /// Makes the page at `gpa`, which must already be shared with the host, this vCPU's #HV doorbell page; the host
    /// must repeat the address exactly.
    ///
    /// # Errors
    /// As all requests; `Argument` if `gpa` is not page aligned, `Doorbell` with the host's address.
    pub fn set_doorbell(&mut self, gpa: u64) -> Result<(), GhcbError> {
        const SET: u64 = 1;
        if !gpa.is_multiple_of(crate::PAGE_SIZE as u64) {
            return Err(GhcbError::Argument);
        }
        match self.call(code::HV_DOORBELL, SET, gpa, &[])?.field(Field::SwExitInfo2)? {
            answer if answer == gpa => Ok(()),
            answer => Err(GhcbError::Doorbell(answer)),
        }
    }

    /// Has the host signal another processor's VMPL0 by #HV: an interrupt command for its APIC id.
    ///
    /// # Errors
    /// As all requests.
    pub fn signal(&mut self, apic_id: u32) -> Result<(), GhcbError> {
        self.call(code::HV_IPI, u64::from(apic_id) << 32 | SIGNAL_VECTOR, 0, &[]).map(drop)
    }

    /// Tells the host that a level-triggered interrupt that it had presented to `vmpl` has been served.
    ///
    /// # Errors
    /// As all requests.
    pub fn specific_eoi(&mut self, vmpl: Vmpl, vector: u8) -> Result<(), GhcbError> {
        let info1 = u64::from(vmpl.number()) << 16 | u64::from(vector);
        self.call(code::SPECIFIC_EOI, info1, 0, &[]).map(drop)
    }

    /// The host's feature bits (SW_EXITINFO2 of the answer); those of `needed` must be there.
    ///
    /// # Errors
    /// As all requests; `Features` with the missing bits.
    pub fn features(&mut self, needed: u64) -> Result<u64, GhcbError> {
        let answer = self.call(code::HV_FEATURES, 0, 0, &[])?;
        msr::require_features(answer.field(Field::SwExitInfo2)?, needed)
    }
}

/// The vector of [`Ghcb::signal`]: a fixed interrupt, which the doorbell page then has, and which means nothing.
const SIGNAL_VECTOR: u64 = 0x50;

/// SW_EXITINFO1 of IOIO: port in 31:16, width in 6:4.
const fn io_info(port: u16, width: Width) -> u64 {
    (port as u64) << 16 | (width as u64) << 4
}

/// u16 current entry, u16 last entry (inclusive), u32 reserved.
const fn psc_header(current: u16, end: u16) -> [u8; PSC_HEADER] {
    (current as u64 | (end as u64) << 16).to_le_bytes()
}
