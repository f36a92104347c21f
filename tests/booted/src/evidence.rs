//! Evidence of a running firmware: verified, bound to the image that was launched, and refused after every single-bit
//! flip.
//!
//! [`flips`] says which step must notice a flip, file by file; the verifier's own tests apply it to evidence that was
//! made without a machine.

use super::{Totals, case, others};
use anyhow::{Context, Result, bail, ensure};
use host::boot::{self, Built};
use host::collect::{self, Through, VTPM_GUID};
use host::figures::{self, Figure};
use host::qemu::Folder;
use host::relay::{AttestCall, Attestation, Relay, result_name};
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::extended;
use quoin_verify::evidence::event_log::EventLog;
use quoin_verify::evidence::folder::{Evidence, Kind};
use quoin_verify::evidence::manifest;
use quoin_verify::flips::flips;
use quoin_verify::input;
use quoin_verify::predict::{Pcr, Prediction};
use quoin_verify::tcti::gather::{Request, gather};
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, Step};
use sha2::{Digest, Sha256};
use std::process::{Command, Output};

/// Boots, gathers evidence, and judges it as it is and with each of many bits flipped.
pub fn run(built: &Built) -> Result<Totals> {
    let mut qemu = boot::start(built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let gathered = collect::gather(&mut relay, &built.image.launch.digest)
        .with_context(|| format!("collecting evidence failed\n{}", qemu.last_lines()))?;
    let request = Request { report: Some(gathered.clone()), ..Request::default() };
    let answered = gather(&mut Through(&mut relay), request);
    let listed = listed(&mut relay, &gathered);
    let certified = gather(&mut Through(&mut relay), Request::default());
    drop(qemu);
    let expectations = built.expectations()?;
    let mut totals =
        case("`xtask verify` accepts genuine evidence", verb(built, &gathered, 0, "verified: 20 steps ok"));
    totals += case(
        "a verifier that asks the running TPM itself accepts it with its report, and with no other's",
        answered.and_then(|answered| asked(&answered, &expectations)),
    );
    totals += case(
        "the manifest of version 1 names EK and AK, alone and among all services, and there is no version 2",
        listed.and_then(|listed| judged(&listed, &expectations)),
    );
    totals += case(
        "a verifier that brings nothing is given a report by the EK's certificate",
        certified.and_then(|certified| carried(certified, &expectations)),
    );
    totals += case("what is predicted of the image's PCRs is what is quoted", predicted(built, &gathered, &[]));
    totals += case("`xtask measure` prints the digest that the report has signed", measured(built, &gathered));
    totals += case("`xtask verify` names the step that fails, by text and exit status", named(built, &gathered));
    totals += others::cases(&gathered);
    let (mut bits, mut files) = (0, 0);
    for flips in flips(&gathered, &expectations) {
        (bits, files) = (bits + flips.bits, files + 1);
        let name = format!("{}: each of {} flipped bits is refused at the right step", flips.file, flips.bits);
        totals += case(&name, flips.outcome);
    }
    if totals.failed == 0 {
        figures::keep(Figure::Flips, &format!("{bits} in {files} files"));
    }
    Ok(totals)
}

/// What configfs-tsm would give of a manifest of version 1.
fn listed(relay: &mut dyn Relay, gathered: &Evidence) -> Result<Evidence> {
    const INVALID_PARAMETER: u64 = 0x8000_0005;
    let nonce = gathered.nonce.as_slice();
    let Attestation { rax, report, manifest, .. } = relay.attest(AttestCall::Single(VTPM_GUID), 1, nonce)?;
    ensure!(rax == 0, "{}", result_name(rax));
    let keys = manifest::list(&manifest)?;
    let ak = gathered.ak.get(2..).unwrap_or_default();
    ensure!(keys.len() == 5 && keys.contains(&ak), "{} keys, or the AK is not among them", keys.len());
    let all = relay.attest(AttestCall::Services, 0, nonce)?;
    ensure!(all.manifest.ends_with(&manifest), "the list is not the last of all services");
    let unknown = relay.attest(AttestCall::Single(VTPM_GUID), 2, nonce)?;
    ensure!(unknown.rax == INVALID_PARAMETER, "version 2: {}", result_name(unknown.rax));
    let Evidence { ark, ask, vcek, nonce, .. } = gathered.clone();
    Ok(Evidence { kind: Kind::Report, report, manifest, ark, ask, vcek, nonce, ..Evidence::default() })
}

/// Every PCR is as the file says before any boot, and as the challenger has extended it since; but for these, whose
/// events the file does not know.
pub(super) fn predicted(built: &Built, evidence: &Evidence, unknown: &[u32]) -> Result<()> {
    let challengers = EventLog::parse(&evidence.events)?.events;
    let pcrs = Prediction::of(&built.image.bytes)?.pcrs();
    ensure!(pcrs.len() == 24 && evidence.pcrs.len() == 24 * 32, "{} PCRs", pcrs.len());
    for ((number, predicted), quoted) in (0_u32..).zip(pcrs).zip(evidence.pcrs.chunks_exact(32)) {
        let value = match predicted {
            Pcr::Known(value) => value,
            Pcr::Unknown(_) if unknown.contains(&number) => continue,
            other => bail!("PCR {number} is not known before the boot: {other:?}"),
        };
        let its = challengers.iter().filter(|event| event.pcr == number);
        let value = its.fold(value, |value, event| extended(&value, &Sha256::digest(event.measured())));
        ensure!(value == quoted, "PCR {number} is {}, and {} was predicted", hex(quoted), hex(&value));
    }
    Ok(())
}

fn judged(evidence: &Evidence, expectations: &Expectations) -> Result<()> {
    let verdict = Verdict::of(evidence, expectations);
    ensure!(verdict.status() == 0, "{:?}", verdict.failed());
    Ok(())
}

/// What `quoin-verify --tcti TCTI` judges.
fn carried(mut evidence: Evidence, expectations: &Expectations) -> Result<()> {
    input::carry(&mut evidence, &[])?;
    judged(&evidence, expectations)?;
    ensure!(evidence.nonce.is_empty() && !evidence.statement.is_empty(), "the report is not by the certificate");
    evidence.statement.clear();
    let status = Verdict::of(&evidence, expectations).status();
    ensure!(status != 0, "without the issuer it is accepted");
    Ok(())
}

/// What `quoin-verify FOLDER --tcti TCTI` judges.
fn asked(answered: &Evidence, expectations: &Expectations) -> Result<()> {
    let verdict = Verdict::of(answered, expectations);
    ensure!(verdict.status() == 0, "{:?}", verdict.failed());
    let mut other = answered.clone();
    other.nonce[0] ^= 1;
    let status = Verdict::of(&other, expectations).status();
    ensure!(status == Step::ReportData.status(), "with a report for another challenge the status is {status}");
    Ok(())
}

/// The report's MEASUREMENT is the machine's word; the file's digest is that of [`quoin_verify::digest`], which shares
/// nothing with it.
fn measured(built: &Built, evidence: &Evidence) -> Result<()> {
    let output = Command::new(std::env::current_exe()?).arg("measure").arg(&built.path).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let signed = hex(evidence.report.get(0x90..0xC0).context("the report is too short")?);
    ensure!(printed.trim() == signed, "printed {}, signed {signed}", printed.trim());
    Ok(())
}

/// A quote of another nonce: the seventeenth step.
fn named(built: &Built, evidence: &Evidence) -> Result<()> {
    let mut replayed = evidence.clone();
    replayed.quote_nonce[0] ^= 1;
    verb(built, &replayed, 26, "FAILED  quote nonce")
}

fn verb(built: &Built, evidence: &Evidence, status: i32, says: &str) -> Result<()> {
    verb_with(built, evidence, status, &[says])
}

/// Calls the verb as a user does; it must end with `status` and say all of `says`, wherever its lines break.
pub(super) fn verb_with(built: &Built, evidence: &Evidence, status: i32, says: &[&str]) -> Result<()> {
    let folder = Folder::new()?;
    evidence.write(folder.path())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["verify", "--development-root", "--igvm"]).arg(&built.path).arg(folder.path());
    let Output { status: ended, stdout, stderr } = command.output()?;
    let said = [stdout, stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in says {
        let wanted = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(
            ended.code() == Some(status) && words.contains(&wanted),
            "{ended}, expected {status} and `{expected}`:\n{said}"
        );
    }
    Ok(())
}
