//! Differences that are meant, each as narrow as it can be said, with the row of docs/differences.md that tells why.

use super::send::Case;

/// TPM_RC_RETRY of libtpms.
pub const RETRY: &str = "first use of a protected object after TPM2_Startup";

/// The row of docs/differences.md that explains why the response codes differ.
pub fn explain(case: &Case, _trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    match (case.code, ours, theirs) {
        (_, _, 0x902) => Some("slots for objects"),
        (_, _, 0x903) => Some("slots for sessions"),
        _ => None,
    }
}

/// The row that explains why the answers differ, although both say success.
pub const fn explain_answer(_code: u32, _answers: &[Vec<u8>; 2]) -> Option<&'static str> {
    None
}
