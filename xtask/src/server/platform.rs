//! The platform port: power, locality, cancelling; the simulator's platform messages and swtpm's control channel.
//!
//! Both number their messages from 1. Where the numbers collide, the meaning is taken that clients use: tcti-mssim sends POWER_ON, NV_ON, CANCEL_ON,
//! CANCEL_OFF and SESSION_END; tcti-swtpm sends CMD_INIT, CMD_SET_LOCALITY and CMD_CANCEL_TPM_CMD, the first two with more bytes in one piece.

use super::Shared;
use super::command::{first_word, take};
use anyhow::Result;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;

const SUCCESS: u32 = 0;
/// `TPM_FAIL` of TPM 1.2, by which swtpm refuses.
const FAIL: u32 = 9;

/// swtpm: `CMD_INIT`, with 32 bits of flags; the simulator's `POWER_OFF` has none.
const INIT: u32 = 2;
/// swtpm: `CMD_SET_LOCALITY`, with a byte; the simulator's `HASH_START` has none, and no client in use sends it.
const SET_LOCALITY: u32 = 5;
/// The simulator's `RESET`.
const RESET: u32 = 17;
/// The simulator's `SESSION_END`.
const SESSION_END: u32 = 20;
/// The simulator's `STOP`.
const STOP: u32 = 21;

/// How long the flags of `CMD_INIT` may take to come: they are sent with it.
const FLAGS_TIMEOUT: Duration = Duration::from_millis(200);

/// Serves one client to its end.
pub(super) fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    while let Some(message) = first_word(&mut stream)? {
        let answer = match message {
            SESSION_END | STOP => return Ok(()),
            INIT if has_flags(&mut stream)? => reset(shared),
            SET_LOCALITY => {
                let [locality] = take(&mut stream)?;
                shared.locality.store(locality, Ordering::SeqCst);
                if locality <= 4 { SUCCESS } else { FAIL }
            }
            RESET => reset(shared),
            // Power and NV are always on, nothing takes so long that it could be cancelled.
            _ => SUCCESS,
        };
        stream.write_all(&answer.to_be_bytes())?;
    }
    // Locality is a client's: the next one starts at 0.
    shared.locality.store(0, Ordering::SeqCst);
    Ok(())
}

fn reset(shared: &Shared) -> u32 {
    if shared.backend().reset() { SUCCESS } else { FAIL }
}

fn has_flags(stream: &mut TcpStream) -> Result<bool> {
    stream.set_read_timeout(Some(FLAGS_TIMEOUT))?;
    let mut flags = [0; 4];
    let has = stream.read_exact(&mut flags).is_ok();
    stream.set_read_timeout(None)?;
    Ok(has)
}
