//! The event log of a boot, as firmware wrote it in the crypto-agile format (TCG PC Client Platform Firmware Profile,
//! 10.2): read as it is, and replayed. OVMF, GRUB, shim, systemd's boot loader and stub, and Linux add their events to
//! it, in `/sys/kernel/security/tpm0/binary_bios_measurements`.
//!
//! | module | is |
//! |---|---|
//! | [`event`] | an event, its name, and what of its data is proven |
//! | `uefi`, `device_path`, `text` | what events have for data |
//!
//! Of files the data is a name; what their digests should be, the image says ([`expected`]).

pub(crate) mod device_path;
pub mod event;
pub(super) mod text;
mod uefi;

pub use event::BootEvent;

use super::event_log::{Reader, digest};
use super::wire::{PCR_COUNT, alg};
use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use event::{EV_NO_ACTION, EV_S_CRTM_VERSION, type_name};
use igvm::{IgvmDirectiveHeader, IgvmFile, IsolationType};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const EV_SEPARATOR: u32 = 4;
/// The locality of TPM2_Startup, in an event that extends nothing.
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";
/// More than any boot has.
const MAX_EVENTS: usize = 4096;

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootLog {
    /// Banks and the sizes of their digests, in the order of the header.
    sizes: Vec<(u16, usize)>,
    /// The events that extended PCRs, in order.
    pub events: Vec<BootEvent>,
    /// Events that extended nothing (`EV_NO_ACTION`), each with the number of those before it that did.
    pub notes: Vec<(usize, BootEvent)>,
    /// The locality of TPM2_Startup, which PCR 0 begins with; 4 is that of a hardware's own root of trust (H-CRTM).
    pub startup_locality: u8,
}

/// What the image says that a log must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfImage {
    /// The events, in order.
    pub events: Vec<Expected>,
    /// The image starts a firmware that measures what it starts: its events, which only the PCRs can confirm, come
    /// next.
    pub others_follow: bool,
}

/// What the image says that an event must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The PCR.
    pub pcr: u32,
    /// Its type.
    pub kind: u32,
    /// Its digest in each bank that is known here; none for the firmware's version, which the launch digest says
    /// better.
    pub digests: BTreeMap<u16, Vec<u8>>,
    /// Its data; nothing for the firmware's version.
    pub data: Option<Vec<u8>>,
    /// The event in words.
    pub name: String,
}

impl OfImage {
    /// What a PCR of the SHA-256 bank is after these events.
    pub fn predicted(&self, pcr: u32) -> Result<[u8; 32]> {
        self.events.iter().filter(|event| event.pcr == pcr).try_fold([0; 32], |value, event| {
            let measured = event.digests.get(&alg::SHA256);
            let measured =
                measured.with_context(|| format!("PCR {pcr}: the image does not say the digest of {}", event.name))?;
            Ok(extended(&value, measured))
        })
    }
}

/// A PCR of the SHA-256 bank that is extended by a digest.
pub fn extended(pcr: &[u8; 32], digest: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(pcr).chain_update(digest).finalize().into()
}

impl BootLog {
    /// Reads a log; an empty one has no banks and no events.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut log = Self::default();
        if bytes.is_empty() {
            return Ok(log);
        }
        let mut reader = Reader(bytes);
        log.sizes = header(&mut reader).context("boot log")?;
        while !reader.0.is_empty() {
            let number = log.events.len() + log.notes.len() + 1;
            ensure!(number <= MAX_EVENTS, "boot log: more than {MAX_EVENTS} events");
            let event = event(&mut reader, &log.sizes).with_context(|| format!("boot log: event {number}"))?;
            if event.kind == EV_NO_ACTION {
                log.note(event).with_context(|| format!("boot log: event {number}"))?;
            } else {
                log.events.push(event);
            }
        }
        Ok(log)
    }

    /// An event that extends nothing. One of them says what PCR 0 was before the first that does (TCG PC Client
    /// Platform Firmware Profile, 10.4.5.3).
    fn note(&mut self, event: BootEvent) -> Result<()> {
        if let Some(locality) = event.data.strip_prefix(STARTUP_LOCALITY) {
            let [locality @ (0 | 3 | 4)] = *locality else {
                bail!("StartupLocality is {}, not 0, 3 or 4", hex(locality))
            };
            let is_second = self.notes.iter().any(|(_, note)| note.data.starts_with(STARTUP_LOCALITY));
            ensure!(!is_second, "a second StartupLocality");
            let is_late = self.events.iter().any(|event| event.pcr == 0);
            ensure!(!is_late, "StartupLocality behind an event that has extended PCR 0");
            self.startup_locality = locality;
        }
        self.notes.push((self.events.len(), event));
        Ok(())
    }

    /// All events in the order of the log, those that extended nothing among them; true for those that did.
    pub fn in_order(&self) -> Vec<(bool, &BootEvent)> {
        let mut notes = self.notes.iter().peekable();
        let mut all = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            while let Some((_, note)) = notes.next_if(|(before, _)| *before <= index) {
                all.push((false, note));
            }
            all.push((true, event));
        }
        all.extend(notes.map(|(_, note)| (false, note)));
        all
    }

    /// The banks whose digests are known here, in ascending order.
    pub fn banks(&self) -> Vec<u16> {
        let mut banks: Vec<u16> =
            self.sizes.iter().map(|(bank, _)| *bank).filter(|bank| digest(*bank, &[]).is_ok()).collect();
        banks.sort_unstable();
        banks
    }

    /// The kernel's command line, if there is one event of it.
    pub fn command_line(&self) -> Option<String> {
        let mut texts = self.events.iter().filter(|event| event.data.starts_with(b"kernel_cmdline: "));
        let event = texts.next()?;
        let text = event.measured()?;
        texts.next().is_none().then(|| String::from_utf8_lossy(&text).escape_debug().to_string())
    }

    /// Extends SHA-256 PCRs.
    pub fn replay(&self, pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<()> {
        let has_bank = self.sizes.is_empty() || self.sizes.iter().any(|(bank, _)| *bank == alg::SHA256);
        ensure!(has_bank, "boot log: it has no digests of the SHA-256 bank");
        pcrs[0][31] |= self.startup_locality;
        for event in &self.events {
            let pcr =
                pcrs.get_mut(event.pcr as usize).with_context(|| format!("boot log: there is no PCR {}", event.pcr))?;
            *pcr = extended(pcr, event.sha256()?);
        }
        Ok(())
    }

    /// Every digest that must be that of its event's data is, in all banks that are known here.
    pub fn check_data(&self) -> Result<()> {
        for (index, event) in self.events.iter().enumerate() {
            let Some(measured) = event.must_be_measured() else { continue };
            for (bank, found) in &event.digests {
                let Ok(computed) = digest(*bank, measured) else { continue };
                ensure!(
                    *found == computed,
                    "PCR {}, event {} ({event}): its digest in bank {bank:#06x} is {}, that of its data is {}",
                    event.pcr,
                    index + 1,
                    hex(found),
                    hex(&computed)
                );
            }
        }
        Ok(())
    }

    /// The events are those that the image says.
    pub fn check_expected(&self, expected: &OfImage) -> Result<()> {
        for (index, wanted) in expected.events.iter().enumerate() {
            let place = format!("PCR {}, event {} ({})", wanted.pcr, index + 1, wanted.name);
            let event = self.events.get(index).with_context(|| format!("{place} is not in the boot log"))?;
            ensure!(
                (event.pcr, event.kind) == (wanted.pcr, wanted.kind),
                "{place}: the boot log has an event of type {} in PCR {} instead ({event})",
                type_name(event.kind),
                event.pcr
            );
            for (bank, found) in &event.digests {
                let Some(wanted) = wanted.digests.get(bank) else { continue };
                ensure!(
                    found == wanted,
                    "{place}: the boot log has {event} with digest {} in bank {bank:#06x}, expected {}",
                    hex(found),
                    hex(wanted)
                );
            }
            ensure!(
                wanted.data.as_ref().is_none_or(|data| *data == event.data),
                "{place}: the boot log calls it {event}"
            );
        }
        ensure!(
            expected.others_follow || self.events.len() == expected.events.len(),
            "the boot log has {} events, the image says {}",
            self.events.len(),
            expected.events.len()
        );
        Ok(())
    }
}

/// The first event, which says what format the rest has; gives the banks and the sizes of their digests.
fn header(reader: &mut Reader<'_>) -> Result<Vec<(u16, usize)>> {
    let (_pcr, kind, _digest) = (reader.u32()?, reader.u32()?, reader.take(20)?);
    let data = reader.sized().context("header")?;
    if let Some(banks) = data.strip_prefix(b"Spec ID Event03\0") {
        return banks_of(banks).context("header");
    }
    // In the older format every event is as this one, and a header may be missing.
    ensure!(
        !(data.starts_with(b"Spec ID Event") || kind <= 0x13 || kind >> 16 == 0x8000),
        "it is in the SHA-1 format of TPM 1.2, not in the crypto-agile one: nothing in it leads to PCRs of the SHA-256 bank"
    );
    bail!("it is no log: its first event has type {kind:#x}")
}

fn banks_of(header: &[u8]) -> Result<Vec<(u16, usize)>> {
    let mut reader = Reader(header);
    reader.take(8)?;
    let count = reader.u32()?;
    ensure!((1..=8).contains(&count), "{count} banks");
    let banks: Vec<_> = (0..count).map(|_| Ok((reader.u16()?, usize::from(reader.u16()?)))).collect::<Result<_>>()?;
    for (bank, size) in &banks {
        let known = digest(*bank, &[]).map_or(*size, |digest| digest.len());
        ensure!(known == *size, "digests of {size} bytes in bank {bank:#06x}");
    }
    Ok(banks)
}

fn event(reader: &mut Reader<'_>, sizes: &[(u16, usize)]) -> Result<BootEvent> {
    let (pcr, kind, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
    ensure!(count as usize == sizes.len(), "it has {count} digests");
    let mut digests = BTreeMap::new();
    for _ in 0..count {
        let bank = reader.u16()?;
        let (_, size) = sizes.iter().find(|(known, _)| *known == bank).with_context(|| format!("bank {bank:#06x}"))?;
        let before = digests.insert(bank, reader.take(*size)?.to_vec());
        ensure!(before.is_none(), "two digests of bank {bank:#06x}");
    }
    Ok(BootEvent { pcr, kind, digests, data: reader.sized()?.to_vec() })
}

/// The events that the firmware makes of an IGVM file of ours: its launch parameters name the regions, its pages are
/// their contents (docs/boot.md).
pub fn expected(igvm: &[u8]) -> Result<OfImage> {
    let file = IgvmFile::new_from_binary(igvm, Some(IsolationType::Snp)).context("this is no IGVM file for SEV-SNP")?;
    let pages = pages(&file);
    launch_parameters(&pages).map_or_else(|| Ok(OfImage::default()), |parameters| of_parameters(parameters, &pages))
}

fn pages(file: &IgvmFile) -> BTreeMap<u64, &[u8]> {
    let data = file.directives().iter().filter_map(|directive| match directive {
        IgvmDirectiveHeader::PageData { gpa, data, .. } if !data.is_empty() => Some((*gpa, data.as_slice())),
        _ => None,
    });
    data.collect()
}

fn launch_parameters<'a>(pages: &BTreeMap<u64, &'a [u8]>) -> Option<&'a [u8]> {
    pages.values().find(|data| data.starts_with(b"QUOINLP4")).copied()
}

fn of_parameters(parameters: &[u8], pages: &BTreeMap<u64, &[u8]>) -> Result<OfImage> {
    let mut head = Reader(parameters.get(0x34..).context("the launch parameters are too short")?);
    let (measure, count) = (head.u32()?, head.u32()?);
    let mut events = Vec::new();
    if measure == 0 {
        return Ok(OfImage::default());
    }
    let version = String::from("the firmware's version");
    events.push(Expected { pcr: 0, kind: EV_S_CRTM_VERSION, digests: BTreeMap::new(), data: None, name: version });
    let mut regions = Reader(parameters.get(0x80..).context("the launch parameters are too short")?);
    for _ in 0..count {
        events.extend(of_region(&mut Reader(regions.take(80)?), pages)?);
    }
    if measure == 2 {
        for pcr in 0..8 {
            let (digests, data) = (all_digests(&[0; 4])?, Some(vec![0; 4]));
            events.push(Expected { pcr, kind: EV_SEPARATOR, digests, data, name: "separator".into() });
        }
    }
    Ok(OfImage { events, others_follow: measure == 1 })
}

fn of_region(entry: &mut Reader<'_>, pages: &BTreeMap<u64, &[u8]>) -> Result<Option<Expected>> {
    let (gpa, size) = (entry.u64()?, entry.u64()?);
    entry.u32()?;
    let (pcr, kind, flags) = (entry.u32()?, entry.u32()?, entry.u32()?);
    entry.u64()?;
    if pcr == u32::MAX {
        return Ok(None);
    }
    let name = entry.take(40)?.split(|byte| *byte == 0).next().unwrap_or_default();
    let contents = contents(gpa, size, pages)?;
    let shown = if flags & 1 == 0 { &[][..] } else { &contents };
    let data = Some([name, shown, b"\0"].concat());
    let name = format!("`{}{}`", String::from_utf8_lossy(name), String::from_utf8_lossy(shown).escape_debug());
    Ok(Some(Expected { pcr, kind, digests: all_digests(&contents)?, data, name }))
}

fn all_digests(measured: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>> {
    [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512]
        .into_iter()
        .map(|bank| Ok((bank, digest(bank, measured)?)))
        .collect()
}

/// What the file places from `gpa` on; zeros where it places nothing.
fn contents(gpa: u64, size: u64, pages: &BTreeMap<u64, &[u8]>) -> Result<Vec<u8>> {
    let end = gpa.checked_add(size).filter(|_| size < 1 << 32).context("a region is too long")?;
    let mut bytes = vec![0; usize::try_from(size)?];
    for (page, data) in pages.range(gpa.saturating_sub(4095)..end) {
        let from = gpa.max(*page);
        let to = end.min(page + data.len() as u64);
        if from < to {
            let source = &data[usize::try_from(from - page)?..usize::try_from(to - page)?];
            bytes[usize::try_from(from - gpa)?..usize::try_from(to - gpa)?].copy_from_slice(source);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::device_path::tests::wide;
    use super::uefi::tests::{image, variable};
    use super::{BootLog, Expected, OfImage, all_digests, digest, of_parameters};
    use crate::evidence::event_log::initial_pcrs;
    use quoin_image::guest::{Entry, Event, Guest, Measure, Region, Validation, memory_type};
    use sha2::{Digest, Sha256};
    use std::collections::BTreeMap;

    /// A log with a version, a command line and a separator.
    pub(crate) fn log(command_line: &str) -> Vec<u8> {
        let mut header = b"Spec ID Event03\0\0\0\0\0\0\x02\x69\x02\x02\0\0\0".to_vec();
        header.extend([4, 0, 20, 0, 0xB, 0, 32, 0, 0]);
        let mut log = [&[0; 4], &3_u32.to_le_bytes()[..], &[0; 20]].concat();
        log.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        log.extend(header);
        let data = format!("kernel_cmdline: {command_line}\0");
        for (pcr, kind, measured, data) in [
            (0_u32, 8_u32, &b"Q\0u\0"[..], &b"Q\0u\0"[..]),
            (8, 13, command_line.as_bytes(), data.as_bytes()),
            (7, 4, &[0; 4], &[0; 4]),
        ] {
            log.extend([pcr, kind, 2].map(u32::to_le_bytes).concat());
            for bank in [4, 0xB] {
                log.extend([u16::to_le_bytes(bank).to_vec(), digest(bank, measured).unwrap()].concat());
            }
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
        }
        log
    }

    /// A header, and events of one bank: PCR, type, what was measured, data.
    pub(crate) fn written(events: &[(u32, u32, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut log = [&[0; 4], &3_u32.to_le_bytes()[..], &[0; 20]].concat();
        let header = [b"Spec ID Event03\0\0\0\0\0\0\x02\x69\x02\x01\0\0\0".as_slice(), &[0xB, 0, 32, 0, 0]].concat();
        log.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        log.extend(header);
        for (pcr, kind, measured, data) in events {
            log.extend([*pcr, *kind, 1].map(u32::to_le_bytes).concat());
            log.extend(0xB_u16.to_le_bytes());
            let digest = digest(0xB, measured).unwrap();
            log.extend(if *kind == 3 { vec![0; 32] } else { digest });
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
        }
        log
    }

    /// Events of the kinds that OVMF, GRUB, systemd's stub and Linux log, made by the profile.
    pub(crate) fn of_ovmf() -> Vec<u8> {
        let same = |pcr, kind, data: Vec<u8>| (pcr, kind, data.clone(), data);
        let blob = [b"\x04PEI\0".as_slice(), &[0x1000_u64, 0x20].map(u64::to_le_bytes).concat()].concat();
        let tag = [&0x8F3B_22EC_u32.to_le_bytes()[..], &13_u32.to_le_bytes(), b"Linux initrd\0"].concat();
        written(&[
            (0, 3, Vec::new(), b"StartupLocality\0\x03".to_vec()),
            same(0, 8, wide("Q 1")),
            (0, 0x8000_000A, vec![1; 32], blob),
            same(7, 0x8000_0001, variable("SecureBoot", &[1])),
            (1, 0x8000_0002, vec![1, 0], variable("BootOrder", &[1, 0])),
            same(4, 0x8000_0007, b"Calling EFI Application from Boot Option".to_vec()),
            same(7, 4, vec![0; 4]),
            (4, 0x8000_0003, vec![2; 32], image("\\EFI\\A.EFI")),
            (8, 13, b"boot".to_vec(), b"grub_cmd: boot\0".to_vec()),
            (9, 13, vec![3; 32], b"/vmlinuz\0".to_vec()),
            (9, 13, vec![5; 32], b"/a file: its name\0".to_vec()),
            (11, 13, b".linux\0".to_vec(), wide(".linux")),
            same(12, 13, wide("quiet")),
            (9, 6, vec![4; 32], tag),
            (5, 3, Vec::new(), b"SP800-155 Event\0".to_vec()),
        ])
    }

    #[test]
    fn pcr_0_begins_with_the_locality_of_startup() {
        let mut pcrs = initial_pcrs();
        BootLog::parse(&of_ovmf()).unwrap().replay(&mut pcrs).unwrap();
        let mut first = [0; 32];
        first[31] = 3;
        let second: [u8; 32] = Sha256::digest([&first[..], &Sha256::digest(wide("Q 1"))].concat()).into();
        assert_eq!(pcrs[0][..], Sha256::digest([&second[..], &Sha256::digest([1; 32])].concat())[..]);
        let note = |data: &[u8]| (0, 3, Vec::new(), data.to_vec());
        let version = (0, 8, b"1".to_vec(), b"1".to_vec());
        let (three, none) = (b"StartupLocality\0\x03".as_slice(), b"StartupLocality\0\0".as_slice());
        for (events, says) in [
            (vec![note(b"StartupLocality\0\x01")], "StartupLocality is 01"),
            (vec![note(b"StartupLocality\0")], "StartupLocality is "),
            (vec![note(three), note(none)], "event 2: a second StartupLocality"),
            (vec![version, note(three)], "event 2: StartupLocality behind"),
        ] {
            let said = format!("{:#}", BootLog::parse(&written(&events)).unwrap_err());
            assert!(said.contains(says), "{said}");
        }
    }

    /// An event in the format of TPM 1.2.
    pub(crate) fn sha1(kind: u32, data: &[u8]) -> Vec<u8> {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&[0; 4], &kind.to_le_bytes()[..], &[7; 20], &size, data].concat()
    }

    /// A log of no events, and of the SM3 bank alone.
    pub(crate) fn of_sm3() -> Vec<u8> {
        let mut log = written(&[]);
        let bank = log.len() - 5;
        log[bank..bank + 4].copy_from_slice(&[0x12, 0, 32, 0]);
        log
    }

    #[test]
    fn logs_of_other_formats_and_banks_are_refused_by_name() {
        let said = |log: &[u8]| format!("{:#}", BootLog::parse(log).unwrap_err());
        for log in
            [sha1(3, b"Spec ID Event00\0"), sha1(3, b"StartupLocality\0\0"), sha1(8, b"1"), sha1(0x8000_0008, b"")]
        {
            assert!(said(&log).contains("SHA-1 format of TPM 1.2"), "{}", said(&log));
        }
        assert!(said(&sha1(0x6E6F_6E65, b"")).contains("no log"));
        let mut other = written(&[]);
        let bank = other.len() - 5;
        other[bank] = 0xC;
        assert!(said(&other).contains("digests of 32 bytes in bank 0x000c"));
        let sm3 = BootLog::parse(&of_sm3()).unwrap();
        assert!(sm3.replay(&mut initial_pcrs()).unwrap_err().to_string().contains("no digests of the SHA-256 bank"));
    }

    fn expected(command_line: &str) -> OfImage {
        let event = |pcr, kind, measured: &[u8], data: &str, name: &str| Expected {
            pcr,
            kind,
            digests: all_digests(measured).unwrap(),
            data: Some(data.as_bytes().to_vec()),
            name: name.into(),
        };
        let data = format!("kernel_cmdline: {command_line}\0");
        let events = vec![
            Expected { pcr: 0, kind: 8, digests: BTreeMap::new(), data: None, name: "version".into() },
            event(8, 13, command_line.as_bytes(), &data, &format!("`{command_line}`")),
            event(7, 4, &[0; 4], "\0\0\0\0", "separator"),
        ];
        OfImage { events, others_follow: false }
    }

    #[test]
    fn a_log_is_read_replayed_and_compared() {
        let log = BootLog::parse(&log("root=/dev/vda quiet")).unwrap();
        log.check_data().unwrap();
        log.check_expected(&expected("root=/dev/vda quiet")).unwrap();
        let mut pcrs = initial_pcrs();
        log.replay(&mut pcrs).unwrap();
        let extended = Sha256::digest([[0; 32], Sha256::digest("root=/dev/vda quiet").into()].concat());
        assert_eq!(pcrs[8][..], extended[..]);
        let image = expected("root=/dev/vda quiet");
        assert_eq!(
            (image.predicted(8).unwrap(), image.predicted(9).unwrap()),
            (pcrs[8], [0; 32]),
            "from the image alone"
        );
        assert!(image.predicted(0).is_err(), "the image does not say what is measured there");
        assert_eq!(log.banks(), [4, 0xB]);
    }

    #[test]
    fn another_word_is_told_with_pcr_and_event() {
        let log = BootLog::parse(&log("root=/dev/vda loud")).unwrap();
        let said = log.check_expected(&expected("root=/dev/vda quiet")).unwrap_err().to_string();
        assert!(said.starts_with("PCR 8, event 2 (`root=/dev/vda quiet`)"), "{said}");
        assert!(said.contains("kernel_cmdline: root=/dev/vda loud"), "{said}");
    }

    #[test]
    fn events_that_the_image_does_not_name_are_those_of_a_firmware_that_it_starts() {
        let log = BootLog::parse(&log("quiet")).unwrap();
        let mut expected = expected("quiet");
        expected.events.pop();
        assert!(log.check_expected(&expected).is_err());
        expected.others_follow = true;
        log.check_expected(&expected).unwrap();
        expected.events[1].pcr = 9;
        assert!(log.check_expected(&expected).is_err());
    }

    #[test]
    fn a_digest_that_is_not_that_of_the_data_is_told_with_pcr_and_event() {
        let mut bytes = log("quiet");
        let at = bytes.windows(5).rposition(|five| five == b"quiet").unwrap();
        bytes[at] = b'Q';
        let said = BootLog::parse(&bytes).unwrap().check_data().unwrap_err().to_string();
        assert!(said.starts_with("PCR 8, event 2 (`kernel_cmdline: Quiet`)"), "{said}");
    }

    #[test]
    fn a_log_that_ends_early_or_has_an_event_too_few_is_refused() {
        let bytes = log("quiet");
        assert!(BootLog::parse(&bytes[..bytes.len() - 1]).is_err());
        let mut short = BootLog::parse(&bytes).unwrap();
        short.events.pop();
        assert!(short.check_expected(&expected("quiet")).unwrap_err().to_string().contains("not in the boot log"));
        assert_eq!(BootLog::parse(&[]).unwrap(), BootLog::default());
    }

    /// `cargo xtask verify --igvm` does not take the packer's word for it.
    #[test]
    fn the_log_has_the_digests_of_what_the_file_has() {
        let event = Event { pcr: 9, event_type: 13, name: "kernel".into(), with_contents: false };
        let kernel = Region::measured(0x20_0000, memory_type::RAM, vec![7; 6000]).with_event(event);
        let (mut parameters, pages) = packed(vec![kernel]);
        let pages: BTreeMap<u64, &[u8]> = pages.iter().map(|(gpa, page)| (*gpa, &page[..])).collect();
        let sha256 = 0x800 + 68 + 4;
        assert_eq!(parameters[sha256..sha256 + 32], Sha256::digest([7; 6000])[..], "what the packer gives");
        parameters[sha256] ^= 1;
        let of_image = of_parameters(&parameters, &pages).unwrap();
        assert_eq!(of_image.events[1].digests[&0xB][..], Sha256::digest([7; 6000])[..]);
    }

    fn packed(regions: Vec<Region>) -> (Vec<u8>, BTreeMap<u64, [u8; 4096]>) {
        let guest = Guest {
            entry: Entry::Long64,
            registers: [0; 4],
            validation: Validation::Everything,
            measure: Measure::OperatingSystem,
            processors: 4,
            from_file: 0,
            mixed_blocks: 0,
            interrupts: quoin_image::guest::Interrupts::default(),
            personality: quoin_image::guest::Personality::default(),
            settings: quoin_image::settings::Settings::default(),
            regions,
        };
        (Guest::launch_params(Some(&guest)).unwrap(), guest.pages())
    }

    #[test]
    fn launch_parameters_and_pages_say_which_events_there_must_be() {
        let event = |pcr, name: &str, with_contents| Event { pcr, event_type: 13, name: name.into(), with_contents };
        let text = Region::measured(0x10_1000, memory_type::RAM, b"quiet".to_vec());
        let kernel = Region::measured(0x20_0E00, memory_type::RAM, vec![7; 6000]);
        let (parameters, placed) = packed(vec![
            text.with_event(event(8, "kernel_cmdline: ", true)),
            kernel.with_event(event(9, "kernel", false)),
        ]);
        let pages: BTreeMap<u64, &[u8]> = placed.iter().map(|(gpa, page)| (*gpa, &page[..])).collect();
        let events = of_parameters(&parameters, &pages).unwrap().events;
        let seen: Vec<_> = events.iter().map(|event| (event.pcr, event.kind, event.name.as_str())).collect();
        assert_eq!(
            seen[..3],
            [(0, 8, "the firmware's version"), (8, 13, "`kernel_cmdline: quiet`"), (9, 13, "`kernel`")]
        );
        assert_eq!(events[1].digests[&0xB][..], Sha256::digest("quiet")[..]);
        assert_eq!(events[2].digests[&0xB][..], Sha256::digest([7; 6000])[..]);
        assert_eq!(events.len(), 3 + 8);
    }
}
