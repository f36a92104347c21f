//! One boot of an operating system, watched: when each step was, what the guest said, and how it ended.

use crate::boot::{self, Built};
use crate::guest;
use crate::guest::ending::Ending;
use crate::guest::last_word::Ear;
use crate::qemu::{Event, Qemu, Source, listen};
use anyhow::{Result, ensure};
use core::time::Duration;
use std::io::Write;
use std::time::Instant;

/// How it is booted.
#[derive(Debug, Clone, Copy)]
pub struct How<'a> {
    /// Lines for the machine.
    pub config: &'a str,
    /// MiB of the machine.
    pub memory: u32,
    /// Further options of QEMU.
    pub options: &'a [String],
    /// What is typed at the shell's first prompt.
    pub typed: &'a str,
    /// The firmware's word after which nothing more is waited for.
    pub until: Option<&'a str>,
    /// When it must have ended.
    pub timeout: Duration,
}

/// A moment: since QEMU's start, and the processor time that QEMU had used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// By the clock.
    pub elapsed: Duration,
    /// On the processor.
    pub cpu: Duration,
    /// Of that, in the host's kernel.
    pub kernel: Duration,
}

/// A line of the firmware's console.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it came.
    pub at: Moment,
    /// What it says, behind `quoin: `.
    pub text: String,
}

/// Ticks of the time-stamp counter that were spent in VMPL0, VMPL2 and the machine itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticks {
    /// The firmware's.
    pub vmpl0: u64,
    /// The guest's.
    pub vmpl2: u64,
    /// The machine's.
    pub machine: u64,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The firmware's lines.
    pub lines: Vec<Line>,
    /// Ticks at each of those, with `ticks=1` among the machine's lines.
    pub ticks: Vec<Ticks>,
    /// Ticks at the end.
    pub last_ticks: Option<Ticks>,
    /// Userland's first word.
    pub userland: Option<Moment>,
    /// What the guest has written.
    pub transcript: String,
    /// How it has ended; nothing where only the beginning was wanted.
    pub ending: Option<Ending>,
    /// How long all of it took.
    pub all: Moment,
    /// What firmware and machine said last.
    pub last_lines: String,
}

/// Userland's first line.
const USERLAND: &str = "@userland ";
/// A shell's prompt.
const PROMPT: &str = "~ # ";

/// Boots and watches. An end that was not asked for is an error.
pub fn watch(built: &Built, how: &How<'_>) -> Result<Seen> {
    let mut qemu = boot::start_with(built, how.config, how.memory, how.options)?;
    let mut serial = qemu.guest_serial()?;
    serial.set_read_timeout(None)?;
    let said = listen(serial.try_clone()?);
    let (mut seen, mut ear, mut typed) = (Seen::default(), Ear::default(), how.typed.is_empty());
    let deadline = Instant::now() + how.timeout;
    loop {
        let ended = qemu.has_ended()?;
        let mut quiet = true;
        while let Some(event) = qemu.next_event(Duration::from_millis(if quiet { 20 } else { 1 })) {
            quiet = false;
            seen.note(&event, moment(&qemu));
        }
        while let Ok(bytes) = said.try_recv() {
            quiet = false;
            ear.hear(&bytes);
            seen.transcript.push_str(&String::from_utf8_lossy(&bytes));
            if seen.userland.is_none() && seen.transcript.contains(USERLAND) {
                seen.userland = Some(moment(&qemu));
            }
            if !typed && seen.transcript.contains(PROMPT) {
                typed = true;
                serial.write_all(how.typed.as_bytes())?;
            }
        }
        let is_last = |line: &Line| how.until.is_some_and(|word| line.text.starts_with(word));
        if quiet && (ended || ear.has_panicked() || seen.lines.last().is_some_and(is_last)) {
            break;
        }
        ensure!(Instant::now() < deadline, "nothing after {} s\n{}", how.timeout.as_secs(), qemu.last_lines());
    }
    seen.all = moment(&qemu);
    if how.until.is_none() {
        let end = if qemu.has_ended()? { Some(qemu.wait(Duration::from_secs(1))?) } else { None };
        let limit = how.timeout.as_secs();
        seen.ending = Some(guest::judge(&mut qemu, 2, end, &ear.last_word, seen.transcript.len(), limit));
    }
    seen.last_lines = qemu.last_lines();
    Ok(seen)
}

fn moment(qemu: &Qemu) -> Moment {
    let (own, kernel) = qemu.cpu_times().unwrap_or_default();
    Moment { elapsed: qemu.elapsed(), cpu: own + kernel, kernel }
}

impl Seen {
    fn note(&mut self, event: &Event, now: Moment) {
        match event.source {
            Source::Firmware => {
                if let Some(text) = event.line.strip_prefix("quoin: ") {
                    let at = Moment { elapsed: event.elapsed, ..now };
                    self.lines.push(Line { at, text: text.to_owned() });
                }
            }
            Source::Machine => match ticks(&event.line) {
                Some((ticks, "a line of VMPL0")) => self.ticks.push(ticks),
                Some((ticks, "at the end")) => self.last_ticks = Some(ticks),
                _ => {}
            },
        }
    }

    /// The first of the firmware's lines that begins with `word`, and its number.
    pub fn line(&self, word: &str) -> Option<(usize, &Line)> {
        self.lines.iter().enumerate().find(|(_, line)| line.text.split(' ').next() == Some(word))
    }
}

/// `… ticks: VMPL0 1, VMPL2 2, this machine 3; WHEN`.
fn ticks(line: &str) -> Option<(Ticks, &str)> {
    let (_, ticks) = line.strip_prefix("machine: ")?.split_once("ticks: VMPL0 ")?;
    let (vmpl0, rest) = ticks.split_once(", VMPL2 ")?;
    let (vmpl2, rest) = rest.split_once(", this machine ")?;
    let (machine, when) = rest.split_once("; ")?;
    Some((Ticks { vmpl0: vmpl0.parse().ok()?, vmpl2: vmpl2.parse().ok()?, machine: machine.parse().ok()? }, when))
}

#[cfg(test)]
mod tests {
    use super::{Moment, Seen, Ticks, ticks};
    use crate::qemu::{Event, Source};
    use core::time::Duration;

    const LINE: &str = "machine: 9 exits, 1 of them nested page faults, 4 instructions ahead; ticks: VMPL0 10, VMPL2 20, this machine 30; at the end";

    #[test]
    fn ticks_are_read_from_the_machines_line() {
        let expected = Ticks { vmpl0: 10, vmpl2: 20, machine: 30 };
        assert_eq!(ticks(LINE), Some((expected, "at the end")));
        assert_eq!(ticks(&LINE.replace("VMPL2 20", "VMPL2 x")), None);
        assert_eq!(ticks("machine: launch digest 00"), None);
    }

    #[test]
    fn lines_and_ticks_are_told_apart() {
        let mut seen = Seen::default();
        for (source, line) in [
            (Source::Firmware, "quoin: memory 1 MiB"),
            (Source::Firmware, "quoin: guest started"),
            (Source::Firmware, "something of the guest's"),
            (Source::Machine, &LINE.replace("at the end", "a line of VMPL0")),
            (Source::Machine, LINE),
        ] {
            let line = line.to_owned();
            seen.note(&Event { elapsed: Duration::ZERO, source, line }, Moment::default());
        }
        assert_eq!((seen.lines.len(), seen.ticks.len(), seen.last_ticks.map(|ticks| ticks.vmpl2)), (2, 1, Some(20)));
        assert_eq!(seen.line("guest").map(|(number, _)| number), Some(1));
        assert!(seen.line("gue").is_none());
    }
}
