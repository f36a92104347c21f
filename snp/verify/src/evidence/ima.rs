//! The measurement list of Linux's IMA (Linux, Documentation/security/IMA-templates.rst), read as it is, and replayed:
//! `binary_runtime_measurements` and `ascii_runtime_measurements` of its securityfs, and those of other algorithms
//! (`…_sha256`), which kernels have from 6.10 on.
//!
//! | module | is |
//! |---|---|
//! | [`signature`] | signatures of files, and who judges them |
//! | `template` | which fields an entry has, by the name of its template |
//! | `list` | entries of both forms as fields |
//!
//! A list has digests of its entries by one algorithm, SHA-1 by default; a PCR of another bank is extended by that
//! bank's digest of the same entry. An entry for a file that was written while it was measured has a digest of zeros,
//! and ones extend the PCR.

mod list;
pub mod signature;
mod template;

use super::boot_log::extended;
use super::boot_log::text::shown;
use super::event_log::digest;
use super::wire::{PCR_COUNT, alg};
use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use list::Raw;
use sha2::{Digest, Sha256};
use template::Form;

/// The PCR that IMA extends, unless its policy says otherwise.
pub const PCR: u32 = 10;
/// The first entry: what IMA found in PCR 0 to 9 when it started.
pub const BOOT_AGGREGATE: &str = "boot_aggregate";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The PCR that it has extended.
    pub pcr: u32,
    /// Its template, by name or by its fields.
    pub template: String,
    /// The algorithm of [`Entry::digest`], `sha256` for one.
    pub algorithm: String,
    /// The digest of the file's contents, or of what else was measured.
    pub digest: Vec<u8>,
    /// The file, or what was measured.
    pub name: String,
    /// The file was written while it was measured: what it was, nobody knows.
    pub is_violation: bool,
    /// The file's security.ima where the template has it; empty where it has not.
    pub signature: Vec<u8>,
    /// What further fields say, in words.
    pub more: Vec<String>,
    /// What the PCR of the SHA-256 bank is extended by.
    measured: [u8; 32],
    /// What kernels before 5.8 have extended that by: SHA-1, and zeros.
    padded: Option<[u8; 32]>,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measurements {
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

impl Measurements {
    /// Reads a list of either form; every entry's own digest must be that of its data.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let entries = list::entries(bytes)?.into_iter().zip(1_usize..);
        let entries = entries.map(|(raw, number)| Entry::new(&raw).with_context(|| format!("IMA: entry {number}")));
        Ok(Self { entries: entries.collect::<Result<_>>()? })
    }

    /// Extends SHA-256 PCRs by all entries.
    pub fn replay(&self, pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<()> {
        self.entries.iter().try_for_each(|entry| extend(pcrs, entry.pcr, &entry.measured))
    }

    /// Extends SHA-256 PCRs by the first entries, as many as lead to these quoted values: the list was read after the
    /// quote was made. Gives how many that are.
    pub fn replay_to(
        &self,
        pcrs: &mut [[u8; 32]; PCR_COUNT],
        quoted: impl Fn(u32) -> Option<[u8; 32]>,
    ) -> Result<usize> {
        let touched: Vec<u32> =
            (0..).take(PCR_COUNT).filter(|pcr| self.entries.iter().any(|entry| entry.pcr == *pcr)).collect();
        for pcr in &touched {
            ensure!(quoted(*pcr).is_some(), "IMA: PCR {pcr} has measurements, and is not in the quote");
        }
        let mut old = *pcrs;
        for (index, entry) in self.entries.iter().enumerate() {
            extend(pcrs, entry.pcr, &entry.measured)?;
            extend(&mut old, entry.pcr, entry.padded.as_ref().unwrap_or(&entry.measured))?;
            let leads = |pcrs: &[[u8; 32]; PCR_COUNT]| {
                touched.iter().all(|pcr| pcrs.get(*pcr as usize).copied() == quoted(*pcr))
            };
            if leads(pcrs) {
                return Ok(index + 1);
            }
            ensure!(
                !leads(&old),
                "IMA: this kernel (before 5.8) has extended the SHA-256 bank by SHA-1 digests and zeros, which prove as much as \
                 SHA-1 does"
            );
        }
        let last = touched.last().copied().unwrap_or(PCR);
        let (found, wanted) = (pcrs.get(last as usize).map(|pcr| hex(pcr)), quoted(last).map(|pcr| hex(&pcr)));
        bail!(
            "IMA: no part of the list leads to the quoted PCR {last}: it is {}, after all entries {}",
            wanted.unwrap_or_default(),
            found.unwrap_or_default()
        )
    }

    /// The list begins with SHA-256 over PCR 0 to 9, as the boot has left them, or over PCR 0 to 7, as kernels before
    /// 5.8 have it.
    pub fn check_boot(&self, pcrs: &[[u8; 32]]) -> Result<()> {
        let first = self.entries.first().context("IMA: the list is empty")?;
        ensure!(first.name == BOOT_AGGREGATE, "IMA: the list begins with {}", first.name);
        ensure!(
            first.algorithm == "sha256",
            "IMA: its {BOOT_AGGREGATE} is over PCRs of the bank {}, and the quote over those of SHA-256",
            first.algorithm
        );
        let over = |count| Ok::<_, anyhow::Error>(Sha256::digest(pcrs.get(..count).context("too few PCRs")?.concat()));
        ensure!(
            first.digest == over(10)?.to_vec() || first.digest == over(8)?.to_vec(),
            "IMA: its {BOOT_AGGREGATE} is not that of PCR 0 to 9 after the boot"
        );
        Ok(())
    }
}

fn extend(pcrs: &mut [[u8; 32]; PCR_COUNT], pcr: u32, by: &[u8; 32]) -> Result<()> {
    let value = pcrs.get_mut(pcr as usize).with_context(|| format!("IMA: there is no PCR {pcr}"))?;
    *value = extended(value, by);
    Ok(())
}

impl Entry {
    fn new(raw: &Raw) -> Result<Self> {
        ensure!((raw.pcr as usize) < PCR_COUNT, "in PCR {}", raw.pcr);
        let forms = template::fields(&raw.template)?;
        ensure!(forms.len() == raw.fields.len(), "{} fields, not {}", raw.fields.len(), forms.len());
        let data = raw.data();
        let is_violation = raw.digest.iter().all(|byte| *byte == 0);
        let bank = match raw.digest.len() {
            20 => alg::SHA1,
            32 => alg::SHA256,
            48 => alg::SHA384,
            64 => alg::SHA512,
            other => bail!("a digest of {other} bytes"),
        };
        ensure!(is_violation || raw.digest == digest(bank, &data)?, "its digest is not that of its data");
        let measured = if is_violation { [0xFF; 32] } else { Sha256::digest(&data).into() };
        let padded = (bank == alg::SHA1 && !is_violation).then(|| {
            let mut padded = [0; 32];
            padded.iter_mut().zip(&raw.digest).for_each(|(to, from)| *to = *from);
            padded
        });
        let mut entry = Self {
            pcr: raw.pcr,
            template: raw.template.clone(),
            algorithm: String::new(),
            digest: Vec::new(),
            name: String::new(),
            is_violation,
            signature: Vec::new(),
            more: Vec::new(),
            measured,
            padded,
        };
        for ((name, form), field) in forms.into_iter().zip(&raw.fields) {
            entry.take(name, form, field).with_context(|| format!("its field {name}"))?;
        }
        Ok(entry)
    }

    fn take(&mut self, name: &str, form: Form, field: &[u8]) -> Result<()> {
        match (name, form) {
            ("d", _) => (self.algorithm, self.digest) = ("sha1".into(), field.to_vec()),
            ("d-ng" | "d-ngv2", _) => (self.algorithm, self.digest) = named_digest(field)?,
            ("n" | "n-ng", _) => {
                let text = if form == Form::Text {
                    field.strip_suffix(b"\0").context("a name without an end")?
                } else {
                    field
                };
                self.name = String::from_utf8_lossy(text).into_owned();
            }
            (_, _) if field.is_empty() => {}
            ("d-modsig", _) => {
                let (algorithm, digest) = named_digest(field)?;
                self.more.push(format!("without its signature {algorithm}:{}", hex(&digest)));
            }
            ("sig", _) => {
                self.signature = field.to_vec();
                self.more.push(format!("sig of {} bytes", field.len()));
            }
            ("evmsig" | "modsig", _) => self.more.push(format!("{name} of {} bytes", field.len())),
            (_, Form::Number(_)) => {
                let number = field.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                self.more.push(format!("{name} {number}"));
            }
            _ => self.more.push(format!("{name} {}", shown(field))),
        }
        Ok(())
    }

    /// What its PCR is extended by.
    pub const fn measured(&self) -> [u8; 32] {
        self.measured
    }
}

impl core::fmt::Display for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.name.escape_debug())?;
        if self.is_violation {
            return write!(f, ", written while it was measured");
        }
        write!(f, " {}:{}", self.algorithm.escape_debug(), hex(&self.digest))?;
        self.more.iter().try_for_each(|more| write!(f, ", {more}"))
    }
}

/// An algorithm, perhaps with what was hashed before it, a zero, and a digest.
fn named_digest(field: &[u8]) -> Result<(String, Vec<u8>)> {
    let zero = field.iter().position(|byte| *byte == 0).context("a digest without an algorithm")?;
    let (name, digest) = field.split_at(zero);
    let digest = digest.get(1..).unwrap_or_default();
    let name = core::str::from_utf8(name)?.strip_suffix(':').context("an algorithm without a colon")?;
    let algorithm = name.rsplit(':').next().unwrap_or(name);
    let size = match algorithm {
        "md5" => 16,
        "sha1" => 20,
        "sha256" => 32,
        "sha384" => 48,
        "sha512" => 64,
        _ => digest.len(),
    };
    ensure!(digest.len() == size, "a digest of {} octets by {algorithm}", digest.len());
    // Of `verity:sha256` it is no file's contents.
    let shown = if name.starts_with("ima:") { algorithm } else { name };
    Ok((shown.to_owned(), digest.to_vec()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{BOOT_AGGREGATE, Measurements};
    use crate::digest::hex;
    use crate::evidence::event_log::{digest, initial_pcrs};
    use crate::evidence::wire::{PCR_COUNT, alg};
    use sha2::{Digest, Sha256};

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
    }

    fn named(algorithm: &str, digest: &[u8]) -> Vec<u8> {
        [algorithm.as_bytes(), b":\0", digest].concat()
    }

    fn zero(text: &str) -> Vec<u8> {
        format!("{text}\0").into_bytes()
    }

    fn data(fields: &[Vec<u8>]) -> Vec<u8> {
        fields.iter().flat_map(|field| sized(field)).collect()
    }

    /// An entry as Linux writes it, in a list with digests of `bank`.
    pub(crate) fn entry_of(bank: u16, template: &str, fields: &[Vec<u8>]) -> Vec<u8> {
        let data = data(fields);
        [10_u32.to_le_bytes().to_vec(), digest(bank, &data).unwrap(), sized(template.as_bytes()), sized(&data)].concat()
    }

    pub(crate) fn file(file: &[u8], name: &str) -> [Vec<u8>; 2] {
        [named("sha256", file), zero(name)]
    }

    fn entry(digest: &[u8], name: &str) -> Vec<u8> {
        entry_of(alg::SHA1, "ima-ng", &file(digest, name))
    }

    /// A list that begins with these PCRs.
    pub(crate) fn list(pcrs: &[[u8; 32]]) -> Vec<u8> {
        let aggregate = Sha256::digest(pcrs[..10].concat());
        [entry(&aggregate, BOOT_AGGREGATE), entry(&[7; 32], "/init")].concat()
    }

    /// What a kernel before 5.8 has hashed to extend by its first entry: SHA-1, and zeros, are what it extends by.
    pub(crate) fn padded(pcrs: &[[u8; 32]]) -> [u8; 32] {
        let aggregate = file(&Sha256::digest(pcrs[..10].concat()), BOOT_AGGREGATE);
        let mut padded = digest(alg::SHA1, &data(&aggregate)).unwrap();
        padded.resize(32, 0);
        padded.try_into().unwrap()
    }

    /// A list whose first entry is over the SHA-1 bank.
    pub(crate) fn sha1_aggregate() -> Vec<u8> {
        entry_of(alg::SHA1, "ima-ng", &[named("sha1", &[1; 20]), zero(BOOT_AGGREGATE)])
    }

    /// The same as text, with a signature and without.
    pub(crate) fn text(pcrs: &[[u8; 32]]) -> Vec<u8> {
        let aggregate = file(&Sha256::digest(pcrs[..10].concat()), BOOT_AGGREGATE);
        let mut text = String::new();
        for (template, fields, words) in [
            ("ima-ng", aggregate.to_vec(), format!("sha256:{} {BOOT_AGGREGATE}", hex(&aggregate[0][8..]))),
            ("ima-sig", [&file(&[7; 32], "/a")[..], &[vec![3]]].concat(), format!("sha256:{} /a 03", "07".repeat(32))),
        ] {
            text.push_str(&format!("10 {} {template} {words}\n", hex(&digest(alg::SHA1, &data(&fields)).unwrap())));
        }
        text.into_bytes()
    }

    fn replayed(read: &Measurements) -> [u8; 32] {
        let mut pcrs = initial_pcrs();
        read.replay(&mut pcrs).unwrap();
        pcrs[10]
    }

    #[test]
    fn a_list_leads_to_pcr_10_by_the_banks_own_digests() {
        let pcrs = [[3; 32]; 24];
        let read = Measurements::parse(&list(&pcrs)).unwrap();
        read.check_boot(&pcrs).unwrap();
        assert!(read.check_boot(&[[4; 32]; 24]).is_err());
        let names: Vec<_> = read.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, [BOOT_AGGREGATE, "/init"]);
        let aggregate = Sha256::digest(pcrs[..10].concat());
        let first = Sha256::digest([&[0; 32][..], &Sha256::digest(data(&file(&aggregate, BOOT_AGGREGATE)))].concat());
        let second = Sha256::digest([&first[..], &Sha256::digest(data(&file(&[7; 32], "/init")))].concat());
        assert_eq!(replayed(&read)[..], second[..]);
        let eight = Measurements::parse(&entry(&Sha256::digest(pcrs[..8].concat()), BOOT_AGGREGATE)).unwrap();
        eight.check_boot(&pcrs).unwrap();
    }

    #[test]
    fn a_boot_aggregate_of_another_bank_is_told() {
        let said = Measurements::parse(&sha1_aggregate()).unwrap().check_boot(&[[0; 32]; 24]).unwrap_err().to_string();
        assert!(said.contains("over PCRs of the bank sha1"), "{said}");
    }

    #[test]
    fn a_file_that_was_written_while_it_was_measured_extends_ones() {
        let mut bytes = entry(&[0; 32], "/log");
        bytes[4..24].fill(0);
        let read = Measurements::parse(&bytes).unwrap();
        assert_eq!(replayed(&read)[..], Sha256::digest([[0; 32], [0xFF; 32]].concat())[..]);
        assert_eq!(read.entries[0].to_string(), "/log, written while it was measured");
    }

    /// Template, fields, the same as text, and what is said of them.
    fn templates() -> Vec<(&'static str, Vec<Vec<u8>>, String, String)> {
        let digits = "07".repeat(32);
        let plain = format!("sha256:{digits} /a");
        let owner =
            [1000_u32.to_le_bytes().to_vec(), 100_u32.to_le_bytes().to_vec(), 0o100_644_u16.to_le_bytes().to_vec()];
        let evm = [vec![3, 2], zero("security.ima"), vec![4, 0], vec![1, 2, 3, 4]];
        let a = file(&[7; 32], "/a");
        let modsig = [vec![9], named("sha256", &[8; 32]), vec![5; 3]];
        vec![
            ("ima-ng", a.to_vec(), plain.clone(), format!("/a sha256:{digits}")),
            (
                "ima-ngv2",
                vec![named("verity:sha256", &[7; 32]), zero("/a")],
                format!("verity:sha256:{digits} /a"),
                format!("/a verity:sha256:{digits}"),
            ),
            (
                "ima-sigv2",
                vec![named("ima:sha256", &[7; 32]), zero("/a"), Vec::new()],
                format!("ima:sha256:{digits} /a "),
                format!("/a sha256:{digits}"),
            ),
            (
                "ima-sig",
                [&a[..], &[vec![3, 2, 4]]].concat(),
                format!("{plain} 030204"),
                format!("/a sha256:{digits}, sig of 3 bytes"),
            ),
            (
                "ima-buf",
                vec![named("sha256", &[7; 32]), zero("kexec-cmdline"), b"quiet".to_vec()],
                format!("sha256:{digits} kexec-cmdline {}", hex(b"quiet")),
                format!("kexec-cmdline sha256:{digits}, buf `quiet`"),
            ),
            (
                "ima-modsig",
                [&a[..], &modsig].concat(),
                format!("{plain} 09 sha256:{} 050505", "08".repeat(32)),
                format!(
                    "/a sha256:{digits}, sig of 1 bytes, without its signature sha256:{}, modsig of 3 bytes",
                    "08".repeat(32)
                ),
            ),
            (
                "evm-sig",
                [&a[..], &evm, &owner].concat(),
                format!("{plain} 0302 security.ima 0400 01020304 1000 100 33188"),
                format!(
                    "/a sha256:{digits}, evmsig of 2 bytes, xattrnames `security.ima`, xattrlengths 0400, \
                     xattrvalues 01020304, iuid 1000, igid 100, imode 33188"
                ),
            ),
            (
                "n-ng|d-ng",
                vec![zero("/a"), named("sha512", &[7; 64])],
                format!("/a sha512:{}", "07".repeat(64)),
                format!("/a sha512:{}", "07".repeat(64)),
            ),
        ]
    }

    #[test]
    fn entries_of_every_template_are_read_from_octets_and_from_text() {
        for (template, fields, text, says) in templates() {
            for bank in [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512] {
                let octets = Measurements::parse(&entry_of(bank, template, &fields)).unwrap();
                assert_eq!(octets.entries[0].to_string(), says, "{template}");
                let digest = hex(&digest(bank, &data(&fields)).unwrap());
                let line = format!("10 {digest} {template} {text}\n");
                assert_eq!(Measurements::parse(line.as_bytes()).unwrap(), octets, "{line}");
                assert_eq!(octets.entries[0].measured()[..], Sha256::digest(data(&fields))[..]);
                let other = line.replacen("10 ", "11 ", 1);
                assert_eq!(Measurements::parse(other.as_bytes()).unwrap().entries[0].pcr, 11);
            }
        }
    }

    #[test]
    fn the_oldest_template_has_a_form_of_its_own() {
        let mut data = [[6; 20].as_slice(), b"/a"].concat();
        data.resize(20 + 256, 0);
        let sha1 = digest(alg::SHA1, &data).unwrap();
        let octets = [&10_u32.to_le_bytes()[..], &sha1, &sized(b"ima"), &[6; 20], &sized(b"/a")].concat();
        let read = Measurements::parse(&octets).unwrap();
        assert_eq!(read.entries[0].to_string(), format!("/a sha1:{}", "06".repeat(20)));
        let line = format!("10 {} ima {} /a\n", hex(&sha1), "06".repeat(20));
        assert_eq!(Measurements::parse(line.as_bytes()).unwrap(), read);
    }

    #[test]
    fn a_list_that_was_read_after_the_quote_leads_to_it_by_its_first_entries() {
        let pcrs = [[3; 32]; 24];
        let read = Measurements::parse(&list(&pcrs)).unwrap();
        let first = Measurements { entries: read.entries[..1].to_vec() };
        let value = replayed(&first);
        let mut found = initial_pcrs();
        assert_eq!(read.replay_to(&mut found, |_| Some(value)).unwrap(), 1);
        assert_eq!(found[10], value);
        let refused =
            |quoted: Option<[u8; 32]>| read.replay_to(&mut initial_pcrs(), |_| quoted).unwrap_err().to_string();
        assert!(refused(Some([0; 32])).contains("no part of the list leads to the quoted PCR 10"));
        assert!(refused(None).contains("is not in the quote"));
        assert!(refused(Some(Sha256::digest([[0; 32], padded(&pcrs)].concat()).into())).contains("before 5.8"));
    }

    #[test]
    fn no_bit_of_a_list_can_be_another_unnoticed() {
        let pcrs = [[3; 32]; 24];
        let bytes = list(&pcrs);
        let genuine = replayed(&Measurements::parse(&bytes).unwrap());
        let value = |read: &Measurements| {
            let mut pcrs = initial_pcrs();
            read.replay(&mut pcrs).map(|()| pcrs)
        };
        let mut expected = initial_pcrs();
        expected[10] = genuine;
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let noticed =
                Measurements::parse(&flipped).and_then(|read| value(&read)).map_or(true, |found| found != expected);
            assert!(noticed, "bit {bit}");
        }
        assert!(Measurements::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn what_is_no_entry_is_refused_by_name() {
        for (line, says) in [
            ("10 0000000000000000000000000000000000000000 ima-ng sha256:00 /a", "a digest of 1 octets by sha256"),
            ("10 00 ima-ng sha256:00 /a", "a digest of 1 bytes"),
            ("10 0000 ima-xx sha256:00 /a", "of the template ima-xx, which is unknown here"),
            ("10 zz ima-ng sha256:00 /a", "not a value in hexadecimal"),
            ("10 00 ima-ng 00 /a", "a digest without an algorithm"),
            ("10 00 ima-ng sha256:00", "no n-ng"),
            ("10 00 ima-ng sha256:00 /a b", "more than the fields of ima-ng"),
            ("99 00 ima-ng sha256:00 /a", "in PCR 99"),
            ("10 00 imode 70000", "70000 is too large"),
        ] {
            let said = format!("{:#}", Measurements::parse(line.as_bytes()).unwrap_err());
            assert!(said.starts_with("IMA: entry 1") && said.contains(says), "{line}: {said}");
        }
        assert!(Measurements::parse(&[b'1', 0xFF]).is_err());
        assert!(PCR_COUNT == 24 && Measurements::parse(&[]).unwrap().entries.is_empty());
    }
}
