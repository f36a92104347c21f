//! A history of commands that change what lasts, by chance: NV indices, persistent objects, lockout, hierarchies.
//!
//! Who runs them says what a TPM is: an engine in the process, or one in the machine.

use crate::attributes::nv as a;
use crate::cc;
use crate::chance::Chance;
use crate::codes::{LOCKOUT_HIERARCHY, OWNER, PLATFORM};
use crate::command::{command, response_code, tpm2b, with_passwords};
use crate::template::{creation, hmac_key};

/// Indices of the history, and the ordinary ones and the counters among them: counters have odd numbers.
pub const INDICES: core::ops::Range<u32> = 0x0100_0000..0x0100_0008;
/// Its persistent objects.
pub const PERSISTENT: core::ops::Range<u32> = 0x8100_0000..0x8100_0004;

/// TPM2_Startup(CLEAR).
#[must_use]
pub fn startup() -> Vec<u8> {
    command(cc::STARTUP, &[], &[], &[0, 0])
}

/// The next command, or commands, by `run`, if it can be done. `true`: the power goes after it.
pub fn step(chance: &mut Chance, mut run: impl FnMut(&[u8]) -> Vec<u8>) -> bool {
    let mut run = |code: u32, handles: &[u32], parameters: &[u8]| {
        let passwords = vec![&b""[..]; usize::from(!handles.is_empty())];
        run(&with_passwords(code, handles, &passwords, parameters))
    };
    let index = INDICES.start + chance.number(8);
    let (counter, persistent) = (index % 2 == 1, PERSISTENT.start + chance.number(4));
    let octet = chance.number(256).to_le_bytes()[0];
    match chance.below(16) {
        0..=3 => {
            let kind = if counter { a::COUNTER } else { 0 };
            let attributes = a::AUTHREAD | a::AUTHWRITE | a::NO_DA | kind;
            let size = if counter { 8 } else { 8 + 100 * u16::from(octet % 8) };
            let fields = [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0]];
            let public = tpm2b(&[&fields.concat()[..], &size.to_be_bytes()].concat());
            run(cc::NV_DEFINE_SPACE, &[OWNER], &[tpm2b(b""), public].concat());
        }
        4..=6 if counter => drop(run(cc::NV_INCREMENT, &[index, index], &[])),
        4..=8 => drop(run(cc::NV_WRITE, &[index, index], &[tpm2b(&[octet; 8]), vec![0, 0]].concat())),
        9 => drop(run(cc::NV_UNDEFINE_SPACE, &[OWNER, index], &[])),
        10 => drop(run(cc::DICTIONARY_ATTACK_LOCK_RESET, &[LOCKOUT_HIERARCHY], &[])),
        11 | 12 => {
            let made = run(cc::CREATE_PRIMARY, &[OWNER], &creation(b"", b"", &hmac_key()));
            if let (0, Some(object)) = (response_code(&made), made.get(10..14)) {
                let object = u32::from_be_bytes([object[0], object[1], object[2], object[3]]);
                run(cc::EVICT_CONTROL, &[OWNER, object], &persistent.to_be_bytes());
                run(cc::FLUSH_CONTEXT, &[], &object.to_be_bytes());
            }
        }
        13 => drop(run(cc::EVICT_CONTROL, &[OWNER, persistent], &persistent.to_be_bytes())),
        14 if octet < 64 => drop(run(cc::CLEAR, &[PLATFORM], &[])),
        14 => drop(run(cc::CLEAR_CONTROL, &[PLATFORM], &[octet & 1])),
        _ => {
            if octet.is_multiple_of(2) {
                run(cc::SHUTDOWN, &[], &[0, 0]);
            }
            return true;
        }
    }
    false
}

/// Commands that show what the history has made, and change nothing that lasts. Two TPMs of one state answer alike.
#[must_use]
pub fn look() -> Vec<Vec<u8>> {
    let properties = |capability: u32, first: u32, count: u32| {
        command(cc::GET_CAPABILITY, &[], &[], &[capability, first, count].map(u32::to_be_bytes).concat())
    };
    let read = |index| with_passwords(cc::NV_READ, &[index, index], &[b""], &[0, 8, 0, 0]);
    let public = |code, handle| command(code, &[handle], &[], &[]);
    // TPM_CAP_HANDLES of persistent objects; TPM_PT_PERMANENT; then each.
    [properties(1, PERSISTENT.start, 8), properties(6, 0x200, 1)]
        .into_iter()
        .chain(INDICES.flat_map(|index| [public(cc::NV_READ_PUBLIC, index), read(index)]))
        .chain(PERSISTENT.map(|object| public(cc::READ_PUBLIC, object)))
        .collect()
}
