//! xtask as cargo's `RUSTC_WRAPPER`: adds to the bare-metal builds what depends on where the checkout lies.
//!
//! Cargo mixes `RUSTFLAGS` into the names of all symbols, so a path in them would make two checkouts give two images,
//! with two launch digests. Flags that a wrapper adds are invisible to cargo; the paths themselves are mapped away
//! before they reach a panic message.

use anyhow::{Context, Result};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The variable that tells xtask to be the wrapper, and where the checkout is: cargo starts it for packages of other
/// places, too.
pub const MARKER: &str = "QUOIN_RUSTC_WRAPPER";

/// The variable that tells xtask to be the wrapper for the packages of this checkout, and to let them count which of
/// their code is run.
pub const COVERAGE: &str = "QUOIN_COVERAGE";

/// Whether cargo has started xtask as its wrapper: the first argument is then rustc.
pub fn is_asked_for() -> bool {
    env::var_os(MARKER).is_some() || env::var_os(COVERAGE).is_some()
}

/// Runs rustc with `arguments` (the first is rustc itself) and what this module adds to them.
pub fn run(arguments: &[OsString]) -> Result<ExitStatus> {
    let (rustc, arguments) = arguments.split_first().context("cargo gave its wrapper no rustc")?;
    let mut command = Command::new(rustc);
    command.args(arguments);
    if env::var_os(COVERAGE).is_some() {
        command.arg("-Cinstrument-coverage");
    } else if has(arguments, "--target") {
        command.args(additions(rustc, arguments)?);
    }
    command.status().with_context(|| format!("cannot start {}", rustc.display()))
}

fn additions(rustc: &OsStr, arguments: &[OsString]) -> Result<Vec<OsString>> {
    let root = PathBuf::from(env::var_os(MARKER).context("the wrapper does not know where the checkout is")?);
    // The last that fits counts. A package from a registry lies in a folder that is named after the registry, mirrors
    // included.
    let mut added = vec![remap(&root, "quoin")];
    added.extend(cargo_home().map(|home| remap(&home, "cargo")));
    added.extend(
        package_folder()
            .filter(|package| !package.starts_with(&root))
            .and_then(|package| Some(remap(package.parent()?, "crates"))),
    );
    added.push(remap(&sysroot(rustc)?, "rust"));
    if is_binary(arguments) {
        let mut script = OsString::from("-Clink-arg=-T");
        script.push(linker_script(&root));
        added.push(script);
    }
    Ok(added)
}

fn has(arguments: &[OsString], name: &str) -> bool {
    arguments.iter().any(|argument| argument == name)
}

fn is_binary(arguments: &[OsString]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--crate-type" && pair[1] == "bin")
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(from);
    flag.push("=");
    flag.push(to);
    flag
}

/// The package's own `linker.ld`, or the firmware's at the top of the checkout.
fn linker_script(root: &Path) -> PathBuf {
    package_folder()
        .map(|package| package.join("linker.ld"))
        .filter(|script| script.is_file())
        .unwrap_or_else(|| root.join("linker.ld"))
}

/// Where the package that is being compiled lies.
fn package_folder() -> Option<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn sysroot(rustc: &OsStr) -> Result<PathBuf> {
    let output =
        Command::new(rustc).args(["--print", "sysroot"]).output().context("cannot ask rustc for its sysroot")?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
