//! Memory that the guest deposits and withdraws (SVSM specification 1.01, 6.5 and 6.6), and what the firmware does with
//! it: it grows by it what it cannot make in its own memory.
//!
//! That is the ownership map (`grow_map`) and processors (`super::processors`).
//!
//! A call that needs memory answers how many pages it needs (`0x4000_0000 + n`); the guest deposits them and calls
//! again.

use snp::svsm::core_protocol::{DepositEntry, PvalidateHead, room_for_entries};
use snp::svsm::{CallingArea, ResultCode};

use super::Machine;
use super::core_protocol::{each, each_entry, inaccessible, map_failed};
use super::vcpus::Guest;
use crate::guest::Claim;
use crate::mm::ownership::{Owner, PAGES_TO_GROW};
use crate::mm::validate::{grant, rescind};
use crate::mm::{PAGE, PAGE_SIZE, PageSize, Pages, Region};

/// The pages of a list become the firmware's, in order. `next` in the guest's list is moved on to the first entry that
/// was not done.
///
/// - `INVALID_PARAMETER`: a list that is not aligned to 8; a head with no entry left, with more than its page can hold,
///   or with reserved bits; an entry that is malformed
/// - `INVALID_ADDRESS`: a list that is not the guest's; an entry of which a page is not the guest's, or a vCPU's
///   calling area; one of these that is inaccessible: an entry is the guest's as it was, or if it was to be zeroed,
///   nobody's
/// - `INVALID_REQUEST`: the firmware cannot keep track of one more page that is alone
/// - `0x80001000 + n`: RMPADJUST answered n; the entry is the guest's as it was
pub(super) fn deposit_memory(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    let outcome = each_entry(machine, gpa, deposit);
    say_what_is_available(machine.pages, &machine.guest.lock());
    outcome
}

/// The order is the point: the guest loses its rights, also those that a CPU remembers, then the page is zeroed, then
/// it is the firmware's.
fn deposit(pages: &mut dyn Pages, guest: &mut Guest, entry: u64) -> Result<(), ResultCode> {
    let DepositEntry { gpa, size } = DepositEntry::decode(entry)?;
    let region = Region::covering(gpa, size.bytes()).ok_or(ResultCode::INVALID_ADDRESS)?;
    if !guest.map.all(region, Owner::Guest) || guest.has_calling_area(region) {
        return Err(ResultCode::INVALID_ADDRESS);
    }
    if !guest.map.has_room_for_deposit() {
        return Err(ResultCode::INVALID_REQUEST);
    }
    let rescinded = each(region, size, |page, size| rescind(pages, page, size));
    pages.flush();
    if let Err(error) = rescinded {
        restore(pages, region, size);
        return Err(ResultCode::from_rmp(error));
    }
    if let Err(error) = pages.zero(gpa, size) {
        guest.map.poison(region);
        return Err(inaccessible(error));
    }
    guest.map.deposit(region).map_err(map_failed)
}

/// Gives back what was to be deposited, but for what the host has taken of it.
fn restore(pages: &mut dyn Pages, region: Region, size: PageSize) {
    if grant(pages, region.start(), size).is_err() {
        for page in region.pages() {
            let _ = grant(pages, page, PageSize::Size4K);
        }
    }
}

/// Lists pages that were deposited, at most as many as fit, and makes them the guest's again, zeroed. Those that the
/// firmware uses are not among them.
///
/// - `INVALID_PARAMETER`: a list that is not aligned to 8, or that has no room for an entry in its page
/// - `INVALID_ADDRESS`: a list that is not the guest's, or inaccessible
///
/// A page that the host has taken is nobody's, and the list ends before it.
pub(super) fn withdraw_memory(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    let room = room_for_entries(gpa);
    if room == 0 {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let guest = &mut *machine.guest.lock();
    let count = list_deposits(machine.pages, guest, gpa, room)?;
    let mut done = 0;
    while done < count && give_back(machine.pages, guest) {
        done += 1;
    }
    guest.wanted = 0;
    say_what_is_available(machine.pages, guest);
    if done < count { write_list(machine.pages, guest, gpa, &done.to_le_bytes()) } else { Ok(()) }
}

/// Bytes of a list's head, and of each entry.
const HEAD: usize = size_of::<PvalidateHead>();

/// The list before anything else: whoever cannot be told gets nothing.
fn list_deposits(pages: &mut dyn Pages, guest: &Guest, gpa: u64, room: u16) -> Result<u16, ResultCode> {
    let mut list = [0; PAGE];
    let (head, entries) = list.split_at_mut(HEAD);
    let mut count = 0_u16;
    let mut entries = entries.as_chunks_mut().0.iter_mut().take(room.into());
    guest.map.each_to_withdraw(&mut |page| {
        let Some(entry) = entries.next() else { return false };
        *entry = page.to_le_bytes();
        count += 1;
        true
    });
    head.iter_mut().zip(count.to_le_bytes()).for_each(|(to, from)| *to = from);
    let len = (usize::from(count) + 1) * HEAD;
    write_list(pages, guest, gpa, list.get(..len).unwrap_or(&[]))?;
    Ok(count)
}

fn write_list(pages: &mut dyn Pages, guest: &Guest, gpa: u64, bytes: &[u8]) -> Result<(), ResultCode> {
    let list = Claim::new(gpa, bytes.len() as u64).check_in_one_page(&guest.map);
    list.and_then(|list| list.write(pages, bytes)).map_err(|_| ResultCode::INVALID_ADDRESS)
}

/// The next page of [`Owners::each_to_withdraw`](crate::mm::Owners::each_to_withdraw). `false`: it is nobody's now, or
/// there is none.
fn give_back(pages: &mut dyn Pages, guest: &mut Guest) -> bool {
    let Some(page) = guest.map.withdraw() else { return false };
    let zeroed = pages.zero(page, PageSize::Size4K).is_ok();
    let given = zeroed && grant(pages, page, PageSize::Size4K).is_ok();
    if let Some(region) = Region::covering(page, PAGE_SIZE).filter(|_| !given) {
        guest.map.poison(region);
    }
    given
}

/// Makes room in the ownership map, of pages that were deposited.
///
/// - `0x4000_0000 + n`: n more are wanted
/// - `INVALID_REQUEST`: there can be no more room
pub(super) fn grow_map(pages: &mut dyn Pages, guest: &mut Guest) -> Result<(), ResultCode> {
    if !guest.map.can_grow() {
        return Err(ResultCode::INVALID_REQUEST);
    }
    want(guest, PAGES_TO_GROW)?;
    let extended = (0..PAGES_TO_GROW).all(|_| guest.map.use_deposited().is_some_and(|page| pages.extend_heap(page)));
    say_what_is_available(pages, guest);
    if extended && guest.map.grow() { Ok(()) } else { Err(ResultCode::INVALID_REQUEST) }
}

/// So many pages are there to be taken, and nobody waits for them any more.
///
/// - `0x4000_0000 + n`: n more are wanted
/// - `INVALID_REQUEST`: the firmware cannot keep track of so many more in use
pub(super) fn want(guest: &mut Guest, pages: u32) -> Result<(), ResultCode> {
    let there = u32::try_from(guest.map.deposited()).unwrap_or(u32::MAX);
    let missing = pages.saturating_sub(there);
    if missing > 0 {
        guest.wanted = pages;
        return Err(ResultCode::memory_wanted(missing));
    }
    if !guest.map.can_use_deposited(pages) {
        return Err(ResultCode::INVALID_REQUEST);
    }
    guest.wanted = 0;
    Ok(())
}

/// SVSM_MEM_AVAILABLE of the guest's first vCPU: more than was asked for can be withdrawn. A calling area that is not
/// the guest's, or that the host has taken, is not told.
pub(super) fn say_what_is_available(pages: &mut dyn Pages, guest: &Guest) {
    const FIELD: u64 = core::mem::offset_of!(CallingArea, mem_available) as u64;
    let available = guest.map.deposited() > guest.wanted.into();
    let field = guest.first_calling_area().map(|area| Claim::new(area + FIELD, 1));
    if let Some(Ok(field)) = field.map(|field| field.check(&guest.map)) {
        let _ = field.write(pages, &[available.into()]);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::mm::LARGE_PAGE_SIZE;
    use crate::testing::{FIRMWARE, GIVEN, OTHER_VMSA, PROCESSORS, SHARED_PAGE, Scene, forbidden_gpas};

    const PVALIDATE: u64 = 1;
    const CREATE: u64 = 2;
    const DEPOSIT: u64 = 4;
    const WITHDRAW: u64 = 5;
    const INVALID_ADDRESS: u64 = 0x8000_0003;
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    const INVALID_REQUEST: u64 = 0x8000_0006;
    const LARGE: u64 = 1;
    const LIST: u64 = GIVEN + 0x5000;
    const PAGES: u64 = GIVEN + 0x4_0000;

    fn large() -> u64 {
        (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE)
    }

    fn place_list(scene: &mut Scene, next: u16, entries: &[u64]) {
        let count = u16::try_from(entries.len()).unwrap();
        let head = [count.to_le_bytes(), next.to_le_bytes(), [0; 2], [0; 2]].concat();
        scene.machine.place(LIST, &head);
        scene
            .machine
            .place(LIST + 8, entries.iter().flat_map(|entry| entry.to_le_bytes()).collect::<Vec<_>>().as_slice());
    }

    fn next(scene: &Scene) -> u16 {
        let next = scene.machine.bytes(LIST + 2, 2);
        u16::from_le_bytes([next[0], next[1]])
    }

    /// Result and `next` afterwards.
    fn deposit(scene: &mut Scene, entries: &[u64]) -> (u64, u16) {
        place_list(scene, 0, entries);
        let rax = scene.call(DEPOSIT, [LIST, 0, 0, 0]).rax;
        (rax, next(scene))
    }

    /// Result and the pages of the list.
    fn withdraw_to(scene: &mut Scene, gpa: u64) -> (u64, Vec<u64>) {
        let rax = scene.call(WITHDRAW, [gpa, 0, 0, 0]).rax;
        let count = scene.machine.bytes(gpa, 2);
        let count = usize::from(u16::from_le_bytes([count[0], count[1]]));
        let words = scene.machine.bytes(gpa + 8, count * 8);
        (rax, words.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect())
    }

    fn withdraw(scene: &mut Scene) -> (u64, Vec<u64>) {
        withdraw_to(scene, LIST)
    }

    fn available(scene: &Scene) -> u8 {
        scene.machine.bytes(scene.vcpu().calling_area + 1, 1)[0]
    }

    #[test]
    fn what_is_deposited_is_the_firmwares_alone_and_comes_back_zeroed() {
        let mut scene = Scene::new();
        scene.machine.place(PAGES, b"secret");
        assert_eq!(deposit(&mut scene, &[PAGES, PAGES + 0x2000]), (0, 2));
        for page in [PAGES, PAGES + 0x2000] {
            assert_eq!(scene.map().owner(page), Owner::Firmware);
            scene.machine.assert_deposited(page);
        }
        assert_eq!(scene.map().owner(PAGES + 0x1000), Owner::Guest);
        assert_eq!(available(&scene), 1);
        // What the firmware may have written there meanwhile.
        scene.machine.place(PAGES, b"the firmware's");
        assert_eq!(withdraw(&mut scene), (0, [PAGES + 0x2000, PAGES].to_vec()));
        for page in [PAGES, PAGES + 0x2000] {
            assert_eq!(scene.map().owner(page), Owner::Guest);
            scene.machine.assert_granted_zeroed(page);
        }
        assert_eq!(available(&scene), 0);
        assert_eq!(withdraw(&mut scene), (0, Vec::new()), "there is no more");
    }

    /// On one processor, too.
    #[test]
    fn a_guest_of_one_processor_can_deposit() {
        let mut scene = Scene::alone();
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1));
        assert_eq!(withdraw(&mut scene), (0, [PAGES].to_vec()));
    }

    #[test]
    fn a_large_page_is_deposited_whatever_it_is_backed_by() {
        for small_pages_only in [false, true] {
            let mut scene = Scene::new();
            scene.machine.small_pages_only = small_pages_only;
            assert_eq!(deposit(&mut scene, &[large() | LARGE]), (0, 1));
            [0, 0x1000, 0x1f_f000].iter().for_each(|page| scene.machine.assert_deposited(large() + page));
            assert_eq!(scene.map().deposited(), 512);
            let (first, second) = (withdraw(&mut scene), withdraw(&mut scene));
            assert_eq!((first.0, first.1.len(), second), (0, 511, (0, [large()].to_vec())));
            assert_eq!(first.1[..2], [large() + 0x1f_f000, large() + 0x1f_e000]);
            scene.machine.assert_granted_zeroed(large() + 0x1f_f000);
        }
    }

    #[test]
    fn a_page_is_deposited_once() {
        let mut scene = Scene::new();
        assert_eq!(deposit(&mut scene, &[PAGES, PAGES]), (INVALID_ADDRESS, 1));
        assert_eq!(deposit(&mut scene, &[PAGES]), (INVALID_ADDRESS, 0));
        // A small page and then the large one around it, and the other way round.
        let inner = large() + 0x3000;
        assert_eq!(deposit(&mut scene, &[inner, large() | LARGE]), (INVALID_ADDRESS, 1));
        scene.machine.assert_granted(large());
        let mut scene = Scene::new();
        assert_eq!(deposit(&mut scene, &[large() | LARGE, inner]), (INVALID_ADDRESS, 1));
        assert_eq!(scene.map().deposited(), 512);
    }

    /// Nothing else can be done with it, and it can be done with nothing else.
    #[test]
    fn what_is_deposited_is_not_the_guests_to_use() {
        let mut scene = Scene::new();
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1));
        for action in [0, 4, 8, 12] {
            place_list(&mut scene, 0, &[PAGES | action]);
            assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, INVALID_ADDRESS);
        }
        assert_eq!(scene.call(0, [PAGES, 0, 0, 0]).rax, INVALID_ADDRESS, "no calling area");
        let other = PROCESSORS[1].into();
        assert_eq!(scene.call(CREATE, [PAGES, GIVEN + 0xe000, other, 0]).rax, INVALID_ADDRESS, "no register state");
        assert_eq!(scene.call(CREATE, [GIVEN + 0xd000, PAGES, other, 0]).rax, INVALID_ADDRESS);
        assert_eq!(scene.call(2 << 32 | 1, [PAGES, 0, 0, 0]).rax, INVALID_PARAMETER, "no mailbox");
        assert_eq!(scene.call(DEPOSIT, [PAGES, 0, 0, 0]).rax, INVALID_ADDRESS, "no list");
        assert_eq!(scene.call(WITHDRAW, [PAGES, 0, 0, 0]).rax, INVALID_ADDRESS, "no list");
        scene.machine.assert_deposited(PAGES);
    }

    #[test]
    fn what_the_guest_or_the_firmware_uses_is_not_deposited() {
        let mut scene = Scene::new();
        let area = scene.vcpu().calling_area;
        scene
            .guest
            .get_mut()
            .put(PROCESSORS[1], crate::svsm::vcpus::Vcpu { vmsa: OTHER_VMSA, calling_area: PAGES, sev_features: 1 });
        let before = scene.machine.states();
        for gpa in [area, PAGES, OTHER_VMSA, SHARED_PAGE, FIRMWARE, FIRMWARE + 0x5000] {
            assert_eq!(deposit(&mut scene, &[gpa]), (INVALID_ADDRESS, 0), "{gpa:#x}");
        }
        for gpa in forbidden_gpas(4096).into_iter().filter(|gpa| gpa % 4096 == 0) {
            assert_eq!(deposit(&mut scene, &[gpa]), (INVALID_ADDRESS, 0), "{gpa:#x}");
        }
        assert!(scene.machine.states() == before, "no page changed its state");
        assert_eq!(available(&scene), 0);
    }

    #[test]
    fn a_large_page_around_a_calling_area_or_a_register_state_stays() {
        for page in [0, 0x3000] {
            let mut scene = Scene::new();
            assert_eq!(scene.call(0, [large() + page, 0, 0, 0]).rax, 0);
            assert_eq!(deposit(&mut scene, &[large() | LARGE]), (INVALID_ADDRESS, 0));
            scene.machine.assert_granted(large() + 0x4000);
        }
    }

    #[test]
    fn malformed_lists_and_entries_are_refused() {
        let mut scene = Scene::new();
        for bad in [PAGES | 2, PAGES | 3, PAGES | LARGE].into_iter().chain((2..12).map(|bit| PAGES | 1 << bit)) {
            assert_eq!(deposit(&mut scene, &[bad]), (INVALID_PARAMETER, 0), "entry {bad:#x}");
        }
        for head in
            [[0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0xff, 0xff, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0]]
        {
            place_list(&mut scene, 0, &[PAGES]);
            scene.machine.place(LIST, &head);
            assert_eq!(scene.call(DEPOSIT, [LIST, 0, 0, 0]).rax, INVALID_PARAMETER, "head {head:x?}");
        }
        for gpa in forbidden_gpas(8).into_iter().chain([LIST + 1, LIST + 4, LIST + 7]) {
            let code = if gpa % 8 == 0 { INVALID_ADDRESS } else { INVALID_PARAMETER };
            assert_eq!(scene.call(DEPOSIT, [gpa, 0, 0, 0]).rax, code, "gpa {gpa:#x}");
            let code = if gpa % 8 == 0 && gpa % 4096 != 0xff8 { INVALID_ADDRESS } else { INVALID_PARAMETER };
            assert_eq!(scene.call(WITHDRAW, [gpa, 0, 0, 0]).rax, code, "gpa {gpa:#x}");
        }
        assert_eq!(scene.call(WITHDRAW, [LIST + 0xff8, 0, 0, 0]).rax, INVALID_PARAMETER, "no room for an entry");
        assert_eq!(scene.map().owner(PAGES), Owner::Guest);
    }

    /// What comes before the failure is deposited, the rest is as it was; the call goes on from there.
    #[test]
    fn a_list_that_was_cut_in_the_middle_goes_on() {
        let mut scene = Scene::new();
        let pages: Vec<u64> = (0..6).map(|page| PAGES + page * 0x2000).collect();
        let mut entries = pages.clone();
        entries[3] = FIRMWARE;
        assert_eq!(deposit(&mut scene, &entries), (INVALID_ADDRESS, 3));
        assert_eq!((scene.map().deposited(), scene.map().owner(pages[4])), (3, Owner::Guest));
        scene.machine.place(LIST + 8 + 24, &pages[3].to_le_bytes());
        assert_eq!(scene.call(DEPOSIT, [LIST, 0, 0, 0]).rax, 0);
        assert_eq!((next(&scene), scene.map().deposited()), (6, 6));
        let mut back = withdraw(&mut scene).1;
        back.reverse();
        assert_eq!(back, pages, "nothing is lost");
    }

    #[test]
    fn a_list_may_deposit_its_own_page() {
        let mut scene = Scene::new();
        assert_eq!(deposit(&mut scene, &[LIST, PAGES]).0, 0);
        [LIST, PAGES].iter().for_each(|page| scene.machine.assert_deposited(*page));
        assert_eq!(withdraw_to(&mut scene, LIST + 0x1000), (0, [PAGES, LIST].to_vec()));
    }

    /// The host takes the page at any access: before, it is the guest's as it was; amid it, nobody's.
    #[test]
    fn a_page_that_the_host_takes_amid_a_deposit() {
        let mut outcomes = Vec::new();
        for accesses in 0..8 {
            let mut scene = Scene::new();
            scene.machine.taken = Some((PAGES, accesses));
            let (rax, done) = deposit(&mut scene, &[GIVEN + 0x9000, PAGES, GIVEN + 0xa000]);
            outcomes.push(rax);
            let lost = scene.map().owner(PAGES);
            assert!([Owner::Guest, Owner::Poisoned, Owner::Firmware].contains(&lost));
            assert_eq!((rax == 0, done), (lost == Owner::Firmware, if rax == 0 { 3 } else { 1 }));
            scene.machine.taken = None;
            let mut wanted = [GIVEN + 0xa000, GIVEN + 0x9000].to_vec();
            if rax == 0 {
                wanted.insert(0, PAGES);
            } else {
                wanted.remove(0);
            }
            assert_eq!(withdraw(&mut scene), (0, wanted));
        }
        assert_eq!(outcomes[..4], [INVALID_ADDRESS; 4], "three RMPADJUST, and the zeros");
        assert_eq!(outcomes[4..], [0; 4]);
    }

    /// A page of a large one is gone: all others are the guest's as before.
    #[test]
    fn a_large_page_of_which_one_is_gone_comes_back() {
        let mut scene = Scene::new();
        scene.machine.small_pages_only = true;
        scene.machine.taken = Some((large() + 0x7000, 0));
        assert_eq!(deposit(&mut scene, &[large() | LARGE]), (INVALID_ADDRESS, 0));
        for page in (0..512).filter(|page| *page != 7) {
            scene.machine.assert_granted(large() + page * 4096);
        }
        assert_eq!(scene.map().deposited(), 0);
    }

    #[test]
    fn what_rmpadjust_refuses_is_as_it_was() {
        let mut scene = Scene::new();
        scene.machine.refuse_grant_of = Some(PAGES);
        assert_eq!(deposit(&mut scene, &[PAGES]), (0x8000_1002, 0));
        scene.machine.refuse_grant_of = None;
        scene.machine.in_use = Some(PAGES);
        assert_eq!(deposit(&mut scene, &[PAGES]), (0x8000_1003, 0));
        scene.machine.assert_granted(PAGES);
    }

    /// A list that cannot be written gives nothing back; a page that is gone is nobody's, and the others come.
    #[test]
    fn a_page_that_the_host_takes_amid_a_withdrawal() {
        let pages = [PAGES, PAGES + 0x2000, PAGES + 0x4000];
        let mut scene = Scene::new();
        assert_eq!(deposit(&mut scene, &pages), (0, 3));
        scene.machine.taken = Some((LIST, 0));
        assert_eq!(scene.call(WITHDRAW, [LIST, 0, 0, 0]).rax, INVALID_ADDRESS);
        assert_eq!(scene.map().deposited(), 3);
        for accesses in 0..2 {
            let mut scene = Scene::new();
            assert_eq!(deposit(&mut scene, &pages), (0, 3));
            scene.machine.taken = Some((pages[1], accesses));
            assert_eq!(withdraw(&mut scene), (0, [pages[2]].to_vec()));
            assert_eq!((scene.map().owner(pages[1]), available(&scene)), (Owner::Poisoned, 1));
            assert_eq!(withdraw(&mut scene), (0, [pages[0]].to_vec()));
        }
    }

    #[test]
    fn as_many_pages_as_the_list_has_room_for() {
        let mut scene = Scene::new();
        let pages: Vec<u64> = (0..511).map(|page| GIVEN + LARGE_PAGE_SIZE + page * 4096).collect();
        assert_eq!(deposit(&mut scene, &pages), (0, 511));
        assert_eq!(withdraw_to(&mut scene, LIST + 0xff0).1.len(), 1);
        assert_eq!(available(&scene), 1);
        assert_eq!(withdraw_to(&mut scene, LIST + 0x800).1.len(), 255);
        assert_eq!(withdraw(&mut scene).1.len(), 255);
        assert_eq!((available(&scene), scene.map().deposited()), (0, 0));
    }

    /// Deposits of single pages, none of which touches another.
    #[test]
    fn more_parts_than_can_be_remembered_are_refused_and_nothing_is_lost() {
        let mut scene = Scene::new();
        let pages: Vec<u64> = (0..).map(|page| GIVEN + 0x6_0000 + page * 0x2000).take(0x290).collect();
        let mut deposited = 0;
        // The machine is too small for so many: the map is told the rest.
        for chunk in pages.chunks(500) {
            let (rax, done) =
                deposit(&mut scene, &chunk.iter().copied().filter(|gpa| *gpa != SHARED_PAGE).collect::<Vec<_>>());
            assert_eq!(rax, 0);
            deposited += u64::from(done);
        }
        assert_eq!(scene.map().deposited(), deposited);
        scene.guest.get_mut().map.fill_deposits();
        let before = scene.machine.states();
        assert_eq!(deposit(&mut scene, &[GIVEN + 0x9000]), (INVALID_REQUEST, 0));
        assert!(scene.machine.states() == before, "no page changed its state");
        assert_eq!(scene.map().owner(GIVEN + 0x9000), Owner::Guest);
    }

    /// PVALIDATE that has no room in the map asks for memory, gets it, and goes on.
    #[test]
    fn a_call_that_needs_memory_asks_for_it_and_uses_it() {
        let mut scene = Scene::new();
        scene.guest.get_mut().map.fill_up();
        let page = large() + LARGE_PAGE_SIZE / 2;
        let pvalidate = |scene: &mut Scene| {
            scene.machine.place(LIST + 0x800, &[1, 0, 0, 0, 0, 0, 0, 0]);
            scene.machine.place(LIST + 0x808, &page.to_le_bytes());
            scene.call(PVALIDATE, [LIST + 0x800, 0, 0, 0]).rax
        };
        let wanted = u64::from(PAGES_TO_GROW);
        assert_eq!(pvalidate(&mut scene), 0x4000_0000 + wanted);
        let pages: Vec<u64> = (0..wanted + 3).map(|page| PAGES + page * 4096).collect();
        let (some, rest) = pages.split_at(40);
        assert_eq!(deposit(&mut scene, some), (0, 40));
        assert_eq!(available(&scene), 0, "it was asked for");
        assert_eq!(pvalidate(&mut scene), 0x4000_0000 + wanted - 40);
        assert_eq!(deposit(&mut scene, rest).0, 0);
        assert_eq!(available(&scene), 1, "three more than were asked for");
        assert_eq!(pvalidate(&mut scene), 0);
        assert_eq!(scene.map().owner(page), Owner::Unvalidated);
        assert_eq!(scene.machine.heap.len() as u64, wanted);
        assert_eq!(withdraw(&mut scene).1, [PAGES + 0x2000, PAGES + 0x1000, PAGES], "what is used stays");
        let used = scene.machine.heap.clone();
        assert!(used.iter().all(|page| scene.map().owner(*page) == Owner::Firmware));
        assert_eq!(deposit(&mut scene, &used[..1]), (INVALID_ADDRESS, 0));
    }

    #[test]
    fn memory_that_was_asked_for_can_be_withdrawn_all_the_same() {
        let mut scene = Scene::new();
        scene.guest.get_mut().map.fill_up();
        place_list(&mut scene, 0, &[large()]);
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, 0x4000_0041);
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1));
        assert_eq!(withdraw(&mut scene), (0, [PAGES].to_vec()));
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1));
        assert_eq!(available(&scene), 1, "nobody waits for it any more");
    }

    /// As often as there is room for: then no more is asked for.
    #[test]
    fn a_map_that_cannot_grow_any_more_is_the_end_of_asking() {
        let mut scene = Scene::new();
        while scene.map().grow() {}
        scene.guest.get_mut().map.fill_up();
        let before = scene.machine.states();
        place_list(&mut scene, 0, &[large()]);
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, INVALID_REQUEST);
        assert!(scene.machine.states() == before, "no page changed its state");
    }

    #[test]
    fn a_heap_that_cannot_grow_is_the_end_of_asking() {
        let mut scene = Scene::new();
        scene.guest.get_mut().map.fill_up();
        scene.machine.heap_limit = 10;
        let pages: Vec<u64> = (0..u64::from(PAGES_TO_GROW)).map(|page| PAGES + page * 4096).collect();
        assert_eq!(deposit(&mut scene, &pages).0, 0);
        place_list(&mut scene, 0, &[large()]);
        let before = scene.map().owner(large());
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, INVALID_REQUEST);
        assert_eq!(scene.map().owner(large()), before);
    }

    /// The memory maps of guests of 384 MiB, 16 GiB and 4 TiB, as QEMU has them: the first has room for all of its
    /// blocks, the others for many, and what a guest of 4 TiB wants beyond that it deposits.
    #[test]
    fn a_guest_of_any_size_has_a_map_and_a_big_one_deposits_for_more() {
        const GIB: u64 = 1 << 30;
        for (ram, asks) in [(384 << 20, false), (16 * GIB, false), (4096 * GIB, true)] {
            let below = ram.min(2 * GIB);
            let map = [(0, below), (4 * GIB, 4 * GIB + ram - below)];
            let mut page = std::boxed::Box::new([0; PAGE]);
            for (entry, (start, end)) in page.chunks_mut(24).zip(map.iter().filter(|(start, end)| start < end)) {
                entry[..8].copy_from_slice(&(start / PAGE_SIZE).to_le_bytes());
                entry[8..16].copy_from_slice(&((end - start) / PAGE_SIZE).to_le_bytes());
            }
            let own = Region::new(FIRMWARE, FIRMWARE + 0x80_0000).unwrap();
            let ranges = crate::mm::memory_map::check(&page, own).unwrap();
            let mut scene = Scene::of(&ranges);
            let pvalidate = |scene: &mut Scene, gpa: u64| {
                scene.machine.place(LIST + 0x800, &[1, 0, 0, 0, 0, 0, 0, 0]);
                scene.machine.place(LIST + 0x808, &(gpa | 4).to_le_bytes());
                scene.call(PVALIDATE, [LIST + 0x800, 0, 0, 0]).rax
            };
            let last = ranges.last().unwrap().end() - PAGE_SIZE;
            assert_eq!(pvalidate(&mut scene, last), 0, "the last page of {ram:#x}");
            scene.machine.assert_granted_zeroed(last);
            // A page of each block, up to where there is no room.
            let blocks = ranges.last().unwrap().blocks().map(|block| block.start());
            let alone: Vec<u64> =
                blocks.filter(|gpa| gpa % LARGE_PAGE_SIZE == 0 && *gpa > 8 << 20).take(40_000).collect();
            let mut codes = Vec::new();
            let pages: Vec<u64> = (0..u64::from(PAGES_TO_GROW)).map(|page| PAGES + page * 4096).collect();
            for gpa in alone {
                let region = Region::covering(gpa, PAGE_SIZE).unwrap();
                if scene.map().can_change(region) {
                    scene.map().give(region).unwrap();
                } else {
                    codes.push(pvalidate(&mut scene, gpa));
                    assert_eq!(deposit(&mut scene, &pages).0, 0);
                    codes.push(pvalidate(&mut scene, gpa));
                    break;
                }
            }
            assert_eq!(codes, if asks { [0x4000_0041, 0].to_vec() } else { Vec::new() });
        }
    }

    /// The flag is in the first vCPU's calling area, whoever calls, and nowhere that is not the guest's.
    #[test]
    fn the_first_vcpu_is_told_what_is_available() {
        let mut scene = Scene::new();
        let first = scene.vcpu().calling_area;
        scene.guest.get_mut().put(
            PROCESSORS[1],
            crate::svsm::vcpus::Vcpu { vmsa: OTHER_VMSA, calling_area: GIVEN + 0xe000, sev_features: 1 },
        );
        scene.apic_id = PROCESSORS[1];
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1));
        assert_eq!(
            (scene.machine.bytes(first, 3), scene.machine.bytes(GIVEN + 0xe000, 3)),
            ([0, 1, 0].to_vec(), [0; 3].to_vec())
        );
        place_list(&mut scene, 0, &[first]);
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, 0, "it gives its calling area away");
        assert_eq!(withdraw(&mut scene), (0, [PAGES].to_vec()));
        let mut scene = Scene::new();
        scene.machine.taken = Some((first, 0));
        assert_eq!(deposit(&mut scene, &[PAGES]), (0, 1), "or the host has taken it");
    }
}
