//! The device's state as octets.

use crate::rig::{Rig, guest_buffers, message};
use proptest::prelude::*;
use tpm_crb::registers::{
    CMD_READY, CTRL_REQ, CTRL_START, DATA_BUFFER, DATA_BUFFER_SIZE, HASH_END, HASH_START, LOC_CTRL, NEXT_CHUNK, PAGE,
    SEIZE,
};
use tpm_crb::{Buffers, Config, Execution, Localities, MAX_DEVICE_STATE_SIZE, State, StateError};

fn config(buffers: Buffers) -> Config {
    Config { buffers, localities: Localities::All, execution: Execution::Deferred, ..Config::default() }
}

fn save(rig: &Rig) -> Vec<u8> {
    let mut out = vec![0; MAX_DEVICE_STATE_SIZE];
    let length = rig.device.save(&mut out).unwrap();
    out.truncate(length);
    out
}

fn pages(rig: &Rig) -> Vec<Vec<u8>> {
    (0..5).map(|locality| rig.read(locality, 0, PAGE)).collect()
}

/// A device in each state that there is to save.
fn samples() -> Vec<Rig> {
    let mut all = Vec::new();
    for buffers in [Buffers::Page, Buffers::Chunks, guest_buffers(8192)] {
        for state in [State::Idle, State::Ready, State::Reception, State::Execution, State::Completion] {
            if state == State::Reception && matches!(buffers, Buffers::Guest { .. }) {
                continue;
            }
            let mut rig = Rig::owned(config(buffers));
            rig.bring(state, &[0x42; 3000]);
            rig.set(2, LOC_CTRL, 1);
            rig.set(0, tpm_crb::registers::CTRL_CANCEL, 1);
            all.push(rig);
        }
        let mut seized = Rig::owned(config(buffers));
        seized.set(3, LOC_CTRL, SEIZE);
        all.push(seized);
        let mut launch = Rig::owned(config(buffers));
        launch.set(4, LOC_CTRL, HASH_START);
        let _ = launch.write(4, DATA_BUFFER, b"half an event");
        all.push(launch);
        let mut launched = Rig::owned(config(buffers));
        launched.set(4, LOC_CTRL, HASH_START);
        launched.set(4, LOC_CTRL, HASH_END);
        all.push(launched);
    }
    let mut second = Rig::owned(config(Buffers::Chunks));
    second.set(0, CTRL_REQ, CMD_READY);
    let _ = second.write(0, DATA_BUFFER, &message(1, &vec![0x42; 6000])[..DATA_BUFFER_SIZE]);
    second.set(0, CTRL_START, NEXT_CHUNK);
    all.push(second);
    let mut chunk = Rig::owned(config(Buffers::Chunks));
    chunk.engine.response = Some(message(0, &vec![0x42; 8000]));
    chunk.bring(State::Completion, b"");
    chunk.set(0, CTRL_START, NEXT_CHUNK);
    all.push(chunk);
    let mut fatal = Rig::owned(config(Buffers::Page));
    fatal.engine.response = Some(vec![]);
    fatal.bring(State::Completion, b"");
    all.push(fatal);
    all
}

#[test]
fn a_restored_device_is_the_same_and_goes_on_the_same() {
    for (n, mut rig) in samples().into_iter().enumerate() {
        let state = save(&rig);
        let mut other = Rig::new(*rig.device.config());
        // Whatever it was before.
        other.set(1, LOC_CTRL, 1);
        other.ram.octets.copy_from_slice(&rig.ram.octets);
        other.device.restore(&state, &mut other.engine).unwrap();
        other.engine.response.clone_from(&rig.engine.response);
        assert!(save(&other) == state, "{n}");
        assert!(pages(&other) == pages(&rig), "{n}");
        let active = rig.active();
        for each in [&mut rig, &mut other] {
            each.poll();
            each.set(4, LOC_CTRL, tpm_crb::registers::HASH_DATA);
            each.set(4, LOC_CTRL, HASH_END);
            each.set(0, CTRL_START, tpm_crb::registers::RSP_RETRY);
        }
        assert!(pages(&other) == pages(&rig), "{n}: {active:?}");
        assert!(other.engine.commands.last() == rig.engine.commands.last() || other.engine.commands.is_empty());
        assert_eq!(other.engine.cancels > 0, rig.engine.cancels > 0, "{n}: cancelled while it waited");
    }
}

#[test]
fn what_no_device_gave_is_refused_by_name() {
    let mut rig = Rig::owned(config(Buffers::Chunks));
    rig.bring(State::Reception, b"command");
    let state = save(&rig);
    let before = pages(&rig);
    let mut refuse = |state: &[u8], error| {
        assert_eq!(rig.device.restore(state, &mut rig.engine), Err(error));
        assert!(pages(&rig) == before);
    };
    let with = |at: usize, octet: u8| {
        let mut state = state.clone();
        state[at] = octet;
        state
    };
    refuse(b"", StateError::Magic);
    refuse(&state[..3], StateError::Magic);
    refuse(&with(0, b'q'), StateError::Magic);
    refuse(&state[..4], StateError::Length);
    refuse(&with(4, 2), StateError::Version);
    for (at, octet) in state.iter().enumerate().take(45).skip(5) {
        refuse(&with(at, octet ^ 1), StateError::Config);
    }
    refuse(&[state.as_slice(), &[0]].concat(), StateError::Length);
    for length in 5..state.len() {
        refuse(&state[..length], StateError::Length);
    }
    // State, active locality, who waits, from whom it was seized, flags, window.
    for (at, octet) in
        [(45, 5), (45, 0), (46, 4), (46, 5), (46, 0xff), (47, 1), (47, 0x10), (48, 0x80), (49, 2), (49, 0x20), (50, 1)]
    {
        refuse(&with(at, octet), StateError::Contents);
    }
    // One that waits and was seized from: the active one; one that there is not.
    for locality in [1, 0x10] {
        let mut state = with(47, locality);
        state[48] = locality;
        refuse(&state, StateError::Contents);
    }
    assert_eq!(rig.device.save(&mut vec![0; state.len() - 1]), Err(StateError::Room));
    assert_eq!(rig.device.save(&mut []), Err(StateError::Room));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_change_of_a_state_makes_a_device_that_could_not_be(
        sample in 0usize..20,
        changes in prop::collection::vec((45usize..70, any::<u8>()), 1..4),
    ) {
        let mut samples = samples();
        let sample = sample % samples.len();
        let mut rig = samples.swap_remove(sample);
        let mut state = save(&rig);
        for (at, octet) in changes {
            if let Some(at) = state.get_mut(at) { *at = octet }
        }
        if rig.device.restore(&state, &mut rig.engine).is_ok() {
            // What it is taken for is what it gives back, and it works.
            prop_assert!(save(&rig) == state);
            rig.poll();
            rig.set(0, CTRL_REQ, CMD_READY);
            let _ = save(&rig);
        }
    }
}
