//! An anchor's rules: what it keeps of a TPM, and how that changes by a request. Whoever calls this has checked that
//! the request is signed, and answers only when what has changed cannot be lost any more.

use crate::wire::{Reason, Reply, Request, asked, kind, status, told};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What an anchor keeps of one TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Entry {
    flags: u8,
    /// The request of the latest turn: nothing of an earlier one is accepted any more.
    promised: Request,
    /// The last accept.
    accepted: Request,
    /// A secret that only whoever has the newest state is given.
    pub share: [u8; 32],
}

/// Bits of [`Entry::flags`].
mod has {
    pub(super) const PROMISED: u8 = 1;
    pub(super) const ACCEPTED: u8 = 2;
    pub(super) const FORGOTTEN: u8 = 4;
    pub(super) const HELD: u8 = 8;
    pub(super) const ALL: u8 = 15;
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Not signed, and without the share.
    pub reply: Reply,
    /// Whether the entry has changed, and must be durable before the answer leaves.
    pub changed: bool,
    /// Whether the share is to be put into the reply ([`crate::share::give`]).
    pub gives_share: bool,
}

impl Entry {
    /// Octets in an entry.
    pub const SIZE: usize = size_of::<Self>();

    /// Of a TPM that was never heard of.
    #[must_use]
    pub fn new(share: [u8; 32]) -> Self {
        Self { share, ..Self::new_zeroed() }
    }

    /// The entry in `octets`; nothing where they are none.
    #[must_use]
    pub fn parse(octets: &[u8]) -> Option<Self> {
        let entry = Self::read_from_bytes(octets).ok()?;
        let in_shape = |request: &Request, there: bool| !there || Request::parse(request.as_bytes()).is_ok();
        let shape =
            in_shape(&entry.promised, entry.has(has::PROMISED)) && in_shape(&entry.accepted, entry.has(has::ACCEPTED));
        (entry.flags & !has::ALL == 0 && shape).then_some(entry)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What was accepted last.
    #[must_use]
    pub const fn accepted(&self) -> Option<&Request> {
        if self.has(has::ACCEPTED) { Some(&self.accepted) } else { None }
    }

    /// Who has the latest turn.
    #[must_use]
    pub const fn promised(&self) -> Option<&Request> {
        if self.has(has::PROMISED) { Some(&self.promised) } else { None }
    }

    /// Whether the operator has had it forgotten what was accepted.
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        self.has(has::FORGOTTEN)
    }

    /// Whether the operator has stopped this TPM.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.has(has::HELD)
    }

    /// The operator's word that any state may start. The promise stays: it is no part of a state.
    pub fn forget(&mut self) {
        self.accepted = Request::new_zeroed();
        self.flags = self.flags & !has::ACCEPTED | has::FORGOTTEN;
    }

    /// The operator's word that this TPM gets no answers, or gets them again.
    pub const fn hold(&mut self, held: bool) {
        self.flags = if held { self.flags | has::HELD } else { self.flags & !has::HELD };
    }

    /// Takes over what another anchor keeps of the same TPM, where that is later: for an anchor that has lost its disk,
    /// from `k` others (docs/anchors.md).
    pub fn adopt(&mut self, other: &Self) {
        if let Some(theirs) = other.promised() {
            self.promise(theirs);
        }
        if let Some(theirs) = other.accepted()
            && self.accepted().is_none_or(|ours| ours.ballot.order() < theirs.ballot.order())
        {
            self.accept(theirs);
        }
        // The operators of the others had it stopped; here one releases it.
        self.flags |= other.flags & has::HELD;
    }

    fn promise(&mut self, request: &Request) {
        if self.promised().is_none_or(|earlier| earlier.ballot.turn() < request.ballot.turn()) {
            self.promised = *request;
            self.flags |= has::PROMISED;
        }
    }

    fn accept(&mut self, request: &Request) {
        self.accepted = *request;
        self.flags = self.flags & !has::FORGOTTEN | has::ACCEPTED;
    }

    /// Answers a signed request of this entry's TPM.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let before = *self;
        let reply = self.decide(request);
        let gives_share = reply.status == status::ACCEPTED && request.flags & asked::SHARE != 0;
        Answer { reply, changed: *self != before, gives_share }
    }

    fn decide(&mut self, request: &Request) -> Reply {
        if self.is_held() {
            return Reply::refusing(request, Reason::Held);
        }
        if let Some(later) = self.promised().filter(|promised| promised.ballot.turn() > request.ballot.turn()) {
            return Reply::to(request, status::OUTRUN).showing(later);
        }
        match request.kind {
            kind::PREPARE => self.prepared(request),
            _ => self.asked_to_accept(request),
        }
    }

    fn prepared(&mut self, request: &Request) -> Reply {
        self.promise(request);
        let reply = Reply::to(request, status::PROMISED);
        match self.accepted() {
            Some(accepted) => reply.showing(accepted),
            None if self.is_forgotten() => Reply { flags: told::FORGOTTEN, ..reply },
            None => reply,
        }
    }

    fn asked_to_accept(&mut self, request: &Request) -> Reply {
        if let Some(accepted) = self.accepted() {
            match accepted.ballot.order().cmp(&request.ballot.order()) {
                // A request that came late, or twice.
                core::cmp::Ordering::Greater => return Reply::to(request, status::OUTRUN).showing(accepted),
                core::cmp::Ordering::Equal if accepted.head != request.head => {
                    return Reply::refusing(request, Reason::Conflict);
                }
                core::cmp::Ordering::Equal => return Reply::to(request, status::ACCEPTED),
                core::cmp::Ordering::Less => {}
            }
        }
        self.promise(request);
        self.accept(request);
        Reply::to(request, status::ACCEPTED)
    }
}
