//! Servers of the program, and TPMs that ask them.

use anchor::client::{Boot, Client};
use anchor::keys::P384;
use anchor::mark::Mark;
use anchor::quorum::Quorum;
use anchor::wire::{Head, Key};
use core::time::Duration;
use quoin_anchor::ask::{Address, Anchors};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_quoin-anchor"))
}

/// Where the suite has its etcd, if databases are to be there: each anchor's at a prefix of its own.
fn etcd() -> Vec<String> {
    std::env::var("QUOIN_ANCHOR_ETCD").map_or_else(|_| Vec::new(), |url| vec![String::from("--etcd"), url])
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program().args(arguments).args(etcd()).output().unwrap()
}

/// What a command printed that went well.
pub(crate) fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command said that did not.
pub(crate) fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// An anchor's folder, and the server that runs in it.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) key: Key,
    process: Option<Child>,
    pub(crate) address: String,
    database: Vec<String>,
}

impl Server {
    /// A new anchor that serves.
    pub(crate) fn new(options: &[&str]) -> Self {
        let mut server = Self::with_database(etcd());
        server.start(program(), options);
        server
    }

    /// A new anchor that does not serve yet, whose database these options name.
    pub(crate) fn with_database(database: Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut make = program();
        let key = said(&make.arg("key").arg(folder.path().join("a")).args(&database).output().unwrap());
        let key = hex::decode(key.trim()).unwrap().try_into().unwrap();
        Self { folder, key, process: None, address: String::new(), database }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("a")
    }

    /// The folder, for a command.
    pub(crate) fn named(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    /// Starts it, by this command and with further options.
    pub(crate) fn start(&mut self, mut command: Command, options: &[&str]) {
        command.args(["serve", &self.named(), "--listen", "127.0.0.1:0"]).args(options).args(&self.database);
        let mut process = command.stdout(Stdio::piped()).stderr(self.log()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap_or_else(|| panic!("{}", self.logged())).unwrap();
        self.address = first.strip_prefix("listening at ").unwrap().to_owned();
        // Until it says that it serves.
        lines.find(|line| line.as_ref().unwrap().contains("until Ctrl-C")).unwrap().unwrap();
        self.process = Some(process);
    }

    fn log(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap()
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
        assert!(process.wait().unwrap().success(), "{}", self.logged());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A TPM's identity and key, and a disk with its newest record.
pub(crate) struct Tpm {
    pub(crate) keys: P384,
    identity: [u8; 32],
    pub(crate) head: Head,
    pub(crate) mark: Mark,
}

impl Tpm {
    pub(crate) fn new(number: u8, quorum: &Quorum) -> Self {
        let keys = P384::new(&[number; 48]).unwrap();
        Self { keys, identity: [number; 32], head: Head::new(1, [0xee; 32], [1; 32]), mark: Mark::new(quorum) }
    }

    /// A boot with this nonce, from a record.
    pub(crate) fn boot<'a>(&'a self, nonce: u8, quorum: &'a Quorum, head: Head, mark: &Mark) -> Client<'a, P384> {
        let boot = Boot { identity: self.identity, nonce: [nonce; 32], exchange: None };
        Client::new(quorum, &self.keys, boot, head, mark)
    }

    /// Under what anchors keep it, in hexadecimal digits.
    pub(crate) fn subject(&self) -> String {
        use anchor::keys::Keys;
        hex::encode(anchor::wire::subject(&self.identity, self.keys.public()))
    }
}

/// A quorum of these servers, and the way to them.
pub(crate) fn quorum(k: u8, servers: &[Server]) -> (Quorum, Anchors) {
    let keys: Vec<Key> = servers.iter().map(|server| server.key).collect();
    let addresses: Vec<Address> = servers.iter().map(|server| Address::of(&server.address)).collect();
    (Quorum::of(k, &keys).unwrap(), Anchors::new(&addresses, Duration::from_secs(20)))
}

/// A record of this epoch and boot.
pub(crate) fn head(epoch: u64, boot: u8) -> Head {
    Head::new(epoch, [boot; 32], [epoch.to_le_bytes()[0]; 32])
}

/// Reads the whole of a file of a folder.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}
