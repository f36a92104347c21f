//! An etcd of a test's own, which can be away.

use core::time::Duration;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;
use tempfile::TempDir;

pub(crate) struct Etcd {
    folder: TempDir,
    ports: [u16; 2],
    is_secret: bool,
    process: Option<Child>,
}

impl Etcd {
    /// One member, that serves; by TLS, to whom its authority has certified, where `is_secret`.
    pub(crate) fn new(is_secret: bool) -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let mut etcd = Self { folder: tempfile::tempdir().unwrap(), ports, is_secret, process: None };
        if is_secret {
            certify(etcd.folder.path());
        }
        etcd.start();
        etcd
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.is_secret { "https" } else { "http" }, self.ports[0])
    }

    pub(crate) fn start(&mut self) {
        let (url, peers) = (self.url(), format!("http://127.0.0.1:{}", self.ports[1]));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.file("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        if self.is_secret {
            for (option, file) in [("--trusted-ca-file", "ca.pem"), ("--cert-file", "e.pem"), ("--key-file", "e.key")] {
                command.arg(option).arg(self.file(file));
            }
            command.arg("--client-cert-auth");
        }
        let log = fs::File::options().create(true).append(true).open(self.file("log")).unwrap();
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err() {
            assert!(Instant::now() < until, "{}", fs::read_to_string(self.file("log")).unwrap());
            sleep(Duration::from_millis(50));
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// It is there, and says nothing; or goes on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An authority (ca), etcd's key and certificate under it (e), and a client's (c); another authority (x).
fn certify(folder: &Path) {
    let script = "set -e
        for who in ca x; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -keyout $who.key -out $who.pem -subj /CN=$who -addext keyUsage=keyCertSign; done
        for who in e c; do openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key \
            -out $who.csr -subj /CN=$who; printf 'subjectAltName=IP:127.0.0.1' > ext
            openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $who.pem \
            -extfile ext; done";
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
