//! All vectors. Two kinds are expected: #VC from a CPUID instruction of the firmware's own, answered from the CPUID
//! page, and what an access to a page of the guest's raises that the host has taken, which is refused
//! (`snp::instr::access`). Every other ends the firmware, no matter who raised it.

use core::arch::global_asm;

use kernel::fatal::{Fatal, Reason};
use snp::cpuid::{CpuState, CpuidTable};
use snp::instr::access::resume_at;
use snp::vc::{Decoded, Instruction, decode};
use spin::Once;

use crate::{fatal, hv, layout, processor};

global_asm!(include_str!("exceptions.s"), hv_stack = const hv::STACK, hv_note = const hv::NOTE);

/// Bytes between two stubs of `exceptions.s`.
pub const STUB_SIZE: u64 = 16;
/// #BP.
pub const BP: u64 = 3;
/// #VC.
pub const VC: u64 = 29;

unsafe extern "C" {
    static __exception_stubs: u8;
}

/// Address of the stub of vector 0.
pub fn stubs() -> u64 {
    (&raw const __exception_stubs) as u64
}

/// What answers CPUID instructions, on all processors at once.
static CPUID: Once<CpuidTable> = Once::new();

/// Takes the checked CPUID page into use, once, and returns it.
pub fn answer_cpuid_from(table: CpuidTable) -> &'static CpuidTable {
    CPUID.call_once(|| table)
}

/// Registers as `exceptions.s` leaves them on the stack.
#[repr(C)]
struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

#[unsafe(no_mangle)]
extern "C" fn exception_entry(frame: &mut Frame) {
    if let Some(rip) = resume_at(frame.vector, frame.error, frame.rip) {
        frame.rip = rip;
        return;
    }
    let outcome = if frame.vector == VC { vc(frame) } else { Err(unexpected(frame)) };
    if let Err(reason) = outcome {
        fatal::end(&reason);
    }
}

fn unexpected(frame: &Frame) -> Fatal {
    let address = x86_64::registers::control::Cr2::read_raw();
    let Frame { vector, error, rip, rsp, .. } = frame;
    if hv::is_within_itself(*vector, *rip) {
        return Fatal::new(Reason::Exception, format_args!("#HV in the handler of #HV: the host has not waited"));
    }
    Fatal::new(
        Reason::Exception,
        format_args!("vector {vector} error {error:#x} rip {rip:#x} rsp {rsp:#x} cr2 {address:#x}"),
    )
}

fn vc(frame: &mut Frame) -> Result<(), Fatal> {
    let refused = |frame: &Frame| Fatal::new(Reason::Vc, format_args!("code {:#x} rip {:#x}", frame.error, frame.rip));
    let bytes = instruction_at(frame.rip).ok_or_else(|| refused(frame))?;
    match decode(frame.error, &bytes) {
        Ok(Decoded { instruction: Instruction::Cpuid, len }) => {
            cpuid(frame).ok_or_else(|| refused(frame))?;
            frame.rip += u64::from(len);
            Ok(())
        }
        Ok(_) | Err(_) => Err(refused(frame)),
    }
}

/// The first bytes of the instruction, if it lies in the firmware's text; no instruction that is answered is longer.
fn instruction_at(rip: u64) -> Option<[u8; 4]> {
    if rip < layout::text_start() || rip > layout::text_end().checked_sub(4)? {
        return None;
    }
    // SAFETY: the four bytes lie in the text, which is mapped, never written, and plain bytes.
    Some(unsafe { (rip as *const [u8; 4]).read() })
}

/// Answers CPUID. `None` for a leaf beyond the table's limits, and while there is no table.
fn cpuid(frame: &mut Frame) -> Option<()> {
    const LOW: u64 = 0xffff_ffff;
    // XSAVE stays off.
    let state = CpuState { apic_id: processor::this().apic_id, osxsave: false, pke: false, xcr0: 1, xss: 0 };
    let (leaf, subleaf) = (u32::try_from(frame.rax & LOW).ok()?, u32::try_from(frame.rcx & LOW).ok()?);
    let answer = CPUID.get()?.lookup(leaf, subleaf, &state)?;
    frame.rax = answer.eax.into();
    frame.rbx = answer.ebx.into();
    frame.rcx = answer.ecx.into();
    frame.rdx = answer.edx.into();
    Some(())
}
