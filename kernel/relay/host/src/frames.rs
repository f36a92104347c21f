//! A program that speaks frames itself, at a Unix socket: it gets the messages of a service as they come, and may say
//! something at any time.

use crate::pump::{Back, Program, each};
use anyhow::{Context, Result};
use relay::{Message, frame};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

/// The way to such a program. It is connected when there is something for it, and again when it has gone.
pub struct Peer {
    path: PathBuf,
    back: Back,
    stream: Option<UnixStream>,
}

impl Peer {
    /// To the program at this socket.
    #[must_use]
    pub fn new(path: PathBuf, back: &Back) -> Self {
        Self { path, back: back.clone(), stream: None }
    }

    fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        let (mut reader, back) = (stream.try_clone()?, self.back.clone());
        thread::spawn(move || {
            let ended = each(&mut reader, &mut |frame| match frame {
                Ok(message) => back.send(message.service, message.number, &message.octets),
                Err(why) => {
                    log::warn!("from a program: {why}");
                    Ok(())
                }
            });
            if let Err(why) = ended {
                log::warn!("{why:#}");
            }
        });
        Ok(stream)
    }

    fn pass(&mut self, message: &Message) -> Result<()> {
        let frame = frame(message.service, message.number, &message.octets)?;
        if let Some(stream) = &mut self.stream
            && stream.write_all(&frame).is_ok()
        {
            return Ok(());
        }
        let stream = self.connect().with_context(|| format!("nobody is at {}", self.path.display()))?;
        Ok(self.stream.insert(stream).write_all(&frame)?)
    }
}

impl Program for Peer {
    fn take(&mut self, message: &Message) {
        if let Err(why) = self.pass(message) {
            log::warn!("{why:#}");
        }
    }
}
