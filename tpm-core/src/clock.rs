//! Time, Clock and the rate at which they advance (Part 1, 33). All of it follows the platform's clock, which is read once per command.

use crate::platform::Hooks;
use crate::profile;
use crate::rc::Fmt1;
use crate::state::{Orderly, Ram};
use crate::tpm::Tpm;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// The rate is that many of the platform's units for each unit of the TPM's, at first.
const NOMINAL: u32 = 30_000;
/// How far the rate may be adjusted: about a sixth either way, where Part 1, 33.3.6 asks for 15 %.
const LIMIT: u32 = 5_000;
/// Clock can be set up to this value (Part 3, 29.3).
const MAX_CLOCK: u64 = 0xffff_0000_0000_0000;

/// How the platform's milliseconds become those of the TPM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rate {
    /// units of the platform's clock, of which `NOMINAL` are a millisecond, that make a millisecond here
    divisor: u32,
    /// units that did not yet make a millisecond
    carry: u64,
}

impl Rate {
    /// As the platform's clock.
    pub(crate) const fn new() -> Self {
        Self { divisor: NOMINAL, carry: 0 }
    }

    /// One of the steps of TPM_CLOCK_ADJUST (Part 2, 6.7): 1 %, 0.1 % and the finest there is, slower (below zero) or faster; false, and nothing is done, if
    /// that would be beyond the limit.
    pub(crate) fn adjust(&mut self, step: i8) -> bool {
        let size = match step.unsigned_abs() {
            3 => NOMINAL / 100,
            2 => NOMINAL / 1000,
            1 => 1,
            _ => 0,
        };
        let divisor = if step < 0 { self.divisor.saturating_add(size) } else { self.divisor.saturating_sub(size) };
        let possible = (NOMINAL - LIMIT..=NOMINAL + LIMIT).contains(&divisor);
        if possible {
            self.divisor = divisor;
        }
        possible
    }

    /// Milliseconds of the TPM in so many of the platform's.
    fn convert(&mut self, platform_ms: u64) -> u64 {
        if platform_ms == 0 {
            return 0;
        }
        let units = platform_ms.saturating_mul(NOMINAL.into()).saturating_add(self.carry);
        let divisor = u64::from(self.divisor.max(1));
        self.carry = units % divisor;
        units / divisor
    }
}

impl Ram {
    /// What the platform's clock says has passed since it was last asked, at the TPM's rate.
    fn elapse(&mut self, now_ms: u64) -> u64 {
        let passed = now_ms.saturating_sub(self.platform_now_ms);
        self.platform_now_ms = self.platform_now_ms.max(now_ms);
        self.clock_rate.convert(passed)
    }
}

impl Tpm {
    /// Lets time pass without a command, for a platform that acts on an Authenticated Countdown Timer: see [`Self::act_signaled`].
    pub fn advance_time(&mut self, hooks: &mut Hooks<'_>) {
        let passed = self.ram.elapse(hooks.clock.now_ms());
        self.ram.time_ms = self.ram.time_ms.saturating_add(passed);
        if self.ram.started {
            self.set_clock(self.persistent.clock_ms.saturating_add(passed));
            self.da_heal(passed);
            self.ram.acts.tick(self.ram.time_ms);
        }
    }

    /// Moves Clock on. When it comes to a multiple of the update interval it is recorded, and greater than all that it ever was: it is safe.
    fn set_clock(&mut self, clock_ms: u64) {
        if clock_ms / profile::CLOCK_UPDATE_MS > self.persistent.clock_ms / profile::CLOCK_UPDATE_MS {
            self.ram.clock_safe = true;
        }
        self.persistent.clock_ms = clock_ms;
    }

    /// A command has used Clock after TPM2_Shutdown: without another one the next start begins with a Clock that may have been seen before (Part 1, 33.3.3).
    pub(crate) fn note_clock_use(&mut self) {
        if self.persistent.orderly != Orderly::No {
            self.persistent.saved_clock_safe = false;
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

impl Marshal for Rate {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.divisor.marshal(w);
        self.carry.marshal(w);
    }
}

impl Unmarshal<'_> for Rate {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let (divisor, carry): (u32, u64) = (r.get()?, r.get()?);
        // What carries over may be from before the rate was made faster.
        let possible = (NOMINAL - LIMIT..=NOMINAL + LIMIT).contains(&divisor) && carry < (NOMINAL + LIMIT).into();
        if possible { Ok(Self { divisor, carry }) } else { Err(Fmt1::RANGE) }
    }
}
