//! The side that the TPM leaves.

use alloc::vec::Vec;

use kernel::attest::Reports;
use kernel::hooks::Platform;
use migration::Wiped;
use migration::message::{Kind, refused};
use migration::source::{self, Bearer, Source};
use migration::{Grant, Refusal, Terms};
use relay::{Relay, service};
use tpm_core::{Clock, Entropy, Hooks, MAX_STATE_SIZE, StateForm, Tpm};

use super::{Home, NotEntombed, Now, Psp, Random, Say};

/// How long the TPM stands still for the next step of a run.
pub(super) const PATIENCE_MS: u64 = 5_000;

/// What has come of a look at the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// The TPM is here, and answers.
    Here,
    /// The same, after a run that ended so.
    Stayed(Refusal),
    /// It has moved. It answers nothing any more.
    Moved,
    /// Nobody knows before the next boot. It answers nothing until then.
    Unsure,
}

/// The side that the TPM leaves.
pub struct Leaving<'t> {
    terms: &'t Terms,
    run: Option<Source<'t>>,
    /// The destination has said that it lives.
    is_done: bool,
}

impl<'t> Leaving<'t> {
    /// No run has begun.
    #[must_use]
    pub const fn new(terms: &'t Terms) -> Leaving<'t> {
        Leaving { terms, run: None, is_done: false }
    }

    /// Looks for messages, between two commands. The host begins a run by the message [`Kind::Begin`]. While the state
    /// is on its way this waits, and for some seconds more until the destination says that it lives: its receipt may
    /// have been lost. Only the run's own progress prolongs that: a destination asks each second, and a host may send
    /// without end.
    pub fn poll<R: Relay, E: Entropy, C: Clock>(
        &mut self,
        relay: &mut R,
        platform: &mut Platform<E, C>,
        reports: &mut dyn Reports,
        home: &mut dyn Home,
    ) -> Stand {
        let (mut why, mut since) = (None, platform.now_ms());
        loop {
            if platform.now_ms().saturating_sub(since) >= PATIENCE_MS {
                why = self.give_up().or(why);
                break;
            }
            match relay.receive() {
                Ok(Some(message)) if message.service == service::MIGRATION => {
                    let before = (self.answers(), self.stand());
                    why = self.take(&message.octets, relay, platform, reports, home).or(why);
                    if (self.answers(), self.stand()) != before {
                        since = platform.now_ms();
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) if self.is_settled() => break,
                Ok(None) => {}
                Err(_) => {
                    why = self.give_up().or(why);
                    break;
                }
            }
        }
        match (self.stand(), why) {
            (Stand::Here, Some(why)) => Stand::Stayed(why),
            (Stand::Here, None) => Stand::Here,
            (stand, _) => {
                // For good: nothing is kept, and nothing answered, any more. No state at all wipes what was here.
                let _ = platform.take(&[]);
                platform.with(|tpm, _| tpm.enter_failure_mode());
                stand
            }
        }
    }

    /// Whether the TPM may answer.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.run.as_ref().is_none_or(Source::answers)
    }

    fn stand(&self) -> Stand {
        match &self.run {
            Some(run) if run.has_moved() => Stand::Moved,
            Some(run) if run.is_unsure() => Stand::Unsure,
            _ => Stand::Here,
        }
    }

    /// Nothing has to be waited for.
    fn is_settled(&self) -> bool {
        match self.stand() {
            Stand::Moved => self.is_done,
            Stand::Unsure => true,
            Stand::Here | Stand::Stayed(_) => self.answers(),
        }
    }

    /// The end of a run that takes too long.
    fn give_up(&mut self) -> Option<Refusal> {
        // One that has moved is not waited for again.
        self.is_done |= self.stand() == Stand::Moved;
        let run = self.run.as_mut().filter(|run| !run.answers() && !run.has_moved())?;
        run.give_up();
        Some(Refusal::GivenUp)
    }

    /// Does what a message says; why it is refused, if it is.
    fn take<R: Relay, E: Entropy, C: Clock>(
        &mut self,
        message: &[u8],
        relay: &mut R,
        platform: &mut Platform<E, C>,
        reports: &mut dyn Reports,
        home: &mut dyn Home,
    ) -> Option<Refusal> {
        let mut say = |message: &[u8]| relay.send(service::MIGRATION, 0, message).ok();
        let why = self.step(message, platform, reports, home, &mut say).err()?;
        // A refusal is not answered: two that refuse would never end.
        if !matches!(Kind::of(message), Ok((Kind::Refused, _))) {
            let _ = refused(why).ok().and_then(|message| say(&message));
        }
        Some(why)
    }

    fn step<E: Entropy, C: Clock>(
        &mut self,
        message: &[u8],
        platform: &mut Platform<E, C>,
        reports: &mut dyn Reports,
        home: &mut dyn Home,
        say: &mut Say<'_>,
    ) -> Result<(), Refusal> {
        let is_running = self.run.as_ref().is_some_and(|run| !run.is_over());
        let grant = match Kind::of(message) {
            Ok((Kind::Begin, grant)) => Some(grant),
            // Of a run that was given up, by a destination where its state waits: the TPM is not dead.
            Ok((Kind::Ask | Kind::Kept, _)) if !is_running => return Ok(()),
            // A receipt that comes once more, of the run by which the TPM came here.
            Ok((Kind::Gone, _)) => return Ok(()),
            _ => None,
        };
        match (&mut self.run, grant) {
            (Some(run), Some(grant)) if run.answers() => self.begin(grant, platform, home, say),
            (None, Some(grant)) => self.begin(grant, platform, home, say),
            (Some(run), _) if !run.is_over() => answer(run, message, platform, reports, home, say).map(|lives| {
                self.is_done |= lives;
            }),
            _ => Err(Refusal::Unexpected),
        }
    }

    /// The host asks for an offer, and has the owner's word or not.
    fn begin<E: Entropy, C: Clock>(
        &mut self,
        grant: &[u8],
        platform: &mut Platform<E, C>,
        home: &dyn Home,
        say: &mut Say<'_>,
    ) -> Result<(), Refusal> {
        let grant = if grant.is_empty() { None } else { Some(Grant::parse(grant)?) };
        let Now { identity, epoch, .. } = home.now();
        let bearer = Bearer { identity, epoch, kept: home.keeps(), grant: grant.as_ref() };
        let terms = self.terms;
        let offer = |_: &mut Tpm, hooks: &mut Hooks<'_>| Source::offer(terms, &bearer, &mut Random(hooks.entropy));
        let (source, offer) = platform.with(offer)?;
        self.run = Some(source);
        self.is_done = false;
        say(&offer).ok_or(Refusal::GivenUp)
    }
}

/// Whether the destination says that it lives.
fn answer<E: Entropy, C: Clock>(
    run: &mut Source<'_>,
    message: &[u8],
    platform: &mut Platform<E, C>,
    reports: &mut dyn Reports,
    home: &mut dyn Home,
    say: &mut Say<'_>,
) -> Result<bool, Refusal> {
    let sent = match run.receive(message, &mut Psp(reports))? {
        source::Next::Nothing => Some(()),
        source::Next::Lives => return Ok(true),
        source::Next::Send(message) => say(&message),
        source::Next::HandOver => hand_over(run, platform, home, say).inspect_err(|_| _ = run.give_up()).map(Some)?,
        source::Next::Entomb(tombstone) => {
            match home.entomb(&tombstone) {
                // If it does not get through, the destination asks for it.
                Ok(()) => _ = say(&run.entombed()?),
                Err(NotEntombed::NotBegun) => {
                    run.not_entombed();
                    return Err(Refusal::GivenUp);
                }
                Err(NotEntombed::Unsure) => {
                    run.unsure();
                    return Err(Refusal::Disk);
                }
            }
            Some(())
        }
    };
    sent.map(|()| false).ok_or(Refusal::GivenUp)
}

/// From here on the TPM answers nothing.
fn hand_over<E: Entropy, C: Clock>(
    run: &mut Source<'_>,
    platform: &mut Platform<E, C>,
    home: &dyn Home,
    say: &mut Say<'_>,
) -> Result<(), Refusal> {
    let Now { epoch, boot_nonce, .. } = home.now();
    let head = platform.with(|tpm, hooks| {
        let state = whole(tpm)?;
        run.hand_over(state, epoch, boot_nonce, &mut Random(hooks.entropy))
    })?;
    say(&head).ok_or(Refusal::GivenUp)?;
    while let Some(chunk) = run.next_chunk()? {
        say(&chunk).ok_or(Refusal::GivenUp)?;
    }
    Ok(())
}

/// All that the TPM is.
fn whole(tpm: &Tpm) -> Result<Wiped, Refusal> {
    let mut state = Wiped::of(Vec::new());
    state.try_reserve_exact(MAX_STATE_SIZE).map_err(|_| Refusal::Room)?;
    state.resize(MAX_STATE_SIZE, 0);
    let len = tpm.export(StateForm::Whole, &mut state).map_err(|_| Refusal::State)?;
    state.truncate(len);
    Ok(state)
}
