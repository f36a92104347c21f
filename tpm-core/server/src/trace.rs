//! What was said to the TPM and what it answered: as decoded text, and as a capture that Wireshark's TPM dissector
//! takes.
//!
//! The capture is of one TCP connection that never was, from a client to port 2321, where Wireshark looks for commands
//! and responses; each is a packet, without the framing of any protocol.

use anyhow::{Context, Result};
use core::fmt::Write as _;
use core::time::Duration;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use std::borrow::Cow;
use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tpm_codes::cc;
use tpm_core::rc::Words;
use tpm_ports::Record;

/// The port by which Wireshark knows TPMs.
const PORT: u16 = 2321;
/// The client's.
const CLIENT_PORT: u16 = 40_000;

/// The two files.
pub(crate) struct Trace {
    text: File,
    capture: PcapWriter<File>,
    /// Sequence numbers of the client and the server.
    sent: [u32; 2],
    count: u64,
}

impl core::fmt::Debug for Trace {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Trace").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Where the capture goes: beside the text.
fn capture_path(text: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pcap", text.display()))
}

impl Trace {
    /// Text at `path`, the capture at `path.pcap`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let create = |path: &Path| secret_file(path).with_context(|| format!("cannot write {}", path.display()));
        let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
        let capture = PcapWriter::with_header(create(&capture_path(path))?, header)?;
        Ok(Self { text: create(path)?, capture, sent: [1, 1], count: 0 })
    }

    fn packet(&mut self, from_client: bool, payload: &[u8]) -> Result<()> {
        let (client, server) = ([127, 0, 0, 1], [127, 0, 0, 1]);
        let [mine, theirs] = if from_client { self.sent } else { [self.sent[1], self.sent[0]] };
        let (from, to) = if from_client { (CLIENT_PORT, PORT) } else { (PORT, CLIENT_PORT) };
        let builder = PacketBuilder::ethernet2([0; 6], [0; 6]).ipv4(client, server, 64);
        let builder = builder.tcp(from, to, mine, 0xFFFF).ack(theirs).psh();
        let mut frame = BufWriter::new(Vec::with_capacity(builder.size(payload.len())));
        builder.write(&mut frame, payload)?;
        let frame = frame.into_inner()?;
        self.sent[usize::from(!from_client)] = mine.wrapping_add(u32::try_from(payload.len())?);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let length = u32::try_from(frame.len())?;
        self.capture.write_packet(&PcapPacket { timestamp: time, orig_len: length, data: Cow::Owned(frame) })?;
        Ok(())
    }
}

/// A file for secrets: what was unsealed is in it. One that was there loses its contents, and its readers.
fn secret_file(path: &Path) -> std::io::Result<File> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

impl Record for Trace {
    /// Nothing stays in a buffer: a trace is read when something has gone wrong.
    fn record(&mut self, locality: u8, command: &[u8], response: &[u8]) -> Result<()> {
        self.count += 1;
        let text = format!("{} {}", self.count, describe(locality, command, response));
        self.text.write_all(text.as_bytes())?;
        self.packet(true, command)?;
        self.packet(false, response)?;
        Ok(())
    }
}

/// A command and its response in words, a line each, and the bytes after their headers.
fn describe(locality: u8, command: &[u8], response: &[u8]) -> String {
    let mut text = String::new();
    let code = word(command, 6).unwrap_or(0);
    let sessions = if command.starts_with(&[0x80, 2]) { ", with sessions" } else { "" };
    let length = command.len();
    let name = cc::name(code).map_or_else(|| format!("command {code:#010x}"), String::from);
    let _ = writeln!(text, "{name} at locality {locality}, {length} bytes{sessions}");
    let _ = writeln!(text, "  > {}", hex(command.get(10..).unwrap_or(command)));
    let rc = word(response, 6).unwrap_or(u32::MAX);
    let _ = writeln!(text, "  {}, {} bytes", Words(rc), response.len());
    if response.len() > 10 {
        let _ = writeln!(text, "  < {}", hex(&response[10..]));
    }
    text
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Record, Trace, capture_path, describe};
    use pcap_file::pcap::PcapReader;
    use std::fs;

    const COMMAND: &[u8] = b"\x80\x01\0\0\0\x0C\0\0\x01\x7B\0\x08";

    #[test]
    fn a_command_is_told_in_words() {
        let text = describe(3, COMMAND, b"\x80\x01\0\0\0\x0A\0\0\x01\0");
        assert_eq!(text, "GetRandom at locality 3, 12 bytes\n  > 0008\n  TPM_RC_INITIALIZE (0x100), 10 bytes\n");
    }

    #[test]
    fn what_is_no_command_is_told_all_the_same() {
        assert!(describe(0, b"\x80", b"").starts_with("command 0x00000000 at locality 0, 1 bytes\n  > 80\n"));
    }

    /// Section 4, row 4: they hold what was unsealed.
    #[test]
    fn nobody_else_may_read_a_trace() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        fs::write(&path, b"of another run").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Trace::create(&path).unwrap());
        for path in [path.clone(), capture_path(&path)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn the_capture_has_a_packet_each_way_and_numbers_that_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let mut trace = Trace::create(&path).unwrap();
        for _ in 0..2 {
            trace.record(0, COMMAND, b"\x80\x01\0\0\0\x0C\0\0\0\0\0\0").unwrap();
        }
        let mut reader = PcapReader::new(fs::File::open(capture_path(&path)).unwrap()).unwrap();
        let mut ends = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            let sliced = etherparse::SlicedPacket::from_ethernet(&packet.data).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
            ends.push((tcp.destination_port(), tcp.sequence_number(), tcp.payload().len()));
        }
        assert_eq!(ends, [(2321, 1, 12), (40_000, 1, 12), (2321, 13, 12), (40_000, 13, 12)]);
        assert_eq!(fs::read_to_string(&path).unwrap().matches("GetRandom").count(), 2);
    }
}
