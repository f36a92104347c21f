//! The firmware's devices over MMIO: a state that is made on the disk there and opened at the next boot, and a program
//! behind the console there.

use super::{Totals, case};
use anyhow::{Result, ensure};
use host::boot::{self, Built};
use host::devices::{self, FileDisk, MMIO, MMIO_CONFIG, Programs};
use host::qemu::Folder;
use quoin_image::state::{Place, State, Wanted};

/// All of it.
pub fn run() -> Result<Totals> {
    let [disk, console] = MMIO.map(Place::Mmio);
    let setting = State { disk: Some((Wanted::Required, disk)), console: Some(console), ..devices::console() };
    let built = boot::build_kept("state-mmio.igvm", &setting)?;
    let folder = Folder::new()?;
    let path = folder.path().join("state.disk");
    FileDisk::prepare(&path)?;
    let mut totals = Totals::default();
    for (name, line) in [
        ("a state is made on a disk over MMIO", "manufactured for the disk"),
        ("the next boot has it", "taken from the disk, of epoch"),
    ] {
        totals += case(name, boots(&built, &path, &[line, "the console at Mmio(4272947712) leads to them"]));
    }
    Ok(totals)
}

fn boots(built: &Built, disk: &std::path::Path, lines: &[&str]) -> Result<()> {
    let programs = Programs::new()?;
    let options = [devices::memory(), devices::disk(disk), programs.options()].concat();
    let mut qemu = boot::start_with(built, &format!("ram=32\n{MMIO_CONFIG}"), boot::MEMORY_MIB, &options)?;
    let mut said = String::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| said.push_str(&event.line))?;
    for line in lines {
        ensure!(said.contains(line), "expected `{line}`: {said}");
    }
    Ok(())
}
