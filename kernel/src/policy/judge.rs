//! What each rule demands, in the order in which `quoin-verify` judges.

use alloc::vec::Vec;
use core::fmt;

use snp::ghcb::msr::feature;
use snp::report::{Report, TcbVersion};
use snp::vmsa::features;

use super::rules::{Bit, Demand, Minimum, Policy, Rule};
use super::{Otherwise, Platform, Unmet};

/// Versions of reports whose fields are known.
const VERSIONS: core::ops::RangeInclusive<u32> = 2..=5;
/// From here on reports name the processor, and have mitigation vectors.
const WITH_PROCESSOR: u32 = 3;
const WITH_MITIGATIONS: u32 = 5;
/// POLICY: bit 17 must be one; DEBUG and MIGRATE_MA are never to be.
const MUST_BE_ONE: u64 = 1 << 17;
const WEAK: u64 = 1 << 19 | 1 << 18;
/// Bits of PLATFORM_INFO that have a name.
const NAMED_PLATFORM_INFO: u64 = 0xff;

/// Names of the GHCB's feature bits, as the policy file has them.
const HYPERVISOR_FEATURES: [(&str, u64); 8] = [
    ("snp", feature::SNP),
    ("ap-creation", feature::AP_CREATION),
    ("restricted-injection", feature::RESTRICTED_INJECTION),
    ("restricted-injection-timer", feature::RESTRICTED_INJECTION_TIMER),
    ("apic-id-list", feature::APIC_ID_LIST),
    ("multi-vmpl", feature::MULTI_VMPL),
    ("page-state-change", feature::PAGE_STATE_CHANGE),
    ("extended-interrupts", feature::EXTENDED_INTERRUPTS),
];
/// The same of SEV_FEATURES.
const SEV_FEATURES: [(&str, u64); 13] = [
    ("snp", features::SNP),
    ("vtom", features::VTOM),
    ("reflect-vc", features::REFLECT_VC),
    ("restricted-injection", features::RESTRICTED_INJECTION),
    ("alternate-injection", features::ALTERNATE_INJECTION),
    ("debug-swap", features::DEBUG_SWAP),
    ("prevent-host-ibs", features::PREVENT_HOST_IBS),
    ("btb-isolation", features::BTB_ISOLATION),
    ("vmpl-sss", features::VMPL_SSS),
    ("secure-tsc", features::SECURE_TSC),
    ("vmgexit-parameter", features::VMGEXIT_PARAMETER),
    ("vmsa-register-protection", features::VMSA_REGISTER_PROTECTION),
    ("smt-protection", features::SMT_PROTECTION),
];

/// Lines of processors: those with one layout of TCB_VERSION. The number is the place in [`Minimum::levels`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    Milan = 0,
    Genoa = 1,
    Turin = 2,
}

impl Generation {
    /// By family and model, extended fields added. Genoa's are Bergamo and Siena, too.
    const fn of_cpu(family: u8, model: u8) -> Option<Generation> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Generation::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Generation::Genoa),
            (0x1a, 0x00..=0x11) => Some(Generation::Turin),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Generation::Milan => "milan",
            Generation::Genoa => "genoa",
            Generation::Turin => "turin",
        }
    }

    /// FMC (none before Turin), boot loader, TEE, SNP, microcode.
    const fn levels(self, tcb: TcbVersion) -> [u8; 5] {
        match (self, tcb.0) {
            (Generation::Milan | Generation::Genoa, [boot_loader, tee, _, _, _, _, snp, microcode]) => {
                [0, boot_loader, tee, snp, microcode]
            }
            (Generation::Turin, [fmc, boot_loader, tee, snp, _, _, _, microcode]) => {
                [fmc, boot_loader, tee, snp, microcode]
            }
        }
    }
}

/// Names of the levels.
const LEVELS: [&str; 5] = ["fmc", "boot-loader", "tee", "snp", "microcode"];

impl Policy<'_> {
    /// The rules that the platform does not meet, in order. Those that every verifier has come first, and always end
    /// the boot.
    #[must_use]
    #[inline(never)]
    pub fn judge(&self, platform: &Platform<'_>) -> Vec<Unmet> {
        let mut unmet: Vec<Unmet> = always(platform.report).into_iter().flatten().collect();
        unmet.extend(self.rules().iter().filter_map(|rule| judge(rule, platform)));
        unmet
    }
}

/// What `quoin-verify` demands of every report, whatever the policy file says.
fn always(report: &Report) -> [Option<Unmet>; 3] {
    let version = report.version.get();
    let policy = report.policy.get();
    let [reported, committed, current] = [report.reported_tcb, report.committed_tcb, report.current_tcb];
    let end = Otherwise::Refuse;
    [
        end.if_not(
            VERSIONS.contains(&version),
            format_args!("report format"),
            format_args!("version {version}, not one of 2 to 5"),
        ),
        end.if_not(
            policy & (MUST_BE_ONE | WEAK) == MUST_BE_ONE,
            format_args!("guest policy"),
            format_args!("{policy:#x} allows debugging or a migration agent, or lacks bit 17"),
        ),
        end.if_not(
            at_most(reported, committed) && at_most(committed, current),
            format_args!("TCB"),
            format_args!("reported {}, committed {}, current {}", Hex(&reported.0), Hex(&committed.0), Hex(&current.0)),
        ),
    ]
}

/// No level is above the other's, whatever the layout.
pub(super) fn at_most(low: TcbVersion, high: TcbVersion) -> bool {
    low.0.iter().zip(high.0).all(|(low, high)| *low <= high)
}

impl Otherwise {
    /// `None`: the platform meets the rule. Not in line: there is a call for each rule, and the image has a limit.
    #[inline(never)]
    fn if_not(self, met: bool, rule: fmt::Arguments<'_>, found: fmt::Arguments<'_>) -> Option<Unmet> {
        if met { None } else { Some(Unmet::new(self, rule, found)) }
    }
}

/// `None`: the platform meets it.
fn judge(rule: &Rule<'_>, platform: &Platform<'_>) -> Option<Unmet> {
    let Rule { demand, otherwise } = *rule;
    let report = platform.report;
    let version = report.version.get();
    match demand {
        Demand::Versions(allowed) => otherwise.if_not(
            allowed.checked_shr(version).is_some_and(|bits| bits & 1 == 1),
            format_args!("report.versions"),
            format_args!("{version} is not among them"),
        ),
        Demand::ReportedIsCommitted => {
            let (reported, committed) = (report.reported_tcb.0, report.committed_tcb.0);
            otherwise.if_not(
                reported == committed,
                format_args!("report.reported-is-committed"),
                format_args!("reported is {}, committed {}", Hex(&reported), Hex(&committed)),
            )
        }
        Demand::GuestPolicyValue(wanted) => {
            let value = report.policy.get();
            let found = format_args!("{value:#x}, must be {wanted:#x}");
            otherwise.if_not(value == wanted, format_args!("guest-policy.value"), found)
        }
        Demand::GuestPolicy(name, wanted) => bit(otherwise, name, wanted, report.policy.get(), "POLICY"),
        Demand::Tcb(minimum) => tcb(otherwise, &minimum, platform),
        Demand::PlatformInfo(name, wanted) => bit(otherwise, name, wanted, report.platform_info.get(), "PLATFORM_INFO"),
        Demand::NoOtherPlatformInfo => {
            let value = report.platform_info.get();
            otherwise.if_not(
                value & !NAMED_PLATFORM_INFO == 0,
                format_args!("platform-info.no-other"),
                format_args!("a bit without a name is set (PLATFORM_INFO {value:#x})"),
            )
        }
        Demand::LaunchMitigations(wanted) => {
            mitigations(otherwise, "launch", wanted, version, report.launch_mit_vector.get())
        }
        Demand::CurrentMitigations(wanted) => {
            mitigations(otherwise, "current", wanted, version, report.current_mit_vector.get())
        }
        Demand::Chips(_) if report.chip_id == [0; 64] => {
            otherwise.if_not(false, format_args!("chips.ids"), format_args!("CHIP_ID is masked"))
        }
        Demand::Chips(ids) => one_of(otherwise, "chips.ids", ids.as_flattened(), &report.chip_id),
        Demand::HostData(data) => one_of(otherwise, "launch.host-data", data.as_flattened(), &report.host_data),
        Demand::IdKeyDigests(digests) => {
            one_of(otherwise, "launch.id-key-digests", digests.as_flattened(), &report.id_key_digest)
        }
        Demand::AuthorKeyDigests(digests) => {
            one_of(otherwise, "launch.author-key-digests", digests.as_flattened(), &report.author_key_digest)
        }
        Demand::FamilyId(wanted) => is(otherwise, "launch.family-id", wanted, &report.family_id),
        Demand::ImageId(wanted) => is(otherwise, "launch.image-id", wanted, &report.image_id),
        Demand::GuestSvn(least) => {
            let found = report.guest_svn.get();
            let text = format_args!("{found}, must be {least} at least");
            otherwise.if_not(found >= least, format_args!("launch.guest-svn"), text)
        }
        Demand::HypervisorFeatures(wanted) => missing(
            otherwise,
            "firmware.hypervisor-features",
            &HYPERVISOR_FEATURES,
            wanted,
            platform.hypervisor_features,
        ),
        Demand::SevFeatures(wanted) => {
            missing(otherwise, "firmware.sev-features", &SEV_FEATURES, wanted, platform.sev_features)
        }
        // What it demands is not known yet.
        Demand::LaterReports => None,
    }
}

#[inline(never)]
fn bit(otherwise: Otherwise, name: &str, wanted: Bit, value: u64, register: &str) -> Option<Unmet> {
    let set = value >> wanted.number & 1 == 1;
    let word = |set| if set { "set" } else { "clear" };
    let found = format_args!("{}, must be {} ({register} {value:#x})", word(set), word(wanted.set));
    otherwise.if_not(set == wanted.set, format_args!("{name}"), found)
}

/// `allowed`: values of the length of the one that was found, one after another.
#[inline(never)]
fn one_of(otherwise: Otherwise, name: &str, allowed: &[u8], found: &[u8]) -> Option<Unmet> {
    let mut values = allowed.chunks_exact(found.len().max(1));
    let (begins, count) = (Hex(found.get(..8).unwrap_or_default()), values.len());
    let text = format_args!("{begins}... is not among the {count} that may be");
    otherwise.if_not(values.any(|value| value == found), format_args!("{name}"), text)
}

#[inline(never)]
fn is(otherwise: Otherwise, name: &str, wanted: &[u8; 16], found: &[u8; 16]) -> Option<Unmet> {
    otherwise.if_not(wanted == found, format_args!("{name}"), format_args!("it is {}", Hex(found)))
}

#[inline(never)]
fn mitigations(otherwise: Otherwise, which: &str, wanted: u64, version: u32, vector: u64) -> Option<Unmet> {
    let name = format_args!("mitigations.{which}");
    if version < WITH_MITIGATIONS {
        return otherwise.if_not(false, name, format_args!("a report of version {version} has no vector"));
    }
    let missing = wanted & !vector;
    otherwise.if_not(missing == 0, name, format_args!("{missing:#x} is missing (the vector is {vector:#x})"))
}

/// The names are of the bits that the policy file can ask for.
#[inline(never)]
fn missing(otherwise: Otherwise, rule: &str, names: &[(&str, u64)], wanted: u64, found: u64) -> Option<Unmet> {
    let missing = wanted & !found;
    let (name, _) = names.iter().find(|(_, bit)| bit & missing != 0).unwrap_or(&("a bit without a name", 0));
    otherwise.if_not(missing == 0, format_args!("{rule}"), format_args!("{name} is missing ({found:#x})"))
}

/// The first level that is below the least of its generation: of REPORTED_TCB, then of LAUNCH_TCB.
#[inline(never)]
fn tcb(otherwise: Otherwise, minimum: &Minimum, platform: &Platform<'_>) -> Option<Unmet> {
    let report = platform.report;
    let (family, model) = if report.version.get() < WITH_PROCESSOR {
        family_and_model(platform.fms)
    } else {
        (report.cpuid_family, report.cpuid_model)
    };
    let Some(generation) = Generation::of_cpu(family, model) else {
        let found = format_args!("a processor of family {family:#x}, model {model:#x}, which is not known");
        return otherwise.if_not(false, format_args!("tcb"), found);
    };
    let name = generation.name();
    let Some(least) = minimum.levels.get(generation as usize).copied().flatten() else {
        let found = format_args!("there are no least levels of it");
        return otherwise.if_not(false, format_args!("tcb.{name}"), found);
    };
    let judged = [("reported", Some(report.reported_tcb)), ("launch", minimum.launch.then_some(report.launch_tcb))];
    for (which, tcb) in judged {
        let Some(tcb) = tcb else { continue };
        let found = generation.levels(tcb);
        let below = LEVELS.iter().zip(least).zip(found).find(|((_, least), found)| found < least);
        if let Some(((part, least), found)) = below {
            let found = format_args!("the {which} TCB has {found}, must be {least} at least");
            return otherwise.if_not(false, format_args!("tcb.{name}.{part}"), found);
        }
    }
    None
}

/// Of CPUID leaf 1, EAX, extended fields added (APM volume 3, appendix E).
fn family_and_model(fms: u32) -> (u8, u8) {
    let [low, second, third, fourth] = fms.to_le_bytes();
    let family = second & 0xf;
    let extended = fourth << 4 | third >> 4;
    let extended_model = if family == 0xf { third << 4 } else { 0 };
    (if family == 0xf { family.saturating_add(extended) } else { family }, extended_model | low >> 4)
}

/// Octets in hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}
