//! One test for each rule, for each layout of levels, and for each mistake in a packed policy.

use std::string::{String, ToString};
use std::vec::Vec;

use snp::report::{Report, TcbVersion};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::attest::Differs;

/// Rules as (number, what becomes of the boot, value), packed.
fn packed(rules: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut octets = [1, 0].to_vec();
    octets.extend((rules.len() as u16).to_le_bytes());
    for (rule, otherwise, value) in rules {
        octets.extend([*rule, *otherwise]);
        octets.extend((value.len() as u16).to_le_bytes());
        octets.extend_from_slice(value);
    }
    octets
}

/// Milan, version 3, as every verifier takes it.
fn report() -> Report {
    let mut report = Report::new_zeroed();
    report.version = 3.into();
    report.policy = 0x3_0000.into();
    (report.cpuid_family, report.cpuid_model) = (0x19, 1);
    report.chip_id = [7; 64];
    set_tcb(&mut report, [4, 0, 0, 0, 0, 0, 24, 219]);
    report
}

fn set_tcb(report: &mut Report, tcb: [u8; 8]) {
    for level in [&mut report.reported_tcb, &mut report.committed_tcb, &mut report.current_tcb, &mut report.launch_tcb]
    {
        *level = TcbVersion(tcb);
    }
}

/// FMS of a Milan, host and vCPU with these features.
fn judged(octets: &[u8], report: &Report, host: u64, vcpu: u64) -> Vec<String> {
    let platform = Platform { report, fms: 0x00a0_0f11, hypervisor_features: host, sev_features: vcpu };
    let unmet = Policy::parse(octets).unwrap().judge(&platform);
    unmet.iter().map(ToString::to_string).collect()
}

/// The good report, with a change, by one rule.
fn by(rule: u8, value: &[u8], change: impl FnOnce(&mut Report)) -> Vec<String> {
    let mut report = report();
    change(&mut report);
    judged(&packed(&[(rule, 0, value)]), &report, 0, 0)
}

const MET: [&str; 0] = [];

#[test]
fn without_rules_a_good_report_is_met() {
    assert_eq!(judged(&packed(&[]), &report(), 0, 0), MET);
}

#[test]
fn what_every_verifier_demands_is_demanded_without_a_rule() {
    let always = |change: fn(&mut Report)| by(34, &[], change);
    for version in [0, 1, 6, u32::MAX] {
        let mut report = report();
        report.version = version.into();
        let said = judged(&packed(&[]), &report, 0, 0);
        assert_eq!(said, [std::format!("report format: version {version}, not one of 2 to 5")]);
    }
    let weak = "guest policy: 0xb0000 allows debugging or a migration agent, or lacks bit 17";
    assert_eq!(always(|report| report.policy = 0xb_0000.into()), [weak]);
    assert!(always(|report| report.policy = 0x7_0000.into())[0].starts_with("guest policy: 0x70000"));
    assert!(always(|report| report.policy = 0x1_0000.into())[0].starts_with("guest policy: 0x10000"));
    let said = always(|report| report.reported_tcb.0[0] = 5);
    let tcb = "04000000000018db";
    assert_eq!(said, [std::format!("TCB: reported 05000000000018db, committed {tcb}, current {tcb}")]);
    for place in [0, 1, 3, 6, 7] {
        let mut above = report();
        above.committed_tcb.0[place] = 255;
        assert!(judged(&packed(&[]), &above, 0, 0)[0].starts_with("TCB: "), "committed above current, {place}");
    }
}

#[test]
fn versions_are_those_that_the_rule_names() {
    let versions = |bits: u32| by(1, &bits.to_le_bytes(), |_| ());
    assert_eq!(versions(1 << 3 | 1 << 5), MET);
    assert_eq!(versions(1 << 2 | 1 << 5), ["report.versions: 3 is not among them"]);
    assert_eq!(versions(0), ["report.versions: 3 is not among them"]);
    let mut far = report();
    far.version = 35.into();
    let said = judged(&packed(&[(1, 0, &8_u32.to_le_bytes())]), &far, 0, 0);
    assert_eq!(said[1], "report.versions: 35 is not among them");
}

#[test]
fn reported_is_committed() {
    assert_eq!(by(2, &[], |_| ()), MET);
    let said = by(2, &[], |report| report.reported_tcb.0[7] = 218);
    assert_eq!(said, ["report.reported-is-committed: reported is 04000000000018da, committed 04000000000018db"]);
}

#[test]
fn the_guest_policy_is_the_whole_value() {
    assert_eq!(by(3, &0x3_0000_u64.to_le_bytes(), |_| ()), MET);
    let said = by(3, &0x3_0001_u64.to_le_bytes(), |_| ());
    assert_eq!(said, ["guest-policy.value: 0x30000, must be 0x30001"]);
}

#[test]
fn each_bit_of_the_guest_policy_is_set_or_clear_as_its_rule_says() {
    let bits = [
        (4, "smt", 16),
        (5, "migration-agent", 18),
        (6, "debug", 19),
        (7, "single-socket", 20),
        (8, "cxl", 21),
        (9, "aes-256-xts", 22),
        (10, "rapl-disabled", 23),
        (11, "ciphertext-hiding", 24),
        (12, "page-swap-disabled", 25),
    ];
    for (rule, name, bit) in bits {
        for (set, clear_word, set_word) in [(true, "clear", "set"), (false, "set", "clear")] {
            let value = if set { 1_u64 << 17 | 1 << bit } else { 0x3ff_0000 & !(1 << bit) };
            let own = |value: u64| {
                let said = by(rule, &[u8::from(set)], |report| report.policy = value.into());
                said.into_iter().filter(|line| !line.starts_with("guest policy:")).collect::<Vec<_>>()
            };
            assert_eq!(own(value), MET, "{name}");
            let other = value ^ 1 << bit;
            assert_eq!(
                own(other),
                [std::format!("guest-policy.{name}: {clear_word}, must be {set_word} (POLICY {other:#x})")]
            );
        }
    }
}

#[test]
fn each_bit_of_platform_info_is_set_or_clear_as_its_rule_says() {
    let names = [
        "smt",
        "tsme",
        "ecc",
        "rapl-disabled",
        "ciphertext-hiding",
        "alias-check-complete",
        "iommu-write-safe",
        "trusted-io",
    ];
    for (bit, name) in names.into_iter().enumerate() {
        let rule = 14 + bit as u8;
        let with = |set: u8, value: u64| by(rule, &[set], |report| report.platform_info = value.into());
        let (only, all_others) = (1 << bit, 0xff & !(1_u64 << bit));
        assert_eq!(with(1, only), MET);
        assert_eq!(with(0, all_others), MET);
        let found = std::format!("platform-info.{name}: clear, must be set (PLATFORM_INFO {all_others:#x})");
        assert_eq!(with(1, all_others), [found]);
        let found = std::format!("platform-info.{name}: set, must be clear (PLATFORM_INFO {only:#x})");
        assert_eq!(with(0, only), [found]);
    }
}

#[test]
fn no_bit_of_platform_info_is_without_a_name() {
    let with = |value: u64| by(22, &[], |report| report.platform_info = value.into());
    assert_eq!(with(0xff), MET);
    for bit in 8..64 {
        let said =
            std::format!("platform-info.no-other: a bit without a name is set (PLATFORM_INFO {:#x})", 1_u64 << bit);
        assert_eq!(with(1 << bit), [said]);
    }
}

/// Levels of Milan, Genoa and Turin: FMC, boot loader, TEE, SNP, microcode.
fn minimum(launch: u8, levels: [Option<[u8; 5]>; 3]) -> Vec<u8> {
    let mut value = [launch].to_vec();
    for levels in levels {
        value.push(levels.is_some().into());
        value.extend(levels.unwrap_or_default());
    }
    value
}

/// Each generation's layout: family, model, and where its levels lie in TCB_VERSION.
const LAYOUTS: [(u8, u8, &str, [Option<usize>; 5]); 5] = [
    (0x19, 0x01, "milan", [None, Some(0), Some(1), Some(6), Some(7)]),
    (0x19, 0x11, "genoa", [None, Some(0), Some(1), Some(6), Some(7)]),
    (0x19, 0xa0, "genoa", [None, Some(0), Some(1), Some(6), Some(7)]),
    (0x1a, 0x02, "turin", [Some(0), Some(1), Some(2), Some(3), Some(7)]),
    (0x1a, 0x11, "turin", [Some(0), Some(1), Some(2), Some(3), Some(7)]),
];

#[test]
fn each_level_of_each_layout_has_its_least() {
    let parts = ["fmc", "boot-loader", "tee", "snp", "microcode"];
    for (family, model, name, places) in LAYOUTS {
        let generation = ["milan", "genoa", "turin"].into_iter().position(|known| known == name).unwrap();
        let mut least = [10, 20, 30, 40, 50];
        let mut tcb = [99; 8];
        for (level, place) in least.iter_mut().zip(places) {
            match place {
                Some(place) => tcb[place] = *level,
                None => *level = 0,
            }
        }
        let mut all = [None; 3];
        all[generation] = Some(least);
        let value = minimum(1, all);
        let with = |change: &dyn Fn(&mut Report)| {
            by(13, &value, |report| {
                (report.cpuid_family, report.cpuid_model) = (family, model);
                set_tcb(report, tcb);
                change(report);
            })
        };
        assert_eq!(with(&|_| ()), MET, "{name}");
        for ((part, least), place) in parts.into_iter().zip(least).zip(places) {
            let Some(place) = place else { continue };
            let low = least - 1;
            let said = with(&|report| report.reported_tcb.0[place] = low);
            assert_eq!(said, [std::format!("tcb.{name}.{part}: the reported TCB has {low}, must be {least} at least")]);
            let said = with(&|report| report.launch_tcb.0[place] = low);
            assert_eq!(said, [std::format!("tcb.{name}.{part}: the launch TCB has {low}, must be {least} at least")]);
        }
        let value = minimum(0, all);
        let may_be_lower = by(13, &value, |report| {
            (report.cpuid_family, report.cpuid_model) = (family, model);
            set_tcb(report, tcb);
            report.launch_tcb = TcbVersion([0; 8]);
        });
        assert_eq!(may_be_lower, MET, "{name}");
    }
}

#[test]
fn a_generation_without_levels_and_an_unknown_processor_are_refused() {
    let value = minimum(1, [Some([0; 5]), None, None]);
    assert_eq!(by(13, &value, |_| ()), MET);
    let of = |family, model| by(13, &value, |report| (report.cpuid_family, report.cpuid_model) = (family, model));
    assert_eq!(of(0x19, 0x10), ["tcb.genoa: there are no least levels of it"]);
    assert_eq!(of(0x1a, 0), ["tcb.turin: there are no least levels of it"]);
    let said = "tcb: a processor of family 0x1a, model 0x12, which is not known";
    assert_eq!(of(0x1a, 0x12), [said]);
    assert_eq!(of(0x17, 1).len(), 1);
}

/// Their processor is that of the secrets page: Milan, Genoa, Turin, and one before SEV-SNP.
#[test]
fn a_report_of_version_2_does_not_say_which_processor_it_is_of() {
    let octets = packed(&[(13, 0, &minimum(1, [None, Some([0; 5]), None]))]);
    let policy = Policy::parse(&octets).unwrap();
    let mut report = report();
    report.version = 2.into();
    let with = |fms| {
        let unmet = policy.judge(&Platform { report: &report, fms, hypervisor_features: 0, sev_features: 0 });
        unmet.first().map(|unmet| unmet.rule.to_string())
    };
    assert_eq!(with(0x00a1_0f11), None);
    assert_eq!(with(0x00aa_0f00), None);
    assert_eq!(with(0x00a0_0f11).as_deref(), Some("tcb.milan"));
    assert_eq!(with(0x00b0_0f21).as_deref(), Some("tcb.turin"));
    assert_eq!(with(0x0080_0f12).as_deref(), Some("tcb"));
    assert_eq!(with(u32::MAX).as_deref(), Some("tcb"));
    assert_eq!(with(0).as_deref(), Some("tcb"));
}

#[test]
fn mitigation_vectors_have_the_bits_that_must_be_and_perhaps_others() {
    for (rule, name) in [(23, "launch"), (24, "current")] {
        let with = |version: u32, vector: u64| {
            by(rule, &0x5_u64.to_le_bytes(), |report| {
                report.version = version.into();
                let mine = if rule == 23 { &mut report.launch_mit_vector } else { &mut report.current_mit_vector };
                *mine = vector.into();
            })
        };
        assert_eq!(with(5, 0xd), MET);
        let said = std::format!("mitigations.{name}: 0x4 is missing (the vector is 0x3)");
        assert_eq!(with(5, 3), [said]);
        let said = std::format!("mitigations.{name}: a report of version 4 has no vector");
        assert_eq!(with(4, 0xd), [said]);
    }
}

#[test]
fn the_chip_is_one_that_may_be_and_is_not_masked() {
    let ids = [[7; 64], [8; 64]].concat();
    assert_eq!(by(25, &ids, |_| ()), MET);
    let said = by(25, &ids, |report| report.chip_id[0] ^= 1);
    assert_eq!(said, ["chips.ids: 0607070707070707... is not among the 2 that may be"]);
    let said = by(25, &ids, |report| report.chip_id = [0; 64]);
    assert_eq!(said, ["chips.ids: CHIP_ID is masked"]);
    for bit in 0..512 {
        assert_eq!(by(25, &ids, |report| report.chip_id[bit / 8] ^= 1 << (bit % 8)).len(), 1, "bit {bit}");
    }
}

#[test]
fn what_host_and_id_block_said_is_among_what_may_be() {
    let host = |report: &mut Report| report.host_data = [1; 32];
    let id = |report: &mut Report| report.id_key_digest = [2; 48];
    let author = |report: &mut Report| report.author_key_digest = [3; 48];
    assert_eq!(by(26, &[[9; 32], [1; 32]].concat(), host), MET);
    let said = by(26, &[9; 32], host);
    assert_eq!(said, ["launch.host-data: 0101010101010101... is not among the 1 that may be"]);
    assert_eq!(by(27, &[2; 48], id), MET);
    let said = by(27, &[9; 96], id);
    assert_eq!(said, ["launch.id-key-digests: 0202020202020202... is not among the 2 that may be"]);
    assert_eq!(by(28, &[3; 48], author), MET);
    let said = by(28, &[9; 48], author);
    assert_eq!(said, ["launch.author-key-digests: 0303030303030303... is not among the 1 that may be"]);
}

#[test]
fn family_image_and_svn_are_the_values() {
    let change = |report: &mut Report| {
        (report.family_id, report.image_id) = ([4; 16], [5; 16]);
        report.guest_svn = 6.into();
    };
    for (rule, name, right) in [(29, "family", 4), (30, "image", 5)] {
        assert_eq!(by(rule, &[right; 16], change), MET);
        let said = by(rule, &[9; 16], change);
        let digits = std::format!("0{right}").repeat(16);
        assert_eq!(said, [std::format!("launch.{name}-id: it is {digits}")]);
    }
    for least in [0, 5, 6] {
        assert_eq!(by(31, &u32::to_le_bytes(least), change), MET);
    }
    assert_eq!(by(31, &[7, 0, 0, 0], change), ["launch.guest-svn: 6, must be 7 at least"]);
}

#[test]
fn features_must_be_there_and_the_first_that_is_not_is_named() {
    let wanted = packed(&[(32, 0, &0x24_u64.to_le_bytes()), (33, 0, &9_u64.to_le_bytes())]);
    assert_eq!(judged(&wanted, &report(), 0x27, 0x29), MET);
    let said = judged(&wanted, &report(), 0x3, 1);
    let host = "firmware.hypervisor-features: restricted-injection is missing (0x3)";
    assert_eq!(said, [host, "firmware.sev-features: restricted-injection is missing (0x1)"]);
    assert_eq!(judged(&wanted, &report(), 0x7, 9), ["firmware.hypervisor-features: multi-vmpl is missing (0x7)"]);
    // Each bit that the policy file has a name for.
    for (bit, name) in [0, 1, 2, 3, 4, 5, 6, 9].into_iter().zip([
        "snp",
        "ap-creation",
        "restricted-injection",
        "restricted-injection-timer",
        "apic-id-list",
        "multi-vmpl",
        "page-state-change",
        "extended-interrupts",
    ]) {
        let said = judged(&packed(&[(32, 0, &(1_u64 << bit).to_le_bytes())]), &report(), 0, 0);
        assert_eq!(said, [std::format!("firmware.hypervisor-features: {name} is missing (0x0)")]);
    }
    for (bit, name) in (0..11).chain([14, 15]).zip([
        "snp",
        "vtom",
        "reflect-vc",
        "restricted-injection",
        "alternate-injection",
        "debug-swap",
        "prevent-host-ibs",
        "btb-isolation",
        "vmpl-sss",
        "secure-tsc",
        "vmgexit-parameter",
        "vmsa-register-protection",
        "smt-protection",
    ]) {
        let said = judged(&packed(&[(33, 0, &(1_u64 << bit).to_le_bytes())]), &report(), 0, 0);
        assert_eq!(said, [std::format!("firmware.sev-features: {name} is missing (0x0)")]);
    }
    let said = judged(&packed(&[(33, 0, &(1_u64 << 40).to_le_bytes())]), &report(), 0, 0);
    assert_eq!(said, ["firmware.sev-features: a bit without a name is missing (0x0)"]);
}

#[test]
fn each_rule_says_what_becomes_of_the_boot_and_the_first_ones_always_end_it() {
    let octets = packed(&[(1, 1, &[0; 4]), (3, 0, &[7; 8]), (14, 1, &[0])]);
    let mut report = report();
    report.platform_info = 1.into();
    report.policy = 0.into();
    let platform = Platform { report: &report, fms: 0, hypervisor_features: 0, sev_features: 0 };
    let unmet = Policy::parse(&octets).unwrap().judge(&platform);
    let said: Vec<_> = unmet.iter().map(|unmet| (unmet.rule.as_str(), unmet.otherwise)).collect();
    assert_eq!(
        said,
        [
            ("guest policy", Otherwise::Refuse),
            ("report.versions", Otherwise::NameIt),
            ("guest-policy.value", Otherwise::Refuse),
            ("platform-info.smt", Otherwise::NameIt),
        ]
    );
}

#[test]
fn the_manifest_has_each_weakness_with_what_was_found() {
    assert_eq!(manifest(&[]), [0; 4]);
    let unmet = Unmet::new(Otherwise::NameIt, format_args!("a.b"), format_args!("{}", 7));
    assert_eq!(manifest(&[unmet.clone(), unmet])[..], *b"\x02\0\0\0\x03\0a.b\x01\x007\x03\0a.b\x01\x007");
}

#[test]
fn no_refusal_is_longer_than_a_line_that_ends_a_boot() {
    let mut report = Report::new_zeroed();
    report.as_mut_bytes().fill(0xff);
    (report.cpuid_family, report.cpuid_model) = (0x1a, 1);
    report.version = 5.into();
    let value = minimum(1, [Some([255; 5]); 3]);
    report.reported_tcb = TcbVersion([0; 8]);
    for platform_info in [0, u64::MAX] {
        report.platform_info = platform_info.into();
        let mut rules = Vec::new();
        for rule in (4..=12).chain(14..=21) {
            rules.push((rule, 0, if platform_info == 0 { &[1][..] } else { &[0][..] }));
        }
        rules.extend([
            (2, 0, &[][..]),
            (3, 0, &[1; 8]),
            (13, 0, &value),
            (22, 0, &[]),
            (25, 0, &[1; 64]),
            (29, 0, &[1; 16]),
        ]);
        rules.sort_unstable_by_key(|(rule, ..)| *rule);
        for line in judged(&packed(&rules), &report, 0, 0) {
            assert!(line.len() <= 104, "{line}");
        }
    }
}

#[test]
fn each_mistake_in_a_policy_has_its_own_name() {
    let error = |octets: &[u8]| Policy::parse(octets).unwrap_err();
    let good = packed(&[(2, 0, &[]), (3, 0, &[1; 8])]);
    assert!(Policy::parse(&good).is_ok());
    for len in 0..good.len() {
        assert_eq!(error(&good[..len]), PolicyError::Short, "{len}");
    }
    assert_eq!(error(&[&good[..], &[0]].concat()), PolicyError::Behind);
    assert_eq!(error(&[&[2], &good[1..]].concat()), PolicyError::Version);
    assert_eq!(error(&packed(&[(2, 0, &[]), (2, 0, &[])])), PolicyError::Order(2));
    assert_eq!(error(&packed(&[(22, 0, &[]), (2, 0, &[])])), PolicyError::Order(2));
    assert_eq!(error(&packed(&[(2, 2, &[])])), PolicyError::Otherwise(2));
    for rule in [0, 35, 255] {
        assert_eq!(error(&packed(&[(rule, 0, &[])])), PolicyError::Rule(rule));
    }
}

/// The lengths of each rule's value, and values of that length that it cannot have.
#[test]
fn a_value_that_a_rule_cannot_have_is_refused() {
    let lengths = |rule: u8| -> &[usize] {
        match rule {
            1 | 31 => &[4],
            2 | 22 | 34 => &[0],
            3 | 23 | 24 | 32 | 33 => &[8],
            4..=12 | 14..=21 => &[1],
            13 => &[19],
            25 => &[64, 128],
            26 => &[32, 64, 96, 128],
            27 | 28 => &[48, 96],
            _ => &[16],
        }
    };
    for rule in 1..=34 {
        for length in 0..130 {
            let parsed = Policy::parse(&packed(&[(rule, 0, &[0; 130][..length])])).map(|policy| policy.len());
            let expected = if lengths(rule).contains(&length) { Ok(1) } else { Err(PolicyError::Value(rule)) };
            assert_eq!(parsed, expected, "rule {rule}, {length} octets");
        }
    }
    for rule in (4..=12).chain(14..=21) {
        assert_eq!(Policy::parse(&packed(&[(rule, 0, &[2])])), Err(PolicyError::Value(rule)));
    }
    for (at, octet) in [(0, 2), (1, 2), (2, 1), (13, 255), (18, 1)] {
        let mut value = [0; 19];
        value[at] = octet;
        assert_eq!(Policy::parse(&packed(&[(13, 0, &value)])), Err(PolicyError::Value(13)), "{at}");
    }
}

#[test]
fn a_later_report_is_of_the_same_chip_guest_and_policy_and_not_of_an_older_firmware() {
    let first = report();
    let steady = Steady::of(&first);
    let with = |change: fn(&mut Report)| {
        let mut later = first;
        change(&mut later);
        steady.check(&later)
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|report| report.report_data = [1; 64]), Ok(()));
    assert_eq!(with(|report| report.reported_tcb.0[6] = 25), Ok(()));
    assert_eq!(with(|report| report.chip_id[63] ^= 1), Err(Differs::ChipId));
    assert_eq!(with(|report| report.measurement[0] ^= 1), Err(Differs::Measurement));
    assert_eq!(with(|report| report.policy = 0x3_0001.into()), Err(Differs::Policy));
    for place in [0, 6, 7] {
        let mut later = first;
        later.reported_tcb.0[place] -= 1;
        // Another level being higher makes up for nothing.
        later.reported_tcb.0[1] = 9;
        assert_eq!(steady.check(&later), Err(Differs::ReportedTcb));
    }
}

#[test]
fn a_later_report_that_differs_is_refused_unless_the_policy_says_otherwise() {
    let parse = |rules: &[(u8, u8, &[u8])]| Policy::parse(&packed(rules)).unwrap().later_reports();
    assert_eq!(parse(&[]), Otherwise::Refuse);
    assert_eq!(parse(&[(34, 0, &[])]), Otherwise::Refuse);
    assert_eq!(parse(&[(34, 1, &[])]), Otherwise::NameIt);
}

/// Other uses of a report begin with 64 octets of a guest's choice and a manifest, with another text of ours, or have
/// a SHA-256 and zeros.
#[test]
fn the_own_report_is_for_nothing_else() {
    assert!(STATEMENT.len() > snp::svsm::attestation::NONCE_SIZE);
    assert_ne!(STATEMENT[..64], crate::identity::STATEMENT[..64]);
    assert_ne!(report_data()[32..], [0; 32]);
    let text = &STATEMENT[64..];
    // A manifest begins with a GUID, a type of a key, or a version, and each of these has an octet of zero or a high
    // bit.
    assert!(text.iter().all(|octet| octet.is_ascii() && *octet != 0));
}

/// 10⁶ packed policies, out of one seed: most are made of right parts, and one octet in each of half of these is
/// changed. None panics, and what is read is judged.
#[test]
fn any_policy_has_an_answer() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let sizes = [4, 0, 8, 1, 19, 64, 32, 48, 16, 7, 96];
    let mut report = report();
    let (mut read, mut refused) = (0, 0);
    for _ in 0..1_000_000 {
        let mut octets = [1, 0, 0, 0].to_vec();
        let mut rule = 0;
        for number in 0..next(4) {
            rule += 1 + next(8) as u8;
            let size = sizes[next(sizes.len() as u64) as usize];
            octets.extend([rule, next(2) as u8, size, 0]);
            let plain = next(2) == 0;
            octets.extend((0..size).map(|_| if plain { 0 } else { next(256) as u8 }));
            octets[2] = number as u8 + 1;
        }
        if next(2) == 0 {
            let at = next(octets.len() as u64) as usize;
            octets[at] = next(256) as u8;
        }
        let at = next(0x2a0) as usize;
        report.as_mut_bytes()[at] = next(256) as u8;
        match Policy::parse(&octets) {
            Ok(policy) => {
                read += 1;
                let [fms, host, vcpu] = core::array::from_fn(|_| next(u64::from(u32::MAX)));
                let platform =
                    Platform { report: &report, fms: fms as u32, hypervisor_features: host, sev_features: vcpu };
                let unmet = policy.judge(&platform);
                assert!(unmet.len() <= policy.len() + 3);
                assert!(unmet.iter().all(|unmet| !unmet.rule.is_empty() && !unmet.found.is_empty()));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 100_000 && refused > 100_000, "{read} read, {refused} refused");
}
