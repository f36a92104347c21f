//! Who has the TPM.

use crate::rig::{Rig, message};
use tpm_crb::registers::{
    BEEN_SEIZED, CANCEL, CMD_READY, CTRL_CANCEL, CTRL_REQ, CTRL_START, CTRL_STS, DATA_BUFFER, DATA_BUFFER_SIZE,
    GO_IDLE, GRANTED, LOC_CTRL, LOC_STATE, LOC_STS, RELINQUISH, REQUEST_ACCESS, RESET_ESTABLISHMENT, SEIZE, START,
};
use tpm_crb::{Config, Execution, Localities, State};

fn all() -> Rig {
    Rig::new(Config { localities: Localities::All, ..Config::default() })
}

#[test]
fn whoever_asks_first_has_it_and_the_others_wait_by_their_number() {
    let mut rig = all();
    assert_eq!(rig.active(), None);
    for locality in [1, 0, 3, 2] {
        rig.set(locality, LOC_CTRL, REQUEST_ACCESS);
        assert_eq!(rig.active(), Some(1));
        assert_eq!(rig.get(locality, LOC_STS), u32::from(locality == 1));
    }
    for (leaves, next) in [(1, Some(3)), (3, Some(2)), (2, Some(0)), (0, None)] {
        rig.set(leaves, LOC_CTRL, RELINQUISH);
        assert_eq!(rig.active(), next);
        assert_eq!(rig.get(leaves, LOC_STS), 0);
    }
}

#[test]
fn the_state_of_localities_reads_the_same_everywhere() {
    let mut rig = all();
    rig.set(2, LOC_CTRL, REQUEST_ACCESS);
    for locality in 0..5 {
        assert_eq!(rig.get(locality, LOC_STATE), 0x81 | 2 | 2 << 2);
    }
    // Asking again changes nothing.
    rig.set(2, LOC_CTRL, REQUEST_ACCESS);
    assert_eq!((rig.active(), rig.get(2, LOC_STS)), (Some(2), GRANTED));
}

#[test]
fn only_a_higher_locality_seizes() {
    for active in 0..4u8 {
        for other in 0..4u8 {
            let mut rig = all();
            rig.set(active, LOC_CTRL, REQUEST_ACCESS);
            rig.set(active, CTRL_REQ, CMD_READY);
            let _ = rig.write(active, DATA_BUFFER, &message(1, b"mine"));
            rig.set(other, LOC_CTRL, SEIZE);
            let seized = other > active;
            assert_eq!(rig.active(), Some(if seized { other } else { active }.into()), "{other} from {active}");
            assert_eq!(rig.get(active, LOC_STS) & BEEN_SEIZED != 0, seized);
            let state = if seized { State::Idle } else { State::Reception };
            assert_eq!(rig.device.state(), state, "{other} from {active}");
            if !seized {
                continue;
            }
            assert_eq!(rig.get(other, LOC_STS), GRANTED);
            assert_eq!(rig.read(other, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0; DATA_BUFFER_SIZE]);
            // It is known until the locality has the TPM again.
            rig.set(active, LOC_CTRL, REQUEST_ACCESS);
            assert_eq!(rig.get(active, LOC_STS), BEEN_SEIZED);
            rig.set(other, LOC_CTRL, RELINQUISH);
            assert_eq!(rig.get(active, LOC_STS), GRANTED);
        }
    }
    let mut rig = all();
    rig.set(1, LOC_CTRL, SEIZE);
    assert_eq!((rig.active(), rig.get(1, LOC_STS)), (Some(1), GRANTED), "from nobody");
}

#[test]
fn a_locality_that_waits_may_go() {
    let mut rig = all();
    rig.set(0, LOC_CTRL, REQUEST_ACCESS);
    rig.set(3, LOC_CTRL, REQUEST_ACCESS);
    rig.set(3, LOC_CTRL, RELINQUISH);
    assert_eq!(rig.active(), Some(0), "it is not 3's to give");
    rig.set(0, LOC_CTRL, RELINQUISH);
    assert_eq!(rig.active(), None);
}

#[test]
fn others_can_neither_read_nor_write_nor_move_what_is_the_active_ones() {
    for state in [State::Ready, State::Reception, State::Execution, State::Completion] {
        let config = Config { localities: Localities::All, execution: Execution::Deferred, ..Config::default() };
        let mut rig = Rig::owned(config);
        rig.bring(state, b"secret");
        let (registers, data) = (rig.read(0, 0x10, 0x70), rig.read(0, DATA_BUFFER, 32));
        for other in 1..5 {
            assert_eq!(rig.read(other, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0xff; DATA_BUFFER_SIZE]);
            let _ = rig.write(other, DATA_BUFFER, &[0x66; 32]);
            for (register, value) in
                [(CTRL_REQ, CMD_READY), (CTRL_REQ, GO_IDLE), (CTRL_CANCEL, CANCEL), (CTRL_START, START)]
            {
                rig.set(other, register, value);
            }
            for bits in [REQUEST_ACCESS, RELINQUISH] {
                rig.set(other.min(3), LOC_CTRL, bits);
            }
            assert_eq!(rig.device.state(), state, "{other}");
            assert_eq!(rig.read(0, 0x10, 0x70), registers, "{other}");
            assert_eq!(rig.read(0, DATA_BUFFER, 32), data, "{other}");
        }
        assert_eq!(rig.engine.cancels, 0);
    }
}

#[test]
fn relinquish_leaves_nothing_to_the_next() {
    for state in [State::Ready, State::Reception, State::Execution, State::Completion] {
        let mut rig = Rig::deferred(Localities::ZeroToThree);
        rig.bring(state, b"secret");
        rig.set(1, LOC_CTRL, REQUEST_ACCESS);
        rig.set(0, LOC_CTRL, RELINQUISH);
        assert_eq!((rig.active(), rig.device.state()), (Some(1), State::Idle));
        let executed = rig.engine.commands.len();
        rig.poll();
        assert_eq!(rig.engine.commands.len(), executed, "what waited is not executed");
        rig.set(1, CTRL_REQ, CMD_READY);
        assert_eq!(rig.get(1, CTRL_STS), 0);
        let _ = rig.write(1, DATA_BUFFER + 8, &[0]);
        assert_eq!(rig.read(1, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0; DATA_BUFFER_SIZE]);
    }
}

#[test]
fn the_engine_is_told_the_locality() {
    let mut rig = all();
    for locality in [0, 3, 1] {
        rig.set(locality, LOC_CTRL, REQUEST_ACCESS);
        rig.set(locality, CTRL_REQ, CMD_READY);
        let _ = rig.write(locality, DATA_BUFFER, &message(1, b""));
        rig.set(locality, CTRL_START, START);
        assert_eq!(rig.read(locality, DATA_BUFFER, 10), message(locality.into(), b""));
        rig.set(locality, LOC_CTRL, RELINQUISH);
    }
    let told: Vec<u8> = rig.engine.commands.iter().map(|(locality, _)| *locality).collect();
    assert_eq!(told, [0, 3, 1]);
}

#[test]
fn pages_of_localities_that_are_not_served_are_not_there() {
    for (localities, served) in [(Localities::Zero, 1), (Localities::ZeroToThree, 4), (Localities::All, 5)] {
        let mut rig = Rig::new(Config { localities, ..Config::default() });
        for locality in 0..6 {
            let there = locality < served;
            assert_eq!(rig.get(locality, LOC_STATE), if there { 0x81 } else { u32::MAX });
            if !there {
                rig.set(locality, LOC_CTRL, REQUEST_ACCESS);
                rig.set(locality, LOC_CTRL, RESET_ESTABLISHMENT);
                assert_eq!(rig.active(), None);
            }
        }
    }
}
