//! The hosts between two firmwares: they carry messages, or do something else with them.

use super::machine::{GET_RANDOM, Machine, SUCCESS};
use anyhow::{Context, Result, ensure};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use host::devices::Programs;
use host::relay::{Relay, SerialRelay};
use migration::Refusal;
use migration::message::Kind;
use relay::service;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two commands of the guest at the source, which is asked between them.
const PACE: Duration = Duration::from_millis(15);

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// From the destination.
    Source,
    /// From the source.
    Destination,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Where it goes.
    pub(super) to: To,
    /// The message.
    pub(super) octets: Vec<u8>,
}

impl Letter {
    /// What it is, if it is anything.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::of(&self.octets).ok().map(|(kind, _)| kind)
    }
}

/// What the hosts do with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It arrives.
    Deliver,
    /// Something else arrives in its place.
    Instead(Vec<u8>),
    /// It is lost, and what comes behind it is carried.
    Lose,
    /// It is lost, and nothing is carried any more.
    End,
    /// Of its frame so many octets arrive, and nothing is carried any more.
    Part(usize),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Journey {
    /// All letters, in order.
    pub(super) letters: Vec<Letter>,
    /// The last answer of the source's TPM that was one.
    pub(super) last_answer: Option<Instant>,
    /// The source's TPM is in failure mode.
    pub(super) is_dead: bool,
    /// The destination says that it lives.
    pub(super) is_live: bool,
    /// Who refused, and why.
    pub(super) refused: Option<(To, Refusal)>,
}

/// Carries letters until the destination lives, somebody refuses, or the hosts have enough. `begin`: what the source is
/// asked with. While that goes on, its guest has commands for the TPM.
pub(super) fn travel(
    source: &mut Machine,
    destination: &Programs,
    begin: Option<&[u8]>,
    hosts: &mut dyn FnMut(&Letter) -> Order,
) -> Result<Journey> {
    // What nobody carried is lost.
    for end in [&source.programs, destination] {
        while end.receive(Duration::ZERO).is_some() {}
    }
    // One that has moved before this boot has no guest.
    let mut relay = source.relay.take();
    let mut journey = Journey::default();
    let (carried, (last_answer, is_dead)) =
        while_used(relay.as_mut(), || carry(&source.programs, destination, begin, hosts, &mut journey))?;
    source.relay = relay;
    carried.with_context(|| format!("after {} letters\n{}", journey.letters.len(), source.qemu.last_lines()))?;
    (journey.last_answer, journey.is_dead) = (last_answer, is_dead);
    Ok(journey)
}

/// Does something while a guest, if there is one, has commands for its TPM; what came of that, and what [`guest`] saw.
pub(super) fn while_used<R>(
    relay: Option<&mut SerialRelay<UnixStream>>,
    work: impl FnOnce() -> R,
) -> Result<(R, (Option<Instant>, bool))> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let guest = scope.spawn(|| relay.map_or((None, true), |relay| guest(relay, &stop)));
        let done = work();
        stop.store(true, Ordering::Release);
        let seen = guest.join().map_err(|_| anyhow::anyhow!("the guest's thread has ended"))?;
        Ok((done, seen))
    })
}

/// A guest's commands: when the last was answered, and whether one was not.
fn guest(relay: &mut SerialRelay<UnixStream>, stop: &AtomicBool) -> (Option<Instant>, bool) {
    let (mut last, mut failed) = (None, false);
    while !stop.load(Ordering::Acquire) {
        match relay.tpm(GET_RANDOM) {
            Ok(answer) if client::command::response_code(&answer) == SUCCESS => last = Some(Instant::now()),
            Ok(_) => failed = true,
            // The machine has ended.
            Err(_) => break,
        }
        thread::sleep(PACE);
    }
    (last, failed)
}

/// The same, where somebody else sees to the source's guest.
pub(super) fn carry(
    source: &Programs,
    destination: &Programs,
    begin: Option<&[u8]>,
    hosts: &mut dyn FnMut(&Letter) -> Order,
    journey: &mut Journey,
) -> Result<()> {
    if let Some(grant) = begin {
        source.send(
            service::MIGRATION,
            0,
            &[&[migration::message::VERSION, Kind::Begin as u8, 0, 0], grant].concat(),
        )?;
    }
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        for (from, to, end) in [(source, To::Destination, destination), (destination, To::Source, source)] {
            let Some(message) = from.receive(Duration::from_millis(1)) else { continue };
            ensure!(message.service == service::MIGRATION, "a message of service {}", message.service);
            let letter = Letter { to, octets: message.octets };
            let order = hosts(&letter);
            let refusal = refusal(&letter);
            let is_live = letter.kind() == Some(Kind::Live) && order == Order::Deliver;
            match &order {
                Order::Deliver => end.send(service::MIGRATION, 0, &letter.octets)?,
                Order::Instead(other) => end.send(service::MIGRATION, 0, other)?,
                Order::Part(octets) => end.send_part(service::MIGRATION, 0, &letter.octets, *octets)?,
                Order::Lose | Order::End => {}
            }
            journey.letters.push(letter);
            if let Some(why) = refusal {
                // Who says so goes the other way than the letter that was refused.
                journey.refused = Some((if to == To::Source { To::Destination } else { To::Source }, why));
                return Ok(());
            }
            if is_live {
                journey.is_live = true;
                return Ok(());
            }
            if matches!(order, Order::End | Order::Part(_)) {
                return Ok(());
            }
        }
    }
    anyhow::bail!("nothing has come of it in {} seconds", PATIENCE.as_secs())
}

/// Why its sender refuses what came before.
fn refusal(letter: &Letter) -> Option<Refusal> {
    let code: [u8; 2] = letter.octets.get(4..6)?.try_into().ok()?;
    if letter.kind() == Some(Kind::Refused) { Refusal::from_code(u16::from_le_bytes(code)) } else { None }
}
