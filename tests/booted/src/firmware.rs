//! What the image is made of, as figures that a test holds: no standard library, no C, no foreign entropy; nothing that
//! its processor cannot execute; how large it is.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use host::boot::Built;
use host::{build, workspace};
use quoin_image::elf::Elf;
use quoin_image::sizes;
use std::path::Path;
use std::process::Command;

/// Where the firmware may lie (docs/boot.md): its own 8 MiB, and its entry stub.
const HOME: core::ops::Range<u64> = 0x80_0000_0000..0x80_0080_0000;
const STUB: core::ops::Range<u64> = 0x1_0000..0x2_0000;

/// Crates of which none may be in the firmware, and what they would bring.
const UNWANTED: &[(&str, &str)] = &[
    ("getrandom", "entropy that nobody has tested"),
    ("std", "an operating system"),
    ("libc", "an operating system"),
    ("cc", "C"),
    ("cmake", "C"),
    ("bindgen", "C"),
    ("openssl", "C"),
    ("ring", "C"),
    ("aws-lc-rs", "C"),
];

/// Looks at cargo's tree, at the linked program, and at the sources.
pub fn run(built: &Built) -> Result<Totals> {
    let firmware = build::build(build::IMAGE_AND_MACHINE)?.firmware();
    let elf = Elf::read(&firmware)?;
    let crates: Vec<String> = sizes::by_crate(&elf).into_iter().map(|(name, _)| name).collect();
    let mut totals = case("cargo tree: no getrandom, nothing that compiles or links C", tree());
    totals += case("cargo tree: no crate has its feature `std` on", features());
    totals += case("the linked firmware has no function of std, libc or getrandom", linked(&crates));
    totals += case("the crates of the engine forbid unsafe code and std", forbids());
    totals += case("no instruction that needs XSAVE is linked, AES-NI and SHA-NI are", instructions(&firmware));
    totals += case("the firmware lies in its 8 MiB and its entry stub", within(&elf));
    println!("     image: {} bytes, {} crates linked", built.image.bytes.len(), crates.len());
    Ok(totals)
}

fn cargo_tree(edges: &str) -> Result<String> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()?).args(["tree", "--locked", "--prefix", "none", "--target", build::TARGET]);
    let output = command.args(["--package", "arch", "--edges", edges]).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn tree() -> Result<()> {
    let tree = cargo_tree("normal,build")?;
    ensure!(tree.contains("tpm-core "), "this is not the firmware's tree:\n{tree}");
    for line in tree.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let unwanted = UNWANTED.iter().find(|(unwanted, _)| *unwanted == name);
        ensure!(unwanted.is_none(), "{name} brings {}", unwanted.map_or("", |(_, what)| what));
        ensure!(!name.ends_with("-sys"), "{name} links a C library");
    }
    Ok(())
}

fn features() -> Result<()> {
    let tree = cargo_tree("normal,features,no-proc-macro")?;
    let on: Vec<&str> = tree.lines().filter(|line| line.contains("feature \"std\"")).collect();
    ensure!(on.is_empty(), "{on:?}");
    Ok(())
}

fn linked(crates: &[String]) -> Result<()> {
    ensure!(crates.iter().any(|name| name == "tpm_core"), "no symbols: {crates:?}");
    let unwanted = crates.iter().find(|name| ["std", "libc", "getrandom"].contains(&name.as_str()));
    ensure!(unwanted.is_none(), "{unwanted:?}");
    Ok(())
}

fn forbids() -> Result<()> {
    for krate in ["tpm-core", "tpm-core/codes", "tpm-core/crypto", "tpm-core/wire"] {
        let head = fs::read_to_string(workspace::root()?.join(krate).join("src/lib.rs"))?;
        for attribute in ["#![forbid(unsafe_code)]", "#![no_std]", "clippy::panic", "clippy::indexing_slicing"] {
            ensure!(head.contains(attribute), "{krate}/src/lib.rs lacks {attribute}");
        }
    }
    Ok(())
}

/// Looks for instructions in the linked firmware that its processor, as the firmware sets it up, cannot execute.
fn instructions(firmware: &Path) -> Result<()> {
    let judged = Command::new(build::proof("instructions")?).arg(firmware).output()?;
    let said = String::from_utf8_lossy(&judged.stdout) + String::from_utf8_lossy(&judged.stderr);
    ensure!(judged.status.success(), "{said}");
    Ok(())
}

fn within(elf: &Elf) -> Result<()> {
    let lost = elf.pages.keys().find(|gpa| !HOME.contains(gpa) && !STUB.contains(gpa));
    ensure!(lost.is_none(), "a page at {lost:x?}");
    Ok(())
}
