//! Attestation structures (Part 2, 10.10 to 10.12).

use super::{Buffer, Handle, Marshal, Name, PcrSelection, Tpm2b, Writer, st};
use tpm_crypto::hash::{Digest, MAX_DIGEST};

/// TPM_GENERATED_VALUE: 0xff "TCG" (6.2).
pub const GENERATED_VALUE: u32 = 0xff54_4347;

/// TPMS_CLOCK_INFO (10.11.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockInfo {
    /// clock, in milliseconds
    pub clock: u64,
    /// resetCount
    pub reset_count: u32,
    /// restartCount
    pub restart_count: u32,
    /// safe
    pub safe: bool,
}

impl Marshal for ClockInfo {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.clock.marshal(w);
        self.reset_count.marshal(w);
        self.restart_count.marshal(w);
        self.safe.marshal(w);
    }
}

/// TPMU_ATTEST (10.12.11), which carries its selector.
pub enum Attested<'a> {
    /// TPMS_CERTIFY_INFO
    Certify {
        /// name
        name: Name,
        /// qualifiedName
        qualified_name: Name,
    },
    /// TPMS_QUOTE_INFO
    Quote {
        /// pcrSelect
        pcr_select: PcrSelection,
        /// pcrDigest
        pcr_digest: Digest,
    },
    /// TPMS_CREATION_INFO
    Creation {
        /// objectName
        object_name: Name,
        /// creationHash
        creation_hash: Digest,
    },
    /// TPMS_NV_CERTIFY_INFO
    Nv {
        /// indexName
        index_name: Name,
        /// offset
        offset: u16,
        /// nvContents
        contents: &'a [u8],
    },
    /// TPMS_NV_DIGEST_CERTIFY_INFO
    NvDigest {
        /// indexName
        index_name: Name,
        /// nvDigest
        digest: Digest,
    },
    /// TPMS_COMMAND_AUDIT_INFO
    CommandAudit {
        /// auditCounter
        counter: u64,
        /// digestAlg
        alg: u16,
        /// auditDigest
        audit_digest: Digest,
        /// commandDigest
        command_digest: Digest,
    },
    /// TPMS_SESSION_AUDIT_INFO
    SessionAudit {
        /// exclusiveSession
        exclusive: bool,
        /// sessionDigest
        session_digest: Digest,
    },
    /// TPMS_TIME_ATTEST_INFO
    Time {
        /// time, in milliseconds since the last _TPM_Init
        time: u64,
        /// clockInfo
        clock_info: ClockInfo,
        /// firmwareVersion
        firmware_version: u64,
    },
}

impl Attested<'_> {
    fn tag(&self) -> u16 {
        match self {
            Self::Certify { .. } => st::ATTEST_CERTIFY,
            Self::Quote { .. } => st::ATTEST_QUOTE,
            Self::Creation { .. } => st::ATTEST_CREATION,
            Self::Nv { .. } => st::ATTEST_NV,
            Self::NvDigest { .. } => st::ATTEST_NV_DIGEST,
            Self::CommandAudit { .. } => st::ATTEST_COMMAND_AUDIT,
            Self::SessionAudit { .. } => st::ATTEST_SESSION_AUDIT,
            Self::Time { .. } => st::ATTEST_TIME,
        }
    }
}

impl Marshal for Attested<'_> {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self {
            Self::Certify { name, qualified_name } => {
                name.marshal(w);
                qualified_name.marshal(w);
            }
            Self::Quote { pcr_select, pcr_digest } => {
                pcr_select.marshal(w);
                pcr_digest.marshal(w);
            }
            Self::Creation { object_name, creation_hash } => {
                object_name.marshal(w);
                creation_hash.marshal(w);
            }
            Self::Nv { index_name, offset, contents } => {
                index_name.marshal(w);
                offset.marshal(w);
                w.sized(|w| w.put(contents));
            }
            Self::NvDigest { index_name, digest } => {
                index_name.marshal(w);
                digest.marshal(w);
            }
            Self::CommandAudit { counter, alg, audit_digest, command_digest } => {
                counter.marshal(w);
                alg.marshal(w);
                audit_digest.marshal(w);
                command_digest.marshal(w);
            }
            Self::SessionAudit { exclusive, session_digest } => {
                exclusive.marshal(w);
                session_digest.marshal(w);
            }
            Self::Time { time, clock_info, firmware_version } => {
                time.marshal(w);
                clock_info.marshal(w);
                firmware_version.marshal(w);
            }
        }
    }
}

/// TPMS_ATTEST (10.12.12).
pub struct Attest<'a> {
    /// qualifiedSigner
    pub qualified_signer: Name,
    /// extraData
    pub extra_data: Tpm2b<'a, { 2 + MAX_DIGEST }>,
    /// clockInfo, obfuscated for a signer outside the endorsement and platform hierarchies
    pub clock_info: ClockInfo,
    /// firmwareVersion, obfuscated likewise
    pub firmware_version: u64,
    /// type and attested
    pub attested: Attested<'a>,
}

impl Marshal for Attest<'_> {
    fn marshal(&self, w: &mut Writer<'_>) {
        GENERATED_VALUE.marshal(w);
        self.attested.tag().marshal(w);
        self.qualified_signer.marshal(w);
        self.extra_data.marshal(w);
        self.clock_info.marshal(w);
        self.firmware_version.marshal(w);
        self.attested.marshal(w);
    }
}

/// TPM2B_ATTEST (10.12.13) as the TPM makes it: the largest certifies NV_BUFFER_MAX octets of an index.
pub type AttestBuffer = Buffer<{ 4 + 2 + 66 + 2 + 66 + 2 + 17 + 8 + 66 + 2 + 2 + 2 + crate::profile::NV_BUFFER_MAX }>;
/// A handle that stands in a Name.
pub fn handle_name(h: Handle) -> Name {
    Name::from_slice(&h.0.to_be_bytes()).unwrap_or_default()
}
