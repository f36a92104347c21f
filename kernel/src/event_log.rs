//! The log of what the firmware measured into PCRs, in the crypto-agile format (TCG PC Client Platform Firmware
//! Profile, 10.2).

use alloc::vec::Vec;

use tpm_core::EventDigests;

/// Octets that a log may have: those of the largest NV Index, in which the guest finds it.
pub const MAX_LOG: usize = 4096;

/// Event types (10.4.1).
pub mod event_type {
    /// In the log only: extends no PCR.
    pub const NO_ACTION: u32 = 3;
    /// Ends what comes before an operating system: four zero octets.
    pub const SEPARATOR: u32 = 4;
    /// The version of the firmware, as a UCS-2 string.
    pub const S_CRTM_VERSION: u32 = 8;
}

/// TPM_ALG_IDs of the digests that a log may have, and their sizes.
const DIGEST_SIZES: [(u16, u16); 5] = [(4, 20), (0xb, 32), (0xc, 48), (0xd, 64), (0x12, 32)];

/// A log that grows. What does not fit is told by [`EventLog::push`], and not written.
pub struct EventLog(Vec<u8>);

/// The log is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

snp::error_words! { Full {
    Self => "the event log is full",
} }

impl EventLog {
    /// A log with its first event, TCG_EfiSpecIDEvent (10.2.1.2), for events that have digests of `algorithms`.
    #[must_use]
    pub fn new(algorithms: impl Iterator<Item = u16> + Clone) -> EventLog {
        let sizes = algorithms.filter_map(|alg| DIGEST_SIZES.iter().find(|(known, _)| *known == alg));
        let mut event = b"Spec ID Event03\0".to_vec();
        // Platform class client, version 2.0 errata 105, UINTN of 64 bits.
        event.extend([0, 0, 0, 0, 0, 2, 105, 2]);
        event.extend(length(sizes.clone().count()));
        for (alg, size) in sizes {
            event.extend([alg.to_le_bytes(), size.to_le_bytes()].concat());
        }
        event.push(0);
        let mut log = Vec::with_capacity(MAX_LOG);
        log.extend([0; 4]);
        log.extend(event_type::NO_ACTION.to_le_bytes());
        log.extend([0; 20]);
        log.extend(length(event.len()));
        log.extend(event);
        EventLog(log)
    }

    /// Adds TCG_PCR_EVENT2 (10.2.2).
    ///
    /// # Errors
    /// [`Full`], and the log is as it was.
    pub fn push(&mut self, pcr: u32, event_type: u32, digests: &EventDigests, data: &[&[u8]]) -> Result<(), Full> {
        let before = self.0.len();
        self.0.extend([pcr.to_le_bytes(), event_type.to_le_bytes(), length(digests.iter().count())].concat());
        for (alg, digest) in digests.iter() {
            self.0.extend(alg.to_le_bytes());
            self.0.extend(digest);
        }
        self.0.extend(length(data.iter().map(|part| part.len()).sum()));
        data.iter().for_each(|part| self.0.extend(*part));
        if self.0.len() <= MAX_LOG {
            return Ok(());
        }
        self.0.truncate(before);
        Err(Full)
    }

    /// The log's octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}
