//! A TCG event log in the crypto-agile format (PC Client Platform Firmware Profile, 10.2): written for the events that
//! `collect` measures, and read back strictly.
//!
//! Only events of one type are taken, whose digests are those of the event's data. In PCR 8, where boot loaders measure
//! command lines, the data are a name, a space, what is measured, and NUL, as GRUB writes them and tpm2_eventlog wants
//! them; so the names there are unproven by the PCRs, and nothing else is.

use super::wire::{PCR_COUNT, alg};
use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// `EV_NO_ACTION`, the header's type.
const EV_NO_ACTION: u32 = 0x0000_0003;
/// `EV_IPL`: what a boot loader or what comes after it measures.
const EV_IPL: u32 = 0x0000_000D;
/// More than any PC has written.
const MAX_EVENTS: usize = 4096;

/// One event: what was measured into which PCR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The PCR.
    pub pcr: u32,
    /// What was measured.
    pub data: Vec<u8>,
}

/// The PCR of command lines.
const COMMAND_LINES: u32 = 8;

impl Event {
    /// Which report the evidence is of, in PCR 8.
    #[must_use]
    pub fn of_report(nonce: &[u8]) -> Self {
        Self { pcr: COMMAND_LINES, data: format!("report_nonce: {}\0", hex(nonce)).into_bytes() }
    }

    /// Which AK, in PCR 9.
    #[must_use]
    pub fn of_key(ak_name: &[u8]) -> Self {
        Self { pcr: 9, data: format!("AK name {}", hex(ak_name)).into_bytes() }
    }

    /// The bytes whose digests the PCR is extended by.
    #[must_use]
    pub fn measured(&self) -> &[u8] {
        if self.pcr != COMMAND_LINES {
            return &self.data;
        }
        let behind = self.data.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
        let text = &self.data[behind..];
        text.strip_suffix(b"\0").unwrap_or(text)
    }
}

/// A log: banks in ascending order of algorithm, and events in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// The banks that the events extended.
    pub banks: Vec<u16>,
    /// The events.
    pub events: Vec<Event>,
}

/// The digest of `data` in a bank.
pub fn digest(bank: u16, data: &[u8]) -> Result<Vec<u8>> {
    Ok(match bank {
        alg::SHA1 => Sha1::digest(data).to_vec(),
        alg::SHA256 => Sha256::digest(data).to_vec(),
        alg::SHA384 => Sha384::digest(data).to_vec(),
        alg::SHA512 => Sha512::digest(data).to_vec(),
        other => bail!("PCR bank {other:#06x} is unknown here"),
    })
}

impl EventLog {
    /// The log's bytes, as `/sys/kernel/security/tpm0/binary_bios_measurements` has them.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let specification = self.specification_event()?;
        let mut bytes = Vec::new();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(EV_NO_ACTION.to_le_bytes());
        bytes.extend([0; 20]);
        bytes.extend(length(&specification)?);
        bytes.extend(specification);
        for event in &self.events {
            bytes.extend(event.pcr.to_le_bytes());
            bytes.extend(EV_IPL.to_le_bytes());
            bytes.extend(length(&self.banks)?);
            for bank in &self.banks {
                bytes.extend(bank.to_le_bytes());
                bytes.extend(digest(*bank, event.measured())?);
            }
            bytes.extend(length(&event.data)?);
            bytes.extend(&event.data);
        }
        Ok(bytes)
    }

    /// `TCG_EfiSpecIdEvent`: class client, version 2.0 errata 106, 64-bit UINTN, the banks, no vendor information.
    fn specification_event(&self) -> Result<Vec<u8>> {
        let mut bytes = b"Spec ID Event03\0".to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend([0, 2, 106, 2]);
        bytes.extend(length(&self.banks)?);
        for bank in &self.banks {
            bytes.extend(bank.to_le_bytes());
            bytes.extend(u16::try_from(digest(*bank, &[])?.len())?.to_le_bytes());
        }
        bytes.push(0);
        Ok(bytes)
    }

    /// Reads a log. Whatever is taken has the one encoding that [`EventLog::to_bytes`] gives, so all its digests are
    /// those of its data.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        reader.take(8 + 20).context("header")?;
        let specification = reader.sized().context("header")?;
        let banks = banks(specification).context("header")?;
        let mut log = Self { banks, events: Vec::new() };
        while !reader.0.is_empty() {
            let number = log.events.len() + 1;
            ensure!(number <= MAX_EVENTS, "more than {MAX_EVENTS} events");
            let event = event(&mut reader, &log.banks).with_context(|| format!("event {number}"))?;
            log.events.push(event);
        }
        ensure!(
            log.to_bytes()? == bytes,
            "a digest is not that of its event's data, or a field has another value than is written here"
        );
        Ok(log)
    }

    /// The SHA-256 PCRs that the events lead to, from the values that PCRs have after startup (PC Client Platform TPM
    /// Profile, 4.6.1).
    pub fn replay(&self) -> Result<[[u8; 32]; PCR_COUNT]> {
        self.replay_after(initial_pcrs())
    }

    /// As [`EventLog::replay`], from other values, such as those that a boot has left.
    pub fn replay_after(&self, mut pcrs: [[u8; 32]; PCR_COUNT]) -> Result<[[u8; 32]; PCR_COUNT]> {
        for event in &self.events {
            let pcr = pcrs.get_mut(event.pcr as usize).with_context(|| format!("there is no PCR {}", event.pcr))?;
            let measured = Sha256::digest(event.measured());
            *pcr = Sha256::new().chain_update(*pcr).chain_update(measured).finalize().into();
        }
        Ok(pcrs)
    }
}

/// SHA-256 PCRs after startup: ones in the PCRs of a dynamic launch (17 to 22), zeros elsewhere.
pub fn initial_pcrs() -> [[u8; 32]; PCR_COUNT] {
    let mut pcrs = [[0; 32]; PCR_COUNT];
    pcrs[17..=22].fill([0xFF; 32]);
    pcrs
}

fn length<T>(items: &[T]) -> Result<[u8; 4]> {
    Ok(u32::try_from(items.len())?.to_le_bytes())
}

fn banks(specification: &[u8]) -> Result<Vec<u16>> {
    let mut reader = Reader(specification);
    reader.take(24)?;
    let count = reader.u32()?;
    ensure!((1..=4).contains(&count), "{count} banks");
    let mut banks = Vec::new();
    for _ in 0..count {
        let bank = reader.u16()?;
        reader.u16()?;
        banks.push(bank);
    }
    ensure!(banks.is_sorted_by(|a, b| a < b), "banks out of order");
    ensure!(banks.contains(&alg::SHA256), "no SHA-256 bank");
    Ok(banks)
}

fn event(reader: &mut Reader<'_>, banks: &[u16]) -> Result<Event> {
    let pcr = reader.u32()?;
    let kind = reader.u32()?;
    ensure!(kind == EV_IPL, "its type is {kind:#x}, not EV_IPL");
    let count = reader.u32()?;
    ensure!(count as usize == banks.len(), "it has {count} digests");
    for bank in banks {
        reader.u16()?;
        reader.take(digest(*bank, &[])?.len())?;
    }
    Ok(Event { pcr, data: reader.sized()?.to_vec() })
}

/// Little-endian values from the front of a slice.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length).context("it ends early")?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(*self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(*self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    pub(super) fn sized(&mut self) -> Result<&'a [u8]> {
        let size = self.u32()?;
        self.take(size as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, EventLog, alg, initial_pcrs};
    use sha2::{Digest, Sha256};

    fn log() -> EventLog {
        EventLog {
            banks: vec![alg::SHA1, alg::SHA256, alg::SHA384],
            events: vec![Event { pcr: 8, data: b"first".to_vec() }, Event { pcr: 9, data: b"second".to_vec() }],
        }
    }

    #[test]
    fn a_log_survives_writing_and_reading() {
        assert_eq!(EventLog::parse(&log().to_bytes().unwrap()).unwrap(), log());
    }

    /// In PCR 8 alone, and as GRUB does.
    #[test]
    fn behind_a_name_the_text_is_measured() {
        let event = Event { pcr: 8, data: b"kernel_cmdline: quiet splash\0".to_vec() };
        assert_eq!(event.measured(), b"quiet splash");
        assert_eq!(Event { pcr: 9, ..event.clone() }.measured(), event.data);
        assert_eq!(Event::of_report(&[0xAB, 1]).measured(), b"ab01");
    }

    #[test]
    fn replay_extends_the_digest_of_the_data() {
        let extended: [u8; 32] = Sha256::digest([[0; 32], Sha256::digest(b"first").into()].concat()).into();
        let pcrs = log().replay().unwrap();
        assert_eq!(pcrs[8], extended);
        assert_eq!(pcrs[0], initial_pcrs()[0]);
        assert_eq!(pcrs[17], [0xFF; 32]);
    }

    #[test]
    fn every_flipped_bit_is_refused_or_changes_what_is_replayed() {
        let bytes = log().to_bytes().unwrap();
        let pcrs = log().replay().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let replayed = EventLog::parse(&flipped).and_then(|log| log.replay());
            assert!(!replayed.is_ok_and(|found| found == pcrs), "bit {bit}");
        }
    }

    #[test]
    fn an_event_for_a_pcr_that_does_not_exist_cannot_be_replayed() {
        let mut log = log();
        log.events[0].pcr = 24;
        assert!(log.replay().is_err());
    }

    #[test]
    fn a_log_must_have_the_sha_256_bank() {
        let mut log = log();
        log.banks = vec![alg::SHA1];
        assert!(EventLog::parse(&log.to_bytes().unwrap()).is_err());
    }
}
