//! Part 3, 10: Testing.

pub(crate) mod get_test_result;
pub(crate) mod incremental_self_test;
pub(crate) mod self_test;
