//! The suite `clients`: programs by others before our TPM and its evidence, each unpatched, one by one. Which pass, in
//! which version, against what; and which commands each sends (docs/clients.md).
//!
//! | module | is |
//! |---|---|
//! | [`list`] | all clients |
//! | [`place`] | the TPM that a client finds |
//! | [`trace`] | what a client has sent |
//! | [`page`] | docs/clients.md |
//! | [`scripts`] | what clients do, as scripts |
//! | [`azure`] | what Azure's attestation tools do with a report, by their rules |
//! | [`go`] | programs in Go, from Debian's packages |
//! | [`virtee`] | the crate sev |
//! | [`reports`] | reports of real processors, before our verifier |

#![forbid(unsafe_code)]

pub mod azure;
pub mod go;
pub mod list;
pub mod logs;
pub mod page;
pub mod place;
pub mod reports;
pub mod scripts;
pub mod trace;
pub mod virtee;

use anyhow::{Context, Result, bail, ensure};
use booted::Totals;
use core::time::Duration;
use host::boot::Built;
use host::fetch::within;
use host::relay::SerialRelay;
use host::shell::NOT;
use list::{CLIENTS, Client, Does, How};
use place::{Place, Tpm};
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use tpm_ports::Record;

/// How long a step may take.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Serves a TPM at a local port as long as somebody works with it, who is told where; the trace hears all of it.
pub type Serve = fn(SerialRelay<UnixStream>, Box<dyn Record>, &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;

/// What the suite is made of that lies above it.
#[derive(Debug, Clone, Copy)]
pub struct Kit<'a> {
    /// The image that is shipped, and the machine.
    pub built: &'a Built,
    /// Serves a firmware's TPM.
    pub serve: Serve,
    /// Builds `quoin-tpm` with a profile.
    pub server: fn(&str) -> Result<PathBuf>,
    /// virtee's snpguest, of this version.
    pub snpguest: fn() -> Result<PathBuf>,
    /// Its version.
    pub snpguest_version: &'static str,
    /// Runs a suite of `cargo xtask test`.
    pub suite: fn(&Built, &str) -> Result<Totals>,
}

/// What a client's scripts need.
#[derive(Debug, Default)]
pub struct Ready {
    /// The client's version.
    pub version: String,
    /// For the scripts' environment.
    pub variables: Vec<(&'static str, OsString)>,
    /// For the scripts.
    pub functions: String,
}

/// One thing that a client has done.
#[derive(Debug)]
pub struct Done {
    /// What.
    pub step: String,
    /// Why it failed, if it did.
    pub outcome: Result<(), String>,
    /// The commands that it sent, where they are known.
    pub commands: Option<Vec<String>>,
}

/// A client that has run.
#[derive(Debug)]
pub struct Ran {
    /// Which.
    pub client: &'static Client,
    /// Its version.
    pub version: String,
    /// What it has done.
    pub done: Vec<Done>,
    /// In seconds.
    pub seconds: f64,
}

impl Ran {
    /// Whether it has done something, and failed in nothing.
    pub fn passed(&self) -> bool {
        !self.done.is_empty() && self.done.iter().all(|done| done.outcome.is_ok())
    }
}

/// Runs the clients for which `wanted` holds, prints the table, keeps it for the page, and counts the steps; `judge`
/// has the page say what the run says.
pub fn run(kit: &Kit<'_>, wanted: impl Fn(&Client) -> bool, judge: bool) -> Result<Totals> {
    let (mut totals, mut ran) = (Totals::default(), Vec::new());
    for client in CLIENTS.iter().filter(|client| wanted(client)) {
        println!("-- {}, against {}", client.name, client.against());
        let one = one(kit, client);
        for done in &one.done {
            let outcome = done.outcome.clone().map_err(|why| anyhow::anyhow!("{why}"));
            totals += booted::case(&format!("{}: {}", client.name, done.step), outcome);
        }
        ran.push(one);
        // At once: a whole run takes long, and what ends it loses nothing.
        page::keep(&ran)?;
    }
    ensure!(!ran.is_empty(), "no client is called so; there are\n  {}", list::names().join("\n  "));
    println!("\n{}", page::printed(&ran));
    println!("docs/clients.md: `cargo xtask figures` writes these tables");
    if judge {
        totals += booted::case("docs/clients.md says what these clients have sent", page::judge(&ran));
    }
    Ok(totals)
}

/// A client that cannot run has failed.
fn one(kit: &Kit<'_>, client: &'static Client) -> Ran {
    let started = Instant::now();
    let (version, done) = attempt(kit, client).unwrap_or_else(|error| {
        let failed = Done { step: "runs".into(), outcome: Err(format!("{error:#}")), commands: None };
        (String::from("?"), vec![failed])
    });
    Ran { client, version, done, seconds: started.elapsed().as_secs_f64() }
}

fn attempt(kit: &Kit<'_>, client: &Client) -> Result<(String, Vec<Done>)> {
    let ready = (client.prepare)(kit).context("it cannot be had")?;
    let done = match client.how {
        How::Steps(place, steps) => at_a_tpm(kit, place, &ready, steps)?,
        How::Conformance(suite, part) => by_others(kit, suite, part)?,
        How::Suite(name) => vec![by_suite(name, (kit.suite)(kit.built, name)?)],
    };
    Ok((ready.version, done))
}

/// All steps with one TPM and in one folder; behind the first that fails there is none.
fn at_a_tpm(kit: &Kit<'_>, place: Place, ready: &Ready, steps: &[list::Step]) -> Result<Vec<Done>> {
    place::with(kit, place, |tpm| {
        let mut done = Vec::new();
        for (step, does) in steps {
            let before = tpm.heard.commands()?.len();
            let outcome = match does {
                Does::Script(script) => by_script(tpm, ready, script),
                Does::Ours(rules) => rules(tpm),
            };
            let commands = tpm.heard.commands()?.split_off(before);
            let failed = outcome.is_err();
            let outcome = outcome.map_err(|error| format!("{error:#}"));
            done.push(Done { step: (*step).to_owned(), outcome, commands: Some(commands) });
            if failed {
                break;
            }
            place::clean(tpm)?;
        }
        Ok(done)
    })
}

fn by_script(tpm: &Tpm<'_>, ready: &Ready, script: &str) -> Result<()> {
    let mut bash = Command::new("bash");
    let functions = &ready.functions;
    bash.arg("-c").arg(format!("set -euo pipefail\n{NOT}{functions}\n{script}")).current_dir(tpm.folder);
    bash.env("TPM2TOOLS_TCTI", tpm.tcti).env("PORT", tpm.port()).env("TSS2_LOG", "all+ERROR");
    bash.envs(ready.variables.iter().map(|(name, value)| (*name, value)));
    let Some(output) = within(&mut bash, TIMEOUT)? else { bail!("not done in {} s", TIMEOUT.as_secs()) };
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stdout).trim());
    Ok(())
}

/// Cases of a suite of `cargo xtask conformance` whose names begin with `part`.
fn by_others(kit: &Kit<'_>, suite: &str, part: &str) -> Result<Vec<Done>> {
    let (tests, bench) = conformance::alone(suite, place::servers(kit)?, part)?;
    let done = |(name, verdict): conformance::Tested| {
        let outcome = match verdict {
            conformance::Verdict::Passed => Ok(()),
            conformance::Verdict::Failed(why) | conformance::Verdict::Skipped(why) => Err(why),
        };
        let commands = trace::of_trace(&bench.trace(&name)).ok();
        let step = name.strip_prefix(part).unwrap_or(&name).trim_start_matches([':', ' ']).to_owned();
        Done { step, outcome, commands }
    };
    Ok(tests.into_iter().map(done).collect())
}

fn by_suite(name: &str, totals: Totals) -> Done {
    let outcome = if totals.failed == 0 && totals.passed > 0 { Ok(()) } else { Err(totals.to_string()) };
    Done { step: format!("suite `{name}`"), outcome, commands: None }
}
