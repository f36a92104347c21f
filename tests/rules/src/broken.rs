//! Deliberately wrong sequences: each must be stopped. A case that returns has not been.

use crate::controls::{FREE, FREE_HUGE, own_page};
use crate::guest::{self, FULL, VMSA, VMSA_READ, field};
use crate::hypervisor::{GHCB, GUEST_GHCB, Ghcb, SCRATCH, check, clear_shared, own, own_zeroed, page_state};
use crate::kvm;
use crate::psp;
use crate::sys::{
    self, PAGE, SHARED, forget_exceptions, msr_call, peek, peek_bytes, poke, poke_bytes, pvalidate, rmpadjust,
    secrets_page, set_ghcb, vmgexit,
};

pub(crate) fn unvalidated_access() {
    check(page_state(FREE, 1) == 0x015, 20);
    poke(FREE, 1);
}

pub(crate) fn unvalidated_rescinded() {
    own_zeroed(FREE);
    check(pvalidate(FREE, 0, false) == (0, false), 20);
    // Until here the TLB remembers.
    sys::invlpg(FREE);
    peek(FREE);
}

pub(crate) fn unvalidated_required() {
    // Required memory of the image that nobody has validated.
    peek(sys::image_end());
}

pub(crate) fn unvalidated_rmpadjust() {
    check(page_state(FREE, 1) == 0x015, 20);
    rmpadjust(FREE, 0, FULL);
}

pub(crate) fn no_memory() {
    // The machine's own memory is nothing that the guest could have.
    peek(0x1900_0000);
}

pub(crate) fn shared_as_private() {
    peek(FREE);
}

pub(crate) fn private_as_shared() {
    own_zeroed(FREE);
    peek(SHARED + FREE);
}

pub(crate) fn private_write_as_shared() {
    own_zeroed(FREE);
    poke(SHARED + FREE, 1);
}

pub(crate) fn execute_shared() {
    // RET in a shared page.
    poke(SHARED + FREE, 0xC3);
    sys::call(SHARED + FREE);
}

pub(crate) fn pvalidate_twice_used() {
    own_zeroed(FREE);
    check(pvalidate(FREE, 0, true) == (0, true), 20);
    peek(FREE);
}

pub(crate) fn pvalidate_twice_again() {
    own_zeroed(FREE);
    check(pvalidate(FREE, 0, true) == (0, true), 20);
    pvalidate(FREE, 0, true);
}

pub(crate) fn pvalidate_after_failed_rescind() {
    check(page_state(FREE, 1) == 0x015, 20);
    check(pvalidate(FREE, 0, false) == (0, true), 21);
    pvalidate(FREE, 0, true);
}

fn guest_reads() -> ! {
    peek(FREE);
    loop {
        msr_call(0x016);
    }
}

fn guest_writes() -> ! {
    poke(FREE, 1);
    loop {
        msr_call(0x016);
    }
}

fn guest_executes() -> ! {
    sys::call(FREE);
    loop {
        msr_call(0x016);
    }
}

fn guest_writes_vmsa() -> ! {
    poke(VMSA, 1);
    loop {
        msr_call(0x016);
    }
}

fn run_with(permissions: u64, function: fn() -> !) {
    own_zeroed(FREE);
    poke(FREE, 0xC3);
    check(rmpadjust(FREE, 0, permissions << 8 | 2) == 0, 20);
    guest::prepare(function);
    guest::run();
}

pub(crate) fn vmpl_read() {
    run_with(0, guest_reads);
}

pub(crate) fn vmpl_write() {
    run_with(1, guest_writes);
}

pub(crate) fn vmpl_execute() {
    // Read, write, and execute for users only.
    run_with(7, guest_executes);
}

pub(crate) fn vmpl_revoked() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, FULL) == 0 && rmpadjust(FREE, 0, 2) == 0, 20);
    guest::prepare(guest_reads);
    guest::run();
}

pub(crate) fn vmpl_own_vmsa() {
    guest::prepare(guest_writes_vmsa);
    guest::run();
}

/// The alias goes with the permission.
pub(crate) fn alias_of_revoked() {
    kvm::prepare_ret(kvm::guest_calls_without_c_bit);
    guest::run();
    check(rmpadjust(FREE, 0, 2) == 0, 21);
    guest::run();
}

/// And is VMPL2's alone.
pub(crate) fn alias_of_another() {
    kvm::prepare_ret(kvm::guest_calls_without_c_bit);
    guest::run();
    peek(SHARED + FREE);
}

pub(crate) fn rmpadjust_level() {
    own_zeroed(FREE);
    rmpadjust(FREE, 0, 0xF00);
}

pub(crate) fn page_state_validated() {
    own_zeroed(FREE);
    page_state(FREE, 2);
}

pub(crate) fn page_state_list_validated() {
    own_zeroed(FREE);
    poke(GHCB.at() + 0x800, 0);
    poke(GHCB.at() + 0x808, FREE | 2 << 52);
    GHCB.exit(0x8000_0010, 0, 0, &[(SCRATCH, GHCB.0 + 0x800)]);
}

pub(crate) fn pvalidate_unassigned() {
    pvalidate(FREE, 0, true);
}

pub(crate) fn rmpadjust_unassigned() {
    rmpadjust(FREE, 0, FULL);
}

/// A VMSA that is right but for what `change` does.
fn wrong_vmsa(attributes: u64, change: fn(u64)) {
    guest::grant_image();
    own_zeroed(VMSA);
    guest::fill_vmsa(VMSA, guest::done);
    change(VMSA);
    if attributes != 0 {
        check(rmpadjust(VMSA, 0, attributes) == 0, 20);
    }
    guest::register(VMSA);
    guest::run();
}

pub(crate) fn vmsa_no_attribute() {
    wrong_vmsa(0, |_| {});
}

pub(crate) fn vmsa_attribute_revoked() {
    guest::prepare(guest::done);
    poke(VMSA + field::EFER, 0xD00);
    check(rmpadjust(VMSA, 0, 0x102) == 0, 20);
    poke(VMSA + field::EFER, 0x1D00);
    guest::run();
}

pub(crate) fn vmsa_shared() {
    guest::grant_image();
    clear_shared(VMSA, 1);
    guest::fill_vmsa(SHARED + VMSA, guest::done);
    guest::register(VMSA);
    guest::run();
}

pub(crate) fn vmsa_writable() {
    wrong_vmsa(0x1_0302, |_| {});
}

pub(crate) fn vmsa_alignment() {
    guest::grant_image();
    own_zeroed(FREE_HUGE);
    guest::fill_vmsa(FREE_HUGE, guest::done);
    check(rmpadjust(FREE_HUGE, 0, VMSA_READ) == 0, 20);
    guest::register(FREE_HUGE);
    guest::run();
}

pub(crate) fn vmsa_other_vmpl() {
    wrong_vmsa(VMSA_READ, |page| poke_bytes(page + field::VMPL, &[1]));
}

pub(crate) fn vmsa_no_svme() {
    wrong_vmsa(VMSA_READ, |page| poke(page + field::EFER, 0xD00));
}

pub(crate) fn vmsa_features() {
    guest::prepare(guest::done);
    // After the host has looked: restricted injection.
    poke(VMSA + field::SEV_FEATURES, 9);
    guest::run();
}

pub(crate) fn vmsa_vmrun_refuses() {
    // Not-write-through without cache-disable is a state that VMRUN does not take.
    wrong_vmsa(VMSA_READ, |page| poke(page + field::CR0, 0xA000_0033));
}

pub(crate) fn ghcb_not_registered() {
    clear_shared(GUEST_GHCB.0, 1);
    set_ghcb(GUEST_GHCB.0);
    vmgexit();
}

fn guest_uses_ours() -> ! {
    set_ghcb(GHCB.0);
    loop {
        vmgexit();
    }
}

pub(crate) fn ghcb_of_another_vmpl() {
    guest::prepare(guest_uses_ours);
    guest::run();
}

pub(crate) fn ghcb_private() {
    let ghcb = Ghcb(FREE);
    ghcb.register();
    own_zeroed(FREE);
    set_ghcb(FREE);
    vmgexit();
}

pub(crate) fn iv_reused() {
    let mut message = psp::report_request(0, 0, 0);
    psp::send(&psp::seal(0, 1, &message));
    message.data[0] ^= 1;
    psp::send(&psp::seal(0, 1, &message));
}

pub(crate) fn iv_reused_header() {
    // The payload is the same and encrypts to the same; but another type under the same IV has another tag.
    let mut message = psp::report_request(0, 0, 0);
    psp::send(&psp::seal(0, 1, &message));
    message.kind = 17;
    psp::send(&psp::seal(0, 1, &message));
}

pub(crate) fn iv_reused_after_busy() {
    let mut message = psp::report_request(0, 0, 0);
    check(psp::send(&psp::seal(0, 1, &message)) == 2 << 32, 20);
    message.data[5] ^= 1;
    psp::send(&psp::seal(0, 1, &message));
}

fn leak(key: u64, to: u64) {
    let mut bytes = [0; 32];
    peek_bytes(secrets_page() + 0x20 + 32 * key, &mut bytes);
    poke_bytes(to + 0x120, &bytes);
    guest::run();
}

pub(crate) fn secrets_leak() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, 0x102) == 0, 20);
    guest::prepare(guest::done);
    leak(0, FREE);
}

pub(crate) fn secrets_leak_vmpck1() {
    own_zeroed(FREE);
    check(rmpadjust(FREE, 0, 0x102) == 0, 20);
    guest::prepare(guest::done);
    leak(1, FREE);
}

pub(crate) fn secrets_leak_shared() {
    guest::prepare(guest::done);
    leak(0, SHARED + FREE);
}

pub(crate) fn unzeroed_grant() {
    own(FREE);
    // Half of it is not enough.
    (0..PAGE / 2).step_by(8).for_each(|offset| poke(FREE + offset, 0));
    check(rmpadjust(FREE, 0, FULL) == 0, 20);
    guest::prepare(guest::done);
    guest::run();
}

/// VMPL2 runs in the address space of this program, and has been granted all of it.
pub(crate) fn own_page_granted() {
    guest::prepare(guest::done);
    guest::run();
}

pub(crate) fn run_vmpl_bad() {
    guest::run();
}

pub(crate) fn run_vmpl_self() {
    msr_call(0x016);
}

pub(crate) fn run_vmpl_destroyed() {
    guest::prepare(guest::done);
    GHCB.exit(0x8000_0013, 2 << 16 | 2, VMSA, &[(crate::hypervisor::RAX, 1)]);
    guest::run();
}

pub(crate) fn triple_fault() {
    forget_exceptions();
    sys::ud2();
}

pub(crate) fn vc_without_handler() {
    forget_exceptions();
    sys::cpuid();
}

pub(crate) fn halted() {
    sys::halt();
}

pub(crate) fn ap_reset_hold() {
    msr_call(0x006);
}

pub(crate) fn svm_instruction() {
    sys::vmload();
}

pub(crate) fn lie_psc_refused() {
    page_state(own_page(), 1);
    check(page_state(FREE, 1) == 0x015, 20);
    pvalidate(FREE, 0, true);
}
