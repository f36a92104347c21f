//! The side that gets the state.
//!
//! | phase | what ends the phase |
//! |---|---|
//! | idle | an offer: answer |
//! | answered | a proof of a firmware that may have come before: ready |
//! | proven | head |
//! | receiving | the last chunk |
//! | keeping | [`Destination::kept`], when the state is durable here, as one that waits |
//! | waiting (beside those above, which may replace what waits by a later state of the same TPM) | the receipt |
//! | waking | [`Destination::live`], when it is durable as one that lives |
//! | awake | |
//! | stuck | the next boot, when the disk says what it is |

use alloc::boxed::Box;
use alloc::vec::Vec;

use snp::report::Report;
use tpm_crypto::Rng;
use tpm_crypto::ecc::Scalar;

use crate::channel::{Channel, Side};
use crate::grant::Grant;
use crate::judge::{self, Case};
use crate::message::{Answer, Head, Hello, Kind, Proof, array, plain, read_refused};
use crate::octets::{Octets, room};
use crate::record::{Arrival, Pending, Receipt};
use crate::refusal::Refusal;
use crate::source::{common, ephemeral, sha384};
use crate::terms::Terms;
use crate::transcript::{DESTINATION, SOURCE, Transcript, Witness};
use crate::wiped::Wiped;
use crate::{Identity, Measurement};

/// What is to be done next.
pub enum Next {
    /// Nothing, until another message comes.
    Nothing,
    /// This message goes to the source.
    Send(Vec<u8>),
    /// The state is here ([`Destination::state`]): to be looked at, and to be made durable as one that waits for its
    /// receipt, in the place of what waits here now. Then [`Destination::kept`], or [`Destination::not_kept`].
    Keep(Pending),
    /// The source is dead: to be made durable as one that lives. Then [`Destination::live`], and the TPM answers.
    Awake(Arrival),
}

/// A run whose source has been judged.
struct Run {
    channel: Channel,
    identity: Identity,
    epoch: u64,
    from: Measurement,
    own: Report,
    other: Report,
    grant: Option<Grant>,
}

/// An answer that was given.
struct Answered {
    secret: Scalar,
    transcript: Transcript,
    /// of the source
    hello: Hello,
    own: Report,
}

enum Phase {
    Idle,
    Answered(Box<Answered>),
    Proven(Box<Run>),
    Receiving { run: Box<Run>, pending: Pending, len: usize, state: Wiped },
    Keeping { run: Box<Run>, pending: Pending, state: Wiped },
    Waking,
    Awake,
    Stuck,
}

/// The destination of a migration.
pub struct Destination<'t> {
    terms: &'t Terms,
    kept: bool,
    most: usize,
    waits: Option<Pending>,
    /// What the source was told when that was kept, in the last run.
    kept_said: Option<Vec<u8>>,
    phase: Phase,
}

impl<'t> Destination<'t> {
    /// One that waits for a state of at most `most` octets. `kept`: it would be kept on a disk. `waits`: what is on
    /// that disk, if there is one that waits for its receipt.
    ///
    /// # Errors
    /// `NoTerms`.
    pub const fn new(terms: &'t Terms, kept: bool, most: usize, waits: Option<Pending>) -> Result<Self, Refusal> {
        if !terms.takes_in() {
            return Err(Refusal::NoTerms);
        }
        Ok(Self { terms, kept, most, waits, kept_said: None, phase: Phase::Idle })
    }

    /// A source comes that has been judged already: for a simulator, which has no time for a million handshakes. The
    /// message for it.
    ///
    /// # Errors
    /// Those of a proof.
    #[doc(hidden)]
    pub fn proven(
        &mut self,
        identity: Identity,
        epoch: u64,
        channel: Channel,
        own: Report,
        other: Report,
    ) -> Result<Vec<u8>, Refusal> {
        if matches!(self.phase, Phase::Waking | Phase::Awake | Phase::Stuck) {
            return Err(Refusal::Unexpected);
        }
        let mut run = Run { channel, identity, epoch, from: other.measurement, own, other, grant: None };
        self.kept_said = None;
        self.end();
        self.may_come(&run, epoch)?;
        let ready = run.channel.seal(Kind::Ready, &[])?;
        self.phase = Phase::Proven(Box::new(run));
        Ok(ready)
    }

    /// Whether the TPM may answer a command.
    #[must_use]
    pub const fn answers(&self) -> bool {
        matches!(self.phase, Phase::Awake)
    }

    /// The TPM whose source has been judged, when that is told that this is ready.
    #[must_use]
    pub fn comes(&self) -> Option<&Identity> {
        if let Phase::Proven(run) = &self.phase { Some(&run.identity) } else { None }
    }

    /// The run that was about to begin is over, and what waits here goes on waiting.
    pub fn not_ready(&mut self) {
        self.end();
    }

    /// What waits here for its receipt.
    #[must_use]
    pub const fn waits(&self) -> Option<&Pending> {
        self.waits.as_ref()
    }

    /// The state that is to be kept.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        if let Phase::Keeping { state, .. } = &self.phase { state } else { &[] }
    }

    /// A message has come.
    ///
    /// # Errors
    /// Why it is refused. The run is then over; what waits here goes on waiting.
    pub fn receive(&mut self, message: &[u8], witness: &mut dyn Witness, rng: &mut dyn Rng) -> Result<Next, Refusal> {
        let next = self.step(message, witness, rng);
        if next.is_err() {
            self.end();
        }
        next
    }

    /// The state is durable: a message for the source. It waits now.
    ///
    /// # Errors
    /// `Unexpected` unless there was one to be kept; `Room`.
    pub fn kept(&mut self) -> Result<Vec<u8>, Refusal> {
        match core::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Keeping { mut run, pending, state } => {
                self.waits = Some(pending);
                let message = run.channel.seal(Kind::Kept, &sha384(&state))?;
                self.kept_said = Some(message.clone());
                Ok(message)
            }
            other => {
                self.phase = other;
                Err(Refusal::Unexpected)
            }
        }
    }

    /// The state cannot be taken, and nothing was written: the run is over, and what waits here goes on waiting.
    pub fn not_kept(&mut self) {
        self.end();
    }

    /// Nobody knows what is durable: nothing more happens before the next boot, when the disk says it. The source goes
    /// on.
    pub fn unsure(&mut self) {
        if !self.answers() {
            self.phase = Phase::Stuck;
        }
    }

    /// It is durable as one that lives: a message for the source, which changes nothing there. The TPM answers now.
    ///
    /// # Errors
    /// `Unexpected` unless the receipt has come; `Room`.
    pub fn live(&mut self) -> Result<Vec<u8>, Refusal> {
        match (&self.phase, &self.waits) {
            (Phase::Waking | Phase::Awake, Some(pending)) => {
                let message = plain(Kind::Live, &pending.promise);
                self.phase = Phase::Awake;
                message
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    /// Asks the source whether it is dead.
    ///
    /// # Errors
    /// `Unexpected` if nothing waits here; `Room`.
    pub fn ask(&self) -> Result<Vec<u8>, Refusal> {
        plain(Kind::Ask, &self.waits.ok_or(Refusal::Unexpected)?.promise)
    }

    /// What [`Destination::kept`] said, if no other run has begun since: it may have been lost, and says of what waits
    /// here nothing but what is so. A host could keep it and bring it later.
    #[must_use]
    pub fn kept_again(&self) -> Option<&[u8]> {
        self.kept_said.as_deref()
    }

    fn end(&mut self) {
        if !matches!(self.phase, Phase::Waking | Phase::Awake | Phase::Stuck) {
            self.phase = Phase::Idle;
        }
    }

    fn step(&mut self, message: &[u8], witness: &mut dyn Witness, rng: &mut dyn Rng) -> Result<Next, Refusal> {
        let (kind, body) = Kind::of(message)?;
        match (&self.phase, kind) {
            (Phase::Stuck, _) => return Err(Refusal::Unexpected),
            // What waits is being replaced: its source is alive, so this is not its receipt.
            (Phase::Keeping { .. }, Kind::Gone) => return Err(Refusal::Unexpected),
            (_, Kind::Gone) => return self.gone(body),
            (Phase::Waking | Phase::Awake, _) => return Err(Refusal::Unexpected),
            _ => (),
        }
        match (core::mem::replace(&mut self.phase, Phase::Idle), kind) {
            (_, Kind::Refused) => Err(read_refused(body)?),
            (_, Kind::Offer) => {
                self.kept_said = None;
                self.answer(message, body, witness, rng)
            }
            (Phase::Answered(answered), Kind::Proof) => {
                let mut run = self.judged(message, body, &answered)?;
                if answered.hello.kept && !self.kept {
                    return Err(Refusal::NotKept);
                }
                let ready = run.channel.seal(Kind::Ready, &[])?;
                self.phase = Phase::Proven(Box::new(run));
                Ok(Next::Send(ready))
            }
            (Phase::Proven(run), Kind::Head) => self.head(run, message),
            (Phase::Receiving { run, pending, len, state }, Kind::Chunk) => {
                self.chunk(run, pending, len, state, message)
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    /// The source is dead: whatever else goes on here is over.
    fn gone(&mut self, body: &[u8]) -> Result<Next, Refusal> {
        let receipt = Receipt(array(body)?);
        let pending = self.waits.filter(|pending| pending.promise == receipt.promise()).ok_or(Refusal::Receipt)?;
        if matches!(self.phase, Phase::Awake) {
            return self.live().map(Next::Send);
        }
        let arrival = pending.arrival()?;
        self.phase = Phase::Waking;
        Ok(Next::Awake(arrival))
    }

    fn answer(
        &mut self,
        message: &[u8],
        body: &[u8],
        witness: &mut dyn Witness,
        rng: &mut dyn Rng,
    ) -> Result<Next, Refusal> {
        let hello = Hello::offer(body)?;
        let (secret, public) = ephemeral(rng)?;
        let before = Hello { kept: self.kept, key: public }.octets(Kind::Answer)?;
        let mut transcript = Transcript::new();
        transcript.absorb(message);
        let mut said = transcript.clone();
        said.absorb(&before);
        let testimony = witness.testify(&said.report_data(DESTINATION)).ok_or(Refusal::NoReport)?;
        let answer = Answer::octets(&before, &testimony)?;
        transcript.absorb(&answer);
        let own = testimony.report;
        self.phase = Phase::Answered(Box::new(Answered { secret, transcript, hello, own }));
        Ok(Next::Send(answer))
    }

    /// Judges the source.
    fn judged(&self, message: &[u8], body: &[u8], answered: &Answered) -> Result<Run, Refusal> {
        let Answered { secret, transcript, hello, own } = answered;
        let mut transcript = transcript.clone();
        let proof = Proof::read(body)?;
        let mut said = transcript.clone();
        said.absorb(message.get(..proof.before).unwrap_or_default());
        judge::speaker(&proof.testimony, &said.report_data(SOURCE), self.terms)?;
        transcript.absorb(message.get(..proof.plain).unwrap_or_default());
        let common = common(secret, &hello.key)?;
        let mut channel = Channel::new(Side::Destination, common.as_slice(), &transcript.digest());
        let passport = channel.open_behind(proof.plain, message)?;
        let mut r = Octets(&passport);
        let (identity, epoch) = (r.array()?, r.u64()?);
        r.end()?;
        let other = proof.testimony.report;
        let run = Run { channel, identity, epoch, from: other.measurement, own: *own, other, grant: proof.grant };
        self.may_come(&run, epoch)?;
        Ok(run)
    }

    /// Whether the source may come before this, and whether there is room for its TPM. What waits here gives way to a
    /// state of the same TPM that is not older: a source that has it still is not dead, so nobody has the receipt for
    /// what waits.
    fn may_come(&self, run: &Run, epoch: u64) -> Result<(), Refusal> {
        let case = Case { identity: &run.identity, epoch, grant: run.grant.as_ref() };
        judge::predecessor(&run.own, &run.other, self.terms, &case)?;
        match &self.waits {
            Some(waits) if waits.identity != run.identity => Err(Refusal::Occupied),
            Some(waits) if epoch < waits.epoch => Err(Refusal::Older),
            _ => Ok(()),
        }
    }

    fn head(&mut self, mut run: Box<Run>, message: &[u8]) -> Result<Next, Refusal> {
        let Head { epoch, boot_nonce, promise, len } = Head::read(&run.channel.open(message)?)?;
        if epoch < run.epoch {
            return Err(Refusal::Older);
        }
        self.may_come(&run, epoch)?;
        let len = usize::try_from(len).ok().filter(|len| (1..=self.most).contains(len)).ok_or(Refusal::Room)?;
        let state = Wiped::of(room(len)?);
        let pending = Pending { identity: run.identity, epoch, boot_nonce, from: run.from, promise };
        pending.arrival()?;
        self.phase = Phase::Receiving { run, pending, len, state };
        Ok(Next::Nothing)
    }

    fn chunk(
        &mut self,
        mut run: Box<Run>,
        pending: Pending,
        len: usize,
        mut state: Wiped,
        message: &[u8],
    ) -> Result<Next, Refusal> {
        let chunk = run.channel.open(message)?;
        if chunk.is_empty() || chunk.len() > len.saturating_sub(state.len()) {
            return Err(Refusal::Length);
        }
        state.extend_from_slice(&chunk);
        if state.len() < len {
            self.phase = Phase::Receiving { run, pending, len, state };
            return Ok(Next::Nothing);
        }
        self.phase = Phase::Keeping { run, pending, state };
        Ok(Next::Keep(pending))
    }
}
