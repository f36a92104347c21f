//! Core protocol (protocol 0): calling area, page validation, vCPUs. Memory for the firmware is in
//! [`super::deposit`].

use snp::svsm::ResultCode;
use snp::svsm::core_protocol::{
    PVALIDATE_HEAD_SIZE, PVALIDATE_NEXT_OFFSET, ProtocolQuery, PvalidateEntry, PvalidateHead, call,
};
use snp::vmsa::Vmsa;
use zerocopy::{FromZeros, IntoBytes};

use super::request::set_runnable;
use super::vcpus::{Guest, NoPlace, Vcpu};
use super::{Machine, Registers, deposit, find, processors};
use crate::guest::Claim;
use crate::mm::validate::{grant, revoke};
use crate::mm::{
    Attributes, GUEST_VMPL, Inaccessible, LARGE_PAGE_SIZE, Owner, Owners, OwnershipError, PAGE, PAGE_SIZE, PageSize,
    Pages, Pvalidated, Region,
};

/// DELETE_VCPU: the vCPU is running.
const FAIL_INUSE: ResultCode = ResultCode::specific(3);
/// PVALIDATE: parts of a 2 MiB page are in different states.
const FAIL_SIZEMISMATCH: ResultCode = ResultCode::specific(6);

pub(super) fn handle(machine: &mut Machine<'_>, call: u32, registers: &mut Registers) -> Result<(), ResultCode> {
    match call {
        call::REMAP_CA => remap_calling_area(machine, registers.rcx),
        call::PVALIDATE => pvalidate(machine, registers.rcx),
        call::CREATE_VCPU => create_vcpu(machine, registers),
        call::DELETE_VCPU => delete_vcpu(machine, registers.rcx),
        call::DEPOSIT_MEM => deposit::deposit_memory(machine, registers.rcx),
        call::WITHDRAW_MEM => deposit::withdraw_memory(machine, registers.rcx),
        call::QUERY_PROTOCOL => {
            let query = ProtocolQuery::from_rcx(registers.rcx);
            let is_there = query.protocol != snp::svsm::protocol::APIC || machine.has_apic();
            registers.rcx = if is_there { query_protocol(query) } else { 0 };
            Ok(())
        }
        _ => Err(ResultCode::UNSUPPORTED_CALL),
    }
}

fn query_protocol(query: ProtocolQuery) -> u64 {
    find(query.protocol).map_or(0, |protocol| query.answer(protocol.min_version, protocol.max_version))
}

/// A page that the host has taken, no matter who asked it to.
pub(super) const fn inaccessible(_: Inaccessible) -> ResultCode {
    ResultCode::INVALID_ADDRESS
}

/// The caller's next calls come through another page.
///
/// - `INVALID_PARAMETER`: not page aligned
/// - `INVALID_ADDRESS`: not the guest's, or inaccessible; the calling area is what it was
fn remap_calling_area(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    let mut guest = machine.guest.lock();
    let page = page_of_the_guest(&guest.map, gpa)?;
    // A pending byte that stood there by accident would be a call that nobody made.
    machine.pages.exchange(page, 0).map_err(inaccessible)?;
    guest.calling(machine.apic_id).ok_or(ResultCode::INVALID_REQUEST)?.calling_area = page;
    Ok(())
}

fn page_of_the_guest(map: &dyn Owners, gpa: u64) -> Result<u64, ResultCode> {
    if !gpa.is_multiple_of(PAGE_SIZE) {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let page = Claim::new(gpa, PAGE_SIZE).check(map).map_err(|_| ResultCode::INVALID_ADDRESS)?;
    Ok(page.gpa())
}

/// Validates and invalidates the pages of a list in order. `next` in the guest's list is moved on to the first entry
/// that was not done.
///
/// - `INVALID_PARAMETER`: a list that is not aligned to 8; a head with no entry left, with more than its page can hold,
///   or with reserved bits; an entry that is malformed
/// - `INVALID_ADDRESS`: a list that is not the guest's; an entry whose page is not the guest's RAM; one of these that
///   is inaccessible. Where that is the list, when `next` is to be written, the entries have been done all the same
/// - `0x80001006`: a 2 MiB page of which parts are validated and parts not
/// - `0x80001010`: the page is in the wanted state already, and the entry does not ignore that; or the CPU says so and
///   the firmware does not: from then on the page is no RAM of the guest's
/// - `0x4000_0000 + n`: n pages are wanted for the ownership map, which has no room for one more block in mixed use
/// - `INVALID_REQUEST`: nor can it have more
/// - `0x80001000 + n`: PVALIDATE or RMPADJUST answered n
fn pvalidate(machine: &mut Machine<'_>, gpa: u64) -> Result<(), ResultCode> {
    each_entry(machine, gpa, change_page)
}

/// Does `work` to the entries of a list in order, and writes `next` back.
pub(super) fn each_entry(
    machine: &mut Machine<'_>,
    gpa: u64,
    work: fn(&mut dyn Pages, &mut Guest, u64) -> Result<(), ResultCode>,
) -> Result<(), ResultCode> {
    let mut list = [0; PAGE];
    let (head, entries) = read_list(machine, gpa, &mut list)?;
    let mut next = head.next.get();
    let mut outcome = Ok(());
    for entry in entries.iter().take(head.count.get().into()).skip(next.into()) {
        // The lock for each: other vCPUs' calls come in between.
        outcome = work(machine.pages, &mut machine.guest.lock(), entry.get());
        if outcome.is_err() {
            break;
        }
        next += 1;
    }
    // The list's own page may have gone by an entry.
    if let Ok(field) = Claim::new(gpa + PVALIDATE_NEXT_OFFSET, 2).check(&machine.guest.lock().map) {
        field.write(machine.pages, &next.to_le_bytes()).map_err(|_| ResultCode::INVALID_ADDRESS)?;
    }
    outcome
}

type Entries<'l> = &'l [zerocopy::little_endian::U64];

/// The one copy of head and entries: all of the list's page from its head on.
fn read_list<'l>(
    machine: &mut Machine<'_>,
    gpa: u64,
    list: &'l mut [u8; PAGE],
) -> Result<(PvalidateHead, Entries<'l>), ResultCode> {
    let invalid = ResultCode::INVALID_ADDRESS;
    if !gpa.is_multiple_of(PVALIDATE_HEAD_SIZE) {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let len = PAGE_SIZE - gpa % PAGE_SIZE;
    let bytes = usize::try_from(len).ok().and_then(|len| list.get_mut(..len)).ok_or(invalid)?;
    let guest = machine.guest.lock();
    let checked = Claim::new(gpa, len).check_in_one_page(&guest.map).map_err(|_| invalid)?;
    checked.read(machine.pages, bytes).map_err(|_| invalid)?;
    let (head, entries) = zerocopy::FromBytes::read_from_prefix(bytes)
        .map_err(|_| invalid)
        .map(|(head, _): (PvalidateHead, _)| (head, bytes.get(size_of::<PvalidateHead>()..)))?;
    head.check(gpa)?;
    let entries = entries.and_then(|bytes| zerocopy::FromBytes::ref_from_bytes(bytes).ok()).ok_or(invalid)?;
    Ok((head, entries))
}

/// Pages and who owns them, for as long as the guest's lock is held.
struct Memory<'m> {
    pages: &'m mut dyn Pages,
    map: &'m mut dyn Owners,
}

fn change_page(pages: &mut dyn Pages, guest: &mut Guest, entry: u64) -> Result<(), ResultCode> {
    let entry = PvalidateEntry::decode(entry)?;
    let region = Region::covering(entry.gpa, entry.size.bytes()).ok_or(ResultCode::INVALID_ADDRESS)?;
    let (wanted, other) = match entry.validate {
        true => (Owner::Guest, Owner::Unvalidated),
        false => (Owner::Unvalidated, Owner::Guest),
    };
    if guest.map.all(region, wanted) {
        return unchanged(entry.ignore_carry);
    }
    if !guest.map.all(region, other) {
        let ram = region.pages().all(|page| [wanted, other].contains(&guest.map.owner(page)));
        return Err(if ram { FAIL_SIZEMISMATCH } else { ResultCode::INVALID_ADDRESS });
    }
    if !guest.map.can_change(region) {
        deposit::grow_map(pages, guest)?;
    }
    let memory = &mut Memory { pages, map: &mut guest.map };
    if entry.validate { validate(memory, region, &entry) } else { invalidate(memory, region, entry.size) }
}

const fn unchanged(ignored: bool) -> Result<(), ResultCode> {
    if ignored { Ok(()) } else { Err(ResultCode::FAIL_UNCHANGED) }
}

/// The map says that the page is not validated; if the CPU finds that it is, the host has moved a page, and the guest
/// is told. A page of which CPU and map do not say the same is nobody's from then on.
fn validate(memory: &mut Memory<'_>, region: Region, entry: &PvalidateEntry) -> Result<(), ResultCode> {
    let gpa = region.start();
    match memory.pages.pvalidate(gpa, entry.size, true).map_err(ResultCode::from_rmp)? {
        Pvalidated::Changed => (),
        Pvalidated::Unchanged => return poisoned(memory, region, ResultCode::FAIL_UNCHANGED),
    }
    if let Err(error) = memory.pages.zero(gpa, entry.size) {
        return poisoned(memory, region, inaccessible(error));
    }
    match each(region, entry.size, |page, size| grant(memory.pages, page, size)) {
        Ok(()) => memory.map.give(region).map_err(map_failed),
        Err(error) => poisoned(memory, region, ResultCode::from_rmp(error)),
    }
}

/// The guest's rights go before the page does. A page that PVALIDATE refuses is the guest's as it was. One that is not
/// valid any more was swapped by the host: what the guest had may still be valid elsewhere, and come back after the
/// next validation, so there is none.
fn invalidate(memory: &mut Memory<'_>, region: Region, size: PageSize) -> Result<(), ResultCode> {
    let gpa = region.start();
    let refused = match revoke(memory.pages, gpa, size) {
        Ok(()) => match memory.pages.pvalidate(gpa, size, false) {
            Ok(Pvalidated::Changed) => return memory.map.take(region).map_err(map_failed),
            Ok(Pvalidated::Unchanged) => return poisoned(memory, region, ResultCode::FAIL_UNCHANGED),
            Err(error) => error,
        },
        Err(error) => error,
    };
    each(region, size, |page, size| grant(memory.pages, page, size)).map_err(ResultCode::from_rmp)?;
    Err(ResultCode::from_rmp(refused))
}

fn poisoned(memory: &mut Memory<'_>, region: Region, code: ResultCode) -> Result<(), ResultCode> {
    memory.map.poison(region);
    Err(code)
}

/// Does `work` to the page, or, if the host backs a 2 MiB page with small ones, to each of these.
pub(super) fn each<E>(
    region: Region,
    size: PageSize,
    mut work: impl FnMut(u64, PageSize) -> Result<(), E>,
) -> Result<(), E>
where
    E: PartialEq<snp::rmp::RmpError>,
{
    match work(region.start(), size) {
        Err(error) if size == PageSize::Size2M && error == snp::rmp::RmpError::SizeMismatch => {
            region.pages().try_for_each(|page| work(page, PageSize::Size4K))
        }
        outcome => outcome,
    }
}

pub(super) const fn map_failed(error: OwnershipError) -> ResultCode {
    match error {
        OwnershipError::State => ResultCode::INVALID_ADDRESS,
        OwnershipError::NoRoom => ResultCode::INVALID_REQUEST,
    }
}

/// Makes a page of the guest's the register state of the vCPU that the processor with this APIC id serves from then on.
///
/// The order is the point: the guest loses the page first, on all processors, then its contents are judged, then it
/// becomes a VMSA.
///
/// A processor on which the firmware does not run yet is started before that, with memory that the guest has deposited,
/// and without the guest's lock; so everything is checked before and again after it. The memory stays that processor's
/// for as long as the VM lives: DELETE_VCPU and another CREATE_VCPU for the same APIC id need no more.
///
/// - `UNSUPPORTED_CALL`: there is one processor, or none can be told to forget what it remembers (not BUSY, on which
///   Linux calls again for ever)
/// - `INVALID_PARAMETER`: no processor with this APIC id, one that did not come up, or the caller's own
/// - `BUSY`: a call from that processor is being served, or it is being started
/// - `INVALID_PARAMETER`: VMSA or calling area not page aligned
/// - `INVALID_ADDRESS`: VMSA or calling area not the guest's, or one page; a VMSA that is a vCPU's calling area, or at
///   a 2 MiB boundary, where hardware fails
/// - `INVALID_PARAMETER`: too many vCPUs
/// - `0x4000_0000 + n`: n more pages are wanted for the processor; nothing has changed
/// - `INVALID_REQUEST`, `INVALID_ADDRESS`: those that were deposited do not serve ([`processors::take_block`])
/// - `0x8000_1000 + n`: RMPADJUST answered n
/// - `INVALID_ADDRESS`: the VMSA is inaccessible
/// - `INVALID_PARAMETER`: a VMSA for another VMPL, with other SEV_FEATURES than the caller's, or without EFER.SVME
fn create_vcpu(machine: &mut Machine<'_>, registers: &Registers) -> Result<(), ResultCode> {
    let (vmsa, calling_area) = (registers.rcx, registers.rdx);
    let mut guest = machine.guest.lock();
    let mut place = check_new_vcpu(&mut guest, machine.apic_id, registers)?;
    if !place.runs {
        let block = processors::take_block(machine.pages, &mut guest)?;
        guest.start(place.apic_id);
        drop(guest);
        let is_up = machine.pages.start_processor(place.apic_id, &block);
        guest = machine.guest.lock();
        guest.started(place.apic_id, is_up);
        place = check_new_vcpu(&mut guest, machine.apic_id, registers)?;
    }
    let (apic_id, caller, guest) = (place.apic_id, place.caller, &mut *guest);
    revoke(machine.pages, vmsa, PageSize::Size4K).map_err(ResultCode::from_rmp)?;
    let memory = &mut Memory { pages: machine.pages, map: &mut guest.map };
    let outcome = turn_into_vmsa(memory, vmsa, caller.sev_features);
    match outcome {
        Ok(()) => guest.put(apic_id, Vcpu { vmsa, calling_area, ..caller }),
        Err(_) => grant(machine.pages, vmsa, PageSize::Size4K).map_err(ResultCode::from_rmp)?,
    }
    outcome
}

/// Where a new vCPU is to run.
struct Place {
    apic_id: u32,
    /// The firmware does so there.
    runs: bool,
    /// The vCPU that creates it.
    caller: Vcpu,
}

/// What CREATE_VCPU can know without a change.
fn check_new_vcpu(guest: &mut Guest, own: u32, registers: &Registers) -> Result<Place, ResultCode> {
    let invalid = |_| ResultCode::INVALID_ADDRESS;
    let (vmsa, calling_area) = (registers.rcx, registers.rdx);
    if guest.is_alone() {
        return Err(ResultCode::UNSUPPORTED_CALL);
    }
    let (apic_id, runs) = other_processor(guest, own, registers.r8)?;
    let caller = *guest.calling(own).ok_or(ResultCode::INVALID_REQUEST)?;
    if [vmsa, calling_area].iter().any(|gpa| !gpa.is_multiple_of(PAGE_SIZE)) {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    let page = Claim::new(vmsa, PAGE_SIZE).check_aligned(&guest.map).map_err(invalid)?.region();
    Claim::new(calling_area, PAGE_SIZE).check_aligned(&guest.map).map_err(invalid)?;
    let in_use = calling_area == vmsa || guest.has_calling_area(page);
    if in_use || vmsa.is_multiple_of(LARGE_PAGE_SIZE) {
        return Err(ResultCode::INVALID_ADDRESS);
    }
    if !guest.map.has_room_for_vmsa() {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    Ok(Place { apic_id, runs, caller })
}

/// The APIC id that R8 names, if the firmware runs on that processor and serves nobody there at the moment, or does not
/// run there yet; and whether it runs there.
fn other_processor(guest: &mut Guest, own: u32, r8: u64) -> Result<(u32, bool), ResultCode> {
    let apic_id = u32::try_from(r8).ok().filter(|apic_id| *apic_id != own).ok_or(ResultCode::INVALID_PARAMETER)?;
    match guest.place(apic_id) {
        Ok(()) => Ok((apic_id, true)),
        Err(NoPlace::Later) => Ok((apic_id, false)),
        Err(NoPlace::Unknown) => Err(ResultCode::INVALID_PARAMETER),
        Err(NoPlace::Serving | NoPlace::Starting) => Err(ResultCode::BUSY),
    }
}

fn turn_into_vmsa(memory: &mut Memory<'_>, gpa: u64, sev_features: u64) -> Result<(), ResultCode> {
    let mut vmsa = Vmsa::new_zeroed();
    memory.pages.read(gpa, vmsa.as_mut_bytes()).map_err(inaccessible)?;
    vmsa.check_offered(GUEST_VMPL, sev_features).map_err(|_| ResultCode::INVALID_PARAMETER)?;
    memory.pages.rmpadjust(gpa, PageSize::Size4K, Attributes::vmsa(GUEST_VMPL)).map_err(ResultCode::from_rmp)?;
    memory.map.make_vmsa(gpa).map_err(map_failed)
}

/// Makes a VMSA an ordinary page of the guest's again, zeroed.
///
/// - `INVALID_PARAMETER`: no VMSA of CREATE_VCPU's, the caller's own included
/// - `0x80001003`: the vCPU is running, or a call of its is being served
/// - `INVALID_ADDRESS`: the page is inaccessible; it is nobody's then
fn delete_vcpu(machine: &mut Machine<'_>, vmsa: u64) -> Result<(), ResultCode> {
    let guest = &mut *machine.guest.lock();
    let own = guest.calling(machine.apic_id).is_some_and(|caller| caller.vmsa == vmsa);
    if own || !vmsa.is_multiple_of(PAGE_SIZE) || guest.map.owner(vmsa) != Owner::Vmsa {
        return Err(ResultCode::INVALID_PARAMETER);
    }
    if guest.is_served(vmsa) {
        return Err(FAIL_INUSE);
    }
    // Without EFER.SVME no CPU can begin to run it; RMPADJUST refuses while one still does, and then it may go on.
    set_runnable(machine.pages, vmsa, false).map_err(inaccessible)?;
    if let Err(error) = revoke(machine.pages, vmsa, PageSize::Size4K) {
        set_runnable(machine.pages, vmsa, true).map_err(inaccessible)?;
        return Err(if error == snp::rmp::RmpError::InUse { FAIL_INUSE } else { ResultCode::from_rmp(error) });
    }
    guest.drop_vcpu(vmsa);
    machine.pages.zero(vmsa, PageSize::Size4K).map_err(inaccessible)?;
    grant(machine.pages, vmsa, PageSize::Size4K).map_err(ResultCode::from_rmp)?;
    guest.map.unmake_vmsa(vmsa).map_err(map_failed)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::testing::{FIRMWARE, GIVEN, OTHER_VMSA, PROCESSORS, SHARED_PAGE, Scene, forbidden_gpas, is_ram};
    use snp::vmsa::features;

    const REMAP: u64 = 0;
    const PVALIDATE: u64 = 1;
    const CREATE: u64 = 2;
    const DELETE: u64 = 3;
    const QUERY: u64 = 6;
    const UNSUPPORTED_CALL: u64 = 0x8000_0002;
    const INVALID_ADDRESS: u64 = 0x8000_0003;
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    const BUSY: u64 = 0x8000_0007;
    const UNCHANGED: u64 = 0x8000_1010;
    const LIST: u64 = GIVEN + 0x5000;

    const VALIDATE: u64 = 4;
    const IGNORE: u64 = 8;
    const LARGE: u64 = 1;

    fn list(next: u16, entries: &[u64]) -> Vec<u8> {
        let mut bytes = u16::try_from(entries.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(next.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
        bytes
    }

    /// Result and `next` afterwards.
    fn pvalidate(scene: &mut Scene, entries: &[u64]) -> (u64, u16) {
        scene.machine.place(LIST, &list(0, entries));
        let rax = scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax;
        let next = scene.machine.bytes(LIST + 2, 2);
        (rax, u16::from_le_bytes([next[0], next[1]]))
    }

    #[test]
    fn each_protocol_has_version_one() {
        let mut scene = Scene::new();
        for protocol in 0..3_u64 {
            assert_eq!(scene.call(QUERY, [protocol << 32 | 1, 0, 0, 0]).rcx, 1 << 32 | 1);
            assert_eq!(scene.call(QUERY, [protocol << 32, 0, 0, 0]).rcx, 0);
            assert_eq!(scene.call(QUERY, [protocol << 32 | 2, 0, 0, 0]).rcx, 0);
        }
        assert_eq!(scene.call(QUERY, [3 << 32 | 1, 0, 0, 0]), Registers::default());
    }

    #[test]
    fn the_calling_area_moves_within_the_guests_memory_only() {
        let mut scene = Scene::new();
        scene.machine.place(GIVEN + 0x7000, &[1]);
        assert_eq!(scene.call(REMAP, [GIVEN + 0x7000, 0, 0, 0]).rax, 0);
        assert_eq!(scene.vcpu().calling_area, GIVEN + 0x7000);
        assert_eq!(scene.machine.bytes(GIVEN + 0x7000, 1), [0]);
        for gpa in forbidden_gpas(4096) {
            let expected = if gpa % 4096 == 0 { INVALID_ADDRESS } else { INVALID_PARAMETER };
            assert_eq!(scene.call(REMAP, [gpa, 0, 0, 0]).rax, expected, "gpa {gpa:#x}");
        }
        assert_eq!(scene.call(REMAP, [GIVEN + 8, 0, 0, 0]).rax, INVALID_PARAMETER);
        assert_eq!(scene.vcpu().calling_area, GIVEN + 0x7000);
    }

    #[test]
    fn a_page_goes_to_the_host_and_comes_back_zeroed() {
        let mut scene = Scene::new();
        let page = GIVEN + 0x9000;
        scene.machine.place(page, b"secret");
        assert_eq!(pvalidate(&mut scene, &[page]), (0, 1));
        assert_eq!(scene.map().owner(page), Owner::Unvalidated);
        scene.machine.assert_revoked(page);
        assert_eq!(pvalidate(&mut scene, &[page | VALIDATE]), (0, 1));
        assert_eq!(scene.map().owner(page), Owner::Guest);
        scene.machine.assert_granted_zeroed(page);
    }

    #[test]
    fn a_large_page_goes_as_one_or_as_many() {
        let large = (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE);
        for small_pages_only in [false, true] {
            let mut scene = Scene::new();
            scene.machine.small_pages_only = small_pages_only;
            let first = pvalidate(&mut scene, &[large | LARGE]);
            if small_pages_only {
                assert_eq!(first, (0x8000_1006, 0));
                scene.machine.assert_granted(large + 0x1000);
                let small: Vec<u64> = (0..500).map(|page| large + page * 4096).collect();
                assert_eq!(pvalidate(&mut scene, &small[..500]), (0, 500));
            } else {
                assert_eq!(first, (0, 1));
                assert_eq!(pvalidate(&mut scene, &[large | LARGE | VALIDATE]), (0, 1));
                scene.machine.assert_granted_zeroed(large + 0x1f_f000);
            }
        }
    }

    /// APM volume 3, RMPADJUST: FAIL_SIZEMISMATCH is the answer for a 2 MiB page that lies in small ones; nothing else
    /// is tried in other sizes.
    #[test]
    fn only_a_size_mismatch_of_a_large_page_is_tried_in_small_ones() {
        use snp::rmp::RmpError;
        let tries = |size: PageSize, error: RmpError| {
            let region = Region::new(LARGE_PAGE_SIZE, LARGE_PAGE_SIZE + size.bytes()).unwrap();
            let mut tried = Vec::new();
            let outcome = each(region, size, |page, size| {
                tried.push((page, size));
                if tried.len() == 1 { Err(error) } else { Ok(()) }
            });
            (outcome, tried.len())
        };
        assert_eq!(tries(PageSize::Size2M, RmpError::SizeMismatch), (Ok(()), 1 + 512));
        for (size, error) in [
            (PageSize::Size2M, RmpError::Input),
            (PageSize::Size2M, RmpError::Permission),
            (PageSize::Size4K, RmpError::SizeMismatch),
            (PageSize::Size4K, RmpError::Permission),
        ] {
            assert_eq!(tries(size, error), (Err(error), 1), "{size:?} {error:?}");
        }
    }

    #[test]
    fn a_large_page_in_two_states_is_a_size_mismatch() {
        let mut scene = Scene::new();
        let large = (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE);
        assert_eq!(pvalidate(&mut scene, &[large + 0x3000]), (0, 1));
        for action in [0, VALIDATE] {
            assert_eq!(pvalidate(&mut scene, &[large | LARGE | action]), (0x8000_1006, 0));
        }
    }

    #[test]
    fn no_change_is_an_error_unless_it_is_ignored() {
        let mut scene = Scene::new();
        let page = GIVEN + 0x9000;
        scene.machine.place(page, b"kept");
        assert_eq!(pvalidate(&mut scene, &[page | VALIDATE]), (UNCHANGED, 0));
        assert_eq!(pvalidate(&mut scene, &[page | VALIDATE | IGNORE]), (0, 1));
        assert_eq!(scene.machine.bytes(page, 4), b"kept");
        assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE]), (UNCHANGED, 0));
        assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE | IGNORE]), (0, 1));
    }

    /// The map is asked before the CPU is told, so the two never disagree.
    #[test]
    fn without_room_in_the_map_no_page_is_touched() {
        let mut scene = Scene::new();
        scene.guest.get_mut().map.fill_up();
        let whole = (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE);
        let before = scene.machine.states();
        assert_eq!(pvalidate(&mut scene, &[whole + 0x3000]), (0x4000_0041, 0));
        assert!(scene.machine.states() == before, "a page changed its state");
        assert_eq!(scene.map().owner(whole + 0x3000), Owner::Guest);
        // A block that changes as a whole needs none, nor does one that is in mixed use.
        assert_eq!(pvalidate(&mut scene, &[whole | LARGE]), (0, 1));
        assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE + 0x1000]), (0, 1));
    }

    /// The CPU says "valid already" of a page that the map knows as invalid.
    #[test]
    fn a_page_that_the_host_has_moved_is_not_given() {
        let mut scene = Scene::new();
        assert_eq!(scene.machine.pvalidate(SHARED_PAGE, PageSize::Size4K, true), Ok(Pvalidated::Changed));
        for ignore in [0, IGNORE] {
            let again = pvalidate(&mut scene, &[SHARED_PAGE | VALIDATE | ignore]);
            assert_eq!(again, (if ignore == 0 { UNCHANGED } else { INVALID_ADDRESS }, 0));
            assert_eq!(scene.map().owner(SHARED_PAGE), Owner::Poisoned);
        }
    }

    /// The CPU says "not valid" of a page that was the guest's: the host has put another in its place.
    #[test]
    fn a_page_that_was_swapped_before_it_was_given_up_is_never_validated_again() {
        let large = (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE);
        for (page, size, bit) in [(GIVEN + 0x9000, PageSize::Size4K, 0), (large, PageSize::Size2M, LARGE)] {
            for ignore in [0, IGNORE] {
                let mut scene = Scene::new();
                scene.machine.swap_at_next_pvalidate = true;
                assert_eq!(pvalidate(&mut scene, &[page | bit | ignore]), (UNCHANGED, 0));
                let before = scene.machine.states();
                for action in [0, VALIDATE, IGNORE, VALIDATE | IGNORE] {
                    assert_eq!(pvalidate(&mut scene, &[page | bit | action]), (INVALID_ADDRESS, 0));
                    let last = page + size.bytes() - 4096;
                    assert_eq!(pvalidate(&mut scene, &[last | action]), (INVALID_ADDRESS, 0));
                }
                assert!(scene.machine.states() == before, "no page changed its state");
                assert_eq!(scene.map().owner(page), Owner::Poisoned);
                assert_eq!(scene.call(REMAP, [page, 0, 0, 0]).rax, INVALID_ADDRESS);
                assert_eq!(pvalidate(&mut scene, &[page - 4096]), (0, 1), "its neighbour is as ever");
            }
        }
    }

    /// A page that was validated and could not be granted is valid for the CPU and not for the map.
    #[test]
    fn a_page_whose_grant_fails_is_never_handed_out() {
        let mut scene = Scene::new();
        scene.machine.refuse_grant_of = Some(SHARED_PAGE);
        assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE | VALIDATE]), (0x8000_1002, 0));
        scene.machine.refuse_grant_of = None;
        assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE | VALIDATE]), (INVALID_ADDRESS, 0));
        assert_eq!(scene.map().owner(SHARED_PAGE), Owner::Poisoned);
    }

    #[test]
    fn the_list_stops_at_the_first_failure_and_goes_on_from_there() {
        let mut scene = Scene::new();
        let pages = [GIVEN + 0x9000, GIVEN + 0xa000, FIRMWARE, GIVEN + 0xb000];
        assert_eq!(pvalidate(&mut scene, &pages), (INVALID_ADDRESS, 2));
        assert_eq!(scene.map().owner(GIVEN + 0xa000), Owner::Unvalidated);
        assert_eq!(scene.map().owner(GIVEN + 0xb000), Owner::Guest);
        scene.machine.place(LIST + 8 + 16, &(GIVEN + 0xc000).to_le_bytes());
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, 0);
        assert_eq!(scene.machine.bytes(LIST + 2, 2), [4, 0]);
        assert_eq!(scene.map().owner(GIVEN + 0xb000), Owner::Unvalidated);
    }

    #[test]
    fn an_entry_is_refused_for_each_reserved_bit_and_each_forbidden_page() {
        let mut scene = Scene::new();
        let page = GIVEN + 0x9000;
        for bad in [page | 2, page | 3, page | LARGE].into_iter().chain((4..12).map(|bit| page | 1 << bit)) {
            assert_eq!(pvalidate(&mut scene, &[bad]), (INVALID_PARAMETER, 0), "entry {bad:#x}");
        }
        let before = scene.machine.states();
        for gpa in forbidden_gpas(4096).into_iter().filter(|gpa| gpa % 4096 == 0 && !is_ram(*gpa)) {
            for action in [0, VALIDATE, IGNORE, VALIDATE | IGNORE] {
                assert_eq!(pvalidate(&mut scene, &[gpa | action]), (INVALID_ADDRESS, 0), "gpa {gpa:#x}");
            }
        }
        assert!(scene.machine.states() == before, "no page changed its state");
    }

    #[test]
    fn malformed_lists_are_refused() {
        let mut scene = Scene::new();
        let page = GIVEN + 0x9000;
        for (head, code) in [
            ([0, 0, 0, 0, 0, 0, 0, 0], INVALID_PARAMETER),
            ([1, 0, 1, 0, 0, 0, 0, 0], INVALID_PARAMETER),
            ([1, 0, 0xff, 0xff, 0, 0, 0, 0], INVALID_PARAMETER),
            ([0, 2, 0, 0, 0, 0, 0, 0], INVALID_PARAMETER),
            ([0xff, 0xff, 0, 0, 0, 0, 0, 0], INVALID_PARAMETER),
            ([1, 0, 0, 0, 1, 0, 0, 0], INVALID_PARAMETER),
        ] {
            scene.machine.place(LIST, &list(0, &[page]));
            scene.machine.place(LIST, &head);
            assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, code, "head {head:x?}");
            assert_eq!(scene.map().owner(page), Owner::Guest);
        }
        for gpa in forbidden_gpas(8).into_iter().chain([LIST + 1, LIST + 4, LIST + 7]) {
            let code = if gpa % 8 == 0 { INVALID_ADDRESS } else { INVALID_PARAMETER };
            assert_eq!(scene.call(PVALIDATE, [gpa, 0, 0, 0]).rax, code, "gpa {gpa:#x}");
        }
        // The last head of a page has no room for an entry.
        scene.machine.place(LIST + 0xff8, &list(0, &[])[..8]);
        scene.machine.place(LIST + 0xff8, &[1]);
        assert_eq!(scene.call(PVALIDATE, [LIST + 0xff8, 0, 0, 0]).rax, INVALID_PARAMETER);
    }

    #[test]
    fn as_many_entries_as_a_page_holds() {
        let mut scene = Scene::new();
        let pages: Vec<u64> = (0..511).map(|page| GIVEN + LARGE_PAGE_SIZE + page * 4096).collect();
        assert_eq!(pvalidate(&mut scene, &pages), (0, 511));
        scene.machine.place(LIST, &[0, 2]);
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, INVALID_PARAMETER);
    }

    #[test]
    fn a_list_may_take_away_its_own_page() {
        let mut scene = Scene::new();
        scene.machine.place(LIST, &list(0, &[LIST, GIVEN + 0x9000]));
        assert_eq!(scene.call(PVALIDATE, [LIST, 0, 0, 0]).rax, 0);
        assert_eq!(scene.map().owner(LIST), Owner::Unvalidated);
        assert_eq!(scene.map().owner(GIVEN + 0x9000), Owner::Unvalidated);
    }

    const NEW_VMSA: u64 = GIVEN + 0xd000;
    const NEW_AREA: u64 = GIVEN + 0xe000;

    fn offered() -> Vmsa {
        let mut vmsa = Vmsa::real_mode(GUEST_VMPL, features::SNP, 0xffff_fff0);
        vmsa.set_runnable(true);
        vmsa
    }

    /// CREATE_VCPU for the second processor.
    fn create(scene: &mut Scene, vmsa: u64, area: u64) -> u64 {
        scene.call(CREATE, [vmsa, area, PROCESSORS[1].into(), 4]).rax
    }

    /// One processor, or several that cannot be told to forget: a vCPU could write to its own register state after it
    /// was judged.
    #[test]
    fn on_one_processor_there_is_no_second_vcpu() {
        let mut scene = Scene::alone();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        let before = (scene.machine.states(), scene.machine.snapshot());
        for (vmsa, area) in [(NEW_VMSA, NEW_AREA), (FIRMWARE, NEW_AREA), (NEW_VMSA + 8, 0), (0, u64::MAX)] {
            let after = scene.call(CREATE, [vmsa, area, 1, 4]);
            assert_eq!(after, Registers { rax: UNSUPPORTED_CALL, rcx: vmsa, rdx: area, r8: 1, r9: 4 });
        }
        assert_eq!(scene.map().owner(NEW_VMSA), Owner::Guest);
        assert!((scene.machine.states(), scene.machine.snapshot()) == before, "nothing was touched");
    }

    #[test]
    fn a_vcpu_is_for_another_processor_of_the_firmwares() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        let before = (scene.machine.states(), scene.machine.snapshot());
        let [own, other] = PROCESSORS.map(u64::from);
        for apic_id in [own, 1, other + 1, u64::from(u32::MAX), other | 1 << 32, u64::MAX] {
            assert_eq!(scene.call(CREATE, [NEW_VMSA, NEW_AREA, apic_id, 0]).rax, INVALID_PARAMETER, "{apic_id:#x}");
        }
        assert!((scene.machine.states(), scene.machine.snapshot()) == before, "nothing was touched");
        assert_eq!(scene.call(CREATE, [NEW_VMSA, NEW_AREA, other, 0]).rax, 0);
        scene.apic_id = PROCESSORS[1];
        assert_eq!(scene.vcpu(), Vcpu { vmsa: NEW_VMSA, calling_area: NEW_AREA, sev_features: 1 });
    }

    /// While a processor serves its vCPU, that is neither replaced nor deleted.
    #[test]
    fn a_vcpu_that_is_being_served_stays() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), 0);
        scene.guest.get_mut().begin(PROCESSORS[1]).unwrap();
        let another = NEW_VMSA + 0x4000;
        scene.machine.place(another, offered().as_bytes());
        assert_eq!(create(&mut scene, another, NEW_AREA), BUSY);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0x8000_1003);
        scene.guest.get_mut().end(PROCESSORS[1], false);
        assert_eq!(create(&mut scene, another, NEW_AREA), 0);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0, "nobody's any more");
        assert_eq!(scene.call(DELETE, [another, 0, 0, 0]).rax, 0);
        assert_eq!(scene.guest.get_mut().begin(PROCESSORS[1]), None);
    }

    /// The calling areas are the vCPUs' own.
    #[test]
    fn each_vcpu_moves_its_own_calling_area() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), 0);
        let first = scene.vcpu();
        scene.apic_id = PROCESSORS[1];
        assert_eq!(scene.call(REMAP, [NEW_AREA + 0x1000, 0, 0, 0]).rax, 0);
        assert_eq!(scene.vcpu().calling_area, NEW_AREA + 0x1000);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, INVALID_PARAMETER, "its own");
        scene.apic_id = PROCESSORS[0];
        assert_eq!(scene.vcpu(), first);
    }

    #[test]
    fn a_vcpu_is_made_and_unmade() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), 0);
        assert_eq!(scene.map().owner(NEW_VMSA), Owner::Vmsa);
        scene.machine.assert_vmsa(NEW_VMSA);
        assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), INVALID_ADDRESS, "twice");
        assert_eq!(scene.call(2 << 32 | 1, [NEW_VMSA, 0, 0, 0]).rax, INVALID_PARAMETER, "no mailbox");
        assert_eq!(pvalidate(&mut scene, &[NEW_VMSA]).0, INVALID_ADDRESS);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0);
        scene.machine.assert_granted_zeroed(NEW_VMSA);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, INVALID_PARAMETER, "twice");
    }

    #[test]
    fn a_register_state_that_the_host_takes_at_any_access_is_a_refusal() {
        let mut outcomes = Vec::new();
        for accesses in 0..12 {
            let mut scene = Scene::new();
            scene.machine.place(NEW_VMSA, offered().as_bytes());
            scene.machine.taken = Some((NEW_VMSA, accesses));
            outcomes.push(create(&mut scene, NEW_VMSA, NEW_AREA));
        }
        let refused = outcomes.iter().take_while(|code| **code == INVALID_ADDRESS).count();
        assert!((3..12).contains(&refused) && outcomes[refused..].iter().all(|code| *code == 0), "{outcomes:x?}");
    }

    /// What was validated and has gone may come back, valid, behind a page that is validated later.
    #[test]
    fn a_page_that_is_gone_amid_its_validation_is_poisoned() {
        for accesses in 1..3 {
            let mut scene = Scene::new();
            scene.machine.taken = Some((SHARED_PAGE, accesses));
            assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE | 4]), (INVALID_ADDRESS, 0));
            assert_eq!(scene.map().owner(SHARED_PAGE), Owner::Poisoned);
            scene.machine.taken = None;
            assert_eq!(pvalidate(&mut scene, &[SHARED_PAGE | 4]), (INVALID_ADDRESS, 0), "never again");
        }
    }

    #[test]
    fn a_vcpu_in_use_is_not_deleted() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), 0);
        scene.machine.in_use = Some(NEW_VMSA);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0x8000_1003);
        assert_eq!(scene.map().owner(NEW_VMSA), Owner::Vmsa);
        assert_eq!(scene.machine.bytes(NEW_VMSA, 4096), offered().as_bytes(), "it goes on as it was");
        scene.machine.in_use = None;
        scene.machine.refuse_grant_of = Some(NEW_VMSA);
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0x8000_1002, "RMPADJUST refuses for another reason");
        scene.machine.refuse_grant_of = None;
        assert_eq!(scene.call(DELETE, [NEW_VMSA, 0, 0, 0]).rax, 0);
    }

    #[test]
    fn addresses_of_a_new_vcpu_are_checked() {
        let mut scene = Scene::new();
        scene.machine.place(NEW_VMSA, offered().as_bytes());
        let area = scene.vcpu().calling_area;
        let large = (GIVEN + LARGE_PAGE_SIZE).next_multiple_of(LARGE_PAGE_SIZE);
        let pairs = [
            (NEW_VMSA, NEW_VMSA),
            (area, NEW_AREA),
            (large, NEW_AREA),
            (NEW_VMSA + 8, NEW_AREA),
            (NEW_VMSA, NEW_AREA + 8),
        ];
        let forbidden = forbidden_gpas(4096);
        let pairs = pairs.into_iter().chain(forbidden.iter().flat_map(|gpa| [(*gpa, NEW_AREA), (NEW_VMSA, *gpa)]));
        for (vmsa, area) in pairs {
            let code = if (vmsa | area) % 4096 == 0 { INVALID_ADDRESS } else { INVALID_PARAMETER };
            assert_eq!(create(&mut scene, vmsa, area), code, "{vmsa:#x} {area:#x}");
        }
        for gpa in forbidden.into_iter().filter(|gpa| *gpa != OTHER_VMSA) {
            assert_eq!(scene.call(DELETE, [gpa, 0, 0, 0]).rax, INVALID_PARAMETER, "{gpa:#x}");
        }
    }

    #[test]
    fn a_register_state_that_is_not_the_guests_to_run_is_given_back() {
        let wrong: [fn(&mut Vmsa); 7] = [
            |vmsa| vmsa.vmpl = 0,
            |vmsa| vmsa.vmpl = 1,
            |vmsa| vmsa.vmpl = 3,
            |vmsa| vmsa.set_runnable(false),
            |vmsa| vmsa.sev_features = 0.into(),
            |vmsa| vmsa.sev_features = (features::SNP | features::VTOM).into(),
            |vmsa| vmsa.sev_features = (features::SNP | features::SECURE_TSC).into(),
        ];
        for change in wrong {
            let (mut scene, mut vmsa) = (Scene::new(), offered());
            change(&mut vmsa);
            scene.machine.place(NEW_VMSA, vmsa.as_bytes());
            assert_eq!(create(&mut scene, NEW_VMSA, NEW_AREA), INVALID_PARAMETER);
            assert_eq!(scene.map().owner(NEW_VMSA), Owner::Guest);
            scene.machine.assert_granted(NEW_VMSA);
        }
    }

    /// A page through which another vCPU calls would be zeroed and lost to it.
    #[test]
    fn a_register_state_is_no_vcpus_calling_area() {
        let mut scene = Scene::new();
        let area = GIVEN + 0x4_0000;
        let other = Vcpu { vmsa: OTHER_VMSA, calling_area: area, sev_features: 1 };
        scene.guest.get_mut().put(PROCESSORS[1], other);
        scene.machine.place(area, offered().as_bytes());
        let before = scene.machine.states();
        assert_eq!(create(&mut scene, area, GIVEN + 0x5_0000), INVALID_ADDRESS);
        assert!(scene.machine.states() == before, "a page changed its state");
    }
}
