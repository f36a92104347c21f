//! The messages. Each begins with four octets: version, kind, and two zeros. Integers are little-endian.
//!
//! | kind | from | behind the four octets |
//! |---|---|---|
//! | 1 offer | source | flags₄ ‖ ephemeral key₉₆ |
//! | 2 answer | destination | flags₄ ‖ ephemeral key₉₆ ‖ certificates ‖ report₁₁₈₄ |
//! | 3 proof | source | length₂ and grant (0 or 232) ‖ certificates ‖ report₁₁₈₄ ‖ sealed: identity₃₂ ‖ epoch₈ |
//! | 4 ready | destination | sealed: nothing |
//! | 5 head | source | sealed: epoch₈ ‖ boot nonce₃₂ ‖ promise₄₈ ‖ length of the state₈ |
//! | 6 chunk | source | sealed: what comes next of the state, 1 to [`MAX_CHUNK`] octets |
//! | 7 kept | destination | sealed: SHA-384 of the state₄₈ |
//! | 8 gone | source | receipt₃₂ |
//! | 9 live | destination | promise₄₈ |
//! | 10 ask | destination | promise₄₈ |
//! | 12 begin | the source's host | the owner's grant (0 or 232) |
//! | 11 refused | both | code₂ ([`crate::Refusal`]) ‖ 0₂ |
//!
//! A report is over what was said before and what stands before the certificates, which stand for themselves. Flags:
//! bit 0, the state is kept on a disk there. A key is x ‖ y of P-384, big-endian. Certificates: lengths₂ of VCEK,
//! ASK, ARK, and then the three, DER. What is sealed is as long as its plaintext and a tag of 16 octets
//! ([`crate::channel`]).

use alloc::vec::Vec;

use snp::report::{REPORT_SIZE, Report};
use zerocopy::IntoBytes;

use crate::grant::{self, Grant};
use crate::octets::{Octets, joined};
use crate::refusal::Refusal;
use crate::transcript::Testimony;

/// The version of all messages.
pub const VERSION: u8 = 1;
/// Octets of the longest message.
pub const MAX_MESSAGE: usize = 65_532;
/// Octets of the state in a chunk, at most.
pub const MAX_CHUNK: usize = 60 * 1024;
/// The state is kept on a disk there.
const KEPT: u32 = 1;

/// Octets before what a kind has.
pub(crate) const HEADER: usize = 4;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the table says what they are")]
pub enum Kind {
    Offer = 1,
    Answer = 2,
    Proof = 3,
    Ready = 4,
    Head = 5,
    Chunk = 6,
    Kept = 7,
    Gone = 8,
    Live = 9,
    Ask = 10,
    Refused = 11,
    Begin = 12,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Offer,
        Self::Answer,
        Self::Proof,
        Self::Ready,
        Self::Head,
        Self::Chunk,
        Self::Kept,
        Self::Gone,
        Self::Live,
        Self::Ask,
        Self::Refused,
        Self::Begin,
    ];

    /// What a message begins with.
    pub(crate) const fn header(self) -> [u8; HEADER] {
        [VERSION, self as u8, 0, 0]
    }

    /// What a message says that it is, and what is behind that.
    ///
    /// # Errors
    /// `Version`, and `Shape` if there is no such kind.
    pub fn of(message: &[u8]) -> Result<(Self, &[u8]), Refusal> {
        let mut r = Octets(message);
        let [version, kind, reserved @ ..] = r.array::<HEADER>()?;
        if version != VERSION {
            return Err(Refusal::Version);
        }
        let kind = Self::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(Refusal::Shape)?;
        if reserved == [0; 2] { Ok((kind, r.0)) } else { Err(Refusal::Shape) }
    }
}

/// What both begin with: whether the state is kept there, and the ephemeral key.
pub(crate) struct Hello {
    pub(crate) kept: bool,
    pub(crate) key: [u8; 96],
}

impl Hello {
    pub(crate) fn octets(&self, kind: Kind) -> Result<Vec<u8>, Refusal> {
        let flags = if self.kept { KEPT } else { 0 };
        joined(&[&kind.header(), &flags.to_le_bytes(), &self.key])
    }

    pub(crate) fn read(r: &mut Octets<'_>) -> Result<Self, Refusal> {
        let flags = r.u32()?;
        if flags & !KEPT != 0 { Err(Refusal::Shape) } else { Ok(Self { kept: flags & KEPT != 0, key: r.array()? }) }
    }

    /// An offer, which is nothing else.
    pub(crate) fn offer(body: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(body);
        let hello = Self::read(&mut r)?;
        r.end().map(|()| hello)
    }
}

/// A report, and the certificates above it, as they stand in a message.
fn testimony(of: &Testimony) -> Result<Vec<u8>, Refusal> {
    let ders = [&of.vcek[..], &of.ask, &of.ark];
    let mut lengths = [[0; 2]; 3];
    for (to, from) in lengths.iter_mut().zip(ders) {
        *to = u16::try_from(from.len()).map_err(|_| Refusal::Certificate)?.to_le_bytes();
    }
    let [vcek, ask, ark] = ders;
    joined(&[lengths.as_flattened(), vcek, ask, ark, of.report.as_bytes()])
}

fn read_testimony(r: &mut Octets<'_>) -> Result<Testimony, Refusal> {
    let lengths = [r.u16()?, r.u16()?, r.u16()?];
    let [vcek, ask, ark] = lengths.map(|len| r.slice(len.into()).and_then(|der| joined(&[der])));
    let (vcek, ask, ark) = (vcek?, ask?, ark?);
    let report = Report::parse(&r.array::<REPORT_SIZE>()?).ok_or(Refusal::Shape)?;
    Ok(Testimony { report, vcek, ask, ark })
}

/// An answer: how it begins, which the report is over, and the report.
pub(crate) struct Answer {
    pub(crate) hello: Hello,
    pub(crate) testimony: Testimony,
}

impl Answer {
    /// Octets that the report is over.
    pub(crate) const BEFORE: usize = HEADER + 4 + 96;

    /// The message of which `before` is known already.
    pub(crate) fn octets(before: &[u8], of: &Testimony) -> Result<Vec<u8>, Refusal> {
        joined(&[before, &testimony(of)?])
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(body);
        let answer = Self { hello: Hello::read(&mut r)?, testimony: read_testimony(&mut r)? };
        r.end().map(|()| answer)
    }
}

/// A proof; behind it comes what is sealed.
pub(crate) struct Proof {
    pub(crate) grant: Option<Grant>,
    pub(crate) testimony: Testimony,
    /// Octets that the report is over.
    pub(crate) before: usize,
    /// Octets before what is sealed.
    pub(crate) plain: usize,
}

impl Proof {
    /// What the report is over.
    pub(crate) fn before(grant: Option<&Grant>) -> Result<Vec<u8>, Refusal> {
        let grant = grant.map(Grant::octets);
        let grant = grant.as_ref().map_or(&[][..], |grant| grant);
        let len = u16::try_from(grant.len()).map_err(|_| Refusal::Shape)?;
        joined(&[&Kind::Proof.header(), &len.to_le_bytes(), grant])
    }

    /// All but what is sealed.
    pub(crate) fn octets(before: &[u8], of: &Testimony) -> Result<Vec<u8>, Refusal> {
        joined(&[before, &testimony(of)?])
    }

    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(body);
        let position = |r: &Octets<'_>| HEADER + body.len().saturating_sub(r.0.len());
        let grant = match usize::from(r.u16()?) {
            0 => None,
            grant::SIZE => Some(Grant::parse(r.slice(grant::SIZE)?)?),
            _ => return Err(Refusal::Shape),
        };
        let before = position(&r);
        let testimony = read_testimony(&mut r)?;
        Ok(Self { grant, testimony, before, plain: position(&r) })
    }
}

/// The plaintext of a head.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    pub(crate) boot_nonce: [u8; 32],
    pub(crate) promise: [u8; 48],
    pub(crate) len: u64,
}

impl Head {
    pub(crate) fn octets(&self) -> Result<Vec<u8>, Refusal> {
        joined(&[&self.epoch.to_le_bytes(), &self.boot_nonce, &self.promise, &self.len.to_le_bytes()])
    }

    pub(crate) fn read(plain: &[u8]) -> Result<Self, Refusal> {
        let mut r = Octets(plain);
        let (epoch, boot_nonce, promise) = (r.u64()?, r.array()?, r.array()?);
        let head = Self { epoch, boot_nonce, promise, len: r.u64()? };
        r.end().map(|()| head)
    }
}

/// A message in the clear whose body is one array.
pub(crate) fn plain(kind: Kind, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    joined(&[&kind.header(), body])
}

/// The body of such a message.
pub(crate) fn array<const N: usize>(body: &[u8]) -> Result<[u8; N], Refusal> {
    let mut r = Octets(body);
    let array = r.array()?;
    r.end().map(|()| array)
}

/// The message that says why.
///
/// # Errors
/// `Room`.
pub fn refused(why: Refusal) -> Result<Vec<u8>, Refusal> {
    let [low, high] = why.code().to_le_bytes();
    plain(Kind::Refused, &[low, high, 0, 0])
}

/// What the other side says why. Anybody can say so: it ends a run that has not come to its end, and nothing else.
pub(crate) fn read_refused(body: &[u8]) -> Result<Refusal, Refusal> {
    let [low, high, 0, 0] = array(body)? else { return Err(Refusal::Shape) };
    Refusal::from_code(u16::from_le_bytes([low, high])).ok_or(Refusal::Shape)
}
