//! A state disk as its owner sees it: opened on the host, by the key that the mock secure processor gives, which
//! everybody can make.

use anyhow::{Result, ensure};
use client::history;
use client::platform::{CountedEntropy, ManualClock};
use core::fmt;
use host::boot::Built;
use host::psp::{Identity, TCB};
use sealed::layout::ROOM;
use sealed::{BlockDevice, Found, Fresh, Refusal, Root, Roots, SECTOR, StateDisk, Writer};
use sha2::{Digest, Sha256};
use tpm_core::store::{MAX_RECORD_SIZE, Store, StoreError};
use tpm_core::{Hooks, Locality, Tpm};

/// There are no such octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond;

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("beyond the end of the disk")
    }
}

impl core::error::Error for Beyond {}

/// A disk in memory.
#[derive(Clone)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl Octets {
    fn at(&mut self, first: u64, length: usize) -> Result<&mut [u8], Beyond> {
        let at = usize::try_from(first).ok().and_then(|first| first.checked_mul(SECTOR));
        let range = at.and_then(|at| Some(at..at.checked_add(length)?));
        range.and_then(|range| self.0.get_mut(range)).ok_or(Beyond)
    }
}

impl BlockDevice for Octets {
    type Error = Beyond;

    fn sectors(&self) -> u64 {
        (self.0.len() / SECTOR) as u64
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), Beyond> {
        out.copy_from_slice(self.at(first, out.len())?);
        Ok(())
    }

    fn write(&mut self, first: u64, octets: &[u8]) -> Result<(), Beyond> {
        self.at(first, octets.len())?.copy_from_slice(octets);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Beyond> {
        Ok(())
    }
}

/// What the report of an image's boot says, on the mock chip.
pub(super) fn writer(built: &Built) -> Writer {
    let launch = &built.image.launch;
    Writer { measurement: launch.digest, policy: launch.policy, tcb: u64::from_le_bytes(TCB.to_bytes()) }
}

/// What the mock secure processor of this identity gives for a key of this VMPL (tests/machine/src/psp/answer.rs).
pub(super) fn chip_key(psp: &Identity, vmpl: u32, writer: &Writer) -> [u8; 32] {
    let wide = |value: u64| {
        let mut octets = [0; 48];
        octets[..8].copy_from_slice(&value.to_le_bytes());
        octets
    };
    Sha256::new()
        .chain_update(b"quoin mock derived key")
        .chain_update(psp.vcek_scalar)
        .chain_update(sealed::keys::FIELDS.to_le_bytes())
        .chain_update(vmpl.to_le_bytes())
        .chain_update(wide(writer.policy))
        .chain_update(writer.measurement)
        .chain_update(wide(0))
        .chain_update(wide(writer.tcb))
        .finalize()
        .into()
}

/// What is on a disk.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) epoch: u64,
    pub(super) identity: [u8; 32],
    /// of a TPM; nothing on a disk that is marked as empty
    pub(super) state: Option<Vec<u8>>,
}

/// Opens what is on a disk, by a key that is taken for the chip's. Nothing is written.
pub(super) fn open(disk: &mut Octets, writer: &Writer, key: [u8; 32]) -> Result<Record, Refusal<Beyond>> {
    let roots = Roots { chip: Root::new(key), share: None, recovery: None };
    let head = match sealed::disk::look(&mut *disk)? {
        Found::Empty => return Ok(Record { epoch: 0, identity: [0; 32], state: None }),
        Found::Record(head) => head,
    };
    // For a boot, which this is not.
    let fresh = Fresh::draw(|out| {
        out.fill(1);
        Ok::<(), Beyond>(())
    });
    let fresh = fresh.map_err(Refusal::Device)?;
    let disk = StateDisk::open(&mut *disk, &head, writer, &roots, &roots, None, fresh, vec![0; ROOM])?;
    let mut buffer = vec![0; MAX_RECORD_SIZE];
    match Store::open(disk, &mut buffer) {
        Ok((store, state)) => {
            let (epoch, identity) = (store.disk().epoch(), *store.disk().identity());
            Ok(Record { epoch, identity, state: state.map(<[u8]>::to_vec) })
        }
        Err(StoreError::Disk(why)) => Err(why),
        Err(StoreError::Damaged | StoreError::State(_)) => Err(Refusal::Contents),
    }
}

/// A TPM on the host.
pub(super) struct Model {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
}

impl Model {
    /// That of a record, started.
    pub(super) fn of(record: &Record) -> Result<Self> {
        let mut model = Self { tpm: Box::new(Tpm::blank()), entropy: CountedEntropy::default(), clock: ManualClock(0) };
        let Self { tpm, entropy, clock } = &mut model;
        let hooks = &mut Hooks { entropy, clock };
        match &record.state {
            Some(state) => ensure!(tpm.import(state, hooks).is_ok(), "the state is not that of a TPM"),
            None => ensure!(tpm.manufacture(hooks).is_ok(), "no TPM can be made"),
        }
        let response = model.run(&history::startup());
        ensure!(response.get(6..10) == Some(&[0; 4]), "TPM2_Startup: {response:02x?}");
        Ok(model)
    }

    /// Executes a command.
    pub(super) fn run(&mut self, command: &[u8]) -> Vec<u8> {
        let mut response = vec![0; 4096];
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let length = self.tpm.execute(hooks, Locality::ZERO, command, &mut response);
        response.truncate(length);
        response
    }

    /// What [`history::look`] shows of it.
    pub(super) fn looks(&mut self) -> Vec<Vec<u8>> {
        history::look().iter().map(|command| self.run(command)).collect()
    }
}
