//! Calls to the firmware through the calling area (SVSM specification, "calling convention").

use crate::ghcb::{self, HostError};
use crate::page::Page;
use crate::vcpu;
use core::sync::atomic::{AtomicU8, Ordering};

/// `SVSM_SUCCESS`.
pub(crate) const SUCCESS: u64 = 0;

/// The protocol number of RAX.
pub(crate) mod protocol {
    pub(crate) const CORE: u64 = 0;
    pub(crate) const ATTESTATION: u64 = 1;
    pub(crate) const VTPM: u64 = 2;
}

/// The registers of a call.
#[derive(Clone, Copy, Default)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
}

impl Registers {
    /// A call with one argument.
    pub(crate) const fn call(protocol: u64, call: u64, rcx: u64) -> Self {
        Self { rax: protocol << 32 | call, rcx, rdx: 0, r8: 0, r9: 0 }
    }
}

unsafe extern "C" {
    static __calling_area: Page;
}

/// The calling area of the vCPU that this runs on. Byte 0 is the pending byte, bytes 8 and up are ours.
pub(crate) fn calling_area() -> &'static Page {
    calling_area_of(vcpu::this())
}

/// The calling area of a vCPU.
pub(crate) fn calling_area_of(vcpu: usize) -> &'static Page {
    static SECOND: Page = Page::new();
    // SAFETY: linker.ld gives it a page of its own; `Page` allows that others write it.
    if vcpu == 0 { unsafe { &__calling_area } } else { &SECOND }
}

/// The pending byte of a vCPU.
pub(crate) fn pending_of(vcpu: usize) -> &'static AtomicU8 {
    // SAFETY: byte 0 of a page that lives for ever, and that is otherwise accessed by copies of other bytes only.
    unsafe { AtomicU8::from_ptr(calling_area_of(vcpu).gpa() as *mut u8) }
}

fn pending() -> &'static AtomicU8 {
    pending_of(vcpu::this())
}

/// How a call went: whether the firmware took it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// The pending byte stayed 1.
    No,
}

/// Makes a call. `Err` when the host did not run VMPL0.
pub(crate) fn call(registers: &mut Registers) -> Result<Taken, HostError> {
    call_by(registers, ghcb::run_vmpl0)
}

/// Runs the firmware without having set the pending byte: it must not act.
pub(crate) fn run_without_pending(registers: &mut Registers) -> Result<(), HostError> {
    pending().store(0, Ordering::SeqCst);
    ghcb::run_vmpl0(registers)
}

fn call_by(registers: &mut Registers, run: fn(&mut Registers) -> Result<(), HostError>) -> Result<Taken, HostError> {
    pending().store(1, Ordering::SeqCst);
    let run = run(registers);
    let taken = if pending().swap(0, Ordering::SeqCst) == 0 { Taken::Yes } else { Taken::No };
    run.map(|()| taken)
}

/// `SVSM_CORE_PVALIDATE`, to make the page at `gpa` invalid, before there is a GHCB; the result code, or `None` when
/// nobody took the call.
pub(crate) fn invalidate(gpa: u64) -> Option<u64> {
    // One entry, next 0; entry: 4 KiB, action invalidate.
    calling_area().write(8, 1);
    calling_area().write(16, gpa);
    let mut registers = Registers::call(protocol::CORE, 1, calling_area().gpa() + 8);
    match call_by(&mut registers, ghcb::run_vmpl0_by_msr) {
        Ok(Taken::Yes) => Some(registers.rax),
        Ok(Taken::No) | Err(HostError) => None,
    }
}
