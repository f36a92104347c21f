//! A firmware that judges its own platform: each rule by one field that is changed, of the report and of the policy;
//! right reports of every generation; what becomes of a boot without a report, and of later reports that say something
//! else; weaknesses that are named.
//!
//! The machine's secure processor signs whatever the case says that a report has (`report=AT:DIGITS`).

mod mutations;
mod settings;

use super::{Totals, answers, case, lies};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::boot::{self, Built};
use host::image::Image;
use host::qemu::{End, Folder, Qemu, Source};
use host::relay::{AttestCall, Attestation, Relay, result_name};
use host::{build, collect, workspace};
use mutations::{MUTATIONS, POLICIES};
use quoin_image::elf::Elf;
use quoin_image::guest::{Guest, Interrupts};
use quoin_image::pack::pack;
use quoin_image::settings::Settings;
use quoin_verify::chip::{ARK_GUID, ASK_GUID, VCEK_GUID, certificate};
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::policy::{Policy, Rules};
use quoin_verify::verdict::Verdict;
use std::process::Command;

/// Codes of kernel/src/fatal.rs.
const NO_REPORT: u8 = 12;
const SETTINGS: u8 = 21;
const POLICY: u8 = 22;
/// The service that names weaknesses, a93e328a-f313-4f12-99e6-3780cb08aad6, as it lies in memory.
const WEAKNESSES: [u8; 16] =
    [0x8A, 0x32, 0x3E, 0xA9, 0x13, 0xF3, 0x12, 0x4F, 0x99, 0xE6, 0x37, 0x80, 0xCB, 0x08, 0xAA, 0xD6];

/// Images of one firmware and one payload, with other settings.
struct Images {
    machine: Built,
    firmware: Elf,
    guest: Guest,
}

impl Images {
    fn new(machine: &Built) -> Result<Self> {
        let programs = build::build(build::IMAGE_AND_MACHINE)?;
        let machine = Built {
            machine: machine.machine.clone(),
            image: Image::new(machine.image.bytes.clone())?,
            path: machine.path.clone(),
        };
        Ok(Self {
            machine,
            firmware: Elf::read(&programs.firmware())?,
            guest: Guest::from_elf(&Elf::read(&programs.guest())?)?,
        })
    }

    fn with(&self, settings: Settings, interrupts: Interrupts) -> Result<Built> {
        let guest = Guest { settings, interrupts, ..self.guest.clone() };
        self.of(pack(&self.firmware, Some(&guest))?)
    }

    fn of(&self, bytes: Vec<u8>) -> Result<Built> {
        let path = workspace::target_dir()?.join("quoin-policy.igvm");
        fs::write(&path, &bytes)?;
        Ok(Built { machine: self.machine.machine.clone(), image: Image::new(bytes)?, path })
    }

    /// With a policy, behind its version.
    fn with_policy(&self, policy: &str) -> Result<Built> {
        let settings = Settings::default().with_policy(&format!("version = 1\n{policy}"))?;
        self.with(settings, Interrupts::Any)
    }
}

/// The short form: a field of the report for each kind of rule, and everything that is no rule.
pub fn run(machine: &Built) -> Result<Totals> {
    let images = Images::new(machine)?;
    let mut totals = each(&images, &SHORT)?;
    totals += shapes(&images)?;
    totals += features(&images)?;
    totals += without_report(&images)?;
    totals += later_reports(&images)?;
    totals += weaknesses(&images)?;
    totals += settings::run(&images)?;
    Ok(totals)
}

/// Rules of the short form: one of each kind.
const SHORT: [&str; 9] = [
    "report.versions",
    "guest policy",
    "report.reported-is-committed",
    "guest-policy.smt",
    "tcb.milan.snp",
    "platform-info.alias-check-complete",
    "mitigations.current",
    "chips.ids",
    "launch.guest-svn",
];

/// Every field of the report that a rule looks at, and every line of the policy, one at a time.
pub fn all(machine: &Built) -> Result<Totals> {
    each(&Images::new(machine)?, &[])
}

/// `rules`: these alone, and of the report alone.
fn each(images: &Images, rules: &[&str]) -> Result<Totals> {
    let mut totals = Totals::default();
    let full = images.with_policy(mutations::FULL)?;
    totals += case("a platform that meets every rule", starts(&full, &mutations::base(), "34 rules, 0 not met"));
    let of_rule = |says: &str| rules.is_empty() || rules.contains(&says.split(':').next().unwrap_or_default());
    for mutation in MUTATIONS.iter().filter(|mutation| of_rule(mutation.says)) {
        let built = if mutation.policy.is_empty() { None } else { Some(images.with_policy(mutation.policy)?) };
        let config = format!("{}{}", mutations::base(), mutation.config);
        totals += case(mutation.says, refused(built.as_ref().unwrap_or(&full), &config, POLICY, mutation.says));
    }
    for (line, by, says) in POLICIES.iter().filter(|_| rules.is_empty()) {
        ensure!(mutations::FULL.contains(line), "the policy has no line {line}");
        let built = images.with_policy(&mutations::FULL.replace(line, by))?;
        let name = format!("the policy says {}", by.trim().replace('\n', " "));
        totals += case(&name, refused(&built, &mutations::base(), POLICY, says));
    }
    Ok(totals)
}

/// Starts the guest, and has said so much of the policy.
fn starts(built: &Built, config: &str, says: &str) -> Result<()> {
    let mut qemu = boot::start(built, &format!("ram=32\n{config}"))?;
    hears(&mut qemu, built, says)
}

fn hears(qemu: &mut Qemu, built: &Built, says: &str) -> Result<()> {
    let mut said = String::new();
    boot::hear_until_guest(qemu, &built.image, |event, _| {
        if event.source == Source::Firmware && event.line.starts_with("quoin: policy ") {
            said += &format!("{}\n", event.line);
        }
    })?;
    ensure!(said.contains(says), "the console has not `{says}`, but:\n{said}");
    Ok(())
}

/// Ends before the guest, with this code and these words, which are a line of their own before, too.
fn refused(built: &Built, config: &str, code: u8, says: &str) -> Result<()> {
    let mut qemu = boot::start(built, &format!("ram=32\n{config}"))?;
    let ended = format!("machine: TERMINATED set={} code={code} ", lies::SET);
    lies::ends(&mut qemu, End::Terminated, &ended, says)
}

/// Reports of each generation, in the versions that there are.
fn shapes(images: &Images) -> Result<Totals> {
    let policy = "[tcb.milan]\nboot-loader = 4\nsnp = 24\nmicrocode = 219\n[tcb.genoa]\nboot-loader = 9\nsnp = 21\n\
                  microcode = 72\n[tcb.turin]\nfmc = 1\nboot-loader = 2\nsnp = 4\nmicrocode = 50\n";
    let built = images.with_policy(policy)?;
    let tcb = |octets: &str| [0x38, 0x180, 0x1E0, 0x1F0].map(|at: u32| format!("report={at:#x}:{octets}\n")).concat();
    let genoa = format!("report=0x188:191101\n{}", tcb("0900000000001548"));
    let bergamo = format!("report=0x188:19a002\n{}", tcb("0900000000001548"));
    let turin = format!("report=0x188:1a0201\n{}", tcb("0102000400000032"));
    let low = format!("report=0x188:1a0201\n{}", tcb("0102000300000032"));
    let mut totals = Totals::default();
    for (name, config) in [
        ("Milan, version 2", "report=0:02\nreport=0x188:000000\n"),
        ("Milan, version 3", ""),
        ("Milan, version 4", "report=0:04\n"),
        ("Milan, version 5", "report=0:05\n"),
        ("Genoa, version 3", &genoa),
        ("Bergamo, version 3", &bergamo),
        ("Turin, version 3", &turin),
        ("Turin, version 5", &format!("report=0:05\n{turin}")),
    ] {
        totals += case(&format!("a right report of {name}"), starts(&built, config, "2 rules, 0 not met"));
    }
    let says = "tcb.turin.snp: the reported TCB has 3, must be 4 at least";
    totals += case("the same levels by Turin's layout", refused(&built, &low, POLICY, says));
    let unknown = "report=0x188:1a2001\n";
    let says = "tcb: a processor of family 0x1a, model 0x20, which is not known";
    totals += case("a processor that nobody knows", refused(&built, unknown, POLICY, says));
    Ok(totals)
}

/// What the host and the vCPU must have beside the report.
fn features(images: &Images) -> Result<Totals> {
    let policy =
        "[firmware]\nhypervisor-features = [\"restricted-injection\"]\nsev-features = [\"restricted-injection\"]\n";
    let settings = || Settings::default().with_policy(&format!("version = 1\n{policy}"));
    let restricted = images.with(settings()?, Interrupts::Restricted)?;
    let mut totals = case(
        "restricted injection, of the host and of the vCPU",
        starts(&restricted, "injection=restricted\n", "3 rules, 0 not met"),
    );
    let any = images.with(settings()?, Interrupts::Any)?;
    let says = "firmware.sev-features: restricted-injection is missing (0x1)";
    totals += case(says, refused(&any, "injection=restricted\n", POLICY, says));
    let says = "firmware.hypervisor-features: restricted-injection is missing (0x";
    totals += case(says, refused(&any, "", POLICY, says));
    Ok(totals)
}

/// With a policy there is no boot without a report.
fn without_report(images: &Images) -> Result<Totals> {
    let built = images.with_policy("[platform-info]\nsmt = true\n")?;
    let mut totals = Totals::default();
    for (name, config, says) in [
        ("the secure processor refuses", "fault=report-status:0x2a\n", "no attestation report"),
        ("the host gives no answer that is authentic", "fault=bit-flip:1000\n", "no attestation report"),
        ("the report is over something else", "fault=wrong-report-data:9\n", "no attestation report"),
        ("the report is of VMPL 3", "fault=wrong-vmpl-report:3\n", "no attestation report"),
    ] {
        totals += case(name, refused(&built, config, NO_REPORT, says));
    }
    totals += case("the host is busy, and then not", starts(&built, "fault=busy:1000\n", "2 rules, 0 not met"));
    Ok(totals)
}

/// The guest's report is the second one.
fn later_reports(images: &Images) -> Result<Totals> {
    const NO_REPORT: u64 = 0x8000_1000;
    let built = images.with_policy("")?;
    let named = images.with_policy("[firmware]\nunmet-by-rule.\"firmware.later-reports\" = \"name-it\"\n")?;
    let mut totals = Totals::default();
    for (field, patch) in [
        ("CHIP_ID is another", "0x1df:21"),
        ("MEASUREMENT is another", "0x90:00000000"),
        ("POLICY is another", "0x08:01"),
        ("REPORTED_TCB is lower", "0x187:da"),
    ] {
        let config = format!("report-from=2\nreport={patch}\n");
        totals += case(&format!("later, {field}: no report"), later(&built, &config, NO_REPORT, Some(field)));
        let name = format!("later, {field}: said on the console, where the policy has it so");
        totals += case(&name, later(&named, &config, 0, Some(field)));
    }
    totals += case("later, REPORTED_TCB is higher", later(&built, "report-from=2\nreport=0x186:19\n", 0, None));
    Ok(totals)
}

fn later(built: &Built, config: &str, rax: u64, says: Option<&str>) -> Result<()> {
    let mut qemu = boot::start(built, &format!("ram=32\n{config}"))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let attested = qemu.relay()?.attest(AttestCall::Single(host::collect::VTPM_GUID), 0, &[7; 64])?;
    ensure!(attested.rax == rax, "{}, expected {}", result_name(attested.rax), result_name(rax));
    let mut said = String::new();
    while let Some(event) = qemu.next_event(Duration::from_millis(200)) {
        if event.line.contains("firmware.later-reports") {
            said += &event.line;
        }
    }
    ensure!(said.contains(says.unwrap_or_default()) && said.is_empty() == says.is_none(), "the console has `{said}`");
    Ok(())
}

/// SMT is on, and the TCB is low: the boot goes on, and says so.
fn weaknesses(images: &Images) -> Result<Totals> {
    let policy = "platform-info.smt = false\ntcb.milan.snp = 25\nplatform-info.no-other = true\n";
    let named =
        format!("{policy}firmware.unmet-by-rule = {{ \"platform-info.smt\" = \"name-it\", tcb = \"name-it\" }}\n");
    let built = images.with_policy(&named)?;
    let mut totals = case("what is not met and named is attested, and judged by the verifier", attested(&built));
    let all = images.with_policy(&format!("{policy}firmware.unmet = \"name-it\"\n"))?;
    let config = "report=0x40:0101\n";
    totals += case("every rule is named where the policy says so of all", starts(&all, config, "4 rules, 3 not met"));
    let says = "platform-info.no-other: a bit without a name is set (PLATFORM_INFO 0x101)";
    totals += case("a rule that is not to be named ends the boot", refused(&built, config, POLICY, says));
    totals += case("without a policy there is no such service", no_service(&images.machine));
    Ok(totals)
}

fn attested(built: &Built) -> Result<()> {
    let mut qemu = boot::start(built, "ram=32\n")?;
    hears(&mut qemu, built, "4 rules, 2 not met and attested")?;
    let mut relay = qemu.relay()?;
    answers::through(&mut relay)?;
    let nonce = vec![7; 64];
    let Attestation { rax, report, manifest, certificates } = relay.attest(AttestCall::Services, 0, &nonce)?;
    ensure!(rax == 0, "{}", result_name(rax));
    let single = relay.attest(AttestCall::Single(WEAKNESSES), 0, &nonce)?;
    ensure!(single.rax == 0 && manifest.ends_with(&single.manifest), "the service alone says otherwise");
    let find = |guid| Ok::<_, anyhow::Error>(certificate(&certificates, guid)?.to_vec());
    let (ark, ask, vcek) = (find(ARK_GUID)?, find(ASK_GUID)?, find(VCEK_GUID)?);
    let alone = Evidence { kind: Kind::Report, report, manifest, ark, ask, vcek, nonce, ..Evidence::default() };
    named(built, &alone)?;
    // What `run` leaves, judged by the verb.
    let gathered = collect::gather(&mut relay, &built.image.launch.digest)?;
    named(built, &gathered)?;
    let folder = Folder::new()?;
    gathered.write(folder.path())?;
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "version = 1\nfirmware.weaknesses = [\"tcb\"]\n")?;
    let mut verify = Command::new(std::env::current_exe()?);
    verify.args(["verify", "--development-root", "--igvm"]).arg(&built.path);
    let output = verify.arg("--policy-file").arg(&policy).arg(folder.path()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(64) && said.contains("FAILED  named weaknesses"), "{}: {said}", output.status);
    Ok(())
}

/// Evidence of this firmware names both weaknesses, and a policy that does not list one refuses it.
fn named(built: &Built, evidence: &Evidence) -> Result<()> {
    let judged = |policy: &str| {
        let policy = Policy::parse(&format!("version = 1\n{policy}"))?;
        let rules = Rules { policy, ..Rules::default() };
        let expectations = quoin_verify::Expectations { rules, ..built.expectations()? };
        let verdict = Verdict::of(evidence, &expectations).to_json();
        let last = verdict["steps"].as_array().and_then(|steps| steps.last()).context("no steps")?.clone();
        Ok::<_, anyhow::Error>((verdict["status"].clone(), last["says"].as_str().unwrap_or_default().to_owned()))
    };
    let smt = "platform-info.smt: set, must be clear (PLATFORM_INFO 0x1)";
    let tcb = "tcb.milan.snp: the reported TCB has 24, must be 25 at least";
    let (status, said) = judged("")?;
    ensure!(status == 0 && said == format!("{tcb}; {smt}"), "{status}: {said}");
    let (status, said) = judged("firmware.weaknesses = [\"platform-info.smt\", \"tcb\"]")?;
    ensure!(status == 0, "{status}: {said}");
    let (status, said) = judged("firmware.weaknesses = [\"tcb\"]")?;
    ensure!(status == 64 && said.contains("the firmware names platform-info.smt"), "{status}: {said}");
    Ok(())
}

fn no_service(built: &Built) -> Result<()> {
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    let mut qemu = boot::start(built, "ram=32\n")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let single = relay.attest(AttestCall::Single(WEAKNESSES), 0, &[7; 64])?;
    ensure!(single.rax == INVALID_PARAMETER, "{}", result_name(single.rax));
    let all = relay.attest(AttestCall::Services, 0, &[7; 64])?;
    ensure!(!all.manifest.windows(16).any(|guid| guid == WEAKNESSES), "it is among all services");
    Ok(())
}
