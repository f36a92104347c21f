//! The side where the TPM arrives, and the boot of a source that has moved.

use alloc::vec::Vec;

use kernel::attest::Reports;
use kernel::hooks::Platform;
use migration::Wiped;
use migration::destination::{self, Destination};
use migration::message::{Kind, refused};
use migration::source::{self, Source};
use migration::{Arrival, Pending, Refusal, Terms, Testimony, Tombstone, Witness};
use relay::{Relay, service};
use tpm_core::{Clock, Entropy, MAX_STATE_SIZE, StateForm};

use super::{Berth, Psp, Random};

/// What there is to arrive with.
pub struct Arrivals<'a, E, C> {
    /// Where the TPM is to be.
    pub platform: &'a mut Platform<E, C>,
    /// The secure processor.
    pub reports: &'a mut dyn Reports,
    /// Who keeps it.
    pub berth: &'a mut dyn Berth,
}

/// Waits until a TPM has arrived, and lives here. `waits`: what is on the disk, and its state, if there is one that
/// waits for its receipt. `idle` is called when nothing has come: `None` ends it, and true asks for the receipt again.
///
/// # Errors
/// `NoTerms`; `Disk` if nobody knows what is durable; `State` if what waits is no TPM's; `GivenUp`. What a run is
/// refused for is told to its source, and this goes on waiting.
pub fn arrive<'a, R: Relay, E: Entropy, C: Clock>(
    terms: &'a Terms,
    waits: Option<(Pending, Wiped)>,
    relay: &mut R,
    with: Arrivals<'a, E, C>,
    idle: &mut dyn FnMut() -> Option<bool>,
) -> Result<Arrival, Refusal> {
    let (pending, state) = waits.unzip();
    let destination = Destination::new(terms, with.berth.keeps(), MAX_STATE_SIZE, pending)?;
    let mut arriving = Arriving { destination, with, state, is_here: false };
    arriving.ask(relay);
    loop {
        let message = match relay.receive() {
            Ok(Some(message)) if message.service == service::MIGRATION => message.octets,
            Ok(Some(_)) => continue,
            Ok(None) | Err(_) => match idle().ok_or(Refusal::GivenUp)? {
                true => {
                    arriving.ask(relay);
                    continue;
                }
                false => continue,
            },
        };
        let (said, arrival) = arriving.take(&message)?;
        // What does not get through is as good as lost on its way.
        let _ = said.map(|said| relay.send(service::MIGRATION, 0, &said));
        if let Some(arrival) = arrival {
            return Ok(arrival);
        }
    }
}

/// A destination at work.
struct Arriving<'a, E, C> {
    destination: Destination<'a>,
    with: Arrivals<'a, E, C>,
    /// What waits for its receipt.
    state: Option<Wiped>,
    /// The platform's TPM is that of `state`.
    is_here: bool,
}

impl<E: Entropy, C: Clock> Arriving<'_, E, C> {
    /// Asks for the receipt, where one is missing. The source may not know yet that its state is kept.
    fn ask<R: Relay>(&self, relay: &mut R) {
        if let Some(kept) = self.destination.kept_again() {
            let _ = relay.send(service::MIGRATION, 0, kept);
        }
        if let Ok(question) = self.destination.ask() {
            let _ = relay.send(service::MIGRATION, 0, &question);
        }
    }

    /// What is said to a message, and what has arrived by it.
    fn take(&mut self, message: &[u8]) -> Result<(Option<Vec<u8>>, Option<Arrival>), Refusal> {
        let Self { destination, with: Arrivals { platform, reports, .. }, .. } = self;
        let next =
            platform.with(|_, hooks| destination.receive(message, &mut Psp(*reports), &mut Random(hooks.entropy)));
        match next {
            Ok(destination::Next::Nothing) => Ok((None, None)),
            Ok(destination::Next::Send(message)) => self.ready(message).map(|said| (Some(said), None)),
            Ok(destination::Next::Keep(pending)) => self.keep(&pending).map(|said| (Some(said), None)),
            Ok(destination::Next::Awake(arrival)) => {
                let said = self.awake(&arrival)?;
                Ok((Some(said), Some(arrival)))
            }
            // A refusal is not answered: two that refuse would never end.
            Err(_) if matches!(Kind::of(message), Ok((Kind::Refused, _))) => Ok((None, None)),
            Err(why) => Ok((Some(refused(why)?), None)),
        }
    }

    /// What is to be said. Before a TPM is asked for, the berth must be able to keep it: so long its source goes on.
    fn ready(&mut self, message: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let Self { destination, with: Arrivals { platform, berth, .. }, .. } = self;
        let Some(identity) = destination.comes() else { return Ok(message) };
        match platform.with(|_, hooks| berth.expect(identity, hooks.entropy)) {
            Ok(()) => Ok(message),
            Err(why) => {
                destination.not_ready();
                refused(why)
            }
        }
    }

    /// A state that is a TPM's is kept; any other is refused, and what waits goes on waiting.
    fn keep(&mut self, pending: &Pending) -> Result<Vec<u8>, Refusal> {
        let Self { destination, with: Arrivals { platform, berth, .. }, state, is_here } = self;
        *is_here = platform.take(destination.state()).is_ok();
        if !*is_here {
            destination.not_kept();
            return refused(Refusal::State);
        }
        if berth.keep(pending, destination.state()).is_err() {
            destination.unsure();
            return Err(Refusal::Disk);
        }
        *state = Some(Wiped::of(destination.state().to_vec()));
        destination.kept()
    }

    /// The source is dead.
    fn awake(&mut self, arrival: &Arrival) -> Result<Vec<u8>, Refusal> {
        let Self { destination, with: Arrivals { platform, berth, .. }, state, is_here } = self;
        if !*is_here {
            let state = state.as_ref().ok_or(Refusal::State)?;
            platform.take(state).map_err(|_| Refusal::State)?;
        }
        if platform.with(|tpm, _| berth.live(arrival, tpm)).is_err() {
            destination.unsure();
            return Err(Refusal::Disk);
        }
        destination.live()
    }
}

/// Powers the TPM off and on: what is to run behind this is measured anew, and is not what ran before.
///
/// # Errors
/// `State`: there is no TPM then.
pub fn start_anew<E: Entropy, C: Clock>(platform: &mut Platform<E, C>) -> Result<(), Refusal> {
    let mut state = Wiped::of(alloc::vec![0; MAX_STATE_SIZE]);
    let len = platform.with(|tpm, _| tpm.export(StateForm::PoweredOff, &mut state)).map_err(|_| Refusal::State)?;
    platform.take(state.get(..len).unwrap_or_default()).map_err(|_| Refusal::State)
}

/// One that has moved tells nobody who it is.
struct Silent;

impl Witness for Silent {
    fn testify(&mut self, _: &[u8; 64]) -> Option<Testimony> {
        None
    }
}

/// What a firmware does whose TPM has moved before this boot: it gives the receipt to whoever asks, until `idle` says
/// that it is enough.
pub fn give_receipts<R: Relay>(
    terms: &Terms,
    tombstone: Tombstone,
    relay: &mut R,
    idle: &mut dyn FnMut() -> Option<bool>,
) {
    let mut source = Source::moved(terms, tombstone);
    loop {
        match relay.receive() {
            Ok(Some(message)) if message.service == service::MIGRATION => {
                let said = match source.receive(&message.octets, &mut Silent) {
                    Ok(source::Next::Send(receipt)) => Some(receipt),
                    Ok(_) => None,
                    Err(_) if matches!(Kind::of(&message.octets), Ok((Kind::Refused, _))) => None,
                    Err(why) => refused(why).ok(),
                };
                let _ = said.map(|said| relay.send(service::MIGRATION, 0, &said));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                if idle().is_none() {
                    return;
                }
            }
        }
    }
}
