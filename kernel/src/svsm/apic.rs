//! APIC protocol (protocol 3), for vCPUs with alternate injection; for others it is not there. And what every stop of
//! such a vCPU comes with: its register state gives and takes interrupts, and so does the host.

use core::mem::offset_of;

use snp::ghcb::doorbell::Presented;
use snp::svsm::ResultCode;
use snp::svsm::apic::{Command, VectorConfig, call, configure};
use snp::vmsa::Vmsa;
use snp::vmsa::features::ALTERNATE_INJECTION;

use super::vcpus::{Guest, MAX_PROCESSORS, Vcpu};
use super::x2apic::{Effect, Refused, with_tpr};
use super::{Machine, Registers};
use crate::mm::{Inaccessible, Pages, read_u64, write_u64};

/// What interrupts come by, to and from one processor.
pub trait Wires {
    /// What the host presents to the guest's VMPL on this processor; it is presented no more.
    fn presented(&mut self) -> Presented;
    /// The host's level-triggered interrupt has been served.
    fn end_of_level(&mut self, vector: u8);
    /// Has VMPL0 run on another processor.
    fn signal(&mut self, apic_id: u32);
}

/// Whether the vCPU has alternate injection.
pub(super) const fn is_emulated(vcpu: &Vcpu) -> bool {
    vcpu.sev_features & ALTERNATE_INJECTION != 0
}

impl Machine<'_> {
    /// Whether the calling vCPU has an emulated APIC.
    pub(super) fn has_apic(&self) -> bool {
        self.guest.lock().calling(self.apic_id).is_some_and(|vcpu| is_emulated(vcpu))
    }
}

const CONTROL: u64 = offset_of!(Vmsa, vintr_ctrl) as u64;
const EVENT: u64 = offset_of!(Vmsa, event_inj) as u64;

/// The vCPU has stopped: takes what the processor has left of the interrupts that it was given.
pub(super) fn settle(machine: &mut Machine<'_>, vcpu: &Vcpu) -> Result<(), Inaccessible> {
    change(machine.pages, vcpu, |control, event| match machine.guest.lock().apic(machine.apic_id) {
        Some(apic) => apic.settle(control, event),
        None => (control, event),
    })
}

/// The vCPU is to run: gives it the most urgent interrupt, of those that the host presents, too.
pub(super) fn present(machine: &mut Machine<'_>, vcpu: &Vcpu) -> Result<(), Inaccessible> {
    let presented = machine.wires.presented();
    change(machine.pages, vcpu, |control, event| match machine.guest.lock().apic(machine.apic_id) {
        Some(apic) => {
            apic.take(&presented);
            apic.present(control, event)
        }
        None => (control, event),
    })
}

fn change(pages: &mut dyn Pages, vcpu: &Vcpu, how: impl FnOnce(u64, u64) -> (u64, u64)) -> Result<(), Inaccessible> {
    let (control, event) = how(read_u64(pages, vcpu.vmsa + CONTROL)?, read_u64(pages, vcpu.vmsa + EVENT)?);
    write_u64(pages, vcpu.vmsa + CONTROL, control)?;
    write_u64(pages, vcpu.vmsa + EVENT, event)
}

/// - `UNSUPPORTED_PROTOCOL`: the caller has no alternate injection
/// - `UNSUPPORTED_CALL`: not one of the protocol's
/// - `INVALID_PARAMETER`: a register that there is not, or is only read or only written; a value that it cannot have; a
///   vector of an exception's; a reserved bit
/// - `INVALID_REQUEST`: the last that wants the emulation wants it no more: it stays
/// - `0x80001000`: too many that want it
pub(super) fn handle(machine: &mut Machine<'_>, call: u32, registers: &mut Registers) -> Result<(), ResultCode> {
    let vcpu = machine.guest.lock().calling(machine.apic_id).map(|vcpu| *vcpu);
    let vcpu = vcpu.filter(is_emulated).ok_or(ResultCode::UNSUPPORTED_PROTOCOL)?;
    match call {
        call::QUERY_FEATURES => registers.rcx = 0,
        call::CONFIGURE => configure(&mut machine.guest.lock(), registers.rcx)?,
        call::READ_REGISTER => {
            let control = read_u64(machine.pages, vcpu.vmsa + CONTROL).map_err(gone)?;
            let mut guest = machine.guest.lock();
            let apic = guest.apic(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?;
            registers.rdx = apic.read(registers.rcx, machine.apic_id, control).map_err(refused)?;
        }
        call::WRITE_REGISTER => {
            let mut guest = machine.guest.lock();
            let apic = guest.apic(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?;
            let effect = apic.write(registers.rcx, registers.rdx).map_err(refused)?;
            drop(guest);
            carry_out(machine, &vcpu, effect)?;
        }
        call::CONFIGURE_VECTOR => {
            let config = VectorConfig::decode(registers.rcx).ok_or(ResultCode::INVALID_PARAMETER)?;
            let mut guest = machine.guest.lock();
            let apic = guest.apic(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?;
            apic.configure(config).map_err(refused)?;
        }
        _ => return Err(ResultCode::UNSUPPORTED_CALL),
    }
    Ok(())
}

const fn refused(_: Refused) -> ResultCode {
    ResultCode::INVALID_PARAMETER
}

const fn gone(_: Inaccessible) -> ResultCode {
    ResultCode::INVALID_REQUEST
}

fn configure(guest: &mut Guest, what: u64) -> Result<(), ResultCode> {
    match what {
        configure::QUERY => Ok(()),
        configure::DEREGISTER => guest.want_apics_less().ok_or(ResultCode::INVALID_REQUEST),
        configure::REGISTER => guest.want_apics_more().ok_or(ResultCode::specific(0)),
        _ => Err(ResultCode::INVALID_PARAMETER),
    }
}

fn carry_out(machine: &mut Machine<'_>, vcpu: &Vcpu, effect: Effect) -> Result<(), ResultCode> {
    match effect {
        Effect::None => {}
        Effect::Tpr(tpr) => {
            let control = read_u64(machine.pages, vcpu.vmsa + CONTROL).map_err(gone)?;
            write_u64(machine.pages, vcpu.vmsa + CONTROL, with_tpr(control, tpr)).map_err(gone)?;
        }
        Effect::HostEoi(vector) => machine.wires.end_of_level(vector),
        Effect::Send(command) => send(machine, command),
    }
    Ok(())
}

/// The guest's lock is free again before the host is asked for anything.
fn send(machine: &mut Machine<'_>, command: Command) {
    let receivers: heapless::Vec<u32, MAX_PROCESSORS> = machine.guest.lock().send(machine.apic_id, command);
    let others = receivers.into_iter().filter(|receiver| *receiver != machine.apic_id);
    others.for_each(|receiver| machine.wires.signal(receiver));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OTHER_VMSA, PROCESSORS, Scene};

    const APIC: u64 = 3 << 32;
    const READ: u64 = APIC | 2;
    const WRITE: u64 = APIC | 3;
    const CONFIGURE_VECTOR: u64 = APIC | 4;
    const UNSUPPORTED_PROTOCOL: u64 = 0x8000_0001;
    const UNSUPPORTED_CALL: u64 = 0x8000_0002;
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    const INVALID_REQUEST: u64 = 0x8000_0006;
    const SELF_IPI: u64 = 0x83F;
    const ICR: u64 = 0x830;

    fn emulated() -> Scene {
        let mut scene = Scene::new();
        let vcpu = Vcpu { sev_features: 1 | ALTERNATE_INJECTION, ..scene.vcpu() };
        let guest = scene.guest.get_mut();
        guest.put(PROCESSORS[0], vcpu);
        guest.put(PROCESSORS[1], Vcpu { vmsa: OTHER_VMSA, ..vcpu });
        scene
    }

    fn call(scene: &mut Scene, rax: u64, rcx: u64, rdx: u64) -> (u64, u64) {
        let after = scene.call(rax, [rcx, rdx, 0, 0]);
        (after.rax, after.rdx)
    }

    fn control_and_event(scene: &mut Scene) -> (u64, u64) {
        let vmsa = scene.vcpu().vmsa;
        (read_u64(&mut scene.machine, vmsa + CONTROL).unwrap(), read_u64(&mut scene.machine, vmsa + EVENT).unwrap())
    }

    #[test]
    fn without_alternate_injection_there_is_no_such_protocol() {
        let mut scene = Scene::new();
        for number in 0..6 {
            let after = scene.call(APIC | number, [1, 2, 3, 4]);
            assert_eq!(after, Registers { rax: UNSUPPORTED_PROTOCOL, rcx: 1, rdx: 2, r8: 3, r9: 4 });
        }
        assert_eq!(scene.call(6, [APIC | 1, 0, 0, 0]).rcx, 0);
        let mut scene = emulated();
        assert_eq!(scene.call(6, [APIC | 1, 0, 0, 0]).rcx, 1 << 32 | 1);
        assert_eq!(scene.call(6, [APIC | 2, 0, 0, 0]).rcx, 0);
        assert_eq!(call(&mut scene, APIC | 5, 0, 0).0, UNSUPPORTED_CALL);
        assert_eq!(scene.call(APIC, [7, 0, 0, 0]), Registers::default());
    }

    #[test]
    fn registrations_are_counted_and_the_firmwares_own_stays() {
        let mut scene = emulated();
        let mut configure = |what| call(&mut scene, APIC | 1, what, 0).0;
        assert_eq!(
            [configure(0), configure(1), configure(3), configure(u64::MAX)],
            [0, INVALID_REQUEST, INVALID_PARAMETER, INVALID_PARAMETER]
        );
        assert_eq!([configure(2), configure(2), configure(1), configure(1)], [0; 4]);
        assert_eq!(configure(1), INVALID_REQUEST);
    }

    #[test]
    fn what_is_refused_has_a_code_and_changes_nothing() {
        let mut scene = emulated();
        let before = *scene.guest.get_mut().apic(0).unwrap();
        for (rax, rcx, rdx) in [
            (READ, SELF_IPI, 0),
            (READ, 0x80B, 0),
            (READ, 0x1000, 0),
            (WRITE, 0x802, 0),
            (WRITE, SELF_IPI, 0x1F0),
            (WRITE, ICR, 0x30 | 5 << 8),
            (CONFIGURE_VECTOR, 1 << 10, 0),
            (CONFIGURE_VECTOR, 0x10D, 0),
        ] {
            assert_eq!(call(&mut scene, rax, rcx, rdx).0, INVALID_PARAMETER, "{rax:#x} {rcx:#x} {rdx:#x}");
        }
        assert_eq!(*scene.guest.get_mut().apic(0).unwrap(), before);
    }

    /// To another vCPU, by the three kinds of destination, and not to the sender; the host is to run VMPL0 there.
    #[test]
    fn commands_reach_whom_they_are_for() {
        let other = PROCESSORS[1];
        for (icr, to_self, to_other) in [
            (u64::from(other) << 32 | 0x41, false, true),
            (u64::from(PROCESSORS[0]) << 32 | 0x41, true, false),
            (u64::from(1_u32 << other) << 32 | 1 << 11 | 0x41, false, true),
            (0x201_u64 << 32 | 1 << 11 | 0x41, true, true),
            (1 << 18 | 0x41, true, false),
            (2 << 18 | 0x41, true, true),
            (3 << 18 | 0x41, false, true),
            (77 << 32 | 0x41, false, false),
        ] {
            let mut scene = emulated();
            assert_eq!(call(&mut scene, WRITE, ICR, icr), (0, icr));
            let signalled: &[u32] = if to_other { &[9] } else { &[] };
            assert_eq!(scene.wires.signalled, signalled, "{icr:#x}");
            for (apic_id, expected) in [(PROCESSORS[0], to_self), (other, to_other)] {
                scene.apic_id = apic_id;
                assert_eq!(call(&mut scene, READ, 0x822, 0), (0, u64::from(expected) << 1), "{icr:#x} at {apic_id}");
            }
        }
        let mut scene = emulated();
        assert_eq!(call(&mut scene, READ, 0x802, 0), (0, 0));
        scene.apic_id = other;
        assert_eq!([call(&mut scene, READ, 0x802, 0), call(&mut scene, READ, 0x80D, 0)], [(0, 9), (0, 1 << 9)]);
    }

    /// From the host's doorbell to the register state, and from there into service, and its end to the host.
    #[test]
    fn a_hosts_interrupt_goes_its_way() {
        let mut scene = emulated();
        let vcpu = scene.vcpu();
        scene.wires.presented = Presented { level: Some(0x55), vectors: [u32::MAX; 8], nmi: true };
        present(&mut scene.parts(), &vcpu).unwrap();
        assert_eq!(control_and_event(&mut scene), (0, 0), "nothing was allowed");
        assert_eq!(call(&mut scene, CONFIGURE_VECTOR, 0x155, 0).0, 0);
        scene.wires.presented = Presented { level: Some(0x55), vectors: [u32::MAX; 8], nmi: true };
        present(&mut scene.parts(), &vcpu).unwrap();
        assert_eq!(control_and_event(&mut scene), (1 << 8 | 5 << 16 | 0x55 << 32, 0));
        // The processor takes it.
        write_u64(&mut scene.machine, vcpu.vmsa + CONTROL, 0x55 << 32 | 3).unwrap();
        settle(&mut scene.parts(), &vcpu).unwrap();
        assert_eq!(control_and_event(&mut scene), (3, 0), "the guest's TPR stays");
        assert_eq!(call(&mut scene, READ, 0x812, 0), (0, 1 << 21));
        assert_eq!((call(&mut scene, READ, 0x808, 0), call(&mut scene, READ, 0x80A, 0)), ((0, 0x30), (0, 0x50)));
        assert_eq!(call(&mut scene, WRITE, 0x80B, 0).0, 0);
        assert_eq!(scene.wires.ended, [0x55]);
        assert_eq!(call(&mut scene, WRITE, 0x808, 0xA5).0, 0);
        assert_eq!(control_and_event(&mut scene).0, 0xA);
    }

    /// A new vCPU has nothing of the one before it on its processor.
    #[test]
    fn a_new_vcpu_has_an_apic_of_its_own() {
        let mut scene = emulated();
        assert_eq!(call(&mut scene, WRITE, SELF_IPI, 0x41).0, 0);
        assert_eq!(call(&mut scene, READ, 0x822, 0), (0, 2));
        let vcpu = scene.vcpu();
        scene.guest.get_mut().put(PROCESSORS[0], vcpu);
        assert_eq!(call(&mut scene, READ, 0x822, 0), (0, 0));
    }
}
