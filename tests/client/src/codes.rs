//! Response codes and handles as numbers, by the names of the wire crate (Part 2, 6.6 and 7.4).

use tpm_wire::Handle;
use tpm_wire::rc::{self, Fmt1, Rc};

macro_rules! codes {
    ($($name:ident),* $(,)?) => { $(
        #[doc = concat!("TPM_RC_", stringify!($name))]
        pub const $name: u32 = Rc::$name.get();
    )* };
}
codes! {
    BAD_TAG, INITIALIZE, SEQUENCE, DISABLED, EXCLUSIVE, AUTH_TYPE, AUTH_MISSING, POLICY, PCR, PCR_CHANGED,
    TOO_MANY_CONTEXTS, AUTH_UNAVAILABLE, REBOOT, UNBALANCED, COMMAND_SIZE, COMMAND_CODE, AUTHSIZE, AUTH_CONTEXT,
    NV_RANGE, NV_SIZE, NV_LOCKED, NV_AUTHORIZATION, NV_UNINITIALIZED, NV_SPACE, NV_DEFINED, BAD_CONTEXT, CPHASH,
    PARENT, NEEDS_TEST, NO_RESULT, SENSITIVE, READ_ONLY, CONTEXT_GAP, OBJECT_MEMORY, SESSION_MEMORY, MEMORY,
    SESSION_HANDLES, OBJECT_HANDLES, LOCALITY, YIELDED, CANCELED, TESTING, NV_RATE, LOCKOUT, RETRY,
    NV_UNAVAILABLE,
}

/// Commands are not accepted because of a fault.
pub const FAILURE: u32 = rc::FAILURE;

/// Codes of format one, to be given a position.
macro_rules! without_position {
    ($($name:ident),* $(,)?) => { $(
        #[doc = concat!("TPM_RC_", stringify!($name), ", of format one")]
        pub const $name: u32 = Fmt1::$name.get() as u32;
    )* };
}
without_position! {
    ASYMMETRIC, ATTRIBUTES, HASH, VALUE, HIERARCHY, KEY_SIZE, MGF, MODE, TYPE, HANDLE, KDF, RANGE, AUTH_FAIL,
    NONCE, PP, SCHEME, SIZE, SYMMETRIC, TAG, SELECTOR, INSUFFICIENT, SIGNATURE, KEY, POLICY_FAIL, INTEGRITY,
    TICKET, RESERVED_BITS, BAD_AUTH, EXPIRED, POLICY_CC, BINDING, CURVE, ECC_POINT, PARMS, EXT_MU,
    ONE_SHOT_SIGNATURE, SIGN_CONTEXT_KEY, CHANNEL, CHANNEL_KEY,
}

/// A code of format one without a position.
pub const fn plain(code: u32) -> u32 {
    0x080 | code
}

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

macro_rules! handles {
    ($($name:ident = $handle:expr),* $(,)?) => { $(
        #[doc = concat!("TPM_RH_", stringify!($name))]
        pub const $name: u32 = $handle.0;
    )* };
}
handles! {
    OWNER = Handle::OWNER,
    NULL = Handle::NULL,
    PW = Handle::PW,
    LOCKOUT_HIERARCHY = Handle::LOCKOUT,
    ENDORSEMENT = Handle::ENDORSEMENT,
    PLATFORM = Handle::PLATFORM,
    PLATFORM_NV = Handle::PLATFORM_NV,
    ACT_0 = Handle::act(0x0),
    ACT_A = Handle::act(0xa),
}
