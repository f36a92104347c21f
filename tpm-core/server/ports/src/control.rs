//! swtpm's control channel: numbers of four bytes, a body for some, and an answer that begins with a result, 0 for
//! success.

use super::StateBlob;
use super::machine::Machine;
use super::platform::Listen;
use super::wire::{sized, take, take_all, word};
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
        // swtpm ends here, if it was told to; a power switch that ends the server would end its state, too.
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
        // What is lost without power is given to who asks for it, and kept nowhere.
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
            eprintln!("no state is given: {error:#}");
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
    machine.bring(blob, bytes);
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
mod tests {
    use super::super::machine::Machine;
    use super::super::machine::tests::{Seen, execute, machine};
    use super::super::platform::tests::say;

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
        let bring = |bytes: &[u8]| [words([0, 1, 3]), bytes.to_vec()].concat();
        assert_eq!(ask(&machine, 0xd, &bring(b"new")), words([0xa]));
        ask(&machine, 0xe, &[]);
        assert_eq!(ask(&machine, 0xd, &bring(b"new")), words([0]));
        assert_eq!(ask(&machine, 2, &[0; 4]), words([0]));
        assert_eq!(seen.take(), [Seen::SetState(crate::StateBlob::Permanent, b"new".to_vec()), Seen::Reset]);
        ask(&machine, 0xe, &[]);
        assert_eq!(ask(&machine, 0xd, &bring(b"bad")), words([0]));
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
}
