//! The rounds of a boot and of a commit, over whatever way there is to the anchors: the firmware's relay, or sockets.

use crate::client::{Client, State, Verdict};
use crate::keys::Keys;
use crate::wire::{Head, Reason, Reply};
use core::fmt;
use zerocopy::IntoBytes;

/// Turns that are asked for before somebody else is let go first. Each is later than all that was heard of: anchors
/// that did not answer before may know later ones.
pub const TURNS: u32 = 5;

/// A way to all anchors. What it loses, changes or invents costs an answer, no more.
pub trait Way {
    /// Sends a request to each anchor that can be reached. The patience of [`Way::receive`] begins; while that lasts, a
    /// way that may lose messages sends the same octets again to those that have not answered.
    fn send(&mut self, request: &[u8]);
    /// The next message that came, and the number of its anchor, from 0; nothing when patience is over.
    fn receive(&mut self) -> Option<(usize, [u8; Reply::SIZE])>;
    /// What came from this anchor was the answer: it says nothing more.
    fn heard(&mut self, _number: usize) {}
    /// Fresh random octets.
    fn nonce(&mut self) -> Option<[u8; 32]>;
}

/// Why a TPM does not hold the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It must not go on, whatever the policy says.
    Over(Verdict),
    /// The same: so many anchors' operators have stopped it that no quorum is left.
    Held,
    /// Only so many have answered: the policy's case, and to be asked again.
    TooFew(u32),
    /// Too few are left that serve this TPM, and one said why. The policy's case, too.
    Unserved(Reason),
    /// Others had a later turn, each time. The policy's case, too.
    Outrun,
    /// No random octets, or a key that does not sign, or a call out of turn.
    Unable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(verdict) => verdict.fmt(f),
            Self::Held => Reason::Held.fmt(f),
            Self::TooFew(granted) => write!(f, "too few anchors answer: {granted}"),
            Self::Unserved(reason) => write!(f, "too few anchors serve this TPM: {reason}"),
            Self::Outrun => f.write_str("others have a later turn each time"),
            Self::Unable => f.write_str("anchors cannot be asked: no random octets, no key, or out of turn"),
        }
    }
}

impl core::error::Error for Refused {}

/// Sends what the client asks, and has it hear what comes, until it goes on or patience is over.
fn round<K: Keys>(way: &mut impl Way, client: &mut Client<'_, K>) {
    let Some(request) = client.request().copied() else { return };
    way.send(request.as_bytes());
    while client.state() == State::Waiting && !client.is_overtaken() {
        let Some((number, reply)) = way.receive() else { return };
        // What changes nothing is waited past: the right answer may still come.
        if client.hear(number, &reply).is_ok() {
            way.heard(number);
        }
    }
}

/// Gets the turn, and has the newest state accepted anew: then a record may be written, with the client's mark in it.
///
/// # Errors
/// `Over`: the state is old. Else the quorum cannot be had now.
pub fn settle<K: Keys>(way: &mut impl Way, client: &mut Client<'_, K>) -> Result<(), Refused> {
    for _ in 0..TURNS {
        if matches!(client.state(), State::Over(_)) {
            break;
        }
        let nonce = way.nonce().ok_or(Refused::Unable)?;
        client.prepare(nonce).ok_or(Refused::Unable)?;
        round(way, client);
        if client.state() == State::Prepared {
            let nonce = way.nonce().ok_or(Refused::Unable)?;
            client.settle(nonce).ok_or(Refused::Unable)?;
            round(way, client);
        }
        match client.state() {
            State::Settled | State::Holding => return Ok(()),
            State::Outrun => {}
            State::Waiting if client.is_overtaken() => {}
            _ => return Err(refused(client)),
        }
    }
    Err(refused(client))
}

/// Goes on hearing what comes to the request by which the client has settled, until there are shares enough: `k` are
/// heard by then, and some of these may be wrong. Whether there are, when patience is over.
pub fn gather<K: Keys>(
    way: &mut impl Way,
    client: &mut Client<'_, K>,
    mut enough: impl FnMut(&Client<'_, K>) -> bool,
) -> bool {
    while !enough(client) {
        let Some((number, reply)) = way.receive() else { return false };
        if client.hear(number, &reply).is_ok() {
            way.heard(number);
        }
    }
    true
}

/// Has a head registered whose record is on the disk; or again the last one.
///
/// # Errors
/// `Over`: another copy has started. Else it is not known whether the head is registered, and it is asked for again
/// before another one.
pub fn register<K: Keys>(way: &mut impl Way, client: &mut Client<'_, K>, head: Head) -> Result<(), Refused> {
    for _ in 0..TURNS {
        if !matches!(client.state(), State::Settled | State::Holding) {
            // What was asked last is not known to have come about.
            settle(way, client)?;
            if client.registered() == Some(head) {
                return Ok(());
            }
        }
        let nonce = way.nonce().ok_or(Refused::Unable)?;
        client.register(head, nonce).ok_or(Refused::Unable)?;
        round(way, client);
        match client.state() {
            State::Holding => return Ok(()),
            State::Outrun => {}
            State::Waiting if client.is_overtaken() => {}
            _ => return Err(refused(client)),
        }
    }
    Err(Refused::Outrun)
}

fn refused<K: Keys>(client: &Client<'_, K>) -> Refused {
    match (client.state(), client.reason()) {
        (State::Over(verdict), _) => Refused::Over(verdict),
        _ if client.is_held() => Refused::Held,
        (State::Unserved, Some(reason)) => Refused::Unserved(reason),
        (State::Outrun, _) => Refused::Outrun,
        _ if client.is_overtaken() => Refused::Outrun,
        _ => Refused::TooFew(client.granted()),
    }
}
