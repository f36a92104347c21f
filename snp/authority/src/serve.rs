//! The operator's end of the relay: frames over a Unix socket (docs/boot.md, "The operator's authority").
//!
//! > length₄ ‖ service₂ ‖ number₂ ‖ message
//!
//! all little-endian; the length is that of all behind it.

use crate::OperatorArgs;
use crate::messages::MOST;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The relay's service of certificates.
const SERVICE: u16 = 1;
/// Service and number.
const ADDRESS: usize = 4;

/// Answers whoever comes, one after another, `requests` times or for ever.
pub(crate) fn serve(socket: &Path, requests: Option<u64>, operator: &OperatorArgs) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let _gone = Gone(socket);
    println!("listening at {}", socket.display());
    let mut left = requests;
    while left != Some(0) {
        let (mut stream, _) = listener.accept()?;
        // What is wrong with one connection is no matter of the next.
        if let Err(error) = converse(&mut stream, &mut left, operator) {
            eprintln!("error: {error:#}");
        }
    }
    Ok(())
}

/// The socket goes with its server.
struct Gone<'a>(&'a Path);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(self.0);
    }
}

/// Answers frame after frame until the other side goes.
fn converse(stream: &mut (impl Read + Write), left: &mut Option<u64>, operator: &OperatorArgs) -> Result<()> {
    while *left != Some(0) {
        let Some((service, number, message)) = receive(stream)? else { return Ok(()) };
        if service != SERVICE {
            eprintln!("a message for service {service} is not answered");
            continue;
        }
        let (answer, refusal) = operator.answer(&message)?;
        println!("{}", refusal.map_or_else(|| "certified".into(), |why| format!("refused: {why}")));
        stream.write_all(&frame(service, number, &answer)?)?;
        *left = left.map(|left| left - 1);
    }
    Ok(())
}

/// The next frame; None at the end.
fn receive(stream: &mut impl Read) -> Result<Option<(u16, u16, Vec<u8>)>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    ensure!((ADDRESS..=ADDRESS + MOST).contains(&length), "no frame has {length} octets");
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).context("a frame ends early")?;
    let [a, b, c, d, message @ ..] = frame.as_slice() else { bail!("no frame") };
    Ok(Some((u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]), message.to_vec())))
}

fn frame(service: u16, number: u16, message: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(ADDRESS + message.len())?;
    ensure!(message.len() <= MOST, "an answer of {} octets does not fit into a frame", message.len());
    Ok([&length.to_le_bytes()[..], &service.to_le_bytes(), &number.to_le_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::{frame, receive};

    #[test]
    fn frames_are_those_of_the_relay() {
        let octets = [frame(1, 2, b"ask").unwrap(), frame(9, 0, b"").unwrap()].concat();
        assert_eq!(octets[..11], [7, 0, 0, 0, 1, 0, 2, 0, b'a', b's', b'k']);
        let mut rest = &octets[..];
        assert_eq!(receive(&mut rest).unwrap(), Some((1, 2, b"ask".to_vec())));
        assert_eq!(receive(&mut rest).unwrap(), Some((9, 0, Vec::new())));
        assert_eq!(receive(&mut rest).unwrap(), None);
        for wrong in [&[3, 0, 0, 0, 1, 0, 0][..], &[1, 0, 1, 0], &[8, 0, 0, 0, 1, 0, 0, 0, 1]] {
            assert!(receive(&mut &wrong[..]).is_err(), "{wrong:?}");
        }
        assert!(frame(1, 0, &vec![0; 65_533]).is_err());
    }
}
