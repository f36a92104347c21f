//! What the firmware does each time the guest's VMPL has stopped: see whether it made a call, serve it, and let it run
//! again.

use core::mem::offset_of;

use snp::ghcb::exit::code;
use snp::vmsa::{EFER_SVME, Vmsa};

use super::vcpus::Vcpu;
use super::{Machine, Registers, apic, serve};
use crate::mm::{Attributes, GUEST_VMPL, Inaccessible, Owner, PageSize, Pages, RmpError, read_u64, write_u64};

/// Why the guest is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It made a call, which was served.
    Served,
    /// It made none: the host came back on its own, the guest asked for something else, or the calling area says that
    /// nothing is pending. A calling area that the host has taken says nothing: its vCPU's calls are not taken any
    /// more, and it runs on.
    NoCall,
    /// The processor has no vCPU.
    NoVcpu,
    /// Its register state is inaccessible, and with it the vCPU can neither be served nor run.
    Lost,
}

/// Serves the call that the calling vCPU may have made.
///
/// The call counts only if the vCPU left its VMPL by VMGEXIT (so that the registers are a call's), and if the calling
/// area's first byte goes from 1 to 0 in one exchange (so that no call is served twice, or at the host's will). While
/// the register state is looked at, EFER.SVME is clear in it, and no CPU runs it or can begin to.
pub fn after_stop(machine: &mut Machine<'_>) -> Stop {
    let Some(vcpu) = machine.guest.lock().begin(machine.apic_id) else { return Stop::NoVcpu };
    let stop = look_and_serve(machine, vcpu).unwrap_or(Stop::Lost);
    machine.guest.lock().end(machine.apic_id, stop == Stop::Lost);
    stop
}

fn look_and_serve(machine: &mut Machine<'_>, vcpu: Vcpu) -> Result<Stop, Inaccessible> {
    set_runnable(machine.pages, vcpu.vmsa, false)?;
    let has_stopped = !still_runs(machine.pages, vcpu.vmsa)?;
    let is_emulated = has_stopped && apic::is_emulated(&vcpu);
    if is_emulated {
        apic::settle(machine, &vcpu)?;
    }
    let stop = if has_stopped && is_call(machine, vcpu)? {
        let mut registers = read_registers(machine.pages, vcpu.vmsa)?;
        serve(machine, &mut registers);
        write_registers(machine.pages, vcpu.vmsa, &registers)?;
        Stop::Served
    } else {
        Stop::NoCall
    };
    if is_emulated {
        apic::present(machine, &vcpu)?;
    }
    set_runnable(machine.pages, vcpu.vmsa, true)?;
    Ok(stop)
}

/// Whether a CPU runs the register state: the host can run VMPL0 of a processor beside its VMPL2. Without EFER.SVME
/// none begins to, but one that does saves its registers when it stops, EFER with them; until then those in memory are
/// older than the calling area's byte. RMPADJUST, which here changes nothing, refuses such a page; where it does not,
/// EFER shows whether there was one that has just stopped.
fn still_runs(pages: &mut dyn Pages, vmsa: u64) -> Result<bool, Inaccessible> {
    match pages.rmpadjust(vmsa, PageSize::Size4K, Attributes::vmsa(GUEST_VMPL)) {
        Err(RmpError::Inaccessible) => Err(Inaccessible),
        // FAIL_INUSE; what cannot be told counts as running.
        Err(_) => Ok(true),
        Ok(()) => Ok(read_u64(pages, vmsa + offset_of!(Vmsa, efer) as u64)? & EFER_SVME != 0),
    }
}

fn is_call(machine: &mut Machine<'_>, vcpu: Vcpu) -> Result<bool, Inaccessible> {
    let exit_code = read_u64(machine.pages, vcpu.vmsa + offset_of!(Vmsa, guest_exit_code) as u64)?;
    let guest = machine.guest.lock();
    // The guest may have given away the page of its own calling area, with our knowledge or without it.
    Ok(exit_code == code::VMGEXIT
        && guest.map.owner(vcpu.calling_area) == Owner::Guest
        && machine.pages.exchange(vcpu.calling_area, 0).unwrap_or(0) == 1)
}

/// Sets or clears EFER.SVME in a register state.
pub(super) fn set_runnable(pages: &mut dyn Pages, vmsa: u64, runnable: bool) -> Result<(), Inaccessible> {
    let field = vmsa + offset_of!(Vmsa, efer) as u64;
    let efer = read_u64(pages, field)? & !EFER_SVME;
    write_u64(pages, field, if runnable { efer | EFER_SVME } else { efer })
}

const RAX: u64 = offset_of!(Vmsa, rax) as u64;
const RCX: u64 = offset_of!(Vmsa, rcx) as u64;
const RDX: u64 = offset_of!(Vmsa, rdx) as u64;
const R8: u64 = offset_of!(Vmsa, r8) as u64;
const R9: u64 = offset_of!(Vmsa, r9) as u64;

fn read_registers(pages: &mut dyn Pages, vmsa: u64) -> Result<Registers, Inaccessible> {
    let mut field = |offset| read_u64(pages, vmsa + offset);
    Ok(Registers { rax: field(RAX)?, rcx: field(RCX)?, rdx: field(RDX)?, r8: field(R8)?, r9: field(R9)? })
}

fn write_registers(pages: &mut dyn Pages, vmsa: u64, registers: &Registers) -> Result<(), Inaccessible> {
    let Registers { rax, rcx, rdx, r8, r9 } = *registers;
    let fields = [(RAX, rax), (RCX, rcx), (RDX, rdx), (R8, r8), (R9, r9)];
    fields.into_iter().try_for_each(|(offset, value)| write_u64(pages, vmsa + offset, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::{Pvalidated, Region};
    use crate::testing::{FakeMachine, Scene};
    use zerocopy::IntoBytes;

    const QUERY_CORE: Registers = Registers { rax: 6, rcx: 1, rdx: 2, r8: 3, r9: 4 };

    fn stopped(exit_code: u64, pending: u8) -> Scene {
        let mut scene = Scene::new();
        let mut vmsa = Vmsa::real_mode(crate::mm::GUEST_VMPL, 1, 0);
        vmsa.set_runnable(true);
        vmsa.guest_exit_code = exit_code.into();
        scene.machine.place(scene.vcpu().vmsa, vmsa.as_bytes());
        let vmsa_gpa = scene.vcpu().vmsa;
        write_registers(&mut scene.machine, vmsa_gpa, &QUERY_CORE).unwrap();
        scene.machine.place(scene.vcpu().calling_area, &[pending]);
        scene
    }

    fn stop(scene: &mut Scene) -> (Stop, Registers) {
        let stop = after_stop(&mut scene.parts());
        let vmsa = scene.vcpu().vmsa;
        let registers = read_registers(&mut scene.machine, vmsa).unwrap();
        let efer = read_u64(&mut scene.machine, vmsa + 0xd0).unwrap();
        assert_eq!(efer & EFER_SVME, EFER_SVME, "the guest can run again");
        (stop, registers)
    }

    #[test]
    fn a_pending_call_is_served_once() {
        let mut scene = stopped(0x403, 1);
        let after = Registers { rax: 0, rcx: 1 << 32 | 1, ..QUERY_CORE };
        assert_eq!(stop(&mut scene), (Stop::Served, after));
        assert_eq!(scene.machine.bytes(scene.vcpu().calling_area, 1), [0]);
        assert_eq!(stop(&mut scene).0, Stop::NoCall);
    }

    /// Memory in which a register state that can be run is not touched, but to clear and set EFER.SVME.
    struct Strict {
        machine: FakeMachine,
        vmsa: u64,
    }

    impl Strict {
        fn touches(&self, gpa: u64) {
            let efer = self.vmsa + offset_of!(Vmsa, efer) as u64;
            let page = self.vmsa..self.vmsa + crate::mm::PAGE_SIZE;
            let runnable = self.machine.bytes(efer + 1, 1)[0] & 0x10 != 0;
            assert!(!page.contains(&gpa) || gpa == efer || !runnable, "{gpa:#x} is touched while it can be run");
        }
    }

    impl Pages for Strict {
        fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible> {
            self.touches(gpa);
            self.machine.read(gpa, out)
        }
        fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible> {
            self.touches(gpa);
            self.machine.write(gpa, bytes)
        }
        fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible> {
            self.touches(gpa);
            self.machine.exchange(gpa, value)
        }
        fn zero(&mut self, gpa: u64, size: PageSize) -> Result<(), Inaccessible> {
            self.touches(gpa);
            self.machine.zero(gpa, size)
        }
        fn pvalidate(&mut self, gpa: u64, size: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
            self.touches(gpa);
            self.machine.pvalidate(gpa, size, validate)
        }
        fn rmpadjust(&mut self, gpa: u64, size: PageSize, attributes: Attributes) -> Result<(), RmpError> {
            self.touches(gpa);
            self.machine.rmpadjust(gpa, size, attributes)
        }
        fn extend_heap(&mut self, gpa: u64) -> bool {
            self.machine.extend_heap(gpa)
        }
        fn start_processor(&mut self, apic_id: u32, block: &[u64]) -> bool {
            self.machine.start_processor(apic_id, block)
        }
        fn flush(&mut self) {
            self.machine.flush();
        }
    }

    #[test]
    fn a_register_state_is_touched_only_while_it_cannot_be_run() {
        for (exit_code, pending) in [(0x403, 1), (0x403, 0), (0x60, 1)] {
            let mut scene = stopped(exit_code, pending);
            let machine = core::mem::replace(&mut scene.machine, FakeMachine::new());
            let vmsa = scene.vcpu().vmsa;
            let mut strict = Strict { machine, vmsa };
            let mut parts = scene.parts();
            parts.pages = &mut strict;
            after_stop(&mut parts);
            assert_eq!(read_u64(&mut strict.machine, vmsa + 0xd0).unwrap() & EFER_SVME, EFER_SVME);
        }
    }

    /// The host runs VMPL0 between the guest's writing of the byte and its VMGEXIT: in memory are the registers of its
    /// last call.
    #[test]
    fn a_register_state_that_still_runs_holds_no_call() {
        let mut scene = stopped(0x403, 1);
        scene.machine.in_use = Some(scene.vcpu().vmsa);
        assert_eq!(stop(&mut scene), (Stop::NoCall, QUERY_CORE));
        assert_eq!(scene.machine.bytes(scene.vcpu().calling_area, 1), [1], "the call is still to be served");
        scene.machine.in_use = None;
        assert_eq!(stop(&mut scene).0, Stop::Served);
    }

    #[test]
    fn without_the_pending_byte_nothing_happens() {
        for pending in [0, 2, 3, 0x80, 0xff] {
            assert_eq!(stop(&mut stopped(0x403, pending)), (Stop::NoCall, QUERY_CORE));
        }
    }

    #[test]
    fn any_other_exit_is_no_call_and_leaves_the_byte() {
        for exit_code in [0, 0x60, 0x72, 0x78, 0x7b, 0x81, 0x400, 0x402, 0x404, 0x8000_0018, u64::MAX] {
            let mut scene = stopped(exit_code, 1);
            assert_eq!(stop(&mut scene), (Stop::NoCall, QUERY_CORE));
            assert_eq!(scene.machine.bytes(scene.vcpu().calling_area, 1), [1]);
        }
    }

    #[test]
    fn a_calling_area_that_was_given_away_is_not_touched() {
        let mut scene = stopped(0x403, 1);
        let area = scene.vcpu().calling_area;
        scene.map().take(Region::covering(area, 1).unwrap()).unwrap();
        assert!(scene.machine.pvalidate(area, PageSize::Size4K, false).is_ok());
        assert_eq!(stop(&mut scene), (Stop::NoCall, QUERY_CORE));
    }

    /// The guest has made its calling area shared without telling us: no call is taken through it, and the vCPU runs
    /// on.
    #[test]
    fn a_calling_area_that_the_host_has_taken_is_no_call() {
        let mut scene = stopped(0x403, 1);
        scene.machine.taken = Some((scene.vcpu().calling_area, 0));
        assert_eq!(stop(&mut scene), (Stop::NoCall, QUERY_CORE));
    }

    #[test]
    fn a_register_state_that_the_host_has_taken_is_lost() {
        for accesses in 0..15 {
            let mut scene = stopped(0x403, 1);
            scene.machine.taken = Some((scene.vcpu().vmsa, accesses));
            assert_eq!(after_stop(&mut scene.parts()), Stop::Lost, "after {accesses} accesses");
        }
    }
}
