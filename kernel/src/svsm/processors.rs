//! Processors that are started when the guest creates a vCPU for them, with memory that it has deposited.

use heapless::Vec as FixedVec;

use snp::svsm::ResultCode;

use super::deposit::{say_what_is_available, want};
use super::vcpus::{Guest, MAX_LATER_PAGES};
use crate::mm::{LARGE_PAGE_SIZE, Pages};

/// The pages of a processor's memory.
pub(super) type Block = FixedVec<u64, MAX_LATER_PAGES>;

/// Takes what a processor needs that is to be started, of pages that were deposited, for good. The first is not at a
/// 2 MiB boundary: for a register state, with which hardware fails there.
///
/// - `0x4000_0000 + n`: n more are wanted
/// - `INVALID_REQUEST`: the firmware cannot keep track of so many more in use
/// - `INVALID_ADDRESS`: all that would be taken, which are those with the highest addresses, are at 2 MiB boundaries
pub(super) fn take_block(pages: &mut dyn Pages, guest: &mut Guest) -> Result<Block, ResultCode> {
    let wanted = guest.later_pages;
    want(guest, wanted)?;
    let count = usize::try_from(wanted).unwrap_or(usize::MAX);
    let (mut seen, mut first) = (0, None);
    guest.map.each_to_withdraw(&mut |page| {
        first = (seen < count && !page.is_multiple_of(LARGE_PAGE_SIZE)).then_some(seen);
        seen += 1;
        first.is_none() && seen < count
    });
    let first = first.ok_or(ResultCode::INVALID_ADDRESS)?;
    let mut block: Block = (0..count).map_while(|_| guest.map.use_deposited()).collect();
    say_what_is_available(pages, guest);
    if block.len() != count {
        return Err(ResultCode::INVALID_REQUEST);
    }
    block.swap(0, first);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec::Vec;

    use snp::vmsa::{Vmsa, features};
    use spin::Mutex;
    use zerocopy::IntoBytes;

    use super::*;
    use crate::mm::GUEST_VMPL;
    use crate::mm::ownership::Owner;
    use crate::svsm::vcpus::LATER_PAGES;
    use crate::svsm::{self, Machine, Registers};
    use crate::testing::{FakeMachine, GIVEN, LATER, Scene};

    const CREATE: u64 = 2;
    const DELETE: u64 = 3;
    const DEPOSIT: u64 = 4;
    const WITHDRAW: u64 = 5;
    const WANTED: u64 = 0x4000_0000;
    const INVALID_ADDRESS: u64 = 0x8000_0003;
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    const INVALID_REQUEST: u64 = 0x8000_0006;
    const BUSY: u64 = 0x8000_0007;
    const LIST: u64 = GIVEN + 0x5000;
    const PAGES: u64 = GIVEN + 0x4_0000;
    const VMSA: u64 = GIVEN + 0x3_0000;
    const AREA: u64 = GIVEN + 0xe000;
    const ALL: u64 = LATER_PAGES as u64;

    fn offered() -> Vmsa {
        let mut vmsa = Vmsa::real_mode(GUEST_VMPL, features::SNP, 0xffff_fff0);
        vmsa.set_runnable(true);
        vmsa
    }

    fn list(entries: &[u64]) -> Vec<u8> {
        [entries.len() as u64].iter().chain(entries).flat_map(|word| word.to_le_bytes()).collect()
    }

    fn deposit(scene: &mut Scene, pages: &[u64]) {
        scene.machine.place(LIST, &list(pages));
        assert_eq!(scene.call(DEPOSIT, [LIST, 0, 0, 0]).rax, 0);
    }

    fn withdraw(scene: &mut Scene) -> Vec<u64> {
        assert_eq!(scene.call(WITHDRAW, [LIST, 0, 0, 0]).rax, 0);
        let count = usize::from(scene.machine.bytes(LIST, 1)[0]);
        let words = scene.machine.bytes(LIST + 8, count * 8);
        words.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    }

    /// Pages that touch no other.
    fn alone(from: u64, count: u64) -> Vec<u64> {
        (0..count).map(|page| PAGES + (from + page) * 0x2000).collect()
    }

    fn create(scene: &mut Scene, apic_id: u32, vmsa: u64) -> u64 {
        scene.machine.place(vmsa, offered().as_bytes());
        scene.call(CREATE, [vmsa, AREA, apic_id.into(), 0]).rax
    }

    fn started(scene: &Scene) -> Vec<u32> {
        scene.machine.started.iter().map(|(apic_id, _)| *apic_id).collect()
    }

    fn available(scene: &Scene) -> u8 {
        scene.machine.bytes(scene.vcpu().calling_area + 1, 1)[0]
    }

    #[test]
    fn a_vcpu_for_a_processor_that_does_not_run_wants_memory_and_starts_it() {
        let mut scene = Scene::with_later(LATER_PAGES);
        scene.machine.place(VMSA, offered().as_bytes());
        let before = (scene.machine.states(), scene.machine.snapshot());
        assert_eq!(create(&mut scene, LATER[0], VMSA), WANTED + ALL);
        assert_eq!(create(&mut scene, LATER[0], VMSA), WANTED + ALL, "and again");
        assert!((scene.machine.states(), scene.machine.snapshot()) == before, "nothing was touched");
        deposit(&mut scene, &alone(0, 7));
        assert_eq!(available(&scene), 0, "it was asked for");
        assert_eq!(create(&mut scene, LATER[0], VMSA), WANTED + ALL - 7);
        assert_eq!((scene.map().owner(VMSA), started(&scene)), (Owner::Guest, Vec::new()));
        deposit(&mut scene, &alone(7, ALL - 7 + 3));
        assert_eq!(available(&scene), 1, "three more than were asked for");
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        scene.machine.assert_vmsa(VMSA);
        assert_eq!(available(&scene), 1);
        let mut highest = alone(3, ALL);
        highest.reverse();
        assert_eq!(scene.machine.started, [(LATER[0], highest)]);
        scene.apic_id = LATER[0];
        assert_eq!((scene.vcpu().vmsa, scene.vcpu().calling_area), (VMSA, AREA));
    }

    #[test]
    fn each_processor_has_memory_of_its_own() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, ALL + 5));
        assert_eq!(create(&mut scene, LATER[1], VMSA), 0);
        assert_eq!(create(&mut scene, LATER[0], VMSA + 0x2000), WANTED + ALL - 5);
        deposit(&mut scene, &alone(ALL + 5, ALL - 5));
        assert_eq!(create(&mut scene, LATER[0], VMSA + 0x2000), 0);
        assert_eq!(started(&scene), [LATER[1], LATER[0]]);
        assert_eq!((scene.map().deposited(), available(&scene)), (0, 0));
    }

    /// DELETE_VCPU keeps it for the next CREATE_VCPU.
    #[test]
    fn a_processor_is_started_once() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, ALL));
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        for _ in 0..3 {
            assert_eq!(scene.call(DELETE, [VMSA, 0, 0, 0]).rax, 0);
            assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        }
        assert_eq!(started(&scene), [LATER[0]]);
    }

    #[test]
    fn what_a_processor_uses_is_not_the_guests_any_more() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, ALL + 1));
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        let used = alone(1, ALL);
        let before = scene.machine.states();
        for page in &used {
            assert_eq!(scene.map().owner(*page), Owner::Firmware);
            scene.machine.place(LIST, &list(&[*page]));
            for call in [1, DEPOSIT] {
                assert_eq!(scene.call(call, [LIST, 0, 0, 0]).rax, INVALID_ADDRESS, "call {call}");
            }
            assert_eq!(scene.call(0, [*page, 0, 0, 0]).rax, INVALID_ADDRESS, "no calling area");
            assert_eq!(scene.call(CREATE, [*page, AREA, LATER[1].into(), 0]).rax, INVALID_ADDRESS);
            assert_eq!(scene.call(DELETE, [*page, 0, 0, 0]).rax, INVALID_PARAMETER);
        }
        assert!(scene.machine.states() == before, "no page changed its state");
        assert_eq!(withdraw(&mut scene), [PAGES], "what it does not use comes back");
        scene.machine.assert_granted_zeroed(PAGES);
        assert_eq!(withdraw(&mut scene), []);
    }

    /// The host may run it one day: its memory is never used for anything else.
    #[test]
    fn a_processor_that_does_not_come_up_is_no_processor() {
        let mut scene = Scene::with_later(LATER_PAGES);
        scene.machine.dead_processor = Some(LATER[0]);
        deposit(&mut scene, &alone(0, ALL));
        assert_eq!(create(&mut scene, LATER[0], VMSA), INVALID_PARAMETER);
        assert_eq!(scene.map().owner(VMSA), Owner::Guest);
        scene.machine.assert_granted(VMSA);
        scene.machine.dead_processor = None;
        deposit(&mut scene, &alone(ALL, ALL));
        assert_eq!(create(&mut scene, LATER[0], VMSA), INVALID_PARAMETER, "from then on");
        assert_eq!(create(&mut scene, LATER[1], VMSA), 0, "others are");
        assert_eq!((started(&scene), withdraw(&mut scene)), (LATER.to_vec(), Vec::new()));
        assert_eq!(scene.call(2 << 32, [0; 4]).rax, 0, "the next call");
    }

    /// Nothing is asked for, and nothing started, for a call that is refused.
    #[test]
    fn a_refusal_comes_before_the_memory() {
        let mut scene = Scene::with_later(LATER_PAGES);
        scene.machine.place(VMSA, offered().as_bytes());
        let before = (scene.machine.states(), scene.machine.snapshot());
        let area = scene.vcpu().calling_area;
        for (vmsa, calling_area, code) in [
            (VMSA + 8, AREA, INVALID_PARAMETER),
            (VMSA, AREA + 8, INVALID_PARAMETER),
            (VMSA, VMSA, INVALID_ADDRESS),
            (area, AREA, INVALID_ADDRESS),
            (0x20_0000, AREA, INVALID_ADDRESS),
            (0x80_0000_0000, AREA, INVALID_ADDRESS),
            (VMSA, 0x80_0000_0000, INVALID_ADDRESS),
        ] {
            let rax = scene.call(CREATE, [vmsa, calling_area, LATER[0].into(), 0]).rax;
            assert_eq!(rax, code, "{vmsa:#x} {calling_area:#x}");
        }
        for apic_id in [0, 1, 3, 10, u64::from(LATER[0]) | 1 << 32] {
            assert_eq!(scene.call(CREATE, [VMSA, AREA, apic_id, 0]).rax, INVALID_PARAMETER);
        }
        assert!((scene.machine.states(), scene.machine.snapshot()) == before, "nothing was touched");
        assert_eq!(scene.guest.get_mut().wanted, 0);
    }

    /// It is judged once the guest cannot reach it any more; the processor runs by then, and waits for a good one.
    #[test]
    fn a_register_state_that_is_not_the_guests_to_run_leaves_the_processor_running() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, ALL));
        let mut vmsa = offered();
        vmsa.vmpl = 0;
        scene.machine.place(VMSA, vmsa.as_bytes());
        assert_eq!(scene.call(CREATE, [VMSA, AREA, LATER[0].into(), 0]).rax, INVALID_PARAMETER);
        scene.machine.assert_granted(VMSA);
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        assert_eq!(started(&scene), [LATER[0]]);
    }

    #[test]
    fn a_register_state_of_vmpl0_is_not_at_a_large_pages_boundary() {
        let mut scene = Scene::with_later(3);
        deposit(&mut scene, &[0x20_0000, 0x2f_e000, 0x40_0000]);
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
        assert_eq!(scene.machine.started, [(LATER[0], [0x2f_e000, 0x40_0000, 0x20_0000].to_vec())]);
        let mut scene = Scene::with_later(2);
        deposit(&mut scene, &[PAGES, 0x20_0000, 0x40_0000]);
        assert_eq!(create(&mut scene, LATER[0], VMSA), INVALID_ADDRESS);
        assert_eq!((scene.map().deposited(), started(&scene)), (3, Vec::new()), "nothing was taken");
        deposit(&mut scene, &[0x40_1000]);
        assert_eq!(create(&mut scene, LATER[0], VMSA), 0);
    }

    #[test]
    fn more_pieces_than_can_be_remembered_are_refused() {
        let mut scene = Scene::with_later(LATER_PAGES);
        scene.guest.get_mut().map.fill_uses();
        deposit(&mut scene, &alone(0, ALL));
        let before = scene.machine.states();
        assert_eq!(create(&mut scene, LATER[0], VMSA), INVALID_REQUEST);
        assert!(scene.machine.states() == before, "no page changed its state");
        assert_eq!(scene.map().deposited(), ALL, "nothing was taken");
    }

    /// From any of the guest's processors, beside another scene's TPM and PSP.
    fn call(guest: &Mutex<Guest>, machine: &mut FakeMachine, rax: u64, [rcx, rdx, r8]: [u64; 3]) -> u64 {
        let (mut scene, mut registers) = (Scene::alone(), Registers { rax, rcx, rdx, r8, r9: 0 });
        svsm::serve(&mut Machine { pages: machine, guest, ..scene.parts() }, &mut registers);
        registers.rax
    }

    /// While a processor is waited for, the guest's lock is free, and whoever creates a vCPU for it is told BUSY.
    #[test]
    fn nobody_waits_for_whoever_waits_for_a_processor() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, 2 * ALL + 1));
        let Scene { mut machine, guest, .. } = scene;
        let guest: &'static Mutex<Guest> = Box::leak(Box::new(guest));
        for vmsa in [VMSA, VMSA + 0x2000, VMSA + 0x4000] {
            machine.place(vmsa, offered().as_bytes());
        }
        machine.while_starting = Some(Box::new(|machine| {
            assert!(guest.try_lock().is_some(), "the guest's lock is held");
            let [first, second] = LATER.map(u64::from);
            assert_eq!(call(guest, machine, CREATE, [VMSA + 0x2000, AREA + 0x2000, first]), BUSY);
            assert_eq!(call(guest, machine, CREATE, [VMSA + 0x2000, AREA + 0x2000, second]), 0);
            assert_eq!(call(guest, machine, WITHDRAW, [LIST, 0, 0]), 0);
            assert_eq!(machine.bytes(LIST, 16), list(&[PAGES]), "what both do not use");
            assert_eq!(guest.lock().begin(LATER[0]), None, "it has no vCPU yet");
        }));
        assert_eq!(call(guest, &mut machine, CREATE, [VMSA, AREA, LATER[0].into()]), 0);
        let vcpus = LATER.map(|apic_id| guest.lock().begin(apic_id).map(|vcpu| vcpu.vmsa));
        assert_eq!(vcpus, [Some(VMSA), Some(VMSA + 0x2000)]);
    }

    /// Everything is checked again: the page may be another's by then.
    #[test]
    fn what_changes_while_a_processor_is_waited_for_is_seen() {
        let mut scene = Scene::with_later(LATER_PAGES);
        deposit(&mut scene, &alone(0, ALL));
        let Scene { mut machine, guest, .. } = scene;
        let guest: &'static Mutex<Guest> = Box::leak(Box::new(guest));
        machine.place(VMSA, offered().as_bytes());
        machine.while_starting = Some(Box::new(|machine| {
            machine.place(LIST, &list(&[VMSA]));
            assert_eq!(call(guest, machine, DEPOSIT, [LIST, 0, 0]), 0);
        }));
        assert_eq!(call(guest, &mut machine, CREATE, [VMSA, AREA, LATER[0].into()]), INVALID_ADDRESS);
        machine.assert_deposited(VMSA);
        assert_eq!(call(guest, &mut machine, WITHDRAW, [LIST, 0, 0]), 0);
        machine.place(VMSA, offered().as_bytes());
        assert_eq!(call(guest, &mut machine, CREATE, [VMSA, AREA, LATER[0].into()]), 0, "the processor runs");
        assert_eq!(machine.started.len(), 1);
    }
}
