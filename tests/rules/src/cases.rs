//! The cases, for this program and for the host's suite alike: name, what the machine must say, and the machine's
//! configuration.

/// A case.
pub(crate) struct Case {
    /// Its name: `case=NAME` of the machine's configuration chooses it.
    pub(crate) name: &'static str,
    /// How it must end.
    pub(crate) expect: Expect,
    /// More lines of the configuration, separated by spaces; `{NAME}` stands for the address of a symbol.
    pub(crate) config: &'static str,
}

/// How a case ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// The guest powers off after everything that it checked held.
    Ok,
    /// The machine stops it with this rule.
    Stop(&'static str),
    /// The machine refuses the launch.
    BadLaunch,
    /// It asks for termination with this set and code.
    Terminated(u8, u8),
}

const fn ok(name: &'static str, config: &'static str) -> Case {
    Case { name, expect: Expect::Ok, config }
}

const fn stop(name: &'static str, rule: &'static str) -> Case {
    Case { name, expect: Expect::Stop(rule), config: "" }
}

/// A rule that stops a machine only if it is asked to be stricter than KVM.
const fn strict(name: &'static str, rule: &'static str) -> Case {
    Case { name, expect: Expect::Stop(rule), config: "access=stop" }
}

const REFUSES: &str = "fault=inject:5 refusable={__refusable}-{__refusable_last} refused={__refused}";

/// All cases.
pub(crate) const CASES: &[Case] = &[
    // Correct firmware: the same instructions in the right order pass.
    ok("memory", ""),
    ok("goes-ahead", ""),
    ok("goes-ahead-in-rows", ""),
    ok("every-instruction-has-its-exit", "ahead=no"),
    ok("pvalidate-codes", ""),
    ok("pvalidate-rescued", ""),
    ok("vmsa-in-use", ""),
    ok("rmpadjust-codes", ""),
    ok("two-mebibytes", "rmp-pages=2m"),
    ok("four-kibibytes", ""),
    ok("implicit-conversion", ""),
    ok("page-state-of-validated", ""),
    ok("page-state-by-guest", ""),
    ok("page-state-of-vmsa", ""),
    ok("tlb-remembers", "vmpl-fault=gp"),
    ok("tlb-write-is-walked", "vmpl-fault=gp"),
    ok("tlb-of-its-own", ""),
    ok("tlb-host-flushes", ""),
    ok("cpuid-page", ""),
    ok("cpuid-page-of-image", "cpuid=image"),
    ok("vmpls-none", "vmpls=no"),
    ok("fw-cfg-of-the-guest", ""),
    ok("ghcb-version-0", ""),
    ok("mmio-windows", ""),
    ok("alias-stays", ""),
    ok("steal", "steal=1"),
    ok("ghcb-refusals", ""),
    ok("ghcb-services", ""),
    ok("msr-protocol", ""),
    ok("page-state-list", ""),
    ok("ap-creation", ""),
    ok("vc-codes", ""),
    ok("vc-change-of-cpl", ""),
    ok("vc-without-ist", ""),
    ok("vc-32-bit", ""),
    ok("halt-until-interrupt", ""),
    ok("rdseed", ""),
    ok("launch-pages", ""),
    ok("launch-map", ""),
    ok("launch-pages-seeded", "seed=7"),
    ok("required-memory", ""),
    ok("memory-map-ram", "ram=64"),
    ok("run-vmpl", ""),
    ok("run-vmpl-by-msr", ""),
    ok("guest-refusals", ""),
    ok("guest-faults", "vmpl-fault=gp access=stop"),
    ok("report", ""),
    ok("report-refusals", ""),
    ok("message-refusals", ""),
    ok("derived-keys", ""),
    ok("tsc-info", ""),
    ok("certificates", ""),
    ok("message-again", ""),
    Case { name: "terminate", expect: Expect::Terminated(9, 77), config: "" },
    Case { name: "terminate-by-page", expect: Expect::Terminated(9, 77), config: "" },
    // A rule broken.
    strict("unvalidated-access", "unvalidated-access"),
    strict("unvalidated-rescinded", "unvalidated-access"),
    strict("unvalidated-required", "unvalidated-access"),
    strict("unvalidated-rmpadjust", "unvalidated-access"),
    stop("no-memory", "unvalidated-access"),
    strict("shared-as-private", "c-bit"),
    strict("private-as-shared", "c-bit"),
    strict("private-write-as-shared", "c-bit"),
    strict("execute-shared", "c-bit"),
    stop("pvalidate-twice-used", "pvalidate-twice"),
    stop("pvalidate-twice-again", "pvalidate-twice"),
    stop("pvalidate-after-failed-rescind", "pvalidate-twice"),
    stop("vmpl-read", "vmpl-permission"),
    stop("vmpl-write", "vmpl-permission"),
    stop("vmpl-execute", "vmpl-permission"),
    stop("vmpl-revoked", "vmpl-permission"),
    stop("vmpl-own-vmsa", "vmpl-permission"),
    stop("alias-of-revoked", "vmpl-permission"),
    strict("alias-of-another", "c-bit"),
    stop("rmpadjust-level", "rmpadjust-level"),
    strict("page-state-validated", "page-state"),
    strict("page-state-list-validated", "page-state"),
    strict("pvalidate-unassigned", "page-state"),
    strict("rmpadjust-unassigned", "page-state"),
    stop("stale-rescinded", "stale-translation"),
    stop("stale-vmsa", "stale-translation"),
    stop("stale-after-cr3", "stale-translation"),
    stop("vmsa-no-attribute", "vmsa-attribute"),
    stop("vmsa-attribute-revoked", "vmsa-attribute"),
    stop("vmsa-shared", "vmsa-attribute"),
    stop("vmsa-writable", "vmsa-writable"),
    stop("vmsa-alignment", "vmsa-alignment"),
    stop("vmsa-other-vmpl", "vmsa-invalid"),
    stop("vmsa-no-svme", "vmsa-invalid"),
    stop("vmsa-features", "vmsa-invalid"),
    stop("vmsa-vmrun-refuses", "vmsa-invalid"),
    stop("ghcb-not-registered", "ghcb-not-registered"),
    stop("ghcb-of-another-vmpl", "ghcb-not-registered"),
    stop("ghcb-private", "ghcb-private"),
    stop("iv-reused", "iv-reused"),
    stop("iv-reused-header", "iv-reused"),
    Case { name: "iv-reused-after-busy", expect: Expect::Stop("iv-reused"), config: "fault=busy:1" },
    stop("secrets-leak", "secrets-leak"),
    stop("secrets-leak-vmpck1", "secrets-leak"),
    stop("secrets-leak-shared", "secrets-leak"),
    stop("unzeroed-grant", "unzeroed-grant"),
    stop("run-vmpl-bad", "run-vmpl-bad"),
    stop("run-vmpl-self", "run-vmpl-bad"),
    stop("run-vmpl-destroyed", "run-vmpl-bad"),
    stop("triple-fault", "triple-fault"),
    stop("vc-without-handler", "triple-fault"),
    stop("halted", "halted"),
    stop("ap-reset-hold", "halted"),
    stop("svm-instruction", "svm-instruction"),
    // The host lies; the firmware sees exactly that lie.
    ok("lie-busy", "fault=busy:2"),
    ok("lie-stale-answer", "fault=stale-answer:2"),
    ok("lie-no-answer", "fault=no-answer:1"),
    ok("lie-ghcb-invalid", "fault=ghcb-invalid"),
    ok("lie-ghcb-invalid-one", "fault=ghcb-invalid:0x72"),
    ok("lie-wrong-seq", "fault=wrong-seq:1"),
    ok("lie-bit-flip", "fault=bit-flip:1000"),
    ok("lie-cert-truncated", "fault=cert-truncated"),
    ok("lie-psc-partial", "fault=psc-partial:2"),
    Case { name: "lie-psc-refused", expect: Expect::Stop("page-state"), config: "fault=psc-refused access=stop" },
    ok("lie-hv-features", "fault=hv-features:0x5"),
    ok("lie-ghcb-register-other", "fault=ghcb-register-other"),
    ok("lie-wrong-vmpl-report", "fault=wrong-vmpl-report:3"),
    ok("lie-wrong-report-data", "fault=wrong-report-data:9"),
    ok("lie-report-status", "fault=report-status:0x2a"),
    ok("lie-cbit", "fault=cbit-lie:51"),
    ok("lie-cpuid-overflow", "fault=cpuid-overflow:65"),
    ok("lie-spurious-run", "fault=spurious-run:1"),
    ok("lie-memory-map", "fault=memory-map-lie"),
    ok("lie-no-rdseed", "fault=no-rdseed"),
    ok("lie-no-rdrand", "fault=no-rdrand"),
    ok("lie-cpuid-repeats", "fault=cpuid-repeats:3"),
    ok("lie-cpuid-contradicts", "fault=cpuid-contradicts:1"),
    ok("lie-swap-before-rescind", "fault=swap-before-rescind:2"),
    ok("lie-inject", "fault=inject:20"),
    ok("lie-inject-refused", REFUSES),
    Case { name: "lie-inject-refused-elsewhere", expect: Expect::Stop("injected-exception"), config: "fault=inject:5" },
    Case { name: "lie-inject-refused-for-all", expect: Expect::Stop("injected-exception"), config: REFUSES },
    Case { name: "lie-inject-ignored", expect: Expect::Stop("injected-exception"), config: "fault=inject:20" },
    ok("lie-required-validated", "fault=required-validated"),
    ok("lie-map-pages", "fault=map-pages:659013632"),
    ok("lie-map-ranges", "ram=64 fault=map-ranges:100"),
    ok("lie-map-overlap", "fault=map-overlap"),
    ok("lie-map-unsorted", "fault=map-unsorted fault=map-pages:1"),
    // Configurations that are no configuration.
    Case { name: "memory", expect: Expect::BadLaunch, config: "fault=no-such-lie" },
    Case { name: "memory", expect: Expect::BadLaunch, config: "no-such-key=1" },
    Case { name: "memory", expect: Expect::BadLaunch, config: "fault=busy:many" },
    Case { name: "memory", expect: Expect::BadLaunch, config: "access=maybe" },
];
