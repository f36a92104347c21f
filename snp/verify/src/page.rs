//! The verdict as a page: one file, which needs nothing else and runs nothing, with the chain drawn.
//!
//! Whatever the evidence says is text here: `maud` escapes it.

use crate::digest::hex;
use crate::events::Named;
use crate::evidence::folder::Evidence;
use crate::evidence::report::Report;
use crate::judge::{self, Finding, State, Step};
use crate::verdict::{Outcome, Verdict};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Events that are shown; a real log has some hundred.
const MAX_EVENTS: usize = 2000;
/// Characters of an event's text that are shown.
const MAX_TEXT: usize = 240;

/// A link of the chain: what it is, the steps that prove it, and what it says.
struct Link {
    title: &'static str,
    steps: &'static [Step],
    binds: &'static str,
    value: fn(&Evidence) -> Option<String>,
}

/// The link that not every evidence has.
const STATE: &str = "State";

/// From the image to what was measured.
const CHAIN: [Link; 8] = [
    Link {
        title: "Launch digest",
        steps: &[Step::Measurement],
        binds: "The image that the verifier expects has this digest.",
        value: |evidence| report(evidence).map(|report| hex(&report.measurement())),
    },
    Link {
        title: "Report",
        steps: &[
            Step::Root,
            Step::Chain,
            Step::Revocation,
            Step::ReportFormat,
            Step::ReportSignature,
            Step::Chip,
            Step::Vmpl,
            Step::Policy,
            Step::Tcb,
            Step::Endorsement,
            Step::ReportRules,
            Step::MinimumTcb,
            Step::PlatformInfo,
            Step::Mitigations,
            Step::Chips,
            Step::LaunchInputs,
            Step::Weaknesses,
        ],
        binds: "The processor has signed the digest, under a certificate chain to its maker's root.",
        value: |evidence| {
            report(evidence).map(|report| {
                format!("version {}, VMPL {}, policy {:#x}", report.version(), report.vmpl(), report.policy())
            })
        },
    },
    Link {
        title: "EK",
        steps: &[Step::ReportData, Step::EndorsementKey, Step::EkCertificate],
        binds: "REPORT_DATA names the endorsement key, and the nonce.",
        value: |evidence| report(evidence).map(|report| format!("REPORT_DATA {}", hex(&report.report_data()))),
    },
    Link {
        title: STATE,
        steps: &[Step::ReportData, Step::State, Step::Remembered],
        binds: "REPORT_DATA names the state, too: whose it is, and how old.",
        value: |evidence| {
            let kept = judge::kept(evidence).ok().flatten()?;
            Some(format!("identity {}, epoch {}", hex(&kept.identity), kept.epoch))
        },
    },
    Link {
        title: "AK",
        steps: &[Step::AttestationKey, Step::Credential, Step::Keys],
        binds: "The attestation key is in the TPM of that EK.",
        value: |evidence| {
            Some(hex(&evidence.ak_name)).filter(|name| !name.is_empty()).map(|name| format!("Name {name}"))
        },
    },
    Link {
        title: "Quote",
        steps: &[Step::QuoteSignature, Step::QuoteType, Step::QuoteSigner, Step::QuoteNonce],
        binds: "The attestation key has signed the quote for this challenge.",
        value: |evidence| {
            Some(hex(&evidence.quote_nonce)).filter(|nonce| !nonce.is_empty()).map(|nonce| format!("nonce {nonce}"))
        },
    },
    Link {
        title: "PCRs",
        steps: &[Step::PcrSelection, Step::PcrDigest, Step::Pcrs],
        binds: "The quote's digest is that of these PCRs.",
        value: |evidence| Some(format!("{} values", evidence.pcrs.len() / 32)).filter(|_| !evidence.pcrs.is_empty()),
    },
    Link {
        title: "Events",
        steps: &[Step::EventLog, Step::Events],
        binds: "The events lead to the PCRs, one digest after another.",
        value: |_| None,
    },
];

fn report(evidence: &Evidence) -> Option<Report<'_>> {
    Report::new(&evidence.report).ok()
}

/// The page.
pub fn html(evidence: &Evidence, verdict: &Verdict) -> String {
    let (head, text) = verdict.conclusion();
    let class = match verdict.outcome() {
        Outcome::Verified => "ok",
        Outcome::Consistent => "open",
        Outcome::Refused => "bad",
    };
    let events = &verdict.events;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "quoin-verify: " (head) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 class=(class) { (head.trim_end_matches([' ', ':'])) }
                @if let Some(Finding { step, state: State::Failed(why) }) = verdict.failed() {
                    p class="bad" { strong { (step.name()) ": " } (format!("{why:#}")) }
                }
                p { (text) "; exit status " (verdict.status()) "." }
                div class="chain" { @for link in CHAIN.iter().filter(|link| is_shown(link, verdict)) { (drawn(link, evidence, verdict)) } }
                h2 { "Steps" }
                (steps(verdict))
                @if !evidence.pcrs.is_empty() { h2 { "PCRs, SHA-256" } (pcrs(evidence, is_proven(verdict, Step::PcrDigest))) }
                @if !events.is_empty() { h2 { "Events" } (event_table(events, is_proven(verdict, Step::EventLog))) }
            }
        }
    };
    page.into_string()
}

fn finding(verdict: &Verdict, step: Step) -> Option<&Finding> {
    verdict.findings.iter().find(|finding| finding.step == step)
}

fn is_proven(verdict: &Verdict, step: Step) -> bool {
    finding(verdict, step).is_some_and(|finding| matches!(finding.state, State::Ok(_)))
}

/// Evidence that says nothing of a state has no such link, unless a rule asks for it.
fn is_shown(link: &Link, verdict: &Verdict) -> bool {
    let asked = |step| finding(verdict, step).is_some_and(|finding| !matches!(finding.state, State::Unasked));
    link.title != STATE || verdict.kept.is_some() || asked(Step::State) || asked(Step::Remembered)
}

/// What of a link is not proven, in words; empty if all is.
fn open(link: &Link, verdict: &Verdict) -> Vec<String> {
    let (mut open, mut unjudged): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for finding in link.steps.iter().filter_map(|step| finding(verdict, *step)) {
        let name = finding.step.name();
        match &finding.state {
            State::Failed(why) => open.push(format!("{name}: {why:#}")),
            State::Unjudged => unjudged.push(name),
            // Azure's claims say what a challenge would.
            State::Absent(why) if !(finding.step == Step::Credential && is_proven(verdict, Step::AttestationKey)) => {
                open.push(format!("{name}: {why}"));
            }
            State::Ok(seen) if finding.step == Step::Root && verdict.development_root => {
                open.push(format!("{name}: {seen}"));
            }
            State::Absent(_) | State::Ok(_) | State::Unasked => {}
        }
    }
    if !unjudged.is_empty() {
        let first = verdict.failed().map_or("a step before", |finding| finding.step.name());
        open.push(format!("{}: not judged, since {first} has failed", unjudged.join(", ")));
    }
    let missing =
        |what: &'static str| verdict.missing.iter().filter(move |why| why.contains(what)).map(|why| (*why).to_owned());
    if link.steps == [Step::Measurement] && open.is_empty() {
        open.extend(missing("launch digest"));
    }
    if link.steps.contains(&Step::EkCertificate) {
        open.extend(missing("nobody vouches"));
    }
    open
}

fn drawn(link: &Link, evidence: &Evidence, verdict: &Verdict) -> Markup {
    let open = open(link, verdict);
    let class = if open.is_empty() { "ok" } else { "bad" };
    html! {
        section class=(format!("link {class}")) {
            h3 { (link.title) span { @if open.is_empty() { "proven" } @else { "not proven" } } }
            p { (link.binds) }
            @if let Some(value) = (link.value)(evidence) { p class="value" { (value) } }
            @if !open.is_empty() { ul { @for why in &open { li { (why) } } } }
        }
    }
}

fn steps(verdict: &Verdict) -> Markup {
    let is_unasked = |finding: &&Finding| matches!(finding.state, State::Unasked);
    let unasked: Vec<&str> = verdict.findings.iter().filter(is_unasked).map(|finding| finding.step.name()).collect();
    let asked = verdict.findings.iter().filter(|finding| !is_unasked(finding));
    html! {
        table {
            tr { th { "Step" } th { "" } th { "What was seen" } th { "Status if it fails" } }
            @for Finding { step, state } in asked {
                @let (class, word, text) = match state {
                    State::Ok(seen) => ("ok", "ok", seen.clone()),
                    State::Failed(why) => ("bad", "failed", format!("{why:#}")),
                    State::Absent(why) => ("open", "absent", (*why).to_owned()),
                    State::Unasked => ("open", "no rule", String::new()),
                    State::Unjudged => ("bad", "not judged", String::new()),
                };
                tr { td { (step.name()) } td class={ (class) " word" } { (word) } td class="value" { (text) } td { (step.status()) } }
            }
        }
        @if !unasked.is_empty() { p { "No rule of a policy file asks for: " (unasked.join(", ")) "." } }
    }
}

fn pcrs(evidence: &Evidence, proven: bool) -> Markup {
    html! {
        table class=(if proven { "" } else { "unproven" }) {
            tr { th { "PCR" } th { "Value" } }
            @for (number, value) in evidence.pcrs.chunks(32).enumerate() {
                tr { td { (number) } td class="value" { (hex(value)) } }
            }
        }
    }
}

fn event_table(events: &[Named], proven: bool) -> Markup {
    html! {
        table class=(if proven { "" } else { "unproven" }) {
            tr { th { "PCR" } th { "Type" } th { "Event" } th { "SHA-256" } th { "Its text" } }
            @for event in events.iter().take(MAX_EVENTS) {
                @let text: String = event.says.chars().take(MAX_TEXT).collect();
                tr {
                    td { (event.pcr) }
                    td { (event.kind) }
                    td class="value" { (text) }
                    td class="value" { (event.sha256) }
                    td { (event.standing.name()) }
                }
            }
        }
        @if events.len() > MAX_EVENTS { p { (events.len() - MAX_EVENTS) " more are not shown." } }
    }
}

const STYLE: &str = "
:root { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1::first-letter { text-transform: uppercase }
.word { white-space: nowrap }
h1.ok, td.ok { color: #17692f } h1.bad, p.bad, td.bad { color: #b3121d } h1.open, td.open { color: #9a5b00 }
.link { position: relative; border: 2px solid; border-radius: .5rem; padding: .5rem 1rem; margin: 0 0 2rem }
.link.ok { border-color: #2f9e52; background: #f1faf4 } .link.bad { border-color: #d01c28; background: #fdf1f2 }
.link:not(:last-child)::after {
    content: '\\2193'; position: absolute; left: 2rem; bottom: -1.9rem; font-size: 1.4rem; color: #556
}
.link h3 { margin: 0 } .link h3 span { float: right; font-weight: 600 }
.link.ok span { color: #17692f } .link.bad span, .link.bad li { color: #b3121d } .link p { margin: .25rem 0 }
.value { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
th, td {
    text-align: left; vertical-align: top; border-bottom: 1px solid #d8dde4; padding: .25rem .6rem .25rem 0
}
table.unproven td { color: #b3121d }
";

#[cfg(test)]
mod tests {
    use super::html;
    use crate::evidence::boot_log::tests::log;
    use crate::evidence::folder::Evidence;
    use crate::judge::Expectations;
    use crate::judge::tests::authority;
    use crate::judge::tests::twin::{Twin, expectations as of_twin};
    use crate::policy::Rules;
    use crate::verdict::Verdict;

    fn page(evidence: &Evidence, expected: &Expectations) -> String {
        html(evidence, &Verdict::of(evidence, expected))
    }

    /// A processor whose root is not the mock one.
    fn genoa() -> Twin {
        let mut twin = Twin::new();
        twin.become_of(&authority::genoa());
        twin
    }

    fn expectations() -> Expectations {
        let rules = Rules { roots: authority::roots(), ..Rules::default() };
        Expectations { rules, ..of_twin() }
    }

    /// Titles and classes of the links, in order.
    fn links(page: &str) -> Vec<(&str, &str)> {
        let sections = page.split("<section class=\"link ").skip(1);
        sections
            .map(|section| {
                let (class, rest) = section.split_once("\"><h3>").unwrap();
                (rest.split('<').next().unwrap(), class)
            })
            .collect()
    }

    #[test]
    fn what_is_proven_is_green_from_the_digest_to_the_events() {
        let evidence = Twin { boot_events: log("quiet"), ..genoa() }.evidence();
        let page = page(&evidence, &expectations());
        let titles = ["Launch digest", "Report", "EK", "AK", "Quote", "PCRs", "Events"];
        assert_eq!(links(&page), titles.map(|title| (title, "ok")));
        assert!(page.contains("<h1 class=\"ok\">verified</h1>") && page.contains("kernel_cmdline: quiet"));
    }

    #[test]
    fn what_is_not_proven_is_red_and_says_why() {
        let evidence = genoa().evidence();
        let nothing_said = Expectations { measurement: None, ..expectations() };
        let page_of_nobody = page(&evidence, &nothing_said);
        assert_eq!(links(&page_of_nobody)[..2], [("Launch digest", "bad"), ("Report", "ok")]);
        assert!(page_of_nobody.contains("<li>the launch digest is the collector's own word"));
        let mut replayed = evidence.clone();
        replayed.quote_nonce[0] ^= 1;
        let page_of_old = page(&replayed, &expectations());
        let classes: Vec<&str> = links(&page_of_old).into_iter().map(|(_, class)| class).collect();
        assert_eq!(classes, ["ok", "ok", "ok", "ok", "bad", "bad", "bad"]);
        assert!(page_of_old.contains("<li>quote nonce: extraData is") && page_of_old.contains("class=\"unproven\""));
        // A reader need not scroll for the reason, nor read it again for each step behind it.
        assert!(page_of_old.contains("<p class=\"bad\"><strong>quote nonce: </strong>extraData is"));
        assert!(page_of_old.contains("<li>PCR selection, PCR digest: not judged, since quote nonce has failed</li>"));
        let alone = genoa().report_alone();
        let page_of_report = page(&alone, &expectations());
        assert!(page_of_report.contains("<li>quote signature: no quote</li>"));
        assert_eq!(links(&page_of_report)[3], ("AK", "bad"));
        let mut of_operator = expectations();
        of_operator.development_root = true;
        let page_of_operator = page(&Twin::new().of_the_operator(), &of_operator);
        assert_eq!(links(&page_of_operator)[2], ("EK", "bad"), "its authority is nobody's");
        assert!(page_of_operator.contains("<li>nobody vouches for the authority"));
        let page_of_mock = page(&Twin::new().evidence(), &expectations());
        assert_eq!(links(&page_of_mock)[1], ("Report", "bad"), "its key is public");
    }

    #[test]
    fn nothing_in_the_evidence_is_markup_and_nothing_is_fetched_or_run() {
        let twin = Twin { boot_events: log("<script>alert(1)</script>\" onload=\"x"), ..genoa() };
        let page = page(&twin.evidence(), &expectations());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        for word in ["<script", "http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    /// With `QUOIN_RECORD=DIR` the pages are written there, to be looked at.
    #[test]
    fn pages_are_whole() {
        let evidence = Twin { boot_events: log("quiet mitigations=auto"), ..genoa() }.evidence();
        let mut wrong = evidence.clone();
        wrong.answer[0] ^= 1;
        let nobody = Expectations { measurement: None, ..expectations() };
        for (name, evidence, expected) in [
            ("verified", &evidence, expectations()),
            ("refused", &wrong, expectations()),
            ("consistent", &evidence, nobody),
        ] {
            let page = page(evidence, &expected);
            assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
            if let Some(folder) = std::env::var_os("QUOIN_RECORD") {
                std::fs::write(std::path::Path::new(&folder).join(format!("{name}.html")), &page).unwrap();
            }
        }
    }
}
