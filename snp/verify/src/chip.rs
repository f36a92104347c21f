//! What a secure processor says of itself, and the host's table of certificates for it.

use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use core::fmt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256 of the mock ARK's DER encoding (`sha256sum tests/machine/psp/ark.der`).
pub const DEVELOPMENT_ROOT_SHA256: [u8; 32] =
    hex_literal(b"9f8c66e18c6fdca05750ce202eb5bd56e05cff3ab6fcaf4a7d7686dc6455a37e");

/// Whether it is the mock ARK, whose chip key is public: what rests on it proves nothing.
pub fn is_development_root(ark: &[u8]) -> bool {
    Sha256::digest(ark)[..] == DEVELOPMENT_ROOT_SHA256
}

/// Security patch levels as Milan and Genoa report them (`TCB_VERSION`, SEV-SNP firmware ABI 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb {
    /// Version of the boot loader.
    pub boot_loader: u8,
    /// Version of the PSP's operating system.
    pub tee: u8,
    /// Version of the SNP firmware.
    pub snp: u8,
    /// Patch level of all cores' microcode.
    pub microcode: u8,
}

impl Tcb {
    /// The eight bytes that a report holds.
    pub const fn to_bytes(self) -> [u8; 8] {
        [self.boot_loader, self.tee, 0, 0, 0, 0, self.snp, self.microcode]
    }

    /// The opposite of [`Tcb::to_bytes`]; the four reserved bytes are not looked at.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let [boot_loader, tee, _, _, _, _, snp, microcode] = bytes;
        Self { boot_loader, tee, snp, microcode }
    }
}

impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot_loader, tee, snp, microcode } = self;
        write!(f, "boot loader {boot_loader}, TEE {tee}, SNP {snp}, microcode {microcode}")
    }
}

/// A line of processors: those with one root, and one layout of `TCB_VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, and with it Bergamo and Siena, which have Genoa's root.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Generation {
    /// All that are known.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// By family and model as reports of version 3 have them (CPUID leaf 1, extended fields added).
    pub const fn of_cpu(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0F) => Some(Self::Milan),
            (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Some(Self::Genoa),
            (0x1A, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// What AMD calls it, in certificates too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }
}

/// What a processor of that family and model is sold as.
pub const fn processor_name(family: u8, model: u8) -> &'static str {
    match (family, model) {
        (0x19, 0x00..=0x0F) => "Milan",
        (0x19, 0x10..=0x1F) => "Genoa",
        (0x19, 0xA0..=0xAF) => "Bergamo or Siena",
        (0x1A, 0x00..=0x11) => "Turin",
        _ => "an unknown processor",
    }
}

/// Security patch levels, read by the layout of their generation (`TCB_VERSION`, SEV-SNP firmware ABI 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// Version of the firmware module controller's firmware; from Turin on.
    pub fmc: Option<u8>,
    /// The others.
    pub tcb: Tcb,
}

impl Levels {
    /// Reads the eight bytes of a report.
    pub const fn read(bytes: [u8; 8], generation: Generation) -> Self {
        match generation {
            Generation::Milan | Generation::Genoa => Self { fmc: None, tcb: Tcb::from_bytes(bytes) },
            Generation::Turin => {
                let [fmc, boot_loader, tee, snp, _, _, _, microcode] = bytes;
                Self { fmc: Some(fmc), tcb: Tcb { boot_loader, tee, snp, microcode } }
            }
        }
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "FMC {fmc}, ")?;
        }
        self.tcb.fmt(f)
    }
}

/// Size of an entry of the certificate table, in bytes.
pub const TABLE_ENTRY: usize = 24;
/// GUID of a VCEK in the certificate table, 63da758d-e664-4564-adc5-f4b93be8accd.
pub const VCEK_GUID: [u8; 16] = hex_literal(b"63da758de6644564adc5f4b93be8accd");
/// GUID of a VLEK in the certificate table, a8074bc2-a25a-483e-aae6-39c045a0b8a1.
pub const VLEK_GUID: [u8; 16] = hex_literal(b"a8074bc2a25a483eaae639c045a0b8a1");
/// GUID of an ASK, or of a VLEK's ASVK, in the certificate table, 4ab7b379-bbac-4fe4-a02f-05aef327c782.
pub const ASK_GUID: [u8; 16] = hex_literal(b"4ab7b379bbac4fe4a02f05aef327c782");
/// GUID of an ARK in the certificate table, c0b406a4-a803-4952-9743-3fb6014cd0ae.
pub const ARK_GUID: [u8; 16] = hex_literal(b"c0b406a4a803495297433fb6014cd0ae");

/// The certificate with `guid` in a GHCB certificate table, which is the host's word.
pub fn certificate(table: &[u8], guid: [u8; 16]) -> Result<&[u8]> {
    for entry in table.chunks_exact(TABLE_ENTRY) {
        ensure!(entry.iter().any(|byte| *byte != 0), "the certificate table lacks {}", hex(&guid));
        if entry[..16] == guid {
            let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let (offset, length) = (number(16) as usize, number(20) as usize);
            return table
                .get(offset..offset.saturating_add(length))
                .context("an entry of the certificate table points beyond its end");
        }
    }
    bail!("the certificate table has no last entry")
}

/// Bytes from hexadecimal digits, at compile time.
const fn hex_literal<const DIGITS: usize, const N: usize>(text: &[u8; DIGITS]) -> [u8; N] {
    assert!(DIGITS == 2 * N, "two digits a byte");
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    bytes
}

const fn digit(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        _ => panic!("a lower-case hexadecimal digit"),
    }
}
