//! What a call comes to, as C sees it.

use core::ffi::{CStr, c_int};
use tpm_core::StateError;

macro_rules! errors {
    ($($name:ident = $number:literal, $words:literal;)*) => {
        /// `quoin_error`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(i32)]
        pub(crate) enum Error { $($name = $number),* }

        /// All of them.
        #[cfg(test)]
        pub(crate) const ALL: &[Error] = &[$(Error::$name),*];

        /// What is said of a number.
        pub(crate) const fn words(error: c_int) -> &'static CStr {
            match error {
                $($number => $words,)*
                _ => c"this number is no error of libquoin",
            }
        }
    };
}

errors! {
    Ok = 0, c"nothing is wrong";
    Argument = 1, c"a pointer is NULL, buffers overlap, or a value has no meaning";
    Busy = 2, c"the TPM is in another call";
    Room = 3, c"a buffer is too short";
    Entropy = 4, c"there is no entropy";
    Fault = 5, c"a mistake of the library was caught: the TPM is in failure mode";
    StateForeign = 6, c"these octets are not a state of this engine";
    StateVersion = 7, c"the version of the state is unknown";
    StateLength = 8, c"the state is longer or shorter than it says";
    StateDigest = 9, c"the state is damaged: its digest is another";
    StateContents = 10, c"something is in the state that cannot be in one";
    StateProfile = 11, c"the state is that of a TPM of another profile";
    StateInconsistent = 12, c"the parts of the state do not go together";
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Room(_) => Self::Room,
            StateError::NotAState => Self::StateForeign,
            StateError::Version => Self::StateVersion,
            StateError::Length => Self::StateLength,
            StateError::Digest => Self::StateDigest,
            StateError::Contents => Self::StateContents,
            StateError::Profile { .. } => Self::StateProfile,
            StateError::Inconsistent(_) => Self::StateInconsistent,
            StateError::Entropy => Self::Entropy,
        }
    }
}
