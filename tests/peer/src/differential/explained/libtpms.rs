//! Differences from Debian's libtpms 0.9.2.

use super::said::{CURVE, DEFINES, RESERVED_BITS, SIZE, SYMMETRIC, Said, TAG, VALUE, fmt1};
use super::text::defined_with;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::tally::Case;
use crate::differential::wire::Two;

/// Handles of objects that we have and libtpms has not: it has three slots, we have eight.
const MORE_OBJECTS: core::ops::RangeInclusive<u32> = 0x8000_0003..=0x8000_0007;

/// Where TPM2_Startup(STATE) is refused there; TPM2_Startup(CLEAR) is then a TPM Reset there, and a TPM Restart here.
pub(crate) const USED_THERE: &str = "TPM2_Startup(STATE) after a protected use by a command that was refused";

/// Commands with a ticket.
const TICKETS: [u32; 4] = [cc::SIGN, cc::CERTIFY_CREATION, cc::POLICY_TICKET, cc::POLICY_AUTHORIZE];

/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case, trail: &[Case]) -> Option<&'static str> {
    let said = Said::of(case);
    explain_header(case, &said, trail)
        .or_else(|| explain_algorithms(case, &said))
        .or_else(|| explain_nv(case, &said, trail))
        .or_else(|| explain_one_command(case, &said))
}

/// Tags, command codes, handles, sessions.
fn explain_header(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if (case.code, ours, theirs) == (cc::STARTUP, 0, 0x1c4) && used_there_since_shutdown(trail) {
        return Some(USED_THERE);
    }
    if ours == 0x1e && fmt1(theirs) == Some(VALUE) && !matches!(said.u16(0), 0x8001 | 0x8002) {
        return Some("an unknown tag");
    }
    if said.handle_area().any(|h| MORE_OBJECTS.contains(&h)) && fmt1(theirs) == Some(VALUE) {
        return Some("slots for objects");
    }
    None
}

/// Whether, since TPM2_Shutdown, the other has noted the use of a protected authValue by a command that we have
/// refused.
fn used_there_since_shutdown(trail: &[Case]) -> bool {
    let mut since = trail.iter().rev().take_while(|case| case.code != cc::SHUTDOWN || case.rc != [0, 0]);
    since.any(|case| case.retried && case.rc[0] != 0)
}

fn explain_algorithms(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let their_fmt1 = fmt1(theirs);
    if !DEFINES.contains(&said.code()) {
        return None;
    }
    if matches!(their_fmt1, Some(VALUE | SIZE)) && (said.has(&[0, 6, 0, 0xc0]) || said.has(&[0, 0x26, 0, 0xc0])) {
        return Some("keys of 192 bits");
    }
    let is_tdes = said.has(&[0, 3, 0, 0x80]) || said.has(&[0, 3, 0, 0xc0]);
    if matches!(fmt1(ours), Some(SYMMETRIC | VALUE))
        && (is_tdes || case.code == cc::INCREMENTAL_SELF_TEST && said.request.ends_with(&[0, 3]))
    {
        return Some("BN P-638, TDES");
    }
    // A definition of TDES, of another number of bits, that damage has led to.
    if fmt1(ours) == Some(SYMMETRIC) && their_fmt1 == Some(VALUE) && said.hit.is_some() && said.has(&[0, 3]) {
        return Some("BN P-638, TDES");
    }
    if fmt1(ours) == Some(CURVE) && said.has(&[0, 0x11, 0, 0x10]) {
        return Some("BN P-638, TDES");
    }
    (their_fmt1 == Some(RESERVED_BITS) && said.has_made_later_attributes()).then_some("attributes of later revisions")
}

fn explain_nv(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if (ours, theirs) == (0x148, 0) && said.handle_area().any(|h| h >> 24 == 1 && is_orderly(h, trail)) {
        return Some("WRITELOCKED of an orderly Index");
    }
    let index = said.u32(14);
    if case.code == cc::POLICY_NV && matches!((ours, theirs), (0, 0x126) | (0x126, 0)) && is_incremented(index, trail) {
        return Some("first NV_Increment of a counter");
    }
    let signed = matches!(said.last_u16(), 2 | 4 | 6 | 8);
    if matches!(case.code, cc::POLICY_NV | cc::POLICY_COUNTER_TIMER)
        && signed
        && matches!((ours, theirs), (0, 0x126) | (0x126, 0))
    {
        return Some("signed comparison of negative numbers");
    }
    None
}

fn explain_one_command(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if TICKETS.contains(&case.code)
        && fmt1(ours) == Some(TAG)
        && fmt1(theirs) == Some(VALUE)
        && ours & 0xf40 == theirs & 0xf40
    {
        return Some("a ticket's tag that is no tag");
    }
    let end = said.request.len().saturating_sub(4);
    match (case.code, ours, theirs) {
        // The contents of an Index begin with TPM_ALG_SM3_256 or SHA-3: too short for us, unknown to the other.
        (cc::POLICY_AUTHORIZE_NV, 0x09a, 0x083) => Some("algorithms that the other has not"),
        (cc::FLUSH_CONTEXT, _, 0x1c4) if MORE_OBJECTS.contains(&said.u32(10)) => Some("slots for objects"),
        (cc::SEQUENCE_UPDATE, 0x189, 0x1c9) => Some("SequenceUpdate of what is no sequence"),
        (cc::POLICY_TEMPLATE, 0x151, 0x1c4) => Some("PolicyTemplate with another template"),
        (cc::RSA_ENCRYPT, 0x84, 0x101) => Some("failure mode of libtpms"),
        (cc::ACTIVATE_CREDENTIAL | cc::IMPORT | cc::REWRAP | cc::RSA_DECRYPT | cc::START_AUTH_SESSION, _, 0x101)
            if fmt1(ours) == Some(VALUE) && (said.hit.is_some() || case.code == cc::RSA_DECRYPT) =>
        {
            Some("malformed RSA ciphertexts")
        }
        (cc::POLICY_AUTHORIZE, 0x3d5, 0x3c3) if said.sized(3).is_some_and(|name| name.len() < 2) => {
            Some("PolicyAuthorize with a name of less than two octets")
        }
        // TPM_ST_MESSAGE_VERIFIED is one bit from TPM_ST_VERIFIED.
        (cc::POLICY_AUTHORIZE, _, 0x4c4) if said.has_made(&[0x80, 0x26]) => Some("tickets of later revisions"),
        (cc::CERTIFY_X509, 0x3c4 | 0x182, 0) | (cc::CERTIFY_X509, 0, 0x3c4) if said.is_hit(end..end + 4) => {
            Some("CertifyX509: what keyUsage asks of the key")
        }
        (cc::ZGEN_2_PHASE, _, 0x101) if said.has(&[0, 0x1d]) => Some("failure mode of libtpms"),
        (cc::CERTIFY_X509, ..) if fmt1(ours) == fmt1(theirs) && [ours & 0xf40, theirs & 0xf40] == [0x200, 0x100] => {
            Some("CertifyX509: positions of handles")
        }
        (cc::CERTIFY_X509, ..) if fmt1(ours) == fmt1(theirs) && [ours & 0xf40, theirs & 0xf40] == [0x100, 0x200] => {
            Some("CertifyX509: positions of handles")
        }
        (cc::IMPORT, 0x0a5, 0) if said.hit.is_some() && said.has(&[0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0]) => {
            Some("Import of an RSA key of another modulus")
        }
        _ => None,
    }
}

/// Whether an NV Index was last defined with ORDERLY and WRITEDEFINE.
fn is_orderly(index: u32, trail: &[Case]) -> bool {
    defined_with(index, trail).is_some_and(|attributes| attributes & ORDERLY_WRITEDEFINE == ORDERLY_WRITEDEFINE)
}

/// Whether an NV Index is a counter that has been incremented.
fn is_incremented(index: u32, trail: &[Case]) -> bool {
    let mut increments = trail.iter().filter(|case| case.code == cc::NV_INCREMENT && case.rc == [0, 0]);
    increments.any(|case| Said::of(case).u32(14) == index)
}

/// TPMA_NV_ORDERLY and TPMA_NV_WRITEDEFINE
const ORDERLY_WRITEDEFINE: u32 = 1 << 26 | 1 << 13;

/// The row that explains why the answers differ, although both say success.
pub(super) fn explain_answer(command: &Command, answers: &Two<Vec<u8>>) -> Option<&'static str> {
    let [ours, theirs] = answers;
    match command.code {
        cc::ENCRYPT_DECRYPT | cc::ENCRYPT_DECRYPT_2 if ours.len() == theirs.len() => {
            let size = usize::from(u16::from_be_bytes([ours[0], ours[1]]));
            (size % 16 != 0 && ours[..2 + size] == theirs[..2 + size]).then_some("ivOut after a block that is not full")
        }
        cc::ECC_PARAMETERS if ours.starts_with(&[0, 0x10]) => Some("zeros before the numbers of ECC_Parameters"),
        _ => None,
    }
}
