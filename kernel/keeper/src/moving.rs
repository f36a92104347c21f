//! How the TPM leaves this firmware, and how it arrives: crate `migration` between the relay, the TPM, the secure
//! processor, and whoever keeps the state (docs/migration.md).
//!
//! Leaving goes on in steps while the guest runs ([`Leaving::poll`], between two commands), until the destination is
//! ready; from then on it does not return before the TPM has moved or goes on here, so no command comes between.
//! Arriving is a part of the boot ([`arrive`]): without a TPM there is no guest.

use alloc::vec;
use alloc::vec::Vec;

use migration::destination::{self, Destination};
use migration::message::{Kind, refused};
use migration::source::{self, Bearer, Source};
use migration::{Arrival, Grant, Identity, Pending, Refusal, Terms, Testimony, Tombstone, Witness};
use relay::{Relay, service};
use snp::message::certificates::{ARK, ASK, CertificateTable, VCEK};
use tpm_core::{Clock, Entropy, Hooks, MAX_STATE_SIZE, StateForm, Tpm};
use zeroize::Zeroizing;

use crate::attest::{Certificates, Reports};
use crate::hooks::Platform;

/// How long the TPM stands still for a destination that says nothing.
const PATIENCE_MS: u64 = 5_000;

/// Nobody knows what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsure;

/// Who keeps the TPM's state, on a disk or nowhere.
pub trait Home {
    /// The TPM's identity, its epoch, and this boot's nonce.
    fn now(&self) -> (Identity, u64, [u8; 32]);
    /// Whether a state that is kept here outlives the virtual machine.
    fn keeps(&self) -> bool;
    /// Makes the tombstone durable, in the place of the state.
    fn entomb(&mut self, tombstone: &Tombstone) -> Result<(), Unsure>;
    /// Makes a state durable that waits for its receipt.
    fn keep(&mut self, pending: &Pending, state: &[u8]) -> Result<(), Unsure>;
    /// Makes it durable as the TPM that lives here.
    fn live(&mut self, arrival: &Arrival, tpm: &Tpm) -> Result<(), Unsure>;
}

/// The secure processor, as a witness.
struct Psp<'a>(&'a mut dyn Reports);

impl Witness for Psp<'_> {
    fn testify(&mut self, report_data: &[u8; 64]) -> Option<Testimony> {
        let mut certificates = Certificates::new();
        let report = self.0.report(report_data, Some(&mut certificates)).ok()?;
        let table = CertificateTable::parse(certificates.bytes()).ok()?;
        let [vcek, ask, ark] = [VCEK, ASK, ARK].map(|kind| table.find(kind).map(<[u8]>::to_vec));
        Some(Testimony { report, vcek: vcek?, ask: ask?, ark: ark? })
    }
}

/// The firmware's entropy, for ephemeral keys and receipts.
struct Random<'a>(&'a mut dyn Entropy);

impl tpm_crypto::Rng for Random<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), tpm_crypto::Error> {
        self.0.fill(out).map_err(|_| tpm_crypto::Error::Reseed)
    }
}

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
}

impl<'t> Leaving<'t> {
    /// No run has begun.
    #[must_use]
    pub const fn new(terms: &'t Terms) -> Leaving<'t> {
        Leaving { terms, run: None }
    }

    /// Looks for messages, between two commands. The host begins a run by the message [`Kind::Begin`].
    ///
    /// # Errors
    /// The relay's.
    pub fn poll<R: Relay, E: Entropy, C: Clock>(
        &mut self,
        relay: &mut R,
        platform: &mut Platform<E, C>,
        reports: &mut dyn Reports,
        home: &mut dyn Home,
    ) -> Result<Stand, R::Error> {
        let mut stand = self.stand();
        let mut stopped = None;
        loop {
            match relay.receive()? {
                Some(message) if message.service == service::MIGRATION => {
                    let (said, why) = self.step(&message.octets, platform, reports, home);
                    if let Some(why) = why {
                        stand = Stand::Stayed(why);
                    }
                    said.iter().try_for_each(|message| relay.send(service::MIGRATION, 0, message))?;
                }
                Some(_) => {}
                None if self.is_here() => break,
                None => {
                    let now = platform.now_ms();
                    if now.saturating_sub(*stopped.get_or_insert(now)) >= PATIENCE_MS {
                        self.give_up();
                        stand = Stand::Stayed(Refusal::GivenUp);
                    }
                }
            }
            if matches!(self.stand(), Stand::Moved | Stand::Unsure) {
                platform.with(|tpm, _| tpm.enter_failure_mode());
                return Ok(self.stand());
            }
        }
        Ok(stand)
    }

    fn stand(&self) -> Stand {
        match &self.run {
            Some(run) if run.has_moved() => Stand::Moved,
            Some(run) if run.is_unsure() => Stand::Unsure,
            _ => Stand::Here,
        }
    }

    fn is_here(&self) -> bool {
        self.run.as_ref().is_none_or(Source::answers)
    }

    fn give_up(&mut self) {
        if let Some(run) = &mut self.run {
            run.give_up();
        }
    }

    /// What is said to a message, and why a run ends by it, if one does.
    fn step<E: Entropy, C: Clock>(
        &mut self,
        message: &[u8],
        platform: &mut Platform<E, C>,
        reports: &mut dyn Reports,
        home: &mut dyn Home,
    ) -> (Vec<Vec<u8>>, Option<Refusal>) {
        let begins = matches!(Kind::of(message), Ok((Kind::Begin, _)));
        let outcome = match &mut self.run {
            Some(run) if !run.is_over() && !(begins && run.answers()) => answer(run, message, platform, reports, home),
            _ if begins => self.begin(message, platform, home),
            _ => Err(Refusal::Unexpected),
        };
        match outcome {
            Ok(said) => (said, None),
            Err(why) => (refused(why).into_iter().collect(), Some(why)),
        }
    }

    fn begin<E: Entropy, C: Clock>(
        &mut self,
        message: &[u8],
        platform: &mut Platform<E, C>,
        home: &dyn Home,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let grant = match Kind::of(message)?.1 {
            [] => None,
            grant => Some(Grant::parse(grant)?),
        };
        let (identity, epoch, _) = home.now();
        let bearer = Bearer { identity, epoch, kept: home.keeps(), grant: grant.as_ref() };
        let offer = |_: &mut Tpm, hooks: &mut Hooks<'_>| Source::offer(self.terms, &bearer, &mut Random(hooks.entropy));
        let (source, offer) = platform.with(offer)?;
        self.run = Some(source);
        Ok(vec![offer])
    }
}

fn answer<E: Entropy, C: Clock>(
    run: &mut Source<'_>,
    message: &[u8],
    platform: &mut Platform<E, C>,
    reports: &mut dyn Reports,
    home: &mut dyn Home,
) -> Result<Vec<Vec<u8>>, Refusal> {
    match run.receive(message, &mut Psp(reports))? {
        source::Next::Nothing | source::Next::Lives => Ok(Vec::new()),
        source::Next::Send(message) => Ok(vec![message]),
        source::Next::HandOver => hand_over(run, platform, home).inspect_err(|_| {
            run.give_up();
        }),
        source::Next::Entomb(tombstone) => match home.entomb(&tombstone) {
            Ok(()) => Ok(vec![run.entombed()?]),
            Err(Unsure) => {
                run.unsure();
                Err(Refusal::Disk)
            }
        },
    }
}

/// From here on the TPM answers nothing.
fn hand_over<E: Entropy, C: Clock>(
    run: &mut Source<'_>,
    platform: &mut Platform<E, C>,
    home: &dyn Home,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let (_, epoch, boot_nonce) = home.now();
    let mut all = platform.with(|tpm, hooks| {
        let state = whole(tpm)?;
        Ok(vec![run.hand_over(state, epoch, boot_nonce, &mut Random(hooks.entropy))?])
    })?;
    while let Some(chunk) = run.next_chunk()? {
        all.push(chunk);
    }
    Ok(all)
}

/// All that the TPM is.
fn whole(tpm: &Tpm) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut state = Zeroizing::new(Vec::new());
    state.try_reserve_exact(MAX_STATE_SIZE).map_err(|_| Refusal::Room)?;
    state.resize(MAX_STATE_SIZE, 0);
    let len = tpm.export(StateForm::Whole, &mut state).map_err(|_| Refusal::State)?;
    state.truncate(len);
    Ok(state)
}

/// Waits until a TPM has arrived, and lives here. `waits`: what is on the disk, and its state, if there is one that
/// waits for its receipt. `idle` is called when nothing has come: whether to go on waiting.
///
/// # Errors
/// `NoTerms`, `State` for a state that is no TPM's, `Disk` if nobody knows what is durable, `GivenUp`. What the relay
/// refuses is a message that does not come.
pub fn arrive<R: Relay, E: Entropy, C: Clock>(
    terms: &Terms,
    waits: Option<(Pending, &[u8])>,
    relay: &mut R,
    platform: &mut Platform<E, C>,
    reports: &mut dyn Reports,
    home: &mut dyn Home,
    idle: &mut dyn FnMut() -> bool,
) -> Result<Arrival, Refusal> {
    if let Some((_, state)) = waits {
        import(platform, state)?;
    }
    let pending = waits.map(|(pending, _)| pending);
    let mut destination = Destination::new(terms, home.keeps(), MAX_STATE_SIZE, pending)?;
    ask(&destination, relay);
    loop {
        let message = match relay.receive() {
            Ok(Some(message)) if message.service == service::MIGRATION => message.octets,
            Ok(Some(_)) => continue,
            Ok(None) | Err(_) if idle() => {
                ask(&destination, relay);
                continue;
            }
            Ok(None) | Err(_) => return Err(Refusal::GivenUp),
        };
        let next = platform.with(|_, hooks| {
            let mut random = Random(hooks.entropy);
            destination.receive(&message, &mut Psp(reports), &mut random)
        });
        let said = match next {
            Ok(destination::Next::Nothing) => continue,
            Ok(destination::Next::Send(message)) => message,
            Ok(destination::Next::Keep(pending)) => keep(&mut destination, &pending, platform, home)?,
            Ok(destination::Next::Awake(arrival)) => {
                platform.with(|tpm, _| home.live(&arrival, tpm)).map_err(|Unsure| Refusal::Disk)?;
                // Nothing depends on whether it comes through.
                let _ = relay.send(service::MIGRATION, 0, &destination.live()?);
                return Ok(arrival);
            }
            Err(why) => refused(why)?,
        };
        let _ = relay.send(service::MIGRATION, 0, &said);
    }
}

/// Asks for the receipt, where one is missing.
fn ask<R: Relay>(destination: &Destination<'_>, relay: &mut R) {
    if let Ok(question) = destination.ask() {
        let _ = relay.send(service::MIGRATION, 0, &question);
    }
}

/// A state that is a TPM's is kept; any other is refused, and what waits goes on waiting.
fn keep<E: Entropy, C: Clock>(
    destination: &mut Destination<'_>,
    pending: &Pending,
    platform: &mut Platform<E, C>,
    home: &mut dyn Home,
) -> Result<Vec<u8>, Refusal> {
    import(platform, destination.state())?;
    home.keep(pending, destination.state()).map_err(|Unsure| Refusal::Disk)?;
    destination.kept()
}

fn import<E: Entropy, C: Clock>(platform: &mut Platform<E, C>, state: &[u8]) -> Result<(), Refusal> {
    platform.with(|tpm, hooks| tpm.import(state, hooks)).map_err(|_| Refusal::State)
}

#[cfg(test)]
mod tests;
