//! The way to the anchors, and rounds of questions over it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use anchor::Reply;
use anchor::drive::Way;
use relay::{Relay, service};
use sealed::layout::sha256;
use tpm_core::Clock;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The way to the anchors, and time. The host has both.
pub trait Post: Send {
    /// Sends a message to the anchor of this number. What is lost is lost.
    fn send(&mut self, anchor: u16, message: &[u8]);
    /// What has come, and from which anchor. Nothing at all in a message: the host says that this one is not there.
    fn receive(&mut self) -> Option<(u16, Vec<u8>)>;
    /// Milliseconds of a clock that never goes back.
    fn now_ms(&mut self) -> u64;
}

/// Service 2 of a relay.
pub struct ByRelay<R, C> {
    /// The relay.
    pub relay: R,
    /// The clock by which answers are waited for.
    pub clock: C,
}

impl<R: Relay + Send, C: Clock + Send> Post for ByRelay<R, C> {
    fn send(&mut self, anchor: u16, message: &[u8]) {
        let _ = self.relay.send(service::ANCHORS, anchor, message);
    }

    fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let message = self.relay.receive().ok()??;
        (message.service == service::ANCHORS).then_some((message.number, message.octets))
    }

    fn now_ms(&mut self) -> u64 {
        self.clock.now_ms()
    }
}

/// Octets that no other boot has.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Nonces {
    pub(super) seed: [u8; 32],
    pub(super) count: u64,
}

impl Nonces {
    fn next(&mut self) -> Option<[u8; 32]> {
        self.count = self.count.checked_add(1)?;
        let mut octets = Zeroizing::new([0; 40]);
        octets.iter_mut().zip(self.seed.iter().chain(&self.count.to_le_bytes())).for_each(|(to, from)| *to = *from);
        Some(sha256(&*octets))
    }
}

/// What was sent last.
#[derive(Default)]
pub(super) struct Sent {
    request: Vec<u8>,
    /// When it is sent again to those that have not answered, and how long their answers are waited for.
    again_ms: u64,
    until_ms: u64,
    /// Anchors of which nothing more is to come, a bit for each.
    done: u32,
}

/// Rounds of questions, each of which is waited for so long.
pub(super) struct Rounds<'a> {
    pub(super) post: &'a mut Option<Box<dyn Post>>,
    pub(super) nonces: &'a mut Nonces,
    pub(super) anchors: u32,
    pub(super) patience_ms: u32,
    pub(super) sent: &'a mut Sent,
}

/// How often a request is sent, in the time for which its answers are waited for: a message of it may be lost.
const TIMES: u32 = 4;

impl Rounds<'_> {
    /// A bit for each anchor.
    const fn all(&self) -> u32 {
        // There are 1 to 16.
        u32::MAX.unbounded_shr(u32::BITS.saturating_sub(self.anchors))
    }

    /// What is missing is not needed, and waited for no longer than until it would be asked for again.
    pub(super) fn hurry(&mut self) {
        let Some(post) = self.post else { return };
        let soon_ms = post.now_ms().saturating_add(self.patience_ms.div_ceil(TIMES).into());
        self.sent.until_ms = self.sent.until_ms.min(soon_ms);
    }

    /// Sends the request to those that have not answered: the same octets, which an anchor answers as before.
    fn ask(&mut self, now_ms: u64) {
        let Some(post) = self.post else { return };
        for number in (0..self.anchors).filter(|number| self.sent.done.unbounded_shr(*number) & 1 == 0) {
            post.send(u16::try_from(number).unwrap_or(u16::MAX), &self.sent.request);
        }
        self.sent.again_ms = now_ms.saturating_add(self.patience_ms.div_ceil(TIMES).into());
    }
}

impl Way for Rounds<'_> {
    fn send(&mut self, request: &[u8]) {
        let Some(now_ms) = self.post.as_mut().map(|post| post.now_ms()) else { return };
        let until_ms = now_ms.saturating_add(self.patience_ms.into());
        *self.sent = Sent { request: request.to_vec(), until_ms, ..Sent::default() };
        self.ask(now_ms);
    }

    /// Also a host that sends without end has no more than that patience. It may say of all that they are not there:
    /// then none is waited for, and it has lost their answers, which it can do anyhow.
    fn receive(&mut self) -> Option<(usize, [u8; Reply::SIZE])> {
        loop {
            let now_ms = self.post.as_mut()?.now_ms();
            if now_ms >= self.sent.until_ms {
                return None;
            }
            let Some((number, octets)) = self.post.as_mut()?.receive() else {
                if self.sent.done == self.all() {
                    return None;
                }
                if now_ms >= self.sent.again_ms {
                    self.ask(now_ms);
                }
                core::hint::spin_loop();
                continue;
            };
            if octets.is_empty() {
                self.heard(number.into());
            } else if let Ok(reply) = octets.try_into() {
                return Some((number.into(), reply));
            }
        }
    }

    fn heard(&mut self, number: usize) {
        let bit = u32::try_from(number).ok().and_then(|number| 1_u32.checked_shl(number));
        self.sent.done |= bit.unwrap_or(0) & self.all();
    }

    fn nonce(&mut self) -> Option<[u8; 32]> {
        self.nonces.next()
    }
}
