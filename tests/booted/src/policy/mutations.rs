//! A platform that meets every rule, and each field of its report and of the policy that is changed alone.

/// A change of the machine's configuration, and what the firmware says of it.
pub(super) struct Mutation {
    /// A policy of its own, where the full one says something else first.
    pub(super) policy: &'static str,
    pub(super) config: &'static str,
    /// The rule, and what was found.
    pub(super) says: &'static str,
}

const fn of(config: &'static str, says: &'static str) -> Mutation {
    Mutation { policy: "", config, says }
}

const fn by(policy: &'static str, config: &'static str, says: &'static str) -> Mutation {
    Mutation { policy, config, says }
}

/// Every rule but those on features of host and vCPU, and on the whole guest policy.
pub(super) const FULL: &str = r#"
[report]
versions = [5]
reported-is-committed = true

[guest-policy]
value = 0x30000
smt = true
migration-agent = false
debug = false
single-socket = false
cxl = false
aes-256-xts = false
rapl-disabled = false
ciphertext-hiding = false
page-swap-disabled = false

[tcb.milan]
boot-loader = 4
tee = 0
snp = 24
microcode = 219

[platform-info]
smt = false
tsme = false
ecc = true
rapl-disabled = true
ciphertext-hiding = true
alias-check-complete = true
iommu-write-safe = false
trusted-io = false
no-other = true

[mitigations]
launch = 3
current = 7

[chips]
ids = ["51756f696e206d6f636b205053503a20646576656c6f706d656e74206f6e6c792c207468652070726976617465206b6579206973207075626c69632e20202020"]

[launch]
host-data = ["3333333333333333333333333333333333333333333333333333333333333333"]
id-key-digests = ["444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444"]
author-key-digests = ["555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555555"]
family-id = "11111111111111111111111111111111"
image-id = "22222222222222222222222222222222"
guest-svn = 7

[firmware]
hypervisor-features = ["snp", "ap-creation"]
sev-features = ["snp"]
"#;

/// What makes the machine's report one that meets these rules.
pub(super) fn base() -> String {
    let patches = [
        // VERSION and GUEST_SVN.
        (0x00, "0500000007000000".to_owned()),
        // FAMILY_ID and IMAGE_ID.
        (0x10, "11".repeat(16) + &"22".repeat(16)),
        // PLATFORM_INFO.
        (0x40, "3c00000000000000".to_owned()),
        // HOST_DATA, ID_KEY_DIGEST, AUTHOR_KEY_DIGEST.
        (0xC0, "33".repeat(32)),
        (0xE0, "44".repeat(48)),
        (0x110, "55".repeat(48)),
        // LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR.
        (0x1F8, "0b000000000000000f00000000000000".to_owned()),
    ];
    patches.into_iter().map(|(at, octets)| format!("report={at:#x}:{octets}\n")).collect()
}

const BITS: &str = "guest-policy.smt = true\nguest-policy.single-socket = false\nguest-policy.cxl = false\n\
                    guest-policy.aes-256-xts = false\nguest-policy.rapl-disabled = false\n\
                    guest-policy.ciphertext-hiding = false\nguest-policy.page-swap-disabled = false\n";
const LEVELS: &str = "[tcb.milan]\nboot-loader = 4\ntee = 1\nsnp = 24\nmicrocode = 219\n";

/// Fields of the report; those of one rule are neighbours.
pub(super) const MUTATIONS: &[Mutation] = &[
    of("report=0:06\n", "report format: version 6, not one of 2 to 5"),
    of("report=0:04\n", "report.versions: 4 is not among them"),
    of("report=0x0a:01\n", "guest policy: 0x10000 allows debugging or a migration agent, or lacks bit 17"),
    of("report=0x0a:07\n", "guest policy: 0x70000 allows debugging"),
    of("report=0x0a:0b\n", "guest policy: 0xb0000 allows debugging"),
    of("report=0x180:05\n", "TCB: reported 05000000000018db, committed 04000000000018db"),
    of("report=0x1e0:05\n", "TCB: reported 04000000000018db, committed 05000000000018db, current 04000000000018db"),
    of("report=0x38:03\n", "TCB: reported 04000000000018db, committed 04000000000018db, current 03000000000018db"),
    of("report=0x180:03\n", "report.reported-is-committed: reported is 03000000000018db, committed 04000000000018db"),
    of("report=0x08:01\n", "guest-policy.value: 0x30001, must be 0x30000"),
    by(BITS, "report=0x0a:02\n", "guest-policy.smt: clear, must be set (POLICY 0x20000)"),
    by(BITS, "report=0x0a:13\n", "guest-policy.single-socket: set, must be clear (POLICY 0x130000)"),
    by(BITS, "report=0x0a:23\n", "guest-policy.cxl: set, must be clear (POLICY 0x230000)"),
    by(BITS, "report=0x0a:43\n", "guest-policy.aes-256-xts: set, must be clear (POLICY 0x430000)"),
    by(BITS, "report=0x0a:83\n", "guest-policy.rapl-disabled: set, must be clear (POLICY 0x830000)"),
    by(BITS, "report=0x0a:0301\n", "guest-policy.ciphertext-hiding: set, must be clear (POLICY 0x1030000)"),
    by(BITS, "report=0x0a:0302\n", "guest-policy.page-swap-disabled: set, must be clear (POLICY 0x2030000)"),
    by(
        LEVELS,
        "report=0x39:01\nreport=0x1e1:01\nreport=0x1f1:01\n",
        "tcb.milan.tee: the reported TCB has 0, must be 1 at least",
    ),
    by(
        LEVELS,
        "report=0x39:01\nreport=0x1e1:01\nreport=0x181:01\n",
        "tcb.milan.tee: the launch TCB has 0, must be 1 at least",
    ),
    by(LEVELS, "report=0x180:03\n", "tcb.milan.boot-loader: the reported TCB has 3, must be 4 at least"),
    of("report=0x1f0:03\n", "tcb.milan.boot-loader: the launch TCB has 3, must be 4 at least"),
    by("[tcb.milan]\nsnp = 24\n", "report=0x186:17\n", "tcb.milan.snp: the reported TCB has 23, must be 24 at least"),
    of("report=0x1f6:17\n", "tcb.milan.snp: the launch TCB has 23, must be 24 at least"),
    by(
        "[tcb.milan]\nmicrocode = 219\n",
        "report=0x187:da\n",
        "tcb.milan.microcode: the reported TCB has 218, must be 219 at least",
    ),
    of("report=0x1f7:da\n", "tcb.milan.microcode: the launch TCB has 218, must be 219 at least"),
    of("report=0x188:1911\n", "tcb.genoa: there are no least levels of it"),
    of("report=0x188:1a02\n", "tcb.turin: there are no least levels of it"),
    // The machine's levels are octets 4, 0, …, 24, 219: what they are of is another thing in Turin's order.
    by(
        "tcb.genoa.boot-loader = 5\n",
        "report=0x188:1911\n",
        "tcb.genoa.boot-loader: the reported TCB has 4, must be 5 at least",
    ),
    by("tcb.genoa.tee = 1\n", "report=0x188:1911\n", "tcb.genoa.tee: the reported TCB has 0, must be 1 at least"),
    by("tcb.genoa.snp = 25\n", "report=0x188:1911\n", "tcb.genoa.snp: the reported TCB has 24, must be 25 at least"),
    by(
        "tcb.genoa.microcode = 220\n",
        "report=0x188:1911\n",
        "tcb.genoa.microcode: the reported TCB has 219, must be 220 at least",
    ),
    by("tcb.turin.fmc = 5\n", "report=0x188:1a02\n", "tcb.turin.fmc: the reported TCB has 4, must be 5 at least"),
    by(
        "tcb.turin.boot-loader = 1\n",
        "report=0x188:1a02\n",
        "tcb.turin.boot-loader: the reported TCB has 0, must be 1 at least",
    ),
    by("tcb.turin.tee = 1\n", "report=0x188:1a02\n", "tcb.turin.tee: the reported TCB has 0, must be 1 at least"),
    by("tcb.turin.snp = 1\n", "report=0x188:1a02\n", "tcb.turin.snp: the reported TCB has 0, must be 1 at least"),
    by(
        "tcb.turin.microcode = 220\n",
        "report=0x188:1a02\n",
        "tcb.turin.microcode: the reported TCB has 219, must be 220 at least",
    ),
    of("report=0x40:3d\n", "platform-info.smt: set, must be clear (PLATFORM_INFO 0x3d)"),
    of("report=0x40:3e\n", "platform-info.tsme: set, must be clear (PLATFORM_INFO 0x3e)"),
    of("report=0x40:38\n", "platform-info.ecc: clear, must be set (PLATFORM_INFO 0x38)"),
    of("report=0x40:34\n", "platform-info.rapl-disabled: clear, must be set (PLATFORM_INFO 0x34)"),
    of("report=0x40:2c\n", "platform-info.ciphertext-hiding: clear, must be set (PLATFORM_INFO 0x2c)"),
    of("report=0x40:1c\n", "platform-info.alias-check-complete: clear, must be set (PLATFORM_INFO 0x1c)"),
    of("report=0x40:7c\n", "platform-info.iommu-write-safe: set, must be clear (PLATFORM_INFO 0x7c)"),
    of("report=0x40:bc\n", "platform-info.trusted-io: set, must be clear (PLATFORM_INFO 0xbc)"),
    of("report=0x47:80\n", "platform-info.no-other: a bit without a name is set (PLATFORM_INFO 0x800000000000003c)"),
    of("report=0x1f8:0a\n", "mitigations.launch: 0x1 is missing (the vector is 0xa)"),
    of("report=0x200:0b\n", "mitigations.current: 0x4 is missing (the vector is 0xb)"),
    by("mitigations.launch = 3\n", "report=0:04\n", "mitigations.launch: a report of version 4 has no vector"),
    of("report=0x1df:21\n", "chips.ids: 51756f696e206d6f... is not among the 1 that may be"),
    of(
        "report=0x1a0:00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\n",
        "chips.ids: CHIP_ID is masked",
    ),
    of("report=0xc0:32\n", "launch.host-data: 3233333333333333... is not among the 1 that may be"),
    of("report=0x10f:45\n", "launch.id-key-digests: 4444444444444444... is not among the 1 that may be"),
    of("report=0x13f:54\n", "launch.author-key-digests: 5555555555555555... is not among the 1 that may be"),
    of("report=0x1f:10\n", "launch.family-id: it is 11111111111111111111111111111110"),
    of("report=0x20:23\n", "launch.image-id: it is 23222222222222222222222222222222"),
    of("report=0x04:06\n", "launch.guest-svn: 6, must be 7 at least"),
    by(
        "[firmware]\nhypervisor-features = [\"multi-vmpl\"]\n",
        "fault=hv-features:0x3\n",
        "firmware.hypervisor-features: multi-vmpl is missing (0x3)",
    ),
];

/// Lines of the full policy, others in their place, and what the firmware says then.
pub(super) const POLICIES: &[(&str, &str, &str)] = &[
    ("versions = [5]", "versions = [2, 3, 4]", "report.versions: 5 is not among them"),
    ("value = 0x30000", "value = 0x30037", "guest-policy.value: 0x30000, must be 0x30037"),
    ("\nsmt = true\nmig", "\nsmt = false\nmig", "guest-policy.smt: set, must be clear (POLICY 0x30000)"),
    (
        "single-socket = false",
        "single-socket = true",
        "guest-policy.single-socket: clear, must be set (POLICY 0x30000)",
    ),
    ("cxl = false", "cxl = true", "guest-policy.cxl: clear, must be set (POLICY 0x30000)"),
    ("aes-256-xts = false", "aes-256-xts = true", "guest-policy.aes-256-xts: clear, must be set (POLICY 0x30000)"),
    (
        "rapl-disabled = false",
        "rapl-disabled = true",
        "guest-policy.rapl-disabled: clear, must be set (POLICY 0x30000)",
    ),
    (
        "ciphertext-hiding = false",
        "ciphertext-hiding = true",
        "guest-policy.ciphertext-hiding: clear, must be set (POLICY 0x30000)",
    ),
    (
        "page-swap-disabled = false",
        "page-swap-disabled = true",
        "guest-policy.page-swap-disabled: clear, must be set (POLICY 0x30000)",
    ),
    ("boot-loader = 4", "boot-loader = 5", "tcb.milan.boot-loader: the reported TCB has 4, must be 5 at least"),
    ("tee = 0", "tee = 1", "tcb.milan.tee: the reported TCB has 0, must be 1 at least"),
    ("snp = 24", "snp = 25", "tcb.milan.snp: the reported TCB has 24, must be 25 at least"),
    ("microcode = 219", "microcode = 220", "tcb.milan.microcode: the reported TCB has 219, must be 220 at least"),
    ("[tcb.milan]", "[tcb.genoa]", "tcb.milan: there are no least levels of it"),
    ("\nsmt = false", "\nsmt = true", "platform-info.smt: clear, must be set (PLATFORM_INFO 0x3c)"),
    ("tsme = false", "tsme = true", "platform-info.tsme: clear, must be set (PLATFORM_INFO 0x3c)"),
    ("ecc = true", "ecc = false", "platform-info.ecc: set, must be clear (PLATFORM_INFO 0x3c)"),
    (
        "rapl-disabled = true",
        "rapl-disabled = false",
        "platform-info.rapl-disabled: set, must be clear (PLATFORM_INFO 0x3c)",
    ),
    (
        "ciphertext-hiding = true",
        "ciphertext-hiding = false",
        "platform-info.ciphertext-hiding: set, must be clear (PLATFORM_INFO 0x3c)",
    ),
    (
        "alias-check-complete = true",
        "alias-check-complete = false",
        "platform-info.alias-check-complete: set, must be clear (PLATFORM_INFO 0x3c)",
    ),
    (
        "iommu-write-safe = false",
        "iommu-write-safe = true",
        "platform-info.iommu-write-safe: clear, must be set (PLATFORM_INFO 0x3c)",
    ),
    ("trusted-io = false", "trusted-io = true", "platform-info.trusted-io: clear, must be set (PLATFORM_INFO 0x3c)"),
    ("launch = 3", "launch = 0x13", "mitigations.launch: 0x10 is missing (the vector is 0xb)"),
    (
        "current = 7",
        "current = 0x8000000000000000",
        "mitigations.current: 0x8000000000000000 is missing (the vector is 0xf)",
    ),
    ("ids = [\"51", "ids = [\"50", "chips.ids: 51756f696e206d6f... is not among the 1 that may be"),
    ("host-data = [\"33", "host-data = [\"32", "launch.host-data: 3333333333333333... is not among the 1 that may be"),
    (
        "id-key-digests = [\"44",
        "id-key-digests = [\"45",
        "launch.id-key-digests: 4444444444444444... is not among the 1 that may be",
    ),
    (
        "author-key-digests = [\"55",
        "author-key-digests = [\"54",
        "launch.author-key-digests: 5555555555555555... is not among the 1 that may be",
    ),
    ("family-id = \"11", "family-id = \"10", "launch.family-id: it is 11111111111111111111111111111111"),
    ("image-id = \"22", "image-id = \"20", "launch.image-id: it is 22222222222222222222222222222222"),
    ("guest-svn = 7", "guest-svn = 8", "launch.guest-svn: 7, must be 8 at least"),
    (
        "[\"snp\", \"ap",
        "[\"restricted-injection\", \"ap",
        "firmware.hypervisor-features: restricted-injection is missing (0x",
    ),
    (
        "sev-features = [\"snp\"]",
        "sev-features = [\"smt-protection\"]",
        "firmware.sev-features: smt-protection is missing (0x1)",
    ),
];

#[cfg(test)]
mod tests {
    use super::{MUTATIONS, POLICIES};
    use quoin_verify::policy::FIRMWARE_RULES;

    /// Asked before the rule is, by what no policy can allow.
    const SHADOWED: [&str; 2] = ["guest-policy.migration-agent", "guest-policy.debug"];

    /// A rule that nothing here breaks would be one that nobody has seen hold.
    #[test]
    fn every_rule_of_a_firmware_is_broken_by_a_field_and_by_a_line() {
        let breaks =
            |rule: &str, says: &str| says.starts_with(&format!("{rule}: ")) || says.starts_with(&format!("{rule}."));
        for rule in FIRMWARE_RULES {
            // Those on the vCPU's features are about no field of a report; later reports have cases of their own.
            let by_a_field = !["firmware.sev-features", "firmware.later-reports"].contains(&rule);
            // A bit without a name has no line that could say something else than that there is none.
            let by_a_line =
                !["report.reported-is-committed", "platform-info.no-other", "firmware.later-reports"].contains(&rule);
            let is_shadowed = SHADOWED.contains(&rule);
            let field = MUTATIONS.iter().any(|mutation| breaks(rule, mutation.says));
            let line = POLICIES.iter().any(|(_, _, says)| breaks(rule, says));
            assert_eq!(field, by_a_field && !is_shadowed, "{rule}: by a field");
            assert_eq!(line, by_a_line && !is_shadowed, "{rule}: by a line");
        }
        for generation in ["milan", "genoa", "turin"] {
            let levels =
                ["boot-loader", "tee", "snp", "microcode"].into_iter().chain((generation == "turin").then_some("fmc"));
            for level in levels {
                let rule = format!("tcb.{generation}.{level}");
                assert!(MUTATIONS.iter().any(|mutation| breaks(&rule, mutation.says)), "{rule}");
            }
        }
    }
}
