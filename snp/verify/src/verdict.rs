//! What has come of all steps.

mod missing;

use crate::chip::is_development_root;
use crate::digest::hex;
use crate::events::{self, Named};
use crate::evidence::folder::Evidence;
use crate::evidence::manifest::{Kept, flag};
use crate::judge::{self, Expectations, Finding, State, Step, examine};
use serde::Serialize;

/// Exit status when every step is ok, and something that is needed to call it verified is nobody's word but the
/// collector's.
pub const NOT_VERIFIED: u8 = 3;

/// Findings, and what they mean.
#[derive(Debug)]
pub struct Verdict {
    /// Every step, in order.
    pub findings: Vec<Finding>,
    /// What nobody has vouched for, in words; empty if nothing is missing.
    pub missing: Vec<&'static str>,
    /// All rests on the mock root, whose chip key is public: it was accepted, and proves nothing.
    pub development_root: bool,
    /// What the evidence says of the state that the TPM runs, where it says that. It is proven if the step of
    /// REPORT_DATA is ok.
    pub kept: Option<Kept>,
    /// What was measured, by name. The step of the event log says whether the quoted PCRs prove it.
    pub events: Vec<Named>,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step is ok, and the verifier said which launch digest is right.
    Verified,
    /// Every step is ok, but the verifier did not say what is needed.
    Consistent,
    /// A step has failed.
    Refused,
}

impl Verdict {
    /// Judges `evidence`.
    pub fn of(evidence: &Evidence, expectations: &Expectations) -> Self {
        let findings = examine(evidence, expectations);
        let missing = missing::of(evidence, expectations, &findings);
        let kept = judge::kept(evidence).ok().flatten();
        Self {
            findings,
            missing,
            development_root: is_development_root(&evidence.ark),
            kept,
            events: events::of(evidence),
        }
    }

    /// The step that has failed.
    pub fn failed(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| matches!(finding.state, State::Failed(_)))
    }

    /// There was a report to judge.
    pub fn has_report(&self) -> bool {
        !self.findings.iter().any(|Finding { step, state }| *step == Step::Root && matches!(state, State::Absent(_)))
    }

    /// What it means.
    pub fn outcome(&self) -> Outcome {
        match (self.failed(), self.missing.is_empty()) {
            (Some(_), _) => Outcome::Refused,
            (None, false) => Outcome::Consistent,
            (None, true) => Outcome::Verified,
        }
    }

    /// The program's exit status.
    pub fn status(&self) -> u8 {
        match (self.failed(), self.outcome()) {
            (Some(finding), _) => finding.step.status(),
            (None, Outcome::Verified) => 0,
            (None, _) => NOT_VERIFIED,
        }
    }

    /// The last line: what is said first, and what then.
    pub fn conclusion(&self) -> (&'static str, String) {
        let count = self.findings.iter().filter(|finding| matches!(finding.state, State::Ok(_))).count();
        let absent: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| matches!(finding.state, State::Absent(_)))
            .map(|finding| finding.step.name())
            .collect();
        let mut text = format!("{count} steps ok");
        if !absent.is_empty() {
            text.push_str(&format!("; not in this evidence: {}", absent.join(", ")));
        }
        match self.outcome() {
            Outcome::Verified => ("verified: ", text),
            Outcome::Consistent => ("consistent, not verified: ", format!("{text}, but {}", self.missing.join("; "))),
            Outcome::Refused => ("not verified: ", String::from("steps after the failed one were not judged")),
        }
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let (head, text) = self.conclusion();
        let steps: Vec<_> = self.findings.iter().map(step).collect();
        serde_json::json!({
            "program": concat!("quoin-verify ", env!("CARGO_PKG_VERSION")),
            "outcome": self.outcome(),
            "status": self.status(),
            "says": format!("{head}{text}"),
            "missing": self.missing,
            "development-root": self.development_root,
            "steps": steps,
            "state": self.kept.as_ref().map(state),
            "events": self.events,
        })
    }
}

fn state(kept: &Kept) -> serde_json::Value {
    serde_json::json!({
        "identity": hex(&kept.identity),
        "epoch": kept.epoch,
        "boot-nonce": hex(&kept.boot_nonce),
        "digest": hex(&kept.digest),
        "kept": kept.has(flag::KEPT),
        "anchored": kept.has(flag::ANCHORED),
        "too-few-anchors": kept.has(flag::TOO_FEW_ANCHORS),
        "migrated": kept.has(flag::MIGRATED),
        "came-from": Some(hex(&kept.came_from)).filter(|_| kept.has(flag::MIGRATED)),
    })
}

fn step(Finding { step, state }: &Finding) -> serde_json::Value {
    let (state, says) = match state {
        State::Ok(seen) => ("ok", seen.clone()),
        State::Failed(why) => ("failed", format!("{why:#}")),
        State::Absent(why) => ("absent", (*why).to_owned()),
        State::Unasked => ("unasked", String::from("no rule asks for it")),
        State::Unjudged => ("unjudged", String::from("a step before it has failed")),
    };
    serde_json::json!({ "step": step.name(), "status": step.status(), "state": state, "says": says })
}
