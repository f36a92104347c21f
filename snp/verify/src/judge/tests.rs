//! Each step is the one that fails when what it judges is wrong and everything else is right, signatures included.

pub(crate) mod authority;
pub(crate) mod issuer;
pub(crate) mod refusals;
pub(crate) mod twin;
pub(crate) mod vtpm;

use super::{Expectations, STEPS, Step, certified, verify};
use crate::evidence::boot_log::tests::{log, of_ovmf};
use crate::evidence::boot_log::{Expected, OfImage};
use crate::evidence::event_log::{Event, EventLog, initial_pcrs};
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::ima::tests::list;
use crate::evidence::wire::{Curve, Key, PCR_COUNT, Public, alg, attribute, sha256_selection, tpm2b};
use crate::evidence::{credential, template, userspace};
use crate::flips::flips;
#[cfg(feature = "program")]
use crate::program::judge;
use crate::verdict::Verdict;
use core::time::Duration;
use std::collections::BTreeMap;
#[cfg(feature = "program")]
use std::process::ExitCode;
use std::time::SystemTime;
use twin::{RH_OWNER, Twin, expectations, point};

/// The step that must fail, what is wrong, and how it becomes so.
type Wrong<T> = (Step, &'static str, fn(&mut T));

/// The step at which `evidence` is refused.
fn refused_at(evidence: &Evidence, expectations: &Expectations) -> Option<Step> {
    verify(evidence, expectations, |_, _| {}).err().map(|failure| failure.step)
}

#[cfg(feature = "program")]
#[test]
fn evidence_without_an_expected_measurement_is_consistent_and_not_verified() {
    let evidence = Twin::new().evidence();
    assert_eq!(judge(&evidence, &expectations()), ExitCode::SUCCESS);
    let nothing_said = Expectations { measurement: None, policy: None, ..expectations() };
    assert_eq!(judge(&evidence, &nothing_said), ExitCode::from(3));
    assert_eq!(Verdict::of(&evidence, &expectations()).conclusion(), ("verified: ", String::from("20 steps ok")));
    let (head, text) = Verdict::of(&evidence, &nothing_said).conclusion();
    assert_eq!(head, "consistent, not verified: ");
    assert!(text.contains("--igvm") && text.contains("--measurement"), "{text}");
}

#[test]
fn genuine_evidence_is_verified_step_by_step() {
    let mut steps = Vec::new();
    let verdict = verify(&Twin::new().evidence(), &expectations(), |step, _| steps.push(step));
    assert!(verdict.is_ok(), "{verdict:?}");
    assert_eq!(steps, STEPS.map(|(step, ..)| step)[..20]);
}

#[test]
fn every_flipped_bit_is_refused_at_the_right_step() {
    let evidence = Twin::new().evidence();
    let expectations = expectations();
    let wrong: Vec<_> = flips(&evidence, &expectations).map(|flips| flips.outcome.err()).collect();
    assert!(wrong.len() == 21 && wrong.iter().all(Option::is_none), "{wrong:?}");
}

/// Everything is derived again, and signed, after the twin was changed.
#[test]
fn what_is_wrong_and_signed_fails_at_its_own_step() {
    const CASES: &[Wrong<Twin>] = &[
        (Step::ReportFormat, "version 2", |twin| twin.report[0] = 2),
        (Step::ReportFormat, "version 6", |twin| twin.report[0] = 6),
        (Step::ReportFormat, "another algorithm", |twin| twin.report[0x34] = 2),
        (Step::ReportFormat, "bytes behind R", |twin| twin.report[0x2D0] = 1),
        (Step::ReportFormat, "bytes behind the signature", |twin| twin.report[0x49F] = 1),
        (Step::ReportSignature, "another chip's key", |twin| {
            twin.vcek = p384::ecdsa::SigningKey::from_slice(&[0x21; 48]).unwrap();
        }),
        (Step::Chip, "another chip", |twin| twin.report[0x1A0] ^= 1),
        (Step::Chip, "an older TCB than the certificate's", |twin| twin.report[0x186] -= 1),
        (Step::Vmpl, "the operating system's own report", |twin| twin.report[0x30] = 2),
        (Step::Policy, "debugging", |twin| twin.report[0x0A] |= 1 << 3),
        (Step::Policy, "another policy than expected", |twin| twin.report[0x0A] &= !1),
        (Step::Tcb, "reported above committed", |twin| twin.report[0x1E6] -= 1),
        (Step::Tcb, "committed above current", |twin| twin.report[0x3E] -= 1),
        (Step::Measurement, "another image", |twin| twin.report[0x90] ^= 1),
        (Step::EndorsementKey, "an EK that may leave its TPM", |twin| {
            twin.ek_public.attributes &= !attribute::FIXED_TPM;
        }),
        (Step::EndorsementKey, "an EK that a password opens", |twin| twin.ek_public.policy = vec![0; 32]),
        (Step::AttestationKey, "an AK that signs anything", |twin| {
            twin.ak_public.attributes &= !attribute::RESTRICTED;
        }),
        (Step::AttestationKey, "an AK that was imported", |twin| {
            twin.ak_public.attributes &= !attribute::FIXED_PARENT;
        }),
        (Step::AttestationKey, "no point of the curve", |twin| {
            twin.ak_public.key = Key::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![1; 32] };
        }),
        (Step::QuoteSignature, "another key's quote", |twin| {
            twin.ak = p256::ecdsa::SigningKey::from_slice(&[0x33; 32]).unwrap();
        }),
        (Step::QuoteType, "not made by a TPM", |twin| twin.quote.magic = 0xFF54_4348),
        (Step::QuoteType, "no quote but a certification", |twin| twin.quote.kind = 0x8017),
        (Step::QuoteSigner, "in the owner's hierarchy", |twin| twin.quote.hierarchy = RH_OWNER),
        (Step::QuoteNonce, "an old quote", |twin| twin.quote.extra_data[31] ^= 1),
        (Step::QuoteNonce, "no nonce", |twin| twin.quote.extra_data.clear()),
        (Step::PcrSelection, "PCR 8 left out", |twin| twin.quote.selection = sha256_selection(0x00FF_FEFF)),
        (Step::PcrSelection, "no PCRs", |twin| twin.quote.selection = vec![0; 4]),
        (Step::PcrSelection, "the SHA-1 bank", |twin| twin.quote.selection[5] = 4),
        (Step::PcrDigest, "other PCRs", |twin| twin.quote.digest_flip = 1),
        (Step::EventLog, "one event more", |twin| {
            twin.log.events.push(Event { pcr: 4, data: b"a boot loader that nobody expects".to_vec() });
        }),
    ];
    for (step, what, change) in CASES {
        let mut twin = Twin::new();
        change(&mut twin);
        assert_eq!(refused_at(&twin.evidence(), &expectations()), Some(*step), "{what}");
    }
}

/// Wrong in the folder alone: who writes it has no key.
#[test]
fn what_is_exchanged_in_the_folder_fails_at_its_own_step() {
    const CASES: &[Wrong<Evidence>] = &[
        (Step::Root, "another root", |evidence| evidence.ark = evidence.ask.clone()),
        (Step::Chain, "no intermediate", |evidence| evidence.ask = evidence.ark.clone()),
        (Step::Chain, "the ASK as VCEK", |evidence| evidence.vcek = evidence.ask.clone()),
        (Step::Chain, "a byte behind a certificate", |evidence| evidence.vcek.push(0)),
        (Step::Chain, "no certificate table", |evidence| evidence.certificates.clear()),
        (Step::ReportFormat, "a short report", |evidence| evidence.report.truncate(0x2A0)),
        (Step::ReportFormat, "a long report", |evidence| evidence.report.push(0)),
        (Step::Measurement, "the collector expected another image", |evidence| evidence.measurement[0] ^= 1),
        (Step::ReportData, "another EK", |evidence| evidence.manifest[100] ^= 1),
        (Step::ReportData, "a short nonce", |evidence| evidence.nonce.truncate(63)),
        (Step::AttestationKey, "another AK", |evidence| {
            let other = p256::ecdsa::SigningKey::from_slice(&[0x44; 32]).unwrap();
            evidence.ak = tpm2b(&Public { key: point(&other), ..template::ak_p256() }.to_bytes());
        }),
        (Step::Credential, "no answer", |evidence| evidence.answer.clear()),
        (Step::Credential, "a wrong answer", |evidence| evidence.answer[0] ^= 1),
        (Step::Credential, "a challenge for another EK", |evidence| {
            let secrets = Twin::new().secrets;
            let mut modulus = vec![0xC5; 256];
            modulus[255] = 0x01;
            let ek = Public { key: Key::Rsa { bits: 2048, modulus }, ..template::ek_rsa_2048() };
            evidence.encrypted_seed = credential::make(&ek, &evidence.ak_name, &secrets).unwrap().encrypted_seed;
        }),
        (Step::QuoteSignature, "a bit of clockInfo", |evidence| evidence.quote[80] ^= 1),
        (Step::PcrDigest, "PCRs in another order", |evidence| evidence.pcrs.rotate_left(32)),
        (Step::PcrDigest, "a PCR too few", |evidence| evidence.pcrs.truncate((PCR_COUNT - 1) * 32)),
        (Step::EventLog, "no events", |evidence| {
            evidence.events = EventLog { banks: vec![alg::SHA256], events: Vec::new() }.to_bytes().unwrap();
        }),
    ];
    for (step, what, change) in CASES {
        let mut evidence = Twin::new().evidence();
        change(&mut evidence);
        assert_eq!(refused_at(&evidence, &expectations()), Some(*step), "{what}");
    }
}

#[test]
fn a_boot_that_the_image_measures_must_be_in_the_log() {
    let evidence = Twin::new().evidence();
    let event = |name: &str| Expected { pcr: 8, kind: 13, digests: BTreeMap::new(), data: None, name: name.into() };
    let mut expected = Expectations { boot_events: Some(OfImage::default()), ..expectations() };
    assert_eq!(refused_at(&evidence, &expected), None, "an image that measures nothing");
    expected.boot_events = Some(OfImage { events: vec![event("`kernel_cmdline: quiet`")], others_follow: false });
    let failure = verify(&evidence, &expected, |_, _| {}).unwrap_err();
    assert_eq!(failure.step, Step::EventLog);
    assert!(failure.why.to_string().starts_with("PCR 8, event 1 (`kernel_cmdline: quiet`) is not"), "{}", failure.why);
}

#[test]
fn what_ima_has_measured_begins_with_the_boot_and_leads_to_pcr_10() {
    let twin = Twin { ima: list(&initial_pcrs()), ..Twin::new() };
    let mut evidence = twin.evidence();
    assert_eq!(refused_at(&evidence, &expectations()), None);
    evidence.ima.clear();
    assert_eq!(refused_at(&evidence, &expectations()), Some(Step::EventLog), "without the list");
    let other_boot = Twin { ima: list(&[[9; 32]; PCR_COUNT]), ..Twin::new() }.evidence();
    let failure = verify(&other_boot, &expectations(), |_, _| {}).unwrap_err();
    assert!(failure.why.to_string().contains("boot_aggregate"), "{}", failure.why);
}

#[test]
fn a_list_that_goes_on_after_a_quote_is_taken_up_to_it() {
    let twin = Twin { ima: list(&initial_pcrs()), ..Twin::new() };
    let mut evidence = twin.azure();
    evidence.ima.extend(list(&[[1; 32]; PCR_COUNT]));
    let verdict = Verdict::of(&evidence, &expectations());
    let says = verdict.to_json()["steps"][19]["says"].as_str().unwrap().to_owned();
    assert_eq!(
        says,
        "0 events and 2 measurements of IMA (2 more are later than the quote, and not proven) lead to 1 quoted PCRs"
    );
    assert_eq!(verdict.events.len(), 2, "those that are proven");
}

#[test]
fn records_of_systemds_lead_on_from_the_boot_and_are_taken_up_to_the_quote() {
    let twin = Twin { boot_events: of_ovmf(), userspace: userspace::tests::log(), ..Twin::new() };
    for mut evidence in [twin.azure(), twin.evidence()] {
        assert_eq!(refused_at(&evidence, &expectations()), None);
        let later = userspace::tests::record("\"pcr\":11", "ready", "phase", None);
        evidence.userspace.extend(later.as_bytes());
        let verdict = Verdict::of(&evidence, &expectations());
        if evidence.kind == Kind::Quoin {
            assert_eq!(refused_at(&evidence, &expectations()), Some(Step::EventLog), "all must lead to it");
            continue;
        }
        let says = verdict.to_json()["steps"][19]["says"].as_str().unwrap().to_owned();
        assert!(says.contains(" and 4 records of systemd (1 more are later than the quote, and not proven)"), "{says}");
        let kinds: Vec<&str> = verdict.events.iter().map(|event| event.kind.as_str()).collect();
        let own = ["systemd phase", "systemd volume-key", "systemd nvpcr-init", "systemd phase"];
        assert!(kinds.ends_with(&own), "{kinds:?}");
    }
}

/// A TPM that was asked over its TCTI, with and without what vouches for it.
#[test]
fn a_tpm_alone_is_verified_by_its_eks_certificate_or_by_a_report() {
    let outcome = |evidence: &Evidence, brought: fn(&mut Expectations)| {
        let mut expected = Expectations { measurement: None, policy: None, ..expectations() };
        brought(&mut expected);
        let verdict = Verdict::of(evidence, &expected);
        (verdict.status(), verdict.missing.len(), verdict.failed().map(|finding| format!("{:?}", finding.state)))
    };
    let nothing: fn(&mut Expectations) = |_| {};
    let rooted: fn(&mut Expectations) = |expected| expected.rules.ek_roots = vec![issuer::ek_root()];
    let measured: fn(&mut Expectations) = |expected| expected.measurement = Some(twin::measurement());
    let twin = Twin { boot_events: log("quiet"), ..Twin::new() };
    assert_eq!(outcome(&twin.tpm(), nothing), (3, 1, None));
    assert_eq!(outcome(&twin.tpm(), rooted), (0, 0, None));
    assert_eq!(outcome(&twin.tpm_with_report(), nothing), (3, 1, None));
    assert_eq!(outcome(&twin.tpm_with_report(), measured), (0, 0, None));
    assert_eq!(outcome(&twin.tpm(), measured).0, 18, "there is nothing that has this launch digest");
    let bare = Evidence { ek_certificate: Vec::new(), ek_chain: Vec::new(), ..twin.tpm() };
    assert_eq!(outcome(&bare, nothing), (3, 1, None));
    assert_eq!(outcome(&bare, rooted).0, 30);
    let issuer_as_root: fn(&mut Expectations) = |expected| expected.rules.ek_roots = vec![issuer::ek_issuer()];
    assert_eq!(outcome(&twin.tpm(), issuer_as_root), (0, 0, None));
    let verdict = Verdict::of(&twin.tpm(), &Expectations { measurement: None, policy: None, ..expectations() });
    let says = verdict.to_json()["steps"][20]["says"].as_str().unwrap().to_owned();
    assert_eq!(says, "issued by CN=EK issuer, which is issued by CN=EK root; nobody says that this is right");
}

#[test]
fn what_a_tpm_has_answered_is_judged_again_from_its_folder() {
    let folder = host::qemu::Folder::new().unwrap();
    for evidence in [Twin::new().tpm(), Twin { boot_events: log("quiet"), ..Twin::new() }.tpm_with_report()] {
        evidence.write(folder.path()).unwrap();
        assert_eq!(crate::input::read(folder.path(), &[]).unwrap(), evidence);
    }
}

#[test]
fn an_ak_below_the_ek_signs_as_one_below_it() {
    let mut evidence = Twin::new().tpm();
    let (ak, ek) = (Public::parse_tpm2b(&evidence.ak).unwrap(), Public::parse(&evidence.manifest).unwrap());
    let own = ak.endorsement_qualified_name();
    let at = evidence.quote.windows(own.len()).position(|name| name == own).unwrap();
    evidence.quote[at..at + own.len()].copy_from_slice(&ak.qualified_name_below(&ek));
    evidence.quote_signature = Twin::new().sign(&evidence.quote);
    let mut said = String::new();
    let expected = Expectations { measurement: None, policy: None, ..expectations() };
    verify(&evidence, &expected, |step, words| {
        if step == Step::QuoteSigner {
            said = words.into()
        }
    })
    .unwrap();
    assert_eq!(said, "the AK, below the EK");
}

#[test]
fn an_object_is_certified_by_the_ak_and_by_its_name() {
    let mut twin = Twin::new();
    let evidence = twin.evidence();
    let object = |last| Public {
        key: Key::Ecc { curve: Curve::P256, x: vec![1; 32], y: vec![last; 32] },
        ..template::ak_p256()
    };
    let public = |last| tpm2b(&object(last).to_bytes());
    twin.quote.kind = 0x8017;
    twin.quote.selection = tpm2b(&object(1).name());
    let attest = twin.attest(&[]);
    let signature = twin.sign(&attest);
    certified(&evidence, &public(1), &attest, &signature).unwrap();
    let refused = |public: &[u8], attest: &[u8], signature: &[u8]| {
        certified(&evidence, public, attest, signature).unwrap_err().to_string()
    };
    assert!(refused(&public(2), &attest, &signature).contains("the certified Name"), "another object");
    assert!(refused(&public(1), &evidence.quote, &signature).contains("signature"), "another message");
    assert!(refused(&public(1), &evidence.quote, &evidence.quote_signature).contains("not a certification"));
    twin.quote.magic = 0;
    let attest = twin.attest(&[]);
    assert!(refused(&public(1), &attest, &twin.sign(&attest)).contains("magic"));
}

#[test]
fn what_the_verifier_brings_counts() {
    let evidence = Twin::new().evidence();
    let step = |change: fn(&mut Expectations)| {
        let mut expected = expectations();
        change(&mut expected);
        refused_at(&evidence, &expected)
    };
    assert_eq!(step(|expected| expected.development_root = false), Some(Step::Root), "the mock root by default");
    assert_eq!(step(|expected| expected.now = SystemTime::UNIX_EPOCH), Some(Step::Chain), "before the certificates");
    assert_eq!(step(|expected| expected.now += Duration::from_secs(3_000_000_000)), Some(Step::Chain), "after them");
    assert_eq!(step(|expected| expected.policy = Some(0x2_0000)), Some(Step::Policy));
    assert_eq!(step(|expected| expected.policy = None), None);
    assert_eq!(step(|expected| expected.measurement = Some([0; 48])), Some(Step::Measurement));
    assert_eq!(step(|expected| expected.measurement = None), None, "the collector's word");
}
