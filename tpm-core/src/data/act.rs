//! Authenticated Countdown Timers (Part 1, 40): which of TPM_RH_ACT_0 to _F there are says the profile. They count in
//! seconds of the TPM's time.

use crate::profile::ACTS;
use crate::rc::Fmt1;
use crate::wire::{Handle, Marshal, Reader, Unmarshal, Writer, structure};

/// How many there are.
pub(crate) const COUNT: usize = ACTS.len();
/// The timeout of a timer that does not count and was told not to signal any more.
const ENDLESS: u32 = u32::MAX;
const SECOND_MS: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Countdown {
    Stopped,
    Endless,
    /// until this time, in milliseconds since _TPM_Init
    Until(u64),
}

structure! {
    /// One timer.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Act {
        countdown: Countdown,
        /// TPMA_ACT.signaled
        signaled: bool,
        /// TPMA_ACT.preserveSignaled: it was signaled before _TPM_Init
        preserved: bool,
        /// TPM2_ACT_SetTimeout was executed since TPM2_Startup
        updated: bool,
    }
}

/// In the state of the TPM: 0, 1, or 2 with the time.
impl Marshal for Countdown {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Self::Stopped => w.put(&[0]),
            Self::Endless => w.put(&[1]),
            Self::Until(end) => {
                w.put(&[2]);
                end.marshal(w);
            }
        }
    }
}

impl Unmarshal<'_> for Countdown {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u8>()? {
            0 => Ok(Self::Stopped),
            1 => Ok(Self::Endless),
            2 => r.get().map(Self::Until),
            _ => Err(Fmt1::VALUE),
        }
    }
}

structure! {
    /// What TPM2_Shutdown(STATE) keeps of a timer.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct SavedAct {
        remaining_s: u32,
        signaled: bool,
    }
}

impl SavedAct {
    /// Neither runs nor signals.
    pub(crate) const NONE: Self = Self { remaining_s: 0, signaled: false };
}

impl Act {
    const STOPPED: Self = Self { countdown: Countdown::Stopped, signaled: false, preserved: false, updated: false };

    /// Seconds that remain, those that have begun included.
    pub(crate) fn remaining_s(&self, now_ms: u64) -> u32 {
        match self.countdown {
            Countdown::Stopped => 0,
            Countdown::Endless => ENDLESS,
            Countdown::Until(end) => {
                u32::try_from(end.saturating_sub(now_ms).div_ceil(SECOND_MS)).unwrap_or(ENDLESS - 1)
            }
        }
    }

    /// TPMA_ACT (Part 2, 8.12).
    pub(crate) const fn attributes(&self) -> u32 {
        self.signaled as u32 | (self.preserved as u32) << 1
    }

    /// TPM2_ACT_SetTimeout: zero lets a running timer expire now; anything else ends the signal.
    pub(crate) fn set(&mut self, timeout_s: u32, now_ms: u64) {
        self.updated = true;
        self.preserved = false;
        if timeout_s == 0 {
            self.signaled |= self.countdown != Countdown::Stopped;
            self.countdown = Countdown::Stopped;
        } else {
            self.signaled = false;
            self.start(timeout_s, now_ms);
        }
    }

    fn start(&mut self, timeout_s: u32, now_ms: u64) {
        self.countdown = match timeout_s {
            0 => Countdown::Stopped,
            ENDLESS => Countdown::Endless,
            s => Countdown::Until(now_ms.saturating_add(u64::from(s) * SECOND_MS)),
        };
    }

    fn tick(&mut self, now_ms: u64) {
        if matches!(self.countdown, Countdown::Until(end) if end <= now_ms) {
            self.countdown = Countdown::Stopped;
            self.signaled = true;
        }
    }

    /// What to keep: half the time if the timer was not set since TPM2_Startup, so that saving early and often gains
    /// nothing.
    fn save(&self, now_ms: u64) -> SavedAct {
        let remaining_s = match self.remaining_s(now_ms) {
            s if s > 1 && s != ENDLESS && !self.updated => s / 2,
            s => s,
        };
        SavedAct { remaining_s, signaled: self.signaled }
    }
}

/// All timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Acts(pub(crate) [Act; COUNT]);

impl Acts {
    /// None runs or signals.
    pub(crate) const fn new() -> Self {
        Self([Act::STOPPED; COUNT])
    }

    /// After the _TPM_Init that follows a start: stopped, and remembering what was signaled. TPM Resume alone keeps
    /// that (Part 2, 8.12).
    pub(crate) fn after_init(&self) -> Self {
        Self(self.0.map(|act| Act { preserved: act.signaled, ..Act::STOPPED }))
    }

    /// The timer at this position.
    pub(crate) fn get(&self, position: usize) -> Option<&Act> {
        self.0.get(position)
    }

    /// The timer at this position.
    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut Act> {
        self.0.get_mut(position)
    }

    /// Every timer with its handle.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Act)> {
        ACTS.iter().map(|n| Handle::act(*n)).zip(&self.0)
    }

    /// It is now that late.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.0.iter_mut().for_each(|act| act.tick(now_ms));
    }

    /// TPM2_Shutdown(STATE).
    pub(crate) fn save(&self, now_ms: u64) -> [SavedAct; COUNT] {
        self.0.map(|act| act.save(now_ms))
    }

    /// TPM Resume: timers go on, and one that had expired signals.
    pub(crate) fn resume(&mut self, saved: &[SavedAct; COUNT], now_ms: u64) {
        for (act, saved) in self.0.iter_mut().zip(saved) {
            act.start(saved.remaining_s, now_ms);
            act.signaled = saved.signaled && saved.remaining_s == 0;
        }
    }
}

impl Act {
    /// Whether it signals.
    pub(crate) const fn is_signaled(&self) -> bool {
        self.signaled
    }
}
