//! A TPM that moves from one running firmware to another, between machines with different mock chips
//! (docs/migration.md).

mod anchored;
mod carrier;
mod cuts;
mod linux;
mod machine;
mod others;
mod refusals;
mod travel;

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use host::devices::{FileDisk, Programs};
use host::psp::Identity;
use host::qemu::Folder;
use host::timeline;
use machine::{Attested, Client, FAILURE, GET_RANDOM, Images, Machine, SUCCESS, attested};
use migration::message::Kind;
use moves::belongings::Belongings;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Instant;
use travel::{Journey, Letter, Order, To, travel};

/// Bits of the state's flags.
const KEPT: u32 = 1;
const MIGRATED: u32 = 8;
/// How far a TPM's clock may go while it moves on an emulated computer, which is busy.
const MOST_MS: u64 = 600_000;

/// What `cargo xtask migrate` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To another chip, with a new firmware.
    Chip,
    /// To a new firmware on the same chip: an update.
    Update,
}

/// Moves a TPM as told, and says each step.
pub fn show(way: Way) -> Result<()> {
    let images = Images::build()?;
    let folder = Folder::new()?;
    let mut scene = Scene::begin(&images, folder.path(), way)?;
    let begun = Instant::now();
    let journey = scene.travel(&images, &mut |letter| {
        let to = if letter.to == To::Source { "to the source" } else { "to the destination" };
        let kind = letter.kind().map_or_else(|| String::from("?"), |kind| format!("{kind:?}").to_lowercase());
        timeline::say(begun.elapsed(), &kind, &format!("{} octets {to}", letter.octets.len()));
        Order::Deliver
    })?;
    let silence = scene.arrived(&images, &journey)?;
    timeline::say(begun.elapsed(), "it is all there", "keys, objects, PCRs, the session, clock and counts");
    println!(
        "from the last answer of the source to the first of the destination: {:.1} s, on an emulated computer and with \
         the start of a guest; natively: cargo xtask simulate migration-time",
        silence.as_secs_f64()
    );
    scene.later(&images)?;
    timeline::say(begun.elapsed(), "both started again", "the source gives its receipt, the destination has the TPM");
    Ok(())
}

/// A source whose TPM has something, and a destination that waits.
struct Scene {
    disks: [PathBuf; 2],
    chips: [Identity; 2],
    source: Machine,
    destination: Machine,
    belongings: Belongings,
    before: Attested,
    /// Flags of the state wherever the TPM lives.
    flags: u32,
}

/// How a machine's console is made.
type Consoles<'a> = &'a dyn Fn() -> Result<Programs>;

impl Scene {
    fn begin(images: &Images, folder: &Path, way: Way) -> Result<Self> {
        Self::begin_by(&Programs::new, KEPT, images, folder, way)
    }

    fn begin_by(consoles: Consoles<'_>, flags: u32, images: &Images, folder: &Path, way: Way) -> Result<Self> {
        let there = if way == Way::Chip { Identity::another() } else { Identity::development() };
        let chips = [Identity::development(), there];
        let disks = [prepared(folder, "source")?, prepared(folder, "destination")?];
        let mut source = Machine::start_by(consoles()?, &images.old, &chips[0], Some(&disks[0]), "")?;
        source.start_tpm()?;
        let belongings = made(&mut source)?;
        let before = attested(&mut source, &images.old, &chips[0])?;
        ensure!(before.flags == flags && before.origin == [0; 32], "flags {:#x} at the source", before.flags);
        timeline::say(source.qemu.elapsed(), "the source", "a TPM with keys, an index, a session in use");
        let mut destination = Machine::start_by(consoles()?, &images.new, &chips[1], Some(&disks[1]), "")?;
        destination.wait_for("a TPM is to come")?;
        timeline::say(destination.qemu.elapsed(), "the destination", "waits for a TPM, without a guest");
        Ok(Self { disks, chips, source, destination, belongings, before, flags })
    }

    fn travel(&mut self, images: &Images, hosts: &mut dyn FnMut(&Letter) -> Order) -> Result<Journey> {
        let grant = images.owner.grant(&images.old, &images.new)?;
        travel(&mut self.source, &self.destination.programs, Some(&grant), hosts)
    }

    /// All is there, and nothing here. How long no TPM answered.
    fn arrived(&mut self, images: &Images, journey: &Journey) -> Result<Duration> {
        ensure!(journey.is_live, "it has not arrived: {:?}", journey.refused);
        let code = self.destination.code(GET_RANDOM)?;
        let silence = journey.last_answer.context("the source has answered nothing")?.elapsed();
        ensure!(code == SUCCESS, "the destination's first answer is {code:#x}");
        found(&mut self.destination, &mut self.belongings)?;
        let after = attested(&mut self.destination, &images.new, &self.chips[1])?;
        let origin = &images.old.image.launch.digest[..32];
        ensure!(after.identity == self.before.identity && after.keys == self.before.keys, "another TPM");
        ensure!(after.flags == self.flags | MIGRATED && after.origin == origin, "it does not say where it came from");
        ensure!(after.epoch > self.before.epoch, "epoch {} after {}", after.epoch, self.before.epoch);
        ensure!(self.source.code(GET_RANDOM)? == FAILURE, "the source answers");
        ensure!(attested(&mut self.source, &images.old, &self.chips[0]).is_err(), "the source attests its TPM");
        ensure!(self.source.has_said("the TPM has moved"), "the source says nothing of it");
        Ok(silence)
    }

    /// Both are started once more.
    fn later(self, images: &Images) -> Result<()> {
        let Self { disks, chips, source, destination, belongings, before, .. } = self;
        drop((source, destination));
        let mut source = Machine::start(&images.old, &chips[0], Some(&disks[0]), "")?;
        source.wait_for("whoever asks is given its receipt")?;
        let mut destination = Machine::started(&images.new, &chips[1], Some(&disks[1]), "")?;
        let relay = destination.payload()?;
        caught(|| belongings.find_later(&mut Client(relay), 1))?;
        let after = attested(&mut destination, &images.new, &chips[1])?;
        ensure!(after.keys == before.keys && after.flags == KEPT | MIGRATED, "{after:?}");
        ensure!(!source.has_said("quoin: guest"), "the source has started a guest");
        Ok(())
    }
}

fn prepared(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    FileDisk::prepare(&path)?;
    Ok(path)
}

fn made(machine: &mut Machine) -> Result<Belongings> {
    let relay = machine.payload()?;
    caught(|| Belongings::make(&mut Client(relay)))
}

fn found(machine: &mut Machine, belongings: &mut Belongings) -> Result<()> {
    let relay = machine.payload()?;
    caught(|| belongings.find(&mut Client(relay), MOST_MS))
}

/// What asserts, as a case.
fn caught<R>(work: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| anyhow::anyhow!("it is not as it was: see above"))
}

/// Cuts moves after every message with every loss of power, and the messages themselves; what was done.
pub fn cut() -> Result<String> {
    let images = Images::build()?;
    let folder = Folder::new()?;
    cuts::all(&images, &folder)
}

/// An update of the firmware under Linux: what it has sealed before, it unseals behind it.
pub fn under_linux() -> Result<Totals> {
    linux::run()
}

/// The suite's short form.
pub fn run() -> Result<Totals> {
    let images = Images::build()?;
    let folder = Folder::new()?;
    let mut totals =
        case("a TPM moves to a new firmware on another chip, and lives on there alone", moved(&images, &folder));
    totals += case("an update: to a new firmware on the same chip", updated(&images, &folder));
    totals +=
        case("the receipt is lost: the destination asks, also after its next boot", receipt_lost(&images, &folder));
    totals += case("the word that the state is kept is lost: the source goes on", kept_lost(&images, &folder));
    totals += case("it is lost once, and said again with the next question", kept_said_again(&images, &folder));
    totals += case("it is lost each time, and the questions get through", questions_only(&images, &folder));
    totals += case("a cut after every message, with every loss of power by turns", cuts::by_turns(&images, &folder));
    totals += case(
        "an operator's relays and carrier move it; one of the relays was started again",
        carrier::moves(&images, &sub(&folder, "carried")?),
    );
    totals += case(
        "the carrier loses the receipt that it has kept, and brings it after both machines were ended",
        carrier::brings_a_receipt(&images, &sub(&folder, "kept-receipt")?),
    );
    totals += refusals::run(&images)?;
    Ok(totals)
}

/// The same with anchors, and for other guests.
pub fn others() -> Result<Totals> {
    let folder = Folder::new()?;
    let mut totals = anchored::run(&folder)?;
    totals += others::run(&Images::build()?, &folder)?;
    Ok(totals)
}

/// And from there to the first chip again, by the setting that lets this measurement follow itself.
fn moved(images: &Images, folder: &Folder) -> Result<()> {
    let place = sub(folder, "moved")?;
    let mut scene = Scene::begin(images, &place, Way::Chip)?;
    let journey = scene.travel(images, &mut |_| Order::Deliver)?;
    scene.arrived(images, &journey)?;
    let disk = prepared(&place, "third")?;
    let mut third = Machine::start(&images.new, &scene.chips[0], Some(&disk), "")?;
    third.wait_for("a TPM is to come")?;
    let journey = travel(&mut scene.destination, &third.programs, Some(&[]), &mut |_| Order::Deliver)?;
    ensure!(journey.is_live, "it has not arrived there: {:?}", journey.refused);
    found(&mut third, &mut scene.belongings)?;
    let after = attested(&mut third, &images.new, &scene.chips[0])?;
    ensure!(after.origin == images.new.image.launch.digest[..32] && after.keys == scene.before.keys, "{after:?}");
    Ok(())
}

fn updated(images: &Images, folder: &Folder) -> Result<()> {
    let mut scene = Scene::begin(images, &sub(folder, "updated")?, Way::Update)?;
    let journey = scene.travel(images, &mut |_| Order::Deliver)?;
    scene.arrived(images, &journey)?;
    scene.later(images)
}

/// The hosts lose *gone*; then the destination loses its power, and asks when it has it again.
fn receipt_lost(images: &Images, folder: &Folder) -> Result<()> {
    let mut scene = Scene::begin(images, &sub(folder, "receipt")?, Way::Chip)?;
    let journey = scene.travel(images, &mut |letter| match letter.kind() {
        Some(Kind::Gone) => Order::End,
        _ => Order::Deliver,
    })?;
    ensure!(!journey.is_live && scene.source.code(GET_RANDOM)? == FAILURE, "the source answers, or the destination");
    ensure!(!scene.destination.has_said("quoin: guest"), "the destination has started a guest");
    scene.destination.qemu.kill()?;
    scene.destination = Machine::start(&images.new, &scene.chips[1], Some(&scene.disks[1]), "")?;
    scene.destination.wait_for("waits for its receipt")?;
    let mut journey = travel(&mut scene.source, &scene.destination.programs, None, &mut |_| Order::Deliver)?;
    // What was the source's last answer is long ago.
    journey.last_answer = Some(Instant::now());
    scene.arrived(images, &journey).map(drop)
}

/// The hosts lose *kept*: the source goes on, and moves when it is asked again.
fn kept_lost(images: &Images, folder: &Folder) -> Result<()> {
    let mut scene = Scene::begin(images, &sub(folder, "kept")?, Way::Chip)?;
    let journey = scene.travel(images, &mut |letter| match letter.kind() {
        Some(Kind::Kept) => Order::End,
        _ => Order::Deliver,
    })?;
    ensure!(!journey.is_live && scene.source.code(GET_RANDOM)? == SUCCESS, "the source does not go on");
    ensure!(scene.source.has_said("the TPM stays: it was given up"), "the source says nothing of it");
    found(&mut scene.source, &mut scene.belongings)?;
    let journey = scene.travel(images, &mut |_| Order::Deliver)?;
    scene.arrived(images, &journey).map(drop)
}

/// The hosts lose the first *kept* only, and carry all else.
fn kept_said_again(images: &Images, folder: &Folder) -> Result<()> {
    let mut scene = Scene::begin(images, &sub(folder, "kept-again")?, Way::Chip)?;
    let mut is_lost = false;
    let journey = scene.travel(images, &mut |letter| match letter.kind() {
        Some(Kind::Kept) if !is_lost => {
            is_lost = true;
            Order::Lose
        }
        _ => Order::Deliver,
    })?;
    let kept = journey.letters.iter().filter(|letter| letter.kind() == Some(Kind::Kept)).count();
    ensure!(kept > 1, "it was said {kept} times");
    scene.arrived(images, &journey).map(drop)
}

/// Questions, one a second, that the hosts carry while the source's patience is less.
const QUESTIONS: u32 = 20;

/// The hosts lose each *kept*, and carry the questions for the receipt: these hold the source's guest for a while only.
fn questions_only(images: &Images, folder: &Folder) -> Result<()> {
    let mut scene = Scene::begin(images, &sub(folder, "questions")?, Way::Chip)?;
    let mut questions = 0;
    let journey = scene.travel(images, &mut |letter| match letter.kind() {
        Some(Kind::Kept) => Order::Lose,
        Some(Kind::Ask) if questions == QUESTIONS => Order::End,
        Some(Kind::Ask) => {
            questions += 1;
            Order::Deliver
        }
        _ => Order::Deliver,
    })?;
    ensure!(!journey.is_live && scene.source.code(GET_RANDOM)? == SUCCESS, "the source does not go on");
    ensure!(scene.source.has_said("the TPM stays: it was given up"), "the source says nothing of it");
    found(&mut scene.source, &mut scene.belongings)
}

fn sub(folder: &Folder, name: &str) -> Result<PathBuf> {
    let path = folder.path().join(name);
    fs_err::create_dir(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use host::psp::Identity;
    use migration::chain::{AMD, DEVELOPMENT};
    use quoin_verify::roots;
    use sha2::{Digest, Sha384};

    /// The verifier has AMD's certificates, and the firmware their digests.
    #[test]
    fn the_firmwares_roots_are_the_verifiers() {
        assert_eq!(AMD.len(), roots::AMD.len());
        for (root, verifiers) in AMD.iter().zip(roots::AMD.iter()) {
            assert_eq!(root.sha384[..], Sha384::digest(&verifiers.ark)[..], "{:?}", root.generation);
        }
        for chip in [Identity::development(), Identity::another()] {
            assert_eq!(DEVELOPMENT.sha384[..], Sha384::digest(chip.ark)[..]);
        }
    }
}
