//! Many TPMs in one process, which is that of this test alone: memory is the process'.

use needs::many;

/// Octets of memory beside a TPM itself: its box, what the allocator rounds up, and this test's notes.
const BESIDE: usize = 8 << 10;

#[test]
fn a_thousand_tpms_in_one_process_are_a_thousand_tpms() {
    let seen = many::together(1000, 8);
    assert!(seen.grown <= seen.size + BESIDE, "{seen:?}");
}
