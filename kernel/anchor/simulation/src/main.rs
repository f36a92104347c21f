//! Runs schedules, finds the planted faults, and prints what has happened.

use anchor_simulation::plants::{AS_IT_IS, PLANTS};
use anchor_simulation::{Schedule, run, version};
use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;

/// Schedules that are tried for a planted fault, at most.
const TRIES: u64 = 200_000;

/// Anchors and TPMs in random schedules of a host that means ill.
#[derive(Debug, Parser)]
struct Args {
    /// How many schedules.
    #[arg(long, default_value_t = 1_000_000)]
    schedules: u64,
    /// The seed of the first; the others' follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the steps of the first schedule, and end.
    #[arg(long)]
    trace: bool,
    /// With this planted fault.
    #[arg(long, value_name = "NAME", default_value = AS_IT_IS, hide_default_value = true)]
    fault: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.trace {
        return trace(&args);
    }
    let begun = Instant::now();
    let counts = match run(&args.fault, args.seed, args.schedules) {
        Ok(counts) => counts,
        Err(broken) => {
            println!("BROKEN: {}; again: --seed {} --trace", broken.rule, broken.seed);
            return ExitCode::FAILURE;
        }
    };
    println!("{} schedules from seed {}: no rule is broken, in {:.0} s", args.schedules, args.seed, seconds(begun));
    if args.fault == AS_IT_IS && !plants(args.seed) {
        return ExitCode::FAILURE;
    }
    // The last line is the figure (docs/figures.md).
    println!(
        "{} schedules: {} starts and {} commits with a quorum, {} without; {} old copies refused, {} superseded; {} \
         turns lost; of moves {} tombstones, {} arrivals ({} of them onward), {} given up, {} waiting copies refused; \
         {} lies, {} power cuts, {} messages; no rule is broken{}",
        args.schedules,
        counts.starts,
        counts.commits,
        counts.without,
        counts.old,
        counts.superseded,
        counts.outrun,
        counts.tombstones,
        counts.arrivals,
        counts.onward,
        counts.given_up,
        counts.waiting_refused,
        counts.lies,
        counts.cuts,
        counts.messages,
        found(&args.fault)
    );
    ExitCode::SUCCESS
}

/// What is to be said of the planted faults, when they were looked for.
fn found(fault: &str) -> String {
    if fault == AS_IT_IS { format!(", and all {} faults are found", PLANTS.len()) } else { String::new() }
}

fn seconds(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64()
}

/// Whether every planted fault is found.
fn plants(seed: u64) -> bool {
    let mut all = true;
    for plant in PLANTS {
        match run(plant.module, seed, TRIES) {
            Ok(_) => {
                all = false;
                println!("NOT FOUND: {}", plant.what);
            }
            Err(found) => {
                println!("found: {}: schedule {}, {}", plant.what, found.seed - seed + 1, found.rule);
            }
        }
    }
    all
}

fn trace(args: &Args) -> ExitCode {
    let Some(run) = version(&args.fault) else {
        eprintln!("error: no fault has that name");
        return ExitCode::FAILURE;
    };
    match run(&Schedule { seed: args.seed, aloud: true }) {
        Ok(counts) => {
            println!("no rule is broken: {counts:?}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("BROKEN: {}", broken.rule);
            ExitCode::FAILURE
        }
    }
}
