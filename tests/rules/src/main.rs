#![no_std]
#![no_main]
#![expect(clippy::cast_possible_truncation, reason = "test payload: registers are cut to the fields that they go to")]
//! Deliberately wrong firmware: one case for each rule of the software SEV-SNP machine, correct sequences beside them,
//! and one for each lie.
//!
//! The case is chosen by the line `case=NAME` of the machine's configuration, which this program reads from fw_cfg
//! through the GHCB. A case that finds everything as expected powers off; a check that fails terminates with set 9 and
//! the number of the check as the code.
//!
//! | module | is |
//! |---|---|
//! | `cases` | the table, which the host's suite reads, too |
//! | `controls`, `kvm`, `tlb`, `broken`, `lies`, `psp` | the cases |
//! | `guest` | a context at VMPL2 |
//! | `hypervisor`, `sys`, `entry` | GHCB, instructions, start |

mod ahead;
mod broken;
// The payload needs the names only; the host's suite reads the rest.
#[expect(dead_code, reason = "shared with the host's suite")]
mod cases;
mod controls;
mod entry;
mod guest;
mod hypervisor;
mod kvm;
mod lies;
#[path = "../../machine/src/mem.rs"]
mod mem;
mod psp;
mod sys;
mod tlb;

use hypervisor::{GHCB, check, fw_cfg, power_off, say, terminate};

/// Termination code when no case is chosen.
const NO_CASE: u8 = 250;
/// Termination code when a case that should have been stopped was not.
const NOT_STOPPED: u8 = 251;

/// Table from names to functions.
macro_rules! table {
    ($name:expr; $($case:literal $function:path)*) => {
        match $name { $($case => $function as fn(),)* _ => none }
    };
}

fn none() {
    check(false, NO_CASE);
}

fn function(name: &str) -> fn() {
    table! { name;
        "memory" controls::memory
        "goes-ahead" ahead::as_the_processor
        "goes-ahead-in-rows" ahead::rows
        "every-instruction-has-its-exit" ahead::rows
        "pvalidate-codes" controls::pvalidate_codes
        "pvalidate-rescued" controls::pvalidate_rescued
        "vmsa-in-use" controls::vmsa_in_use
        "rmpadjust-codes" controls::rmpadjust_codes
        "two-mebibytes" controls::two_mebibytes
        "four-kibibytes" kvm::four_kibibytes
        "implicit-conversion" kvm::implicit_conversion
        "fw-cfg-of-the-guest" kvm::fw_cfg_of_the_guest
        "ghcb-version-0" kvm::ghcb_version_0
        "mmio-windows" kvm::mmio_windows
        "alias-stays" kvm::alias_stays
        "alias-of-revoked" broken::alias_of_revoked
        "alias-of-another" broken::alias_of_another
        "page-state-of-validated" kvm::page_state_of_validated
        "page-state-by-guest" kvm::page_state_by_guest
        "page-state-of-vmsa" kvm::page_state_of_vmsa
        "tlb-remembers" tlb::remembers
        "tlb-write-is-walked" tlb::write_is_walked
        "tlb-of-its-own" tlb::of_its_own
        "tlb-host-flushes" tlb::host_flushes
        "cpuid-page" kvm::cpuid_page
        "cpuid-page-of-image" kvm::cpuid_page_of_image
        "vmpls-none" kvm::vmpls_none
        "steal" kvm::steal
        "ghcb-refusals" controls::ghcb_refusals
        "ghcb-services" controls::ghcb_services
        "msr-protocol" controls::msr_protocol
        "page-state-list" controls::page_state_list
        "ap-creation" controls::ap_creation
        "vc-codes" controls::vc_codes
        "vc-change-of-cpl" controls::vc_change_of_cpl
        "vc-without-ist" controls::vc_without_ist
        "vc-32-bit" controls::vc_32_bit
        "halt-until-interrupt" controls::halt_until_interrupt
        "rdseed" controls::rdseed
        "launch-pages" controls::launch_pages
        "launch-pages-seeded" controls::launch_pages
        "launch-map" controls::launch_map
        "empty-page" controls::empty_page
        "launch-madt" controls::launch_madt
        "required-memory" controls::required_memory
        "memory-map-ram" controls::memory_map_ram
        "run-vmpl" controls::run_vmpl
        "run-vmpl-by-msr" controls::run_vmpl_by_msr
        "guest-refusals" controls::guest_refusals
        "guest-faults" controls::guest_faults
        "report" psp::report
        "report-refusals" psp::report_refusals
        "message-refusals" psp::message_refusals
        "derived-keys" psp::derived_keys
        "tsc-info" psp::tsc_info
        "certificates" psp::certificates
        "message-again" psp::message_again
        "terminate" terminate_by_msr
        "terminate-by-page" terminate_by_page
        "unvalidated-access" broken::unvalidated_access
        "unvalidated-rescinded" broken::unvalidated_rescinded
        "unvalidated-required" broken::unvalidated_required
        "unvalidated-rmpadjust" broken::unvalidated_rmpadjust
        "no-memory" broken::no_memory
        "shared-as-private" broken::shared_as_private
        "private-as-shared" broken::private_as_shared
        "private-write-as-shared" broken::private_write_as_shared
        "execute-shared" broken::execute_shared
        "pvalidate-twice-used" broken::pvalidate_twice_used
        "pvalidate-twice-again" broken::pvalidate_twice_again
        "pvalidate-after-failed-rescind" broken::pvalidate_after_failed_rescind
        "vmpl-read" broken::vmpl_read
        "vmpl-write" broken::vmpl_write
        "vmpl-execute" broken::vmpl_execute
        "vmpl-revoked" broken::vmpl_revoked
        "vmpl-own-vmsa" broken::vmpl_own_vmsa
        "rmpadjust-level" broken::rmpadjust_level
        "page-state-validated" broken::page_state_validated
        "page-state-list-validated" broken::page_state_list_validated
        "pvalidate-unassigned" broken::pvalidate_unassigned
        "rmpadjust-unassigned" broken::rmpadjust_unassigned
        "stale-rescinded" tlb::stale_rescinded
        "stale-vmsa" tlb::stale_vmsa
        "stale-after-cr3" tlb::stale_after_cr3
        "vmsa-no-attribute" broken::vmsa_no_attribute
        "vmsa-attribute-revoked" broken::vmsa_attribute_revoked
        "vmsa-shared" broken::vmsa_shared
        "vmsa-writable" broken::vmsa_writable
        "vmsa-alignment" broken::vmsa_alignment
        "vmsa-other-vmpl" broken::vmsa_other_vmpl
        "vmsa-no-svme" broken::vmsa_no_svme
        "vmsa-features" broken::vmsa_features
        "vmsa-vmrun-refuses" broken::vmsa_vmrun_refuses
        "ghcb-not-registered" broken::ghcb_not_registered
        "ghcb-of-another-vmpl" broken::ghcb_of_another_vmpl
        "ghcb-private" broken::ghcb_private
        "iv-reused" broken::iv_reused
        "iv-reused-header" broken::iv_reused_header
        "iv-reused-after-busy" broken::iv_reused_after_busy
        "secrets-leak" broken::secrets_leak
        "secrets-leak-vmpck1" broken::secrets_leak_vmpck1
        "secrets-leak-shared" broken::secrets_leak_shared
        "unzeroed-grant" broken::unzeroed_grant
        "run-vmpl-bad" broken::run_vmpl_bad
        "run-vmpl-self" broken::run_vmpl_self
        "run-vmpl-destroyed" broken::run_vmpl_destroyed
        "triple-fault" broken::triple_fault
        "vc-without-handler" broken::vc_without_handler
        "halted" broken::halted
        "ap-reset-hold" broken::ap_reset_hold
        "svm-instruction" broken::svm_instruction
        "lie-busy" psp::lie_busy
        "lie-stale-answer" psp::lie_stale_answer
        "lie-no-answer" psp::lie_no_answer
        "lie-ghcb-invalid" lies::ghcb_invalid
        "lie-ghcb-invalid-one" lies::ghcb_invalid_one
        "lie-wrong-seq" psp::lie_wrong_seq
        "lie-bit-flip" psp::lie_bit_flip
        "lie-cert-truncated" psp::lie_cert_truncated
        "lie-psc-partial" lies::psc_partial
        "lie-psc-refused" broken::lie_psc_refused
        "lie-hv-features" lies::hv_features
        "lie-ghcb-register-other" lies::ghcb_register_other
        "lie-wrong-vmpl-report" psp::lie_wrong_vmpl_report
        "lie-wrong-report-data" psp::lie_wrong_report_data
        "lie-report-status" psp::lie_report_status
        "lie-cbit" lies::c_bit
        "lie-cpuid-overflow" lies::cpuid_overflow
        "lie-spurious-run" lies::spurious_run
        "lie-memory-map" lies::memory_map_lie
        "lie-no-rdseed" lies::no_rdseed
        "lie-no-rdrand" lies::no_rdrand
        "lie-cpuid-repeats" lies::cpuid_repeats
        "lie-cpuid-contradicts" lies::cpuid_contradicts
        "lie-swap-before-rescind" lies::swap_before_rescind
        "lie-inject" lies::inject
        "lie-inject-ignored" lies::inject_ignored
        "lie-inject-refused" lies::inject_refused
        "lie-inject-refused-elsewhere" lies::inject_refused
        "lie-inject-refused-for-all" lies::inject_refused_for_all
        "lie-required-validated" lies::required_validated
        "lie-map-pages" lies::map_pages
        "lie-map-ranges" lies::map_ranges
        "lie-map-overlap" lies::map_overlap
        "lie-map-unsorted" lies::map_unsorted
    }
}

fn terminate_by_msr() {
    terminate(77)
}

fn terminate_by_page() {
    GHCB.exit(0x8000_FFFE, 9 | 77 << 4, 0, &[]);
}

/// Must the machine have stopped this case before it came back?
fn must_stop(name: &str) -> bool {
    cases::CASES.iter().any(|case| case.name == name && matches!(case.expect, cases::Expect::Stop(_)))
}

#[unsafe(no_mangle)]
extern "sysv64" fn rules_main() -> ! {
    sys::install_exceptions(1);
    sys::msr_call(GHCB.0 | 0x012);
    let mut config = [0; 512];
    let len = fw_cfg("opt/org.quoin/config", &mut config).unwrap_or(0);
    let config = core::str::from_utf8(&config[..len]).unwrap_or("");
    let name = config.lines().find_map(|line| line.strip_prefix("case=")).unwrap_or("");
    say(name);
    function(name)();
    check(!must_stop(name), NOT_STOPPED);
    say("done");
    power_off()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    terminate(255)
}
