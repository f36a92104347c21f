//! The side that has the state.
//!
//! | phase | the TPM answers | what ends the phase |
//! |---|---|---|
//! | offered | yes | an answer from a firmware that may follow: proof |
//! | proven | yes | ready |
//! | ready | yes | [`Source::hand_over`], between two commands |
//! | sending, sent | no | kept; or [`Source::give_up`], and it answers again |
//! | entombing | no | [`Source::entombed`], when it is durable; or [`Source::not_entombed`], and it answers |
//! | moved | never again | |
//! | stuck | not before the next boot, when the disk says which it is | |

use alloc::boxed::Box;
use alloc::vec::Vec;

use snp::report::Report;
use tpm_crypto::Rng;
use tpm_crypto::ecc::{Curve, Point, Scalar};
use tpm_crypto::hash::{HashAlg, digest};
use zeroize::Zeroizing;

use crate::Identity;
use crate::channel::{Channel, Side};
use crate::grant::Grant;
use crate::judge::{self, Case};
use crate::message::{Answer, Head, Hello, Kind, MAX_CHUNK, Proof, array, plain, read_refused};
use crate::octets::joined;
use crate::record::{Pending, Receipt, Tombstone};
use crate::refusal::Refusal;
use crate::terms::{Terms, point};
use crate::transcript::{DESTINATION, SOURCE, Transcript, Witness};
use crate::wiped::Wiped;

/// What is to be done next.
pub enum Next {
    /// Nothing, until another message comes.
    Nothing,
    /// This message goes to the destination.
    Send(Vec<u8>),
    /// The destination is ready: between two commands the TPM stops, and its state is given to [`Source::hand_over`].
    HandOver,
    /// To be made durable, in the place of the state. Then [`Source::entombed`]; if nobody knows whether it was,
    /// [`Source::unsure`]; if its writing was not begun, [`Source::not_entombed`].
    Entomb(Tombstone),
    /// The destination says that it lives. Anybody can say so; nothing depends on it.
    Lives,
}

/// Whose state may go, and what its owner says of it.
pub struct Bearer<'a> {
    /// The TPM's.
    pub identity: Identity,
    /// The state's epoch now.
    pub epoch: u64,
    /// The state is kept on a disk.
    pub kept: bool,
    /// The owner's word, if there is one.
    pub grant: Option<&'a Grant>,
}

/// Two firmwares that have shown each other who they are.
struct Run {
    channel: Channel,
    own: Report,
    other: Report,
}

/// What the destination must have kept, and what is left here then.
struct Sent {
    run: Box<Run>,
    sha384: [u8; 48],
    tombstone: Tombstone,
}

enum Phase {
    Offered { secret: Scalar, transcript: Transcript },
    Proven(Box<Run>),
    Ready(Box<Run>),
    Sending { sent: Sent, state: Wiped, at: usize },
    Sent(Sent),
    Entombing(Tombstone),
    Moved(Tombstone),
    Stuck,
    Ended,
}

/// The source of a migration.
pub struct Source<'t> {
    terms: &'t Terms,
    identity: Identity,
    epoch: u64,
    kept: bool,
    grant: Option<Grant>,
    public: [u8; 96],
    phase: Phase,
}

impl<'t> Source<'t> {
    /// Begins a run: the offer, for the destination.
    ///
    /// # Errors
    /// `NoTerms`, `Entropy`, `Room`.
    pub fn offer(terms: &'t Terms, bearer: &Bearer<'_>, rng: &mut dyn Rng) -> Result<(Self, Vec<u8>), Refusal> {
        if !terms.lets_go() {
            return Err(Refusal::NoTerms);
        }
        let (secret, public) = ephemeral(rng)?;
        let offer = Hello { kept: bearer.kept, key: public }.octets(Kind::Offer)?;
        let mut transcript = Transcript::new();
        transcript.absorb(&offer);
        let phase = Phase::Offered { secret, transcript };
        let Bearer { identity, epoch, kept, grant } = *bearer;
        Ok((Self { terms, identity, epoch, kept, grant: grant.copied(), public, phase }, offer))
    }

    /// One that has moved before this boot, by what its disk has: it gives the receipt to whoever asks.
    #[must_use]
    pub const fn moved(terms: &'t Terms, tombstone: Tombstone) -> Self {
        let (identity, epoch) = (tombstone.identity, tombstone.epoch);
        Self { terms, identity, epoch, kept: true, grant: None, public: [0; 96], phase: Phase::Moved(tombstone) }
    }

    /// One whose destination has been judged already: for a simulator, which has no time for a million handshakes.
    #[doc(hidden)]
    #[must_use]
    pub fn proven(terms: &'t Terms, bearer: &Bearer<'_>, channel: Channel, own: Report, other: Report) -> Self {
        let Bearer { identity, epoch, kept, grant } = *bearer;
        let phase = Phase::Proven(Box::new(Run { channel, own, other }));
        Self { terms, identity, epoch, kept, grant: grant.copied(), public: [0; 96], phase }
    }

    /// Whether the TPM may answer a command.
    #[must_use]
    pub const fn answers(&self) -> bool {
        matches!(self.phase, Phase::Offered { .. } | Phase::Proven(_) | Phase::Ready(_) | Phase::Ended)
    }

    /// Whether the run is over, and nothing has moved.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether only the next boot can tell where the TPM is.
    #[must_use]
    pub const fn is_unsure(&self) -> bool {
        matches!(self.phase, Phase::Stuck)
    }

    /// Whether the state lives elsewhere, if anywhere.
    #[must_use]
    pub const fn has_moved(&self) -> bool {
        matches!(self.phase, Phase::Moved(_))
    }

    /// A message has come.
    ///
    /// # Errors
    /// Why it is refused. Before the tombstone the run is then over, and the TPM answers again; from then on nothing
    /// changes.
    pub fn receive(&mut self, message: &[u8], witness: &mut dyn Witness) -> Result<Next, Refusal> {
        let next = self.step(message, witness);
        if next.is_err() {
            self.end();
        }
        next
    }

    /// The TPM has stopped, and this is its state: the first message of it. The others are [`Source::next_chunk`]'s.
    ///
    /// # Errors
    /// `Unexpected` unless the destination is ready; `Epoch`, `Entropy`, `Room`, and those of a grant that has expired
    /// since. The run is then over.
    pub fn hand_over(
        &mut self,
        state: Wiped,
        epoch: u64,
        boot_nonce: [u8; 32],
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, Refusal> {
        self.epoch = epoch;
        let run = match core::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Ready(run) => run,
            other => {
                self.phase = other;
                return Err(Refusal::Unexpected);
            }
        };
        let (sent, message) = self.begin(run, &state, boot_nonce, rng)?;
        self.phase = Phase::Sending { sent, state, at: 0 };
        Ok(message)
    }

    /// The next message of the state, none behind the last.
    ///
    /// # Errors
    /// `Room`: the run is then over.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let next = self.chunk();
        if next.is_err() {
            self.end();
        }
        next
    }

    /// The tombstone is durable: the receipt, for the destination.
    ///
    /// # Errors
    /// `Unexpected` unless there was one to be made durable; `Room`, and [`Source::receipt`] has it later.
    pub fn entombed(&mut self) -> Result<Vec<u8>, Refusal> {
        match core::mem::replace(&mut self.phase, Phase::Stuck) {
            Phase::Entombing(tombstone) => self.phase = Phase::Moved(tombstone),
            other => {
                self.phase = other;
                return Err(Refusal::Unexpected);
            }
        }
        self.receipt()
    }

    /// Nobody knows whether the tombstone is durable. The TPM may not go on, since the next boot may find it; nor may
    /// the receipt be given, since the next boot may not.
    pub fn unsure(&mut self) {
        if matches!(self.phase, Phase::Entombing(_)) {
            self.phase = Phase::Stuck;
        }
    }

    /// Not an octet of the tombstone was written: the run is over, and the TPM answers again. Its receipt is lost with
    /// this, so that nothing that waits for it lives.
    pub fn not_entombed(&mut self) {
        if matches!(self.phase, Phase::Entombing(_)) {
            self.phase = Phase::Ended;
        }
    }

    /// The receipt again, for whoever asks.
    ///
    /// # Errors
    /// `Unexpected` unless the state has moved; `Room`.
    pub fn receipt(&self) -> Result<Vec<u8>, Refusal> {
        match &self.phase {
            Phase::Moved(tombstone) => plain(Kind::Gone, &tombstone.receipt.0),
            _ => Err(Refusal::Unexpected),
        }
    }

    /// Ends a run that takes too long. Whether the TPM answers now: not if its tombstone may be on the disk.
    pub fn give_up(&mut self) -> bool {
        self.end();
        self.answers()
    }

    /// The run is over, unless it is too late for that.
    fn end(&mut self) {
        if !matches!(self.phase, Phase::Entombing(_) | Phase::Moved(_) | Phase::Stuck) {
            self.phase = Phase::Ended;
        }
    }

    fn step(&mut self, message: &[u8], witness: &mut dyn Witness) -> Result<Next, Refusal> {
        let (kind, body) = Kind::of(message)?;
        match (&mut self.phase, kind) {
            (Phase::Moved(tombstone), _) => moved(tombstone, kind, body),
            (_, Kind::Refused) => Err(read_refused(body)?),
            // Not dead yet: a destination where an older state waits asks now and then.
            (_, Kind::Ask) => Ok(Next::Nothing),
            // And says again what it has kept in a run that was given up.
            (phase, Kind::Kept) if !matches!(phase, Phase::Sent(_)) => Ok(Next::Nothing),
            (Phase::Offered { secret, transcript }, Kind::Answer) => {
                let (secret, transcript) = (secret.duplicate(), transcript.clone());
                let (run, proof) = self.prove(&secret, transcript, message, body, witness)?;
                self.phase = Phase::Proven(Box::new(run));
                Ok(Next::Send(proof))
            }
            (Phase::Proven(run), Kind::Ready) => {
                if !run.channel.open(message)?.is_empty() {
                    return Err(Refusal::Shape);
                }
                if let Phase::Proven(run) = core::mem::replace(&mut self.phase, Phase::Ended) {
                    self.phase = Phase::Ready(run);
                }
                Ok(Next::HandOver)
            }
            (Phase::Sent(sent), Kind::Kept) => {
                let kept = sent.run.channel.open(message)?;
                if array::<48>(&kept)? != sent.sha384 {
                    return Err(Refusal::Digest);
                }
                let tombstone = sent.tombstone.clone();
                self.phase = Phase::Entombing(tombstone.clone());
                Ok(Next::Entomb(tombstone))
            }
            _ => Err(Refusal::Unexpected),
        }
    }

    /// Judges the destination, and shows it who this is.
    fn prove(
        &self,
        secret: &Scalar,
        mut transcript: Transcript,
        message: &[u8],
        body: &[u8],
        witness: &mut dyn Witness,
    ) -> Result<(Run, Vec<u8>), Refusal> {
        let answer = Answer::read(body)?;
        if answer.hello.key == self.public {
            return Err(Refusal::Reflection);
        }
        let common = common(secret, &answer.hello.key)?;
        let mut said = transcript.clone();
        said.absorb(message.get(..Answer::BEFORE).unwrap_or_default());
        judge::speaker(&answer.testimony, &said.report_data(DESTINATION), self.terms)?;
        if self.kept && !answer.hello.kept {
            return Err(Refusal::NotKept);
        }
        transcript.absorb(message);
        let before = Proof::before(self.grant.as_ref())?;
        let mut said = transcript.clone();
        said.absorb(&before);
        let testimony = witness.testify(&said.report_data(SOURCE)).ok_or(Refusal::NoReport)?;
        let (own, other) = (testimony.report, answer.testimony.report);
        judge::successor(&own, &other, self.terms, &self.case())?;
        let proof = Proof::octets(&before, &testimony)?;
        transcript.absorb(&proof);
        let mut channel = Channel::new(Side::Source, common.as_slice(), &transcript.digest());
        let proof = channel.seal_behind(&proof, &joined(&[&self.identity, &self.epoch.to_le_bytes()])?)?;
        Ok((Run { channel, own, other }, proof))
    }

    fn case(&self) -> Case<'_> {
        Case { identity: &self.identity, epoch: self.epoch, grant: self.grant.as_ref() }
    }

    fn begin(
        &self,
        mut run: Box<Run>,
        state: &[u8],
        boot_nonce: [u8; 32],
        rng: &mut dyn Rng,
    ) -> Result<(Sent, Vec<u8>), Refusal> {
        judge::successor(&run.own, &run.other, self.terms, &self.case())?;
        let mut receipt = Receipt([0; 32]);
        rng.fill(&mut receipt.0)?;
        let promise = receipt.promise();
        let len = u64::try_from(state.len()).map_err(|_| Refusal::Room)?;
        let head = Head { epoch: self.epoch, boot_nonce, promise, len };
        let message = run.channel.seal(Kind::Head, &head.octets()?)?;
        let Head { epoch, boot_nonce, promise, .. } = head;
        Pending { identity: self.identity, epoch, boot_nonce, from: run.own.measurement, promise }.arrival()?;
        let (to, chip) = (run.other.measurement, run.other.chip_id);
        let tombstone = Tombstone { identity: self.identity, epoch, to, chip, receipt };
        Ok((Sent { run, sha384: sha384(state), tombstone }, message))
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        let Phase::Sending { sent, state, at } = &mut self.phase else { return Ok(None) };
        let rest = state.get(*at..).unwrap_or_default();
        let chunk = rest.get(..MAX_CHUNK).unwrap_or(rest);
        if !chunk.is_empty() {
            let message = sent.run.channel.seal(Kind::Chunk, chunk)?;
            *at += chunk.len();
            return Ok(Some(message));
        }
        if let Phase::Sending { sent, .. } = core::mem::replace(&mut self.phase, Phase::Ended) {
            self.phase = Phase::Sent(sent);
        }
        Ok(None)
    }
}

/// What one that has moved does with a message.
fn moved(tombstone: &Tombstone, kind: Kind, body: &[u8]) -> Result<Next, Refusal> {
    if kind == Kind::Kept {
        // It is said until the receipt has come.
        return Ok(Next::Nothing);
    }
    let promise = array::<48>(body)?;
    match kind {
        Kind::Ask | Kind::Live if promise != tombstone.receipt.promise() => Err(Refusal::Receipt),
        Kind::Ask => plain(Kind::Gone, &tombstone.receipt.0).map(Next::Send),
        Kind::Live => Ok(Next::Lives),
        _ => Err(Refusal::Unexpected),
    }
}

/// An ephemeral key, and its point as it is sent.
pub(crate) fn ephemeral(rng: &mut dyn Rng) -> Result<(Scalar, [u8; 96]), Refusal> {
    let (secret, public) = Curve::NistP384.generate(rng)?;
    Ok((secret, coordinates(&public)))
}

fn coordinates(point: &Point) -> [u8; 96] {
    let mut out = [0; 96];
    let both = point.x().as_slice().iter().chain(point.y().as_slice());
    out.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
    out
}

/// The secret that both sides have: the x coordinate (SEC 1, 3.3.1).
pub(crate) fn common(secret: &Scalar, other: &[u8; 96]) -> Result<Zeroizing<[u8; 48]>, Refusal> {
    let shared = Curve::NistP384.multiply(secret.as_slice(), &point(other)?).map_err(|_| Refusal::Key)?;
    let shared = Zeroizing::new(shared);
    let mut out = Zeroizing::new([0; 48]);
    out.iter_mut().zip(shared.x().as_slice()).for_each(|(to, from)| *to = *from);
    Ok(out)
}

pub(crate) fn sha384(octets: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.iter_mut().zip(digest(HashAlg::Sha384, &[octets]).as_slice()).for_each(|(to, from)| *to = *from);
    out
}
