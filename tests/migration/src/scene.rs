//! A source and a destination, and a host between them that does what a test says.

use crate::Seeded;
use crate::authority::Authority;
use crate::chip::{Boot, Chip, TCB};
use migration::Wiped;
use migration::chain::Generation;
use migration::destination::{self, Destination};
use migration::source::{self, Bearer, Source};
use migration::{Arrival, Grant, Identity, Measurement, Pending, Refusal, Terms, Tombstone};
use std::sync::LazyLock;
use tpm_crypto::ecc::{Curve, Scalar};

/// The old firmware.
pub const OLD: Measurement = [0x01; 48];
/// The new one.
pub const NEW: Measurement = [0x02; 48];
/// The TPM.
pub const IDENTITY: Identity = [0x1d; 32];
/// The state's epoch at the beginning.
pub const EPOCH: u64 = 7;
/// The source's boot nonce.
pub const BOOT_NONCE: [u8; 32] = [0xb0; 32];
/// Octets that a destination takes.
pub const MOST: usize = 400_000;

/// The authority of most tests, made once: two RSA-4096 keys.
pub static MILAN: LazyLock<Authority> = LazyLock::new(|| Authority::new("Milan", Generation::Milan));
/// Another, that nobody has pinned.
pub static OTHER: LazyLock<Authority> = LazyLock::new(|| Authority::new("somebody", Generation::Milan));
/// A chip.
pub static CHIP_A: LazyLock<Chip> = LazyLock::new(|| Chip::new(&MILAN, "A", TCB));
/// Another.
pub static CHIP_B: LazyLock<Chip> = LazyLock::new(|| Chip::new(&MILAN, "B", TCB));

/// The state's owner.
pub struct Owner {
    secret: Scalar,
    /// As the setting names it.
    pub public: [u8; 96],
}

impl Owner {
    /// One of a name.
    pub fn new(name: &str) -> Self {
        let (secret, point) = Curve::NistP384.generate(&mut Seeded::new(name)).expect("a key");
        let public = [point.x().as_slice(), point.y().as_slice()].concat().try_into().expect("96 octets");
        Self { secret, public }
    }

    /// Signs a grant from the old firmware to the new one, for the TPM of the tests.
    pub fn grant(&self, change: impl FnOnce(&mut Grant)) -> Grant {
        let mut grant = Grant { identity: IDENTITY, from: OLD, to: NEW, until: EPOCH, signature: [0; 96] };
        change(&mut grant);
        grant.sign(self.secret.as_slice(), &mut Seeded::new("grant")).expect("a signature")
    }
}

/// Terms of the old firmware, and of the new one: each lists the other. No real measurement could; tests of the rules
/// for lists and grants make theirs.
pub fn terms() -> [Terms; 2] {
    let both = Terms { roots: vec![MILAN.pinned()], ..Terms::default() };
    let old = Terms { successors: vec![NEW], ..both.clone() };
    let new = Terms { predecessors: vec![OLD], receives: true, ..both };
    [old, new]
}

/// The two sides.
pub struct Scene<'a> {
    /// The source.
    pub source: Source<'a>,
    /// The destination.
    pub destination: Destination<'a>,
    /// The source's chip.
    pub a: Boot<'a>,
    /// The destination's.
    pub b: Boot<'a>,
    /// Random numbers of both.
    pub rng: Seeded,
    /// The state that moves.
    pub state: Vec<u8>,
    /// What the source was told to write.
    pub tombstone: Option<Tombstone>,
    /// What the destination was told to write, and the state beside it.
    pub pending: Option<(Pending, Vec<u8>)>,
    /// What the destination became.
    pub arrival: Option<Arrival>,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// From the destination.
    Source,
    /// From the source.
    Destination,
}

/// A message on its way.
pub type Letter = (To, Vec<u8>);

impl<'a> Scene<'a> {
    /// Both on chips of their own, and the offer.
    pub fn new(terms: &'a [Terms; 2], grant: Option<&Grant>) -> (Self, Letter) {
        Self::between(terms, grant, Boot::new(&CHIP_A, OLD), Boot::new(&CHIP_B, NEW)).expect("an offer")
    }

    /// Both as these boots, and the offer.
    ///
    /// # Errors
    /// Of the offer, and of the destination.
    pub fn between(
        terms: &'a [Terms; 2],
        grant: Option<&Grant>,
        a: Boot<'a>,
        b: Boot<'a>,
    ) -> Result<(Self, Letter), Refusal> {
        let mut rng = Seeded::new("scene");
        let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: true, grant };
        let (source, offer) = Source::offer(&terms[0], &bearer, &mut rng)?;
        let destination = Destination::new(&terms[1], true, MOST, None)?;
        let state = (0..150_000_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        let scene = Self { source, destination, a, b, rng, state, tombstone: None, pending: None, arrival: None };
        Ok((scene, (To::Destination, offer)))
    }

    /// Delivers a letter, and does at once what the side wants done. What it says then.
    ///
    /// # Errors
    /// The side's refusal.
    pub fn deliver(&mut self, (to, message): &Letter) -> Result<Vec<Letter>, Refusal> {
        match to {
            To::Source => self.at_source(message),
            To::Destination => self.at_destination(message),
        }
    }

    fn at_source(&mut self, message: &[u8]) -> Result<Vec<Letter>, Refusal> {
        let forth = |message| (To::Destination, message);
        Ok(match self.source.receive(message, &mut self.a)? {
            source::Next::Nothing | source::Next::Lives => Vec::new(),
            source::Next::Send(message) => vec![forth(message)],
            source::Next::HandOver => {
                let state = Wiped::of(self.state.clone());
                let mut all = vec![forth(self.source.hand_over(state, EPOCH, BOOT_NONCE, &mut self.rng)?)];
                while let Some(chunk) = self.source.next_chunk()? {
                    all.push(forth(chunk));
                }
                all
            }
            source::Next::Entomb(tombstone) => {
                self.tombstone = Some(tombstone);
                vec![forth(self.source.entombed()?)]
            }
        })
    }

    fn at_destination(&mut self, message: &[u8]) -> Result<Vec<Letter>, Refusal> {
        let back = |message| vec![(To::Source, message)];
        Ok(match self.destination.receive(message, &mut self.b, &mut self.rng)? {
            destination::Next::Nothing => Vec::new(),
            destination::Next::Send(message) => back(message),
            destination::Next::Keep(pending) => {
                self.pending = Some((pending, self.destination.state().to_vec()));
                back(self.destination.kept()?)
            }
            destination::Next::Awake(arrival) => {
                self.arrival = Some(arrival);
                back(self.destination.live()?)
            }
        })
    }

    /// Delivers everything in order, until nobody says anything. All letters, in order.
    ///
    /// # Errors
    /// The first refusal, and whose.
    pub fn play(&mut self, first: Letter) -> Result<Vec<Letter>, (To, Refusal)> {
        let mut all = Vec::new();
        let mut waiting = std::collections::VecDeque::from([first]);
        while let Some(letter) = waiting.pop_front() {
            waiting.extend(self.deliver(&letter).map_err(|refusal| (letter.0, refusal))?);
            all.push(letter);
        }
        Ok(all)
    }

    /// How many of the two answer commands.
    pub fn alive(&self) -> usize {
        usize::from(self.source.answers()) + usize::from(self.destination.answers())
    }
}
