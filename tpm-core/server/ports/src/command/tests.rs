//! What clients of the command port say and hear.

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
