//! A move that is cut after every message, and in the middle of messages. Behind each cut at most one TPM answers; in
//! the end it is at the destination, with all that it had.

use super::machine::{Client, FAILURE, GET_RANDOM, Images, Machine, SUCCESS};
use super::travel::{Letter, Order, To, travel};
use super::{Scene, Way, caught, found, sub};
use anyhow::{Context, Result, ensure};
use host::qemu::Folder;
use host::timeline;
use migration::message::Kind;
use std::path::Path;
use std::time::Instant;

/// Whose power is lost behind a cut.
#[derive(Clone, Copy, Debug)]
struct Outage {
    source: bool,
    destination: bool,
}

impl Outage {
    /// A letter is lost. Who loses its power has got half of the frame before.
    fn lose(self, letter: &Letter) -> Order {
        let receivers = if letter.to == To::Source { self.source } else { self.destination };
        if receivers { Order::Part(letter.octets.len() / 2) } else { Order::End }
    }
}

const OUTAGES: [Outage; 4] = [
    Outage { source: false, destination: false },
    Outage { source: true, destination: false },
    Outage { source: false, destination: true },
    Outage { source: true, destination: true },
];

/// Messages of more octets are cut at [`PLACES`] places, the others at every octet.
const SHORT: usize = 128;
const PLACES: usize = 40;

/// One move; the outages by turns.
pub(super) fn by_turns(images: &Images, folder: &Folder) -> Result<()> {
    after_every_message(images, &sub(folder, "turns")?, 0).map(drop)
}

/// All outages after every message, and cuts within messages.
pub(super) fn all(images: &Images, folder: &Folder) -> Result<String> {
    let begun = Instant::now();
    let mut cuts = 0;
    for first in 0..OUTAGES.len() {
        cuts += after_every_message(images, &sub(folder, &format!("messages-{first}"))?, first)?;
        timeline::say(begun.elapsed(), "cuts", &format!("{cuts} after messages"));
    }
    let within = within_messages(images, &sub(folder, "octets")?, begun)?;
    Ok(format!("{cuts} after messages, {within} within: one TPM or none, and it lives in the end"))
}

/// Cuts one move after each of its messages in a row. How many that were.
fn after_every_message(images: &Images, place: &Path, first: usize) -> Result<usize> {
    let mut cutting = Cutting::begin(images, place)?;
    let mut outages = OUTAGES.into_iter().cycle().skip(first);
    let mut next = || outages.next().unwrap_or(OUTAGES[0]);
    let mut count = 0;
    loop {
        let outage = next();
        let (kind, _) = cutting.lose(count, outage)?;
        let is_dead = kind == Kind::Gone;
        let done = if is_dead { cutting.is_dead(outage) } else { cutting.stays(outage) };
        done.with_context(|| format!("{kind:?}, message {count}, is lost; {outage:?}"))?;
        count += 1;
        if is_dead {
            break;
        }
    }
    // From here on the destination asks. Question, receipt, and the word that it lives are lost.
    for kind in [Kind::Ask, Kind::Gone, Kind::Live] {
        let outage = next();
        cutting.lose_of_the_receipt(kind, outage)?;
        let done = if kind == Kind::Live { cutting.has_moved(outage) } else { cutting.is_dead(outage) };
        done.with_context(|| format!("{kind:?} is lost, the source is dead; {outage:?}"))?;
        count += 1;
    }
    Ok(count)
}

/// Delivers each message of a move without its end, the short ones cut at every octet. Each is refused, and the TPM is
/// where it was; it moves at last. How many cuts that were.
fn within_messages(images: &Images, place: &Path, begun: Instant) -> Result<usize> {
    let mut cutting = Cutting::begin(images, place)?;
    let mut count = 0;
    for number in 0.. {
        let (kind, octets) = cutting.lose(number, OUTAGES[0])?;
        let is_dead = kind == Kind::Gone;
        for end in places(octets) {
            let done = if is_dead { cutting.shortened_receipt(end) } else { cutting.shortened(number, end) };
            done.with_context(|| format!("{kind:?}, message {number}, {end} octets of {octets}"))?;
            count += 1;
        }
        timeline::say(begun.elapsed(), &format!("{kind:?}").to_lowercase(), &format!("{octets} octets; {count} cuts"));
        if is_dead {
            break;
        }
        cutting.stays(OUTAGES[0])?;
    }
    let (source, destination) = (&mut cutting.scene.source, &cutting.scene.destination.programs);
    let journey = travel(source, destination, None, &mut |_| Order::Deliver)?;
    ensure!(journey.is_live, "it does not live in the end: {:?}", journey.refused);
    cutting.has_moved(OUTAGES[0])?;
    Ok(count)
}

/// Where a message of so many octets is cut.
fn places(octets: usize) -> impl Iterator<Item = usize> {
    (0..octets).step_by(if octets > SHORT { octets.div_ceil(PLACES) } else { 1 })
}

/// Which letters are the steps of a run: a destination asks now and then, and says once more what it has kept, of this
/// run or of the one before.
#[derive(Default)]
struct Steps {
    /// The state is on its way.
    is_sent: bool,
    is_kept: bool,
    count: usize,
}

impl Steps {
    /// The number of a letter, from 0, if it is a step.
    fn number(&mut self, letter: &Letter) -> Option<usize> {
        let is_step = match letter.kind() {
            Some(Kind::Ask) => false,
            Some(Kind::Kept) => self.is_sent && !core::mem::replace(&mut self.is_kept, true),
            _ => true,
        };
        self.is_sent |= letter.kind() == Some(Kind::Chunk);
        self.count += usize::from(is_step);
        is_step.then(|| self.count - 1)
    }
}

/// A move that is cut again and again.
struct Cutting<'i> {
    scene: Scene,
    images: &'i Images,
    /// How often the TPM was started since all was made.
    starts: u32,
    /// A state is durable at the destination, and waits.
    waits: bool,
}

impl<'i> Cutting<'i> {
    fn begin(images: &'i Images, place: &Path) -> Result<Self> {
        Ok(Self { scene: Scene::begin(images, place, Way::Chip)?, images, starts: 0, waits: false })
    }

    /// Moves the TPM by so many steps. What the next one is, and of how many octets; it is lost.
    fn lose(&mut self, number: usize, outage: Outage) -> Result<(Kind, usize)> {
        let mut steps = Steps::default();
        let journey = self.scene.travel(self.images, &mut |letter| {
            if steps.number(letter) == Some(number) { outage.lose(letter) } else { Order::Deliver }
        })?;
        ensure!(journey.refused.is_none() && !journey.is_live, "refused: {:?}", journey.refused);
        let last = journey.letters.last().context("nothing was sent")?;
        let kind = last.kind().context("a letter of no kind")?;
        self.waits |= matches!(kind, Kind::Kept | Kind::Gone);
        Ok((kind, last.octets.len()))
    }

    /// The first letter of this kind is lost that is sent for the receipt.
    fn lose_of_the_receipt(&mut self, kind: Kind, outage: Outage) -> Result<()> {
        let Scene { source, destination, .. } = &mut self.scene;
        let journey = travel(source, &destination.programs, None, &mut |letter| {
            if letter.kind() == Some(kind) { outage.lose(letter) } else { Order::Deliver }
        })?;
        ensure!(journey.refused.is_none() && !journey.is_live, "refused: {:?}", journey.refused);
        Ok(())
    }

    /// Moves the TPM; of one message only so many octets arrive. It is refused, and the source answers on.
    fn shortened(&mut self, number: usize, end: usize) -> Result<()> {
        let mut steps = Steps::default();
        let journey = self.scene.travel(self.images, &mut |letter| match steps.number(letter) {
            Some(step) if step == number => Order::Instead(letter.octets[..end].to_vec()),
            _ => Order::Deliver,
        })?;
        ensure!(journey.refused.is_some(), "nobody refuses it");
        ensure!(journey.letters.iter().all(|letter| letter.kind() != Some(Kind::Gone)), "the source gives its receipt");
        self.answers_at_the_source()
    }

    /// Of the receipt only so many octets arrive. It is refused, and the destination asks again.
    fn shortened_receipt(&mut self, end: usize) -> Result<()> {
        let Scene { source, destination, .. } = &mut self.scene;
        let journey = travel(source, &destination.programs, None, &mut |letter| match letter.kind() {
            Some(Kind::Gone) => Order::Instead(letter.octets[..end].to_vec()),
            _ => Order::Deliver,
        })?;
        ensure!(journey.refused.is_some_and(|(who, _)| who == To::Destination), "it ends by {:?}", journey.refused);
        self.is_dead(OUTAGES[0])
    }

    fn answers_at_the_source(&mut self) -> Result<()> {
        let Scene { source, destination, .. } = &mut self.scene;
        ensure!(source.code(GET_RANDOM)? == SUCCESS, "the source does not answer");
        ensure!(!destination.has_said("quoin: guest"), "the destination has started a guest");
        Ok(())
    }

    /// It is at the source with all that it had, and not at the destination.
    fn stays(&mut self, outage: Outage) -> Result<()> {
        if outage.source {
            let Scene { source, disks, chips, .. } = &mut self.scene;
            source.qemu.kill()?;
            *source = Machine::started(&self.images.old, &chips[0], Some(&disks[0]), "")?;
            self.starts += 1;
        }
        self.answers_at_the_source()?;
        self.is_at(To::Source)?;
        self.start_destination(outage)
    }

    /// It answers at neither.
    fn is_dead(&mut self, outage: Outage) -> Result<()> {
        self.source_is_dead(outage)?;
        ensure!(!self.scene.destination.has_said("quoin: guest"), "the destination has started a guest");
        self.start_destination(outage)
    }

    /// It is at the destination with all that it had, and not at the source.
    fn has_moved(&mut self, outage: Outage) -> Result<()> {
        self.source_is_dead(outage)?;
        if outage.destination {
            let Scene { destination, disks, chips, .. } = &mut self.scene;
            destination.qemu.kill()?;
            *destination = Machine::started(&self.images.new, &chips[1], Some(&disks[1]), "")?;
            self.starts += 1;
        }
        self.is_at(To::Destination)
    }

    fn source_is_dead(&mut self, outage: Outage) -> Result<()> {
        let Scene { source, disks, chips, .. } = &mut self.scene;
        if outage.source {
            source.qemu.kill()?;
            *source = Machine::start(&self.images.old, &chips[0], Some(&disks[0]), "")?;
            source.wait_for("whoever asks is given its receipt")?;
            ensure!(!source.has_said("quoin: guest"), "the source has started a guest");
        } else if source.relay.is_some() {
            ensure!(source.code(GET_RANDOM)? == FAILURE, "the source answers");
        }
        Ok(())
    }

    fn start_destination(&mut self, outage: Outage) -> Result<()> {
        if !outage.destination {
            return Ok(());
        }
        let Scene { destination, disks, chips, .. } = &mut self.scene;
        destination.qemu.kill()?;
        *destination = Machine::start(&self.images.new, &chips[1], Some(&disks[1]), "")?;
        destination.wait_for(if self.waits { "waits for its receipt" } else { "a TPM is to come" }).map(drop)
    }

    fn is_at(&mut self, place: To) -> Result<()> {
        let Scene { source, destination, belongings, .. } = &mut self.scene;
        let machine = if place == To::Source { source } else { destination };
        if self.starts == 0 {
            return found(machine, belongings);
        }
        let (relay, starts) = (machine.payload()?, self.starts);
        caught(|| belongings.find_later(&mut Client(relay), starts))
    }
}
