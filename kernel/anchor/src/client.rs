//! A TPM's side. It sends nothing by itself: its requests go to all anchors, whatever comes back is [heard], and how
//! long that is waited for is the caller's business, as is what then happens ([`crate::quorum::TooFew`]).
//!
//! | step | call | before it |
//! |---|---|---|
//! | who has the turn, and what is the newest state? | [`Client::prepare`] | the record is opened |
//! | the newest state is ours: have it accepted anew, get shares | [`Client::settle`] | |
//! | a new record's head | [`Client::register`] | the record, with [`Client::mark`] in it, is flushed |
//! | an answer got lost | [`Client::request`] again, the same octets | |
//! | somebody else had a later turn ([`State::Outrun`]) | [`Client::prepare`] again | |
//!
//! After the last step the TPM holds the quorum, and may start or acknowledge.
//!
//! [heard]: Client::hear

use crate::keys::Keys;
use crate::mark::Mark;
use crate::quorum::{MAX, Quorum};
use crate::share::Covered;
use crate::wire::{Ballot, Head, Key, Malformed, REQUEST, Reason, Reply, Request, asked, kind, status, told};
use core::fmt;
use zerocopy::FromZeros;
use zerocopy::byteorder::big_endian::U64;

/// What a TPM is at a boot.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Its identity.
    pub identity: [u8; 32],
    /// Fresh: no two boots have the same.
    pub nonce: [u8; 32],
    /// The public key of this boot's [`crate::share::Exchange`], where shares are wanted.
    pub exchange: Option<Key>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was asked yet.
    Idle,
    /// An answer is missing: to be waited for, or to be asked for again.
    Waiting,
    /// The newest state is this one's: [`Client::settle`].
    Prepared,
    /// Anchors have accepted that once more: a record may be written, and registered.
    Settled,
    /// Anchors have accepted this TPM's own head, and nobody's since, as far as they said.
    Holding,
    /// Too few are left that could answer, since someone has a later turn: [`Client::prepare`] finds out who.
    Outrun,
    /// Too few are left that serve this TPM: [`Client::reason`].
    Unserved,
    /// This TPM must not go on.
    Over(Verdict),
}

/// Why a TPM must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The record on the disk is not the newest: anchors know this head.
    Old(Head),
    /// Another copy of this TPM has started since.
    Superseded(Head),
    /// The record was registered once, and the anchors know nothing of it.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(head) => write!(f, "the state is old: the anchors know epoch {}", head.epoch),
            Self::Superseded(head) => write!(f, "another copy has started: the anchors know epoch {}", head.epoch),
            Self::Unknown => f.write_str("the anchors know nothing of a state that was registered with them"),
        }
    }
}

/// Why a message changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No reply.
    Malformed(Malformed),
    /// No anchor has this number.
    NoAnchor,
    /// Nothing is asked at the moment, or this anchor has answered.
    NotAsked,
    /// To another request: old, or of another TPM.
    OtherRequest,
    /// Not by the anchor of this number.
    Signature,
    /// No answer to a request of this kind.
    Status,
    /// It shows what this TPM has never asked for, or what cannot be where it is shown.
    Shown,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(why) => return why.fmt(f),
            Self::NoAnchor => "no anchor of that number",
            Self::NotAsked => "not asked for",
            Self::OtherRequest => "an answer to another request",
            Self::Signature => "not signed by that anchor",
            Self::Status => "no answer to such a request",
            Self::Shown => "it shows what was never asked for",
        })
    }
}

/// What is asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Prepare,
    Prepared,
    Settle,
    Settled,
    Register,
    Holding,
    Over(Verdict),
}

/// One bit for each anchor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Anchors(u16);

impl Anchors {
    const fn has(self, number: usize) -> bool {
        number < MAX && self.0 >> number & 1 == 1
    }

    const fn add(&mut self, number: usize) {
        if number < MAX {
            self.0 |= 1 << number;
        }
    }

    const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// What came back to the request that is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Round {
    digest: [u8; 32],
    granted: Anchors,
    outrun: Anchors,
    unserved: Anchors,
    held: Anchors,
    forgotten: bool,
    /// The newest of what was shown.
    newest: Option<(Ballot, Head)>,
    reason: Option<Reason>,
}

/// A TPM that asks its anchors.
#[derive(Clone, Debug)]
pub struct Client<'a, K> {
    quorum: &'a Quorum,
    keys: &'a K,
    boot: Boot,
    /// The record that was opened.
    own: Head,
    /// What anchors may rightly show: as the record says, and once this boot has settled, the last head that was
    /// registered.
    known: Known,
    /// A head that was sent, and that anchors may know.
    pending: Option<Head>,
    /// Whether `known` is what this boot has settled.
    settled: bool,
    /// The term that was asked for last.
    term: u64,
    /// The latest that somebody else is known to have asked for.
    others: u64,
    step: u64,
    phase: Phase,
    request: Request,
    round: Round,
    shares: [Option<Covered>; MAX],
}

/// At most three heads, as a mark has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Known {
    heads: [Head; 3],
    count: usize,
}

impl Known {
    fn of(heads: impl IntoIterator<Item = Head>) -> Self {
        let mut known = Self { heads: [Head::GENESIS; 3], count: 0 };
        for (to, head) in known.heads.iter_mut().zip(heads) {
            *to = head;
            known.count += 1;
        }
        known
    }

    fn heads(&self) -> &[Head] {
        self.heads.get(..self.count).unwrap_or_default()
    }

    fn last_registered(&self) -> Head {
        let [first, ..] = self.heads;
        first
    }
}

impl<'a, K: Keys> Client<'a, K> {
    /// A boot from the record whose head is `own` and that has this mark. A mark that is of other anchors counts for
    /// nothing: these know nothing of this TPM. `keys` are the TPM's own.
    #[must_use]
    pub fn new(quorum: &'a Quorum, keys: &'a K, boot: Boot, own: Head, mark: &Mark) -> Self {
        let mark = if mark.is_of(quorum) { *mark } else { Mark::new(quorum) };
        let known = mark.heads().iter().copied().chain(mark.names_own().then_some(own));
        Self {
            quorum,
            keys,
            boot,
            own,
            known: Known::of(known),
            pending: None,
            settled: false,
            term: mark.term.get(),
            others: 0,
            step: 0,
            phase: Phase::Idle,
            request: Request::new_zeroed(),
            round: Round::default(),
            shares: [None; MAX],
        }
    }

    /// How far this is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Idle => State::Idle,
            Phase::Prepared => State::Prepared,
            Phase::Settled => State::Settled,
            Phase::Holding => State::Holding,
            Phase::Over(verdict) => State::Over(verdict),
            Phase::Prepare | Phase::Settle | Phase::Register => self.waiting(),
        }
    }

    /// Whether the answer can still come.
    fn waiting(&self) -> State {
        let lost = Anchors(self.round.outrun.0 | self.round.unserved.0).count();
        if lost + self.quorum.k() <= self.quorum.n() {
            State::Waiting
        } else if self.round.outrun.count() > 0 {
            State::Outrun
        } else {
            State::Unserved
        }
    }

    /// Whether one of those that answered has promised a later turn, and so many have answered as are needed. Others
    /// might still grant this one; to ask for a later turn is the shorter way, and the only one where they are away.
    #[must_use]
    pub fn is_overtaken(&self) -> bool {
        let answered = Anchors(self.round.granted.0 | self.round.outrun.0).count();
        self.state() == State::Waiting && self.round.outrun.count() > 0 && answered >= self.quorum.k()
    }

    /// Whether so many anchors' operators have stopped this TPM that no quorum is left.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.round.held.count() + self.quorum.k() > self.quorum.n()
    }

    /// What an anchor said last that does not serve this TPM.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        self.round.reason
    }

    /// How many have granted what is asked.
    #[must_use]
    pub const fn granted(&self) -> u32 {
        self.round.granted.count()
    }

    /// The request that is out: to be sent to all anchors, and again to those that have not answered.
    #[must_use]
    pub const fn request(&self) -> Option<&Request> {
        match self.phase {
            Phase::Prepare | Phase::Settle | Phase::Register => Some(&self.request),
            _ => None,
        }
    }

    /// The head that anchors have accepted last, of those that this TPM knows of; nothing before it has settled.
    #[must_use]
    pub fn registered(&self) -> Option<Head> {
        self.settled.then(|| self.known.last_registered())
    }

    /// What a record that is written now must have in it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        if !self.settled {
            return Mark::naming(self.term, self.quorum, self.known.heads(), false);
        }
        let last = self.known.last_registered();
        match self.pending {
            Some(pending) => Mark::naming(self.term, self.quorum, &[last, pending], true),
            None => Mark::naming(self.term, self.quorum, &[last], true),
        }
    }

    /// The shares that anchors gave when this TPM settled, by their numbers.
    pub fn shares(&self) -> impl Iterator<Item = (usize, &Covered)> {
        self.shares.iter().enumerate().filter_map(|(number, share)| Some((number, share.as_ref()?)))
    }

    /// Asks for the turn, with a nonce that is fresh. Nothing where the TPM must not go on, or cannot sign.
    pub fn prepare(&mut self, nonce: [u8; 32]) -> Option<&Request> {
        if matches!(self.phase, Phase::Over(_)) {
            return None;
        }
        self.term = self.term.max(self.others).checked_add(1)?;
        self.step = 0;
        self.ask(Phase::Prepare, kind::PREPARE, Head::GENESIS, nonce)
    }

    /// Has what was found accepted under this boot's ballot. Nothing unless that is due.
    pub fn settle(&mut self, nonce: [u8; 32]) -> Option<&Request> {
        if self.phase != Phase::Prepared {
            return None;
        }
        let found = self.found().ok()?;
        self.shares = [None; MAX];
        self.ask(Phase::Settle, kind::ACCEPT, found, nonce)
    }

    /// Has a record's head accepted: one that is on the disk, with [`Self::mark`] in it; or again the last one, to
    /// learn that nobody else has started. Nothing unless this boot has settled; or while another head is out, whose
    /// fate is not known: that goes first.
    pub fn register(&mut self, head: Head, nonce: [u8; 32]) -> Option<&Request> {
        let ready = matches!(self.phase, Phase::Settled | Phase::Holding);
        if !ready || self.pending.is_some_and(|pending| pending != head) {
            return None;
        }
        self.step = self.step.checked_add(1)?;
        self.pending = Some(head);
        self.ask(Phase::Register, kind::ACCEPT, head, nonce)
    }

    fn ask(&mut self, phase: Phase, kind: u8, head: Head, nonce: [u8; 32]) -> Option<&Request> {
        let exchange = self.boot.exchange.filter(|_| phase == Phase::Settle);
        let request = Request {
            magic: REQUEST,
            kind,
            flags: if exchange.is_some() { asked::SHARE } else { 0 },
            identity: self.boot.identity,
            exchange: exchange.unwrap_or([0; 49]),
            nonce,
            ballot: Ballot { term: U64::new(self.term), boot: self.boot.nonce, step: U64::new(self.step) },
            head,
            ..Request::new_zeroed()
        };
        self.request = request.sign(self.keys)?;
        self.round = Round { digest: self.request.digest(), ..Round::default() };
        self.phase = phase;
        Some(&self.request)
    }

    /// Takes what came from the anchor of this number, or in its name.
    ///
    /// # Errors
    /// Why it changes nothing. That is never the end: an answer may still come.
    pub fn hear(&mut self, number: usize, octets: &[u8]) -> Result<(), Ignored> {
        let anchor = *self.quorum.keys().get(number).ok_or(Ignored::NoAnchor)?;
        let reply = Reply::parse(octets).map_err(Ignored::Malformed)?;
        let answered = [self.round.granted, self.round.outrun, self.round.unserved];
        // The others' shares are still wanted when `k` anchors have accepted.
        let is_late = self.phase == Phase::Settled && self.boot.exchange.is_some();
        if !is_late && self.request().is_none() || answered.iter().any(|anchors| anchors.has(number)) {
            return Err(Ignored::NotAsked);
        }
        if reply.request != self.round.digest {
            return Err(Ignored::OtherRequest);
        }
        if !reply.is_signed_by::<K>(&anchor) {
            return Err(Ignored::Signature);
        }
        match (reply.status, self.phase) {
            (status::PROMISED, Phase::Prepare) => self.promised(number, &reply)?,
            (status::ACCEPTED, Phase::Settle | Phase::Settled | Phase::Register) => self.accepted(number, &reply),
            (status::OUTRUN, _) => self.outrun(number, &reply)?,
            (status::REFUSED, _) => {
                self.round.unserved.add(number);
                self.round.reason = Reason::of(reply.reason);
                if self.round.reason == Some(Reason::Held) {
                    self.round.held.add(number);
                }
            }
            _ => return Err(Ignored::Status),
        }
        if self.round.granted.count() >= self.quorum.k() {
            self.is_granted();
        }
        Ok(())
    }

    /// A request that an anchor shows: this TPM's own, of this boot or another.
    fn shown<'r>(&self, reply: &'r Reply) -> Result<Option<&'r Request>, Ignored> {
        let Some(shown) = reply.shown() else { return Ok(None) };
        let ours = shown.identity == self.boot.identity && shown.client == *self.keys.public();
        (ours && shown.is_signed::<K>()).then_some(Some(shown)).ok_or(Ignored::Shown)
    }

    fn promised(&mut self, number: usize, reply: &Reply) -> Result<(), Ignored> {
        if let Some(shown) = self.shown(reply)? {
            // It has promised to this turn now, so that all that it accepted before is of an earlier one.
            if shown.kind != kind::ACCEPT || shown.ballot.turn() >= self.request.ballot.turn() {
                return Err(Ignored::Shown);
            }
            let newest = self.round.newest.filter(|(ballot, _)| ballot.order() >= shown.ballot.order());
            self.round.newest = newest.or(Some((shown.ballot, shown.head)));
        }
        self.round.forgotten |= reply.flags & told::FORGOTTEN != 0;
        self.round.granted.add(number);
        Ok(())
    }

    fn accepted(&mut self, number: usize, reply: &Reply) {
        self.round.granted.add(number);
        if let Some(share) = self.shares.get_mut(number) {
            *share = Covered::of(reply);
        }
    }

    fn outrun(&mut self, number: usize, reply: &Reply) -> Result<(), Ignored> {
        let shown = self.shown(reply)?.ok_or(Ignored::Shown)?;
        if shown.ballot.order() <= self.request.ballot.order() {
            return Err(Ignored::Shown);
        }
        // Not this boot's term: what is asked for in that has to be promised first.
        self.others = self.others.max(shown.ballot.term.get());
        self.round.outrun.add(number);
        Ok(())
    }

    /// `k` anchors have granted what was asked.
    fn is_granted(&mut self) {
        self.phase = match self.phase {
            Phase::Prepare => self.found().map_or_else(Phase::Over, |_| Phase::Prepared),
            Phase::Settle => self.is_settled(),
            Phase::Register => self.is_registered(self.request.head),
            other => other,
        };
    }

    /// The newest state that `k` anchors have shown, if it is this TPM's.
    fn found(&self) -> Result<Head, Verdict> {
        let ours = |head: &Head| self.known.heads().contains(head) || self.pending == Some(*head);
        match self.round.newest {
            Some((_, head)) if ours(&head) => Ok(head),
            Some((_, head)) if self.settled => Err(Verdict::Superseded(head)),
            Some((_, head)) => Err(Verdict::Old(head)),
            // The operator's word: what is on the disk counts.
            None if self.round.forgotten => Ok(self.registered().unwrap_or(self.own)),
            None if ours(&Head::GENESIS) => Ok(Head::GENESIS),
            None => Err(Verdict::Unknown),
        }
    }

    /// What was found is now the newest, whatever a single anchor may have accepted besides.
    fn is_settled(&mut self) -> Phase {
        let head = self.request.head;
        let holds = self.settled && head.boot == self.boot.nonce;
        self.settled = true;
        if holds {
            return self.is_registered(head);
        }
        (self.known, self.pending) = (Known::of([head]), None);
        Phase::Settled
    }

    fn is_registered(&mut self, head: Head) -> Phase {
        (self.known, self.pending) = (Known::of([head]), None);
        Phase::Holding
    }
}
