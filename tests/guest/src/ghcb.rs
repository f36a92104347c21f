//! Requests to the host: the GHCB MSR protocol and the GHCB page (GHCB specification, version 2).

use crate::apic;
use crate::page::{Area, Page};
use crate::{svsm, vcpu};
use core::arch::asm;

const MSR_GHCB: u32 = 0xC001_0130;

/// Offsets in the GHCB.
mod field {
    pub(super) const RAX: usize = 0x1F8;
    pub(super) const RBX: usize = 0x318;
    pub(super) const SW_EXIT_CODE: usize = 0x390;
    pub(super) const SW_EXIT_INFO_1: usize = 0x398;
    pub(super) const SW_EXIT_INFO_2: usize = 0x3A0;
    pub(super) const VALID_BITMAP: usize = 0x3F0;
    pub(super) const VERSION_AND_USAGE: usize = 0xFF8;
}

/// `SVM_EXIT_IOIO`.
const EXIT_IOIO: u64 = 0x7B;
/// `VMMCALL`.
const EXIT_VMMCALL: u64 = 0x81;
/// RAX of the hypercall by which the software machine's host is told to take a page (tests/machine/src/steal.rs).
const STEAL: u64 = 0x494F_5551;
/// `SNP Guest Request`.
const EXIT_GUEST_REQUEST: u64 = 0x8000_0011;
/// `SNP AP Creation`.
const EXIT_AP_CREATE: u64 = 0x8000_0013;
/// `SNP Run VMPL`.
const EXIT_RUN_VMPL: u64 = 0x8000_0018;

/// The host refused, or answered something else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostError;

unsafe extern "C" {
    static __ghcb: [Page; SHARED];
}

/// Pages that are shared with the host: a GHCB for each vCPU, a guest message's request and its answer.
const SHARED: usize = 4;
const REQUEST: usize = 2;
const ANSWER: usize = 3;

/// The page of the vCPU that this runs on.
fn ghcb() -> &'static Page {
    page_of(vcpu::this())
}

fn page_of(number: usize) -> &'static Page {
    // SAFETY: linker.ld gives them pages of their own; `Page` allows that others write them.
    let pages = unsafe { &__ghcb };
    &pages[number]
}

/// Makes the pages shared and registers the GHCB: the firmware must give up their validation first, since PVALIDATE is
/// not ours.
pub(crate) fn set_up() -> Result<(), HostError> {
    for number in (0..SHARED).rev() {
        let gpa = page_of(number).gpa();
        if svsm::invalidate(gpa) != Some(svsm::SUCCESS) {
            return Err(HostError);
        }
        // Page state change to shared (2); the answer is defined to the last bit.
        expect(msr_call(0x014 | gpa | 2 << 52), 0x015)?;
    }
    register()
}

/// Registers the GHCB of the vCPU that this runs on.
pub(crate) fn register() -> Result<(), HostError> {
    let gpa = ghcb().gpa();
    expect(msr_call(0x012 | gpa), 0x013 | gpa)?;
    write_msr(gpa);
    ghcb().fill(0);
    Ok(())
}

/// Has the host pass a guest message of this many octets, which is already encrypted, to the secure processor.
/// SW_EXITINFO2, and where the answer is, which takes a page.
pub(crate) fn guest_request<const N: usize>(
    message: &Area<N>,
    length: usize,
) -> Result<(u64, &'static Page), HostError> {
    let (request, answer_page) = (page_of(REQUEST), page_of(ANSWER));
    request.fill(0);
    answer_page.fill(0);
    let mut octet = [0];
    for at in 0..length {
        message.copy_out(at, &mut octet);
        request.copy_in(at, &octet);
    }
    prepare(EXIT_GUEST_REQUEST, request.gpa(), answer_page.gpa());
    vmgexit();
    answer()?;
    Ok((ghcb().read(field::SW_EXIT_INFO_2), answer_page))
}

/// What AP_CREATE shall do.
#[derive(Clone, Copy)]
pub(crate) enum Creation {
    Now = 1,
    Destroy = 2,
}

/// Gives the host our second vCPU's register state, or takes it back.
pub(crate) fn ap_create(creation: Creation, apic_id: u64, vmsa: u64) -> Result<(), HostError> {
    const OUR_VMPL: u64 = 2;
    prepare(EXIT_AP_CREATE, creation as u64 | OUR_VMPL << 16 | apic_id << 32, vmsa);
    set(field::RAX, apic::sev_features());
    vmgexit();
    answer()
}

/// A state that a page can be changed to without asking the firmware.
#[derive(Clone, Copy)]
pub(crate) enum State {
    Private = 1,
    Shared = 2,
}

/// Has the host change the state of a page, whosever it is.
pub(crate) fn change_state(gpa: u64, state: State) -> Result<(), HostError> {
    let answer = msr_call(0x014 | gpa | (state as u64) << 52);
    write_msr(ghcb().gpa());
    expect(answer, 0x015)
}

/// When the host shall take a page.
#[derive(Clone, Copy)]
pub(crate) enum Moment {
    /// When the firmware reads or writes it.
    Access,
    /// When the firmware writes it.
    Write,
    /// At the firmware's PVALIDATE or RMPADJUST of it, after this many others.
    Instruction(u64),
}

/// Has the host take a page at that moment.
pub(crate) fn take_at(gpa: u64, moment: Moment) -> Result<(), HostError> {
    let bits = match moment {
        Moment::Access => 0,
        Moment::Write => 1,
        Moment::Instruction(after) => 2 | after << 4,
    };
    prepare(EXIT_VMMCALL, 0, 0);
    set(field::RAX, STEAL);
    set(field::RBX, gpa | bits);
    vmgexit();
    answer()?;
    expect(ghcb().read(field::RAX), 0)
}

fn expect(answer: u64, wanted: u64) -> Result<(), HostError> {
    if answer == wanted { Ok(()) } else { Err(HostError) }
}

/// Runs the firmware by the MSR protocol, as is necessary before there is a GHCB.
pub(crate) fn run_vmpl0_by_msr(registers: &mut svsm::Registers) -> Result<(), HostError> {
    write_msr(0x016);
    vmgexit_with(registers);
    expect(read_msr(), 0x017)
}

/// Runs the firmware through the GHCB page.
pub(crate) fn run_vmpl0(registers: &mut svsm::Registers) -> Result<(), HostError> {
    prepare(EXIT_RUN_VMPL, 0, 0);
    vmgexit_with(registers);
    answer()
}

/// Reads a byte from an I/O port.
pub(crate) fn port_read(port: u16) -> Result<u8, HostError> {
    // Type IN, operand 8 bits, address 64 bits.
    prepare(EXIT_IOIO, u64::from(port) << 16 | 1 << 9 | 1 << 4 | 1, 0);
    vmgexit();
    answer()?;
    Ok(ghcb().read(field::RAX).to_le_bytes()[0])
}

/// Writes a byte to an I/O port.
pub(crate) fn port_write(port: u16, byte: u8) -> Result<(), HostError> {
    prepare(EXIT_IOIO, u64::from(port) << 16 | 1 << 9 | 1 << 4, 0);
    set(field::RAX, u64::from(byte));
    vmgexit();
    answer()
}

fn prepare(code: u64, info_1: u64, info_2: u64) {
    ghcb().write(field::VALID_BITMAP, 0);
    ghcb().write(field::VALID_BITMAP + 8, 0);
    // Protocol version 2 at 0xFFA, usage 0 at 0xFFC.
    ghcb().write(field::VERSION_AND_USAGE, 2 << 16);
    set(field::SW_EXIT_CODE, code);
    set(field::SW_EXIT_INFO_1, info_1);
    set(field::SW_EXIT_INFO_2, info_2);
}

/// Writes a field and marks it valid.
fn set(field: usize, value: u64) {
    ghcb().write(field, value);
    let bit = field / 8;
    let word = field::VALID_BITMAP + bit / 64 * 8;
    ghcb().write(word, ghcb().read(word) | 1 << (bit % 64));
}

/// SW_EXITINFO1 bits 31:0 are 0 when the host has done what was asked.
fn answer() -> Result<(), HostError> {
    expect(ghcb().read(field::SW_EXIT_INFO_1) & 0xFFFF_FFFF, 0)
}

/// Asks the host to end the machine (set 0, code 0: general), and waits for it.
pub(crate) fn terminate() -> ! {
    loop {
        msr_call(0x100);
    }
}

fn msr_call(request: u64) -> u64 {
    write_msr(request);
    vmgexit();
    read_msr()
}

fn write_msr(value: u64) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    // SAFETY: the GHCB MSR holds a number for the host; it changes nothing of what Rust relies on.
    unsafe { asm!("wrmsr", in("ecx") MSR_GHCB, in("eax") low, in("edx") high, options(nostack)) };
}

fn read_msr() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: as in `write_msr`.
    unsafe { asm!("rdmsr", in("ecx") MSR_GHCB, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

fn vmgexit() {
    // SAFETY: the host changes the GHCB, which is read by copies, and no register.
    unsafe { asm!("rep vmmcall", options(nostack)) };
}

/// VMGEXIT while the registers hold an SVSM call, which the firmware sees in our VMSA.
fn vmgexit_with(registers: &mut svsm::Registers) {
    // SAFETY: the firmware changes these five registers and memory that was named to it for this.
    unsafe {
        asm!(
            "rep vmmcall",
            inout("rax") registers.rax, inout("rcx") registers.rcx, inout("rdx") registers.rdx,
            inout("r8") registers.r8, inout("r9") registers.r9,
            options(nostack),
        );
    }
}
