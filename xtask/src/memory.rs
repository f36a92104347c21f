//! `cargo xtask memory`: what the firmware takes of memory, for guests of one to 256 vCPUs and of 384 MiB to 4 TiB.

use anyhow::{Context, Result, ensure};
use host::boot::{self, Built};
use host::pages::{self, Block};
use host::{build, debian, qemu};
use quoin_image::elf::Elf;
use quoin_image::guest::{RESERVE_BLOCK, reserved_blocks};
use std::process::Command;

/// vCPUs of the table's guests, and how many of their processors start with memory of the file's.
const VCPUS: [(u32, u32); 6] = [(1, 1), (4, 4), (64, 64), (256, 256), (64, 16), (256, 16)];
/// And their RAM in bytes.
const RAM: [(&str, u64); 3] = [("384 MiB", 384 << 20), ("16 GiB", 16 << 30), ("4 TiB", 4 << 40)];
/// What the machine can boot of these, each with 384 MiB.
const BOOTED: [u32; 3] = [1, 4, 64];
/// What the linker knows of.
const OWN: u64 = 0x80_0000;
const END: u64 = 0x4000_0000 + OWN;
/// KiB by which a real boot may differ from what was computed: numbers are rounded, and the heap has holes.
const TOLERANCE: u64 = 16;

/// KiB that a firmware has said that it has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Said {
    map: u64,
    used: u64,
    free: u64,
}

/// A guest, and what its firmware's heap holds in bytes.
struct Row {
    vcpus: u32,
    from_file: u32,
    ram: &'static str,
    reserve: u64,
    map: u64,
    processors: u64,
    used: u64,
    free: u64,
    /// Pages that the guest deposits until all of its processors run.
    deposited: u64,
}

/// Boots what can be booted, computes the rest by the firmware's own code, and keeps the table.
pub fn run() -> Result<()> {
    debian::ensure(&[qemu::PROGRAM])?;
    let mut said = Vec::new();
    for vcpus in BOOTED {
        let heard = boot_one(&boot::build_for(vcpus)?)?;
        println!("booted with {vcpus}: {heard:?}");
        said.push((vcpus, heard));
    }
    let firmware = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.firmware())?;
    let heap = END - firmware.address("__firmware_end")?;
    let (_, first) = *said.first().context("nothing was booted")?;
    let rows = compute(heap, (first.used - first.map) << 10)?;
    for (vcpus, said) in &said {
        let row = rows.iter().find(|row| row.from_file == *vcpus).context("no such row")?;
        let (computed, got) = (row.used >> 10, said.used);
        ensure!(computed.abs_diff(got) <= TOLERANCE, "{vcpus} vCPUs: {computed} KiB computed, {got} KiB booted");
    }
    let text = table(&rows, &said);
    println!("{text}");
    pages::keep(Block::Memory, &text)
}

fn boot_one(built: &Built) -> Result<Said> {
    let mut qemu = boot::start(built, "")?;
    let mut said = Said::default();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| hear(&mut said, &event.line))?;
    ensure!(said.map > 0 && said.used > 0, "the firmware has not said how much it uses: {said:?}");
    Ok(said)
}

/// The numbers of `memory` and `guest`.
fn hear(said: &mut Said, line: &str) {
    let between = |before: &str, after: &str| {
        let (_, rest) = line.split_once(before)?;
        rest.split_once(after)?.0.trim().parse::<u64>().ok()
    };
    said.map = between("ownership map ", " KiB").unwrap_or(said.map);
    said.used = between("; heap ", " KiB used").unwrap_or(said.used);
    said.free = between(" KiB used, ", " KiB free").unwrap_or(said.free);
}

/// By the ownership map, the memory map and the allocator of kernel/src (kernel/examples/footprint.rs).
fn compute(heap: u64, others: u64) -> Result<Vec<Row>> {
    let guests: Vec<_> = VCPUS
        .into_iter()
        .flat_map(|(vcpus, from_file)| RAM.into_iter().map(move |(name, ram)| (vcpus, from_file, name, ram)))
        .collect();
    let reserve = |from_file: u32| u64::from(reserved_blocks(from_file)) * RESERVE_BLOCK;
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "kernel", "--example", "footprint", "--"]);
    command.args([heap.to_string(), others.to_string()]);
    command.args(guests.iter().map(|(vcpus, from_file, _, ram)| {
        let reserve = reserve(*from_file);
        format!("{vcpus}:{ram}:{reserve}:{from_file}")
    }));
    let output = command.current_dir(host::workspace::root()?).output().context("cargo cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.lines().count() == guests.len(), "{text}");
    guests
        .iter()
        .zip(text.lines())
        .map(|((vcpus, from_file, ram, _), line)| {
            let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
            let [map, processors, used, free, deposited] =
                numbers.try_into().map_err(|_| anyhow::anyhow!("{vcpus} vCPUs, {ram}: {line}"))?;
            let (vcpus, from_file, reserve) = (*vcpus, *from_file, reserve(*from_file));
            Ok(Row { vcpus, from_file, ram, reserve, map, processors, used, free, deposited })
        })
        .collect()
}

fn table(rows: &[Row], said: &[(u32, Said)]) -> String {
    let head = [
        "vCPUs",
        "of the file's memory",
        "RAM",
        "the firmware's",
        "pages deposited",
        "ownership map",
        "processors",
        "heap used",
        "heap free",
        "booted: used, free",
    ];
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    let cells = rows.iter().map(|row| {
        let booted = said.iter().find(|(vcpus, _)| [row.vcpus, row.from_file] == [*vcpus; 2] && row.ram == RAM[0].0);
        let booted = booted.map_or(String::new(), |(_, said)| format!("{} KiB, {} KiB", said.used, said.free));
        let whole = format!("{} MiB", (OWN + row.reserve) >> 20);
        let numbers = [row.map, row.processors, row.used, row.free].map(kib);
        let [map, processors, used, free] = numbers;
        let [vcpus, from_file] = [row.vcpus, row.from_file].map(|count| count.to_string());
        [vcpus, from_file, row.ram.to_owned(), whole, row.deposited.to_string(), map, processors, used, free, booted]
    });
    pages::table(head, cells)
}

#[cfg(test)]
mod tests {
    use super::{Said, hear};

    #[test]
    fn what_the_firmware_says_is_heard() {
        let mut said = Said::default();
        hear(&mut said, "quoin: memory 383 MiB validated, 8 KiB of guest image owned, ownership map 50 KiB");
        hear(
            &mut said,
            "quoin: guest started at VMPL2, rip 0x1; heap 263 KiB used, 4640 KiB free; stack 1 of 2 KiB used",
        );
        hear(&mut said, "machine: another line");
        assert_eq!(said, Said { map: 50, used: 263, free: 4640 });
    }
}
