//! Part 3, 23: Enhanced Authorization (EA) Commands.

pub(crate) mod policy_auth_value;
pub(crate) mod policy_command_code;
pub(crate) mod policy_get_digest;
pub(crate) mod policy_or;
pub(crate) mod policy_password;
pub(crate) mod policy_pcr;
pub(crate) mod policy_secret;
