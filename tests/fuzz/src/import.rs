//! A state that someone has tampered with. The digest is put right, so that what is in it is looked at.
//!
//! Whatever the octets are, they are refused, or they are the state of a TPM: it gives the same octets again and
//! executes commands.

use crate::machine::Machine;
use crate::response;
use client::command::with_passwords;
use client::names::cap;
use client::{cc, command};
use sha2::{Digest, Sha256};
use tpm_core::{Locality, StateForm};

const HEADER: usize = 16;

/// Runs an input.
pub fn run(input: &[u8]) {
    let _ = Machine::import(input);
    let mut state = input.to_vec();
    if state.len() < HEADER {
        return;
    }
    let length = u32::try_from(state.len() + 32).expect("a length");
    state[12..HEADER].copy_from_slice(&length.to_be_bytes());
    let digest = Sha256::digest(&state);
    state.extend(digest);
    let Some(mut machine) = Machine::import(&state) else { return };
    let form = if state[11] == 0 { StateForm::Whole } else { StateForm::PoweredOff };
    let written = machine.export(form);
    // A state of version 1 has no profile in it, and is written as one of version 2: that is then the same for good.
    if state[8..10] == [0, 1] {
        let again = Machine::import(&written).expect("what was written is a state");
        assert!(again.export(form) == written, "export of an import of version 1");
    } else {
        assert!(written == state, "export of import");
    }
    use_it(&mut machine);
    machine.init();
    use_it(&mut machine);
    machine.wait(1 << 33);
    use_it(&mut machine);
}

/// Commands that look everywhere, and some that change what is there.
fn use_it(machine: &mut Machine) {
    // If it is to come.
    say(machine, &command(cc::STARTUP, &[], &[], &[0, 1]));
    say(machine, &command(cc::STARTUP, &[], &[], &[0, 0]));
    let mut handles = Vec::new();
    let firsts = [0x0100_0000, 0x0200_0000, 0x0300_0000, 0x8000_0000, 0x8100_0000].map(|first| (cap::HANDLES, first));
    let lists = [cap::ALGS, cap::COMMANDS, cap::AUDIT_COMMANDS, cap::PCRS, cap::PCR_PROPERTIES].map(|list| (list, 0));
    let others = [cap::AUTH_POLICIES, cap::ACT].map(|list| (list, 0));
    let properties = [0x100, 0x200].map(|first| (cap::TPM_PROPERTIES, first));
    for (capability, first) in firsts.into_iter().chain(lists).chain(others).chain(properties) {
        let words = [capability, first, 64].map(u32::to_be_bytes).concat();
        let answer = say(machine, &command(cc::GET_CAPABILITY, &[], &[], &words));
        if capability == cap::HANDLES {
            let listed = answer.get(19..).unwrap_or_default().as_chunks().0.iter();
            handles.extend(listed.take(8).map(|handle| u32::from_be_bytes(*handle)));
        }
    }
    say(machine, &command(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0xff, 0xff]));
    say(machine, &command(cc::READ_CLOCK, &[], &[], &[]));
    say(machine, &command(cc::GET_RANDOM, &[], &[], &[0, 8]));
    for handle in handles {
        for code in [cc::READ_PUBLIC, cc::NV_READ_PUBLIC, cc::POLICY_GET_DIGEST, cc::CONTEXT_SAVE] {
            say(machine, &command(code, &[handle], &[], &[]));
        }
        // By the index' own, empty authValue.
        say(machine, &with_passwords(cc::NV_READ, &[handle, handle], &[b""], &[0, 8, 0, 0]));
        say(machine, &with_passwords(cc::NV_INCREMENT, &[handle, handle], &[b""], &[]));
    }
    say(machine, &command(cc::SHUTDOWN, &[], &[], &[0, 1]));
}

fn say(machine: &mut Machine, request: &[u8]) -> Vec<u8> {
    let answer = machine.execute(Locality::ZERO, request);
    let _ = response::check(request, &answer);
    answer
}
