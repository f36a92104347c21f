//! A backend that records what it is asked, and what becomes of the machine before it.

use super::Machine;
use crate::{Backend, BufferSizes, Dialect, Record, StateBlob, Stop};
use anyhow::Result;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// What a backend was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Execute(u8, Vec<u8>),
    Reset,
    HashStart,
    HashData(Vec<u8>),
    HashEnd,
    PhysicalPresence(bool),
    Fail,
    SetState(StateBlob, Vec<u8>),
}

/// What was seen so far, and how often the platform has ended in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>, Arc<AtomicU32>);

impl Log {
    fn push(&self, seen: Seen) -> bool {
        self.0.lock().unwrap().push(seen);
        true
    }

    pub(crate) fn take_shut_downs(&self) -> u32 {
        self.1.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn take(&self) -> Vec<Seen> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Recorder(Log, u32);

impl Backend for Recorder {
    fn execute(&mut self, locality: u8, command: &[u8]) -> Result<Vec<u8>> {
        self.0.push(Seen::Execute(locality, command.to_vec()));
        Ok(b"ok".to_vec())
    }

    fn reset(&mut self) -> bool {
        self.0.push(Seen::Reset)
    }

    fn shut_down(&mut self) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }

    fn buffer_sizes(&self) -> BufferSizes {
        BufferSizes { now: self.1, least: 1024, most: 8192 }
    }

    fn set_buffer_size(&mut self, octets: u32) {
        self.1 = octets;
    }

    fn hash_start(&mut self) -> bool {
        self.0.push(Seen::HashStart)
    }

    fn hash_data(&mut self, data: &[u8]) -> bool {
        self.0.push(Seen::HashData(data.to_vec()))
    }

    fn hash_end(&mut self) -> bool {
        self.0.push(Seen::HashEnd)
    }

    fn set_physical_presence(&mut self, asserted: bool) -> bool {
        self.0.push(Seen::PhysicalPresence(asserted))
    }

    fn fail(&mut self) -> bool {
        self.0.push(Seen::Fail)
    }

    fn act_signaled(&mut self, act: u32) -> bool {
        act == 0x4000_0110
    }

    fn established(&mut self) -> bool {
        true
    }

    fn has_state(&self) -> bool {
        true
    }

    fn state(&mut self, blob: StateBlob) -> Result<Vec<u8>> {
        Ok(format!("state {blob:?}").into_bytes())
    }

    fn set_state(&mut self, blob: StateBlob, bytes: &[u8]) -> Result<()> {
        anyhow::ensure!(bytes != b"bad", "a bad state");
        self.0.push(Seen::SetState(blob, bytes.to_vec()));
        Ok(())
    }
}

/// A backend that records what it is asked.
pub(crate) fn recorder(log: &Log) -> Box<dyn Backend> {
    Box::new(Recorder(log.clone(), 8192))
}

/// A machine whose backend records what it is asked, and the record.
pub(crate) fn machine() -> (Machine, Log) {
    machine_of(None)
}

/// The same, where the dialect is told.
pub(crate) fn machine_of(dialect: Option<Dialect>) -> (Machine, Log) {
    let log = Log::default();
    (Machine::new(Box::new(Recorder(log.clone(), 8192)), None, dialect, Stop::default()), log)
}

/// A command from someone at the command port.
pub(crate) fn execute(machine: &Machine, command: &[u8]) -> Option<Vec<u8>> {
    let client = machine.enter(true);
    let response = machine.execute(client, None, command).unwrap();
    machine.leave(client);
    response
}

#[derive(Debug)]
struct FullDisk;

impl Record for FullDisk {
    fn record(&mut self, _locality: u8, _command: &[u8], _response: &[u8]) -> Result<()> {
        anyhow::bail!("no space left on device")
    }
}

#[test]
fn what_cannot_be_traced_is_answered() {
    let log = Log::default();
    let machine = Machine::new(recorder(&log), Some(Box::new(FullDisk)), None, Stop::default());
    for _ in 0..2 {
        assert_eq!(execute(&machine, b"x"), Some(b"ok".to_vec()));
    }
    assert_eq!(log.take().len(), 2);
}

/// `cargo xtask run`: there is no switch for the firmware's power.
struct Fixed;

impl Backend for Fixed {
    fn execute(&mut self, _locality: u8, _command: &[u8]) -> Result<Vec<u8>> {
        Ok(b"ok".to_vec())
    }

    fn can_power_off(&self) -> bool {
        false
    }

    fn buffer_sizes(&self) -> BufferSizes {
        BufferSizes { now: 4087, least: 4087, most: 4087 }
    }
}

/// A machine without that switch.
pub(crate) fn without_switch(dialect: Dialect) -> Machine {
    Machine::new(Box::new(Fixed), None, Some(dialect), Stop::default())
}

#[test]
fn a_refused_reset_or_power_off_changes_nothing() {
    let machine = without_switch(Dialect::Swtpm);
    assert!(machine.set_locality(3));
    assert!(!machine.init() && !machine.power_off());
    assert!(machine.power_on() && machine.is_powered());
    assert_eq!(execute(&machine, b"x"), Some(b"ok".to_vec()));
}
