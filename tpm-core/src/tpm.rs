//! The TPM as one value: manufacture, _TPM_Init, execution of commands, consistency.

use core::sync::atomic::AtomicBool;

use crate::act::{self, Acts};
use crate::audit::CommandAudit;
use crate::clock::Rate;
use crate::command::{CommandInfo, ReadOnly, Su, startup_code};
use crate::commit::Commit;
use crate::crypto::Rng;
use crate::crypto::drbg::Drbg;
use crate::crypto::hash::Digest;
use crate::nv::NvMemory;
use crate::object::{PersistentObjects, Slot, Slots};
use crate::pcr::{self, Pcrs, Root};
use crate::pipeline;
use crate::platform::{Hooks, Locality};
use crate::presence::PresenceList;
use crate::profile;
use crate::rc::Rc;
use crate::secret::Secret;
use crate::selftest::SelfTest;
use crate::session::Sessions;
use crate::state::{Dictionary, Orderly, Persistent, Ram, Seed, StateClear, StateReset};
use crate::wire::{Auth, Handle};

/// The TPM cannot be made or used: there is no entropy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure;

/// A TPM 2.0, of some 230 KiB. It is made where it is to stay, and not moved from there: a blank one in a `Box` or a
/// `static`, then [`Tpm::manufacture`] or [`Tpm::import`].
pub struct Tpm {
    pub(crate) drbg: Drbg,
    pub(crate) persistent: Persistent,
    pub(crate) reset: StateReset,
    pub(crate) clear: StateClear,
    pub(crate) ram: Ram,
}

impl Tpm {
    /// The place of a TPM that has not been made: it has no seeds, and is in failure mode until [`Tpm::manufacture`] or
    /// [`Tpm::import`] has made one there.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            drbg: Drbg::blank(),
            persistent: Persistent::blank(),
            reset: StateReset::blank(),
            clear: StateClear::new(),
            ram: Ram::blank(),
        }
    }

    /// Makes a new TPM with new seeds here, as after _TPM_Init: TPM2_Startup is to come. What was here is wiped.
    ///
    /// # Errors
    /// [`Failure`] if there is no entropy: this is blank then.
    pub fn manufacture(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Failure> {
        self.erase();
        let made = self.make(hooks);
        if made.is_err() {
            self.erase();
        }
        made
    }

    fn make(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Failure> {
        self.drbg = new_drbg(hooks)?;
        self.persistent.make(&mut self.drbg)?;
        self.reset = StateReset::new(&mut self.drbg)?;
        self.init(hooks);
        Ok(())
    }

    /// Wipes all and leaves it blank, part by part: without optimisation each has a copy in its own frame, which is
    /// gone before the next.
    pub(crate) fn erase(&mut self) {
        self.drbg = Drbg::blank();
        self.persistent.erase();
        self.reset = StateReset::blank();
        self.clear = StateClear::new();
        self.ram.erase();
    }

    /// _TPM_Init: the platform was reset or its power came back.
    pub fn init(&mut self, hooks: &mut Hooks<'_>) {
        let acts = self.acts_after_init();
        self.ram.lose_power(acts, self.persistent.pcr_allocation, hooks);
        self.ram.failure = !self.persistent.is_made();
    }

    /// What _TPM_Init leaves of the timers: two in a row are as one.
    pub(crate) fn acts_after_init(&self) -> Acts {
        if self.ram.started { self.ram.acts.after_init() } else { self.ram.acts }
    }

    /// Executes a command, and always writes a well-formed response: its length is returned. `response` holds at least
    /// [`profile::MAX_RESPONSE_SIZE`] octets.
    pub fn execute(&mut self, hooks: &mut Hooks<'_>, locality: Locality, request: &[u8], response: &mut [u8]) -> usize {
        self.execute_unless(hooks, locality, request, response, &AtomicBool::new(false))
    }

    /// The same, with a flag by which the platform cancels the command, from another thread or an interrupt: a search
    /// for an RSA key, the one thing that may take seconds, ends with `TPM_RC_CANCELED` and has changed nothing. Other
    /// commands go on to their end, as if it had come too late.
    pub fn execute_unless(
        &mut self,
        hooks: &mut Hooks<'_>,
        locality: Locality,
        request: &[u8],
        response: &mut [u8],
        canceled: &AtomicBool,
    ) -> usize {
        pipeline::execute(self, hooks, locality, request, response, canceled)
    }

    /// How many octets a command or response can have on its way (TPM_PT_MAX_COMMAND_SIZE and _RESPONSE_SIZE), for a
    /// platform whose transport has a smaller buffer than the engine: longer ones are `TPM_RC_COMMAND_SIZE`. From
    /// [`profile::MIN_BUFFER_SIZE`] to [`profile::MAX_COMMAND_SIZE`], to which others are raised or cut; _TPM_Init
    /// leaves it, and it is no part of the state that is exported.
    pub fn set_buffer_size(&mut self, octets: usize) {
        self.ram.buffer_size = octets.clamp(profile::MIN_BUFFER_SIZE, profile::MAX_COMMAND_SIZE);
    }

    /// The platform ends in order: what TPM2_Shutdown(CLEAR) does, unless the platform's software has sent
    /// TPM2_Shutdown(STATE) and nothing has made that void. Without one each use of an authValue under
    /// dictionary-attack protection costs a failed try at the next start. To be called before the state is saved for
    /// the last time; the TPM goes on if commands still come.
    pub fn shut_down(&mut self, hooks: &mut Hooks<'_>) {
        self.advance_time(hooks);
        if self.ram.started && !self.ram.failure && self.persistent.orderly != Orderly::State {
            self.save_for(Su::Clear);
        }
    }

    /// Asserts or withdraws physical presence.
    pub fn set_physical_presence(&mut self, asserted: bool) {
        self.ram.physical_presence = asserted;
    }

    /// Puts the TPM into failure mode until _TPM_Init, for a platform that finds it or itself at fault, and for tests.
    pub fn enter_failure_mode(&mut self) {
        self.ram.failure = true;
    }

    /// Whether it is in failure mode. What the command that failed has left behind is not to be kept: the platform
    /// saves nothing until _TPM_Init.
    #[must_use]
    pub fn is_in_failure_mode(&self) -> bool {
        self.ram.failure
    }

    /// Whether the Authenticated Countdown Timer TPM_RH_ACT_`n` signals: its time is over, and nobody set it anew.
    pub fn act_signaled(&self, n: u8) -> bool {
        n < 16 && Handle::act(n).act_position().and_then(|i| self.ram.acts.get(i)).is_some_and(act::Act::is_signaled)
    }

    /// Whether the command may be executed in this state (Part 3, 5.3).
    ///
    /// - `FAILURE`: in failure mode, all but TPM2_GetTestResult and TPM2_GetCapability without sessions
    /// - `READ_ONLY`: in read-only mode, what is never admitted there
    /// - `INITIALIZE`: before TPM2_Startup anything else, and that one after it
    pub(crate) fn admit(&self, info: &CommandInfo, sessions: bool) -> Result<(), Rc> {
        if self.ram.failure {
            return if !sessions && matches!(info.code, 0x17a | 0x17c) { Ok(()) } else { Err(Rc::FAILURE) };
        }
        if self.clear.read_only && info.read_only == ReadOnly::Refused {
            return Err(Rc::READ_ONLY);
        }
        if self.ram.started == (info.code == startup_code()) { Err(Rc::INITIALIZE) } else { Ok(()) }
    }

    /// Whether read-only mode admits the command with these handles: that is asked before any authorization is checked
    /// (Part 1, 42.2).
    ///
    /// - `READ_ONLY`: in read-only mode, and something would change that outlives it
    pub(crate) fn admit_handles(&self, info: &CommandInfo, handles: &[Handle]) -> Result<(), Rc> {
        let admitted = match (info.read_only, handles) {
            _ if !self.clear.read_only => true,
            (ReadOnly::PassingIndex, [_, index, ..]) => self.is_passing_nv(*index),
            (ReadOnly::NoPin, [entity, ..]) => self.pin_type(*entity).is_none(),
            _ => true,
        };
        if admitted { Ok(()) } else { Err(Rc::READ_ONLY) }
    }

    /// `FAILURE` if the DRBG is due for fresh entropy and there is none. In failure mode it is not used, so the cause
    /// can still be asked for.
    pub(crate) fn reseed_if_due(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Rc> {
        if self.ram.failure || self.drbg.reseed_counter() < profile::DRBG_RESEED_INTERVAL {
            return Ok(());
        }
        let mut entropy = Secret::<48>::zeroed(48).map_err(|_| Rc::FAILURE)?;
        let fresh =
            hooks.entropy.fill(entropy.as_mut_slice()).is_ok() && self.drbg.reseed(entropy.as_slice(), &[]).is_ok();
        if fresh { Ok(()) } else { Err(self.fail()) }
    }

    /// What TPM2_Shutdown saved is no longer what there is: the next start is as without it (Part 3, 9.4.1).
    pub(crate) fn void_shutdown(&mut self) {
        self.persistent.orderly = Orderly::No;
    }

    /// Enters failure mode.
    pub(crate) fn fail(&mut self) -> Rc {
        self.ram.failure = true;
        Rc::FAILURE
    }

    /// Fills with random octets; `FAILURE` and failure mode if the DRBG gives none.
    pub(crate) fn random(&mut self, out: &mut [u8]) -> Result<(), Rc> {
        if self.drbg.fill(out).is_ok() { Ok(()) } else { Err(self.fail()) }
    }

    /// A random value of at most the size of a digest.
    pub(crate) fn random_digest(&mut self, size: usize) -> Result<Digest, Rc> {
        let mut bytes = [0; crate::crypto::hash::MAX_DIGEST];
        let out = bytes.get_mut(..size).ok_or(Rc::FAILURE)?;
        self.random(out)?;
        Digest::from_slice(out).ok_or(Rc::FAILURE)
    }

    /// The invariants of the state; run after every command in tests and while fuzzing.
    pub fn check(&self) -> Result<(), &'static str> {
        self.ram.sessions.check()?;
        self.persistent.nv.check()?;
        if self.persistent.is_made() {
            self.check_stored()?;
        } else if !self.ram.failure {
            return Err("a blank TPM is not in failure mode");
        }
        if self.reset.audit_digest.is_some_and(|d| d.len() != self.persistent.audit.alg.digest_size()) {
            return Err("the digest of command audit is not of its algorithm");
        }
        let sensitive_fits = |o: &crate::object::Object| {
            o.sensitive.as_ref().is_none_or(|s| s.composite.object_type() == o.public.object_type())
        };
        let objects = self.ram.objects.0.iter().flatten().filter_map(Slot::object);
        if !objects.clone().all(sensitive_fits) {
            return Err("an object's public and sensitive areas have different types");
        }
        if !objects.clone().all(|o| o.name == crate::object::name_of(&o.public)) {
            return Err("an object's Name is not that of its public area");
        }
        Ok(())
    }
}

fn new_drbg(hooks: &mut Hooks<'_>) -> Result<Drbg, Failure> {
    let mut entropy = Secret::<64>::zeroed(64).map_err(|_| Failure)?;
    hooks.entropy.fill(entropy.as_mut_slice()).map_err(|_| Failure)?;
    Drbg::new(entropy.as_slice(), &[], b"Quoin TPM").map_err(|_| Failure)
}

/// A new random seed or proof.
pub(crate) fn new_seed(drbg: &mut Drbg) -> Result<Seed, Failure> {
    let mut seed = Seed::zeroed(64).map_err(|_| Failure)?;
    drbg.fill(seed.as_mut_slice()).map_err(|_| Failure)?;
    Ok(seed)
}

impl Persistent {
    const fn blank() -> Self {
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
            audit: CommandAudit::none(),
            da_used: false,
            pcr_allocation: [0; profile::PCR_BANKS.len()],
            pcr_policy: None,
            saved_clock_safe: true,
            reset_count: 0,
            total_reset_count: 0,
            clock_ms: 0,
            presence: PresenceList::new(),
            algorithm_set: 0,
            nv: NvMemory::new(),
            objects: PersistentObjects::new(),
        }
    }

    #[inline(never)]
    fn erase(&mut self) {
        *self = Self::blank();
    }

    /// What a manufactured TPM has that a blank one has not.
    fn make(&mut self, drbg: &mut Drbg) -> Result<(), Failure> {
        self.endorsement_seed = new_seed(drbg)?;
        self.storage_seed = new_seed(drbg)?;
        self.platform_seed = new_seed(drbg)?;
        self.endorsement_proof = new_seed(drbg)?;
        self.storage_proof = new_seed(drbg)?;
        self.platform_proof = new_seed(drbg)?;
        self.audit = CommandAudit::new();
        self.pcr_allocation = pcr::default_allocation();
        Ok(())
    }

    /// Whether this is of a TPM, and not blank.
    pub(crate) const fn is_made(&self) -> bool {
        !self.endorsement_seed.is_empty()
    }
}

impl StateReset {
    const fn blank() -> Self {
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

    /// As after TPM Reset: a new NULL hierarchy, and counters at zero.
    pub(crate) fn new(drbg: &mut Drbg) -> Result<Self, Failure> {
        Ok(Self {
            null_seed: new_seed(drbg)?,
            null_proof: new_seed(drbg)?,
            commit: Commit::new(new_seed(drbg)?),
            ..Self::blank()
        })
    }
}

impl Ram {
    const fn blank() -> Self {
        Self {
            started: false,
            failure: true,
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
        }
    }

    #[inline(never)]
    fn erase(&mut self) {
        *self = Self::blank();
    }

    /// What _TPM_Init leaves: the places of saved sessions, and how long commands may be.
    fn lose_power(&mut self, acts: Acts, pcrs: [u32; profile::PCR_BANKS.len()], hooks: &mut Hooks<'_>) {
        let mut sessions = core::mem::replace(&mut self.sessions, Sessions::new());
        sessions.power_off();
        let buffer_size = self.buffer_size;
        self.erase();
        self.sessions = sessions;
        self.buffer_size = buffer_size;
        self.acts = acts;
        self.platform_now_ms = hooks.clock.now_ms();
        self.pcrs = Pcrs::new(pcrs);
    }
}
