//! A guest whose firmware has room for four blocks in mixed use: PVALIDATE asks for memory, gets it, and uses it.

use super::hostile::{alive, running};
use super::{Totals, case, later};
use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use host::boot::{self, Built};
use host::image::Image;
use host::relay::{Relay, SvsmRegisters};
use host::{build, workspace};
use quoin_image::elf::Elf;
use quoin_image::guest::Guest;
use quoin_image::pack::pack;

const ROOM: u32 = 4;
pub(super) const PVALIDATE: u64 = 1;
pub(super) const DEPOSIT: u64 = 4;
const WITHDRAW: u64 = 5;
/// The code that asks for pages, and the bits that say how many.
pub(super) const WANTED: u64 = 0x4000_0000;
const PAGES: u64 = 0x3FFF_FFFF;
/// RAM that nothing of the payload lies in: lists, blocks, pages to deposit.
pub(super) const LIST: u64 = 0x900_0000;
const BLOCKS: u64 = 0xA00_0000;
pub(super) const GIVEN: u64 = 0xE00_0000;
const BLOCK: u64 = 0x20_0000;
pub(super) const PAGE: u64 = 4096;

/// Boots, and has the payload go on beyond what there is room for.
pub fn run(machine: &Built) -> Result<Totals> {
    let built = built(machine)?;
    let mut qemu = boot::start(&built, "own=1\nvmpl-fault=gp")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut totals = case("PVALIDATE asks for memory, once, and goes on with it", grow(&mut relay));
    totals += case("what is not used comes back, zeroed, and the rest does not", come_back(&mut relay));
    totals += case("the TPM and attestation answer", alive(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    totals += later::run(machine)?;
    Ok(totals)
}

fn built(machine: &Built) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let guest = Guest { mixed_blocks: ROOM, ..Guest::from_elf(&Elf::read(&programs.guest())?)? };
    let bytes = pack(&Elf::read(&programs.firmware())?, Some(&guest))?;
    let path = workspace::target_dir()?.join("quoin-deposits.igvm");
    fs::write(&path, &bytes)?;
    Ok(Built { machine: machine.machine.clone(), image: Image::new(bytes)?, path })
}

/// Gives up a page of each of twenty blocks, and takes it back in every second.
fn grow(relay: &mut dyn Relay) -> Result<()> {
    let mut asked = Vec::new();
    for number in 0..20 {
        let page = BLOCKS + number * BLOCK + 7 * PAGE;
        match call(relay, PVALIDATE, &[page])? {
            0 => {}
            code if code & !PAGES == WANTED => {
                asked.push(number);
                // None of which touches another.
                let pages: Vec<u64> = (0..code & PAGES).map(|page| GIVEN + page * 2 * PAGE).collect();
                ensure!(call(relay, DEPOSIT, &pages)? == 0, "the deposit is refused");
                ensure!(call(relay, PVALIDATE, &[page])? == 0, "PVALIDATE is refused with the memory that it wanted");
            }
            code => bail!("PVALIDATE of {page:#x}: {code:#x}"),
        }
        if number % 2 == 0 {
            let back = call(relay, PVALIDATE, &[page | 4])?;
            ensure!(back == 0, "PVALIDATE, valid, of {page:#x}: {back:#x}");
        }
    }
    ensure!(asked.len() == 1 && asked[0] >= 4, "it was asked for memory at the blocks {asked:?}");
    for number in 0..20 {
        let page = BLOCKS + number * BLOCK + 7 * PAGE;
        let expected = if number % 2 == 0 { 0x8000_1010 } else { 0 };
        let code = call(relay, PVALIDATE, &[page | 4])?;
        ensure!(code == expected, "PVALIDATE, valid, of {page:#x} in the end: {code:#x}");
    }
    Ok(())
}

fn come_back(relay: &mut dyn Relay) -> Result<()> {
    ensure!(withdraw(relay)?.is_empty(), "what is used has come back");
    ensure!(call(relay, PVALIDATE, &[GIVEN | 4])? == 0x8000_0003, "what is used is the guest's");
    let pages = [GIVEN + PAGE, GIVEN + 3 * PAGE];
    for page in pages {
        relay.write(page, b"a secret of the guest's")?;
    }
    ensure!(call(relay, DEPOSIT, &pages)? == 0, "the deposit is refused");
    let mut back = withdraw(relay)?;
    back.reverse();
    ensure!(back == pages, "{back:x?} have come back");
    for page in pages {
        let bytes = relay.read(page, 64)?;
        ensure!(bytes.iter().all(|byte| *byte == 0), "{page:#x} has come back with {bytes:02x?}");
    }
    Ok(())
}

/// A core call with a list; RAX after it.
pub(super) fn call(relay: &mut dyn Relay, call: u64, entries: &[u64]) -> Result<u64> {
    let words = [entries.len() as u64].into_iter().chain(entries.iter().copied());
    relay.write(LIST, &words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())?;
    let (after, pending) = relay.svsm(SvsmRegisters { rax: call, rcx: LIST, ..SvsmRegisters::default() })?;
    ensure!(pending == 0, "the call {call} was not taken");
    Ok(after.rax)
}

pub(super) fn withdraw(relay: &mut dyn Relay) -> Result<Vec<u64>> {
    let code = call(relay, WITHDRAW, &[])?;
    ensure!(code == 0, "WITHDRAW_MEM: {code:#x}");
    let list = relay.read(LIST, 4096)?;
    let (head, entries) = list.split_at(8);
    let count = usize::from(u16::from_le_bytes(*head.first_chunk().context("no list")?));
    Ok(entries.as_chunks().0.iter().take(count).map(|word| u64::from_le_bytes(*word)).collect())
}
