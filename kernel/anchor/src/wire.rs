//! Requests and replies, byte by byte (docs/anchors.md). Numbers are big-endian; sizes are fixed, so a stream of them
//! needs no lengths.

use crate::keys::Keys;
use core::fmt;
use sha2::{Digest, Sha256};
use zerocopy::byteorder::big_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A public key of P-384, as a compressed point (SEC 1, 2.3.3).
pub type Key = [u8; 49];
/// ECDSA over SHA-384: r, then s.
pub type Signature = [u8; 96];

/// How a request begins: its protocol and version.
pub const REQUEST: [u8; 4] = *b"QnA\x01";
/// How a reply begins.
pub const REPLY: [u8; 4] = *b"QnR\x01";

/// [`Request::kind`].
pub mod kind {
    /// Promise not to accept what is of an earlier ballot, and show what you have accepted last.
    pub const PREPARE: u8 = 1;
    /// Accept this head.
    pub const ACCEPT: u8 = 2;
}

/// [`Request::flags`].
pub mod asked {
    /// The anchor's share, too, to the exchange key.
    pub const SHARE: u8 = 1;
}

/// [`Reply::status`].
pub mod status {
    /// A prepare was granted; `shown` is the request that was accepted last.
    pub const PROMISED: u8 = 1;
    /// A head was accepted.
    pub const ACCEPTED: u8 = 2;
    /// The anchor has promised to a later ballot: `shown` is the request that has it.
    pub const OUTRUN: u8 = 3;
    /// The anchor does not serve this TPM; `reason` says why.
    pub const REFUSED: u8 = 4;
}

/// [`Reply::flags`].
pub mod told {
    /// `shown` is there.
    pub const SHOWN: u8 = 1;
    /// `exchange` and `share` are there.
    pub const SHARE: u8 = 2;
    /// The operator has had this anchor forget what it had accepted.
    pub const FORGOTTEN: u8 = 4;
}

/// Why an anchor does not serve a TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// It does not know this TPM, and its operator admits no new ones.
    NotEnrolled = 1,
    /// It keeps as many TPMs as it may.
    Full = 2,
    /// Its operator has stopped this TPM.
    Held = 3,
    /// It cannot write what it would have to keep.
    Disk = 4,
    /// Another head was accepted under the same ballot and step: a TPM that breaks the protocol.
    Conflict = 5,
}

impl Reason {
    /// The reason of this number.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::NotEnrolled,
            2 => Self::Full,
            3 => Self::Held,
            4 => Self::Disk,
            5 => Self::Conflict,
            _ => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotEnrolled => "the anchor admits no new TPM",
            Self::Full => "the anchor has no room for another TPM",
            Self::Held => "the anchor's operator has stopped this TPM",
            Self::Disk => "the anchor cannot write",
            Self::Conflict => "another head was accepted in the same step",
        })
    }
}

/// A state of a TPM, as anchors know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Head {
    /// Begins at 1; one more at each boot and each commit.
    pub epoch: U64,
    /// Of the boot that wrote it.
    pub boot: [u8; 32],
    /// SHA-256 of the sealed record as it lies on the disk.
    pub digest: [u8; 32],
}

impl Head {
    /// Before the first one.
    pub const GENESIS: Self = Self { epoch: U64::ZERO, boot: [0; 32], digest: [0; 32] };

    /// The head of a record.
    #[must_use]
    pub const fn new(epoch: u64, boot: [u8; 32], digest: [u8; 32]) -> Self {
        Self { epoch: U64::from_bytes(epoch.to_be_bytes()), boot, digest }
    }
}

/// Whose turn it is: the later ballot wins. A boot's own steps are in order, and no other boot's ballot lies between
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ballot {
    /// One more than all that the boot has seen.
    pub term: U64,
    /// The boot nonce of whoever asks, so that no two have the same.
    pub boot: [u8; 32],
    /// 0: what was found is accepted anew; then the heads of this boot, one after another.
    pub step: U64,
}

impl Ballot {
    /// What a promise is about: all steps of one boot's term.
    #[must_use]
    pub const fn turn(&self) -> (u64, [u8; 32]) {
        (self.term.get(), self.boot)
    }

    /// What orders what was accepted.
    #[must_use]
    pub const fn order(&self) -> (u64, [u8; 32], u64) {
        (self.term.get(), self.boot, self.step.get())
    }
}

/// What a TPM asks all of its anchors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Request {
    /// [`REQUEST`].
    pub magic: [u8; 4],
    /// [`kind`].
    pub kind: u8,
    /// [`asked`].
    pub flags: u8,
    /// Zeros.
    pub reserved: [u8; 2],
    /// The TPM's identity.
    pub identity: [u8; 32],
    /// The TPM's key for anchors, which is in its sealed state.
    pub client: Key,
    /// A key of this boot, to which shares are given; zeros where none is asked for.
    pub exchange: Key,
    /// Fresh: no reply to another request is taken for one to this.
    pub nonce: [u8; 32],
    /// Whose turn.
    pub ballot: Ballot,
    /// What is to be accepted; zeros in a prepare.
    pub head: Head,
    /// By the TPM's key, over all octets before.
    pub signature: Signature,
}

/// What an anchor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Reply {
    /// [`REPLY`].
    pub magic: [u8; 4],
    /// [`status`].
    pub status: u8,
    /// [`Reason`] of a refusal, else 0.
    pub reason: u8,
    /// [`told`].
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// SHA-256 of the request, its signature included.
    pub request: [u8; 32],
    /// The anchor's key for the share, made for this reply.
    pub exchange: Key,
    /// The share, covered ([`crate::share`]).
    pub share: [u8; 32],
    /// A request of the TPM's own that the anchor keeps.
    pub shown: Request,
    /// By the anchor's key, over all octets before.
    pub signature: Signature,
}

const _: () = assert!(size_of::<Head>() == 72 && size_of::<Ballot>() == 48);
const _: () = assert!(size_of::<Request>() == 386 && size_of::<Reply>() == 603);

/// Octets that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not of the one size that messages of this kind have.
    Size,
    /// Another protocol, or version.
    Magic,
    /// An unknown kind, status, reason or flag, or octets that are not zero where they must be.
    Field,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "no message of that size",
            Self::Magic => "another protocol, or another version of it",
            Self::Field => "a field is not what it can be",
        })
    }
}

impl core::error::Error for Malformed {}

impl Request {
    /// Octets in a request.
    pub const SIZE: usize = size_of::<Self>();

    /// The request in `octets`. Whether it is signed is asked apart.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn parse(octets: &[u8]) -> Result<Self, Malformed> {
        let request = Self::read_from_bytes(octets).map_err(|_| Malformed::Size)?;
        if request.magic != REQUEST {
            return Err(Malformed::Magic);
        }
        request.is_in_shape().then_some(request).ok_or(Malformed::Field)
    }

    fn is_in_shape(&self) -> bool {
        let plain = self.reserved == [0; 2] && self.ballot.term.get() > 0;
        let wants_share = self.flags == asked::SHARE;
        let kind = match self.kind {
            kind::PREPARE => self.flags == 0 && self.ballot.step.get() == 0 && self.head == Head::GENESIS,
            // Shares are for who has just shown that its state is the newest.
            kind::ACCEPT => self.flags == 0 || wants_share && self.ballot.step.get() == 0,
            _ => false,
        };
        plain && kind && (wants_share || self.exchange == [0; 49])
    }

    /// All that is signed.
    fn signed(&self) -> &[u8] {
        let octets = self.as_bytes();
        octets.get(..octets.len() - size_of::<Signature>()).unwrap_or(octets)
    }

    /// Signs it. Nothing where the key cannot sign.
    #[must_use]
    pub fn sign<K: Keys>(mut self, keys: &K) -> Option<Self> {
        self.client = *keys.public();
        self.signature = keys.sign(self.signed())?;
        Some(self)
    }

    /// Whether the key that it names has signed it.
    #[must_use]
    pub fn is_signed<K: Keys>(&self) -> bool {
        K::holds(&self.client, self.signed(), &self.signature)
    }

    /// What a reply to it carries.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.as_bytes()).into()
    }

    /// Under what an anchor keeps this TPM: identity and key together, so that nobody takes an identity's place by
    /// asking first.
    #[must_use]
    pub fn subject(&self) -> [u8; 32] {
        subject(&self.identity, &self.client)
    }
}

/// Under what an anchor keeps the TPM of this identity and key.
#[must_use]
pub fn subject(identity: &[u8; 32], client: &Key) -> [u8; 32] {
    Sha256::new().chain_update(b"Quoin anchor: subject").chain_update(identity).chain_update(client).finalize().into()
}

impl Reply {
    /// Octets in a reply.
    pub const SIZE: usize = size_of::<Self>();

    /// A reply to `request`, not yet signed.
    #[must_use]
    pub fn to(request: &Request, status: u8) -> Self {
        let mut reply = Self::new_zeroed();
        (reply.magic, reply.status, reply.request) = (REPLY, status, request.digest());
        reply
    }

    /// The same, with a request that the anchor keeps.
    #[must_use]
    pub fn showing(mut self, shown: &Request) -> Self {
        (self.shown, self.flags) = (*shown, self.flags | told::SHOWN);
        self
    }

    /// A refusal.
    #[must_use]
    pub fn refusing(request: &Request, reason: Reason) -> Self {
        Self { reason: reason as u8, ..Self::to(request, status::REFUSED) }
    }

    /// The reply in `octets`. Whether it is signed, and what it answers, is asked apart.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn parse(octets: &[u8]) -> Result<Self, Malformed> {
        let reply = Self::read_from_bytes(octets).map_err(|_| Malformed::Size)?;
        if reply.magic != REPLY {
            return Err(Malformed::Magic);
        }
        reply.is_in_shape().then_some(reply).ok_or(Malformed::Field)
    }

    fn is_in_shape(&self) -> bool {
        let has = |flag| self.flags & flag != 0;
        let shown = if has(told::SHOWN) {
            Request::parse(self.shown.as_bytes()).is_ok()
        } else {
            self.shown.as_bytes().iter().all(|&octet| octet == 0)
        };
        let share = has(told::SHARE) || self.exchange == [0; 49] && self.share == [0; 32];
        let flags = match self.status {
            status::PROMISED => told::SHOWN | told::FORGOTTEN,
            status::ACCEPTED => told::SHARE,
            status::OUTRUN => told::SHOWN,
            _ => 0,
        };
        let reason = match self.status {
            status::PROMISED | status::ACCEPTED | status::OUTRUN => self.reason == 0,
            status::REFUSED => Reason::of(self.reason).is_some(),
            _ => false,
        };
        self.reserved == 0 && self.flags & !flags == 0 && shown && share && reason
    }

    fn signed(&self) -> &[u8] {
        let octets = self.as_bytes();
        octets.get(..octets.len() - size_of::<Signature>()).unwrap_or(octets)
    }

    /// Signs it. Nothing where the key cannot sign.
    #[must_use]
    pub fn sign<K: Keys>(mut self, keys: &K) -> Option<Self> {
        self.signature = keys.sign(self.signed())?;
        Some(self)
    }

    /// Whether the anchor of this key has signed it.
    #[must_use]
    pub fn is_signed_by<K: Keys>(&self, anchor: &Key) -> bool {
        K::holds(anchor, self.signed(), &self.signature)
    }

    /// The request that it shows.
    #[must_use]
    pub const fn shown(&self) -> Option<&Request> {
        if self.flags & told::SHOWN == 0 { None } else { Some(&self.shown) }
    }
}
