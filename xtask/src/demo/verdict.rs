//! Whether the demo has shown what it should: the expected image's evidence verified, and the other one's refused for
//! the one word that differs.

use quoin_verify::{Failure, Step};

/// What the guest's check of the sealed secret is called (tests/guest/linux/init).
const UNSEAL: &str = "unseal it";
/// What tpm2-tools say of TPM_RC_POLICY_FAIL.
const POLICY_FAIL: &str = "a policy check failed";

/// What verification came to: so many steps, or the one that failed.
pub type Verdict = Result<usize, Failure>;

/// One boot.
#[derive(Debug)]
pub struct Boot {
    /// Why it has not ended by itself, if so.
    pub ended: Result<(), String>,
    /// What the guest has tried: the name, and why it failed.
    pub checks: Vec<(String, Option<String>)>,
}

/// All that was seen.
#[derive(Debug)]
pub struct Seen {
    /// The expected image's boot.
    pub good: Boot,
    /// Its evidence, by the expected image.
    pub verified: Verdict,
    /// The boot with another word.
    pub bad: Boot,
    /// Its evidence, by the expected image.
    pub by_launch: Verdict,
    /// Its evidence by its own launch digest, and by the events of the expected image.
    pub by_events: Verdict,
    /// Its evidence, by its own image: nothing else is wrong with it.
    pub by_itself: Verdict,
}

impl Seen {
    /// What is not as it should be; nothing if the demo has shown what it should. The texts are the command lines.
    pub fn wrong(&self, expected: &str, changed: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let event = format!("PCR 8, event 2 (`kernel_cmdline: {expected}`)");
        wrong.extend(self.good.ended.clone().err());
        wrong.extend(self.good.failed().map(|(name, why)| format!("in the guest: {name}: {why}")));
        if self.good.unsealed().is_none() {
            wrong.push("the guest has not tried to unseal".into());
        }
        if let Err(Failure { step, why }) = &self.verified {
            wrong.push(format!("the evidence was refused at `{step}`: {why:#}"));
        }
        wrong.extend(self.bad.ended.clone().err());
        for (name, why) in self.bad.failed().filter(|(name, _)| *name != UNSEAL) {
            wrong.push(format!("in the guest with the other word: {name}: {why}"));
        }
        match self.bad.unsealed() {
            Some(Some(why)) if why.contains(POLICY_FAIL) => {}
            Some(Some(why)) => wrong.push(format!("unsealing with the other word failed for another reason: {why}")),
            Some(None) => wrong.push("the secret was unsealed with the other word".into()),
            None => wrong.push("the guest with the other word has not tried to unseal".into()),
        }
        wrong.extend(refused(&self.by_launch, Step::Measurement, &[&event, changed]));
        wrong.extend(refused(&self.by_events, Step::EventLog, &[&event, changed]));
        if let Err(Failure { step, why }) = &self.by_itself {
            wrong.push(format!("the other evidence is wrong in itself, at `{step}`: {why:#}"));
        }
        wrong
    }
}

impl Boot {
    fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.checks.iter().filter_map(|(name, why)| Some((name.as_str(), why.as_deref()?)))
    }

    /// How the guest's trial to unseal has ended, if it has tried.
    fn unsealed(&self) -> Option<Option<&str>> {
        self.checks.iter().find(|(name, _)| name == UNSEAL).map(|(_, why)| why.as_deref())
    }
}

/// What is wrong with a refusal that should be at `step`, and say all of `says`.
fn refused(verdict: &Verdict, step: Step, says: &[&str]) -> Option<String> {
    let failure = match verdict {
        Ok(_) => return Some(format!("the evidence with the other word was not refused at `{step}`")),
        Err(failure) => failure,
    };
    let said = format!("{:#}", failure.why);
    let right = failure.step == step && says.iter().all(|text| said.contains(text));
    (!right).then(|| {
        format!("the evidence with the other word was refused for another reason, at `{}`: {said}", failure.step)
    })
}

#[cfg(test)]
mod tests {
    use super::{Boot, Seen, Verdict};
    use quoin_verify::{Failure, Step};

    const EXPECTED: &str = "console=ttyS1 mitigations=auto";
    const CHANGED: &str = "console=ttyS1 mitigations=off";

    fn refused(step: Step, why: &str) -> Verdict {
        Err(Failure { step, why: anyhow::anyhow!("{why}") })
    }

    fn boot(unsealed: Option<&str>) -> Boot {
        let checks = [("make a key", None), ("unseal it", unsealed)];
        Boot { ended: Ok(()), checks: checks.map(|(name, why)| (name.to_owned(), why.map(str::to_owned))).into() }
    }

    fn right() -> Seen {
        let why =
            format!("PCR 8, event 2 (`kernel_cmdline: {EXPECTED}`): the boot log has `kernel_cmdline: {CHANGED}`");
        Seen {
            good: boot(None),
            verified: Ok(20),
            bad: boot(Some("tpm:session(1):a policy check failed")),
            by_launch: refused(Step::Measurement, &why),
            by_events: refused(Step::EventLog, &why),
            by_itself: Ok(20),
        }
    }

    fn wrong(change: impl FnOnce(&mut Seen)) -> String {
        let mut seen = right();
        change(&mut seen);
        let wrong = seen.wrong(EXPECTED, CHANGED);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        wrong[0].clone()
    }

    #[test]
    fn what_should_be_seen_is_all_right() {
        assert_eq!(right().wrong(EXPECTED, CHANGED), <[String; 0]>::default());
    }

    #[test]
    fn the_good_one_must_be_verified_by_a_guest_that_has_done_all() {
        assert!(wrong(|seen| seen.verified = refused(Step::Vmpl, "VMPL 2")).contains("`VMPL 0`: VMPL 2"));
        assert!(wrong(|seen| seen.good.ended = Err("a rule was broken".into())).contains("a rule"));
        assert!(wrong(|seen| seen.good.checks[0].1 = Some("0x101".into())).contains("make a key: 0x101"));
        assert!(wrong(|seen| seen.good = boot(Some("0x99D"))).contains("unseal it"));
        assert!(wrong(|seen| seen.good.checks.truncate(1)).contains("has not tried"));
    }

    #[test]
    fn the_bad_one_must_be_refused_at_the_right_step_and_name_pcr_and_event() {
        assert!(wrong(|seen| seen.by_launch = Ok(20)).contains("not refused at `measurement`"));
        assert!(wrong(|seen| seen.by_events = Ok(20)).contains("not refused at `event log`"));
        assert!(wrong(|seen| seen.by_launch = refused(Step::Chain, "PCR 8")).contains("another reason"));
        let why = format!("PCR 9, event 3: {CHANGED}");
        assert!(wrong(|seen| seen.by_events = refused(Step::EventLog, &why)).contains("another reason"));
        assert!(wrong(|seen| seen.by_itself = refused(Step::QuoteNonce, "old")).contains("wrong in itself"));
    }

    #[test]
    fn the_bad_one_must_have_tried_to_unseal_and_failed_by_the_policy() {
        assert!(wrong(|seen| seen.bad = boot(None)).contains("was unsealed"));
        assert!(wrong(|seen| seen.bad = boot(Some("no TPM"))).contains("another reason: no TPM"));
        assert!(wrong(|seen| seen.bad.checks.truncate(1)).contains("has not tried"));
        assert!(wrong(|seen| seen.bad.checks[0].1 = Some("0x101".into())).contains("make a key: 0x101"));
        assert!(wrong(|seen| seen.bad.ended = Err("it has panicked".into())).contains("panicked"));
    }
}
