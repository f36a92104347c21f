//! Runs of migration, as far as anchors are concerned: who may say what is the crate `migration`'s, and has its own
//! simulation.

/// One: a state that was sent from one firmware to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// The record whose state was sent.
    pub(crate) state: usize,
    /// The last epoch that a tombstone of it can have.
    pub(crate) until: u64,
    /// Which of an honest host's two disks it goes to.
    pub(crate) to: usize,
    /// Whether the destination has said *kept*.
    pub(crate) is_kept: bool,
    /// The tombstone, once the receipt is known: to everybody, and for ever.
    pub(crate) tombstone: Option<usize>,
    /// Whether the TPM has started with a quorum there.
    pub(crate) has_started: bool,
}

/// All that there ever were.
#[derive(Debug, Default)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn begin(&mut self, state: usize, until: u64, to: usize) -> usize {
        self.0.push(Run { state, until, to, is_kept: false, tombstone: None, has_started: false });
        self.0.len() - 1
    }

    pub(crate) fn get(&self, run: usize) -> &Run {
        &self.0[run]
    }

    pub(crate) fn get_mut(&mut self, run: usize) -> &mut Run {
        &mut self.0[run]
    }
}
