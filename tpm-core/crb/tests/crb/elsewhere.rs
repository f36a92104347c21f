//! An engine in another thread: the device goes on meanwhile.

use crate::rig::{Rig, message};
use tpm_crb::registers::{
    CANCEL, CMD_READY, CTRL_CANCEL, CTRL_REQ, CTRL_START, CTRL_STS, DATA_BUFFER, GO_IDLE, LOC_CTRL, RELINQUISH,
    REQUEST_ACCESS, SEIZE, START, TPM_IDLE,
};
use tpm_crb::{Localities, State, StateError, Written};

/// A rig whose engine has a command of locality 0.
fn at_work() -> Rig {
    let mut rig = Rig::deferred(Localities::ZeroToThree);
    rig.bring(State::Execution, b"body");
    let pending = rig.device.begin().unwrap();
    assert_eq!((pending.locality.get(), pending.command, pending.canceled), (0, &*message(0x1234, b"body"), false));
    assert!(rig.device.begin().is_none(), "it is taken once");
    rig
}

#[test]
fn a_response_may_come_later() {
    let mut rig = at_work();
    assert_eq!(rig.write(0, CTRL_START, &[1]), Written::Done);
    assert_eq!((rig.get(0, CTRL_START), rig.read(0, DATA_BUFFER, 4)), (1, vec![0; 4]));
    rig.poll();
    assert_eq!(rig.engine.commands.len(), 0);
    rig.device.finish(&mut rig.ram, &message(0, b"later"));
    assert_eq!((rig.get(0, CTRL_START), rig.read(0, DATA_BUFFER, 15)), (0, message(0, b"later")));
    rig.device.finish(&mut rig.ram, &message(0, b"again"));
    assert_eq!(rig.read(0, DATA_BUFFER, 15), message(0, b"later"), "there is no command");
}

#[test]
fn cancel_reaches_the_engine_where_it_is() {
    let mut rig = at_work();
    rig.set(0, CTRL_CANCEL, CANCEL);
    assert_eq!(rig.engine.cancels, 1);
    rig.device.finish(&mut rig.ram, &message(0x909, b""));
    assert_eq!(rig.read(0, DATA_BUFFER, 10), message(0x909, b""));
    // Before it was begun it goes with the command.
    rig.bring(State::Execution, b"");
    rig.set(0, CTRL_CANCEL, CANCEL);
    assert!(rig.device.begin().unwrap().canceled);
}

#[test]
fn the_next_locality_is_ready_when_the_engine_is() {
    for (bits, by) in [(SEIZE, 1), (RELINQUISH, 0)] {
        let mut rig = at_work();
        if bits == RELINQUISH {
            rig.set(1, LOC_CTRL, REQUEST_ACCESS);
        }
        rig.set(by, LOC_CTRL, bits);
        assert_eq!((rig.active(), rig.engine.cancels), (Some(1), 1));
        rig.set(1, CTRL_REQ, CMD_READY);
        assert_eq!((rig.get(1, CTRL_REQ), rig.get(1, CTRL_STS)), (1, TPM_IDLE), "not yet");
        let _ = rig.write(1, DATA_BUFFER, &message(1, b""));
        rig.set(1, CTRL_START, START);
        assert!(rig.device.begin().is_none());
        rig.device.finish(&mut rig.ram, &message(0, b"secret of 0"));
        assert_eq!((rig.get(1, CTRL_REQ), rig.get(1, CTRL_STS)), (0, 0));
        assert_eq!(rig.read(1, DATA_BUFFER, 32), [0; 32]);
        let _ = rig.write(1, DATA_BUFFER, &message(1, b""));
        rig.set(1, CTRL_START, START);
        assert_eq!(rig.device.begin().unwrap().command, message(1, b""));
    }
}

#[test]
fn who_asks_for_ready_may_go_idle_or_away() {
    let mut rig = at_work();
    rig.set(1, LOC_CTRL, SEIZE);
    rig.set(1, CTRL_REQ, CMD_READY);
    rig.set(1, CTRL_REQ, GO_IDLE);
    assert_eq!(rig.get(1, CTRL_REQ), 0);
    rig.set(1, CTRL_REQ, CMD_READY);
    rig.set(2, LOC_CTRL, SEIZE);
    assert_eq!(rig.get(2, CTRL_REQ), 0);
    rig.device.finish(&mut rig.ram, &message(0, b""));
    assert_eq!(rig.device.state(), State::Idle);
}

#[test]
fn a_reset_does_not_wait_for_the_engine() {
    let mut rig = at_work();
    rig.device.reset(&mut rig.engine);
    assert_eq!((rig.engine.cancels, rig.device.state(), rig.active()), (1, State::Idle, None));
    rig.set(0, LOC_CTRL, REQUEST_ACCESS);
    rig.set(0, CTRL_REQ, CMD_READY);
    assert_eq!(rig.device.state(), State::Idle);
    rig.device.finish(&mut rig.ram, &message(0, b"of before"));
    assert_eq!(rig.device.state(), State::Ready);
}

#[test]
fn a_device_whose_engine_is_at_work_is_not_saved_or_replaced() {
    let mut rig = at_work();
    let mut out = vec![0; tpm_crb::MAX_DEVICE_STATE_SIZE];
    assert_eq!(rig.device.save(&mut out), Err(StateError::Executing));
    let mut other = Rig::deferred(Localities::ZeroToThree);
    let length = other.device.save(&mut out).unwrap();
    assert_eq!(rig.device.restore(&out[..length], &mut rig.engine), Err(StateError::Executing));
    rig.set(1, LOC_CTRL, SEIZE);
    assert_eq!(rig.device.save(&mut out), Err(StateError::Executing));
    rig.device.finish(&mut rig.ram, &message(0, b""));
    assert!(rig.device.save(&mut out).is_ok());
    other.poll();
}
