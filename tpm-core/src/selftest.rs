//! Self-tests (Part 1, 12.4): which algorithms gave their known answer since _TPM_Init. Those for keys are made when a command first brings such a key,
//! all others before the first command that could use them.

use crate::command::identifiers;
use crate::crypto::selftest::Test;
use crate::pipeline::Call;
use crate::rc::Rc;
use crate::tpm::Tpm;
use crate::wire::{AlgId, AlgList, List, Reader, structure};

structure! {
    /// What the self-tests have shown since _TPM_Init.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct SelfTest {
        /// bit `n` is SET when the `n`-th of [`Test::all`] has passed
        passed: u64,
        /// the number, from 1, of the test that failed
        failed: Option<u16>,
    }
}

impl SelfTest {
    /// Nothing has been tested.
    pub(crate) const fn new() -> Self {
        Self { passed: 0, failed: None }
    }

    fn has_passed(self, number: u16) -> bool {
        self.passed & mask(number) != 0
    }

    /// The number, from 1, of the test that failed.
    pub(crate) const fn failed(self) -> Option<u16> {
        self.failed
    }
}

/// The bit of a test.
fn mask(number: u16) -> u64 {
    1u64.checked_shl(number.into()).unwrap_or(0)
}

impl Tpm {
    /// Tests every algorithm, or with `full` false every one that has not yet been tested.
    ///
    /// - `FAILURE`: a test failed, and the TPM is in failure mode
    pub(crate) fn self_test(&mut self, full: bool) -> Result<(), Rc> {
        if full {
            self.ram.self_test = SelfTest::new();
        }
        self.test(|_| true)
    }

    /// Makes the tests that are wanted and have not yet been made.
    ///
    /// - `FAILURE`: a test failed, and the TPM is in failure mode
    fn test(&mut self, wanted: impl Fn(Test) -> bool) -> Result<(), Rc> {
        for (number, test) in (0u16..64).zip(Test::all()) {
            if self.ram.self_test.has_passed(number) || !wanted(test) {
                continue;
            }
            if !test.passes() {
                self.ram.self_test.failed = Some(number.saturating_add(1));
                return Err(self.fail());
            }
            self.ram.self_test.passed |= mask(number);
        }
        Ok(())
    }

    /// Tests what is wanted of the algorithms, told by their TPM_ALG_ID, that have not yet been tested.
    ///
    /// - `FAILURE`: a test failed
    pub(crate) fn test_algorithms(&mut self, wanted: impl Fn(&[u16]) -> bool) -> Result<(), Rc> {
        self.test(|test| wanted(test.algorithms()))
    }

    /// The algorithms that have not yet been tested.
    pub(crate) fn untested(&self) -> AlgList {
        let state = self.ram.self_test;
        let pending = |alg: &AlgId| {
            (0u16..64).zip(Test::all()).any(|(n, test)| !state.has_passed(n) && test.algorithms().contains(&alg.0))
        };
        List::of(identifiers().filter(pending))
    }

    /// Before a command is authorized: everything that is quickly tested.
    ///
    /// - `FAILURE`: a test failed
    pub(crate) fn test_before(&mut self, code: u32) -> Result<(), Rc> {
        // IncrementalSelfTest, SelfTest, GetCapability, GetTestResult
        if self.ram.failure || matches!(code, 0x142 | 0x143 | 0x17a | 0x17c) {
            return Ok(());
        }
        self.test(|test| !test.is_asymmetric())
    }

    /// Before the action: the algorithms of the keys that the command uses or brings.
    ///
    /// - `FAILURE`: a test failed
    pub(crate) fn test_keys_before(&mut self, call: &Call, parameters: &[u8]) -> Result<(), Rc> {
        for h in &call.handles {
            if let Some(alg) = self.object(*h).map(|o| o.public.object_type().id()) {
                self.test_algorithms(|algs| algs.contains(&alg.0))?;
            }
        }
        match brought_type(call.code, parameters) {
            Some(alg) => self.test_algorithms(|algs| algs.contains(&alg)),
            None => Ok(()),
        }
    }
}

/// The type of the public area or template in the parameters: it is the second TPM2B of all commands that have one.
fn brought_type(code: u32, parameters: &[u8]) -> Option<u16> {
    match code {
        // EC_Ephemeral has only a curve
        0x18e => return Some(AlgId::ECC.0),
        // CreatePrimary, Create, Import, Load, LoadExternal, CreateLoaded
        0x131 | 0x153 | 0x156 | 0x157 | 0x167 | 0x191 => {}
        _ => return None,
    }
    let mut r = Reader::new(parameters);
    let first: u16 = r.get().ok()?;
    r.take(first.into()).ok()?;
    let _size: u16 = r.get().ok()?;
    r.get().ok()
}
