//! Dictionary-attack protection (Part 1, 19.8).

use crate::profile;
use crate::rc::Rc;
use crate::state::Dictionary;
use crate::tpm::Tpm;

impl Dictionary {
    /// As manufactured, and after TPM2_Clear.
    pub(crate) const fn new() -> Self {
        Self {
            failed_tries: 0,
            max_tries: profile::DA_MAX_TRIES,
            recovery_time_s: profile::DA_RECOVERY_TIME_S,
            lockout_recovery_s: profile::DA_LOCKOUT_RECOVERY_S,
            lockout_auth_enabled: true,
        }
    }

    /// Whether the TPM is in lockout mode. A recoveryTime of zero switches the protection off.
    pub(crate) const fn locked_out(&self) -> bool {
        self.recovery_time_s != 0 && self.failed_tries >= self.max_tries
    }
}

impl Tpm {
    /// An authorization failed that counts: one try more.
    pub(crate) fn da_failure(&mut self) {
        let dictionary = &mut self.persistent.dictionary;
        if dictionary.recovery_time_s != 0 {
            dictionary.failed_tries = dictionary.failed_tries.saturating_add(1).min(dictionary.max_tries);
        }
        self.ram.self_heal_ms = self.ram.time_ms;
    }

    /// An authValue under protection is about to be used (Part 1, 19.8.6): if the power goes before TPM2_Shutdown, that counts as a failed try.
    pub(crate) fn da_use(&mut self) {
        self.persistent.da_used = true;
        self.void_shutdown();
    }

    /// TPM2_Startup (Part 1, 19.8.6): a start enables lockoutAuth if lockoutRecovery is zero, and after a power failure a try counts that may have failed unseen.
    pub(crate) fn da_startup(&mut self, orderly: bool) {
        let used = core::mem::take(&mut self.persistent.da_used);
        let dictionary = &mut self.persistent.dictionary;
        if dictionary.lockout_recovery_s == 0 {
            dictionary.lockout_auth_enabled = true;
        }
        if used && !orderly {
            self.da_failure();
        }
    }

    /// An authorization with lockoutAuth failed: it is disabled until lockoutRecovery has passed.
    pub(crate) fn lockout_failure(&mut self) {
        self.persistent.dictionary.lockout_auth_enabled = false;
        self.ram.lockout_heal_ms = self.ram.time_ms;
    }

    /// What time has healed: a failed try for each recoveryTime, and lockoutAuth after lockoutRecovery.
    pub(crate) fn da_heal(&mut self) {
        let now = self.ram.time_ms;
        let dictionary = &mut self.persistent.dictionary;
        let recovery_ms = u64::from(dictionary.recovery_time_s) * 1000;
        if dictionary.failed_tries > 0 && recovery_ms != 0 {
            let healed = now.saturating_sub(self.ram.self_heal_ms) / recovery_ms;
            if healed > 0 {
                dictionary.failed_tries =
                    dictionary.failed_tries.saturating_sub(u32::try_from(healed).unwrap_or(u32::MAX));
                self.ram.self_heal_ms += healed * recovery_ms;
            }
        }
        let lockout_ms = u64::from(dictionary.lockout_recovery_s) * 1000;
        if !dictionary.lockout_auth_enabled
            && lockout_ms != 0
            && now.saturating_sub(self.ram.lockout_heal_ms) >= lockout_ms
        {
            dictionary.lockout_auth_enabled = true;
        }
    }

    /// - `LOCKOUT`: the TPM is in lockout mode, or lockoutAuth is disabled
    pub(crate) fn check_lockout(&self, uses_lockout_auth: bool) -> Result<(), Rc> {
        let dictionary = &self.persistent.dictionary;
        let locked = if uses_lockout_auth { !dictionary.lockout_auth_enabled } else { dictionary.locked_out() };
        if locked { Err(Rc::LOCKOUT) } else { Ok(()) }
    }
}
