//! `lies ANSWERS [SEED]`: devices that lie by chance, one after the other, until they have given so many answers. What
//! is shown is that nothing panics, that each call ends, and that nothing is written but what was asked for. A seed
//! whose device does it otherwise is named, and found again by `lies 1 SEED`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let Some(Ok(wanted)) = arguments.next() else { return usage() };
    let seed = match arguments.next() {
        None => 0,
        Some(Ok(seed)) => seed,
        Some(Err(_)) => return usage(),
    };
    let (mut answers, mut answered, mut devices) = (0, 0, 0);
    while answers < wanted {
        let at = seed + devices;
        let Ok((given, good)) = std::panic::catch_unwind(|| virtio::fake::try_to_lie(at)) else {
            println!("FAIL the device with the seed {at}");
            return ExitCode::FAILURE;
        };
        answers += given;
        answered += good;
        devices += 1;
    }
    println!("{devices} devices have given {answers} answers; {answered} calls had data for all that");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: lies ANSWERS [SEED]");
    ExitCode::from(2)
}
