//! What a message, a setting, a mark, an anchor and a TPM may and may not.

mod client;
mod keeper;
mod quorum;
mod share;
mod wire;

use crate::client::{Boot, Client, State};
use crate::keeper::Entry;
use crate::keys::{Keys, P384};
use crate::mark::Mark;
use crate::quorum::Quorum;
use crate::wire::{Head, Key, Reply, Request};
use std::vec::Vec;
use zerocopy::IntoBytes;

/// The key pair of a number.
fn key(number: u8) -> P384 {
    P384::new(&[number; 48]).unwrap()
}

fn public(number: u8) -> Key {
    *key(number).public()
}

/// A head of this epoch and boot.
fn head(epoch: u64, boot: u8) -> Head {
    Head::new(epoch, [boot; 32], [epoch.to_le_bytes()[0]; 32])
}

/// The TPM's key pair.
const TPM: u8 = 0x55;

fn boot(nonce: u8) -> Boot {
    Boot { identity: [9; 32], nonce: [nonce; 32], exchange: None }
}

/// Some anchors, whose keys are 1, 2, 3 and so on.
struct Anchors(Vec<(P384, Entry)>);

impl Anchors {
    fn new(n: u8) -> Self {
        Self((1..=n).map(|number| (key(number), Entry::new([number; 32]))).collect())
    }

    fn quorum(&self, k: u8) -> Quorum {
        let keys: Vec<Key> = self.0.iter().map(|(keys, _)| *keys.public()).collect();
        Quorum::of(k, &keys).unwrap()
    }

    fn answer(&mut self, number: usize, request: &Request) -> Reply {
        assert!(request.is_signed::<P384>());
        let (keys, entry) = &mut self.0[number];
        entry.answer(request).reply.sign(keys).unwrap()
    }

    /// These anchors answer what the client asks.
    fn serve(&mut self, client: &mut Client<'_, P384>, reached: &[usize]) {
        let request = *client.request().unwrap();
        for number in reached {
            let reply = self.answer(*number, &request);
            // Once there are enough, nothing is asked any more.
            let _ = client.hear(*number, reply.as_bytes());
        }
    }

    /// A boot from this record that asks for the turn, and again where somebody had a later one.
    fn ask<'a>(
        &mut self,
        quorum: &'a Quorum,
        keys: &'a P384,
        nonce: u8,
        record: (Head, Mark),
        reached: &[usize],
    ) -> Client<'a, P384> {
        let mut client = Client::new(quorum, keys, boot(nonce), record.0, &record.1);
        for _ in 0..2 {
            client.prepare([1; 32]).unwrap();
            self.serve(&mut client, reached);
            if client.state() != State::Outrun {
                break;
            }
        }
        client
    }

    /// A boot from this record, up to its own head's registration by these anchors.
    fn start<'a>(
        &mut self,
        quorum: &'a Quorum,
        keys: &'a P384,
        nonce: u8,
        record: (Head, Mark),
        reached: &[usize],
    ) -> (Client<'a, P384>, Mark) {
        let mut client = self.ask(quorum, keys, nonce, record, reached);
        client.settle([2; 32]).unwrap();
        self.serve(&mut client, reached);
        let mark = client.mark();
        client.register(head(record.0.epoch.get() + 1, nonce), [3; 32]).unwrap();
        self.serve(&mut client, reached);
        (client, mark)
    }
}
