//! The suites of what users install: the server by Debian's package manager, server and verifier by cargo.
//!
//! dpkg works on a folder of its own, and is told that its scripts shall, too: nothing of this computer is changed, and
//! nobody need be root.

use crate::deb;
use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use core::net::Ipv4Addr;
use flate2::read::GzDecoder;
use fs_err as fs;
use host::debian::{self, Wanted};
use host::qemu::Folder;
use host::workspace;
use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the package has.
const FILES: [&str; 13] = [
    "/usr/bin/quoin-tpm",
    "/usr/lib/systemd/system/quoin-tpm.service",
    "/usr/share/bash-completion/completions/quoin-tpm",
    "/usr/share/doc/quoin-tpm/LICENSE-APACHE",
    "/usr/share/doc/quoin-tpm/changelog.Debian.gz",
    "/usr/share/doc/quoin-tpm/copyright",
    "/usr/share/doc/quoin-tpm/licences-of-crates.gz",
    "/usr/share/fish/vendor_completions.d/quoin-tpm.fish",
    "/usr/share/man/man8/quoin-tpm-ioctl.8.gz",
    "/usr/share/man/man8/quoin-tpm-provision.8.gz",
    "/usr/share/man/man8/quoin-tpm-setup.8.gz",
    "/usr/share/man/man8/quoin-tpm-socket.8.gz",
    "/usr/share/man/man8/quoin-tpm.8.gz",
];
/// And one whose name begins otherwise.
const ZSH: &str = "/usr/share/zsh/vendor-completions/_quoin-tpm";
/// Where the service keeps its TPM (DynamicUser).
const STATE: &str = "var/lib/private/quoin-tpm";
/// The package, and the version that all of the workspace have.
const NAME: &str = "quoin-tpm";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The worst mark for the unit that is taken: tenths of systemd's measure, of which 100 is no protection.
const EXPOSURE: &str = "15";

/// What makes the package and judges it.
pub const PROGRAMS: [Wanted; 2] = [deb::SHLIBDEPS, ("systemd-analyze", "systemd")];

/// What `cargo install --path` installs: folders, programs, and how each shows that it is there.
type Product = (&'static str, &'static str, fn(&Path) -> Result<()>);
const BY_CARGO: [Product; 2] = [("tpm-core/server", NAME, serves), ("snp/verify", VERIFIER, says_its_version)];
const VERIFIER: &str = "quoin-verify";

/// The Debian package, from its making to its removal.
pub fn deb() -> Result<Totals> {
    debian::ensure(&PROGRAMS)?;
    let package = deb::make()?;
    let root = Root::new()?;
    let mut totals = case("its description is complete, what it depends on is computed", described(&package));
    totals += case("it is installed, and has what it should", root.installs(&package));
    totals += case("manual page and completions name every option", root.documents_all());
    totals += case("its program serves a TPM", serves(&root.path(FILES[0])));
    totals += case("systemd takes its unit, and finds it hardened", root.unit());
    totals += case("nothing is left of it when it is removed, and no state when it is purged", root.removes());
    Ok(totals)
}

/// The products by `cargo install`, with nothing but a compiler and cargo's configuration.
pub fn install() -> Result<Totals> {
    let mut totals = Totals::default();
    for (path, program, works) in BY_CARGO {
        totals += case(&format!("{program} wants no library of the system"), alone(program));
        totals += case(&format!("{program} is installed, and works"), by_cargo(path, program, works));
    }
    Ok(totals)
}

/// Standard output of a program that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn described(package: &Path) -> Result<()> {
    let field = |name: &str| output(Command::new("dpkg-deb").arg("--field").arg(package).arg(name));
    for (name, wanted) in [
        ("Package", NAME),
        ("Version", &*format!("{VERSION}-1")),
        ("Section", "utils"),
        ("Priority", "optional"),
        ("Maintainer", "@"),
        ("Depends", "libc6 (>= "),
    ] {
        let found = field(name)?;
        ensure!(found.contains(wanted), "{name}: {found}");
    }
    let description = field("Description")?;
    let synopsis = description.lines().next().unwrap_or_default();
    ensure!(synopsis.len() < 80 && !synopsis.ends_with('.') && description.lines().count() > 3, "{description}");
    for line in output(Command::new("dpkg-deb").arg("--contents").arg(package))?.lines() {
        let root = ["drwxr-xr-x 0/0", "-rwxr-xr-x 0/0", "-rw-r--r-- 0/0"].iter().any(|start| line.starts_with(start));
        ensure!(root, "others may write to it, or own it: {line}");
    }
    Ok(())
}

/// A computer's file system with no packages.
struct Root(Folder);

impl Root {
    fn new() -> Result<Self> {
        let root = Self(Folder::new()?);
        for folder in ["info", "updates"] {
            fs::create_dir_all(root.path("var/lib/dpkg").join(folder))?;
        }
        for file in ["status", "available"] {
            fs::write(root.path("var/lib/dpkg").join(file), "")?;
        }
        Ok(root)
    }

    /// A file as it is named in here.
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    /// dpkg here. What this computer's configuration leaves out, such as manual pages, is not left out; its log is not
    /// written.
    fn dpkg(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("dpkg");
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        command.args([option("root", self.0.path()), option("log", &self.path("dpkg.log"))]);
        command.args(["--force-not-root", "--force-depends", "--force-script-chrootless", "--path-include=/*"]);
        let path = env::var("PATH").unwrap_or_default();
        command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin"));
        command
    }

    fn installs(&self, package: &Path) -> Result<()> {
        output(self.dpkg(&["--install"]).arg(package))?;
        let listed = output(&mut self.dpkg(&["--listfiles", NAME]))?;
        let found: BTreeSet<&str> = listed.lines().filter(|name| self.path(name).is_file()).collect();
        let wanted: BTreeSet<&str> = FILES.into_iter().chain([ZSH]).collect();
        ensure!(found == wanted, "it has {found:?}");
        let said = output(Command::new(self.path(FILES[0])).arg("--version"))?;
        ensure!(said == format!("{NAME} {VERSION} (profile full)\n"), "{said}");
        Ok(())
    }

    fn documents_all(&self) -> Result<()> {
        let help = output(Command::new(self.path(FILES[0])).arg("--help"))?;
        let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
        let options: Vec<&str> = lines.flat_map(str::split_whitespace).filter(|word| word.starts_with("--")).collect();
        ensure!(options.contains(&"--daemon"), "{help}");
        let mut page = String::new();
        GzDecoder::new(fs::File::open(self.path("/usr/share/man/man8/quoin-tpm.8.gz"))?).read_to_string(&mut page)?;
        // Only there a hyphen is told from a minus.
        let page = page.replace("\\-", "-");
        ensure!(page.contains(".TH quoin-tpm 8"), "{page}");
        let read = |name: &str| fs::read_to_string(self.path(name));
        let fish = read("/usr/share/fish/vendor_completions.d/quoin-tpm.fish")?.replace("-l ", "--");
        for text in [page, read("/usr/share/bash-completion/completions/quoin-tpm")?, read(ZSH)?, fish] {
            for option in &options {
                ensure!(text.contains(*option), "{option} is not in\n{text}");
            }
        }
        Ok(())
    }

    fn unit(&self) -> Result<()> {
        let unit = fs::read_to_string(self.path(FILES[1]))?;
        let program = format!("ExecStart={} ", FILES[0]);
        ensure!(unit.contains(&program), "it starts something else:\n{unit}");
        // systemd looks for the program where this computer has its programs, and for what units it knows.
        let copy = self.path("quoin-tpm.service");
        fs::write(&copy, unit.replace(&program, &format!("ExecStart={} ", self.path(FILES[0]).display())))?;
        let mut verify = Command::new("systemd-analyze");
        let said = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&copy).output()?;
        // A key that it does not know is a warning.
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        ensure!(said.status.success() && text.is_empty(), "{}: {text}", said.status);
        let mut judge = Command::new("systemd-analyze");
        let said =
            judge.args(["security", "--no-pager", "--offline=true", "--threshold", EXPOSURE]).arg(&copy).output()?;
        fs::remove_file(&copy)?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        ensure!(text.contains("Overall exposure level"), "{text}");
        ensure!(said.status.success(), "it is exposed more than {EXPOSURE} tenths:\n{text}");
        Ok(())
    }

    fn removes(&self) -> Result<()> {
        let state = self.path(STATE);
        fs::create_dir_all(state.join("tpm"))?;
        output(&mut self.dpkg(&["--remove", NAME]))?;
        ensure!(!self.path("usr").exists(), "files or folders are left in usr");
        ensure!(state.exists(), "a TPM is lost with the program");
        output(&mut self.dpkg(&["--purge", NAME]))?;
        ensure!(!state.exists(), "a TPM is left");
        ensure!(fs::read_to_string(self.path("var/lib/dpkg/status"))?.trim().is_empty(), "dpkg still knows it");
        Ok(())
    }
}

/// A server, ended at its end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program, whose TPM a client starts, too, and asks for random octets.
fn serves(program: &Path) -> Result<()> {
    const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
    const RANDOM: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8];
    let mut server = Command::new(program);
    server.args(["--port", "0", "--startup", "off"]).stdout(Stdio::piped());
    let mut server = Server(server.spawn().with_context(|| format!("cannot start {}", program.display()))?);
    let lines = BufReader::new(server.0.stdout.take().context("it cannot be heard")?).lines();
    let tcti = lines.map_while(Result::ok).find(|line| line.contains("port=")).context("it names no port")?;
    let port = tcti.rsplit('=').next().context("it names no port")?.parse()?;
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for (command, length) in [(STARTUP, 10), (RANDOM, 20)] {
        client.write_all(&command)?;
        let mut response = vec![0; length];
        client.read_exact(&mut response)?;
        ensure!(response[6..10] == [0; 4], "the response to {command:02x?} is {response:02x?}");
    }
    Ok(())
}

/// Named like what links a C library, and wants no more than what std calls, too.
const OF_THE_SYSTEM: [&str; 2] = ["dirs-sys", "linux-raw-sys"];

/// No crate of it looks for a library, or compiles C.
fn alone(package: &str) -> Result<()> {
    let mut tree = Command::new(workspace::cargo());
    tree.current_dir(workspace::root()?).args(["tree", "--locked", "--package", package, "--prefix", "none"]);
    let tree = output(tree.args(["--edges", "normal,build", "--format", "{p}"]))?;
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(names.contains(package) && names.len() > 10, "this is not its tree:\n{tree}");
    let foreign = |name: &&&str| {
        (name.ends_with("-sys") && !OF_THE_SYSTEM.contains(*name))
            || ["cc", "cmake", "bindgen", "pkg-config"].contains(*name)
    };
    let foreign: Vec<_> = names.iter().filter(foreign).collect();
    ensure!(foreign.is_empty(), "{foreign:?}");
    Ok(())
}

fn says_its_version(program: &Path) -> Result<()> {
    let said = output(Command::new(program).arg("--version"))?;
    ensure!(said == format!("{VERIFIER} {VERSION}\n"), "{said}");
    Ok(())
}

fn by_cargo(path: &str, program: &str, works: fn(&Path) -> Result<()>) -> Result<()> {
    let folder = Folder::new()?;
    let [home, root, target] = ["home", "root", "target"].map(|name| folder.path().join(name));
    fs::create_dir(&home)?;
    // Where the registry is may be said there, and nothing else of the home is needed.
    let user = env::var_os("CARGO_HOME").map(PathBuf::from);
    let user = user.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    for configuration in user.iter().flat_map(|user| ["config.toml", "config"].map(|name| user.join(name))) {
        if configuration.is_file() {
            fs::copy(&configuration, home.join("config.toml"))?;
        }
    }
    let mut install = Command::new(workspace::cargo());
    install.current_dir(workspace::root()?).env("CARGO_HOME", &home).env_remove("CARGO_TARGET_DIR");
    install.args(["install", "--quiet", "--locked", "--path", path, "--root"]).arg(&root);
    output(install.arg("--target-dir").arg(&target))?;
    works(&root.join("bin").join(program))
}
