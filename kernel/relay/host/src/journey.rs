//! What a carrier does with each message of a migration, without sockets: what it carries, and when that is over.
//!
//! It believes neither side, and decides nothing that matters: the two firmwares judge each other (docs/migration.md).

use anyhow::{Result, bail, ensure};
use core::fmt;
use migration::Refusal;
use migration::message::Kind;

/// Octets of all messages at most: some ten states, and an hour of questions.
const MOST: usize = 8 << 20;

/// One of the two firmwares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that has the TPM.
    Source,
    /// The one that gets it.
    Destination,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Source, Self::Destination];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }

    /// Whether it says this (docs/migration.md, "The messages").
    const fn says(self, kind: Kind) -> bool {
        match kind {
            Kind::Offer | Kind::Proof | Kind::Head | Kind::Chunk | Kind::Gone => matches!(self, Self::Source),
            Kind::Answer | Kind::Ready | Kind::Kept | Kind::Live | Kind::Ask => matches!(self, Self::Destination),
            Kind::Refused => true,
            Kind::Begin => false,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "the source",
            Self::Destination => "the destination",
        })
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The destination says that it lives.
    Lives,
    /// This side says why it does not go on.
    Refused(Side, Refusal),
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The other side gets it.
    Carry,
    /// It is the receipt: it may be kept, and the other side gets it.
    Receipt,
    /// The other side gets it, and all is over.
    End(End),
    /// It says that a run is over which an earlier carrier began: the source is asked to begin once more.
    BeginAgain,
    /// Nobody gets it.
    Drop,
}

/// What has been said so far.
#[derive(Debug, Default)]
pub struct Journey {
    octets: usize,
    /// The source was asked twice to begin.
    is_repeated: bool,
    /// The source has offered its TPM.
    is_offered: bool,
    /// The source has given its receipt.
    is_gone: bool,
    /// The destination has said that it has the state.
    is_kept: bool,
    doubt: Option<Refusal>,
}

impl Journey {
    /// One of which only the receipt is to be brought.
    #[must_use]
    pub fn with_receipt() -> Self {
        Self { is_offered: true, is_gone: true, ..Self::default() }
    }

    /// Why the source has not begun, if it has said so, and may yet have a receipt to give.
    #[must_use]
    pub const fn doubt(&self) -> Option<Refusal> {
        self.doubt
    }

    /// What is to be done with a message of this side's.
    ///
    /// # Errors
    /// It is none that this side says, or there are too many.
    pub fn take(&mut self, from: Side, message: &[u8]) -> Result<(Kind, Act)> {
        self.octets = self.octets.saturating_add(message.len());
        ensure!(self.octets <= MOST, "{from} and its peer say more than {MOST} octets: no TPM is so large");
        let (kind, body) = match Kind::of(message) {
            Ok(parts) => parts,
            Err(why) => bail!("{from} says what is no message of a migration: {why}"),
        };
        ensure!(from.says(kind), "{from} says `{}`, which is not for it to say", name(kind));
        let act = match kind {
            Kind::Refused => self.refused(from, body)?,
            Kind::Live => Act::End(End::Lives),
            Kind::Gone if !self.is_gone => Act::Receipt,
            _ => Act::Carry,
        };
        self.is_offered |= kind == Kind::Offer;
        self.is_gone |= kind == Kind::Gone;
        Ok((kind, act))
    }

    /// Whether a message is a step. A destination that waits says the same each second, for ever.
    pub fn is_step(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Ask => false,
            Kind::Kept => !core::mem::replace(&mut self.is_kept, true),
            _ => true,
        }
    }

    fn refused(&mut self, from: Side, body: &[u8]) -> Result<Act> {
        let code = match body {
            [low, high, 0, 0] => u16::from_le_bytes([*low, *high]),
            _ => bail!("{from} refuses, and its message is out of shape"),
        };
        let Some(why) = Refusal::from_code(code) else { bail!("{from} refuses by an unknown code, {code}") };
        if from == Side::Destination {
            return Ok(Act::End(End::Refused(from, why)));
        }
        Ok(match why {
            // It is dead, and that is known: what it says now is of the word to begin, or of a question.
            _ if self.is_gone => Act::Drop,
            // The run of an earlier carrier ends by that, and the next word begins another.
            Refusal::Unexpected if !self.is_offered && !self.is_repeated => {
                self.is_repeated = true;
                Act::BeginAgain
            }
            // So says one that has moved. It answers the destination's question.
            Refusal::Shape if !self.is_offered => {
                self.doubt = Some(why);
                Act::Drop
            }
            why => Act::End(End::Refused(from, why)),
        })
    }
}

/// What docs/migration.md calls it.
#[must_use]
pub const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Offer => "offer",
        Kind::Answer => "answer",
        Kind::Proof => "proof",
        Kind::Ready => "ready",
        Kind::Head => "head",
        Kind::Chunk => "chunk",
        Kind::Kept => "kept",
        Kind::Gone => "gone",
        Kind::Live => "live",
        Kind::Ask => "ask",
        Kind::Refused => "refused",
        Kind::Begin => "begin",
    }
}
