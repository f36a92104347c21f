//! Who survives what (Part 1, 9.2.3 and 34.4): the TPM's state split by lifetime.
//!
//! | part | survives |
//! |---|---|
//! | [`Persistent`] | everything but TPM2_Clear and its relatives |
//! | [`StateReset`] | TPM Restart and TPM Resume |
//! | [`StateClear`] | TPM Resume |
//! | [`Ram`] | nothing |
//!
//! [`stored`] makes one string of octets of all that, and back.

use crate::crypto::hash::{Digest, HashAlg};
use crate::data::act;
use crate::data::audit::CommandAudit;
use crate::data::clock::{Moment, Rate};
use crate::data::command_list::CommandList;
use crate::data::commit::Commit;
use crate::data::lasting::Timed;
use crate::data::measurement::Measurement;
use crate::data::nv::NvMemory;
use crate::data::object::{PersistentObjects, Slots};
use crate::data::pcr::{Pcrs, Root};
use crate::data::session::Sessions;
use crate::fault::Fault;
use crate::profile;
use crate::rc::Fmt1;
use crate::secret::Seed;
use crate::wire::{Auth, Handle, Marshal, Reader, Restore, Writer};

/// authPolicy of a hierarchy (TPM2_SetPrimaryPolicy): algorithm and digest.
pub(crate) type HierarchyPolicy = Option<(HashAlg, Digest)>;

/// A structure whose stored form is its fields in order: none can be forgotten. Its view is what is marshalled:
/// references to the fields, in whose place others can stand.
macro_rules! stored {
    ($(#[$m:meta])* $v:vis struct $name:ident as $view:ident { $($(#[$fm:meta])* $fv:vis $f:ident: $t:ty),* $(,)? }) => {
        $(#[$m])* $v struct $name { $($(#[$fm])* $fv $f: $t),* }
        $(#[$m])* $v struct $view<'a> { $($(#[$fm])* $fv $f: &'a $t),* }
        impl $name {
            /// As it is.
            $v const fn view(&self) -> $view<'_> { $view { $($f: &self.$f),* } }
        }
        impl Marshal for $view<'_> {
            fn marshal(&self, w: &mut Writer<'_>) { $(self.$f.marshal(w);)* }
        }
        impl Restore for $name {
            fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
                $(self.$f.restore(r)?;)*
                Ok(())
            }
        }
    };
}

/// TPM_SU as TPM2_Shutdown left it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Orderly {
    /// no TPM2_Shutdown before the power went, or something changed after it
    No,
    /// TPM2_Shutdown(CLEAR)
    Clear,
    /// TPM2_Shutdown(STATE)
    State,
}

crate::wire::structure! {
    /// Parameters and counters of dictionary-attack protection (Part 1, 16.8).
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Dictionary {
        /// failedTries (TPM_PT_LOCKOUT_COUNTER)
        pub(crate) failed_tries: u32,
        /// maxTries
        pub(crate) max_tries: u32,
        /// recoveryTime in seconds
        pub(crate) recovery_time_s: u32,
        /// lockoutRecovery in seconds
        pub(crate) lockout_recovery_s: u32,
        /// lockoutAuth may be used
        pub(crate) lockout_auth_enabled: bool,
        /// milliseconds, with power, since failedTries last changed
        pub(crate) healing_ms: u64,
        /// milliseconds, with power, since lockoutAuth failed
        pub(crate) lockout_healing_ms: u64,
    }
}

stored! {
    /// What survives everything.
    pub(crate) struct Persistent as PersistentView {
        /// EPS
        pub(crate) endorsement_seed: Seed,
        /// SPS
        pub(crate) storage_seed: Seed,
        /// PPS
        pub(crate) platform_seed: Seed,
        /// ehProof
        pub(crate) endorsement_proof: Seed,
        /// shProof
        pub(crate) storage_proof: Seed,
        /// phProof
        pub(crate) platform_proof: Seed,
        /// ownerAuth
        pub(crate) owner_auth: Auth,
        /// endorsementAuth
        pub(crate) endorsement_auth: Auth,
        /// lockoutAuth
        pub(crate) lockout_auth: Auth,
        /// ownerPolicy
        pub(crate) owner_policy: HierarchyPolicy,
        /// endorsementPolicy
        pub(crate) endorsement_policy: HierarchyPolicy,
        /// lockoutPolicy
        pub(crate) lockout_policy: HierarchyPolicy,
        /// disableClear
        pub(crate) disable_clear: bool,
        /// how the last shutdown was
        pub(crate) orderly: Orderly,
        /// dictionary-attack protection
        pub(crate) dictionary: Dictionary,
        /// command audit
        pub(crate) audit: CommandAudit,
        /// an authValue under dictionary-attack protection was used since TPM2_Startup: without TPM2_Shutdown the try
        /// may have failed unseen
        pub(crate) da_used: bool,
        /// the banks that are allocated at the next _TPM_Init: a bit map of PCR for each of `profile::PCR_BANKS`
        pub(crate) pcr_allocation: [u32; profile::PCR_BANKS.len()],
        /// authPolicy of the PCR that may have one
        pub(crate) pcr_policy: HierarchyPolicy,
        /// the safe flag of the clock as TPM2_Shutdown found it, and no command has used the clock since
        pub(crate) saved_clock_safe: bool,
        /// resetCount
        pub(crate) reset_count: u32,
        /// totalResetCount: TPM Resets since manufacture
        pub(crate) total_reset_count: u64,
        /// Clock, in milliseconds
        pub(crate) clock_ms: u64,
        /// which commands need physical presence when the platform authorizes them (Part 3, 26.2)
        pub(crate) presence: CommandList,
        /// TPM_PT_ALGORITHM_SET
        pub(crate) algorithm_set: u32,
        /// NV Indices
        pub(crate) nv: NvMemory,
        /// persistent objects
        pub(crate) objects: PersistentObjects,
    }
}

/// The fields of [`Persistent`] that change because time passes.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Clock
    pub(crate) clock_ms: u64,
    /// since failedTries last changed
    pub(crate) healing_ms: u64,
    /// since lockoutAuth failed
    pub(crate) lockout_healing_ms: u64,
}

impl Persistent {
    /// The times.
    #[inline]
    pub(crate) const fn times(&self) -> Times {
        Times {
            clock_ms: self.clock_ms,
            healing_ms: self.dictionary.healing_ms,
            lockout_healing_ms: self.dictionary.lockout_healing_ms,
        }
    }
}

impl Timed for Persistent {
    type Times = Times;

    #[inline]
    fn set_times(&mut self, times: Times) {
        let Times { clock_ms, healing_ms, lockout_healing_ms } = times;
        self.clock_ms = clock_ms;
        self.dictionary.healing_ms = healing_ms;
        self.dictionary.lockout_healing_ms = lockout_healing_ms;
    }

    /// Clock in intervals of its record.
    #[inline]
    fn records(&self) -> u64 {
        self.clock_ms / profile::CLOCK_UPDATE_MS
    }
}

stored! {
    /// What TPM Restart and TPM Resume preserve.
    pub(crate) struct StateReset as StateResetView {
        /// seed of the NULL hierarchy
        pub(crate) null_seed: Seed,
        /// nullProof
        pub(crate) null_proof: Seed,
        /// restartCount
        pub(crate) restart_count: u32,
        /// clearCount: TPM Restarts and Resets, for stClear objects
        pub(crate) clear_count: u32,
        /// sequence number of object contexts
        pub(crate) object_context_id: u64,
        /// pcrUpdateCounter
        pub(crate) pcr_update_counter: u32,
        /// what TPM2_Commit and TPM2_EC_Ephemeral have committed to
        pub(crate) commit: Commit,
        /// commandAuditDigest; None until an audited command is executed
        pub(crate) audit_digest: Option<Digest>,
    }
}

stored! {
    /// What TPM Resume alone preserves.
    pub(crate) struct StateClear as StateClearView {
        /// shEnable
        pub(crate) storage_enabled: bool,
        /// ehEnable
        pub(crate) endorsement_enabled: bool,
        /// phEnable
        pub(crate) platform_enabled: bool,
        /// phEnableNV
        pub(crate) platform_nv_enabled: bool,
        /// platformAuth
        pub(crate) platform_auth: Auth,
        /// platformPolicy
        pub(crate) platform_policy: HierarchyPolicy,
        /// authValue of the PCR that may have one
        pub(crate) pcr_auth: Auth,
        /// readOnly
        pub(crate) read_only: bool,
        /// authPolicy of each ACT
        pub(crate) act_policies: [HierarchyPolicy; act::COUNT],
        /// ACT as TPM2_Shutdown(STATE) saved them
        pub(crate) saved_acts: [act::SavedAct; act::COUNT],
        /// PCR as TPM2_Shutdown(STATE) saved them
        pub(crate) saved_pcrs: Option<Pcrs>,
        /// from where TPM2_Shutdown(STATE) saw the PCR measured
        pub(crate) saved_root: Root,
    }
}

impl StateClear {
    /// As after TPM Reset or TPM Restart.
    pub(crate) const fn new() -> Self {
        Self {
            storage_enabled: true,
            endorsement_enabled: true,
            platform_enabled: true,
            platform_nv_enabled: true,
            platform_auth: Auth::new(),
            platform_policy: None,
            pcr_auth: Auth::new(),
            read_only: false,
            act_policies: [None; act::COUNT],
            saved_acts: [act::SavedAct::NONE; act::COUNT],
            saved_pcrs: None,
            saved_root: Root::Locality0,
        }
    }
}

/// What the next _TPM_Init loses.
pub(crate) struct Ram {
    /// TPM2_Startup was successful
    pub(crate) started: bool,
    /// why the TPM is in failure mode (Part 1, 9.4), if it is
    pub(crate) fault: Option<Fault>,
    /// time since _TPM_Init, in milliseconds
    pub(crate) time_ms: u64,
    /// drawn anew at TPM2_Startup: times of different epochs do not compare
    pub(crate) time_epoch: u64,
    /// what the platform's clock said last
    pub(crate) platform_now_ms: u64,
    /// Clock as TPM2_Shutdown found it
    pub(crate) shutdown_clock_ms: u64,
    /// how fast time passes
    pub(crate) clock_rate: Rate,
    /// Clock and time may not have gone back since the last orderly shutdown
    pub(crate) clock_safe: bool,
    /// Authenticated Countdown Timers
    pub(crate) acts: act::Acts,
    /// the session that is exclusive for audit
    pub(crate) exclusive_audit: Option<Handle>,
    /// TPM2_Startup followed a matching TPM2_Shutdown
    pub(crate) orderly_startup: bool,
    /// TPM2_PCR_Allocate was executed: there can be no TPM2_Shutdown(STATE)
    pub(crate) pcrs_reallocated: bool,
    /// which algorithms have been tested
    pub(crate) self_test: crate::data::selftest::SelfTest,
    /// physical presence is asserted
    pub(crate) physical_presence: bool,
    /// transient objects and sequences
    pub(crate) objects: Slots,
    /// sessions
    pub(crate) sessions: Sessions,
    /// PCR
    pub(crate) pcrs: Pcrs,
    /// from where PCR are measured since _TPM_Init
    pub(crate) root: Root,
    /// an event between _TPM_Hash_Start and _TPM_Hash_End
    pub(crate) hash_sequence: Option<Measurement>,
    /// octets of the longest command and response that the transport carries; _TPM_Init leaves it
    pub(crate) buffer_size: usize,
    /// properties that older clients do not know are left out; _TPM_Init leaves it
    pub(crate) omits_later_properties: bool,
}

impl Ram {
    /// The time now.
    pub(crate) fn now(&self) -> Moment {
        Moment { time_ms: self.time_ms, epoch: self.time_epoch }
    }
}
