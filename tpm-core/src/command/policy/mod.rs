//! Part 3, 23: Enhanced Authorization (EA) Commands.

pub(crate) mod policy_ac_send_select;
pub(crate) mod policy_auth_value;
pub(crate) mod policy_authorize;
pub(crate) mod policy_authorize_nv;
pub(crate) mod policy_capability;
pub(crate) mod policy_command_code;
pub(crate) mod policy_counter_timer;
pub(crate) mod policy_cp_hash;
pub(crate) mod policy_duplication_select;
pub(crate) mod policy_get_digest;
pub(crate) mod policy_locality;
pub(crate) mod policy_name_hash;
pub(crate) mod policy_nv;
pub(crate) mod policy_nv_written;
pub(crate) mod policy_or;
pub(crate) mod policy_parameters;
pub(crate) mod policy_password;
pub(crate) mod policy_pcr;
pub(crate) mod policy_physical_presence;
pub(crate) mod policy_secret;
pub(crate) mod policy_signed;
pub(crate) mod policy_template;
pub(crate) mod policy_ticket;
pub(crate) mod policy_transport_spdm;
