//! The initial file system: busybox, tpm2-tools with their libraries, modules, and `init` of tests/guest/linux. The
//! same files give the same bytes.

use super::debian::Debian;
use super::module;
use super::packages::{LOADER, Packages};
use crate::workspace;
use anyhow::{Context, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use flate2::{Compression, GzBuilder};
use fs_err as fs;
use object::Endianness;
use object::read::elf::{Dyn, ElfFile64};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Kernel modules that give reports through configfs.
const KERNEL_MODULES: [&str; 3] = ["configfs", "tsm_report", "sev-guest"];
/// The library that tpm2-tools load by name to reach /dev/tpm*.
const TCTI: &str = "libtss2-tcti-device.so.0";
/// The program that all of tpm2-tools are; each has a name of its own.
const TPM2: &str = "tpm2";
/// Tools that `init` calls.
const TOOLS: [&str; 23] = [
    "activatecredential",
    "certify",
    "checkquote",
    "create",
    "createak",
    "createek",
    "createpolicy",
    "createprimary",
    "eventlog",
    "evictcontrol",
    "flushcontext",
    "getcap",
    "getrandom",
    "import",
    "load",
    "nvread",
    "pcrevent",
    "pcrread",
    "policysecret",
    "quote",
    "readpublic",
    "startauthsession",
    "unseal",
];

/// A file of the archive.
enum File {
    Folder,
    Program(Vec<u8>),
    Link(String),
}

/// Everything that the archive holds, by its path.
type Files = BTreeMap<String, File>;

/// What a test adds.
#[derive(Debug)]
pub struct Extra<'a> {
    /// Where its programs and libraries come from.
    pub packages: &'a Packages,
    /// Programs, by their paths.
    pub programs: &'a [&'a str],
    /// Libraries that they load by name.
    pub loaded: &'a [&'a str],
    /// Modules of the kernel.
    pub modules: &'a [&'a str],
    /// A script of tests/guest/linux, which `init` reads.
    pub script: &'a str,
}

/// The archive, compressed; `modules` is the folder with ours, where the kernel takes modules.
pub fn make(system: &Debian, modules: Option<&Path>, extra: Option<&Extra<'_>>) -> Result<Vec<u8>> {
    let mut files = Files::new();
    let scripts = workspace::root()?.join(module::SOURCES);
    let script = |name: &str| Ok::<_, anyhow::Error>(File::Program(fs::read(scripts.join(name))?));
    add(&mut files, "init", script("init")?);
    add(&mut files, "bin/busybox", File::Program(fs::read(system.program("busybox"))?));
    for tool in TOOLS {
        add(&mut files, &format!("usr/bin/tpm2_{tool}"), File::Link(TPM2.into()));
    }
    let mut sources = vec![system.packages()];
    let mut programs = vec![(format!("usr/bin/{TPM2}"), system.program(TPM2))];
    let mut loaded = vec![TCTI];
    if let Some(extra) = extra {
        sources.push(extra.packages);
        programs.extend(extra.programs.iter().map(|path| (path.to_string(), extra.packages.file(path))));
        loaded.extend(extra.loaded);
        add(&mut files, extra.script, script(extra.script)?);
        for name in extra.modules {
            add(&mut files, &format!("lib/modules/{name}.ko"), File::Program(system.module(name)?));
        }
    }
    let mut wanted: Vec<String> = loaded.into_iter().map(str::to_owned).collect();
    for (name, path) in programs {
        let bytes = fs::read(&path)?;
        wanted.extend(needed(&bytes, &path)?);
        add(&mut files, &name, File::Program(bytes));
    }
    for (name, bytes) in libraries(&sources, wanted)? {
        add(&mut files, &format!("usr/lib/x86_64-linux-gnu/{name}"), File::Program(bytes));
    }
    add(&mut files, &format!("lib64/{LOADER}"), File::Program(fs::read(system.library(LOADER))?));
    if let Some(modules) = modules {
        for name in KERNEL_MODULES {
            add(&mut files, &format!("lib/modules/{name}.ko"), File::Program(system.module(name)?));
        }
        for name in module::MODULES.map(|name| format!("{name}.ko")) {
            add(&mut files, &format!("lib/modules/{name}"), File::Program(fs::read(modules.join(&name))?));
        }
    }
    for folder in ["dev", "proc", "sys", "tmp"] {
        add(&mut files, folder, File::Folder);
    }
    archive(&files)
}

/// An archive of these files alone; the kernel takes several, one behind the other.
pub fn of_files(given: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut files = Files::new();
    given.iter().for_each(|(path, bytes)| add(&mut files, path, File::Program(bytes.clone())));
    archive(&files)
}

/// A program that was built here, to lie at `path`, and all libraries that it is linked to, which are the system's, as
/// files for [`of_files`].
pub fn program(system: &Debian, path: &str, built: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let bytes = fs::read(built)?;
    let libraries = libraries(&[system.packages()], needed(&bytes, built)?)?;
    let at = |(name, bytes)| (format!("usr/lib/x86_64-linux-gnu/{name}"), bytes);
    Ok([(path.to_owned(), bytes)].into_iter().chain(libraries.into_iter().map(at)).collect())
}

/// Adds a file, and the folders that it lies in.
fn add(files: &mut Files, path: &str, file: File) {
    for (end, _) in path.match_indices('/') {
        files.entry(path[..end].to_owned()).or_insert(File::Folder);
    }
    files.insert(path.to_owned(), file);
}

/// The libraries `wanted`, and what they are linked to: from the first of `sources` that has them, where some programs
/// have libraries of their own.
fn libraries(sources: &[&Packages], mut wanted: Vec<String>) -> Result<BTreeMap<String, Vec<u8>>> {
    let folders: Vec<_> =
        sources.iter().map(|source| source.libraries()).flat_map(|folder| [folder.join("systemd"), folder]).collect();
    let mut found = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        if found.contains_key(&name) {
            continue;
        }
        let path = folders.iter().map(|folder| folder.join(&name)).find(|path| path.exists());
        let path = path.with_context(|| format!("no package has the library {name}"))?;
        let bytes = fs::read(&path)?;
        wanted.extend(needed(&bytes, &path)?);
        found.insert(name, bytes);
    }
    Ok(found)
}

/// The libraries that an ELF file names.
fn needed(bytes: &[u8], path: &Path) -> Result<Vec<String>> {
    names(bytes).with_context(|| format!("the libraries of {} cannot be read", path.display()))
}

fn names(bytes: &[u8]) -> Result<Vec<String>> {
    let endian = Endianness::Little;
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let sections = file.elf_section_table();
    let Some((entries, strings)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, strings)?;
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| entry.d_tag(endian) == object::elf::DT_NEEDED) {
        let offset = u32::try_from(entry.d_val(endian))?;
        let name = strings.get(offset).ok().context("a name lies beyond the strings")?;
        names.push(String::from_utf8(name.to_vec())?);
    }
    Ok(names)
}

/// A newc archive in the order of the paths; no time, no owner but root.
fn archive(files: &Files) -> Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::new(6));
    for ((path, file), inode) in files.iter().zip(1..) {
        let (kind, mode, bytes): (_, _, &[u8]) = match file {
            File::Folder => (ModeFileType::Directory, 0o755, &[]),
            File::Program(bytes) => (ModeFileType::Regular, 0o755, bytes),
            File::Link(target) => (ModeFileType::Symlink, 0o777, target.as_bytes()),
        };
        let entry = Builder::new(path).ino(inode).mode(mode).set_mode_file_type(kind);
        let mut writer = entry.write(&mut packed, u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish()?;
    }
    trailer(&mut packed)?;
    Ok(packed.finish()?)
}

#[cfg(test)]
mod tests {
    use super::{File, Files, add, archive};
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn folders_come_before_what_lies_in_them_and_the_bytes_are_the_same() {
        let make = |paths: &[&str]| {
            let mut files = Files::new();
            paths.iter().for_each(|path| add(&mut files, path, File::Program(path.as_bytes().to_vec())));
            archive(&files).unwrap()
        };
        let packed = make(&["usr/bin/b", "init", "usr/bin/a"]);
        assert_eq!(packed, make(&["init", "usr/bin/a", "usr/bin/b"]));
        let mut bytes = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let entry = cpio::newc::Reader::new(rest).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            assert_eq!((entry.entry().mtime(), entry.entry().uid(), entry.entry().gid()), (0, 0, 0));
            names.push(entry.entry().name().to_owned());
            rest = entry.finish().unwrap();
        }
        assert_eq!(names, ["init", "usr", "usr/bin", "usr/bin/a", "usr/bin/b"]);
    }
}
