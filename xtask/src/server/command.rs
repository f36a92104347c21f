//! The command port: the simulator's messages, or plain TPM commands.

use super::Shared;
use anyhow::{Result, bail, ensure};
use core::sync::atomic::Ordering;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// Longest command that is taken, in bytes; longer ones the firmware's page does not hold either.
const MAX_COMMAND: u32 = 4096;
/// Bytes of a TPM command before its handles: tag, size, code.
const HEADER: usize = 10;

/// TCG simulator: messages at the command port.
mod mssim {
    pub(super) const SEND_COMMAND: u32 = 8;
    pub(super) const REMOTE_HANDSHAKE: u32 = 15;
    pub(super) const SESSION_END: u32 = 20;
    pub(super) const STOP: u32 = 21;
}

/// Serves one client to its end.
pub(super) fn serve(stream: TcpStream, shared: &Shared) -> Result<()> {
    exchange(stream, &mut |locality, command| {
        let locality = locality.unwrap_or_else(|| shared.locality.load(Ordering::SeqCst));
        shared.backend().execute(locality, command)
    })
}

/// Executes a command at a locality, if the protocol has named one.
type Execute<'a> = &'a mut dyn FnMut(Option<u8>, &[u8]) -> Result<Vec<u8>>;

/// Messages until the client has no more.
fn exchange(mut stream: impl Read + Write, execute: Execute<'_>) -> Result<()> {
    while let Some(first) = first_word(&mut stream)? {
        match first {
            mssim::SEND_COMMAND => {
                let [locality] = take(&mut stream)?;
                let length = u32::from_be_bytes(take(&mut stream)?);
                ensure!(length <= MAX_COMMAND, "a command of {length} bytes");
                let command = take_all(&mut stream, length)?;
                let response = execute(Some(locality), &command)?;
                let length = u32::try_from(response.len())?.to_be_bytes();
                stream.write_all(&[length.as_slice(), &response, &[0; 4]].concat())?;
            }
            mssim::REMOTE_HANDSHAKE => {
                let _client_version: [u8; 4] = take(&mut stream)?;
                // Server version 1, no flags, and the trailing zero.
                stream.write_all(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])?;
            }
            mssim::SESSION_END | mssim::STOP => return Ok(()),
            tpm if matches!(tpm >> 16, 0x8001 | 0x8002) => {
                let command = plain_command(&mut stream, tpm)?;
                let response = execute(None, &command)?;
                stream.write_all(&response)?;
            }
            other => bail!("neither a TPM command nor a message of the simulator's protocol: {other:#010x}"),
        }
    }
    Ok(())
}

/// The rest of a command that stands alone; `first` is its tag and half of its size.
fn plain_command(stream: &mut impl Read, first: u32) -> Result<Vec<u8>> {
    let rest: [u8; HEADER - 4] = take(stream)?;
    let mut command = [first.to_be_bytes().as_slice(), &rest].concat();
    let size = u32::from_be_bytes([command[2], command[3], command[4], command[5]]);
    ensure!((10..=MAX_COMMAND).contains(&size), "a command of {size} bytes");
    command.extend(take_all(stream, size - 10)?);
    Ok(command)
}

/// Four bytes, or nothing at the end of the stream.
pub(super) fn first_word(stream: &mut impl Read) -> Result<Option<u32>> {
    let mut first = [0; 1];
    match stream.read(&mut first) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let [a, b, c] = take(stream)?;
    Ok(Some(u32::from_be_bytes([first[0], a, b, c])))
}

/// Exactly `N` bytes.
pub(super) fn take<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_all(stream: &mut impl Read, length: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::exchange;
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

    /// A locality, if there was one, and a command.
    type Executed = (Option<u8>, Vec<u8>);

    /// What the client hears, and what was executed; the response is always `ok`.
    fn talk(said: &[u8]) -> (anyhow::Result<()>, Vec<u8>, Vec<Executed>) {
        let (mut client, mut executed) = (Client::saying(said), Vec::new());
        let outcome = exchange(&mut client, &mut |locality, command| {
            executed.push((locality, command.to_vec()));
            Ok(b"ok".to_vec())
        });
        (outcome, client.heard, executed)
    }

    const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

    #[test]
    fn the_simulators_protocol_carries_length_and_a_trailing_zero() {
        let (outcome, heard, executed) = talk(&[b"\0\0\0\x08\x03\0\0\0\x0C", COMMAND, b"\0\0\0\x14"].concat());
        outcome.unwrap();
        assert_eq!(heard, b"\0\0\0\x02ok\0\0\0\0");
        assert_eq!(executed, [(Some(3), COMMAND.to_vec())]);
    }

    #[test]
    fn plain_commands_are_answered_plainly_one_after_another() {
        let (outcome, heard, executed) = talk(&[COMMAND, COMMAND].concat());
        outcome.unwrap();
        assert_eq!(heard, b"okok");
        assert_eq!(executed, [(None, COMMAND.to_vec()), (None, COMMAND.to_vec())]);
    }

    #[test]
    fn a_handshake_names_version_one() {
        let (outcome, heard, _) = talk(b"\0\0\0\x0F\0\0\0\x01");
        outcome.unwrap();
        assert_eq!(heard, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_neither_protocol_ends_the_connection_unexecuted() {
        for said in [
            b"GET / HTTP/1.1".as_slice(),
            b"\0\0\0\x08\0\xFF\xFF\xFF\xFF",
            b"\x80\x01\xFF\xFF\xFF\xFF\0\0\0\0",
            b"\x80\x01\0\0\0\x09\0\0\0\0",
            b"\x80\x01\0",
        ] {
            let (outcome, _, executed) = talk(said);
            assert!(outcome.is_err() && executed.is_empty(), "{said:x?}");
        }
    }

    #[test]
    fn a_client_that_says_nothing_has_ended() {
        assert!(talk(b"").0.is_ok());
    }
}
