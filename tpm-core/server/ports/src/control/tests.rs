//! What clients of swtpm's control channel say and hear.

use crate::machine::Machine;
use crate::machine::tests::{Seen, execute, machine};
use crate::platform::tests::say;

/// A message with its body over the Unix socket, and the answer.
fn ask(machine: &Machine, number: u32, body: &[u8]) -> Vec<u8> {
    let (outcome, heard) = say(machine, true, &[&[&number.to_be_bytes(), body].concat()]);
    outcome.unwrap();
    heard
}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.map(u32::to_be_bytes).concat()
}

#[test]
fn capabilities_are_what_qemu_asks_of_a_tpm_2_0() {
    let (machine, _) = machine();
    // INIT, SHUTDOWN, GET_TPMESTABLISHED, SET_LOCALITY, RESET_TPMESTABLISHED, STOP, SET_DATAFD, SET_BUFFERSIZE
    let wanted = 0b11_0100_1000_1111_u64;
    let has = u64::from_be_bytes(ask(&machine, 1, &[]).try_into().unwrap());
    assert_eq!(has & wanted, wanted);
}

#[test]
fn init_is_a_power_cycle_that_ends_a_locality() {
    let (machine, seen) = machine();
    assert_eq!(ask(&machine, 5, &[4]), words([0]));
    assert_eq!(ask(&machine, 2, &words([1])), words([0]));
    execute(&machine, b"x");
    assert_eq!(seen.take(), [Seen::Reset, Seen::Execute(0, b"x".to_vec())]);
    assert_eq!(seen.take_shut_downs(), 1, "the platform before it ended in order");
    assert_eq!(ask(&machine, 2, &words([2])), words([3]));
    assert_eq!(seen.take_shut_downs(), 0);
}

#[test]
fn shutdown_and_stop_take_the_power() {
    for number in [3, 0xe] {
        let (machine, seen) = machine();
        for _ in 0..2 {
            assert_eq!(ask(&machine, number, &[]), words([0]));
        }
        assert_eq!(seen.take_shut_downs(), 1, "the platform ends in order, and once");
        assert_eq!(execute(&machine, b"x"), None);
        for (number, body) in [(4, &[][..]), (6, &[]), (7, &[0; 4]), (8, &[]), (9, &[]), (0xa, &[]), (0xb, &[3])] {
            assert_eq!(ask(&machine, number, body)[..4], [0, 0, 0, 0xa], "{number}");
        }
        assert_eq!(ask(&machine, 2, &[0; 4]), words([0]));
        assert!(execute(&machine, b"x").is_some());
    }
}

#[test]
fn the_dynamic_launch_is_measured_and_its_bit_is_told_and_reset() {
    let (machine, seen) = machine();
    assert_eq!(ask(&machine, 6, &[]), words([0]));
    assert_eq!(ask(&machine, 7, b"\0\0\0\x03abc"), words([0]));
    assert_eq!(ask(&machine, 8, &[]), words([0]));
    assert_eq!(seen.take(), [Seen::HashStart, Seen::HashData(b"abc".to_vec()), Seen::HashEnd]);
    assert_eq!(ask(&machine, 4, &[]), [0, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(ask(&machine, 0xb, &[2]), words([0x3d]));
    assert_eq!(ask(&machine, 0xb, &[3]), words([0]));
}

#[test]
fn a_locality_that_does_not_exist_is_refused() {
    let (machine, seen) = machine();
    assert_eq!(ask(&machine, 5, &[3]), words([0]));
    assert_eq!(ask(&machine, 5, &[5]), words([0x3d]));
    execute(&machine, b"x");
    assert_eq!(seen.take(), [Seen::Execute(3, b"x".to_vec())]);
}

#[test]
fn qemu_fills_a_locality_up_to_four_bytes() {
    let (machine, seen) = machine();
    let messages = [&b"\0\0\0\x05\x03\0\0\0"[..], b"\0\0\0\x0B\x03\0\0\0", b"\0\0\0\x04"];
    let (outcome, heard) = say(&machine, true, &messages);
    outcome.unwrap();
    assert_eq!(heard, words([0, 0, 0, 0x0100_0000]));
    execute(&machine, b"x");
    assert_eq!(seen.take(), [Seen::Execute(3, b"x".to_vec())]);
}

#[test]
fn the_buffer_size_is_set_without_power_alone() {
    let (machine, _) = machine();
    assert_eq!(ask(&machine, 0x11, &words([0])), words([0, 8192, 1024, 8192]));
    assert_eq!(ask(&machine, 0x11, &words([4096])), words([0xa, 8192, 1024, 8192]));
    ask(&machine, 0xe, &[]);
    assert_eq!(ask(&machine, 0x11, &words([3968])), words([0, 3968, 1024, 8192]));
    assert_eq!(ask(&machine, 0x11, &words([1])), words([0, 1024, 1024, 8192]));
}

#[test]
fn state_is_given_from_an_offset_and_taken_at_the_next_init() {
    let (machine, seen) = machine();
    let whole = ask(&machine, 0xc, &words([0, 1, 0]));
    assert_eq!(whole, [words([0, 0, 15, 15]), b"state Permanent".to_vec()].concat());
    assert_eq!(ask(&machine, 0xc, &words([0, 2, 6])), [words([0, 0, 14, 8]), b"Volatile".to_vec()].concat());
    assert_eq!(ask(&machine, 0xc, &words([0, 1, 16])), words([3, 0, 0, 0]));
    assert_eq!(ask(&machine, 0xc, &words([0, 4, 0])), words([3, 0, 0, 0]));
    let set_state = |bytes: &[u8]| [words([0, 1, 3]), bytes.to_vec()].concat();
    assert_eq!(ask(&machine, 0xd, &set_state(b"new")), words([0xa]));
    ask(&machine, 0xe, &[]);
    assert_eq!(ask(&machine, 0xd, &set_state(b"new")), words([0]));
    assert_eq!(ask(&machine, 2, &[0; 4]), words([0]));
    assert_eq!(seen.take(), [Seen::SetState(crate::StateBlob::Permanent, b"new".to_vec()), Seen::Reset]);
    ask(&machine, 0xe, &[]);
    assert_eq!(ask(&machine, 0xd, &set_state(b"bad")), words([0]));
    assert_eq!(ask(&machine, 2, &[0; 4]), words([9]));
    assert!(seen.take().is_empty());
}

#[test]
fn config_and_locks_are_answered() {
    let (machine, _) = machine();
    assert_eq!(ask(&machine, 0xf, &[]), words([0, 0]));
    assert_eq!(ask(&machine, 0x13, &words([3])), words([0]));
    assert_eq!(ask(&machine, 9, &[]), words([0]));
    assert_eq!(ask(&machine, 0xa, &[]), words([9]));
}

#[test]
fn information_is_text_from_an_offset() {
    let (machine, _) = machine();
    let answer = ask(&machine, 0x12, &[0; 16]);
    let total = u32::from_be_bytes(answer[4..8].try_into().unwrap());
    assert_eq!(answer[8..12], (total + 1).to_be_bytes());
    assert!(answer[12..].starts_with(b"{\"TPMSpecification\"") && answer.ends_with(b"}}\0"));
    let rest = ask(&machine, 0x12, &words([0, 0, total - 1, 0]));
    assert_eq!(rest, [words([0, total, 2]), b"}\0".to_vec()].concat());
    assert_eq!(ask(&machine, 0x12, &words([0, 0, total + 1, 0])), words([3, total, 0]));
}

#[test]
fn what_is_malformed_ends_the_connection() {
    for said in [
        &b"\0\0\0\x02"[..],
        b"\0\0\0\x02\0\0",
        b"\0\0\0\x05",
        b"\0\0\0\x07\0\0\0\x04abc",
        b"\0\0\0\x07\xFF\xFF\xFF\xFF",
        b"\0\0\0\x0B",
        b"\0\0\0\x0C\0\0\0\0",
        b"\0\0\0\x0D\0\0\0\0\0\0\0\x01\xFF\xFF\xFF\xFF",
        b"\0\0\0\x0D\0\0\0\0\0\0\0\x01\0\0\0\x02a",
        b"\0\0\0\x10",
        b"\0\0\0\x11\0",
        b"\0\0\0\x12\0\0",
        b"\0\0\0\x13",
        b"\0\0\0\x14",
        b"\0\0\0\0",
        b"\0\0",
    ] {
        let (machine, seen) = machine();
        let (outcome, heard) = say(&machine, true, &[said]);
        assert!(outcome.is_err() && heard.is_empty() && seen.take().is_empty(), "{said:x?}");
    }
}
