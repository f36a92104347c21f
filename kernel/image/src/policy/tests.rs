//! What is packed, what is refused, and that verifier and firmware say the same of the same policy and report.

use super::{packed, setting};
use kernel::policy::{self as firmware, Platform};
use quoin_verify::chip::Generation;
use quoin_verify::judge::of_report;
use quoin_verify::policy::{FIRMWARE_RULES, Hex, Minimum, Otherwise, Policy};
use snp::report::Report;
use std::collections::BTreeMap;

fn of(lines: &str) -> Vec<u8> {
    setting(&format!("version = 1\n{lines}")).unwrap()
}

/// The last rule, on later reports, is always there.
#[test]
fn a_policy_is_a_version_a_number_and_rules() {
    assert_eq!(of(""), [1, 0, 1, 0, 34, 0, 0, 0]);
    assert_eq!(of("platform-info.smt = false"), [1, 0, 2, 0, 14, 0, 1, 0, 0, 34, 0, 0, 0]);
    let named = "guest-policy.cxl = true\nfirmware.unmet-by-rule.\"guest-policy.cxl\" = \"name-it\"";
    assert_eq!(of(named), [1, 0, 2, 0, 8, 1, 1, 0, 1, 34, 0, 0, 0]);
    let all = "report.versions = [3, 5]\nfirmware.unmet = \"name-it\"\nfirmware.unmet-by-rule.\"report.versions\" = \"refuse\"";
    assert_eq!(of(all), [1, 0, 2, 0, 1, 0, 4, 0, 0x28, 0, 0, 0, 34, 1, 0, 0]);
}

#[test]
fn levels_are_packed_by_generation() {
    let octets = of("tcb.turin = { fmc = 1, microcode = 9 }\ntcb.milan = {}");
    let levels = [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 9];
    assert_eq!(octets[4..27], [&[13, 0, 19, 0][..], &levels].concat());
    let launch = of("tcb.launch-may-be-lower = true\ntcb.milan = {}");
    assert_eq!(launch[8..10], [0, 1]);
}

#[test]
fn features_are_bits() {
    let octets = of(
        "firmware.hypervisor-features = [\"extended-interrupts\", \"snp\"]\nfirmware.sev-features = [\"debug-swap\"]",
    );
    assert_eq!(octets[4..16], [32, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(octets[16..28], [33, 0, 8, 0, 32, 0, 0, 0, 0, 0, 0, 0]);
}

/// Nobody is to believe in a rule that nothing follows.
#[test]
fn a_key_that_a_firmware_cannot_judge_is_refused_by_name() {
    for (line, key) in [
        ("roots.amd = [\"milan\"]", "roots"),
        ("roots.development = true", "roots"),
        ("endorsement.keys = [\"vcek\"]", "endorsement"),
        ("revocation.required = true", "revocation"),
        ("report.vmpl = 2", "report.vmpl"),
        ("report.versions = [6]", "report.versions"),
        ("tcb.launch-may-be-lower = true", "tcb.launch-may-be-lower"),
        (&format!("chips.ids = [\"{}\"]", "00".repeat(64)), "chips.ids"),
        (&format!("launch.digests = [\"{}\"]", "00".repeat(48)), "launch.digests"),
        ("launch.igvm = [\"a\"]", "launch.igvm"),
        ("ek.algorithms = []", "ek"),
        ("ek-certificate.roots = [\"a\"]", "ek-certificate"),
        ("ak.algorithms = []", "ak"),
        ("state.kept = true", "state"),
        (&format!("pcrs.1 = \"{}\"", "00".repeat(32)), "pcrs"),
        ("events = [{ pcr = 1 }]", "events"),
        ("require = [\"quote\"]", "require"),
        ("firmware.weaknesses = []", "firmware.weaknesses"),
        ("typo = 1", "typo"),
    ] {
        let said = format!("{:#}", setting(&format!("version = 1\n{line}")).unwrap_err());
        assert!(said.starts_with(&format!("{key}: ")) || key == "typo" && said.contains("typo"), "{line}: {said}");
    }
    assert_eq!(of("report.vmpl = 0"), of(""), "it is of VMPL 0 always");
}

#[test]
fn as_many_values_as_no_setting_has_are_refused() {
    let ids = vec![Hex([1; 64]); 1024];
    let mut policy = Policy { version: 1, ..Policy::default() };
    policy.chips.ids = ids;
    assert!(packed(&policy).unwrap_err().to_string().contains("chips.ids: too many"));
}

/// Numbers below `below`, the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn octet(&mut self, below: u64) -> u8 {
        u8::try_from(self.below(below)).unwrap_or(0)
    }

    /// A rule that is mostly not there, and mostly met by a value out of few.
    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(6).then(|| value(self))
    }

    fn values<const N: usize>(&mut self) -> Vec<Hex<N>> {
        self.maybe(|chance| (0..=chance.below(2)).map(|_| Hex([1 + chance.octet(2); N])).collect()).unwrap_or_default()
    }
}

fn minimum(chance: &mut Chance, fmc: bool) -> Minimum {
    let mut level = |there: bool| (there && chance.one_in(3)).then(|| chance.octet(5));
    Minimum { fmc: level(fmc), boot_loader: level(true), tee: level(true), snp: level(true), microcode: level(true) }
}

fn random_policy(chance: &mut Chance) -> Policy {
    let mut policy = Policy { version: 1, ..Policy::default() };
    policy.report.versions =
        chance.maybe(|chance| vec![2 + u32::from(chance.octet(4)), 2 + u32::from(chance.octet(4))]);
    policy.report.reported_is_committed = chance.one_in(4);
    policy.guest_policy.value = chance.maybe(|chance| if chance.one_in(2) { 0x3_0000 } else { 0x2_0000 });
    (policy.guest_policy.debug, policy.guest_policy.migration_agent) = (Some(false), Some(false));
    for bit in [
        &mut policy.guest_policy.smt,
        &mut policy.guest_policy.single_socket,
        &mut policy.guest_policy.cxl,
        &mut policy.guest_policy.aes_256_xts,
        &mut policy.guest_policy.rapl_disabled,
        &mut policy.guest_policy.ciphertext_hiding,
        &mut policy.guest_policy.page_swap_disabled,
        &mut policy.platform_info.smt,
        &mut policy.platform_info.tsme,
        &mut policy.platform_info.ecc,
        &mut policy.platform_info.rapl_disabled,
        &mut policy.platform_info.ciphertext_hiding,
        &mut policy.platform_info.alias_check_complete,
        &mut policy.platform_info.iommu_write_safe,
        &mut policy.platform_info.trusted_io,
    ] {
        *bit = chance.one_in(30).then(|| chance.one_in(2));
    }
    policy.platform_info.no_other = chance.one_in(4);
    if chance.one_in(2) {
        policy.tcb.milan = (!chance.one_in(8)).then(|| minimum(chance, false));
        policy.tcb.genoa = (!chance.one_in(8)).then(|| minimum(chance, false));
        policy.tcb.turin = (!chance.one_in(8)).then(|| minimum(chance, true));
        let some = [policy.tcb.milan, policy.tcb.genoa, policy.tcb.turin].iter().any(Option::is_some);
        policy.tcb.launch_may_be_lower = some && chance.one_in(3);
    }
    policy.mitigations.launch = chance.maybe(|chance| chance.below(4));
    policy.mitigations.current = chance.maybe(|chance| chance.below(4));
    policy.chips.ids = chance.values();
    policy.launch.host_data = chance.values();
    policy.launch.id_key_digests = chance.values();
    policy.launch.author_key_digests = chance.values();
    policy.launch.family_id = chance.maybe(|chance| Hex([1 + chance.octet(2); 16]));
    policy.launch.image_id = chance.maybe(|chance| Hex([1 + chance.octet(2); 16]));
    policy.launch.guest_svn = chance.maybe(|chance| chance.octet(4).into());
    if chance.one_in(2) {
        policy.firmware.unmet = Otherwise::NameIt;
    }
    policy
}

/// Family and model, generation, and CPUID leaf 1.
const PROCESSORS: [(u8, u8, Generation, u32); 4] = [
    (0x19, 0x01, Generation::Milan, 0x00A0_0F11),
    (0x19, 0x11, Generation::Genoa, 0x00A1_0F11),
    (0x19, 0xA0, Generation::Genoa, 0x00AA_0F00),
    (0x1A, 0x02, Generation::Turin, 0x00B0_0F21),
];

/// A report of one of few values in each field, and the processor that it is of.
fn random_report(chance: &mut Chance) -> (Vec<u8>, Generation, u32) {
    let mut report = vec![0; 0x4A0];
    let (family, model, generation, fms) = PROCESSORS[usize::from(chance.octet(4))];
    report[0] = 2 + chance.octet(4);
    report[4] = chance.octet(4);
    report[0x08..0x10].copy_from_slice(&(if chance.one_in(8) { 0x2_0000_u64 } else { 0x3_0000 }).to_le_bytes());
    if chance.one_in(8) {
        let bit = chance.below(26);
        report[0x08 + usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    }
    report[0x10..0x20].fill(1 + chance.octet(2));
    report[0x20..0x30].fill(1 + chance.octet(2));
    report[0x40] = chance.octet(256);
    if chance.one_in(8) {
        report[0x41 + usize::from(chance.octet(7))] = 1 << chance.octet(8);
    }
    report[0xC0..0xE0].fill(1 + chance.octet(2));
    report[0xE0..0x110].fill(1 + chance.octet(2));
    report[0x110..0x140].fill(1 + chance.octet(2));
    let tcb: [u8; 8] = core::array::from_fn(|_| 2 + chance.octet(3));
    for at in [0x38, 0x180, 0x1E0, 0x1F0] {
        report[at..at + 8].copy_from_slice(&tcb);
        if chance.one_in(8) {
            report[at + usize::from(chance.octet(8))] ^= 1;
        }
    }
    if report[0] > 2 {
        (report[0x188], report[0x189]) = (family, model);
    }
    report[0x1A0..0x1E0].fill(if chance.one_in(10) { 0 } else { 1 + chance.octet(2) });
    report[0x1F8] = chance.octet(4);
    report[0x200] = chance.octet(4);
    (report, generation, fms)
}

/// The rule that the verifier refuses by, as its text begins; of the steps that no rule is for, their name.
fn by_the_verifier(report: &[u8], generation: Generation, policy: &Policy) -> Option<String> {
    let failure = of_report(report, generation, policy).err()?;
    let said = failure.why.to_string();
    let rule = said.split([' ', ':']).next().unwrap_or_default();
    Some(if failure.step.status() < quoin_verify::judge::FIRST_RULE {
        failure.step.to_string()
    } else {
        rule.to_owned()
    })
}

/// The same of the firmware.
fn by_the_firmware(report: &[u8], fms: u32, policy: &Policy) -> Option<String> {
    let octets = packed(policy).unwrap();
    let report = Report::parse(report).unwrap();
    let platform = Platform { report: &report, fms, hypervisor_features: 0, sev_features: 0 };
    let unmet = firmware::Policy::parse(&octets).unwrap().judge(&platform);
    unmet.first().map(|unmet| unmet.rule.to_string())
}

/// They share no code but the parser of the file.
#[test]
fn verifier_and_firmware_say_the_same_rule() {
    let mut chance = Chance(20_261_130);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for number in 0..60_000 {
        let policy = random_policy(&mut chance);
        let (report, generation, fms) = random_report(&mut chance);
        let verifier = by_the_verifier(&report, generation, &policy);
        let firmware = by_the_firmware(&report, fms, &policy);
        assert_eq!(verifier, firmware, "number {number}: {policy:?}\n{report:x?}");
        *seen.entry(firmware.unwrap_or_else(|| String::from("met"))).or_default() += 1;
    }
    // Each rule has been the first that was not met; bits 18 and 19 of POLICY are refused before their rules are asked.
    let shadowed = ["guest-policy.debug", "guest-policy.migration-agent"];
    let judged = FIRMWARE_RULES.into_iter().filter(|rule| !rule.starts_with("firmware.") && !shadowed.contains(rule));
    let parts = ["fmc", "boot-loader", "tee", "snp", "microcode"].map(|part| format!("tcb.turin.{part}"));
    let others =
        ["guest policy", "TCB", "met", "tcb.milan", "tcb.genoa", "tcb.turin", "tcb.milan.snp", "tcb.genoa.snp"];
    let all = judged.filter(|rule| *rule != "tcb").chain(others).chain(parts.iter().map(String::as_str));
    for rule in all {
        assert!(seen.get(rule).is_some_and(|times| *times >= 5), "{rule}: {seen:#?}");
    }
}
