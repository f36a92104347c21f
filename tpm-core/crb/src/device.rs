//! The device: what each access does.

use crate::config::{Buffers, Config, ConfigError, Execution};
use crate::engine::{Engine, Memory};
use crate::locality::{HARDWARE, Localities};
use crate::registers::{self as reg, DATA_BUFFER, DATA_BUFFER_SIZE, PAGE};
use crate::state::{Event, Seen, State, next};
use tpm_core::Locality;
use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_RESPONSE_SIZE};
use zeroize::Zeroize;

/// Octets of a command's or response's header.
const HEADER: usize = 10;
const _: () = assert!(MAX_COMMAND_SIZE == MAX_RESPONSE_SIZE);

/// Octets, of which the first `length` are in use and the others zeros.
pub(crate) struct Buffer {
    pub(crate) octets: [u8; MAX_COMMAND_SIZE],
    pub(crate) length: usize,
}

impl Buffer {
    const EMPTY: Self = Self { octets: [0; MAX_COMMAND_SIZE], length: 0 };

    pub(crate) fn used(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    fn wipe(&mut self) {
        if let Some(used) = self.octets.get_mut(..self.length) {
            used.zeroize();
        }
        self.length = 0;
    }

    /// Writes what fits below `limit`.
    fn write(&mut self, at: usize, data: &[u8], limit: usize) {
        let end = at.saturating_add(data.len()).min(limit).min(MAX_COMMAND_SIZE);
        if let Some(room) = self.octets.get_mut(at..end) {
            room.iter_mut().zip(data).for_each(|(to, octet)| *to = *octet);
            self.length = self.length.max(end);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

/// Whose turn it is with a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// Nobody's.
    Nothing,
    /// It waits for the engine.
    Waiting,
    /// The engine has it.
    Taken,
    /// The engine has it, and nobody wants the response.
    Abandoned,
}

/// Whether a write has left something to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Written {
    /// Nothing.
    Done,
    /// A command waits for [`CrbDevice::poll`] or [`CrbDevice::begin`].
    Pending,
}

/// A command that the engine is to execute.
pub struct Pending<'a> {
    /// The locality that has written it.
    pub locality: Locality,
    /// Its octets.
    pub command: &'a [u8],
    /// The host has cancelled it before it was begun.
    pub canceled: bool,
}

/// A TPM's Command Response Buffer interface. It has some 16 KiB, without a heap.
pub struct CrbDevice {
    pub(crate) config: Config,
    pub(crate) state: State,
    pub(crate) localities: Localities,
    /// A D-RTM sequence has ended: tpmEstablished is clear.
    pub(crate) launched: bool,
    /// Between _TPM_Hash_Start and _TPM_Hash_End.
    pub(crate) hashing: bool,
    /// A response could not be given: tpmSts, until the reset.
    pub(crate) fatal: bool,
    /// What TPM_CRB_CTRL_CANCEL reads.
    pub(crate) cancel: bool,
    /// The command that waits was cancelled.
    pub(crate) stopped: bool,
    /// cmdReady waits for the end of a command that was abandoned.
    pub(crate) ready_awaited: bool,
    pub(crate) work: Work,
    /// Where in command or response the data buffer begins: chunks before it are through.
    pub(crate) window: usize,
    pub(crate) command: Buffer,
    pub(crate) response: Buffer,
}

impl CrbDevice {
    /// A device as after a reset, in a platform without a D-RTM sequence.
    ///
    /// # Errors
    /// Each of [`ConfigError`].
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            state: State::Idle,
            localities: Localities::default(),
            launched: false,
            hashing: false,
            fatal: false,
            cancel: false,
            stopped: false,
            ready_awaited: false,
            work: Work::Nothing,
            window: 0,
            command: Buffer::EMPTY,
            response: Buffer::EMPTY,
        })
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where a command is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The locality that has the TPM.
    #[must_use]
    pub fn active_locality(&self) -> Option<Locality> {
        self.localities.active.and_then(Locality::new)
    }

    /// Whether the device answers at this guest-physical address.
    #[must_use]
    pub fn is_at(&self, address: u64) -> bool {
        address.checked_sub(self.config.base).is_some_and(|offset| offset < self.config.octets().into())
    }

    /// The platform was reset: all is forgotten but tpmEstablished. The engine's reset (`Tpm::init`) is the embedder's.
    pub fn reset(&mut self, engine: &mut impl Engine) {
        self.abandon(engine);
        self.localities = Localities::default();
        self.hashing = false;
        self.fatal = false;
    }

    /// The locality and the offset in its page of an access of `length` octets, if all of it lies there.
    fn place(&self, address: u64, length: usize) -> Option<(u8, usize)> {
        let offset = usize::try_from(address.checked_sub(self.config.base)?).ok()?;
        let locality = u8::try_from(offset / PAGE).ok().filter(|n| *n < self.config.localities.count())?;
        (offset % PAGE).checked_add(length).filter(|end| *end <= PAGE).map(|_| (locality, offset % PAGE))
    }

    /// A read at a guest-physical address, of any width. Where there is no device, or only for part of it, octets are
    /// ones.
    pub fn read(&self, address: u64, out: &mut [u8]) {
        let Some((locality, offset)) = self.place(address, out.len()) else {
            out.fill(0xff);
            return;
        };
        for (at, octet) in (offset..).zip(out) {
            *octet = match at.checked_sub(DATA_BUFFER.into()) {
                Some(at) => self.data(locality, at),
                None => {
                    let register = self.register(locality, u16::try_from(at & !3).unwrap_or(u16::MAX));
                    register.to_le_bytes().get(at & 3).copied().unwrap_or_default()
                }
            };
        }
    }

    fn register(&self, locality: u8, register: u16) -> u32 {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let (command, response) = self.config.areas();
        match register {
            reg::LOC_STATE => {
                reg::REG_VALID
                    | flag(!self.launched, reg::TPM_ESTABLISHED)
                    | flag(self.localities.active.is_some(), reg::LOC_ASSIGNED)
                    | u32::from(self.localities.active.unwrap_or(0)) << reg::ACTIVE_LOCALITY
            }
            reg::LOC_STS => {
                flag(self.localities.has(locality), reg::GRANTED)
                    | flag(self.localities.was_seized(locality), reg::BEEN_SEIZED)
            }
            reg::DATA_CSUM_ENABLE | reg::DATA_CSUM => reg::NO_CHECKSUM,
            reg::INTF_ID => self.interface(),
            reg::INTF_ID_HIGH => u32::from(self.config.identity.device) << 16 | u32::from(self.config.identity.vendor),
            reg::CTRL_REQ => flag(self.ready_awaited, reg::CMD_READY),
            reg::CTRL_STS => flag(self.fatal, reg::TPM_STS) | flag(self.state == State::Idle, reg::TPM_IDLE),
            reg::CTRL_CANCEL => flag(self.cancel, reg::CANCEL),
            reg::CTRL_START => flag(self.state == State::Execution, reg::START),
            reg::CMD_SIZE => command.size,
            reg::CMD_LADDR => low(command.address),
            reg::CMD_HADDR => high(command.address),
            reg::RSP_SIZE => response.size,
            reg::RSP_ADDR => low(response.address),
            reg::RSP_ADDR_HIGH => high(response.address),
            // LOC_CTRL, which is for writing; interrupts, of which there are none; what is reserved.
            _ => 0,
        }
    }

    fn interface(&self) -> u32 {
        let localities = if self.config.localities.count() > 1 { reg::CAP_LOCALITY } else { 0 };
        let chunks = if self.config.buffers == Buffers::Chunks { reg::CAP_CHUNK } else { 0 };
        reg::INTERFACE_TYPE_CRB
            | self.config.version.number() << reg::INTERFACE_VERSION
            | localities
            | reg::CAP_IDLE_BYPASS
            | chunks
            | reg::CAP_XFER_64
            | reg::CAP_CRB
            | reg::SELECTOR_CRB
            | reg::SELECTOR_LOCKED
            | u32::from(self.config.identity.revision) << reg::REVISION
    }

    /// An octet of the data buffer: the command's before START, the response's after; nobody else's.
    fn data(&self, locality: u8, at: usize) -> u8 {
        if !self.localities.has(locality) {
            return 0xff;
        }
        let of = |buffer: &Buffer| buffer.used().get(self.window.saturating_add(at)).copied().unwrap_or_default();
        match self.state {
            State::Reception => of(&self.command),
            State::Completion if self.seen() == Seen::Each => of(&self.response),
            _ => 0,
        }
    }

    fn seen(&self) -> Seen {
        match self.config.buffers {
            Buffers::Page | Buffers::Chunks => Seen::Each,
            Buffers::Guest { .. } => Seen::Nothing,
        }
    }

    /// A write at a guest-physical address, of any width. A register counts as written when its first octet is; octets
    /// that are not among what is written are zeros. Where the whole has no place, nothing happens.
    pub fn write(&mut self, engine: &mut impl Engine, memory: &mut impl Memory, address: u64, data: &[u8]) -> Written {
        if let Some((locality, offset)) = self.place(address, data.len()) {
            let (registers, buffer) = data.split_at(usize::from(DATA_BUFFER).saturating_sub(offset).min(data.len()));
            for skip in (0..registers.len()).filter(|skip| offset.wrapping_add(*skip).is_multiple_of(4)) {
                let register = u16::try_from(offset.wrapping_add(skip)).unwrap_or(u16::MAX);
                let mut value = [0; 4];
                value.iter_mut().zip(registers.iter().skip(skip)).for_each(|(to, octet)| *to = *octet);
                self.write_register(engine, memory, locality, register, u32::from_le_bytes(value));
            }
            if !buffer.is_empty() {
                self.write_data(locality, offset.saturating_sub(DATA_BUFFER.into()), buffer);
            }
        }
        if self.work == Work::Waiting { Written::Pending } else { Written::Done }
    }

    fn write_register(
        &mut self,
        engine: &mut impl Engine,
        memory: &mut impl Memory,
        locality: u8,
        register: u16,
        value: u32,
    ) {
        if register == reg::LOC_CTRL {
            self.control_locality(engine, locality, value);
        } else if self.localities.has(locality) && !self.hashing {
            match register {
                reg::CTRL_REQ => self.request(value),
                reg::CTRL_CANCEL => self.cancel(engine, value),
                reg::CTRL_START => self.start(engine, memory, value),
                _ => (),
            }
        }
    }

    /// One of the bits; several at once, or none, are ignored.
    fn control_locality(&mut self, engine: &mut impl Engine, locality: u8, value: u32) {
        match (locality, value & 0xf) {
            (HARDWARE, reg::HASH_START) => self.hash_start(engine),
            (HARDWARE, reg::HASH_DATA) => {
                let Self { hashing: true, command, .. } = self else { return };
                engine.hash_data(command.used());
                command.wipe();
            }
            (HARDWARE, reg::HASH_END) => self.hash_end(engine),
            (3 | HARDWARE, reg::RESET_ESTABLISHMENT) => self.launched = false,
            (0..HARDWARE, reg::REQUEST_ACCESS) => self.localities.request(locality),
            (0..HARDWARE, reg::RELINQUISH) => {
                if self.localities.has(locality) {
                    self.abandon(engine);
                }
                self.localities.relinquish(locality);
            }
            (0..HARDWARE, reg::SEIZE) if self.localities.can_seize(locality) => {
                self.abandon(engine);
                self.localities.seize(locality);
            }
            _ => (),
        }
    }

    /// Another locality's turn: nothing is left of the last one's.
    fn abandon(&mut self, engine: &mut impl Engine) {
        self.work = match self.work {
            Work::Nothing | Work::Waiting => Work::Nothing,
            Work::Taken => {
                engine.cancel();
                Work::Abandoned
            }
            Work::Abandoned => Work::Abandoned,
        };
        self.ready_awaited = false;
        self.enter(State::Idle);
    }

    /// A state that begins with empty buffers.
    fn enter(&mut self, state: State) {
        self.state = state;
        self.window = 0;
        self.cancel = false;
        self.stopped = false;
        self.command.wipe();
        self.response.wipe();
    }

    /// cmdReady or goIdle; both at once are ignored.
    fn request(&mut self, value: u32) {
        let (event, ready) = match value & (reg::CMD_READY | reg::GO_IDLE) {
            reg::CMD_READY => (Event::CmdReady, true),
            reg::GO_IDLE => (Event::GoIdle, false),
            _ => return,
        };
        // The engine is still at the command of a locality that is gone.
        if self.work == Work::Abandoned {
            self.ready_awaited = ready;
        } else if let Some(state) = next(self.state, event, self.seen()) {
            self.enter(state);
        }
    }

    fn cancel(&mut self, engine: &mut impl Engine, value: u32) {
        if value == 0 {
            self.cancel = false;
        } else if value == reg::CANCEL && next(self.state, Event::Cancel, self.seen()).is_some() {
            self.cancel = true;
            if self.work == Work::Taken {
                engine.cancel();
            } else {
                self.stopped = true;
            }
        }
    }

    /// Start, nextChunk or crbRspRetry; several at once are ignored.
    fn start(&mut self, engine: &mut impl Engine, memory: &mut impl Memory, value: u32) {
        let chunks = self.config.buffers == Buffers::Chunks;
        let event = match value & (reg::START | reg::RSP_RETRY | reg::NEXT_CHUNK) {
            reg::START if !self.fatal => Event::Start,
            reg::RSP_RETRY if chunks => Event::Retry,
            reg::NEXT_CHUNK if chunks => Event::NextChunk,
            _ => return,
        };
        let Some(state) = next(self.state, event, self.seen()) else { return };
        match event {
            Event::Start => self.execute(engine, memory),
            Event::Retry => self.window = 0,
            _ => {
                let end = if state == State::Reception { MAX_COMMAND_SIZE } else { self.response.length };
                let chunk = self.window.saturating_add(DATA_BUFFER_SIZE);
                if chunk < end {
                    self.window = chunk;
                }
            }
        }
    }

    fn write_data(&mut self, locality: u8, at: usize, data: &[u8]) {
        if !self.localities.has(locality) || self.seen() == Seen::Nothing {
            return;
        }
        if !self.hashing {
            let Some(state) = next(self.state, Event::Data, self.seen()) else { return };
            if self.state == State::Completion {
                self.enter(State::Ready);
            }
            self.state = state;
        }
        self.command.write(self.window.saturating_add(at), data, self.config.buffer_size());
    }

    /// START: the command is what is in the buffer, as long as its header says, and no longer than what was sent.
    fn execute(&mut self, engine: &mut impl Engine, memory: &mut impl Memory) {
        self.state = State::Execution;
        self.work = Work::Waiting;
        self.cancel = false;
        self.stopped = false;
        let mut sent = self.window.saturating_add(DATA_BUFFER_SIZE).min(self.config.buffer_size());
        if let Buffers::Guest { command, .. } = self.config.buffers {
            sent = usize::try_from(command.size).unwrap_or(MAX_COMMAND_SIZE).min(MAX_COMMAND_SIZE);
            let room = self.command.octets.get_mut(..sent).unwrap_or_default();
            self.command.length = sent;
            if memory.read(command.address, room).is_err() {
                self.fail();
                return;
            }
        }
        let length = size(&self.command.octets).min(sent).max(HEADER);
        if let Some(beyond) = self.command.octets.get_mut(length..self.command.length.max(length)) {
            beyond.zeroize();
        }
        self.command.length = length;
        self.window = 0;
        if self.config.execution == Execution::AtOnce {
            self.poll(engine, memory);
        }
    }

    /// The response cannot be had.
    fn fail(&mut self) {
        self.enter(State::Completion);
        self.work = Work::Nothing;
        self.fatal = true;
    }

    /// Executes the command that waits, if one does.
    pub fn poll(&mut self, engine: &mut impl Engine, memory: &mut impl Memory) {
        if self.work != Work::Waiting {
            return;
        }
        let locality = self.active_locality().unwrap_or_default();
        if self.stopped {
            engine.cancel();
        }
        self.response.length = MAX_RESPONSE_SIZE;
        let length = engine.execute(locality, self.command.used(), &mut self.response.octets);
        self.work = Work::Taken;
        self.answer(memory, length);
    }

    /// The command that waits, if one does, for an engine in another thread or processor: it copies the command. Until
    /// [`CrbDevice::finish`] the device goes on answering; [`Engine::cancel`] reaches the engine there.
    pub fn begin(&mut self) -> Option<Pending<'_>> {
        if self.work != Work::Waiting {
            return None;
        }
        self.work = Work::Taken;
        let locality = self.active_locality().unwrap_or_default();
        Some(Pending { locality, command: self.command.used(), canceled: self.stopped })
    }

    /// The response to the command of [`CrbDevice::begin`]. If another locality has the TPM meanwhile, nobody sees it.
    /// Without a command nothing happens.
    pub fn finish(&mut self, memory: &mut impl Memory, response: &[u8]) {
        match self.work {
            Work::Nothing | Work::Waiting => (),
            Work::Taken => {
                self.response.write(0, response, MAX_RESPONSE_SIZE);
                self.answer(memory, response.len());
            }
            Work::Abandoned => {
                self.work = Work::Nothing;
                if self.ready_awaited {
                    self.ready_awaited = false;
                    self.enter(State::Ready);
                }
            }
        }
    }

    /// There is a response of this length.
    fn answer(&mut self, memory: &mut impl Memory, length: usize) {
        let (_, area) = self.config.areas();
        if !(HEADER..=self.config.buffer_size()).contains(&length) {
            self.fail();
            return;
        }
        if let Some(beyond) = self.response.octets.get_mut(length..self.response.length.max(length)) {
            beyond.zeroize();
        }
        self.response.length = length;
        self.command.wipe();
        if self.seen() == Seen::Nothing {
            if memory.write(area.address, self.response.used()).is_err() {
                self.fail();
                return;
            }
            self.response.wipe();
        }
        self.work = Work::Nothing;
        self.window = 0;
        self.stopped = false;
        if let Some(state) = next(self.state, Event::Answer, self.seen()) {
            self.state = state;
        }
    }

    /// _TPM_Hash_Start, from the platform or by TPM_LOC_CTRL_4: locality 4 takes the TPM from whoever has it.
    pub fn hash_start(&mut self, engine: &mut impl Engine) {
        self.abandon(engine);
        self.localities.seize(HARDWARE);
        self.hashing = true;
        engine.hash_start();
    }

    /// _TPM_Hash_Data from the platform; through registers it is what was written to the data buffer of locality 4,
    /// from its first octet to the last that was written.
    pub fn hash_data(&mut self, engine: &mut impl Engine, data: &[u8]) {
        if self.hashing {
            engine.hash_data(data);
        }
    }

    /// _TPM_Hash_End, from the platform or by TPM_LOC_CTRL_4: tpmEstablished is clear after it, and locality 4 has the
    /// TPM no longer.
    pub fn hash_end(&mut self, engine: &mut impl Engine) {
        if self.hashing {
            self.hashing = false;
            self.launched |= engine.hash_end();
            self.abandon(engine);
            self.localities.relinquish(HARDWARE);
        }
    }
}

/// commandSize, which may be anything.
fn size(command: &[u8; MAX_COMMAND_SIZE]) -> usize {
    let [_, _, a, b, c, d, ..] = *command;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
}

fn low(address: u64) -> u32 {
    let [a, b, c, d, ..] = address.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn high(address: u64) -> u32 {
    let [.., a, b, c, d] = address.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
