//! Differences from the TCG's reference code 1.84.

use super::GONE;
use super::said::{RESERVED_BITS, Said, VALUE, fmt1};
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::tally::Case;
use crate::differential::wire::Two;

/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case, trail: &[Case]) -> Option<&'static str> {
    let said = Said::of(case);
    explain_one_command(case, &said, trail).or_else(|| explain_parameters(case, &said))
}

fn explain_one_command(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let end = said.request.len().saturating_sub(4);
    let cleared = trail.iter().any(|earlier| said_code(earlier) == cc::CLEAR && earlier.rc == [0, 0]);
    match (case.code, ours, theirs) {
        // The offset is 16, or the octets of resetCount are among those from an earlier one on.
        (cc::POLICY_COUNTER_TIMER, 0, 0x126) | (cc::POLICY_COUNTER_TIMER, 0x126, 0)
            if !cleared && said.compares_reset_count() =>
        {
            Some("resetCount of a new TPM")
        }
        (cc::HIERARCHY_CONTROL, 0x184, _) if said.u32(10) == crate::differential::world::rh::NULL => {
            Some("HierarchyControl by TPM_RH_NULL")
        }
        (cc::GET_CAPABILITY, 0x1c4, _) if matches!(said.u32(said.parameters()), 0x0b | 0x0c) => {
            Some("SPDM groups of GetCapability")
        }
        (
            cc::POLICY_CP_HASH
            | cc::POLICY_NAME_HASH
            | cc::POLICY_TEMPLATE
            | cc::POLICY_PARAMETERS
            | cc::POLICY_DUPLICATION_SELECT,
            0x151,
            0 | 0x1d5,
        ) if has_selected(said.u32(10), trail) => Some("what Policy_AC_SendSelect limits a session to"),
        (cc::POLICY_CAPABILITY, 0 | 0x126 | 0x4c4, _) if matches!(said.u32(end.saturating_sub(4)), 0x0b | 0x0c) => {
            Some("SPDM groups of PolicyCapability")
        }
        // TPM_CAP_ALGS and TPM_CAP_ECC_CURVES
        (cc::POLICY_CAPABILITY, _, 0 | 0x126 | 0x1d5 | 0x2c4)
            if matches!(said.u32(end.saturating_sub(4)), 0 | 8) && said.u32(end) > u32::from(u16::MAX) =>
        {
            Some("PolicyCapability of an algorithm beyond 16 bits")
        }
        // The other has a Name for it, which no caller learns.
        (cc::ACTIVATE_CREDENTIAL, 0, 0x1df) if is_for_no_name(trail) => {
            Some("ActivateCredential for a sequence object")
        }
        (cc::RSA_ENCRYPT, 0x084, 0x095)
            if said.first_sized().len() >= 128 && said.u16(said.first_sized().end) == 0x10 =>
        {
            Some("RSA_Encrypt of a number that is not below the modulus")
        }
        (cc::ACT_SET_TIMEOUT, 0, 0x922) => Some("ACT_SetTimeout while the timer is being set"),
        (cc::IMPORT, 0 | 0x2c2, GONE) if said.imports_long_auth() => {
            Some("Import of an authValue that is longer than digests of nameAlg")
        }
        (cc::POLICY_NV | cc::POLICY_COUNTER_TIMER | cc::POLICY_CAPABILITY, 0 | 0x126, 0 | 0x126)
            if said.compares_nothing_signed() =>
        {
            Some("signed comparison of no octets")
        }
        _ => None,
    }
}

fn explain_parameters(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if matches!(theirs, 0x995 | 0xa95 | 0xb95) && said.has_empty_encrypted(theirs) {
        return Some("empty first parameter in an encrypting session");
    }
    if fmt1(ours) == Some(RESERVED_BITS) && said.has_fixed_firmware() {
        return Some("bit 3 of TPMA_OBJECT");
    }
    if fmt1(ours) == Some(VALUE) && said.has_made_limited_hierarchy() {
        return Some("hierarchies limited to a firmware");
    }
    None
}

/// Whether TPM2_Policy_AC_SendSelect was the last to begin something in a policy session.
fn has_selected(session: u32, trail: &[Case]) -> bool {
    let mut own = trail.iter().rev().filter(|case| case.rc == [0, 0] && Said::of(case).u32(10) == session);
    own.find(|case| matches!(said_code(case), cc::POLICY_RESTART | cc::POLICY_AC_SEND_SELECT))
        .is_some_and(|case| said_code(case) == cc::POLICY_AC_SEND_SELECT)
}

/// Whether the last credential was made for no Name.
fn is_for_no_name(trail: &[Case]) -> bool {
    let made = trail.iter().rev().find(|case| case.code == cc::MAKE_CREDENTIAL && case.rc == [0, 0]);
    made.is_some_and(|case| case.request[0].ends_with(&[0, 0]))
}

fn said_code(case: &Case) -> u32 {
    Said::of(case).code()
}

/// The row that explains why the answers differ, although both say success.
pub(super) fn explain_answer(command: &Command, answers: &Two<Vec<u8>>) -> Option<&'static str> {
    let same_curve = answers[0].get(..2) == answers[1].get(..2);
    (command.code == cc::ECC_PARAMETERS && same_curve && numbers(&answers[0]) == numbers(&answers[1]))
        .then_some("zeros before the numbers of ECC_Parameters")
}

/// The octets of TPMS_ALGORITHM_DETAIL_ECC up to the first number, and all numbers without zeros before them.
fn numbers(detail: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    // curveID, keySize; kdf and sign with their hashes
    let mut at = 4;
    for _ in 0..2 {
        let scheme = detail.get(at..at + 2)?;
        at += if scheme == [0, 0x10] { 2 } else { 4 };
    }
    let (head, mut rest) = detail.split_at_checked(at)?;
    let mut all = Vec::new();
    while let Some((size, after)) = rest.split_first_chunk::<2>() {
        let (number, after) = after.split_at_checked(u16::from_be_bytes(*size).into())?;
        let zeros = number.iter().take_while(|octet| **octet == 0).count();
        all.push(&number[zeros..]);
        rest = after;
    }
    Some((head, all))
}
