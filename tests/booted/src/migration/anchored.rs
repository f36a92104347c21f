//! A TPM moves with its anchors: what it leaves behind is old wherever it is put back, and so is what waited.

use super::machine::{Images, Machine};
use super::travel::{Order, travel};
use super::{KEPT, MIGRATED, Scene, Way, attested, prepared, sub};
use crate::{Totals, case};
use anchor::quorum::TooFew;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::anchors::Fleet;
use host::devices::Programs;
use host::qemu::Folder;
use migration::Refusal;
use migration::message::Kind;
use std::path::Path;

/// The last record that was to be registered is with the anchors.
const ANCHORED: u32 = 1 << 1;
/// The firmware's code for a state that is not the newest.
const OLD: u8 = 29;

/// All of it.
pub(super) fn run(folder: &Folder) -> Result<Totals> {
    let mut fleet = Fleet::start(&folder.path().join("anchors"), 3)?;
    let images = Images::build_with("anchored", &fleet.setting(TooFew::Refuse, false)?)?;
    let shared = Images::build_with("shared", &fleet.setting(TooFew::Refuse, true)?)?;
    let mut totals = case(
        "an update with anchors: each copy of before is old, at both sides",
        updated(&images, &fleet, &sub(folder, "anchored")?),
    );
    totals += case(
        "to another chip with a share as second root: what waits opens with the anchors only",
        shared_root(&shared, &mut fleet, &sub(folder, "shared")?),
    );
    totals += case(
        "too few of the destination's anchors answer: the source goes on, and moves later",
        away(&images, &mut fleet, &sub(folder, "away")?),
    );
    Ok(totals)
}

fn updated(images: &Images, fleet: &Fleet, place: &Path) -> Result<()> {
    let consoles = || Programs::behind(fleet.answers());
    let mut scene = Scene::begin_by(&consoles, KEPT | ANCHORED, images, place, Way::Update)?;
    let [before, waiting] = ["before", "waiting"].map(|name| place.join(name));
    fs::copy(&scene.disks[0], &before)?;
    let disk = scene.disks[1].clone();
    let mut copied = None;
    let journey = scene.travel(images, &mut |letter| {
        if letter.kind() == Some(Kind::Gone) && copied.is_none() {
            copied = Some(fs::copy(&disk, &waiting));
        }
        Order::Deliver
    })?;
    copied.context("no receipt was seen")??;
    scene.arrived(images, &journey)?;
    let Scene { disks, chips, source, mut destination, before: attested_before, .. } = scene;
    let epoch = attested(&mut destination, &images.new, &chips[1])?.epoch;
    drop(source);
    // The host puts back what the source had, and a copy of what waited, for which it has the receipt.
    let mut machine = Machine::start_by(consoles()?, &images.old, &chips[0], Some(&before), "")?;
    machine.ends(OLD)?;
    let mut copy = Machine::start_by(consoles()?, &images.new, &chips[1], Some(&waiting), "")?;
    let said = copy.ends(OLD)?;
    ensure!(said.contains(&format!("the anchors know epoch {epoch}")), "{said}");
    // What it has left is as good as ever.
    let mut left = Machine::start_by(consoles()?, &images.old, &chips[0], Some(&disks[0]), "")?;
    left.wait_for("whoever asks is given its receipt")?;
    drop((copy, left, destination));
    let mut destination = Machine::start_by(consoles()?, &images.new, &chips[1], Some(&disks[1]), "")?;
    let after = attested(&mut destination, &images.new, &chips[1])?;
    ensure!(after.keys == attested_before.keys && after.flags == KEPT | ANCHORED | MIGRATED, "{after:?}");
    Ok(())
}

fn shared_root(images: &Images, fleet: &mut Fleet, place: &Path) -> Result<()> {
    let answers = fleet.answers();
    let consoles = || Programs::behind(answers.clone());
    let mut scene = Scene::begin_by(&consoles, KEPT | ANCHORED, images, place, Way::Chip)?;
    let journey = scene.travel(images, &mut |letter| match letter.kind() {
        Some(Kind::Gone) => Order::End,
        _ => Order::Deliver,
    })?;
    ensure!(!journey.is_live, "the destination lives without the receipt");
    // It loses its power; without anchors what waits is not opened, with two of three it is.
    scene.destination.qemu.kill()?;
    fleet.only(&[2])?;
    let again = || Machine::start_by(consoles()?, &images.new, &scene.chips[1], Some(&scene.disks[1]), "");
    again()?.ends(30)?;
    fleet.only(&[0, 2])?;
    scene.destination = again()?;
    scene.destination.wait_for("waits for its receipt")?;
    let mut journey = travel(&mut scene.source, &scene.destination.programs, None, &mut |_| Order::Deliver)?;
    journey.last_answer = Some(std::time::Instant::now());
    let arrived = scene.arrived(images, &journey).map(drop);
    fleet.only(&[0, 1, 2])?;
    arrived
}

fn away(images: &Images, fleet: &mut Fleet, place: &Path) -> Result<()> {
    let here = fleet.answers();
    let mut scene = Scene::begin_by(&|| Programs::behind(here.clone()), KEPT | ANCHORED, images, place, Way::Update)?;
    // Nothing of the destination's gets through to them.
    let disk = prepared(place, "cut-off")?;
    let nobody = || Programs::behind(|message| (message.service == relay::service::ANCHORS).then(|| vec![Vec::new()]));
    let mut cut_off = Machine::start_by(nobody()?, &images.new, &scene.chips[1], Some(&disk), "")?;
    cut_off.wait_for("a TPM is to come")?;
    let grant = images.owner.grant(&images.old, &images.new)?;
    let journey = travel(&mut scene.source, &cut_off.programs, Some(&grant), &mut |_| Order::Deliver)?;
    ensure!(journey.refused.is_some_and(|(_, why)| why == Refusal::Anchors), "{:?}", journey.refused);
    ensure!(cut_off.has_said("too few anchors answer"), "the destination does not say why");
    let journey = scene.travel(images, &mut |_| Order::Deliver)?;
    scene.arrived(images, &journey).map(drop)
}
