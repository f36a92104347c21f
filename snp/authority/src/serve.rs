//! The operator's end of the relay: its frames over a Unix socket (docs/boot.md, "The operator's authority").

use crate::OperatorArgs;
use anyhow::{Context, Result};
use relay::service::CERTIFICATES;
use relay::{Frames, frame};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Answers whoever comes, one after another, `requests` times or for ever.
pub(crate) fn serve(socket: &Path, requests: Option<u64>, operator: &OperatorArgs) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let _gone = Gone(socket);
    println!("listening at {}", socket.display());
    let mut left = requests;
    while left != Some(0) {
        let (stream, _) = listener.accept()?;
        let mut answer = |request: &[u8]| {
            let (answer, refusal) = operator.answer(request)?;
            println!("{}", refusal.map_or_else(|| "certified".into(), |why| format!("refused: {why}")));
            left = left.map(|left| left - 1);
            Ok((answer, left != Some(0)))
        };
        // What is wrong with one connection is no matter of the next.
        if let Err(error) = converse(&stream, &stream, &mut answer) {
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

/// Answers frame after frame until the other side goes, or there is none more to be answered.
fn converse(
    reader: impl Read,
    mut writer: impl Write,
    answer: &mut impl FnMut(&[u8]) -> Result<(Vec<u8>, bool)>,
) -> Result<()> {
    let mut frames = Frames::default();
    for octet in BufReader::new(reader).bytes() {
        match frames.take(&[octet?]).1 {
            None => {}
            Some(Err(why)) => eprintln!("{why}: they are not answered"),
            Some(Ok(message)) if message.service != CERTIFICATES => {
                eprintln!("a message for service {} is not answered", message.service);
            }
            Some(Ok(message)) => {
                let (answer, goes_on) = answer(&message.octets)?;
                writer.write_all(&frame(message.service, message.number, &answer)?)?;
                if !goes_on {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{converse, frame};

    /// What is said to these octets, if so many requests are to be answered.
    fn said(octets: &[u8], mut requests: usize) -> Vec<u8> {
        let mut written = Vec::new();
        let mut answer = |request: &[u8]| {
            requests -= 1;
            Ok(([b"answer to ", request].concat(), requests > 0))
        };
        converse(octets, &mut written, &mut answer).unwrap();
        written
    }

    #[test]
    fn requests_are_answered_where_they_come_from_and_other_services_are_not() {
        let asked = [frame(1, 2, b"this").unwrap(), frame(9, 0, b"?").unwrap(), frame(1, 0, b"").unwrap()].concat();
        let answers = [frame(1, 2, b"answer to this").unwrap(), frame(1, 0, b"answer to ").unwrap()];
        assert_eq!(said(&asked, 9), answers.concat());
        assert_eq!(said(&asked, 1), answers[0]);
    }

    /// As when this program comes, or a firmware is ended, amid a frame.
    #[test]
    fn behind_what_is_no_frame_the_next_request_is_answered() {
        let whole = frame(1, 0, b"this").unwrap();
        for before in [&whole[..9], &whole[3..], b"GET / HTTP/1.1\r\n\r\n", &[0; 9]] {
            assert_eq!(said(&[before, &whole].concat(), 9), frame(1, 0, b"answer to this").unwrap(), "{before:?}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_for_a_frame_is_an_error() {
        let asked = frame(1, 0, b"this").unwrap();
        let mut answer = |_: &[u8]| Ok((vec![0; 65_533], true));
        assert!(converse(&asked[..], Vec::new(), &mut answer).is_err());
    }
}
