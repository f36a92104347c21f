//! The engine behind the device, reached as Linux's driver and EDK2's library reach a TPM: two drivers of ours, with
//! the order of accesses that those have.

use client::codes::OWNER;
use client::command::with_passwords;
use client::names::alg;
use client::platform::{CountedEntropy, ManualClock, export};
use client::template::{Template, creation, ecc_signing, rsa_any};
use client::{cc, command, tpm2b};
use core::sync::atomic::AtomicBool;
use std::collections::BTreeMap;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::{Hooks, Locality, StateForm, Tpm};
use tpm_crb::registers::{
    BEEN_SEIZED, CAP_CHUNK, CMD_HADDR, CMD_LADDR, CMD_READY, CMD_SIZE, CTRL_CANCEL, CTRL_REQ, CTRL_START, CTRL_STS,
    DATA_BUFFER, GO_IDLE, GRANTED, INTF_ID, LOC_CTRL, LOC_STATE, LOC_STS, NEXT_CHUNK, RELINQUISH, REQUEST_ACCESS,
    RSP_ADDR, RSP_SIZE, SEIZE, START, TPM_IDLE, TPM_STS,
};
use tpm_crb::{
    Area, BASE, Buffers, Config, CrbDevice, Execution, Localities, Memory, MemoryFault, State, TpmEngine, Written,
};

/// Where the host has buffers in guest memory.
const COMMANDS: u64 = 0x7f00_0000;
const RESPONSES: u64 = 0x7f00_2000;

/// Guest memory: what has been written, by its address.
#[derive(Default)]
struct Ram(BTreeMap<u64, u8>);

impl Memory for Ram {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        for (at, octet) in (address..).zip(out) {
            *octet = self.0.get(&at).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        self.0.extend((address..).zip(data.iter().copied()));
        Ok(())
    }
}

/// A machine with a TPM, as its monitor has it.
struct Machine {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    clock: ManualClock,
    device: Box<CrbDevice>,
    ram: Ram,
    kept: usize,
    can_keep: bool,
}

impl Machine {
    fn new(config: Config) -> Self {
        let (mut entropy, mut clock) = (CountedEntropy::default(), ManualClock(0));
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut clock }).unwrap();
        tpm.set_buffer_size(config.buffer_size());
        let device = Box::new(CrbDevice::new(config).unwrap());
        Self { tpm, entropy, clock, device, ram: Ram::default(), kept: 0, can_keep: true }
    }

    fn with_engine<T>(
        &mut self,
        call: impl FnOnce(&mut CrbDevice, &mut TpmEngine<'_, '_, &mut dyn FnMut(&Tpm) -> bool>, &mut Ram) -> T,
    ) -> T {
        let Self { tpm, entropy, clock, device, ram, kept, can_keep } = self;
        let canceled = AtomicBool::new(false);
        let mut keep = |_: &Tpm| {
            *kept += 1;
            *can_keep
        };
        let hooks = &mut Hooks { entropy, clock };
        call(device, &mut TpmEngine::new(tpm, hooks, &canceled, &mut keep), ram)
    }

    /// An MMIO exit, or an access to memory.
    fn write(&mut self, address: u64, data: &[u8]) {
        if !self.device.is_at(address) {
            return self.ram.write(address, data).unwrap();
        }
        if self.with_engine(|device, engine, ram| device.write(engine, ram, address, data)) == Written::Pending {
            let (low, high) = (self.get(CTRL_START), self.get(CTRL_STS));
            assert_eq!((low, high), (START, 0));
            self.with_engine(|device, engine, ram| device.poll(engine, ram));
        }
    }

    fn read(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        if self.device.is_at(address) {
            self.device.read(address, &mut out);
        } else {
            self.ram.read(address, &mut out).unwrap();
        }
        out
    }

    fn get(&mut self, register: u16) -> u32 {
        u32::from_le_bytes(self.read(BASE + u64::from(register), 4).try_into().unwrap())
    }

    fn set(&mut self, register: u16, value: u32) {
        self.write(BASE + u64::from(register), &value.to_le_bytes());
    }

    /// What the same command gives without a device.
    fn direct(&mut self, command: &[u8]) -> Vec<u8> {
        let mut response = vec![0; MAX_RESPONSE_SIZE];
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let length = self.tpm.execute(hooks, Locality::ZERO, command, &mut response);
        response.truncate(length);
        response
    }
}

fn expected(header: &[u8]) -> usize {
    u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize
}

/// Linux: finds its buffers by registers, takes locality and Ready for each command, copies words, asks for chunks
/// where the interface has them.
fn linux(machine: &mut Machine, command: &[u8]) -> Vec<u8> {
    machine.set(LOC_CTRL, REQUEST_ACCESS);
    assert_eq!(machine.get(LOC_STATE) & 0x82, 0x82, "granted");
    machine.set(CTRL_REQ, CMD_READY);
    assert_eq!(machine.get(CTRL_REQ) & CMD_READY, 0, "served");
    let buffer = u64::from(machine.get(CMD_HADDR)) << 32 | u64::from(machine.get(CMD_LADDR));
    let results = u64::from_le_bytes(machine.read(BASE + u64::from(RSP_ADDR), 8).try_into().unwrap());
    let (size, room) = (machine.get(CMD_SIZE) as usize, machine.get(RSP_SIZE) as usize);
    let chunks = machine.get(INTF_ID) & CAP_CHUNK != 0;
    assert!(command.len() <= size || chunks);

    machine.set(CTRL_CANCEL, 0);
    for (n, chunk) in command.chunks(size).enumerate() {
        for (word, at) in chunk.chunks(8).zip((buffer..).step_by(8)) {
            machine.write(at, word);
        }
        let last = (n + 1) * size >= command.len();
        machine.set(CTRL_START, if last { START } else { NEXT_CHUNK });
        assert_eq!(machine.get(CTRL_START), 0, "in time");
    }
    assert_eq!(machine.get(CTRL_STS) & TPM_STS, 0);

    let mut response = machine.read(results, 8);
    let length = expected(&response);
    for at in (8..length.min(room)).step_by(4) {
        response.extend(machine.read(results + at as u64, 4.min(length.min(room) - at)));
    }
    while response.len() < length {
        assert!(chunks);
        machine.set(CTRL_START, NEXT_CHUNK);
        assert_eq!(machine.get(CTRL_START), 0);
        let part = room.min(length - response.len());
        response.extend(machine.read(results, part));
    }
    machine.set(CTRL_REQ, GO_IDLE);
    assert_eq!(machine.get(CTRL_REQ) & GO_IDLE, 0);
    machine.set(LOC_CTRL, RELINQUISH);
    assert_eq!(machine.get(LOC_STATE) & 0x82, 0x80);
    response
}

/// EDK2: looks whether there is a CRB at all, takes the locality once and keeps it, copies octets into the page, writes
/// addresses that it has not read, and goes idle at the end, or back to Ready where Idle can be left out.
fn edk2(machine: &mut Machine, command: &[u8], stays_ready: bool) -> Vec<u8> {
    assert_ne!(machine.read(BASE, 1), [0xff], "there is a TPM");
    let interface = machine.get(INTF_ID);
    assert_eq!((interface & 0xff, interface >> 14 & 1), (0x11, 1), "a CRB as it knows it");
    machine.set(LOC_CTRL, REQUEST_ACCESS);
    assert_eq!(machine.get(LOC_STS) & (GRANTED | BEEN_SEIZED), GRANTED);
    machine.set(CTRL_REQ, CMD_READY);
    assert_eq!((machine.get(CTRL_REQ) & CMD_READY, machine.get(CTRL_STS) & TPM_IDLE), (0, 0));

    let buffer = BASE + u64::from(DATA_BUFFER);
    for (at, octet) in (buffer..).zip(command) {
        machine.write(at, &[*octet]);
    }
    machine.set(CMD_HADDR, 0);
    machine.set(CMD_LADDR, 0xfed4_0080);
    machine.set(CMD_SIZE, 3968);
    machine.write(BASE + u64::from(RSP_ADDR), &0xfed4_0080u64.to_le_bytes());
    machine.set(RSP_SIZE, 3968);
    machine.set(CTRL_START, START);
    assert_eq!(machine.get(CTRL_START) & START, 0);

    let mut response: Vec<u8> = (buffer..buffer + 10).flat_map(|at| machine.read(at, 1)).collect();
    let end = buffer + expected(&response) as u64;
    response.extend((buffer + 10..end).flat_map(|at| machine.read(at, 1)).collect::<Vec<_>>());
    machine.set(CTRL_REQ, if stays_ready { CMD_READY } else { GO_IDLE });
    assert_eq!(machine.get(CTRL_STS) & TPM_IDLE != 0, !stays_ready);
    response
}

/// What firmware and a kernel send first.
fn boot() -> Vec<Vec<u8>> {
    let pcrs = [&1u32.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &[3, 0xff, 0, 0]].concat();
    let digest = [&1u32.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &[0x42; 32]].concat();
    vec![
        command(cc::STARTUP, &[], &[], &[0, 0]),
        command(cc::SELF_TEST, &[], &[], &[1]),
        command(cc::GET_CAPABILITY, &[], &[], &[0, 0, 0, 2, 0, 0, 1, 0x1f, 0, 0, 0, 0xfe]),
        command(cc::GET_CAPABILITY, &[], &[], &[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]),
        with_passwords(cc::PCR_EXTEND, &[7], &[b""], &digest),
        command(cc::PCR_READ, &[], &[], &pcrs),
        command(cc::GET_RANDOM, &[], &[], &[0, 32]),
        with_passwords(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &ecc_signing())),
        command(0x2000_0000, &[], &[], &[]),
        command(cc::SHUTDOWN, &[], &[], &[0, 0]),
    ]
}

fn ml_dsa_87() -> Template {
    Template { object_type: 0xa1, parms: vec![0, 3, 0], unique: tpm2b(b""), ..ecc_signing() }
}

fn guest_buffers() -> Buffers {
    Buffers::Guest {
        command: Area { address: COMMANDS, size: 8192 },
        response: Area { address: RESPONSES, size: 8192 },
    }
}

#[test]
fn drivers_get_the_answers_that_the_engine_gives() {
    let lone = Config::default();
    let configs = [
        lone,
        Config { buffers: Buffers::Page, ..lone },
        Config { execution: Execution::Deferred, ..lone },
        Config { buffers: guest_buffers(), execution: Execution::Deferred, ..lone },
        Config { localities: Localities::ZeroToThree, ..lone },
    ];
    for config in configs {
        let in_page = !matches!(config.buffers, Buffers::Guest { .. });
        let (mut machine, mut same) = (Machine::new(config), Machine::new(config));
        for (n, command) in boot().iter().enumerate() {
            let response = match n % 3 {
                0 | 1 if in_page => edk2(&mut machine, command, n % 2 == 0),
                _ => linux(&mut machine, command),
            };
            assert!(response == same.direct(command), "{config:?}: {command:x?}");
        }
        assert_eq!(machine.kept, boot().len(), "each is kept before it is answered");
        let [one, other] = [&machine, &same].map(|machine| export(&machine.tpm, StateForm::Whole));
        assert!(one == other);
    }
}

#[test]
fn the_longest_signature_goes_in_chunks_and_through_guest_memory() {
    for buffers in [Buffers::Chunks, guest_buffers()] {
        let mut machine = Machine::new(Config { buffers, ..Config::default() });
        linux(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]));
        let made = linux(
            &mut machine,
            &with_passwords(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &ml_dsa_87())),
        );
        let key = u32::from_be_bytes(made[10..14].try_into().unwrap());
        let started = linux(&mut machine, &command(cc::SIGN_SEQUENCE_START, &[key], &[], &[0; 4]));
        let sequence = u32::from_be_bytes(started[10..14].try_into().unwrap());
        let sign = with_passwords(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, key], &[b"", b""], &tpm2b(b"message"));
        let signed = linux(&mut machine, &sign);
        assert_eq!(&signed[6..10], [0; 4]);
        assert!(signed.len() > 4627, "{}", signed.len());
        // And the way in: what was signed is verified.
        let signature = &signed[14..14 + 2 + 2 + 4627];
        let started = linux(&mut machine, &command(cc::VERIFY_SEQUENCE_START, &[key], &[], &[0; 6]));
        assert_eq!(&started[6..10], [0; 4], "{started:x?}");
        let sequence = u32::from_be_bytes(started[10..14].try_into().unwrap());
        let update = with_passwords(cc::SEQUENCE_UPDATE, &[sequence], &[b""], &tpm2b(b"message"));
        assert_eq!(&linux(&mut machine, &update)[6..10], [0; 4]);
        let verify = with_passwords(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, key], &[b""], signature);
        assert!(verify.len() > 4627);
        let verified = linux(&mut machine, &verify);
        assert_eq!(&verified[6..10], [0; 4], "{verified:x?}");
    }
}

#[test]
fn without_chunks_the_engine_says_what_does_not_fit() {
    let mut machine = Machine::new(Config { buffers: Buffers::Page, ..Config::default() });
    edk2(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]), false);
    let size =
        edk2(&mut machine, &command(cc::GET_CAPABILITY, &[], &[], &[0, 0, 0, 6, 0, 0, 1, 0x1e, 0, 0, 0, 1]), false);
    assert_eq!(size[size.len() - 4..], 3968u32.to_be_bytes(), "TPM_PT_MAX_COMMAND_SIZE");
}

#[test]
fn the_host_cancels_the_search_for_a_key() {
    let mut machine = Machine::new(Config { execution: Execution::Deferred, ..Config::default() });
    machine.set(LOC_CTRL, REQUEST_ACCESS);
    edk2(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]), true);
    let make = with_passwords(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &rsa_any()));
    let buffer = BASE + u64::from(DATA_BUFFER);
    for cancels in [true, false] {
        machine.set(CTRL_REQ, CMD_READY);
        machine.write(buffer, &make);
        machine.with_engine(|device, engine, ram| {
            for (register, value) in [(CTRL_START, 1u32), (CTRL_CANCEL, u32::from(cancels))] {
                let at = BASE + u64::from(register);
                assert_eq!(device.write(engine, ram, at, &value.to_le_bytes()), Written::Pending);
            }
            device.poll(engine, ram);
        });
        assert_eq!(machine.device.state(), State::Completion);
        let code = if cancels { 0x909u32 } else { 0 };
        assert_eq!(machine.read(buffer + 6, 4), code.to_be_bytes());
    }
}

#[test]
fn what_cannot_be_kept_is_not_answered() {
    let mut machine = Machine::new(Config::default());
    linux(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]));
    machine.can_keep = false;
    let random = command(cc::GET_RANDOM, &[], &[], &[0, 32]);
    let failure = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01];
    assert_eq!(linux(&mut machine, &random), failure);
    assert!(machine.tpm.is_in_failure_mode());
    machine.can_keep = true;
    let kept = machine.kept;
    assert_eq!(linux(&mut machine, &random), failure);
    assert_eq!(machine.kept, kept, "a TPM that has failed is not saved");
    // Reset: engine and device.
    let Machine { tpm, entropy, clock, .. } = &mut machine;
    tpm.init(&mut Hooks { entropy, clock });
    machine.with_engine(|device, engine, _| device.reset(engine));
    assert_eq!(linux(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]))[6..10], [0; 4]);
}

#[test]
fn a_launch_reaches_the_engine_s_pcr_and_a_locality_its_own() {
    let mut machine = Machine::new(Config { localities: Localities::All, ..Config::default() });
    linux(&mut machine, &command(cc::STARTUP, &[], &[], &[0, 0]));
    let pcr_17 = [&1u32.to_be_bytes()[..], &alg::SHA256.to_be_bytes(), &[3, 0, 0, 2]].concat();
    let read = command(cc::PCR_READ, &[], &[], &pcr_17);
    let value = |response: &[u8]| response[response.len() - 32..].to_vec();
    assert_eq!(value(&linux(&mut machine, &read)), [0xff; 32]);
    let of_4 = BASE + 0x4000;
    machine.write(of_4 + u64::from(LOC_CTRL), &[1]);
    machine.write(of_4 + u64::from(DATA_BUFFER), b"measured");
    machine.write(of_4 + u64::from(LOC_CTRL), &[2]);
    machine.write(of_4 + u64::from(LOC_CTRL), &[4]);
    assert_eq!(machine.get(LOC_STATE), 0x80, "established");
    let alg = client::hash::Alg::Sha256;
    let extended = alg.hash(&[&[0; 32], &alg.hash(&[b"measured"])]);
    assert_eq!(value(&linux(&mut machine, &read)), extended);

    // PCR 20 may be extended by locality 2, and not by 0.
    let digest = [&1u32.to_be_bytes()[..], &client::names::alg::SHA256.to_be_bytes(), &[0x42; 32]].concat();
    let extend = with_passwords(cc::PCR_EXTEND, &[20], &[b""], &digest);
    assert_eq!(linux(&mut machine, &extend)[6..10], 0x907u32.to_be_bytes(), "TPM_RC_LOCALITY");
    let of_2 = BASE + 0x2000;
    machine.write(of_2 + u64::from(LOC_CTRL), &SEIZE.to_le_bytes());
    machine.write(of_2 + u64::from(CTRL_REQ), &[1]);
    machine.write(of_2 + u64::from(DATA_BUFFER), &extend);
    machine.write(of_2 + u64::from(CTRL_START), &[1]);
    assert_eq!(machine.read(of_2 + u64::from(DATA_BUFFER) + 6, 4), [0; 4]);
}
