//! The cases, for this program and for the host's suite alike: name, what the machine must say, and the machine's
//! configuration.

/// A case.
pub(crate) struct Case {
    /// Its name: `case=NAME` of the machine's configuration chooses it.
    pub(crate) name: &'static str,
    /// How it must end.
    pub(crate) expect: Expect,
    /// More lines of the configuration, separated by spaces; `{NAME}` stands for the address of a symbol, and
    /// `processors=N` and `sev-features=N`, of the launched register state, are for the suite alone.
    pub(crate) config: &'static str,
}

/// How a case ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// The guest powers off after everything that it checked held.
    Ok,
    /// The machine stops it with this rule.
    Stop(&'static str),
    /// It asks for termination with this set and code.
    Terminated(u8, u8),
    /// As `Ok`, of a file that the suite has changed.
    OfChangedFile,
}

const REFUSES: &str = "fault=inject:5 refusable={__refusable}-{__refusable_last} refused={__refused}";

const SIGNALS: &str = "injection=restricted sev-features=9 fault=hv:5";

/// Gives all cases to a macro: name, function of the payload, end, configuration. Each is named here and nowhere else.
macro_rules! for_each_case {
    ($macro:ident) => {
        $macro! {
            // Correct firmware: the same instructions in the right order pass.
            "memory" controls::memory, Ok, "";
            "goes-ahead" ahead::as_the_processor, Ok, "";
            "goes-ahead-in-rows" ahead::rows, Ok, "";
            "every-instruction-has-its-exit" ahead::rows, Ok, "ahead=no";
            "pvalidate-codes" controls::pvalidate_codes, Ok, "";
            "pvalidate-rescued" controls::pvalidate_rescued, Ok, "";
            "vmsa-in-use" controls::vmsa_in_use, Ok, "";
            "rmpadjust-codes" controls::rmpadjust_codes, Ok, "";
            "two-mebibytes" controls::two_mebibytes, Ok, "rmp-pages=2m";
            "four-kibibytes" kvm::four_kibibytes, Ok, "";
            "implicit-conversion" kvm::implicit_conversion, Ok, "";
            "page-state-of-validated" kvm::page_state_of_validated, Ok, "";
            "page-state-by-guest" kvm::page_state_by_guest, Ok, "";
            "page-state-of-vmsa" kvm::page_state_of_vmsa, Ok, "";
            "tlb-remembers" tlb::remembers, Ok, "vmpl-fault=gp";
            "tlb-write-is-walked" tlb::write_is_walked, Ok, "vmpl-fault=gp";
            "tlb-of-its-own" tlb::of_its_own, Ok, "";
            "tlb-host-flushes" tlb::host_flushes, Ok, "";
            "cpuid-page" kvm::cpuid_page, Ok, "";
            "cpuid-page-of-image" kvm::cpuid_page_of_image, Ok, "cpuid=image";
            "vmpls-none" kvm::vmpls_none, Ok, "vmpls=no";
            "fw-cfg-of-the-guest" kvm::fw_cfg_of_the_guest, Ok, "";
            "ghcb-version-0" kvm::ghcb_version_0, Ok, "";
            "mmio-windows" kvm::mmio_windows, Ok, "";
            "alias-stays" kvm::alias_stays, Ok, "";
            "steal" kvm::steal, Ok, "steal=1";
            "ghcb-refusals" controls::ghcb_refusals, Ok, "";
            "ghcb-services" controls::ghcb_services, Ok, "";
            "msr-protocol" controls::msr_protocol, Ok, "";
            "page-state-list" controls::page_state_list, Ok, "";
            "ap-creation" controls::ap_creation, Ok, "";
            "vc-codes" controls::vc_codes, Ok, "";
            "vc-change-of-cpl" controls::vc_change_of_cpl, Ok, "";
            "vc-without-ist" controls::vc_without_ist, Ok, "";
            "vc-32-bit" controls::vc_32_bit, Ok, "";
            "halt-until-interrupt" controls::halt_until_interrupt, Ok, "";
            "rdseed" controls::rdseed, Ok, "";
            "launch-pages" controls::launch_pages, Ok, "";
            "launch-map" controls::launch_map, Ok, "";
            "empty-page" controls::empty_page, OfChangedFile, "";
            "launch-madt" controls::launch_madt, OfChangedFile, "";
            "launch-pages-seeded" controls::launch_pages, Ok, "seed=7";
            "required-memory" controls::required_memory, Ok, "";
            "memory-map-ram" controls::memory_map_ram, Ok, "ram=64";
            "run-vmpl" controls::run_vmpl, Ok, "";
            "run-vmpl-by-msr" controls::run_vmpl_by_msr, Ok, "";
            "guest-refusals" controls::guest_refusals, Ok, "";
            "guest-faults" controls::guest_faults, Ok, "vmpl-fault=gp access=stop";
            "report" psp::report, Ok, "";
            "report-refusals" psp::report_refusals, Ok, "";
            "message-refusals" psp::message_refusals, Ok, "";
            "derived-keys" psp::derived_keys, Ok, "";
            "tsc-info" psp::tsc_info, Ok, "";
            "certificates" psp::certificates, Ok, "";
            "message-again" psp::message_again, Ok, "";
            "terminate" terminate_by_msr, Terminated(9, 77), "";
            "terminate-by-page" terminate_by_page, Terminated(9, 77), "";
            "signal-doorbell" signals::doorbell_page, Ok, "injection=restricted";
            "signal-doorbell-not-offered" signals::doorbell_not_offered, Ok, "";
            "signal-arrives" signals::hv_arrives, Ok, "injection=restricted sev-features=9 fault=event:28";
            "signal-fills-its-page" signals::hv_fills_its_page, Ok, "injection=restricted sev-features=9 fault=event:28";
            "signal-handler-comes-back" signals::handler_comes_back, Ok, SIGNALS;
            "signal-by-vmsa" signals::virtual_interrupt, Ok, "injection=alternate";
            "signal-by-vmsa-none" signals::virtual_interrupt_none, Ok, "injection=alternate";
            "signal-by-vmsa-waits" signals::virtual_interrupt_waits, Ok, "injection=alternate";
            "signal-none-any-vector" signals::interrupt_arrives, Ok, "fault=event:64";
            "invlpgb-codes" smp::invlpgb_codes, Ok, "invlpgb=yes";
            "invlpgb-none" smp::invlpgb_none, Ok, "";
            // Two processors.
            "smp-both-run" smp::both_run, Ok, "processors=2";
            "smp-refusals" smp::refusals, Ok, "processors=2";
            "smp-vmsa-in-use" smp::vmsa_in_use, Ok, "processors=2";
            "smp-created-again" smp::created_again, Ok, "processors=2";
            "smp-created-by-guest" smp::created_by_guest, Ok, "processors=2";
            "smp-parked" smp::parked, Ok, "processors=2";
            "smp-run-vmpl-waits" smp::run_vmpl_waits, Ok, "processors=2";
            "smp-interrupts" smp::interrupts, Ok, "processors=2";
            "smp-stale-until-tlbsync" smp::stale_until_tlbsync, Ok, "processors=2 vmpl-fault=gp";
            "smp-stale-until-its-cr4" smp::stale_until_its_cr4, Ok, "processors=2 vmpl-fault=gp";
            "smp-stale-until-its-invlpg" smp::stale_until_its_invlpg, Ok, "processors=2 vmpl-fault=gp";
            "smp-host-flushes-everywhere" smp::host_flushes_everywhere, Ok, "processors=2";
            "smp-invlpgb-codes" smp::invlpgb_codes, Ok, "processors=2";
            "smp-invlpgb-none" smp::invlpgb_none, Ok, "processors=2 invlpgb=no";
            "smp-stale-rescinded" smp::stale_rescinded, Stop("stale-translation"), "processors=2";
            "smp-stale-vmsa" smp::stale_vmsa, Stop("stale-translation"), "processors=2";
            "smp-stale-after-own-flush" smp::stale_after_own_flush, Stop("stale-translation"), "processors=2";
            "smp-stale-before-tlbsync" smp::stale_before_tlbsync, Stop("stale-translation"), "processors=2";
            "smp-stale-after-invlpgb" smp::stale_after_invlpgb, Stop("stale-translation"), "processors=2";
            "smp-stale-vmsa-runs" smp::stale_vmsa_runs, Stop("stale-translation"), "processors=2";
            "smp-vmsa-twice" smp::vmsa_twice, Stop("vmsa-invalid"), "processors=2";
            // A rule broken.
            "unvalidated-access" broken::unvalidated_access, Stop("unvalidated-access"), "access=stop";
            "unvalidated-rescinded" broken::unvalidated_rescinded, Stop("unvalidated-access"), "access=stop";
            "unvalidated-required" broken::unvalidated_required, Stop("unvalidated-access"), "access=stop";
            "unvalidated-rmpadjust" broken::unvalidated_rmpadjust, Stop("unvalidated-access"), "access=stop";
            "no-memory" broken::no_memory, Stop("unvalidated-access"), "";
            "shared-as-private" broken::shared_as_private, Stop("c-bit"), "access=stop";
            "private-as-shared" broken::private_as_shared, Stop("c-bit"), "access=stop";
            "private-write-as-shared" broken::private_write_as_shared, Stop("c-bit"), "access=stop";
            "execute-shared" broken::execute_shared, Stop("c-bit"), "access=stop";
            "pvalidate-twice-used" broken::pvalidate_twice_used, Stop("pvalidate-twice"), "";
            "pvalidate-twice-again" broken::pvalidate_twice_again, Stop("pvalidate-twice"), "";
            "pvalidate-after-failed-rescind" broken::pvalidate_after_failed_rescind, Stop("pvalidate-twice"), "";
            "vmpl-read" broken::vmpl_read, Stop("vmpl-permission"), "";
            "vmpl-write" broken::vmpl_write, Stop("vmpl-permission"), "";
            "vmpl-execute" broken::vmpl_execute, Stop("vmpl-permission"), "";
            "vmpl-revoked" broken::vmpl_revoked, Stop("vmpl-permission"), "";
            "vmpl-own-vmsa" broken::vmpl_own_vmsa, Stop("vmpl-permission"), "";
            "alias-of-revoked" broken::alias_of_revoked, Stop("vmpl-permission"), "";
            "alias-of-another" broken::alias_of_another, Stop("c-bit"), "access=stop";
            "rmpadjust-level" broken::rmpadjust_level, Stop("rmpadjust-level"), "";
            "page-state-validated" broken::page_state_validated, Stop("page-state"), "access=stop";
            "page-state-list-validated" broken::page_state_list_validated, Stop("page-state"), "access=stop";
            "pvalidate-unassigned" broken::pvalidate_unassigned, Stop("page-state"), "access=stop";
            "rmpadjust-unassigned" broken::rmpadjust_unassigned, Stop("page-state"), "access=stop";
            "stale-rescinded" tlb::stale_rescinded, Stop("stale-translation"), "";
            "stale-vmsa" tlb::stale_vmsa, Stop("stale-translation"), "";
            "stale-after-cr3" tlb::stale_after_cr3, Stop("stale-translation"), "";
            "vmsa-no-attribute" broken::vmsa_no_attribute, Stop("vmsa-attribute"), "";
            "vmsa-attribute-revoked" broken::vmsa_attribute_revoked, Stop("vmsa-attribute"), "";
            "vmsa-shared" broken::vmsa_shared, Stop("vmsa-attribute"), "";
            "vmsa-writable" broken::vmsa_writable, Stop("vmsa-writable"), "";
            "vmsa-alignment" broken::vmsa_alignment, Stop("vmsa-alignment"), "";
            "vmsa-other-vmpl" broken::vmsa_other_vmpl, Stop("vmsa-invalid"), "";
            "vmsa-no-svme" broken::vmsa_no_svme, Stop("vmsa-invalid"), "";
            "vmsa-features" broken::vmsa_features, Stop("vmsa-invalid"), "";
            "vmsa-vmrun-refuses" broken::vmsa_vmrun_refuses, Stop("vmsa-invalid"), "";
            "ghcb-not-registered" broken::ghcb_not_registered, Stop("ghcb-not-registered"), "";
            "ghcb-of-another-vmpl" broken::ghcb_of_another_vmpl, Stop("ghcb-not-registered"), "";
            "ghcb-private" broken::ghcb_private, Stop("ghcb-private"), "";
            "iv-reused" broken::iv_reused, Stop("iv-reused"), "";
            "iv-reused-header" broken::iv_reused_header, Stop("iv-reused"), "";
            "iv-reused-after-busy" broken::iv_reused_after_busy, Stop("iv-reused"), "fault=busy:1";
            "secrets-leak" broken::secrets_leak, Stop("secrets-leak"), "";
            "secrets-leak-vmpck1" broken::secrets_leak_vmpck1, Stop("secrets-leak"), "";
            "secrets-leak-shared" broken::secrets_leak_shared, Stop("secrets-leak"), "";
            "unzeroed-grant" broken::unzeroed_grant, Stop("unzeroed-grant"), "";
            "own-page-granted" broken::own_page_granted, Stop("own-page-granted"), "own=1";
            "run-vmpl-bad" broken::run_vmpl_bad, Stop("run-vmpl-bad"), "";
            "run-vmpl-self" broken::run_vmpl_self, Stop("run-vmpl-bad"), "";
            "run-vmpl-destroyed" broken::run_vmpl_destroyed, Stop("run-vmpl-bad"), "";
            "triple-fault" broken::triple_fault, Stop("triple-fault"), "";
            "vc-without-handler" broken::vc_without_handler, Stop("triple-fault"), "";
            "halted" broken::halted, Stop("halted"), "";
            "ap-reset-hold" broken::ap_reset_hold, Stop("halted"), "";
            "signal-both-injections" signals::both_injections, Stop("vmsa-invalid"), "injection=alternate";
            "signal-alone" signals::interrupt_is_forbidden, Stop("restricted-injection"), "injection=restricted sev-features=9 fault=event:64";
            "signal-handler-exits" signals::handler_exits, Stop("signal-handler"), SIGNALS;
            "signal-handler-changes" signals::handler_changes_a_register, Stop("signal-handler"), SIGNALS;
            "signal-handler-stays" signals::handler_stays, Stop("signal-handler"), SIGNALS;
            "signal-handler-lost" signals::handler_loses_its_frame, Stop("injected-exception"), SIGNALS;
            "svm-instruction" broken::svm_instruction, Stop("svm-instruction"), "";
            // The host lies; the firmware sees exactly that lie.
            "lie-busy" psp::lie_busy, Ok, "fault=busy:2";
            "lie-stale-answer" psp::lie_stale_answer, Ok, "fault=stale-answer:2";
            "lie-no-answer" psp::lie_no_answer, Ok, "fault=no-answer:1";
            "lie-ghcb-invalid" lies::ghcb_invalid, Ok, "fault=ghcb-invalid";
            "lie-ghcb-invalid-one" lies::ghcb_invalid_one, Ok, "fault=ghcb-invalid:0x72";
            "lie-wrong-seq" psp::lie_wrong_seq, Ok, "fault=wrong-seq:1";
            "lie-bit-flip" psp::lie_bit_flip, Ok, "fault=bit-flip:1000";
            "lie-cert-truncated" psp::lie_cert_truncated, Ok, "fault=cert-truncated";
            "lie-psc-partial" lies::psc_partial, Ok, "fault=psc-partial:2";
            "lie-psc-refused" broken::lie_psc_refused, Stop("page-state"), "fault=psc-refused access=stop";
            "lie-hv-features" lies::hv_features, Ok, "fault=hv-features:0x5";
            "lie-ghcb-register-other" lies::ghcb_register_other, Ok, "fault=ghcb-register-other";
            "lie-wrong-vmpl-report" psp::lie_wrong_vmpl_report, Ok, "fault=wrong-vmpl-report:3";
            "lie-wrong-report-data" psp::lie_wrong_report_data, Ok, "fault=wrong-report-data:9";
            "lie-report-status" psp::lie_report_status, Ok, "fault=report-status:0x2a";
            "lie-cbit" lies::c_bit, Ok, "fault=cbit-lie:51";
            "lie-cpuid-overflow" lies::cpuid_overflow, Ok, "fault=cpuid-overflow:65";
            "lie-spurious-run" lies::spurious_run, Ok, "fault=spurious-run:1";
            "lie-memory-map" lies::memory_map_lie, Ok, "fault=memory-map-lie";
            "lie-no-rdseed" lies::no_rdseed, Ok, "fault=no-rdseed";
            "lie-no-rdrand" lies::no_rdrand, Ok, "fault=no-rdrand";
            "lie-cpuid-repeats" lies::cpuid_repeats, Ok, "fault=cpuid-repeats:3";
            "lie-cpuid-contradicts" lies::cpuid_contradicts, Ok, "fault=cpuid-contradicts:1";
            "lie-signal-doorbell-refused" signals::doorbell_refused, Ok, "injection=restricted fault=doorbell-refused";
            "lie-signal-doorbell-other" signals::doorbell_other, Ok, "injection=restricted fault=doorbell-other";
            "lie-ap-never" smp::lie_ap_never, Ok, "processors=2 fault=ap-never:1";
            "lie-ap-refused" smp::lie_ap_refused, Ok, "processors=2 fault=ap-refused:1";
            "lie-ap-other" smp::lie_ap_other, Ok, "processors=3 fault=ap-other:1";
            "lie-ap-late" smp::lie_ap_late, Ok, "processors=2 fault=ap-late:1";
            "lie-ap-twice" smp::lie_ap_twice, Ok, "processors=3 fault=ap-twice:1";
            "lie-ap-vmpl" smp::lie_ap_vmpl, Ok, "processors=2 fault=ap-vmpl:1";
            "lie-ap-page" smp::lie_ap_page, Ok, "processors=2 fault=ap-page:1";
            "lie-parked-run" smp::waits, Stop("unvalidated-access"), "processors=2 fault=parked-run";
            "lie-vmsa-swapped" smp::lie_vmsa_swapped, Ok, "processors=2 fault=vmsa-swapped:1";
            "lie-swap-before-rescind" lies::swap_before_rescind, Ok, "fault=swap-before-rescind:2";
            "lie-inject" lies::inject, Ok, "fault=inject:20";
            "lie-inject-refused" lies::inject_refused, Ok, REFUSES;
            "lie-inject-refused-elsewhere" lies::inject_refused, Stop("injected-exception"), "fault=inject:5";
            "lie-inject-refused-for-all" lies::inject_refused_for_all, Stop("injected-exception"), REFUSES;
            "lie-inject-ignored" lies::inject_ignored, Stop("injected-exception"), "fault=inject:20";
            "lie-window" lies::window, Ok, "fault=window:1";
            "lie-window-ignored" lies::window_ignored, Stop("injected-exception"), "fault=window:1";
            "lie-window-busy" lies::window_busy, Stop("vmsa-busy"), "fault=window:1";
            "lie-window-refuses" lies::window_refuses, Ok, "fault=window:100";
            "lie-window-gives" lies::window_gives, Stop("injected-exception"), "fault=window:8";
            "lie-window-gives-unzeroed" lies::window_gives_unzeroed, Stop("unzeroed-grant"), "fault=window:8";
            "lie-unasked" lies::unasked, Ok, "fault=unasked";
            "lie-unasked-later" lies::unasked_later, Ok, "fault=unasked";
            "lie-psmash" lies::psmash, Ok, "rmp-pages=2m fault=psmash";
            "lie-required-validated" lies::required_validated, Ok, "fault=required-validated";
            "lie-map-pages" lies::map_pages, Ok, "fault=map-pages:659013632";
            "lie-map-ranges" lies::map_ranges, Ok, "ram=64 fault=map-ranges:100";
            "lie-map-overlap" lies::map_overlap, Ok, "fault=map-overlap";
            "lie-map-unsorted" lies::map_unsorted, Ok, "fault=map-unsorted fault=map-pages:1";
        }
    };
}

macro_rules! table {
    ($($name:literal $function:path, $expect:ident $(($($of:expr),*))?, $config:expr;)*) => {
        &[$(Case { name: $name, expect: Expect::$expect $(($($of),*))?, config: $config },)*]
    };
}

/// All cases.
pub(crate) const CASES: &[Case] = for_each_case!(table);

/// Configurations that are no configuration: nothing is launched.
pub(crate) const REFUSED: [&str; 4] = ["fault=no-such-lie", "no-such-key=1", "fault=busy:many", "access=maybe"];
