//! The header, and a program in C with the library that cargo has just built, by the compiler that cargo links with.
//! C++, the release and valgrind are `cargo xtask test --suite embed`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
use tempfile::TempDir;

const STRICT: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1"];
fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Where cargo has put what this test is linked with.
fn built() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().to_path_buf()
}

/// Compiles a program and runs it; what it says.
fn runs(source: &Path) -> String {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("program");
    let mut compiler = Command::new("cc");
    compiler.arg("-std=c99").args(STRICT).arg("-D_POSIX_C_SOURCE=200809L").arg("-I").arg(here("include"));
    run(compiler.arg("-o").arg(&program).arg(source).arg("-L").arg(built()).arg("-l:libquoin.so").arg("-lpthread"));
    // The shared library is asked for by its soname.
    symlink(built().join("libquoin.so"), folder.path().join("libquoin.so.0")).unwrap();
    run(Command::new(&program).env("LD_LIBRARY_PATH", folder.path()))
}

#[test]
fn the_header_is_c() {
    let folder = TempDir::new().unwrap();
    for standard in ["c99", "c11", "c17"] {
        let mut command = Command::new("cc");
        command.args(STRICT).arg(format!("-std={standard}")).args(["-x", "c", "-fsyntax-only"]);
        run(command.current_dir(&folder).arg(here("include/quoin.h")));
    }
}

#[test]
fn a_program_in_c_has_a_tpm() {
    assert_eq!(runs(&here("tests/embedder.c")), "a TPM in C\n");
}

#[test]
fn the_program_of_the_page_on_embedding_works() {
    let page = fs::read_to_string(here("../../docs/embedding.md")).unwrap();
    let (_, rest) = page.split_once("```c\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let folder = TempDir::new().unwrap();
    let source = folder.path().join("first.c");
    fs::write(&source, program).unwrap();
    assert_eq!(runs(&source), "nothing is wrong: a response of 10 octets\n");
}
