//! Numbers and what the specification calls them (Part 2, 6.5.2 and 6.6): for people who read a trace. What the engine
//! has is not told by this.

/// A command by its code.
pub(super) fn command(code: u32) -> String {
    find(COMMANDS, code).map_or_else(|| format!("command {code:#010x}"), str::to_owned)
}

/// A response code in words, with its number.
pub(super) fn response(rc: u32) -> String {
    format!("{} ({rc:#x})", words(rc))
}

/// Part 2, 6.6.2: bit 7 tells format one, which says where it is; bits 8 and 11 tell version 1 from warnings.
fn words(rc: u32) -> String {
    if rc == 0 {
        return "TPM_RC_SUCCESS".into();
    }
    if rc == 0x1e {
        return "TPM_RC_BAD_TAG".into();
    }
    let (table, number) = match rc {
        _ if rc & 0x80 != 0 => (FORMAT_ONE, rc & 0x3f),
        _ if rc & 0x900 == 0x900 => (WARNINGS, rc & 0x7f),
        _ if rc & 0x900 == 0x100 => (VERSION_1, rc & 0x7f),
        _ => return "no response code of TPM 2.0".into(),
    };
    let name = find(table, number).unwrap_or("unknown");
    format!("TPM_RC_{name}{}", if rc & 0x80 == 0 { String::new() } else { place(rc) })
}

/// Which handle, session or parameter a code of format one is about.
fn place(rc: u32) -> String {
    let number = (rc >> 8) & 0xf;
    match () {
        () if rc & 0x40 != 0 => format!(" of parameter {number}"),
        () if number == 0 => String::new(),
        () if number >= 8 => format!(" of session {}", number - 8),
        () => format!(" of handle {number}"),
    }
}

fn find(table: &[(u32, &'static str)], number: u32) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// `RC_FMT1`.
const FORMAT_ONE: &[(u32, &str)] = &[
    (0x01, "ASYMMETRIC"),
    (0x02, "ATTRIBUTES"),
    (0x03, "HASH"),
    (0x04, "VALUE"),
    (0x05, "HIERARCHY"),
    (0x07, "KEY_SIZE"),
    (0x08, "MGF"),
    (0x09, "MODE"),
    (0x0a, "TYPE"),
    (0x0b, "HANDLE"),
    (0x0c, "KDF"),
    (0x0d, "RANGE"),
    (0x0e, "AUTH_FAIL"),
    (0x0f, "NONCE"),
    (0x10, "PP"),
    (0x12, "SCHEME"),
    (0x15, "SIZE"),
    (0x16, "SYMMETRIC"),
    (0x17, "TAG"),
    (0x18, "SELECTOR"),
    (0x1a, "INSUFFICIENT"),
    (0x1b, "SIGNATURE"),
    (0x1c, "KEY"),
    (0x1d, "POLICY_FAIL"),
    (0x1f, "INTEGRITY"),
    (0x20, "TICKET"),
    (0x21, "RESERVED_BITS"),
    (0x22, "BAD_AUTH"),
    (0x23, "EXPIRED"),
    (0x24, "POLICY_CC"),
    (0x25, "BINDING"),
    (0x26, "CURVE"),
    (0x27, "ECC_POINT"),
    (0x28, "FW_LIMITED"),
    (0x29, "SVN_LIMITED"),
    (0x2a, "PARMS"),
    (0x30, "CHANNEL"),
    (0x31, "CHANNEL_KEY"),
];

/// `RC_VER1`.
const VERSION_1: &[(u32, &str)] = &[
    (0x00, "INITIALIZE"),
    (0x01, "FAILURE"),
    (0x03, "SEQUENCE"),
    (0x0b, "PRIVATE"),
    (0x19, "HMAC"),
    (0x20, "DISABLED"),
    (0x21, "EXCLUSIVE"),
    (0x24, "AUTH_TYPE"),
    (0x25, "AUTH_MISSING"),
    (0x26, "POLICY"),
    (0x27, "PCR"),
    (0x28, "PCR_CHANGED"),
    (0x2d, "UPGRADE"),
    (0x2e, "TOO_MANY_CONTEXTS"),
    (0x2f, "AUTH_UNAVAILABLE"),
    (0x30, "REBOOT"),
    (0x31, "UNBALANCED"),
    (0x42, "COMMAND_SIZE"),
    (0x43, "COMMAND_CODE"),
    (0x44, "AUTHSIZE"),
    (0x45, "AUTH_CONTEXT"),
    (0x46, "NV_RANGE"),
    (0x47, "NV_SIZE"),
    (0x48, "NV_LOCKED"),
    (0x49, "NV_AUTHORIZATION"),
    (0x4a, "NV_UNINITIALIZED"),
    (0x4b, "NV_SPACE"),
    (0x4c, "NV_DEFINED"),
    (0x50, "BAD_CONTEXT"),
    (0x51, "CPHASH"),
    (0x52, "PARENT"),
    (0x53, "NEEDS_TEST"),
    (0x54, "NO_RESULT"),
    (0x55, "SENSITIVE"),
    (0x56, "READ_ONLY"),
];

/// `RC_WARN`.
const WARNINGS: &[(u32, &str)] = &[
    (0x01, "CONTEXT_GAP"),
    (0x02, "OBJECT_MEMORY"),
    (0x03, "SESSION_MEMORY"),
    (0x04, "MEMORY"),
    (0x05, "SESSION_HANDLES"),
    (0x06, "OBJECT_HANDLES"),
    (0x07, "LOCALITY"),
    (0x08, "YIELDED"),
    (0x09, "CANCELED"),
    (0x0a, "TESTING"),
    (0x10, "REFERENCE_H0"),
    (0x11, "REFERENCE_H1"),
    (0x12, "REFERENCE_H2"),
    (0x13, "REFERENCE_H3"),
    (0x14, "REFERENCE_H4"),
    (0x15, "REFERENCE_H5"),
    (0x16, "REFERENCE_H6"),
    (0x18, "REFERENCE_S0"),
    (0x19, "REFERENCE_S1"),
    (0x1a, "REFERENCE_S2"),
    (0x1b, "REFERENCE_S3"),
    (0x1c, "REFERENCE_S4"),
    (0x1d, "REFERENCE_S5"),
    (0x1e, "REFERENCE_S6"),
    (0x20, "NV_RATE"),
    (0x21, "LOCKOUT"),
    (0x22, "RETRY"),
    (0x23, "NV_UNAVAILABLE"),
];

/// `TPM_CC`.
const COMMANDS: &[(u32, &str)] = &[
    (0x11f, "NV_UndefineSpaceSpecial"),
    (0x120, "EvictControl"),
    (0x121, "HierarchyControl"),
    (0x122, "NV_UndefineSpace"),
    (0x124, "ChangeEPS"),
    (0x125, "ChangePPS"),
    (0x126, "Clear"),
    (0x127, "ClearControl"),
    (0x128, "ClockSet"),
    (0x129, "HierarchyChangeAuth"),
    (0x12a, "NV_DefineSpace"),
    (0x12b, "PCR_Allocate"),
    (0x12c, "PCR_SetAuthPolicy"),
    (0x12d, "PP_Commands"),
    (0x12e, "SetPrimaryPolicy"),
    (0x12f, "FieldUpgradeStart"),
    (0x130, "ClockRateAdjust"),
    (0x131, "CreatePrimary"),
    (0x132, "NV_GlobalWriteLock"),
    (0x133, "GetCommandAuditDigest"),
    (0x134, "NV_Increment"),
    (0x135, "NV_SetBits"),
    (0x136, "NV_Extend"),
    (0x137, "NV_Write"),
    (0x138, "NV_WriteLock"),
    (0x139, "DictionaryAttackLockReset"),
    (0x13a, "DictionaryAttackParameters"),
    (0x13b, "NV_ChangeAuth"),
    (0x13c, "PCR_Event"),
    (0x13d, "PCR_Reset"),
    (0x13e, "SequenceComplete"),
    (0x13f, "SetAlgorithmSet"),
    (0x140, "SetCommandCodeAuditStatus"),
    (0x141, "FieldUpgradeData"),
    (0x142, "IncrementalSelfTest"),
    (0x143, "SelfTest"),
    (0x144, "Startup"),
    (0x145, "Shutdown"),
    (0x146, "StirRandom"),
    (0x147, "ActivateCredential"),
    (0x148, "Certify"),
    (0x149, "PolicyNV"),
    (0x14a, "CertifyCreation"),
    (0x14b, "Duplicate"),
    (0x14c, "GetTime"),
    (0x14d, "GetSessionAuditDigest"),
    (0x14e, "NV_Read"),
    (0x14f, "NV_ReadLock"),
    (0x150, "ObjectChangeAuth"),
    (0x151, "PolicySecret"),
    (0x152, "Rewrap"),
    (0x153, "Create"),
    (0x154, "ECDH_ZGen"),
    (0x155, "HMAC/MAC"),
    (0x156, "Import"),
    (0x157, "Load"),
    (0x158, "Quote"),
    (0x159, "RSA_Decrypt"),
    (0x15b, "HMAC_Start/MAC_Start"),
    (0x15c, "SequenceUpdate"),
    (0x15d, "Sign"),
    (0x15e, "Unseal"),
    (0x160, "PolicySigned"),
    (0x161, "ContextLoad"),
    (0x162, "ContextSave"),
    (0x163, "ECDH_KeyGen"),
    (0x164, "EncryptDecrypt"),
    (0x165, "FlushContext"),
    (0x167, "LoadExternal"),
    (0x168, "MakeCredential"),
    (0x169, "NV_ReadPublic"),
    (0x16a, "PolicyAuthorize"),
    (0x16b, "PolicyAuthValue"),
    (0x16c, "PolicyCommandCode"),
    (0x16d, "PolicyCounterTimer"),
    (0x16e, "PolicyCpHash"),
    (0x16f, "PolicyLocality"),
    (0x170, "PolicyNameHash"),
    (0x171, "PolicyOR"),
    (0x172, "PolicyTicket"),
    (0x173, "ReadPublic"),
    (0x174, "RSA_Encrypt"),
    (0x176, "StartAuthSession"),
    (0x177, "VerifySignature"),
    (0x178, "ECC_Parameters"),
    (0x179, "FirmwareRead"),
    (0x17a, "GetCapability"),
    (0x17b, "GetRandom"),
    (0x17c, "GetTestResult"),
    (0x17d, "Hash"),
    (0x17e, "PCR_Read"),
    (0x17f, "PolicyPCR"),
    (0x180, "PolicyRestart"),
    (0x181, "ReadClock"),
    (0x182, "PCR_Extend"),
    (0x183, "PCR_SetAuthValue"),
    (0x184, "NV_Certify"),
    (0x185, "EventSequenceComplete"),
    (0x186, "HashSequenceStart"),
    (0x187, "PolicyPhysicalPresence"),
    (0x188, "PolicyDuplicationSelect"),
    (0x189, "PolicyGetDigest"),
    (0x18a, "TestParms"),
    (0x18b, "Commit"),
    (0x18c, "PolicyPassword"),
    (0x18d, "ZGen_2Phase"),
    (0x18e, "EC_Ephemeral"),
    (0x18f, "PolicyNvWritten"),
    (0x190, "PolicyTemplate"),
    (0x191, "CreateLoaded"),
    (0x192, "PolicyAuthorizeNV"),
    (0x193, "EncryptDecrypt2"),
    (0x194, "AC_GetCapability"),
    (0x195, "AC_Send"),
    (0x196, "Policy_AC_SendSelect"),
    (0x197, "CertifyX509"),
    (0x198, "ACT_SetTimeout"),
    (0x199, "ECC_Encrypt"),
    (0x19a, "ECC_Decrypt"),
    (0x19b, "PolicyCapability"),
    (0x19c, "PolicyParameters"),
    (0x19d, "NV_DefineSpace2"),
    (0x19e, "NV_ReadPublic2"),
    (0x19f, "SetCapability"),
    (0x1a0, "ReadOnlyControl"),
    (0x1a1, "PolicyTransportSPDM"),
    (0x1a3, "VerifySequenceComplete"),
    (0x1a4, "SignSequenceComplete"),
    (0x1a5, "VerifyDigestSignature"),
    (0x1a6, "SignDigest"),
    (0x1a7, "Encapsulate"),
    (0x1a8, "Decapsulate"),
    (0x1a9, "VerifySequenceStart"),
    (0x1aa, "SignSequenceStart"),
];

#[cfg(test)]
mod tests {
    use super::{command, response};

    #[test]
    fn codes_say_what_they_are_about() {
        for (rc, words) in [
            (0, "TPM_RC_SUCCESS (0x0)"),
            (0x98e, "TPM_RC_AUTH_FAIL of session 1 (0x98e)"),
            (0x18b, "TPM_RC_HANDLE of handle 1 (0x18b)"),
            (0x2d5, "TPM_RC_SIZE of parameter 2 (0x2d5)"),
            (0x9a2, "TPM_RC_BAD_AUTH of session 1 (0x9a2)"),
            (0x921, "TPM_RC_LOCKOUT (0x921)"),
            (0x143, "TPM_RC_COMMAND_CODE (0x143)"),
            (0x1e, "TPM_RC_BAD_TAG (0x1e)"),
        ] {
            assert_eq!(response(rc), words);
        }
    }

    #[test]
    fn commands_have_their_names() {
        assert_eq!(command(0x144), "Startup");
        assert_eq!(command(0x1aa), "SignSequenceStart");
        assert_eq!(command(0x2000_0000), "command 0x20000000");
    }
}
