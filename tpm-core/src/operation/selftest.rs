//! Self-tests are made (Part 1, 12.4): those for keys when a command first has such a key, all others before the
//! first command that could use them.

use crate::crypto::selftest::Test;
use crate::data::selftest::SelfTest;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::wire::{AlgId, AlgList, List};
use core::num::NonZeroU8;

/// A set of tests: bit `n` stands for the `n`-th of [`Test::ALL`].
type Tests = u64;

/// The bit of a test.
fn mask(number: u8) -> Tests {
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
    (0u8..).zip(Test::ALL).fold(0, |set, (n, test)| if wanted(test) { set | mask(n) } else { set })
}

impl Tpm {
    /// Tests every algorithm, or with `full` false every one that has not yet been tested.
    ///
    /// A fault if a test failed.
    pub(crate) fn self_test(&mut self, full: bool) -> Result<(), Fault> {
        if full {
            self.ram.self_test = SelfTest::new();
        }
        self.test(Tests::MAX)
    }

    /// Makes those of the tests that have not yet been made.
    ///
    /// A fault if a test failed.
    fn test(&mut self, wanted: Tests) -> Result<(), Fault> {
        if wanted & !self.ram.self_test.passed == 0 {
            return Ok(());
        }
        for (number, test) in (1u8..).filter_map(NonZeroU8::new).zip(Test::ALL) {
            let bit = mask(number.get().saturating_sub(1));
            if wanted & !self.ram.self_test.passed & bit == 0 {
                continue;
            }
            if !test.passes() {
                return Err(Fault::SelfTest(number));
            }
            self.ram.self_test.passed |= bit;
        }
        Ok(())
    }

    /// Tests what is wanted of the algorithms, told by their TPM_ALG_ID, that have not yet been tested.
    ///
    /// A fault if a test failed.
    pub(crate) fn test_algorithms(&mut self, wanted: impl Fn(&[u16]) -> bool) -> Result<(), Fault> {
        self.test(those(|test| wanted(test.algorithms())))
    }

    /// The algorithms that have not yet been tested.
    pub(crate) fn untested(&self) -> AlgList {
        let passed = self.ram.self_test.passed;
        let pending = |alg: &AlgId| those(|test| test.algorithms().contains(&alg.0)) & !passed != 0;
        List::of(AlgId::offered().filter(pending))
    }

    /// Everything that is quickly tested.
    ///
    /// A fault if a test failed.
    pub(crate) fn test_quick(&mut self) -> Result<(), Fault> {
        self.test(QUICK)
    }

    /// What is tested before keys of this type are used.
    ///
    /// A fault if a test failed.
    pub(crate) fn test_keys_of(&mut self, object_type: AlgId) -> Result<(), Fault> {
        self.test(tests_of(object_type))
    }
}
