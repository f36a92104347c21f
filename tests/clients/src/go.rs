//! Programs in Go from Debian's packages: those that a library of the package is, and one of ours that calls a library.
//! Debian's compiler and sources are fetched by apt's own client and unpacked below `target/guest`; nothing is
//! installed, and no module is fetched.

use anyhow::{Context, Result};
use fs_err as fs;
use host::fetch::{Archive, must};
use host::guest::packages::{Packages, Wanted};
use host::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first suite that has go-sev-guest 0.15 and go-attestation 0.6.4.
const SUITE: &str = "forky";
const WANTED: Wanted = Wanted { folder: "go", what: "Debian's Go and libraries for it", suites: SUITE, download };
/// The compiler, and what is built.
const PACKAGES: [&str; 3] = ["golang-go", SEV_GUEST, ATTESTATION];
/// The package with Google's library for SEV-SNP.
pub const SEV_GUEST: &str = "golang-github-google-go-sev-guest-dev";
/// The package with Google's library for TPMs and attestation.
pub const ATTESTATION: &str = "golang-github-google-go-attestation-dev";
/// Our program.
const PROGRAM: &str = include_str!("go/attestation.go");

fn download(archive: &Archive, folder: &Path) -> Result<()> {
    let all = archive.closure(&PACKAGES, SUITE)?;
    let go: Vec<_> = all.into_iter().filter(|name| name.starts_with("golang-")).collect();
    archive.download(&go, SUITE, folder)
}

/// Go, and the sources of libraries.
#[derive(Debug)]
pub struct Go {
    packages: Packages,
    folder: PathBuf,
}

impl Go {
    /// The packages, fetched if they are not there.
    pub fn fetch() -> Result<Self> {
        let folder = workspace::target_dir()?.join("suites/go");
        fs::create_dir_all(folder.join("bin"))?;
        Ok(Self { packages: Packages::fetch(&WANTED)?, folder })
    }

    /// A package's version, without Debian's revision.
    pub fn version(&self, package: &str) -> Result<String> {
        self.packages.version(package)
    }

    /// Where programs are.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Builds what go-sev-guest's package has as a program: it checks a report and its certificates.
    pub fn check(&self) -> Result<()> {
        self.build("go-sev-guest-check", "github.com/google/go-sev-guest/tools/check")
    }

    /// Builds our program, which calls go-attestation.
    pub fn attestation(&self) -> Result<()> {
        let source = self.folder.join("attestation.go");
        fs::write(&source, PROGRAM)?;
        self.build("go-attestation", &source.display().to_string())
    }

    fn build(&self, name: &str, what: &str) -> Result<()> {
        let root = self.packages.file("usr/lib");
        let mut versions = fs::read_dir(&root)?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_go = |path: &PathBuf| path.join("bin/go").is_file() && path.join("pkg").is_dir();
        let root = versions.find(is_go).with_context(|| format!("there is no Go in {}", root.display()))?;
        let mut go = Command::new(root.join("bin/go"));
        go.current_dir(&self.folder).args(["build", "-trimpath", "-o"]).arg(self.bin().join(name)).arg(what);
        go.env("GOROOT", &root).env("GOPATH", self.packages.file("usr/share/gocode"));
        go.env("GOCACHE", self.folder.join("cache")).env("HOME", &self.folder);
        // What the packages have, and nothing else: no module, no other compiler, nothing of C.
        go.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("CGO_ENABLED", "0");
        go.env("GOFLAGS", "").env("GOENV", "off");
        must(&mut go, &self.folder.join(format!("{name}.log")))
    }
}
