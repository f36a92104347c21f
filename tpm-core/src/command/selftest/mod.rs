//! Part 3, 10: Testing.

pub(crate) mod get_test_result;
pub(crate) mod self_test;
