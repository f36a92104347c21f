//! The way to programs at the host: the relay over the console that the setting of the state names.

use alloc::boxed::Box;
use core::fmt;

use kernel::fatal::Fatal;
use kernel::state::StateSetting;
use relay::{Counter, Framed, Office, Stream};
use virtio::Fault;
use virtio::console::{Console, SHARED_PAGES};

use crate::devices::Devices;
use crate::host::say;
use crate::memory::Memory;
use crate::state::{CONSOLE_WINDOW, patience, registers};

/// The console, as the relay wants it.
pub struct Wire(Console<Devices>);

impl Stream for Wire {
    type Error = Fault;

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.0.write(octets)
    }

    fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        self.0.read(out)
    }
}

/// All programs at the host, each by its service: for as long as the firmware runs.
#[derive(Clone, Copy)]
pub struct Programs(&'static Office<Framed<Wire>>);

impl Programs {
    /// The way of one service.
    #[must_use]
    pub fn counter(self, service: u16) -> Counter<'static, Framed<Wire>> {
        self.0.counter(service)
    }
}

/// The console, if the setting names one. One that is not there, or is none, is no reason to end: what it is needed
/// for has rules of its own for a program that does not answer.
///
/// # Errors
/// `PageState`: a page cannot be shared.
#[inline(never)]
pub fn find(memory: &mut Memory, setting: &StateSetting<'_>, khz: Option<u64>) -> Result<Option<Programs>, Fatal> {
    let Some(place) = setting.console else { return Ok(None) };
    let mut devices = Devices::new(memory, SHARED_PAGES)?;
    let console = registers(&mut devices, place, CONSOLE_WINDOW)
        .and_then(|registers| Console::open(devices, registers, patience(khz)));
    let none = |why: &dyn fmt::Display| say("programs", format_args!("there is no way to them: {why}"));
    Ok(console.inspect_err(|why| none(why)).ok().map(|console| {
        say("programs", format_args!("the console at {place:?} leads to them"));
        Programs(Box::leak(Box::new(Office::new(Framed::new(Wire(console))))))
    }))
}
