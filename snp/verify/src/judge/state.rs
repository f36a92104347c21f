//! The state that a TPM runs: by the rules of a policy file, and by what is remembered of it.

use super::Case;
use super::rules::one_of;
use crate::digest::hex;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::manifest::{self, Kept, flag};
use crate::policy::StateRules;
use anyhow::{Context, Result, ensure};

/// What the evidence says of the state; nothing before version 2 of the manifest, and of evidence without one.
pub(crate) fn kept(evidence: &Evidence) -> Result<Option<Kept>> {
    match evidence.kind {
        Kind::Quoin | Kind::Report | Kind::Tpm => manifest::kept(&evidence.manifest),
        Kind::Azure | Kind::Certificate => Ok(None),
    }
}

/// By the policy file.
pub(super) fn rules(case: &Case<'_>) -> Result<String> {
    let StateRules { kept: wanted, anchored, too_few_anchors, migrated, identities, least_epoch, came_from } =
        &case.policy().state;
    let said = kept(case.evidence)?;
    let has = |flag| said.as_ref().is_some_and(|said| said.has(flag));
    let flags = [
        ("kept", wanted, flag::KEPT),
        ("anchored", anchored, flag::ANCHORED),
        ("too-few-anchors", too_few_anchors, flag::TOO_FEW_ANCHORS),
        ("migrated", migrated, flag::MIGRATED),
    ];
    for (rule, wanted, flag) in flags {
        let Some(wanted) = wanted else { continue };
        ensure!(said.is_some(), "state.{rule} = {wanted}: the evidence says nothing of a state");
        ensure!(has(flag) == *wanted, "state.{rule} = {wanted}: it is {}", if *wanted { "not so" } else { "so" });
    }
    if identities.is_empty() && least_epoch.is_none() && came_from.is_empty() {
        return Ok(said.as_ref().map_or_else(|| String::from("nothing is said of a state"), text));
    }
    let said = said.context("state: the evidence says nothing of a state")?;
    one_of("state.identities", identities, said.identity)?;
    one_of("state.came-from", came_from, said.came_from)?;
    if let Some(least) = least_epoch {
        ensure!(said.epoch >= *least, "state.least-epoch = {least}: the epoch is {}", said.epoch);
    }
    Ok(text(&said))
}

/// By what is remembered of this TPM.
pub(super) fn remembered(case: &Case<'_>) -> Result<String> {
    let said = kept(case.evidence)?.context("the evidence says nothing of a state that could be remembered")?;
    if !said.has(flag::KEPT) {
        return Ok(String::from("no state is kept: it ends with the VM, and there is nothing to remember"));
    }
    match &case.expectations.remembered {
        Some(memory) => memory.compare(&said).map(|known| format!("{}; {known}", text(&said))),
        None => Ok(text(&said)),
    }
}

/// In a few words.
fn text(said: &Kept) -> String {
    let names = [
        (flag::KEPT, "kept"),
        (flag::ANCHORED, "anchored"),
        (flag::TOO_FEW_ANCHORS, "with too few anchors"),
        (flag::MIGRATED, "migrated"),
    ];
    let names: Vec<&str> = names.into_iter().filter(|(flag, _)| said.has(*flag)).map(|(_, name)| name).collect();
    let names = if names.is_empty() { String::from("not kept") } else { names.join(", ") };
    format!("identity {}, epoch {}, {names}", hex(&said.identity), said.epoch)
}
