//! Part 3, 9: Start-up.

pub(crate) mod shutdown;
#[expect(clippy::module_inception, reason = "the chapter and its command have one name")]
pub(crate) mod startup;
