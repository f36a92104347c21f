//! Part 3, 24: Hierarchy Commands.

pub(crate) mod change_eps;
pub(crate) mod change_pps;
pub(crate) mod clear;
pub(crate) mod clear_control;
pub(crate) mod create_primary;
pub(crate) mod hierarchy_change_auth;
pub(crate) mod hierarchy_control;
pub(crate) mod read_only_control;
pub(crate) mod set_primary_policy;
