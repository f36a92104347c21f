//! What `docs/embedding.md` promises to whoever embeds the engine. `cargo xtask needs` measures release builds, and such
//! without optimisation.

use needs::{many, steps};

/// Octets of stack that no call exceeds in a debug build.
const STACK: usize = 1 << 20;
/// Octets of memory beside a TPM itself: its box, what the allocator rounds up, and this test's notes.
const BESIDE: usize = 8 << 10;

#[test]
fn no_call_goes_deeper_than_a_mib() {
    let deepest = steps::all();
    assert!(deepest.len() > 50, "{deepest:?}");
    for (call, (used, step)) in deepest {
        assert!(used <= STACK, "{call} ({step}) uses {used} octets");
    }
}

#[test]
fn a_thousand_tpms_in_one_process_are_a_thousand_tpms() {
    let seen = many::together(1000, 8);
    assert!(seen.grown <= seen.size + BESIDE, "{seen:?}");
}
