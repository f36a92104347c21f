//! Part 3: a folder a chapter, a file a command, and the one table of them all.
//!
//! A command is an implementation of [`Command`]. Its areas are plain structs whose field types carry the rules;
//! [`CommandInfo::of`] derives from them everything that the pipeline and TPM2_GetCapability know. Above each `run`
//! stand the response codes in the order of the checks.

pub(crate) mod area;
mod call;
mod lists;

pub(crate) use call::{Call, SessionUse, SessionUses};

use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::Rc;
use crate::wire::{Reader, Writer};
use area::{HandleArea, Handles, ParamArea, ReplyArea, Role};

/// A command of Part 3.
pub(crate) trait Command {
    /// TPM_CC.
    const CODE: u32;
    /// TPMA_CC.nv: the command may write to NV.
    const NV: bool = false;
    /// TPMA_CC.extensive: the command may flush any number of loaded contexts.
    const EXTENSIVE: bool = false;
    /// TPMA_CC.flushed: a loaded transient object of the handle area will be flushed.
    const FLUSHED: bool = false;
    /// The command changes what TPM2_Shutdown(STATE) saves, so that one before it no longer counts (Part 3, 9.4.1). A
    /// command for which that depends says so with `Tpm::void_shutdown`.
    const VOIDS_SHUTDOWN: bool = false;
    /// The command uses the value of Clock: that may have gone on since TPM2_Shutdown.
    const CLOCK: bool = false;
    /// Whether the command admits sessions at all (Part 3, its "Command" table has tag TPM_ST_NO_SESSIONS only).
    const SESSIONS: bool = true;
    /// Whether the command is admitted in read-only mode.
    const READ_ONLY: ReadOnly = ReadOnly::Admitted;
    /// Whether TPM2_PP_Commands can make the command need physical presence.
    const PRESENCE: Presence = Presence::Never;
    /// Whether TPM2_SetCommandCodeAuditStatus can let the command be audited.
    const AUDIT: Audit = Audit::Listed;
    /// The command may come before the self-tests: it makes them, or tells of them.
    const UNTESTED: bool = false;
    /// Whether the command is executed in failure mode (Part 3, 5.3).
    const IN_FAILURE_MODE: bool = false;
    /// What kind of key the parameters bring, whose algorithms are tested before it is used.
    const BRINGS: Brings = Brings::Nothing;
    /// What the command does with an NV Index, which decides on the attributes that admit an authorization.
    const INDEX: IndexUse = IndexUse::Other;
    /// The command proves the knowledge of an authValue: a policy must ask for that.
    const PROVES_SECRET: bool = false;
    /// The handle area.
    type Handles: HandleArea;
    /// The parameter area.
    type Params<'a>: ParamArea<'a>;
    /// The reply.
    type Reply<'t>: ReplyArea;
    /// The action, after authorization. An error leaves the TPM as it was.
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Self::Handles, p: Self::Params<'_>) -> Result<Self::Reply<'t>, Rc>;
}

/// Whether a command can be on the list of those that need physical presence (Part 3, 26.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// it never needs physical presence
    Never,
    /// it needs physical presence when it is on the list
    Listed,
    /// it always does, and always is on the list
    Always,
}

/// Whether a command can be audited (Part 3, 21.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Audit {
    /// it never is: that could not be recorded
    Never,
    /// it is when it is on the list
    Listed,
    /// it always is
    Always,
}

/// What a command brings that is a key or becomes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Brings {
    /// no key
    Nothing,
    /// a curve
    Ecc,
    /// a public area, in the second TPM2B of the parameters
    Public,
    /// a template, in the second TPM2B of the parameters, to which a policy may limit the command (Part 3, 23.21)
    Template,
}

/// What a command does with an NV Index (Part 2, 13.4: the attributes for reading and for writing).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IndexUse {
    /// it looks at its contents
    Reads,
    /// it writes it, or locks it for that
    Writes,
    /// neither: the attributes for reading apply
    Other,
}

/// Whether a command is admitted in read-only mode (Part 3, 24.9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadOnly {
    /// always
    Admitted,
    /// never
    Refused,
    /// with an NV Index as second handle of which nothing outlives the mode
    PassingIndex,
    /// with anything but a PIN index as first handle, whose count would change
    NoPin,
}

/// What the pipeline knows of a command; made only by `of`, thus never out of step with it.
#[derive(Clone, Copy)]
pub(crate) struct CommandInfo {
    /// TPM_CC
    pub(crate) code: u32,
    /// the role of each handle
    pub(crate) roles: &'static [Role],
    /// the first parameter may be encrypted
    pub(crate) decrypt: bool,
    /// the first response parameter may be encrypted
    pub(crate) encrypt: bool,
    /// the response has a handle
    pub(crate) reply_handle: bool,
    /// sessions are admitted
    pub(crate) sessions: bool,
    /// a TPM2_Shutdown before the command no longer counts
    pub(crate) voids_shutdown: bool,
    /// the command uses Clock
    pub(crate) clock: bool,
    /// admitted in read-only mode
    pub(crate) read_only: ReadOnly,
    /// may need physical presence
    pub(crate) presence: Presence,
    /// may be audited
    pub(crate) audit: Audit,
    /// comes before the self-tests
    pub(crate) untested: bool,
    /// is executed in failure mode
    pub(crate) in_failure_mode: bool,
    /// the kind of key in the parameters
    pub(crate) brings: Brings,
    /// what it does with an NV Index
    pub(crate) index: IndexUse,
    /// proves the knowledge of an authValue
    pub(crate) proves_secret: bool,
    nv: bool,
    extensive: bool,
    flushed: bool,
    check_handles: fn(&[crate::wire::Handle]) -> Result<(), Rc>,
    run: fn(&mut Tpm, &Call, &[u8], &mut Reply<'_>) -> Result<(), Rc>,
    #[cfg(feature = "fuzz")]
    unmarshal: fn(&[u8]) -> Result<(), Rc>,
}

/// Where a reply goes.
pub(crate) struct Reply<'a> {
    /// the response handle
    pub(crate) handle: Option<crate::wire::Handle>,
    /// the response parameters
    pub(crate) parameters: Writer<'a>,
}

impl CommandInfo {
    /// All that the declaration says.
    pub(crate) const fn of<C: Command>() -> Self {
        Self {
            code: C::CODE,
            roles: C::Handles::ROLES,
            decrypt: <C::Params<'static> as ParamArea<'static>>::FIRST_SIZED,
            encrypt: <C::Reply<'static> as ReplyArea>::FIRST_SIZED,
            reply_handle: <C::Reply<'static> as ReplyArea>::HANDLE,
            sessions: C::SESSIONS,
            voids_shutdown: C::VOIDS_SHUTDOWN,
            clock: C::CLOCK,
            read_only: C::READ_ONLY,
            presence: C::PRESENCE,
            audit: C::AUDIT,
            untested: C::UNTESTED,
            in_failure_mode: C::IN_FAILURE_MODE,
            brings: C::BRINGS,
            index: C::INDEX,
            proves_secret: C::PROVES_SECRET,
            nv: C::NV,
            extensive: C::EXTENSIVE,
            flushed: C::FLUSHED,
            check_handles: |handles| C::Handles::from_handles(handles).map(drop),
            run: run::<C>,
            #[cfg(feature = "fuzz")]
            unmarshal: |parameters| C::Params::unmarshal(&mut Reader::new(parameters)).map(drop),
        }
    }

    /// TPMA_CC (Part 2, 8.9).
    pub(crate) fn attributes(&self) -> u32 {
        let handles = u32::try_from(self.roles.len()).unwrap_or(0);
        self.code
            | u32::from(self.nv) << 22
            | u32::from(self.extensive) << 23
            | u32::from(self.flushed) << 24
            | handles << 25
            | u32::from(self.reply_handle) << 28
    }

    /// Reads the handle area: VALUE or INSUFFICIENT at the first handle that is not right or not there.
    pub(crate) fn handles(&self, r: &mut Reader<'_>) -> Result<Handles, Rc> {
        let mut handles = Handles::new();
        for _ in self.roles {
            let Ok(handle) = r.get() else { break };
            handles.push(handle).map_err(|_| Fault::Capacity)?;
        }
        (self.check_handles)(&handles)?;
        Ok(handles)
    }

    /// Reads the parameters.
    #[cfg(feature = "fuzz")]
    pub(crate) fn unmarshal(&self, parameters: &[u8]) -> Result<(), Rc> {
        (self.unmarshal)(parameters)
    }

    /// Runs the action.
    pub(crate) fn run(&self, tpm: &mut Tpm, call: &Call, parameters: &[u8], reply: &mut Reply<'_>) -> Result<(), Rc> {
        (self.run)(tpm, call, parameters, reply)
    }
}

fn run<C: Command>(tpm: &mut Tpm, call: &Call, parameters: &[u8], reply: &mut Reply<'_>) -> Result<(), Rc> {
    let handles = C::Handles::from_handles(&call.handles)?;
    let params = C::Params::unmarshal(&mut Reader::new(parameters))?;
    let answer = C::run(tpm, call, handles, params)?;
    reply.handle = answer.handle();
    answer.marshal(&mut reply.parameters);
    Ok(())
}

/// The command with this code.
pub(crate) fn find(code: u32) -> Option<&'static CommandInfo> {
    let place = PLACES.get(usize::try_from(code.checked_sub(FIRST_CODE)?).ok()?)?;
    COMMANDS.get(usize::from(*place))
}

/// The lowest code: TPM_CC_NV_UndefineSpaceSpecial.
const FIRST_CODE: u32 = 0x11f;
/// Where the command with each code from the first on stands in [`COMMANDS`]; beyond its end if there is none.
static PLACES: [u8; 256] = places(COMMANDS);

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
    ($($c:ty),* $(,)?) => { sorted([$(CommandInfo::of::<$c>()),*]) };
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

pub(crate) use capability::algorithms::is_implemented;

/// TPM_CC_Startup.
pub(crate) const fn startup_code() -> u32 {
    startup::startup::Startup::CODE
}

/// Every command, listed by the chapters of Part 3; in memory by code.
pub(crate) static COMMANDS: &[CommandInfo] = &table![
    // 9 Start-up
    startup::shutdown::Shutdown,
    startup::startup::Startup,
    // 10 Testing
    selftest::get_test_result::GetTestResult,
    selftest::incremental_self_test::IncrementalSelfTest,
    selftest::self_test::SelfTest,
    // 11 Session Commands
    session::policy_restart::PolicyRestart,
    session::start_auth_session::StartAuthSession,
    // 12 Object Commands
    object::create::Create,
    object::load::Load,
    object::load_external::LoadExternal,
    object::read_public::ReadPublic,
    object::activate_credential::ActivateCredential,
    object::make_credential::MakeCredential,
    object::unseal::Unseal,
    object::object_change_auth::ObjectChangeAuth,
    object::create_loaded::CreateLoaded,
    // 13 Duplication Commands
    duplication::duplicate::Duplicate,
    duplication::rewrap::Rewrap,
    duplication::import::Import,
    // 14 Asymmetric Primitives
    asymmetric::decapsulate::Decapsulate,
    asymmetric::ecc_decrypt::EccDecrypt,
    asymmetric::ecc_encrypt::EccEncrypt,
    asymmetric::ecc_parameters::EccParameters,
    asymmetric::ecdh_key_gen::EcdhKeyGen,
    asymmetric::ecdh_z_gen::EcdhZGen,
    asymmetric::encapsulate::Encapsulate,
    asymmetric::rsa_decrypt::RsaDecrypt,
    asymmetric::rsa_encrypt::RsaEncrypt,
    asymmetric::z_gen_2_phase::ZGen2Phase,
    // 15 Symmetric Primitives
    symmetric::encrypt_decrypt::EncryptDecrypt,
    symmetric::encrypt_decrypt_2::EncryptDecrypt2,
    symmetric::hash::Hash,
    symmetric::mac::Mac,
    // 16 Random Number Generator
    random::get_random::GetRandom,
    random::stir_random::StirRandom,
    // 17 Hash/HMAC/Event Sequences
    sequence::event_sequence_complete::EventSequenceComplete,
    sequence::hash_sequence_start::HashSequenceStart,
    sequence::mac_start::MacStart,
    sequence::sequence_complete::SequenceComplete,
    sequence::sequence_update::SequenceUpdate,
    sequence::sign_sequence_start::SignSequenceStart,
    sequence::verify_sequence_start::VerifySequenceStart,
    // 18 Attestation Commands
    attestation::certify::Certify,
    attestation::certify_creation::CertifyCreation,
    attestation::certify_x509::CertifyX509,
    attestation::get_command_audit_digest::GetCommandAuditDigest,
    attestation::get_session_audit_digest::GetSessionAuditDigest,
    attestation::get_time::GetTime,
    attestation::quote::Quote,
    // 19 Ephemeral EC Keys
    ephemeral::commit::Commit,
    ephemeral::ec_ephemeral::EcEphemeral,
    // 20 Signing and Signature Verification
    signing::sign::Sign,
    signing::sign_digest::SignDigest,
    signing::sign_sequence_complete::SignSequenceComplete,
    signing::verify_digest_signature::VerifyDigestSignature,
    signing::verify_sequence_complete::VerifySequenceComplete,
    signing::verify_signature::VerifySignature,
    // 21 Command Audit
    audit::set_command_code_audit_status::SetCommandCodeAuditStatus,
    // 22 Integrity Collection (PCR)
    pcr::allocate::PcrAllocate,
    pcr::event::PcrEvent,
    pcr::extend::PcrExtend,
    pcr::read::PcrRead,
    pcr::reset::PcrReset,
    pcr::set_auth_policy::PcrSetAuthPolicy,
    pcr::set_auth_value::PcrSetAuthValue,
    // 23 Enhanced Authorization (EA) Commands
    policy::policy_auth_value::PolicyAuthValue,
    policy::policy_authorize::PolicyAuthorize,
    policy::policy_authorize_nv::PolicyAuthorizeNv,
    policy::policy_capability::PolicyCapability,
    policy::policy_command_code::PolicyCommandCode,
    policy::policy_counter_timer::PolicyCounterTimer,
    policy::policy_cp_hash::PolicyCpHash,
    policy::policy_duplication_select::PolicyDuplicationSelect,
    policy::policy_get_digest::PolicyGetDigest,
    policy::policy_locality::PolicyLocality,
    policy::policy_name_hash::PolicyNameHash,
    policy::policy_nv::PolicyNv,
    policy::policy_nv_written::PolicyNvWritten,
    policy::policy_or::PolicyOr,
    policy::policy_parameters::PolicyParameters,
    policy::policy_password::PolicyPassword,
    policy::policy_pcr::PolicyPcr,
    policy::policy_physical_presence::PolicyPhysicalPresence,
    policy::policy_secret::PolicySecret,
    // 24 Hierarchy Commands
    hierarchy::create_primary::CreatePrimary,
    hierarchy::change_eps::ChangeEps,
    hierarchy::change_pps::ChangePps,
    hierarchy::clear::Clear,
    hierarchy::clear_control::ClearControl,
    hierarchy::hierarchy_change_auth::HierarchyChangeAuth,
    hierarchy::hierarchy_control::HierarchyControl,
    hierarchy::read_only_control::ReadOnlyControl,
    hierarchy::set_primary_policy::SetPrimaryPolicy,
    // 25 Dictionary Attack Functions
    dictionary::dictionary_attack_lock_reset::DictionaryAttackLockReset,
    dictionary::dictionary_attack_parameters::DictionaryAttackParameters,
    // 26 Miscellaneous Management Functions
    management::pp_commands::PpCommands,
    management::set_algorithm_set::SetAlgorithmSet,
    // 28 Context Management
    context::context_save::ContextSave,
    context::context_load::ContextLoad,
    context::flush_context::FlushContext,
    context::evict_control::EvictControl,
    policy::policy_signed::PolicySigned,
    policy::policy_template::PolicyTemplate,
    policy::policy_ticket::PolicyTicket,
    policy::policy_transport_spdm::PolicyTransportSpdm,
    policy::policy_ac_send_select::PolicyAcSendSelect,
    // 29 Clocks and Timers
    clock::clock_rate_adjust::ClockRateAdjust,
    clock::clock_set::ClockSet,
    clock::read_clock::ReadClock,
    // 30 Capability Commands
    capability::get_capability::GetCapability,
    capability::set_capability::SetCapability,
    capability::test_parms::TestParms,
    // 31 Non-volatile Storage
    nv::change_auth::NvChangeAuth,
    nv::certify::NvCertify,
    nv::define_space::NvDefineSpace,
    nv::define_space_2::NvDefineSpace2,
    nv::extend::NvExtend,
    nv::global_write_lock::NvGlobalWriteLock,
    nv::increment::NvIncrement,
    nv::read::NvRead,
    nv::read_lock::NvReadLock,
    nv::read_public::NvReadPublic,
    nv::read_public_2::NvReadPublic2,
    nv::set_bits::NvSetBits,
    nv::undefine_space::NvUndefineSpace,
    nv::undefine_space_special::NvUndefineSpaceSpecial,
    nv::write::NvWrite,
    nv::write_lock::NvWriteLock,
    // 32 Authenticated Countdown Timer
    act::act_set_timeout::ActSetTimeout,
];
