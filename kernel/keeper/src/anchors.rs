//! Anchors: asked before a state is opened, and behind the commits for which the settings want it (docs/anchors.md).

mod rounds;
mod shares;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use anchor::client::{Boot, Client};
use anchor::drive::{self, Refused};
use anchor::quorum::TooFew;
use anchor::share::Exchange;
use anchor::{Head, Mark, P384, Quorum};
use kernel::fatal::{Fatal, Reason};
use kernel::state::{StateSetting, flag};
use sealed::StateDisk;
use sealed::disk::Room;
use tpm_core::Entropy;
use zeroize::Zeroizing;

use crate::Device;
use crate::outer::Outer;
pub use rounds::{ByRelay, Post};
use rounds::{Nonces, Rounds, Sent};
use shares::exchange;

/// How often patience passes before anchors are asked again that did not answer, where the settings let the TPM go on.
const PAUSE: u64 = 16;

/// Which anchors the settings name: none, or a quorum, which is there for good.
///
/// # Errors
/// `Settings`.
pub fn quorum(setting: &StateSetting<'_>) -> Result<Option<&'static Quorum>, Fatal> {
    let malformed = |why: &dyn fmt::Display| Fatal::new(Reason::Settings, format_args!("{why}"));
    if setting.anchors.is_empty() {
        return if setting.share { Err(malformed(&"anchors: none for the share that is a root")) } else { Ok(None) };
    }
    let quorum = Quorum::parse(setting.anchors).map_err(|why| malformed(&why))?;
    if quorum.has_shares() == setting.share {
        Ok(Some(Box::leak(Box::new(quorum))))
    } else {
        Err(malformed(&"anchors: shares are asked for and no root, or the other way round"))
    }
}

/// The state that anchors are asked about, as far as it is known before it is opened.
pub(crate) struct Subject {
    /// Its TPM.
    pub(crate) identity: [u8; 32],
    /// This boot.
    pub(crate) boot_nonce: [u8; 32],
    /// Its newest record; [`Head::GENESIS`] before the first.
    pub(crate) own: Head,
    /// What it shows to anchors.
    pub(crate) outer: Outer,
}

/// A state's anchors, for as long as the firmware runs.
pub(crate) struct Anchored {
    quorum: &'static Quorum,
    client: Client<'static, P384>,
    outer: Outer,
    exchange: Option<Exchange>,
    own: Head,
    /// The record on the disk says that anchors may know it: one that was written alone since the boot does not.
    names_own: bool,
    post: Option<Box<dyn Post>>,
    nonces: Nonces,
    sent: Sent,
    /// Whether this boot has registered a record.
    has_begun: bool,
    /// Commits that were acknowledged since the last registered record.
    unregistered: u32,
    /// Whether the TPM goes on without a quorum, and when that is asked for again.
    alone: bool,
    again_ms: u64,
}

impl Anchored {
    /// Of this state, by the key pair of its scalar ([`keys`]).
    ///
    /// # Errors
    /// `Entropy`.
    pub(crate) fn new(
        quorum: &'static Quorum,
        keys: &'static P384,
        subject: Subject,
        entropy: &mut dyn Entropy,
    ) -> Result<Box<Self>, Fatal> {
        let Subject { identity, boot_nonce, own, outer } = subject;
        let exchange = if quorum.has_shares() { Some(exchange(entropy)?) } else { None };
        let boot = Boot { identity, nonce: boot_nonce, exchange: exchange.as_ref().map(|exchange| *exchange.public()) };
        let mut nonces = Nonces { seed: [0; 32], count: 0 };
        entropy.fill(&mut nonces.seed).map_err(Fatal::because(Reason::Entropy))?;
        Ok(Box::new(Self {
            quorum,
            client: Client::new(quorum, keys, boot, own, &outer.mark),
            names_own: outer.mark.names_own(),
            outer,
            exchange,
            own,
            post: None,
            nonces,
            sent: Sent::default(),
            has_begun: false,
            unregistered: 0,
            alone: false,
            again_ms: 0,
        }))
    }

    /// The way to them.
    pub(crate) fn go_by(&mut self, post: Option<Box<dyn Post>>) {
        self.post = post;
    }

    /// The way again, of those that are not asked any more, and the last term.
    pub(crate) fn leave(mut self: Box<Self>) -> (Option<Box<dyn Post>>, u64) {
        (self.post.take(), self.client.mark().term.get())
    }

    /// Asks whether the state is the newest, and for its share, where that is a root.
    ///
    /// # Errors
    /// `Old`, `Anchors`, `Entropy`.
    pub(crate) fn open(&mut self, entropy: &mut dyn Entropy) -> Result<Option<Zeroizing<[u8; 32]>>, Fatal> {
        self.settle()?;
        self.secret(entropy)
    }

    /// Runs rounds with the client.
    fn ask<R>(&mut self, rounds: impl FnOnce(&mut Rounds<'_>, &mut Client<'static, P384>) -> R) -> R {
        let Self { quorum, client, post, nonces, sent, .. } = self;
        let (anchors, patience_ms) = (quorum.n(), quorum.patience_ms());
        rounds(&mut Rounds { post, nonces, anchors, patience_ms, sent }, client)
    }

    #[inline(never)]
    fn ask_to_settle(&mut self) -> Result<(), Refused> {
        self.ask(|way, client| drive::settle(way, client))
    }

    #[inline(never)]
    fn ask_to_register(&mut self) -> Result<(), Refused> {
        let own = self.own;
        self.ask(|way, client| drive::register(way, client, own))
    }

    /// Whether the state that was found is the newest: asked before it is opened.
    ///
    /// # Errors
    /// `Old`; `Anchors`: too few answer, and the settings refuse.
    pub(crate) fn settle(&mut self) -> Result<(), Fatal> {
        self.ask_to_settle().or_else(|why| self.without(why))
    }

    /// What becomes of a quorum that is not to be had.
    fn without(&mut self, why: Refused) -> Result<(), Fatal> {
        if let Refused::Over(verdict) = why {
            let epoch = self.own.epoch;
            return Err(Fatal::new(Reason::Old, format_args!("{verdict}; here it is {epoch}")));
        }
        // What operators have stopped does not go on alone either.
        if self.quorum.too_few() == TooFew::Refuse || why == Refused::Held {
            return Err(Fatal::new(Reason::Anchors, format_args!("{why}")));
        }
        self.alone = true;
        let now_ms = self.post.as_mut().map_or(0, |post| post.now_ms());
        self.again_ms = now_ms.saturating_add(PAUSE * u64::from(self.quorum.patience_ms()));
        Ok(())
    }

    /// Whether anchors are to be asked once more that did not answer.
    fn is_time(&mut self) -> bool {
        !self.alone || self.post.as_mut().is_some_and(|post| post.now_ms() >= self.again_ms)
    }

    /// Before a record is written: it has to say what anchors may know. Where the TPM goes on alone since the boot they
    /// are asked first: a record that was written before cannot be registered.
    ///
    /// # Errors
    /// `Old`.
    pub(crate) fn before<R: Room>(&mut self, disk: &mut StateDisk<R, Device>) -> Result<(), Fatal> {
        if self.client.registered().is_none() && self.is_time() {
            self.settle()?;
        }
        self.mark(disk)
    }

    /// The next record says what anchors may know.
    ///
    /// # Errors
    /// `State`.
    pub(crate) fn mark<R: Room>(&mut self, disk: &mut StateDisk<R, Device>) -> Result<(), Fatal> {
        self.outer.mark = self.client.mark();
        disk.set_outer(&self.outer.octets()).ok_or_else(Fatal::plain(Reason::State))
    }

    /// When a record has been written: it is registered, if that is due.
    ///
    /// # Errors
    /// `Old`: another copy has started; `Anchors`: too few answer, and the settings refuse.
    pub(crate) fn behind<R: Room>(&mut self, disk: &StateDisk<R, Device>) -> Result<(), Fatal> {
        (self.own, self.names_own) = (head_of(disk), self.outer.mark.names_own());
        let is_due = !self.has_begun || self.quorum.cadence().is_due(self.unregistered);
        if self.client.registered().is_none() || !is_due || !self.is_time() {
            self.unregistered = self.unregistered.saturating_add(1);
            return Ok(());
        }
        match self.ask_to_register() {
            Ok(()) => {
                (self.has_begun, self.unregistered, self.alone) = (true, 0, false);
                Ok(())
            }
            Err(why) => {
                self.unregistered = self.unregistered.saturating_add(1);
                self.without(why)
            }
        }
    }

    /// A quorum that answers now, whatever the settings say of going on without, and whatever was registered before: by
    /// having the record registered that is on the disk. One that was written alone since the boot cannot be; then the
    /// round that is missing is asked for.
    ///
    /// # Errors
    /// `Old`, `Anchors`.
    pub(crate) fn must_answer(&mut self) -> Result<(), Fatal> {
        if self.client.registered().is_none() || !self.names_own {
            return self.ask_to_settle().or_else(|why| self.never_without(why));
        }
        self.must_hold()?;
        (self.has_begun, self.unregistered, self.alone) = (true, 0, false);
        Ok(())
    }

    fn never_without(&mut self, why: Refused) -> Result<(), Fatal> {
        // What was registered before is no less so.
        let before = (self.alone, self.again_ms);
        self.without(why)?;
        (self.alone, self.again_ms) = before;
        Err(Fatal::new(Reason::Anchors, format_args!("{why}")))
    }

    /// The same for what is left of a TPM that has moved, which is on the disk: whatever the settings say, it is
    /// registered, or not said.
    ///
    /// # Errors
    /// `Old`, `Anchors`.
    pub(crate) fn entombed<R: Room>(&mut self, disk: &StateDisk<R, Device>) -> Result<(), Fatal> {
        (self.own, self.names_own) = (head_of(disk), self.outer.mark.names_own());
        self.must_hold()
    }

    /// Has the record registered that is on the disk, and that says that it may be.
    ///
    /// # Errors
    /// `Old`, `Anchors`.
    pub(crate) fn must_hold(&mut self) -> Result<(), Fatal> {
        self.ask_to_register().or_else(|why| self.never_without(why))
    }

    /// What is attested: [`flag::ANCHORED`] or [`flag::TOO_FEW`].
    pub(crate) const fn flags(&self) -> u32 {
        if self.alone { flag::TOO_FEW } else { flag::ANCHORED }
    }
}

/// The last record that this boot has written, as anchors know it.
fn head_of<R: Room>(disk: &StateDisk<R, Device>) -> Head {
    Head::new(disk.epoch(), *disk.boot_nonce(), *disk.digest())
}

/// The key pair of a scalar, which is there for good: a boot has one.
///
/// # Errors
/// `Damaged`: it is none.
pub(crate) fn keys(scalar: &[u8; 48]) -> Result<&'static P384, Fatal> {
    let keys = P384::new(scalar).ok_or_else(Fatal::plain(Reason::Damaged))?;
    Ok(Box::leak(Box::new(keys)))
}

/// A scalar of P-384.
pub(crate) fn scalar(entropy: &mut dyn Entropy) -> Result<Zeroizing<[u8; 48]>, Fatal> {
    // One of 2¹⁹⁰ draws is none.
    for _ in 0..4 {
        let mut scalar = Zeroizing::new([0; 48]);
        entropy.fill(&mut *scalar).map_err(Fatal::because(Reason::Entropy))?;
        if P384::new(&scalar).is_some() {
            return Ok(scalar);
        }
    }
    Err(Fatal::plain(Reason::Entropy)())
}

/// What a state begins with.
pub(crate) fn beginning(quorum: &Quorum, scalar: Zeroizing<[u8; 48]>) -> Outer {
    Outer { mark: Mark::new(quorum), scalar, shares: Vec::new() }
}
