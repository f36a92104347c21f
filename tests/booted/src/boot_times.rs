//! How long Linux takes to userland, and which part of it is the firmware's.
//!
//! Each way is booted three times. Twice for times, by the clock and on the processor: as ever, where QEMU has
//! populated the guest's memory before it begins, and where the host's kernel finds and clears each page when it is
//! touched first. Who touches all memory first is the firmware, or rather the machine in its place; but what that
//! costs is the host's to say, and on a virtual computer its host's. Then once with QEMU counting instructions
//! (`-icount shift=0`): the time-stamp counter then advances by one with each of them, and the machine reads it
//! whenever it enters and leaves a VMPL. So the firmware's own instructions, the guest's, and those by which the
//! machine emulates SEV-SNP are told apart; one VMRUN and its exit count as the VMPL's. Each iteration of a repeated
//! string instruction counts.
//!
//! The firmware's share, of instructions and of the processor's time in memory that is there, has a limit. A share by
//! the clock says more about other programs on the computer.

use anyhow::{Context, Result, ensure};
use core::fmt;
use core::time::Duration;
use host::boot::Built;
use host::figures::{self, Figure};
use host::guest::ending::Ending;
use host::guest::ovmf::Ovmf;
use host::guest::{self, System};
use host::watch::{How, Moment, Seen, Ticks, watch};
use host::{boot, debian, qemu};

/// Userland is reached, and the power goes off.
const COMMAND_LINE: &str = "console=ttyS1 quiet";
/// MiB of the machine: 384 are the guest's.
const MEMORY: u32 = 512;
/// QEMU counts instructions.
const COUNTING: [&str; 2] = ["-icount", "shift=0"];
/// The firmware's share may be so much.
const LIMIT_PERCENT: f64 = 5.0;
const TIMEOUT: Duration = Duration::from_secs(900);
/// Pages from 4 GiB up in the memory map of a guest of 16 GiB. Nothing is behind them: OVMF's firmware validates
/// nothing of them, and the boot ends before OVMF looks.
const MORE_PAGES: u64 = (16 * 1024 - 384) * 256;

/// The firmware's words that end a part of its boot, and what the part is.
const PARTS: [(&str, &str); 5] = [
    ("vmpl0", "own memory, host, CPUID page"),
    ("memory", "entropy, guest's memory validated, zeroed, granted"),
    ("tpm", "TPM manufactured"),
    ("measured", "a report, guest's image measured into PCRs"),
    ("guest", "guest's pages and registers"),
];

/// A way to boot.
struct Way {
    name: &'static str,
    figure: Figure,
    built: Built,
    options: Vec<String>,
}

/// Prints a table for each way whose name contains `filter`.
pub fn print(filter: &str) -> Result<()> {
    debian::ensure(&[qemu::PROGRAM])?;
    let ways = ways(filter)?;
    ensure!(!ways.is_empty(), "no way has `{filter}` in its name");
    let mut shares = Vec::new();
    for way in &ways {
        // The other way round, a virtual computer would have the memory of the boot before at hand.
        let fresh = booted(way, "", &[])?;
        let populated = booted(way, "", &boot::populated(MEMORY))?;
        let counted = booted(way, "\nticks=1", &COUNTING.map(String::from))?;
        let (table, share) = table(way.name, &populated, &fresh, &counted)?;
        println!("{table}  {share}");
        println!("  memory of the firmware, guest of 384 MiB: {}", memory(&populated)?);
        if !way.options.is_empty() {
            println!(
                "  memory of the firmware, guest of 16 GiB (in the memory map, not there): {}",
                memory(&of_16_gib(way)?)?
            );
        }
        shares.push(share);
    }
    ways.iter().zip(&shares).try_for_each(|(way, share)| share.check(way.name))?;
    ways.iter().zip(&shares).for_each(|(way, share)| figures::keep(way.figure, &share.to_string()));
    Ok(())
}

fn ways(filter: &str) -> Result<Vec<Way>> {
    let system = System::prepare()?;
    let mut ways = Vec::new();
    if "Linux, directly".contains(filter) {
        let built = system.build(COMMAND_LINE, "times-linux.igvm")?;
        ways.push(Way { name: "Linux, directly", figure: Figure::Share, built, options: Vec::new() });
    }
    if "OVMF, Linux".contains(filter) {
        let ovmf = Ovmf::fetch()?;
        let disk = crate::ovmf::unified_disk(&system, COMMAND_LINE, "times.disk")?;
        let built = crate::ovmf::built(&ovmf.code()?, "times-ovmf.igvm")?;
        ways.push(Way { name: "OVMF, Linux", figure: Figure::ShareOvmf, built, options: guest::disk(&disk) });
    }
    Ok(ways)
}

fn booted(way: &Way, config: &str, more: &[String]) -> Result<Seen> {
    let config = format!("{}{config}", guest::CONFIG);
    let options: Vec<String> = way.options.iter().chain(more).cloned().collect();
    let how = How { config: &config, memory: MEMORY, options: &options, typed: "", until: None, timeout: TIMEOUT };
    let seen = watch(&way.built, &how).with_context(|| way.name)?;
    let reached = seen.ending == Some(Ending::PowerOff) && seen.userland.is_some();
    ensure!(reached, "{}: {:?}\n{}\n{}", way.name, seen.ending, seen.transcript, seen.last_lines);
    Ok(seen)
}

fn of_16_gib(way: &Way) -> Result<Seen> {
    let config = format!("{}\nfault=map-pages:{MORE_PAGES}", guest::CONFIG);
    let how = How {
        config: &config,
        memory: MEMORY,
        options: &way.options,
        typed: "",
        until: Some("guest"),
        timeout: TIMEOUT,
    };
    watch(&way.built, &how)
}

/// What the firmware says of its memory: the ownership map is part of the heap.
fn memory(seen: &Seen) -> Result<String> {
    let last = |word: &str, from: &str| {
        let (_, line) = seen.line(word).with_context(|| format!("no line `{word}`\n{}", seen.last_lines))?;
        let at = line.text.find(from).with_context(|| format!("no {from} in `{}`", line.text))?;
        Ok::<_, anyhow::Error>(line.text[at..].to_owned())
    };
    Ok(format!("{}, {}", last("guest", "heap")?, last("memory", "ownership map")?))
}

/// What the firmware has of all until userland, in percent.
#[derive(Debug, Clone, Copy)]
struct Share {
    instructions: f64,
    populated: f64,
    fresh: f64,
}

impl Share {
    fn check(&self, name: &str) -> Result<()> {
        let most = self.instructions.max(self.populated);
        ensure!(most <= LIMIT_PERCENT, "{name}: the firmware's share is more than {LIMIT_PERCENT} %: {self}");
        Ok(())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instructions, populated, fresh } = self;
        write!(
            f,
            "{instructions:.1} % of the instructions in VMPL0 and VMPL2; {populated:.1} % of the processor's time where the host has populated the guest's memory before, {fresh:.1} % where it finds it meanwhile"
        )
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    100.0 * part / whole
}

/// From a point to another: milliseconds and instructions.
#[derive(Default)]
struct Row {
    populated: Option<Spent>,
    fresh: Option<Spent>,
    ticks: Option<Ticks>,
}

/// Milliseconds: by the clock, on the processor, and those of the latter that are the kernel's.
#[derive(Clone, Copy)]
struct Spent {
    elapsed: f64,
    cpu: f64,
    kernel: f64,
}

impl Spent {
    fn new(from: Moment, to: Moment) -> Self {
        let ms = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() * 1e3;
        Self { elapsed: ms(from.elapsed, to.elapsed), cpu: ms(from.cpu, to.cpu), kernel: ms(from.kernel, to.kernel) }
    }
}

fn between(from: Ticks, to: Ticks) -> Ticks {
    Ticks {
        vmpl0: to.vmpl0.saturating_sub(from.vmpl0),
        vmpl2: to.vmpl2.saturating_sub(from.vmpl2),
        machine: to.machine.saturating_sub(from.machine),
    }
}

impl Row {
    fn print(&self, name: &str) -> String {
        #[expect(clippy::cast_precision_loss, reason = "millions are printed")]
        let millions = |ticks: u64| format!("{:.1}", ticks as f64 / 1e6);
        let none = || ["", "", ""].map(String::from);
        let [vmpl0, vmpl2, machine] =
            self.ticks.map_or_else(none, |ticks| [ticks.vmpl0, ticks.vmpl2, ticks.machine].map(millions));
        let ms = |spent: Option<Spent>| {
            spent.map_or_else(none, |spent| [spent.elapsed, spent.cpu, spent.kernel].map(|ms| format!("{ms:.0}")))
        };
        let [elapsed, cpu, _] = ms(self.populated);
        let [_, fresh, kernel] = ms(self.fresh);
        format!("  {name:<52}{vmpl0:>9}{vmpl2:>9}{machine:>9}{elapsed:>9}{cpu:>9}{fresh:>9}{kernel:>9}\n")
    }
}

/// A boot's moments.
struct Times<'a>(&'a Seen);

impl Times<'_> {
    /// When the firmware said `word`.
    fn at(&self, word: &str) -> Result<Moment> {
        Ok(self.0.line(word).with_context(|| format!("no line `{word}`"))?.1.at)
    }

    /// From the firmware's entry to the guest's, and from there to userland. The launch ends where the firmware's first
    /// line is: what it has done until then takes some milliseconds.
    fn halves(&self) -> Result<(Spent, Spent)> {
        let (entry, guest) = (self.at(PARTS[0].0)?, self.at("guest")?);
        Ok((Spent::new(entry, guest), Spent::new(guest, self.0.userland.context("no userland")?)))
    }
}

fn table(name: &str, populated: &Seen, fresh: &Seen, counted: &Seen) -> Result<(String, Share)> {
    let mut text = format!(
        "{name}: millions of instructions in VMPL0 (the firmware), VMPL2 (the guest) and the machine; ms by the clock and on the\n  processor, memory populated before; ms on the processor where the host finds it meanwhile, and how many of them in its kernel\n"
    );
    text += &format!(
        "  {:<52}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n",
        "", "VMPL0", "VMPL2", "machine", "ms", "CPU ms", "fresh", "kernel"
    );
    let (populated, fresh) = (Times(populated), Times(fresh));
    let row = |from: Moment, to: Moment, fresh_from: Moment, fresh_to: Moment, ticks| Row {
        populated: Some(Spent::new(from, to)),
        fresh: Some(Spent::new(fresh_from, fresh_to)),
        ticks,
    };
    let (mut from, mut fresh_from, mut ticks) = (None, Moment::default(), Ticks::default());
    for (word, part) in PARTS {
        let (Ok(at), Ok(fresh_at), Some((number, _))) = (populated.at(word), fresh.at(word), counted.line(word)) else {
            continue;
        };
        let now =
            *counted.ticks.get(number).context("the machine has counted fewer lines than the firmware has written")?;
        let since = between(ticks, now);
        match from {
            None => {
                let launch = row(Moment::default(), at, fresh_from, fresh_at, None);
                text += &launch.print("launch by the machine, to the firmware's first line");
                text += &Row { ticks: Some(since), ..Row::default() }.print(part);
            }
            Some(from) => text += &row(from, at, fresh_from, fresh_at, Some(since)).print(part),
        }
        (from, fresh_from, ticks) = (Some(at), fresh_at, now);
    }
    let end = counted.last_ticks.context("no ticks at the end")?;
    let ((firmware, guest), (fresh_firmware, fresh_guest)) = (populated.halves()?, fresh.halves()?);
    let half = |populated, fresh, ticks| Row { populated: Some(populated), fresh: Some(fresh), ticks: Some(ticks) };
    text += &half(firmware, fresh_firmware, ticks).print("= firmware entry to guest entry");
    text +=
        &half(guest, fresh_guest, between(ticks, end)).print("guest entry to userland (instructions: to power-off)");
    #[expect(clippy::cast_precision_loss, reason = "a percentage is printed")]
    let share = Share {
        instructions: percent(ticks.vmpl0 as f64, (end.vmpl0 + end.vmpl2) as f64),
        populated: percent(firmware.cpu, firmware.cpu + guest.cpu),
        fresh: percent(fresh_firmware.cpu, fresh_firmware.cpu + fresh_guest.cpu),
    };
    Ok((text, share))
}

#[cfg(test)]
mod tests {
    use super::{Share, memory, table};
    use core::time::Duration;
    use host::watch::{Line, Moment, Seen, Ticks};

    fn seen() -> Seen {
        let lines = [
            (1, "vmpl0 entered"),
            (3, "memory 360 MiB validated, ownership map 14 KiB"),
            (5, "guest started; heap 261 KiB used, 4666 KiB free; stack 300 of 2048 KiB used"),
        ];
        let at = |seconds| {
            let time = Duration::from_secs(seconds);
            Moment { elapsed: time, cpu: time / 2, kernel: time / 4 }
        };
        let ticks = |n: u64| Ticks { vmpl0: n * 1_000_000, vmpl2: 0, machine: n * 3_000_000 };
        Seen {
            lines: lines.map(|(seconds, text)| Line { at: at(seconds), text: text.to_owned() }).into(),
            ticks: [1, 2, 5].map(ticks).into(),
            last_ticks: Some(Ticks { vmpl0: 5_000_000, vmpl2: 95_000_000, machine: 16_000_000 }),
            userland: Some(at(21)),
            ..Seen::default()
        }
    }

    /// Userland comes at once.
    fn fresh() -> Seen {
        Seen { userland: Some(seen().lines[2].at), ..seen() }
    }

    #[test]
    fn parts_and_shares_are_computed_from_lines_and_ticks() {
        let (text, share) = table("a way", &seen(), &fresh(), &seen()).unwrap();
        let row = |start: &str| {
            text.lines().find(|line| line.contains(start)).unwrap().split_whitespace().rev().take(7).collect::<Vec<_>>()
        };
        assert_eq!(row("validated"), ["500", "1000", "1000", "2000", "3.0", "0.0", "1.0"]);
        assert_eq!(row("= firmware entry"), ["1000", "2000", "2000", "4000", "15.0", "0.0", "5.0"]);
        assert_eq!(row("to power-off"), ["0", "0", "8000", "16000", "1.0", "95.0", "0.0"]);
        assert_eq!(
            share.to_string(),
            "5.0 % of the instructions in VMPL0 and VMPL2; 20.0 % of the processor's time where the host has populated the guest's memory before, 100.0 % where it finds it meanwhile"
        );
    }

    #[test]
    fn the_limit_is_for_instructions_and_for_memory_that_is_there() {
        let good = Share { instructions: 5.0, populated: 5.0, fresh: 50.0 };
        assert!(good.check("a way").is_ok());
        assert!(Share { instructions: 5.1, ..good }.check("a way").is_err());
        assert!(Share { populated: 5.1, ..good }.check("a way").unwrap_err().to_string().starts_with("a way: "));
    }

    #[test]
    fn a_boot_without_ticks_has_no_table() {
        let without = Seen { ticks: Vec::new(), ..seen() };
        assert!(table("a way", &seen(), &seen(), &without).is_err());
        assert!(table("a way", &seen(), &Seen { userland: None, ..seen() }, &seen()).is_err());
    }

    #[test]
    fn figures_are_the_firmwares() {
        let expected = "heap 261 KiB used, 4666 KiB free; stack 300 of 2048 KiB used, ownership map 14 KiB";
        assert_eq!(memory(&seen()).unwrap(), expected);
    }
}
