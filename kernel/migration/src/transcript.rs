//! What was said so far, and what a secure processor has to say of it.

use alloc::vec::Vec;

use snp::report::Report;
use tpm_crypto::hash::{HashAlg, Hasher, digest};

/// What REPORT_DATA of the source's report is the SHA-512 of: this, and the transcript's digest. It is longer than a
/// nonce, and what stands behind a nonce's length begins no manifest: no guest gets such a report by the attestation
/// protocol.
pub const SOURCE: &[u8; 96] =
    b"Quoin firmware: the channel by which the state of a vTPM moves, version 1; this is the source  \n";
/// That of the destination's.
pub const DESTINATION: &[u8; 96] =
    b"Quoin firmware: the channel by which the state of a vTPM moves, version 1; this is the target  \n";

/// A report, and the certificates above it as the host gives them, DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Testimony {
    /// Of VMPL 0, signed by the VCEK.
    pub report: Report,
    /// The chip's key.
    pub vcek: Vec<u8>,
    /// AMD's key for chips.
    pub ask: Vec<u8>,
    /// AMD's root.
    pub ark: Vec<u8>,
}

/// The secure processor, as a witness to what this firmware says.
pub trait Witness {
    /// A report over this REPORT_DATA. None if there is none: the run ends.
    fn testify(&mut self, report_data: &[u8; 64]) -> Option<Testimony>;
}

/// SHA-384 of all messages so far, each behind its length.
#[derive(Clone)]
pub(crate) struct Transcript(Hasher);

impl Transcript {
    pub(crate) fn new() -> Self {
        Self(Hasher::new(HashAlg::Sha384))
    }

    /// Takes in a message, or the part of it up to the report that is over it.
    pub(crate) fn absorb(&mut self, octets: &[u8]) {
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        self.0.update(&len.to_le_bytes());
        self.0.update(octets);
    }

    pub(crate) fn digest(&self) -> [u8; 48] {
        let mut out = [0; 48];
        out.iter_mut().zip(self.0.clone().finish().as_slice()).for_each(|(to, from)| *to = *from);
        out
    }

    /// REPORT_DATA of the side with this label.
    pub(crate) fn report_data(&self, label: &[u8; 96]) -> [u8; 64] {
        let mut out = [0; 64];
        let hash = digest(HashAlg::Sha512, &[label, &self.digest()]);
        out.iter_mut().zip(hash.as_slice()).for_each(|(to, from)| *to = *from);
        out
    }
}
