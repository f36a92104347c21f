//! The TPM as one value, and as it is before it is made.

use crate::crypto::drbg::Drbg;
use crate::data::act::Acts;
use crate::data::audit::CommandAudit;
use crate::data::clock::Rate;
use crate::data::command_list::CommandList;
use crate::data::commit::Commit;
use crate::data::lasting::Lasting;
use crate::data::nv::NvMemory;
use crate::data::object::{PersistentObjects, Slots};
use crate::data::pcr::{Pcrs, Root};
use crate::data::selftest::SelfTest;
use crate::data::session::Sessions;
use crate::data::state::{Dictionary, Orderly, Persistent, Ram, StateClear, StateReset};
use crate::fault::Fault;
use crate::profile;
use crate::secret::Seed;
use crate::wire::Auth;
use core::fmt;

/// What was asked of the TPM cannot be done. Where it is returned stands for what reasons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the TPM cannot do that")
    }
}

impl core::error::Error for Failure {}

/// A TPM 2.0, of some 230 KiB. It is made where it is to stay, and not moved from there: a blank one in a `Box` or a
/// `static`, then [`Tpm::manufacture`] or [`Tpm::import`].
pub struct Tpm {
    /// drawn with the entropy and the state of which this TPM was made: counts of changes are counts of this TPM
    pub(crate) number: u64,
    pub(crate) drbg: Drbg,
    pub(crate) persistent: Lasting<Persistent>,
    pub(crate) reset: Lasting<StateReset>,
    pub(crate) clear: Lasting<StateClear>,
    pub(crate) ram: Ram,
}

impl Tpm {
    /// The place of a TPM that has not been made: it has no seeds, and is in failure mode until [`Tpm::manufacture`] or
    /// [`Tpm::import`] has made one there.
    #[must_use]
    #[inline(always)]
    pub const fn blank() -> Self {
        // With optimisation, and in line, each part is written where it is to be. Without it, each would go from frame
        // to frame, a MiB in all: there it is a copy of a constant, for which a release has no room.
        const BLANK: Tpm = Tpm::of_blank_parts();
        if cfg!(debug_assertions) { BLANK } else { Self::of_blank_parts() }
    }

    #[inline(always)]
    const fn of_blank_parts() -> Self {
        Self {
            number: 0,
            drbg: Drbg::blank(),
            persistent: Lasting::new(Persistent::blank()),
            reset: Lasting::new(StateReset::blank()),
            clear: Lasting::new(StateClear::new()),
            ram: Ram::blank(),
        }
    }

    /// Wipes all and leaves it blank, part by part: without optimisation each has a copy in its own frame, which is
    /// gone before the next.
    pub(crate) fn erase(&mut self) {
        self.drbg = Drbg::blank();
        self.persistent.change().erase();
        *self.reset.change() = StateReset::blank();
        *self.clear.change() = StateClear::new();
        self.ram.erase();
    }

    /// What TPM2_Shutdown saved is no longer what there is: the next start is as without it (Part 3, 9.4.1).
    pub(crate) fn void_shutdown(&mut self) {
        if self.persistent.orderly != Orderly::No {
            self.persistent.change().orderly = Orderly::No;
        }
    }
}

impl Persistent {
    #[inline(always)]
    pub(crate) const fn blank() -> Self {
        Self {
            endorsement_seed: Seed::new(),
            storage_seed: Seed::new(),
            platform_seed: Seed::new(),
            endorsement_proof: Seed::new(),
            storage_proof: Seed::new(),
            platform_proof: Seed::new(),
            owner_auth: Auth::new(),
            endorsement_auth: Auth::new(),
            lockout_auth: Auth::new(),
            owner_policy: None,
            endorsement_policy: None,
            lockout_policy: None,
            disable_clear: false,
            orderly: Orderly::Clear,
            dictionary: Dictionary::new(),
            audit: CommandAudit::new(),
            da_used: false,
            pcr_allocation: [0; profile::PCR_BANKS.len()],
            pcr_policy: None,
            saved_clock_safe: true,
            reset_count: 0,
            total_reset_count: 0,
            clock_ms: 0,
            presence: CommandList::new(),
            algorithm_set: 0,
            nv: NvMemory::new(),
            objects: PersistentObjects::new(),
        }
    }

    #[inline(never)]
    pub(crate) fn erase(&mut self) {
        *self = Self::blank();
    }

    /// Whether this is of a TPM, and not blank.
    pub(crate) const fn is_made(&self) -> bool {
        !self.endorsement_seed.is_empty()
    }
}

impl StateReset {
    #[inline(always)]
    pub(crate) const fn blank() -> Self {
        Self {
            null_seed: Seed::new(),
            null_proof: Seed::new(),
            restart_count: 0,
            clear_count: 0,
            object_context_id: 0,
            pcr_update_counter: 0,
            commit: Commit::new(Seed::new()),
            audit_digest: None,
        }
    }
}

impl Ram {
    #[inline(always)]
    pub(crate) const fn blank() -> Self {
        Self {
            started: false,
            fault: Some(Fault::NotMade),
            time_ms: 0,
            time_epoch: 0,
            platform_now_ms: 0,
            shutdown_clock_ms: 0,
            clock_rate: Rate::new(),
            clock_safe: false,
            acts: Acts::new(),
            exclusive_audit: None,
            orderly_startup: false,
            pcrs_reallocated: false,
            self_test: SelfTest::new(),
            physical_presence: false,
            objects: Slots([const { None }; profile::MAX_LOADED_OBJECTS]),
            sessions: Sessions::new(),
            pcrs: Pcrs::NONE,
            root: Root::Locality0,
            hash_sequence: None,
            buffer_size: profile::MAX_COMMAND_SIZE,
            omits_later_properties: false,
        }
    }

    #[inline(never)]
    pub(crate) fn erase(&mut self) {
        *self = Self::blank();
    }
}
