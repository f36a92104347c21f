//! Many schedules, on all processors.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A schedule that shows a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The schedule's seed.
    pub seed: u64,
    /// What must not be.
    pub what: String,
    /// What was done, a step a line.
    pub steps: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl core::error::Error for Finding {}

/// What was counted in schedules, to be added.
pub trait Count: Default + Send {
    /// Adds what another has counted.
    fn add(&mut self, other: &Self);
}

/// Runs the schedules of `count` seeds from `first` on, until one of them finds something.
///
/// # Errors
/// That with the lowest seed of those that were found.
pub fn many<C: Count>(
    first: u64,
    count: u64,
    run: impl Fn(u64, &mut C) -> Result<(), Finding> + Sync,
) -> Result<C, Finding> {
    let workers = thread::available_parallelism().map_or(1, |number| number.get() as u64).min(count.max(1));
    let (run, stop) = (&run, &AtomicBool::new(false));
    let share = |worker: u64| {
        let mut counted = C::default();
        for number in (worker..count).step_by(usize::try_from(workers).unwrap_or(1)) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(finding) = run(first.wrapping_add(number), &mut counted) {
                stop.store(true, Ordering::Relaxed);
                return Err(finding);
            }
        }
        Ok(counted)
    };
    let done: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || share(worker))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    let mut all = C::default();
    let mut found: Option<Finding> = None;
    for one in done {
        match one {
            Ok(Ok(counted)) => all.add(&counted),
            Ok(Err(finding)) => {
                let earlier = found.take().filter(|other| other.seed < finding.seed);
                found = Some(earlier.unwrap_or(finding));
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    found.map_or(Ok(all), Err)
}
