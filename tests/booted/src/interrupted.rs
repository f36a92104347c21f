//! `cargo xtask run` that is ended by a signal, or whose QEMU ends: no QEMU and no temporary folder stays behind. And a
//! launch that is refused says why.

use super::processes::Watched;
use super::{Totals, case};
use anyhow::{Context, Result, bail, ensure};
use core::time::Duration;
use fs_err as fs;
use host::boot::Built;
use host::qemu::Folder;
use igvm::{IgvmDirectiveHeader, IgvmFile, IsolationType};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

/// Linux keeps fifteen characters of a process' name.
const QEMU: &str = "qemu-system-x86";
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// When a signal comes.
#[derive(Debug, Clone, Copy)]
enum When {
    /// QEMU is there, and has perhaps not yet read its files.
    Starting,
    /// The firmware boots.
    Booting,
    /// The TPM is served.
    Serving,
}

/// All of it.
pub fn run(built: &Built) -> Result<Totals> {
    let mut totals = Totals::default();
    for when in [When::Starting, When::Booting, When::Serving] {
        for (name, signal) in
            [("INT", Signal::INT), ("TERM", Signal::TERM), ("HUP", Signal::HUP), ("KILL", Signal::KILL)]
        {
            totals += case(&format!("{name} while {when:?}: nothing stays behind"), interrupted(built, when, signal));
        }
    }
    totals += case("QEMU dies while serving: an error, and nothing stays behind", qemu_dies(built));
    totals += case("a launch that is refused says why, without -v", refused(built));
    Ok(totals)
}

/// The verb, with a folder of its own for temporary ones.
struct Verb {
    process: Watched,
    folder: Folder,
}

impl Verb {
    fn start(built: &Built, when: When) -> Result<Self> {
        let folder = Folder::new()?;
        let mut verb = Command::new(std::env::current_exe()?);
        verb.args(["run", "--port", "0", "--image"]).arg(&built.path).env("TMPDIR", folder.path());
        verb.arg("--evidence").arg(folder.path().with_extension("evidence"));
        let errors = fs::File::create(folder.path().with_extension("errors"))?;
        verb.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.into_file());
        let mut verb = Self { process: Watched::start(&mut verb)?, folder };
        verb.until(when)?;
        Ok(verb)
    }

    fn until(&mut self, when: When) -> Result<()> {
        let output = self.process.child().stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let text = match when {
            When::Starting => {
                // Its output must be read, so that it goes on.
                thread::spawn(move || lines.for_each(drop));
                return self.until_qemu_is_there();
            }
            When::Booting => "image measured",
            When::Serving => "export TPM2TOOLS_TCTI",
        };
        let found = lines.by_ref().map_while(Result::ok).any(|line| line.contains(text));
        thread::spawn(move || lines.for_each(drop));
        ensure!(found, "it ended before it said `{text}`: {}", self.errors()?);
        ensure!(self.process.has_started(QEMU)?, "there is no QEMU that could stay behind");
        Ok(())
    }

    fn until_qemu_is_there(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.process.has_started(QEMU)? {
            ensure!(self.process.child().try_wait()?.is_none(), "it ended before QEMU was there: {}", self.errors()?);
            ensure!(began.elapsed() < PATIENCE, "QEMU does not start");
        }
        Ok(())
    }

    fn errors(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().with_extension("errors"))?)
    }

    /// Waits until no process is left, and no folder.
    fn ends(&mut self) -> Result<std::process::ExitStatus> {
        let status = self.process.ends_within(Duration::from_secs(20))?;
        let left: Vec<_> = fs::read_dir(self.folder.path())?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        ensure!(left.is_empty(), "{left:?} stayed behind");
        Ok(status)
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.folder.path().with_extension("evidence"));
        let _ = fs::remove_file(self.folder.path().with_extension("errors"));
    }
}

fn interrupted(built: &Built, when: When, signal: Signal) -> Result<()> {
    let mut verb = Verb::start(built, when)?;
    kill_process(Pid::from_child(verb.process.child()), signal)?;
    let status = verb.ends()?;
    // Who serves until Ctrl-C and is told to end has done what it should.
    let may_succeed = matches!(when, When::Serving) && signal != Signal::KILL;
    ensure!(may_succeed || !status.success(), "{status}");
    Ok(())
}

fn qemu_dies(built: &Built) -> Result<()> {
    let mut verb = Verb::start(built, When::Serving)?;
    let qemu = verb.process.number_of(QEMU)?.context("there is no QEMU")?;
    kill_process(Pid::from_raw(qemu.cast_signed()).context("no process has this number")?, Signal::KILL)?;
    let status = verb.ends()?;
    let said = verb.errors()?;
    ensure!(status.code() == Some(1) && said.contains("QEMU ended with status None"), "{status}: {said}");
    Ok(())
}

/// An image whose VMSA has a field that QEMU does not know: it can be measured, and no host launches it.
fn refused(built: &Built) -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.path().join("damaged.igvm");
    fs::write(&path, damaged(&built.image.bytes)?)?;
    for verb in [["run", "--once", "--image"].as_slice(), &["guest"]] {
        says_why(verb, &path)?;
    }
    Ok(())
}

fn says_why(verb: &[&str], image: &Path) -> Result<()> {
    let output = Command::new(std::env::current_exe()?).args(verb).arg(image).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why =
        "error: the machine cannot launch this image: IGVM file: the VMSA has a field that QEMU does not give to KVM";
    if output.status.code() != Some(1) || !said.contains(why) {
        bail!("{verb:?}: {}, {said}", output.status);
    }
    Ok(())
}

fn damaged(image: &[u8]) -> Result<Vec<u8>> {
    let file = IgvmFile::new_from_binary(image, Some(IsolationType::Snp)).context("the image cannot be read")?;
    let mut directives = file.directives().to_vec();
    for directive in &mut directives {
        if let IgvmDirectiveHeader::SnpVpContext { vmsa, .. } = directive {
            vmsa.cr2 = 0x1000;
        }
    }
    let (platforms, initializations) = (file.platforms().to_vec(), file.initializations().to_vec());
    let file = IgvmFile::new(igvm::IgvmRevision::V1, platforms, initializations, directives)?;
    let mut bytes = Vec::new();
    file.serialize(&mut bytes)?;
    Ok(bytes)
}
