//! A TPM at two local TCP ports, and at two Unix sockets, for any client of tpm2-tss and its kin, and for QEMU's
//! `-tpmdev emulator`.
//!
//! One port takes commands, the next one what a platform does. Two protocols are in use for each, and a client of
//! either is served at the same ports, since what it says first tells them apart: that of the TCG simulator (`mssim`)
//! and that of swtpm (`swtpm`, whose data port is TPM bytes alone). All who reach the ports are equals. What a guest
//! says comes over a data channel that QEMU hands over, where nothing is found out.
//!
//! | module | is |
//! |---|---|
//! | [`Backend`] | what stands behind the ports |
//! | `command` | what is said at the command port |
//! | [`Options`] | what a server's command line says |
//! | `platform` | what is said at the platform port, and whose it is |
//! | `control` | swtpm's control channel, at the platform port or the Unix socket of its own |
//! | [`Dialect`] | whose protocol is spoken |
//! | `guests` | who is connected, and how many may be |
//! | [`logging`] | where messages go |
//! | [`Many`] | many TPMs, by the names of their folders |
//! | `machine` | what all connections share: the TPM, its power |
//! | `ports` | where clients connect |
//! | [`Settings`] | how to serve, and until when |
//! | `turns` | whose turn it is at the TPM |
//! | `wire` | sockets |

#![forbid(unsafe_code)]

mod backend;
mod command;
mod control;
mod dialect;
mod guests;
pub mod logging;
mod machine;
mod many;
mod options;
mod platform;
mod ports;
mod settings;
mod turns;
mod wire;

pub use backend::{Backend, BufferSizes, Resting, StateBlob};
pub use dialect::Dialect;
pub use many::{Limits, Load, Many};
pub use options::{Options, Startup};
pub use ports::{Ports, Reserved, listen_in_place};
pub use settings::{Ends, Record, Settings, Stop};

use anyhow::Result;
use command::Framing;
use core::cell::Cell;
use core::time::Duration;
use guests::Guests;
use machine::Machine;
use ports::Door;
use std::sync::Arc;
use std::thread;
use wire::{Channel, Socket};

/// How often the server looks whether it shall end. A client never waits for it.
const STOP_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes of stack for a connection: a call of the engine needs a MiB where it was built without optimisation.
const STACK: usize = 2 << 20;

/// Serves `backend` until `stop` is set. Connections come and go; commands are executed one at a time.
pub fn serve(ports: Ports, backend: Box<dyn Backend>, stop: &Stop) -> Result<()> {
    serve_with(ports, backend, Settings::default(), stop)
}

/// Serves `backend` as `settings` say until `stop` is set, or its watch fails.
pub fn serve_with(ports: Ports, backend: Box<dyn Backend>, settings: Settings, stop: &Stop) -> Result<()> {
    let Settings { trace, dialect, mut watch, ends } = settings;
    let machine = Arc::new(Machine::new(backend, trace, dialect, stop.clone()).ending(ends));
    let guests = Guests::new();
    let mut serve_on = || -> Result<()> {
        while !stop.is_set() {
            if let Some(watch) = &mut watch {
                watch()?;
            }
            if !ports.wait(STOP_INTERVAL)? {
                continue;
            }
            // The platform's connections last: tcti-mssim's to the command port is open when it asks for power.
            while let Some((socket, door)) = ports.accept()? {
                connected(socket, door, &machine, &guests);
            }
        }
        Ok(())
    };
    let outcome = serve_on();
    // Nothing is cut off in the midst of a command.
    machine.end();
    outcome
}

/// Serves a client in a thread of its own; what ends its connection is logged.
fn connected(socket: Socket, door: Door, machine: &Arc<Machine>, guests: &Guests) {
    let Some(guest) = guests.welcome(socket) else {
        log::warn!("a client is turned away: {} others are connected, and none of them idle", guests.most());
        return;
    };
    let (machine, guests) = (Arc::clone(machine), guests.clone());
    // From here on, not when its thread begins: the platform's client may come next, and whose it is depends on this.
    let client = machine.enter(matches!(door, Door::Command));
    log::debug!("a client has connected: {door:?}");
    let serve = move || {
        let outcome = match door {
            Door::Command => command::serve(&guest, Framing::at_port(machine.settled()), client, &machine),
            Door::Unix => command::serve(&guest, Framing::Plain, client, &machine),
            Door::Data => command::serve(&guest, Framing::Data, client, &machine),
            Door::Platform => {
                let has_channel = Cell::new(false);
                let adopt = |descriptor| match wire::socket_from(descriptor) {
                    Ok(socket) => {
                        has_channel.set(true);
                        connected(socket, Door::Data, &machine, &guests);
                    }
                    Err(error) => log::warn!("a client's data channel is refused: {error:#}"),
                };
                let outcome = platform::serve(Channel::new(&guest), &machine, &adopt);
                if has_channel.get() {
                    machine.gone();
                }
                outcome
            }
        };
        machine.leave(client);
        match outcome {
            Ok(()) => log::debug!("a client has gone"),
            Err(error) => log::warn!("a client's connection has ended: {error:#}"),
        }
    };
    if let Err(error) = thread::Builder::new().stack_size(STACK).spawn(serve) {
        log::warn!("a client is turned away: {error}");
    }
}

#[cfg(test)]
mod tests;
