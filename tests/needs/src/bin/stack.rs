//! Prints how much stack each call of a TPM takes, the deepest first, and fails beyond the limit in KiB that it is
//! given: `cargo xtask needs`.

use needs::steps;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(limit) = std::env::args().nth(1).and_then(|kib| kib.parse::<usize>().ok()) else {
        eprintln!("usage: stack KIB");
        return ExitCode::FAILURE;
    };
    let mut calls: Vec<_> = steps::all().into_iter().collect();
    calls.sort_by_key(|(_, (used, _))| core::cmp::Reverse(*used));
    for (name, (used, step)) in &calls {
        println!("{:>6.1} KiB  {name} ({step})", *used as f64 / 1024.0);
    }
    let Some((name, (used, step))) = calls.first() else { return ExitCode::FAILURE };
    println!("{} KiB of {limit}: {name} ({step})", used.div_ceil(1024));
    if *used <= limit << 10 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
