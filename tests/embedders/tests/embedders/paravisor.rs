//! A paravisor that has nothing but MMIO exits: an adapter's engine behind a device at 0xFED40000, and a guest's driver
//! in front of it.

use crate::coconut::Kernel;
use crate::helper::{AK, Helper, MISSING, Machine};
use client::codes::{CANCELED, ENDORSEMENT, NULL};
use client::command::{handle_of, response_code};
use client::session::{Kind, Session, Transport, execute};
use client::template::{creation, rsa_any};
use client::{cc, command, password};
use embedders::coconut::QuoinTpm;
use embedders::coconut::shape::VtpmInterface;
use embedders::openhcl::PAGE;
use tpm_crb::registers as reg;
use tpm_crb::{Area, Buffers, Config, CrbDevice, Engine, Execution, Memory, MemoryFault};

const BASE: u64 = 0xfed4_0000;
/// Where the firmware tells the paravisor that its buffers are.
const COMMANDS: u64 = 0x7f00_0000;
const RESPONSES: u64 = COMMANDS + PAGE as u64;

/// The guest's memory at its buffers.
struct Ram(Vec<u8>);

impl Ram {
    fn at(&mut self, address: u64, length: usize) -> Result<&mut [u8], MemoryFault> {
        let start = address.checked_sub(COMMANDS).and_then(|at| usize::try_from(at).ok()).ok_or(MemoryFault)?;
        self.0.get_mut(start..).and_then(|rest| rest.get_mut(..length)).ok_or(MemoryFault)
    }
}

impl Memory for Ram {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        out.copy_from_slice(self.at(address, out.len())?);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        self.at(address, data.len())?.copy_from_slice(data);
        Ok(())
    }
}

/// A machine: its exits come to `read` and `write`.
struct Paravisor<E> {
    engine: E,
    device: Box<CrbDevice>,
    ram: Ram,
    exits: usize,
}

impl<E: Engine> Paravisor<E> {
    fn new(engine: E, buffers: Buffers) -> Self {
        let device = Box::new(CrbDevice::new(Config { buffers, ..Config::default() }).unwrap());
        assert!(device.is_at(BASE));
        Self { engine, device, ram: Ram(vec![0; 2 * PAGE]), exits: 0 }
    }

    fn read(&mut self, register: u16) -> u32 {
        self.exits += 1;
        let mut out = [0; 4];
        self.device.read(BASE + u64::from(register), &mut out);
        u32::from_le_bytes(out)
    }

    fn write(&mut self, register: u16, value: u32) {
        self.exits += 1;
        let _ = self.device.write(&mut self.engine, &mut self.ram, BASE + u64::from(register), &value.to_le_bytes());
    }

    /// Where a register says that a buffer is.
    fn octet(&mut self, at: u64) -> u8 {
        if self.device.is_at(at) {
            let mut out = [0];
            self.device.read(at, &mut out);
            out[0]
        } else {
            self.ram.at(at, 1).unwrap()[0]
        }
    }

    fn put(&mut self, at: u64, octet: u8) {
        if self.device.is_at(at) {
            let _ = self.device.write(&mut self.engine, &mut self.ram, at, &[octet]);
        } else {
            self.ram.at(at, 1).unwrap()[0] = octet;
        }
    }
}

/// A driver that knows of the registers alone.
impl<E: Engine> Transport for Paravisor<E> {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        self.write(reg::LOC_CTRL, reg::REQUEST_ACCESS);
        assert_eq!(self.read(reg::LOC_STS), reg::GRANTED);
        self.write(reg::CTRL_REQ, reg::CMD_READY);
        assert_eq!((self.read(reg::CTRL_REQ), self.read(reg::CTRL_STS)), (0, 0));
        let commands = u64::from(self.read(reg::CMD_LADDR)) | u64::from(self.read(reg::CMD_HADDR)) << 32;
        let responses = u64::from(self.read(reg::RSP_ADDR)) | u64::from(self.read(reg::RSP_ADDR_HIGH)) << 32;
        assert!(request.len() <= usize::try_from(self.read(reg::CMD_SIZE)).unwrap());
        for (at, octet) in (commands..).zip(request) {
            self.put(at, *octet);
        }
        self.write(reg::CTRL_START, reg::START);
        assert_eq!((self.read(reg::CTRL_START), self.read(reg::CTRL_STS)), (0, 0), "it is over");
        let size = (responses + 2..responses + 6).fold(0, |size, at| size << 8 | u64::from(self.octet(at)));
        let response = (responses..responses + size).map(|at| self.octet(at)).collect();
        self.write(reg::CTRL_REQ, reg::GO_IDLE);
        self.write(reg::LOC_CTRL, reg::RELINQUISH);
        response
    }
}

const GUESTS: Buffers = Buffers::Guest {
    command: Area { address: COMMANDS, size: 4096 },
    response: Area { address: RESPONSES, size: 4096 },
};

/// What every guest does first: start, identify, keys, a session, PCR.
fn first_steps<E: Engine>(machine: &mut Paravisor<E>) {
    machine.outcome(cc::STARTUP, &[], &[], &[0, 0]).unwrap();
    assert_eq!(machine.outcome(cc::READ_PUBLIC, &[0x8101_0001], &[], &[]), Err(MISSING));
    let create = creation(b"", b"", &crate::helper::ek_template());
    let key = machine.outcome(cc::CREATE_PRIMARY, &[ENDORSEMENT], &password(b""), &create).unwrap();
    machine.outcome(cc::FLUSH_CONTEXT, &[], &[], &handle_of(&key).to_be_bytes()).unwrap();
    let mut session = Session::plain(machine, Kind::Hmac);
    let auths = vec![session.auth(0, b"").into()];
    let digest = [&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat();
    execute(machine, cc::PCR_EXTEND, &[8], auths, &digest, |_| ()).unwrap();
    let selection = [0, 0, 0, 1, 0, 0xb, 3, 0, 1, 0];
    let read = machine.outcome(cc::PCR_READ, &[], &[], &selection).unwrap();
    let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest([[0; 32], [7; 32]].concat()).into();
    assert!(read.ends_with(&digest));
}

#[test]
fn a_guest_finds_the_openhcl_adapters_tpm_in_its_own_memory_and_in_the_page() {
    for buffers in [GUESTS, Buffers::Page] {
        let store = Machine::default();
        // The paravisor's own work, before there is a guest.
        let mut helper = Helper::of(store.new_engine());
        helper.start();
        let ak = helper.make_ak();
        helper.engine.reset(None).unwrap();
        let mut machine = Paravisor::new(helper.engine, buffers);
        first_steps(&mut machine);
        assert!(machine.exits > 60);
        let read = machine.outcome(cc::READ_PUBLIC, &[AK], &[], &[]).unwrap();
        assert_eq!(read[2..][..ak.len()], ak, "the key that the paravisor has made");
        // Servicing: both halves go to another process while nobody has a command.
        let (engine, mut device) = (machine.engine.save_state(), vec![0; tpm_crb::MAX_DEVICE_STATE_SIZE]);
        let length = machine.device.save(&mut device).unwrap();
        let mut later = Paravisor::new(Machine::default().new_engine(), buffers);
        later.engine.restore_state(engine).unwrap();
        later.device.restore(&device[..length], &mut later.engine).unwrap();
        assert_eq!(later.outcome(cc::READ_PUBLIC, &[AK], &[], &[]), Ok(read));
        // The guest's machine is reset.
        later.engine.reset(None).unwrap();
        later.device.reset(&mut later.engine);
        assert_eq!(later.outcome(cc::READ_PUBLIC, &[AK], &[], &[]), Err(0x100), "TPM_RC_INITIALIZE");
        first_steps(&mut later);
    }
}

#[test]
fn a_guest_finds_the_coconut_adapters_tpm() {
    let mut tpm = QuoinTpm::new(Kernel::default());
    tpm.init().unwrap();
    first_steps(&mut Paravisor::new(tpm, Buffers::Page));
}

/// As OpenHCL cannot: its device executes before the write to START is over.
#[test]
fn a_guest_cancels_its_search_for_a_key_while_the_engine_is_in_another_thread() {
    let config = Config { execution: Execution::Deferred, ..Config::default() };
    let mut device = Box::new(CrbDevice::new(config).unwrap());
    let mut engine = Machine::default().new_engine();
    let flag = engine.cancel_flag();
    let mut response = vec![0; 8192];
    let zero = tpm_core::Locality::ZERO;
    let length = engine.execute(zero, &command(cc::STARTUP, &[], &[], &[0, 0]), &mut response);
    assert_eq!(response_code(&response[..length]), 0);

    let mut remote = Remote(flag);
    let set = |device: &mut CrbDevice, remote: &mut Remote, register: u16, data: &[u8]| {
        let _ = device.write(remote, &mut tpm_crb::NoMemory, BASE + u64::from(register), data);
    };
    set(&mut device, &mut remote, reg::LOC_CTRL, &reg::REQUEST_ACCESS.to_le_bytes());
    let create = command(cc::CREATE_PRIMARY, &[NULL], &password(b""), &creation(b"", b"", &rsa_any()));
    // Until one is cancelled in time.
    let code = loop {
        set(&mut device, &mut remote, reg::CTRL_REQ, &reg::CMD_READY.to_le_bytes());
        set(&mut device, &mut remote, reg::DATA_BUFFER, &create);
        set(&mut device, &mut remote, reg::CTRL_START, &reg::START.to_le_bytes());
        let pending = device.begin().unwrap().command.to_vec();
        let worker = std::thread::spawn(move || {
            let length = engine.execute(zero, &pending, &mut response);
            (engine, response, length)
        });
        std::thread::sleep(core::time::Duration::from_millis(5));
        set(&mut device, &mut remote, reg::CTRL_CANCEL, &reg::CANCEL.to_le_bytes());
        let length;
        (engine, response, length) = worker.join().unwrap();
        device.finish(&mut tpm_crb::NoMemory, &response[..length]);
        let mut header = [0; 14];
        device.read(BASE + u64::from(reg::DATA_BUFFER), &mut header);
        match response_code(&header) {
            0 => {
                let flush = command(cc::FLUSH_CONTEXT, &[], &[], &header[10..]);
                assert_eq!(engine.execute(zero, &flush, &mut response), 10);
            }
            code => break code,
        }
    };
    assert_eq!(code, CANCELED);
    let length = engine.execute(zero, &create, &mut response);
    assert_eq!(response_code(&response[..length]), 0, "the next search is not");
}

/// What the device sees of an engine in another thread.
struct Remote(std::sync::Arc<core::sync::atomic::AtomicBool>);

impl Engine for Remote {
    fn execute(&mut self, _: tpm_core::Locality, _: &[u8], _: &mut [u8]) -> usize {
        0
    }

    fn cancel(&mut self) {
        self.0.store(true, core::sync::atomic::Ordering::Relaxed);
    }

    fn hash_start(&mut self) {}
    fn hash_data(&mut self, _: &[u8]) {}
    fn hash_end(&mut self) -> bool {
        false
    }
}
