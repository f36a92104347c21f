//! Time and Clock go on (Part 1, 36): all of it follows the platform's clock, which is read once per command.

use crate::data::platform::Hooks;
use crate::data::state::{Orderly, Ram, Times};
use crate::data::tpm::Tpm;
use crate::profile;

/// Clock can be set up to this value (Part 3, 29.3).
const MAX_CLOCK: u64 = 0xffff_0000_0000_0000;

impl Ram {
    /// What the platform's clock says has passed since it was last asked, at the TPM's rate.
    fn elapse(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.platform_now_ms);
        self.platform_now_ms = self.platform_now_ms.max(now_ms);
        self.clock_rate.convert(passed)
    }
}

impl Tpm {
    /// Lets time pass without a command, for a platform that acts on an Authenticated Countdown Timer: see
    /// [`Self::act_signaled`].
    pub fn advance_time(&mut self, hooks: &mut Hooks<'_>) {
        let passed = self.ram.elapse(hooks.clock.now_ms());
        self.ram.time_ms = self.ram.time_ms.saturating_add(passed);
        if self.ram.started {
            if passed > 0 {
                self.set_clock(self.persistent.clock_ms.saturating_add(passed));
            }
            self.da_heal(passed);
            self.ram.acts.tick(self.ram.time_ms);
        }
    }

    /// Moves Clock on. When it comes to a multiple of the update interval it is recorded, and greater than all that it
    /// ever was: it is safe.
    fn set_clock(&mut self, clock_ms: u64) {
        if clock_ms / profile::CLOCK_UPDATE_MS > self.persistent.clock_ms / profile::CLOCK_UPDATE_MS {
            self.ram.clock_safe = true;
        }
        self.persistent.pass(Times { clock_ms, ..self.persistent.times() });
    }

    /// A command has used Clock after TPM2_Shutdown: without another one the next start begins with a Clock that may
    /// have been seen before (Part 1, 33.3.3).
    pub(crate) fn note_clock_use(&mut self) {
        if self.persistent.orderly != Orderly::No && self.persistent.saved_clock_safe {
            self.persistent.change().saved_clock_safe = false;
        }
    }

    /// TPM2_ClockSet: false, and nothing is done, if Clock would go back or too far.
    pub(crate) fn advance_clock_to(&mut self, clock_ms: u64) -> bool {
        let possible = clock_ms >= self.persistent.clock_ms && clock_ms <= MAX_CLOCK;
        if possible {
            self.set_clock(clock_ms);
        }
        possible
    }
}
