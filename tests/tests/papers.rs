//! The papers say what is there: links lead to files, the README is a page, `unsafe` has its rows.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const UNSAFE: &str = "docs/unsafe.md";
/// Our own sources.
const ROOMS: [&str; 5] = ["kernel", "snp", "tpm-core", "tests", "xtask"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// All papers, by their path from the root.
fn papers() -> Result<Vec<String>> {
    let of = |folder: &str| -> Result<Vec<String>> {
        let entries = fs::read_dir(root().join(folder))?.collect::<Result<Vec<_>, _>>()?;
        let names = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}{name}")).collect())
    };
    Ok([of("")?, of("docs/")?].concat())
}

/// The files below `folder`, by their path from the root.
fn files(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            let name = path.strip_prefix(root())?.to_str().context("a path that is no text")?;
            found.insert(name.to_owned());
        }
    }
    Ok(())
}

/// The files of all rooms.
fn sources() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for room in ROOMS {
        files(&root().join(room), &mut found)?;
    }
    Ok(found)
}

/// Whether a line of code, not of a comment or a string of this test, leaves what the compiler checks.
fn is_unchecked(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern ", "unsafe(", "asm!("]
        .iter()
        .any(|sign| code.contains(sign))
}

#[test]
fn every_file_with_unsafe_or_assembler_has_a_row_and_every_row_such_a_file() -> Result<()> {
    let mut files = sources()?;
    files.remove("tests/tests/papers.rs");
    let mut unchecked = BTreeSet::new();
    for file in files {
        if file.ends_with(".s") || file.ends_with(".rs") && text(&file)?.lines().any(is_unchecked) {
            unchecked.insert(file);
        }
    }
    let page = text(UNSAFE)?;
    let rows = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let rows: BTreeSet<String> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(String::from).collect();
    assert_eq!(unchecked, rows);
    Ok(())
}

#[test]
fn links_between_papers_lead_somewhere() -> Result<()> {
    let papers = papers()?;
    assert!(papers.len() > 10, "{papers:?}");
    for paper in papers {
        let page = text(&paper)?;
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let at = root().join(&paper).with_file_name(target);
            assert!(at.exists(), "{paper}: {target}");
        }
    }
    Ok(())
}

/// The path of a file of ours that a word is; what stands for names is in capitals.
fn path_of(word: &str) -> Option<&str> {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let is_ours = ROOMS.iter().any(|room| word.strip_prefix(room).is_some_and(|rest| rest.starts_with('/')));
    let is_file = [".rs", ".s", ".md", ".txt", ".toml", ".ld"].iter().any(|ending| word.ends_with(ending));
    let is_plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/_-.".contains(&b));
    (is_ours && is_file && (is_plain || word.ends_with(".md"))).then_some(word)
}

#[test]
fn files_that_papers_name_are_there() -> Result<()> {
    let rooms = ["tests/machine/README.md", "tests/machine/psp/README.md"].map(String::from);
    let mut named = BTreeSet::new();
    for paper in papers()?.into_iter().chain(rooms) {
        for word in text(&paper)?.split(|c: char| c.is_whitespace() || "`()|,;:".contains(c)).filter_map(path_of) {
            assert!(root().join(word).is_file(), "{paper}: {word}");
            named.insert(word.to_owned());
        }
    }
    assert!(named.len() > 20, "{named:?}");
    Ok(())
}

/// Says whether a line of a file of this name is of a comment, or has one behind its code.
fn comments(name: &str) -> Option<fn(&str) -> bool> {
    let ending = name.rsplit(['.', '/']).next()?;
    match ending {
        "rs" | "c" => Some(|line| line.trim_start().starts_with(['*', '/']) || has_behind(line, " //", "://")),
        "s" | "sh" | "toml" | "init" | "unlock" | "azure" | "kept" | "processors" => {
            Some(|line| line.trim_start().starts_with('#') || has_behind(line, " # ", "\0"))
        }
        // Such a script is short: all of it.
        "ld" => Some(|_| true),
        _ => None,
    }
}

/// Whether `sign` stands outside of what quotation marks enclose in the line; `not` is no such sign.
fn has_behind(line: &str, sign: &str, not: &str) -> bool {
    let line = line.replace(not, "");
    line.match_indices(sign).any(|(at, _)| line[..at].matches('"').count().is_multiple_of(2))
}

#[test]
fn comments_have_at_most_120_columns() -> Result<()> {
    let mut files = sources()?;
    files.extend(["Cargo.toml", "linker.ld", ".cargo/config.toml", ".cargo/deny.toml"].map(String::from));
    let mut long = Vec::new();
    for file in files {
        let Some(is_comment) = comments(&file) else { continue };
        for (number, line) in (1..).zip(text(&file)?.lines()) {
            if line.chars().count() > 120 && is_comment(line) {
                long.push(format!("{file}:{number}"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
    Ok(())
}

/// Nobody reads a paper whose halves were never joined.
#[test]
fn no_merge_was_left_half_done() -> Result<()> {
    let all = sources()?.into_iter().chain(papers()?);
    // What is no text has no lines.
    let lines = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_default();
    let is_mark = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    let marked: Vec<_> = all.filter(|file| lines(file).lines().any(is_mark)).collect();
    assert!(marked.is_empty(), "{marked:#?}");
    Ok(())
}

#[test]
fn a_comment_is_told_from_code_that_looks_like_one() {
    let is = |name, line| comments(name).is_some_and(|is_comment| is_comment(line));
    assert!(is("a.rs", "    //! x") && is("a.rs", "let a = 1; // x") && is("a.c", " * x"));
    assert!(!is("a.rs", "let a = \"x // y\";") && !is("a.rs", "#[test]") && !is("a.md", "// x"));
    assert!(is("a.s", "    # x") && is("a.toml", "a = 1 # x") && is("linux/init", "# x") && is("a.ld", "x"));
    assert!(!is("linux/init", "echo \"a # b\"") && !is("a.toml", "a = 1"));
}

/// What docs/threats.md says of the engine is that tests with these names pass.
#[test]
fn every_test_of_a_threat_is_in_its_page_and_every_name_there_is_a_test() -> Result<()> {
    let is_threat = |word: &&str| ["cve_", "tn_", "libtpms_"].iter().any(|start| word.starts_with(start));
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(is_threat).filter(|word| word.len() > 8).map(String::from).collect()
    };
    let named: BTreeSet<String> = words(&text("docs/threats.md")?).into_iter().collect();
    let mut tests = BTreeSet::new();
    for file in sources()?.iter().filter(|file| file.starts_with("tpm-core/") && file.ends_with(".rs")) {
        let source = text(file)?;
        tests.extend(source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()).flat_map(words));
    }
    assert!(tests.len() > 50, "{tests:?}");
    assert_eq!(named, tests);
    Ok(())
}

/// A reader sees what it is, the commands, what works, and where the rest is.
#[test]
fn the_readme_is_a_page() -> Result<()> {
    assert!(text("README.md")?.lines().count() <= 120);
    Ok(())
}
