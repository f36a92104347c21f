//! A firmware for 256 processors on a machine of eight: what the file reserves is taken, and holds what all of them
//! need, though most are not there.

use super::hostile::alive;
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::{self, Built};
use host::image::Image;
use host::{build, workspace};
use quoin_image::elf::Elf;
use quoin_image::guest::Guest;
use quoin_image::pack::pack_for;

/// Processors of the file, and of the machine.
const OF_THE_FILE: u32 = 256;
const OF_THE_MACHINE: u32 = 8;
/// KiB of the heap that 255 blocks take.
const BLOCKS: u64 = 255 * 76;

/// Boots until the guest runs, and uses it.
pub fn run(machine: &Built) -> Result<Totals> {
    let built = built(machine)?;
    let mut qemu = boot::start(&built, "")?;
    let mut said = Vec::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| said.push(event.line.clone()))?;
    let came_up = format!("quoin: processors {OF_THE_MACHINE} of {OF_THE_FILE}");
    let mut totals = case("the processors that are there come up, with memory for all", {
        if said.iter().any(|line| line.contains(&came_up)) { Ok(()) } else { Err(anyhow::anyhow!("{said:#?}")) }
    });
    totals += case("all blocks lie in what the file reserves", used(&said).and_then(is_reserved));
    totals += case("the TPM and attestation answer", alive(&mut qemu.relay()?));
    Ok(totals)
}

/// A file for all of them, with the register states of those that the machine has.
fn built(machine: &Built) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let guest = Guest { processors: OF_THE_FILE, ..Guest::from_elf(&Elf::read(&programs.guest())?)? };
    let bytes = pack_for(&Elf::read(&programs.firmware())?, Some(&guest), OF_THE_MACHINE)?;
    let path = workspace::target_dir()?.join("quoin-many.igvm");
    fs::write(&path, &bytes)?;
    Ok(Built { machine: machine.machine.clone(), image: Image::new(bytes)?, path })
}

/// KiB of the heap that are used and free.
fn used(said: &[String]) -> Result<(u64, u64)> {
    let line = said.iter().rfind(|line| line.contains("quoin: guest ")).context("no guest was started")?;
    let number = |before: &str, after: &str| {
        let rest = line.split_once(before)?.1;
        rest.split_once(after)?.0.parse().ok()
    };
    let numbers = number("; heap ", " KiB used").zip(number(" KiB used, ", " KiB free"));
    numbers.with_context(|| format!("no heap in: {line}"))
}

fn is_reserved((used, free): (u64, u64)) -> Result<()> {
    println!("     {used} KiB of the heap are used, {free} free");
    ensure!(used >= BLOCKS && free >= 1024, "{used} KiB are used, {free} free");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_reserved, used};

    #[test]
    fn what_is_used_is_read_and_judged() {
        let line = "quoin: guest started at VMPL2; heap 19806 KiB used, 5485 KiB free; stack 1 of 2 KiB used";
        assert_eq!(used(&[String::from(line)]).unwrap(), (19806, 5485));
        assert!(used(&[String::from("quoin: guest ")]).is_err());
        assert!(is_reserved((528, 4283)).is_err() && is_reserved((19806, 0)).is_err());
    }
}
