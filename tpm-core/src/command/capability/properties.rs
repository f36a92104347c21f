//! TPM_CAP_TPM_PROPERTIES: TPM_PT (Part 2, 6.13).

use crate::bounded::{bit, count};
use crate::command::COMMANDS;
use crate::crypto::hash::{HashAlg, MAX_DIGEST};
use crate::data::tpm::Tpm;
use crate::profile;
use crate::wire::{AlgId, NvType, PCR_COUNT, PCR_SELECT_SIZE, StartupClear};

/// PT_FIXED and PT_VAR: where the groups start.
const FIXED: u32 = 0x100;
const VAR: u32 = 0x200;

/// Every property from `first` on, with its value, of the group to which it belongs, PT_FIXED if to none before that: a
/// reply does not go beyond a group (Part 3, 30.2).
pub(super) fn all(tpm: &Tpm, first: u32) -> impl Iterator<Item = (u32, u32)> {
    let first = first.max(FIXED);
    let end = (first | 0xff).min(VAR + 0xff);
    (first..=end).filter_map(|pt| value(tpm, pt).map(|value| (pt, value)))
}

/// The value of a property, if there is such a one.
fn value(tpm: &Tpm, pt: u32) -> Option<u32> {
    if pt < VAR { fixed(tpm, pt.checked_sub(FIXED)?) } else { variable(tpm, pt - VAR) }
}

/// TPM_CAP_VENDOR_PROPERTY: a list of UINT32, from the one with that number on. 0: octets of NV memory that are free,
/// 1: octets in all, 2: NV Indices that can still be defined, 3: in all. What is free is enough for one index of that
/// size.
pub(super) fn vendor(tpm: &Tpm, first: u32) -> impl Iterator<Item = u32> {
    let nv = &tpm.persistent.nv;
    let values = [nv.free(), profile::NV_MEMORY_SIZE, nv.room(), profile::MAX_NV_INDICES];
    values.map(number).into_iter().skip(usize::try_from(first).unwrap_or(usize::MAX))
}

const fn number(n: usize) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "counts and sizes of the profile")]
    {
        n as u32
    }
}

/// PT_FIXED: what only a firmware update changes, or the transport's buffer. The SVN properties come with what they
/// describe.
fn fixed(tpm: &Tpm, pt: u32) -> Option<u32> {
    Some(match pt {
        // TPM_PT_FAMILY_INDICATOR to _YEAR
        0 => u32::from_be_bytes(*b"2.0\0"),
        1 => 0,
        2 => profile::SPEC_REVISION,
        3 => profile::SPEC_ERRATA,
        4 => profile::SPEC_YEAR,
        // TPM_PT_MANUFACTURER to _FIRMWARE_VERSION_2
        5 => u32::from_be_bytes(profile::MANUFACTURER),
        6..=9 => u32::from_be_bytes(**profile::VENDOR_STRING.get(usize::try_from(pt - 6).ok()?)?),
        10 => 1,
        11 | 12 => *profile::FIRMWARE_VERSION.get(usize::try_from(pt - 11).ok()?)?,
        // TPM_PT_INPUT_BUFFER, _HR_TRANSIENT_MIN, _HR_PERSISTENT_MIN, _HR_LOADED_MIN, _ACTIVE_SESSIONS_MAX
        13 => number(profile::MAX_DIGEST_BUFFER),
        14 => number(profile::MAX_LOADED_OBJECTS),
        15 => number(profile::MAX_PERSISTENT_OBJECTS),
        16 => number(profile::MAX_LOADED_SESSIONS),
        17 => number(profile::MAX_ACTIVE_SESSIONS),
        // TPM_PT_PCR_COUNT, _PCR_SELECT_MIN, _CONTEXT_GAP_MAX; 21 is not used
        18 => PCR_COUNT,
        19 => PCR_SELECT_SIZE.into(),
        20 => u32::try_from(profile::CONTEXT_GAP_MAX).unwrap_or(u32::MAX),
        // TPM_PT_NV_COUNTERS_MAX: only the space limits their number
        22 => 0,
        // TPM_PT_NV_INDEX_MAX, _MEMORY: objects and sessions have memory of their own, CLEAR all
        23 => number(profile::MAX_NV_INDEX_SIZE),
        24 => 0,
        // TPM_PT_CLOCK_UPDATE, _CONTEXT_HASH, _CONTEXT_SYM, _CONTEXT_SYM_SIZE, _ORDERLY_COUNT
        25 => u32::try_from(profile::CLOCK_UPDATE_MS).unwrap_or(u32::MAX),
        26 => profile::INTERNAL_HASH.id().into(),
        27 => AlgId::AES.0.into(),
        28 => 256,
        29 => u32::try_from(profile::MAX_ORDERLY_COUNT).unwrap_or(u32::MAX),
        30 | 31 => number(tpm.ram.buffer_size),
        32 => number(profile::PROFILE.hashes().map(HashAlg::digest_size).max().unwrap_or(MAX_DIGEST)),
        // TPM_PT_MAX_OBJECT_CONTEXT, _MAX_SESSION_CONTEXT
        33 | 34 => number(profile::MAX_CONTEXT_SIZE),
        // TPM_PT_PS_FAMILY_INDICATOR: PC Client; _PS_LEVEL to _PS_YEAR
        35 => 1,
        36 | 38 | 39 => 0,
        37 => profile::PC_CLIENT_REVISION,
        // TPM_PT_SPLIT_MAX
        40 => crate::data::commit::OPEN_MAX,
        // TPM_PT_TOTAL_COMMANDS, _LIBRARY_COMMANDS, _VENDOR_COMMANDS
        41 | 42 => number(COMMANDS.len()),
        43 => 0,
        44 => number(profile::NV_BUFFER_MAX),
        // TPM_PT_MODES: no FIPS 140 mode
        45 => 0,
        46 => number(profile::MAX_CAP_BUFFER),
        // TPM_PT_FIRMWARE_SVN, _FIRMWARE_MAX_SVN
        47 | 48 if profile::PROFILE.lists_later_properties => {
            *profile::FIRMWARE_SVN.get(usize::try_from(pt - 47).ok()?)?
        }
        // TPM_PT_ML_PARAMETER_SETS: ML-KEM-512, -768, -1024, ML-DSA-44, -65, -87
        49 if profile::PROFILE.lists_later_properties => profile::PROFILE.ml_parameter_sets(),
        _ => return None,
    })
}

/// PT_VAR: what commands change.
fn variable(tpm: &Tpm, pt: u32) -> Option<u32> {
    let (loaded, saved, free) = tpm.ram.sessions.census();
    let nv = &tpm.persistent.nv;
    let dictionary = &tpm.persistent.dictionary;
    Some(match pt {
        0 => permanent(tpm),
        1 => startup_clear(tpm).0,
        // TPM_PT_HR_NV_INDEX, _HR_LOADED, _HR_LOADED_AVAIL, _HR_ACTIVE, _HR_ACTIVE_AVAIL
        2 => number(profile::MAX_NV_INDICES.saturating_sub(nv.room())),
        3 => number(loaded),
        4 => number(profile::MAX_LOADED_SESSIONS.saturating_sub(loaded)),
        5 => number(loaded.saturating_add(saved)),
        6 => number(free),
        // TPM_PT_HR_TRANSIENT_AVAIL, _HR_PERSISTENT, _HR_PERSISTENT_AVAIL
        7 => number(profile::MAX_LOADED_OBJECTS.saturating_sub(count(tpm.ram.object_handles()))),
        8 => number(profile::MAX_PERSISTENT_OBJECTS.saturating_sub(tpm.persistent.objects.room())),
        9 => number(tpm.persistent.objects.room()),
        // TPM_PT_NV_COUNTERS, _NV_COUNTERS_AVAIL
        10 => number(count(nv.iter().filter(|i| i.public.attributes.nv_type() == Some(NvType::Counter)))),
        11 => number(nv.room().min(nv.free() / 8)),
        // TPM_PT_ALGORITHM_SET, _LOADED_CURVES
        12 => tpm.persistent.algorithm_set,
        13 => number(profile::PROFILE.curves.len()),
        // TPM_PT_LOCKOUT_COUNTER, _MAX_AUTH_FAIL, _LOCKOUT_INTERVAL, _LOCKOUT_RECOVERY
        14 => dictionary.failed_tries,
        15 => dictionary.max_tries,
        16 => dictionary.recovery_time_s,
        17 => dictionary.lockout_recovery_s,
        // TPM_PT_NV_WRITE_RECOVERY
        18 => 0,
        // TPM_PT_AUDIT_COUNTER_0 and _1: the upper and the lower half
        19 => u32::try_from(tpm.persistent.audit.counter >> 32).unwrap_or(0),
        20 => u32::try_from(tpm.persistent.audit.counter & u64::from(u32::MAX)).unwrap_or(0),
        _ => return None,
    })
}

/// TPMA_PERMANENT (Part 2, 8.6).
fn permanent(tpm: &Tpm) -> u32 {
    let persistent = &tpm.persistent;
    let bits = [
        (0, !persistent.owner_auth.is_empty()),
        (1, !persistent.endorsement_auth.is_empty()),
        (2, !persistent.lockout_auth.is_empty()),
        (8, persistent.disable_clear),
        (9, persistent.dictionary.locked_out()),
        // tpmGeneratedEPS
        (10, true),
    ];
    bits.into_iter().fold(0, |word, (n, set)| if set { word | bit(n) } else { word })
}

/// TPMA_STARTUP_CLEAR (Part 2, 8.7).
fn startup_clear(tpm: &Tpm) -> StartupClear {
    let bits = [
        (StartupClear::PH_ENABLE, tpm.clear.platform_enabled),
        (StartupClear::SH_ENABLE, tpm.clear.storage_enabled),
        (StartupClear::EH_ENABLE, tpm.clear.endorsement_enabled),
        (StartupClear::PH_ENABLE_NV, tpm.clear.platform_nv_enabled),
        (StartupClear::READ_ONLY, tpm.clear.read_only),
        (StartupClear::ORDERLY, tpm.ram.orderly_startup),
    ];
    bits.into_iter().filter(|(_, set)| *set).fold(StartupClear::default(), |word, (bit, _)| word.with(bit))
}
