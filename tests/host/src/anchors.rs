//! Anchors on this computer, and the way by which a firmware reaches them. On one computer they show how it works,
//! and protect nothing: whoever has that has them all.

use anchor::quorum::{Cadence, TooFew};
use anchor::{Key, Quorum};
use anyhow::{Context, Result, ensure};
use fs_err as fs;
use quoin_image::state::{Place, State, Wanted};
use relay::{Message, service};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::relays::{Relay, Running};
use crate::{build, child, devices};

/// How long the firmware waits for an anchor of which the relay does not say that it is not there: long, as disks and
/// processors here may be busy.
const PATIENCE_MS: u32 = 60_000;

/// A server with a folder of its own.
#[derive(Debug)]
struct Anchor {
    folder: PathBuf,
    key: Key,
    /// Where it was the first time, and is again.
    address: String,
    running: Option<Running>,
}

/// Anchors that serve.
#[derive(Debug)]
pub struct Fleet {
    programs: PathBuf,
    anchors: Vec<Anchor>,
}

impl Fleet {
    /// Starts so many, whose keys and databases are in this folder, or are made there.
    pub fn start(folder: &Path, count: usize) -> Result<Self> {
        let mut fleet = Self { programs: build::anchors()?, anchors: Vec::new() };
        fs::create_dir_all(folder)?;
        for number in 0..count {
            let folder = folder.join(format!("anchor-{number}"));
            let made = Command::new(fleet.programs.join("quoin-anchor")).arg("key").arg(&folder).output()?;
            ensure!(made.status.success(), "no anchor: {}", String::from_utf8_lossy(&made.stderr));
            let key = key(String::from_utf8(made.stdout)?.trim()).context("a key that is none")?;
            fleet.anchors.push(Anchor { folder, key, address: "127.0.0.1:0".into(), running: None });
            fleet.serve(number)?;
        }
        Ok(fleet)
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        let anchor = self.anchors.get_mut(number).context("no such anchor")?;
        let mut command = child::command(self.programs.join("quoin-anchor"));
        command.arg("serve").arg(&anchor.folder).args(["--listen", &anchor.address]);
        let (running, lines) = Running::start(command, "until Ctrl-C")?;
        let address = lines.iter().find_map(|line| line.strip_prefix("listening at ")).context("it listens nowhere")?;
        (anchor.address, anchor.running) = (address.to_owned(), Some(running));
        Ok(())
    }

    /// From now on exactly these serve.
    pub fn only(&mut self, numbers: &[usize]) -> Result<()> {
        for number in 0..self.anchors.len() {
            if !numbers.contains(&number) {
                self.anchors[number].running = None;
            } else if self.anchors[number].running.is_none() {
                self.serve(number)?;
            }
        }
        Ok(())
    }

    /// Where they are.
    #[must_use]
    pub fn addresses(&self) -> Vec<&str> {
        self.anchors.iter().map(|anchor| anchor.address.as_str()).collect()
    }

    /// What a relay does with a message to them, and with no other.
    pub fn answers(&self) -> impl FnMut(&Message) -> Option<Vec<Vec<u8>>> + Clone + Send + use<> {
        let addresses: Vec<String> = self.addresses().into_iter().map(String::from).collect();
        move |message| {
            (message.service == service::ANCHORS).then(|| {
                let address = addresses.get(usize::from(message.number));
                // One that is not there: said by nothing at all.
                vec![address.and_then(|address| asked(address, &message.octets).ok()).unwrap_or_default()]
            })
        }
    }

    /// The setting of a state on the disk of [`devices`] with these anchors, of which more than half are a quorum. Each
    /// commit is registered.
    pub fn setting(&self, too_few: TooFew, shares: bool) -> Result<State> {
        let keys: Vec<Key> = self.anchors.iter().map(|anchor| anchor.key).collect();
        let quorum = Quorum::of(u8::try_from(keys.len() / 2 + 1)?, &keys)?;
        let quorum = quorum.with(Cadence::Every(1), too_few).waiting(PATIENCE_MS, shares);
        let mut anchors = vec![0; Quorum::MAX_SIZE];
        let size = quorum.write(&mut anchors).context("no room for the anchors")?;
        anchors.truncate(size);
        let console = Some(Place::Pci(devices::CONSOLE, 0));
        Ok(State { console, share: shares, anchors, ..devices::setting(Wanted::Required) })
    }

    /// The host's end of a console, which leads to them.
    pub fn relay(&self) -> Result<Relay> {
        let arguments = self.anchors.iter().flat_map(|anchor| ["--anchor".into(), anchor.address.clone()]);
        Relay::start(&self.programs, arguments.collect())
    }
}

/// An anchor's reply to a request.
pub fn asked(address: &str, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let mut reply = vec![0; anchor::Reply::SIZE];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// The key as the program prints it.
fn key(digits: &str) -> Option<Key> {
    let octet = |at: usize| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok();
    let octets: Vec<u8> = (0..digits.len() / 2).map(octet).collect::<Option<_>>()?;
    octets.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_has_49_octets_in_hexadecimal_digits() {
        assert_eq!(key(&"02".repeat(49)), Some([2; 49]));
        for digits in ["", "02", "0202", &"0g".repeat(49), &"02".repeat(50)] {
            assert_eq!(key(digits), None, "{digits}");
        }
    }
}
