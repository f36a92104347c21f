//! What is refused, and at which exit status: a test each, and the table of docs/refusals.md, which a test compares
//! with what the verifier says.
//!
//! Where a case changes the evidence, the same rules must accept it unchanged.

use super::authority::{self, Crl};
use super::issuer;
use super::twin::{Twin, expectations};
use super::vtpm;
use crate::digest::hex;
use crate::evidence::boot_log::device_path::tests::wide;
use crate::evidence::boot_log::tests::{log, of_ovmf, of_sm3, sha1, written};
use crate::evidence::event_log::initial_pcrs;
use crate::evidence::folder::Evidence;
use crate::evidence::ima::signature::tests::signed_file;
use crate::evidence::ima::tests::{list, padded, sha1_aggregate};
use crate::evidence::manifest::tests::KEPT;
use crate::evidence::manifest::{Kept, flag};
use crate::evidence::wire::attribute;
use crate::evidence::{carried, manifest, services, userspace};
use crate::judge::{Expectations, Step};
use crate::memory::Memory;
use crate::policy::{Image, Policy, Rules};
use crate::testing::{Header, igvm};
use crate::verdict::Verdict;
use sha2::{Digest, Sha256, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::KeyUsages;

/// A wrong thing and the rules by which it is judged.
struct Case {
    step: Step,
    /// In words.
    what: &'static str,
    policy: String,
    base: fn() -> Twin,
    kind: fn(&Twin) -> Evidence,
    twin: Option<fn(&mut Twin)>,
    evidence: Option<fn(&mut Evidence)>,
    brought: fn(&mut Expectations),
}

fn case(step: Step, what: &'static str) -> Case {
    let base = Twin::new;
    Case { step, what, policy: String::new(), base, kind: Twin::evidence, twin: None, evidence: None, brought: |_| {} }
}

impl Case {
    /// Lines of a policy file, behind its version.
    fn policy(mut self, text: impl Into<String>) -> Self {
        self.policy = text.into();
        self
    }

    fn base(mut self, base: fn() -> Twin) -> Self {
        self.base = base;
        self
    }

    fn of(mut self, kind: fn(&Twin) -> Evidence) -> Self {
        self.kind = kind;
        self
    }

    fn twin(mut self, change: fn(&mut Twin)) -> Self {
        self.twin = Some(change);
        self
    }

    fn evidence(mut self, change: fn(&mut Evidence)) -> Self {
        self.evidence = Some(change);
        self
    }

    fn brought(mut self, change: fn(&mut Expectations)) -> Self {
        self.brought = change;
        self
    }

    fn verdict(&self, changed: bool) -> Verdict {
        let mut twin = (self.base)();
        if let Some(change) = self.twin.filter(|_| changed) {
            change(&mut twin);
        }
        let mut evidence = (self.kind)(&twin);
        if let Some(change) = self.evidence.filter(|_| changed) {
            change(&mut evidence);
        }
        let policy = Policy::parse(&format!("version = 1\n{}", self.policy)).unwrap();
        let rules = Rules { policy, roots: authority::roots(), ..Rules::default() };
        let mut expected = Expectations { rules, policy: None, ..expectations() };
        (self.brought)(&mut expected);
        Verdict::of(&evidence, &expected)
    }

    /// It is refused at its step with that step's status, and was accepted before it was changed.
    fn judge(&self) {
        let verdict = self.verdict(true);
        let failed = verdict.failed().map(|finding| finding.step);
        assert_eq!(failed, Some(self.step), "{}: {verdict:?}", self.what);
        assert_eq!(verdict.status(), self.step.status());
        if self.twin.is_some() || self.evidence.is_some() {
            let before = self.verdict(false);
            assert_eq!(before.status(), 0, "{}, unchanged: {before:?}", self.what);
        }
    }

    /// A row of the table.
    fn row(&self) -> String {
        let verdict = self.verdict(true);
        let text = verdict.to_json();
        let steps = text["steps"].as_array().unwrap();
        let says = steps.iter().find(|step| step["state"] == "failed").unwrap()["says"].as_str().unwrap().to_owned();
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', "; ");
        let policy = if self.policy.is_empty() { String::new() } else { format!("`{}`", short(&cell(&self.policy))) };
        let (step, what, status) = (self.step, cell(self.what), verdict.status());
        format!("| {step} | {policy} | {what} | {} | {status} |", short(&cell(&says)))
    }
}

/// Long digests have their first digits.
fn short(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split(' ') {
        let digits = word.trim_matches(|letter: char| !letter.is_ascii_hexdigit());
        let long = digits.len() > 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        words.push(if long { word.replace(digits, &format!("{}…", &digits[..16])) } else { word.to_owned() });
    }
    words.join(" ")
}

/// Each refusal's name and verdict.
pub(crate) fn verdicts() -> impl Iterator<Item = (&'static str, Verdict)> {
    all().into_iter().map(|case| (case.what, case.verdict(true)))
}

macro_rules! refusals {
    ($($name:ident: $case:expr;)*) => {
        fn all() -> Vec<Case> {
            vec![$($case),*]
        }
        $(#[test]
        fn $name() {
            $case.judge();
        })*
    };
}

fn genoa() -> Twin {
    let mut twin = Twin::new();
    twin.become_of(&authority::genoa());
    twin
}

fn turin() -> Twin {
    let mut twin = Twin::new();
    twin.become_of(&authority::turin());
    twin
}

fn vlek() -> Twin {
    let mut twin = Twin::new();
    twin.become_of(&authority::vlek());
    twin
}

/// A report without mitigation vectors.
fn version_4() -> Twin {
    let mut twin = Twin::new();
    twin.report[0] = 4;
    twin
}

/// A report with mitigation vectors.
fn version_5() -> Twin {
    let mut twin = Twin::new();
    twin.report[0] = 5;
    (twin.report[0x1F8], twin.report[0x200]) = (0x03, 0x07);
    twin
}

/// A report over all services, of which one names these weaknesses.
fn naming(twin: &Twin, weaknesses: &[(&str, &str)]) -> Evidence {
    twin.over(services::tests::with_weaknesses(&twin.ek_public.to_bytes(), weaknesses))
}

/// A boot that has measured a command line.
fn booted() -> Twin {
    Twin { boot_events: log("quiet mitigations=auto"), ..Twin::new() }
}

/// The verifier knows who is above EK certificates, and compares nothing that a report would have.
fn rooted(expected: &mut Expectations) {
    (expected.measurement, expected.policy) = (None, None);
    expected.rules.ek_roots = vec![issuer::ek_root()];
}

/// A boot through OVMF, GRUB and a stub.
fn through_ovmf() -> Twin {
    Twin { boot_events: of_ovmf(), ..Twin::new() }
}

/// A boot whose Linux has measured.
fn measuring() -> Twin {
    Twin { ima: list(&initial_pcrs()), ..Twin::new() }
}

/// A kernel that has extended the SHA-256 bank by SHA-1.
fn old_kernel() -> Twin {
    let mut log = written(&[(10, 13, vec![1], vec![0xFF])]);
    exchange(&mut log, &Sha256::digest([1]), &padded(&initial_pcrs()));
    Twin { boot_events: log, ..Twin::new() }
}

/// A boot whose Linux has measured a signed file.
fn signing(signed: &[u8; 32]) -> Twin {
    let list = [list(&initial_pcrs()), signed_file(signed)].concat();
    Twin { ima: list, ..Twin::new() }
}

/// A boot whose systemd has measured.
fn with_systemd() -> Twin {
    Twin { boot_events: of_ovmf(), userspace: userspace::tests::log(), ..Twin::new() }
}

fn exchange(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let at = bytes.windows(from.len()).position(|part| part == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

fn without_a_quote(evidence: &mut Evidence) {
    [&mut evidence.quote, &mut evidence.quote_signature, &mut evidence.pcrs].into_iter().for_each(Vec::clear);
}

fn remembering(states: &[Kept]) -> Memory {
    let mut memory = Memory::default();
    states.iter().for_each(|said| memory.remember(said));
    memory
}

fn with_a_list(expected: &mut Expectations) {
    expected.rules.crls = vec![Crl::default().der()];
}

refusals! {
    another_root: case(Step::Root, "a root that nobody named").evidence(|evidence| evidence.ark = evidence.ask.clone());
    the_mock_root_unasked:
        case(Step::Root, "the mock root, whose chip key is public")
            .brought(|expected| expected.development_root = false);
    a_root_that_is_named_by_another_digest:
        case(Step::Root, "a root with another SHA-256")
            .base(genoa)
            .policy(format!("roots.sha256 = [\"{}\"]", "00".repeat(32)))
            .brought(|expected| expected.rules.roots.clear());
    a_chain_of_another_generation:
        case(Step::Chain, "a VCEK that another ASK has signed")
            .base(genoa)
            .evidence(|evidence| evidence.vcek = authority::turin().identity.vcek);
    a_byte_behind_a_certificate: case(Step::Chain, "a byte behind the VCEK").evidence(|evidence| evidence.vcek.push(0));
    a_key_for_chip_and_provider:
        case(Step::Chain, "a certificate for a chip and a provider")
            .twin(|twin| twin.become_of(&authority::both()));
    a_key_for_nobody: case(Step::Chain, "a certificate for neither").twin(|twin| twin.become_of(&authority::nobody()));
    a_version_of_the_future: case(Step::ReportFormat, "version 6").twin(|twin| twin.report[0] = 6);
    a_field_of_version_5_in_version_3:
        case(Step::ReportFormat, "a mitigation vector in version 3")
            .twin(|twin| twin.report[0x1F8] = 1);
    a_field_of_version_5_in_version_4:
        case(Step::ReportFormat, "a mitigation vector in version 4")
            .base(version_4)
            .twin(|twin| twin.report[0x200] = 1);
    a_processor_of_version_4_under_anothers_root:
        case(Step::Chip, "a report of version 4, of a Milan under Genoa's root")
            .base(|| { let mut twin = genoa(); twin.report[0] = 4; twin })
            .twin(|twin| twin.report[0x189] = 0x01);
    a_processor_that_is_unknown:
        case(Step::ReportFormat, "a processor of another family")
            .twin(|twin| twin.report[0x188] = 0x17);
    a_report_by_another_chip:
        case(Step::ReportSignature, "another chip's signature")
            .twin(|twin| twin.vcek = p384::ecdsa::SigningKey::from_slice(&[0x21; 48]).unwrap());
    a_chip_that_the_certificate_does_not_name: case(Step::Chip, "another CHIP_ID").twin(|twin| twin.report[0x1A0] ^= 1);
    a_level_that_the_certificate_does_not_name:
        case(Step::Chip, "an SNP firmware of another level")
            .twin(|twin| twin.report[0x186] -= 1);
    a_level_of_turin_that_the_certificate_does_not_name:
        case(Step::Chip, "an FMC of another level")
            .base(turin)
            .twin(|twin| twin.report[0x180] = 0);
    a_processor_under_anothers_root:
        case(Step::Chip, "a Milan under Genoa's root")
            .base(genoa)
            .twin(|twin| twin.report[0x189] = 0x01);
    a_report_that_says_vlek_under_a_vcek:
        case(Step::Chip, "a report that says VLEK, a VCEK's certificate")
            .of(Twin::report_alone)
            .twin(|twin| twin.report[0x48] = 4);
    the_operating_systems_own_report: case(Step::Vmpl, "asked for at VMPL 2").twin(|twin| twin.report[0x30] = 2);
    a_guest_that_can_be_debugged: case(Step::Policy, "DEBUG allowed").twin(|twin| twin.report[0x0A] |= 1 << 3);
    a_guest_with_a_migration_agent: case(Step::Policy, "MIGRATE_MA allowed").twin(|twin| twin.report[0x0A] |= 1 << 2);
    a_firmware_that_can_go_back: case(Step::Tcb, "reported above committed").twin(|twin| twin.report[0x1E6] -= 1);
    another_image: case(Step::Measurement, "another launch digest").twin(|twin| twin.report[0x90] ^= 1);
    none_of_the_policys_digests:
        case(Step::Measurement, "a launch digest that is not among them")
            .policy(format!("launch.digests = [\"{}\"]", "00".repeat(48)))
            .brought(|expected| expected.measurement = None);
    none_of_the_policys_images: case(Step::Measurement, "no image of the policy's").brought(|expected| {
        expected.measurement = None;
        expected.rules.images = vec![Image::new("an.igvm".into(), &igvm(&[Header::Vmsa])).unwrap()];
    });
    an_ek_that_the_report_does_not_name:
        case(Step::ReportData, "another EK")
            .evidence(|evidence| evidence.manifest[100] ^= 1);
    a_report_for_another_challenge:
        case(Step::ReportData, "a nonce that is not the verifier's")
            .brought(|expected| expected.nonce = Some(vec![0; 64]));
    claims_that_the_report_does_not_name:
        case(Step::ReportData, "claims with a changed bit")
            .of(Twin::azure)
            .evidence(|evidence| evidence.claims[12] ^= 1);
    claims_for_another_challenge:
        case(Step::ReportData, "user data that are not the verifier's nonce")
            .of(Twin::azure)
            .brought(|expected| expected.nonce = Some(vec![1; 64]));
    a_report_alone_for_another_challenge:
        case(Step::ReportData, "REPORT_DATA that is not the nonce")
            .of(Twin::report_alone)
            .evidence(|evidence| evidence.nonce[0] ^= 1);
    an_ek_that_may_leave:
        case(Step::EndorsementKey, "an EK without fixedTPM")
            .twin(|twin| twin.ek_public.attributes &= !attribute::FIXED_TPM);
    an_ak_that_signs_anything:
        case(Step::AttestationKey, "an AK that is not restricted")
            .twin(|twin| twin.ak_public.attributes &= !attribute::RESTRICTED);
    a_challenge_that_was_not_answered:
        case(Step::Credential, "a wrong answer")
            .evidence(|evidence| evidence.answer[0] ^= 1);
    a_quote_with_a_flipped_bit:
        case(Step::QuoteSignature, "a bit of the quote's clock")
            .evidence(|evidence| evidence.quote[80] ^= 1);
    a_quote_by_a_key_that_the_claims_do_not_name:
        case(Step::QuoteSignature, "a quote by another RSA key")
            .of(Twin::azure)
            .evidence(|evidence| {
        let last = evidence.quote_signature.len() - 1;
        evidence.quote_signature[last] ^= 1;
    });
    what_is_signed_and_no_quote: case(Step::QuoteType, "a certification").twin(|twin| twin.quote.kind = 0x8017);
    a_quote_from_another_hierarchy:
        case(Step::QuoteSigner, "an AK of the owner's hierarchy")
            .twin(|twin| twin.quote.hierarchy = 0x4000_0001);
    a_quote_for_another_challenge:
        case(Step::QuoteNonce, "a nonce that is not the verifier's")
            .brought(|expected| expected.quote_nonce = Some(vec![0; 32]));
    a_quote_of_some_pcrs: case(Step::PcrSelection, "PCR 8 left out").twin(|twin| twin.quote.selection[8] = 0xFE);
    a_quote_of_no_pcrs:
        case(Step::PcrSelection, "no PCR at all")
            .of(Twin::azure)
            .twin(|twin| twin.quote.selection[7..].fill(0));
    pcrs_that_were_not_quoted:
        case(Step::PcrDigest, "PCR values in another order")
            .evidence(|evidence| evidence.pcrs.rotate_left(32));
    a_log_that_leads_elsewhere:
        case(Step::EventLog, "no events")
            .evidence(|evidence| evidence.boot_events = log("quiet"));

    a_log_in_the_older_format:
        case(Step::EventLog, "a log in the SHA-1 format of TPM 1.2")
            .base(through_ovmf)
            .evidence(|evidence| evidence.boot_events = sha1(8, b"1"));
    what_is_no_log:
        case(Step::EventLog, "a file that is no log")
            .base(through_ovmf)
            .evidence(|evidence| evidence.boot_events = sha1(0x6E6F_6E65, b"such"));
    a_log_of_another_bank:
        case(Step::EventLog, "a log of the SM3 bank alone")
            .base(through_ovmf)
            .evidence(|evidence| evidence.boot_events = of_sm3());
    a_locality_that_starts_nothing:
        case(Step::EventLog, "StartupLocality 2")
            .base(through_ovmf)
            .evidence(|evidence| exchange(&mut evidence.boot_events, b"Locality\0\x03", b"Locality\0\x02"));
    another_locality:
        case(Step::EventLog, "StartupLocality 0, of a TPM that was started at 3")
            .base(through_ovmf)
            .evidence(|evidence| exchange(&mut evidence.boot_events, b"Locality\0\x03", b"Locality\0\x00"));
    a_variable_of_another_value:
        case(Step::EventLog, "SecureBoot, measured as on, in the log off")
            .base(through_ovmf)
            .of(Twin::azure)
            .evidence(|evidence| exchange(&mut evidence.boot_events, b"B\0o\0o\0t\0\x01", b"B\0o\0o\0t\0\x00"));
    an_action_of_other_words:
        case(Step::EventLog, "an action with another word than was measured")
            .base(through_ovmf)
            .of(Twin::azure)
            .evidence(|evidence| exchange(&mut evidence.boot_events, b"Calling", b"Falling"));
    an_event_that_is_left_out:
        case(Step::EventLog, "a log without its last event of PCR 9")
            .base(through_ovmf)
            .of(Twin::azure)
            .evidence(|evidence| {
        let at = evidence.boot_events.windows(4).rposition(|tag| tag == [0xEC, 0x22, 0x3B, 0x8F]).unwrap();
        evidence.boot_events.truncate(at - 50);
    });
    a_list_of_an_unknown_template:
        case(Step::EventLog, "a list of IMA with a template that is unknown")
            .base(measuring)
            .evidence(|evidence| exchange(&mut evidence.ima, b"ima-ng", b"ima-xx"));
    a_list_with_another_name:
        case(Step::EventLog, "a list of IMA with another name than was measured")
            .base(measuring)
            .evidence(|evidence| exchange(&mut evidence.ima, b"/init", b"/exit"));
    a_list_of_another_boot:
        case(Step::EventLog, "a list of IMA that begins with other PCRs")
            .base(measuring)
            .of(Twin::azure)
            .evidence(|evidence| evidence.ima = list(&[[9; 32]; 24]));
    a_list_that_leads_elsewhere:
        case(Step::EventLog, "a list of IMA with the quote of nothing")
            .of(Twin::azure)
            .evidence(|evidence| evidence.ima = list(&initial_pcrs()));
    a_list_of_another_bank:
        case(Step::EventLog, "a boot_aggregate over SHA-1 PCRs")
            .of(Twin::azure)
            .evidence(|evidence| evidence.ima = sha1_aggregate());
    a_list_that_rests_on_sha_1:
        case(Step::EventLog, "a kernel that extends the SHA-256 bank by padded SHA-1")
            .of(Twin::azure)
            .base(Twin::new)
            .twin(|twin| *twin = old_kernel())
            .evidence(|evidence| { evidence.boot_events.clear(); evidence.ima = list(&initial_pcrs()); });

    a_file_with_a_wrong_signature:
        case(Step::EventLog, "a file whose signature is wrong, by the key that it names")
            .base(|| signing(&[7; 32]))
            .brought(|expected| expected.rules.ima_keys = vec![issuer::file_signer(1).1])
            .twin(|twin| *twin = signing(&[8; 32]));
    a_record_of_systemds_with_another_digest:
        case(Step::EventLog, "a record of systemd's with another digest than was measured")
            .base(with_systemd)
            .of(Twin::azure)
            .evidence(|evidence| {
        let digest = hex(&Sha256::digest(b"enter-initrd"));
        exchange(&mut evidence.userspace, digest.as_bytes(), hex(&[7; 32]).as_bytes());
    });
    a_record_of_systemds_that_is_left_out:
        case(Step::EventLog, "a log of systemd's without its first record")
            .base(with_systemd)
            .of(Twin::azure)
            .evidence(|evidence| {
        let second = evidence.userspace.iter().skip(1).position(|byte| *byte == 0x1E).unwrap();
        evidence.userspace.drain(..=second);
    });
    a_log_of_systemds_of_another_form:
        case(Step::EventLog, "a log of systemd's that is no sequence of records")
            .base(with_systemd)
            .of(Twin::azure)
            .evidence(|evidence| evidence.userspace[0] = b' ');
    no_log_of_systemds:
        case(Step::EventLog, "systemd has measured, and its log is not there")
            .base(with_systemd)
            .of(Twin::azure)
            .evidence(|evidence| evidence.userspace.clear());

    an_ek_certificate_of_another_tpm:
        case(Step::EkCertificate, "a certificate of another TPM's EK")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| evidence.ek_certificate = issuer::another_ek_certificate());
    an_ek_certificate_with_a_flipped_bit:
        case(Step::EkCertificate, "a bit of its signature")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| *evidence.ek_certificate.last_mut().unwrap() ^= 1);
    an_ek_certificate_that_is_none:
        case(Step::EkCertificate, "an NV Index that has no certificate")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| evidence.ek_certificate = vec![0xFF; 1024]);
    an_ek_without_a_certificate:
        case(Step::EkCertificate, "no certificate")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| evidence.ek_certificate.clear());
    an_ek_certificate_under_another_root:
        case(Step::EkCertificate, "a root of the same name, and another key")
            .of(Twin::tpm)
            .brought(|expected| { rooted(expected); expected.rules.ek_roots = vec![issuer::another_ek_root()]; });
    an_ek_certificate_without_its_issuers:
        case(Step::EkCertificate, "no certificate of its issuer")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| evidence.ek_chain.clear());
    an_issuer_that_may_not:
        case(Step::EkCertificate, "an issuer that is no authority")
            .of(Twin::tpm)
            .brought(rooted)
            .evidence(|evidence| evidence.ek_chain = issuer::ek_issuer_that_may_not());
    an_ek_certificate_that_is_over:
        case(Step::EkCertificate, "a certificate that is no longer valid")
            .of(Twin::tpm)
            .brought(|expected| {
        rooted(expected);
        expected.now += core::time::Duration::from_secs(300_000_000);
    });
    an_answer_without_the_report_that_is_wanted:
        case(Step::Measurement, "a TPM without a report, and a launch digest to compare")
            .of(Twin::tpm)
            .brought(|expected| expected.rules.ek_roots = vec![issuer::ek_root()]);
    an_ak_of_a_tpm_that_signs_anything:
        case(Step::AttestationKey, "a TPM's AK that is not restricted")
            .of(Twin::tpm)
            .brought(rooted)
            .twin(|twin| twin.ak_public.attributes &= !attribute::RESTRICTED);
    a_report_over_another_ek:
        case(Step::ReportData, "a report over this EK for another challenge")
            .of(Twin::tpm_with_report)
            .evidence(|evidence| evidence.nonce[0] ^= 1);
    a_report_that_is_required:
        case(Step::Parts, "a TPM without a report")
            .of(Twin::tpm)
            .policy("require = [\"report\"]")
            .brought(rooted);
    an_ek_certificate_that_is_required:
        case(Step::Parts, "a folder without a certificate of the EK")
            .policy("require = [\"ek-certificate\"]");

    a_log_without_a_quote:
        case(Step::Parts, "a log without a quote")
            .base(booted)
            .of(Twin::azure)
            .policy("require = [\"event-log\"]")
            .brought(|expected| expected.nonce = Some(vec![0x17; 64]))
            .evidence(without_a_quote);
    a_log_without_an_event:
        case(Step::Parts, "a log without an event")
            .base(booted)
            .of(Twin::azure)
            .policy("require = [\"event-log\"]")
            .evidence(|evidence| evidence.boot_events = written(&[]));
    a_challengers_log_that_nothing_judges:
        case(Step::Parts, "a TPM's folder whose one log is the challenger's")
            .base(booted)
            .of(Twin::tpm)
            .policy("require = [\"event-log\"]")
            .brought(rooted)
            .evidence(|evidence| evidence.events = core::mem::take(&mut evidence.boot_events));
    a_certificate_that_nobody_vouches_for:
        case(Step::Parts, "a certificate of an EK, and nobody says that its issuer is right")
            .of(Twin::tpm)
            .policy("require = [\"ek-certificate\"]")
            .brought(|expected| expected.measurement = None);
    a_certificate_of_an_ak_where_an_eks_is_required:
        case(Step::Parts, "a certificate of an AK")
            .of(Twin::certificate)
            .policy("require = [\"ek-certificate\"]");
    an_ek_that_is_required: case(Step::Parts, "a report without a TPM").of(Twin::report_alone).policy("require = [\"ek\"]");
    an_ek_that_nothing_names:
        case(Step::Parts, "a manifest, and no nonce by which REPORT_DATA would name it")
            .of(Twin::listed)
            .policy("require = [\"ek\"]")
            .evidence(|evidence| evidence.nonce.clear());
    an_ak_that_is_required: case(Step::Parts, "a manifest without an AK").of(Twin::listed).policy("require = [\"ak\"]");
    a_quotes_nonce_that_is_required:
        case(Step::Parts, "no nonce of the verifier's for the quote")
            .policy("require = [\"quote-nonce\"]");

    a_nonce_for_a_quote_that_is_not_there:
        case(Step::QuoteNonce, "a nonce for a quote, and a report alone")
            .of(Twin::report_alone)
            .brought(|expected| expected.quote_nonce = Some(vec![0x29; 32]));
    a_quote_in_part:
        case(Step::QuoteSignature, "a quote's signature without the quote")
            .of(Twin::azure)
            .evidence(|evidence| evidence.quote.clear());
    a_nonce_for_a_report_that_is_not_there:
        case(Step::ReportData, "a nonce for a report, and a TPM without one")
            .of(Twin::tpm)
            .brought(|expected| { rooted(expected); expected.nonce = Some(vec![0x17; 64]); });
    a_nonce_for_a_certificate:
        case(Step::ReportData, "a nonce, and a certificate, which answers none")
            .of(Twin::certificate)
            .brought(|expected| expected.nonce = Some(vec![0x17; 64]));
    keys_of_files_for_no_list:
        case(Step::EventLog, "certificates of keys that sign files, and no list of IMA")
            .base(booted)
            .brought(|expected| expected.rules.ima_keys = vec![issuer::file_signer(1).1]);
    keys_of_files_for_no_quote:
        case(Step::EventLog, "certificates of keys that sign files, and no quote")
            .base(measuring)
            .of(Twin::azure)
            .brought(|expected| {
        expected.nonce = Some(vec![0x17; 64]);
        expected.rules.ima_keys = vec![issuer::file_signer(1).1];
    })
            .evidence(without_a_quote);
    a_policy_for_a_report_that_is_not_there:
        case(Step::Policy, "a guest policy to compare, and a TPM without a report")
            .of(Twin::tpm)
            .brought(|expected| { rooted(expected); expected.policy = Some(0x3_0000); });
    roots_for_a_report_that_is_not_there:
        case(Step::Root, "a TPM without a report")
            .of(Twin::tpm)
            .policy("roots.amd = [\"milan\"]")
            .brought(rooted);
    a_vmpl_that_the_firmwares_report_has_not:
        case(Step::ReportRules, "a report over a TPM's EK, which is of VMPL 0")
            .policy("report.vmpl = 2");
    a_vcek_where_providers_are_named:
        case(Step::Endorsement, "a VCEK, which is for no provider")
            .policy("endorsement.providers = [\"example cloud\"]");

    a_vlek_where_vceks_are_wanted:
        case(Step::Endorsement, "a VLEK")
            .policy("endorsement.keys = [\"vcek\"]")
            .twin(|twin| twin.become_of(&authority::vlek()));
    a_vcek_where_vleks_are_wanted:
        case(Step::Endorsement, "a VCEK")
            .base(vlek)
            .policy("endorsement.keys = [\"vlek\"]")
            .twin(|twin| *twin = Twin::new());
    a_vlek_for_another_provider:
        case(Step::Endorsement, "a VLEK for \"example cloud\"")
            .base(vlek)
            .policy("endorsement.providers = [\"another cloud\"]");
    an_ask_that_was_taken_back:
        case(Step::Revocation, "the ASK is in the root's list")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| expected.rules.crls = vec![Crl::revoking_the_intermediate().der()]);
    no_list_where_one_is_required:
        case(Step::Revocation, "no list of this root")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| expected.rules.crls = vec![Crl { root: "CN=ARK-Milan", ..Crl::default() }.der()]);
    a_list_by_somebody_else:
        case(Step::Revocation, "a list that the root has not signed")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| expected.rules.crls = vec![Crl { by_another: true, ..Crl::default() }.der()]);
    a_list_that_is_old:
        case(Step::Revocation, "a list past its next update")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| expected.rules.crls = vec![Crl { next_update: 1_799_500_000, ..Crl::default() }.der()]);
    a_list_of_the_future:
        case(Step::Revocation, "a list of tomorrow")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| expected.rules.crls = vec![Crl { this_update: 1_800_500_000, ..Crl::default() }.der()]);
    what_is_no_list:
        case(Step::Revocation, "a list with a byte behind it")
            .base(genoa)
            .policy("revocation.required = true")
            .brought(|expected| { with_a_list(expected); expected.rules.crls[0].push(0); });
    an_ask_that_was_taken_back_without_a_policy:
        case(Step::Revocation, "the ASK is in a list that --crl brings")
            .base(genoa)
            .brought(|expected| expected.rules.crls = vec![Crl::revoking_the_intermediate().der()]);
    what_is_no_list_without_a_policy:
        case(Step::Revocation, "a --crl that is no list")
            .base(genoa)
            .brought(|expected| expected.rules.crls = vec![b"no list".to_vec()]);
    a_list_of_nobody:
        case(Step::Revocation, "a --crl of an authority that is no root here")
            .base(genoa)
            .brought(|expected| {
        with_a_list(expected);
        expected.rules.crls.push(Crl { root: "CN=Operator", ..Crl::default() }.der());
    });
    a_list_of_a_part:
        case(Step::Revocation, "a list with a critical extension, which says that not all is in it")
            .base(genoa)
            .brought(|expected| expected.rules.crls = vec![Crl { is_of_a_part: true, ..Crl::default() }.der()]);
    a_list_for_no_chain:
        case(Step::Revocation, "a list, and a TPM without a report")
            .of(Twin::tpm)
            .brought(|expected| { rooted(expected); with_a_list(expected); });
    a_version_4_that_is_not_listed:
        case(Step::ReportRules, "version 4")
            .base(version_5)
            .policy("report.versions = [2, 3, 5]")
            .twin(|twin| *twin = version_4());
    a_version_that_is_not_listed:
        case(Step::ReportRules, "version 3")
            .base(version_5)
            .policy("report.versions = [5]")
            .twin(|twin| *twin = Twin::new());
    a_tcb_that_is_not_committed:
        case(Step::ReportRules, "reported below committed")
            .policy("report.reported-is-committed = true")
            .twin(|twin| { twin.report[0x1E7] += 1; twin.report[0x3F] += 1; });
    a_guest_policy_of_another_value:
        case(Step::ReportRules, "another guest policy")
            .policy("guest-policy.value = 0x30000")
            .twin(|twin| twin.report[0x0A] |= 1 << 4);
    a_guest_that_may_run_beside_smt:
        case(Step::ReportRules, "SMT allowed")
            .policy("guest-policy.smt = true")
            .twin(|twin| twin.report[0x0A] &= !1);
    a_guest_that_does_not_ask_for_hiding:
        case(Step::ReportRules, "ciphertext hiding not demanded")
            .policy("guest-policy.ciphertext-hiding = false")
            .twin(|twin| twin.report[0x0B] |= 1);
    a_boot_loader_below_the_least: case(Step::MinimumTcb, "boot loader 4").policy("tcb.milan.boot-loader = 5");
    a_microcode_below_the_least: case(Step::MinimumTcb, "microcode 219").policy("tcb.milan.microcode = 220");
    a_launch_below_the_least:
        case(Step::MinimumTcb, "SNP 23 at launch")
            .policy("tcb.milan.snp = 24")
            .twin(|twin| twin.report[0x1F6] -= 1);
    an_fmc_below_the_least: case(Step::MinimumTcb, "FMC 1").base(turin).policy("tcb.turin.fmc = 2");
    a_generation_without_a_least:
        case(Step::MinimumTcb, "a Genoa, and levels for Milan alone")
            .policy("tcb.milan.snp = 24")
            .twin(|twin| twin.become_of(&authority::genoa()));
    smt_that_is_on:
        case(Step::PlatformInfo, "SMT_EN")
            .policy("platform-info.smt = false")
            .twin(|twin| twin.report[0x40] |= 1);
    memory_without_encryption:
        case(Step::PlatformInfo, "TSME_EN clear")
            .base(|| { let mut twin = Twin::new(); twin.report[0x40] = 2; twin })
            .policy("platform-info.tsme = true")
            .twin(|twin| twin.report[0x40] = 0);
    memory_without_ecc: case(Step::PlatformInfo, "ECC_EN clear").policy("platform-info.ecc = true");
    power_that_can_be_measured: case(Step::PlatformInfo, "RAPL_DIS clear").policy("platform-info.rapl-disabled = true");
    ciphertext_that_the_host_sees:
        case(Step::PlatformInfo, "CIPHERTEXT_HIDING_DRAM_EN clear")
            .policy("platform-info.ciphertext-hiding = true");
    memory_that_may_have_aliases:
        case(Step::PlatformInfo, "ALIAS_CHECK_COMPLETE clear")
            .base(|| { let mut twin = Twin::new(); twin.report[0x40] = 0x20; twin })
            .policy("platform-info.alias-check-complete = true")
            .twin(|twin| twin.report[0x40] = 0);
    an_iommu_that_writes_unsafely:
        case(Step::PlatformInfo, "bit 6 clear")
            .base(turin)
            .policy("platform-info.iommu-write-safe = true");
    devices_that_are_trusted:
        case(Step::PlatformInfo, "TIO_EN")
            .policy("platform-info.trusted-io = false")
            .twin(|twin| twin.report[0x40] = 0x80);
    a_bit_without_a_name:
        case(Step::PlatformInfo, "bit 8")
            .policy("platform-info.no-other = true")
            .twin(|twin| twin.report[0x41] = 1);
    a_mitigation_that_was_missing_at_launch:
        case(Step::Mitigations, "bit 1 missing at launch")
            .base(version_5)
            .policy("mitigations.launch = 0x3")
            .twin(|twin| twin.report[0x1F8] = 1);
    a_mitigation_that_is_missing_now:
        case(Step::Mitigations, "bit 2 missing now")
            .base(version_5)
            .policy("mitigations.current = 0x7")
            .twin(|twin| twin.report[0x200] = 3);
    a_report_of_version_4_that_has_no_mitigations:
        case(Step::Mitigations, "version 4")
            .base(version_5)
            .policy("mitigations.launch = 0x1")
            .twin(|twin| *twin = version_4());
    a_report_that_has_no_mitigations:
        case(Step::Mitigations, "version 3")
            .base(version_5)
            .policy("mitigations.current = 0x1")
            .twin(|twin| *twin = Twin::new());
    a_chip_that_is_not_listed:
        case(Step::Chips, "another chip")
            .policy(format!("chips.ids = [\"{}\"]", "11".repeat(64)));
    a_chip_that_is_masked:
        case(Step::Chips, "CHIP_ID of zeros, under a VLEK")
            .base(vlek)
            .policy(format!("chips.ids = [\"{}\"]", hex(&host::psp::Identity::development().chip_id)))
            .twin(|twin| twin.report[0x1A0..0x1E0].fill(0));
    other_host_data:
        case(Step::LaunchInputs, "HOST_DATA of another")
            .policy(format!("launch.host-data = [\"{}\"]", "00".repeat(32)))
            .twin(|twin| twin.report[0xC0] = 1);
    another_id_key:
        case(Step::LaunchInputs, "no ID block")
            .policy(format!("launch.id-key-digests = [\"{}\"]", "11".repeat(48)));
    another_author_key:
        case(Step::LaunchInputs, "no author key")
            .policy(format!("launch.author-key-digests = [\"{}\"]", "11".repeat(48)));
    another_family:
        case(Step::LaunchInputs, "another FAMILY_ID")
            .policy(format!("launch.family-id = \"{}\"", "00".repeat(16)))
            .twin(|twin| twin.report[0x10] = 1);
    another_image_id:
        case(Step::LaunchInputs, "another IMAGE_ID")
            .policy(format!("launch.image-id = \"{}\"", "00".repeat(16)))
            .twin(|twin| twin.report[0x20] = 1);
    an_older_guest:
        case(Step::LaunchInputs, "GUEST_SVN 0")
            .base(|| { let mut twin = Twin::new(); twin.report[4] = 2; twin })
            .policy("launch.guest-svn = 2")
            .twin(|twin| twin.report[4] = 1);
    an_ek_that_is_not_listed:
        case(Step::Keys, "another EK")
            .policy(format!("ek.names = [\"000b{}\"]", "00".repeat(32)));
    an_ak_of_another_kind: case(Step::Keys, "a P-256 AK").policy("ak.algorithms = [\"rsa-2048\"]");
    a_rule_for_a_key_that_is_not_there:
        case(Step::Keys, "a report without a TPM")
            .of(Twin::report_alone)
            .policy("ak.algorithms = [\"ecc-p256\"]");
    a_pcr_of_another_value:
        case(Step::Pcrs, "PCR 7 is not zero")
            .policy(format!("pcrs.7 = \"{}\"", "00".repeat(32)))
            .twin(|twin| twin.boot_events = log("quiet"));
    a_rule_for_pcrs_that_are_not_quoted:
        case(Step::Pcrs, "no quote")
            .of(Twin::report_alone)
            .policy(format!("pcrs.7 = \"{}\"", "00".repeat(32)));
    an_event_without_a_word:
        case(Step::Events, "a command line without it")
            .base(booted)
            .policy("events = [{ pcr = 8, index = 1, contains = [\"mitigations=auto\"] }]")
            .twin(|twin| twin.boot_events = log("quiet"));
    an_event_with_a_word:
        case(Step::Events, "a command line with it")
            .base(booted)
            .policy("events = [{ pcr = 8, starts-with = \"kernel_cmdline: \", lacks = [\"init=\"] }]")
            .twin(|twin| twin.boot_events = log("quiet init=/bin/sh"));
    an_event_with_another_digest:
        case(Step::Events, "a separator of another value")
            .base(booted)
            .policy(format!("events = [{{ pcr = 7, index = 1, sha256 = [\"{}\"] }}]", "00".repeat(32)));
    an_event_that_must_not_be:
        case(Step::Events, "an event in PCR 4")
            .policy("events = [{ pcr = 4, count = \"none\" }]")
            .twin(|twin| {
        twin.log.events.push(crate::evidence::event_log::Event { pcr: 4, data: b"a boot loader".to_vec() });
        twin.log.events.clear();
        twin.boot_events = log_of_pcr_4();
    });
    an_event_that_must_be_alone:
        case(Step::Events, "two in PCR 8")
            .base(booted)
            .policy("events = [{ pcr = 8, count = \"one\" }]");
    an_event_that_is_missing: case(Step::Events, "none in PCR 5").base(booted).policy("events = [{ pcr = 5 }]");
    a_pcr_that_the_log_does_not_explain:
        case(Step::Events, "a log without the events of the rule's PCR, which was extended")
            .base(through_ovmf)
            .of(Twin::azure)
            .policy("events = [{ pcr = 12, count = \"none\", contains = [\"loud\"] }]")
            .evidence(|evidence| evidence.boot_events = written(&[(7, 4, vec![0; 4], vec![0; 4])]))
            .twin(|twin| {
        let loud = (12, 13, wide("loud"), wide("loud"));
        twin.boot_events = written(&[(7, 4, vec![0; 4], vec![0; 4]), loud]);
    });
    a_word_in_utf_16:
        case(Step::Events, "a command line in UTF-16 with it")
            .base(through_ovmf)
            .policy("events = [{ pcr = 12, lacks = [\"loud\"] }]")
            .twin(|twin| twin.boot_events = written(&[(12, 13, wide("loud"), wide("loud"))]));
    a_word_that_is_not_there_in_utf_16:
        case(Step::Events, "a version in UTF-16 without it")
            .base(booted)
            .policy("events = [{ pcr = 0, type = 8, contains = [\"2\"] }]");
    a_rule_for_events_without_a_log:
        case(Step::Events, "no log")
            .of(Twin::report_alone)
            .policy("events = [{ pcr = 8 }]");
    a_quote_that_is_required:
        case(Step::Parts, "a report without a quote")
            .of(Twin::report_alone)
            .policy("require = [\"quote\"]");
    a_weakness_that_may_not_be: case(Step::Weaknesses, "a firmware that has gone on where SMT is on")
        .policy("firmware.weaknesses = [\"tcb\"]")
        .of(|twin| naming(twin, &[("tcb.milan.snp", "the reported TCB has 7, must be 24 at least")]))
        .evidence(|evidence| {
            *evidence = naming(&Twin::new(), &[("platform-info.smt", "set, must be clear (PLATFORM_INFO 0x1)")]);
        });
    weaknesses_of_which_nothing_is_said: case(Step::Weaknesses, "a manifest of the vTPM alone")
        .policy("firmware.weaknesses = []")
        .of(|twin| naming(twin, &[]))
        .evidence(|evidence| *evidence = Twin::new().over(Twin::new().ek_public.to_bytes()));
    weaknesses_that_are_no_text: case(Step::Weaknesses, "a weakness that would control a terminal")
        .of(|twin| naming(twin, &[("platform-info.smt", "set")]))
        .evidence(|evidence| *evidence = naming(&Twin::new(), &[("platform-info.smt", "\u{1b}[2J")]));
    all_services_without_a_vtpm: case(Step::EndorsementKey, "a manifest of all services without a vTPM")
        .of(|twin| naming(twin, &[]))
        .evidence(|evidence| *evidence = Twin::new().over(services::tests::of(&[])));
    a_nonce_that_is_required: case(Step::Parts, "no nonce of the verifier's").policy("require = [\"nonce\"]");
    a_challenge_that_is_required:
        case(Step::Parts, "Azure's claims without a challenge")
            .of(Twin::azure)
            .policy("require = [\"credential\"]");
    a_list_that_has_a_key_twice: case(Step::EndorsementKey, "a manifest of version 1 with the EK twice")
        .of(Twin::listed)
        .evidence(|evidence| {
            let ek = Twin::new().ek_public.to_bytes();
            *evidence = Twin::new().over(manifest::tests::of(&[ek.clone(), ek]));
        });
    a_list_without_an_ek: case(Step::EndorsementKey, "a manifest of version 1 without an EK of the template")
        .of(Twin::listed)
        .evidence(|evidence| {
            let ak = Twin::new().ak_public.to_bytes();
            *evidence = Twin::new().over(manifest::tests::of(&[ak, vec![7; 90]]));
        });
    a_list_of_one: case(Step::EndorsementKey, "a manifest of version 1 with an EK alone")
        .of(Twin::listed)
        .evidence(|evidence| {
            *evidence = Twin::new().over(manifest::tests::of(&[Twin::new().ek_public.to_bytes()]));
        });
    a_list_that_is_longer: case(Step::EndorsementKey, "octets behind the keys of a manifest of version 1")
        .of(Twin::listed)
        .evidence(|evidence| {
            *evidence = Twin::new().over([evidence.manifest.as_slice(), &[0, 0]].concat());
        });
    a_list_that_is_shorter: case(Step::EndorsementKey, "a manifest of version 1 whose number is too large")
        .of(Twin::listed)
        .evidence(|evidence| {
            evidence.manifest[7] = 3;
            *evidence = Twin::new().over(evidence.manifest.clone());
        });
    a_manifest_of_version_3: case(Step::EndorsementKey, "a manifest of version 3")
        .of(Twin::listed)
        .evidence(|evidence| {
            evidence.manifest[3] = 3;
            *evidence = Twin::new().over(evidence.manifest.clone());
        });
    a_manifest_of_version_2_that_ends_with_its_keys: case(Step::EndorsementKey, "a manifest of version 2 without a state")
        .of(Twin::listed)
        .evidence(|evidence| {
            evidence.manifest[3] = 2;
            *evidence = Twin::new().over(evidence.manifest.clone());
        });
    a_flag_without_a_meaning: case(Step::EndorsementKey, "a state with a flag that has no meaning")
        .of(Twin::stateful)
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { flags: KEPT.flags | 1 << 4, ..KEPT }));
    a_quorum_that_was_none: case(Step::EndorsementKey, "a state with a quorum of anchors, and too few")
        .of(Twin::stateful)
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { flags: KEPT.flags | flag::TOO_FEW_ANCHORS, ..KEPT }));
    a_migration_from_nowhere: case(Step::EndorsementKey, "a state that has come from nowhere")
        .of(Twin::stateful)
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { flags: KEPT.flags | flag::MIGRATED, ..KEPT }));
    another_epoch_than_was_attested: case(Step::ReportData, "another epoch")
        .of(Twin::stateful)
        .evidence(|evidence| {
            let at = evidence.manifest.len() - 140 + 32 + 7;
            evidence.manifest[at] += 1;
        });
    a_state_that_is_not_kept: case(Step::State, "a state that ends with the VM")
        .of(Twin::stateful)
        .policy("state.kept = true")
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { flags: 0, ..KEPT }));
    a_state_of_which_nothing_is_said: case(Step::State, "a manifest of version 1").of(Twin::listed).policy("state.kept = true");
    a_state_that_may_have_moved: case(Step::State, "a manifest of version 1, which does not say whether it has moved")
        .of(Twin::listed)
        .policy("state.migrated = false");
    a_state_that_is_kept: case(Step::State, "a state that outlives the VM").of(Twin::stateful).policy("state.kept = false");
    a_state_without_a_quorum: case(Step::State, "no quorum of anchors")
        .of(Twin::stateful)
        .policy("state.anchored = true")
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { flags: flag::KEPT, ..KEPT }));
    a_state_that_started_alone: case(Step::State, "a start with too few anchors")
        .of(Twin::stateful)
        .policy("state.too-few-anchors = false")
        .evidence(|evidence| {
            *evidence = Twin::new().of_state(&Kept { flags: flag::KEPT | flag::TOO_FEW_ANCHORS, ..KEPT });
        });
    a_state_that_has_moved: case(Step::State, "a state that has come by migration")
        .of(Twin::stateful)
        .policy("state.migrated = false")
        .evidence(|evidence| {
            *evidence = Twin::new().of_state(&Kept { flags: KEPT.flags | flag::MIGRATED, came_from: [3; 32], ..KEPT });
        });
    a_state_from_elsewhere: case(Step::State, "a state from a firmware that is not among them")
        .of(Twin::stateful)
        .policy(format!("state.came-from = [\"{}\"]", "04".repeat(32)));
    another_identity: case(Step::State, "an identity that is not among them")
        .of(Twin::stateful)
        .policy(format!("state.identities = [\"{}\"]", "1d".repeat(32)))
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { identity: [2; 32], ..KEPT }));
    an_epoch_below_the_least: case(Step::State, "an epoch below the least")
        .of(Twin::stateful)
        .policy("state.least-epoch = 7")
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { epoch: 6, ..KEPT }));
    a_rollback: case(Step::Remembered, "an epoch below the one that is remembered")
        .of(Twin::stateful)
        .brought(|expected| expected.remembered = Some(remembering(&[KEPT])))
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { epoch: 4, ..KEPT }));
    a_clone_of_one_epoch: case(Step::Remembered, "the epoch that is remembered, of another boot")
        .of(Twin::stateful)
        .brought(|expected| expected.remembered = Some(remembering(&[KEPT])))
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { boot_nonce: [0xb1; 32], ..KEPT }));
    a_clone_that_lives_beside: case(Step::Remembered, "a boot that was seen before another one")
        .of(Twin::stateful)
        .brought(|expected| {
            let before = Kept { epoch: 5, boot_nonce: [0xb1; 32], ..KEPT };
            expected.remembered = Some(remembering(&[before, KEPT]));
        })
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { epoch: 9, boot_nonce: [0xb1; 32], ..KEPT }));
    two_states_of_one_epoch: case(Step::Remembered, "another digest of the epoch that is remembered")
        .of(Twin::stateful)
        .brought(|expected| expected.remembered = Some(remembering(&[KEPT])))
        .evidence(|evidence| *evidence = Twin::new().of_state(&Kept { digest: [0xd2; 32], ..KEPT }));
    a_memory_for_nothing: case(Step::Remembered, "a manifest of version 1, and a memory")
        .of(Twin::listed)
        .brought(|expected| expected.remembered = Some(remembering(&[])));
    a_list_that_no_report_binds: case(Step::ReportData, "another AK in a manifest of version 1")
        .of(Twin::listed)
        .evidence(|evidence| *evidence.manifest.last_mut().unwrap() ^= 1);
    another_boots_issuer: case(Step::ReportData, "a certificate's issuer of another boot")
        .of(Twin::certificate)
        .evidence(|evidence| evidence.statement = Twin::new().certificate_of(1, vtpm::P256_AK).statement);
    a_guests_own_issuer: case(Step::ReportData, "a report that a guest has asked for, over a key of its own")
        .of(Twin::certificate)
        .evidence(|evidence| {
            let key = &Twin::new().certificate_of(1, vtpm::P256_AK).statement[carried::WORDS.len()..];
            evidence.statement = key.to_vec();
            evidence.report = Twin::new().signed(&Sha512::digest(key).into());
        });
    a_manifest_as_a_statement: case(Step::ReportData, "a report over nonce and manifest, in a certificate")
        .of(Twin::certificate)
        .evidence(|evidence| {
            let listed = Twin::new().listed();
            (evidence.statement, evidence.report) = ([listed.nonce, listed.manifest].concat(), listed.report);
        });
    a_report_at_another_vmpl: case(Step::Vmpl, "a report of VMPL 2 in a certificate")
        .of(Twin::certificate)
        .twin(|twin| twin.report[0x30] = 2);
    another_issuers_certificate: case(Step::EkCertificate, "a certificate that another boot's issuer has signed")
        .of(Twin::certificate)
        .evidence(|evidence| {
            evidence.ek_certificate = Twin::new().certificate_of(1, vtpm::P256_AK).ek_certificate;
        });
    a_certificate_of_another_key: case(Step::EkCertificate, "a bit of the key in a certificate")
        .of(Twin::certificate)
        .evidence(|evidence| evidence.ek_certificate[200] ^= 1);
    a_certificate_by_an_authority: case(Step::EkCertificate, "a certificate of a maker's, under a report of the firmware's")
        .of(Twin::certificate)
        .evidence(|evidence| evidence.ek_certificate = issuer::ek_certificate());
    another_operator: case(Step::EkCertificate, "an issuer's certificate of an operator's, whose name and not key is the verifier's")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::another_operator()]);
    an_operator_that_the_verifier_does_not_know: case(Step::EkCertificate, "an issuer's certificate of another authority's")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::ek_root()]);
    an_operators_certificate_for_another_boot: case(Step::EkCertificate, "an issuer's certificate of an operator's, for another boot")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::operator(&[issuer::constraints(true, None)])])
        .evidence(|evidence| {
            let extensions = [issuer::constraints(true, Some(0))];
            evidence.ek_certificate = Twin::new().certified_by_the_operator(1, &extensions).ek_certificate;
        });
    an_issuer_that_may_not_issue: case(Step::EkCertificate, "an issuer's certificate of an operator's, without the right to issue")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::operator(&[issuer::constraints(true, None)])])
        .evidence(|evidence| {
            *evidence = Twin::new().certified_by_the_operator(0, &[issuer::constraints(false, None)]);
        });
    an_issuer_whose_key_may_not_sign_certificates: case(Step::EkCertificate, "an issuer's certificate of an operator's, for signatures alone")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::operator(&[issuer::constraints(true, None)])])
        .evidence(|evidence| {
            let extensions = [issuer::constraints(true, Some(0)), issuer::usage(KeyUsages::DigitalSignature)];
            *evidence = Twin::new().certified_by_the_operator(0, &extensions);
        });
    an_operator_without_authorities_below_it: case(Step::EkCertificate, "an operator's authority that admits none below it")
        .of(Twin::of_the_operator)
        .brought(|expected| expected.rules.ek_roots = vec![issuer::operator(&[issuer::constraints(true, Some(0))])]);
    an_operator_whose_key_may_not_sign_certificates: case(Step::EkCertificate, "an operator's authority whose key is for signatures alone")
        .of(Twin::of_the_operator)
        .brought(|expected| {
            let extensions = [issuer::constraints(true, None), issuer::usage(KeyUsages::DigitalSignature)];
            expected.rules.ek_roots = vec![issuer::operator(&extensions)];
        });
    an_operator_for_another_purpose: case(Step::EkCertificate, "an operator's authority for servers of the web")
        .of(Twin::of_the_operator)
        .brought(|expected| {
            let extensions = [issuer::constraints(true, None), issuer::purposes(&["1.3.6.1.5.5.7.3.1"])];
            expected.rules.ek_roots = vec![issuer::operator(&extensions)];
        });
    an_operator_for_another_name: case(Step::EkCertificate, "an operator's authority whose names are others")
        .of(Twin::of_the_operator)
        .brought(|expected| {
            let extensions = [issuer::constraints(true, None), issuer::names(&["O=Another"], &[])];
            expected.rules.ek_roots = vec![issuer::operator(&extensions)];
        });
    an_operator_that_does_not_admit_the_name: case(Step::EkCertificate, "an operator's authority that excludes the firmware's name")
        .of(Twin::of_the_operator)
        .brought(|expected| {
            let own = Certificate::from_der(&vtpm::index(&Twin::new(), 0, vtpm::ISSUER)).unwrap();
            let name = own.tbs_certificate.subject.to_string().to_uppercase();
            let extensions = [issuer::constraints(true, None), issuer::names(&[], &[&name])];
            expected.rules.ek_roots = vec![issuer::operator(&extensions)];
        });
    an_operator_with_an_unknown_constraint: case(Step::EkCertificate, "an operator's authority with a critical extension that nobody knows")
        .of(Twin::of_the_operator)
        .brought(|expected| {
            expected.rules.ek_roots = vec![issuer::operator(&[issuer::constraints(true, None), issuer::unknown()])];
        });
    a_certificate_of_another_image: case(Step::Measurement, "a certificate that another image has issued")
        .of(Twin::certificate)
        .twin(|twin| twin.report[0x90] ^= 1);
}

/// The same log, its last event moved to PCR 4.
fn log_of_pcr_4() -> Vec<u8> {
    let mut bytes = log("quiet");
    let event = bytes.len() - (4 + 4 + 4 + 2 + 20 + 2 + 32 + 4 + 4);
    bytes[event] = 4;
    bytes
}

/// Rules for everything, which a processor of each generation meets.
const ALL_MET: &str = "require = [\"ek\", \"ak\", \"credential\", \"quote\", \"event-log\"]
report.versions = [3]
guest-policy = { debug = false, migration-agent = false, smt = true, cxl = false }
tcb.milan.snp = 24
tcb.genoa.snp = 24
tcb.turin = { fmc = 1, boot-loader = 2, tee = 3, snp = 4, microcode = 5 }
platform-info = { smt = false, no-other = true }
ek.algorithms = [\"rsa-2048\"]
ak.algorithms = [\"ecc-p256\"]
events = [{ pcr = 9, count = \"one\" }]
";

#[test]
fn processors_of_each_generation_and_keys_of_each_kind_are_accepted() {
    let chips = "endorsement = { keys = [\"vcek\"] }";
    let clouds = "endorsement = { keys = [\"vlek\"], providers = [\"example cloud\"] }";
    for (processor, keys, name) in [
        (authority::genoa(), chips, "Genoa, chip "),
        (authority::bergamo(), chips, "Bergamo or Siena, chip "),
        (authority::turin(), chips, "Turin, chip "),
        (authority::vlek(), clouds, "Milan, VLEK for \"example cloud\""),
    ] {
        let mut twin = Twin::new();
        twin.become_of(&processor);
        let policy = Policy::parse(&format!("version = 1\n{ALL_MET}{keys}")).unwrap();
        let rules = Rules { policy, roots: authority::roots(), ..Rules::default() };
        let verdict = Verdict::of(&twin.evidence(), &Expectations { rules, ..expectations() });
        assert_eq!(verdict.status(), 0, "{name}: {verdict:?}");
        let json = verdict.to_json();
        let said = json["steps"][4]["says"].as_str().unwrap();
        assert!(said.starts_with(name), "{said}");
        assert_eq!(json["outcome"], "verified");
        let count =
            |state: &str| json["steps"].as_array().unwrap().iter().filter(|step| step["state"] == state).count();
        assert_eq!((count("ok"), count("unasked")), (27, 9), "{json:#}");
    }
}

/// What each kind of evidence has, meets a rule that requires it.
#[test]
fn parts_that_were_judged_are_met() {
    let met = |kind: fn(&Twin) -> Evidence, parts: &[&str], brought: fn(&mut Expectations)| {
        let policy = Policy::parse(&format!("version = 1\nrequire = {parts:?}")).unwrap();
        let mut expected = Expectations { rules: Rules { policy, ..Rules::default() }, ..expectations() };
        brought(&mut expected);
        let verdict = Verdict::of(&kind(&booted()), &expected);
        assert_eq!(verdict.status(), 0, "{parts:?}: {verdict:?}");
    };
    let all = ["report", "ek", "ak", "credential", "quote", "event-log", "nonce", "quote-nonce"];
    met(Twin::evidence, &all, |expected| {
        (expected.nonce, expected.quote_nonce) = (Some(vec![0x17; 64]), Some(vec![0x29; 32]));
    });
    met(Twin::azure, &["report", "ek", "ak", "quote", "event-log"], |_| {});
    met(Twin::tpm, &["ek-certificate", "ek", "ak", "credential", "quote", "event-log"], rooted);
    met(Twin::listed, &["report", "ek"], |_| {});
    met(Twin::certificate, &["report", "ak"], |_| {});
    met(|twin| twin.certificate_of(0, vtpm::RSA_EK), &["report", "ek-certificate", "ek"], |_| {});
}

/// One of version 4 has the fields of one of version 3.
#[test]
fn reports_of_versions_3_to_5_are_judged_to_the_end() {
    let versions = [3_u8, 4, 5];
    for (version, base) in versions.into_iter().flat_map(|version| [(version, genoa as fn() -> Twin), (version, turin)])
    {
        let mut twin = base();
        twin.report[0] = version;
        let policy = Policy::parse(&format!("version = 1\n{ALL_MET}").replace("[3]", &format!("[{version}]"))).unwrap();
        let rules = Rules { policy, roots: authority::roots(), ..Rules::default() };
        let verdict = Verdict::of(&twin.evidence(), &Expectations { rules, ..expectations() });
        assert_eq!(verdict.status(), 0, "{version}: {verdict:?}");
        let json = verdict.to_json();
        assert_eq!(json["steps"][2]["says"], format!("version {version}"));
        assert_eq!(json["steps"][23]["says"], format!("version {version}, policy 0x30000"));
    }
}

#[test]
fn a_report_of_version_2_is_read_by_the_roots_generation() {
    for base in [genoa, turin] {
        let mut twin = base();
        twin.report[0] = 2;
        twin.report[0x188..0x18B].fill(0);
        let rules = Rules { roots: authority::roots(), ..Rules::default() };
        let verdict = Verdict::of(&twin.evidence(), &Expectations { rules, ..expectations() });
        assert_eq!(verdict.status(), 0, "{verdict:?}");
    }
}

#[test]
fn without_a_reference_or_a_nonce_nothing_is_verified() {
    let outcome = |kind: fn(&Twin) -> Evidence, change: fn(&mut Evidence), brought: fn(&mut Expectations)| {
        let mut evidence = kind(&Twin::new());
        change(&mut evidence);
        let mut expected = expectations();
        brought(&mut expected);
        let verdict = Verdict::of(&evidence, &expected);
        (verdict.status(), verdict.missing.len())
    };
    assert_eq!(outcome(Twin::report_alone, |_| {}, |_| {}), (0, 0));
    assert_eq!(outcome(Twin::report_alone, |_| {}, |expected| expected.measurement = None), (3, 1));
    assert_eq!(outcome(Twin::report_alone, |evidence| evidence.nonce.clear(), |_| {}), (3, 1));
    let brought = |expected: &mut Expectations| expected.nonce = Some(vec![0x17; 32]);
    assert_eq!(outcome(Twin::report_alone, |evidence| evidence.nonce.clear(), brought), (0, 0));
    assert_eq!(outcome(Twin::azure, |_| {}, |_| {}), (0, 0));
    assert_eq!(outcome(Twin::azure, |evidence| evidence.quote_nonce.clear(), |_| {}), (3, 1));
    // Nothing of the verifier's is in it.
    assert_eq!(outcome(Twin::azure, without_a_quote, |_| {}), (3, 1));
    assert_eq!(outcome(Twin::azure, without_a_quote, |expected| expected.measurement = None), (3, 2));
    assert_eq!(outcome(Twin::azure, without_a_quote, |expected| expected.nonce = Some(vec![0x17; 64])), (0, 0));
    let answered = |expected: &mut Expectations| expected.nonce = Some(vec![0x17; 64]);
    assert_eq!(outcome(|_| booted().azure(), without_a_quote, answered), (3, 1), "logs that nothing proves");
    let rooted: fn(&mut Expectations) = rooted;
    assert_eq!(outcome(Twin::tpm, |_| {}, rooted), (0, 0));
    assert_eq!(outcome(Twin::tpm, without_a_quote, rooted), (3, 1));
}

/// Lists of roots that are known may be there for each; that of this chain's must be among them.
#[test]
fn a_list_of_another_root_is_left_alone_and_is_none_of_this_ones() {
    let judged = |crls: &[Crl]| {
        let crls = crls.iter().map(Crl::der).collect();
        let rules = Rules { roots: authority::roots(), crls, ..Rules::default() };
        let verdict = Verdict::of(&genoa().evidence(), &Expectations { rules, ..expectations() });
        let json = verdict.to_json();
        let steps = json["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == "revocation").unwrap();
        (verdict.status(), step["says"].as_str().unwrap().to_owned(), verdict.missing.join("; "))
    };
    let own = || Crl { next_update: 1_799_500_000, ..Crl::default() };
    let other = || Crl { root: "CN=ARK-Milan", ..Crl::default() };
    let (status, said, missing) = judged(&[other()]);
    assert_eq!((status, said.as_str()), (3, "0 of 1 lists are of this chain; left alone: CN=ARK-Milan"));
    assert!(missing.contains("--crl"), "{missing}");
    let (status, said, missing) = judged(&[other(), own()]);
    let words = "1 of 2 lists are of this chain; left alone: CN=ARK-Milan; past its next update: CN=ARK-Genoa";
    assert_eq!((status, said.as_str(), missing.as_str()), (0, words, ""));
    assert_eq!(judged(&[]), (0, "no rule asks for it".into(), String::new()));
}

/// The report proves the key that the operator has certified, and nothing else in the certificate.
#[test]
fn an_operators_certificate_is_verified_under_its_authority_alone() {
    let judged = |roots: Vec<Vec<u8>>| {
        let mut expected = expectations();
        expected.rules.ek_roots = roots;
        let verdict = Verdict::of(&Twin::new().of_the_operator(), &expected);
        let json = verdict.to_json();
        let steps = json["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["step"] == "EK certificate").unwrap();
        (verdict.status(), step["says"].as_str().unwrap().to_owned(), verdict.missing.clone())
    };
    let (status, said, missing) = judged(vec![]);
    assert_eq!((status, missing.len()), (3, 1), "{said}");
    assert!(said.ends_with("; issued by CN=Operator, and nobody says that this is right"), "{said}");
    assert!(missing[0].contains("--ek-root"), "{missing:?}");
    for extensions in [
        vec![issuer::constraints(true, None)],
        vec![
            issuer::constraints(true, Some(1)),
            issuer::usage(KeyUsages::KeyCertSign),
            issuer::purposes(&["2.23.133.8.1", "2.23.133.8.3"]),
            issuer::names(&[], &["O=Another"]),
        ],
        vec![issuer::constraints(true, None), issuer::purposes(&["2.5.29.37.0"])],
    ] {
        let (status, said, missing) = judged(vec![issuer::operator(&extensions)]);
        assert_eq!((status, missing.len()), (0, 0), "{said}");
        assert!(said.starts_with("of the issuer itself, SHA-256 of the key "), "{said}");
        assert!(said.ends_with("; issued by CN=Operator, a root of the verifier's"), "{said}");
    }
}

#[test]
fn there_are_forty_refusals_and_more_and_every_step_has_one() {
    let all = all();
    assert!(all.len() >= 40, "{}", all.len());
    for step in Step::all() {
        assert!(all.iter().any(|case| case.step == step), "{step}");
    }
}

/// `QUOIN_WRITE_DOCS=1` writes the table.
#[test]
fn the_table_in_docs_says_what_the_verifier_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/refusals.md");
    let mut text = String::from(include_str!("refusals.md"));
    for case in all() {
        text.push_str(&case.row());
        text.push('\n');
    }
    if std::env::var_os("QUOIN_WRITE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == text, "docs/refusals.md: QUOIN_WRITE_DOCS=1 writes it anew");
}
