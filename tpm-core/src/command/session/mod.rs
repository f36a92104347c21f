//! Part 3, 11: Session Commands.

pub(crate) mod policy_restart;
