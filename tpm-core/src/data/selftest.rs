//! Self-tests (Part 1, 9.3): which algorithms gave their known answer since _TPM_Init. Those for keys are made when a
//! command first has such a key, all others before the first command that could use them.

use crate::wire::structure;

structure! {
    /// What the self-tests have shown since _TPM_Init.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct SelfTest {
        /// bit `n` is SET when the `n`-th of [`crate::crypto::selftest::Test::ALL`] has passed
        pub(crate) passed: u64,
    }
}

impl SelfTest {
    /// Nothing has been tested.
    pub(crate) const fn new() -> Self {
        Self { passed: 0 }
    }
}
