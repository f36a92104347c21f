//! Times of two TPMs, interleaved.

use crate::cases::{Case, Kind, Prepared};
use client::command::{handle_of, response_code};
use core::time::Duration;
use peer::thread_time;
use peer::tpm::Tpm;
use std::time::Instant;

/// The least samples of each TPM, if that takes longer than the time that is given.
const MIN_SAMPLES: usize = 31;
/// The same of a prime search, the mean of which is that of many keys.
const MIN_KEYS: usize = 200;
/// How long a TPM is at it before it is the other's turn, in microseconds.
const TURN: f64 = 100.0;
/// At most so many commands at a time, and so many that load something.
const MAX_TURN: usize = 32;
const MAX_LOADED: usize = 2;
/// The share of samples that are shorter than what counts: other load lengthens times, and nothing shortens them.
const PERCENTILE: usize = 5;
/// Parts into which samples are cut in the order in which they were taken, for the spread.
const PARTS: usize = 8;

/// What the processor times of one TPM come to, in microseconds.
pub(crate) struct Times {
    /// the 5th percentile; for a prime search the mean
    pub(crate) middle: f64,
    /// half of what lies between the least and the largest 5th percentile of an eighth of the samples; for a prime
    /// search the standard error of the mean
    pub(crate) spread: f64,
    /// how many
    pub(crate) samples: usize,
}

impl Times {
    fn of(kind: Kind, samples: &[f64]) -> Self {
        let (middle, spread) = if kind == Kind::Search { mean(samples) } else { low(samples) };
        Self { middle, spread, samples: samples.len() }
    }
}

/// The mean and its standard error.
fn mean(samples: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

/// The 5th percentile, and how far it goes up and down.
fn low(samples: &[f64]) -> (f64, f64) {
    let parts: Vec<f64> = samples.chunks(samples.len().div_ceil(PARTS)).map(percentile).collect();
    let (least, most) =
        parts.iter().fold((f64::MAX, 0.0_f64), |(least, most), &part| (least.min(part), most.max(part)));
    (percentile(samples), (most - least) / 2.0)
}

fn percentile(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() - 1) * PERCENTILE / 100]
}

/// What it takes to ask for the time.
fn overhead() -> Duration {
    let mut samples: Vec<Duration> = (0..1000)
        .map(|_| {
            let start = thread_time();
            thread_time() - start
        })
        .collect();
    samples.sort();
    samples[samples.len() * PERCENTILE / 100]
}

/// A TPM with its command, and its times so far.
struct Runner<'a, 'p> {
    tpm: &'a mut Tpm<'p>,
    prepared: Prepared,
    count: u32,
    overhead: Duration,
    samples: Vec<f64>,
}

impl<'a, 'p> Runner<'a, 'p> {
    fn new(tpm: &'a mut Tpm<'p>, case: &Case) -> Self {
        tpm.keep(case.kept);
        let prepared = (case.prepare)(tpm);
        Self { tpm, prepared, count: 0, overhead: overhead(), samples: Vec::new() }
    }

    /// Runs the command some times; the time of each on average, in microseconds. What they load is flushed afterwards.
    fn run(&mut self, times: usize) -> f64 {
        let mut handles = Vec::with_capacity(times);
        let start = thread_time();
        for _ in 0..times {
            self.count += 1;
            if let Some(at) = self.prepared.counter {
                self.prepared.command[at..at + 4].copy_from_slice(&self.count.to_be_bytes());
            }
            let response = self.tpm.execute(&self.prepared.command);
            assert_eq!(response_code(response), self.prepared.expected, "{:02x?}", self.prepared.command);
            if self.prepared.loads {
                handles.push(handle_of(&response[10..]));
            }
        }
        let took = (thread_time() - start).saturating_sub(self.overhead);
        handles.into_iter().for_each(|handle| self.tpm.flush(handle));
        took.as_secs_f64() * 1e6 / f64::from(u32::try_from(times).unwrap_or(u32::MAX))
    }

    /// How many commands make a sample: the clock takes as long as a short one. Libtpms has few slots for what is
    /// loaded.
    fn turn(&mut self) -> usize {
        let most = if self.prepared.loads { MAX_LOADED } else { MAX_TURN };
        let took = (0..3).map(|_| self.run(1)).fold(TURN, f64::min);
        (1..most).take_while(|&times| f64::from(u32::try_from(times).unwrap_or(u32::MAX)) * took < TURN).count() + 1
    }
}

/// Measures a case for at least `time`, both TPMs by turns.
pub(crate) fn measure<'p>(case: &Case, ours: &mut Tpm<'p>, theirs: &mut Tpm<'p>, time: Duration) -> [Times; 2] {
    let mut runners = [Runner::new(ours, case), Runner::new(theirs, case)];
    // The first time a TPM tests itself, and memory is cold.
    let turns = runners.each_mut().map(|runner| {
        runner.run(1);
        if case.kind == Kind::Search { 1 } else { runner.turn() }
    });
    let least = if case.kind == Kind::Search { MIN_KEYS } else { MIN_SAMPLES };
    let start = Instant::now();
    while start.elapsed() < time || runners.iter().any(|runner| runner.samples.len() < least) {
        for (runner, times) in runners.iter_mut().zip(turns) {
            let took = runner.run(times);
            runner.samples.push(took);
        }
    }
    runners.map(move |runner| {
        runner.tpm.flush_all();
        Times::of(case.kind, &runner.samples)
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Times};

    #[test]
    fn a_time_that_other_load_lengthens_does_not_count() {
        let mut samples: Vec<f64> = (0..1000).map(|i| 100.0 + f64::from(i % 10) / 10.0).collect();
        let quiet = Times::of(Kind::Ordinary, &samples).middle;
        samples.iter_mut().step_by(2).for_each(|sample| *sample *= 7.0);
        let loaded = Times::of(Kind::Ordinary, &samples).middle;
        assert!((loaded - quiet).abs() < 0.2, "{quiet} {loaded}");
    }

    #[test]
    fn of_a_search_all_keys_count() {
        let times = Times::of(Kind::Search, &[1.0, 2.0, 9.0]);
        assert!((times.middle - 4.0).abs() < 1e-9 && times.samples == 3);
    }
}
