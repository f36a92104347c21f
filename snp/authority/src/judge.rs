//! Whether a request is to be granted: its certificate is judged as `quoin-verify cert` does it, with a reference for
//! the launch digest, and the request is for the key that the report is over.

use crate::messages::Request;
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use quoin_verify::digest::{self, LaunchDigest};
use quoin_verify::evidence::carried;
use quoin_verify::evidence::folder::Kind;
use quoin_verify::input::{self, certificates};
use quoin_verify::judge::{Finding, State};
use quoin_verify::policy::{Hex, Rules};
use quoin_verify::verdict::{Outcome, Verdict};
use quoin_verify::{Expectations, pem};
use std::path::{Path, PathBuf};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::CertReq;

/// What is wanted of a report.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JudgeArgs {
    /// A policy file, as `quoin-verify` takes it (docs/policy.md).
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// The IGVM file whose launch digest the report must show.
    #[arg(long, value_name = "FILE", conflicts_with = "measurement")]
    igvm: Option<PathBuf>,
    /// The launch digest that the report must show, 96 hexadecimal digits.
    #[arg(long, value_name = "HEX", value_parser = launch_digest)]
    measurement: Option<LaunchDigest>,
    /// Accept the committed mock root, whose chip key is public. For development and tests: it proves nothing.
    #[arg(long)]
    development_root: bool,
    /// A certificate revocation list, in DER or PEM; may be given several times.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// Certificates of AMD's that the host does not give, in DER or PEM; may be given several times.
    #[arg(long, value_name = "FILE")]
    certificates: Vec<PathBuf>,
}

fn launch_digest(text: &str) -> Result<LaunchDigest> {
    Ok(Hex::<48>::parse(text).context("a launch digest has 96 hexadecimal digits")?.0)
}

/// The certificates in a file.
pub(crate) fn certificates_of(path: &Path) -> Result<Vec<Vec<u8>>> {
    certificates::of_file(&fs::read(path)?).with_context(|| path.display().to_string())
}

impl JudgeArgs {
    /// What a report is judged by. Somebody must say which launch digest is right.
    pub(crate) fn expectations(&self) -> Result<Expectations> {
        let mut rules = self.policy_file.as_ref().map_or_else(|| Ok(Rules::default()), |path| Rules::read(path))?;
        for path in &self.crl {
            rules.crls.push(pem::der(&fs::read(path)?).with_context(|| path.display().to_string())?);
        }
        let image = self.igvm.as_ref().map(fs::read).transpose()?;
        let of_image = image.as_deref().map(digest::measure).transpose().context("the IGVM file cannot be measured")?;
        let measurement = of_image.map(|measured| measured.digest).or(self.measurement);
        let expectations =
            Expectations { development_root: self.development_root, measurement, rules, ..Expectations::default() };
        ensure!(
            expectations.has_reference(),
            "which firmware is right? --igvm FILE, --measurement HEX, or `launch` in a policy file"
        );
        Ok(expectations)
    }

    /// Certificates of AMD's that the operator brings.
    pub(crate) fn certificates(&self) -> Result<Vec<Vec<u8>>> {
        Ok(self.certificates.iter().map(|path| certificates_of(path)).collect::<Result<Vec<_>>>()?.concat())
    }
}

/// Fails if the request is not to be granted: with the first step that fails, and why.
pub(crate) fn judge(request: &Request<'_>, expectations: &Expectations, others: &[Vec<u8>]) -> Result<()> {
    let mut found = input::of_file(request.certificate).context("the issuer's certificate")?;
    ensure!(found.evidence.kind == Kind::Certificate, "the request has no certificate that carries a report");
    let above = if request.above.is_empty() { Vec::new() } else { certificates::of_file(request.above)? };
    found.certificates.extend(above);
    found.certificates.extend_from_slice(others);
    certificates::complete(&mut found.evidence, &found.certificates).context("the certificates of AMD's")?;
    let verdict = Verdict::of(&found.evidence, expectations);
    if let Some(Finding { step, state: State::Failed(why) }) = verdict.failed() {
        bail!("{}: {why:#}", step.name());
    }
    ensure!(verdict.outcome() == Outcome::Verified, "{}", verdict.missing.join("; "));
    let issuer = carried::issuer(&found.evidence.statement)?.to_der()?;
    let certificate = Certificate::from_der(request.certificate).context("the issuer's certificate")?;
    let own = certificate.tbs_certificate.subject_public_key_info.to_der()?;
    ensure!(own == issuer, "the certificate is not of the key that the report is over");
    let asked = CertReq::from_der(request.pkcs10).context("no request for a certificate (PKCS #10)")?;
    ensure!(asked.info.public_key.to_der()? == issuer, "the request is for another key than the report is over");
    Ok(())
}
