//! `panics ROOT FOLDER`: the panics that are left in the linked engine (`engine` in FOLDER), and whether they are found
//! (`control`).
//!
//! A program is linked with `--emit-relocs`, so every call and every address of a function is a relocation, and with
//! line tables. A function *panics* if it is of `core::panicking`, or the panic handler, or if all of the place in it
//! that refers to such a function is of the standard library. A place of other code that refers to a function that
//! panics is a survivor. Nothing is believed about what cannot be reached: that is the optimiser's work, or the list's
//! of what is allowed.

use addr2line::gimli::{self, EndianSlice, LittleEndian};
use anyhow::{Context as _, Result, bail, ensure};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// A place of the sources from which a panic can be reached.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
struct Survivor {
    /// Crate and file, as `aes/src/lib.rs`.
    file: String,
    line: u32,
    /// The function that panics.
    callee: String,
    /// The linked function that calls it, into which the place may have been inlined.
    within: String,
}

impl Survivor {
    fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

type Dwarf<'a> = addr2line::Context<EndianSlice<'a, LittleEndian>>;

/// A reference from one address to another.
struct Reference {
    from: u64,
    to: u64,
    code: bool,
}

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(folder)) = (arguments.next(), arguments.next()) else { bail!("usage: panics ROOT FOLDER") };
    let sources = root.join("tests/panics");
    let engine = read(&root, &folder.join("engine"))?;
    let list = fs::read_to_string(sources.join("allowed.txt"))?;
    let allowed = allowed(&list)?;
    let mut failed = false;
    for survivor in &engine {
        let ours = ["tpm-core/", "tests/"].iter().any(|folder| survivor.file.starts_with(folder));
        if ours || !allowed.contains_key(&survivor.place()) {
            println!("FAIL {}: {} in {}", survivor.place(), survivor.callee, survivor.within);
            failed = true;
        }
    }
    for place in allowed.keys().filter(|place| !engine.iter().any(|survivor| survivor.place() == **place)) {
        println!("FAIL {place}: allowed, but no panic is there");
        failed = true;
    }
    let places: BTreeSet<_> = engine.iter().map(Survivor::place).collect();

    let control = read(&root, &folder.join("control"))?;
    let text = fs::read_to_string(sources.join("src/control.rs"))?;
    let line =
        text.lines().zip(1..).find(|(line, _)| line.ends_with("// the panic")).map(|(_, n)| n).context("no panic")?;
    let wanted = format!("tests/panics/src/control.rs:{line}");
    if control.len() == 1 && control.iter().all(|survivor| survivor.place() == wanted) {
        println!("the control fails at {wanted}, as it should");
    } else {
        println!("FAIL the control does not fail at {wanted}: {control:?}");
        failed = true;
    }
    println!("{} places of the engine can panic, {} are allowed, with a reason", places.len(), allowed.len());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lines `PLACE: why it cannot be reached`; a line that begins with # is a comment.
fn allowed(text: &str) -> Result<BTreeMap<String, &str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (place, why) =
                line.split_once(": ").filter(|(_, why)| !why.is_empty()).context("a place without a reason")?;
            Ok((place.to_owned(), why))
        })
        .collect()
}

fn read(root: &Path, file: &Path) -> Result<BTreeSet<Survivor>> {
    let data = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut survivors = survivors(&object::File::parse(&*data)?)?;
    let prefix = format!("{}/", root.display());
    survivors = survivors
        .into_iter()
        .map(|survivor| Survivor {
            file: survivor.file.strip_prefix(&prefix).unwrap_or(&survivor.file).to_owned(),
            ..survivor
        })
        .collect();
    Ok(survivors)
}

fn survivors(elf: &object::File<'_>) -> Result<BTreeSet<Survivor>> {
    let functions = functions(elf);
    let references = references(elf)?;
    let dwarf = dwarf(elf)?;
    let mut panicking: BTreeSet<u64> =
        functions.iter().filter(|(_, (_, name))| is_root(name)).map(|(start, _)| *start).collect();
    ensure!(!panicking.is_empty(), "there is not even a panic handler: this program says nothing");
    let at = |address| {
        functions.range(..=address).next_back().filter(|(start, (size, _))| address < *start + (*size).max(1))
    };
    let mut found = BTreeSet::new();
    let mut queue: Vec<u64> = panicking.iter().copied().collect();
    let mut callers: BTreeMap<u64, Vec<&Reference>> = BTreeMap::new();
    for reference in &references {
        if let Some((start, _)) = at(reference.to) {
            callers.entry(*start).or_default().push(reference);
        }
    }
    while let Some(callee) = queue.pop() {
        let name = &functions[&callee].1;
        for reference in callers.get(&callee).into_iter().flatten() {
            let Some((caller, _)) = at(reference.from).filter(|_| reference.code) else {
                let file = String::from("address taken");
                found.insert(Survivor { file, line: 0, callee: name.clone(), within: String::new() });
                continue;
            };
            match place(&dwarf, reference.from)? {
                Some((file, line)) => {
                    if !panicking.contains(caller) {
                        let within = functions.get(caller).map(|(_, name)| name.clone()).unwrap_or_default();
                        found.insert(Survivor { file, line, callee: name.clone(), within });
                    }
                }
                None => {
                    if panicking.insert(*caller) {
                        queue.push(*caller);
                    }
                }
            }
        }
    }
    Ok(found)
}

fn is_root(name: &str) -> bool {
    name.starts_with("core::panicking::") || name.contains("rust_begin_unwind")
}

/// Start → size and name.
fn functions(elf: &object::File<'_>) -> BTreeMap<u64, (u64, String)> {
    elf.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .map(|symbol| {
            (symbol.address(), (symbol.size(), format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap_or("?")))))
        })
        .collect()
}

fn references(elf: &object::File<'_>) -> Result<Vec<Reference>> {
    let mut all = Vec::new();
    for section in elf.sections() {
        let code = match section.kind() {
            SectionKind::Text => true,
            SectionKind::Data | SectionKind::ReadOnlyData | SectionKind::ReadOnlyDataWithRel => false,
            _ => continue,
        };
        let before = all.len();
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { bail!("a relocation without a symbol") };
            let target = elf.symbol_by_index(index)?.address();
            let relative =
                matches!(relocation.kind(), object::RelocationKind::Relative | object::RelocationKind::PltRelative);
            let addend = relocation.addend() + if relative { 4 } else { 0 };
            all.push(Reference { from: offset, to: target.wrapping_add_signed(addend), code });
        }
        ensure!(
            !code || section.size() == 0 || all.len() > before,
            "{} has no relocations: link with --emit-relocs",
            section.name()?
        );
    }
    Ok(all)
}

fn dwarf<'a>(elf: &object::File<'a>) -> Result<Dwarf<'a>> {
    let load = |id: gimli::SectionId| -> Result<EndianSlice<'a, LittleEndian>, gimli::Error> {
        let data = elf.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Ok(Dwarf::from_dwarf(gimli::Dwarf::load(load)?)?)
}

/// The innermost place of code outside the standard library that the instruction is of.
fn place(dwarf: &Dwarf<'_>, address: u64) -> Result<Option<(String, u32)>> {
    let mut frames = dwarf.find_frames(address).skip_all_loads()?;
    let mut any = false;
    while let Some(frame) = frames.next()? {
        let Some(location) = frame.location else { continue };
        any = true;
        let file = location.file.unwrap_or("?");
        if !file.contains("/library/") {
            return Ok(Some((short(file), location.line.unwrap_or(0))));
        }
    }
    ensure!(any, "no line for {address:#x}");
    Ok(None)
}

/// Without what depends on where the checkout and the registry lie.
fn short(file: &str) -> String {
    let registry = file.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/')).map(|(_, rest)| rest);
    registry.unwrap_or(file).to_owned()
}
