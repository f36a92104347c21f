//! Service 2: a message is a request to the anchor of its number, and goes there by the anchors' own protocol.

use crate::pump::{Back, Program};
use core::time::Duration;
use quoin_anchor::ask::{Address, Line};
use relay::{Message, service};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Requests that wait for one anchor; of more, the newest are lost. The firmware asks again.
const WAITING: usize = 8;

/// Connections to all anchors, each with a thread of its own: one that is slow holds up no other.
pub struct Anchors(Vec<SyncSender<Vec<u8>>>);

impl Anchors {
    /// To the anchors at these addresses, in the order of the settings; each is waited for so long.
    #[must_use]
    pub fn new(addresses: &[Address], patience: Duration, back: &Back) -> Self {
        let start = |(number, address): (u16, &Address)| {
            let (pass, passed) = sync_channel::<Vec<u8>>(WAITING);
            let (back, mut line) = (back.clone(), Line::new(address.clone(), patience));
            thread::spawn(move || {
                for request in passed {
                    // An empty message: this one is not there, and nobody need wait for it.
                    let reply = line.ask_again(&request).map(Vec::from).unwrap_or_else(|why| {
                        log::warn!("{why:#}");
                        Vec::new()
                    });
                    if let Err(why) = back.send(service::ANCHORS, number, &reply) {
                        log::warn!("{why:#}");
                    }
                }
            });
            pass
        };
        Self((0..).zip(addresses).map(start).collect())
    }
}

impl Program for Anchors {
    fn take(&mut self, message: &Message) {
        let anchor = self.0.get(usize::from(message.number));
        if anchor.is_none_or(|anchor| anchor.try_send(message.octets.clone()).is_err()) {
            log::warn!("a message to anchor {}, which is not known, or busy", message.number);
        }
    }
}
