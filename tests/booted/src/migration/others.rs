//! Guests of other kinds: one that says nothing, and one with a vTPM as Azure's.

use super::machine::{GET_RANDOM, Images, Machine, SUCCESS};
use super::travel::{Journey, Order, carry, travel};
use super::{made, prepared, sub};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use client::command::response_code;
use host::psp::Identity;
use host::qemu::Folder;
use host::relay::Relay;
use std::path::Path;

/// Both.
pub(super) fn run(images: &Images, folder: &Folder) -> Result<Totals> {
    let mut totals = case(
        "a guest that says nothing: its TPM leaves, where the host runs VMPL0 now and then",
        idle(images, &sub(folder, "idle")?),
    );
    totals += case("a vTPM as Azure's moves, and is one there", azures(&sub(folder, "azure")?));
    Ok(totals)
}

fn idle(images: &Images, place: &Path) -> Result<()> {
    let chip = Identity::development();
    let disks = [prepared(place, "source")?, prepared(place, "destination")?];
    // The payload waits at its serial port, and halts.
    let mut source = Machine::started(&images.old, &chip, Some(&disks[0]), "visit=1")?;
    made(&mut source)?;
    let mut destination = Machine::start(&images.new, &chip, Some(&disks[1]), "")?;
    destination.wait_for("a TPM is to come")?;
    let grant = images.owner.grant(&images.old, &images.new)?;
    let mut journey = Journey::default();
    carry(&source.programs, &destination.programs, Some(&grant), &mut |_| Order::Deliver, &mut journey)?;
    ensure!(journey.is_live, "it has not arrived: {:?}", journey.refused);
    ensure!(destination.code(GET_RANDOM)? == SUCCESS, "it does not answer there");
    Ok(())
}

/// TPM2_ReadPublic of the attestation key, and TPM2_NV_Read of MEASUREMENT in the report, by the owner.
const READ_AK: &[u8] = &[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73, 0x81, 0, 0, 3];
const READ_REPORT: &[u8] = &[
    0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e, 0x40, 0, 0, 1, 0x01, 0x40, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0,
    48, 0, 0xb0,
];
/// TPM2_ChangePPS, which a platform hierarchy that is closed refuses: TPM_RC_HIERARCHY of the first handle.
const CHANGE_PPS: &[u8] =
    &[0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x25, 0x40, 0, 0, 0x0c, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
const HIERARCHY: u32 = 0x185;

fn azures(place: &Path) -> Result<()> {
    let images = Images::build_azure()?;
    let chips = [Identity::development(), Identity::another()];
    let disks = [prepared(place, "source")?, prepared(place, "destination")?];
    let mut source = Machine::start(&images.old, &chips[0], Some(&disks[0]), "")?;
    let mut destination = Machine::start(&images.new, &chips[1], Some(&disks[1]), "")?;
    destination.wait_for("a TPM is to come")?;
    let before = seen(&mut source)?;
    let grant = images.owner.grant(&images.old, &images.new)?;
    let journey = travel(&mut source, &destination.programs, Some(&grant), &mut |_| Order::Deliver)?;
    ensure!(journey.is_live, "it has not arrived: {:?}", journey.refused);
    let after = seen(&mut destination)?;
    ensure!(before.0 == after.0, "another attestation key");
    let [here, there] = [&images.old, &images.new].map(|built| built.image.launch.digest);
    ensure!(before.1 == here && after.1 == there, "the reports are of other images: {:x?}, {:x?}", before.1, after.1);
    Ok(())
}

/// The attestation key's public area and the measurement in the report, of one whose platform hierarchy is closed.
fn seen(machine: &mut Machine) -> Result<(Vec<u8>, [u8; 48])> {
    let relay = machine.payload()?;
    let mut run = |command: &[u8], code: u32| -> Result<Vec<u8>> {
        let response = relay.tpm(command)?;
        let said = response_code(&response);
        ensure!(said == code, "{said:#x} to {command:x?}");
        Ok(response)
    };
    let key = run(READ_AK, SUCCESS)?;
    let report = run(READ_REPORT, SUCCESS)?;
    run(CHANGE_PPS, HIERARCHY)?;
    // Behind the parameters' size and that of what was read.
    let measurement = report.get(16..).and_then(|read| read.get(..48)).context("a report that is too short")?;
    Ok((key, measurement.try_into()?))
}
