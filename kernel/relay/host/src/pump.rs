//! Frames of one firmware: each message to the program of its service, and what programs say back.

use anyhow::{Context, Result, bail};
use relay::{BadFrame, Frames, Message, frame};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Frames that wait for the firmware; programs wait behind them.
const WAITING: usize = 64;
/// Octets that are read at once.
const PIECE: usize = 4096;

/// A program at the host, or the way to one.
pub trait Program: Send {
    /// Takes a message. What it cannot pass on is lost: the firmware asks again.
    fn take(&mut self, message: &Message);
}

/// Programs, by their services.
pub type Programs = BTreeMap<u16, Box<dyn Program>>;

/// The way back to the firmware.
#[derive(Clone, Debug)]
pub struct Back(SyncSender<Vec<u8>>);

impl Back {
    /// Sends a message.
    ///
    /// # Errors
    /// It is too long, or the firmware is not there any more.
    pub fn send(&self, service: u16, number: u16, message: &[u8]) -> Result<()> {
        self.0.send(frame(service, number, message)?).context("the firmware's console has ended")
    }
}

/// Passes frames, until there are no more. What is no whole frame is lost, as when the relay comes amid one.
///
/// # Errors
/// The console waits no longer for a firmware that says nothing.
pub fn pump(
    mut reader: impl Read,
    mut writer: impl Write + Send + 'static,
    programs: impl FnOnce(&Back) -> Programs,
) -> Result<()> {
    let (back, frames) = sync_channel::<Vec<u8>>(WAITING);
    thread::spawn(move || {
        for frame in frames {
            if writer.write_all(&frame).and_then(|()| writer.flush()).is_err() {
                return;
            }
        }
    });
    let mut programs = programs(&Back(back));
    each(&mut reader, &mut |frame| {
        match frame.map(|message| (programs.get_mut(&message.service), message)) {
            Ok((Some(program), message)) => program.take(&message),
            Ok((None, message)) => log::warn!("a message to service {}, which nobody has", message.service),
            Err(why) => log::warn!("from the firmware: {why}"),
        }
        Ok(())
    })
}

/// Gives each message of a stream, and that something is none, to `pass`, until its end.
///
/// # Errors
/// `pass` has one, or nothing has come for as long as the stream waits.
pub(crate) fn each(
    reader: &mut impl Read,
    pass: &mut impl FnMut(Result<Message, BadFrame>) -> Result<()>,
) -> Result<()> {
    let (mut frames, mut octets) = (Frames::default(), [0; PIECE]);
    loop {
        let mut rest = match reader.read(&mut octets) {
            Ok(count @ 1..) => octets.get(..count).unwrap_or_default(),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => bail!("it says nothing"),
            Err(why) if why.kind() == ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => return Ok(()),
        };
        while !rest.is_empty() {
            let (used, frame) = frames.take(rest);
            rest = rest.get(used..).unwrap_or_default();
            frame.map_or(Ok(()), &mut *pass)?;
        }
    }
}
