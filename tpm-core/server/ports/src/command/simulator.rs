//! The TCG simulator's messages at the command port.

use super::line::{MAX_REFUSED, beyond};
use crate::machine::Machine;
use crate::turns::Client;
use crate::wire::{sized, take, word};
use anyhow::{Result, bail, ensure};
use std::io::Read;

/// What an `_TPM_Hash_Data` may bring at a time.
const MAX_HASH_DATA: u32 = 1 << 20;

/// TCG simulator: messages at the command port.
mod mssim {
    pub(super) const HASH_START: u32 = 5;
    pub(super) const HASH_DATA: u32 = 6;
    pub(super) const HASH_END: u32 = 7;
    pub(super) const SEND_COMMAND: u32 = 8;
    pub(super) const REMOTE_HANDSHAKE: u32 = 15;
    pub(super) const SET_ALTERNATIVE_RESULT: u32 = 16;
    pub(super) const SESSION_END: u32 = 20;
    pub(super) const STOP: u32 = 21;
}

/// Flags of the handshake: the platform port is there.
const PLATFORM_AVAILABLE: u32 = 1;
/// What ends each answer of the simulator.
const END: [u8; 4] = [0; 4];

/// A message of the simulator's protocol, and its answer, if the connection goes on.
pub(super) fn answer(line: &mut impl Read, first: &[u8], client: Client, machine: &Machine) -> Result<Option<Vec<u8>>> {
    match word(&mut &first[..])? {
        mssim::SESSION_END => return Ok(None),
        mssim::STOP => {
            machine.stop();
            return Ok(None);
        }
        mssim::SEND_COMMAND => {
            let [locality] = take(line)?;
            let command = sent(line, machine.sizes().now)?;
            // Without power there is no answer: its length is 0.
            let response = machine.execute(client, Some(locality), &command)?.unwrap_or_default();
            let length = u32::try_from(response.len())?.to_be_bytes();
            return Ok(Some([length.as_slice(), &response, &END].concat()));
        }
        mssim::REMOTE_HANDSHAKE => {
            let version = word(line)?;
            ensure!(version != 0, "a handshake of version 0");
            return Ok(Some([[0, 0, 0, 1], PLATFORM_AVAILABLE.to_be_bytes(), END].concat()));
        }
        mssim::HASH_START => machine.hash_start(),
        mssim::HASH_DATA => machine.hash_data(&sized(line, MAX_HASH_DATA)?),
        mssim::HASH_END => machine.hash_end(),
        mssim::SET_ALTERNATIVE_RESULT => {
            // The simulator takes it and does nothing either.
            word(line)?;
            true
        }
        other => bail!("neither a TPM command nor a message of the simulator's protocol: {other:#010x}"),
    };
    Ok(Some(END.to_vec()))
}

/// A command after its length. Of one that is too long as much is kept as shows the TPM that it is.
fn sent(line: &mut impl Read, limit: u32) -> Result<Vec<u8>> {
    let mut command = sized(line, MAX_REFUSED)?;
    command.truncate(beyond(limit));
    Ok(command)
}
