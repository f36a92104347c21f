//! What TPM2_GetCapability is asked by: TPM_CAP, TPM_PT and TPM_PT_PCR (Part 2, 6.12 to 6.14).

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;

/// TPM_CAP (Part 2, 6.12): a group, be it one of those that only a TPM with an SPDM responder has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cap(pub u32);

macro_rules! caps { ($($name:ident = $v:literal),* $(,)?) => { impl Cap { $(
    #[doc = concat!("TPM_CAP_", stringify!($name))]
    pub const $name: Self = Self($v);
)* } } }
caps! {
    ALGS = 0x0,
    HANDLES = 0x1,
    COMMANDS = 0x2,
    PP_COMMANDS = 0x3,
    AUDIT_COMMANDS = 0x4,
    PCRS = 0x5,
    TPM_PROPERTIES = 0x6,
    PCR_PROPERTIES = 0x7,
    ECC_CURVES = 0x8,
    AUTH_POLICIES = 0x9,
    ACT = 0xa,
    PUB_KEYS = 0xb,
    SPDM_SESSION_INFO = 0xc,
    VENDOR_PROPERTY = 0x100,
}

impl Cap {
    const LAST: Self = Self::SPDM_SESSION_INFO;

    /// Whether there are single properties with a number of their own.
    pub fn has_properties(self) -> bool {
        !matches!(self, Self::PCRS | Self::VENDOR_PROPERTY)
    }

    /// Whether only a TPM with an SPDM responder has something in the group.
    pub fn is_of_spdm(self) -> bool {
        matches!(self, Self::PUB_KEYS | Self::SPDM_SESSION_INFO)
    }
}

impl Marshal for Cap {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

impl Unmarshal<'_> for Cap {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let group = Self(r.get()?);
        if group.0 <= Self::LAST.0 || group == Self::VENDOR_PROPERTY { Ok(group) } else { Err(Fmt1::VALUE) }
    }
}

macro_rules! properties { ($prefix:literal: $($name:ident = $v:expr),* $(,)?) => { $(
    #[doc = concat!($prefix, stringify!($name))]
    pub const $name: u32 = $v;
)* } }

/// TPM_PT (Part 2, 6.13).
pub mod pt {
    /// PT_FIXED: where the group starts that only a firmware update changes.
    pub const FIXED: u32 = 0x100;
    /// PT_VAR: where the group starts that commands change.
    pub const VAR: u32 = 0x200;

    properties! { "TPM_PT_":
        FAMILY_INDICATOR = FIXED,
        LEVEL = FIXED + 1,
        REVISION = FIXED + 2,
        ERRATA = FIXED + 3,
        YEAR = FIXED + 4,
        MANUFACTURER = FIXED + 5,
        VENDOR_STRING_1 = FIXED + 6,
        VENDOR_STRING_2 = FIXED + 7,
        VENDOR_STRING_3 = FIXED + 8,
        VENDOR_STRING_4 = FIXED + 9,
        VENDOR_TPM_TYPE = FIXED + 10,
        FIRMWARE_VERSION_1 = FIXED + 11,
        FIRMWARE_VERSION_2 = FIXED + 12,
        INPUT_BUFFER = FIXED + 13,
        HR_TRANSIENT_MIN = FIXED + 14,
        HR_PERSISTENT_MIN = FIXED + 15,
        HR_LOADED_MIN = FIXED + 16,
        ACTIVE_SESSIONS_MAX = FIXED + 17,
        PCR_COUNT = FIXED + 18,
        PCR_SELECT_MIN = FIXED + 19,
        CONTEXT_GAP_MAX = FIXED + 20,
        NV_COUNTERS_MAX = FIXED + 22,
        NV_INDEX_MAX = FIXED + 23,
        MEMORY = FIXED + 24,
        CLOCK_UPDATE = FIXED + 25,
        CONTEXT_HASH = FIXED + 26,
        CONTEXT_SYM = FIXED + 27,
        CONTEXT_SYM_SIZE = FIXED + 28,
        ORDERLY_COUNT = FIXED + 29,
        MAX_COMMAND_SIZE = FIXED + 30,
        MAX_RESPONSE_SIZE = FIXED + 31,
        MAX_DIGEST = FIXED + 32,
        MAX_OBJECT_CONTEXT = FIXED + 33,
        MAX_SESSION_CONTEXT = FIXED + 34,
        PS_FAMILY_INDICATOR = FIXED + 35,
        PS_LEVEL = FIXED + 36,
        PS_REVISION = FIXED + 37,
        PS_DAY_OF_YEAR = FIXED + 38,
        PS_YEAR = FIXED + 39,
        SPLIT_MAX = FIXED + 40,
        TOTAL_COMMANDS = FIXED + 41,
        LIBRARY_COMMANDS = FIXED + 42,
        VENDOR_COMMANDS = FIXED + 43,
        NV_BUFFER_MAX = FIXED + 44,
        MODES = FIXED + 45,
        MAX_CAP_BUFFER = FIXED + 46,
        FIRMWARE_SVN = FIXED + 47,
        FIRMWARE_MAX_SVN = FIXED + 48,
        ML_PARAMETER_SETS = FIXED + 49,
        PERMANENT = VAR,
        STARTUP_CLEAR = VAR + 1,
        HR_NV_INDEX = VAR + 2,
        HR_LOADED = VAR + 3,
        HR_LOADED_AVAIL = VAR + 4,
        HR_ACTIVE = VAR + 5,
        HR_ACTIVE_AVAIL = VAR + 6,
        HR_TRANSIENT_AVAIL = VAR + 7,
        HR_PERSISTENT = VAR + 8,
        HR_PERSISTENT_AVAIL = VAR + 9,
        NV_COUNTERS = VAR + 10,
        NV_COUNTERS_AVAIL = VAR + 11,
        ALGORITHM_SET = VAR + 12,
        LOADED_CURVES = VAR + 13,
        LOCKOUT_COUNTER = VAR + 14,
        MAX_AUTH_FAIL = VAR + 15,
        LOCKOUT_INTERVAL = VAR + 16,
        LOCKOUT_RECOVERY = VAR + 17,
        NV_WRITE_RECOVERY = VAR + 18,
        AUDIT_COUNTER_0 = VAR + 19,
        AUDIT_COUNTER_1 = VAR + 20,
    }
}

/// TPM_PT_PCR (Part 2, 6.14).
pub mod pt_pcr {
    properties! { "TPM_PT_PCR_":
        SAVE = 0x00,
        EXTEND_L0 = 0x01,
        RESET_L0 = 0x02,
        NO_INCREMENT = 0x11,
        DRTM_RESET = 0x12,
        POLICY = 0x13,
        AUTH = 0x14,
    }
}
