//! Command codes (Part 2, 6.5). Those of the commands that this TPM has are declared at the commands.

/// TPM_CC of commands that another TPM has.
pub mod cc_elsewhere {
    /// TPM_CC_AC_Send: this TPM has no attached components, but an object may go to a TPM that has.
    pub const AC_SEND: u32 = 0x195;
}
