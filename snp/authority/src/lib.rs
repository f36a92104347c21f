//! What an operator runs who wants certificates of its own in its guests' TPMs (docs/boot.md, "The operator's
//! authority"): the firmware asks for a certificate of the key by which it certifies the keys of its TPM, with a report
//! over that key; this judges the report as `quoin-verify` does, and has the operator's CA sign.
//!
//! Whoever brings the request is of no matter: it is the report that counts, and the certificate is of no use to
//! anybody who has not the key.
//!
//! | module | is |
//! |---|---|
//! | `judge` | whether a request is to be granted |
//! | `messages` | the request, and the answer |
//! | `serve` | the relay's end |

#![forbid(unsafe_code)]

mod judge;
mod messages;
mod serve;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use fs_err as fs;
use judge::JudgeArgs;
use messages::Request;
use quoin_tpm::AuthorityArgs;
use std::path::PathBuf;
use std::process::ExitCode;

pub use messages::{granted, refused};

/// Certify the keys by which Quoin's firmware certifies those of its TPM.
///
/// The firmware of an image that was packed with `--authority FILE` asks for that when it starts. It is given a
/// certificate if the report over its key is what you want: the launch digest of your image, and the rules of your
/// policy.
#[derive(Debug, Parser)]
#[command(name = "quoin-authority", version)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Answer one request, from a file to a file.
    ///
    /// Exit status 0: certified. 3: refused, and the answer says so.
    Issue(IssueArgs),
    /// Answer requests as they come over the relay, at a Unix socket.
    Serve(ServeArgs),
    /// Print the parts of a request into a folder: issuer.der and above.der for `quoin-verify cert`, and request.csr, a
    /// PKCS #10 request, for a CA of another kind; `--answer` puts together what that gives back.
    Show(ShowArgs),
    /// Put together an answer of certificates that another CA has issued: the issuer's first, up to the authority.
    Answer(AnswerArgs),
}

/// Options of `issue`.
#[derive(Debug, clap::Args)]
struct IssueArgs {
    /// The request.
    request: PathBuf,
    /// Where the answer goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Options of `serve`.
#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// The Unix socket, which is made.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// End after so many requests.
    #[arg(long, value_name = "NUMBER")]
    requests: Option<u64>,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The request.
    request: PathBuf,
    /// The folder, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
struct AnswerArgs {
    /// Certificates in DER or PEM, in their order.
    #[arg(required = true)]
    certificates: Vec<PathBuf>,
    /// Where the answer goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What is wanted of a report, and who signs.
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    judge: JudgeArgs,
    #[command(flatten)]
    authority: AuthorityArgs,
}

impl OperatorArgs {
    /// The answer to a request, and why it was refused if it was.
    ///
    /// # Errors
    /// What is the operator's own fault: a file that cannot be read, a CA that cannot sign. There is no answer then.
    pub fn answer(&self, request: &[u8]) -> Result<(Vec<u8>, Option<String>)> {
        let expectations = self.judge.expectations()?;
        let judged = Request::parse(request).and_then(|request| {
            judge::judge(&request, &expectations, &self.judge.certificates()?)?;
            Ok(request)
        });
        match judged {
            Err(why) => {
                let why = format!("{why:#}");
                Ok((refused(&why), Some(why)))
            }
            Ok(request) => {
                let chain = quoin_tpm::certify(&self.authority, request.pkcs10).context("the CA does not sign")?;
                Ok((granted(&chain), None))
            }
        }
    }
}

/// Runs the program.
///
/// # Errors
/// What cannot be read, written or signed.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.verb {
        Verb::Issue(args) => {
            let (answer, refusal) = args.operator.answer(&fs::read(&args.request)?)?;
            fs::write(&args.out, answer)?;
            println!("{}", refusal.as_ref().map_or_else(|| "certified".into(), |why| format!("refused: {why}")));
            Ok(if refusal.is_some() { ExitCode::from(3) } else { ExitCode::SUCCESS })
        }
        Verb::Serve(args) => serve::serve(&args.socket, args.requests, &args.operator).map(|()| ExitCode::SUCCESS),
        Verb::Show(args) => show(args).map(|()| ExitCode::SUCCESS),
        Verb::Answer(args) => {
            let parse = |path: &PathBuf| judge::certificates_of(path);
            let all = args.certificates.iter().map(parse).collect::<Result<Vec<_>>>()?.concat();
            fs::write(&args.out, granted(&all))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(args: &ShowArgs) -> Result<()> {
    let request = fs::read(&args.request)?;
    let request = Request::parse(&request)?;
    fs::create_dir_all(&args.out)?;
    for (name, octets) in
        [("issuer.der", request.certificate), ("above.der", request.above), ("request.csr", request.pkcs10)]
    {
        fs::write(args.out.join(name), octets)?;
    }
    Ok(())
}
