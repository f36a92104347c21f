//! Part 3, 11: Session Commands.

pub(crate) mod policy_restart;
pub(crate) mod start_auth_session;
