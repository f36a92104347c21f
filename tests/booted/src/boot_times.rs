//! How long Linux takes to userland, and which part of it is the firmware's.
//!
//! Each way is booted twice. Once as ever, for times by the clock and on the processor. Then with QEMU counting
//! instructions (`-icount shift=0`): the time-stamp counter then advances by one with each of them, and the machine
//! reads it whenever it enters and leaves a VMPL. So the firmware's own instructions, the guest's, and those by which
//! the machine emulates SEV-SNP are told apart; one VMRUN and its exit count as the VMPL's. Each iteration of a
//! repeated string instruction counts.

use anyhow::{Context, Result, ensure};
use core::time::Duration;
use host::boot::Built;
use host::figures::{self, Figure};
use host::guest::ending::Ending;
use host::guest::ovmf::Ovmf;
use host::guest::{self, System};
use host::watch::{How, Moment, Seen, Ticks, watch};
use host::{debian, qemu};

/// Userland is reached, and the power goes off.
const COMMAND_LINE: &str = "console=ttyS1 quiet";
/// MiB of the machine: 384 are the guest's.
const MEMORY: u32 = 512;
const TIMEOUT: Duration = Duration::from_secs(900);
/// Pages from 4 GiB up in the memory map of a guest of 16 GiB. Nothing is behind them: OVMF's firmware validates
/// nothing of them, and the boot ends before OVMF looks.
const MORE_PAGES: u64 = (16 * 1024 - 384) * 256;

/// The firmware's words that end a part of its boot, and what the part is.
const PARTS: [(&str, &str); 5] = [
    ("vmpl0", "own memory, host, CPUID page"),
    ("memory", "entropy, guest's memory validated, zeroed, granted"),
    ("ek", "TPM manufactured, EKs, a report"),
    ("measured", "guest's image measured into PCRs"),
    ("guest", "guest's pages and registers"),
];

/// A way to boot.
struct Way {
    name: &'static str,
    built: Built,
    options: Vec<String>,
}

/// Prints a table for each way whose name contains `filter`.
pub fn print(filter: &str) -> Result<()> {
    debian::ensure(&[qemu::PROGRAM])?;
    let ways = ways(filter)?;
    ensure!(!ways.is_empty(), "no way has `{filter}` in its name");
    for way in &ways {
        let timed = boot(way, "", &way.options)?;
        let counting: Vec<String> =
            way.options.iter().cloned().chain(["-icount", "shift=0"].map(String::from)).collect();
        let counted = boot(way, "\nticks=1", &counting)?;
        let table = table(way.name, &timed, &counted)?;
        print!("{table}");
        if let Some(share) = table.lines().last().filter(|_| way.options.is_empty()) {
            figures::keep(Figure::Share, share.trim());
        }
        println!("  memory of the firmware, guest of 384 MiB: {}", memory(&timed)?);
        if !way.options.is_empty() {
            println!(
                "  memory of the firmware, guest of 16 GiB (in the memory map, not there): {}",
                memory(&of_16_gib(way)?)?
            );
        }
    }
    Ok(())
}

fn ways(filter: &str) -> Result<Vec<Way>> {
    let system = System::prepare()?;
    let mut ways = Vec::new();
    if "Linux, directly".contains(filter) {
        let built = system.build(COMMAND_LINE, "times-linux.igvm")?;
        ways.push(Way { name: "Linux, directly", built, options: Vec::new() });
    }
    if "OVMF, Linux".contains(filter) {
        let ovmf = Ovmf::fetch()?;
        let disk = crate::ovmf::unified_disk(&system, COMMAND_LINE, "times.disk")?;
        let built = crate::ovmf::built(&ovmf.code()?, "times-ovmf.igvm")?;
        ways.push(Way { name: "OVMF, Linux", built, options: guest::disk(&disk) });
    }
    Ok(ways)
}

fn boot(way: &Way, config: &str, options: &[String]) -> Result<Seen> {
    let config = format!("{}{config}", guest::CONFIG);
    let how = How { config: &config, memory: MEMORY, options, typed: "", until: None, timeout: TIMEOUT };
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

/// Seconds and millions between two points.
struct Row {
    elapsed: f64,
    cpu: f64,
    ticks: Option<Ticks>,
}

impl Row {
    fn new(from: Moment, to: Moment, ticks: Option<(Ticks, Ticks)>) -> Self {
        let seconds = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64();
        let ticks = ticks.map(|(from, to)| Ticks {
            vmpl0: to.vmpl0.saturating_sub(from.vmpl0),
            vmpl2: to.vmpl2.saturating_sub(from.vmpl2),
            machine: to.machine.saturating_sub(from.machine),
        });
        Self { elapsed: seconds(from.elapsed, to.elapsed), cpu: seconds(from.cpu, to.cpu), ticks }
    }

    fn print(&self, name: &str) -> String {
        #[expect(clippy::cast_precision_loss, reason = "millions are printed")]
        let millions = |ticks: u64| format!("{:.1}", ticks as f64 / 1e6);
        let [vmpl0, vmpl2, machine] = self.ticks.map_or_else(
            || ["", "", ""].map(String::from),
            |ticks| [ticks.vmpl0, ticks.vmpl2, ticks.machine].map(millions),
        );
        format!("  {name:<52}{:>8.0}{:>8.0}{vmpl0:>12}{vmpl2:>12}{machine:>12}\n", self.elapsed * 1e3, self.cpu * 1e3)
    }
}

fn table(name: &str, timed: &Seen, counted: &Seen) -> Result<String> {
    let head = ["ms", "CPU ms", "VMPL0", "VMPL2", "machine"];
    let mut text =
        format!("{name}: millions of instructions in VMPL0 (the firmware), VMPL2 (the guest) and the machine\n");
    text += &format!("  {:<52}{:>8}{:>8}{:>12}{:>12}{:>12}\n", "", head[0], head[1], head[2], head[3], head[4]);
    // The launch ends where the firmware's first line is: what it has done until then takes some milliseconds.
    let (mut from, mut ticks) = (None, Ticks::default());
    let (mut entry, mut guest) = (Moment::default(), Moment::default());
    for (word, part) in PARTS {
        let (Some((_, line)), Some((number, _))) = (timed.line(word), counted.line(word)) else { continue };
        let now =
            *counted.ticks.get(number).context("the machine has counted fewer lines than the firmware has written")?;
        match from {
            None => {
                entry = line.at;
                text += &Row::new(Moment::default(), line.at, None)
                    .print("launch by the machine, to the firmware's first line");
                text += &Row::new(line.at, line.at, Some((ticks, now))).print(part);
            }
            Some(from) => text += &Row::new(from, line.at, Some((ticks, now))).print(part),
        }
        (from, ticks, guest) = (Some(line.at), now, line.at);
    }
    let (userland, end) = (timed.userland.context("no userland")?, counted.last_ticks.context("no ticks at the end")?);
    text += &Row::new(entry, guest, Some((Ticks::default(), ticks))).print("= firmware entry to guest entry");
    text +=
        &Row::new(guest, userland, Some((ticks, end))).print("guest entry to userland (instructions: to power-off)");
    let firmware = Row::new(entry, guest, None);
    let whole = Row::new(entry, userland, None);
    #[expect(clippy::cast_precision_loss, reason = "a percentage is printed")]
    let by_instructions = ticks.vmpl0 as f64 / (end.vmpl0 + end.vmpl2) as f64;
    text += &format!(
        "  the firmware's share of the way to userland: {:.1} % of the time, {:.1} % of the processor's, {:.1} % of the instructions in VMPL0 and VMPL2\n",
        100.0 * firmware.elapsed / whole.elapsed,
        100.0 * firmware.cpu / whole.cpu,
        100.0 * by_instructions
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{memory, table};
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
            Moment { elapsed: time, cpu: time / 2 }
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

    #[test]
    fn parts_and_shares_are_computed_from_lines_and_ticks() {
        let text = table("a way", &seen(), &seen()).unwrap();
        let row = |start: &str| {
            text.lines().find(|line| line.contains(start)).unwrap().split_whitespace().rev().take(5).collect::<Vec<_>>()
        };
        assert_eq!(row("validated"), ["3.0", "0.0", "1.0", "1000", "2000"]);
        assert_eq!(row("= firmware entry"), ["15.0", "0.0", "5.0", "2000", "4000"]);
        assert_eq!(row("to power-off"), ["1.0", "95.0", "0.0", "8000", "16000"]);
        assert!(text.contains("20.0 % of the time, 20.0 % of the processor's, 5.0 % of the instructions"), "{text}");
    }

    #[test]
    fn a_boot_without_ticks_has_no_table() {
        assert!(table("a way", &seen(), &Seen { ticks: Vec::new(), ..seen() }).is_err());
        assert!(table("a way", &Seen { userland: None, ..seen() }, &seen()).is_err());
    }

    #[test]
    fn figures_are_the_firmwares() {
        let expected = "heap 261 KiB used, 4666 KiB free; stack 300 of 2048 KiB used, ownership map 14 KiB";
        assert_eq!(memory(&seen()).unwrap(), expected);
    }
}
