//! What a host can do at each instruction of a call: the machine tries it (`fault=window:N`,
//! tests/machine/src/window.rs), and goes on as if nothing had been; here its account is read.

use super::{Totals, answers, case, exceptions};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use host::boot;
use host::build;
use host::qemu::{Qemu, Source};
use host::relay::{Relay, SvsmRegisters, result_name};
use quoin_image::elf::Elf;

/// The short form's stride; that of the full form is 0.
const SHORT: u64 = 13;
/// Instructions after which the machine looks no more.
const LAST: &str = "60000";
/// R9 of a call that the machine looks into.
const MARK: u64 = 0x444E_4957;
/// How long one call may take: in the full form every instruction has five hundred exceptions.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Pages of RAM that nobody uses.
const LIST: u64 = 0x180_0000;
const PASSED: u64 = 0x180_1000;
const STATE: u64 = 0x180_3000;
const AREA: u64 = 0x180_4000;
const MAILBOX: u64 = 0x180_5000;
const OPERATION: u64 = 0x180_6000;
const NONCE: u64 = 0x180_7000;
const REPORT: u64 = 0x180_8000;
const MANIFEST: u64 = 0x180_9000;
const PAGES: u64 = 0x180_A000;

const VALIDATE: u64 = 4;
const CORE: u64 = 0;
const ATTESTATION: u64 = 1 << 32;
const VTPM: u64 = 2 << 32;

/// A call: what it is, RAX, RCX, RDX, R8; the memory that it finds.
type Call = (&'static str, [u64; 4], Vec<(u64, Vec<u8>)>);

/// `calling_area`: the payload's.
fn calls(calling_area: u64) -> Vec<Call> {
    let list = |entries: &[u64]| {
        let head = u64::try_from(entries.len()).unwrap_or(0).to_le_bytes();
        head.into_iter().chain(entries.iter().flat_map(|entry| entry.to_le_bytes())).collect::<Vec<u8>>()
    };
    // TPM_SEND_COMMAND, locality 0, 12 octets: TPM2_GetRandom of 8.
    let command = [&[8, 0, 0, 0, 0, 12, 0, 0, 0][..], &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8]].concat();
    // The same in the second page of two, which the list names first.
    let head = [8, 12 | 2 << 32, PAGES + 0x2000, PAGES + 0x1000];
    let mut pages: Vec<u8> = head.into_iter().flat_map(u64::to_le_bytes).collect();
    pages.resize(0x90, 0);
    let plain = command[9..].to_vec();
    vec![
        ("QUERY_PROTOCOL", [CORE | 6, 1, 0, 0], vec![]),
        ("PVALIDATE, rescinding", [CORE | 1, LIST, 0, 0], vec![(LIST, list(&[PASSED, PASSED + 0x1000]))]),
        (
            "PVALIDATE, validating",
            [CORE | 1, LIST, 0, 0],
            vec![(LIST, list(&[PASSED | VALIDATE, (PASSED + 0x1000) | VALIDATE]))],
        ),
        ("CREATE_VCPU", [CORE | 2, STATE, AREA, 1], vec![(STATE, state())]),
        ("DELETE_VCPU", [CORE | 3, STATE, 0, 0], vec![]),
        ("REMAP_CA, to where it is", [CORE, calling_area, 0, 0], vec![]),
        ("SVSM_ATTEST_SERVICES", [ATTESTATION, OPERATION, 0, 0], vec![(OPERATION, operation()), (NONCE, vec![7; 64])]),
        ("SVSM_VTPM_CMD", [VTPM | 1, MAILBOX, 0, 0], vec![(MAILBOX, command)]),
        (
            "a TPM command by a list of pages",
            [VTPM | 0x8000_0001, PAGES, 0, 0],
            vec![(PAGES, pages), (PAGES + 0x2000, plain)],
        ),
    ]
}

/// Report, nonce, manifest, and no certificates: each address and size.
fn operation() -> Vec<u8> {
    [REPORT, 4096, NONCE, 64, MANIFEST, 4096, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect()
}

/// A register state that CREATE_VCPU takes, and that is never run.
fn state() -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[0xCA] = 2;
    page[0xD1] = 0x10;
    page[0x3B0] = 1;
    page
}

/// The short form.
pub(super) fn short() -> Result<Totals> {
    at_every(SHORT)
}

/// One exception and one page at every Nth instruction; with 0 all of them at each.
pub fn at_every(every: u64) -> Result<Totals> {
    let built = boot::build_for(2)?;
    let lies = format!("fault=window:{every}\nfault=window-start:{}\n", every.min(1));
    let mut qemu = boot::start(&built, &format!("ram=32\n{lies}{}", exceptions::accesses()?))?;
    let mut started = String::new();
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| {
        if event.line.starts_with("machine: WINDOW Start ") {
            started.clone_from(&event.line);
        }
    })?;
    let mut totals = case("the start of another processor", judge_start(&started));
    let mut relay = qemu.relay()?;
    let is_short = every > 1;
    // That one is long.
    for call in calls(calling_area()?).into_iter().filter(|call| !is_short || call.1[0] != ATTESTATION) {
        let outcome = one(&mut qemu, &mut relay, &call);
        totals += case(call.0, outcome);
    }
    totals += case("the firmware is as if nothing had been", answers::through(&mut relay));
    Ok(totals)
}

/// Where the payload has it.
fn calling_area() -> Result<u64> {
    Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.guest())?.address("__calling_area")
}

/// A call, and what became of it.
fn one(qemu: &mut Qemu, relay: &mut dyn Relay, (_, [rax, rcx, rdx, r8], memory): &Call) -> Result<()> {
    let [rax, rcx, rdx, r8] = [*rax, *rcx, *rdx, *r8];
    memory.iter().try_for_each(|(gpa, bytes)| relay.write(*gpa, bytes))?;
    let call = SvsmRegisters { rax, rcx, rdx, r8, r9: MARK };
    let (after, pending) = relay.svsm(call).with_context(|| boot::last_words(qemu))?;
    let line = account(qemu, rax)?;
    println!("     {line}");
    judge(&line)?;
    ensure!((after.rax, pending) == (0, 0), "it came to {}", result_name(after.rax));
    Ok(())
}

/// The machine's line about the call.
fn account(qemu: &mut Qemu, rax: u64) -> Result<String> {
    let start = format!("machine: WINDOW Call call={rax:#x} ");
    let mut last = Vec::new();
    while let Some(event) = qemu.next_event(PATIENCE) {
        if event.source == Source::Machine && event.line.starts_with(&start) {
            return Ok(event.line);
        }
        last.push(event.line);
    }
    bail!("the machine has said nothing of it:\n{}", last.join("\n"))
}

/// What may have become of a firmware: an exception ends it with the reason that it was one, or is refused where a page
/// may be gone; a page of the guest's never ends it; without one of its own it ends with a reason or shuts down, or
/// does not miss it; without the guest's register state it says so. That cannot be run while a call is looked at and
/// served.
fn judge(line: &str) -> Result<()> {
    judge_exceptions(line)?;
    ensure!(line.contains(" silent=0 "), "an end without a reason");
    only(line, "guest", &["on"])?;
    only(line, "firmware", &["on", "0/0", "10/15", "10/16"])?;
    only(line, "vmsa", &["on", "10/14"])?;
    // Of a call that is too long for the machine it has not seen the end.
    let turns = if field(line, "instructions")? == LAST { 2 } else { 3 };
    let runnable = field(line, "runnable")?;
    ensure!(runnable.split(',').count() == turns, "the register state can be run amid the call: {line}");
    Ok(())
}

/// The same of another processor's start; before it has a GHCB, it can say nothing.
fn judge_start(line: &str) -> Result<()> {
    println!("     {line}");
    judge_exceptions(line)
}

fn judge_exceptions(line: &str) -> Result<()> {
    ensure!(!line.contains(" exceptions=0 "), "nothing was tried");
    only(line, "ends", &["10/15", "10/16"])
}

/// What is behind ` key=`, without blanks.
fn field<'l>(line: &'l str, key: &str) -> Result<&'l str> {
    let (_, rest) = line.split_once(&format!(" {key}=")).with_context(|| format!("no {key}"))?;
    Ok(rest.split(' ').next().unwrap_or_default())
}

/// What came of it is of these kinds; each has its number behind it.
fn only(line: &str, key: &str, kinds: &[&str]) -> Result<()> {
    for fate in field(line, key)?.split_terminator(';') {
        let (kind, _) = fate.split_once(':').context("no number")?;
        ensure!(kinds.contains(&kind), "{key}: {kind}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{judge, judge_start};

    const LINE: &str = "machine: WINDOW Call call=0x6 instructions=9 exceptions=7 refused=1 silent=0 ends=10/15:2;10/16:4; guest=on:3; firmware=10/16:1;0/0:1;on:5; vmsa=10/14:1; bad=0x0 runnable=[1,2,3]";

    #[test]
    fn what_a_firmware_should_not_do_is_an_error() {
        judge(LINE).unwrap();
        judge_start(LINE).unwrap();
        judge(&LINE.replace("instructions=9", "instructions=60000").replace("[1,2,3]", "[1,2]")).unwrap();
        for (from, to) in [
            ("exceptions=7", "exceptions=0"),
            ("silent=0", "silent=1"),
            ("ends=10/15", "ends=10/18"),
            ("ends=10/15", "ends=0/0"),
            ("guest=on:3;", "guest=on:3;10/16:1;"),
            ("firmware=10/16", "firmware=10/18"),
            ("0/0:1", "hangs:1"),
            ("vmsa=10/14", "vmsa=0/0"),
            ("[1,2,3]", "[1,2,3,4,5]"),
            ("[1,2,3]", "[6]"),
            ("[1,2,3]", "[1,2]"),
            (" runnable=", " "),
        ] {
            assert!(judge(&LINE.replace(from, to)).is_err(), "{to}");
        }
    }
}
