//! Time, Clock and the rate at which they advance (Part 1, 33). All of it follows the platform's clock, which is read
//! once per command.

use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// The rate is that many of the platform's units for each unit of the TPM's, at first.
const NOMINAL: u32 = 30_000;
/// How far the rate may be adjusted: about a sixth either way, where Part 1, 33.3.6 asks for 15 %.
const LIMIT: u32 = 5_000;
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

    /// One of the steps of TPM_CLOCK_ADJUST (Part 2, 6.7): 1 %, 0.1 % and the finest there is, slower (below zero) or
    /// faster; false, and nothing is done, if that would be beyond the limit.
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
    pub(crate) fn convert(&mut self, platform_ms: u64) -> u64 {
        if platform_ms == 0 {
            return 0;
        }
        let units = platform_ms.saturating_mul(NOMINAL.into()).saturating_add(self.carry);
        let divisor = u64::from(self.divisor.max(1));
        self.carry = units % divisor;
        units / divisor
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

/// A time of the TPM. Times of different epochs do not compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    /// milliseconds since _TPM_Init
    pub(crate) time_ms: u64,
    /// drawn anew at TPM2_Startup
    pub(crate) epoch: u64,
}
