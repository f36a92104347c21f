//! `codes ROOT SEEN`: documented response codes of commands that no test has provoked.
//!
//! What a command returns is the list above its `run`: items "- `CODE` at `field`: when", and "what \[`function`\]
//! says" for the list above a function. SEEN has lines of command code and response code, in hexadecimal. An item that
//! says "cannot be provoked" is not asked for, but must say why.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// Where a code of format one points.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum At {
    Anywhere,
    Handle(u32),
    Param(u32),
}

/// A documented code.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Item {
    code: String,
    at: At,
    /// file and line of the documentation
    place: String,
    /// no test is asked for
    excused: bool,
}

/// The names of the codes: format one by the low six bits, others by their value.
struct Names {
    one: HashMap<String, u32>,
    other: HashMap<String, u32>,
}

/// A documentation comment, and what stands under it.
struct Documented {
    file: PathBuf,
    line: usize,
    items: Vec<String>,
    function: String,
    /// of the command, where it is a command's
    command: Option<u32>,
}

fn main() -> Result<ExitCode> {
    sigpipe::reset();
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(root), Some(seen)) = (arguments.next(), arguments.next()) else { bail!("usage: codes ROOT SEEN") };
    let names = Names::read(&fs::read_to_string(root.join("tpm-core/codes/src/rc.rs"))?)?;
    let seen = seen_codes(&fs::read_to_string(seen)?)?;
    let mut files = Vec::new();
    for part in ["src", "codes/src", "wire/src", "crypto/src"] {
        walk(&root.join("tpm-core").join(part), &mut files)?;
    }
    let mut all = Vec::new();
    let mut fields = HashMap::new();
    for file in &files {
        let text = fs::read_to_string(file)?;
        let short = file.strip_prefix(&root).unwrap_or(file).to_path_buf();
        fields.insert(short.clone(), field_positions(&text));
        all.extend(documented(&short, &text));
    }
    let (mut asked, mut excused, mut missing) = (0, 0, 0);
    for one in all.iter().filter(|one| one.command.is_some()) {
        let Some(command) = one.command else { continue };
        let mut items = BTreeSet::new();
        collect(one, &all, &names, fields.get(&one.file), At::Anywhere, 0, &mut items);
        // What a command says of codes that others document counts, too; and a code is one, wherever it is documented.
        let own = format!("{}:{}", one.file.display(), one.line);
        let excuses: Vec<_> = items.iter().filter(|item| item.excused && item.place == own).cloned().collect();
        let is_excused =
            |item: &Item| excuses.iter().any(|e| e.code == item.code && (e.at == At::Anywhere || e.at == item.at));
        items.retain(|item| item.excused || item.place == own || !is_excused(item));
        let mut listed = BTreeSet::new();
        for item in items {
            if !listed.insert((item.code.clone(), item.at)) {
                continue;
            }
            if item.excused {
                excused += 1;
                continue;
            }
            asked += 1;
            if !seen.iter().any(|(code, rc)| *code == command && names.is(&item, *rc)) {
                missing += 1;
                println!("{}:{}: {} at {:?} ({})", one.file.display(), one.line, item.code, item.at, item.place);
            }
        }
    }
    println!(
        "{asked} documented response codes: {} seen in tests, {missing} not; {excused} more cannot be provoked",
        asked - missing
    );
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Names {
    fn read(text: &str) -> Result<Self> {
        let (mut one, mut other) = (HashMap::new(), HashMap::new());
        let (first, second) = text.split_once("\nrc! {").context("no list of codes")?;
        for (part, map) in [(first, &mut one), (second, &mut other)] {
            for line in part.lines() {
                let Some((name, value)) = line.trim().strip_suffix(',').and_then(|line| line.split_once(" = 0x"))
                else {
                    continue;
                };
                if let Ok(value) = u32::from_str_radix(value, 16) {
                    map.insert(name.to_owned(), value);
                }
            }
        }
        Ok(Self { one, other })
    }

    fn has(&self, word: &str) -> bool {
        self.one.contains_key(word) || self.other.contains_key(word)
    }

    /// Whether a response code is what the item says.
    fn is(&self, item: &Item, rc: u32) -> bool {
        if self.other.get(&item.code) == Some(&rc) {
            return true;
        }
        let position = rc >> 8 & 0xf;
        let at = match item.at {
            At::Anywhere => true,
            At::Handle(n) => rc & 0x840 == 0 && position == n,
            At::Param(n) => rc & 0x40 != 0 && position == n,
        };
        rc & 0x80 != 0 && self.one.get(&item.code) == Some(&(rc & 0x3f)) && at
    }
}

fn seen_codes(text: &str) -> Result<BTreeSet<(u32, u32)>> {
    text.lines()
        .map(|line| {
            let (command, rc) = line.split_once(' ').context("not two numbers")?;
            Ok((u32::from_str_radix(command, 16)?, u32::from_str_radix(rc, 16)?))
        })
        .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// The fields of handle and parameter areas, by name.
fn field_positions(text: &str) -> BTreeMap<String, At> {
    let mut positions = BTreeMap::new();
    for (start, at) in [("handles! {", At::Handle as fn(u32) -> At), ("params! {", At::Param)] {
        for area in text.split(start).skip(1) {
            let Some((_, body)) = area.split_once("struct").and_then(|(_, rest)| rest.split_once('{')) else {
                continue;
            };
            let Some((body, _)) = body.split_once('}') else { continue };
            let names = body.lines().filter(|line| !line.trim().starts_with("//")).flat_map(|line| line.split(", "));
            let fields = names.filter_map(|field| field.split_once(": ")).map(|(name, _)| name.trim());
            for (n, field) in (1..).zip(
                fields.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())),
            ) {
                positions.insert(field.to_owned(), at(n));
            }
        }
    }
    positions
}

fn documented(file: &Path, text: &str) -> Vec<Documented> {
    let (mut found, mut items, mut start, mut command) = (Vec::new(), Vec::<String>::new(), 0, None);
    let mut ended = false;
    for (line, source) in (1..).zip(text.lines()) {
        let source = source.trim();
        if let Some(value) = source.strip_prefix("const CODE: u32 = 0x") {
            command = u32::from_str_radix(value.trim_end_matches(';'), 16).ok();
        }
        if let Some(comment) = source.strip_prefix("///") {
            let comment = comment.trim();
            if let Some(item) = comment.strip_prefix("- ") {
                if items.is_empty() {
                    start = line;
                }
                ended = false;
                items.push(item.to_owned());
            } else if comment.is_empty() {
                ended = true;
            } else if let Some(last) = items.last_mut().filter(|_| !ended) {
                last.push(' ');
                last.push_str(comment);
            }
        } else if !source.starts_with("#[") && !items.is_empty() {
            let name = source.split_once("fn ").map(|(_, rest)| rest.split(['(', '<']).next().unwrap_or_default());
            if let Some(name) = name {
                let of_command = command.filter(|_| name == "run");
                let items = core::mem::take(&mut items);
                found.push(Documented {
                    file: file.to_path_buf(),
                    line: start,
                    items,
                    function: name.into(),
                    command: of_command,
                });
            }
            items.clear();
        }
    }
    found
}

fn collect(
    one: &Documented,
    all: &[Documented],
    names: &Names,
    fields: Option<&BTreeMap<String, At>>,
    outer: At,
    depth: usize,
    items: &mut BTreeSet<Item>,
) {
    for text in &one.items {
        let words: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        let places: Vec<&str> = text.split(" at `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
        let first = text.strip_prefix("at `").and_then(|rest| rest.split('`').next());
        let own = match (first, &*places) {
            (Some(place), _) => fields.and_then(|fields| fields.get(place)).copied(),
            (None, [place]) => fields.and_then(|fields| fields.get(*place)).copied(),
            _ => None,
        };
        let at = own.unwrap_or(outer);
        for word in &words {
            if names.has(word) {
                let place = format!("{}:{}", one.file.display(), one.line);
                items.insert(Item { code: (*word).into(), at, place, excused: text.contains("cannot be provoked") });
            }
        }
        for link in text.split("[`").skip(1).filter_map(|rest| rest.split('`').next()).filter(|_| depth < 6) {
            let name = link.rsplit("::").next().unwrap_or(link);
            let local = all
                .iter()
                .find(|other| other.function == name && other.file == one.file && !core::ptr::eq(*other, one));
            let module = link.split("::").next().unwrap_or_default();
            let near = || {
                all.iter().find(|other| {
                    other.function == name
                        && other.file.with_extension("").components().any(|part| part.as_os_str() == module)
                })
            };
            let anywhere = || all.iter().find(|other| other.function == name && other.command.is_none());
            if let Some(other) = local.or_else(near).or_else(anywhere) {
                collect(other, all, names, None, at, depth + 1, items);
            }
        }
    }
}
