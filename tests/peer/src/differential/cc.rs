//! Command codes: those of the engine's table, so that none is forgotten; and what the caller knows of the commands.

pub(crate) use client::cc::*;
pub(crate) use client::command::loads;

/// The name of a command code.
pub(crate) fn name(code: u32) -> &'static str {
    ALL.iter().find(|(known, _)| *known == code).map_or("?", |(_, name)| name)
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
            | MAC
            | HASH
            | IMPORT
            | LOAD
            | LOAD_EXTERNAL
            | QUOTE
            | RSA_DECRYPT
            | RSA_ENCRYPT
            | MAC_START
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
            | MAC
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
