//! Every state with every event, by the accesses that a guest makes; the table is this file's own.

use crate::rig::{Rig, guest_buffers, message};
use tpm_crb::registers::{
    CANCEL, CMD_READY, CTRL_CANCEL, CTRL_REQ, CTRL_START, DATA_BUFFER, DATA_BUFFER_SIZE, GO_IDLE, NEXT_CHUNK,
    RSP_RETRY, START,
};
use tpm_crb::{Buffers, Config, Execution, State};

const IDLE: State = State::Idle;
const READY: State = State::Ready;
const RECEPTION: State = State::Reception;
const EXECUTION: State = State::Execution;
const COMPLETION: State = State::Completion;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Access {
    CmdReady,
    GoIdle,
    Data,
    NextChunk,
    Retry,
    Start,
    Cancel,
    Answer,
}

const ACCESSES: [Access; 8] = [
    Access::CmdReady,
    Access::GoIdle,
    Access::Data,
    Access::NextChunk,
    Access::Retry,
    Access::Start,
    Access::Cancel,
    Access::Answer,
];

/// A row a state, a column an access, in the order above. What stays is no transition.
const PAGE: [(State, [State; 8]); 5] = [
    (IDLE, [READY, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE]),
    (READY, [READY, IDLE, RECEPTION, READY, READY, READY, READY, READY]),
    (RECEPTION, [RECEPTION, IDLE, RECEPTION, RECEPTION, RECEPTION, EXECUTION, RECEPTION, RECEPTION]),
    (EXECUTION, [EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, COMPLETION]),
    (COMPLETION, [READY, IDLE, RECEPTION, COMPLETION, COMPLETION, COMPLETION, COMPLETION, COMPLETION]),
];

/// With buffers in guest memory.
const GUEST: [(State, [State; 8]); 4] = [
    (IDLE, [READY, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE, IDLE]),
    (READY, [READY, IDLE, READY, READY, READY, EXECUTION, READY, READY]),
    (EXECUTION, [EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, EXECUTION, COMPLETION]),
    (COMPLETION, [READY, IDLE, COMPLETION, COMPLETION, COMPLETION, EXECUTION, COMPLETION, COMPLETION]),
];

fn make(rig: &mut Rig, access: Access) {
    match access {
        Access::CmdReady => rig.set(0, CTRL_REQ, CMD_READY),
        Access::GoIdle => rig.set(0, CTRL_REQ, GO_IDLE),
        Access::Data => rig.set(0, DATA_BUFFER, 0x7777_7777),
        Access::NextChunk => rig.set(0, CTRL_START, NEXT_CHUNK),
        Access::Retry => rig.set(0, CTRL_START, RSP_RETRY),
        Access::Start => rig.set(0, CTRL_START, START),
        Access::Cancel => rig.set(0, CTRL_CANCEL, CANCEL),
        Access::Answer => rig.poll(),
    }
}

fn walk(buffers: Buffers, table: &[(State, [State; 8])]) {
    let body = [0x42; 100];
    for (state, row) in table {
        for (access, after) in ACCESSES.iter().zip(row) {
            let mut rig = Rig::owned(Config { buffers, execution: Execution::Deferred, ..Config::default() });
            rig.bring(*state, &body);
            make(&mut rig, *access);
            let what = format!("{buffers:?}: {state:?}, {access:?}");
            assert_eq!(rig.device.state(), *after, "{what}");
            assert_eq!(rig.shown(), (*after == IDLE, *after == EXECUTION), "{what}");
            assert_eq!(rig.get(0, CTRL_REQ), 0, "{what}: served");
            let executed = usize::from(*state == COMPLETION || *access == Access::Answer && *state == EXECUTION);
            assert_eq!(rig.engine.commands.len(), executed, "{what}");
        }
    }
}

#[test]
fn every_access_in_every_state_leads_where_the_table_says() {
    walk(Buffers::Page, &PAGE);
    walk(Buffers::Chunks, &PAGE);
    walk(guest_buffers(8192), &GUEST);
}

#[test]
fn an_access_that_is_no_transition_leaves_command_and_response() {
    let body: Vec<u8> = (0..=255).collect();
    for access in [Access::CmdReady, Access::Retry, Access::Cancel, Access::Answer] {
        let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
        rig.bring(RECEPTION, &body);
        make(&mut rig, access);
        assert_eq!(rig.read(0, DATA_BUFFER, 266), message(0x1234, &body), "{access:?}");
    }
    for access in [Access::GoIdle, Access::CmdReady, Access::Data, Access::Start, Access::NextChunk] {
        let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
        rig.bring(EXECUTION, &body);
        make(&mut rig, access);
        rig.poll();
        assert_eq!(rig.engine.commands, [(0, message(0x1234, &body))], "{access:?}");
        assert_eq!(rig.read(0, DATA_BUFFER, 266), message(0, &body), "{access:?}");
    }
    for access in [Access::Start, Access::Cancel, Access::NextChunk, Access::Retry, Access::Answer] {
        let mut rig = Rig::owned(Config::default());
        rig.bring(COMPLETION, &body);
        make(&mut rig, access);
        assert_eq!(rig.read(0, DATA_BUFFER, 266), message(0, &body), "{access:?}");
    }
}

#[test]
fn idle_and_ready_have_nothing_of_a_command_or_response() {
    for state in [RECEPTION, COMPLETION] {
        for request in [GO_IDLE, CMD_READY] {
            let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
            rig.bring(state, &[0x42; 3000]);
            rig.set(0, CTRL_REQ, request);
            if state == COMPLETION || request == GO_IDLE {
                assert_eq!(rig.read(0, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0; DATA_BUFFER_SIZE]);
            }
            // Nor does the next command begin with what was there.
            rig.set(0, CTRL_REQ, GO_IDLE);
            rig.set(0, CTRL_REQ, CMD_READY);
            let _ = rig.write(0, DATA_BUFFER, &[1]);
            let mut rest = vec![0; DATA_BUFFER_SIZE];
            rest[0] = 1;
            assert_eq!(rig.read(0, DATA_BUFFER, DATA_BUFFER_SIZE), rest);
        }
    }
}

#[test]
fn a_command_may_follow_a_response_without_idle() {
    let mut rig = Rig::owned(Config::default());
    rig.bring(COMPLETION, &[0x42; 500]);
    let _ = rig.write(0, DATA_BUFFER, &message(1, b"next"));
    assert_eq!(rig.device.state(), RECEPTION);
    assert_eq!(rig.read(0, DATA_BUFFER, 20), [message(1, b"next").as_slice(), &[0; 6]].concat());
    rig.set(0, CTRL_START, START);
    assert_eq!(rig.engine.commands[1], (0, message(1, b"next")));
    assert_eq!(rig.read(0, DATA_BUFFER, 14), message(0, b"next"));
}

#[test]
fn execution_at_once_is_over_before_the_write_returns() {
    let mut rig = Rig::owned(Config::default());
    rig.set(0, CTRL_REQ, CMD_READY);
    let _ = rig.write(0, DATA_BUFFER, &message(9, b"now"));
    assert_eq!(rig.write(0, CTRL_START, &START.to_le_bytes()), tpm_crb::Written::Done);
    assert_eq!((rig.device.state(), rig.get(0, CTRL_START)), (COMPLETION, 0));
    assert_eq!(rig.read(0, DATA_BUFFER, 13), message(0, b"now"));
}

#[test]
fn deferred_execution_waits_for_the_embedder() {
    let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
    rig.set(0, CTRL_REQ, CMD_READY);
    assert_eq!(rig.write(0, DATA_BUFFER, &message(9, b"later")), tpm_crb::Written::Done);
    assert_eq!(rig.write(0, CTRL_START, &START.to_le_bytes()), tpm_crb::Written::Pending);
    assert_eq!(rig.get(0, CTRL_START), 1);
    assert_eq!(rig.read(0, DATA_BUFFER, 15), [0; 15]);
    rig.poll();
    assert_eq!(rig.get(0, CTRL_START), 0);
    assert_eq!(rig.read(0, DATA_BUFFER, 15), message(0, b"later"));
    rig.poll();
    assert_eq!(rig.engine.commands.len(), 1, "once");
}

#[test]
fn cancel_reads_back_until_software_clears_it() {
    let mut rig = Rig::owned(Config { execution: Execution::Deferred, ..Config::default() });
    rig.set(0, CTRL_CANCEL, CANCEL);
    assert_eq!(rig.get(0, CTRL_CANCEL), 0, "there is nothing to be cancelled");
    rig.bring(EXECUTION, b"");
    for wrong in [2, 3, 0x101, u32::MAX] {
        rig.set(0, CTRL_CANCEL, wrong);
        assert_eq!(rig.get(0, CTRL_CANCEL), 0, "{wrong:#x}");
    }
    rig.set(0, CTRL_CANCEL, CANCEL);
    assert_eq!((rig.get(0, CTRL_CANCEL), rig.engine.cancels), (1, 0), "the engine is not at it yet");
    // Software that clears it at once has still cancelled.
    rig.set(0, CTRL_CANCEL, 0);
    rig.poll();
    assert_eq!((rig.get(0, CTRL_CANCEL), rig.engine.cancels), (0, 1));
    rig.bring(COMPLETION, b"");
    assert_eq!(rig.engine.cancels, 1, "the next command is not cancelled");
}

#[test]
fn long_commands_and_responses_go_in_chunks() {
    for length in [DATA_BUFFER_SIZE - 1, DATA_BUFFER_SIZE, DATA_BUFFER_SIZE + 1, 2 * DATA_BUFFER_SIZE, 8192] {
        let body: Vec<u8> = (0..251).cycle().take(length - 10).collect();
        let command = message(7, &body);
        let mut rig = Rig::owned(Config::default());
        rig.set(0, CTRL_REQ, CMD_READY);
        let chunks: Vec<&[u8]> = command.chunks(DATA_BUFFER_SIZE).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            let _ = rig.write(0, DATA_BUFFER, chunk);
            assert_eq!(rig.read(0, DATA_BUFFER, chunk.len()), *chunk);
            rig.set(0, CTRL_START, if n + 1 < chunks.len() { NEXT_CHUNK } else { START });
            assert_eq!(rig.get(0, CTRL_START), 0);
        }
        assert!(rig.engine.commands == [(0, command)], "{length}");
        let response = message(0, &body);
        for _ in 0..2 {
            let mut read = Vec::new();
            while read.len() < length {
                if !read.is_empty() {
                    rig.set(0, CTRL_START, NEXT_CHUNK);
                }
                read.extend(rig.read(0, DATA_BUFFER, DATA_BUFFER_SIZE.min(length - read.len())));
            }
            assert!(read == response, "{length}");
            // Beyond the last chunk there is none, and all may be read again.
            let last = rig.read(0, DATA_BUFFER, 64);
            rig.set(0, CTRL_START, NEXT_CHUNK);
            assert_eq!(rig.read(0, DATA_BUFFER, 64), last);
            rig.set(0, CTRL_START, RSP_RETRY);
        }
    }
}

#[test]
fn without_the_capability_there_are_no_chunks() {
    let mut rig = Rig::owned(Config { buffers: Buffers::Page, ..Config::default() });
    rig.set(0, CTRL_REQ, CMD_READY);
    let _ = rig.write(0, DATA_BUFFER, &message(1, b"one"));
    rig.set(0, CTRL_START, NEXT_CHUNK);
    assert_eq!(rig.read(0, DATA_BUFFER, 13), message(1, b"one"));
}

#[test]
fn a_command_is_as_long_as_it_says_and_no_longer_than_what_could_be_sent() {
    for (says, sent, given) in [(0u32, 20, 10), (9, 20, 10), (10, 20, 10), (20, 20, 20), (30, 20, 30)] {
        let mut rig = Rig::owned(Config::default());
        rig.set(0, CTRL_REQ, CMD_READY);
        let mut command = message(1, &vec![0x42; sent - 10]);
        command[2..6].copy_from_slice(&says.to_be_bytes());
        let _ = rig.write(0, DATA_BUFFER, &command);
        rig.set(0, CTRL_START, START);
        command.resize(given, 0);
        assert_eq!(rig.engine.commands, [(0, command)]);
    }
    for says in [3969, 8192, 8193, u32::MAX] {
        let mut rig = Rig::owned(Config::default());
        rig.set(0, CTRL_REQ, CMD_READY);
        let mut command = message(1, &[]);
        command[2..6].copy_from_slice(&says.to_be_bytes());
        let _ = rig.write(0, DATA_BUFFER, &command);
        rig.set(0, CTRL_START, START);
        assert_eq!(rig.engine.commands[0].1.len(), DATA_BUFFER_SIZE, "a chunk");
    }
}

#[test]
fn a_response_that_cannot_be_given_is_a_fatal_error_until_the_reset() {
    for response in [vec![], vec![1; 9], message(0, &[7; 8000])] {
        let mut rig = Rig::owned(Config { buffers: Buffers::Page, ..Config::default() });
        rig.engine.response = Some(response);
        rig.bring(COMPLETION, b"x");
        assert_eq!(rig.get(0, tpm_crb::registers::CTRL_STS), 1);
        assert_eq!(rig.read(0, DATA_BUFFER, DATA_BUFFER_SIZE), vec![0; DATA_BUFFER_SIZE]);
        rig.engine.response = None;
        rig.set(0, CTRL_REQ, CMD_READY);
        let _ = rig.write(0, DATA_BUFFER, &message(1, b""));
        rig.set(0, CTRL_START, START);
        assert_eq!((rig.device.state(), rig.engine.commands.len()), (RECEPTION, 1), "no more commands");
        rig.device.reset(&mut rig.engine);
        assert_eq!(rig.get(0, tpm_crb::registers::CTRL_STS), 2);
        rig.set(0, tpm_crb::registers::LOC_CTRL, 1);
        rig.bring(COMPLETION, b"x");
        assert_eq!(rig.engine.commands.len(), 2);
    }
}
