//! What a host can do at each instruction of a call: the machine tries it (`fault=window:N`,
//! tests/machine/src/window.rs), and goes on as if nothing had been; here its account is read.

use super::{Totals, answers, case, exceptions};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use host::boot;
use host::qemu::{Qemu, Source};
use host::relay::{Relay, SvsmRegisters, result_name};

/// The short form's stride; that of the full form is 0.
const SHORT: u64 = 3;
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

const VALIDATE: u64 = 4;
const CORE: u64 = 0;
const VTPM: u64 = 2 << 32;

/// A call: what it is, RAX, RCX, RDX, R8; the memory that it finds.
type Call = (&'static str, [u64; 4], Vec<(u64, Vec<u8>)>);

fn calls() -> Vec<Call> {
    let list = |entries: &[u64]| {
        let head = u64::try_from(entries.len()).unwrap_or(0).to_le_bytes();
        head.into_iter().chain(entries.iter().flat_map(|entry| entry.to_le_bytes())).collect::<Vec<u8>>()
    };
    // TPM_SEND_COMMAND, locality 0, 12 octets: TPM2_GetRandom of 8.
    let command = [&[8, 0, 0, 0, 0, 12, 0, 0, 0][..], &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7B, 0, 8]].concat();
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
        ("SVSM_VTPM_QUERY", [VTPM, 0, 0, 0], vec![]),
        ("SVSM_VTPM_CMD", [VTPM | 1, MAILBOX, 0, 0], vec![(MAILBOX, command)]),
    ]
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

/// All exceptions and all pages, at each instruction.
pub fn full() -> Result<Totals> {
    at_every(0)
}

fn at_every(every: u64) -> Result<Totals> {
    let built = boot::build_for(2)?;
    let config = format!("ram=32\nfault=window:{every}\n{}", exceptions::accesses()?);
    let mut qemu = boot::start(&built, &config)?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut totals = Totals::default();
    for (name, [rax, rcx, rdx, r8], memory) in calls() {
        totals += case(name, (|| {
            memory.iter().try_for_each(|(gpa, bytes)| relay.write(*gpa, bytes))?;
            let (after, pending) = relay.svsm(SvsmRegisters { rax, rcx, rdx, r8, r9: MARK })?;
            let line = account(&mut qemu, rax)?;
            println!("     {line}");
            judge(&line)?;
            ensure!((after.rax, pending) == (0, 0), "it came to {}", result_name(after.rax));
            Ok(())
        })());
    }
    totals += case("the firmware is as if nothing had been", answers::through(&mut relay));
    Ok(totals)
}

/// The machine's line about the call.
fn account(qemu: &mut Qemu, rax: u64) -> Result<String> {
    let start = format!("machine: WINDOW call={rax:#x} ");
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
/// may be gone; a page of the guest's never ends it; without one of its own it ends with a reason or shuts down, or does
/// not miss it; without the guest's register state it says so. That cannot be run while a call is looked at and served.
fn judge(line: &str) -> Result<()> {
    let lists = |key: &str| -> Result<Vec<String>> {
        let (_, rest) = line.split_once(&format!(" {key}=[")).with_context(|| format!("no {key}"))?;
        let (list, _) = rest.split_once(']').context("no end of a list")?;
        // Each is a pair in brackets, of what it is and how often.
        let pairs = list.split("), (").filter(|pair| !pair.is_empty());
        Ok(pairs.map(|pair| pair.trim_start_matches('(').trim_end_matches(')').to_owned()).collect())
    };
    let only = |key: &str, allowed: &[&str]| -> Result<()> {
        for pair in lists(key)? {
            let (kind, _) = pair.rsplit_once(", ").context("no number")?;
            ensure!(allowed.contains(&kind), "{key}: {kind}");
        }
        Ok(())
    };
    only("ends", &["10, 15)", "10, 16)"])?;
    only("guest", &["GoesOn"])?;
    only("firmware", &["GoesOn", "Ends(0, 0)", "Ends(10, 15)", "Ends(10, 16)"])?;
    only("vmsa", &["GoesOn", "Ends(10, 14)"])?;
    ensure!(line.contains(" silent=0 "), "an end without a reason");
    ensure!(lists("runnable")?.concat().split(", ").count() == 3, "the register state can be run amid the call");
    Ok(())
}

#[doc(hidden)]
pub fn short_temp() -> Result<Totals> {
    short()
}
