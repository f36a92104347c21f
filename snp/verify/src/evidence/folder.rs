//! The evidence folder: which file is which value.

use super::wire::PCR_COUNT;
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

/// No evidence file is longer, in bytes, but logs.
const MAX_FILE: u64 = 64 * 1024;
const MAX_LOG: u64 = 4 * 1024 * 1024;

/// What kind of evidence it is: which parts it has, and what binds them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A folder of ours: every part. REPORT_DATA is SHA-512(nonce ‖ manifest).
    #[default]
    Quoin,
    /// A report, its certificates, and perhaps a manifest, as configfs-tsm gives them. With a manifest REPORT_DATA is
    /// SHA-512(nonce ‖ manifest), otherwise the nonce, followed by zeros.
    Report,
    /// A report and claims that name EK and AK, as Azure's vTPM has them, and perhaps a quote. REPORT_DATA is
    /// SHA-256(claims), followed by zeros.
    Azure,
    /// A TPM that was asked by the verifier over its TCTI, and perhaps a report over its EK, whose REPORT_DATA is
    /// SHA-512(nonce ‖ manifest), or of the statement that the EK's certificate carries.
    Tpm,
    /// A certificate of the firmware's, and the report that it carries. REPORT_DATA is SHA-512(statement).
    Certificate,
}

/// Everything that a verifier gets, as bytes that nobody has judged yet. [`FILES`] names the file of each field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What kind it is.
    pub kind: Kind,
    /// The claims, JSON; of [`Kind::Azure`] alone.
    pub claims: Vec<u8>,
    /// What names the key that has issued the EK's certificate, as that carries it ([`super::carried`]); empty if it
    /// carries none.
    pub statement: Vec<u8>,
    /// Attestation report of VMPL0, 1184 bytes.
    pub report: Vec<u8>,
    /// AMD root key, DER.
    pub ark: Vec<u8>,
    /// AMD SEV key, or AMD SEV VLEK key, DER.
    pub ask: Vec<u8>,
    /// Versioned chip endorsement key, or versioned loaded endorsement key, DER.
    pub vcek: Vec<u8>,
    /// The certificate table as the host gave it.
    pub certificates: Vec<u8>,
    /// The vTPM's manifest, of version 0 (`TPMT_PUBLIC` of the RSA-2048 EK) or 1.
    pub manifest: Vec<u8>,
    /// The nonce of the attestation call, 64 bytes.
    pub nonce: Vec<u8>,
    /// The launch digest that the collector expected, 48 bytes. It is the collector's word: a verifier should bring its
    /// own.
    pub measurement: Vec<u8>,
    /// `TPM2B_PUBLIC` of the attestation key.
    pub ak: Vec<u8>,
    /// The quote, `TPMS_ATTEST`.
    pub quote: Vec<u8>,
    /// Its signature, `TPMT_SIGNATURE`.
    pub quote_signature: Vec<u8>,
    /// The quote's nonce (`extraData`), 32 bytes.
    pub quote_nonce: Vec<u8>,
    /// PCR 0 to 23 of the SHA-256 bank, 32 bytes each.
    pub pcrs: Vec<u8>,
    /// TCG event log, crypto-agile format.
    pub events: Vec<u8>,
    /// The AK's Name.
    pub ak_name: Vec<u8>,
    /// The challenge's credential, 32 bytes.
    pub credential: Vec<u8>,
    /// The challenge's seed, 32 bytes.
    pub seed: Vec<u8>,
    /// The random value of the challenge's OAEP, 32 bytes.
    pub oaep_seed: Vec<u8>,
    /// `TPM2B_ID_OBJECT` as sent to the TPM.
    pub blob: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET` as sent to the TPM.
    pub encrypted_seed: Vec<u8>,
    /// What `TPM2_ActivateCredential` gave back, 32 bytes.
    pub answer: Vec<u8>,
    /// TCG event log of the boot, by the firmware; empty if it measured nothing.
    pub boot_events: Vec<u8>,
    /// The measurement list of Linux's IMA; empty if the guest has none.
    pub ima: Vec<u8>,
    /// systemd's log of what it has measured after the boot; empty if it has measured nothing.
    pub userspace: Vec<u8>,
    /// The EK's certificate, DER, as its NV Index has it; empty if there is none. Of [`Kind::Certificate`], any key's.
    pub ek_certificate: Vec<u8>,
    /// Certificates of its issuers, DER, one after another, as their NV Indices have them.
    pub ek_chain: Vec<u8>,
}

/// A field of [`Evidence`].
pub type Field = fn(&mut Evidence) -> &mut Vec<u8>;

/// Every file of the folder and the field that it holds.
pub const FILES: [(&str, Field); 21] = [
    ("report.bin", |evidence| &mut evidence.report),
    ("ark.der", |evidence| &mut evidence.ark),
    ("ask.der", |evidence| &mut evidence.ask),
    ("vcek.der", |evidence| &mut evidence.vcek),
    ("certificates.bin", |evidence| &mut evidence.certificates),
    ("manifest.bin", |evidence| &mut evidence.manifest),
    ("nonce.bin", |evidence| &mut evidence.nonce),
    ("measurement.bin", |evidence| &mut evidence.measurement),
    ("ak.pub", |evidence| &mut evidence.ak),
    ("quote.msg", |evidence| &mut evidence.quote),
    ("quote.sig", |evidence| &mut evidence.quote_signature),
    ("quote.nonce", |evidence| &mut evidence.quote_nonce),
    ("pcrs.bin", |evidence| &mut evidence.pcrs),
    ("events.bin", |evidence| &mut evidence.events),
    ("credential/ak.name", |evidence| &mut evidence.ak_name),
    ("credential/secret", |evidence| &mut evidence.credential),
    ("credential/seed", |evidence| &mut evidence.seed),
    ("credential/oaep.seed", |evidence| &mut evidence.oaep_seed),
    ("credential/blob", |evidence| &mut evidence.blob),
    ("credential/encrypted.seed", |evidence| &mut evidence.encrypted_seed),
    ("credential/answer", |evidence| &mut evidence.answer),
];

/// Files that not every evidence has: an empty field is no file.
pub const OPTIONAL: [(&str, Field); 5] = [
    ("boot-events.bin", |evidence| &mut evidence.boot_events),
    ("ima.bin", |evidence| &mut evidence.ima),
    ("userspace-events.json", |evidence| &mut evidence.userspace),
    ("ek-certificate.der", |evidence| &mut evidence.ek_certificate),
    ("ek-chain.der", |evidence| &mut evidence.ek_chain),
];

/// Says that a folder is [`Kind::Tpm`], and where its TPM was.
pub const TCTI: &str = "tcti.txt";

/// The quoted PCRs as `tpm2_checkquote -f` reads them, where all 24 are known. It is written for that tool, and read by
/// nobody here.
pub const CHECKQUOTE: &str = "quote.pcrs";

/// tpm2-tools' own format, little-endian: a TPML_PCR_SELECTION of 16 selections of 8 bytes, and behind it a number of
/// TPML_DIGEST of eight TPM2B_DIGEST of 66 bytes; what is not used is zero.
fn for_checkquote(pcrs: &[u8]) -> Vec<u8> {
    const SELECTIONS: usize = 16 * 8;
    const DIGESTS: usize = 8;
    let mut bytes = [1_u32.to_le_bytes(), [0x0B, 0, 3, 0xFF], [0xFF, 0xFF, 0, 0]].concat();
    bytes.resize(4 + SELECTIONS, 0);
    let lists = pcrs.chunks(32 * DIGESTS);
    bytes.extend(u32::try_from(lists.len()).unwrap_or_default().to_le_bytes());
    for list in lists {
        let digests = list.chunks(32);
        bytes.extend(u32::try_from(digests.len()).unwrap_or_default().to_le_bytes());
        let end = bytes.len() + DIGESTS * 66;
        for digest in digests {
            bytes.extend([32, 0]);
            bytes.extend(digest);
            bytes.extend([0; 32]);
        }
        bytes.resize(end, 0);
    }
    bytes
}

impl Evidence {
    /// Reads a folder; fails when a file is missing or implausibly long.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut evidence = Self::default();
        let is_tpm = dir.join(TCTI).exists();
        if is_tpm {
            evidence.kind = Kind::Tpm;
        }
        for (name, field) in FILES {
            if !is_tpm || dir.join(name).exists() {
                *field(&mut evidence) = read_file(&dir.join(name), MAX_FILE)?;
            }
        }
        for (name, field) in OPTIONAL {
            if dir.join(name).exists() {
                *field(&mut evidence) = read_file(&dir.join(name), MAX_LOG)?;
            }
        }
        Ok(evidence)
    }

    /// Writes a folder, which is made if it does not exist.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let credential = dir.join("credential");
        fs::create_dir_all(&credential).with_context(|| format!("cannot make folder {}", credential.display()))?;
        let mut evidence = self.clone();
        let is_tpm = self.kind == Kind::Tpm;
        if is_tpm {
            fs::write(dir.join(TCTI), "asked of a TPM over its TCTI\n")?;
        }
        for (name, field) in FILES {
            let path = dir.join(name);
            if is_tpm && field(&mut evidence).is_empty() {
                continue;
            }
            fs::write(&path, field(&mut evidence)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let checkquote = dir.join(CHECKQUOTE);
        if self.pcrs.len() == 32 * PCR_COUNT {
            fs::write(&checkquote, for_checkquote(&self.pcrs)).context("cannot write the PCRs for checkquote")?;
        } else if checkquote.exists() {
            // Of other evidence, which had all PCRs.
            fs::remove_file(&checkquote)?;
        }
        for (name, field) in OPTIONAL {
            let (path, contents) = (dir.join(name), field(&mut evidence));
            if !contents.is_empty() {
                fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))?;
            } else if path.exists() {
                // Of another boot, whose folder this was.
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// The file, if it has no more than `most` bytes.
pub(crate) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read evidence file {}", path.display()))?;
    ensure!(bytes.len() as u64 <= most, "evidence file {} is longer than {most} bytes", path.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{CHECKQUOTE, Evidence};

    /// 132 octets of selections, a number, and three lists of eight digests.
    #[test]
    fn pcrs_for_checkquote_are_there_where_all_are_known() {
        let folder = host::qemu::Folder::new().unwrap();
        let file = folder.path().join(CHECKQUOTE);
        Evidence { pcrs: (0..24).flat_map(|pcr| [pcr; 32]).collect(), ..Evidence::default() }
            .write(folder.path())
            .unwrap();
        let written = std::fs::read(&file).unwrap();
        assert_eq!(written.len(), 132 + 4 + 3 * (4 + 8 * 66));
        assert_eq!(written[..10], [1, 0, 0, 0, 0x0B, 0, 3, 0xFF, 0xFF, 0xFF]);
        assert_eq!(written[132..142], [3, 0, 0, 0, 8, 0, 0, 0, 32, 0]);
        assert_eq!(written[142 + 66..142 + 66 + 32], [1; 32]);
        for pcrs in [Vec::new(), vec![7; 32]] {
            Evidence { pcrs, ..Evidence::default() }.write(folder.path()).unwrap();
            assert!(!file.exists());
        }
    }
}
