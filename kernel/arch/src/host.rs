//! The way to the host: GHCB, console, guest messages. Each processor has a GHCB, behind a lock, so that even a fatal
//! condition can be told; the pages for guest messages go with the one channel to the PSP.

use alloc::boxed::Box;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

use kernel::attest::{Certificates, ReportError, Reports};
use kernel::clock::measure_khz;
use kernel::console;
use kernel::fatal::{Fatal, Reason};
use kernel::mm::{Attributes, GUEST_VMPL, PAGE, PAGE_SIZE, PageSize, Permissions, Pvalidated, Region, Vmpl};
use kernel::policy::{Otherwise, Steady};
use snp::ghcb::call::{ApCreation, GuestRequestPages, PageStateEntry, Width};
use snp::ghcb::doorbell::Presented;
use snp::ghcb::exit::GhcbError;
use snp::ghcb::msr::{self, PageState};
use snp::ghcb::{Ghcb, SharedMemory};
use snp::instr::{Hardware, MSR_SEV_STATUS, SharedBytes, rdmsr, rdtsc, snp_active};
use snp::message::channel::CertificateResult;
use snp::message::key::{DerivedKey, KeyRequest};
use snp::message::report::KeySelect;
use snp::message::{Channel, GhcbTransport};
use snp::report::Report;
use spin::Mutex;

use crate::cell::TakeOnce;
use crate::hv::Doorbell;
use crate::memory::Memory;
use crate::{layout, processor};

/// Pages for the host's certificates.
const CERTIFICATE_PAGES: usize = 4;
const SHARED_PAGES: usize = 3 + CERTIFICATE_PAGES;

/// The only memory of the firmware that leaves private use.
#[repr(C, align(4096))]
struct Shared([u8; SHARED_PAGES * PAGE]);

static SHARED: TakeOnce<Shared> = TakeOnce::new(Shared([0; SHARED_PAGES * PAGE]));

/// Lines do not run into each other.
static CONSOLE: Mutex<()> = Mutex::new(());

/// A registered GHCB.
pub struct Host {
    ghcb: Ghcb<Hardware, SharedBytes>,
    /// The guest is to be run by the MSR protocol: the page's last answer was none.
    run_by_msr: bool,
    /// Where VMPL0 has restricted injection.
    doorbell: Option<Doorbell>,
}

/// The shared pages for guest messages.
pub struct MessagePages {
    request: SharedBytes,
    answer: SharedBytes,
    certificates: SharedBytes,
    pages: GuestRequestPages,
}

/// What [`connect`] finds.
pub struct Connected {
    /// GPA of the GHCB.
    pub ghcb: u64,
    /// The host's features.
    pub features: u64,
    /// The pages for guest messages.
    pub messages: MessagePages,
}

/// SEV_STATUS, if SNP is active.
pub fn sev_status() -> Result<u64, Fatal> {
    // SAFETY: a guest that got here by the stub's VMGEXIT-free way runs at CPL 0; reading the MSR has no effect, and an
    // SEV guest's read is never intercepted.
    let status = unsafe { rdmsr(MSR_SEV_STATUS) };
    if snp_active(status) {
        Ok(status)
    } else {
        Err(Fatal::new(Reason::NotSnp, format_args!("SEV_STATUS {status:#x}")))
    }
}

/// Negotiates, shares the pages, registers the GHCB of the processor that boots.
pub fn connect(memory: &mut Memory, c_bit: u8) -> Result<Connected, Fatal> {
    let shared = SHARED.take().ok_or_else(Fatal::plain(Reason::Protocol))?;
    let start = NonNull::from(shared).cast::<u8>();
    // SAFETY: the one `Hardware` of this vCPU, at CPL 0; what is asked of it below concerns the shared pages, or pages
    // that `Memory` hands over.
    let mut hardware = unsafe { Hardware::new() };
    msr::negotiate(&mut hardware, c_bit).map_err(Fatal::because(Reason::Protocol))?;
    let features = msr::features(&mut hardware, msr::feature::NEEDED).map_err(Fatal::because(Reason::Features))?;
    for index in 0..SHARED_PAGES as u64 {
        // SAFETY: `SHARED` was taken above and is only accessed through `SharedBytes` from here on.
        unsafe { share_page(memory, &mut hardware, start.as_ptr() as u64 + index * PAGE_SIZE) }?;
    }
    let part = |first: usize, pages: usize| {
        // SAFETY: the pages were made shared above, are mapped without the C-bit, and each goes to one `SharedBytes`.
        unsafe { SharedBytes::new(start.add(first * PAGE), pages * PAGE) }
    };
    let gpa = |first: u64| layout::gpa_of(start.as_ptr() as u64) + first * PAGE_SIZE;
    register(hardware, part(0, 1), gpa(0))?;
    let pages =
        GuestRequestPages { request: gpa(1), answer: gpa(2), certificates: Some((gpa(3), CERTIFICATE_PAGES as u64)) };
    let messages =
        MessagePages { request: part(1, 1), answer: part(2, 1), certificates: part(3, CERTIFICATE_PAGES), pages };
    Ok(Connected { ghcb: gpa(0), features, messages })
}

/// Registers the GHCB of the processor that this runs on, which is another than the one that boots.
pub fn connect_another(page: SharedBytes, gpa: u64) -> Result<(), Fatal> {
    // SAFETY: the one `Hardware` of this vCPU, at CPL 0; what is asked of it concerns pages that `Memory` hands over.
    register(unsafe { Hardware::new() }, page, gpa)
}

fn register(hardware: Hardware, page: SharedBytes, gpa: u64) -> Result<(), Fatal> {
    let ghcb = Ghcb::register(hardware, page, gpa).map_err(Fatal::because(Reason::Protocol))?;
    let processor = processor::this();
    *processor.host.lock() = Some(Host { ghcb, run_by_msr: false, doorbell: None });
    // Not before: an exception amid that assignment must not use half of a host.
    processor.connected.store(true, Ordering::Release);
    Ok(())
}

/// Registers a page as the doorbell page of the processor that this runs on. It is not of the host's own choice, or
/// the boot ends.
///
/// # Safety
/// `stack_top` is the end of the stack that #HV's handler has on this processor, for good.
pub unsafe fn set_doorbell((page, gpa): (SharedBytes, u64), stack_top: u64) -> Result<(), Fatal> {
    // SAFETY: as the caller says.
    let doorbell = unsafe { Doorbell::new(page, stack_top) };
    let no_doorbell =
        |why: GhcbError| Fatal::new(Reason::Features, format_args!("no #HV doorbell page at {gpa:#x}: {why:x?}"));
    with(Reason::Features, |host| {
        host.ghcb.set_doorbell(gpa).map_err(no_doorbell)?;
        host.doorbell = Some(doorbell);
        Ok(())
    })
}

/// Makes a page of the firmware's, given for good, one that the host reads and writes. Returns it with its GPA.
pub fn share(memory: &mut Memory, page: &'static mut [u8; PAGE]) -> Result<(SharedBytes, u64), Fatal> {
    let start = NonNull::from(page).cast::<u8>();
    let address = start.as_ptr() as u64;
    // SAFETY: the reference to the page has ended, and only the `SharedBytes` below reaches it from here on.
    let gpa = with(Reason::PageState, |host| unsafe { share_page(memory, host.ghcb.hypervisor(), address) })?;
    // SAFETY: shared, mapped without the C-bit, and this is the only one.
    Ok((unsafe { SharedBytes::new(start, PAGE) }, gpa))
}

/// The page's GPA.
///
/// # Safety
/// The page holds no Rust object, now or later.
unsafe fn share_page(memory: &mut Memory, hardware: &mut Hardware, address: u64) -> Result<u64, Fatal> {
    let gpa = Memory::gpa_of(address).ok_or_else(Fatal::plain(Reason::PageState))?;
    // SAFETY: as the caller says.
    let changed = unsafe { memory.unvalidate_own(address) };
    // A page that was not valid any more is another one than that which was launched.
    if changed.map_err(Fatal::because(Reason::PageState))? == Pvalidated::Unchanged {
        return Err(Fatal::new(Reason::PageState, format_args!("{gpa:#x} was swapped")));
    }
    msr::page_state_change(hardware, gpa, PageState::Shared).map_err(Fatal::because(Reason::PageState))?;
    Ok(gpa)
}

fn with<R>(reason: Reason, work: impl FnOnce(&mut Host) -> Result<R, Fatal>) -> Result<R, Fatal> {
    match processor::this().host.lock().as_mut() {
        Some(host) => work(host),
        None => Err(Fatal::plain(reason)()),
    }
}

/// A request of this processor's to the host.
pub fn ask<R>(request: impl FnOnce(&mut Ghcb<Hardware, SharedBytes>) -> Result<R, GhcbError>) -> Result<R, GhcbError> {
    match processor::this().host.lock().as_mut() {
        Some(host) => request(&mut host.ghcb),
        None => Err(GhcbError::Argument),
    }
}

/// One line of the timeline, if there is a console. Not in line: the image has a limit, and many lines.
#[inline(never)]
pub fn say(word: &str, text: fmt::Arguments<'_>) {
    let _line = CONSOLE.lock();
    say_now(word, text);
}

fn say_now(word: &str, text: fmt::Arguments<'_>) {
    if let Some(host) = processor::this().host.try_lock().as_mut().and_then(|host| host.as_mut()) {
        console::line(&mut host.ghcb, word, text);
    }
}

/// The line that says why the firmware ends. Whatever ends it, an exception amid a call to the host too, in which the
/// lock is held, is to be told; another processor's line may run into it.
///
/// # Safety
/// Nothing of the firmware runs on this processor after it but the termination request.
pub unsafe fn say_last(word: &str, text: fmt::Arguments<'_>) {
    if !processor::this().connected.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: the lock is this processor's own, and what that was doing is never gone on with, as the caller says:
    // nobody uses the host in the place of the one that has the lock. A call that was interrupted leaves nothing half
    // done that a new one rests on: each writes its whole request.
    unsafe { processor::this().host.force_unlock() };
    say_now(word, text);
}

/// Reads one byte from a port of the host's.
pub fn read_port(port: u16) -> Option<u8> {
    let mut host = processor::this().host.lock();
    let value = host.as_mut()?.ghcb.io_in(port, Width::Byte).ok()?;
    u8::try_from(value & 0xff).ok()
}

/// Writes one byte to a port of the host's.
pub fn write_port(port: u16, byte: u8) -> Option<()> {
    processor::this().host.lock().as_mut()?.ghcb.io_out(port, Width::Byte, byte.into()).ok()
}

/// Asks the host to back `region` as private memory, 2 MiB at a time where it can.
pub fn make_private(region: Region) -> Result<(), Fatal> {
    let mut list = heapless::Vec::<PageStateEntry, { snp::ghcb::call::PSC_MAX }>::new();
    let mut gpa = region.start();
    with(Reason::PageState, |host| {
        while gpa < region.end() {
            let size = largest_page(gpa, region.end());
            let entry = PageStateEntry { gpa, size, state: PageState::Private };
            gpa += size.bytes();
            if list.push(entry).is_err() {
                return Err(Fatal::plain(Reason::PageState)());
            }
            if list.is_full() || gpa >= region.end() {
                host.ghcb.page_state_change(&list).map_err(Fatal::because(Reason::PageState))?;
                list.clear();
            }
        }
        Ok(())
    })
}

/// Frequency of the TSC in kHz, as the CPU says under Secure TSC, or as measured against the host's timer.
pub fn tsc_khz(sev_status: u64) -> Option<u64> {
    const SECURE_TSC: u64 = 1 << 11;
    /// Bits 17:0: MHz.
    const GUEST_TSC_FREQ: u32 = 0xc001_0134;
    if sev_status & SECURE_TSC != 0 {
        // SAFETY: the MSR exists where Secure TSC is active; reading it has no effect.
        return Some((unsafe { rdmsr(GUEST_TSC_FREQ) } & 0x3_ffff) * 1000);
    }
    let mut host = processor::this().host.lock();
    measure_khz(&mut host.as_mut()?.ghcb, rdtsc)
}

fn largest_page(gpa: u64, end: u64) -> PageSize {
    let large = PageSize::Size2M.bytes();
    if gpa.is_multiple_of(large) && end - gpa >= large { PageSize::Size2M } else { PageSize::Size4K }
}

/// Makes the firmware's page at `address` the register state of the boot vCPU at the guest's VMPL, and tells the host.
///
/// # Safety
/// The page holds a VMSA and, from here on, no Rust object.
pub unsafe fn register_vmsa(address: u64, vmpl: Vmpl, apic_id: u32, sev_features: u64) -> Result<(), Fatal> {
    for level in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
        // SAFETY: the firmware's own page; taking rights that nobody has makes nothing worse.
        let revoked = unsafe {
            snp::instr::access::rmpadjust(address, PageSize::Size4K, Attributes::page(level, Permissions::NONE))
        };
        revoked.map_err(Fatal::because(Reason::GuestStart))?;
    }
    // SAFETY: the page holds no Rust object, as the caller says.
    unsafe { snp::instr::access::rmpadjust(address, PageSize::Size4K, Attributes::vmsa(vmpl)) }
        .map_err(Fatal::because(Reason::GuestStart))?;
    with(Reason::GuestStart, |host| {
        host.ghcb.ap_create(ApCreation::OnInit, vmpl, apic_id, layout::gpa_of(address), sev_features).map_err(no_vmpls)
    })
}

/// Makes the firmware's page at `address` a register state of VMPL0. Its GPA.
///
/// # Safety
/// The page holds a VMSA and, from here on, no Rust object.
pub unsafe fn make_register_state(address: u64) -> Result<u64, Fatal> {
    let gpa = Memory::gpa_of(address).ok_or_else(Fatal::plain(Reason::GuestStart))?;
    // SAFETY: the page holds no Rust object, as the caller says.
    unsafe { snp::instr::access::rmpadjust(address, PageSize::Size4K, Attributes::own_vmsa()) }
        .map_err(Fatal::because(Reason::GuestStart))?;
    Ok(gpa)
}

/// Has the host run the register state at `gpa` of VMPL0 on another processor.
pub fn start_processor(gpa: u64, apic_id: u32, sev_features: u64) -> Result<(), Fatal> {
    with(Reason::GuestStart, |host| {
        host.ghcb
            .ap_create(ApCreation::Immediately, Vmpl::Vmpl0, apic_id, gpa, sev_features)
            .map_err(Fatal::because(Reason::GuestStart))
    })
}

/// A host kernel without VMPLs, such as upstream's of 2026, does not take the guest's register state.
fn no_vmpls(error: GhcbError) -> Fatal {
    Fatal::new(Reason::GuestStart, format_args!("{error:x?}; does this host kernel run VMPLs?"))
}

/// Runs the guest until it, or the host, comes back to VMPL0.
///
/// The guest can have the host take the GHCB's page while it runs, and the answer with it. So a page without a good
/// answer counts as having come back, which is safe whenever it happens, and the guest is run next by the MSR protocol,
/// whose answer no guest can take.
///
/// What the host has signalled is looked at here, behind the guest's run: before it, the guest does not run, so that
/// what the host presents is seen. It ends nothing, whatever it is: the guest can have the host take the doorbell page,
/// and put anything there.
pub fn run(vmpl: Vmpl) -> Result<(), Fatal> {
    let ran = with(Reason::RunGuest, |host| {
        if let Some(doorbell) = &host.doorbell {
            let note = doorbell.note();
            return run_unless_signalled(host.ghcb.hypervisor(), vmpl, note);
        }
        if core::mem::take(&mut host.run_by_msr) {
            return msr::run_vmpl(host.ghcb.hypervisor(), vmpl).map_err(Fatal::because(Reason::RunGuest));
        }
        host.run_by_msr = host.ghcb.run_vmpl(vmpl).is_err();
        Ok(())
    });
    if is_machine_check() {
        say("interrupts", format_args!("the host signals a machine check"));
    }
    ran
}

/// The same, unless the host signals meanwhile: then the guest counts as having come back at once, so that what the
/// host presents does not wait until it has.
fn run_unless_signalled(hardware: &mut Hardware, vmpl: Vmpl, note: &AtomicU8) -> Result<(), Fatal> {
    // SAFETY: the guest's VMPL has its own registers and its own memory, of which no Rust object is.
    match unsafe { hardware.msr_call_unless(msr::run_vmpl_request(vmpl), note) } {
        None => Ok(()),
        Some(answer) => msr::ran_vmpl(answer).map_err(Fatal::because(Reason::RunGuest)),
    }
}

/// What interrupts come by on the processor that this runs on.
pub struct Wires;

impl kernel::svsm::apic::Wires for Wires {
    fn presented(&mut self) -> Presented {
        let mut host = processor::this().host.lock();
        host.as_mut().and_then(|host| host.doorbell.as_mut()).map(Doorbell::presented).unwrap_or_default()
    }

    /// A host that does not want to know it has an interrupt less.
    fn end_of_level(&mut self, vector: u8) {
        if let Some(host) = processor::this().host.lock().as_mut() {
            let _ = host.ghcb.specific_eoi(GUEST_VMPL, vector);
        }
    }

    /// A host that does not do it keeps the guest waiting, as it can at any time.
    fn signal(&mut self, apic_id: u32) {
        if let Some(host) = processor::this().host.lock().as_mut() {
            let _ = host.ghcb.signal(apic_id);
        }
    }
}

/// Whether the host has signalled a machine check by #HV. Interrupts and NMIs mean nothing to the firmware.
fn is_machine_check() -> bool {
    let mut host = processor::this().host.lock();
    let events = host.as_mut().and_then(|host| host.doorbell.as_mut()?.take());
    events.is_some_and(|events| events.machine_check)
}

/// Reports from the PSP, over VMPL0's channel.
pub struct PspReports {
    channel: Box<Channel>,
    messages: MessagePages,
    /// What each report must say, and what becomes of one that does not.
    steady: Option<(Steady, Otherwise)>,
}

impl PspReports {
    /// By this channel, through these pages.
    pub fn new(channel: Box<Channel>, messages: MessagePages) -> PspReports {
        PspReports { channel, messages, steady: None }
    }

    /// A key that the PSP derives for VMPL0.
    pub fn derived_key(&mut self, request: &KeyRequest) -> Result<DerivedKey, ReportError> {
        let mut host = processor::this().host.lock();
        let host = host.as_mut().ok_or(ReportError::NoHost)?;
        let MessagePages { request: page, answer, pages, .. } = &mut self.messages;
        let transport = &mut GhcbTransport { ghcb: &mut host.ghcb, request: page, answer, pages: *pages };
        self.channel.derived_key(transport, request).map_err(ReportError::Message)
    }

    /// From here on all reports must say what the first one has.
    pub fn hold_to(&mut self, steady: Steady, otherwise: Otherwise) {
        self.steady = Some((steady, otherwise));
    }

    /// Says what a report has otherwise than the first one.
    fn check(&self, report: &Report) -> Result<(), ReportError> {
        let Some((steady, otherwise)) = &self.steady else { return Ok(()) };
        match (steady.check(report), otherwise) {
            (Ok(()), _) => Ok(()),
            (Err(what), Otherwise::Refuse) => {
                say("policy", format_args!("firmware.later-reports: {what}; the report is refused"));
                Err(ReportError::Differs(what))
            }
            (Err(what), Otherwise::NameIt) => {
                say("policy", format_args!("firmware.later-reports: {what}"));
                Ok(())
            }
        }
    }

    fn ask(
        &mut self,
        report_data: &[u8; 64],
        key: KeySelect,
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError> {
        let mut host = processor::this().host.lock();
        let host = host.as_mut().ok_or(ReportError::NoHost)?;
        let MessagePages { request, answer, certificates: table, pages } = &mut self.messages;
        let transport = &mut GhcbTransport { ghcb: &mut host.ghcb, request, answer, pages: *pages };
        let Some(certificates) = certificates else {
            return self.channel.report(transport, report_data, Vmpl::Vmpl0, key).map_err(ReportError::Message);
        };
        for page in 0..CERTIFICATE_PAGES {
            table.write(page * PAGE, &[0; PAGE]);
        }
        let (report, result) = self
            .channel
            .report_with_certificates(transport, report_data, Vmpl::Vmpl0, key)
            .map_err(ReportError::Message)?;
        if result == CertificateResult::Written {
            certificates.fill(|out| table.read(0, out));
        }
        Ok(report)
    }
}

impl Reports for PspReports {
    fn report(
        &mut self,
        report_data: &[u8; 64],
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError> {
        let report = self.ask(report_data, KeySelect::VlekElseVcek, certificates)?;
        self.check(&report)?;
        Ok(report)
    }

    fn report_of_chip(
        &mut self,
        report_data: &[u8; 64],
        certificates: &mut Certificates,
    ) -> Result<Report, ReportError> {
        let report = self.ask(report_data, KeySelect::Vcek, Some(certificates))?;
        self.check(&report)?;
        Ok(report)
    }
}
