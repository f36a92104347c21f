//! Part 3: a folder a chapter, a file a command, and the one table of them all.
//!
//! A command is an implementation of [`interface::Command`]. Its areas are plain structs whose field types carry the
//! rules; [`CommandInfo::of`] derives from them everything that the pipeline and TPM2_GetCapability know. Above each
//! `run` stand the response codes in the order of the checks. This file alone knows all commands, and none of them it.

pub(crate) mod area;
pub(crate) mod call;
pub(crate) mod interface;
mod lists;

use interface::CommandInfo;

/// The command with this code.
pub(crate) fn find(code: u32) -> Option<&'static CommandInfo> {
    let place = PLACES.get(usize::try_from(code.checked_sub(FIRST_CODE)?).ok()?)?;
    COMMANDS.get(usize::from(*place))
}

/// TPMA_CC of every command, by code.
pub(crate) static ATTRIBUTES: [u32; COMMANDS.len()] = attributes(&COMMANDS);

#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn attributes<const N: usize>(commands: &[CommandInfo; N]) -> [u32; N] {
    let (mut attributes, mut i) = ([0; N], 0);
    while i < N {
        attributes[i] = commands[i].attributes();
        i += 1;
    }
    attributes
}

/// The lowest code.
const FIRST_CODE: u32 = cc::NV_UNDEFINE_SPACE_SPECIAL;
/// Where the command with each code from the first on stands in [`COMMANDS`]; beyond its end if there is none.
static PLACES: [u8; 256] = places(&COMMANDS);

#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer commands than that")]
const fn places(commands: &[CommandInfo]) -> [u8; 256] {
    assert!(commands.len() < u8::MAX as usize, "places have eight bits");
    let (mut places, mut i) = ([u8::MAX; 256], 0);
    while i < commands.len() {
        places[(commands[i].code - FIRST_CODE) as usize] = i as u8;
        i += 1;
    }
    places
}

/// Puts rows in the order of their codes, for the search by code and for TPM_CAP_COMMANDS; a code that stands twice
/// does not compile.
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn sorted<const N: usize>(mut rows: [CommandInfo; N]) -> [CommandInfo; N] {
    let mut i = 1;
    while i < N {
        let mut j = i;
        while j > 0 && rows[j - 1].code > rows[j].code {
            rows.swap(j - 1, j);
            j -= 1;
        }
        i += 1;
    }
    let mut i = 1;
    while i < N {
        assert!(rows[i - 1].code < rows[i].code, "a command code stands twice");
        i += 1;
    }
    rows
}

macro_rules! table {
    ($($name:ident = $($part:ident)::+),* $(,)?) => {
        /// Every command, listed by the chapters of Part 3; in memory by code.
        pub(crate) static COMMANDS: [CommandInfo; ROWS.len()] = ROWS;
        const ROWS: [CommandInfo; [$(stringify!($name)),*].len()] = sorted([$(CommandInfo::of::<$($part)::+>()),*]);

        /// TPM_CC: the code of every command that there is.
        pub mod cc {
            $(
                #[doc = concat!("TPM_CC_", stringify!($name))]
                pub const $name: u32 = <super::$($part)::+ as super::interface::Command>::CODE;
            )*

            /// Every command: its code, and its name without "TPM_CC_".
            pub const ALL: &[(u32, &str)] = &[$(($name, stringify!($name))),*];
        }
    };
}

mod act;
mod asymmetric;
mod attestation;
mod audit;
mod capability;
mod clock;
mod context;
mod dictionary;
mod duplication;
mod ephemeral;
mod hierarchy;
mod management;
mod nv;
mod object;
mod pcr;
mod policy;
mod random;
mod selftest;
mod sequence;
mod session;
mod signing;
mod startup;
mod symmetric;

table! {
    // 9 Start-up
    SHUTDOWN = startup::shutdown::Shutdown,
    STARTUP = startup::startup::Startup,
    // 10 Testing
    GET_TEST_RESULT = selftest::get_test_result::GetTestResult,
    INCREMENTAL_SELF_TEST = selftest::incremental_self_test::IncrementalSelfTest,
    SELF_TEST = selftest::self_test::SelfTest,
    // 11 Session Commands
    POLICY_RESTART = session::policy_restart::PolicyRestart,
    START_AUTH_SESSION = session::start_auth_session::StartAuthSession,
    // 12 Object Commands
    CREATE = object::create::Create,
    LOAD = object::load::Load,
    LOAD_EXTERNAL = object::load_external::LoadExternal,
    READ_PUBLIC = object::read_public::ReadPublic,
    ACTIVATE_CREDENTIAL = object::activate_credential::ActivateCredential,
    MAKE_CREDENTIAL = object::make_credential::MakeCredential,
    UNSEAL = object::unseal::Unseal,
    OBJECT_CHANGE_AUTH = object::object_change_auth::ObjectChangeAuth,
    CREATE_LOADED = object::create_loaded::CreateLoaded,
    // 13 Duplication Commands
    DUPLICATE = duplication::duplicate::Duplicate,
    REWRAP = duplication::rewrap::Rewrap,
    IMPORT = duplication::import::Import,
    // 14 Asymmetric Primitives
    DECAPSULATE = asymmetric::decapsulate::Decapsulate,
    ECC_DECRYPT = asymmetric::ecc_decrypt::EccDecrypt,
    ECC_ENCRYPT = asymmetric::ecc_encrypt::EccEncrypt,
    ECC_PARAMETERS = asymmetric::ecc_parameters::EccParameters,
    ECDH_KEY_GEN = asymmetric::ecdh_key_gen::EcdhKeyGen,
    ECDH_ZGEN = asymmetric::ecdh_z_gen::EcdhZGen,
    ENCAPSULATE = asymmetric::encapsulate::Encapsulate,
    RSA_DECRYPT = asymmetric::rsa_decrypt::RsaDecrypt,
    RSA_ENCRYPT = asymmetric::rsa_encrypt::RsaEncrypt,
    ZGEN_2_PHASE = asymmetric::z_gen_2_phase::ZGen2Phase,
    // 15 Symmetric Primitives
    ENCRYPT_DECRYPT = symmetric::encrypt_decrypt::EncryptDecrypt,
    ENCRYPT_DECRYPT_2 = symmetric::encrypt_decrypt_2::EncryptDecrypt2,
    HASH = symmetric::hash::Hash,
    MAC = symmetric::mac::Mac,
    // 16 Random Number Generator
    GET_RANDOM = random::get_random::GetRandom,
    STIR_RANDOM = random::stir_random::StirRandom,
    // 17 Hash/HMAC/Event Sequences
    EVENT_SEQUENCE_COMPLETE = sequence::event_sequence_complete::EventSequenceComplete,
    HASH_SEQUENCE_START = sequence::hash_sequence_start::HashSequenceStart,
    MAC_START = sequence::mac_start::MacStart,
    SEQUENCE_COMPLETE = sequence::sequence_complete::SequenceComplete,
    SEQUENCE_UPDATE = sequence::sequence_update::SequenceUpdate,
    SIGN_SEQUENCE_START = sequence::sign_sequence_start::SignSequenceStart,
    VERIFY_SEQUENCE_START = sequence::verify_sequence_start::VerifySequenceStart,
    // 18 Attestation Commands
    CERTIFY = attestation::certify::Certify,
    CERTIFY_CREATION = attestation::certify_creation::CertifyCreation,
    CERTIFY_X509 = attestation::certify_x509::CertifyX509,
    GET_COMMAND_AUDIT_DIGEST = attestation::get_command_audit_digest::GetCommandAuditDigest,
    GET_SESSION_AUDIT_DIGEST = attestation::get_session_audit_digest::GetSessionAuditDigest,
    GET_TIME = attestation::get_time::GetTime,
    QUOTE = attestation::quote::Quote,
    // 19 Ephemeral EC Keys
    COMMIT = ephemeral::commit::Commit,
    EC_EPHEMERAL = ephemeral::ec_ephemeral::EcEphemeral,
    // 20 Signing and Signature Verification
    SIGN = signing::sign::Sign,
    SIGN_DIGEST = signing::sign_digest::SignDigest,
    SIGN_SEQUENCE_COMPLETE = signing::sign_sequence_complete::SignSequenceComplete,
    VERIFY_DIGEST_SIGNATURE = signing::verify_digest_signature::VerifyDigestSignature,
    VERIFY_SEQUENCE_COMPLETE = signing::verify_sequence_complete::VerifySequenceComplete,
    VERIFY_SIGNATURE = signing::verify_signature::VerifySignature,
    // 21 Command Audit
    SET_COMMAND_CODE_AUDIT_STATUS = audit::set_command_code_audit_status::SetCommandCodeAuditStatus,
    // 22 Integrity Collection (PCR)
    PCR_ALLOCATE = pcr::allocate::PcrAllocate,
    PCR_EVENT = pcr::event::PcrEvent,
    PCR_EXTEND = pcr::extend::PcrExtend,
    PCR_READ = pcr::read::PcrRead,
    PCR_RESET = pcr::reset::PcrReset,
    PCR_SET_AUTH_POLICY = pcr::set_auth_policy::PcrSetAuthPolicy,
    PCR_SET_AUTH_VALUE = pcr::set_auth_value::PcrSetAuthValue,
    // 23 Enhanced Authorization (EA) Commands
    POLICY_AUTH_VALUE = policy::policy_auth_value::PolicyAuthValue,
    POLICY_AUTHORIZE = policy::policy_authorize::PolicyAuthorize,
    POLICY_AUTHORIZE_NV = policy::policy_authorize_nv::PolicyAuthorizeNv,
    POLICY_CAPABILITY = policy::policy_capability::PolicyCapability,
    POLICY_COMMAND_CODE = policy::policy_command_code::PolicyCommandCode,
    POLICY_COUNTER_TIMER = policy::policy_counter_timer::PolicyCounterTimer,
    POLICY_CP_HASH = policy::policy_cp_hash::PolicyCpHash,
    POLICY_DUPLICATION_SELECT = policy::policy_duplication_select::PolicyDuplicationSelect,
    POLICY_GET_DIGEST = policy::policy_get_digest::PolicyGetDigest,
    POLICY_LOCALITY = policy::policy_locality::PolicyLocality,
    POLICY_NAME_HASH = policy::policy_name_hash::PolicyNameHash,
    POLICY_NV = policy::policy_nv::PolicyNv,
    POLICY_NV_WRITTEN = policy::policy_nv_written::PolicyNvWritten,
    POLICY_OR = policy::policy_or::PolicyOr,
    POLICY_PARAMETERS = policy::policy_parameters::PolicyParameters,
    POLICY_PASSWORD = policy::policy_password::PolicyPassword,
    POLICY_PCR = policy::policy_pcr::PolicyPcr,
    POLICY_PHYSICAL_PRESENCE = policy::policy_physical_presence::PolicyPhysicalPresence,
    POLICY_SECRET = policy::policy_secret::PolicySecret,
    // 24 Hierarchy Commands
    CREATE_PRIMARY = hierarchy::create_primary::CreatePrimary,
    CHANGE_EPS = hierarchy::change_eps::ChangeEps,
    CHANGE_PPS = hierarchy::change_pps::ChangePps,
    CLEAR = hierarchy::clear::Clear,
    CLEAR_CONTROL = hierarchy::clear_control::ClearControl,
    HIERARCHY_CHANGE_AUTH = hierarchy::hierarchy_change_auth::HierarchyChangeAuth,
    HIERARCHY_CONTROL = hierarchy::hierarchy_control::HierarchyControl,
    READ_ONLY_CONTROL = hierarchy::read_only_control::ReadOnlyControl,
    SET_PRIMARY_POLICY = hierarchy::set_primary_policy::SetPrimaryPolicy,
    // 25 Dictionary Attack Functions
    DICTIONARY_ATTACK_LOCK_RESET = dictionary::dictionary_attack_lock_reset::DictionaryAttackLockReset,
    DICTIONARY_ATTACK_PARAMETERS = dictionary::dictionary_attack_parameters::DictionaryAttackParameters,
    // 26 Miscellaneous Management Functions
    PP_COMMANDS = management::pp_commands::PpCommands,
    SET_ALGORITHM_SET = management::set_algorithm_set::SetAlgorithmSet,
    // 28 Context Management
    CONTEXT_SAVE = context::context_save::ContextSave,
    CONTEXT_LOAD = context::context_load::ContextLoad,
    FLUSH_CONTEXT = context::flush_context::FlushContext,
    EVICT_CONTROL = context::evict_control::EvictControl,
    POLICY_SIGNED = policy::policy_signed::PolicySigned,
    POLICY_TEMPLATE = policy::policy_template::PolicyTemplate,
    POLICY_TICKET = policy::policy_ticket::PolicyTicket,
    POLICY_TRANSPORT_SPDM = policy::policy_transport_spdm::PolicyTransportSpdm,
    POLICY_AC_SEND_SELECT = policy::policy_ac_send_select::PolicyAcSendSelect,
    // 29 Clocks and Timers
    CLOCK_RATE_ADJUST = clock::clock_rate_adjust::ClockRateAdjust,
    CLOCK_SET = clock::clock_set::ClockSet,
    READ_CLOCK = clock::read_clock::ReadClock,
    // 30 Capability Commands
    GET_CAPABILITY = capability::get_capability::GetCapability,
    SET_CAPABILITY = capability::set_capability::SetCapability,
    TEST_PARMS = capability::test_parms::TestParms,
    // 31 Non-volatile Storage
    NV_CHANGE_AUTH = nv::change_auth::NvChangeAuth,
    NV_CERTIFY = nv::certify::NvCertify,
    NV_DEFINE_SPACE = nv::define_space::NvDefineSpace,
    NV_DEFINE_SPACE_2 = nv::define_space_2::NvDefineSpace2,
    NV_EXTEND = nv::extend::NvExtend,
    NV_GLOBAL_WRITE_LOCK = nv::global_write_lock::NvGlobalWriteLock,
    NV_INCREMENT = nv::increment::NvIncrement,
    NV_READ = nv::read::NvRead,
    NV_READ_LOCK = nv::read_lock::NvReadLock,
    NV_READ_PUBLIC = nv::read_public::NvReadPublic,
    NV_READ_PUBLIC_2 = nv::read_public_2::NvReadPublic2,
    NV_SET_BITS = nv::set_bits::NvSetBits,
    NV_UNDEFINE_SPACE = nv::undefine_space::NvUndefineSpace,
    NV_UNDEFINE_SPACE_SPECIAL = nv::undefine_space_special::NvUndefineSpaceSpecial,
    NV_WRITE = nv::write::NvWrite,
    NV_WRITE_LOCK = nv::write_lock::NvWriteLock,
    // 32 Authenticated Countdown Timer
    ACT_SET_TIMEOUT = act::act_set_timeout::ActSetTimeout,
}
