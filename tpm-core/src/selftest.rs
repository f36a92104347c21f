//! Self-tests (Part 1, 12.4): which algorithms gave their known answer since _TPM_Init.

use crate::crypto::selftest::Test;
use crate::rc::Rc;
use crate::tpm::Tpm;

/// What the self-tests have shown since _TPM_Init.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SelfTest {
    /// bit `n` is SET when the `n`-th of [`Test::all`] has passed
    passed: u32,
    /// the number, from 1, of the test that failed
    failed: Option<u16>,
}

impl SelfTest {
    /// Nothing has been tested.
    pub(crate) const fn new() -> Self {
        Self { passed: 0, failed: None }
    }

    /// Whether every test has passed.
    pub(crate) fn is_complete(self) -> bool {
        Test::all().count() == usize::try_from(self.passed.count_ones()).unwrap_or(0)
    }

    /// The number, from 1, of the test that failed.
    pub(crate) const fn failed(self) -> Option<u16> {
        self.failed
    }
}

impl Tpm {
    /// Tests every algorithm, or with `full` false every one that has not yet been tested.
    ///
    /// - `FAILURE`: a test failed, and the TPM is in failure mode
    pub(crate) fn self_test(&mut self, full: bool) -> Result<(), Rc> {
        if full {
            self.ram.self_test = SelfTest::new();
        }
        for (number, test) in (0u16..).zip(Test::all()) {
            let bit = 1 << number;
            if self.ram.self_test.passed & bit != 0 {
                continue;
            }
            if !test.passes() {
                self.ram.self_test.failed = Some(number + 1);
                return Err(self.fail());
            }
            self.ram.self_test.passed |= bit;
        }
        Ok(())
    }
}
