//! How long calls take the firmware, in instructions: the machine says it of each call (`calls=1`), with QEMU counting
//! (`-icount shift=0`), so that the figures are the same however busy the computer is.
//!
//! What counts is executed at VMPL0 on the processor that was called, from its VMRUN to its exit, as often as the call
//! takes it there. What the machine does to play hardware and host is left out: it is some ten times as much, and on
//! real ones other. Two processors take turns in one thread of QEMU's, and instructions of the one count while the
//! other has its turn: a call that loses it shows a hundred million, a tenth of a second, or all of the other's. A
//! processor that waited for the TPM would lose its turn in every call, and the median would say so.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use host::boot::{self, Built};
use host::figures::{self, Figure};
use host::qemu::Qemu;
use host::relay::{Relay, Work};

/// For QEMU.
pub(crate) const COUNTING: [&str; 2] = ["-icount", "shift=0"];

/// SVSM_CORE_PVALIDATE and SVSM_VTPM_CMD, as RAX has them.
const PVALIDATE: u64 = 1;
pub(crate) const TPM: u64 = 2 << 32 | 1;

/// Instructions by which it is seen that a call has lost its turn.
const LOST: u64 = 1_000_000;
/// Passes by an idle firmware, and keys that are made beside the others.
const PASSES: u32 = 300;
const KEYS: u32 = 6;
/// So much longer may a call take beside a key.
const PERCENT: u64 = 20;
/// Instructions that no command takes but one that searches for primes.
const SEARCH: u64 = 20_000_000;
/// As many calls at least are served while a key is made, on average: QEMU's turns are a fifth of one.
const SERVED: usize = 2;

/// A call, as the machine tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) rax: u64,
    processor: u64,
    pub(crate) answer: u64,
    pub(crate) instructions: u64,
}

impl Call {
    /// From a line of the machine's.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("machine: call ")?;
        let (rax, line) = line.split_once(" rcx=")?;
        let (_, line) = line.split_once(" processor=")?;
        let (processor, line) = line.split_once(": ")?;
        let (answer, line) = line.split_once(", VMPL0 ")?;
        let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        Some(Self {
            rax: hex(rax)?,
            processor: processor.parse().ok()?,
            answer: hex(answer)?,
            instructions: line.split(' ').next()?.parse().ok()?,
        })
    }
}

/// The calls that the machine has told of since it was asked last.
pub(crate) fn since(qemu: &mut Qemu) -> Vec<Call> {
    let mut calls = Vec::new();
    while let Some(event) = qemu.next_event(Duration::from_millis(500)) {
        calls.extend(Call::parse(&event.line));
    }
    calls
}

/// What PVALIDATE has taken, a call to give a page up and one to take it back by turns.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pvalidates {
    /// Instructions of those that kept their turn, in ascending order: to give up, to take back.
    kept: [Vec<u64>; 2],
    /// Calls that lost it.
    lost: usize,
}

impl Pvalidates {
    fn of(calls: &[Call]) -> Result<Self> {
        let mut all = Self::default();
        let first = calls.iter().filter(|call| call.processor == 0 && call.rax == PVALIDATE);
        for (number, call) in first.enumerate() {
            ensure!(call.answer == 0, "PVALIDATE was answered by {:#x}", call.answer);
            if call.instructions < LOST {
                all.kept[number % 2].push(call.instructions);
            } else {
                all.lost += 1;
            }
        }
        all.kept.iter_mut().for_each(|kept| kept.sort_unstable());
        Ok(all)
    }

    /// Medians of all, those that lost their turn counting as the longest.
    fn medians(&self) -> Result<[u64; 2]> {
        let median = |kept: &Vec<u64>| kept.get((kept.len() + self.lost.div_ceil(2)) / 2).copied();
        let [up, back] = self.kept.each_ref().map(median);
        up.zip(back).map(<[u64; 2]>::from).context("most calls have lost their turn: they wait for the other processor")
    }
}

/// PVALIDATE calls of the first processor while the second one made each key.
fn served_beside(calls: &[Call]) -> Vec<usize> {
    let is_of_first = |call: &&Call| call.processor == 0 && call.rax == PVALIDATE;
    let parts = calls.split_inclusive(|call| call.processor == 1);
    let is_of_key = |part: &&[Call]| part.last().is_some_and(|last| last.processor == 1 && last.instructions > SEARCH);
    parts.filter(is_of_key).map(|part| part.iter().filter(is_of_first).count()).collect()
}

/// The same as a suite.
pub fn run(_: &Built) -> Result<Totals> {
    Ok(case("a PVALIDATE call beside the making of a key takes no longer than alone", beside_keys()))
}

/// Compares the two, prints what they are, and fails where they are too far apart.
pub fn beside_keys() -> Result<()> {
    let built = boot::build_for(2)?;
    let config = "vmpl-fault=gp\nfault=hv-features:0x23\ncalls=1";
    let mut qemu = boot::start_with(&built, config, boot::MEMORY_MIB, &COUNTING.map(String::from))?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    since(&mut qemu);
    let idle = calls_of(&mut qemu, &mut relay, Work::PassAlone, PASSES)?;
    let beside = calls_of(&mut qemu, &mut relay, Work::PassBesideKeys, KEYS)?;
    let figure = judge(&idle, &beside)?;
    println!("{figure}");
    figures::keep(Figure::BesideKeys, &figure);
    Ok(())
}

fn calls_of(qemu: &mut Qemu, relay: &mut dyn Relay, work: Work, count: u32) -> Result<Vec<Call>> {
    let text = relay.two_vcpus(work, count).with_context(|| qemu.last_lines())?;
    ensure!(super::hostile::count(&text)?.failed == 0, "{text}");
    Ok(since(qemu))
}

fn judge(idle: &[Call], beside: &[Call]) -> Result<String> {
    let served = served_beside(beside);
    let [idle, beside] = [Pvalidates::of(idle)?, Pvalidates::of(beside)?];
    let (alone, busy) = (idle.medians()?, beside.medians()?);
    let count = |of: &Pvalidates| of.kept[0].len() + of.kept[1].len() + of.lost;
    let said = format!(
        "to give a page up {} instructions beside a key, {} beside nothing; to take it back {} and {} (medians of {} and {} calls, of which {} and {} lost their turn); {served:?} calls served while each key was made",
        busy[0],
        alone[0],
        busy[1],
        alone[1],
        count(&beside),
        count(&idle),
        beside.lost,
        idle.lost,
    );
    for (busy, alone) in busy.into_iter().zip(alone) {
        ensure!(busy.abs_diff(alone) * 100 <= alone * PERCENT, "more than {PERCENT} % apart: {said}");
    }
    let enough = !served.is_empty() && served.iter().sum::<usize>() >= SERVED * served.len();
    ensure!(enough, "fewer than {SERVED} calls beside a key: {said}");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::{Call, LOST, PVALIDATE, SEARCH, TPM, judge, served_beside};

    #[test]
    fn a_call_is_read_from_the_machines_line() {
        let line = "machine: call 0x200000001 rcx=0x123000 processor=1: 0x80000007, VMPL0 1234 ticks, 5 exits";
        let call = Call { rax: TPM, processor: 1, answer: 0x8000_0007, instructions: 1234 };
        assert_eq!(Call::parse(line), Some(call));
        assert_eq!(Call::parse("machine: VMPL2 runs"), None);
    }

    fn pass(instructions: u64) -> [Call; 2] {
        [instructions, 2 * instructions].map(|instructions| Call {
            rax: PVALIDATE,
            processor: 0,
            answer: 0,
            instructions,
        })
    }

    const KEY: Call = Call { rax: TPM, processor: 1, answer: 0, instructions: SEARCH + 1 };
    const FLUSH: Call = Call { instructions: 5, ..KEY };

    /// A flush, passes, a key.
    fn beside(passes: usize, instructions: u64) -> Vec<Call> {
        let calls = core::iter::repeat_n(pass(instructions), passes).flatten();
        [FLUSH].into_iter().chain(calls).chain([KEY]).collect()
    }

    #[test]
    fn what_is_served_while_a_key_is_made_is_counted() {
        let calls = [beside(3, 100), pass(100).to_vec(), beside(4, 100)].concat();
        assert_eq!(served_beside(&calls), [6, 8]);
    }

    #[test]
    fn calls_that_take_longer_or_wait_beside_a_key_fail() {
        let idle = beside(50, 100);
        judge(&idle, &beside(50, 120)).unwrap();
        judge(&idle, &beside(50, 80)).unwrap();
        for (bad, why) in [
            (beside(50, 121), "more than 20 %"),
            (beside(50, 79), "more than 20 %"),
            (beside(50, LOST), "most calls have lost their turn"),
            (
                vec![FLUSH, KEY, FLUSH].into_iter().chain(beside(1, 100)).chain([FLUSH, KEY]).collect(),
                "fewer than 2 calls",
            ),
        ] {
            assert!(judge(&idle, &bad).unwrap_err().to_string().contains(why), "{why}");
        }
        let mut busy = beside(50, 100);
        busy[7].answer = 0x8000_0007;
        assert!(judge(&idle, &busy).unwrap_err().to_string().contains("was answered by"));
    }
}
