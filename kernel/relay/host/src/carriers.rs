//! Service 3: a carrier, which connects here and brings the messages of a migration to another host's relay and back
//! (`quoin-relay carry`).
//!
//! Who reaches the port may be anybody, and may say in the migration what a host may say; nothing of another service.
//! Nothing is kept for one that is not there: the firmware asks again.

use crate::pump::{Back, Program, each};
use crate::sockets::Listener;
use anyhow::{Result, bail, ensure};
use core::time::Duration;
use relay::{Message, frame, service};
use socket2::Socket;
use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Messages that wait for a carrier which is slow; of more, the newest are lost. A whole state has fewer.
const WAITING: usize = 64;
/// How long a carrier may say nothing, or take nothing: longer than `carry` waits. One whose host has lost its power
/// must not hold the place for ever.
const IDLE: Duration = Duration::from_secs(60);
/// How often one that comes looks for its place, since the end of another may not have been heard yet, and how long it
/// waits then.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);

/// The port: at most one carrier, and the firmware that is there now.
#[derive(Clone)]
pub struct Port(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    firmware: Option<Back>,
    carrier: Option<Carrier>,
    so_far: u64,
}

/// A carrier that is there. Its connection is closed when this has gone, and what waits for it is said.
struct Carrier {
    number: u64,
    frames: SyncSender<Vec<u8>>,
}

impl Port {
    /// Lets carriers in who connect here, as long as the program runs.
    #[must_use]
    pub fn open(listener: Listener) -> Self {
        let port = Self(Arc::default());
        let own = port.clone();
        thread::spawn(move || {
            loop {
                if let Err(why) = listener.accept().map_err(Into::into).and_then(|socket| port.admit(&socket)) {
                    log::warn!("a carrier is turned away: {why:#}");
                    thread::sleep(LOOK);
                }
            }
        });
        own
    }

    /// The program for a firmware that is there now. When it is dropped, the firmware has gone, and its carrier goes.
    #[must_use]
    pub fn attach(&self, back: &Back) -> Attached {
        self.ends().firmware = Some(back.clone());
        Attached(self.clone())
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, socket: &Socket) -> Result<()> {
        socket.set_read_timeout(Some(IDLE))?;
        socket.set_write_timeout(Some(IDLE))?;
        let (mut reader, writer) = (socket.try_clone()?, socket.try_clone()?);
        let (number, back, waiting) = self.enter()?;
        log::info!("a carrier has come");
        thread::spawn(move || write(writer, &waiting));
        let port = self.clone();
        thread::spawn(move || {
            match each(&mut reader, &mut |frame| pass(&back, &frame?)) {
                Ok(()) => log::info!("the carrier has gone"),
                Err(why) => log::warn!("the carrier is sent away: {why:#}"),
            }
            port.leave(number);
        });
        Ok(())
    }

    /// The place of the one carrier.
    fn enter(&self) -> Result<(u64, Back, Receiver<Vec<u8>>)> {
        for _ in 0..LOOKS {
            let mut ends = self.ends();
            if let (Some(back), None) = (ends.firmware.clone(), &ends.carrier) {
                let (frames, waiting) = sync_channel(WAITING);
                ends.so_far += 1;
                let number = ends.so_far;
                ends.carrier = Some(Carrier { number, frames });
                return Ok((number, back, waiting));
            }
            drop(ends);
            thread::sleep(LOOK);
        }
        ensure!(self.ends().carrier.is_none(), "another one is here");
        bail!("no firmware is here")
    }

    fn leave(&self, number: u64) {
        let mut ends = self.ends();
        if ends.carrier.as_ref().is_some_and(|carrier| carrier.number == number) {
            ends.carrier = None;
        }
    }
}

/// From a carrier to the firmware.
fn pass(back: &Back, message: &Message) -> Result<()> {
    let Message { service, number, octets } = message;
    ensure!((*service, *number) == (service::MIGRATION, 0), "it speaks to service {service}, number {number}");
    back.send(*service, *number, octets)
}

/// To a carrier, until it has left and all is said.
fn write(mut socket: Socket, waiting: &Receiver<Vec<u8>>) {
    for frame in waiting {
        if let Err(why) = socket.write_all(&frame) {
            log::warn!("the carrier takes nothing: {why}");
            break;
        }
    }
    let _ = socket.shutdown(Shutdown::Both);
}

/// A firmware at the port.
pub struct Attached(Port);

impl Program for Attached {
    fn take(&mut self, message: &Message) {
        let Message { service, number, octets } = message;
        let ends = self.0.ends();
        let Some(carrier) = &ends.carrier else { return };
        let sent = frame(*service, *number, octets).is_ok_and(|frame| carrier.frames.try_send(frame).is_ok());
        if !sent {
            log::warn!("a message is lost: the carrier is too slow");
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut ends = self.0.ends();
        (ends.firmware, ends.carrier) = (None, None);
    }
}
