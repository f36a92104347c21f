//! How much of its stack the firmware uses, in the image that is shipped: the entry stub paints it, and the machine
//! looks how far down the paint is gone after each command.

use super::{Totals, case, exceptions, hostile};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use host::boot::{self, Built};
use host::build;
use host::figures::{self, Figure};
use host::qemu::Qemu;
use host::relay::Relay;
use quoin_image::elf::Elf;

/// Bytes of the stack that no command may reach.
const RESERVE: u64 = 256 * 1024;
/// What the linker script adds to a GPA.
pub(crate) const OFFSET: u64 = 0x80_0000_0000 - 0x4000_0000;

/// The stacks of the first processor beside the large one, and how each comes to be used. Those of other processors are
/// as large, but for that of #VC, which is needed for CPUID by the boot alone.
const SMALL: [(&str, Use); 3] = [("call", Use::Calls), ("vc", Use::Calls), ("fault", Use::Exceptions)];
/// Of each of them, so much is never reached.
pub(crate) const SMALL_RESERVE: u64 = 4 * 1024;

/// Exceptions are made up at so many-th exits: at some points.
const POINTS: u32 = 3000;

/// What is done to a stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// All attempts of the hostile guest, a TPM command and a report.
    Calls,
    /// Exceptions that a host makes up, each of which ends the firmware with a reason.
    Exceptions,
}

/// Public areas of the keys that are made, without what all have in common: type, attributes, parameters with the empty
/// unique.
const KEYS: [(&str, [u8; 2], u32, &[u8]); 5] = [
    ("ML-DSA-87", ML_DSA, SIGN, &[0, 3, 0, 0, 0]),
    ("ML-KEM-1024", [0, 0xA0], DECRYPT, &[0, 0x10, 0, 3, 0, 0]),
    ("RSA-2048", [0, 1], SIGN, &[0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0]),
    ("P-521", [0, 0x23], SIGN, &[0, 0x10, 0, 0x10, 0, 5, 0, 0x10, 0, 0, 0, 0]),
    ("P-384", [0, 0x23], SIGN, &[0, 0x10, 0, 0x10, 0, 4, 0, 0x10, 0, 0, 0, 0]),
];
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth; and sign or decrypt.
const COMMON: u32 = 0x72;
const SIGN: u32 = COMMON | 1 << 18;
const DECRYPT: u32 = COMMON | 1 << 17;

const ML_DSA: [u8; 2] = [0, 0xA1];
const CREATE_PRIMARY: u32 = 0x131;
const STARTUP: u32 = 0x144;
const FLUSH_CONTEXT: u32 = 0x165;
const SIGN_SEQUENCE_COMPLETE: u32 = 0x1A4;
const SIGN_SEQUENCE_START: u32 = 0x1AA;
const COMMAND_SIZE: [u8; 4] = [0, 0, 1, 0x42];

/// Makes keys and signs, by the relay.
pub fn run(built: &Built) -> Result<Totals> {
    let elf = Elf::read(&build::build(build::IMAGE_AND_MACHINE)?.firmware())?;
    let (bottom, top) = (elf.address("__stack_bottom")?, elf.address("__stack_top")?);
    let mut qemu = boot::start(built, &format!("stack={:#x}-{:#x}", bottom + OFFSET, top + OFFSET))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let mut used = used(&mut qemu).unwrap_or(0);
    ensure!(used > 0, "the machine has said nothing of the stack");
    println!("     boot: {} KiB of {}", used >> 10, (top - bottom) >> 10);
    // Which may have been done.
    let _ = start(&mut relay);
    let (mut totals, mut greediest) = (Totals::default(), "the boot");
    for (name, kind, attributes, parameters) in KEYS {
        let outcome = key(&mut relay, kind, attributes, parameters);
        if let Some(more) = self::used(&mut qemu).filter(|now| *now > used) {
            (used, greediest) = (more, name);
        }
        println!("     so far, with a key of {name}: {} KiB", used >> 10);
        totals += case(
            &format!("a key of {name} is made, and 256 KiB of the stack are left"),
            outcome.and_then(|()| left(used, top - bottom, RESERVE)),
        );
    }
    for (name, used_by) in SMALL {
        let place = |end: &str| Ok::<_, anyhow::Error>(elf.address(&format!("__{name}_stack_{end}"))? + OFFSET);
        let (bottom, top) = (place("bottom")?, place("top")?);
        let used = small(built, used_by, bottom, top)?;
        println!("     stack `{name}`: {used} of {} bytes", top - bottom);
        totals += case(
            &format!("4 KiB of the stack `{name}` are left, whatever was done"),
            left(used, top - bottom, SMALL_RESERVE),
        );
    }
    if totals.failed == 0 {
        let (used, size) = (used >> 10, (top - bottom) >> 10);
        figures::keep(Figure::Stack, &format!("{used} KiB of {size}: {greediest}, in the image that is shipped"));
    }
    Ok(totals)
}

/// The most that was used of a small stack.
fn small(built: &Built, used_by: Use, bottom: u64, top: u64) -> Result<u64> {
    let more = match used_by {
        Use::Calls => String::from("vmpl-fault=gp\nsteal=1"),
        Use::Exceptions => format!("ram=32\nfault=inject:{POINTS}\n{}", exceptions::accesses()?),
    };
    let mut qemu = boot::start(built, &format!("stack={bottom:#x}-{top:#x}\n{more}"))?;
    let mut most = None;
    let said = |line: &str, most: &mut Option<u64>| *most = (*most).max(bytes(line));
    boot::hear_until_guest(&mut qemu, &built.image, |event, _| said(&event.line, &mut most))?;
    if used_by == Use::Calls {
        let mut relay = qemu.relay()?;
        relay.selftest()?;
        hostile::alive(&mut relay)?;
    }
    most = most.max(used(&mut qemu));
    most.context("the machine has said nothing of the stack")
}

pub(crate) fn left(used: u64, size: u64, reserve: u64) -> Result<()> {
    ensure!(used + reserve <= size, "{used} bytes of {size} have been used");
    Ok(())
}

/// TPM2_Startup(CLEAR).
fn start(relay: &mut dyn Relay) -> Result<Vec<u8>> {
    send(relay, STARTUP, false, &[0, 0])
}

/// Makes a primary key, has one of ML-DSA sign, and flushes it.
fn key(relay: &mut dyn Relay, kind: [u8; 2], attributes: u32, parameters: &[u8]) -> Result<()> {
    const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
    let public = [&kind[..], &[0, 0xB], &attributes.to_be_bytes(), &[0, 0], parameters].concat();
    let size = u16::try_from(public.len())?.to_be_bytes();
    let body = [&[0x40, 0, 0, 1][..], &PASSWORD, &[0, 4, 0, 0, 0, 0], &size, &public, &[0; 6]].concat();
    let made = command(relay, CREATE_PRIMARY, true, &body)?;
    let handle = *made.first_chunk::<4>().context("no handle")?;
    if kind == ML_DSA {
        let sequence = command(relay, SIGN_SEQUENCE_START, false, &[&handle[..], &[0; 4]].concat())?;
        let sequence = sequence.get(..4).context("no sequence")?;
        let sessions = [&[0, 0, 0, 18][..], &PASSWORD[4..], &PASSWORD[4..]].concat();
        let body = [sequence, &handle, &sessions, &[0, 3, 1, 2, 3]].concat();
        // The signature is made, and is longer than the mailbox.
        let answer = send(relay, SIGN_SEQUENCE_COMPLETE, true, &body)?;
        ensure!(answer.get(6..10) == Some(&COMMAND_SIZE), "a signature has answered {:02x?}", answer.get(..10));
    }
    command(relay, FLUSH_CONTEXT, false, &handle).map(drop)
}

/// What follows the header of the answer.
fn command(relay: &mut dyn Relay, code: u32, sessions: bool, body: &[u8]) -> Result<Vec<u8>> {
    let answer = send(relay, code, sessions, body)?;
    ensure!(answer.get(6..10) == Some(&[0; 4]), "command {code:#x} has answered {:02x?}", answer.get(..10));
    Ok(answer[10..].to_vec())
}

fn send(relay: &mut dyn Relay, code: u32, sessions: bool, body: &[u8]) -> Result<Vec<u8>> {
    let size = u32::try_from(10 + body.len())?.to_be_bytes();
    relay.tpm(&[&[0x80, 1 + u8::from(sessions)][..], &size, &code.to_be_bytes(), body].concat())
}

/// The most that the machine has spoken of since it was asked last.
fn used(qemu: &mut Qemu) -> Option<u64> {
    let mut most = None;
    while let Some(event) = qemu.next_event(Duration::from_millis(300)) {
        most = most.max(bytes(&event.line));
    }
    most
}

pub(crate) fn bytes(line: &str) -> Option<u64> {
    line.strip_prefix("machine: VMPL0 has used ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{bytes, left};

    #[test]
    fn what_is_used_is_read_and_judged() {
        assert_eq!(bytes("machine: VMPL0 has used 4096 bytes of its stack of 8192"), Some(4096));
        assert_eq!(bytes("machine: VMPL2 runs"), None);
        left(0x4_0000, 0x8_0000, super::RESERVE).unwrap();
        assert!(left(0x4_0008, 0x8_0000, super::RESERVE).is_err());
    }
}
