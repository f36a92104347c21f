//! Response codes and handles by name (Part 2, 6.6 and 7.4).

pub(crate) const INITIALIZE: u32 = 0x100;
pub(crate) const FAILURE: u32 = 0x101;
pub(crate) const SEQUENCE: u32 = 0x103;
pub(crate) const EXCLUSIVE: u32 = 0x121;
pub(crate) const AUTH_TYPE: u32 = 0x124;
pub(crate) const AUTH_MISSING: u32 = 0x125;
pub(crate) const PCR: u32 = 0x127;
pub(crate) const PCR_CHANGED: u32 = 0x128;
pub(crate) const AUTH_UNAVAILABLE: u32 = 0x12f;
pub(crate) const AUTHSIZE: u32 = 0x144;
pub(crate) const NV_RANGE: u32 = 0x146;
pub(crate) const NV_LOCKED: u32 = 0x148;
pub(crate) const NV_AUTHORIZATION: u32 = 0x149;
pub(crate) const NV_UNINITIALIZED: u32 = 0x14a;
pub(crate) const NV_SPACE: u32 = 0x14b;
pub(crate) const NV_DEFINED: u32 = 0x14c;
pub(crate) const CPHASH: u32 = 0x151;
pub(crate) const NEEDS_TEST: u32 = 0x153;
pub(crate) const COMMAND_SIZE: u32 = 0x142;
pub(crate) const CANCELED: u32 = 0x909;
pub(crate) const OBJECT_MEMORY: u32 = 0x902;
pub(crate) const LOCALITY: u32 = 0x907;
pub(crate) const LOCKOUT: u32 = 0x921;

/// Codes of format one, to be given a position.
pub(crate) const ATTRIBUTES: u32 = 0x02;
pub(crate) const HASH: u32 = 0x03;
pub(crate) const VALUE: u32 = 0x04;
pub(crate) const HIERARCHY: u32 = 0x05;
pub(crate) const MODE: u32 = 0x09;
pub(crate) const TYPE: u32 = 0x0a;
pub(crate) const HANDLE: u32 = 0x0b;
pub(crate) const KDF: u32 = 0x0c;
pub(crate) const AUTH_FAIL: u32 = 0x0e;
pub(crate) const NONCE: u32 = 0x0f;
pub(crate) const SCHEME: u32 = 0x12;
pub(crate) const SIZE: u32 = 0x15;
pub(crate) const SYMMETRIC: u32 = 0x16;
pub(crate) const TAG: u32 = 0x17;
pub(crate) const SELECTOR: u32 = 0x18;
pub(crate) const INSUFFICIENT: u32 = 0x1a;
pub(crate) const KEY: u32 = 0x1c;
pub(crate) const POLICY_FAIL: u32 = 0x1d;
pub(crate) const INTEGRITY: u32 = 0x1f;
pub(crate) const RESERVED_BITS: u32 = 0x21;
pub(crate) const BAD_AUTH: u32 = 0x22;
pub(crate) const EXPIRED: u32 = 0x23;
pub(crate) const POLICY_CC: u32 = 0x24;
pub(crate) const CURVE: u32 = 0x26;
pub(crate) const ECC_POINT: u32 = 0x27;
pub(crate) const SIGN_CONTEXT_KEY: u32 = 0x2d;

/// A code of format one without a position.
pub(crate) const fn plain(code: u32) -> u32 {
    0x080 | code
}

/// A code at the n-th handle.
pub(crate) const fn handle(n: u32, code: u32) -> u32 {
    0x080 | code | n << 8
}

/// A code at the n-th parameter.
pub(crate) const fn param(n: u32, code: u32) -> u32 {
    0x0c0 | code | n << 8
}

/// A code at the n-th session.
pub(crate) const fn session(n: u32, code: u32) -> u32 {
    0x880 | code | n << 8
}

/// TPM_RC_REFERENCE_H0 and the handles after it.
pub(crate) const fn reference_h(n: u32) -> u32 {
    0x910 + n
}

/// TPM_RC_REFERENCE_S0 and the sessions after it.
pub(crate) const fn reference_s(n: u32) -> u32 {
    0x918 + n
}

pub(crate) const OWNER: u32 = 0x4000_0001;
pub(crate) const NULL: u32 = 0x4000_0007;
pub(crate) const PW: u32 = 0x4000_0009;
pub(crate) const LOCKOUT_HIERARCHY: u32 = 0x4000_000a;
pub(crate) const ENDORSEMENT: u32 = 0x4000_000b;
pub(crate) const PLATFORM: u32 = 0x4000_000c;

pub(crate) const BINDING: u32 = 0x0a5;
pub(crate) const SENSITIVE: u32 = 0x155;
pub(crate) const SESSION_MEMORY: u32 = 0x903;
pub(crate) const CONTEXT_GAP: u32 = 0x901;
pub(crate) const AUTH_CONTEXT: u32 = 0x145;
pub(crate) const KEY_SIZE: u32 = 0x07;
pub(crate) const RANGE: u32 = 0x0d;
pub(crate) const SIGNATURE: u32 = 0x1b;
pub(crate) const TICKET: u32 = 0x20;
