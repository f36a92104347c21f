//! `timing SECONDS [TEXT]`: whether the time of an operation tells secrets.
//!
//! As dudect does it (Reparaz, Balasch, Verbauwhede, 2017): two classes of inputs by turns that chance chooses, times,
//! and Welch's t-test between them. The crate dudect-bencher is not used because it wants the class before the
//! operation, and the nonce of a signature is known only afterwards. A second measure is not disturbed by other load:
//! the instructions that valgrind's callgrind counts, which must be equal for all inputs.
//!
//! The control is a comparison that ends at the first difference: it must be found by both.

mod subjects;

use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use std::collections::BTreeSet;
use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;
use subjects::{Kind, SUBJECTS, Subject};

/// |t| above which a difference counts. dudect's own bound is 4.5; this one holds on a machine with other load.
const BOUND: f64 = 10.0;
/// Times of each class without which nothing can be said. For a class that is rare, up to ten times as much time is
/// taken.
const LEAST: usize = 200;
/// Inputs of each class.
const INPUTS: usize = 32;
/// Parts of the times in percent, from the shortest, that are looked at: what interrupts lengthen is not looked at in
/// all of them.
const PARTS: [usize; 4] = [100, 95, 80, 50];
/// Inputs of each class whose instructions are counted.
const COUNTED: usize = 3;

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["once", subject, class, input] => once(subject.parse()?, class.parse()?, input.parse()?),
        [seconds] => all(Duration::from_secs_f64(seconds.parse()?), ""),
        [seconds, filter] => all(Duration::from_secs_f64(seconds.parse()?), filter),
        _ => bail!("timing SECONDS [TEXT]"),
    }
}

/// What callgrind counts.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn quoin_measured(subject: &mut Box<dyn Subject>) {
    subject.run();
}

fn once(subject: usize, class: usize, input: usize) -> Result<ExitCode> {
    let mut subject = (SUBJECTS.get(subject).context("which?")?.make)()?;
    subject.prepare(class, input);
    quoin_measured(&mut subject);
    Ok(ExitCode::SUCCESS)
}

fn all(time: Duration, filter: &str) -> Result<ExitCode> {
    let (mut bad, mut largest, mut controls) = (0, 0.0_f64, 0);
    println!("{:<46} {:>9} {:>9} {:>8} {:>10}  instructions", "classes", "samples", "mean us", "t", "diff. us");
    for (number, row) in SUBJECTS.iter().enumerate().filter(|(_, row)| row.name.contains(filter)) {
        let samples = sample(&mut *(row.make)()?, time);
        let (t, mean, difference) = test(&samples);
        let counts = instructions(number)?;
        let (apart, equal) = (t.abs() > BOUND, counts.len() == 1);
        match row.kind {
            Kind::Equal => largest = largest.max(t.abs()),
            Kind::Control => controls += 1,
            Kind::Public => {}
        }
        let verdict = match row.kind {
            _ if samples.iter().any(|times| times.len() < LEAST) => "TOO FEW SAMPLES: more SECONDS are needed",
            Kind::Equal if apart || !equal => "LEAK",
            Kind::Equal => "ok",
            Kind::Control if apart && !equal => "found, as it must be",
            Kind::Control => "NOT FOUND",
            Kind::Public => "the outcome is public",
        };
        bad += usize::from(!matches!(verdict, "ok" | "found, as it must be" | "the outcome is public"));
        let counts = match (counts.first(), counts.last()) {
            (Some(one), Some(other)) if one == other => format!("{one}"),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "none".into(),
        };
        println!(
            "{:<46} {:>9} {mean:>9.2} {t:>8.2} {difference:>+10.4}  {counts}: {verdict}",
            row.name,
            samples[0].len() + samples[1].len()
        );
    }
    println!(
        "{bad} leaks or controls that are not found, of {controls} controls; t between classes at most {largest:.1}, of \
         {BOUND} that would be a leak"
    );
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Times in microseconds, of each class.
fn sample(subject: &mut dyn Subject, time: Duration) -> [Vec<f64>; 2] {
    let (mut times, mut random) = ([Vec::new(), Vec::new()], Coin(0x9e37_79b9_7f4a_7c15));
    let end = Instant::now() + time;
    // The first ones warm caches.
    for turn in 0_u64.. {
        let (class, input) = (random.below(2), random.below(INPUTS));
        subject.prepare(class, input);
        let start = Instant::now();
        subject.run();
        let elapsed = start.elapsed().as_secs_f64() * 1e6;
        if turn >= 100 {
            times[subject.class().unwrap_or(class)].push(elapsed);
        }
        let enough = times.iter().all(|times| times.len() >= LEAST);
        if start > end && (enough || start > end + 9 * time) {
            break;
        }
    }
    times
}

/// xorshift64*: chance enough to choose.
struct Coin(u64);

impl Coin {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap_or(0) % bound
    }
}

/// The t of the part in which it is largest; the mean of all, and the difference of the means of the shorter four
/// fifths.
fn test(samples: &[Vec<f64>; 2]) -> (f64, f64, f64) {
    let mut pooled = samples.concat();
    pooled.sort_by(f64::total_cmp);
    let part = |percent: usize| {
        let limit = pooled[(pooled.len() * percent / 100).clamp(1, pooled.len()) - 1];
        samples.each_ref().map(|times| times.iter().copied().filter(|time| *time <= limit).collect::<Vec<f64>>())
    };
    let t =
        PARTS.iter().map(|percent| welch(&part(*percent))).max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let [a, b] = part(80).map(|times| moments(&times).0);
    (t, moments(&pooled).0, b - a)
}

/// Mean, and the variance of the mean.
fn moments(times: &[f64]) -> (f64, f64) {
    let n = times.len() as f64;
    let mean = times.iter().sum::<f64>() / n;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance / n)
}

fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    if samples.iter().any(|times| times.len() < 100) {
        return 0.0;
    }
    let [(a, a_variance), (b, b_variance)] = samples.each_ref().map(|times| moments(times));
    let variance = a_variance + b_variance;
    if variance > 0.0 { (a - b) / variance.sqrt() } else { 0.0 }
}

/// The numbers of instructions that inputs of both classes take.
fn instructions(subject: usize) -> Result<BTreeSet<u64>> {
    let mut counts = BTreeSet::new();
    for (class, input) in (0..2).flat_map(|class| (0..COUNTED).map(move |input| (class, input))) {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=quoin_measured"]);
        valgrind.arg(env::current_exe()?).arg("once").args([subject, class, input].map(|n| n.to_string()));
        let output = valgrind.output().context("cannot start valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "valgrind: {said}");
        let counted = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
        counts.insert(counted.with_context(|| format!("valgrind counted nothing: {said}"))?);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::{BOUND, welch};

    #[test]
    fn a_shift_of_the_mean_is_found_and_chance_is_not() {
        let times = |shift: f64, at: usize| (0..10_000).map(|i| ((i * 7919 + at) % 1000) as f64 + shift).collect();
        assert!(welch(&[times(0.0, 0), times(0.0, 13)]).abs() < 1.0);
        assert!(welch(&[times(0.0, 0), times(100.0, 13)]).abs() > BOUND);
    }
}
