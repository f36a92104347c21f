//! A browser that takes pictures of pages: Debian's headless Chromium, which runs from the folder that it was unpacked
//! to.
//!
//! It and its libraries are those of a release that is older than most systems, with this system's libc: a browser
//! starts itself again, so it cannot be started by another dynamic linker.

use super::packages::{Packages, Wanted};
use crate::fetch::{Archive, within};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use std::path::Path;
use std::process::Command;

const SUITE: &str = "bookworm";
const WANTED: Wanted = Wanted { folder: "browser", what: "Debian's headless Chromium", suites: SUITE, download };
const PROGRAM: &str = "chromium-headless-shell";
const FONTS: &str = "fonts-dejavu-core";
/// This system's own are used.
const OF_THE_SYSTEM: [&str; 4] = ["libc6", "libc-bin", "libcrypt1", "libpam0g"];
const LIMIT: Duration = Duration::from_mins(3);

/// Unpacked packages.
#[derive(Debug, Clone)]
pub struct Browser(Packages);

impl Browser {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        Packages::fetch(&WANTED).map(Self)
    }

    /// What it says its version is.
    pub fn version(&self) -> Result<String> {
        let output = within(self.command().arg("--version"), LIMIT)?.context("the browser does not end")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Takes a picture of a page, as PNG, with a window of that size.
    pub fn picture(&self, page: &Path, (width, height): (u32, u32), picture: &Path) -> Result<()> {
        let home = picture.with_extension("home");
        fs::create_dir_all(&home)?;
        let fonts = self.0.file("usr/share/fonts");
        let cache = home.join("fonts");
        let configuration = home.join("fonts.conf");
        let text =
            format!("<fontconfig><dir>{}</dir><cachedir>{}</cachedir></fontconfig>", fonts.display(), cache.display());
        fs::write(&configuration, text)?;
        let mut command = self.command();
        command.env("HOME", &home).env("FONTCONFIG_FILE", &configuration);
        // The page is ours, and is allowed to fetch nothing: no sandbox is needed, which would want user namespaces.
        command.args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]);
        command.arg(format!("--user-data-dir={}", home.display()));
        command.arg(format!("--window-size={width},{height}")).arg(format!("--screenshot={}", picture.display()));
        command.arg(format!("file://{}", fs::canonicalize(page)?.display()));
        let output = within(&mut command, LIMIT)?.context("the browser does not end")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        fs::remove_dir_all(&home)?;
        ensure!(output.status.success() && picture.exists(), "the browser has taken no picture: {said}");
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.0.file("usr/lib/chromium").join(PROGRAM));
        command.env("LD_LIBRARY_PATH", self.0.libraries());
        command
    }
}

/// Downloads the browser, its libraries, and letters.
fn download(archive: &Archive, packages: &Path) -> Result<()> {
    let used = |name: &&String| {
        let wanted = ["lib", "chromium", "fonts"].iter().any(|start| name.starts_with(start));
        wanted && !OF_THE_SYSTEM.contains(&name.as_str())
    };
    let closure = archive.closure(&[PROGRAM, FONTS], SUITE)?;
    let names: Vec<String> = closure.iter().filter(used).cloned().collect();
    archive.download(&names, SUITE, packages)
}
