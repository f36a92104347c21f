//! Attribute words (Part 2, 8 and 13).

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;

macro_rules! attributes {
    ($($(#[$m:meta])* $name:ident: $word:ty, reserved $reserved:literal { $($(#[$bm:meta])* $bit:ident = $n:literal),* $(,)? })*) => { $(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name(pub $word);
        #[allow(dead_code, reason = "one set of methods, and the bits of Part 2, for all")]
        impl $name {
            $($(#[$bm])* pub const $bit: Self = Self(1 << $n);)*
            /// Whether all these bits are SET.
            pub const fn has(self, bits: Self) -> bool { self.0 & bits.0 == bits.0 }
            /// Whether any of these bits is SET.
            pub const fn any(self, bits: Self) -> bool { self.0 & bits.0 != 0 }
            /// With these bits SET.
            #[must_use] pub const fn with(self, bits: Self) -> Self { Self(self.0 | bits.0) }
            /// With these bits CLEAR.
            #[must_use] pub const fn without(self, bits: Self) -> Self { Self(self.0 & !bits.0) }
        }
        impl Unmarshal<'_> for $name {
            #[inline]
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
                let word: $word = r.get()?;
                #[allow(clippy::bad_bit_mask, reason = "a word may have no reserved bits")]
                if word & $reserved == 0 { Ok(Self(word)) } else { Err(Fmt1::RESERVED_BITS) }
            }
        }
        impl Marshal for $name { fn marshal(&self, w: &mut Writer<'_>) { self.0.marshal(w); } }
    )* };
}

attributes! {
    /// TPMA_OBJECT (8.3)
    ObjectAttributes: u32, reserved 0xfff0_f009 {
        /// fixedTPM
        FIXED_TPM = 1,
        /// stClear
        ST_CLEAR = 2,
        /// fixedParent
        FIXED_PARENT = 4,
        /// sensitiveDataOrigin
        SENSITIVE_DATA_ORIGIN = 5,
        /// userWithAuth
        USER_WITH_AUTH = 6,
        /// adminWithPolicy
        ADMIN_WITH_POLICY = 7,
        /// firmwareLimited
        FIRMWARE_LIMITED = 8,
        /// svnLimited
        SVN_LIMITED = 9,
        /// noDA
        NO_DA = 10,
        /// encryptedDuplication
        ENCRYPTED_DUPLICATION = 11,
        /// restricted
        RESTRICTED = 16,
        /// decrypt
        DECRYPT = 17,
        /// sign (for a symmetric cipher: encrypt)
        SIGN = 18,
        /// x509sign
        X509_SIGN = 19,
    }
    /// TPMA_SESSION (8.4)
    SessionAttributes: u8, reserved 0x18 {
        /// continueSession
        CONTINUE_SESSION = 0,
        /// auditExclusive
        AUDIT_EXCLUSIVE = 1,
        /// auditReset
        AUDIT_RESET = 2,
        /// decrypt
        DECRYPT = 5,
        /// encrypt
        ENCRYPT = 6,
        /// audit
        AUDIT = 7,
    }
    /// TPMA_LOCALITY (8.5); bits 5 to 7 are for extended localities
    LocalityAttributes: u8, reserved 0x00 {
        /// locality 0
        ZERO = 0,
        /// locality 1
        ONE = 1,
        /// locality 2
        TWO = 2,
        /// locality 3
        THREE = 3,
        /// locality 4
        FOUR = 4,
    }
    /// TPMA_STARTUP_CLEAR (8.7)
    StartupClear: u32, reserved 0x7fff_ffe0 {
        /// phEnable
        PH_ENABLE = 0,
        /// shEnable
        SH_ENABLE = 1,
        /// ehEnable
        EH_ENABLE = 2,
        /// phEnableNV
        PH_ENABLE_NV = 3,
        /// readOnly
        READ_ONLY = 4,
        /// orderly
        ORDERLY = 31,
    }
    /// TPMA_NV (13.4); bits 4 to 7 are the type of the index
    NvAttributes: u32, reserved 0x01f0_0300 {
        /// TPMA_NV_PPWRITE
        PPWRITE = 0,
        /// TPMA_NV_OWNERWRITE
        OWNERWRITE = 1,
        /// TPMA_NV_AUTHWRITE
        AUTHWRITE = 2,
        /// TPMA_NV_POLICYWRITE
        POLICYWRITE = 3,
        /// TPMA_NV_POLICY_DELETE
        POLICY_DELETE = 10,
        /// TPMA_NV_WRITELOCKED
        WRITELOCKED = 11,
        /// TPMA_NV_WRITEALL
        WRITEALL = 12,
        /// TPMA_NV_WRITEDEFINE
        WRITEDEFINE = 13,
        /// TPMA_NV_WRITE_STCLEAR
        WRITE_STCLEAR = 14,
        /// TPMA_NV_GLOBALLOCK
        GLOBALLOCK = 15,
        /// TPMA_NV_PPREAD
        PPREAD = 16,
        /// TPMA_NV_OWNERREAD
        OWNERREAD = 17,
        /// TPMA_NV_AUTHREAD
        AUTHREAD = 18,
        /// TPMA_NV_POLICYREAD
        POLICYREAD = 19,
        /// TPMA_NV_NO_DA
        NO_DA = 25,
        /// TPMA_NV_ORDERLY
        ORDERLY = 26,
        /// TPMA_NV_CLEAR_STCLEAR
        CLEAR_STCLEAR = 27,
        /// TPMA_NV_READLOCKED
        READLOCKED = 28,
        /// TPMA_NV_WRITTEN
        WRITTEN = 29,
        /// TPMA_NV_PLATFORMCREATE
        PLATFORMCREATE = 30,
        /// TPMA_NV_READ_STCLEAR
        READ_STCLEAR = 31,
    }
}
