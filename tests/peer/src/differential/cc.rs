//! Command codes by name.

macro_rules! codes {
    ($($name:ident = $code:literal, $title:literal;)*) => {
        $(pub(crate) const $name: u32 = $code;)*
        /// Every code that the generator knows, with its name.
        pub(crate) const ALL: &[(u32, &str)] = &[$(($code, $title)),*];
    };
}

codes! {
    NV_UNDEFINE_SPACE_SPECIAL = 0x11f, "NV_UndefineSpaceSpecial";
    EVICT_CONTROL = 0x120, "EvictControl";
    HIERARCHY_CONTROL = 0x121, "HierarchyControl";
    NV_UNDEFINE_SPACE = 0x122, "NV_UndefineSpace";
    CHANGE_EPS = 0x124, "ChangeEPS";
    CHANGE_PPS = 0x125, "ChangePPS";
    CLEAR = 0x126, "Clear";
    CLEAR_CONTROL = 0x127, "ClearControl";
    CLOCK_SET = 0x128, "ClockSet";
    HIERARCHY_CHANGE_AUTH = 0x129, "HierarchyChangeAuth";
    NV_DEFINE_SPACE = 0x12a, "NV_DefineSpace";
    PCR_ALLOCATE = 0x12b, "PCR_Allocate";
    PCR_SET_AUTH_POLICY = 0x12c, "PCR_SetAuthPolicy";
    PP_COMMANDS = 0x12d, "PP_Commands";
    SET_PRIMARY_POLICY = 0x12e, "SetPrimaryPolicy";
    CLOCK_RATE_ADJUST = 0x130, "ClockRateAdjust";
    CREATE_PRIMARY = 0x131, "CreatePrimary";
    NV_GLOBAL_WRITE_LOCK = 0x132, "NV_GlobalWriteLock";
    GET_COMMAND_AUDIT_DIGEST = 0x133, "GetCommandAuditDigest";
    NV_INCREMENT = 0x134, "NV_Increment";
    NV_SET_BITS = 0x135, "NV_SetBits";
    NV_EXTEND = 0x136, "NV_Extend";
    NV_WRITE = 0x137, "NV_Write";
    NV_WRITE_LOCK = 0x138, "NV_WriteLock";
    DICTIONARY_ATTACK_LOCK_RESET = 0x139, "DictionaryAttackLockReset";
    DICTIONARY_ATTACK_PARAMETERS = 0x13a, "DictionaryAttackParameters";
    NV_CHANGE_AUTH = 0x13b, "NV_ChangeAuth";
    PCR_EVENT = 0x13c, "PCR_Event";
    PCR_RESET = 0x13d, "PCR_Reset";
    SEQUENCE_COMPLETE = 0x13e, "SequenceComplete";
    SET_ALGORITHM_SET = 0x13f, "SetAlgorithmSet";
    SET_COMMAND_CODE_AUDIT_STATUS = 0x140, "SetCommandCodeAuditStatus";
    INCREMENTAL_SELF_TEST = 0x142, "IncrementalSelfTest";
    SELF_TEST = 0x143, "SelfTest";
    STARTUP = 0x144, "Startup";
    SHUTDOWN = 0x145, "Shutdown";
    STIR_RANDOM = 0x146, "StirRandom";
    ACTIVATE_CREDENTIAL = 0x147, "ActivateCredential";
    CERTIFY = 0x148, "Certify";
    POLICY_NV = 0x149, "PolicyNV";
    CERTIFY_CREATION = 0x14a, "CertifyCreation";
    DUPLICATE = 0x14b, "Duplicate";
    GET_TIME = 0x14c, "GetTime";
    GET_SESSION_AUDIT_DIGEST = 0x14d, "GetSessionAuditDigest";
    NV_READ = 0x14e, "NV_Read";
    NV_READ_LOCK = 0x14f, "NV_ReadLock";
    OBJECT_CHANGE_AUTH = 0x150, "ObjectChangeAuth";
    POLICY_SECRET = 0x151, "PolicySecret";
    REWRAP = 0x152, "Rewrap";
    CREATE = 0x153, "Create";
    ECDH_ZGEN = 0x154, "ECDH_ZGen";
    HMAC = 0x155, "HMAC";
    IMPORT = 0x156, "Import";
    LOAD = 0x157, "Load";
    QUOTE = 0x158, "Quote";
    RSA_DECRYPT = 0x159, "RSA_Decrypt";
    HMAC_START = 0x15b, "HMAC_Start";
    SEQUENCE_UPDATE = 0x15c, "SequenceUpdate";
    SIGN = 0x15d, "Sign";
    UNSEAL = 0x15e, "Unseal";
    POLICY_SIGNED = 0x160, "PolicySigned";
    CONTEXT_LOAD = 0x161, "ContextLoad";
    CONTEXT_SAVE = 0x162, "ContextSave";
    ECDH_KEY_GEN = 0x163, "ECDH_KeyGen";
    ENCRYPT_DECRYPT = 0x164, "EncryptDecrypt";
    FLUSH_CONTEXT = 0x165, "FlushContext";
    LOAD_EXTERNAL = 0x167, "LoadExternal";
    MAKE_CREDENTIAL = 0x168, "MakeCredential";
    NV_READ_PUBLIC = 0x169, "NV_ReadPublic";
    POLICY_AUTHORIZE = 0x16a, "PolicyAuthorize";
    POLICY_AUTH_VALUE = 0x16b, "PolicyAuthValue";
    POLICY_COMMAND_CODE = 0x16c, "PolicyCommandCode";
    POLICY_COUNTER_TIMER = 0x16d, "PolicyCounterTimer";
    POLICY_CP_HASH = 0x16e, "PolicyCpHash";
    POLICY_LOCALITY = 0x16f, "PolicyLocality";
    POLICY_NAME_HASH = 0x170, "PolicyNameHash";
    POLICY_OR = 0x171, "PolicyOR";
    POLICY_TICKET = 0x172, "PolicyTicket";
    READ_PUBLIC = 0x173, "ReadPublic";
    RSA_ENCRYPT = 0x174, "RSA_Encrypt";
    START_AUTH_SESSION = 0x176, "StartAuthSession";
    VERIFY_SIGNATURE = 0x177, "VerifySignature";
    ECC_PARAMETERS = 0x178, "ECC_Parameters";
    GET_CAPABILITY = 0x17a, "GetCapability";
    GET_RANDOM = 0x17b, "GetRandom";
    GET_TEST_RESULT = 0x17c, "GetTestResult";
    HASH = 0x17d, "Hash";
    PCR_READ = 0x17e, "PCR_Read";
    POLICY_PCR = 0x17f, "PolicyPCR";
    POLICY_RESTART = 0x180, "PolicyRestart";
    READ_CLOCK = 0x181, "ReadClock";
    PCR_EXTEND = 0x182, "PCR_Extend";
    PCR_SET_AUTH_VALUE = 0x183, "PCR_SetAuthValue";
    NV_CERTIFY = 0x184, "NV_Certify";
    EVENT_SEQUENCE_COMPLETE = 0x185, "EventSequenceComplete";
    HASH_SEQUENCE_START = 0x186, "HashSequenceStart";
    POLICY_PHYSICAL_PRESENCE = 0x187, "PolicyPhysicalPresence";
    POLICY_DUPLICATION_SELECT = 0x188, "PolicyDuplicationSelect";
    POLICY_GET_DIGEST = 0x189, "PolicyGetDigest";
    TEST_PARMS = 0x18a, "TestParms";
    COMMIT = 0x18b, "Commit";
    POLICY_PASSWORD = 0x18c, "PolicyPassword";
    ZGEN_2PHASE = 0x18d, "ZGen_2Phase";
    EC_EPHEMERAL = 0x18e, "EC_Ephemeral";
    POLICY_NV_WRITTEN = 0x18f, "PolicyNvWritten";
    POLICY_TEMPLATE = 0x190, "PolicyTemplate";
    CREATE_LOADED = 0x191, "CreateLoaded";
    POLICY_AUTHORIZE_NV = 0x192, "PolicyAuthorizeNV";
    ENCRYPT_DECRYPT_2 = 0x193, "EncryptDecrypt2";
    POLICY_AC_SEND_SELECT = 0x196, "Policy_AC_SendSelect";
    CERTIFY_X509 = 0x197, "CertifyX509";
    ACT_SET_TIMEOUT = 0x198, "ACT_SetTimeout";
    ECC_ENCRYPT = 0x199, "ECC_Encrypt";
    ECC_DECRYPT = 0x19a, "ECC_Decrypt";
    POLICY_CAPABILITY = 0x19b, "PolicyCapability";
    POLICY_PARAMETERS = 0x19c, "PolicyParameters";
    NV_DEFINE_SPACE_2 = 0x19d, "NV_DefineSpace2";
    NV_READ_PUBLIC_2 = 0x19e, "NV_ReadPublic2";
    READ_ONLY_CONTROL = 0x1a0, "ReadOnlyControl";
    POLICY_TRANSPORT_SPDM = 0x1a1, "PolicyTransportSPDM";
    VERIFY_SEQUENCE_COMPLETE = 0x1a3, "VerifySequenceComplete";
    SIGN_SEQUENCE_COMPLETE = 0x1a4, "SignSequenceComplete";
    VERIFY_DIGEST_SIGNATURE = 0x1a5, "VerifyDigestSignature";
    SIGN_DIGEST = 0x1a6, "SignDigest";
    ENCAPSULATE = 0x1a7, "Encapsulate";
    DECAPSULATE = 0x1a8, "Decapsulate";
    VERIFY_SEQUENCE_START = 0x1a9, "VerifySequenceStart";
    SIGN_SEQUENCE_START = 0x1aa, "SignSequenceStart";
}

/// The name of a command code.
pub(crate) fn name(code: u32) -> &'static str {
    ALL.iter().find(|(known, _)| *known == code).map_or("?", |(_, name)| name)
}

/// Whether the response starts with a handle.
pub(crate) const fn replies_handle(code: u32) -> bool {
    loads(code) || code == START_AUTH_SESSION
}

/// Whether the command loads an object or starts a sequence. TPM2_ContextLoad may load a session.
pub(crate) const fn loads(code: u32) -> bool {
    matches!(
        code,
        CREATE_PRIMARY
            | LOAD
            | LOAD_EXTERNAL
            | CREATE_LOADED
            | HMAC_START
            | HASH_SEQUENCE_START
            | SIGN_SEQUENCE_START
            | VERIFY_SEQUENCE_START
            | CONTEXT_LOAD
    )
}

/// Whether libtpms needs a slot for an object that the command makes and does not load.
pub(crate) const fn makes(code: u32) -> bool {
    matches!(code, CREATE | IMPORT)
}

/// Whether the first parameter is a TPM2B.
pub(crate) const fn encrypts_command(code: u32) -> bool {
    matches!(
        code,
        HIERARCHY_CHANGE_AUTH
            | NV_DEFINE_SPACE
            | PCR_SET_AUTH_POLICY
            | SET_PRIMARY_POLICY
            | CREATE_PRIMARY
            | NV_EXTEND
            | NV_WRITE
            | NV_CHANGE_AUTH
            | PCR_EVENT
            | SEQUENCE_COMPLETE
            | STIR_RANDOM
            | ACTIVATE_CREDENTIAL
            | CERTIFY
            | CERTIFY_CREATION
            | DUPLICATE
            | GET_TIME
            | GET_SESSION_AUDIT_DIGEST
            | GET_COMMAND_AUDIT_DIGEST
            | OBJECT_CHANGE_AUTH
            | POLICY_SECRET
            | POLICY_SIGNED
            | POLICY_NV
            | REWRAP
            | CREATE
            | CREATE_LOADED
            | ECDH_ZGEN
            | HMAC
            | HASH
            | IMPORT
            | LOAD
            | LOAD_EXTERNAL
            | QUOTE
            | RSA_DECRYPT
            | RSA_ENCRYPT
            | HMAC_START
            | HASH_SEQUENCE_START
            | SEQUENCE_UPDATE
            | SIGN
            | MAKE_CREDENTIAL
            | POLICY_CP_HASH
            | POLICY_NAME_HASH
            | POLICY_TEMPLATE
            | POLICY_PCR
            | POLICY_DUPLICATION_SELECT
            | VERIFY_SIGNATURE
            | NV_CERTIFY
            | ENCRYPT_DECRYPT_2
            | PCR_SET_AUTH_VALUE
            | COMMIT
            | CERTIFY_X509
            | ECC_ENCRYPT
            | ECC_DECRYPT
            | POLICY_CAPABILITY
            | POLICY_PARAMETERS
            | POLICY_TRANSPORT_SPDM
            | POLICY_AC_SEND_SELECT
            | NV_DEFINE_SPACE_2
            | SIGN_SEQUENCE_START
            | VERIFY_SEQUENCE_START
            | SIGN_SEQUENCE_COMPLETE
            | SIGN_DIGEST
            | VERIFY_DIGEST_SIGNATURE
            | DECAPSULATE
    )
}

/// Whether the first response parameter is a TPM2B.
pub(crate) const fn encrypts_response(code: u32) -> bool {
    matches!(
        code,
        CREATE_PRIMARY
            | CREATE
            | CREATE_LOADED
            | LOAD
            | LOAD_EXTERNAL
            | READ_PUBLIC
            | NV_READ_PUBLIC
            | NV_READ
            | UNSEAL
            | GET_RANDOM
            | HMAC
            | HASH
            | ECDH_KEY_GEN
            | ECDH_ZGEN
            | CERTIFY
            | QUOTE
            | GET_TIME
            | NV_CERTIFY
            | OBJECT_CHANGE_AUTH
            | DUPLICATE
            | IMPORT
            | REWRAP
            | SEQUENCE_COMPLETE
            | RSA_ENCRYPT
            | RSA_DECRYPT
            | POLICY_GET_DIGEST
            | POLICY_SECRET
            | POLICY_SIGNED
            | MAKE_CREDENTIAL
            | ACTIVATE_CREDENTIAL
            | ENCRYPT_DECRYPT
            | ENCRYPT_DECRYPT_2
            | COMMIT
            | EC_EPHEMERAL
            | CERTIFY_CREATION
            | CERTIFY_X509
            | GET_SESSION_AUDIT_DIGEST
            | GET_COMMAND_AUDIT_DIGEST
            | ECC_ENCRYPT
            | ECC_DECRYPT
            | NV_READ_PUBLIC_2
            | ENCAPSULATE
            | DECAPSULATE
    )
}
