//! The device's state as octets: for a platform that moves, or replaces its program.
//!
//! Version 1, numbers with the least significant octet first: `QCRB`, version; the configuration that the guest has
//! seen; state, active locality (0xFF: none), localities that wait, that were seized; flags; where the window is, the
//! lengths of command and response, and their octets.

use crate::config::{Buffers, Config, Localities, Version};
use crate::device::{Buffer, CrbDevice, Work};
use crate::engine::Engine;
use crate::locality::{HARDWARE, Localities as Owners};
use crate::registers::DATA_BUFFER_SIZE;
use crate::state::State;
use core::fmt;
use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_RESPONSE_SIZE};

const MAGIC: [u8; 4] = *b"QCRB";
const VERSION: u8 = 1;
/// Octets of the configuration: base, localities, buffers, two areas, version, identity.
const CONFIG: usize = 8 + 1 + 1 + 2 * 12 + 1 + 5;
const FIXED: usize = MAGIC.len() + 1 + CONFIG + 4 + 1 + 2 * 3;
const NOBODY: u8 = 0xff;

/// A buffer of as many octets holds every state of a device.
pub const MAX_DEVICE_STATE_SIZE: usize = FIXED + MAX_COMMAND_SIZE + MAX_RESPONSE_SIZE;

/// Why a state is not taken, or not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StateError {
    /// The buffer is too short for it; [`MAX_DEVICE_STATE_SIZE`] is enough.
    Room,
    /// The engine is executing a command: it has to be finished before.
    Executing,
    /// These octets are no state of such a device.
    Magic,
    /// They are of another version.
    Version,
    /// The device of that state has another configuration: the guest would find another device.
    Config,
    /// There are fewer octets or more than the state says.
    Length,
    /// No device can have come into this state.
    Contents,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "the buffer is too short for the device's state",
            Self::Executing => "the engine is executing a command",
            Self::Magic => "this is no state of a CRB device",
            Self::Version => "the state is of another version",
            Self::Config => "the state is of a device with another configuration",
            Self::Length => "the state is longer or shorter than it says",
            Self::Contents => "no device can have this state",
        })
    }
}

impl core::error::Error for StateError {}

/// Writes one value behind the other.
struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, octets: &[u8]) -> Result<(), StateError> {
        let end = self.length.saturating_add(octets.len());
        let room = self.out.get_mut(self.length..end).ok_or(StateError::Room)?;
        room.iter_mut().zip(octets).for_each(|(to, octet)| *to = *octet);
        self.length = end;
        Ok(())
    }

    fn length(&mut self, length: usize) -> Result<(), StateError> {
        self.put(&u16::try_from(length).map_err(|_| StateError::Room)?.to_le_bytes())
    }
}

/// Takes one value behind the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(StateError::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        self.take(N)?.try_into().map_err(|_| StateError::Length)
    }

    fn length(&mut self) -> Result<usize, StateError> {
        Ok(u16::from_le_bytes(self.array()?).into())
    }
}

/// What of the configuration the guest has seen; when commands are executed is nothing that it sees.
fn config(config: &Config) -> Result<[u8; CONFIG], StateError> {
    let (command, response) = config.areas();
    let mut octets = [0; CONFIG];
    let mut writer = Writer { out: &mut octets, length: 0 };
    writer.put(&config.base.to_le_bytes())?;
    writer.put(&[match config.localities {
        Localities::Zero => 1,
        Localities::ZeroToThree => 4,
        Localities::All => 5,
    }])?;
    writer.put(&[match config.buffers {
        Buffers::Page => 0,
        Buffers::Chunks => 1,
        Buffers::Guest { .. } => 2,
    }])?;
    for area in [command, response] {
        writer.put(&area.address.to_le_bytes())?;
        writer.put(&area.size.to_le_bytes())?;
    }
    writer.put(&[match config.version {
        Version::One => 1,
        Version::Two => 2,
        Version::Three => 3,
    }])?;
    writer.put(&config.identity.vendor.to_le_bytes())?;
    writer.put(&config.identity.device.to_le_bytes())?;
    writer.put(&[config.identity.revision])?;
    Ok(octets)
}

const STATES: [State; 5] = [State::Idle, State::Ready, State::Reception, State::Execution, State::Completion];

impl CrbDevice {
    fn flags(&self) -> [bool; 5] {
        [self.launched, self.hashing, self.fatal, self.cancel, self.stopped]
    }

    /// Writes the state of the device, and gives its length; the engine's is apart. A command that waits for the engine
    /// is in it. It holds what commands and responses hold, secrets among them.
    ///
    /// # Errors
    /// [`StateError::Room`], [`StateError::Executing`].
    pub fn save(&self, out: &mut [u8]) -> Result<usize, StateError> {
        if matches!(self.work, Work::Taken | Work::Abandoned) {
            return Err(StateError::Executing);
        }
        let mut writer = Writer { out, length: 0 };
        writer.put(&MAGIC)?;
        writer.put(&[VERSION])?;
        writer.put(&config(&self.config)?)?;
        let state = STATES.iter().position(|state| *state == self.state).and_then(|n| u8::try_from(n).ok());
        let Self { localities, .. } = self;
        writer.put(&[
            state.unwrap_or_default(),
            localities.active.unwrap_or(NOBODY),
            localities.waiting,
            localities.seized,
        ])?;
        writer.put(&[self.flags().iter().rev().fold(0, |flags, flag| flags << 1 | u8::from(*flag))])?;
        writer.length(self.window)?;
        writer.length(self.command.length)?;
        writer.length(self.response.length)?;
        writer.put(self.command.used())?;
        writer.put(self.response.used())?;
        Ok(writer.length)
    }

    /// Takes a state that [`CrbDevice::save`] gave, of a device with this one's configuration. The engine goes by what
    /// it was when the device was saved.
    ///
    /// # Errors
    /// [`StateError::Executing`] if the engine is at a command of this device, and each of the rest but
    /// [`StateError::Room`]: this is as it was then.
    pub fn restore(&mut self, state: &[u8], engine: &mut impl Engine) -> Result<(), StateError> {
        if matches!(self.work, Work::Taken | Work::Abandoned) {
            return Err(StateError::Executing);
        }
        let saved = Saved::read(state, &self.config)?;
        self.reset(engine);
        [self.launched, self.hashing, self.fatal, self.cancel, self.stopped] = saved.flags;
        self.state = saved.state;
        self.localities = saved.localities;
        self.window = saved.window;
        self.work = if saved.state == State::Execution { Work::Waiting } else { Work::Nothing };
        self.command.set(saved.command);
        self.response.set(saved.response);
        Ok(())
    }
}

impl Buffer {
    fn set(&mut self, octets: &[u8]) {
        self.octets.fill(0);
        self.octets.iter_mut().zip(octets).for_each(|(to, octet)| *to = *octet);
        self.length = octets.len();
    }
}

/// A state that was read, and can be.
struct Saved<'a> {
    state: State,
    localities: Owners,
    flags: [bool; 5],
    window: usize,
    command: &'a [u8],
    response: &'a [u8],
}

impl<'a> Saved<'a> {
    fn read(octets: &'a [u8], of: &Config) -> Result<Self, StateError> {
        let mut reader = Reader(octets);
        if reader.array().ok() != Some(MAGIC) {
            return Err(StateError::Magic);
        }
        if reader.array()? != [VERSION] {
            return Err(StateError::Version);
        }
        if reader.array()? != config(of)? {
            return Err(StateError::Config);
        }
        let [state, active, waiting, seized] = reader.array()?;
        let [flags] = reader.array()?;
        let (window, command, response) = (reader.length()?, reader.length()?, reader.length()?);
        let (command, response) = (reader.take(command)?, reader.take(response)?);
        if !reader.0.is_empty() {
            return Err(StateError::Length);
        }
        let state = STATES.get(usize::from(state)).copied().ok_or(StateError::Contents)?;
        let active = (active != NOBODY).then_some(active);
        let localities = Owners { active, waiting, seized };
        let bits = [1, 2, 4, 8, 16].map(|bit| flags & bit != 0);
        let saved = Self { state, localities, flags: bits, window, command, response };
        if flags < 1 << bits.len() && saved.is_possible(of) { Ok(saved) } else { Err(StateError::Contents) }
    }

    fn is_possible(&self, of: &Config) -> bool {
        self.has_possible_localities(of) && self.has_possible_buffers(of)
    }

    fn has_possible_localities(&self, of: &Config) -> bool {
        let Owners { active, waiting, seized } = self.localities;
        let [_, hashing, ..] = self.flags;
        // By software; the fourth has it amid a D-RTM sequence, and then alone.
        let count = of.localities.count().min(HARDWARE);
        let all = 0xffu8.checked_shr(u32::from(8 - count)).unwrap_or(0);
        let has_it = match active {
            None => waiting == 0 && !hashing && self.state == State::Idle,
            Some(HARDWARE) => hashing && self.state == State::Idle,
            Some(active) => !hashing && active < count && (waiting | seized) & 1 << active == 0,
        };
        has_it && (waiting | seized) & !all == 0
    }

    fn has_possible_buffers(&self, of: &Config) -> bool {
        let (command, response) = (self.command.len(), self.response.len());
        let [_, hashing, fatal, cancel, stopped] = self.flags;
        let most = of.buffer_size();
        let guest = matches!(of.buffers, Buffers::Guest { .. });
        let whole = self.window.is_multiple_of(DATA_BUFFER_SIZE);
        let fits = match self.state {
            State::Idle if hashing => response == 0 && self.window == 0 && command <= if guest { 0 } else { most },
            State::Idle | State::Ready => (command, response, self.window) == (0, 0, 0),
            State::Reception => {
                !guest
                    && response == 0
                    && whole
                    && (1..=most).contains(&command)
                    && self.window < most
                    && (self.window == 0 || of.buffers == Buffers::Chunks)
            }
            State::Execution => (10..=MAX_COMMAND_SIZE).contains(&command) && response == 0 && self.window == 0,
            State::Completion if guest || response == 0 => {
                (command, response, self.window) == (0, 0, 0) && (guest || fatal)
            }
            State::Completion => {
                command == 0
                    && (10..=most).contains(&response)
                    && whole
                    && self.window < response
                    && (self.window == 0 || of.buffers == Buffers::Chunks)
            }
        };
        let canceled = !stopped || self.state == State::Execution;
        let register = !cancel || matches!(self.state, State::Execution | State::Completion);
        fits && canceled && register
    }
}
