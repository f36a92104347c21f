//! Structure tags (Part 2, 6.9).

/// TPM_ST: structure tags.
pub mod st {
    /// TPM_ST_RSP_COMMAND
    pub const RSP_COMMAND: u16 = 0x00c4;
    /// TPM_ST_NO_SESSIONS
    pub const NO_SESSIONS: u16 = 0x8001;
    /// TPM_ST_SESSIONS
    pub const SESSIONS: u16 = 0x8002;
    /// TPM_ST_ATTEST_NV
    pub const ATTEST_NV: u16 = 0x8014;
    /// TPM_ST_ATTEST_COMMAND_AUDIT
    pub const ATTEST_COMMAND_AUDIT: u16 = 0x8015;
    /// TPM_ST_ATTEST_SESSION_AUDIT
    pub const ATTEST_SESSION_AUDIT: u16 = 0x8016;
    /// TPM_ST_ATTEST_CERTIFY
    pub const ATTEST_CERTIFY: u16 = 0x8017;
    /// TPM_ST_ATTEST_QUOTE
    pub const ATTEST_QUOTE: u16 = 0x8018;
    /// TPM_ST_ATTEST_TIME
    pub const ATTEST_TIME: u16 = 0x8019;
    /// TPM_ST_ATTEST_CREATION
    pub const ATTEST_CREATION: u16 = 0x801a;
    /// TPM_ST_ATTEST_NV_DIGEST
    pub const ATTEST_NV_DIGEST: u16 = 0x801c;
    /// TPM_ST_CREATION
    pub const CREATION: u16 = 0x8021;
    /// TPM_ST_VERIFIED
    pub const VERIFIED: u16 = 0x8022;
    /// TPM_ST_AUTH_SECRET
    pub const AUTH_SECRET: u16 = 0x8023;
    /// TPM_ST_HASHCHECK
    pub const HASHCHECK: u16 = 0x8024;
    /// TPM_ST_AUTH_SIGNED
    pub const AUTH_SIGNED: u16 = 0x8025;
    /// TPM_ST_MESSAGE_VERIFIED (1.85)
    pub const MESSAGE_VERIFIED: u16 = 0x8026;
    /// TPM_ST_DIGEST_VERIFIED (1.85)
    pub const DIGEST_VERIFIED: u16 = 0x8027;
}
