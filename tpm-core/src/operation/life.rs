//! The life of a TPM: manufacture, _TPM_Init, shutdown by the platform, entropy, consistency.

use crate::crypto::Rng;
use crate::crypto::drbg::Drbg;
use crate::crypto::hash::{Digest, HashAlg, digest};
use crate::data::act::{Act, Acts};
use crate::data::commit::Commit;
use crate::data::object::{Object, Slot, name_of};
use crate::data::pcr::{self, Pcrs};
use crate::data::platform::Hooks;
use crate::data::session::Sessions;
use crate::data::state::{Orderly, Persistent, Ram, StateReset};
use crate::data::tpm::{Failure, Tpm};
use crate::fault::Fault;
use crate::profile;
use crate::secret::{Secret, Seed};
use crate::wire::{Handle, Su};

impl Tpm {
    /// Makes new seeds, and what hangs on them. The lists of commands are left to the floor that knows the commands.
    pub(crate) fn make(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Failure> {
        (self.drbg, self.number) = new_drbg(hooks)?;
        let persistent = self.persistent.change();
        persistent.nv.hash_by(self.number);
        persistent.make(&mut self.drbg)?;
        *self.reset.change() = StateReset::new(&mut self.drbg)?;
        self.init(hooks);
        Ok(())
    }

    /// _TPM_Init: the platform was reset or its power came back.
    pub fn init(&mut self, hooks: &mut Hooks<'_>) {
        let acts = self.acts_after_init();
        self.ram.lose_power(acts, self.persistent.pcr_allocation, hooks);
        self.ram.fault = if self.persistent.is_made() { None } else { Some(Fault::NotMade) };
    }

    /// What _TPM_Init leaves of the timers: two in a row are as one.
    pub(crate) fn acts_after_init(&self) -> Acts {
        if self.ram.started { self.ram.acts.after_init() } else { self.ram.acts }
    }

    /// How many octets a command or response can have on its way (TPM_PT_MAX_COMMAND_SIZE and _RESPONSE_SIZE), for a
    /// platform whose transport has a smaller buffer than the engine: longer ones are `TPM_RC_COMMAND_SIZE`. From
    /// [`profile::MIN_BUFFER_SIZE`] to [`profile::MAX_COMMAND_SIZE`], to which others are raised or cut; _TPM_Init
    /// leaves it, and it is no part of the state that is exported.
    pub fn set_buffer_size(&mut self, octets: usize) {
        self.ram.buffer_size = octets.clamp(profile::MIN_BUFFER_SIZE, profile::MAX_COMMAND_SIZE);
    }

    /// Leaves out the properties that came with versions 1.83 and 1.85 of the specification, whatever the profile says
    /// ([`profile::Profile::lists_later_properties`]), for clients that do not know them. _TPM_Init leaves it so, and
    /// it is no part of the state that is exported.
    pub fn omit_later_properties(&mut self) {
        self.ram.omits_later_properties = true;
    }

    /// The platform ends in order: what TPM2_Shutdown(CLEAR) does, unless the platform's software has sent
    /// TPM2_Shutdown(STATE) and nothing has made that void. Without one each use of an authValue under
    /// dictionary-attack protection costs a failed try at the next start. To be called before the state is saved for
    /// the last time; the TPM goes on if commands still come.
    pub fn shut_down(&mut self, hooks: &mut Hooks<'_>) {
        self.advance_time(hooks);
        if self.ram.started && self.ram.fault.is_none() && self.persistent.orderly != Orderly::State {
            self.save_for(Su::Clear);
        }
    }

    /// Asserts or withdraws physical presence.
    pub fn set_physical_presence(&mut self, asserted: bool) {
        self.ram.physical_presence = asserted;
    }

    /// Puts the TPM into failure mode until _TPM_Init, for a platform that finds it or itself at fault, and for tests.
    pub fn enter_failure_mode(&mut self) {
        self.ram.fault = self.ram.fault.or(Some(Fault::Platform));
    }

    /// Whether it is in failure mode. What the command that failed has left behind is not to be kept: the platform
    /// saves nothing until _TPM_Init.
    #[must_use]
    pub fn is_in_failure_mode(&self) -> bool {
        self.ram.fault.is_some()
    }

    /// Why it is in failure mode, if it is: the first fault since _TPM_Init.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.ram.fault
    }

    /// Whether the Authenticated Countdown Timer TPM_RH_ACT_`n` signals: its time is over, and nobody set it anew.
    pub fn act_signaled(&self, n: u8) -> bool {
        n < 16 && Handle::act(n).act_position().and_then(|i| self.ram.acts.get(i)).is_some_and(Act::is_signaled)
    }

    /// A fault if the DRBG is due for fresh entropy and there is none. In failure mode it is not used, so the cause can
    /// still be asked for.
    pub(crate) fn reseed_if_due(&mut self, hooks: &mut Hooks<'_>) -> Result<(), Fault> {
        if self.ram.fault.is_some() || self.drbg.reseed_counter() < profile::DRBG_RESEED_INTERVAL {
            return Ok(());
        }
        let mut entropy = Secret::<48>::zeroed(48).map_err(|_| Fault::Capacity)?;
        let fresh =
            hooks.entropy.fill(entropy.as_mut_slice()).is_ok() && self.drbg.reseed(entropy.as_slice(), &[]).is_ok();
        if fresh { Ok(()) } else { Err(Fault::NoEntropy) }
    }

    /// Fills with random octets; a fault if the DRBG gives none.
    pub(crate) fn random(&mut self, out: &mut [u8]) -> Result<(), Fault> {
        self.drbg.fill(out).map_err(|_| Fault::NoRandom)
    }

    /// A random value of at most the size of a digest.
    pub(crate) fn random_digest(&mut self, size: usize) -> Result<Digest, Fault> {
        let mut bytes = [0; crate::crypto::hash::MAX_DIGEST];
        let out = bytes.get_mut(..size).ok_or(Fault::Capacity)?;
        self.random(out)?;
        Digest::from_slice(out).ok_or(Fault::Capacity)
    }

    /// Saves what the start that is announced needs.
    pub(crate) fn save_for(&mut self, startup: Su) {
        let persistent = self.persistent.change();
        persistent.orderly = match startup {
            Su::Clear => Orderly::Clear,
            Su::State => Orderly::State,
        };
        persistent.da_used = false;
        persistent.saved_clock_safe = self.ram.clock_safe;
        self.ram.shutdown_clock_ms = persistent.clock_ms;
        let clear = self.clear.change();
        clear.saved_acts = self.ram.acts.save(self.ram.time_ms);
        clear.saved_pcrs = (startup == Su::State).then(|| self.ram.pcrs.clone());
        clear.saved_root = self.ram.root;
    }

    /// The invariants of the state; run after every command in tests and while fuzzing.
    ///
    /// # Errors
    /// What is broken, as a [`Fault`]; the TPM does not enter failure mode for that.
    pub fn check(&self) -> Result<(), Fault> {
        self.ram.sessions.check()?;
        self.persistent.nv.check()?;
        if self.persistent.is_made() {
            self.check_stored()?;
        } else if self.ram.fault.is_none() {
            return Err(Fault::Blank);
        }
        if self.reset.audit_digest.is_some_and(|d| d.len() != self.persistent.audit.alg.digest_size()) {
            return Err(Fault::AuditDigest);
        }
        let sensitive_fits =
            |o: &Object| o.sensitive.as_ref().is_none_or(|s| s.composite.object_type() == o.public.object_type());
        let objects = self.ram.objects.0.iter().flatten().filter_map(Slot::object);
        if !objects.clone().all(sensitive_fits) {
            return Err(Fault::Areas);
        }
        if !objects.clone().all(|o| o.name == name_of(&o.public)) {
            return Err(Fault::Name);
        }
        Ok(())
    }

    /// What a TPM that is made must have, and so a state: seeds, proofs, an allocation of PCR.
    pub(crate) fn check_stored(&self) -> Result<(), Fault> {
        let p = &self.persistent;
        let seeds = [&p.endorsement_seed, &p.storage_seed, &p.platform_seed, &self.reset.null_seed];
        let proofs = [&p.endorsement_proof, &p.storage_proof, &p.platform_proof, &self.reset.null_proof];
        if !seeds.iter().chain(&proofs).all(|seed| seed.len() == 64) {
            return Err(Fault::Seed);
        }
        if pcr::is_possible(&p.pcr_allocation) { Ok(()) } else { Err(Fault::PcrAllocation) }
    }
}

/// A DRBG of new entropy, and a number for which other entropy gives another, and which says nothing of it.
fn new_drbg(hooks: &mut Hooks<'_>) -> Result<(Drbg, u64), Failure> {
    let mut entropy = Secret::<64>::zeroed(64).map_err(|_| Failure)?;
    hooks.entropy.fill(entropy.as_mut_slice()).map_err(|_| Failure)?;
    let drbg = Drbg::new(entropy.as_slice(), &[], b"Quoin TPM").map_err(|_| Failure)?;
    Ok((drbg, number_of(&[b"number of a TPM", entropy.as_slice()])))
}

/// A number of 64 bits for what is not to be mistaken for anything else.
pub(crate) fn number_of(parts: &[&[u8]]) -> u64 {
    digest(HashAlg::Sha256, parts).as_slice().first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets))
}

/// A new random seed or proof.
pub(crate) fn new_seed(drbg: &mut Drbg) -> Result<Seed, Failure> {
    let mut seed = Seed::zeroed(64).map_err(|_| Failure)?;
    drbg.fill(seed.as_mut_slice()).map_err(|_| Failure)?;
    Ok(seed)
}

impl Persistent {
    /// What a manufactured TPM has that a blank one has not.
    fn make(&mut self, drbg: &mut Drbg) -> Result<(), Failure> {
        self.endorsement_seed = new_seed(drbg)?;
        self.storage_seed = new_seed(drbg)?;
        self.platform_seed = new_seed(drbg)?;
        self.endorsement_proof = new_seed(drbg)?;
        self.storage_proof = new_seed(drbg)?;
        self.platform_proof = new_seed(drbg)?;
        self.pcr_allocation = pcr::default_allocation();
        Ok(())
    }
}

impl StateReset {
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
    /// What _TPM_Init leaves: the places of saved sessions, how long commands may be, and what is not listed.
    fn lose_power(&mut self, acts: Acts, pcrs: [u32; profile::PCR_BANKS.len()], hooks: &mut Hooks<'_>) {
        let mut sessions = core::mem::replace(&mut self.sessions, Sessions::new());
        sessions.power_off();
        let (buffer_size, omits_later_properties) = (self.buffer_size, self.omits_later_properties);
        self.erase();
        self.sessions = sessions;
        self.buffer_size = buffer_size;
        self.omits_later_properties = omits_later_properties;
        self.acts = acts;
        self.platform_now_ms = hooks.clock.now_ms();
        self.pcrs = Pcrs::new(pcrs);
    }
}
