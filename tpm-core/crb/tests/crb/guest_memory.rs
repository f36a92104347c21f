//! Buffers in guest memory.

use crate::rig::{COMMANDS, RESPONSES, Rig, guest_buffers, message};
use tpm_crb::registers::{
    CMD_READY, CTRL_REQ, CTRL_START, CTRL_STS, DATA_BUFFER, LOC_CTRL, REQUEST_ACCESS, SEIZE, START,
};
use tpm_crb::{Config, Execution, Localities, State};

#[test]
fn command_and_response_of_8_kib_are_copied_once_each() {
    let mut rig = Rig::owned(Config { buffers: guest_buffers(8192), ..Config::default() });
    let body: Vec<u8> = (0..8182).map(|n| (n % 253) as u8).collect();
    rig.bring(State::Completion, &body);
    assert!(rig.engine.commands == [(0, message(0x1234, &body))]);
    let at = usize::try_from(RESPONSES - COMMANDS).unwrap();
    assert!(rig.ram.octets[at..at + 8192] == message(0, &body));
    assert_eq!((rig.ram.reads, rig.ram.writes), (1, 1));
    assert_eq!(rig.read(0, DATA_BUFFER, 64), [0; 64], "nothing is in the page");
}

/// TPM_CapCRBIdleBypass: the driver has written the next command where the device cannot see it.
#[test]
fn a_command_may_follow_another_in_guest_memory_without_ready_between() {
    let mut rig = Rig::owned(Config { buffers: guest_buffers(4096), ..Config::default() });
    rig.bring(State::Completion, b"one");
    let next = message(0x1234, b"and another");
    rig.ram.octets[..next.len()].copy_from_slice(&next);
    rig.set(0, CTRL_START, START);
    assert_eq!(rig.device.state(), State::Completion);
    assert_eq!(rig.engine.commands, [(0, message(0x1234, b"one")), (0, next)]);
    let at = usize::try_from(RESPONSES - COMMANDS).unwrap();
    assert_eq!(rig.ram.octets[at..at + 21], message(0, b"and another"));
}

#[test]
fn no_more_than_the_response_is_written() {
    let mut rig = Rig::owned(Config { buffers: guest_buffers(4096), ..Config::default() });
    rig.ram.octets.fill(0xee);
    rig.bring(State::Completion, b"four");
    let at = usize::try_from(RESPONSES - COMMANDS).unwrap();
    assert_eq!(rig.ram.octets[at..at + 14], message(0, b"four"));
    assert!(rig.ram.octets[at + 14..].iter().all(|octet| *octet == 0xee));
}

#[test]
fn memory_that_is_not_there_is_a_fatal_error() {
    for after_start in [false, true] {
        let config = Config { buffers: guest_buffers(8192), execution: Execution::Deferred, ..Config::default() };
        let mut rig = Rig::owned(config);
        rig.set(0, CTRL_REQ, CMD_READY);
        rig.ram.absent = !after_start;
        rig.set(0, CTRL_START, START);
        rig.ram.absent = true;
        rig.poll();
        assert_eq!((rig.device.state(), rig.get(0, CTRL_STS)), (State::Completion, 1));
        assert_eq!(rig.engine.commands.len(), usize::from(after_start));
    }
}

#[test]
fn a_response_that_nobody_waits_for_is_not_written() {
    let config = Config {
        buffers: guest_buffers(8192),
        execution: Execution::Deferred,
        localities: Localities::ZeroToThree,
        ..Config::default()
    };
    let mut rig = Rig::owned(config);
    rig.bring(State::Execution, b"x");
    assert!(rig.device.begin().is_some());
    rig.set(1, LOC_CTRL, SEIZE);
    rig.device.finish(&mut rig.ram, &message(0, b"secret"));
    assert_eq!(rig.ram.writes, 0);
    rig.set(0, LOC_CTRL, REQUEST_ACCESS);
}
