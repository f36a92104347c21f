//! The state machine of one VMPCK: no (key, IV) pair ever encrypts two plaintexts, whatever the host answers.
//!
//! ```text
//!            seal (IV n+1)                verified answer (IV n+2)
//!   Idle(n) ───────────────▶ Sent(n+1) ──────────────────────────▶ Idle(n+2)
//!                              │   ▲ BUSY, doubt: the identical ciphertext again
//!                              │   └─┘
//!                              └── doubt too often ──▶ Burned: key wiped, for good
//! ```
//!
//! The types carry it: [`Idle`] is used up by [`Idle::seal`], [`Sent`] can show its ciphertext and take an answer, and
//! there is no way back from `Sent` to `Idle` but a verified answer. Both are views of the [`Channel`], so the key
//! never moves in memory.

use zeroize::Zeroize;

use super::header::{HEADER_SIZE, MAX_PAYLOAD, RequestType};
use super::seal::Vmpck;
use super::transport::{Exit, Transport};
use crate::{PAGE_SIZE, Page};

/// Attempts that the host may answer with BUSY before the request is put off.
pub const BUSY_LIMIT: u32 = 100_000;
/// Attempts that may end without a verified answer (and without BUSY) before the key is burned.
pub const DOUBT_LIMIT: u32 = 4;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The host was busy [`BUSY_LIMIT`] times. The request stays sealed; the next call repeats it first.
    Busy,
    /// The key was burned, now or earlier: the host did not deliver verified answers. Attestation is over until the
    /// next boot.
    Burned,
    /// The sequence number would pass `u32::MAX`, which the secrets page cannot hold.
    Exhausted,
    /// The request is longer than a message can be; nothing was sent.
    TooLong,
    /// The verified answer is longer or shorter than it may be.
    AnswerSize(usize),
    /// The PSP refused, with this status; the channel goes on.
    Status(u32),
    /// A verified answer does not say what was asked for: a fault of the PSP's firmware.
    Mismatch,
}

crate::error_words! { MessageError {
    Self::Busy => "the host is busy",
    Self::Burned => "the key is burned, until the next boot",
    Self::Exhausted => "the sequence numbers are used up",
    Self::TooLong => "the request is too long",
    Self::AnswerSize(size) => "the answer has {size} octets",
    Self::Status(status) => "the PSP has refused with status {status:#x}",
    Self::Mismatch => "the answer does not say what was asked for",
} }

/// What became of the certificates of an extended request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateResult {
    /// The host says that it has written them (or that there are none).
    Written,
    /// They need this many 4 KiB pages; the answer came without them.
    TooSmall {
        /// The host's word.
        pages: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Idle,
    /// `request` holds the ciphertext for `last + 1`.
    Sent { kind: RequestType, len: usize },
    /// The key is gone.
    Burned,
}

/// A VMPCK with its sequence number, the last request's ciphertext, and room for the answer. 8 KiB.
pub struct Channel {
    key: Vmpck,
    /// Last sequence number that is used up: even, an answer's, or where the channel began.
    last: u32,
    state: State,
    request: Page,
    answer: Page,
}

impl Channel {
    /// A channel whose last used sequence number is `last`: 0 after launch.
    #[must_use]
    pub const fn new(key: Vmpck, last: u32) -> Self {
        Self { key, last, state: State::Idle, request: [0; PAGE_SIZE], answer: [0; PAGE_SIZE] }
    }

    /// The channel, if nothing is under way.
    pub fn idle(&mut self) -> Option<Idle<'_>> {
        (self.state == State::Idle).then_some(Idle(self))
    }

    /// The request that is under way, if there is one.
    pub fn sent(&mut self) -> Option<Sent<'_>> {
        match self.state {
            State::Sent { kind, len } => Some(Sent { channel: self, kind, len }),
            State::Idle | State::Burned => None,
        }
    }

    /// Wipes key and buffers. Every later request is refused.
    pub fn burn(&mut self) {
        self.key.zeroize();
        self.request.zeroize();
        self.answer.zeroize();
        self.state = State::Burned;
    }

    /// Makes a request and copies the verified answer's payload to `answer`. Returns its length.
    ///
    /// # Errors
    /// All of [`MessageError`] but `Status` and `Mismatch`.
    pub fn request(
        &mut self,
        transport: &mut impl Transport,
        kind: RequestType,
        payload: &[u8],
        answer: &mut [u8],
    ) -> Result<usize, MessageError> {
        self.run(transport, kind, payload, false, answer).map(|(len, _)| len)
    }

    /// As [`Self::request`], and asks the host for its certificates, which are for the transport's owner to read.
    ///
    /// If their buffer is too small, the identical ciphertext goes out again as a plain request.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn extended_request(
        &mut self,
        transport: &mut impl Transport,
        kind: RequestType,
        payload: &[u8],
        answer: &mut [u8],
    ) -> Result<(usize, CertificateResult), MessageError> {
        self.run(transport, kind, payload, true, answer)
    }

    fn run(
        &mut self,
        transport: &mut impl Transport,
        kind: RequestType,
        payload: &[u8],
        certificates: bool,
        answer: &mut [u8],
    ) -> Result<(usize, CertificateResult), MessageError> {
        self.finish_pending(transport)?;
        self.idle().ok_or(MessageError::Burned)?.seal(kind, payload)?;
        let (len, result) = self.exchange(transport, certificates)?;
        let body = self.answer.get_mut(HEADER_SIZE..).unwrap_or_default();
        let body = body.get_mut(..len).unwrap_or_default();
        let outcome = match answer.get_mut(..body.len()) {
            Some(to) => {
                to.copy_from_slice(body);
                Ok((len, result))
            }
            None => Err(MessageError::AnswerSize(len)),
        };
        // An answer may hold a key.
        body.zeroize();
        outcome
    }

    /// Brings a request that was put off to its end; its answer has no taker any more.
    fn finish_pending(&mut self, transport: &mut impl Transport) -> Result<(), MessageError> {
        if self.sent().is_some() {
            self.exchange(transport, false)?;
            self.answer.zeroize();
        }
        Ok(())
    }

    /// Repeats the sealed request until there is a verified answer, the host stays busy, or there is too much doubt.
    /// Returns the length of the payload, which stands decrypted in `self.answer`.
    fn exchange(
        &mut self,
        transport: &mut impl Transport,
        mut certificates: bool,
    ) -> Result<(usize, CertificateResult), MessageError> {
        let mut result = CertificateResult::Written;
        let mut doubts = 0;
        let mut busy = 0;
        while doubts < DOUBT_LIMIT {
            let sent = self.sent().ok_or(MessageError::Burned)?;
            match sent.attempt(transport, certificates) {
                Attempt::Answered(len) => return Ok((len, result)),
                Attempt::Exit(Exit::Busy) if busy == BUSY_LIMIT => return Err(MessageError::Busy),
                Attempt::Exit(Exit::Busy) => {
                    busy += 1;
                    transport.pause();
                }
                Attempt::Exit(Exit::CertificatesTooSmall { pages }) if certificates => {
                    certificates = false;
                    result = CertificateResult::TooSmall { pages };
                }
                Attempt::Exit(_) => doubts += 1,
            }
        }
        self.burn();
        Err(MessageError::Burned)
    }
}

/// Nothing is under way: the next sequence number is unused.
pub struct Idle<'c>(&'c mut Channel);

impl<'c> Idle<'c> {
    /// Encrypts a request. From here on its sequence number belongs to this ciphertext.
    ///
    /// # Errors
    /// `TooLong`, `Exhausted`.
    pub fn seal(self, kind: RequestType, payload: &[u8]) -> Result<Sent<'c>, MessageError> {
        let channel = self.0;
        if payload.len() > MAX_PAYLOAD {
            return Err(MessageError::TooLong);
        }
        // Both this request's and its answer's number must be representable.
        channel.last.checked_add(2).ok_or(MessageError::Exhausted)?;
        let seqno = u64::from(channel.last) + 1;
        let len = channel.key.seal(kind, seqno, payload, &mut channel.request).ok_or(MessageError::TooLong)?;
        channel.state = State::Sent { kind, len };
        Ok(Sent { channel, kind, len })
    }
}

/// A request that the host may have seen.
pub struct Sent<'c> {
    channel: &'c mut Channel,
    kind: RequestType,
    len: usize,
}

enum Attempt {
    /// Verified; length of the payload.
    Answered(usize),
    Exit(Exit),
}

impl Sent<'_> {
    /// The one ciphertext that may be shown for this sequence number.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        self.channel.request.get(..self.len).unwrap_or_default()
    }

    /// One attempt with the ciphertext.
    fn attempt(mut self, transport: &mut impl Transport, certificates: bool) -> Attempt {
        let channel = &mut *self.channel;
        let request = channel.request.get(..self.len).unwrap_or_default();
        match transport.exchange(request, certificates, &mut channel.answer) {
            Exit::Completed => self.accept().map_or(Attempt::Exit(Exit::Failed), Attempt::Answered),
            exit => Attempt::Exit(exit),
        }
    }

    /// Checks the private copy of the answer page; if it is the answer, the sequence number moves on and the payload's
    /// length is returned.
    fn accept(&mut self) -> Option<usize> {
        let channel = &mut *self.channel;
        let answer_seqno = channel.last.checked_add(2)?;
        let len = channel.key.open(self.kind, u64::from(answer_seqno), &mut channel.answer)?.len();
        channel.last = answer_seqno;
        channel.state = State::Idle;
        Some(len)
    }
}
