//! swtpm's control channel: numbers of four bytes, a body for some, and an answer that begins with a result, 0 for
//! success.

use crate::backend::StateBlob;
use crate::machine::Machine;
use crate::wire::{Listen, sized, take, take_all, word};
use anyhow::{Context, Result, bail, ensure};
use std::io::Read;
use std::os::fd::OwnedFd;

/// The numbers of the messages.
mod cmd {
    pub(super) const GET_CAPABILITY: u32 = 1;
    pub(super) const INIT: u32 = 2;
    pub(super) const SHUTDOWN: u32 = 3;
    pub(super) const GET_TPMESTABLISHED: u32 = 4;
    pub(super) const SET_LOCALITY: u32 = 5;
    pub(super) const HASH_START: u32 = 6;
    pub(super) const HASH_DATA: u32 = 7;
    pub(super) const HASH_END: u32 = 8;
    pub(super) const CANCEL_TPM_CMD: u32 = 9;
    pub(super) const STORE_VOLATILE: u32 = 0xa;
    pub(super) const RESET_TPMESTABLISHED: u32 = 0xb;
    pub(super) const GET_STATEBLOB: u32 = 0xc;
    pub(super) const SET_STATEBLOB: u32 = 0xd;
    pub(super) const STOP: u32 = 0xe;
    pub(super) const GET_CONFIG: u32 = 0xf;
    pub(super) const SET_DATAFD: u32 = 0x10;
    pub(super) const SET_BUFFERSIZE: u32 = 0x11;
    pub(super) const GET_INFO: u32 = 0x12;
    pub(super) const LOCK_STORAGE: u32 = 0x13;
}

/// Results, which are those of TPM 1.2.
mod result {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const BAD_PARAMETER: u32 = 3;
    pub(super) const FAIL: u32 = 9;
    /// Not while the TPM runs, or does not run.
    pub(super) const BAD_ORDINAL: u32 = 0xa;
    pub(super) const BAD_LOCALITY: u32 = 0x3d;
}

/// A bit for each group of messages that is served, in the order of tpm_ioctl.h.
mod capability {
    pub(super) const STATEBLOBS: u64 = 0b11 << 8;
    /// INIT, SHUTDOWN, GET_TPMESTABLISHED, SET_LOCALITY, HASHING, CANCEL_TPM_CMD, RESET_TPMESTABLISHED, STOP,
    /// GET_CONFIG, SET_DATAFD, SET_BUFFERSIZE, GET_INFO, LOCK_STORAGE.
    pub(super) const ALWAYS: u64 = 0b1_0111_1100_1011_1111;
}

/// `PTM_INIT_FLAG_DELETE_VOLATILE`, the only flag that there is.
const DELETE_VOLATILE: u32 = 1;
/// The longest piece of data for the H-CRTM, and the longest state.
const MAX_DATA: u32 = 1 << 20;

/// What `CMD_GET_CAPABILITY` answers.
pub(super) fn capabilities(machine: &Machine) -> [u8; 8] {
    let state = if machine.has_state() { capability::STATEBLOBS } else { 0 };
    (capability::ALWAYS | state).to_be_bytes()
}

/// Reads the body of a message, does what it says, and gives the answer.
pub(super) fn answer(
    number: u32,
    channel: &mut impl Listen,
    machine: &Machine,
    adopt: &dyn Fn(OwnedFd),
) -> Result<Vec<u8>> {
    let outcome = match number {
        cmd::GET_CAPABILITY => return Ok(capabilities(machine).to_vec()),
        cmd::INIT => init(word(channel)?, machine),
        // Nothing more: a power switch that ends a server without a folder would end its state, too ([`shuts_down`]).
        cmd::SHUTDOWN | cmd::STOP => {
            machine.shut_down();
            if machine.power_off() { result::SUCCESS } else { result::FAIL }
        }
        cmd::GET_TPMESTABLISHED => return Ok(established(machine)),
        cmd::SET_LOCALITY => {
            let [locality] = take(channel)?;
            if machine.set_locality(locality) { result::SUCCESS } else { result::BAD_LOCALITY }
        }
        cmd::HASH_START => running(machine, Machine::hash_start),
        cmd::HASH_DATA => {
            let data = sized(channel, MAX_DATA)?;
            running(machine, |machine| machine.hash_data(&data))
        }
        cmd::HASH_END => running(machine, Machine::hash_end),
        cmd::CANCEL_TPM_CMD => running(machine, |machine| {
            machine.cancel();
            true
        }),
        // What is lost without power is given to the client that asks for it, and kept nowhere.
        cmd::STORE_VOLATILE => running(machine, |_| false),
        cmd::RESET_TPMESTABLISHED => {
            let [locality] = take(channel)?;
            if matches!(locality, 3 | 4) { running(machine, Machine::reset_established) } else { result::BAD_LOCALITY }
        }
        cmd::GET_STATEBLOB => return get_state(channel, machine),
        cmd::SET_STATEBLOB => set_state(channel, machine)?,
        // Neither the file's key nor the migration's is there.
        cmd::GET_CONFIG => return Ok([result::SUCCESS, 0].map(u32::to_be_bytes).concat()),
        cmd::SET_DATAFD => {
            adopt(channel.descriptor().context("CMD_SET_DATAFD came without a file descriptor")?);
            result::SUCCESS
        }
        cmd::SET_BUFFERSIZE => return set_buffer_size(word(channel)?, machine),
        cmd::GET_INFO => return info(channel),
        cmd::LOCK_STORAGE => {
            // The state has no other user.
            let _retries = word(channel)?;
            result::SUCCESS
        }
        other => bail!("no message of swtpm's control channel: {other:#010x}"),
    };
    Ok(outcome.to_be_bytes().to_vec())
}

/// Whether swtpm ends after its answer to a message. A server here does if it was told to.
pub(super) const fn shuts_down(number: u32) -> bool {
    number == cmd::SHUTDOWN
}

/// Whether a message ends in an octet: QEMU fills its structure up to four, tpm2-tss does not.
pub(super) const fn ends_in_octet(number: u32) -> bool {
    matches!(number, cmd::SET_LOCALITY | cmd::RESET_TPMESTABLISHED)
}

/// The number of the next message after such a one, behind what fills that up if that was sent: then the first word is
/// no number, as these begin with three zeros and are no zero.
pub(super) fn after_octet(channel: &mut impl Listen) -> Result<Option<u32>> {
    let mut word = Vec::new();
    Read::take(&mut *channel, 4).read_to_end(&mut word)?;
    Ok(match *word {
        // The stream ends.
        [] | [_, _, _] => None,
        [0, 0, 0, number] if number != 0 => Some(number.into()),
        [_, _, _, first] => {
            let [b, c, d] = take(channel)?;
            Some(u32::from_be_bytes([first, b, c, d]))
        }
        _ => bail!("the message is cut short"),
    })
}

fn init(flags: u32, machine: &Machine) -> u32 {
    if flags & !DELETE_VOLATILE != 0 {
        return result::BAD_PARAMETER;
    }
    machine.shut_down();
    // Volatile state is kept nowhere, so there is none to delete.
    if machine.init() { result::SUCCESS } else { result::FAIL }
}

/// What needs a running TPM.
fn running(machine: &Machine, action: impl FnOnce(&Machine) -> bool) -> u32 {
    if !machine.is_powered() {
        result::BAD_ORDINAL
    } else if action(machine) {
        result::SUCCESS
    } else {
        result::FAIL
    }
}

/// The result, the bit, and what fills the structure up.
fn established(machine: &Machine) -> Vec<u8> {
    let outcome = running(machine, |_| true);
    [outcome.to_be_bytes(), [(outcome == result::SUCCESS && machine.established()).into(), 0, 0, 0]].concat()
}

fn set_buffer_size(wanted: u32, machine: &Machine) -> Result<Vec<u8>> {
    // 0 only asks.
    let outcome = if wanted == 0 {
        result::SUCCESS
    } else if machine.is_powered() {
        result::BAD_ORDINAL
    } else {
        machine.set_buffer_size(wanted);
        result::SUCCESS
    };
    let sizes = machine.sizes();
    Ok([outcome, sizes.now, sizes.least, sizes.most].map(u32::to_be_bytes).concat())
}

fn blob(kind: u32) -> Option<StateBlob> {
    Some(match kind {
        1 => StateBlob::Permanent,
        2 => StateBlob::Volatile,
        3 => StateBlob::Saved,
        _ => return None,
    })
}

/// Flags, kind and offset; the result, flags, length of all, length of what follows, and that.
fn get_state(channel: &mut impl Listen, machine: &Machine) -> Result<Vec<u8>> {
    let [_flags, kind, offset] = [word(channel)?, word(channel)?, word(channel)?];
    let refusal = |code: u32| Ok([code, 0, 0, 0].map(u32::to_be_bytes).concat());
    let Some(blob) = blob(kind) else { return refusal(result::BAD_PARAMETER) };
    let state = match machine.state(blob) {
        Ok(state) => state,
        Err(error) => {
            log::warn!("no state is given: {error:#}");
            return refusal(result::FAIL);
        }
    };
    let Some(rest) = state.get(offset as usize..) else { return refusal(result::BAD_PARAMETER) };
    let lengths = [u32::try_from(state.len())?, u32::try_from(rest.len())?];
    let header = [result::SUCCESS, 0, lengths[0], lengths[1]].map(u32::to_be_bytes).concat();
    Ok([&header, rest].concat())
}

/// Flags, kind, length and as many bytes; they take effect at the next INIT.
fn set_state(channel: &mut impl Listen, machine: &Machine) -> Result<u32> {
    let [flags, kind, length] = [word(channel)?, word(channel)?, word(channel)?];
    ensure!(length <= MAX_DATA, "a state of {length} bytes");
    let bytes = take_all(channel, length)?;
    let Some(blob) = blob(kind) else { return Ok(result::BAD_PARAMETER) };
    if machine.is_powered() {
        return Ok(result::BAD_ORDINAL);
    }
    // An encrypted state: nobody here has its key.
    if flags != 0 || !machine.has_state() {
        return Ok(result::FAIL);
    }
    machine.keep_state(blob, bytes);
    Ok(result::SUCCESS)
}

/// Flags of eight bytes, an offset and four bytes of nothing; the result, the length of the text, the length of what
/// follows, and that with a NUL.
fn info(channel: &mut impl Listen) -> Result<Vec<u8>> {
    const TEXT: &str = concat!(
        r#"{"TPMSpecification":{"family":"2.0","level":0,"revision":185},"#,
        r#""TPMAttributes":{"manufacturer":"id:51554F49","version":"id:00000001","model":"Quoin"}}"#
    );
    let [_high, _low, offset, _padding] = [word(channel)?, word(channel)?, word(channel)?, word(channel)?];
    let total = u32::try_from(TEXT.len())?;
    let Some(rest) = TEXT.as_bytes().get(offset as usize..) else {
        return Ok([result::BAD_PARAMETER, total, 0].map(u32::to_be_bytes).concat());
    };
    let length = u32::try_from(rest.len() + 1)?;
    Ok([&[result::SUCCESS, total, length].map(u32::to_be_bytes).concat(), rest, &[0]].concat())
}

#[cfg(test)]
mod tests;
