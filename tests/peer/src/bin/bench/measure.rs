//! Times of two TPMs, interleaved.

use crate::cases::{Case, Kind, Prepared};
use crate::wire::{Tpm, handle_of, response_code};
use core::time::Duration;
use std::time::Instant;

/// The least samples of each TPM, if that takes longer than the time that is given.
const MIN_SAMPLES: usize = 31;
/// How long a TPM is at it before it is the other's turn.
const TURN: Duration = Duration::from_micros(100);
/// At most so many commands at a time.
const MAX_TURN: usize = 32;

/// What the times of one TPM come to, in microseconds.
pub(crate) struct Times {
    /// the median; for a prime search the mean
    pub(crate) middle: f64,
    /// half of what lies between the quartiles; for a prime search the standard error of the mean
    pub(crate) spread: f64,
    /// how many
    pub(crate) samples: usize,
}

impl Times {
    fn of(kind: Kind, mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let quantile = |fourths: usize| samples[(samples.len() - 1) * fourths / 4];
        let (middle, spread) = match kind {
            Kind::Search => (mean, (variance / count).sqrt()),
            Kind::Ordinary | Kind::RsaPrivate => (quantile(2), (quantile(3) - quantile(1)) / 2.0),
        };
        Self { middle, spread, samples: samples.len() }
    }
}

/// A TPM with its command, and its times so far.
struct Runner<'a, 'p> {
    tpm: &'a mut Tpm<'p>,
    prepared: Prepared,
    count: u32,
    samples: Vec<f64>,
}

impl<'a, 'p> Runner<'a, 'p> {
    fn new(tpm: &'a mut Tpm<'p>, case: &Case) -> Self {
        let prepared = (case.prepare)(tpm);
        Self { tpm, prepared, count: 0, samples: Vec::new() }
    }

    /// Runs the command once.
    fn once(&mut self) -> Duration {
        self.count += 1;
        if let Some(at) = self.prepared.counter {
            self.prepared.command[at..at + 4].copy_from_slice(&self.count.to_be_bytes());
        }
        let start = Instant::now();
        let response = self.tpm.execute(&self.prepared.command);
        let took = start.elapsed();
        assert_eq!(response_code(response), self.prepared.expected, "{:02x?}", self.prepared.command);
        if self.prepared.loads {
            let handle = handle_of(response);
            self.tpm.flush(handle);
        }
        took
    }

    fn turn(&mut self, times: usize) {
        for _ in 0..times {
            let took = self.once();
            self.samples.push(took.as_secs_f64() * 1e6);
        }
    }
}

/// Measures a case for at least `time`, both TPMs by turns.
pub(crate) fn measure<'p>(case: &Case, ours: &mut Tpm<'p>, theirs: &mut Tpm<'p>, time: Duration) -> [Times; 2] {
    let mut runners = [Runner::new(ours, case), Runner::new(theirs, case)];
    // The first time a TPM tests itself, and memory is cold.
    let turns = runners.each_mut().map(|runner| {
        runner.once();
        let took = (0..3).map(|_| runner.once()).min().unwrap_or(TURN);
        usize::try_from(TURN.as_nanos() / took.as_nanos().max(1)).unwrap_or(1).clamp(1, MAX_TURN)
    });
    let start = Instant::now();
    while start.elapsed() < time || runners.iter().any(|runner| runner.samples.len() < MIN_SAMPLES) {
        for (runner, times) in runners.iter_mut().zip(turns) {
            runner.turn(times);
        }
    }
    runners.map(move |runner| {
        runner.tpm.flush_all();
        Times::of(case.kind, runner.samples)
    })
}
