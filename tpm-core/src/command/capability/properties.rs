//! TPM_CAP_TPM_PROPERTIES: TPM_PT (Part 2, 6.13).

use crate::bounded::{bit, count};
use crate::command::call::Call;
use crate::crypto::hash::{HashAlg, MAX_DIGEST};
use crate::data::tpm::Tpm;
use crate::profile;
use crate::wire::{AlgId, NvType, PCR_COUNT, PCR_SELECT_SIZE, StartupClear, hashes, pt};

/// Every property from `first` on, with its value, of the group to which it belongs, PT_FIXED if to none before that: a
/// reply does not go beyond a group (Part 3, 30.2).
pub(super) fn all(tpm: &Tpm, call: &Call, first: u32) -> impl Iterator<Item = (u32, u32)> {
    let first = first.max(pt::FIXED);
    let end = (first | 0xff).min(pt::VAR | 0xff);
    (first..=end).filter_map(|pt| value(tpm, call, pt).map(|value| (pt, value)))
}

/// The value of a property, if there is such a one.
fn value(tpm: &Tpm, call: &Call, pt: u32) -> Option<u32> {
    if pt < pt::VAR { fixed(tpm, call, pt) } else { variable(tpm, pt) }
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
fn fixed(tpm: &Tpm, call: &Call, pt: u32) -> Option<u32> {
    let lists_later = profile::PROFILE.lists_later_properties && !tpm.ram.omits_later_properties;
    Some(match pt {
        // TPM_PT_FAMILY_INDICATOR to _YEAR
        pt::FAMILY_INDICATOR => u32::from_be_bytes(*b"2.0\0"),
        pt::LEVEL => 0,
        pt::REVISION => profile::SPEC_REVISION,
        pt::ERRATA => profile::SPEC_ERRATA,
        pt::YEAR => profile::SPEC_YEAR,
        // TPM_PT_MANUFACTURER to _FIRMWARE_VERSION_2
        pt::MANUFACTURER => u32::from_be_bytes(profile::MANUFACTURER),
        pt::VENDOR_STRING_1..=pt::VENDOR_STRING_4 => {
            u32::from_be_bytes(**profile::VENDOR_STRING.get(usize::try_from(pt - pt::VENDOR_STRING_1).ok()?)?)
        }
        pt::VENDOR_TPM_TYPE => 1,
        pt::FIRMWARE_VERSION_1 | pt::FIRMWARE_VERSION_2 => {
            *profile::FIRMWARE_VERSION.get(usize::try_from(pt - pt::FIRMWARE_VERSION_1).ok()?)?
        }
        // TPM_PT_INPUT_BUFFER, _HR_TRANSIENT_MIN, _HR_PERSISTENT_MIN, _HR_LOADED_MIN, _ACTIVE_SESSIONS_MAX
        pt::INPUT_BUFFER => number(profile::MAX_DIGEST_BUFFER),
        pt::HR_TRANSIENT_MIN => number(profile::MAX_LOADED_OBJECTS),
        pt::HR_PERSISTENT_MIN => number(profile::MAX_PERSISTENT_OBJECTS),
        pt::HR_LOADED_MIN => number(profile::MAX_LOADED_SESSIONS),
        pt::ACTIVE_SESSIONS_MAX => number(profile::MAX_ACTIVE_SESSIONS),
        // TPM_PT_PCR_COUNT, _PCR_SELECT_MIN, _CONTEXT_GAP_MAX; 21 is not used
        pt::PCR_COUNT => PCR_COUNT,
        pt::PCR_SELECT_MIN => PCR_SELECT_SIZE.into(),
        pt::CONTEXT_GAP_MAX => u32::try_from(profile::CONTEXT_GAP_MAX).unwrap_or(u32::MAX),
        // TPM_PT_NV_COUNTERS_MAX: only the space limits their number
        pt::NV_COUNTERS_MAX => 0,
        // TPM_PT_NV_INDEX_MAX: what can be defined; an index of the platform's may be longer. _MEMORY: objects and
        // sessions have memory of their own, CLEAR all
        pt::NV_INDEX_MAX => number(profile::MAX_NV_INDEX_SIZE),
        pt::MEMORY => 0,
        // TPM_PT_CLOCK_UPDATE, _CONTEXT_HASH, _CONTEXT_SYM, _CONTEXT_SYM_SIZE, _ORDERLY_COUNT
        pt::CLOCK_UPDATE => u32::try_from(profile::CLOCK_UPDATE_MS).unwrap_or(u32::MAX),
        pt::CONTEXT_HASH => profile::INTERNAL_HASH.0.into(),
        pt::CONTEXT_SYM => AlgId::AES.0.into(),
        pt::CONTEXT_SYM_SIZE => 256,
        pt::ORDERLY_COUNT => u32::try_from(profile::MAX_ORDERLY_COUNT).unwrap_or(u32::MAX),
        pt::MAX_COMMAND_SIZE | pt::MAX_RESPONSE_SIZE => number(tpm.ram.buffer_size),
        pt::MAX_DIGEST => number(hashes().map(HashAlg::digest_size).max().unwrap_or(MAX_DIGEST)),
        // TPM_PT_MAX_OBJECT_CONTEXT, _MAX_SESSION_CONTEXT
        pt::MAX_OBJECT_CONTEXT | pt::MAX_SESSION_CONTEXT => number(profile::MAX_CONTEXT_SIZE),
        // TPM_PT_PS_FAMILY_INDICATOR: PC Client; _PS_LEVEL to _PS_YEAR
        pt::PS_FAMILY_INDICATOR => 1,
        pt::PS_LEVEL | pt::PS_DAY_OF_YEAR | pt::PS_YEAR => 0,
        pt::PS_REVISION => profile::PC_CLIENT_REVISION,
        // TPM_PT_SPLIT_MAX
        pt::SPLIT_MAX => crate::data::commit::OPEN_MAX,
        // TPM_PT_TOTAL_COMMANDS, _LIBRARY_COMMANDS, _VENDOR_COMMANDS
        pt::TOTAL_COMMANDS | pt::LIBRARY_COMMANDS => number(call.commands.len()),
        pt::VENDOR_COMMANDS => 0,
        pt::NV_BUFFER_MAX => number(profile::NV_BUFFER_MAX),
        // TPM_PT_MODES: no FIPS 140 mode
        pt::MODES => 0,
        pt::MAX_CAP_BUFFER => number(profile::MAX_CAP_BUFFER),
        // TPM_PT_FIRMWARE_SVN, _FIRMWARE_MAX_SVN
        pt::FIRMWARE_SVN | pt::FIRMWARE_MAX_SVN if lists_later => {
            *profile::FIRMWARE_SVN.get(usize::try_from(pt - pt::FIRMWARE_SVN).ok()?)?
        }
        // TPM_PT_ML_PARAMETER_SETS: ML-KEM-512, -768, -1024, ML-DSA-44, -65, -87
        pt::ML_PARAMETER_SETS if lists_later => profile::PROFILE.ml_parameter_sets(),
        _ => return None,
    })
}

/// PT_VAR: what commands change.
fn variable(tpm: &Tpm, pt: u32) -> Option<u32> {
    let (loaded, saved, free) = tpm.ram.sessions.census();
    let nv = &tpm.persistent.nv;
    let dictionary = &tpm.persistent.dictionary;
    Some(match pt {
        pt::PERMANENT => permanent(tpm),
        pt::STARTUP_CLEAR => startup_clear(tpm).0,
        // TPM_PT_HR_NV_INDEX, _HR_LOADED, _HR_LOADED_AVAIL, _HR_ACTIVE, _HR_ACTIVE_AVAIL
        pt::HR_NV_INDEX => number(count(nv.iter())),
        pt::HR_LOADED => number(loaded),
        pt::HR_LOADED_AVAIL => number(profile::MAX_LOADED_SESSIONS.saturating_sub(loaded)),
        pt::HR_ACTIVE => number(loaded.saturating_add(saved)),
        pt::HR_ACTIVE_AVAIL => number(free),
        // TPM_PT_HR_TRANSIENT_AVAIL, _HR_PERSISTENT, _HR_PERSISTENT_AVAIL
        pt::HR_TRANSIENT_AVAIL => number(profile::MAX_LOADED_OBJECTS.saturating_sub(count(tpm.ram.object_handles()))),
        pt::HR_PERSISTENT => number(profile::MAX_PERSISTENT_OBJECTS.saturating_sub(tpm.persistent.objects.room())),
        pt::HR_PERSISTENT_AVAIL => number(tpm.persistent.objects.room()),
        // TPM_PT_NV_COUNTERS, _NV_COUNTERS_AVAIL
        pt::NV_COUNTERS => number(count(nv.iter().filter(|i| i.public.attributes.nv_type() == Some(NvType::Counter)))),
        pt::NV_COUNTERS_AVAIL => number(nv.room().min(nv.free() / 8)),
        // TPM_PT_ALGORITHM_SET, _LOADED_CURVES
        pt::ALGORITHM_SET => tpm.persistent.algorithm_set,
        pt::LOADED_CURVES => number(profile::PROFILE.curves.len()),
        // TPM_PT_LOCKOUT_COUNTER, _MAX_AUTH_FAIL, _LOCKOUT_INTERVAL, _LOCKOUT_RECOVERY
        pt::LOCKOUT_COUNTER => dictionary.failed_tries,
        pt::MAX_AUTH_FAIL => dictionary.max_tries,
        pt::LOCKOUT_INTERVAL => dictionary.recovery_time_s,
        pt::LOCKOUT_RECOVERY => dictionary.lockout_recovery_s,
        // TPM_PT_NV_WRITE_RECOVERY
        pt::NV_WRITE_RECOVERY => 0,
        // TPM_PT_AUDIT_COUNTER_0 and _1: the upper and the lower half
        pt::AUDIT_COUNTER_0 => u32::try_from(tpm.persistent.audit.counter >> 32).unwrap_or(0),
        pt::AUDIT_COUNTER_1 => u32::try_from(tpm.persistent.audit.counter & u64::from(u32::MAX)).unwrap_or(0),
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
