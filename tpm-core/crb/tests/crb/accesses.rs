//! What registers read, and accesses of every width and place.

use crate::rig::{COMMANDS, RESPONSES, Rig, guest_buffers, message};
use tpm_crb::registers::{
    CMD_HADDR, CMD_LADDR, CMD_READY, CMD_SIZE, CTRL_CANCEL, CTRL_EXT, CTRL_REQ, CTRL_START, CTRL_STS, DATA_BUFFER,
    DATA_BUFFER_SIZE, DATA_CSUM, DATA_CSUM_ENABLE, GO_IDLE, INT_ENABLE, INT_STS, INTF_ID, INTF_ID_HIGH, LOC_CTRL,
    LOC_STATE, LOC_STS, NEXT_CHUNK, PAGE, RELINQUISH, REQUEST_ACCESS, RSP_ADDR, RSP_RETRY, RSP_SIZE, SEIZE, START,
};
use tpm_crb::{Area, BASE, Buffers, Config, ConfigError, CrbDevice, Execution, Identity, Localities, State, Version};

/// Each register after a reset: what it reads, and whether software may change it.
const AFTER_RESET: [(u16, u32, bool); 19] = [
    (LOC_STATE, 0x81, false),
    (LOC_CTRL, 0, true),
    (LOC_STS, 0, false),
    (DATA_CSUM_ENABLE, 0xffff, false),
    (DATA_CSUM, 0xffff, false),
    (INTF_ID, 0x000a_5e11, false),
    (INTF_ID_HIGH, 0, false),
    (CTRL_EXT, 0, false),
    (CTRL_REQ, 0, true),
    (CTRL_STS, 2, false),
    (CTRL_CANCEL, 0, true),
    (CTRL_START, 0, true),
    (INT_ENABLE, 0, false),
    (INT_STS, 0, false),
    (CMD_SIZE, 3968, false),
    (CMD_LADDR, 0xfed4_0080, false),
    (CMD_HADDR, 0, false),
    (RSP_SIZE, 3968, false),
    (RSP_ADDR, 0xfed4_0080, false),
];

#[test]
fn registers_read_what_they_should_after_a_reset() {
    let rig = Rig::new(Config::default());
    for (register, value, _) in AFTER_RESET {
        assert_eq!(rig.get(0, register), value, "{register:#x}");
    }
    let named: Vec<u16> = AFTER_RESET.iter().map(|(register, ..)| *register).collect();
    for register in (0..DATA_BUFFER).step_by(4).filter(|register| !named.contains(register)) {
        assert_eq!(rig.get(0, register), 0, "{register:#x} is reserved");
    }
    assert_eq!(rig.read(0, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0xff; DATA_BUFFER_SIZE], "nobody has the TPM");
}

#[test]
fn what_cannot_be_written_stays() {
    for register in (0..DATA_BUFFER).step_by(4) {
        if AFTER_RESET.iter().any(|(one, _, changes)| *one == register && *changes) {
            continue;
        }
        for value in [u32::MAX, 1, 0x8000_0000, 0] {
            let mut rig = Rig::owned(Config::default());
            let before = rig.read(0, 0, DATA_BUFFER.into());
            rig.set(0, register, value);
            assert_eq!(rig.read(0, 0, DATA_BUFFER.into()), before, "{register:#x}");
        }
    }
}

#[test]
fn the_interface_identifier_says_what_the_device_is() {
    let identity = Identity { vendor: 0x1234, device: 0x5678, revision: 0x9a };
    let config = |buffers, localities, version| Config { buffers, localities, version, identity, ..Config::default() };
    // Type, version, localities, idle bypass, chunks, 64 octets, no FIFO, CRB, selected, locked.
    let rows = [
        (Buffers::Page, Localities::Zero, Version::One, 0x9a0a_5a11u32),
        (Buffers::Chunks, Localities::Zero, Version::One, 0x9a0a_5e11),
        (Buffers::Chunks, Localities::All, Version::Three, 0x9a0a_5f31),
        (guest_buffers(8192), Localities::ZeroToThree, Version::Two, 0x9a0a_5b21),
    ];
    for (buffers, localities, version, low) in rows {
        let rig = Rig::new(config(buffers, localities, version));
        let id = u64::from_le_bytes(rig.read(0, INTF_ID, 8).try_into().unwrap());
        assert_eq!(id, 0x5678_1234_0000_0000 | u64::from(low), "{buffers:?}");
    }
}

#[test]
fn buffers_in_guest_memory_are_named_by_registers() {
    let command = Area { address: 0x12_3456_7000, size: 4096 };
    let response = Area { address: 0x65_4321_0000, size: 8192 };
    let rig = Rig::new(Config { buffers: Buffers::Guest { command, response }, ..Config::default() });
    assert_eq!((rig.get(0, CMD_SIZE), rig.get(0, CMD_LADDR), rig.get(0, CMD_HADDR)), (4096, 0x3456_7000, 0x12));
    assert_eq!(rig.read(0, RSP_SIZE, 4), 8192u32.to_le_bytes());
    assert_eq!(rig.read(0, RSP_ADDR, 8), response.address.to_le_bytes());
    assert_eq!(rig.device.config().buffer_size(), 4096);
}

#[test]
fn reads_of_any_width_and_place_agree() {
    for state in [State::Idle, State::Reception, State::Completion] {
        let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
        rig.bring(state, &(0..200).collect::<Vec<u8>>());
        let page = rig.read(0, 0, PAGE);
        for width in [1, 2, 3, 4, 5, 8, 16, 64] {
            for at in (0..0x110).chain(PAGE - 0x20..=PAGE - width) {
                let read = rig.read(0, u16::try_from(at).unwrap(), width);
                assert_eq!(read, page[at..at + width], "{state:?}, {width} at {at:#x}");
            }
        }
    }
}

#[test]
fn writes_of_any_width_and_place_reach_the_data_buffer() {
    let octets: Vec<u8> = (0..64).collect();
    for width in [1, 2, 3, 4, 8, 64] {
        for shift in 0..8 {
            let mut rig = Rig::owned(Config::default());
            rig.set(0, CTRL_REQ, CMD_READY);
            let at = DATA_BUFFER + shift;
            for (n, part) in octets.chunks(width).enumerate() {
                let _ = rig.write(0, at + u16::try_from(n * width).unwrap(), part);
            }
            assert_eq!(rig.read(0, at, 64), octets, "{width} from {shift}");
        }
    }
}

#[test]
fn a_register_is_written_with_its_first_octet() {
    let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
    // One octet of each is enough, and none of the others.
    for (at, octet) in [(CTRL_REQ + 1, 1), (CTRL_REQ + 2, 1), (CTRL_REQ + 3, 1), (CTRL_REQ - 1, 0xff)] {
        let _ = rig.write(0, at, &[octet]);
        assert_eq!(rig.device.state(), State::Idle, "{at:#x}");
    }
    let _ = rig.write(0, CTRL_REQ, &[1]);
    assert_eq!(rig.device.state(), State::Ready);
    let _ = rig.write(0, DATA_BUFFER, &message(1, b""));
    let _ = rig.write(0, CTRL_START + 1, &[1, 1, 1]);
    assert_eq!(rig.device.state(), State::Reception);
    // Across registers, in their order: CANCEL 0, START 1.
    let _ = rig.write(0, CTRL_CANCEL, &[0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(rig.device.state(), State::Execution);
    // The upper octets of CANCEL neither cancel nor clear.
    let _ = rig.write(0, CTRL_CANCEL + 1, &[0, 0, 1]);
    assert_eq!(rig.get(0, CTRL_CANCEL), 0);
    let _ = rig.write(0, CTRL_CANCEL, &[1, 0]);
    let _ = rig.write(0, CTRL_CANCEL + 1, &[0, 0, 0]);
    assert_eq!(rig.get(0, CTRL_CANCEL), 1);
    // From an unaligned place over the next register's first octet.
    rig.poll();
    let _ = rig.write(0, CTRL_REQ - 2, &[0, 0, 2]);
    assert_eq!(rig.device.state(), State::Idle);
    // From the registers into the buffer.
    let _ = rig.write(0, CTRL_REQ, &[1]);
    let _ = rig.write(0, DATA_BUFFER - 4, &[9, 9, 9, 9, 5, 6, 7, 8]);
    assert_eq!(rig.read(0, DATA_BUFFER, 5), [5, 6, 7, 8, 0]);
}

#[test]
fn several_bits_at_once_are_no_request() {
    for value in [0, CMD_READY | GO_IDLE, 4, 0x8000_0000] {
        let mut rig = Rig::owned(Config::default());
        rig.set(0, CTRL_REQ, value);
        assert_eq!(rig.device.state(), State::Idle, "{value:#x}");
    }
    for value in [0, START | RSP_RETRY, START | NEXT_CHUNK, RSP_RETRY | NEXT_CHUNK, 7, 8] {
        let mut rig = Rig::owned(Config::default());
        rig.bring(State::Reception, b"");
        rig.set(0, CTRL_START, value);
        assert_eq!(rig.device.state(), State::Reception, "{value:#x}");
    }
    for value in [0, REQUEST_ACCESS | RELINQUISH, REQUEST_ACCESS | SEIZE, 0xf, 0x10, 0x8000_0000] {
        let mut rig = Rig::new(Config::default());
        rig.set(0, LOC_CTRL, value);
        assert_eq!(rig.active(), None, "{value:#x}");
    }
    // Bits that are reserved are no bits.
    let mut rig = Rig::owned(Config::default());
    rig.set(0, CTRL_REQ, CMD_READY | 0xffff_fffc);
    assert_eq!(rig.device.state(), State::Ready);
}

#[test]
fn where_there_is_no_device_reads_are_ones_and_writes_nothing() {
    let mut rig = Rig::owned(Config::default());
    rig.bring(State::Completion, b"x");
    let before = rig.read(0, 0, PAGE);
    let page = PAGE as u64;
    for (address, width) in [
        (BASE - 1, 1),
        (BASE - 4, 8),
        (BASE + page, 4),
        (BASE + page - 1, 2),
        (BASE + page - 4, 8),
        (BASE, PAGE + 1),
        (BASE + 4 * page, 4),
        (0, 4),
        (u64::MAX, 1),
        (u64::MAX - 3, 8),
    ] {
        let mut out = vec![0; width];
        rig.device.read(address, &mut out);
        assert_eq!(out, vec![0xff; width], "{address:#x}");
        let _ = rig.device.write(&mut rig.engine, &mut rig.ram, address, &vec![2; width]);
        assert_eq!(rig.read(0, 0, PAGE), before, "{address:#x}");
    }
    rig.device.read(BASE, &mut []);
    let _ = rig.device.write(&mut rig.engine, &mut rig.ram, BASE, &[]);
    assert!(rig.device.is_at(BASE) && rig.device.is_at(BASE + page - 1));
    assert!(!rig.device.is_at(BASE - 1) && !rig.device.is_at(BASE + page));
}

#[test]
fn impossible_configurations_are_refused_by_name() {
    let refused = |config: Config| CrbDevice::new(config).err();
    let guest = |command, response| Config { buffers: Buffers::Guest { command, response }, ..Config::default() };
    let at = |address, size| Area { address, size };
    for base in [1, 0x800, BASE + 0x80, u64::MAX, !0xfff] {
        assert_eq!(refused(Config { base, ..Config::default() }), Some(ConfigError::Base), "{base:#x}");
    }
    let good = at(RESPONSES, 4096);
    for size in [0, 3967, 8193, u32::MAX] {
        assert_eq!(refused(guest(at(COMMANDS, size), good)), Some(ConfigError::Size), "{size}");
        assert_eq!(refused(guest(good, at(COMMANDS, size))), Some(ConfigError::Size), "{size}");
    }
    assert_eq!(refused(guest(at(u64::MAX - 100, 4096), good)), Some(ConfigError::Size));
    assert_eq!(refused(guest(at(RESPONSES - 4095, 4096), good)), Some(ConfigError::Overlap));
    assert_eq!(refused(guest(at(RESPONSES, 4095), good)), Some(ConfigError::Overlap));
    assert_eq!(refused(guest(at(BASE + 0x80, 4096), good)), Some(ConfigError::Overlap));
    assert_eq!(refused(guest(good, good)), None, "one buffer for both");
    assert_eq!(refused(guest(at(RESPONSES - 4096, 4096), good)), None);
    assert_eq!(refused(guest(at(RESPONSES + 4096, 4096), good)), None);
    assert_eq!(refused(Config { base: u64::MAX - 0x1fff, ..Config::default() }), None);
    assert_eq!(
        refused(Config { base: u64::MAX - 0x1fff, localities: Localities::All, ..Config::default() }),
        Some(ConfigError::Base)
    );
}
