//! The rules of a policy file ([`crate::policy`]). Each refusal begins with the rule as the file has it.

use super::{Case, Step, chain, logs, tpm};
use crate::chip::{Generation, Levels};
use crate::digest::hex;
use crate::evidence::boot_log::BootEvent;
use crate::evidence::report::SigningKey;
use crate::evidence::services;
use crate::evidence::wire::{PCR_COUNT, Public};
use crate::policy::{
    Count, Endorsement, EndorsementKind, EventRule, GuestPolicy, Hex, KeyRules, LaunchRules, Minimum, PlatformInfo,
    Policy, ReportRules, Revocation, StateRules,
};
use anyhow::{Context, Result, bail, ensure};

/// Does the policy, or what was brought beside it, ask for what `step` judges? All but the rules is always judged.
pub(super) fn asks(case: &Case<'_>, step: Step) -> bool {
    let policy = case.policy();
    match step {
        Step::Endorsement => policy.endorsement != Endorsement::default(),
        Step::Revocation => policy.revocation != Revocation::default() || !case.expectations.rules.crls.is_empty(),
        Step::ReportRules => policy.report != ReportRules::default() || policy.guest_policy != GuestPolicy::default(),
        Step::MinimumTcb => minimums(policy).iter().any(|(_, minimum)| minimum.is_some()),
        Step::PlatformInfo => policy.platform_info != PlatformInfo::default(),
        Step::Mitigations => policy.mitigations.launch.is_some() || policy.mitigations.current.is_some(),
        Step::Chips => !policy.chips.ids.is_empty(),
        Step::LaunchInputs => {
            let LaunchRules { digests: _, igvm: _, host_data, id_key_digests, author_key_digests, .. } = &policy.launch;
            let LaunchRules { family_id, image_id, guest_svn, .. } = &policy.launch;
            !(host_data.is_empty() && id_key_digests.is_empty() && author_key_digests.is_empty())
                || family_id.is_some()
                || image_id.is_some()
                || guest_svn.is_some()
        }
        Step::Keys => policy.ek != KeyRules::default() || policy.ak != KeyRules::default(),
        Step::Pcrs => !policy.pcrs.is_empty(),
        Step::Events => !policy.events.is_empty(),
        Step::Parts => !policy.require.is_empty(),
        Step::State => policy.state != StateRules::default(),
        _ => true,
    }
}

/// One of the values that a rule names.
pub(super) fn one_of<const N: usize>(rule: &str, allowed: &[Hex<N>], found: [u8; N]) -> Result<()> {
    let listed = allowed.is_empty() || allowed.contains(&Hex(found));
    ensure!(listed, "{rule}: {} is not among the {} that may be", hex(&found), allowed.len());
    Ok(())
}

/// A bit that a rule says must be set or clear; `rule` is its key.
fn bit(rule: &str, wanted: Option<bool>, value: u64, bit: u32, register: &str) -> Result<()> {
    let is_set = value >> bit & 1 == 1;
    let state = if is_set { "set" } else { "clear" };
    match wanted {
        Some(wanted) if wanted != is_set => bail!("{rule} = {wanted}: {register} is {value:#x}, bit {bit} is {state}"),
        _ => Ok(()),
    }
}

/// The kind of key that has signed the report, and whose it is.
pub(super) fn endorsement(case: &Case<'_>) -> Result<String> {
    let Endorsement { keys, providers } = &case.policy().endorsement;
    let (kind, name) = match case.report()?.signing_key() {
        SigningKey::Vcek => (EndorsementKind::Vcek, "vcek"),
        SigningKey::Vlek => (EndorsementKind::Vlek, "vlek"),
        SigningKey::Other(other) => bail!("endorsement.keys: a report that no key has signed ({other})"),
    };
    let allowed = keys.as_ref().is_none_or(|keys| keys.contains(&kind));
    ensure!(allowed, "endorsement.keys: the report is signed by a {name}, which is not among them");
    if kind == EndorsementKind::Vcek {
        // Whoever names providers and means chips, too, lists both kinds.
        ensure!(
            providers.is_empty() || keys.is_some(),
            "endorsement.providers: the report is signed by a vcek, which is for no provider"
        );
        return Ok(String::from("a VCEK, the chip's own"));
    }
    let provider = chain::provider(case)?;
    ensure!(
        providers.is_empty() || providers.contains(&provider),
        "endorsement.providers: the VLEK is for {provider:?}, which is not among them"
    );
    Ok(format!("a VLEK, for {provider:?}"))
}

/// The report's version and the bits of the guest policy.
pub(super) fn report(case: &Case<'_>) -> Result<String> {
    let report = case.report()?;
    let ReportRules { versions, vmpl, reported_is_committed } = &case.policy().report;
    let version = report.version();
    ensure!(
        versions.as_ref().is_none_or(|versions| versions.contains(&version)),
        "report.versions: the report has version {version}, which is not among them"
    );
    // Of one over a TPM's key it is 0, whatever the rule says: then the rule is not met.
    let (wanted, found) = (vmpl.unwrap_or(report.vmpl()), report.vmpl());
    ensure!(wanted == found, "report.vmpl = {wanted}: the report was asked for at VMPL {found}");
    let (reported, committed) = (hex(&report.reported_tcb()), hex(&report.committed_tcb()));
    ensure!(
        !reported_is_committed || reported == committed,
        "report.reported-is-committed = true: reported is {reported}, committed {committed}"
    );
    let wanted = &case.policy().guest_policy;
    let value = report.policy();
    if let Some(wanted) = wanted.value {
        ensure!(value == wanted, "guest-policy.value = {wanted:#x}: it is {value:#x}");
    }
    let bits = [
        ("smt", wanted.smt, 16),
        ("migration-agent", wanted.migration_agent, 18),
        ("debug", wanted.debug, 19),
        ("single-socket", wanted.single_socket, 20),
        ("cxl", wanted.cxl, 21),
        ("aes-256-xts", wanted.aes_256_xts, 22),
        ("rapl-disabled", wanted.rapl_disabled, 23),
        ("ciphertext-hiding", wanted.ciphertext_hiding, 24),
        ("page-swap-disabled", wanted.page_swap_disabled, 25),
    ];
    bits.into_iter()
        .try_for_each(|(key, wanted, number)| bit(&format!("guest-policy.{key}"), wanted, value, number, "POLICY"))?;
    Ok(format!("version {version}, policy {value:#x}"))
}

const fn minimums(policy: &Policy) -> [(Generation, Option<Minimum>); 3] {
    let tcb = &policy.tcb;
    [(Generation::Milan, tcb.milan), (Generation::Genoa, tcb.genoa), (Generation::Turin, tcb.turin)]
}

/// The reported TCB, and that at launch, are not below the least of their generation.
pub(super) fn minimum_tcb(case: &Case<'_>) -> Result<String> {
    minimum_tcb_of(case, chain::generation(case)?)
}

/// The same where it is known which processor it is.
pub(super) fn minimum_tcb_of(case: &Case<'_>, generation: Generation) -> Result<String> {
    let name = generation.name();
    let key = name.to_lowercase();
    let minimum = minimums(case.policy()).into_iter().find(|(known, _)| *known == generation);
    let minimum = minimum.and_then(|(_, minimum)| minimum);
    let minimum = minimum.with_context(|| format!("tcb.{key}: the policy has none, and the processor is a {name}"))?;
    let report = case.report()?;
    let mut judged = vec![("reported", report.reported_tcb())];
    if !case.policy().tcb.launch_may_be_lower {
        judged.push(("launch", report.launch_tcb()));
    }
    for (which, bytes) in judged {
        let Levels { fmc, tcb } = Levels::read(bytes, generation);
        let levels = [
            ("fmc", minimum.fmc, fmc.unwrap_or_default()),
            ("boot-loader", minimum.boot_loader, tcb.boot_loader),
            ("tee", minimum.tee, tcb.tee),
            ("snp", minimum.snp, tcb.snp),
            ("microcode", minimum.microcode, tcb.microcode),
        ];
        for (part, least, found) in levels {
            let least = least.unwrap_or_default();
            ensure!(found >= least, "tcb.{key}.{part} = {least}: the {which} TCB has {found}");
        }
    }
    Ok(format!("{name}: {}", Levels::read(report.reported_tcb(), generation)))
}

/// Bits that PLATFORM_INFO is known to have.
const KNOWN_PLATFORM_INFO: u64 = 0xFF;

/// The bits of PLATFORM_INFO.
pub(super) fn platform_info(case: &Case<'_>) -> Result<String> {
    let wanted = &case.policy().platform_info;
    let value = case.report()?.platform_info();
    let bits = [
        ("smt", wanted.smt),
        ("tsme", wanted.tsme),
        ("ecc", wanted.ecc),
        ("rapl-disabled", wanted.rapl_disabled),
        ("ciphertext-hiding", wanted.ciphertext_hiding),
        ("alias-check-complete", wanted.alias_check_complete),
        ("iommu-write-safe", wanted.iommu_write_safe),
        ("trusted-io", wanted.trusted_io),
    ];
    bits.into_iter().zip(0..).try_for_each(|((key, wanted), number)| {
        bit(&format!("platform-info.{key}"), wanted, value, number, "PLATFORM_INFO")
    })?;
    ensure!(
        !wanted.no_other || value & !KNOWN_PLATFORM_INFO == 0,
        "platform-info.no-other = true: PLATFORM_INFO is {value:#x}, and has a bit without a name"
    );
    Ok(format!("{value:#x}"))
}

/// The mitigation vectors.
pub(super) fn mitigations(case: &Case<'_>) -> Result<String> {
    let report = case.report()?;
    let wanted = &case.policy().mitigations;
    let vectors = [
        ("launch", wanted.launch, report.launch_mitigations()),
        ("current", wanted.current, report.current_mitigations()),
    ];
    let mut seen = Vec::new();
    for (key, wanted, found) in vectors {
        let Some(wanted) = wanted else { continue };
        let version = report.version();
        let found = found
            .with_context(|| format!("mitigations.{key} = {wanted:#x}: a report of version {version} has no vector"))?;
        let missing = wanted & !found;
        ensure!(missing == 0, "mitigations.{key} = {wanted:#x}: the vector is {found:#x}, {missing:#x} is missing");
        seen.push(format!("{key} {found:#x}"));
    }
    Ok(seen.join(", "))
}

/// The chip is one of those that may be.
pub(super) fn chips(case: &Case<'_>) -> Result<String> {
    let id = case.report()?.chip_id();
    ensure!(id != [0; 64], "chips.ids: the report does not say which chip it is (CHIP_ID is masked)");
    one_of("chips.ids", &case.policy().chips.ids, id)?;
    Ok(format!("{}…", hex(&id[..8])))
}

/// What the host or the ID block said at launch.
pub(super) fn launch_inputs(case: &Case<'_>) -> Result<String> {
    let report = case.report()?;
    let wanted = &case.policy().launch;
    one_of("launch.host-data", &wanted.host_data, report.host_data())?;
    one_of("launch.id-key-digests", &wanted.id_key_digests, report.id_key_digest())?;
    one_of("launch.author-key-digests", &wanted.author_key_digests, report.author_key_digest())?;
    for (rule, wanted, found) in [
        ("launch.family-id", wanted.family_id, report.family_id()),
        ("launch.image-id", wanted.image_id, report.image_id()),
    ] {
        let Some(wanted) = wanted else { continue };
        ensure!(wanted.0 == found, "{rule} = {wanted}: it is {}", hex(&found));
    }
    let svn = report.guest_svn();
    let least = wanted.guest_svn.unwrap_or_default();
    ensure!(svn >= least, "launch.guest-svn = {least}: it is {svn}");
    Ok(format!("SVN {svn}, host data {}…", hex(&report.host_data()[..8])))
}

/// EK and AK are of the kinds, and among the keys, that may be.
pub(super) fn keys(case: &Case<'_>) -> Result<String> {
    let mut seen = Vec::new();
    let policy = case.policy();
    for (which, rules, public) in [("ek", &policy.ek, tpm::ek(case)), ("ak", &policy.ak, tpm::ak(case))] {
        if *rules == KeyRules::default() {
            continue;
        }
        let public = public.with_context(|| format!("{which}: there is a rule, and the evidence has no such key"))?;
        key(which, rules, &public)?;
        seen.push(format!("{which} {}", hex(&public.name())));
    }
    Ok(seen.join(", "))
}

fn key(which: &str, rules: &KeyRules, public: &Public) -> Result<()> {
    let algorithm = public.key.algorithm();
    let allowed = rules.algorithms.as_ref().is_none_or(|algorithms| algorithms.contains(&algorithm));
    let name = algorithm.name();
    ensure!(allowed, "{which}.algorithms: the key is {name}, which is not among them");
    if rules.names.is_empty() {
        return Ok(());
    }
    let name = public.name().try_into();
    let name = name.ok().with_context(|| format!("{which}.names: the key's Name is by another hash than SHA-256"))?;
    one_of(&format!("{which}.names"), &rules.names, name)
}

/// The quoted PCRs have values that may be.
pub(super) fn pcrs(case: &Case<'_>) -> Result<String> {
    let quoted =
        tpm::quoted_pcrs(case.evidence).context("pcrs: there are rules, and the evidence has no quoted PCRs")?;
    for (pcr, allowed) in &case.policy().pcrs {
        let number: u32 = pcr.parse()?;
        let found = quoted.get(&number).with_context(|| format!("pcrs.{pcr}: PCR {pcr} is not in the quote"))?;
        one_of(&format!("pcrs.{pcr}"), allowed.values(), *found)?;
    }
    Ok(format!("{} PCRs", case.policy().pcrs.len()))
}

/// The event log, which leads to the quoted PCRs, has what it must have.
pub(super) fn events(case: &Case<'_>) -> Result<String> {
    let log = logs::replayed_log(case).context("events: there are rules, and the evidence has no proven event log")?;
    for (number, rule) in case.policy().events.iter().enumerate() {
        let judged = logs::explained(case, rule.pcr).and_then(|()| event(rule, &log));
        judged.with_context(|| format!("events, rule {}", number + 1))?;
    }
    Ok(format!("{} rules, {} events", case.policy().events.len(), log.len()))
}

fn event(rule: &EventRule, log: &[BootEvent]) -> Result<()> {
    let begins = |event: &BootEvent| {
        rule.starts_with.as_ref().is_none_or(|text| event.data.starts_with(text.as_bytes()))
            && rule.kind.is_none_or(|kind| kind == event.kind)
    };
    let of_pcr = log.iter().filter(|event| event.pcr == rule.pcr);
    let selected: Vec<&BootEvent> = of_pcr
        .zip(1..)
        .filter(|(event, index)| rule.index.is_none_or(|wanted| wanted == *index) && begins(event))
        .map(|(event, _)| event)
        .collect();
    let place = format!("PCR {}", rule.pcr);
    let found = selected.len();
    match rule.count {
        // What must not be there is what the whole rule describes.
        Count::None => {
            let unwanted = selected.into_iter().find(|event| content(rule, event).is_ok());
            return unwanted.map_or(Ok(()), |event| bail!("count = none: {place} has {event}"));
        }
        Count::One => ensure!(found == 1, "count = one: {place} has {found} such events"),
        Count::Some => ensure!(found > 0, "{place} has no such event"),
        Count::Any => {}
    }
    selected.into_iter().try_for_each(|event| content(rule, event).with_context(|| format!("{place}, {event}")))
}

/// What an event's digest proves.
fn content(rule: &EventRule, event: &BootEvent) -> Result<()> {
    if !rule.sha256.is_empty() {
        let digest: [u8; 32] = event.sha256()?.try_into()?;
        one_of("sha256", &rule.sha256, digest)?;
    }
    if rule.contains.is_empty() && rule.lacks.is_empty() {
        return Ok(());
    }
    let measured = event.measured().context("its data is the log's word, and was not measured")?;
    // Boot loaders of UEFI measure UTF-16.
    let has = |text: &String| {
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        !text.is_empty()
            && [text.as_bytes(), &wide].iter().any(|text| measured.windows(text.len()).any(|part| part == *text))
    };
    for text in &rule.contains {
        ensure!(has(text), "contains: {text:?} is not in it");
    }
    for text in &rule.lacks {
        ensure!(!has(text), "lacks: {text:?} is in it");
    }
    Ok(())
}

/// What a firmware that judges its own platform has not found met, and has gone on with.
pub(super) fn weaknesses(case: &Case<'_>) -> Result<String> {
    let named = services::weaknesses(&case.evidence.manifest)?;
    if let Some(allowed) = &case.policy().firmware.weaknesses {
        let named = named.as_ref();
        let named = named.context(
            "firmware.weaknesses: there is a rule, and no firmware that names any has a part in the evidence",
        )?;
        // A rule with parts, such as `tcb`, stands for all of them.
        let may_be = |rule: &String| {
            allowed.iter().any(|allowed| {
                rule.strip_prefix(allowed.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        if let Some(other) = named.iter().find(|named| !may_be(&named.rule)) {
            bail!("firmware.weaknesses: the firmware names {} ({}), which is not among them", other.rule, other.found);
        }
    }
    let named: Vec<String> =
        named.unwrap_or_default().into_iter().map(|named| format!("{}: {}", named.rule, named.found)).collect();
    Ok(if named.is_empty() { String::from("none") } else { named.join("; ") })
}

/// PCR numbers are the quote's own.
const _: () = assert!(PCR_COUNT == 24);
