//! 1,000 TPMs in one process, used by eight threads: prints the memory of each.

use needs::many;
use std::time::Instant;

fn main() {
    let started = Instant::now();
    let seen = many::together(1000, 8);
    let kib = |octets: usize| octets.div_ceil(1024);
    println!(
        "1000 TPMs, 8 threads: {} KiB of memory each, of which a TPM is {} KiB and a state at most {} KiB; {} KiB each \
         are left when they are gone; {} commands and as many TPMs made and saved in {:.1} s",
        kib(seen.grown),
        kib(seen.size),
        kib(seen.state),
        kib(seen.left),
        seen.commands,
        started.elapsed().as_secs_f64()
    );
}
