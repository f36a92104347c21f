//! Commands: the simulator's messages, or plain TPM commands.
//!
//! At the TCP port either comes, and the first word of a connection tells which for all of it: the simulator's messages
//! have small numbers, and no tag of a TPM command is zero. Everywhere else it is plain commands and nothing else. What
//! a guest writes into its buffer comes by the data channel, so nothing there is a message, and nothing ends it: what
//! is no command is the TPM's to refuse.

use super::machine::{Dialect, Machine, Power};
use super::turns::Client;
use super::wire::{Pending, first_word, sized, take, take_all, word};
use anyhow::{Result, bail, ensure};
use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};

/// Octets of a TPM command before its handles: tag, size, code.
const HEADER: u32 = 10;
/// Octets up to the end of the size.
const SIZED: usize = 6;
/// What an `_TPM_Hash_Data` may bring at a time.
const MAX_HASH_DATA: u32 = 1 << 20;
/// The longest command that is read, though it is refused. Over TCP a longer one ends the connection, as does what a
/// browser was made to send: four letters are a larger number.
const MAX_REFUSED: u32 = 1 << 20;
/// More than a command has: one read for each.
const BUFFER: usize = 16 << 10;
/// How long the rest may take of what is refused whatever it is.
const PATIENCE: Duration = Duration::from_millis(50);

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

/// `TPM_ST_RSP_COMMAND`, the tag of `TPM_RC_BAD_TAG` as the specification has it. OVMF takes a TPM that answers by it
/// at all for one of version 1.2, so where commands are plain the tag is what swtpm's is there.
const TAG_RSP_COMMAND: [u8; 2] = [0, 0xc4];
/// `TPM_ST_NO_SESSIONS`.
const TAG_NO_SESSIONS: [u8; 2] = [0x80, 1];
/// Flags of the handshake: the platform port is there.
const PLATFORM_AVAILABLE: u32 = 1;
/// What ends each answer of the simulator.
const END: [u8; 4] = [0; 4];

/// What is spoken on a connection that gives commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// What its first word belongs to.
    Either,
    /// The simulator's messages.
    Simulator,
    /// Commands one after another.
    Plain,
    /// The same, where each comes as QEMU sends it: whole, and the next one after its response. So the end of one that
    /// lies about its size is where nothing more comes.
    Data,
}

impl Framing {
    /// At the TCP port, where `settled` is what `--protocol` says.
    pub(super) const fn at_port(settled: Option<Dialect>) -> Self {
        match settled {
            None => Self::Either,
            Some(Dialect::Simulator) => Self::Simulator,
            Some(Dialect::Swtpm) => Self::Plain,
        }
    }
}

/// Serves one client to its end.
pub(super) fn serve(
    stream: impl Read + Write + Pending,
    framing: Framing,
    client: Client,
    machine: &Machine,
) -> Result<()> {
    let mut line = BufReader::with_capacity(BUFFER, stream);
    let Some(mut first) = start(&mut line, framing)? else {
        // So tcti-swtpm looks whether someone is here, before all else: a new client, and a locality is a client's.
        machine.set_locality(0);
        return Ok(());
    };
    let simulator = match framing {
        Framing::Either => first.starts_with(&[0, 0]),
        other => other == Framing::Simulator,
    };
    machine.heard(client, if simulator { Dialect::Simulator } else { Dialect::Swtpm });
    loop {
        let answer = if simulator {
            answer(&mut line, &first, client, machine)?
        } else {
            Some(plain(&mut line, first, framing == Framing::Data, client, machine)?)
        };
        let Some(answer) = answer else { return Ok(()) };
        line.get_mut().write_all(&answer)?;
        let Some(next) = start(&mut line, framing)? else { return Ok(()) };
        first = next;
    }
}

/// The first word of a message, or what there is of it where a message may be shorter; nothing at the end of the
/// stream.
fn start(line: &mut BufReader<impl Read + Pending>, framing: Framing) -> Result<Option<Vec<u8>>> {
    if framing != Framing::Data {
        return Ok(first_word(line)?.map(|word| word.to_be_bytes().to_vec()));
    }
    if line.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut first = Vec::new();
    gather(line, 4, 4, &mut first)?;
    Ok(Some(first))
}

/// Takes octets as long as they come, `count` at most, and keeps the first of them until there are `kept` in `command`.
fn gather(line: &mut BufReader<impl Read + Pending>, count: u64, kept: usize, command: &mut Vec<u8>) -> Result<()> {
    let mut left = count;
    while left > 0 && (!line.buffer().is_empty() || line.get_ref().is_pending(PATIENCE)?) {
        let there = line.fill_buf()?;
        let taken = there.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if taken == 0 {
            break;
        }
        command.extend_from_slice(&there[..taken.min(kept.saturating_sub(command.len()))]);
        line.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// A message of the simulator's protocol, and its answer, if the connection goes on.
fn answer(
    line: &mut BufReader<impl Read + Pending>,
    first: &[u8],
    client: Client,
    machine: &Machine,
) -> Result<Option<Vec<u8>>> {
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

/// Octets that are more than the buffer has.
fn beyond(limit: u32) -> usize {
    usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_add(1))
}

/// A command that stands alone, which begins with `first`, and its response. One that is not as long as it says it is,
/// is given to the TPM as it came, which refuses it.
fn plain(
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
    let mut response = machine.execute(client, None, &command)?.unwrap_or_else(|| Power::OFF_RESPONSE.to_vec());
    if let Some(tag) = response.first_chunk_mut()
        && *tag == TAG_RSP_COMMAND
    {
        *tag = TAG_NO_SESSIONS;
    }
    Ok(response)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Framing, Pending};
    use crate::machine::Machine;
    use crate::machine::tests::{Seen, machine};
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

    impl Pending for Client {
        fn is_pending(&self, _patience: core::time::Duration) -> anyhow::Result<bool> {
            Ok(self.said.position() < self.said.get_ref().len() as u64)
        }
    }

    impl Pending for &mut Client {
        fn is_pending(&self, patience: core::time::Duration) -> anyhow::Result<bool> {
            (**self).is_pending(patience)
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

    /// A client at the TCP port, where nothing is settled.
    pub(crate) fn serve(stream: impl Read + Write + Pending, machine: &Machine) -> anyhow::Result<()> {
        serve_as(stream, Framing::Either, machine)
    }

    fn serve_as(stream: impl Read + Write + Pending, framing: Framing, machine: &Machine) -> anyhow::Result<()> {
        let client = machine.enter(true);
        let outcome = super::serve(stream, framing, client, machine);
        machine.leave(client);
        outcome
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
        serve(Client::saying(b"\0\0\0\x15"), &machine).unwrap();
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
        serve(Client::saying(COMMAND), &machine).unwrap();
        serve(Client::saying(b""), &machine).unwrap();
        serve(Client::saying(COMMAND), &machine).unwrap();
        assert_eq!(seen.take(), [Seen::Execute(3, COMMAND.to_vec()), Seen::Execute(0, COMMAND.to_vec())]);
    }

    #[test]
    fn without_power_the_simulator_answers_nothing_and_swtpm_a_failure() {
        let (machine, seen) = machine();
        machine.power_off();
        let mut client = Client::saying(&[b"\0\0\0\x08\0\0\0\0\x0C", COMMAND].concat());
        serve(&mut client, &machine).unwrap();
        assert_eq!(client.heard, [0; 8]);
        let mut client = Client::saying(COMMAND);
        serve(&mut client, &machine).unwrap();
        assert_eq!(client.heard, b"\x80\x01\0\0\0\x0A\0\0\x01\x01");
        assert!(seen.take().is_empty());
    }

    /// Issue: through QEMU one such command took the VM's TPM.
    #[test]
    fn what_is_no_command_is_the_tpms_to_refuse_and_the_connection_goes_on() {
        let too_long = [b"\x80\x01\0\0\x20\x01\0\0\x01\x7B".as_slice(), &[0; 0x2001 - 10]].concat();
        for said in [
            b"\x80\x04\0\0\0\x0C\0\0\x01\x7B\0\x08".as_slice(),
            b"\x80\x01\0\0\0\x09\0\0\0",
            b"\x80\x01\0\0\0\0\0\0\x01\x7B",
            b"\x12\x34\0\0\0\x0A\0\0\x01\x7B",
            &too_long,
        ] {
            for framing in [Framing::Either, Framing::Plain, Framing::Data] {
                let (machine, seen) = machine();
                let mut client = Talk { said: vec![said.to_vec(), COMMAND.to_vec()], at: 0, heard: Vec::new() };
                serve_as(&mut client, framing, &machine).unwrap();
                assert_eq!(client.heard, b"okok", "{said:x?}, {framing:?}");
                assert_eq!(seen.take(), [Seen::Execute(0, said.to_vec()), Seen::Execute(0, COMMAND.to_vec())]);
            }
        }
        let simulated = [b"\0\0\0\x08\0\0\0\x20\x02".as_slice(), &too_long, &[0], b"\0\0\0\x08\0\0\0\0\x0C", COMMAND];
        let (outcome, heard, seen) = talk(&simulated.concat());
        outcome.unwrap();
        assert_eq!(heard, b"\0\0\0\x02ok\0\0\0\0".repeat(2));
        assert_eq!(seen, [Seen::Execute(0, too_long), Seen::Execute(0, COMMAND.to_vec())]);
    }

    /// A client that says the next thing when it has got an answer to the last.
    struct Talk {
        said: Vec<Vec<u8>>,
        at: usize,
        heard: Vec<u8>,
    }

    impl Read for &mut Talk {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let Some(now) = self.said.first_mut() else { return Ok(0) };
            let count = buffer.len().min(now.len() - self.at);
            buffer[..count].copy_from_slice(&now[self.at..][..count]);
            self.at += count;
            Ok(count)
        }
    }

    impl Write for &mut Talk {
        fn write(&mut self, buffer: &[u8]) -> Result<usize> {
            self.said.remove(0);
            self.at = 0;
            self.heard.write(buffer)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    impl Pending for &mut Talk {
        fn is_pending(&self, _patience: core::time::Duration) -> anyhow::Result<bool> {
            Ok(self.said.first().is_some_and(|now| self.at < now.len()))
        }
    }

    /// Issue, section 3, row 1: a guest writes these into its CRB; PCR 17 was forged, a locality taken, the server
    /// ended.
    #[test]
    fn the_data_channel_has_commands_and_no_messages() {
        for said in [
            b"\0\0\0\x05".as_slice(),
            b"\0\0\0\x06\0\0\0\x03abc",
            b"\0\0\0\x07",
            b"\0\0\0\x08\x04\0\0\0\x0C\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08",
            b"\0\0\0\x05\0\0\0\x06\0\0\0\x03abc\0\0\0\x07",
            b"\0\0\0\x0F\0\0\0\x01",
            b"\0\0\0\x14",
            b"\0\0\0\x15",
            b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08",
            b"GET / HTTP/1.1\r\n",
            b"\x80\x01\xFF\xFF\xFF\xFF\0\0\0\0",
            b"\0",
        ] {
            let (machine, seen) = machine();
            let mut client = Talk { said: vec![said.to_vec(), COMMAND.to_vec()], at: 0, heard: Vec::new() };
            serve_as(&mut client, Framing::Data, &machine).unwrap();
            assert_eq!(client.heard, b"okok", "{said:x?}");
            assert_eq!(seen.take(), [Seen::Execute(0, said.to_vec()), Seen::Execute(0, COMMAND.to_vec())]);
            assert!(!machine.stops().is_set());
        }
    }

    #[test]
    fn what_a_connection_spoke_first_it_speaks_to_its_end() {
        let (_, heard, seen) = talk(&[COMMAND, b"\0\0\0\x05\0\0"].concat());
        assert_eq!((heard, seen.len()), (b"okok".to_vec(), 2), "no _TPM_Hash_Start");
        let (outcome, _, seen) = talk(&[b"\0\0\0\x05", COMMAND].concat());
        assert!(outcome.is_err() && seen == [Seen::HashStart]);
    }
}
