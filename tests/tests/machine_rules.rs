//! The software SEV-SNP machine is itself tested: a deliberately wrong firmware for each of its rules is stopped with
//! that rule's name, correct firmware passes, each lie of the host is there when it is asked for, and launches that are
//! none are refused.
//!
//! The table of cases is the payload's own (tests/rules/src/cases.rs). Run by `cargo xtask test --suite machine`, or
//! alone by `cargo test -p quoin-tests --features qemu --test machine_rules -- [FILTER]` after `cargo build -p xtask`.

#[path = "../rules/src/cases.rs"]
mod cases;

use anyhow::{Context, Error, Result, ensure};
use cases::{CASES, Case, Expect, REFUSED};
use core::time::Duration;
use host::image::{self, Payload};
use host::psp::Identity;
use host::qemu::{End, Qemu, Settings, Source, Turns};
use host::{boot, build};
use libtest_mimic::{Arguments, Failed, Trial};
use quoin_image::elf::Elf;
use quoin_verify::digest;
use std::path::Path;
use std::sync::Arc;

/// A case takes a fraction of a second; a busy host gets two minutes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a case's configuration has for this suite: how many processors QEMU emulates.
const PROCESSORS: &str = "processors=";

/// And its SEV_FEATURES.
const SEV_FEATURES: &str = "sev-features=";

/// What a case has for this suite; 1 otherwise.
fn of_suite(case: &Case, key: &str) -> Result<u8> {
    match case.config.split(' ').find_map(|line| line.strip_prefix(key)) {
        Some(number) => Ok(number.parse()?),
        None => Ok(1),
    }
}

/// Machine and payload, built.
struct Bench {
    machine: std::path::PathBuf,
    image: Vec<u8>,
    rules: Elf,
}

/// How a boot went.
struct Outcome {
    end: End,
    machine: String,
    console: String,
}

impl Bench {
    fn new() -> Result<Self> {
        let programs = build::build(build::RULES)?;
        let rules = programs.rules();
        Ok(Self {
            machine: programs.machine(),
            image: image::pack(&rules, Payload::Nothing)?.bytes,
            rules: Elf::read(&rules)?,
        })
    }

    /// A case's lines, with the symbols' addresses.
    fn config(&self, case: &Case) -> Result<String> {
        let lines =
            case.config.split(' ').filter(|line| !line.starts_with(PROCESSORS) && !line.starts_with(SEV_FEATURES));
        let mut config = format!("case={}\n{}\n", case.name, lines.collect::<Vec<_>>().join("\n"));
        while let Some((before, rest)) = config.split_once('{') {
            let (name, after) = rest.split_once('}').context("no end of a symbol's name")?;
            config = format!("{before}{:#x}{after}", self.rules.address(name)?);
        }
        Ok(config)
    }

    fn boot(&self, image: &[u8], config: &str) -> Result<Outcome> {
        self.boot_on(1, image, config)
    }

    fn boot_on(&self, processors: u32, image: &[u8], config: &str) -> Result<Outcome> {
        let psp = Identity::development().fw_cfg_bundle();
        let mut qemu = Qemu::start(&Settings {
            machine: Path::new(&self.machine),
            image,
            psp: &psp,
            config,
            memory_mib: boot::MEMORY_MIB,
            processors,
            turns: Turns::InOneThread,
            options: &[],
        })?;
        let end = qemu.wait(TIMEOUT)?;
        let (mut machine, mut console) = (String::new(), String::new());
        // QEMU has ended, so what it said is on its way or here.
        while let Some(event) = qemu.next_event(Duration::from_secs(2)) {
            let text = if event.source == Source::Machine { &mut machine } else { &mut console };
            text.push_str(&event.line);
            text.push('\n');
        }
        Ok(Outcome { end, machine, console })
    }
}

impl Outcome {
    fn expect(&self, end: End, line: &str) -> Result<()> {
        ensure!(
            self.end == end && self.machine.lines().any(|said| said.contains(line)),
            "expected {end:?} and a line with `{line}`, but the machine ended with {:?} and said:\n{}console:\n{}",
            self.end,
            self.machine,
            self.console
        );
        Ok(())
    }
}

fn case(bench: &Bench, case: &Case) -> Result<()> {
    let mut parts = Parts::of(&bench.image);
    parts.change_vmsa(0x3B0, of_suite(case, SEV_FEATURES)?)?;
    let outcome = bench.boot_on(of_suite(case, PROCESSORS)?.into(), &parts.join(), &bench.config(case)?)?;
    match case.expect {
        Expect::Ok | Expect::OfChangedFile => {
            ensure!(
                outcome.console.lines().any(|line| line == "done"),
                "the payload did not come to its end:\n{}",
                outcome.machine
            );
            outcome.expect(End::Orderly, "machine: END ")
        }
        Expect::Stop(rule) => outcome.expect(End::RuleBroken, &format!("machine: STOP rule={rule} gpa=0x")),
        Expect::Terminated(set, code) => {
            outcome.expect(End::Terminated, &format!("machine: TERMINATED set={set} code={code} vmpl=0"))
        }
    }
}

/// An IGVM file taken apart: everything before and behind the variable headers, and each of those.
struct Parts {
    fixed: Vec<u8>,
    headers: Vec<Vec<u8>>,
    data: Vec<u8>,
}

const PLATFORM: u32 = 0x001;
const POLICY: u32 = 0x101;
const PAGE_DATA: u32 = 0x302;
const REQUIRED_MEMORY: u32 = 0x305;
const VP_CONTEXT: u32 = 0x304;
const MADT: u32 = 0x309;
const MEMORY_MAP: u32 = 0x30C;

fn u32_at(bytes: &[u8], offset: usize) -> usize {
    bytes[offset..offset + 4].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// CRC-32, reflected, as IGVM wants it.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

impl Parts {
    fn of(file: &[u8]) -> Self {
        let (start, len) = (u32_at(file, 8), u32_at(file, 12));
        let mut rest = &file[start..start + len];
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let (header, tail) = rest.split_at((8 + u32_at(rest, 4)).next_multiple_of(8).min(rest.len()));
            headers.push(header.to_vec());
            rest = tail;
        }
        Self { fixed: file[..start].to_vec(), headers, data: file[start + len..].to_vec() }
    }

    fn position(&self, kind: u32) -> Result<usize> {
        self.headers.iter().position(|header| u32_at(header, 0) == kind as usize).context("the file has no such header")
    }

    /// Changes a byte of the VMSA.
    fn change_vmsa(&mut self, field: usize, value: u8) -> Result<()> {
        let contents = u32_at(&self.headers[self.position(VP_CONTEXT)?], 20);
        let data = self.fixed.len() + self.headers.concat().len();
        self.data[contents - data + field] = value;
        Ok(())
    }

    /// Puts a header before the VMSA's, with `contents` at the end of the file if there are some. All other contents
    /// move.
    fn add_page(&mut self, mut header: Vec<u8>, contents: &[u8]) -> Result<()> {
        let size = header.len();
        for other in &mut self.headers {
            // IGVM_VHS_PAGE_DATA and IGVM_VHS_VP_CONTEXT have the offset of their contents at the same place.
            if [PAGE_DATA as usize, VP_CONTEXT as usize].contains(&u32_at(other, 0)) && u32_at(other, 20) != 0 {
                let moved = u32::try_from(u32_at(other, 20) + size)?;
                other[20..24].copy_from_slice(&moved.to_le_bytes());
            }
        }
        let headers = self.headers.concat().len() + size;
        let end = self.fixed.len() + headers + self.data.len();
        let at = if contents.is_empty() { 0 } else { u32::try_from(end)? };
        header[20..24].copy_from_slice(&at.to_le_bytes());
        let vmsa = self.position(VP_CONTEXT)?;
        self.headers.insert(vmsa, header);
        self.data.extend_from_slice(contents);
        self.fixed[12..16].copy_from_slice(&u32::try_from(headers)?.to_le_bytes());
        self.fixed[16..20].copy_from_slice(&u32::try_from(end + contents.len())?.to_le_bytes());
        Ok(())
    }

    /// The file, with a right checksum.
    fn join(&self) -> Vec<u8> {
        let mut file = self.fixed.clone();
        file[20..24].fill(0);
        let headers = self.headers.concat();
        let sum = crc32(file.iter().copied().chain(headers.iter().copied()));
        file[20..24].copy_from_slice(&sum.to_le_bytes());
        [file, headers, self.data.clone()].concat()
    }
}

type Change = fn(&mut Parts) -> Result<()>;

/// Files that no secure processor would launch, and what the machine says of them.
const NO_LAUNCH: &[(&str, &str, Change)] = &[
    ("page-twice", "launched twice", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first + 1] = parts.headers[first].clone();
        Ok(())
    }),
    ("page-without-memory", "no memory", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][8..16].copy_from_slice(&0x7000_0000u64.to_le_bytes());
        Ok(())
    }),
    ("page-in-the-machine", "no memory", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][8..16].copy_from_slice(&0x1800_0000u64.to_le_bytes());
        Ok(())
    }),
    ("page-shared", "a page is shared", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][24] = 4;
        Ok(())
    }),
    ("required-without-memory", "no memory", |parts| {
        let first = parts.position(REQUIRED_MEMORY)?;
        parts.headers[first][8..16].copy_from_slice(&0x7000_0000u64.to_le_bytes());
        Ok(())
    }),
    ("required-misaligned", "whole pages", |parts| {
        let first = parts.position(REQUIRED_MEMORY)?;
        parts.headers[first][20] = 8;
        Ok(())
    }),
    ("page-misaligned", "misaligned", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][8] = 8;
        Ok(())
    }),
    ("page-data-beyond-the-file", "beyond the end of the file", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][20..24].fill(0xFF);
        Ok(())
    }),
    ("vmsa-not-last", "after a VMSA", |parts| {
        let vmsa = parts.position(VP_CONTEXT)?;
        let header = parts.headers.remove(vmsa);
        parts.headers.insert(vmsa - 1, header);
        Ok(())
    }),
    ("vmsa-elsewhere", "VMSA", |parts| {
        let vmsa = parts.position(VP_CONTEXT)?;
        parts.headers[vmsa][9] ^= 0x10;
        Ok(())
    }),
    ("vmsa-with-another-field", "does not give to KVM", |parts| {
        // CR2.
        parts.change_vmsa(0x240, 1)
    }),
    ("vmsa-with-paging", "as KVM makes them", |parts| parts.change_vmsa(0x15B, 0x80)),
    ("vmsa-without-snp", "as KVM makes them", |parts| parts.change_vmsa(0x3B0, 0)),
    ("vmsa-with-restricted-injection", "does not support", |parts| parts.change_vmsa(0x3B0, 9)),
    ("directive-of-nobody", "QEMU does not know", |parts| {
        let first = parts.position(PAGE_DATA)?;
        parts.headers[first][..4].copy_from_slice(&0x30Du32.to_le_bytes());
        Ok(())
    }),
    ("no-platform", "no VMSA for SEV-SNP", |parts| {
        let platform = parts.position(PLATFORM)?;
        parts.headers[platform][13] = 3;
        Ok(())
    }),
    ("policy-without-bit-17", "bit 17", |parts| {
        let policy = parts.position(POLICY)?;
        parts.headers[policy][10] = 1;
        Ok(())
    }),
    ("header-beyond-the-end", "beyond the end", |parts| {
        let last = parts.headers.len() - 1;
        parts.headers[last][4..8].copy_from_slice(&0x1000u32.to_le_bytes());
        Ok(())
    }),
    ("version-9", "format version", |parts| {
        parts.fixed[4] = 9;
        Ok(())
    }),
    ("size-wrong", "size", |parts| {
        parts.data.push(0);
        Ok(())
    }),
];

fn no_launch(bench: &Bench, says: &str, change: Change) -> Result<()> {
    let mut parts = Parts::of(&bench.image);
    change(&mut parts)?;
    bench.boot(&parts.join(), "case=memory\n")?.expect(End::BadLaunch, says)
}

fn checksum(bench: &Bench) -> Result<()> {
    let mut file = bench.image.clone();
    file[20] ^= 1;
    bench.boot(&file, "case=memory\n")?.expect(End::BadLaunch, "checksum")
}

/// The machine's launch digest is what `xtask measure` computes, and the order of the pages counts.
fn digests(bench: &Bench) -> Result<()> {
    let mut parts = Parts::of(&bench.image);
    ensure!(parts.join() == bench.image, "taking apart and joining has changed the file");
    let mut seen = Vec::new();
    for turn in 0..3 {
        let file = parts.join();
        let expected = digest::hex(&digest::measure(&file)?.digest);
        bench.boot(&file, "case=memory\n")?.expect(End::Orderly, &format!("machine: launch digest {expected}"))?;
        ensure!(!seen.contains(&expected), "another order, the same digest");
        seen.push(expected);
        let first = parts.position(PAGE_DATA)? + turn;
        parts.headers.swap(first, first + 1);
    }
    Ok(())
}

/// A register state for each processor, the same for all, of the number of each.
fn for_processors(file: &[u8], count: u8) -> Result<Vec<u8>> {
    let mut parts = Parts::of(file);
    let first = parts.position(VP_CONTEXT)?;
    let mut header = parts.headers[first].clone();
    let contents = u32_at(&header, 20) - parts.fixed.len() - parts.headers.concat().len();
    let state = parts.data[contents..contents + 4096].to_vec();
    for number in 1..count {
        // IGVM_VHS_VP_CONTEXT: GPA, mask, contents, number.
        header[24] = number;
        parts.add_page(header.clone(), &state)?;
        let added = parts.headers.remove(first);
        parts.headers.push(added);
    }
    Ok(parts.join())
}

/// The launch measures a register state for each processor: those of the file. One that the file has not is in reset,
/// and makes another digest; one too many is refused.
fn digests_of_processors(bench: &Bench) -> Result<()> {
    let line = |file: &[u8]| Ok::<_, Error>(format!("launch digest {}", digest::hex(&digest::measure(file)?.digest)));
    for count in [2, 3, 8] {
        let file = for_processors(&bench.image, count)?;
        let expected = line(&file)?;
        bench.boot_on(count.into(), &file, "case=memory\n")?.expect(End::Orderly, &expected)?;
        if count < 8 {
            let outcome = bench.boot_on(u32::from(count) + 1, &file, "case=memory\n")?;
            outcome.expect(End::Orderly, "launch digest")?;
            ensure!(!outcome.machine.contains(&expected), "one more in reset, the same digest");
        }
        bench.boot_on(u32::from(count) - 1, &file, "case=memory\n")?.expect(End::BadLaunch, "not there")?;
    }
    bench.boot_on(65, &bench.image, "case=memory\n")?.expect(End::BadLaunch, "65 processors")
}

/// Required memory is not measured, and may come before the pages or behind them; without it, what the file has no
/// contents for is not private, which a host other than KVM does not make up for.
fn required(bench: &Bench) -> Result<()> {
    let expected = format!("machine: launch digest {}", digest::hex(&digest::measure(&bench.image)?.digest));
    let mut parts = Parts::of(&bench.image);
    let first = parts.position(REQUIRED_MEMORY)?;
    ensure!(first < parts.position(PAGE_DATA)?, "required memory does not come first");
    let header = parts.headers.remove(first);
    let vmsa = parts.position(VP_CONTEXT)?;
    parts.headers.insert(vmsa, header);
    bench.boot(&parts.join(), "case=memory\n")?.expect(End::Orderly, &expected)?;
    // Of the same length, for another platform.
    parts.headers[vmsa][16] = 2;
    bench.boot(&parts.join(), "case=memory\naccess=stop\n")?.expect(End::RuleBroken, "machine: STOP rule=page-state")
}

/// ACPI's table of interrupt controllers goes where a file wants it, and not beyond its parameter area.
fn madt(bench: &Bench) -> Result<()> {
    let asked_for = |offset: u32| -> Result<Vec<u8>> {
        let mut parts = Parts::of(&bench.image);
        let words = [MADT, 16, 0, offset, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
        parts.add_page(words, &[])?;
        let header = parts.headers.remove(parts.position(MADT)?);
        let map = parts.position(MEMORY_MAP)?;
        parts.headers.insert(map + 1, header);
        Ok(parts.join())
    };
    bench.boot(&asked_for(0xF00)?, "case=launch-madt\n")?.expect(End::Orderly, "machine: END ")?;
    bench.boot(&asked_for(0xFC1)?, "case=memory\n")?.expect(End::BadLaunch, "beyond its parameter area")
}

/// A page of data without contents is one of zeros, validated: another file, the same launch and the same digest.
fn empty(bench: &Bench) -> Result<()> {
    let mut seen = Vec::new();
    for contents in [&[][..], &[0; 4096]] {
        let mut parts = Parts::of(&bench.image);
        let mut header = parts.headers[parts.position(PAGE_DATA)?].clone();
        header[8..16].copy_from_slice(&0x80_0070_0000u64.to_le_bytes());
        parts.add_page(header, contents)?;
        let file = parts.join();
        let expected = digest::hex(&digest::measure(&file)?.digest);
        let line = format!("machine: launch digest {expected}");
        bench.boot(&file, "case=empty-page\n")?.expect(End::Orderly, &line)?;
        seen.push(expected);
    }
    ensure!(seen[0] == seen[1], "{seen:?}");
    Ok(())
}

/// Where no memory is, a file may place pages of a firmware that ends at 4 GiB, as QEMU makes memory there.
fn below_4_gib(bench: &Bench) -> Result<()> {
    for gpa in [0xFF00_0000_u64, 0xFFFF_F000] {
        let mut parts = Parts::of(&bench.image);
        let mut header = parts.headers[parts.position(PAGE_DATA)?].clone();
        header[8..16].copy_from_slice(&gpa.to_le_bytes());
        parts.add_page(header, &[7; 4096])?;
        let file = parts.join();
        let line = format!("machine: launch digest {}", digest::hex(&digest::measure(&file)?.digest));
        bench.boot(&file, "case=memory\n")?.expect(End::Orderly, &line)?;
    }
    Ok(())
}

/// The same pages by one exit for a row, and by one exit for each page.
fn ahead(bench: &Bench) -> Result<()> {
    let alone = bench.boot(&bench.image, "case=goes-ahead-in-rows\nahead=no\n")?;
    alone.expect(End::Orderly, " 0 instructions ahead")?;
    let ahead = bench.boot(&bench.image, "case=goes-ahead-in-rows\n")?;
    ahead.expect(End::Orderly, "machine: END ")?;
    let none = ahead.machine.lines().any(|line| line.contains(" 0 instructions ahead"));
    ensure!(!none, "each instruction had its exit:\n{}", ahead.machine);
    Ok(())
}

/// Whatever is in the headers, the machine says something and ends, and it is not its own fault.
fn mutated(bench: &Bench, seed: u64) -> Result<()> {
    let mut parts = Parts::of(&bench.image);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap_or(0)
    };
    for _ in 0..=random(3) {
        let header = random(parts.headers.len());
        let at = random(parts.headers[header].len());
        parts.headers[header][at] ^= 1 << random(8);
    }
    let outcome = bench.boot(&parts.join(), "case=memory\n")?;
    ensure!(
        matches!(outcome.end, End::Orderly | End::RuleBroken | End::BadLaunch | End::Terminated),
        "the machine ended with {:?} and said:\n{}",
        outcome.end,
        outcome.machine
    );
    Ok(())
}

fn trial(bench: &Arc<Bench>, name: String, run: impl FnOnce(&Bench) -> Result<()> + Send + 'static) -> Trial {
    let bench = Arc::clone(bench);
    Trial::test(name, move || run(&bench).map_err(|error| Failed::from(format!("{error:#}"))))
}

fn main() -> Result<()> {
    let arguments = Arguments::from_args();
    let bench = Arc::new(Bench::new()?);
    let cases = CASES.iter().filter(|entry| entry.expect != Expect::OfChangedFile).map(|entry| {
        let config = if entry.config.is_empty() { String::new() } else { format!("[{}]", entry.config) };
        trial(&bench, format!("case::{}{config}", entry.name), move |bench| case(bench, entry))
    });
    let refused = REFUSED.iter().map(|config| {
        trial(&bench, format!("launch::refused[{config}]"), move |bench| {
            bench
                .boot(&bench.image, &format!("case=memory\n{config}\n"))?
                .expect(End::BadLaunch, "machine: BAD LAUNCH ")
        })
    });
    let launches = NO_LAUNCH.iter().map(|&(name, says, change)| {
        trial(&bench, format!("launch::{name}"), move |bench| no_launch(bench, says, change))
    });
    let mutations =
        (1..=48).map(|seed| trial(&bench, format!("launch::mutated-{seed}"), move |bench| mutated(bench, seed)));
    let others = [
        trial(&bench, "ahead::in-rows".into(), ahead),
        trial(&bench, "launch::checksum".into(), checksum),
        trial(&bench, "launch::digests".into(), digests),
        trial(&bench, "launch::digests-of-processors".into(), digests_of_processors),
        trial(&bench, "launch::required-memory-anywhere".into(), required),
        trial(&bench, "launch::page-without-contents".into(), empty),
        trial(&bench, "launch::madt".into(), madt),
        trial(&bench, "launch::page-below-4-gib".into(), below_4_gib),
    ];
    let trials = cases.chain(refused).chain(launches).chain(mutations).chain(others).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
