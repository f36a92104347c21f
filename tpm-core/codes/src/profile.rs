//! Every choice of the implementation: buffer sizes, slot counts, algorithms, PCR banks.

pub use crate::{AlgId, EccCurve, MlDsaSet, MlKemSet};

/// What a TPM offers. What is not in here is unknown to unmarshalling, to capabilities and so to every command; the
/// TPM's own use of [`INTERNAL_HASH`] and AES does not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name, by which a build selects it.
    pub name: &'static str,
    /// Hashes, ciphers, modes, schemes, key derivation functions and object types, ascending.
    pub algorithms: &'static [AlgId],
    /// Curves, ascending.
    pub curves: &'static [EccCurve],
    /// keyBits of RSA keys.
    pub rsa_key_bits: &'static [u16],
    /// Parameter sets of ML-KEM.
    pub ml_kem: &'static [MlKemSet],
    /// Parameter sets of ML-DSA.
    pub ml_dsa: &'static [MlDsaSet],
    /// Banks in which all PCR are allocated when the TPM is manufactured. TPM2_PCR_Allocate can allocate every bank of
    /// [`PCR_BANKS`] whose hash there is.
    pub allocated_banks: &'static [AlgId],
    /// Octets of the largest NV Index (TPM_PT_NV_INDEX_MAX).
    pub max_nv_index_size: usize,
    /// Whether the properties that came with versions 1.83 and 1.85 of the specification are listed:
    /// TPM_PT_FIRMWARE_SVN, TPM_PT_FIRMWARE_MAX_SVN, TPM_PT_ML_PARAMETER_SETS. Clients that know only older ones take
    /// the whole list for malformed, tss-esapi 7.6 among them.
    pub lists_later_properties: bool,
}

/// The algorithms of `all`, in their order, that are not among `out`: `N`, or it does not compile.
#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn without<const N: usize>(all: &[AlgId], out: &[AlgId]) -> [AlgId; N] {
    let (mut left, mut n, mut i) = ([AlgId::NULL; N], 0, 0);
    while i < all.len() {
        let (mut is_out, mut j) = (false, 0);
        while j < out.len() {
            (is_out, j) = (is_out || out[j].0 == all[i].0, j + 1);
        }
        if !is_out {
            left[n] = all[i];
            n += 1;
        }
        i += 1;
    }
    assert!(n == N);
    left
}

/// All that the engine has.
pub const FULL: Profile = Profile {
    name: "full",
    algorithms: &without::<41>(AlgId::NAMED, &[AlgId::NULL]),
    curves: EccCurve::NAMED,
    rsa_key_bits: &[1024, 2048, 3072, 4096],
    ml_kem: MlKemSet::NAMED,
    ml_dsa: MlDsaSet::NAMED,
    allocated_banks: &[AlgId::SHA1, AlgId::SHA256, AlgId::SHA384, AlgId::SHA512],
    max_nv_index_size: 4096,
    lists_later_properties: true,
};

/// `full` without the algorithms that tpm2-tss' FAPI (up to 4.1.3 and its main branch of July 2026) has no word for:
/// HKDF, SHA-3, ML-KEM, ML-DSA. It refuses to write down the capabilities of a TPM that lists one of them. Nor does it
/// list properties that older clients do not know. Its NV Indices are as long as those of other TPMs: tpm2-tools have a
/// buffer for that much.
pub const CLASSIC: Profile = Profile {
    name: "classic",
    algorithms: &without::<34>(
        FULL.algorithms,
        &[
            AlgId::HKDF,
            AlgId::SHA3_256,
            AlgId::SHA3_384,
            AlgId::SHA3_512,
            AlgId::MLKEM,
            AlgId::MLDSA,
            AlgId::HASH_MLDSA,
        ],
    ),
    ml_kem: &[],
    ml_dsa: &[],
    max_nv_index_size: 2048,
    lists_later_properties: false,
    ..FULL
};

/// What the PC Client Platform TPM Profile requires and recommends: no algorithm of a region, none of 1.85.
pub const PC_CLIENT: Profile = Profile {
    name: "pc-client",
    algorithms: &without::<28>(
        FULL.algorithms,
        &[
            AlgId::SM3,
            AlgId::SM4,
            AlgId::SM2,
            AlgId::ECMQV,
            AlgId::HKDF,
            AlgId::KDF2,
            AlgId::CAMELLIA,
            AlgId::SHA3_256,
            AlgId::SHA3_384,
            AlgId::SHA3_512,
            AlgId::MLKEM,
            AlgId::MLDSA,
            AlgId::HASH_MLDSA,
        ],
    ),
    curves: &[EccCurve::NIST_P256, EccCurve::NIST_P384, EccCurve::BN_P256],
    rsa_key_bits: &[2048, 3072, 4096],
    ml_kem: &[],
    ml_dsa: &[],
    allocated_banks: &[AlgId::SHA1, AlgId::SHA256, AlgId::SHA384],
    max_nv_index_size: 4096,
    lists_later_properties: false,
};

/// What guests find in the vTPM of an Azure confidential VM.
pub const AZURE: Profile = Profile {
    name: "azure",
    algorithms: &without::<26>(
        FULL.algorithms,
        &[
            AlgId::SHA512,
            AlgId::SM3,
            AlgId::SM4,
            AlgId::SM2,
            AlgId::ECMQV,
            AlgId::HKDF,
            AlgId::KDF2,
            AlgId::CAMELLIA,
            AlgId::SHA3_256,
            AlgId::SHA3_384,
            AlgId::SHA3_512,
            AlgId::CMAC,
            AlgId::MLKEM,
            AlgId::MLDSA,
            AlgId::HASH_MLDSA,
        ],
    ),
    curves: &[EccCurve::NIST_P224, EccCurve::NIST_P256, EccCurve::NIST_P384, EccCurve::BN_P256],
    rsa_key_bits: &[1024, 2048],
    ml_kem: &[],
    ml_dsa: &[],
    allocated_banks: &[AlgId::SHA1, AlgId::SHA256, AlgId::SHA384],
    max_nv_index_size: 4096,
    lists_later_properties: false,
};

/// All but what is too weak by now: SHA-1, RSA with 1024 bits, P-192, P-224, ECB.
pub const NO_LEGACY: Profile = Profile {
    name: "no-legacy",
    algorithms: &without::<39>(FULL.algorithms, &[AlgId::SHA1, AlgId::ECB]),
    curves: &[EccCurve::NIST_P256, EccCurve::NIST_P384, EccCurve::NIST_P521, EccCurve::BN_P256, EccCurve::SM2_P256],
    rsa_key_bits: &[2048, 3072, 4096],
    ml_kem: MlKemSet::NAMED,
    ml_dsa: MlDsaSet::NAMED,
    allocated_banks: &[AlgId::SHA256, AlgId::SHA384, AlgId::SHA512],
    max_nv_index_size: 4096,
    lists_later_properties: true,
};

/// Every profile.
pub const PROFILES: [Profile; 5] = [FULL, CLASSIC, PC_CLIENT, AZURE, NO_LEGACY];

/// The profile of this build: the one that the environment variable QUOIN_PROFILE named when it was built, or else
/// `full`.
pub const PROFILE: Profile = match option_env!("QUOIN_PROFILE") {
    Some(name) => named(name),
    None => FULL,
};

/// The profile with this name; a build with another name fails.
#[expect(clippy::indexing_slicing, clippy::panic, reason = "at compile time: what would panic does not compile")]
const fn named(name: &str) -> Profile {
    let mut i = 0;
    while i < PROFILES.len() {
        if equal(PROFILES[i].name.as_bytes(), name.as_bytes()) {
            return PROFILES[i];
        }
        i += 1;
    }
    panic!("QUOIN_PROFILE is not one of full, classic, pc-client, azure, no-legacy")
}

#[expect(clippy::indexing_slicing, reason = "at compile time: what would panic does not compile")]
const fn equal(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

impl Profile {
    /// Whether the algorithm with this TPM_ALG_ID is on.
    #[must_use]
    pub fn has(&self, algorithm: u16) -> bool {
        self.algorithms.binary_search(&AlgId(algorithm)).is_ok()
    }

    /// TPMA_ML_PARAMETER_SET, with external μ wherever there is ML-DSA.
    #[must_use]
    pub fn ml_parameter_sets(&self) -> u32 {
        let bit = |n: u16| 1_u32.checked_shl(n.into()).unwrap_or(0);
        let kems = self.ml_kem.iter().fold(0, |sets, set| sets | bit(set.0.wrapping_sub(1)));
        let dsas = self.ml_dsa.iter().fold(0, |sets, set| sets | bit(set.0.wrapping_add(2)));
        kems | dsas | if self.ml_dsa.is_empty() { 0 } else { 1 << 6 }
    }
}

impl AlgId {
    /// Every algorithm of the profile, ascending.
    pub fn offered() -> impl Iterator<Item = Self> {
        PROFILE.algorithms.iter().copied()
    }

    /// The identifier, if the profile has the algorithm.
    #[inline]
    pub fn on(self) -> Option<u16> {
        let has = if self.0 < 64 { LOW >> self.0 & 1 == 1 } else { PROFILE.has(self.0) };
        has.then_some(self.0)
    }
}

/// The algorithms of the profile that have an identifier below 64, a bit each: hashes are looked for in every selection
/// of PCR.
const LOW: u64 = {
    let (mut low, mut rest) = (0, PROFILE.algorithms);
    while let [id, behind @ ..] = rest {
        if id.0 < 64 {
            low |= 1 << id.0;
        }
        rest = behind;
    }
    low
};

/// Octets of the largest command (TPM_PT_MAX_COMMAND_SIZE): a signature of ML-DSA-87 is longer than 4,096. A transport
/// with smaller buffers (the SVSM mailbox carries a page) refuses what does not fit; nothing but signatures of
/// ML-DSA-65 and -87 needs more.
pub const MAX_COMMAND_SIZE: usize = 8192;
/// Octets of the largest response (TPM_PT_MAX_RESPONSE_SIZE). A response buffer is as long, or as long as the
/// transport's.
pub const MAX_RESPONSE_SIZE: usize = 8192;
/// The least octets that a transport's buffer may have (QEMU's CRB): what needs more is a signature by ML-DSA-65 or
/// -87, or a long one of a long structure, and no command that makes an object.
pub const MIN_BUFFER_SIZE: usize = 3968;
const _: () = assert!(MAX_COMMAND_SIZE == MAX_RESPONSE_SIZE, "a transport has one buffer for both");
/// Octets of a TPM2B_MAX_BUFFER (TPM_PT_INPUT_BUFFER).
pub const MAX_DIGEST_BUFFER: usize = 1024;
/// Octets of one NV read or write (TPM_PT_NV_BUFFER_MAX).
pub const NV_BUFFER_MAX: usize = 2048;
/// Octets of the largest NV Index of this build's profile.
pub const MAX_NV_INDEX_SIZE: usize = PROFILE.max_nv_index_size;
/// NV Indices that can be defined at a time.
pub const MAX_NV_INDICES: usize = 256;
/// NV Indices that the platform can provide at a time, beside those: it has their contents.
pub const MAX_PROVIDED_INDICES: usize = 28;
/// Octets for the contents of all NV Indices.
pub const NV_MEMORY_SIZE: usize = 64 * 1024;
/// How far an ORDERLY counter may count in RAM before it is saved (TPM_PT_ORDERLY_COUNT, MAX_ORDERLY_COUNT): a power of
/// two less one.
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

/// The hash of context integrity, tickets and object protection inside the TPM (CONTEXT_INTEGRITY_HASH_ALG).
pub const INTERNAL_HASH: AlgId = AlgId::SHA256;
/// The PCR banks that exist in some profile, in the order of TPML_PCR_SELECTION.
pub const PCR_BANKS: [AlgId; 5] = [AlgId::SHA1, AlgId::SHA256, AlgId::SHA384, AlgId::SHA512, AlgId::SM3];

/// TPM_PT_MANUFACTURER
pub const MANUFACTURER: [u8; 4] = *b"QUOI";
/// TPM_PT_VENDOR_STRING_1 to _4
pub const VENDOR_STRING: [&[u8; 4]; 4] = [b"Quoi", b"n vT", b"PM\0\0", b"\0\0\0\0"];
/// TPM_PT_FIRMWARE_VERSION_1 and _2
pub const FIRMWARE_VERSION: [u32; 2] = [0x0000_0001, 0x0000_0000];
/// TPM_PT_REVISION: the version of the Library specification.
pub const SPEC_REVISION: u32 = 185;
/// TPM_PT_ERRATA: the version of the errata to it. Before specification 1.85 this was TPM_PT_DAY_OF_YEAR.
pub const SPEC_ERRATA: u32 = 0;
/// TPM_PT_YEAR. Specification 1.85 has zero here, to say that there are no days but errata; clients still want a year.
pub const SPEC_YEAR: u32 = 2026;
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
/// TPM_PT_FIRMWARE_SVN and TPM_PT_FIRMWARE_MAX_SVN: the security version number, now and at most.
pub const FIRMWARE_SVN: [u32; 2] = [0, 0];
/// MAX_CAP_BUFFER: octets of the largest TPMS_CAPABILITY_DATA.
pub const MAX_CAP_BUFFER: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{AlgId, PROFILE};

    #[test]
    fn an_algorithm_is_on_if_the_profile_has_it() {
        for id in 0..=u16::MAX {
            assert_eq!(AlgId(id).on(), PROFILE.has(id).then_some(id), "{id:#x}");
        }
    }
}
