//! What the program does: `quoin-verify`, and `cargo xtask verify`.

use crate::digest::{self, LaunchDigest};
use crate::evidence::boot_log;
use crate::evidence::folder::Evidence;
use crate::judge::{Expectations, Failure, Step, verify};
use crate::screen;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use std::{path::PathBuf, process::ExitCode, time::SystemTime};

/// Every step is ok, on a launch digest that nobody but the collector vouches for.
pub const NOT_VERIFIED: u8 = 3;
/// The first step has failed; the next step's status is one more.
pub const FIRST_STEP: u8 = 10;

/// The program's options.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when every step is ok and --igvm or --measurement said which launch digest is right; 3 when every step is ok but neither \
                  did; otherwise 10 for the first step of the list that is printed, 11 for the second and so on; 1 when the folder or the IGVM file \
                  cannot be read; 2 when the arguments are wrong; 141 when nobody reads the output any more."
)]
pub struct Args {
    /// The evidence folder.
    dir: PathBuf,
    /// The IGVM file whose launch digest the report must show.
    #[arg(long, value_name = "FILE", conflicts_with = "measurement")]
    igvm: Option<PathBuf>,
    /// The launch digest that the report must show, 96 hexadecimal digits.
    ///
    /// Without it and without --igvm the digest that the collector expected is taken from the folder: what comes out is
    /// "consistent, not verified".
    #[arg(long, value_name = "HEX", value_parser = launch_digest)]
    measurement: Option<LaunchDigest>,
    /// Accept the committed mock root, whose chip key is public. For development and tests: it proves nothing.
    #[arg(long)]
    development_root: bool,
    /// The guest policy that the report must show, such as 0x30000; by default any without DEBUG and without a
    /// migration agent.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    policy: Option<u64>,
}

fn number(text: &str) -> Result<u64> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    value.context("a number, such as 0x30000")
}

/// Runs the program.
pub fn run(args: &Args) -> Result<ExitCode> {
    let evidence = Evidence::read(&args.dir)?;
    let image = args.igvm.as_ref().map(fs::read).transpose()?;
    let expectations = Expectations {
        development_root: args.development_root,
        measurement: expected_measurement(args, image.as_deref())?,
        policy: args.policy,
        boot_events: image.as_deref().map(boot_log::expected).transpose()?,
        now: SystemTime::now(),
    };
    Ok(print(&evidence, &expectations))
}

/// Judges and prints a line a step; gives the exit status of the program.
pub fn print(evidence: &Evidence, expectations: &Expectations) -> ExitCode {
    let mut status = FIRST_STEP;
    let verdict = verify(evidence, expectations, |step, seen| {
        screen::say(&format!("ok      {:<22} ", step.to_string()), seen);
        status += 1;
    });
    let Err(Failure { step, why }) = verdict else {
        let (head, text, status) = conclusion(expectations);
        screen::say(head, &text);
        return ExitCode::from(status);
    };
    screen::say(&format!("FAILED  {:<22} ", step.to_string()), &format!("{why:#}"));
    println!("not verified: steps after the failed one were not judged");
    ExitCode::from(status)
}

/// What it means that every step is ok: what is said first, what then, and the exit status.
pub(crate) fn conclusion(expectations: &Expectations) -> (&'static str, String, u8) {
    let steps = format!("{} steps ok", Step::COUNT);
    if expectations.measurement.is_some() {
        return ("verified: ", steps, 0);
    }
    let missing =
        "but the launch digest is the collector's own word; what is missing is --igvm FILE or --measurement HEX";
    ("consistent, not verified: ", format!("{steps}, {missing}"), NOT_VERIFIED)
}

fn expected_measurement(args: &Args, image: Option<&[u8]>) -> Result<Option<LaunchDigest>> {
    match image {
        Some(image) => Ok(Some(digest::measure(image).context("the IGVM file cannot be measured")?.digest)),
        None => Ok(args.measurement),
    }
}

fn launch_digest(text: &str) -> Result<LaunchDigest> {
    let mut bytes = [0; 48];
    ensure!(text.len() == 96 && text.is_ascii(), "a launch digest has 96 hexadecimal digits");
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = core::str::from_utf8(digits)?;
        *byte = u8::from_str_radix(digits, 16).with_context(|| format!("{digits} is not hexadecimal"))?;
    }
    Ok(bytes)
}
