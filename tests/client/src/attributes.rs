//! Attributes, by the names of the specification, shortened.

/// TPMA_OBJECT (Part 2, 8.3).
pub mod object {
    /// fixedTPM
    pub const FIXED_TPM: u32 = 1 << 1;
    /// stClear
    pub const ST_CLEAR: u32 = 1 << 2;
    /// fixedParent
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// sensitiveDataOrigin
    pub const ORIGIN: u32 = 1 << 5;
    /// userWithAuth
    pub const USER: u32 = 1 << 6;
    /// adminWithPolicy
    pub const ADMIN_POLICY: u32 = 1 << 7;
    /// firmwareLimited
    pub const FIRMWARE_LIMITED: u32 = 1 << 8;
    /// svnLimited
    pub const SVN_LIMITED: u32 = 1 << 9;
    /// noDA
    pub const NO_DA: u32 = 1 << 10;
    /// encryptedDuplication
    pub const ENCRYPTED_DUPLICATION: u32 = 1 << 11;
    /// restricted
    pub const RESTRICTED: u32 = 1 << 16;
    /// decrypt
    pub const DECRYPT: u32 = 1 << 17;
    /// sign, or encrypt
    pub const SIGN: u32 = 1 << 18;
    /// x509sign
    pub const X509_SIGN: u32 = 1 << 19;
    /// fixedTPM, fixedParent
    pub const FIXED: u32 = FIXED_TPM | FIXED_PARENT;
    /// of an object that the TPM itself has made, and keeps: fixedTPM, fixedParent, sensitiveDataOrigin
    pub const MADE_HERE: u32 = FIXED | ORIGIN;
    /// of a storage key
    pub const STORAGE: u32 = MADE_HERE | USER | RESTRICTED | DECRYPT | NO_DA;
}

/// TPMA_SESSION (Part 2, 8.4).
pub mod session {
    /// continueSession
    pub const CONTINUE: u8 = 0x01;
    /// auditExclusive
    pub const AUDIT_EXCLUSIVE: u8 = 0x02;
    /// auditReset
    pub const AUDIT_RESET: u8 = 0x04;
    /// decrypt
    pub const DECRYPT: u8 = 0x20;
    /// encrypt
    pub const ENCRYPT: u8 = 0x40;
    /// audit
    pub const AUDIT: u8 = 0x80;
}

/// TPMA_NV (Part 2, 13.4).
pub mod nv {
    /// TPMA_NV_PPWRITE
    pub const PPWRITE: u32 = 1 << 0;
    /// TPMA_NV_OWNERWRITE
    pub const OWNERWRITE: u32 = 1 << 1;
    /// TPMA_NV_AUTHWRITE
    pub const AUTHWRITE: u32 = 1 << 2;
    /// TPMA_NV_POLICYWRITE
    pub const POLICYWRITE: u32 = 1 << 3;
    /// TPM_NT_COUNTER
    pub const COUNTER: u32 = 1 << 4;
    /// TPM_NT_BITS
    pub const BITS: u32 = 2 << 4;
    /// TPM_NT_EXTEND
    pub const EXTEND: u32 = 4 << 4;
    /// TPM_NT_PIN_FAIL
    pub const PIN_FAIL: u32 = 8 << 4;
    /// TPM_NT_PIN_PASS
    pub const PIN_PASS: u32 = 9 << 4;
    /// TPMA_NV_POLICY_DELETE
    pub const POLICY_DELETE: u32 = 1 << 10;
    /// TPMA_NV_WRITELOCKED
    pub const WRITELOCKED: u32 = 1 << 11;
    /// TPMA_NV_WRITEALL
    pub const WRITEALL: u32 = 1 << 12;
    /// TPMA_NV_WRITEDEFINE
    pub const WRITEDEFINE: u32 = 1 << 13;
    /// TPMA_NV_WRITE_STCLEAR
    pub const WRITE_STCLEAR: u32 = 1 << 14;
    /// TPMA_NV_GLOBALLOCK
    pub const GLOBALLOCK: u32 = 1 << 15;
    /// TPMA_NV_PPREAD
    pub const PPREAD: u32 = 1 << 16;
    /// TPMA_NV_OWNERREAD
    pub const OWNERREAD: u32 = 1 << 17;
    /// TPMA_NV_AUTHREAD
    pub const AUTHREAD: u32 = 1 << 18;
    /// TPMA_NV_POLICYREAD
    pub const POLICYREAD: u32 = 1 << 19;
    /// TPMA_NV_NO_DA
    pub const NO_DA: u32 = 1 << 25;
    /// TPMA_NV_ORDERLY
    pub const ORDERLY: u32 = 1 << 26;
    /// TPMA_NV_CLEAR_STCLEAR
    pub const CLEAR_STCLEAR: u32 = 1 << 27;
    /// TPMA_NV_READLOCKED
    pub const READLOCKED: u32 = 1 << 28;
    /// TPMA_NV_WRITTEN
    pub const WRITTEN: u32 = 1 << 29;
    /// TPMA_NV_PLATFORMCREATE
    pub const PLATFORMCREATE: u32 = 1 << 30;
    /// TPMA_NV_READ_STCLEAR
    pub const READ_STCLEAR: u32 = 1 << 31;
    /// authValue may do everything
    pub const AUTH: u32 = AUTHWRITE | AUTHREAD | NO_DA;
}
