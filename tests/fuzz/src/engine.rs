//! Commands in a row. An input is what TPM it begins with, and steps: each a kind and two octets, and a command with
//! its octets.
//!
//! After every step the TPM is consistent; every response is well-formed; a command that fails leaves what lasts as it
//! was, apart from the tries that dictionary-attack protection and PIN indices count, and the note that there may have
//! been one; and nothing but the platform brings failure mode.

use crate::machine::Machine;
use crate::response;
use client::codes::FAILURE;
use std::sync::LazyLock;
use tpm_core::{Locality, StateForm};

/// Steps in an input; the others are ignored.
const MAX_STEPS: usize = 64;
/// Kinds of steps.
const COMMAND: u8 = 0;
const INIT: u8 = 1;
const WAIT: u8 = 2;
const LOCALITY: u8 = 3;
const PRESENCE: u8 = 4;
const LAUNCH: u8 = 5;
const FAIL: u8 = 6;

/// A TPM with something of everything: a golden state of tpm-core's tests.
static FURNISHED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = include_str!("../../../tpm-core/tests/golden/state-1-furnished.hex");
    let digits: Vec<u8> = text.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect()
});

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((start, mut rest)) = input.split_first() else { return };
    let mut machine = match start % 2 {
        0 => Machine::manufacture(),
        _ => Machine::import(&FURNISHED).expect("a golden state"),
    };
    let (mut locality, mut failed) = (Locality::ZERO, false);
    for _ in 0..MAX_STEPS {
        let Some(([kind, high, low], tail)) = rest.split_first_chunk() else { return };
        rest = tail;
        let number = u16::from_be_bytes([*high, *low]);
        match *kind % 8 {
            INIT => {
                machine.init();
                failed = false;
            }
            WAIT => machine.wait(u64::from(number) << (number & 15)),
            LOCALITY => locality = Locality::new(*low).unwrap_or(locality),
            PRESENCE => machine.tpm.set_physical_presence(number & 1 == 1),
            LAUNCH => {
                machine.tpm.hash_start();
                machine.tpm.hash_data(&[*high; 3]);
                machine.tpm.hash_end();
                machine.check();
            }
            FAIL => {
                machine.tpm.enter_failure_mode();
                failed = true;
            }
            COMMAND.. => {
                let length = usize::from(number).min(rest.len());
                let (command, tail) = rest.split_at(length);
                rest = tail;
                let mut command = command.to_vec();
                // What has a wrong size is refused at once: most commands have the right one.
                if command.len() >= 10 && *kind < 0xf0 {
                    let size = u32::try_from(command.len()).expect("a length");
                    command[2..6].copy_from_slice(&size.to_be_bytes());
                }
                if !makes_rsa(&command) {
                    say(&mut machine, locality, &command, failed);
                }
            }
        }
    }
}

/// Whether the command may make an RSA key, which takes as long as thousands of others: tests and differential fuzzing
/// make those.
fn makes_rsa(command: &[u8]) -> bool {
    let creates = matches!(command.get(6..10), Some([0, 0, 1, 0x31 | 0x53 | 0x91]));
    // type and nameAlg of a public area
    creates && command.windows(4).any(|at| matches!(at, [0, 1, 0, 4 | 0xb..=0xd | 0x27..=0x29]))
}

fn say(machine: &mut Machine, locality: Locality, command: &[u8], failed: bool) {
    machine.wait(0);
    let before = machine.export(StateForm::PoweredOff);
    let answer = machine.execute(locality, command);
    let code = response::check(command, &answer);
    assert!(failed || code != FAILURE, "failure mode by {command:x?}");
    if code != 0 && !counts(code) {
        let after = machine.export(StateForm::PoweredOff);
        let allowed = if names_an_index(command) { 4 } else { 0 };
        assert!(differ_by_a_note(&before, &after, allowed), "{code:#x} and changed by {command:x?}");
    }
}

/// Codes that come with a counted try: `AUTH_FAIL` and `BAD_AUTH` at a session.
fn counts(code: u32) -> bool {
    code & 0x80 != 0 && matches!(code & 0x3f, 0x0e | 0x22)
}

/// Whether an NV Index is among the handles: if it is a PIN index, pinCount counts its use, whatever comes of the
/// command.
fn names_an_index(command: &[u8]) -> bool {
    (0..3).any(|n| command.get(10 + 4 * n) == Some(&1))
}

/// The states are the same, or after the first use of an authValue under protection it is noted, and TPM2_Shutdown is
/// void: two octets, beside those of a pinCount, and the digest.
fn differ_by_a_note(before: &[u8], after: &[u8], count: usize) -> bool {
    if before.len() != after.len() {
        return false;
    }
    let body = before.len() - 32;
    let changed: Vec<usize> = (0..body).filter(|at| before[*at] != after[*at]).collect();
    let is_note = |at: &&usize| matches!((before[**at], after[**at]), (0, 1) | (1 | 2, 0));
    let others = changed.iter().filter(|at| !is_note(at)).count();
    changed.len() <= 2 + count && others <= count
}
