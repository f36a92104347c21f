//! Two machines with an operator's programs (`quoin-relay`): a relay at each console, and the carrier between them.

use super::machine::{FAILURE, GET_RANDOM, Images, Machine, SUCCESS};
use super::travel::{Journey, while_used};
use super::{KEPT, Scene, Way, found};
use anyhow::{Context, Result, ensure};
use core::cell::RefCell;
use fs_err as fs;
use host::devices::Programs;
use host::relays::Relay;
use host::{build, child};
use migration::message::Kind;
use relay::{Frames, frame};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// How often a carrier is sent away, after a second, before the source's console is there again.
const TRIES: u32 = 30;

/// What both cases begin with.
struct Hosts {
    programs: PathBuf,
    relays: [Relay; 2],
    scene: Scene,
    grant: PathBuf,
    receipt: PathBuf,
}

/// How a carrier has ended.
struct Ended {
    status: Option<i32>,
    /// What it has said, and complained of.
    said: String,
    /// The last answer of the source's TPM.
    last_answer: Option<Instant>,
}

impl Hosts {
    fn begin(images: &Images, place: &Path) -> Result<Self> {
        let programs = build::anchors()?;
        let relays = [Relay::for_carriers(&programs)?, Relay::for_carriers(&programs)?];
        let next = RefCell::new(relays.iter());
        let consoles = || elsewhere(next.borrow_mut().next().context("a third console")?);
        let scene = Scene::begin_by(&consoles, KEPT, images, place, Way::Chip)?;
        let grant = place.join("grant");
        fs::write(&grant, images.owner.grant(&images.old, &images.new)?)?;
        Ok(Self { programs, relays, scene, grant, receipt: place.join("receipt") })
    }

    /// Runs the carrier with these arguments, while the source's guest, if it has one, uses its TPM.
    fn carry(&mut self, arguments: &[&Path]) -> Result<Ended> {
        let mut command = child::command(self.programs.join("quoin-relay"));
        command.args(["carry", "--patience", "120"]).args(arguments);
        let (output, (last_answer, _)) = while_used(self.scene.source.relay.as_mut(), || command.output())?;
        let output = output?;
        let said = [output.stdout, output.stderr].map(|octets| String::from_utf8_lossy(&octets).into_owned()).concat();
        Ok(Ended { status: output.status.code(), said, last_answer })
    }

    /// From the source to this destination, by the owner's grant; the receipt is kept.
    fn carry_to(&mut self, destination: &Path) -> Result<Ended> {
        let (source, grant, receipt) = (self.relays[0].port(), self.grant.clone(), self.receipt.clone());
        let [from, to, by, keep] = ["--source", "--destination", "--grant", "--keep-receipt"].map(Path::new);
        self.carry(&[from, &source, to, destination, by, &grant, keep, &receipt])
    }
}

/// The source's relay is another one than that to which its console was led at first.
pub(super) fn moves(images: &Images, place: &Path) -> Result<()> {
    let mut hosts = Hosts::begin(images, place)?;
    hosts.relays[0].restart()?;
    let destination = hosts.relays[1].port();
    // Until QEMU has connected again: the relay lets in no carrier where there is no firmware.
    let mut ended = hosts.carry_to(&destination)?;
    for _ in 0..TRIES {
        if ended.status != Some(1) || !ended.said.contains("the relay of the source has closed") {
            break;
        }
        ended = hosts.carry_to(&destination)?;
    }
    ensure!(ended.status == Some(0), "{:?}: {}", ended.status, ended.said);
    ensure!(ended.said.ends_with("the TPM lives at the destination\n"), "{}", ended.said);
    let journey = Journey { is_live: true, last_answer: ended.last_answer, ..Journey::default() };
    hosts.scene.arrived(images, &journey).map(drop)
}

pub(super) fn brings_a_receipt(images: &Images, place: &Path) -> Result<()> {
    let mut hosts = Hosts::begin(images, place)?;
    let destination = hosts.relays[1].port();
    let gate = gate(place, destination.clone())?;
    let ended = hosts.carry_to(&gate)?;
    ensure!(ended.status == Some(1), "{:?}: {}", ended.status, ended.said);
    ensure!(ended.said.contains("the relay of the destination has closed"), "{}", ended.said);
    ensure!(hosts.scene.source.code(GET_RANDOM)? == FAILURE, "the source answers");
    ensure!(!hosts.scene.destination.has_said("quoin: guest"), "the destination has started a guest");
    let kept = fs::read(&hosts.receipt)?;
    ensure!(matches!(Kind::of(&kept), Ok((Kind::Gone, _))), "{kept:x?} is kept");
    hosts.scene.source.qemu.kill()?;
    hosts.scene.source.relay = None;
    hosts.scene.destination.qemu.kill()?;
    let (chip, disk) = (&hosts.scene.chips[1], &hosts.scene.disks[1]);
    hosts.scene.destination = Machine::start_by(elsewhere(&hosts.relays[1])?, &images.new, chip, Some(disk), "")?;
    hosts.scene.destination.wait_for("waits for its receipt")?;
    let receipt = hosts.receipt.clone();
    let ended = hosts.carry(&[Path::new("--destination"), &destination, Path::new("--receipt"), &receipt])?;
    ensure!(ended.status == Some(0), "{:?}: {}", ended.status, ended.said);
    let Scene { destination, belongings, .. } = &mut hosts.scene;
    ensure!(destination.code(GET_RANDOM)? == SUCCESS, "the destination does not answer");
    found(destination, belongings)
}

fn elsewhere(relay: &Relay) -> Result<Programs> {
    Programs::elsewhere(relay.lasting_options())
}

/// A way to a relay's port on which *gone* is lost, and the connection with it.
fn gate(place: &Path, port: PathBuf) -> Result<PathBuf> {
    let path = place.join("gate");
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
    thread::spawn(move || -> io::Result<()> {
        let (carrier, _) = listener.accept()?;
        let relay = UnixStream::connect(port)?;
        let (mut from, mut to) = (relay.try_clone()?, carrier.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        let lost = until_gone(&carrier, &relay);
        relay.shutdown(Shutdown::Both)?;
        carrier.shutdown(Shutdown::Both)?;
        lost
    });
    Ok(path)
}

fn until_gone(mut carrier: impl Read, mut relay: impl Write) -> io::Result<()> {
    let (mut frames, mut octet) = (Frames::default(), [0]);
    loop {
        carrier.read_exact(&mut octet)?;
        let (_, Some(Ok(message))) = frames.take(&octet) else { continue };
        if matches!(Kind::of(&message.octets), Ok((Kind::Gone, _))) {
            return Ok(());
        }
        relay.write_all(&frame(message.service, message.number, &message.octets).unwrap_or_default())?;
    }
}
