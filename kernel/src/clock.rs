//! The TPM's clock: the TSC, and its frequency.
//!
//! With Secure TSC (SEV_STATUS bit 11) counter and frequency are the CPU's, and the host cannot change them. Without it
//! the counter is the host's to speed up or freeze, and with it the healing of dictionary-attack lockout (TM-01): that
//! needs hardware, and is said in SECURITY.md. All that the firmware can do then is to never go back, and to take no
//! frequency that no such CPU has.

use snp::ghcb::call::Width;
use snp::ghcb::{Ghcb, GhcbError, Hypervisor, SharedMemory};
use tpm_core::Clock;

/// Taken where the frequency cannot be found out: 5 GHz, faster than any such CPU, so that the clock is slow rather
/// than fast.
pub const ASSUMED_KHZ: u64 = 5_000_000;
/// Frequencies that are believed.
const PLAUSIBLE_KHZ: core::ops::RangeInclusive<u64> = 500_000..=6_000_000;

/// Milliseconds from a counter of known frequency, which never go back.
pub struct TickClock<F> {
    ticks: F,
    khz: u64,
    start: u64,
    last_ms: u64,
}

impl<F: FnMut() -> u64> TickClock<F> {
    /// A clock that starts at 0 now. A frequency that is not plausible is replaced by [`ASSUMED_KHZ`].
    pub fn new(mut ticks: F, khz: Option<u64>) -> TickClock<F> {
        let khz = khz.filter(|khz| PLAUSIBLE_KHZ.contains(khz)).unwrap_or(ASSUMED_KHZ);
        let start = ticks();
        TickClock { ticks, khz, start, last_ms: 0 }
    }

    /// The frequency that the clock goes by.
    pub fn khz(&self) -> u64 {
        self.khz
    }
}

impl<F: FnMut() -> u64> Clock for TickClock<F> {
    fn now_ms(&mut self) -> u64 {
        let passed = (self.ticks)().saturating_sub(self.start) / self.khz;
        self.last_ms = self.last_ms.max(passed);
        self.last_ms
    }
}

/// 8-bit I/O ports.
pub trait Ports {
    /// IN.
    fn input(&mut self, port: u16) -> Result<u8, GhcbError>;
    /// OUT.
    fn output(&mut self, port: u16, value: u8) -> Result<(), GhcbError>;
}

impl<H: Hypervisor, P: SharedMemory> Ports for Ghcb<H, P> {
    fn input(&mut self, port: u16) -> Result<u8, GhcbError> {
        let [value, ..] = self.io_in(port, Width::Byte)?.to_le_bytes();
        Ok(value)
    }

    fn output(&mut self, port: u16, value: u8) -> Result<(), GhcbError> {
        self.io_out(port, Width::Byte, value.into())
    }
}

/// The interval timer (8254): channel 2, command register, and the system control port with the channel's gate (bit 0)
/// and output (bit 5).
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
const CONTROL: u16 = 0x61;
const GATE: u8 = 1;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;
/// Channel 2, both bytes, mode 0: the output rises when the count is over.
const ONE_SHOT: u8 = 0b1011_0000;
/// Counts in 20 ms, at 1.193182 MHz.
const COUNT: u16 = 23_864;
const COUNT_MS: u64 = 20;
/// Polls before the timer is taken for missing.
const PATIENCE: u32 = 100_000;

/// Measures the counter against the interval timer, in kHz. Both are the host's word; `None` if there is no timer.
pub fn measure_khz(ports: &mut impl Ports, mut ticks: impl FnMut() -> u64) -> Option<u64> {
    let [low, high] = COUNT.to_le_bytes();
    let control = ports.input(CONTROL).ok()?;
    ports.output(CONTROL, control & !SPEAKER | GATE).ok()?;
    ports.output(COMMAND, ONE_SHOT).ok()?;
    ports.output(CHANNEL_2, low).ok()?;
    ports.output(CHANNEL_2, high).ok()?;
    let start = ticks();
    let over = (0..PATIENCE).any(|_| ports.input(CONTROL).is_ok_and(|control| control & OUTPUT != 0));
    let passed = ticks().checked_sub(start)?;
    ports.output(CONTROL, control).ok()?;
    over.then_some(passed / COUNT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_whatever_the_counter_does() {
        let khz = 1_000_000;
        let mut readings = [1, 3, 2, 0, 9, 0].into_iter().map(|ms| ms * khz);
        let mut clock = TickClock::new(|| readings.next().unwrap_or(u64::MAX), Some(khz));
        let times: [u64; 5] = core::array::from_fn(|_| clock.now_ms());
        assert_eq!(times, [2, 2, 2, 8, 8]);
    }

    #[test]
    fn a_frequency_that_no_cpu_has_is_not_believed() {
        for khz in [None, Some(0), Some(1000), Some(499_999), Some(6_000_001), Some(u64::MAX)] {
            assert_eq!(TickClock::new(|| 0, khz).khz(), ASSUMED_KHZ);
        }
        assert_eq!(TickClock::new(|| 0, Some(2_600_000)).khz(), 2_600_000);
    }

    /// A timer whose output rises after so many polls, or never.
    struct Timer {
        polls: u32,
        armed: [u8; 2],
        control: u8,
    }

    impl Ports for Timer {
        fn input(&mut self, port: u16) -> Result<u8, GhcbError> {
            assert_eq!(port, CONTROL);
            self.polls = self.polls.saturating_sub(u32::from(self.armed == COUNT.to_le_bytes()));
            Ok(self.control | if self.polls == 0 { OUTPUT } else { 0 })
        }

        fn output(&mut self, port: u16, value: u8) -> Result<(), GhcbError> {
            match port {
                CONTROL => self.control = value,
                CHANNEL_2 => self.armed = [self.armed[1], value],
                _ => assert_eq!((port, value), (COMMAND, ONE_SHOT)),
            }
            Ok(())
        }
    }

    #[test]
    fn the_counter_is_measured_while_the_timer_runs_and_the_port_is_put_back() {
        let mut timer = Timer { polls: 500, armed: [0; 2], control: 0x0c };
        let mut readings = [10, 52_000_010].into_iter();
        assert_eq!(measure_khz(&mut timer, || readings.next().unwrap()), Some(2_600_000));
        assert_eq!(timer.control, 0x0c);
    }

    #[test]
    fn without_a_timer_there_is_no_frequency() {
        let mut timer = Timer { polls: u32::MAX, armed: [0; 2], control: 0 };
        assert_eq!(measure_khz(&mut timer, || 0), None);
    }
}
