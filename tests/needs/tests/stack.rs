//! What `docs/embedding.md` promises to whoever embeds the engine. `cargo xtask needs` measures release builds, and
//! such without optimisation.

use needs::steps;

/// Octets of stack that no call exceeds in a debug build.
const STACK: usize = 1 << 20;

#[test]
fn no_call_goes_deeper_than_a_mib() {
    let deepest = steps::all();
    assert!(deepest.len() > 50, "{deepest:?}");
    for (call, (used, step)) in deepest {
        assert!(used <= STACK, "{call} ({step}) uses {used} octets");
    }
}
