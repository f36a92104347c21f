//! `… | head -1`: a program whose output is closed ends by SIGPIPE, as others do, and not by a panic.

use std::fs;
use std::io::pipe;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIGPIPE: i32 = 13;

#[test]
fn a_program_whose_output_is_closed_ends_without_a_word() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    // It wants an ELF file with symbols, and has something to say of any.
    let mut program = Command::new(env!("CARGO_BIN_EXE_instructions"));
    let child = program.arg(env!("CARGO_BIN_EXE_codes")).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), Some(SIGPIPE), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(ended.stderr, b"");
}

#[test]
fn every_program_of_the_tools_asks_for_that_first() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut programs = 0;
    for package in ["peer", "primitives", "proofs"] {
        for source in sources(&tests.join(package).join("src/bin")) {
            let text = fs::read_to_string(&source).unwrap();
            if let Some((_, body)) = text.split_once("\nfn main()") {
                let first = body.lines().nth(1).unwrap_or_default().trim();
                assert_eq!(first, "sigpipe::reset();", "{}", source.display());
                programs += 1;
            }
        }
    }
    assert!(programs >= 10, "{programs} programs found");
}

/// The files in `folder`, and in those folders of it that are programs.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.into_iter().map(|path| if path.is_dir() { path.join("main.rs") } else { path }).collect()
}
