//! Faults: what is broken in a TPM that enters failure mode (Part 1, 9.4).

use core::fmt;
use core::num::NonZeroU8;

macro_rules! faults {
    ($(#[$m:meta])* enum {
        $(#[$tm:meta])* $test:ident(NonZeroU8);
        $($(#[$fm:meta])* $name:ident = $number:literal, $words:literal;)*
    }) => {
        $(#[$m])*
        pub enum Fault {
            $(#[$tm])*
            $test(NonZeroU8),
            $($(#[$fm])* $name,)*
        }

        /// Every fault but those of self-tests.
        const NAMED: &[Fault] = &[$(Fault::$name),*];

        impl Fault {
            /// Its number, which is not zero, as outData of TPM2_GetTestResult has it: below 0x100 that of a self-test.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    Self::$test(test) => test.get() as u16,
                    $(Self::$name => $number,)*
                }
            }

            /// The fault with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    0..0x100 => {
                        let [_, test] = number.to_be_bytes();
                        match NonZeroU8::new(test) {
                            Some(test) => Some(Self::$test(test)),
                            None => None,
                        }
                    }
                    _ => None,
                }
            }

            /// What is said of it; nothing of a self-test.
            const fn words(self) -> &'static str {
                match self {
                    Self::$test(_) => "",
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

faults! {
    /// What is broken in the TPM, so that it answers `TPM_RC_FAILURE` until _TPM_Init. TPM2_GetTestResult tells its
    /// number.
    ///
    /// A command that a caller has got wrong is never a fault. Those of which it is said that nothing leads to them
    /// would be a mistake of the engine's, or a memory that has changed by itself. Those from 0x120 on are what
    /// `Tpm::check` finds: a state with one is not imported, and no command leads to it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum {
        /// An algorithm has not given its known answer: which of the self-tests, in the order of `tpm_crypto`'s
        /// `selftest::Test::ALL`, from 1. The answers are constants: nothing leads to it.
        SelfTest(NonZeroU8);
        /// The platform has found itself, or the TPM, at fault, or a part of the state that it has saved.
        Platform = 0x100, "the platform is at fault";
        /// There is no TPM: it is blank, or its making has failed.
        NotMade = 0x101, "there is no TPM";
        /// The random number generator is due for fresh entropy, and the platform has none.
        NoEntropy = 0x102, "there is no entropy";
        /// The random number generator gives nothing. It is seeded anew long before that: nothing leads to it.
        NoRandom = 0x103, "the random number generator gives nothing";
        /// The result of a private operation does not fit the public key of a key that this TPM has made, and was
        /// withheld.
        PrivateOperation = 0x104, "a private operation has given a wrong result";
        /// No key came of a random number generator or of a seed that always give one. Nothing leads to it.
        KeyGeneration = 0x105, "no key can be made";
        /// A value does not fit into what is made for the longest of its kind. Nothing leads to it.
        Capacity = 0x106, "a value is longer than the longest of its kind";
        /// A cipher takes no key or initialization vector of its own size. Nothing leads to it.
        Cipher = 0x107, "a cipher does not take its key";
        /// An object is not there that was there when the handles were checked. Nothing leads to it.
        NoObject = 0x108, "an object is gone";
        /// A session is not there that was there when the sessions were checked. Nothing leads to it.
        NoSession = 0x109, "a session is gone";
        /// An object that was authorized has no sensitive area. Nothing leads to it.
        NoSensitive = 0x10a, "the sensitive area of an object is gone";
        /// An object with a place in a hierarchy has no nameAlg. Nothing leads to it.
        NoNameAlg = 0x10b, "an object has no nameAlg";
        /// A parent has no algorithm by which its children are protected or derived.
        Parent = 0x10c, "a parent has no algorithm for its children";
        /// The public and the sensitive area of an object are of different types. Nothing leads to it.
        Areas = 0x10d, "an object's public and sensitive areas have different types";
        /// A handle that its interface type admits stands for nothing. Nothing leads to it.
        Handle = 0x10e, "a handle stands for nothing";
        /// The response of a command that answers with a handle has none. Nothing leads to it.
        NoResponseHandle = 0x10f, "a response has no handle";
        /// The response does not fit into the buffer that the platform has for it.
        Response = 0x110, "a response does not fit into its buffer";
        /// Slots and handles of sessions do not agree. Nothing leads to it.
        Sessions = 0x120, "session slots and handles disagree";
        /// The sizes of NV Indices do not add up to the space in use. Nothing leads to it.
        NvSpace = 0x121, "NV space does not add up";
        /// An NV Index lies beyond the space in use. Nothing leads to it.
        NvPlace = 0x122, "an NV Index lies beyond the space in use";
        /// NV Indices are not in the order of their handles. Nothing leads to it.
        NvOrder = 0x123, "NV Indices are not in order";
        /// An NV Index has no type, or not the size of its type.
        NvType = 0x124, "an NV Index has no type, or not its size";
        /// The digest of command audit is not of its algorithm.
        AuditDigest = 0x125, "the digest of command audit is not of its algorithm";
        /// An object's Name is not that of its public area. Nothing leads to it.
        Name = 0x126, "an object's Name is not that of its public area";
        /// A seed or proof has not its size.
        Seed = 0x127, "a seed or proof has not its size";
        /// PCR are allocated that do not exist.
        PcrAllocation = 0x128, "PCR are allocated that do not exist";
        /// An NV Index is not where it is looked for. Nothing leads to it.
        NvTable = 0x12a, "an NV Index is not where it is looked for";
        /// A blank TPM is not in failure mode. Nothing leads to it.
        Blank = 0x129, "a blank TPM is not in failure mode";
    }
}

impl Fault {
    /// Every fault but those of self-tests.
    pub fn named() -> impl Iterator<Item = Self> {
        NAMED.iter().copied()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfTest(test) => write!(f, "self-test {test} has failed"),
            _ => f.write_str(self.words()),
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;
    use std::string::ToString;

    #[test]
    fn every_fault_has_a_number_and_words_of_its_own() {
        let tests = (1..=u8::MAX).filter_map(NonZeroU8::new).map(Fault::SelfTest);
        let all = || tests.clone().chain(Fault::named());
        assert!(all().all(|fault| Fault::from_number(fault.number()) == Some(fault)));
        let words: BTreeSet<_> = all().map(|fault| fault.to_string()).collect();
        assert_eq!(words.len(), 255 + NAMED.len());
        assert!(!words.contains(""));
        for unknown in [0, 0xff + 0x12, 0xffff] {
            assert_eq!(Fault::from_number(unknown), None);
        }
    }
}
