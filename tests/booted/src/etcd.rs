//! Anchors whose databases are in etcd, as Debian has it.

use super::{Totals, cargo};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use fs_err as fs;
use host::qemu::Folder;
use host::{child, debian};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Instant;

/// One member on free ports, in a folder that goes with it.
struct Etcd {
    process: Child,
    url: String,
    _folder: Folder,
}

impl Etcd {
    fn start() -> Result<Self> {
        let folder = Folder::new()?;
        let [port, peers] = [free_port()?, free_port()?];
        let [url, peers] = [port, peers].map(|port| format!("http://127.0.0.1:{port}"));
        let mut command = child::command("etcd");
        command.arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        let log = folder.path().join("log");
        let process = command.stdout(Stdio::null()).stderr(fs::File::create(&log)?.into_parts().0).spawn();
        let mut etcd = Self { process: process.context("cannot start etcd")?, url, _folder: folder };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let is_there = etcd.process.try_wait()?.is_none() && Instant::now() < until;
            ensure!(is_there, "etcd does not serve: {}", fs::read_to_string(&log)?);
            sleep(Duration::from_millis(50));
        }
        Ok(etcd)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// All of it.
pub fn run() -> Result<Totals> {
    debian::ensure(&[("etcd", "etcd-server"), ("openssl", "openssl")])?;
    cargo::anchors_in_etcd(&Etcd::start()?.url)
}
