//! Part 3, 21: Command Audit.

pub(crate) mod set_command_code_audit_status;
