//! A machine with a disk, as the firmware that is to be around the crate: what it does at boot, with a message, and
//! with a write that is cut.

use crate::chip::Boot;
use crate::scene::{BOOT_NONCE, IDENTITY, MOST};
use crate::{Seeded, octets};
use migration::Wiped;
use migration::destination::{self, Destination};
use migration::source::{self, Bearer, Source};
use migration::{Identity, Pending, Refusal, Terms, Tombstone};

/// A TPM, of which only counts what must not be lost or go back: how many commands it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tpm {
    /// Its identity.
    pub identity: Identity,
    /// The epoch.
    pub epoch: u64,
    /// Commands so far.
    pub commands: u64,
}

impl Tpm {
    fn state(&self) -> Vec<u8> {
        self.commands.to_le_bytes().repeat(3)
    }

    fn of(identity: Identity, epoch: u64, state: &[u8]) -> Option<Self> {
        let commands = u64::from_le_bytes(*state.first_chunk()?);
        (state.len() == 24).then_some(Self { identity, epoch, commands })
    }
}

/// What is on a disk; records are replaced as one, as the firmware's two slots do it.
#[derive(Clone, PartialEq, Eq)]
pub enum Disk {
    /// Marked as empty.
    Empty,
    /// A state.
    Live(Tpm),
    /// One that waits for its receipt.
    Waits(Pending, Tpm),
    /// Nothing but where it went.
    Dead(Tombstone),
}

/// How a write ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// As it should.
    Good,
    /// With the power, before it is durable or after.
    Cut(bool),
    /// With an error, and the disk holds what was there before, or the new.
    Error(bool),
    /// It is not begun: of a tombstone only.
    NotBegun,
}

/// A mistake of the firmware around the crate, which the simulator must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None.
    None,
    /// The receipt goes out before the tombstone is durable.
    EarlyReceipt,
    /// The source goes on after a write of which nobody knows how it ended.
    GoesOn,
    /// The destination answers as soon as it has the state.
    EarlyLife,
    /// The source answers commands while its state is on its way.
    DoesNotStop,
    /// A boot does not see the tombstone, and takes the state that was there before.
    SecondLife,
    /// The destination says that it has kept the state, and has not written it.
    NothingKept,
}

/// A machine.
pub struct Machine<'t> {
    terms: &'t Terms,
    /// It has a disk.
    pub kept: bool,
    /// What is there.
    pub disk: Disk,
    /// What was there before the tombstone.
    before: Option<Tpm>,
    on: Option<On<'t>>,
    fault: Fault,
    /// Nobody knows what is on the disk before the next boot.
    unsure: bool,
}

/// What is lost with the power.
#[derive(Default)]
struct On<'t> {
    tpm: Option<Tpm>,
    /// A state that waits, without a disk or beside it.
    waiting: Option<Tpm>,
    source: Option<Source<'t>>,
    destination: Option<Destination<'t>>,
}

impl<'t> Machine<'t> {
    /// A machine that is off.
    pub const fn new(terms: &'t Terms, kept: bool, disk: Disk, fault: Fault) -> Self {
        Self { terms, kept, disk, before: None, on: None, fault, unsure: false }
    }

    /// One that has a TPM and no disk.
    pub fn with_tpm(terms: &'t Terms, tpm: Tpm, fault: Fault) -> Self {
        let on = Some(On { tpm: Some(tpm), ..On::default() });
        Self { terms, kept: false, disk: Disk::Empty, before: None, on, fault, unsure: false }
    }

    /// Switches it on, by what is on its disk.
    pub fn boot(&mut self) {
        let mut on = On::default();
        self.unsure = false;
        match &self.disk {
            Disk::Live(tpm) => on.tpm = Some(Tpm { epoch: tpm.epoch + 1, ..*tpm }),
            Disk::Dead(_) if self.fault == Fault::SecondLife => on.tpm = self.before,
            Disk::Dead(tombstone) => on.source = Some(Source::moved(self.terms, tombstone.clone())),
            Disk::Waits(pending, tpm) => {
                on.waiting = Some(*tpm);
                on.destination = Destination::new(self.terms, self.kept, MOST, Some(*pending)).ok();
            }
            Disk::Empty => on.destination = Destination::new(self.terms, self.kept, MOST, None).ok(),
        }
        if let (Some(tpm), true) = (on.tpm, self.kept) {
            self.disk = Disk::Live(tpm);
        }
        self.on = Some(on);
    }

    /// Its power is gone.
    pub fn cut(&mut self) {
        self.on = None;
    }

    /// Whether it has power.
    pub const fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Whether only a boot can tell what is on its disk.
    pub const fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// The TPM, if it would answer a command now.
    pub fn answering(&self) -> Option<Tpm> {
        let On { tpm, source, destination, .. } = self.on.as_ref()?;
        let stopped = source.as_ref().is_some_and(|source| !source.answers()) && self.fault != Fault::DoesNotStop;
        let waits = destination.as_ref().is_some_and(|destination| !destination.answers());
        tpm.filter(|_| !stopped && (!waits || self.fault == Fault::EarlyLife))
    }

    /// A command: how many the TPM has answered now.
    pub fn command(&mut self) -> Option<u64> {
        let mut tpm = self.answering()?;
        tpm.commands += 1;
        tpm.epoch += 1;
        self.on.as_mut()?.tpm = Some(tpm);
        if self.kept {
            self.disk = Disk::Live(tpm);
        }
        Some(tpm.commands)
    }

    /// Takes the place of the source's side in a run: what makes it begins with this.
    pub fn bearer(&self) -> Option<Bearer<'static>> {
        let tpm = self.answering()?;
        Some(Bearer { identity: tpm.identity, epoch: tpm.epoch, kept: self.kept, grant: None })
    }

    /// Begins a run as the source.
    pub fn start(&mut self, source: Source<'t>) {
        if let Some(on) = &mut self.on {
            on.source = Some(source);
        }
    }

    /// The destination's side, if this is one.
    pub fn destination(&mut self) -> Option<&mut Destination<'t>> {
        self.on.as_mut()?.destination.as_mut()
    }

    /// The source's side, if there is a run or has been one.
    pub fn source(&self) -> Option<&Source<'t>> {
        self.on.as_ref()?.source.as_ref()
    }

    /// A run takes too long.
    pub fn give_up(&mut self) {
        if let Some(source) = self.on.as_mut().and_then(|on| on.source.as_mut()) {
            source.give_up();
        }
    }

    /// Asks whether the source is dead.
    pub fn ask(&mut self) -> Vec<Vec<u8>> {
        let Some(destination) = self.destination() else { return Vec::new() };
        destination.kept_again().map(<[u8]>::to_vec).into_iter().chain(destination.ask()).collect()
    }

    /// A message comes; how the write ends that it may lead to. What it says then.
    pub fn receive(&mut self, message: &[u8], write: Write, boot: &mut Boot<'_>, rng: &mut Seeded) -> Vec<Vec<u8>> {
        let Some(on) = &mut self.on else { return Vec::new() };
        if on.source.is_some() {
            self.at_source(message, write, boot, rng).unwrap_or_default()
        } else if on.destination.is_some() {
            self.at_destination(message, write, boot, rng).unwrap_or_default()
        } else {
            Vec::new()
        }
    }

    fn at_source(
        &mut self,
        message: &[u8],
        write: Write,
        boot: &mut Boot<'_>,
        rng: &mut Seeded,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let tpm = self.on.as_ref().and_then(|on| on.tpm);
        let Some(source) = self.on.as_mut().and_then(|on| on.source.as_mut()) else { return Ok(Vec::new()) };
        Ok(match (source.receive(message, boot)?, tpm) {
            (source::Next::Send(message), _) => vec![message],
            (source::Next::HandOver, Some(tpm)) => {
                let mut all = vec![source.hand_over(Wiped::of(tpm.state()), tpm.epoch, BOOT_NONCE, rng)?];
                while let Some(chunk) = source.next_chunk()? {
                    all.push(chunk);
                }
                all
            }
            (source::Next::Entomb(tombstone), _) => self.entomb(tombstone, write),
            _ => Vec::new(),
        })
    }

    fn entomb(&mut self, tombstone: Tombstone, write: Write) -> Vec<Vec<u8>> {
        let early = migration::message::Kind::Gone as u8;
        let receipt = [&[migration::message::VERSION, early, 0, 0][..], &tombstone.receipt.0].concat();
        if write == Write::NotBegun {
            self.on.as_mut().and_then(|on| on.source.as_mut()).into_iter().for_each(Source::not_entombed);
            return if self.fault == Fault::EarlyReceipt { vec![receipt] } else { Vec::new() };
        }
        self.before = self.on.as_ref().and_then(|on| on.tpm);
        let durable = self.write(Disk::Dead(tombstone), write);
        let fault = self.fault;
        let Some(on) = &mut self.on else {
            return if fault == Fault::EarlyReceipt { vec![receipt] } else { Vec::new() };
        };
        let Some(source) = &mut on.source else { return Vec::new() };
        if durable {
            on.tpm = None;
            return source.entombed().into_iter().collect();
        }
        source.unsure();
        if fault == Fault::GoesOn {
            on.source = None;
        }
        if fault == Fault::EarlyReceipt { vec![receipt] } else { Vec::new() }
    }

    fn at_destination(
        &mut self,
        message: &[u8],
        write: Write,
        boot: &mut Boot<'_>,
        rng: &mut Seeded,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let Some(destination) = self.destination() else { return Ok(Vec::new()) };
        Ok(match destination.receive(message, boot, rng)? {
            destination::Next::Nothing => Vec::new(),
            destination::Next::Send(message) => vec![message],
            destination::Next::Keep(pending) => {
                let Some(tpm) = Tpm::of(pending.identity, pending.epoch, destination.state()) else {
                    destination.not_kept();
                    return Ok(Vec::new());
                };
                self.keep(pending, tpm, write)?
            }
            destination::Next::Awake(arrival) => self.awake(arrival.beyond + 1, write)?,
        })
    }

    fn keep(&mut self, pending: Pending, tpm: Tpm, write: Write) -> Result<Vec<Vec<u8>>, Refusal> {
        let durable = self.fault == Fault::NothingKept || self.write(Disk::Waits(pending, tpm), write);
        let fault = self.fault;
        let Some(on) = &mut self.on else { return Ok(Vec::new()) };
        let Some(destination) = &mut on.destination else { return Ok(Vec::new()) };
        if !durable {
            destination.unsure();
            return Ok(Vec::new());
        }
        on.waiting = Some(tpm);
        if fault == Fault::EarlyLife {
            on.tpm = Some(tpm);
        }
        Ok(vec![destination.kept()?])
    }

    fn awake(&mut self, epoch: u64, write: Write) -> Result<Vec<Vec<u8>>, Refusal> {
        let waiting = self.on.as_ref().and_then(|on| on.waiting);
        let Some(tpm) = waiting.map(|tpm| Tpm { epoch, ..tpm }) else { return Ok(Vec::new()) };
        let durable = self.write(Disk::Live(tpm), write);
        let Some(on) = &mut self.on else { return Ok(Vec::new()) };
        let Some(destination) = &mut on.destination else { return Ok(Vec::new()) };
        if !durable {
            destination.unsure();
            return Ok(Vec::new());
        }
        let live = destination.live()?;
        on.tpm = Some(tpm);
        Ok(vec![live])
    }

    /// Whether it is known to be durable.
    fn write(&mut self, disk: Disk, write: Write) -> bool {
        if !self.kept {
            return true;
        }
        if matches!(write, Write::Good | Write::Cut(true) | Write::Error(true)) {
            self.disk = disk;
        }
        if matches!(write, Write::Cut(_)) {
            self.cut();
        }
        self.unsure |= matches!(write, Write::Error(_));
        write == Write::Good
    }
}

/// The TPM of the tests.
pub fn tpm(rng: &mut Seeded) -> Tpm {
    let [commands, epoch, ..] = octets::<4>(rng);
    Tpm { identity: IDENTITY, epoch: u64::from(epoch) + 1, commands: commands.into() }
}
