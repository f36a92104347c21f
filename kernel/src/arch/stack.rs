//! How much of the boot stack has been used: the entry stub has painted it.

use super::layout;

/// What the stub fills the stack with; no address, and no small number.
pub(crate) const PAINT: u64 = 0x5AC3_96E1_A5C3_3C69;

/// Bytes of the stack, and how many of them have been written to.
pub(crate) fn usage() -> (u64, u64) {
    let (bottom, top) = (layout::stack_guard() + kernel::mm::PAGE_SIZE, layout::stack_top());
    // SAFETY: mapped as data, aligned, and below all frames in use as long as the paint lasts; volatile, since no Rust
    // object is there.
    let is_painted = |address: &u64| unsafe { (*address as *const u64).read_volatile() } == PAINT;
    let untouched = (bottom..top).step_by(size_of::<u64>()).take_while(is_painted).count();
    let size = top - bottom;
    (size, size.saturating_sub(untouched as u64 * size_of::<u64>() as u64))
}
