//! The way to the host: a GHCB and the pages for guest messages, shared; the guest's register state; reports.

use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;

use arch::cell::TakeOnce;
use arch::layout::gpa_of;
use arch::memory::Memory;
use kernel::attest::{Certificates, ReportError, Reports};
use kernel::console;
use kernel::fatal::{Fatal, Reason};
use kernel::mm::{Attributes, GUEST_VMPL, LARGE_PAGE_SIZE, PAGE, PAGE_SIZE, PageSize, Pvalidated, Region, Vmpl};
use kernel::svsm::apic::Wires;
use snp::ghcb::call::{ApCreation, GuestRequestPages, PSC_MAX, PageStateEntry};
use snp::ghcb::doorbell::Presented;
use snp::ghcb::msr::{self, PageState, feature};
use snp::ghcb::{Ghcb, SharedMemory};
use snp::instr::{Hardware, MSR_SEV_STATUS, SharedBytes, access, rdmsr};
use snp::message::channel::CertificateResult;
use snp::message::report::KeySelect;
use snp::message::{Channel, GhcbTransport};
use snp::report::Report;
use snp::vmsa::Vmsa;
use spin::Mutex;
use zerocopy::IntoBytes;

const CERTIFICATE_PAGES: usize = 4;
/// GHCB, request, answer, certificates.
const SHARED_PAGES: usize = 3 + CERTIFICATE_PAGES;

#[repr(C, align(4096))]
struct Own<const N: usize>([u8; N]);

static SHARED: TakeOnce<Own<{ SHARED_PAGES * PAGE }>> = TakeOnce::new(Own([0; SHARED_PAGES * PAGE]));
/// Two pages, of which one at least is not at a 2 MiB boundary, where hardware fails with a register state.
static VMSA: TakeOnce<Own<{ 2 * PAGE }>> = TakeOnce::new(Own([0; 2 * PAGE]));

/// SEV_FEATURES.
pub(crate) fn sev_features() -> u64 {
    // SAFETY: reading the MSR has no effect, and a guest that got here may.
    unsafe { rdmsr(MSR_SEV_STATUS) >> 2 }
}

/// The GHCB of the only processor.
pub(crate) struct Host {
    ghcb: Ghcb<Hardware, SharedBytes>,
    /// The guest has had the host take the GHCB's page: it is run by the MSR protocol next.
    by_msr: bool,
}

/// Shared pages for guest messages.
pub(crate) struct Messages {
    request: SharedBytes,
    answer: SharedBytes,
    table: SharedBytes,
    pages: GuestRequestPages,
}

impl Host {
    /// Shares the pages and registers the GHCB.
    pub(crate) fn connect(memory: &mut Memory, c_bit: u32) -> Result<(Host, Messages), Fatal> {
        let failed = || Fatal::plain(Reason::Protocol)();
        let start = NonNull::from(SHARED.take().ok_or_else(failed)?).cast::<u8>();
        // SAFETY: the one `Hardware` of this processor; what is asked of it concerns the shared pages, or the guest.
        let mut hardware = unsafe { Hardware::new() };
        let c_bit = u8::try_from(c_bit).map_err(|_| failed())?;
        msr::negotiate(&mut hardware, c_bit).map_err(Fatal::because(Reason::Protocol))?;
        msr::features(&mut hardware, feature::NEEDED).map_err(Fatal::because(Reason::Features))?;
        let address = start.as_ptr() as u64;
        for page in 0..SHARED_PAGES as u64 {
            // SAFETY: `SHARED` was taken above, and is reached through `SharedBytes` alone from here on.
            let changed = unsafe { memory.unvalidate_own(address + page * PAGE_SIZE) };
            if changed != Ok(Pvalidated::Changed) {
                return Err(Fatal::plain(Reason::PageState)());
            }
            msr::page_state_change(&mut hardware, gpa_of(address) + page * PAGE_SIZE, PageState::Shared)
                .map_err(Fatal::because(Reason::PageState))?;
        }
        // SAFETY: shared above, mapped without the C-bit, and each page goes to one of these.
        let part = |first: usize, pages: usize| unsafe { SharedBytes::new(start.add(first * PAGE), pages * PAGE) };
        let gpa = |page: u64| gpa_of(address) + page * PAGE_SIZE;
        let ghcb = Ghcb::register(hardware, part(0, 1), gpa(0)).map_err(Fatal::because(Reason::Protocol))?;
        let certificates = Some((gpa(3), CERTIFICATE_PAGES as u64));
        let pages = GuestRequestPages { request: gpa(1), answer: gpa(2), certificates };
        let messages = Messages { request: part(1, 1), answer: part(2, 1), table: part(3, CERTIFICATE_PAGES), pages };
        Ok((Host { ghcb, by_msr: false }, messages))
    }

    /// A line on the console.
    pub(crate) fn say(&mut self, word: &str, text: fmt::Arguments<'_>) {
        console::line(&mut self.ghcb, word, text);
    }

    /// Asks for `region` as private memory.
    pub(crate) fn make_private(&mut self, region: Region) -> Result<(), Fatal> {
        let mut list = heapless::Vec::<PageStateEntry, PSC_MAX>::new();
        let mut gpa = region.start();
        while gpa < region.end() {
            let is_large = gpa.is_multiple_of(LARGE_PAGE_SIZE) && region.end() - gpa >= LARGE_PAGE_SIZE;
            let size = if is_large { PageSize::Size2M } else { PageSize::Size4K };
            let _ = list.push(PageStateEntry { gpa, size, state: PageState::Private });
            gpa += size.bytes();
            if list.is_full() || gpa >= region.end() {
                self.ghcb.page_state_change(&list).map_err(Fatal::because(Reason::PageState))?;
                list.clear();
            }
        }
        Ok(())
    }

    /// Makes a page of ours the register state of the guest's first vCPU; its GPA.
    pub(crate) fn start_guest(&mut self, vmsa: &Vmsa) -> Result<u64, Fatal> {
        let failed = Fatal::because(Reason::GuestStart);
        let pages = VMSA.take().ok_or_else(Fatal::plain(Reason::GuestStart))?;
        let (first, second) = pages.0.split_at_mut(PAGE);
        let page = if gpa_of(first.as_ptr() as u64).is_multiple_of(LARGE_PAGE_SIZE) { second } else { first };
        page.copy_from_slice(vmsa.as_bytes());
        let address = page.as_ptr() as u64;
        // SAFETY: our own page, to which the one reference has ended; it is a VMSA from here on, and no Rust object.
        unsafe { access::rmpadjust(address, PageSize::Size4K, Attributes::vmsa(GUEST_VMPL)) }.map_err(failed)?;
        let started = self.ghcb.ap_create(ApCreation::OnInit, GUEST_VMPL, 0, gpa_of(address), vmsa.sev_features.get());
        started.map_err(Fatal::because(Reason::GuestStart))?;
        Ok(gpa_of(address))
    }

    /// Runs the guest until it comes back. A GHCB without a good answer counts as that.
    pub(crate) fn run_guest(&mut self) -> Result<(), Fatal> {
        if core::mem::take(&mut self.by_msr) {
            return msr::run_vmpl(self.ghcb.hypervisor(), GUEST_VMPL).map_err(Fatal::because(Reason::RunGuest));
        }
        self.by_msr = self.ghcb.run_vmpl(GUEST_VMPL).is_err();
        Ok(())
    }
}

/// Reports by VMPL0's channel.
pub(crate) struct Psp<'a> {
    pub(crate) host: &'a Mutex<Host>,
    pub(crate) channel: Box<Channel>,
    pub(crate) messages: Messages,
}

impl Reports for Psp<'_> {
    fn report(&mut self, data: &[u8; 64], wanted: Option<&mut Certificates>) -> Result<Report, ReportError> {
        let Messages { request, answer, table, pages } = &mut self.messages;
        let ghcb = &mut self.host.lock().ghcb;
        let transport = &mut GhcbTransport { ghcb, request, answer, pages: *pages };
        let key = KeySelect::VlekElseVcek;
        let Some(wanted) = wanted else {
            return self.channel.report(transport, data, Vmpl::Vmpl0, key).map_err(ReportError::Message);
        };
        (0..CERTIFICATE_PAGES).for_each(|page| table.write(page * PAGE, &[0; PAGE]));
        let got = self.channel.report_with_certificates(transport, data, Vmpl::Vmpl0, key);
        let (report, result) = got.map_err(ReportError::Message)?;
        if result == CertificateResult::Written {
            wanted.fill(|out| table.read(0, out));
        }
        Ok(report)
    }
}

/// The guest has no alternate injection, so there is nothing to present.
pub(crate) struct NoWires;

impl Wires for NoWires {
    fn presented(&mut self) -> Presented {
        Presented::default()
    }

    fn end_of_level(&mut self, _vector: u8) {}

    fn signal(&mut self, _apic_id: u32) {}
}
