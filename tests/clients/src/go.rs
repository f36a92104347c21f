//! Programs in Go from Debian's packages: those that a library of the package is, and one of ours that calls a library.
//! Debian's compiler and sources are fetched by apt's own client and unpacked below `target`; nothing is installed, and
//! no module is fetched.

use anyhow::{Context, Result};
use booted::azure::client::pem;
use fs_err as fs;
use host::fetch::{Archive, must};
use host::guest::packages::{Packages, Wanted};
use host::workspace;
use quoin_verify::roots::{AMD, Authorities};
use std::env;
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
/// The path of that library, as programs import it.
const SEV_GUEST_PATH: &str = "src/github.com/google/go-sev-guest";
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

    /// Data of go-attestation's own tests.
    pub fn attestation_data(&self) -> PathBuf {
        self.packages.file("usr/share/gocode/src/github.com/google/go-attestation/attest/testdata")
    }

    /// Where programs are.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Builds what go-sev-guest's package has as a program: it checks a report and its certificates.
    pub fn check(&self) -> Result<()> {
        let library = self.folder.join(SEV_GUEST_PATH);
        if !library.join("complete").exists() {
            self.complete(&library)?;
        }
        self.build("go-sev-guest-check", "github.com/google/go-sev-guest/tools/check")
    }

    /// The library as Debian's package has it, with the data that it embeds and the package leaves out: AMD's
    /// authorities, which are those of the crate sev here, and keys of its own tests, which are new
    /// ones.
    fn complete(&self, library: &Path) -> Result<()> {
        let parent = library.parent().context("a path without a folder")?;
        fs::create_dir_all(parent)?;
        let from = self.packages.file("usr/share/gocode").join(SEV_GUEST_PATH);
        must(Command::new("cp").arg("-rT").arg(from).arg(library), &self.folder.join("copy.log"))?;
        for Authorities { generation, ark, ask } in AMD.iter() {
            let chain = [pem(ask)?, pem(ark)?].concat();
            let name = format!("ask_ark_{generation:?}").to_lowercase();
            for ending in ["", "_vcek", "_vlek"] {
                fs::write(library.join(format!("verify/trust/{name}{ending}.pem")), &chain)?;
            }
        }
        let keys = library.join("testing/data/keys");
        fs::create_dir_all(&keys)?;
        let kinds = [("RSA", "rsa_keygen_bits:2048", "ark ask asvk"), ("EC", "ec_paramgen_curve:P-384", "vcek vlek")];
        for (kind, option, names) in kinds {
            for name in names.split(' ') {
                let mut openssl = Command::new("openssl");
                openssl.args(["genpkey", "-algorithm", kind, "-pkeyopt", option, "-out"]);
                must(openssl.arg(keys.join(format!("{name}_private_key.pem"))), &self.folder.join("keys.log"))?;
            }
        }
        Ok(fs::write(library.join("complete"), "")?)
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
        let libraries = [self.folder.clone(), self.packages.file("usr/share/gocode")];
        go.env("GOROOT", &root).env("GOPATH", env::join_paths(libraries)?);
        go.env("GOCACHE", self.folder.join("cache")).env("HOME", &self.folder);
        // What the packages have, and nothing else: no module, no other compiler, nothing of C.
        go.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("CGO_ENABLED", "0");
        go.env("GOFLAGS", "").env("GOENV", "off");
        must(&mut go, &self.folder.join(format!("{name}.log")))
    }
}
