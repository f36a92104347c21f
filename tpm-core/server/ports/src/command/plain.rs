//! Commands that stand alone, one after another.

use super::line::{MAX_REFUSED, beyond, gather};
use crate::machine::Machine;
use crate::turns::Client;
use crate::wire::{Pending, take, take_all};
use anyhow::{Result, ensure};
use std::io::{BufReader, Read};
use tpm_codes::fault::Fault;
use tpm_codes::rc::Rc;
use tpm_codes::st;

/// Octets of a TPM command before its handles: tag, size, code.
const HEADER: u32 = 10;
/// Octets up to the end of the size.
const SIZED: usize = 6;

/// The tag of `TPM_RC_BAD_TAG` as the specification has it. OVMF takes a TPM that answers by it at all for one of
/// version 1.2, so where commands are plain the tag is what swtpm's is there.
const OF_BAD_TAG: [u8; 2] = st::RSP_COMMAND.to_be_bytes();

/// What a plain command gets from a TPM without power.
fn without_power() -> Vec<u8> {
    Rc::failure(Fault::Platform).response().into()
}

/// A command that stands alone, which begins with `first`, and its response. One that is not as long as it says it is,
/// is given to the TPM as it came, which refuses it.
pub(super) fn answer(
    line: &mut BufReader<impl Read + Pending>,
    first: Vec<u8>,
    whole: bool,
    client: Client,
    machine: &Machine,
) -> Result<Vec<u8>> {
    let (limit, mut command) = (machine.sizes().now, first);
    if whole {
        gather(line, (SIZED - command.len()) as u64, SIZED, &mut command)?;
    } else {
        command.extend(take::<{ SIZED - 4 }>(line)?);
    }
    let size = command.get(2..SIZED).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes);
    let said = u64::from(size.max(HEADER)) - SIZED as u64;
    if (HEADER..=limit).contains(&size) {
        command.extend(take_all(line, size - 6)?);
        // What came with it is a part of it: it was longer than it says.
        if whole && !line.buffer().is_empty() {
            gather(line, u64::MAX, beyond(limit), &mut command)?;
        }
    } else if whole {
        gather(line, u64::MAX, beyond(limit), &mut command)?;
    } else {
        ensure!(size <= MAX_REFUSED, "a command of {size} bytes");
        gather(line, said, beyond(limit), &mut command)?;
    }
    let mut response = machine.execute(client, None, &command)?.unwrap_or_else(without_power);
    if let Some(tag) = response.first_chunk_mut()
        && *tag == OF_BAD_TAG
    {
        *tag = st::NO_SESSIONS.to_be_bytes();
    }
    Ok(response)
}
