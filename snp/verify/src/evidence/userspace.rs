//! What systemd measures after the boot, by its own log: `/run/log/systemd/tpm2-measure.log`, "in a format close to TCG
//! CEL-JSON" (systemd, TPM2_PCR_MEASUREMENTS). It is a JSON text sequence (RFC 7464) of records
//!
//! ```text
//! {"pcr":11,"digests":[{"hashAlg":"sha256","digest":"…"}],"content_type":"systemd",
//!  "content":{"string":"enter-initrd","bootId":"…","timestamp":…,"eventType":"phase"}}
//! ```
//!
//! without CEL's record numbers. A record with `nv_index` in the place of `pcr` has extended an NV Index (NvPCR), and
//! no PCR. The string is what was measured, or says it: the digest tells.

use super::boot_log::{BootEvent, extended};
use super::wire::{PCR_COUNT, alg};
use crate::digest::hex;
use crate::policy::hex_bytes;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Before each record (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1E;
/// More than any boot has.
const MAX_RECORDS: usize = 4096;
/// `EV_IPL`, as systemd's stub has it.
const EV_IPL: u32 = 13;

/// Names of hashes, as systemd writes them, and the sizes of their digests.
const HASHES: [(&str, u16, usize); 4] =
    [("sha1", alg::SHA1, 20), ("sha256", alg::SHA256, 32), ("sha384", alg::SHA384, 48), ("sha512", alg::SHA512, 64)];

/// A record as it is written. What else is in it, nobody here needs.
#[derive(Debug, Deserialize)]
struct Written {
    pcr: Option<u32>,
    nv_index: Option<u32>,
    digests: Vec<Digest>,
    content_type: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
struct Digest {
    #[serde(rename = "hashAlg")]
    hash: String,
    digest: String,
}

#[derive(Debug, Deserialize)]
struct Content {
    string: String,
    #[serde(rename = "eventType")]
    kind: Option<String>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What kind of event it is, by systemd's word: `phase`, `filesystem`, `volume-key`, `machine-id`.
    pub kind: String,
    /// The PCR that it has extended; `None` for an NV Index.
    pub pcr: Option<u32>,
    /// The same as an event: its data are the string.
    pub event: BootEvent,
}

/// A log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserspaceLog {
    /// The records, in order.
    pub records: Vec<Record>,
}

impl UserspaceLog {
    /// Reads a log; an empty one has no records.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut records = Vec::new();
        if bytes.is_empty() {
            return Ok(Self { records });
        }
        ensure!(bytes.first() == Some(&RECORD_SEPARATOR), "systemd's log: it begins with no record");
        for text in bytes.split(|byte| *byte == RECORD_SEPARATOR).skip(1) {
            let number = records.len() + 1;
            ensure!(number <= MAX_RECORDS, "systemd's log: more than {MAX_RECORDS} records");
            records.push(Record::parse(text).with_context(|| format!("systemd's log: record {number}"))?);
        }
        Ok(Self { records })
    }

    /// The PCRs that it has extended.
    pub fn touched(&self) -> Vec<u32> {
        (0..).take(PCR_COUNT).filter(|pcr| self.records.iter().any(|record| record.pcr == Some(*pcr))).collect()
    }

    /// Extends SHA-256 PCRs by all records.
    pub fn replay(&self, pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<()> {
        self.records.iter().try_for_each(|record| record.extend(pcrs))
    }

    /// Extends SHA-256 PCRs by the first records, as many as lead to these quoted values: the log was read after the
    /// quote was made. Gives how many that are, perhaps none.
    pub fn replay_to(
        &self,
        pcrs: &mut [[u8; 32]; PCR_COUNT],
        quoted: impl Fn(u32) -> Option<[u8; 32]>,
    ) -> Result<usize> {
        let touched = self.touched();
        for pcr in &touched {
            ensure!(quoted(*pcr).is_some(), "systemd's log: PCR {pcr} has records, and is not in the quote");
        }
        let off = |pcrs: &[[u8; 32]; PCR_COUNT]| {
            touched.iter().copied().find(|pcr| pcrs.get(*pcr as usize).copied() != quoted(*pcr))
        };
        for (count, record) in self.records.iter().enumerate() {
            if off(pcrs).is_none() {
                return Ok(count);
            }
            record.extend(pcrs)?;
        }
        let Some(pcr) = off(pcrs) else { return Ok(self.records.len()) };
        let [wanted, found] =
            [quoted(pcr), pcrs.get(pcr as usize).copied()].map(|value| hex(&value.unwrap_or_default()));
        bail!("systemd's log: no part of it leads to the quoted PCR {pcr}: it is {wanted}, after all records {found}")
    }
}

impl Record {
    fn parse(text: &[u8]) -> Result<Self> {
        let Written { pcr, nv_index, digests, content_type, content } = serde_json::from_slice(text)?;
        ensure!(content_type == "systemd", "content_type is {content_type:?}, not \"systemd\"");
        ensure!(pcr.is_some() != nv_index.is_some(), "one of pcr and nv_index must be there");
        ensure!(pcr.is_none_or(|pcr| (pcr as usize) < PCR_COUNT), "there is no PCR {}", pcr.unwrap_or_default());
        let mut known = BTreeMap::new();
        for Digest { hash, digest } in &digests {
            // Another bank than those is nobody's here.
            let Some((_, id, size)) = HASHES.iter().find(|(name, ..)| name == hash) else { continue };
            let value = hex_bytes(digest).with_context(|| format!("its {hash} digest"))?;
            ensure!(value.len() == *size, "its {hash} digest has {} octets", value.len());
            ensure!(known.insert(*id, value).is_none(), "two {hash} digests");
        }
        ensure!(known.contains_key(&alg::SHA256), "no SHA-256 digest");
        let event =
            BootEvent { pcr: pcr.unwrap_or_default(), kind: EV_IPL, digests: known, data: content.string.into_bytes() };
        Ok(Self { kind: content.kind.unwrap_or_else(|| String::from("record")), pcr, event })
    }

    fn extend(&self, pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<()> {
        let Some(pcr) = self.pcr else { return Ok(()) };
        let value = pcrs.get_mut(pcr as usize).with_context(|| format!("systemd's log: there is no PCR {pcr}"))?;
        *value = extended(value, self.event.sha256()?);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::UserspaceLog;
    use crate::digest::hex;
    use crate::evidence::event_log::initial_pcrs;
    use sha2::{Digest, Sha256};

    /// A record as systemd writes it; a digest of something else than the string where that is given.
    pub(crate) fn record(place: &str, string: &str, kind: &str, measured: Option<&[u8]>) -> String {
        let measured = measured.unwrap_or(string.as_bytes());
        let digest = hex(&Sha256::digest(measured));
        let other = "11".repeat(48);
        format!(
            "\x1e{{{place},\"digests\":[{{\"hashAlg\":\"sha384\",\"digest\":\"{other}\"}},{{\"hashAlg\":\"sha256\",\
             \"digest\":\"{digest}\"}}],\"content_type\":\"systemd\",\"content\":{{\"string\":\"{string}\",\
             \"bootId\":\"0123456789abcdef0123456789abcdef\",\"timestamp\":4,\"eventType\":\"{kind}\"}}}}\n"
        )
    }

    /// Phases of a boot, a volume's key, an NvPCR.
    pub(crate) fn log() -> Vec<u8> {
        [
            record("\"pcr\":11", "enter-initrd", "phase", None),
            record("\"pcr\":15", "cryptsetup:root:uuid", "volume-key", Some(b"of the key")),
            record("\"nv_index\":30539776", "nvpcr", "nvpcr-init", None),
            record("\"pcr\":11", "leave-initrd", "phase", None),
        ]
        .concat()
        .into_bytes()
    }

    fn after(strings: &[&[u8]]) -> [u8; 32] {
        strings.iter().fold([0; 32], |pcr, string| {
            Sha256::new().chain_update(pcr).chain_update(Sha256::digest(string)).finalize().into()
        })
    }

    #[test]
    fn records_extend_their_pcrs_and_an_nv_index_none() {
        let log = UserspaceLog::parse(&log()).unwrap();
        let mut pcrs = initial_pcrs();
        log.replay(&mut pcrs).unwrap();
        assert_eq!(pcrs[11], after(&[b"enter-initrd", b"leave-initrd"]));
        assert_eq!(pcrs[15], after(&[b"of the key"]));
        assert_eq!((log.touched(), pcrs[0]), (vec![11, 15], [0; 32]));
        let measured: Vec<bool> = log.records.iter().map(|record| record.event.measured().is_some()).collect();
        assert_eq!(measured, [true, false, true, true]);
        assert_eq!(UserspaceLog::parse(b"").unwrap(), UserspaceLog::default());
    }

    /// What systemd 257 (Debian 13) has written beside a server of this project's TPM, which then had this PCR 11.
    #[test]
    fn a_log_that_systemd_has_written_leads_to_the_pcr_that_it_has_extended() {
        const PCR_11: &str = "75df9c8b17d8a6465f2862028b892ea13a3d7c37685a945e5ff34fb44956c207";
        let log = UserspaceLog::parse(include_bytes!("userspace_systemd_257.json")).unwrap();
        let said: Vec<_> =
            log.records.iter().map(|record| (record.kind.as_str(), record.event.data.as_slice())).collect();
        assert_eq!(said, [("phase", &b"enter-initrd"[..]), ("phase", b"leave-initrd")]);
        assert!(log.records.iter().all(|record| record.event.measured().is_some()));
        let mut pcrs = initial_pcrs();
        log.replay(&mut pcrs).unwrap();
        assert_eq!(hex(&pcrs[11]), PCR_11);
    }

    #[test]
    fn as_many_records_as_lead_to_the_quote_are_taken() {
        let log = UserspaceLog::parse(&log()).unwrap();
        let states = [
            (0, after(&[]), after(&[])),
            (1, after(&[b"enter-initrd"]), after(&[])),
            (2, after(&[b"enter-initrd"]), after(&[b"of the key"])),
            (4, after(&[b"enter-initrd", b"leave-initrd"]), after(&[b"of the key"])),
        ];
        for (count, phases, key) in states {
            let quoted = |pcr| Some(if pcr == 11 { phases } else { key });
            assert_eq!(log.replay_to(&mut initial_pcrs(), quoted).unwrap(), count);
        }
        let never = |pcr| Some(if pcr == 11 { after(&[b"leave-initrd"]) } else { [0; 32] });
        let said = log.replay_to(&mut initial_pcrs(), never).unwrap_err().to_string();
        assert!(said.contains("no part of it leads to the quoted PCR 11"), "{said}");
        let without = |pcr| (pcr == 11).then_some([0; 32]);
        let said = log.replay_to(&mut initial_pcrs(), without).unwrap_err().to_string();
        assert!(said.contains("PCR 15 has records, and is not in the quote"), "{said}");
    }

    #[test]
    fn what_is_no_such_record_is_refused_with_its_number() {
        let right = record("\"pcr\":11", "a", "phase", None);
        let refused = |second: String| {
            let bytes = [right.as_str(), &second].concat();
            let said = format!("{:#}", UserspaceLog::parse(bytes.as_bytes()).unwrap_err());
            assert!(said.starts_with("systemd's log: record 2"), "{said}");
            said
        };
        for (from, to, why) in [
            ("\"pcr\":11", "\"pcr\":24", "no PCR 24"),
            ("\"pcr\":11", "\"pcr\":11,\"nv_index\":1", "one of pcr and nv_index"),
            ("\"pcr\":11", "\"recnum\":1", "one of pcr and nv_index"),
            ("\"pcr\":11", "\"pcr\":11,\"pcr\":12", "duplicate field"),
            ("sha256", "sm3_256", "no SHA-256 digest"),
            ("sha384", "sha256", "has 48 octets"),
            ("\"systemd\"", "\"cel\"", "content_type"),
            ("\"digest\":\"11", "\"digest\":\"1x", "its sha384 digest"),
            ("}\n", "", "EOF"),
        ] {
            let said = refused(right.replacen(from, to, 1));
            assert!(said.contains(why), "{said}: {why}");
        }
        assert!(UserspaceLog::parse(right.trim_start_matches('\x1e').as_bytes()).is_err());
        let two = right
            .replace("\"sha384\",\"digest\":\"", "\"sha256\",\"digest\":\"")
            .replace(&"11".repeat(48), &"11".repeat(32));
        assert!(refused(two).contains("two sha256 digests"));
    }
}
