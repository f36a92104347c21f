//! Self-tests (Part 1, 9.3): which algorithms gave their known answer since _TPM_Init. Those for keys are made when a command first brings such a key,
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
        /// bit `n` is SET when the `n`-th of [`Test::ALL`] has passed
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

    /// The number, from 1, of the test that failed.
    pub(crate) const fn failed(self) -> Option<u16> {
        self.failed
    }
}

/// A set of tests: bit `n` stands for the `n`-th of [`Test::ALL`].
type Tests = u64;

/// The bit of a test.
fn mask(number: u16) -> Tests {
    1u64.checked_shl(number.into()).unwrap_or(0)
}

/// All that are quickly made.
const QUICK: Tests = set(None);

/// For each type of object the tests that are made before such a key is used or brought.
const BY_TYPE: [(AlgId, Tests); 7] = {
    const fn row(alg: AlgId) -> (AlgId, Tests) {
        (alg, set(Some(alg.0)))
    }
    [
        row(AlgId::RSA),
        row(AlgId::KEYEDHASH),
        row(AlgId::ECC),
        row(AlgId::SYMCIPHER),
        row(AlgId::MLKEM),
        row(AlgId::MLDSA),
        row(AlgId::HASH_MLDSA),
    ]
};

/// The tests of an algorithm, or those that are not of keys.
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn set(algorithm: Option<u16>) -> Tests {
    let (mut set, mut n) = (0, 0);
    while n < Test::ALL.len() {
        let wanted = match algorithm {
            None => !Test::ALL[n].is_asymmetric(),
            Some(algorithm) => {
                let (of, mut found, mut i) = (Test::ALL[n].algorithms(), false, 0);
                while i < of.len() {
                    (found, i) = (found || of[i] == algorithm, i + 1);
                }
                found
            }
        };
        set |= (wanted as Tests) << n;
        n += 1;
    }
    set
}

/// The tests of keys of this type.
fn tests_of(object_type: AlgId) -> Tests {
    BY_TYPE.iter().find(|(alg, _)| *alg == object_type).map_or(0, |(_, tests)| *tests)
}

/// The tests that pass the filter.
fn those(wanted: impl Fn(Test) -> bool) -> Tests {
    (0..).zip(Test::ALL).fold(0, |set, (n, test)| if wanted(test) { set | mask(n) } else { set })
}

impl Tpm {
    /// Tests every algorithm, or with `full` false every one that has not yet been tested.
    ///
    /// - `FAILURE`: a test failed, and the TPM is in failure mode
    pub(crate) fn self_test(&mut self, full: bool) -> Result<(), Rc> {
        if full {
            self.ram.self_test = SelfTest::new();
        }
        self.test(Tests::MAX)
    }

    /// Makes those of the tests that have not yet been made.
    ///
    /// - `FAILURE`: a test failed, and the TPM is in failure mode
    fn test(&mut self, wanted: Tests) -> Result<(), Rc> {
        if wanted & !self.ram.self_test.passed == 0 {
            return Ok(());
        }
        for (number, test) in (0u16..).zip(Test::ALL) {
            let bit = mask(number);
            if wanted & !self.ram.self_test.passed & bit == 0 {
                continue;
            }
            if !test.passes() {
                self.ram.self_test.failed = Some(number.saturating_add(1));
                return Err(self.fail());
            }
            self.ram.self_test.passed |= bit;
        }
        Ok(())
    }

    /// Tests what is wanted of the algorithms, told by their TPM_ALG_ID, that have not yet been tested.
    ///
    /// - `FAILURE`: a test failed
    pub(crate) fn test_algorithms(&mut self, wanted: impl Fn(&[u16]) -> bool) -> Result<(), Rc> {
        self.test(those(|test| wanted(test.algorithms())))
    }

    /// The algorithms that have not yet been tested.
    pub(crate) fn untested(&self) -> AlgList {
        let passed = self.ram.self_test.passed;
        let pending = |alg: &AlgId| those(|test| test.algorithms().contains(&alg.0)) & !passed != 0;
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
        self.test(QUICK)
    }

    /// Before the action: the algorithms of the keys that the command uses or brings.
    ///
    /// - `FAILURE`: a test failed
    pub(crate) fn test_keys_before(&mut self, call: &Call, parameters: &[u8]) -> Result<(), Rc> {
        for h in &call.handles {
            if let Some(object) = self.object(*h) {
                self.test(tests_of(object.public.object_type().id()))?;
            }
        }
        brought_type(call.code, parameters).map_or(Ok(()), |alg| self.test(tests_of(alg)))
    }
}

/// The type of the public area or template in the parameters: it is the second TPM2B of all commands that have one.
fn brought_type(code: u32, parameters: &[u8]) -> Option<AlgId> {
    match code {
        // EC_Ephemeral has only a curve
        0x18e => return Some(AlgId::ECC),
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
