//! The software SEV-SNP machine is itself tested: a deliberately wrong firmware for each of its rules is stopped with that rule's name, correct
//! firmware passes, each lie of the host is there when it is asked for, and launches that are none are refused.
//!
//! The table of cases is the payload's own (tests/rules/src/cases.rs). Run by `cargo xtask test --suite machine`, or alone by
//! `cargo test -p quoin-tests --features qemu --test machine_rules -- [FILTER]` after `cargo build -p xtask`.

#[path = "../rules/src/cases.rs"]
mod cases;

use anyhow::{Context, Result, ensure};
use cases::{CASES, Case, Expect};
use core::time::Duration;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::sync::Arc;
use xtask::image::{self, Payload};
use xtask::psp::Identity;
use xtask::qemu::{End, Qemu, Settings, Source};
use xtask::{build, digest, run};

/// A case takes a fraction of a second; a busy host gets two minutes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Machine and payload, built.
struct Bench {
    machine: std::path::PathBuf,
    image: Vec<u8>,
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
        Ok(Self { machine: programs.machine(), image: image::pack(&programs.rules(), Payload::Nothing)?.bytes })
    }

    fn boot(&self, image: &[u8], config: &str) -> Result<Outcome> {
        let psp = Identity::development().fw_cfg_bundle();
        let mut qemu = Qemu::start(&Settings {
            machine: Path::new(&self.machine),
            image,
            psp: &psp,
            config,
            memory_mib: run::MEMORY_MIB,
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
    let config = format!("case={}\n{}\n", case.name, case.config.replace(' ', "\n"));
    let outcome = bench.boot(&bench.image, &config)?;
    match case.expect {
        Expect::Ok => {
            ensure!(
                outcome.console.lines().any(|line| line == "done"),
                "the payload did not come to its end:\n{}",
                outcome.machine
            );
            outcome.expect(End::Orderly, "machine: END ")
        }
        Expect::Stop(rule) => outcome.expect(End::RuleBroken, &format!("machine: STOP rule={rule} gpa=0x")),
        Expect::BadLaunch => outcome.expect(End::BadLaunch, "machine: BAD LAUNCH "),
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
const VP_CONTEXT: u32 = 0x304;

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
    ("vmsa-not-last", "after the VMSA", |parts| {
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
    let cases = CASES.iter().map(|entry| {
        let name = format!(
            "case::{}{}",
            entry.name,
            entry.config.split_once('=').map_or(String::new(), |_| format!("[{}]", entry.config))
        );
        trial(&bench, name, move |bench| case(bench, entry))
    });
    let launches = NO_LAUNCH.iter().map(|&(name, says, change)| {
        trial(&bench, format!("launch::{name}"), move |bench| no_launch(bench, says, change))
    });
    let mutations =
        (1..=48).map(|seed| trial(&bench, format!("launch::mutated-{seed}"), move |bench| mutated(bench, seed)));
    let others = [trial(&bench, "launch::checksum".into(), checksum), trial(&bench, "launch::digests".into(), digests)];
    let trials = cases.chain(launches).chain(mutations).chain(others).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
