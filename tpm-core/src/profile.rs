//! Every choice of the implementation: buffer sizes, slot counts, algorithms, PCR banks.

use crate::crypto::hash::HashAlg;

/// Octets of the largest command (TPM_PT_MAX_COMMAND_SIZE): a signature of ML-DSA-87 is longer than 4,096. A transport with smaller buffers (the SVSM
/// mailbox carries a page) refuses what does not fit; nothing but signatures of ML-DSA-65 and -87 needs more.
pub const MAX_COMMAND_SIZE: usize = 8192;
/// Octets of the largest response (TPM_PT_MAX_RESPONSE_SIZE). A response buffer must be at least this long.
pub const MAX_RESPONSE_SIZE: usize = 8192;
/// Octets of a TPM2B_MAX_BUFFER (TPM_PT_INPUT_BUFFER).
pub const MAX_DIGEST_BUFFER: usize = 1024;
/// Octets of one NV read or write (TPM_PT_NV_BUFFER_MAX).
pub const NV_BUFFER_MAX: usize = 2048;
/// Octets of the largest NV Index (TPM_PT_NV_INDEX_MAX).
pub const MAX_NV_INDEX_SIZE: usize = 4096;
/// NV Indices that can be defined at a time.
pub const MAX_NV_INDICES: usize = 256;
/// Octets for the contents of all NV Indices.
pub const NV_MEMORY_SIZE: usize = 64 * 1024;
/// How far an ORDERLY counter may count in RAM before it is saved (TPM_PT_ORDERLY_COUNT, MAX_ORDERLY_COUNT): a power of two less one.
pub const MAX_ORDERLY_COUNT: u64 = 0xff;
/// Persistent objects.
pub const MAX_PERSISTENT_OBJECTS: usize = 24;
/// Transient objects loaded at a time (TPM_PT_HR_TRANSIENT_MIN).
pub const MAX_LOADED_OBJECTS: usize = 8;
/// Sessions loaded at a time (TPM_PT_HR_LOADED_MIN).
pub const MAX_LOADED_SESSIONS: usize = 8;
/// Sessions loaded or saved at a time (TPM_PT_ACTIVE_SESSIONS_MAX).
pub const MAX_ACTIVE_SESSIONS: usize = 64;
/// Greatest distance of the oldest saved session's counter to the newest (TPM_PT_CONTEXT_GAP_MAX).
pub const CONTEXT_GAP_MAX: u64 = 0xffff;
/// Octets of the largest saved context.
pub const MAX_CONTEXT_SIZE: usize = 3328;

/// keyBits that RSA keys may have.
pub const RSA_KEY_BITS: &[u16] = &[2048, 3072, 4096];
/// The hash of context integrity, tickets and object protection inside the TPM (CONTEXT_INTEGRITY_HASH_ALG).
pub const INTERNAL_HASH: HashAlg = HashAlg::Sha256;
/// The PCR banks that exist, in the order of TPML_PCR_SELECTION.
pub const PCR_BANKS: [HashAlg; 5] = [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sm3];

/// TPM_PT_MANUFACTURER
pub const MANUFACTURER: [u8; 4] = *b"QUOI";
/// TPM_PT_VENDOR_STRING_1 to _4
pub const VENDOR_STRING: [&[u8; 4]; 4] = [b"Quoi", b"n vT", b"PM\0\0", b"\0\0\0\0"];
/// TPM_PT_FIRMWARE_VERSION_1 and _2
pub const FIRMWARE_VERSION: [u32; 2] = [0x0000_0001, 0x0000_0000];
/// TPM_PT_REVISION: the revision of the Library specification, times 100.
pub const SPEC_REVISION: u32 = 185;
/// TPM_PT_YEAR
pub const SPEC_YEAR: u32 = 2026;
/// TPM_PT_DAY_OF_YEAR
pub const SPEC_DAY_OF_YEAR: u32 = 1;
/// TPM_PT_PS_REVISION and relatives: PC Client Platform TPM Profile.
pub const PC_CLIENT_REVISION: u32 = 0x0000_0106;

/// Milliseconds between two records of the clock in NV (TPM_PT_CLOCK_UPDATE): 2^12 s.
pub const CLOCK_UPDATE_MS: u64 = 1 << 22;
/// Initial maxTries of dictionary-attack protection.
pub const DA_MAX_TRIES: u32 = 32;
/// Initial recoveryTime of dictionary-attack protection, in seconds.
pub const DA_RECOVERY_TIME_S: u32 = 7200;
/// Initial lockoutRecovery of dictionary-attack protection, in seconds.
pub const DA_LOCKOUT_RECOVERY_S: u32 = 86400;
/// Generate requests of the DRBG after which it is reseeded.
pub const DRBG_RESEED_INTERVAL: u64 = 1 << 16;
/// Which of the Authenticated Countdown Timers TPM_RH_ACT_0 to TPM_RH_ACT_F there are.
pub const ACTS: [u8; 2] = [0x0, 0xa];
/// Whether the properties that came with specification 1.83 and later are listed (TPM_PT_FIRMWARE_SVN, TPM_PT_FIRMWARE_MAX_SVN). Clients that know only older
/// ones take the whole list for malformed, tss-esapi 7.6 among them.
pub const SVN_PROPERTIES: bool = false;
/// TPM_PT_FIRMWARE_SVN and TPM_PT_FIRMWARE_MAX_SVN: the security version number, now and at most.
pub const FIRMWARE_SVN: [u32; 2] = [0, 0];
/// Whether TPM_PT_ML_PARAMETER_SETS of specification 1.85 is listed, with the same effect on such clients.
pub const ML_PROPERTY: bool = false;
