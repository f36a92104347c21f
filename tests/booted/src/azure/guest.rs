//! Debian's kernel, unmodified, at VMPL2 with a vTPM as Azure's: tpm2-tools at `/dev/tpmrm0` and az-snp-vtpm at
//! `/dev/tpm0`, both unpatched, do in the guest what they do on Azure, and the verifier outside accepts what comes of
//! it.

use super::super::linux::{all_made, boot, powered_off, reached};
use super::super::{Totals, case};
use super::client::{self, PROGRAM, pem};
use anyhow::{Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::guest::challenger::Challenger;
use host::guest::debian::Debian;
use host::guest::{System, initrd};
use host::psp::Identity;
use host::workspace;
use quoin_image::guest::Personality;
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::input::azure;
use quoin_verify::input::certificates::complete;
use quoin_verify::verdict::Verdict;
use quoin_verify::{Expectations, Step};

/// What `init` is told.
const COMMAND_LINE: &str = "console=ttyS1 quiet quoin=azure";
/// What `init` and its part `azure` check.
const CHECKS: usize = 9 + 10;

/// One boot.
pub fn run() -> Result<Totals> {
    let system = system()?;
    println!("kernel {}", system.release);
    let built = system.build_with(Personality::Azure, COMMAND_LINE, "linux-azure.igvm")?;
    let (challenger, outcome) = boot(&built)?;
    let mut totals = case("userland is reached", reached(&challenger, &outcome));
    for (name, why) in &challenger.checks {
        let outcome = why.as_ref().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")));
        totals += case(&format!("in the guest: {name}"), outcome);
    }
    totals += case("the guest has made all its checks", all_made(&challenger, CHECKS));
    totals += case("the guest powers off, and the machine says so", powered_off(&outcome));
    totals += case(
        "the verifier accepts report, claims, AK, quote, PCRs and log, and no other claims",
        evidence(&challenger, &built).and_then(|evidence| judged(evidence, &built.expectations()?)),
    );
    Ok(totals)
}

/// With the program, the certificates that Azure's metadata service would give, and the script.
fn system() -> Result<System> {
    let built_at = client::build()?;
    let mut files = initrd::program(&Debian::fetch()?, "bin/azure-client", &built_at.join(PROGRAM))?;
    let Identity { ark, ask, vcek, .. } = Identity::development();
    files.push(("chain/vcek.pem".into(), pem(&vcek)?));
    files.push(("chain/chain.pem".into(), [pem(&ask)?, pem(&ark)?].concat()));
    files.push(("azure".into(), fs::read(workspace::root()?.join("tests/guest/linux/azure"))?));
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    System::prepare()?.with_files(&files)
}

/// What a verifier outside has: the index's contents, a quote by the key that its claims name, and the log.
fn evidence(challenger: &Challenger, built: &Built) -> Result<Evidence> {
    let ours = challenger.evidence(&built.image.launch.digest)?;
    let mut evidence = azure::report(&challenger.file("hcl-report.bin")?)?;
    evidence.quote = challenger.file("azure.msg")?;
    evidence.quote_signature = azure::signature(challenger.file("azure.sig")?);
    evidence.pcrs = challenger.file("azure.pcrs")?;
    (evidence.quote_nonce, evidence.boot_events) = (ours.quote_nonce, ours.boot_events);
    let Identity { ark, ask, vcek, .. } = Identity::development();
    complete(&mut evidence, &[vcek, ask, ark])?;
    Ok(evidence)
}

fn judged(mut evidence: Evidence, expectations: &Expectations) -> Result<()> {
    let verdict = Verdict::of(&evidence, expectations);
    ensure!(verdict.status() == 0, "{:?}", verdict.failed());
    evidence.claims[100] ^= 1;
    let status = Verdict::of(&evidence, expectations).status();
    ensure!(status == Step::ReportData.status(), "with other claims the status is {status}");
    Ok(())
}
