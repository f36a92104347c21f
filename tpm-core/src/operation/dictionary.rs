//! Dictionary-attack protection (Part 1, 16.8).

use crate::data::state::{Dictionary, Times};
use crate::data::tpm::Tpm;
use crate::profile;
use crate::rc::Rc;

impl Dictionary {
    /// As manufactured, and after TPM2_Clear.
    pub(crate) const fn new() -> Self {
        Self {
            failed_tries: 0,
            max_tries: profile::DA_MAX_TRIES,
            recovery_time_s: profile::DA_RECOVERY_TIME_S,
            lockout_recovery_s: profile::DA_LOCKOUT_RECOVERY_S,
            lockout_auth_enabled: true,
            healing_ms: 0,
            lockout_healing_ms: 0,
        }
    }

    /// Whether the TPM is in lockout mode: with maxTries zero it always is.
    pub(crate) const fn locked_out(&self) -> bool {
        self.failed_tries >= self.max_tries
    }

    /// As it is when so much time has passed. That heals: a failed try for each recoveryTime (all at once if that is
    /// zero: no protection), and lockoutAuth after lockoutRecovery (unless that is zero: then only TPM2_Startup does).
    fn healed(mut self, passed_ms: u64) -> Self {
        let recovery_ms = u64::from(self.recovery_time_s) * 1000;
        if self.failed_tries > 0 {
            self.healing_ms = self.healing_ms.saturating_add(passed_ms);
            match self.healing_ms.checked_div(recovery_ms) {
                None => self.failed_tries = 0,
                Some(healed) => {
                    self.failed_tries = self.failed_tries.saturating_sub(u32::try_from(healed).unwrap_or(u32::MAX));
                    self.healing_ms %= recovery_ms;
                }
            }
        }
        let lockout_ms = u64::from(self.lockout_recovery_s) * 1000;
        if !self.lockout_auth_enabled && lockout_ms != 0 {
            self.lockout_healing_ms = self.lockout_healing_ms.saturating_add(passed_ms);
            self.lockout_auth_enabled = self.lockout_healing_ms >= lockout_ms;
        }
        self
    }

    /// One failed try more, unless there is no protection.
    fn fail(&mut self) {
        if self.recovery_time_s != 0 {
            self.failed_tries = self.failed_tries.saturating_add(1);
        }
        self.healing_ms = 0;
    }
}

impl Tpm {
    /// An authorization failed that counts: one try more.
    pub(crate) fn da_failure(&mut self) {
        self.persistent.change().dictionary.fail();
    }

    /// An authValue under protection is about to be used (Part 1, 16.8.6): if the power goes before TPM2_Shutdown, that
    /// counts as a failed try.
    pub(crate) fn da_use(&mut self) {
        if !self.persistent.da_used {
            self.persistent.change().da_used = true;
        }
        self.void_shutdown();
    }

    /// An authorization with lockoutAuth failed: it is disabled until lockoutRecovery has passed.
    pub(crate) fn lockout_failure(&mut self) {
        let dictionary = &mut self.persistent.change().dictionary;
        dictionary.lockout_auth_enabled = false;
        dictionary.lockout_healing_ms = 0;
    }

    /// What so much time has healed.
    pub(crate) fn da_heal(&mut self, passed_ms: u64) {
        let dictionary = &self.persistent.dictionary;
        if dictionary.failed_tries == 0 && dictionary.lockout_auth_enabled {
            return;
        }
        let healed = dictionary.healed(passed_ms);
        let Dictionary { healing_ms, lockout_healing_ms, .. } = healed;
        self.persistent.pass(Times { healing_ms, lockout_healing_ms, ..self.persistent.times() });
        if self.persistent.dictionary != healed {
            self.persistent.change().dictionary = healed;
        }
    }

    /// TPM2_Startup (Part 1, 16.8.6). If no TPM2_Shutdown came before, nobody knows how a protected use ended
    /// (CVE-2020-26933), nor how long the power was on: one try more if there may have been one, and the times count
    /// anew.
    pub(crate) fn da_startup(&mut self, orderly: bool) {
        let persistent = self.persistent.change();
        let dictionary = &mut persistent.dictionary;
        if dictionary.lockout_recovery_s == 0 {
            dictionary.lockout_auth_enabled = true;
        }
        if !orderly {
            dictionary.healing_ms = 0;
            dictionary.lockout_healing_ms = 0;
            if persistent.da_used && !dictionary.locked_out() {
                dictionary.fail();
            }
        }
        persistent.da_used = false;
    }

    /// - `LOCKOUT`: the TPM is in lockout mode, or lockoutAuth is disabled
    pub(crate) fn check_lockout(&self, uses_lockout_auth: bool) -> Result<(), Rc> {
        let dictionary = &self.persistent.dictionary;
        let locked = if uses_lockout_auth { !dictionary.lockout_auth_enabled } else { dictionary.locked_out() };
        if locked { Err(Rc::LOCKOUT) } else { Ok(()) }
    }
}
