//! What is refused, and at which exit status: a test each, and the table of docs/refusals.md, which a test compares
//! with what the verifier says.
//!
//! Where a case changes the evidence, the same rules must accept it unchanged.

use super::authority::{self, Crl};
use super::twin::{Twin, expectations};
use crate::digest::hex;
use crate::evidence::boot_log::tests::log;
use crate::evidence::folder::Evidence;
use crate::evidence::wire::attribute;
use crate::judge::{Expectations, Step};
use crate::policy::{Image, Policy, Rules};
use crate::testing::{Header, igvm};
use crate::verdict::Verdict;

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

/// A report with mitigation vectors.
fn version_5() -> Twin {
    let mut twin = Twin::new();
    twin.report[0] = 5;
    (twin.report[0x1F8], twin.report[0x200]) = (0x03, 0x07);
    twin
}

/// A boot that has measured a command line.
fn booted() -> Twin {
    Twin { boot_events: log("quiet mitigations=auto"), ..Twin::new() }
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
    text_in_another_encoding:
        case(Step::Events, "a version in UTF-16")
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
    a_nonce_that_is_required: case(Step::Parts, "no nonce of the verifier's").policy("require = [\"nonce\"]");
    a_challenge_that_is_required:
        case(Step::Parts, "Azure's claims without a challenge")
            .of(Twin::azure)
            .policy("require = [\"credential\"]");
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
        assert_eq!((count("ok"), count("unasked")), (27, 5), "{json:#}");
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
    assert_eq!(outcome(Twin::azure, |evidence| evidence.quote.clear(), |expected| expected.measurement = None), (3, 1));
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
