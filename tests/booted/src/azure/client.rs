//! The crate az-snp-vtpm, by which programs attest on Azure, with the firmware's vTPM: built from the registry,
//! unpatched. It opens the kernel's device alone; a library that has the name of tpm2-tss' for that leads it to our
//! server.

use super::super::{Totals, case};
use super::Serve;
use anyhow::{Context, Result, ensure};
use host::fetch::{ensure_packages, must};
use host::psp::Identity;
use host::qemu::Folder;
use host::{boot, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What is built, by the names that cargo and the compiler know.
const FILES: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("program.toml")),
    ("src/main.rs", include_str!("program.rs")),
    ("tcti.c", include_str!("tcti.c")),
];
/// Where it lies in the folder that it is built in.
pub const PROGRAM: &str = "target/debug/azure-client";
/// What the program says when it has done so, in order.
const DONE: [&str; 6] =
    ["is_snp_cvm", "get_report", "get_report_with_report_data", "get_ak_pub", "get_quote, extend_pcr", "refusals"];

/// Boots an image of the personality, and runs the program.
pub fn run(serve: Serve) -> Result<Totals> {
    let built_at = build()?;
    let folder = Folder::new()?;
    let Identity { ark, ask, vcek, .. } = Identity::development();
    fs::write(folder.path().join("vcek.pem"), pem(&vcek)?)?;
    fs::write(folder.path().join("chain.pem"), [pem(&ask)?, pem(&ark)?].concat())?;
    let built = boot::build_azure()?;
    let mut qemu = boot::start(&built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    serve(qemu.relay()?, &mut |tcti| {
        let mut program = Command::new(built_at.join(PROGRAM));
        program.arg(folder.path()).env("TPM2TOOLS_TCTI", tcti).env("LD_LIBRARY_PATH", &built_at);
        let output = program.output().context("cannot start the program")?;
        let mut totals = Totals::default();
        for what in DONE {
            totals += case(&format!("az-snp-vtpm: {what}"), has_done(&output, what));
        }
        totals += case("az-snp-vtpm: nothing else", ended(&output));
        Ok(totals)
    })
}

/// A certificate as the metadata service would give it.
pub fn pem(der: &[u8]) -> Result<Vec<u8>> {
    let folder = Folder::new()?;
    let file = folder.path().join("certificate.der");
    fs::write(&file, der)?;
    let output = Command::new("openssl").args(["x509", "-inform", "der", "-in"]).arg(&file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

fn has_done(output: &Output, what: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.lines().any(|line| line == what), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn ended(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", output.status);
    Ok(())
}

/// The version of the crate.
pub const VERSION: &str = "0.8.2";

/// Builds the program and the library; the folder of the library.
pub fn build() -> Result<PathBuf> {
    ensure_packages(&["gcc", "libssl-dev", "libtss2-dev", "openssl", "pkg-config"])?;
    let folder = workspace::target_dir()?.join("suites/az-snp-vtpm");
    fs::create_dir_all(folder.join("src"))?;
    for (name, text) in FILES {
        write(&folder.join(name), text)?;
    }
    let mut compile = Command::new("gcc");
    compile.current_dir(&folder).args(["-Wall", "-Werror", "-shared", "-fPIC", "tcti.c", "-ltss2-tcti-swtpm"]);
    must(compile.args(["-o", "libtss2-tcti-device.so.0"]), &folder.join("tcti.log"))?;
    let mut cargo = Command::new(workspace::cargo());
    cargo.current_dir(&folder).args(["build", "--target-dir", "target"]);
    must(&mut cargo, &folder.join("build.log"))?;
    Ok(folder)
}

/// What is there already keeps its time, so that nothing is built twice.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
