//! Reports of real processors, with the certificates that AMD has issued for their keys: each is judged right, and with
//! any single bit flipped it is refused.
//!
//! They lie among the tests' data of crates that others have published. Cargo fetches those; nothing of them is
//! committed here or built.
//!
//! | sample | crate | report | is |
//! |---|---|---|---|
//! | Genoa | `sev_attest_tool` | version 2, VCEK | verified |
//! | Milan | `omne-attest` | version 2, VCEK | refused: its guest may be debugged |
//! | Milan, Azure's | `az-snp-vtpm` | version 2 | judged up to its signature: its certificate is not there |
//!
//! The second is in Debian's go-sev-guest, too. snp/verify/tests/real.rs has another Milan, which is verified, and a
//! Turin's VCEK. No package was found with a report of a Bergamo, Siena or Turin, or by a VLEK, or of version 3 or
//! later. Repositories have some of these (docs/decisions.md): `cargo xtask flips` takes what a user has.

use anyhow::{Context, Result, anyhow, bail, ensure};
use booted::{Totals, case};
use core::time::Duration;
use fs_err as fs;
use host::qemu::Folder;
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::flips::{Flips, every};
use quoin_verify::input::{self, certificates};
use quoin_verify::policy::{Policy, Rules};
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, Step, pem, verify};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// A report, and what is right about it.
struct Sample {
    name: &'static str,
    load: fn() -> Result<Evidence>,
    /// When its certificates are valid, in seconds since 1970.
    at: u64,
    /// Rules that it meets.
    policy: &'static str,
    /// What the steps of root and of chip say.
    says: [&'static str; 2],
}

const SAMPLES: [Sample; 1] = [Sample {
    name: "Genoa, version 2, VCEK",
    load: genoa,
    at: 1_750_000_000,
    policy: "roots.amd = [\"genoa\"]\nreport.versions = [2]\nreport.vmpl = 1\nendorsement.keys = [\"vcek\"]\n\
                 tcb.genoa = { boot-loader = 7, tee = 0, snp = 11, microcode = 62 }\n",
    says: ["AMD's root for Genoa", "Genoa, chip "],
}];

/// What is refused, and must be: where, and by which words.
const REFUSED: [(Sample, Step, &str); 2] = [
    (
        Sample {
            name: "Milan, version 2, VCEK, of a guest that may be debugged",
            load: milan,
            at: 1_790_000_000,
            policy: "",
            says: ["AMD's root for Milan", "Milan, chip "],
        },
        Step::Policy,
        "0xb0000 allows debugging",
    ),
    (
        Sample {
            name: "Milan, version 2, of Azure's, with a certificate of another chip",
            load: azure,
            at: 1_750_000_000,
            policy: "",
            says: ["AMD's root for Milan", ""],
        },
        Step::ReportSignature,
        "",
    ),
];

/// Judges each sample, whole, and then with each bit flipped of what is in it.
pub fn run() -> Result<Totals> {
    let mut totals = Totals::default();
    let mut loaded = Vec::new();
    for sample in &SAMPLES {
        let evidence = (sample.load)();
        let outcome = match &evidence {
            Ok(evidence) => verified(sample, evidence),
            Err(why) => Err(anyhow!("{why:#}")),
        };
        totals += case(&format!("{}: it is verified to AMD's root", sample.name), outcome);
        loaded.extend(evidence.ok().map(|evidence| (sample, evidence)));
    }
    for (sample, step, words) in &REFUSED {
        let outcome = (sample.load)().and_then(|evidence| refused(sample, &evidence, *step, words));
        totals += case(&format!("{}: it is refused at `{step}`", sample.name), outcome);
    }
    for (sample, evidence) in &loaded {
        for Flips { file, bits, outcome } in every(evidence, &expectations(sample, evidence)?) {
            totals += case(&format!("{}: each of {bits} flipped bits of the {file} is refused", sample.name), outcome);
        }
    }
    Ok(totals)
}

/// The sample's policy, and the report's own measurement.
fn expectations(sample: &Sample, evidence: &Evidence) -> Result<Expectations> {
    let policy = Policy::parse(&format!("version = 1\n{}", sample.policy))?;
    Ok(Expectations {
        measurement: Some(evidence.report.get(0x90..0xC0).context("the report is too short")?.try_into()?),
        rules: Rules { policy, ..Rules::default() },
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(sample.at),
        ..Expectations::default()
    })
}

fn verified(sample: &Sample, evidence: &Evidence) -> Result<()> {
    let verdict = Verdict::of(evidence, &expectations(sample, evidence)?);
    let json = verdict.to_json();
    ensure!(verdict.status() == 0, "{}", json["steps"]);
    let says = |step: usize| json["steps"][step]["says"].as_str().unwrap_or_default().to_owned();
    ensure!(says(0) == sample.says[0] && says(4).starts_with(sample.says[1]), "{}; {}", says(0), says(4));
    Ok(())
}

/// All before that step is right.
fn refused(sample: &Sample, evidence: &Evidence, step: Step, words: &str) -> Result<()> {
    let mut seen = Vec::new();
    let outcome = verify(evidence, &expectations(sample, evidence)?, |step, said| seen.push((step, said.to_owned())));
    let Err(failure) = outcome else { bail!("it is accepted") };
    let why = format!("{:#}", failure.why);
    ensure!(failure.step == step && why.contains(words), "refused at `{}`: {why}", failure.step);
    let root = seen.first().map(|(_, said)| said.as_str());
    ensure!(root == Some(sample.says[0]), "the root is {root:?}");
    let chip = seen.iter().find(|(step, _)| *step == Step::Chip).map_or("", |(_, said)| said.as_str());
    ensure!(chip.starts_with(sample.says[1]), "the chip is {chip}");
    Ok(())
}

/// A report alone, whose nonce is what is in it.
fn alone(report: Vec<u8>, above: &[Vec<u8>]) -> Result<Evidence> {
    let nonce = report.get(0x50..0x90).context("the report is too short")?.to_vec();
    let mut evidence = Evidence { kind: Kind::Report, report, nonce, ..Evidence::default() };
    certificates::complete(&mut evidence, above)?;
    Ok(evidence)
}

fn milan() -> Result<Evidence> {
    let folder = of_crate("omne-attest", "0.1.0")?.join("tests/fixtures/snp");
    alone(fs::read(folder.join("attestation.bin"))?, &[fs::read(folder.join("kds_vcek.der"))?])
}

fn genoa() -> Result<Evidence> {
    let folder = of_crate("sev_attest_tool", "0.1.0")?.join("data");
    let fields = serde_json::from_slice(&fs::read(folder.join("sample_attestation_report.json"))?)?;
    let vcek = pem::der(&fs::read(folder.join("sample_vcek.crt"))?)?;
    alone(of_fields(&fields)?, &[vcek])
}

fn azure() -> Result<Evidence> {
    let folder = of_crate("az-snp-vtpm", "0.8.2")?.join("test");
    let mut evidence = input::of_file(&fs::read(folder.join("hcl-report-snp.bin"))?)?.evidence;
    let above = certificates::of_file(&fs::read(folder.join("certs.pem"))?)?;
    certificates::complete(&mut evidence, &above)?;
    Ok(evidence)
}

/// Where cargo has unpacked a crate, which it fetches if it is not there.
fn of_crate(name: &str, version: &str) -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo"))).context("cargo has no home")?;
    let unpacked = || find(&home.join("registry/src"), &format!("{name}-{version}"));
    if let Some(found) = unpacked() {
        return Ok(found);
    }
    // In a folder of its own: of a workspace's crates it would say what is there.
    let place = Folder::new()?;
    let mut cargo = Command::new(host::workspace::cargo());
    let output = cargo.current_dir(place.path()).args(["info", "--quiet", &format!("{name}@{version}")]).output()?;
    ensure!(output.status.success(), "cargo does not fetch {name}: {}", String::from_utf8_lossy(&output.stderr));
    unpacked().with_context(|| format!("cargo has fetched {name} {version}, and it is not in {}", home.display()))
}

fn find(registries: &Path, name: &str) -> Option<PathBuf> {
    let registries = fs::read_dir(registries).ok()?.filter_map(Result::ok);
    registries.map(|registry| registry.path().join(name)).find(|folder| folder.is_dir())
}

/// A report of version 2 by its fields, as the crate sev 1.2 has written them (SEV-SNP firmware ABI, table
/// "ATTESTATION_REPORT").
fn of_fields(fields: &serde_json::Value) -> Result<Vec<u8>> {
    let number = |name: &str| fields[name].as_u64().with_context(|| format!("no number `{name}`"));
    let octets = |value: &serde_json::Value| -> Result<Vec<u8>> {
        let octets = value.as_array().context("no list of octets")?;
        octets.iter().map(|octet| Ok(u8::try_from(octet.as_u64().context("no octet")?)?)).collect()
    };
    let mut report = vec![0; 0x4A0];
    let mut put = |at: usize, bytes: &[u8]| -> Result<()> {
        report.get_mut(at..at + bytes.len()).context("a field behind the report")?.copy_from_slice(bytes);
        Ok(())
    };
    for (at, length, name) in [
        (0x00, 4, "version"),
        (0x04, 4, "guest_svn"),
        (0x08, 8, "policy"),
        (0x30, 4, "vmpl"),
        (0x34, 4, "sig_algo"),
        (0x40, 8, "plat_info"),
        (0x48, 4, "_author_key_en"),
        (0x1E8, 1, "current_build"),
        (0x1E9, 1, "current_minor"),
        (0x1EA, 1, "current_major"),
        (0x1EC, 1, "committed_build"),
        (0x1ED, 1, "committed_minor"),
        (0x1EE, 1, "committed_major"),
    ] {
        put(at, number(name)?.to_le_bytes().get(..length).context("too long")?)?;
    }
    for (at, name) in [
        (0x10, "family_id"),
        (0x20, "image_id"),
        (0x50, "report_data"),
        (0x90, "measurement"),
        (0xC0, "host_data"),
        (0xE0, "id_key_digest"),
        (0x110, "author_key_digest"),
        (0x140, "report_id"),
        (0x160, "report_id_ma"),
        (0x1A0, "chip_id"),
    ] {
        put(at, &octets(&fields[name])?)?;
    }
    for (at, name) in [(0x38, "current_tcb"), (0x180, "reported_tcb"), (0x1E0, "committed_tcb"), (0x1F0, "launch_tcb")]
    {
        for (place, level) in [(0, "bootloader"), (1, "tee"), (6, "snp"), (7, "microcode")] {
            let level = fields[name][level].as_u64().with_context(|| format!("{name} has no `{level}`"))?;
            put(at + place, &[u8::try_from(level)?])?;
        }
    }
    put(0x2A0, &octets(&fields["signature"]["r"])?)?;
    put(0x2E8, &octets(&fields["signature"]["s"])?)?;
    Ok(report)
}
