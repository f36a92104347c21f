//! Builds the modules of tests/guest/linux against the headers of a kernel, by its own Makefile.

use super::debian::Debian;
use crate::fetch::must;
use crate::{debian, workspace};
use anyhow::{Context, Result};
use fs_err as fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules that every guest gets.
pub const MODULES: [&str; 2] = ["quoin_tpm", "quoin_attest"];
/// The module that ends the kernel.
pub const END: &str = "quoin_end";
/// Their sources, in the workspace.
pub const SOURCES: &str = "tests/guest/linux";
/// This system's programs that they are built with.
pub const BUILT_WITH: [debian::Wanted; 3] = [("gcc", "gcc"), ("make", "make"), ("ld", "binutils")];
/// Programs of the kernel's build, where they lie, and what of them is run: some are programs that only choose another
/// one.
const BUILDERS: [(&str, &str); 3] = [
    ("scripts/basic/fixdep", "scripts/basic/fixdep.real"),
    ("scripts/mod/modpost", "scripts/mod/modpost.real-lsb-64"),
    ("tools/objtool/objtool", "tools/objtool/objtool.real-x86"),
];

/// Builds all modules; gives the folder with `NAME.ko`.
pub fn build(kernel: &Debian) -> Result<PathBuf> {
    debian::ensure(&BUILT_WITH)?;
    let folder = workspace::target_dir()?.join("guest/modules");
    let sources = workspace::root()?.join(SOURCES);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    fs::copy(sources.join("Kbuild"), folder.join("Kbuild"))?;
    for name in all() {
        let file = format!("{name}.c");
        fs::copy(sources.join(&file), folder.join(&file))?;
    }
    let [configuration, headers, programs] = kernel.build_folders()?;
    let libraries = kernel.libraries();
    for (name, real) in BUILDERS {
        run_by_its_own_loader(&programs.join(name), &programs.join(real), &libraries)?;
    }
    let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(&headers).arg(setting("KBUILD_OUTPUT", &configuration)).arg(setting("M", &folder));
    // This system's compiler, which need not be the one that the kernel was built with, and may not know all of its
    // options.
    make.args([
        "CC=gcc",
        "LD=ld",
        "AR=ar",
        "NM=nm",
        "OBJCOPY=objcopy",
        "OBJDUMP=objdump",
        "READELF=readelf",
        "STRIP=strip",
    ]);
    make.args(["CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=", "CONFIG_DEBUG_INFO_BTF_MODULES="]);
    // It is computed over debugging information, which names the folder: the same sources would give another launch
    // digest elsewhere.
    make.arg("LDFLAGS_MODULE=--build-id=none");
    must(make.arg("modules"), &folder.join("build.log")).context("the modules for the guest cannot be built")?;
    for name in all() {
        let mut strip = Command::new("strip");
        must(strip.arg("--strip-debug").arg(folder.join(format!("{name}.ko"))), &folder.join("strip.log"))?;
    }
    Ok(folder)
}

fn all() -> impl Iterator<Item = &'static str> {
    MODULES.into_iter().chain([END])
}

/// A program of the sources that needs no C library, statically linked.
pub fn program(name: &str) -> Result<Vec<u8>> {
    debian::ensure(&[("gcc", "gcc")])?;
    let folder = workspace::target_dir()?.join("guest");
    let output = folder.join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-Os", "-static", "-nostdlib", "-fno-stack-protector", "-o"]).arg(&output);
    gcc.arg(workspace::root()?.join(SOURCES).join(format!("{name}.c")));
    must(&mut gcc, &folder.join("program.log"))?;
    Ok(fs::read(&output)?)
}

/// Makes `program` a script that runs `real` with the C library that it was linked to, which may be newer than this
/// system's.
fn run_by_its_own_loader(program: &Path, real: &Path, libraries: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/sh\nexec {}/ld-linux-x86-64.so.2 --library-path {} {} \"$@\"\n",
        libraries.display(),
        libraries.display(),
        real.display()
    );
    if !fs::read(program)?.starts_with(b"#!") {
        if !real.exists() {
            fs::rename(program, real)?;
        }
        let _ = fs::remove_file(program);
    }
    fs::write(program, script)?;
    fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
