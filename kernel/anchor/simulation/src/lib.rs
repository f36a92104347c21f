//! Anchors and TPMs in random schedules of a host that means ill: `cargo xtask simulate anchors`, and docs/anchors.md.
//!
//! A seed makes a schedule: how many anchors, how many of them lie, what the policy is, and then some hundred steps:
//! messages are delivered, lost, repeated, replayed and reordered; the network is cut; TPMs and anchors lose power; the
//! host starts copies from any record that was ever on a disk; TPMs lose patience early or late, which is all that
//! clocks do here. In every other schedule a TPM goes from one firmware to another, with a disk of its own, by runs of
//! migration that come to something or not: on, or back, and copies of what waits are started, too. A run is an act of
//! each side here; its messages are the crate `migration`'s. Signatures are imitations that cost nothing, and that
//! nobody in the simulation forges; everything else is the crate's own code.
//!
//! | module | is |
//! |---|---|
//! | [`plants`] | faults that must be found |
//! | [`as_it_is`], and one for each planted fault | copies of the crate `anchor` and of src/version, by build.rs |

pub mod plants;

/// What a version's schedules are run by.
pub type Run = fn(&Schedule) -> Result<Counts, Broken>;

/// One schedule.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// All that is random comes from it.
    pub seed: u64,
    /// Print each step.
    pub aloud: bool,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The schedule's seed.
    pub seed: u64,
    /// What was broken, and after how many steps.
    pub rule: String,
}

/// What has happened, so that it is seen that something has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Boots that got a quorum for their own head.
    pub starts: u64,
    /// Heads that were registered after that.
    pub commits: u64,
    /// Boots and commits without a quorum, which the policy allows.
    pub without: u64,
    /// Boots from an old record that were refused.
    pub old: u64,
    /// Copies that found out that another has started.
    pub superseded: u64,
    /// Requests that came after a later turn.
    pub outrun: u64,
    /// Answers of anchors that lied.
    pub lies: u64,
    /// Runs of migration of which nothing came.
    pub given_up: u64,
    /// Tombstones of which a quorum knows.
    pub tombstones: u64,
    /// TPMs that got a quorum where they came to.
    pub arrivals: u64,
    /// Of these, those of a TPM that had come from elsewhere before: on, or back.
    pub onward: u64,
    /// States that were refused where they waited, before or behind their receipt.
    pub waiting_refused: u64,
    /// Power cuts of TPMs.
    pub cuts: u64,
    /// Requests and replies that were delivered.
    pub messages: u64,
}

impl core::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.starts += other.starts;
        self.commits += other.commits;
        self.without += other.without;
        self.old += other.old;
        self.superseded += other.superseded;
        self.outrun += other.outrun;
        self.lies += other.lies;
        self.given_up += other.given_up;
        self.tombstones += other.tombstones;
        self.arrivals += other.arrivals;
        self.onward += other.onward;
        self.waiting_refused += other.waiting_refused;
        self.cuts += other.cuts;
        self.messages += other.messages;
    }
}

/// The schedules of one version.
#[must_use]
pub fn version(module: &str) -> Option<Run> {
    VERSIONS.iter().find(|(name, _)| *name == module).map(|(_, run)| *run)
}

/// Runs `count` schedules, whose seeds begin with `first`, and stops at the first rule that is broken.
///
/// # Errors
/// That rule.
pub fn run(module: &str, first: u64, count: u64) -> Result<Counts, Broken> {
    let none = || Broken { seed: first, rule: format!("there is no version {module}") };
    let run = version(module).ok_or_else(none)?;
    let mut counts = Counts::default();
    for seed in first..first + count {
        counts += run(&Schedule { seed, aloud: false })?;
    }
    Ok(counts)
}

include!(concat!(env!("OUT_DIR"), "/versions.rs"));
