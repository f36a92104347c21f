//! Anchors. Honest ones follow the rules; a liar signs whatever suits the host, but cannot sign for a TPM.

use super::keeper::Entry;
use anchor::keys::Keys;
use anchor::wire::{Key, Reply, Request, Signature, kind, status};
use fastrand::Rng;

/// A key whose signatures cost nothing, and hold against those who do not try.
#[derive(Clone, Debug)]
pub(crate) struct Toy(Key);

impl Toy {
    pub(crate) fn new(number: u8) -> Self {
        Self([number + 1; 49])
    }
}

impl Keys for Toy {
    fn public(&self) -> &Key {
        &self.0
    }

    fn sign(&self, octets: &[u8]) -> Option<Signature> {
        let mut signature = [0; 96];
        let mut state = u64::from(self.0[0]);
        for part in octets.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        signature[..8].copy_from_slice(&state.to_le_bytes());
        Some(signature)
    }

    fn holds(key: &Key, octets: &[u8], signature: &Signature) -> bool {
        Toy(*key).sign(octets).as_ref() == Some(signature)
    }
}

#[derive(Debug)]
pub(crate) struct Anchor {
    keys: Toy,
    /// Of each client key.
    entries: Vec<(Key, Entry)>,
    pub(crate) lies: bool,
    pub(crate) is_up: bool,
    /// Which TPMs do not reach it: none, those of even or of odd number, all.
    pub(crate) cut: [bool; 2],
    /// What a liar was before, and what it is for some.
    others: Vec<(Key, Entry)>,
    /// What a liar has been sent.
    seen: Vec<Request>,
}

impl Anchor {
    pub(crate) fn new(number: u8, lies: bool) -> Self {
        let (others, seen) = (Vec::new(), Vec::new());
        Self { keys: Toy::new(number), entries: Vec::new(), lies, is_up: true, cut: [false; 2], others, seen }
    }

    pub(crate) fn key(&self) -> Key {
        *self.keys.public()
    }

    /// Power off: what was answered is on its disk.
    pub(crate) fn lose_power(&mut self) {
        self.is_up = false;
    }

    pub(crate) fn reaches(&self, tpm: usize) -> bool {
        self.is_up && !self.cut[tpm % 2]
    }

    pub(crate) fn answer(&mut self, request: &Request, rng: &mut Rng) -> Option<Reply> {
        if !request.is_signed::<Toy>() {
            return None;
        }
        let reply = if self.lies { self.lie(request, rng) } else { self.keep(request) };
        reply.sign(&self.keys)
    }

    fn keep(&mut self, request: &Request) -> Reply {
        let at = self.entries.iter().position(|(key, _)| *key == request.client).unwrap_or_else(|| {
            self.entries.push((request.client, Entry::new([0; 32])));
            self.entries.len() - 1
        });
        self.entries[at].1.answer(request).reply
    }

    /// Any answer that an anchor could have given in some history, to whoever asks.
    fn lie(&mut self, request: &Request, rng: &mut Rng) -> Reply {
        self.seen.push(*request);
        let of_this = |(key, _): &&(Key, Entry)| *key == request.client;
        let entry = self.entries.iter().find(of_this).copied();
        self.others.extend(entry.filter(|_| rng.u8(..4) == 0));
        let mut others: Vec<_> = self.others.iter_mut().filter(|(key, _)| *key == request.client).collect();
        match rng.u8(..6) {
            0 => self.keep(request),
            // As if nothing had been since.
            1 if !others.is_empty() => {
                let at = rng.usize(..others.len());
                others[at].1.answer(request).reply
            }
            2 => Entry::new([0; 32]).answer(request).reply,
            3 if request.kind == kind::PREPARE => {
                let earlier = |seen: &&Request| seen.kind == kind::ACCEPT && seen.ballot.turn() < request.ballot.turn();
                let earlier: Vec<_> = self.seen.iter().filter(earlier).collect();
                let reply = Reply::to(request, status::PROMISED);
                rng.choice(earlier).map_or(reply, |seen| reply.showing(seen))
            }
            4 => {
                let later: Vec<_> =
                    self.seen.iter().filter(|seen| seen.ballot.order() > request.ballot.order()).collect();
                match rng.choice(later) {
                    Some(seen) => Reply::to(request, status::OUTRUN).showing(seen),
                    None => self.keep(request),
                }
            }
            _ if request.kind == kind::ACCEPT => Reply::to(request, status::ACCEPTED),
            _ => self.keep(request),
        }
    }
}
