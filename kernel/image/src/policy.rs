//! Packs a policy of `quoin-verify`'s into the setting by which the firmware judges its own platform
//! (`kernel::policy`, docs/boot.md): the keys that a firmware can judge. Others are refused by name, so that nobody
//! believes in a rule that nothing follows.

use super::settings::{Setting, Settings};
use anyhow::{Context, Result, bail, ensure};
use quoin_verify::policy::{
    Chips, FIRMWARE_RULES, Firmware, GuestPolicy, Hex, LaunchRules, Minimum, Mitigations, Otherwise, PlatformInfo,
    Policy, ReportRules, Tcb,
};

/// Reads the text of a policy file, and packs it.
pub fn setting(text: &str) -> Result<Vec<u8>> {
    packed(&Policy::parse(text)?)
}

impl Settings {
    /// Adds a policy file's rules.
    pub fn with_policy(self, text: &str) -> Result<Self> {
        Ok(self.with(Setting::Policy, &setting(text)?))
    }
}

/// Packs a policy.
pub fn packed(policy: &Policy) -> Result<Vec<u8>> {
    refuse(policy)?;
    let mut rules = Rules { firmware: &policy.firmware, packed: Vec::new(), number: 0 };
    report(&mut rules, &policy.report)?;
    guest_policy(&mut rules, &policy.guest_policy)?;
    tcb(&mut rules, &policy.tcb)?;
    platform_info(&mut rules, &policy.platform_info)?;
    let Mitigations { launch: at_launch, current } = policy.mitigations;
    rules.wide("mitigations.launch", at_launch)?;
    rules.wide("mitigations.current", current)?;
    let Chips { ids } = &policy.chips;
    ensure!(!ids.contains(&Hex([0; 64])), "chips.ids: CHIP_ID of zeros is one that the host masks");
    rules.list("chips.ids", ids)?;
    launch(&mut rules, &policy.launch)?;
    let Firmware { hypervisor_features, sev_features, .. } = &policy.firmware;
    let bits = |numbers: Vec<u32>| (!numbers.is_empty()).then(|| numbers.iter().fold(0, |bits, n| bits | 1_u64 << n));
    let of_host = hypervisor_features.iter().map(|feature| *feature as u32).collect();
    rules.wide("firmware.hypervisor-features", bits(of_host))?;
    let of_vcpu = sev_features.iter().map(|feature| *feature as u32).collect();
    rules.wide("firmware.sev-features", bits(of_vcpu))?;
    rules.add("firmware.later-reports", &[])?;
    let mut octets = [1_u16, rules.number].into_iter().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    octets.extend(rules.packed);
    Ok(octets)
}

/// What a firmware knows nothing of when it judges, or what is judged of it.
fn refuse(policy: &Policy) -> Result<()> {
    // Whole: a key that comes is judged by the firmware, or refused here.
    let Policy {
        version: _,
        roots,
        endorsement,
        revocation,
        report: _,
        guest_policy: _,
        tcb: _,
        platform_info: _,
        mitigations: _,
        chips: _,
        launch,
        ek,
        ek_certificate,
        ak,
        state,
        pcrs,
        events,
        require,
        firmware,
    } = policy;
    let empty = Policy::default();
    let others = [
        ("roots", *roots != empty.roots),
        ("endorsement", *endorsement != empty.endorsement),
        ("revocation", *revocation != empty.revocation),
        ("launch.digests", !launch.digests.is_empty()),
        ("launch.igvm", !launch.igvm.is_empty()),
        ("ek", *ek != empty.ek),
        ("ek-certificate", *ek_certificate != empty.ek_certificate),
        ("ak", *ak != empty.ak),
        ("state", *state != empty.state),
        ("pcrs", !pcrs.is_empty()),
        ("events", !events.is_empty()),
        ("require", !require.is_empty()),
        ("firmware.weaknesses", firmware.weaknesses.is_some()),
    ];
    match others.into_iter().find(|(_, there)| *there) {
        Some((key, _)) => bail!("{key}: the firmware cannot judge that, only a verifier can (docs/policy.md)"),
        None => Ok(()),
    }
}

/// Rules, packed so far.
struct Rules<'a> {
    firmware: &'a Firmware,
    packed: Vec<u8>,
    number: u16,
}

impl Rules<'_> {
    /// A rule's number is its place among their names.
    fn add(&mut self, rule: &str, value: &[u8]) -> Result<()> {
        let place = FIRMWARE_RULES.iter().position(|known| *known == rule);
        let number = place.and_then(|place| u8::try_from(place + 1).ok()).context("a rule without a number")?;
        let otherwise = match self.firmware.otherwise(rule) {
            Otherwise::Refuse => 0,
            Otherwise::NameIt => 1,
        };
        let octets = u16::try_from(value.len()).ok().with_context(|| format!("{rule}: too many values"))?;
        self.packed.extend([number, otherwise]);
        self.packed.extend(octets.to_le_bytes());
        self.packed.extend(value);
        self.number += 1;
        Ok(())
    }

    fn flag(&mut self, rule: &str, there: bool) -> Result<()> {
        if there { self.add(rule, &[]) } else { Ok(()) }
    }

    fn bit(&mut self, rule: &str, wanted: Option<bool>) -> Result<()> {
        wanted.map_or(Ok(()), |set| self.add(rule, &[set.into()]))
    }

    fn wide(&mut self, rule: &str, value: Option<u64>) -> Result<()> {
        value.map_or(Ok(()), |value| self.add(rule, &value.to_le_bytes()))
    }

    fn list<const N: usize>(&mut self, rule: &str, values: &[Hex<N>]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        self.add(rule, &values.iter().flat_map(|value| value.0).collect::<Vec<u8>>())
    }
}

fn report(rules: &mut Rules<'_>, report: &ReportRules) -> Result<()> {
    let ReportRules { versions, vmpl, reported_is_committed } = report;
    ensure!(
        vmpl.is_none_or(|vmpl| vmpl == 0),
        "report.vmpl: the firmware's own report is of VMPL 0, and it takes no other"
    );
    if let Some(versions) = versions {
        let mut bits = 0_u32;
        for version in versions {
            ensure!((2..=5).contains(version), "report.versions: the firmware reads versions 2 to 5, not {version}");
            bits |= 1 << version;
        }
        rules.add("report.versions", &bits.to_le_bytes())?;
    }
    rules.flag("report.reported-is-committed", *reported_is_committed)
}

fn guest_policy(rules: &mut Rules<'_>, wanted: &GuestPolicy) -> Result<()> {
    rules.wide("guest-policy.value", wanted.value)?;
    rules.bit("guest-policy.smt", wanted.smt)?;
    rules.bit("guest-policy.migration-agent", wanted.migration_agent)?;
    rules.bit("guest-policy.debug", wanted.debug)?;
    rules.bit("guest-policy.single-socket", wanted.single_socket)?;
    rules.bit("guest-policy.cxl", wanted.cxl)?;
    rules.bit("guest-policy.aes-256-xts", wanted.aes_256_xts)?;
    rules.bit("guest-policy.rapl-disabled", wanted.rapl_disabled)?;
    rules.bit("guest-policy.ciphertext-hiding", wanted.ciphertext_hiding)?;
    rules.bit("guest-policy.page-swap-disabled", wanted.page_swap_disabled)
}

/// Whether LAUNCH_TCB is judged; of each generation whether it has levels, and these.
fn tcb(rules: &mut Rules<'_>, tcb: &Tcb) -> Result<()> {
    let Tcb { milan, genoa, turin, launch_may_be_lower } = tcb;
    let generations = [milan, genoa, turin];
    if generations.iter().all(|generation| generation.is_none()) {
        ensure!(!launch_may_be_lower, "tcb.launch-may-be-lower: there are no levels below which it could be");
        return Ok(());
    }
    let mut value = vec![u8::from(!launch_may_be_lower)];
    for generation in generations {
        let Minimum { fmc, boot_loader, tee, snp, microcode } = generation.unwrap_or_default();
        value.push(generation.is_some().into());
        value.extend([fmc, boot_loader, tee, snp, microcode].map(Option::unwrap_or_default));
    }
    rules.add("tcb", &value)
}

fn platform_info(rules: &mut Rules<'_>, wanted: &PlatformInfo) -> Result<()> {
    rules.bit("platform-info.smt", wanted.smt)?;
    rules.bit("platform-info.tsme", wanted.tsme)?;
    rules.bit("platform-info.ecc", wanted.ecc)?;
    rules.bit("platform-info.rapl-disabled", wanted.rapl_disabled)?;
    rules.bit("platform-info.ciphertext-hiding", wanted.ciphertext_hiding)?;
    rules.bit("platform-info.alias-check-complete", wanted.alias_check_complete)?;
    rules.bit("platform-info.iommu-write-safe", wanted.iommu_write_safe)?;
    rules.bit("platform-info.trusted-io", wanted.trusted_io)?;
    rules.flag("platform-info.no-other", wanted.no_other)
}

fn launch(rules: &mut Rules<'_>, wanted: &LaunchRules) -> Result<()> {
    rules.list("launch.host-data", &wanted.host_data)?;
    rules.list("launch.id-key-digests", &wanted.id_key_digests)?;
    rules.list("launch.author-key-digests", &wanted.author_key_digests)?;
    for (rule, id) in [("launch.family-id", wanted.family_id), ("launch.image-id", wanted.image_id)] {
        id.map_or(Ok(()), |id| rules.add(rule, &id.0))?;
    }
    wanted.guest_svn.map_or(Ok(()), |svn| rules.add("launch.guest-svn", &svn.to_le_bytes()))
}

#[cfg(test)]
mod tests;
