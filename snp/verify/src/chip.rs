//! What a secure processor says of itself, and the host's table of certificates for it.

use crate::digest::hex;
use anyhow::{Context, Result, bail, ensure};
use core::fmt;

/// SHA-256 of the mock ARK's DER encoding (`sha256sum tests/machine/psp/ark.der`).
pub const DEVELOPMENT_ROOT_SHA256: [u8; 32] =
    hex_literal(b"fb04dd65dad72c191ef51b76ca8871243fb6cac99c16917999043125e28b2a4e");

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

/// Size of an entry of the certificate table, in bytes.
pub const TABLE_ENTRY: usize = 24;
/// GUID of a VCEK in the certificate table, 63da758d-e664-4564-adc5-f4b93be8accd.
pub const VCEK_GUID: [u8; 16] = hex_literal(b"63da758de6644564adc5f4b93be8accd");
/// GUID of an ASK in the certificate table, 4ab7b379-bbac-4fe4-a02f-05aef327c782.
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
