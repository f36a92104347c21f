//! `cargo xtask demo`: Linux at VMPL2, what its TPM is good for, and how one changed word of its command line is
//! noticed.
//!
//! The secret is sealed to PCRs that are computed from the image alone, in both boots: every boot has a new TPM, so
//! none can unseal what another has sealed.

pub mod console;
pub mod policy;
pub mod verdict;

use crate::doctor;
use anyhow::{Context, Result, anyhow, ensure};
use console::{Console, Line};
use core::cell::RefCell;
use fs_err as fs;
use host::boot::{self, Built};
use host::figures::{self, Figure};
use host::guest::challenger::Challenger;
use host::guest::{self, System};
use host::qemu::Qemu;
use host::timeline::Step;
use host::{child, workspace};
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::{self, OfImage};
use quoin_verify::{Expectations, screen};
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;
use verdict::{Boot, Seen, Verdict};

/// What both command lines begin and end with.
const BEFORE: &str = "console=ttyS1";
const AFTER: &str = "quoin=demo";
/// The word that is changed.
const WORD: &str = "mitigations=auto";
/// The command line of `--shell`.
const SHELL: &str = "console=ttyS1 quiet quoin=shell";
/// PCRs that the secret is sealed to: the command line, the kernel and its initial file system.
const SEALED_TO: [u32; 2] = [8, 9];
/// MiB of the machine, of which the guest has 128 less; seconds until a guest must have powered off, which on quiet
/// cores takes 40.
const MEMORY: u32 = 512;
const TIMEOUT: u64 = 900;
/// A user at a shell may take a month.
const SHELL_TIMEOUT: u64 = 30 * 24 * 3600;

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 when the evidence was verified, and that of the changed command line refused for that word; 1 otherwise, and when \
                  something is missing."
)]
pub struct Args {
    /// Gives a shell on the guest's serial console instead.
    #[arg(long)]
    shell: bool,
    /// What the second boot has in the place of `mitigations=auto`. With the same word nothing can be refused, and the
    /// demo must fail.
    #[arg(long, value_name = "WORD", default_value = "mitigations=off", value_parser = word, conflicts_with = "shell")]
    change_to: String,
}

fn word(text: &str) -> Result<String> {
    ensure!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()), "one word, such as mitigations=off");
    Ok(text.to_owned())
}

/// The headings, with the time since the start.
struct Steps {
    started: Instant,
    number: usize,
}

impl Steps {
    fn new() -> Self {
        Self { started: Instant::now(), number: 0 }
    }

    fn begin(&mut self, title: &str) {
        self.number += 1;
        println!("\n{}. {title}  [{:.0} s]", self.number, self.started.elapsed().as_secs_f64());
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::new();
    let _ending = child::end_on_signals()?;
    println!("A vTPM for confidential VMs, in a software SEV-SNP machine that protects nothing.");
    steps.begin("What is needed");
    doctor::before_a_guest()?;
    steps.begin("The image is built, and its launch digest predicted");
    let system = System::prepare()?;
    if args.shell {
        return shell(&system, &mut steps);
    }
    let command_line = |word: &str| format!("{BEFORE} {word} {AFTER}");
    let (expected, changed) = (command_line(WORD), command_line(&args.change_to));
    let (good, other) = (system.build(&expected, "demo.igvm")?, system.build(&changed, "demo-changed.igvm")?);
    let (image, others) = (boot_log::expected(&good.image.bytes)?, boot_log::expected(&other.image.bytes)?);
    say_image(&system, &good, &expected, &image)?;
    let seal = seal(&image)?;

    steps.begin("Linux boots at VMPL2, with its serial console");
    // Each has a core of its own, if there are two.
    let (first, second) = thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut said = Vec::new();
            boot(&other, &seal, |shown| said.push(shown)).map(|booted| (booted, said))
        });
        let first = boot(&good, &seal, |shown| {
            if matches!(shown, Shown::Guest(Line::Userland(_))) {
                steps.begin("In the guest: tpm2-tools with /dev/tpmrm0");
            }
            shown.say();
        });
        (first, second.join())
    });
    let first = first?;
    steps.begin("The verifier judges the evidence, offline, by the image alone");
    let verified = judge(&first, &good, &expectations(&good, &image), true)?;

    steps.begin("The same image, one word of the command line changed");
    screen::say("  changed       ", &format!("{WORD} to {}; it has booted at the same time", args.change_to));
    screen::say("  launch digest ", &hex(&other.image.launch.digest));
    screen::say("  PCR 8         ", &hex(&others.predicted(8)?));
    let (second, said) = second.map_err(|_| anyhow!("the other boot was given up"))??;
    said.iter().for_each(Shown::say_briefly);
    steps.begin("The verifier judges the other evidence, by the expected image");
    println!("  Its launch digest:");
    let by_launch = judge(&second, &other, &expectations(&good, &image), false)?;
    println!("  Its PCRs, had that launch digest been accepted:");
    let by_events = judge(&second, &other, &expectations(&other, &image), false)?;
    let by_itself = quietly(&second, &other, &expectations(&other, &others), |_, _| {})?;
    let seen = Seen { good: of(&first), verified, bad: of(&second), by_launch, by_events, by_itself };
    Ok(conclude(&seen, &expected, &changed, &steps))
}

/// Seconds within which the demo ends only if nothing had to be compiled or fetched.
const WARM: f64 = 60.0;

fn conclude(seen: &Seen, expected: &str, changed: &str, steps: &Steps) -> ExitCode {
    let wrong = seen.wrong(expected, changed);
    let seconds = steps.started.elapsed().as_secs_f64();
    println!();
    for why in &wrong {
        screen::say("FAILED  ", why);
    }
    if wrong.is_empty() {
        let summary = "the expected image's evidence verified; with one word changed refused, by launch digest, by PCR 8, and by the TPM that would not unseal";
        screen::say("demo passed: ", &format!("{summary} ({seconds:.1} s)"));
        if seconds < WARM {
            figures::keep(Figure::Demo, &format!("{seconds:.0} s"));
        }
        return ExitCode::SUCCESS;
    }
    println!("demo failed ({seconds:.1} s)");
    ExitCode::FAILURE
}

fn shell(system: &System, steps: &mut Steps) -> Result<ExitCode> {
    let built = system.build(SHELL, "demo-shell.igvm")?;
    steps.begin("Linux boots at VMPL2; then a shell, with tpm2-tools. `exit` powers off");
    guest::interactive(&built, &guest::Boot { timeout: SHELL_TIMEOUT, ..how() })
}

fn how() -> guest::Boot {
    guest::Boot { memory: MEMORY, disk: None, timeout: TIMEOUT, verbose: false, qemu: Vec::new(), state_disk: None }
}

fn say_image(system: &System, built: &Built, command_line: &str, image: &OfImage) -> Result<()> {
    screen::say("  image         ", &format!("{} ({} bytes)", built.path.display(), built.image.bytes.len()));
    screen::say("  kernel        ", &format!("{}, unmodified", system.release));
    screen::say("  command line  ", command_line);
    screen::say("  launch digest ", &hex(&built.image.launch.digest));
    for number in SEALED_TO {
        screen::say(&format!("  PCR {number}         "), &hex(&image.predicted(number)?));
    }
    Ok(())
}

/// The policy that the image's boot fulfils.
fn seal(image: &OfImage) -> Result<[u8; 32]> {
    let values = SEALED_TO.into_iter().map(|number| Ok((number, image.predicted(number)?))).collect::<Result<_>>()?;
    Ok(policy::pcrs(&values))
}

/// What is shown of a boot.
enum Shown {
    /// A step of the firmware's.
    Firmware(Step),
    /// A line of the guest's.
    Guest(Line),
    /// How it has ended.
    End(String),
}

impl Shown {
    fn say(&self) {
        match self {
            Self::Firmware(step) => step.say(),
            Self::Guest(line) => line.say(),
            Self::End(text) => screen::say("  ", text),
        }
    }

    /// Without the console; what failed is what was to be refused, or the verdict says so.
    fn say_briefly(&self) {
        match self {
            Self::Guest(Line::Result(name, Some(why))) => screen::say("  REFUSED ", &format!("{name}: {why}")),
            Self::Guest(Line::Written(_)) => {}
            _ => self.say(),
        }
    }
}

/// What a boot has left.
struct Booted {
    challenger: Challenger,
    outcome: guest::Outcome,
}

fn boot(built: &Built, seal: &[u8], shown: impl FnMut(Shown)) -> Result<Booted> {
    let mut challenger = Challenger::new()?.with_policy(seal);
    let mut console = Console::default();
    let shown = RefCell::new(shown);
    let show = |what: Shown| shown.borrow_mut()(what);
    let wait = |qemu: &mut Qemu| {
        boot::hear_until_guest(qemu, &built.image, |_, step| {
            step.cloned().into_iter().for_each(|step| show(Shown::Firmware(step)))
        })
    };
    let outcome = guest::boot_after(built, &how(), wait, |bytes, serial| {
        console.take(bytes).into_iter().for_each(|line| show(Shown::Guest(line)));
        let answer = challenger.take(bytes)?;
        Ok(serial.write_all(&answer)?)
    });
    let log = built.path.with_extension("log");
    fs::write(&log, &challenger.transcript)?;
    let outcome = outcome.with_context(|| format!("what the guest wrote is in {}", log.display()))?;
    show(Shown::End(format!("{outcome}, {:.1} s after QEMU's start", outcome.elapsed.as_secs_f64())));
    ensure!(challenger.userland.is_some(), "Linux has not reached userland; what it wrote is in {}", log.display());
    Ok(Booted { challenger, outcome })
}

fn of(booted: &Booted) -> Boot {
    let ended = if booted.outcome.is_power_off() { Ok(()) } else { Err(booted.outcome.to_string()) };
    Boot { ended, checks: booted.challenger.checks.clone() }
}

/// What a verifier brings: the launch digest of `launched`, and the events of an image, which may be another.
fn expectations(launched: &Built, events: &OfImage) -> Expectations {
    Expectations {
        development_root: true,
        measurement: Some(launched.image.launch.digest),
        policy: Some(launched.image.launch.policy),
        boot_events: Some(events.clone()),
        ..Expectations::default()
    }
}

/// Judges what `booted`, which was launched from `built`, has given; prints the steps, or of those that are ok only how
/// many.
fn judge(booted: &Booted, built: &Built, expectations: &Expectations, all: bool) -> Result<Verdict> {
    let mut count = 0;
    let verdict = quietly(booted, built, expectations, |step, seen| {
        count += 1;
        if all {
            screen::say(&format!("  ok      {:<22} ", step.to_string()), seen);
        }
    })?;
    if !all {
        println!("  ok      {count} steps");
    }
    if let Err(failure) = &verdict {
        screen::say(&format!("  REFUSED {:<22} ", failure.step.to_string()), &format!("{:#}", failure.why));
    }
    Ok(verdict)
}

fn quietly(
    booted: &Booted,
    built: &Built,
    expectations: &Expectations,
    mut report: impl FnMut(quoin_verify::Step, &str),
) -> Result<Verdict> {
    let evidence = booted.challenger.evidence(&built.image.launch.digest)?;
    evidence.write(&workspace::target_dir()?.join("guest").join(built.path.file_stem().unwrap_or_default()))?;
    let mut steps = 0;
    let verdict = quoin_verify::verify(&evidence, expectations, |step, seen| {
        steps += 1;
        report(step, seen);
    });
    Ok(verdict.map(|()| steps))
}

#[cfg(test)]
mod tests {
    use super::{Args, word};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_word_is_one_word() {
        assert_eq!(word("mitigations=off").unwrap(), "mitigations=off");
        assert!(word("").is_err() && word("two words").is_err());
        assert_eq!(Line::try_parse_from(["demo"]).unwrap().args.change_to, "mitigations=off");
        assert!(Line::try_parse_from(["demo", "--shell", "--change-to", "nosmp"]).is_err());
    }
}
