//! A unified kernel image: systemd's stub with the kernel, its initial file system and its command line as further
//! sections (UAPI group, "Unified Kernel Image"), made by systemd's ukify. OVMF starts it as any program, and the stub
//! measures each section into PCR 11, as systemd-measure predicts.

use crate::fat;
use crate::fetch::must;
use crate::guest::tools::Tools;
use crate::qemu::Folder;
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use object::{Object, ObjectSection};
use quoin_image::linux::Linux;
use std::path::Path;
use std::process::Command;

/// Where Debian's package systemd-boot-efi has the stub.
pub const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Where a firmware looks that knows no other program.
pub const DEFAULT_PROGRAM: &str = "EFI/BOOT/BOOTX64.EFI";

/// The sections that the stub measures, as far as ukify makes them here; systemd-measure has an option of that name for
/// each.
const MEASURED: [&str; 5] = ["linux", "cmdline", "initrd", "uname", "sbat"];

/// A disk from which a UEFI firmware boots `linux`, by a unified kernel image that `ukify` makes with `stub`.
pub fn disk(ukify: Command, stub: &Path, linux: &Linux) -> Result<Vec<u8>> {
    fat::disk(&[(DEFAULT_PROGRAM, &make(ukify, stub, linux)?)])
}

/// The image.
pub fn make(mut ukify: Command, stub: &Path, linux: &Linux) -> Result<Vec<u8>> {
    let folder = Folder::new()?;
    let file = |name: &str| folder.path().join(name);
    let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
    fs::write(file("linux"), &linux.kernel)?;
    ukify.arg("build").arg(option("linux", &file("linux"))).arg(option("stub", stub));
    ukify.arg(format!("--cmdline={}", linux.command_line)).arg("--os-release=");
    if let Some(initrd) = &linux.initrd {
        fs::write(file("initrd"), initrd)?;
        ukify.arg(option("initrd", &file("initrd")));
    }
    must(ukify.arg(option("output", &file("image"))), &file("log")).context("ukify makes no unified kernel image")?;
    Ok(fs::read(file("image"))?)
}

/// What PCR 11 of the SHA-256 bank is once the stub of `image` has started the kernel, before any boot phase is
/// entered: systemd-measure's word.
pub fn predicted(tools: &Tools, image: &[u8]) -> Result<String> {
    let folder = Folder::new()?;
    let mut measure = tools.measure();
    measure.args(["calculate", "--bank=sha256", "--phase="]);
    for section in object::File::parse(image)?.sections() {
        let name = section.name()?.trim_start_matches('.').to_owned();
        if MEASURED.contains(&name.as_str()) {
            let path = folder.path().join(&name);
            fs::write(&path, section.data()?)?;
            measure.arg(format!("--{name}={}", path.display()));
        }
    }
    let output = measure.output()?;
    ensure!(output.status.success(), "systemd-measure: {}", String::from_utf8_lossy(&output.stderr).trim());
    let said = String::from_utf8(output.stdout)?;
    let value = said.lines().find_map(|line| line.strip_prefix("11:sha256="));
    value.map(str::to_owned).with_context(|| format!("systemd-measure says nothing of PCR 11: {said}"))
}
