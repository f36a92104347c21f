//! Processors that are started when the guest creates their vCPU, with memory that it deposits.

use super::deposits::{DEPOSIT, GIVEN, LIST, PAGE, PVALIDATE, WANTED, call, withdraw};
use super::hostile::{alive, count, running};
use super::stack::{self, OFFSET, SMALL_RESERVE};
use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::boot::{self, Built};
use host::image::Image;
use host::qemu::Qemu;
use host::relay::{Relay, SvsmRegisters, Work, result_name};
use host::{build, workspace};
use quoin_image::elf::Elf;
use quoin_image::guest::{Guest, Interrupts};
use quoin_image::pack::pack;

const CREATE: u64 = 2;
const DELETE: u64 = 3;
const INVALID_ADDRESS: u64 = 0x8000_0003;
const INVALID_PARAMETER: u64 = 0x8000_0005;
/// A register state and a calling area, in RAM that nothing of the payload lies in.
const VMSA: u64 = LIST + PAGE;
const AREA: u64 = LIST + 2 * PAGE;
/// A page of 2 MiB there, as DEPOSIT_MEM has it.
const LARGE: u64 = 0xD00_0000;
const IS_LARGE: u64 = 1;
const SMALL_PAGES: u64 = 512;
/// TPM commands, and changes of a register state.
const COMMANDS: u32 = 50;
const ROUNDS: u32 = 5;

/// With both ways to interrupt VMPL0; and with a host that lies.
pub(super) fn run(machine: &Built) -> Result<Totals> {
    let mut totals = started(machine, Interrupts::Any, 20)?;
    totals += started(machine, Interrupts::Restricted, 21)?;
    totals += refused(machine)?;
    totals += without_doorbell(machine)?;
    Ok(totals)
}

/// A firmware for so many processors, of which the first alone starts before the guest.
fn built(machine: &Built, processors: u32, interrupts: Interrupts) -> Result<Built> {
    let programs = build::build(build::IMAGE_AND_MACHINE)?;
    let guest = Guest { processors, from_file: 1, interrupts, ..Guest::from_elf(&Elf::read(&programs.guest())?)? };
    let bytes = pack(&Elf::read(&programs.firmware())?, Some(&guest))?;
    let path = workspace::target_dir()?.join("quoin-later.igvm");
    fs::write(&path, &bytes)?;
    Ok(Built { machine: machine.machine.clone(), image: Image::new(bytes)?, path })
}

/// Of three processors, each of which takes so many pages. With restricted injection the host has pages of 2 MiB.
fn started(machine: &Built, interrupts: Interrupts, pages: u64) -> Result<Totals> {
    let (built, stack) = (built(machine, 3, interrupts)?, CallStack::find()?);
    let host = if interrupts == Interrupts::Any { "" } else { "injection=restricted\nrmp-pages=2m\n" };
    let mut qemu = boot::start(&built, &format!("own=1\nvmpl-fault=gp\n{host}{}", stack.watched()))?;
    let name = |what: &str| format!("{interrupts:?}: {what}");
    let mut said = String::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| said += &format!("{}\n", event.line))?;
    let mut totals = case(
        &name("no other processor starts before the guest"),
        says(&said, "quoin: processors 1 of 3, the rest with memory of the guest's"),
    );
    let mut relay = qemu.relay()?;
    totals += case(&name("CREATE_VCPU wants memory, and then what is missing"), wants(&mut relay, pages));
    let text = relay.two_vcpus(Work::Traffic, COMMANDS)?;
    totals += case(&name("the processor starts with it, and the TPM answers from there"), all(&text));
    let text = relay.two_vcpus(Work::RegisterState, ROUNDS)?;
    totals += case(&name("DELETE_VCPU and CREATE_VCPU anew want no more"), all(&text));
    totals += case(&name("what it uses does not come back"), stays(&mut relay, pages));
    totals += case(&name("the next one starts in a page of 2 MiB"), in_a_large_page(&mut relay, pages));
    totals += case(&name("TPM and attestation answer"), alive(&mut relay));
    listen(&mut qemu, &mut said);
    totals += case(&name("both have started once"), {
        [1, 2]
            .iter()
            .try_for_each(|id| says(&said, &format!("quoin: processors {id} runs, with memory of the guest's")))
    });
    totals += case(&name("4 KiB of the stack of calls are left"), stack.left(&said));
    totals += case(&name("the firmware has not ended"), running(&mut qemu));
    Ok(totals)
}

/// Pages that touch no other; the first and highest is at a 2 MiB boundary, where no register state can be.
fn apart(first: u64, count: u64) -> Vec<u64> {
    (first..first + count).map(|page| GIVEN - page * 2 * PAGE).collect()
}

fn wants(relay: &mut dyn Relay, pages: u64) -> Result<()> {
    answers(relay, 1, WANTED + pages)?;
    deposits(relay, &apart(0, 5))?;
    answers(relay, 1, WANTED + pages - 5)?;
    // Two more than it takes.
    for spare in apart(pages, 2) {
        relay.write(spare, b"a secret of the guest's")?;
    }
    deposits(relay, &apart(5, pages - 3))
}

fn stays(relay: &mut dyn Relay, pages: u64) -> Result<()> {
    let mut spare = apart(pages, 2);
    spare.reverse();
    comes_back(relay, |back| back.iter().rev().eq(&spare))?;
    for page in apart(0, pages) {
        for code in [call(relay, PVALIDATE, &[page | 4])?, call(relay, DEPOSIT, &[page])?] {
            ensure!(code == INVALID_ADDRESS, "{page:#x} can be used: {}", result_name(code));
        }
    }
    Ok(())
}

/// CREATE_VCPU, DELETE_VCPU, both once more; what it does not use comes back.
fn in_a_large_page(relay: &mut dyn Relay, pages: u64) -> Result<()> {
    answers(relay, 2, WANTED + pages)?;
    deposits(relay, &[LARGE | IS_LARGE])?;
    for _ in 0..2 {
        answers(relay, 2, 0)?;
        deletes(relay)?;
    }
    let unused: Vec<u64> = (0..SMALL_PAGES - pages).rev().map(|page| LARGE + page * PAGE).collect();
    comes_back(relay, |back| back == unused)
}

/// Processor 1 is started only with the next, 3 is refused: neither is one, its memory stays, and 2 is as ever.
fn refused(machine: &Built) -> Result<Totals> {
    const PAGES: u64 = 20;
    let built = built(machine, 4, Interrupts::Any)?;
    let mut qemu = boot::start(&built, "own=1\nvmpl-fault=gp\nfault=ap-late:2\nfault=ap-refused:4")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut totals = case("what the host does not start in time, or refuses to, is no processor", {
        deposits(&mut relay, &[LARGE | IS_LARGE]).and_then(|()| {
            for (processor, code) in [(1, INVALID_PARAMETER), (1, INVALID_PARAMETER), (2, 0)] {
                answers(&mut relay, processor, code)?;
            }
            deletes(&mut relay)?;
            [1, 3, 3, 1].iter().try_for_each(|processor| answers(&mut relay, *processor, INVALID_PARAMETER))?;
            answers(&mut relay, 2, 0)?;
            deletes(&mut relay)
        })
    });
    totals += case("of the memory of all three nothing comes back", {
        let unused: Vec<u64> = (0..SMALL_PAGES - 3 * PAGES).rev().map(|page| LARGE + page * PAGE).collect();
        comes_back(&mut relay, |back| back == unused)
    });
    totals += case("TPM and attestation answer", alive(&mut relay));
    let mut said = String::new();
    listen(&mut qemu, &mut said);
    totals += case("it is said which do not come up", {
        let why = ["1 does not come up", "2 runs", "3 does not come up"];
        why.iter().try_for_each(|why| says(&said, &format!("quoin: processors {why}")))
    });
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

/// The host takes the doorbell page of the processor that boots, and of no other.
fn without_doorbell(machine: &Built) -> Result<Totals> {
    const PAGES: u64 = 21;
    let built = built(machine, 2, Interrupts::Restricted)?;
    let mut qemu = boot::start(&built, "own=1\nvmpl-fault=gp\ninjection=restricted\nfault=doorbell-refused:1")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut totals = case("a processor whose doorbell page is refused is no processor", {
        deposits(&mut relay, &[LARGE | IS_LARGE])
            .and_then(|()| answers(&mut relay, 1, INVALID_PARAMETER))
            .and_then(|()| answers(&mut relay, 1, INVALID_PARAMETER))
    });
    let unused: Vec<u64> = (0..SMALL_PAGES - PAGES).rev().map(|page| LARGE + page * PAGE).collect();
    totals += case("its memory does not come back", comes_back(&mut relay, |back| back == unused));
    totals += case("TPM and attestation answer", alive(&mut relay));
    totals += case("the firmware has not ended", running(&mut qemu));
    Ok(totals)
}

/// What has been said since.
fn listen(qemu: &mut Qemu, said: &mut String) {
    while let Some(event) = qemu.next_event(Duration::from_millis(300)) {
        *said += &format!("{}\n", event.line);
    }
}

fn says(said: &str, line: &str) -> Result<()> {
    ensure!(said.matches(line).count() == 1, "not once `{line}`:\n{said}");
    Ok(())
}

/// All attempts of the payload's were right.
fn all(text: &str) -> Result<()> {
    let totals = count(text)?;
    ensure!(totals.failed == 0 && totals.passed > 0, "{text}");
    Ok(())
}

fn deposits(relay: &mut dyn Relay, entries: &[u64]) -> Result<()> {
    let code = call(relay, DEPOSIT, entries)?;
    ensure!(code == 0, "DEPOSIT_MEM: {}", result_name(code));
    Ok(())
}

/// CREATE_VCPU for the processor, of a register state that is good.
fn answers(relay: &mut dyn Relay, processor: u64, code: u64) -> Result<()> {
    const EFER_SVME: u64 = 1 << 12;
    relay.write(VMSA + 0xCA, &[2])?;
    relay.write(VMSA + 0xD0, &EFER_SVME.to_le_bytes())?;
    relay.write(VMSA + 0x3B0, &1_u64.to_le_bytes())?;
    let create = SvsmRegisters { rax: CREATE, rcx: VMSA, rdx: AREA, r8: processor, ..SvsmRegisters::default() };
    let (after, pending) = relay.svsm(create)?;
    let got = result_name(after.rax);
    ensure!((after.rax, pending) == (code, 0), "CREATE_VCPU for {processor}: {got}, not {}", result_name(code));
    Ok(())
}

fn deletes(relay: &mut dyn Relay) -> Result<()> {
    let (after, pending) = relay.svsm(SvsmRegisters { rax: DELETE, rcx: VMSA, ..SvsmRegisters::default() })?;
    ensure!((after.rax, pending) == (0, 0), "DELETE_VCPU: {}", result_name(after.rax));
    Ok(())
}

/// All that WITHDRAW_MEM gives back, in its order, is what is expected, and zero.
fn comes_back(relay: &mut dyn Relay, is_expected: impl FnOnce(&[u64]) -> bool) -> Result<()> {
    let mut back = Vec::new();
    loop {
        let some = withdraw(relay)?;
        if some.is_empty() {
            break;
        }
        back.extend(some);
    }
    ensure!(is_expected(&back), "{back:x?} have come back");
    // Some of them: the relay is a serial port.
    for page in back.iter().step_by(1 + back.len() / 16) {
        ensure!(relay.read(*page, 64)?.iter().all(|byte| *byte == 0), "{page:#x} is not zero");
    }
    Ok(())
}

/// The stack of the first processor's calls.
struct CallStack {
    bottom: u64,
    top: u64,
}

impl CallStack {
    fn find() -> Result<CallStack> {
        let elf = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.firmware())?;
        let place = |end: &str| Ok::<_, anyhow::Error>(elf.address(&format!("__call_stack_{end}"))? + OFFSET);
        Ok(CallStack { bottom: place("bottom")?, top: place("top")? })
    }

    fn watched(&self) -> String {
        format!("stack={:#x}-{:#x}", self.bottom, self.top)
    }

    fn left(&self, said: &str) -> Result<()> {
        let used = said.lines().filter_map(stack::bytes).max();
        println!("     stack `call`: {used:?} of {} bytes", self.top - self.bottom);
        stack::left(used.context("the machine has said nothing of it")?, self.top - self.bottom, SMALL_RESERVE)
    }
}
