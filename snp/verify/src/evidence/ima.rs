//! The measurement list of Linux's IMA, as `binary_runtime_measurements` has it (Linux,
//! Documentation/security/IMA-templates.rst): read as it is, and replayed.
//!
//! The list has SHA-1 digests of its entries; PCR 10 of another bank is extended by that bank's digest of the same
//! entry. An entry for a file that was written while it was measured has a digest of zeros, and ones extend the PCR.

use super::boot_log::extended;
use super::event_log::Reader;
use anyhow::{Context, Result, ensure};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The PCR that IMA extends.
pub const PCR: u32 = 10;
/// The first entry: what IMA found in PCR 0 to 9 when it started.
pub const BOOT_AGGREGATE: &str = "boot_aggregate";
/// The one template that is read: digest and name.
const TEMPLATE: &[u8] = b"ima-ng";
/// Files that are measured with SHA-256, as the configuration of IMA says it.
const SHA256: &[u8] = b"sha256:\0";

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the file's contents.
    pub digest: Vec<u8>,
    /// The file.
    pub name: String,
    /// What PCR 10 of the SHA-256 bank is extended by.
    measured: [u8; 32],
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measurements {
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

impl Measurements {
    /// Reads a list; every entry's own digest must be that of its data.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let mut entries = Vec::new();
        while !reader.0.is_empty() {
            let number = entries.len() + 1;
            entries.push(entry(&mut reader).with_context(|| format!("IMA: entry {number}"))?);
        }
        Ok(Self { entries })
    }

    /// PCR 10 of the SHA-256 bank after all entries.
    pub fn replay(&self, before: [u8; 32]) -> [u8; 32] {
        self.entries.iter().fold(before, |pcr, entry| extended(&pcr, &entry.measured))
    }

    /// The list begins with SHA-256 over PCR 0 to 9, as the boot has left them.
    pub fn check_boot(&self, pcrs: &[[u8; 32]]) -> Result<()> {
        let first = self.entries.first().context("IMA: the list is empty")?;
        ensure!(first.name == BOOT_AGGREGATE, "IMA: the list begins with {}", first.name);
        let computed = Sha256::digest(pcrs.get(..10).context("too few PCRs")?.concat());
        ensure!(
            first.digest == computed.to_vec(),
            "IMA: its {BOOT_AGGREGATE} is not that of PCR 0 to 9 after the boot"
        );
        Ok(())
    }
}

fn entry(reader: &mut Reader<'_>) -> Result<Entry> {
    let pcr = reader.u32()?;
    ensure!(pcr == PCR, "in PCR {pcr}");
    let digest = reader.take(20)?;
    let template = reader.sized()?;
    ensure!(template == TEMPLATE, "of the template {}", String::from_utf8_lossy(template).escape_debug());
    let data = reader.sized()?;
    let mut fields = Reader(data);
    let (file, name) = (fields.sized()?, fields.sized()?);
    ensure!(fields.0.is_empty(), "more than a digest and a name");
    let is_violation = digest.iter().all(|byte| *byte == 0);
    ensure!(is_violation || digest == &Sha1::digest(data)[..], "its digest is not that of its data");
    let file = file.strip_prefix(SHA256).context("a file that was not measured with SHA-256")?;
    ensure!(file.len() == 32, "a digest of {} octets", file.len());
    let name = name.strip_suffix(b"\0").context("a name without an end")?;
    let measured = if is_violation { [0xFF; 32] } else { Sha256::digest(data).into() };
    Ok(Entry { digest: file.to_vec(), name: String::from_utf8_lossy(name).into_owned(), measured })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{BOOT_AGGREGATE, Measurements};
    use sha1::Sha1;
    use sha2::{Digest, Sha256};

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
    }

    fn data(file: &[u8], name: &str) -> Vec<u8> {
        [sized(&[b"sha256:\0", file].concat()), sized(format!("{name}\0").as_bytes())].concat()
    }

    /// An entry as Linux writes it.
    fn entry(file: &[u8], name: &str) -> Vec<u8> {
        let data = data(file, name);
        [&10_u32.to_le_bytes()[..], &Sha1::digest(&data), &sized(b"ima-ng"), &sized(&data)].concat()
    }

    /// A list that begins with these PCRs.
    pub(crate) fn list(pcrs: &[[u8; 32]]) -> Vec<u8> {
        let aggregate = Sha256::digest(pcrs[..10].concat());
        [entry(&aggregate, BOOT_AGGREGATE), entry(&[7; 32], "/init")].concat()
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
        let first = Sha256::digest([&[0; 32][..], &Sha256::digest(data(&aggregate, BOOT_AGGREGATE))].concat());
        let second = Sha256::digest([&first[..], &Sha256::digest(data(&[7; 32], "/init"))].concat());
        assert_eq!(read.replay([0; 32])[..], second[..]);
    }

    #[test]
    fn a_file_that_was_written_while_it_was_measured_extends_ones() {
        let mut bytes = entry(&[0; 32], "/log");
        bytes[4..24].fill(0);
        let read = Measurements::parse(&bytes).unwrap();
        assert_eq!(read.replay([0; 32])[..], Sha256::digest([[0; 32], [0xFF; 32]].concat())[..]);
    }

    #[test]
    fn no_bit_of_a_list_can_be_another_unnoticed() {
        let pcrs = [[3; 32]; 24];
        let bytes = list(&pcrs);
        let genuine = Measurements::parse(&bytes).unwrap().replay([0; 32]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let noticed = Measurements::parse(&flipped).map_or(true, |read| read.replay([0; 32]) != genuine);
            assert!(noticed, "bit {bit}");
        }
        assert!(Measurements::parse(&bytes[..bytes.len() - 1]).is_err());
    }
}
