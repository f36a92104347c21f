//! `[firmware]`: what a firmware that judges its own platform is told beside the rules that it shares with the
//! verifier, and what the verifier demands of what such a firmware says.

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Of a firmware that judges its own platform. All but `weaknesses` is for that firmware alone: a verifier has its
/// launch digest, which covers the rules, and is not told what the firmware has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Firmware {
    /// Features that the host must say it has (GHCB specification, hypervisor features).
    #[serde(default)]
    pub hypervisor_features: Vec<HypervisorFeature>,
    /// Features that the firmware's vCPU must have (SEV_FEATURES, by SEV_STATUS).
    #[serde(default)]
    pub sev_features: Vec<SevFeature>,
    /// What becomes of a boot that does not meet a rule: it ends, where this key is missing.
    #[serde(default)]
    pub unmet: Otherwise,
    /// The same for single rules, by their names.
    #[serde(default)]
    pub unmet_by_rule: BTreeMap<String, Otherwise>,
    /// Weaknesses that may be: names of rules that the firmware has not found met, and has gone on. With this key the
    /// evidence must have a manifest of all services in which a firmware names its weaknesses.
    pub weaknesses: Option<Vec<String>>,
}

/// What becomes of a boot on a platform that does not meet a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// It ends.
    #[default]
    Refuse,
    /// It goes on, and the firmware names the rule wherever it is attested.
    NameIt,
}

/// A feature of a host's (GHCB specification, 4.1.1, table 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum HypervisorFeature {
    Snp = 0,
    ApCreation = 1,
    RestrictedInjection = 2,
    RestrictedInjectionTimer = 3,
    ApicIdList = 4,
    MultiVmpl = 5,
    PageStateChange = 6,
    ExtendedInterrupts = 9,
}

/// A feature of a vCPU's (APM volume 2, VMSA, SEV_FEATURES).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum SevFeature {
    Snp = 0,
    Vtom = 1,
    ReflectVc = 2,
    RestrictedInjection = 3,
    AlternateInjection = 4,
    DebugSwap = 5,
    PreventHostIbs = 6,
    BtbIsolation = 7,
    VmplSss = 8,
    SecureTsc = 9,
    VmgexitParameter = 10,
    VmsaRegisterProtection = 14,
    SmtProtection = 15,
}

/// Names of the rules that a firmware judges, as `unmet-by-rule` has them.
pub const RULES: [&str; 34] = [
    "report.versions",
    "report.reported-is-committed",
    "guest-policy.value",
    "guest-policy.smt",
    "guest-policy.migration-agent",
    "guest-policy.debug",
    "guest-policy.single-socket",
    "guest-policy.cxl",
    "guest-policy.aes-256-xts",
    "guest-policy.rapl-disabled",
    "guest-policy.ciphertext-hiding",
    "guest-policy.page-swap-disabled",
    "tcb",
    "platform-info.smt",
    "platform-info.tsme",
    "platform-info.ecc",
    "platform-info.rapl-disabled",
    "platform-info.ciphertext-hiding",
    "platform-info.alias-check-complete",
    "platform-info.iommu-write-safe",
    "platform-info.trusted-io",
    "platform-info.no-other",
    "mitigations.launch",
    "mitigations.current",
    "chips.ids",
    "launch.host-data",
    "launch.id-key-digests",
    "launch.author-key-digests",
    "launch.family-id",
    "launch.image-id",
    "launch.guest-svn",
    "firmware.hypervisor-features",
    "firmware.sev-features",
    "firmware.later-reports",
];

impl Firmware {
    pub(super) fn check(&self) -> Result<()> {
        for rule in self.unmet_by_rule.keys() {
            ensure!(RULES.contains(&rule.as_str()), "firmware.unmet-by-rule: a firmware judges no rule {rule:?}");
        }
        Ok(())
    }

    /// What becomes of a boot that does not meet this rule.
    pub fn otherwise(&self, rule: &str) -> Otherwise {
        self.unmet_by_rule.get(rule).copied().unwrap_or(self.unmet)
    }
}
