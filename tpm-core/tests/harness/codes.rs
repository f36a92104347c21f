//! Response codes and handles by name (Part 2, 6.6 and 7.4).

pub const INITIALIZE: u32 = 0x100;
pub const FAILURE: u32 = 0x101;
pub const EXCLUSIVE: u32 = 0x121;
pub const AUTH_TYPE: u32 = 0x124;
pub const AUTH_MISSING: u32 = 0x125;
pub const PCR: u32 = 0x127;
pub const PCR_CHANGED: u32 = 0x128;
pub const AUTH_UNAVAILABLE: u32 = 0x12f;
pub const NV_RANGE: u32 = 0x146;
pub const NV_LOCKED: u32 = 0x148;
pub const NV_AUTHORIZATION: u32 = 0x149;
pub const NV_UNINITIALIZED: u32 = 0x14a;
pub const NV_SPACE: u32 = 0x14b;
pub const NV_DEFINED: u32 = 0x14c;
pub const CPHASH: u32 = 0x151;
pub const NEEDS_TEST: u32 = 0x153;
pub const LOCALITY: u32 = 0x907;
pub const LOCKOUT: u32 = 0x921;

/// Codes of format one, to be given a position.
pub const ATTRIBUTES: u32 = 0x02;
pub const HASH: u32 = 0x03;
pub const VALUE: u32 = 0x04;
pub const HIERARCHY: u32 = 0x05;
pub const TYPE: u32 = 0x0a;
pub const HANDLE: u32 = 0x0b;
pub const AUTH_FAIL: u32 = 0x0e;
pub const NONCE: u32 = 0x0f;
pub const SIZE: u32 = 0x15;
pub const SYMMETRIC: u32 = 0x16;
pub const TAG: u32 = 0x17;
pub const INSUFFICIENT: u32 = 0x1a;
pub const KEY: u32 = 0x1c;
pub const POLICY_FAIL: u32 = 0x1d;
pub const RESERVED_BITS: u32 = 0x21;
pub const BAD_AUTH: u32 = 0x22;
pub const EXPIRED: u32 = 0x23;
pub const POLICY_CC: u32 = 0x24;

/// A code at the n-th handle.
pub const fn handle(n: u32, code: u32) -> u32 {
    0x080 | code | n << 8
}

/// A code at the n-th parameter.
pub const fn param(n: u32, code: u32) -> u32 {
    0x0c0 | code | n << 8
}

/// A code at the n-th session.
pub const fn session(n: u32, code: u32) -> u32 {
    0x880 | code | n << 8
}

/// TPM_RC_REFERENCE_H0 and the handles after it.
pub const fn reference_h(n: u32) -> u32 {
    0x910 + n
}

/// TPM_RC_REFERENCE_S0 and the sessions after it.
pub const fn reference_s(n: u32) -> u32 {
    0x918 + n
}

pub const OWNER: u32 = 0x4000_0001;
pub const NULL: u32 = 0x4000_0007;
pub const PW: u32 = 0x4000_0009;
pub const LOCKOUT_HIERARCHY: u32 = 0x4000_000a;
pub const ENDORSEMENT: u32 = 0x4000_000b;
pub const PLATFORM: u32 = 0x4000_000c;
