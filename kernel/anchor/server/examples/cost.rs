//! What anchors cost a TPM: `cargo xtask anchors`. The argument is the program.
//!
//! Three anchors on this computer, by Unix sockets and by TCP: the network is left out, the disk and the signatures are
//! in.

use anchor::client::{Boot, Client};
use anchor::keys::P384;
use anchor::mark::Mark;
use anchor::quorum::Quorum;
use anchor::wire::{Head, Key};
use anyhow::{Context, Result, ensure};
use core::time::Duration;
use quoin_anchor::ask::{Address, Anchors};
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// Commits for each figure.
const COMMITS: u64 = 100;
const BOOTS: u64 = 10;

struct Server {
    process: Child,
    key: Key,
    addresses: [Address; 2],
    _folder: TempDir,
}

impl Server {
    fn new(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (path, socket) = (folder.path().join("a"), folder.path().join("socket"));
        let key = Command::new(program).arg("key").arg(&path).output()?;
        ensure!(key.status.success(), "no key is made: {}", String::from_utf8_lossy(&key.stderr));
        let key =
            hex::decode(String::from_utf8(key.stdout)?.trim())?.try_into().ok().context("a key of another size")?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&path).args(["--listen", "127.0.0.1:0", "--unix"]).arg(&socket);
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let first = lines.next().context("the anchor says nothing")??;
        let tcp = first.strip_prefix("listening at ").context("it says something else")?.to_owned();
        lines.nth(1).context("it does not serve")??;
        Ok(Self { process, key, addresses: [Address::Tcp(tcp), Address::Unix(socket)], _folder: folder })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() -> Result<()> {
    let program = env::args_os().nth(1).context("the program is an argument")?;
    let servers = (0..3).map(|_| Server::new(Path::new(&program))).collect::<Result<Vec<_>>>()?;
    let keys: Vec<Key> = servers.iter().map(|server| server.key).collect();
    println!("| way | quorum | boot | commit, each registered | every 10th | at boot only |");
    println!("|---|---|---|---|---|---|");
    for (number, way) in [(0, "TCP"), (1, "Unix socket")] {
        let addresses: Vec<Address> = servers.iter().map(|server| server.addresses[number].clone()).collect();
        for k in [2, 3] {
            let anchors = Anchors::new(&addresses, Duration::from_secs(30));
            let (boot, commit) = measure(&anchors, &Quorum::of(k, &keys)?, u8::try_from(number)? * 2 + k)?;
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            println!(
                "| {way} | {k} of 3 | {:.1} ms | {:.1} ms | {:.2} ms | 0 |",
                ms(boot),
                ms(commit),
                ms(commit) / 10.0
            );
        }
    }
    Ok(())
}

/// The mean time of a boot and of a commit.
fn measure(anchors: &Anchors, quorum: &Quorum, tpm: u8) -> Result<(Duration, Duration)> {
    let keys = P384::new(&[tpm; 48]).context("no key")?;
    let (mut record, mut mark) = (Head::new(1, [0xff; 32], [0; 32]), Mark::new(quorum));
    let begun = Instant::now();
    for number in 1..=BOOTS {
        let mut client = boot(quorum, &keys, tpm, number, record, &mark);
        let mut written = None;
        record = anchors.start(&mut client, |mark| {
            written = Some(mark);
            Ok(Head::new(record.epoch.get() + 1, nonce(number), [1; 32]))
        })?;
        mark = written.context("nothing was written")?;
    }
    let each_boot = begun.elapsed() / u32::try_from(BOOTS)?;
    let mut client = boot(quorum, &keys, tpm, BOOTS + 1, record, &mark);
    let first = Head::new(record.epoch.get() + 1, nonce(BOOTS + 1), [1; 32]);
    anchors.start(&mut client, |_| Ok(first))?;
    let begun = Instant::now();
    for number in 1..=COMMITS {
        anchors.register(&mut client, Head::new(first.epoch.get() + number, first.boot, [2; 32]))?;
    }
    Ok((each_boot, begun.elapsed() / u32::try_from(COMMITS)?))
}

fn boot<'a>(quorum: &'a Quorum, keys: &'a P384, tpm: u8, number: u64, record: Head, mark: &Mark) -> Client<'a, P384> {
    Client::new(quorum, keys, Boot { identity: [tpm; 32], nonce: nonce(number), exchange: None }, record, mark)
}

fn nonce(number: u64) -> [u8; 32] {
    let mut nonce = [7; 32];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce
}
