//! A device with an engine that answers by a rule, memory that counts, and accesses by the names of registers.

use tpm_core::Locality;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_crb::registers::{
    CMD_READY, CTRL_REQ, CTRL_START, CTRL_STS, DATA_BUFFER, GO_IDLE, LOC_CTRL, LOC_STATE, LOC_STS, PAGE,
    REQUEST_ACCESS, START,
};
use tpm_crb::{
    Area, BASE, Buffers, Config, CrbDevice, Engine, Execution, Localities, Memory, MemoryFault, State, Written,
};

/// Where the buffers in guest memory are.
pub(crate) const COMMANDS: u64 = 0x10_0000;
pub(crate) const RESPONSES: u64 = 0x10_2000;

pub(crate) fn guest_buffers(size: u32) -> Buffers {
    Buffers::Guest { command: Area { address: COMMANDS, size }, response: Area { address: RESPONSES, size } }
}

/// Two octets of tag, the size, a code; then `body`.
pub(crate) fn message(code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(10 + body.len()).unwrap();
    [&[0x80, 0x01], size.to_be_bytes().as_slice(), &code.to_be_bytes(), body].concat()
}

/// Answers with what it was sent, the locality as its code; notes all that it is told.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) commands: Vec<(u8, Vec<u8>)>,
    pub(crate) cancels: usize,
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) ended: usize,
    /// Instead of the echo.
    pub(crate) response: Option<Vec<u8>>,
}

impl Engine for Echo {
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        assert_eq!(response.len(), MAX_RESPONSE_SIZE);
        self.commands.push((locality.get(), command.to_vec()));
        let echo = message(locality.get().into(), command.get(10..).unwrap_or_default());
        let answer = self.response.clone().unwrap_or(echo);
        for (to, octet) in response.iter_mut().zip(&answer) {
            *to = *octet;
        }
        answer.len()
    }

    fn cancel(&mut self) {
        self.cancels += 1;
    }

    fn hash_start(&mut self) {
        self.events.push(Vec::new());
    }

    fn hash_data(&mut self, data: &[u8]) {
        match self.events.last_mut() {
            Some(event) => event.extend(data),
            // One that began before the device was restored.
            None => self.events.push(data.to_vec()),
        }
    }

    fn hash_end(&mut self) -> bool {
        self.ended += 1;
        true
    }
}

/// Guest memory at the two buffers.
pub(crate) struct Ram {
    pub(crate) octets: Vec<u8>,
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    pub(crate) absent: bool,
}

impl Ram {
    fn range(&self, address: u64, length: usize) -> Result<core::ops::Range<usize>, MemoryFault> {
        let start = usize::try_from(address - COMMANDS).unwrap();
        if self.absent || start + length > self.octets.len() { Err(MemoryFault) } else { Ok(start..start + length) }
    }
}

impl Memory for Ram {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        self.reads += 1;
        out.copy_from_slice(&self.octets[self.range(address, out.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        self.writes += 1;
        let range = self.range(address, data.len())?;
        self.octets[range].copy_from_slice(data);
        Ok(())
    }
}

pub(crate) struct Rig {
    pub(crate) device: Box<CrbDevice>,
    pub(crate) engine: Echo,
    pub(crate) ram: Ram,
}

impl Rig {
    pub(crate) fn new(config: Config) -> Self {
        let ram = Ram { octets: vec![0; 0x4000], reads: 0, writes: 0, absent: false };
        Self { device: Box::new(CrbDevice::new(config).unwrap()), engine: Echo::default(), ram }
    }

    /// One of this kind, whose locality 0 has the TPM.
    pub(crate) fn owned(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.set(0, LOC_CTRL, REQUEST_ACCESS);
        assert_eq!(rig.get(0, LOC_STS), 1);
        rig
    }

    pub(crate) fn deferred(localities: Localities) -> Self {
        Self::owned(Config { localities, execution: Execution::Deferred, ..Config::default() })
    }

    pub(crate) fn read(&self, locality: u8, at: u16, length: usize) -> Vec<u8> {
        let mut out = vec![0x5a; length];
        self.device.read(BASE + u64::from(locality) * PAGE as u64 + u64::from(at), &mut out);
        out
    }

    pub(crate) fn write(&mut self, locality: u8, at: u16, data: &[u8]) -> Written {
        let address = BASE + u64::from(locality) * PAGE as u64 + u64::from(at);
        self.device.write(&mut self.engine, &mut self.ram, address, data)
    }

    pub(crate) fn get(&self, locality: u8, register: u16) -> u32 {
        u32::from_le_bytes(self.read(locality, register, 4).try_into().unwrap())
    }

    pub(crate) fn set(&mut self, locality: u8, register: u16, value: u32) {
        let _ = self.write(locality, register, &value.to_le_bytes());
    }

    pub(crate) fn poll(&mut self) {
        self.device.poll(&mut self.engine, &mut self.ram);
    }

    /// Brings the device into a state; a command of `body` is written on the way, by locality 0.
    pub(crate) fn bring(&mut self, state: State, body: &[u8]) {
        let guest = matches!(self.device.config().buffers, Buffers::Guest { .. });
        let command = message(0x1234, body);
        self.set(0, CTRL_REQ, GO_IDLE);
        if state != State::Idle {
            self.set(0, CTRL_REQ, CMD_READY);
        }
        if matches!(state, State::Reception | State::Execution | State::Completion) {
            if guest {
                self.ram.octets[..command.len()].copy_from_slice(&command);
            } else {
                let _ = self.write(0, DATA_BUFFER, &command);
            }
        }
        if matches!(state, State::Execution | State::Completion) {
            self.set(0, CTRL_START, START);
        }
        if state == State::Completion {
            self.poll();
        }
        assert_eq!(self.device.state(), state);
    }

    /// What registers say of the state: tpmIdle, Start.
    pub(crate) fn shown(&self) -> (bool, bool) {
        (self.get(0, CTRL_STS) & 2 != 0, self.get(0, CTRL_START) & 1 != 0)
    }

    /// locAssigned with activeLocality.
    pub(crate) fn active(&self) -> Option<u32> {
        let state = self.get(0, LOC_STATE);
        (state & 2 != 0).then_some(state >> 2 & 7)
    }
}
