//! A state that someone has tampered with. The digest is put right, so that what is in it is looked at.
//!
//! Whatever the octets are, they are refused, or they are the state of a TPM: it gives the same octets again and
//! executes commands.

use crate::platform::Machine;
use crate::response;
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
    // TPM2_Startup, if it is to come.
    say(machine, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 1]);
    say(machine, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    let mut handles = Vec::new();
    for (capability, first) in
        [(0, 0), (1, 0x0100_0000), (1, 0x0200_0000), (1, 0x0300_0000), (1, 0x8000_0000), (1, 0x8100_0000), (2, 0)]
            .into_iter()
            .chain([(4, 0), (5, 0), (6, 0x100), (6, 0x200), (7, 0), (9, 0), (0xa, 0)])
    {
        let words = [capability, first, 64u32].map(u32::to_be_bytes).concat();
        let answer = say(machine, &[&[0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a], &words[..]].concat());
        if capability == 1 {
            handles.extend(answer.chunks_exact(4).skip(4).take(8).map(<[u8]>::to_vec));
        }
    }
    // TPM2_PCR_Read, TPM2_ReadClock, TPM2_GetRandom
    say(machine, &[0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3, 0xff, 0xff, 0xff]);
    say(machine, &[0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x81]);
    say(machine, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8]);
    for handle in handles {
        // TPM2_ReadPublic, TPM2_NV_ReadPublic, TPM2_PolicyGetDigest, TPM2_ContextSave
        for code in [0x73, 0x69, 0x89, 0x62] {
            say(machine, &[&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, code], &handle[..]].concat());
        }
        // TPM2_NV_Read, TPM2_NV_Increment by the index' own, empty authValue
        let area = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let read = [&handle[..], &handle, &area, &[0, 8, 0, 0]].concat();
        say(machine, &[&[0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e], &read[..]].concat());
        let increment = [&handle[..], &handle, &area].concat();
        say(machine, &[&[0x80, 2, 0, 0, 0, 31, 0, 0, 1, 0x34], &increment[..]].concat());
    }
    // TPM2_Shutdown(STATE)
    say(machine, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 1]);
}

fn say(machine: &mut Machine, request: &[u8]) -> Vec<u8> {
    let answer = machine.execute(Locality::ZERO, request);
    let _ = response::check(request, &answer);
    answer
}
