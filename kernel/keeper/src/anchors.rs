//! Anchors: asked before a state is opened, and behind the commits for which the settings want it (docs/anchors.md).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use anchor::client::{Boot, Client};
use anchor::drive::{self, Refused, Way};
use anchor::quorum::TooFew;
use anchor::share::{Covered, Exchange, Secret, combine, commitment, new_correction, point};
use anchor::{Head, Left, Mark, P384, Quorum, Reply};
use kernel::fatal::{Fatal, Reason};
use kernel::state::{StateSetting, flag};
use migration::AnchorKey;
use relay::{Relay, service};
use sealed::StateDisk;
use sealed::disk::Room;
use sealed::layout::sha256;
use tpm_core::{Clock, Entropy};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::Device;
use crate::outer::{Outer, Share};

/// How often patience passes before anchors are asked again that did not answer, where the settings let the TPM go on.
const PAUSE: u64 = 16;

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

/// Octets that no other boot has.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Nonces {
    seed: [u8; 32],
    count: u64,
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
struct Sent {
    request: Vec<u8>,
    /// When it is sent again to those that have not answered, and how long their answers are waited for.
    again_ms: u64,
    until_ms: u64,
    /// Anchors of which nothing more is to come, a bit for each.
    done: u32,
}

/// Rounds of questions, each of which is waited for so long.
struct Rounds<'a> {
    post: &'a mut Option<Box<dyn Post>>,
    nonces: &'a mut Nonces,
    anchors: u32,
    patience_ms: u32,
    sent: &'a mut Sent,
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
    fn hurry(&mut self) {
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
    /// Of this state, by the key pair of its scalar.
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

    /// The way again, of those that are not asked any more.
    pub(crate) fn leave(mut self: Box<Self>) -> Option<Box<dyn Post>> {
        self.post.take()
    }

    /// By what they know the TPM.
    pub(crate) fn key(&self) -> AnchorKey {
        AnchorKey { quorum: self.quorum.id(), scalar: *self.outer.scalar }
    }

    /// Whether the TPM comes from a firmware with the same anchors, and that may be alive.
    pub(crate) const fn waits(&self) -> bool {
        self.client.waits()
    }

    /// What waits is another state now, which will have left this.
    pub(crate) fn comes(&mut self, left: Left) {
        self.client.comes(left);
    }

    /// The TPM has arrived: where it comes from it is dead. Nobody may have started it here before.
    ///
    /// # Errors
    /// Those of [`Anchored::settle`].
    pub(crate) fn arrive(&mut self) -> Result<(), Fatal> {
        self.client.arrive();
        self.settle()
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

    /// The share of the state's key, where it is a root: of `k` anchors, or a new one, of which all get a part.
    ///
    /// # Errors
    /// `Anchors`: there is none; `Entropy`.
    fn secret(&mut self, entropy: &mut dyn Entropy) -> Result<Option<Zeroizing<[u8; 32]>>, Fatal> {
        let Some(exchange) = self.exchange.take() else { return Ok(None) };
        let given = if self.outer.shares.is_empty() {
            self.new_secret(&exchange, entropy)?
        } else {
            self.known_secret(&exchange)
        };
        let count = if self.outer.shares.is_empty() { self.quorum.n() } else { self.quorum.k() };
        given.map(Some).ok_or_else(|| Fatal::new(Reason::Anchors, format_args!("not {count} give their share")))
    }

    fn new_secret(
        &mut self,
        exchange: &Exchange,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Zeroizing<[u8; 32]>>, Fatal> {
        let anchors = usize::try_from(self.quorum.n()).unwrap_or(usize::MAX);
        if !self.ask(|way, client| drive::gather(way, client, |client| client.shares().count() == anchors)) {
            return Ok(None);
        }
        let mut random = Zeroizing::new([[0; 32]; 16]);
        for part in random.iter_mut() {
            entropy.fill(part).map_err(Fatal::because(Reason::Entropy))?;
        }
        let Some(secret) = Secret::new(self.quorum.k(), &random) else { return Ok(None) };
        let stored = |(number, covered): (usize, &Covered)| {
            let (number, share) = (u8::try_from(number).ok()?, covered.open(exchange)?);
            Some(Share { correction: secret.correction(number, &share), commitment: commitment(number, &share) })
        };
        let shares: Option<Vec<Share>> = self.client.shares().map(stored).collect();
        Ok(shares.map(|shares| {
            self.outer.shares = shares;
            Zeroizing::new(*secret.octets())
        }))
    }

    /// The others are waited for a little then: an anchor that has lost its database gives another share than it did,
    /// and counts again when the next record has the correction for that.
    fn known_secret(&mut self, exchange: &Exchange) -> Option<Zeroizing<[u8; 32]>> {
        let (k, n) = (usize::try_from(self.quorum.k()).ok()?, usize::try_from(self.quorum.n()).ok()?);
        let mut stored = core::mem::take(&mut self.outer.shares);
        let enough = self.ask(|way, client| {
            drive::gather(way, client, |client| Points::of(client, &stored, exchange, k).0.len() == k)
        });
        if enough {
            self.ask(|way, client| {
                way.hurry();
                drive::gather(way, client, |client| client.shares().count() == n)
            });
        }
        let points = Points::of(&self.client, &stored, exchange, k);
        let secret = if enough { combine(&points.0) } else { None };
        if secret.is_some() {
            self.correct(&mut stored, &points, exchange);
        }
        self.outer.shares = stored;
        secret
    }

    /// Stores corrections for shares that are others than those that were given when the state was made.
    fn correct(&self, stored: &mut [Share], points: &Points, exchange: &Exchange) {
        for (number, covered) in self.client.shares() {
            let (Some(of), Ok(number)) = (stored.get_mut(number), u8::try_from(number)) else { continue };
            let Some(share) = covered.open(exchange) else { continue };
            let commitment = commitment(number, &share);
            if commitment != of.commitment
                && let Some(correction) = new_correction(&points.0, number, &share)
            {
                *of = Share { correction, commitment };
            }
        }
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
        self.own = head_of(disk);
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
        if self.client.registered().is_none() {
            return self.ask_to_settle().or_else(|why| self.never_without(why));
        }
        self.must_hold()?;
        (self.has_begun, self.unregistered, self.alone) = (true, 0, false);
        Ok(())
    }

    fn never_without(&mut self, why: Refused) -> Result<(), Fatal> {
        self.without(why).and_then(|()| Err(Fatal::new(Reason::Anchors, format_args!("{why}"))))
    }

    /// The same for what is left of a TPM that has moved, which is on the disk: whatever the settings say, it is
    /// registered, or not said.
    ///
    /// # Errors
    /// `Old`, `Anchors`.
    pub(crate) fn entombed<R: Room>(&mut self, disk: &StateDisk<R, Device>) -> Result<(), Fatal> {
        self.own = head_of(disk);
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

/// Numbers of anchors, and what their shares are at these.
struct Points(Vec<(u8, [u8; 32])>);

impl Points {
    /// Of `k` anchors whose shares are right.
    fn of(client: &Client<'_, P384>, stored: &[Share], exchange: &Exchange, k: usize) -> Self {
        let right = client.shares().filter_map(|(number, covered)| {
            let (of, number) = (stored.get(number)?, u8::try_from(number).ok()?);
            let share = covered.open(exchange)?;
            (commitment(number, &share) == of.commitment).then_some((number, point(&share, &of.correction)))
        });
        // No larger buffer takes its place while it is filled.
        let mut points = Self(Vec::with_capacity(k));
        points.0.extend(right.take(k));
        points
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, point)| point.zeroize());
    }
}

/// The last record that this boot has written, as anchors know it.
fn head_of<R: Room>(disk: &StateDisk<R, Device>) -> Head {
    Head::new(disk.epoch(), *disk.boot_nonce(), *disk.digest())
}

fn exchange(entropy: &mut dyn Entropy) -> Result<Exchange, Fatal> {
    let scalar = scalar(entropy)?;
    Exchange::new(&scalar).ok_or_else(Fatal::plain(Reason::Entropy))
}

/// The key pair of a scalar, which is there for good.
pub(crate) fn keys(scalar: &[u8; 48]) -> Option<&'static P384> {
    P384::new(scalar).map(|keys| &*Box::leak(Box::new(keys)))
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
