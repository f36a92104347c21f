//! The TPM that is judged, as a process of its own for each who wants a fresh one.

use anyhow::{Context, Result, bail, ensure};
use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use host::debian;
use host::qemu::Folder;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// Whose TPM.
#[derive(Debug, Clone)]
enum Kind {
    /// Ours, of a profile.
    Quoin(String),
    /// Debian's: what others' TPM gets from the same harness.
    Swtpm,
}

/// Ports that tests take: below those that the system gives to clients (32768 and up).
const PORTS: core::ops::Range<u16> = 20_000..32_000;
/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The next pair of ports.
static NEXT: AtomicU16 = AtomicU16::new(PORTS.start);

/// Starts servers of one kind.
#[derive(Debug, Clone)]
pub struct Servers {
    kind: Kind,
    program: PathBuf,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    folder: Folder,
}

impl Servers {
    /// Ours, built with `profile`.
    pub fn quoin(program: PathBuf, profile: &str) -> Self {
        Self { kind: Kind::Quoin(profile.to_owned()), program }
    }

    /// Debian's swtpm, which is installed if it is not there.
    pub fn swtpm() -> Result<Self> {
        debian::ensure(&[("swtpm", "swtpm")])?;
        Ok(Self { kind: Kind::Swtpm, program: PathBuf::from("swtpm") })
    }

    /// What they are called.
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Quoin(_) => "quoin",
            Kind::Swtpm => "swtpm",
        }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Our TPM's profile; empty if it is not ours.
    pub fn profile(&self) -> &str {
        match &self.kind {
            Kind::Quoin(profile) => profile,
            Kind::Swtpm => "",
        }
    }

    /// The command line of a server: `{port}`, `{next}` (the port after it) and `{state}` (a folder) are to be filled
    /// in.
    pub fn command_line(&self) -> Vec<String> {
        let program = self.program.display().to_string();
        let options: &[&str] = match &self.kind {
            Kind::Quoin(profile) => {
                &["--port", "{port}", "--protocol", "swtpm", "--startup", "off", "--profile", profile]
            }
            Kind::Swtpm => &[
                "socket",
                "--tpm2",
                "--server",
                "type=tcp,port={port}",
                "--ctrl",
                "type=tcp,port={next}",
                "--flags",
                "not-need-init",
                "--locality",
                "allow-set-locality",
                "--tpmstate",
                "dir={state}",
            ],
        };
        [program].into_iter().chain(options.iter().map(|option| (*option).to_owned())).collect()
    }

    /// Starts a new TPM at the next free pair of ports.
    pub fn start(&self) -> Result<Server> {
        let mut server = self.spawn([self.command_line(), self.trace()].concat())?;
        server.wait(|server| listens(server.port) && listens(server.port + 1))?;
        Ok(server)
    }

    /// Starts a new TPM whose control channel is a Unix socket, over which QEMU sends a data channel.
    pub fn start_for_qemu(&self) -> Result<Server> {
        let program = self.program.display().to_string();
        let options: &[&str] = match &self.kind {
            Kind::Quoin(profile) => {
                &["--port", "{port}", "--unix", "{state}/tpm", "--profile", profile, "--trace", "{state}/trace"]
            }
            Kind::Swtpm => {
                &["socket", "--tpm2", "--ctrl", "type=unixio,path={state}/tpm.ctrl", "--tpmstate", "dir={state}"]
            }
        };
        let words = [program].into_iter().chain(options.iter().map(|option| (*option).to_owned())).collect();
        let mut server = self.spawn(words)?;
        server.wait(|server| server.control_path().exists())?;
        Ok(server)
    }

    /// What has our server take note of all that is said to its TPM.
    fn trace(&self) -> Vec<String> {
        match self.kind {
            Kind::Quoin(_) => ["--trace", "{state}/trace"].map(String::from).into(),
            Kind::Swtpm => Vec::new(),
        }
    }

    /// Starts the TPM that a folder keeps. Ours only.
    pub fn start_with(&self, state: &Path) -> Result<Server> {
        let mut words = [self.command_line(), self.trace()].concat();
        words.extend([String::from("--state"), state.display().to_string()]);
        let mut server = self.spawn(words)?;
        server.wait(|server| listens(server.port) && listens(server.port + 1))?;
        Ok(server)
    }

    /// Makes a TPM in a folder that has all its certificates, by a development CA in another. Ours only: swtpm's are
    /// not what is judged.
    pub fn provision(&self, state: &Path, authority: &Path) -> Result<()> {
        ensure!(matches!(self.kind, Kind::Quoin(_)), "certificates are made by our program alone");
        let mut command = Command::new(&self.program);
        command.args(["provision", "--lock", "--issuer-url", "http://localhost/ca.der", "--state"]).arg(state);
        let output = command.arg("--development-ca").arg(authority).output().context("cannot start the program")?;
        ensure!(output.status.success(), "no certificates: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn spawn(&self, words: Vec<String>) -> Result<Server> {
        let folder = Folder::new()?;
        let port = free_pair()?;
        let filled = words.into_iter().map(|word| {
            word.replace("{port}", &port.to_string())
                .replace("{next}", &(port + 1).to_string())
                .replace("{state}", &folder.path().display().to_string())
        });
        let words: Vec<String> = filled.collect();
        let log = File::create(folder.path().join("server.log"))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", words[0]))?;
        Ok(Server { child, port, folder })
    }
}

/// The next pair of ports where nobody listens.
fn free_pair() -> Result<u16> {
    let pairs = usize::from((PORTS.end - PORTS.start) / 2);
    for _ in 0..pairs {
        let port = NEXT.fetch_add(2, Ordering::Relaxed);
        if port >= PORTS.end {
            NEXT.store(PORTS.start, Ordering::Relaxed);
        } else if !listens(port) && !listens(port + 1) {
            return Ok(port);
        }
    }
    bail!("all ports are taken")
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

impl Server {
    fn wait(&mut self, ready: fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !ready(self) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the server did not start: {}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// The file in which our server takes note of what is said to its TPM; it goes with the server.
    pub fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    /// What tpm2-tss calls it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The Unix socket of the control channel.
    pub fn control_path(&self) -> PathBuf {
        super::measured::control_socket(self.folder.path())
    }

    /// The command port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Sends TPM2_Startup(CLEAR), for suites that expect that a firmware has.
    pub fn startup(&self) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0])?;
        let mut response = [0; 10];
        stream.read_exact(&mut response)?;
        ensure!(response[6..] == [0; 4], "TPM2_Startup is refused: {:02x?}", &response[6..]);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
