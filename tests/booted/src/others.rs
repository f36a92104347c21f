//! Evidence of ours before programs by others, unpatched, and the same with something changed, which they refuse.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use host::boot::{self, Built};
use host::qemu::Folder;
use host::{collect, debian};
use quoin_verify::digest::hex;
use quoin_verify::evidence::folder::{CHECKQUOTE, Evidence};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// OpenSSL and tpm2-tools.
const TOOLS: [debian::Wanted; 3] =
    [("openssl", "openssl"), ("tpm2_checkquote", "tpm2-tools"), ("tpm2_eventlog", "tpm2-tools")];

/// What OpenSSL and tpm2-tools say of a folder.
pub fn cases(evidence: &Evidence) -> Totals {
    let mut totals = case("openssl verify: the chain leads to the root, and not to another", chain(evidence));
    totals += case("tpm2_checkquote: quote, AK, nonce and PCRs, and nothing else", quote(evidence));
    totals += case("tpm2_eventlog: without a warning, to the quoted PCRs", log(evidence));
    totals
}

/// Evidence of a booted firmware before virtee's snpguest, which `program` brings.
pub fn snpguest(built: &Built, program: impl FnOnce() -> Result<PathBuf>) -> Result<Totals> {
    let program = program()?;
    let mut qemu = boot::start(built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let evidence = collect::gather(&mut qemu.relay()?, &built.image.launch.digest)?;
    drop(qemu);
    let folder = Folder::new()?;
    evidence.write(folder.path())?;
    let says = |arguments: &[&str]| run(Command::new(&program).args(arguments), folder.path());
    let mut totals = case("snpguest verify certs", says(&["verify", "certs", "."]).and_then(accepted));
    let attestation = ["verify", "attestation", ".", "report.bin"];
    totals += case("snpguest verify attestation: signature, TCB and chip", says(&attestation).and_then(accepted));
    for (name, at) in [("MEASUREMENT", 0x90), ("REPORT_DATA", 0x50), ("REPORTED_TCB", 0x180), ("the signature", 0x2A0)]
    {
        let mut report = evidence.report.clone();
        *report.get_mut(at).context("the report is too short")? ^= 1;
        fs::write(folder.path().join("report.bin"), report)?;
        totals += case(&format!("snpguest refuses another {name}"), says(&attestation).and_then(refused));
    }
    Ok(totals)
}

fn run(command: &mut Command, folder: &Path) -> Result<Output> {
    command.current_dir(folder).output().with_context(|| format!("cannot start {command:?}"))
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn accepted(output: Output) -> Result<()> {
    ensure!(output.status.success(), "{}: {}", output.status, said(&output));
    Ok(())
}

fn refused(output: Output) -> Result<()> {
    ensure!(!output.status.success(), "accepted: {}", said(&output));
    Ok(())
}

fn written(evidence: &Evidence) -> Result<Folder> {
    debian::ensure(&TOOLS)?;
    let folder = Folder::new()?;
    evidence.write(folder.path())?;
    Ok(folder)
}

fn chain(evidence: &Evidence) -> Result<()> {
    let folder = written(evidence)?;
    for name in ["ark", "ask", "vcek"] {
        let (from, to) = (format!("{name}.der"), format!("{name}.pem"));
        let mut convert = Command::new("openssl");
        convert.args(["x509", "-inform", "der", "-in", &from, "-out", &to]);
        accepted(run(&mut convert, folder.path())?)?;
    }
    let verify = |root: &str, with: &str| {
        run(Command::new("openssl").args(["verify", "-CAfile", root, "-untrusted", with, "vcek.pem"]), folder.path())
    };
    accepted(verify("ark.pem", "ask.pem")?)?;
    refused(verify("vcek.pem", "ask.pem")?)
}

fn quote(evidence: &Evidence) -> Result<()> {
    let folder = written(evidence)?;
    let check = |pcrs: &str, nonce: &str| {
        let mut command = Command::new("tpm2_checkquote");
        command.args(["-u", "ak.pub", "-m", "quote.msg", "-s", "quote.sig", "-g", "sha256", "-f", pcrs, "-q", nonce]);
        run(&mut command, folder.path())
    };
    let nonce = hex(&evidence.quote_nonce);
    accepted(check(CHECKQUOTE, &nonce)?)?;
    refused(check(CHECKQUOTE, &hex(&[7; 32]))?)?;
    let mut other = evidence.clone();
    *other.pcrs.last_mut().context("no PCRs")? ^= 1;
    let changed = written(&other)?;
    fs::copy(changed.path().join(CHECKQUOTE), folder.path().join("other.pcrs"))?;
    refused(check("other.pcrs", &nonce)?)
}

fn log(evidence: &Evidence) -> Result<()> {
    let folder = written(evidence)?;
    let output = run(Command::new("tpm2_eventlog").arg("events.bin"), folder.path())?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for pcr in [8, 9] {
        let value = evidence.pcrs.get(32 * pcr..32 * pcr + 32).context("too few PCRs")?;
        ensure!(text.contains(&format!("{pcr}  : 0x{}", hex(value))), "PCR {pcr} is another:\n{text}");
    }
    Ok(())
}
