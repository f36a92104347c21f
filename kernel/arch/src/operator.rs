//! The way to the operator's program: the relay's console, or, where there is none, its frames over the third serial
//! port (docs/boot.md, "The operator's authority").

use alloc::vec::Vec;

use authority::{Authorities, Channel, Need, Unreachable};
use kernel::fatal::{Fatal, Reason};
use kernel::hooks::Platform;
use relay::{Framed, Relay, Stream, service};
use spin::Mutex;
use tpm_core::{Clock, Entropy};

use crate::host::{PspReports, read_port, say, write_port};
use crate::programs::Programs;

/// COM3, and its line status register.
const COM3: u16 = 0x3e8;
const LINE_STATUS: u16 = COM3 + 5;
/// A byte has come; the transmitter takes one.
const DATA_READY: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// What is read where no port is.
const ABSENT: u8 = 0xff;
/// How often the line status is asked for one byte. The host answers, so it may say "full" for ever: then there is no
/// way. A byte that is sent all the same would be lost, and the frame with it: QEMU's port is full for as long as the
/// program is slow to read, after some hundred octets.
const PATIENCE: u32 = 1 << 20;

/// The third serial port.
pub struct Com3;

impl Com3 {
    fn status() -> Result<u8, Unreachable> {
        read_port(LINE_STATUS).filter(|status| *status != ABSENT).ok_or(Unreachable)
    }

    /// Until the transmitter takes a byte.
    fn wait() -> Result<(), Unreachable> {
        for _ in 0..PATIENCE {
            if Com3::status()? & TRANSMITTER_EMPTY != 0 {
                return Ok(());
            }
        }
        Err(Unreachable)
    }
}

impl Stream for Com3 {
    type Error = Unreachable;

    fn write(&mut self, octets: &[u8]) -> Result<(), Unreachable> {
        for octet in octets {
            Com3::wait()?;
            write_port(COM3, *octet).ok_or(Unreachable)?;
        }
        Ok(())
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Unreachable> {
        let mut count = 0;
        for place in out {
            if Com3::status()? & DATA_READY == 0 {
                break;
            }
            *place = read_port(COM3).ok_or(Unreachable)?;
            count += 1;
        }
        Ok(count)
    }
}

/// The operator's program, at the other end of a relay.
pub struct Operator<R>(R);

impl<R: Relay> Operator<R> {
    /// At this relay.
    pub const fn at(relay: R) -> Self {
        Operator(relay)
    }
}

impl<R: Relay> Channel for Operator<R> {
    fn send(&mut self, message: &[u8]) -> Result<(), Unreachable> {
        self.0.send(service::CERTIFICATES, 0, message).map_err(|_| Unreachable)
    }

    /// Messages of other services are nobody's here.
    fn receive(&mut self) -> Result<Option<Vec<u8>>, Unreachable> {
        let message = self.0.receive().map_err(|_| Unreachable)?;
        let of_ours = message.filter(|message| (message.service, message.number) == (service::CERTIFICATES, 0));
        Ok(of_ours.map(|message| message.octets))
    }
}

/// Asks the operator's program for a certificate of the issuer of this boot.
///
/// # Errors
/// `Authority`: there is none, and the setting requires one.
#[cold]
pub fn certify<E: Entropy>(
    tpm: &mut Platform<E, impl Clock>,
    authorities: &Authorities,
    programs: Option<Programs>,
    reports: &Mutex<PspReports>,
) -> Result<(), Fatal> {
    let start = tpm.now_ms();
    say("authority", format_args!("{} measured, the operator's program is asked", authorities.count()));
    let certified = match programs {
        Some(programs) => tpm.certify(authorities, &mut Operator::at(programs.counter(service::CERTIFICATES)), reports),
        None => tpm.certify(authorities, &mut Operator::at(Framed::new(Com3)), reports),
    };
    match certified {
        Ok(()) => {
            say(
                "authority",
                format_args!("certificates are the operator's, {} ms", tpm.now_ms().saturating_sub(start)),
            );
            Ok(())
        }
        Err(why) if authorities.need == Need::Preferred => {
            say("authority", format_args!("{why}; certificates are the firmware's own"));
            Ok(())
        }
        Err(why) => Err(Fatal::new(Reason::Authority, format_args!("{why}"))),
    }
}
