//! The command port: the simulator's messages, or plain TPM commands.
//!
//! A plain command begins with a tag that is no number of a message, so each message tells what it is.

use super::machine::{Dialect, Machine, Power};
use super::wire::{first_word, sized, take, take_all, word};
use anyhow::{Result, bail, ensure};
use std::io::{Read, Write};

/// Longest command that is taken, in bytes. The engine refuses what is too long for it by a response code.
pub(super) const MAX_COMMAND: u32 = 8192;
/// Bytes of a TPM command before its handles: tag, size, code.
const HEADER: usize = 10;
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

/// What a plain command may begin with: the tags of TPM 2.0, and those of TPM 1.2, by which firmware finds out which it has and which the TPM
/// answers with `TPM_RC_BAD_TAG`.
const TAGS: [u32; 5] = [0x8001, 0x8002, 0x00c1, 0x00c2, 0x00c3];
/// `TPM_ST_RSP_COMMAND`, the tag of `TPM_RC_BAD_TAG` as the specification has it. OVMF takes a TPM that answers by it at all for one of version 1.2,
/// so at swtpm's data channel the tag is what swtpm's is there.
const TAG_RSP_COMMAND: [u8; 2] = [0, 0xc4];
/// `TPM_ST_NO_SESSIONS`.
const TAG_NO_SESSIONS: [u8; 2] = [0x80, 1];
/// Flags of the handshake: the platform port is there.
const PLATFORM_AVAILABLE: u32 = 1;
/// What ends each answer of the simulator.
const END: [u8; 4] = [0; 4];

/// Serves one client to its end.
pub(super) fn serve(mut stream: impl Read + Write, machine: &Machine) -> Result<()> {
    let mut silent = true;
    while let Some(first) = first_word(&mut stream)? {
        silent = false;
        let answer = match first {
            mssim::SESSION_END => return Ok(()),
            mssim::STOP => {
                machine.stop();
                return Ok(());
            }
            tpm if TAGS.contains(&(tpm >> 16)) => plain(&mut stream, tpm, machine)?,
            message => {
                machine.heard(Dialect::Simulator);
                simulator(&mut stream, message, machine)?
            }
        };
        stream.write_all(&answer)?;
    }
    if silent {
        // So tcti-swtpm looks whether someone is here, before all else: a new client, and a locality is a client's.
        machine.set_locality(0);
    }
    Ok(())
}

/// A message of the simulator's protocol, and its answer.
fn simulator(stream: &mut impl Read, message: u32, machine: &Machine) -> Result<Vec<u8>> {
    match message {
        mssim::SEND_COMMAND => {
            let [locality] = take(stream)?;
            let command = sized(stream, MAX_COMMAND)?;
            // Without power there is no answer: its length is 0.
            let response = machine.execute(Some(locality), &command)?.unwrap_or_default();
            let length = u32::try_from(response.len())?.to_be_bytes();
            return Ok([length.as_slice(), &response, &END].concat());
        }
        mssim::REMOTE_HANDSHAKE => {
            let version = word(stream)?;
            ensure!(version != 0, "a handshake of version 0");
            return Ok([[0, 0, 0, 1], PLATFORM_AVAILABLE.to_be_bytes(), END].concat());
        }
        mssim::HASH_START => machine.hash_start(),
        mssim::HASH_DATA => machine.hash_data(&sized(stream, MAX_HASH_DATA)?),
        mssim::HASH_END => machine.hash_end(),
        mssim::SET_ALTERNATIVE_RESULT => {
            // The simulator takes it and does nothing either.
            word(stream)?;
            true
        }
        other => bail!("neither a TPM command nor a message of the simulator's protocol: {other:#010x}"),
    };
    Ok(END.to_vec())
}

/// A command that stands alone, and its response; `first` is its tag and half of its size.
fn plain(stream: &mut impl Read, first: u32, machine: &Machine) -> Result<Vec<u8>> {
    let rest: [u8; HEADER - 4] = take(stream)?;
    let mut command = [first.to_be_bytes().as_slice(), &rest].concat();
    let size = u32::from_be_bytes([command[2], command[3], command[4], command[5]]);
    ensure!((10..=MAX_COMMAND).contains(&size), "a command of {size} bytes");
    command.extend(take_all(stream, size - 10)?);
    machine.heard(Dialect::Swtpm);
    let mut response = machine.execute(None, &command)?.unwrap_or_else(|| Power::OFF_RESPONSE.to_vec());
    if let Some(tag) = response.first_chunk_mut()
        && *tag == TAG_RSP_COMMAND
    {
        *tag = TAG_NO_SESSIONS;
    }
    Ok(response)
}

#[cfg(test)]
pub(super) mod tests {
    use super::serve;
    use crate::server::machine::tests::{Seen, machine};
    use std::io::{Cursor, Read, Result, Write};

    /// A client that has said everything, and keeps what it hears.
    pub(crate) struct Client {
        said: Cursor<Vec<u8>>,
        pub(crate) heard: Vec<u8>,
    }

    impl Client {
        pub(crate) fn saying(said: &[u8]) -> Self {
            Self { said: Cursor::new(said.to_vec()), heard: Vec::new() }
        }
    }

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.said.read(buffer)
        }
    }

    impl Write for Client {
        fn write(&mut self, buffer: &[u8]) -> Result<usize> {
            self.heard.write(buffer)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    /// What the client hears, and what was done; the response is always `ok`.
    fn talk(said: &[u8]) -> (anyhow::Result<()>, Vec<u8>, Vec<Seen>) {
        let (machine, seen) = machine();
        let mut client = Client::saying(said);
        let outcome = serve(&mut client, &machine);
        (outcome, client.heard, seen.take())
    }

    const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

    #[test]
    fn the_simulators_protocol_carries_length_and_a_trailing_zero() {
        let (outcome, heard, seen) = talk(&[b"\0\0\0\x08\x03\0\0\0\x0C", COMMAND, b"\0\0\0\x14"].concat());
        outcome.unwrap();
        assert_eq!(heard, b"\0\0\0\x02ok\0\0\0\0");
        assert_eq!(seen, [Seen::Execute(3, COMMAND.to_vec())]);
    }

    #[test]
    fn plain_commands_are_answered_plainly_one_after_another() {
        let (outcome, heard, seen) = talk(&[COMMAND, COMMAND].concat());
        outcome.unwrap();
        assert_eq!(heard, b"okok");
        assert_eq!(seen, [Seen::Execute(0, COMMAND.to_vec()), Seen::Execute(0, COMMAND.to_vec())]);
    }

    #[test]
    fn a_command_of_tpm_1_2_reaches_the_tpm() {
        let get_ticks = b"\0\xC1\0\0\0\x0A\0\0\0\xF1";
        let (outcome, heard, seen) = talk(get_ticks);
        outcome.unwrap();
        assert_eq!(heard, b"ok");
        assert_eq!(seen, [Seen::Execute(0, get_ticks.to_vec())]);
    }

    #[test]
    fn a_handshake_names_version_one_and_the_platform_port() {
        let (outcome, heard, _) = talk(b"\0\0\0\x0F\0\0\0\x01");
        outcome.unwrap();
        assert_eq!(heard, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_dynamic_launch_is_measured_through_the_command_port() {
        let (outcome, heard, seen) = talk(b"\0\0\0\x05\0\0\0\x06\0\0\0\x03abc\0\0\0\x07\0\0\0\x10\0\0\0\0");
        outcome.unwrap();
        assert_eq!(heard, [0; 16]);
        assert_eq!(seen, [Seen::HashStart, Seen::HashData(b"abc".to_vec()), Seen::HashEnd]);
    }

    #[test]
    fn stop_ends_the_server() {
        let (machine, _) = machine();
        serve(&mut Client::saying(b"\0\0\0\x15"), &machine).unwrap();
        assert!(machine.stops().is_set());
    }

    #[test]
    fn what_is_neither_protocol_ends_the_connection_unexecuted() {
        for said in [
            b"GET / HTTP/1.1".as_slice(),
            b"\0\0\0\x08\0\xFF\xFF\xFF\xFF",
            b"\0\0\0\x08\0\0\0\0\x0C\x80\x01",
            b"\0\0\0\x08",
            b"\0\0\0\x06\xFF\xFF\xFF\xFF",
            b"\0\0\0\x0F\0\0\0\0",
            b"\0\0\0\x0F\0",
            b"\x80\x01\xFF\xFF\xFF\xFF\0\0\0\0",
            b"\x80\x01\0\0\0\x09\0\0\0\0",
            b"\x80\x01\0",
            b"\0\0\0\0",
            b"\0",
        ] {
            let (outcome, heard, seen) = talk(said);
            assert!(outcome.is_err() && seen.is_empty() && heard.is_empty(), "{said:x?}");
        }
    }

    #[test]
    fn a_client_that_says_nothing_has_ended_and_the_next_one_is_at_locality_0() {
        let (machine, seen) = machine();
        machine.set_locality(3);
        serve(&mut Client::saying(COMMAND), &machine).unwrap();
        serve(&mut Client::saying(b""), &machine).unwrap();
        serve(&mut Client::saying(COMMAND), &machine).unwrap();
        assert_eq!(seen.take(), [Seen::Execute(3, COMMAND.to_vec()), Seen::Execute(0, COMMAND.to_vec())]);
    }

    #[test]
    fn without_power_the_simulator_answers_nothing_and_swtpm_a_failure() {
        let (machine, seen) = machine();
        machine.power_off();
        let mut client = Client::saying(&[b"\0\0\0\x08\0\0\0\0\x0C", COMMAND, COMMAND].concat());
        serve(&mut client, &machine).unwrap();
        assert_eq!(client.heard, b"\0\0\0\0\0\0\0\0\x80\x01\0\0\0\x0A\0\0\x01\x01");
        assert!(seen.take().is_empty());
    }
}
